"""`python -m lib status`: which rows are done, stale (and why), interrupted or missing, from what lies in the results folder.

Nothing is opened, written or trained. A record's key covers the data's fingerprints too, and finding those may mean to write
a twin or to read a whole data set; so the data are taken to be those that the newest fitting record saw, and records that saw
others count as stale. What is new since then shows when the row is run. Everything else is compared part by part.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import torch

from lib import tables
from lib.results.records import Record
from lib.tables.engine import Run
from lib.tables.table import Row, Settings, Table, settings
from lib.training.loop import Task

DONE, STALE, INTERRUPTED, MISSING = "done", "stale", "interrupted", "missing"
SHOWN = 3  # names of changed code in a line; the others are counted
NOTHING = object()


@dataclass(frozen=True)
class State:
    """How one row and seed stands; `text` says when it was computed, or why it no longer holds."""

    row: Row
    seed: int
    kind: str
    text: str = ""


class Unopened(Run):
    """A table of which no data are opened: `seen[variant]` stands for the fingerprints that a run would find."""

    def __init__(self, table: Table, chosen: Settings):
        super().__init__(table, chosen)
        self.seen: dict[str, dict] = {}
        self.records = _records(self.store.folder)
        self.seen = self._find_seen()
        self._depends.clear()  # they were found without data

    def task(self, variant: str = "main") -> tuple[Task, dict]:
        """An instance of the task's class that was never initialised: only its class and the fingerprints are asked for."""
        kind = get_args(get_type_hints(self.table.open_task)["return"])[0]
        return object.__new__(kind), {"fingerprint": self.seen.get(variant)}

    def _find_seen(self) -> dict[str, dict]:
        """The data of each variant's newest record that fits in all else; without one, of its newest record."""
        rows, fitting, newest = {row.name: row for row in self.table.rows}, {}, {}
        for record in self.records:
            if (row := rows.get(record.row)) is None:
                continue
            newest.setdefault(row.variant, record.depends.get("data"))
            if not set(_differing(record.depends, _plain(self.depends(row, record.seed)))) - {"data", "needs"}:
                fitting.setdefault(row.variant, record.depends.get("data"))
        return newest | fitting

    def states(self) -> list[State]:
        """Every row and seed of the table, in order."""
        return [self.state(row, seed) for row, seed in self.todo()]

    def state(self, row: Row, seed: int) -> State:
        """How `row` stands: a record under the current key, else a checkpoint under it, else an older record, else nothing."""
        where = (row.name, seed, self.key(row, seed))
        path, checkpoint = self.store.path(*where, "json"), self.store.path(*where, "ckpt")
        if found := self.store.load(*where):
            return State(row, seed, DONE, _made(found[0], path))
        if checkpoint.exists():
            return State(row, seed, INTERRUPTED, self._epoch(row, checkpoint))
        if path.exists():
            return State(row, seed, STALE, "its record, or the values beside it, are damaged")
        older = [record for record in self.records if (record.row, record.seed) == where[:2]]
        if older:
            return State(row, seed, STALE, "; ".join(self.reasons(row, seed, older[0])))
        return self._unknown(row, seed)

    def _unknown(self, row: Row, seed: int) -> State:
        """Without any record of the same data the current key is not known: an interrupted row may be one that still fits."""
        found = sorted(self.store.folder.glob(f"{row.name}-seed{seed}-*.ckpt"), key=lambda path: path.stat().st_mtime_ns)
        if not found:
            return State(row, seed, MISSING)
        if row.variant in self.seen:
            return State(row, seed, MISSING, "an interrupted run of it is of no use any more")
        return State(row, seed, INTERRUPTED, f"{self._epoch(row, found[-1])}, if nothing changed since")

    def _epoch(self, row: Row, checkpoint: Path) -> str:
        try:
            epoch = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["epoch"]
        except Exception:  # whatever a damaged file makes the unpickler raise
            return f"{checkpoint.name} is not readable; delete it to start the row again"
        return f"after epoch {epoch} of {self.recipe(row).epochs}"

    def reasons(self, row: Row, seed: int, record: Record) -> list[str]:
        """Why `record` is not what a run would give now, in words."""
        stored, current = record.depends, _plain(self.depends(row, seed))
        found = []
        for part in _differing(stored, current):
            old, new = stored.get(part), current.get(part)
            if part in ("preset", "recipe"):
                found += _values(part, old or {}, new or {})
            elif part == "code":
                found.append(_code(old or {}, new or {}))
            elif part == "needs":
                found += [f"row {name}, which it needs, changed" for name in _differing(old or {}, new or {})]
            else:
                found.append("data changed" if part == "data" else f"{part} {old} -> {new}")
        return list(dict.fromkeys(found)) or ["it was written under another name"]


