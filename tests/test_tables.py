"""Tables: one command fills them, a second one reads what is there, and what is printed is what was measured."""

import dataclasses
import types

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.functional import avg_pool2d

from lib import tables
from lib.__main__ import main
from lib.data.gaze_geometry import CameraTarget, ScreenTarget
from lib.files import ROOT
from lib.models import zoomed
from lib.models.baselines import TrainMean
from lib.models.network import declared
from lib.models.sampler import identity_grid
from lib.results import grids
from lib.results.statistics import OWN, summarise
from lib.runs import engine
from lib.runs.engine import Run, settings
from lib.tables import gazecapture
from lib.tables.table import Column, Quoted, Row
from lib.training.gaze import GazeTask, box_magnification, eye_map
from lib.training.loop import evaluate

TABLE = tables.get("gazecapture")
ROWS = "mean,plain"


def chosen(results_dir, **options):
    return settings(TABLE, **{"preset": "smoke", "rows": ROWS, "results_dir": results_dir, "device": "cpu", **options})


def command(results_dir, *words):
    """What `python -m lib table gazecapture` does, on the CPU."""
    return main(["table", "gazecapture", "--preset", "smoke", "--rows", ROWS, "--device", "cpu", "--results", str(results_dir), *words])


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A results folder that the command has filled once."""
    folder = tmp_path_factory.mktemp("results")
    assert command(folder) == 0
    return folder


@pytest.fixture(scope="module")
def run(results):
    return Run(TABLE, chosen(results)).run()


@pytest.fixture
def fresh(results, tmp_path):
    """A results folder without a row, beside what was decoded already."""
    (tmp_path / "cache").symlink_to(results / "cache", target_is_directory=True)
    return tmp_path


# ----------------------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(("options", "text"), [
    ({"preset": "large"}, "preset 'large' is not one of smoke, demo, paper"),
    ({"dataset": "mnist", "data_dir": "somewhere"}, "dataset 'mnist' is not one of twin, gazecapture"),
    ({"dataset": "gazecapture"}, "dataset 'gazecapture' needs data_dir"),
    ({"rows": "plain,bogus"}, "row 'bogus' is not one of mean, itracker, plain, .*, sampler, oracle, "),
    ({"seeds": 0}, "seeds is 0, expected how many seeds to run, 1 or more")])
def test_a_wrong_setting_is_one_line_with_the_right_names(options, text):
    with pytest.raises(ValueError, match=f"^{text}") as caught:
        settings(TABLE, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_without_a_device_says_so():
    with pytest.raises(ValueError, match="no CUDA device here; use device 'cpu'"):
        settings(TABLE, device="cuda:0")


@pytest.mark.parametrize("rows", ["sampler,plain", "sampler plain", "sampler, plain", ["sampler", "plain"]])
def test_rows_may_be_written_in_any_way_and_come_in_the_tables_order(rows):
    assert settings(TABLE, rows=rows).rows == ("plain", "sampler")


def test_all_rows_by_default_and_relative_paths_from_the_repository():
    made = settings(TABLE, rows="", results_dir="results")
    assert made.rows == tuple(row.name for row in TABLE.rows)
    assert made.results_dir == ROOT / "results" and made.data_dir is None


def test_controls_run_on_twins_only(tmp_path):
    rows = "plain,control_plain"
    assert [row.name for row in Run(TABLE, chosen(tmp_path, rows=rows)).rows()] == ["plain", "control_plain"]
    real = chosen(tmp_path, rows=rows, dataset="gazecapture", data_dir="somewhere")
    assert [row.name for row in Run(TABLE, real).rows()] == ["plain"]


@pytest.mark.parametrize(("words", "text"), [
    (["table", "table9"], "there is no table 'table9'; the tables are gazecapture"),
    (["table", "gazecapture", "--rows", "bogus"], "row 'bogus' is not one of mean"),
    (["table", "gazecapture", "--dataset", "gazecapture", "--data", "no-such-folder"], "no-such-folder"),
    (["verify", "mnist", "."], "there is no data set 'mnist' to verify")])
def test_the_command_answers_a_bad_input_with_one_line(tmp_path, capsys, words, text):
    assert main([*words, *(["--results", str(tmp_path)] if words[0] == "table" else [])]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and text in error and error.count("\n") == 1


# --------------------------------------------------------------------------------------------------------------- the engine


def test_the_command_writes_the_table_in_three_forms(results):
    assert sorted(path.name for path in (results / "tables").iterdir()) == [
        "gazecapture-twin-smoke.csv", "gazecapture-twin-smoke.md", "gazecapture-twin-smoke.tex"]


def test_a_second_run_reads_the_records_and_computes_nothing(run, results, capsys, monkeypatch):
    monkeypatch.setattr(Run, "_train", None)
    monkeypatch.setattr(Run, "_evaluate", None)
    assert command(results) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("gazecapture ")]
    assert len(lines) == 2 and all(line.endswith("read from its record") for line in lines)
    assert not any(result.computed for row in run.results.values() for result in row)


def test_only_the_chosen_rows_run_and_records_stay_when_others_are_added(results, tmp_path):
    one = Run(TABLE, chosen(results, rows="mean")).run()
    assert list(one.results) == ["mean"] and not one.results["mean"][0].computed
    assert set(one.filled.numbers()["row"]) == {"mean"}


def test_a_row_computed_again_has_the_same_values_bit_for_bit(run, fresh):
    again = Run(TABLE, chosen(fresh)).run()
    for name in run.results:
        old, new = run.results[name][0], again.results[name][0]
        assert new.computed and new.record.history == old.record.history and new.record.summary == old.record.summary
        for value in old.values:
            np.testing.assert_array_equal(new.values[value], old.values[value])


def interrupted_at(patch, moment):
    """Ctrl-C when training begins its second epoch, or when the trained network is to be evaluated on test data."""
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    if moment == "evaluation":
        return patch.setattr(engine, "evaluate", interrupt)
    train_epoch = engine.Trainer.train_epoch
    patch.setattr(engine.Trainer, "train_epoch", lambda trainer, *words: interrupt() if trainer.epoch == 1 else train_epoch(trainer, *words))


@pytest.mark.parametrize(("moment", "left", "again"), [("training", ".ckpt", [1]), ("evaluation", ".safetensors", [])])
def test_an_interrupted_row_goes_on_and_ends_with_the_same_values(run, fresh, capsys, monkeypatch, moment, left, again):
    """The command says how to go on, and then trains no epoch again that was finished."""
    with monkeypatch.context() as patch:
        interrupted_at(patch, moment)
        assert command(fresh, "--rows", "plain") == 130
    assert "the same command goes on where it stopped" in capsys.readouterr().err
    files = {path for path in (fresh / "runs").rglob("plain-*") if path.suffix != ".lock"}
    assert {path.suffix for path in files} == {left}
    epochs, train_epoch = [], engine.Trainer.train_epoch
    with monkeypatch.context() as patch:
        patch.setattr(engine.Trainer, "train_epoch", lambda trainer, *words: epochs.append(trainer.epoch) or train_epoch(trainer, *words))
        resumed = Run(TABLE, chosen(fresh, rows="plain")).run().results["plain"][0]
    assert resumed.computed and epochs == again and not list(fresh.rglob("*.ckpt"))
    assert resumed.record.history == run.results["plain"][0].record.history
    np.testing.assert_array_equal(resumed.values["error_cm"], run.results["plain"][0].values["error_cm"])


def test_the_saved_weights_are_the_network_that_was_evaluated(run):
    values = evaluate(run.network("plain"), run.opened().task, "test", device=torch.device("cpu"))
    np.testing.assert_array_equal(values["error_cm"], run.results["plain"][0].values["error_cm"])


def test_a_record_says_what_it_is(run):
    record = run.results["plain"][0].record
    assert record.is_twin and (record.dataset, record.preset, record.seed, record.unit) == ("twin", "smoke", 0, "frames")
    assert record.n == len(run.results["plain"][0].values["error_cm"]) == len(run.opened().task.data["test"])
    assert record.summary["error_cm"] == pytest.approx(run.results["plain"][0].values["error_cm"].mean())
    assert len(record.history) == run.preset.recipe.epochs and run.results["mean"][0].record.history == []
    assert record.provenance["threads"] == 1 and record.provenance["device"] == "cpu"


def _fill(folder, start, queue):
    torch.set_num_threads(1)
    queue.put("ready")
    start.wait()
    run = Run(TABLE, chosen(folder)).run()
    queue.put({name: (rows[0].computed, rows[0].values["error_cm"]) for name, rows in run.results.items()})


def test_two_processes_on_one_folder_compute_each_row_once(run, fresh, forkserver):
    start, queue = forkserver.Event(), forkserver.Queue()
    processes = [forkserver.Process(target=_fill, args=(fresh, start, queue), daemon=True) for _ in range(2)]
    for process in processes:
        process.start()
    assert [queue.get(timeout=600) for _ in processes] == ["ready"] * 2
    start.set()
    one, other = (queue.get(timeout=600) for _ in processes)
    for process in processes:
        process.join(600)
        assert process.exitcode == 0
    for name in ("mean", "plain"):
        assert one[name][0] + other[name][0] == 1, "a row was computed twice"
        for _, values in (one[name], other[name]):
            np.testing.assert_array_equal(values, run.results[name][0].values["error_cm"])


# --------------------------------------------------------------------------------------------------------- the filled table


def test_cells_are_the_means_and_intervals_of_the_values(run):
    plain, mean = (run.results[name][0].values for name in ("plain", "mean"))
    for cell in run.filled.cells.values():
        values = {"plain": plain, "mean": mean}[cell.row.name]
        mask = values["tablet"] == (cell.column.name == "iPad")
        assert 0 < mask.sum() < len(mask)
        wanted = summarise([values["error_cm"][mask]], values["subject"][mask], over="subjects")
        assert (cell.ours.interval.mean, cell.ours.interval.half) == (wanted.mean, wanted.half)
        assert cell.ours.interval.n == len(np.unique(values["subject"][mask]))
        if cell.row.name == "mean":
            difference = mean["error_cm"][mask] - plain["error_cm"][mask]
            wanted = summarise([difference], values["subject"][mask], over="subjects")
            assert (cell.versus.interval.mean, cell.versus.interval.half) == (wanted.mean, wanted.half)
            assert cell.paper is cell.difference is cell.paper_versus is None
        else:
            assert cell.versus is None and cell.paper == {"iPad": 5.44, "iPhone": 2.63}[cell.column.name]
            assert cell.difference == cell.ours.interval.mean - cell.paper


def test_several_seeds_are_taken_over_their_means(run):
    """And the paper's differences are those of the published values."""
    def fake(row, shift):
        values = run.results["plain"][0].values
        first = run.results["plain"][0]
        return [dataclasses.replace(first, row=TABLE.row(row), record=dataclasses.replace(first.record, row=row, seed=seed),
                                    values=values | {"error_cm": values["error_cm"] + s}) for seed, s in enumerate(shift)]

    made = Run(TABLE, run.settings)
    made.results = {"plain": fake("plain", [0.0, 0.2, 0.1]), "sampler": fake("sampler", [-1.0, -1.0, -1.3])}
    made_cells = made.filled.cells
    values = run.results["plain"][0].values
    base = values["error_cm"][values["tablet"]].mean()
    ours, versus = made_cells["plain", "iPad"].ours, made_cells["sampler", "iPad"].versus
    assert ours.interval.mean == pytest.approx(base + 0.1) and versus.interval.mean == pytest.approx(-1.2)  # seed by seed
    prior = made.filled.known.of("plain", "iPad").prior  # of the two rows: their variances are 0.01 and 0.03
    assert prior.variance == pytest.approx(0.02) and ours.found.training.variance == pytest.approx((2 * 0.01 + prior.df * 0.02) / (2 + prior.df))
    assert versus.found.training.variance == pytest.approx((2 * 0.04 + prior.df * 0.04) / (2 + prior.df)) and versus.found.trainings == OWN
    assert made_cells["sampler", "iPad"].paper_versus == pytest.approx(3.29 - 5.44)
    assert made_cells["sampler", "iPhone"].paper_versus == pytest.approx(2.03 - 2.63)
    assert "subjects and trainings" in made.filled.caption


