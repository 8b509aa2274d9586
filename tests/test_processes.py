"""Several processes on one row: what one process gives, whatever does not divide, and an end that says where the run goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from shades import Shades

from lib.models.rivals import Uniform
from lib.models.zoomed import ZoomedNetwork
from lib.training.checkpoint import load_checkpoint, seed_everything
from lib.training.loop import Recipe, Trainer, evaluate
from lib.training.processes import ALONE, Share, joined
from lib.training.progress import Progress

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[1]
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


def shades() -> Shades:
    """23 training, 7 validation and 13 test images: nothing here divides by two or eight."""
    return Shades(sizes=(23, 7, 13), side=24)


def network():
    seed_everything(3)
    layers = (nn.Conv2d(3, 8, 3, stride=2), nn.GroupNorm(2, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 3))
    return ZoomedNetwork(Uniform(16), nn.Sequential(*layers))


RECIPE = Recipe(epochs=2, batch_size=8, optimiser="sgd", lr=1e-2)


def measure(processes) -> dict:
    """Gradients of one step on the first global batch, values of an untrained network, and a whole training."""
    trainer = Trainer(network(), shades(), RECIPE, seed=0, device=CPU, processes=processes)
    untrained = {split: evaluate(trainer.model, shades(), split, device=CPU, batch_size=4, processes=processes) for split in ("val", "test")}
    trainer.model.train()
    trainer.step(next(shades().batches("train", 7, share=processes)), 0.0)
    gradients = [parameter.grad.clone() for parameter in trainer.model.parameters()]
    trainer = Trainer(network(), shades(), RECIPE, seed=0, device=CPU, processes=processes)
    history = trainer.run(checkpoint=None, progress=Progress(quiet=True), label="row")
    return {"untrained": untrained, "gradients": gradients, "history": history, "weights": trainer.model.state_dict(),
            "trained": evaluate(trainer.model, shades(), "test", device=CPU, processes=processes)}


def _worker(rank: int, count: int, port: int, folder: Path) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    with joined("cpu") as processes:
        assert (processes.rank, processes.count) == (rank, count)
        torch.save(measure(processes), folder / f"{rank}.pt")


@pytest.fixture(scope="module")
def alone():
    return measure(ALONE)


@pytest.fixture(scope="module", params=[2, 3])
def together(request, tmp_path_factory, free_port, forkserver):
    """What each of two, or three, processes measured."""
    folder = tmp_path_factory.mktemp("together")
    torch.multiprocessing.start_processes(_worker, (request.param, free_port(), folder), nprocs=request.param,
                                          start_method=forkserver.get_start_method())
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(request.param)]  # our own file of a moment ago


@pytest.fixture(scope="module")
def free_port():
    import socket

    def find() -> int:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            return found.getsockname()[1]

    return find


# ------------------------------------------------------------------------------------------------------------------- shares


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("samples", [5, 6, 7, 23])
def test_shares_cover_a_batch_once_and_differ_by_one_at_most(samples, count):
    batch = np.arange(samples)
    shares = [Share(rank, count).of(batch) for rank in range(count)]
    assert sorted(np.concatenate(shares)) == list(batch)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_batch_smaller_than_the_processes_goes_to_all_of_them():
    """Nobody may sit out a step: the others would wait for it for ever."""
    assert [list(Share(rank, 3).of(np.arange(2))) for rank in range(3)] == [[0, 1]] * 3


def test_without_a_launcher_there_is_one_process(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined("cpu") as processes:
        assert processes is ALONE and processes.main


# ------------------------------------------------------------------------------------------------------------ against one alone


def test_validation_in_several_processes_gives_what_one_gives(alone, together):
    """The same checkpoint, 7 and 13 images in batches of four: each image's values, each image once, in order."""
    for split in ("val", "test"):
        for name, values in alone["untrained"][split].items():
            for one in together:
                assert one["untrained"][split][name].shape == values.shape
                np.testing.assert_allclose(one["untrained"][split][name], values, atol=1e-6)


def test_one_step_on_the_same_global_batch_has_the_same_gradient(alone, together):
    """Seven samples: shares of four and three, or three, two and two."""
    for one in together:
        for found, expected in zip(one["gradients"], alone["gradients"], strict=True):
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_whole_training_agrees_with_one_process(alone, together):
    for one in together:
        for found, expected in zip(one["history"], alone["history"], strict=True):
            assert found == pytest.approx(expected, abs=1e-4)
        for name, expected in alone["weights"].items():
            torch.testing.assert_close(one["weights"][name], expected, atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(one["trained"]["error"], alone["trained"]["error"], atol=1e-4)


def test_all_processes_end_with_the_same_weights(together):
    for other in together[1:]:
        for name, expected in together[0]["weights"].items():
            assert torch.equal(other["weights"][name], expected)


# ----------------------------------------------------------------------------------------------------------- as users launch it

# That torchrun fills a table as one process does is asked of the page's own command, in test_readme.py.


@pytest.mark.slow
def test_killing_one_process_ends_the_run_with_a_clear_line_and_a_usable_checkpoint(tmp_path):
    """The other process must not wait for the dead one; after that, the same command finishes the row."""
    script = tmp_path / "long.py"
    script.write_text(LONG.format(folder=str(tmp_path), tests=str(ROOT / "tests")))
    process = subprocess.Popen([*LAUNCH, str(script)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
    victim, path = tmp_path / "1.pid", tmp_path / "row.ckpt"
    deadline = time.monotonic() + 900
    while not (victim.exists() and path.exists()) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(int(victim.read_text()), signal.SIGKILL)
    _, err = process.communicate(timeout=900)
    assert process.returncode != 0
    assert "another process of this run ended, so this one stops; the same command goes on after the last finished epoch" in err
    state = load_checkpoint(path)
    assert state["epoch"] == len(state["history"]) >= 1
    recipe = Recipe(epochs=state["epoch"] + 1, batch_size=8, optimiser="sgd", lr=1e-2)
    resumed = Trainer(network(), shades(), recipe, seed=0, device=CPU).run(checkpoint=path, progress=Progress(quiet=True), label="row")
    assert resumed[:-1] == state["history"] and len(resumed) == recipe.epochs


LONG = """
import os, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_processes import CPU, Progress, Recipe, Trainer, joined, network, shades
folder = Path({folder!r})
(folder / (os.environ["RANK"] + ".pid")).write_text(str(os.getpid()))
try:
    with joined("cpu") as processes:
        recipe = Recipe(epochs=100_000, batch_size=8, optimiser="sgd", lr=1e-2)
        Trainer(network(), shades(), recipe, seed=0, device=CPU, processes=processes).run(
            checkpoint=folder / "row.ckpt", progress=Progress(quiet=True), label="row")
except RuntimeError as error:
    print(f"error: {{error}}", file=sys.stderr)
    sys.exit(2)
"""
