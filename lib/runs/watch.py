"""What is shown while workers compute rows: one live line in a terminal, one line in ten seconds in a log, the time left for the whole."""

import sys
import threading
import time
from collections.abc import Iterable
from typing import Any

from lib.training.progress import clock

EVERY = 10.0  # seconds between lines of a log
WIDTH = 110
RECENT = 60.0  # seconds after its last step a row is no longer shown as under way


class Watch:
    """How far the rows of a batch are: `plan` them, tell `event`s and what is `finished`; use it as a context."""

    def __init__(self, stream=None):
        self.stream = stream or sys.stderr
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

    def plan(self, jobs: Iterable) -> None:
        """jobs: with `name`, and `run` and `row`, whose epochs say how long each will take beside the others."""
        with self.lock:
            for job in jobs:
                self.share.setdefault(job.name, 0.0)
                self.weight[job.name] = 1.0 + job.run.recipe(job.run.table.row(job.row)).epochs
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

    def _news(self) -> bool:
        """Whether anything is under way that is worth a line."""
        with self.lock:
            return any(share < 1 for share in self.share.values())

    def _show(self) -> None:
        last = time.monotonic()
        while not self.over.wait(0.5 if self.live else 1.0):
            if not self._news() or (not self.live and time.monotonic() - last < EVERY):
                continue
            last = time.monotonic()
            text = self.line()
            print(f"\r\033[K{text[:WIDTH]}" if self.live else text, end="" if self.live else "\n", file=self.stream, flush=True)
