"""Does the sampler help on my own pictures? Plain, plain at the sampler's cost, and the sampler; other samplers where they are asked for.

Presets are Table 4's: `photos` and its recipe, chosen on birds and not on anybody's own pictures. How many classes there are is counted.
Without a folder there are 496 drawn birds of sixteen species, the twin of CUB-200-2011, read as a folder of class folders.
"""

import functools
from dataclasses import replace
from pathlib import Path

from lib.data.pictures_folder import LabelledPictures, read_listing
from lib.data.synthetic import cub200 as twin
from lib.tables import cub200
from lib.tables import recognition as r
from lib.tables.table import Opened, Source, Table, Twin, said_of

DRAWN = r.presets(task="resnet50", real_classes=16, twin_classes=16, epochs=14)
PRESETS = {"smoke": DRAWN["smoke"], "demo": replace(DRAWN["demo"], twin="compare"),
           **{name: replace(preset, twin="compare", classes="all") for name, preset in cub200.PRESETS.items() if name in r.PHOTOS}}
USUAL = ("plain", "same_cost", "sampler")  # the rows that a verdict is made from

ROWS = tuple(replace(cub200.TABLE.row(name), published={}, presets=None) for name in (*USUAL, "stn_affine", "stn_tps", "grid_estimator", "cam"))


def fit(preset: r.Preset, folder: Path | None) -> r.Preset:
    """The preset with as many outputs as the pictures have classes. Errors as `lib.data.pictures_folder.read_listing`."""
    return replace(preset, outputs=len(twin.species()) if folder is None else len(set(read_listing(folder).classes)))


@functools.wraps(r.open_recognition)
def open_pictures(source: Source, **options) -> Opened:
    drawn = source.dataset == "twin"
    found = r.open_recognition(replace(source, root=source.root / "images") if drawn else source, loader=LabelledPictures, **options)
    said = dict.fromkeys(line for split in ("test", "train", "val") for line in said_of(found.task.data[split]))
    return replace(found, is_twin=drawn, notes=(found.notes[0], *said))


TABLE = Table(
    name="compare", title="Your own pictures", paper="A question of this repository's, lib/compare.py", rows=ROWS, reference="plain",
    columns=r.COLUMNS, presets=PRESETS, open=open_pictures, twin=Twin(module=twin, name="cub200", main={"details": "small"}),
    datasets=("twin", "pictures"), fit=fit, comparisons=(("sampler", "plain"), ("sampler", "same_cost")))
