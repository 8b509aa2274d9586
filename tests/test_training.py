"""The training loop: the same numbers from the same seed, also after an interruption, and files that are whole or not there."""

import json
import os
import random
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from shades import Shades

from lib.files import replace_atomically
from lib.files.weights import weights_header
from lib.models.backbones import small_saliency_network
from lib.models.network import RowNetwork
from lib.models.sampler import SaliencyZoom
from lib.models.zoomed import ZoomedNetwork
from lib.training.checkpoint import load_checkpoint, load_weights, restore_rng, rng_state, save_checkpoint, save_weights, seed_everything
from lib.training.loop import Recipe, Trainer, evaluate, learning_rate, make_optimiser, run_network
from lib.training.progress import Progress

CPU = torch.device("cpu")
QUIET = Progress(quiet=True)
EPOCHS = 3
RECIPE = Recipe(epochs=EPOCHS, batch_size=8, lr=5e-3, blur=0.5, clip_norm=1.0)


def network(seed=0):
    """A saliency sampler with dropout behind it, so that both of the loop's random streams matter."""
    seed_everything(seed)
    task = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Dropout(0.4), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 3))
    return ZoomedNetwork(SaliencyZoom(small_saliency_network(width=8), 16, 40), task)


class Means(RowNetwork):
    """A network without maps, and without a use for any hook."""

    def forward(self, image):
        return image.mean((2, 3))


class Interrupted(Exception):
    pass


def train(*, seed=0, recipe=RECIPE, checkpoint=None, stop_after_steps=None, stop=None):
    """A whole run: (history, weights, test values). With stop_after_steps the step after that many is never finished."""
    def progress(stage, done, total, note=""):
        if stop_after_steps is not None and done > stop_after_steps:
            stop()

    trainer = Trainer(network(seed), Shades(), recipe, seed=seed, device=CPU)
    history = trainer.run(checkpoint=checkpoint, progress=progress, label="row")
    return history, trainer.model.state_dict(), evaluate(trainer.model, Shades(), "test", device=CPU)


def assert_same(one, other):
    """Bit for bit."""
    assert one[0] == other[0]
    assert one[1].keys() == other[1].keys() and all(torch.equal(one[1][name], other[1][name]) for name in one[1])
    assert one[2].keys() == other[2].keys()
    for name in one[2]:
        np.testing.assert_array_equal(one[2][name], other[2][name])


@pytest.fixture(scope="module")
def whole():
    """The uninterrupted run."""
    return train()


# ------------------------------------------------------------------------------------------------------------------ the loop


def test_training_lowers_the_loss_and_the_validation_error():
    history, _, _ = train(recipe=Recipe(epochs=12, batch_size=8, lr=2e-2))
    assert history[-1]["squares"] < 0.7 * history[0]["squares"]
    assert history[-1]["val"] < history[0]["val"]
    assert [entry["epoch"] for entry in history] == list(range(1, 13))


def test_history_holds_each_part_of_the_loss_and_the_validation_score(whole):
    assert [set(entry) for entry in whole[0]] == [{"epoch", "squares", "size", "val"}] * EPOCHS


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(whole):
    assert_same(train(), whole)
    other = train(seed=1)
    assert other[0] != whole[0]


@pytest.mark.parametrize("steps", range(0, 3 * EPOCHS, 3))
def test_resuming_after_any_epoch_gives_the_same_bits(tmp_path, whole, steps):
    """Interrupted in the middle of each epoch in turn; dropout and the random blur must go on where they were."""
    def stop():
        raise Interrupted

    path = tmp_path / "row.ckpt"
    with pytest.raises(Interrupted):
        train(checkpoint=path, stop_after_steps=steps, stop=stop)
    assert path.exists() == (steps > 0)
    torch.rand(7), np.random.rand(3), random.random()  # whatever else the process draws in between
    assert_same(train(checkpoint=path), whole)


def test_resuming_a_finished_training_changes_nothing(tmp_path, whole):
    path = tmp_path / "row.ckpt"
    train(checkpoint=path)
    assert_same(train(checkpoint=path), whole)


def _train_and_die(path):
    """Runs in a process of its own, which is killed in the second epoch."""
    torch.set_num_threads(1)
    train(checkpoint=path, stop_after_steps=4, stop=lambda: os.kill(os.getpid(), signal.SIGKILL))


