"""What every saliency data set gives: photographs, fixations, the published blurred map, and a split where none is published.

`SaliencyData` is the interface of `lib.data.{salicon,mit1003,osie}`; their synthetic twins are written in the same layouts and
read by the same loaders. Only a twin knows the density that its fixations were drawn from: it lies beside the data as a coarse
grid, and `upsample_density` defines what the grid stands for.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.nn import functional

from lib.data.files import TWIN_FILE, image_size, one_line, read_rgb
from lib.data.points import FIXATED_MOST, Plausibility, check_outside, inside_image, to_pixels
from lib.data.report import Report
from lib.files.pictures import picture_header, read_picture
from lib.files.text import UNPACK


@runtime_checkable
class SaliencyData(Protocol):
    """Photographs that people looked at, indices from 0. Errors are one line that names the file (ValueError, FileNotFoundError)."""

    root: Path

    @property
    def is_twin(self) -> bool:
        """Whether these are synthetic data."""

    @property
    def fingerprint(self) -> str:
        """16 hex digits over the photographs' names and sizes in bytes, and over the annotations' bytes."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """Unique in the data set: the photograph's file name without its suffix (OSIE: with it, as its fixations.mat does)."""

    def path(self, index: int) -> Path:
        """The photograph."""

    def size(self, index: int) -> tuple[int, int]:
        """(H, W) of the photograph, from the file's header."""

    def image(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) RGB."""

    def fixations(self, index: int) -> NDArray[np.int64] | None:
        """(n, 2) pixels in the image, x first, 0-based; None where the data set on disk has no points."""

    def subjects(self, index: int) -> NDArray[np.int64] | None:
        """(n,): whose fixation each of `fixations(index)` is; None where that is not known."""

    def density(self, index: int) -> NDArray[np.float32]:
        """(H, W) in [0, 1]: the published blurred map, or the fixations blurred as its authors say where they publish none."""

    def true_density(self, index: int) -> NDArray[np.float32] | None:
        """(H, W), sums to 1: what a twin's fixations were drawn from; None for photographs."""


# ------------------------------------------------------------------------------------- what twins and unsplit sets agree upon


def fifth_split(n: int) -> dict[str, NDArray[np.int64]]:
    """Indices of n images in published order as {"train", "val", "test"}, for sets that publish no split.

    Every fifth image is for testing (index 4, 9, ...); of the others every tenth for validation. 500 images: 360, 40, 100.
    """
    indices = np.arange(n)
    rest = indices[indices % 5 != 4]
    val = np.arange(len(rest)) % 10 == 9
    return {"train": rest[~val], "val": rest[val], "test": indices[indices % 5 == 4]}


def upsample_density(coarse: ArrayLike, size: tuple[int, int]) -> NDArray[np.float32]:
    """The density that a twin's coarse grid stands for: (h, w) -> (H, W) that sums to 1.

    Bilinear upsampling to `size` = (H, W) with `align_corners=False`, then division by the sum, both in float64. ValueError
    for a grid that is no density: negative, not finite, or all zero.
    """
    grid = torch.tensor(np.asarray(coarse), dtype=torch.float64)
    if grid.ndim != 2 or not torch.isfinite(grid).all() or (grid < 0).any() or not grid.sum() > 0:
        raise ValueError(f"a density must be (h, w), finite, not negative and not all zero, got shape {tuple(grid.shape)}; write the twin again")
    full = functional.interpolate(grid[None, None], tuple(size), mode="bilinear", align_corners=False)[0, 0]
    return (full / full.sum()).to(torch.float32).numpy()


# ------------------------------------------------------------------------------------------------- what the loaders share


class Photographs:
    """The part of `SaliencyData` that needs nothing but the photographs' files.

    scale_fixations: whether fixations are scaled to photographs that were resized.
    """

    scale_fixations = False

    def __init__(self, root: Path, paths: Sequence[Path]) -> None:
        self.root, self._paths = root, list(paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.root)!r}): {len(self):,} photographs{', synthetic' if self.is_twin else ''}"

    @property
    def is_twin(self) -> bool:
        return (self.root / TWIN_FILE).is_file()

    def name(self, index: int) -> str:
        return self._paths[index].stem

    def path(self, index: int) -> Path:
        return self._paths[index]

    def size(self, index: int) -> tuple[int, int]:
        return image_size(self._paths[index])

    def image(self, index: int) -> NDArray[np.uint8]:
        return np.array(read_rgb(self._paths[index]))  # a copy, PIL's own memory cannot be written to


def pixels_inside(points: ArrayLike, size: tuple[int, int], where: Path) -> NDArray[np.int64]:
    """(n, 2) numbers (x, y), 0 is the first pixel's middle -> pixels of a picture of `size` (H, W), rounded; those outside are left out.

    ValueError, one line that names `where`, for what is no number, and for more outside than `lib.data.points` allows.
    """
    try:
        found = to_pixels(np.asarray(points, dtype=np.float64) + 0.5, size, size)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: its fixations are no pairs of numbers ({one_line(error)}); correct the file that lists them") from None
    check_outside(found, size, where, "correct the file that lists them")
    return found[inside_image(found, size)]


def list_files(folder: Path, suffix: str) -> list[Path]:
    """The files in `folder` that end in `suffix`, sorted by name, hidden ones left out; none where there is no such folder."""
    return sorted(path for path in folder.glob(f"*{suffix}") if not path.name.startswith("."))


