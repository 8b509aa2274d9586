"""Reading what lies on disk, with one line for whatever is wrong: JSON, image sizes, and whether a data set is a synthetic twin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

TWIN_FILE = "TWIN.json"  # at the root of every synthetic twin, and of nothing else
_REFETCH = "unpack the archive that it comes from again"


def read_json(path: Path) -> Any:
    """The content of a JSON file; a missing or broken one is a one-line error that names it."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: missing; {_REFETCH}") from None
    except ValueError as error:
        raise ValueError(f"{path}: not readable as JSON ({error}); {_REFETCH}") from None


def read_twin(root: Path) -> dict[str, Any] | None:
    """The content of TWIN.json if `root` holds synthetic data, else None."""
    return read_json(Path(root) / TWIN_FILE) if (Path(root) / TWIN_FILE).is_file() else None


def image_size(path: Path) -> tuple[int, int]:
    """(H, W) from the file's header; nothing is decoded."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: missing; {_REFETCH}") from None
    except OSError as error:
        raise ValueError(f"{path}: not readable as an image ({one_line(error)}); {_REFETCH}") from None


def read_rgb(path: Path, size: tuple[int, int] | None = None, *, reduce: int = 1) -> np.ndarray:
    """The image at `path` as (H, W, 3) uint8 RGB; greyscale, CMYK and palette images are converted.

    reduce: average this many pixels each way into one. Raises ValueError with one line for a file that cannot be decoded, or
    whose (height, width) is not `size`.
    """
    try:
        with Image.open(path) as image:
            found = (image.height, image.width)
            pixels = np.asarray(image.convert("RGB").reduce(reduce))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: the file is missing; unpack the data set again") from None
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path}: cannot be decoded ({error}); replace the file or unpack it again") from None
    if size is not None and found != tuple(size):
        raise ValueError(f"{path}: is {found[1]}x{found[0]}, expected {size[1]}x{size[0]}")
    return pixels


def one_line(error: Exception) -> str:
    """An error's message without its line breaks."""
    return " ".join(str(error).split())
