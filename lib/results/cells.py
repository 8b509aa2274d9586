"""The one place that makes a table's cells: a mean with its interval, the difference to the reference row, the paper's value beside it.

What the intervals are made of is said in `lib.results.statistics`.
"""

from dataclasses import dataclass, replace

import numpy as np

from lib.results.grids import minus
from lib.results.noise import Known, difference
from lib.results.schema import bounds
from lib.results.statistics import FIXED, Estimate, Interval, Noise, Sample, estimate
from lib.results.store import Item, Rows
from lib.tables.table import Column, Row, Table

UNKNOWN = Known()


@dataclass(frozen=True)
class Value:
    """A mean with its 95 % interval, and what that is over."""

    found: Estimate
    interval: Interval
    unit: str  # what samples are
    seeds: tuple[int, ...]

    @property
    def samples(self) -> int:
        """How many test samples have a value."""
        return self.found.n

    def text(self, digits: int, *, sign: bool = False) -> str:
        """ "2.03 ± 0.11"; without an interval, "2.03"."""
        text = minus(self.interval.text(digits, sign=sign))
        return text if np.isfinite(self.interval.half) else text.split(" ±")[0]

    @property
    def note(self) -> str:
        """How many there are of what the ± is over: "44 subjects (823 frames), 3 seeds", "120 images, 1 seed, the reference's noise"."""
        over, n = self.interval.over, self.interval.n
        one = over[:-1] if n == 1 and over.endswith("s") else over
        text = f"{n} {one}" if over == self.unit else f"{n} {one} ({self.samples} {self.unit})"
        text = f"{'' if np.isfinite(self.interval.half) else 'no interval: '}{text}, {self.found.noted}"
        return f"{text} alike" if self.found.trainings == FIXED and len(self.seeds) > 1 else text


@dataclass(frozen=True)
class Cell:
    """One row in one column: what was measured, and against the reference row; None for what there is not."""

    row: Row
    column: Column
    ours: Value | None
    versus: Value | None  # ours minus the reference row, sample by sample
    paper: float | None
    paper_versus: float | None  # the paper's value minus its reference row's

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's."""
        return None if self.paper is None or self.ours is None else self.ours.interval.mean - self.paper


def cell(table: Table, rows: Rows, name: str, column: Column, known: Known = UNKNOWN) -> Cell:
    row, other = table.row(name), table.reference_of(name)
    paper, base = row.published.get(column.name), table.row(table.reference).published.get(column.name)
    paper_versus = None if paper is None or base is None or name == table.reference else paper - base
    return Cell(row, column, own(table, rows, name, column, known), versus(table, rows, name, other, column, known), paper, paper_versus)


def own(table: Table, rows: Rows, name: str, column: Column, known: Known = UNKNOWN) -> Value | None:
    """Row `name` in `column`; None where it was not run or has no such value."""
    found = rows.get(name, {})
    per_seed = {seed: column.samples(item.values) for seed, item in found.items()}
    value = _value(table, found, per_seed, column, known.of(name, column.name))
    least, most = bounds(column.metric)
    return value and replace(value, interval=value.interval.within(least * column.scale, most * column.scale))


def versus(table: Table, rows: Rows, name: str, other: str, column: Column, known: Known = UNKNOWN) -> Value | None:
    """Row `name` minus row `other`, sample by sample, over the seeds that both have; None where there is none."""
    ours, theirs = rows.get(name, {}), rows.get(other, {})
    both = {seed: (column.samples(ours[seed].values), column.samples(theirs[seed].values)) for seed in sorted(ours.keys() & theirs.keys())}
    if name == other or any(a is None or b is None or a.shape != b.shape for a, b in both.values()):
        return None
    return _value(table, ours, {seed: a - b for seed, (a, b) in both.items()}, column, known.of(difference(name, other), column.name))


def _value(table: Table, items: dict[int, Item], per_seed: dict[int, np.ndarray | None], column: Column, noise: Noise) -> Value | None:
    if not per_seed or any(values is None for values in per_seed.values()):
        return None
    item, values = items[next(iter(per_seed))], np.stack(list(per_seed.values()))
    if not np.isfinite(values).all(axis=0).any():
        return None
    found = estimate([Sample(values, column.samples(item.values, table.clusters) if table.clusters else None, noise)])
    return Value(found, replace(found.interval, over=table.over), item.record.unit, tuple(per_seed))
