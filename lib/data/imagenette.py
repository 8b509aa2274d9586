"""imagenette: ten easily told classes of ImageNet, in the folders that fast.ai publishes.

github.com/fastai/imagenette, version 2 (split 70:30); layout as torchvision.datasets.Imagenette reads it:

    ROOT/train/n01440764/*.JPEG ...     ten folders, named by WordNet id; 9,469 photographs
    ROOT/val/n01440764/*.JPEG ...       the same ten; 3,925 photographs
    ROOT/noisy_imagenette.csv           labels with noise: never read here

ROOT is `imagenette2`, `imagenette2-320` or `imagenette2-160`, the last two with a shortest side of 320 and 160 pixels.

Splits. There is no published test split: the published val is "test" here, and recipes are chosen on "val", the last tenth of
each class of the published train in the order of file names; "train" is the rest.

Squares. Training wants one image size, the photographs have hundreds: `canvas` resizes the short side and cuts out the middle
of the long one (rule "short" of `lib.data.canvas`). Deviation: the release of "Salience map for region proposal" resizes the
short side to 336 and takes five crops of 224 from the whole oblong picture, so that its corners lie further out; its later
history squashes to 336x336, which is rule "squash".

A synthetic twin (`lib.data.synthetic.imagenette`) also has ROOT/boxes.json, which says where the object is.
"""

from __future__ import annotations

import hashlib
import os
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lib.data.canvas import canvas
from lib.data.class_folders import class_folders
from lib.data.files import TWIN_FILE, image_size, numbers, one_line, read_json, read_rgb

CLASSES = {
    "n01440764": "tench", "n02102040": "English springer", "n02979186": "cassette player", "n03000684": "chain saw", "n03028079": "church",
    "n03394916": "French horn", "n03417042": "garbage truck", "n03425413": "gas pump", "n03445777": "golf ball", "n03888257": "parachute",
}
WNIDS = tuple(CLASSES)  # in the order of the labels 0 to 9
IMAGENET = (0, 217, 482, 491, 497, 566, 569, 571, 574, 701)  # their places among ImageNet's 1,000 classes, which are sorted by WordNet id
SPLITS = ("train", "val", "test")
FOLDERS = {"full": "imagenette2", "320px": "imagenette2-320", "160px": "imagenette2-160"}  # torchvision's name of a size -> ROOT
# Version 2, all three sizes: catalogue of TensorFlow Datasets (docs/catalog/imagenette.md); the data set's README says 13.4k.
PUBLISHED = {"train": 9469, "val": 3925}
BOXES_FILE = "boxes.json"
_SUFFIXES = (".jpeg", ".jpg")
_REFETCH = "unpack the archive again"


# --------------------------------------------------------------------------------------------------------------- folders


def find_root(root: str | os.PathLike[str]) -> Path:
    """The folder that holds train/ and val/: `root`, or the one published folder inside it."""
    root = Path(root)
    if (root / "train").is_dir() and (root / "val").is_dir():
        return root
    inside = [root / name for name in FOLDERS.values() if (root / name / "train").is_dir()]
    if len(inside) > 1:
        raise ValueError(f"{root}: holds {', '.join(path.name for path in inside)}; give one of them")
    if not inside or not (inside[0] / "val").is_dir():
        raise FileNotFoundError(f"{root}: has no train and val folders; give the unpacked imagenette2, imagenette2-320 or imagenette2-160")
    return inside[0]


def class_files(folder: Path) -> dict[str, list[str]]:
    """The photographs' names in each class folder of train/ or val/: {WordNet id: sorted names}, in the order of the labels.

    FileNotFoundError for a class that is missing or empty, ValueError for a folder that is none of the ten: torchvision's
    Imagenette numbers the folders that it finds, so there a missing one shifts the labels of all behind it.
    """
    found = class_folders(folder, WNIDS, suffixes=_SUFFIXES, titles=CLASSES, what="imagenette", remedy=_REFETCH)
    return {wnid: [name.partition("/")[2] for name in names] for wnid, names in found.items()}


