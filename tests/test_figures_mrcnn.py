"""The figures of notebook 06: each is drawn without a warning from whichever rows have been run, and shows what was scored."""

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from torch import nn

from lib.data.patches import PatchStore, Sampling
from lib.figures import mrcnn, saliency
from lib.figures import mrcnn_numbers as plots
from lib.metrics import saliency as metrics
from lib.models.mrcnn_inference import ScrambledAxes
from lib.runs.engine import Run

ROWS = ("uniform", "centre_bias", "one_400", "three", "improved", "scrambled", "truth")


pytestmark = pytest.mark.usefixtures("drawn_without_warnings")


@pytest.fixture(scope="module")
def run(smoke, results_dir) -> Run:
    return smoke("mrcnn", results_dir, ROWS)


@pytest.fixture(scope="module")
def without_networks(smoke, run, results_dir) -> Run:
    return smoke("mrcnn", results_dir, ("uniform", "centre_bias", "truth"))


@pytest.fixture(scope="module")
def without_points(smoke, tmp_path_factory, real_data) -> Run:
    """Some of MIT1003 as it often is: maps, and no fixation points; photographs of many shapes."""
    root = tmp_path_factory.mktemp("mit1003")
    for folder in ("ALLSTIMULI", "ALLFIXATIONMAPS"):
        (root / folder).mkdir()
        for path in sorted((real_data / "mit1003" / folder).iterdir())[:20]:
            (root / folder / path.name).symlink_to(path.resolve())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return smoke("mrcnn", root / "results", ("uniform", "one_150", "truth"), dataset="mit1003", data_dir=root)


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
    (mrcnn.views, {}, 1 + 3 + 3 * 4), (mrcnn.positives, {}, 2 * 2 + 1), (mrcnn.positives, {"count": 1}, 2 + 1), (mrcnn.stream_inputs, {}, 6),
    (mrcnn.axes_swapped, {"count": 2}, 2 * 5 + 2), (mrcnn.blurs, {}, 3 * 5), (plots.learning, {}, 3),
    (plots.agreement, {}, 3), (saliency.scores, {"columns": ("NSS", "CC")}, 2)])
def test_every_figure_says_that_a_twin_is_one(run, draw, options, axes):
    texts = check(draw(run, **options), axes)
    assert any(text.startswith("SYNTHETIC TWIN: drawn scenes") for text in texts)


def test_maps_shown_are_the_maps_scored(run):
    """A network on one photograph gives the map that was scored in a batch, also with its axes swapped; so does one that no network made."""
    full, chosen = run.opened().task.full, saliency.spread(run, 2)
    for name in ("three", "scrambled", "improved", "centre_bias"):
        for position, found in zip(chosen, mrcnn.predictions(run, name, chosen), strict=True):
            assert found.shape == full.sizes[position]
            value = metrics.nss(found, full.counts(position)).item()
            assert value == pytest.approx(saliency.values_of(run, name)[position], rel=1e-3, abs=1e-3)


def test_positives_are_what_the_recipe_cuts(run):
    """Positions and regions are those of a store of crops made from the same photographs."""
    task = run.opened().task
    store, counted = PatchStore(task.chosen["test"], sampling=Sampling()), mrcnn.regions(run)
    np.testing.assert_array_equal(counted["above 0.9"], store.regions)
    shown = np.concatenate(mrcnn.drawn(run, 1))
    np.testing.assert_array_equal(shown, store.positions[store.image_of_patch == 1])
    assert counted["top twentieth"].mean() > counted["above 0.9"].mean()


class Recorder(nn.Module):
    """In the place of a Mr-CNN: keeps what each stream is given."""

    squares, inputs, normalized = (400, 250, 150), (), nn.Identity()

    def patch_logits(self, views):
        self.seen = [view[0] for view in views]
        return torch.zeros(len(views[0]))


def test_swapped_inputs_are_those_of_the_row(run):
    """The crops drawn for the release's test time are what `ScrambledAxes` hands to each stream; swapping twice changes nothing."""
    numbers = 10 * np.arange(3)[:, None] + np.arange(3)  # (scale, channel)
    crops = np.broadcast_to(numbers[..., None, None], (3, 3, 48, 48)).astype(np.uint8)
    squares = [torch.from_numpy(crops[i, :, :1, :1].copy()).float().expand(3, side, side)[None] for i, side in enumerate((400, 250, 150))]
    model = Recorder()
    ScrambledAxes(model, step=49)(*squares)
    np.testing.assert_array_equal(torch.stack(model.seen).numpy(), mrcnn.swapped(crops))
    np.testing.assert_array_equal(mrcnn.swapped(mrcnn.swapped(crops)), crops)
    assert not np.array_equal(mrcnn.swapped(crops), crops)


