"""A saliency map from any file that one is kept in: .npy, .npz, .mat, or a picture.

The values are (H, W) floats, finite. Of an .npz or .mat the one array that can be a map is taken, or the one that is named as in
`NAMES`. Which file of several is the finest: arrays and float pictures, then 32 and 16 bits, 8 bits, and last what a JPEG or a lossy WebP kept.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lib.files.matlab import read_mat
from lib.files.pictures import PICTURE_LIMIT, picture_header, picture_kind, read_picture
from lib.files.text import one_line

ARRAYS = (".npy", ".npz", ".mat")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".pgm", ".ppm", ".pfm", ".avif")
NAMES = ("saliency_map", "saliencymap", "saliency", "smap", "salmap", "sal", "map", "prediction", "pred")
REMEDY = "write the map again, as .npy or in 16-bit grey"


def read_map_file(path: str | Path) -> NDArray[np.floating]:
    """The map at `path`, (H, W) float32 or float64. FileNotFoundError or ValueError, one line that names the file and says what to do."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in ARRAYS:
        return read_picture(path, mode="map", remedy=REMEDY)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {REMEDY}")
    return as_map(_MAT_OR_NUMPY[suffix](path), str(path))


def map_kind(path: str | Path) -> str:
    """What a file keeps a map in: "npy", "npz", "mat", or as `picture_kind` says; the headers of pictures are read."""
    suffix = Path(path).suffix.lower()
    return suffix[1:] if suffix in ARRAYS else picture_kind(picture_header(path, remedy=REMEDY))


def fineness(kind: str) -> int:
    """How much a kind of file (`map_kind`) keeps of a map's values, 0 most."""
    if kind in ("npy", "npz", "mat") or kind.endswith("float"):
        return 0
    return 1 if kind.endswith("32 bits") else 2 if kind.endswith("16 bits") else 3 if kind.endswith("8 bits") else 4


def as_map(values: NDArray, where: str) -> NDArray[np.floating]:
    """An array as (H, W) floats; axes of length 1 before or behind are taken away. ValueError, one line that begins with `where`."""
    values = np.asarray(values)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{where}: holds {values.dtype}, and a map is of real numbers; {REMEDY}")
    while values.ndim > 2 and 1 in (values.shape[0], values.shape[-1]):
        values = values[0] if values.shape[0] == 1 else values[..., 0]
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"{where}: has shape {values.shape}, and a map is (height, width); {REMEDY}")
    if values.size > PICTURE_LIMIT:
        raise ValueError(f"{where}: has more than {PICTURE_LIMIT:,} pixels, which is the most that is read; shrink the map")
    values = values.astype(np.float32 if values.dtype.itemsize <= 2 or values.dtype == np.float32 else np.float64)
    if bad := int((~np.isfinite(values)).sum()):
        raise ValueError(f"{where}: {bad:,} of {values.size:,} pixels are NaN or infinite; write the map again with a number in each")
    return values


def _npy(path: Path) -> NDArray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)  # mapped: the header may claim any shape
    except Exception as error:  # NumPy raises whatever a damaged header leads it to
        raise ValueError(f"{path}: not readable as .npy ({one_line(error)[:200]}); {REMEDY}") from None


def _npz(path: Path) -> NDArray:
    try:
        with zipfile.ZipFile(path) as archive:
            if max((entry.file_size for entry in archive.infolist()), default=0) > 8 * PICTURE_LIMIT + 4096:
                raise ValueError(f"an array of more than {PICTURE_LIMIT:,} numbers")
        with np.load(path, allow_pickle=False) as arrays:
            content = {name: arrays[name] for name in arrays.files}
    except Exception as error:  # as above
        raise ValueError(f"{path}: not readable as .npz ({one_line(error)[:200]}); {REMEDY}") from None
    return _the_map(content, path)


def _the_map(content: dict[str, NDArray], path: Path) -> NDArray:
    """The one array of several that can be a map."""
    able = {name: value for name, value in content.items()
            if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.ndim >= 2 and sum(side > 1 for side in value.shape) >= 2}
    named = [name for wanted in NAMES for name in able if name.lower() == wanted]
    if not able:
        raise ValueError(f"{path}: holds no array (height, width) among {', '.join(content) or 'nothing'}; {REMEDY}")
    if len(able) > 1 and not named:
        raise ValueError(f"{path}: holds several arrays that could be the map ({', '.join(list(able)[:6])}); keep one, or call it {NAMES[0]}")
    return able[(named or list(able))[0]]


_MAT_OR_NUMPY = {".npy": _npy, ".npz": _npz, ".mat": lambda path: _the_map(read_mat(path), path)}
