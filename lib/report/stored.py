"""Finished records below a folder, in groups that are never mixed, and everything that was left out with its reason.

Of two records of one row and seed the newer file counts. Rows that are compared sample by sample must have seen the same
data: the data of a group's newest record count, for the table's own and for its control alike, and records that saw other data are
left out and named.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lib import tables
from lib.results import scan
from lib.results.records import Record

MEANINGLESS = "smoke"  # the preset whose numbers mean nothing


class Group(NamedTuple):
    """What stands in one table together, and with nothing else."""

    table: str  # whose records these are
    dataset: str
    preset: str
    device: str
    is_twin: bool

    @property
    def data(self) -> str:
        """ "SYNTHETIC TWIN"; "osie"; "SYNTHETIC TWIN of gazecapture" where a twin was given as the data set."""
        return (self.dataset if not self.is_twin else "SYNTHETIC TWIN" + ("" if self.dataset == "twin" else f" of {self.dataset}"))

    @property
    def where(self) -> str:
        return f"{self.data}, {self.preset}, {self.device}"


@dataclass(frozen=True)
class Item:
    """One finished row and seed."""

    record: Record
    values: dict[str, np.ndarray]  # (n, ...) each
    size: int  # bytes on disk, weights included
    time: float  # of its file


Rows = dict[str, dict[int, Item]]  # by row and seed


@dataclass
class Stored:
    """What lies in a results folder."""

    groups: dict[Group, Rows] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)  # what is damaged, unknown or no longer fits, one line each
    hidden: list[Group] = field(default_factory=list)  # of the preset whose numbers mean nothing
    interrupted: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)  # (table, data set, preset) -> rows with a checkpoint

    @property
    def items(self) -> list[Item]:
        return [item for rows in self.groups.values() for seeds in rows.values() for item in seeds.values()]

    @property
    def meaningless(self) -> bool:
        """Whether nothing was found but runs of the smoke preset."""
        return bool(self.groups) and all(group.preset == MEANINGLESS for group in self.groups)


def records_of(folder: Path) -> Path:
    """Where the records of a results folder lie: `runs`, or `records` in the reference."""
    return next((folder / name for name in ("runs", "records") if (folder / name).is_dir()), folder)


def read(folder: Path) -> Stored:
    """Everything finished below `folder`, a results folder; what cannot be read is one line of `problems`."""
    found, root = Stored(), records_of(folder)
    for path in sorted(root.rglob("*.json"), key=lambda path: (path.stat().st_mtime_ns, path)):
        if "reference" in path.relative_to(root).parts:
            continue  # committed results lie below a results folder, and are nobody's own
        try:
            record, values = scan.read(path)
            group = _group(record)
        except FileNotFoundError as error:
            found.problems.append(f"{path.relative_to(root)}: its values, {Path(error.filename or path).name}, are missing; run its row again")
        except (OSError, ValueError, TypeError, AttributeError) as error:
            found.problems.append(str(error).replace(f"{root}/", ""))
        else:
            if problem := _unknown(record):
                found.problems.append(f"{path.relative_to(root)}: {problem}; left out")
                continue
            size = sum(map(size_of, path.parent.glob(f"{path.stem}.*")))
            found.groups.setdefault(group, {}).setdefault(record.row, {})[record.seed] = Item(record, values, size, path.stat().st_mtime)
    _hide_meaningless(found)
    for group, rows in found.groups.items():
        found.groups[group] = _same_data(group, rows, found.problems)
    found.interrupted = _interrupted(root)
    return found


def size_of(path: Path) -> int:
    """Bytes of a file; 0 if it is gone, as something may be training here."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _group(record: Record) -> Group:
    device = record.provenance.get("device") or record.depends.get("device") or "unknown device"
    return Group(record.table, record.dataset, record.preset, str(device), bool(record.is_twin))


def variants(stored: str) -> dict[str, str]:
    """Row -> "main" or "control", over all tables whose records lie at `stored`."""
    sharing = [tables.get(name) for name in tables.NAMES if (tables.get(name).records or name) == stored]
    return {row.name: row.variant for table in sharing for row in table.rows}


def _unknown(record: Record) -> str:
    """Why a record belongs to no table; empty if it does."""
    if not (rows := variants(record.table)):
        return f"of table {record.table!r}, which there is not"
    return "" if record.row in rows else f"of row {record.row!r}, which table {record.table!r} has not"


def _hide_meaningless(found: Stored) -> None:
    if not found.meaningless:
        found.hidden = [group for group in found.groups if group.preset == MEANINGLESS]
        found.groups = {group: rows for group, rows in found.groups.items() if group.preset != MEANINGLESS}


def _same_data(group: Group, rows: Rows, problems: list[str]) -> Rows:
    """The rows that saw the newest data; a line in `problems` for those that did not."""
    kinds, newest = variants(group.table), {}
    items = [(name, seed, item) for name, seeds in rows.items() for seed, item in seeds.items()]
    for name, _, item in sorted(items, key=lambda found: found[2].time):
        newest[kinds[name]] = _data(item)
    kept: Rows = {}
    for name, seed, item in items:
        if _data(item) == newest[kinds[name]]:
            kept.setdefault(name, {})[seed] = item
        else:
            problems.append(f"{group.table}, {group.where}: row {name}, seed {seed}, saw other data than the newest record; left out, run it again")
    return {name: dict(sorted(seeds.items())) for name, seeds in kept.items()}


def _data(item: Item) -> tuple[int, str]:
    return item.record.n, repr(item.record.depends.get("data"))


def _interrupted(root: Path) -> dict[tuple[str, str, str], list[str]]:
    """Rows of which a checkpoint lies there: at work now, or interrupted."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for path in sorted(root.glob("*/*/*.ckpt")):
        dataset, _, preset = path.parent.name.partition("-")
        found.setdefault((path.parent.parent.name, dataset, preset), []).append(path.name.split("-seed")[0])
    return found
