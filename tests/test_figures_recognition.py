"""The figures of notebooks 02 to 04: drawn without a warning from whichever rows have been run, and their numbers are those recorded."""


import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from lib.figures import recognition, recognition_numbers, tables
from lib.results.statistics import Interval, mean
from lib.runs.engine import Run
from lib.training.loop import run_network

ROWS = ("plain", "stn_affine", "cam", "sampler", "blur_third", "blur_always", "same_cost", "oracle", "control_plain", "control_sampler")
TWIN = "SYNTHETIC TWIN: drawn animals"


pytestmark = pytest.mark.usefixtures("drawn_without_warnings")


@pytest.fixture(scope="module")
def run(smoke, results_dir) -> Run:
    """Every second picture is right in the plain row, every third in the sampler's: one epoch teaches them nothing."""
    run = smoke("inaturalist", results_dir, ROWS)
    for name, step in (("plain", 2), ("sampler", 3)):
        values = run.results[name][0].values
        label = run.opened().task.columns["test"]["label"].numpy()
        values["top1"] = (np.arange(len(label)) % step == 0).astype(float)
        values["predicted"] = np.where(values["top1"] > 0, label, (label + 1) % 16)
    return run


@pytest.fixture(scope="module")
def only_plain(smoke, results_dir) -> Run:
    return smoke("inaturalist", results_dir, ("plain",))


@pytest.fixture(scope="module")
def birds(smoke, results_dir) -> Run:
    return smoke("cub200", results_dir, ("plain", "sampler"))


@pytest.fixture(scope="module")
def depths(smoke, results_dir) -> Run:
    return smoke("saliency_depth", results_dir)


def check(figure: Figure, axes: int) -> list[str]:
    """It has so many axes, all opaque white, and can be drawn; returns all its texts."""
    assert isinstance(figure, Figure) and len(figure.axes) == axes
    for part in (figure, *figure.axes):
        assert to_rgba(part.get_facecolor()) == (1, 1, 1, 1)
    figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(plt.Text) if text.get_text()]


def is_note(figure: Figure, word: str) -> bool:
    return len(figure.axes) == 1 and any(word in text.get_text() for text in figure.axes[0].texts)


# ------------------------------------------------------------------------------------------------------------ pictures


@pytest.mark.parametrize("module, name, options, axes", [
    (recognition, "examples", {}, 16), (recognition, "examples", {"count": 2, "first": 5, "variant": "control"}, 8),
    (recognition, "figure5", {}, 7 * 5 + 2), (recognition, "figure5", {"variant": "control"}, 2 * 5 + 2),
    (recognition, "figure5", {"count": 3}, 3 * 4 + 1), (recognition, "figure5", {"count": 2, "name": "control_sampler"}, 2 * 4 + 1),
    (recognition, "right_and_wrong", {"count": 2}, 12), (recognition_numbers, "training", {}, 2), (recognition_numbers, "accuracy", {}, 2),
    (recognition_numbers, "per_species", {}, 2), (recognition_numbers, "looks", {}, 4), (recognition_numbers, "blur", {}, 3)])
def test_every_figure_says_that_a_twin_is_one(run, module, name, options, axes):
    texts = check(getattr(module, name)(run, **options), axes)
    assert any(text.startswith(TWIN) for text in texts)


def test_birds_and_depths_are_drawn_too(birds, depths):
    """All figures take a run of any of the three tables."""
    for figure, axes in ((recognition.examples(birds), 16), (recognition.figure5(birds), 2 * 5 + 2), (recognition_numbers.looks(birds), 4),
                         (recognition_numbers.per_species(birds), 2), (recognition_numbers.depth(depths), 2),
                         (recognition.figure5(depths), 4 * 5 + 2), (recognition_numbers.training(depths), 2)):
        assert any(text.startswith(TWIN) for text in check(figure, axes))
    texts = check(recognition_numbers.depth(depths), 2)
    assert {"none", "6\n(1 block)", "10\n(2 blocks)", "14\n(3 blocks)"} <= set(texts)


def test_missing_rows_are_notes(only_plain, depths):
    assert is_note(recognition.right_and_wrong(only_plain), "sampler") and is_note(recognition_numbers.per_species(only_plain), "sampler")
    assert is_note(recognition.figure5(only_plain, count=3), "sampler") and is_note(recognition.figure5(only_plain, variant="control"), "control")
    assert is_note(recognition_numbers.looks(only_plain), "sampler") and is_note(recognition_numbers.depth(only_plain), "depth_6")
    assert is_note(recognition_numbers.blur(depths), "blur_third")
    assert recognition_numbers.cam_coverage(only_plain).empty
    assert is_note(recognition.right_and_wrong(only_plain, "plain", "plain"), "same test pictures")
    check(recognition.figure5(only_plain), 5 + 2)


