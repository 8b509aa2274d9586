"""Results: a record that parses is a finished row, its key follows what the result depends on, and intervals mean what they say."""

import dataclasses
import functools
import json
import os

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from lib.files import ROOT
from lib.models.network import declared, uses
from lib.results.records import Record, RecordStore, provenance
from lib.results.statistics import FIXED, Interval, Sample, estimate, paired, summarise
from lib.runs import keys
from lib.runs.engine import Run, settings
from lib.tables import gazecapture
from lib.tables.table import Column, FromPreset, Row
from lib.versions import VERSIONS

# ------------------------------------------------------------------------------------------------------------------ records


@pytest.fixture
def store(tmp_path) -> RecordStore:
    return RecordStore(tmp_path, table="gazecapture", dataset="twin", preset="demo")


def record(**changes) -> Record:
    made = Record(table="gazecapture", row="plain", seed=1, preset="demo", dataset="twin", is_twin=True, n=4, unit="frames",
                  summary={"error_cm": 1 / 3}, history=[{"epoch": 1, "loss": 0.1 + 0.2, "val": float("nan")}],
                  depends={"recipe": {"lr": 1e-3}}, notes=["a note"], provenance=provenance(torch.device("cpu"), 1.234))
    return dataclasses.replace(made, **changes)


VALUES = {"error_cm": np.array([0.1, np.nan, 2.5, 3.0]), "prediction": np.arange(8, dtype=np.float32).reshape(4, 2),
          "index": np.arange(4), "tablet": np.array([True, False, True, True])}


def test_record_and_values_round_trip(store):
    store.save(record(), "abc", VALUES)
    loaded, values = store.load("plain", 1, "abc")
    assert json.dumps(dataclasses.asdict(loaded)) == json.dumps(dataclasses.asdict(record(values_sha256=loaded.values_sha256)))
    assert values.keys() == VALUES.keys()
    for name in VALUES:
        assert values[name].dtype == VALUES[name].dtype
        np.testing.assert_array_equal(values[name], VALUES[name])


def test_another_row_seed_or_key_is_not_finished(store):
    store.save(record(), "abc", VALUES)
    assert store.load("plain", 0, "abc") is None
    assert store.load("plain", 1, "abd") is None
    assert store.load("sampler", 1, "abc") is None


def test_saving_leaves_no_other_file_and_no_others_alone(store):
    """The engine removes a row's checkpoint when the weights lie there; a record is no reason to."""
    store.folder.mkdir(parents=True)
    store.path("plain", 1, "abc", "ckpt").write_bytes(b"half way")
    store.save(record(), "abc", VALUES)
    assert sorted(path.name for path in store.folder.iterdir()) == ["plain-seed1-abc.ckpt", "plain-seed1-abc.json", "plain-seed1-abc.npz"]


@pytest.mark.parametrize("suffix", ["json", "npz"])
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "one byte"])
def test_a_damaged_record_counts_as_not_finished(store, suffix, damage):
    store.save(record(), "abc", VALUES)
    path = store.path("plain", 1, "abc", suffix)
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        flipped = (b"\xff" if suffix == "json" else bytes([data[60] ^ 1]))
        path.write_bytes({"empty": b"", "truncated": data[:-20], "one byte": data[:60] + flipped + data[61:]}[damage])
    assert store.load("plain", 1, "abc") is None
    store.save(record(), "abc", VALUES)
    assert store.load("plain", 1, "abc") is not None


@pytest.mark.parametrize("text", ["[]", "3", "{}", '{"unknown": 1}'])
def test_json_that_is_no_record_counts_as_not_finished(store, text):
    store.save(record(), "abc", VALUES)
    store.path("plain", 1, "abc", "json").write_text(text)
    assert store.load("plain", 1, "abc") is None


@pytest.mark.parametrize("change", [{"values_sha256": "0" * 64}, {"schema": 0}])
def test_values_of_another_run_and_records_of_another_schema_do_not_count(store, change):
    store.save(record(), "abc", VALUES)
    path = store.path("plain", 1, "abc", "json")
    fields = json.loads(path.read_text())
    del fields["sha256"]  # a record of before it: other rules must tell
    path.write_text(json.dumps(fields))
    assert store.load("plain", 1, "abc") is not None
    path.write_text(json.dumps(fields | change))
    assert store.load("plain", 1, "abc") is None


