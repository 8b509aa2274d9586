"""Anybody's labelled pictures: a folder of class folders, or a CSV of paths and labels, in the columns of `Pictures`.

    FOLDER/<class>/<picture>                      as torchvision's ImageFolder reads it
    FOLDER/{train,test[,val]}/<class>/<picture>   split by whoever made it; with train and val alone, val is what is tested on
    FILE.csv                                      columns path,label[,split]; paths relative to the file's folder, or absolute

Where nothing is split, it is drawn: of each class the share `test`, and the share `val` of it for choosing, at least one picture
each, in the order of SHA-256 of seed and name. So the draw is the same on every machine, and a picture that is added moves few
others. Where there is train and test but no val, val is drawn from train in the same way.

Every picture of a split is decoded once when it is opened. Those that cannot be are left out, and `notes` counts and names them;
`unreadable="refuse"` stops at the first. How a picture becomes RGB (bit depths, alpha, EXIF orientation) is `read_picture`'s
business alone, and sizes are those of what it gives.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lib.data.class_folders import class_folders, same_classes
from lib.data.files import equal_files, one_line, read_rgb
from lib.data.recognition import SPLITS, Paths, Pictures, check_split

GIVEN = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}  # a folder's or cell's word -> split
SMALL = 32  # pixels: a picture with a shorter side is counted in the notes
UNREADABLE = ("leave out", "refuse")
_NAMED = 5  # so many are named where many are counted


@dataclass(frozen=True)
class Listing:
    """What a source lists, before any picture is opened: names relative to root, class of each, and split where it is given."""

    root: Path
    names: list[str]
    classes: list[str]  # one for each picture
    split: list[str] | None
    metadata: tuple[Path, ...] = ()


class LabelledPictures(Pictures):
    """One split of somebody's pictures; columns as in `lib.data.recognition.Pictures`, boxes NaN, no parts.

    source: the folder or the CSV. seed, val, test: of the draw, shares in (0, 1); nothing where the source is split. classes are
    in the order of their names, the same in every split. notes say how it was split and what was left out. progress(done, total)
    is called after each picture. FileNotFoundError or ValueError, one line that names the file, line or class.
    """

    def __init__(self, source: str | os.PathLike[str], split: str, *, seed: int = 0, val: float = 0.1, test: float = 0.2,
                 unreadable: str = "leave out", progress: Callable[[int, int], object] | None = None) -> None:
        check_split(split, "a folder of pictures")
        if unreadable not in UNREADABLE:
            raise ValueError(f"unreadable {unreadable!r}: one of {', '.join(UNREADABLE)}")
        if not (0 < val < 1 and 0 < test < 1 and val + test < 1):
            raise ValueError(f"val and test are shares of the pictures, got {val} and {test}; both above 0, and less than 1 together")
        listing = read_listing(source)
        self.root, self.split, self.metadata = listing.root, split, listing.metadata
        self.classes = sorted(set(listing.classes))
        if len(self.classes) < 2:
            raise ValueError(f"{source}: has one class, {self.classes[0]!r}; there is nothing to tell apart, give two classes at least")
        parts, how = assign(listing, seed=seed, val=val, test=test, source=str(source))
        self.notes = {"split": how}
        chosen = np.flatnonzero(np.array(parts) == split)
        self.path = Paths(self.root, [listing.names[i] for i in chosen])
        self.label = np.array([self.classes.index(listing.classes[i]) for i in chosen], dtype=np.int64)
        self.image_id, self.box = chosen.astype(np.int64), np.full((len(chosen), 4), np.nan)
        self.size, left_out = self._open(unreadable, progress)
        self._keep(self.size[:, 0] > 0)
        self._tell(left_out)
        self.notes |= told_of_copies(listing, parts, split)

    def image(self, index: int) -> NDArray[np.uint8]:
        pixels = read_picture(self.path[index])
        if pixels.shape[:2] != tuple(self.size[index]):
            raise ValueError(f"{self.path[index]}: has changed since it was opened; start again")
        return pixels

    def _open(self, unreadable: str, progress: Callable[[int, int], object] | None) -> tuple[NDArray[np.int64], list[str]]:
        """(N, 2) sizes, 0 where a picture cannot be read, and what is wrong with those."""
        size, left_out = np.zeros((len(self.path), 2), dtype=np.int64), []
        for index, path in enumerate(self.path):
            try:
                size[index] = read_picture(path).shape[:2]
            except (OSError, ValueError) as error:
                if unreadable == "refuse":
                    raise ValueError(f"{one_line(error)}; or leave it out: unreadable='leave out'") from None
                left_out.append(self.path.names[index])
            if progress is not None:
                progress(index + 1, len(self.path))
        for label, name in enumerate(self.classes):
            of_class = self.label == label
            if not (size[of_class, 0] > 0).any():
                raise ValueError(f"{self.root}: no picture of {name!r} in split {self.split!r} can be read; add some, or leave the class out")
        return size, left_out

    def _tell(self, left_out: list[str]) -> None:
        if left_out:
            self.notes["left out"] = f"{_number(left_out, 'picture')} of {self.split} cannot be read: {_some(left_out)}"
        tiny = [self.path.names[i] for i in np.flatnonzero(self.size.min(axis=1) < SMALL)]
        if tiny:
            self.notes["tiny"] = f"{_number(tiny, 'picture')} of {self.split} with a side of less than {SMALL} px: {_some(tiny)}"


def read_picture(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) RGB: the one place where this module opens a picture. ValueError or OSError, one line."""
    return read_rgb(path)


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def _number(things: list[str], noun: str) -> str:
    return f"{len(things):,} {noun}{'' if len(things) == 1 else 's'}"