def test_a_control_is_compared_with_the_controls_plain_row(run):
    assert TABLE.reference_of("control_sampler") == "control_plain"
    assert TABLE.reference_of("sampler") == "plain"


def test_the_printed_table_says_what_the_numbers_are(run):
    table, numbers = run.filled.frame(), run.filled.numbers().set_index(["row", "column"])
    assert list(table.index) == [TABLE.row(name).label for name in ("mean", "plain")]
    assert list(table.columns.levels[0]) == ["iPad (cm)", "iPhone (cm)"]
    for column in ("iPad", "iPhone"):
        line = numbers.loc["plain", column]
        shown = table.loc["Plain AlexNet (AN)", f"{column} (cm)"]
        assert shown["paper"] == f"{line['paper']:.2f}"
        assert shown["ours"] == f"{line['ours']:.2f} ± {(line['ours_high'] - line['ours_low']) / 2:.2f}"
        assert shown["ours − paper"] == f"{line['ours'] - line['paper']:+.2f}".replace("-", "−")
        assert shown["ours − plain"] == "–" and table.loc["Train mean of the device kind", f"{column} (cm)"]["paper"] == "–"
        assert "paper − plain" not in table[f"{column} (cm)"], "a cell that no row fills is left out"


def test_the_csv_holds_the_numbers_and_the_texts_every_row(run, results):
    stem = results / "tables" / "gazecapture-twin-smoke"
    assert run.filled.write(results / "tables") == [stem.with_suffix(suffix) for suffix in (".md", ".csv", ".tex")]
    pd.testing.assert_frame_equal(pd.read_csv(f"{stem}.csv").fillna({"versus_reference_over": ""}), run.filled.numbers())
    markdown, latex = stem.with_suffix(".md").read_text(), stem.with_suffix(".tex").read_text()
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1 and len(lines) == 2 + 2 + 1  # head, rows, what ± is over
    for label in run.filled.frame().index:
        assert f"| {label} |" in markdown and f"\n{label} & " in latex
    body = [line for line in latex.splitlines() if r"\\" in line]
    assert len({line.count("&") for line in body}) == 1 and len(body) == 3 + 1
    assert latex.startswith("% ") and latex.count("\\begin{tabular}") == latex.count("\\end{tabular}") == 1
    assert all(line.isascii() for line in latex.splitlines() if not line.startswith("%"))


