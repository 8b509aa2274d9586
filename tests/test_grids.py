"""What holds for every grid: identity, no folds, gradients, precision, NaN, compiling; and what each of them is for."""

from functools import partial

import pytest
import torch

from lib.models.grids import (FOVEA_SIGMA, GRIDS, LZU_SIGMA, BoxSaliency, boxes_saliency, cell_grid, composite_saliency, distortion, marginal_grid,
                              separable_grid, tasn_grid, transport_grid, zoom_at)
from lib.models.sampler import folds, identity_grid, magnification, resample, resize_grid, saliency_grid
from maps import blobs, positions, rough, smooth

OURS = {name: grid for name, grid in GRIDS.items() if name != "attraction"}
SHAPES = [(31, 31), (31, 51), (7, 4)]
every = pytest.mark.parametrize("grid", OURS.values(), ids=OURS.keys())


class TestEvery:
    @every
    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
    def test_smoke(self, grid, shape, dtype):
        result = grid(rough(2, *shape).to(dtype))
        assert result.shape == (2, *shape, 2)
        assert result.dtype == (dtype if dtype == torch.float64 else torch.float32)
        assert result.isfinite().all() and result.abs().max() <= 1 + 1e-6

    @every
    @pytest.mark.parametrize("shape", SHAPES)
    @pytest.mark.parametrize("value", [0.0, 1e-30, 1.0, 1e30])
    def test_uniform_saliency_is_the_identity(self, grid, shape, value):
        result = grid(torch.full((2, 1, *shape), value))
        assert (result - identity_grid(shape, like=result)).abs().max() < 1e-6

    @every
    @pytest.mark.parametrize("maps", [rough(24, 31, 31), rough(8, 31, 51, seed=1), rough(16, 31, 31, spread=4, seed=2), smooth(16, seed=3),
                                      smooth(16, spread=3, seed=4), smooth(8, 51, 31, seed=5)], ids=lambda maps: "x".join(map(str, maps.shape)))
    def test_never_folds(self, grid, maps):
        result = grid(maps)
        assert folds(result).max() == 0
        assert folds(resize_grid(result, 97)).max() == 0

    @every
    def test_the_border_of_the_image_is_the_border_of_the_zoom(self, grid):
        result = grid(rough(4, 31, 31, dtype=torch.float64))
        for side, axis, wanted in ((result[:, :, 0], 0, -1), (result[:, :, -1], 0, 1), (result[:, 0], 1, -1), (result[:, -1], 1, 1)):
            assert (side[..., axis] - wanted).abs().max() < 1e-9

    @every
    def test_the_scale_of_the_map_does_not_matter(self, grid):
        maps = smooth(2, 12, 15, dtype=torch.float64)
        assert (grid(maps) - grid(maps * 1e-12)).abs().max() < 1e-9

    @every
    def test_maps_of_a_batch_do_not_see_each_other(self, grid):
        maps = torch.cat((rough(2, 12, 15), smooth(2, 12, 15, spread=2)))
        alone = torch.cat([grid(maps[i:i + 1]) for i in range(4)])
        assert (grid(maps) - alone).abs().max() < 1e-5

    @every
    def test_transposed_maps_have_transposed_grids(self, grid):
        maps = smooth(3, 14, 14, dtype=torch.float64)
        assert (grid(maps.transpose(2, 3)) - grid(maps).transpose(1, 2).flip(-1)).abs().max() < 2e-3

    @every
    def test_mirrored_maps_have_mirrored_grids(self, grid):
        maps = smooth(3, 12, 15, dtype=torch.float64)
        mirrored = grid(maps.flip(3)).flip(2) * torch.tensor([-1.0, 1.0])
        assert (mirrored - grid(maps)).abs().max() < 2e-3

    @every
    def test_nothing_wrong_looks_right(self, grid):
        """NaN, infinite and negative maps give NaN, and leave the others of the batch alone."""
        maps = rough(5, 9, 12)
        clean = grid(maps)
        for i, value in ((1, float("nan")), (2, float("inf")), (3, -0.1)):
            maps[i, 0, 4, 5] = value
        result = grid(maps)
        assert result[1:4].isnan().all()
        assert (result[[0, 4]] - clean[[0, 4]]).abs().max() < 1e-5
        image = resample(torch.rand(5, 3, 20, 20), result)
        assert image[[0, 4]].isfinite().all()

    @every
    def test_gradcheck(self, grid):
        maps = rough(1, 4, 5, dtype=torch.float64).requires_grad_()
        exact = partial(grid, tolerance=1e-12) if grid is transport_grid else grid
        assert torch.autograd.gradcheck(exact, maps)

    @every
    @pytest.mark.parametrize("maps", [torch.zeros(2, 1, 9, 9), blobs((2, 2), cells=9, floor=0.0).float(), torch.eye(9)[None, None]],
                             ids=["zeros", "zeros but for a blob", "a line"])
    def test_maps_with_zeros_have_a_finite_gradient(self, grid, maps):
        maps = maps.clone().requires_grad_()
        result = grid(maps)
        result.square().sum().backward()
        assert result.isfinite().all() and maps.grad.isfinite().all()

    @every
    def test_float32_under_autocast(self, grid):
        maps = smooth(2, 12, 15)
        with torch.autocast("cpu", torch.bfloat16):
            result = grid(maps)
        assert result.dtype == torch.float32 and (result - grid(maps)).abs().max() < 1e-6

    @every
    def test_compiles(self, grid):
        maps = rough(2, 6, 7).requires_grad_()
        weight = torch.randn(2, 6, 7, 2, generator=torch.Generator().manual_seed(1))
        results = [torch.compile(grid, backend="eager", fullgraph=True)(maps), grid(maps)]
        gradients = [torch.autograd.grad((result * weight).sum(), maps)[0] for result in results]
        assert torch.allclose(*results, atol=1e-6) and torch.allclose(*gradients, rtol=1e-3, atol=1e-4 * gradients[1].abs().max().item())

    @every
    @pytest.mark.parametrize("shape", [(4, 4), (1, 2, 4, 4), (1, 1, 1, 4)])
    def test_wrong_shapes_are_named(self, grid, shape):
        with pytest.raises(ValueError, match="expected"):
            grid(torch.ones(shape))

    @every
    def test_a_salient_place_is_enlarged_and_the_rest_pays(self, grid):
        result = grid(blobs((9, 20)))
        assert zoom_at(result, positions((9, 20))).item() > 1.25
        assert zoom_at(result, positions((25, 5))).item() < 1

    @pytest.mark.cuda
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    @every
    def test_cuda_agrees(self, grid):
        maps = torch.cat((rough(2, 31, 51), smooth(2, 31, 51))).requires_grad_()
        there = maps.detach().cuda().requires_grad_()
        results = [grid(maps), grid(there).cpu()]
        for result in results:
            result.square().sum().backward()
        assert torch.allclose(*results, atol=1e-5)
        assert torch.allclose(maps.grad, there.grad.cpu(), rtol=1e-3, atol=1e-3 * maps.grad.abs().max().item())


