"""Protects: a file of weights that can be none is refused with the entry's name before a network takes it."""

from pathlib import Path

import pytest
import torch

from lib.models.emlnet import Decoder, SmallEncoder
from lib.models.emlnet_weights import load_emlnet, read_state


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
    (lambda value: value.to_sparse(), "is sparse"), (torch.zeros_like, "every value of stem.0.weight is 0"),
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
