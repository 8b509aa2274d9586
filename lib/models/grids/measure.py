"""What a grid does to a picture, in numbers: zoom, anisotropy, shear, and how much larger a place is shown."""

from typing import NamedTuple

import torch
from torch import Tensor

from lib.models.carry import carry_points, sample
from lib.models.sampler import magnification


class Distortion(NamedTuple):
    """Per output pixel (B, h, w), against uniform sampling of a picture whose cells are square.

    Example:
        >>> Distortion._fields
        ('zoom', 'anisotropy', 'shear')
    """

    zoom: Tensor  # linear, 1 = uniform
    anisotropy: Tensor  # larger stretch over smaller one, 1 = similar to the picture
    shear: Tensor  # how far a right angle between the axes is from 90 degrees


def distortion(grid: Tensor) -> Distortion:
    """Zoom, anisotropy and shear of `grid` (B, h, w, 2), from central differences, one-sided at the border.

    Example:
        >>> from lib.models.sampler import identity_grid
        >>> grid = identity_grid(9, like=torch.zeros(1)) * torch.tensor([0.5, 1.0])  # the middle half of each row, twice as wide
        >>> zoom, anisotropy, shear = distortion(grid)
        >>> round(zoom.mean().item(), 2), anisotropy.mean().item(), shear.mean().item()
        (1.41, 2.0, 0.0)
    """
    height, width = grid.shape[1:3]
    cells = torch.tensor([width - 1, height - 1], dtype=grid.dtype, device=grid.device) / 2
    (a, b), (c, d) = (side.unbind(-1) for side in torch.gradient(grid * cells, dim=(2, 1)))  # along x and along y, in cells
    total, area = a**2 + b**2 + c**2 + d**2, (a * d - b * c).abs()
    spread = (total**2 - 4 * area**2).clamp(min=0).sqrt()
    anisotropy = (total + spread) / (2 * area)  # of the singular values: larger^2 / (larger x smaller)
    cosine = (a * c + b * d) / ((a**2 + b**2) * (c**2 + d**2)).sqrt()
    return Distortion(magnification(grid), anisotropy, torch.rad2deg(torch.asin(cosine.clamp(-1, 1))).abs())


def zoom_at(grid: Tensor, points: Tensor) -> Tensor:
    """The linear zoom (B, N) with which `grid` shows the original positions `points` (B, N, 2); NaN where it does not show them.

    Example:
        >>> from lib.models.sampler import identity_grid
        >>> zoom_at(identity_grid(9, like=torch.zeros(1)) / 2, torch.tensor([[[0.25, 0.25], [0.75, 0.25]]])).tolist()
        [[2.0, nan]]
    """
    places = carry_points(grid.detach(), points, back=False)
    return sample(magnification(grid)[:, None], places)[:, 0]