def test_a_twin_is_labelled_as_one_wherever_its_numbers_stand(run, results):
    assert "SYNTHETIC TWIN" in run.filled.caption and "not comparable with the paper's" in run.filled.caption
    assert f"{run.results['plain'][0].record.n} test frames" in run.filled.caption
    for suffix in (".md", ".tex"):
        assert "SYNTHETIC TWIN" in (results / "tables" / f"gazecapture-twin-smoke{suffix}").read_text()
    real = Run(TABLE, run.settings)
    record = dataclasses.replace(run.results["plain"][0].record, is_twin=False, dataset="gazecapture")
    real.results = {"plain": [dataclasses.replace(run.results["plain"][0], record=record)]}
    assert "TWIN" not in real.filled.caption and "Data: gazecapture," in real.filled.caption


def test_notes_stand_once_below_their_column_and_others_stay_in_their_cells():
    usual = "80 images, 3 seeds"
    lines = [["plain", grids.Text("1", usual), "x"], ["sampler", grids.Text("2", usual), "x"],
             ["control", grids.Text("3", "12 images, 3 seeds"), "x"],
             *([name, grids.Text("4", f"{usual} alike"), grids.Text("x", "seen")] for name in ("uniform", "centre", "random"))]
    below = grids.notes_below(grids.grid(["", "NSS", "note"], lines), "over")
    assert [[str(cell) for cell in line] for line in below.lines] == [
        ["plain", "1", "x"], ["sampler", "2", "x"], ["control", "3 (12 images, 3 seeds)", "x"],
        *([name, "4 (alike)", "x"] for name in ("uniform", "centre", "random")), ["over", usual, "seen"]]
    unnoted = grids.grid(["", "NSS"], [["plain", "1"]])
    assert grids.notes_below(unnoted, "over") == unnoted and not grids.notes_below(grids.grid(["", "NSS"], []), "over")


