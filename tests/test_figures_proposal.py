"""The figures of notebook 07: each is drawn without a warning from whichever rows have been run, and shows what was scored."""

import shutil

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from lib.data.files import TWIN_FILE
from lib.data.imagenette import BOXES_FILE
from lib.figures import proposal
from lib.figures import proposal_numbers as plots
from lib.models.proposal import five_crops
from lib.runs.engine import Run

ROWS = ("full", "random", "mean", "proposal_smallest", "proposal", "six_views", "argmax", "noisy", "released", "sampler", "any_crop",
        "control_proposal")


pytestmark = pytest.mark.usefixtures("drawn_without_warnings")


@pytest.fixture(scope="module")
def run(smoke, results_dir) -> Run:
    return smoke("proposal", results_dir, ROWS)


@pytest.fixture(scope="module")
def plain(smoke, run, results_dir) -> Run:
    """One row, and no head."""
    return smoke("proposal", results_dir, ["full"])


@pytest.fixture(scope="module")
def without_boxes(smoke, run, tmp_path_factory) -> Run:
    """Data as imagenette's are: nobody says where the object is. The twin's pictures, without what makes them a twin."""
    root = tmp_path_factory.mktemp("imagenette") / "imagenette2"
    shutil.copytree(run.opened().task.data["test"].root, root, ignore=shutil.ignore_patterns(TWIN_FILE, BOXES_FILE))
    return smoke("proposal", root.parent / "results", ("proposal", "noisy", "sampler"), dataset="imagenette", data_dir=root)


def check(figure: Figure, axes: int) -> list[str]:
    """It has so many axes, all opaque white, and can be drawn; returns all its texts."""
    assert isinstance(figure, Figure) and len(figure.axes) == axes
    for part in (figure, *figure.axes):
        assert to_rgba(part.get_facecolor()) == (1, 1, 1, 1)
    for ax in figure.axes:
        assert all(image.get_cmap().name not in ("jet", "hsv", "rainbow", "nipy_spectral") for image in ax.images)
    figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(plt.Text) if text.get_text()]


def is_note(figure: Figure, word: str) -> bool:
    return len(figure.axes) == 1 and any(word in text.get_text() for text in figure.axes[0].texts)


# ------------------------------------------------------------------------------------------------------------ pictures


@pytest.mark.parametrize("draw, options, axes", [
    (proposal.examples, {}, 4 * 8), (proposal.examples, {"variant": "control", "count": 2}, 2 * 8), (proposal.choices, {}, 6 * 3),
    (proposal.choices, {"name": "six_views", "count": 2}, 2 * 3), (proposal.choices, {"name": "full"}, 6 * 3),
    (proposal.choices, {"name": "control_proposal"}, 6 * 3), (proposal.sampler, {}, 6 * 5), (proposal.sampler, {"count": 1}, 5),
    (plots.training, {}, 2), (plots.sizes, {}, 4), (plots.chosen, {}, 3), (plots.accuracy, {}, 1)])
def test_every_figure_says_that_a_twin_is_one(run, draw, options, axes):
    texts = check(draw(run, **options), axes)
    assert any(text.startswith("SYNTHETIC TWIN: drawn objects") for text in texts)


def test_the_blend_shown_is_the_one_that_was_classified(run):
    """Drawn from the record's weights; the network makes the same one, and says of it what the figure says."""
    positions = proposal.spread(run, 4)
    shown, values = proposal.pictures(run, positions), run.results["proposal"][0].values
    with torch.no_grad():
        output, maps = run.network("proposal")(shown.image, return_maps=True)
    for k, position in enumerate(positions):
        torch.testing.assert_close(proposal.blend(shown.crops[k], values["weights"][position]).float(), maps.image[k], atol=1e-5, rtol=0)
        assert output[k].argmax() == values["predicted"][position]


def test_with_noise_the_weights_shown_are_those_that_were_scored(run):
    """Another forward pass would draw others."""
    figure, weights = proposal.choices(run, "noisy"), run.results["noisy"][0].values["weights"]
    bars = [[bar.get_height() for bar in ax.patches] for ax in figure.axes[6:12]]
    np.testing.assert_allclose(bars, weights[proposal.spread(run, 6, "noisy")])


def test_pale_bars_are_crops_that_do_not_show_the_object(run):
    positions = proposal.spread(run, 6)
    coverage = run.opened().task.columns["test"]["coverage"].numpy()[positions]
    pale = [[bar.get_alpha() < 1 for bar in ax.patches] for ax in proposal.choices(run).axes[6:12]]
    assert np.array_equal(pale, coverage < 0.5) and 0 < np.mean(pale) < 1


def test_verdicts_are_those_of_the_record(run):
    values, classes = run.results["released"][0].values, run.opened().task.data["test"].classes
    figure = proposal.choices(run, "released", count=6)
    for ax, position in zip(figure.axes[12:], proposal.spread(run, 6), strict=True):
        said = values["predicted"][position]
        name = classes[said] if said < 10 else "no class"
        assert ax.get_xlabel().startswith("right" if values["top1"][position] else f"wrong: {name}\n")


def test_pictures_are_half_right_half_wrong_and_the_same_in_every_figure(run, plain, monkeypatch):
    values = run.results["proposal"][0].values
    monkeypatch.setitem(values, "top1", np.arange(len(values["top1"])) % 2 * 1.0)  # whatever a network of one epoch has learned
    chosen = proposal.spread(run, 6)
    assert [values["top1"][i] for i in chosen] == [1, 1, 1, 0, 0, 0]
    assert chosen == proposal.spread(run, 6, "noisy") == proposal.spread(run, 6, "sampler") and len(set(chosen)) == 6
    for right in (0.0, 1.0):
        monkeypatch.setitem(values, "top1", np.full(len(values["top1"]), right))
        assert len(set(proposal.spread(run, 6))) == 6
    assert len(set(proposal.spread(plain, 5))) == 5