def test_pictures_shown_together_are_of_neighbouring_classes_and_boxes_are_in_their_pixels(run):
    task = run.opened().task
    chosen = recognition.first_of(run, range(4, 8))
    assert task.columns["test"]["label"][chosen].tolist() == [4, 5, 6, 7]
    for position in chosen:
        known = recognition.boxes(task, position)
        x, y, w, h = known["detail"]
        assert (x + w / 2, y + h / 2) == pytest.approx(tuple(task.columns["test"]["detail"][position].tolist()), abs=1e-3)
        if "animal" in known:
            left, top, width, height = known["animal"]
            assert left - 1 <= x + w / 2 <= left + width + 1 and top - 1 <= y + h / 2 <= top + height + 1
    assert len(set(recognition.spread(run, 16))) == 16 and len(recognition.spread(run, 99)) == 16


def test_what_is_shown_is_what_was_scored(run):
    """The sampler on one picture gives the grid that was scored in a batch: the magnification of the detail is the recorded one."""
    task = run.opened().task
    for name in ("sampler", "cam", "oracle"):
        for position in (0, 7):
            maps = recognition.sampled(run, name, [position])[0]
            batch = {key: column[position:position + 1] for key, column in task.columns["test"].items()}
            found = task.more_values({"image": recognition.image(run, position), **batch}, maps)
            for key in ("detail_magnification", "parts_magnification"):
                assert found[key].item() == pytest.approx(run.results[name][0].values[key][position], abs=0.15), (name, key)


def test_disagreements_are_counted_and_shown(run):
    """Right in every third and not in every second picture: 3, 9, 15, ...; titles count all, not those shown."""
    only_sampler, only_plain = recognition.disagreements(run, "sampler", "plain")
    assert only_sampler.tolist() == [3, 9, 15, 21, 27] and set(only_plain.tolist()) == {i for i in range(0, 32, 2) if i % 3}
    texts = check(recognition.right_and_wrong(run, count=2), 12)
    assert "only Saliency sampler is right: 5 of 32" in texts and f"only Plain network is right: {len(only_plain)} of 32" in texts
    assert sum(text.startswith("right (") for text in texts) == 4, "one of the two views of each of four pictures"
    check(recognition.right_and_wrong(run, count=20), 6 * len(only_plain) - 3 * (len(only_plain) - 5))


# ------------------------------------------------------------------------------------------------------------- numbers


def test_gains_of_species_add_up_to_the_tables_difference(run):
    """Weighed by their pictures, and sorted."""
    ax = recognition_numbers.per_species(run).axes[1]
    gains = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"]
    assert gains == sorted(gains, reverse=True) and len(gains) == 16
    counts = np.bincount(recognition_numbers.groups(run)[0])
    assert len(set(counts)) == 1
    values = {name: run.results[name][0].values["top1"] for name in ("plain", "sampler")}
    assert np.mean(gains) == pytest.approx(100 * (values["sampler"] - values["plain"]).mean())


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_intervals_of_shares_are_drawn_within_their_bounds(run, monkeypatch, share):
    """All right or all wrong but for one picture: Student's interval of a species reaches beyond."""
    for results in (run.results["plain"], run.results["sampler"]):
        values = np.full_like(results[0].values["top1"], share)
        values[0] = 1 - share
        monkeypatch.setitem(results[0].values, "top1", values)
    ends = [x for line in recognition_numbers.per_species(run).axes[0].lines for x in np.atleast_1d(line.get_xdata())]
    assert min(ends) >= 0 and max(ends) <= 100 and {round(x) for x in ends} & {0, 100}


def test_species_beyond_a_limit_are_shown_by_supercategory(run, monkeypatch):
    monkeypatch.setattr(recognition_numbers, "MOST_LABELS", 5)
    group, names = recognition_numbers.groups(run)
    data = run.opened().task.data["test"]
    assert names == sorted(set(data.supercategory)) and all(names[g] == data.supercategory[label] for g, label in zip(group, data.label, strict=True))
    assert set(names) <= set(check(recognition_numbers.per_species(run), 2))


def test_looks_shows_the_recorded_means_and_leaves_out_rows_that_only_resize(run):
    figure = recognition_numbers.looks(run)
    texts = check(figure, 4)
    labels = {row.name: row.label for row in run.table.rows}
    assert labels["sampler"] in texts and labels["control_sampler"] in texts
    assert not {labels["plain"], labels["same_cost"], labels["control_plain"]} & set(texts)
    for ax, key in zip(figure.axes, recognition_numbers.LOOKS, strict=False):
        drawn = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"]
        for name in ("sampler", "oracle"):
            assert np.isclose(drawn, mean(run.results[name][0].values[key])).any(), (name, key)