def test_special_characters_reach_latex_escaped():
    text = grids.latex(grids.grid(["", "a & b"], [["50 %", "1.0 ± 0.1"], ["x − y", "–"]]), "caption")
    assert r"a \& b" in text and r"50 \%" in text and r"$\pm$" in text and "x $-$ y & --" in text


# ------------------------------------------------------------------------------------------------------------ the gaze task


def test_a_tables_rows_have_unique_names_and_its_reference_exists():
    names = [row.name for row in TABLE.rows]
    assert len(set(names)) == len(names) and TABLE.row(TABLE.reference).variant == "main"
    assert all(set(row.published) <= {column.name for column in TABLE.columns} for row in TABLE.rows)


@pytest.mark.parametrize("target", [CameraTarget(), ScreenTarget()])
def test_the_loss_is_the_mean_euclidean_distance_in_cm(run, results, target):
    """And so is the error that the table is about, on either reading of the two sigmoids."""
    root = run.opened().task.data["train"].root
    task = GazeTask(root, view_size=32, target=target, cache_dir=results / "cache")
    for batch in task.batches("test", 16):
        output = torch.rand(len(batch["index"]), 2, generator=torch.Generator().manual_seed(1))
        errors = task.values(output, batch, None)["error_cm"]
        assert sum(task.losses(output, batch).values()).item() == pytest.approx(errors.mean().item(), abs=1e-3)
        assert task.values(batch["target"].double(), batch, None)["error_cm"].max() < 1e-4
        if isinstance(target, CameraTarget):
            distance = (output.double() * 55 - 27.5 - batch["camera_cm"]).norm(dim=1)
            torch.testing.assert_close(errors, distance, rtol=1e-5, atol=1e-5)


