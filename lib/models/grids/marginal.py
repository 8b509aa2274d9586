"""Equal mass along each axis: the two cumulative sums of the saliency, inverted (TASN, AttWarp).

Zheng, Fu, Zha, Luo: "Looking for the Devil in the Details: Learning Trilinear Attention Sampling Network", CVPR 2019, section 3.2;
Dalal et al.: "Constructive Distortion" (AttWarp), arXiv 2510.09741. Released code: the sampler in dlut-dimt/SegMaR (TASN's), dwipddalal/AttWarp.

Both leave the gradient out: TASN detaches, AttWarp is NumPy. `marginal_grid` has it. The originals, with their offsets, are `tasn_grid`
and `attwarp_grid`: they are for comparison, and neither gives what one expects at uniform saliency or at the border.
"""

import torch
from torch import Tensor

from lib.models.grids.common import TINY, as_mass, capped, check_bound, outer_grid, trapezoid


def marginal_grid(saliency: Tensor, *, power: float = 1.0, bound: float | None = None) -> Tensor:
    """The grid whose columns share the saliency equally, and whose rows do: every strip between two grid lines has the same mass.

    saliency: (B, 1, H, W) or (B, H, W), non-negative, taken as the bilinear density with these values at the grid's points; zero
    everywhere counts as uniform. power: of the map before it is summed (AttWarp: 0.5). bound: the largest linear magnification along an
    axis; the marginal is cut at `bound` times its mean and what is cut is spread evenly.

    Returns (B, H, W, 2), x first, `align_corners=True`, float32 at least (float64 inside). Pinned at the border, strictly increasing along
    both axes, so that it never folds; uniform saliency gives the identity. A millionth of the mass is spread evenly, so that the
    inverse has a derivative where the map is zero. Differentiable. Ghosts at the crossings as in `separable_grid`.

    Example:
        >>> saliency = torch.ones(1, 5, 5)
        >>> saliency[:, :, 3:] = 7  # most of the mass lies right of the middle: most of the grid, too
        >>> [round(x, 2) for x in marginal_grid(saliency)[0, 0, :, 0].tolist()]
        [-1.0, 0.25, 0.54, 0.77, 1.0]
    """
    check_bound(bound)
    if not power > 0:
        raise ValueError(f"power is {power}, expected a positive exponent of the map")
    mass = as_mass(saliency)
    with torch.autocast(mass.device.type, enabled=False):
        density = mass.double()
        density = density if power == 1 else density.clamp(min=1e-12) ** power
        rows, columns = (trapezoid(cells, like=density) for cells in density.shape[1:])
        x = _equalised(torch.einsum("bhw,h->bw", density, rows), bound)
        y = _equalised(torch.einsum("bhw,w->bh", density, columns), bound)
    return outer_grid(x, y).to(mass.dtype)


def _equalised(profile: Tensor, bound: float | None) -> Tensor:
    """Positions (B, n) in [-1, 1] that cut the piecewise linear density `profile` (B, n) into n - 1 parts of equal mass."""
    cells = profile.shape[1]
    weights = trapezoid(cells, like=profile)
    profile = (1 - TINY) * profile / (profile @ weights)[:, None] + TINY  # mean 1
    profile = profile if bound is None else capped(profile, weights, bound)
    steps = (profile[:, 1:] + profile[:, :-1]) / 2
    total = torch.cat((torch.zeros_like(steps[:, :1]), steps.cumsum(1)), dim=1)  # (B, n), from 0 to n - 1
    goal = torch.linspace(0, 1, cells, dtype=profile.dtype, device=profile.device)[1:-1] * total[:, -1:]
    cell = torch.searchsorted(total.detach().contiguous(), goal.detach().contiguous(), right=True).clamp(1, cells - 1) - 1  # (B, n - 2)
    left, slope = profile.gather(1, cell), (profile[:, 1:] - profile[:, :-1]).gather(1, cell)
    rest = goal - total.gather(1, cell)
    part = 2 * rest / (left + (left**2 + 2 * slope * rest).clamp(min=TINY**4).sqrt())  # root of left t + slope t^2 / 2 = rest
    ends = total[:, -1:] / total[:, -1:]  # 1, or NaN where the profile is
    return torch.cat((-ends, (cell + part) * (2 / (cells - 1)) - 1, ends), dim=1)


# ---------------------------------------------------------------------------------------------------------------- the originals


