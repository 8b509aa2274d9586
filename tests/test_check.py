"""`python -m lib check`: what it says of two folders of records follows from their values, and from nothing else."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from lib import tables
from lib.__main__ import main
from lib.files import ROOT
from lib.results import check
from lib.results.noise import scale
from lib.results.records import Record, RecordStore
from lib.results.statistics import between, moderated, priors
from lib.results.store import Group, Rows, Stored, read_folder
from lib.tables.table import Column

RNG = np.random.default_rng(0)
SUBJECTS = np.repeat(np.arange(20), 5)
TABLET = np.arange(100) % 2 == 0
ERRORS = np.abs(RNG.gamma(4, 0.5, 100) + RNG.normal(0, 0.3, 20)[SUBJECTS])


def store(folder, errors=ERRORS, *, row="plain", seed=0, device="cpu", preset="demo", data="same", key="k", table="gazecapture", values=None,
          weights=None):
    """A finished row of Table 1 (or of `table`, with its own `values`) in a results folder; returns the record's path."""
    depends = {"data": {"test": data}} | ({"weights": weights} if weights else {})
    record = Record(table=table, row=row, seed=seed, preset=preset, dataset="twin", is_twin=True, n=100, unit="frames", summary={},
                    depends=depends, provenance={"device": device})
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


SHIFTS = (0.1, 0.25, 0.0)  # of three seeds
SD = float(np.std(SHIFTS, ddof=1))


def seeds_of(folder, shifts=SHIFTS, **options):
    for seed, shift in enumerate(shifts):
        store(folder, ERRORS + shift, seed=seed, **options)


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
    assert "All 2 cells agree with the reference; 2 of them are identical; 0 of 1 networks" in text
    assert verdict(text) == verdict(text, "iPhone") == check.IDENTICAL


@pytest.mark.parametrize(("level", "share", "expected"), [
    (0.05 / 2, 0.99, check.AGREES), (0.05 / 2, 1.01, check.OUTSIDE), (0.025 / 2, 0.99, check.OUTSIDE), (0.025 / 2, 1.01, check.DISAGREES)])
def test_the_limit_is_a_prediction_interval_for_another_seed(tmp_path, capsys, level, share, expected):
    """Student's t on the seeds' two degrees of freedom, for two columns of one network: outside at 5 %, and for all cells together at 2.5 %."""
    here, reference = sides(tmp_path)
    seeds_of(reference)
    limit = stats.t.ppf(1 - level / 2, 2) * SD * np.sqrt(1 + 1 / 3)
    store(here, ERRORS + np.mean(SHIFTS) + share * limit * TABLET, seed=7)
    code, text = run(tmp_path, capsys)
    assert verdict(text) == expected and verdict(text, "iPhone") == check.AGREES
    printed = stats.t.ppf(1 - 0.05 / 4, 2) * SD * np.sqrt(4 / 3)
    (line,) = [line for line in text.splitlines() if line.split()[:2] == ["plain", "iPad"]]
    assert line.split()[2:4] == ["50", "0,1,2"] and line.split()[-2] == f"{printed:.2f}"
    assert code == int(expected == check.DISAGREES)  # one network of one may be outside by chance
    if expected == check.DISAGREES:
        assert "1 of 2 cells do not agree with the reference" in text and "gazecapture, twin, demo, cpu: plain, iPad: " in text


def test_more_seeds_here_make_the_interval_smaller_and_other_rows_steady_it(tmp_path):
    here, reference = sides(tmp_path)
    seeds_of(reference), seeds_of(reference, (0.3, 0.0, 0.1), row="sampler"), seeds_of(here, (0.1, 0.2, 0.3, 0.4))
    (section,) = check.sections(["gazecapture"], *(read_folder(folder) for folder in (reference, here)))
    cell = section.cells[0]
    prior, df = (SD**2 + np.var((0.3, 0.0, 0.1), ddof=1)) / 2, section.known.prior_df
    assert cell.expected.variance == pytest.approx((2 * SD**2 + df * prior) / (2 + df) * (1 / 3 + 1 / 4)) and cell.expected.df == 2 + df


