"""What goes into the layer: numbers that went bad, number types, arrays and pictures, and wrappers around the model."""

import copy

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from lib.models.rivals import Oracle
from lib.models.sampler import (RELEASED_SIGMA, SampledNetwork, SaliencySampler, SaliencyZoom, identity_grid, low_resolution, resample,
                                saliency_grid, set_blur, warp, warp_grid)

NAN, INF = float("nan"), float("inf")


def network(width=4):
    return nn.Sequential(nn.Conv2d(3, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU())


def task():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))


def model(**options):
    torch.manual_seed(0)
    return SaliencySampler(task(), network(), 24, (16, 20), **options)


IMAGE = torch.rand(2, 3, 50, 70, generator=torch.Generator().manual_seed(3))
BYTES = (IMAGE * 255).round().to(torch.uint8)
HEAT = torch.rand(9, 9, generator=torch.Generator().manual_seed(4))


class TestNumbersThatWentBad:
    @pytest.mark.parametrize("bad", [NAN, INF, -INF, -1.0, -1e-6])
    @pytest.mark.parametrize("everywhere", [False, True])
    @pytest.mark.parametrize("clamp", [False, True])
    def test_a_bad_map_gives_a_grid_of_nan_to_its_own_image_alone(self, bad, everywhere, clamp):
        good = torch.rand(3, 31, 31, generator=torch.Generator().manual_seed(0)) + 0.1
        spoilt = good.clone()
        spoilt[1] = bad if everywhere else spoilt[1]
        spoilt[1, 4, 7] = bad
        grid = saliency_grid(spoilt, sigma=RELEASED_SIGMA, clamp=clamp)
        assert grid[1].isnan().all()
        assert torch.equal(grid[::2], saliency_grid(good, sigma=RELEASED_SIGMA, clamp=clamp)[::2])

    @pytest.mark.parametrize("image", [IMAGE, BYTES, BYTES.repeat(1, 1, 9, 9)])
    @pytest.mark.parametrize("broken", ["sampler.head.weight", "sampler.saliency_network.0.weight"])
    def test_a_network_that_gives_nan_gives_a_nan_picture_and_output(self, image, broken):
        net = model()
        with torch.no_grad():
            net.get_parameter(broken).fill_(NAN)
        output, maps = net(image, return_maps=True)
        assert maps.grid.isnan().all() and maps.image.isnan().all() and output.isnan().all()
        output.sum().backward()

    def test_a_picture_of_nan_does_not_spoil_the_others(self):
        image = IMAGE.clone()
        image[1] = NAN
        net = model().eval()
        torch.testing.assert_close(net(image)[:1], net(IMAGE)[:1])
        assert net(image)[1].isnan().all()

    @pytest.mark.parametrize("image", [IMAGE, BYTES, BYTES.repeat(1, 1, 9, 9)])
    @pytest.mark.parametrize("bad", [NAN, INF, -INF, 1e38])
    def test_a_bad_grid_changes_no_bit_of_the_other_images(self, image, bad):
        """Where all is finite a shorter way is taken. A finite sum of what is infinite there is not: 1e38 everywhere overflows and is no fault."""
        found = []
        for spoil in (False, True):
            grid = (identity_grid(8, like=IMAGE) * 0.9).repeat(2, 1, 1, 1)
            grid[1] = bad if spoil else grid[1]
            picture = resample(image, grid.requires_grad_())
            picture[0].square().sum().backward()
            found.append((picture[0], grid.grad[0]))
            assert picture[1].isfinite().all() == (not spoil or bad == 1e38)
        assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])

    def test_finite_positions_far_outside_show_the_border(self):
        grid = identity_grid(4, like=IMAGE) * 1e6
        for image in (IMAGE, BYTES, BYTES.repeat(1, 1, 4, 4)):
            corners = image[:, :, ::image.shape[2] - 1, ::image.shape[3] - 1].float() / (255 if image.dtype == torch.uint8 else 1)
            torch.testing.assert_close(resample(image, grid)[:, :, ::3, ::3], corners)

    def test_an_oracle_without_its_annotation_is_no_plain_picture(self):
        oracle, heat = Oracle(24), torch.rand(2, 1, 31, 31)
        heat[1] = 0
        sampled = oracle(IMAGE, heat)
        assert sampled.image[0].isfinite().all() and sampled.image[1].isnan().all() and sampled.grid[1].isnan().all()
        for missing in (None, torch.rand(2, 3, 31, 31), torch.rand(2, 1, 30, 31)):
            with pytest.raises(ValueError, match="annotation"):
                oracle(IMAGE, missing)
            with pytest.raises(ValueError, match="annotation"):
                Oracle(24)(IMAGE[:, :1], missing)  # a grey image is not taken for it either

    def test_a_heat_map_that_reaches_too_little_is_told(self):
        heat = torch.zeros(31, 31)
        heat[3, 3] = 1
        with pytest.raises(ValueError, match="sigma"):
            warp_grid(heat, sigma=0.3)
        assert warp_grid(heat).isfinite().all()