def test_a_killed_process_resumes_to_the_same_bits(tmp_path, whole, forkserver):
    path = tmp_path / "row.ckpt"
    process = forkserver.Process(target=_train_and_die, args=(path,))
    process.start()
    process.join(600)
    assert process.exitcode == -signal.SIGKILL
    assert [file.name for file in tmp_path.iterdir()] == ["row.ckpt"]
    assert load_checkpoint(path)["epoch"] == 1
    assert_same(train(checkpoint=path), whole)


@pytest.mark.parametrize(("share", "epochs", "blurred"), [
    (0.0, 7, 0), (0.5, 3, 2), (1 / 3, 9, 3), (1 / 3, 10, 4), (0.2, 20, 4), (1.0, 14, 14), (1 / 3, 1, 1)])
def test_blur_is_a_share_of_the_epochs_rounded_up(share, epochs, blurred):
    """A third of nine are three, although 1 / 3 * 9 need not be 3 in floating point."""
    assert Recipe(epochs=epochs, batch_size=1, blur=share).blurred_epochs == blurred


def test_blur_is_on_during_its_epochs_only():
    seen = []

    class Watch(Shades):
        def losses(self, output, batch, loss=""):
            seen.append(trainer.model.blur)
            return super().losses(output, batch)

    trainer = Trainer(network(), Watch(), RECIPE, seed=0, device=CPU)
    trainer.run(checkpoint=None, progress=QUIET, label="row")
    assert seen == [True] * 6 + [False] * 3


def test_the_order_of_samples_differs_between_epochs_and_covers_all():
    orders = []

    class Watch(Shades):
        def losses(self, output, batch, loss=""):
            orders.append(batch["index"].tolist())
            return super().losses(output, batch)

    Trainer(network(), Watch(), RECIPE, seed=0, device=CPU).run(checkpoint=None, progress=QUIET, label="row")
    epochs = [sum(orders[start:start + 3], []) for start in range(0, 9, 3)]
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_loss_that_is_not_finite_names_row_epoch_step_and_remedy():
    """At the step where it arises: nothing has learnt from it, the weights are still finite."""
    trainer = Trainer(network(), Shades(poison=3), RECIPE, seed=0, device=CPU)
    with pytest.raises(FloatingPointError, match=r"^row 2/5 sampler, epoch 1, step \d: squares is not finite; lower the recipe's lr") as caught:
        trainer.run(checkpoint=None, progress=QUIET, label="row 2/5 sampler")
    assert "\n" not in str(caught.value)
    assert all(parameter.isfinite().all() for parameter in trainer.model.parameters())


def test_evaluate_gives_samples_in_order_without_dropout_and_draws_nothing():
    model, before = network().train(), rng_state()["torch"]
    one = evaluate(model, Shades(), "test", device=CPU, batch_size=4)
    other = evaluate(model, Shades(), "test", device=CPU, batch_size=6)
    assert one["index"].tolist() == list(range(24, 30))
    np.testing.assert_allclose(one["prediction"], other["prediction"], rtol=1e-5, atol=1e-6)
    assert torch.equal(rng_state()["torch"], before)


def test_run_network_gives_the_maps_of_a_sampler_and_none_without_one():
    batch = next(Shades().batches("val", 4))
    output, maps = run_network(network().eval(), batch, maps=True)
    assert output.shape == (4, 3) and maps.grid.shape == (4, 16, 16, 2)
    assert run_network(Means(), batch, maps=True)[1] is None


# ---------------------------------------------------------------------------------------------------------------- keep_best


class Scripted(Shades):
    """Validation scores as written down; everything else as ever."""

    def __init__(self, scores, *, lower_is_better):
        super().__init__()
        self.scores, self.lower_is_better, self.weights = iter(scores), lower_is_better, []

    def validation_score(self, values):
        self.weights.append(self.model.task_network[-1].bias.detach().clone())
        return next(self.scores)


@pytest.mark.parametrize(("lower", "scores", "best"), [
    (True, [3, 1, 2, 1], 1), (False, [1, 3, 3, 2], 1), (True, [2, float("nan"), 3, 2.5], 0), (False, [1, 2, 3, 4], 3)])
