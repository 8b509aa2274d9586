"""`python -m lib check`: a reader's own run beside the reference results, column by column.

The rule. Two means agree when they differ by no more than sqrt(half_here^2 + half_reference^2), where half is half the 95 %
interval that `lib.results.statistics` gives: over seeds where several seeds are compared, else over the test samples, whole
clusters of them where the table says so, and there too where all seeds have the same values (a row that is not trained). An
interval without a width (a value that does not vary) leaves 1e-6 of the value for rounding. Values that are the same bit for
bit are "identical".

Compared are the seeds that both sides have. Without any in common, all of both where both have several, else one of each.
Both sides see the same test samples, so their difference varies less than the rule allows for; training noise is in the
intervals over seeds alone. Of two records of one row and seed the newer file counts.

Tables, data sets, presets and kinds of device (CPU, CUDA) are never mixed: each combination is a group of its own. A group
without its counterpart is shown, where something of the same table is there to stand beside, or listed; it is not judged.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib import tables
from lib.results.records import Record
from lib.results.scan import scan
from lib.results.statistics import Interval, summarise
from lib.files import resolve
from lib.tables.table import Column, Table

RULE = "Two means agree when they differ by no more than the root of the sum of their squared halves (the ± of each)."
ROUNDING = 1e-6  # of the value, where an interval has no width
IDENTICAL, AGREES, DISAGREES, NOT_JUDGED = "identical", "agrees", "DISAGREES", "–"
NOTHING = "–"
HEAD = ("row", "column", "n", "seed", "reference", "here", "difference", "allowed", "")


class Group(NamedTuple):
    """What is compared only with its like."""

    table: str  # whose records these are
    dataset: str
    preset: str
    device: str

    def __str__(self) -> str:
        return ", ".join(self)


Seeds = dict[int, tuple[Record, dict[str, np.ndarray]]]  # of one row
Rows = dict[str, Seeds]


@dataclass(frozen=True)
class Cell:
    """One row in one column on both sides; None for a side that has nothing."""

    group: Group
    row: str
    column: Column
    reference: Interval | None
    here: Interval | None
    samples: str  # how many
    seeds: str  # which were compared
    verdict: str

    @property
    def difference(self) -> float | None:
        return None if self.reference is None or self.here is None else self.here.mean - self.reference.mean

    @property
    def allowed(self) -> float | None:
        return None if self.reference is None or self.here is None else allowed(self.reference, self.here)

    def words(self) -> list[str]:
        """The cell as a line of the printed table."""
        digits = self.column.digits
        sides = [side.text(digits) if side else NOTHING for side in (self.reference, self.here)]
        margins = [f"{self.difference:+.{digits}f}", f"{self.allowed:.{digits}f}"] if self.reference and self.here else [NOTHING] * 2
        return [self.row, self.column.name, self.samples, self.seeds, *sides, *margins, self.verdict]


def allowed(reference: Interval, here: Interval) -> float:
    """By how much two means may differ; a missing or empty interval leaves room for rounding alone."""
    halves = np.nan_to_num([reference.half, here.half])
    largest = max(1.0, *np.nan_to_num(np.abs([reference.mean, here.mean])))
    return max(float(np.hypot(*halves)), ROUNDING * largest)


# --- records ------------------------------------------------------------------------------------------------------------


def gather(folder: Path, preset: str, damaged: list[str]) -> dict[Group, Rows]:
    """The finished rows below `folder` with this preset; a line in `damaged` for each that cannot be read."""
    found: dict[Group, Rows] = {}
    for record, values in scan(folder, damaged=damaged):
        if record.preset == preset:
            group = Group(record.table, record.dataset, record.preset, str(record.provenance.get("device", record.depends.get("device"))))
            found.setdefault(group, {}).setdefault(record.row, {})[record.seed] = (record, values)
    return found


def matching(reference: Seeds, here: Seeds) -> tuple[list[int], list[int]]:
    """The seeds to compare: the common ones, else all where both have several, else the first of each."""
    if common := sorted(reference.keys() & here.keys()):
        return common, common
    several = len(reference) > 1 and len(here) > 1
    return tuple(sorted(seeds) if several or not seeds else [min(seeds)] for seeds in (reference, here))


def interval(table: Table, column: Column, seeds: Seeds, chosen: list[int]) -> Interval | None:
    """The column's mean over the `chosen` seeds; None where the row has no such value."""
    found = [column.samples(seeds[seed][1]) for seed in chosen]
    if not found or any(values is None for values in found):
        return None
    if all(np.array_equal(values, found[0], equal_nan=True) for values in found):
        found = found[:1]
    clusters = column.samples(seeds[chosen[0]][1], table.clusters) if table.clusters else None
    return summarise(found, clusters, over=table.over)