class Imagenette:
    """One split: N photographs in the order of labels and file names.

    root: the folder that holds train/ and val/, or the one that such a folder was unpacked in. split: "train", "val" (the
    last tenth of each class of the published train) or "test" (the published val).

    path: N Path; name (N,) str, relative to `root`; label (N,) int64, 0 to 9 in the order of `wnids` and `classes`; size (N, 2)
    int64 as (H, W), from the headers when first asked for; box (N, 4) float64 as (x, y, w, h) in pixels of the photograph, or
    None: only twins know it. notes: {what: why} that a record must say: that the copy is a part, or was resized before.
    Errors: FileNotFoundError or ValueError, one line that names the file or folder.
    """

    wnids, classes = WNIDS, tuple(CLASSES.values())

    def __init__(self, root: str | os.PathLike[str], split: str) -> None:
        if split not in SPLITS:
            raise ValueError(f"split {split!r}: imagenette has {', '.join(SPLITS)}")
        self.root, self.split = find_root(root), split
        folder = "val" if split == "test" else "train"
        names, labels = [], []
        for label, (wnid, files) in enumerate(class_files(self.root / folder).items()):
            chosen = files if split == "test" else _part(files, split)
            names += [f"{folder}/{wnid}/{name}" for name in chosen]
            labels += [label] * len(chosen)
        if not names:
            raise ValueError(f"{self.root}: a tenth of train is less than one photograph of any class; unpack more")
        self.name, self.label = np.array(names, dtype=np.str_), np.array(labels, dtype=np.int64)
        self.path = [self.root / name for name in names]

    def __len__(self) -> int:
        return len(self.label)

    def __repr__(self) -> str:
        return f"Imagenette({str(self.root)!r}, split={self.split!r}): {len(self)} photographs"

    def image(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) RGB of photograph `index`; greyscale and CMYK are converted."""
        return read_rgb(self.path[index])

    def canvas(self, index: int, side: int) -> NDArray[np.uint8]:
        """(side, side, 3) RGB: short side resized to `side`, middle of the long one."""
        return canvas(self.image(index), side, rule="short")

    @cached_property
    def size(self) -> NDArray[np.int64]:
        return np.array([image_size(path) for path in self.path], dtype=np.int64)

    @cached_property
    def box(self) -> NDArray[np.float64] | None:
        path = self.root / BOXES_FILE
        if not path.is_file():
            return None
        try:
            boxes = read_json(path)
            found = numbers(number for name in self.name.tolist() for number in boxes[name]).reshape(len(self), 4)
            if not (np.isfinite(found).all() and (found[:, 2:] > 0).all() and (np.abs(found) < 10**6).all()):
                raise ValueError("a box has no area, or is no number of pixels")
            return found
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: does not hold a box [x, y, w, h] for each picture ({one_line(error)}); write the twin again") from None

    @cached_property
    def notes(self) -> dict[str, str]:
        """Of photographs: how many of the published ones are here, and whether they still have their shapes. {} for a twin."""
        if self.is_twin:
            return {}
        notes, part = {}, "val" if self.split == "test" else "train"
        here = {wnid: len(files) for wnid, files in class_files(self.root / part).items()}
        if sum(here.values()) != PUBLISHED[part]:
            each = f", {least} of each class" if (least := min(here.values())) == max(here.values()) else ""
            notes["photographs"] = f"{sum(here.values()):,} of the {PUBLISHED[part]:,} that are published in {part}{each}"
        if (self.size == self.size[0]).all() and self.size[0, 0] == self.size[0, 1]:
            notes["shape"] = resized_note(int(self.size[0, 0]))
        return notes

    @property
    def is_twin(self) -> bool:
        return (self.root / TWIN_FILE).is_file()

    @cached_property
    def twin(self) -> dict[str, Any] | None:
        """The content of TWIN.json if these are synthetic data, else None."""
        return read_json(self.root / TWIN_FILE) if self.is_twin else None

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over this split: names and sizes of the files, and where there are boxes, those."""
        digest = hashlib.sha256()
        for name, path in zip(self.name.tolist(), self.path, strict=True):
            digest.update(f"{name} {path.stat().st_size}\n".encode())
        if self.box is not None:
            digest.update(self.box.tobytes())
        return digest.hexdigest()[:16]


def resized_note(side: int) -> str:
    """What to say where all photographs are squares of one size, which the published ones are not."""
    return f"all are {side}x{side}, so they were squashed or cropped after they were published: what follows sees no other shapes"


def _part(files: list[str], split: str) -> list[str]:
    held_back = len(files) // 10
    return files[len(files) - held_back:] if split == "val" else files[:len(files) - held_back]


# ---------------------------------------------------------------------------------------------------------------- crops


def crop_coverage(boxes: ArrayLike, size: int | tuple[int, int], crop: int, views: int = 5) -> NDArray[np.float64]:
    """Which share of each object's area each view shows: boxes (N, 4) in pixels of an image of `size` -> (N, V) in [0, 1].

    size: (H, W) or the side of a square. Views and their order are those of `lib.models.proposal.five_crops`. A uniform choice
    shows the object with the mean over the views; a choice with weights w shows it with the sum of w times this.
    """
    from lib.models.proposal import crop_boxes  # torch only here: every process that writes a twin imports this module

    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 1, 4)  # (N, 1, 4)
    shown = crop_boxes((size, size) if isinstance(size, int) else tuple(size), crop, views).numpy()[None]  # (1, V, 4)
    low = np.maximum(boxes[..., :2], shown[..., :2])
    high = np.minimum(boxes[..., :2] + boxes[..., 2:], shown[..., :2] + shown[..., 2:])
    return (high - low).clip(0).prod(axis=-1) / boxes[..., 2:].prod(axis=-1)  # (N, V)
