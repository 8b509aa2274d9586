"""Mr-CNN: its layers are the quoted ones, whole squares give what patches give, the bound and the blur are what they are called."""

import copy
import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from lib.models.mrcnn import MARGIN, PATCH, SQUARES, STRIDES, VIEW, LearnedBlur, MrCNN, lattice, max_norm_, window_max
from lib.models.mrcnn_inference import ScrambledAxes, crops, lattice_centres, patchwise, spatial_centres
from lib.training.loop import run_network

SMALL = {"widths": (8, 12, 16), "hidden": 24}
CORNERS = (0, 49, 2450, 2499)  # of the lattice in reading order


def lively(seed: int = 0, **options) -> MrCNN:
    """In eval mode, with logits of size 1: at PyTorch's initialisation they are within 0.01 of the bias, and hide mistakes."""
    torch.manual_seed(seed)
    model = MrCNN(**options).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter, nonlinearity="relu")
    return model


def small(**options) -> MrCNN:
    return lively(**SMALL, **options)


def noise(squares=SQUARES, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(3, side, side, generator=generator) for side in squares]


def patches(count: int = 2, streams: int = 3, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(count, 3, VIEW, VIEW, generator=generator) for _ in range(streams)]


def some_points(count: int) -> torch.Tensor:
    """Corners of the lattice, and others."""
    others = torch.randperm(2500, generator=torch.Generator().manual_seed(0))[:count]
    return torch.cat([torch.tensor(CORNERS), others])


# ------------------------------------------------------------------------------------------------------------------ layers


@pytest.mark.parametrize(("options", "parameters"), [
    ({}, 6_473_153), ({"share_streams": True}, 2_682_689), ({"blur": True}, 6_473_156), ({"share_streams": True, "blur": True}, 2_682_692),
    ({"squares": (400,)}, 2_158_401), ({"squares": (400, 150)}, 4_315_777), ({"squares": (250,), "blur": True}, 2_158_402)])
def test_parameters(options, parameters):
    """Golden: three streams of 1,895,232, and a fusion layer behind one and two streams as well."""
    assert sum(p.numel() for p in MrCNN(**options).parameters()) == parameters