@pytest.mark.parametrize(("call", "word"), [
    (partial(separable_grid, sigma=0.0), "sigma"), (partial(separable_grid, sigma=1.0, padding="circular"), "padding"),
    (partial(separable_grid, sigma=1.0, reach=9), "reach"), (partial(marginal_grid, bound=0.5), "bound"),
    (partial(marginal_grid, power=0.0), "power"),
    (partial(cell_grid, zoom=0.0), "zoom"), (partial(cell_grid, rigidity=-1.0), "rigidity"), (partial(cell_grid, bound=1.0), "bound"),
    (partial(transport_grid, floor=1.5), "floor"), (partial(transport_grid, bound=0.9), "bound")])
def test_wrong_arguments_are_named(call, word):
    with pytest.raises(ValueError, match=word):
        call(torch.rand(1, 1, 6, 8))


class TestTwoPlaces:
    """Two blobs on a diagonal: a product of two axes also zooms where their rows and columns cross, where nothing is."""

    PLACES, CROSSINGS = ((7, 7), (23, 23)), ((7, 23), (23, 7))

    @pytest.mark.parametrize("name", ["separable", "marginal", "cells"])
    def test_a_product_grid_has_ghosts(self, name):
        zoom = zoom_at(GRIDS[name](blobs(*self.PLACES)), positions(*self.PLACES, *self.CROSSINGS))[0]
        assert zoom[:2].min() > 1.1
        assert zoom[2:].min() > 0.9 * zoom[:2].min(), "a ghost is as large as what is real"

    @pytest.mark.parametrize("name", ["attraction", "transport"])
    def test_a_grid_of_the_plane_has_none(self, name):
        zoom = zoom_at(GRIDS[name](blobs(*self.PLACES)), positions(*self.PLACES, *self.CROSSINGS))[0]
        assert zoom[:2].min() > 1.25
        assert zoom[2:].max() < 0.6 * zoom[:2].min()


