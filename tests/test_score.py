"""Protects: anybody's maps are found, scored like `lib.metrics` scores them, and what is wrong with them is told in one line."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from lib import predict
from lib.__main__ import main
from lib.data.salicon import SALICON
from lib.data.synthetic import salicon
from lib.metrics import saliency as metrics
from lib.training.progress import Progress

COUNT = 4


@pytest.fixture(scope="module")
def twin(tmp_path_factory) -> Path:
    return salicon.write(tmp_path_factory.mktemp("score") / "twin", train=0, val=COUNT, test=0, observers=12, workers=1)


@pytest.fixture
def maps(twin, tmp_path) -> Path:
    """The published maps themselves, as somebody's predictions."""
    return Path(shutil.copytree(twin / "maps" / "val", tmp_path / "maps"))


@pytest.fixture(autouse=True)
def no_bars(monkeypatch):
    """So that standard error holds nothing but errors."""
    monkeypatch.setattr(Progress, "_draw", lambda *_: None)


def score(twin: Path, maps: Path, tmp_path: Path, capsys, *words: str) -> tuple[str, pd.DataFrame]:
    """What the command prints, and the CSV that it writes."""
    out = tmp_path / "scores.csv"
    assert main(["score", "salicon", str(maps), "--data", str(twin), "--out", str(out), *words]) == 0
    return capsys.readouterr().out, pd.read_csv(out)


