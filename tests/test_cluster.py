"""Protects: rows on workers are the rows of one process, bit for bit, whoever is killed, wherever the scheduler is; and what goes wrong is one line.

`python tests/test_cluster.py 10` kills workers at ten random moments and prints what happened; the tests do the same a few times.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import cloudpickle
import pytest
from distributed import Client, KilledWorker

from batches import LONGEST, ROOT, command, finish, kill, left_over, records, started_by, until

from documents import commands

from lib import tables
from lib.__main__ import _parser, main
from lib.runs import cluster, engine, pool
from lib.runs.engine import Run, settings
from lib.runs.parameters import parse_seeds

ROWS = "plain,cam,sampler,oracle"  # cam needs plain's network


def run_of(results: Path, *, rows: str = ROWS, seeds: str = "1") -> Run:
    table = tables.get("cub200")
    return Run(table, settings(table, preset="smoke", rows=rows, seeds=seeds, device="cpu", results_dir=results))


def same_rows(seeds: str) -> list[str]:
    return ["lib", "table", "cub200", "--preset", "smoke", "--rows", ROWS, "--seeds", seeds, "--device", "cpu"]


@pytest.mark.parametrize("preset", ["smoke", "demo", "photos", "photos-resnet18", "paper"])
def test_every_preset_but_smoke_trains_on_workers(preset, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "cores", lambda: 2)
    monkeypatch.setattr(Run, "is_finished", lambda *row: False)
    offering = [tables.get(name) for name in tables.NAMES if preset in tables.get(name).presets]
    on_workers = [Run(table, settings(table, preset=preset, device="cpu", results_dir=tmp_path))._worth_workers() for table in offering]
    assert on_workers and set(on_workers) == {preset != "smoke"}


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> dict:
    """The records of one undisturbed process."""
    folder = tmp_path_factory.mktemp("alone")
    run_of(folder, seeds="2").collect()
    return records(folder)


def faults_of_tensors() -> float:
    """Page faults for each tensor of 4 MB that is made and let go."""
    import resource

    import torch

    def step(count: int) -> int:
        for _ in range(count):
            torch.ones(1_000_000).tanh_()
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    before = step(10)
    return (step(100) - before) / 100


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the C library's variables are glibc's")
def test_a_worker_keeps_the_memory_of_its_tensors(monkeypatch):
    """Dask would have it given back to the system and asked for again with every tensor, 1,024 pages each: half of a training's time."""
    for name in pool.MEMORY:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pool, "cores", lambda: 1)
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        with pool.workers() as client:
            assert client.submit(faults_of_tensors).result(timeout=LONGEST) < 100
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


# --- lost workers -------------------------------------------------------------------------------------------------------


def fill_while_killing(results: Path, kills: int, *, seeds: str = "2", seed: int = 0) -> list[float]:
    """Fill with two workers, one of which is killed at `kills` random moments while there are rows to compute; when that was, in seconds."""
    run, rng, killed, over, started = run_of(results, seeds=seeds), random.Random(seed), [], threading.Event(), time.monotonic()

    def disturb(client: Client, graph: cluster.Graph) -> None:
        while len(killed) < kills and not over.is_set():
            begun = sum(graph.begun.values())
            while sum(graph.begun.values()) == begun and not over.wait(0.1):  # until a row is begun; then at any moment of it
                pass
            over.wait(rng.uniform(0, 4 if killed else 0.5))  # a fast machine has all rows within a few seconds
            pids = [nanny.pid for nanny in client.cluster.workers.values() if nanny.pid]
            if pids and not over.is_set():
                os.kill(rng.choice(pids), signal.SIGKILL)
                killed.append(round(time.monotonic() - started, 1))

    with pool.workers() as client, cluster.graph(client, [run]) as graph:
        thread = threading.Thread(target=disturb, args=(client, graph), daemon=True)
        thread.start()
        graph.wait()
        over.set()
        thread.join()
    return killed


