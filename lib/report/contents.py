"""Everything that the report shows, gathered from a results folder."""

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from lib import tables
from lib.report import deviations, gallery, parts
from lib.report.grids import Grid, Mark
from lib.report.sections import Section, section, short
from lib.report.stored import Group, Stored, read
from lib.results.records import git_commit
from lib.results.verdicts import FAILS, HOLDS, UNDECIDED
from lib.tables import claims
from lib.tables.ledger_samples import gather
from lib.files import resolve

TESTED = (FAILS, UNDECIDED, HOLDS)


@dataclass(frozen=True)
class Found:
    """A verdict, and the kind of device that its rows were computed on."""

    verdict: claims.Verdict
    device: str = ""

    @property
    def name(self) -> str:
        """Its anchor in the page."""
        one = self.verdict
        return re.sub(r"[^a-z0-9]+", "-", "-".join(filter(None, ("claim", one.claim.key, one.dataset, one.preset, self.device))).lower())

    @property
    def where(self) -> str:
        """ "SYNTHETIC TWIN, demo, cpu"; empty where nothing was tested."""
        one = self.verdict
        return Group("", one.dataset, one.preset, self.device, one.is_twin).where if one.dataset else ""


@dataclass(frozen=True)
class Report:
    """What is written as HTML, Markdown, CSV and LaTeX."""

    folder: Path
    made: str  # the day
    commit: str | None  # of the code that wrote it
    stored: Stored
    ledger: list[Found]  # what fails first
    left_out: tuple[claims.LeftOut, ...]
    sections: list[Section]
    figures: dict[str, list[gallery.Figure]]
    deviations: list[deviations.Deviation]
    provenance: Grid
    cost: Grid
    disk: Grid
    not_run: Grid

    @property
    def counts(self) -> dict[str, int]:
        """How many claims have which verdict, those that fail first; a claim tested on two data sets counts twice."""
        return {name: sum(one.verdict.verdict == name for one in self.ledger) for name in claims.ORDER}

    @property
    def problems(self) -> list[str]:
        """What the reader must know before any number: damaged or left out records, results of different code in one table."""
        return self.stored.problems + [f"{one.table.name}, {one.group.where}: {line}" for one in self.sections for line in one.warnings]

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
    stored = read(folder)
    ledger = ledger_of(stored)
    sections = with_stems(list(sections_of(stored, ledger)))
    return Report(
        folder=folder, made=today or datetime.date.today().isoformat(), commit=git_commit(), stored=stored, ledger=ledger,
        left_out=claims.left_out(), sections=sections, figures=gallery.find(folder, stored.problems), deviations=deviations.find(),
        provenance=parts.provenance(stored), cost=parts.cost(stored), disk=parts.disk(folder), not_run=parts.not_run(stored, sections))


def sections_of(stored: Stored, ledger: list[Found]) -> Iterator[Section]:
    """A section for every table and group; one whose records lack what its columns need is named and left out."""
    for table, group, rows in grouped(stored):
        try:
            yield section(table, group, rows, marks_of(ledger, table, group))
        except (LookupError, ValueError, TypeError) as error:
            stored.problems.append(f"{table.name}, {group.where}: its records do not fit its columns ({error!r}); left out, run its rows again")


def ledger_of(stored: Stored) -> list[Found]:
    """A verdict for every claim; kinds of device, twins and real data apart. Claims that were tested nowhere come once."""
    apart: dict[tuple[str, bool], list] = {}
    for group, rows in stored.groups.items():
        records = [(item.record, item.values) for seeds in rows.values() for item in seeds.values()]
        apart.setdefault((group.device, group.is_twin), []).extend(records)
    found = [Found(one, device) for (device, _), records in sorted(apart.items(), key=lambda part: part[0])
             for one in claims.decide(claims.ledger(), gather(records), leave_out=())]
    seen = {one.verdict.claim.key for one in found if one.verdict.dataset}
    nowhere = [Found(one) for one in claims.decide(claims.ledger(), []) if one.claim.key not in seen]
    place = {claim.key: i for i, claim in enumerate(claims.ledger())}
    kept = [one for one in found if one.verdict.dataset] + nowhere
    return sorted(kept, key=lambda one: (claims.ORDER.index(one.verdict.verdict), place[one.verdict.claim.key]))


def marks_of(ledger: list[Found], table: tables.table.Table, group: Group) -> dict[str, tuple[Mark, ...]]:
    """The verdicts of this table and group by row: of each row that a tested claim is about."""
    found: dict[str, tuple[Mark, ...]] = {}
    for one in ledger:
        claim, where = one.verdict.claim, (one.verdict.dataset, one.verdict.preset, one.device, one.verdict.is_twin)
        if claim.table == table.name and where == tuple(group[1:]) and one.verdict.verdict in TESTED:
            for row in dict.fromkeys(row for name, row in claim.needs if name == table.name):
                found[row] = (*found.get(row, ()), Mark(one.verdict.verdict, one.name, claim.sentence))
    return found


def grouped(stored: Stored) -> list[tuple]:
    """(table, group, its rows) for every table of which a row was run, in the tables' order."""
    found = []
    for table in map(tables.get, tables.NAMES):
        for group in sorted(stored.groups, key=lambda group: (group.is_twin, *group)):
            rows = {row.name: stored.groups[group][row.name] for row in table.rows if row.name in stored.groups[group]}
            if rows and group.table == (table.records or table.name):
                found.append((table, group, rows))
    return found


def with_stems(sections: list[Section]) -> list[Section]:
    """File names as `lib.tables.frames.write` gives them; where two groups have the same, what else tells them apart is added.

    Whatever stands in a record, a name never leads out of its folder.
    """
    def told_apart(names: list[str], more: list[str]) -> list[str]:
        return [name if names.count(name) == 1 else f"{name}-{extra}" for name, extra in zip(names, more, strict=True)]

    names = told_apart([one.stem for one in sections], [one.group.device for one in sections])
    names = told_apart(names, ["twin" if one.group.is_twin else "real" for one in sections])
    names = [re.sub(r"[^\w.-]+", "_", name) for name in names]
    names = told_apart(names, [str(i) for i in range(len(names))])
    return [replace(one, stem=name) for one, name in zip(sections, names, strict=True)]
