"""What Mr-CNN learns from: crops around looked-at and ignored positions at three scales, and whole squares to predict a map from.

Liu, Han, Zhang, Wen, Liu: "Predicting Eye Fixations using Convolutional Neural Networks", CVPR 2015, sections 2.2 and 3.3, as a
university's brief to its students tells them (the paper's own text was not at hand). A photograph is squashed to squares of 400,
250 and 150 pixels; the aspect ratio is lost. Of its published blurred map, maximum scaled to 1, ten positions above 0.9 are
positives and twenty below 0.1 negatives; the same 42x42 window is cut around each in all three squares.

Conventions
    positions   (row, column) pixels of the photograph, 0-based
    centre      pixel floor(side * row / H), floor(side * column / W) of a square
    window      [centre - 21, centre + 21), and 3 more on each side for networks that blur first; they crop it
    borders     repeated
    an image that has fewer positions of a kind than asked for gives those it has, and one without gives none

Deviations: the brief's own crops are not public; they are floats already normalised by unknown constants, these are uint8 RGB. Which
pixels it drew is unknown; here they depend on the image's name and a seed alone, not on other images. Resizing is anti-aliased.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from lib.data.canvas import canvas
from lib.data.saliency_store import Progress, Selection
from lib.files import Allocate, arrays
from lib.models.mrcnn import SQUARES, VIEW
from lib.versions import versions


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Which positions become crops; `above` and `below` are shares of the map's maximum, `positive` and `negative` counts an image.

    rule "quantile": positives lie above the map's quantile `above` instead, and not below `below` of its maximum; negatives, down
    to the pixel, are those of "threshold". `QUANTILE` is that with the top twentieth of the pixels. ValueError for shares that
    leave no order, for counts below 1, and for another rule.
    """

    positive: int = 10
    negative: int = 20
    above: float = 0.9
    below: float = 0.1
    rule: str = "threshold"

    def __post_init__(self):
        if self.rule not in ("threshold", "quantile"):
            raise ValueError(f"rule {self.rule!r} is not one of threshold, quantile")
        if not 0 < self.below <= self.above < 1 or min(self.positive, self.negative) < 1:
            raise ValueError(f"{self}: 0 < below <= above < 1 at least 1 positive and 1 negative; choose such numbers")

    def looked_at(self, density: NDArray[np.float32]) -> NDArray[np.bool_]:
        """(H, W): where positives may lie; nowhere on an empty map."""
        if self.rule == "threshold":
            return density > self.above * density.max()
        return (density > np.quantile(density, self.above)) & (density >= self.below * density.max())

    def ignored(self, density: NDArray[np.float32]) -> NDArray[np.bool_]:
        """(H, W): where negatives may lie; nowhere on an empty map, which tells nothing."""
        return density < self.below * density.max()

    def draw(self, density: NDArray[np.float32], name: str, *, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positives and negatives of the image `name`, (n, 2) each as (row, column); uniform, without replacement."""
        stream = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
        kinds = ((self.looked_at(density), self.positive), (self.ignored(density), self.negative))
        drawn = []
        for kind, (allowed, wanted) in enumerate(kinds):  # a stream for each: other positives leave the negatives as they are
            places = np.flatnonzero(allowed)
            chosen = np.random.default_rng([seed, stream, kind]).choice(len(places), min(wanted, len(places)), replace=False)
            drawn.append(np.stack(np.unravel_index(places[chosen], density.shape), axis=1).astype(np.int64))
        return drawn[0], drawn[1]


QUANTILE = replace(Sampling(), rule="quantile", above=0.95)


def distinct_regions(density: NDArray[np.float32], positions: NDArray[np.int64], *, sampling: Sampling = Sampling()) -> int:
    """How many connected regions of what counts as looked at hold the positions (n, 2); pixels that touch at a corner connect."""
    labels, _ = ndimage.label(sampling.looked_at(density), np.ones((3, 3)))
    found = np.unique(labels[positions[:, 0], positions[:, 1]])
    return int((found > 0).sum())


# --------------------------------------------------------------------------------------------------------------- cutting


def squares(pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
    """(H, W, 3) -> {"view_400": (3, 400, 400), ...}: squashed, anti-aliased (Pillow's bilinear filter)."""
    return {f"view_{side}": canvas(pixels, side, rule="squash").transpose(2, 0, 1) for side in SQUARES}


def centres(positions: NDArray[np.int64], size: tuple[int, int], side: int) -> NDArray[np.int64]:
    """(n, 2) pixels of a photograph of `size` (H, W) -> (n, 2) pixels of its square.

    In whole numbers: floating point makes side / H * row fall just below a whole number now and then, which moves the crop by a pixel.
    """
    return positions * side // np.asarray(size)


def cut(square: NDArray[np.uint8], at: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Crops (n, 3, 48, 48) of a square (3, S, S) around the pixels (n, 2): [c - 24, c + 24), the borders repeated."""
    half = VIEW // 2
    padded = np.pad(square, ((0, 0), (half, half), (half, half)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (VIEW, VIEW), axis=(1, 2))  # (3, S + 1, S + 1, 48, 48), no copy
    return windows[:, at[:, 0], at[:, 1]].swapaxes(0, 1)


# --------------------------------------------------------------------------------------------------------------- storing


class Views:
    """Rows of arrays `view_400`, `view_250`, `view_150`, each (N, 3, h, w) uint8."""

    def __init__(self, arrays: dict[str, np.ndarray]):
        self.arrays = arrays
        self._views = {name: torch.from_numpy(array) for name, array in arrays.items() if name.startswith("view_")}

    def __len__(self) -> int:
        return len(self._views[f"view_{SQUARES[0]}"])

    def fetch(self, indices: NDArray[np.int64]) -> dict[str, Tensor]:
        """{"view_400": (B, 3, h, w) uint8, "view_250": ..., "view_150": ...}; a copy."""
        rows = torch.from_numpy(np.asarray(indices))
        return {name: view.index_select(0, rows) for name, view in self._views.items()}

    def index_batches(self, batch_size: int, generator: torch.Generator | None = None) -> list[NDArray[np.int64]]:
        """The epoch's batches of indices; in order without a generator, shuffled by it otherwise."""
        order = np.arange(len(self)) if generator is None else torch.randperm(len(self), generator=generator).numpy()
        return [order[start:start + batch_size] for start in range(0, len(order), batch_size)]


class PatchStore(Views):
    """The crops of a selection, image by image, positives first; 48x48 at each scale (20.7 kB a crop of three).

    labels: (N,) uint8, 1 where people looked. image_of_patch: (N,) positions in the selection. positions: (N, 2) as (row, column).
    regions: (images,), see `distinct_regions`. cache_dir: where the crops may go; None keeps them in memory. ValueError, one line,
    for a selection without any positive or any negative.
    """

    def __init__(self, chosen: Selection, *, sampling: Sampling = Sampling(), seed: int = 0,
                 cache_dir: Path | None = None, progress: Progress | None = None):
        self.chosen, self.sampling, self.seed = chosen, sampling, seed
        key = hashlib.sha256(f"{sampling} {seed} {SQUARES} {VIEW}".encode()).hexdigest()[:12]
        folder = None if cache_dir is None else cache_dir / f"{chosen.fingerprint}-crops-{key}"
        super().__init__(arrays(folder, lambda allocate: self._fill(allocate, progress), version=versions(["crops"])))
        self.labels, self.image_of_patch = self.arrays["labels"], self.arrays["images"]
        self.positions, self.regions = self.arrays["positions"], self.arrays["regions"]

    def _fill(self, allocate: Allocate, progress: Progress | None) -> None:
        data, count = self.chosen.data, len(self.chosen)
        regions = allocate("regions", (count,), np.int32)
        drawn = []
        for i in range(count):
            index = self.chosen.at(i)
            density = data.density(index)
            drawn.append(self.sampling.draw(density, data.name(index), seed=self.seed))
            regions[i] = distinct_regions(density, drawn[-1][0], sampling=self.sampling)
            if progress:
                progress("choose positions", i + 1, count)
        self._check(drawn)
        total = sum(len(found) for pair in drawn for found in pair)
        labels, images = allocate("labels", (total,), np.uint8), allocate("images", (total,), np.int64)
        positions = allocate("positions", (total, 2), np.int64)
        views = {f"view_{side}": allocate(f"view_{side}", (total, 3, VIEW, VIEW), np.uint8) for side in SQUARES}
        end = 0
        for i, (positive, negative) in enumerate(drawn):
            rows = slice(end, end := end + len(positive) + len(negative))
            positions[rows], images[rows] = np.concatenate([positive, negative]), i
            labels[rows] = np.arange(rows.stop - rows.start) < len(positive)
            pixels = data.image(self.chosen.at(i))
            for name, square in squares(pixels).items():
                views[name][rows] = cut(square, centres(positions[rows], pixels.shape[:2], square.shape[-1]))
            if progress:
                progress("cut crops", i + 1, count)

    def _check(self, drawn: list[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> None:
        for kind, name in enumerate(("positives", "negatives")):
            if not any(len(pair[kind]) for pair in drawn):
                raise ValueError(f"{self.chosen.data.root}: no {name} in any of {len(drawn)} maps by {self.sampling}; look at the maps")

    def summary(self) -> dict[str, float]:
        """What was cut: `images`, `crops`, `positive_share`, how many images gave no positive, or fewer of a kind than asked for.

        regions_mean, regions_median: distinct regions an image, over images with positives; near 1, its positives are near-duplicates.
        """
        images = np.arange(len(self.chosen))
        positives = np.bincount(self.image_of_patch[self.labels == 1], minlength=len(images))
        negatives = np.bincount(self.image_of_patch[self.labels == 0], minlength=len(images))
        regions = self.regions[positives > 0]
        return {"images": len(images), "crops": len(self), "positive_share": float(self.labels.mean()),
                "images_without_positives": int((positives == 0).sum()),
                "images_with_fewer": int(((positives < self.sampling.positive) | (negatives < self.sampling.negative)).sum()),
                "regions_mean": float(regions.mean()), "regions_median": float(np.median(regions))}


class SquareStore(Views):
    """The whole squares of a selection, 0.73 MB an image; cache_dir as in `PatchStore`."""

    def __init__(self, chosen: Selection, *, cache_dir: Path | None = None, progress: Progress | None = None):
        self.chosen = chosen
        key = "-".join(map(str, SQUARES))
        folder = None if cache_dir is None else cache_dir / f"{chosen.fingerprint}-squares-{key}"
        super().__init__(arrays(folder, lambda allocate: self._fill(allocate, progress), version=versions(["crops"])))

    def _fill(self, allocate: Allocate, progress: Progress | None) -> None:
        count = len(self.chosen)
        views = {f"view_{side}": allocate(f"view_{side}", (count, 3, side, side), np.uint8) for side in SQUARES}
        for i in range(count):
            for name, square in self._squares(self.chosen.at(i)).items():
                views[name][i] = square
            if progress:
                progress("squash photographs", i + 1, count)

    def _squares(self, index: int) -> dict[str, NDArray[np.uint8]]:
        """Those of the data set's image `index`."""
        return squares(self.chosen.data.image(index))
