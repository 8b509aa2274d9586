"""What ± means, in tables, plots, ledger, report and `check` alike: half of a 95 % interval of Student's t, of pictures and training together.

A mean's variance has two parts, each with its degrees of freedom:

pictures   over test samples, of the seeds' average, sample by sample; robust to clusters (all frames of a subject together):
           var = G / (G - 1) * sum over G clusters of (sum of residuals)^2 / n^2, with G - 1 degrees of freedom. Without
           clusters this is the t-test's s^2 / n. Rows that saw the same samples are compared sample by sample.
trainings  the variance between the means of k seeds, over k. A few seeds estimate a variance badly, so it is moderated by what other
           rows' variances are like (Smyth, "Linear models and empirical Bayes methods for assessing differential expression in
           microarray experiments", 2004): rows differ in their noise, some tenfold, and the degrees of freedom d0 of their pooled
           variance p^2 say by how much. With s^2 on d degrees of freedom the variance is (d0 p^2 + d s^2) / (d0 + d), on d0 + d.
           A run of one seed has no s^2 of its own: it takes the committed reference's (`lib.results.noise`).

They are added, and the sum has Welch and Satterthwaite's degrees of freedom. What a seed does to single samples is in both parts;
where several seeds tell how much that is, and other rows steady the sum, it is counted once, as in the analysis of variance of samples by seeds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

LEVEL = 0.95
LEAST_ALIKE = 0.75  # of one column's rows alone; set after the reference's were seen: anisotropy, shear and entropy lie below, all else above
MOST_ALIKE = 4.0  # degrees of freedom; the reference's rows have 2.4, of two of its three seeds 4, 2 and 240: set after these were seen
OWN, REFERENCE, NONE, FIXED = "own", "reference", "none", "fixed"  # where an estimate's training noise is from
FIXED_WORDS = "alone where training changes nothing"
METHOD = ("± is half of a 95 % interval, Student's t, over test samples (whole clusters of them where a subject gives many) and over trainings, "
          "both together; a run of one seed takes the noise of training from the reference's seeds, or says that it has pictures only. "
          "Where that reaches beyond what is possible, 100 % for instance, the interval's ends stand in brackets, cut off there. "
          "Differences between rows are paired, sample by sample.")


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
        """The same, cut off where no such mean can lie (a share beyond 100 %); `text` then gives its ends."""
        if not (self.low < least or self.high > most):
            return self
        low, high = max(self.low, min(least, self.mean)), min(self.high, max(most, self.mean))
        return replace(self, low=low, high=high, spread=self.half)

    def text(self, digits: int = 2, *, sign: bool = False) -> str:
        """ "2.03 ± 0.11"; with `sign`, a difference: "-0.60 ± 0.08"; one that was cut off: "98.5 [92.3 to 100.0]". No zero has a minus."""
        if not np.isfinite(self.mean):
            return "–"
        mean = f"{self.mean:{'+' if sign else ''}z.{digits}f}"
        if self.spread is not None and np.isfinite(self.spread):
            low, high = (f"{end:z.{digits}f}" for end in (self.low, self.high))
            if {low, high} != {mean}:
                return f"{mean} [{low} to {high}]"
        return f"{mean} ± {self.half:.{digits}f}" if np.isfinite(self.half) else f"{mean} ± –"  # of a single sample


@dataclass(frozen=True)
class Component:
    """An estimated variance with its degrees of freedom."""

    variance: float
    df: float


@dataclass(frozen=True)
class Noise:
    """What is known of the variance between trainings of a mean, beside its own seeds: the reference's seeds, and what other rows' is like."""

    seeds: Component | None = None
    prior: Component | None = None

    @property
    def one(self) -> Component | None:
        """Of one training."""
        return moderated(self.seeds, self.prior)


@dataclass(frozen=True)
class Sample:
    """Values on one set of test samples; their mean is what is asked about.

    per_seed: (k, n), NaN where a sample does not count; clusters: (n,) or None; noise: of such a mean, for one training.
    """

    per_seed: np.ndarray
    clusters: np.ndarray | None = None
    noise: Noise | None = None


@dataclass(frozen=True)
class Estimate:
    """A mean with the variances that it has from pictures, of the average over its seeds, and from one training."""

    mean: float
    pictures: Component
    training: Component
    n: int
    clusters: int
    seeds: int
    trainings: str  # OWN, REFERENCE, NONE, FIXED
    less: float = 0.0  # of the variance: what is in both parts

    def after(self, seeds: int) -> Component:
        """The mean's variance with so many seeds; more of them also say better how much trainings vary."""
        share = max(0.0, self.training.variance / seeds - self.less)
        return total([self.pictures, Component(share, self.training.df + max(0, seeds - self.seeds))])

    @property
    def interval(self) -> Interval:
        """Student's 95 % interval."""
        whole = self.after(self.seeds)
        half = float(special.stdtrit(whole.df, (1 + LEVEL) / 2) * np.sqrt(whole.variance))
        return Interval(self.mean, self.mean - half, self.mean + half, self.clusters, "")

    @property
    def noted(self) -> str:
        """ "3 seeds"; of one seed, where its training noise is from."""
        if self.seeds > 1:
            return f"{self.seeds} seeds"
        return "1 seed" + {REFERENCE: ", the reference's noise", NONE: ", pictures only"}.get(self.trainings, "")

    def varies(self, over: str) -> str:
        """What the ± is over, in words; over: "subjects", "images"."""
        return {OWN: f"{over} and trainings", REFERENCE: f"{over}, and trainings as in the reference", NONE: f"{over} only",
                FIXED: f"{over} {FIXED_WORDS}"}[self.trainings]


