"""Protects: the released network's sizes and arithmetic, frozen encoders, and that weights load whole or not at all."""

import pickle
import re
import sys
import warnings

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from lib.models import emlnet_nasnet, emlnet_weights
from lib.models.backbones import IMAGENET_NORMALIZATION
from lib.models.emlnet import Decoder, Encoder, SmallEncoder
from lib.models.emlnet_nasnet import NasNetEncoder, pretrained_nasnet
from lib.models.emlnet_weights import encoder_a, encoder_b, load_decoder, load_emlnet, load_encoder, read_state
from lib.models.lite0 import Lite0Encoder
from lib.training.checkpoint import load_weights, save_weights
from lib.training.saliency_losses import emlnet_loss_parts

BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def scrambled(network: nn.Module, seed: int = 0) -> nn.Module:
    """Other values everywhere, the batch statistics included, so that nothing agrees by its starting value."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            value.fill_(7)
        elif value.ndim == 1 and value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return network.eval()


def same(one: nn.Module, other: nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    return scrambled(Encoder())


@pytest.fixture(scope="module")
def small_pair() -> tuple[SmallEncoder, SmallEncoder]:
    torch.manual_seed(1)
    return scrambled(SmallEncoder(), 1), scrambled(SmallEncoder(), 2)


# Encoders


def test_encoder_has_the_released_size(encoder):
    assert count(encoder) == 23_543_231
    assert sum(buffer.numel() for buffer in encoder.buffers()) == 53_191
    assert [count(readout) for readout in encoder.readout_layers] == [579, 2307, 4611, 9219, 18435]
    assert count(encoder.combined) == 48
    assert len(encoder.state_dict()) == 360
    torchvision = models.resnet50(weights=None).state_dict()
    shared = [name for name, value in encoder.state_dict().items() if name in torchvision and torchvision[name].shape == value.shape]
    assert len(shared) == 318


def written_out(state: dict, images: torch.Tensor, upsample) -> tuple[list[torch.Tensor], torch.Tensor]:
    """EML-NET on torchvision's own ResNet-50, from the release's description; images (B, 3, H, W) float."""
    trunk = models.resnet50(weights=None).eval()
    trunk.load_state_dict(state, strict=False)
    features = [F.relu(trunk.bn1(trunk.conv1(images)))]
    features.append(trunk.layer1(F.max_pool2d(features[0], 3, 2, 1)))
    for layer in (trunk.layer2, trunk.layer3, trunk.layer4):
        features.append(layer(features[-1]))

    def layer(x, name):
        weight, bias, mean, variance = (state[f"{name}.1.{part}"] for part in ("weight", "bias", "running_mean", "running_var"))
        kernel = state[f"{name}.0.weight"]
        x = F.conv2d(x, kernel, state[f"{name}.0.bias"], padding=kernel.shape[-1] // 2)
        return F.batch_norm(x, mean, variance, weight, bias)

    maps = [F.relu(layer(x, f"readout_layers.{i}")) for i, x in enumerate(features)]
    joined = torch.cat([maps[0]] + [upsample(m, maps[0].shape[-2:]) for m in maps[1:]], dim=1)
    return maps, upsample(torch.sigmoid(layer(joined, "combined")), images.shape[-2:])


UPSAMPLE = {"nearest": lambda x, size: F.interpolate(x, size),
            "bilinear": lambda x, size: F.interpolate(x, size, mode="bilinear", align_corners=False)}


@torch.no_grad()
@pytest.mark.parametrize("upsampling", UPSAMPLE)
def test_encoder_is_the_released_arithmetic(encoder, upsampling, monkeypatch):
    monkeypatch.setattr(encoder, "upsampling", upsampling)
    images = torch.randint(0, 256, (2, 3, 70, 101), dtype=torch.uint8)
    wanted_maps, wanted = written_out(encoder.state_dict(), images / 255, UPSAMPLE[upsampling])
    maps, saliency = encoder.readouts(images), encoder(images)
    assert [tuple(m.shape[-2:]) for m in maps] == [(35, 51), (18, 26), (9, 13), (5, 7), (3, 4)]
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in zip(maps, wanted_maps, strict=True))
    assert all((m >= 0).all() for m in maps)
    assert saliency.shape == (2, 1, 70, 101)
    assert torch.allclose(saliency, wanted, rtol=1e-4, atol=1e-4)
    assert torch.equal(encoder(images.float() / 255), saliency)


@torch.no_grad()
def test_upsampling_repeats_pixels_or_does_not():
    images = torch.rand(1, 3, 96, 128)
    for upsampling, blocky in (("nearest", True), ("bilinear", False)):
        saliency = SmallEncoder(upsampling=upsampling)(images)
        assert 0 <= saliency.min() < saliency.max() <= 1
        blocks = saliency.view(1, 48, 2, 64, 2)
        assert torch.equal(blocks, blocks[:, :, :1, :, :1].expand_as(blocks)) == blocky


@torch.no_grad()
def test_options_change_what_they_say():
    network = Encoder(readout_kernel=1)
    assert [count(readout) for readout in network.readout_layers] == [67, 259, 515, 1027, 2051]
    assert count(network.combined) == 8
    images = torch.rand(2, 3, 64, 96)
    plain, normalising = SmallEncoder().eval(), SmallEncoder(normalize=True).eval()
    plain.load_state_dict(normalising.state_dict(), strict=False)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in IMAGENET_NORMALIZATION)
    assert torch.allclose(normalising(images), plain((images - mean) / std), atol=1e-6)
    assert not torch.allclose(normalising(images), plain(images), atol=1e-2)
    for options, message in (({"readout_kernel": 5}, "1 or 3"), ({"upsampling": "cubic"}, "nearest, bilinear"), ({"channels": (12, 24)}, "of 8")):
        with pytest.raises(ValueError, match=message):
            SmallEncoder(**options)


def test_convolutions_begin_with_the_released_spread():
    torch.manual_seed(0)
    network = Encoder()
    for name in ("conv1", "layer1.0.conv1", "layer4.2.conv2", "readout_layers.4.0"):
        weight = network.get_submodule(name).weight
        wanted = (2 / (weight.shape[2] * weight.shape[3] * weight.shape[0])) ** 0.5
        assert weight.std().item() == pytest.approx(wanted, rel=0.03), name
        assert abs(weight.mean().item()) < 0.05 * wanted, name


@pytest.mark.parametrize("build", [Encoder, SmallEncoder, lambda: NasNetEncoder(num_features=96)], ids=["resnet50", "small", "nasnet"])
def test_every_parameter_receives_a_gradient(build):
    torch.manual_seed(0)
    network = build().train()
    assert network.inputs == ("view",)
    (network(torch.rand(2, 3, 64, 64)) - torch.rand(2, 1, 64, 64)).square().mean().backward()
    cancelled = re.compile(r"(readout_layers\.\d|combined)\.0\.bias")  # by the norm behind it
    assert [name for name, p in network.named_parameters() if not (cancelled.fullmatch(name) or p.grad.any())] == []


def test_bad_images_are_refused_in_one_line(encoder, small_pair):
    for network, least in ((encoder, 32), (small_pair[0], 64), (Decoder(*small_pair), 64)):
        for images, message in ((torch.rand(2, 1, 64, 64), "B, 3, H, W"), (torch.zeros(1, 3, 64, 64, dtype=torch.int64), "float images"),
                                (torch.rand(1, 3, 64, least - 1), "too small")):
            with pytest.raises(ValueError, match=message) as error:
                network(images)
            assert "\n" not in str(error.value)


def test_small_encoder_has_its_size_and_ignores_the_batch():
    network, images = SmallEncoder().train(), torch.rand(4, 3, 120, 160)
    assert count(network) == 302_183
    assert [tuple(m.shape[-2:]) for m in network.readouts(images)] == [(60, 80), (30, 40), (15, 20), (8, 10), (4, 5)]
    assert torch.allclose(network(images)[:1], network(images[:1]), atol=1e-5)


def test_small_encoder_learns_where_a_spot_is():
    torch.manual_seed(0)
    at = torch.rand(16, 2)
    y, x = torch.meshgrid(*2 * [torch.linspace(0, 1, 64)], indexing="ij")
    spot = torch.exp(-((x - at[:, :1, None]) ** 2 + (y - at[:, 1:, None]) ** 2) / 0.02)[:, None]  # (B, 1, 64, 64)
    images = 0.8 * torch.rand(16, 3, 64, 64) + 0.2 * spot
    network, losses = SmallEncoder(), []
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(25):
        loss = emlnet_loss_parts(network(images), spot, spot > 0.9)["cc"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0], f"{losses[0]:.4f} -> {losses[-1]:.4f}"


# The decoder


@torch.no_grad()
def test_decoder_is_the_released_arithmetic(small_pair):
    torch.manual_seed(2)
    network = scrambled(Decoder(*small_pair), 3)
    assert count(network) - count(small_pair[0]) - count(small_pair[1]) == 213
    assert network.inputs == ("view",)
    state, images = network.state_dict(), torch.randint(0, 256, (2, 3, 65, 90), dtype=torch.uint8)

    def layer(x, name):
        x = F.conv2d(x, state[f"{name}.0.weight"], state[f"{name}.0.bias"], padding=1)
        return F.batch_norm(x, *(state[f"{name}.1.{part}"] for part in ("running_mean", "running_var", "weight", "bias")))

    maps = [m for encoder in small_pair for m in encoder.readouts(images)]
    grown = [F.interpolate(F.relu(layer(m, f"branches.{i}")), (65, 90)) for i, m in enumerate(maps)]
    wanted = torch.sigmoid(layer(torch.cat(grown, dim=1), "combined"))
    assert wanted.shape == (2, 1, 65, 90)
    assert torch.allclose(network(images), wanted, atol=1e-5)


def test_training_the_decoder_leaves_its_encoders_alone():
    torch.manual_seed(0)
    encoder = Encoder()  # with batch statistics
    network = Decoder(encoder, SmallEncoder()).train()
    assert network.training and not any(m.training for part in (network.encoder_a, network.encoder_b) for m in part.modules())
    trainable = [name for name, p in network.named_parameters() if p.requires_grad]
    assert sum(network.get_parameter(name).numel() for name in trainable) == 213
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 0.1)
    (network(torch.rand(2, 3, 64, 64)) - torch.rand(2, 1, 64, 64)).square().mean().backward()
    optimizer.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert not any(name.startswith("encoder") for name in changed)
    assert {name for name in trainable if not name.endswith(".0.bias")} <= changed  # those biases are cancelled by their norms
    assert "branches.0.1.running_mean" in changed


# NASNet


def test_nasnet_taps_the_four_published_places():
    torch.manual_seed(0)
    network, images = NasNetEncoder(num_features=96).eval(), torch.rand(1, 3, 320, 320)
    seen = []
    hooks = [network.body.get_submodule(name).register_forward_hook(lambda module, given, output: seen.append(output.clone()))
             for name in emlnet_nasnet.TAPS]
    with torch.no_grad():
        network.body.forward_features(images)  # timm's own path; the hooks note what it passes on
        for hook in hooks:
            hook.remove()
        assert [tuple(x.shape[1:]) for x in network.layers(images)] == [(8, 40, 40), (32, 20, 20), (64, 10, 10), (96, 10, 10)]
        assert all(torch.equal(a, b) for a, b in zip(network.layers(images), seen, strict=True))
        assert all(0 <= m.min() and m.max() <= 1 for m in network.readouts(images))
        assert network(images[..., :200]).shape == (1, 1, 320, 200)


@pytest.mark.slow
def test_nasnet_large_has_the_published_size():
    network = NasNetEncoder().eval()
    assert count(network) == 84_728_569
    assert [count(readout) for readout in network.readout_layers] == [339, 1347, 2691, 4035] and count(network.combined) == 7
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 320, 320, dtype=torch.uint8)).shape == (1, 1, 320, 320)


def test_nasnet_takes_a_state_dict_and_says_what_is_lacking(monkeypatch):
    weights = NasNetEncoder(num_features=96).body.state_dict()
    network = NasNetEncoder(num_features=96, weights=weights)
    own = network.body.state_dict()
    assert all(torch.equal(own[name], value) for name, value in weights.items())
    with pytest.raises(ValueError, match="missing or of another shape"):
        NasNetEncoder(num_features=192, weights=weights)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match="pip install timm"):
        NasNetEncoder(num_features=96)


def test_nasnet_weights_that_cannot_be_had_warn_once(monkeypatch, tmp_path):
    import huggingface_hub

    def refuse(url, timeout):
        raise OSError("no route\nto host")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *names: None)
    monkeypatch.setattr(emlnet_nasnet, "answers", refuse)
    with pytest.warns(UserWarning, match="no ImageNet weights for nasnetalarge .*no route to host.*random values") as caught:
        assert pretrained_nasnet() is None
    assert len(caught) == 1 and "\n" not in str(caught[0].message)
    save_file({"conv0.conv.weight": torch.ones(2)}, tmp_path / "model.safetensors")
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *names: str(tmp_path / "model.safetensors"))
    assert pretrained_nasnet()["conv0.conv.weight"].tolist() == [1, 1]


# What a trunk begins with


@pytest.fixture(scope="module")
def resnet50() -> nn.Module:
    torch.manual_seed(5)
    return scrambled(models.resnet50(weights=None, num_classes=365))


def trunk_is(network: Encoder, classifier: nn.Module) -> bool:
    own = network.state_dict()
    return all(torch.equal(own[name], value) for name, value in classifier.state_dict().items()
               if not name.startswith("fc.") and not name.endswith("num_batches_tracked"))


def test_encoder_a_begins_with_imagenet_or_says_so(resnet50, monkeypatch):
    monkeypatch.setattr(emlnet_weights, "pretrained", lambda name, timeout: {"resnet50": resnet50.state_dict()}[name])
    network = encoder_a(readout_kernel=1)
    assert trunk_is(network, resnet50) and network.weights_name == "ImageNet"

    def unreachable(name, timeout):
        warnings.warn("no ImageNet weights", stacklevel=2)

    monkeypatch.setattr(emlnet_weights, "pretrained", unreachable)
    with pytest.warns(UserWarning) as caught:
        assert encoder_a().weights_name is None
    assert len(caught) == 1


def test_encoder_b_begins_with_places_or_says_so(resnet50, tmp_path):
    state = {f"module.{name}": value for name, value in resnet50.state_dict().items() if not name.endswith("num_batches_tracked")}
    checkpoint = {"epoch": 90, "arch": "resnet50", "state_dict": state, "best_prec1": 54.65}
    path = tmp_path / "resnet50_places365.pth.tar"
    torch.save(checkpoint, path, _use_new_zipfile_serialization=False)  # the format of its time
    content = path.read_bytes()
    text, byte_string = b"X\x08\x00\x00\x00resnet50", b"U\x08resnet\xe90"  # Python 2's str, and not even ASCII
    assert content.count(text) == 1
    path.write_bytes(content.replace(text, byte_string))
    network = encoder_b(weights_dir=tmp_path)
    assert trunk_is(network, resnet50) and network.weights_name == "PLACES365"
    assert network.layer1[0].bn1.num_batches_tracked == 0
    with pytest.warns(UserWarning, match="no PLACES365 weights .*encoder B starts from random values") as caught:
        assert encoder_b(weights_dir=tmp_path / "none").weights_name is None
    assert len(caught) == 1 and "\n" not in str(caught[0].message)
    torch.save({name: value for name, value in state.items() if "layer4.2.conv3" not in name}, path)
    with pytest.raises(ValueError, match="missing: layer4.2.conv3.weight; unexpected: none"):
        encoder_b(weights_dir=tmp_path)


# The released files, with names that this project does not use


def renamed(network: nn.Module, names: dict[str, tuple[str, str]]) -> dict[str, torch.Tensor]:
    """The state dict with each head's convolution and norm called as `names` says, in its order; other entries stay before them."""
    state = network.state_dict()
    out = {name: value for name, value in state.items() if not name.startswith((*names, "encoder_"))}
    for own, (convolution, norm) in names.items():
        out |= {f"{convolution}.{part}": state[f"{own}.0.{part}"] for part in ("weight", "bias")}
        out |= {f"{norm}.{part}": state[f"{own}.1.{part}"] for part in BATCH_NORM}
    return out


