"""imagenette: the loader reads what the synthetic twin writes, bad input is named, coverage counts what crops show."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets, transforms

from lib.data.canvas import canvas_boxes
from lib.data.imagenette import CLASSES, WNIDS, Imagenette, crop_coverage
from lib.data.imagenette_verify import verify
from lib.data.synthetic import imagenette as twin
from lib.data.synthetic import imagenette_scenes as scenes

TINY = {"train": 100, "val": 20}


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    """One small twin for the tests that only read."""
    return twin.write(tmp_path_factory.mktemp("imagenette") / "twin", seed=1, workers=1, **TINY)


@pytest.fixture
def broken(shared, tmp_path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(shared, tmp_path / "copy"))


def some(folder: Path) -> Path:
    return sorted(folder.glob("*.JPEG"))[0]


def files(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in root.rglob("*") if path.is_file()}


def message(kind: type[Exception], call) -> str:
    with pytest.raises(kind) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


# ----------------------------------------------------------------------------------------------------------------- layout


def test_torchvision_reads_the_twin_as_it_reads_the_real_one(shared, tmp_path):
    """The layout is the published one: torchvision's own loader finds the same files with the same labels and names."""
    shutil.copytree(shared, tmp_path / "imagenette2-160")
    theirs = datasets.Imagenette(tmp_path, split="val", size="160px")
    ours = Imagenette(tmp_path, "test")
    assert len(theirs) == len(ours) == TINY["val"]
    assert [label for _, label in theirs._samples] == ours.label.tolist()
    assert [Path(path) for path, _ in theirs._samples] == ours.path
    assert [names[0] for names in theirs.classes] == list(ours.classes) and tuple(theirs.wnids) == ours.wnids


def test_splits_share_nothing_and_make_up_what_is_published(shared):
    parts = {split: Imagenette(shared, split) for split in ("train", "val", "test")}
    assert {split: len(data) for split, data in parts.items()} == {"train": 90, "val": 10, "test": 20}
    names = [name for data in parts.values() for name in data.name.tolist()]
    assert len(set(names)) == len(names) == 120
    for data in parts.values():
        assert (np.diff(data.label) >= 0).all() and set(data.label) == set(range(10))
        assert [WNIDS[label] for label in data.label] == [path.parent.name for path in data.path]
    for wnid in WNIDS:  # the last tenth in the order of names
        train, val = ([Path(n).name for n in parts[s].name if wnid in n] for s in ("train", "val"))
        assert max(train) < min(val)


def test_labels_and_names_are_the_published_ones():
    assert list(CLASSES) == sorted(CLASSES) and len(CLASSES) == 10
    assert (CLASSES["n01440764"], CLASSES["n03394916"], CLASSES["n03888257"]) == ("tench", "French horn", "parachute")


def test_the_folder_around_is_understood_unless_it_holds_several(shared, tmp_path):
    shutil.copytree(shared, tmp_path / "imagenette2-160")
    assert Imagenette(tmp_path, "val").root == tmp_path / "imagenette2-160"
    shutil.copytree(shared, tmp_path / "imagenette2")
    assert "give one of them" in message(ValueError, lambda: Imagenette(tmp_path, "val"))


def test_other_files_are_not_photographs(broken):
    folder = broken / "train" / WNIDS[0]
    for name in ("._n01440764_0.JPEG", "notes.txt", ".DS_Store"):
        (folder / name).write_bytes(b"")
    (broken / "train" / ".ipynb_checkpoints").mkdir()
    assert len(Imagenette(broken, "train")) == 90


# ------------------------------------------------------------------------------------------------------------ photographs


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_photographs_come_out_rgb(broken, mode):
    data = Imagenette(broken, "test")
    Image.new("RGB", (30, 20), (40, 40, 40)).convert(mode).save(data.path[0], "JPEG")
    assert data.image(0).shape == (20, 30, 3) and abs(data.image(0).astype(int) - 40).max() < 4
    assert data.size[0].tolist() == [20, 30]


def test_the_square_is_torchvisions_resize_and_centre_crop(shared):
    """`canvas` against the transforms that the released code is made of."""
    data = Imagenette(shared, "test")
    rule = transforms.Compose([transforms.Resize(96), transforms.CenterCrop(96)])
    for i in range(6):
        np.testing.assert_array_equal(data.canvas(i, 96), np.array(rule(Image.open(data.path[i]))))


