"""Verdicts on claims about a mean: "it lies above 0", "it lies within 0.05 of 0"; nothing here knows of any table.

A claim says that a mean lies in a region (low, high). It *holds* where the data say so, *fails* where they say that the mean
lies outside, and is *undecided* else. One p-value decides both: twice the smaller of the one-sided p-values for "inside" and
for "outside". With (0, inf) that is Student's two-sided test; with (-m, m), two one-sided tests at half the level each. So
before Holm's correction a claim holds exactly where its 95 % interval lies inside the region, and fails exactly where the
interval lies outside.

Interval and p-value come from one distribution: `lib.results.statistics` says what the mean's variance is made of. Simulated rate of rejected true
nulls: see tests/test_verdicts.py. With one seed where no training noise is known it is left out, and `Estimate.trainings` says so.
"""

from collections.abc import Sequence

import numpy as np
from scipy import special

from lib.results.statistics import LEVEL, Component, Estimate

HOLDS, FAILS, UNDECIDED = "holds", "fails", "undecided"
MOST_SEEDS = 100  # for what these do not decide no number is given


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


def p_value(found: Estimate, low: float = 0.0, high: float = np.inf, *, seeds: int | None = None) -> float:
    """Two-sided p-value of "the mean lies in (low, high)" against "it lies outside"; 1 where the samples do not vary, but by rounding.

    seeds: as if the same mean had come out of so many.
    """
    known: Component = found.after(seeds or found.seeds)
    error = np.sqrt(known.variance)
    if not error > 1e-12 * abs(found.mean):
        return 1.0
    above, below = (special.stdtr(known.df, -t) for t in ((found.mean - low) / error, (high - found.mean) / error))
    inside, outside = max(above, below), min(1 - above, 1 - below)
    return float(min(1.0, 2 * min(inside, outside)))


def seeds_to_decide(found: Estimate, factor: float, low: float = 0.0, high: float = np.inf) -> int | None:
    """How many seeds in all would decide, were mean and noise to stay as they are; None where `MOST_SEEDS` would not.

    factor: by which Holm's correction multiplied p.
    """
    counts = range(found.seeds + 1, MOST_SEEDS + 1)
    return next((seeds for seeds in counts if factor * p_value(found, low, high, seeds=seeds) < 1 - LEVEL), None)


def verdict(found: Estimate, p: float, low: float = 0.0, high: float = np.inf) -> str:
    """What the (corrected) p-value says about "the mean lies in (low, high)"."""
    if not p < 1 - LEVEL:
        return UNDECIDED
    return HOLDS if low < found.mean < high else FAILS
