"""Protects: what a map is, is the same for all saliency metrics: shapes, kinds of arrays, and when it is constant."""

import numpy as np
import pytest
import torch
from PIL import Image
from test_metrics_saliency import DENSITY_METRICS, FIXATION_METRICS, example
from torch.nn.functional import interpolate

from lib.metrics import saliency as m
from lib.metrics.classification import top_k
from lib.metrics.gaze import dot_error_cm, error_cm

SIZE = (23, 31)
ELSEWHERE = torch.randint(0, 3, SIZE, generator=torch.Generator().manual_seed(99))
METRICS = FIXATION_METRICS | DENSITY_METRICS | {
    "auc_shuffled": lambda s, f: m.auc_shuffled(s, f, ELSEWHERE), "auc_shuffled mit": lambda s, f: m.auc_shuffled(s, f, ELSEWHERE, splits=20),
    "information_gain": lambda s, f: m.information_gain(s, f, ELSEWHERE), "bristol": m.bristol_agreement}


def truth(name: str) -> torch.Tensor:
    """(H, W): fixations or a density for a metric."""
    maps, fixations = example(size=SIZE)
    return fixations[2] if name in FIXATION_METRICS else maps[1]


def nearly(value: float, dtype: torch.dtype) -> torch.Tensor:
    """(H, W): a constant map that was resized bicubically, and so is constant up to a few roundings."""
    grown = interpolate(torch.full((1, 1, 9, 11), value, dtype=dtype), SIZE, mode="bicubic", antialias=True)[0, 0]
    assert grown.unique().numel() > 1, "no noise: nothing is tested"
    return grown


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", METRICS)
def test_a_constant_map_is_constant_for_every_metric_after_resizing(name, dtype):
    """Ranks, quotients and stretched values alike: exactly the score of the map without the noise."""
    for value in (0.3, 0.7, 211.0):
        noisy = nearly(value, dtype)
        if name != "auc_judd jitter":  # whose noise is larger, and its own
            exact = float(METRICS[name](torch.full(SIZE, value, dtype=dtype), truth(name)))
            assert float(METRICS[name](noisy, truth(name))) == pytest.approx(exact, abs=1e-12)
    batch = torch.stack([nearly(0.3, dtype), torch.rand(SIZE, generator=torch.Generator().manual_seed(0), dtype=dtype)])
    if name not in ("bristol",):
        one_by_one = [float(METRICS[name](image, truth(name))) for image in batch]
        assert METRICS[name](batch, truth(name).expand(2, *SIZE)).tolist() == pytest.approx(one_by_one, abs=1e-12)


@pytest.mark.parametrize("name", DENSITY_METRICS)
def test_a_constant_density_is_constant_after_resizing_too(name):
    maps = example(size=SIZE)[0][0].float()
    noisy, exact = (DENSITY_METRICS[name](maps, density) for density in (nearly(0.3, torch.float32), torch.full(SIZE, 0.3)))
    assert torch.allclose(noisy, exact, equal_nan=True, atol=1e-12) and bool(noisy.isnan()) == (name == "cc")


@pytest.mark.parametrize("name", METRICS)
def test_small_differences_are_no_noise(name):
    """A map whose values differ by 1e-4 of their size is scored; only the last bits are noise."""
    maps = example(size=SIZE)[0][3]
    near = (1 + 1e-4 * maps).float()
    flat = float(METRICS[name](torch.ones(SIZE), truth(name)))
    assert float(METRICS[name](near, truth(name))) != flat or name in ("kl", "sim shift", "information_gain") and flat == pytest.approx(
        float(METRICS[name](near, truth(name))), abs=1e-3)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_channels_are_no_batch(name, channels):
    maps = np.random.default_rng(0).random((*SIZE, channels))
    with pytest.raises(ValueError, match=r"looks like \(H, W, channels\).*give one channel") as error:
        METRICS[name](maps, truth(name))
    assert "\n" not in str(error.value)


