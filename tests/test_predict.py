"""Protects: any photograph gives a map at its own upright size, the released post-processing, and one line for what goes wrong."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from lib import options, predict
from lib.files import pictures
from lib.models.emlnet import Decoder, SmallEncoder
from lib.runs.parameters import find_device
from lib.predict import predict_emlnet, read_photo, saliency_map, save_map
from lib.training.checkpoint import save_weights

SIZE = (72, 96)


@pytest.fixture(scope="module")
def model() -> SmallEncoder:
    torch.manual_seed(0)
    return SmallEncoder(channels=(8, 16, 16, 24, 24)).eval()


@pytest.fixture(scope="module")
def weights(model, tmp_path_factory) -> dict[str, Path]:
    """Files of one encoder, of another, and of the decoder that holds both."""
    folder = tmp_path_factory.mktemp("weights")
    networks = {"a": model, "b": SmallEncoder()}
    networks["whole"] = Decoder(model, networks["b"])
    for name, network in networks.items():
        save_weights(folder / f"{name}.safetensors", network)
    return {name: folder / f"{name}.safetensors" for name in networks}


def picture(height: int = 130, width: int = 210) -> np.ndarray:
    """A smooth coloured scene with something bright off the centre, uint8 (H, W, 3)."""
    y, x = np.mgrid[:height, :width] / [[[height]], [[width]]]
    spot = np.exp(-((x - 0.3) ** 2 + (y - 0.7) ** 2) / 0.02)
    return np.stack([200 * spot + 30 * x, 90 * spot + 60 * y, 120 * (1 - x)], axis=-1).astype(np.uint8)


# Photographs


def test_map_has_the_photographs_own_size_and_lies_in_the_unit_interval(model, tmp_path):
    for i, size in enumerate(((130, 210), (95, 95), (400, 64), (1, 3))):
        Image.fromarray(picture(*size)).save(tmp_path / f"{i}.png")
        saliency = saliency_map(model, tmp_path / f"{i}.png", size=SIZE)
        assert saliency.shape == size and saliency.dtype == np.float32
        assert saliency.min() >= 0 and saliency.max() <= 1
        assert np.array_equal(saliency, saliency_map(model, picture(*size), size=SIZE))


def test_photograph_is_squashed_bilinearly(tmp_path):
    view, own = read_photo(picture(), SIZE)
    wanted = Image.fromarray(picture()).resize((96, 72), Image.Resampling.BILINEAR)
    assert np.array_equal(view, np.array(wanted)) and own == (130, 210)
    assert np.array_equal(read_photo(picture().astype(np.float64) / 255, SIZE)[0], view)


def test_post_processing_is_the_released_one(model):
    """Gaussian with the edge repeated and cut at 4 sigma, sigma 5 at 480 rows; at the network's size nothing else happens."""
    photo = picture(*SIZE)
    with torch.no_grad():
        raw = model(torch.from_numpy(photo).permute(2, 0, 1)[None])[0, 0].numpy()
    assert np.allclose(saliency_map(model, photo, size=SIZE, blur=0), raw, atol=1e-6)
    wanted = gaussian_filter(raw.astype(np.float64), 5 * 72 / 480, mode="nearest", truncate=4)
    assert np.allclose(saliency_map(model, photo, size=SIZE), wanted, atol=1e-5)
    assert not np.allclose(raw, wanted, atol=1e-2)
    with pytest.raises(ValueError, match="blur is -1"):
        saliency_map(model, photo, size=SIZE, blur=-1)


def cmyk(image: Image.Image) -> Image.Image:
    return image.convert("CMYK")


def palette(image: Image.Image) -> Image.Image:
    return image.quantize(256, dither=Image.Dither.NONE)


@pytest.mark.parametrize("convert, suffix, close", [(cmyk, "jpg", 12), (palette, "png", 12), (lambda image: image.convert("RGBA"), "png", 0),
                                                    (palette, "gif", 12), (lambda image: image, "webp", 12)],
                         ids=["cmyk", "palette", "rgba", "gif", "webp"])
