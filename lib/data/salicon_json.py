"""SALICON's JSON of 2014, in the format of MS COCO, and which of its two coordinate conventions a file has.

Both are in the wild under the same keys, and nothing in a file names its own:

    row-column    [row, column], whole numbers from 1    fixations_train2014examples.json
    xy            [x, y], fractions, from 0              fixations_val2014_examples.json

Taken for the other, fixations are mirrored at the diagonal. The file's points tell: those that lie in the picture only if the first
number is the row, or only if it is x, vote for that (of the two examples 14 and 15 % do, none against). Where no point votes,
because pictures are square or all points lie where both fit, fractions and zeros are of "xy", and a number that no pixel from 0
has is of "row-column". Whatever is left, and whatever contradicts itself, is refused: `coordinates` decides.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.data.files import is_file_name, one_line, read_json

COORDINATES = ("row-column", "xy")
MINORITY = 0.01  # of the votes: so many may be stray points
_REFETCH = "unpack the archive that it comes from again"


@dataclass(frozen=True)
class JsonFixations:
    """A file's fixations: {file name: positions (n, 2) as x, y, the first pixel from 0 to 1; worker (n,); (H, W) where it is given}."""

    records: dict[str, tuple[NDArray[np.float64], NDArray[np.int64], tuple[int, int] | None]]
    coordinates: str  # the convention that they were read by


def read_fixations(path: Path, *, coordinates: str | None = None) -> JsonFixations:
    """All fixations of a file. coordinates: one of COORDINATES, or None to find out.

    FileNotFoundError or ValueError, one line, for a file that is missing, is something else, or does not tell its convention.
    """
    if coordinates not in (None, *COORDINATES):
        raise ValueError(f"coordinates {coordinates!r}: SALICON's JSON has {' or '.join(COORDINATES)}")
    content = read_json(path)
    try:
        sizes, parts = _images(content), _parts(content)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise ValueError(f"{path}: not SALICON's JSON of 2014 ({type(error).__name__}: {one_line(error)}); {_REFETCH}") from None
    if coordinates is None:
        coordinates = convention({name: parts[name][:, :2] for name in sizes}, sizes, path)
    return JsonFixations({name: (_positions(parts[name], coordinates), parts[name][:, 2].astype(np.int64), sizes[name]) for name in sizes},
                         coordinates)


def _images(content: Any) -> dict[str, tuple[int, int] | None]:
    """{file name: (H, W), or None where it is not given}."""
    sizes: dict[str, tuple[int, int] | None] = {}
    for image in content["images"]:
        name = image["file_name"]
        if not is_file_name(name) or name in sizes:
            raise ValueError(f"image {str(name)[:60]!r} is no name of a file, or listed twice")
        given = image.get("height"), image.get("width")
        sizes[name] = None if None in given else _size(*given)
    return sizes


def _size(height: Any, width: Any) -> tuple[int, int]:
    if not all(type(side) is int and 0 < side < 2**31 for side in (height, width)):
        raise ValueError(f"an image of {str(width)[:20]} x {str(height)[:20]} pixels")
    return height, width


def _parts(content: Any) -> dict[str, NDArray[np.float64]]:
    """{file name: (n, 3) of first, second, worker, as in the file}."""
    names = {image["id"]: image["file_name"] for image in content["images"]}
    if len(names) < len(content["images"]):
        raise ValueError("two images have one id")
    parts: dict[str, list[NDArray[np.float64]]] = defaultdict(lambda: [np.zeros((0, 3))])
    for annotation in content["annotations"]:
        points, worker = np.asarray(annotation["fixations"]), annotation["worker_id"]
        if points.size and not {type(number) for point in annotation["fixations"] for number in point} <= {int, float}:
            raise ValueError(f"fixations of worker {str(worker)[:20]} are not all numbers")
        if points.size == 0:
            points = np.zeros((0, 2))
        if points.ndim != 2 or points.shape[1] != 2 or points.dtype.kind not in "iuf" or not np.isfinite(points).all():
            raise ValueError(f"fixations of worker {str(worker)[:20]} are not pairs of finite numbers")
        if not isinstance(worker, int) or isinstance(worker, bool) or abs(worker) >= 2**53:
            raise ValueError(f"worker {str(worker)[:20]} is no whole number")
        parts[names[annotation["image_id"]]].append(np.column_stack([points, np.full(len(points), worker)]).astype(np.float64))
    return defaultdict(lambda: np.zeros((0, 3)), {name: np.concatenate(found) for name, found in parts.items()})


