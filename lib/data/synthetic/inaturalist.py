"""A synthetic iNaturalist 2017: drawn animals in exactly the layout of the real data set, for machines without it.

The layout is that of `lib.data.inaturalist` (README of github.com/visipedia/inat_comp, 2017); `birds` draws. Sixteen species in
four genera, two of birds and two of insects. TWIN.json at the root says that all of it is synthetic, and parts.json, which the
real data set does not have, says where each animal's parts are.

What differs from the real data set: classes are balanced, there is one animal in a picture and nothing before it, and boxes are
missing at random (one picture in twenty) and not by supercategory.

What it is to decide ("Learning to Zoom", section 4.2): "the information to distinguish between two classes is usually hidden in
a very small part of the image, sometimes unresolvable at low resolution". In a picture shrunk to 64 pixels a side the detail is
3 to 5 pixels wide: its tone leaves a tint and its halves are next to lost. `details="large"` is the negative control, with
details twice as wide. The constants were chosen on pictures of other seeds than the tables': with a detail of 0.125 of the
animal's length and 1,500 steps of 32, small networks that saw 64 pixels learned the genus and hardly more (25 and 30 % top-1);
with 0.17 it is 54 %, and 98 % from a crop of the animal's box.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from lib.data.inaturalist import IMAGES, PARTS
from lib.data.synthetic import birds, folder
from lib.versions import VERSIONS

VERSION = VERSIONS["twin inaturalist"]
SIZES: dict[str, dict[str, int]] = {
    "smoke": {"train": 80, "test": 32},  # five of each species: one for choosing
    "demo": {"train": 2000, "test": 500},
    "control": {"train": 2000, "test": 300},
}
GENERA = {"Pictocarabus": "beetle", "Pictosylvia": "warbler", "Pictopieris": "butterfly", "Pictospiza": "finch"}  # by category id
EPITHETS = ("calida-anterior", "calida-posterior", "frigida-anterior", "frigida-posterior")  # as `birds.VARIANTS`
DETAILS = {"small": 0.17, "large": 0.34}  # diameter of the detail in body lengths
SHARE = (0.25, 0.45)  # the animal's length, of the picture's shorter side
WITHOUT_BOX = 0.05  # of the pictures
STATEMENT = (
    "Synthetic data: drawn animals of invented species, no photograph. Written in the layout of {name} to try methods on; "
    "no result on it is a result on {name}."
)


def write(
    root: str | os.PathLike[str], *, seed: int = 0, details: str = "small", train: int = 2000, test: int = 500, side: int = 256,
    workers: int = 2, progress: folder.Progress | None = None,
) -> Path:
    """Write the twin to root, or find it there; returns root.

    train: pictures of the published training split, those for choosing included; test: of the published validation split.
    side: the pictures' shorter side in pixels. progress(done, total) is called after each picture. The bytes depend on the
    parameters alone, not on `workers`. A root that holds anything else is a ValueError: nothing is ever overwritten.
    """
    if details not in DETAILS:
        raise ValueError(f"details {details!r}: one of {', '.join(DETAILS)}")
    parameters = {"seed": seed, "details": details, "train": train, "test": test, "side": side}

    def fill(partial: Path) -> dict[str, Any]:
        tasks = _tasks(partial, seed, DETAILS[details], (train, test), side)
        drawn = folder.in_parallel(birds.write_picture, tasks, workers=workers, progress=progress, chunk=16)
        return _write_metadata(partial, tasks, drawn, train, seed)

    return folder.write_once(root, version=VERSION, parameters=parameters, fill=fill)


def species() -> list[tuple[str, str, int]]:
    """Name, genus of `birds` and variant of each category, by category id."""
    return [(f"{name} {epithet}", genus, variant) for name, genus in GENERA.items() for variant, epithet in enumerate(EPITHETS)]


def _tasks(root: Path, seed: int, diameter: float, counts: tuple[int, int], side: int) -> list[birds.Picture]:
    """All pictures, the training split's first; each has a random stream of its own."""
    planner, *streams = np.random.SeedSequence(seed).spawn(1 + sum(counts))
    rng, kinds = np.random.default_rng(planner), species()
    tasks = []
    for count in counts:
        for category in rng.permutation(np.arange(count) % len(kinds)):
            name, genus, variant = kinds[category]
            path = root / IMAGES / birds.GENERA[genus].supercategory / name / f"{rng.bytes(16).hex()}.jpg"
            tasks.append(birds.Picture(path, genus, variant, side, diameter, SHARE, streams[len(tasks)]))
    return tasks


