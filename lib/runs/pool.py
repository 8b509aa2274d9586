"""The workers of rows: the processes here, or those of a cluster elsewhere. What they compute is the engine's (`lib.runs.engine.Run.work`).

By default they are one process for each core, started and ended with the command; `--scheduler ADDRESS` joins a Dask cluster that runs already,
wherever its workers are (lib/runs/README.md says how to start one). A worker computes one row at a time, with one thread.
"""

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator

import dask
from distributed import Client, LocalCluster, get_worker
from distributed.core import Status
from tornado.ioloop import PeriodicCallback

from lib.training.processes import cores

TOPIC = "row"  # of the events that workers send
BUSY, FINISHED = "busy", "finished"
PATIENCE = 15  # seconds, with a scheduler that does not answer
# Dask starts workers with MALLOC_TRIM_THRESHOLD_=65536, so that they hold little memory. With it the C library gives every tensor's memory back
# at once and asks for it again: half of a worker's time went into that. These keep it, and need no arena for each thread of a process that trains
# in one.
MEMORY = {"MALLOC_TRIM_THRESHOLD_": 2**34, "MALLOC_MMAP_THRESHOLD_": 2**25, "MALLOC_ARENA_MAX": 1}
SETTINGS = {"distributed.nanny.pre-spawn-environ": MEMORY | {"OMP_NUM_THREADS": 1, "MKL_NUM_THREADS": 1, "OPENBLAS_NUM_THREADS": 1},
            "distributed.worker.daemon": False,  # a worker may have processes of its own, to write a twin or to decode pictures
            "distributed.scheduler.allowed-failures": 0,  # which row was at work when its worker was lost is known here, see `Graph`
            "distributed.deploy.lost-worker-timeout": "10 minutes",  # one that starts slowly is not lost
            "distributed.comm.timeouts.connect": "15s"}
QUIET = {"DASK_LOGGING__DISTRIBUTED": "critical"}  # what matters is said here in one line


@contextlib.contextmanager
def workers(address: str | None = None) -> Iterator[Client]:
    """A client of the cluster at `address`, or of one for this machine. ValueError, one line, where no scheduler answers there."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(SETTINGS))
        stack.enter_context(_quiet())
        with _uninterrupted():
            if address is None:
                address = stack.enter_context(LocalCluster(n_workers=0, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0",
                                                            memory_limit=None,  # mapped files would count as memory
                                                            env=QUIET, silence_logs=logging.CRITICAL, preload=[__name__, "torch"]))
                _keep(address, cores())
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


def _keep(cluster: LocalCluster, count: int) -> None:
    """`cluster` gets `count` workers: one that is killed while it starts is started again, which Dask does only for those at work.

    They start after the cluster, so that whoever interrupts them has one to close.
    """
    def renew() -> None:
        if cluster.status != Status.running:
            return
        for name, nanny in list(cluster.workers.items()):
            if nanny.status in (Status.closed, Status.failed):
                del cluster.workers[name]
        if len(cluster.workers) < count:
            cluster.scale(count)

    cluster.scale(count)
    cluster.periodic_callbacks["renew"] = PeriodicCallback(renew, 2000)  # the cluster stops it when it is closed
    cluster.loop.add_callback(cluster.periodic_callbacks["renew"].start)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the cluster's own log: a lost connection would be told by three libraries in forty lines."""
    noisy = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in ("distributed", "tornado", "asyncio")]
    before = {name: logging.getLogger(name).level for name in noisy}  # each has a level of its own
    for name in noisy:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


# --- on a worker --------------------------------------------------------------------------------------------------------


def dask_setup(worker) -> None:
    """Dask calls it in each worker of ours. An interrupt at the terminal reaches all; it is for the process that started them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def tell(job: str, **event) -> None:
    """Tell whoever submitted `job` what became of it, from the worker that is at it."""
    get_worker().log_event(TOPIC, {"job": job} | event)
