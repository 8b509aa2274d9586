"""Protects: what was computed is found again exactly as long as what it depends on is the same.

Eight edits are tried one by one in a copy of the tree: which rows would train again, which would only be evaluated, which are left. Behaviour that
changes without its version is caught by tests/test_golden.py, which is tried here, too.
"""

import functools
import json
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from copies import copied

from lib import tables
from lib.models import zoomed
from lib.models.network import RowNetwork, declared, described, uses
from lib.results.records import changes
from lib.runs import keys, status
from lib.runs.engine import Run, settings
from lib.tables.table import Column, FromPreset, Row, arguments
from lib.training.loop import Recipe, Trainer
from lib.versions import VERSIONS

ROWS = ("plain", "cam", "sampler")
LEFT, EVALUATED, TRAINED = status.DONE, status.TRAINED, status.STALE  # what a run would do with a row, by what `status` calls it
ALL_LEFT, ALL_TRAINED = dict.fromkeys(ROWS, LEFT), dict.fromkeys(ROWS, TRAINED)
DATA = {"train": "a", "val": "b", "test": "c"}


def values(table, name: str, preset, *, seed: int = 0, data=DATA, dataset: str = "twin", needs=None) -> dict:
    code = keys.code_of_weights(table, table.row(name), preset, dataset=dataset), keys.code_of_values(table, preset)
    return keys.depends_on(*code, seed, data, needs=needs or {}, device="cpu", torch="2")


def weights(table, name: str, preset, **options) -> dict:
    return values(table, name, preset, **options)["weights"]


# --- eight edits --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def computed(tmp_path_factory, smoke) -> Path:
    """A results folder with three rows of Table 4."""
    folder = tmp_path_factory.mktemp("keys") / "results"
    smoke("cub200", folder, ROWS)
    return folder


@pytest.fixture
def copy(tmp_path) -> Path:
    return copied(tmp_path)


def edit(folder: Path, name: str, old: str, new: str, *, count: int = 1) -> None:
    """Replace the regular expression `old` in a file of the copy; it must be there `count` times."""
    text, found = re.subn(old, new, (folder / name).read_text())
    assert found == count, f"{name}: {old!r} is there {found} times, not {count}"
    (folder / name).write_text(text)


def raise_version(folder: Path, name: str) -> None:
    edit(folder, "lib/versions.py", rf'"{name}": {VERSIONS[name]},', f'"{name}": {VERSIONS[name] + 1},')


ASK = """
import json, sys
from lib import tables
from lib.runs.engine import settings
from lib.runs.status import Unopened
table = tables.get("cub200")
run = Unopened(table, settings(table, preset="smoke", rows=sys.argv[2], device="cpu", results_dir=sys.argv[1]))
print(json.dumps({state.row.name: state.kind for state in run.states()}))
"""


def after(python, folder: Path, results: Path) -> dict[str, str]:
    """What the copy's code would do with each row."""
    done = python(folder, "-c", ASK, str(results), ",".join(ROWS))
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def a_docstring(folder: Path) -> None:
    edit(folder, "lib/models/zoomed.py", "A task network behind a spatial sampler, by name", "What stands behind what")
    edit(folder, "lib/training/loop.py", "One optimiser step; gives the loss's parts.", "A step.")


def a_helper_renamed(folder: Path) -> None:
    edit(folder, "lib/models/zoomed.py", r"\bbehind\(", "put_behind(", count=7)


def a_network_renamed(folder: Path) -> None:
    edit(folder, "lib/models/zoomed.py", r"\bplain\(", "resized(", count=4)
    for name, count in {"cub200": 1, "recognition": 1, "inaturalist": 2, "gazecapture": 3}.items():
        edit(folder, f"lib/tables/{name}.py", r"zoomed\.plain\b", "zoomed.resized", count=count)


def a_metric(folder: Path) -> None:
    edit(folder, "lib/tables/recognition.py", r"(?m)^COLUMNS = \(", 'COLUMNS = (\n    Column(name="sure", metric="confidence"),')


