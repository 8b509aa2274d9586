"""`python -m lib status`: what it says of a results folder is what a run would do there, found without opening data."""

import os

import numpy as np
import pytest
import torch

from lib import tables
from lib.__main__ import main
from lib.data.synthetic import gazecapture as twin
from lib.results.dependencies import key_of
from lib.results.records import Record, provenance
from lib.tables import status
from lib.runs.engine import Run, settings
from lib.training.checkpoint import save_checkpoint
from lib.training.gaze import GazeTask

TABLE = tables.get("gazecapture")
DATA = {"train": "a", "val": "b", "test": "c"}


def unopened(results, table=TABLE, **options):
    return status.Unopened(table, settings(table, preset="smoke", device="cpu", results_dir=results, **options))


def current(results, row, table=TABLE, data=DATA):
    """What a record of `row` depends on today, if the data were `data`."""
    run = unopened(results, table)
    run._depends.clear()
    run.seen = {row.variant: data}
    return run, run.depends(row, 0)


def store(results, name, table=TABLE, *, age=0, data=DATA, depends=None):
    """A finished row in `results`, `age` hours old; `depends` gives what it depends on instead of today's."""
    row = table.row(name)
    run, now = current(results, row, table, data)
    depends = depends(now) if depends else now
    record = Record(table=table.records or table.name, row=name, seed=0, preset="smoke", dataset="twin", is_twin=True, n=2, unit="frames",
                    summary={}, depends=depends, provenance=provenance(torch.device("cpu"), 12.3))
    run.store.save(record, key_of(depends), {"error_cm": np.zeros(2)})
    path = run.store.path(name, 0, key_of(depends), "json")
    os.utime(path, (1.7e9 - 3600 * age,) * 2)
    return path


def state(results, name, table=TABLE):
    return unopened(results, table).state(table.row(name), 0)


def with_recipe(now, **changes):
    return {**now, "preset": {**now["preset"], "recipe": {**now["preset"]["recipe"], **changes}}}


# --- the engine's view --------------------------------------------------------------------------------------------------


