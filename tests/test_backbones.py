"""Protects: the depth of each cut, torchvision's names, no dead parameter, identity starts, a download that fails well."""

import threading
import urllib.error
import warnings

import pytest
import torch
from torch import nn
from torchvision import models

from lib.models import backbones
from lib.models.backbones import (
    alexnet_regressor,
    load_imagenet,
    localisation_network,
    pretrained,
    saliency_network_resnet18,
    small_alexnet,
    small_saliency_network,
)
from lib.models.small_inception import small_inception


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


@pytest.fixture(scope="module")
def resnet18() -> nn.Module:
    torch.manual_seed(1)
    return models.resnet18(weights=None).eval()


@pytest.fixture(scope="module")
def alexnet() -> nn.Module:
    return models.alexnet(weights=None).eval()


@pytest.mark.parametrize("layers, channels, stride, parameters",
                         [(6, 64, 4, 157_504), (10, 128, 8, 683_072), (14, 256, 16, 2_782_784)])
def test_saliency_network_is_the_beginning_of_resnet18(resnet18, layers, channels, stride, parameters):
    network = saliency_network_resnet18(layers, weights=resnet18.state_dict()).eval()
    convolutions = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    assert sum("downsample" not in name for name in convolutions) + 1 == layers  # the last, 1x1, lives in the head
    assert count(network) == parameters
    assert shapes(network).items() <= shapes(resnet18).items()
    images = torch.rand(2, 3, 64, 96)
    wanted = images
    for name, module in resnet18.named_children():
        wanted = module(wanted)
        if name == f"layer{(layers - 2) // 4}":
            break
    assert wanted.shape == (2, channels, 64 // stride, 96 // stride)
    assert torch.equal(network(images), wanted)


def test_alexnet_regressor_keeps_all_but_the_last_layer(alexnet):
    network = alexnet_regressor(weights=alexnet.state_dict()).eval()
    assert count(network) == 57_012_034
    assert shapes(network) == shapes(alexnet) | {"classifier.6.weight": (2, 4096), "classifier.6.bias": (2,)}
    images = torch.rand(1, 3, 227, 227)
    with torch.no_grad():
        hidden = alexnet.classifier[:6](alexnet.features(images).flatten(1))
        assert torch.allclose(network(images), torch.sigmoid(network.classifier[6](hidden)), atol=1e-6)
        assert network(torch.rand(1, 3, 224, 224)).shape == (1, 2)


def test_load_imagenet_says_what_does_not_fit(resnet18):
    weights = resnet18.state_dict()
    old = {name: value for name, value in weights.items() if not name.endswith("num_batches_tracked")}
    load_imagenet(saliency_network_resnet18(6), old)  # files from before PyTorch 0.4.1
    del weights["conv1.weight"]
    with pytest.raises(ValueError, match="first 'conv1.weight'"):
        saliency_network_resnet18(6, weights=weights)


NETWORKS = {
    "resnet6": lambda: saliency_network_resnet18(6),
    "resnet14": lambda: saliency_network_resnet18(14),
    "small_alexnet": lambda: small_alexnet(3, sigmoid=True),
    "small_saliency": small_saliency_network,
    "small_inception": lambda: small_inception(3),
    "localisation": lambda: localisation_network(small_saliency_network(), 6),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_receives_a_gradient(name):
    torch.manual_seed(0)
    network = NETWORKS[name]()
    if name == "localisation":
        nn.init.normal_(network.final.weight)  # zero at the start, which hides the layers below
    network(torch.rand(4, 3, 64, 64)).square().mean().backward()
    assert [p for p, value in network.named_parameters() if value.grad is None or not value.grad.any()] == []


@pytest.mark.parametrize("name", NETWORKS)
def test_bad_images_are_refused_in_one_line(name):
    network = NETWORKS[name]()
    for images, message in ((torch.rand(3, 64, 64), "B, 3, H, W"), (torch.rand(2, 1, 64, 64), "B, 3, H, W"),
                            (torch.zeros(2, 3, 64, 64, dtype=torch.uint8), "float images")):
        with pytest.raises(ValueError, match=message) as error:
            network(images)
        assert "\n" not in str(error.value)


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match=r"\[6, 10, 14\], got 12"):
        saliency_network_resnet18(12)
    with pytest.raises(ValueError, match="multiple of 8"):
        small_alexnet(2, width=20)
    with pytest.raises(ValueError, match="multiple of 8"):
        small_inception(2, width=20)
    with pytest.raises(ValueError, match="too small"):
        small_alexnet(2)(torch.rand(1, 3, 16, 16))
    with pytest.raises(ValueError, match="6 values, got 3"):
        localisation_network(small_saliency_network(), 6, bias=[0, 0, 0])
    with pytest.raises(ValueError, match="feature map"):
        localisation_network(small_alexnet(2), 6)


@pytest.mark.parametrize("size", [(48, 48), (64, 64), (96, 128), (128, 128)])
def test_small_alexnet_keeps_eight_cells_at_64_pixels(size):
    network = small_alexnet(5)
    assert network.features(torch.rand(1, 3, *size)).shape == (1, 48, size[0] // 8, size[1] // 8)
    assert network(torch.rand(2, 3, *size)).shape == (2, 5)


def test_small_networks_have_the_size_they_state():
    assert count(small_alexnet(2)) == 160_178
    assert count(small_saliency_network()) == 24_528
    assert count(small_inception(16)) == 32_896 and small_inception(16)(torch.rand(1, 3, 64, 64)).shape == (1, 16)
    assert small_inception(16).features(torch.rand(1, 3, 64, 64)).shape == (1, 64, 8, 8)
    assert small_saliency_network()(torch.rand(1, 3, 64, 64)).shape == (1, 32, 16, 16)


@pytest.mark.parametrize("build", [lambda: small_alexnet(2), small_saliency_network, lambda: small_inception(2)])
def test_an_image_does_not_depend_on_its_batch(build):
    """Batches are grouped by screen orientation: nothing may leak between the images of one."""
    network, images = build().train(), torch.rand(6, 3, 64, 64)
    assert torch.allclose(network(images)[:2], network(images[:2]), atol=1e-5)


def test_small_alexnet_learns_a_position():
    torch.manual_seed(0)
    at = torch.rand(32, 2)
    y, x = torch.meshgrid(*2 * [torch.linspace(0, 1, 48)], indexing="ij")
    spot = torch.exp(-((x - at[:, :1, None]) ** 2 + (y - at[:, 1:, None]) ** 2) / 0.01)
    images = spot[:, None].expand(-1, 3, -1, -1)  # (B, 3, 48, 48)
    network = small_alexnet(2, sigmoid=True)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    losses = []
    for _ in range(40):
        loss = (network(images) - at).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0], f"{losses[0]:.4f} -> {losses[-1]:.4f}"


def test_localisation_network_starts_at_its_bias_and_moves():
    torch.manual_seed(0)
    identity = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    network = localisation_network(small_saliency_network(), 6, bias=identity)
    images = torch.rand(4, 3, 64, 64)
    assert torch.equal(network(images), torch.tensor(identity).expand(4, 6))
    assert torch.equal(localisation_network(small_saliency_network(), 2)(images), torch.zeros(4, 2))
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        network(images).square().sum().backward()
        optimizer.step()
    assert network.trunk.stem[0].weight.grad.any()  # from the second step on


def test_looking_for_channels_leaves_the_trunk_as_it_was():
    trunk = saliency_network_resnet18(6)
    trunk.layer1.eval()
    before = {name: value.clone() for name, value in trunk.state_dict().items()}
    localisation_network(trunk, 6)
    assert all(torch.equal(before[name], value) for name, value in trunk.state_dict().items())
    assert trunk.training and not trunk.layer1.training


# The download, without a network


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))


