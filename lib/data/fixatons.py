"""Scanpaths as the FixaTons collection publishes them: MIT1003, SIENA12, TORONTO, KOOTSTRA and others in one layout of text files.

Zanca, Serchi, Piu, Rosini, Rufa: "FixaTons: A collection of human fixations datasets and metrics for scanpath similarity",
arXiv 1802.02534; each of its sets has authors of its own to cite.

    ROOT/STIMULI/<stem>.<jpg, jpeg, png, ...>      MIT1003 as its own authors publish it: ROOT/ALLSTIMULI/<stem>.jpeg
    ROOT/SCANPATHS/<stem>/<observer>               a line a fixation: x y start end, times in seconds

FIXATION_MAPS and SALIENCY_MAPS are not read: those of MIT1003 lie about 1.5 pixels up and to the left of its scanpaths.

What is known of the coordinates, measured on MIT1003 (fixations blurred with 24 pixels, against the published fixMaps)
    - y points down, whatever the collection's README says: correlation 0.996, against 0.24 when it is turned round (30
      photographs). `y="up"` turns it for a set that needs it.
    - x and y count from 1, as MATLAB does: 1 is subtracted. The maps fit best 1.5 and 1.6 pixels to the left and up (40
      photographs), which is that 1 and half a pixel of the maps' own making; no 0 occurs among 47,918 fixations. With it the
      correlation is 0.9951, without 0.9943 (200 photographs). `origin=0` leaves them as they are.
    - The first fixation, central, is kept in the files. The published maps were made of the second to the sixth of each
      observer: correlation 0.995, all but the first 0.960, all 0.896 (200 photographs). So "2-6" is the default for MIT1003,
      whose points then agree with its maps; other sets take "all" unless told otherwise, and nothing of them is measured here.

Fixations outside the picture are left out and counted (`outside`): 92 of 47,918 on 400 photographs of MIT1003. A picture that
more than OUTSIDE of them miss is refused: on those 400 the most is 8 %, with x and y changed over the median is 9 and the most 69 %.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lib.data.files import image_size, one_line
from lib.data.points import Places
from lib.data.report import Report
from lib.data.saliency import Findings, Photographs, digest
from lib.metrics.saliency import density_map, fixation_map

FOLDER = "SCANPATHS"
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
WHICH = {"2-6": slice(1, 6), "without first": slice(1, None), "all": slice(None)}  # of each observer's fixations
Y_DIRECTIONS = ("down", "up")
ORIGINS = (0, 1)
BLUR = 24.0  # pixels, one degree of visual angle for MIT1003
OUTSIDE = 0.2  # a greater share of a picture's fixations outside of it is no recording error any more
# Of the collection's MIT1003: observers, fixations of them all on all 1,003 photographs. Counted; no other set was at hand.
SCANPATHS = {"MIT1003": (15, 119_432)}
_REFETCH = "unpack the archive that it comes from again"


def read_scanpath(path: Path) -> NDArray[np.float64]:
    """(n, 4) of x, y, start, end as in the file, in order of time; no lines, no fixations. ValueError, one line, for anything else."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: missing; {_REFETCH}") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: is no text file of fixations ({one_line(error)}); {_REFETCH}") from None
    rows = [(number, line.split()) for number, line in enumerate(lines, start=1) if line.strip()]
    result = np.zeros((len(rows), 4))
    for row, (number, words) in enumerate(rows):
        try:
            result[row] = [float(word) for word in words]
        except ValueError:
            result[row] = np.nan
        if len(words) != 4 or not np.isfinite(result[row]).all():
            raise ValueError(f"{path}: line {number} is {' '.join(words)[:60]!r}, expected x y start end; {_REFETCH}")
    if (result[:, 2] < 0).any() or (result[:, 3] < result[:, 2]).any() or (np.diff(result[:, 2]) <= 0).any():
        raise ValueError(f"{path}: its times do not run forward; {_REFETCH}")
    return result


