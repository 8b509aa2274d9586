"""What long work says while it runs: what is being done, how far it is, how long is left.

In a terminal and in JupyterLab that is a tqdm bar. Under the batch runner, which sets ZOOM_PROGRESS to a file, each step
appends a line there for the runner to show, and the executed notebook stays free of bars.
"""

import os
import time
from pathlib import Path

from tqdm.auto import tqdm


def clock(seconds: float) -> str:
    """Seconds as "48 s" or "3 min 20 s"."""
    seconds = max(0, round(seconds))
    return f"{seconds} s" if seconds < 60 else f"{seconds // 60} min {seconds % 60:02d} s"


class Progress:
    """Reports steps of named stages; call it with (stage, done, total, note). `prefix` stands before every line."""

    def __init__(self, prefix: str = "", *, quiet: bool = False):
        self.prefix, self.quiet = prefix, quiet
        self.file = os.environ.get("ZOOM_PROGRESS")
        self.bar: tqdm | None = None
        self.stage, self.started, self.shown, self.first = "", 0.0, 0.0, 0

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        if self.quiet:
            return
        if stage != self.stage:
            self.close()
            self.stage, self.started, self.shown, self.first = stage, time.monotonic(), 0.0, done
        if self.file:
            self._append(done, total, note)
        else:
            self._draw(done, total, note)
        if done >= total:
            self.close()

    def _append(self, done: int, total: int, note: str) -> None:
        now = time.monotonic()
        if now - self.shown < 2 and done < total:
            return
        self.shown = now
        steps = done - self.first
        left = f", {clock((now - self.started) / steps * (total - done))} left" if steps and done < total else ""
        with Path(self.file).open("a") as file:
            file.write(f"{self.prefix}{self.stage} {done}/{total}{left}{f', {note}' if note else ''}\n")

    def _draw(self, done: int, total: int, note: str) -> None:
        if self.bar is None:
            self.bar = tqdm(total=total, initial=done, desc=f"{self.prefix}{self.stage}", leave=False)
        elif time.monotonic() - self.shown < 0.2 and done < total:
            return
        self.shown = time.monotonic()
        self.bar.n = done
        self.bar.set_postfix_str(note, refresh=False)
        self.bar.refresh()

    def close(self) -> None:
        """End the current stage's bar."""
        if self.bar is not None:
            self.bar.close()
        self.bar, self.stage = None, ""