class TestNumberTypes:
    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 2e-3), (torch.bfloat16, 2e-2), (torch.float64, 1e-5)])
    @pytest.mark.parametrize("before", [False, True])  # the networks are cast before the sampler is built, or all after
    @pytest.mark.parametrize("options", [{}, {"legacy": True}, {"normalize": ((0.4,) * 3, (0.2,) * 3)}])
    def test_weights_of_another_type_give_the_same_picture(self, dtype, tolerance, before, options):
        reference = model(**options).eval()
        cast = model(**options).eval()
        if before:
            cast = SaliencySampler(task().to(dtype), network().to(dtype), 24, (16, 20), **options).eval()
            cast.load_state_dict(reference.state_dict())
        cast = cast if before else cast.to(dtype)
        for image in (IMAGE, BYTES, IMAGE.to(dtype)):
            wanted, wanted_maps = reference(image.float() if image.is_floating_point() else image, return_maps=True)
            output, maps = cast(image, return_maps=True)
            assert output.dtype == dtype
            assert {maps.grid.dtype, maps.image.dtype, maps.saliency.dtype} <= {torch.float32, torch.float64}
            assert (maps.grid - wanted_maps.grid).abs().max() < tolerance
            assert (output.float() - wanted).abs().max() < 10 * tolerance

    def test_half_precision_trains(self):
        net = model().bfloat16()
        net(BYTES).float().square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())

    @pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.bool])
    def test_integers_without_a_scale_are_refused_by_the_layer(self, dtype):
        image = torch.ones(1, 3, 20, 20, dtype=dtype)
        for call in (lambda: low_resolution(image, 8), lambda: resample(image, identity_grid(8, like=IMAGE)), lambda: model()(image)):
            with pytest.raises(ValueError, match=r"uint8 or float.*divide"):
                call()

    @pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
    @pytest.mark.parametrize("size", [(13, 17), (60, 80)])
    def test_the_view_of_bytes_is_the_floats_to_one_grey_level(self, layout, size):
        view = low_resolution(BYTES.contiguous(memory_format=layout), size)
        assert (view - low_resolution(BYTES.float() / 255, size)).abs().max() <= 1 / 255 + 1e-6
        assert torch.equal(view, (view * 255).round() / 255)

    def test_the_view_of_floats_is_differentiable(self):
        image = IMAGE.clone().requires_grad_()
        low_resolution(image, 12).sum().backward()
        assert image.grad.sum() == pytest.approx(2 * 3 * 12 * 12, rel=1e-4)


