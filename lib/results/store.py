"""The one reader of results folders: finished rows in groups that are never mixed, and everything that was left out with its reason.

    read_folder(folder).groups[group][row][seed] -> Item

Files may be called anything: a record's own fields say what it is. Of two records of one row and seed the newer file counts. Rows
are compared sample by sample, so the rows of a group must have seen the same data: those that most of its rows and seeds saw (of
equally many, the newest) count, for the table's own and for its control alike, and what saw other data is left out and named.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lib import tables
from lib.results.records import Item, Record, read_record
from lib.results.schema import OtherVersion, column_problem
from lib.tables import MEANINGLESS

Rows = dict[str, dict[int, Item]]  # by row and seed


def items_of(rows: Rows) -> list[Item]:
    return [item for seeds in rows.values() for item in seeds.values()]


class Group(NamedTuple):
    """What stands in one table together, and with nothing else."""

    table: str  # whose records these are
    dataset: str
    preset: str
    device: str
    is_twin: bool

    @property
    def place(self) -> tuple[str, str, str]:
        """What the noise of training is known for, and what a run has, whatever the device."""
        return self.table, self.dataset, self.preset

    @property
    def data(self) -> str:
        """ "SYNTHETIC TWIN"; "osie"; "SYNTHETIC TWIN of gazecapture" where a twin was given as the data set."""
        return self.dataset if not self.is_twin else "SYNTHETIC TWIN" + ("" if self.dataset == "twin" else f" of {self.dataset}")

    @property
    def where(self) -> str:
        return f"{self.data}, {self.preset}, {self.device}"

    def order(self) -> tuple:
        """Tables as the papers have them, real data before twins."""
        return (tables.NAMES.index(self.table) if self.table in tables.NAMES else len(tables.NAMES), self.is_twin, self)


@dataclass
class Stored:
    """What lies in a results folder."""

    groups: dict[Group, Rows] = field(default_factory=dict)  # in the tables' order
    problems: list[str] = field(default_factory=list)  # what is damaged, unknown or does not fit, one line each
    hidden: dict[Group, Rows] = field(default_factory=dict)  # of the preset whose numbers mean nothing, where there are others
    interrupted: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)  # (table, data set, preset) -> rows with a checkpoint

    @property
    def items(self) -> list[Item]:
        return [item for rows in self.groups.values() for item in items_of(rows)]

    @property
    def meaningless(self) -> bool:
        """Whether nothing was found but runs of the smoke preset."""
        return bool(self.groups) and all(group.preset == MEANINGLESS for group in self.groups)

    def filled(self) -> Iterator[tuple]:
        """(table, group, its rows) for every table of which a row was run, in the tables' order."""
        for table in map(tables.get, tables.NAMES):
            for group, stored in self.groups.items():
                rows = {row.name: stored[row.name] for row in table.rows if row.name in stored}
                if rows and group.table == (table.records or table.name) and stands(table, group, rows):
                    yield table, group, rows


def stands(table, group: Group, rows: Rows) -> bool:
    """Whether a table is told by `rows`: one that reads another's records, where it has this data set and preset and rows that the other has not.

    A table whose records others share is not told by what they have on a data set that it does not know.
    """
    if table.records is None:
        return group.dataset in table.datasets or not any(group.dataset in other.datasets for other in sharing(group.table))
    others = {row.name for row in tables.get(table.records).rows}
    return table.has(group.preset, group.dataset) and not {row.name for row in table.rows} & rows.keys() <= others


