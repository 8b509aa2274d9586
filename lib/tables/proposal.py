"""Salience region proposal on imagenette: which of five crops to look at, chosen by a small network.

Jasmine Li's course project (2021), whose report has the published values: 48.24 % with crops shrunk to 64 px for the choice,
47.81 % with 32 px, "about 48" with 128 and 224 after 20 epochs; a plain network from random values is known to reach about
90 % on imagenette in as many. So the table has three parts: the model at four sizes of what the head sees, what it is to be
compared with (the same classifier on the centre, the whole image, the mean of the crops, a random crop, any crop, behind the
saliency sampler of "Learning to Zoom"), and the release's own choices undone one by one.

The release: timm's defaults (the recipe of `paper`), no augmentation; images not normalised, 1000 outputs for ten classes, Gumbel noise in evaluation
too. `photos` is for imagenette's photographs as they are resized to 224: pretrained lite0 on crops of 96 px from 144, which trains in minutes on a
CPU; `photos-resnet18` has the release's ResNet-18 from random values there, on crops of 64 px. Neither recipe was tuned: the first are steps enough
for a pretrained network, the second what two cores can do. `demo` has crops of 64 px from pictures of 96 (1.5 times the crop, as 336 and 224). The
four sizes are those of the release scaled by 64/224 as far as three unpadded convolutions allow.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from lib.data.canvas import Square
from lib.data.imagenette import Imagenette
from lib.data.synthetic import imagenette as twin
from lib.models import zoomed
from lib.models.network import declared
from lib.models.proposal import CropOracle, FixedChoice, RegionProposal, ScoringHead
from lib.models.zoomed import TASK_NETWORKS
from lib.tables.table import Column, FromPreset, Opened, Row, Source, Table, TablePreset, Twin, opens, said_of, share
from lib.training.loop import Recipe
from lib.training.proposal import ProposalTask


@dataclass(frozen=True, kw_only=True)
class Preset(TablePreset):
    """Sizes and networks."""

    task: str  # the classifier, of `lib.models.zoomed`
    trunk: str  # of the saliency sampler
    layers: int
    crop_size: int
    sizes: tuple[int, int, int, int]  # of what the head sees, in the place of the release's 32, 64, 128, 224
    norm: str  # of the head, see ScoringHead
    label_smoothing: float = 0.1
    test_judge: str = ""  # who says which crop of a photograph shows the object best


PHOTOS = ("photos", "photos-resnet18")
SEEN = ("lite0, with ImageNet's weights, has seen nearly all of these photographs: imagenette's are ImageNet's training pictures but for 134 "
        "of its val.")
SMALL = {"task": "small_classifier", "trunk": "small", "layers": 14}
PRESETS = {
    "smoke": Preset(**SMALL, crop_size=64, sizes=(16, 24, 40, 64), twin="smoke", control="smoke", norm="group",
                    recipe=Recipe(epochs=1, batch_size=32)),
    "demo": Preset(**SMALL, crop_size=64, sizes=(16, 24, 40, 64), norm="group",
                   recipe=Recipe(epochs=5, batch_size=16, schedule="wsd")),
    "paper": Preset(task="scratch_resnet18", trunk="scratch_resnet18", layers=10, crop_size=224, sizes=(32, 64, 128, 224), norm="batch",
                    recipe=Recipe(epochs=20, batch_size=128, optimiser="sgd", lr=0.05, weight_decay=2e-5, schedule="cosine", autocast=True)),
    "photos": Preset(task="lite0", trunk="lite0_contrast", layers=14, crop_size=96, sizes=(15, 27, 55, 96), norm="group",
                     recipe=Recipe(epochs=3, batch_size=16, lr=1e-3, clip_norm=1.0,
                                   rates=(("classifier.fc.", 3.0), ("task_network.fc.", 3.0), ("sampler.saliency_network.", 0.1))),
                     test_judge="lite0"),
    "photos-resnet18": Preset(task="scratch_resnet18", trunk="scratch_resnet18", layers=10, crop_size=64, sizes=(16, 24, 40, 64),
                              norm="group", recipe=Recipe(epochs=10, batch_size=32, lr=1e-3, clip_norm=1.0), test_judge="lite0"),
}


@declared("proposal", "proposal", "backbones")
def proposal(*, task: str, crop_size: int, sizes: tuple[int, ...], norm: str, size: int = 1, outputs: int = 10, normalised: bool = True,
             **options) -> nn.Module:
    """size: which of the preset's four sizes the head sees. options: of `RegionProposal`."""
    kind = TASK_NETWORKS[task]
    network = kind.build(outputs)
    normalize = kind.normalize if normalised else None
    return RegionProposal(network, ScoringHead(sizes[size], norm=norm), crop_size=crop_size, normalize=normalize, **options)


@declared("reevaluated", "proposal")
def reevaluated(model: nn.Module, *, evaluation: str) -> nn.Module:
    """A trained proposal network that weighs its crops in another way."""
    model.sampler.evaluation = evaluation
    return model


@declared("fixed_choice", "proposal", "backbones")
def fixed(*, task: str, crop_size: int, choice: str, outputs: int = 10) -> nn.Module:
    kind = TASK_NETWORKS[task]
    return FixedChoice(kind.build(outputs), crop_size, kind=choice, normalize=kind.normalize)


@declared("shown_crop", "proposal")
def shown_crop(trained: nn.Module, *, task: str, crop_size: int) -> nn.Module:
    return FixedChoice(trained.classifier, crop_size, kind="object", normalize=TASK_NETWORKS[task].normalize)


