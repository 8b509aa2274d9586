"""The inverse of a grid: exact on each bilinear cell, against an oracle that tries every cell, NaN where nothing maps to."""

import pytest
import torch
import torch.nn.functional as F

from lib.models import sampler
from lib.models.inverse import inverse
from lib.models.sampler import RELEASED_SIGMA, identity_grid, resize_grid, saliency_grid


def zoom_grid(batch=2, size=31, *, spread=3.0, seed=0, **options):
    logits = torch.randn(batch, 31 * 31, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * spread
    return resize_grid(saliency_grid(logits.softmax(1).view(batch, 31, 31), sigma=RELEASED_SIGMA, **options), size)


def values(grid, place):
    """The grid (B, h, w, 2), bilinear, at zoomed positions (B, N, 2)."""
    return F.grid_sample(grid.double().permute(0, 3, 1, 2), place[:, :, None], align_corners=True)[..., 0].permute(0, 2, 1)


def inside_some_cell(corners, point):
    """Does one of the convex cells, (K, 4, 2) in the order around, hold the point? By the side of each edge that it lies on."""
    edge, to = corners.roll(-1, dims=1) - corners, point - corners
    return ((edge[..., 0] * to[..., 1] - edge[..., 1] * to[..., 0]) >= 0).all(dim=1).any().item()


@pytest.mark.parametrize("size", [31, (48, 64), (2, 3)])
@pytest.mark.parametrize("spread", [1.0, 4.0])
def test_zoomed_to_original_and_back_is_exact(size, spread):
    grid = zoom_grid(3, size, spread=spread)
    place = torch.rand(3, 300, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert (inverse(grid, points=values(grid, place)) - place).abs().max() < 1e-9


@pytest.mark.parametrize("size", [(40, 50), 7, 160])
def test_a_raster_is_met_where_a_cell_holds_it_and_is_nan_elsewhere(size):
    grid = zoom_grid()
    back = inverse(grid, size)
    raster = identity_grid(size, like=grid).expand_as(back)
    reached = ~back.isnan().any(-1)
    assert reached.any() and not reached.all()
    again = torch.stack([values(grid[i:i + 1], back[i:i + 1][reached[i:i + 1]][None])[0].sub(raster[i][reached[i]]).abs().max() for i in (0, 1)])
    assert again.max() < 1.1e-5  # the tolerance, at the grid's own border
    for i in (0, 1):
        cells = torch.stack((grid[i, :-1, :-1], grid[i, :-1, 1:], grid[i, 1:, 1:], grid[i, 1:, :-1]), dim=2).flatten(0, 1)
        some = torch.randperm(reached[i].numel(), generator=torch.Generator().manual_seed(i))[:40]
        for n in some:
            assert inside_some_cell(cells, raster[i].flatten(0, 1)[n]) == reached[i].flatten()[n].item()


def test_a_raster_and_the_same_points_agree_also_in_another_order():
    grid = zoom_grid(3, (20, 33))
    raster = inverse(grid, (21, 34)).flatten(1, 2)
    points = identity_grid((21, 34), like=grid).flatten(1, 2).expand(3, -1, -1)
    order = torch.randperm(points.shape[1], generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(inverse(grid, points=points[:, order]), raster[:, order], equal_nan=True, atol=1e-12, rtol=0)
    torch.testing.assert_close(inverse(grid, points=points[:, 5:6]), raster[:, 5:6], equal_nan=True, atol=1e-12, rtol=0)


def test_each_image_of_a_batch_is_its_own():
    grid = zoom_grid(3)
    for i in range(3):
        assert torch.equal(inverse(grid, 33)[i].nan_to_num(9), inverse(grid[i:i + 1], 33)[0].nan_to_num(9))


def test_undoing_the_identity_changes_nothing_borders_included():
    grid = identity_grid((9, 14), like=torch.zeros(1))
    assert (inverse(grid, (30, 41)) - identity_grid((30, 41), like=grid.double())).abs().max() < 1e-6
    assert not inverse(zoom_grid(padding="reflect").float(), 31).isnan().any()  # it pins the border, to rounding


@pytest.mark.parametrize("corners", [[[-1, -1], [1, -1], [-1, 1], [1, 1]], [[-0.9, -0.7], [0.8, -1], [-0.3, 0.9], [1, 0.2]],
                                     [[0, -1], [1, 0], [-1, 0], [0, 1]]])  # a square (no quadratic term), any quadrangle, a diamond
@pytest.mark.parametrize("flipped", [False, True])
def test_one_cell_has_its_closed_form(corners, flipped):
    grid = torch.tensor(corners, dtype=torch.float64).view(1, 2, 2, 2)
    grid = grid.flip(2) if flipped else grid
    place = torch.rand(1, 500, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert (inverse(grid, points=values(grid, place)) - place).abs().max() < 1e-12


def test_what_was_cropped_away_has_no_inverse():
    grid = identity_grid(16, like=torch.zeros(1)) * 0.5
    found = inverse(grid, points=torch.tensor([[[0.0, 0.0], [0.25, -0.4], [0.9, 0.0], [7.0, 0.0], [float("nan"), 0.0]]]))
    assert torch.allclose(found[0, :2], torch.tensor([[0.0, 0.0], [0.5, -0.8]], dtype=torch.float64), atol=1e-6)
    assert found[0, 2:].isnan().all()


def test_a_folded_grid_gives_one_of_its_answers():
    grid = identity_grid(9, like=torch.zeros(1, dtype=torch.float64)).clone()
    grid[..., 0] = (grid[..., 0] * 2.5).sin()
    place = torch.rand(1, 200, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2 - 1
    points = values(grid, place)
    found = inverse(grid, points=points)
    assert (values(grid, found) - points).abs().max() < 1e-9


def test_cells_without_area_and_cells_that_are_not_finite_reach_nothing():
    grid = identity_grid(9, like=torch.zeros(1)).clone()
    grid[0, 4, 4] = float("nan")
    back = inverse(grid, 9)
    assert back.isnan().any(-1).sum() == 1 and back[0, 4, 4].isnan().all()
    assert inverse(torch.full((1, 4, 4, 2), float("nan")), 5).isnan().all()
    assert inverse(torch.full((1, 4, 4, 2), 0.3), points=torch.zeros(1, 3, 2)).isnan().all()


def test_no_points_and_no_reach_give_empty_answers():
    assert inverse(zoom_grid(), points=torch.zeros(2, 0, 2)).shape == (2, 0, 2)
    assert inverse(identity_grid(4, like=torch.zeros(1)) * 0.1 + 5, 6).isnan().all()


@pytest.mark.parametrize(("grid", "points", "words"), [((1, 1, 4, 2), None, "at least 2"), ((2, 4, 4, 3), None, "expected"),
                                                       ((2, 4, 4, 2), (1, 3, 2), r"expected \(2, N, 2\)"), ((2, 4, 4, 2), (2, 3), "points")])
def test_other_shapes_are_refused(grid, points, words):
    with pytest.raises(ValueError, match=words):
        inverse(torch.zeros(grid), points=None if points is None else torch.zeros(points))


def test_the_layers_file_has_it_too():
    assert sampler.inverse is inverse
