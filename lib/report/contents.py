"""Everything that the report shows, gathered from a results folder; provenance, cost and what was not run as grids."""

import datetime
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from lib import claims, tables
from lib.claims.decide import fails_first
from lib.files import resolve
from lib.report.deviations import Deviation
from lib.report.deviations import find as find_deviations
from lib.report.gallery import Figure
from lib.report.gallery import find as find_figures
from lib.results.filled import Filled
from lib.results.grids import NOTHING, Grid, Mark, Text, grid
from lib.results.records import git_commit, short, size_of
from lib.results.store import MEANINGLESS, Group, Item, Rows, Stored, items_of, read_folder, variants
from lib.tables.table import Table
from lib.training.progress import clock

NEEDS_GPU = "the paper's networks, sizes and schedule: meant for a GPU"


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
    deviations: dict[str, list[Deviation]]  # by system
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
    """The report on whatever lies in `results_dir`. Errors as `read_folder`.

    Without a record it is a report that says so. Everything but the day is the same for the same files.
    """
    folder = resolve(results_dir)
    stored = read_folder(folder)
    ledger = fails_first(claims.decide(claims.ledger(), stored.groups))
    filled = apart([Filled(table, group, rows, marks_of(ledger, table, group)) for table, group, rows in stored.filled()])
    return Report(
        folder=folder, made=today or datetime.date.today().isoformat(), commit=git_commit(), stored=stored, ledger=ledger, tables=filled,
        figures=find_figures(folder, stored.problems), deviations=find_deviations(), provenance=provenance(stored),
        cost=cost(stored), disk=disk(folder), not_run=not_run(stored, filled))


def marks_of(ledger: list[claims.Verdict], table: Table, group: Group) -> dict[str, tuple[Mark, ...]]:
    """The verdicts of this table and group by row: of each row that a tested claim is about."""
    tested = [one for one in ledger if one.claim.table == table.name and one.group == group and one.verdict in claims.TESTED]
    found = {row: tuple(Mark(one.verdict, one.name, one.claim.sentence) for one in tested if (table.name, row) in one.claim.needs)
             for row in table.names}
    return {row: marks for row, marks in found.items() if marks}


def apart(filled: list[Filled]) -> list[Filled]:
    """Where two groups would have the same files, the kind of device, and whether it is a twin, ends their names."""
    found = []
    for one in filled:
        alike = [other.group for other in filled if other.stem == one.stem]
        suffix = f"-{one.group.device}" * (len({group.device for group in alike}) > 1)
        suffix += f"-{'twin' if one.group.is_twin else 'real'}" * (len({group.is_twin for group in alike}) > 1)
        found.append(replace(one, suffix=suffix))
    return found


def _all(values: Iterable) -> str:
    """The different values, separated by commas."""
    return ", ".join(sorted({str(value) for value in values if value not in (None, "")})) or NOTHING


def provenance(stored: Stored) -> Grid:
    """Where and with what the records of each group were made; hosts are left out."""
    lines = []
    for group, rows in stored.groups.items():
        kept = [item.record.provenance for item in items_of(rows)]
        versions = [{name: version for name, version in (one.get("versions") or {}).items() if version} for one in kept]
        lines.append([Text(group.table, group.where), _all(short(one.get("commit")) for one in kept),
                      _all(one.get("python") for one in kept), _all(f"{name} {one[name]}" for one in versions for name in sorted(one)),
                      _all(one.get("device_name") for one in kept), _all(one.get("threads") for one in kept),
                      _all(one.get("processes", 1) for one in kept), _fingerprints(group, rows)])
    return grid(["table", "commit", "Python", "versions", "processor", "threads", "processes", "data's fingerprints"], lines, numeric=False)


