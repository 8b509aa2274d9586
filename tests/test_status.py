"""`python -m lib status`: what it says of a results folder is what a run would do there, found without opening data."""

import json
import os

import numpy as np
import pytest
import torch

from lib import tables
from lib.__main__ import main
from lib.data.synthetic import gazecapture as twin
from lib.models.network import uses
from lib.results.records import Record, provenance
from lib.results.schema import SCHEMA
from lib.runs import keys, plans, status
from lib.runs.engine import Run, settings
from lib.training.checkpoint import save_checkpoint, save_weights
from lib.training.gaze import GazeTask

TABLE = tables.get("gazecapture")
DATA = {"train": "a", "val": "b", "test": "c"}


def unopened(results, table=TABLE, **options):
    return status.Unopened(table, settings(table, preset="smoke", device="cpu", results_dir=results, **options))


def current(results, row, table=TABLE, data=DATA):
    """What a record of `row` depends on today, if the data were `data`."""
    run = unopened(results, table)
    run._depends.clear()
    run.surveyed = {row.variant: data}
    return run, run.depends(row, 0)


def store(results, name, table=TABLE, *, age=0, data=DATA, depends=None):
    """A finished row in `results`, `age` hours old; `depends` gives what it depends on instead of today's."""
    row = table.row(name)
    run, now = current(results, row, table, data)
    depends = depends(now) if depends else now
    record = Record(table=table.records or table.name, row=name, seed=0, preset="smoke", dataset="twin", is_twin=True, n=2, unit="frames",
                    summary={}, depends=depends, provenance=provenance(torch.device("cpu"), 12.3))
    run.store.save(record, keys.digest(depends), {"error_cm": np.zeros(2)})
    path = run.store.path(name, 0, keys.digest(depends), "json")
    os.utime(path, (1.7e9 - 3600 * age,) * 2)
    return path


def state(results, name, table=TABLE):
    return unopened(results, table).state(table.row(name), 0)


def with_weights(now, **changes):
    """`now` with changes to what its weights depend on: a value, or entries of a part."""
    weights = now["weights"]
    return {**now, "weights": weights | {name: {**weights[name], **value} if isinstance(value, dict) else value for name, value in changes.items()}}


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
def test_every_tables_rows_have_keys_without_their_data(name, tmp_path, monkeypatch):
    """With the versions of everything that computes them: the network, the opening of data, training; the values' beside."""
    table = tables.get(name)
    monkeypatch.setattr(Run, "opened", None)
    run = unopened(tmp_path, table)
    for row in run.rows():
        depends = run.depends(row, 0)
        assert {"training", *uses(table.row(row.name).network), *keys.opening(table).uses} <= set(depends["weights"]["versions"])
        assert set(depends["versions"]) == set(keys.opening(table).values)
        assert depends["data"] == {"test": None} and depends["weights"]["data"] == {}


# --- plans --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", tables.NAMES)
def test_a_kept_plan_gives_the_engines_rows_and_keys(name, tmp_path, monkeypatch):
    monkeypatch.setattr(plans, "KEPT", tmp_path / "kept")
    plans.plan(name)
    monkeypatch.setattr(plans, "plan_of", None)
    plan, table = plans.plan(name), tables.get(name)
    for preset in table.presets:
        for dataset in (table.datasets[0], table.datasets[-1]):
            options = {"preset": preset, "dataset": dataset, "device": "cpu", "results_dir": tmp_path}
            options["data_dir"] = None if dataset == "twin" else tmp_path
            run, kept = Run(table, settings(table, **options)), status.Unopened(plan, settings(plan, **options))
            run.surveyed = kept.surveyed = {"main": DATA, "control": DATA}
            assert [run.key(*job) for job in run.todo()] == [kept.key(*job) for job in kept.todo()]
            assert [(row.name, run.recipe(row).epochs) for row in run.rows()] == [(row.name, row.epochs) for row in kept.rows()]
            assert run.settings.plain() == kept.settings.plain() and run.store.folder == kept.store.folder