def test_every_column_of_a_batch_belongs_to_its_images(run):
    task = run.opened().task
    data, scale = task.data["train"], task.reduce
    for batch in task.batches("train", 16, torch.Generator().manual_seed(0)):
        index = batch["index"].numpy()
        pixels = torch.from_numpy(data.image(int(index[0])).copy()).permute(2, 0, 1).float()
        assert (batch["image"][0] - avg_pool2d(pixels, scale)).abs().max() <= 1
        np.testing.assert_array_equal(batch["camera_cm"].numpy(), data.camera_cm[index])
        np.testing.assert_allclose(batch["left_eye"].numpy() * scale, data.left_eye[index])  # in the batch's pixels
        np.testing.assert_array_equal(batch["face_grid"].numpy(), data.face_grid[index])  # in cells, whatever the pixels
        np.testing.assert_array_equal(batch["tablet"].numpy(), data.kind[index] == "ipad")


def test_subjects_do_not_cross_splits(run):
    data = run.opened().task.data
    subjects = [set(data[split].subject) for split in ("train", "val", "test")]
    assert not (subjects[0] & subjects[1] or subjects[0] & subjects[2] or subjects[1] & subjects[2])


def test_train_mean_predicts_the_mean_of_each_group(run):
    columns = run.opened().task.columns["train"]
    model = run.build(TABLE.row("mean"), 0)
    for group in (0, 1):
        wanted = columns["target"].numpy()[columns["tablet"].numpy() == group].mean(0)
        np.testing.assert_allclose(model(torch.tensor([group]))[0].numpy(), wanted, rtol=1e-5)
    values = run.results["mean"][0].values
    np.testing.assert_array_equal(values["prediction"], model(torch.from_numpy(values["tablet"]).long()).numpy())


def test_train_mean_of_a_group_that_never_occurs_is_the_mean_over_all():
    columns = {"target": torch.tensor([[0.0, 1], [1, 1], [5, 4]]), "tablet": torch.tensor([0, 0, 2])}
    model = TrainMean(outputs=2, group="tablet", groups=3)
    model.prepare(types.SimpleNamespace(columns={"train": columns}))
    torch.testing.assert_close(model(torch.tensor([2, 1, 0])), torch.tensor([[5.0, 4], [2, 2], [0.5, 1]]))


