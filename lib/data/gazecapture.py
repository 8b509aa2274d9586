"""GazeCapture as its authors publish it: one folder per subject, full camera frames, JSON beside them.

Krafka et al., "Eye Tracking for Everyone", CVPR 2016; layout from the README and loadSubject.m of
github.com/CSAILVision/GazeCapture. "Learning to Zoom" (ECCV 2018, section 4.1) gives its network one whole frame, so this reads
`frames/`; the crops and the metadata.mat that the PyTorch release prepares (it knows neither device nor orientation) are not
needed.

    ROOT/00002/frames/00000.jpg ...   640 x 480 or 480 x 640
    ROOT/00002/{frames,appleFace,appleLeftEye,appleRightEye,faceGrid,dotInfo,screen,info}.json   (motion.json: never read)

Deviations from the released loaders: boxes are not shifted by the pixel or two by which MATLAB and the PyTorch port differ; the
face grid is drawn 1-based, as MATLAB does (the PyTorch port draws it one cell too far right and down); the split is
info.json's, not a reference metadata.mat's.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lib.data import gaze_geometry
from lib.data.files import TWIN_FILE, image_size, is_file_name, numbers, read_json
from lib.data.gazecapture_checks import DETECTIONS, misfits
from lib.data.names import Columns, Names
from lib.files.pictures import read_picture

SPLITS = ("train", "val", "test")
GRID = 25  # cells of the face grid along each side
ARRAY_FILES: dict[str, tuple[str, ...]] = {
    "appleFace": ("X", "Y", "W", "H", "IsValid"),
    "appleLeftEye": ("X", "Y", "W", "H", "IsValid"),
    "appleRightEye": ("X", "Y", "W", "H", "IsValid"),
    "faceGrid": ("X", "Y", "W", "H", "IsValid"),
    "dotInfo": ("DotNum", "XPts", "YPts", "XCam", "YCam", "Time"),
    "screen": ("H", "W", "Orientation"),
}
METADATA = ("frames", "info", *ARRAY_FILES)
Arrays = dict[str, dict[str, NDArray[np.float64]]]  # file -> key -> one value per frame
_REFETCH = "unpack this subject's archive again"
LEAVE_OUT = f"{_REFETCH}, or leave the frame out: set its IsValid in faceGrid.json to 0"


# -------------------------------------------------------------------------------------------------- reading one subject


def read_info(folder: Path) -> dict[str, Any]:
    """info.json, its split and its device checked."""
    path = folder / "info.json"
    info = read_json(path)
    if not isinstance(info, dict) or not {"Dataset", "DeviceName", "TotalFrames"} <= info.keys():
        raise ValueError(f"{path}: lacks Dataset, DeviceName or TotalFrames; {_REFETCH}")
    if info["Dataset"] not in SPLITS:
        raise ValueError(f"{path}: unknown split {info['Dataset']!r}, expected one of {', '.join(SPLITS)}; {_REFETCH}")
    try:
        gaze_geometry.device(info["DeviceName"])
    except ValueError as error:
        raise ValueError(f"{path}: {error}; add its row to lib/data/gaze_geometry.py") from None
    return info


def read_frame_names(folder: Path, info: dict[str, Any]) -> NDArray[np.str_]:
    """(frames,): what frames.json lists, as many as info.json counts."""
    path = folder / "frames.json"
    names = read_json(path)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{path}: is not a list of file names; {_REFETCH}")
    if len(names) != info["TotalFrames"]:
        raise ValueError(f"{path}: lists {len(names)} frames, info.json counts {info['TotalFrames']}; {_REFETCH}")
    if (unfit := next((name for name in names if not is_file_name(name)), None)) is not None:
        raise ValueError(f"{path}: {unfit[:60]!r} is no name of a file; {_REFETCH}")
    if len(set(names)) < len(names):
        ordered = sorted(names)
        twice = next(name for name, after in zip(ordered, ordered[1:], strict=False) if name == after)
        raise ValueError(f"{path}: lists the frame {twice} twice, and its labels would count twice; {_REFETCH}")
    return np.array(names, dtype=np.str_)


def read_arrays(folder: Path, *, frames: int) -> Arrays:
    """file -> key -> (frames,) float64 for every file of arrays; JSON's null becomes NaN."""
    read: Arrays = {}
    for name, keys in ARRAY_FILES.items():
        path = folder / f"{name}.json"
        content = read_json(path)
        if not isinstance(content, dict) or not set(keys) <= content.keys():
            raise ValueError(f"{path}: lacks one of {', '.join(keys)}; {_REFETCH}")
        for key in keys:
            if not isinstance(content[key], list) or len(content[key]) != frames:
                length = len(content[key]) if isinstance(content[key], list) else "no list"
                raise ValueError(f"{path}: {key} has {length} entries, frames.json has {frames}; {_REFETCH}")
        try:
            read[name] = {key: numbers(content[key]) for key in keys}
        except ValueError as error:
            raise ValueError(f"{path}: {error}; {_REFETCH}") from None
        if name in DETECTIONS and not np.isin(read[name]["IsValid"], (0, 1)).all():
            raise ValueError(f"{path}: IsValid is {np.setdiff1d(read[name]['IsValid'], (0, 1))[0]:g}, neither 0 nor 1; {_REFETCH}")
    return read


