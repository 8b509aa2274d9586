"""What long work says while it runs: what is being done, how far it is, how long is left.

In a terminal and in JupyterLab that is a tqdm bar. Where rows are trained by workers (`lib.runs.pool`), each step goes to a `sink`
instead, and whoever started the workers shows it.
"""

import time
from collections.abc import Callable

from tqdm.auto import tqdm

Sink = Callable[[str, int, int, str], None]  # stage, done, total, note


def clock(seconds: float) -> str:
    """Seconds as "48 s", "3 min 20 s" or "2 h 05 min"."""
    seconds = max(0, round(seconds))
    if seconds >= 3600:
        hours, minutes = divmod(round(seconds / 60), 60)
        return f"{hours} h {minutes:02d} min"
    return f"{seconds} s" if seconds < 60 else f"{seconds // 60} min {seconds % 60:02d} s"


class Progress:
    """Reports steps of named stages; call it with (stage, done, total, note). `prefix` stands before every line."""

    def __init__(self, prefix: str = "", *, quiet: bool = False, sink: Sink | None = None):
        self.prefix, self.quiet, self.sink = prefix, quiet, sink
        self.bar: tqdm | None = None
        self.stage, self.shown = "", 0.0

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        if self.quiet:
            return
        if stage != self.stage:
            self.close()
            self.stage, self.shown = stage, 0.0
        now = time.monotonic()
        if now - self.shown < (1.0 if self.sink else 0.2) and done < total:
            return
        self.shown = now
        if self.sink:
            self.sink(stage, done, total, note)
        else:
            self._draw(done, total, note)
        if done >= total:
            self.close()

    def _draw(self, done: int, total: int, note: str) -> None:
        if self.bar is None:
            self.bar = tqdm(total=total, initial=done, desc=f"{self.prefix}{self.stage}", leave=False)
        self.bar.n = done
        self.bar.set_postfix_str(note, refresh=False)
        self.bar.refresh()

    def close(self) -> None:
        """End the current stage's bar."""
        if self.bar is not None:
            self.bar.close()
        self.bar, self.stage = None, ""
