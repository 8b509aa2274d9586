"""What data sets are read with: pictures as published (`lib.files.pictures` with their stored orientation), and the mark of a twin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lib.files.pictures import picture_size, read_picture
from lib.files.text import UNPACK, one_line, read_json

__all__ = ["TWIN_FILE", "image_size", "one_line", "read_json", "read_rgb", "read_twin"]

TWIN_FILE = "TWIN.json"  # at the root of every synthetic twin, and of nothing else


def read_twin(root: Path) -> dict[str, Any] | None:
    """The content of TWIN.json if `root` holds synthetic data, else None."""
    return read_json(Path(root) / TWIN_FILE) if (Path(root) / TWIN_FILE).is_file() else None


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
