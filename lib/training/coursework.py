"""The coursework's three files as a `Task`: Mr-CNN learns from the crops that were handed out, and is scored as on any other data set.

The files and what is known of them are in `lib.data.coursework` and data/coursework.md. Crops come from the training file,
squares and photographs from the other two, ground truth from MIT1003's ALLFIXATIONMAPS beside them; nothing is drawn or resized here.
What `lib.training.mrcnn` says of scores, enlargement and smoothing holds.

What differs from the other data sets of the table
    margin        The file's crops are the published 42 px. The 3 px around them that `lib.models.mrcnn` takes repeat each crop's
                  own border; only the learned blur sees them, and at test time it sees the square's pixels there.
    centre bias   The mean of the validation images' maps: the training file holds crops, not photographs, and its maps may be absent.
    positions     Whole squares are evaluated on the network's lattice. `spatial_coords`, the files' own 2500 points, need not lie on
                  it; for those there are `spatial_centres` and `patchwise` in `lib.models.mrcnn_inference`.
    fixations     Absent where ALLFIXATIONMAPS has no fixPts: metrics that need them are then undefined, and validation goes by CC.

The 8-bit pixels are the files' floats de-normalised with ImageNet's constants, which is an assumption. `patch_summary` gives
`grey_levels_off`, how far validation photographs then lie from whole grey levels: near 0 if it holds.
"""

import hashlib
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lib.data.coursework import FILES, SCALES, CourseworkCrops, CourseworkData, denormalised, read_train, round_trip_error
from lib.data.mit1003 import unnested
from lib.data.patches import Sampling, SquareStore, Views
from lib.data.saliency import digest
from lib.data.saliency_store import FullSize, GroundTruth, Selection
from lib.data.store import Progress
from lib.files import Allocate, arrays
from lib.models.mrcnn import MARGIN, VIEW
from lib.training.mrcnn import SIZE, PatchTask
from lib.versions import versions

AT_A_TIME = 256  # crops, while they are copied