# --- comparing ----------------------------------------------------------------------------------------------------------


def _records(folder: Path) -> list[Record]:
    """The records in `folder`, newest first; their values are not read."""
    found = []
    for path in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True):
        try:
            found.append(Record(**json.loads(path.read_text())))
        except (OSError, ValueError, TypeError):
            continue
    return found


def _plain(depends: dict) -> dict:
    """As a record has it when it is read: lists for tuples."""
    return json.loads(json.dumps(depends, default=str))


def _differing(old: dict, new: dict) -> list[str]:
    """The names under which the two differ, in order."""
    return [name for name in {**new, **old} if old.get(name, NOTHING) != new.get(name, NOTHING)]


def _flat(tree: dict, prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def _values(part: str, old: dict, new: dict) -> list[str]:
    """ "recipe: epochs 16 -> 14", "preset: task_size 64 -> 96"; the preset's own recipe counts as the recipe."""
    old, new, lines = _flat(old), _flat(new), {}
    for name in _differing(old, new):
        change = "is gone" if name not in new else "is new" if name not in old else f"{old[name]} -> {new[name]}"
        within, _, last = name.rpartition(".")
        title, last = ("recipe", last) if within == "recipe" else (part, name)
        lines.setdefault(title, []).append(f"{last} {change}")
    return [f"{title}: {', '.join(changes)}" for title, changes in lines.items()]


def _code(old: dict[str, str], new: dict[str, str]) -> str:
    names = sorted(_differing(old, new), key=lambda name: not (name in old and name in new))  # what is new, or gone, comes last
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"code: {', '.join(names[:SHOWN])}{more} changed"


def _made(record: Record, path: Path) -> str:
    made = record.provenance
    date = time.strftime("%Y-%m-%d %H:%M", time.localtime(path.stat().st_mtime))
    device, commit = made.get("device_name") or made.get("device"), made.get("commit") or "unknown"
    return f"{made.get('seconds', 0):.0f} s on {device}, {date}, commit {commit[:7]}{'-dirty' * commit.endswith('-dirty')}"


# --- the command --------------------------------------------------------------------------------------------------------


def report(names: list[str], *, data_dir: str | None = None, **options) -> str:
    """What `python -m lib status` prints: of the tables called `names`, or of all that have this preset and data set."""
    lines, counted, commands, unlike = [], {}, [], {}
    for name in names or tables.NAMES:
        table = tables.get(name)
        try:
            chosen = settings(table, data_dir=data_dir or ".", **options)  # the folder is not looked into
        except ValueError as error:
            if names:
                raise
            unlike[name] = error
            continue
        run = Unopened(table, chosen)
        states = run.states()
        lines += [_heading(run), *map(_line, states), ""]
        counted |= {(run.store.folder, state.row.name, state.seed): state.kind for state in states}  # some tables share rows
        if any(state.kind != DONE for state in states):
            commands.append(_command(table, chosen, data_dir))
    if not counted:
        raise next(iter(unlike.values()))
    lines += [f"Without this preset or data set: {', '.join(unlike)}.\n"] if unlike else []
    return "\n".join(lines + _summary(list(counted.values()), commands))


def _heading(run: Unopened) -> str:
    chosen = run.settings
    shared = f"; its records are those of {run.table.records}" if run.table.records else ""
    return f"{run.table.name}: {chosen.dataset}, preset {chosen.preset}, {chosen.device.type}{shared}"


def _line(state: State) -> str:
    return f"  {state.row.name:20}  seed {state.seed}  {state.kind:11}  {state.text}".rstrip()


def _summary(kinds: list[str], commands: list[str]) -> list[str]:
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in (DONE, STALE, INTERRUPTED, MISSING) if kind != INTERRUPTED or kind in kinds)
    lines = [f"{counts}. The data themselves were not looked at: they are taken to be those of the newest records."]
    return lines + (["To fill what is not done:", *(f"  {command}" for command in commands)] if commands else [])


def _command(table: Table, chosen: Settings, data_dir: str | None) -> str:
    """The command line that computes what is missing; options at their defaults are left out."""
    words = ["python -m lib table", table.name, "--preset", chosen.preset]
    words += ["--dataset", chosen.dataset] if chosen.dataset != "twin" else []
    words += ["--data", data_dir or "DIR"] if chosen.dataset != "twin" else []
    words += ["--seeds", str(chosen.seeds)] if chosen.seeds > 1 else []
    words += ["--device", str(chosen.device)] if chosen.device.type != ("cuda" if torch.cuda.is_available() else "cpu") else []
    words += ["--results", str(chosen.results_dir)] if chosen.results_dir != settings(table).results_dir else []
    return " ".join(words)
