"""Protects: Mr-CNN's table on the coursework's files: their crops, squares and split as they are, scored as everywhere; one line for bad ones."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lib import tables
from lib.__main__ import main
from lib.data import coursework as cw
from lib.data.coursework_miniature import write_miniature
from lib.data.mit1003 import MIT1003
from lib.data.patches import PatchStore
from lib.data.synthetic import mit1003 as twin
from lib.models.mrcnn import SQUARES, MrCNN
from lib.models.mrcnn_inference import patchwise, spatial_centres
from lib.runs.engine import Run, settings
from lib.training.coursework import CourseworkTask
from lib.training.mrcnn import PatchTask

SIZES = ((192, 256), (170, 256), (256, 192), (192, 192))  # (H, W), a quarter of MIT1003's


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> MIT1003:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(twin, "PICTURES", SIZES)
        return MIT1003(twin.write(tmp_path_factory.mktemp("twin") / "mit1003", images=8, workers=1))


@pytest.fixture(scope="module")
def files(data, tmp_path_factory) -> Path:
    """Crops of four photographs, two to validate on, two to test on."""
    return write_miniature(tmp_path_factory.mktemp("coursework") / "mini", data, images=8, held=2)


@pytest.fixture(scope="module")
def task(files) -> CourseworkTask:
    return CourseworkTask(files)


def changed(tmp_path: Path, files: Path, split: str, change) -> Path:
    """A copy of the files in which `change` has been applied to the entries of one."""
    root = shutil.copytree(files, tmp_path / f"with another {split}")
    torch.save(change(torch.load(root / cw.FILES[split], weights_only=True)), root / cw.FILES[split])
    return root


def one_line(kind: type[Exception], root: Path) -> str:
    with pytest.raises(kind) as error:
        CourseworkTask(root)
    assert "\n" not in str(error.value)
    return str(error.value)


# ---- what is learned from


def test_crops_are_the_files_with_their_border_repeated(task, files):
    X, y = cw.read_train(files / cw.FILES["train"]).batch(range(120))
    (batch,) = task.batches("train", 500)
    assert batch["index"].tolist() == list(range(120)) and torch.equal(batch["label"], y.float())
    for scale, side in enumerate(SQUARES):
        view, file = batch[f"view_{side}"], cw.denormalised(X[:, scale])
        assert view.shape == (120, 3, 48, 48) and torch.equal(view[..., 3:-3, 3:-3], file)
        for offset in (0, 1, 2):
            assert torch.equal(view[..., offset, 3:-3], file[..., 0, :]) and torch.equal(view[..., 3:-3, -1 - offset], file[..., :, -1])
    shuffled = next(task.batches("train", 16, torch.Generator().manual_seed(0)))
    assert sorted(shuffled["index"].tolist()) != list(range(16)) and torch.equal(shuffled["label"], y[shuffled["index"]].float())


def test_summary_and_caches(task, files, tmp_path):
    expected = {"images": 4, "crops": 120, "positive_share": pytest.approx(1 / 3), "grey_levels_off": 0.0}
    assert task.patch_summary == expected
    for _ in range(2):  # built, then found
        again = CourseworkTask(files, cache_dir=tmp_path)
        assert again.patch_summary == expected and again.fingerprints == task.fingerprints
        for split in ("train", "val", "test"):
            for ours, theirs in zip(again.batches(split, 64), task.batches(split, 64), strict=True):
                assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_constants_that_are_not_imagenets_show(files, tmp_path):
    root = changed(tmp_path, files, "val", lambda entries: [entry | {"X": 0.9 * entry["X"] + 0.01} for entry in entries])
    assert CourseworkTask(root).patch_summary["grey_levels_off"] > 0.4


@pytest.mark.parametrize("split, key", [("train", "X"), ("val", "X_400"), ("test", "X_150")])
def test_other_pixels_are_other_data(task, files, tmp_path, split, key):
    """The file's size stays, so a fingerprint of sizes would find the old crops in the cache, and the old row finished."""
    root = changed(tmp_path, files, split, lambda entries: [*entries[:-1], entries[-1] | {key: entries[-1][key] * 0.5}])
    assert (root / cw.FILES[split]).stat().st_size == (files / cw.FILES[split]).stat().st_size
    found = CourseworkTask(root).fingerprints
    assert {name for name in found if found[name] != task.fingerprints[name]} == {split}  # nor does the folder's name count