def test_colour_modes_become_rgb(convert, suffix, close, tmp_path):
    path = tmp_path / f"photo.{suffix}"
    convert(Image.fromarray(picture())).save(path)
    view, own = read_photo(path, SIZE)
    assert own == (130, 210) and view.shape == (*SIZE, 3)
    assert np.abs(view.astype(int) - read_photo(picture(), SIZE)[0]).mean() <= close


def test_grey_photographs_have_three_equal_channels(tmp_path):
    grey = picture()[..., 0]
    Image.fromarray(grey).save(tmp_path / "eight.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "sixteen.png")
    wanted = read_photo(np.repeat(grey[..., None], 3, axis=2), SIZE)[0]
    for photo in (tmp_path / "eight.png", tmp_path / "sixteen.png", grey):
        assert np.array_equal(read_photo(photo, SIZE)[0], wanted)


def test_transparent_pixels_are_white(tmp_path):
    image = np.dstack([picture(), np.full((130, 210), 255, np.uint8)])
    image[:, :100, 3] = 0
    Image.fromarray(image).save(tmp_path / "cut.png")
    view = read_photo(tmp_path / "cut.png", SIZE)[0]
    assert (view[:, :44] == 255).all() and np.array_equal(view[:, 48:], read_photo(picture(), SIZE)[0][:, 48:])


INVERSE = {1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
           5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270}


@pytest.mark.parametrize("orientation", INVERSE)
def test_a_cameras_orientation_is_applied(orientation, tmp_path):
    upright = Image.fromarray(picture())
    stored = upright.transpose(INVERSE[orientation]) if INVERSE[orientation] is not None else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "photo.png", exif=exif)
    view, own = read_photo(tmp_path / "photo.png", SIZE)
    assert own == (130, 210)
    assert np.abs(view.astype(int) - read_photo(picture(), SIZE)[0]).max() <= 1


def test_very_large_jpegs_are_decoded_small(tmp_path, monkeypatch):
    path = tmp_path / "large.jpg"
    Image.fromarray(picture(1200, 1600)).save(path, quality=95)
    whole = read_photo(path, SIZE)[0]
    shapes, read = [], predict.read_picture
    monkeypatch.setattr(predict, "read_picture", lambda *args, **options: shapes.append((found := read(*args, **options)).shape) or found)
    monkeypatch.setattr(predict, "LARGE", 1_000_000)
    view, own = read_photo(path, SIZE)
    assert own == (1200, 1600) and shapes == [(150, 200, 3)]  # an eighth, still twice the network's input
    assert np.abs(view.astype(int) - whole).mean() < 2


