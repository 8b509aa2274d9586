"""Verdicts on means: every verdict on made-up values, the variances against independent formulations, error rates by simulation."""

import itertools

import numpy as np
import pytest
from scipy import stats

from lib.claims import verdicts as v
from lib.results.statistics import bootstrap


def found(mean: float, error: float = 1.0, df: float = 50) -> v.Estimate:
    return v.Estimate(mean=mean, error=error, df=df, n=51, clusters=51, seeds=1, trainings=False)


def decided(one: v.Estimate, low: float = 0.0, high: float = np.inf) -> str:
    return v.verdict(one, v.p_value(one, low, high), low, high)


# --- verdicts -----------------------------------------------------------------------------------------------------------


def test_a_direction_holds_fails_or_is_undecided():
    assert decided(found(3.0)) == v.HOLDS
    assert decided(found(-3.0)) == v.FAILS
    assert decided(found(1.0)) == decided(found(-1.0)) == v.UNDECIDED


def test_an_equivalence_holds_only_where_the_data_are_precise():
    assert decided(found(0.1, 0.2), -1, 1) == v.HOLDS
    assert decided(found(0.1, 2.0), -1, 1) == v.UNDECIDED  # nothing is seen, and nothing is shown
    assert decided(found(3.0, 0.2), -1, 1) == decided(found(-3.0, 0.2), -1, 1) == v.FAILS
    assert decided(found(3.0, 0.2), -1, np.inf) == v.HOLDS  # one-sided: being better is no failure
    assert decided(found(-3.0, 0.2), -1, np.inf) == v.FAILS


def test_a_direction_is_the_two_sided_t_test():
    values = np.random.default_rng(0).normal(0.3, 1.0, 40)
    one = v.estimate([v.Sample(values[None])])
    assert v.p_value(one) == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (one.interval.low, one.interval.high) == pytest.approx((low, high))


@pytest.mark.parametrize(("low", "high"), [(0, np.inf), (1, np.inf), (-1, 1), (0.5, 1.5)])
def test_the_interval_and_the_verdict_never_disagree(low, high):
    """Uncorrected: inside the region it holds, outside it fails, across a bound it is undecided."""
    for mean, error in itertools.product(np.linspace(-3, 3, 41), (0.05, 0.3, 1.0)):
        one = found(mean, error)
        inside = low < one.interval.low and one.interval.high < high
        outside = one.interval.high < low or one.interval.low > high
        assert decided(one, low, high) == (v.HOLDS if inside else v.FAILS if outside else v.UNDECIDED)


def test_samples_that_do_not_vary_decide_nothing():
    assert decided(v.estimate([v.Sample(np.full((1, 20), 0.7))])) == v.UNDECIDED
    assert decided(v.estimate([v.Sample(np.array([[0.7]]))])) == v.UNDECIDED  # one sample has no scatter at all


def test_nothing_left_is_an_error():
    with pytest.raises(ValueError, match="no sample has a value"):
        v.estimate([v.Sample(np.array([[1.0, np.nan], [np.nan, 1.0]]))])


# --- Holm ---------------------------------------------------------------------------------------------------------------


def test_holm_is_the_closed_test_of_bonferroni():
    """Independent formulation: a hypothesis' adjusted p is the largest Bonferroni p of all sets that hold it."""
    rng = np.random.default_rng(1)
    for m in range(1, 7):
        p = rng.uniform(0, 0.3, m)
        sets = [subset for size in range(1, m + 1) for subset in itertools.combinations(range(m), size)]
        closed = [max(min(1, len(subset) * min(p[list(subset)])) for subset in sets if i in subset) for i in range(m)]
        assert v.holm(p) == pytest.approx(closed)


def test_holm_on_a_worked_example():
    assert v.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert v.holm([0.9, 0.8]) == pytest.approx([1, 1]) and v.holm([]).size == 0


# --- variances ----------------------------------------------------------------------------------------------------------


def test_clusters_of_one_size_are_the_t_test_of_their_means():
    rng = np.random.default_rng(2)
    clusters = np.repeat(np.arange(12), 5)
    values = rng.normal(size=12)[clusters] + rng.normal(size=60)
    means = values.reshape(12, 5).mean(1)
    assert v.sampling(values, clusters) == v.Component(pytest.approx(means.var(ddof=1) / 12), 11)
    assert v.sampling(values, clusters).variance > 2 * v.sampling(values).variance  # what forgetting subjects would cost


@pytest.mark.parametrize("clustered", [False, True])
def test_one_seed_agrees_with_the_bootstrap_of_the_tables(clustered):
    rng = np.random.default_rng(3)
    clusters = rng.integers(60, size=600)
    values = rng.exponential(size=600) + (rng.normal(size=60)[clusters] if clustered else 0)
    ours = v.estimate([v.Sample(values[None], clusters if clustered else None)])
    theirs = bootstrap(values, clusters if clustered else None)
    assert ours.mean == pytest.approx(theirs.mean)
    assert ours.interval.half == pytest.approx(theirs.half, rel=0.1) and not ours.trainings


