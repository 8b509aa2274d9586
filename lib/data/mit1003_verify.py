"""Checks an MIT1003 on disk against its published layout, and says what is missing.

`python -m lib verify mit1003 DIR` prints the report. 1,003 photographs with a side of 1024 pixels and another of 405 to 1024, as
pysaliency describes the data set. How many white pixels the fixPts hold in all is published nowhere, so they are only counted, and refused where they
cannot be points (`lib.data.saliency.read_points`); copies without them only warn,
unless each observer's scanpaths are there. A synthetic twin is compared with its own TWIN.json.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from lib.data.files import TWIN_FILE, image_size, one_line, read_json
from lib.data.fixatons import FOLDER, SCANPATHS, check_scanpaths
from lib.data.mit1003 import IMAGES, LONG_SIDE, MIT1003, SHORT_SIDES, unnested
from lib.data.report import Report
from lib.data.saliency import Findings, check_photographs, list_files, read_map, tell_unseen

_REFETCH = "unpack its archive again"


def verify(root: str | os.PathLike[str], *, progress: Callable[[int, int], object] | None = None) -> Report:
    """Check the folder that holds ALLSTIMULI/ and ALLFIXATIONMAPS/; problems go into the report, nothing is raised.

    Everything is decoded, half a minute on the real data. progress(done, total) is called after each photograph.
    """
    report = Report()
    try:
        data = MIT1003(root, points="fixPts")
    except OSError as error:
        report.add(str(error), problem=True)
        return report
    findings, points = Findings(report), {}
    for index in range(len(data)):
        count = _check_image(data, index, findings)
        if count is not None:
            points[data.name(index)] = count
        if progress is not None:
            progress(index + 1, len(data))
    _check_strays(data, findings)
    scanpaths = check_scanpaths(data, findings, which="all") if (data.root / FOLDER).is_dir() else None
    check_photographs([data.path(i) for i in range(len(data))], findings, images=None, seed=0)
    findings.close()
    if not findings.counts:
        report.add(f"{len(data):,} photographs: decoded; their maps are there, readable and as large as they are")
    _compare(data, points, report, scanpaths=scanpaths is not None)
    if scanpaths is not None:
        scanpaths.tell(report, SCANPATHS["MIT1003"], photographs=IMAGES)
    tell_unseen(report, "photographs", [name for name, count in points.items() if not count])
    return report


def _check_image(data: MIT1003, index: int, findings: Findings) -> int | None:
    """One photograph's header, its map and its points; the number of points, None where there are none to read."""
    path = data.path(index)
    try:
        height, width = image_size(path)
    except (OSError, ValueError):
        return None  # decoding says it
    least, most = SHORT_SIDES
    if not data.is_twin and (max(height, width) != LONG_SIDE or not least <= min(height, width) <= most):
        findings.add("photographs of another size", f"{path}: is {width}x{height}, MIT1003's have one side of {LONG_SIDE}; {_REFETCH}")
    try:
        read_map(data.map_path(index), path)
    except (OSError, ValueError) as error:
        findings.add("missing or unfit maps", one_line(error))
    try:
        points = data.fixations(index)
        return None if points is None else len(points)
    except (OSError, ValueError) as error:
        findings.add("unfit points", one_line(error))
        return None


def _check_strays(data: MIT1003, findings: Findings) -> None:
    """Maps and points whose photograph is not there. The archive holds one file without its underscore, which belongs to nothing."""
    stems = {data.name(i) for i in range(len(data))}
    for suffix in ("_fixMap.jpg", "_fixPts.jpg"):
        for path in list_files(unnested(data.root, "ALLFIXATIONMAPS"), suffix):
            if path.name.removesuffix(suffix) not in stems:
                findings.add("maps without a photograph", f"{path}: its photograph is not in ALLSTIMULI; {_REFETCH}")


def _compare(data: MIT1003, points: dict[str, int], report: Report, *, scanpaths: bool) -> None:
    if data.is_twin:
        try:
            counts = read_json(data.root / TWIN_FILE)["counts"]
            report.add(f"synthetic twin: compared with its own {TWIN_FILE}, not with the published counts")
            report.compare("photographs", len(data), int(counts["images"]))
            report.compare("fixations", sum(points.values()), int(counts["fixations"]))
        except (ValueError, KeyError, TypeError, ArithmeticError) as error:
            report.add(f"{data.root / TWIN_FILE}: not a twin's description ({one_line(error)}); write the twin again", problem=True)
        return
    report.compare("photographs", len(data), IMAGES)
    if len(points) == len(data):
        report.add(f"fixated pixels: {sum(points.values()):,} in {len(points):,} pictures")
    elif points:
        lacking = len(data) - len(points)
        report.add(f"fixPts: readable for {len(points):,} photographs, not for {lacking:,}; {_REFETCH}", problem=True)
    elif scanpaths:
        report.add("no fixPts: fixations are those of the scanpaths")
    else:
        report.add("no fixPts: only the blurred maps are here, so CC, SIM and KL can be computed, AUC and NSS cannot", warning=True)
