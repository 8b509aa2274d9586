"""One table filled with the rows of one group: what report, notebooks, the `table` command and README render, all from the same cells.

Files (`write`) hold what follows from the rows alone, so that whoever writes them writes the same.
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from lib.files import write_text
from lib.results.cells import Cell, Value, cell, versus
from lib.results.grids import NOTHING, Grid, Mark, Text, grid, latex, markdown, minus, notes_below
from lib.results.noise import Known, known
from lib.results.records import Record, short
from lib.results.statistics import FIXED, METHOD, REFERENCE
from lib.results.store import MEANINGLESS, Group, Rows, items_of
from lib.tables.table import Column, Table

LEGEND = f"{METHOD} The last line says over how many of them; where a cell has other numbers, or its seeds are alike, it says so itself."
OVER = "± is over"


@dataclass(frozen=True)
class Filled:
    """A table with its rows. marks: verdicts by row, for `main`; suffix: ends the files' names where others have the same."""

    table: Table
    group: Group
    rows: Rows
    marks: dict[str, tuple[Mark, ...]] = field(default_factory=dict)
    suffix: str = ""

    # --- what it is -----------------------------------------------------------------------------------------------------

    @property
    def stem(self) -> str:
        """The name of its files."""
        return f"{self.table.name}-{self.group.dataset}-{self.group.preset}{self.suffix}"

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """Those that this preset's table has."""
        return self.table.columns_of(self.group.preset)

    @cached_property
    def records(self) -> list[Record]:
        return [item.record for item in items_of(self.rows)]

    @cached_property
    def seeds(self) -> list[int]:
        """Those that any row was run with."""
        return sorted({seed for found in self.rows.values() for seed in found})

    @property
    def missing(self) -> list[str]:
        """Rows that this preset and data set have, and that were not run."""
        return [row.name for row in self.table.rows_of(self.group.preset, self.group.dataset) if row.name not in self.rows]

    @property
    def fewer(self) -> list[str]:
        """Rows that were run with fewer seeds than others."""
        return [f"{name} ({len(found)} of {len(self.seeds)})" for name, found in self.rows.items() if len(found) < len(self.seeds)]

    @property
    def caption(self) -> str:
        """What the table is and what its numbers are, in a few sentences that must stand with it."""
        return f"{self.table.title}. {self.about}"

    @property
    def about(self) -> str:
        """The same without the title."""
        tests = ", ".join(dict.fromkeys(f"{'' if self.table.row(record.row).variant == 'main' else 'for the control '}{record.n} test {record.unit}"
                                        for record in self.records))
        count = f"seed{'s' if len(self.seeds) > 1 else ''} {in_words(self.seeds)}{' (not all rows have all of them)' * bool(self.fewer)}"
        parts = ["Preset smoke: THESE NUMBERS MEAN NOTHING, they show that everything runs."] if self.group.preset == MEANINGLESS else []
        parts.append(f"{self.table.paper}. Data: {self.group.data}, {tests}; preset {self.group.preset}, {self.group.device}, {count}.")
        parts += ["The data are synthetic: values are not comparable with the paper's, only their order and signs."] if self.group.is_twin else []
        parts += [self.table.caveats[self.group.preset]] if self.group.preset in self.table.caveats and not self.group.is_twin else []
        parts += [f"±: 95 %, over {'; '.join(self.varies)}."] if self.varies else []
        parts += [f"The noise of training is that of the reference's seeds {in_words(self.known.seeds)}."] if self.borrows else []
        return " ".join(parts)

    @cached_property
    def varies(self) -> list[str]:
        """What the intervals of its cells are over, in words, that of most cells first, of untrained ones last; figures name the first."""
        shown = [one.ours for one in self.cells.values() if one.ours and np.isfinite(one.ours.interval.half)]
        found = Counter((value.found.trainings == FIXED, value.found.varies(self.table.over)) for value in shown)
        return [over for (_, over), _ in sorted(found.most_common(), key=lambda one: one[0][0])]

    @property
    def interval(self) -> str:
        """What a figure of its means says of their bars."""
        return "mean with 95 % interval" + f" over {self.varies[0]}" * bool(self.varies)

    @cached_property
    def known(self) -> Known:
        """What is known of the noise of training."""
        return known(self.group, self.rows)

    @property
    def borrows(self) -> bool:
        """Whether a row of one seed takes the reference's noise."""
        return any(one.ours and one.ours.found.trainings == REFERENCE for one in self.cells.values())

    def warnings(self) -> list[str]:
        """Results of different code or versions in one table."""
        commits = sorted({record.provenance.get("commit") or "unknown" for record in self.records})
        torch = sorted({str((record.provenance.get("versions") or {}).get("torch")) for record in self.records})
        found = []
        if len(commits) > 1:
            found.append(f"rows come from {len(commits)} states of the code: {', '.join(short(commit) for commit in commits)}")
        if any(commit.endswith("-dirty") for commit in commits):
            found.append("rows were computed with changes that no commit holds (-dirty)")
        if "unknown" in commits:
            found.append("rows do not say which commit they were computed with")
        return found + ([f"rows come from torch {' and '.join(torch)}"] if len(torch) > 1 else [])

    # --- what it says ---------------------------------------------------------------------------------------------------

    @cached_property
    def cells(self) -> dict[tuple[str, str], Cell]:
        """By row and column, in the table's order."""
        return {(row.name, column.name): cell(self.table, self.rows, row.name, column, self.known)
                for row in self.table.rows if row.name in self.rows for column in self.columns}

    @property
    def compared(self) -> bool:
        """Whether the paper's values stand beside ours."""
        return any(row.published for row in self.table.rows)

    def main(self, *, notes: bool = True, marks: bool = True) -> Grid:
        """One line for each row; up to five cells for each column where a row has a published value, else one; then the marks."""
        other = self.table.reference.replace("_", " ")
        names = ("paper", "ours", "ours − paper", f"paper − {other}", f"ours − {other}") if self.compared else ("ours",)
        head = [("", ""), *((self.heading(column), name) for column in self.columns for name in names), ("", "claims")]
        lines = []
        for row in (row for row in self.table.rows if row.name in self.rows):
            line: list[Text | str] = [Text(row.label)]
            for column in self.columns:
                shown = texts(self.cells[row.name, column.name], notes=notes)
                line += shown if self.compared else [shown[1]]
            bears = self.marks.get(row.name, ()) if marks else ()
            lines.append([*line, Text("" if bears else NOTHING, marks=bears)])
        return grid(head if self.compared else [("", group or name) for group, name in head], lines)

    def comparisons(self, *, notes: bool = True) -> Grid:
        """Rows minus rows: the table's own comparisons; where `main` has no room for them, every row minus the reference first."""
        lines = [[f"{self.table.row(name).label} − {self.table.row(other).label}",
                  *(text(value, column, sign=True, notes=notes) for value, column in zip(found, self.columns, strict=True))]
                 for (name, other), found in self.pairs.items()]
        return grid(["", *map(self.heading, self.columns)], lines)

    @cached_property
    def pairs(self) -> dict[tuple[str, str], list[Value | None]]:
        """The differences of `comparisons`, one for each column."""
        chosen = [] if self.compared else [(row.name, self.table.reference) for row in self.table.rows if row.name in self.rows]
        found = {pair: [versus(self.table, self.rows, *pair, column, self.known) for column in self.columns]
                 for pair in dict.fromkeys([*chosen, *self.table.comparisons])}
        return {pair: values for pair, values in found.items() if any(values)}

    def quoted(self) -> Grid:
        """Published rows that none of ours stands for, with their sources."""
        lines = [[row.label, *(number(row.values.get(column.name), column) for column in self.columns), row.source] for row in self.table.quoted]
        return grid(["", *map(self.heading, self.columns), "source"], lines)

    def heading(self, column: Column) -> str:
        """A column's name with its unit, and an arrow to where better is if the columns differ in that."""
        differ = {True, False} <= {one.lower_is_better for one in self.columns} and column.lower_is_better is not None
        return f"{column.name}{f' ({column.unit})' * bool(column.unit)}{(' ↓' if column.lower_is_better else ' ↑') * differ}"

    def frame(self) -> pd.DataFrame:
        """The table as a notebook shows it: texts without notes, (column, what) above them where the paper is compared with."""
        return self.main(notes=False).frame()

    def numbers(self) -> pd.DataFrame:
        """Plain numbers, one line for each cell: what the CSV holds and what plots are drawn from."""
        return pd.DataFrame([self._numbers(one, one.ours, one.versus) for one in self.cells.values() if one.ours]).astype(
            {"paper": float, "paper_versus_reference": float})

    def _numbers(self, one: Cell, ours: Value, versus: Value | None) -> dict:
        return {"row": one.row.name, "label": one.row.label, "variant": one.row.variant, "column": one.column.name, "quantity": one.column.axis,
                "lower_is_better": one.column.lower_is_better, "paper": one.paper, **_bounds("ours", ours), **_bounds("versus_reference", versus),
                "paper_versus_reference": one.paper_versus, "n": ours.interval.n,
                "interval_over": ours.found.varies(ours.interval.over), "samples": ours.samples,
                "unit": ours.unit, "seeds": len(ours.seeds), "versus_reference_n": versus.interval.n if versus else 0,
                "versus_reference_over": versus.found.varies(versus.interval.over) if versus else "", "dataset": self.group.dataset,
                "is_twin": self.group.is_twin, "preset": self.group.preset, "device": self.group.device}

    # --- as files -------------------------------------------------------------------------------------------------------

    def parts(self, *, notes: bool = True, marks: bool = True) -> list[str]:
        """The table and what stands around it, but for its caption, as paragraphs of Markdown."""
        parts = [*self.warnings(), markdown(notes_below(self.main(notes=notes, marks=marks), OVER))]
        parts += [f"Not run: {', '.join(self.missing)}."] if self.missing else []
        parts += ["Between rows, paired:", markdown(notes_below(pairs, OVER))] if (pairs := self.comparisons(notes=notes)) else []
        return parts + (["Published, quoted from the source named:", markdown(quoted)] if (quoted := self.quoted()) else [])

    def markdown(self, *, marks: bool = True) -> str:
        return "\n\n".join([f"{self.caption} {LEGEND}", *self.parts(marks=marks)])

    def write(self, folder: str | Path) -> list[Path]:
        """<folder>/<table>-<dataset>-<preset>.md, .csv and .tex, each written whole or not at all, without marks; returns the paths."""
        tabulars = [latex(notes_below(part, OVER), f"{self.caption}\n{LEGEND}") for part in (self.main(marks=False), self.comparisons()) if part]
        written = {".md": f"{self.markdown(marks=False)}\n", ".csv": self.numbers().to_csv(index=False), ".tex": "\n".join(tabulars)}
        return [write_text(Path(folder) / f"{self.stem}{suffix}", words) for suffix, words in written.items()]


