"""Salience region proposal: the crops are FiveCrop's, the head has the released size, the choice learns and stays reproducible."""

import importlib.util
import math
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import transforms
from torchvision.transforms.functional import five_crop

from lib.models import timm_proposal
from lib.models.backbones import IMAGENET_NORMALIZATION
from lib.models.proposal import (VIEWS, CropOracle, FixedChoice, RegionProposal, ScoringHead, best_of_views, crop_boxes, five_crops,
                                 proposal_resnet18, small_classifier, small_grey)
from lib.models.sampler import Normalize, low_resolution
from lib.training.loop import run_network


class MeanColour(nn.Module):
    """A classifier that can be read: logits are the mean colour."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3))


class Given(nn.Module):
    """A head whose scores are given: every image's views get the same ones."""

    down_size = 15

    def __init__(self, *scores: float):
        super().__init__()
        self.scores = nn.Parameter(torch.tensor(scores))

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        return self.scores.repeat(len(crops) // len(self.scores))


def pictures(count: int = 4, size: tuple[int, int] = (48, 60), seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, *size), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def small(**options) -> RegionProposal:
    torch.manual_seed(0)
    return RegionProposal(small_classifier(), ScoringHead(16, norm="group"), crop_size=32, **options)


# ------------------------------------------------------------------------------------------------------------------- crops


@pytest.mark.parametrize("size", [(48, 60), (61, 45), (33, 32), (32, 32), (47, 50)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_five_crops_are_torchvisions(size, dtype):
    """Order and rounding: odd differences put the centre where FiveCrop puts it."""
    images = pictures(2, size).to(dtype)
    crops = five_crops(images, 32)
    assert crops.dtype == dtype
    assert torch.equal(crops, torch.stack(five_crop(images, 32), dim=1))


def test_boxes_say_where_the_crops_were_cut():
    images = pictures(1, (61, 45))
    crops, boxes = five_crops(images, 32, views=6), crop_boxes((61, 45), 32, 6)
    assert len(boxes) == len(VIEWS) == 6 and boxes[5].tolist() == [0, 0, 45, 61]
    for view, (x, y, w, h) in enumerate(boxes[:5].tolist()):
        assert torch.equal(crops[:, view], images[:, :, y:y + h, x:x + w])


def test_the_sixth_view_is_the_whole_image_squashed():
    images = pictures(2)
    whole = five_crops(images, 32, views=6)[:, 5]
    assert whole.dtype == torch.uint8 and (whole / 255 - low_resolution(images, 32)).abs().max() < 0.51 / 255
    theirs = Image.fromarray(images[0].permute(1, 2, 0).numpy()).resize((32, 32), Image.Resampling.BILINEAR)
    assert np.abs(whole[0].permute(1, 2, 0).numpy().astype(int) - np.asarray(theirs)).max() <= 1


@pytest.mark.parametrize(("crop", "views", "text"), [(49, 5, "a crop of 49 px does not fit into an image of 60x48 px"), (0, 5, "does not fit"),
                                                     (32, 4, "expected 5 .* or 6")])
def test_crops_that_cannot_be_cut(crop, views, text):
    with pytest.raises(ValueError, match=text):
        five_crops(pictures(), crop, views=views)


def released_small_grey(pixels: np.ndarray, size: int) -> np.ndarray:
    """What the released data set makes of a crop, with its own tools."""
    steps = transforms.Compose([transforms.Resize(size, transforms.InterpolationMode.BICUBIC), transforms.Grayscale(1)])
    return np.asarray(steps(Image.fromarray(pixels)), dtype=float)


@pytest.mark.parametrize("size", [32, 64, 128, 224])
def test_the_head_sees_what_the_released_data_set_prepares(size):
    """Pillow's bicubic on bytes, then grey, against ours in float: the same picture but for rounding, overshoots included."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.choice([0, 90, 255], (28, 28, 3)).astype(np.uint8))
    pixels = np.array(coarse.resize((224, 224), Image.Resampling.BICUBIC))
    ours = small_grey(torch.from_numpy(pixels).permute(2, 0, 1)[None, None] / 255, size)[0, 0] * 255
    assert np.abs(ours.numpy() - released_small_grey(pixels, size)).max() < 2.1


def test_the_head_sees_the_released_view_of_real_photographs(real_data):
    for path in sorted((real_data / "photos").glob("*.JPEG"))[:12]:
        crop = transforms.FiveCrop(224)(transforms.Resize(336)(Image.open(path).convert("RGB")))[4]
        pixels = np.array(crop)
        ours = small_grey(torch.from_numpy(pixels).permute(2, 0, 1)[None, None] / 255, 64)[0, 0] * 255
        difference = np.abs(ours.numpy() - released_small_grey(pixels, 64))
        assert difference.max() < 2.1 and difference.mean() < 0.6


# -------------------------------------------------------------------------------------------------------------------- head


@pytest.mark.parametrize(("size", "inputs", "parameters"), [(32, 288, 6289), (64, 1568, 7569), (128, 7200, 13201), (224, 23328, 29329)])
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_the_head_has_the_released_size(size, inputs, parameters, norm):
    head = ScoringHead(size, norm=norm)
    assert head.fc.in_features == inputs and sum(p.numel() for p in head.parameters()) == parameters
    assert head(torch.rand(5, 1, size, size)).shape == (5,)


def test_the_heads_layers_are_the_released_ones():
    kinds = [type(module) for module in ScoringHead(32).blocks]
    assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU6] * 3
    convolutions = ScoringHead(32).blocks[::3]
    assert [(c.in_channels, c.out_channels, c.kernel_size, c.stride, c.padding) for c in convolutions] == [
        (1, 8, (3, 3), (2, 2), (0, 0)), (8, 16, (3, 3), (2, 2), (0, 0)), (16, 32, (3, 3), (2, 2), (0, 0))]


def test_group_norm_scores_a_crop_whatever_is_beside_it():
    crops = torch.rand(8, 1, 32, 32)
    for norm, alone in (("group", True), ("batch", False)):
        torch.manual_seed(0)
        head = ScoringHead(32, norm=norm).train()
        assert torch.allclose(head(crops)[:4], head(crops[:4]), atol=1e-5) == alone


@pytest.mark.parametrize(("options", "text"), [({"down_size": 14}, "at least 15 px"), ({"down_size": 32, "norm": "layer"}, "batch, group")])
def test_a_head_that_cannot_be_built(options, text):
    with pytest.raises(ValueError, match=text):
        ScoringHead(**options)


# ------------------------------------------------------------------------------------------------------------------ choice


@pytest.mark.parametrize("choice", ["soft", "hard"])
@pytest.mark.parametrize("views", [5, 6])
def test_gradients_reach_every_parameter_of_the_head(choice, views):
    model = small(choice=choice, views=views).train()
    nn.functional.cross_entropy(model(pictures()), torch.arange(4)).backward()
    for name, parameter in model.named_parameters():
        if name != "sampler.head.fc.bias":  # softmax takes no notice of what all scores share
            assert parameter.grad is not None and parameter.grad.abs().sum() > 1e-7, name


@pytest.mark.parametrize("choice", ["soft", "hard"])
def test_the_blend_is_the_weighted_sum_of_the_crops(choice):
    model, images = small(choice=choice, views=6).train(), pictures()
    output, maps = model(images, return_maps=True)
    crops = five_crops(images, 32, views=6) / 255
    assert output.shape == (4, 10) and maps.scores.shape == (4, 6)
    assert torch.allclose(maps.weights.sum(1), torch.ones(4))
    assert torch.allclose(maps.image, torch.einsum("bv,bvchw->bchw", maps.weights, crops), atol=1e-5)
    assert torch.equal(maps.boxes, crop_boxes((48, 60), 32, 6))
    if choice == "hard":
        assert torch.allclose(maps.weights.max(1).values, torch.ones(4))
        chosen = crops[torch.arange(4), maps.weights.argmax(1)]
        assert torch.allclose(maps.image, chosen, atol=1e-5)


def test_hard_choice_has_the_soft_choices_gradient():
    """Straight through: the same noise, the same gradient, though one crop is taken."""
    found = []
    for choice in ("soft", "hard"):
        model = RegionProposal(MeanColour(), Given(0.3, -0.2, 0.1, 0.0, 0.5), crop_size=32, choice=choice).train()
        torch.manual_seed(3)
        model(pictures())[:, 0].sum().backward()
        found.append(model.sampler.head.scores.grad)
    assert torch.allclose(*found, atol=1e-6)


@pytest.mark.parametrize(("choice", "evaluation"), [("soft", None), ("hard", None), ("soft", "softmax"), ("soft", "argmax")])
def test_evaluation_is_the_same_twice(choice, evaluation):
    model = small(choice=choice, evaluation=evaluation).eval()
    assert torch.equal(model(pictures()), model(pictures()))


def test_evaluation_weighs_by_softmax_or_takes_the_highest_score():
    scores = torch.tensor([0.3, -0.2, 0.1, 0.9, 0.5])
    for evaluation, expected in (("softmax", (scores / 0.5).softmax(0)), ("argmax", torch.tensor([0.0, 0, 0, 1, 0]))):
        model = RegionProposal(MeanColour(), Given(*scores.tolist()), crop_size=32, temperature=0.5, evaluation=evaluation).eval()
        assert torch.allclose(model.sampler(pictures()).weights, expected.expand(4, 5))
    assert small().sampler.evaluation == "softmax" and small(choice="hard").sampler.evaluation == "argmax"


def test_sampled_evaluation_is_the_releases_and_changes():
    """The release draws Gumbel noise in evaluation: the same pictures, other outputs; the same seed, the same outputs."""
    model = small(evaluation="sample").eval()
    torch.manual_seed(1)
    first, second = model(pictures()), model(pictures())
    torch.manual_seed(1)
    assert torch.equal(first, model(pictures())) and not torch.allclose(first, second)


def test_noise_chooses_each_crop_as_often_as_softmax_says():
    """The Gumbel trick: the largest noisy score is drawn from softmax(scores), whatever the temperature."""
    scores = torch.tensor([1.0, 0.0, -1.0, 0.5, 2.0])
    model = RegionProposal(MeanColour(), Given(*scores.tolist()), crop_size=1, choice="hard", temperature=0.3).train()
    torch.manual_seed(0)
    drawn = model.sampler(torch.zeros(8000, 3, 2, 2)).weights.mean(0)
    assert torch.allclose(drawn, scores.softmax(0), atol=0.02)


def test_temperature_goes_from_the_first_to_the_last_and_is_saved():
    model = small(temperature=2.0, final_temperature=0.5)
    seen = []
    for progress in (0.0, 0.5, 1.0, 1.5):
        model.at(progress)
        seen.append(model.sampler.temperature.item())
    assert seen == pytest.approx([2.0, 1.0, 0.5, 0.5])
    other = small(temperature=2.0, final_temperature=0.5)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.eval()(pictures()), model.eval()(pictures())) and other.sampler.temperature == 0.5
    constant = small(temperature=0.7)
    constant.at(0.9)
    assert constant.sampler.temperature.item() == pytest.approx(0.7)


def test_low_temperature_makes_soft_weights_hard():
    def sharpness(temperature: float) -> float:
        torch.manual_seed(0)
        return small(temperature=temperature).train().sampler(pictures(16)).weights.max(1).values.mean().item()

    assert sharpness(0.05) > 0.95 > 0.6 > sharpness(5.0)


@pytest.mark.parametrize("choice", ["soft", "hard"])
def test_the_head_learns_to_find_the_crop_that_matters(choice):
    """End to end with a readable classifier: only the loss says that the red patch is wanted, and the head finds it."""
    torch.manual_seed(0)
    model = RegionProposal(MeanColour(), ScoringHead(16, norm="group"), crop_size=16, choice=choice)
    optimiser, generator = torch.optim.Adam(model.parameters(), lr=3e-3), torch.Generator().manual_seed(0)

    def batch(count: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
        images, which = torch.rand(count, 3, 32, 32, generator=generator) * 0.3, torch.randint(4, (count,), generator=generator)
        for image, corner in zip(images, which.tolist(), strict=True):
            x, y = 16 * (corner % 2), 16 * (corner // 2)
            image[0, y + 4:y + 10, x + 4:x + 10] = 1
        return images, which

    for _ in range(60):
        loss = -model.train()(batch()[0])[:, 0].mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    images, which = batch(200)
    assert (model.eval().sampler(images).weights.argmax(1) == which).float().mean() > 0.9


@pytest.mark.parametrize(("options", "text"), [
    ({"choice": "firm"}, "soft, hard"), ({"evaluation": "mean"}, "softmax, argmax, sample"), ({"temperature": 0}, "must be positive"),
    ({"final_temperature": -1.0}, "must be positive")])
def test_a_choice_that_does_not_exist(options, text):
    with pytest.raises(ValueError, match=text):
        small(**options)


# --------------------------------------------------------------------------------------------------------------- baselines


def seen_by(kind: str, images: torch.Tensor, **options) -> torch.Tensor:
    return FixedChoice(MeanColour(), 32, kind=kind, **options).eval().sampler(images).image


def test_fixed_choices_show_what_they_say():
    images = pictures()
    crops = five_crops(images, 32) / 255
    assert torch.equal(seen_by("centre", images), crops[:, 4])
    assert torch.allclose(seen_by("mean", images), crops.mean(1), atol=1e-6)
    assert (seen_by("full", images) - low_resolution(images, 32)).abs().max() < 0.51 / 255


def test_random_choice_draws_every_view_alike_also_in_evaluation():
    model = FixedChoice(MeanColour(), 1, kind="random", views=6).eval()
    torch.manual_seed(0)
    first, second = (model.sampler(torch.zeros(3000, 3, 2, 2)).weights for _ in range(2))
    assert not torch.equal(first, second) and torch.equal(first.max(1).values, torch.ones(3000))
    assert torch.allclose(first.mean(0), torch.full((6,), 1 / 6), atol=0.03)


def test_the_objects_crop_is_the_one_that_shows_most_of_it():
    model, images = FixedChoice(MeanColour(), 32, kind="object"), pictures(2)
    assert model.inputs == ("image", "coverage")
    coverage = torch.tensor([[0, 0.2, 0.9, 0, 0.3], [1, 0, 0, 0, 1.0]])
    _, maps = model(images, coverage, return_maps=True)
    assert maps.weights.argmax(1).tolist() == [2, 0] and maps.scores is None
    with pytest.raises(ValueError, match="needs the share of the object"):
        model(images)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="centre, full, mean, random, object"):
        FixedChoice(MeanColour(), 32, kind="best")


def test_the_oracle_gives_every_views_logits_in_evaluation():
    torch.manual_seed(0)
    classifier, images = small_classifier(), pictures()
    oracle = CropOracle(classifier, 32, views=6, normalize=IMAGENET_NORMALIZATION)
    assert oracle.per_crop and not small().per_crop
    assert oracle.train()(images).shape == (4, 10)
    logits = oracle.eval()(images)
    normalised = Normalize(*IMAGENET_NORMALIZATION)(five_crops(images, 32, views=6) / 255)
    for view in range(6):
        assert torch.allclose(logits[:, view], classifier(normalised[:, view]), atol=1e-4)


def test_best_of_views_needs_one_right_view():
    logits = torch.tensor([[[2.0, 1, 0], [0, 1, 2]], [[2, 1, 0], [2, 1, 0]], [[0, 2, 1], [0, 2, 1]]])  # (3, 2, 3)
    assert best_of_views(logits, torch.tensor([2, 1, 1])).tolist() == [True, False, True]


# ---------------------------------------------------------------------------------------------------------------- networks


def test_bytes_and_floats_give_the_same():
    model, images = small(views=6).eval(), pictures()
    assert torch.allclose(model(images), model(images / 255), atol=0.02)  # the whole image is rounded to bytes
    model = small().eval()
    assert torch.allclose(model(images), model(images / 255), atol=1e-5)


def test_normalisation_is_the_classifiers_alone():
    """Switched on it changes what the classifier sees, and neither scores nor blend."""
    raw, normalised = small().eval(), small(normalize=IMAGENET_NORMALIZATION).eval()
    (first, maps), (second, other) = raw(pictures(), return_maps=True), normalised(pictures(), return_maps=True)
    assert torch.equal(maps.scores, other.scores) and torch.equal(maps.image, other.image)
    expected = normalised.classifier(Normalize(*IMAGENET_NORMALIZATION)(other.image))
    assert torch.allclose(second, expected) and not torch.allclose(first, second)


def test_the_training_loop_runs_it_and_gets_the_maps():
    images, index = pictures(), torch.arange(4)
    for model in (small(), FixedChoice(small_classifier(), 32), CropOracle(small_classifier(), 32)):
        output, maps = run_network(model.eval(), {"image": images, "index": index}, maps=True)
        assert output.shape == ((4, 5, 10) if model.per_crop else (4, 10))
        assert (maps is None) == model.per_crop


def test_wrong_images_are_refused():
    with pytest.raises(ValueError, match=r"expected images \(B, 3, H, W\), got \(4, 1, 48, 60\)"):
        small()(pictures()[:, :1])


def test_the_released_network_has_its_layers_and_its_thousand_outputs():
    """11,689,512 is torchvision's ResNet-18; the head at 64 px adds 7,569; ten outputs leave 990 * 513 out."""
    def parameters(model: nn.Module) -> int:
        return sum(p.numel() for p in model.parameters())

    released = proposal_resnet18(1000, down_size=64, crop_size=64).eval()
    assert parameters(released) == 11_689_512 + 7_569
    assert released(pictures(2, (96, 96))).shape == (2, 1000)
    assert parameters(proposal_resnet18()) == 11_689_512 - 990 * 513 + 7_569


def test_the_small_classifier_is_small():
    model = small_classifier()
    assert sum(p.numel() for p in model.parameters()) == 163_522
    assert model(torch.rand(2, 3, 64, 64)).shape == (2, 10) and small_classifier(3, width=8)(torch.rand(1, 3, 40, 52)).shape == (1, 3)


# -------------------------------------------------------------------------------------------------------------------- timm


def test_timm_creates_it_by_name():
    timm = pytest.importorskip("timm")
    assert timm_proposal.TIMM_NAME in timm.list_models("salience*")
    model = timm.create_model("salience_region_proposal_resnet18", num_classes=7, down_size=32, crop_size=64, temperature=0.5)
    assert model.eval()(pictures(2, (96, 96))).shape == (2, 7) and model.num_classes == 7
    assert model.sampler.head.down_size == 32 and math.isclose(model.sampler.temperature.item(), 0.5)
    config = timm.data.resolve_data_config({}, model=model)
    assert config["input_size"] == (3, 336, 336) and config["mean"] == (0, 0, 0) and config["crop_pct"] == 1.0
    for options in ({"pretrained": True}, {"in_chans": 1}, {"drop_rate": 0.2}):
        with pytest.raises(ValueError, match="no pretrained weights"):
            timm.create_model("salience_region_proposal_resnet18", **options)


def test_registering_twice_changes_nothing(recwarn):
    pytest.importorskip("timm")
    timm_proposal.register()
    assert not [warning for warning in recwarn if "Overwriting" in str(warning.message)]
    assert timm_proposal.__all__.count("salience_region_proposal_resnet18") == 1


def test_the_module_works_without_timm(monkeypatch):
    for name in [name for name in sys.modules if name == "timm" or name.startswith("timm.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "timm", None)
    spec = importlib.util.spec_from_file_location("proposal_without_timm", timm_proposal.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.proposal_resnet18(3, crop_size=64).eval()(pictures(1, (96, 96))).shape == (1, 3)
    with pytest.raises(ImportError):
        module.register()
