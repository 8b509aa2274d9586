"""SIGKILL at random moments of a whole batch: to the batch itself, a worker, a notebook's kernel and the scheduler, in turns; and what it cost.

`python tests/test_interruptions.py 100` does it with all notebooks. A batch that outlives a kill (of a worker) goes on until the next one; one
that ended is started again in the same folder; where all records are there they are compared, and the next begins in a new folder. So a round
meets many kills. A batch starts with another notebook each time: notebooks are executed anew by every batch, and the last would never be met.
"""

from __future__ import annotations

import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from batches import LONGEST, ended, kill, left_over, records, started_by

from lib.results.records import changes
from lib.training.progress import clock

KINDS = ("batch", "worker", "kernel", "scheduler")
PATIENCE = 60.0  # seconds for a victim of the kind whose turn it is to appear; else the batch itself is killed


@dataclass
class Toll:
    """What the kills hit, and what came of it."""

    hit: Counter[str] = field(default_factory=Counter)
    again: list[str] = field(default_factory=list)  # records that were written twice: finished rows that were computed again
    differing: list[str] = field(default_factory=list)  # folders whose records are not those of an undisturbed batch, and in what
    leftovers: list[str] = field(default_factory=list)  # files and processes
    badly: list[str] = field(default_factory=list)  # batches that ended otherwise than in one line
    finished: int = 0  # folders in which all rows were finished

    @property
    def well(self) -> bool:
        return not (self.again or self.differing or self.leftovers or self.badly)

    def __str__(self) -> str:
        hit = ", ".join(f"{kind} {count}" for kind, count in self.hit.items())
        lines = [f"{sum(self.hit.values())} kills: {hit}; {self.finished} folders with all records"]
        lines += [
            f"{what}: {len(found)}{''.join(f'{chr(10)}    {one}' for one in found[:10])}"
            for what, found in (
                ("finished rows computed again", self.again),
                ("folders with other records than undisturbed", self.differing),
                ("left over, files and processes", self.leftovers),
                ("batches that did not end in one line", self.badly),
            )
        ]
        return "\n".join(lines)


