"""Outputs carried back: round trips of points, boxes that contain what they should, maps whose weights sum to one, thin lines, training."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lib.models.backbones import small_saliency_network
from lib.models.carry import DenseSampler, carry_boxes, carry_points, carry_polygons, inverted, unzoom, zoom_labels
from lib.models.grids import GRIDS
from lib.models.rivals import Uniform
from lib.models.sampler import SaliencyZoom, identity_grid, inverse, resample, resize_grid, warp_grid
from maps import blobs, rough, smooth

every = pytest.mark.parametrize("name", GRIDS)
IMAGE = (600, 800)


def zooms(name, batch=3, size=(48, 64)):
    """Grids of a kind, at a task's resolution."""
    maps = torch.cat((smooth(batch - 1, seed=1), rough(1, 31, 31, spread=1)))
    return resize_grid(GRIDS[name](maps), size)


def some_points(batch, count, *, within=1.0, seed=0):
    return (torch.rand(batch, count, 2, generator=torch.Generator().manual_seed(seed)) * 2 - 1) * within


def some_boxes(batch, count, *, seed=0):
    corner = some_points(batch, count, within=0.9, seed=seed)
    sides = 0.05 + 0.5 * torch.rand(batch, count, 2, generator=torch.Generator().manual_seed(seed + 1))
    return torch.cat((corner, (corner + sides).clamp(max=1)), -1)


class TestPoints:
    @every
    def test_round_trips_to_a_ten_thousandth_of_a_pixel(self, name):
        grid = zooms(name)
        there = some_points(3, 200)
        pixels = torch.tensor([64 - 1, 48 - 1]) / 2
        again = carry_points(grid, carry_points(grid, there), back=False)
        assert again.dtype == torch.float32
        gap = ((again - there).double() * pixels).abs()
        assert gap.max() < 1e-4
        original = some_points(3, 200, seed=2)
        zoomed = carry_points(grid.double(), original.double(), back=False)
        seen = zoomed.isfinite().all(-1)
        assert seen.double().mean() > (0.8 if name == "attraction" else 0.999)
        gap = (carry_points(grid.double(), zoomed) - original)[seen] * torch.tensor([IMAGE[1] - 1, IMAGE[0] - 1]) / 2
        assert gap.abs().max() < 5e-3  # the tolerance of `inverse`: 1e-5 of half an image

    def test_back_is_the_grid_at_its_own_points(self):
        grid = zooms("attraction")
        nodes = identity_grid((48, 64), like=grid).flatten(1, 2).expand(3, -1, -1)
        assert (carry_points(grid, nodes) - grid.flatten(1, 2)).abs().max() < 1e-5

    def test_back_agrees_with_loops(self):
        grid, points = zooms("transport", batch=2, size=(7, 9)).double(), some_points(2, 20).double()
        oracle = np.zeros((2, 20, 2))
        for b in range(2):
            for n in range(20):
                x, y = (points[b, n, 0].item() + 1) * 4, (points[b, n, 1].item() + 1) * 3
                i, j = min(int(x), 7), min(int(y), 5)
                g = grid[b, j:j + 2, i:i + 2].numpy()
                oracle[b, n] = (1 - y + j) * ((1 - x + i) * g[0, 0] + (x - i) * g[0, 1]) + (y - j) * ((1 - x + i) * g[1, 0] + (x - i) * g[1, 1])
        assert np.abs(carry_points(grid, points).numpy() - oracle).max() < 1e-12

    def test_what_is_not_there_is_nan(self):
        crop = identity_grid(9, like=torch.zeros(1)) * 0.5
        carried = carry_points(crop, torch.tensor([[[0.25, 0.0], [0.9, 0.0]]]), back=False)[0]
        assert torch.allclose(carried[0], torch.tensor([0.5, 0.0]), atol=1e-5) and carried[1].isnan().all()
        outside = carry_points(crop, torch.tensor([[[1.2, 0.0], [float("nan"), 0.0], [0.0, 0.0]]]))[0]
        assert outside[:2].isnan().all() and outside[2].abs().max() < 1e-6

    @pytest.mark.parametrize("back", [True, False])
    def test_gradcheck(self, back):
        grid = zooms("transport", batch=2, size=(4, 5)).double()[:1].requires_grad_()
        points = (some_points(1, 3, within=0.8).double() + 0.013).requires_grad_()
        assert torch.autograd.gradcheck(lambda g, p: carry_points(g, p, back=back), (grid, points), atol=1e-3 if not back else 1e-5)

    @pytest.mark.parametrize("back", [True, False])
    def test_one_grid_serves_a_batch(self, back):
        grid, points = zooms("marginal")[:1].double().requires_grad_(), some_points(4, 5, within=0.8).double().requires_grad_()
        one, each = carry_points(grid, points, back=back), carry_points(grid.expand(4, -1, -1, -1), points, back=back)
        torch.testing.assert_close(one, each)
        for found, expected in zip(*(torch.autograd.grad(of.sum(), (grid, points)) for of in (one, each)), strict=True):
            torch.testing.assert_close(found, expected)

    @pytest.mark.parametrize("back", [True, False])
    def test_nothing_carried_is_nothing(self, back):
        empty = zooms("marginal")[:0]
        assert carry_points(empty, torch.zeros(0, 3, 2), back=back).shape == (0, 3, 2)
        assert carry_boxes(empty, torch.zeros(0, 3, 4), back=back).shape == (0, 3, 4)
        assert carry_points(zooms("marginal"), torch.zeros(len(zooms("marginal")), 0, 2), back=back).numel() == 0

    @pytest.mark.parametrize("points", [torch.rand(3, 5), torch.rand(3, 5, 3), torch.rand(2, 5, 2)])
    def test_wrong_shapes_are_named(self, points):
        with pytest.raises(ValueError, match="points"):
            carry_points(zooms("marginal"), points)