def test_a_plan_is_found_again_where_the_code_is_another_or_its_file_is_damaged(tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(plans, "KEPT", tmp_path)
    monkeypatch.setattr(plans, "plan_of", lambda table, of=plans.plan_of: found.append(table.name) or of(table, presets=["smoke"]))
    whole = plans.plan("mrcnn")
    assert plans.plan("mrcnn") == whole and found == ["mrcnn"]
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    for damaged in (b"", b"{}", b"[1]", content[:-9], content.replace(b'"epochs": 1', b'"epochs": 2', 1)):
        path.write_bytes(damaged)
        assert plans.plan("mrcnn") == whole
    assert len(found) == 6
    monkeypatch.setattr(plans, "code_digest", lambda: "other")
    assert plans.plan("mrcnn") == whole and len(found) == 7 and len(list(tmp_path.iterdir())) == 1  # the older one is gone


def test_the_digest_of_the_code_covers_every_module(tmp_path, monkeypatch):
    (tmp_path / "room").mkdir()
    monkeypatch.setattr(plans, "CODE", tmp_path)
    seen = set()
    for name, text in (("a.py", ""), ("a.py", "x = 1"), ("room/b.py", ""), ("room/b.py", "y = 2")):
        (tmp_path / name).write_text(text)
        plans.code_digest.cache_clear()
        seen.add(plans.code_digest())
    plans.code_digest.cache_clear()
    assert len(seen) == 4


# --- stale --------------------------------------------------------------------------------------------------------------


def test_each_reason_is_said_in_words(tmp_path):
    def older(change, expected):
        folder = tmp_path / expected[:24].replace(" ", "_")
        store(folder, "plain", depends=change)
        found = state(folder, "plain")
        assert (found.kind, found.text) == (status.STALE, expected)

    preset = TABLE.presets["smoke"]
    older(lambda now: with_weights(now, recipe={"epochs": 99}), f"weights.recipe.epochs 99 -> {preset.recipe.epochs}")
    network = current(tmp_path, TABLE.row("plain"))[1]["weights"]["network"]
    older(lambda now: with_weights(now, network={"options": network["options"] | {"task_size": 7}}),
          f"weights.network.options.task_size 7 -> {preset.task_size}")
    older(lambda now: with_weights(now, torch="1.0"), f"weights.torch 1.0 -> {torch.__version__}")
    older(lambda now: with_weights(now, device="cuda"), "weights.device cuda -> cpu")
    older(lambda now: with_weights(now, versions={"layer": 0}), "weights.versions.layer 0 -> 1")
    older(lambda now: {**now, "versions": {"gaze values": 0}}, "versions.gaze values 0 -> 1")
    older(lambda now: with_weights({**now, "versions": {"gaze values": 0}}, torch="0.9"),
          f"weights.torch 0.9 -> {torch.__version__}; versions.gaze values 0 -> 1")


def test_settings_that_are_new_or_gone_stay_short(tmp_path):
    def change(now):
        recipe = {name: value for name, value in now["weights"]["recipe"].items() if name != "rates"} | {"warm_up": 3, "curriculum": "word " * 99}
        return {**now, "weights": {**now["weights"], "recipe": recipe}}

    store(tmp_path, "plain", depends=change)
    reasons = state(tmp_path, "plain").text.split("; ")
    assert "weights.recipe.warm_up 3 -> nothing" in reasons and any(reason.startswith("weights.recipe.rates nothing -> ") for reason in reasons)
    assert len(reasons) == 3 and max(map(len, reasons)) < 120


def test_records_of_other_data_than_the_newest_fitting_one_are_stale(tmp_path):
    store(tmp_path, "mean", age=2, data=DATA | {"train": "old"})
    assert state(tmp_path, "mean").kind == status.DONE
    store(tmp_path, "plain", age=1)
    found = state(tmp_path, "mean")
    assert (found.kind, found.text) == (status.STALE, "weights.data.train old -> a") and state(tmp_path, "plain").kind == status.DONE


def test_data_of_a_newer_record_that_no_longer_fits_do_not_count(tmp_path):
    """Code was changed, run, and changed back: what was done before is done again, as the engine will find."""
    store(tmp_path, "mean", age=2)
    store(tmp_path, "mean", age=1, data=DATA | {"train": "other"}, depends=lambda now: with_weights(now, torch="0.9"))
    assert state(tmp_path, "mean").kind == status.DONE


def test_of_several_older_records_the_newest_gives_the_reason(tmp_path):
    store(tmp_path, "plain", age=1, depends=lambda now: with_weights(now, recipe={"epochs": 50}))
    store(tmp_path, "plain", age=2, depends=lambda now: with_weights(now, torch="0.9"))
    assert state(tmp_path, "plain").text.startswith("weights.recipe.epochs 50 -> ")


def test_a_row_whose_needed_row_changed_says_so(tmp_path):
    table = tables.get("inaturalist")
    store(tmp_path, "plain", table)
    store(tmp_path, "cam", table)
    assert state(tmp_path, "cam", table).kind == status.DONE
    other = tmp_path / "other"
    store(other, "cam", table, depends=lambda now: with_weights(now, needs={"plain": "0123456789"}))
    found = state(other, "cam", table)
    assert found.kind == status.STALE and found.text.startswith("weights.needs.plain 0123456789 -> ")


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
    checkpoint = run.weights_path(row, 0, "ckpt")
    save_checkpoint(checkpoint, {"epoch": 1})
    found = state(tmp_path, "plain")
    assert (found.kind, found.text) == (status.INTERRUPTED, f"after epoch 1 of {epochs}, if nothing changed since")
    store(tmp_path, "mean")
    found = state(tmp_path, "plain")
    assert (found.kind, found.text) == (status.INTERRUPTED, f"after epoch 1 of {epochs}")
    checkpoint.rename(run.store.path("plain", 0, "0123456789", "ckpt"))
    assert state(tmp_path, "plain").kind == status.MISSING


def test_a_damaged_checkpoint_is_one_clear_remark(tmp_path):
    run, _ = current(tmp_path, TABLE.row("plain"))
    store(tmp_path, "mean")
    run.weights_path(TABLE.row("plain"), 0, "ckpt").write_bytes(b"half")
    assert state(tmp_path, "plain").text.endswith("damaged; it will be put aside, and the row starts again")


def test_a_row_whose_weights_are_there_is_only_evaluated(tmp_path):
    """A new metric: the weights hold, the values do not."""
    row = TABLE.row("plain")
    run, depends = current(tmp_path, row)
    store(tmp_path, "mean")
    save_weights(run.weights_path(row, 0), torch.nn.Linear(1, 1), header={})
    assert (found := state(tmp_path, "plain")).kind == status.TRAINED and found.text == "to be evaluated"
    store(tmp_path, "plain", depends=lambda now: {**now, "metrics": []})
    found = state(tmp_path, "plain")
    assert found.kind == status.TRAINED and found.text == 'to be evaluated again: metrics [] -> ["error_cm"]'


def test_records_of_another_version_are_counted_said_and_left_as_they_are(tmp_path):
    path = store(tmp_path, "plain")
    older = json.loads(path.read_text()) | {"schema": SCHEMA - 1}
    del older["sha256"]
    path.write_text(json.dumps(older))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    text = status.report(["gazecapture"], preset="smoke", device="cpu", results_dir=tmp_path)
    assert "1 records of another version" in text.splitlines()[0] and "\n0 done, " in text
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_rows_that_two_tables_share_are_counted_once(tmp_path):
    store(tmp_path, "plain", tables.get("inaturalist"))
    both = status.report(["inaturalist", "saliency_depth"], preset="smoke", device="cpu", results_dir=tmp_path)
    names = {row.name for name in ("inaturalist", "saliency_depth") for row in tables.get(name).rows}
    assert both.count(" done  ") == 2 and f"\n1 done, 0 stale, {len(names) - 1} missing. " in both


def test_rows_of_two_tables_that_want_other_values_are_counted_apart(tmp_path):
    """One record's place, two keys: finished for one table is not finished for the other."""
    one, other = tables.get("inaturalist"), tables.get("successors")
    shared = {row.name for row in one.rows_of("smoke", "twin")} & {row.name for row in other.rows_of("smoke", "twin")}
    assert "plain" in shared
    store(tmp_path, "plain", one)
    text = status.report(["inaturalist", "successors"], preset="smoke", device="cpu", results_dir=tmp_path)
    keyed = {(row.name, current(tmp_path, row, table)[0].key(row, 0)) for table in (one, other) for row in table.rows_of("smoke", "twin")}
    counts = [int(part.split()[0]) for line in text.splitlines() if line.endswith("newest records.") for part in line.split(".")[0].split(", ")]
    assert sum(counts) == len(keyed)


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
