"""Checks an iNaturalist 2017 on disk against its published layout and counts, and says what is missing.

`python -m lib verify inaturalist DIR` prints the report. Counts are those of the release (2017/README.md of
github.com/visipedia/inat_comp). A synthetic twin is compared with its own TWIN.json.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np

from lib.data.files import TWIN_FILE, read_json
from lib.data.inaturalist import ANNOTATIONS, BOXES, IMAGES, PARTS, Annotations, read_boxes, read_parts
from lib.data.recognition import Paths, Progress, check_pictures, check_there
from lib.data.report import Report

# Supercategory -> species, pictures of train and of val.
PUBLISHED = {
    "Plantae": (2101, 158_407, 38_206), "Insecta": (1021, 100_479, 18_076), "Aves": (964, 214_295, 21_226),
    "Reptilia": (289, 35_201, 5_680), "Mammalia": (186, 29_333, 3_490), "Fungi": (121, 5_826, 1_780), "Amphibia": (115, 15_318, 2_385),
    "Mollusca": (93, 7_536, 1_841), "Animalia": (77, 5_228, 1_362), "Arachnida": (56, 4_873, 1_086),
    "Actinopterygii": (53, 1_982, 637), "Chromista": (9, 398, 144), "Protozoa": (4, 308, 73),
}
PUBLISHED_BOXES = {"train": 496_164, "val": 48_736}
LONGEST = 800  # pixels of the longer side
_UNPACK = "unpack train_val_images.tar.gz again"
_FILES = {"train": (ANNOTATIONS["train"], BOXES["train"]), "val": (ANNOTATIONS["test"], BOXES["test"])}  # as published


def verify(root: str | os.PathLike[str], *, images: int | None = 2000, seed: int = 0, progress: Progress | None = None) -> Report:
    """Check the folder that holds train_val_images; problems go into the report, nothing is raised.

    images: how many pictures are decoded, drawn at random (None: all, which takes hours on the real data; 0: none). Whether each
    listed picture exists is always checked. progress(done, total) is called after each decoded picture.
    """
    root, report, found = Path(root), Report(), {}
    if not (root / IMAGES).is_dir():
        report.add(f"{root}: holds no {IMAGES}; give the folder that {IMAGES}.tar.gz was unpacked in", problem=True)
        return report
    for split, (name, _) in _FILES.items():
        try:
            found[split] = Annotations(root / name)
        except (OSError, ValueError) as error:
            report.add(str(error), problem=True)
    if len(found) < len(_FILES):
        return report
    report.add("annotations: every image has one, every one has a listed image and category")
    _check_classes(found, report)
    boxes = {split: _check_boxes(root / _FILES[split][1], content, report) for split, content in found.items()}
    _check_counts(root, found, boxes, report)
    if (root / TWIN_FILE).is_file():
        _check_parts(root, found, report)
    names = [name for content in found.values() for name in content.names]
    sizes = np.concatenate([content.size for content in found.values()])
    if len(set(names)) < len(names):
        report.add(f"{len(names) - len(set(names))} pictures are listed in train and in val; unpack train_val2017.zip again", problem=True)
    if sizes.max() > LONGEST:
        report.add(f"pictures of up to {sizes.max()} px, the release has at most {LONGEST}", warning=True)
    paths = Paths(root, names)
    there = check_there(paths, report, unpack=_UNPACK)
    check_pictures(paths, sizes, there, report, images=images, seed=seed, progress=progress)
    return report


def _check_classes(found: dict[str, Annotations], report: Report) -> None:
    train, val = found["train"], found["val"]
    if (train.classes, train.supercategory, train.category_id) != (val.classes, val.supercategory, val.category_id):
        report.add(f"{train.path.name} and {val.path.name} list other categories; unpack train_val2017.zip again", problem=True)


def _check_boxes(path: Path, content: Annotations, report: Report) -> int | None:
    """How many boxes the file has; None without the file, which is optional."""
    if not path.is_file():
        report.add(f"{path}: missing; no boxes then, everything else works", warning=True)
        return None
    try:
        boxes = read_boxes(path, content)
        number = len(read_json(path)["annotations"])
    except (OSError, ValueError) as error:
        report.add(str(error), problem=True)
        return None
    outside = (boxes[:, :2] < -1).any(1) | (boxes[:, :2] + boxes[:, 2:] > content.size[:, ::-1] + 1).any(1)
    if outside.any():
        report.add(f"{path}: {outside.sum():,} boxes reach outside their pictures, such as that of {content.names[int(outside.argmax())]}",
                   warning=True)
    return number


def _check_parts(root: Path, found: dict[str, Annotations], report: Report) -> None:
    """Those of a twin."""
    try:
        for content in found.values():
            read_parts(root / PARTS, content.names)
    except (OSError, ValueError) as error:
        report.add(str(error), problem=True)


def _check_counts(root: Path, found: dict[str, Annotations], boxes: dict[str, int | None], report: Report) -> None:
    if (root / TWIN_FILE).is_file():
        _check_twin(root, found, boxes, report)
        return
    species = Counter(found["train"].supercategory)
    pictures = {split: Counter(content.supercategory[label] for label in content.label.tolist()) for split, content in found.items()}
    report.compare("species", len(found["train"].classes), sum(row[0] for row in PUBLISHED.values()))
    for name, (kinds, train, val) in PUBLISHED.items():
        report.compare(f"{name}: species", species[name], kinds)
        report.compare(f"{name}: pictures in train", pictures["train"][name], train)
        report.compare(f"{name}: pictures in val", pictures["val"][name], val)
    for split, number in boxes.items():
        if number is not None:
            report.compare(f"boxes in {split}", number, PUBLISHED_BOXES[split])


def _check_twin(root: Path, found: dict[str, Annotations], boxes: dict[str, int | None], report: Report) -> None:
    try:
        twin = read_json(root / TWIN_FILE)
        report.add(f"synthetic twin, seed {twin['seed']}: compared with its own {TWIN_FILE}, not with the published counts")
        report.compare("species", len(found["train"].classes), twin["counts"]["classes"])
        for split, content in found.items():
            report.compare(f"pictures in {split}", len(content.names), twin["counts"][split]["images"])
            report.compare(f"boxes in {split}", boxes[split] or 0, twin["counts"][split]["boxes"])
    except (ValueError, KeyError, TypeError, ArithmeticError) as error:
        report.add(f"{root / TWIN_FILE}: not a twin's description ({error!r}); write the twin again", problem=True)
