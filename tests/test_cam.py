"""The CAM crop: boxes of hand-made maps, the map of a network with known weights, and two looks of the same network."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision import models

from lib.models.backbones import small_alexnet
from lib.models.cam import CAMCrop, activation_map, box_grid, cam_box, look_twice, most_activated, square
from lib.models.rivals import Uniform
from lib.models.sampler import Sampled, SampledNetwork, folds, identity_grid, low_resolution, magnification, resample
from lib.models.small_resnet import small_gap_network

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

# ------------------------------------------------------------------------------------------------------------------- boxes


def blank(value: float = 0.0) -> np.ndarray:
    return np.full((10, 20), value)


def test_of_two_blobs_the_larger_is_boxed():
    activation = blank()
    activation[1:3, 1:3] = 5.0  # the brighter
    activation[4:8, 10:16] = 2.0
    assert cam_box(activation) == (10 / 20, 4 / 10, 16 / 20, 8 / 10)
    assert cam_box(torch.from_numpy(activation)) == cam_box(activation)


def test_blobs_that_touch_at_a_corner_are_two():
    activation = blank()
    activation[0:3, 0:3] = activation[3:5, 3:5] = 1.0
    assert cam_box(activation) == (0, 0, 3 / 20, 3 / 10)


def test_the_threshold_is_a_share_of_the_range():
    """Zhou et al. cut at 20 %; a constant added to the map, or a factor, changes nothing."""
    activation = blank()
    activation[5, :10] = np.linspace(0.05, 0.95, 10)
    activation[5, 10] = 1.0
    assert cam_box(activation) == (2 / 20, 5 / 10, 11 / 20, 6 / 10)
    assert cam_box(activation, threshold=0.5) == (5 / 20, 5 / 10, 11 / 20, 6 / 10)
    assert cam_box(7 * activation - 100) == cam_box(activation)


def test_a_flat_map_boxes_the_whole_picture_and_a_single_pixel_itself():
    for value in (0.0, 3.0, -1.0):
        assert cam_box(blank(value)) == (0, 0, 1, 1)
    activation = blank(-2.0)
    activation[9, 19] = -1.0
    assert cam_box(activation) == (19 / 20, 9 / 10, 1, 1)


def test_maps_that_are_none_are_refused():
    for activation in (np.zeros((1, 4, 4)), np.array([[0.0, np.nan]]), np.array([[0.0, np.inf]])):
        with pytest.raises(ValueError, match="finite"):
            cam_box(activation)


@pytest.mark.parametrize("seed", range(20))
def test_a_square_holds_its_box_and_stays_inside(seed):
    x0, x1, y0, y1 = np.random.default_rng(seed).uniform(0, 1, (2, 2, 1)).repeat(2, axis=2)[..., 0].ravel()
    box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    made = square(box)
    width, height = made[2] - made[0], made[3] - made[1]
    assert width == pytest.approx(height) and width == pytest.approx(max(box[2] - box[0], box[3] - box[1]))
    assert min(made) >= 0 and max(made) <= 1 + 1e-12
    assert made[0] <= box[0] + 1e-12 and made[1] <= box[1] + 1e-12 and made[2] >= box[2] - 1e-12 and made[3] >= box[3] - 1e-12


def test_the_grid_of_a_box_magnifies_evenly_and_that_of_everything_is_the_identity():
    boxes = torch.tensor([[0.0, 0, 1, 1], [0.25, 0.5, 0.75, 1.0]])
    grid = box_grid(boxes, (12, 16))
    torch.testing.assert_close(grid[:1], identity_grid((12, 16), like=grid))
    torch.testing.assert_close(grid[1, 0, 0], torch.tensor([-0.5, 0.0]))
    torch.testing.assert_close(grid[1, -1, -1], torch.tensor([0.5, 1.0]))
    torch.testing.assert_close(magnification(grid)[1], torch.full((12, 16), 2.0))
    assert folds(grid).max() == 0


# -------------------------------------------------------------------------------------------------------------------- maps


def test_a_maps_mean_is_the_class_score_without_the_bias():
    """Zhou et al., equations 1 and 2: the map only takes the score apart. ResNet-18 is the oracle."""
    torch.manual_seed(0)
    network = models.resnet18(weights=None, num_classes=7).eval()
    view, kept = torch.rand(3, 3, 64, 64), []
    network.layer4.register_forward_hook(lambda module, inputs, output: kept.append(output))
    with torch.no_grad():
        scores = network(view)
        for label in range(7):
            activation = activation_map(kept[0], network.fc.weight, torch.full((3,), label))
            torch.testing.assert_close(activation.mean((1, 2, 3)) + network.fc.bias[label], scores[:, label])


def test_the_most_activated_class_is_found_over_all_maps():
    features = torch.zeros(2, 2, 3, 3)
    features[0, 0, 1, 1], features[0, 1] = 5.0, 1.0  # class 0 is sharp, class 1 everywhere
    features[1, 1, 0, 2] = 1.0
    weight = torch.eye(2)
    assert most_activated(features, weight).tolist() == [0, 1]
    assert features[0].mean((1, 2)).argmax() == 1  # the predicted class of the first is the other one


class Reds(nn.Module):
    """Class 0 counts red, class 1 counts blue: global average pooling and one linear layer, weights by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Identity()
        self.fc = nn.Linear(3, 2, bias=False)
        self.fc.weight.data = torch.tensor([[1.0, 0, 0], [0, 0, 1.0]])

    def forward(self, view):
        return self.fc(self.features(view).mean((2, 3)))