def test_a_broken_photograph_is_named_in_one_line(broken):
    data = Imagenette(broken, "test")
    data.path[3].write_bytes(data.path[3].read_bytes()[:900])
    data.path[4].write_bytes(b"no picture")
    for i in (3, 4):
        assert str(data.path[i]) in message(ValueError, lambda i=i: data.canvas(i, 32))
    assert str(data.path[4]) in message(ValueError, lambda: data.size)


@pytest.mark.parametrize("part", ["train", "val"])
def test_missing_empty_and_unknown_classes_are_named(broken, part):
    folder, split = broken / part / "n03445777", "train" if part == "train" else "test"
    for path in folder.iterdir():
        path.unlink()
    assert f"{folder}: holds no .JPEG" in message(FileNotFoundError, lambda: Imagenette(broken, split))
    folder.rmdir()
    assert f"{folder}: missing (golf ball)" in message(FileNotFoundError, lambda: Imagenette(broken, split))
    (broken / part / "n02086240").mkdir()  # of imagewoof
    assert "n02086240: is no class of imagenette" in message(ValueError, lambda: Imagenette(broken, split))


def test_a_folder_or_split_that_does_not_exist(shared, tmp_path):
    assert "no train and val folders" in message(FileNotFoundError, lambda: Imagenette(tmp_path, "train"))
    assert "imagenette has train, val, test" in message(ValueError, lambda: Imagenette(shared, "valid"))


def test_too_few_photographs_to_hold_some_back(tmp_path):
    root = twin.write(tmp_path / "few", train=20, val=10, workers=1)
    assert len(Imagenette(root, "train")) == 20
    assert "less than one photograph" in message(ValueError, lambda: Imagenette(root, "val"))


def test_fingerprint_changes_with_what_is_read_and_only_then(broken):
    first = Imagenette(broken, "test").fingerprint
    some(broken / "train" / WNIDS[0]).write_bytes(b"")
    assert Imagenette(broken, "test").fingerprint == first != Imagenette(broken, "train").fingerprint
    boxes = json.loads((broken / "boxes.json").read_text())
    boxes[Imagenette(broken, "test").name[0]] = [1, 2, 3, 4]
    (broken / "boxes.json").write_text(json.dumps(boxes))
    assert Imagenette(broken, "test").fingerprint != first


def test_boxes_are_the_twins_alone(broken):
    assert Imagenette(broken, "test").box.shape == (20, 4) and Imagenette(broken, "test").is_twin
    (broken / "boxes.json").write_text('{"val/any.JPEG": [1, 2, 3, 4]}')
    assert "boxes.json: does not hold a box" in message(ValueError, lambda: Imagenette(broken, "test").box)
    (broken / "boxes.json").unlink()
    (broken / "TWIN.json").unlink()
    assert Imagenette(broken, "test").box is None and not Imagenette(broken, "test").is_twin


def test_real_photographs_are_read(real_data, tmp_path):
    photos = sorted((real_data / "photos").glob("*.JPEG"))
    for part in ("train", "val"):
        for i, wnid in enumerate(WNIDS):
            (tmp_path / part / wnid).mkdir(parents=True)
            for path in photos[3 * i:3 * i + 3]:
                (tmp_path / part / wnid / f"{part}_{path.name}").symlink_to(path)
    data = Imagenette(tmp_path, "test")
    assert len(data) == 30 and data.box is None
    for i in range(len(data)):
        assert data.image(i).shape == (*data.size[i], 3)
        assert data.canvas(i, 96).shape == (96, 96, 3) and data.canvas(i, 96).std() > 5
    lines = verify(tmp_path).lines
    assert any("photographs decoded: 60 of 60" in line for line in lines)


# --------------------------------------------------------------------------------------------------------------- coverage


def test_coverage_of_boxes_made_by_hand():
    """An image of 96 px, crops of 64: corners begin at 0 and 32, the centre at 16."""
    boxes = [(0, 0, 10, 10), (40, 40, 10, 10), (54, 0, 20, 10), (86, 86, 10, 10), (16, 16, 64, 64), (-5, 0, 10, 10)]
    expected = [[1, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, 1], [0.5, 1, 0, 0, 0, 1], [0, 0, 0, 1, 0, 1],
                [(48 / 64) ** 2] * 4 + [1, 1], [0.5, 0, 0, 0, 0, 0.5]]
    np.testing.assert_allclose(crop_coverage(boxes, 96, 64, views=6), expected)
    np.testing.assert_allclose(crop_coverage(boxes, (96, 96), 64), np.array(expected)[:, :5])