def test_what_is_no_photograph_is_refused_in_one_line(tmp_path, monkeypatch):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)).save(tmp_path / "whole.jpg")
    Image.open(tmp_path / "whole.jpg").save(tmp_path / "whole.png")
    for suffix in ("jpg", "png"):
        content = (tmp_path / f"whole.{suffix}").read_bytes()
        (tmp_path / f"cut.{suffix}").write_bytes(content[:len(content) // 2])
    (tmp_path / "text.jpg").write_text("<html>not found</html>")
    (tmp_path / "empty.jpg").touch()
    Image.fromarray(np.ones((9, 9), np.float32)).save(tmp_path / "float.tiff")
    for name, said in (("cut.jpg", "cannot be decoded"), ("cut.png", "cannot be decoded"), ("text.jpg", "not readable as an image"),
                       ("empty.jpg", "not readable as an image"), ("float.tiff", "no known white; save it with 8 or 16 bits")):
        with pytest.raises(ValueError, match=f"{name}: .*{said}") as error:
            read_photo(tmp_path / name, SIZE)
        assert "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError, match="absent.jpg: missing; give a photograph"):
        read_photo(tmp_path / "absent.jpg", SIZE)
    with pytest.raises(ValueError, match="is a folder, not a picture; give a photograph"):
        read_photo(tmp_path, SIZE)
    monkeypatch.setattr(pictures, "PICTURE_LIMIT", 1000)
    with pytest.raises(ValueError, match="whole.jpg: declares 90x90, more than 1,000 pixels.*shrink"):
        read_photo(tmp_path / "whole.jpg", SIZE)
    for array, message in ((np.zeros((5, 5, 4), np.uint8), "shape"), (np.zeros((0, 5), np.uint8), "shape"), (np.zeros((5, 5), int), "uint8"),
                           (np.full((5, 5), 200.0), "0, 1"), (np.full((5, 5), np.nan), "0, 1")):
        with pytest.raises(ValueError, match=message):
            read_photo(array, SIZE)


# Weights


def test_files_of_weights_make_the_model_that_predicts(model, weights):
    photo, whole = picture(), Decoder(model, SmallEncoder())
    alone = predict_emlnet(photo, [weights["a"]], device="cpu")
    assert np.allclose(alone, saliency_map(model, photo, size=(120, 160)), atol=1e-6)  # small encoders' own size
    combined = predict_emlnet(photo, [], weights["whole"], size=SIZE, device="cpu")
    state = torch.load(_as_torch(weights["whole"]), weights_only=True)
    whole.load_state_dict(state)
    assert np.allclose(combined, saliency_map(whole, photo, size=SIZE), atol=1e-6)
    heads = weights["whole"].with_name("heads.pth")
    torch.save({name: value for name, value in state.items() if not name.startswith("encoder_")}, heads)
    assert np.array_equal(predict_emlnet(photo, [weights["a"], weights["b"]], heads, size=SIZE, device="cpu"), combined)


def _as_torch(path: Path) -> Path:
    from safetensors.torch import load_file

    torch.save(load_file(path), path.with_suffix(".pth"))
    return path.with_suffix(".pth")


def test_devices_that_are_not_there_are_refused(weights, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto") == torch.device("cpu")
    for name in ("cuda", "cuda:1", "gpu"):
        with pytest.raises(ValueError, match=f"device '{name}'") as error:
            predict_emlnet(picture(), [weights["a"]], device=name)
        assert "\n" not in str(error.value)


# Maps on disk


def test_saved_maps_are_stretched_and_rounded_and_kept_as_they_are(tmp_path):
    saliency = np.linspace(0.2, 0.7, 12, dtype=np.float32).reshape(3, 4)
    png, npy = save_map(tmp_path / "new" / "photo.v2_smap", saliency)
    assert (png.name, npy.name) == ("photo.v2_smap.png", "photo.v2_smap.npy")
    assert np.array_equal(np.load(npy, allow_pickle=False), saliency) and np.load(npy).dtype == np.float32
    with Image.open(png) as image:
        assert image.mode == "L"
        assert np.array_equal(np.array(image).ravel(), [round(255 * i / 11) for i in range(12)])
    assert sorted(path.name for path in png.parent.iterdir()) == ["photo.v2_smap.npy", "photo.v2_smap.png"]
    assert not np.array(Image.open(save_map(tmp_path / "flat", np.full((3, 4), 0.4))[0])).any()
    for bad in (np.full((3, 4), np.nan), np.zeros((1, 3, 4)), np.zeros((0, 4))):
        with pytest.raises(ValueError, match="bad: a map must be"):
            save_map(tmp_path / "bad", bad)


# The command line


def run(*words: object) -> int:
    parser = argparse.ArgumentParser()
    options.predict_arguments(parser)
    return predict.main(parser.parse_args([*map(str, words)]))


def test_command_writes_a_picture_and_a_map_for_each_photograph(model, weights, tmp_path, capsys):
    for name, size in (("one", (50, 60)), ("two", (70, 40))):
        Image.fromarray(picture(*size)).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    photos = [tmp_path / name for name in ("one.png", "broken.jpg", "two.png")]
    assert run("emlnet", *photos, "--encoder", weights["a"], "--out", tmp_path / "maps", "--size", "72,96", "--device", "cpu") == 1
    written = capsys.readouterr()
    assert written.err.count("\n") == 1 and "broken.jpg: not readable" in written.err
    assert written.out.count("_smap.npy") == 2
    wanted = [f"{name}_smap.{kind}" for name in ("one", "two") for kind in ("npy", "png")]
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == wanted
    assert np.array_equal(np.load(tmp_path / "maps" / "two_smap.npy"), saliency_map(model, photos[2], size=SIZE))
    assert run("emlnet", photos[0], "--encoder", weights["whole"], "--out", tmp_path / "more", "--blur", 0) == 0


def test_command_refuses_in_one_line_before_it_writes(weights, tmp_path, monkeypatch, capsys):
    Image.fromarray(picture()).save(tmp_path / "one.png")
    (tmp_path / "other").mkdir()
    monkeypatch.setattr(predict, "WEIGHTS", tmp_path / "weights")
    monkeypatch.setattr(predict, "TRAINED", tmp_path / "weights")
    monkeypatch.setattr(predict, "LITE0", tmp_path / "weights" / predict.LITE0.name)
    out = ("--out", tmp_path / "maps", "--device", "cpu")
    for words, message in (((), r"no weights: give --encoder, or put res_imagenet.pth, .* into data/weights; data/emlnet_weights.md"),
                           (("--encoder", weights["a"], "--encoder", weights["b"]), "got 2 encoders and no decoder"),
                           (("--encoder", tmp_path / "one.png"), "one.png: not a torch file of plain tensors"),
                           ((tmp_path / "other" / "one.jpg", "--encoder", weights["a"]), "several photographs would be written to")):
        with pytest.raises((ValueError, OSError), match=message) as error:
            run("emlnet", tmp_path / "one.png", *words, *out)
        assert "\n" not in str(error.value)
    for size in ("480", "0,640", "a,b"):
        with pytest.raises(SystemExit):
            run("emlnet", tmp_path / "one.png", "--size", size)
        assert f"{size!r} is no size" in capsys.readouterr().err
    assert not (tmp_path / "maps").exists()


def test_released_files_in_their_folder_are_found(weights, tmp_path, monkeypatch):
    """Under the released names, whatever network they hold."""
    for name, path in zip(predict.RELEASED, (weights["a"], weights["b"], weights["whole"]), strict=True):
        state = torch.load(_as_torch(path), weights_only=True)
        torch.save({key: value for key, value in state.items() if not key.startswith("encoder_")}, tmp_path / name)
    Image.fromarray(picture()).save(tmp_path / "one.png")
    monkeypatch.setattr(predict, "WEIGHTS", tmp_path)
    assert run("emlnet", tmp_path / "one.png", "--out", tmp_path, "--size", "72x96", "--device", "cpu") == 0
    wanted = predict_emlnet(tmp_path / "one.png", [], weights["whole"], size=SIZE, device="cpu")
    assert np.array_equal(np.load(tmp_path / "one_smap.npy"), wanted)


# Real photographs


def test_real_photographs_of_all_sizes(model, real_data):
    """Every photograph, 95x95 to 1836x1377, with a greyscale one among them, at its own size."""
    photos = sorted((real_data / "photos").glob("*.JPEG"))
    assert len(photos) > 10
    modes = set()
    for photo in photos:
        saliency = saliency_map(model, photo, size=SIZE)
        with Image.open(photo) as image:
            assert saliency.shape == (image.height, image.width)
            modes.add(image.mode)
        assert np.isfinite(saliency).all() and 0 <= saliency.min() < saliency.max() <= 1
    assert modes == {"RGB", "L"}
