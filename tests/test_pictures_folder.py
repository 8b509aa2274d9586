"""Anybody's labelled pictures: folders and CSVs give the same columns, splits are stratified and stable, odd files are told."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.data import pictures_folder
from lib.data.pictures_folder import LabelledPictures, assign, read_listing
from lib.data.recognition import Pictures

COUNTS = {"ant": 30, "bee": 50, "cat & dog": 10}


def picture(path: Path, size: tuple[int, int] = (40, 50), seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)


def fill(root: Path, counts: dict[str, int] = COUNTS) -> Path:
    for name, count in counts.items():
        for n in range(count):
            picture(root / name / f"{n}.png", seed=n)
    return root


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    return fill(tmp_path_factory.mktemp("pictures"))


def table(path: Path, rows: list[list[str]]) -> Path:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def refused(kind: type[Exception], source: Path, split: str = "train", **options) -> str:
    with pytest.raises(kind) as error:
        LabelledPictures(source, split, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def every(source: Path, **options) -> dict[str, LabelledPictures]:
    return {split: LabelledPictures(source, split, **options) for split in ("train", "val", "test")}


# -------------------------------------------------------------------------------------------------------------------- columns


def test_columns_are_those_of_the_other_data_sets(shared):
    data = LabelledPictures(shared, "train")
    assert isinstance(data, Pictures) and data.classes == sorted(COUNTS)
    assert len(data) == len(data.path) == len(data.box) == len(data.image_id) and np.isnan(data.box).all() and data.parts is None
    assert [path.parent.name for path in data.path] == [data.classes[label] for label in data.label]
    assert data.image(0).shape == (40, 50, 3) and (data.size == [40, 50]).all() and len(data.fingerprint) == 16


def test_a_draw_is_stratified_complete_and_disjoint(shared):
    data = every(shared)
    names = [set(each.path.names) for each in data.values()]
    assert sum(map(len, names)) == len(set.union(*names)) == sum(COUNTS.values())
    counts = {split: np.bincount(each.label).tolist() for split, each in data.items()}
    assert counts == {"train": [21, 35, 7], "val": [3, 5, 1], "test": [6, 10, 2]}
    assert "seed 0" in data["test"].notes["split"]


def test_a_draw_depends_on_seed_and_names_alone(shared, tmp_path):
    first, again, other = (set(LabelledPictures(shared, "test", seed=seed).path.names) for seed in (0, 0, 1))
    assert first == again != other
    assert set(LabelledPictures(fill(tmp_path / "elsewhere"), "test").path.names) == first
    picture(tmp_path / "elsewhere" / "ant" / "new.png")
    assert len(set(LabelledPictures(tmp_path / "elsewhere", "test").path.names) - first) <= 1


def test_a_split_by_folders_is_taken_as_it_is(tmp_path):
    for part, count in (("train", 6), ("valid", 2), ("test", 3)):
        fill(tmp_path / part, {"a": count, "b": count + 1})
    data = every(tmp_path)
    assert {split: len(each) for split, each in data.items()} == {"train": 13, "val": 5, "test": 7}
    assert all(name.startswith("test/") for name in data["test"].path.names) and data["test"].notes["split"] == "as given"


@pytest.mark.parametrize("second", ["val", "test"])
def test_what_is_tested_on_is_never_drawn_from(tmp_path, second):
    """With two folders the second is tested on, and what to choose by comes out of train."""
    fill(tmp_path / "train", {"a": 10, "b": 20})
    fill(tmp_path / second, {"a": 3, "b": 3})
    data = every(tmp_path)
    assert {split: np.bincount(each.label).tolist() for split, each in data.items()} == {"train": [9, 18], "val": [1, 2], "test": [3, 3]}
    assert all(name.startswith(f"{second}/") for name in data["test"].path.names)
    assert all(name.startswith("train/") for name in data["val"].path.names)


def test_a_table_gives_what_the_folder_gives(shared, tmp_path):
    listing = read_listing(shared)
    rows = [[label, str(shared / name)] for name, label in zip(listing.names, listing.classes, strict=True)]
    order = np.random.default_rng(0).permutation(len(rows))
    absolute = table(tmp_path / "list.csv", [["label", "path"], *(rows[i] for i in order)])
    data = LabelledPictures(absolute, "train")
    assert data.classes == sorted(COUNTS) and np.bincount(data.label).tolist() == [21, 35, 7]
    assert all(path.parent.name == data.classes[label] for path, label in zip(data.path, data.label, strict=True))
    parts, _ = assign(listing, seed=0, val=0.1, test=0.2, source="")
    split = table(shared / "list.csv", [["path", "label", "split", "remark"],
                                        *([*row, ""] for row in zip(listing.names, listing.classes, parts, strict=True))])
    for name, each in every(split).items():
        assert each.path.names == LabelledPictures(shared, name).path.names and each.notes["split"] == "as given"
    split.unlink()


# ------------------------------------------------------------------------------------------------------------------ odd files


def test_every_picture_goes_through_one_function(shared, monkeypatch):
    """Whatever is decided on bit depths and orientation holds here: sizes are those of what the function gives."""
    turned = pictures_folder.read_rgb
    monkeypatch.setattr(pictures_folder, "read_picture", lambda path: np.rot90(turned(path)))
    data = LabelledPictures(shared, "val")
    assert (data.size == [50, 40]).all() and data.image(0).shape == (50, 40, 3)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_pictures_of_other_modes_come_out_rgb(tmp_path, mode):
    fill(tmp_path, {"a": 4, "b": 4})
    for n in range(4):
        Image.new("RGB", (30, 20), (255, 255, 255)).convert(mode).save(tmp_path / "a" / f"{n}.{'tif' if mode == 'CMYK' else 'png'}")
    data = LabelledPictures(tmp_path, "train")
    assert data.image(0).shape[2] == 3 and data.image(0).dtype == np.uint8


def test_unreadable_pictures_are_left_out_and_named(tmp_path):
    fill(tmp_path)
    before = LabelledPictures(tmp_path, "train")
    broken, empty, text = before.path.names[:3]
    (tmp_path / broken).write_bytes((tmp_path / broken).read_bytes()[:900])  # the header is whole
    (tmp_path / empty).write_bytes(b"")
    (tmp_path / text).write_text("no picture")
    data = LabelledPictures(tmp_path, "train")
    assert data.path.names == before.path.names[3:] and all(name in data.notes["left out"] for name in (broken, empty, text))
    assert "3 pictures" in data.notes["left out"]
    np.testing.assert_array_equal(data.label, before.label[3:])
    assert LabelledPictures(tmp_path, "test").path.names == LabelledPictures(tmp_path, "test", unreadable="refuse").path.names
    assert broken in refused(ValueError, tmp_path, unreadable="refuse")


def test_tiny_pictures_are_kept_and_counted(tmp_path):
    fill(tmp_path)
    picture(tmp_path / "bee" / "0.png", (1, 1))
    picture(tmp_path / "bee" / "1.png", (300, 31))
    notes = " ".join(each.notes.get("tiny", "") for each in every(tmp_path).values())
    assert "bee/0.png" in notes and "bee/1.png" in notes and "bee/2.png" not in notes


def test_pictures_in_several_classes_or_parts_are_told(tmp_path):
    """Byte by byte: such a picture cannot be told apart, and one that is learned from is known by heart when it is tested on."""
    for n, where in enumerate(("train/ant/a", "train/ant/b", "train/bee/c", "train/bee/d", "test/ant/e", "test/bee/f")):
        picture(tmp_path / f"{where}.png", seed=n)
    for split in ("train", "test"):
        assert not {"classes", "copies"} & set(LabelledPictures(tmp_path, split).notes)
    picture(tmp_path / "train/bee/again.png", seed=0)
    picture(tmp_path / "test/bee/known.png", seed=3)
    train, test = (LabelledPictures(tmp_path, split, val=0.4).notes for split in ("train", "test"))
    assert "copies" not in train and "classes" not in test
    assert "1 picture" in test["copies"] and "known.png" in test["copies"] and "d.png" in test["copies"]
    told = "".join(LabelledPictures(tmp_path, split, val=0.4).notes.get("classes", "") for split in ("train", "val"))
    assert "a.png" in told and "again.png" in told


def test_a_class_without_a_readable_picture_is_refused(tmp_path):
    fill(tmp_path)
    for name in LabelledPictures(tmp_path, "val").path.names:
        if name.startswith("cat"):
            (tmp_path / name).write_bytes(b"")
    assert "'cat & dog' in split 'val'" in refused(ValueError, tmp_path, "val")


# ------------------------------------------------------------------------------------------------------------------ bad input


def test_folders_that_cannot_be_compared_are_refused(tmp_path):
    assert "no such folder" in refused(FileNotFoundError, tmp_path / "none")
    assert "no class folders" in refused(FileNotFoundError, tmp_path)
    fill(tmp_path, {"a": 5})
    assert "one class, 'a'" in refused(ValueError, tmp_path)
    fill(tmp_path, {"b": 2})
    assert "class 'b' has 2 pictures" in refused(ValueError, tmp_path)
    (tmp_path / "c").mkdir()
    assert f"{tmp_path / 'c'}: holds no picture" in refused(FileNotFoundError, tmp_path)


def test_a_class_that_one_split_lacks_is_refused(tmp_path):
    fill(tmp_path / "train", {"a": 4, "b": 4})
    fill(tmp_path / "test", {"a": 4})
    assert f"{tmp_path / 'test' / 'b'}: missing" in refused(ValueError, tmp_path)
    fill(tmp_path / "test", {"b": 4})
    for name in ("val", "valid"):
        fill(tmp_path / name, {"a": 1, "b": 1})
    assert "two are the same split" in refused(ValueError, tmp_path)


@pytest.mark.parametrize(("rows", "text"), [
    ([], "must name the columns"),
    ([["file", "label"], ["a.png", "x"]], "must name the columns"),
    ([["path", "label"]], "lists no picture"),
    ([["path", "label"], ["a.png"]], "line 2: has no path or no label"),
    ([["path", "label"], ["a.png", ""]], "line 2: has no path or no label"),
    ([["path", "label"], ["a.png", "x", "y"]], "line 2: has no path or no label"),
    ([["path", "label"], ["a.png", "x"], ["./a.png", "x"]], "line 3: ./a.png is listed in line 2 already"),
    ([["path", "label", "split"], ["a.png", "x", "dev"]], "line 2: split 'dev'"),
    ([["path", "label", "split"], ["a.png", "x", "train"], ["b.png", "y", "train"]], "nothing in test"),
    ([["path", "label", "split"], ["a.png", "x", "train"], ["b.png", "y", "test"]], "class 'x' has 1 picture;"),
    ([["path", "label", "split"], ["a.png", "x", "train"], ["b.png", "y", "test"], ["c.png", "x", "val"]],
     "class 'y' has no picture in train"),
])
def test_tables_that_cannot_be_read_are_refused(tmp_path, rows, text):
    for name in "abc":
        picture(tmp_path / f"{name}.png")
    assert text in refused(ValueError, table(tmp_path / "list.csv", rows))


def test_paths_of_a_table_must_be_files(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "folder").mkdir()
    for name in ("b.png", "folder", "../a.png"):
        source = table(tmp_path / "list.csv", [["path", "label"], ["a.png", "x"], [name, "y"]])
        assert f"line 3: {name!r} is no file" in refused(FileNotFoundError, source)
    (tmp_path / "bytes.csv").write_bytes(b"path,label\n\xff\xfe,x\n")
    assert "not readable as CSV" in refused(ValueError, tmp_path / "bytes.csv")
    assert "no such file" in refused(FileNotFoundError, tmp_path / "none.csv")


@pytest.mark.parametrize("options", [{"val": 0}, {"test": 1}, {"val": 0.5, "test": 0.5}, {"unreadable": "ignore"}])
def test_wrong_options_are_refused(shared, options):
    assert next(iter(options)) in refused(ValueError, shared, **options)
    with pytest.raises(ValueError, match="split 'dev'"):
        LabelledPictures(shared, "dev")


# ------------------------------------------------------------------------------------------------------------------ real files


def test_real_birds_as_a_folder(real_data):
    data = LabelledPictures(real_data / "cub200" / "images", "test")
    assert len(data.classes) == 10 and len(data) == sum(round(0.2 * n) for n in np.bincount(np.concatenate(
        [each.label for each in every(real_data / "cub200" / "images").values()])))
    assert set(data.notes) == {"split"} and data.size.max() == 500