def the_progress_bar(folder: Path) -> None:
    edit(folder, "lib/training/progress.py", r'f"\{self.prefix\}\{self.stage\}"', 'f">> {self.stage}"')


def an_option(folder: Path) -> None:
    edit(folder, "lib/tables/cub200.py", r"network=zoomed\.sampler, ", 'network=zoomed.sampler, options={"sigma": 31 / 3}, ')


def a_recipe(folder: Path) -> None:
    edit(folder, "lib/tables/cub200.py", r"network=zoomed\.plain, ", 'network=zoomed.plain, changes={"lr": 1e-3}, ')


EDITS = {
    a_docstring: ALL_LEFT, a_helper_renamed: ALL_LEFT, a_network_renamed: ALL_LEFT, the_progress_bar: ALL_LEFT,
    a_metric: dict.fromkeys(ROWS, EVALUATED),
    an_option: ALL_LEFT | {"sampler": TRAINED},
    a_recipe: ALL_LEFT | {"plain": TRAINED, "cam": TRAINED},  # the second is made of the first
}


@pytest.mark.slow
@pytest.mark.parametrize("change", EDITS, ids=lambda change: change.__name__)
def test_an_edit_computes_again_what_it_changes_and_nothing_else(change, copy, computed, pythons):
    change(copy)
    assert after(pythons.run, copy, computed) == EDITS[change]


def another_view(folder: Path) -> None:
    edit(folder, "lib/models/sampler.py", r'pair\(size\), mode="bilinear", antialias=True\)', 'pair(size), mode="bicubic", antialias=True)')


def another_bird(folder: Path) -> None:
    edit(folder, "lib/data/synthetic/birds.py", r"canvas\.ellipse\(x, y, 0\.024, 0\.024", "canvas.ellipse(x, y, 0.03, 0.03")  # its eye


@pytest.mark.slow
@pytest.mark.parametrize(("change", "version"), [(another_view, "views"), (another_bird, "twin cub200")])
def test_other_numbers_without_another_version_fail_by_its_name_and_with_it_all_rows_train(change, version, copy, computed, pythons):
    change(copy)
    found = pythons.run(copy, "tests/test_golden.py", version)
    assert found.returncode == 1 and f"VERSIONS['{version}']" in found.stdout, found.stderr[-2000:]
    assert after(pythons.run, copy, computed) == ALL_LEFT  # which is why that test must fail
    raise_version(copy, version)
    assert after(pythons.run, copy, computed) == ALL_TRAINED
    found = pythons.run(copy, "tests/test_golden.py", version)
    assert found.returncode == 1 and "--write" in found.stdout and "raise VERSIONS" not in found.stdout


def test_a_metric_is_evaluated_with_the_weights_that_lie_there(computed, monkeypatch, tmp_path):
    """What the keys promise, done: no network is trained, and a second run only reads."""
    shutil.copytree(computed, tmp_path / "results")
    monkeypatch.setattr(Trainer, "run", None)
    table = tables.get("cub200")
    wider = replace(table, columns=(*table.columns, Column(name="sure", metric="confidence")))
    for computes in (True, False):
        run = Run(wider, settings(wider, preset="smoke", rows=ROWS, device="cpu", results_dir=tmp_path / "results")).run()
        assert [run.results[name][0].computed for name in ROWS] == [computes] * 3
        assert all("confidence" in run.results[name][0].record.summary for name in ROWS)


# --- versions -----------------------------------------------------------------------------------------------------------


