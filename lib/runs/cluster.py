"""Rows on workers: the rows of all tables of a batch as one graph on a Dask cluster.

By default the cluster is one process for each core here, started and ended with the command; `--scheduler ADDRESS` joins one that runs
already, wherever its workers are (lib/runs/README.md says how to start one). A worker computes one row at a time, with one thread.
A row that needs another's network waits for it. A row whose worker is lost is done again from its last epoch, at most three times.

Workers and whoever joins them share one folder of results, and the same code. Nothing travels but names: the records are the result.
"""

import contextlib
import logging
import os
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import dask
from distributed import CancelledError, Client, Future, KilledWorker, LocalCluster, as_completed, get_worker
from distributed.comm.core import CommClosedError
from distributed.core import Status

from lib import tables
from lib.runs.engine import Run, one_thread
from lib.runs.parameters import settings
from lib.runs.watch import Watch

TOPIC = "row"  # of the events that workers send
TRIES = 3  # again, of a row whose worker is lost
IN_VAIN = 20  # workers lost, and not a row finished in between
SHOWN = 90.0  # seconds: a network file system may take a minute to show a file that another machine wrote
BUSY, FINISHED = "busy", "finished"
GONE = "the scheduler is gone; finished rows are kept, the same command goes on at the last finished epochs"
STRANGE = "the scheduler or a worker cannot read what it is sent; start both from a checkout of this code, with the same packages (lib/runs/README.md)"
FIRST = 10**6  # priority of what comes before all rows, and, negative, of what comes after them
PATIENCE = 15  # seconds, with a scheduler that does not answer
LONG = 5  # epochs: shorter rows are done before a worker has started
# Dask starts workers with MALLOC_TRIM_THRESHOLD_=65536, so that they hold little memory. With it the C library gives every tensor's memory back at once
# and asks for it again: half of a worker's time went into that. These keep it, and need no arena for each thread of a process that trains in one.
MEMORY = {"MALLOC_TRIM_THRESHOLD_": 2**34, "MALLOC_MMAP_THRESHOLD_": 2**25, "MALLOC_ARENA_MAX": 1}
SETTINGS = {"distributed.nanny.pre-spawn-environ": MEMORY | {"OMP_NUM_THREADS": 1, "MKL_NUM_THREADS": 1, "OPENBLAS_NUM_THREADS": 1},
            "distributed.worker.daemon": False,  # a worker may have processes of its own, to write a twin or to decode pictures
            "distributed.scheduler.allowed-failures": 0,  # which row was at work when its worker was lost is known here, see `Graph`
            "distributed.deploy.lost-worker-timeout": "10 minutes",  # one that starts slowly is not lost
            "distributed.comm.timeouts.connect": "15s"}
QUIET = {"DASK_LOGGING__DISTRIBUTED": "critical"}  # what matters is said here in one line


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worth_it(runs: list[Run]) -> bool:
    """Whether workers of our own would be quicker: several cores, no GPU, and more than one long row to train."""
    if cores() < 2 or any(run.settings.device.type != "cpu" for run in runs):
        return False
    missing = [row for run in runs for row, seed in run.todo() if run.recipe(row).epochs >= LONG and not run.is_finished(row, seed)]
    return len(missing) > 1


@contextlib.contextmanager
def workers(address: str | None = None) -> Iterator[Client]:
    """A client of the cluster at `address`, or of one for this machine that ends with the context.

    ValueError, one line, where no scheduler answers there.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(SETTINGS))
        stack.enter_context(_quiet())
        with _uninterrupted():
            if address is None:
                address = stack.enter_context(LocalCluster(n_workers=0, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0",
                                                            memory_limit=None,  # mapped files would count as memory
                                                            env=QUIET, silence_logs=logging.CRITICAL, preload=__name__))
                stack.enter_context(_kept(address, cores()))
            try:
                client = stack.enter_context(Client(address, timeout=PATIENCE, set_as_default=False))
            except (OSError, ValueError) as error:
                raise ValueError(f"scheduler {address}: no Dask scheduler answers there ({type(error).__name__}); start one, or leave --scheduler "
                                 "out") from None
        yield client


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """An interrupt waits until the context ends: what is half made could not be closed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: caught.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if caught:
        raise KeyboardInterrupt


@contextlib.contextmanager
def _kept(cluster: LocalCluster, count: int) -> Iterator[None]:
    """`cluster` with `count` workers: one that is killed while it starts is started again, which Dask does only for those at work.

    They start after the cluster, so that whoever interrupts them has one to close.
    """
    over = threading.Event()
    cluster.scale(count)

    def renew() -> None:
        for name, nanny in list(cluster.workers.items()):
            if nanny.status in (Status.closed, Status.failed):
                del cluster.workers[name]
        if len(cluster.workers) < count:
            cluster.scale(count)

    def watch() -> None:
        while not over.wait(2):
            cluster.loop.add_callback(renew)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the cluster's own log: a lost connection would be told by three libraries in forty lines."""
    noisy = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in ("distributed", "tornado", "asyncio")]
    loggers = [logging.getLogger(name) for name in noisy]  # each has a level of its own
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


# --- on a worker --------------------------------------------------------------------------------------------------------


