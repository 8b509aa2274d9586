"""The figures of notebook 05: each is drawn without a warning from whichever rows have been run, and shows what was scored."""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from lib.figures import saliency
from lib.metrics import saliency as metrics
from lib.models.emlnet import RELEASED_FLAGS
from lib.runs.engine import Run
from lib.training.saliency_losses import emlnet_loss_parts

ROWS = ("centre_bias", "mse", "encoder_a", "truth")


pytestmark = pytest.mark.usefixtures("drawn_without_warnings")


@pytest.fixture(scope="module")
def run(smoke, results_dir) -> Run:
    return smoke("salicon", results_dir, ROWS)


@pytest.fixture(scope="module")
def without_networks(smoke, run, results_dir) -> Run:
    return smoke("salicon", results_dir, ("centre_bias", "truth"))


@pytest.fixture(scope="module")
def without_points(smoke, tmp_path_factory, real_data) -> Run:
    """MIT1003 as it often is: maps, and no fixation points; photographs of many shapes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return smoke("salicon", tmp_path_factory.mktemp("mit1003"), ("uniform", "encoder_a"), dataset="mit1003", data_dir=real_data / "mit1003")


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


@pytest.mark.parametrize("name, options, axes", [
    ("examples", {}, 4 * 4 + 1), ("examples", {"count": 2}, 4 * 2 + 1), ("columns", {}, 4 * 4 + 1), ("columns", {"count": 1}, 4 + 1),
    ("differences", {"name": "encoder_a"}, 4 * 5 + 3), ("differences", {"name": "centre_bias"}, 4 * 5 + 3),
    ("extremes", {"name": "mse"}, 3 * 6 + 1), ("losses", {}, 5), ("scores", {}, 8)])
def test_every_figure_says_that_a_twin_is_one(run, name, options, axes):
    texts = check(getattr(saliency, name)(run, **options), axes)
    assert any(text.startswith("SYNTHETIC TWIN: drawn scenes") for text in texts)


def test_maps_shown_are_the_maps_scored(run):
    """A network on one photograph gives the map that was scored in a batch; so does a map that no network made."""
    full, chosen = run.opened().task.full, saliency.spread(run, 3)
    for name in run.results:
        for position, found in zip(chosen, saliency.predictions(run, name, chosen), strict=True):
            assert found.shape == full.sizes[position]
            value = metrics.nss(found, full.counts(position)).item()
            assert value == pytest.approx(saliency.values_of(run, name)[position], rel=1e-4, abs=1e-4)


def test_extremes_are_the_least_and_greatest_values(run):
    values = saliency.values_of(run, "mse")
    texts = check(saliency.extremes(run, "mse", count=1), 3 * 2 + 1)
    own = saliency.values_of(run, "truth")
    for what, position in (("worst", values.argmin()), ("best", values.argmax())):
        assert f"{what}: NSS {values[position]:.2f}\nown map {own[position]:.2f}" in texts


def test_columns_are_those_of_the_rows_that_have_been_run(run, without_networks):
    texts = check(saliency.columns(run), 17)
    assert {"photograph", "ground truth", "encoder A", "encoder A, MSE"} <= set(texts)
    assert "combined" not in texts and "encoder B" not in texts
    assert is_note(saliency.columns(without_networks), "decoder, encoder_a, encoder_b, mse")


def test_a_missing_row_is_a_note(run, without_networks):
    for figure in (saliency.differences, saliency.extremes):
        assert is_note(figure(run), "decoder")
    assert is_note(saliency.losses(without_networks), "combined loss")
    assert saliency.png_steps(run).empty
    check(saliency.scores(without_networks), 8)


def test_the_readmes_photographs_come_first(run, monkeypatch):
    chosen = run.opened().task.chosen["test"]
    names = [chosen.data.name(chosen.at(i)) for i in range(len(chosen))]
    assert len(set(saliency.spread(run, 4))) == 4 and saliency.spread(run, 99) == sorted(saliency.spread(run, 99))
    monkeypatch.setattr(saliency, "SHOWN_IN_README", (names[7], "COCO_val2014_of_another_data_set", names[2]))
    assert saliency.spread(run, 4)[:2] == [7, 2] and len(saliency.spread(run, 4)) == 4


def test_differences_are_zero_for_the_truth_and_blind_to_scale_or_offset():
    found = np.random.default_rng(0).random((6, 8)).astype(np.float32)
    np.testing.assert_allclose(saliency.in_uniform(5 * found), saliency.in_uniform(found), rtol=1e-5)
    np.testing.assert_allclose(saliency.z_scores(5 * found + 3), saliency.z_scores(found), atol=1e-4)
    assert saliency.in_uniform(found).mean() == pytest.approx(1)
    assert not saliency.z_scores(np.full((6, 8), 0.3, np.float32)).round(6).any()


# ------------------------------------------------------------------------------------------------------------- numbers


def test_the_constant_is_what_the_loss_subtracts_from(run):
    """A map that knows nothing pays exactly the constant, on average over the images."""
    truth = run.opened().task.truth["train"]
    everything = np.arange(len(truth.chosen))
    nothing = torch.full((len(everything), *truth.size), 0.5)
    part = emlnet_loss_parts(nothing, truth.density(everything), truth.fixations(everything))["nss"].item()
    assert saliency.nss_constant(run) == pytest.approx(part, rel=1e-3)  # the loss has N - 1 in its deviation


def test_networks_tell_the_effective_learning_rate(run):
    frame = saliency.networks(run)
    assert list(frame.index) == list(ROWS)
    for name in ("mse", "encoder_a"):
        assert frame.loc[name, "learning rate"] == f"{run.recipe(run.table.row(name)).lr:g}"
    assert frame.loc["mse", "loss"] == "MSE" and "KL" in frame.loc["encoder_a", "loss"]
    assert frame.loc["encoder_a", "trained"] == frame.loc["encoder_a", "parameters"] == "302,183"
    assert frame.loc["truth", "trained"] == "–"


def test_flags_are_those_of_the_release():
    frame = saliency.flags()
    assert len(frame) == len(RELEASED_FLAGS) and frame.index.is_unique
    assert "0.01" in frame.loc[("train_resnet.py", "--lr"), "here"]


def test_cutting_bits_off_costs_more_than_rounding_and_stretching_nothing_where_there_is_no_floor(run):
    steps = saliency.png_steps(run, "encoder_a").astype(float)
    exact = steps.loc["true density, blurred"]
    assert exact["8 bits, cut off"] > exact["8 bits, rounded"] > exact["as it is"]
    assert exact["stretched"] == pytest.approx(exact["as it is"], abs=0.01)


# ----------------------------------------------------------------------------------------------------------- real data


def test_photographs_of_many_shapes_without_fixation_points(without_points):
    run = without_points
    assert saliency.judged_by(run).name == "CC"
    assert any("no fixation points" in text for text in check(saliency.examples(run), 4 * 2 + 1))
    assert "fixations" not in check(saliency.differences(run, "encoder_a"), 4 * 5 + 3)
    assert any(text.startswith("worst: CC") for text in check(saliency.extremes(run, "encoder_a"), 3 * 6 + 1))
    assert "NSS part" not in check(saliency.losses(run), 4)
    assert not any(text == "NSS" for text in check(saliency.scores(run), 3))
