"""The coursework's files: miniatures written here and read back, every damage one line, and nothing in a file executed."""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lib.data import coursework as cw
from lib.data import coursework_verify
from lib.data.coursework_miniature import write_miniature
from lib.data.mit1003 import MIT1003
from lib.data.saliency import SaliencyData
from lib.models.backbones import IMAGENET_NORMALIZATION

SIZES = {"i1": (60, 80), "i2.p5": (80, 64), "i3": (64, 64), "i4": (52, 90), "i5": (60, 60)}  # (H, W)


def photograph(size: tuple[int, int], seed: int) -> np.ndarray:
    """(H, W, 3): broad and fine blobs, the channels alike as in photographs."""
    rng = np.random.default_rng(seed)
    coarse = [Image.fromarray(rng.integers(0, 256, (n, n), dtype=np.uint8)) for n in (5, 20)]
    grey = sum(np.array(layer.resize(size[::-1], Image.Resampling.BICUBIC), float) for layer in coarse) / 2
    return np.clip(grey[..., None] * [1.0, 0.9, 0.7] + rng.normal(0, 3, (*size, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> MIT1003:
    """Five small photographs in MIT1003's layout; the last has no points."""
    root = tmp_path_factory.mktemp("mit1003")
    (root / "ALLSTIMULI").mkdir(), (root / "ALLFIXATIONMAPS").mkdir()
    for seed, (name, size) in enumerate(SIZES.items()):
        Image.fromarray(photograph(size, seed)).save(root / "ALLSTIMULI" / f"{name}.jpeg", quality=95)
        y, x = np.mgrid[: size[0], : size[1]]
        blurred = np.exp(-((y - 20 - seed) ** 2 + (x - 30) ** 2) / 150)
        Image.fromarray((255 * blurred).astype(np.uint8)).save(root / "ALLFIXATIONMAPS" / f"{name}_fixMap.jpg", quality=75)
        if name != "i5":
            Image.fromarray(255 * ((y == 20) & (x % 30 == 5)).astype(np.uint8)).save(root / "ALLFIXATIONMAPS" / f"{name}_fixPts.jpg", quality=75)
    return MIT1003(root)


@pytest.fixture(scope="module")
def miniature(data, tmp_path_factory) -> Path:
    return write_miniature(tmp_path_factory.mktemp("coursework") / "mini", data, images=5)


def message(kind: type[Exception], action, *args, **options) -> str:
    with pytest.raises(kind) as error:
        action(*args, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def entries(path: Path) -> list[dict]:
    return torch.load(path, weights_only=True)


def changed(entry: dict, **changes) -> dict:
    """The entry with some values replaced; None removes a key."""
    return {key: value for key, value in (entry | changes).items() if value is not None}


# ---- the round trip

def test_training_crops_come_back(data, miniature):
    """Shapes, labels, counts and names as documented, and the pixels are those of the photograph at each scale."""
    crops = cw.read_train(miniature / "train_data.pth.tar")
    X, y = crops.batch(range(len(crops)))
    assert X.shape == (90, 3, 3, 42, 42) and X.dtype == torch.float32 and y.dtype == torch.int64
    assert crops.files == [f"{name}.jpeg" for name in ("i1", "i2.p5", "i3") for _ in range(30)]
    assert y.tolist() == ([1] * 10 + [0] * 20) * 3
    assert torch.equal(crops.batch([89, 0])[0], X[[89, 0]]) and crops.batch([89, 0])[1].tolist() == [0, 1]
    squares = {side: np.array(Image.fromarray(data.image(0)).resize((side, side), Image.Resampling.BILINEAR)) for side in cw.SCALES}
    for scale, side in enumerate(cw.SCALES):  # the crop of a fixated pixel is somewhere in that scale's square, whole
        padded = np.pad(squares[side], ((21, 21), (21, 21), (0, 0)), mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (42, 42), axis=(0, 1))  # (side + 1, side + 1, 3, 42, 42)
        corner = np.argwhere((windows[:, :, :, 0, 0] == cw.denormalised(X[0])[scale, :, 0, 0].numpy()).all(-1))
        assert any(np.array_equal(windows[row, column], cw.denormalised(X[0])[scale].numpy()) for row, column in corner)


def test_fixated_crops_lie_where_the_map_is_high(data, miniature):
    """Every positive is centred in the blob: at the widest scale (42 of 150) its crop resembles the other positives' crops."""
    crops = cw.read_train(miniature / "train_data.pth.tar")
    X, y = crops.batch(range(30))  # one photograph
    distance = torch.cdist(X[:, 2].flatten(1), X[:, 2].flatten(1))
    assert distance[:10, :10].max() < distance[:10, 10:].mean()


def test_photographs_come_back(data, miniature):
    (image,) = cw.read_images(miniature / "test_data.pth.tar")
    assert (image.name, image.file) == ("i5", "i5.jpeg") and image.image.shape == (3, 60, 60)
    assert {side: tuple(square.shape) for side, square in image.squares.items()} == {side: (3, side, side) for side in (400, 250, 150)}
    assert np.array_equal(cw.denormalised(image.image).permute(1, 2, 0).numpy(), data.image(4))
    grid = image.spatial_coords.reshape(50, 50, 2)
    assert image.spatial_coords.dtype == torch.int64 and grid[0, 0].tolist() == [1, 1] and grid[-1, -1].tolist() == [60, 60]
    assert (grid[..., 0] == grid[:, :1, 0]).all() and (grid[..., 1] == grid[:1, :, 1]).all()  # row by row, y first


def test_crops_at_test_time_have_the_axes_of_training(miniature):
    """The coursework's own code has channel before scale here, so its networks were tested on other inputs than they learned from."""
    (image,) = cw.read_images(miniature / "val_data.pth.tar")
    crops = image.crops()
    assert crops.shape == (2500, 3, 3, 42, 42) and cw.axis_order(crops[::20]) == "scale, channel"
    middle = 50 * 25 + 25
    y, x = image.spatial_coords[middle].tolist()
    for scale, side in enumerate(cw.SCALES):  # a centre far from the border: plain slices
        row, column = int(y * side / 52), int(x * side / 90)
        expected = image.squares[side][:, row - 21 : row + 21, column - 21 : column + 21]
        assert torch.equal(crops[middle, scale], expected)
    assert torch.equal(image.crops([middle]), crops[[middle]])


def test_crops_repeat_the_border():
    squares = {side: torch.arange(side).float().expand(3, side, side) + 1000 * torch.arange(side).float()[:, None] for side in cw.SCALES}
    (crop,) = cw.cut_crops(squares, torch.tensor([[0, 300]]), (300, 300))  # the top right corner, a column beyond the last
    for scale, side in enumerate(cw.SCALES):
        padded = np.pad(squares[side][0].numpy(), 21, mode="edge")
        assert np.array_equal(crop[scale, 0].numpy(), padded[0:42, side : side + 42])


def test_older_files_and_shared_storage_are_read_too(miniature, tmp_path):
    """torch's format before 1.6 cannot be mapped into memory, and crops may be views of one large tensor."""
    expected, _ = cw.read_train(miniature / "train_data.pth.tar").batch(range(90))
    read = entries(miniature / "train_data.pth.tar")
    content = [{"X": x, "y": torch.tensor(entry["y"]), "file": entry["file"]} for x, entry in zip(expected, read, strict=True)]
    for name, new in (("old", False), ("views", True)):
        torch.save(content, tmp_path / name, _use_new_zipfile_serialization=new)
        assert torch.equal(cw.read_train(tmp_path / name).batch(range(90))[0], expected)


def test_writing_into_what_was_read_does_not_change_the_file(miniature):
    before = (miniature / "train_data.pth.tar").read_bytes()
    cw.read_train(miniature / "train_data.pth.tar").X[0].zero_()
    assert (miniature / "train_data.pth.tar").read_bytes() == before


def test_the_path_does_not_say_what_a_file_holds(miniature, tmp_path):
    """The original calls everything training data whose path holds the word."""
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "val_data.pth.tar").write_bytes((miniature / "val_data.pth.tar").read_bytes())
    assert [image.name for image in cw.read_images(tmp_path / "training" / "val_data.pth.tar")] == ["i4"]


# ---- normalisation

def test_every_grey_level_survives_the_round_trip():
    pixels = torch.arange(256, dtype=torch.uint8).expand(3, 4, 256)
    X = cw.normalised(pixels)
    assert torch.equal(cw.denormalised(X), pixels) and cw.round_trip_error(X) < 1e-3
    mean, deviation = (torch.tensor(values) for values in IMAGENET_NORMALIZATION)
    assert torch.allclose(X[:, 0, 255], (1 - mean) / deviation, atol=1e-6)
    assert float(X.min()) == pytest.approx(-2.118, abs=1e-3) and float(X.max()) == pytest.approx(2.64, abs=1e-3)
    assert cw.denormalised(torch.full((2, 3, 3, 5, 5), 9.0)).unique().tolist() == [255]  # clamped; leading axes are free


def test_round_trip_error_tells_other_constants_and_resized_floats():
    X = cw.normalised(torch.randint(0, 256, (3, 40, 40), generator=torch.Generator().manual_seed(0), dtype=torch.uint8))
    resized = torch.nn.functional.interpolate(X[None], size=(33, 33), mode="bilinear")[0]
    assert 0.4 < cw.round_trip_error(resized) <= 0.501
    assert (cw.normalised(cw.denormalised(resized)) - resized).abs().max() < 0.0088  # as the docstring says
    assert cw.round_trip_error(2 * X) > 1


# ---- hostile and damaged

class Trap:
    """A pickle that creates a file when it is loaded."""

    def __init__(self, path: Path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_nothing_in_a_file_is_executed(tmp_path):
    mark = tmp_path / "executed"
    pickle.loads(pickle.dumps(Trap(mark))).close()
    assert mark.exists()  # the trap works, for whoever unpickles it
    mark.unlink()
    torch.save([{"X": Trap(mark), "y": 1, "file": "i1.jpeg"}], tmp_path / "new.pth.tar")
    torch.save([{"X": Trap(mark)}], tmp_path / "old.pth.tar", _use_new_zipfile_serialization=False)
    (tmp_path / "bare.pth.tar").write_bytes(pickle.dumps(Trap(mark)))
    for name in ("new", "old", "bare"):
        for read in (cw.read_train, cw.read_images, cw.CourseworkData):
            said = message(ValueError, read, tmp_path / f"{name}.pth.tar")
            assert f"{name}.pth.tar: not readable as tensors, numbers and text" in said and "weights_only" not in said
    assert not mark.exists()


def test_files_that_are_something_else(miniature, tmp_path):
    whole = (miniature / "train_data.pth.tar").read_bytes()
    contents = {"text": b"hello\n" * 40, "empty": b"", "cut": whole[: len(whole) // 2], "start": whole[:3], "tar": b"data.pkl".ljust(512, b"\0")}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        for read in (cw.read_train, cw.read_images):
            assert message(ValueError, read, tmp_path / name).startswith(f"{tmp_path / name}: not readable as tensors")
    assert "not readable" in message(ValueError, cw.read_train, tmp_path)
    assert "nowhere: missing" in message(FileNotFoundError, cw.read_images, tmp_path / "nowhere")
    for content, said in (([], "an empty list"), ({"X": 1}, "holds dict"), ([1], "the coursework's list of dicts"), (torch.ones(3), "holds Tensor")):
        torch.save(content, tmp_path / "other")
        assert said in message(ValueError, cw.read_train, tmp_path / "other")


def test_the_other_kind_of_file_is_named(miniature):
    assert "whole photographs, not crops" in message(ValueError, cw.read_train, miniature / "val_data.pth.tar")
    assert "crops, not whole photographs" in message(ValueError, cw.read_images, miniature / "train_data.pth.tar")


GOOD = {"X": torch.zeros(3, 3, 42, 42), "y": 0, "file": "i1.jpeg"}


@pytest.mark.parametrize("changes, said", [
    ({"X": torch.zeros(3, 42, 42)}, "X has shape (3, 42, 42), expected (3, 3, 42, 42)"),
    ({"X": torch.zeros(42, 42, 3, 3)}, "X has shape (42, 42, 3, 3)"),
    ({"X": torch.zeros(3, 3, 42, 42, dtype=torch.uint8)}, "X is torch.uint8, expected normalised floats"),
    ({"X": torch.full((3, 3, 42, 42), torch.nan)}, "without NaN"),
    ({"X": torch.zeros(3, 3, 42, 42).to_sparse()}, "not a plain tensor"),
    ({"X": [[0.0]]}, "X is a list, not a plain tensor"),
    ({"y": 2}, "y is 2, expected 0 or 1"), ({"y": -1}, "y is -1, expected"), ({"y": "1"}, "y is 1, expected"), ({"y": True}, "y is True"),
    ({"file": "../i1.jpeg"}, "not the name of a photograph"), ({"file": "i1.jpeg\n"}, "not the name of a photograph"),
    ({"file": ""}, "not the name of a photograph"), ({"file": 7}, "file is '7', not the name"),
    ({"file": None}, "entry 1: has no file"), ({"X": None}, "entry 1: has no X"),
])
def test_a_bad_training_entry_is_named(tmp_path, changes, said):
    path = tmp_path / "train_data.pth.tar"
    torch.save([GOOD, changed(GOOD, **changes)], path)
    found = message(ValueError, cw.read_train, path)
    assert found.startswith(f"{path}: entry 1") and said in found


grid = torch.cartesian_prod
DOWN, ACROSS = torch.linspace(1, 52, 50).round(), torch.linspace(1, 90, 50).round()  # of i4, 52 x 90


@pytest.mark.parametrize("changes, said", [
    ({"y": 1}, "y is 1, expected -1"),
    ({"X": torch.zeros(52, 90, 3)}, "X has shape (52, 90, 3), expected (3, side, side)"),
    ({"X": torch.zeros(3, 20, 90)}, "X has shape (3, 20, 90)"),
    ({"X": torch.zeros(1).expand(3, 10**6, 10**6)}, "X has shape (3, 1000000, 1000000)"),
    ({"X_250": torch.zeros(3, 400, 400)}, "X_250 has shape (3, 400, 400), expected (3, 250, 250)"),
    ({"X_150": None}, "has no X_150"),
    ({"X_400": torch.full((3, 400, 400), torch.inf)}, "X_400 is torch.float32, expected normalised floats without"),
    ({"spatial_coords": torch.zeros(100, 2)}, "spatial_coords is Tensor (100, 2), expected (2500, 2)"),
    ({"spatial_coords": "none"}, "spatial_coords is str"), ({"spatial_coords": [[1, 2], [3]]}, "spatial_coords is list"),
    ({"spatial_coords": grid(DOWN, ACROSS) + 5}, "must be whole pixels (y, x) in the photograph of 90x52"),
    ({"spatial_coords": grid(DOWN, ACROSS) - 2}, "must be whole pixels"), ({"spatial_coords": grid(DOWN, ACROSS) - 0.5}, "must be whole pixels"),
    ({"spatial_coords": grid(DOWN, DOWN).flip(1)}, "y first, row by row"), ({"spatial_coords": torch.ones(2500, 2)}, "y first, row by row"),
    ({"spatial_coords": grid(DOWN.flip(0), ACROSS)}, "y first, row by row"),
])
def test_a_bad_photograph_is_named(tmp_path, miniature, changes, said):
    path = tmp_path / "val_data.pth.tar"
    torch.save([changed(entries(miniature / path.name)[0], **changes)], path)
    found = message(ValueError, cw.read_images, path)
    assert found.startswith(f"{path}: entry 0") and said in found


def test_centres_may_be_a_list_and_start_at_0(tmp_path, miniature):
    coords = (grid(DOWN, ACROSS) - 1).long()
    torch.save([changed(entries(miniature / "val_data.pth.tar")[0], spatial_coords=coords.tolist())], tmp_path / "val")
    assert torch.equal(cw.read_images(tmp_path / "val")[0].spatial_coords, coords)


def test_a_photograph_twice_is_an_error(tmp_path, miniature):
    torch.save(2 * entries(miniature / "val_data.pth.tar"), tmp_path / "val")
    assert "entry 1 (i4.jpeg): i4 is there a second time" in message(ValueError, cw.read_images, tmp_path / "val")


# ---- axis order

def test_swapped_axes_are_told_by_the_pixels(miniature, tmp_path):
    """Both axes have three entries, so no shape check can."""
    swapped = [entry | {"X": entry["X"].transpose(0, 1)} for entry in entries(miniature / "train_data.pth.tar")]
    torch.save(swapped, tmp_path / "train")
    assert "look like (channel, scale, 42, 42)" in message(ValueError, cw.read_train, tmp_path / "train")
    crops = cw.read_train(tmp_path / "train", check_axes=False)
    right, _ = cw.read_train(miniature / "train_data.pth.tar").batch(range(90))
    assert torch.equal(crops.batch(range(90))[0], right.transpose(1, 2))
    assert cw.axis_order(right) == "scale, channel" and cw.axis_order(right.transpose(1, 2)) == "channel, scale"


def test_where_the_pixels_do_not_tell_nothing_is_claimed(tmp_path):
    noise = torch.randn(50, 3, 3, 42, 42, generator=torch.Generator().manual_seed(0))
    for crops in (noise, torch.ones(4, 3, 3, 42, 42)):
        assert cw.axis_order(crops) == "unknown"
    torch.save([GOOD, GOOD], tmp_path / "flat")
    assert len(cw.read_train(tmp_path / "flat", check_axes=False)) == 2


@pytest.mark.parametrize("change, said", [
    (lambda X: X * 1e30, "reaches from"), (lambda X: cw.denormalised(X).float(), "reaches from"),
    (lambda X: cw.denormalised(X).float() / 255, "lie from 0 to 1, so they are not normalised"),
    (lambda X: X * 0, "100% of its crops have one value"),
])
def test_pixels_that_were_never_normalised_are_told(miniature, tmp_path, change, said):
    """By the reader, and by `verify`, which reads on; both name the file."""
    for path in miniature.iterdir():
        (shutil.copytree if path.is_dir() else shutil.copy)(path, tmp_path / path.name)
    path = tmp_path / "train_data.pth.tar"
    torch.save([entry | {"X": change(entry["X"])} for entry in entries(path)], path)
    assert said in message(ValueError, cw.read_train, path)
    assert any(said in line and str(path) in line for line in coursework_verify.verify(tmp_path).problems)


@pytest.mark.parametrize("label, said", [(0, "none of its"), (1, "each of its")])
def test_labels_of_one_kind_are_told_by_verify(miniature, tmp_path, label, said):
    for path in miniature.iterdir():
        (shutil.copytree if path.is_dir() else shutil.copy)(path, tmp_path / path.name)
    path = tmp_path / "train_data.pth.tar"
    torch.save([entry | {"y": label} for entry in entries(path)], path)
    assert any(said in line for line in coursework_verify.verify(tmp_path).problems)


def test_axis_order_on_real_photographs(real_data, tmp_path):
    folder = write_miniature(tmp_path / "mini", MIT1003(real_data / "mit1003"), images=4)
    X, _ = cw.read_train(folder / "train_data.pth.tar").batch(range(60))
    assert cw.axis_order(X) == "scale, channel" and cw.axis_order(X.transpose(1, 2)) == "channel, scale"
    found = cw.CourseworkData(folder / "test_data.pth.tar")
    assert not found.is_twin and found.fixations(0) is None and found.density(0).max() > 0.9  # that copy has no points


# ---- as a data set, and the miniature

def test_speaks_as_the_other_saliency_sets(data, miniature):
    found, blank = cw.CourseworkData(miniature / "val_data.pth.tar"), cw.CourseworkData(miniature / "test_data.pth.tar")
    assert isinstance(found, SaliencyData) and len(found) == 1 and not found.is_twin and found.true_density(0) is None
    assert found.name(0) == "i4" and found.size(0) == (52, 90) and found.path(0) == miniature / "ALLSTIMULI" / "i4.jpeg"
    assert found.image(0).dtype == np.uint8 and np.array_equal(found.image(0), data.image(3))
    assert found.fixations(0).tolist() == data.fixations(3).tolist() == [[5, 20], [35, 20], [65, 20]] and found.subjects(0) is None
    assert found.density(0).dtype == np.float32 and np.abs(found.density(0) - data.density(3)).max() < 0.05  # saved as JPEG twice
    assert blank.fixations(0) is None and found.fingerprint != blank.fingerprint and len(found.fingerprint) == 16


def test_maps_that_are_absent_or_of_another_size(data, tmp_path):
    folder = write_miniature(tmp_path / "mini", data, images=3)
    found, path = cw.CourseworkData(folder / "val_data.pth.tar"), folder / "ALLFIXATIONMAPS" / "i2.p5_fixMap.jpg"
    Image.new("L", (64, 30)).save(path)
    assert "i2.p5_fixMap.jpg: is 64x30, its photograph in val_data.pth.tar 64x80" in message(ValueError, found.density, 0)
    path.unlink()
    assert "i2.p5_fixMap.jpg: missing" in message(FileNotFoundError, found.density, 0)
    (folder / "ALLFIXATIONMAPS").rename(folder / "elsewhere")
    assert "ALLFIXATIONMAPS: missing" in message(FileNotFoundError, cw.CourseworkData, folder / "val_data.pth.tar")


def test_a_miniature_splits_by_photograph_and_is_the_same_again(data, miniature, tmp_path):
    again = write_miniature(tmp_path / "again", data, images=5)
    held = {split: {entry["file"] for entry in entries(again / name)} for split, name in cw.FILES.items()}
    assert held == {"train": {"i1.jpeg", "i2.p5.jpeg", "i3.jpeg"}, "val": {"i4.jpeg"}, "test": {"i5.jpeg"}}
    first, second = (cw.read_train(folder / "train_data.pth.tar").batch(range(90))[0] for folder in (miniature, again))
    other = cw.read_train(write_miniature(tmp_path / "other", data, images=5, seed=1) / "train_data.pth.tar").batch(range(90))[0]
    assert torch.equal(first, second) and not torch.equal(first, other)


def test_a_miniature_overwrites_nothing_and_leaves_no_half(data, tmp_path, monkeypatch):
    """Someone may point it at the folder of the real files."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "train_data.pth.tar").write_bytes(b"1.5 GB")
    assert "holds something already" in message(ValueError, write_miniature, tmp_path / "real", data)
    assert (tmp_path / "real" / "train_data.pth.tar").read_bytes() == b"1.5 GB"
    for images in (2, 6):
        assert "3 or more photographs, at most the 5" in message(ValueError, write_miniature, tmp_path / "new", data, images=images)
    monkeypatch.setattr(data.__class__, "density", lambda self, index: np.ones(self.size(index), np.float32))
    assert "i1.jpeg: its blurred map is flat" in message(ValueError, write_miniature, tmp_path / "new", data)
    assert sorted(os.listdir(tmp_path)) == ["real"]


def test_a_twins_miniature_is_a_twin(data, tmp_path, monkeypatch):
    """So that nothing made of drawn pictures is ever reported as a result on the coursework's photographs."""
    monkeypatch.setattr(data.__class__, "is_twin", True)
    monkeypatch.setattr(data.__class__, "true_density", lambda self, index: np.full(self.size(index), 1 / np.prod(self.size(index)), np.float32))
    found = cw.CourseworkData(write_miniature(tmp_path / "mini", data, images=3) / "test_data.pth.tar")
    monkeypatch.undo()
    assert found.is_twin and found.true_density(0).shape == (64, 64) and found.true_density(0).sum() == pytest.approx(1, abs=1e-5)


class TestVerify:
    """`python -m lib verify coursework DIR`: all that is wrong is said at once, in one line each."""

    @pytest.fixture
    def root(self, miniature, tmp_path) -> Path:
        return Path(shutil.copytree(miniature, tmp_path / "files"))

    def test_a_miniature_is_well_but_small(self, miniature):
        report = coursework_verify.verify(miniature)
        assert report.ok and "train_data.pth.tar: 90 crops, 30 fixated; axes by the pixels: scale, channel" in "\n".join(report.lines)
        assert [line for line in report.warnings if "expected" in line] == [
            "train_data.pth.tar: photographs: 3, expected 803: 800 missing", "val_data.pth.tar: photographs: 1, expected 100: 99 missing",
            "test_data.pth.tar: photographs: 1, expected 100: 99 missing"]
        assert any("test_data.pth.tar: 1 photographs have no fixPts" in line for line in report.warnings)  # i5

    def test_everything_wrong_is_listed(self, root):
        train, val = entries(root / cw.FILES["train"]), entries(root / cw.FILES["val"])
        torch.save([changed(entry, X=entry["X"].transpose(0, 1).clone()) for entry in train[:-1]], root / cw.FILES["train"])
        torch.save([changed(val[0], file="i1.jpeg", X=val[0]["X"] + 0.003)], root / cw.FILES["val"])
        (root / "ALLFIXATIONMAPS" / "i5_fixMap.jpg").unlink()
        report = coursework_verify.verify(root)
        assert not report.ok and all("\n" not in line for line in report.lines)
        said = "\n".join(report.problems)
        assert "look like (channel, scale, 42, 42)" in said and "i1 is in more than one of the files" in said and "i5_fixMap.jpg" in said
        assert any("1 of 3 photographs have another number of crops than 30, i3.jpeg for one" in line for line in report.warnings)
        assert any("normalised with other constants" in line for line in report.warnings)

    def test_a_file_that_is_not_there_and_one_that_is_none(self, root):
        (root / cw.FILES["train"]).unlink()
        (root / cw.FILES["test"]).write_bytes(b"nothing")
        report = coursework_verify.verify(root)
        assert [cw.FILES["train"] in report.problems[0], cw.FILES["test"] in report.problems[1], len(report.problems)] == [True, True, 2]
