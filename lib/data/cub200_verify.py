"""Checks a CUB-200-2011 on disk against its published layout and counts, and says what is missing.

`python -m lib verify cub200 DIR` prints the report. Counts are those of the data set's README and technical report. A synthetic
twin is compared with its own TWIN.json.

A part is told from a damaged whole by its classes: where each class has all its photographs or none of them, the classes that
are there were chosen, which is a warning. A class that has some of them is damaged, which is a problem.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from lib.data.cub200 import Tables, check_annotations, count_there, find_root, read_tables, strays
from lib.data.files import TWIN_FILE, equal_files, image_size, read_json
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
    folders = [tables.names[index] for index in strays(tables)]
    if folders:
        report.add(f"{len(folders):,} images lie in another folder than their class, such as {folders[0]}; {_UNPACK}", problem=True)
    try:
        check_annotations(root, tables)
    except ValueError as error:
        report.add(str(error), problem=True)
    kept = _check_classes(root, tables, report)
    paths = Paths(root / "images", [tables.names[index] for index in kept])
    there = check_there(paths, report, unpack=_UNPACK)
    there = _check_boxes(paths, tables.box[kept], there, report)
    _check_copies(paths, tables.training[kept], there, report)
    check_pictures(paths, None, there, report, images=images, seed=seed, progress=progress)
    return report


def _check_classes(root: Path, tables: Tables, report: Report) -> np.ndarray:
    """Whether this is the whole, a part, or damaged; returns the images of the classes that are there, as indices."""
    there, listed = count_there(root, tables)
    absent = np.flatnonzero((there == 0) & (listed > 0))
    if not len(absent):
        return np.arange(len(tables.names))
    whole = np.flatnonzero((there == listed) & (listed > 0))
    known = [tables.classes[index] for index in whole]
    if len(whole) and len(whole) + len(absent) == (listed > 0).sum() and not (root / TWIN_FILE).is_file():
        report.add(f"a part of the data set: {len(whole)} of {len(listed)} classes, each with all its photographs ({there.sum():,} in all): "
                   f"{', '.join(known)}. CUB200(..., classes='present') reads them", warning=True)
    else:
        names = ", ".join(tables.classes[index] for index in absent[:3]) + (", ..." if len(absent) > 3 else "")
        report.add(f"{root / 'images'}: {len(absent)} classes without a photograph ({names}); {_UNPACK}", problem=True)
    return np.flatnonzero(there[tables.label] > 0)


def _check_copies(paths: Paths, training: np.ndarray, there: np.ndarray, report: Report) -> None:
    """A picture that is tested on and, byte by byte, trained on. Only files of one size are read."""
    same = [there[group] for group in equal_files([paths[index] for index in there.tolist()])]
    pairs = [(a, b) for group in same for a in group for b in group if training[a] and not training[b]]
    if pairs:
        a, b = pairs[0]
        report.add(f"{len(pairs):,} test pictures are training pictures too, such as {paths.names[b]} and {paths.names[a]}", warning=True)


def _check_counts(root: Path, tables: Tables, report: Report) -> None:
    counts = {"images": len(tables.names), "train": int(tables.training.sum()), "test": int((~tables.training).sum()),
              "classes": len(tables.classes), "parts": len(tables.part_names or ())}
    expected = PUBLISHED
    if (root / TWIN_FILE).is_file():
        try:
            twin = read_json(root / TWIN_FILE)
            expected = {key: int(twin["counts"][key]) for key in PUBLISHED}
            report.add(f"synthetic twin, seed {twin['seed']}: compared with its own {TWIN_FILE}, not with the published counts")
        except (ValueError, KeyError, TypeError, ArithmeticError) as error:
            report.add(f"{root / TWIN_FILE}: not a twin's description ({error!r}); write the twin again", problem=True)
            return
    for key, number in expected.items():
        if key != "parts" or tables.parts is not None:
            report.compare(key, counts[key], number)


def _check_boxes(paths: Paths, boxes: np.ndarray, there: np.ndarray, report: Report) -> np.ndarray:
    """Boxes against the pictures' headers, a pixel over the edge is no matter; returns the pictures that have a header."""
    outside, readable = [], []
    for index in there.tolist():
        try:
            height, width = image_size(paths[index])
        except (OSError, ValueError) as error:
            report.add(str(error), problem=True)
            continue
        readable.append(index)
        x, y, w, h = boxes[index]
        if x < -1 or y < -1 or x + w > width + 1 or y + h > height + 1 or w <= 0 or h <= 0:
            outside.append(paths.names[index])
    if outside:
        report.add(f"{len(outside):,} boxes are empty or reach outside their pictures, such as that of {outside[0]}", warning=True)
    return np.array(readable, dtype=np.int64)
