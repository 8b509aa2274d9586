"""imagenette: ten easily told classes of ImageNet, in the folders that fast.ai publishes.

github.com/fastai/imagenette, version 2 (split 70:30); layout as torchvision.datasets.Imagenette reads it:

    ROOT/train/n01440764/*.JPEG ...     ten folders, named by WordNet id; 9,469 photographs
    ROOT/val/n01440764/*.JPEG ...       the same ten; 3,925 photographs
    ROOT/noisy_imagenette.csv           labels with noise: never read here

ROOT is `imagenette2`, `imagenette2-320` or `imagenette2-160`, the last two with a shortest side of 320 and 160 pixels.

Splits. There is no published test split: the published val is "test" here, and recipes are chosen on "val", the last tenth of
each class of the published train in the order of file names; "train" is the rest.

Canvas. Training wants one image size, the photographs have hundreds. `canvas` resizes the short side (bilinear, anti-aliased)
and cuts the middle of the long one. Deviation: the release of "Salience map for region proposal" resizes the short side to 336
and takes five crops of 224 from the whole oblong picture, so that its corners lie further out; its later history squashes to
336x336. Both make batches only because the crops have one size.

A synthetic twin (`lib.data.synthetic.imagenette`) also has ROOT/boxes.json, which says where the object is.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from lib.data.files import TWIN_FILE, image_size, one_line, read_json

CLASSES = {
    "n01440764": "tench", "n02102040": "English springer", "n02979186": "cassette player", "n03000684": "chain saw", "n03028079": "church",
    "n03394916": "French horn", "n03417042": "garbage truck", "n03425413": "gas pump", "n03445777": "golf ball", "n03888257": "parachute",
}
WNIDS = tuple(CLASSES)  # in the order of the labels 0 to 9
SPLITS = ("train", "val", "test")
FOLDERS = {"full": "imagenette2", "320px": "imagenette2-320", "160px": "imagenette2-160"}  # torchvision's name of a size -> ROOT
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

    FileNotFoundError for a class that is missing or empty, ValueError for a folder that is none of the ten.
    """
    found = {entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")}
    unknown = sorted(found - set(WNIDS))
    if unknown:
        raise ValueError(f"{folder / unknown[0]}: is no class of imagenette; move it away, or give imagenette's own folder")
    files = {}
    for wnid in WNIDS:
        if wnid not in found:
            raise FileNotFoundError(f"{folder / wnid}: missing ({CLASSES[wnid]}); {_REFETCH}")
        files[wnid] = sorted(e.name for e in os.scandir(folder / wnid) if e.name.lower().endswith(_SUFFIXES) and not e.name.startswith("."))
        if not files[wnid]:
            raise FileNotFoundError(f"{folder / wnid}: holds no .JPEG; {_REFETCH}")
    return files


class Imagenette:
    """One split: N photographs in the order of labels and file names.

    root: the folder that holds train/ and val/, or the one that such a folder was unpacked in. split: "train", "val" (the
    last tenth of each class of the published train) or "test" (the published val).

    paths: N Path; name (N,) str, relative to `root`; label (N,) int64, 0 to 9 in the order of `WNIDS`; sizes (N, 2) int64 as
    (H, W), from the headers when first asked for; boxes (N, 4) float64 as (x, y, w, h) in pixels of the photograph, or None:
    only twins know them. Errors: FileNotFoundError or ValueError, one line that names the file or folder.
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
        self.paths = [self.root / name for name in names]

    def __len__(self) -> int:
        return len(self.label)

    def __repr__(self) -> str:
        return f"Imagenette({str(self.root)!r}, split={self.split!r}): {len(self)} photographs"

    def path(self, index: int) -> Path:
        return self.paths[index]

    def image(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) RGB of photograph `index`; greyscale and CMYK are converted."""
        return np.array(_photograph(self.paths[index]))

    def canvas(self, index: int, side: int) -> NDArray[np.uint8]:
        """(side, side, 3) RGB of photograph `index`; see `canvas`."""
        return canvas(self.paths[index], side)

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        return np.array([image_size(path) for path in self.paths], dtype=np.int64)

    @cached_property
    def boxes(self) -> NDArray[np.float64] | None:
        path = self.root / BOXES_FILE
        if not path.is_file():
            return None
        boxes = read_json(path)
        missing = [name for name in self.name.tolist() if not isinstance(boxes, dict) or len(boxes.get(name) or ()) != 4]
        if missing:
            raise ValueError(f"{path}: has no box [x, y, w, h] of {missing[0]}; write the twin again")
        return np.array([boxes[name] for name in self.name.tolist()], dtype=np.float64)

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
        for name, path in zip(self.name.tolist(), self.paths, strict=True):
            digest.update(f"{name} {path.stat().st_size}\n".encode())
        if self.boxes is not None:
            digest.update(self.boxes.tobytes())
        return digest.hexdigest()[:16]


def _part(files: list[str], split: str) -> list[str]:
    held_back = len(files) // 10
    return files[len(files) - held_back:] if split == "val" else files[:len(files) - held_back]


# ---------------------------------------------------------------------------------------------------------- photographs


def _photograph(path: str | os.PathLike[str]) -> Image.Image:
    """Decoded as RGB, as it lies in the file: no EXIF turn, as in torchvision."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: missing; {_REFETCH}") from None
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path}: cannot be decoded ({one_line(error)}); {_REFETCH}") from None


def canvas(path: str | os.PathLike[str], side: int) -> NDArray[np.uint8]:
    """The photograph at `path` as a square: short side resized to `side`, middle of the long one; (side, side, 3) RGB.

    As torchvision's Resize(side) and CenterCrop(side) on Pillow images. See the module's text for the deviation.
    """
    image = _photograph(path)
    width, height, left, top = _placement(image.width, image.height, side)
    return np.array(image.resize((width, height), Image.Resampling.BILINEAR).crop((left, top, left + side, top + side)))


def _placement(width: int, height: int, side: int) -> tuple[int, int, int, int]:
    """Width and height after resizing, and where the square begins in that: left, top."""
    short = min(width, height)
    width, height = int(side * width / short), int(side * height / short)
    return width, height, round((width - side) / 2), round((height - side) / 2)


def canvas_boxes(boxes: ArrayLike, sizes: ArrayLike, side: int) -> NDArray[np.float64]:
    """boxes (N, 4) in pixels of photographs of sizes (N, 2) as (H, W) -> (N, 4) in pixels of their `canvas`.

    What the square cuts off stays part of the box: it may reach outside.
    """
    boxes, moved = np.asarray(boxes, dtype=np.float64).reshape(-1, 4), []
    for (x, y, w, h), (height, width) in zip(boxes, np.asarray(sizes).reshape(-1, 2).tolist(), strict=True):
        new_width, new_height, left, top = _placement(width, height, side)
        across, down = new_width / width, new_height / height
        moved.append((x * across - left, y * down - top, w * across, h * down))
    return np.array(moved).reshape(-1, 4)


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


# ------------------------------------------------------------------------------------------------------------- download


def fetch_imagenette(folder: str | os.PathLike[str], size: str = "160px") -> Path:
    """Download imagenette with torchvision and unpack it in `folder`, unless it is there; returns ROOT.

    size: "160px" (about 95 MB), "320px" (326 MB) or "full" (1.5 GB). torchvision checks the archive's MD5. It is unpacked beside and
    renamed, so ROOT is there as a whole or not at all. Raises ConnectionError, one line, where it cannot be had.
    """
    from torchvision.datasets import Imagenette as Download

    if size not in FOLDERS:
        raise ValueError(f"size {size!r} is not one of {', '.join(FOLDERS)}")
    root = Path(folder) / FOLDERS[size]
    if root.exists():
        return find_root(root)
    partial = Path(folder) / f".{root.name}.partial-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        Download(partial, split="train", size=size, download=True)
        (partial / root.name).rename(root)
    except (OSError, RuntimeError, EOFError) as error:  # no network, a bad checksum, a broken archive
        raise ConnectionError(f"imagenette could not be downloaded ({one_line(error)}); unpack {root.name}.tgz of "
                              f"github.com/fastai/imagenette in {folder} by hand") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return find_root(root)