def test_keep_best_ends_with_the_first_of_the_best_epochs(tmp_path, lower, scores, best):
    """Also when the run was interrupted after the best epoch, and whichever way the score goes."""
    recipe = Recipe(epochs=4, batch_size=8, keep_best=True)
    task = Scripted(scores, lower_is_better=lower)
    task.model = network()
    trainer = Trainer(task.model, task, recipe, seed=0, device=CPU)
    trainer.run(checkpoint=tmp_path / "row.ckpt", progress=QUIET, label="row")
    assert torch.equal(task.model.task_network[-1].bias, task.weights[best])
    again = Trainer(network(), task, recipe, seed=0, device=CPU)
    again.run(checkpoint=tmp_path / "row.ckpt", progress=QUIET, label="row")
    assert torch.equal(again.model.task_network[-1].bias, task.weights[best])


def test_without_keep_best_the_last_epoch_stays():
    task = Scripted([1, 2, 3], lower_is_better=True)
    task.model = network()
    Trainer(task.model, task, RECIPE, seed=0, device=CPU).run(checkpoint=None, progress=QUIET, label="row")
    assert torch.equal(task.model.task_network[-1].bias, task.weights[-1])


# ------------------------------------------------------------------------------------------------------ schedule, optimiser


@pytest.mark.parametrize(("lower", "scores", "epochs"), [
    (True, [5, 4, 3, 2, 1, 0], 6), (True, [3, 2, 2, 2, 1, 0], 4), (False, [1, 2, 1, 1, 9, 9], 4), (False, [np.nan, 2, 3, 1, 1, 9], 5),
    (True, [np.nan] * 6, 6)])
def test_patience_ends_training_after_that_many_epochs_without_a_better_score(tmp_path, lower, scores, epochs):
    recipe = Recipe(epochs=6, batch_size=20, patience=2)
    task = Scripted(scores, lower_is_better=lower)
    task.model = network()
    trainer = Trainer(task.model, task, recipe, seed=0, device=CPU)
    history = trainer.run(checkpoint=tmp_path / "row.ckpt", progress=QUIET, label="row")
    assert len(history) == epochs
    again = Trainer(network(), task, recipe, seed=0, device=CPU)  # reads the checkpoint, and must not go on
    assert len(again.run(checkpoint=tmp_path / "row.ckpt", progress=QUIET, label="row")) == epochs


def test_momentum_grows_linearly_to_its_end_and_the_hook_runs_after_every_step():
    model, calls = network(), []
    model.after_step = lambda: calls.append(trainer.optimiser.param_groups[0]["momentum"])
    trainer = Trainer(model, Shades(), Recipe(epochs=1, batch_size=8, optimiser="sgd", lr=1e-3, momentum=0.9, momentum_end=0.99), seed=0, device=CPU)
    for progress in (0.0, 0.5, 1.0):
        trainer.step(next(Shades().batches("train", 8)), progress)
    np.testing.assert_allclose(calls, [0.9, 0.945, 0.99])


@pytest.mark.parametrize(("schedule", "golden"), [
    ("one_cycle", {0: 0.04, 0.15: 0.52, 0.3: 1.0, 0.65: 0.5, 1: 0.0}),
    ("wsd", {0: 0.04, 0.05: 0.52, 0.1: 1.0, 0.6: 1.0, 0.8: 0.5, 1: 0.0}),
    ("cosine", {0: 1.0, 1 / 3: 0.75, 0.5: 0.5, 1: 0.0}),
    ("constant", {0: 1.0, 0.4: 1.0, 1: 1.0}),
    ("step", {0: 1.0, 0.33: 1.0, 1 / 3: 0.1, 0.66: 0.1, 2 / 3: 0.01, 0.99: 0.01})])
def test_learning_rate_has_its_golden_values(schedule, golden):
    recipe = Recipe(epochs=90, batch_size=1, lr=0.2, schedule=schedule)
    for progress, factor in golden.items():
        assert learning_rate(recipe, progress) == pytest.approx(0.2 * factor, abs=1e-12)


@pytest.mark.parametrize("epochs", [7, 23, 49, 90])
def test_step_schedule_drops_at_the_first_batch_of_an_epoch(epochs):
    """1 / 49 * 49 is less than 1 in floating point."""
    recipe = Recipe(epochs=epochs, batch_size=1, lr=1.0, schedule="step", step_epochs=1)
    for epoch in range(min(epochs, 8)):
        for batch in range(3):
            assert learning_rate(recipe, (epoch * 3 + batch) / (epochs * 3)) == pytest.approx(0.1**epoch)