def test_what_a_run_has_finished_is_done_and_nothing_is_opened_to_see_it(tmp_path, monkeypatch, capsys):
    """The key found without data is the engine's own."""
    Run(TABLE, settings(TABLE, preset="smoke", rows="mean", device="cpu", results_dir=tmp_path)).run()
    files = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(GazeTask, "__init__", None)
    monkeypatch.setattr(twin, "write", None)
    capsys.readouterr()
    assert main(["status", "gazecapture", "--preset", "smoke", "--device", "cpu", "--results", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    (line,) = [line for line in text.splitlines() if line.split()[:1] == ["mean"]]
    assert line.split()[1:4] == ["seed", "0", "done"]
    assert f"1 done, 0 stale, {len(TABLE.rows) - 1} missing. The data themselves were not looked at" in text
    assert f"python -m lib table gazecapture --preset smoke --results {tmp_path}" in text.replace("--device cpu ", "")
    assert sorted(tmp_path.rglob("*")) == files


@pytest.mark.parametrize("name", tables.NAMES)
def test_every_tables_task_class_is_found_without_its_data(name, tmp_path):
    """The code that rows depend on includes the task's module, which no data are opened for."""
    table = tables.get(name)
    run = unopened(tmp_path, table)
    task, data = run.task("main")
    assert type(task).__module__.startswith("lib.training.") and type(task).__module__ in run.depends(table.rows[0], 0)["code"]
    assert data == {"fingerprint": None}


# --- stale --------------------------------------------------------------------------------------------------------------


def test_each_reason_is_said_in_words(tmp_path):
    def older(change, expected):
        folder = tmp_path / expected[:12].replace(" ", "_")
        store(folder, "plain", depends=change)
        found = state(folder, "plain")
        assert (found.kind, found.text) == (status.STALE, expected)

    epochs = TABLE.presets["smoke"].recipe.epochs
    older(lambda now: with_recipe(now, epochs=99), f"recipe: epochs 99 -> {epochs}")
    older(lambda now: {**now, "preset": {**now["preset"], "task_size": 7}}, f"preset: task_size 7 -> {TABLE.presets['smoke'].task_size}")
    older(lambda now: {**now, "torch": "1.0"}, f"torch 1.0 -> {torch.__version__}")
    older(lambda now: {**now, "device": "cuda"}, "device cuda -> cpu")
    older(lambda now: {**now, "code": {**now["code"], "lib.models.sampler": "0"}}, "code: lib.models.sampler changed")
    older(lambda now: {**now, "torch": "0.9", "code": {**now["code"], "lib.old": "0"}}, f"code: lib.old changed; torch 0.9 -> {torch.__version__}")


def test_settings_that_are_new_or_gone_and_much_changed_code_stay_short(tmp_path):
    def change(now):
        recipe = {name: value for name, value in now["preset"]["recipe"].items() if name != "patience"} | {"warm_up": 3}
        return {**now, "preset": {**now["preset"], "recipe": recipe}, "code": dict.fromkeys(now["code"], "0")}

    store(tmp_path, "plain", depends=change)
    text = state(tmp_path, "plain").text
    assert "patience is new" in text and "warm_up is gone" in text
    count = len(current(tmp_path, TABLE.row("plain"))[1]["code"])
    assert text.endswith(f" and {count - status.SHOWN} more changed")


def test_records_of_other_data_than_the_newest_fitting_one_are_stale(tmp_path):
    store(tmp_path, "mean", age=2, data={"train": "old"})
    assert state(tmp_path, "mean").kind == status.DONE
    store(tmp_path, "plain", age=1)
    found = state(tmp_path, "mean")
    assert (found.kind, found.text) == (status.STALE, "data changed") and state(tmp_path, "plain").kind == status.DONE


def test_data_of_a_newer_record_that_no_longer_fits_do_not_count(tmp_path):
    """Code was changed, run, and changed back: what was done before is done again, as the engine will find."""
    store(tmp_path, "mean", age=2)
    store(tmp_path, "mean", age=1, data={"train": "other"}, depends=lambda now: {**now, "torch": "0.9"})
    assert state(tmp_path, "mean").kind == status.DONE


def test_of_several_older_records_the_newest_gives_the_reason(tmp_path):
    store(tmp_path, "plain", age=1, depends=lambda now: with_recipe(now, epochs=50))
    store(tmp_path, "plain", age=2, depends=lambda now: {**now, "torch": "0.9"})
    assert state(tmp_path, "plain").text.startswith("recipe: epochs 50 -> ")


def test_a_row_whose_needed_row_changed_says_so(tmp_path):
    table = tables.get("inaturalist")
    store(tmp_path, "plain", table)
    store(tmp_path, "cam", table)
    assert state(tmp_path, "cam", table).kind == status.DONE
    other = tmp_path / "other"
    store(other, "cam", table, depends=lambda now: {**now, "needs": {"plain": "0123456789"}})
    found = state(other, "cam", table)
    assert (found.kind, found.text) == (status.STALE, "row plain, which it needs, changed")


def test_a_damaged_record_is_not_done(tmp_path):
    path = store(tmp_path, "mean")
    path.with_suffix(".npz").write_bytes(b"half")
    found = state(tmp_path, "mean")
    assert (found.kind, found.text) == (status.STALE, "its record, or the values beside it, are damaged")


# --- interrupted, missing, summary --------------------------------------------------------------------------------------


def test_an_interrupted_row_tells_its_epoch(tmp_path):
    """With a record of the same data beside it the key is known; without one, whether it still fits is left open."""
    row = TABLE.row("plain")
    run, depends = current(tmp_path, row)
    epochs = TABLE.presets["smoke"].recipe.epochs
    checkpoint = run.store.path("plain", 0, key_of(depends), "ckpt")
    save_checkpoint(checkpoint, {"epoch": 1})
    found = state(tmp_path, "plain")
    assert (found.kind, found.text) == (status.INTERRUPTED, f"after epoch 1 of {epochs}, if nothing changed since")
    store(tmp_path, "mean")
    found = state(tmp_path, "plain")
    assert (found.kind, found.text) == (status.INTERRUPTED, f"after epoch 1 of {epochs}")
    checkpoint.rename(run.store.path("plain", 0, "0123456789", "ckpt"))
    assert state(tmp_path, "plain").kind == status.MISSING


def test_a_damaged_checkpoint_is_one_clear_remark(tmp_path):
    run, depends = current(tmp_path, TABLE.row("plain"))
    store(tmp_path, "mean")
    run.store.path("plain", 0, key_of(depends), "ckpt").write_bytes(b"half")
    assert state(tmp_path, "plain").text.endswith("is not readable; delete it to start the row again")


def test_rows_that_two_tables_share_are_counted_once(tmp_path):
    store(tmp_path, "plain", tables.get("inaturalist"))
    both = status.report(["inaturalist", "saliency_depth"], preset="smoke", device="cpu", results_dir=tmp_path)
    names = {row.name for name in ("inaturalist", "saliency_depth") for row in tables.get(name).rows}
    assert both.count(" done  ") == 2 and f"\n1 done, 0 stale, {len(names) - 1} missing. " in both


def test_a_full_table_needs_no_command(tmp_path):
    for row in TABLE.rows:
        store(tmp_path, row.name)
    text = status.report(["gazecapture"], preset="smoke", device="cpu", results_dir=tmp_path)
    assert f"\n{len(TABLE.rows)} done, 0 stale, 0 missing. " in text and "To fill" not in text


def test_tables_without_the_data_set_are_named_and_left_out(tmp_path):
    text = status.report([], preset="smoke", dataset="osie", seeds=2, device="cpu", results_dir=tmp_path)
    assert "salicon: osie, preset smoke, cpu" in text and "Without this preset or data set: gazecapture, " in text
    assert "seed 1  missing" in text and "python -m lib table salicon --preset smoke --dataset osie --data DIR --seeds 2" in text


@pytest.mark.parametrize(("words", "text"), [
    (["gazecapture", "--dataset", "osie"], "dataset 'osie' is not one of twin, gazecapture"),
    (["--preset", "large"], "preset 'large' is not one of smoke"), (["table9"], "there is no table 'table9'")])
def test_a_bad_word_is_one_line(words, text, capsys, tmp_path):
    assert main(["status", *words, "--results", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {text}") and error.count("\n") == 1