def test_eye_map_has_a_gaussian_at_each_eye():
    """A portrait frame of 100x200; one eye's centre at a quarter of the width and half of the height, the other far away."""
    class Frames(types.SimpleNamespace):
        def __len__(self):
            return 1

    data = Frames(size=np.array([[200, 100]]), left_eye=np.array([[20.0, 95, 10, 10]]), right_eye=np.array([[95.0, -5, 10, 10]]))
    heat = eye_map(data, cells=5, spread=0.1, floor=0.01)
    assert heat.shape == (1, 1, 5, 5)
    wanted = torch.full((5, 5), 0.01)
    at = [0, 0.25, 0.5, 0.75, 1]
    for y in range(5):
        for x in range(5):
            for centre in ((0.25, 0.5), (1.0, 0.0)):
                wanted[y, x] += np.exp(-((at[x] - centre[0]) ** 2 + (at[y] - centre[1]) ** 2) / (2 * 0.1**2))
    torch.testing.assert_close(heat[0, 0].float(), wanted)
    assert heat[0, 0].flatten().topk(2).indices.sort().values.tolist() == [4, 2 * 5 + 1]


def test_box_magnification_golden_values():
    """A 5x5 image sampled 5x5: uniform points are the pixels, so a box of 2x2 pixels gets 4 of 25."""
    identity = identity_grid(5, like=torch.zeros(1))
    box = torch.tensor([[[1.0, 1, 2, 2]]])
    two = torch.tensor([[[0.0, 0, 1, 1], [3.0, 3, 1, 1]]])

    def value(grid, boxes):
        return box_magnification(grid, boxes, (5, 5)).item()

    assert value(identity, box) == 1
    assert value(identity * 0.2, box) == 2.5  # all 25 points within it: the square root of 25 / 4
    assert value(identity * 0 + 1, box) == 0
    assert value(identity, two) == 1
    assert value(identity * 0 - 1, two) == pytest.approx((25 / 2) ** 0.5)  # all in one eye: 25 over 2
    overlapping = torch.tensor([[[1.0, 1, 2, 2], [1.0, 1, 2, 2], [4.0, 4, 1, 1]]])
    assert value(identity * 0.2, overlapping) == pytest.approx(5**0.5)  # 25 over 5: where boxes overlap a pixel counts once
    assert np.isnan(value(identity, torch.tensor([[[0.2, 0.2, 0.5, 0.5]]])))


def test_box_magnification_knows_width_from_height():
    """A landscape image: the grid zooms twice in x only, around the centre, where the box lies."""
    identity = identity_grid((41, 41), like=torch.zeros(1))
    boxes = torch.tensor([[[72.0, 32, 16, 16]]]).expand(2, -1, -1)
    grid = torch.cat((identity, identity * torch.tensor([0.5, 1.0])))
    found = box_magnification(grid, boxes, (81, 161))
    assert found[0] == 1 and found[1].item() == pytest.approx(2**0.5, rel=0.08)


@pytest.mark.parametrize("row", gazecapture.TABLE.rows, ids=lambda row: row.name)
def test_every_row_of_the_paper_preset_runs_on_a_full_frame(row, monkeypatch):
    """AlexNet and ten layers of ResNet-18 at 227 px, iTracker at 224, without downloading weights: outputs in (0, 1), gradients everywhere."""
    monkeypatch.setattr(zoomed, "pretrained", lambda name: None)
    torch.manual_seed(0)
    model = row.build(gazecapture.PRESETS["paper"])
    box = torch.tensor([[200.0, 150, 160, 160]])
    batch = {"image": torch.randint(0, 256, (1, 3, 480, 640), dtype=torch.uint8), "annotation": torch.rand(1, 1, 31, 31), "face": box,
             "view": torch.randint(0, 256, (1, 3, 227, 227), dtype=torch.uint8), "left_eye": box / 2, "right_eye": box / 2,
             "face_grid": torch.tensor([[8.0, 8, 7, 7]]), "tablet": torch.tensor([0])}
    output = model(*[batch[name] for name in model.inputs])
    assert output.shape == (1, 2)
    assert ((output >= 0) & (output <= 1)).all()
    if row.trained:
        output.sum().backward()
        assert all(parameter.grad is not None for parameter in model.parameters())