def test_linearised_groups_are_welchs_test():
    rng = np.random.default_rng(4)
    values, mask = rng.normal(1, 1, 80), np.arange(80) < 30
    values[mask] += rng.normal(0, 3, 30)
    pieces = [np.where(mask, values, np.nan), np.where(mask, np.nan, -values)]
    together = v.linearise(pieces)
    one = v.estimate([v.Sample(together[None])])
    welch = stats.ttest_ind(values[mask], values[~mask], equal_var=False)
    assert together.mean() == pytest.approx(values[mask].mean() - values[~mask].mean())
    assert one.error == pytest.approx(one.mean / welch.statistic, rel=0.02)
    apart = v.estimate([v.Sample(piece[None]) for piece in pieces])  # as independent samples: the same test to the digit
    assert (apart.mean / apart.error, apart.df) == pytest.approx((welch.statistic, welch.df))
    assert v.p_value(apart) == pytest.approx(welch.pvalue)


def test_one_piece_is_left_as_it_is():
    piece = np.array([1.0, np.nan, 3.0])
    np.testing.assert_array_equal(v.linearise([piece]), piece)


def test_training_takes_the_larger_variance_with_its_own_degrees_of_freedom():
    per_seed, pooled = np.array([[1.0, 2.0, 3.0]]).T + np.array([-1, 0, 1]), v.Component(0.5, 20)  # no seed treats a sample in its own way
    assert v.training(per_seed) == v.training(per_seed, None, pooled) == v.Component(pytest.approx(1 / 3), 2)
    assert v.training(per_seed / 10, None, pooled) == v.Component(pytest.approx(0.5 / 3), 20)
    assert v.training(per_seed[:1], None, pooled) == pooled  # one seed: what other rows say about trainings
    assert v.training(per_seed[:1]) is v.NOTHING


def test_what_seeds_do_to_single_samples_is_counted_once():
    """Two-way analysis of variance without repetition: the mean's variance is (samples + seeds - rest) / (k n), in mean squares."""
    per_seed = np.random.default_rng(9).normal(size=(4, 30)) + np.arange(4)[:, None]
    seeds, n = per_seed.shape
    mean = per_seed.mean()
    over_samples = seeds * ((per_seed.mean(0) - mean) ** 2).sum() / (n - 1)
    over_seeds = n * ((per_seed.mean(1) - mean) ** 2).sum() / (seeds - 1)
    total = ((per_seed - mean) ** 2).sum()
    rest = (total - (n - 1) * over_samples - (seeds - 1) * over_seeds) / ((n - 1) * (seeds - 1))
    ours = v.sampling(per_seed.mean(0)).variance + v.training(per_seed, None, v.Component(1e-9, 20)).variance
    assert ours == pytest.approx((over_samples + over_seeds - rest) / (seeds * n))


def test_pooling_is_the_residual_of_rows_by_seeds():
    rows = np.random.default_rng(5).normal(size=(7, 3)) + np.arange(7)[:, None]
    pooled = v.pool(rows)
    assert pooled == v.Component(pytest.approx(((rows - rows.mean(1, keepdims=True)) ** 2).sum() / 14), 14)
    assert v.pool([np.array([1.0])]) is None


# --- error rates --------------------------------------------------------------------------------------------------------


def simulated(rng: np.random.Generator, *, seeds: int, pooled: bool, noise: float) -> v.Estimate:
    """Two rows of the same expected value, right or wrong on 150 images that differ in difficulty; eight more rows to pool."""
    difficulty = rng.normal(size=150)

    def row() -> np.ndarray:
        skill = noise * rng.normal(size=(seeds, 1))  # of a training
        return (difficulty + skill + rng.normal(size=(seeds, 150)) > 0).astype(float)

    first, second = row(), row()
    others = [first, second, *(row() for _ in range(8))] if pooled else []
    known = v.pool([one.mean(1) for one in others])
    return v.estimate([v.Sample(first - second, None, known and v.Component(2 * known.variance, known.df))])


@pytest.mark.parametrize(("pooled", "noise"), [(False, 0.0), (True, 0.0), (True, 0.1), (True, 0.5)])
def test_true_nulls_are_rejected_at_most_as_often_as_promised(pooled, noise):
    """Over trainings and test images at once; 7 % allows for 500 simulated data sets. What training noise without a pool does: see the module."""
    rng = np.random.default_rng(6)
    rejected = [v.p_value(simulated(rng, seeds=3, pooled=pooled, noise=noise)) < 0.05 for _ in range(500)]
    assert np.mean(rejected) <= 0.07


def test_pooling_is_what_lets_three_seeds_decide():
    rng = np.random.default_rng(7)
    halves = {pooled: np.median([simulated(rng, seeds=3, pooled=pooled, noise=0.3).interval.half for _ in range(200)]) for pooled in (False, True)}
    assert halves[True] < 0.85 * halves[False]


def test_one_seed_alone_does_not_know_training_noise():
    """What `trainings` warns of: with one seed, true nulls are rejected too often."""
    rng = np.random.default_rng(8)
    found = [simulated(rng, seeds=1, pooled=False, noise=0.3) for _ in range(300)]
    assert np.mean([v.p_value(one) < 0.05 for one in found]) > 0.2 and not any(one.trainings for one in found)
