"""Mr-CNN's table: saliency maps on MIT1003 from one, two and three resolutions, and what was done to the model since.

Liu et al., "Predicting Eye Fixations using Convolutional Neural Networks", CVPR 2015, and a released implementation of it
(github.com/LewisClifton/ADL-Coursework, "the release"), which publishes no numbers. The paper's Table 1 was not at hand: no row of
ours has a published value beside it.

Training as the release's defaults say: SGD, batches of 256 crops, learning rate 0.002, momentum from 0.9 to 0.99, weight decay
2e-4 on everything, dropout of 0.5, conv1's filters bound to a norm of 0.1, 20 epochs; here with shuffling, a seed, and the epoch
with the best validation NSS. `demo` has a third of the filters or less, and a learning rate and dropout of its own, chosen for the
three-stream row on validation images and the same for all rows.
"""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from lib.data.mit1003 import MIT1003
from lib.data.osie import OSIE
from lib.data.patches import Sampling
from lib.data.saliency import fifth_split
from lib.data.saliency_store import Selection
from lib.data.synthetic import mit1003 as twin
from lib.models.mrcnn import MrCNN
from lib.models.mrcnn_inference import ScrambledAxes
from lib.results.records import ROOT
from lib.tables.saliency import CEILING, FLOOR
from lib.tables.table import Column, Row, Settings, Table
from lib.training.coursework import CourseworkTask
from lib.training.loop import Recipe
from lib.training.mrcnn import PatchTask
from lib.training.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Sizes, network and recipe; the same recipe for every row."""

    widths: tuple[int, int, int]
    hidden: int
    twin: str  # key of lib.data.synthetic.mit1003.SIZES
    recipe: Recipe
    dropout: float = 0.5
    max_norm: float | None = 0.1
    scrambled_step: int = 1  # the axis-order bug is evaluated at every so many-th point of the lattice


def released(**changes) -> Recipe:
    """The release's defaults."""
    return Recipe(**{"epochs": 20, "batch_size": 256, "optimiser": "sgd", "lr": 2e-3, "momentum": 0.9, "momentum_end": 0.99,
                     "weight_decay": 2e-4, "schedule": "constant", "keep_best": True, **changes})


PRESETS = {
    "smoke": Preset(widths=(4, 6, 8), hidden=16, twin="smoke", recipe=released(epochs=1, batch_size=64), scrambled_step=12),
    "demo": Preset(widths=(16, 32, 48), hidden=128, twin="demo", recipe=released(epochs=6, batch_size=32, lr=0.01, schedule="wsd"), dropout=0.2,
                   scrambled_step=2),
    "paper": Preset(widths=(96, 160, 288), hidden=512, twin="demo", recipe=released()),
}


# --- networks -----------------------------------------------------------------------------------------------------------


def network(p: Preset, **options) -> nn.Module:
    return MrCNN(**{"widths": p.widths, "hidden": p.hidden, "dropout": p.dropout, "max_norm": p.max_norm, **options})


def one_400(p: Preset) -> nn.Module:
    return network(p, squares=(400,))


def one_250(p: Preset) -> nn.Module:
    return network(p, squares=(250,))


def one_150(p: Preset) -> nn.Module:
    return network(p, squares=(150,))


def two(p: Preset) -> nn.Module:
    return network(p, squares=(400, 150))


def three(p: Preset) -> nn.Module:
    return network(p)


def shared(p: Preset) -> nn.Module:
    return network(p, share_streams=True)


def improved(p: Preset) -> nn.Module:
    return network(p, blur=True)


def scrambled(p: Preset, trained: nn.Module) -> nn.Module:
    return ScrambledAxes(trained, step=p.scrambled_step)


ROWS = (
    *FLOOR,
    Row(name="one_400", label="One stream, 400", build=one_400),
    Row(name="one_250", label="One stream, 250", build=one_250),
    Row(name="one_150", label="One stream, 150", build=one_150),
    Row(name="two", label="Two streams, 400 and 150", build=two),
    Row(name="three", label="Mr-CNN: three streams", build=three),
    Row(name="shared", label="Mr-CNN, streams share their weights", build=shared),
    Row(name="improved", label="Mr-CNN with a learned blur", build=improved),
    Row(name="scrambled", label="Mr-CNN, axes swapped at test time", build=scrambled, trained=False, needs=("three",)),
    *CEILING,
)

COLUMNS = (
    Column(name="AUC-Judd", metric="auc_judd", lower_is_better=False, digits=3),
    Column(name="sAUC", metric="auc_shuffled", lower_is_better=False, digits=3),
    Column(name="NSS", metric="nss", lower_is_better=False),
    Column(name="CC", metric="cc", lower_is_better=False, digits=3),
    Column(name="SIM", metric="sim", lower_is_better=False, digits=3),
    Column(name="KL", metric="kl", unit="nats", digits=3),
    Column(name="agreement", metric="bristol", quantity="coursework's pixel agreement", lower_is_better=None, digits=3),
)


# --- data ---------------------------------------------------------------------------------------------------------------


def write_twin(p: Preset, progress: Progress) -> Path:
    """The synthetic twin of this preset, written now unless it lies there finished."""
    return twin.write(ROOT / "data" / "twins" / f"mit1003-{p.twin}", **twin.SIZES[p.twin],
                      progress=lambda done, total: progress("write twin, images", done, total))


def selections(chosen: Settings, p: Preset, progress: Progress) -> dict[str, Selection]:
    """Images to train on, to choose by and to test on: none of these sets publishes a split, so `fifth_split` of their order."""
    root = write_twin(p, progress) if chosen.dataset == "twin" else chosen.data_dir
    data = {"twin": MIT1003, "mit1003": MIT1003, "osie": OSIE}[chosen.dataset](root)
    return {split: Selection(data, indices) for split, indices in fifth_split(len(data)).items()}


def open_task(chosen: Settings, p: Preset, variant: str, progress: Progress) -> tuple[PatchTask, dict]:
    cache_dir = chosen.results_dir / "cache"
    if chosen.dataset == "coursework":  # crops and split are the files' own
        task = CourseworkTask(chosen.data_dir, cache_dir=cache_dir, progress=progress)
    else:
        task = PatchTask(selections(chosen, p, progress), sampling=Sampling(), cache_dir=cache_dir, progress=progress)
    test, crops = task.chosen["test"], task.patch_summary
    without = sum(not len(points) for points in task.full.fixations)
    notes = [f"crops: {crops}"] + ([f"{without} test images have no fixation points"] if without else [])
    return task, {"fingerprint": task.fingerprints, "is_twin": test.data.is_twin, "n": len(test), "unit": "images", "identify": {}, "notes": notes}


TABLE = Table(
    name="mrcnn", title="Mr-CNN: three resolutions", paper="Liu et al., CVPR 2015", rows=ROWS, reference="centre_bias",
    columns=COLUMNS, presets=PRESETS, open_task=open_task, datasets=("twin", "mit1003", "osie", "coursework"),
    comparisons=(("three", "one_400"), ("three", "one_250"), ("three", "one_150"), ("three", "two"), ("shared", "three"),
                 ("improved", "three"), ("scrambled", "three"), ("three", "ceiling")))
