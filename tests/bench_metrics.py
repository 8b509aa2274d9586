"""How long the saliency metrics take per map, and pysaliency's on the same maps in the same run: `make bench`.

    python tests/bench_metrics.py [--maps 500] [--dtype float64]

Maps of 600x800, smooth noise made here; some 140 fixations each, scattered around the centre, as 15 observers leave in OSIE.
Both sides get the same arrays, a part of the batch in turns, so that whatever else the machine does hits both. pysaliency's
column calls its own functions on one image, which are the bodies of its `AUC_per_image`, `AUCs` and metrics, without the
overhead of its models and stimuli; its AUC-Judd is without jitter. Without pysaliency only our column is printed.

Expected, seconds of the processor, 10 maps on an AMD EPYC whose memory other work kept busy, ms per map, ours and pysaliency's:

    AUC 4.1, 18 (4.5 times)    AUC-Judd 4.5, 9.3 (2.1)    CC 3.3, 8.5 (2.6)    SIM 2.0, 4.3 (2.1)    KL 5.3, 22 (4.2)
    information gain 2.4, 5.1 (2.1)    NSS 1.0, 1.3 (1.3): the map is read twice and the count map once, and reading is all that it costs

Wall time of all 500 maps on a less busy day, with the code before: AUC 2.4, 51, AUC-Judd 2.5, 25, NSS 0.45, 0.53, SIM 1.1, 1.7, shuffled AUC 2.0, 5.4
(gathering the negatives included: 4.1, 5.4).

Shuffled AUC is against the fixations of all other images, so its time depends on --maps: below some 150 pysaliency, which is
given coordinates, is faster, as reading two count maps takes a millisecond.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.metrics import saliency as m

SIZE = (600, 800)
PART = 20  # maps in memory at a time
REQUIRED = {"AUC-Judd": 4.0}  # times as fast as pysaliency; every other metric: not slower


def smooth_noise(count: int, generator: torch.Generator, dtype: torch.dtype) -> torch.Tensor:
    """(count, 600, 800), positive, without ties to speak of."""
    coarse = torch.rand(count, 1, 15, 20, generator=generator)
    return interpolate(coarse, SIZE, mode="bicubic")[:, 0].to(dtype).clamp_min(0) + 1e-3


def scattered(generator: torch.Generator) -> torch.Tensor:
    """(n, 2) fixations, x first."""
    n = int(torch.randint(110, 170, (), generator=generator))
    spread = torch.randn(n, 2, generator=generator) * torch.tensor([160.0, 110.0]) + torch.tensor([400.0, 300.0])
    return spread.round().long().clamp(torch.tensor(0), torch.tensor([799, 599]))


def our_side(xy: list[torch.Tensor]) -> dict[str, Callable]:
    """name -> function of a part of the batch: maps, counts, densities, negatives, baseline, image numbers."""
    sizes = [SIZE] * len(xy)

    def gather_and_score(s, f, d, n, b, i):
        return m.auc_shuffled(s, f, torch.stack([m.shuffled_map(xy, sizes, k) for k in i]), duplicates=True)

    return {
        "AUC": lambda s, f, d, n, b, i: m.auc(s, f, duplicates=True),
        "AUC-Judd": lambda s, f, d, n, b, i: m.auc_judd(s, f, duplicates=True),
        "AUC-Judd, jitter": lambda s, f, d, n, b, i: m.auc_judd(s, f, ties="jitter"),
        "AUC-Borji": lambda s, f, d, n, b, i: m.auc_borji(s, f),
        "shuffled AUC": lambda s, f, d, n, b, i: m.auc_shuffled(s, f, n, duplicates=True),
        "shuffled AUC, negatives gathered": gather_and_score,
        "NSS": lambda s, f, d, n, b, i: m.nss(s, f, duplicates=True, ddof=0),
        "CC": lambda s, f, d, n, b, i: m.cc(s, d),
        "SIM": lambda s, f, d, n, b, i: m.sim(s, d, min_max=False),
        "KL": lambda s, f, d, n, b, i: m.kl_divergence(s, d),
        "information gain": lambda s, f, d, n, b, i: m.information_gain(s, f, b, min_max=False, epsilon=0, duplicates=True),
    }


def their_side(xy: list[torch.Tensor]) -> dict[str, Callable]:
    """name -> function of one image: map, density, log baseline (NumPy), image number; {} where pysaliency is missing."""
    if not hasattr(np, "trapz"):
        np.trapz = np.trapezoid  # pysaliency 0.2.22 needs it, NumPy 2.4 dropped it
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pysaliency
            from pysaliency.roc import general_roc, general_rocs_per_positive
            from pysaliency.saliency_map_models import FullShuffledNonfixationProvider, _get_unfixated_values
    except ImportError as error:
        print(f"pysaliency cannot be imported ({error}): our times only")
        return {}
    metrics = pysaliency.metrics
    points = [p.numpy().T for p in xy]
    stimuli = pysaliency.Stimuli([np.broadcast_to(np.int32(i), SIZE) for i in range(len(xy))])
    numbers = np.repeat(np.arange(len(xy)), [len(p) for p in xy])
    fixations = pysaliency.Fixations.create_without_history(*np.concatenate(points, axis=1), numbers)

    def area(s, i, judd):
        x, y = points[i]
        return general_roc(s[y, x].astype(float), _get_unfixated_values(s, y, x).astype(float), judd=judd)[0]

    def shuffled(s, i):
        x, y = FullShuffledNonfixationProvider(stimuli, fixations).nonfixations_for_image(i)
        at_x, at_y = points[i]
        return general_rocs_per_positive(s[at_y, at_x].astype(float), s[y, x].astype(float)).mean()

    def gain(s, i, log_baseline):
        x, y = points[i]
        log_density = np.log(metrics.convert_saliency_map_to_density(s))
        return ((log_density[y, x] - log_baseline[y, x]) / np.log(2)).mean()

    return {
        "AUC": lambda s, d, b, i: area(s, i, 0),
        "AUC-Judd": lambda s, d, b, i: area(s, i, 1),
        "shuffled AUC": lambda s, d, b, i: shuffled(s, i),
        "shuffled AUC, negatives gathered": lambda s, d, b, i: shuffled(s, i),
        "NSS": lambda s, d, b, i: metrics.NSS(s, *points[i]).mean(),
        "CC": lambda s, d, b, i: metrics.CC(s, d),
        "SIM": lambda s, d, b, i: metrics.SIM(s, d),
        "KL": lambda s, d, b, i: metrics.MIT_KLDiv(s, d),
        "information gain": lambda s, d, b, i: gain(s, i, b),
    }


class Clock:
    """Seconds and the largest difference of the two sides, by metric."""

    def __init__(self) -> None:
        self.ours: dict[str, float] = {}
        self.theirs: dict[str, float] = {}
        self.difference: dict[str, float] = {}

    def time(self, into: dict[str, float], name: str, call: Callable, *arguments) -> np.ndarray:
        start = time.perf_counter()
        values = np.asarray(call(*arguments))
        into[name] = into.get(name, 0.0) + time.perf_counter() - start
        return values


def measure(maps: int, dtype: torch.dtype) -> Clock:
    generator, clock = torch.Generator().manual_seed(0), Clock()
    xy = [scattered(generator) for _ in range(maps)]
    ours, theirs = our_side(xy), their_side(xy)
    baseline = smooth_noise(1, generator, dtype)[0]
    log_baseline = np.log((baseline / baseline.sum()).numpy())
    warm_up = True
    for start in [0, *range(0, maps, PART)]:  # the first part twice, once unmeasured: Numba compiles, allocators grow
        part = range(start, min(start + PART, maps))
        s, d = smooth_noise(len(part), generator, dtype), smooth_noise(len(part), generator, dtype)
        f = torch.stack([m.fixation_map(xy[i], SIZE) for i in part])
        n = torch.stack([m.shuffled_map(xy, [SIZE] * maps, i) for i in part])
        target = Clock() if warm_up else clock
        for name, call in ours.items():
            values = target.time(target.ours, name, call, s, f, d, n, baseline, part)
            if name in theirs:
                images = s.numpy(), d.numpy(), [log_baseline] * len(part), part
                other = target.time(target.theirs, name, lambda *lists: list(map(*lists)), theirs[name], *images)
                target.difference[name] = max(target.difference.get(name, 0.0), float(np.abs(values - other).max()))
        warm_up = False
    return clock


def report(clock: Clock, maps: int) -> bool:
    """Print the table; whether every metric is as fast as it must be."""
    print(f"{'metric':34}{'ours, ms':>10}{'pysaliency, ms':>16}{'ratio':>8}{'largest difference':>20}")
    good = True
    for name, seconds in clock.ours.items():
        line = f"{name:34}{1e3 * seconds / maps:10.2f}"
        if name in clock.theirs:
            ratio = clock.theirs[name] / seconds
            good &= ratio >= REQUIRED.get(name, 1.0)
            line += f"{1e3 * clock.theirs[name] / maps:16.2f}{ratio:8.1f}{clock.difference[name]:20.1e}"
        print(line)
    if clock.theirs:
        print(f"{'every metric is' if good else 'NOT every metric is'} as fast as pysaliency, and AUC-Judd 4 times as fast")
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--maps", type=int, default=500)
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float64", help="float32 costs both a conversion")
    options = parser.parse_args()
    if options.maps < 2:
        parser.error("--maps must be at least 2")
    torch.set_num_threads(1)  # as the metrics do themselves; pysaliency has one
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"{options.maps} maps of 600x800, {options.dtype}; {os.cpu_count()} cores{load}, one thread on either side; ", end="")
    print(f"torch {torch.__version__}, NumPy {np.__version__}, {platform.machine()}")
    start = time.perf_counter()
    with np.errstate(divide="ignore"):
        good = report(measure(options.maps, getattr(torch, options.dtype)), options.maps)
    print(f"{time.perf_counter() - start:.0f} s in all")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
