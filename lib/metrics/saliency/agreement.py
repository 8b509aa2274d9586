"""Threshold-swept pixel agreement: what a university coursework on Mr-CNN calls AUC, and is not an AUC.

For 20 thresholds p from 0 to 1 it counts the pixels on which "prediction above p" and "blurred map above p" say the same, and
integrates the shares over p. No hit rate and no false alarm rate enter. Means over 40 drawn maps of 768 x 1024 with the exact
AUC, and over the 100 published maps of MIT1003 that were at hand (they come without points, so without an AUC):

    prediction                      drawn       AUC     MIT1003
    the blurred map itself          0.950       .977    0.950       the ceiling: 19 intervals / 20
    that map ^0.5                   .917        .977    .907        the same ranking of pixels, another score
    that map ^4                     .925        .977    .926
    one hot pixel in a corner       .917        .500    .917
    a constant map                  .917        .500    .917        most of a blurred map is black
    noise^20                        .871        .502    .874        the peakier, the better
    a centre Gaussian               .649        .794    .652        predicts, and scores less than a blank map
    uniform noise                   .494        .505    .496

It is here to set the coursework's numbers beside others, never to rank models. Described from the code of
github.com/LewisClifton/ADL-Coursework and github.com/ZehuaLiuY/Republish-Predicting-Eye-Fixations, whose logs show two collapsed
networks at .9162, above every trained one.

Deviations: a map that is constant counts as all zeros where the original divides 0 by 0 (the same score: its NaN are above no
threshold either); NaN in a map is NaN for that image; Simpson's rule is written out, for SciPy's answer depends on its version.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lib.metrics.inputs import as_whole
from lib.metrics.saliency.maps import Maps, as_float, flattened, match, one_thread, per_image

THRESHOLDS = 20
SLACK = 1e-5  # what resizing a map in float32 may add to its maximum


@one_thread()
def bristol_agreement(saliency_map: Maps, density_map: Maps, *, simpson: str = "scipy-1.11") -> Tensor:
    """Threshold-swept pixel agreement with a blurred map, the coursework's "AUC"; higher for emptier maps, 0.95 at most.

    `saliency_map`, `density_map`: (H, W) or (B, H, W), prediction first. The prediction is stretched to [0, 1]; the blurred map
    is used as it is, uint8 divided by 255, or else within [0, 1]: its scale matters here. `simpson`: "scipy-1.11", the rule of
    SciPy 1.11 and later (Cartwright's correction of the last interval), or "scipy-1.10", that of earlier ones, the mean of
    a trapezoid at either end; about 3e-4 apart. Returns float64 (B,) or 0-d. ValueError for sizes that differ, a blurred map
    beyond [0, 1], or another `simpson`.

    Example:
        >>> blurred = torch.zeros(20, 20)
        >>> blurred[9:11, 9:11] = 1
        >>> [round(bristol_agreement(saliency, blurred).item(), 3) for saliency in (blurred, torch.ones(20, 20))]  # itself, and a constant
        [0.95, 0.941]
    """
    weights = simpson_weights(THRESHOLDS, simpson)
    saliency_map, density_map = match(saliency_map, density_map, "density_map")
    if density_map.dtype == torch.uint8:
        density_map = density_map.to(torch.float64) / 255
    density_map = as_float(density_map)  # torch compares no uint16
    if density_map.numel() and ((density_map < -SLACK) | (density_map > 1 + SLACK)).any():
        raise ValueError(f"density_map must lie within [0, 1], or be uint8, got {float(density_map.min()):g} to {float(density_map.max()):g}")
    density_map = density_map.clamp(0, 1)

    def score(maps: Tensor, truth: Tensor) -> Tensor:
        maps, truth = flattened(maps).to(torch.float64), truth.to(torch.float64)
        low, high = maps.amin(1, keepdim=True), maps.amax(1, keepdim=True)
        span = torch.where(high == low, 1.0, high - low)  # constant: 0 / 1, all zeros
        value = (_agreement((maps - low) / span, truth) * weights.to(maps.device)).sum(1) / THRESHOLDS
        undefined = ~torch.isfinite(span[:, 0] + truth.sum(1))
        return torch.where(undefined, torch.nan, value)

    return per_image(score, as_float(saliency_map), density_map)


def _agreement(maps: Tensor, truth: Tensor) -> Tensor:
    """(b, N) twice -> (b, THRESHOLDS): the share of pixels that are above a threshold in both maps or in neither.

    One pass instead of 20: a value is above its first k thresholds and no others, so two values disagree from the smaller k up
    to the larger. Those steps are counted, and summed up.
    """
    levels = torch.from_numpy(np.linspace(0, 1, THRESHOLDS)).to(maps.device)  # torch's own differs in the last bit
    a, b = (torch.bucketize(values, levels) for values in (maps, truth))  # k = how many levels are below the value
    row = torch.arange(len(maps), device=maps.device)[:, None] * (THRESHOLDS + 1)
    cells = len(maps) * (THRESHOLDS + 1)
    starts, ends = (torch.bincount((k + row).reshape(-1), minlength=cells) for k in (torch.minimum(a, b), torch.maximum(a, b)))
    disagree = (starts - ends).reshape(len(maps), -1).cumsum(1)[:, :THRESHOLDS]
    return 1 - disagree.to(torch.float64) / maps.shape[1]


def simpson_weights(points: int, rule: str = "scipy-1.11") -> Tensor:
    """(points,) float64: the weights of Simpson's rule for an even number of samples at distance 1, as SciPy has it.

    The parabolas need an odd number of samples. "scipy-1.11": the last interval is the parabola through the last three samples
    (Cartwright 2017). "scipy-1.10": the mean of a trapezoid at the end and one at the beginning. ValueError for other rules.

    Example:
        >>> samples = torch.linspace(0, 1, 20, dtype=torch.float64)  # the integral of x^2 from 0 to 1
        >>> round((samples**2 @ simpson_weights(20)).item() / 19, 6)
        0.333333
    """
    if rule not in ("scipy-1.10", "scipy-1.11"):
        raise ValueError(f"simpson must be 'scipy-1.11' or 'scipy-1.10', got {rule!r}")
    if (as_whole(points) or 0) < 4 or points % 2:
        raise ValueError(f"points must be an even number of samples, 4 or more, got {points!r}")
    inner = torch.ones(points - 1, dtype=torch.float64)
    inner[1:-1:2], inner[2:-1:2] = 4, 2
    weights = torch.zeros(points, dtype=torch.float64)
    weights[:-1] = inner / 3
    if rule == "scipy-1.11":
        weights[-3:] += torch.tensor([-1.0, 8.0, 5.0], dtype=torch.float64) / 12
        return weights
    weights[-2:] += 0.5
    return (weights + weights.flip(0)) / 2