def picture(*, blue: bool = False) -> torch.Tensor:
    """A red square of 40 of 160 px in the lower left quarter; on request a faint blue veil over everything."""
    image = torch.zeros(1, 3, 160, 160, dtype=torch.uint8)
    image[0, 0, 100:140, 20:60] = 255
    image[0, 2] = 60 if blue else 0
    return image


@pytest.mark.parametrize("select", ["activation", "prediction"])
def test_the_crop_is_where_the_class_was_seen(select):
    sampled = CAMCrop(Reds(), 32, select=select)(picture())
    assert isinstance(sampled, Sampled) and sampled.image.shape == (1, 3, 32, 32) and sampled.saliency.shape == (1, 1, 32, 32)
    low, high = (sampled.grid[0].amin((0, 1)) + 1) * 80, (sampled.grid[0].amax((0, 1)) + 1) * 80  # pixels
    assert (low - torch.tensor([20, 100])).abs().max() <= 10 and (high - torch.tensor([60, 140])).abs().max() <= 10  # two cells
    assert sampled.image[0, 0].mean() > 0.55 > 8 * picture()[0, 0].float().mean() / 255
    assert magnification(sampled.grid).mean() > 2.5
    assert sampled.saliency.min() == 0 and sampled.saliency.max() == 1


def test_which_class_is_mapped_is_the_papers_or_zhous():
    """A veil of blue wins on average, the red square at its peak."""
    peak, mean = (CAMCrop(Reds(), 32, select=select)(picture(blue=True)).grid for select in ("activation", "prediction"))
    assert magnification(peak).mean() > 2.5
    torch.testing.assert_close(mean, identity_grid(32, like=mean))  # a flat map: the whole picture


def test_a_crop_is_made_of_averages():
    """The network was trained on an anti-aliased view: fine noise must average out in the crop as it does there."""
    noise = torch.randint(0, 256, (1, 3, 128, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    network = Reds()
    network.fc.weight.data.zero_()
    sampled = CAMCrop(network, 32)(noise)
    torch.testing.assert_close(sampled.grid, identity_grid(32, like=sampled.grid))  # a flat map: the whole picture
    view, points = low_resolution(noise, 32), resample(noise, sampled.grid)
    assert sampled.image.std() < 1.6 * view.std() and points.std() > 2.2 * sampled.image.std()


@pytest.mark.parametrize("size", [32, (32, 48)])
def test_two_looks_of_a_trained_row(size):
    """Same weights, same normalisation, the view of the plain row as it comes from the store; the network's shapes may differ."""
    torch.manual_seed(0)
    plain = SampledNetwork(Uniform(size), small_gap_network(5), normalize=IMAGENET).eval()
    model = look_twice(plain).eval()
    assert model.state_dict().keys() == plain.state_dict().keys() and model.inputs == plain.inputs
    image = torch.randint(0, 256, (3, 3, 90, 120), dtype=torch.uint8)
    view = (low_resolution(image, size) * 255).round().to(torch.uint8)
    output, maps = model(image, view, return_maps=True)
    assert output.shape == (3, 5) and maps.grid.shape == (3, *maps.image.shape[-2:], 2) and not maps.grid.requires_grad
    again = plain.task_network(plain.normalize(maps.image))
    torch.testing.assert_close(output, again)
    saved = copy.deepcopy(plain.state_dict())
    other = look_twice(SampledNetwork(Uniform(size), small_gap_network(5), normalize=IMAGENET).eval())
    other.load_state_dict(saved)
    torch.testing.assert_close(other.eval()(image, view), output)


def test_networks_without_the_head_are_refused_in_one_line():
    for network in (small_alexnet(4), models.alexnet(weights=None), nn.Linear(3, 3)):
        with pytest.raises(ValueError, match="global average pooling") as error:
            CAMCrop(network, 32)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="select 'best'"):
        CAMCrop(Reds(), 32, select="best")
    network = Reds()
    network.fc = nn.Linear(3 * 32 * 32, 2)  # no pooling
    network.forward = lambda view: network.fc(network.features(view).flatten(1))
    with pytest.raises(ValueError, match="one for each channel"):
        CAMCrop(network, 32)(picture())


# ------------------------------------------------------------------------------------------------------------- the network


def test_the_small_network_is_linear_in_the_average_of_its_maps():
    """What class activation maps rest on: another way to the same scores."""
    torch.manual_seed(1)
    network = small_gap_network(6)
    view = torch.rand(2, 3, 64, 64)
    features = network.features(view)
    assert features.shape == (2, 64, 8, 8)
    expected = F.linear(F.adaptive_avg_pool2d(features, 1).flatten(1) * network.pool.gain, network.fc.weight, network.fc.bias)
    torch.testing.assert_close(network(view), expected)
    assert sum(parameter.numel() for parameter in small_gap_network(16).parameters()) == 73_568  # golden: the docstring's


def test_the_small_network_takes_other_sizes_and_refuses_bad_ones():
    network = small_gap_network(3, width=8)
    assert network(torch.rand(1, 3, 48, 96)).shape == (1, 3)
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in network.parameters())
    for images in (torch.zeros(1, 3, 16, 16), torch.zeros(1, 1, 64, 64), torch.zeros(1, 3, 64, 64, dtype=torch.uint8)):
        with pytest.raises(ValueError):
            network(images)
    with pytest.raises(ValueError, match="multiple of 8"):
        small_gap_network(3, width=12)
