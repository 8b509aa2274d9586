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

A part of the data set, some classes of it, is read when `classes` asks for it, and `notes` then says which: a class is named by
its published name or number, and keeps its pictures of each split, also those of "val".

What the published files never have is refused: a picture listed twice, one that lies in another class's folder, a part that is
neither seen nor hidden or lies outside the box (all 141,407 visible parts lie inside), a box without an area.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lib.data.recognition import Paths, Pictures, check_split, is_val
from lib.data.files import image_size, one_line

FILES = ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt", "bounding_boxes.txt")
PART_FILES = ("parts/parts.txt", "parts/part_locs.txt")
HEAD = ("beak", "crown", "forehead", "left eye", "nape", "right eye", "throat")  # the published names of what is on a head
ID_DIGITS = 9  # of an id; longer ones would not fit into the columns
_REFETCH = "unpack CUB_200_2011.tgz again"


class CUB200(Pictures):
    """One split of CUB-200-2011; columns as in `lib.data.recognition.Pictures`.

    classes: "all" (every picture must be there), "present" (the classes that have all their photographs here), or a sequence of
    names ("009.Brewer_Blackbird", also without its number) and published numbers, in any order. `classes` of the object are
    the published names in published order, `class_ids` their numbers, `notes` says which part was read; labels count within it.
    parts is None where parts/ is not there. Sizes are read from the pictures' headers, so a picture that is missing is noticed
    here. Errors: FileNotFoundError or ValueError, one line that names the file.
    """

    def __init__(self, root: str | os.PathLike[str], split: str, *, classes: str | Sequence[str | int] = "all") -> None:
        check_split(split, "CUB-200-2011")
        self.root, self.split = find_root(Path(root)), split
        tables = read_tables(self.root)
        for stray in strays(tables)[:1]:
            raise ValueError(f"{self.root / FILES[1]}: image {tables.image_id[stray]} is {tables.names[stray]}, but of class "
                             f"{tables.classes[tables.label[stray]]}; {_REFETCH}")
        check_annotations(self.root, tables)
        self.metadata = tuple(self.root / name for name in tables.files)
        chosen, self.notes = choose_classes(self.root, tables, classes)  # ascending indices
        self.class_ids = tables.class_ids[chosen]
        self.classes, self.part_names, self.image_id = [tables.classes[i] for i in chosen], tables.part_names, tables.image_id
        self.label, self.box, self.parts = np.searchsorted(chosen, tables.label), tables.box, tables.parts
        self.path = Paths(self.root / "images", tables.names)
        self.size = np.zeros((len(tables.names), 2), dtype=np.int64)  # filled below, for this split's pictures only
        wanted = (tables.training if split != "test" else ~tables.training) & np.isin(tables.label, chosen)
        if split != "test":
            val = np.zeros_like(wanted)
            val[wanted] = is_val(self.label[wanted])
            wanted &= val == (split == "val")
        self._keep(wanted)
        self.size = self._sizes()

    def _sizes(self) -> NDArray[np.int64]:
        try:
            return np.array([image_size(path) for path in self.path], dtype=np.int64)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{error}; classes='present' reads the classes that are whole") from None


# ------------------------------------------------------------------------------------------------------ a part of the classes


def choose_classes(root: Path, tables: Tables, classes: str | Sequence[str | int]) -> tuple[NDArray[np.int64], dict[str, str]]:
    """Which classes are meant, as ascending indices, and notes on what that leaves out (none where it is all of them)."""
    everything = np.arange(len(tables.classes))
    if isinstance(classes, str) and classes == "all":
        return everything, {}
    notes: dict[str, str] = {}
    if isinstance(classes, str) and classes == "present":
        there, listed = count_there(root, tables)
        chosen = np.flatnonzero((there == listed) & (listed > 0))
        if not len(chosen):
            raise FileNotFoundError(f"{root / 'images'}: no class has all its photographs here; {_REFETCH}")
        broken = np.flatnonzero((there > 0) & (there < listed))
        if len(broken):
            notes["classes left out"] = "; ".join(f"{tables.classes[i]} has {there[i]} of {listed[i]} photographs" for i in broken)
    elif isinstance(classes, str):
        raise ValueError(f"classes {classes!r}: 'all', 'present', or a list of names and numbers such as ['009.Brewer_Blackbird', 10]")
    else:
        chosen = np.unique([_class_index(root, tables, each) for each in classes]).astype(np.int64)
        if not len(chosen):
            raise ValueError("classes: an empty list; name one class at least")
    if len(chosen) < len(everything):
        notes["classes"] = f"{len(chosen)} of {len(everything)}: {', '.join(tables.classes[i] for i in chosen)}"
    return chosen, notes


def _class_index(root: Path, tables: Tables, wanted: str | int) -> int:
    """The place of a class among the published; by number, by name, or by name without the number before it."""
    if isinstance(wanted, (int, np.integer)) and not isinstance(wanted, bool):
        places = np.flatnonzero(tables.class_ids == wanted)
    else:
        places = [i for i, name in enumerate(tables.classes) if wanted in (name, name.partition(".")[2])]
    if len(places) != 1:
        raise ValueError(f"classes: {root / 'classes.txt'} has {len(places) or 'no'} class {wanted!r}; give a line's number or its whole name")
    return int(places[0])