def test_values_that_need_pickle_are_not_loaded(store, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    store.save(record(), "abc", {"error_cm": np.array([Evil()])})
    assert store.load("plain", 1, "abc") is None
    assert not (tmp_path / "executed").exists()


# --------------------------------------------------------------------------------------------------------------------- keys

SMOKE = gazecapture.PRESETS["smoke"]


@declared("a network", "layer")
def network(*, task_size: int, layers: int = 14):
    """A network that stands only for what it is called with."""


def described_of(build, **options) -> dict:
    return keys.network_of(Row(name="row", label="a label", network=build, options=options), SMOKE)


@pytest.fixture
def keys_of(tmp_path):
    """(key of the weights, key of the values) of Table 1's sampler row, with changes to seed, row, preset or data."""
    def found(*, seed=0, row="sampler", table=gazecapture.TABLE, data=None, **changes) -> tuple[str, str]:
        run = Run(table, settings(table, preset="smoke", results_dir=tmp_path, device="cpu"))
        run.preset = dataclasses.replace(run.preset, **changes)
        run.surveyed = dict.fromkeys(("main", "control"), {"train": "a", "val": "b", "test": "c"} | (data or {}))
        return run.weights_key(table.row(row), seed), run.key(table.row(row), seed)

    return found


@declared("a network", "layer")
def another_name(*, task_size: int, layers: int = 14):
    """Other words."""
    return nn.Identity()  # and another way to the same


def test_a_networks_own_name_its_words_and_its_place_do_not_count():
    assert described_of(another_name) == described_of(network)


@pytest.mark.parametrize("changes", [{"label": "other words"}, {"published": {"iPad": 1.0}}, {"twin_only": True}])
def test_what_a_row_says_of_itself_does_not_count(keys_of, changes):
    rows = tuple(dataclasses.replace(row, **changes) if row.name == "sampler" else row for row in gazecapture.ROWS)
    assert keys_of(table=dataclasses.replace(gazecapture.TABLE, rows=rows)) == keys_of()


@pytest.mark.parametrize("other", [
    lambda: described_of(network, layers=6), lambda: described_of(functools.partial(network, layers=6)),
    lambda: described_of(declared("another", "layer")(lambda *, task_size, layers=14: None)),
    lambda: described_of(network, layers=FromPreset("view_size"))])
def test_what_a_network_is_counts(other):
    assert other() != described_of(network)


@pytest.mark.parametrize(("value", "another"), [(6, 14), ("small", "large"), ((1, 2), (2, 1)), ({"a": 1}, {"a": 2}), (True, 1.5)])
def test_a_value_that_a_closure_holds_counts(value, another):
    def made(held):
        return declared("closure", "layer")(lambda *, task_size: held)

    assert described_of(made(value)) == described_of(made(value)) != described_of(made(another))


def test_an_option_and_a_partials_argument_are_the_same_thing():
    assert described_of(network, layers=6) == described_of(functools.partial(network, layers=6))


@pytest.mark.parametrize("build", [lambda *, task_size: None, functools.partial(lambda *, task_size: None), nn.Linear])
def test_a_network_that_is_not_declared_is_one_line_that_says_how(build):
    with pytest.raises(ValueError, match="is not declared: write @declared") as caught:
        described_of(build)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_written_down_is_refused():
    """An object's address would make a key of its own in every process."""
    with pytest.raises(ValueError, match="is no plain value"):
        described_of(network, layers=object())


@pytest.mark.parametrize(("version", "weights", "values"), [
    ("layer", True, True), ("backbones", True, True), ("training", True, True), ("gaze", True, True), ("views", True, True), ("pictures", True, True),
    ("gaze values", False, True), ("rivals", False, False), ("deformable", False, False), ("classification", False, False), ("emlnet", False, False)])
def test_a_version_that_is_raised_changes_what_was_made_with_it_and_nothing_else(keys_of, monkeypatch, version, weights, values):
    before = keys_of()
    monkeypatch.setitem(VERSIONS, version, VERSIONS[version] + 1)
    assert tuple(old != new for old, new in zip(before, keys_of(), strict=True)) == (weights, values)


def test_keys_do_not_depend_on_where_anything_lies(tmp_path):
    run = Run(gazecapture.TABLE, settings(gazecapture.TABLE, preset="smoke", results_dir=tmp_path, device="cpu"))
    run.surveyed = dict.fromkeys(("main", "control"), {"train": "a", "val": "b", "test": "c"})
    text = json.dumps([run.depends(row, 0) for row in gazecapture.ROWS])
    assert str(ROOT) not in text and str(tmp_path) not in text and "<" not in text and " at 0x" not in text


def test_the_sampler_row_depends_on_the_sampler_and_the_mean_row_does_not():
    assert {"layer", "backbones"} <= set(uses(gazecapture.TABLE.row("sampler").network))
    assert uses(gazecapture.TABLE.row("mean").network) == ("baselines",)


@pytest.mark.parametrize(("changes", "weights"), [
    ({"seed": 1}, True), ({"data": {"train": "other"}}, True), ({"data": {"val": "other"}}, True), ({"data": {"test": "other"}}, False),
    ({"row": "plain"}, True), ({"task_size": 48}, True), ({"view_size": 48}, True), ({"target": "screen"}, True),
    ({"recipe": dataclasses.replace(SMOKE.recipe, lr=1e-5)}, True), ({"recipe": dataclasses.replace(SMOKE.recipe, epochs=3)}, True)], ids=str)
def test_the_key_follows_recipe_seed_row_and_data(keys_of, changes, weights):
    """Test data are part of the values alone: other ones are evaluated on, and nothing is trained again."""
    assert tuple(old != new for old, new in zip(keys_of(), keys_of(**changes), strict=True)) == (weights, True)
    assert keys_of(**changes) == keys_of(**changes)


@pytest.mark.parametrize("changes", [{"crop_size": 99}, {"small": False}, {"twin": "demo"}, {"outputs": 2}])
def test_what_a_row_does_not_ask_its_preset_for_does_not_count(keys_of, changes):
    assert keys_of(**changes) == keys_of()


def test_a_new_metric_is_evaluated_and_nothing_is_trained_again(keys_of):
    table = gazecapture.TABLE
    weights, values = keys_of(table=dataclasses.replace(table, columns=(*table.columns, Column(name="new", metric="new"))))
    assert weights == keys_of()[0] and values != keys_of()[1]


@pytest.mark.parametrize("changes", [{"title": "Another title"}, {"columns": tuple(reversed(gazecapture.TABLE.columns))}, {"over": "people"},
                                     {"comparisons": ()}, {"reference": "mean"}])
def test_how_a_table_is_shown_does_not_count(keys_of, changes):
    assert keys_of(table=dataclasses.replace(gazecapture.TABLE, **changes)) == keys_of()


# --------------------------------------------------------------------------------------------------------------- statistics


def clustered(generator, *, clusters=40, within=0.5):
    """Frames of subjects: (n,) values with mean 3, a third of their variance or so between subjects."""
    sizes = generator.integers(3, 12, clusters)
    member = np.repeat(np.arange(clusters), sizes)
    return 3 + generator.normal(0, 1, clusters)[member] + generator.normal(0, within, len(member)), member


def one(values, member=None) -> Interval:
    return summarise([np.asarray(values, float)], member, over="subjects")


def test_the_interval_covers_the_true_mean_of_clustered_data_about_95_times_of_100():
    generator = np.random.default_rng(7)
    hits = {"clustered": 0, "naive": 0}
    for _ in range(400):
        values, member = clustered(generator)
        for name, interval in (("clustered", one(values, member)), ("naive", one(values))):
            hits[name] += interval.low <= 3 <= interval.high
    assert 0.90 <= hits["clustered"] / 400 <= 0.975
    assert hits["naive"] / 400 < 0.75  # frames of one face are not independent


def test_clusters_widen_the_interval_of_correlated_frames_and_not_of_independent_ones():
    generator = np.random.default_rng(0)
    values, member = clustered(generator)
    assert one(values, member).half > 1.8 * one(values).half
    shuffled = generator.permutation(values)
    assert one(shuffled, member).half == pytest.approx(one(shuffled).half, rel=0.25)


def test_samples_weigh_equally_not_clusters():
    interval = one([0.0, 0, 0, 0, 0, 0, 10, 10], np.array([5, 5, 5, 5, 5, 5, 9, 9]))
    assert (interval.mean, interval.n) == (2.5, 2)


def test_not_a_number_is_left_out_with_its_cluster():
    values, member = np.array([1.0, 2, np.nan, 4, np.nan]), np.array([0, 0, 0, 1, 2])
    assert one(values, member) == one([1.0, 2, 4], np.array([0, 0, 1]))
    assert one(values, member).n == 2


@pytest.mark.parametrize(("values", "n"), [([], 0), ([np.nan], 0), ([3.0], 1), ([3.0, np.nan], 1)])
def test_fewer_than_two_samples_have_no_interval(values, n):
    interval = one(values)
    assert interval.n == n and np.isnan(interval.low) and np.isnan(interval.high)
    assert interval.mean == 3.0 if n else np.isnan(interval.mean)


def test_several_seeds_are_pictures_and_trainings_together():
    """Welch and Satterthwaite of the two standard errors, here by scipy."""
    per_seed = np.random.default_rng(4).normal(size=60) + np.array([[0.0], [0.4], [0.1]])
    parts = np.array([stats.sem(per_seed.mean(axis=0)) ** 2, stats.sem(per_seed.mean(axis=1)) ** 2])
    low, high = stats.t.interval(0.95, parts.sum() ** 2 / (parts**2 / [59, 2]).sum(), loc=per_seed.mean(), scale=np.sqrt(parts.sum()))
    interval = summarise(list(per_seed), None, over="images")
    assert (interval.low, interval.high) == pytest.approx((low, high)) and interval.over == "images and trainings"


def test_rows_that_are_not_trained_have_the_samples_interval_whatever_the_seeds():
    """Their seeds are all alike: an interval over them alone would have no width and claim a certainty that is not there."""
    values = np.random.default_rng(0).normal(size=50)
    values[3] = np.nan
    alike, alone = summarise([values] * 3, None, over="images"), summarise([values], None, over="images")
    assert (alike.low, alike.high, alike.n) == pytest.approx((alone.low, alone.high, 49))
    assert estimate([Sample(np.stack([values] * 3))]).trainings == FIXED
    assert paired([values] * 3, [values + 1] * 3, None, over="images").n == 49


def test_paired_differences_are_far_tighter_than_unpaired_ones():
    values, member = clustered(np.random.default_rng(5))
    better = values - 0.1 + np.random.default_rng(6).normal(0, 0.05, len(values))
    interval = paired([better], [values], member, over="subjects")
    assert interval.mean == pytest.approx(better.mean() - values.mean())
    assert interval.high < 0  # seen as a difference ...
    unpaired = np.hypot(one(better, member).half, one(values, member).half)
    assert interval.half < 0.2 * unpaired and unpaired > 0.1  # ... that separate intervals would not show
    with pytest.raises(ValueError):
        paired([better, better], [values], member, over="subjects")


@pytest.mark.parametrize(("interval", "options", "text"), [
    (Interval(2.031, 1.92, 2.14, 9, "images"), {}, "2.03 ± 0.11"), (Interval(-0.6, -0.68, -0.52, 9, "images"), {"sign": True}, "-0.60 ± 0.08"),
    (Interval(-0.004, -0.014, 0.006, 9, "images"), {"sign": True}, "+0.00 ± 0.01"), (Interval(-1e-9, -1e-9, 0, 9, "images"), {}, "0.00 ± 0.00"),
    (Interval(0.6, 0.52, 0.68, 9, "images"), {"sign": True, "digits": 1}, "+0.6 ± 0.1"), (Interval(np.nan, 0, 0, 0, "images"), {}, "–")])
def test_interval_as_text(interval, options, text):
    assert interval.text(**options) == text