def told_of_copies(listing: Listing, parts: list[str], split: str) -> dict[str, str]:
    """Notes on pictures of `split` that lie, byte by byte, in another class or part as well. Only files of one size are read."""
    found = {}
    same = [group for group in equal_files([listing.root / name for name in listing.names]) if any(parts[i] == split for i in group)]
    classes = [group for group in same if len({listing.classes[i] for i in group}) > 1]
    leaks = [group for group in same if split == "test" and len({parts[i] for i in group}) > 1]
    for key, groups, told in (("classes", classes, "several classes"), ("copies", leaks, "test and among those that are learned from")):
        if groups:
            equal = [" = ".join(listing.names[i] for i in group) for group in groups]
            found[key] = f"{_number(groups, 'picture')} of {split} in {told}: {_some(equal)}"
    return found


# -------------------------------------------------------------------------------------------------------------- what is listed


def read_listing(source: str | os.PathLike[str]) -> Listing:
    """A folder or a CSV as names, classes and splits; no picture is opened. Errors as `LabelledPictures`."""
    source = Path(source)
    if source.is_dir():
        return _folders(source)
    if source.suffix.lower() == ".csv" or source.is_file():
        return _table(source)
    raise FileNotFoundError(f"{source}: no such folder or file; give a folder with one folder for each class, or a CSV with the columns path,label")


def _folders(root: Path) -> Listing:
    inside = {entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith(".")}
    if not ("train" in inside and len(inside) > 1 and inside <= set(GIVEN)):
        found = class_folders(root)
        names = [name for files in found.values() for name in files]
        return Listing(root, names, [name for name, files in found.items() for _ in files], None)
    if len({GIVEN[name] for name in inside}) < len(inside):
        raise ValueError(f"{root}: has {', '.join(sorted(inside))}, of which two are the same split; keep one of them")
    found = {name: class_folders(root / name) for name in sorted(inside)}
    same_classes(found, root)
    rows = [(f"{folder}/{name}", label, GIVEN[folder]) for folder, classes in found.items() for label, files in classes.items() for name in files]
    return Listing(root, *(list(column) for column in zip(*rows, strict=True)))


