"""AUC in its four kinds: how high the fixated pixels rank among others.

The exact area and AUC-Judd need, for each fixated value, the number of pixels below it and equal to it. Sorting the map gives
that at 60 ms for 600x800 pixels. Here the map is cut into equal cells of value; only the pixels that share a cell with a
fixated value, one in a hundred, are compared one by one, and the rest are counted by the cell: about 2 ms, and exact.
On a map so skewed that nearly all pixels share a cell with fixated ones, all of them are compared, in about 11 ms.

Conventions, NaN, constant maps and the table of MIT against pysaliency are in the package's docstring. Images are taken one by
one, as each has its own number of fixations; random draws start anew from `seed` for each image.

Deviation from MIT: its thresholds 0:step:max come from MATLAB's colon, which may differ from i * step in the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from lib.metrics.inputs import SEEDS, number, switches, whole
from lib.metrics.saliency.maps import Maps, as_float, fixated, flattened, match, nonzero, one_thread, per_image

Seen = tuple[Tensor, Tensor]  # pixels that were fixated, and how often, int64 (n,)
CELLS = 2**14
FEW = 8  # levels in one cell; where there are more, values are compared by bisection
STEP = 1e-5  # the finest: maps of 16 bits have 65,536 levels
JITTER = 1e-7  # MIT's AUC_Judd.m: rand(size(saliencyMap))/10000000


@one_thread()
def auc(saliency_map: Maps, fixations: Maps, *, negatives: Literal["unfixated", "all"] = "unfixated", duplicates: bool = False) -> Tensor:
    """Exact area under the ROC curve of fixated against unfixated pixels; Mann-Whitney, ties count half.

    `saliency_map`, `fixations` (a count map): (H, W) or (B, H, W), in any units: only the order of values matters.
    `negatives`: "all" takes every pixel, the fixated ones too, as pysaliency's `AUC(nonfixations="uniform")`. `duplicates`:
    a pixel counts as often as it was fixated. Returns (B,) or 0-d, 0.5 is chance. ValueError for sizes that differ.

    Example:
        >>> saliency = [[0.1, 0.9], [0.3, 0.6]]
        >>> auc(saliency, [[0, 1], [0, 0]]).item(), round(auc(saliency, [[0, 0], [1, 0]]).item(), 3)  # above 3 and above 1 of 3 others
        (1.0, 0.333)
    """
    _one_of(negatives=(negatives, ("unfixated", "all")))
    switches(duplicates=duplicates)

    def area(values: Tensor, seen: Seen) -> Tensor:
        ranks = _Ranks(values, seen, duplicates)
        below, equal = (ranks.below, ranks.equal) if negatives == "all" else (ranks.below_free, ranks.equal_free)
        rivals = len(values) if negatives == "all" else ranks.free
        return _mann_whitney(below, equal, ranks.weights, rivals)

    return _image_by_image(area, saliency_map, fixations=fixations)


@one_thread()
def auc_judd(saliency_map: Maps, fixations: Maps, *, ties: Literal["group", "jitter", "order"] = "group", duplicates: bool = False,
             seed: int = 0) -> Tensor:
    """AUC-Judd of the MIT benchmark: thresholds at the fixated values, trapezoids between them.

    Above the exact `auc` by about 1/(2n) for n fixated pixels, as the trapezoids cut the corners of a staircase.

    `saliency_map`, `fixations` (a count map): (H, W) or (B, H, W). `ties`: what happens to equal values.
        "group"   fixations of one value enter the curve together: pysaliency's `AUC_Judd(jitter=False)`
        "jitter"  MIT's default: U(0, 1) * 1e-7 is added to every pixel first, drawn from `seed`. It breaks the order of
                  maps whose values are not much larger than that, such as densities that sum to 1, and makes a constant
                  map's value random. (pysaliency's jitter is Gaussian, 1e-7 randn.)
        "order"   MIT's code with its jitter off: tied fixations enter one by one, the tied other pixels all at once, which
                  on 8-bit maps is far too low
    Without ties the first and the last are the same, and the same as MIT's. `duplicates`: a pixel counts as often as it was
    fixated (pysaliency). Returns (B,) or 0-d. ValueError for sizes that differ.

    Example:
        >>> saliency, fixations = torch.arange(100.0).view(10, 10), torch.zeros(10, 10, dtype=torch.int16)
        >>> fixations[7] = 1  # 10 pixels
        >>> round(auc(saliency, fixations).item(), 3), round(auc_judd(saliency, fixations).item(), 3)
        (0.778, 0.789)
    """
    _one_of(ties=(ties, ("group", "jitter", "order")))
    switches(duplicates=duplicates)
    seed = whole(seed, "seed", *SEEDS)

    def area(values: Tensor, seen: Seen) -> Tensor:
        if ties == "jitter":
            draws = torch.rand(len(values), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
            values = values.to(torch.float64) + JITTER * draws.to(values.device)
        ranks = _Ranks(values, seen, duplicates)
        by_order = ties == "order" and not ranks.constant
        return _trapezoids(*(ranks.curve_in_order() if by_order else ranks.curve()))

    return _image_by_image(area, saliency_map, fixations=fixations)


@one_thread()
def auc_borji(saliency_map: Maps, fixations: Maps, *, splits: int = 100, step: float = 0.1, duplicates: bool = False, seed: int = 0) -> Tensor:
    """AUC-Borji of the MIT benchmark: fixated pixels against as many random ones, averaged over `splits` draws.

    The map is min-max normalised and cut at 0, `step`, 2 `step`, ...; random pixels are drawn from all, with replacement.
    Depends on values, not only on their order: the eighth power of a map scored .874 where the map scored .998. (SALICON's
    own evaluation uses a step of 0.01.) pysaliency has no counterpart.

    `saliency_map`, `fixations` (a count map): (H, W) or (B, H, W). `duplicates`: a pixel counts as often as it was fixated.
    Returns (B,) or 0-d. ValueError for sizes that differ, `splits` < 1, `step` outside [1e-5, 1].

    Example:
        >>> saliency, fixations = torch.arange(100.0).view(10, 10), torch.zeros(10, 10, dtype=torch.int16)
        >>> fixations[7] = 1
        >>> (auc_borji(saliency, fixations) > auc_borji(saliency**8, fixations) + 0.1).item()  # the same order of pixels
        True
    """
    splits, step, seed = _steps(splits, step, seed)
    switches(duplicates=duplicates)

    def area(values: Tensor, seen: Seen) -> Tensor:
        positives = _pick(values, seen, duplicates)
        generator = torch.Generator().manual_seed(seed)
        pixels = torch.randint(len(values), (splits, len(positives)), generator=generator)
        return _stepped(values, positives, values[pixels.to(values.device)], step)

    return _image_by_image(area, saliency_map, fixations=fixations)


@one_thread()
def auc_shuffled(saliency_map: Maps, fixations: Maps, negatives: Maps, *, splits: int | None = None, step: float = 0.1,
                 duplicates: bool = False, seed: int = 0) -> Tensor:
    """Shuffled AUC: fixated pixels against those that were fixated in other images, so that a centre bias earns nothing.

    `saliency_map`, `fixations`, `negatives`: (H, W) or (B, H, W); the last two count maps, `negatives` from `shuffled_map`,
    or one (H, W) for the whole batch. `splits=None`: exact, Mann-Whitney with ties half, and every fixation of `negatives`
    counts; with `duplicates=True` it is pysaliency's `AUC(nonfixations="shuffled")`. `splits=100`: MIT's AUC_shuffled: in
    each split as many pixels of `negatives` (once each, without replacement) as there are fixated ones, thresholds as in
    `auc_borji`; MIT pools 10 other images, and the draw becomes slow where hundreds are pooled. `duplicates`: a fixated
    pixel counts as often as it was fixated. Returns (B,) or 0-d, NaN also where there are no negatives. ValueError for sizes
    that differ, `splits` < 1, `step` outside [1e-5, 1].

    Example:
        >>> from lib.metrics.saliency import density_map, fixation_map
        >>> here, elsewhere = fixation_map([[4, 4], [3, 4]], (9, 9)), fixation_map([[4, 4], [4, 5]], (9, 9))  # x first
        >>> middle = density_map(fixation_map([[4, 4]], (9, 9)), sigma=2)  # says nothing about this image
        >>> round(auc(middle, here).item(), 2), round(auc_shuffled(middle, here, elsewhere).item(), 2)
        (0.99, 0.5)
    """
    rounds, step, seed = _steps(1 if splits is None else splits, step, seed)
    switches(duplicates=duplicates)

    def exact(values: Tensor, seen: Seen, elsewhere: Seen) -> Tensor:
        levels, weights = _pick(values, seen, duplicates).unique(return_counts=True)
        rivals = _pick(values, elsewhere, True)
        return _mann_whitney(*_count(rivals, levels), weights, len(rivals))

    def sampled(values: Tensor, seen: Seen, elsewhere: Seen) -> Tensor:
        positives, rivals = _pick(values, seen, duplicates), _pick(values, elsewhere, False)
        draws = torch.rand(rounds, len(rivals), generator=torch.Generator().manual_seed(seed))
        chosen = draws.argsort(dim=1)[:, : len(positives)]
        return _stepped(values, positives, rivals[chosen.to(values.device)], step)

    return _image_by_image(exact if splits is None else sampled, saliency_map, fixations=fixations, negatives=negatives)


def _one_of(**options: tuple[str, tuple[str, ...]]) -> None:
    for name, (value, known) in options.items():
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")


def _steps(splits: int, step: float, seed: int) -> tuple[int, float, int]:
    return whole(splits, "splits", 1), number(step, "step", STEP, 1), whole(seed, "seed", *SEEDS)


def _image_by_image(area: Callable[..., Tensor], saliency_map: Maps, **count_maps: Maps) -> Tensor:
    """`area(values (N,), seen, ...)` for each image; NaN where the map has one or a count map is all zero."""
    matched = [match(saliency_map, m, name, shared=name == "negatives") for name, m in count_maps.items()]

    def one(values: Tensor, *maps: Tensor) -> Tensor:
        seen = [fixated(m, name) for name, m in zip(count_maps, maps, strict=True)]
        defined = not values.amax().isnan() and all(len(pixels) for pixels, _ in seen)
        return area(values, *seen) if defined else values.new_tensor(torch.nan, dtype=torch.float64)

    def chunk(*maps: Tensor) -> Tensor:
        values, *counts = maps
        return torch.stack([one(*image) for image in zip(flattened(values), *counts, strict=True)])

    return per_image(chunk, as_float(matched[0][0]), *(other for _, other in matched))


def _pick(values: Tensor, seen: Seen, duplicates: bool) -> Tensor:
    """The values at the pixels seen, each once or as often as it was."""
    pixels, counts = seen
    return values[pixels].repeat_interleave(counts) if duplicates else values[pixels]


class _Ranks:
    """Where the n fixated values stand, ascending, among an image's N pixels; counts are int64, (n,)."""

    def __init__(self, values: Tensor, seen: Seen, duplicates: bool) -> None:
        pixels, counts = seen
        self.fixated, order = values[pixels].sort()
        self.weights = counts[order] if duplicates else torch.ones_like(counts)
        self.pixels, self.free = len(values), len(values) - len(pixels)
        levels, level, size = torch.unique_consecutive(self.fixated, return_inverse=True, return_counts=True)
        self.below, self.equal = (count[level] for count in _count(values, levels))
        self.first = (size.cumsum(0) - size)[level]  # fixated pixels below each
        self.below_free, self.equal_free = self.below - self.first, self.equal - size[level]  # among unfixated pixels

    @property
    def constant(self) -> bool:
        return int(self.equal[0]) == self.pixels

    def curve(self) -> tuple[Tensor, Tensor]:
        """False and true positive rate at each fixated value, ascending; ties share one point."""
        weight_below = torch.cat([self.weights.new_zeros(1), self.weights.cumsum(0)])
        total = weight_below[-1]
        return _share(self.free - self.below_free, self.free), _share(total - weight_below[self.first], total)

    def curve_in_order(self) -> tuple[Tensor, Tensor]:
        """The same as AUC_Judd.m has it: the i-th fixated value from the top is given i hits, tied or not."""
        hits = torch.arange(len(self.fixated), 0, -1, device=self.fixated.device)
        from_top = self.weights.flip(0).cumsum(0).flip(0)
        return _share(self.pixels - self.below - hits, self.free), _share(from_top, self.weights.sum())


