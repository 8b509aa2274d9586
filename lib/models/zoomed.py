"""A task network behind a spatial sampler, by name: what every row of "Learning to Zoom" is, and rows of other tables beside.

All of them have the same task network, the same normalisation and, where they look, a trunk of the same kind; only the sampler differs.
A new sampler is one more function of a few lines here, and stands in every table then.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lib.data.canvas import Square
from lib.models.backbones import (IMAGENET_NORMALIZATION, alexnet_regressor, load_imagenet, localisation_network, pretrained,
                                  saliency_network_resnet18, small_alexnet, small_classifier, small_saliency_network)
from lib.models.cam import look_twice
from lib.models.deformable import deform_last
from lib.models.lite0 import LITE0_NORMALIZATION, lite0, lite0_trunk
from lib.models.network import RowNetwork, declared
from lib.models.network import flops as flops_of
from lib.models.rivals import AffineSTN, GridEstimator, Oracle, ThinPlateSTN, Uniform
from lib.models.sampler import RELEASED_SIGMA, SaliencyZoom, SampledNetwork, SpatialSampler
from lib.models.small_inception import small_inception
from lib.models.small_resnet import small_gap_network


class ZoomedNetwork(RowNetwork, SampledNetwork):
    """A task network behind a spatial sampler as a row of a table."""

    gives_maps = True

    def prepare(self, task) -> None:
        if hasattr(self.sampler, "prepare"):  # one that takes something from the training data, a fixed map for instance
            self.sampler.prepare(task)

    def blur_input(self, on: bool) -> None:
        self.blur = on


# --- by name ------------------------------------------------------------------------------------------------------------


def torchvision_network(name: str, outputs: int) -> nn.Module:
    """torchvision's classifier with `outputs` classes, from ImageNet's weights where they can be had."""
    from torchvision import models

    options = {"aux_logits": False, "init_weights": False} if name == "inception_v3" else {}
    network = getattr(models, name)(weights=None, num_classes=outputs, **options)
    if name == "inception_v3":
        network.transform_input = True  # torchvision's weights expect inputs in [-1, 1]; it switches this on with them
    if (weights := pretrained(name)) is not None:
        load_imagenet(network, weights, replaced=("fc",))
    return network


def scratch_resnet18(outputs: int) -> nn.Module:
    from torchvision.models import resnet18

    return resnet18(weights=None, num_classes=outputs)


class Kind(NamedTuple):
    """A kind of task network: build(outputs), and (mean, std) of what it sees, for pictures in [0, 1]."""

    build: Callable[[int], nn.Module]
    normalize: tuple = IMAGENET_NORMALIZATION


TASK_NETWORKS = {
    "small_alexnet": Kind(partial(small_alexnet, sigmoid=True)),
    "alexnet": Kind(lambda outputs: alexnet_regressor(outputs, weights=pretrained("alexnet"))),
    "small_gap": Kind(small_gap_network),
    "small_inception": Kind(small_inception),
    "small_classifier": Kind(partial(small_classifier, width=16)),
    "scratch_resnet18": Kind(scratch_resnet18),
    "lite0": Kind(partial(lite0, normalize=False, freeze_norm=True), LITE0_NORMALIZATION),  # from ImageNet's weights; its norms are held
    **{name: Kind(partial(torchvision_network, name)) for name in ("resnet50", "resnet101", "inception_v3")},
}
STARTS = {"lite0_contrast": 2.0}  # trunk -> what the sampler's 1x1 convolution weighs its channels by at first, all together; else random values
CUT = {6: ("stage2", "stage3"), 10: ("stage3",), 14: ()}  # residual blocks that the small trunk lacks


def trunk_of(name: str, layers: int = 14) -> nn.Module:
    """The saliency network of 6, 10 or 14 layers ("resnet18"; "scratch_resnet18" from random values), or the small one, cut likewise.

    "lite0": the first three stages of EfficientNet-lite0 with ImageNet's weights. "lite0_contrast": the first five, and of them how unlike
    the rest of the picture each place is.
    """
    if name == "lite0_contrast":
        return Contrast(lite0_trunk(5, normalize=False, freeze_norm=True))
    if name == "lite0":
        return lite0_trunk(3, normalize=False, freeze_norm=True)
    if name == "small":
        network = small_saliency_network()
        for stage in CUT[layers]:
            delattr(network, stage)
        return network
    return saliency_network_resnet18(layers, weights=pretrained("resnet18") if name == "resnet18" else None)


class Contrast(nn.Module):
    """|features - their mean over the picture|: a trunk's map (B, C, h, w) as how far each place is from the rest, by channel."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, images: Tensor) -> Tensor:
        features = self.trunk(images)
        return (features - features.mean(dim=(2, 3), keepdim=True)).abs()


