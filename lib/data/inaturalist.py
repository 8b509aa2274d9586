"""iNaturalist 2017 as its authors publish it: photographs in folders of species, COCO-style JSON beside them.

Van Horn et al., "The iNaturalist Species Classification and Detection Dataset", CVPR 2018; layout from 2017/README.md of
github.com/visipedia/inat_comp.

    ROOT/train_val_images/<Supercategory>/<Species name>/<hash>.jpg     at most 800 px
    ROOT/train2017.json, val2017.json                      images, annotations, categories; 5,089 species
    ROOT/train_2017_bboxes.json, val_2017_bboxes.json      boxes of a part of the pictures, where these files are there

Annotations are joined with pictures by image id, never by their order. A species' label is its place among the category ids.
"Learning to Zoom" (section 4.2) tests on the published validation split, as the test split's labels are not public: that is
"test" here, and "train" and "val" are the published training split (`lib.data.recognition`).

Of several boxes in a picture the largest is taken: the README warns that others may be of other species.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.data.names import Names, Rows
from lib.data.recognition import Paths, Pictures, check_split, is_val
from lib.data.files import TWIN_FILE, is_file_name, one_line, read_json, whole_numbers

IMAGES = "train_val_images"
ANNOTATIONS = {"train": "train2017.json", "val": "train2017.json", "test": "val2017.json"}
BOXES = {"train": "train_2017_bboxes.json", "val": "train_2017_bboxes.json", "test": "val_2017_bboxes.json"}
PARTS = "parts.json"  # of the synthetic twin, and of nothing else
_REFETCH = "unpack train_val2017.zip again"
_FAR = 10**6  # pixels; also false for NaN


class INaturalist(Pictures):
    """One split of iNaturalist 2017; columns as in `lib.data.recognition.Pictures`.

    supercategory: one name per class. parts are those of the synthetic twin, None on real data. Pictures are looked for when
    they are read; `lib.data.inaturalist_verify` looks for all of them. Errors: FileNotFoundError or ValueError, one line that
    names the file.
    """

    def __init__(self, root: str | os.PathLike[str], split: str) -> None:
        check_split(split, "iNaturalist")
        self.root, self.split = Path(root), split
        if not (self.root / IMAGES).is_dir():
            raise FileNotFoundError(f"{self.root}: holds no {IMAGES}; give the folder that {IMAGES}.tar.gz was unpacked in")
        content = Annotations(self.root / ANNOTATIONS[split])
        self.metadata = (content.path,)
        self._check_classes(content)
        self.classes, self.supercategory = content.classes, content.supercategory
        self.path, self.size = Paths(self.root, content.names), content.size
        self.image_id, self.label = content.image_id, content.label
        boxes = self.root / BOXES[split]
        self.box = read_boxes(boxes, content) if boxes.is_file() else np.full((len(content.names), 4), np.nan)
        self.metadata += (boxes,) if boxes.is_file() else ()
        if (self.root / TWIN_FILE).is_file():
            self.part_names, self.parts = read_parts(self.root / PARTS, content.names)
            self.metadata += (self.root / PARTS,)
        if split != "test":
            self._keep(is_val(self.label) == (split == "val"))

    def _check_classes(self, content: Annotations) -> None:
        """Labels count from the same list in every split, or test scores mean nothing."""
        other = self.root / ANNOTATIONS["train"]
        if content.path == other or not other.is_file():
            return
        classes = _classes(_lists(other, Rows("id", text="file_name"), Rows("image_id"))["categories"], other)
        if classes != (content.classes, content.supercategory, content.category_id):
            raise ValueError(f"{content.path}: lists other categories than {other.name}; {_REFETCH}")


class Annotations:
    """What train2017.json or val2017.json says, in the order of image ids: names, size (N, 2), label (N,), and the classes."""

    def __init__(self, path: Path) -> None:
        self.path, images, annotations = path, Rows("id", "height", "width", text="file_name"), Rows("image_id", "category_id")
        lists = _lists(path, images, annotations)
        self._check_entries(images.unfit(lists["images"]), "an image", *images.keys)
        self._check_entries(annotations.unfit(lists["annotations"]), "an annotation", *annotations.keys)
        if not len(images):
            raise ValueError(f"{path}: lists no images; {_REFETCH}")
        self.classes, self.supercategory, self.category_id = _classes(lists["categories"], path)
        order, in_order = np.argsort(images.column("id"), kind="stable"), np.arange(len(images))
        self.names = images.names if (order == in_order).all() else images.names.take(order)
        self.image_id, self.size = images.column("id")[order], np.stack([images.column(key)[order] for key in ("height", "width")], axis=1)
        self._check_images()
        self.label = self._join(np.stack([annotations.column(key) for key in annotations.keys], axis=1))

    def _check_entries(self, odd: Any, what: str, *keys: str) -> None:
        """ValueError for an entry that is not as it must be, with what is wrong in it."""
        if odd is None:
            return
        try:
            _columns([odd], what, keys)
            name = odd["file_name"] if "height" in keys else ""
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{self.path}: an image or annotation is not as published ({one_line(error)}); {_REFETCH}") from None
        raise ValueError(f"{self.path}: {str(name)[:80]!r} lies outside the data set, or is no path; {_REFETCH}")

    def _check_images(self) -> None:
        twice = np.flatnonzero(self.image_id[1:] == self.image_id[:-1])
        if len(twice):
            raise ValueError(f"{self.path}: lists image {self.image_id[twice[0]]} twice; {_REFETCH}")
        for name in self.names:
            if not is_file_name(name, folders=True):
                raise ValueError(f"{self.path}: {str(name)[:80]!r} lies outside the data set, or is no path; {_REFETCH}")
        if (first := self.names.twice()) is not None:
            raise ValueError(f"{self.path}: {first} is the picture of two images; {_REFETCH}")
        if (self.size < 1).any():
            raise ValueError(f"{self.path}: {self.names[int((self.size < 1).any(1).argmax())]} has no size; {_REFETCH}")

    def _join(self, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
        """(A, 2) of image and category ids -> (N,) labels."""
        place = np.searchsorted(self.image_id, pairs[:, 0]).clip(max=len(self.image_id) - 1)
        unknown = np.flatnonzero(self.image_id[place] != pairs[:, 0])
        if len(unknown):
            raise ValueError(f"{self.path}: an annotation is for image {pairs[unknown[0], 0]}, which is not listed; {_REFETCH}")
        species = np.searchsorted(self.category_id, pairs[:, 1]).clip(max=len(self.category_id) - 1)
        unknown = np.flatnonzero(np.array(self.category_id)[species] != pairs[:, 1])
        if len(unknown):
            raise ValueError(f"{self.path}: an annotation has category {pairs[unknown[0], 1]}, which is not listed; {_REFETCH}")
        count = np.bincount(place, minlength=len(self.names))
        if (count != 1).any():
            first = int((count != 1).argmax())
            raise ValueError(f"{self.path}: {self.names[first]} has {count[first]} annotations, expected one; {_REFETCH}")
        label = np.zeros(len(self.names), dtype=np.int64)
        label[place] = species
        return label


def _columns(entries: list[dict[str, Any]], what: str, keys: tuple[str, ...]) -> NDArray[np.int64]:
    """(entries, keys) whole numbers."""
    return np.stack([whole_numbers((entry[key] for entry in entries), f"{what}'s {key}") for key in keys], axis=1)


def _lists(path: Path, *rows: Rows) -> dict[str, list[Any]]:
    """The three lists; what `rows` take, by the first of their keys or their text, is not held as objects."""
    def each(entry: dict[str, Any]) -> Any:
        return next((taking.take(entry) for taking in rows if (taking.text or taking.keys[0]) in entry), entry)

    content = read_json(path, each=each)
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise ValueError(f"{path}: has no list of {key}; {_REFETCH}")
    return content


def _classes(categories: list[dict[str, Any]], path: Path) -> tuple[list[str], list[str], list[int]]:
    """Names, supercategories and ids in the order of ids."""
    try:
        ids = whole_numbers((c["id"] for c in categories), "its id").tolist()
        rows = sorted((key, c["name"], c["supercategory"]) for key, c in zip(ids, categories, strict=True))
        if not all(isinstance(word, str) and word for row in rows for word in row[1:]):
            raise ValueError("its name or supercategory is no text")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: a category is not as published ({one_line(error)}); {_REFETCH}") from None
    ids = [row[0] for row in rows]
    if not rows or len(set(ids)) < len(ids):
        raise ValueError(f"{path}: {'lists a category twice' if rows else 'lists no categories'}; {_REFETCH}")
    return [row[1] for row in rows], [row[2] for row in rows], ids


def read_boxes(path: Path, content: Annotations) -> NDArray[np.float64]:
    """(N, 4) as x, y, w, h for the pictures of `content`: the largest box of each, NaN where there is none.

    Joined by file name: nothing promises that this file numbers images as train2017.json does.
    """
    images, boxes = Rows("id", text="file_name"), _Boxes("image_id")
    lists = _lists(path, images, boxes)
    try:
        if (odd := images.unfit(lists["images"])) is not None:
            raise ValueError(f"{str(odd)[:60]} is no image with id and file_name")
        if (odd := boxes.unfit(lists["annotations"])) is not None:
            raise ValueError(f"{str(odd['image_id'])[:20]} with {str(odd['bbox'])[:60]} is not an image's id with four numbers of pixels")
        rows = _places(images, content.names)[_listed(boxes.column("image_id"), images.column("id"))]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: a box is not x, y, w, h of a listed image ({one_line(error)}); unpack its zip again") from None
    return _largest(boxes.xywh[rows >= 0], rows[rows >= 0], len(content.names))


class _Boxes(Rows):
    """Annotations with boxes; `xywh` (N, 4)."""

    def __init__(self, *keys: str) -> None:
        super().__init__(*keys)
        self._xywh = array("d")

    def take(self, entry: dict[str, Any]) -> Any:
        bbox = entry.get("bbox")
        if not isinstance(bbox, list) or len(bbox) != 4 or not set(map(type, bbox)) <= {int, float}:
            return entry
        if not all(abs(number) < _FAR for number in bbox) or bbox[2] < 0 or bbox[3] < 0:
            return entry
        if (taken := super().take(entry)) is self:
            self._xywh.extend(bbox)
        return taken

    @property
    def xywh(self) -> NDArray[np.float64]:
        return np.array(self._xywh).reshape(-1, 4)


def _listed(ids: NDArray[np.int64], listed: NDArray[np.int64]) -> NDArray[np.int64]:
    """(A,): where each of `ids` stands in `listed`; the last of several. ValueError for one that does not."""
    order = np.argsort(listed, kind="stable")
    found = order[(np.searchsorted(listed[order], ids, side="right") - 1).clip(0)] if len(listed) else np.zeros(len(ids), np.int64)
    unknown = np.flatnonzero(listed[found] != ids) if len(listed) else np.arange(len(ids))
    if len(unknown):
        raise ValueError(f"image {ids[unknown[0]]} is not listed")
    return found


def _places(images: Rows, names: Names) -> NDArray[np.int64]:
    """(images,): the row in `names` of each image, -1 for one that is not there. `names` are all different."""
    hashes = names.hashes()
    order = np.argsort(hashes, kind="stable")
    first, last = (np.searchsorted(hashes[order], images.names.hashes(), side=side) for side in ("left", "right"))
    rows = np.full(len(images), -1, dtype=np.int64)
    for image in np.flatnonzero(first < last):  # equal hashes are all but always equal names
        name = images.names[image]
        rows[image] = next((row for row in order[first[image]:last[image]] if names[row] == name), -1)
    return rows


def _largest(boxes: NDArray[np.float64], rows: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """(B, 4) and the rows they are of -> (count, 4): the largest of each row, of equally large ones the first; NaN where there is none."""
    result = np.full((count, 4), np.nan)
    order = np.lexsort((-boxes[:, 2] * boxes[:, 3], rows))
    firsts = order[np.diff(rows[order], prepend=-1) > 0]
    result[rows[firsts]] = boxes[firsts]
    return result


def read_parts(path: Path, names: Sequence[str]) -> tuple[list[str], NDArray[np.float64]]:
    """Names (P,) and (N, P, 3) of the twin's parts."""
    content = read_json(path)
    try:
        parts = np.array([content["parts"][name] for name in names], dtype=np.float64).reshape(len(names), -1, 3)
        if not np.isfinite(parts).all():
            raise ValueError("not all are numbers")
        part_names = list(content["part_names"])
        parts[parts[..., 2] == 0, :2] = np.nan
        if parts.shape[1] != len(part_names):
            raise ValueError("another number of parts")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}: not the parts of these pictures ({one_line(error)}); write the twin again") from None
    return part_names, parts


def torchvision_ids(data: INaturalist) -> NDArray[np.int64]:
    """(classes,): for each label the class id that torchvision.datasets.INaturalist(version="2017") gives the species.

    torchvision ignores the JSON and counts folders, sorted by supercategory and species; so its ids, and heads trained on them,
    need this map: `ours[label] = theirs[torchvision_ids(data)[label]]`. Holds where every species has a folder.
    """
    assert data.supercategory is not None
    order = sorted(range(len(data.classes)), key=lambda label: (data.supercategory[label], data.classes[label]))
    ids = np.zeros(len(order), dtype=np.int64)
    ids[order] = np.arange(len(order))
    return ids
