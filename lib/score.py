"""Scores a folder of saliency maps, anybody's, against a data set: `python -m lib score DATASET MAPS_DIR --data DIR`.

A map is a .npy, .npz, .mat or a picture of any depth (`lib.files.maps`), anywhere in the folder, named like the photograph:
COCO_val2014_000000000192.png, or with one of `ENDINGS` behind it. That is how the maps that EML-NET's authors published for SALICON's
validation split can be checked without training anything. Of several files for one photograph the finest is read, and the report says
what was: eight bits cost KL and information gain something, as a zero under a fixation is expensive.

Maps of the photograph's shape and another size are resized bilinearly. Of another shape (by more than 2 %) it must be said how they were
made, `--resize`:
    squash      the photograph was squashed to the map's shape: the map is stretched back
    letterbox   bars were added to the photograph: they are cut off
    crop        the photograph's middle was cut out: around it the map has its lowest value

Coordinates and published maps are in the photographs' stored pixels. Maps of upright ones (`predict` makes those unless told `--exif
stored`) are turned back with `--exif upright`. What cannot be read or does not fit is named and left out, the others are scored, and the
exit status is 1.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lib.data.saliency import fifth_split, turned
from lib.data.saliency_store import FullSize, Selection
from lib.files.maps import ARRAYS, PICTURES, fineness, map_kind, read_map_file
from lib.files.pictures import picture_header
from lib.files.pictures import turned as turn
from lib.results.schema import bounds
from lib.results.statistics import summarise
from lib.files import for_file, replace_atomically
from lib.training.saliency import against_maps, at_fixations, enlarge

DATASETS = ("salicon", "osie", "mit1003")
ENDINGS = ("_smap", "_sal", "_salmap", "_saliency", "_map", "_pred", "_fixMap")
NAMES = {"auc": "AUC", "auc_judd": "AUC-Judd", "auc_shuffled": "sAUC", "nss": "NSS", "cc": "CC", "sim": "SIM", "kl": "KL (nats)", "ig": "IG (bits)"}
CELLS = (60, 80)  # of the centre bias
SAME_SHAPE = 0.02  # by how much the sides' ratio may differ from the photograph's
TOLD = 20  # lines about maps that are left out


def selection(dataset: str, root: Path, split: str | None, *, scale_fixations: bool = False) -> Selection:
    """The images of `split`: train or val of SALICON (val by default); all, or train, val or test of `fifth_split`, elsewhere."""
    if dataset == "salicon":
        from lib.data.salicon import SALICON

        if split not in (None, "train", "val"):
            raise ValueError(f"split {split!r} is not one of train, val: SALICON publishes no fixations for another")
        data = SALICON(root, split=split or "val", scale_fixations=scale_fixations)
        return Selection(data, range(len(data)))
    if dataset not in DATASETS:
        raise ValueError(f"there is no data set {dataset!r} to score on; there are {', '.join(DATASETS)}")
    from lib.data.mit1003 import MIT1003
    from lib.data.osie import OSIE

    if dataset == "mit1003" and scale_fixations:
        raise ValueError("MIT1003's points are pictures as large as its photographs, so nothing can be scaled; leave --scale-fixations out")
    data = OSIE(root, scale_fixations=scale_fixations) if dataset == "osie" else MIT1003(root)
    parts = fifth_split(len(data)) | {"all": range(len(data))}
    if (split or "all") not in parts:
        raise ValueError(f"split {split!r} is not one of {', '.join(parts)}; give one of them")
    if not len(parts[split or "all"]):
        raise ValueError(f"{root}: has {len(data)} photographs, of which none is in the split {split}; give --split all")
    return Selection(data, parts[split or "all"])


# ------------------------------------------------------------------------------------------------------------ files


def find_maps(folder: Path, photographs: list[Path]) -> tuple[dict[int, Path], list[str]]:
    """Position -> map of each photograph that has one in `folder`, the finest of several, and a line for each that has two alike.

    FileNotFoundError where none has.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: {'is a file' if folder.exists() else 'no such folder'}; give the folder that holds the maps")
    positions, found = {path.stem: i for i, path in enumerate(photographs)}, {}
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in (*ARRAYS, *PICTURES) and path.is_file() and not hidden:
            known = next((stem for stem in _stems(path.stem) if stem in positions), None)
            if known is not None:
                found.setdefault(positions[known], []).append(path)
    if not found:
        raise FileNotFoundError(f"{folder}: no map is named like a photograph of this data set; name them like {photographs[0].stem}.png or .npy")
    chosen, alike = {}, []
    for i in sorted(found):
        try:
            chosen[i] = _finest(found[i], folder)
        except ValueError as error:
            alike.append(str(error))
    if not chosen:
        raise ValueError(alike[0])
    return chosen, alike


