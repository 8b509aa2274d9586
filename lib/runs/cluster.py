"""The rows of all tables of a batch as one graph on a Dask cluster (`lib.runs.pool`).

A row that needs another's network waits for it; one whose worker is lost goes on at its last epoch. Workers and whoever joins them share one
folder of results, and the same code. Nothing travels but names: the records are the result. Meanwhile `Watch` shows how far they are.
"""

import contextlib
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from distributed import CancelledError, Client, Future, KilledWorker, as_completed
from distributed.comm.core import CommClosedError

from lib.runs.pool import BUSY, TOPIC
from lib.training.progress import clock

TRIES = 3  # again, of a row whose worker is lost
IN_VAIN = 20  # workers lost, and not a row finished in between
SHOWN = 90.0  # seconds: a network file system may take a minute to show a file that another machine wrote
GONE = "the scheduler is gone; finished rows are kept, the same command goes on at the last finished epochs"
STRANGE = ("the scheduler or a worker cannot read what it is sent; "
           "start both from a checkout of this code, with the same packages (lib/runs/README.md)")
EVERY = 10.0  # seconds between lines of a log
WIDTH = 110
RECENT = 60.0  # seconds after its last step a row is no longer shown as under way
FIRST = 10**6  # priority of what comes before all rows, and, negative, of what comes after them


@dataclass(frozen=True)
class Job:
    """A row and seed of a run; with no row, the survey of its data."""

    run: Any  # `lib.runs.engine.Run`
    row: str = ""
    seed: int = 0

    @property
    def name(self) -> str:
        return f"{self.run.table.name}/{self.row}/{self.seed}" if self.row else self.run.table.name

    @property
    def place(self) -> tuple[str, ...]:
        """Of a row."""
        return self.run.place(self.run.row(self.row), self.seed)