# --------------------------------------------------------------------------------------------- rows that need others, columns


@declared("plain again")
def plain_again(plain):
    return plain


SLOWER = {"lr": 1e-5}


def with_rows(*rows):
    return dataclasses.replace(TABLE, rows=(*TABLE.rows, *rows))


AGAIN = Row(name="again", label="Plain once more", network=plain_again, recipe=None, needs=("plain",))


def test_a_row_gets_the_trained_networks_of_the_rows_it_needs(run, fresh):
    """Asked for alone, it has the others trained first, and shows only itself; what nobody asked for is not evaluated."""
    table = with_rows(AGAIN)
    made = Run(table, settings(table, preset="smoke", rows="again", results_dir=fresh, device="cpu")).run()
    assert list(made.results) == ["again"]
    assert [path.suffix for path in (fresh / "runs").rglob("plain-*") if path.suffix != ".lock"] == [".safetensors"]
    np.testing.assert_array_equal(made.results["again"][0].values["prediction"], run.results["plain"][0].values["prediction"])
    assert made.results["again"][0].record.history == []
    for name, weights in run.network("plain").state_dict().items():
        torch.testing.assert_close(made.network("again").state_dict()[name], weights, rtol=0, atol=0)


def test_a_row_is_stale_when_a_row_that_it_needs_changes(run):
    table, changed = with_rows(AGAIN), with_rows(AGAIN)
    rows = tuple(dataclasses.replace(row, changes=SLOWER) if row.name == "plain" else row for row in changed.rows)
    changed = dataclasses.replace(changed, rows=rows)
    found = [Run(one, dataclasses.replace(run.settings, rows=("again",))).key(AGAIN, 0) for one in (table, changed)]
    assert found[0] != found[1]


def test_a_rows_own_recipe_is_the_one_it_is_trained_with(run):
    row = dataclasses.replace(TABLE.row("plain"), changes=SLOWER)
    assert run.recipe(row).lr == 1e-5 and run.recipe(TABLE.row("plain")).lr == run.preset.recipe.lr
    assert run.recipe(AGAIN).epochs == 0


def test_columns_have_their_own_value_unit_and_direction(run):
    """A share in per cent, where more is better: arrows in the headings, the scale in the numbers, other rows left blank."""
    column = Column(name="near", metric="near", unit="%", scale=100, lower_is_better=False, digits=1)
    table = dataclasses.replace(TABLE, columns=(TABLE.columns[0], column), comparisons=(("mean", "plain"),),
                                quoted=(Quoted(label="somebody", values={"near": 12.34}, source="their paper"),))
    made = Run(table, run.settings)
    share = np.array(run.results["mean"][0].values["error_cm"] < 5, dtype=float)
    made.results = {"plain": run.results["plain"],
                    "mean": [dataclasses.replace(run.results["mean"][0], values=run.results["mean"][0].values | {"near": share})]}
    shown = made.filled.frame()
    assert shown.loc[TABLE.row("mean").label, ("near (%) ↑", "ours")].startswith(f"{100 * share.mean():.1f} ±")
    assert shown.loc[TABLE.row("plain").label, ("near (%) ↑", "ours")] == "–" and ("iPad (cm) ↓", "ours") in shown
    pairs = made.filled.comparisons(notes=False).frame()
    assert list(pairs.columns) == ["iPad (cm) ↓"], "a column that no pair has is left out"
    cell = made.filled.cells["mean", "iPad"]
    assert pairs.iloc[0, 0] == cell.versus.text(2, sign=True), "the reference is plain, so both are the same difference"
    quoted = made.filled.quoted().frame()
    assert quoted.loc["somebody", "near (%) ↑"] == "12.3" and quoted.loc["somebody", "source"] == "their paper"
