"""Results: a record that parses is a finished row, its key follows what the result depends on, and intervals mean what they say."""

import dataclasses
import importlib
import importlib.util
import json
import linecache
import os
import sys

import numpy as np
import pytest
import torch
from scipy import stats

import lib
from lib.results import dependencies, statistics
from lib.results.dependencies import code_of, key_of, module_digests, normalised
from lib.results.records import Record, RecordStore, provenance
from lib.results.statistics import Interval, bootstrap, paired, summarise, t_interval
from lib.tables import gazecapture
from lib.runs.engine import Run, settings

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


def test_saving_removes_the_checkpoint_and_leaves_no_other_file(store):
    store.folder.mkdir(parents=True)
    store.path("plain", 1, "abc", "ckpt").write_bytes(b"half way")
    store.save(record(), "abc", VALUES)
    assert sorted(path.name for path in store.folder.iterdir()) == ["plain-seed1-abc.json", "plain-seed1-abc.npz"]


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
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert store.load("plain", 1, "abc") is None


def test_values_that_need_pickle_are_not_loaded(store, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    store.save(record(), "abc", {"error_cm": np.array([Evil()])})
    assert store.load("plain", 1, "abc") is None
    assert not (tmp_path / "executed").exists()


# --------------------------------------------------------------------------------------------------------------------- keys

SOURCE = '''
"""A module."""
import torch
from lib.metrics import gaze

SCALE = 2.0
TABLE = {"a": (1, 2)}


def helper(x):
    """Doubles."""
    return SCALE * x


class Thing:
    size = 5


def unrelated(x):
    return x + 17


def build(x):
    """Says what it does."""
    y = helper(x)  # why
    return [y + i + TABLE["a"][0] for i in range(3)], gaze


def makes_a_thing():
    return Thing()
'''


@pytest.fixture
def module_of(tmp_path, monkeypatch):
    """A function that makes a module of this package from source, each time the same name and the present content."""
    monkeypatch.setattr(lib, "__path__", [*lib.__path__, str(tmp_path)])

    def make(source, name="temporary"):
        (tmp_path / f"{name}.py").write_text(source)
        importlib.invalidate_caches()
        dependencies._module.cache_clear()
        linecache.clearcache()
        spec = importlib.util.spec_from_file_location(f"lib.{name}", tmp_path / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        exec(compile(source, tmp_path / f"{name}.py", "exec"), module.__dict__)  # no bytecode file of the same second
        monkeypatch.setitem(sys.modules, f"lib.{name}", module)
        return module

    yield make
    dependencies._module.cache_clear()


PROSE = [("# why", "# another reason"), ('"""Doubles."""', '"""Twice the input."""'), ('"""A module."""', '"""Prose."""'),
         ("    y = helper(x)", "\n    y = helper(  x  )"), ('    """Says what it does."""\n', "")]


@pytest.mark.parametrize(("old", "new"), PROSE)
def test_prose_and_layout_do_not_change_a_digest(module_of, old, new):
    before = code_of(module_of(SOURCE).build), module_digests({"lib.temporary"})
    assert old in SOURCE
    after = code_of(module_of(SOURCE.replace(old, new)).build), module_digests({"lib.temporary"})
    assert before == after


@pytest.mark.parametrize(("old", "new"), [
    ("range(3)", "range(4)"), ("SCALE * x", "SCALE * x + 1"), ("SCALE = 2.0", "SCALE = 2.5"), ("(1, 2)", "(3, 2)")])
def test_what_a_function_runs_changes_its_digest(module_of, old, new):
    """Its own body, a helper of its module, and constants that either reads."""
    before = code_of(module_of(SOURCE).build)
    assert code_of(module_of(SOURCE.replace(old, new)).build) != before


@pytest.mark.parametrize(("old", "new"), [("x + 17", "x + 18"), ("size = 5", "size = 6")])
def test_the_rest_of_its_module_is_not_a_functions_business(module_of, old, new):
    before = code_of(module_of(SOURCE).build)
    assert code_of(module_of(SOURCE.replace(old, new)).build) == before


def test_a_class_of_the_same_module_counts(module_of):
    before = code_of(module_of(SOURCE).makes_a_thing)
    assert code_of(module_of(SOURCE.replace("size = 5", "size = 6")).makes_a_thing) != before


@pytest.mark.parametrize("imported", ["from lib.other import Layer", "from lib import other", "from lib.other import build_layer"])
def test_other_modules_of_the_package_count_with_all_that_they_import(module_of, imported):
    """However they are imported: a class, a function or the module itself."""
    use = {"Layer": "Layer()", "other": "other.Layer()", "build_layer": "build_layer()"}[imported.split()[-1]]
    source = f"{imported}\n\n\ndef build():\n    return {use}\n"
    deep = "WIDTH = 3\n"
    other = "from lib.deep import WIDTH\n\n\nclass Layer:\n    width = WIDTH\n\n\ndef build_layer():\n    return Layer()\n"
    digests = []
    for deep_source, other_source in [(deep, other), (deep + "# prose\n", other), ("WIDTH = 4\n", other), (deep, other + "x = 1\n")]:
        module_of(deep_source, "deep")
        lib.other = module_of(other_source, "other")
        digests.append(code_of(module_of(source).build))
        del lib.other
    assert digests[0] == digests[1]
    assert digests[0] != digests[2] and digests[0] != digests[3]


def test_digests_do_not_depend_on_where_the_checkout_lies(module_of):
    source = "from pathlib import Path\nROOT = Path(__file__)\n\n\ndef build():\n    return ROOT, __file__\n"
    assert set(code_of(module_of(source).build)) == {"lib.temporary:build"}


def test_the_sampler_row_depends_on_the_sampler_and_the_mean_row_does_not():
    assert "lib.models.sampler" in code_of(gazecapture.sampler)
    assert "lib.models.backbones" in code_of(gazecapture.sampler)
    assert "lib.tables.gazecapture:trunk" in code_of(gazecapture.sampler)
    assert set(code_of(gazecapture.train_mean)) == {"lib.models.baselines", "lib.tables.gazecapture:train_mean"}


@pytest.mark.parametrize(("one", "other", "equal"), [
    ("x = 1", "x  =  1  # one", True), ("x = 1", "x = 2", False), ("def f():\n    'doc'\n    return 1", "def f():\n    return 1", True),
    ("x = 'text'", "x = 'other'", False), ("class A:\n    'doc'\n    y = 'kept'", "class A:\n    y = 'kept'", True),
    ("def f():\n    return 'a'", "def f():\n    return 'b'", False), ("    x = 1\n    y = 2", "x = 1\ny = 2", True)])
def test_normalised_keeps_what_code_does(one, other, equal):
    assert (normalised(one) == normalised(other)) == equal


class _Nothing:
    """A task that only stands there."""


@pytest.fixture
def key_for(tmp_path):
    """The key of the sampler row, with changes to seed, preset or data."""
    def key(*, seed=0, fingerprint="f", row="sampler", **changes):
        table = gazecapture.TABLE
        run = Run(table, settings(table, preset="smoke", results_dir=tmp_path, device="cpu"))
        run.preset = dataclasses.replace(run.preset, **changes)
        run._tasks["main"] = _Nothing(), {"fingerprint": fingerprint}
        return key_of(run.depends(table.row(row), seed))

    return key


def test_the_key_follows_recipe_seed_row_and_data(key_for):
    recipe = gazecapture.PRESETS["smoke"].recipe
    keys = [key_for(), key_for(seed=1), key_for(fingerprint="g"), key_for(row="plain"), key_for(task_size=48),
            key_for(recipe=dataclasses.replace(recipe, lr=1e-5)), key_for(recipe=dataclasses.replace(recipe, epochs=3))]
    assert len(set(keys)) == len(keys)
    assert key_for() == keys[0]


# --------------------------------------------------------------------------------------------------------------- statistics


def clustered(generator, *, clusters=40, within=0.5):
    """Frames of subjects: (n,) values with mean 3, a third of their variance or so between subjects."""
    sizes = generator.integers(3, 12, clusters)
    member = np.repeat(np.arange(clusters), sizes)
    return 3 + generator.normal(0, 1, clusters)[member] + generator.normal(0, within, len(member)), member


def test_the_interval_covers_the_true_mean_of_clustered_data_about_95_times_of_100(monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 400)  # enough here, and quick
    generator = np.random.default_rng(7)
    hits = {"clustered": 0, "naive": 0}
    for _ in range(400):
        values, member = clustered(generator)
        for name, interval in (("clustered", bootstrap(values, member)), ("naive", bootstrap(values))):
            hits[name] += interval.low <= 3 <= interval.high
    assert 0.90 <= hits["clustered"] / 400 <= 0.975
    assert hits["naive"] / 400 < 0.75  # frames of one face are not independent


def test_clusters_widen_the_interval_of_correlated_frames_and_not_of_independent_ones():
    generator = np.random.default_rng(0)
    values, member = clustered(generator)
    assert bootstrap(values, member).half > 1.8 * bootstrap(values).half
    shuffled = generator.permutation(values)
    assert bootstrap(shuffled, member).half == pytest.approx(bootstrap(shuffled).half, rel=0.25)


def test_bootstrap_agrees_with_scipy_within_monte_carlo_error():
    values = np.random.default_rng(1).exponential(size=300)
    ours = bootstrap(values)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(2)).confidence_interval
    error = values.std() / np.sqrt(300)
    assert ours.mean == pytest.approx(values.mean())
    assert ours.low == pytest.approx(theirs.low, abs=0.12 * error)  # a 2.5 % quantile of 4000 has a standard error of 0.04
    assert ours.high == pytest.approx(theirs.high, abs=0.12 * error)


def test_bootstrap_weighs_samples_equally_not_clusters():
    values, member = np.array([0.0, 0, 0, 0, 0, 0, 10, 10]), np.array([5, 5, 5, 5, 5, 5, 9, 9])
    interval = bootstrap(values, member, over="subjects")
    assert interval == Interval(2.5, 0.0, 10.0, 2, "subjects")  # drawn: both twice the first, both, or twice the second


@pytest.mark.parametrize("chunk", [1, 50, 999, 2**40])
def test_the_interval_does_not_depend_on_the_chunks(monkeypatch, chunk):
    """Bit for bit what drawing all indices at once gives."""
    values = np.random.default_rng(3).normal(size=50)
    at_once = np.random.default_rng(8).integers(50, size=(statistics.RESAMPLES, 50))
    low, high = np.quantile(values[at_once].sum(1) / 50, [(1 - statistics.LEVEL) / 2, (1 + statistics.LEVEL) / 2])
    monkeypatch.setattr(statistics, "CHUNK", chunk)
    assert bootstrap(values, seed=8) == Interval(float(values.mean()), float(low), float(high), 50, "images")


def test_many_samples_take_bounded_memory(monkeypatch):
    """100,000 images: drawn at once, the indices alone would be 3.2 GB."""
    largest = 0

    class Watched:
        def __init__(self, seed):
            self.generator = np.random.Generator(np.random.PCG64(seed))

        def integers(self, high, size):
            nonlocal largest
            largest = max(largest, int(np.prod(size)))
            return self.generator.integers(high, size=size)

    monkeypatch.setattr(statistics, "RESAMPLES", 100)
    monkeypatch.setattr(np.random, "default_rng", Watched)
    interval = bootstrap(np.tile([0.0, 1.0], 50_000))
    assert interval.n == 100_000 and interval.half == pytest.approx(1.96 * 0.5 / np.sqrt(100_000), rel=0.3)
    assert largest * 8 < 64 * 2**20


def test_not_a_number_is_left_out_with_its_cluster():
    values, member = np.array([1.0, 2, np.nan, 4, np.nan]), np.array([0, 0, 0, 1, 2])
    assert bootstrap(values, member) == bootstrap(np.array([1.0, 2, 4]), np.array([0, 0, 1]))
    assert bootstrap(values, member).n == 2


@pytest.mark.parametrize(("values", "n"), [([], 0), ([np.nan], 0), ([3.0], 1), ([3.0, np.nan], 1)])
def test_fewer_than_two_samples_have_no_interval(values, n):
    interval = bootstrap(np.array(values, dtype=float))
    assert interval.n == n and np.isnan(interval.low) and np.isnan(interval.high)
    assert interval.mean == 3.0 if n else np.isnan(interval.mean)


@pytest.mark.parametrize("count", [2, 3, 10])
def test_t_interval_agrees_with_scipy(count):
    means = np.random.default_rng(count).normal(size=count)
    interval = t_interval(means)
    low, high = stats.t.interval(0.95, count - 1, loc=means.mean(), scale=stats.sem(means))
    assert (interval.mean, interval.low, interval.high) == pytest.approx((means.mean(), low, high))
    assert (interval.n, interval.over) == (count, "seeds")


def test_one_seed_has_no_t_interval():
    interval = t_interval(np.array([2.0]))
    assert interval.mean == 2.0 and np.isnan(interval.half)


def test_summarise_is_over_samples_for_one_seed_and_over_seeds_for_several():
    values, member = clustered(np.random.default_rng(4))
    assert summarise([values], member, over="subjects") == bootstrap(values, member, over="subjects")
    gaps = values.copy()
    gaps[:3] = np.nan
    assert summarise([values, gaps], member, over="subjects") == t_interval(np.array([values.mean(), np.nanmean(gaps)]))


def test_rows_that_are_not_trained_have_the_samples_interval_whatever_the_seeds():
    """Their seeds are all alike: a t-interval over them would have no width and claim a certainty that is not there."""
    values = np.random.default_rng(0).normal(size=50)
    values[3] = np.nan
    assert summarise([values] * 3, None, over="images") == bootstrap(values, over="images")
    assert paired([values] * 3, [values + 1] * 3, None, over="images").n == 49


def test_paired_differences_are_far_tighter_than_unpaired_ones():
    values, member = clustered(np.random.default_rng(5))
    better = values - 0.1 + np.random.default_rng(6).normal(0, 0.05, len(values))
    interval = paired([better], [values], member, over="subjects")
    assert interval.mean == pytest.approx(better.mean() - values.mean())
    assert interval.high < 0  # seen as a difference ...
    unpaired = np.hypot(bootstrap(better, member).half, bootstrap(values, member).half)
    assert interval.half < 0.2 * unpaired and unpaired > 0.1  # ... that separate intervals would not show
    with pytest.raises(ValueError):
        paired([better, better], [values], member, over="subjects")


@pytest.mark.parametrize(("interval", "options", "text"), [
    (Interval(2.031, 1.92, 2.14, 9, "images"), {}, "2.03 ± 0.11"), (Interval(-0.6, -0.68, -0.52, 9, "images"), {"sign": True}, "-0.60 ± 0.08"),
    (Interval(0.6, 0.52, 0.68, 9, "images"), {"sign": True, "digits": 1}, "+0.6 ± 0.1"), (Interval(np.nan, 0, 0, 0, "images"), {}, "–")])
def test_interval_as_text(interval, options, text):
    assert interval.text(**options) == text
