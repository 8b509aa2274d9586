"""From a group's rows to the samples that a verdict is made from: a contrast on the test samples, and the noise of training."""

import numpy as np

from lib.claims.claim import Contrast, Values
from lib.results.statistics import Component, Noise, Sample, between, priors
from lib.results.store import Item, Rows, data_of


def sample(one: Contrast, rows: Rows, *, clusters: str | None = None, same_training: bool = False, known: Noise | None = None,
           prior_df: float | None = None) -> Sample:
    """A contrast as values on the test samples of `rows`, one line for each seed that all its rows have.

    clusters: the value that groups samples. same_training: its rows evaluate one trained network. known: the reference's noise; without it,
    `rows` tell it themselves, whose noise is as much alike as `prior_df` says. Which samples a piece is about is read from the first
    seed: it must depend on the data alone. LookupError says what is missing.
    """
    seeds = _seeds(one, rows)
    first = {row: rows[row][seeds[0]].values for row in one.rows}
    _check_values(one, rows, seeds, first)
    n = len(next(iter(next(iter(first.values())).values())))
    masks = [np.ones(n, bool) if piece.where is None else np.asarray(piece.where(first), bool) for piece in one.pieces]
    per_seed = np.stack([one.of({row: rows[row][seed].values for row in one.rows}, masks) for seed in seeds])  # (k, n)
    groups = next((values[clusters] for values in first.values() if clusters in values), None)
    return Sample(per_seed, groups, known or Noise(between(nanmeans(per_seed)), None if same_training else _prior(one, rows, masks, prior_df)))


def nanmeans(per_seed: np.ndarray) -> np.ndarray:
    """(k, n) -> (k,), over the samples that every seed has."""
    return per_seed[:, np.isfinite(per_seed).all(axis=0)].mean(axis=1) if np.isfinite(per_seed).all(axis=0).any() else np.full(len(per_seed), np.nan)


def _seeds(one: Contrast, rows: Rows) -> list[int]:
    for row in one.rows:
        if row not in rows:
            raise LookupError(f"row {row} was not run")
    seeds = sorted(set.intersection(*(set(rows[row]) for row in one.rows)))
    if not seeds:
        raise LookupError(f"rows {', '.join(one.rows)} have no seed in common")
    if len({data_of(rows[row][seed].record) for row in one.rows for seed in seeds}) > 1:
        raise LookupError(f"rows {', '.join(one.rows)} were computed on different data")
    return seeds


def _check_values(one: Contrast, rows: Rows, seeds: list[int], first: dict[str, Values]) -> None:
    for row in one.rows:
        for name in (name for piece in one.pieces for name in piece.values):
            if any(name not in rows[row][seed].values for seed in seeds):
                raise LookupError(f"row {row} has no value {name}")
    for name in (name for piece in one.pieces for name in piece.reads):
        if not any(name in values for values in first.values()):
            raise LookupError(f"rows {', '.join(one.rows)} have no value {name}")


def _prior(one: Contrast, rows: Rows, masks: list[np.ndarray], df: float | None) -> Component | None:
    """What the variance between trainings of a contrast is like: that of single rows of the table, times the squared weights.

    Rows of the main task and of the control are apart. A row that has the same mean with every seed, but for
    rounding, is not trained: it adds nothing, and tells nothing.
    """
    same_data = {data_of(item.record) for item in rows[next(iter(one.rows))].values()}
    means = {row: _means(one, seeds, masks) for row, seeds in rows.items() if {data_of(item.record) for item in seeds.values()} <= same_data}
    varying = {row: found for row, found in means.items() if len(found) > 1 and np.ptp(found) > 1e-9 * np.abs(found).max()}
    constant = {row for row, found in means.items() if len(found) > 1 and row not in varying}
    (prior,) = priors([[between(found) for found in varying.values()]], df)
    weight = sum(weight**2 for row, weight in one.rows.items() if row not in constant)
    return prior and weight and Component(prior.variance * weight, prior.df) or None


def _means(one: Contrast, seeds: dict[int, Item], masks: list[np.ndarray]) -> np.ndarray:
    """What the contrast would be of one row alone, for each seed; empty where it lacks a value."""
    names = {name for piece in one.pieces for name in piece.values}
    found = np.array([one.of_one(item.values, masks) for item in seeds.values() if names <= set(item.values)])
    return found[np.isfinite(found)]
