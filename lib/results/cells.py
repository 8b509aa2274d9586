"""The one place that makes a table's cells: a mean with its interval, the difference to the reference row, the paper's value beside it.

Over one seed an interval is a bootstrap over test samples (whole clusters of them where the table says so), over several Student's t
over the seeds. A row that is the same with every seed (it is not trained) has no interval over seeds; its interval is over the
samples. Differences between rows are taken sample by sample over the seeds that both have.
"""

from dataclasses import dataclass, replace

import numpy as np

from lib.results.grids import minus
from lib.results.records import Item
from lib.results.schema import LIMITS
from lib.results.statistics import Interval, summarise
from lib.results.store import Rows
from lib.tables.table import Column, Row, Table


@dataclass(frozen=True)
class Value:
    """A mean with its 95 % interval, and what that is over."""

    interval: Interval
    samples: int  # test samples that have a value
    unit: str  # what samples are
    seeds: tuple[int, ...]
    same: bool = False  # with each of several seeds

    def text(self, digits: int, *, sign: bool = False) -> str:
        """ "2.03 ± 0.11"; without an interval, "2.03"."""
        text = minus(self.interval.text(digits, sign=sign))
        text = text.lstrip("−") if not sign and not text.split(" ")[0].strip("−0.") else text  # no "−0.00"
        return text if np.isfinite(self.interval.half) else text.split(" ±")[0]

    @property
    def over(self) -> str:
        """ "t-interval over seeds", "bootstrap over images"."""
        return f"{'t-interval' if self.interval.over == 'seeds' else 'bootstrap'} over {self.interval.over}"

    @property
    def note(self) -> str:
        """What the ± is over, with n: "3 seeds (823 frames)", "44 subjects (823 frames)", "120 images"."""
        over, n = self.interval.over, self.interval.n
        one = over[:-1] if n == 1 and over.endswith("s") else over
        text = f"{n} {one}" if over == self.unit else f"{n} {one} ({self.samples} {self.unit})"
        text = text if np.isfinite(self.interval.half) else f"no interval: {text}"
        return f"{text}, same with {len(self.seeds)} seeds" if self.same else text


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


def cell(table: Table, rows: Rows, name: str, column: Column) -> Cell:
    row = table.row(name)
    paper, base = row.published.get(column.name), table.row(table.reference).published.get(column.name)
    paper_versus = None if paper is None or base is None or name == table.reference else paper - base
    return Cell(row, column, own(table, rows, name, column), versus(table, rows, name, reference_of(table, row), column), paper, paper_versus)


def reference_of(table: Table, row: Row) -> str:
    """The row that `row` is compared with: the table's reference, within the control the control's."""
    return table.reference if row.variant == "main" else f"{row.variant}_{table.reference}"


def own(table: Table, rows: Rows, name: str, column: Column) -> Value | None:
    """Row `name` in `column`; None where it was not run or has no such value."""
    found = rows.get(name, {})
    value = _value(table, found, {seed: column.samples(item.values) for seed, item in found.items()}, column)
    least, most, _ = LIMITS.get(column.metric, (-np.inf, np.inf, False))
    return value and replace(value, interval=value.interval.within(least * column.scale, most * column.scale))


def versus(table: Table, rows: Rows, name: str, other: str, column: Column) -> Value | None:
    """Row `name` minus row `other`, sample by sample, over the seeds that both have; None where there is none."""
    ours, theirs = rows.get(name, {}), rows.get(other, {})
    both = {seed: (column.samples(ours[seed].values), column.samples(theirs[seed].values)) for seed in sorted(ours.keys() & theirs.keys())}
    if name == other or any(a is None or b is None or a.shape != b.shape for a, b in both.values()):
        return None
    return _value(table, ours, {seed: a - b for seed, (a, b) in both.items()}, column)


def _value(table: Table, items: dict[int, Item], per_seed: dict[int, np.ndarray | None], column: Column) -> Value | None:
    if not per_seed or any(values is None for values in per_seed.values()):
        return None
    first, *others = per_seed.values()
    same = bool(others) and all(np.array_equal(first, values, equal_nan=True) for values in others)
    item = items[next(iter(per_seed))]
    clusters = column.samples(item.values, table.clusters) if table.clusters else None
    interval = summarise(list(per_seed.values()), clusters, over=table.over)
    return Value(interval, int(np.isfinite(first).sum()), item.record.unit, tuple(per_seed), same)
