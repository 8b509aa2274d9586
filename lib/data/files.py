"""Reading what lies on disk, with one line for whatever is wrong: JSON, image sizes, and whether a data set is a synthetic twin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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


def one_line(error: Exception) -> str:
    """An error's message without its line breaks."""
    return " ".join(str(error).split())
