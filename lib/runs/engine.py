"""Fills a table: finds rows finished, or trains, evaluates and records them.

A table is data (`lib.tables.table`); nothing here knows which one it is. A row and seed is finished when its record lies there under
its key (`lib.runs.keys`). On the way there are two steps, each kept when it is done: the trained weights, with their history, and the
per-sample values on test data.

    <row>-seed<k>-<key of weights>.safetensors  beside the record (`lib.results.records`): weights; the history is in their header
    <row>-seed<k>-<key of weights>.ckpt         only while the row is being trained
"""

import contextlib
import shutil
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from lib import tables
from lib.files import locked, replace_atomically, writable
from lib.models.network import RowNetwork
from lib.results.filled import Filled
from lib.results.records import Item, Record, provenance
from lib.results.statistics import mean
from lib.results.store import group_of
from lib.runs import keys
from lib.runs.parameters import Settings
from lib.runs.parameters import settings as settings  # what notebooks need beside Run
from lib.tables.table import Opened, Row, Source, Table, arguments
from lib.training.checkpoint import load_weights, save_weights, seed_everything, weights_header
from lib.training.loop import Recipe, Trainer, evaluate
from lib.training.processes import ALONE, Processes, cores
from lib.training.progress import Progress, Sink

LONG = 3  # epochs: shorter rows, those of `smoke`, are done before a worker has started


@dataclass(frozen=True, kw_only=True)
class Result(Item):
    """A finished row, where its weights lie, and whether it was computed in this call."""

    row: Row
    weights: Path
    computed: bool


