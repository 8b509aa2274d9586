"""What iNaturalist 2017 and CUB-200-2011 share: their columns, the split for choosing, and the protocols of the tables.

A batch holds one size, so every picture is first put onto a square by one stated rule of `lib.data.canvas`; `PROTOCOLS` says
which rule and which sizes, for "Learning to Zoom" (sections 4.2 and 4.3), for its released code, and for the demo.

The split for choosing: both data sets publish two labelled splits. What they train on is "train" and "val" here (`is_val`: the
fifth, fifteenth, twenty-fifth, ... picture of each class, in the order of image ids, so a class of five has one); what they
test on is "test" and is looked at last. Twins are split by the same rule.

Coordinates are pixels of the picture, x first, (0, 0) its top left corner.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from lib.data.files import TWIN_FILE, read_rgb, read_twin
from lib.data.names import Names
from lib.data.report import Report

SPLITS = ("train", "val", "test")


# -------------------------------------------------------------------------------------------------------- protocols


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a picture becomes what a sampler sees, and from where that is known."""

    side: int  # of the square, in training and in testing
    test_crop: int | None  # the middle of the square that is tested (`crop` of `lib.data.canvas`), None for all of it
    input_size: int  # of both networks
    rule: str = "squash"  # of `lib.data.canvas`
    random_crop: bool = False  # training crops of random size and shape, resized to `side`, and mirrored
    source: str = ""


PROTOCOLS = {
    "paper": Protocol(
        side=800, test_crop=512, input_size=227, source="section 4.2: networks at 227x227, 'the original 800x800 pixel images in "
        "training time', 'a center crop of 512x512' in testing; it does not say how photographs of other shapes become 800x800"),
    "released": Protocol(
        side=800, test_crop=700, input_size=224, random_crop=True, source="main.py of github.com/recasens/Saliency-Sampler, "
        "written for ImageNet: RandomResizedCrop(800) and flips; Resize((800, 800)) and CenterCrop(700)"),
    "demo": Protocol(side=160, test_crop=None, input_size=64, source="ours, for the synthetic twins of 256x256"),
}


# -------------------------------------------------------------------------------------------------------- the columns


class Paths(Sequence[Path]):
    """The pictures' paths, made when asked for: half a million Path objects would take half a gigabyte."""

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        self.root, self.names = root, names if isinstance(names, Names) else Names(names)

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Path: ...

    @overload
    def __getitem__(self, index: slice) -> list[Path]: ...

    def __getitem__(self, index: int | slice) -> Path | list[Path]:
        if isinstance(index, slice):
            return [self.root / name for name in self.names[index]]
        return self.root / self.names[index]

    def __iter__(self) -> Iterator[Path]:
        return (self.root / name for name in self.names)


