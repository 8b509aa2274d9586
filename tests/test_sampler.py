"""The layer: its geometry against an independent convolution, identity, no folds, gradients, and the modules."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from lib.models.sampler import (PADDING, RELEASED_SIGMA, SaliencySampler, SaliencyZoom, SampledNetwork, folds, identity_grid, low_resolution,
                                magnification, random_blur, resample, resize_grid, saliency_grid, set_blur, warp)

PAPER_SIGMA = 31 / 3


def peaky(batch, height, width, *, spread=3.0, dtype=torch.float32, seed=0):
    """Softmax saliency of normal logits: the larger the spread, the peakier."""
    logits = torch.randn(batch, height * width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * spread
    return logits.softmax(1).view(batch, height, width).to(dtype)


def convolution_grid(saliency, sigma, padding):
    """Equations 2 and 3 as the release computes them: three convolutions of the padded map."""
    height, width = saliency.shape[1:]
    pad_y, pad_x = height - 1, width - 1
    mode = "constant" if padding == "zeros" else padding
    padded = F.pad(saliency[:, None], (pad_x, pad_x, pad_y, pad_y), mode=mode)
    y = torch.arange(-pad_y, height + pad_y, dtype=saliency.dtype)
    x = torch.arange(-pad_x, width + pad_x, dtype=saliency.dtype)
    kernel_y, kernel_x = torch.arange(-pad_y, pad_y + 1).double(), torch.arange(-pad_x, pad_x + 1).double()
    kernel = torch.exp(-(kernel_y[:, None] ** 2 + kernel_x[None] ** 2) / (2 * sigma**2)).to(saliency.dtype)[None, None]
    total = F.conv2d(padded, kernel)
    u = F.conv2d(padded * (2 * x / pad_x - 1), kernel) / total
    v = F.conv2d(padded * (2 * y / pad_y - 1)[:, None], kernel) / total
    return torch.stack((u, v), dim=-1)[:, 0]


class TestGrid:
    @pytest.mark.parametrize("padding", PADDING)
    @pytest.mark.parametrize("sigma", [RELEASED_SIGMA, PAPER_SIGMA])
    @pytest.mark.parametrize("shape", [(31, 31), (18, 40)])
    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
    def test_equals_the_convolutions(self, padding, sigma, shape, dtype, tolerance):
        saliency = peaky(2, *shape, dtype=dtype).requires_grad_()
        weight = torch.randn(2, *shape, 2, dtype=dtype, generator=torch.Generator().manual_seed(1))
        ours, oracle = saliency_grid(saliency, sigma=sigma, padding=padding), convolution_grid(saliency, sigma, padding)
        assert (ours - oracle).abs().max() < tolerance
        gradients = [torch.autograd.grad((grid * weight).sum(), saliency)[0] for grid in (ours, oracle)]
        scale = gradients[1].abs().max()
        assert (gradients[0] - gradients[1]).abs().max() < tolerance * 10 * scale

    @pytest.mark.parametrize("padding", ["replicate", "reflect"])
    @pytest.mark.parametrize("value", [1.0, 1e-30, 1e30])
    def test_uniform_saliency_is_the_identity(self, padding, value):
        grid = saliency_grid(torch.full((1, 1, 31, 24), value), sigma=RELEASED_SIGMA, padding=padding)
        assert (grid - identity_grid((31, 24), like=grid)).abs().max() < 1e-6

    def test_zeros_padding_is_biased_to_the_centre(self):
        grid = saliency_grid(torch.ones(1, 31, 31), sigma=RELEASED_SIGMA, padding="zeros")
        assert 0.25 < (grid - identity_grid(31, like=grid)).abs().max() < 0.3  # 0.136 of the image's width

    def test_reflect_pins_the_border(self):
        grid = saliency_grid(peaky(4, 31, 31, dtype=torch.float64), sigma=RELEASED_SIGMA, padding="reflect")
        assert (grid[:, :, 0, 0] + 1).abs().max() < 1e-12
        assert (grid[:, -1, :, 1] - 1).abs().max() < 1e-12

    @pytest.mark.parametrize("sigma", [RELEASED_SIGMA, PAPER_SIGMA])
    @pytest.mark.parametrize("padding", ["replicate", "reflect"])
    @pytest.mark.parametrize("spread", [0.5, 2, 5])
    def test_never_folds_for_logits_with_a_spread_up_to_5(self, sigma, padding, spread):
        """In float32 and unclamped; a softmax over logits with standard deviation 5 has a peak some 10^6 times its median."""
        grid = saliency_grid(peaky(64, 31, 31, spread=spread), sigma=sigma, padding=padding)
        assert folds(grid).max() == 0
        assert folds(resize_grid(grid, 97)).max() == 0

    def test_clamp_keeps_the_grid_in_the_image_and_unclamped_leaves_it(self):
        saliency = peaky(8, 31, 31)
        assert saliency_grid(saliency, sigma=RELEASED_SIGMA).abs().max() > 1
        assert saliency_grid(saliency, sigma=RELEASED_SIGMA, clamp=True).abs().max() <= 1

    def test_salient_cells_attract(self):
        saliency = torch.full((1, 31, 31), 0.05)
        saliency[:, 8, 22] = 50
        grid = saliency_grid(saliency, sigma=RELEASED_SIGMA)
        target = identity_grid(31, like=grid)[0, 8, 22]
        before = (identity_grid(31, like=grid)[0] - target).norm(dim=-1)
        assert ((grid[0] - target).norm(dim=-1) <= before + 1e-6).double().mean() > 0.99
        assert magnification(grid)[0, 8, 22] > 2

    def test_an_empty_map_is_uniform_and_has_a_finite_gradient(self):
        saliency = torch.zeros(1, 31, 31, requires_grad=True)
        grid = saliency_grid(saliency, sigma=RELEASED_SIGMA)
        grid.sum().backward()
        assert (grid - identity_grid(31, like=grid)).abs().max() < 1e-6
        assert torch.isfinite(saliency.grad).all()

    def test_gradcheck(self):
        saliency = peaky(1, 5, 6, spread=1, dtype=torch.float64).requires_grad_()
        assert torch.autograd.gradcheck(lambda s: saliency_grid(s, sigma=1.5), saliency)

    @pytest.mark.parametrize(("arguments", "words"), [
        ({"sigma": 0.0}, "sigma"), ({"sigma": 1.0, "padding": "circular"}, "replicate, reflect, zeros")])
    def test_wrong_arguments_are_named(self, arguments, words):
        with pytest.raises(ValueError, match=words):
            saliency_grid(torch.ones(1, 4, 4), **arguments)

    @pytest.mark.parametrize("shape", [(4, 4), (1, 2, 4, 4), (1, 1, 1, 4)])
    def test_wrong_shapes_are_named(self, shape):
        with pytest.raises(ValueError, match="expected"):
            saliency_grid(torch.ones(shape), sigma=1.0)


class TestResample:
    def test_identity_returns_the_image(self):
        image = torch.rand(2, 3, 20, 33)
        assert torch.allclose(resample(image, identity_grid((20, 33), like=image)), image, atol=1e-5)

    def test_oversampling_removes_aliasing(self):
        stripes = (torch.arange(256) % 2 * 255).to(torch.uint8).expand(1, 3, 256, 256)
        grid = identity_grid(40, like=torch.zeros(1))
        assert resample(stripes, grid).std() > 3 * resample(stripes, grid, oversample=8).std()

    def test_a_single_grid_serves_a_batch(self):
        image = torch.rand(3, 3, 8, 8)
        assert resample(image, identity_grid(4, like=image)).shape == (3, 3, 4, 4)

    def test_a_grid_of_another_batch_is_refused(self):
        with pytest.raises(ValueError, match="expected"):
            resample(torch.rand(3, 3, 8, 8), identity_grid(4, like=torch.rand(1)).expand(2, -1, -1, -1))


class TestMagnification:
    def test_uniform_is_one(self):
        grid = identity_grid((9, 14), like=torch.zeros(1))
        assert torch.allclose(magnification(grid), torch.ones(1, 9, 14), atol=1e-5)

    def test_a_crop_to_half_magnifies_twice(self):
        grid = identity_grid((9, 14), like=torch.zeros(1)) * 0.5
        assert torch.allclose(magnification(grid), torch.full((1, 9, 14), 2.0), atol=1e-4)

    def test_magnification_is_the_jacobian_of_the_attraction(self):
        """Analytically, the Jacobian of (u, v) is the covariance of the attracted positions over sigma squared."""
        sigma, saliency = 4.0, peaky(1, 31, 31, spread=1, dtype=torch.float64)
        at = torch.arange(-30.0, 61, dtype=torch.float64)
        force = F.pad(saliency[:, None], (30,) * 4, mode="replicate")[0, 0]
        row, column = 12, 17
        weight = force * torch.exp(-((at[:, None] - row) ** 2 + (at[None] - column) ** 2) / (2 * sigma**2))
        weight = weight / weight.sum()
        y, x = (at[:, None] * weight).sum(), (at[None] * weight).sum()
        covariance = torch.stack([(weight * a * b).sum() for a, b in (((at[None] - x), (at[None] - x)), ((at[None] - x), (at[:, None] - y)),
                                                                      ((at[:, None] - y), (at[:, None] - y)))])
        expected = (sigma**4 / (covariance[0] * covariance[2] - covariance[1] ** 2)).sqrt()
        assert magnification(saliency_grid(saliency, sigma=sigma))[0, row, column] == pytest.approx(expected.item(), rel=0.02)

    def test_folds_are_counted(self):
        grid = identity_grid(11, like=torch.zeros(1)).clone()
        assert folds(grid).item() == 0
        assert folds(grid.flip(2)).item() == 1
        grid[0, 5, 5] = torch.tensor([0.7, 0.0])  # pushed past its right neighbours
        assert 0 < folds(grid).item() < 0.1


class TestWarp:
    image = torch.randint(0, 256, (3, 40, 60), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))

    def test_strength_zero_and_an_empty_map_are_plain_resizing(self):
        heatmap = torch.rand(20, 20)
        assert (warp(self.image, heatmap, strength=0).int() - self.image.int()).abs().max() <= 1
        assert (warp(self.image, torch.zeros(20, 20)).int() - self.image.int()).abs().max() <= 1

    def test_more_strength_zooms_more(self):
        y, x = torch.meshgrid(torch.linspace(-1, 1, 60), torch.linspace(-1, 1, 60), indexing="ij")
        heatmap = torch.exp(-((x - 0.3) ** 2 + (y + 0.2) ** 2) / 0.5)
        disc = (((x - 0.3) ** 2 + (y + 0.2) ** 2) < 0.02).float()[None]
        areas = [warp(disc, heatmap, strength=strength).sum().item() for strength in (0, 2, 6)]
        assert areas[0] * 1.2 < areas[1] < areas[2]

    def test_keeps_dtype_and_dimensions(self):
        batch = self.image.float()[None].expand(2, -1, -1, -1)
        assert warp(self.image, torch.rand(9, 9), size=(10, 15)).shape == (3, 10, 15)
        assert warp(self.image, torch.rand(9, 9)).dtype == torch.uint8
        assert warp(batch, torch.rand(2, 1, 9, 9), size=12).shape == (2, 3, 12, 12)
        assert warp(batch, torch.rand(9, 9)).dtype == torch.float32

    @pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
    def test_a_bad_heat_map_is_refused(self, bad):
        heatmap = torch.rand(9, 9)
        heatmap[2, 3] = bad
        with pytest.raises(ValueError, match="heat map"):
            warp(self.image, heatmap)


def saliency_network():
    return nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, 3, padding=1))


def task_network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))


def sampler(**options):
    torch.manual_seed(0)
    return SaliencySampler(task_network(), saliency_network(), 24, (16, 20), **options)


class TestLayer:
    image = torch.rand(2, 3, 50, 70, generator=torch.Generator().manual_seed(3))

    def test_shapes_and_maps(self):
        output, maps = sampler()(self.image, return_maps=True)
        assert output.shape == (2, 5)
        assert maps.image.shape == (2, 3, 24, 24)
        assert maps.grid.shape == (2, 24, 24, 2)
        assert maps.saliency.shape == (2, 1, 31, 31)
        assert torch.allclose(maps.saliency.sum((1, 2, 3)), torch.ones(2))

    def test_every_parameter_trains(self):
        model = sampler()
        model(self.image).square().sum().backward()
        idle = [name for name, p in model.named_parameters() if p.grad is None or p.grad.abs().sum() == 0]
        # a constant added to all logits leaves the softmax as it is; batch norm removes the bias before it
        assert set(idle) <= {"sampler.head.bias", "sampler.saliency_network.0.bias"}

    def test_finding_the_channels_changes_nothing(self):
        network = saliency_network().train()
        before = copy.deepcopy(network.state_dict())
        SaliencyZoom(network, 24, 16)
        assert network[1].training
        assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())

    def test_a_classifier_is_no_saliency_network(self):
        with pytest.raises(ValueError, match="feature map"):
            SaliencySampler(task_network(), task_network(), 24, 16)

    def test_state_dict_round_trip(self):
        first, second = sampler().eval(), SaliencySampler(task_network(), saliency_network(), 24, (16, 20)).eval()
        second.load_state_dict(first.state_dict())
        assert torch.equal(first(self.image), second(self.image))

    def test_bytes_and_floats_agree(self):
        image = (self.image * 255).round().to(torch.uint8)
        model = sampler().eval()
        assert torch.allclose(model(image), model(image.float() / 255), atol=1e-5)

    def test_double_precision(self):
        model = sampler().double().eval()
        assert model(self.image.double()).dtype == torch.float64
        assert torch.allclose(model(self.image.double()).float(), sampler().eval()(self.image), atol=1e-4)

    def test_grid_and_image_stay_float32_under_autocast(self):
        model = sampler().eval()
        with torch.autocast("cpu", torch.bfloat16):
            _, maps = model(self.image, return_maps=True)
        assert maps.grid.dtype == maps.image.dtype == maps.saliency.dtype == torch.float32
        exact = resample(self.image, resize_grid(saliency_grid(maps.saliency, sigma=RELEASED_SIGMA), 24))
        assert (maps.image - exact).abs().max() < 1e-6

    def test_blur_only_while_training_and_from_torchs_generator(self):
        model = sampler()
        model.blur = True
        torch.manual_seed(5)
        first = model(self.image)
        torch.manual_seed(5)
        assert torch.equal(first, model(self.image))
        assert not torch.equal(first, model(self.image))
        model.eval()
        assert torch.equal(model(self.image), model(self.image))

    def test_blur_removes_detail_and_keeps_the_mean(self):
        noise = torch.rand(1, 3, 64, 64)
        torch.manual_seed(0)
        blurred = random_blur(noise)
        assert blurred.shape == noise.shape
        assert blurred.std() < noise.std()
        assert abs(blurred.mean() - noise.mean()) < 0.01

    def test_the_released_kernel_and_the_papers_differ(self):
        saliency = peaky(1, 31, 31)
        released, paper = (saliency_grid(saliency, sigma=sigma) for sigma in (RELEASED_SIGMA, PAPER_SIGMA))
        assert (released - paper).abs().max() > 0.1

    def test_legacy_is_not_the_identity_at_uniform_saliency_and_the_default_is(self):
        """PyTorch 0.4's mixture of conventions leaves the grid flat along the border: the first and last 4 of 224 pixels."""
        for legacy, flat in ((False, 1), (True, 4)):
            model = SaliencySampler(nn.Identity(), saliency_network(), 224, 16, legacy=legacy)
            nn.init.zeros_(model.sampler.head.weight)
            grid = model.sampler(self.image).grid
            assert (grid[0, 100, :, 0] == grid[0, 100, 0, 0]).sum() == flat
            assert ((grid - identity_grid(224, like=grid)).abs().max() < 1e-6) != legacy

    def test_the_view_may_be_given(self):
        model = sampler().eval()
        assert torch.allclose(model(self.image), model(self.image, low_resolution(self.image, (16, 20))), atol=1e-6)

    def test_compiles(self):
        model = sampler().eval()
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        assert torch.allclose(compiled(self.image), model(self.image), atol=1e-6)

    @pytest.mark.cuda
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    def test_cuda_agrees(self):
        model = sampler().eval()
        expected = model(self.image)
        assert torch.allclose(model.cuda()(self.image.cuda()).cpu(), expected, atol=1e-4)
        image = (self.image * 255).to(torch.uint8).cuda()
        assert model(image).device.type == "cuda"


