"""Salience region proposal on imagenette: which of five crops to look at, chosen by a small network.

Jasmine Li's course project (2021), whose report has the published values: 48.24 % with crops shrunk to 64 px for the choice,
47.81 % with 32 px, "about 48" with 128 and 224 after 20 epochs; a plain network from random values is known to reach about
90 % on imagenette in as many. So the table has three parts: the model at four sizes of what the head sees, what it is to be
compared with (the same classifier on the centre, the whole image, the mean of the crops, a random crop, any crop, behind the
saliency sampler of "Learning to Zoom"), and the release's own choices undone one by one.

The release: timm's defaults, SGD with momentum 0.9, learning rate 0.05, batches of 128, label smoothing 0.1, cosine, 20
epochs, no augmentation; images not normalised, 1000 outputs for ten classes, Gumbel noise in evaluation too. `paper` keeps
sizes and recipe; `demo` has crops of 64 px from pictures of 96 (1.5 times the crop, as 336 and 224), a small classifier and
AdamW. The four sizes are those of the release scaled by 64/224 as far as three unpadded convolutions allow.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn
from torchvision import models

from lib.data.canvas import Square
from lib.data.imagenette import Imagenette
from lib.data.synthetic import imagenette as twin
from lib.models.backbones import IMAGENET_NORMALIZATION as IMAGENET
from lib.models.backbones import saliency_network_resnet18, small_saliency_network
from lib.models.proposal import CropOracle, FixedChoice, RegionProposal, ScoringHead, small_classifier
from lib.models.sampler import SaliencySampler
from lib.results.records import ROOT
from lib.tables.table import Column, Row, Settings, Table
from lib.training.loop import Recipe
from lib.training.progress import Progress
from lib.training.proposal import ProposalTask


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Sizes, networks and recipe; the same recipe for every row."""

    network: str  # "small" or "paper"
    crop_size: int
    sizes: tuple[int, int, int, int]  # of what the head sees, in the place of the release's 32, 64, 128, 224
    recipe: Recipe
    twin: str  # key of lib.data.synthetic.imagenette.SIZES
    control: str
    norm: str  # of the head, see ScoringHead
    label_smoothing: float = 0.1

    @property
    def side(self) -> int:
        """The side of the pictures that crops are cut from."""
        return self.crop_size * 3 // 2


PRESETS = {
    "smoke": Preset(network="small", crop_size=64, sizes=(16, 24, 40, 64), twin="smoke", control="smoke", norm="group",
                    recipe=Recipe(epochs=1, batch_size=32)),
    "demo": Preset(network="small", crop_size=64, sizes=(16, 24, 40, 64), twin="demo", control="control", norm="group",
                   recipe=Recipe(epochs=5, batch_size=16, schedule="wsd")),
    "paper": Preset(network="paper", crop_size=224, sizes=(32, 64, 128, 224), twin="demo", control="control", norm="batch",
                    recipe=Recipe(epochs=20, batch_size=128, optimiser="sgd", lr=0.05, weight_decay=2e-5, schedule="cosine", autocast=True)),
}


# --- networks -----------------------------------------------------------------------------------------------------------


def classifier(p: Preset, outputs: int = 10) -> nn.Module:
    return small_classifier(outputs, width=16) if p.network == "small" else models.resnet18(weights=None, num_classes=outputs)


def proposal(p: Preset, *, size: int = 1, outputs: int = 10, normalize: tuple | None = IMAGENET, **options) -> nn.Module:
    """size: which of the preset's four sizes the head sees."""
    head = ScoringHead(p.sizes[size], norm=p.norm)
    return RegionProposal(classifier(p, outputs), head, crop_size=p.crop_size, normalize=normalize, **options)


def smallest(p: Preset) -> nn.Module:
    return proposal(p, size=0)


def second(p: Preset) -> nn.Module:
    return proposal(p)


def third(p: Preset) -> nn.Module:
    return proposal(p, size=2)


def largest(p: Preset) -> nn.Module:
    return proposal(p, size=3)


def hard(p: Preset) -> nn.Module:
    return proposal(p, choice="hard")


def cooled(p: Preset) -> nn.Module:
    return proposal(p, temperature=2.0, final_temperature=0.2)


def six_views(p: Preset) -> nn.Module:
    return proposal(p, views=6)


def released(p: Preset) -> nn.Module:
    return proposal(p, outputs=1000, normalize=None, evaluation="sample")


def released_normalised(p: Preset) -> nn.Module:
    return proposal(p, outputs=1000, evaluation="sample")


def released_ten(p: Preset) -> nn.Module:
    return proposal(p, normalize=None, evaluation="sample")


def reevaluated(evaluation: str, model: nn.Module) -> nn.Module:
    """A trained proposal network that weighs its crops in another way."""
    model.sampler.evaluation = evaluation
    return model


def without_noise(p: Preset, model: nn.Module) -> nn.Module:
    return reevaluated("softmax", model)


def with_noise(p: Preset, model: nn.Module) -> nn.Module:
    return reevaluated("sample", model)


def greatest(p: Preset, model: nn.Module) -> nn.Module:
    return reevaluated("argmax", model)


def fixed(p: Preset, kind: str) -> nn.Module:
    return FixedChoice(classifier(p), p.crop_size, kind=kind, normalize=IMAGENET)


def centre(p: Preset) -> nn.Module:
    return fixed(p, "centre")


