"""The Mr-CNN coursework's three files in small, from any data set's photographs: to see the format, and to test with."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from lib.data.coursework import FILES, GRID, SCALES, cut_crops, normalised
from lib.data.files import TWIN_FILE
from lib.data.saliency import SaliencyData
from lib.metrics.saliency import fixation_map


def write_miniature(folder: str | Path, data: SaliencyData, *, images: int = 4, held: int = 1, positives: int = 10, negatives: int = 20,
                    seed: int = 0) -> Path:
    """Write the three files and ALLFIXATIONMAPS in small, from the first `images` photographs of a data set; returns folder.

    The last `held` are for testing, as many before for validation, the others (one at least) are cut into crops: `positives` pixels
    where the blurred map is above 0.9 of its maximum, `negatives` below 0.1. Ours: bilinear squares, ImageNet's constants, 1-based centres
    linspace(1, H, 50) by linspace(1, W, 50), rounded. ValueError where the folder holds anything. From a twin it is one too.
    """
    folder, rng = Path(folder), np.random.default_rng(seed)
    if not 3 <= 2 * held + 1 <= images <= len(data):
        raise ValueError(f"a miniature takes {max(3, 2 * held + 1)} or more photographs, at most the {len(data)} in {data.root}, not {images}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder}: holds something already; choose another folder or remove it")
    partial = folder.parent / f".{folder.name}.partial-{os.getpid()}"
    try:
        (partial / "ALLFIXATIONMAPS").mkdir(parents=True)
        records = [_record(data, i) for i in range(images)]
        train = [crop for i, record in enumerate(records[:-2 * held]) for crop in _crops(record, data.density(i), (positives, negatives), rng)]
        for split, entries in (("train", train), ("val", records[-2 * held : -held]), ("test", records[-held:])):
            torch.save(entries, partial / FILES[split])
        for i in range(images):
            _write_maps(partial, data, i)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _record(data: SaliencyData, index: int) -> dict[str, Any]:
    """A photograph as a validation or test file holds it."""
    photograph, size = Image.fromarray(data.image(index)), data.size(index)
    pictures = {"X": photograph} | {f"X_{side}": photograph.resize((side, side), Image.Resampling.BILINEAR) for side in SCALES}
    tensors = {key: normalised(torch.from_numpy(np.array(picture)).permute(2, 0, 1)).contiguous() for key, picture in pictures.items()}
    centres = torch.cartesian_prod(*(torch.linspace(1, side, GRID).round().long() for side in size))
    return {"y": -1, "file": f"{data.path(index).stem}.jpeg", "spatial_coords": centres} | tensors


def _crops(record: dict[str, Any], density: NDArray[np.float32], counts: tuple[int, int], rng: np.random.Generator) -> list[dict[str, Any]]:
    """A photograph as a training file holds it: `counts` = (fixated, not fixated) crops."""
    peak, entries = density.max(), []
    for label, count, places in ((1, counts[0], density > 0.9 * peak), (0, counts[1], density < 0.1 * peak)):
        if not (yx := np.argwhere(places)).size:
            raise ValueError(f"{record['file']}: its blurred map is flat, so no pixel is fixated or not; choose other photographs")
        chosen = torch.from_numpy(yx[rng.choice(len(yx), count, replace=len(yx) < count)])
        crops = cut_crops({side: record[f"X_{side}"] for side in SCALES}, chosen, density.shape)
        entries += [{"X": crop.clone(), "y": label, "file": record["file"]} for crop in crops]
    return entries


def _write_maps(folder: Path, data: SaliencyData, index: int) -> None:
    """fixMap, fixPts if there are points, as MIT1003's; a twin's density."""
    name, points, truth = data.path(index).stem, data.fixations(index), data.true_density(index)
    levels = {"fixMap": 255 * data.density(index)}
    if points is not None:
        levels["fixPts"] = 255 * (fixation_map(points, data.size(index)).numpy() > 0)
    for kind, values in levels.items():
        Image.fromarray(np.round(values).astype(np.uint8)).save(folder / "ALLFIXATIONMAPS" / f"{name}_{kind}.jpg", quality=75)
    if truth is not None:
        (folder / "density").mkdir(exist_ok=True)
        np.save(folder / "density" / f"{name}.npy", truth)
        (folder / TWIN_FILE).write_text(json.dumps({"synthetic": True, "stands_for": "the coursework's files", "made_from": data.fingerprint}))
