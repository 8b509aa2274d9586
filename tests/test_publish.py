"""Publishing a run into the reference: with `--add` it joins what is there, and what no longer holds goes."""

import json

import nbformat
import numpy as np
import pytest

from lib.report import publish
from lib.results.records import Record, RecordStore
from lib.results.store import read_folder
from lib.runs.keys import digest
from lib.versions import VERSIONS

SAMPLES = 6


def made(row: str, seed: int, *, table: str = "cub200", epochs: int = 2, needs: dict[str, str] | None = None, **versions: int) -> Record:
    """A record of Table 4's twin, or another table's, as this code would write it, but for the `versions` that are given."""
    code = {name: VERSIONS[name] for name in ("layer", "backbones", "twin cub200")}
    weights = {"network": {"name": row, "options": {}}, "recipe": {"epochs": epochs}, "seed": seed, "data": {"train": "a", "val": "b"},
               "preparation": {}, "needs": needs or {}, "versions": code | versions, "torch": "2", "device": "cpu"}
    depends = {"weights": weights, "data": {"test": "c"}, "preparation": {}, "metrics": ["top1"],
               "versions": {"zoom values": VERSIONS["zoom values"]}}
    return Record(table=table, row=row, seed=seed, preset="demo", dataset="twin", is_twin=True, n=SAMPLES, unit="images", summary={"top1": 0.5},
                  depends=depends, provenance={"commit": "0" * 40, "device": "cpu", "seconds": 1.0, "host": "somebody's"})


def write(folder, *records: Record):
    for record in records:
        store = RecordStore(folder, table=record.table, dataset="twin", preset="demo")
        top1 = np.arange(SAMPLES) % 2 * 1.0
        store.save(record, digest(record.depends), {"index": np.arange(SAMPLES), "top1": top1, "top5": np.ones(SAMPLES)})
    return folder


def there(reference) -> set[tuple[str, int]]:
    return {(item.record.row, item.record.seed) for item in read_folder(reference).items}


@pytest.fixture
def reference(tmp_path):
    old = write(tmp_path / "old", made("plain", 0), made("plain", 1), made("oracle", 0), made("oracle", 1, backbones=VERSIONS["backbones"] - 1),
                made("cam", 1, needs={"plain": digest(made("plain", 1).depends["weights"])}), made("cam", 0, needs={"plain": "another"}))
    publish.publish(old, tmp_path / "reference")
    return tmp_path / "reference"


def test_a_run_takes_the_place_of_what_was_there(reference, tmp_path):
    publish.publish(write(tmp_path / "new", made("sampler", 0)), reference)
    assert there(reference) == {("sampler", 0)}


def test_more_seeds_join_and_what_is_older_goes(reference, tmp_path):
    new = write(tmp_path / "new", made("plain", 2), made("sampler", 0))
    publish.publish(new, reference, add=True)
    assert there(reference) == {("plain", 0), ("plain", 1), ("plain", 2), ("oracle", 0), ("cam", 1), ("sampler", 0)}
    assert "somebody" not in "".join(path.read_text() for path in (reference / "records").rglob("*.json"))
    known = json.loads((reference / "noise.json").read_text())
    assert "cub200" in json.dumps(known) and (reference / "tables" / "cub200-twin-demo.csv").exists()


def test_another_recipe_takes_the_place_of_the_row_and_of_what_stands_on_it(reference, tmp_path):
    publish.publish(write(tmp_path / "new", made("plain", 0, epochs=3)), reference, add=True)
    assert there(reference) == {("plain", 0), ("oracle", 0)}
    plain = next(item.record for item in read_folder(reference).items if item.record.row == "plain")
    assert plain.depends["weights"]["recipe"]["epochs"] == 3


def test_seeds_of_a_row_that_two_tables_want_stay_whichever_was_run_last(reference, tmp_path):
    """Two tables that share a row ask for other values of it; the run has some of its seeds for one, and some for the other."""
    wider = made("plain", 0)
    wider.depends["metrics"] = ["top1", "anisotropy"]
    new = write(tmp_path / "new", wider, made("plain", 2))
    publish.publish(new, reference, add=True)
    assert {("plain", 0), ("plain", 1), ("plain", 2)} <= there(reference)


def test_weights_are_found_under_their_own_key(reference, tmp_path):
    """Of a run that has the rows whose weights are published; those that it has not stay."""
    record, store = made("sampler", 0, table="inaturalist"), RecordStore(tmp_path / "new", table="inaturalist", dataset="twin", preset="demo")
    write(tmp_path / "new", record)
    store.path("sampler", 0, digest(record.depends["weights"]), "safetensors").write_bytes(b"trained")
    (reference / "weights" / "other.safetensors").write_bytes(b"kept")
    publish.publish(tmp_path / "new", reference, add=True)
    assert (reference / "weights" / "inaturalist-twin-sampler.safetensors").read_bytes() == b"trained"
    assert {line.split()[1] for line in (reference / "weights" / "SHA256SUMS").read_text().splitlines()} == {
        "inaturalist-twin-sampler.safetensors", "other.safetensors"}


def test_nothing_to_publish_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="no finished rows"):
        publish.publish(tmp_path, tmp_path / "reference", add=True)
    assert not (tmp_path / "reference").exists()


def test_an_executed_notebook_is_published_without_machine_paths_and_progress_bars():
    bar = nbformat.v4.new_output("display_data", {publish.WIDGET: {"model_id": "1"}, "text/plain": "0%"})
    said = nbformat.v4.new_output("stream", text="/some/where/results/tables/one.md\n")
    cells = [nbformat.v4.new_code_cell('results_dir = "/some/where/results"'), nbformat.v4.new_code_cell("run()", outputs=[bar, said])]
    made = publish.lighter(nbformat.v4.new_notebook(cells=cells, metadata={"widgets": {}, "papermill": {}}))
    assert made.cells[0].source == 'results_dir = "results"' and not made.metadata
    assert [output.get("text") for output in made.cells[1].outputs] == ["results/tables/one.md\n"]