def full(p: Preset) -> nn.Module:
    return fixed(p, "full")


def mean(p: Preset) -> nn.Module:
    return fixed(p, "mean")


def random_crop(p: Preset) -> nn.Module:
    return fixed(p, "random")


def shown_crop(p: Preset, trained: nn.Module) -> nn.Module:
    return FixedChoice(trained.classifier, p.crop_size, kind="object", normalize=IMAGENET)


def any_crop(p: Preset, trained: nn.Module) -> nn.Module:
    return CropOracle(trained.classifier, p.crop_size, normalize=IMAGENET)


def sampler(p: Preset) -> nn.Module:
    trunk = small_saliency_network() if p.network == "small" else saliency_network_resnet18(10)
    return SaliencySampler(classifier(p), trunk, p.crop_size, p.crop_size, normalize=IMAGENET)


def row(name: str, label: str, build: Callable[..., nn.Module], **options) -> Row:
    return Row(name=name, label=label, build=build, **options)


ROWS = (
    row("full", "Plain: the whole image, shrunk", full),
    row("centre", "Centre crop", centre),
    row("random", "Random crop", random_crop),
    row("mean", "Mean of the five crops", mean),
    row("proposal_smallest", "Proposal, head sees 1st size", smallest, published={"top-1": 47.81}),
    row("proposal", "Proposal, head sees 2nd size", second, published={"top-1": 48.24}),
    row("proposal_third", "Proposal, head sees 3rd size", third),
    row("proposal_largest", "Proposal, head sees whole crops", largest),
    row("hard", "Proposal, one crop (straight-through)", hard),
    row("cooled", "Proposal, temperature 2 to 0.2", cooled, presets=("smoke", "paper")),  # `demo` has three minutes for all
    row("six_views", "Proposal, six views", six_views, presets=("smoke", "paper")),
    row("argmax", "Proposal, evaluated with its best crop", greatest, trained=False, needs=("proposal",)),
    row("noisy", "Proposal, evaluated with noise", with_noise, trained=False, needs=("proposal",)),
    row("released", "As released: 1000 outputs, raw, noise", released),
    row("released_quiet", "Released, evaluated without noise", without_noise, trained=False, needs=("released",)),
    row("released_ten", "Released, with ten outputs", released_ten),
    row("released_normalised", "Released, with normalised images", released_normalised),
    row("sampler", "Saliency sampler (Learning to Zoom)", sampler),
    row("any_crop", "Bound: any of the five crops is right", any_crop, trained=False, needs=("random",)),
    row("shown_crop", "Bound: the crop that shows the object", shown_crop, trained=False, needs=("random",), twin_only=True),
    row("control_full", "Control: plain", full, variant="control"),
    row("control_proposal", "Control: proposal", second, variant="control"),
    row("control_sampler", "Control: saliency sampler", sampler, variant="control"),
)


# --- data ---------------------------------------------------------------------------------------------------------------


def write_twin(p: Preset, variant: str, progress: Progress) -> Path:
    """The synthetic twin of this preset, written now unless it lies there finished."""
    size, objects = (p.control, "large") if variant == "control" else (p.twin, "small")
    return twin.write(ROOT / "data" / "twins" / f"imagenette-{size}-{objects}", objects=objects, **twin.SIZES[size],
                      progress=lambda done, total: progress("write twin, pictures", done, total))


def open_task(chosen: Settings, p: Preset, variant: str, progress: Progress) -> tuple[ProposalTask, dict]:
    root = chosen.data_dir or write_twin(p, variant, progress)
    data = {split: Imagenette(root, split) for split in ("train", "val", "test")}
    task = ProposalTask(data, crop_size=p.crop_size, view_size=p.crop_size, canvas=Square(p.side), label_smoothing=p.label_smoothing,
                        cache_dir=chosen.results_dir / "cache", progress=progress)
    test = data["test"]
    return task, {"fingerprint": task.fingerprints, "is_twin": test.is_twin, "n": len(test), "unit": "images", "identify": {},
                  "notes": [f"images {task.stores['train'].how}"]}


TABLE = Table(
    name="proposal", title="Salience region proposal on imagenette", paper="JasmineLi-805/cse490-DeepLearning-Project, README", rows=ROWS,
    reference="full", presets=PRESETS, open_task=open_task, datasets=("twin", "imagenette"),
    columns=(Column(name="top-1", metric="top1", quantity="top-1 accuracy", unit="%", lower_is_better=False, digits=1, scale=100),
             Column(name="object shown", metric="shown", quantity="chosen crop shows it", unit="%", lower_is_better=False, digits=1, scale=100),
             Column(name="by chance", metric="shown_by_chance", quantity="crops that show it", unit="%", lower_is_better=None, digits=1, scale=100),
             Column(name="entropy", metric="entropy", quantity="entropy of the weights", unit="bits", lower_is_better=None)),
    comparisons=(("proposal", "mean"), ("proposal", "random"), ("proposal", "centre"), ("hard", "proposal"), ("argmax", "proposal"),
                 ("noisy", "proposal"), ("sampler", "proposal"), ("released_quiet", "released"), ("released_ten", "released"),
                 ("released_normalised", "released"), ("proposal", "released"), ("shown_crop", "proposal"), ("control_proposal", "control_full"),
                 ("control_sampler", "control_full")))