def test_coverage_counts_the_pixels_that_the_crops_really_show():
    """Boxes painted white, cut by `five_crops`, counted."""
    from lib.models.proposal import five_crops

    rng = np.random.default_rng(0)
    for _ in range(20):
        height, width, crop = rng.integers(50, 80, 3)
        crop = min(crop, height, width)
        w, h = rng.integers(5, 30, 2)
        x, y = rng.integers(0, width - w + 1), rng.integers(0, height - h + 1)
        image = torch.zeros(1, 1, height, width)
        image[..., y:y + h, x:x + w] = 1
        counted = five_crops(image, int(crop))[0].sum((1, 2, 3)) / (w * h)
        np.testing.assert_allclose(crop_coverage([(x, y, w, h)], (int(height), int(width)), int(crop))[0], counted, atol=1e-6)


# -------------------------------------------------------------------------------------------------------------------- twin


def test_bytes_depend_on_the_parameters_alone(shared, tmp_path):
    again = twin.write(tmp_path / "again", seed=1, workers=2, **TINY)
    assert files(again) == files(shared)
    other = twin.write(tmp_path / "other", seed=2, workers=1, train=10, val=10)
    first = f"train/{WNIDS[0]}/{WNIDS[0]}_train_00000.JPEG"
    assert files(other)[first] != files(shared)[first]


def test_a_smaller_twin_is_the_beginning_of_a_larger_one(shared, tmp_path):
    less = files(twin.write(tmp_path / "less", seed=1, workers=1, train=20, val=10))
    pictures = {name for name in less if name.endswith(".JPEG")}
    assert len(pictures) == 30 and all(less[name] == files(shared)[name] for name in pictures)


def test_writing_again_finds_it_and_never_overwrites(shared, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in shared.rglob("*")}
    assert twin.write(shared, seed=1, **TINY) == shared
    assert {path: path.stat().st_mtime_ns for path in shared.rglob("*")} == before
    assert "already holds a twin" in message(ValueError, lambda: twin.write(shared, seed=2, **TINY))
    assert "at least 10" in message(ValueError, lambda: twin.write(tmp_path / "none", train=5, val=10))
    assert "one of small, large" in message(ValueError, lambda: twin.write(tmp_path / "none", objects="tiny"))
    assert not (tmp_path / "none").exists()


def test_pictures_have_the_published_shortest_side_and_boxes_in_the_square(shared):
    for split in ("train", "test"):
        data = Imagenette(shared, split)
        assert (data.size.min(1) == 160).all() and len(np.unique(data.size, axis=0)) > 2
        x, y, w, h = canvas_boxes(data.box, data.size, 160).T
        assert (x >= -0.5).all() and (y >= -0.5).all() and (x + w <= 160.5).all() and (y + h <= 160.5).all()
        assert (np.sqrt(w * h) < 60).all() and (np.maximum(w, h) > 25).all()


def test_the_box_holds_the_object_and_all_of_it():
    """The same scene without its object differs inside the box, up to the last lens blur, and nowhere else."""
    for wnid in WNIDS:
        size, look = (160, 200), scenes.LOOKS["small"]
        shown, (x, y, w, h) = scenes.render(wnid, size, look, np.random.default_rng(7))
        drawn = scenes.DRAW[wnid]
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(scenes.DRAW, wnid, lambda pen, drawn=drawn: (drawn(pen), pen.image.paste((0, 0, 0), (0, 0, *pen.image.size))))
            black, box = scenes.render(wnid, size, look, np.random.default_rng(7))
        assert box == (x, y, w, h)
        where = np.argwhere(np.abs(np.asarray(shown, int) - np.asarray(black, int)).max(2) > 8)
        assert where.min(0).tolist() >= [y - 3, x - 3] and where.max(0).tolist() <= [y + h + 2, x + w + 2]
        assert where[:, 0].min() <= y + 3 and where[:, 0].max() >= y + h - 4


def test_large_objects_are_in_every_crop_and_small_ones_are_not(shared, tmp_path):
    """The negative control offers little to choose, the twin does: coverage says so."""
    def coverage(root: Path) -> np.ndarray:
        data = Imagenette(root, "train")
        return crop_coverage(canvas_boxes(data.box, data.size, 96), 96, 64)

    small, large = coverage(shared), coverage(twin.write(tmp_path / "large", objects="large", workers=1, train=20, val=10))
    assert large.min() > 0.25 and np.ptp(large, axis=1).mean() < 0.35
    assert small.max(1).min() > 0.95 and small.mean() < 0.65 and np.ptp(small, axis=1).mean() > 0.6