def _stems(stem: str) -> Iterator[str]:
    """What photograph a map of this name may belong to, the longest first: x.jpg_smap, x.jpg, x."""
    yield stem
    for ending in (*ENDINGS, ".jpg", ".jpeg", ".png"):
        if stem.lower().endswith(ending.lower()) and len(stem) > len(ending):
            yield from _stems(stem[: -len(ending)])


def _finest(paths: list[Path], folder: Path) -> Path:
    def rank(path: Path) -> int:
        try:
            return fineness(map_kind(path))
        except (OSError, ValueError):
            return 9  # whatever can be read goes before it

    if len(paths) == 1:
        return paths[0]
    best, second, *_ = sorted(paths, key=rank)
    if rank(best) == rank(second):
        names = " and ".join(str(path.relative_to(folder)) for path in (best, second))
        raise ValueError(f"{folder}: {names} are maps of one photograph, none finer than the other; move one away")
    return best


# ---------------------------------------------------------------------------------------------------------- shapes


def fitted(maps: Tensor, size: tuple[int, int], resize: str | None) -> Tensor:
    """A map (1, 1, h, w) at its photograph's size (1, 1, H, W), by the module's rules; ValueError, one line without a name, for another shape.

    Example:
        >>> fitted(torch.rand(1, 1, 40, 40), (60, 120), "squash").shape  # of a photograph of 120x60
        torch.Size([1, 1, 60, 120])
    """
    (height, width), (h, w) = size, maps.shape[2:]
    if abs(w * height / (h * width) - 1) <= SAME_SHAPE or resize == "squash":
        return enlarge(maps, size)
    if resize is None and abs(h * height / (w * width) - 1) <= SAME_SHAPE:
        raise ValueError(f"is {w}x{h}, the photograph {width}x{height}: rows and columns are exchanged; transpose the map")
    if resize is None:
        raise ValueError(f"is {w}x{h}, the photograph {width}x{height}: another shape; give --resize squash if the "
                         "photograph was squashed to it, --resize letterbox if bars were added, --resize crop if its middle was cut out")
    if resize == "letterbox":
        scale = min(w / width, h / height)
        inner_h, inner_w = max(1, round(height * scale)), max(1, round(width * scale))
        top, left = (h - inner_h) // 2, (w - inner_w) // 2
        return enlarge(maps[..., top:top + inner_h, left:left + inner_w], size)
    scale = max(w / width, h / height)
    covered = enlarge(maps, (min(height, max(1, round(h / scale))), min(width, max(1, round(w / scale)))))
    whole = torch.full((1, 1, height, width), float(maps.min()), dtype=covered.dtype)
    top, left = (height - covered.shape[2]) // 2, (width - covered.shape[3]) // 2
    whole[..., top:top + covered.shape[2], left:left + covered.shape[3]] = covered
    return whole


def centre_bias(full: FullSize) -> list[Tensor]:
    """For each image (1, 1, h, w): the mean of the other images' maps, each divided by its sum."""
    grids = []
    for i in range(len(full.chosen)):
        grid = torch.nn.functional.interpolate(full.density(i)[None, None].double(), CELLS, mode="area")
        grids.append(grid / grid.sum().clamp_min(1e-12))
    total = torch.stack(grids).sum(0)
    return [(total - grid).clamp_min(0).float() for grid in grids]


# --------------------------------------------------------------------------------------------------------- scoring


@dataclass
class Scores:
    """Every metric of every map, a line each; how many were resized, are constant, of which kinds they were, and which were left out, and why."""

    frame: pd.DataFrame
    resized: int = 0
    constant: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    left_out: list[str] = field(default_factory=list)


def score(full: FullSize, maps: dict[int, Path], *, resize: str | None = None, exif: str = "stored",
          progress: Callable[[int, int], object] | None = None) -> Scores:
    """Score position -> file; see the module's docstring for `resize` and `exif`. ValueError where no map at all can be scored."""
    centre, lines, scores = centre_bias(full), [], Scores(pd.DataFrame())
    for done, (i, path) in enumerate(maps.items(), start=1):
        try:
            prediction, kind = _prediction(full, i, path, resize, exif)
        except (OSError, ValueError) as error:
            scores.left_out.append(str(error))
        else:
            values = against_maps(prediction.map, full.density(i)[None])
            baseline = enlarge(centre[i], full.sizes[i])[0]
            values |= at_fixations(prediction.map, prediction.map, full.counts(i)[None], full.negatives(i)[None], baseline)
            lines.append({"image": path.stem, **{name: float(values[name]) for name in NAMES}, "kind": kind})
            scores.resized += prediction.resized
            scores.constant += bool(prediction.map.min() == prediction.map.max())
            scores.kinds[kind] += 1
        if progress:
            progress(done, len(maps))
    if not lines:
        more = f" (and {len(scores.left_out) - 1:,} more like it)" if len(scores.left_out) > 1 else ""
        raise ValueError(f"{scores.left_out[0]}{more}")
    scores.frame = pd.DataFrame(lines)
    if scores.frame[["nss", "cc"]].isna().all(axis=None):  # a set without points has maps, and CC
        raise ValueError(f"none of the {len(lines)} photographs that have a map has a fixation; look at the data set's fixations, "
                         "or give another --split")
    return scores