def compare(table: Table, group: Group, row: str, column: Column, reference: Seeds, here: Seeds) -> Cell | None:
    """One cell; None where neither side has the value."""
    chosen = matching(reference, here)
    one, other = interval(table, column, reference, chosen[0]), interval(table, column, here, chosen[1])
    if one is None and other is None:
        return None
    sides = [(seeds, names) for seeds, names, found in ((reference, chosen[0], one), (here, chosen[1], other)) if found]
    samples = [str(len(column.samples(seeds[names[0]][1]))) for seeds, names in sides]
    spelt = [",".join(map(str, names)) for _, names in sides]
    verdict = NOT_JUDGED if one is None or other is None else _verdict(column, one, other, reference, here, chosen)
    return Cell(group, row, column, one, other, _both(samples), _both(spelt), verdict)


def _verdict(column: Column, one: Interval, other: Interval, reference: Seeds, here: Seeds, chosen: tuple[list[int], list[int]]) -> str:
    pairs = [(column.samples(reference[a][1]), column.samples(here[b][1])) for a, b in zip(*chosen, strict=False)]
    if chosen[0] == chosen[1] and all(np.array_equal(a, b, equal_nan=True) for a, b in pairs):
        return IDENTICAL
    return AGREES if abs(other.mean - one.mean) <= allowed(one, other) else DISAGREES  # NaN does not agree


def _both(words: list[str]) -> str:
    """What the two sides have in common, or one against the other."""
    return " | ".join(dict.fromkeys(words))


# --- groups -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Section:
    """One group of one table on both sides."""

    table: Table
    group: Group
    reference: Rows
    here: Rows

    @cached_property
    def cells(self) -> list[Cell]:
        """Every row that was run here, in every column; where none was, the reference's."""
        found = [compare(self.table, self.group, row.name, column, self.reference.get(row.name, {}), self.here.get(row.name, {}))
                 for row in self.table.rows for column in self.table.columns
                 if row.name in self.here or (row.name in self.reference and not self.here)]
        return [cell for cell in found if cell is not None]

    def notes(self) -> list[str]:
        """What a reader must know of the two sides."""
        names = {row.name for row in self.table.rows}
        if not self.here:
            return ["Reference only: nothing of this group was run here. Not judged."]
        if not self.reference:
            return ["Here only: the reference has nothing of this group. Not judged."]
        lines = [f"{title}: {', '.join(rows)}." for title, rows in (
            ("In the reference only", [row for row in self.reference if row in names - self.here.keys()]),
            ("Here only", [row for row in self.here if row in names - self.reference.keys()])) if rows]
        return [self._data(), *lines]

    def _data(self) -> str:
        """Whether both sides saw the same data, by their fingerprints."""
        unlike = [row.name for row in self.table.rows if row.name in self.here.keys() & self.reference.keys()
                  and _fingerprints(self.here[row.name]) != _fingerprints(self.reference[row.name])]
        kind = "twins" if all(record.is_twin for seeds in self.here.values() for record, _ in seeds.values()) else "data sets"
        if unlike:
            return f"The {kind} are not the same bytes (their fingerprints differ) for: {', '.join(unlike)}."
        return f"Same {kind} (fingerprints agree)."

    def text(self) -> str:
        over = {side.over for cell in self.cells for side in (cell.reference, cell.here) if side}
        meaning = "; ".join(f"{'t-interval' if name == 'seeds' else 'bootstrap'} over {name}" for name in sorted(over))
        heading = f"{self.table.title} ({', '.join((self.table.name, *self.group[1:]))}); ±: 95 % {meaning}"
        return "\n".join([heading, *self.notes(), *aligned([HEAD, *(cell.words() for cell in self.cells)])])


