"""The grids of the saliency sampler's successors, and one more, behind one interface.

    grid = transport_grid(saliency)          # (B, 1, H, W) or (B, H, W) -> (B, H, W, 2)
    zoomed = resample(image, resize_grid(grid, (224, 224)))

| function | whose | never folds | zooms at two places without ghosts |
|---|---|---|---|
| `saliency_grid` (lib/models/sampler.py) | Learning to Zoom, ECCV 2018 | yes, unclamped | yes |
| `separable_grid` | FOVEA, ICCV 2021; LZU, CVPR 2023 | yes | no |
| `marginal_grid` | TASN, CVPR 2019; AttWarp, 2025 | yes | no |
| `cell_grid` | ZoomTrack, NeurIPS 2023 | yes, with a bound | no |
| `transport_grid` | here: equal mass in two dimensions | yes | yes |

Conventions: as in lib/models/sampler.py. Grids are (B, H, W, 2), x first, the image is [-1, 1], `align_corners=True`, output pixel -> input
position, one point for each cell of the map; `resize_grid` makes them finer. Saliency is non-negative and its scale does not matter; uniform
saliency (all zeros, too) is the identity; float32 at least, also under autocast; a map with a NaN, infinite or negative value gives NaN.
Torch only.
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor

from lib.models.grids.cells import cell_grid
from lib.models.grids.marginal import attwarp_grid, marginal_grid, tasn_grid
from lib.models.grids.measure import Distortion, distortion, zoom_at
from lib.models.grids.separable import BoxSaliency, boxes_saliency, composite_saliency, separable_grid
from lib.models.grids.transport import mass_error, transport_grid, transported_density
from lib.models.sampler import RELEASED_SIGMA, saliency_grid

FOVEA_SIGMA, LZU_SIGMA = 4 / 2.3548, 10 / 2.3548  # cells; full widths at half maximum of 4 and 10

GRIDS: dict[str, Callable[[Tensor], Tensor]] = {  # by name, each with its usual options
    "attraction": partial(saliency_grid, sigma=RELEASED_SIGMA),
    "separable": partial(separable_grid, sigma=LZU_SIGMA),
    "marginal": marginal_grid,
    "cells": cell_grid,
    "transport": transport_grid,
}

__all__ = ["FOVEA_SIGMA", "GRIDS", "LZU_SIGMA", "BoxSaliency", "Distortion", "attwarp_grid", "boxes_saliency", "cell_grid", "composite_saliency",
           "distortion", "marginal_grid", "mass_error", "saliency_grid", "separable_grid", "tasn_grid", "transport_grid", "transported_density",
           "zoom_at"]
