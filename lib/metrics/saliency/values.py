"""Metrics of a map's values: NSS and information gain at fixations; CC, SIM and KL divergence against a density map.

Conventions, NaN, constant maps and the table of MIT against pysaliency are in the package's docstring. Everything is computed
in float64, a chunk of the batch at a time.

Deviations from MIT: a constant prediction scores 0 in NSS and CC (MATLAB divides 0 by 0), a constant or all-zero map is the
uniform density (MATLAB: 0/0, or stays zero), and a map with negative values is raised to a minimum of 0 for KL (MATLAB would
take the logarithm of negative numbers). pysaliency does all three.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lib.metrics.inputs import number, switches, whole
from lib.metrics.saliency.maps import Maps, as_float, chunks, constant, fixated, flattened, match, one_thread, per_image, rows

EPSILON = 2.0**-52  # MATLAB's eps; pysaliency writes 2.2204e-16


@one_thread()
def nss(saliency_map: Maps, fixations: Maps, *, duplicates: bool = False, ddof: int = 1) -> Tensor:
    """Normalised scanpath saliency: the mean z-score of the map at fixated pixels.

    `saliency_map`, `fixations` (a count map): (H, W) or (B, H, W). `duplicates`: a pixel counts as often as it was fixated.
    `ddof`: 1 divides by N - 1 as MATLAB's `std`, 0 by N; a relative difference of 1/(2N). Both switched is the mean of
    pysaliency's `NSS`. Returns (B,) or 0-d in standard deviations, 0 is chance. ValueError for sizes that differ, another `ddof`.

    Example:
        >>> nss([[0.0, 0.0], [2.0, 2.0]], [[0, 0], [0, 1]], ddof=0).item()  # the mean is 1, the standard deviation 1
        1.0
    """
    ddof = whole(ddof, "ddof", 0, 1)
    switches(duplicates=duplicates)
    saliency_map, fixations = match(saliency_map, fixations, "fixations")
    saliency_map = as_float(saliency_map)
    flat, (mean, deviation) = constant(rows(saliency_map)), _moments(saliency_map, ddof)  # (B,)
    image, pixel, weights = _fixated(rows(fixations), duplicates)
    values = rows(saliency_map)[image, pixel].to(torch.float64)
    excess = _average(values - mean[image], image, weights, len(mean))
    # A constant map's 0 times the excess is NaN where there are no fixations.
    score = torch.where(flat | (deviation == 0), 0.0 * excess, excess / deviation)
    return score.reshape(saliency_map.shape[:-2])


@one_thread()
def information_gain(saliency_map: Maps, fixations: Maps, baseline: Maps, *, min_max: bool = True, epsilon: float = EPSILON,
                     duplicates: bool = False) -> Tensor:
    """Information gain over a baseline: the mean log2 ratio of the two densities at fixated pixels.

    `saliency_map`, `fixations` (a count map), `baseline`: (H, W) or (B, H, W), or one (H, W) baseline for a batch; the field's
    baseline is a centre bias, the other images' fixations blurred (`density_map(shuffled_map(...))`). `min_max`: subtract
    each map's minimum before it is made to sum to 1. `epsilon` is added inside both logarithms. With `min_max=False,
    epsilon=0, duplicates=True` it is pysaliency's `Model.information_gain` of two densities. Returns (B,) or 0-d in bits per
    fixation; infinite where `epsilon=0` and a density is 0. ValueError for sizes that differ, `epsilon` < 0 or infinite.

    Example:
        >>> saliency, uniform = torch.tensor([[1.0, 1.0], [1.0, 5.0]]), torch.ones(2, 2)
        >>> gain = information_gain(saliency, [[0, 0], [0, 1]], uniform, min_max=False)
        >>> round(gain.item(), 3)  # five eighths where the baseline has two: log2(2.5)
        1.322
    """
    epsilon = number(epsilon, "epsilon", 0)
    switches(min_max=min_max, duplicates=duplicates)
    saliency_map, fixations = match(saliency_map, fixations, "fixations")
    _, baseline = match(saliency_map, baseline, "baseline", shared=True)

    one_for_all = baseline.ndim == 3 and len(baseline) > 1 and baseline.stride(0) == 0
    baseline = as_float(baseline[:1] if one_for_all else baseline)
    shared = _mass(baseline.reshape(1, -1), min_max) if one_for_all else None

    def score(maps: Tensor, counts: Tensor, *base: Tensor) -> Tensor:
        image, pixel, weights = _fixated(counts, duplicates)
        (own, total), (other, other_total) = _mass(maps, min_max), shared or _mass(base[0], min_max)
        row = torch.zeros_like(image) if shared else image
        ours = torch.log2(own[image, pixel] / total[image] + epsilon)
        theirs = torch.log2(other[row, pixel] / other_total[row] + epsilon)
        return _average(ours - theirs, image, weights, len(maps))

    return per_image(score, as_float(saliency_map), fixations, *([] if one_for_all else [baseline]))


@one_thread()
def cc(saliency_map: Maps, density: Maps) -> Tensor:
    """Linear correlation coefficient (Pearson) of the map and a density map.

    `saliency_map`, `density`: (H, W) or (B, H, W); MIT and pysaliency agree. Returns (B,) or 0-d in [-1, 1]; 0 for a constant
    prediction, NaN for a constant density. ValueError for sizes that differ.

    Example:
        >>> density = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
        >>> round(cc(5 * density + 7, density).item(), 3), cc(torch.ones(2, 2), density).item()
        (1.0, 0.0)
    """
    saliency_map, density = match(saliency_map, density, "density")

    def score(maps: Tensor, truth: Tensor) -> Tensor:
        (a, a_length, a_constant), (b, b_length, b_constant) = map(_centred, (maps, truth))
        value = torch.where(a_constant, 0.0 * b_length, torch.linalg.vecdot(a, b) / a_length / b_length)
        return torch.where(b_constant, torch.nan, value)

    return per_image(score, as_float(saliency_map), as_float(density))


@one_thread()
def sim(saliency_map: Maps, density: Maps, *, min_max: bool = True) -> Tensor:
    """Similarity, or histogram intersection: the sum of the smaller of the two densities.

    `saliency_map`, `density`: (H, W) or (B, H, W). `min_max`: subtract each map's minimum before it is made to sum to 1, as
    MIT does so that a map gains nothing by being above 0 everywhere; `False` is pysaliency, which does so only for a
    negative minimum. Returns (B,) or 0-d in [0, 1]. ValueError for sizes that differ.

    Example:
        >>> sim([[0.0, 1.0], [1.0, 2.0]], [[0.0, 1.0], [2.0, 1.0]]).item()
        0.75
    """
    switches(min_max=min_max)
    saliency_map, density = match(saliency_map, density, "density")

    def score(maps: Tensor, truth: Tensor) -> Tensor:
        if not min_max and (found := _overlap(maps, truth)) is not None:
            return found
        a, b = _density(maps, min_max), _density(truth, min_max)
        return torch.minimum(a, b, out=a).sum(1)

    return per_image(score, as_float(saliency_map), as_float(density))


@one_thread()
def kl_divergence(saliency_map: Maps, density: Maps, *, epsilon: float = EPSILON, floor: float = 0.0) -> Tensor:
    """Kullback-Leibler divergence of the prediction from the density G: sum G log(epsilon + G / (S + epsilon)), in nats.

    `saliency_map`, `density`: (H, W) or (B, H, W), prediction first. Both are made to sum to 1 after `floor` is added to every
    pixel. The defaults are MIT's and pysaliency's `MIT_KLDiv`; `epsilon=0, floor=1e-20` is pysaliency's
    `image_based_kl_divergence`. Returns (B,) or 0-d, 0 is best, infinite where `epsilon=0` and a prediction is 0 where the
    density is not. ValueError for sizes that differ, `epsilon` or `floor` below 0 or infinite.

    Example:
        >>> round(kl_divergence(torch.ones(2, 2), [[1.0, 0.0], [0.0, 0.0]]).item(), 3)  # one of four: ln 4
        1.386
    """
    epsilon, floor = number(epsilon, "epsilon", 0), number(floor, "floor", 0)
    saliency_map, density = match(saliency_map, density, "density")

    def score(maps: Tensor, truth: Tensor) -> Tensor:
        s, g = _density(maps, False, floor), _density(truth, False, floor)
        terms = torch.div(g, s.add_(epsilon), out=s).add_(epsilon).log_().mul_(g)
        return (terms if epsilon > 0 else torch.where(g == 0, 0.0, terms)).sum(1)

    return per_image(score, as_float(saliency_map), as_float(density))


def _moments(maps: Tensor, ddof: int) -> tuple[Tensor, Tensor]:
    """(B, H, W) -> mean and standard deviation (B,); a map is read twice, without a temporary, where that is exact enough."""
    parts, pixels = [part for (part,) in chunks(maps)], maps.shape[-2] * maps.shape[-1]
    means, powers = [torch.zeros(0, dtype=torch.float64, device=maps.device)], [torch.zeros(0, dtype=torch.float64, device=maps.device)]
    for part in parts:
        part = part.to(torch.float64)
        means.append(part.mean(1))
        powers += [torch.dot(row, row)[None] for row in part]
    mean, power = torch.cat(means), torch.cat(powers) / pixels
    variance = power - mean.square()
    cancelled = variance < 1e-3 * power  # too little is left of the difference: for constant maps only rounding
    if cancelled.any():
        centred = (part.to(torch.float64) - own[:, None] for part, own in zip(parts, means[1:], strict=True))
        exact = torch.cat([torch.linalg.vector_norm(part, dim=1).square() / pixels for part in centred])
        variance = torch.where(cancelled, exact, variance)
    return mean, (variance * (pixels / max(pixels - ddof, 1))).sqrt()


def _centred(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(b, N) -> the map less its mean in float64 (b, N), its Euclidean length (b,), and whether the map is constant (b,).

    Not `length == 0`: the mean of N times 0.3 is off by 5.6e-17 for some N, and the quotient would be 1.
    """
    flat, maps = constant(maps), maps.to(torch.float64)
    centred = maps - maps.mean(1, keepdim=True)
    length = torch.linalg.vector_norm(centred, dim=1)
    return centred, length, flat | (length == 0)  # 0 also where squares are too small for float64


def _mass(maps: Tensor, min_max: bool, floor: float = 0.0) -> tuple[Tensor, Tensor]:
    """(b, N) -> non-negative float64 (b, N) and their sum (b,); ones where nothing is left to divide, NaN for infinities."""
    maps = flattened(maps).to(torch.float64)
    low = maps.amin(1, keepdim=True)
    shift = low if min_max else low.clamp_max(0.0)
    if shift.any():
        maps = maps - shift
    if floor:  # not in one step with the shift, which would swallow it
        maps = maps + floor
    total = maps.sum(1)
    empty = total == 0
    if empty.any():
        maps = torch.where(empty[:, None], 1.0, maps)
        total = torch.where(empty, float(maps.shape[1]), total)
    return maps, torch.where(torch.isfinite(total), total, torch.nan)


def _density(maps: Tensor, min_max: bool, floor: float = 0.0) -> Tensor:
    """(b, N) -> (b, N) float64 that sums to 1, and may be written to. Min-max's division by the maximum would drop out."""
    maps, total = _mass(maps, min_max, floor)
    return maps / total[:, None]


def _overlap(maps: Tensor, truth: Tensor) -> Tensor | None:
    """Sum of the smaller of two densities (b,), without a division of every pixel; None where a map is not plainly a density.

    The sum of min(a / A, b / B) is that of min(a, b A / B), over A; the last digit may differ.
    """
    if constant(maps).any() or constant(truth).any():
        return None
    maps, truth = maps.to(torch.float64), truth.to(torch.float64)
    mass, true_mass = maps.sum(1), truth.sum(1)
    if not all((torch.isfinite(total) & (total > 0)).all() for total in (mass, true_mass)):
        return None
    scaled = truth * (mass / true_mass)[:, None]
    smaller = torch.minimum(maps, scaled, out=scaled)
    return None if (smaller.amin(1) < 0).any() else smaller.sum(1) / mass


def _fixated(count_maps: Tensor, duplicates: bool) -> tuple[Tensor, Tensor, Tensor]:
    """(b, N) count maps -> row, column and float64 weight of each fixated pixel."""
    where, counts = fixated(count_maps.reshape(-1), "fixations")
    weights = counts if duplicates else torch.ones_like(counts)
    return where // count_maps.shape[1], where % count_maps.shape[1], weights.to(torch.float64)


def _average(values: Tensor, image: Tensor, weights: Tensor, images: int) -> Tensor:
    """Weighted mean of the values of each image, (images,)."""
    total, weight = (values.new_zeros(images).index_add_(0, image, v) for v in (values * weights, weights))
    return total / weight
