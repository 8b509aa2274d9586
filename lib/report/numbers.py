"""Means with intervals of stored rows, and of rows minus rows; each knows what its ± is over, and n.

The same statistics as `lib.tables.frames` has for a finished run, for rows of which not all seeds need be there: differences are
taken over the seeds that both rows have. A row that is the same with every seed (it is not trained) has no interval over seeds;
its interval is over the test samples, as in `lib.tables.check`.
"""

from dataclasses import dataclass

import numpy as np

from lib.report.stored import Item, Rows
from lib.results.statistics import Interval, summarise
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
    def note(self) -> str:
        """What the ± is over, with n: "3 seeds (823 frames)", "44 subjects (823 frames)", "120 images"."""
        over, n = self.interval.over, self.interval.n
        one = over[:-1] if n == 1 and over.endswith("s") else over
        text = f"{n} {one}" if over == self.unit else f"{n} {one} ({self.samples} {self.unit})"
        text = text if np.isfinite(self.interval.half) else f"no interval: {text}"
        return f"{text}, same with {len(self.seeds)} seeds" if self.same else text


def minus(number: str) -> str:
    """A number with a minus sign where `format` writes a hyphen."""
    return "−" + number[1:] if number.startswith("-") else number


def own(table: Table, rows: Rows, name: str, column: Column) -> Value | None:
    """Row `name` in `column`; None where it was not run or has no such value."""
    found = rows.get(name, {})
    return _value(table, found, {seed: column.samples(item.values) for seed, item in found.items()}, column)


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
    interval = summarise([first] if same else list(per_seed.values()), clusters, over=table.over)
    return Value(interval, int(np.isfinite(first).sum()), item.record.unit, tuple(per_seed), same)


def reference_of(table: Table, row: Row) -> str:
    """The row that `row` is compared with: the table's reference, within the control the control's."""
    return table.reference if row.variant == "main" else f"{row.variant}_{table.reference}"


def paper_minus_reference(table: Table, row: Row, column: Column) -> float | None:
    """The published value minus that of the table's reference row."""
    ours, base = row.published.get(column.name), table.row(table.reference).published.get(column.name)
    return None if ours is None or base is None or row.name == table.reference else ours - base