def test_a_version_reaches_the_rows_that_are_made_of_its_code(monkeypatch):
    """Layer, twin and training: all. CAM: its own row. Metrics: values and no weights. Another table's: nobody."""
    table = tables.get("cub200")
    preset = table.presets["smoke"]
    before = {name: (weights(table, name, preset), values(table, name, preset)) for name in ROWS}

    def changed(version: str) -> tuple[set[str], set[str]]:
        monkeypatch.setitem(VERSIONS, version, 99)
        now = {name: (weights(table, name, preset), values(table, name, preset)) for name in ROWS}
        monkeypatch.undo()
        return tuple({name for name in ROWS if now[name][i] != before[name][i]} for i in (0, 1))

    everything, nothing = set(ROWS), set()
    for version in ("training", "pictures", "views", "classification", "twin cub200"):
        assert changed(version) == (everything, everything)
    assert changed("layer") == ({"plain", "sampler"},) * 2  # cam follows the weights that it needs
    assert changed("cam") == ({"cam"},) * 2
    assert changed("classification values") == changed("zoom values") == (nothing, everything)
    for version in ("gaze", "twin gazecapture", "deformable", "itracker", "emlnet", "saliency values", "twin inaturalist"):
        assert changed(version) == (nothing, nothing)


def test_a_twins_version_is_in_the_keys_of_what_was_computed_on_it_alone():
    table = tables.get("cub200")
    preset = table.presets["smoke"]
    assert "twin cub200" in weights(table, "plain", preset)["versions"]
    assert "twin cub200" not in weights(table, "plain", preset, dataset="cub200")["versions"]


# --- networks -----------------------------------------------------------------------------------------------------------


def made(layers: int):
    @declared("made", "layer")
    def build(*, width: int = 3):
        return layers, width

    return build


def made_with_default(layers: int):
    @declared("made", "layer")
    def build(*, layers: int = layers):
        return layers

    return build


def made_class(layers: int):
    @declared("made", "layer")
    class Network(RowNetwork):
        def __init__(self):
            super().__init__()
            self.layers = layers

    return Network


@pytest.mark.parametrize("make", [made, made_with_default, made_class])
def test_the_values_that_a_made_network_holds_count(make):
    assert described(make(6)) == described(make(6)) != described(make(14))


def test_the_arguments_of_a_partial_count_wherever_they_stand():
    @dataclass(frozen=True)
    class Shape:
        side: int

    parts = [functools.partial(zoomed.sampler, **options) for options in ({}, {"layers": 6}, {"layers": 14}, {"sigma": 6})]
    parts += [functools.partial(zoomed.cam, *given) for given in ((1,), (2,), (Shape(3),), (Shape(4),), ([zoomed.plain],))]
    found = [json.dumps(described(part)) for part in parts]
    assert len(set(found)) == len(found)
    assert described(functools.partial(functools.partial(zoomed.sampler, layers=6), sigma=2)) == described(
        functools.partial(zoomed.sampler, sigma=2, layers=6))


@declared("parent", "layer")
class Parent(RowNetwork):
    """A declared network, whose heirs are not."""


class Heir(Parent):
    """Not declared."""


@pytest.mark.parametrize("network", [lambda: None, Heir, functools.partial(Heir)])
def test_a_network_that_is_not_declared_is_one_clear_line(network):
    with pytest.raises(ValueError) as error:
        keys.network_of(Row(name="new", label="", network=network), tables.get("cub200").presets["smoke"])
    assert "@declared" in str(error.value) and "\n" not in str(error.value)
    assert ("Heir" if network is not None and "lambda" not in repr(network) else "<lambda>") in str(error.value)


def test_an_argument_that_is_no_plain_value_is_one_clear_line():
    with pytest.raises(ValueError, match="object") as error:
        described(functools.partial(zoomed.sampler, sigma=object()))
    assert "sampler" in str(error.value) and "\n" not in str(error.value)


def all_rows():
    return [(table, row, preset) for table in map(tables.get, tables.NAMES) for row in table.rows for preset in row.presets or table.presets
            if preset in table.presets]  # a row that stands in several tables may have presets of another


def test_every_row_of_every_preset_can_be_filed_and_its_versions_are_declared():
    for table, row, preset in all_rows():
        found = weights(table, row.name, table.presets[preset])
        assert json.loads(json.dumps(found)) and set(found["versions"]) <= VERSIONS.keys()


