"""What networks learn saliency from, at the speed of the training step: photographs, blurred maps and fixations of one split.

Reading a `.mat` and a map for every image in every epoch can cost more than a small network's step. So maps are read once,
shrunk to the network's size and kept in a memory-mapped file, and fixations in one array; photographs go through
`lib.data.store.ImageStore`. Evaluation reads the maps at their full size from the data set itself.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from lib.data.points import check_places
from lib.data.saliency import SaliencyData
from lib.files import Allocate, arrays
from lib.files.text import UNPACK
from lib.metrics import saliency as metrics
from lib.versions import versions

Progress = Callable[[str, int, int], None]


class Selection:
    """Some images of a data set, counted from 0."""

    def __init__(self, data: SaliencyData, indices: Sequence[int]):
        self.data, self.indices = data, np.asarray(indices, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.indices)

    def at(self, position: int) -> int:
        """The data set's index of image `position`."""
        return int(self.indices[position])

    @property
    def fingerprint(self) -> str:
        """16 hex digits: the data set's and the choice."""
        return hashlib.sha256(f"{self.data.fingerprint} {self.indices.tolist()}".encode()).hexdigest()[:16]


class GroundTruth:
    """Blurred maps at `size` and fixations of a selection: `density` and `fixations` give a batch of either.

    cache_dir: where the shrunk maps may go; None keeps them in memory.
    """

    def __init__(self, chosen: Selection, size: tuple[int, int], *, cache_dir: Path | None, progress: Progress | None = None):
        self.chosen, self.size = chosen, size
        folder = None if cache_dir is None else cache_dir / f"{chosen.fingerprint}-truth-{size[0]}x{size[1]}"
        found = arrays(folder, lambda allocate: self._fill(allocate, progress), version=versions(["truth"]))
        self._density, self._points = torch.from_numpy(found["density"]), np.split(found["points"], found["ends"][:-1])

    def _read(self, position: int) -> tuple[np.ndarray, np.ndarray]:
        """The map (h, w) uint8, and the fixations (n, 2) in cells of `size`."""
        data, index = self.chosen.data, self.chosen.at(position)
        full = torch.from_numpy(data.density(index))[None, None]
        small = interpolate(full, self.size, mode="area" if full.shape[-1] >= self.size[1] else "bilinear")[0, 0]
        points, (height, width) = data.fixations(index), full.shape[-2:]
        points = np.zeros((0, 2), np.int64) if points is None else points * [self.size[1], self.size[0]] // [width, height]
        return (small * 255).round().to(torch.uint8).numpy(), points.astype(np.int16)

    def _fill(self, allocate: Allocate, progress: Progress | None) -> None:
        maps, points = allocate("density", (len(self.chosen), *self.size), np.uint8), []
        for i in range(len(self.chosen)):
            maps[i], found = self._read(i)
            points.append(found)
            if progress:
                progress("read fixations", i + 1, len(self.chosen))
        ends = np.cumsum([len(found) for found in points])
        allocate("points", (int(ends[-1]), 2), np.int16)[:] = np.concatenate(points)
        allocate("ends", (len(points),), np.int64)[:] = ends

    def density(self, positions: np.ndarray) -> Tensor:
        """(B, h, w) float32 in [0, 1]: the published maps, shrunk."""
        return self._density[torch.from_numpy(np.asarray(positions))].float() / 255

    def fixations(self, positions: np.ndarray) -> Tensor:
        """(B, h, w) float32: 1 in every cell that was fixated."""
        maps = torch.zeros(len(positions), *self.size)
        for i, position in enumerate(positions):
            points = torch.from_numpy(self._points[position].astype(np.int64))
            maps[i, points[:, 1], points[:, 0]] = 1
        return maps

    def mean(self) -> Tensor:
        """(h, w) float64, sums to 1: the mean of the maps, each divided by its sum: where people look whatever there is to see."""
        total = torch.zeros(self.size, dtype=torch.float64)
        for density in self._density:
            if density.any():
                total += density.double() / density.sum(dtype=torch.float64)
        return total / total.sum()


class FullSize:
    """What the images of a selection are scored by, at their own size: maps, fixations, and the fixations on all others.

    ValueError where nobody can have made these fixations together (`lib.data.points`, few places): loaders that read a file a picture
    cannot tell.
    """

    def __init__(self, chosen: Selection):
        self.chosen = chosen
        found = [chosen.data.fixations(chosen.at(i)) for i in range(len(chosen))]
        self.fixations = [np.zeros((0, 2), np.int64) if points is None else points for points in found]
        self.sizes = [tuple(map(int, chosen.data.size(chosen.at(i)))) for i in range(len(chosen))]
        check_places(zip(self.fixations, self.sizes, strict=True), chosen.data.root, UNPACK)
        self._everyone: Tensor | None = None  # the count map of all fixations, where all images have one size
        self._pooled: dict[tuple[int, int], Tensor] = {}

    def density(self, position: int) -> Tensor:
        """(H, W) float32 in [0, 1]: the published map."""
        return torch.from_numpy(self.chosen.data.density(self.chosen.at(position)))

    def counts(self, position: int) -> Tensor:
        """(H, W) int16: how many fixations fell on each pixel."""
        return metrics.fixation_map(self.fixations[position], self.sizes[position])

    def negatives(self, position: int) -> Tensor:
        """(H, W) int16: the fixations on all other images of the selection, stretched to this one."""
        if len(set(self.sizes)) > 1:
            return metrics.shuffled_map(self.fixations, self.sizes, position)
        if self._everyone is None:
            self._everyone = metrics.fixation_map(np.concatenate(self.fixations), self.sizes[0])
        return self._everyone - self.counts(position)

    def truth(self, position: int) -> Tensor:
        """(H, W) float32, sums to 1: what a twin's fixations were drawn from."""
        return torch.from_numpy(self.chosen.data.true_density(self.chosen.at(position)))

    def pooled(self, size: tuple[int, int], *, cells: tuple[int, int] = (60, 80)) -> Tensor:
        """(H, W) float32: the mean of a twin's true densities over the selection, from a grid of `cells`."""
        if size not in self._pooled:
            grids = [interpolate(self.truth(i).double()[None, None], cells, mode="area") for i in range(len(self.chosen))]
            mean = torch.stack([grid / grid.sum() for grid in grids]).mean(0).float()
            self._pooled[size] = interpolate(mean, size, mode="bilinear")[0, 0]
        return self._pooled[size]
