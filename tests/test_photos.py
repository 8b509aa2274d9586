"""Preset photos: rows on pretrained lite0, what is measured on photographs, and bounds by other observers."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from lib import tables
from lib.data.canvas import Square
from lib.data.imagenette import IMAGENET, WNIDS
from lib.data.mit1003 import MIT1003
from lib.data.observers import human_ceiling
from lib.data.salicon import SALICON
from lib.data.saliency_store import Selection
from lib.data.splits import read_split
from lib.data.synthetic import cub200 as birds
from lib.data.synthetic import salicon as scenes
from lib.metrics import saliency as metrics
from lib.models import zoomed
from lib.models.saliency_baselines import AT_FIXATIONS, CENTRE_SHARE, OtherObservers
from lib.runs import keys
from lib.runs.engine import Run, settings
from lib.tables import cub200, inaturalist
from lib.tables.saliency import LISTED, unpublished_split
from lib.training import proposal
from lib.training.gaze import box_magnification
from lib.training.loop import evaluate, make_optimiser
from lib.training.saliency import SaliencyTask

TABLE = tables.get("cub200")
PHOTOS = cub200.PRESETS["photos"]
TINY = dataclasses.replace(PHOTOS, task_size=32, view_size=32, canvas=Square(64, "squash"), test_canvas=Square(64, "squash"), outputs=16,
                           classes="all", twin="smoke", recipe=dataclasses.replace(PHOTOS.recipe, epochs=0))


# --- Table 4 ------------------------------------------------------------------------------------------------------------


def test_the_preset_has_tables_2s_rivals_and_both_oracles():
    names = {row.name for row in TABLE.rows_of("photos", "cub200")}
    assert names == {"plain", "same_cost", "sampler", "stn_affine", "stn_tps", "grid_estimator", "cam", "oracle", "oracle_head", "look_again"}
    demo = {row.name for row in TABLE.rows_of("demo", "twin")}
    assert demo == {"plain", "cam", "sampler", "oracle", "look_again", "control_plain", "control_sampler"}
    recipes = {repr(row.recipe_of(PHOTOS)) for row in TABLE.rows_of("photos", "cub200") if row.trained}
    assert len(recipes) == 1, "the same recipe for all"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Untrained rows of the preset, small, on the twin of CUB, which knows its birds' parts."""
    folder = tmp_path_factory.mktemp("photos")
    root = birds.write(folder / "twin", train=80, test=16, side=64, workers=1)
    table = dataclasses.replace(TABLE, presets={"photos": TINY})
    chosen = settings(table, preset="photos", dataset="cub200", data_dir=root, device="cpu", results_dir=folder)
    return Run(table, chosen).collect()


def test_every_row_is_made_of_lite0_and_gives_an_answer(run):
    assert set(run.results) == {row.name for row in TABLE.rows_of("photos", "cub200")}
    for name, (result,) in run.results.items():
        assert result.values["top1"].shape == (16,) and np.isfinite(result.values["confidence"]).all(), name


def test_rivals_begin_at_the_identity(run):
    for name in ("plain", "same_cost", "stn_affine", "stn_tps", "grid_estimator"):
        assert np.nanmean(run.results[name][0].values["box_magnification"]) == pytest.approx(1, abs=0.05), name


