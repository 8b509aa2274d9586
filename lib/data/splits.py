"""Which photographs train, choose and test: splits as lists of file names, so that the exact one of a run can be published and used again.

The default is `lib.data.saliency.fifth_split` of the published order, the split of EML-NET's table too: two methods on one data
set are then scored on the same photographs. It needs no list while the data set is complete (500 images: 360, 40, 100). A list
is for everything else, and for other people's code:

    file,split
    1001.jpg,train
    1005.jpg,test

The Mr-CNN coursework splits MIT1003 803/100/100, and its list is not public. `hashed_split` gives those sizes by a rule that
whoever has the 1,003 photographs can follow without a list from us: in order of the SHA-256 of their file names the first 100 are
for testing, the next 100 for validation. Neither its images nor ours are known to be the coursework's.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lib.data.saliency import SaliencyData, fifth_split
from lib.files import for_file, write_text
from lib.metrics.inputs import whole

SPLITS = ("train", "val", "test")
HEADER = ["file", "split"]
SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}  # that spreadsheets write in place of commas
AMBIGUOUS = -1
Split = dict[str, NDArray[np.int64]]


def default_split(data: SaliencyData) -> Split:
    """{"train", "val", "test"} -> indices, ascending: `fifth_split` of the data set's order. ValueError for fewer than 12 images."""
    return _checked(fifth_split(len(data)), data, str(data.root))


def hashed_split(data: SaliencyData, *, val: int = 100, test: int = 100) -> Split:
    """{"train", "val", "test"} -> indices, ascending, of these sizes: photographs in order of the SHA-256 of their file names.

    The first `test` are for testing, the next `val` for validation, the rest for training: 803, 100, 100 of MIT1003. Which split
    an image is in depends on all names at hand, so it is the same for everybody only on the complete set. ValueError for sizes
    that are no whole numbers, and where nothing is left to train on.
    """
    val, test = whole(val, "val", 0), whole(test, "test", 0)
    if val < 1 or test < 1 or len(data) <= val + test:
        raise ValueError(f"{data.root}: {len(data)} photographs cannot be split into {test} for testing, {val} for validation and some to train on; "
                         "ask for fewer, or give more of the data set")
    names = [data.path(index).name for index in range(len(data))]
    order = sorted(range(len(data)), key=lambda index: hashlib.sha256(names[index].encode()).digest())
    parts = {"train": order[test + val :], "val": order[test : test + val], "test": order[:test]}
    return {split: np.sort(np.array(parts[split], dtype=np.int64)) for split in SPLITS}


def write_split(path: str | Path, data: SaliencyData, split: Mapping[str, ArrayLike]) -> Path:
    """Write a split as a list of file names, in the order of the data set; returns path.

    `split`: {"train", "val", "test"} -> indices. The same split gives the same bytes. A file that is there is replaced.
    ValueError for an index that does not exist or is in two splits, and for an empty split; OSError, one line, where `path` is a folder.
    """
    path, split = for_file(Path(path), named="path"), _checked(split, data, "this split")
    rows = sorted((int(index), name) for name in SPLITS for index in split[name])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([HEADER, *([data.path(index).name, name] for index, name in rows)])
    write_text(path, text.getvalue())
    return path


def read_split(path: str | Path, data: SaliencyData, *, complete: bool = True) -> Split:
    """The split that a list gives: {"train", "val", "test"} -> indices of `data`, ascending.

    A photograph is named by its file name, with or without its suffix; a folder before it is not looked at, nor are capitals where one
    photograph alone has that name. Blank lines are skipped. `complete`: every photograph of `data` must be listed; False leaves
    out those that are not. FileNotFoundError or ValueError, one line, for a list that is missing or no list, names a photograph
    that is not there, names one twice, knows another split than the three, or leaves one of them empty.
    """
    path = Path(path)
    places = _Places(data)
    found: dict[int, str] = {}
    for line, row in _rows(path):
        where = f"{path}: line {line}"
        name, split = _entry(row, where)
        index = places.find(name, where)
        if index in found:
            raise ValueError(f"{where}: {name} is listed a second time; a photograph belongs to one split, remove one of the lines")
        found[index] = split
    if complete and len(found) < len(data):
        absent = [data.path(index).name for index in range(len(data)) if index not in found]
        raise ValueError(f"{path}: does not list {len(absent)} of the {len(data)} photographs in {data.root}, {absent[0]} is the first; "
                         "add them, or read it with complete=False")
    return _checked({split: sorted(i for i, name in found.items() if name == split) for split in SPLITS}, data, str(path))


