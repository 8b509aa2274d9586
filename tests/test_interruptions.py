"""A batch that is killed again and again ends with the records of an undisturbed one, and two batches do not harm each other.

`python tests/test_interruptions.py 20` kills a batch of all notebooks twenty times and prints what happened; the tests do the
same a few times to some rows of one notebook.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
ROWS = "mse,encoder_a,encoder_b,decoder,centre_bias,released"  # decoder and released need others' weights
SOME = ("05", "--rows", ROWS)
TIMES = ("seconds", "host", "commit")  # of the provenance: what may differ


def batch(results: Path, what: tuple[str, ...] = SOME) -> subprocess.Popen:
    """`python -m lib run`, as `make reproduce` calls it, with some rows of one notebook; with nothing as `what`, of all."""
    words = [sys.executable, "-m", "lib", "run", *what, "--preset", "smoke", "--device", "cpu", "--results", str(results)]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def finish(process: subprocess.Popen) -> str:
    out, _ = process.communicate(timeout=900)
    assert process.returncode == 0, out[-3000:]
    return out


def records(results: Path) -> dict[str, dict]:
    """Every finished row but for times: its record, and the digest of its values and weights. A record that does not parse is an error."""
    found = {}
    for path in sorted((results / "runs").rglob("*.json")):
        record = json.loads(path.read_text())
        record["provenance"] = {name: value for name, value in record["provenance"].items() if name not in TIMES}
        with np.load(path.with_suffix(".npz")) as values:
            digest = {name: hashlib.sha256(values[name].tobytes()).hexdigest() for name in values}
        kept = path.with_suffix(".safetensors")
        weights = hashlib.sha256(kept.read_bytes()).hexdigest() if kept.exists() else None
        found[path.name] = {**record, "values_sha256": digest, "weights": weights}
    return found


def kill_again_and_again(results: Path, kills: int, longest: float, *, what: tuple[str, ...] = SOME, seed: int = 0) -> int:
    """Start the batch, kill it after a random time, start it again, ...; the last one may finish. Gives how many kills met a batch at work.

    Fails if a record that was there once is ever written again: a finished row was computed twice.
    """
    rng, written, met = random.Random(seed), {}, 0
    for _ in range(kills):
        process = batch(results, what)
        time.sleep(rng.uniform(0.5, longest))
        met += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        notice(results, written)
    finish(batch(results, what))
    notice(results, written)
    return met


def notice(results: Path, written: dict[str, int]) -> None:
    for path in (results / "runs").rglob("*.json"):
        changed = path.stat().st_mtime_ns
        assert written.setdefault(path.name, changed) == changed, f"{path.name} was computed twice"


@pytest.fixture(scope="module")
def undisturbed(lend, tmp_path_factory):
    """The same rows, computed one after the other in one process."""
    folder = lend(tmp_path_factory.mktemp("undisturbed"), "salicon", ROWS.split(","))
    assert len(records(folder)) == len(ROWS.split(","))
    return folder


@pytest.mark.slow
def test_a_batch_killed_at_random_moments_ends_with_the_same_records(tmp_path, undisturbed):
    """Bit for bit: values and weights too. Whatever was finished is never computed again, and nothing is left half-written."""
    assert kill_again_and_again(tmp_path, kills=3, longest=14.0) >= 1
    assert records(tmp_path) == records(undisturbed)
    left = [path.name for path in (tmp_path / "runs").rglob("*") if path.is_file() and path.suffix not in (".json", ".npz", ".safetensors", ".lock")]
    assert left == []


@pytest.mark.slow
def test_two_batches_started_together_leave_every_record_intact(tmp_path, undisturbed):
    both = [batch(tmp_path) for _ in range(2)]
    said = [finish(process) for process in both]
    assert records(tmp_path) == records(undisturbed)
    assert all("done in" in text for text in said)


if __name__ == "__main__":
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    with tempfile.TemporaryDirectory() as folder:
        quiet, disturbed = Path(folder, "quiet"), Path(folder, "disturbed")
        started = time.monotonic()
        finish(batch(quiet, ()))
        whole = time.monotonic() - started
        met = kill_again_and_again(disturbed, kills, whole / 4, what=())
        same = records(disturbed) == records(quiet)
        print(f"{kills} kills within {whole:.0f} s, {met} met the batch at work; {len(records(quiet))} records, the same but for times: {same}")
        sys.exit(not same)
