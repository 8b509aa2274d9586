"""`python -m lib check`: what it says of two folders of records follows from their values, and from nothing else."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from lib.__main__ import main
from lib.results import check
from lib.results.records import Record, RecordStore
from lib.results.statistics import bootstrap
from lib.results.store import read_folder

RNG = np.random.default_rng(0)
SUBJECTS = np.repeat(np.arange(20), 5)
TABLET = np.arange(100) % 2 == 0
ERRORS = np.abs(RNG.gamma(4, 0.5, 100) + RNG.normal(0, 0.3, 20)[SUBJECTS])


def store(folder, errors=ERRORS, *, row="plain", seed=0, device="cpu", preset="demo", data="same", key="k", table="gazecapture", values=None):
    """A finished row of Table 1 (or of `table`, with its own `values`) in a results folder; returns the record's path."""
    record = Record(table=table, row=row, seed=seed, preset=preset, dataset="twin", is_twin=True, n=100, unit="frames", summary={},
                    depends={"data": {"test": data}}, provenance={"device": device})
    found = RecordStore(folder, table=table, dataset="twin", preset=preset)
    key = f"{key}{device}"
    found.save(record, key, values or {"error_cm": np.asarray(errors, float), "subject": SUBJECTS, "tablet": TABLET})
    return found.path(row, seed, key, "json")


def sides(tmp_path):
    return tmp_path / "here", tmp_path / "reference"


def run(tmp_path, capsys, *words):
    """Exit status and what is printed."""
    here, reference = sides(tmp_path)
    code = main(["check", *words, "--results", str(here), "--reference", str(reference)])
    return code, capsys.readouterr().out


def half(values, where):
    return bootstrap(values[where], SUBJECTS[where]).half


def verdict(text, column="iPad", row="plain"):
    (line,) = [line for line in text.splitlines() if line.split()[:2] == [row, column]]
    return line.split()[-1]


# --- the rule -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["records/gazecapture/plain", "records/gazecapture/twin-demo/plain-seed0"])
def test_the_same_values_are_identical_wherever_the_reference_keeps_them(tmp_path, capsys, name):
    here, reference = sides(tmp_path)
    path, target = store(here), reference / name
    target.parent.mkdir(parents=True)
    for suffix in (".json", ".npz"):
        shutil.copy(path.with_suffix(suffix), f"{target}{suffix}")
    code, text = run(tmp_path, capsys)
    assert code == 0 and check.RULE in text and "Same twins (fingerprints agree)." in text
    assert text.rstrip().endswith("All 2 cells agree with the reference; 2 of them are identical.")
    assert verdict(text) == verdict(text, "iPhone") == check.IDENTICAL


@pytest.mark.parametrize(("share", "expected"), [(0.99, check.AGREES), (1.01, check.DISAGREES)])
def test_the_limit_is_the_root_of_the_squared_halves(tmp_path, capsys, share, expected):
    """A shift moves the interval along, so both halves are the same; tablets alone are shifted, telephones stay identical."""
    here, reference = sides(tmp_path)
    store(reference)
    store(here, ERRORS + share * np.sqrt(2) * half(ERRORS, TABLET) * TABLET)
    code, text = run(tmp_path, capsys)
    assert (verdict(text), verdict(text, "iPhone"), code) == (expected, check.IDENTICAL, int(expected == check.DISAGREES))
    if code:
        assert "1 of 2 cells do not agree with the reference (1 identical):\n  gazecapture, twin, demo, cpu: plain, iPad: " in text


def test_several_seeds_are_compared_by_their_means(tmp_path, capsys):
    """The intervals are Student's over seeds, here computed once more by scipy."""
    here, reference = sides(tmp_path)
    shifts = {here: (0.5, 0.7, 0.62), reference: (0.1, 0.2, 0.0)}
    for folder, found in shifts.items():
        for seed, shift in enumerate(found):
            store(folder, ERRORS + shift, seed=seed)
    code, text = run(tmp_path, capsys)
    halves = [stats.sem(found) * stats.t.ppf(0.975, 2) for found in shifts.values()]
    limit, difference = float(np.hypot(*halves)), np.mean(shifts[here]) - np.mean(shifts[reference])
    (line,) = [line for line in text.splitlines() if line.split()[:2] == ["plain", "iPad"]]
    assert line.split()[2:4] == ["50", "0,1,2"] and line.split()[-3:-1] == [f"{difference:+.2f}", f"{limit:.2f}"]
    assert difference > limit and code == 1 and "t-interval over seeds" in text


def test_seeds_that_are_all_the_same_leave_the_interval_over_samples(tmp_path, capsys):
    """A row that is not trained: over seeds its interval would have no width, and another machine's rounding would count."""
    here, reference = sides(tmp_path)
    for seed in range(3):
        store(reference, seed=seed), store(here, ERRORS + 1e-4, seed=seed)
    code, text = run(tmp_path, capsys)
    assert code == 0 and verdict(text) == check.AGREES and "bootstrap over subjects" in text


def test_seeds_that_both_have_are_compared_and_no_others(tmp_path, capsys):
    here, reference = sides(tmp_path)
    store(here)
    for seed in range(3):
        store(reference, ERRORS + seed, seed=seed)
    code, text = run(tmp_path, capsys)
    assert code == 0 and verdict(text) == check.IDENTICAL


def test_without_a_common_seed_one_of_each_is_compared_but_never_called_identical(tmp_path, capsys):
    here, reference = sides(tmp_path)
    store(here, seed=5)
    store(reference, seed=0)
    store(reference, ERRORS + 9, seed=1)
    code, text = run(tmp_path, capsys)
    assert code == 0 and verdict(text) == check.AGREES and "0 | 5" in text