OUTPUTS = {f"readout_layers.{i}": (f"output{i}.0", f"output{i}.1") for i in range(5)} | {"combined": ("fuse.0", "fuse.1")}
FLAT = {f"readout_layers.{i}": (f"conv_out{i}", f"bn_out{i}") for i in (4, 2, 0, 1, 3)} | {"combined": ("last", "last_bn")}


@pytest.mark.parametrize("names, wrap", [(OUTPUTS, lambda state: {"state_dict": {f"module.{name}": v for name, v in state.items()}}),
                                         (FLAT, dict)], ids=["nested", "flat"])
def test_released_encoder_loads_by_its_structure(encoder, tmp_path, names, wrap):
    torch.save(wrap(renamed(encoder, names)), tmp_path / "res.pth")
    loaded = load_encoder(tmp_path / "res.pth")
    assert same(loaded, encoder) and not load_emlnet([tmp_path / "res.pth"]).training


def test_encoder_with_1x1_readouts_is_recognised(tmp_path):
    network = scrambled(Encoder(readout_kernel=1))
    torch.save(renamed(network, OUTPUTS), tmp_path / "res.pth")
    assert same(load_encoder(tmp_path / "res.pth"), network)


def one_list(i: int) -> str:
    return f"feat.{i}"


def two_lists(i: int) -> str:
    return f"image_branch{i}" if i < 5 else f"place_branch{i - 5}"


