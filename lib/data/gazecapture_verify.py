"""Checks a GazeCapture on disk against its published layout and counts, and says what is missing.

`python -m lib verify gazecapture DIR` prints the report. Counts are those of the release (README of
github.com/CSAILVision/GazeCapture) and of the split that goes with it; numbers that are quoted elsewhere but not in the release
warn and do not fail. A synthetic twin is compared with its own TWIN.json.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.data import gaze_geometry, gazecapture
from lib.data.files import TWIN_FILE, read_json
from lib.data.gazecapture import SPLITS
from lib.data.gazecapture_checks import misfits
from lib.data.report import Report
from lib.files.pictures import read_picture

# README of the release: 1474 subjects, 2,445,504 frames, 1,490,959 of them with Apple's detections of face and both eyes.
PUBLISHED = {"subjects": 1474, "frames": 2_445_504, "valid_frames": 1_490_959}
# Recordings with at least one such frame, counted in metadata/reference_data_split.json of a public fork (MSREnable/GazeCapture).
PUBLISHED_SUBJECTS = {"train": 1271, "val": 50, "test": 150}
# Quoted in the literature, not found in the release (they add up to its total): a difference is a warning.
QUOTED_FRAMES = {"train": 1_251_983, "val": 59_480, "test": 179_496}
_UNPACK = "unpack this subject's archive again"


@dataclass
class _Counts:
    """What the metadata of a split say."""

    subjects: int = 0
    with_valid: int = 0
    frames: int = 0
    valid_frames: int = 0
    unfit: int = 0  # valid frames with a box or a label that cannot be


def verify(
    root: str | os.PathLike[str], *, images: int | None = 2000, seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> Report:
    """Check the folder of subjects at root; problems go into the report, nothing is raised.

    images: how many frames are decoded, drawn at random over all subjects (None: every frame, which takes hours on the real data;
    0: none). Whether each listed frame's file exists is always checked. progress(done, total) is called after each subject.
    """
    root, report = Path(root), Report()
    try:
        folders = gazecapture.subject_folders(root)
    except OSError as error:
        report.add(str(error), problem=True)
        return report
    counts: dict[str, _Counts] = {split: _Counts() for split in SPLITS}
    frames = []
    for done, folder in enumerate(folders, start=1):
        frames.append(_check_subject(folder, counts, report))
        if progress is not None:
            progress(done, len(folders))
    if report.ok:
        report.add(f"metadata of {len(folders):,} subject folders: complete, arrays of equal length, devices and splits known")
    if unfit := sum(count.unfit for count in counts.values()):
        report.add(f"{root}: {unfit:,} valid frames in all have boxes or labels that cannot be; the loader refuses them", problem=True)
    _check_counts(root, counts, report)
    _check_images(frames, images, seed, report)
    return report


@dataclass
class _Frames:
    """The frames of a subject that are there, told compactly: there are 2.4 million."""

    directory: Path
    names: NDArray[np.str_]
    orientations: NDArray[np.float64]


def _check_subject(folder: Path, counts: dict[str, _Counts], report: Report) -> _Frames:
    """Count one subject; problems go into the report."""
    try:
        info = gazecapture.read_info(folder)
        names = gazecapture.read_frame_names(folder, info)
        arrays = gazecapture.read_arrays(folder, frames=len(names))
    except (OSError, ValueError) as error:
        report.add(str(error), problem=True)
        return _Frames(folder, np.array([], dtype=np.str_), np.array([]))
    valid = gazecapture.valid_frames(arrays)
    count = counts[info["Dataset"]]
    count.subjects += 1
    count.with_valid += bool(valid.any())
    count.frames += len(names)
    count.valid_frames += int(valid.sum())
    count.unfit += (unfit := _check_frames(folder, names, arrays, valid, report))
    if not unfit:
        _check_labels(folder, info, arrays, valid, report)
    directory = folder / "frames"
    there = np.isin(names, np.array(os.listdir(directory) if directory.is_dir() else [], dtype=np.str_))
    if not there.all():
        missing = names[~there].tolist()
        some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        report.add(f"{directory}: {len(missing)} of {len(names)} frames missing ({some}); {_UNPACK}", problem=True)
    return _Frames(directory, names[there], arrays["screen"]["Orientation"][there])


def _check_frames(folder: Path, names: np.ndarray, arrays: gazecapture.Arrays, valid: np.ndarray, report: Report) -> int:
    """How many valid frames have boxes or labels that cannot be; a line for each kind."""
    unfit = np.zeros(len(names), dtype=bool)
    for file, what, mask in misfits(arrays, valid):
        report.add(f"{folder / file}: {int(mask.sum()):,} valid frames of subject {folder.name}, {names[np.flatnonzero(mask)[0]]} for one: {what}; "
                   f"{gazecapture.LEAVE_OUT}", problem=True)
        unfit |= mask
    return int(unfit.sum())


def _check_labels(folder: Path, info: dict[str, Any], arrays: gazecapture.Arrays, valid: np.ndarray, report: Report) -> None:
    """Whether XCam, YCam are what the device, the orientation and XPts, YPts make of them."""
    dot, screen, path = arrays["dotInfo"], arrays["screen"], folder / "dotInfo.json"
    recorded = np.stack([dot["XCam"], dot["YCam"]], axis=1)[valid]  # (n, 2)
    try:
        computed = gaze_geometry.screen_to_camera(
            np.stack([dot["XPts"], dot["YPts"]], axis=1)[valid], device=info["DeviceName"],
            orientation=screen["Orientation"][valid], screen_points=np.stack([screen["W"], screen["H"]], axis=1)[valid],
        )
    except ValueError as error:
        report.add(f"{folder / 'screen.json'}: {error}", problem=True)
        return
    apart = np.abs(computed - recorded).max(initial=0.0)
    if not apart < 0.05:  # the release rounds nothing, but half a millimetre is below anything that matters here
        report.add(f"{path}: XCam, YCam are up to {apart:.2f} cm from what XPts, YPts and the device give", warning=True)


def _check_counts(root: Path, counts: dict[str, _Counts], report: Report) -> None:
    total = {key: sum(getattr(count, key) for count in counts.values()) for key in PUBLISHED}
    if (root / TWIN_FILE).is_file():
        _check_twin(root, counts, report)
        return
    for key, expected in PUBLISHED.items():
        report.compare(key.replace("_", " "), total[key], expected)
    for split in SPLITS:
        report.compare(f"{split} subjects with a usable frame", counts[split].with_valid, PUBLISHED_SUBJECTS[split])
        report.compare(f"{split} usable frames", counts[split].valid_frames, QUOTED_FRAMES[split], only_warn=True)


def _check_twin(root: Path, counts: dict[str, _Counts], report: Report) -> None:
    try:
        twin = read_json(root / TWIN_FILE)
        report.add(f"synthetic twin, seed {twin['seed']}: compared with its own {TWIN_FILE}, not with the published counts")
        for split in SPLITS:
            for key, expected in twin["counts"][split].items():
                report.compare(f"{split} {key.replace('_', ' ')}", getattr(counts[split], key), expected)
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        report.add(f"{root / TWIN_FILE}: not a twin's description ({error!r}); write the twin again", problem=True)


def _check_images(frames: list[_Frames], images: int | None, seed: int, report: Report) -> None:
    """Decode some frames, or all; a shape that does not go with the orientation is a problem too."""
    ends = np.cumsum([len(subject.names) for subject in frames])
    total = int(ends[-1])
    chosen = np.arange(total) if images is None else np.sort(np.random.default_rng(seed).permutation(total)[:images])
    for index in chosen:
        which = int(np.searchsorted(ends, index, side="right"))
        place = int(index - ends[which])  # from the end
        problem = _image_problem(frames[which].directory / str(frames[which].names[place]), frames[which].orientations[place])
        if problem:
            report.add(problem, problem=True)
    report.add(f"frames decoded: {len(chosen):,} of {total:,}{'' if len(chosen) == total else ', drawn at random'}")


def _image_problem(path: Path, orientation: float) -> str | None:
    try:
        size = read_picture(path, mode="photograph", remedy=_UNPACK).shape[1::-1]
    except (OSError, ValueError) as error:
        return str(error)
    expected = (480, 640) if orientation in (1, 2) else (640, 480)
    if size != expected:
        return f"{path}: {size[0]} x {size[1]}, orientation {orientation:g} goes with {expected[0]} x {expected[1]}; {_UNPACK}"
    return None