def started(zoom: SaliencyZoom, start: float | None) -> SaliencyZoom:
    """`zoom`, whose 1x1 convolution begins with one weight for all channels, `start` together; None leaves its random values.

    From random values on a pretrained trunk a few hundred steps learn no zoom. With equal weights on a `Contrast` it begins there.
    """
    if start is not None:
        nn.init.constant_(zoom.head.weight, start / zoom.head.in_channels)
        nn.init.zeros_(zoom.head.bias)
    return zoom


def behind(make: Callable[..., SpatialSampler], task: str, outputs: int) -> ZoomedNetwork:
    """The sampler of `make(normalize=...)` before the task network; both normalise alike.

    The task network is made first: with one seed it starts from the same values in every row.
    """
    kind = TASK_NETWORKS[task]
    network = kind.build(outputs)
    return ZoomedNetwork(make(normalize=kind.normalize), network, normalize=kind.normalize)


# --- rows ---------------------------------------------------------------------------------------------------------------


@declared("plain", "layer", "backbones")
def plain(*, task: str, outputs: int, task_size: int, antialias: bool = True) -> ZoomedNetwork:
    return behind(partial(Uniform, task_size, antialias=antialias), task, outputs)


@declared("deformable", "layer", "backbones", "deformable")
def deformable(*, task: str, outputs: int, task_size: int, count: int = 3) -> ZoomedNetwork:
    model = plain(task=task, outputs=outputs, task_size=task_size)
    deform_last(model.task_network, count=count)
    return model


def _localised(kind: Callable[..., SpatialSampler], numbers: int, trunk: tuple[str, int], *sizes: int) -> Callable[..., SpatialSampler]:
    return lambda **normalize: kind(localisation_network(trunk_of(*trunk), numbers), *sizes, **normalize)


@declared("stn_affine", "layer", "backbones", "rivals")
def stn_affine(*, task: str, outputs: int, trunk: str, task_size: int, view_size: int, layers: int = 14) -> ZoomedNetwork:
    return behind(_localised(AffineSTN, 6, (trunk, layers), task_size, view_size), task, outputs)


@declared("stn_tps", "layer", "backbones", "rivals")
def stn_tps(*, task: str, outputs: int, trunk: str, task_size: int, view_size: int, layers: int = 14) -> ZoomedNetwork:
    return behind(_localised(ThinPlateSTN, 32, (trunk, layers), task_size, view_size), task, outputs)


@declared("grid_estimator", "layer", "backbones", "rivals")
def grid_estimator(*, task: str, outputs: int, trunk: str, task_size: int, view_size: int, layers: int = 14) -> ZoomedNetwork:
    return behind(lambda **normalize: GridEstimator(trunk_of(trunk, layers), task_size, view_size, **normalize), task, outputs)


@declared("sampler", "layer", "backbones")
def sampler(*, task: str, outputs: int, trunk: str, task_size: int, view_size: int, layers: int = 14, sigma: float = RELEASED_SIGMA) -> ZoomedNetwork:
    def make(**normalize) -> SaliencyZoom:
        return started(SaliencyZoom(trunk_of(trunk, layers), task_size, view_size, sigma=sigma, **normalize), STARTS.get(trunk))

    return behind(make, task, outputs)


@declared("oracle", "layer", "backbones", "rivals")
def oracle(*, task: str, outputs: int, task_size: int, at: str = "annotation") -> ZoomedNetwork:
    """at: the batch's heat map that it zooms by."""
    def make(**normalize) -> Oracle:  # it looks at an annotation: nothing to normalise
        sampler = Oracle(task_size)
        sampler.looks_at = at
        return sampler

    return behind(make, task, outputs)


@declared("cam", "cam")
def cam(trained: ZoomedNetwork) -> ZoomedNetwork:
    """A trained plain row, looking twice."""
    return look_twice(trained)


@declared("same_cost", "layer", "backbones")
def same_cost(*, task: str, outputs: int, trunk: str, task_size: int, view_size: int, canvas: Square) -> ZoomedNetwork:
    """The plain network at the higher resolution that costs as many operations as the sampler: side times the root of the ratio.

    canvas: of the pictures; more pixels than theirs are not to be had.
    """
    side = canvas.size
    known = {"task": task, "outputs": outputs, "task_size": task_size}
    ratio = flops(sampler(trunk=trunk, view_size=view_size, **known), side, view_size) / flops(plain(**known), side, view_size)
    return plain(task=task, outputs=outputs, task_size=min(round(task_size * ratio**0.5), side))


def flops(model: RowNetwork, side: int, view_size: int) -> int:
    """Floating point operations of one picture of `side` pixels through the network."""
    batch = {"image": torch.zeros(1, 3, side, side), "view": torch.zeros(1, 3, view_size, view_size), "annotation": torch.ones(1, 1, 31, 31)}
    return flops_of(model, *(batch[name] for name in model.inputs))