def test_other_maps_are_other_data(task, files, tmp_path):
    root = shutil.copytree(files, tmp_path / "mini")
    (root / "ALLFIXATIONMAPS" / f"{task.chosen['test'].data.name(0)}_fixPts.jpg").unlink()
    found = CourseworkTask(root).fingerprints
    assert {name for name in found if found[name] != task.fingerprints[name]} == {"test"}


# ---- what is scored


def test_squares_are_the_files_own(task, files, tmp_path):
    """Not the photograph, squashed again: whatever made them is what the training crops were cut from."""
    root = changed(tmp_path, files, "val", lambda entries: [entry | {"X_250": entry["X_250"].flip(-1)} for entry in entries])
    (plain,), (mirrored,) = task.batches("val", 8), CourseworkTask(root).batches("val", 8)
    assert torch.equal(plain["view_250"].flip(-1), mirrored["view_250"]) and torch.equal(plain["view_400"], mirrored["view_400"])
    for row, image in enumerate(cw.read_images(files / cw.FILES["val"])):
        assert all(torch.equal(plain[f"view_{side}"][row], cw.denormalised(image.squares[side])) for side in SQUARES)


def test_ground_truth_is_the_maps_beside_the_files(task, data):
    for batch in task.batches("test", 8):
        for row, position in enumerate(batch["index"].tolist()):
            index = 6 + position
            assert batch["density"][row].shape == data.size(index)
            assert (batch["density"][row].numpy() - data.density(index)).max() < 0.1  # saved as JPEG twice
            seen = torch.nonzero(batch["fixations"][row]).flip(1).tolist()
            assert sorted(seen) == sorted(data.fixations(index).tolist())
            assert batch["centre"][row].shape == data.size(index) and batch["others"][row].any()


def test_centre_bias_is_the_mean_of_the_validation_maps(task):
    (batch,) = task.batches("val", 8)
    expected = (batch["density"] / batch["density"].sum((1, 2), keepdim=True)).mean(0)
    torch.testing.assert_close(task.centre, expected / expected.sum(), rtol=1e-4, atol=1e-9)


def test_photographs_without_points(files, tmp_path):
    """They count for CC, SIM and KL; what needs points is NaN. Without any, validation goes by CC."""
    root = shutil.copytree(files, tmp_path / "mini")
    for name in [image.name for split in ("val", "test") for image in cw.read_images(root / cw.FILES[split])]:
        (root / "ALLFIXATIONMAPS" / f"{name}_fixPts.jpg").unlink()
    found = CourseworkTask(root)
    assert found.chosen["test"].data.fixations(0) is None
    logits = torch.randn(1, 1, 50, 50, generator=torch.Generator().manual_seed(0))
    values = found.values(logits, next(found.batches("test", 1)))
    assert values["nss"].isnan().all() and values["cc"].isfinite().all() and values["bristol"].isfinite().all()
    values = {name: value.numpy() for name, value in found.values(logits.expand(2, -1, -1, -1), next(found.batches("val", 2))).items()}
    assert found.validation_score(values) == pytest.approx(values["cc"].mean())


def test_figures_may_cut_crops_of_validation_photographs(task):
    """With the recipe that the files were cut by."""
    store = PatchStore(task.chosen["val"], sampling=task.sampling, seed=task.seed)
    assert len(store) == 60 and store.summary()["images_with_fewer"] == 0


def test_the_files_own_points_and_the_lattice_give_similar_maps(files):
    """`spatial_coords` are not the lattice's centres: within a cell of them. Correlations measured here: 0.978 and 0.980."""
    torch.manual_seed(0)
    model = MrCNN(widths=(8, 12, 16), hidden=24).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter, nonlinearity="relu")
    for image in cw.read_images(files / cw.FILES["test"]):
        squares = [cw.denormalised(image.squares[side]) for side in SQUARES]
        centres = [spatial_centres(image.spatial_coords, tuple(image.image.shape[-2:]), side) for side in SQUARES]
        points = torch.sigmoid(patchwise(model, squares, centres, batch=250)).view(50, 50)
        with torch.no_grad():
            dense = torch.sigmoid(model(*(square[None] for square in squares)))[0, 0]
        alike = [float(np.corrcoef(points.flatten(), other.flatten())[0, 1]) for other in (dense, dense.flip(0), dense.flip(1), dense.T)]
        assert alike[0] > 0.95 and max(alike[1:]) < 0.8  # the others: mirrored and transposed


