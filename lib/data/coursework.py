"""The files of a university coursework on Mr-CNN: crops to train on, whole photographs to validate and test on.

`train_data.pth.tar`, `val_data.pth.tar`, `test_data.pth.tar`: not archives but `torch.save` of a list of dicts. They are MIT1003
cut up, and not public; the format is known from the students' code (LewisClifton/ADL-Coursework; see data/coursework.md).

    train       X float (3 scales, 3 channels, 42, 42), y 0 or 1, file "<stem>.jpeg"
    val, test   X float (3, H, W), y -1, file; X_400 (3, 400, 400), X_250, X_150: the photograph squashed to squares;
                spatial_coords (2500, 2): the centres (y, x) in the photograph's pixels, 50 x 50, row by row

Scales are in the order 400, 250, 150. A crop's first axis is the scale, its second the channel. Both have three entries, so no
shape tells a swapped file; `axis_order` tells it by the pixels, as the three channels of one crop resemble one another more than
one channel of three scales. The coursework's own code swaps the two when it cuts the crops of validation and test photographs.

Deviations: what a file holds is told by the entries and by which function is called, never by its path (the original takes any
path with "train" in it for training data). Nothing in a file is executed. Values are taken to be normalised with ImageNet's mean
and deviation: crops are drawn with values within those bounds, but the constants are stated nowhere; `round_trip_error` is near
0 where they are right. How centres and squares were made is not known either: `lib.data.coursework_miniature` says what it does.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lib.data.files import image_size
from lib.data.mit1003 import THRESHOLD, unnested
from lib.data.saliency import Photographs, digest, read_map, read_points, read_true_density
from lib.models.backbones import IMAGENET_NORMALIZATION

FILES = {"train": "train_data.pth.tar", "val": "val_data.pth.tar", "test": "test_data.pth.tar"}
SCALES = (400, 250, 150)  # pixels: sides of the squares, in the order of a crop's first axis
CROP = 42
GRID = 50  # centres each way
FLAT_MOST = 0.5  # share of crops without any structure: real photographs have skies, files that were zeroed nothing else
LARGEST_SIDE = 8192  # of a photograph; a damaged header may claim any size
BEYOND = 0.5  # how far a normalised value may lie beyond black (-2.12) and white (2.64): filters overshoot when they resize
_MEAN, _DEVIATION = (torch.tensor(values)[:, None, None] for values in IMAGENET_NORMALIZATION)  # (3, 1, 1)
_BLACK, _WHITE = float((-_MEAN / _DEVIATION).min()), float(((1 - _MEAN) / _DEVIATION).max())


@dataclass(frozen=True, repr=False)
class CourseworkCrops:
    """Training crops: `X` n of (3 scales, 3 channels, 42, 42) as in the file, `y` (n,) int64 in {0, 1}, `files` n file names."""

    path: Path
    X: Sequence[Tensor]
    y: Tensor
    files: list[str]

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Float32 (B, 3 scales, 3 channels, 42, 42) and labels (B,) int64."""
        return torch.stack([self.X[int(i)] for i in indices]).float(), self.y[torch.as_tensor(indices)]


@dataclass(frozen=True, repr=False)
class CourseworkImage:
    """One photograph, normalised: `image` (3, H, W), `squares` {400: (3, 400, 400), 250: ..., 150: ...}, `spatial_coords` (2500, 2) (y, x)."""

    name: str  # without suffix
    file: str
    image: Tensor
    squares: dict[int, Tensor]
    spatial_coords: Tensor

    def crops(self, indices: Sequence[int] | slice = slice(None)) -> Tensor:
        """The crops around some of the centres: (n, 3 scales, 3 channels, 42, 42), the axes as in training."""
        return cut_crops(self.squares, self.spatial_coords[indices], tuple(self.image.shape[-2:]))


