"""CUB-200-2011 as its authors publish it: photographs of 200 bird species, with boxes and 15 parts, in text files.

Wah, Branson, Welinder, Perona, Belongie: "The Caltech-UCSD Birds-200-2011 Dataset", Technical Report CNS-TR-2011-001.

    ROOT/images/001.Black_footed_Albatross/<name>.jpg ...      ROOT is the folder CUB_200_2011
    ROOT/images.txt                 <image id> <path below images/>
    ROOT/image_class_labels.txt     <image id> <class id>
    ROOT/train_test_split.txt       <image id> <1 for training, 0 for testing>
    ROOT/classes.txt                <class id> <name>
    ROOT/bounding_boxes.txt         <image id> <x> <y> <width> <height>
    ROOT/parts/parts.txt            <part id> <name>
    ROOT/parts/part_locs.txt        <image id> <part id> <x> <y> <visible>

Lines are joined by id, never by their order. "test" is the published test split; "train" and "val" are the published training
split (`lib.data.recognition`). A few pictures are greyscale and come out RGB. attributes/ and part_click_locs.txt are not read.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lib.data.recognition import Paths, Pictures, check_split, is_val
from lib.data.files import image_size

FILES = ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt", "bounding_boxes.txt")
PART_FILES = ("parts/parts.txt", "parts/part_locs.txt")
_REFETCH = "unpack CUB_200_2011.tgz again"


class CUB200(Pictures):
    """One split of CUB-200-2011; columns as in `lib.data.recognition.Pictures`.

    classes are named as published ("001.Black_footed_Albatross"). parts is None where parts/ is not there. Sizes are read from
    the pictures' headers, so a picture that is missing is noticed here. Errors: FileNotFoundError or ValueError, one line that
    names the file.
    """

    def __init__(self, root: str | os.PathLike[str], split: str) -> None:
        check_split(split, "CUB-200-2011")
        self.root, self.split = find_root(Path(root)), split
        tables = read_tables(self.root)
        self.metadata = tuple(self.root / name for name in tables.files)
        self.classes, self.part_names, self.image_id = tables.classes, tables.part_names, tables.image_id
        self.label, self.box, self.parts = tables.label, tables.box, tables.parts
        self.path = Paths(self.root / "images", tables.names)
        self.size = np.zeros((len(tables.names), 2), dtype=np.int64)  # filled below, for this split's pictures only
        wanted = tables.training if split != "test" else ~tables.training
        if split != "test":
            val = np.zeros_like(wanted)
            val[wanted] = is_val(self.label[wanted])
            wanted &= val == (split == "val")
        self._keep(wanted)
        self.size = np.array([image_size(path) for path in self.path], dtype=np.int64)


class Tables(NamedTuple):
    """The text files, N pictures of both splits in the order of their ids."""

    files: tuple[str, ...]
    image_id: NDArray[np.int64]
    names: list[str]
    label: NDArray[np.int64]  # (N,), index into classes
    training: NDArray[np.bool_]  # (N,)
    classes: list[str]
    box: NDArray[np.float64]  # (N, 4)
    part_names: list[str] | None
    parts: NDArray[np.float64] | None  # (N, P, 3)


def find_root(root: Path) -> Path:
    """The folder CUB_200_2011: `root` itself, or inside it."""
    for folder in (root, root / "CUB_200_2011"):
        if (folder / "images.txt").is_file():
            return folder
    raise FileNotFoundError(f"{root}: holds no images.txt; give the folder CUB_200_2011 that CUB_200_2011.tgz unpacks to")


def read_tables(root: Path) -> Tables:
    """All text files, joined by id and checked against one another."""
    ids, names = _named(root / "images.txt")
    for name in names:
        if name.startswith("/") or ".." in PurePosixPath(name).parts:
            raise ValueError(f"{root / 'images.txt'}: {name!r} lies outside the data set; {_REFETCH}")
    class_ids, classes = _named(root / "classes.txt")
    label_path, split_path = root / "image_class_labels.txt", root / "train_test_split.txt"
    species = _joined(label_path, ids, columns=1)[:, 0]
    training = _joined(split_path, ids, columns=1)[:, 0]
    if not np.isin(species, class_ids).all():
        wrong = ids[~np.isin(species, class_ids)][0]
        raise ValueError(f"{label_path}: image {wrong} has a class that classes.txt does not list; {_REFETCH}")
    if not np.isin(training, (0, 1)).all():
        raise ValueError(f"{split_path}: image {ids[~np.isin(training, (0, 1))][0]} is neither 0 nor 1; {_REFETCH}")
    box = _joined(root / "bounding_boxes.txt", ids, columns=4)
    part_names, parts = _read_parts(root, ids) if (root / "parts").is_dir() else (None, None)
    files = FILES if part_names is None else FILES + PART_FILES
    return Tables(files, ids, names, np.searchsorted(class_ids, species), training == 1, classes, box, part_names, parts)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: missing; {_REFETCH}") from None
    except ValueError:
        raise ValueError(f"{path}: is no text file; {_REFETCH}") from None


def _named(path: Path) -> tuple[NDArray[np.int64], list[str]]:
    """Lines of an id and a name, in the order of ids."""
    rows: dict[int, str] = {}
    for number, line in enumerate(_lines(path), start=1):
        key, _, name = line.strip().partition(" ")
        if not key.isdecimal() or not name or int(key) in rows:
            raise ValueError(f"{path}: line {number} is {line[:60]!r}, expected an id of its own and a name; {_REFETCH}")
        rows[int(key)] = name
    if not rows:
        raise ValueError(f"{path}: is empty; {_REFETCH}")
    ids = sorted(rows)
    return np.array(ids, dtype=np.int64), [rows[key] for key in ids]


def _numbers(path: Path, columns: int) -> NDArray[np.float64]:
    """(lines, columns)."""
    rows, lines = [], _lines(path)
    for number, line in enumerate(lines, start=1):
        try:
            row = [float(word) for word in line.split()]
        except ValueError:
            row = []
        if len(row) != columns or not np.isfinite(row).all():
            raise ValueError(f"{path}: line {number} is {line[:60]!r}, expected {columns} numbers; {_REFETCH}")
        rows.append(row)
    return np.array(rows, dtype=np.float64).reshape(-1, columns)


def _joined(path: Path, ids: NDArray[np.int64], *, columns: int) -> NDArray[np.float64]:
    """(N, columns): what the file says of each image, whatever its order."""
    rows = _numbers(path, 1 + columns)
    if len(rows) != len(ids):
        raise ValueError(f"{path}: has {len(rows):,} lines, images.txt has {len(ids):,}; {_REFETCH}")
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    if (rows[:, 0] != ids).any():
        wrong = rows[rows[:, 0] != ids][0, 0]
        raise ValueError(f"{path}: has a line for image {wrong:g}, but not one for each image of images.txt; {_REFETCH}")
    return rows[:, 1:]


def _read_parts(root: Path, ids: NDArray[np.int64]) -> tuple[list[str], NDArray[np.float64]]:
    """Names (P,) and (N, P, 3); the file's zeros for what cannot be seen become NaN."""
    part_ids, names = _named(root / "parts" / "parts.txt")
    path = root / "parts" / "part_locs.txt"
    rows = _numbers(path, 5)
    if len(rows) != len(ids) * len(names):
        raise ValueError(f"{path}: has {len(rows):,} lines, expected {len(names)} for each of {len(ids):,} images; {_REFETCH}")
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))].reshape(len(ids), len(names), 5)
    if (rows[..., 0] != ids[:, None]).any() or (rows[..., 1] != part_ids).any():
        raise ValueError(f"{path}: does not list every part of every image once; {_REFETCH}")
    parts = rows[..., 2:].copy()
    parts[parts[..., 2] == 0, :2] = np.nan
    return names, parts