@pytest.mark.parametrize(("change", "expected"), [(1e-7, check.AGREES), (1e-4, check.DISAGREES), (np.nan, check.DISAGREES)])
def test_where_an_interval_has_no_width_only_rounding_is_allowed(tmp_path, capsys, change, expected):
    here, reference = sides(tmp_path)
    for folder, values in ((reference, np.full(100, 2.0)), (here, np.full(100, 2.0 + change))):
        store(folder, table="salicon", row="mse", values={"nss": values, "cc": ERRORS / 100})
    assert verdict(run(tmp_path, capsys)[1], "NSS", "mse") == expected


# --- what is never mixed ------------------------------------------------------------------------------------------------


def test_another_device_stands_beside_and_is_not_judged(tmp_path, capsys):
    here, reference = sides(tmp_path)
    store(here), store(reference)
    store(reference, ERRORS + 5, device="cuda")
    code, text = run(tmp_path, capsys)
    assert code == 0 and "All 2 cells agree" in text
    gpu = text[text.index("(gazecapture, twin, demo, cuda)"):]
    assert "Reference only: nothing of this group was run here. Not judged." in gpu and verdict(gpu) == check.NOT_JUDGED


def test_a_run_on_another_device_alone_is_shown_and_nothing_counts_as_compared(tmp_path, capsys):
    here, reference = sides(tmp_path)
    store(here, device="cuda"), store(reference)
    code, text = run(tmp_path, capsys)
    assert code == 1 and "Here only: the reference has nothing of this group. Not judged." in text and "Nothing was compared" in text


def test_other_presets_are_left_alone(tmp_path, capsys):
    here, reference = sides(tmp_path)
    store(here), store(reference)
    store(here, ERRORS + 9, preset="smoke"), store(reference, preset="smoke")
    assert run(tmp_path, capsys)[0] == 0
    assert run(tmp_path, capsys, "--preset", "smoke")[0] == 1


def test_rows_and_tables_of_one_side_are_named(tmp_path, capsys):
    here, reference = sides(tmp_path)
    store(here), store(reference)
    store(here, row="oracle"), store(reference, row="sampler")
    store(reference, table="salicon", row="mse", values={"nss": ERRORS})
    code, text = run(tmp_path, capsys)
    assert code == 0 and "In the reference only: sampler." in text and "Here only: oracle." in text
    assert "nothing of it was run here:\n  salicon, twin, demo, cpu: mse" in text


def test_other_data_is_said(tmp_path, capsys):
    here, reference = sides(tmp_path)
    store(here, data="other"), store(reference)
    assert "The twins are not the same bytes (their fingerprints differ) for: plain." in run(tmp_path, capsys)[1]


def test_rows_that_two_tables_share_are_counted_once(tmp_path, capsys):
    here, reference = sides(tmp_path)
    values = {"top1": TABLET.astype(float), "top5": np.ones(100)}
    for folder in (here, reference):
        store(folder, table="inaturalist", values=values)
        store(folder, table="inaturalist", row="depth_6", values=values)
    code, text = run(tmp_path, capsys, "inaturalist", "saliency_depth")
    assert code == 0 and "All 4 cells agree" in text and text.count("\n  plain ") == 4


# --- files --------------------------------------------------------------------------------------------------------------


def test_the_newer_of_two_records_counts(tmp_path, capsys):
    here, reference = sides(tmp_path)
    store(reference)
    for key, errors, when in (("a", ERRORS, 2e9), ("b", ERRORS + 9, 1e9)):
        os.utime(store(here, errors, key=key), (when, when))
    assert run(tmp_path, capsys)[0] == 0


def test_damaged_files_are_one_line_each_and_not_well(tmp_path, capsys):
    here, reference = sides(tmp_path)
    store(here), store(reference)
    changed, gone, text_file, schema = (store(reference, row=row) for row in ("mean", "itracker", "sampler", "oracle"))
    np.savez_compressed(changed.with_suffix(".npz"), error_cm=np.zeros(100))
    gone.with_suffix(".npz").unlink()
    text_file.write_text("{")
    schema.write_text(json.dumps(json.loads(schema.read_text()) | {"schema": 99}))
    code, text = run(tmp_path, capsys)
    lines = [line for line in text.splitlines() if line.startswith("damaged, left out: ")]
    assert code == 1 and len(lines) == 4 and "All 2 cells agree" in text
    for path, words in ((changed, "SHA-256 differs"), (gone, "are missing"), (text_file, "not a readable record"), (schema, "version 99")):
        assert sum(Path(path).stem in line and words in line for line in lines) == 1


def test_what_was_saved_is_read(tmp_path):
    store(tmp_path, row="plain"), store(tmp_path, ERRORS + 1, row="sampler")
    found = {item.record.row: item.values["error_cm"] for item in read_folder(tmp_path).items}
    np.testing.assert_array_equal(found["plain"], ERRORS)
    np.testing.assert_array_equal(found["sampler"], ERRORS + 1)


def test_the_projects_own_reference_agrees_with_itself():
    """It is whole: every record can be read, and every table finds its rows in it."""
    text, well = check.report([], results_dir="results/reference/records")
    assert well and "damaged" not in text and "gazecapture, twin, demo, cpu" in text


@pytest.mark.parametrize(("words", "text"), [
    (["table9"], "there is no table 'table9'"), (["--preset", "paper"], "no finished row with preset 'paper' (try make reproduce PRESET=paper)"),
    (["--reference", "no-such-folder"], "no-such-folder: no such folder")])
def test_a_bad_word_is_one_line(tmp_path, capsys, words, text):
    here, reference = sides(tmp_path)
    store(here), store(reference)
    assert main(["check", "--results", str(here), "--reference", str(reference), *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and text in error and error.count("\n") == 1
