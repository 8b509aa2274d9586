"""The saliency sampler with its successors' grids: the same saliency network and maps, another way from the map to the grid.

    SaliencyZoom                 map -> attraction in the plane, "Learning to Zoom"
    GridZoom(..., grid="cells")  map -> any grid of `lib.models.grids.GRIDS`
    FixedZoom                    the data set's own map -> separable attraction, as in LZU
    CompositeZoom                the data set's own map and this picture's -> separable attraction, as in FOVEA
    ToldGrid                     a heat map of the annotation -> any grid: which grid is best where the saliency is right?

Deviations from the successors' systems: there the rest of the system differs, too. FOVEA's maps come from the boxes of the frame before, LZU trains
no saliency, TASN's come from attention, ZoomTrack's from the tracker's last box, AttWarp's from a language model. Here all have the maps of one
and the same network, or of the annotation, so that rows differ in the grid alone. A grid has the options of `lib.models.grids.GRIDS`;
"balanced" is the transport without its last step, equal mass to the blur of one cell, at an eighth of the cost.
"""

from functools import partial

import torch
from torch import Tensor, nn

from lib.models.grids import FOVEA_SIGMA, GRIDS, LZU_SIGMA, boxes_saliency, composite_saliency, separable_grid, transport_grid
from lib.models.network import declared
from lib.models.rivals import Oracle
from lib.models.sampler import SaliencyZoom, SpatialSampler, pair, resize_grid
from lib.models.zoomed import ZoomedNetwork, behind, trunk_of

ALL = GRIDS | {"balanced": partial(transport_grid, steps=0)}  # transport without its last step, the expensive one
SIDE = 512  # px, of the picture in which FOVEA's bandwidth counts
BANDWIDTH = 64.0  # FOVEA's


def grid_named(name: str):
    """The grid called `name`; ValueError, one line, that lists the right names."""
    if name not in ALL:
        raise ValueError(f"grid {name!r} is not one of {', '.join(ALL)}")
    return ALL[name]


class GridZoom(SaliencyZoom):
    """`SaliencyZoom` with another grid: saliency network, ReLU, 1x1 convolution, resize, softmax, grid `grid`."""

    def __init__(self, *arguments, grid: str, **options):
        super().__init__(*arguments, **options)
        self.grid, self.grid_name = grid_named(grid), grid

    def locate(self, view: Tensor) -> tuple[Tensor, Tensor]:
        saliency = self.saliency(view)
        return resize_grid(self.grid(saliency), self.task_size), saliency


class ToldGrid(Oracle):
    """`Oracle` with another grid. power: exponent of the heat map; grids enlarge by different amounts for the same map."""

    def __init__(self, task_size: int | tuple[int, int], *, grid: str, power: float = 1.0, **options):
        super().__init__(task_size, **options)
        self.grid, self.grid_name, self.power = grid_named(grid), grid, power

    def locate(self, view: Tensor) -> tuple[Tensor, Tensor]:
        known = view.masked_fill(view.amax(dim=(1, 2, 3), keepdim=True) == 0, torch.nan)
        return resize_grid(self.grid(known**self.power), self.task_size), view


class DataSetMap(nn.Module):
    """The fixed map of a data set (1, 1, *size), sums to 1: FOVEA's kernel density of the training boxes; uniform until it is given boxes."""

    def __init__(self, size: tuple[int, int]):
        super().__init__()
        self.register_buffer("map", torch.full((1, 1, *size), 1 / (size[0] * size[1])))

    def learn(self, boxes: Tensor, side: int) -> None:
        """boxes: (N, 4) as (x, y, w, h) in pixels of squares of `side`; those that are not finite are unknown."""
        known = boxes[boxes.isfinite().all(1)].double() / side * 2
        if len(known):
            corners = torch.cat((known[:, :2] - 1, known[:, :2] + known[:, 2:] - 1), dim=1)
            options = {"size": tuple(self.map.shape[-2:]), "image_size": SIDE, "bandwidth": BANDWIDTH}
            each = [boxes_saliency(part[:, None], **options).sum(0, keepdim=True) for part in corners.split(256)]
            self.map.copy_(sum(each) / len(known))


class FixedZoom(SpatialSampler):
    """LZU's: the data set's map, for every picture the same, through the separable attraction of LZU's width."""

    def __init__(self, task_size: int | tuple[int, int], *, map_size: int = 31, sigma: float = LZU_SIGMA, **options):
        super().__init__(task_size, map_size, **options)
        self.sigma, self.fixed = sigma, DataSetMap(pair(map_size))

    def prepare(self, task) -> None:
        self.fixed.learn(task.columns["train"]["box"], task.canvas["train"].size)

    def locate(self, view: Tensor) -> tuple[Tensor, Tensor]:
        saliency = self.fixed.map.expand(view.shape[0], -1, -1, -1)
        return resize_grid(separable_grid(saliency, sigma=self.sigma), self.task_size), saliency


class CompositeZoom(SaliencyZoom):
    """FOVEA's: `weight` of this picture's map, the rest of the data set's, through the separable attraction of FOVEA's width."""

    def __init__(self, *arguments, weight: float = 0.5, sigma: float = FOVEA_SIGMA, **options):
        super().__init__(*arguments, sigma=sigma, **options)
        self.weight, self.fixed = weight, DataSetMap(self.map_size)

    prepare = FixedZoom.prepare

    def locate(self, view: Tensor) -> tuple[Tensor, Tensor]:
        saliency = composite_saliency(self.fixed.map, self.saliency(view), weight=self.weight)
        return resize_grid(separable_grid(saliency, sigma=self.sigma), self.task_size), saliency


# --- rows ---------------------------------------------------------------------------------------------------------------


@declared("learned_grid", "layer", "backbones", "grids")
def learned(*, grid: str, task: str, outputs: int, trunk: str, task_size: int, view_size: int, layers: int = 14) -> ZoomedNetwork:
    return behind(lambda **normalize: GridZoom(trunk_of(trunk, layers), task_size, view_size, grid=grid, **normalize), task, outputs)


@declared("told_grid", "layer", "backbones", "rivals", "grids")
def told(*, grid: str, task: str, outputs: int, task_size: int, power: float = 1.0, at: str = "annotation") -> ZoomedNetwork:
    """at: the batch's heat map that it zooms by."""
    def make(**normalize) -> ToldGrid:  # it looks at an annotation: nothing to normalise
        sampler = ToldGrid(task_size, grid=grid, power=power)
        sampler.looks_at = at
        return sampler

    return behind(make, task, outputs)


@declared("composite_map", "layer", "backbones", "grids")
def fovea(*, task: str, outputs: int, trunk: str, task_size: int, view_size: int, layers: int = 14, weight: float = 0.5) -> ZoomedNetwork:
    return behind(lambda **normalize: CompositeZoom(trunk_of(trunk, layers), task_size, view_size, weight=weight, **normalize), task, outputs)


@declared("fixed_map", "layer", "backbones", "grids")
def lzu(*, task: str, outputs: int, task_size: int) -> ZoomedNetwork:
    return behind(partial(FixedZoom, task_size), task, outputs)
