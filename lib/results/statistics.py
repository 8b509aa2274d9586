"""Intervals: what a mean over test samples, or over seeds, is worth.

Within a seed: bootstrap percentiles over test images; where a subject gives many of them, whole subjects are drawn, because
frames of one face are not independent. Over seeds: Student's t. Differences between rows are taken sample by sample where
the rows saw the same samples.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

RESAMPLES = 4000
CHUNK = 2**22  # indices drawn at a time: memory stays bounded however many samples there are
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean with its interval; `over` says of what, n of how many. `spread`: half the width that it had before it was cut off."""

    mean: float
    low: float
    high: float
    n: int
    over: str
    spread: float | None = None

    @property
    def half(self) -> float:
        """Half the interval's width, for "mean ± half"."""
        return (self.high - self.low) / 2 if self.spread is None else self.spread

    def within(self, least: float, most: float) -> "Interval":
        """The same, cut off where no such mean can lie (a share beyond 100 %); its ± stays what the data say."""
        if not (self.low < least or self.high > most):
            return self
        low, high = max(self.low, min(least, self.mean)), min(self.high, max(most, self.mean))
        return replace(self, low=low, high=high, spread=self.half)

    def text(self, digits: int = 2, *, sign: bool = False) -> str:
        """ "2.03 ± 0.11"; with `sign`, a difference: "-0.60 ± 0.08"."""
        if not np.isfinite(self.mean):
            return "–"
        return f"{self.mean:{'+' if sign else ''}.{digits}f} ± {self.half:.{digits}f}"


def bootstrap(values: np.ndarray, clusters: np.ndarray | None = None, *, over: str = "images", seed: int = 0) -> Interval:
    """Mean of `values` (n,) with a percentile bootstrap interval; `clusters` (n,): draw whole clusters. NaN are left out."""
    values = np.asarray(values, dtype=np.float64)
    keep = np.isfinite(values)
    clusters = np.arange(len(values)) if clusters is None else np.asarray(clusters)
    values, (_, member) = values[keep], np.unique(clusters[keep], return_inverse=True)
    count = int(member.max()) + 1 if len(member) else 0
    if count < 2:
        mean = float(values.mean()) if len(values) else float("nan")
        return Interval(mean, float("nan"), float("nan"), count, over)
    sums, sizes = np.bincount(member, values), np.bincount(member)
    means, rng, rows = np.empty(RESAMPLES), np.random.default_rng(seed), max(1, CHUNK // count)
    for start in range(0, RESAMPLES, rows):  # the stream of draws is the same for every chunk size
        draws = rng.integers(count, size=(min(rows, RESAMPLES - start), count))
        means[start:start + rows] = sums[draws].sum(1) / sizes[draws].sum(1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(values.mean()), float(low), float(high), count, over)


def mean(values: np.ndarray) -> float:
    """The mean of the values that are finite; NaN, without a warning, where none is."""
    values = np.asarray(values, dtype=np.float64)
    return float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else float("nan")


def t_interval(means: np.ndarray, *, over: str = "seeds") -> Interval:
    """Mean over repetitions with Student's t interval; NaN bounds for fewer than two."""
    means = np.asarray(means, dtype=np.float64)
    if len(means) < 2:
        return Interval(float(means.mean()) if len(means) else float("nan"), float("nan"), float("nan"), len(means), over)
    half = stats.t.ppf((1 + LEVEL) / 2, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means))
    return Interval(float(means.mean()), float(means.mean() - half), float(means.mean() + half), len(means), over)


def summarise(per_seed: list[np.ndarray], clusters: np.ndarray | None, *, over: str) -> Interval:
    """One seed: bootstrap over its samples. Several: t-interval over the seeds' means; where nothing was trained they are all alike, as one."""
    if all(np.array_equal(values, per_seed[0], equal_nan=True) for values in per_seed):
        return bootstrap(per_seed[0], clusters, over=over)
    return t_interval(np.array([mean(values) for values in per_seed]))


def paired(per_seed: list[np.ndarray], reference: list[np.ndarray], clusters: np.ndarray | None, *, over: str) -> Interval:
    """The interval of the sample-by-sample difference to `reference`, seed by seed."""
    return summarise([a - b for a, b in zip(per_seed, reference, strict=True)], clusters, over=over)