def _positions(rows: NDArray[np.float64], coordinates: str) -> NDArray[np.float64]:
    """As in the file -> continuous x, y; both conventions name the middle of a pixel by a whole number."""
    return rows[:, [1, 0]] - 0.5 if coordinates == "row-column" else rows[:, :2] + 0.5


# ------------------------------------------------------------------------------------------------------------ the convention


@dataclass
class Evidence:
    """Points that speak for something: see the module's docstring."""

    points: int = 0
    row_column: int = 0  # in the picture, but not if they were xy, by more than a pixel
    xy: int = 0  # the other way round
    fractions: int = 0
    zeros: int = 0  # of either number
    last_row_column: int = 0  # the last row or column, counted from 1
    last_xy: int = 0  # the same if the first number is x
    beyond: int = 0  # in the picture as row and column from 1, and no pixel as x and y from 0


def evidence(parts: dict[str, NDArray[np.float64]], sizes: dict[str, tuple[int, int] | None]) -> Evidence:
    """{file name: (n, 2) as in the file} and {file name: (H, W)} -> what they say together."""
    found = Evidence()
    for name, points in parts.items():
        found.points += len(points)
        found.fractions += int((points != np.floor(points)).any(axis=1).sum())
        found.zeros += int((points == 0).any(axis=1).sum())
        size = sizes[name]
        if size is None:
            continue
        row_column, xy = np.array(size), np.array(size[::-1])  # the greatest that the two numbers may be, from 1
        within, within_xy = ((points >= 0) & (points <= row_column)).all(axis=1), ((points >= 0) & (points <= xy)).all(axis=1)
        far, far_xy = (points > row_column + 1).any(axis=1), (points > xy + 1).any(axis=1)
        found.row_column += int((within & far_xy).sum())
        found.xy += int((within_xy & far).sum())
        found.last_row_column += int((points == row_column).any(axis=1).sum())
        found.last_xy += int((points == xy).any(axis=1).sum())
        found.beyond += int((within & (points > xy - 1).any(axis=1)).sum())
    return found


def convention(parts: dict[str, NDArray[np.float64]], sizes: dict[str, tuple[int, int] | None], path: Path) -> str:
    """One of COORDINATES. A file without a point is "row-column". ValueError, one line, where the points do not tell."""
    e = evidence(parts, sizes)
    if not e.points:
        return "row-column"
    if max(e.row_column, e.xy):
        by_size = "row-column" if e.row_column > e.xy else "xy"
        stray = min(e.row_column, e.xy)
        if stray <= MINORITY * max(e.row_column, e.xy) and by_size in _by_origin(e, first_is_x=by_size == "xy"):
            return by_size
    elif len(told := _by_origin(e, first_is_x=None)) == 1:
        return told[0]
    raise ValueError(f"{path}: does not tell whether its fixations are [row, column] from 1 or [x, y] from 0 ({e.row_column:,} of {e.points:,} "
                     f"lie in the picture only as the one, {e.xy:,} only as the other, {e.fractions:,} have fractions, {e.zeros:,} a zero); "
                     "give coordinates='row-column' or coordinates='xy'")


def _by_origin(e: Evidence, *, first_is_x: bool | None) -> list[str]:
    """The conventions that fractions, zeros and last pixels allow. first_is_x: where sizes have told that already."""
    if e.fractions:
        return ["xy"]
    last = {True: e.last_xy, False: e.last_row_column, None: e.beyond}[first_is_x]
    if e.zeros > last:
        return ["xy"]
    if last > e.zeros:
        return ["row-column"]
    return ["row-column"] if first_is_x is False else []
