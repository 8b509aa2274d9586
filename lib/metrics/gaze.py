"""Gaze error in centimetres: per frame, and per dot as GazeCapture defines it.

Krafka et al., "Eye Tracking for Everyone", CVPR 2016, section 5.1: "error" is the average Euclidean distance in cm, "dot
error" takes the average of a dot's predictions as the prediction for that dot. Phones and tablets are averaged apart there.
"""

from __future__ import annotations

import torch
from numpy.typing import ArrayLike
from torch import Tensor


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
    GazeCapture numbers the dots of each recording from 0. Returns (dots,) float64, in ascending order of the ids.
    ValueError for other shapes, and where targets of one id lie further than `tolerance_cm` from their mean: then the ids do
    not tell recordings apart, and averaging would mix different dots. (Infinity switches that off.)

    Example:
        >>> predictions, dot = [[1.0, 0.0], [-1.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]  # two frames that look at one dot
        >>> error_cm(predictions, dot).mean().item(), dot_error_cm(predictions, dot, [7, 7]).tolist()
        (1.0, [0.0])
    """
    prediction, target = _points(prediction_cm, "prediction_cm"), _points(target_cm, "target_cm")
    ids = torch.as_tensor(dot_ids).to(prediction.device)
    if not len(prediction) == len(target) == len(ids) or ids.ndim not in (1, 2):
        raise ValueError(f"{len(prediction)} predictions, {len(target)} targets, dot_ids {tuple(ids.shape)}")
    _, dot = torch.unique(ids, dim=0, return_inverse=True)
    target = target.to(prediction.device)
    mean_target = _mean_by(dot, target)
    spread = error_cm(target, mean_target[dot])
    if spread.numel() and spread.max() > tolerance_cm:
        worst = ids[spread.argmax()].tolist()
        raise ValueError(f"targets of dot {worst} lie {spread.max():.3g} cm from their mean: do dot_ids tell recordings apart?")
    return error_cm(_mean_by(dot, prediction), mean_target)


def _mean_by(group: Tensor, points: Tensor) -> Tensor:
    """(N,), (N, 2) -> (groups, 2)."""
    groups = int(group.max()) + 1 if len(group) else 0
    total = points.new_zeros(groups, 2).index_add_(0, group, points)
    return total / torch.bincount(group, minlength=groups)[:, None]


def _points(values: Tensor | ArrayLike, name: str) -> Tensor:
    points = torch.as_tensor(values).detach().to(torch.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"{name} must be (N, 2), got {tuple(points.shape)}")
    return points
