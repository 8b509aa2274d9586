"""Protects: timm creates the sampler by name, with weights by path, and finds what it asks a model for."""

import pytest
import torch

timm = pytest.importorskip("timm")

from lib.models import timm_sampler  # noqa: E402

NAME = "saliency_sampler.resnet10t"
SMALL = {"num_classes": 4, "saliency_size": 64}
IMAGE = torch.rand(1, 3, 80, 96, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model() -> timm_sampler.TimmSampler:
    torch.manual_seed(0)
    return timm.create_model(NAME, **SMALL).eval()


def test_it_is_the_sampler_before_the_named_network(model):
    output, maps = model(IMAGE, return_maps=True)
    assert output.shape == (1, 4) and type(model.task_network).__name__ == "ResNet"
    assert torch.equal(output, model.task_network(maps.image))
    assert maps.image.shape[2:] == model.task_network.pretrained_cfg["input_size"][1:]
    assert timm.is_model("saliency_sampler") and "saliency_sampler" in timm.list_models("*saliency*")


def test_timm_finds_features_head_and_data_configuration(model):
    features = model.forward_features(IMAGE)
    torch.testing.assert_close(model.forward_head(features), model(IMAGE))
    assert features.shape[1] == model.num_features and model.get_classifier().out_features == model.num_classes == 4
    config = timm.data.resolve_data_config({}, model=model)
    assert config["mean"] == model.task_network.pretrained_cfg["mean"]
    assert config["input_size"] == (3, *(2 * side for side in model.sampler.task_size))


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_weights_come_by_path_under_any_prefix(model, suffix, tmp_path):
    from safetensors.torch import save_file

    path, prefixed = tmp_path / f"weights.{suffix}", {f"module.{name}": value for name, value in model.state_dict().items()}
    save_file(prefixed, path) if suffix == "safetensors" else torch.save({"state_dict": prefixed}, path)
    by_overlay = timm.create_model(NAME, pretrained=True, pretrained_cfg_overlay={"file": str(path)}, **SMALL).eval()
    torch.save(model.state_dict(), tmp_path / "plain.pth")
    by_path = timm.create_model(NAME, checkpoint_path=str(tmp_path / "plain.pth"), **SMALL).eval()
    assert all(torch.equal(each(IMAGE), model(IMAGE)) for each in (by_overlay, by_path))


def test_another_number_of_classes():
    model = timm.create_model(NAME, **SMALL).eval()
    model.reset_classifier(7)
    assert model(IMAGE).shape == (1, 7) and model.num_classes == model.pretrained_cfg["num_classes"] == 7


@pytest.mark.parametrize("name, options, said", [
    ("saliency_sampler", {}, "behind a dot"), ("saliency_sampler.no_such_network", {}, "no_such_network"), (NAME, {"in_chans": 1}, "in_chans is 1"),
    (NAME, {"pretrained": True}, "checkpoint_path"),
    (NAME, {"pretrained": True, "pretrained_cfg_overlay": {"file": "absent.pth"}}, "absent.pth: no such file")])
def test_what_cannot_be_created_is_one_line(name, options, said):
    with pytest.raises((ValueError, FileNotFoundError), match=said) as error:
        timm.create_model(name, **options)
    assert "\n" not in str(error.value)


def test_weights_of_another_network_are_refused(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "four.pth")
    with pytest.raises(ValueError, match=r"four.pth: does not fit.*task_network.fc.bias"):
        timm.create_model(NAME, pretrained=True, pretrained_cfg_overlay={"file": tmp_path / "four.pth"}, num_classes=5, saliency_size=64)
