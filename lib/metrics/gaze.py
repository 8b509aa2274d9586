"""Gaze error in centimetres: per frame, and per dot as GazeCapture defines it.

Krafka et al., "Eye Tracking for Everyone", CVPR 2016, section 5.1: "error" is the average Euclidean distance in cm, "dot
error" takes the average of a dot's predictions as the prediction for that dot. Phones and tablets are averaged apart there.
"""

from __future__ import annotations

import math

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from lib.metrics.inputs import number, tensor_of


def error_cm(prediction_cm: Tensor | ArrayLike, target_cm: Tensor | ArrayLike) -> Tensor:
    """Euclidean distance of each prediction from its target.

    Both (N, 2), cm, camera at the origin, x right, y up (any one frame of reference will do). Returns (N,) float64, NaN where
    a coordinate is NaN. ValueError for other shapes.

    Example:
        >>> error_cm([[3.0, 4.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]).tolist()
        [5.0, 1.0]
    """
    prediction, target = _points(prediction_cm, "prediction_cm"), _points(target_cm, "target_cm")
    if prediction.shape != target.shape:
        raise ValueError(f"{len(prediction)} predictions, but {len(target)} targets")
    return torch.linalg.vector_norm(prediction - target.to(prediction.device), dim=1)


def dot_error_cm(
    prediction_cm: Tensor | ArrayLike,
    target_cm: Tensor | ArrayLike,
    dot_ids: Tensor | ArrayLike,
    *,
    tolerance_cm: float = 0.01,
) -> Tensor:
    """Error of the average prediction over the frames of each dot.

    `prediction_cm`, `target_cm`: (N, 2), cm; `dot_ids`: integers (N,), or (N, k) such as (recording, dot number), since
    GazeCapture numbers the dots of each recording from 0. Returns (dots,) float64, in ascending order of the ids, NaN for a dot
    with a prediction that is. ValueError for other shapes, a target that is not finite, and where targets of one id lie
    further than `tolerance_cm` from their mean: then the ids do not tell recordings apart, and averaging would mix different
    dots. (Infinity switches both off, and a dot with such a target is NaN.)

    Example:
        >>> predictions, dot = [[1.0, 0.0], [-1.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]  # two frames that look at one dot
        >>> error_cm(predictions, dot).mean().item(), dot_error_cm(predictions, dot, [7, 7]).tolist()
        (1.0, [0.0])
    """
    prediction, target = _points(prediction_cm, "prediction_cm"), _points(target_cm, "target_cm")
    tolerance_cm = number(tolerance_cm, "tolerance_cm", 0, finite=False)
    ids = _ids(dot_ids).to(prediction.device)
    if not len(prediction) == len(target) == len(ids):
        raise ValueError(f"{len(prediction)} predictions, {len(target)} targets, dot_ids {tuple(ids.shape)}: give one of each for a frame")
    _, dot = torch.unique(ids, dim=0, return_inverse=True)
    target = target.to(prediction.device)
    mean_target = _mean_by(dot, target)
    if math.isfinite(tolerance_cm):
        _check_targets(target, error_cm(target, mean_target[dot]), ids, tolerance_cm)
    return error_cm(_mean_by(dot, prediction), mean_target)


def _ids(dot_ids: Tensor | ArrayLike) -> Tensor:
    """(N,) or (N, k), whole numbers of whatever type."""
    ids = tensor_of(dot_ids, "dot_ids", shape="integers (N,) or (N, k)")
    if ids.ndim not in (1, 2) or 0 in ids.shape[1:]:
        raise ValueError(f"dot_ids must be (N,) or (N, k), got {tuple(ids.shape)}")
    if ids.is_floating_point():
        ids = ids.to(torch.float64)
        if not torch.equal(ids, ids.trunc()):  # NaN, which is no number's equal, too
            raise ValueError("dot_ids must be integers, got fractions or NaN: give each frame the number of its dot")
    return ids


def _check_targets(target: Tensor, spread: Tensor, ids: Tensor, tolerance_cm: float) -> None:
    """`target` (N, 2) and how far each is from the mean of its dot (N,)."""
    missing = ~torch.isfinite(target).all(1)
    if missing.any():
        first = ids[missing.nonzero()[0, 0]].tolist()
        raise ValueError(f"{int(missing.sum())} of {len(target)} targets are NaN or infinite, the first of dot {first}: leave those frames out")
    if spread.numel() and spread.max() > tolerance_cm:
        worst = ids[spread.argmax()].tolist()
        raise ValueError(f"targets of dot {worst} lie {spread.max():.3g} cm from their mean: do dot_ids tell recordings apart?")


def _mean_by(group: Tensor, points: Tensor) -> Tensor:
    """(N,), (N, 2) -> (groups, 2)."""
    groups = int(group.max()) + 1 if len(group) else 0
    total = points.new_zeros(groups, 2).index_add_(0, group, points)
    return total / torch.bincount(group, minlength=groups)[:, None]


def _points(values: Tensor | ArrayLike, name: str) -> Tensor:
    points = tensor_of(values, name, shape="(N, 2)").to(torch.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"{name} must be (N, 2), got {tuple(points.shape)}")
    return points