class TestBoxes:
    @every
    @pytest.mark.parametrize("back", [True, False])
    def test_the_hull_contains_what_the_box_holds(self, name, back):
        grid, boxes = zooms(name).double(), some_boxes(3, 12).double()
        hulls = carry_boxes(grid, boxes, back=back)
        inside = torch.rand(3, 12, 50, 2, generator=torch.Generator().manual_seed(3)).double()
        points = (boxes[..., None, :2] + inside * (boxes[..., None, 2:] - boxes[..., None, :2])).flatten(1, 2)
        carried = carry_points(grid, points, back=back).view(3, 12, 50, 2)
        seen = carried.isfinite().all(-1)
        slack = 1e-9 if back else 1e-2 * (hulls[..., 2:] - hulls[..., :2])[..., None, :]
        held = ((carried >= hulls[..., None, :2] - slack) & (carried <= hulls[..., None, 2:] + slack)).all(-1)
        assert held[seen].all() and seen.double().mean() > 0.7

    @every
    def test_the_hull_is_tight(self, name):
        """Every side of it is met by a carried point of the box's outline."""
        grid, boxes = zooms(name).double(), some_boxes(3, 12).double()
        outline = carry_polygons(grid, boxes)
        hulls = carry_boxes(grid, boxes)
        assert torch.equal(hulls[..., :2], outline.amin(2)) and torch.equal(hulls[..., 2:], outline.amax(2))

    def test_a_box_around_the_whole_view_holds_it(self):
        crop = identity_grid(9, like=torch.zeros(1)) * 0.5
        box = torch.tensor([[[-0.9, -0.8, 0.9, 0.9], [0.6, 0.6, 0.9, 0.9], [0.0, 0.0, 0.9, 0.9]]])
        hulls = carry_boxes(crop, box, back=False)[0]
        assert torch.allclose(hulls[0], torch.tensor([-1.0, -1.0, 1.0, 1.0]))
        assert hulls[1].isnan().all(), "nothing of it is shown"
        assert torch.allclose(hulls[2], torch.tensor([0.0, 0.0, 1.0, 1.0]), atol=1e-5), "what is shown of it"

    def test_a_product_grid_carries_boxes_to_boxes_and_the_plane_to_less(self):
        """The honest polygon: on a product grid it fills its hull, in the plane it does not."""
        boxes = torch.tensor([[[-0.7, -0.6, 0.1, 0.3]]], dtype=torch.float64)
        for name, fills in (("marginal", True), ("transport", False)):
            grid = GRIDS[name](blobs((8, 9)))
            polygon, hull = carry_polygons(grid, boxes)[0, 0], carry_boxes(grid, boxes)[0, 0]
            x, y = polygon.unbind(-1)
            area = 0.5 * (x * y.roll(-1) - x.roll(-1) * y).sum()
            share = (area / ((hull[2] - hull[0]) * (hull[3] - hull[1]))).item()
            assert share == pytest.approx(1, abs=1e-6) if fills else 0.5 < share < 0.97

    @pytest.mark.parametrize("back", [True, False])
    def test_one_grid_serves_a_batch(self, back):
        grid, boxes = zooms("marginal")[:1], torch.tensor([-0.3, -0.2, 0.4, 0.1]).expand(4, 2, 4)
        torch.testing.assert_close(carry_boxes(grid, boxes, back=back), carry_boxes(grid.expand(4, -1, -1, -1), boxes, back=back))

    def test_wrong_shapes_are_named(self):
        with pytest.raises(ValueError, match="boxes"):
            carry_boxes(zooms("marginal"), torch.rand(3, 5, 2))
        with pytest.raises(ValueError, match="samples is 0"):
            carry_boxes(zooms("marginal"), torch.tensor([0.1, 0.1, 0.5, 0.5]).expand(len(zooms("marginal")), 1, 4), back=False, samples=0)


    def test_of_a_box_beyond_the_picture_the_part_inside_is_carried(self):
        torch.manual_seed(0)
        grid = warp_grid(torch.rand(1, 40, 60) ** 3, strength=3, map_size=(31, 51))
        boxes = torch.tensor([[[-1.01, -1.01, 1.01, 1.01], [-1.2, -0.5, 0.5, 0.5], [-2, -2, -1.5, -1.5], [float("nan")] * 4]])
        back = carry_boxes(grid, boxes)
        torch.testing.assert_close(back[:, :2], carry_boxes(grid, boxes[:, :2].clamp(-1, 1)))
        assert back[:, 2:].isnan().all()

    @pytest.mark.parametrize("carry", [carry_boxes, carry_polygons])
    def test_corners_in_another_order_are_refused(self, carry):
        with pytest.raises(ValueError, match=r"x1, y1, x2, y2"):
            carry(identity_grid(9, like=torch.zeros(1)), torch.tensor([[[0.5, -0.5, -0.5, 0.5]]]))

    @pytest.mark.parametrize("back", [True, False])
    def test_a_box_with_one_side_unknown_is_unknown_and_one_without_end_is_as_long_as_what_is_shown(self, back):
        grid = identity_grid(9, like=torch.zeros(1)) / 2  # shows the middle half
        nan, inf = float("nan"), float("inf")
        found = carry_boxes(grid, torch.tensor([[[nan, -0.2, 0.2, 0.2], [-inf, -0.1, inf, 0.1], [-1, -0.1, 1, 0.1]]]), back=back)[0]
        assert found[0].isnan().all()
        torch.testing.assert_close(found[1], found[2])