# ---- splits and bad files


def test_no_photograph_is_in_two_splits(task, data):
    held = {"train": set(task.stores["train"].names)} | {s: {one.data.name(i) for i in range(len(one))} for s, one in task.chosen.items()}
    assert {split: len(names) for split, names in held.items()} == {"train": 4, "val": 2, "test": 2}
    assert set().union(*held.values()) == {data.name(i) for i in range(8)}


@pytest.mark.parametrize("first, second", [("train", "val"), ("train", "test"), ("val", "test")])
def test_a_photograph_in_two_files_is_refused(first, second, files, tmp_path):
    name = torch.load(files / cw.FILES[second], weights_only=True)[0]["file"]
    root = changed(tmp_path, files, first, lambda entries: [entries[0] | {"file": name}, *entries[1:]])
    said = one_line(ValueError, root)
    assert said.startswith(f"{root / cw.FILES[first]}: 1 of its photographs are in {cw.FILES[second]} too ({Path(name).stem})")


def test_bad_files_are_one_line(files, tmp_path):
    for split, change, said in (
            ("train", lambda entries: [entry | {"X": entry["X"].transpose(0, 1)} for entry in entries], "look like (channel, scale"),
            ("train", lambda entries: [entry | {"y": 1} for entry in entries], "all 120 crops have the label 1"),
            ("train", lambda entries: entries[0], "not the coursework's list of dicts"),
            ("val", lambda entries: [entry | {"X_150": entry["X_250"]} for entry in entries], "entry 0"),
            ("test", lambda entries: [entry | {"y": 1} for entry in entries], "y is 1, expected -1")):
        root = changed(tmp_path / f"{split}-{len(said)}", files, split, change)
        assert said in one_line(ValueError, root) and cw.FILES[split] in one_line(ValueError, root)


def test_absent_files_are_one_line_before_anything_is_trained(files, tmp_path, capsys):
    """A map of a test photograph is not read until the end of the training; it is asked for at the beginning."""
    for number, absent in enumerate((*cw.FILES.values(), "ALLFIXATIONMAPS", "map")):
        root = shutil.copytree(files, tmp_path / f"{number}")
        path = root / absent
        if absent == "map":
            path = root / "ALLFIXATIONMAPS" / f"{cw.read_images(root / cw.FILES['test'])[1].name}_fixMap.jpg"
        path.rename(tmp_path / f"away-{number}")
        assert str(path) in one_line(FileNotFoundError, root)
    words = ["table", "mrcnn", "--preset", "smoke", "--dataset", "coursework", "--results", str(tmp_path / "results")]
    assert main([*words, "--data", str(tmp_path / "nowhere")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "train_data.pth.tar: missing; see data/coursework.md" in said
    assert main(words) == 2 and "needs data_dir" in capsys.readouterr().err


# ---- the table


def test_the_tables_rows_train_on_the_files(files, tmp_path, capsys):
    """Every row that needs no twin's truth; finished once they are, and status agrees, which opens no data."""
    table = tables.get("mrcnn")
    chosen = settings(table, preset="smoke", dataset="coursework", data_dir=files, device="cpu", results_dir=tmp_path)
    run = Run(table, chosen).run()
    assert list(run.results) == [row.name for row in table.rows_of("smoke", "coursework")]
    opened = run.opened()
    assert type(opened.task) is CourseworkTask and isinstance(opened.task, PatchTask) and "'crops': 120" in opened.notes[0]
    for name, (result,) in run.results.items():
        record, scores = result.record, np.array([result.record.summary[column.metric] for column in table.columns])
        assert (record.dataset, record.is_twin, record.n, record.unit) == ("coursework", True, 2, "images")
        assert np.isfinite(scores).all() and len(record.history) == table.row(name).trained  # epochs
    assert run.results["truth"][0].record.summary["cc"] == pytest.approx(1)
    assert not any(result.computed for results in Run(table, chosen).run().results.values() for result in results)
    capsys.readouterr()
    assert main(["status", "mrcnn", "--preset", "smoke", "--dataset", "coursework", "--data", str(files), "--device", "cpu",
                 "--results", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert f"{len(run.results)} done, 0 stale, 0 missing" in said