def valid_frames(arrays: Arrays) -> NDArray[np.bool_]:
    """(frames,): face and both eyes detected, as prepareDataset.py chooses."""
    return np.all([arrays[name]["IsValid"] == 1 for name in DETECTIONS], axis=0)


def check_frames(folder: Path, names: NDArray[np.str_], arrays: Arrays, valid: NDArray[np.bool_]) -> None:
    """ValueError, one line that names subject and frame, for boxes and labels of valid frames that cannot be (see `misfits`)."""
    for file, what, mask in misfits(arrays, valid):
        first = names[np.flatnonzero(mask)[0]]
        raise ValueError(f"{folder / file}: frame {first} of subject {folder.name} is valid, but {what}; {LEAVE_OUT}")


def subject_folders(root: Path) -> list[Path]:
    """The five-digit folders under root, in order; none at all is an error."""
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder; give the one that holds GazeCapture's subjects (00002, ...)")
    found = sorted(entry for entry in root.iterdir() if entry.is_dir() and len(entry.name) == 5 and entry.name.isdigit())
    if not found:
        raise FileNotFoundError(f"{root}: holds no subject folders (00002, ...); unpack the archives of gazecapture.tar here")
    return found


@dataclass(eq=False)
class _Columns:
    """What one subject adds to the columns of `GazeCapture`, N frames long."""

    frame_index: NDArray[np.int64]
    orientation: NDArray[np.int64]
    camera_cm: NDArray[np.float64]
    screen_points: NDArray[np.float64]
    screen_size_points: NDArray[np.float64]
    screen_size_cm: NDArray[np.float64]
    face: NDArray[np.float32]
    left_eye: NDArray[np.float32]
    right_eye: NDArray[np.float32]
    face_grid: NDArray[np.int32]
    valid: NDArray[np.bool_]
    size: NDArray[np.int32]