@pytest.mark.parametrize("called, order", [(one_list, range(10)), (two_lists, range(10)), (one_list, (9, 3, 1, 0, 2, 4, 8, 7, 6, 5)),
                                           (two_lists, (*range(5, 10), *range(5)))], ids=["one", "two", "shuffled", "places-first"])
def test_released_decoder_loads_in_the_order_of_its_names(small_pair, tmp_path, called, order):
    network = scrambled(Decoder(*small_pair), 4)
    names = {f"branches.{i}": (f"{called(i)}.0", f"{called(i)}.1") for i in order} | {"combined": ("fuse.0", "fuse.1")}
    torch.save(renamed(network, names), tmp_path / "res_decoder.pth")
    assert same(load_decoder(tmp_path / "res_decoder.pth", *small_pair), network)


def test_a_decoder_whose_order_is_unknown_is_refused(small_pair, tmp_path):
    network = Decoder(*small_pair)
    words = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    names = {f"branches.{i}": (f"{word}.0", f"{word}.1") for i, word in enumerate(words)} | {"combined": ("fuse.0", "fuse.1")}
    torch.save(renamed(network, names), tmp_path / "res_decoder.pth")
    with pytest.raises(ValueError, match="order of the decoder's branches does not follow from their names: one, two"):
        load_decoder(tmp_path / "res_decoder.pth", *small_pair)


