"""`python -m lib status`: which rows are done, stale (and why), interrupted or missing, from what lies in the results folder.

Nothing is opened, written or trained. A record's key covers the data's fingerprints too, and finding those may mean to write
a twin or to read a whole data set; so the data are taken to be those that the newest fitting record saw, and records that saw
others count as stale. What is new since then shows when the row is run. Everything else is compared part by part.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lib import tables
from lib.files import for_folder, resolve
from lib.files.weights import weights_header
from lib.results.records import Record, changes, read_record, short
from lib.results.schema import OtherVersion
from lib.runs import plans
from lib.runs.keys import Keyed
from lib.runs.parameters import PARAMETERS, Settings, choose, device_name, settings
from lib.runs.plans import Plan, PlannedRow

if TYPE_CHECKING:
    from lib.tables.table import Row, Table

DONE, STALE, TRAINED, INTERRUPTED, MISSING = "done", "stale", "trained", "interrupted", "missing"
COUNTED = (DONE, STALE, TRAINED, INTERRUPTED, MISSING)
ALWAYS = (DONE, STALE, MISSING)  # counted in the last line even where there is none


@dataclass(frozen=True)
class State:
    """How one row and seed stands; `text` says when it was computed, or why it no longer holds."""

    row: PlannedRow
    seed: int
    kind: str
    text: str = ""


class Unopened(Keyed):
    """A table, or the plan of one, of which no data are opened: `surveyed` are the fingerprints that a run is taken to find."""

    def __init__(self, table: "Table | Plan", chosen: Settings):
        plan = table if isinstance(table, Plan) else plans.plan_of(table, presets=[chosen.preset], data_dir=chosen.data_dir)
        super().__init__(chosen, table=plan.records or plan.name, torch=plan.torch)
        self.plan, self.preset = plan, plan.preset(chosen.preset, chosen.dataset)
        self.records, self.others, self.damaged = _records(self.store.folder)
        self.surveyed = self._seen()

    def rows(self) -> list[PlannedRow]:
        return [row for row in self.preset.rows.values() if row.shown and row.name in self.settings.rows]

    def row(self, name: str) -> PlannedRow:
        return self.preset.rows[name]

    def fingerprints(self, variant: str) -> dict[str, str]:
        return self.surveyed.get(variant, {})

    def code(self, name: str) -> tuple[dict, dict]:
        return self.row(name).code, self.preset.values

    def _seen(self) -> dict[str, dict[str, str]]:
        """The data of each variant's newest record that fits in all else; without one, of its newest record."""
        rows, newest, fitting = self.preset.rows, {}, {}
        for record in self.records:
            if (row := rows.get(record.row)) is None:
                continue
            data = record.depends["weights"]["data"] | record.depends["data"]
            newest.setdefault(row.variant, data)
            if row.variant not in fitting:
                self.surveyed, self._depends = {row.variant: data}, {}
                if not [line for line in self.reasons(row, record.seed, record) if "weights.needs" not in line]:
                    fitting[row.variant] = data
        self._depends = {}
        return newest | fitting

    def states(self) -> list[State]:
        """Every row and seed of the table, in order."""
        return [self.state(row, seed) for row, seed in self.todo()]

    def state(self, row: "Row | PlannedRow", seed: int) -> State:
        """How `row` stands: a record under the current key, else weights or a checkpoint, else an older record, else nothing."""
        row = self.row(row.name)
        path, weights = self.store.path(row.name, seed, self.key(row, seed), "json"), self.weights_path(row, seed)
        if found := self.store.load(row.name, seed, self.key(row, seed)):
            return State(row, seed, DONE, _made(found[0], path))
        older = [record for record in self.records if (record.row, record.seed) == (row.name, seed)]
        why = "; ".join(self.reasons(row, seed, older[0])) if older else ""
        if path.exists():
            return State(row, seed, STALE, "its record, or the values beside it, are damaged")
        if weights_header(weights) is not None:
            return State(row, seed, TRAINED, f"to be evaluated again: {why}" if why else "to be evaluated")
        if checkpoint := self._checkpoint(row, seed):
            return State(row, seed, INTERRUPTED, self._how_far(row, checkpoint))
        return State(row, seed, STALE, why or "it was written under another name") if older else State(row, seed, MISSING)

    def _checkpoint(self, row: PlannedRow, seed: int) -> Path | None:
        """Where the row's training was interrupted; where no record tells the data, and so the key, any one of its training."""
        found = [self.weights_path(row, seed, "ckpt")] if row.variant in self.surveyed else self.store.folder.glob(f"{row.name}-seed{seed}-*.ckpt")
        return next((path for path in found if path.exists()), None)

    def _how_far(self, row: PlannedRow, checkpoint: Path) -> str:
        from lib.training.checkpoint import load_checkpoint  # torch reads it

        try:
            epoch = load_checkpoint(checkpoint)["epoch"]
        except (ValueError, KeyError, TypeError):
            return "its checkpoint is damaged; it will be put aside, and the row starts again"
        return f"after epoch {epoch} of {row.epochs}" + ", if nothing changed since" * (row.variant not in self.surveyed)

    def reasons(self, row: PlannedRow, seed: int, record: Record) -> list[str]:
        """Why `record` is not what a run would give now, in words."""
        return changes(record.depends, json.loads(json.dumps(self.depends(row, seed))))


