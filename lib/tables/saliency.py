"""What every table of predicted saliency shares: the rows that train nothing and bound what a network's scores can mean."""

from typing import Any

from torch import nn

from lib.models.saliency_baselines import Ceiling, ConstantMap, FromBatch
from lib.tables.table import Row


def uniform(p: Any) -> nn.Module:
    return ConstantMap()


def centre(p: Any) -> nn.Module:
    return FromBatch("centre")


def ground_truth(p: Any) -> nn.Module:
    return FromBatch("density")


def ceiling(p: Any) -> nn.Module:
    return Ceiling()


FLOOR = (  # what a network has to beat
    Row(name="uniform", label="Uniform", build=uniform, trained=False),
    Row(name="centre_bias", label="Centre bias", build=centre, trained=False),
)
CEILING = (  # what none can beat: the density that the twin's fixations were drawn from, and the map of the very fixations
    Row(name="ceiling", label="Ceiling: the true density", build=ceiling, trained=False, twin_only=True),
    Row(name="truth", label="Ground truth's own map", build=ground_truth, trained=False),
)
