"""The sampler's rivals: all start as the uniform row, all can learn, and the thin-plate spline is Bookstein's."""

import pytest
import torch
import torch.nn.functional as F
from scipy.interpolate import RBFInterpolator

from lib.models.backbones import localisation_network, small_saliency_network
from lib.models.rivals import AffineSTN, GridEstimator, Oracle, ThinPlateSTN, Uniform, thin_plate_basis
from lib.models.sampler import Sampled, folds, identity_grid, low_resolution, magnification, resample

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NAMES = ("uniform", "points", "affine", "thin plate", "grid estimator")
LEARNED = NAMES[2:]


def build(name, task_size=24, view_size=32, **options):
    """A rival as the tables build it, from the same random numbers each time."""
    torch.manual_seed(0)
    if name in ("uniform", "points"):
        return Uniform(task_size, antialias=name == "uniform", **options)
    trunk = small_saliency_network(width=8)
    options = {"normalize": IMAGENET, **options}
    if name == "affine":
        return AffineSTN(localisation_network(trunk, 6), task_size, view_size, **options)
    if name == "thin plate":
        return ThinPlateSTN(localisation_network(trunk, 32), task_size, view_size, **options)
    return GridEstimator(trunk, task_size, view_size, **options)


def images(batch=2, height=60, width=80, *, dtype=torch.float32, seed=1):
    pixels = torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    return pixels if dtype == torch.uint8 else pixels.to(dtype) / 255


def nudge(model, size=0.05):
    """Take a model's last layers away from zero, as training does."""
    generator = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        if not parameter.detach().any():
            parameter.data = torch.randn(parameter.shape, generator=generator) * size
    return model


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [24, (24, 40), (33, 18)])
def test_starts_as_the_identity(name, size):
    sampled = build(name, size)(images())
    shape = (size, size) if isinstance(size, int) else size
    assert isinstance(sampled, Sampled) and sampled.saliency is None
    assert sampled.grid.shape == (2, *shape, 2) and sampled.image.shape == (2, 3, *shape)
    assert (sampled.grid - identity_grid(shape, like=sampled.grid)).abs().max() < 2e-6
    assert folds(sampled.grid).max() == 0


@pytest.mark.parametrize("name", ["points", *LEARNED])
def test_starts_with_the_point_samples_of_the_full_image(name):
    """Not of the view, and not anti-aliased: so rows differ from the uniform one by where they look alone."""
    image = images()
    wanted = F.interpolate(image, (24, 24), mode="bilinear", align_corners=True)  # another formulation of the same
    assert (build(name)(image).image - wanted).abs().max() < 1e-4


def test_the_uniform_row_is_anti_aliased_resizing():
    image = images()
    sampled = build("uniform")(image)
    assert torch.equal(sampled.image, low_resolution(image, 24))
    assert (sampled.image - build("points")(image).image).abs().max() > 0.1
    assert sampled.image.std() < build("points")(image).image.std()  # noise averages out


def test_the_uniform_row_takes_the_view_where_it_has_its_size_and_resizes_otherwise():
    image = images(dtype=torch.uint8)
    view = (low_resolution(image, 24) * 255).round().to(torch.uint8)
    assert torch.equal(build("uniform")(image, view).image, view / 255)
    assert torch.equal(build("uniform")(image, view[..., :20]).image, low_resolution(image, 24))


@pytest.mark.parametrize("name", NAMES)
def test_bytes_and_floats_give_the_same(name):
    model = nudge(build(name))
    view = low_resolution(images(dtype=torch.uint8), model.view_size)  # of bytes it is in grey levels
    assert (view - low_resolution(images(), model.view_size)).abs().max() <= 1 / 255
    one, other = model(images(dtype=torch.uint8), view), model(images(), view)
    assert one.image.dtype == torch.float32
    assert (one.grid - other.grid).abs().max() < 1e-5
    assert (one.image - other.image).abs().max() < 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_a_given_view_is_used_and_equals_the_one_made_here(name):
    model, image = nudge(build(name)), images()
    given = model(image, low_resolution(image, model.view_size))
    torch.testing.assert_close(given.image, model(image).image)
    torch.testing.assert_close(given.grid, model(image).grid)


@pytest.mark.parametrize("name", LEARNED)
def test_the_gradient_reaches_every_parameter_from_the_second_step_on(name):
    """The last layer starts at zero: at first it alone learns, then all below it do."""
    model = build(name)
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    ramp = images()
    for _ in range(2):
        optimiser.zero_grad()
        model(ramp).image[..., 6:, 3:].square().mean().backward()
        optimiser.step()
    silent = [key for key, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.abs().max() > 0]
    assert silent == []
    assert (model(ramp).grid - identity_grid(24, like=ramp)).abs().max() > 1e-4


@pytest.mark.parametrize("name", LEARNED)
def test_images_of_a_batch_do_not_see_each_other(name):
    model, image = nudge(build(name)).eval(), images(3)
    whole, alone = model(image).grid, torch.cat([model(image[i:i + 1]).grid for i in range(3)])
    assert (whole - alone).abs().max() < 1e-5
    assert (whole[0] - whole[1]).abs().max() > 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_state_dict_round_trip(name):
    """What is saved is what was learned: another network becomes the same, and nothing constant travels along."""
    model, other = nudge(build(name)), build(name)
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(images()).grid, other(images()).grid)
    assert set(model.state_dict()) == {key for key, _ in model.named_parameters()}