def in_words(numbers: Sequence[int]) -> str:
    """[0, 1, 2, 5] -> "0 to 2, 5"."""
    by_rank = itertools.groupby(enumerate(sorted(numbers)), key=lambda at: at[1] - at[0])  # neighbours exceed their rank by the same
    runs = [[number for _, number in run] for _, run in by_rank]
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)


def texts(one: Cell, *, notes: bool = True) -> list[Text | str]:
    """A cell as the table's columns: paper, ours, ours − paper, paper − reference, ours − reference."""
    return [number(one.paper, one.column), text(one.ours, one.column, notes=notes), number(one.difference, one.column, sign=True),
            number(one.paper_versus, one.column, sign=True), text(one.versus, one.column, sign=True, notes=notes)]


def text(value: Value | None, column: Column, *, sign: bool = False, notes: bool = True) -> Text:
    return Text(value.text(column.digits, sign=sign), value.note if notes else "") if value else Text(NOTHING)


def number(value: float | None, column: Column, *, sign: bool = False) -> str:
    return NOTHING if value is None else minus(f"{value:{'+' if sign else ''}z.{column.digits}f}")


def _bounds(name: str, value: Value | None) -> dict[str, float]:
    found = (value.interval.mean, value.interval.low, value.interval.high) if value else (np.nan,) * 3
    return dict(zip((name, f"{name}_low", f"{name}_high"), found, strict=True))
