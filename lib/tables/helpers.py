"""Other processes that fill the same tables: on a CPU, rows side by side are faster than threads inside one row.

A helper is `python -m lib table NAMES ... --helper K`: it walks through each table's rows from the other end, and skips those
that are finished or locked by somebody. It ends when its parent does, whatever ended that. A table calls helpers for itself;
a batch of notebooks starts them once for all its tables, so that no core is idle while a notebook draws.
"""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

from lib.results.records import ROOT

MOST = 4  # processes, the first one among them: each holds a network and a share of the data in memory
BY_BATCH = "ZOOM_HELPED"  # set in the environment where a batch has started helpers


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def started(count: int, words: list[str]) -> Iterator[None]:
    """`count` helpers with the command line `words` at work; at its end they are waited for."""
    environment = os.environ | {"ZOOM_PARENT": str(os.getpid())}
    processes = [subprocess.Popen([sys.executable, "-m", "lib", "table", *words, "--helper", str(i + 1)], env=environment,
                                  cwd=ROOT,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for i in range(count)]
    try:
        yield
    except BaseException:
        for process in processes:
            process.terminate()
        raise
    finally:
        for process in processes:
            process.wait()


def end_with_parent() -> None:
    """Make this process end soon after the one that started it."""
    parent = int(os.environ["ZOOM_PARENT"])

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def help_with(names: list[str], number: int, parameters: dict) -> None:
    """What helper `number` does: table after table, but for those that have no such preset, data set or rows."""
    from lib import tables
    from lib.tables.engine import Run, settings

    end_with_parent()
    for name in names:
        table = tables.get(name)
        with contextlib.suppress(ValueError):
            Run(table, settings(table, **parameters)).help(number)
