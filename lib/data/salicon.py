"""SALICON: MS COCO photographs of 640 x 480 with mouse "fixations" of tens of people each, in the layout that EML-NET's code reads.

Jiang, Huang, Duan, Zhao: "SALICON: Saliency in Context", CVPR 2015; files from salicon.net (see data/salicon.md):

    ROOT/images/{train,val,test}/COCO_train2014_000000000009.jpg ...     10,000, 5,000 and 5,000
    ROOT/fixations/{train,val}/<stem>.mat      `image`, `resolution` (H, W), `gaze`: one struct per observer with the fields
                                               location, timestamp, fixations; the arrays are (m, 2) of x, y from 1
    ROOT/maps/{train,val}/<stem>.png           the fixations blurred
    ROOT/density/<split>/<stem>.npy            only a synthetic twin (it has a TWIN.json): `upsample_density` tells what it stands for

The editions of 2015 and 2017 share photographs and layout, but not how fixations were found in the mouse track, so numbers across
them are not comparable. `gaze` is (1, N) in 2015 and (N, 1) in 2017, which tells them apart.

Points outside the photograph are left out, as EML-NET's loader does; pysaliency clips mouse positions to the border instead. More than
a few outside are refused, and so are photographs of another size than their fixations, unless `scale_fixations` (`lib.data.points`).
Deviations from EML-NET's mat_loader (SaliconLoader.py of github.com/SenJia/EML-NET-Saliency): 1 is subtracted from coordinates
(`coordinates="released"` does not, and so moves everything one pixel right and down and loses the last column and row); in files
of 2015 all observers are read (the released loop over rows of `gaze` gets the first one only).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from lib.data.files import one_line
from lib.data.points import check_outside, check_places, inside_image, made_for, to_pixels
from lib.data.salicon_json import read_fixations
from lib.data.saliency import Photographs, digest, list_files, read_map, read_true_density
from lib.files.matlab import read_mat
from lib.files.text import UNPACK

SPLITS = ("train", "val", "test")
EDITIONS = ("2015", "2017")
COORDINATES = ("correct", "released")
SIZE = (480, 640)  # height, width of every photograph
MOST = 5000  # fixations of one observer on one photograph: raw mouse positions of 5 seconds are 2,639 at most in the examples of 2014
IMAGES = {"train": 10_000, "val": 5_000, "test": 5_000}
# Rows of the `fixations` fields, from the tests of pysaliency (tests/external_datasets/test_SALICON.py).
FIXATIONS = {"2015": {"train": 3_171_533, "val": 1_662_655}, "2017": {"train": 4_598_112, "val": 2_576_914}}
BLUR = 19  # pixels: buildFixMap of github.com/NUS-VIP/salicon-evaluation; not known to hold for the 2017 maps


@dataclass(frozen=True)
class Gaze:
    """One .mat: points (n, 2) int64 as in the file, x first, from 1; observer (n,): whose; edition where more than one observer tells it.

    recorded: the `resolution` (H, W) that the file gives, None where it gives none.
    """

    points: NDArray[np.int64]
    observer: NDArray[np.int64]
    edition: str | None
    recorded: tuple[int, int] | None = None


def read_gaze(path: Path, *, photograph: str | None = None, size: tuple[int, int] | None = None) -> Gaze:
    """The fixations in one of SALICON's .mat files, of either edition.

    photograph, size: the stem and (H, W) that the file must belong to. FileNotFoundError or ValueError, one line, for a file that
    is missing, damaged, something else, or another photograph's.
    """
    try:
        content = read_mat(path, ["image", "resolution", "gaze"], fields=["fixations"])
        observers = [_points(entry) for entry in _entries(content["gaze"])]
        name = content["image"].ravel().tolist() if "image" in content else None
        recorded = tuple(int(n) for n in content["resolution"].ravel()) if "resolution" in content else None
    except FileNotFoundError:
        raise
    except Exception as error:  # the file may hold anything in the place of structs
        raise ValueError(f"{path}: not a SALICON .mat ({one_line(error).removeprefix(f'{path}: ')[:150]}); {UNPACK}") from None
    if photograph is not None and name and str(name[0]).removesuffix(".jpg") != photograph:
        raise ValueError(f"{path}: holds the fixations of {name[0]!r}; {UNPACK}")
    if recorded is not None and len(recorded) != 2:
        raise ValueError(f"{path}: not a SALICON .mat (its resolution is {recorded}, not height and width); {UNPACK}")
    if size is not None and recorded and recorded != tuple(size):
        raise ValueError(f"{path}: resolution is {list(recorded)} (H, W), the photograph's {list(size)}; {UNPACK}, or scale the fixations with "
                         "scale_fixations=True (score: --scale-fixations)")
    observer = np.repeat(np.arange(len(observers)), [len(points) for points in observers])
    return Gaze(np.concatenate([np.zeros((0, 2), dtype=np.int64), *observers]), observer, _edition(content["gaze"].shape), recorded)


def _entries(gaze: NDArray[Any]) -> NDArray[Any]:
    """(N,) structs, one per observer; an image that nobody looked at may have an array without fields."""
    if gaze.ndim != 2 or min(gaze.shape) > 1 or not (gaze.size == 0 or gaze.dtype.names):
        raise ValueError(f"gaze is {gaze.dtype} {gaze.shape}, not a row or a column of structs")
    return gaze.ravel()


def _points(entry: Any) -> NDArray[np.int64]:
    """(m, 2) as in the file; unsigned small integers there, so nothing may be subtracted before the conversion."""
    points = np.asarray(entry["fixations"])
    if points.size == 0:
        return np.zeros((0, 2), dtype=np.int64)
    if points.ndim != 2 or points.shape[1] != 2 or points.dtype.kind not in "iuf" or not np.isfinite(points).all():
        raise ValueError(f"fixations of an observer are {points.dtype} {points.shape}, not numbers (m, 2)")
    return np.floor(np.clip(points, -1e9, 1e9) + 0.5).astype(np.int64) if points.dtype.kind == "f" else points.astype(np.int64)


def _edition(shape: tuple[int, int]) -> str | None:
    return None if max(shape) < 2 else "2015" if shape[0] == 1 else "2017"


def check_edition(path: Path, gaze: Gaze, edition: str | None) -> None:
    """ValueError where another edition was asked for than the file's."""
    if edition is not None and gaze.edition is not None and gaze.edition != edition:
        raise ValueError(f"{path}: is of the {gaze.edition} edition, {edition} was asked for; unpack the other archive or change `edition`")


