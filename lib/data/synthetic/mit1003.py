"""A synthetic MIT1003: drawn scenes in exactly the layout of the real set, for machines without it.

The layout is that of `lib.data.mit1003`. Each photograph is a scene of `scenes`, and its fixations are drawn from that scene's
density, which lies beside the data:

    ROOT/density/<stem>.npy     the coarse grid, float32; `lib.data.saliency.upsample_density` is the density

TWIN.json at the root says that all of it is synthetic. The published maps are 8-bit greyscale JPEG of quality 75, 0 to 255, and
their isolated fixations are Gaussians of 23.8 px each way (median of 77 in 100 of the published maps), as the Fourier low-pass of
8 cycles an image has it: 24 px on 1,024. So are these, but for a Gaussian cut at the border instead of one that goes round.

What differs from the real set: ten sizes in turn instead of dozens, every 16th picture greyscale (and looked at as if it had
its colours); there is no DATA/, the raw eye tracks; fixations are drawn independently, and observers do not differ. A pixel that
was fixated twice is one point in fixPts, so TWIN.json counts fixated pixels.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lib.data.mit1003 import SUBJECTS
from lib.data.synthetic import folder, scenes
from lib.metrics.saliency import density_map, fixation_map
from lib.versions import VERSIONS

VERSION = VERSIONS["twin mit1003"]
SIZES: dict[str, dict[str, int]] = {"smoke": {"images": 20}, "demo": {"images": 200}}
PICTURES = (  # (H, W) in turn; half of the real ones are 768 x 1024
    (768, 1024), (683, 1024), (768, 1024), (1024, 768), (768, 1024), (680, 1024), (768, 1024), (685, 1024), (768, 1024), (1024, 683),
    (768, 1024), (1024, 1024), (768, 1024), (1024, 768), (768, 1024), (819, 1024), (1024, 682), (768, 1024), (767, 1024), (683, 1024),
)
GREY_EVERY = 16
FIXATIONS_PER_OBSERVER = 7.0  # the mean of a Poisson distribution; 104,171 real ones / 1,003 images / 15 observers
SIGMA = 24.0  # pixels; of the blurred maps
JPEG_QUALITY, MAP_QUALITY = 90, 75
_STATEMENT = (
    "Synthetic data: drawn scenes, no photograph and no observer; fixations drawn from a known density. Written in the layout of "
    "MIT1003 to try methods on; no result on it is a result on MIT1003."
)


@dataclass(frozen=True)
class _Task:
    """One image to write."""

    root: Path
    stem: str
    size: tuple[int, int]
    grey: bool
    observers: int
    seed: np.random.SeedSequence


def write(
    root: str | os.PathLike[str], *, seed: int = 0, images: int = 200, observers: int = SUBJECTS, workers: int = 2,
    progress: Callable[[int, int], object] | None = None,
) -> Path:
    """Write the twin to root, or find it there; returns root.

    progress(done, total) is called after each image. The bytes depend on the parameters alone, not on `workers`. Everything is
    written beside root first and renamed when complete, so a root with a TWIN.json is a finished twin. A root that holds
    anything else is a ValueError: nothing is ever overwritten.
    """
    if images < 1 or observers < 1:
        raise ValueError(f"images {images}, observers {observers}: at least 1 of each")
    parameters = {"seed": seed, "images": images, "observers": observers}

    def fill(partial: Path) -> dict[str, Any]:
        tasks = _tasks(partial, seed, images, observers)
        return _description(seed, folder.in_parallel(_write_image, tasks, workers=workers, progress=progress))

    return folder.write_once(root, version=VERSION, parameters=parameters, fill=fill)


def _tasks(root: Path, seed: int, images: int, observers: int) -> list[_Task]:
    """All images by name; each has a random stream of its own, which more images leave as it is."""
    for name in ("ALLSTIMULI", "ALLFIXATIONMAPS", "density"):
        (root / name).mkdir()
    planner, pictures = np.random.SeedSequence(seed).spawn(2)
    numbers = np.sort(np.random.default_rng(planner).choice(200_000_000, images, replace=False)) + 1_000_000_000
    return [
        _Task(root, f"i{number}", PICTURES[index % len(PICTURES)], index % GREY_EVERY == GREY_EVERY // 2, observers, stream)
        for index, (number, stream) in enumerate(zip(numbers, pictures.spawn(images), strict=True))
    ]


def _write_image(task: _Task) -> int:
    """Writes one image and its maps; returns how many pixels were fixated."""
    rng = np.random.default_rng(task.seed)
    picture = scenes.draw(rng, task.size)
    image = picture.image.convert("L") if task.grey else picture.image
    image.save(task.root / "ALLSTIMULI" / f"{task.stem}.jpeg", quality=JPEG_QUALITY)
    np.save(task.root / "density" / f"{task.stem}.npy", picture.density)
    n = max(int(rng.poisson(FIXATIONS_PER_OBSERVER * task.observers)), 1)
    counts = fixation_map(scenes.draw_fixations(picture.density, task.size, n, rng), task.size)
    blurred = density_map(counts, sigma=SIGMA).numpy()
    blurred -= blurred.min()
    maps = {"fixMap": np.round(255 * blurred / (blurred.max() or 1)), "fixPts": 255 * (counts.numpy() > 0)}
    for name, levels in maps.items():
        Image.fromarray(levels.astype(np.uint8)).save(task.root / "ALLFIXATIONMAPS" / f"{task.stem}_{name}.jpg", quality=MAP_QUALITY)
    return int((counts > 0).sum())


def _description(seed: int, fixations: list[int]) -> dict[str, Any]:
    """TWIN.json: what this is and what a complete copy holds."""
    return {
        "statement": _STATEMENT, "stands_for": "MIT1003", "generator": __name__, "seed": seed,
        "counts": {"images": len(fixations), "fixations": sum(fixations)},
        "scene": scenes.constants() | {
            "sizes": [list(size) for size in PICTURES], "blur": SIGMA, "fixations_per_observer": FIXATIONS_PER_OBSERVER,
            "jpeg_quality": JPEG_QUALITY, "map_quality": MAP_QUALITY,
        },
    }
