"""Verdicts on claims about a mean: "it lies above 0", "it lies within 0.05 of 0"; nothing here knows of any table.

A claim says that a mean lies in a region (low, high). It *holds* where the data say so, *fails* where they say that the mean
lies outside, and is *undecided* else. One p-value decides both: twice the smaller of the one-sided p-values for "inside" and
for "outside". With (0, inf) that is Student's two-sided test; with (-m, m), two one-sided tests at half the level each. So
before Holm's correction a claim holds exactly where its 95 % interval lies inside the region, and fails exactly where the
interval lies outside.

What a mean's variance is made of, each part with its degrees of freedom:

sampling   over test samples, of the seeds' average, sample by sample; robust to clusters (all frames of a subject together):
           var = G / (G - 1) * sum over G clusters of (sum of residuals)^2 / n^2, with G - 1 degrees of freedom. Without
           clusters this is the t-test's s^2 / n.
training   the variance between the means of k seeds, over k. Three seeds estimate it with two degrees of freedom, so a
           `pooled` one, from all rows of a table, may be given: the larger of the two counts, with its own degrees of freedom.

They are added, and the sum has Welch and Satterthwaite's degrees of freedom. What a seed does to single samples is in both parts;
where there is a pool it is counted once, as in the analysis of variance of samples by seeds, and without one twice, to be on the
safe side. Simulated rate of rejected true nulls, 5 % being promised (60 samples, 12,000 repetitions, training noise from none to
dominating): three or five seeds and a pool of 18 degrees of freedom, 3 to 5 %, and 8 % at most where the claim's rows are twice as
noisy as the pool; three seeds without a pool, 2 to 8 %; two without a pool, up to 12 %: too few. With one seed and nothing pooled,
training noise is left out, and `Estimate.trainings` says so.

Intervals here are Student's, also for one seed, where `lib.results.statistics` takes bootstrap percentiles (they differ by a
few per cent): interval and p-value must come from one distribution.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from lib.results.statistics import LEVEL, Interval

HOLDS, FAILS, UNDECIDED = "holds", "fails", "undecided"


@dataclass(frozen=True)
class Component:
    """An estimated variance with its degrees of freedom."""

    variance: float
    df: float


NOTHING = Component(0.0, np.inf)


@dataclass(frozen=True)
class Sample:
    """Values on one set of test samples; their mean is what is asked about.

    per_seed: (k, n), NaN where a sample does not count; clusters: (n,) or None; pooled: the variance between trainings of
    such a mean, for one training.
    """

    per_seed: np.ndarray
    clusters: np.ndarray | None = None
    pooled: Component | None = None


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error and degrees of freedom."""

    mean: float
    error: float
    df: float
    n: int
    clusters: int
    seeds: int
    trainings: bool  # whether training noise is in `error`

    @property
    def interval(self) -> Interval:
        """Student's 95 % interval."""
        half = float(stats.t.ppf((1 + LEVEL) / 2, self.df)) * self.error
        return Interval(self.mean, self.mean - half, self.mean + half, self.n, "samples and trainings" if self.trainings else "samples")


# --- variances ----------------------------------------------------------------------------------------------------------


def sampling(values: np.ndarray, clusters: np.ndarray | None = None) -> Component:
    """The variance of the mean of `values` (n,) over samples, or over `clusters` (n,) of them; NaN for fewer than two."""
    values = np.asarray(values, dtype=np.float64)
    member = np.arange(len(values)) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    count = int(member.max()) + 1 if len(member) else 0
    if count < 2:
        return Component(np.nan, np.nan)
    sums = np.bincount(member, values - values.mean())
    return Component(float(count / (count - 1) * (sums**2).sum() / len(values) ** 2), count - 1)


def pool(rows: Iterable[np.ndarray]) -> Component | None:
    """The variance between trainings, pooled over `rows` of means, (k,) each, one for every seed; None where no row has two."""
    rows = [np.asarray(means, dtype=np.float64) for means in rows if len(means) > 1]
    df = sum(len(means) - 1 for means in rows)
    return Component(float(sum(((means - means.mean()) ** 2).sum() for means in rows) / df), df) if df else None


