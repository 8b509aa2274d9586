"""Scores a folder of saliency maps, anybody's, against a data set: `python -m lib score DATASET MAPS_DIR --data DIR`.

A map is a picture of any common format, read as grey, named like the photograph: COCO_val2014_000000000192.png, or with
_smap behind it, as EML-NET's released evaluation writes them. That is how the maps that its authors published for SALICON's
validation split can be checked without training anything. Maps of another size than the photograph are resized bilinearly,
and the report says how many were. Eight bits cost KL and information gain something: a zero under a fixation is expensive.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from lib.data.files import one_line
from lib.data.saliency import fifth_split
from lib.data.saliency_store import FullSize, Selection
from lib.results.statistics import bootstrap
from lib.files import replace_atomically
from lib.training.saliency import against_maps, at_fixations, enlarge

DATASETS = ("salicon", "osie", "mit1003")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
NAMES = {"auc": "AUC", "auc_judd": "AUC-Judd", "auc_shuffled": "sAUC", "nss": "NSS", "cc": "CC", "sim": "SIM", "kl": "KL (nats)", "ig": "IG (bits)"}
CELLS = (60, 80)  # of the centre bias


def selection(dataset: str, root: Path, split: str | None) -> Selection:
    """The images of `split`: train or val of SALICON (val by default); all, or train, val or test of `fifth_split`, elsewhere."""
    if dataset == "salicon":
        from lib.data.salicon import SALICON

        if split not in (None, "train", "val"):
            raise ValueError(f"split {split!r} is not one of train, val: SALICON publishes no fixations for another")
        data = SALICON(root, split=split or "val")
        return Selection(data, range(len(data)))
    if dataset not in DATASETS:
        raise ValueError(f"there is no data set {dataset!r} to score on; there are {', '.join(DATASETS)}")
    from lib.data.mit1003 import MIT1003
    from lib.data.osie import OSIE

    data = {"osie": OSIE, "mit1003": MIT1003}[dataset](root)
    parts = fifth_split(len(data)) | {"all": range(len(data))}
    if (split or "all") not in parts:
        raise ValueError(f"split {split!r} is not one of {', '.join(parts)}")
    return Selection(data, parts[split or "all"])


def find_maps(folder: Path, names: list[str]) -> dict[int, Path]:
    """Position -> map of each photograph that has one in `folder`; FileNotFoundError where none has."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; give the one that holds the maps")
    by_stem: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES:
            other = by_stem.setdefault(path.stem.removesuffix("_smap"), path)
            if other != path:
                raise ValueError(f"{folder}: {other.name} and {path.name} are maps of one photograph; move one away")
    found = {i: by_stem[Path(name).stem] for i, name in enumerate(names) if Path(name).stem in by_stem}
    if not found:
        raise FileNotFoundError(f"{folder}: no map is named like a photograph of this data set, such as {Path(names[0]).stem}.png")
    return found


def read_map(path: Path) -> Tensor:
    """(1, 1, h, w) float32: the picture at `path`, grey."""
    try:
        with Image.open(path) as image:
            grey = image if image.mode in ("L", "I", "I;16", "F") else image.convert("L")
            return torch.from_numpy(np.array(grey, dtype=np.float32))[None, None]
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as a saliency map ({one_line(error)}); write it again") from None


def centre_bias(full: FullSize) -> list[Tensor]:
    """For each image (1, 1, h, w): the mean of the other images' maps, each divided by its sum."""
    grids = []
    for i in range(len(full.chosen)):
        grid = torch.nn.functional.interpolate(full.density(i)[None, None].double(), CELLS, mode="area")
        grids.append(grid / grid.sum().clamp_min(1e-12))
    total = torch.stack(grids).sum(0)
    return [(total - grid).clamp_min(0).float() for grid in grids]


def score(full: FullSize, maps: dict[int, Path], *, progress: Callable[[int, int], object] | None = None) -> tuple[pd.DataFrame, int]:
    """Every metric of every map, one line each, and how many maps had another size than their photograph."""
    centre, lines, resized = centre_bias(full), [], 0
    for done, (i, path) in enumerate(maps.items(), start=1):
        found, size = read_map(path), full.sizes[i]
        if abs(found.shape[3] * size[0] / (found.shape[2] * size[1]) - 1) > 0.02:
            raise ValueError(f"{path}: is {found.shape[3]}x{found.shape[2]}, the photograph {size[1]}x{size[0]}: another shape; crop or pad it first")
        resized += tuple(found.shape[2:]) != size
        prediction, baseline = enlarge(found, size)[0], enlarge(centre[i], size)[0]
        values = against_maps(prediction, full.density(i)[None])
        values |= at_fixations(prediction, prediction, full.counts(i)[None], full.negatives(i)[None], baseline)
        lines.append({"image": path.stem, **{name: float(values[name]) for name in NAMES}})
        if progress:
            progress(done, len(maps))
    return pd.DataFrame(lines), resized


def report(frame: pd.DataFrame, *, dataset: str, expected: int, resized: int, twin: bool) -> str:
    """The means with 95 % bootstrap intervals over images, and what they are over."""
    lines = [f"{'SYNTHETIC TWIN of ' if twin else ''}{dataset}: {len(frame)} maps of {expected} images"
             + (f", {resized} resized to their photograph" if resized else "")]
    for name, label in NAMES.items():
        interval = bootstrap(frame[name].to_numpy())
        without = int(frame[name].isna().sum())
        lines.append(f"{label:10} {interval.text(3)}" + (f"   (undefined for {without})" if without else ""))
    return "\n".join(lines)


def run(dataset: str, maps_dir: Path, data_dir: Path, *, split: str | None, out: Path | None, progress=None) -> str:
    """What the command does; `out`: a CSV with each image's values."""
    full = FullSize(selection(dataset, data_dir, split))
    names = [full.chosen.data.name(full.chosen.at(i)) for i in range(len(full.chosen))]
    frame, resized = score(full, find_maps(Path(maps_dir), names), progress=progress)
    if out is not None:
        replace_atomically(Path(out), lambda path: frame.to_csv(path, index=False))
    return report(frame, dataset=dataset, expected=len(names), resized=resized, twin=full.chosen.data.is_twin)
