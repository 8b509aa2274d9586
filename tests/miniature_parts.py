"""What miniatures are made of: pictures, blurred maps, MATLAB's cells, JSON; and digests of what is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = (48, 64)  # H, W of most pictures here


@dataclass(frozen=True)
class Miniature:
    """A valid input in a folder: `files` of it that may be damaged, by the name of their format, and what uses them."""

    folder: Path
    files: dict[str, Path]
    uses: dict[str, Callable[[Path], Any]]  # given a folder for output; "command": words


def digest(*values: Any) -> str:
    """16 hex digits of arrays, numbers and texts."""
    hashed = hashlib.sha256()
    for value in values:
        array = np.asarray(value)
        hashed.update(repr((array.dtype.str, array.shape)).encode() + (repr(array.tolist()).encode() if array.dtype == object else array.tobytes()))
    return hashed.hexdigest()[:16]


def picture(size: tuple[int, int] = SIZE, seed: int = 0) -> np.ndarray:
    """A smooth coloured scene, (H, W, 3) uint8."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC))


def textured(size: tuple[int, int] = SIZE, seed: int = 0) -> np.ndarray:
    """A scene whose three channels resemble one another, as those of photographs do, (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    light = sum(np.kron(rng.random((size[0] // step + 1, size[1] // step + 1)), np.ones((step, step)))[: size[0], : size[1]] for step in (1, 2, 4, 8))
    return (55 * light[..., None] * [1, 0.9, 0.8] + 10).astype(np.uint8)


def blob(size: tuple[int, int] = SIZE, at: tuple[int, int] = (20, 30)) -> np.ndarray:
    """A blurred map, (H, W) float from 0 to 1."""
    y, x = np.mgrid[: size[0], : size[1]]
    return np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / 150)


def grey(values: np.ndarray) -> Image.Image:
    return Image.fromarray((255 * values).astype(np.uint8))


def cells(items: Sequence[Any]) -> np.ndarray:
    """MATLAB's n x 1 cell array."""
    made = np.empty((len(items), 1), dtype=object)
    made[:, 0] = items
    return made


def as_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path