Drawn = list[tuple[tuple[int, int], birds.Drawn]]


def _write_metadata(root: Path, tasks: list[birds.Picture], drawn: Drawn, train: int, seed: int) -> dict[str, Any]:
    """The JSON files; returns what TWIN.json says."""
    names, kinds = [task.path.relative_to(root).as_posix() for task in tasks], species()
    categories = [{"id": number, "name": name, "supercategory": birds.GENERA[genus].supercategory}
                  for number, (name, genus, _) in enumerate(kinds)]
    rng, counts = np.random.default_rng([seed, 2017]), {}
    for split, rows in (("train", range(train)), ("val", range(train, len(tasks)))):
        images = [{"id": row + 1, "width": drawn[row][0][1], "height": drawn[row][0][0], "file_name": names[row], "license": 1,
                   "rights_holder": "nobody, it is drawn"} for row in rows]
        labels = [{"id": row + 1, "image_id": row + 1, "category_id": [k[0] for k in kinds].index(tasks[row].path.parent.name)}
                  for row in rows]
        boxes = [{**labels[row - rows.start], "bbox": [round(value, 1) for value in drawn[row][1].box], "iscrowd": 0,
                  "area": round(drawn[row][1].box[2] * drawn[row][1].box[3] / 2, 1)}
                 for row in rows if rng.random() >= WITHOUT_BOX]
        common = {"info": {"year": 2017, "description": "synthetic twin"}, "categories": categories,
                  "licenses": [{"id": 1, "name": "synthetic", "url": ""}]}
        # In another order than the images: the published files do not promise one either.
        shuffled = [labels[i] for i in rng.permutation(len(labels))]
        folder.write_json(root / f"{split}2017.json", {**common, "images": images, "annotations": shuffled})
        folder.write_json(root / f"{split}_2017_bboxes.json", {**common, "images": images, "annotations": boxes})
        counts[split] = {"images": len(images), "boxes": len(boxes)}
    _write_parts(root, names, [place for _, place in drawn])
    deciding = {name: birds.part_names(genus, of=birds.GENERA[genus].deciding) for name, genus, _ in kinds}
    return {"statement": STATEMENT.format(name="iNaturalist 2017"), "stands_for": "iNaturalist 2017", "generator": __name__, "seed": seed,
            "counts": {"classes": len(kinds), **counts}, "detail": deciding,
            "scene": {"details": DETAILS, "share": list(SHARE), "jpeg_quality": birds.JPEG_QUALITY}}


def _write_parts(root: Path, names: list[str], drawn: list[birds.Drawn]) -> None:
    """parts.json: x, y and visible for every part of any animal; what an animal does not have is not visible."""
    known = sorted({part for genus in GENERA.values() for part in birds.part_names(genus)})
    parts = {name: part_rows(known, place) for name, place in zip(names, drawn, strict=True)}
    folder.write_json(root / PARTS, {"part_names": known, "parts": parts})


def part_rows(known: list[str], drawn: birds.Drawn) -> list[tuple[float, float, int]]:
    """x, y, visible of each of the known parts, zeros for those that are not seen."""
    return [(round(drawn.parts[part][0], 1), round(drawn.parts[part][1], 1), 1) if part in drawn.parts else (0.0, 0.0, 0) for part in known]
