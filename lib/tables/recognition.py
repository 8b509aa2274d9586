"""What Tables 2, 3 and 4 of "Learning to Zoom" share: presets, networks and how their data are opened (sections 4.2 and 4.3).

The paper gives neither learning rate nor epochs for these tables, and questions about them in the released repository were
not answered; the recipe of `paper` is ours. `demo` and `smoke` have small networks of the same families, on the twins. `demo`
clips gradients, with which nine epochs get nearer to twelve (sampler, twin's validation pictures, seeds 0 and 1: 54 and 51 % top-1,
without 46 and 49, twelve without 60 and 53). A higher rate would be quicker still, but the affine STN then stays at chance.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models

from lib.data.canvas import Square
from lib.models.backbones import IMAGENET_NORMALIZATION as IMAGENET
from lib.models.backbones import load_imagenet, localisation_network, pretrained, saliency_network_resnet18, small_saliency_network
from lib.models.baselines import Featureless
from lib.models.cam import look_twice
from lib.models.deformable import deform_last
from lib.models.rivals import AffineSTN, GridEstimator, Oracle, ThinPlateSTN, Uniform
from lib.models.sampler import SaliencySampler, SampledNetwork
from lib.models.small_resnet import small_gap_network
from lib.results.records import ROOT
from lib.tables.table import Column, Row, Settings
from lib.training.loop import Recipe
from lib.training.progress import Progress
from lib.training.recognition import RecognitionTask


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Sizes, networks and recipe; the same recipe for every row."""

    network: str  # "small", or torchvision's: "resnet101" or "resnet50"
    classes: int
    canvas: Square  # of training
    test_canvas: Square
    task_size: int
    view_size: int
    recipe: Recipe
    twin: str  # key of the twin's SIZES
    control: str
    inception_size: int = 64
    flip: bool = False
    random_crop: bool = False


BEFORE_THE_TASK_NETWORK = (("sampler.", 0.3),)  # as in Table 1: everything before the task network learns at a lower rate
SMALL = {"network": "small", "canvas": Square(160, "squash"), "test_canvas": Square(160, "squash"), "task_size": 64, "view_size": 64}
# Section 4.2: networks at 227, "the original 800x800 pixel images in training time", "a center crop of 512x512" in testing.
PAPER = {"canvas": Square(800, "squash"), "test_canvas": Square(800, "squash", 512), "task_size": 227, "view_size": 227, "inception_size": 299,
         "flip": True}
# The released main.py, written for ImageNet: random crops, networks at 224, the middle 700 of 800 in testing.
RELEASED = {"test_canvas": Square(800, "squash", 700), "task_size": 224, "view_size": 224, "random_crop": True}


def presets(*, network: str, real_classes: int, twin_classes: int, epochs: int) -> dict[str, Preset]:
    """smoke, demo, paper; `paper-twin` is the paper's networks and sizes for the twin's number of classes, `released` the release's protocol."""
    rates = {"rates": BEFORE_THE_TASK_NETWORK}
    quick = Recipe(epochs=epochs, batch_size=16, clip_norm=1.0, schedule="wsd", **rates)
    paper = Recipe(epochs=30, batch_size=32, optimiser="sgd", lr=0.01, weight_decay=1e-4, schedule="cosine", autocast=True, **rates)
    twin = {"classes": twin_classes, "twin": "demo", "control": "control"}
    return {
        "smoke": Preset(**SMALL, **twin | {"twin": "smoke", "control": "smoke"}, recipe=Recipe(epochs=1, batch_size=16, **rates)),
        "demo": Preset(**SMALL, **twin, recipe=quick),
        "paper": Preset(**PAPER, **twin | {"classes": real_classes}, network=network, recipe=paper),
        "paper-twin": Preset(**PAPER, **twin, network=network, recipe=paper),
        "released": Preset(**PAPER | RELEASED, **twin | {"classes": real_classes}, network=network, recipe=paper),
    }


# --- networks -----------------------------------------------------------------------------------------------------------


def task_network(p: Preset) -> nn.Module:
    if p.network == "small":
        return small_gap_network(p.classes)
    network = getattr(models, p.network)(weights=None, num_classes=p.classes)
    if (weights := pretrained(p.network)) is not None:
        load_imagenet(network, weights, replaced=("fc",))
    return network


def trunk(p: Preset, layers: int = 14) -> nn.Module:
    """The saliency network of 6, 10 or 14 layers; the small one is cut to one, two or all three of its residual blocks."""
    if p.network != "small":
        return saliency_network_resnet18(layers, weights=pretrained("resnet18"))
    network = small_saliency_network()
    for stage in {6: ("stage2", "stage3"), 10: ("stage3",), 14: ()}[layers]:
        delattr(network, stage)
    return network


def behind(p: Preset, sampler: nn.Module) -> nn.Module:
    return SampledNetwork(sampler, task_network(p), normalize=IMAGENET)