def is_val(label: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,): which pictures of a published training split, in the order of image ids, are kept for choosing."""
    order = np.argsort(label, kind="stable")
    _, start, count = np.unique(label[order], return_index=True, return_counts=True)
    result = np.zeros(len(label), dtype=bool)
    result[order] = (np.arange(len(label)) - np.repeat(start, count)) % 10 == 4
    return result


class Pictures:
    """One split of a recognition data set as columns, N pictures in the order of their ids.

    path: sequence of N Path; size (N, 2) as (H, W); label (N,) int64, an index into classes; classes, part_names: lists of names;
    supercategory: one name per class, or None; box (N, 4) float64 as x, y, w, h, NaN where none is given; parts (N, P, 3)
    float64 as x, y, visible (1 or 0; x and y are NaN where 0), or None. detail: see there. image_id (N,) int64.
    """

    root: Path
    split: str
    path: Paths
    size: NDArray[np.int64]
    image_id: NDArray[np.int64]
    label: NDArray[np.int64]
    classes: list[str]
    box: NDArray[np.float64]
    supercategory: list[str] | None = None
    parts: NDArray[np.float64] | None = None
    part_names: list[str] | None = None
    metadata: tuple[Path, ...] = ()  # the files that all this was read from
    notes: Mapping[str, str] = MappingProxyType({})  # what a record must say of the data: which part of them was read, for one

    def __len__(self) -> int:
        return len(self.label)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.root)!r}, split={self.split!r}): {len(self)} pictures of {len(self.classes)} classes"

    def image(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) RGB of picture `index`; greyscale and CMYK are converted. ValueError, one line, for a file that is broken."""
        return read_rgb(self.path[index], tuple(self.size[index].tolist()))

    @property
    def is_twin(self) -> bool:
        return (self.root / TWIN_FILE).is_file()

    @cached_property
    def twin(self) -> dict[str, Any] | None:
        """The content of TWIN.json if these are synthetic data, else None."""
        return read_twin(self.root)

    @cached_property
    def detail(self) -> NDArray[np.float64] | None:
        """(N, 2) x, y of what tells a picture's species from the others of its genus; None on real data, where nobody knows."""
        if self.twin is None or self.parts is None or self.part_names is None:
            return None
        deciding = [[self.part_names.index(name) for name in self.twin["detail"][species]] for species in self.classes]
        result = np.full((len(self), 2), np.nan)
        for species, columns in enumerate(deciding):
            for column in columns:  # of a left and a right wing one is visible
                where = np.flatnonzero((self.label == species) & (self.parts[:, column, 2] > 0))
                result[where] = self.parts[where, column, :2]
        return result

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over this split: the metadata's bytes, the pictures' names and sizes. Made when first asked for."""
        digest = hashlib.sha256(self.split.encode())
        for path in self.metadata:
            digest.update(path.read_bytes())
        for name in self.path.names:
            try:
                size = os.stat(self.path.root / name).st_size
            except OSError:
                size = None
            digest.update(f"{name} {size}\n".encode())
        return digest.hexdigest()[:16]

    def _keep(self, kept: NDArray[np.bool_]) -> None:
        """Only these pictures, in all columns."""
        if not kept.any():
            raise ValueError(f"{self.root}: no picture in split {self.split!r}; see `is_val` in lib/data/recognition.py")
        self.path = Paths(self.path.root, self.path.names.take(np.flatnonzero(kept)))
        self.size, self.image_id, self.label, self.box = (column[kept] for column in (self.size, self.image_id, self.label, self.box))
        self.parts = None if self.parts is None else self.parts[kept]


def check_split(split: str, dataset: str) -> None:
    if split not in SPLITS:
        raise ValueError(f"split {split!r}: {dataset} has {', '.join(SPLITS)}")


# ------------------------------------------------------------------------------------------------- checking what is on disk

Progress = Callable[[int, int], object]


def check_there(paths: Paths, report: Report, *, unpack: str) -> NDArray[np.int64]:
    """Which of the pictures exist, as indices; what is missing is told once per folder."""
    there, missing = {}, {}
    for index, name in enumerate(paths.names):
        folder, _, file = name.rpartition("/")
        if folder not in there:
            where = paths.root / folder
            there[folder] = {entry.name for entry in os.scandir(where)} if where.is_dir() else set()
        if file not in there[folder]:
            missing.setdefault(folder, []).append(index)
    for folder, absent in missing.items():
        some = ", ".join(paths.names[i].rpartition("/")[2] for i in absent[:3]) + (", ..." if len(absent) > 3 else "")
        report.add(f"{paths.root / folder}: {len(absent):,} pictures missing ({some}); {unpack}", problem=True)
    absent = {index for indices in missing.values() for index in indices}
    return np.array([index for index in range(len(paths)) if index not in absent], dtype=np.int64)


def check_pictures(
    paths: Paths, sizes: NDArray[np.int64] | None, there: NDArray[np.int64], report: Report, *, images: int | None, seed: int,
    progress: Progress | None,
) -> None:
    """Decode `images` of the pictures that are there, drawn at random (None: all), and compare them with their sizes (N, 2)."""
    chosen = there if images is None else np.sort(np.random.default_rng(seed).permutation(there)[:images])
    for done, index in enumerate(chosen.tolist(), start=1):
        try:
            read_rgb(paths[index], None if sizes is None else tuple(sizes[index].tolist()))
        except (OSError, ValueError) as error:
            report.add(str(error), problem=True)
        if progress is not None:
            progress(done, len(chosen))
    report.add(f"pictures decoded: {len(chosen):,} of {len(paths):,}{'' if len(chosen) == len(paths) else ', drawn at random'}")