MAP, PICTURE, GRID = torch.rand(9, 9), torch.rand(1, 3, 8, 10), identity_grid(5, like=torch.zeros(1))
ZOOM = SaliencyZoom(nn.Conv2d(3, 8, 3), 16, 16)
REFUSED = {
    "no pixels asked for": (lambda: warp(PICTURE, MAP, size=0), "size is 0"),
    "less than none": (lambda: resize_grid(GRID, (-1, 4)), "size is .-1, 4"),
    "half a pixel": (lambda: low_resolution(PICTURE, 4.5), "size is 4.5"),
    "three sides": (lambda: identity_grid((3, 4, 5), like=GRID), "size is .3, 4, 5"),
    "a layer without pixels": (lambda: SaliencyZoom(nn.Conv2d(3, 8, 3), 0, 16), "size is 0"),
    "a yes for a size": (lambda: warp(PICTURE, MAP, size=True), "size is True"),
    "one pixel, which would be a corner": (lambda: warp(PICTURE, MAP, size=(1, 40)), "size is .1, 40.*at least 2"),
    "a strength that is no number": (lambda: warp(PICTURE, MAP, strength=float("nan")), "strength is nan"),
    "a strength below none": (lambda: warp(PICTURE, MAP, strength=-1), "strength is -1"),
    "a heat map in colour": (lambda: warp(PICTURE.expand(3, -1, -1, -1), Image.new("RGB", (9, 9))), "mode RGB.*convert"),
    "a heat map with channels last": (lambda: warp(PICTURE, torch.rand(9, 9, 3)), "heat map has shape .*without channels"),
    "a heat map with masked values": (lambda: warp(PICTURE, np.ma.masked_less(np.eye(9), 0.5)), "heat map .*masked"),
    "a picture without pixels": (lambda: warp(PICTURE[..., :0], MAP), "image has shape"),
    "a map without cells": (lambda: warp(PICTURE, MAP[:0]), "heat map has shape"),
    "one picture for a batch": (lambda: resample(PICTURE[0], GRID), "image has shape .*B, C, H, W"),
    "one view for a batch": (lambda: low_resolution(PICTURE[0], 4), "image has shape .*B, C, H, W"),
    "samples none": (lambda: resample(PICTURE, GRID, oversample=0), "oversample is 0"),
    "one grid for a batch": (lambda: resize_grid(GRID[0], 4), "grid has shape .*B, h, w, 2"),
    "one grid to measure": (lambda: magnification(GRID[0]), "grid has shape .*B, h, w, 2"),
    "a grid of one point": (lambda: folds(GRID[:, :1, :1]), "grid has shape .*at least 2"),
    "half a sample": (lambda: SaliencyZoom(nn.Conv2d(3, 8, 3), 16, 16, oversample=1.5), "oversample is 1.5"),
    "no reach": (lambda: SaliencyZoom(nn.Conv2d(3, 8, 3), 16, 16, sigma=0.0), "sigma is 0"),
    "no such padding": (lambda: SaliencyZoom(nn.Conv2d(3, 8, 3), 16, 16, padding="edge"), "replicate, reflect, zeros"),
    "a map of one cell": (lambda: SaliencyZoom(nn.Conv2d(3, 8, 3), 16, 16, map_size=1), "map_size is 1"),
    "a grey picture": (lambda: ZOOM(PICTURE[:, :1]), "1 channels.*expand"),
    "a picture with alpha": (lambda: ZOOM(torch.rand(1, 4, 8, 10)), "4 channels.*:3"),
    "channels last": (lambda: ZOOM(torch.rand(2, 8, 10, 3)), "image has shape .*permute"),
    "one view for two pictures": (lambda: ZOOM(PICTURE.expand(2, -1, -1, -1), torch.rand(1, 3, 16, 16)), "view has shape .*batch of 2"),
    "a view of other integers": (lambda: ZOOM(PICTURE, torch.zeros(1, 3, 16, 16, dtype=torch.int16)), "torch.int16, expected uint8 or float"),
    "a yes that is a word": (lambda: set_blur(SampledNetwork(ZOOM, nn.Identity()), "off"), "blur is 'off'"),
    "no temperature": (lambda: SaliencyZoom(nn.Conv2d(3, 8, 3), 16, 16, temperature=0.0), "temperature is 0"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_is_named_before_torch_stumbles_over_it(what):
    call, words = REFUSED[what]
    with pytest.raises(ValueError, match=words):
        call()


def test_an_array_is_no_image_of_the_layer_and_a_grid_with_nan_has_no_share_of_folds():
    with pytest.raises(TypeError, match="ndarray.*from_numpy"):
        ZOOM(PICTURE.numpy())
    bad = GRID.expand(2, -1, -1, -1).clone()
    bad[1, 2, 2, 0] = float("nan")
    torch.testing.assert_close(folds(bad), torch.tensor([0.0, float("nan")], dtype=torch.float64), equal_nan=True)
