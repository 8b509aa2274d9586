"""Saliency metrics: what a saliency map says about where people looked.

    auc, auc_judd, auc_borji, auc_shuffled      ranks of the fixated pixels       (`ranking`)
    nss, information_gain                       values at the fixated pixels      (`values`)
    cc, sim, kl_divergence                      the map against a density map     (`values`)
    bristol_agreement                           pixel agreement, swept over thresholds; no AUC     (`agreement`)
    fixation_map, shuffled_map, density_map     the ground truth they compare to  (`maps`)

Sources: the MATLAB code of the MIT saliency benchmark (github.com/cvzoya/saliency, `code_forMetrics`), called MIT below, and
pysaliency 0.2.22 (github.com/matthias-k/pysaliency). Bylinskii et al., "What do different evaluation metrics tell us about
saliency models?", PAMI 2019, compares the metrics.

Conventions, everywhere in this package
    arguments   the prediction first; all maps (H, W), or (B, H, W) for a batch; tensors on any device, NumPy arrays, or PIL
                images of one channel. (H, W, 1) and (H, W, 3) are refused: they are no batch of H maps
    fixations   a count map: how many fixations fell on each pixel. Whole numbers, never a blurred map
    densities   a non-negative map, such as `density_map` of the fixations; its scale does not matter
    result      float64, one value per image: (B,), or a 0-d tensor for a single map; an image's value does not depend on
                what else is in the batch; no gradient flows
    precision   ranks are taken in the map's own precision, without rounding; everything else is computed in float64

What cannot be computed
    no fixations            NaN. Average with `nanmean`, and say how many images that leaves
    every pixel fixated     NaN for `auc` and `auc_judd`: nothing is left to compare with
    NaN in a map            NaN for that image alone
    infinite values         allowed by `auc`, `auc_judd` and the exact `auc_shuffled` (a log density has -inf), else NaN
    a constant prediction   scores chance: AUC 0.5, NSS 0, CC 0; for SIM, KL and information gain it is the uniform density
    a constant density      is uniform for SIM and KL; NaN for CC
    constant means          up to 32 roundings of the map's type, for every metric alike: resizing a constant map leaves such noise
    sizes that differ       ValueError. MIT resizes the prediction with MATLAB's `imresize`; here the caller decides how
    masked arrays           ValueError where anything is masked (no metric leaves pixels out): fill them, `.filled(0)` say
    counts below 0 or not whole, maps that are empty or not 2-D or 3-D                  ValueError

Where MIT and pysaliency differ, the defaults are MIT's definition without its random parts, and an option gives the other
    what                        default                         pysaliency                  MIT
    fixations on one pixel      count once                      `duplicates=True`           default
    AUC's negatives             unfixated pixels                `negatives="all"`           (no exact AUC)
    AUC-Judd's ties             `ties="group"`                  default, `jitter=False`     `ties="jitter"`, or "order"
    shuffled AUC                exact, all negatives            default                     `splits=100`
    NSS's standard deviation    `ddof=1`                        `ddof=0`                    default
    SIM's min-max               `min_max=True`                  `min_max=False`             default
    KL's epsilon                2^-52 inside and outside        MIT_KLDiv: default          default
                                                                image_based_kl_divergence: `epsilon=0, floor=1e-20`
    information gain            min-max, epsilon 2^-52          `min_max=False, epsilon=0`  default

pysaliency's coordinates weigh an image's own duplicates in all its fixation metrics, hence `duplicates=True` throughout.
"""

from lib.metrics.saliency.agreement import bristol_agreement
from lib.metrics.saliency.maps import density_map, fixation_map, shuffled_map
from lib.metrics.saliency.ranking import auc, auc_borji, auc_judd, auc_shuffled
from lib.metrics.saliency.values import cc, information_gain, kl_divergence, nss, sim

__all__ = [
    "auc", "auc_borji", "auc_judd", "auc_shuffled", "bristol_agreement", "cc", "density_map", "fixation_map", "information_gain",
    "kl_divergence", "nss", "shuffled_map", "sim",
]  # fmt: skip
