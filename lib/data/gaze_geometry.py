"""Geometry of gaze on a hand-held screen: points on the glass <-> centimetres from the camera.

GazeCapture (Krafka et al., "Eye Tracking for Everyone", CVPR 2016, section 4.1 and figure 6) predicts gaze in one space for all
devices: the camera is the origin, x points right and y up as the user sees them, the unit is the centimetre, and the camera
stays where it is when the device is turned. The device table and the four orientations follow that release
(github.com/CSAILVision/GazeCapture: code/apple_device_data.csv, screen2cam.m, cam2screen.m). Columns of the table that no
conversion needs (pixels per inch, position inside the case) are left out.

"Learning to Zoom" (Recasens et al., ECCV 2018, section 4.1) ends its task network in a sigmoid and never says how [0, 1] maps to
gaze. Two readings are defensible and both are here behind one interface, `GazeTarget`: `CameraTarget` (a fixed box around the
camera, comparable with iTracker) and `ScreenTarget` (fractions of the screen, which can never miss the glass and so flatters
the error).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

PORTRAIT, UPSIDE_DOWN, HOME_RIGHT, HOME_LEFT = 1, 2, 3, 4  # UIInterfaceOrientation, as screen.json has it
KINDS = ("iphone", "ipad")


@dataclass(frozen=True)
class Device:
    """One row of apple_device_data.csv, device upright; lengths in mm, screen sizes in points (None: no Display Zoom)."""

    name: str
    camera_x_mm: float  # the camera is this far right of the screen's left edge
    camera_y_mm: float  # and this far above its top edge
    width_mm: float
    height_mm: float
    width_points: int
    height_points: int
    zoomed_points: tuple[int, int] | None = None

    @property
    def kind(self) -> str:
        """The column of Table 1 that it counts in: "iphone" or "ipad"."""
        return "ipad" if self.name.lower().startswith("ipad") else "iphone"


_TABLE = (
    Device("iPhone 6s Plus", 23.54, 8.66, 68.36, 121.54, 414, 736, (375, 667)),
    Device("iPhone 6s", 18.61, 8.04, 58.49, 104.05, 375, 667, (320, 568)),
    Device("iPhone 6 Plus", 23.54, 8.65, 68.36, 121.54, 414, 736, (375, 667)),
    Device("iPhone 6", 18.61, 8.03, 58.5, 104.05, 375, 667, (320, 568)),
    Device("iPhone 5s", 25.85, 10.65, 51.7, 90.39, 320, 568),
    Device("iPhone 5c", 25.85, 10.64, 51.7, 90.39, 320, 568),
    Device("iPhone 5", 25.85, 10.65, 51.7, 90.39, 320, 568),
    Device("iPhone 4s", 14.96, 9.78, 49.92, 74.88, 320, 480),
    Device("iPad Mini", 60.7, 8.7, 121.3, 161.2, 768, 1024),
    Device("iPad Air 2", 76.86, 7.37, 153.71, 203.11, 768, 1024),
    Device("iPad Air", 74.4, 9.9, 149.0, 198.1, 768, 1024),
    Device("iPad 4", 74.5, 10.5, 149.0, 198.1, 768, 1024),
    Device("iPad 3", 74.5, 10.5, 149.0, 198.1, 768, 1024),
    Device("iPad 2", 74.5, 10.5, 149.0, 198.1, 768, 1024),
    Device("iPad Pro", 98.31, 10.69, 196.61, 262.15, 1024, 1366, (768, 1024)),
)
DEVICES: dict[str, Device] = {entry.name.lower(): entry for entry in _TABLE}


def device(name: str) -> Device:
    """The device of that name; case and outer blanks do not matter (the released MATLAB code compares with strcmpi)."""
    found = DEVICES.get(str(name).strip().lower())
    if found is None:
        raise ValueError(f"unknown device {name!r}; known: {', '.join(entry.name for entry in _TABLE)}")
    return found


def kind(name: str) -> str:
    """The kind of a device of the table, by name: "iphone" or "ipad"."""
    return device(name).kind


Names = str | Device | Sequence[str] | NDArray


def _lengths_mm(devices: Names) -> NDArray[np.float64]:
    """(..., 4): camera_x, camera_y, width, height in mm, for one device or for a column of names."""
    if isinstance(devices, (str, Device)):
        entry = devices if isinstance(devices, Device) else device(devices)
        return np.array([entry.camera_x_mm, entry.camera_y_mm, entry.width_mm, entry.height_mm])
    seen: dict[str, NDArray[np.float64]] = {}
    rows = [seen[name] if name in seen else seen.setdefault(name, _lengths_mm(str(name))) for name in devices]
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def _orientations(orientation: ArrayLike) -> NDArray[np.int64]:
    values = np.asarray(orientation)
    if not np.isin(values, (PORTRAIT, UPSIDE_DOWN, HOME_RIGHT, HOME_LEFT)).all():
        wrong = np.setdiff1d(values, (1, 2, 3, 4))
        raise ValueError(f"orientation {wrong.tolist()}: known are 1 portrait, 2 upside down, 3 home right, 4 home left")
    return values.astype(np.int64)


def _top_left_mm(devices: Names, orientation: NDArray[np.int64]) -> NDArray[np.float64]:
    """(..., 2): where the top-left corner of the screen lies, as seen in this orientation, from the camera; x right, y up."""
    right, above, width, height = np.moveaxis(_lengths_mm(devices), -1, 0)
    choices = [orientation == value for value in (PORTRAIT, UPSIDE_DOWN, HOME_RIGHT, HOME_LEFT)]
    x = np.select(choices, [-right, right - width, above, -above - height])
    y = np.select(choices, [-above, above + height, width - right, right])
    return np.stack([x, y], axis=-1)


def screen_size_cm(devices: Names, orientation: ArrayLike) -> NDArray[np.float64]:
    """(..., 2): (width, height) of the glass in cm as seen in that orientation; (2,) for one device and one orientation."""
    turned = _orientations(orientation) >= HOME_RIGHT
    width, height = np.moveaxis(_lengths_mm(devices)[..., 2:], -1, 0)
    return np.stack([np.where(turned, height, width), np.where(turned, width, height)], axis=-1) / 10


def screen_to_camera(
    xy_points: ArrayLike, *, device: Names, orientation: ArrayLike, screen_points: ArrayLike
) -> NDArray[np.float64]:
    """Points on the screen -> cm from the camera.

    xy_points (N, 2) from the top-left corner of the screen as it is held, x right, y down; device one or (N,) names; orientation
    scalar or (N,); screen_points (2,) or (N, 2), the (W, H) of screen.json. Returns (N, 2) float64, x right, y up. The active
    area is taken to fill the glass, as in the release (screen2cam.m): that is what makes Display Zoom come out right.
    """
    orientation = _orientations(orientation)
    size_mm = 10 * screen_size_cm(device, orientation)
    mm = np.asarray(xy_points, dtype=np.float64) * (size_mm / np.asarray(screen_points, dtype=np.float64))
    # In every orientation the way from the corner is (+x, -y): the release's four pairs of formulae differ in the corner alone.
    return (_top_left_mm(device, orientation) + mm * (1.0, -1.0)) / 10


def camera_to_screen(
    camera_cm: ArrayLike, *, device: Names, orientation: ArrayLike, screen_points: ArrayLike
) -> NDArray[np.float64]:
    """cm from the camera -> points on the screen: the inverse of `screen_to_camera` (cam2screen.m), same conventions."""
    orientation = _orientations(orientation)
    size_mm = 10 * screen_size_cm(device, orientation)
    mm = (10 * np.asarray(camera_cm, dtype=np.float64) - _top_left_mm(device, orientation)) * (1.0, -1.0)
    return mm * (np.asarray(screen_points, dtype=np.float64) / size_mm)


class GazeLabels(Protocol):
    """The columns that a target reads; a `lib.data.gazecapture.GazeCapture` has them, and so has any batch cut from one."""

    camera_cm: NDArray[np.float64]  # (N, 2)
    screen_points: NDArray[np.float64]  # (N, 2)
    screen_size_points: NDArray[np.float64]  # (N, 2) as (W, H)
    screen_size_cm: NDArray[np.float64]  # (N, 2) as (W, H)


class GazeTarget(Protocol):
    """What a sigmoid's two outputs mean: `encode` gives (N, 2) in [0, 1], `error_cm` the Euclidean miss of each sample, (N,)."""

    name: str

    def encode(self, labels: GazeLabels) -> NDArray[np.float64]: ...

    def error_cm(self, prediction: ArrayLike, labels: GazeLabels) -> NDArray[np.float64]: ...