def _fingerprints(group: Group, rows: Rows) -> str:
    kinds, found = variants(group.table), {}
    for item in items_of(rows):
        data = item.record.depends.get("data")
        found[kinds[item.record.row]] = ", ".join(map(" ".join, data.items())) if isinstance(data, dict) else str(data)
    return "; ".join(f"{kind}: {found[kind]}" for kind in sorted(found, key=lambda kind: kind != "main"))


def cost(stored: Stored) -> Grid:
    """Seconds summed over rows and seeds, the longest row, and what the files take."""
    lines = []
    for group, rows in stored.groups.items():
        found = items_of(rows)
        seconds = {name: sum(_seconds(item) for item in seeds.values()) for name, seeds in rows.items()}
        longest = max((_seconds(item), item.record.row) for item in found)
        lines.append([Text(group.table, group.where), str(len(rows)), str(len(found)), clock(sum(seconds.values())),
                      f"{clock(longest[0])} ({longest[1]})", _all(item.record.provenance.get("threads") for item in found),
                      size_text(sum(item.size for item in found))])
    if lines:
        everything = stored.items
        lines.append(["all", str(sum(int(line[1]) for line in lines)), str(len(everything)), clock(sum(map(_seconds, everything))), "", "",
                      size_text(sum(item.size for item in everything))])
    return grid(["table", "rows", "rows × seeds", "row seconds", "longest row", "threads each", "records"], lines)


def disk(folder: Path) -> Grid:
    """What the parts of the results folder take."""
    found = [(path.name, sum(size_of(part) for part in path.rglob("*") if part.is_file() and not part.is_symlink()))
             for path in sorted(folder.iterdir()) if path.is_dir() and path.name in ("runs", "records", "cache", "figures")]
    return grid(["folder", "size"], [[f"{name}/", size_text(size)] for name, size in found])


def _seconds(item: Item) -> float:
    return float(item.record.provenance.get("seconds") or 0)


def size_text(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.0f} kB"


def not_run(stored: Stored, filled: list[Filled]) -> Grid:
    """Rows, seeds, presets and data sets of which there is nothing, and why as far as the files tell."""
    lines = []
    for name in tables.NAMES:
        shown = [one for one in filled if one.table.name == name]
        found = [part for one in shown for part in _rows(one, stored)] + _presets_and_data(tables.get(name), shown, stored)
        lines += [[name, f"{what} {', '.join(values)}", why] for what, values, why in found if values]
    return grid(["table", "what", "why"], lines, numeric=False)


def _rows(one: Filled, stored: Stored) -> list[tuple[str, list[str], str]]:
    at_work, where = stored.interrupted.get(one.group.place, ()), one.group.where
    return [(f"{where}: rows", [name for name in one.missing if name in at_work], "at work, or interrupted: a checkpoint lies there"),
            (f"{where}: rows", [name for name in one.missing if name not in at_work], "no record: not chosen, or not finished"),
            (f"{where}: seeds of", one.fewer, "fewer seeds than other rows: not finished, or not chosen")]


def _presets_and_data(table: Table, shown: list[Filled], stored: Stored) -> list[tuple[str, list[str], str]]:
    """What a table could have been run with and was not, the same reason in one line."""
    presets = [preset for preset in table.presets if preset not in {one.group.preset for one in shown}]
    of_paper = [preset for preset in presets if preset.startswith("paper")]
    others = [preset for preset in presets if preset not in (*of_paper, MEANINGLESS)]
    smoke = [MEANINGLESS] if any(group.table == (table.records or table.name) for group in stored.hidden) else []
    data = [dataset for dataset in table.datasets if dataset not in {one.group.dataset for one in shown}]
    found = [("preset", of_paper, NEEDS_GPU), ("preset", others, "no record with it here"), ("preset", smoke, "was run; its numbers mean nothing"),
             ("data set", [one for one in data if one == "twin"], "no record"),
             ("data set", [one for one in data if one != "twin"], "no record; data/README.md and the files beside it say how to get real data")]
    return [(f"{what}s" if len(values) > 1 else what, values, why) for what, values, why in found]