def interaction(per_seed: np.ndarray, clusters: np.ndarray | None = None) -> float:
    """The variance that what seeds do to single samples adds to the mean of `per_seed` (k, n); 0 for one seed."""
    seeds = len(per_seed)
    if seeds < 2:
        return 0.0
    rest = per_seed - per_seed.mean(axis=0) - per_seed.mean(axis=1, keepdims=True) + per_seed.mean()
    return sum(sampling(one, clusters).variance for one in rest) / (seeds * (seeds - 1))


def training(per_seed: np.ndarray, clusters: np.ndarray | None = None, pooled: Component | None = None) -> Component:
    """The variance that training adds to the mean of `per_seed` (k, n): of the seeds' own and the pooled one the larger."""
    known = [component for component in (pool([per_seed.mean(axis=1)]), pooled) if component is not None]
    if not known:
        return NOTHING
    larger = max(known, key=lambda component: component.variance)
    twice = interaction(per_seed, clusters) if pooled else 0.0
    return Component(max(0.0, larger.variance / len(per_seed) - twice), larger.df)


def total(components: Sequence[Component]) -> Component:
    """Independent variances added, with Welch and Satterthwaite's degrees of freedom."""
    variance = sum(component.variance for component in components)
    weights = sum(component.variance**2 / component.df for component in components)
    return Component(variance, variance**2 / weights if weights > 0 else np.inf)


def linearise(pieces: Sequence[np.ndarray]) -> np.ndarray:
    """Values (n,) whose mean is the sum of the means of `pieces`, and whose scatter gives that sum's variance.

    pieces: (n,) each, NaN for samples that are not of the piece: the values of tablets and, negative, those of telephones
    give the difference of two groups. One piece comes back as it is. A cluster may have samples in several pieces.
    """
    finite = [np.isfinite(piece) for piece in pieces]
    union = np.logical_or.reduce(finite)
    values = np.where(union, 0.0, np.nan)
    for piece, mask in zip(pieces, finite, strict=True):
        if not mask.any():
            return np.full(len(union), np.nan)
        mean = piece[mask].mean()
        values[mask] += (piece[mask] - mean) * union.sum() / mask.sum()
        values[union] += mean
    return values


# --- estimate, test, verdict --------------------------------------------------------------------------------------------


def estimate(samples: Sequence[Sample]) -> Estimate:
    """The sum of the samples' means: one sample, or independent ones (another data set, other networks).

    A sample that is NaN in one seed is left out of all. ValueError where nothing is left.
    """
    mean, components, n, clusters, trainings = 0.0, [], 0, 0, True
    for sample in samples:
        keep = np.isfinite(sample.per_seed).all(axis=0)
        if not keep.any():
            raise ValueError("no sample has a value in every seed")
        per_seed = np.asarray(sample.per_seed, dtype=np.float64)[:, keep]  # (k, kept)
        groups = None if sample.clusters is None else np.asarray(sample.clusters)[keep]
        added = training(per_seed, groups, sample.pooled)
        components += [sampling(per_seed.mean(axis=0), groups), added]
        mean, n = mean + float(per_seed.mean()), n + per_seed.shape[1]
        clusters += per_seed.shape[1] if groups is None else len(np.unique(groups))
        trainings &= added is not NOTHING
    summed = total(components)
    return Estimate(mean, float(np.sqrt(summed.variance)), summed.df, n, clusters, min(len(sample.per_seed) for sample in samples), trainings)


def p_value(found: Estimate, low: float = 0.0, high: float = np.inf) -> float:
    """Two-sided p-value of "the mean lies in (low, high)" against "it lies outside"; 1 where the samples do not vary, but by rounding."""
    if not found.error > 1e-12 * abs(found.mean):
        return 1.0
    above, below = (stats.t.sf(t, found.df) for t in ((found.mean - low) / found.error, (high - found.mean) / found.error))
    inside, outside = max(above, below), min(1 - above, 1 - below)
    return float(min(1.0, 2 * min(inside, outside)))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's adjusted p-values, in the order given (Holm 1979): the i-th smallest of m times m - i + 1, never falling, at most 1."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def verdict(found: Estimate, p: float, low: float = 0.0, high: float = np.inf) -> str:
    """What the (corrected) p-value says about "the mean lies in (low, high)"."""
    if not p < 1 - LEVEL:
        return UNDECIDED
    return HOLDS if low < found.mean < high else FAILS