@pytest.mark.slow
def test_a_killed_workers_rows_end_with_the_same_records(alone, tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "cores", lambda: 2)
    assert fill_while_killing(tmp_path, 2)
    assert records(tmp_path) == alone
    assert left_over(tmp_path) == []


class Queue:
    """In the place of `as_completed`: futures settle in the order that they were submitted in."""

    def __init__(self, **_):
        self.waiting = []

    def add(self, future) -> None:
        self.waiting.append(future)

    def __iter__(self):
        while self.waiting:
            yield self.waiting.pop(0)


class Doomed:
    """A client whose workers die: each time with the row `guilty`, on which it is at work, and with the rows that wait behind it."""

    def __init__(self, guilty: str):
        self.guilty, self.loop, self.submitted = guilty, None, []

    def subscribe_topic(self, topic, handler) -> None:
        self.handler = handler

    def submit(self, function, *words, key: str, **_):
        name = key.rpartition("-")[0]
        self.submitted.append(name)
        return Lost(self, name, ends=self.guilty not in name and len(self.submitted) > 6)


class Lost:
    """The future of a row whose worker dies, or `ends`."""

    status = "pending"

    def __init__(self, client: Doomed, name: str, *, ends: bool):
        self.client, self.name, self.ends = client, name, ends

    def result(self) -> str:
        if self.ends:
            return pool.FINISHED
        if self.client.guilty in self.name:
            self.client.handler((0, {"job": self.name, "begun": True}))
        raise KilledWorker(self.name, None, 0)


def doomed(monkeypatch, run: Run, guilty: str) -> cluster.Graph:
    monkeypatch.setattr(cluster, "as_completed", Queue)
    client, run.surveyed = Doomed(guilty), {"main": {}}
    monkeypatch.setattr(Run, "is_finished", lambda self, row, seed: len(client.submitted) > 6)
    graph = cluster.Graph(client, [run], cluster.Watch())
    graph.thread.join(timeout=60)
    return graph


def test_a_row_that_loses_its_worker_each_time_is_given_up_in_one_line(monkeypatch, tmp_path):
    """Four times: once, and three times again."""
    graph = doomed(monkeypatch, run_of(tmp_path, rows="plain"), "plain")
    with pytest.raises(RuntimeError, match="^cub200/plain/0: its worker was lost 4 times, .*same command") as error:
        graph.wait()
    assert graph.client.submitted == ["cub200/plain/0"] * (cluster.TRIES + 1) and "\n" not in str(error.value)


def test_a_row_that_only_waited_where_a_worker_was_lost_is_not_blamed(monkeypatch, tmp_path):
    """Dask holds a lost worker's whole queue for suspect, and would give rows up that never began."""
    graph = doomed(monkeypatch, run_of(tmp_path, rows="plain"), "nobody")
    graph.wait()
    assert len(graph.client.submitted) == 7


@pytest.mark.parametrize("error", [RuntimeError("Error during deserialization of the task graph.\nThis frequently"),
                                   ModuleNotFoundError("No module named 'lib'")])
def test_a_scheduler_or_worker_without_this_code_is_one_line(error, monkeypatch, tmp_path):
    def fails(self) -> str:
        raise error

    monkeypatch.setattr(Lost, "result", fails)
    with pytest.raises(RuntimeError, match="checkout") as caught:
        doomed(monkeypatch, run_of(tmp_path, rows="plain"), "nobody").wait()
    assert "\n" not in str(caught.value)


def test_rows_that_are_never_begun_do_not_go_round_for_ever(monkeypatch, tmp_path):
    monkeypatch.setattr(cluster, "IN_VAIN", 5)
    graph = doomed(monkeypatch, run_of(tmp_path, rows="plain"), "nobody")
    assert graph.vain["cub200/plain/0"] <= 6
    with pytest.raises(RuntimeError, match="cub200/plain/0: its worker was lost 6 times"):
        graph.wait()