@declared("any_crop", "proposal")
def any_crop(trained: nn.Module, *, task: str, crop_size: int) -> nn.Module:
    return CropOracle(trained.classifier, crop_size, normalize=TASK_NETWORKS[task].normalize)


CROPPED = {"outputs": 10, "task_size": FromPreset("crop_size"), "view_size": FromPreset("crop_size")}  # of the saliency sampler


def row(name: str, label: str, network: Callable[..., nn.Module], *, published: dict | None = None, variant: str = "main",
        presets: tuple[str, ...] | None = None, **options) -> Row:
    return Row(name=name, label=label, network=network, options=options, published=published or {}, variant=variant, presets=presets)


def bound(name: str, label: str, network: Callable[..., nn.Module], of: str, *, twin_only: bool = False, **options) -> Row:
    """A row that trains nothing: another row's network, evaluated in another way."""
    return Row(name=name, label=label, network=network, options=options, recipe=None, needs=(of,), twin_only=twin_only)


ROWS = (
    row("full", "Full image, shrunk (plain)", fixed, choice="full"),
    row("centre", "Centre crop", fixed, choice="centre"),
    row("random", "Random crop", fixed, choice="random"),
    row("mean", "Mean of the five crops", fixed, choice="mean"),
    row("proposal_smallest", "Proposal, head sees 1st size", proposal, size=0, published={"top-1": 47.81}),
    row("proposal", "Proposal, head sees 2nd size", proposal, published={"top-1": 48.24}),
    row("proposal_third", "Proposal, head sees 3rd size", proposal, size=2),
    row("proposal_largest", "Proposal, head sees whole crops", proposal, size=3),
    row("hard", "Proposal, one crop (straight-through)", proposal, choice="hard"),
    # `demo` has three minutes for all rows, and does without these two.
    row("cooled", "Proposal, temperature 2 to 0.2", proposal, temperature=2.0, final_temperature=0.2, presets=("smoke", "paper")),
    row("six_views", "Proposal, six views", proposal, views=6, presets=("smoke", "paper")),
    bound("argmax", "Proposal, evaluated with its best crop", reevaluated, "proposal", evaluation="argmax"),
    bound("noisy", "Proposal, evaluated with noise", reevaluated, "proposal", evaluation="sample"),
    row("released", "As released: 1000 outputs, raw, noise", proposal, outputs=1000, normalised=False, evaluation="sample"),
    bound("released_quiet", "Released, evaluated without noise", reevaluated, "released", evaluation="softmax"),
    row("released_ten", "Released, with ten outputs", proposal, normalised=False, evaluation="sample"),
    row("released_normalised", "Released, with normalised images", proposal, outputs=1000, evaluation="sample"),
    row("sampler", "Saliency sampler (Learning to Zoom)", zoomed.sampler, **CROPPED),
    bound("any_crop", "Bound: any of the five crops is right", any_crop, "random"),
    bound("shown_crop", "Bound: the crop that shows the object", shown_crop, "random", twin_only=True),
    row("control_full", "Control: plain", fixed, choice="full", variant="control"),
    row("control_proposal", "Control: proposal", proposal, variant="control"),
    row("control_sampler", "Control: saliency sampler", zoomed.sampler, **CROPPED, variant="control"),
)


@opens("pictures", "views", "classification", values=("classification values", "proposal values"))
def open_crops(source: Source, *, crop_size: int, label_smoothing: float, test_judge: str = "") -> Opened:
    """Pictures of one and a half times the crop's side, as 336 and 224."""
    data = {split: Imagenette(source.root, split) for split in ("train", "val", "test")}
    task = ProposalTask(data, crop_size=crop_size, view_size=crop_size, canvas=Square(crop_size * 3 // 2), label_smoothing=label_smoothing,
                        judge=test_judge, cache_dir=source.cache_dir, progress=source.progress)
    test = data["test"]
    return Opened(task=task, is_twin=test.is_twin, n=len(test), unit="images", notes=(f"images {task.stores['train'].how}", *said_of(test)))


TABLE = Table(
    name="proposal", title="Salience region proposal on imagenette", paper="JasmineLi-805/cse490-DeepLearning-Project, README", rows=ROWS,
    reference="full", presets=PRESETS, open=open_crops,
    twin=Twin(module=twin, name="imagenette", main={"objects": "small"}, control={"objects": "large"}), datasets=("twin", "imagenette"),
    caveats=dict.fromkeys(PHOTOS, SEEN),
    columns=(share("top-1", "top1", "top-1 accuracy"), share("object shown", "shown", "chosen crop shows it"),
             share("by chance", "shown_by_chance", "crops that show it", lower_is_better=None),
             share("surest", "surest", "chosen crop is the one that lite0 is surest of", presets=PHOTOS),
             share("surest by chance", "surest_by_chance", "a crop drawn at random is", lower_is_better=None, presets=PHOTOS),
             Column(name="entropy", metric="entropy", quantity="entropy of the weights", unit="bits", lower_is_better=None)),
    comparisons=(("proposal", "mean"), ("proposal", "random"), ("proposal", "centre"), ("hard", "proposal"), ("argmax", "proposal"),
                 ("noisy", "proposal"), ("sampler", "proposal"), ("released_quiet", "released"), ("released_ten", "released"),
                 ("released_normalised", "released"), ("proposal", "released"), ("shown_crop", "proposal"), ("control_proposal", "control_full"),
                 ("control_sampler", "control_full")))