def test_the_crops_shown_are_the_models(run):
    shown = proposal.pictures(run, [3, 1])
    crops = five_crops(shown.image, run.preset.crop_size, views=6) / 255
    torch.testing.assert_close(shown.crops, crops)
    data = run.opened().task.data["test"]
    assert shown.titles == [data.classes[data.label[i]] for i in (3, 1)]


def test_a_missing_row_is_a_note(plain):
    for figure, word in ((proposal.choices(plain), "proposal"), (proposal.choices(plain, "noisy"), "noisy"), (plots.chosen(plain), "chooses"),
                         (proposal.sampler(plain), "sampler"), (plots.sizes(plain), "proposal_smallest")):
        assert is_note(figure, word)
    check(proposal.examples(plain), 4 * 8)
    check(plots.accuracy(plain), 1)
    check(plots.training(plain), 2)
    assert plots.evaluated_twice(plain).empty


def test_rows_without_weights_and_rows_that_nobody_ran_are_notes(run):
    assert is_note(proposal.choices(run, "any_crop"), "any_crop") and is_note(proposal.choices(run, "sampler"), "sampler")
    empty = Run(run.table, run.settings)
    assert is_note(plots.accuracy(empty), "no row") and is_note(plots.training(empty), "trained") and plots.cost(empty).empty


def test_data_without_boxes(without_boxes):
    run = without_boxes
    assert "imagenette" in check(proposal.examples(run), 4 * 8)
    assert not any("green" in text for text in check(proposal.choices(run), 6 * 3) + check(proposal.sampler(run), 6 * 5))
    assert not any("object" in text for text in check(plots.chosen(run), 2))
    check(plots.sizes(run), 4)


# ------------------------------------------------------------------------------------------------------------- numbers


def test_heads_have_the_releases_parameters(run):
    frame = plots.heads(run)
    assert frame.loc["the release", "together"].tolist() == ["6,289", "7,569", "13,201", "29,329"]
    assert frame.loc["preset smoke"].index.tolist() == list(run.preset.sizes)


def test_noise_alone_makes_weights_uneven():
    """Between two equal scores the weight is uniform in [0, 1], so the entropy is 1 / (2 ln 2) bits; more views, more of it."""
    assert plots.noise_entropy(2) == pytest.approx(1 / (2 * np.log(2)), abs=0.005)
    drawn = torch.nn.functional.gumbel_softmax(torch.zeros(20_000, 5), dim=1)
    assert plots.noise_entropy(5) == pytest.approx(-(drawn * drawn.clamp_min(1e-12).log2()).sum(1).mean().item(), abs=0.02)


def test_weight_on_the_object_is_chance_for_equal_weights_and_a_hit_or_miss_for_one_crop(run):
    assert plots.on_object(run, "mean") == pytest.approx(run.results["mean"][0].values["shown_by_chance"].mean())
    for name in ("argmax", "random", "full"):
        assert plots.on_object(run, name) == pytest.approx(run.results[name][0].values["shown"].mean())


def test_bars_of_choices_add_up(run):
    """All of the pictures, whatever the number of views; a row for each that has a head, the control last."""
    ax = plots.chosen(run).axes[0]
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == [run.table.row(name).label for name in ("proposal_smallest", "proposal", "six_views", "argmax", "noisy", "released",
                                                             "control_proposal")]
    assert sum(bar.get_width() for bar in ax.patches) == pytest.approx(100 * len(labels))


def test_cost_counts_every_parameter_once(run, plain):
    frame = plots.cost(run)
    assert frame.loc["Full image, shrunk (plain)", "ratio to full"] == "1.00" and "Control: proposal" not in frame.index
    for name in ("full", "proposal", "sampler", "any_crop"):
        parts = frame.loc[run.table.row(name).label].iloc[:2]
        assert sum(int(part.replace(",", "")) for part in parts) == run.results[name][0].record.summary["parameters"]
    assert frame.index[-1] == "The plain row's classifier alone" and len(plots.cost(plain)) == 2


def test_what_draws_nothing_gives_the_same_twice_and_noise_does_not(run):
    before = torch.random.get_rng_state()
    frame = plots.evaluated_twice(run, draws=3)
    assert torch.equal(before, torch.random.get_rng_state())
    changes = frame["predictions that change (%)"].astype(float)
    for name, times in (("proposal", 2), ("argmax", 2), ("noisy", 3), ("released", 3), ("random", 3)):
        line, label = frame.loc[run.table.row(name).label], run.table.row(name).label
        assert line["evaluations"] == times
        if times == 2:
            assert line["from, to"] == f"{line['recorded']} to {line['recorded']}" and changes[label] == 0
    assert changes[run.table.row("noisy").label] > 0 and changes[run.table.row("random").label] > 0
    assert frame.equals(plots.evaluated_twice(run, draws=3)), "seeded"


def test_published_values_stand_at_the_releases_sizes(run):
    ax = plots.sizes(run).axes[1]
    diamonds = {float(line.get_xdata()[0]): float(line.get_ydata()[0]) for line in ax.lines if line.get_marker() == "D"}
    assert diamonds == {0.0: 47.81, 1.0: 48.24}
    assert [label.get_text() for label in ax.get_xticklabels()] == ["16\n(32)", "24\n(64)", "40\n(128)", "64\n(224)"]
