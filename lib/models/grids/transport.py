"""Equal mass in two dimensions: optimal transport of uniform output to the saliency. Equation 1 of "Learning to Zoom", literally.

That equation asks for samples that share the saliency equally. In two dimensions many grids do; the gradient of a convex potential is the
one that moves points least (Brenier) and does not fold. Two steps find it:

1. Balancing. The attraction of the 2018 paper, T(y) = sum v k x / sum v k with v = S, is half a step of Sinkhorn's algorithm for optimal
   transport with entropy sigma^2. Here the steps go on until the masses balance: v = S / (K u), u = 1 / (K v), with sigma falling from 8
   cells to 1. The result is `saliency_grid(v, sigma=1, padding="reflect")`: the gradient of a smooth convex potential, as ever, and it costs
   some ninety attractions. What is missing from equal mass is the blur of one cell.
2. Equalising. Newton's method makes the masses of the H - 1 x W - 1 quadrilaterals between the grid's points equal, to rounding. It adds
   the gradient, at the knots, of a biquadratic spline with one coefficient for each quadrilateral; a step that would fold one is halved.

Mass: the saliency as a biquadratic spline density (each cell blurred by half a cell, so that it has a derivative), integrated over a
quadrilateral with straight sides by the divergence theorem, along its edges with sixteen Gauss points each. Lengths are in cells.

The gradient of 1 is unrolled, that of 2 implicit: one linear solve with the transposed Jacobian. Where Newton does not get through
(neighbouring cells of very different saliency: the quadrilaterals are then too coarse to follow without folding), it stops at the last grid
that does not fold; `mass_error` says how far that is from equal, and the gradient is that of 1 alone. The default limits are what all of a hundred
maps of people's fixations on OSIE's photographs, and all but a few random ones, are met with (`tests/bench_grids.py`).
"""

import torch
from torch import Tensor

from lib.models.grids.common import as_mass, capped, check_bound
from lib.models.grids.equalise import cell_masses, corner_areas, equalise
from lib.models.grids.separable import attraction_matrices
from lib.models.sampler import identity_grid

SIGMAS, ROUNDS = tuple(2 ** (3 - k / 2) for k in range(7)), 12  # of the balancing: 8 to 1 cells, rounds for each


def transport_grid(saliency: Tensor, *, floor: float = 0.25, bound: float | None = 2.5, steps: int = 20, tolerance: float = 1e-5) -> Tensor:
    """The grid whose cells all hold the same share of the saliency, and that is the gradient of a convex potential.

    saliency: (B, 1, H, W) or (B, H, W), non-negative, H and W at least 3; zero everywhere counts as uniform.
    floor: share of the saliency that is spread evenly: no place shrinks below sqrt(floor), a half, linearly. bound: the largest linear
    magnification; the density is cut at bound^2 times its mean and what is cut is spread evenly. floor=0, bound=None is Equation 1 to
    the letter; a density that spans more than some 100 to 1 is not always met.
    steps: of Newton's method at most; 0 stops after balancing. tolerance: largest relative error of a cell's mass.

    Returns (B, H, W, 2), x first, `align_corners=True`, float32 at least (float64 inside). Its border is the image's border, it does not
    fold, uniform saliency gives the identity; nothing is separable about it, so two places zoom without ghosts. Differentiable.

    Example:
        >>> saliency = torch.rand(1, 9, 9) + 0.5
        >>> grid = transport_grid(saliency)
        >>> bool(mass_error(grid, saliency).abs().max() < 1e-4), grid.amin().item(), grid.amax().item()
        (True, -1.0, 1.0)
    """
    if not 0 <= floor <= 1:
        raise ValueError(f"floor is {floor}, expected a share from 0 to 1")
    mass = as_mass(saliency)
    if min(mass.shape[1:]) < 3:
        raise ValueError(f"saliency has shape {tuple(saliency.shape)}, expected H and W at least 3")
    with torch.autocast(mass.device.type, enabled=False):
        density = transported_density(mass, floor=floor, bound=bound)
        grid = balanced(density)
        if steps > 0:
            cells = torch.tensor([mass.shape[2] - 1, mass.shape[1] - 1], dtype=grid.dtype, device=grid.device) / 2
            grid = equalise(density, (grid + 1) * cells, steps, tolerance) / cells - 1
    return grid.to(mass.dtype)


