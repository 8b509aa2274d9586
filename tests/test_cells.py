"""The cells of every table: on the committed records they are those that the committed tables have, to the last digit."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from lib import claims, tables
from lib.claims.decide import ledger_numbers
from lib.results.cells import own, versus
from lib.results.filled import Filled, in_words
from lib.results.records import ROOT, Item, Record
from lib.results.store import read_folder

REFERENCE = ROOT / "results" / "reference"


@pytest.fixture(scope="module")
def stored():
    return read_folder(REFERENCE)


@pytest.fixture(scope="module")
def filled(stored) -> dict[str, Filled]:
    made = [Filled(table, group, rows) for table, group, rows in stored.filled()]
    return {one.stem: one for one in made}


def compare(found: pd.DataFrame, wanted: pd.DataFrame) -> None:
    """Every column of `wanted`: texts are the same, numbers but for the last digits."""
    for name in wanted.columns:
        if pd.api.types.is_numeric_dtype(wanted[name]) and not pd.api.types.is_bool_dtype(wanted[name]):
            np.testing.assert_allclose(found[name].astype(float), wanted[name].astype(float), rtol=1e-9, atol=1e-9, err_msg=name)
        else:
            same = found[name].astype(object).fillna("").astype(str) == wanted[name].astype(object).fillna("").astype(str)
            assert same.all(), (name, found[name][~same], wanted[name][~same])


# --- nothing moved ------------------------------------------------------------------------------------------------------


def test_there_is_a_table_for_every_committed_file_and_the_reverse(filled):
    assert set(filled) == {path.stem for path in (REFERENCE / "tables").glob("*.csv")} - {"ledger"} and len(filled) >= 11


@pytest.mark.parametrize("stem", sorted(path.stem for path in (REFERENCE / "tables").glob("*-*.csv")))
def test_every_cell_is_the_committed_one(filled, stem):
    """Value, interval, difference, the paper's."""
    found, wanted = filled[stem].numbers(), pd.read_csv(REFERENCE / "tables" / f"{stem}.csv")
    assert list(found.columns) == list(wanted.columns) and len(found) == len(wanted) > 0
    compare(found, wanted)


def test_every_verdict_is_the_committed_one(stored):
    wanted = pd.read_csv(REFERENCE / "tables" / "ledger.csv")
    found = ledger_numbers(claims.decide(claims.ledger(), stored.groups))
    place = ["key", "dataset", "preset", "device"]
    found, wanted = (ledger.fillna({name: "" for name in place}).sort_values(place).reset_index(drop=True) for ledger in (found, wanted))
    assert list(found.columns) == list(wanted.columns) and len(found) == len(wanted) > 100
    compare(found, wanted)


# --- what a cell is -----------------------------------------------------------------------------------------------------


def rows(table: str, **values: list) -> dict[str, dict[int, Item]]:
    """Rows of a table from arrays, one for each seed."""
    def item(row: str, seed: int, found: dict) -> Item:
        record = Record(table=table, row=row, seed=seed, preset="demo", dataset="twin", is_twin=True, n=4, unit="images", summary={})
        return Item(record, {name: np.asarray(array, float) for name, array in found.items()})

    return {row: {seed: item(row, seed, found) for seed, found in enumerate(seeds)} for row, seeds in values.items()}


def test_an_interval_of_a_share_stays_within_its_bounds_and_keeps_its_width():
    """Near 100 % Student's interval reaches beyond: what is drawn and written stops there."""
    table = tables.get("cub200")
    made = rows("cub200", plain=[{"top1": [1, 1, 1, 1]}, {"top1": [1, 1, 1, 1]}, {"top1": [0, 1, 1, 1]}])
    value = own(table, made, "plain", table.column("top-1"))
    assert value.interval.high == 100 and value.interval.low == pytest.approx(value.interval.mean - value.interval.half)
    assert value.text(1) == f"91.7 [{value.interval.low:.1f} to 100.0]" and value.interval.mean + value.interval.half > 100
    lower = own(table, rows("cub200", plain=[{"top1": [0, 0, 0, 0]}, {"top1": [0, 0, 0, 1]}]), "plain", table.column("top-1"))
    assert lower.interval.low == 0


def test_differences_have_no_such_bounds():
    table = tables.get("cub200")
    made = rows("cub200", plain=[{"top1": [0, 0, 0, 0]}, {"top1": [0, 0, 0, 1]}], sampler=[{"top1": [1, 1, 1, 1]}, {"top1": [1, 1, 1, 1]}])
    assert versus(table, made, "sampler", "plain", table.column("top-1")).interval.high > 100


def test_files_are_the_same_whoever_writes_them(filled, tmp_path):
    """With the verdicts of a report, or without them as a notebook: the same bytes."""
    one = filled["gazecapture-twin-demo"]
    marked = dataclasses.replace(one, marks={"plain": ("a verdict",)})
    for first, second in zip(one.write(tmp_path / "a"), marked.write(tmp_path / "b"), strict=True):
        assert first.name == second.name and first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(("numbers", "text"), [([], ""), ([3], "3"), ([0, 1], "0, 1"), ([2, 0, 1, 5, 7, 8], "0 to 2, 5, 7, 8")])
def test_runs_of_seeds_are_written_short(numbers, text):
    assert in_words(numbers) == text