def read_train(path: str | Path, *, check_axes: bool = True) -> CourseworkCrops:
    """The crops of a training file; they stay on disk until they are used, where the file allows it.

    `check_axes`: refuse a file whose pixels say that channel comes before scale, or that they are not normalised. FileNotFoundError or
    ValueError, one line that names file and entry, for whatever else is wrong.
    """
    path, entries = Path(path), _load(Path(path))
    if {"X_400", "spatial_coords"} & set(entries[0]):
        raise ValueError(f"{path}: holds whole photographs, not crops: a validation or test file; read it with read_images")
    X, y, files = [], [], []
    for index, entry in enumerate(entries):
        where = _where(path, index, entry, ("X", "y", "file"))
        X.append(_pixels(entry["X"], (len(SCALES), 3, CROP, CROP), f"{where}: X"))
        y.append(_label(entry["y"], (0, 1), where))
        files.append(entry["file"])
    crops = CourseworkCrops(path, X, torch.tensor(y), files)
    some = range(0, len(crops), max(1, len(crops) // 1000))
    if check_axes and axis_order(crops.batch(list(some))[0]) == "channel, scale":
        raise ValueError(f"{path}: its crops look like (channel, scale, 42, 42), training needs (scale, channel, 42, 42); "
                         "turn each X with transpose(0, 1), or read it as it is with check_axes=False")
    if check_axes and (problem := implausible_pixels(crops)) is not None:
        raise ValueError(f"{path}: {problem}; copy the file again, check_axes=False reads it as it is")
    return crops


def implausible_pixels(crops: CourseworkCrops) -> str | None:
    """What cannot be about the pixels of training crops as a whole: from 0 to 1, or nothing in them. None if they can be."""
    some = [crops.X[i] for i in range(0, len(crops), max(1, len(crops) // 1000))]
    flat = sum(float(X.max()) == float(X.min()) for X in some) / len(some)
    if flat > FLAT_MOST:
        return f"{flat:.0%} of its crops have one value everywhere"
    if min(float(X.min()) for X in some) >= 0 and max(float(X.max()) for X in some) <= 1:
        return "its pixels lie from 0 to 1, so they are not normalised by ImageNet's mean and deviation"
    return None


def read_images(path: str | Path) -> list[CourseworkImage]:
    """The photographs of a validation or test file. FileNotFoundError or ValueError, one line that names file and entry."""
    path, entries = Path(path), _load(Path(path))
    if "X_400" not in entries[0] and isinstance(entries[0].get("X"), Tensor) and entries[0]["X"].ndim == 4:
        raise ValueError(f"{path}: holds crops, not whole photographs: a training file; read it with read_train")
    images: dict[str, CourseworkImage] = {}
    for index, entry in enumerate(entries):
        where = _where(path, index, entry, ("X", "y", "file", "spatial_coords", *(f"X_{side}" for side in SCALES)))
        _label(entry["y"], (-1,), where)
        image = _pixels(entry["X"], (3, None, None), f"{where}: X")
        squares = {side: _pixels(entry[f"X_{side}"], (3, side, side), f"{where}: X_{side}") for side in SCALES}
        coords = _centres(entry["spatial_coords"], tuple(image.shape[-2:]), where)
        name = Path(entry["file"]).stem  # it may hold other dots
        if name in images:
            raise ValueError(f"{where}: {name} is there a second time; remove one of the entries")
        images[name] = CourseworkImage(name, entry["file"], image, squares, coords)
    return list(images.values())


def _load(path: Path) -> list[dict[str, Any]]:
    """What `torch.save` wrote, if it is a list of dicts; tensors stay on disk where the file is of torch's newer format."""
    try:
        with open(path, "rb") as file:
            on_disk = file.read(4) == b"PK\x03\x04"  # the older format cannot be mapped
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols
            entries = torch.load(path, map_location="cpu", weights_only=True, mmap=on_disk)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: missing; see data/coursework.md") from None
    except Exception as error:  # whatever a damaged file makes the unpickler raise; its advice is to execute the file, so not quoted
        raise ValueError(f"{path}: not readable as tensors, numbers and text ({type(error).__name__}), and nothing in it was executed; "
                         "it is damaged, or none of the coursework's files: copy it again") from None
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        kind = "an empty list" if entries == [] else type(entries).__name__
        raise ValueError(f"{path}: holds {kind}, not the coursework's list of dicts; copy it again")
    return entries


def _where(path: Path, index: int, entry: dict[str, Any], keys: Sequence[str]) -> str:
    """How errors name an entry, whose keys and file name are checked here."""
    where, file = f"{path}: entry {index}", entry.get("file")
    absent = [key for key in keys if key not in entry]
    if absent:
        raise ValueError(f"{where}: has no {', '.join(absent)}; an entry here needs {', '.join(keys)}; copy the file again")
    if not isinstance(file, str) or not re.fullmatch(r"[^/\\\x00-\x1f]+\.jpe?g", file, re.IGNORECASE):
        raise ValueError(f"{where}: file is {str(file)[:80]!r}, not the name of a photograph; write one such as i1000274881.jpeg")
    return f"{where} ({file})"


def _pixels(value: Any, shape: tuple[int | None, ...], where: str) -> Tensor:
    """A finite float tensor of this shape (None: any side of a photograph)."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.device.type != "cpu":
        raise ValueError(f"{where} is a {type(value).__name__}, not a plain tensor; copy the file again")
    sides = [CROP <= found <= LARGEST_SIDE if side is None else found == side for found, side in zip(value.shape, shape, strict=False)]
    if value.ndim != len(shape) or not all(sides):
        expected = ", ".join("side" if side is None else str(side) for side in shape)
        raise ValueError(f"{where} has shape {tuple(value.shape)}, expected ({expected}); copy the file again")
    if not value.is_floating_point() or not torch.isfinite(value).all():
        raise ValueError(f"{where} is {value.dtype}, expected normalised floats without NaN or infinite values; copy the file again")
    low, high = (float(bound) for bound in value.aminmax())
    if low < _BLACK - BEYOND or high > _WHITE + BEYOND:
        raise ValueError(f"{where} reaches from {low:.4g} to {high:.4g}, and with ImageNet's mean and deviation black is {_BLACK:.2f} and white "
                         f"{_WHITE:.2f}; normalise it, or copy the file again")
    return value


def _label(value: Any, allowed: tuple[int, ...], where: str) -> int:
    number = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
    if isinstance(number, bool) or not isinstance(number, int | float) or number not in allowed:
        raise ValueError(f"{where}: y is {str(value)[:40]}, expected {' or '.join(map(str, allowed))}; copy the file again")
    return int(number)


def _centres(value: Any, size: tuple[int, int], where: str) -> Tensor:
    """(2500, 2) int64 (y, x) in a photograph of `size` = (H, W); 1-based ones, which reach H and W, pass too."""
    try:
        coords = torch.as_tensor(value, dtype=torch.float64)
    except Exception:  # whatever a list of anything makes torch raise
        coords = torch.empty(0)
    if tuple(coords.shape) != (GRID**2, 2):
        raise ValueError(f"{where}: spatial_coords is {type(value).__name__} {tuple(coords.shape)}, expected ({GRID**2}, 2) centres (y, x); "
                         "copy the file again")
    if not (coords == coords.round()).all() or (coords < 0).any() or (coords > torch.tensor(size)).any():
        raise ValueError(f"{where}: spatial_coords must be whole pixels (y, x) in the photograph of {size[1]}x{size[0]}; copy the file again")
    grid = coords.reshape(GRID, GRID, 2)
    for down in (grid[..., 0].mean(1), grid[..., 1].mean(0)):  # y from row to row, x from column to column
        if (down.diff() < 0).any() or down[0] == down[-1]:
            raise ValueError(f"{where}: spatial_coords must be {GRID} x {GRID} centres, y first, row by row; sort them so")
    return coords.long()


def normalised(pixels: Tensor) -> Tensor:
    """uint8 (..., 3, H, W) -> float32, less ImageNet's mean and divided by its deviation."""
    return (pixels.float() / 255 - _MEAN) / _DEVIATION


def denormalised(X: Tensor) -> Tensor:
    """Normalised (..., 3, H, W) -> uint8, rounded and clamped: the inverse of `normalised`.

    The original values are at most half a grey level away, 0.5 / 255 / 0.224 = 0.0088 in normalised units (`round_trip_error`).
    """
    return ((X.float() * _DEVIATION + _MEAN) * 255).round().clamp(0, 255).to(torch.uint8)


def round_trip_error(X: Tensor) -> float:
    """The largest distance of normalised (..., 3, H, W) values from 8-bit pixels, in grey levels.

    Near 0 for a photograph that was normalised with these constants; up to 0.5 after a resize in floats; more, or up to 0.5 for a
    photograph that was never resized, says that the constants are others.
    """
    return float(((X.float() - normalised(denormalised(X))) * _DEVIATION * 255).abs().max())


def cut_crops(squares: dict[int, Tensor], coords: Tensor, size: tuple[int, int]) -> Tensor:
    """(n, 3 scales, 3 channels, 42, 42) around `coords` (n, 2), (y, x) pixels of a photograph of `size` = (H, W).

    In a square of side s the centre is (floor(y s / H), floor(x s / W)), the crop reaches from 21 before it to 20 after it, and the
    border's pixels are repeated outside.
    """
    scales, offset = [], torch.arange(-CROP // 2, CROP // 2)
    for side in SCALES:
        centre = coords * side // torch.tensor(size)  # (n, 2), whole numbers: side / H * y would fall short of some by a pixel
        rows, columns = ((centre[:, axis, None] + offset).clamp(0, side - 1) for axis in (0, 1))  # (n, 42)
        scales.append(squares[side][:, rows[:, :, None], columns[:, None, :]].movedim(0, 1))  # (n, 3, 42, 42)
    return torch.stack(scales, dim=1)


def axis_order(crops: Tensor, *, margin: float = 0.1) -> str:
    """"scale, channel" or "channel, scale", by the pixels of (n, 3, 3, 42, 42); "unknown" for noise, or crops too few or too flat.

    Neighbours along the channels are correlated more than neighbours along the scales: 0.91 and 0.43 on 30 crops of each of 100
    photographs of MIT1003, where 30 crops of one photograph were enough for 99 of them.
    """
    z = crops.flatten(3).double() - crops.flatten(3).double().mean(-1, keepdim=True)
    z = z / z.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    first, second = (float((z.narrow(axis, 0, 2) * z.narrow(axis, 1, 2)).sum(-1).mean()) for axis in (1, 2))
    return "unknown" if abs(first - second) < margin else "scale, channel" if second > first else "channel, scale"


class CourseworkData(Photographs):
    """A validation or test file as `lib.data.saliency.SaliencyData`, with MIT1003's ALLFIXATIONMAPS beside it.

    The photographs are the file's own, de-normalised (the module's docstring says what that assumes); `path` says where each would
    lie in MIT1003, and need not exist. `fixations` is None for a photograph without fixPts; `subjects` always is.
    """

    def __init__(self, path: str | Path) -> None:
        self.file, root = Path(path), Path(path).parent
        self.images = read_images(self.file)
        super().__init__(root, [unnested(root, "ALLSTIMULI") / image.file for image in self.images])
        self._maps = unnested(root, "ALLFIXATIONMAPS")
        if not self._maps.is_dir():
            raise FileNotFoundError(f"{self._maps}: missing; put MIT1003's ALLFIXATIONMAPS (data/mit1003.md) beside {self.file.name}")

    def size(self, index: int) -> tuple[int, int]:
        return tuple(self.images[index].image.shape[-2:])

    def image(self, index: int) -> NDArray[np.uint8]:
        return np.ascontiguousarray(denormalised(self.images[index].image).permute(1, 2, 0).numpy())  # (H, W, 3)

    def fixations(self, index: int) -> NDArray[np.int64] | None:
        path = self._map_path(index, "fixPts")
        return read_points(self._checked(path, index), path, THRESHOLD) if path.is_file() else None

    def subjects(self, index: int) -> None:
        return None

    def density(self, index: int) -> NDArray[np.float32]:
        path = self._map_path(index, "fixMap")
        return read_map(self._checked(path, index), path)

    def true_density(self, index: int) -> NDArray[np.float32] | None:
        return read_true_density(self.root / "density" / f"{self.name(index)}.npy", self.size(index)) if self.is_twin else None

    @cached_property
    def fingerprint(self) -> str:
        return digest([self.file], [self._map_path(i, kind) for kind in ("fixMap", "fixPts") for i in range(len(self))])

    def _map_path(self, index: int, kind: str) -> Path:
        return self._maps / f"{self.name(index)}_{kind}.jpg"

    def _checked(self, path: Path, index: int) -> Path:
        """`path`, once its picture is as large as the photograph, which is no file."""
        found, (height, width) = image_size(path), self.size(index)
        if found != (height, width):
            raise ValueError(f"{path}: is {found[1]}x{found[0]}, its photograph in {self.file.name} {width}x{height}; take MIT1003's own map")
        return path