def test_a_figure_says_what_its_own_bars_are_over(run):
    """One seed's bars of what is no column of the table know no noise of training, whatever the table's own know."""
    bars = [Interval(1.0, 0.5, 1.5, 9, over) for over in ("images only", "images, and trainings as in the reference", "images only")]
    assert tables.told_of(bars[::2]).endswith("over images only")
    assert "over images, and trainings as in the reference; over images only" in tables.told_of(bars)
    assert " over " not in tables.told_of([])
    many = [Interval(1.0, 0.5, 1.5, 9, over) for over in ("images and trainings", "images alone where training changes nothing")]
    assert tables.told_of(many).endswith("over images and trainings") and tables.told_of(many[1:]).endswith(many[1].over)
    top1, cell = 100 * run.results["sampler"][0].values["top1"], run.filled.cells["sampler", "top-1"].ours
    found = recognition_numbers._mean(run, "sampler", [top1], "top1")
    assert (found.mean, found.low, found.high) == (cell.interval.mean, cell.interval.low, cell.interval.high)
    assert any("images only" in text for text in check(recognition_numbers.looks(run), 4))


def test_shares_leave_out_pictures_without_a_box():
    """A box that is not known, or that covers no cell of the map, is no saliency that missed."""
    inside, share = recognition_numbers.shares({"box_share": np.array([0.2, np.nan, 0.0]), "saliency_in_box": np.array([0.6, np.nan, 0.0])})
    np.testing.assert_allclose(inside, [60, np.nan, np.nan])
    np.testing.assert_allclose(share, [20, np.nan, np.nan])


def test_covered_is_the_share_of_the_box_inside_the_crop():
    box = np.array([[10.0, 10, 20, 10], [10, 10, 20, 10], [10, 10, 20, 10], [np.nan] * 4])
    crop = np.array([[0.0, 0, 50, 50], [20, 0, 50, 15], [40, 40, 50, 50], [0, 0, 50, 50]])
    np.testing.assert_allclose(recognition_numbers.covered(box, crop), [1, 0.25, 0, np.nan])


def test_crops_of_the_cam_row_are_those_of_its_grids(run):
    """Corners of the grid that was sampled, in the square's pixels, for every test picture in order; squares inside the picture."""
    crops, side = recognition_numbers.crops(run), run.opened().task.canvas["test"].size
    assert crops.shape == (32, 4) and (crops >= -1e-3).all() and (crops <= side + 1e-3).all()
    np.testing.assert_allclose(crops[:, 2] - crops[:, 0], crops[:, 3] - crops[:, 1], atol=1e-3)
    grid = recognition.sampled(run, "cam", [5])[0].grid
    np.testing.assert_allclose(crops[5, :2], (grid[0, 0, 0] + 1).numpy() / 2 * side, atol=side / 16)
    frame = recognition_numbers.cam_coverage(run)
    assert list(frame.index) == ["all test pictures", "the first pass is right", "the first pass is wrong"]
    assert frame["pictures"].tolist() == ["32", "16", "16"]


def test_cost_counts_the_networks_that_were_run(run):
    frame = recognition_numbers.cost(run)
    assert list(frame.index) == [run.table.row(name).label for name in ROWS if not name.startswith("control")]
    plain, sampler, cam = (frame.loc[run.table.row(name).label] for name in ("plain", "sampler", "cam"))
    assert plain["× plain"] == "1.00" and float(sampler["× plain"]) > 1
    assert float(cam["× plain"]) == pytest.approx(2, abs=0.05), "two passes of the same network"
    count = {name: int(line["parameters"].replace(",", "")) for name, line in (("plain", plain), ("sampler", sampler))}
    assert count["sampler"] - count["plain"] == int(sampler["before the task network"].replace(",", "")) > 0
    with torch.no_grad():
        assert run_network(run.network("plain"), next(iter(run.opened().task.batches("test", 4)))).shape == (4, 16)


def test_protocols_name_their_sources_and_what_this_preset_does(run):
    frame = recognition_numbers.protocols(run)
    assert frame.loc["paper", "tested"] == "middle 512×512" and "section 4.2" in frame.loc["paper", "source"]
    assert frame.loc["released", "tested"] == "middle 700×700" and "main.py" in frame.loc["released", "source"]
    assert frame.loc["preset smoke", "networks see"] == f"{run.preset.task_size}×{run.preset.task_size}"