# Files of this project


@pytest.mark.parametrize("build", [lambda: SmallEncoder(channels=(8, 16, 24, 32, 40), readout_kernel=1),
                                   lambda: SmallEncoder(upsampling="bilinear", normalize=True),
                                   lambda: Lite0Encoder(pretrained=False, readout_kernel=1, upsampling="bilinear")],
                         ids=["narrow", "settings", "lite0"])
def test_saved_encoders_come_back_with_their_options(build, tmp_path):
    network, images = scrambled(build()), torch.rand(1, 3, 64, 80)
    save_weights(tmp_path / "row.safetensors", network)
    loaded = load_emlnet([tmp_path / "row.safetensors"])
    assert same(loaded, network) and torch.equal(loaded(images), network(images))


def test_weights_of_half_the_bytes_predict_the_same_but_for_their_rounding(tmp_path):
    torch.manual_seed(0)
    network, images = Lite0Encoder(upsampling="bilinear").eval(), torch.rand(1, 3, 64, 96)
    halved = {name: value.half() if value.is_floating_point() else value for name, value in network.state_dict().items()}
    save_file({name: value.contiguous() for name, value in halved.items()}, tmp_path / "half.safetensors")
    loaded = load_encoder(tmp_path / "half.safetensors")
    assert next(loaded.parameters()).dtype == torch.float32
    for ours, whole in zip(loaded.eval().readouts(images), network.readouts(images), strict=True):
        assert (ours - whole).abs().max() < 0.05 * whole.abs().max()