def test_the_releases_filter_is_no_blur_and_ours_is_one(run):
    """Its faults as the notebook tells them: constant along y, a gain far from 1. And the learned one begins at the release's sigmas."""
    for side, gain in ((400, 11.4), (250, 9.8), (150, 5.0)):
        kernel = mrcnn.released_kernel(side)
        assert kernel.sum() == pytest.approx(gain, abs=0.05)
        assert (kernel == kernel[0]).all() and not np.allclose(kernel, kernel.T)
    assert [first for _, first, _ in mrcnn.sigmas(run)] == [0.75, 1.125, 1.0]
    assert [last for *_, last in mrcnn.sigmas(run)] == pytest.approx([0.75, 1.125, 1.0], abs=0.05)  # one epoch has hardly moved them


def test_cases_are_the_greatest_and_the_least_values(run):
    values, own = saliency.values_of(run, "three"), saliency.values_of(run, "truth")
    texts = check(mrcnn.cases(run), 16)
    for position in (values.argmax(), *np.argsort(values)[:2]):
        assert f"NSS {values[position]:.2f}" in texts and f"NSS {own[position]:.2f}" in texts
    assert any(text.startswith("SYNTHETIC TWIN") for text in texts)
    assert texts.count("good") == 1 and texts.count("bad") == 2


def test_missing_rows_are_a_note(run, without_networks):
    assert is_note(mrcnn.axes_swapped(without_networks), "three") and is_note(mrcnn.blurs(without_networks), "improved")
    assert is_note(mrcnn.cases(without_networks), "three") and is_note(plots.learning(without_networks), "trained")
    assert plots.dense_against_patches(without_networks).empty
    check(plots.agreement(without_networks), 3)


# ------------------------------------------------------------------------------------------------------------- numbers


def test_flags_are_those_of_the_release():
    """Each option of its two scripts, as its parser has them, with the ones that do not do what they say marked."""
    frame, said = plots.flags(), "what it does there"
    train = ("data_dir out_dir epochs num_gpus use_val batch_size learning_rate start_momentum end_momentum lr_weight_decay "
             "conv1_weight_constraint using_windows improvements early_stopping_patience")
    for script, options in (("train.py", train), ("eval.py", "data_dir out_dir model_path improvements num_saved_images")):
        listed = " ".join(frame.loc[script].index)
        assert all(f"--{option}" in listed for option in options.split())
    assert frame.index.is_unique and (frame["here"] != "").all()
    odd = "num_gpus use_val lr_weight_decay conv1_weight_constraint improvements early_stopping_patience"
    assert {option for _, option in frame.index[frame[said].str.match("NOT|OPPOSITE")]} == {f"--{option}" for option in odd.split()}


class Constant(nn.Module):
    inputs = ("view_400",)

    def forward(self, view: torch.Tensor) -> torch.Tensor:
        return torch.full((len(view),), -1.0)


def test_crop_losses_have_a_closed_form_for_a_network_that_always_says_the_same(run, monkeypatch):
    monkeypatch.setattr(run, "network", lambda name: Constant())
    line = plots.crop_losses(run).loc["three"]
    for split in ("training", "validation"):
        share = 1 - line[f"{split}, right"]  # it always says no
        assert share == pytest.approx(1 / 3, abs=0.02)
        assert line[split] == pytest.approx(np.log1p(np.exp(-1)) + share, rel=1e-5)


def test_agreement_of_sharpened_maps_begins_with_the_scored_one_while_their_auc_stays(run):
    positions, found = saliency.spread(run, plots.SHARPENED), plots.sharpened(run, "centre_bias")
    scored = run.results["centre_bias"][0].values["bristol"][positions]
    np.testing.assert_allclose(found[plots.POWERS.index(1)], scored, atol=0.005)  # every fourth pixel
    assert (np.diff(found.mean(1)) > 0).all()
    saliency_map, counts = mrcnn.predictions(run, "centre_bias", positions[:1])[0].astype(np.float64), run.opened().task.full.counts(positions[0])
    assert metrics.auc(saliency_map**4, counts).item() == pytest.approx(metrics.auc(saliency_map, counts).item(), abs=1e-6)


def test_dense_maps_are_those_of_single_patches(run):
    assert float(plots.dense_against_patches(run)["largest difference"].iloc[0]) < 1e-5


# ----------------------------------------------------------------------------------------------------------- real data


def test_photographs_of_many_shapes_without_fixation_points(without_points):
    run = without_points
    assert any("no fixation points" in text for text in check(mrcnn.views(run), 16))
    texts = check(mrcnn.cases(run, judge="one_150"), 3 * 2 + 1)
    assert "photograph" in texts and "CC 1.000" in texts and not any(text.startswith("NSS") for text in texts)
    assert any(text.startswith("validation CC") for text in check(plots.learning(run), 3))
    assert "CC, better →" in check(plots.agreement(run), 2)
    assert not any(text == "NSS" for text in check(saliency.scores(run, columns=("NSS", "CC")), 1))