class Disturbed:
    """A batch that is killed and started again.

    batch(results, turn, *words) starts one, the `turn`-th; elsewhere() starts a scheduler and workers of its own. expected: the records of an
    undisturbed one.
    """

    def __init__(self, folder: Path, batch: Callable, elsewhere: Callable, expected: dict, *, seed: int = 0):
        self.folder, self.batch, self.elsewhere, self.expected, self.rng = folder, batch, elsewhere, expected, random.Random(seed)
        self.toll, self.process, self.cluster, self.round, self.turn, self.written, self.waited = Toll(), None, None, 0, 0, {}, 0.0

    @property
    def results(self) -> Path:
        return self.folder / f"round-{self.round}"

    def run(self, kills: int, *, minutes: float, shortest: float) -> Toll:
        """So many kills, in about so many minutes; the last batch may finish.

        What is left of the minutes is shared out among the kills that are left, less what starting and ending took so far; but a batch
        is let live for up to `shortest` seconds whatever that comes to, or no row would be finished.
        """
        begun = time.monotonic()
        for number in range(kills):
            gone = time.monotonic() - begun
            beside = (gone - self.waited) / number if number else 0.0
            self._disturb(KINDS[number % len(KINDS)], max(shortest, 2 * ((60 * minutes - gone) / (kills - number) - beside)))
            self._notice()
            gone, done = time.monotonic() - begun, number + 1
            there = f"{self.hit}; round {self.round + 1}, {len(self.written)} of {len(self.expected)} records"
            print(f"{done} of {kills} kills ({there}), {clock(gone)} gone, {clock(gone / done * (kills - done))} left", flush=True)
        self._start("batch")
        self._settle(within=LONGEST)
        return self.toll

    def _disturb(self, kind: str, longest: float) -> None:
        """One kill; what came to its end before it was met does not count."""
        while not self._strike(kind, longest):
            if self.process is not None and self.process.poll() is not None:
                self._settle(within=LONGEST)

    def _strike(self, kind: str, longest: float) -> bool:
        """Whether a process at work was killed, after a random time."""
        self._start(kind)
        self._wait(longest)
        victim, deadline = None, time.monotonic() + PATIENCE
        while self.process.poll() is None and victim is None:
            victim = self._victim(kind if time.monotonic() < deadline else "batch")
            time.sleep(0.1)
        if victim is None or self.process.poll() is not None:
            return False
        below = started_by(self.process)
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            return False
        self.hit = kind if victim.pid != self.process.pid else "batch"
        self.toll.hit[self.hit] += 1
        if victim.pid == self.process.pid:
            self.process.communicate()
            self._ended(below)
        elif kind != "worker":
            self._settle(within=LONGEST)
        return True

    def _wait(self, longest: float) -> None:
        seconds = self.rng.uniform(0.5, longest)
        self.waited += seconds
        time.sleep(seconds)

    def _start(self, kind: str) -> None:
        """A batch, if none runs; one with a scheduler elsewhere where that is to be killed."""
        if self.process is not None and (self.process.poll() is not None or kind == "scheduler" and self.cluster is None):
            if self.process.poll() is None:
                kill(self.process)
                self.process = None
            else:
                self._settle(within=LONGEST)
        if self.process is None:
            if {path.name for path in (self.results / "runs").rglob("*.json")} == set(self.expected):
                self._finish()
            words = ()
            if kind == "scheduler":
                self.cluster = self.elsewhere()
                words = ("--scheduler", self.cluster.address)
            self.process, self.turn = self.batch(self.results, self.turn, *words), self.turn + 1

    def _victim(self, kind: str) -> psutil.Process | None:
        """A process of that kind that is at work now."""
        if kind == "batch":
            return psutil.Process(self.process.pid)
        if kind == "scheduler":
            return psutil.Process(self.cluster.scheduler.pid) if self.cluster else None
        word = {"worker": "multiprocessing.spawn", "kernel": "ipykernel_launcher"}[kind]
        below = started_by(self.process) + [each for one in (self.cluster.workers if self.cluster else ()) for each in started_by(one)]
        found = [process for process in below if _says(process, word)]
        return self.rng.choice(found) if found else None

    def _settle(self, *, within: float) -> None:
        """The batch at its end: what it said, and, if it is done, its records."""
        below = started_by(self.process)
        try:
            out, _ = self.process.communicate(timeout=within)
        except subprocess.TimeoutExpired:
            kill(self.process)
            out, self.process.returncode = "it did not end", 1
        if self.process.returncode not in (0, None) and ("Traceback" in out or "error: " not in out):
            self.toll.badly.append(out.strip()[-300:])
        self._ended(below)
        if self.process is None and out is not None and "error: " not in out and "Total" in out:
            self._finish()

    def _ended(self, below: list[psutil.Process]) -> None:
        """No process of the batch stays."""
        names = [f"{' '.join(process.cmdline())[:80]}" for process in below if _says(process, "")]
        if not ended(below):
            self.toll.leftovers += names
        if self.cluster is not None:
            self.cluster.close()
            self.cluster = None
        self.process = None

    def _finish(self) -> None:
        self.toll.finished += 1
        self._notice()
        if differ := changes(self.expected, records(self.results)):
            self.toll.differing.append(f"{self.results.name}: {'; '.join(differ[:10])}" + (f"; {len(differ) - 10} more" if len(differ) > 10 else ""))
        self.toll.leftovers += left_over(self.results)
        self.round, self.written = self.round + 1, {}

    def _notice(self) -> None:
        """A record that was there once and was written again is a finished row that was computed twice."""
        for path in (self.results / "runs").rglob("*.json"):
            changed = path.stat().st_mtime_ns
            if self.written.setdefault(path.name, changed) != changed:
                self.toll.again.append(path.name)
                self.written[path.name] = changed


def _says(process: psutil.Process, word: str) -> bool:
    """Whether its command line has `word`; False for one that is gone. Python's own helper of processes is nobody's victim."""
    try:
        line = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return word in line and "resource_tracker" not in line
