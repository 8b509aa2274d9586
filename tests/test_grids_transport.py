"""Equal mass in two dimensions: every cell's share, measured by brute force; what limits it; and that it is a transport."""

import pytest
import torch

from lib.data.osie import OSIE
from lib.models.grids import mass_error, transport_grid, transported_density
from lib.models.grids.separable import attraction_matrices
from lib.models.grids.transport import SIGMAS, balanced
from lib.models.sampler import folds, identity_grid, low_resolution, saliency_grid
from maps import blobs, rough, smooth

LITERAL = {"floor": 0.0, "bound": None}
FAMILIES = {"uniform noise": lambda: torch.rand(34, 1, 31, 31, generator=torch.Generator().manual_seed(0)) + 0.05,
            "single cells": lambda: rough(33, 31, 31, spread=0.7, seed=1), "smooth": lambda: smooth(33, seed=2)}


def spline_values(density, points):
    """The biquadratic spline with coefficients `density` (B, H, W) at `points` (B, ..., 2) in cells: nine weighted cells, written out."""
    batch = torch.arange(len(density)).view(-1, *[1] * (points.dim() - 2))
    nearest = (points + 0.5).floor()
    total = 0
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            cell = nearest + torch.tensor([j, i])
            distance = (points - cell).abs()
            weight = torch.where(distance < 0.5, 0.75 - distance**2, 0.5 * (1.5 - distance).clamp(min=0) ** 2).prod(-1)
            column, row = cell[..., 0].clamp(0, density.shape[2] - 1).long(), cell[..., 1].clamp(0, density.shape[1] - 1).long()
            total = total + weight * density[batch, row, column]
    return total


def brute_masses(grid, density, count=24):
    """Mass of every quadrilateral: the density at count x count places of each, times the area there, summed."""
    cells = torch.tensor([density.shape[2] - 1, density.shape[1] - 1]) / 2
    points = (grid.double() + 1) * cells
    a, b, c, d = points[:, :-1, :-1], points[:, :-1, 1:], points[:, 1:, :-1], points[:, 1:, 1:]
    total = 0
    for s in (torch.arange(count) + 0.5) / count:
        for t in (torch.arange(count) + 0.5) / count:
            place = (a * (1 - t) + b * t) * (1 - s) + (c * (1 - t) + d * t) * s
            along_x, along_y = (b - a) * (1 - s) + (d - c) * s, (c - a) * (1 - t) + (d - b) * t
            area = along_x[..., 0] * along_y[..., 1] - along_x[..., 1] * along_y[..., 0]
            total = total + spline_values(density, place) * area / count**2
    return total


class TestEqualMass:
    @pytest.mark.parametrize("family", FAMILIES)
    @pytest.mark.parametrize("options", [{}, LITERAL], ids=["default", "to the letter"])
    def test_a_hundred_random_maps(self, family, options):
        """Every cell of every map within a hundredth of equal, and no fold: with the limits, and to the letter of Equation 1 too."""
        maps = FAMILIES[family]()
        grid = transport_grid(maps, **options)
        error = mass_error(grid, maps, **options).abs().amax((1, 2))
        assert folds(grid).max() == 0
        if options and family != "uniform noise":  # neighbours of a thousand to one: some are beyond the lattice
            assert (error < 0.01).double().mean() > 0.8
        else:
            assert error.max() < 1e-4  # float32 of the grid

    @pytest.mark.parametrize("family", FAMILIES)
    def test_the_masses_are_true(self, family):
        """Against brute force, which knows no divergence theorem."""
        maps = FAMILIES[family]()[:4].double()
        mass = brute_masses(transport_grid(maps), transported_density(maps))
        assert (mass / mass.mean((1, 2), keepdim=True) - 1).abs().max() < 0.01
        assert (mass.sum((1, 2)) / (30 * 30) - 1).abs().max() < 1e-3

    def test_peoples_fixations_on_photographs(self, real_data):
        """Mostly empty maps with steep peaks: each of them within a hundredth."""
        data = OSIE(real_data / "osie")
        densities = torch.stack([torch.from_numpy(data.density(index))[None] for index in range(0, 200, 10)])
        maps = low_resolution(densities, (31, 41)).clamp(min=0)
        grid = transport_grid(maps)
        assert mass_error(grid, maps).abs().max() < 0.01 and folds(grid).max() == 0

    def test_mass_error_is_of_any_grid(self):
        maps = smooth(3, 12, 15, dtype=torch.float64)
        other = saliency_grid(maps, sigma=3.0, padding="reflect")
        mass = brute_masses(other, transported_density(maps))
        assert (mass_error(other, maps) - (mass / mass.mean((1, 2), keepdim=True) - 1)).abs().max() < 5e-3
        assert mass_error(other, maps).abs().max() > 0.3
        assert mass_error(identity_grid((12, 15), like=maps).expand(3, -1, -1, -1), torch.ones(3, 12, 15)).abs().max() < 1e-9

    def test_what_is_not_met_is_said_and_does_not_fold(self):
        """A desert around one cell: beyond what quadrilaterals of this lattice can follow."""
        maps = torch.full((1, 1, 31, 31), 1e-6, dtype=torch.float64)
        maps[..., 10, 20] = 1.0
        grid = transport_grid(maps, **LITERAL)
        assert grid.isfinite().all() and mass_error(grid, maps, **LITERAL).abs().max() > 0.1
        assert folds(transport_grid(maps)).max() == 0

    def test_unmet_maps_have_the_gradient_of_their_balance(self):
        maps = torch.full((1, 1, 9, 9), 1e-4, dtype=torch.float64)
        maps[..., 3, 6] = 1.0
        gradients = []
        for steps in (1, 0):
            leaf = maps.clone().requires_grad_()
            grid = transport_grid(leaf, **LITERAL, steps=steps, tolerance=1e-12)
            if steps:
                assert mass_error(grid, maps, **LITERAL).abs().max() > 1e-2
            grid[0, 4, 4].sum().backward()
            gradients.append(leaf.grad)
        assert gradients[0].isfinite().all() and torch.allclose(*gradients)