def transported_density(saliency: Tensor, *, floor: float = 0.25, bound: float | None = 2.5) -> Tensor:
    """The density (B, H, W), float64, mean 1, that `transport_grid` shares out, after floor and bound.

    Example:
        >>> density = transported_density(torch.eye(9)[None], bound=None)
        >>> round(density.min().item(), 2)  # most of the map is 0, and keeps a quarter of the mean
        0.25
    """
    check_bound(bound)
    density = as_mass(saliency).double()
    weights = spline_weights(density)
    density = (1 - floor) * density / (density * weights).sum((1, 2), keepdim=True) + floor
    return density if bound is None else capped(density.flatten(1), weights.flatten(), bound**2).view_as(density)


def spline_weights(density: Tensor) -> Tensor:
    """(H, W), sums to 1: each cell's share of the image in the biquadratic spline, whose border cells lie half outside."""
    axes = []
    for cells in density.shape[1:]:
        axis = torch.ones(cells, dtype=density.dtype, device=density.device)
        axis[0], axis[-1] = 0.5 + 1 / 48, 0.5 + 1 / 48
        axis[1], axis[-2] = axis[1] - 1 / 48, axis[-2] - 1 / 48
        axes.append(axis / (cells - 1))
    return axes[0][:, None] * axes[1]


def balanced(density: Tensor) -> Tensor:
    """The attraction (B, H, W, 2), in [-1, 1], of the map that balances the masses under a Gaussian of one cell.

    Between the grid's points it is bilinear, and near cells of very different saliency that folds, though the attraction does not: such a map has
    its grid from the last larger sigma without a fold.
    """
    height, width = density.shape[1:]
    source, output = torch.ones_like(density), torch.ones_like(density)
    grid = identity_grid((height, width), like=density).expand(len(density), -1, -1, -1) * (density[:, :1, :1, None] / density[:, :1, :1, None])
    for level, sigma in enumerate(SIGMAS):
        (rows, moment_y), (columns, moment_x) = (attraction_matrices(cells, sigma, "reflect", cells - 1, like=density) for cells in (height, width))
        if level:  # the potentials stay, their exponentials grow
            growth = (SIGMAS[level - 1] / sigma) ** 2
            source, output = density * _level(source / density) ** growth, output**growth
        for _ in range(ROUNDS):
            output = 1 / (rows @ source @ columns.T)
            source = density / (rows @ output @ columns.T)
        total = rows @ source @ columns.T
        finer = torch.stack(((rows @ source @ moment_x.T) / total, (moment_y @ source @ columns.T) / total), dim=-1)
        proper = (corner_areas(finer.detach()) > 0).flatten(1).all(1)
        grid = torch.where(proper[:, None, None, None], finer, grid)
    return grid


def _level(potential: Tensor) -> Tensor:
    return potential / potential.detach().amax((1, 2), keepdim=True)


def mass_error(grid: Tensor, saliency: Tensor, *, floor: float = 0.25, bound: float | None = 2.5) -> Tensor:
    """How far each cell of `grid` (B, H, W, 2) is from an equal share of the density: (B, H - 1, W - 1), relative, 0 for equal.

    saliency, floor, bound as for `transport_grid`. Works for any grid of the saliency's size.

    Example:
        >>> saliency = torch.ones(1, 8, 8)
        >>> saliency[:, 2:4, 2:4] = 3
        >>> plain = identity_grid(8, like=saliency).double()
        >>> [round(mass_error(grid, saliency).abs().max().item(), 1) for grid in (plain, transport_grid(saliency))]
        [1.1, 0.0]
    """
    with torch.no_grad():
        density = transported_density(saliency, floor=floor, bound=bound)
        cells = torch.tensor([density.shape[2] - 1, density.shape[1] - 1], dtype=density.dtype, device=density.device) / 2
        mass = cell_masses((grid.double() + 1) * cells, density)
        return mass / mass.mean((1, 2), keepdim=True) - 1
