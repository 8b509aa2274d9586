"""Checks a CUB-200-2011 on disk against its published layout and counts, and says what is missing.

`python -m lib verify cub200 DIR` prints the report. Counts are those of the data set's README and technical report. A synthetic
twin is compared with its own TWIN.json.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from lib.data.cub200 import Tables, find_root, read_tables
from lib.data.files import TWIN_FILE, image_size, read_json
from lib.data.recognition import Paths, Progress, check_pictures, check_there
from lib.data.report import Report

PUBLISHED = {"images": 11_788, "train": 5_994, "test": 5_794, "classes": 200, "parts": 15}
_UNPACK = "unpack CUB_200_2011.tgz again"


def verify(root: str | os.PathLike[str], *, images: int | None = 2000, seed: int = 0, progress: Progress | None = None) -> Report:
    """Check the folder CUB_200_2011; problems go into the report, nothing is raised.

    images: how many pictures are decoded, drawn at random (None: all, a minute or two; 0: none). Whether each listed picture
    exists is always checked. progress(done, total) is called after each decoded picture.
    """
    report = Report()
    try:
        root = find_root(Path(root))
        tables = read_tables(root)
    except (OSError, ValueError) as error:
        report.add(str(error), problem=True)
        return report
    report.add("text files: labels, split, boxes and parts for every image, and for no other")
    if tables.parts is None:
        report.add(f"{root / 'parts'}: missing; no parts then, everything else works", warning=True)
    _check_counts(root, tables, report)
    folders = [name for name, label in zip(tables.names, tables.label.tolist(), strict=True)
               if name.partition("/")[0] != tables.classes[label]]
    if folders:
        report.add(f"{len(folders):,} images lie in another folder than their class, such as {folders[0]}; {_UNPACK}", problem=True)
    paths = Paths(root / "images", tables.names)
    there = check_there(paths, report, unpack=_UNPACK)
    there = _check_boxes(paths, tables, there, report)
    check_pictures(paths, None, there, report, images=images, seed=seed, progress=progress)
    return report


def _check_counts(root: Path, tables: Tables, report: Report) -> None:
    counts = {"images": len(tables.names), "train": int(tables.training.sum()), "test": int((~tables.training).sum()),
              "classes": len(tables.classes), "parts": len(tables.part_names or ())}
    expected = PUBLISHED
    if (root / TWIN_FILE).is_file():
        try:
            twin = read_json(root / TWIN_FILE)
            expected = {key: int(twin["counts"][key]) for key in PUBLISHED}
            report.add(f"synthetic twin, seed {twin['seed']}: compared with its own {TWIN_FILE}, not with the published counts")
        except (ValueError, KeyError, TypeError) as error:
            report.add(f"{root / TWIN_FILE}: not a twin's description ({error!r}); write the twin again", problem=True)
            return
    for key, number in expected.items():
        if key != "parts" or tables.parts is not None:
            report.compare(key, counts[key], number)


def _check_boxes(paths: Paths, tables: Tables, there: np.ndarray, report: Report) -> np.ndarray:
    """Boxes against the pictures' headers, a pixel over the edge is no matter; returns the pictures that have a header."""
    outside, readable = [], []
    for index in there.tolist():
        try:
            height, width = image_size(paths[index])
        except (OSError, ValueError) as error:
            report.add(str(error), problem=True)
            continue
        readable.append(index)
        x, y, w, h = tables.box[index]
        if x < -1 or y < -1 or x + w > width + 1 or y + h > height + 1 or w <= 0 or h <= 0:
            outside.append(tables.names[index])
    if outside:
        report.add(f"{len(outside):,} boxes are empty or reach outside their pictures, such as that of {outside[0]}", warning=True)
    return np.array(readable, dtype=np.int64)