def test_a_row_that_no_seed_changes_may_differ_by_rounding_alone(tmp_path, capsys):
    here, reference = sides(tmp_path)
    for change, expected in ((1e-6, check.AGREES), (1e-2, check.DISAGREES)):
        for seed in range(3):
            store(reference, seed=seed, row="mean"), store(here, ERRORS + change * TABLET, seed=seed, row="mean")
        assert verdict(run(tmp_path, capsys)[1], row="mean") == expected


def test_one_seed_in_the_reference_says_nothing_of_another(tmp_path, capsys):
    here, reference = sides(tmp_path)
    store(reference), store(here, ERRORS + 0.1)
    code, text = run(tmp_path, capsys)
    assert verdict(text) == check.NOT_JUDGED and "what another training gives is not known" in text and code == 1 and "Nothing was compared" in text


def test_where_the_data_differ_the_noise_of_pictures_is_added(tmp_path):
    here, reference = sides(tmp_path)
    seeds_of(reference), store(here, seed=0)
    alike, *_ = next(iter(check.sections(["gazecapture"], read_folder(reference), read_folder(here)))).cells
    shutil.rmtree(here)
    store(here, data="another twin")
    unlike, *_ = next(iter(check.sections(["gazecapture"], read_folder(reference), read_folder(here)))).cells
    pictures = unlike.reference.found.pictures.variance + unlike.here.found.pictures.variance
    assert unlike.expected.variance == pytest.approx(alike.expected.variance + pictures) and unlike.expected.df > alike.expected.df


# --- another experiment -------------------------------------------------------------------------------------------------


def weights(*, epochs=10, seed=0, needs=None, **versions):
    return {"network": {"name": "plain"}, "recipe": {"epochs": epochs}, "seed": seed, "needs": needs or {}, "versions": {"layer": 1} | versions,
            "data": {"train": f"of seed {seed}"}, "torch": f"build {seed}"}


def test_what_may_differ_between_honest_runs_is_no_other_experiment(tmp_path, capsys):
    """Seed, build of torch, bytes of the training data; and the keys of needed rows, which change with all of these."""
    here, reference = sides(tmp_path)
    for seed, shift in enumerate(SHIFTS):
        store(reference, ERRORS + shift, seed=seed, weights=weights(seed=seed, needs={"encoder": f"key {seed}"}))
    store(here, ERRORS + np.mean(SHIFTS), seed=7, weights=weights(seed=7, needs={"encoder": "key 7"}))
    code, text = run(tmp_path, capsys)
    assert code == 0 and "All 2 cells agree" in text and check.OTHER not in text


@pytest.mark.parametrize(("change", "name"), [({"epochs": 1}, "recipe.epochs 10 -> 1"), ({"layer": 2}, "versions.layer 1 -> 2")])
def test_a_row_of_another_experiment_is_named_and_not_judged(tmp_path, capsys, change, name):
    """However far or near its values are; and so is a row that needs its network. The check fails: this is no run of the reference."""
    here, reference = sides(tmp_path)
    for row, needs in (("plain", {}), ("sampler", {"plain": "key"}), ("oracle", {})):
        for seed, shift in enumerate(SHIFTS):
            store(reference, ERRORS + shift, row=row, seed=seed, weights=weights(needs=needs))
        store(here, ERRORS + 9 * (row == "plain"), row=row, seed=7, weights=weights(needs=needs, **(change if row == "plain" else {})))
    code, text = run(tmp_path, capsys)
    assert code == 1 and f"The reference is of another experiment ({name}): plain." in text and "(needs plain): sampler." in text
    assert verdict(text) == verdict(text, row="sampler") == check.OTHER and verdict(text, row="oracle") == check.AGREES
    assert "All 2 comparable cells agree" in text and "2 rows cannot be compared" in text


def test_values_that_are_identical_need_no_same_experiment(tmp_path, capsys):
    here, reference = sides(tmp_path)
    store(reference, weights=weights()), store(here, weights=weights(layer=2))
    code, text = run(tmp_path, capsys)
    assert code == 0 and verdict(text) == check.IDENTICAL and "another experiment" not in text


