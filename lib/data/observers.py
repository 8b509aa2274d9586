"""How well other people predict where somebody looks: the ceiling of every saliency table on real fixations.

One observer is left out, the fixations of all others are blurred, and that map is scored against the observer's own; so for each
of them. A model may pass it: fourteen people are a noisy estimate of where everybody looks. Any data set that knows its observers
(`subjects`) will do: MIT1003 with scanpaths, OSIE, FixaTons' sets; SALICON's are numbered within each image.

Wilming, Betz, Kietzmann, König: "Measures and limits of models of fixation selection", PLoS ONE 2011, for the idea.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lib.data.saliency import SaliencyData
from lib.metrics.saliency import density_map, fixation_map

SIGMA = 24.0  # pixels: one degree of visual angle in MIT1003 and OSIE
Metric = Callable[[Tensor, Tensor], Tensor]  # saliency map (H, W), fixations as a count map (H, W) -> 0-d


class LeftOut(NamedTuple):
    """One observer of a picture."""

    observer: int  # as `subjects` has it
    fixations: Tensor  # (H, W), the observer's own, counted
    others: Tensor  # (H, W) float64, the fixations of everybody else, blurred


def leave_one_out(data: SaliencyData, index: int, *, sigma: float = SIGMA) -> Iterator[LeftOut]:
    """Each observer of picture `index` in turn. ValueError, one line, where observers are not known or there is but one."""
    xy, who = observed(data, index)
    size = data.size(index)
    for observer in np.unique(who).tolist():
        own, rest = (fixation_map(xy[torch.from_numpy(chosen)], size) for chosen in (who == observer, who != observer))
        yield LeftOut(observer, own, density_map(rest, sigma=sigma))  # not by subtraction: its rounding would break ties at 0


def other_observers(data: SaliencyData, index: int, observer: int, *, sigma: float = SIGMA) -> NDArray[np.float32]:
    """(H, W) from 0 to 1: where everybody but `observer` looked in picture `index`, blurred. Errors as `leave_one_out`."""
    xy, who = observed(data, index)
    if observer not in who:
        raise ValueError(f"{data.path(index)}: observer {observer} has no fixation here; choose one of {', '.join(map(str, np.unique(who)))}")
    density = density_map(fixation_map(xy[torch.from_numpy(who != observer)], data.size(index)), sigma=sigma)
    return (density / density.max()).float().numpy()


def human_ceiling(
    data: SaliencyData, indices: Sequence[int], metrics: Mapping[str, Metric], *, sigma: float = SIGMA,
    progress: Callable[[int, int], object] | None = None,
) -> dict[str, NDArray[np.float64]]:
    """{metric: (N,)}: for each picture the mean over its observers of how well the others predict them.

    Metrics of fixations only: an observer has no blurred map. progress(done, total) is called after each picture.
    """
    values = {name: np.full(len(indices), np.nan) for name in metrics}
    for place, index in enumerate(indices):
        scores = [[float(metric(left.others, left.fixations)) for metric in metrics.values()] for left in leave_one_out(data, index, sigma=sigma)]
        for name, mean in zip(metrics, np.mean(scores, axis=0), strict=True):
            values[name][place] = mean
        if progress is not None:
            progress(place + 1, len(indices))
    return values


def observed(data: SaliencyData, index: int) -> tuple[Tensor, NDArray[np.int64]]:
    """Fixations (n, 2) and whose each is (n,); ValueError where two observers are not known."""
    xy, who = data.fixations(index), data.subjects(index)
    if xy is None or who is None:
        raise ValueError(f"{data.path(index)}: whose its fixations are is not known; add scanpaths (data/mit1003.md says where they are)")
    if len(np.unique(who)) < 2:
        raise ValueError(f"{data.path(index)}: {len(np.unique(who))} observer{'' if len(np.unique(who)) == 1 else 's'}; "
                         "add another, a ceiling needs two at least")
    return torch.from_numpy(xy), who