class Watch:
    """How far the rows of a batch are, in one live line in a terminal, or a line in ten seconds in a log; use it as a context."""

    def __init__(self) -> None:
        self.stream = sys.stderr
        self.live = self.stream.isatty()
        self.share: dict[str, float] = {}  # of each planned row, 0 to 1
        self.at: dict[str, dict[str, Any]] = {}  # the newest event of the rows under way
        self.weight: dict[str, float] = {}
        self.started, self.over = time.monotonic(), threading.Event()
        self.lock = threading.Lock()

    def __enter__(self) -> "Watch":
        self.thread = threading.Thread(target=self._show, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self.over.set()
        self.thread.join()
        if self.live:
            print("\r\033[K", end="", file=self.stream, flush=True)

    def plan(self, jobs: Iterable[Job]) -> None:
        """The epochs of the jobs' rows say how long each will take beside the others."""
        with self.lock:
            for job in jobs:
                self.share.setdefault(job.name, 0.0)
                self.weight[job.name] = 1.0 + job.run.recipe(job.run.row(job.row)).epochs
            self.started = time.monotonic()

    def event(self, event: dict[str, Any]) -> None:
        """A step of a row: {"job", "stage", "done", "total", "note"}."""
        with self.lock:
            if event["job"] in self.share and self.share[event["job"]] < 1:
                self.at[event["job"]] = event | {"time": time.monotonic()}
                if event["note"].startswith("epoch"):
                    self.share[event["job"]] = 0.99 * event["done"] / event["total"]

    def finished(self, name: str) -> None:
        with self.lock:
            self.share[name] = 1.0
            self.at.pop(name, None)

    def line(self) -> str:
        """"rows 12/80, about 9 min 20 s left; inaturalist/sampler/0: epoch 4/10"."""
        with self.lock:
            done = sum(self.share[name] * self.weight[name] for name in self.share)
            total, elapsed = sum(self.weight[name] for name in self.share), time.monotonic() - self.started
            whole = sum(share == 1.0 for share in self.share.values())
            left = f", about {clock(elapsed * (total - done) / done)} left" if done > 0.01 * total and elapsed > 5 else ""
            recent = {name: event for name, event in self.at.items() if event["done"] < event["total"] and time.monotonic() - event["time"] < RECENT}
            now = "; ".join(f"{name}: {event['note'] or event['stage']}" for name, event in recent.items())
        return f"rows {whole}/{len(self.share)}{left}" + (f"; {now}" if now else "")

    def _show(self) -> None:
        last = time.monotonic()
        while not self.over.wait(0.5 if self.live else 1.0):
            with self.lock:
                under_way = any(share < 1 for share in self.share.values())
            if not under_way or (not self.live and time.monotonic() - last < EVERY):
                continue
            last = time.monotonic()
            text = self.line()
            print(f"\r\033[K{text[:WIDTH]}" if self.live else text, end="" if self.live else "\n", file=self.stream, flush=True)


class Graph:
    """The unfinished rows of `runs` as futures, tables in order. Rows are known once the data of their table are open.

    With a worker goes its whole queue, and the scheduler blames every row in it. So workers tell which rows they begin: one that was begun
    `TRIES` + 1 times and never ended is given up, the others are submitted again. A thread settles what comes back, so that rows follow
    their survey whatever else this process is at.
    """

    def __init__(self, client: Client, runs: list, watch: Watch):
        self.client, self.watch, self.runs, self.queue = client, watch, runs, as_completed(loop=client.loop, raise_errors=False)
        self.jobs: dict[Future, Job] = {}  # of all that is not settled
        self.futures: dict[tuple, Future] = {}  # by place, of all rows
        self.failed: dict[Job, Exception] = {}
        self.begun: Counter[str] = Counter()  # how often a job was begun, and not ended
        self.vain: Counter[str] = Counter()  # how often it was given up since anything was finished
        self.changed = threading.Condition(threading.RLock())
        client.subscribe_topic(TOPIC, lambda event: self._hear(event[1]))
        for run in runs:
            if run.surveyed:
                self._submit_rows(run)
            else:
                self._submit(Job(run))
        self.thread = threading.Thread(target=self._settle_all, daemon=True)
        self.thread.start()

    def _hear(self, event: dict) -> None:
        if "begun" in event:
            self.begun[event["job"]] += 1
        else:
            self.watch.event(event)

    def _submit(self, job: Job, *, late: bool = False) -> None:
        """late: of a row, after all others."""
        run, place = job.run, self.runs.index(job.run)
        words, priority = [run.table.name, run.settings.plain()], FIRST - place
        if job.row:
            found = [self.futures.get(Job(run, name, job.seed).place) for name in run.row(job.row).needs]
            needed = [one for one in found if one and one.status in ("pending", "finished")]  # else whoever is first trains the other row, too
            words, priority = [*words, job.row, job.seed, *needed], -1000 * place - len(self.futures) - FIRST * late
        future = self.client.submit(run.work if job.row else run.survey, *words, key=f"{job.name}-{uuid.uuid4().hex[:8]}", pure=False,
                                    priority=priority)
        self.jobs[future] = job
        if job.row:
            self.futures[job.place] = future
        self.queue.add(future)

    def _submit_rows(self, run: Any) -> None:
        jobs = [Job(run, row.name, seed) for row, seed in run.todo() if not run.is_finished(row, seed)]
        jobs = [job for job in jobs if job.place not in self.futures]
        self.watch.plan(jobs)
        for job in jobs:
            self._submit(job)

    def wait(self, run: Any = None) -> None:
        """Until the rows of `run` are finished, all rows without one. RuntimeError or ValueError, one line, for the first that fails."""
        def concerns(job: Job) -> bool:
            return run is None or job.run is run or (bool(job.row and run.surveyed) and job.place in {run.place(*one) for one in run.todo()})

        with self.changed:
            while True:
                if (failed := next(filter(concerns, self.failed), None)) is not None:
                    raise self.failed[failed]
                if not any(map(concerns, self.jobs.values())):
                    return
                if not self.thread.is_alive():
                    raise RuntimeError(GONE)
                self.changed.wait(0.5)

    def _settle_all(self) -> None:
        for future in self.queue:  # ends when nothing is left: what is submitted later is submitted from here
            with self.changed:
                job = self.jobs[future]
                try:
                    self._settle(job, future)
                except Exception as error:  # told to whoever waits for it
                    self.failed[job] = error
                finally:
                    del self.jobs[future]
                    self.changed.notify_all()

    def _settle(self, job: Job, future: Future) -> None:
        try:
            outcome = future.result()
        except KilledWorker:
            self._again(job)
            return
        except (CommClosedError, CancelledError):
            raise RuntimeError(GONE) from None
        except Exception as error:
            if isinstance(error, ModuleNotFoundError) or "deserialization" in str(error):
                raise RuntimeError(STRANGE) from None
            raise
        if outcome == BUSY:
            self.begun[job.name] -= 1
            self._submit(job, late=True)
            return
        self.vain.clear()
        if job.row:
            self._see(job)
            self.watch.finished(job.name)
        else:
            job.run.surveyed.update(outcome)
            self._submit_rows(job.run)

    def _again(self, job: Job) -> None:
        """Submit a job whose worker was lost. RuntimeError, one line, where that does not help."""
        self.vain[job.name] += 1
        lost = self.begun[job.name] if self.begun[job.name] > TRIES else self.vain[job.name] if self.vain[job.name] > IN_VAIN else 0
        if lost:
            raise RuntimeError(f"{job.name}: its worker was lost {lost} times, killed or out of memory; the same command goes on at its last epoch, "
                               "fewer workers or a smaller preset need less memory")
        self._submit(job)

    def _see(self, job: Job) -> None:
        """Until the record that a worker wrote is seen here. RuntimeError, one line, where it never is."""
        row, deadline = job.run.table.row(job.row), time.monotonic() + SHOWN
        while not job.run.is_finished(row, job.seed):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{job.name}: a worker finished it, but its record is not in {job.run.store.folder}; "
                                   "workers must share this folder, and have the same code, torch and data")
            time.sleep(0.5)


@contextlib.contextmanager
def graph(client: Client, runs: list) -> Iterator[Graph]:
    """The unfinished rows of `runs` on the cluster, with what is shown of them; what is left at the end is cancelled."""
    with Watch() as watch:
        made = Graph(client, runs, watch)
        try:
            yield made
        finally:
            if client.status == "running":
                client.unsubscribe_topic(TOPIC)
                client.cancel(list(made.jobs), force=True)