def test_a_row_with_other_settings_does_not_load_silently(tmp_path):
    save_weights(tmp_path / "row.safetensors", SmallEncoder(normalize=True))
    with pytest.raises(ValueError, match="differing: settings"):
        load_weights(tmp_path / "row.safetensors", SmallEncoder())


def test_saved_decoder_brings_its_encoders(encoder, small_pair, tmp_path):
    images = torch.rand(1, 3, 64, 80)
    network = scrambled(Decoder(Encoder(readout_kernel=1, upsampling="bilinear"), small_pair[1], upsampling="bilinear"))
    save_weights(tmp_path / "whole.safetensors", network)
    for files in ([tmp_path / "whole.safetensors"], None), ([], tmp_path / "whole.safetensors"):
        loaded = load_emlnet(*files)
        assert same(loaded, network) and torch.equal(loaded(images), network(images))
    save_weights(tmp_path / "small.safetensors", small_pair[0])
    with pytest.raises(ValueError, match="already holds both encoders"):
        load_emlnet([tmp_path / "small.safetensors"], tmp_path / "whole.safetensors")


# Files that are none of this


def test_wrong_files_are_refused_in_one_line(resnet50, encoder, small_pair, tmp_path):
    good, path = renamed(encoder, OUTPUTS), tmp_path / "file.pth"
    short = {name: value for name, value in good.items() if not name.startswith("output3")}
    cases = [
        (resnet50.state_dict(), "missing: a readout of 64 channels, a readout of 256"),  # a classifier
        (short, "missing: a readout of 1024 channels; readouts found: output0, output1"),
        ({name: value for name, value in good.items() if name != "layer2.1.bn1.weight"}, "missing: layer2.1.bn1.weight; unexpected: none"),
        (good | {"extra.weight": torch.zeros(3)}, "extra and nothing are no convolution"),
        (good | {"output2.1.running_var": torch.ones(2)}, "output2.0 and output2.1 are no convolution"),
        ({"weight": torch.zeros(3)}, "no EML-NET encoder; missing: conv1"),
        ({"stem.0.weight": torch.zeros(())}, "no EML-NET encoder that is known here"),
        ([1, 2], "holds no state dict"),
        ({"state_dict": {}}, "holds no state dict"),
        ({"epoch": 3}, "holds no state dict"),
    ]
    for content, message in cases:
        torch.save(content, path)
        with pytest.raises(ValueError, match=re.escape(message)) as error:
            load_encoder(path)
        assert "\n" not in str(error.value) and str(path) in str(error.value)
    torch.save(small_pair[0].state_dict(), path)
    with pytest.raises(ValueError, match="are no convolution to one channel"):
        load_decoder(path, *small_pair)


def test_wrong_numbers_of_files_are_refused(small_pair, tmp_path):
    path = tmp_path / "small.safetensors"
    save_weights(path, small_pair[0])
    for encoders, decoder, message in (([], None, "no weights given.*data/emlnet_weights.md"),
                                       ([path, path], None, "got 2 encoders and no decoder"),
                                       ([path], path, "got 1 encoder and a decoder"),
                                       ([tmp_path / "absent.pth"], None, "no such file.*emlnet_weights")):
        with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
            load_emlnet(encoders, decoder)
        assert "\n" not in str(error.value)


class Intruder:
    def __reduce__(self):
        return print, ("executed",)


def test_code_in_a_file_is_not_executed(tmp_path, capsys):
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"state_dict": Intruder()}, protocol=2))
    torch.save({"state_dict": Intruder()}, tmp_path / "new.pth")
    torch.save({"state_dict": Intruder()}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "page.pth").write_text("<html>Google Drive can't scan this file</html>")
    (tmp_path / "page.safetensors").write_text("<html>Google Drive can't scan this file</html>")
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(ValueError, match=f"{path.name}.*(file of plain tensors|safetensors file)") as error:
            read_state(path)
        assert "\n" not in str(error.value)
    assert "executed" not in capsys.readouterr().out