def test_small_maps_in_a_batch_are_still_a_batch():
    maps, counts = torch.rand(4, 5, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(4, 5, 3, dtype=torch.int16)
    counts[:, 2, 1] = 1
    assert m.auc(maps, counts).shape == (4,)


@pytest.mark.parametrize("name", METRICS)
def test_arrays_lists_and_pictures_are_taken(name):
    levels = np.random.default_rng(0).integers(0, 256, SIZE, dtype=np.uint8)
    wanted = float(METRICS[name](torch.from_numpy(levels).double(), truth(name)))
    for values in (levels, levels.tolist(), levels.astype(">f4"), levels.astype("<f8"), levels.astype(">u2"), Image.fromarray(levels),
                   Image.fromarray(levels.astype(np.uint16)), levels[::-1][::-1]):
        assert float(METRICS[name](values, truth(name))) == pytest.approx(wanted, rel=1e-6), type(values)


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint32, torch.uint64, torch.float16, torch.bfloat16, torch.bool, torch.float8_e4m3fn])
@pytest.mark.parametrize("name", METRICS)
def test_every_type_of_number_is_taken_on_both_sides(name, dtype):
    """torch has types that it neither compares nor clamps."""
    maps, count = example(size=SIZE)[0][1] > 0.3, truth(name) > 0.2
    wanted = float(METRICS[name](maps.double(), count.double()))
    for given in (METRICS[name](maps.to(dtype), count.double()), METRICS[name](maps.double(), count.to(dtype))):
        assert float(given) == pytest.approx(wanted, abs=1e-12)


def masked(values, at) -> np.ma.MaskedArray:
    return np.ma.masked_array(np.asarray(values), mask=at)


RAMPS, DIAGONAL, POINTS = np.arange(40.0).reshape(2, 4, 5) / 40, np.eye(4, 5, dtype=int), np.array([[0, 1], [2, 3]])
ELEMENTS = {  # every public function of arrays, and its arguments
    "cc": (m.cc, [RAMPS, RAMPS]), "nss": (m.nss, [RAMPS, np.stack([DIAGONAL] * 2)]), "bristol": (m.bristol_agreement, [RAMPS, RAMPS]),
    "auc_shuffled": (m.auc_shuffled, [RAMPS[0], DIAGONAL, np.eye(4, 5, k=1, dtype=int)]),
    "information_gain": (m.information_gain, [RAMPS[0], DIAGONAL, np.ones((4, 5))]),
    "density_map": (lambda f: m.density_map(f, sigma=1), [DIAGONAL]), "fixation_map": (lambda xy: m.fixation_map(xy, (4, 5)), [POINTS]),
    "shuffled_map": (lambda xy: m.shuffled_map([[[0, 0]], xy], [(4, 5)] * 2, 0), [POINTS]),
    "top_k": (lambda logits, labels: top_k(logits, labels, k=(1, 2))[1], [np.arange(6.0).reshape(2, 3), np.array([0, 1])]),
    "error_cm": (error_cm, [POINTS / 2, POINTS / 4]), "dot_error_cm": (dot_error_cm, [POINTS / 2, POINTS / 4, np.array([0, 1])]),
}


@pytest.mark.parametrize("name", ELEMENTS)
def test_a_mask_is_refused_where_it_masks_and_byte_orders_are_converted(name):
    """A dropped mask scores what the caller meant to leave out."""
    function, arguments = ELEMENTS[name]
    wanted = function(*arguments)
    for place, values in enumerate(arguments):
        def given(changed, place=place):
            return function(*arguments[:place], changed, *arguments[place + 1:])

        for same in (masked(values, np.False_), masked(values, np.zeros(values.shape, bool)), values.astype(values.dtype.newbyteorder("S")),
                     list(values.astype(values.dtype.newbyteorder("S")))):
            assert torch.equal(given(same), wanted)
        some = np.zeros(values.shape, bool)
        some.flat[1] = True
        for bad in (masked(values, some), list(masked(values, some))):
            with pytest.raises(ValueError, match=r"is a masked array, 1 of its .*fill it") as error:
                given(bad)
            assert "\n" not in str(error.value)
        for bad in (np.full(values.shape, "a"), None, values + 1j, torch.zeros(values.shape).to_sparse()):
            with pytest.raises(ValueError) as error:
                given(bad)
            assert "\n" not in str(error.value)


@pytest.mark.parametrize("values, said", [
    (Image.new("RGB", SIZE[::-1]), "mode RGB"), (Image.new("P", SIZE[::-1]), "mode P"), (Image.new("LA", SIZE[::-1]), "mode LA"),
    (torch.zeros(SIZE, dtype=torch.complex64), "complex"), (torch.zeros(SIZE).to_sparse(), "sparse"), (np.full(SIZE, "a"), "no array of numbers"),
    (None, "no array of numbers"), (np.full(SIZE, None), "no array of numbers"), (torch.zeros(2, 3, *SIZE), "must be"),
])
def test_what_is_no_map_is_one_line(values, said):
    for name in ("auc", "nss", "cc", "bristol"):
        with pytest.raises(ValueError, match=said) as error:
            METRICS[name](values, truth(name))
        assert "saliency_map" in str(error.value) and "\n" not in str(error.value)