@pytest.mark.parametrize("name", LEARNED)
def test_the_grid_stays_float32_under_autocast(name):
    model = nudge(build(name))
    with torch.autocast("cpu", torch.bfloat16):
        sampled = model(images())
    assert sampled.grid.dtype == sampled.image.dtype == torch.float32
    assert (sampled.grid - model(images()).grid).abs().max() < 0.05  # bfloat16 in the network, not in the positions


def test_affine_parameters_mean_what_the_paper_says():
    """theta maps output to input positions, x first: half the scale shows the middle twice as large, a shift moves right."""
    model = build("affine", (25, 41))
    model.localisation.final.bias.data = torch.tensor([-0.5, 0, 0.25, 0, -0.5, 0])
    grid = model(images()).grid
    wanted = identity_grid((25, 41), like=grid) * 0.5 + torch.tensor([0.25, 0.0])
    assert (grid - wanted).abs().max() < 1e-6
    assert (magnification(grid) - 2).abs().max() < 1e-3


def test_the_grid_estimators_channels_are_x_then_y():
    model = build("grid estimator", (25, 41))
    model.head.bias.data = torch.tensor([0.25, -0.5])
    grid = model(images()).grid
    assert (grid - identity_grid((25, 41), like=grid) - torch.tensor([0.25, -0.5])).abs().max() < 1e-6


# -------------------------------------------------------------------------------------------------------- thin-plate spline


def control_points(count=4, span=0.9):
    return identity_grid(count, like=torch.zeros(1, dtype=torch.float64)).view(-1, 2) * span


def scattered(count, seed=3):
    return torch.rand(count, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 2.4 - 1.2


@pytest.mark.parametrize("count", [2, 3, 4, 6])
def test_thin_plate_reproduces_affine_maps(count):
    """It has no bending energy to add, inside and outside of the control points."""
    control, points = control_points(count), scattered(50)
    matrix, shift = torch.tensor([[0.7, 0.3], [-0.2, 1.4]], dtype=torch.float64), torch.tensor([0.1, -0.4], dtype=torch.float64)
    moved = thin_plate_basis(control, points) @ (control @ matrix + shift)
    assert (moved - (points @ matrix + shift)).abs().max() < 1e-10


def test_thin_plate_passes_through_its_control_points():
    control = control_points()
    assert (thin_plate_basis(control, control) - torch.eye(16, dtype=torch.float64)).abs().max() < 1e-10


@pytest.mark.parametrize("irregular", [False, True])
def test_thin_plate_agrees_with_scipy(irregular):
    control = scattered(16, seed=4) if irregular else control_points()
    target, points = scattered(16, seed=5), scattered(200, seed=6)
    oracle = RBFInterpolator(control.numpy(), target.numpy(), kernel="thin_plate_spline", degree=1)(points.numpy())
    assert (thin_plate_basis(control, points) @ target - torch.from_numpy(oracle)).abs().max() < 1e-9


def test_the_thin_plate_sampler_moves_its_control_points_by_the_networks_output():
    """A raster that holds the control points: 90 % of the image, 4x4, is every sixth point of 21x21 from the first on."""
    model = build("thin plate", 21)
    shift = torch.randn(16, 2, generator=torch.Generator().manual_seed(7)) * 0.1
    model.localisation.final.bias.data = shift.flatten()
    grid = model(images(1)).grid[0].detach()  # (21, 21, 2), a step of 0.1; control points at -0.9, -0.3, 0.3, 0.9
    reached = grid[1::6, 1::6].reshape(16, 2)
    assert (reached - (control_points().float() + shift)).abs().max() < 1e-5


# ------------------------------------------------------------------------------------------------------------------- oracle


def heat_map(x, y, cells=31, spread=3.0, floor=0.01):
    at = torch.arange(cells).float()
    return (torch.exp(-((at[:, None] - y) ** 2 + (at[None] - x) ** 2) / (2 * spread**2)) + floor)[None, None]


@pytest.mark.parametrize("size", [32, (32, 48)])
def test_the_oracle_zooms_where_its_heat_map_is_high(size):
    oracle, heat = Oracle(size), torch.cat((heat_map(8, 22), heat_map(24, 6)))
    sampled = oracle(images(2), heat)
    assert torch.equal(sampled.saliency, heat) and folds(sampled.grid).max() == 0
    height, width = sampled.grid.shape[1:3]
    for i, (x, y) in enumerate([(8, 22), (24, 6)]):
        peak = torch.tensor([x, y]) / 15 - 1
        nearest = (sampled.grid[i] - peak).norm(dim=-1).flatten().argmin()
        zoom = magnification(sampled.grid)[i]
        assert zoom[nearest // width, nearest % width] > 1.5
        opposite = (sampled.grid[i] + peak).norm(dim=-1).flatten().argmin()
        assert zoom[opposite // width, opposite % width] < 1


def test_the_oracle_is_uniform_for_a_uniform_heat_map_and_samples_the_image():
    image = images(2)
    sampled = Oracle(24)(image, torch.ones(2, 1, 31, 31))
    assert (sampled.grid - identity_grid(24, like=image)).abs().max() < 1e-5
    torch.testing.assert_close(sampled.image, resample(image, sampled.grid))


def test_the_oracle_asks_for_the_annotation():
    assert Oracle(24).looks_at == "annotation"
    assert {build(name).looks_at for name in NAMES} == {"view"}