class Run(keys.Keyed):
    """A table being filled: `results[row name]` is one `Result` per seed, in the order of `settings.seeds`."""

    def __init__(self, table: Table, chosen: Settings, *, processes: Processes = ALONE, sink: Sink | None = None):
        super().__init__(replace(chosen, device=torch.device(chosen.device)), table=table.records or table.name, torch=torch.__version__)
        self.table, self.processes, self.sink = table, processes, sink
        preset = table.presets[chosen.preset]
        self.preset = table.fit(preset, chosen.data_dir) if table.fit else preset
        self.results: dict[str, list[Result]] = {}
        self._opened: dict[str, Opened] = {}

    # --- what there is to do --------------------------------------------------------------------------------------------

    def rows(self) -> list[Row]:
        """The chosen rows that this preset and data set have."""
        return [row for row in self.table.rows_of(self.settings.preset, self.settings.dataset) if row.name in self.settings.rows]

    def row(self, name: str) -> Row:
        return self.table.row(name)

    def opened(self, variant: str = "main") -> Opened:
        """The data set of `variant`, opened once."""
        if variant not in self._opened:
            chosen, progress = self.settings, self._progress()
            with self.processes.first_on_each_machine(), locked(writable(self.store.folder) / f"open-{variant}"):  # one writes twins and caches
                root = chosen.data_dir or self.table.twin.write(self.preset, variant, progress)
                cache = chosen.results_dir / "cache" / ("" if chosen.data_dir else root.name)  # a twin's name holds its version
                source = Source(dataset=chosen.dataset, root=root, cache_dir=cache, progress=progress)
                self._opened[variant] = self.table.open(source, **arguments(self.table.open, self.preset, {}))
        return self._opened[variant]

    def _progress(self) -> Progress:
        return Progress(f"{self.table.name}: ", quiet=not self.processes.main, sink=self.sink)

    # --- keys -----------------------------------------------------------------------------------------------------------

    def fingerprints(self, variant: str) -> dict[str, str]:
        """Of the splits of a variant's data, which are opened for it unless a worker has told."""
        if variant not in self.surveyed:
            self.surveyed[variant] = self.opened(variant).task.fingerprints
        return self.surveyed[variant]

    def code(self, name: str) -> tuple[dict, dict]:
        of_weights = keys.code_of_weights(self.table, self.row(name), self.preset, dataset=self.settings.dataset)
        return of_weights, keys.code_of_values(self.table, self.preset)

    # --- networks -------------------------------------------------------------------------------------------------------

    def recipe(self, row: Row) -> Recipe:
        return row.recipe_of(self.preset)

    def build(self, row: Row, seed: int) -> RowNetwork:
        """The row's untrained network, the same for the same seed; the rows that it needs must be finished."""
        needed = [self.trained(self.table.row(name), seed) for name in row.needs]
        seed_everything(seed)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            model = row.build(self.preset, *needed)
        model.notes = [str(warning.message) for warning in caught]  # weights that could not be loaded, say
        model.prepare(self.opened(row.variant).task)
        return model

    def trained(self, row: Row, seed: int) -> RowNetwork:
        """The trained network of a finished row, in evaluation mode on the CPU."""
        model = self.build(row, seed)
        load_weights(self.weights_path(row, seed), model)
        return model.eval()

    def network(self, name: str) -> RowNetwork:
        """`trained` for a row of `results` and its first seed, for figures."""
        return self.trained(self.results[name][0].row, self.results[name][0].record.seed)

    @property
    def filled(self) -> Filled:
        """The table with the rows that are finished, ready to be read and written."""
        rows = {name: {one.record.seed: one for one in results} for name, results in self.results.items()}
        return Filled(self.table, group_of(next(iter(self.results.values()))[0].record), rows)

    # --- filling --------------------------------------------------------------------------------------------------------

    def run(self, *, scheduler: str | None = None) -> "Run":
        """Fill the table; finished rows are read, interrupted ones go on where they stopped.

        Rows are spread over workers (`lib.runs.pool`): those of the Dask cluster at `scheduler`, or one for each core here where that
        is worth it. On a CPU each row is computed with one thread, so that its numbers do not depend on how many cores there are.
        """
        for row, _ in self.todo():
            self.fingerprints(row.variant)
        if self.processes.count == 1 and (scheduler or self._worth_workers()):
            from lib.runs import cluster, pool  # Dask takes a second

            with pool.workers(scheduler) as client, cluster.graph(client, [self]) as rows:
                rows.wait()
        return self.collect()

    def _worth_workers(self) -> bool:
        """Whether workers of our own would be quicker: several cores, no GPU, and more than one long row to train."""
        if cores() < 2 or self.settings.device.type != "cpu":
            return False
        return sum(self.recipe(row).epochs >= LONG and not self.is_finished(row, seed) for row, seed in self.todo()) > 1

    def collect(self) -> "Run":
        """Read every row, and compute on the spot what is missing."""
        todo = self.todo()
        for i, (row, seed) in enumerate(todo, start=1):
            with one_thread(self.settings.device):
                result = self.finish(row, seed)
            self.results.setdefault(row.name, []).append(result)
            if self.processes.main:
                state = f"{result.record.provenance['seconds']:.0f} s" if result.computed else "read from its record"
                print(f"{self.table.name} {i}/{len(todo)}  {row.label}, seed {seed}: {state}", flush=True)
        return self

    def is_finished(self, row: Row, seed: int) -> bool:
        return self.store.load(row.name, seed, self.key(row, seed)) is not None

    def finish(self, row: Row, seed: int, *, wait: bool = True) -> Result | None:
        """One row and seed: its record if there is one that holds, else trained, evaluated and recorded.

        wait: for another process that is at this very row; otherwise leave it to that one, and return None.
        """
        where, broadcast = (row.name, seed, self.key(row, seed)), self.processes.broadcast
        found, computed = broadcast(self.store.load(*where)), False
        if found is None:
            if not self.train(row, seed, wait=wait):
                return None
            with self._alone(self.store.path(*where, "json"), wait) as ours:
                if not ours:
                    return None
                found = broadcast(self.store.load(*where))
                if found is None:
                    found, computed = broadcast(self._evaluate(row, seed)), True
        return Result(*found, row=row, weights=self.weights_path(row, seed), computed=computed)

    def train(self, row: Row, seed: int, *, wait: bool = True) -> bool:
        """Whether the row's weights lie there now; False where another process is at them, or at those that it needs, and not to `wait`."""
        path, broadcast = self.weights_path(row, seed), self.processes.broadcast
        if broadcast(weights_header(path) is not None):
            path.with_suffix(".ckpt").unlink(missing_ok=True)  # of a process that was killed between the two
            return True
        if not all(self.train(self.table.row(name), seed, wait=wait) for name in row.needs):
            return False
        with self._alone(path, wait) as ours:
            if ours and broadcast(weights_header(path) is None) and not broadcast(self.processes.main and _copied(path)):
                self._train(row, seed, path)
            return ours

    @staticmethod
    def survey(name: str, plain: dict) -> dict[str, dict[str, str]]:
        """On a worker: opens the data of table `name`, twins and caches written on the way; the fingerprints of each variant."""
        with _at_work(name, plain, name) as run:
            return {row.variant: run.fingerprints(row.variant) for row, _ in run.todo()}

    @staticmethod
    def work(name: str, plain: dict, row: str, seed: int, *needed: str) -> str:
        """On a worker: one row and seed of table `name`; BUSY where another batch is at it. needed: what the rows that it waited for gave."""
        from lib.runs.pool import BUSY, FINISHED

        with _at_work(name, plain, f"{name}/{row}/{seed}") as run:
            if run.finish(run.table.row(row), seed, wait=False):
                return FINISHED
        time.sleep(1)
        return BUSY

    @contextlib.contextmanager
    def _alone(self, path: Path, wait: bool) -> Iterator[bool]:
        """The lock at `path`; several processes that train one row take it together. What a killed process left half-written there goes."""
        if not self.processes.main:
            yield True
            return
        with locked(path, wait=wait or self.processes.count > 1) as ours:
            for left in path.parent.glob(f".{path.stem}.*") if ours else ():
                left.unlink(missing_ok=True)
            yield ours

    def _train(self, row: Row, seed: int, path: Path) -> None:
        """Train, and keep the weights with what is to be known of the training."""
        started = time.monotonic()
        model = self.build(row, seed)
        for note in model.notes:
            print(f"{row.name}: {note}", flush=True)
        trainer = Trainer(model, self.opened(row.variant).task, self.recipe(row), seed=seed, device=self.settings.device, processes=self.processes)
        history = trainer.run(checkpoint=path.with_suffix(".ckpt"), label=f"{row.name}, seed {seed}", progress=self._progress())
        training = {"history": history, "notes": model.notes, "seconds": round(time.monotonic() - started, 2),
                    "parameters": sum(parameter.numel() for parameter in model.parameters())}
        if self.processes.main:
            save_weights(path, model, header=training)
            path.with_suffix(".ckpt").unlink(missing_ok=True)
        self.processes.barrier()

    def _evaluate(self, row: Row, seed: int) -> tuple[Record, dict[str, np.ndarray]]:
        """The test data's values by the trained network, recorded. What is random in them is drawn from the seed alone."""
        started, opened, chosen = time.monotonic(), self.opened(row.variant), self.settings
        model, training = self.trained(row, seed), weights_header(self.weights_path(row, seed))
        seed_everything(seed)
        values = evaluate(model, opened.task, "test", device=chosen.device, processes=self.processes) | opened.known
        made = provenance(chosen.device, training["seconds"] + time.monotonic() - started, self.processes.count)
        summary = {column.metric: mean(values[column.metric]) for column in self.table.columns if column.metric in values}
        summary |= {"epochs": self.recipe(row).epochs, "parameters": training["parameters"]}
        record = Record(table=self.table.records or self.table.name, row=row.name, seed=seed, preset=chosen.preset, dataset=chosen.dataset,
                        is_twin=opened.is_twin, n=opened.n, unit=opened.unit, summary=summary, history=training["history"],
                        depends=self.depends(row, seed), provenance=made, notes=[*opened.notes, *training["notes"]])
        if self.processes.main:
            self.store.save(record, self.key(row, seed), values)
        return record, values


