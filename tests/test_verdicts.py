"""Verdicts on means: every verdict on made-up values, the variances against independent formulations, error rates by simulation."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from lib.claims import verdicts as v
from lib.results import statistics as st


def found(mean: float, error: float = 1.0, df: float = 50) -> st.Estimate:
    return st.Estimate(mean, st.Component(error**2, df), st.Component(0.0, np.inf), n=51, clusters=51, seeds=1, trainings=st.NONE)


def decided(one: st.Estimate, low: float = 0.0, high: float = np.inf) -> str:
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
    one = st.estimate([st.Sample(values[None])])
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
    assert decided(st.estimate([st.Sample(np.full((1, 20), 0.7))])) == v.UNDECIDED
    assert decided(st.estimate([st.Sample(np.array([[0.7]]))])) == v.UNDECIDED  # one sample has no scatter at all


def test_nothing_left_is_an_error():
    with pytest.raises(ValueError, match="no sample has a value"):
        st.estimate([st.Sample(np.array([[1.0, np.nan], [np.nan, 1.0]]))])


# --- Holm ---------------------------------------------------------------------------------------------------------------


def test_holm_is_the_closed_test_of_bonferroni():
    """Independent formulation: a hypothesis' adjusted p is the largest Bonferroni p of all sets that hold it."""
    rng = np.random.default_rng(1)
    for m in range(1, 7):
        p = rng.uniform(0, 0.3, m)
        sets = [subset for size in range(1, m + 1) for subset in itertools.combinations(range(m), size)]
        closed = [max(min(1, len(subset) * min(p[list(subset)])) for subset in sets if i in subset) for i in range(m)]
        assert st.holm(p) == pytest.approx(closed)


def test_holm_on_a_worked_example():
    assert st.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert st.holm([0.9, 0.8]) == pytest.approx([1, 1]) and st.holm([]).size == 0


# --- variances ----------------------------------------------------------------------------------------------------------


def test_clusters_of_one_size_are_the_t_test_of_their_means():
    rng = np.random.default_rng(2)
    clusters = np.repeat(np.arange(12), 5)
    values = rng.normal(size=12)[clusters] + rng.normal(size=60)
    means = values.reshape(12, 5).mean(1)
    assert st.sampling(values, clusters) == st.Component(pytest.approx(means.var(ddof=1) / 12), 11)
    assert st.sampling(values, clusters).variance > 2 * st.sampling(values).variance  # what forgetting subjects would cost


@pytest.mark.parametrize("clustered", [False, True])
def test_one_seed_agrees_with_the_bootstrap(clustered):
    """Percentiles of means of whole clusters that are drawn with replacement."""
    rng = np.random.default_rng(3)
    clusters = rng.integers(60, size=600) if clustered else np.arange(600)
    values = rng.exponential(size=600) + (rng.normal(size=60)[clusters] if clustered else 0)
    ours = st.estimate([st.Sample(values[None], clusters if clustered else None)])
    sums, sizes = np.bincount(clusters, values), np.bincount(clusters)
    draws = rng.integers(len(sums), size=(2000, len(sums)))
    low, high = np.quantile(sums[draws].sum(1) / sizes[draws].sum(1), [0.025, 0.975])
    assert ours.mean == pytest.approx(values.mean()) and ours.trainings == st.NONE
    assert ours.interval.half == pytest.approx((high - low) / 2, rel=0.1)


def test_linearised_groups_are_welchs_test():
    rng = np.random.default_rng(4)
    values, mask = rng.normal(1, 1, 80), np.arange(80) < 30
    values[mask] += rng.normal(0, 3, 30)
    pieces = [np.where(mask, values, np.nan), np.where(mask, np.nan, -values)]
    together = v.linearise(pieces)
    one = st.estimate([st.Sample(together[None])])
    welch = stats.ttest_ind(values[mask], values[~mask], equal_var=False)
    assert together.mean() == pytest.approx(values[mask].mean() - values[~mask].mean())
    assert one.after(1).variance**0.5 == pytest.approx(one.mean / welch.statistic, rel=0.02)
    apart = st.estimate([st.Sample(piece[None]) for piece in pieces])  # as independent samples: the same test to the digit
    whole = apart.after(1)
    assert (apart.mean / whole.variance**0.5, whole.df) == pytest.approx((welch.statistic, welch.df))
    assert v.p_value(apart) == pytest.approx(welch.pvalue)


def test_one_piece_is_left_as_it_is():
    piece = np.array([1.0, np.nan, 3.0])
    np.testing.assert_array_equal(v.linearise([piece]), piece)


def training(per_seed: np.ndarray, noise: st.Noise | None = None) -> tuple[float, float, str]:
    """The variance of one training, its degrees of freedom, and where they are from."""
    one = st.estimate([st.Sample(per_seed, None, noise)])
    return one.training.variance, one.training.df, one.trainings


def test_training_noise_is_the_seeds_own_steadied_by_that_of_other_rows():
    """(d0 p^2 + d s^2) / (d0 + d); one seed takes the reference's s^2, and without a reference what other rows tell, or nothing."""
    per_seed, prior, reference = np.array([[1.0, 2.0, 3.0]]).T + np.array([-1, 0, 1]), st.Component(0.5, 4), st.Component(2.0, 9)
    assert training(per_seed) == (1.0, 2, st.OWN)
    assert training(per_seed, st.Noise(reference, prior)) == (pytest.approx((4 * 0.5 + 2 * 1.0) / 6), 6, st.OWN)
    assert training(per_seed[:1], st.Noise(reference, prior)) == (pytest.approx((4 * 0.5 + 9 * 2.0) / 13), 13, st.REFERENCE)
    assert training(per_seed[:1], st.Noise(None, prior)) == (0.5, 4, st.REFERENCE)
    assert training(per_seed[:1]) == (0.0, np.inf, st.NONE)
    assert training(per_seed[:1], st.Noise(st.Component(0.0, 9)))[2] == st.FIXED
    assert training(np.repeat(per_seed[:1], 3, 0))[2] == st.FIXED