def count_there(root: Path, tables: Tables) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(classes,): how many photographs of each class are on disk, and how many are listed."""
    folders: dict[str, set[str]] = {}
    there = np.zeros(len(tables.names), dtype=bool)
    for index, name in enumerate(tables.names):
        folder, _, file = name.rpartition("/")
        if folder not in folders:
            where = root / "images" / folder
            folders[folder] = {entry.name for entry in os.scandir(where) if entry.is_file()} if where.is_dir() else set()
        there[index] = file in folders[folder]
    count = len(tables.classes)
    return np.bincount(tables.label[there], minlength=count), np.bincount(tables.label, minlength=count)


# --------------------------------------------------------------------------------------------------------------------- parts


def part_points(data: Pictures, names: Sequence[str]) -> NDArray[np.float64]:
    """(N, len(names), 2): x, y of these parts in each picture, NaN where one is not seen. ValueError for an unknown part."""
    if data.parts is None or data.part_names is None:
        raise ValueError(f"{data.root}: has no parts; unpack CUB-200-2011 again, it has them in parts/")
    unknown = [name for name in names if name not in data.part_names]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no part; there are {', '.join(data.part_names)}")
    return data.parts[:, [data.part_names.index(name) for name in names], :2]


def head_box(data: Pictures, *, margin: float = 0.25) -> NDArray[np.float64]:
    """(N, 4) x, y, w, h around the visible parts of the head, inside the picture; NaN where fewer than two are seen.

    margin: how much it is grown on each of the four sides, as a share of its longer side: parts are points in the head's middle.
    """
    points = part_points(data, HEAD)
    seen = np.isfinite(points).all(axis=2, keepdims=True)  # (N, P, 1)
    low = np.where(seen, points, np.inf).min(axis=1)  # (N, 2)
    high = np.where(seen, points, -np.inf).max(axis=1)
    enough = seen.sum(axis=(1, 2)) >= 2
    low[~enough] = high[~enough] = np.nan
    grown = margin * (high - low).max(axis=1, keepdims=True)
    low, high = np.clip(low - grown, 0, data.size[:, ::-1]), np.clip(high + grown, 0, data.size[:, ::-1])
    return np.concatenate([low, high - low], axis=1)


# ------------------------------------------------------------------------------------------------------------ the text files


class Tables(NamedTuple):
    """The text files, N pictures of both splits in the order of their ids."""

    files: tuple[str, ...]
    image_id: NDArray[np.int64]
    names: list[str]
    label: NDArray[np.int64]  # (N,), index into classes
    training: NDArray[np.bool_]  # (N,)
    class_ids: NDArray[np.int64]
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
    _check_names(root / "images.txt", ids, names)
    class_ids, classes = _named(root / "classes.txt")
    if len(set(classes)) < len(classes):
        raise ValueError(f"{root / 'classes.txt'}: two classes have one name; {_REFETCH}")
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
    return Tables(files, ids, names, np.searchsorted(class_ids, species), training == 1, class_ids, classes, box, part_names, parts)


def _check_names(path: Path, ids: NDArray[np.int64], names: list[str]) -> None:
    """Each a path of its own below images/: a picture that two ids name could be trained on and tested on."""
    first: dict[str, int] = {}
    for key, name in zip(ids.tolist(), names, strict=True):
        if name.startswith("/") or ".." in PurePosixPath(name).parts:
            raise ValueError(f"{path}: {name!r} lies outside the data set; {_REFETCH}")
        if PurePosixPath(name).as_posix() != name or not name.isprintable():
            raise ValueError(f"{path}: image {key} is {name[:60]!r}, which is no path of a picture; {_REFETCH}")
        if name in first:
            raise ValueError(f"{path}: images {first[name]} and {key} are the same picture, {name}; {_REFETCH}")
        first[name] = key


def strays(tables: Tables) -> list[int]:
    """The images that lie in another folder than their class's; there are none in the published files."""
    return [index for index, (name, label) in enumerate(zip(tables.names, tables.label.tolist(), strict=True))
            if name.partition("/")[0] != tables.classes[label]]


def check_annotations(root: Path, tables: Tables) -> None:
    """ValueError for boxes and parts that are impossible."""
    empty = (tables.box[:, 2:] <= 0).any(axis=1)
    if empty.any():
        raise ValueError(f"{root / FILES[4]}: the box of image {tables.image_id[empty][0]} has no area; {_REFETCH}")
    if tables.parts is not None:
        place, low = tables.parts[..., :2], tables.box[:, None, :2]
        outside = ((place < low - 1) | (place > low + tables.box[:, None, 2:] + 1)).any(axis=(1, 2))  # NaN: hidden, never outside
        if outside.any():
            raise ValueError(f"{root / PART_FILES[1]}: a part of image {tables.image_id[outside][0]} lies outside its box; {_REFETCH}")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: missing; {_REFETCH}") from None
    except ValueError:
        raise ValueError(f"{path}: is no text file; {_REFETCH}") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({one_line(error)}); {_REFETCH}") from None


def _named(path: Path) -> tuple[NDArray[np.int64], list[str]]:
    """Lines of an id and a name, in the order of ids."""
    rows: dict[int, str] = {}
    for number, line in enumerate(_lines(path), start=1):
        key, _, name = line.strip().partition(" ")
        if not (key.isascii() and key.isdecimal() and len(key) <= ID_DIGITS) or not name or int(key) in rows:
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
    seen = rows[..., 4]
    if not np.isin(seen, (0, 1)).all():
        image, part = np.argwhere(~np.isin(seen, (0, 1)))[0]
        raise ValueError(f"{path}: part {part_ids[part]} of image {ids[image]} is visible {seen[image, part]:g}, neither 0 nor 1; {_REFETCH}")
    parts = rows[..., 2:].copy()
    parts[parts[..., 2] == 0, :2] = np.nan
    return names, parts