class TestSeparable:
    def test_equals_the_attraction_for_an_outer_product(self):
        rows, columns = torch.rand(2, 31, 1, dtype=torch.float64) + 0.05, torch.rand(2, 1, 31, dtype=torch.float64) + 0.05
        ours = separable_grid(rows * columns, sigma=4.0, padding="replicate")
        assert (ours - saliency_grid(rows * columns, sigma=4.0, padding="replicate")).abs().max() < 1e-12
        other = separable_grid(rough(2, 31, 31, dtype=torch.float64), sigma=4.0, padding="replicate")
        assert (other - saliency_grid(rough(2, 31, 31, dtype=torch.float64), sigma=4.0)).abs().max() > 0.05

    @pytest.mark.parametrize("reach", [1, 3, 12, 30])
    def test_a_truncated_kernel_does_not_fold_either(self, reach):
        assert folds(separable_grid(rough(16, 31, 51, spread=2), sigma=4.25, reach=reach)).max() == 0

    def test_clamping_the_replicated_map_folds(self):
        """The counterexample: without reflection the border points leave the image, and clamping puts several on one line."""
        maps = blobs((1, 15), floor=0.001)
        assert folds(separable_grid(maps, sigma=5.5, padding="replicate")).max() == 0
        assert folds(separable_grid(maps, sigma=5.5, padding="replicate", clamp=True)).max() > 0


