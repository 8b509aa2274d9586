"""MIT1003: 1,003 photographs of many sizes, free viewing by 15 people for 3 seconds, with the published blurred maps.

Judd, Ehinger, Durand, Torralba: "Learning to Predict Where Humans Look", ICCV 2009; archives ALLSTIMULI.zip and
ALLFIXATIONMAPS.zip of people.csail.mit.edu/tjudd/WherePeopleLook (see data/mit1003.md):

    ROOT/ALLSTIMULI/<stem>.jpeg
    ROOT/ALLFIXATIONMAPS/<stem>_fixMap.jpg     blurred fixations, 8 bits; some copies nest this folder in one of its own name
    ROOT/ALLFIXATIONMAPS/<stem>_fixPts.jpg     fixated pixels, white on black, where present
    ROOT/SCANPATHS/<stem>/<observer>           each observer's fixations as the FixaTons collection publishes them, where present
    ROOT/density/<stem>.npy                    only a synthetic twin (it has a TWIN.json): `upsample_density` tells what it stands for

Where there are scanpaths the fixations are theirs, of known observers; `lib.data.fixatons` says how they are read and why of each
observer those from the second to the sixth are taken. Without them the fixations are the points, if those are there.

The points are a JPEG too, so the black around a white pixel is not quite black: of 3,000 pixels drawn and saved at the quality
of the published maps (75 by their quantisation tables), thresholds of 48 to 192 gave back all and nothing else, and "above 0"
26 times as many. THRESHOLD is 128. A pixel that was fixated twice is one point; who fixated it is only in the raw DATA.zip, which
needs its authors' MATLAB code and is not read here.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lib.data.fixatons import FOLDER, Scanpaths
from lib.data.saliency import Photographs, digest, list_files, read_map, read_points, read_true_density

IMAGES = 1003
SUBJECTS = 15
LONG_SIDE, SHORT_SIDES = 1024, (405, 1024)  # pixels: of every photograph; least and most
THRESHOLD = 128  # points are brighter


POINTS = ("auto", "scanpaths", "fixPts")


class MIT1003(Photographs):
    """MIT1003, photographs sorted by name; see `lib.data.saliency.SaliencyData` for the methods.

    points: where fixations come from: "scanpaths", "fixPts", or "auto", which is scanpaths if the folder is there. which: of each
    observer's scanpath, "2-6" (those that the published maps show), "without first" or "all". `subjects` count `observers`, and are None
    for fixPts; `fixations` is None for a photograph without fixPts beside its map.
    """

    def __init__(self, root: str | Path, *, points: str = "auto", which: str = "2-6") -> None:
        if points not in POINTS:
            raise ValueError(f"points {points!r}: MIT1003's fixations come from one of {', '.join(POINTS)}")
        folder = unnested(Path(root), "ALLSTIMULI")
        super().__init__(Path(root), list_files(folder, ".jpeg"))
        if not self._paths:
            raise FileNotFoundError(f"{folder}: no *.jpeg; give MIT1003's root, the folder that holds ALLSTIMULI/ and ALLFIXATIONMAPS/")
        self._maps = unnested(self.root, "ALLFIXATIONMAPS")
        scanpaths = Scanpaths(self.root, which=which)
        self.scanpaths = scanpaths if points == "scanpaths" or points == "auto" and (self.root / FOLDER).is_dir() else None
        self._last: tuple[int, tuple[NDArray[np.int64], NDArray[np.int64], int]] | None = None
        if points == "scanpaths":
            self._read(0)

    @property
    def observers(self) -> tuple[str, ...] | None:
        """Who looked, by name; None where that is not known."""
        return self.scanpaths.observers if self.scanpaths else None

    @cached_property
    def notes(self) -> dict[str, str]:
        """What a record must say of the fixations. Reads all scanpaths, a second for 400 photographs."""
        if self.scanpaths is None:
            return {}
        read = [self._read(index) for index in range(len(self))]
        outside, number = sum(each[2] for each in read), sum(len(each[0]) + each[2] for each in read)
        return {"fixations": f"FixaTons' scanpaths, {self.scanpaths.said}; {outside:,} of {number:,} lie outside and are left out"}

    def map_path(self, index: int) -> Path:
        return self._maps / f"{self.name(index)}_fixMap.jpg"

    def points_path(self, index: int) -> Path:
        """Where the points are, or would be: some copies lack them."""
        return self._maps / f"{self.name(index)}_fixPts.jpg"

    def fixations(self, index: int) -> NDArray[np.int64] | None:
        if self.scanpaths:
            return self._read(index)[0].copy()
        path = self.points_path(index)
        return read_points(path, self.path(index), THRESHOLD) if path.is_file() else None

    def subjects(self, index: int) -> NDArray[np.int64] | None:
        return self._read(index)[1].copy() if self.scanpaths else None

    def _read(self, index: int) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
        """Fixations, whose, and how many were outside. The last picture's are kept, for `subjects` after `fixations`."""
        assert self.scanpaths is not None
        if self._last is None or self._last[0] != index:
            self._last = index, self.scanpaths.read(self.name(index), self.size(index))
        return self._last[1]

    def density(self, index: int) -> NDArray[np.float32]:
        return read_map(self.map_path(index), self.path(index))

    def true_density(self, index: int) -> NDArray[np.float32] | None:
        return read_true_density(self.root / "density" / f"{self.name(index)}.npy", self.size(index)) if self.is_twin else None

    @cached_property
    def fingerprint(self) -> str:
        indices = range(len(self))
        files = digest(self._paths, [place(i) for place in (self.map_path, self.points_path) for i in indices])
        return self.scanpaths.mark(f"{files} {digest([], self.scanpaths.every_file)}") if self.scanpaths else files


def unnested(root: Path, name: str) -> Path:
    """root/name, or root/name/name where an archive was unpacked into a folder of its own."""
    return root / name / name if (root / name / name).is_dir() else root / name