class TestUnzoom:
    @pytest.mark.parametrize("fill", [-1, 256, 0.5, float("nan"), float("inf")])
    def test_a_fill_that_labels_cannot_hold_is_refused(self, fill):
        with pytest.raises(ValueError, match="fill is .* cannot hold"):
            unzoom(torch.zeros(1, 1, 5, 5, dtype=torch.uint8), identity_grid(5, like=torch.zeros(1)) / 2, 5, fill=fill)

    @pytest.mark.parametrize("size", [(20, 33), (20, 20)])
    def test_the_identity_returns_the_maps(self, size):
        maps = torch.rand(2, 3, *size)
        back, shown = unzoom(maps, identity_grid(size, like=maps).expand(2, -1, -1, -1), size)
        assert (back - maps).abs().max() < 1e-4 and shown.all() and shown.shape == (2, 1, *size)

    @every
    def test_weights_sum_to_one(self, name):
        back, shown = unzoom(torch.full((3, 2, 24, 32), 0.7), zooms(name), (60, 80), fill=-1.0)
        assert ((back - 0.7).abs() < 1e-5).all(1, keepdim=True)[shown].all()
        assert (back[~shown.expand_as(back)] == -1).all()
        assert shown.double().mean() > (0.7 if name == "attraction" else 0.999)

    def test_a_smooth_picture_comes_back(self):
        image = smooth_pictures(2, (120, 160))
        for name in GRIDS:
            grid = zooms(name, batch=2, size=(96, 128))
            back, shown = unzoom(resample(image, grid), grid, (120, 160))
            assert ((back - image).abs() * shown).max() < 0.06, name

    def test_the_mask_is_what_inverse_reaches(self):
        grid = zooms("attraction")
        shown = unzoom(torch.rand(3, 1, 24, 32), grid, (40, 50))[1][:, 0]
        assert torch.equal(shown, inverse(grid, (40, 50)).isfinite().all(-1))
        assert not shown.all()

    def test_where_the_zoom_enlarged_noise_is_averaged(self):
        noise = torch.randn(1, 1, 128, 128, generator=torch.Generator().manual_seed(0))
        crop = identity_grid(128, like=noise) * 0.25  # four times
        back, shown = unzoom(noise, crop, 128)
        inner = back[0, 0][shown[0, 0]]
        point = F.grid_sample(noise, (identity_grid(128, like=noise) * 4), align_corners=True, padding_mode="border")[0, 0][shown[0, 0]]
        assert inner.std() < 0.6 * point.std()

    def test_where_it_shrank_maps_are_interpolated(self):
        """Half a zoom: bilinear samples, nothing else."""
        maps = torch.rand(1, 2, 16, 16)
        wide = identity_grid(16, like=maps)
        back, _ = unzoom(maps, wide, (61, 61))
        assert (back - F.interpolate(maps, (61, 61), mode="bilinear", align_corners=True)).abs().max() < 1e-4

    def test_a_map_does_not_depend_on_its_batch(self):
        """Each pixel takes as many samples as its own footprint asks for, whatever its neighbours and the other images need."""
        maps = torch.rand(3, 2, 64, 64, generator=torch.Generator().manual_seed(1))
        even = identity_grid(64, like=maps)
        grid = torch.cat((even, even * 0.125, resize_grid(GRIDS["attraction"](smooth(1, spread=3)), 64)))
        together = unzoom(maps, grid, (40, 50))[0]
        alone = torch.cat([unzoom(maps[i:i + 1], grid[i:i + 1], (40, 50))[0] for i in range(3)])
        assert (together - alone).abs().max() < 1e-5

    def test_the_mean_of_a_footprint_is_the_mean(self):
        """Four times larger: an original pixel is the mean of the sixteen zoomed pixels around its place."""
        maps = torch.rand(1, 1, 65, 65, generator=torch.Generator().manual_seed(2))
        back = unzoom(maps, identity_grid(65, like=maps) * 0.25, 65)[0][0, 0]
        dense = F.interpolate(maps, (16 * 64 + 1,) * 2, mode="bilinear", align_corners=True)[0, 0]  # 16 samples a zoomed pixel
        for row, column in ((26, 30), (32, 32), (35, 28)):
            y, x = (16 * (32 + 4 * (at - 32)) for at in (row, column))
            wanted = dense[y - 24:y + 25, x - 24:x + 25].mean()  # a box of 3 pixels, and bilinear samples reach half a pixel further
            assert back[row, column].item() == pytest.approx(wanted.item(), abs=0.03)

    def test_one_grid_serves_many_maps(self):
        maps = torch.rand(4, 2, 24, 32)
        grid = zooms("attraction")[:1]
        back, shown = unzoom(maps, grid, (40, 50))
        assert shown.shape == (4, 1, 40, 50)
        assert (back - unzoom(maps, grid.expand(4, -1, -1, -1), (40, 50))[0]).abs().max() < 1e-6

    def test_any_stride(self):
        grid = zooms("transport")
        full, coarse = (unzoom(F.interpolate(smooth_pictures(3, (48, 64)), size, mode="area"), grid, (40, 50))[0] for size in ((48, 64), (12, 16)))
        assert (full - coarse)[..., 4:-4, 4:-4].abs().mean() < 0.05

    def test_labels_stay_labels(self):
        labels = torch.randint(0, 20, (2, 1, 24, 32), generator=torch.Generator().manual_seed(0))
        back, shown = unzoom(labels, zooms("attraction", batch=2), (40, 50), fill=255)
        assert back.dtype == torch.int64 and set(back[shown].unique().tolist()) <= set(range(20)) and (back[~shown] == 255).all()
        still, _ = unzoom(labels, identity_grid((24, 32), like=torch.zeros(1)), (24, 32))
        assert torch.equal(still, labels)

    def test_the_gradient_is_of_the_maps_and_of_the_grid(self):
        maps = torch.rand(1, 1, 7, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
        grid = zooms("transport", batch=2, size=(6, 7)).double()[:1].requires_grad_()
        assert torch.autograd.gradcheck(lambda m: unzoom(m, grid.detach(), (5, 6))[0], maps)
        smooth_maps = smooth_pictures(1, (40, 40)).double()[:, :1]
        unzoom(smooth_maps, grid, (9, 9))[0].square().sum().backward()
        by_hand, nudge = torch.zeros(2), 1e-4
        for k, sign in enumerate((1, -1)):
            moved = grid.detach().clone()
            moved[0, 3, 3, 0] += sign * nudge
            by_hand[k] = unzoom(smooth_maps, moved, (9, 9))[0].square().sum()
        assert grid.grad[0, 3, 3, 0].item() == pytest.approx((by_hand[0] - by_hand[1]).item() / (2 * nudge), rel=0.2, abs=0.05)

    @pytest.mark.parametrize("kind", ["shows a part", "a cell without area", "folds"])
    def test_no_gradient_is_nan_whatever_the_grid_shows(self, kind):
        """Of pixels that the grid never shows, or shows without area, there is no gradient; that of the others is what it is without them."""
        grid = identity_grid(9, like=torch.zeros(1)).clone()
        if kind == "shows a part":
            grid *= 0.6
        elif kind == "a cell without area":
            grid[:, :, :5, 0] = -1 + 2**-24  # as a network whose map is one peak makes it: single precision tells the columns hardly apart
            grid[:, :, 2, 0] = -1
        else:
            grid[:, :, 4, 0] = grid[:, :, 2, 0]
        maps = torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(0))
        grid.requires_grad_()
        back, shown = unzoom(maps, grid, 17)
        back.square().sum().backward()
        assert grid.grad.isfinite().all() and grid.grad.abs().sum() > 0
        if kind == "shows a part":
            assert not shown.all()

    def test_a_grid_that_went_bad_gives_no_map_that_looks_right(self):
        """NaN, not `fill`, so that a loss is not finite either; of that picture alone."""
        grid = identity_grid(9, like=torch.zeros(1)).repeat(2, 1, 1, 1)
        grid[1, 4, 4, 0] = torch.nan
        back, _ = unzoom(torch.rand(2, 1, 12, 12), grid, 17)
        assert back[0].isfinite().all() and back[1].isnan().any()

    def test_a_point_that_is_not_shown_leaves_the_others_their_gradient(self):
        grid = (identity_grid(9, like=torch.zeros(1, dtype=torch.float64)) * 0.6).requires_grad_()
        seen = torch.tensor([[[0.1, -0.2]]], dtype=torch.float64)
        alone, = torch.autograd.grad(inverted(grid, seen).sum(), grid)
        found = inverted(grid, torch.cat((seen, torch.full_like(seen, 0.9), torch.full_like(seen, torch.nan)), dim=1))
        assert found[0, 1:].isnan().all()
        both, = torch.autograd.grad(found.nan_to_num().sum(), grid)
        torch.testing.assert_close(both, alone)

    def test_shapes_that_do_not_fit_are_named(self):
        with pytest.raises(ValueError, match="do not fit"):
            unzoom(torch.rand(2, 1, 8, 8), torch.rand(3, 8, 8, 2), 8)
        with pytest.raises(ValueError, match="do not fit"):
            unzoom(torch.rand(0, 1, 8, 8), torch.rand(0, 8, 8, 2), 8)
        with pytest.raises(ValueError, match="size is 0"):
            unzoom(torch.rand(1, 1, 8, 8), torch.rand(1, 8, 8, 2), 0)