class TestBoxes:
    def test_no_box_is_uniform_and_absent_boxes_do_not_count(self):
        boxes = torch.tensor([[[-0.5, -0.5, 0.0, 0.0], [0.2, 0.2, 0.6, 0.9]]])
        empty = boxes_saliency(boxes[:, :0], (9, 12), image_size=(90, 120))
        assert torch.allclose(empty, torch.full((1, 1, 9, 12), 1 / 108))
        first = boxes_saliency(boxes, (9, 12), image_size=(90, 120), present=torch.tensor([[True, False]]))
        assert torch.allclose(first, boxes_saliency(boxes[:, :1], (9, 12), image_size=(90, 120)))

    def test_a_box_draws_the_zoom_and_its_size_the_spread(self):
        small, large = (torch.tensor([[[0.4 - s, -0.3 - s, 0.4 + s, -0.3 + s]]]) for s in (0.05, 0.4))
        maps = [boxes_saliency(box, 31, image_size=600, bandwidth=20.0, amplitude=5.0) for box in (small, large)]
        assert maps[0].max() > 2 * maps[1].max()
        peak = maps[0].flatten().argmax().item()
        assert (peak % 31, peak // 31) == (21, round(0.35 * 30))
        assert zoom_at(separable_grid(maps[0].double(), sigma=LZU_SIGMA), torch.tensor([[[0.4, -0.3]]]).double()).item() > 1.3

    def test_the_learned_version_starts_at_its_initial_values_and_learns(self):
        boxes = torch.tensor([[[-0.2, -0.1, 0.3, 0.4]]])
        model = BoxSaliency((9, 12), (90, 120), amplitude=2.0, bandwidth=16.0)
        wanted = boxes_saliency(boxes, (9, 12), image_size=(90, 120), amplitude=2.1, bandwidth=16.1)
        assert torch.allclose(model(boxes), wanted)
        separable_grid(model(boxes), sigma=FOVEA_SIGMA).square().sum().backward()
        assert model.amplitude.grad.abs() > 0 and model.bandwidth.grad.abs() > 0
        with torch.no_grad():
            model.bandwidth.fill_(-3.0)  # |1 - 3| x 16 + 0.1
        assert torch.allclose(model(boxes), boxes_saliency(boxes, (9, 12), image_size=(90, 120), amplitude=2.1, bandwidth=32.1))

    def test_composite(self):
        fixed, adaptive = torch.rand(1, 1, 9, 12), torch.rand(2, 1, 9, 12)
        assert torch.allclose(composite_saliency(fixed, adaptive, weight=0.0), (fixed / fixed.sum()).expand(2, -1, -1, -1))
        mixed = composite_saliency(7 * fixed, adaptive, weight=0.25)
        assert torch.allclose(mixed.sum((2, 3)), torch.ones(2, 1))
        assert torch.allclose(mixed, composite_saliency(fixed, 3 * adaptive, weight=0.25))
        with pytest.raises(ValueError, match="weight"):
            composite_saliency(fixed, adaptive, weight=1.5)
        with pytest.raises(ValueError, match="size"):
            composite_saliency(fixed, adaptive[..., :5])

    def test_boxes_of_another_shape_are_named(self):
        with pytest.raises(ValueError, match="boxes"):
            boxes_saliency(torch.rand(3, 4), 9, image_size=90)


class TestMarginal:
    @pytest.mark.parametrize("bound", [1.0, 1.2, 2.0])
    def test_the_bound_holds_along_both_axes(self, bound):
        result = marginal_grid(smooth(8, 31, 51, spread=3, dtype=torch.float64), bound=bound)
        steps = (result[:, 0].diff(dim=1)[..., 0] * 25, result[:, :, 0].diff(dim=1)[..., 1] * 15)
        assert min(step.min() for step in steps) > 1 / bound - 1e-9
        if bound == 1:
            assert (result - identity_grid((31, 51), like=result)).abs().max() < 1e-9

    def test_a_smaller_power_zooms_less(self):
        peaks = [magnification(marginal_grid(blobs((12, 18)), power=power)).max() for power in (1.0, 0.5, 0.1)]
        assert peaks[0] > peaks[1] > peaks[2] > 1

    def test_tasn_bounds_its_magnification_and_is_not_the_identity(self):
        uniform = tasn_grid(torch.ones(1, 1, 31, 31, dtype=torch.float64))
        shift = identity_grid(31, like=uniform) - uniform
        assert (shift[:, 1:, 1:] - 2 / 30).abs().max() < 1e-9, "one cell to the upper left"
        steps = tasn_grid(smooth(8, spread=3, dtype=torch.float64), dense=2.0)[:, 5, 2:].diff(dim=1)[..., 0] * 15
        assert steps.min() > 1 / 3.1


class TestCells:
    @pytest.mark.parametrize(("zoom", "bound"), [(1.5, 8.0), (4.0, 2.0), (0.5, 3.0)])
    def test_every_cell_is_positive_and_bounded(self, zoom, bound):
        maps = torch.cat((smooth(8, 31, 51, spread=3), rough(8, 31, 51, spread=4)))
        result = cell_grid(maps.double(), zoom=zoom, bound=bound)
        steps = torch.cat((result[:, 0].diff(dim=1)[..., 0] * 25, result[:, :, 0].diff(dim=1)[..., 1] * 15), dim=1)
        assert steps.min() >= 1 / bound - 1e-9

    def test_the_release_turns_cells_over(self):
        """The counterexample: salient rows that want to shrink leave less than nothing for the others."""
        maps = torch.ones(1, 1, 31, 31, dtype=torch.float64)
        maps[..., :4] = maps[..., :4, :] = 1e-3
        assert folds(cell_grid(maps, zoom=0.5, bound=None)).max() > 0
        assert folds(cell_grid(maps, zoom=0.5)).max() == 0

    def test_salient_cells_get_what_they_want_where_there_is_room(self):
        zoom = distortion(cell_grid(blobs((15, 15), spread=1.5, floor=0.0), zoom=2.0)).zoom[0, 15, 15]
        assert zoom.item() == pytest.approx(2.0, rel=0.05)

    def test_cells_that_matter_stay_similar(self):
        wide = torch.exp(-(torch.arange(31.0) - 15) ** 2 / 8)[None, None, :, None].expand(1, 1, 31, 31).clone() + 1e-3
        rigid, loose = (distortion(cell_grid(wide.double(), zoom=2.0, rigidity=rigidity)).anisotropy[0, 15].mean() for rigidity in (10.0, 0.1))
        assert rigid < loose


class TestDistortion:
    def test_known_maps(self):
        base = identity_grid((9, 14), like=torch.zeros(1, dtype=torch.float64))
        plain, stretched = distortion(base), distortion(base * torch.tensor([0.5, 0.25]))
        assert (plain.zoom - 1).abs().max() < 1e-9 and (plain.anisotropy - 1).abs().max() < 1e-6 and plain.shear.abs().max() < 1e-9
        assert (stretched.anisotropy - 2).abs().max() < 1e-9 and stretched.shear.abs().max() < 1e-9
        square = identity_grid(9, like=base)
        sheared = distortion(torch.stack((square[..., 0] + square[..., 1], square[..., 1]), dim=-1))
        assert (sheared.shear - 45).abs().max() < 1e-9

    def test_zoom_at_is_nan_where_nothing_is_shown(self):
        grid = identity_grid(9, like=torch.zeros(1, dtype=torch.float64)) * 0.5
        zoom = zoom_at(grid, torch.tensor([[[0.1, 0.2], [0.8, 0.0]]], dtype=torch.float64))[0]
        assert zoom[0].item() == pytest.approx(2.0) and zoom[1].isnan()