def _read_subject(folder: Path, info: dict[str, Any], *, valid_only: bool) -> tuple[NDArray[np.str_], _Columns] | None:
    """Its frames' names and columns; None where no frame is kept."""
    names = read_frame_names(folder, info)
    arrays = read_arrays(folder, frames=len(names))
    valid = valid_frames(arrays)
    keep = np.flatnonzero(valid) if valid_only else np.arange(len(names))
    if not len(keep):
        return None

    def stack(name: str, *keys: str) -> NDArray[np.float64]:
        return np.stack([arrays[name][key][keep] for key in keys], axis=1)

    def boxes(name: str) -> NDArray[np.float32]:
        # Eyes are told within the face crop.
        corner = 0.0 if name == "appleFace" else stack("appleFace", "X", "Y", "X", "Y") * (1, 1, 0, 0)
        return np.where(valid[keep, None], stack(name, "X", "Y", "W", "H") + corner, 0).astype(np.float32)  # (N, 4)

    check_frames(folder, names, arrays, valid)
    camera_cm = stack("dotInfo", "XCam", "YCam")
    if not np.isfinite(camera_cm).all():  # of a frame that is kept and not valid
        first = names[keep][~np.isfinite(camera_cm).all(axis=1)][0]
        raise ValueError(f"{folder / 'dotInfo.json'}: XCam or YCam of {first} is not a number; {_REFETCH}")
    device = gaze_geometry.device(info["DeviceName"])
    orientation = arrays["screen"]["Orientation"][keep]
    try:
        size_cm = gaze_geometry.screen_size_cm(device, orientation)
    except ValueError as error:
        raise ValueError(f"{folder / 'screen.json'}: {error}; {_REFETCH}") from None
    return names[keep], _Columns(
        frame_index=keep, orientation=orientation.astype(np.int64),
        camera_cm=camera_cm, screen_points=stack("dotInfo", "XPts", "YPts"), screen_size_points=stack("screen", "W", "H"),
        screen_size_cm=size_cm, face=boxes("appleFace"), left_eye=boxes("appleLeftEye"), right_eye=boxes("appleRightEye"),
        face_grid=np.where(valid[keep, None], stack("faceGrid", "X", "Y", "W", "H"), 0).astype(np.int32), valid=valid[keep],
        size=_sizes(folder, names[keep], orientation),
    )


def _sizes(folder: Path, names: NDArray[np.str_], orientation: NDArray[np.float64]) -> NDArray[np.int32]:
    """(N, 2) as (H, W): the camera turns with the device, so one header per orientation tells; `image` notices exceptions."""
    sizes = np.zeros((len(names), 2), dtype=np.int32)
    for value in np.unique(orientation):
        where = np.flatnonzero(orientation == value)
        sizes[where] = image_size(folder / "frames" / names[where[0]])
    return sizes


# --------------------------------------------------------------------------------------------------------- the data set


class _Paths(Sequence[Path]):
    """The frames' paths, made when asked for: 1.2 million Path objects would take half a gigabyte."""

    def __init__(self, root: Path, subjects: list[str], number: NDArray[np.int32], names: Names) -> None:
        self._root, self._subjects, self._number, self._names = root, subjects, number, names

    def __len__(self) -> int:
        return len(self._number)

    @overload
    def __getitem__(self, index: int) -> Path: ...

    @overload
    def __getitem__(self, index: slice) -> list[Path]: ...

    def __getitem__(self, index: int | slice) -> Path | list[Path]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self._root / self._subjects[self._number[index]] / "frames" / self._names[index]

    def __iter__(self) -> Iterator[Path]:
        return (self[i] for i in range(len(self)))