def read_folder(folder: Path, *, preset: str | None = None) -> Stored:
    """Everything finished below `folder`, a results folder, or of one preset alone; what does not fit is one line of `problems`.

    FileNotFoundError, one line, where there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: {'is a file' if folder.exists() else 'no such folder'}; run something first, or give the one with runs/")
    root = next((folder / name for name in ("runs", "records") if (folder / name).is_dir()), folder)  # records: in the reference
    found, other = Stored(), []
    seen: dict[Group, list[Item]] = {}
    for path in sorted(root.rglob("*.json"), key=lambda path: (_time(path), path)):
        if "reference" in path.relative_to(root).parts:
            continue  # committed results lie below a results folder, and are nobody's own
        try:
            item = read_record(path)
            if preset in (None, item.record.preset):
                _check_place(item)
                seen.setdefault(group_of(item.record), []).append(item)
        except OtherVersion as error:
            other.append(str(error))
        except (OSError, ValueError) as error:
            found.problems.append(str(error).replace(f"{root}/", ""))
    if other:
        found.problems.append(other[0].replace(f"{root}/", "") + (f"; so are {len(other) - 1} others" if other[1:] else ""))
    for group in sorted(seen, key=Group.order):
        found.groups[group] = _of_same_data(group, seen[group], found.problems)
    if preset is None and not found.meaningless:
        found.hidden = {group: rows for group, rows in found.groups.items() if group.preset == MEANINGLESS}
        found.groups = {group: rows for group, rows in found.groups.items() if group.preset != MEANINGLESS}
    found.interrupted = _interrupted(root)
    return found


def group_of(record: Record) -> Group:
    return Group(record.table, record.dataset, record.preset, record.provenance.get("device") or "unknown", record.is_twin)


def data_of(record: Record) -> str:
    """How many samples of which data a row saw: equal for rows that can be compared sample by sample."""
    return json.dumps([record.n, record.depends.get("data")], sort_keys=True)


def sharing(stored: str) -> list:
    """All tables whose records lie at the name `stored`; one on somebody's own data shares with none."""
    return [table for table in map(tables.get, (stored,) if stored in tables.OWN else tables.NAMES) if (table.records or table.name) == stored]


def variants(stored: str) -> dict[str, str]:
    """Row -> "main" or "control", over all tables whose records lie at `stored`."""
    return {row.name: row.variant for table in sharing(stored) for row in table.rows}


def _time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0  # a link to nowhere; reading it says so


def _check_place(item: Item) -> None:
    """ValueError where no table has such a row, or data set, or where its values do not fit the table's columns."""
    record, problem = item.record, ""
    if not (found := sharing(record.table)) or record.table in tables.OWN:
        problem = f"is of table {record.table!r}, " + ("which no report gathers" if found else "which there is not")
    elif record.row not in variants(record.table):
        problem = f"is of row {record.row!r}, which table {record.table!r} has not"
    elif not any(table.has(record.preset, record.dataset) for table in found):
        problem = f"is of data set {record.dataset!r} and preset {record.preset!r}, which table {record.table!r} has not"
    else:
        with_row = [table for table in found if any(row.name == record.row for row in table.rows)]
        problem = next(filter(None, (column_problem(table, item.values) for table in with_row)), "")
    if problem:
        raise ValueError(f"{item.path}: {problem}; left out, run its row again")


def _of_same_data(group: Group, items: list[Item], problems: list[str]) -> Rows:
    """The rows, oldest first in `items`, that saw the data of most rows and seeds; a line in `problems` for those that did not."""
    kinds, saw, newest, last = variants(group.table), {}, {}, {}
    for i, item in enumerate(items):
        kind, data = kinds[item.record.row], data_of(item.record)
        saw.setdefault(kind, {}).setdefault(data, set()).add((item.record.row, item.record.seed))
        newest[data], last[item.record.row, item.record.seed] = i, data
    chosen = {kind: max(found, key=lambda data: (len(found[data]), newest[data])) for kind, found in saw.items()}
    rows: Rows = {}
    for item in items:
        if data_of(item.record) == chosen[kinds[item.record.row]]:
            rows.setdefault(item.record.row, {})[item.record.seed] = item
    problems += [f"{group.table}, {group.where}: row {row}, seed {seed}, saw other data than most rows of its table; left out, run it again"
                 for (row, seed), data in last.items() if data != chosen[kinds[row]]]
    return {row: dict(sorted(seeds.items())) for row, seeds in rows.items()}


def _interrupted(root: Path) -> dict[tuple[str, str, str], list[str]]:
    """Rows of which a checkpoint lies there: at work now, or interrupted."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for path in sorted(root.glob("*/*/*.ckpt")):
        dataset, _, preset = path.parent.name.partition("-")
        found.setdefault((path.parent.parent.name, dataset, preset), []).append(path.name.split("-seed")[0])
    return found
