"""What cannot be in GazeCapture's arrays, frame by frame: told by the loader for the first frame, counted by `verify`.

Only frames count that are used: those with face, eyes and face grid (IsValid 1). All is computed over whole arrays, as there are 2.4
million frames. Boxes may reach outside their frame, as a face at its edge does; they must have an area, and be numbers of pixels.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

FAR_PX, FAR_CM = 10_000, 100  # frames are 640 pixels; the farthest point of any screen is 27 cm from its camera
DETECTIONS = ("appleFace", "appleLeftEye", "appleRightEye", "faceGrid")
Masks = Iterator[tuple[str, str, NDArray[np.bool_]]]  # file, what is wrong, (frames,) where


def misfits(arrays: dict[str, dict[str, NDArray[np.float64]]], used: NDArray[np.bool_]) -> Masks:
    """What is wrong in the frames that are `used` (frames,), kind by kind; nothing is yielded for what holds everywhere."""
    for file in DETECTIONS:
        box = arrays[file]
        sides = np.stack([box[key] for key in ("X", "Y", "W", "H")])  # (4, frames)
        known = np.isfinite(sides).all(axis=0)
        yield from _where(f"{file}.json", "its box is null or no finite number", used & ~known)
        small = known & (sides[2:] <= 0).any(axis=0)
        yield from _where(f"{file}.json", "its box has a width or a height of 0 or less", used & small)
        far = known & ~small & (np.abs(sides) > FAR_PX).any(axis=0)
        yield from _where(f"{file}.json", f"its box lies more than {FAR_PX:,} pixels away", used & far)
    yield from _labels(arrays["dotInfo"], arrays["screen"], used)


def _labels(dot: dict[str, NDArray[np.float64]], screen: dict[str, NDArray[np.float64]], used: NDArray[np.bool_]) -> Masks:
    for keys in (("XCam", "YCam"), ("XPts", "YPts")):
        finite = np.isfinite(dot[keys[0]]) & np.isfinite(dot[keys[1]])
        yield from _where("dotInfo.json", f"its {keys[0]} or {keys[1]} is not a number", used & ~finite)
    far = np.maximum(np.abs(dot["XCam"]), np.abs(dot["YCam"])) > FAR_CM
    yield from _where("dotInfo.json", f"its XCam or YCam is more than {FAR_CM} cm from the camera", used & far)
    area = np.isfinite(screen["W"]) & np.isfinite(screen["H"]) & (screen["W"] > 0) & (screen["H"] > 0)
    yield from _where("screen.json", "its W or H is no size of a screen", used & ~area)


def _where(file: str, what: str, mask: NDArray[np.bool_]) -> Masks:
    if mask.any():
        yield file, what, mask