@pytest.mark.parametrize("field", ["schedule", "optimiser"])
def test_unknown_names_in_a_recipe_are_listed_with_the_right_ones(field):
    recipe = Recipe(epochs=1, batch_size=1, **{field: "bogus"})
    with pytest.raises(ValueError, match=f"{field} 'bogus' is not one of .*{'cosine' if field == 'schedule' else 'sgd'}"):
        learning_rate(recipe, 0)
        make_optimiser(network(), recipe)


def test_rates_scale_the_learning_rate_of_the_parameters_they_name():
    """First match wins, frozen parameters are left alone, and a step moves a plain SGD parameter by lr * factor * gradient."""
    model = network()
    model.task_network[0].bias.requires_grad_(False)
    recipe = Recipe(epochs=2, batch_size=8, optimiser="sgd", momentum=0, weight_decay=0, lr=0.1, schedule="constant",
                    rates=(("sampler.head", 5.0), ("sampler", 0.1), ("sampler.saliency_network", 7.0)))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    trainer = Trainer(model, Shades(), recipe, seed=0, device=CPU)
    trainer.step(next(Shades().batches("train", 8)), 0.0)
    assert {group["factor"]: group["lr"] for group in trainer.optimiser.param_groups} == pytest.approx({5.0: 0.5, 0.1: 0.01, 1.0: 0.1})
    grouped = sum(len(group["params"]) for group in trainer.optimiser.param_groups)
    assert grouped == sum(parameter.requires_grad for parameter in model.parameters()) == len(before) - 1
    for name, parameter in model.named_parameters():
        factor = 5.0 if name.startswith("sampler.head") else 0.1 if name.startswith("sampler") else 1.0
        moved = torch.zeros_like(parameter) if parameter.grad is None else 0.1 * factor * parameter.grad
        torch.testing.assert_close(before[name] - parameter.detach(), moved, rtol=1e-4, atol=1e-7)


def test_clip_norm_bounds_the_gradient():
    trainer = Trainer(network(), Shades(), Recipe(epochs=1, batch_size=8, clip_norm=1e-3), seed=0, device=CPU)
    trainer.step(next(Shades().batches("train", 8)), 0.5)
    norms = torch.stack([parameter.grad.norm() for parameter in trainer.model.parameters() if parameter.grad is not None])
    assert norms.norm().item() == pytest.approx(1e-3, rel=1e-3)


# -------------------------------------------------------------------------------------------------------------------- files


def test_rng_state_round_trips_through_a_file(tmp_path):
    seed_everything(3)
    random.gauss(0, 1), np.random.randn()  # leaves half a pair of normals in either generator's memory
    save_checkpoint(tmp_path / "rng", rng_state())

    def draw():
        numpy, python = np.random, random
        return torch.rand(3).tolist(), torch.randn(3).tolist(), numpy.randn(), numpy.rand(), python.gauss(0, 1), python.random()

    first = draw()
    assert draw() != first
    restore_rng(load_checkpoint(tmp_path / "rng"))
    assert draw() == first


def test_checkpoints_load_without_executing_anything(tmp_path):
    """A real checkpoint needs no more than weights_only allows, and one that would run code is refused."""
    path = tmp_path / "row.ckpt"
    train(checkpoint=path)
    assert set(load_checkpoint(path)) == {"epoch", "model", "optimiser", "history", "best", "rng"}

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    save_checkpoint(path, {"epoch": 1, "model": Evil()})  # with the right digest: whoever wrote it can compute one
    with pytest.raises(ValueError, match="it is no checkpoint"):
        load_checkpoint(path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("damage", ["empty", "truncated", "text", "one byte"])
def test_a_damaged_checkpoint_is_known_put_aside_and_the_row_starts_again(tmp_path, whole, capsys, damage):
    path = tmp_path / "row.ckpt"
    train(checkpoint=path)
    data, middle = path.read_bytes(), path.stat().st_size // 2
    damaged = {"empty": b"", "truncated": data[:middle], "text": b"not a checkpoint",
               "one byte": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1:]}[damage]
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="its bytes are not those that were written"):
        load_checkpoint(path)
    assert_same(train(checkpoint=path), whole)
    said = capsys.readouterr().out
    assert said.startswith("row.ckpt: its bytes are not those that were written; ") and "row.ckpt.damaged" in said and said.count("\n") == 1
    assert (tmp_path / "row.ckpt.damaged").read_bytes() == damaged and load_checkpoint(path)["epoch"] == EPOCHS


