"""Networks: the saliency sampler, its rivals, and the task and saliency networks around them.

The usage block of the released Saliency-Sampler runs with `from lib.models import *` in the place of its imports.
"""

from torchvision.models import resnet101

from lib.models.backbones import saliency_network_resnet18
from lib.models.sampler import Saliency_Sampler, SaliencySampler

__all__ = ["SaliencySampler", "Saliency_Sampler", "resnet101", "saliency_network_resnet18"]
