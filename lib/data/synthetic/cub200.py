"""A synthetic CUB-200-2011: drawn birds in exactly the layout of the real data set, for machines without it.

The layout is that of `lib.data.cub200`; `birds` draws. Sixteen species in four genera. TWIN.json at the root says that all of it
is synthetic. The fifteen parts are the published ones; a bird in profile shows those of one side.

What differs from the real data set: classes are balanced, nothing stands before a bird, and attributes/ and
part_click_locs.txt are left out.

What it is to decide ("Learning to Zoom", section 4.3): "the images are better framed around subjects than in the iNaturalist
dataset". So birds are larger here than in that twin, and details smaller beside them: zooming to the whole bird shows less
than zooming to its head or wing. `details="large"` is the negative control. The constants were chosen on pictures of other
seeds than the tables'.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from lib.data.synthetic import birds, folder
from lib.data.synthetic.inaturalist import STATEMENT, Drawn, part_rows
from lib.versions import VERSIONS

VERSION = VERSIONS["twin cub200"]
SIZES: dict[str, dict[str, int]] = {
    "smoke": {"train": 80, "test": 32},  # five of each species: one for choosing
    "demo": {"train": 1200, "test": 400},
    "control": {"train": 1200, "test": 200},
    "compare": {"train": 400, "test": 96},  # as somebody's own folder
}
GENERA = {"Mock_Warbler": "warbler", "Mock_Finch": "finch", "Mock_Jay": "jay", "Mock_Wader": "wader"}
DETAILS = {"small": 0.125, "large": 0.3}  # diameter of the detail in body lengths
SHARE = (0.38, 0.6)  # the bird's length, of the picture's shorter side
PARTS = ("back", "beak", "belly", "breast", "crown", "forehead", "left eye", "left leg", "left wing", "nape", "right eye", "right leg",
         "right wing", "tail", "throat")  # parts.txt, in its order


def write(
    root: str | os.PathLike[str], *, seed: int = 0, details: str = "small", train: int = 1200, test: int = 400, side: int = 256,
    workers: int = 2, progress: folder.Progress | None = None,
) -> Path:
    """Write the twin to root, or find it there; returns root. Arguments as in `lib.data.synthetic.inaturalist.write`."""
    if details not in DETAILS:
        raise ValueError(f"details {details!r}: one of {', '.join(DETAILS)}")
    parameters = {"seed": seed, "details": details, "train": train, "test": test, "side": side}

    def fill(partial: Path) -> dict[str, Any]:
        tasks, training = _tasks(partial, seed, DETAILS[details], (train, test), side)
        drawn = folder.in_parallel(birds.write_picture, tasks, workers=workers, progress=progress, chunk=16)
        return _write_metadata(partial, tasks, training, drawn, seed)

    return folder.write_once(root, version=VERSION, parameters=parameters, fill=fill)


def species() -> list[tuple[str, str, int]]:
    """Class name, genus of `birds` and variant of each species, by class id from 1."""
    kinds = [(name, genus, variant) for name, genus in GENERA.items() for variant in range(len(birds.VARIANTS))]
    return [(f"{number:03d}.{birds.VARIANTS[variant].replace(' ', '_').capitalize()}_{name}", genus, variant)
            for number, (name, genus, variant) in enumerate(kinds, start=1)]


def _tasks(root: Path, seed: int, diameter: float, counts: tuple[int, int], side: int) -> tuple[list[birds.Picture], list[bool]]:
    """All pictures, class by class as published, and which of them are for training; each has a random stream of its own."""
    planner, *streams = np.random.SeedSequence(seed).spawn(1 + sum(counts))
    rng, kinds = np.random.default_rng(planner), species()
    of_train, of_test = (np.bincount(np.arange(count) % len(kinds), minlength=len(kinds)) for count in counts)
    tasks, training = [], []
    for label, (name, genus, variant) in enumerate(kinds):
        for number in range(of_train[label] + of_test[label]):
            path = root / "images" / name / f"{name[4:]}_{number + 1:04d}_{rng.integers(10**5, 10**6)}.jpg"
            tasks.append(birds.Picture(path, genus, variant, side, diameter, SHARE, streams[len(tasks)]))
        training += rng.permutation(np.arange(of_train[label] + of_test[label]) < of_train[label]).tolist()
    return tasks, training


def _write_metadata(root: Path, tasks: list[birds.Picture], training: list[bool], drawn: Drawn, seed: int) -> dict[str, Any]:
    """The text files; returns what TWIN.json says."""
    kinds, names = species(), [task.path.relative_to(root / "images").as_posix() for task in tasks]
    (root / "parts").mkdir(parents=True)
    part_lines = [f"{image} {part} {x} {y} {seen}" for image, (_, place) in enumerate(drawn, start=1)
                  for part, (x, y, seen) in enumerate(part_rows(list(PARTS), place), start=1)]
    files = {
        "images.txt": names,
        "image_class_labels.txt": [int(name[:3]) for name in names],
        "train_test_split.txt": [int(value) for value in training],
        "classes.txt": [name for name, _, _ in kinds],
        "bounding_boxes.txt": [" ".join(f"{value:.1f}" for value in place.box) for _, place in drawn],
        "parts/parts.txt": list(PARTS),
    }
    for name, rows in files.items():
        (root / name).write_text("".join(f"{number} {row}\n" for number, row in enumerate(rows, start=1)))
    (root / "parts" / "part_locs.txt").write_text("".join(f"{line}\n" for line in part_lines))
    deciding = {name: birds.part_names(genus, of=birds.GENERA[genus].deciding) for name, genus, _ in kinds}
    counts = {"images": len(tasks), "train": sum(training), "test": len(tasks) - sum(training), "classes": len(kinds), "parts": len(PARTS)}
    return {"statement": STATEMENT.format(name="CUB-200-2011"), "stands_for": "CUB-200-2011", "generator": __name__, "seed": seed,
            "counts": counts, "detail": deciding,
            "scene": {"details": DETAILS, "share": list(SHARE), "jpeg_quality": birds.JPEG_QUALITY}}
