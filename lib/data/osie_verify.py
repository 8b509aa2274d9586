"""Checks an OSIE on disk against its published layout, counts and checksums, and says what is missing.

`python -m lib verify osie DIR` prints the report. SHA-256 of all files as published are in osie_sha256.txt; what differs from them is
a problem even if it can be read, as a file cut short or a subset would be. A folder with a TWIN.json is compared with that.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from lib.data.files import TWIN_FILE, one_line, read_json
from lib.data.fetch import published_checksums
from lib.data.osie import FIXATIONS, IMAGES, MOST, OSIE, SIZE
from lib.data.points import Plausibility
from lib.data.report import Report
from lib.data.saliency import Findings, check_photographs, tell_implausible, tell_unseen

_FETCH = "python -m lib fetch osie DIR gets it again"


def verify(
    root: str | os.PathLike[str], *, checksums: Mapping[str, str] | None = None, progress: Callable[[int, int], object] | None = None,
) -> Report:
    """Check the folder that holds data/stimuli and data/eye/fixations.mat; problems go into the report, nothing is raised.

    checksums: {name relative to root/data: SHA-256}, by default the published ones. progress(done, total) is called after each file.
    """
    root, report = Path(root), Report()
    findings = Findings(report)
    twin = (root / TWIN_FILE).is_file()
    if not twin:
        _check_files(root / "data", published_checksums() if checksums is None else checksums, findings, progress)
    try:
        data = OSIE(root)
    except (OSError, ValueError) as error:
        findings.close()
        report.add(str(error), problem=True)
        return report
    points = _check_images(data, findings, twin=twin)
    findings.close()
    _compare(data, sum(len(xy) for xy, *_ in points.values()), report, twin=twin)
    tell_unseen(report, "photographs", [name for name, (xy, *_) in points.items() if not len(xy)])
    plausible = Plausibility(MOST)
    for name, found in points.items():
        plausible.add(name, *found)
    tell_implausible(report, "photographs", plausible)
    return report


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_files(folder: Path, checksums: Mapping[str, str], findings: Findings, progress: Callable[[int, int], object] | None) -> None:
    for done, (name, expected) in enumerate(checksums.items(), start=1):
        path = folder / name
        if not path.is_file():
            findings.add("missing files", f"{path}: missing; {_FETCH}")
        elif sha256(path) != expected:
            findings.add("files that differ", f"{path}: its SHA-256 is not the published one; {_FETCH}")
        if progress is not None:
            progress(done, len(checksums))
    if not findings.counts:
        findings.report.add(f"{len(checksums):,} files: there, SHA-256 as published")


def _check_images(data: OSIE, findings: Findings, *, twin: bool) -> dict[str, tuple]:
    """{name: (fixations, their observers, size)} of the photographs that can be read."""
    points = {}
    for index in range(len(data)):
        try:
            size = data.size(index)
        except (OSError, ValueError):
            continue  # decoding says it below
        if not twin and size != SIZE:
            findings.add("photographs of another size", f"{data.path(index)}: is {size[1]}x{size[0]}, OSIE's are {SIZE[1]}x{SIZE[0]}; {_FETCH}")
            continue
        try:
            points[data.name(index)] = data.fixations(index), data.subjects(index), size
        except ValueError as error:
            findings.add("photographs with fixations that cannot be", one_line(error))
            continue
        if outside := data.outside(index):
            findings.report.add(f"{data.name(index)}: {outside:,} fixations outside the photograph; the loader leaves them out", warning=True)
    check_photographs([data.path(i) for i in range(len(data))], findings, images=None, seed=0)
    return points


def _compare(data: OSIE, fixations: int, report: Report, *, twin: bool) -> None:
    if not twin:
        report.compare("photographs with fixations", len(data), IMAGES)
        report.compare("fixations", fixations, FIXATIONS)
        return
    try:
        counts = read_json(data.root / TWIN_FILE)["counts"]
        report.add(f"synthetic twin: compared with its own {TWIN_FILE}, not with the published counts")
        report.compare("photographs", len(data), int(counts["images"]))
        report.compare("fixations", fixations, int(counts["fixations"]))
    except (ValueError, KeyError, TypeError, ArithmeticError) as error:
        report.add(f"{data.root / TWIN_FILE}: not a twin's description ({one_line(error)}); write the twin again", problem=True)