def plain(p: Preset) -> nn.Module:
    return behind(p, Uniform(p.task_size))


def deformable(p: Preset) -> nn.Module:
    model = plain(p)
    deform_last(model.task_network, count=3)
    return model


def stn_affine(p: Preset) -> nn.Module:
    return behind(p, AffineSTN(localisation_network(trunk(p), 6), p.task_size, p.view_size, normalize=IMAGENET))


def stn_tps(p: Preset) -> nn.Module:
    return behind(p, ThinPlateSTN(localisation_network(trunk(p), 32), p.task_size, p.view_size, normalize=IMAGENET))


def grid_estimator(p: Preset) -> nn.Module:
    return behind(p, GridEstimator(trunk(p), p.task_size, p.view_size, normalize=IMAGENET))


def cam(p: Preset, trained: nn.Module) -> nn.Module:
    return look_twice(trained)


def sampler(p: Preset) -> nn.Module:
    return SaliencySampler(task_network(p), trunk(p), p.task_size, p.view_size, normalize=IMAGENET)


def sampler_6(p: Preset) -> nn.Module:
    return SaliencySampler(task_network(p), trunk(p, 6), p.task_size, p.view_size, normalize=IMAGENET)


def sampler_10(p: Preset) -> nn.Module:
    return SaliencySampler(task_network(p), trunk(p, 10), p.task_size, p.view_size, normalize=IMAGENET)


def featureless(p: Preset, trained: nn.Module) -> nn.Module:
    return Featureless(trained)


def oracle(p: Preset) -> nn.Module:
    return behind(p, Oracle(p.task_size))


def flops(model: nn.Module, p: Preset) -> int:
    """Floating point operations of one image through the network."""
    image = torch.zeros(1, 3, p.canvas.size, p.canvas.size)
    batch = {"image": image, "view": torch.zeros(1, 3, p.view_size, p.view_size), "annotation": torch.ones(1, 1, 31, 31)}
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(*(batch[name] for name in model.inputs))
    return counter.get_total_flops()


def same_cost(p: Preset) -> nn.Module:
    """The plain network at the higher resolution that costs as many operations as the sampler: side times the root of the ratio."""
    ratio = flops(sampler(p), p) / flops(plain(p), p)
    return behind(p, Uniform(min(round(p.task_size * ratio**0.5), p.canvas.size)))


# --- recipes of the blur experiment -------------------------------------------------------------------------------------


def unblurred(p: Preset) -> Recipe:
    return replace(p.recipe, blur_epochs=0)


def blurred_third(p: Preset) -> Recipe:
    return replace(p.recipe, blur_epochs=-(-p.recipe.epochs // 3))


def blurred_always(p: Preset) -> Recipe:
    return replace(p.recipe, blur_epochs=p.recipe.epochs)


# --- data ---------------------------------------------------------------------------------------------------------------


def open_recognition(chosen: Settings, p: Preset, variant: str, progress: Progress, *, loader: Callable[..., Any], twin: Any,
                     name: str) -> tuple[RecognitionTask, dict]:
    """The data set, or its twin written now unless it lies there finished, as a task."""
    root = chosen.data_dir or write_twin(p, variant, progress, twin=twin, name=name)
    data = {split: loader(root, split) for split in ("train", "val", "test")}
    if len(data["train"].classes) != p.classes:
        raise ValueError(f"{root}: has {len(data['train'].classes)} classes, preset {chosen.preset!r} expects {p.classes}; choose another preset")
    task = RecognitionTask(data, view_size=p.view_size, canvas=p.canvas, test_canvas=p.test_canvas, flip=p.flip, random_crop=p.random_crop,
                           cache_dir=chosen.results_dir / "cache", progress=progress)
    test = data["test"]
    return task, {"fingerprint": task.fingerprints, "is_twin": test.is_twin, "n": len(test), "unit": "images", "identify": {},
                  "notes": [f"images {task.stores['train'].how}"]}


def write_twin(p: Preset, variant: str, progress: Progress, *, twin: Any, name: str) -> Path:
    size, details = (p.control, "large") if variant == "control" else (p.twin, "small")
    return twin.write(ROOT / "data" / "twins" / f"{name}-{size}-{details}", details=details, **twin.SIZES[size],
                      progress=lambda done, total: progress("write twin, pictures", done, total))


COLUMNS = (
    Column(name="top-1", metric="top1", quantity="top-1 accuracy", unit="%", lower_is_better=False, digits=1, scale=100),
    Column(name="top-5", metric="top5", quantity="top-5 accuracy", unit="%", lower_is_better=False, digits=1, scale=100),
)
CONTROLS = (
    Row(name="control_plain", label="Control: plain", build=plain, variant="control"),
    Row(name="control_sampler", label="Control: saliency sampler", build=sampler, variant="control"),
)