def test_the_sampler_begins_where_something_stands_out():
    """Untrained, at the preset's view: a textured square before a smooth wall is enlarged, wherever it is."""
    sampler = TABLE.row("sampler").build(dataclasses.replace(PHOTOS, task_size=32)).sampler.eval()
    image, boxes = torch.full((2, 3, 224, 224), 0.6), torch.tensor([[20.0, 30, 60, 60], [140.0, 120, 60, 60]])
    for picture, (x, y, w, h) in zip(image, boxes.int().tolist(), strict=True):
        picture[:, y:y + h, x:x + w] = torch.rand(3, h, w, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert (box_magnification(sampler(image).grid, boxes[:, None], (224, 224)) > 1.3).all()


def test_the_oracle_at_the_head_enlarges_the_head_most(run):
    head = {name: np.nanmean(run.results[name][0].values["head_magnification"]) for name in ("oracle", "oracle_head")}
    box = {name: np.nanmean(run.results[name][0].values["box_magnification"]) for name in ("oracle", "oracle_head")}
    assert head["oracle_head"] > 1.15 * head["oracle"] and box["oracle"] > box["oracle_head"]


def test_magnification_stands_in_the_table_of_this_preset_alone(run):
    assert "| head (×)" in run.filled.markdown() and [column.name for column in TABLE.columns_of("photos")] == ["top-1", "top-5", "head", "box"]
    assert [column.name for column in TABLE.columns_of("demo")] == ["top-1", "top-5"]


def test_what_is_real_and_partly_known_stands_with_the_numbers(run):
    real = dataclasses.replace(run.filled, group=run.filled.group._replace(is_twin=False))
    assert TABLE.caveats["photos"] in real.about and TABLE.caveats["photos"] not in run.filled.about


def test_figures_show_an_oracle_by_its_own_annotation(run, drawn_without_warnings):
    from lib.figures import recognition

    looked = [recognition.sampled(run, name, [0])[0].saliency for name in ("oracle", "oracle_head")]
    assert not torch.equal(*looked)


def test_an_option_of_the_data_that_is_at_its_default_is_in_no_key():
    """So presets that read all classes keep their results."""
    assert "classes" not in keys.preparation(TABLE, cub200.PRESETS["demo"], test=False)
    assert keys.preparation(TABLE, PHOTOS, test=False)["classes"] == list(cub200.BIRDS)
    assert "classes" not in keys.preparation(inaturalist.TABLE, inaturalist.PRESETS["paper"], test=False)


def test_a_contrast_is_what_differs_from_the_rest():
    """Any map plus a constant has the same contrast; a flat one has none; one odd cell has the largest."""
    trunk = zoomed.Contrast(nn.Identity())
    maps = torch.zeros(1, 2, 5, 7)
    maps[0, 1, 3, 4] = -2
    assert not trunk(torch.full((1, 2, 5, 7), 3.0)).any()
    assert torch.allclose(trunk(maps), trunk(maps + 9), atol=1e-5) and trunk(maps)[0, 1].argmax() == 3 * 7 + 4


@pytest.mark.slow
def test_ten_real_species_are_read_and_said(real_data):
    found = PHOTOS
    data = {split: cub200.CUB200(real_data / "cub200", split, classes=found.classes) for split in ("train", "val", "test")}
    assert [len(one) for one in data.values()] == [270, 30, 292] and len(data["test"].classes) == found.outputs == 10
    assert data["test"].notes["classes"].startswith("10 of 200")


# --- region proposal ----------------------------------------------------------------------------------------------------


def test_imagenettes_classes_are_where_imagenet_has_them():
    names = pytest.importorskip("timm.data").ImageNetInfo().label_names()
    assert tuple(names.index(wnid) for wnid in WNIDS) == IMAGENET


class Reddest(nn.Module):
    """A judge in whose eyes class 217 is the more probable the redder the picture is."""

    def forward(self, images):
        scores = torch.zeros(len(images), 1000)
        scores[:, IMAGENET[1]] = 50 * images[:, 0].mean((1, 2))
        return scores


def red_at(crop: int, side: int = 60, size: int = 40) -> torch.Tensor:
    """A dark picture (3, side, side) with red in that crop alone, where no other reaches."""
    from lib.models.proposal import crop_boxes

    x, y, w, h = crop_boxes((side, side), size)[crop].tolist()
    picture = torch.zeros(3, side, side, dtype=torch.uint8)
    at = {0: (y, x), 1: (y, x + w - 6), 2: (y + h - 6, x), 3: (y + h - 6, x + w - 6)}[crop]
    picture[0, at[0]:at[0] + 6, at[1]:at[1] + 6] = 255
    return picture


def test_the_judge_takes_the_crop_where_the_right_class_is_most_probable():
    images = torch.stack([red_at(crop) for crop in range(4)])
    assert proposal.surest_crop(Reddest(), images, torch.ones(4, dtype=torch.int64), 40).tolist() == [0, 1, 2, 3]


def test_a_choice_is_held_against_the_judge_and_against_chance():
    """One in five; the whole image is none of the five; where all weigh alike nothing was chosen."""
    from lib.models.proposal import Proposal

    task = object.__new__(proposal.ProposalTask)
    weights = torch.tensor([[0.1, 0.6, 0.1, 0.1, 0.1], [0.1, 0.6, 0.1, 0.1, 0.1], [0.2] * 5])
    batch = {"judged": torch.tensor([1, 2, 0])}
    found = task.more_values(batch, Proposal(weights, None, torch.zeros(3, 3, 4, 4), torch.zeros(5, 4)))
    assert found["surest"].tolist()[:2] == [1, 0] and found["surest"][2].isnan()
    assert found["surest_by_chance"][:2].tolist() == pytest.approx([0.2, 0.2])
    whole = torch.tensor([[0.0, 0, 0, 0, 0, 1]])
    assert task.more_values({"judged": torch.tensor([1])}, Proposal(whole, None, torch.zeros(1, 3, 4, 4), torch.zeros(6, 4)))["surest"].isnan().all()


def test_region_proposal_says_what_its_judge_has_seen():
    table = tables.get("proposal")
    assert all("has seen nearly all" in table.caveats[name] and table.presets[name].test_judge == "lite0" for name in ("photos", "photos-resnet18"))
    assert not table.presets["demo"].test_judge


# --- saliency -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def looked(tmp_path_factory):
    root = scenes.write(tmp_path_factory.mktemp("scenes") / "twin", **scenes.SIZES["smoke"], workers=1)
    train, test = SALICON(root, "train"), SALICON(root, "val")
    chosen = {"train": Selection(train, range(3)), "val": Selection(train, [3, 4]), "test": Selection(test, range(2))}
    return SaliencyTask(chosen, (24, 32))


def test_other_observers_score_as_the_ceiling_of_the_data(looked):
    """Per picture the mean over observers left out, by another way to the same numbers; no value where one observer has no map."""
    model = OtherObservers()
    model.prepare(looked)
    found = evaluate(model, looked, "test", device=torch.device("cpu"))
    test = looked.chosen["test"]
    wanted = human_ceiling(test.data, [0], {"nss": metrics.nss, "auc": metrics.auc, "auc_judd": metrics.auc_judd})
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name][:1], values, rtol=1e-5)
    assert set(found) == {"index", *AT_FIXATIONS} and (found["ig"] > 0).all() and 0 < CENTRE_SHARE < 1


