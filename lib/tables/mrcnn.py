"""Mr-CNN's table: saliency maps on MIT1003 from one, two and three resolutions, and what was done to the model since.

Liu et al., "Predicting Eye Fixations using Convolutional Neural Networks", CVPR 2015, and a released implementation of it
(github.com/LewisClifton/ADL-Coursework, "the release"), which publishes no numbers. The paper's Table 1 was not at hand: no row of
ours has a published value beside it.

Training as the release's defaults say (`RELEASED`; weight decay on everything, conv1's filters bound to a norm of 0.1), with shuffling, a seed, and
the epoch with the best validation NSS. `photos` is `demo` on MIT1003's 400 photographs with scanpaths, split by a published list, with all eight
metrics and the other observers. `demo` has a third of the filters or less, and a learning rate and dropout of its own, chosen for the three-stream
row on validation images and the same for all rows.
"""

from dataclasses import dataclass, replace

from lib.data.patches import Sampling
from lib.data.synthetic import mit1003 as twin
from lib.models.mrcnn import MrCNN
from lib.models.mrcnn_inference import ScrambledAxes
from lib.tables import saliency
from lib.tables.saliency import CEILING, FLOOR, LISTED, PHOTOS
from lib.tables.table import Column, FromPreset, Opened, Row, Source, Table, TablePreset, Twin, opens
from lib.training.coursework import CourseworkTask
from lib.training.loop import Recipe
from lib.training.mrcnn import PatchTask


@dataclass(frozen=True, kw_only=True)
class Preset(TablePreset):
    """Sizes and network."""

    widths: tuple[int, int, int]
    hidden: int
    dropout: float = 0.5
    max_norm: float | None = 0.1
    scrambled_step: int = 1  # the axis-order bug is evaluated at every so many-th point of the lattice
    split: str = ""  # of MIT1003, which publishes none: a list of ours, or a fifth of the order


RELEASED = Recipe(epochs=20, batch_size=256, optimiser="sgd", lr=2e-3, momentum=0.9, momentum_end=0.99, weight_decay=2e-4, schedule="constant",
                  keep_best=True)  # the release's defaults
DEMO = Preset(widths=(16, 32, 48), hidden=128, recipe=replace(RELEASED, epochs=6, batch_size=32, lr=0.01, schedule="wsd"), dropout=0.2,
              scrambled_step=2)
PRESETS = {
    "smoke": Preset(widths=(4, 6, 8), hidden=16, twin="smoke", recipe=replace(RELEASED, epochs=1, batch_size=64), scrambled_step=12),
    "demo": DEMO,
    "photos": replace(DEMO, split=LISTED.stem),
    "paper": Preset(widths=(96, 160, 288), hidden=512, recipe=RELEASED),
}

ROWS = (
    *FLOOR,
    Row(name="one_400", label="One stream, 400", network=MrCNN, options={"squares": (400,)}),
    Row(name="one_250", label="One stream, 250", network=MrCNN, options={"squares": (250,)}),
    Row(name="one_150", label="One stream, 150", network=MrCNN, options={"squares": (150,)}),
    Row(name="two", label="Two streams, 400 and 150", network=MrCNN, options={"squares": (400, 150)}),
    Row(name="three", label="Mr-CNN: three streams", network=MrCNN),
    Row(name="shared", label="Mr-CNN, streams share their weights", network=MrCNN, options={"share_streams": True}),
    Row(name="improved", label="Mr-CNN with a learned blur", network=MrCNN, options={"blur": True}),
    Row(name="scrambled", label="Mr-CNN, axes swapped at test time", network=ScrambledAxes, options={"step": FromPreset("scrambled_step")},
        recipe=None, needs=("three",)),
    *CEILING,
)

METRICS = {column.name: column for column in saliency.COLUMNS}
COLUMNS = (
    *(METRICS[name] for name in ("AUC-Judd", "sAUC", "NSS", "CC", "SIM", "KL")),
    *(replace(METRICS[name], presets=PHOTOS) for name in ("AUC", "IG")),
    Column(name="agreement", metric="bristol", quantity="coursework's pixel agreement", lower_is_better=None, digits=3),
)


@opens("crops", "truth", values=("saliency values",))
def open_crops(source: Source, *, split: str = "") -> Opened:
    known = {"cache_dir": source.cache_dir, "progress": source.progress}
    if source.dataset == "coursework":  # crops and split are the files' own
        task = CourseworkTask(source.root, **known)
    else:
        task = PatchTask(saliency.selections(source, split), sampling=Sampling(), **known)
    return saliency.opened(task, f"crops: {task.patch_summary}")


TABLE = Table(
    name="mrcnn", title="Mr-CNN: three resolutions", paper="Liu et al., CVPR 2015", rows=ROWS, reference="centre_bias",
    columns=COLUMNS, presets=PRESETS, open=open_crops, twin=Twin(module=twin, name="mit1003"),
    datasets=("twin", "mit1003", "osie", "coursework"),
    comparisons=(("three", "one_400"), ("three", "one_250"), ("three", "one_150"), ("three", "two"), ("shared", "three"),
                 ("improved", "three"), ("scrambled", "three"), ("three", "ceiling"), ("three", "observers")))