class SALICON(Photographs):
    """One split of SALICON, photographs sorted by name; see `lib.data.saliency.SaliencyData` for the methods.

    edition: "2015" or "2017" refuses the other one's files; None takes whatever is there. coordinates: "correct", or "released"
    for EML-NET's off-by-one. `subjects` are numbered within each image. The test split, and a folder without fixations, have none:
    `fixations` and `subjects` are None; `density` of the test split is a ValueError, and a twin's `true_density` there may be None.
    scale_fixations: for photographs that were resized (their maps must be, too).
    """

    def __init__(self, root: str | Path, split: str = "train", *, edition: str | None = None, coordinates: str = "correct",
                 scale_fixations: bool = False) -> None:
        for what, value, known in (("split", split, SPLITS), ("edition", edition, (None, *EDITIONS)), ("coordinates", coordinates, COORDINATES)):
            if value not in known:
                raise ValueError(f"{what} {value!r}: SALICON has {', '.join(filter(None, known))}; give one of them")
        self.scale_fixations = scale_fixations
        self.split, self.edition, self.coordinates = split, edition, coordinates
        folder = Path(root) / "images" / split
        super().__init__(Path(root), list_files(folder, ".jpg"))
        if not self._paths:
            raise FileNotFoundError(f"{folder}: no *.jpg; give SALICON's root, the folder that holds images/{split}, fixations/{split}, maps/{split}")
        self._last: tuple[int, Gaze] | None = None
        if edition is not None:
            self._gaze(0)

    @cached_property
    def has_fixations(self) -> bool:
        return (self.root / "fixations" / self.split).is_dir()

    @cached_property
    def found_edition(self) -> str | None:
        """The edition of the first image's file; None where there is none, or where it has fewer than two observers."""
        gaze = self._gaze(0)
        return gaze.edition if gaze else None

    def fixations(self, index: int) -> NDArray[np.int64] | None:
        gaze = self._gaze(index)
        return gaze.points.copy() if gaze else None

    def subjects(self, index: int) -> NDArray[np.int64] | None:
        gaze = self._gaze(index)
        return gaze.observer.copy() if gaze else None

    def density(self, index: int) -> NDArray[np.float32]:
        if self.split == "test":
            raise ValueError(f"{self.root}: SALICON publishes no maps of its test split; use val instead")
        return read_map(self.root / "maps" / self.split / f"{self.name(index)}.png", self.path(index))

    def true_density(self, index: int) -> NDArray[np.float32] | None:
        folder = self.root / "density" / self.split
        if not self.is_twin or not folder.is_dir():
            return None
        return read_true_density(folder / f"{self.name(index)}.npy", self.size(index))

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over this split: names and sizes of photographs and maps, the .mat files' bytes. Reads 1 GB of the real data."""
        maps, fixations = (self.root / kind / self.split for kind in ("maps", "fixations"))
        stems = [path.stem for path in self._paths]
        by_size = [*self._paths, *(maps / f"{stem}.png" for stem in stems)]
        return digest(by_size, [fixations / f"{stem}.mat" for stem in stems] if self.has_fixations else [])

    def _gaze(self, index: int) -> Gaze | None:
        """The fixations in the image, 0-based. The last one is kept, for `subjects` after `fixations`."""
        if not self.has_fixations:
            return None
        if self._last is None or self._last[0] != index:
            path, size = self.root / "fixations" / self.split / f"{self.name(index)}.mat", self.size(index)
            gaze = read_gaze(path, photograph=self.name(index), size=None if self.scale_fixations else size)
            check_edition(path, gaze, self.edition)
            recorded = gaze.recorded or (size if self.is_twin else SIZE)
            made_for(self.path(index), size, recorded, scale=self.scale_fixations)
            check_outside(gaze.points - 1, recorded, path, UNPACK)
            points = to_pixels(gaze.points - (self.coordinates == "correct") + 0.5, recorded, size)
            inside = inside_image(points, size)
            self._last = index, Gaze(points[inside], gaze.observer[inside], gaze.edition, recorded)
        return self._last[1]


