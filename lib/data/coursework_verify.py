"""Checks the Mr-CNN coursework's files: what they hold, the maps beside them, and that no photograph is in two of them.

`python -m lib verify coursework DIR` prints the report. 803, 100 and 100 photographs and 30 crops of each of the first are what the
coursework's brief says; a file of another size only warns, as nobody published a checksum.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from lib.data.coursework import FILES, CourseworkCrops, CourseworkData, axis_order, implausible_pixels, read_train, round_trip_error
from lib.data.files import TWIN_FILE, one_line
from lib.data.report import Report
from lib.data.saliency import Findings, tell_unseen

PHOTOGRAPHS = {"train": 803, "val": 100, "test": 100}
CROPS = 30  # of each training photograph: 10 fixated, 20 not
GREY_LEVELS = 0.1  # photographs further than this from whole grey levels were normalised with other constants


def verify(root: str | os.PathLike[str], *, progress: Callable[[int, int], object] | None = None) -> Report:
    """Check the folder that holds the three files and ALLFIXATIONMAPS/; problems go into the report, nothing is raised.

    Everything is read, a minute or two on the real files. progress(done, total) is called after each file.
    """
    report, root, names = Report(), Path(root), {}
    published = not (root / TWIN_FILE).is_file()
    for done, (split, file) in enumerate(FILES.items(), start=1):
        try:
            names[split] = _crops(read_train(root / file, check_axes=False), report) if split == "train" else _photographs(root / file, report)
        except (OSError, ValueError) as error:
            report.add(one_line(error), problem=True)
        else:
            if published:
                report.compare(f"{file}: photographs", len(names[split]), PHOTOGRAPHS[split], only_warn=True)
        if progress is not None:
            progress(done, len(FILES))
    held = Counter(name for found in names.values() for name in found)
    for name in sorted(name for name, files in held.items() if files > 1):
        report.add(f"{root}: {name} is in more than one of the files; training and testing on one photograph says nothing", problem=True)
    return report


def _crops(crops: CourseworkCrops, report: Report) -> set[str]:
    """The photographs that the crops are of."""
    some = crops.batch(range(0, len(crops), max(1, len(crops) // 1000)))[0]
    order, each = axis_order(some), Counter(crops.files)
    if order == "channel, scale":
        report.add(f"{crops.path}: its crops look like (channel, scale, 42, 42), training needs (scale, channel, 42, 42); "
                   "turn each X with transpose(0, 1)", problem=True)
    fixated = int(crops.y.sum())
    if (problem := implausible_pixels(crops)) is not None:
        report.add(f"{crops.path}: {problem}; copy the file again", problem=True)
    if fixated in (0, len(crops)):
        which = "each" if fixated else "none"
        report.add(f"{crops.path}: {which} of its {len(crops):,} crops is fixated, so there is nothing to tell apart; copy the file again",
                   problem=True)
    report.add(f"{crops.path.name}: {len(crops):,} crops, {fixated:,} fixated; axes by the pixels: {order}")
    if odd := [name for name, count in each.items() if count != CROPS]:
        report.add(f"{crops.path.name}: {len(odd):,} of {len(each):,} photographs have another number of crops than {CROPS}, {odd[0]} for one",
                   warning=True)
    return {Path(name).stem for name in each}


def _photographs(path: Path, report: Report) -> set[str]:
    """The photographs of a validation or test file; each one's maps are opened."""
    data, findings, without, unseen = CourseworkData(path), Findings(report), 0, []
    for index in range(len(data)):
        try:
            data.density(index)
            points = data.fixations(index)
        except (OSError, ValueError) as error:
            findings.add("missing or unfit maps", one_line(error))
            continue
        without += points is None
        if points is not None and not len(points):
            unseen.append(data.name(index))
    findings.close()
    if not findings.counts:
        report.add(f"{path.name}: {len(data):,} photographs; their blurred maps are there, readable and as large as they are")
    if without:
        report.add(f"{path.name}: {without:,} photographs have no fixPts: CC, SIM and KL can be computed of them, AUC and NSS cannot", warning=True)
    off = max(round_trip_error(image.image) for image in data.images)
    report.add(f"{path.name}: at most {off:.3f} from whole grey levels with ImageNet's mean and deviation" +
               (": normalised with other constants, or resized after" if off > GREY_LEVELS else ""), warning=off > GREY_LEVELS)
    tell_unseen(report, f"{path.name}: photographs", unseen)
    return {image.name for image in data.images}