def _records(folder: Path) -> tuple[list[Record], int, list[str]]:
    """The records in `folder`, newest first, their values not read; how many are of another version; and the names of those that are damaged."""
    found, others, damaged = [], 0, []
    for path in folder.glob("*.json"):
        try:
            found.append(read_record(path, values=False))
        except OtherVersion:
            others += 1
        except (OSError, ValueError):
            damaged.append(path.name)
    found = [item.record for item in sorted(found, key=lambda item: item.time, reverse=True) if {"weights", "data"} <= item.record.depends.keys()]
    return found, others, sorted(damaged)


def _made(record: Record, path: Path) -> str:
    made = record.provenance
    date = time.strftime("%Y-%m-%d %H:%M", time.localtime(path.stat().st_mtime))
    return f"{made.get('seconds', 0):.0f} s on {made.get('device_name') or made.get('device')}, {date}, commit {short(made.get('commit'))}"


# --- the command --------------------------------------------------------------------------------------------------------


def report(names: list[str], *, data_dir: str | None = None, **options) -> str:
    """What `python -m lib status` prints: of the tables called `names`, or of all that have this preset and data set."""
    lines, counted, commands, unlike = [], {}, [], {}
    folder = {"data_dir": data_dir or ("." if options.get("dataset", "twin") != "twin" else None)}  # it is not looked into
    if "results_dir" in options:
        for_folder(resolve(options["results_dir"]), named="--results")
    wanted = [plans.plan(name) for name in names or tables.NAMES]
    _check_known(wanted, data_dir=data_dir, **options)
    for plan in wanted:
        name = plan.name
        try:
            chosen = settings(plan, **folder, **options)
        except ValueError as error:
            if names:
                raise
            unlike[name] = error
            continue
        run = Unopened(plan, chosen)
        states = run.states()
        lines += [_heading(run), *(f"  {one.row.name:20}  seed {one.seed}  {one.kind:11}  {one.text}".rstrip() for one in states), ""]
        counted |= {run.place(state.row, state.seed): state.kind for state in states}
        if any(state.kind != DONE for state in states):
            commands.append(_command(plan, chosen, data_dir))
    if not counted:
        raise next(iter(unlike.values()))
    lines += [f"Without this preset or data set: {', '.join(unlike)}.\n"] if unlike else []
    return "\n".join(lines + _summary(list(counted.values()), commands))


def _check_known(wanted: list[Plan], *, data_dir: str | None, preset: str = "demo", dataset: str = "twin", **_) -> None:
    """ValueError, one line, for a preset or data set that none of the tables has, and for a folder without the name of its data set."""
    datasets = {name: None for plan in wanted for name in plan.datasets}
    choose("preset", preset, {name: None for plan in wanted for name in plan.presets})
    choose("dataset", dataset, datasets)
    if data_dir and dataset == "twin":
        raise ValueError(f"--data {data_dir}: say with --dataset which data set it is ({', '.join(name for name in datasets if name != 'twin')})")


def _heading(run: Unopened) -> str:
    chosen = run.settings
    shared = f"; its records are those of {run.plan.records}" if run.plan.records else ""
    others = f"; {run.others} records of another version lie there, they are left as they are and not read" if run.others else ""
    damaged = f"; {len(run.damaged)} records are damaged ({run.damaged[0]} for one), run their rows again" if run.damaged else ""
    return f"{run.plan.name}: {chosen.dataset}, preset {chosen.preset}, {chosen.device.type}{shared}{others}{damaged}"


def _summary(kinds: list[str], commands: list[str]) -> list[str]:
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in COUNTED if kind in ALWAYS or kind in kinds)
    lines = [f"{counts}. The data themselves were not looked at: they are taken to be those of the newest records."]
    return lines + (["To fill what is not done:", *(f"  {command}" for command in commands)] if commands else [])


def _command(plan: Plan, chosen: Settings, data_dir: str | None) -> str:
    """The command line that computes what is missing; options at their defaults are left out."""
    count = len(chosen.seeds)
    plain = chosen.plain() | {"data_dir": data_dir or "DIR" * (chosen.dataset != "twin"), "rows": PARAMETERS["rows"].default}
    plain |= {"seeds": str(count)} if chosen.seeds == tuple(range(count)) else {}
    usual = {one.name: one.default for one in PARAMETERS.values()}
    usual |= {"device": device_name(usual["device"]), "results_dir": str(resolve(usual["results_dir"]))}
    words = [word for name, value in plain.items() if value != usual[name] for word in (PARAMETERS[name].flag, value)]
    return " ".join(["python -m lib table", plan.name, *words])