def layers_in_order(model: nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    """(name, shape of the output) of each layer that one forward pass goes through."""
    seen = []
    for name, module in model.named_modules():
        if not list(module.children()):
            module.register_forward_hook(lambda _, __, output, name=name: seen.append((name, tuple(output.shape[1:]))))
    model(*patches(streams=len(model.squares)))
    return seen


def test_the_layers_are_the_papers_and_dropout_is_where_it_says():
    stream = [("conv1", (96, 36, 36)), ("pool", (96, 18, 18)), ("conv2", (160, 16, 16)), ("pool", (160, 8, 8)), ("conv3", (288, 6, 6)),
              ("dropout", (288, 6, 6)), ("pool", (288, 3, 3)), ("fc", (512,)), ("fc_dropout", (512,))]
    expected = [(f"streams.{i}.{name}", shape) for i in range(3) for name, shape in stream]
    expected += [("fusion", (512,)), ("dropout", (512,)), ("final", (1,))]
    assert [entry for entry in layers_in_order(MrCNN()) if entry[0] != "normalize"] == expected


def literal(model: MrCNN, views: list[torch.Tensor]) -> torch.Tensor:
    """The quoted sentences, one after the other, on the central 42 px."""
    streams = [model.streams[0] if len(model.streams) == 1 else model.streams[i] for i in range(len(views))]
    outputs = []
    for s, view in zip(streams, views, strict=True):
        network = nn.Sequential(s.conv1, nn.ReLU(), nn.MaxPool2d(2), s.conv2, nn.ReLU(), nn.MaxPool2d(2), s.conv3, nn.ReLU(), nn.MaxPool2d(2),
                                nn.Flatten(), s.fc, nn.ReLU())
        outputs.append(network(model.normalize(view[:, :, 3:45, 3:45])))
    return model.final(torch.relu(model.fusion(torch.cat(outputs, 1)))).flatten()


@pytest.mark.parametrize("options", [{}, {"share_streams": True}, {"squares": (250, 150)}])
def test_forward_is_the_quoted_network(options):
    model = small(**options)
    views = patches(5, len(model.squares))
    assert torch.allclose(model(*views), literal(model, views), atol=1e-6)


def test_dropout_changes_training_and_nothing_else():
    model, views = small(), patches()
    assert torch.equal(model(*views), model(*views))
    model.train()
    assert not torch.equal(model(*views), model(*views))
    still = small(dropout=0.0)
    still.load_state_dict(model.state_dict())
    assert torch.equal(still.train()(*views), model.eval()(*views))


@pytest.mark.parametrize(("options", "text"), [
    ({"squares": ()}, "in this order"), ({"squares": (150, 400)}, "in this order"), ({"squares": (400, 400)}, "in this order"),
    ({"squares": (300,)}, "in this order"), ({"widths": (8, 8)}, "three"), ({"max_norm": 0.0}, "positive")])
def test_options_that_make_no_network(options, text):
    with pytest.raises(ValueError, match=text) as error:
        MrCNN(**options)
    assert "\n" not in str(error.value)


# ------------------------------------------------------------------------------------------------------------------ inputs


def test_the_training_loop_finds_its_inputs():
    """`inputs` names the views; no attribute is called "blur", which the loop sets on every network that has one."""
    model = small(squares=(400, 150), blur=True)
    views = patches(2, 2)
    batch = {"view_400": views[0], "view_150": views[1], "index": torch.arange(2)}
    assert model.inputs == ("view_400", "view_150") and not hasattr(model, "blur")
    assert torch.equal(run_network(model, batch), model(*views))


@pytest.mark.parametrize("blur", [False, True])
def test_bytes_and_floats_give_the_same(blur):
    model = small(blur=blur)
    for whole in (False, True):
        views = [(255 * view).byte() for view in ([square[None] for square in noise()] if whole else patches())]
        assert torch.equal(model(*views), model(*(view / 255 for view in views)))


@pytest.mark.parametrize(("shapes", "text"), [
    ([], "got none"), ([(2, 3, 48, 48)] * 2, "got"), ([(2, 3, 48, 48)] * 4, "got"), ([(2, 3, 42, 42)] * 3, "42, 42"),
    ([(2, 1, 48, 48)] * 3, "48, 48"), ([(2, 3, 48, 48), (1, 3, 48, 48), (2, 3, 48, 48)], "got"), ([(3, 48, 48)] * 3, "got"),
    ([(1, 3, 400, 400), (1, 3, 48, 48), (1, 3, 150, 150)], "400, 400"), ([(1, 3, 150, 150), (1, 3, 250, 250), (1, 3, 400, 400)], "got")])
def test_views_of_a_wrong_shape(shapes, text):
    with pytest.raises(ValueError, match=rf"view_400, view_250, view_150: .*{text}") as error:
        small()(*map(torch.zeros, shapes))
    assert "\n" not in str(error.value)


def test_views_of_a_wrong_type():
    with pytest.raises(ValueError, match="torch.int64.*uint8, or float") as error:
        small()(*(view.long() for view in patches()))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("blur", "sides"), [(False, (42, 42, 42)), (True, (48, 46, 44))])
def test_what_a_stream_sees_of_its_patch(blur, sides):
    """The margin is for the blur: without one a stream reads the published 42 px, with a kernel of 7, 5, 3 px 3, 2, 1 more."""
    model, views = small(blur=blur), [view.requires_grad_() for view in patches(40)]
    model(*views).sum().backward()
    for view, side in zip(views, sides, strict=True):
        read = view.grad.abs().sum((0, 1)) > 0
        edge = (VIEW - side) // 2
        inside = torch.zeros_like(read)
        inside[edge:VIEW - edge, edge:VIEW - edge] = True
        assert torch.equal(read, inside)