class TestThinLines:
    """A vertical line of 2 px in a picture of 128, zoomed to a task of 32 and brought back: how much of it is left."""

    @pytest.mark.parametrize("zoom", [4.0, 8.0])
    def test_where_the_zoom_keeps_pixels_it_survives(self, zoom):
        """A zoom of 4 is one task pixel for each of the picture's: above that nothing is lost."""
        assert contrast_left(zoom) > 0.8

    def test_where_it_does_not_it_fades(self):
        left = [contrast_left(zoom) for zoom in (0.5, 1.0, 2.0, 4.0)]
        assert left == sorted(left) and left[0] < 0.2 and left[1] < 0.4


def contrast_left(zoom):
    """Mean of the line that comes back, from a line of ones over zeros, averaged over its places between pixels."""
    size, task = 128, 32
    grid = identity_grid(task, like=torch.zeros(1)) / zoom
    kept = []
    for shift in range(0, 4, 2 if zoom >= 4 else 1):
        image = torch.zeros(1, 1, size, size)
        image[..., 64 + shift:66 + shift] = 1
        seen = resample(image, grid, oversample=max(1, round(size / task / zoom)))
        back, _ = unzoom(seen, grid, size)
        kept.append(back[0, 0, 60:68, 64 + shift:66 + shift].mean().item())
    return sum(kept) / len(kept)


