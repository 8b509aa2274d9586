"""A synthetic SALICON: drawn scenes in exactly the layout of the real set, for machines without it.

The layout is that of `lib.data.salicon`. Each photograph is a scene of `scenes`, and its fixations are drawn from that scene's
density, which lies beside the data:

    ROOT/density/{train,val}/<stem>.npy     the coarse grid, float32; `lib.data.saliency.upsample_density` is the density

TWIN.json at the root says that all of it is synthetic.

What differs from the real set: about 240 fixations an image instead of about 460 (2017) or 317 (2015); they are drawn
independently, so their order means nothing and the observers do not differ; the mouse track has about seven samples to a fixation
instead of tens; both editions hold the same fixations and differ in the orientation of `gaze`, and in that only 2017 has mouse
positions outside the image. The maps are blurred with sigma 19 px, as SALICON's evaluation code does; whether the maps of 2017
are was not verified.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from lib.data.salicon import BLUR, EDITIONS, SIZE, SPLITS
from lib.data.synthetic import folder, scenes
from lib.metrics.saliency import density_map, fixation_map
from lib.versions import VERSIONS

VERSION = VERSIONS["twin salicon"]
SIZES: dict[str, dict[str, int]] = {
    "smoke": {"train": 24, "val": 12, "test": 4},
    "demo": {"train": 360, "val": 120, "test": 8},
}
FIXATIONS_PER_OBSERVER = 8.0  # the mean of a Poisson distribution, at least 1; of 2017's 460 an image over about 60 observers
EMPTY_SHARE = 0.02  # of observers: an empty array, as the real files hold here and there
VIEWING_MS = 5000
JPEG_QUALITY = 90
_HIGHEST_ID = 581_929  # about where the photographs of COCO 2014 end
_MAT_HEADER = b"MATLAB 5.0 MAT-file, synthetic SALICON".ljust(116)  # scipy writes the time of day here
_STATEMENT = (
    "Synthetic data: drawn scenes, no photograph and no observer; fixations drawn from a known density. Written in the layout of "
    "SALICON to try methods on; no result on it is a result on SALICON."
)


@dataclass(frozen=True)
class _Task:
    """One image to write."""

    root: Path
    split: str
    stem: str
    observers: int
    edition: str
    seed: np.random.SeedSequence


def write(
    root: str | os.PathLike[str], *, seed: int = 0, train: int = 360, val: int = 120, test: int = 8, observers: int = 30,
    edition: str = "2017", workers: int = 2, progress: Callable[[int, int], object] | None = None,
) -> Path:
    """Write the twin to root, or find it there; returns root.

    train, val, test: images. progress(done, total) is called after each image. The bytes depend on the parameters alone, not on
    `workers`. Everything is written beside root first and renamed when complete, so a root with a TWIN.json is a finished twin.
    A root that holds anything else is a ValueError: nothing is ever overwritten.
    """
    if edition not in EDITIONS:
        raise ValueError(f"edition {edition!r}: one of {', '.join(EDITIONS)}")
    if min(train, val, test) < 0 or observers < 1:
        raise ValueError(f"train {train}, val {val}, test {test}, observers {observers}: images from 0, observers from 1")
    images = {"train": train, "val": val, "test": test}
    parameters = {"seed": seed, "images": images, "observers": observers, "edition": edition}

    def fill(partial: Path) -> dict[str, Any]:
        tasks = _tasks(partial, seed, images, observers, edition)
        return _description(seed, tasks, folder.in_parallel(_write_image, tasks, workers=workers, progress=progress))

    return folder.write_once(root, version=VERSION, parameters=parameters, fill=fill)


def _tasks(root: Path, seed: int, images: dict[str, int], observers: int, edition: str) -> list[_Task]:
    """All images, by split and name; each has a random stream of its own, which more images in a split leave as it is."""
    planner, *splits = np.random.SeedSequence(seed).spawn(1 + len(SPLITS))
    numbers = np.random.default_rng(planner).permutation(_HIGHEST_ID)[: sum(images.values())] + 1
    tasks, used = [], 0
    for split, sequence in zip(SPLITS, splits, strict=True):
        for kind in ("images", "fixations", "maps", "density")[: 1 if split == "test" else 4]:
            (root / kind / split).mkdir(parents=True)
        own = np.sort(numbers[used : used + images[split]])
        stems = [f"COCO_{split}2014_{number:012d}" for number in own]
        streams = sequence.spawn(len(stems))
        tasks += [_Task(root, split, stem, observers, edition, stream) for stem, stream in zip(stems, streams, strict=True)]
        used += len(own)
    return tasks


# ------------------------------------------------------------------------------------------------------------- one image


def _write_image(task: _Task) -> int:
    """Writes one image and what belongs to it; returns how many fixations that is."""
    rng = np.random.default_rng(task.seed)
    picture = scenes.draw(rng, SIZE)
    picture.image.save(task.root / "images" / task.split / f"{task.stem}.jpg", quality=JPEG_QUALITY)
    if task.split == "test":
        return 0
    counts = np.maximum(rng.poisson(FIXATIONS_PER_OBSERVER, task.observers), 1)
    counts[rng.random(task.observers) < EMPTY_SHARE] = 0
    xy = scenes.draw_fixations(picture.density, SIZE, int(counts.sum()), rng)
    np.save(task.root / "density" / task.split / f"{task.stem}.npy", picture.density)
    (task.root / "fixations" / task.split / f"{task.stem}.mat").write_bytes(_mat(task, np.split(xy, np.cumsum(counts)[:-1]), rng))
    blurred = density_map(fixation_map(xy, SIZE), sigma=BLUR).numpy()
    levels = np.round(255 * blurred / (blurred.max() or 1)).astype(np.uint8)
    Image.fromarray(levels).save(task.root / "maps" / task.split / f"{task.stem}.png", compress_level=3)
    return len(xy)


def _mat(task: _Task, observers: list[NDArray[np.int64]], rng: np.random.Generator) -> bytes:
    """The .mat: `image`, `resolution` (H, W) and `gaze`, a struct array that is a column in 2017 and a row in 2015."""
    gaze = np.empty(len(observers), dtype=[("location", "O"), ("timestamp", "O"), ("fixations", "O")])
    for index, xy in enumerate(observers):
        location, timestamp = _mouse(xy, rng, leaves=task.edition == "2017")
        gaze[index] = (location, timestamp, (xy + 1).astype(np.uint16))
    gaze = gaze.reshape((-1, 1) if task.edition == "2017" else (1, -1))
    content, stream = {"image": task.stem, "resolution": np.array([SIZE], dtype=np.uint16), "gaze": gaze}, io.BytesIO()
    savemat(stream, content)
    return _MAT_HEADER + stream.getvalue()[len(_MAT_HEADER) :]


def _mouse(xy: NDArray[np.int64], rng: np.random.Generator, *, leaves: bool) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """A mouse track past the fixations: positions (n, 2) from 1, and milliseconds (n, 1). One in ten leaves the image."""
    if not len(xy):
        return np.zeros((0, 2), dtype=np.uint16), np.zeros((0, 1), dtype=np.uint16)
    resting = np.repeat(xy, 5, axis=0) + rng.normal(0, 3, (5 * len(xy), 2))
    moving = np.linspace(xy[:-1], xy[1:], 4)[1:-1]  # (2, n - 1, 2)
    track = np.concatenate([resting.reshape(-1, 5, 2), np.moveaxis(np.concatenate([moving, xy[None, -1:].repeat(2, 0)], axis=1), 0, 1)], axis=1)
    location = np.clip(np.round(track.reshape(-1, 2)) + 1, 1, SIZE[::-1])
    if leaves and rng.random() < 0.1:
        axis = int(rng.integers(2))
        location[-1, axis] = SIZE[::-1][axis] + 1  # 641 or 481
    timestamp = np.sort(rng.integers(0, VIEWING_MS + 1, (len(location), 1)), axis=0)
    return location.astype(np.uint16), timestamp.astype(np.uint16)


def _description(seed: int, tasks: list[_Task], fixations: list[int]) -> dict[str, Any]:
    """TWIN.json: what this is and what a complete copy holds."""
    counts: dict[str, dict[str, int]] = {}
    for split in SPLITS:
        own = [n for task, n in zip(tasks, fixations, strict=True) if task.split == split]
        counts[split] = {"images": len(own)} | ({} if split == "test" else {"fixations": sum(own)})
    return {
        "statement": _STATEMENT, "stands_for": "SALICON", "generator": __name__, "seed": seed, "counts": counts,
        "scene": scenes.constants() | {
            "size": list(SIZE), "blur": BLUR, "fixations_per_observer": FIXATIONS_PER_OBSERVER, "empty_share": EMPTY_SHARE,
            "jpeg_quality": JPEG_QUALITY,
        },
    }
