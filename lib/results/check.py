"""`python -m lib check`: a reader's own run beside the reference results, column by column.

The rule. Two means agree when they differ by no more than sqrt(half_here^2 + half_reference^2), where half is half the 95 %
interval that `lib.results.cells` gives: over seeds where several seeds are compared, else over the test samples, whole
clusters of them where the table says so, and there too where all seeds have the same values (a row that is not trained). An
interval without a width (a value that does not vary) leaves 1e-6 of the value for rounding. Values that are the same bit for
bit are "identical".

Compared are the seeds that both sides have. Without any in common, all of both where both have several, else one of each.
Both sides see the same test samples, so their difference varies less than the rule allows for; training noise is in the
intervals over seeds alone.

Tables, data sets, presets and kinds of device (CPU, CUDA) are never mixed: each combination is a group of its own. A group
without its counterpart is shown, where something of the same table is there to stand beside, or listed; it is not judged.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lib import tables
from lib.results.cells import Value, own
from lib.results.grids import NOTHING
from lib.results.statistics import Interval
from lib.results.store import Group, Item, Rows, Stored, read_folder
from lib.files import resolve
from lib.tables.table import Column, Table

RULE = "Two means agree when they differ by no more than the root of the sum of their squared halves (the ± of each)."
ROUNDING = 1e-6  # of the value, where an interval has no width
IDENTICAL, AGREES, DISAGREES, NOT_JUDGED = "identical", "agrees", "DISAGREES", NOTHING
HEAD = ("row", "column", "n", "seed", "reference", "here", "difference", "allowed", "")

Seeds = dict[int, Item]  # of one row


@dataclass(frozen=True)
class Cell:
    """One row in one column on both sides; None for a side that has nothing."""

    group: Group
    row: str
    column: Column
    reference: Value | None
    here: Value | None
    verdict: str

    def words(self) -> list[str]:
        """The cell as a line of the printed table."""
        digits, sides = self.column.digits, [self.reference, self.here]
        samples, seeds = ([spelt(side) for side in sides if side] for spelt in (lambda side: str(side.samples), lambda side: _list(side.seeds)))
        means = [side.interval.text(digits) if side else NOTHING for side in sides]
        one, other = (side and side.interval for side in sides)
        margins = [f"{other.mean - one.mean:+.{digits}f}", f"{allowed(one, other):.{digits}f}"] if one and other else [NOTHING] * 2
        return [self.row, self.column.name, *(" | ".join(dict.fromkeys(both)) for both in (samples, seeds)), *means, *margins, self.verdict]


def _list(seeds: tuple[int, ...]) -> str:
    return ",".join(map(str, seeds))


def allowed(reference: Interval, here: Interval) -> float:
    """By how much two means may differ; a missing or empty interval leaves room for rounding alone."""
    halves = np.nan_to_num([reference.half, here.half])
    largest = max(1.0, *np.nan_to_num(np.abs([reference.mean, here.mean])))
    return max(float(np.hypot(*halves)), ROUNDING * largest)


def matching(reference: Seeds, here: Seeds) -> tuple[list[int], list[int]]:
    """The seeds to compare: the common ones, else all where both have several, else the first of each."""
    if common := sorted(reference.keys() & here.keys()):
        return common, common
    several = len(reference) > 1 and len(here) > 1
    return tuple(sorted(seeds) if several or not seeds else [min(seeds)] for seeds in (reference, here))


def compare(table: Table, group: Group, row: str, column: Column, reference: Seeds, here: Seeds) -> Cell | None:
    """One cell; None where neither side has a value of any sample."""
    sides = [{seed: seeds[seed] for seed in chosen} for seeds, chosen in zip((reference, here), matching(reference, here), strict=True)]
    one, other = (own(table, {row: seeds}, row, column) for seeds in sides)
    if not any(side and side.samples for side in (one, other)):
        return None
    verdict = NOT_JUDGED
    if one and other:
        same = [sides[0].keys() == sides[1].keys()] + [np.array_equal(*(column.samples(side[seed].values) for side in sides), equal_nan=True)
                                                       for seed in sides[0].keys() & sides[1].keys()]
        near = abs(other.interval.mean - one.interval.mean) <= allowed(one.interval, other.interval)  # NaN does not agree
        verdict = IDENTICAL if all(same) else AGREES if near else DISAGREES
    return Cell(group, row, column, one, other, verdict)


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
        if not self.here:
            return ["Reference only: nothing of this group was run here. Not judged."]
        if not self.reference:
            return ["Here only: the reference has nothing of this group. Not judged."]
        alone = (("In the reference only", self.reference.keys() - self.here.keys()), ("Here only", self.here.keys() - self.reference.keys()))
        return [self._data(), *(f"{title}: {', '.join(row.name for row in self.table.rows if row.name in rows)}." for title, rows in alone if rows)]

    def _data(self) -> str:
        """Whether both sides saw the same data, by their fingerprints."""
        unlike = [row.name for row in self.table.rows if row.name in self.here.keys() & self.reference.keys()
                  and _fingerprints(self.here[row.name]) != _fingerprints(self.reference[row.name])]
        kind = "twins" if self.group.is_twin else "data sets"
        if unlike:
            return f"The {kind} are not the same bytes (their fingerprints differ) for: {', '.join(unlike)}."
        return f"Same {kind} (fingerprints agree)."

    def text(self) -> str:
        meaning = "; ".join(sorted({side.over for cell in self.cells for side in (cell.reference, cell.here) if side}))
        heading = f"{self.table.title} ({', '.join((self.table.name, *self.group[1:4]))}); ±: 95 % {meaning}"
        return "\n".join([heading, *self.notes(), *aligned([HEAD, *(cell.words() for cell in self.cells)])])


def _fingerprints(seeds: Seeds) -> set[str]:
    return {str(item.record.depends.get("data")) for item in seeds.values()}


def sections(names: list[str], reference: Stored, here: Stored) -> Iterator[Section]:
    """Every group of the tables `names` of whose data set and preset something was run here, devices apart."""
    sides = [{(table.name, group): rows for table, group, rows in side.filled()} for side in (reference, here)]
    places = {(name, *group[1:3]) for name, group in sides[1]}
    for name in names:
        found = sorted((group for table, group in sides[0].keys() | sides[1].keys() if table == name and (name, *group[1:3]) in places))
        for group in found:
            yield Section(tables.get(name), group, *(side.get((name, group), {}) for side in sides))


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
    names = [tables.get(name).name for name in names or tables.NAMES]
    here, reference = (_read(folder, preset) for folder in (results_dir, reference_dir))
    lines = [f"damaged, left out: {line}" for side in (here, reference) for line in side.problems]
    for folder, found, remedy in ((results_dir, here, f"make reproduce PRESET={preset}"), (reference_dir, reference, "another --reference")):
        if not found.groups:
            raise ValueError("; ".join([f"{folder}: no finished row with preset {preset!r} (try {remedy})", *lines]))
    shown = list(sections(names, reference, here))
    cells = {(cell.group, cell.row, cell.column.name): cell for section in shown for cell in section.cells}  # some tables share rows
    text, agree = verdicts(list(cells.values()))
    parts = [RULE, *(section.text() for section in shown), *_not_run(names, reference, here), "\n".join([*lines, text])]
    return "\n\n".join(parts), agree and not (here.problems or reference.problems)


def _read(folder: str, preset: str) -> Stored:
    if not resolve(folder).is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; give the one that holds runs/")
    return read_folder(resolve(folder), preset=preset)


def _not_run(names: list[str], reference: Stored, here: Stored) -> list[str]:
    """What the reference has of tables, data sets and devices of which nothing was run here."""
    wanted, places = {tables.get(name).records or name for name in names}, {group[:3] for group in here.groups}
    left = [group for group in sorted(reference.groups) if group[:3] not in places and group.table in wanted]
    lines = [f"  {', '.join(group[:4])}: {', '.join(reference.groups[group])}" for group in left]
    return ["\n".join(["In the reference only, nothing of it was run here:", *lines])] if left else []


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
        lines.append(f"  {', '.join(cell.group[:4])}: {cell.row}, {column}: {here} here, {reference} in the reference; "
                     f"difference {difference}, allowed {limit}")
    return "\n".join(lines), False