# ---------------------------------------------------------------------------------------------------------- lattice and crops


def test_the_lattice_lies_in_the_middle_of_its_square():
    assert [lattice(side)[[0, 49]].tolist() for side in SQUARES] == [[4, 396], [2, 247], [1, 148]]
    for side, stride in STRIDES.items():
        at = lattice(side)
        assert at.shape == (50,) and at.dtype == torch.int64 and set(at.diff().tolist()) == {stride}
        assert lattice_centres(side).tolist() == [[y, x] for y in at.tolist() for x in at.tolist()]  # row-major
    with pytest.raises(ValueError, match="400, 250 or 150"):
        lattice(200)


def test_crops_are_cut_from_the_edge_padded_square():
    """Against NumPy, borders and the last allowed centre included; the central 42 px are [c - 21, c + 21)."""
    square = (255 * noise((150,))[0]).byte()
    centres = torch.tensor([[0, 0], [149, 149], [150, 150], [0, 149], [75, 20], [24, 126], [1, 148]])
    cut = crops(square, centres)
    padded = np.pad(square.numpy(), ((0, 0), (24, 24), (24, 24)), mode="edge")
    assert cut.shape == (7, 3, 48, 48) and cut.dtype == torch.uint8
    for patch, (y, x) in zip(cut.numpy(), centres.tolist(), strict=True):
        assert np.array_equal(patch, padded[:, y:y + 48, x:x + 48])
    assert torch.equal(cut[4, :, MARGIN:MARGIN + PATCH, MARGIN + 1:MARGIN + PATCH], square[:, 54:96, 0:41])


@pytest.mark.parametrize(("shape", "centres", "text"), [
    ((3, 150, 151), [[0, 0]], "square"), ((1, 150, 150), [[0, 0]], "square"), ((3, 150, 150), [[0, 151]], "outside"),
    ((3, 150, 150), [[-1, 0]], "outside"), ((3, 150, 150), [[0.0, 0.0]], "integer"), ((3, 150, 150), [0, 0], "integer")])
def test_crops_that_cannot_be_cut(shape, centres, text):
    with pytest.raises(ValueError, match=text) as error:
        crops(torch.zeros(shape), torch.tensor(centres))
    assert "\n" not in str(error.value)


def test_points_of_a_photograph_are_rounded_down():
    """int(ratio * coordinate), the ratio in double precision, and H, W themselves allowed."""
    points = [[0, 0], [1, 1], [767, 1023], [768, 1024], [384, 512], [500, 3]]
    for square in SQUARES:
        expected = [[int(square / 768 * y), int(square / 1024 * x)] for y, x in points]
        for dtype in (torch.int64, torch.float32, torch.float64):
            centres = spatial_centres(torch.tensor(points, dtype=dtype), (768, 1024), square)
            assert centres.tolist() == expected and centres.dtype == torch.int64
    assert spatial_centres(torch.tensor([[768, 1024]]), (768, 1024), 150).tolist() == [[150, 150]]
    every = torch.arange(406)
    theirs = [int(150 / 405 * y) for y in range(406)]  # 150 / 405 * 27 is 10, or just below it
    assert spatial_centres(torch.stack([every, every], 1), (405, 1024), 150)[:, 0].tolist() == theirs


@pytest.mark.parametrize("points", [[[0, 800]], [[601, 0]], [[-1, 0]], [[math.nan, 0]], [0, 0]])
def test_points_outside_the_photograph(points):
    """(x, y) in the place of (y, x) is the likely mistake, so it is not clamped away."""
    with pytest.raises(ValueError, match="spatial_coords") as error:
        spatial_centres(torch.tensor(points), (600, 799), 400)
    assert "\n" not in str(error.value)


# -------------------------------------------------------------------------------------------------- squares against patches


@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_the_maximum_at_every_offset_is_dilated_pooling(dilation):
    x = torch.randn(2, 3, 17, 14)
    assert torch.equal(window_max(x, dilation), nn.functional.max_pool2d(x, 2, stride=1, dilation=dilation))