def test_the_published_list_splits_mit1003_and_nothing_else(looked):
    assert set(unpublished_split(looked.chosen["test"].data, LISTED.stem)) == {"train", "val", "test"}, "another data set: a fifth of its order"
    with pytest.raises(ValueError, match="mit1003-400"):
        unpublished_split(looked.chosen["test"].data, "mit1003")


@pytest.mark.slow
def test_mit1003s_photographs_with_scanpaths_are_split_as_published(real_data):
    data = MIT1003(real_data / "mit1003_400")
    found = unpublished_split(data, LISTED.stem)
    assert {part: len(indices) for part, indices in found.items()} == {"train": 280, "val": 40, "test": 80}
    assert all(np.array_equal(found[part], indices) for part, indices in read_split(LISTED, data).items())
    with pytest.raises(ValueError, match="is not in"):
        unpublished_split(MIT1003(real_data / "mit1003"), LISTED.stem)


def test_readouts_learn_ten_times_as_fast_as_the_trunk():
    table = tables.get("salicon")
    row, preset = table.row("encoder_a"), table.presets["photos"]
    model, recipe = row.build(preset), row.recipe_of(preset)
    factors = {group["factor"]: {id(parameter) for parameter in group["params"]} for group in make_optimiser(model, recipe).param_groups}
    readouts = {id(parameter) for part in (model.readout_layers, model.combined) for parameter in part.parameters()}
    assert factors[10.0] == readouts and set(factors) == {1.0, 10.0}
    assert type(table.row("small").build(preset)).__name__ == "SmallEncoder"