# --- would an honest run pass, and a changed one fail? ------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored() -> dict[Group, Rows]:
    """The committed reference's groups that have several seeds."""
    groups = read_folder(ROOT / "results" / "reference").groups
    return {group: rows for group, rows in groups.items() if len(seeds_in(rows)) > 1}


def seeds_in(rows) -> set[int]:
    return {seed for seeds in rows.values() for seed in seeds}


def only(groups, keep) -> Stored:
    return Stored(groups={group: {row: {seed: item for seed, item in seeds.items() if keep(seed)} for row, seeds in rows.items()}
                          for group, rows in groups.items()})


def judge(reference: Stored, here: Stored) -> check.Judged:
    shown = check.sections(list(tables.NAMES), reference, here)
    return check.Judged(list({(cell.group, cell.row, cell.column.name): cell for section in shown for cell in section.cells}.values()))


def test_every_seed_of_the_reference_passes_against_the_others(stored):
    """What another machine gives, as far as the reference can tell: of all networks one in twenty is outside."""
    found = [judge(only(stored, lambda seed, k=k: seed != k), only(stored, lambda seed, k=k: seed == k))
             for k in sorted(set.union(*map(seeds_in, stored.values())))]
    assert sum(bool(one.bad) for one in found) <= 1 and len(found[0].networks) > 50  # seed 5: an affine transformer that looks nowhere
    assert 0.01 < np.mean([one.outside / len(one.networks) for one in found]) < 0.09


def imitated(cells, rng, *, seeds: int, change=None) -> check.Judged:
    """A reference of so many seeds and a run of one, drawn with the means of `cells` and the noise that the reference shows, as unlike
    between networks as it is there. change: of a run's mean."""
    spread, made, families = {}, [], {}
    for cell in cells:
        at = spread.setdefault((cell.group, cell.trainings), np.sqrt(6.4 / rng.chisquare(6.4)))
        sd = np.sqrt(cell.expected.variance / (1 + 1 / len(cell.reference.seeds))) * at
        mean, changed = (scale(cell.column, cell.reference.samples).link(value) for value in (
            cell.reference.interval.mean, change(cell) if change else cell.reference.interval.mean))
        drawn, new = mean + sd * rng.normal(size=seeds), changed + sd * rng.normal()
        families.setdefault((cell.group, cell.column.name), []).append(len(made))
        made.append((between(drawn), drawn.mean(), new))
    priors_of = dict(zip(families, priors([[made[i][0] for i in members] for members in families.values()]), strict=True))
    found = []
    for cell, (own, mean, new) in zip(cells, made, strict=True):
        one = moderated(own, priors_of[cell.group, cell.column.name])
        sides = (replace(side, interval=replace(side.interval, mean=scale(cell.column, side.samples).unlink(value)))
                 for side, value in ((cell.reference, mean), (cell.here, new)))
        expected = replace(one, variance=one.variance * (1 + 1 / seeds))
        found.append(replace(cell, reference=next(sides), here=next(sides), same=False, expected=expected))
    return check.Judged(found)


@pytest.fixture(scope="module")
def cells(stored) -> list[check.Cell]:
    """The reference's cells on the twins, which is what `make reproduce` gives, against its first seed."""
    return [cell for cell in judge(only(stored, lambda seed: True), only(stored, lambda seed: seed == 0)).cells if cell.group.is_twin]


@pytest.fixture(scope="module")
def shown(cells) -> list[check.Cell]:
    """Those that training changes."""
    return [cell for cell in cells if cell.expected and cell.expected.variance > 0]


@pytest.mark.parametrize("seeds", [3, 10])
def test_honest_runs_pass_in_95_of_100(shown, seeds):
    rng = np.random.default_rng(seeds)
    failed = sum(bool(imitated(shown, rng, seeds=seeds).bad) for _ in range(40))
    assert failed <= 5  # 2 are promised at most


TWINS = ("gazecapture", "inaturalist", "cub200")  # whose rows tell where they look