def refused(capsys, *words: str) -> str:
    """The one line on standard error of a command that ends with status 2."""
    assert main([str(word) for word in words]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("error: ") and len(printed.err.splitlines()) == 1
    return printed.err


def change(path: Path, convert) -> None:
    """Write the picture at `path` again, changed."""
    with Image.open(path) as image:
        changed = convert(image)
    changed.save(path)


# ------------------------------------------------------------------------------------------------------------- values


def test_the_published_maps_are_perfect_where_the_map_is_what_counts(twin, maps, tmp_path, capsys):
    text, frame = score(twin, maps, tmp_path, capsys)
    np.testing.assert_allclose(frame[["cc", "sim"]], 1, atol=1e-6)
    np.testing.assert_allclose(frame["kl"], 0, atol=1e-6)
    assert (frame["ig"] > 0).all() and (frame["auc_shuffled"] > 0.5).all()
    assert f"SYNTHETIC TWIN of salicon: {COUNT} maps of {COUNT} images\n" in text and "resized" not in text
    assert len(frame) == COUNT and list(frame["image"]) == [path.stem for path in sorted(maps.iterdir())]


def test_every_value_is_that_of_the_metrics_themselves(twin, maps, tmp_path, capsys):
    """Put together anew: negatives and centre bias are those of the other images, never the image's own."""
    for path in maps.iterdir():  # any map but the truth
        change(path, lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    frame, data = score(twin, maps, tmp_path, capsys)[1].set_index("image"), SALICON(twin, split="val")
    points, densities = [data.fixations(i) for i in range(COUNT)], [data.density(i) for i in range(COUNT)]
    pooled = [torch.nn.functional.avg_pool2d(torch.from_numpy(density)[None, None].double(), 8) for density in densities]
    for i in range(COUNT):
        prediction = np.array(Image.open(maps / f"{data.name(i)}.png"), dtype=np.float32)
        counts = metrics.fixation_map(points[i], (480, 640))
        others = sum(metrics.fixation_map(points[j], (480, 640)) for j in range(COUNT) if j != i)
        centre = sum(pooled[j] / pooled[j].sum() for j in range(COUNT) if j != i)
        centre = torch.nn.functional.interpolate(centre, (480, 640), mode="bilinear")[0, 0]
        wanted = {"auc": metrics.auc(prediction, counts), "auc_judd": metrics.auc_judd(prediction, counts), "nss": metrics.nss(prediction, counts),
                  "auc_shuffled": metrics.auc_shuffled(prediction, counts, others), "cc": metrics.cc(prediction, densities[i]),
                  "sim": metrics.sim(prediction, densities[i]), "kl": metrics.kl_divergence(prediction, densities[i]),
                  "ig": metrics.information_gain(prediction, counts, centre, min_max=False)}
        for name, value in wanted.items():
            assert frame.loc[data.name(i), name] == pytest.approx(float(value), rel=1e-5), name


def test_a_constant_map_is_chance(twin, maps, tmp_path, capsys):
    for path in maps.iterdir():
        change(path, lambda image: image.point(lambda value: 100))
    frame = score(twin, maps, tmp_path, capsys)[1]
    assert (frame[["auc", "auc_judd", "auc_shuffled"]] == 0.5).all(axis=None) and (frame[["nss", "cc"]] == 0).all(axis=None)


@pytest.mark.parametrize("convert", [
    lambda image: image.convert("RGB"), lambda image: Image.fromarray(np.asarray(image).astype(np.uint16) * 257)], ids=["RGB", "16 bits"])
def test_the_pictures_format_does_not_matter(twin, maps, tmp_path, capsys, convert):
    for path in maps.iterdir():
        change(path, convert)
    np.testing.assert_allclose(score(twin, maps, tmp_path, capsys)[1]["cc"], 1, atol=1e-6)


# -------------------------------------------------------------------------------------------------------------- files


def test_maps_named_as_the_release_names_them_are_found(twin, maps, tmp_path, capsys):
    plain = score(twin, maps, tmp_path, capsys)[1].drop(columns="image")
    for path in list(maps.iterdir()):
        path.rename(path.with_name(f"{path.stem}_smap.PNG"))
    frame = score(twin, maps, tmp_path, capsys)[1]
    assert frame["image"].str.endswith("_smap").all()
    pd.testing.assert_frame_equal(frame.drop(columns="image"), plain)


def test_maps_of_another_size_are_resized_and_counted(twin, maps, tmp_path, capsys):
    for path in sorted(maps.iterdir())[:3]:
        change(path, lambda image: image.resize((320, 240), Image.Resampling.BILINEAR))
    text, frame = score(twin, maps, tmp_path, capsys)
    assert f"{COUNT} maps of {COUNT} images, 3 resized to their photograph" in text
    assert (frame["cc"] > 0.99).all() and (frame["cc"][:3] < 1 - 1e-6).all()


def test_missing_maps_are_reported(twin, maps, tmp_path, capsys):
    sorted(maps.iterdir())[1].unlink()
    text, frame = score(twin, maps, tmp_path, capsys)
    assert f"{COUNT - 1} maps of {COUNT} images" in text and len(frame) == COUNT - 1


def test_other_files_in_the_folder_are_ignored(twin, maps, tmp_path, capsys):
    (maps / "notes.txt").write_text("not a map")
    Image.new("L", (640, 480)).save(maps / "another_photograph.png")
    assert len(score(twin, maps, tmp_path, capsys)[1]) == COUNT


# ------------------------------------------------------------------------------------------------------------- errors


def test_a_map_of_another_shape_is_refused(twin, maps, capsys):
    last = sorted(maps.iterdir())[-1]
    change(last, lambda image: image.resize((480, 480)))
    line = refused(capsys, "score", "salicon", maps, "--data", twin, "--out", maps / "scores.csv")
    assert str(last) in line and "480x480" in line and "640x480" in line
    assert not (maps / "scores.csv").exists()


@pytest.mark.parametrize("content", [b"not a picture", b"\x89PNG\r\n\x1a\n" + bytes(40)], ids=["text", "damaged"])
def test_an_unreadable_map_is_named(twin, maps, capsys, content):
    first = sorted(maps.iterdir())[0]
    first.write_bytes(content)
    line = refused(capsys, "score", "salicon", maps, "--data", twin)
    assert str(first) in line and "cannot be read as a saliency map" in line


def test_a_truncated_map_is_named(twin, maps, capsys):
    first = sorted(maps.iterdir())[0]
    first.write_bytes(first.read_bytes()[:2000])
    assert str(first) in refused(capsys, "score", "salicon", maps, "--data", twin)


def test_folders_without_maps_or_data_are_refused(twin, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    line = refused(capsys, "score", "salicon", tmp_path / "empty", "--data", twin)
    assert str(tmp_path / "empty") in line and SALICON(twin, split="val").name(0) in line  # how a map must be called
    assert "no such folder" in refused(capsys, "score", "salicon", tmp_path / "nowhere", "--data", twin)
    assert str(tmp_path / "empty") in refused(capsys, "score", "salicon", twin / "maps" / "val", "--data", tmp_path / "empty")


def test_unknown_names_are_answered_with_the_right_ones(twin, maps, capsys):
    assert "salicon, osie, mit1003" in refused(capsys, "score", "nosuch", maps, "--data", twin)
    assert "train, val" in refused(capsys, "score", "salicon", maps, "--data", twin, "--split", "test")


def test_the_other_commands_answer_in_one_line_too(tmp_path, monkeypatch, capsys):
    line = refused(capsys, "fetch", "nosuch", tmp_path / "data")
    assert "'nosuch'" in line and "osie" in line and not (tmp_path / "data").exists()
    for folder in ("WEIGHTS", "TRAINED"):
        monkeypatch.setattr(predict, folder, tmp_path)
    Image.new("RGB", (64, 48)).save(tmp_path / "photo.png")
    line = refused(capsys, "predict", "emlnet", tmp_path / "photo.png", "--out", tmp_path)
    assert "res_imagenet.pth" in line and "data/emlnet_weights.md" in line
    assert not list(tmp_path.glob("*_smap*"))


def test_fixation_points_that_a_data_set_lacks_leave_the_metrics_of_maps(real_data, tmp_path, capsys):
    """MIT1003 without its points, one split, each map its photograph's own."""
    maps = tmp_path / "maps"
    maps.mkdir()
    for path in (real_data / "mit1003" / "ALLFIXATIONMAPS").glob("*_fixMap.jpg"):
        shutil.copy(path, maps / path.name.replace("_fixMap", ""))
    assert main(["score", "mit1003", str(maps), "--data", str(real_data / "mit1003"), "--split", "test", "--out", str(tmp_path / "s.csv")]) == 0
    frame = pd.read_csv(tmp_path / "s.csv")
    np.testing.assert_allclose(frame["cc"], 1, atol=1e-6)
    assert frame["nss"].isna().all() and f"(undefined for {len(frame)})" in capsys.readouterr().out