def dask_setup(worker) -> None:
    """Dask calls it in each worker of ours. An interrupt at the terminal reaches all; it is for the process that started them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


_runs: dict[tuple[str, str], Run] = {}  # of this worker: data are opened once


def _run(name: str, plain: dict, job: str) -> Run:
    """Table `name` with these settings on this worker; its progress is told as that of `job`."""
    known = name, repr(sorted(plain.items()))
    if known not in _runs:
        table = tables.get(name)
        _runs[known] = Run(table, settings(table, **plain))
    _runs[known].sink = lambda stage, done, total, note: get_worker().log_event(
        TOPIC, {"job": job, "stage": stage, "done": done, "total": total, "note": note})
    return _runs[known]


def _begin(job: str) -> None:
    get_worker().log_event(TOPIC, {"job": job, "begun": True})


def survey(name: str, plain: dict) -> dict[str, dict[str, str]]:
    """Opens the data of table `name`, twins and caches written on the way; the fingerprints of each variant."""
    run = _run(name, plain, name)
    _begin(name)
    with one_thread(run.settings.device):
        return {row.variant: run.fingerprints(row.variant) for row, _ in run.todo()}


def work(name: str, plain: dict, row: str, seed: int, *needed: str) -> str:
    """One row and seed of table `name`, computed here; BUSY where another batch is at it."""
    run = _run(name, plain, f"{name}/{row}/{seed}")
    _begin(f"{name}/{row}/{seed}")
    with one_thread(run.settings.device):
        if run.finish(run.table.row(row), seed, wait=False):
            return FINISHED
    time.sleep(1)
    return BUSY


# --- where the batch is -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """A row and seed of a run; with no row, the survey of its data."""

    run: Run
    row: str = ""
    seed: int = 0

    @property
    def name(self) -> str:
        return f"{self.run.table.name}/{self.row}/{self.seed}" if self.row else self.run.table.name

    @property
    def place(self) -> tuple[str, ...]:
        """Where it is filed: tables may share rows, and other values of the same row."""
        if not self.row:
            return (self.run.table.name,)
        return str(self.run.store.folder), self.row, self.run.key(self.run.table.row(self.row), self.seed)


class Graph:
    """The unfinished rows of `runs` as futures, tables in order. Rows are known once the data of their table are open.

    With a worker goes its whole queue, and the scheduler blames every row in it. So workers tell which rows they begin: one that was begun
    `TRIES` + 1 times and never ended is given up, the others are submitted again. A thread settles what comes back, so that rows follow
    their survey whatever else this process is at.
    """

    def __init__(self, client: Client, runs: list[Run], watch: Watch):
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
                self._submit_survey(Job(run))
        self.thread = threading.Thread(target=self._settle_all, daemon=True)
        self.thread.start()

    def _hear(self, event: dict) -> None:
        if "begun" in event:
            self.begun[event["job"]] += 1
        else:
            self.watch.event(event)

    def _submit_survey(self, job: Job) -> None:
        self._submit(job, survey, job.run.table.name, job.run.settings.plain(), priority=FIRST - self.runs.index(job.run))

    def _submit(self, job: Job, function, *words, priority: int) -> Future:
        future = self.client.submit(function, *words, key=f"{job.name}-{uuid.uuid4().hex[:8]}", pure=False, priority=priority)
        self.jobs[future] = job
        self.queue.add(future)
        return future

    def _submit_rows(self, run: Run) -> None:
        jobs = [Job(run, row.name, seed) for row, seed in run.todo() if not run.is_finished(row, seed)]
        jobs = [job for job in jobs if job.place not in self.futures]
        self.watch.plan(jobs)
        for job in jobs:
            self._submit_row(job)

    def _submit_row(self, job: Job, *, late: bool = False) -> None:
        row = job.run.table.row(job.row)
        found = [self.futures.get(Job(job.run, name, job.seed).place) for name in row.needs]
        needed = [one for one in found if one and one.status in ("pending", "finished")]  # else whoever is first trains the other row, too
        priority = -1000 * self.runs.index(job.run) - len(self.futures) - FIRST * late
        self.futures[job.place] = self._submit(job, work, job.run.table.name, job.run.settings.plain(), job.row, job.seed, *needed, priority=priority)

    def wait(self, run: Run | None = None) -> None:
        """Until the rows of `run` are finished, all rows without one. RuntimeError or ValueError, one line, for the first that fails."""
        def concerns(job: Job) -> bool:
            return run is None or job.run is run or (bool(job.row and run.surveyed) and job.place in _places(run))

        with self.changed:
            while any(map(concerns, self.jobs.values())):
                self._raise_first(concerns)
                if not self.thread.is_alive():
                    raise RuntimeError(GONE)
                self.changed.wait(0.5)
            self._raise_first(concerns)

    def _raise_first(self, concerns) -> None:
        for job, error in self.failed.items():
            if concerns(job):
                raise error

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
            self._submit_row(job, late=True)
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
        if job.row:
            self._submit_row(job)
        else:
            self._submit_survey(job)

    def _see(self, job: Job) -> None:
        """Until the record that a worker wrote is seen here. RuntimeError, one line, where it never is."""
        row, deadline = job.run.table.row(job.row), time.monotonic() + SHOWN
        while not job.run.is_finished(row, job.seed):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{job.name}: a worker finished it, but its record is not in {job.run.store.folder}; workers must share this folder, "
                                   "and have the same code, torch and data")
            time.sleep(0.5)


def _places(run: Run) -> set[tuple[str, ...]]:
    """Where the rows of a run are filed, once its data are known."""
    return {Job(run, row.name, seed).place for row, seed in run.todo()}


@contextlib.contextmanager
def graph(client: Client, runs: list[Run]) -> Iterator[Graph]:
    """The unfinished rows of `runs` on the cluster, with what is shown of them; what is left at the end is cancelled."""
    with Watch() as watch:
        made = Graph(client, runs, watch)
        try:
            yield made
        finally:
            if client.status == "running":
                client.unsubscribe_topic(TOPIC)
                client.cancel(list(made.jobs), force=True)


def fill(client: Client, runs: list[Run]) -> None:
    """Compute every unfinished row of `runs`."""
    with graph(client, runs) as made:
        made.wait()