def tasn_grid(saliency: Tensor, *, dense: float = 4.0, iters: int = 1) -> Tensor:
    """TASN's grid as released, scale 1: marginals by maximum, cut at `dense` means and at the smaller of the two peaks, inverted.

    (B, 1, H, W) or (B, H, W) -> (B, H, W, 2). Not the identity at uniform saliency: it lies one cell to the upper left of it, and the first
    row and column one cell outside the image. A flat marginal flattens the other one too. Theirs has no gradient. Magnification along
    an axis is bounded by about `dense`.

    Example:
        >>> tasn_grid(torch.ones(1, 5, 5))[0, 0, :, 0].tolist()  # a uniform map: one cell off, the first outside the image
        [-1.5, -1.0, -0.5, 0.0, 0.5]
    """
    mass = as_mass(saliency).double()
    x, y = mass.amax(1), mass.amax(2)
    x, y = (profile / profile.mean(1, keepdim=True) for profile in (x, y))
    for turn in range(iters):
        top = torch.minimum(x.amax(1, keepdim=True), y.amax(1, keepdim=True))
        top = top.clamp(max=dense) if turn == 0 else top
        x, y = (torch.minimum(profile, top) for profile in (x, y))
        x, y = (profile + (1 - profile.mean(1, keepdim=True)) for profile in (x, y))
    return outer_grid(_tasn_inverse(x), _tasn_inverse(y)).to(torch.promote_types(saliency.dtype, torch.float32))


def _tasn_inverse(profile: Tensor) -> Tensor:
    cells = profile.shape[1]
    total = torch.cat((torch.ones_like(profile[:, :1]), profile[:, 1:]), dim=1).cumsum(1)  # the first element is set to 1
    goal = torch.arange(cells, dtype=profile.dtype, device=profile.device) * (total[:, -1:] / cells)
    cell = torch.searchsorted(total.contiguous(), goal.contiguous()).clamp(max=cells - 1)  # first cell whose sum reaches the goal
    before = torch.cat((torch.zeros_like(total[:, :1]), total[:, :-1]), dim=1).gather(1, cell)
    reached = total.gather(1, cell)
    return (cell + (goal - reached) / (reached - before)) * (2 / (cells - 1)) - 1


def attwarp_grid(saliency: Tensor, *, power: float = 0.5, undo: bool = False) -> Tensor:
    """AttWarp's grid as released: sums of map^power + 1e-9, cumulated, inverted at the integers 0 .. n - 1 instead of pixel centres.

    (B, 1, H, W) or (B, H, W) -> (B, H, W, 2), shifted by up to half a pixel against the equal cells that are meant. undo: raise each
    marginal to 1 / power ("apply inverse"). The map's scale matters a little, through the 1e-9; here its peak is 1.

    Example:
        >>> saliency = torch.ones(1, 5, 5)
        >>> saliency[:, :, 3:] = 16
        >>> [round(x, 3) for x in attwarp_grid(saliency)[0, 0, :, 0].tolist()]  # the last position lies outside the image
        [-1.0, 0.1, 0.675, 0.95, 1.225]
    """
    mass = as_mass(saliency).double()
    biased = mass**power + 1e-9
    x, y = biased.sum(1), biased.sum(2)
    if undo:
        x = (x - 1e-9 * mass.shape[1]).clamp(min=0) ** (1 / power) + 1e-9 * mass.shape[1]
        y = (y - 1e-9 * mass.shape[2]).clamp(min=0) ** (1 / power) + 1e-9 * mass.shape[2]
    return outer_grid(_attwarp_inverse(x), _attwarp_inverse(y)).to(torch.promote_types(saliency.dtype, torch.float32))


def _attwarp_inverse(profile: Tensor) -> Tensor:
    cells = profile.shape[1]
    total = torch.cat((torch.zeros_like(profile[:, :1]), profile.cumsum(1)), dim=1)  # (B, n + 1)
    total = total / total[:, -1:] * cells
    goal = torch.arange(cells, dtype=profile.dtype, device=profile.device).expand_as(profile).contiguous()
    cell = torch.searchsorted(total.contiguous(), goal, right=True).clamp(1, cells) - 1
    part = (goal - total.gather(1, cell)) / (total[:, 1:] - total[:, :-1]).gather(1, cell)
    return (cell + part) * (2 / (cells - 1)) - 1