def _table(path: Path) -> Listing:
    """A CSV; what is in other columns is nobody's business here."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [cell.strip() for cell in next(reader, [])]
            rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; give a CSV with the columns path,label") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not readable as CSV ({one_line(error)}); save it as comma-separated UTF-8 text") from None
    if header.count("path") != 1 or header.count("label") != 1 or header.count("split") > 1:
        raise ValueError(f"{path}: its first line must name the columns path and label, and split if there is one")
    entries = [_row(dict(zip(header, row, strict=False)), len(row) == len(header), path, line) for line, row in rows]
    if not entries:
        raise ValueError(f"{path}: lists no picture; give one line for each, path,label")
    first: dict[str, int] = {}
    for (line, _), (name, _, _) in zip(rows, entries, strict=True):
        if first.setdefault(os.path.normpath(name), line) != line:
            raise ValueError(f"{path}: line {line}: {name} is listed in line {first[os.path.normpath(name)]} already; keep one of them")
    names, labels, splits = (list(column) for column in zip(*entries, strict=True))
    return Listing(path.parent, names, labels, splits if "split" in header else None, (path,))


def _row(cells: Mapping[str, str], complete: bool, path: Path, line: int) -> tuple[str, str, str]:
    """Name, label and split of a line."""
    where = f"{path}: line {line}"
    name, label, split = (cells.get(column, "").strip() for column in ("path", "label", "split"))
    if not complete or not name or not label:
        raise ValueError(f"{where}: has no path or no label, or another number of columns than the first line; correct or remove it")
    if "split" in cells and split not in GIVEN:
        raise ValueError(f"{where}: split {split!r} is not one of {', '.join(SPLITS)}")
    if "\0" in name or not (path.parent / name).is_file():
        raise FileNotFoundError(f"{where}: {name!r} is no file of {path.parent}; correct the path or remove the line")
    return name, label, GIVEN.get(split, "")


# --------------------------------------------------------------------------------------------------------------- who is where


def assign(listing: Listing, *, seed: int, val: float, test: float, source: str) -> tuple[list[str], str]:
    """The split of each picture, and one sentence on how it came about. ValueError for a class with too few pictures."""
    if listing.split is None:
        parts = ["train"] * len(listing.names)
        _draw(listing, parts, "test", test, len(SPLITS), seed, source)
        _draw(listing, parts, "val", val / (1 - test), 2, seed, source)
        return parts, f"drawn with seed {seed}: {test:.0%} of each class to test on, {val:.0%} to choose by"
    parts, how = list(listing.split), "as given"
    if "test" not in parts:
        parts, how = ["test" if part == "val" else part for part in parts], "as given, val is what is tested on"
    missing = {"train", "test"} - set(parts)
    if missing:
        raise ValueError(f"{source}: has a split but nothing in {min(missing)}; give some to train on and some to test on, or no split at all")
    if "val" not in parts:
        _draw(listing, parts, "val", val, 2, seed, source)
        how += f"; {val:.0%} of each class of train, drawn with seed {seed}, to choose by"
    for part in SPLITS:
        absent = set(listing.classes) - {name for name, where in zip(listing.classes, parts, strict=True) if where == part}
        if absent:
            raise ValueError(f"{source}: class {min(absent)!r} has no picture in {part}; every split needs every class, add one")
    return parts, how


def _draw(listing: Listing, parts: list[str], part: str, share: float, least: int, seed: int, source: str) -> None:
    """Move a share of each class' training pictures, one at least, to `part`."""
    of_class: dict[str, list[int]] = {}
    for index, name in enumerate(listing.classes):
        if parts[index] == "train":
            of_class.setdefault(name, []).append(index)
    for name, indices in of_class.items():
        if len(indices) < least:
            raise ValueError(f"{source}: class {name!r} has {_number(indices, 'picture')}; it takes {least} at least to split them, add some")
        indices.sort(key=lambda index: hashlib.sha256(f"{seed}/{listing.names[index]}".encode(errors="surrogateescape")).digest())
        for index in indices[: max(1, round(share * len(indices)))]:
            parts[index] = part
