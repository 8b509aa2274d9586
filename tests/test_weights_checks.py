"""Protects: a file of weights that can be none is refused with the entry's name before a network takes it."""

from pathlib import Path

import pytest
import torch

from lib.models.emlnet import Decoder, SmallEncoder
from lib.models.emlnet_weights import load_emlnet, read_state
from lib.models.itracker import ITracker, load_released
from lib.models.mrcnn import MrCNN
from lib.models.mrcnn_weights import load_mrcnn
from lib.models.state_checks import bare_state
from lib.training.checkpoint import load_weights, save_weights


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return SmallEncoder(channels=(8, 16, 16, 24, 24)).state_dict()


def refused(path: Path, content: dict) -> str:
    torch.save(content, path)
    with pytest.raises(ValueError) as error:
        load_emlnet([path])
    text = str(error.value)
    assert "\n" not in text and text.startswith(f"{path}: ")
    return text


def with_nan(value: torch.Tensor) -> torch.Tensor:
    value = value.clone()
    value.view(-1)[0] = torch.nan
    return value


@pytest.mark.parametrize("change, said", [
    (with_nan, "holds NaN or infinite values"), (lambda value: value * torch.inf, "holds NaN or infinite values"),
    (lambda value: (value * 100).long(), "is of int64, and weights are floating-point"), (lambda value: value + 1j, "is of complex64"),
    (lambda value: value.to_sparse(), "is sparse"), (lambda value: value[:0], "holds no values"), (lambda value: value[..., :0], "holds no values"),
    (torch.zeros_like, "every value of stem.0.weight is 0"),
])
def test_an_entry_that_can_be_no_weight_is_named(state, tmp_path, change, said):
    text = refused(tmp_path / "a.pth", state | {"stem.0.weight": change(state["stem.0.weight"])})
    assert said in text and "stem.0.weight" in text and "take another copy" in text


def test_names_with_and_without_dataparallels_prefix_contradict(state, tmp_path):
    assert "module.stem.0.weight and stem.0.weight" in refused(tmp_path / "a.pth", state | {"module.stem.0.weight": state["stem.0.weight"]})
    torch.save({f"module.{name}": value for name, value in state.items()}, tmp_path / "b.pth")
    assert set(read_state(tmp_path / "b.pth")) == set(state)


@pytest.mark.parametrize("settings", [torch.zeros(3), torch.zeros(0), torch.zeros(1, 2, 2)])
def test_settings_of_another_length_are_named(state, tmp_path, settings):
    assert "settings are" in refused(tmp_path / "a.pth", state | {"settings": settings.to(torch.uint8)})


def test_a_decoder_of_zeros_does_not_predict_one_half_everywhere(state, tmp_path):
    torch.manual_seed(0)
    whole = Decoder(SmallEncoder(channels=(8, 16, 16, 24, 24)), SmallEncoder()).state_dict()
    torch.save(whole, tmp_path / "good.pth")
    load_emlnet([tmp_path / "good.pth"])
    zeroed = {name: value if name.startswith("encoder_") else torch.zeros_like(value) for name, value in whole.items()}
    assert "is 0" in refused(tmp_path / "zero.pth", zeroed)


# ---------------------------------------------------------------------------------------------- wrappings and prefixes

PREFIXES = ("module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module.")


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("wrapping", [(), ("model",), ("state_dict",), ("model_state_dict",), ("model", "state_dict")])
def test_any_usual_wrapping_and_prefix_is_taken_off(state, prefix, wrapping):
    content = {f"{prefix}{name}": value for name, value in state.items()}
    for name in wrapping:
        content = {name: content, "epoch": 3, "optimizer": {"lr": 0.1}}
    bare = bare_state(content, "a.pth")
    assert list(bare) == list(state) and all(bare[name] is state[name] for name in state)


def test_what_wrappers_really_save_is_taken_off():
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.DataParallel(torch.nn.Linear(3, 1)))
    wrapped = torch.compile(torch.nn.DataParallel(network), backend="eager")
    assert list(bare_state(wrapped.state_dict(), "a.pth")) == ["0.weight", "0.bias", "1.weight", "1.bias"]


@pytest.mark.parametrize("content, said", [
    ({"module.a": torch.ones(1), "a": torch.ones(1)}, "module.a and a|a and module.a"),
    ({"module.a": torch.ones(1), "_orig_mod.a": torch.ones(1)}, "_orig_mod.a and module.a"),
    ({"model": {"a": torch.ones(1)}, "state_dict": {"a": torch.zeros(1)}}, "state_dict and model"),
    ({"epoch": 3}, "no state dict"), ({}, "no state dict"), ({"model": {}}, "no state dict"), (3, "no state dict")])
def test_two_that_could_be_meant_and_none_are_one_line(content, said):
    with pytest.raises(ValueError, match=f"^a.pth: .*({said}).*; ") as error:
        bare_state(content, "a.pth")
    assert "\n" not in str(error.value)


def test_every_reader_of_weights_takes_them_off(state, tmp_path):
    """EML-NET, Mr-CNN, iTracker and the rows of tables."""
    def prefixed(network: torch.nn.Module) -> dict[str, torch.Tensor]:
        return {f"module._orig_mod.{name}": value for name, value in network.state_dict().items()}

    torch.manual_seed(0)
    encoder, mrcnn, itracker = SmallEncoder(channels=(8, 16, 16, 24, 24)), MrCNN(widths=(8, 8, 8), hidden=16), ITracker()
    torch.save({"model": prefixed(encoder)}, tmp_path / "encoder.pth")
    torch.save({"model_state_dict": prefixed(itracker)}, tmp_path / "itracker.pth")
    save_weights(tmp_path / "mrcnn.safetensors", torch.nn.ModuleDict({"module": mrcnn}))
    fresh = MrCNN(widths=(8, 8, 8), hidden=16)
    load_weights(tmp_path / "mrcnn.safetensors", fresh)
    for loaded, wanted in ((load_emlnet([tmp_path / "encoder.pth"]), encoder), (load_released(tmp_path / "itracker.pth"), itracker),
                           (load_mrcnn(tmp_path / "mrcnn.safetensors"), mrcnn), (fresh, mrcnn)):
        assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in wanted.state_dict().items())
