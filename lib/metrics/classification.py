"""Top-k accuracy, one value per image, so that intervals can be computed over them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from lib.metrics.inputs import as_whole, shown, tensor_of

COMPARED = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool)


def top_k(logits: Tensor | ArrayLike, labels: Tensor | ArrayLike, k: Sequence[int] = (1, 5)) -> dict[int, Tensor]:
    """Whether the label is among the k highest logits, for each k.

    `logits`: (N, C); `labels`: (N,) integers, 0 to C - 1. Returns {k: (N,) bool}; `result[1].double().mean()` is the accuracy.
    Ties count against the label (every class that scores as much as the label ranks before it), so that a constant
    prediction is right for no k < C, whatever the order of the classes; `torch.topk` would let the order decide. NaN at the
    label is wrong, NaN elsewhere ranks before the label. `k`: a sequence, of one number too. ValueError for other shapes, labels
    out of range, k < 1 or k > C or not whole.

    Example:
        >>> right = top_k([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]], [1, 1], k=(1, 2))
        >>> {k: value.tolist() for k, value in right.items()}
        {1: [True, False], 2: [True, True]}
    """
    logits, labels = tensor_of(logits, "logits", shape="(N, C)"), tensor_of(labels, "labels", shape="(N,)")
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(f"logits must be (N, C) and labels (N,), got {tuple(logits.shape)} and {tuple(labels.shape)}")
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(f"labels must be integers, got {labels.dtype}")
    labels, classes = labels.to(logits.device, torch.int64), logits.shape[1]
    logits = logits if logits.dtype in COMPARED else logits.to(torch.float64)  # torch compares no uint16
    ranks = _ranks(k, classes)
    if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(f"labels must lie between 0 and {classes - 1}, got {int(labels.min())} to {int(labels.max())}")
    own = logits.gather(1, labels[:, None])  # (N, 1)
    before = (~(logits < own)).sum(1) - 1  # classes that are not below the label, but for itself
    return {each: (before < each) & ~own[:, 0].isnan() for each in ranks}


def _ranks(k: Sequence[int], classes: int) -> list[int]:
    """Every k as an int."""
    try:
        given = list(k)
    except TypeError:
        raise ValueError(f"k must be a sequence of whole numbers, such as (1, 5), got {shown(k)}; write ({shown(k)},)") from None
    ranks = [as_whole(each) for each in given]
    for each, rank in zip(given, ranks, strict=True):
        if rank is None:
            raise ValueError(f"k must hold whole numbers, such as (1, 5), got {shown(each)}")
        if not 1 <= rank <= classes:
            raise ValueError(f"k must lie between 1 and the number of classes, {classes}, got {rank}")
    return ranks