def test_what_seeds_do_to_single_samples_is_counted_once():
    """Two-way analysis of variance without repetition: the mean's variance is (samples + seeds - rest) / (k n), in mean squares."""
    per_seed = np.random.default_rng(9).normal(size=(4, 30)) + np.arange(4)[:, None]
    seeds, n = per_seed.shape
    mean = per_seed.mean()
    over_samples = seeds * ((per_seed.mean(0) - mean) ** 2).sum() / (n - 1)
    over_seeds = n * ((per_seed.mean(1) - mean) ** 2).sum() / (seeds - 1)
    total = ((per_seed - mean) ** 2).sum()
    rest = (total - (n - 1) * over_samples - (seeds - 1) * over_seeds) / ((n - 1) * (seeds - 1))
    ours = st.estimate([st.Sample(per_seed, None, st.Noise(None, st.Component(1.0, 1e-9)))])  # a prior that weighs nothing
    assert ours.after(seeds).variance == pytest.approx((over_samples + over_seeds - rest) / (seeds * n))


def test_what_other_rows_tell_is_their_pooled_variance_and_how_alike_they_are():
    """The residual of rows by seeds; rows of one noise are as alike as is ever believed, rows of very different noise are not."""
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(40, 10)) + np.arange(40)[:, None]
    (alike,) = st.priors([[st.between(row) for row in rows]])
    assert alike == st.Component(pytest.approx(((rows - rows.mean(1, keepdims=True)) ** 2).sum() / 360), st.MOST_ALIKE)
    spread = np.sqrt(2 / rng.chisquare(2, 400))[:, None]  # d0 = 2
    (unlike,) = st.priors([[st.between(row) for row in spread * rng.normal(size=(400, 10))]])
    assert unlike.df == pytest.approx(2, rel=0.2)
    assert st.priors([[st.Component(1.0, 2)], []]) == [None, None]


# --- power --------------------------------------------------------------------------------------------------------------


def test_so_many_seeds_would_decide():
    """Pictures' variance stays, trainings' shrinks: with one seed fewer the p-value is not yet small enough, with a hundred it never is."""
    per_seed = np.random.default_rng(0).normal(size=100) / 20 + np.array([[0.0], [0.3], [0.6]])
    one = st.estimate([st.Sample(per_seed)])
    needed = v.seeds_to_decide(one, 2.0)
    assert 3 < needed <= 10 and 2 * v.p_value(one, seeds=needed) < 0.05 <= 2 * v.p_value(one, seeds=needed - 1)
    assert v.seeds_to_decide(one, 20.0) > needed
    nothing = st.estimate([st.Sample(per_seed - 0.29)])
    assert v.seeds_to_decide(nothing, 1.0) is None
    noisy = st.estimate([st.Sample(20 * np.random.default_rng(1).normal(size=100) + np.array([[0.0], [0.3], [0.6]]))])
    assert v.seeds_to_decide(noisy, 1.0) is None, "more trainings do not add pictures"


# --- error rates --------------------------------------------------------------------------------------------------------


def simulated(rng: np.random.Generator, *, seeds: int, noise: float, reference: int = 0) -> st.Estimate:
    """Two rows of the same expected value on 100 images; ten more rows tell how rows differ in their noise, from a third to three times.

    reference: seeds of another, earlier run, for a run of one seed.
    """
    spread = noise * np.sqrt(2.4 / rng.chisquare(2.4, 12))  # as the reference's rows differ
    first, second, *others = spread[:, None] * rng.normal(size=(12, reference or seeds))
    (prior,) = st.priors([[st.between(row) for row in (first, second, *others)]], 2.4) if len(first) > 1 else (None,)
    known = st.Noise(st.between(first - second), prior and st.Component(2 * prior.variance, prior.df))
    now = rng.normal(size=(2, seeds)) * spread[:2, None] if reference else np.stack([first, second])
    return st.estimate([st.Sample((now[0] - now[1])[:, None] + rng.normal(size=100) + 0.5 * rng.normal(size=(seeds, 100)), None, known)])


@pytest.mark.parametrize(("seeds", "reference"), [(1, 3), (1, 10), (3, 0), (10, 0)])
@pytest.mark.parametrize("noise", [0.03, 0.1, 0.5])
def test_true_nulls_are_rejected_at_most_as_often_as_promised(seeds, reference, noise):
    """Over trainings and test images at once, with training noise from none to dominating; 7.5 % allows for 400 simulated data sets."""
    rng = np.random.default_rng(6)
    rejected = [v.p_value(simulated(rng, seeds=seeds, reference=reference, noise=noise)) < 0.05 for _ in range(400)]
    assert np.mean(rejected) <= 0.075


def test_what_other_rows_tell_is_what_lets_three_seeds_decide():
    rng = np.random.default_rng(7)
    found = [simulated(rng, seeds=3, noise=0.3) for _ in range(200)]
    alone = [replace(one, training=st.Component(one.training.variance, 2.0)) for one in found]
    assert np.median([one.interval.half for one in found]) < 0.85 * np.median([one.interval.half for one in alone])


def test_one_seed_alone_does_not_know_training_noise():
    """What "pictures only" warns of: with one seed and no reference, true nulls are rejected too often."""
    rng = np.random.default_rng(8)
    found = [simulated(rng, seeds=1, noise=0.3) for _ in range(300)]
    assert np.mean([v.p_value(one) < 0.05 for one in found]) > 0.2 and all(one.trainings == st.NONE for one in found)