def test_classes_look_alike_in_colour(shared):
    """Colour must not tell the class: the mean colour within the box varies within a class as much as over all."""
    data = Imagenette(shared, "train")
    means = np.array([data.image(i)[y:y + h, x:x + w].mean((0, 1)) for i, (x, y, w, h) in enumerate(data.box.astype(int))])
    between = np.array([means[data.label == label].mean(0) for label in range(10)]).std(0)
    assert (between < 0.65 * means.std(0)).all()


# ------------------------------------------------------------------------------------------------------------------ verify


def test_verify_accepts_the_twin_and_says_that_it_is_one(shared):
    steps = []
    report = verify(shared, progress=lambda done, total: steps.append((done, total)))
    assert report.ok and not report.warnings and steps[-1] == (120, 120)
    assert any("synthetic twin, seed 1" in line for line in report.lines)


def test_verify_names_what_is_wrong(broken):
    train = broken / "train" / WNIDS[2]
    picture = some(train)
    picture.write_bytes(b"no picture")
    shutil.copy(some(broken / "val" / WNIDS[5]), broken / "train" / WNIDS[5])
    problems = "\n".join(verify(broken).problems)
    assert f"{picture}: not readable" in problems and "in train and in val" in problems and "101, expected 100" in problems
    shutil.rmtree(broken / "val" / WNIDS[9])
    assert any("parachute" in problem for problem in verify(broken).problems)
    assert not verify(broken / "nowhere").ok


def test_verify_compares_with_the_published_counts_and_sides(shared, tmp_path):
    root = Path(shutil.copytree(shared, tmp_path / "imagenette2-320"))
    (root / "TWIN.json").unlink()
    some(root / "train" / WNIDS[0]).unlink()  # classes of one size would be a part that somebody drew
    report = verify(tmp_path, images=15)
    assert any("9,469: 9,370 missing" in line for line in report.problems)
    assert any("shortest side is not 320 px in 15" in line for line in report.warnings)


# ----------------------------------------------------------------------------------------------------------- a part, resized


def cut(root: Path, train: int, val: int) -> Path:
    """No twin any more, with this many photographs in each class."""
    for name in ("TWIN.json", "boxes.json"):
        (root / name).unlink()
    for part, keep in (("train", train), ("val", val)):
        for folder in (root / part).iterdir():
            for path in sorted(folder.iterdir())[keep:]:
                path.unlink()
    return root


def test_a_part_says_how_much_of_the_published_set_it_is(shared, broken):
    assert Imagenette(shared, "train").notes == {}  # a twin has its own counts
    cut(broken, 10, 2)
    notes = Imagenette(broken, "val").notes
    assert "100 of the 9,469" in notes["photographs"] and "10 of each class" in notes["photographs"]
    assert "20 of the 3,925" in Imagenette(broken, "test").notes["photographs"] and "shape" not in notes
    report = verify(broken)
    assert report.ok and any("a part of the published one, 10 photographs" in line for line in report.warnings)
    some(broken / "train" / WNIDS[4]).unlink()  # uneven: nobody drew that
    assert not verify(broken).ok and "of each class" not in Imagenette(broken, "val").notes["photographs"]


def test_squares_of_one_size_are_said_to_be_resized(broken):
    cut(broken, 10, 2)
    for path in broken.rglob("*.JPEG"):
        Image.open(path).resize((64, 64)).save(path)
    assert "64x64" in Imagenette(broken, "test").notes["shape"] and any("64x64" in line for line in verify(broken).warnings)


def test_the_real_part(real_data):
    data = {split: Imagenette(real_data / "imagenette", split) for split in ("train", "val", "test")}
    assert {split: len(each) for split, each in data.items()} == {"train": 1800, "val": 200, "test": 800}
    assert all(np.bincount(each.label).tolist() == [len(each) // 10] * 10 for each in data.values())
    assert data["test"].image(0).shape == (224, 224, 3)
    assert "2,000 of the 9,469" in data["train"].notes["photographs"] and "224x224" in data["val"].notes["shape"]
    assert verify(real_data / "imagenette", images=50).ok