@pytest.mark.parametrize("options", [{}, {"share_streams": True}, {"blur": True}, {"share_streams": True, "blur": True}, {"squares": (400,)},
                                     {"squares": (250,)}, {"squares": (150,), "blur": True}, {"squares": (400, 150)}], ids=str)
def test_squares_give_what_patches_give(options):
    """At the corners, where patches lie mostly in the padding, and at 60 other points of the lattice."""
    model, points = small(**options), some_points(60)
    squares = noise(model.squares)
    dense = model(*(square[None] for square in squares)).detach()
    alone = patchwise(model, squares, [lattice_centres(side)[points] for side in model.squares])
    assert dense.shape == (1, 1, 50, 50) and alone.std() > 0.05
    assert (dense.flatten()[points] - alone).abs().max() < 1e-4


def test_squares_give_what_patches_give_everywhere():
    """All 2500 points in reading order, two images at once, in batches that do not divide them."""
    model = lively(widths=(2, 3, 4), hidden=5, blur=True, squares=(250, 150))
    pictures = [noise(model.squares, seed=seed) for seed in range(2)]
    dense = model(*map(torch.stack, zip(*pictures, strict=True))).detach()
    for one, squares, points in zip(dense, pictures, (torch.arange(2500), some_points(9)), strict=True):
        alone = patchwise(model, squares, [lattice_centres(side)[points] for side in model.squares], batch=999)
        assert alone.std() > 0.05 and (one.flatten()[points] - alone).abs().max() < 1e-4


def test_squares_give_what_patches_give_at_the_papers_widths():
    model, squares, points = lively(), noise(), some_points(4)
    with torch.no_grad():
        dense = model(*(square[None] for square in squares))
    alone = patchwise(model, squares, [lattice_centres(side)[points] for side in SQUARES])
    assert alone.std() > 0.05 and (dense.flatten()[points] - alone).abs().max() < 1e-4


def test_squares_train_as_patches_do():
    """The gradient of the summed map is the sum of the patches' gradients."""
    gradients = []
    for whole in (True, False):
        model, square = lively(widths=(2, 3, 4), hidden=5, squares=(150,), blur=True), noise((150,))[0]
        output = model(square[None]) if whole else model(crops(square, lattice_centres(150)))
        output.mean().backward()
        gradients.append([p.grad for p in model.parameters()])
    assert all(torch.allclose(dense, alone, atol=1e-5, rtol=1e-3) for dense, alone in zip(*gradients, strict=True))