class SALICON2014(Photographs):
    """SALICON as the JSON of 2014 (format of MS COCO), such as fixations_train2014examples.json; photographs sorted by name.

    source: the JSON, or the folder with one fixations_*.json in it. Photographs lie beside it, in images/ beside it, or in images/
    beside its folder; those that are not there are left out. coordinates: "row-column", "xy", or None to find out which the file
    has (`lib.data.salicon_json`); the attribute says which it was.
    scale_fixations: for photographs that were resized; otherwise they must be as large as the file says. No maps are published:
    `density` is what buildFixMap of github.com/NUS-VIP/salicon-evaluation makes, the fixated pixels (each once) blurred with a
    sigma of 19 pixels, reflected at the border, minimum 0 and maximum 1. `subjects` are worker ids.
    """

    def __init__(self, source: str | Path, *, coordinates: str | None = None, scale_fixations: bool = False) -> None:
        self.json, self.scale_fixations = _find_json(Path(source)), scale_fixations
        found = read_fixations(self.json, coordinates=coordinates)
        self._records, self.coordinates = found.records, found.coordinates
        sized = ((positions, recorded or SIZE) for positions, _, recorded in self._records.values())
        check_places(((to_pixels(positions, size, size), size) for positions, size in sized), self.json, UNPACK)
        folder = self.json.parent
        places = (folder, folder / "images", folder.parent / "images")
        photographs = ([place / name for place in places if (place / name).is_file()] for name in sorted(self._records))
        super().__init__(folder, [paths[0] for paths in photographs if paths])
        if not self._paths:
            raise FileNotFoundError(f"{folder}: none of the {len(self._records)} photographs of {self.json.name} is here; put them beside it")

    def fixations(self, index: int) -> NDArray[np.int64]:
        return self._inside(index)[0]

    def subjects(self, index: int) -> NDArray[np.int64]:
        return self._inside(index)[1]

    def density(self, index: int) -> NDArray[np.float32]:
        xy, binary = self.fixations(index), np.zeros(self.size(index))
        binary[xy[:, 1], xy[:, 0]] = 1
        blurred = gaussian_filter(binary, BLUR * binary.shape[1] / SIZE[1] if self.scale_fixations else BLUR)
        blurred -= blurred.min()
        return (blurred / (blurred.max() or 1)).astype(np.float32)

    def true_density(self, index: int) -> None:
        return None

    @cached_property
    def fingerprint(self) -> str:
        return digest(self._paths, [self.json])  # the convention follows from the file, unless somebody knows better

    def _inside(self, index: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Fixations (n, 2) in the photograph, and whose they are."""
        positions, worker, recorded = self._records[self.path(index).name]
        size = self.size(index)
        recorded = recorded or (size if self.is_twin else SIZE)
        made_for(self.path(index), size, recorded, scale=self.scale_fixations)
        check_outside(to_pixels(positions, recorded, recorded), recorded, f"{self.json}: {self.path(index).name}",
                      "give coordinates='row-column' or coordinates='xy', or unpack it again")
        points = to_pixels(positions, recorded, size)
        inside = inside_image(points, size)
        return points[inside], worker[inside]


def _find_json(source: Path) -> Path:
    if source.is_dir():
        found = list_files(source, ".json")
        found = [path for path in found if path.name.startswith("fixations_")]
        if len(found) != 1:
            raise FileNotFoundError(f"{source}: holds {len(found) or 'no'} fixations_*.json; give the file, such as fixations_train2014examples.json")
        return found[0]
    return source
