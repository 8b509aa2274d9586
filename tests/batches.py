"""What the tests of batches and workers share: starting commands, ending them, and records without what may differ."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
from safetensors import safe_open

from lib.runs import keys

ROOT = Path(__file__).parents[1]
TIMES = ("seconds", "host", "commit")  # of the provenance: what may differ
LONGEST = 900  # seconds: nothing here takes one, but machines are busy


def command(*words: str, **options) -> subprocess.Popen:
    """`python -m WORDS` from the repository's root, single-threaded, as from a terminal: what runs in the background is started deaf to Ctrl-C."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)  # a process inherits what is ignored
    try:
        return subprocess.Popen([sys.executable, "-m", *words], cwd=ROOT, env=environment, text=True, **options)
    finally:
        signal.signal(signal.SIGINT, before)


def finish(process: subprocess.Popen, *, within: float = LONGEST) -> str:
    """Its standard output; it must end well, and in time, or it is killed."""
    try:
        out, err = process.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        kill(process)
        raise
    assert process.returncode == 0, f"{(out or '')[-3000:]}\n{(err or '')[-3000:]}"
    return out


def kill(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def started_by(process: subprocess.Popen) -> list[psutil.Process]:
    """Every process below it."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def ended(processes: list[psutil.Process], *, within: float = 120) -> bool:
    """Whether all of them end in time; those that do not are killed."""
    _, alive = psutil.wait_procs(processes, timeout=within)
    for process in alive:
        process.kill()
    return not alive


def until(true, *, within: float = LONGEST):
    """What `true` gives once it gives something; an AssertionError if it does not in time."""
    deadline = time.monotonic() + within
    while not (found := true()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.2)
    return found


def records(results: Path) -> dict[str, dict]:
    """Every finished row but for times: its record, the digests of its values and of its weights. A record that does not parse is an error."""
    found = {}
    for path in sorted((results / "runs").rglob("*.json")):
        record = json.loads(path.read_text())
        record.pop("sha256")  # which covers times
        record["provenance"] = {name: value for name, value in record["provenance"].items() if name not in TIMES}
        with np.load(path.with_suffix(".npz")) as values:
            digests = {name: hashlib.sha256(values[name].tobytes()).hexdigest() for name in values}
        weights = path.with_name(f"{path.name.rpartition('-')[0]}-{keys.digest(record['depends']['weights'])}.safetensors")
        with safe_open(weights, "np") as kept:  # its header has times
            digests |= {f"weights {name}": hashlib.sha256(kept.get_tensor(name).tobytes()).hexdigest() for name in kept.keys()}
        found[path.name] = {**record, "digests": digests}
    return found


def left_over(results: Path) -> list[str]:
    """Files among the records that belong to no finished row."""
    return [path.name for path in (results / "runs").rglob("*") if path.is_file() and path.suffix not in (".json", ".npz", ".safetensors", ".lock")]


def notice(results: Path, written: dict[str, int]) -> None:
    """Fails if a record that was there once was written again: a finished row was computed twice."""
    for path in (results / "runs").rglob("*.json"):
        changed = path.stat().st_mtime_ns
        assert written.setdefault(path.name, changed) == changed, f"{path.name} was computed twice"