class WholeFile(Selection):
    """All photographs of a validation or test file."""

    def __init__(self, path: Path):
        data = CourseworkData(path)
        super().__init__(data, range(len(data)))

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over the file's bytes and its maps', wherever they lie: other pixels of the same shapes make a file of the same size."""
        folder = unnested(self.data.root, "ALLFIXATIONMAPS")
        maps = digest((), [folder / f"{self.data.name(i)}_{kind}.jpg" for i in range(len(self)) for kind in ("fixMap", "fixPts")])
        return hashlib.sha256(f"{_content(self.data.file)} {maps}".encode()).hexdigest()[:16]


class CropStore(Views):
    """The training file's crops in its own order, 8-bit, each border repeated 3 times: (N, 3, 48, 48) at each scale.

    labels: (N,) uint8, 1 where people looked. image_of_patch: (N,) positions in `names`, the photographs. fingerprint: of the file's
    bytes. cache_dir: where the crops may go; None keeps them in memory.
    """

    def __init__(self, crops: CourseworkCrops, *, cache_dir: Path | None = None, progress: Progress | None = None):
        self.crops, self.fingerprint = crops, _content(crops.path)
        stems = [Path(file).stem for file in crops.files]
        self.names = list(dict.fromkeys(stems))
        places = {name: place for place, name in enumerate(self.names)}
        self.image_of_patch = np.array([places[stem] for stem in stems])
        folder = None if cache_dir is None else cache_dir / f"{self.fingerprint}-handed-out-{VIEW}"
        super().__init__(arrays(folder, lambda allocate: self._fill(allocate, progress), version=versions(["crops"])))
        self.labels = self.arrays["labels"]

    def _fill(self, allocate: Allocate, progress: Progress | None) -> None:
        count = len(self.crops)
        allocate("labels", (count,), np.uint8)[:] = self.crops.y.numpy()
        views = [allocate(f"view_{side}", (count, 3, VIEW, VIEW), np.uint8) for side in SCALES]
        border = ((0, 0), (0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN))
        for start in range(0, count, AT_A_TIME):
            rows = range(start, min(start + AT_A_TIME, count))
            X = denormalised(self.crops.batch(rows)[0]).numpy()  # (B, 3 scales, 3, 42, 42)
            for scale, view in enumerate(views):
                view[rows.start:rows.stop] = np.pad(X[:, scale], border, mode="edge")
            if progress:
                progress("copy crops", rows.stop, count)


class HandedOutSquares(SquareStore):
    """The squares that a validation or test file holds, 8-bit, in the place of squashed photographs."""

    def _squares(self, index: int) -> dict[str, NDArray[np.uint8]]:
        return {f"view_{side}": denormalised(square).numpy() for side, square in self.chosen.data.images[index].squares.items()}


class CourseworkTask(PatchTask):
    """`PatchTask` of the files in `root`: train_data.pth.tar, val_data.pth.tar, test_data.pth.tar and ALLFIXATIONMAPS/.

    smooth: as in `PatchTask`. patch_summary: images, crops, positive_share of the training file; grey_levels_off, see the module.
    FileNotFoundError or ValueError, one line, for whatever is wrong with a file, for crops of one kind only, and where a photograph is
    in two splits.
    """

    def __init__(self, root: str | Path, *, smooth: float | None = None, cache_dir: Path | None = None, progress: Progress | None = None):
        # PatchTask's own would ask for training photographs, to cut them and for the centre bias of their maps.
        crops = read_train(Path(root) / FILES["train"])
        self.chosen = {split: WholeFile(Path(root) / FILES[split]) for split in ("val", "test")}
        check_split(crops, self.chosen)
        check_maps(self.chosen["test"])
        self.size, self.flip, self.smooth = SIZE, False, smooth
        self.sampling, self.seed = Sampling(), 0  # the files' own recipe, for whoever cuts crops of photographs
        self.stores = {"train": CropStore(crops, cache_dir=cache_dir, progress=progress)}
        self.stores |= {split: HandedOutSquares(one, cache_dir=cache_dir, progress=progress) for split, one in self.chosen.items()}
        self.fingerprints = {"train": self.stores["train"].fingerprint} | {split: one.fingerprint for split, one in self.chosen.items()}
        self.truth = {"val": GroundTruth(self.chosen["val"], self.size, cache_dir=cache_dir, progress=progress)}
        self.centre = self.truth["val"].mean().float()  # (h, w)
        self.full = FullSize(self.chosen["test"])
        self.patch_summary = self._summary()

    def _summary(self) -> dict[str, float]:
        train, photographs = self.stores["train"], self.chosen["val"].data.images
        return {"images": len(train.names), "crops": len(train), "positive_share": float(train.labels.mean()),
                "grey_levels_off": round(max(round_trip_error(photograph.image) for photograph in photographs), 3)}


def check_split(crops: CourseworkCrops, chosen: dict[str, WholeFile]) -> None:
    """ValueError, one line, where a photograph is in two of the three files, and where all crops are fixated or none is."""
    if len(set(crops.y.tolist())) < 2:
        raise ValueError(f"{crops.path}: all {len(crops)} crops have the label {int(crops.y[0])}; training needs 0 and 1, copy the file again")
    held = {crops.path: {Path(file).stem for file in crops.files}}
    held |= {one.data.file: {one.data.name(i) for i in range(len(one))} for one in chosen.values()}
    files = list(held)
    for i, first in enumerate(files):
        for second in files[i + 1:]:
            if shared := held[first] & held[second]:
                raise ValueError(f"{first}: {len(shared)} of its photographs are in {second.name} too ({min(shared)}); "
                                 "a photograph belongs to one split")


def check_maps(chosen: WholeFile) -> None:
    """Read every map, so that one that is missing or broken is known before the training and not after."""
    for position in range(len(chosen)):
        chosen.data.density(chosen.at(position))


def _content(path: Path) -> str:
    """16 hex digits over a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