def _count(values: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
    """How many `values` (N,) lie below and at each of the ascending, distinct `levels` (n,); exact, without a sort."""
    if len(values) < CELLS:
        return _compare(values, levels)
    scale = CELLS / (levels[-1] - levels[0]).clamp_min(CELLS * torch.finfo(values.dtype).tiny)
    low = levels[0] - 1.5 / scale  # what lies below all levels gets a cell of its own
    finite = bool(torch.isfinite(low) & torch.isfinite(scale) & (scale > 0))

    def cell(x: Tensor) -> Tensor:
        # Every step is monotone under rounding, so a smaller cell means a smaller value.
        x = x.sub(low).mul_(scale)
        x = x if finite else x.nan_to_num_(0.0)  # inf - inf, inf * 0: all in one cell
        return x.clamp_(0, CELLS + 3).to(torch.int32)

    cells, own = cell(values), cell(levels)
    here = torch.bincount(own, minlength=CELLS + 4)  # levels in each cell
    counted = torch.bincount(cells, minlength=CELLS + 4).masked_fill_(here > 0, 0).cumsum(0)
    near = nonzero((here > 0).index_select(0, cells))
    picked = values.index_select(0, near)
    few = len(near) < len(values) // 8  # else many values are equal, as bytes are, and the bisection guesses well
    reached = _reached_in_cells(picked, levels, cells.index_select(0, near), here) if few else _reached(levels, picked)
    below, equal = _tally(reached, picked, levels)
    return below + counted[own], equal


def _compare(values: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
    """The same by bisection for every value."""
    return _tally(_reached(levels, values), values, levels)


def _tally(reached: Tensor, values: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
    """Values below and at each level, from how many levels are at or below each value."""
    below = torch.bincount(reached, minlength=len(levels) + 1).cumsum(0)[:-1]
    last = (reached - 1).clamp_min(0)
    return below, torch.bincount(last[levels[last] == values], minlength=len(levels))


def _reached_in_cells(values: Tensor, levels: Tensor, cells: Tensor, here: Tensor) -> Tensor:
    """`_reached` for values that share a cell with a level: compared with the one or two of their cell, where bisection would look at all."""
    most = int(here.max())
    if most > FEW:
        return _reached(levels, values)
    first, count = (table.index_select(0, cells) for table in (here.cumsum(0) - here, here))  # levels in smaller cells, and in its own
    reached = first.clone()
    for k in range(most):
        at = (first + k).clamp_max_(len(levels) - 1)
        reached += (levels.index_select(0, at) <= values) & (k < count)
    return reached


def _reached(levels: Tensor, values: Tensor) -> Tensor:
    """How many of the ascending `levels` are at or below each value. torch's search wakes its threads for 200 values."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.searchsorted(levels.numpy(), values.numpy(), side="right"))
    return torch.searchsorted(levels, values, right=True)


def _mann_whitney(below: Tensor, equal: Tensor, weights: Tensor, rivals: int) -> Tensor:
    """Share of the pairs (fixated, rival) in which the fixated one is higher; integers until the division."""
    return _share((weights * (2 * below + equal)).sum(), 2 * weights.sum() * rivals)


def _share(part: Tensor, whole: Tensor | int) -> Tensor:
    """Quotient of counts in float64; torch divides integers in float32."""
    return part.to(torch.float64) / whole


def _trapezoids(false_rate: Tensor, true_rate: Tensor) -> Tensor:
    """Area under a curve given from its right end, (..., n); (0, 0) and (1, 1) are added."""
    x, y = (pad(pad(r, (1, 0), value=1.0), (0, 1)) for r in (false_rate, true_rate))
    return -torch.trapezoid(y, x, dim=-1)


def _stepped(values: Tensor, positives: Tensor, negatives: Tensor, step: float) -> Tensor:
    """MIT's area at fixed steps of the min-max normalised map, averaged; positives (n,), negatives (splits, m)."""
    low, high = values.amin().to(torch.float64), values.amax().to(torch.float64)
    if not torch.isfinite(high - low):
        return high.new_tensor(torch.nan)
    if low == high:  # MATLAB divides 0 by 0
        return high.new_tensor(0.5)
    thresholds = step * torch.arange(int(1 / step + 1e-9) + 1, dtype=torch.float64, device=values.device)

    def rates(picked: Tensor) -> Tensor:  # (splits, n) -> (splits, thresholds): the share of pixels at or above each
        reached = _reached(thresholds, (picked.to(torch.float64) - low) / (high - low))
        histogram = torch.zeros(len(picked), len(thresholds) + 1, dtype=torch.int64, device=values.device)
        histogram.scatter_add_(1, reached, torch.ones_like(reached))
        return _share(histogram.flip(1).cumsum(1).flip(1)[:, 1:], picked.shape[1])

    return _trapezoids(rates(negatives), rates(positives[None]).expand(len(negatives), -1)).mean()