# --- variances ----------------------------------------------------------------------------------------------------------


def mean(values: np.ndarray) -> float:
    """The mean of the values that are finite; NaN, without a warning, where none is."""
    values = np.asarray(values, dtype=np.float64)
    return float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else float("nan")


def sampling(values: np.ndarray, clusters: np.ndarray | None = None) -> Component:
    """The variance of the mean of `values` (n,) over samples, or over `clusters` (n,) of them; NaN for fewer than two."""
    values = np.asarray(values, dtype=np.float64)
    member = np.arange(len(values)) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    count = int(member.max()) + 1 if len(member) else 0
    if count < 2:
        return Component(np.nan, np.nan)
    sums = np.bincount(member, values - values.mean())
    return Component(float(count / (count - 1) * (sums**2).sum() / len(values) ** 2), count - 1)


def between(means: Sequence[float]) -> Component | None:
    """The variance between trainings, from the means of k seeds; None for fewer than two."""
    means = np.asarray(means, dtype=np.float64)
    if len(means) < 2:
        return None
    return Component(0.0 if np.ptp(means) <= 1e-12 * np.abs(means).max() else float(means.var(ddof=1)), len(means) - 1)  # 0: all but rounding


def interaction(per_seed: np.ndarray, clusters: np.ndarray | None = None) -> float:
    """The variance that what seeds do to single samples adds to the mean of `per_seed` (k, n), of two seeds or more."""
    seeds = len(per_seed)
    rest = per_seed - per_seed.mean(axis=0) - per_seed.mean(axis=1, keepdims=True) + per_seed.mean()
    return sum(sampling(one, clusters).variance for one in rest) / (seeds * (seeds - 1))


def moderated(found: Component | None, prior: Component | None) -> Component | None:
    """A variance steadied by what such variances are like; None where neither is known."""
    if found is None or prior is None:
        return found or prior
    df = found.df + prior.df
    share = found.df / df if np.isfinite(prior.df) else 0.0
    return Component(share * found.variance + (1 - share) * prior.variance, df)


def total(components: Iterable[Component]) -> Component:
    """Independent variances added, with Welch and Satterthwaite's degrees of freedom."""
    components = list(components)
    variance = sum(component.variance for component in components)
    weights = sum(component.variance**2 / component.df for component in components)
    return Component(variance, variance**2 / weights if weights > 0 else np.inf)


def priors(families: Sequence[Sequence[Component]], df: float | None = None) -> list[Component | None]:
    """What the variances of each family are like: the pooled variance, on d0 degrees of freedom, the same for all; None for fewer than two.

    d0 says how alike the rows of a family are, by the moments of log s^2 (Smyth 2004, section 6.2); never more than `MOST_ALIKE`, since two or
    three seeds may say anything. None, too, where the rows of one family are too unlike by themselves (`LEAST_ALIKE`): a grid that cannot
    shear has no part in how the others' shear varies. df: d0, where it is known from elsewhere. Variances of 0 tell nothing.

    A deviation: where Smyth has the middle of the logarithms there is the pooled variance, which is larger. It was chosen for this: left
    out one by one and compared with the others, the reference's three seeds lay outside their 95 % interval in 4.4 % of cells with it, and
    in 8.4 % without. Three seeds chose the rule and judged it, so neither rate is to be expected of new ones.
    """
    known = [[one for one in family if one.variance > 0] for family in families]
    known = [family if len(family) > 1 and _alike([family]) > LEAST_ALIKE else [] for family in known]
    if df is None and any(known):
        df = min(_alike([family for family in known if family]), MOST_ALIKE)
    return [Component(sum(one.variance * one.df for one in family) / sum(one.df for one in family), df) if family else None for family in known]


