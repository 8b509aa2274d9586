"""A synthetic imagenette: drawn objects in exactly the layout of the real photographs, for machines without those.

The layout is that of `lib.data.imagenette` (imagenette2-160: shortest side 160 pixels), the folders have the real WordNet ids,
and `imagenette_scenes` draws one object of the class into each picture. TWIN.json at the root says that all of it is synthetic,
boxes.json where each object is: {"train/n01440764/n01440764_0.JPEG": [x, y, w, h]}, pixels of the picture.

What differs from the real photographs: one object in each picture, always in the middle square, classes of equal size, no
greyscale pictures, no noisy_imagenette.csv.

What it is to decide ("Salience map for region proposal"): the object is a quarter to a third of the short side and stands anywhere,
so some of the five crops show it and some do not (about half of it on average, all of it in the best one); a crop of two thirds
of the side shows it half as large again as the whole picture shrunk to the crop's size; a blend of all crops buries it. Where it
is can be told from the small grey crops: the scoring head alone, trained on the boxes, finds it. `objects="large"` is the
negative control: every crop, and the whole picture, shows enough of the object, so there is little to choose.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lib.data.imagenette import BOXES_FILE, WNIDS
from lib.data.synthetic import folder
from lib.data.synthetic import imagenette_scenes as scenes
from lib.versions import VERSIONS

VERSION = VERSIONS["twin imagenette"]
SIZES: dict[str, dict[str, int]] = {
    "smoke": {"train": 100, "val": 60},
    "demo": {"train": 2000, "val": 400},
    "control": {"train": 600, "val": 200},
}
SHORT_SIDE = 160
LONG_SIDES = (160, 200, 213, 240)  # 1:1, 5:4, 4:3, 3:2
PORTRAIT_SHARE = 0.25
JPEG_QUALITY = 92
_CHUNK = 25  # pictures of one task
_STATEMENT = (
    "Synthetic data: drawn objects, no photograph. Written in the layout of imagenette to try methods on; "
    "no result on it is a result on imagenette."
)

Boxes = dict[str, tuple[int, int, int, int]]


@dataclass(frozen=True)
class _Task:
    """Some pictures of one class to write."""

    root: Path
    part: str  # train or val
    label: int
    first: int
    count: int
    objects: str
    seed: int


def write(
    root: str | os.PathLike[str], *, seed: int = 0, objects: str = "small", train: int = 2000, val: int = 400, workers: int = 2,
    progress: Callable[[int, int], object] | None = None,
) -> Path:
    """Write the twin to root, or find it there; returns root, the folder that holds train/ and val/.

    objects: "small", or "large" for the negative control. train, val: pictures, spread evenly over the classes, at least one of
    each. progress(done, total) counts portions of 25. The bytes depend on the parameters alone, not on `workers`, and
    a smaller twin's pictures are the first of a larger one's. Everything is written beside root first and renamed when complete.
    A root that holds anything else is a ValueError: nothing is ever overwritten.
    """
    if objects not in scenes.LOOKS:
        raise ValueError(f"objects {objects!r}: one of {', '.join(scenes.LOOKS)}")
    if min(train, val) < len(WNIDS):
        raise ValueError(f"train and val must be at least {len(WNIDS)}, one picture of each class, got {train} and {val}")
    parameters = {"seed": seed, "objects": objects, "train": train, "val": val}

    def fill(partial: Path) -> dict[str, Any]:
        boxes: Boxes = {}
        for found in folder.in_parallel(_write_some, _tasks(partial, parameters), workers=workers, progress=progress, chunk=1):
            boxes |= found
        folder.write_json(partial / BOXES_FILE, boxes)
        return {"statement": _STATEMENT, "stands_for": "imagenette2-160", "generator": __name__, "seed": seed,
                "counts": {"train": train, "val": val}, "look": asdict(scenes.LOOKS[objects]), "jpeg_quality": JPEG_QUALITY}

    return folder.write_once(root, version=VERSION, parameters=parameters, fill=fill)


def _tasks(root: Path, parameters: dict[str, Any]) -> list[_Task]:
    tasks = []
    for part in ("train", "val"):
        for label in range(len(WNIDS)):
            count = parameters[part] // len(WNIDS) + (label < parameters[part] % len(WNIDS))
            (root / part / WNIDS[label]).mkdir(parents=True)
            tasks += [_Task(root, part, label, first, min(_CHUNK, count - first), parameters["objects"], parameters["seed"])
                      for first in range(0, count, _CHUNK)]
    return tasks


def _write_some(task: _Task) -> Boxes:
    boxes: Boxes = {}
    for index in range(task.first, task.first + task.count):
        # Each picture has a random stream of its own.
        rng = np.random.default_rng((task.seed, ("train", "val").index(task.part), task.label, index))
        wnid = WNIDS[task.label]
        image, box = scenes.render(wnid, _size(rng), scenes.LOOKS[task.objects], rng)
        name = f"{task.part}/{wnid}/{wnid}_{task.part}_{index:05d}.JPEG"
        image.save(task.root / name, "JPEG", quality=JPEG_QUALITY)
        boxes[name] = box
    return boxes


def _size(rng: np.random.Generator) -> tuple[int, int]:
    """(H, W), the shorter one `SHORT_SIDE`."""
    long_side = int(rng.choice(LONG_SIDES))
    return (long_side, SHORT_SIDE) if rng.random() < PORTRAIT_SHARE else (SHORT_SIDE, long_side)