@dataclass
class _Prediction:
    map: Tensor  # (1, H, W)
    resized: bool


def _prediction(full: FullSize, position: int, path: Path, resize: str | None, exif: str) -> tuple[_Prediction, str]:
    """A file's map at its photograph's size, and its kind."""
    values, kind = read_map_file(path), map_kind(path)
    if exif == "upright":
        photograph = full.chosen.data.path(full.chosen.at(position))
        values = turn(values, picture_header(photograph).orientation, back=True)
    found = torch.from_numpy(np.ascontiguousarray(values))[None, None]
    try:
        made = fitted(found, full.sizes[position], resize)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return _Prediction(made[0], tuple(found.shape[2:]) != full.sizes[position]), kind


def report(scores: Scores, *, dataset: str, expected: int, twin: bool, turned_photographs: int = 0, turned_maps: int = 0,
           exif: str = "stored") -> str:
    """The means with 95 % intervals over images, and what they are over."""
    frame = scores.frame
    lines = [f"{'SYNTHETIC TWIN of ' if twin else ''}{dataset}: {len(frame)} maps of {expected} images"
             + (f", {scores.resized} resized to their photograph" if scores.resized else "")
             + (f"; {len(scores.left_out)} left out, so these are means over the others" if scores.left_out else "")]
    kinds = "; ".join(f"{count} {kind}" for kind, count in scores.kinds.most_common())
    coarse = any(fineness(kind) > 2 for kind in scores.kinds)
    lines.append(f"read: {kinds}" + (" (8 bits cost KL and IG something)" if coarse else ""))
    if scores.constant:
        lines.append(f"warning: {scores.constant} of the maps are constant, as failed predictions are; they count as chance")
    if turned_photographs:
        lines.append(f"warning: {turned_photographs} of the photographs carry an EXIF orientation; maps are taken as made of the {exif} pixels"
                     + (", give --exif upright if they were made of upright pictures" if exif == "stored" else ""))
    if turned_maps:
        lines.append(f"warning: {turned_maps} of the maps carry an EXIF orientation themselves; it is not followed, write them without one")
    for name, label in NAMES.items():
        interval = summarise([frame[name].to_numpy()], over="images").within(*bounds(name))
        without = int(frame[name].isna().sum())
        lines.append(f"{label:10} {interval.text(3)}" + (f"   (undefined for {without})" if without else ""))
    return "\n".join(lines)


def run(dataset: str, maps_dir: Path, data_dir: Path, *, split: str | None = None, out: Path | None = None, resize: str | None = None,
        exif: str = "stored", scale_fixations: bool = False, progress=None) -> tuple[str, list[str]]:
    """What the command does: the report, and a line for each map that was left out. out: a CSV with each image's values."""
    if out is not None:
        for_file(Path(out))
    full = FullSize(selection(dataset, data_dir, split, scale_fixations=scale_fixations))
    photographs = [full.chosen.data.path(full.chosen.at(i)) for i in range(len(full.chosen))]
    maps, alike = find_maps(Path(maps_dir), photographs)
    scores = score(full, maps, resize=resize, exif=exif, progress=progress)
    scores.left_out += alike
    if out is not None:
        replace_atomically(Path(out), lambda path: scores.frame.to_csv(path, index=False))
    text = report(scores, dataset=dataset, expected=len(photographs), twin=full.chosen.data.is_twin,
                  turned_photographs=len(turned(photographs)), turned_maps=len(turned(maps.values())), exif=exif)
    return text, scores.left_out


def main(arguments: argparse.Namespace) -> int:
    """Print the report; 1 where maps were left out, with a line for each on standard error."""
    from lib.training.progress import Progress

    progress = Progress("score: ")
    text, left_out = run(arguments.name, arguments.maps, arguments.data_dir, split=arguments.split, out=arguments.out, resize=arguments.resize,
                         exif=arguments.exif, scale_fixations=arguments.scale_fixations,
                         progress=lambda done, total: progress("maps", done, total))
    for line in left_out[:TOLD]:
        print(f"left out: {line}", file=sys.stderr)
    if len(left_out) > TOLD:
        print(f"left out: {len(left_out) - TOLD:,} more", file=sys.stderr)
    print(text)
    return int(bool(left_out))
