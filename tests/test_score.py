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


def sixteen(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(np.uint16) * 257


def as_mat(image: Image.Image, path: Path) -> None:
    from scipy.io import savemat

    savemat(path, {"saliency": np.asarray(image, dtype=float)})


FORMATS = {
    "RGB": lambda image, stem: image.convert("RGB").save(f"{stem}.png"),
    "16 bits": lambda image, stem: Image.fromarray(sixteen(image)).save(f"{stem}.png"),
    "big-endian": lambda image, stem: Image.fromarray(sixteen(image).astype(">u2")).save(f"{stem}.tif"),
    "float": lambda image, stem: Image.fromarray(np.asarray(image, dtype=np.float32) / 7).save(f"{stem}.tiff"),
    "webp": lambda image, stem: image.convert("RGB").save(f"{stem}.webp", lossless=True),
    "alpha": lambda image, stem: image.convert("LA").save(f"{stem}.png"),
    "npy": lambda image, stem: np.save(f"{stem}.npy", np.asarray(image)), "npz": lambda image, stem: np.savez(f"{stem}.npz", np.asarray(image)[None]),
    "mat": lambda image, stem: as_mat(image, Path(f"{stem}.mat"))}


@pytest.mark.parametrize("name", FORMATS)
def test_the_files_format_does_not_matter(twin, maps, tmp_path, capsys, name):
    for path in list(maps.iterdir()):
        with Image.open(path) as image:
            image.load()
        path.unlink()
        FORMATS[name](image, maps / path.stem)
    text, frame = score(twin, maps, tmp_path, capsys)
    np.testing.assert_allclose(frame["cc"], 1, atol=1e-6)
    assert len(set(frame["kind"])) == 1 and f"read: {COUNT} {frame['kind'][0]}" in text


def test_the_finest_of_several_files_is_read_and_said(twin, maps, tmp_path, capsys):
    """`predict` writes an 8-bit picture and a float array side by side; the array is what counts."""
    for path in list(maps.iterdir()):
        with Image.open(path) as image:
            values = np.asarray(image, dtype=np.float32)
        change(path, lambda image: image.point(lambda value: value // 64 * 64))
        np.save(path.with_suffix(".npy"), values)
    text, frame = score(twin, maps, tmp_path, capsys)
    np.testing.assert_allclose(frame["cc"], 1, atol=1e-6)
    assert f"read: {COUNT} npy\n" in text
    for path in maps.glob("*.npy"):
        path.unlink()
    text, frame = score(twin, maps, tmp_path, capsys)
    assert (frame["cc"] < 0.99).all() and f"read: {COUNT} PNG, 8 bits (8 bits cost KL and IG something)" in text


# ----------------------------------------------------------------------------------------------------------- resizing


@pytest.fixture
def framed(twin, maps) -> tuple[dict[str, np.ndarray], Path]:
    """The published maps by stem, and a folder for other versions of them."""
    found = {path.stem: np.array(Image.open(path), dtype=np.float32) for path in sorted(maps.iterdir())}
    for path in maps.iterdir():
        path.unlink()
    return found, maps


def test_squashed_maps_are_stretched_back(twin, framed, tmp_path, capsys):
    found, maps = framed
    for stem, values in found.items():
        Image.fromarray(values).resize((480, 480), Image.Resampling.BILINEAR).save(maps / f"{stem}.tif")
    assert (score(twin, maps, tmp_path, capsys, "--resize", "squash")[1]["cc"] > 0.999).all()
    assert (score(twin, maps, tmp_path, capsys, "--resize", "letterbox")[1]["cc"] < 0.99).any()


def test_letterboxed_maps_lose_their_bars(twin, framed, tmp_path, capsys):
    found, maps = framed
    for stem, values in found.items():
        square = np.zeros((640, 640), np.float32)
        square[80:560] = values
        np.save(maps / f"{stem}.npy", square)
    np.testing.assert_allclose(score(twin, maps, tmp_path, capsys, "--resize", "letterbox")[1]["cc"], 1, atol=1e-6)
    assert (score(twin, maps, tmp_path, capsys, "--resize", "squash")[1]["cc"] < 0.999).all()


def test_cropped_maps_count_for_the_part_they_cover(twin, framed, tmp_path, capsys):
    """Outside it there is nothing better than the map's lowest value."""
    found, maps = framed
    for stem, values in found.items():
        np.save(maps / f"{stem}.npy", values[:, 80:560])
    frame = score(twin, maps, tmp_path, capsys, "--resize", "crop")[1].set_index("image")
    for stem, values in found.items():
        wanted = np.full((480, 640), values[:, 80:560].min(), np.float32)
        wanted[:, 80:560] = values[:, 80:560]
        assert frame.loc[stem, "cc"] == pytest.approx(float(metrics.cc(wanted, values)), abs=1e-5)


# -------------------------------------------------------------------------------------------------------- orientation


def test_maps_of_upright_pictures_are_turned_back_when_told(twin, maps, tmp_path, capsys):
    """One photograph on its head, one on its side: maps of what a viewer shows are scored like those of the stored pixels."""
    data = shutil.copytree(twin, tmp_path / "data")
    plain = score(data, maps, tmp_path, capsys)[1].drop(columns="image")
    turns = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_270}
    paths = sorted((data / "images" / "val").glob("*.jpg"))
    for (orientation, turn), photograph in zip(turns.items(), paths, strict=False):
        exif = Image.Exif()
        exif[0x0112] = orientation
        with Image.open(photograph) as image:
            image.load()
        image.save(photograph, exif=exif, quality=95)
        change(maps / f"{photograph.stem}.png", lambda image, turn=turn: image.transpose(turn))
    text, line = left_out(data, maps, capsys)
    assert "warning: 2 of the photographs carry an EXIF orientation" in text and "--exif upright" in text and paths[1].stem in line
    text, frame = score(data, maps, tmp_path, capsys, "--exif", "upright")
    pd.testing.assert_frame_equal(frame.drop(columns="image"), plain)


def test_an_orientation_on_a_map_is_not_followed_and_counted(twin, maps, tmp_path, capsys):
    text, plain = score(twin, maps, tmp_path, capsys)
    assert "EXIF" not in text
    exif = Image.Exif()
    exif[0x0112] = 3
    path = sorted(maps.glob("*.png"))[0]
    with Image.open(path) as image:
        image.load()
    image.save(path, exif=exif)
    text, frame = score(twin, maps, tmp_path, capsys)
    assert "1 of the maps" in text and "EXIF" in text
    pd.testing.assert_frame_equal(frame, plain)


def test_predicted_maps_of_turned_pictures_can_be_stored_ones(twin, tmp_path):
    from lib.models.emlnet import SmallEncoder

    torch.manual_seed(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(sorted((twin / "images" / "val").glob("*.jpg"))[0]) as image:
        image.save(tmp_path / "a.png", exif=exif)
        image.save(tmp_path / "plain.png")
    model = SmallEncoder(channels=(8, 16, 16, 24, 24))
    assert predict.saliency_map(model, tmp_path / "a.png").shape == (640, 480)
    stored = predict.saliency_map(model, tmp_path / "a.png", exif="stored")
    assert np.array_equal(stored, predict.saliency_map(model, tmp_path / "plain.png"))


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


@pytest.mark.parametrize("name", ["deep/er/{}.png", "val/{}_sal.png", "{}.jpg.png", "{}.jpg_smap.png", "{}_SMAP.jpg.png", "{}_saliency.png"])
def test_subfolders_and_the_usual_endings_are_found(twin, maps, tmp_path, capsys, name):
    plain = score(twin, maps, tmp_path, capsys)[1].drop(columns="image")
    for path in list(maps.glob("*.png")):
        moved = maps / name.format(path.stem)
        moved.parent.mkdir(parents=True, exist_ok=True)
        path.rename(moved)
    (maps / ".hidden").mkdir()
    pd.testing.assert_frame_equal(score(twin, maps, tmp_path, capsys)[1].drop(columns="image"), plain)


def test_two_maps_of_one_photograph_that_are_alike_are_left_out_and_the_others_scored(twin, maps, capsys):
    first, *others = sorted(maps.iterdir())
    shutil.copy(first, maps / f"{first.stem}_sal.png")
    assert main(["score", "salicon", str(maps), "--data", str(twin)]) == 1
    printed = capsys.readouterr()
    assert first.name in printed.err and f"{first.stem}_sal.png" in printed.err and "move one away" in printed.err
    assert f"{COUNT - 1} maps of {COUNT} images; 1 left out" in printed.out
    for path in others:
        path.unlink()
    assert "move one away" in refused(capsys, "score", "salicon", maps, "--data", twin)


def test_maps_whose_rows_and_columns_are_exchanged_are_told_so(twin, maps, capsys):
    """Neither squashed nor cropped: what those remedies make of them would be scored as if it were right."""
    change(sorted(maps.iterdir())[0], lambda image: image.transpose(Image.Transpose.TRANSPOSE))
    assert "transpose the map" in left_out(twin, maps, capsys)[1]


def test_constant_maps_are_counted(twin, maps, tmp_path, capsys):
    assert "constant" not in score(twin, maps, tmp_path, capsys)[0]
    change(sorted(maps.iterdir())[0], lambda image: Image.new("L", image.size, 128))
    assert "1 of the maps are constant" in score(twin, maps, tmp_path, capsys)[0]


def test_folders_and_dangling_links_are_no_maps(twin, maps, tmp_path, capsys):
    first = sorted(maps.iterdir())[0]
    (maps / f"{first.stem}.npy").mkdir()
    (maps / f"{first.stem}_smap.npy").symlink_to(tmp_path / "nowhere")
    assert len(score(twin, maps, tmp_path, capsys)[1]) == COUNT
    assert f"{first}: is a file" in refused(capsys, "score", "salicon", first, "--data", twin)


def test_missing_maps_are_reported(twin, maps, tmp_path, capsys):
    sorted(maps.iterdir())[1].unlink()
    text, frame = score(twin, maps, tmp_path, capsys)
    assert f"{COUNT - 1} maps of {COUNT} images" in text and len(frame) == COUNT - 1


def test_other_files_in_the_folder_are_ignored(twin, maps, tmp_path, capsys):
    (maps / "notes.txt").write_text("not a map")
    Image.new("L", (640, 480)).save(maps / "another_photograph.png")
    assert len(score(twin, maps, tmp_path, capsys)[1]) == COUNT


# ------------------------------------------------------------------------------------------------------------- errors


def left_out(twin: Path, maps: Path, capsys, *words: str) -> tuple[str, str]:
    """What is printed, and the lines about maps that were left out, of a command that ends with status 1."""
    assert main(["score", "salicon", str(maps), "--data", str(twin), *words]) == 1
    printed = capsys.readouterr()
    assert all(line.startswith("left out: ") for line in printed.err.splitlines()) and printed.err
    return printed.out, printed.err


def test_a_map_of_another_shape_is_left_out_and_the_others_scored(twin, maps, tmp_path, capsys):
    last = sorted(maps.iterdir())[-1]
    change(last, lambda image: image.resize((480, 480)))
    text, line = left_out(twin, maps, capsys, "--out", str(tmp_path / "scores.csv"))
    assert str(last) in line and "480x480" in line and "640x480" in line and line.count("\n") == 1
    assert all(f"--resize {how}" in line for how in ("squash", "letterbox", "crop"))
    assert f"{COUNT - 1} maps of {COUNT} images; 1 left out" in text and len(pd.read_csv(tmp_path / "scores.csv")) == COUNT - 1
    for path in maps.iterdir():
        if path != last:
            path.unlink()
    assert str(last) in refused(capsys, "score", "salicon", maps, "--data", twin)  # nothing is left to score


@pytest.mark.parametrize("damage", [lambda content: b"not a picture", lambda content: b"\x89PNG\r\n\x1a\n" + bytes(40),
                                    lambda content: content[:2000]], ids=["text", "damaged", "truncated"])
def test_an_unreadable_map_is_named(twin, maps, capsys, damage):
    first = sorted(maps.iterdir())[0]
    first.write_bytes(damage(first.read_bytes()))
    _, line = left_out(twin, maps, capsys)
    assert str(first) in line and "cannot be decoded" in line and "write the map again" in line


def test_a_map_with_one_nan_is_named_and_not_dropped_in_silence(twin, maps, capsys):
    first = sorted(maps.iterdir())[0]
    with Image.open(first) as image:
        values = np.array(image, dtype=np.float32)
    values[7, 9] = np.nan
    np.save(first.with_suffix(".npy"), values)
    text, line = left_out(twin, maps, capsys)
    assert f"{first.with_suffix('.npy')}: 1 of 307,200 pixels are NaN" in line and "1 left out" in text


def test_a_map_in_jets_colours_is_named(twin, maps, capsys):
    from matplotlib import colormaps

    first = sorted(maps.iterdir())[0]
    change(first, lambda image: Image.fromarray((colormaps["jet"](np.asarray(image))[..., :3] * 255).astype(np.uint8)))
    assert "jet" in left_out(twin, maps, capsys)[1]


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
    monkeypatch.setattr(predict, "LITE0", tmp_path / predict.LITE0.name)
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