class Scanpaths:
    """The scanpaths below ROOT/SCANPATHS: fixations of each observer on each picture, as 0-based pixels.

    which: of an observer's fixations, one of WHICH. y, origin: see the module's docstring. Read when asked for; errors are one
    line that names the file.
    """

    def __init__(self, root: str | os.PathLike[str], *, which: str = "2-6", y: str = "down", origin: int = 1) -> None:
        for what, value, known in (("which", which, WHICH), ("y", y, Y_DIRECTIONS), ("origin", origin, ORIGINS)):
            if value not in known:
                raise ValueError(f"{what} {value!r}: choose one of {', '.join(map(str, known))}")
        self.folder, self.which, self.y, self.origin = Path(root) / FOLDER, which, y, origin

    @cached_property
    def files(self) -> dict[str, list[Path]]:
        """{stem: a file for each observer, sorted}; hidden files are no observers."""
        try:
            pictures = sorted(entry.name for entry in os.scandir(self.folder) if entry.is_dir() and not entry.name.startswith("."))
        except OSError:
            raise FileNotFoundError(f"{self.folder}: no such folder; {_REFETCH}") from None
        return {stem: sorted(Path(entry.path) for entry in os.scandir(self.folder / stem) if not entry.name.startswith("."))
                for stem in pictures}

    @cached_property
    def observers(self) -> tuple[str, ...]:
        """Everybody who looked at one of the pictures, sorted; `read` counts them in this order."""
        return tuple(sorted({path.name for paths in self.files.values() for path in paths}))

    def read(self, stem: str, size: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        """Fixations (n, 2) in a picture of `size` (H, W), x first, whose each of them is (n,), and how many were outside."""
        if not self.files.get(stem):
            raise FileNotFoundError(f"{self.folder / stem}: holds no scanpaths of this picture; {_REFETCH}")
        parts = [self._pixels(read_scanpath(path)[WHICH[self.which], :2], size) for path in self.files[stem]]
        who = np.repeat([self.observers.index(path.name) for path in self.files[stem]], [len(part) for part in parts]).astype(np.int64)
        every = np.concatenate(parts)
        inside = ((every >= 0) & (every < [size[1], size[0]])).all(axis=1)
        xy, outside = every[inside].astype(np.int64), int((~inside).sum())
        if outside > max(1, OUTSIDE * len(every)):
            raise ValueError(f"{self.folder / stem}: {outside} of {len(every)} fixations lie outside the picture of {size[1]}x{size[0]}: of "
                             f"another size, with x and y changed over, or fractions of the size; {_REFETCH}")
        return xy, who[inside], outside

    def _pixels(self, xy: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
        """(n, 2) rounded, halves up, from 0, y down; still float, for a number may be of any size."""
        pixels = np.floor(xy + 0.5) - self.origin
        if self.y == "up":
            pixels[:, 1] = size[0] - 1 - pixels[:, 1]
        return pixels

    @property
    def every_file(self) -> list[Path]:
        return [path for paths in self.files.values() for path in paths]

    def mark(self, fingerprint: str) -> str:
        """A fingerprint of the files -> one of the files as they are read: 16 hex digits."""
        return hashlib.sha256(f"{fingerprint} {self.said}".encode()).hexdigest()[:16]

    @property
    def said(self) -> str:
        """The switches in words."""
        words = {"2-6": "2 to 6", "without first": "all but the first", "all": "all"}[self.which]
        return f"{words} of each observer, y {self.y}, from {self.origin}"


class FixaTons(Photographs):
    """One set of the collection, pictures sorted by name; see `lib.data.saliency.SaliencyData` for the methods.

    which, y, origin: of `Scanpaths`. sigma: pixels; `density` is the fixations blurred with it, each as often as it occurs, from
    0 to 1, nothing beyond the border. `subjects` count `observers`. Two pictures of one stem, and one without scanpaths, are
    refused. FileNotFoundError or ValueError, one line.
    """

    def __init__(self, root: str | os.PathLike[str], *, which: str = "all", y: str = "down", origin: int = 1, sigma: float = BLUR) -> None:
        self.scanpaths, self.sigma = Scanpaths(root, which=which, y=y, origin=origin), sigma
        folder = Path(root) / "STIMULI"
        paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))
        if not paths:
            raise FileNotFoundError(f"{folder}: no pictures; give a folder of the collection, which holds STIMULI/ and {FOLDER}/")
        super().__init__(Path(root), paths)
        stems = [path.stem for path in paths]
        for stem in stems:
            if stems.count(stem) > 1:
                raise ValueError(f"{folder}: {stem} is the name of two pictures, and scanpaths name only that; keep one of them")
            if not self.scanpaths.files.get(stem):
                raise FileNotFoundError(f"{self.scanpaths.folder / stem}: holds no scanpaths of this picture; {_REFETCH}")
        self._last: tuple[int, tuple[NDArray[np.int64], NDArray[np.int64], int]] | None = None

    @property
    def observers(self) -> tuple[str, ...]:
        return self.scanpaths.observers

    def fixations(self, index: int) -> NDArray[np.int64]:
        return self._read(index)[0].copy()

    def subjects(self, index: int) -> NDArray[np.int64]:
        return self._read(index)[1].copy()

    def outside(self, index: int) -> int:
        """How many fixations on this picture were left out, because they lie outside of it."""
        return self._read(index)[2]

    def density(self, index: int) -> NDArray[np.float32]:
        return blurred(self.fixations(index), self.size(index), self.sigma)

    def true_density(self, index: int) -> None:
        return None

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over the pictures' names and sizes, the scanpaths' bytes, and how those are read."""
        return self.scanpaths.mark(digest(self._paths, self.scanpaths.every_file))

    def _read(self, index: int) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        if self._last is None or self._last[0] != index:
            self._last = index, self.scanpaths.read(self.name(index), self.size(index))
        return self._last[1]


def blurred(xy: NDArray[np.int64], size: tuple[int, int], sigma: float) -> NDArray[np.float32]:
    """Fixations (n, 2), x first, as a map (H, W) from 0 to 1, all zero without one; nothing lies beyond the border."""
    density = density_map(fixation_map(torch.from_numpy(xy), size), sigma=sigma).numpy()
    return (density / (density.max() or 1)).astype(np.float32)


# ------------------------------------------------------------------------------------------------- checking what is on disk


@dataclass
class Counts:
    """What the scanpaths of a set hold."""

    observers: int
    pictures: int = 0
    fixations: int = 0
    outside: int = 0

    def tell(self, report: Report, published: tuple[int, int], *, photographs: int) -> None:
        """Into the report; compared with what was counted where all photographs are here, else only told."""
        report.compare("observers", self.observers, published[0], only_warn=True)
        if self.pictures == photographs:
            report.compare("fixations in scanpaths", self.fixations, published[1], only_warn=True)
        report.add(f"scanpaths: {self.fixations:,} fixations on {self.pictures:,} photographs, {self.outside:,} of them outside, which are left out")


def check_scanpaths(data: Photographs, findings: Findings, **switches: str) -> Counts:
    """Read the scanpaths of every picture; what is missing, unfit or of no picture goes into `findings`. switches: of `Scanpaths`."""
    scanpaths = Scanpaths(data.root, **switches)
    counts, places = Counts(observers=len(scanpaths.observers)), Places()
    for index in range(len(data)):
        try:
            size = image_size(data.path(index))
            xy, _, outside = scanpaths.read(data.name(index), size)
        except (OSError, ValueError) as error:
            findings.add("missing or unfit scanpaths", one_line(error))
            continue
        places.add(xy, size)
        counts.pictures += 1
        counts.fixations += len(xy) + outside
        counts.outside += outside
        looked = len(scanpaths.files[data.name(index)])
        if looked < counts.observers:
            findings.add("pictures that observers lack",
                         f"{scanpaths.folder / data.name(index)}: {looked} of {counts.observers} observers; {_REFETCH}")
    if places.problem:
        findings.add("fixations that cannot be", f"{scanpaths.folder}: {places.problem}; or {_REFETCH}")
    for stem in sorted(set(scanpaths.files) - {data.name(index) for index in range(len(data))}):
        findings.add("scanpaths without a picture", f"{scanpaths.folder / stem}: its picture is not here; {_REFETCH}")
    return counts