def test_a_record_that_a_worker_wrote_elsewhere_is_missed(monkeypatch, tmp_path):
    """Workers that do not share the folder, or have other code: the batch must not compute everything again by itself."""
    monkeypatch.setattr(cluster, "SHOWN", 0)
    job = cluster.Job(run_of(tmp_path, rows="plain"), "plain", 0)
    job.run.surveyed = {"main": {}}
    with pytest.raises(RuntimeError, match=f"cub200/plain/0: .* not in {tmp_path}.*share") as error:
        cluster.Graph._see(None, job)
    assert "\n" not in str(error.value)


# --- a scheduler elsewhere ----------------------------------------------------------------------------------------------


class Elsewhere:
    """A scheduler and workers in processes of their own, on this machine alone."""

    def __init__(self, folder: Path, *, workers: int):
        file, quiet = folder / "scheduler.json", {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        local = ("--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file))
        self.scheduler = command("distributed.cli.dask_scheduler", *local, "--port", "0", **quiet)
        self.workers = [command("distributed.cli.dask_worker", *local, "--nthreads", "1", "--local-directory", str(folder), **quiet)
                        for _ in range(workers)]
        self.address = until(lambda: file.exists() and file.stat().st_size and json.loads(file.read_text())["address"], within=300)

    def events(self) -> list[dict]:
        with Client(self.address, timeout=120, set_as_default=False) as client:
            return [event for _, event in client.get_events(pool.TOPIC)]

    def close(self) -> None:
        below = [child for process in (*self.workers, self.scheduler) for child in started_by(process)]
        for process in (*self.workers, self.scheduler):
            kill(process)
        for child in below:
            if child.is_running():
                child.kill()


@pytest.fixture
def elsewhere(tmp_path_factory):
    made = []

    def start(workers: int = 1) -> Elsewhere:
        made.append(Elsewhere(tmp_path_factory.mktemp("elsewhere"), workers=workers))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.mark.slow
def test_two_commands_at_one_scheduler_leave_the_records_of_one_process_and_compute_every_row_once(alone, elsewhere, tmp_path):
    cluster_elsewhere = elsewhere(workers=2)
    both = [command(*same_rows(seeds), "--results", str(tmp_path), "--scheduler", cluster_elsewhere.address,
                    stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for seeds in ("2", "1")]
    for process in both:
        finish(process)
    assert records(tmp_path) == alone
    assert left_over(tmp_path) == []
    ends = [event["stage"] for event in cluster_elsewhere.events() if "seed" in event.get("stage", "") and event["done"] == event["total"]]
    assert sorted(ends) == sorted(f"{row}, seed {seed}" for row in ("plain", "sampler", "oracle") for seed in (0, 1))  # cam trains nothing


@pytest.mark.slow
def test_a_scheduler_that_goes_away_ends_the_command_in_one_line_and_the_next_one_goes_on(alone, elsewhere, tmp_path):
    cluster_elsewhere = elsewhere()
    words = [*same_rows("2"), "--results", str(tmp_path)]
    process = command(*words, "--scheduler", cluster_elsewhere.address, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: process.poll() is not None or list((tmp_path / "runs").rglob("*.json")))
    kill(cluster_elsewhere.scheduler)
    _, err = process.communicate(timeout=LONGEST)
    assert process.returncode == 2 and "Traceback" not in err
    assert err.strip().splitlines()[-1].startswith("error: the scheduler is gone; finished rows are kept")
    cluster_elsewhere.close()
    finish(command(*words, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    assert records(tmp_path) == alone
    assert left_over(tmp_path) == []


# --- what is wrong with the words ---------------------------------------------------------------------------------------


def refused(capsys, *words: str) -> str:
    """The one line of a command that ends badly."""
    assert main(list(words)) == 2
    err = capsys.readouterr().err.replace("\r", "\n").strip().splitlines()
    assert err[-1].startswith("error: ") and not any("Traceback" in line for line in err)
    return err[-1]


TABLE = ("table", "cub200", "--preset", "smoke", "--rows", "plain", "--device", "cpu")


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense"])
def test_an_unknown_scheduler_is_one_line(address, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "PATIENCE", 1)
    assert address in refused(capsys, *TABLE, "--results", str(tmp_path), "--scheduler", address)
    assert not list((tmp_path / "runs").rglob("*.*n*"))  # neither records nor values


@pytest.mark.parametrize("command_", [TABLE, ("run", "04", "--preset", "smoke")])
@pytest.mark.parametrize(("words", "said"), [(("--data", "here"), "--dataset"), (("--dataset", "cub200"), "data_dir"), (("--seeds", "5-3"), "seeds"),
                                             (("--seeds", "0"), "seeds")])
def test_words_that_do_not_go_together_are_one_line_and_nothing_is_written(command_, words, said, capsys, tmp_path):
    assert said in refused(capsys, *command_, *words, "--results", str(tmp_path / "results"))
    assert not (tmp_path / "results" / "runs").exists()


@pytest.mark.parametrize("command_", [TABLE, ("run", "04", "--preset", "smoke", "--rows", "plain")])
def test_a_results_folder_that_cannot_be_written_is_one_line(command_, capsys, tmp_path):
    """A folder below a file: for root, no permission is denied."""
    (tmp_path / "file").write_text("a file")
    line = refused(capsys, *command_, "--results", str(tmp_path / "file" / "results"))
    assert str(tmp_path / "file" / "results") in line and "--results" in line
    assert (tmp_path / "file").read_text() == "a file" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(("given", "seeds"), [("5", (0, 1, 2, 3, 4)), (2, (0, 1)), ("3-9", (3, 4, 5, 6, 7, 8, 9)), ("2,5", (2, 5)),
                                              ("0-1, 7", (0, 1, 7)), ("4-4", (4,)), ("5,2,5", (2, 5))])
def test_seeds_are_a_count_a_range_or_a_list(given, seeds):
    assert parse_seeds(given) == seeds


def test_records_of_an_older_version_are_recognised_said_so_in_one_line_and_left(alone, capsys, tmp_path):
    """Schema 1: the reference of before."""
    folder = tmp_path / "runs" / "cub200" / "twin-smoke"
    folder.mkdir(parents=True)
    record = next(iter(alone.values())) | {"schema": 1, "depends": {"code": {"lib.old": "0"}, "preset": {}}}
    record.pop("digests")
    (folder / "plain-seed0-0123456789.json").write_text(json.dumps(record))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert main(["status", "cub200", "--preset", "smoke", "--device", "cpu", "--results", str(tmp_path)]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "another version" in line]
    assert len(said) == 1 and "1 record" in said[0]
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_page_on_clusters_shows_commands_that_exist_and_says_what_the_code_does():
    page = (ROOT / "lib" / "runs" / "README.md").read_text()
    shown = [command_.lib for command_ in commands("lib/runs/README.md") if command_.lib]
    assert len(shown) >= 5
    for words in shown:
        _parser(words).parse_args(words)
    assert f"within {cluster.SHOWN:.0f} seconds" in page and cluster.TRIES == 3 and "three times at most" in page


if __name__ == "__main__":
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    pool.cores = lambda: 2
    with tempfile.TemporaryDirectory() as folder:
        run_of(Path(folder, "alone"), seeds="4").collect()
        killed = fill_while_killing(Path(folder, "killed"), kills, seeds="4")
        found, expected = records(Path(folder, "killed")), records(Path(folder, "alone"))
        print(f"workers killed {len(killed)} times, after {', '.join(map(str, killed))} s; {len(expected)} records, the same but for times: "
              f"{found == expected}; left over: {left_over(Path(folder, 'killed'))}")
        sys.exit(found != expected)
