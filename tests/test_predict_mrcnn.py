"""Protects: a file of weights alone gives back its network, a map is what the network says of the photograph, one line for the rest."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from lib import options, predict
from lib.data.patches import squares as squashed
from lib.models import mrcnn_weights
from lib.models.emlnet import SmallEncoder
from lib.models.mrcnn import MrCNN
from lib.models.mrcnn_weights import load_mrcnn
from lib.predict import mrcnn_map, predict_mrcnn
from lib.tables import mrcnn as table
from lib.training.checkpoint import save_weights
from lib.training.mrcnn import blurred
from lib.training.saliency import enlarge

SMALL = {"widths": (4, 6, 8), "hidden": 16}


def lively(**options) -> MrCNN:
    """In eval mode, with logits of size 1: at PyTorch's initialisation every map is flat."""
    torch.manual_seed(0)
    model = MrCNN(**SMALL | options).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter, nonlinearity="relu")
    return model


@pytest.fixture(scope="module")
def model() -> MrCNN:
    return lively()


@pytest.fixture(scope="module")
def weights(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "three.safetensors"
    save_weights(path, model)
    return path


def picture(height: int = 130, width: int = 210) -> np.ndarray:
    """A coloured scene with something bright off the centre, uint8 (H, W, 3)."""
    y, x = np.mgrid[:height, :width] / [[[height]], [[width]]]
    spot = np.exp(-((x - 0.3) ** 2 + (y - 0.7) ** 2) / 0.02)
    return np.stack([200 * spot + 30 * x, 90 * spot + 60 * y, 120 * (1 - x)], axis=-1).astype(np.uint8)


def saved(path: Path, state: dict) -> Path:
    save_file({name: value.detach().contiguous() for name, value in state.items()}, path)
    return path


# ---- maps


def test_a_map_is_the_models_by_hand(model, weights):
    """Squares as training squashes them, all 50x50 points at once, a sigmoid, bilinear, nothing else; float32 at the photograph's size."""
    photo = picture()
    with torch.no_grad():
        logits = model(*(torch.from_numpy(view.copy())[None] for view in squashed(photo).values()))
    expected = enlarge(torch.sigmoid(logits), (130, 210))[0, 0].numpy()
    found = predict_mrcnn(photo, weights, device="cpu")
    assert found.dtype == np.float32 and found.shape == (130, 210) and np.ptp(expected) > 0.2
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.array_equal(mrcnn_map(model, photo), found)


def test_blur_is_the_tasks_own_in_cells(model):
    photo = picture()
    with torch.no_grad():
        logits = model(*(torch.from_numpy(view.copy())[None] for view in squashed(photo).values()))
    expected = enlarge(blurred(torch.sigmoid(logits), 2.0), (130, 210))[0, 0].numpy()
    np.testing.assert_allclose(mrcnn_map(model, photo, blur=2.0), expected, atol=1e-5)
    assert not np.allclose(mrcnn_map(model, photo), expected, atol=1e-2)
    for bad in (-1, np.nan, np.inf):
        with pytest.raises(ValueError, match="blur is .*, expected a sigma of 0 or more"):
            mrcnn_map(model, photo, blur=bad)


def test_any_photograph_gives_a_map_of_its_own_size(model, tmp_path):
    for i, size in enumerate(((97, 211), (33, 35), (401, 64), (1, 3))):
        Image.fromarray(picture(*size)).save(tmp_path / f"{i}.png")
        saliency = mrcnn_map(model, tmp_path / f"{i}.png")
        assert saliency.shape == size and np.isfinite(saliency).all() and 0 <= saliency.min() <= saliency.max() <= 1
    grey = picture()[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(mrcnn_map(model, tmp_path / "grey.png"), mrcnn_map(model, np.repeat(grey[..., None], 3, axis=2)))
    Image.fromarray(picture()).convert("CMYK").save(tmp_path / "print.jpg", quality=98)
    assert np.abs(mrcnn_map(model, tmp_path / "print.jpg") - mrcnn_map(model, picture())).mean() < 0.05


@pytest.mark.parametrize("rows, columns", [(slice(10, 50), slice(140, 200)), (slice(80, 120), slice(20, 80))])
def test_what_there_is_to_see_is_where_it_is_in_the_photograph(model, rows, columns):
    """Neither turned nor mirrored nor shifted: on an even ground the map differs from its ground around the one thing, and there alone."""
    photo = np.full((130, 210, 3), 120, np.uint8)
    photo[rows, columns] = np.random.default_rng(0).integers(0, 256, (40, 60, 3))
    saliency = mrcnn_map(model, photo)
    changed = np.abs(saliency - np.median(saliency))
    y, x = np.argwhere(changed > 0.1 * changed.max()).mean(0)
    assert changed.max() > 0.05 and rows.start < y < rows.stop and columns.start < x < columns.stop


# ---- networks from files


WIDER = table.Preset(widths=(5, 9, 7), hidden=10, twin="smoke", recipe=table.RELEASED, max_norm=None)


@pytest.mark.parametrize("preset", [table.PRESETS["smoke"], WIDER], ids=["smoke", "other widths"])
@pytest.mark.parametrize("row, squares", [("one_400", (400,)), ("one_250", (250,)), ("one_150", (150,)), ("two", (400, 150)), ("three", None),
                                          ("shared", None), ("improved", None)])
def test_every_network_of_the_table_comes_back_from_its_weights(row, squares, preset, tmp_path):
    torch.manual_seed(0)
    model = table.TABLE.row(row).build(preset).eval()
    save_weights(tmp_path / "w.safetensors", model)
    found = load_mrcnn(tmp_path / "w.safetensors", squares)
    assert not found.training and found.squares == model.squares and len(found.streams) == len(model.streams)
    assert str(found.streams[0].conv3) == str(model.streams[0].conv3) and (found.blurs is None) == (model.blurs is None)
    views = [torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(i)) for i in range(len(model.squares))]
    with torch.no_grad():
        assert torch.equal(found(*views), model(*views))


def test_other_squares_are_another_network(tmp_path):
    """So they cannot be guessed: the same weights fit every choice and say something else of each."""
    save_weights(tmp_path / "one.safetensors", lively(squares=(400,)))
    near, far = (predict_mrcnn(picture(), tmp_path / "one.safetensors", squares=(side,)) for side in (400, 150))
    assert np.abs(near - far).max() > 0.01


@pytest.mark.parametrize("built, given, said", [
    ((400,), None, "a network of 1 stream; the file does not say at which squares it looks, give 1 of 400, 250, 150: --squares 400, say"),
    ((400, 250), None, "a network of 2 streams; .* give 2 of 400, 250, 150: --squares 400,150, say"),
    ((400, 250), (400,), "a network of 2 streams, so squares must be 2 of .* got 400"),
    ((400, 250), (250, 400), "in this order, got 250, 400"), ((400,), (), "got none"), ((400,), (300,), "got 300"),
    ((400, 250, 150), (400, 150), "a network of 3 streams, so squares must be 3 of 400, 250, 150")])
def test_squares_that_must_be_given_or_do_not_fit(built, given, said, tmp_path):
    save_weights(tmp_path / "w.safetensors", lively(squares=built))
    with pytest.raises(ValueError, match=rf"w.safetensors: .*{said}") as error:
        load_mrcnn(tmp_path / "w.safetensors", given)
    assert "\n" not in str(error.value)


def test_what_is_no_mrcnn_is_refused_in_one_line(model, weights, tmp_path):
    """Nothing is loaded by half, nothing unpickled, and shapes that lie make no large network."""
    state, whole = model.state_dict(), weights.read_bytes()
    tall = {f"streams.0.conv{i}.weight": torch.zeros(40_000, 1) for i in (1, 2, 3)} | {"fusion.weight": torch.zeros(8, 8)}
    torch.save({f"module.{name}": value for name, value in state.items()}, tmp_path / "cnn_epoch_20.pth")
    (tmp_path / "cut.safetensors").write_bytes(whole[:len(whole) // 2])
    (tmp_path / "empty.safetensors").touch()
    saved(tmp_path / "prefixed.safetensors", {f"module.{name}": value.clone() for name, value in state.items()} | state)
    save_weights(tmp_path / "other.safetensors", SmallEncoder())
    saved(tmp_path / "less.safetensors", {name: value for name, value in state.items() if name != "final.bias"})
    saved(tmp_path / "more.safetensors", state | {"extra": torch.zeros(1)})
    saved(tmp_path / "shape.safetensors", state | {"streams.1.conv2.weight": torch.zeros(6, 4, 5, 5)})
    saved(tmp_path / "tall.safetensors", tall)
    saved(tmp_path / "flat.safetensors", state | {"fusion.weight": torch.zeros(3)})
    saved(tmp_path / "none.safetensors", state | {"fusion.weight": torch.zeros(0, 0)})
    saved(tmp_path / "four.safetensors", state | {"fusion.weight": torch.zeros(16, 64)})
    saved(tmp_path / "nan.safetensors", state | {"final.bias": torch.full((1,), torch.nan)})
    saved(tmp_path / "whole.safetensors", state | {"final.bias": torch.ones(1, dtype=torch.int64)})
    students = r"not a readable safetensors file .*checkpoints of the coursework's students \(.pth\) are not read"
    for name, said in (("cnn_epoch_20.pth", students), ("cut.safetensors", "not a readable safetensors"), ("empty.safetensors", "not a readable"),
                       ("prefixed.safetensors", "holds .*module.*only one can be the weight"),
                       ("other.safetensors", "no Mr-CNN; missing: streams"), ("less.safetensors", "missing: final.bias; unexpected: none"),
                       ("more.safetensors", "missing: none; unexpected: extra"), ("shape.safetensors", "another shape: streams.1.conv2.weight"),
                       ("flat.safetensors", "no Mr-CNN"), ("none.safetensors", "fusion.weight holds no values"),
                       ("four.safetensors", "fusion.weight is 16 x 64"),
                       ("nan.safetensors", "final.bias holds NaN"), ("whole.safetensors", "final.bias is of int64, .*floating-point")):
        with pytest.raises(ValueError, match=f"{name}: .*{said}") as error:
            load_mrcnn(tmp_path / name)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="tall.safetensors: no Mr-CNN; missing"):
        load_mrcnn(tmp_path / "tall.safetensors", (400,))
    for name in ("absent.safetensors", "."):
        with pytest.raises(FileNotFoundError, match="no such file; python -m lib table mrcnn"):
            load_mrcnn(tmp_path / name)


def test_loading_does_not_go_through_pickle(monkeypatch, weights):
    monkeypatch.setattr(mrcnn_weights.torch, "load", None)
    load_mrcnn(weights)


# ---- the command line


def run(*words: object) -> int:
    parser = argparse.ArgumentParser()
    options.predict_arguments(parser)
    return predict.main(parser.parse_args([*map(str, words)]))


def test_command_writes_a_picture_and_a_map_for_each_photograph(model, weights, tmp_path, capsys):
    for name, size in (("one", (50, 60)), ("two", (70, 41))):
        Image.fromarray(picture(*size)).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    photos = [tmp_path / name for name in ("one.png", "broken.jpg", "two.png")]
    assert run("mrcnn", *photos, "--weights", weights, "--out", tmp_path / "maps", "--device", "cpu") == 1
    written = capsys.readouterr()
    assert written.err.count("\n") == 1 and "broken.jpg: not readable" in written.err
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == [f"{n}_smap.{kind}" for n in ("one", "two") for kind in ("npy", "png")]
    found = np.load(tmp_path / "maps" / "two_smap.npy", allow_pickle=False)
    assert np.array_equal(found, mrcnn_map(model, photos[2]))
    with Image.open(tmp_path / "maps" / "two_smap.png") as image:
        assert (image.height, image.width) == found.shape and np.array(image).min() == 0 and np.array(image).max() == 255


def test_command_takes_squares_and_blur(tmp_path, capsys):
    two = lively(squares=(400, 150))
    save_weights(tmp_path / "two.safetensors", two)
    Image.fromarray(picture()).save(tmp_path / "one.png")
    words = ("mrcnn", tmp_path / "one.png", "--weights", tmp_path / "two.safetensors", "--out", tmp_path / "maps", "--device", "cpu")
    with pytest.raises(ValueError, match="give 2 of 400, 250, 150"):
        run(*words)
    assert not (tmp_path / "maps").exists()
    assert run(*words, "--squares", "400,150", "--blur", 1.5) == 0
    assert np.array_equal(np.load(tmp_path / "maps" / "one_smap.npy"), mrcnn_map(two, picture(), blur=1.5))
    with pytest.raises(SystemExit):
        run(*words, "--squares", "all")
    assert "'all' are no squares" in capsys.readouterr().err


def test_without_weights_those_of_the_repository_are_taken_with_a_word_on_them(tmp_path, monkeypatch, capsys):
    Image.fromarray(picture()).save(tmp_path / "one.png")
    monkeypatch.setattr("lib.predict.TRAINED", tmp_path)
    words = ("mrcnn", tmp_path / "one.png", "--out", tmp_path / "maps", "--device", "cpu")
    with pytest.raises(ValueError, match="^no weights: give --weights"):
        run(*words)
    three = lively()
    save_weights(tmp_path / "mrcnn-osie-three.safetensors", three)
    assert run(*words) == 0
    assert "a small network, trained here on 360 photographs of OSIE" in capsys.readouterr().err
    assert np.array_equal(np.load(tmp_path / "maps" / "one_smap.npy"), mrcnn_map(three, picture()))


def test_real_photographs_of_all_kinds(model, real_data):
    photos = sorted((real_data / "photos").glob("*.JPEG"))[::8]
    assert len(photos) > 4
    for photo in photos:
        saliency = mrcnn_map(model, photo)
        with Image.open(photo) as image:
            assert saliency.shape == (image.height, image.width)
        assert 0 <= saliency.min() < saliency.max() <= 1