def plainly(rows, seed: int):
    """Rows of one seed, with what plain resizing gave in the place of the sampler's."""
    found = {}
    for row, seeds in ((row, seeds) for row, seeds in rows.items() if seed in seeds):
        plain = "plain" if row.startswith(("blur_", "depth_")) else row.replace("sampler", "plain")
        found[row] = {seed: replace(seeds[seed], values=rows.get(plain, seeds)[seed].values)}
    return found


@pytest.mark.parametrize("seed", range(10))
def test_the_sampler_replaced_by_plain_resizing_fails_and_honest_grids_do_not(stored, seed):
    """Each seed as somebody's run beside the nine others: no honest grid magnifies all pictures alike, plain resizing does."""
    groups = {group: rows for group, rows in stored.items() if group.is_twin and group.table in TWINS}
    reference = only(groups, lambda other: other != seed)
    honest = judge(reference, only(groups, lambda other: other == seed))
    assert not honest.stand_still and not [cell for cell in honest.bad if cell.still and "sampler" in cell.row]
    found = judge(reference, Stored(groups={group: plainly(rows, seed) for group, rows in groups.items()}))
    assert {cell.group.table for cell in found.bad if cell.still and "sampler" in cell.row} == set(TWINS)
    assert {cell.row for cell in found.cells if cell.still and "plain" in cell.row} == set()


def test_a_tenth_of_the_learning_rate_fails(shown, stored):
    """As far as a run gets in a tenth of its epochs: the validation score of the histories says what share of the way that is."""
    def change(cell):
        rows = stored[cell.group]
        history = next(iter(rows[cell.row].values())).record.history
        epochs = [entry["val"] for entry in history]
        if len(epochs) < 3 or cell.column.metric not in ("top1", "error_cm", "nss"):
            return cell.reference.interval.mean
        return cell.reference.interval.mean * epochs[len(epochs) // 10] / epochs[-1]

    rng = np.random.default_rng(2)
    assert sum(bool(imitated(shown, rng, seeds=10, change=change).bad) for _ in range(20)) == 20


def swapped(values, metric, neighbour):
    return values | ({metric: values[neighbour]} if {metric, neighbour} <= set(values) else {})


def test_a_metric_replaced_by_its_neighbour_fails(stored):
    """Shuffled AUC by AUC, KL by IG: rows that nothing trains differ by more than rounding, whatever the seeds."""
    for metric, neighbour in (("auc_judd", "auc"), ("auc_shuffled", "auc"), ("kl", "ig")):
        groups = only(stored, lambda seed: seed == 0).groups
        here = {group: {row: {seed: replace(item, values=swapped(item.values, metric, neighbour)) for seed, item in seeds.items()}
                        for row, seeds in rows.items()} for group, rows in groups.items() if group.table == "salicon"}
        found = judge(only(stored, lambda seed: True), Stored(groups=here))
        assert any(cell.column.metric == metric for cell in found.bad), metric


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
    (["table9"], "there is no table 'table9'"), (["--preset", "paper"], "no finished row with preset 'paper'; make reproduce PRESET=paper"),
    (["--reference", "no-such-folder"], "no-such-folder: no such folder")])
def test_a_bad_word_is_one_line(tmp_path, capsys, words, text):
    here, reference = sides(tmp_path)
    store(here), store(reference)
    assert main(["check", "--results", str(here), "--reference", str(reference), *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and text in error and error.count("\n") == 1


@pytest.mark.parametrize(("metric", "times", "values"), [
    ("top1", 100.0, (0.0, 3.0, 50.0, 99.6, 100.0)), ("box_magnification", 1.0, (0.4, 1.0, 2.7)), ("error_cm", 1.0, (0.1, 3.0))])
def test_the_scale_has_its_inverse_and_its_slope(metric, times, values):
    there = scale(Column(name="one", metric=metric, scale=times), 500)
    for value in values:
        assert there.unlink(there.link(value)) == pytest.approx(value, abs=1e-9)
        step = 1e-5
        rise = there.link(value + step) - there.link(value - step)
        assert there.slope(value) == pytest.approx(rise / 2 / step, rel=1e-4)
