"""What data sets are read with: pictures as published (`lib.files.pictures` with their stored orientation), and the mark of a twin."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lib.files.pictures import picture_size, read_picture
from lib.files.text import UNPACK, one_line, read_json

__all__ = ["TWIN_FILE", "equal_files", "image_size", "is_file_name", "numbers", "one_line", "read_json", "read_rgb", "read_twin", "whole_numbers"]

TWIN_FILE = "TWIN.json"  # at the root of every synthetic twin, and of nothing else


def read_twin(root: Path) -> dict[str, Any] | None:
    """The content of TWIN.json if `root` holds synthetic data, else None."""
    return read_json(Path(root) / TWIN_FILE) if (Path(root) / TWIN_FILE).is_file() else None


def is_file_name(name: Any, *, folders: bool = False) -> bool:
    """Whether `name` can be a file's name below a data set's folder: text without control characters, never outside; with `folders`, a path."""
    parts = name.split("/") if isinstance(name, str) else [""]
    return all(part not in ("", ".", "..") and part.isprintable() and "\\" not in part for part in parts) and (folders or len(parts) == 1)


def equal_files(paths: list[Path]) -> list[list[int]]:
    """Groups of two or more equal files, as positions in `paths`, in their order; a file that cannot be read is in none."""
    groups: dict[object, list[int]] = {}
    for index, path in enumerate(paths):
        with contextlib.suppress(OSError):
            groups.setdefault(os.stat(path).st_size, []).append(index)
    same: dict[object, list[int]] = {}
    for group in groups.values():
        for index in group if len(group) > 1 else ():
            with contextlib.suppress(OSError):
                same.setdefault(hashlib.sha256(paths[index].read_bytes()).digest(), []).append(index)
    return [group for group in same.values() if len(group) > 1]


def numbers(values: Iterable[Any]) -> NDArray[np.float64]:
    """JSON's numbers and nulls as float64, null as NaN. ValueError, a few words, for text, even of digits, for true and false, and for lists."""
    values = list(values)
    if not set(map(type, values)) <= {int, float, type(None)}:
        raise ValueError("an entry is not a number")
    try:
        return np.array(values, dtype=np.float64)
    except OverflowError:
        raise ValueError("an entry has too many digits for a number") from None


def whole_numbers(values: Iterable[Any], what: str) -> NDArray[np.int64]:
    """JSON's whole numbers as int64. ValueError, a few words, for fractions, text, true and false, and more digits than fit."""
    values = list(values)
    if not set(map(type, values)) <= {int}:
        odd = next(value for value in values if type(value) is not int)
        raise ValueError(f"{what} is {str(odd)[:20]!r}, and not a whole number")
    try:
        return np.array(values, dtype=np.int64)
    except OverflowError:
        raise ValueError(f"{what} has too many digits") from None


def image_size(path: Path) -> tuple[int, int]:
    """(H, W) from the file's header, as stored; nothing is decoded."""
    return picture_size(path, remedy=UNPACK)


def read_rgb(path: Path, size: tuple[int, int] | None = None, *, reduce: int = 1) -> np.ndarray:
    """The photograph at `path` as (H, W, 3) uint8 RGB, as stored; see `lib.files.pictures` for what is converted and what refused.

    reduce: average this many pixels each way into one. Raises ValueError with one line for a file that cannot be decoded, or
    whose (height, width) is not `size`.
    """
    try:
        pixels = read_picture(path, mode="photograph")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: the file is missing; unpack the data set again") from None
    if size is not None and pixels.shape[:2] != tuple(size):
        height, width = pixels.shape[:2]
        raise ValueError(f"{path}: is {width}x{height}, expected {size[1]}x{size[0]}; unpack the data set again")
    return pixels if reduce == 1 else np.asarray(Image.fromarray(pixels).reduce(reduce))