def _of_another_network(state):
    return state | {"model": {name: tensor[:1] for name, tensor in state["model"].items()}}


def _not_finite(state):
    return state | {"model": {name: torch.full_like(tensor, torch.nan) for name, tensor in state["model"].items()}}


@pytest.mark.parametrize(("change", "why"), [
    (_of_another_network, "its weights are those of another network"), (_not_finite, "its weights are not finite"),
    (lambda state: state | {"epoch": EPOCHS + 1}, f"it says epoch {EPOCHS + 1}"),
    (lambda state: {name: value for name, value in state.items() if name != "rng"}, "it lacks parts")])
def test_a_checkpoint_of_something_else_is_put_aside(tmp_path, whole, capsys, change, why):
    path = tmp_path / "row.ckpt"
    train(checkpoint=path)
    save_checkpoint(path, change(load_checkpoint(path)))
    assert_same(train(checkpoint=path), whole)
    said = capsys.readouterr().out
    assert said.startswith(f"row.ckpt: {why}") and said.count("\n") == 1 and (tmp_path / "row.ckpt.damaged").exists()


def test_no_checkpoint_is_none(tmp_path):
    assert load_checkpoint(tmp_path / "none.ckpt") is None


def test_a_writer_that_fails_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "deep" / "file.json"
    replace_atomically(path, lambda temporary: temporary.write_text("old"))

    def fail(temporary):
        temporary.write_text("half of the ne")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        replace_atomically(path, fail)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_the_file_is_never_seen_half_written(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def write(temporary):
        temporary.write_text("new")
        assert path.read_text() == "old" and temporary.parent == path.parent  # one file system: the rename is atomic

    replace_atomically(path, write)
    assert path.read_text() == "new"


def test_weights_round_trip_and_errors_list_the_differing_keys(tmp_path):
    path, model, other = tmp_path / "row.safetensors", network(0), network(1)
    save_weights(path, model)
    load_weights(path, other)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))

    tensors = model.state_dict()
    del tensors["sampler.head.bias"]
    tensors["extra"] = torch.zeros(1)
    tensors["task_network.0.bias"] = torch.zeros(9)
    save_file(tensors, path)
    with pytest.raises(ValueError, match=r"differing: extra, sampler\.head\.bias, task_network\.0\.bias \(3 in all\)"):
        load_weights(path, other)
    path.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=r"row\.safetensors: not a readable safetensors file"):
        load_weights(path, other)


@pytest.mark.parametrize("header", [None, {"history": [{"epoch": 1, "loss": 0.1 + 0.2}]}])
def test_weights_whose_bytes_changed_are_refused(header, tmp_path):
    """A bit of a weight, or a digit of what is kept beside them; without a digest, as others write, they are read."""
    path, model = tmp_path / "row.safetensors", network(0)
    save_weights(path, model, header=header)
    whole = path.read_bytes()
    assert weights_header(path) == header
    save_weights(path, model, header=header)
    assert path.read_bytes() == whole, "the same weights are the same bytes"
    for flipped in [len(whole) - 3, *([whole.index(b"3000000")] if header else [])]:
        path.write_bytes(whole[:flipped] + bytes([whole[flipped] ^ 1]) + whole[flipped + 1:])
        with pytest.raises(ValueError, match=r"row\.safetensors: changed since it was written .*; remove it and train"):
            load_weights(path, model)
    save_file(dict(model.state_dict()), path, metadata=header and {"header": json.dumps(header)})
    load_weights(path, model)
    assert weights_header(path) == header


# ----------------------------------------------------------------------------------------------------------------- progress


def test_on_a_worker_progress_goes_to_the_sink_and_nowhere_else(capsys):
    told = []
    progress = Progress("gazecapture: ", sink=lambda *step: told.append(step))
    for done in (1, 2, 3):
        progress("train", done, 3, "epoch 1/1")
    assert told[-1] == ("train", 3, 3, "epoch 1/1"), "the last step is always told"
    assert capsys.readouterr() == ("", "")


def test_quiet_progress_says_nothing_to_anybody(capsys):
    progress = Progress(quiet=True, sink=lambda *step: pytest.fail("it was to be quiet"))
    progress("train", 3, 3, "")
    assert capsys.readouterr() == ("", "")