class GazeCapture(_Columns):
    """One split of GazeCapture as columns, N frames in the order of subjects and frames.

    subject, device, kind, frame_name (N,) str; frame_index, orientation (N,) int; path: sequence of N Path; camera_cm (N, 2)
    float64, x right, y up; screen_points (N, 2), screen_size_points and screen_size_cm (N, 2) as (W, H), of the screen as it was
    held; face, left_eye, right_eye (N, 4) float32 as (x, y, w, h) in pixels of the frame, left_eye being the subject's own, on
    the right of the picture (the JSON tells eyes within the face crop); face_grid (N, 4) as (X, Y, W, H), X and Y from 1; size
    (N, 2) as (H, W); valid (N,) bool, all True unless `valid_only=False`, which also keeps the frames without face and eyes,
    with boxes of zeros.

    devices: "iphone", "ipad", a device's name, or several of these; None takes all. Errors: FileNotFoundError or ValueError, one
    line that names the file.
    """

    def __init__(
        self, root: str | os.PathLike[str], *, split: str, valid_only: bool = True, devices: str | Iterable[str] | None = None
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split {split!r}: GazeCapture has {', '.join(SPLITS)}")
        self.root, self.split = Path(root), split
        wanted = _device_names(devices)
        columns, self._names = Columns(), Names()
        self._subjects: list[str] = []
        self._devices: list[gaze_geometry.Device] = []  # of each subject
        counts: list[int] = []
        for folder in subject_folders(self.root):
            info = read_info(folder)
            device = gaze_geometry.device(info["DeviceName"])
            if info["Dataset"] != split or device.name not in wanted:
                continue
            if (part := _read_subject(folder, info, valid_only=valid_only)) is None:
                continue  # 3 of the 1,474 subjects have no frame with face and eyes
            names, added = part
            for name in names:
                self._names.append(name)
            columns.add(vars(added))
            self._subjects.append(folder.name)
            self._devices.append(device)
            counts.append(len(names))
        if not counts:
            where = f"in split {split!r}{'' if devices is None else ' on these devices'}"
            raise ValueError(f"{self.root}: no usable frame {where}; unpack more subjects")
        super().__init__(**columns.whole())
        self._subject = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        self.path = _Paths(self.root, self._subjects, self._subject, self._names)

    # Texts are made when first asked for: on half a million frames they would take as much as all numbers together.

    @cached_property
    def subject(self) -> NDArray[np.str_]:
        return np.array(self._subjects)[self._subject]

    @cached_property
    def device(self) -> NDArray[np.str_]:
        return np.array([device.name for device in self._devices])[self._subject]

    @cached_property
    def kind(self) -> NDArray[np.str_]:
        return np.array([device.kind for device in self._devices])[self._subject]

    @cached_property
    def frame_name(self) -> NDArray[np.str_]:
        return np.array(list(self._names))

    def __len__(self) -> int:
        return len(self._subject)

    def __repr__(self) -> str:
        return f"GazeCapture({str(self.root)!r}, split={self.split!r}): {len(self)} frames of {len(self._subjects)} subjects"

    def image(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) RGB of frame `index`."""
        path = self.path[index]
        pixels = np.array(read_picture(path, mode="photograph", remedy=_REFETCH))
        if pixels.shape[:2] != tuple(self.size[index]):
            height, width = self.size[index]
            found = f"{pixels.shape[1]} x {pixels.shape[0]}, the subject's other frames in this orientation {width} x {height}"
            raise ValueError(f"{path}: {found}; {_REFETCH}")
        return pixels

    @cached_property
    def twin(self) -> dict[str, Any] | None:
        """The content of TWIN.json if these are synthetic data, else None."""
        return read_json(self.root / TWIN_FILE) if self.is_twin else None

    @property
    def is_twin(self) -> bool:
        return (self.root / TWIN_FILE).is_file()

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over this selection: the metadata's bytes, the frames' names and sizes. Made when first asked for."""
        digest = hashlib.sha256()
        for number, subject in enumerate(self._subjects):
            folder = self.root / subject
            for name in METADATA:
                digest.update((folder / f"{name}.json").read_bytes())
            sizes = {entry.name: entry.stat().st_size for entry in os.scandir(folder / "frames")}
            first, last = np.searchsorted(self._subject, [number, number + 1])
            for name in self._names[first:last]:
                digest.update(f"{subject}/{name} {sizes.get(name)}\n".encode())
        return digest.hexdigest()[:16]


def _device_names(devices: str | Iterable[str] | None) -> set[str]:
    """The table's names that a choice of devices stands for."""
    if devices is None:
        devices = gaze_geometry.KINDS
    chosen = [devices] if isinstance(devices, str) else list(devices)
    names: set[str] = set()
    for choice in chosen:
        of_kind = {entry.name for entry in gaze_geometry.DEVICES.values() if entry.kind == choice.strip().lower()}
        names |= of_kind or {gaze_geometry.device(choice).name}
    return names


def face_grid_mask(grid_xywh: ArrayLike) -> NDArray[np.float32]:
    """(..., 4) as (X, Y, W, H), X and Y from 1 -> (..., 25, 25) of 0 and 1, rows down.

    As faceGridFromParams.m draws it: both ends are clamped into the grid, so a box outside still marks a border cell.
    """
    grid = np.asarray(grid_xywh, dtype=np.int64)
    low = np.clip(grid[..., :2], 1, GRID)
    high = np.clip(grid[..., :2] + grid[..., 2:] - 1, 1, GRID)
    cells = np.arange(1, GRID + 1)
    inside = (cells >= low[..., None]) & (cells <= high[..., None])  # (..., 2, 25), x first
    return (inside[..., 1, :, None] & inside[..., 0, None, :]).astype(np.float32)
