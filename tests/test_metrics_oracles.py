"""The saliency metrics against scikit-learn and pysaliency, on random maps and on OSIE's real fixations.

pysaliency 0.2.22 needs setuptools below 81 (`pkg_resources`), and `np.trapz`, which NumPy 2.4 no longer has: lent here.
Real data: ZOOM_REAL_DATA names a folder that holds osie/data/stimuli and osie/data/eye/fixations.mat.
"""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d, interpolate

from lib.metrics import saliency as m

IMAGES = 100  # of OSIE; every fifth


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads that other processes keep waiting made these tests take ten times as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def pysaliency(monkeypatch):
    if not hasattr(np, "trapz"):
        monkeypatch.setattr(np, "trapz", np.trapezoid, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("pysaliency", exc_type=ImportError)


@pytest.fixture
def roc_auc_score():
    return pytest.importorskip("sklearn.metrics").roc_auc_score


class Case:
    """Maps, fixations as coordinates (all, or once per pixel), and the same for pysaliency."""

    def __init__(self, maps: list[torch.Tensor], xy: list[torch.Tensor], *, once: bool = False) -> None:
        self.maps, self.sizes = maps, [tuple(s.shape) for s in maps]
        self.xy = [p.unique(dim=0) for p in xy] if once else xy
        self.counts = [m.fixation_map(p, size) for p, size in zip(self.xy, self.sizes, strict=True)]

    def ours(self, metric, *extra: list, **options) -> np.ndarray:
        """Per image; `extra` are lists of further maps."""
        return np.array([metric(*maps, **options).item() for maps in zip(self.maps, self.counts, *extra, strict=True)])

    def shuffled(self) -> list[torch.Tensor]:
        return [m.shuffled_map(self.xy, self.sizes, i) for i in range(len(self.xy))]

    def oracle(self, pysaliency, maps: list[torch.Tensor] | None = None, base=None):
        """(model, stimuli, fixations). A stimulus is an image of one value, its index, by which the model finds its map."""
        maps = self.maps if maps is None else maps

        def by_index(_, stimulus):
            return maps[int(stimulus[0, 0])].numpy()

        base = base or pysaliency.SaliencyMapModel
        model = type("ByIndex", (base,), {"_saliency_map": by_index, "_log_density": by_index})(caching=False)
        stimuli = pysaliency.Stimuli([np.broadcast_to(np.int32(i), size) for i, size in enumerate(self.sizes)])
        x, y = torch.cat(self.xy).numpy().T
        n = np.repeat(np.arange(len(self.xy)), [len(p) for p in self.xy])
        return model, stimuli, pysaliency.Fixations.create_without_history(x, y, n)

    def mean_per_image(self, values: np.ndarray) -> np.ndarray:
        """pysaliency's values per fixation."""
        return np.array([part.mean() for part in np.split(values, np.cumsum([len(p) for p in self.xy])[:-1])])


def random_case(*, once: bool = False, coarse: bool = False) -> Case:
    """Images of several sizes whose ratios are powers of two, where pysaliency's rounding of coordinates is exact."""
    g = torch.Generator().manual_seed(5)
    maps, xy = [], []
    for size in [(40, 64), (80, 128), (40, 32), (160, 64)] * 3:
        s = interpolate(torch.rand(1, 1, 5, 7, generator=g, dtype=torch.float64), size, mode="bicubic")[0, 0]
        maps.append((s.clamp(0, 1) * 12).floor() if coarse else s + 0.05 * torch.rand(size, generator=g, dtype=torch.float64))
        n = int(torch.randint(20, 90, (), generator=g))
        xy.append(torch.stack([torch.randint(size[1], (n,), generator=g), torch.randint(size[0], (n,), generator=g)], dim=1))
        xy[-1] = torch.cat([xy[-1], xy[-1][: n // 4]])  # a quarter of them twice
    return Case(maps, xy, once=once)


@pytest.fixture(scope="module")
def osie_case() -> Case:
    """Local contrast of the photographs as saliency."""
    root = Path(os.environ.get("ZOOM_REAL_DATA", ""), "osie")
    if "ZOOM_REAL_DATA" not in os.environ or not root.is_dir():
        pytest.skip("set ZOOM_REAL_DATA to a folder that holds osie/ (github.com/NUS-VIP/predicting-human-gaze-beyond-pixels)")
    pytest.importorskip("scipy.io")
    from lib.data.osie import OSIE

    data = OSIE(root)
    chosen = range(0, len(data), max(1, len(data) // IMAGES))[:IMAGES]
    assert len(chosen) == IMAGES
    return Case([contrast(data.image(i)) for i in chosen], [torch.from_numpy(data.fixations(i)) for i in chosen])


def contrast(image: np.ndarray) -> torch.Tensor:
    """(H, W, 3) -> (H, W) float64: standard deviation of the luminance over 40 x 40 pixels, smoothly enlarged."""
    grey = torch.from_numpy(image).double().mean(2)[None, None]
    variance = avg_pool2d(grey**2, 40, 20) - avg_pool2d(grey, 40, 20) ** 2
    return interpolate(variance.clamp_min(0).sqrt(), image.shape[:2], mode="bicubic")[0, 0].contiguous()


def assert_equal(ours, oracle, *, atol: float = 1e-9) -> None:
    difference = np.abs(np.asarray(ours) - np.asarray(oracle)).max()
    print(f"largest difference {difference:.2e} over {len(ours)} images")  # shown by pytest -s
    assert difference <= atol  # False for NaN as well


# ---- scikit-learn


def sklearn_auc(roc_auc_score, case: Case, **options) -> list[float]:
    values = []
    for s, f in zip(case.maps, case.counts, strict=True):
        count = f.flatten().numpy()
        weight = {"sample_weight": np.maximum(count, 1)} if options else {}
        values.append(roc_auc_score(count > 0, s.flatten().numpy(), **weight))
    return values


@pytest.mark.parametrize("coarse", [False, True])
def test_auc_is_scikit_learns(roc_auc_score, coarse):
    case = random_case(coarse=coarse)
    assert_equal(case.ours(m.auc), sklearn_auc(roc_auc_score, case))
    assert_equal(case.ours(m.auc, duplicates=True), sklearn_auc(roc_auc_score, case, duplicates=True))


def test_auc_is_scikit_learns_on_osie(roc_auc_score, osie_case):
    assert_equal(osie_case.ours(m.auc), sklearn_auc(roc_auc_score, osie_case))


# ---- pysaliency, random maps


@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize("coarse", [False, True])
def test_ranking_is_pysaliencys(pysaliency, once, coarse):
    """All fixations are `duplicates=True`, also for maps with ties; given each pixel once, the default agrees."""
    case = random_case(once=once, coarse=coarse)
    model, stimuli, fixations = case.oracle(pysaliency)
    options = {} if once else {"duplicates": True}
    for ours, theirs in (
        (case.ours(m.auc, **options), {"nonfixations": "unfixated"}),
        (case.ours(m.auc, negatives="all", **options), {"nonfixations": "uniform"}),
        (case.ours(m.auc_judd, **options), {"nonfixations": "unfixated", "thresholds": "fixations"}),
        (case.ours(m.auc_shuffled, case.shuffled(), **options), {"nonfixations": "shuffled"}),
    ):
        assert_equal(ours, model.AUC_per_image(stimuli, fixations, **theirs))
    mean = case.ours(m.auc_judd, **options).mean()
    assert mean == pytest.approx(model.AUC_Judd(stimuli, fixations, jitter=False), abs=1e-12)
    if not coarse:  # without ties, jitter hardly matters
        assert mean == pytest.approx(model.AUC_Judd(stimuli, fixations), abs=1e-4)


def test_sampled_shuffled_auc_approaches_the_exact_one_as_steps_shrink():
    case = random_case()
    sampled = case.ours(m.auc_shuffled, case.shuffled(), splits=300, step=0.002)
    once = [(n > 0).int() for n in case.shuffled()]
    np.testing.assert_allclose(sampled, case.ours(m.auc_shuffled, once), atol=0.02)


def test_values_are_pysaliencys(pysaliency):
    case = random_case()
    model, stimuli, fixations = case.oracle(pysaliency)
    nss = case.mean_per_image(model.NSSs(stimuli, fixations))
    assert_equal(case.ours(m.nss, duplicates=True, ddof=0), nss)
    pixels = np.array([s.numel() for s in case.maps])
    assert_equal(case.ours(m.nss, duplicates=True), nss * np.sqrt(1 - 1 / pixels))  # MATLAB divides by N - 1
    metrics = pysaliency.metrics
    for s, f in zip(case.maps, case.counts, strict=True):
        density = m.density_map(f, sigma=3)
        a, b = s.numpy(), density.numpy()
        assert_equal([m.cc(s, density)], [metrics.CC(a, b)])
        assert_equal([m.sim(s, density, min_max=False)], [metrics.SIM(a, b)])
        assert_equal([m.sim(s, density)], [metrics.SIM(a - a.min(), b - b.min())])
        for shift in (0.0, 3.0, -3.0):  # a negative minimum is raised to 0
            assert_equal([m.kl_divergence(s + shift, density)], [metrics.MIT_KLDiv(a + shift, b)], atol=1e-6)
            theirs = metrics.image_based_kl_divergence(a + shift, b)
            assert_equal([m.kl_divergence(s + shift, density, epsilon=0, floor=1e-20)], [theirs])


def test_constant_maps_are_pysaliencys_where_it_is_right(pysaliency):
    metrics, density = pysaliency.metrics, m.density_map(random_case().counts[0], sigma=3)
    constant = torch.full_like(density, 0.5)
    for ours, theirs in ((m.cc, metrics.CC), (m.kl_divergence, metrics.MIT_KLDiv)):
        assert_equal([ours(constant, density)], [theirs(constant.numpy(), density.numpy())])
    assert np.isnan(metrics.CC(density.numpy(), constant.numpy())) and m.cc(density, constant).isnan()
    assert_equal([m.sim(0 * constant, density, min_max=False)], [metrics.SIM(0 * constant.numpy(), density.numpy())])
    values = [metrics.NSS(np.full((h, 41), 0.3), [1], [1])[0] for h in range(3, 60)]
    assert any(values)  # pysaliency divides rounding by rounding for some sizes
    assert not any(m.nss(torch.full((h, 41), 0.3), m.fixation_map([[1, 1]], (h, 41))).item() for h in range(3, 60))


def test_information_gain_is_pysaliencys(pysaliency):
    case = random_case()
    densities = [(s - s.min() + 0.1) / (s - s.min() + 0.1).sum() for s in case.maps]
    baselines = [m.density_map(f, sigma=9) + 1e-3 for f in case.shuffled()]
    baselines = [b / b.sum() for b in baselines]
    model, stimuli, fixations = case.oracle(pysaliency, [d.log() for d in densities], pysaliency.Model)
    baseline, *_ = case.oracle(pysaliency, [b.log() for b in baselines], pysaliency.Model)
    theirs = case.mean_per_image(model.information_gains(stimuli, fixations, baseline))
    options = {"min_max": False, "duplicates": True}
    for epsilon, atol in ((0.0, 1e-9), (2.0**-52, 1e-6)):
        ours = Case(densities, case.xy).ours(m.information_gain, baselines, epsilon=epsilon, **options)
        assert_equal(ours, theirs, atol=atol)


# ---- pysaliency, OSIE


def test_osie_ranking_is_pysaliencys(pysaliency, osie_case):
    for case in (osie_case, Case(osie_case.maps, osie_case.xy, once=True)):
        once = all((f <= 1).all() for f in case.counts)
        model, stimuli, fixations = case.oracle(pysaliency)
        options = {} if once else {"duplicates": True}
        judd = model.AUC_per_image(stimuli, fixations, nonfixations="unfixated", thresholds="fixations")
        assert_equal(case.ours(m.auc_judd, **options), judd)
        shuffled = model.AUC_per_image(stimuli, fixations, nonfixations="shuffled")
        assert_equal(case.ours(m.auc_shuffled, case.shuffled(), **options), shuffled)


def test_osie_values_are_pysaliencys(pysaliency, osie_case):
    case, densities = osie_case, [m.density_map(counts, sigma=24) for counts in osie_case.counts]  # OSIE's own sigma
    model, stimuli, fixations = case.oracle(pysaliency)
    nss = case.mean_per_image(model.NSSs(stimuli, fixations))
    assert_equal(case.ours(m.nss, duplicates=True, ddof=0), nss)
    assert_equal(case.ours(m.nss, duplicates=True), nss, atol=5e-6)  # N - 1: a relative 1e-6
    maps = list(zip(case.maps, densities, strict=True))
    arrays = [(a.numpy(), b.numpy()) for a, b in maps]
    metrics = pysaliency.metrics
    assert_equal([m.cc(a, b) for a, b in maps], [metrics.CC(a, b) for a, b in arrays])
    assert_equal([m.sim(a, b, min_max=False) for a, b in maps], [metrics.SIM(a, b) for a, b in arrays])
    assert_equal([m.sim(a, b) for a, b in maps], [metrics.SIM(a - a.min(), b - b.min()) for a, b in arrays])
    with np.errstate(divide="ignore"):
        assert_equal([m.kl_divergence(a, b) for a, b in maps], [metrics.MIT_KLDiv(a, b) for a, b in arrays], atol=1e-6)