def test_a_point_off_the_lattice_is_the_patch_there():
    model, squares = small(), noise()
    centres = [torch.tensor([[side // 3, side]]) for side in SQUARES]
    views = [crops(square, centre) for square, centre in zip(squares, centres, strict=True)]
    assert torch.equal(patchwise(model, squares, centres), model(*views).detach())


@pytest.mark.parametrize(("sides", "counts", "text"), [((400, 250, 150), (5, 5, 4), "as many"), ((400, 250), (5, 5, 5), "as many"),
                                                       ((), (), "as many"), ((150, 250, 400), (5, 5, 5), "takes squares")])
def test_squares_and_centres_that_do_not_belong_together(sides, counts, text):
    with pytest.raises(ValueError, match=text) as error:
        patchwise(small(), noise(sides), [lattice_centres(150)[:count] for count in counts])
    assert "\n" not in str(error.value)


# ---------------------------------------------------------------------------------------------------------------- max-norm


def norms(model: MrCNN) -> torch.Tensor:
    return torch.cat([stream.conv1.weight.detach().flatten(1).norm(dim=1) for stream in model.streams])


@pytest.mark.parametrize("share", [False, True])
def test_conv1_stays_within_its_bound(share):
    """After every step of a rough optimiser. The norm is the whole filter's; a slice's, or a division to 1, would end above it."""
    model = small(share_streams=share).train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    views, label = patches(16), torch.arange(16) % 2
    for _ in range(6):
        optimiser.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(model(*views), label.float()).backward()
        optimiser.step()
        before = norms(model)
        model.after_step()
        assert norms(model).max() <= 0.1 + 1e-6
        assert (norms(model) - before.clamp(max=0.1)).abs().max() < 1e-6
    assert all(stream.conv1.weight.requires_grad for stream in model.streams)  # still what the optimiser holds


def test_filters_within_the_bound_are_left_alone():
    """Bit for bit, a filter of zeros included; the others keep their direction."""
    weight = torch.randn(6, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    wanted = torch.tensor([0.0, 0.01, 0.0999, 0.1001, 0.5, 30.0])
    weight *= (wanted / weight.flatten(1).norm(dim=1)).view(-1, 1, 1, 1)
    bounded = weight.clone()
    max_norm_(bounded, 0.1)
    assert torch.equal(bounded[:3], weight[:3])
    assert torch.allclose(bounded[3:].flatten(1).norm(dim=1), torch.tensor(0.1), atol=1e-7)
    assert torch.allclose(nn.functional.cosine_similarity(bounded[3:].flatten(1), weight[3:].flatten(1)), torch.tensor(1.0))


def test_no_bound_changes_nothing_and_a_bound_touches_conv1_only():
    for bound in (None, 0.1):
        model = small(max_norm=bound, blur=True)
        before = copy.deepcopy(model.state_dict())
        model.after_step()
        changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
        assert changed == (set() if bound is None else {f"streams.{i}.conv1.weight" for i in range(3)})


# -------------------------------------------------------------------------------------------------------------------- blur


@pytest.mark.parametrize(("size", "sigma"), [(7, 0.25), (5, 0.5625), (3, 1.0)])
def test_the_blur_is_scipys_on_each_channel(size, sigma):
    """Channels stay apart and the gain is 1: three different channels, and a constant image, which passes unchanged."""
    blur = LearnedBlur(size, sigma).double()
    image = torch.stack([torch.rand(30, 26), 5 * torch.rand(30, 26) - 9, torch.zeros(30, 26)]).double()
    edge = size // 2
    theirs = [ndimage.gaussian_filter(channel.numpy(), sigma * edge, radius=edge) for channel in image]
    ours = blur(image[None])[0].detach().numpy()
    assert np.abs(ours - np.stack(theirs)[:, edge:-edge, edge:-edge]).max() < 1e-6
    constant = torch.tensor([0.2, -3.0, 7.0]).double().view(1, 3, 1, 1).expand(1, 3, 20, 20)
    assert torch.allclose(blur(constant), constant[..., edge:-edge, edge:-edge], atol=1e-12)


def test_the_network_blurs_first_as_released():
    """Kernels of 7, 5, 3 px and sigmas of 0.25, 0.5625, 1 for 400, 250, 150, whichever streams there are."""
    assert [(blur.size, round(blur.sigma.item(), 5)) for blur in MrCNN(**SMALL, blur=True).blurs] == [(7, 0.25), (5, 0.5625), (3, 1.0)]
    assert [blur.size for blur in MrCNN(**SMALL, squares=(400, 150), blur=True, share_streams=True).blurs] == [7, 3]


def test_sigma_learns_and_stays_positive():
    model = small(blur=True)
    model(*patches(4)).sum().backward()
    assert all(blur.raw.grad.abs() > 1e-6 for blur in model.blurs)
    for blur in model.blurs:
        blur.raw.data -= 1e4
    assert all(blur.sigma > 0 for blur in model.blurs)
    model.zero_grad()
    logits = model(*patches(4))
    logits.sum().backward()
    assert logits.isfinite().all() and all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_a_blur_of_no_width_is_no_blur():
    """So what is cropped off a margin, and the kernel's centre, agree with the network without a blur."""
    model, plain = small(blur=True), small()
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if not name.startswith("blurs")})
    views = patches(4)
    assert not torch.allclose(model(*views), plain(*views), atol=1e-3)
    for blur in model.blurs:
        blur.raw.data.fill_(-50)
    assert torch.allclose(model(*views), plain(*views), atol=1e-6)


# --------------------------------------------------------------------------------------------------------- scrambled axes


def released_evaluation(model: MrCNN, squares: list[torch.Tensor], point: int) -> float:
    """One lattice point as the released data set hands it over: normalised crops, stacked along axis 1, first axis the stream."""
    scales = []
    for square in squares:
        mean, deviation = (constant.numpy() for constant in (model.normalize.mean, model.normalize.std))
        padded = np.pad((square.numpy() - mean) / deviation, ((0, 0), (24, 24), (24, 24)), mode="edge")
        y, x = lattice_centres(square.shape[-1])[point].tolist()
        scales.append(padded[:, y:y + 48, x:x + 48])
    item = np.stack(scales, axis=1)  # (channel, scale, 48, 48)
    unnormalised = small(normalize=((0, 0, 0), (1, 1, 1)))
    unnormalised.load_state_dict(model.state_dict())
    return unnormalised(*(torch.from_numpy(part)[None].float() for part in item)).item()


def test_scrambled_axes_are_the_released_mistake():
    model, squares = small(), noise()
    squares[0][0] *= 0.3  # a colour cast, so that no two channels are alike
    scrambled, points = ScrambledAxes(model, step=7), torch.arange(0, 50, 7)  # the last point is 49
    maps = scrambled(*(square[None] for square in squares))
    plain = model(*(square[None] for square in squares)).detach()
    assert scrambled.inputs == model.inputs and maps.shape == (1, 1, 50, 50) and not maps.requires_grad
    for y, x in [(0, 0), (0, 49), (49, 0), (49, 49), (14, 35)]:
        assert maps[0, 0, y, x].item() == pytest.approx(released_evaluation(model, squares, 50 * y + x), abs=1e-4)
    assert (maps - plain)[..., points[:, None], points].abs().mean() > 0.1


def test_scrambled_axes_need_colour_and_scale_to_matter():
    """Three grey squares of one brightness each: swapping scale and channel must swap the brightnesses between the streams."""
    model = small(normalize=((0, 0, 0), (1, 1, 1)), share_streams=True)
    levels = [0.1, 0.5, 0.9]
    maps = ScrambledAxes(model, step=49)(*(torch.full((1, 3, side, side), level) for side, level in zip(SQUARES, levels, strict=True)))
    mixed = torch.tensor(levels).view(1, 3, 1, 1).expand(1, 3, VIEW, VIEW)  # what each stream takes for a colour
    assert torch.allclose(maps, model(mixed, mixed, mixed).detach().view(1, 1, 1, 1).expand_as(maps), atol=1e-6)


def test_a_step_keeps_its_points_and_is_linear_between_them():
    model, squares = lively(widths=(2, 3, 4), hidden=5), [square[None] for square in noise()]
    every = ScrambledAxes(model)(*squares)[0, 0].numpy()
    for step in (8, 49):
        kept = sorted({*range(0, 50, step), 49})
        coarse = ScrambledAxes(model, step=step)(*squares)[0, 0].numpy()
        assert np.abs(coarse - every)[np.ix_(kept, kept)].max() < 1e-5
        rows = np.stack([np.interp(range(50), kept, row) for row in every[np.ix_(kept, kept)]])
        expected = np.stack([np.interp(range(50), kept, column) for column in rows.T], axis=1)
        assert np.abs(coarse - expected).max() < 1e-5


def test_what_cannot_be_scrambled():
    for model in (small(squares=(400, 150)), nn.Conv2d(3, 1, 1)):
        with pytest.raises(ValueError, match="three streams"):
            ScrambledAxes(model)
    with pytest.raises(ValueError, match="step must be at least 1"):
        ScrambledAxes(small(), step=0)
    for views in (patches(), [], [square[None] for square in noise()][:2]):
        with pytest.raises(ValueError, match="need squares .* not patches") as error:
            ScrambledAxes(small())(*views)
        assert "\n" not in str(error.value)