def test_all_eight_metrics_stand_in_both_tables_of_photographs():
    eight = {"nss", "cc", "auc_judd", "auc", "auc_shuffled", "sim", "kl", "ig"}
    for name in ("salicon", "mrcnn"):
        assert eight <= {column.metric for column in tables.get(name).columns_of("photos")}
        assert "observers" in {row.name for row in tables.get(name).rows_of("photos", "mit1003")}


# --- new weights of predict ---------------------------------------------------------------------------------------------


def test_joined_data_sets_keep_their_photographs_apart(looked):
    from lib.finetune import Joined, joined

    train, test = looked.chosen["train"].data, looked.chosen["test"].data
    both = Joined([train, test])
    assert len(both) == len(train) + len(test) and both.path(len(train)) == test.path(0) and both.path(len(train) - 1) == train.path(len(train) - 1)
    assert np.array_equal(both.fixations(len(train) + 1), test.fixations(1))
    split = {"train": np.array([0]), "val": np.array([1]), "test": np.array([2])}
    chosen = joined({"a": (train, split), "b": (test, split)})
    assert [one.indices.tolist() for one in chosen.values()] == [[i, len(train) + i] for i in range(3)]
    assert both.fingerprint != Joined([test, train]).fingerprint


def test_fine_tuned_weights_come_with_a_card_and_predict_takes_them(looked, tmp_path, monkeypatch, capsys):
    """With the smoke preset's small encoder: half the bytes, scores of both data sets, and the default of `predict emlnet` where they lie."""
    from lib import finetune, predict
    from lib.models.emlnet_weights import load_emlnet

    split = {"train": np.arange(4), "val": np.array([4]), "test": np.array([5])}
    parts = {name: (looked.chosen["train"].data, split) for name in ("osie", "mit1003")}
    path = finetune.finetune(parts, tmp_path / "emlnet-lite0.safetensors", preset="smoke", progress=lambda *words: None)
    told = path.with_suffix(".md").read_text()
    assert "| osie (1) |" in told and "| mit1003 (1) |" in told and "Licence" in told and "4 train, 1 val, 1 test" in told
    assert not path.with_suffix(".ckpt").exists() and path.stat().st_size < 0.6 * 302_183 * 4
    monkeypatch.setattr(predict, "LITE0", path)
    assert predict._trained_here("emlnet", "") == path and "640 photographs" in capsys.readouterr().err
    assert predict.saliency_map(load_emlnet([path]), np.zeros((48, 64, 3), np.uint8)).shape == (48, 64)


def test_the_committed_weights_predict_where_people_looked(real_data):
    """The default of `predict emlnet` on twelve of MIT1003's test photographs; its card has NSS 2.2 for all eighty."""
    pytest.importorskip("timm")
    from lib import finetune, predict
    from lib.data.mit1003 import MIT1003
    from lib.data.splits import read_split

    data = MIT1003(real_data / "mit1003_400", points="scanpaths")
    test = read_split(finetune.LISTS["mit1003"], data, complete=False)["test"][::7]
    scores = finetune.scored(predict.LITE0, data, {"train": test[:1], "val": test[:1], "test": test}, (192, 256), None)
    assert len(test) == 12 and scores["nss"].mean() > 1.7 and scores["auc_judd"].mean() > 0.8


def test_weights_that_are_too_large_are_not_written(tmp_path):
    from lib.finetune import save_halved

    with pytest.raises(ValueError, match="12 MB"):
        save_halved(tmp_path / "large.safetensors", nn.Linear(4000, 2000), header={})
    assert not (tmp_path / "large.safetensors").exists()