class TestWhatWarpTakes:
    @pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32])
    def test_integers_are_rounded(self, dtype):
        constant = torch.full((3, 30, 40), 100).to(dtype)
        assert torch.equal(warp(constant, HEAT).to(torch.int64), torch.full((3, 30, 40), 100))
        ramp = (torch.arange(40) * 3).expand(1, 30, 40).to(dtype)
        exact = warp(ramp.double(), HEAT, size=(9, 11))
        assert (warp(ramp, HEAT, size=(9, 11)).double() - exact).abs().max() <= 0.5 + 1e-5

    @pytest.mark.parametrize(("dtype", "value"), [(torch.int32, 2**31 - 1), (torch.int64, 2**50 - 1), (torch.uint16, 65535), (torch.int16, -32768)])
    def test_the_ends_of_the_range_stay(self, dtype, value):
        assert (warp(torch.full((1, 20, 20), value, dtype=torch.int64).to(dtype), HEAT).to(torch.int64) == value).all()

    def test_a_mask_stays_one(self):
        mask = torch.zeros(1, 40, 40, dtype=torch.bool)
        mask[:, 10:30, 5:25] = True
        zoomed = warp(mask, HEAT)
        assert zoomed.dtype == torch.bool and torch.equal(zoomed, warp(mask.float(), HEAT) > 0.5)

    def test_arrays_and_pil_images_give_what_tensors_give(self):
        wanted = warp(BYTES[0], HEAT)
        channels_last = BYTES[0].permute(1, 2, 0).contiguous().numpy()
        assert torch.equal(warp(BYTES[0].numpy(), HEAT.numpy()), wanted)
        assert torch.equal(warp(Image.fromarray(channels_last), HEAT), wanted)
        assert torch.equal(warp(channels_last.transpose(2, 0, 1)[:, ::-1], HEAT), warp(BYTES[0].flip(1), HEAT))  # counts backwards
        heat = (HEAT * 255).to(torch.uint8)
        assert torch.equal(warp(BYTES[0], Image.fromarray(heat.numpy())), warp(BYTES[0], heat))
        assert warp(Image.fromarray(channels_last[..., 0]), HEAT).shape == (1, 50, 70)
        deep = np.arange(600, dtype=">u2").reshape(1, 20, 30) * 100
        assert torch.equal(warp(deep, HEAT).long(), warp(torch.from_numpy(deep.astype(np.int64)), HEAT))

    @pytest.mark.parametrize(("image", "words"), [
        (np.zeros((50, 70, 3), np.uint8), "channels"), (torch.zeros(50, 70, 1), "channels"), (torch.zeros(2, 50, 70, 3), "channels"),
        (torch.zeros(50, 70), r"\(C, H, W\)"), ([[1, 2]], "tensor"), ("photo.jpg", "NumPy array"), (torch.zeros(3, 5, 5, dtype=torch.cfloat), "real"),
        (np.array([[["a"]]]), "numbers"), (Image.new("P", (8, 8)), "RGB")])
    def test_other_images_are_refused_in_one_line(self, image, words):
        with pytest.raises(ValueError, match=words) as refused:
            warp(image, HEAT)
        assert "\n" not in str(refused.value)

    @pytest.mark.parametrize("heatmap", [torch.rand(9, 9, 1), torch.rand(9, 9, 3), torch.rand(1, 3, 9, 9), torch.rand(3, 9, 9), torch.rand(9),
                                         np.ones((9, 9, 3)), Image.new("RGB", (9, 9), (9, 9, 9)), torch.rand(2, 1, 9, 9)])
    def test_heat_maps_with_channels_or_for_other_images_are_refused(self, heatmap):
        with pytest.raises(ValueError, match=r"heat map (has shape|is a picture).*expected"):
            warp(BYTES[0], heatmap)

    def test_a_single_map_serves_a_batch_and_a_batch_of_maps_goes_image_by_image(self):
        maps = torch.rand(2, 9, 9, generator=torch.Generator().manual_seed(1))
        both = warp(BYTES, maps)
        assert torch.equal(both[1], warp(BYTES[1], maps[1])) and torch.equal(both, warp(BYTES, maps[:, None]))
        assert torch.equal(warp(BYTES, HEAT)[1], warp(BYTES[1], HEAT))


class _Wrapper(nn.Module):
    """What DistributedDataParallel is to the model, without its processes."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module


class TestBlurInsideWrappers:
    @pytest.mark.parametrize("wrap", [lambda net: net, nn.DataParallel, lambda net: nn.ModuleDict({"net": net}),
                                      lambda net: torch.compile(net, backend="eager")])
    def test_set_blur_reaches_the_model(self, wrap):
        net = model()
        wrapped = wrap(net)
        set_blur(wrapped, True)
        assert net.blur is True
        set_blur(wrapped, False)
        assert net.blur is False

    def test_a_wrapper_then_blurs(self):
        wrapped = nn.DataParallel(model()).train()
        plain = wrapped(IMAGE)
        set_blur(wrapped, True)
        torch.manual_seed(5)
        assert not torch.equal(wrapped(IMAGE), plain)

    @pytest.mark.parametrize("wrap", [nn.DataParallel, _Wrapper])
    def test_blur_that_was_set_on_a_wrapper_is_told(self, wrap):
        """Torch's wrapper takes the name and does nothing with it; the documented way meets it at the next epoch."""
        net = model()
        wrapped = wrap(net)
        wrapped.blur = True
        assert net.blur is False
        with pytest.raises(ValueError, match=f"blur was set on the {type(wrapped).__name__}"):
            set_blur(wrapped, True)

    def test_training_stops_where_blur_was_set_on_torchs_wrapper_and_the_documented_way_is_never_taken(self):
        net = model()
        wrapped = nn.DataParallel(nn.Sequential(net)).train()
        wrapped(IMAGE)
        wrapped.blur = True
        for call in (lambda: wrapped(IMAGE), net._replicate_for_data_parallel):  # on one device, and as several are fed
            with pytest.raises(ValueError, match="blur was set on the DataParallel.*set_blur"):
                call()
        wrapped.eval()(IMAGE)  # nothing blurs in evaluation
        copy.deepcopy(net).train()(IMAGE)  # nothing is around the copy
        del wrapped.blur
        wrapped.train()(IMAGE)

    @pytest.mark.parametrize("around", [nn.Sequential, lambda wrapped: torch.compile(wrapped, backend="eager")])
    def test_it_is_told_too_where_the_wrapper_is_wrapped_again(self, around):
        wrapped = nn.DataParallel(model())
        whole = around(wrapped)
        wrapped.blur = True
        with pytest.raises(ValueError, match="blur was set on the DataParallel"):
            set_blur(whole, True)

    def test_where_there_is_nothing_to_blur_it_says_so(self):
        with pytest.raises(ValueError, match="SampledNetwork"):
            set_blur(nn.DataParallel(task()), True)

    def test_copies_of_a_wrapped_model_keep_their_weights_type(self):
        """DataParallel's copies have buffers and no parameters."""
        copied = copy.deepcopy(model().half().eval())
        for module in copied.modules():
            for name, parameter in list(module._parameters.items()):
                if parameter is not None:
                    del module._parameters[name]
                    object.__setattr__(module, name, parameter.data)
        assert not list(copied.parameters())
        assert copied.sampler(BYTES).image.isfinite().all()


