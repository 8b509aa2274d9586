"""A batch that is killed again and again ends with the records of an undisturbed one, and two batches do not harm each other.

`python tests/test_interruptions.py 100` kills a batch of all notebooks a hundred times, the batch itself, a worker, a kernel and the
scheduler in turns (`kills`), within about 25 minutes beside two undisturbed batches (`--minutes` says otherwise), and prints where it is, how long
it will take, and what it cost; the tests do the same a few times to some rows of one notebook.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from signal import SIGINT

import pytest

from batches import LONGEST, command, ended, finish, kill, left_over, notice, records, started_by, until

ROWS = {"salicon": "mse,encoder_a,encoder_b,decoder,centre_bias,released",  # decoder and released need others' weights
        "cub200": "plain,cam,sampler,oracle"}  # cam needs plain's; the quickest notebook with such a row
SOME, QUICK = ("05", "--rows", ROWS["salicon"]), ("04", "--rows", ROWS["cub200"])


def batch(results: Path, what: tuple[str, ...] = SOME) -> subprocess.Popen:
    """`python -m lib run`, as `make reproduce` calls it, with some rows of one notebook; with nothing as `what`, of all."""
    return command("lib", "run", *what, "--preset", "smoke", "--device", "cpu", "--results", str(results), stdout=subprocess.PIPE,
                   stderr=subprocess.STDOUT, start_new_session=True)


def kill_again_and_again(results: Path, kills: int, longest: float, *, what: tuple[str, ...] = SOME, seed: int = 0) -> int:
    """Start the batch, kill it after a random time, start it again, ...; the last one may finish. Gives how many kills met a batch at work.

    Fails if a record that was there once is ever written again: a finished row was computed twice.
    """
    rng, written, met = random.Random(seed), {}, 0
    for _ in range(kills):
        process = batch(results, what)
        time.sleep(rng.uniform(0.5, longest))
        met += process.poll() is None
        kill(process)
        notice(results, written)
    finish(batch(results, what))
    notice(results, written)
    return met


@pytest.fixture
def undisturbed(tmp_path_factory, lend):
    """undisturbed(table): the records of its rows as nobody interrupted them, of the one process or the batch that all tests share."""
    def found(table: str) -> dict[str, dict]:
        rows = ROWS[table].split(",")
        expected = records(lend(tmp_path_factory.mktemp("undisturbed"), table, rows))
        assert len(expected) == len(rows)
        return expected

    return found


@pytest.mark.slow
def test_a_batch_killed_at_random_moments_ends_with_the_same_records(tmp_path, undisturbed):
    """Bit for bit: values and weights too. Whatever was finished is never computed again, and nothing is left half-written."""
    expected = undisturbed("salicon")
    assert kill_again_and_again(tmp_path, kills=3, longest=14.0) >= 1
    assert records(tmp_path) == expected
    assert left_over(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("signal", ["KILL", "INT"])
def test_a_batch_that_ends_takes_its_workers_with_it(signal, tmp_path):
    """Killed, they see it end; interrupted, it ends them and says in a line how to go on."""
    process = batch(tmp_path, QUICK)
    below = until(lambda: list((tmp_path / "runs").rglob("*.json")) and started_by(process))  # at work
    if signal == "KILL":
        kill(process)
    else:
        os.killpg(process.pid, SIGINT)  # as a terminal does: to all of them
        out, _ = process.communicate(timeout=300)
        assert process.returncode == 130 and "interrupted; the same command goes on" in out and "Traceback" not in out
    assert ended(below)


@pytest.mark.slow
def test_two_batches_started_together_leave_every_record_intact(tmp_path, undisturbed):
    expected = undisturbed("cub200")
    both = [batch(tmp_path, QUICK) for _ in range(2)]
    said = [finish(process) for process in both]
    assert records(tmp_path) == expected
    assert all("done in" in text for text in said)


if __name__ == "__main__":
    from kills import Disturbed
    from test_cluster import Elsewhere

    from lib.batch import find

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kills", nargs="?", type=int, default=20)
    parser.add_argument("--minutes", type=float, help="that the kills may take: a quarter for each by default")
    parser.add_argument("--seed", type=int, default=0)
    options, some = parser.parse_known_args()  # what to run, all notebooks by default: 05 --rows mse,centre_bias
    names = [path.stem for path in find([])]
    with tempfile.TemporaryDirectory() as made:
        place, started = Path(made), time.monotonic()
        print("first a batch that nobody disturbs: some four minutes for all notebooks on two cores with nothing else to do", flush=True)
        finish(batch(place / "quiet", some), within=4 * LONGEST)
        whole = time.monotonic() - started
        print(f"undisturbed: {len(records(place / 'quiet'))} records in {whole:.0f} s", flush=True)

        def elsewhere() -> Elsewhere:
            return Elsewhere(Path(tempfile.mkdtemp(dir=place)), workers=2)

        def turned(results: Path, turn: int, *words: str) -> subprocess.Popen:
            """The batch; one of all notebooks starts with another each time, and ends with the report."""
            first, last = names[:-1], names[-1]
            at = 3 * turn % len(first)
            return batch(results, (*(some or (*first[at:], *first[:at], last)), *words))

        disturbed = Disturbed(place / "disturbed", turned, elsewhere, records(place / "quiet"), seed=options.seed)
        toll = disturbed.run(options.kills, minutes=options.minutes or options.kills / 4, shortest=whole / 10)
        print(f"{toll}\n{(time.monotonic() - started) / 60:.0f} min in all, seed {options.seed}")
        sys.exit(not toll.well)
