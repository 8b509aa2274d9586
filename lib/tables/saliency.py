"""What every table of predicted saliency shares: splits, metrics, and the rows that train nothing and bound what a network's scores can mean."""

import numpy as np

from lib.data.mit1003 import MIT1003
from lib.data.osie import OSIE
from lib.data.saliency import SaliencyData, fifth_split
from lib.data.saliency_store import Selection
from lib.data.splits import read_split
from lib.files import ROOT
from lib.models.saliency_baselines import Ceiling, ConstantMap, FromBatch, OtherObservers
from lib.tables.table import Column, Opened, Row, Source, said_of

LISTED = ROOT / "results" / "reference" / "splits" / "mit1003-400.csv"  # 280, 40 and 80 photographs of which scanpaths are known
PHOTOS = ("photos",)
LOADERS = {"twin": MIT1003, "mit1003": MIT1003, "osie": OSIE}  # of data sets that publish no split; SALICON has a twin of its own

FLOOR = (  # what a network has to beat
    Row(name="uniform", label="Uniform", network=ConstantMap, recipe=None),
    Row(name="centre_bias", label="Centre bias", network=FromBatch, options={"name": "centre"}, recipe=None),
)
CEILING = (  # what none can beat: the density that the twin's fixations were drawn from, and the map of the very fixations
    Row(name="ceiling", label="Ceiling: the true density", network=Ceiling, recipe=None, twin_only=True),
    Row(name="observers", label="Other observers (leave one out)", network=OtherObservers, recipe=None, presets=PHOTOS),
    Row(name="truth", label="Ground truth's own map", network=FromBatch, options={"name": "density"}, recipe=None),
)

COLUMNS = (
    Column(name="NSS", metric="nss", lower_is_better=False),
    Column(name="CC", metric="cc", lower_is_better=False, digits=3),
    Column(name="AUC-Judd", metric="auc_judd", lower_is_better=False, digits=3),
    Column(name="AUC", metric="auc", quantity="AUC, exact", lower_is_better=False, digits=3),
    Column(name="sAUC", metric="auc_shuffled", lower_is_better=False, digits=3),
    Column(name="SIM", metric="sim", lower_is_better=False, digits=3),
    Column(name="KL", metric="kl", unit="nats", digits=3),
    Column(name="IG", metric="ig", quantity="information gain", unit="bits", lower_is_better=False),
)


def unpublished_split(data: SaliencyData, listed: str = "") -> dict[str, np.ndarray]:
    """Of a data set that publishes none: `fifth_split` of its order, or for MIT1003 the `listed` "mit1003-400", where that is asked for.

    The list's photographs are used, and no others. ValueError, one line, where one of them is missing.
    """
    if listed not in ("", LISTED.stem):
        raise ValueError(f"split {listed!r} is not {LISTED.stem}, the only one that is listed; leave it empty")
    if listed and isinstance(data, MIT1003) and not data.is_twin:
        return read_split(LISTED, data, complete=False)
    return fifth_split(len(data))


def selections(source: Source, listed: str) -> dict[str, Selection]:
    """Images to train on, to choose by and to test on, as `unpublished_split`."""
    data = LOADERS[source.dataset](source.root)
    return {part: Selection(data, indices) for part, indices in unpublished_split(data, listed).items()}


def opened(task, how: str) -> Opened:
    """A task on maps, ready; how: its images are read. Notes say how many test images have no fixation that is known."""
    test, without = task.chosen["test"], sum(not len(points) for points in task.full.fixations)
    notes = (how, *((f"{without} test images have no fixation points",) if without else ()), *said_of(test.data))
    return Opened(task=task, is_twin=test.data.is_twin, n=len(test), unit="images", notes=notes)