class TestKeptMatrices:
    def test_what_was_made_in_inference_mode_still_trains(self):
        sigma = 3.217  # of this test alone
        saliency = torch.rand(1, 12, 13)
        with torch.inference_mode():
            first = saliency_grid(saliency, sigma=sigma)
        again = saliency_grid(saliency.requires_grad_(), sigma=sigma)
        again.sum().backward()
        assert torch.equal(first, again) and saliency.grad.isfinite().all()

    def test_each_type_padding_and_size_has_its_own(self):
        for dtype in (torch.float32, torch.float64):
            for padding in ("replicate", "reflect", "zeros"):
                for shape in ((5, 6), (6, 5)):
                    saliency = torch.rand(1, *shape, dtype=dtype)
                    grid = saliency_grid(saliency, sigma=2.0, padding=padding)
                    assert grid.dtype == dtype and torch.equal(grid, saliency_grid(saliency.clone(), sigma=2, padding=padding))

    def test_a_sigma_that_is_learned_has_a_gradient(self):
        sigma = torch.tensor(4.0, dtype=torch.float64, requires_grad=True)
        saliency = torch.rand(1, 9, 9, dtype=torch.float64)
        assert torch.autograd.gradcheck(lambda s: saliency_grid(saliency, sigma=s), sigma)


class TestGraphs:
    @pytest.mark.slow
    @pytest.mark.parametrize("image", [IMAGE, BYTES])
    def test_compiles_in_one_graph_forward_and_backward(self, image):
        """The same graph for every batch size: none is compiled for one size first."""
        net, image = model().eval(), image.clone()
        compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
        for batch in (image, image.repeat(3, 1, 1, 1)):
            torch._dynamo.mark_dynamic(batch, 0)
            torch.testing.assert_close(compiled(batch), net(batch), atol=1e-5, rtol=1e-4)
        gradients = []
        for each in (net, compiled):
            net.zero_grad()
            each(image).square().sum().backward()
            gradients.append([p.grad.clone() for p in net.parameters()])
        torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-3)

    @pytest.mark.parametrize("image", [IMAGE, BYTES])
    def test_exports_for_any_batch(self, image):
        net = model().eval()
        exported = torch.export.export(net, (image,), dynamic_shapes={"image": {0: torch.export.Dim.DYNAMIC}}).module()
        for batch in (image[:1], image.repeat(3, 1, 1, 1)):
            atol = 1e-5 if image.is_floating_point() else 0.02  # the exported view is not rounded to grey levels
            torch.testing.assert_close(exported(batch), net(batch), atol=atol, rtol=1e-4)

    @pytest.mark.slow
    def test_every_class_compiles(self):
        """The zoom's three results and the network's, compiled together."""
        net = SampledNetwork(SaliencyZoom(network(), 24, 16), task()).eval()
        output, maps = torch.compile(net, backend="aot_eager", fullgraph=True)(IMAGE, return_maps=True)
        torch.testing.assert_close(output, net(IMAGE), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(maps, net.sampler(IMAGE), atol=1e-5, rtol=1e-4)