def _pairs(prediction: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(prediction, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != 2:
        raise ValueError(f"predictions must be (N, 2), x first, not {values.shape}")
    return values


@dataclass(frozen=True)
class CameraTarget:
    """[0, 1] spans a fixed square around the camera; the reading used for the headline numbers.

    -27.5 to 27.5 cm is ours: it covers every point of every device of the table (the iPad Pro reaches 27.3 cm). Camera space
    and the screen in cm differ by a rigid motion and a flip, so the error is also the distance on the glass.
    """

    low: float = -27.5
    high: float = 27.5
    name: str = "camera"

    def encode(self, labels: GazeLabels) -> NDArray[np.float64]:
        """Labels outside the box are clipped here, never in `error_cm`."""
        return np.clip((_pairs(labels.camera_cm) - self.low) / (self.high - self.low), 0.0, 1.0)

    def decode(self, prediction: ArrayLike) -> NDArray[np.float64]:
        """(N, 2) in [0, 1] -> (N, 2) cm from the camera."""
        return self.low + (self.high - self.low) * _pairs(prediction)

    def error_cm(self, prediction: ArrayLike, labels: GazeLabels) -> NDArray[np.float64]:
        return np.linalg.norm(self.decode(prediction) - labels.camera_cm, axis=1)


@dataclass(frozen=True)
class ScreenTarget:
    """[0, 1] spans the screen as it is held, x right and y down from its top-left corner; the device is needed for cm only."""

    name: str = "screen"

    def encode(self, labels: GazeLabels) -> NDArray[np.float64]:
        """Dots reported outside the screen are clipped here, never in `error_cm`."""
        return np.clip(_pairs(labels.screen_points) / labels.screen_size_points, 0.0, 1.0)

    def decode(self, prediction: ArrayLike, labels: GazeLabels) -> NDArray[np.float64]:
        """(N, 2) in [0, 1] -> (N, 2) points on the screens of these labels."""
        return _pairs(prediction) * labels.screen_size_points

    def error_cm(self, prediction: ArrayLike, labels: GazeLabels) -> NDArray[np.float64]:
        missed = _pairs(prediction) - labels.screen_points / labels.screen_size_points
        return np.linalg.norm(missed * labels.screen_size_cm, axis=1)