def _alike(families: Sequence[Sequence[Component]]) -> float:
    """d0: by how much the logarithms of a family's variances differ more than their degrees of freedom explain."""
    logs = [np.array([np.log(one.variance) - special.digamma(one.df / 2) + np.log(one.df / 2) for one in family]) for family in families]
    excess = sum(((found - found.mean()) ** 2).sum() for found in logs) / sum(len(found) - 1 for found in logs)
    return 2 * _inverse_trigamma(excess - np.mean([special.polygamma(1, one.df / 2) for family in families for one in family]))


def _inverse_trigamma(value: float) -> float:
    """x with trigamma(x) = value, from 0.25 to 1e6."""
    from scipy.optimize import brentq  # the rest of a table needs no such large module

    def off(x: float) -> float:
        return float(special.polygamma(1, x)) - value

    return 1e6 if off(1e6) > 0 else 0.25 if off(0.25) < 0 else brentq(off, 0.25, 1e6)


# --- estimates ----------------------------------------------------------------------------------------------------------


def estimate(samples: Sequence[Sample]) -> Estimate:
    """The sum of the samples' means: one sample, or independent ones (another data set, other networks).

    A sample that is NaN in one seed is left out of all. ValueError where nothing is left.
    """
    parts = [_one(sample) for sample in samples]
    if len(parts) == 1:
        return parts[0]
    seeds, worst = min(one.seeds for one in parts), (NONE, REFERENCE, OWN, FIXED)
    training = total([Component(seeds * max(0.0, one.training.variance / one.seeds - one.less), one.training.df) for one in parts])
    return Estimate(sum(one.mean for one in parts), total(one.pictures for one in parts), training, sum(one.n for one in parts),
                    sum(one.clusters for one in parts), seeds, min((one.trainings for one in parts), key=worst.index))


def _one(sample: Sample) -> Estimate:
    keep = np.isfinite(sample.per_seed).all(axis=0)
    if not keep.any():
        raise ValueError("no sample has a value in every seed")
    per_seed = np.asarray(sample.per_seed, dtype=np.float64)[:, keep]  # (k, kept)
    groups = None if sample.clusters is None else np.asarray(sample.clusters)[keep]
    seeds, noise = len(per_seed), sample.noise or Noise()
    training = moderated(between(per_seed.mean(axis=1)), noise.prior) if seeds > 1 else noise.one
    twice = interaction(per_seed, groups) if seeds > 1 and noise.prior else 0.0
    source = NONE if training is None else FIXED if training.variance == 0 else OWN if seeds > 1 else REFERENCE
    clusters = per_seed.shape[1] if groups is None else len(np.unique(groups))
    return Estimate(float(per_seed.mean()), sampling(per_seed.mean(axis=0), groups), training or Component(0.0, np.inf), per_seed.shape[1],
                    clusters, seeds, source, twice)


def summarise(per_seed: Sequence[np.ndarray], clusters: np.ndarray | None = None, *, over: str) -> Interval:
    """The interval of the mean of values (n,) for each seed; without one where there are no two samples, or clusters of them."""
    try:
        found = estimate([Sample(np.stack(per_seed), clusters)])
    except ValueError:
        return Interval(np.nan, np.nan, np.nan, 0, over)
    return replace(found.interval, over=found.varies(over))


def paired(per_seed: Sequence[np.ndarray], reference: Sequence[np.ndarray], clusters: np.ndarray | None = None, *, over: str) -> Interval:
    """The interval of the sample-by-sample difference to `reference`, seed by seed."""
    return summarise([a - b for a, b in zip(per_seed, reference, strict=True)], clusters, over=over)


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Holm's adjusted p-values, in the order given (Holm 1979): the i-th smallest of m times m - i + 1, never falling, at most 1."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted
