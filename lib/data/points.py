"""Fixations that can be: inside the picture that they were recorded on, at the size it had then, in numbers that people produce.

Coordinates belong to pictures of one size. Where the pictures on disk have another, the points would lie elsewhere or be pinned to the
border, and every metric would be computed all the same: so sizes are compared (`made_for`), and points are scaled when asked.

What cannot be (stated once, for every set)
    outside     `ROUNDING` pixel beyond the border is rounding; a photograph with more than `OUTSIDE_MOST` of its points further
                outside is refused: another size, another order of x and y, another origin
    swapped     over a whole set, people look at the middle: where the mean point lies nearer to the middle of the picture turned on
                its side than to its own, x and y are taken for swapped (`verify`)
    observers   more fixations of one observer on one picture than the set's recording time allows (`verify`)
    crowded     more than `FIXATED_MOST` of a picture's pixels fixated: a blurred or an inverted map, not points
    few places  a whole set of `PLACES_FROM` points or more that lie on fewer different pixels, all pictures laid over one another, than
                `PLACES_LEAST` of the points (of a picture's pixels, if those are fewer): fractions of the picture's size, which are all
                rounded to its first pixels, or one number for all
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lib.files.text import UNPACK

ROUNDING = 1  # pixel
OUTSIDE_MOST = 0.05
FIXATED_MOST = 0.25  # raw mouse positions of SALICON fixate 8 % of a picture at most, eye fixations 0.02 %
PLACES_FROM = 50  # points: fewer may lie where they like
PLACES_LEAST = 0.05  # of OSIE, MIT1003 and the SALICON at hand the least is 0.57; SALICON has more points than a picture has pixels
_FAR = 10**6  # pixels: what is further outside is as far outside, and fits into an integer


def made_for(path: Path, size: tuple[int, int], recorded: tuple[int, int], *, scale: bool) -> None:
    """ValueError where the picture is not of the size (H, W) that its fixations were recorded at, unless they are to be scaled."""
    if tuple(size) != tuple(recorded) and not scale:
        raise ValueError(f"{path}: is {size[1]}x{size[0]}, and its fixations were recorded at {recorded[1]}x{recorded[0]}; take the published "
                         "picture, or scale the fixations with scale_fixations=True (score: --scale-fixations)")


def to_pixels(positions: NDArray[np.float64], recorded: tuple[int, int], size: tuple[int, int]) -> NDArray[np.int64]:
    """(n, 2) continuous positions (x, y), the first pixel from 0 to 1, in a picture of `recorded` (H, W) -> pixels of `size`.

    Each axis is scaled by itself: right for pictures that were resized or squashed, not for cropped or padded ones. Whole numbers from 0
    are positions once 0.5 is added. ValueError for NaN, which no integer can hold.
    """
    if np.isnan(positions).any():
        raise ValueError(f"{int(np.isnan(positions).any(axis=1).sum())} of {len(positions)} fixations are no numbers; leave them out")
    scale = np.array([size[1] / recorded[1], size[0] / recorded[0]])
    return np.clip(np.floor(np.clip(positions, -_FAR, _FAR) * scale), -_FAR, _FAR).astype(np.int64)


def inside_image(points: NDArray[np.int64], size: tuple[int, int], *, slack: int = 0) -> NDArray[np.bool_]:
    """(n, 2) 0-based, x first -> (n,): whether each lies in a picture of `size` (H, W), or at most `slack` pixels beside it."""
    return ((points >= -slack) & (points < np.array([size[1], size[0]]) + slack)).all(axis=1)


def check_outside(points: NDArray[np.int64], size: tuple[int, int], where: Path | str, remedy: str) -> int:
    """How many points (n, 2) lie further outside than rounding explains; ValueError, one line, for more than `OUTSIDE_MOST` of them."""
    outside = int((~inside_image(points, size, slack=ROUNDING)).sum())
    if outside > OUTSIDE_MOST * len(points):
        raise ValueError(f"{where}: {outside:,} of {len(points):,} fixations lie outside the picture of {size[1]}x{size[0]}: of another size, or "
                         f"with x and y swapped; {remedy}")
    return outside


class Places:
    """On how many different pixels a set's points lie, whatever picture they are of: `add` each picture's, then `check`."""

    def __init__(self) -> None:
        self.points, self._pixels, self._seen = 0, 0, set()

    def add(self, points: NDArray[np.int64], size: tuple[int, int]) -> None:
        """Pixels (n, 2) in a picture of `size` (H, W), x first. Those further outside than rounding are not counted: `check_outside` tells them."""
        kept = np.clip(points[inside_image(points, size, slack=ROUNDING)], 0, [size[1] - 1, size[0] - 1])
        self.points += len(kept)
        self._pixels = max(self._pixels, int(size[0]) * int(size[1]))
        self._seen.update((kept[:, 1] * 2**32 + kept[:, 0]).tolist())  # not a map of them: a file may claim pictures of any size

    @property
    def problem(self) -> str | None:
        """What is wrong, without a name; None where nothing is."""
        places = len(self._seen)
        if self.points < PLACES_FROM or places >= PLACES_LEAST * min(self.points, self._pixels):
            return None
        return (f"{self.points:,} fixations lie on no more than {places:,} different pixel{'s' * (places != 1)}: are their coordinates fractions? "
                "Multiply x by the picture's width and y by its height")

    def check(self, where: Path | str, remedy: str) -> None:
        """ValueError, one line that begins with `where`, for fewer places than people look at."""
        if self.problem:
            raise ValueError(f"{where}: {self.problem}; or {remedy}")


def check_places(fixations: Iterable[tuple[NDArray[np.int64], tuple[int, int]]], where: Path | str, remedy: str) -> None:
    """`Places.check` of a whole set: for each picture its points (n, 2) and its size (H, W)."""
    places = Places()
    for points, size in fixations:
        places.add(points, size)
    places.check(where, remedy)


class Plausibility:
    """Whether a whole set's fixations can have been made by people: `add` each picture's, then ask for `problems`.

    most: fixations of one observer on one picture that the recording time allows.
    """

    def __init__(self, most: int) -> None:
        self.most, self._crowded, self._busy, self._places = most, [], [], Places()
        self._points, self._off, self._off_turned = 0, 0.0, 0.0

    def add(self, name: str, points: NDArray[np.int64], subjects: NDArray[np.int64] | None, size: tuple[int, int]) -> None:
        """Fixations (n, 2) of a picture of `size` (H, W), and whose they are (n,)."""
        if not len(points):
            return
        self._places.add(points, size)
        if len(np.unique(points, axis=0)) > FIXATED_MOST * size[0] * size[1]:
            self._crowded.append(name)
        if subjects is not None and np.unique(subjects, return_counts=True)[1].max() > self.most:
            self._busy.append(name)
        middle, mean = np.array([size[1], size[0]]) / 2, points.mean(axis=0)
        if abs(size[0] - size[1]) > 0.1 * max(size):  # a square says nothing
            self._points += len(points)
            self._off += len(points) * float(np.abs(mean - middle).sum())
            self._off_turned += len(points) * float(np.abs(mean - middle[::-1]).sum())

    @property
    def swapped(self) -> bool:
        """Whether x and y look exchanged; False below 1,000 points, which are too few to tell."""
        return self._points >= 1000 and self._off_turned < self._off

    def problems(self, what: str) -> list[str]:
        """One line for each kind of thing that cannot be; `what` is a noun in the plural, such as photographs."""
        kinds = ((self._crowded, f"more than {FIXATED_MOST:.0%} of the pixels fixated"),
                 (self._busy, f"more than {self.most:,} fixations of one observer"))
        lines = [f"{what} with {kind}: {len(names):,} ({names[0]} for one); {UNPACK}" for names, kind in kinds if names]
        lines += [f"{what}: {self._places.problem}; or {UNPACK}"] * bool(self._places.problem)
        return lines + [f"{what}: the mean fixation lies where it would with x and y swapped; {UNPACK}"] * self.swapped
