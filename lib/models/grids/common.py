"""What all grids share: saliency made fit to be a density, and the capped density behind every `bound`."""

import math

import torch
from torch import Tensor

from lib.models.sampler import as_maps

TINY = 1e-6  # share of the mass that is spread evenly, so that a density never vanishes and its inverse has a derivative


def as_mass(saliency: Tensor) -> Tensor:
    """`saliency` (B, 1, H, W) or (B, H, W) as (B, H, W), float32 at least, its peak 1; a map of zeros becomes ones.

    A map that holds a negative, infinite or NaN value becomes NaN everywhere, and so does its grid.
    """
    saliency = as_maps(saliency)
    peak = saliency.detach().amax(dim=(1, 2), keepdim=True)  # (B, 1, 1)
    bad = ((saliency < 0) | ~saliency.isfinite()).any(dim=2, keepdim=True).any(dim=1, keepdim=True)
    mass = torch.where(peak == 0, torch.ones_like(saliency), saliency) / torch.where(peak == 0, torch.ones_like(peak), peak)
    return torch.where(bad, torch.full_like(mass, math.nan), mass)


def trapezoid(cells: int, *, like: Tensor) -> Tensor:
    """Weights (cells,) of an axis that sum to 1: the border cells lie half outside, as their centres are the image's border."""
    weights = torch.ones(cells, dtype=like.dtype, device=like.device)
    weights[0] = weights[-1] = 0.5
    return weights / (cells - 1)


def capped(density: Tensor, weights: Tensor, top: float) -> Tensor:
    """min(density + c, top) with the c that keeps the mean: what is cut off is spread evenly, as TASN does, but to the end.

    density (B, n) with weighted mean 1, weights (n,) that sum to 1, top at least 1. Differentiable almost everywhere. TASN
    repeats cutting and spreading a few times; this is where that converges. c is the largest of the roots of the linear
    pieces, one for each number of cells cut, since the mean of the minimum is the minimum over all choices of what to cut.
    """
    order = density.detach().argsort(dim=1, descending=True)
    share = weights.expand_as(density).gather(1, order)
    cut = share.cumsum(1)[:, :-1]  # (B, n - 1), weight of the k largest, k from 1
    mass = (share * density.gather(1, order)).cumsum(1)[:, :-1]
    shift = ((mass - top * cut) / (1 - cut)).amax(dim=1, keepdim=True).clamp(min=0)
    return (density + shift).clamp(max=top)


def check_bound(bound: float | None) -> None:
    if bound is not None and not bound >= 1:
        raise ValueError(f"bound is {bound}, expected a linear magnification of at least 1, or None")


def outer_grid(x: Tensor, y: Tensor) -> Tensor:
    """The grid (B, H, W, 2) of positions x (B, W) and y (B, H)."""
    height, width = y.shape[1], x.shape[1]
    return torch.stack((x[:, None].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)), dim=-1)