def test_a_declared_name_is_one_networks():
    """The name is all that a key holds of the code: two networks of one name would be taken for one another."""
    networks = {row.network.func if isinstance(row.network, functools.partial) else row.network for _, row, _ in all_rows()}
    names = [network.declared_name for network in networks]
    assert sorted(set(names)) == sorted(names) and all(uses(network) for network in networks)


# --- options, recipes, presets ------------------------------------------------------------------------------------------


def test_a_field_of_the_preset_reaches_the_rows_that_use_it_and_no_others():
    """The decoder's learning rate leaves EML-NET's encoders, a choice of test pictures leaves all weights."""
    table = tables.get("salicon")
    preset = table.presets["demo"]
    other = replace(preset, decoder=replace(preset.decoder, lr=0.07))
    assert {row.name for row in table.rows if weights(table, row.name, preset) != weights(table, row.name, other)} == {"decoder"}
    table = tables.get("inaturalist")
    preset = table.presets["demo"]
    for field, rows in {"inception_size": {"inception_plain", "inception_sampler"}, "twin": set(), "control": set()}.items():
        other = replace(preset, **{field: "x" if isinstance(getattr(preset, field), str) else 80})
        assert {row.name for row in table.rows if weights(table, row.name, preset) != weights(table, row.name, other)} == rows
    other = replace(preset, test_canvas=replace(preset.test_canvas, crop=100))
    for row in table.rows:
        assert weights(table, row.name, preset) == weights(table, row.name, other)
        assert values(table, row.name, preset) != values(table, row.name, other)


def test_options_at_their_defaults_are_not_in_the_keys_and_given_ones_are():
    table = tables.get("cub200")
    preset = table.presets["smoke"]
    found = weights(table, "sampler", preset)
    options = {"outputs": 16, "task": "small_gap", "task_size": 56, "trunk": "small", "view_size": 48}
    assert found["network"] == {"name": "sampler", "options": options}
    assert keys.recipe_of(Recipe(epochs=3, batch_size=4)) == {"epochs": 3, "batch_size": 4}
    given = Recipe(epochs=3, batch_size=4, lr=0.1, rates=(("a", 0.5),))
    assert keys.recipe_of(given) == {"epochs": 3, "batch_size": 4, "lr": 0.1, "rates": [["a", 0.5]]}
    row = replace(table.row("plain"), options={"task": FromPreset("inception")})
    assert arguments(row.network, preset, row.options)["task"] == preset.inception


def test_table_3_finds_table_2s_rows_and_seeds_and_data_are_apart():
    two, three = tables.get("inaturalist"), tables.get("saliency_depth")
    preset = two.presets["smoke"]
    for name in ("plain", "sampler"):
        assert values(two, name, preset) == values(three, name, three.presets["smoke"])
    keys_of = [keys.digest(values(two, "plain", preset, **options)) for options in ({}, {"seed": 1}, {"data": DATA | {"train": "x"}},
                                                                                     {"data": DATA | {"test": "x"}}, {"needs": {"plain": "0"}})]
    assert len(set(keys_of)) == len(keys_of)
    weight_keys = [keys.digest(weights(two, "plain", preset, data=data)) for data in (DATA, DATA | {"test": "x"})]
    assert weight_keys[0] == weight_keys[1]  # test data are never trained on


def test_a_change_is_said_in_words():
    table = tables.get("cub200")
    preset = table.presets["smoke"]
    old, new = weights(table, "plain", preset), weights(table, "plain", replace(preset, recipe=replace(preset.recipe, epochs=9)))
    assert changes(old, new) == ["recipe.epochs 1 -> 9"]
    assert changes(old, old) == [] and changes({"a": 1}, {"b": {"c": 2}}) == ['b nothing -> {"c": 2}', "a 1 -> nothing"]