def read_map(path: Path, photograph: Path) -> NDArray[np.float32]:
    """(H, W) in [0, 1], 8 or 16 bits; FileNotFoundError or ValueError, one line, if it cannot be read or is not as large as the photograph."""
    check_map_size(path, photograph)
    found = read_picture(path, mode="map", remedy=UNPACK).astype(np.float32, copy=False)
    if found.min() < 0 or found.max() > 1:
        raise ValueError(f"{path}: its values reach from {found.min():g} to {found.max():g}, and a density is within [0, 1]; {UNPACK}")
    return found


def read_points(path: Path, photograph: Path, threshold: int) -> NDArray[np.int64]:
    """(n, 2) pixels, x first, row by row, that are brighter than `threshold` of 255 in a picture of white points on black.

    Errors as `read_map`, and where the picture cannot be one of points: more than `FIXATED_MOST` of it white, or grey on black.
    """
    levels = read_map(path, photograph)
    white = levels > np.float32(threshold) / np.float32(255)
    if (share := white.mean()) > FIXATED_MOST:
        raise ValueError(f"{path}: {share:.0%} of it is white, so it holds no points: it is inverted, or a blurred map; {UNPACK}")
    if not white.any() and levels.max() > 0:
        raise ValueError(f"{path}: its brightest pixel is {levels.max() * 255:.0f} of 255, and fixated pixels are white; {UNPACK}, "
                         "or stretch it to 0 .. 255")
    y, x = np.nonzero(white)
    return np.stack([x, y], axis=1)


def check_map_size(path: Path, photograph: Path) -> None:
    """ValueError where the headers of a map and its photograph tell different sizes."""
    found, expected = image_size(path), image_size(photograph)
    if found != expected:
        raise ValueError(f"{path}: is {found[1]}x{found[0]}, its photograph {expected[1]}x{expected[0]}; {UNPACK}")


def read_true_density(path: Path, size: tuple[int, int]) -> NDArray[np.float32]:
    """A twin's coarse grid at `path` as `upsample_density` makes it; one line for whatever is wrong with the file."""
    try:
        return upsample_density(np.load(path, allow_pickle=False), size)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: missing; write the twin again") from None
    except Exception as error:  # NumPy raises whatever a damaged header leads it to
        raise ValueError(f"{path}: not a twin's density ({one_line(error)}); write the twin again") from None


def digest(by_size: Iterable[Path], by_content: Iterable[Path]) -> str:
    """16 hex digits over names and sizes of some files, and names and bytes of others; files that are not there count as such."""
    hashed = hashlib.sha256()
    for path in by_size:
        hashed.update(f"{path.parent.name}/{path.name} {path.stat().st_size if path.is_file() else 'none'}\n".encode())
    for path in by_content:
        hashed.update(f"{path.parent.name}/{path.name}\n".encode())
        hashed.update(path.read_bytes() if path.is_file() else b"none")
    return hashed.hexdigest()[:16]


class Findings:
    """Problems and warnings on their way into a report: at most `limit` lines of a kind, then how many more there are."""

    def __init__(self, report: Report, *, limit: int = 20) -> None:
        self.report, self.limit = report, limit
        self.counts: Counter[str] = Counter()

    def add(self, kind: str, line: str) -> None:
        """A problem of this kind; `kind` is a noun in the plural."""
        self.counts[kind] += 1
        if self.counts[kind] <= self.limit:
            self.report.add(line, problem=True)

    def close(self) -> None:
        for kind, count in self.counts.items():
            if count > self.limit:
                self.report.add(f"{kind}: {count:,} in all, {count - self.limit:,} not listed", problem=True)


def check_photographs(paths: Sequence[Path], findings: Findings, *, images: int | None, seed: int) -> int:
    """Decode some photographs drawn at random, or all (None); returns how many. A truncated file has a good header."""
    chosen = np.arange(len(paths)) if images is None else np.sort(np.random.default_rng(seed).permutation(len(paths))[:images])
    for index in chosen:
        try:
            read_rgb(paths[index])
        except (OSError, ValueError) as error:
            findings.add("unreadable photographs", one_line(error))
    tell_turned(findings.report, [paths[index] for index in chosen])
    return len(chosen)


def turned(paths: Iterable[Path]) -> list[Path]:
    """The photographs whose EXIF says that they should be turned; what cannot be read is told by whoever decodes it."""
    found = []
    for path in paths:
        try:
            if picture_header(path).orientation != 1:
                found.append(path)
        except (OSError, ValueError):
            continue
    return found


def tell_turned(report: Report, paths: Sequence[Path]) -> None:
    """A warning that counts the photographs with an EXIF orientation: coordinates are in stored pixels, maps may not be."""
    if found := turned(paths):
        report.add(f"photographs with an EXIF orientation: {len(found):,} of {len(paths):,} ({found[0].name} for one); coordinates and maps are "
                   "taken as in the stored pixels, so predict them with --exif stored", warning=True)


def tell_implausible(report: Report, what: str, found: Plausibility) -> None:
    """Problems where nobody can have made the fixations."""
    for line in found.problems(what):
        report.add(line, problem=True)


def tell_unseen(report: Report, what: str, names: Sequence[str]) -> None:
    """A warning if nobody looked at some photographs: loaders cope with that, but averages over images must."""
    if names:
        some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        report.add(f"{what} that nobody looked at: {len(names):,} ({some}); their AUC and NSS are undefined", warning=True)