def _copied(path: Path) -> bool:
    """Whether another table has trained this very network, as the key in its name says; then its weights lie at `path` now."""
    others = sorted(path.parents[2].glob(f"*/{path.parent.name}/{path.name}"))
    found = next((other for other in others if weights_header(other) is not None), None)
    if found is not None:
        replace_atomically(path, lambda temporary: shutil.copyfile(found, temporary))
    return found is not None


@contextlib.contextmanager
def one_thread(device: torch.device) -> Iterator[None]:
    """On a CPU, torch computes with one thread."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# --- on a worker, to which names and plain values travel ----------------------------------------------------------------

_runs: dict[tuple[str, str], Run] = {}  # of this worker: data are opened once


@contextlib.contextmanager
def _at_work(name: str, plain: dict, job: str) -> Iterator[Run]:
    """Table `name` with these settings on this worker, which begins `job` and tells its progress."""
    from lib.runs.pool import tell

    known = name, repr(sorted(plain.items()))
    if known not in _runs:
        table = tables.get(name)
        _runs[known] = Run(table, settings(table, **plain))
    _runs[known].sink = lambda stage, done, total, note: tell(job, stage=stage, done=done, total=total, note=note)
    tell(job, begun=True)
    with one_thread(_runs[known].settings.device):
        yield _runs[known]
