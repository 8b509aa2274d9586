"""Networks: the saliency sampler, its rivals, and the task and saliency networks around them.

The usage block of the released Saliency-Sampler runs with `from lib.models import *` in the place of its imports.
"""

from lib.models.backbones import saliency_network_resnet18
from lib.models.sampler import Saliency_Sampler, SaliencySampler

__all__ = ["SaliencySampler", "Saliency_Sampler", "resnet101", "saliency_network_resnet18"]


def __getattr__(name: str):
    """torchvision when somebody asks for it: it takes as long to import as torch, and most commands run without."""
    if name == "resnet101":
        from torchvision.models import resnet101

        return resnet101
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
