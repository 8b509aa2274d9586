"""Everything that the report shows, gathered from a results folder."""

import datetime
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from lib import claims
from lib.claims.decide import fails_first
from lib.report.deviations import Deviation
from lib.report.deviations import find as find_deviations
from lib.report.gallery import Figure
from lib.report.gallery import find as find_figures
from lib.report.parts import cost, disk, not_run, provenance
from lib.results.filled import Filled
from lib.results.grids import Grid, Mark
from lib.results.records import git_commit, short
from lib.results.store import Group, Stored, read_folder
from lib.files import resolve
from lib.tables.table import Table


@dataclass(frozen=True)
class Report:
    """What is written as HTML, Markdown, CSV and LaTeX."""

    folder: Path
    made: str  # the day
    commit: str | None  # of the code that wrote it
    stored: Stored
    ledger: list[claims.Verdict]  # what fails first
    tables: list[Filled]
    figures: dict[str, list[Figure]]
    deviations: list[Deviation]
    provenance: Grid
    cost: Grid
    disk: Grid
    not_run: Grid

    @property
    def counts(self) -> dict[str, int]:
        """How many claims have which verdict, those that fail first; a claim tested on two data sets counts twice."""
        counted = Counter(one.verdict for one in self.ledger)
        return {name: counted[name] for name in claims.ORDER}

    @property
    def problems(self) -> list[str]:
        """What the reader must know before any number: damaged or left out records, results of different code in one table."""
        return self.stored.problems + [f"{one.table.name}, {one.group.where}: {line}" for one in self.tables for line in one.warnings()]

    @property
    def facts(self) -> list[str]:
        """Data, presets, devices, seeds and commits of all that is shown, and the day."""
        groups, items = list(self.stored.groups), self.stored.items
        seeds = sorted({item.record.seed for item in items})
        commits = sorted({short(item.record.provenance.get("commit")) for item in items})
        return [f"{name} {', '.join(dict.fromkeys(map(str, values)))}" for name, values in (
            ("preset", [group.preset for group in groups]), ("device", [group.device for group in groups]),
            ("seed" if len(seeds) < 2 else "seeds", seeds), ("results of commit", commits)) if values] + [
            f"report of commit {short(self.commit)}", self.made]

    @property
    def data(self) -> list[str]:
        """Each kind of data once, twins first: "SYNTHETIC TWIN", "osie"."""
        return list(dict.fromkeys(group.data for group in sorted(self.stored.groups, key=lambda group: (not group.is_twin, group.data))))


def collect(results_dir: str | Path = "results", *, today: str | None = None) -> Report:
    """The report on whatever lies in `results_dir`; FileNotFoundError if there is no such folder, a ValueError if it is a file.

    Without a record it is a report that says so. Everything but the day is the same for the same files.
    """
    folder = resolve(results_dir)
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such folder; run something first, or name another with --results")
    if not folder.is_dir():
        raise ValueError(f"{folder}: not a folder; name the folder of results")
    stored = read_folder(folder)
    ledger = fails_first(claims.decide(claims.ledger(), stored.groups, leave_out=()))
    filled = apart([Filled(table, group, rows, marks_of(ledger, table, group)) for table, group, rows in stored.filled()])
    return Report(
        folder=folder, made=today or datetime.date.today().isoformat(), commit=git_commit(), stored=stored, ledger=ledger, tables=filled,
        figures=find_figures(folder, stored.problems), deviations=find_deviations(), provenance=provenance(stored),
        cost=cost(stored), disk=disk(folder), not_run=not_run(stored, filled))


def marks_of(ledger: list[claims.Verdict], table: Table, group: Group) -> dict[str, tuple[Mark, ...]]:
    """The verdicts of this table and group by row: of each row that a tested claim is about."""
    found: dict[str, tuple[Mark, ...]] = {}
    for one in ledger:
        if one.claim.table == table.name and one.group == group and one.verdict in claims.TESTED:
            for row in dict.fromkeys(row for name, row in one.claim.needs if name == table.name):
                found[row] = (*found.get(row, ()), Mark(one.verdict, one.name, one.claim.sentence))
    return found


def apart(filled: list[Filled]) -> list[Filled]:
    """Where two groups would have the same files, the kind of device, and whether it is a twin, ends their names."""
    def told(one: Filled) -> Filled:
        alike = [other.group for other in filled if other.stem == one.stem]
        ends = [one.group.device] * (len({group.device for group in alike}) > 1)
        ends += ["twin" if one.group.is_twin else "real"] * (len({group.is_twin for group in alike}) > 1)
        return replace(one, suffix="".join(f"-{end}" for end in ends))

    return list(map(told, filled))