class _Places:
    """Where a photograph is, by what a list may call it."""

    def __init__(self, data: SaliencyData) -> None:
        self.data = data
        files = [(data.path(index).name, index) for index in range(len(data))]
        short = [(word, index) for name, index in files for word in {Path(name).stem, data.name(index)} - {name}]
        folded = [[(word.casefold(), index) for word, index in named] for named in (files, short)]
        self.exact, self.folded = [[_unique(named) for named in kinds] for kinds in ((files, short), folded)]

    def find(self, name: str, where: str) -> int:
        """The index of `name`: as it is written, then without its folder, then whatever its capitals. ValueError, one line, without any."""
        base = re.split(r"[/\\]", name)[-1]
        for word, tables in ((name, self.exact), (base, self.exact), (base.casefold(), self.folded)):
            place = next((table[word] for table in tables if word in table), None)
            if place == AMBIGUOUS:
                raise ValueError(f"{where}: {name} is the name of several photographs in {self.data.root}; write its suffix too, and its capitals "
                                 "as the file has them")
            if place is not None:
                return place
        other = self.folded[1].get(Path(base).stem.casefold(), AMBIGUOUS)
        if other != AMBIGUOUS:
            raise ValueError(f"{where}: {name} is not in {self.data.root}, but {self.data.path(other).name} is; if that is meant, write it so")
        raise ValueError(f"{where}: {name} is not in {self.data.root}; the list is of another data set, or that copy is incomplete: "
                         "complete it, or remove the line")


def _unique(named: Sequence[tuple[str, int]]) -> dict[str, int]:
    """{word: index}; AMBIGUOUS where two photographs have it."""
    places: dict[str, int] = {}
    for word, index in named:
        places[word] = index if places.get(word, index) == index else AMBIGUOUS
    return places


def _rows(path: Path) -> Sequence[tuple[int, list[str]]]:
    """The lines below the header that are not blank, with their numbers."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:  # spreadsheets put a byte order mark in front
            lines = csv.reader(file, strict=True)
            rows = [(lines.line_num, row) for row in lines if any(cell.strip() for cell in row)]
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: missing; write_split makes such a list") from None
    except (OSError, ValueError, csv.Error) as error:
        raise ValueError(f"{path}: not readable as a CSV list of file names ({type(error).__name__}); write_split makes such a list") from None
    if not rows or [cell.strip().lower() for cell in rows[0][1]] != HEADER:
        _check_separator(rows[0][1] if rows else [], str(path))
        raise ValueError(f"{path}: not a split; write {','.join(HEADER)} as its first line, as write_split does")
    return rows[1:]


def _check_separator(row: list[str], where: str) -> None:
    """ValueError where a line that should have two cells has one, with another separator than a comma in it."""
    if len(row) == 1 and (found := [word for sign, word in SEPARATORS.items() if sign in row[0].strip()]):
        raise ValueError(f"{where}: its columns are separated by {found[0]}; save it with commas, as in {','.join(HEADER)}")


def _entry(row: list[str], where: str) -> tuple[str, str]:
    """A line's file name and split."""
    _check_separator(row, where)
    if len(row) != 2:
        raise ValueError(f"{where}: has {len(row)} columns, not a file name and a split; write a line such as 1001.jpg,train")
    name, split = (cell.strip() for cell in row)
    if split not in SPLITS:
        raise ValueError(f"{where}: {name} is in {split!r}; a split is one of {', '.join(SPLITS)}; write one of them")
    return name, split


def _checked(split: Mapping[str, ArrayLike], data: SaliencyData, where: str) -> Split:
    """The three splits as ascending indices: none empty, none shared, all of them in `data`."""
    if set(split) != set(SPLITS):
        raise ValueError(f"{where}: must have the splits {', '.join(SPLITS)}, has {', '.join(sorted(split)) or 'none'}; give each of the three")
    given = {name: np.asarray(split[name]).reshape(-1) for name in SPLITS}
    if odd := [name for name, indices in given.items() if indices.size and indices.dtype.kind not in "iu"]:
        raise ValueError(f"{where}: {odd[0]} is given by {given[odd[0]].dtype}, not by whole numbers; give indices of photographs")
    checked = {name: np.sort(indices.astype(np.int64)) for name, indices in given.items()}
    for name, indices in checked.items():
        if not len(indices):
            raise ValueError(f"{where}: no photograph is left for {name}; each of the three splits needs one at least, so add some to it")
    together = np.concatenate(list(checked.values()))
    if together.min() < 0 or together.max() >= len(data):
        raise ValueError(f"{where}: photographs {together.min()} to {together.max()} are named, the data set has 0 to {len(data) - 1}; "
                         "make the split for this data set")
    values, counts = np.unique(together, return_counts=True)
    if (counts > 1).any():
        raise ValueError(f"{where}: {data.path(int(values[counts > 1][0])).name} is named twice; "
                         "a photograph belongs to one split, so take it out of the others")
    return checked