def _fingerprints(seeds: Seeds) -> set[str]:
    return {str(record.depends.get("data")) for record, _ in seeds.values()}


def sections(names: list[str], reference: dict[Group, Rows], here: dict[Group, Rows]) -> Iterator[Section]:
    """Every group of the tables `names` of whose data set and preset something was run here, devices apart."""
    for name in names:
        table = tables.get(name)
        rows = {row.name for row in table.rows}
        sides = [{group: found for group, found in side.items() if group.table == (table.records or name) and rows & found.keys()}
                 for side in (reference, here)]
        places = {group[:3] for group in sides[1]}
        for group in sorted(group for group in sides[0].keys() | sides[1].keys() if group[:3] in places):
            yield Section(table, group, sides[0].get(group, {}), sides[1].get(group, {}))


def aligned(lines: list) -> list[str]:
    """Columns of one width each: names to the left, numbers to the right, the last as it is."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return ["  " + "  ".join(word.ljust(width) if i < 2 or i == len(line) - 1 else word.rjust(width)
                             for i, (word, width) in enumerate(zip(line, widths, strict=True))).rstrip() for line in lines]


# --- the command --------------------------------------------------------------------------------------------------------


def report(names: list[str], *, preset: str = "demo", results_dir: str = "results", reference_dir: str = "results/reference") -> tuple[str, bool]:
    """What `python -m lib check` prints, and whether all is well: nothing disagrees, nothing is damaged, something was compared.

    ValueError where one of the folders holds no finished row with this preset.
    """
    damaged: list[str] = []
    names = names or list(tables.NAMES)
    for name in names:
        tables.get(name)
    here = gather(_within(results_dir, "runs"), preset, damaged)
    reference = gather(_within(reference_dir, "records"), preset, damaged)
    lines = [f"damaged, left out: {line}" for line in damaged]
    for folder, found, remedy in ((results_dir, here, f"make reproduce PRESET={preset}"), (reference_dir, reference, "another --reference")):
        if not found:
            raise ValueError("; ".join([f"{folder}: no finished row with preset {preset!r} (try {remedy})", *lines]))
    shown = list(sections(names, reference, here))
    cells = {(cell.group, cell.row, cell.column.name): cell for section in shown for cell in section.cells}  # some tables share rows
    text, agree = verdicts(list(cells.values()))
    parts = [RULE, *(section.text() for section in shown), *_not_run(names, reference, here), "\n".join([*lines, text])]
    return "\n\n".join(parts), agree and not damaged


def _within(folder: str, name: str) -> Path:
    """The part of a results folder that holds records; the folder itself if it has no such part."""
    folder = resolve(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    return folder / name if (folder / name).is_dir() else folder


def _not_run(names: list[str], reference: dict[Group, Rows], here: dict[Group, Rows]) -> list[str]:
    """What the reference has of tables, data sets and devices of which nothing was run here."""
    wanted, places = {tables.get(name).records or name for name in names}, {group[:3] for group in here}
    left = [group for group in sorted(reference) if group[:3] not in places and group.table in wanted]
    lines = ["In the reference only, nothing of it was run here:", *(f"  {group}: {', '.join(reference[group])}" for group in left)]
    return ["\n".join(lines)] if left else []


def verdicts(cells: list[Cell]) -> tuple[str, bool]:
    """The last lines: all cells agree, or those that do not; and whether all do. Where none was compared, they do not."""
    judged = [cell for cell in cells if cell.verdict != NOT_JUDGED]
    bad = [cell for cell in judged if cell.verdict == DISAGREES]
    same = sum(cell.verdict == IDENTICAL for cell in judged)
    if not judged:
        return "Nothing was compared: the two folders have no row in common on the same data set and kind of device.", False
    if not bad:
        return f"All {len(judged)} cells agree with the reference; {same} of them are identical.", True
    lines = [f"{len(bad)} of {len(judged)} cells do not agree with the reference ({same} identical):"]
    for cell in bad:
        _, column, _, _, reference, here, difference, limit, _ = cell.words()
        lines.append(f"  {cell.group}: {cell.row}, {column}: {here} here, {reference} in the reference; difference {difference}, allowed {limit}")
    return "\n".join(lines), False