def test_unreachable_server_warns_once_and_gives_none(empty_cache, monkeypatch):
    def refuse(*args, **kwargs):
        raise urllib.error.URLError("no route\nto host")

    monkeypatch.setattr(backbones, "urlopen", refuse)
    with pytest.warns(UserWarning, match="no ImageNet weights for resnet18 .*no route to host.*random values") as caught:
        assert pretrained("resnet18") is None
    assert len(caught) == 1 and "\n" not in str(caught[0].message)


def test_silent_server_is_given_up_in_time(empty_cache, monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(backbones, "urlopen", lambda *args, **kwargs: release.wait(20))
    with pytest.warns(UserWarning, match="no answer within 0.05 s"):
        assert pretrained("alexnet", timeout=0.05) is None
    release.set()


def test_broken_download_gives_none_and_a_good_one_its_weights(empty_cache, monkeypatch, resnet18):
    weights = models.ResNet18_Weights
    monkeypatch.setattr(backbones, "answers", lambda url, timeout: None)

    def broken(self, **options):
        raise RuntimeError("invalid hash value")

    monkeypatch.setattr(weights, "get_state_dict", broken)
    with pytest.warns(UserWarning, match="invalid hash value"):
        assert pretrained("resnet18") is None
    asked = {}
    monkeypatch.setattr(weights, "get_state_dict", lambda self, **options: asked.update(options) or resnet18.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = saliency_network_resnet18(14, weights=pretrained("resnet18"))
    assert asked == {"progress": False, "check_hash": True, "weights_only": True}
    assert torch.equal(network.conv1.weight, resnet18.conv1.weight)


def test_unknown_builder_is_refused():
    with pytest.raises(ValueError, match="'resnet19'"):
        pretrained("resnet19")
