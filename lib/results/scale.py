"""The scale on which means of trainings are compared: log odds for shares of right answers, logarithms for magnifications, else the mean itself.

Near 0 and 100 % a share has no room to vary, in the middle it has much: four trainings at 99.6 % and one that learns late and ends at 96 %
are a thirtyfold standard deviation as per cent, and one that happens as log odds. Half a right and half a wrong answer are added, so that
all right is finite. A row that zooms twice as much as another varies twice as much from training to training.
"""

import numpy as np
from scipy import special

from lib.results.schema import LIMITS, UNLIMITED
from lib.tables.table import Column


def _is_share(column: Column) -> bool:
    """Whether its samples are right or wrong, and every one is."""
    _, most, complete = LIMITS.get(column.metric, UNLIMITED)
    return complete and bool(np.isfinite(most))


def _is_ratio(column: Column) -> bool:
    return column.metric.endswith("_magnification")


def linked(value: float, column: Column, n: int) -> float:
    """A mean over n samples, in the column's unit, on the scale."""
    if _is_share(column):
        return float(special.logit((value / column.scale * n + 0.5) / (n + 1)))
    return float(np.log(value)) if _is_ratio(column) else value


def unlinked(value: float, column: Column, n: int) -> float:
    """The inverse of `linked`."""
    if _is_share(column):
        return float((special.expit(value) * (n + 1) - 0.5) / n * column.scale)
    return float(np.exp(value)) if _is_ratio(column) else value


def slope(value: float, column: Column, n: int) -> float:
    """Of `linked` at a mean: by how much it moves for one of the column's unit."""
    if _is_share(column):
        share = (value / column.scale * n + 0.5) / (n + 1)
        return n / (n + 1) / column.scale / (share * (1 - share))
    return 1 / value if _is_ratio(column) else 1.0
