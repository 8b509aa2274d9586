"""From stored records to the samples that verdicts are made from: records by table, data set and preset; contrasts of their rows."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from lib.results.records import Record
from lib.results.statistics import mean
from lib.results.verdicts import Component, Sample, linearise, pool

Values = dict[str, np.ndarray]  # of a row, by name, (n, ...) each
Where = Callable[[dict[str, Values]], np.ndarray]  # a contrast's rows -> mask (n,) over its samples


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A weighted sum of per-sample values, averaged over the samples of `where` (None: all), which reads the values `reads`."""

    values: dict[str, float]
    where: Where | None = None
    reads: tuple[str, ...] = ()

    def of(self, values: Values) -> np.ndarray:
        """(n,) of one row."""
        return sum(weight * values[name].astype(np.float64) for name, weight in self.values.items())


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A weighted sum of rows that saw the same test samples, of the sum of some pieces."""

    rows: dict[str, float]
    pieces: tuple[Piece, ...]
    table: str = ""  # another table than the claim's

    def of(self, rows: dict[str, Values], masks: list[np.ndarray]) -> np.ndarray:
        """(n,): its mean is the contrast, see `linearise`."""
        return linearise([np.where(mask, sum(weight * piece.of(rows[row]) for row, weight in self.rows.items()), np.nan)
                          for piece, mask in zip(self.pieces, masks, strict=True)])

    def of_one(self, values: Values, masks: list[np.ndarray]) -> float:
        """The same of a single row with weight 1, as a mean."""
        return sum(mean(np.where(mask, piece.of(values), np.nan)) for piece, mask in zip(self.pieces, masks, strict=True))


# --- stored records -----------------------------------------------------------------------------------------------------


@dataclass
class Finished:
    """What is stored of one table with one data set and preset: rows[row][seed] are values, tests[row][seed] says of which data."""

    table: str
    dataset: str
    preset: str
    is_twin: bool
    unit: str
    rows: dict[str, dict[int, Values]] = field(default_factory=dict)
    tests: dict[str, dict[int, str]] = field(default_factory=dict)
    replaced: set[str] = field(default_factory=set)  # rows of which an older record was found too


def gather(found: Iterable[tuple[Record, Values]]) -> list[Finished]:
    """Records by table, data set and preset; of two of the same row and seed the later one counts, and the row is noted."""
    places: dict[tuple[str, str, str], Finished] = {}
    for record, values in found:
        place = places.setdefault((record.table, record.dataset, record.preset),
                                  Finished(record.table, record.dataset, record.preset, record.is_twin, record.unit))
        if record.seed in place.rows.setdefault(record.row, {}):
            place.replaced.add(record.row)
        place.rows[record.row][record.seed] = values
        place.tests.setdefault(record.row, {})[record.seed] = json.dumps([record.n, record.depends.get("data")], sort_keys=True)
    return list(places.values())


# --- a contrast's samples -----------------------------------------------------------------------------------------------


def sample(one: Contrast, place: Finished, *, clusters: str | None = None, same_training: bool = False) -> Sample:
    """A contrast as values on the test samples of `place`, one line for each seed that all its rows have.

    clusters: the value that groups samples. same_training: see `Claim`. Which samples a piece is about is read from the
    first seed: it must depend on the data alone. LookupError says what is missing.
    """
    seeds = _seeds(one, place)
    first = {row: place.rows[row][seeds[0]] for row in one.rows}
    _check_values(one, place, seeds, first)
    n = len(next(iter(next(iter(first.values())).values())))
    masks = [np.ones(n, bool) if piece.where is None else np.asarray(piece.where(first), bool) for piece in one.pieces]
    per_seed = np.stack([one.of({row: place.rows[row][seed] for row in one.rows}, masks) for seed in seeds])  # (k, n)
    groups = next((values[clusters] for values in first.values() if clusters in values), None)
    return Sample(per_seed, groups, None if same_training else _pooled(one, place, masks))


def _seeds(one: Contrast, place: Finished) -> list[int]:
    for row in one.rows:
        if row not in place.rows:
            raise LookupError(f"row {row} was not run")
    seeds = sorted(set.intersection(*(set(place.rows[row]) for row in one.rows)))
    if not seeds:
        raise LookupError(f"rows {', '.join(one.rows)} have no seed in common")
    if len({place.tests[row][seed] for row in one.rows for seed in seeds}) > 1:
        raise LookupError(f"rows {', '.join(one.rows)} were computed on different data")
    return seeds


def _check_values(one: Contrast, place: Finished, seeds: list[int], first: dict[str, Values]) -> None:
    for row in one.rows:
        for name in (name for piece in one.pieces for name in piece.values):
            if any(name not in place.rows[row][seed] for seed in seeds):
                raise LookupError(f"row {row} has no value {name}")
    for name in (name for piece in one.pieces for name in piece.reads):
        if not any(name in values for values in first.values()):
            raise LookupError(f"rows {', '.join(one.rows)} have no value {name}")


def _pooled(one: Contrast, place: Finished, masks: list[np.ndarray]) -> Component | None:
    """The variance between trainings of a contrast: that of one row, pooled over the rows of the table, times the squared weights.

    Rows of the main task and of the control are apart. A row that has the same mean with every seed, but for
    rounding, is not trained: it adds nothing, and tells nothing.
    """
    same_data = set(place.tests[next(iter(one.rows))].values())
    means = {row: _means(one, values, masks) for row, values in place.rows.items() if set(place.tests[row].values()) <= same_data}
    varying = {row: found for row, found in means.items() if len(found) > 1 and np.ptp(found) > 1e-9 * np.abs(found).max()}
    constant = {row for row, found in means.items() if len(found) > 1 and row not in varying}
    pooled = pool(varying.values())
    weight = sum(weight**2 for row, weight in one.rows.items() if row not in constant)
    return pooled and Component(pooled.variance * weight, pooled.df)


def _means(one: Contrast, seeds: dict[int, Values], masks: list[np.ndarray]) -> np.ndarray:
    """What the contrast would be of one row alone, for each seed; empty where it lacks a value."""
    names = {name for piece in one.pieces for name in piece.values}
    found = np.array([one.of_one(values, masks) for values in seeds.values() if names <= set(values)])
    return found[np.isfinite(found)]
