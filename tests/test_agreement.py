"""The coursework's "AUC": against a literal formulation with SciPy's Simpson, and what it rewards."""

import numpy as np
import pytest
import torch
from scipy.integrate import simpson

from lib.metrics.saliency import auc, density_map, fixation_map
from lib.metrics.saliency.agreement import THRESHOLDS, bristol_agreement, simpson_weights

SIZE = (96, 128)
CEILING = 19 / 20


def literal(prediction: np.ndarray, truth: np.ndarray, integrate=lambda y: simpson(y, dx=1)) -> float:
    """One comparison of all pixels for each threshold, as the coursework has it, of maps in [0, 1] that are not constant."""
    g = (prediction - prediction.min()) / (prediction.max() - prediction.min())
    agree = [np.mean((g > p) == (truth > p)) for p in np.linspace(0, 1, 20)]
    return float(integrate(np.array(agree)) / 20)


def average(y: np.ndarray) -> float:
    """SciPy's rule up to 1.10 for an even number of samples: odd part at the beginning or at the end, a trapezoid for the rest."""
    first = simpson(y[:-1], dx=1) + (y[-2] + y[-1]) / 2
    last = simpson(y[1:], dx=1) + (y[0] + y[1]) / 2
    return (first + last) / 2


def truths(n: int = 12, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Blurred maps in 8 bits (n, H, W), as published, with their count maps: some points around two places of each image."""
    rng, counts = np.random.default_rng(seed), []
    for _ in range(n):
        places = rng.uniform(0.2, 0.8, (2, 2)) * [SIZE[1], SIZE[0]]
        points = places[rng.integers(0, 2, 60)] + rng.normal(0, 6, (60, 2))
        counts.append(fixation_map(np.clip(points, 0, [SIZE[1] - 1, SIZE[0] - 1]).astype(int), SIZE))
    counts = torch.stack(counts)
    blurred = density_map(counts, sigma=3)
    return (255 * blurred / blurred.amax((1, 2), keepdim=True)).round().to(torch.uint8), counts


def centre() -> torch.Tensor:
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in SIZE), indexing="ij")
    return torch.exp(-(x**2 + y**2) / 0.5)


def corner() -> torch.Tensor:
    hot = torch.zeros(SIZE)
    hot[0, 0] = 1
    return hot


def mean(prediction: torch.Tensor, maps: torch.Tensor) -> float:
    return float(bristol_agreement(prediction.expand(maps.shape), maps).mean())


# ------------------------------------------------------------------------------------------------------ the definition


@pytest.mark.parametrize("rule, integrate", [("scipy-1.11", lambda y: simpson(y, dx=1)), ("scipy-1.10", average)])
def test_is_the_literal_formulation_under_both_of_scipys_rules(rule, integrate):
    """Counting steps once gives what 20 comparisons of all pixels give, ties with thresholds included."""
    rng, (maps, _) = np.random.default_rng(1), truths(4)
    noise = torch.from_numpy(rng.random((4, *SIZE)))
    on_thresholds = torch.from_numpy(rng.integers(0, 20, (4, *SIZE)) / 19)  # or a rounding error beside them
    for prediction in (noise, noise**20, on_thresholds, -3 * maps.double()):
        expected = [literal(p, t / 255, integrate) for p, t in zip(prediction.numpy(), maps.numpy(), strict=True)]
        np.testing.assert_allclose(bristol_agreement(prediction, maps, simpson=rule).numpy(), expected, rtol=0, atol=1e-12)


def test_simpson_weights_integrate_what_scipy_integrates():
    """19 intervals, so 19 for a constant; Cartwright's rule is exact for parabolas, the older one only for straight lines."""
    x = np.arange(20.0)
    for y in (np.ones(20), x, x**2, np.random.default_rng(0).random(20)):
        assert float(simpson_weights(20) @ torch.from_numpy(y)) == pytest.approx(simpson(y, dx=1), rel=1e-13)
        assert float(simpson_weights(20, "scipy-1.10") @ torch.from_numpy(y)) == pytest.approx(average(y), rel=1e-13)
    square = torch.from_numpy(x**2)
    assert float(simpson_weights(20) @ square) == pytest.approx(19**3 / 3, rel=1e-13)
    assert float(simpson_weights(20, "scipy-1.10") @ square) != pytest.approx(19**3 / 3, abs=0.1)
    for bad in (dict(points=19), dict(points=2), dict(points=20, rule="trapezoid")):
        with pytest.raises(ValueError):
            simpson_weights(**bad)


def test_the_two_rules_differ_little():
    """The reason why the rule is written out: the same maps under two SciPys, some 1e-4 apart but not equal."""
    maps, _ = truths()
    new, old = (bristol_agreement(centre().expand(maps.shape), maps, simpson=rule) for rule in ("scipy-1.11", "scipy-1.10"))
    assert 1e-6 < (new - old).abs().max() < 5e-3


# --------------------------------------------------------------------------------------------------- what it rewards


def test_the_blurred_map_itself_scores_the_ceiling_and_nothing_more():
    maps, _ = truths()
    np.testing.assert_allclose(bristol_agreement(maps.double(), maps).numpy(), CEILING, rtol=0, atol=1e-12)
    others = torch.cat([maps[1:], maps[:1]])
    assert (bristol_agreement(others.double(), maps) < CEILING).all()


def test_a_blank_map_beats_the_centre_prior_that_predicts_better():
    """The table in the module's docstring: blank = one hot pixel > peaky noise > centre Gaussian > noise; exact AUC says otherwise."""
    maps, counts = truths()
    noise = torch.rand(SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    score = {"constant": mean(torch.full(SIZE, 0.7), maps), "corner": mean(corner(), maps), "peaky": mean(noise**20, maps),
             "centre": mean(centre(), maps), "noise": mean(noise, maps)}
    assert abs(score["constant"] - score["corner"]) < 1 / (SIZE[0] * SIZE[1])  # one pixel of disagreement
    assert score["corner"] > 0.85 and score["constant"] > score["peaky"] > score["centre"] + 0.1 > score["noise"]
    assert score["noise"] == pytest.approx(0.5, abs=0.05)
    exact = {name: float(auc(p.expand(maps.shape), counts).mean()) for name, p in (("corner", corner()), ("centre", centre()))}
    assert exact["centre"] > exact["corner"] + 0.1  # the order turns round


def test_a_monotone_transformation_changes_it_and_no_auc():
    maps, counts = truths()
    prediction = torch.cat([maps[1:], maps[:1]]).double() / 255 + centre()
    for power in (0.5, 4):
        assert torch.allclose(auc(prediction, counts), auc(prediction**power, counts), atol=1e-12)
        assert ((bristol_agreement(prediction, maps) - bristol_agreement(prediction**power, maps)).abs() > 0.01).all()
    assert (bristol_agreement(maps.double() ** 4, maps) < CEILING - 0.002).all()  # the truth's own ranking
    affine = bristol_agreement(8 * prediction - 3, maps)  # the only transformations that change nothing
    assert torch.allclose(affine, bristol_agreement(prediction, maps), atol=2e-3)


# ------------------------------------------------------------------------------------------------ constants, batches, errors


def test_a_constant_map_counts_as_zeros():
    """The coursework's 0/0 gives NaN, which is above no threshold: the same score, without the warning."""
    maps, _ = truths(3)
    for value in (0.0, 0.3, -5.0, 255.0):
        constant = bristol_agreement(torch.full(maps.shape, value), maps)
        agree = [[np.mean(~(t / 255 > p)) for p in np.linspace(0, 1, 20)] for t in maps.numpy()]
        np.testing.assert_allclose(constant.numpy(), simpson(np.array(agree), dx=1) / 20, rtol=0, atol=1e-12)
    assert float(bristol_agreement(torch.ones(5, 5), torch.zeros(5, 5))) == pytest.approx(CEILING)


def test_nan_stays_in_its_image():
    maps, _ = truths(3)
    for broken in ("prediction", "truth"):
        prediction, truth = torch.rand(maps.shape, generator=torch.Generator().manual_seed(2)), maps.double() / 255
        whole = bristol_agreement(prediction, truth)
        (prediction if broken == "prediction" else truth)[1, 4, 4] = torch.nan
        found = bristol_agreement(prediction, truth)
        assert found.isnan().tolist() == [False, True, False] and torch.equal(found[[0, 2]], whole[[0, 2]])


def test_batches_are_singles_whatever_their_type():
    maps, _ = truths(5)
    prediction = torch.rand(maps.shape, generator=torch.Generator().manual_seed(3))
    together = bristol_agreement(prediction, maps)
    assert together.dtype == torch.float64 and together.shape == (5,)
    singles = [bristol_agreement(p, m) for p, m in zip(prediction.numpy(), maps.numpy(), strict=True)]
    assert all(one.ndim == 0 for one in singles) and torch.equal(torch.stack(singles), together)
    assert torch.equal(bristol_agreement(prediction, maps.float() / 255), together)  # what a loader's `density` gives
    assert bristol_agreement(prediction[:0], maps[:0]).shape == (0,)


def test_bad_input_is_one_line():
    good = torch.rand(4, 5)
    for args, options, said in (
        ((good, torch.rand(4, 6)), {}, "must have one size"), ((good, torch.rand(5, 4)), {}, "transposed"),
        ((good, 255 * good + 1), {}, "within [0, 1]"), ((good, -good), {}, "within [0, 1]"),
        ((good, (255 * good).to(torch.uint16)), {}, "within [0, 1]"),
        ((good, 1.001 * torch.ones(4, 5)), {}, "within [0, 1]"),
        ((good, good), {"simpson": "avg"}, "'scipy-1.11' or 'scipy-1.10'"), ((good[0], good[0]), {}, "must be (H, W)"),
    ):
        with pytest.raises(ValueError) as error:
            bristol_agreement(*args, **options)
        assert said in str(error.value) and "\n" not in str(error.value)
    peak = torch.rand(6, 6)
    peak[2, 2] = 1
    rounded = peak.clone()
    rounded[2, 2] += 1e-6  # a resize's rounding error is neither refused nor counted as above the last threshold
    assert torch.equal(bristol_agreement(peak, rounded), bristol_agreement(peak, peak)) and THRESHOLDS == 20