def smooth_pictures(batch, size):
    noise = torch.rand(batch, 2, 6, 8, generator=torch.Generator().manual_seed(5))
    return F.interpolate(noise, size, mode="bicubic", align_corners=True)


class TestTargets:
    def test_labels_go_forward_like_the_picture(self):
        labels = (torch.arange(40)[:, None] // 10 * 4 + torch.arange(50)[None] // 13).expand(2, -1, -1)
        grid = zooms("attraction", batch=2)
        zoomed = zoom_labels(labels, grid)
        assert zoomed.shape == (2, 48, 64) and zoomed.dtype == torch.int64
        near = F.grid_sample(labels[:, None].double(), grid.double(), mode="nearest", padding_mode="border", align_corners=True)[:, 0]
        assert (zoomed == near).double().mean() > 0.99  # ties are rounded otherwise

    def test_unknown_places_are_ignored_by_the_loss(self):
        grid = identity_grid(6, like=torch.zeros(1)).clone()
        grid[0, 2, 3] = float("nan")
        zoomed = zoom_labels(torch.ones(1, 9, 9, dtype=torch.long), grid)
        assert zoomed[0, 2, 3] == -100 and (zoomed == -100).sum() == 1

    def test_unknown_that_the_labels_cannot_hold_is_refused_where_it_is_needed(self):
        labels, grid = torch.zeros(1, 5, 5, dtype=torch.uint8), identity_grid(5, like=torch.zeros(1))
        assert zoom_labels(labels, grid).dtype == torch.uint8
        with pytest.raises(ValueError, match="unknown is -100, which torch.uint8 cannot hold"):
            zoom_labels(labels, torch.where(grid > 0.9, torch.nan, grid))

    def test_float_targets_are_refused(self):
        with pytest.raises(ValueError, match="grid has shape"):
            zoom_labels(torch.zeros(1, 4, 4, dtype=torch.long), torch.zeros(1, 4, 4, 3))
        with pytest.raises(ValueError, match="integers"):
            zoom_labels(torch.rand(1, 9, 9), identity_grid(6, like=torch.zeros(1)))


class TestDenseSampler:
    def network(self):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 3, padding=1))

    def model(self, **options):
        torch.manual_seed(1)
        return DenseSampler(self.network(), SaliencyZoom(small_saliency_network(width=8), 24, 32), **options)

    def test_smoke(self):
        image = torch.rand(2, 3, 40, 60)
        output, shown, sampled = self.model()(image, return_maps=True)
        assert output.shape == (2, 2, 40, 60) and shown.shape == (2, 1, 40, 60) and sampled.grid.shape == (2, 24, 24, 2)
        assert self.model(size=(20, 30))(image).shape == (2, 2, 20, 30)
        assert torch.isfinite(output).all()

    def test_behind_uniform_sampling_it_is_the_network_resized(self):
        image, network = torch.rand(2, 3, 48, 48), self.network()
        model = DenseSampler(network, Uniform(24, antialias=True))
        small = F.interpolate(image, (24, 24), mode="bilinear", antialias=True)
        wanted = F.interpolate(network(small), (48, 48), mode="bilinear", align_corners=True)
        assert (model(image) - wanted).abs().max() < 1e-3

    def test_fill_is_where_the_zoom_never_looked(self):
        model = self.model(fill=-7.0)
        with torch.no_grad():
            model.sampler.head.weight.mul_(30)
        output, shown, _ = model(torch.rand(2, 3, 40, 60), return_maps=True)
        assert (output[~shown.expand_as(output)] == -7).all()

    def test_trains_end_to_end(self):
        """Both networks get a gradient, and a loss on the original picture falls."""
        image = smooth_pictures(4, (40, 40))[:, [0, 1, 0]]
        target = (image[:, :1] > 0.5).float()
        model = self.model()
        optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
        losses = []
        for _ in range(15):
            optimiser.zero_grad()
            output, shown, _ = model(image, return_maps=True)
            loss = (F.binary_cross_entropy_with_logits(output[:, :1], target, reduction="none") * shown).sum() / shown.sum()
            loss.backward()
            losses.append(loss.item())
            if len(losses) == 3:
                assert all(p.grad.abs().max() > 0 for p in (*model.network.parameters(), model.sampler.head.weight))
            optimiser.step()
        assert losses[-1] < 0.9 * losses[0]

    def test_a_classifier_is_no_dense_network(self):
        with pytest.raises(ValueError, match="SampledNetwork"):
            DenseSampler(nn.Sequential(nn.Flatten(), nn.LazyLinear(2)), Uniform(24))(torch.rand(1, 3, 30, 30))
