"""Checks a SALICON on disk against its published layout and counts, and says what is missing.

`python -m lib verify salicon DIR` prints the report. Numbers of photographs are the data set's own; numbers of fixations are those
that pysaliency's tests assert for either edition (tests/external_datasets/test_SALICON.py), counted before anything is left
out. A synthetic twin is compared with its own TWIN.json.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from lib.data.files import TWIN_FILE, image_size, one_line, read_json
from lib.data.points import Plausibility, check_outside, inside_image
from lib.data.report import Report
from lib.data.salicon import EDITIONS, FIXATIONS, IMAGES, MOST, SIZE, SPLITS, read_gaze
from lib.data.saliency import Findings, check_map_size, check_photographs, list_files, tell_implausible, tell_unseen
from lib.files.text import UNPACK

Progress = Callable[[int, int], object]


@dataclass
class _Split:
    """What was found in one split."""

    photographs: list[Path]
    readable: list[Path] = field(default_factory=list)  # by their headers
    fixations: int = 0
    outside: int = 0
    editions: Counter[str] = field(default_factory=Counter)
    nobody: list[str] = field(default_factory=list)  # photographs without a fixation
    plausible: Plausibility = field(default_factory=lambda: Plausibility(MOST))


def verify(
    root: str | os.PathLike[str], *, images: int | None = 2000, seed: int = 0, progress: Progress | None = None,
) -> Report:
    """Check the folder that holds images/, fixations/ and maps/; problems go into the report, nothing is raised.

    images: how many photographs are decoded, drawn at random (None: all, some minutes on the real data). Every .mat is read, and the
    header of every picture. progress(done, total) is called after each photograph.
    """
    root, report = Path(root), Report()
    if not (root / "images").is_dir():
        report.add(f"{root / 'images'}: no such folder; give the folder that holds images/, fixations/ and maps/", problem=True)
        return report
    twin = (root / TWIN_FILE).is_file()
    findings = Findings(report)
    splits = {split: _Split(list_files(root / "images" / split, ".jpg")) for split in SPLITS}
    total, done = sum(len(found.photographs) for found in splits.values()), 0
    for split, found in splits.items():
        folders = _annotation_folders(root, split, findings) if found.photographs else {}
        for path in found.photographs:
            _check_image(path, folders, found, findings, twin=twin)
            done += 1
            if progress is not None:
                progress(done, total)
        _check_strays(folders, found, findings)
    if not findings.counts:
        report.add(f"{total:,} photographs: headers, .mat files and maps are there, readable and fit one another")
    every = [path for found in splits.values() for path in found.readable]
    decoded = check_photographs(every, findings, images=images, seed=seed)
    findings.close()
    report.add(f"photographs decoded: {decoded:,} of {total:,}{'' if decoded == total else ', drawn at random'}")
    (_compare_twin if twin else _compare_published)(root, splits, report)
    return report


def _annotation_folders(root: Path, split: str, findings: Findings) -> dict[str, Path]:
    """{suffix: folder} of the split's annotations that are there; one line for a whole folder that is not."""
    folders = {} if split == "test" else {".mat": root / "fixations" / split, ".png": root / "maps" / split}
    for folder in folders.values():
        if not folder.is_dir():
            findings.add("missing folders", f"{folder}: no such folder; unpack its archive so that {split}/ lies in {folder.parent.name}/")
    return {suffix: folder for suffix, folder in folders.items() if folder.is_dir()}


def _check_image(path: Path, folders: dict[str, Path], found: _Split, findings: Findings, *, twin: bool) -> None:
    """One photograph's header, its .mat and its map's header."""
    try:
        size = image_size(path)
    except (OSError, ValueError) as error:
        findings.add("unreadable photographs", one_line(error))
        return
    found.readable.append(path)
    if not twin and size != SIZE:
        findings.add("photographs of another size", f"{path}: is {size[1]}x{size[0]}, SALICON's are {SIZE[1]}x{SIZE[0]}; unpack the images again")
    if ".mat" in folders:
        try:
            _count(folders[".mat"] / f"{path.stem}.mat", size, found)
        except (OSError, ValueError) as error:
            findings.add("missing or unfit .mat files", one_line(error))
    if ".png" in folders:
        try:
            check_map_size(folders[".png"] / f"{path.stem}.png", path)
        except (OSError, ValueError) as error:
            findings.add("missing or unfit maps", one_line(error))


def _count(path: Path, size: tuple[int, int], found: _Split) -> None:
    gaze = read_gaze(path, photograph=path.stem, size=size)
    points = gaze.points - 1
    found.fixations += len(points)
    found.outside += int((~inside_image(points, size)).sum())
    found.editions[gaze.edition or "unknown"] += 1
    found.plausible.add(path.stem, points, gaze.observer, size)
    if not len(points):
        found.nobody.append(path.stem)
    check_outside(points, size, path, UNPACK)


def _check_strays(folders: dict[str, Path], found: _Split, findings: Findings) -> None:
    """Annotations whose photograph is not there."""
    stems = {path.stem for path in found.photographs}
    for suffix, folder in folders.items():
        for path in list_files(folder, suffix):
            if path.stem not in stems:
                findings.add("annotations without a photograph", f"{path}: its photograph is not in images/{folder.name}; unpack the images again")


def _compare_published(root: Path, splits: dict[str, _Split], report: Report) -> None:
    editions = sum((found.editions for found in splits.values()), Counter())
    known = [edition for edition in EDITIONS if editions[edition]]
    if len(known) > 1:
        counts = ", ".join(f"{editions[edition]:,} of {edition}" for edition in known)
        report.add(f"{root / 'fixations'}: files of two editions ({counts}); unpack one archive into an empty folder", problem=True)
    elif known:
        report.add(f"edition {known[0]}")
    elif editions:
        report.add("no file has two observers, so the edition cannot be told, nor how many fixations there should be", warning=True)
    for split, found in splits.items():
        # Nothing can be scored on the test split, so it may stay away.
        absent = split == "test" and not found.photographs
        report.compare(f"{split} photographs", len(found.photographs), IMAGES[split], only_warn=absent)
        if split != "test" and len(known) == 1:
            report.compare(f"{split} fixations", found.fixations, FIXATIONS[known[0]][split])
        _tell_oddities(split, found, report)


def _compare_twin(root: Path, splits: dict[str, _Split], report: Report) -> None:
    try:
        twin = read_json(root / TWIN_FILE)
        report.add(f"synthetic twin: compared with its own {TWIN_FILE}, not with the published counts")
        for split, counts in twin["counts"].items():
            report.compare(f"{split} photographs", len(splits[split].photographs), int(counts["images"]))
            if "fixations" in counts:
                report.compare(f"{split} fixations", splits[split].fixations, int(counts["fixations"]))
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        report.add(f"{root / TWIN_FILE}: not a twin's description ({one_line(error)}); write the twin again", problem=True)
    for split, found in splits.items():
        _tell_oddities(split, found, report)


def _tell_oddities(split: str, found: _Split, report: Report) -> None:
    """What the loader copes with, but whoever averages over images should know."""
    tell_unseen(report, f"{split} photographs", found.nobody)
    tell_implausible(report, f"{split} photographs", found.plausible)
    if found.outside:
        report.add(f"{split} fixations outside the photograph: {found.outside:,} of {found.fixations:,}; the loader leaves them out", warning=True)
