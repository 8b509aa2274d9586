"""Runs the rows of a table: finds them finished, or trains, evaluates and records them.

A table is data: its rows build networks, its `open_task` gives a data set with an objective, its presets say how large
everything is. Nothing here knows which table it runs.
"""

import contextlib
import fcntl
import os
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lib.results.dependencies import code_of, key_of
from lib.results.filled import Filled
from lib.results.records import Item, Record, RecordStore, provenance
from lib.results.statistics import mean
from lib.results.store import group_of
from lib.tables import helpers
from lib.tables.table import Row, Settings, Table
from lib.tables.table import settings as settings  # what notebooks need beside Run
from lib.training.checkpoint import load_weights, save_weights, seed_everything
from lib.training.loop import Recipe, Task, Trainer, evaluate
from lib.training.processes import ALONE, Processes
from lib.training.progress import Progress


@dataclass
class Result:
    """A finished row: its record, per-sample values, and whether it was computed in this call."""

    row: Row
    record: Record
    values: dict[str, np.ndarray]
    weights: Path
    computed: bool


class Run:
    """A table being filled: `results[row name]` is one `Result` per seed."""

    def __init__(self, table: Table, chosen: Settings, *, processes: Processes = ALONE):
        self.table, self.settings, self.processes = table, chosen, processes
        self.preset = table.presets[chosen.preset]
        self.store = RecordStore(chosen.results_dir, table=table.records or table.name, dataset=chosen.dataset,
                                 preset=chosen.preset)
        self.results: dict[str, list[Result]] = {}
        self._tasks: dict[str, tuple[Task, dict]] = {}
        self._depends: dict[tuple[str, int], dict] = {}

    def task(self, variant: str = "main") -> tuple[Task, dict]:
        """The data set of `variant` with what is known about it, opened once."""
        if variant not in self._tasks:
            lock = self.store.folder / f"opening-{variant}.lock"  # twins and caches are written by one process, others wait for them
            with self.processes.first_on_each_machine(), _locked(lock, wait=True):
                self._tasks[variant] = self.table.open_task(self.settings, self.preset, variant, self._progress())
        return self._tasks[variant]

    def _progress(self) -> Progress:
        return Progress(f"{self.table.name}: ", quiet=not self.processes.main)

    def depends(self, row: Row, seed: int) -> dict:
        """Everything that the result of `row` depends on; found once, so that sources edited during a run do not enter."""
        if (row.name, seed) not in self._depends:
            self._depends[row.name, seed] = self._find_depends(row, seed)
        return self._depends[row.name, seed]

    def _find_depends(self, row: Row, seed: int) -> dict:
        _, data = self.task(row.variant)
        parts = {"row": row.name, "seed": seed, "preset": asdict(self.preset), "data": data["fingerprint"],
                 "code": code_of(row.build, type(self.task(row.variant)[0]), Trainer, self.table.open_task),
                 "torch": torch.__version__, "device": self.settings.device.type}
        if row.recipe is not None:
            parts["recipe"] = asdict(self.recipe(row))
        if row.needs:
            parts["needs"] = {name: self.key(self.table.row(name), seed) for name in row.needs}
        return parts

    def recipe(self, row: Row) -> Recipe:
        if not row.trained:
            return Recipe(epochs=0, batch_size=self.preset.recipe.batch_size)
        return row.recipe(self.preset) if row.recipe else self.preset.recipe

    def build(self, row: Row, seed: int) -> nn.Module:
        """The row's untrained network, the same for the same seed; the rows that it needs must be finished."""
        needed = [self.trained(self.table.row(name), seed) for name in row.needs]
        seed_everything(seed)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            model = row.build(self.preset, *needed)
        model.notes = [str(warning.message) for warning in caught]  # weights that could not be loaded, say
        if hasattr(model, "prepare"):
            model.prepare(self.task(row.variant)[0])
        return model

    def trained(self, row: Row, seed: int) -> nn.Module:
        """The trained network of a finished row, in evaluation mode on the CPU."""
        model = self.build(row, seed)
        load_weights(self.store.path(row.name, seed, self.key(row, seed), "safetensors"), model)
        return model.eval()

    def network(self, name: str, seed: int = 0) -> nn.Module:
        """`trained` for a row of `results`, for figures."""
        return self.trained(self.results[name][seed].row, seed)

    @property
    def filled(self) -> Filled:
        """The table with the rows that are finished, ready to be read and written."""
        results = [result for found in self.results.values() for result in found]
        rows: dict[str, dict[int, Item]] = {}
        for result in results:
            rows.setdefault(result.row.name, {})[result.record.seed] = Item(result.record, result.values, result.weights.with_suffix(".json"))
        return Filled(self.table, group_of(results[0].record), rows)

    def rows(self) -> list[Row]:
        """The chosen rows that this preset and data set have (only twins have a negative control, or know the answer)."""
        chosen = [self.table.row(name) for name in self.settings.rows]
        chosen = [row for row in chosen if row.presets is None or self.settings.preset in row.presets]
        return [row for row in chosen if self.settings.dataset == "twin" or (row.variant == "main" and not row.twin_only)]

    def todo(self) -> list[tuple[Row, int]]:
        """Every row and seed of the table, in order."""
        return [(row, seed) for seed in range(self.settings.seeds) for row in self.rows()]

    def run(self) -> "Run":
        """Fill the table; finished rows are read, interrupted ones go on where they stopped.

        On a CPU each row is computed with one thread, so that its numbers do not depend on how many cores there are; helper
        processes use the other cores for other rows.
        """
        todo = self.todo()
        for row, seed in todo:
            self.depends(row, seed)
        with self._one_thread():
            with self._helpers():
                found = [self.finish(row, seed, wait=False) for row, seed in todo]
            for i, ((row, seed), result) in enumerate(zip(todo, found, strict=True), start=1):
                result = result or self.finish(row, seed)  # what a helper, or another batch, had locked
                self.results.setdefault(row.name, []).append(result)
                state = f"{result.record.provenance['seconds']:.0f} s" if result.computed else "read from its record"
                if self.processes.main:
                    print(f"{self.table.name} {i}/{len(todo)}  {row.label}, seed {seed}: {state}", flush=True)
        return self

    def help(self, number: int) -> None:
        """What helper `number` does: the rows that nobody works on, from its own end of the table."""
        if not self._worth_helping():
            return
        todo = self.todo()
        for row, seed in todo:
            self.depends(row, seed)
        start = len(todo) * number // (helpers.MOST + 1)
        with self._one_thread():
            for row, seed in (todo[start:] + todo[:start] if number > 1 else reversed(todo)):
                self.finish(row, seed, wait=False)

    def _worth_helping(self) -> bool:
        """Not on a GPU, not where several processes train one row, not for rows of a few seconds."""
        return self.settings.device.type == "cpu" and self.preset.recipe.epochs >= 5 and self.processes.count == 1

    @contextlib.contextmanager
    def _one_thread(self):
        before = torch.get_num_threads()
        if self.settings.device.type == "cpu":
            torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def _helpers(self):
        """As many helpers as there are other cores and rows that want training; a batch has started its own."""
        if not self._worth_helping() or helpers.BY_BATCH in os.environ:
            return contextlib.nullcontext()
        chosen = self.settings
        missing = [row for row, seed in self.todo() if row.trained and self.store.load(row.name, seed, self.key(row, seed)) is None]
        words = [self.table.name, "--preset", chosen.preset, "--dataset", chosen.dataset, "--rows", ",".join(chosen.rows),
                 "--seeds", str(chosen.seeds), "--device", "cpu", "--results", str(chosen.results_dir)]
        words += ["--data", str(chosen.data_dir)] if chosen.data_dir else []
        return helpers.started(min(helpers.cores(), len(missing), helpers.MOST) - 1, words)

    def key(self, row: Row, seed: int) -> str:
        """The cache key of a row's record."""
        return key_of(self.depends(row, seed))

    def finish(self, row: Row, seed: int, *, wait: bool = True) -> Result | None:
        """One row and seed: its record if there is one that holds, else trained, evaluated and recorded.

        wait: for another process that is at this very row; otherwise leave it to that one, and return None.
        """
        where = (row.name, seed, self.key(row, seed))
        agree, wait = self.processes.agree, wait or self.processes.count > 1
        found, computed = agree(self.store.load(*where)), False
        if found is None:
            if any(self.finish(self.table.row(name), seed, wait=wait) is None for name in row.needs):
                return None
            with _locked(self.store.path(*where, "lock"), wait=wait) if self.processes.main else contextlib.nullcontext(True) as ours:
                if not ours:
                    return None
                found = agree(self.store.load(*where))
                if found is None:
                    found, computed = agree(self._compute(row, seed, where)), True
        return Result(row, *found, self.store.path(*where, "safetensors"), computed)

    def _compute(self, row: Row, seed: int, where: tuple[str, int, str]) -> tuple[Record, dict[str, np.ndarray]]:
        started = time.monotonic()
        task, data = self.task(row.variant)
        model, recipe, device = self.build(row, seed), self.recipe(row), self.settings.device
        for note in model.notes:
            print(f"{row.name}: {note}", flush=True)
        trainer = Trainer(model, task, recipe, seed=seed, device=device, processes=self.processes)
        names = [row.name for row in self.rows()]  # without a row that is only needed by another
        label = f"row {1 + names.index(row.name)}/{len(names)} {row.name}" if row.name in names else row.name
        history = trainer.run(checkpoint=self.store.path(*where, "ckpt"), label=label, progress=self._progress())
        values = evaluate(model, task, "test", device=device, processes=self.processes)
        values |= {name: np.asarray(column) for name, column in data["identify"].items()}
        summary = {column.metric: mean(values[column.metric]) for column in self.table.columns if column.metric in values}
        summary |= {"epochs": recipe.epochs, "parameters": sum(p.numel() for p in model.parameters())}
        record = Record(table=self.table.records or self.table.name, row=row.name, seed=seed, preset=self.settings.preset,
                        dataset=self.settings.dataset, is_twin=data["is_twin"], n=data["n"], unit=data["unit"], summary=summary,
                        history=history, depends=self.depends(row, seed),
                        provenance=provenance(device, time.monotonic() - started, self.processes.count), notes=data["notes"] + model.notes)
        if self.processes.main:
            save_weights(self.store.path(*where, "safetensors"), model)
            self.store.save(record, where[2], values)
        return record, values


@contextlib.contextmanager
def _locked(path: Path, *, wait: bool):
    """Two batches on one results folder: gives True to one, and to the other once that is done, or False if not to `wait`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
        path.unlink(missing_ok=True)
