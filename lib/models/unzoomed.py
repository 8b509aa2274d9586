"""Saliency prediction behind a sampler: a photograph of many pixels, zoomed to a small input, a network's map of it, carried back.

    photograph (B, 3, 600, 800) -> view (60, 80) -> grid -> zoomed picture (120, 160) -> EML-NET -> map (120, 160) -> unzoom -> map of the photograph

The sampler pins the border (reflect padding): what the zoom gives up is shown small, and nothing is left out, so that the map is known everywhere.
Photographs are read with at least twice the input's pixels along each axis (`FullPictureTask`), and averaged down to that where they have more:
a zoom of two loses nothing, and points that are sampled lie at most some two and a half pixels apart. Samplers are those of
`lib.models.successors`; LZU's fixed map is here the mean of the training pictures' maps, the centre bias.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from lib.models.carry import DenseSampler
from lib.models.network import RowNetwork
from lib.models.rivals import Uniform
from lib.models.sampler import RELEASED_SIGMA, SaliencyZoom, SpatialSampler, resize_grid, saliency_grid
from lib.models.successors import CompositeZoom, FixedZoom

CELLS = (23, 31)  # of the saliency map behind the grid: as high and wide as the photographs
OPTIONS = {"map_size": CELLS}


class UnzoomedNetwork(RowNetwork):
    """A dense network behind a sampler as a row of a table: maps (B, 1, *size) of the photographs.

    back: carry the maps back; without it they stay where the zoom put them, which is wrong.
    """

    gives_maps = True

    def __init__(self, network: nn.Module, sampler: SpatialSampler, size: tuple[int, int], *, back: bool = True):
        super().__init__()
        self.model, self.back = DenseSampler(network, sampler, size=size), back
        self.inputs = ("image", sampler.looks_at)

    def prepare(self, task) -> None:
        if hasattr(self.model.sampler, "prepare"):
            self.model.sampler.prepare(task)

    def forward(self, image: Tensor, view: Tensor, *, return_maps: bool = False):
        """image (B, 3, H, W) uint8, and what the sampler looks at; with `return_maps` also the `Sampled`."""
        if self.back:
            maps, _, sampled = self.model(image, view, return_maps=True)
        else:
            sampled = self.model.sampler(image, view)
            maps = F.interpolate(self.model.network(sampled.image), self.model.size, mode="bilinear", align_corners=True)
        return (maps, sampled) if return_maps else maps


class _CentreMap:
    """The fixed map of a sampler is the mean of the training pictures' maps."""

    def prepare(self, task) -> None:
        centre = F.interpolate(task.centre[None, None].float(), tuple(self.fixed.map.shape[-2:]), mode="area")
        self.fixed.map.copy_(centre / centre.sum())


class CentreZoom(_CentreMap, FixedZoom):
    """LZU's idea: every photograph zoomed alike, where people look in the mean."""


class CentreComposite(_CentreMap, CompositeZoom):
    """FOVEA's: that, and this photograph's own map."""


class TruthZoom(SpatialSampler):
    """The attraction by the true map of fixations: what a saliency network that knew the answer could do for one that does not.

    An upper bound that leaks: whoever sees the zoomed picture could tell the answer from where it is distorted. floor: of the map's mean.
    """

    looks_at = "density"

    def __init__(self, task_size: tuple[int, int], *, map_size: tuple[int, int] = CELLS, floor: float = 0.5, **options):
        super().__init__(task_size, map_size, **options)
        self.floor = floor

    def locate(self, view: Tensor) -> tuple[Tensor, Tensor]:
        saliency = view + self.floor * view.mean((2, 3), keepdim=True)
        return resize_grid(saliency_grid(saliency, sigma=RELEASED_SIGMA, padding="reflect"), self.task_size), saliency

    def forward(self, image: Tensor, view: Tensor | None = None):
        """view: the map (B, H, W) of any size."""
        return super().forward(image, F.interpolate(view[:, None].float(), self.view_size, mode="area"))


def attraction(network: nn.Module, size: tuple[int, int], view_size: tuple[int, int]) -> SaliencyZoom:
    return SaliencyZoom(network, size, view_size, padding="reflect", **OPTIONS)


def centre(size: tuple[int, int]) -> CentreZoom:
    return CentreZoom(size, **OPTIONS)


def composite(network: nn.Module, size: tuple[int, int], view_size: tuple[int, int]) -> CentreComposite:
    return CentreComposite(network, size, view_size, **OPTIONS)


def truth(size: tuple[int, int]) -> TruthZoom:
    return TruthZoom(size, **OPTIONS)


def finer(size: tuple[int, int], ratio: float) -> Uniform:
    """Plain resizing to as many times the pixels as `ratio` says."""
    return Uniform(tuple(round(side * ratio**0.5) for side in size))