class TestTransport:
    def test_balanced_is_the_attraction_of_the_balanced_map(self):
        """What the first step ends with is `saliency_grid` of some map, so that it has its guarantee; and the masses balance."""
        density = transported_density(smooth(2, 12, 15))
        grid = balanced(density)
        (rows, _), (columns, _) = (attraction_matrices(cells, SIGMAS[-1], "reflect", cells - 1, like=density) for cells in (12, 15))
        output, source = torch.ones_like(density), density
        for _ in range(4000):  # Sinkhorn, plainly, at the last sigma alone
            output = 1 / (rows @ source @ columns.T)
            source = density / (rows @ output @ columns.T)
        assert (saliency_grid(source, sigma=SIGMAS[-1], padding="reflect") - grid).abs().max() < 0.05  # of 2

    def test_it_is_a_gradient(self):
        """Brenier: the way around every cell is no work, up to the lattice; a turned grid of equal mass is not."""
        maps = smooth(8, dtype=torch.float64)
        points = (transport_grid(maps) + 1) * 15
        assert circulation(points).abs().mean() < 0.02
        swirl = 0.1 * torch.stack((points[..., 1] - 15, 15 - points[..., 0]), dim=-1)
        assert circulation(points + swirl).abs().mean() > 0.2

    def test_points_move_less_than_under_two_cumulative_sums(self):
        """Of all maps of equal mass it is the one that moves least: here less than equal columns and, within them, equal rows."""
        maps = blobs((8, 8), (22, 22)).clone()
        points, plain = transport_grid(maps, **LITERAL), identity_grid(31, like=maps)
        assert (points - plain).square().sum(-1).mean() < (columns_then_rows(maps) - plain).square().sum(-1).mean()

    def test_the_limits_hold(self):
        maps = smooth(8, spread=3, dtype=torch.float64)
        density = transported_density(maps, floor=0.2, bound=3.0)
        assert density.min() > 0.2 and density.max() < 9 + 1e-9
        grid = transport_grid(maps)
        right, down = grid.diff(dim=2), grid.diff(dim=1)
        area = (right[:, :-1, :, 0] + right[:, 1:, :, 0]) / 2 * (down[:, :, :-1, 1] + down[:, :, 1:, 1]) / 2
        assert (4 / 900 / area).max() < 2.5**2 * 1.25  # linear zoom about 2.5 at most

    @pytest.mark.parametrize("shape", [(9, 21), (21, 9), (3, 3), (4, 3)])
    def test_rectangular_maps(self, shape):
        maps = rough(3, *shape, spread=0.7, dtype=torch.float64)
        grid = transport_grid(maps, tolerance=1e-9)
        assert mass_error(grid, maps).abs().max() < 1e-8 and folds(grid).max() == 0

    def test_two_cells_are_too_few(self):
        with pytest.raises(ValueError, match="at least 3"):
            transport_grid(torch.ones(1, 2, 5))

    def test_the_gradient_moves_the_grid_where_it_should(self):
        """Learning by it: a map that shall look at a place comes to look at it."""
        logits = torch.zeros(1, 1, 9, 9, requires_grad=True)
        optimiser = torch.optim.Adam([logits], lr=0.2)
        for _ in range(30):
            optimiser.zero_grad()
            grid = transport_grid(logits.flatten(1).softmax(1).view_as(logits))
            loss = (grid[0] - torch.tensor([0.5, -0.5])).square().sum(-1).mean()
            loss.backward()
            optimiser.step()
        peak = logits.detach().flatten().argmax().item()
        assert abs(peak % 9 - 6) <= 1 and abs(peak // 9 - 2) <= 1


def circulation(points):
    """Twice the work around each cell of the lattice of outputs, (B, n, m), in cells."""
    a, b, c, d = points[:, :-1, :-1], points[:, :-1, 1:], points[:, 1:, :-1], points[:, 1:, 1:]
    return ((a + b)[..., 0] + (b + d)[..., 1] - (d + c)[..., 0] - (c + a)[..., 1])


def columns_then_rows(maps):
    """Another grid of (nearly) equal mass: equal columns, and equal rows of each column (Knothe and Rosenblatt)."""
    from test_grids_originals import spline_parts

    values = maps[0, 0].numpy()
    x = torch.from_numpy(spline_parts(values.sum(0)))
    column = ((x + 1) * 15).round().long().clamp(0, 30)
    y = torch.stack([torch.from_numpy(spline_parts(values[:, c])) for c in column], dim=1)
    return torch.stack((x.expand(31, -1), y), dim=-1)[None]
