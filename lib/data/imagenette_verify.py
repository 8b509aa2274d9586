"""Checks an imagenette on disk against its published layout and counts, and says what is missing.

`python -m lib verify imagenette DIR` prints the report. A synthetic twin is compared with its own TWIN.json. Classes have different
numbers of photographs as published: where every class has the same number and fewer, a part was drawn, which only warns.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lib.data.files import TWIN_FILE, one_line, read_json
from lib.data.imagenette import BOXES_FILE, FOLDERS, PUBLISHED, SPLITS, Imagenette, class_files, find_root, resized_note
from lib.data.report import Report
from lib.files.pictures import picture_header, read_picture

_SHORTEST = {FOLDERS["320px"]: 320, FOLDERS["160px"]: 160}
_UNPACK = "unpack the archive again"

Files = dict[str, dict[str, list[str]]]  # train, val -> WordNet id -> names


def verify(root: str | os.PathLike[str], *, images: int | None = 2000, seed: int = 0,
           progress: Callable[[int, int], object] | None = None) -> Report:
    """Check the data set at root (or in the one published folder inside it); problems go into the report, nothing is raised.

    images: how many photographs are decoded, drawn at random (None: all; 0: none). progress(done, total) is called after each.
    """
    report, files = Report(), {}
    try:
        root = find_root(root)
    except (OSError, ValueError) as error:
        report.add(str(error), problem=True)
        return report
    for part in PUBLISHED:
        try:
            files[part] = class_files(root / part)
        except (OSError, ValueError) as error:
            report.add(str(error), problem=True)
    if not report.ok:
        return report
    report.add("layout: ten class folders in train and in val, none empty")
    _check_counts(root, files, report)
    if (root / BOXES_FILE).is_file():
        _check_boxes(root, report)
    _check_names(files, report)
    _check_images(root, files, images, seed, report, progress)
    return report


def _check_counts(root: Path, files: Files, report: Report) -> None:
    counts = {part: sum(map(len, classes.values())) for part, classes in files.items()}
    expected = PUBLISHED
    if (root / TWIN_FILE).is_file():
        try:
            twin = read_json(root / TWIN_FILE)
            expected, boxes = {part: int(twin["counts"][part]) for part in PUBLISHED}, read_json(root / BOXES_FILE)
            report.add(f"synthetic twin, seed {twin['seed']}: compared with its own {TWIN_FILE}, not with the published counts")
            report.compare("boxes", len(boxes), sum(counts.values()))
        except (OSError, ValueError, KeyError, TypeError, ArithmeticError) as error:
            report.add(f"{root / TWIN_FILE}: not a complete twin ({one_line(error)}); write the twin again", problem=True)
            return
    for part in PUBLISHED:
        numbers = {len(names) for names in files[part].values()}
        drawn = expected is PUBLISHED and len(numbers) == 1 and counts[part] < expected[part]
        report.compare(f"photographs in {part}", counts[part], expected[part], only_warn=drawn)
        if drawn:
            report.add(f"{part} is a part of the published one, {min(numbers)} photographs of each class", warning=True)


def _check_boxes(root: Path, report: Report) -> None:
    """Of a twin: the loader reads them when it is asked for them."""
    for split in SPLITS:
        try:
            _ = Imagenette(root, split).box
        except (OSError, ValueError) as error:
            report.add(str(error), problem=True)


def _check_names(files: Files, report: Report) -> None:
    """A photograph in both parts would be trained on and tested on."""
    both = set.intersection(*({(wnid, name) for wnid, names in classes.items() for name in names} for classes in files.values()))
    if both:
        wnid, name = min(both)
        report.add(f"{len(both)} file names are in train and in val, such as {wnid}/{name}; {_UNPACK}", problem=True)


def _check_images(root: Path, files: Files, images: int | None, seed: int, report: Report,
                  progress: Callable[[int, int], object] | None) -> None:
    """Decode some photographs, or all, and look at their shortest sides."""
    paths = [root / part / wnid / name for part, classes in files.items() for wnid, names in classes.items() for name in names]
    chosen = range(len(paths)) if images is None else np.sort(np.random.default_rng(seed).permutation(len(paths))[:images])
    modes, shortest, sizes = Counter(), Counter(), Counter()
    for done, index in enumerate(chosen, start=1):
        try:
            header = picture_header(paths[index], remedy=_UNPACK)
            read_picture(paths[index], mode="photograph", remedy=_UNPACK)
            modes[header.mode] += 1
            shortest[min(header.height, header.width)] += 1
            sizes[header.width, header.height] += 1
        except (OSError, ValueError) as error:
            report.add(str(error), problem=True)
        if progress is not None:
            progress(done, len(chosen))
    kinds = ", ".join(f"{count:,} {mode}" for mode, count in modes.most_common())
    report.add(f"photographs decoded: {sum(modes.values()):,} of {len(paths):,}{f' ({kinds})' if kinds else ''}")
    if len(sizes) == 1 and len(set(side := next(iter(sizes)))) == 1 and sum(sizes.values()) > 1 and not (root / TWIN_FILE).is_file():
        report.add(f"photographs: {resized_note(side[0])}", warning=True)
    expected = _SHORTEST.get(root.name)
    other = sum(count for side, count in shortest.items() if side != expected)
    if expected and other:
        report.add(f"shortest side is not {expected} px in {other:,} of them; is this {root.name}?", warning=True)
