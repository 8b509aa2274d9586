"""The saliency metrics: values worked out by hand, slow literal formulations, invariances, and everything that is undefined."""

import math

import numpy as np
import pytest
import torch

from lib.metrics import saliency as m
from lib.metrics.saliency import maps as internals
from lib.metrics.saliency import ranking

NAN = math.nan
RAMP = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
ON_3_AND_6 = torch.tensor([[0, 0, 1], [0, 0, 1]])
ON_5_AND_6 = torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
ON_1_AND_TWICE_5 = torch.tensor([[1, 0, 0], [0, 2, 0]])

# Every metric as a function of (map, fixations); the density and the negatives are made from the fixations of another image.
FIXATION_METRICS = {
    "auc": m.auc,
    "auc all, duplicates": lambda s, f: m.auc(s, f, negatives="all", duplicates=True),
    "auc_judd": m.auc_judd,
    "auc_judd jitter": lambda s, f: m.auc_judd(s, f, ties="jitter"),
    "auc_judd order": lambda s, f: m.auc_judd(s, f, ties="order"),
    "auc_borji": m.auc_borji,
    "auc_shuffled": lambda s, f: m.auc_shuffled(s, f, other(s)),
    "auc_shuffled mit": lambda s, f: m.auc_shuffled(s, f, other(s), splits=20),
    "nss": m.nss,
    "information_gain": lambda s, f: m.information_gain(s, f, other(s)),
}
DENSITY_METRICS = {"cc": m.cc, "sim": m.sim, "sim shift": lambda s, d: m.sim(s, d, min_max=False), "kl": m.kl_divergence}
CHANCE = {"nss": 0.0, "information_gain": None, "auc_judd jitter": None}


def other(like) -> torch.Tensor:
    """A fixed (H, W) count map of the size of `like`."""
    generator = torch.Generator().manual_seed(99)
    return torch.randint(0, 3, tuple(like.shape[-2:]), generator=generator)


def example(batch: int = 5, size: tuple[int, int] = (23, 31), seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Maps without ties and count maps with some pixels fixated up to three times, a different number in each image."""
    g = torch.Generator().manual_seed(seed)
    maps = torch.rand(batch, *size, generator=g, dtype=torch.float64) ** 2
    share = torch.linspace(0.01, 0.1, batch)[:, None, None]
    fixated = torch.rand(batch, *size, generator=g) < share
    return maps, fixated * torch.randint(1, 4, fixated.shape, generator=g)


def eight_bit(maps: torch.Tensor) -> torch.Tensor:
    return (maps * 15).to(torch.uint8)


# ---- values by hand


def test_values_worked_out_by_hand():
    values = {
        "auc": (m.auc(RAMP, ON_3_AND_6), 6 / 8),  # 6 beats four unfixated pixels, 3 beats two
        "auc, duplicates": (m.auc(RAMP, torch.tensor([[0, 0, 3], [0, 0, 1]]), duplicates=True), 10 / 16),
        "auc, against all": (m.auc(RAMP, ON_3_AND_6, negatives="all"), (5.5 + 2.5) / 12),
        "auc_judd": (m.auc_judd(RAMP, ON_3_AND_6), 0.875),  # (0, 0), (0, 1/2), (1/2, 1), (1, 1)
        "auc_shuffled": (m.auc_shuffled(RAMP, ON_3_AND_6, ON_1_AND_TWICE_5), 4 / 6),
        "nss": (m.nss(RAMP, ON_3_AND_6), 1 / math.sqrt(17.5 / 5)),
        "nss, ddof 0": (m.nss(RAMP, ON_3_AND_6, ddof=0), 1 / math.sqrt(17.5 / 6)),
        "nss, duplicates": (m.nss(RAMP, ON_1_AND_TWICE_5, duplicates=True), (11 / 3 - 3.5) / math.sqrt(3.5)),
        "cc": (m.cc(RAMP, ON_5_AND_6), 4 / math.sqrt(17.5 * 4 / 3)),
        "sim": (m.sim(RAMP, ON_5_AND_6), (4 + 5) / 15),
        "sim, no min-max": (m.sim(RAMP, ON_5_AND_6, min_max=False), (5 + 6) / 21),
        "kl": (m.kl_divergence(RAMP, ON_5_AND_6), 0.5 * (math.log(21 / 10) + math.log(21 / 12))),
        "information gain": (m.information_gain(RAMP, ON_3_AND_6, torch.ones(2, 3)), 0.5 * (math.log2(2) + math.log2(0.8))),
        "information gain, as it is": (
            m.information_gain(RAMP, ON_3_AND_6, torch.ones(2, 3), min_max=False, epsilon=0),
            0.5 * (math.log2(18 / 21) + math.log2(36 / 21)),
        ),
    }
    for name, (value, expected) in values.items():
        assert value.dtype == torch.float64 and value.shape == (), name
        assert value.item() == pytest.approx(expected, abs=1e-12), name


def test_the_map_itself_and_the_best_and_worst_maps():
    maps, fixations = example()
    best = (fixations > 0).double()
    assert torch.equal(m.auc(best, fixations), torch.ones(5, dtype=torch.float64))
    assert torch.equal(m.auc(-best, fixations), torch.zeros(5, dtype=torch.float64))
    torch.testing.assert_close(m.cc(maps, maps), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(m.cc(-maps, maps), -torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(m.sim(maps, maps), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(m.kl_divergence(maps, maps), torch.zeros(5, dtype=torch.float64), atol=1e-12, rtol=0)
    assert m.information_gain(maps, fixations, maps).abs().max() == 0
    disjoint = m.sim(torch.eye(2), 1 - torch.eye(2))
    assert disjoint == 0


# ---- slow literal formulations


def pairwise_auc(positives: np.ndarray, negatives: np.ndarray) -> float:
    higher, equal = positives[:, None] > negatives, positives[:, None] == negatives
    return float((higher + 0.5 * equal).mean())


def matlab_judd(values: np.ndarray, fixated: np.ndarray) -> float:
    """AUC_Judd.m without its jitter: one fixation after the other, tied or not."""
    thresholds = np.sort(values[fixated])[::-1]
    n, pixels = len(thresholds), values.size
    tp = np.array([0.0, *[(i + 1) / n for i in range(n)], 1.0])
    fp = np.array([0.0, *[((values >= t).sum() - i - 1) / (pixels - n) for i, t in enumerate(thresholds)], 1.0])
    return float(np.sum(np.diff(fp) * (tp[1:] + tp[:-1]) / 2))


def matlab_steps(values: np.ndarray, positives: np.ndarray, negatives: np.ndarray, step: float) -> float:
    """One split of AUC_Borji.m and AUC_shuffled.m."""
    low, high = values.min(), values.max()
    positives, negatives = (positives - low) / (high - low), (negatives - low) / (high - low)
    thresholds = np.arange(0, max(positives.max(), negatives.max()) + 1e-12, step)[::-1]
    tp = np.array([0.0, *[(positives >= t).mean() for t in thresholds], 1.0])
    fp = np.array([0.0, *[(negatives >= t).mean() for t in thresholds], 1.0])
    return float(np.sum(np.diff(fp) * (tp[1:] + tp[:-1]) / 2))


PREPARE = [lambda x: x, eight_bit, lambda x: (x * 40).exp(), lambda x: x.float(), lambda x: -x.half()]


@pytest.mark.parametrize("cells", [4, 2**14])  # maps above `cells` pixels are cut into cells, smaller ones are not
@pytest.mark.parametrize("prepare", PREPARE)
def test_auc_is_the_share_of_pairs_won(prepare, cells, monkeypatch):
    monkeypatch.setattr(ranking, "CELLS", cells)
    maps, fixations = example()
    maps = prepare(maps)
    values = m.auc(maps, fixations), m.auc(maps, fixations, duplicates=True), m.auc(maps, fixations, negatives="all")
    for map_, count, value, weighted, all_ in zip(maps, fixations, *values, strict=True):
        s, f = map_.double().numpy().ravel(), count.numpy().ravel()
        assert value.item() == pytest.approx(pairwise_auc(s[f > 0], s[f == 0]), abs=1e-12)
        assert weighted.item() == pytest.approx(pairwise_auc(np.repeat(s, f), s[f == 0]), abs=1e-12)
        assert all_.item() == pytest.approx(pairwise_auc(s[f > 0], s), abs=1e-12)


@pytest.mark.parametrize("cells", [4, 300, 2**14])
def test_auc_where_values_lie_as_close_as_floats_can(cells, monkeypatch):
    """The cells of equal value that replace the sort must not lose neighbours in a crowd beside one far outlier."""
    monkeypatch.setattr(ranking, "CELLS", cells)
    near = 1 + torch.arange(600, dtype=torch.float64) * 2.0**-52
    maps = torch.cat([near, torch.tensor([1e30, -1e30, 0.0, -0.0], dtype=torch.float64)]).reshape(4, 151)
    for seed in range(5):
        order = torch.randperm(maps.numel(), generator=torch.Generator().manual_seed(seed))
        shuffled = maps.reshape(-1)[order].reshape(maps.shape)
        count = torch.rand(maps.shape, generator=torch.Generator().manual_seed(seed)) < 0.3
        s, f = shuffled.numpy().ravel(), count.numpy().ravel()
        assert m.auc(shuffled, count).item() == pytest.approx(pairwise_auc(s[f], s[~f]), abs=1e-12)


def test_auc_judd_is_matlabs_loop():
    maps, fixations = example()
    expected = [matlab_judd(s.numpy().ravel(), f.numpy().ravel() > 0) for s, f in zip(maps, fixations, strict=True)]
    for ties in ("group", "order"):
        assert m.auc_judd(maps, fixations, ties=ties).tolist() == pytest.approx(expected, abs=1e-12)
    coarse = eight_bit(maps)
    expected = [matlab_judd(s.numpy().ravel(), f.numpy().ravel() > 0) for s, f in zip(coarse, fixations, strict=True)]
    assert m.auc_judd(coarse, fixations, ties="order").tolist() == pytest.approx(expected, abs=1e-12)
    assert (m.auc_judd(coarse, fixations) > m.auc_judd(coarse, fixations, ties="order") + 0.01).all()


def test_auc_judd_exceeds_the_exact_area_by_half_a_fixation():
    maps, fixations = example(batch=3, size=(60, 80))
    n = (fixations > 0).double().sum((1, 2))
    excess = m.auc_judd(maps, fixations) - m.auc(maps, fixations)
    torch.testing.assert_close(excess, 0.5 / n, rtol=0.3, atol=0)


def test_jitter_breaks_ties_at_random_and_nothing_else():
    maps, fixations = example()
    torch.testing.assert_close(m.auc_judd(maps, fixations, ties="jitter"), m.auc_judd(maps, fixations), rtol=0, atol=1e-4)
    coarse = eight_bit(maps)
    draws = torch.stack([m.auc_judd(coarse, fixations, ties="jitter", seed=s) for s in range(200)])
    assert draws.std(0).min() > 1e-4 and torch.equal(draws[0], m.auc_judd(coarse, fixations, ties="jitter"))
    half = 0.5 / (fixations > 0).double().sum((1, 2))  # in the mean a broken tie is half won: the exact area, and Judd's excess
    torch.testing.assert_close(draws.mean(0), m.auc(coarse, fixations) + half, rtol=0, atol=0.01)


def test_auc_borji_is_matlabs_loop():
    maps, fixations = example()
    for step in (0.1, 0.03):
        value = m.auc_borji(maps, fixations, splits=7, step=step, seed=3)
        for i, (s, f) in enumerate(zip(maps.reshape(5, -1).numpy(), fixations.reshape(5, -1).numpy() > 0, strict=True)):
            drawn = torch.randint(s.size, (7, int(f.sum())), generator=torch.Generator().manual_seed(3)).numpy()
            assert value[i].item() == pytest.approx(np.mean([matlab_steps(s, s[f], s[d], step) for d in drawn]), abs=1e-12)


def test_auc_borji_depends_on_values_and_auc_does_not():
    maps, fixations = example(batch=1, size=(60, 80))
    top = maps + 2 * (fixations > 0) * maps  # fixated pixels somewhat higher
    assert m.auc_borji(top**8, fixations) < m.auc_borji(top, fixations) - 0.05
    assert torch.equal(m.auc(top**8, fixations), m.auc(top, fixations))


def test_auc_shuffled_with_splits_draws_each_negative_at_most_once():
    """With as many fixations as negatives, every split takes all negatives: no randomness is left."""
    maps, _ = example(batch=1)
    s = maps[0].numpy().ravel()
    fixations, negatives = torch.zeros(2, 23, 31, dtype=torch.int32).unbind()
    fixations[:4], negatives[10:14] = 1, 5
    value = m.auc_shuffled(maps[0], fixations, negatives, splits=3)
    assert value.item() == pytest.approx(matlab_steps(s, s[: 4 * 31], s[10 * 31 : 14 * 31], 0.1), abs=1e-12)


# ---- invariances


def test_rank_metrics_ignore_any_increasing_function():
    maps, fixations = example()
    for f in (lambda x: 3 * x - 7, lambda x: x**5, torch.log):
        for metric in (m.auc, m.auc_judd, lambda s, c: m.auc_shuffled(s, c, other(s))):
            assert torch.equal(metric(f(maps), fixations), metric(maps, fixations))
        torch.testing.assert_close(m.auc(-f(maps), fixations), 1 - m.auc(maps, fixations))


def test_nss_and_cc_ignore_scale_and_offset():
    maps, fixations = example()
    for changed in (250 * maps + 3, 1e-9 * maps, maps - 40):
        torch.testing.assert_close(m.nss(changed, fixations), m.nss(maps, fixations))
        torch.testing.assert_close(m.cc(changed, fixations), m.cc(maps, fixations))
        torch.testing.assert_close(m.sim(changed, fixations), m.sim(maps, fixations))
    torch.testing.assert_close(m.kl_divergence(9 * maps, fixations), m.kl_divergence(maps, 4 * fixations))


def test_nss_keeps_its_precision_on_a_large_offset_and_beside_one():
    maps, fixations = example(batch=2)
    raised = torch.stack([maps[0], maps[1] + 1e6])
    values = m.nss(raised, fixations)
    torch.testing.assert_close(values, m.nss(maps, fixations), rtol=1e-8, atol=0)
    assert values[0] == m.nss(maps[0], fixations[0])


def test_a_map_of_one_pixel_has_nothing_to_say():
    one = torch.ones(1, 1)
    assert m.nss(one, one) == 0
    assert m.auc(one, one).isnan()
    assert m.cc(one, one).isnan()
    assert m.sim(one, one) == 1


def test_duplicates_count_only_where_asked():
    maps, fixations = example()
    once = (fixations > 0).int()
    for name in ("auc", "auc_judd", "auc_borji", "nss", "information_gain", "auc_shuffled"):
        assert torch.equal(FIXATION_METRICS[name](maps, fixations), FIXATION_METRICS[name](maps, once)), name
    for metric in (m.auc, m.auc_judd, m.nss):
        assert (metric(maps, fixations, duplicates=True) != metric(maps, fixations)).all()
        torch.testing.assert_close(metric(maps, 5 * once, duplicates=True), metric(maps, once))


@pytest.mark.parametrize("name", [*FIXATION_METRICS, *DENSITY_METRICS])
def test_batch_equals_single_in_any_order_and_type(name, monkeypatch):
    metric = (FIXATION_METRICS | DENSITY_METRICS)[name]
    maps, fixations = example()
    values = metric(maps, fixations)
    assert values.shape == (5,) and values.dtype == torch.float64 and torch.isfinite(values).all()
    assert torch.equal(torch.stack([metric(s, f) for s, f in zip(maps, fixations, strict=True)]), values)
    assert torch.equal(metric(maps.flip(0), fixations.flip(0)).flip(0), values)
    monkeypatch.setitem(internals.CHUNK_PIXELS, "cpu", 2 * 23 * 31)
    torch.testing.assert_close(metric(maps, fixations), values, rtol=1e-14, atol=1e-14)
    if name != "auc_shuffled mit":  # the negatives do not turn with the map
        assert metric(maps.numpy()[:, :, ::-1], fixations.numpy()[:, :, ::-1]).shape == (5,)
    for dtype in (torch.uint8, torch.float32, torch.float64):
        torch.testing.assert_close(metric(maps, fixations.to(dtype)), values, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(metric(maps.float(), fixations), values, rtol=0, atol=1e-4)
    coarse = (maps * 255).to(torch.uint8)
    torch.testing.assert_close(metric(coarse, fixations), metric(coarse.double(), fixations), rtol=0, atol=1e-12)
    assert metric(maps[:0], fixations[:0]).shape == (0,)
    assert not metric(maps.requires_grad_(), fixations).requires_grad


def test_metrics_leave_the_number_of_threads_as_it_was():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        m.auc(*example())
        with pytest.raises(ValueError, match="resize the prediction"):
            m.nss(RAMP, RAMP[0:1])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# ---- what cannot be computed


@pytest.mark.parametrize("name", FIXATION_METRICS)
def test_fixation_metrics_where_undefined(name):
    metric = FIXATION_METRICS[name]
    maps, fixations = example(batch=4)
    fixations[0] = 0
    maps[1, 3, 4] = NAN
    values = metric(maps, fixations)
    assert values.isnan().tolist() == [True, True, False, False]
    assert torch.equal(values[2:], metric(maps[2:], fixations[2:]))  # neither reaches the other images


@pytest.mark.parametrize("name", FIXATION_METRICS)
@pytest.mark.parametrize("value", [0.0, 0.3, -7.0])
def test_a_constant_prediction_scores_chance(name, value):
    metric = FIXATION_METRICS[name]
    _, fixations = example(size=(37, 41))
    constant = torch.full((5, 37, 41), value)
    for maps in (constant, constant.double()):
        values = metric(maps, fixations)
        assert torch.isfinite(values).all()
        if (chance := CHANCE.get(name, 0.5)) is not None:
            assert (values == chance).all()
    assert metric(constant[0], fixations[0] * 0).isnan()


def test_a_map_that_is_constant_up_to_rounding_is_constant():
    _, fixations = example(batch=1)
    noise = torch.nextafter(torch.tensor(0.3), torch.tensor(1.0)) * torch.ones(1, 23, 31)
    noise[:, ::2] = 0.3
    assert m.nss(noise, fixations) == 0 and m.cc(noise, fixations) == 0
    assert m.nss(noise.double(), fixations) != 0  # in float64 these are two values


def test_density_metrics_where_undefined():
    maps, density = example(batch=4)
    density = density.double()
    maps[0, 1, 1] = NAN
    density[1, 2, 2] = NAN
    for name, metric in DENSITY_METRICS.items():
        assert metric(maps, density).isnan().tolist() == [True, True, False, False], name
    constant, uniform = torch.full((23, 31), 0.3), torch.ones(23, 31)
    assert m.cc(constant, density[2]) == 0
    assert m.cc(maps[2], constant).isnan() and m.cc(constant, constant).isnan()
    for metric in (m.sim, m.kl_divergence):
        for none in (constant, 0 * constant):
            torch.testing.assert_close(metric(none, density[2]), metric(uniform, density[2]), rtol=0, atol=1e-12)
            torch.testing.assert_close(metric(maps[2], none), metric(maps[2], uniform), rtol=0, atol=1e-12)


def test_every_pixel_fixated_leaves_nothing_to_compare_with():
    everywhere = torch.ones_like(RAMP)
    assert m.auc(RAMP, everywhere).isnan() and m.auc_judd(RAMP, everywhere).isnan()
    assert m.auc(RAMP, everywhere, negatives="all") == 0.5 and m.nss(RAMP, everywhere) == pytest.approx(0)
    assert m.auc_shuffled(RAMP, ON_3_AND_6, 0 * ON_3_AND_6).isnan()


@pytest.mark.parametrize("cells", [2, 2**14])
def test_infinite_values_have_a_rank_but_no_size(cells, monkeypatch):
    monkeypatch.setattr(ranking, "CELLS", cells)
    low, high = RAMP.clone(), RAMP.clone()
    low[0, 0], high[1, 2] = -math.inf, math.inf
    for s in (low, high):
        for metric in (m.auc, m.auc_judd, lambda s, f: m.auc_shuffled(s, f, ON_1_AND_TWICE_5)):
            for fixations in (ON_3_AND_6, ON_1_AND_TWICE_5):
                assert metric(s, fixations) == metric(RAMP, fixations)
        assert m.auc_borji(s, ON_3_AND_6).isnan() and m.nss(s, ON_3_AND_6).isnan()
        assert m.information_gain(s, ON_3_AND_6, RAMP).isnan() and m.information_gain(RAMP, ON_3_AND_6, s).isnan()
        for metric in DENSITY_METRICS.values():
            assert metric(s, RAMP).isnan() and metric(RAMP, s).isnan()


def test_zeros_in_a_density():
    spot = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    assert m.kl_divergence(spot, ON_5_AND_6, epsilon=0) == math.inf
    assert m.kl_divergence(ON_5_AND_6, spot, epsilon=0) == pytest.approx(math.log(2))
    assert 10 < m.kl_divergence(spot, ON_5_AND_6) < 20  # bounded by epsilon
    assert m.information_gain(spot, ON_3_AND_6, RAMP, min_max=False, epsilon=0) == -math.inf


@pytest.mark.parametrize("name", [*FIXATION_METRICS, *DENSITY_METRICS])
def test_sizes_that_differ_are_an_error(name):
    """Each with its own remedy: resizing does not help a batch axis."""
    metric = (FIXATION_METRICS | DENSITY_METRICS)[name]
    maps, fixations = example()
    batch, number = r"differ in the batch axis: give both with one", r"are \d and \d maps: give one for each$"
    resize, turn = r"must have one size: resize the prediction first", r"one of them is transposed: give both as \(H, W\)"
    for bad_map, bad_fixations, said in [
        (maps, fixations[0], batch), (maps[0], fixations, batch), (maps[:1], fixations[0], batch), (maps[:, 1:], fixations, resize + "$"),
        (maps[0, 1:], fixations[:1], resize + ", and give both a batch axis, or neither$"), (maps[:4], fixations, number),
        (maps.mT, fixations, turn), (maps.permute(1, 2, 0), fixations, turn), (maps[0].mT, fixations, turn + ".*batch axis"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=said):
            metric(bad_map, bad_fixations)
    for bad in (maps[:, None], maps[0, 0], maps[:, :0]):
        with pytest.raises(ValueError, match=r"^saliency_map must be \(H, W\) or \(B, H, W\) and not empty, got \("):
            metric(bad, fixations)


@pytest.mark.parametrize("shape, said", [((23, 30), "one size"), ((31, 23), "transposed"), ((4, 23, 31), "5 and 4 maps"),
                                         ((1, 23, 31), "5 and 1 maps")])
def test_one_map_for_a_whole_batch_must_fit_too(shape, said):
    maps, fixations = example()
    for call in (lambda bad: m.auc_shuffled(maps, fixations, bad), lambda bad: m.information_gain(maps, fixations, bad)):
        with pytest.raises(ValueError, match=said):
            call(torch.ones(shape, dtype=torch.int16))


def test_what_is_no_count_map_is_an_error():
    maps, fixations = example()
    for bad in (m.density_map(fixations, sigma=1), fixations.double() * NAN, fixations / 2):
        with pytest.raises(ValueError, match=r"^fixations must be a count map of whole numbers.*blurred map\?$"):
            m.nss(maps, bad)
        with pytest.raises(ValueError, match=r"^negatives must be a count map of whole numbers"):
            m.auc_shuffled(maps, fixations, bad)
    with pytest.raises(ValueError, match="negative counts"):
        m.auc(maps, -fixations)


MAPS, COUNTS = example(batch=2)


@pytest.mark.parametrize("metric, option, values", [
    (m.auc, "negatives", ["some", None, ("all",)]), (m.auc, "duplicates", ["no", None, 2]), (m.auc_judd, "ties", ["break", 1]),
    (m.auc_judd, "seed", [1.5, 2**64, "0", None, NAN]), (m.auc_judd, "duplicates", ["no"]),
    (m.auc_borji, "splits", [0, 2.5, "3", NAN, True]), (m.auc_borji, "step", [0, 1.5, NAN, 1e-300, "0.1", None]),
    (m.auc_borji, "seed", [0.5, -(2**63) - 1]), (m.auc_borji, "duplicates", ["no"]),
    (lambda s, f, **o: m.auc_shuffled(s, f, f, **o), "splits", [0, 1.5, NAN]),
    (lambda s, f, **o: m.auc_shuffled(s, f, f, **{"splits": 1} | o), "step", [1.5, NAN]),
    (lambda s, f, **o: m.auc_shuffled(s, f, f, **o), "seed", [1.5]), (lambda s, f, **o: m.auc_shuffled(s, f, f, **o), "duplicates", [[]]),
    (m.nss, "ddof", [-5, 2, 0.5, NAN, None, True]), (m.nss, "duplicates", ["no"]),
    (lambda s, f, **o: m.information_gain(s, f, s, **o), "epsilon", [-1, NAN, math.inf, "0"]),
    (lambda s, f, **o: m.information_gain(s, f, s, **o), "min_max", ["no"]),
    (lambda s, f, **o: m.information_gain(s, f, s, **o), "duplicates", ["no"]), (m.sim, "min_max", ["no"]),
    (m.kl_divergence, "epsilon", [-1, NAN, math.inf, None, 10**400]), (m.kl_divergence, "floor", [-1e-20, NAN, math.inf]),
    (lambda s, f, **o: m.density_map(f, **o), "sigma", [0, -1, NAN, math.inf, 1e9, "2", None]),
    (lambda s, f, **o: m.bristol_agreement(s, s, **o), "simpson", ["scipy", None]),
])
def test_options_out_of_range_are_errors(metric, option, values):
    for value in values:
        with pytest.raises(ValueError, match=rf"^{option} must be ") as error:
            metric(MAPS, COUNTS, **{option: value})
        assert "\n" not in str(error.value)


def test_options_may_be_numpys_and_torchs_numbers():
    """And the least and the most that each allows."""
    assert torch.equal(m.auc_borji(MAPS, COUNTS, splits=np.int64(3), step=np.float32(0.5), seed=torch.tensor(4)),
                       m.auc_borji(MAPS, COUNTS, splits=3, step=0.5, seed=4))
    for value in (m.auc_borji(MAPS, COUNTS, splits=1, step=1, seed=-1), m.auc_judd(MAPS, COUNTS, ties="jitter", seed=2**64 - 1),
                  m.nss(MAPS, COUNTS, ddof=0, duplicates=np.True_), m.kl_divergence(MAPS + 1, COUNTS, epsilon=0, floor=0)):
        assert torch.isfinite(value).all()
    assert torch.equal(m.density_map(COUNTS, sigma=5e-324), COUNTS.double())
    assert m.density_map(COUNTS, sigma=1e5).max() < 1e-3


# ---- the maps


def test_fixation_map_counts_x_along_the_width():
    counts = m.fixation_map([[2, 0], [2, 0], [0, 1]], (2, 3))
    assert counts.dtype == torch.int16 and counts.tolist() == [[0, 0, 2], [1, 0, 0]]
    assert m.fixation_map([], (2, 3)).sum() == 0
    assert torch.equal(m.fixation_map(np.array([[2, 0], [2, 0], [0, 1]], dtype=np.uint16), (2, 3)), counts)


@pytest.mark.parametrize("xy", [[[3, 0]], [[0, 2]], [[-1, 0]], [[0, 0], [0, -1]]])
def test_fixation_map_refuses_what_lies_outside(xy):
    with pytest.raises(ValueError, match=r"^1 fixations outside the image of 3 x 2, the first at x=-?\d, y=-?\d$"):
        m.fixation_map(xy, (2, 3))


def test_fixation_map_refuses_fractions_and_shapes():
    with pytest.raises(ValueError, match="round them first"):
        m.fixation_map([[0.5, 1.0]], (2, 3))
    with pytest.raises(ValueError, match=r"\(n, 2\), x first"):
        m.fixation_map([[0, 1, 2]], (2, 3))
    for bad in ([["a", "b"]], None, [[0, 1], [2]], torch.zeros(1, 2, dtype=torch.complex64), [[10**400, 1]]):
        with pytest.raises(ValueError, match="^fixations .*(give|x first)"):
            m.fixation_map(bad, (2, 3))


@pytest.mark.parametrize("size", [(2.0, 3.0), (2,), 6, (1, 2, 3), (0, 3), (2, -3), None, "23", ("2", "3"), (True, 3)])
def test_a_size_is_two_whole_numbers(size):
    for call in (lambda: m.fixation_map([[0, 0]], size), lambda: m.shuffled_map([[[0, 0]]] * 2, [size, (2, 3)], 1),
                 lambda: m.shuffled_map([[[0, 0]]] * 2, [size, (2, 3)], 0)):
        with pytest.raises(ValueError, match=r"size(s\[0\])? must be") as error:
            call()
        assert "\n" not in str(error.value)


def test_fixation_map_does_not_overflow():
    assert m.fixation_map([[1, 1]] * 32767, (2, 3)).max() == 32767
    with pytest.raises(ValueError, match="^32768 fixations on one pixel, a count map holds 32767$"):
        m.fixation_map([[1, 1]] * 32768, (2, 3))


def test_shuffled_map_pools_the_other_images_in_this_ones_size():
    fixations = [[[0, 0]], [[1, 0], [7, 3]], [[3, 1]], []]
    sizes = [(2, 4), (4, 8), (2, 4), (9, 9)]
    assert m.shuffled_map(fixations, sizes, 0).tolist() == [[1, 0, 0, 0], [0, 0, 0, 2]]
    large = m.shuffled_map(fixations, sizes, 1)
    assert large.shape == (4, 8) and large.nonzero().tolist() == [[0, 0], [2, 6]]
    assert m.shuffled_map(fixations, sizes, 0, others=[2]).sum() == 1
    with pytest.raises(ValueError, match="image 0 cannot be its own negative"):
        m.shuffled_map(fixations, sizes, 0, others=[0, 1])
    with pytest.raises(ValueError, match="4 images, but 3 sizes"):
        m.shuffled_map(fixations, sizes[:3], 0)


@pytest.mark.parametrize("index, others, said", [
    (-1, None, "index must be a whole number from 0 to 2, got -1"), (3, None, "index must be .*from 0 to 2, got 3"), (1.0, None, "index must be"),
    (True, None, "index must be"), (2, [-1], "others must be a whole number from 0 to 2, got -1"), (2, [0, 3], "others must be .*got 3"),
    (2, [0.0], "others must be"), (2, 0, "others must be a list"), (2, [0, np.int64(2)], "image 2 cannot be its own negative"),
])
def test_shuffled_map_counts_images_from_the_first(index, others, said):
    """An index from the end would pool the image's own fixations, and shuffled AUC would punish a good map."""
    with pytest.raises(ValueError, match=said):
        m.shuffled_map([[[0, 0]], [[1, 1]], [[2, 2]]], [(3, 3)] * 3, index, others=others)


@pytest.mark.parametrize("sigma", [0.4, 2.0, 9.3])
def test_density_map_is_scipys_gaussian_filter(sigma):
    ndimage = pytest.importorskip("scipy.ndimage")
    _, fixations = example(batch=2, size=(30, 47))
    blurred = m.density_map(fixations, sigma=sigma)
    expected = [ndimage.gaussian_filter(f.numpy().astype(float), sigma, mode="constant") for f in fixations]
    torch.testing.assert_close(blurred, torch.from_numpy(np.stack(expected)), rtol=0, atol=1e-12)
    assert blurred.sum() < fixations.sum()
    torch.testing.assert_close(m.density_map(fixations[0], sigma=sigma), blurred[0], rtol=0, atol=1e-14)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", [*FIXATION_METRICS, *DENSITY_METRICS])
def test_cuda_gives_the_same_values(name):
    maps, fixations = example()
    if name in FIXATION_METRICS:
        on_gpu = FIXATION_METRICS[name](maps.cuda(), fixations)
    else:
        on_gpu = DENSITY_METRICS[name](maps.cuda(), fixations.cuda())
    assert on_gpu.device.type == "cuda"
    torch.testing.assert_close(on_gpu.cpu(), (FIXATION_METRICS | DENSITY_METRICS)[name](maps, fixations), rtol=0, atol=1e-12)
