"""CUB-200-2011: the loader reads what the synthetic twin writes in the published layout; bad input is named; `verify`."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.data.cub200 import CUB200, FILES, HEAD, PART_FILES, head_box, part_points
from lib.data.cub200_verify import verify
from lib.data.files import image_size
from lib.data.synthetic import cub200 as twin

TINY = {"train": 96, "test": 32, "side": 48}


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    """One small twin for the tests that only read."""
    return twin.write(tmp_path_factory.mktemp("cub200") / "twin", seed=1, workers=1, **TINY)


@pytest.fixture
def broken(shared, tmp_path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(shared, tmp_path / "copy"))


def rows(root: Path, name: str) -> list[str]:
    return (root / name).read_text().splitlines()


def write(root: Path, name: str, lines: list[str]) -> None:
    (root / name).write_text("".join(f"{line}\n" for line in lines))


def refused(root: Path, kind: type[Exception] = ValueError) -> str:
    with pytest.raises(kind) as error:
        CUB200(root, "train")
    assert "\n" not in str(error.value) and str(root) in str(error.value)
    return str(error.value)


# ------------------------------------------------------------------------------------------------------------ twin -> loader


def test_layout_is_the_published_one(shared):
    assert {path.name for path in shared.iterdir()} == {"images", "parts", "TWIN.json", *FILES}
    assert {f"parts/{path.name}" for path in (shared / "parts").iterdir()} == set(PART_FILES)
    assert rows(shared, "images.txt")[0].startswith("1 001.Warm_anterior_Mock_Warbler/Warm_anterior_Mock_Warbler_0001_")
    assert rows(shared, "image_class_labels.txt")[0] == "1 1" and rows(shared, "classes.txt")[0] == "1 001.Warm_anterior_Mock_Warbler"
    assert len(rows(shared, "parts/part_locs.txt")) == 128 * 15
    assert rows(shared, "parts/parts.txt")[6] == "7 left eye"  # the published numbers


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_picture_has_the_label_of_its_folder(shared, split):
    data = CUB200(shared, split)
    assert len(data) == len(data.path) == len(data.label) == len(data.box) == len(data.parts) and data.supercategory is None
    assert [path.parent.name for path in data.path] == [data.classes[label] for label in data.label]
    for i in range(len(data)):
        assert data.image(i).shape == (*data.size[i], 3) and tuple(data.size[i]) == image_size(data.path[i])
    assert len(data.classes) == 16 and set(data.label.tolist()) == set(range(16))


def test_train_and_val_are_the_published_train_and_share_nothing(shared):
    names = {split: set(CUB200(shared, split).path.names) for split in ("train", "val", "test")}
    training = {line.split(" ")[0] for line in rows(shared, "train_test_split.txt") if line.endswith(" 1")}
    listed = {line.split(" ")[1] for line in rows(shared, "images.txt") if line.split(" ")[0] in training}
    assert names["train"] | names["val"] == listed and not names["train"] & names["val"]
    assert not names["test"] & listed and [len(names[split]) for split in ("train", "val", "test")] == [80, 16, 32]


def test_parts_that_cannot_be_seen_have_no_place(shared):
    """The file says 0 0 0 for them, which is a corner of the picture."""
    data = CUB200(shared, "train")
    visible = data.parts[..., 2] > 0
    assert np.isnan(data.parts[~visible][:, :2]).all() and not np.isnan(data.parts[visible]).any()
    sides = [[data.part_names.index(f"{side} {part}") for part in ("eye", "leg", "wing")] for side in ("left", "right")]
    assert (visible[:, sides[0]].all(1) ^ visible[:, sides[1]].all(1)).all()  # in profile
    low, high = data.box[:, None, :2] - 1, data.box[:, None, :2] + data.box[:, None, 2:] + 1
    place = data.parts[..., :2]
    assert ((place >= low) & (place <= high)).all(2)[visible].all()
    for i in range(len(data)):
        names = data.twin["detail"][data.classes[data.label[i]]]
        seen = [data.parts[i, data.part_names.index(name), :2] for name in names if visible[i, data.part_names.index(name)]]
        np.testing.assert_array_equal(data.detail[i], seen[0])


def test_lines_are_joined_by_id_and_not_by_order(shared, broken):
    before = CUB200(shared, "train")
    rng = np.random.default_rng(0)
    for name in (*FILES, *PART_FILES):
        lines = rows(broken, name)
        write(broken, name, [lines[i] for i in rng.permutation(len(lines))])
    after = CUB200(broken, "train")
    assert before.path.names == after.path.names and before.classes == after.classes and before.part_names == after.part_names
    for name in ("label", "box", "parts", "size"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))


def test_the_folder_it_was_unpacked_in_will_do(shared, tmp_path):
    (tmp_path / "CUB_200_2011").symlink_to(shared, target_is_directory=True)
    data = CUB200(tmp_path, "test")
    assert data.path.names == CUB200(shared, "test").path.names and data.is_twin and data.image(0).size
    assert verify(tmp_path).ok


def test_without_parts_there_are_none(broken):
    shutil.rmtree(broken / "parts")
    data = CUB200(broken, "test")
    assert data.parts is None and data.part_names is None and data.detail is None and len(data) == 32


# --------------------------------------------------------------------------------------------------------------- bad input


def test_greyscale_and_cmyk_pictures_come_out_rgb(broken):
    data = CUB200(broken, "train")
    height, width = (int(value) for value in data.size[0])
    for mode, colour, expected in (("L", 90, (90, 90, 90)), ("CMYK", (0, 255, 255, 0), (255, 0, 0))):
        Image.new(mode, (width, height), colour).save(data.path[0], format="JPEG", quality=100)
        assert np.abs(CUB200(broken, "train").image(0).mean((0, 1)) - expected).max() < 4


@pytest.mark.parametrize(("name", "change", "text"), [
    ("image_class_labels.txt", lambda lines: lines[:-1], "image_class_labels.txt: has 127 lines, images.txt has 128"),
    ("train_test_split.txt", lambda lines: [*lines, "129 1"], "train_test_split.txt: has 129 lines, images.txt has 128"),
    ("bounding_boxes.txt", lambda lines: [*lines[:-1], "999 1 2 3 4"], "has a line for image 999"),
    ("bounding_boxes.txt", lambda lines: [*lines[:-1], lines[0]], "but not one for each image"),
    ("bounding_boxes.txt", lambda lines: ["1 2 3"] + lines[1:], "line 1 is '1 2 3', expected 5 numbers"),
    ("bounding_boxes.txt", lambda lines: ["1 nan 2 3 4"] + lines[1:], "expected 5 numbers"),
    ("image_class_labels.txt", lambda lines: ["1 77"] + lines[1:], "image 1 has a class that classes.txt does not list"),
    ("train_test_split.txt", lambda lines: ["1 2"] + lines[1:], "image 1 is neither 0 nor 1"),
    ("images.txt", lambda lines: ["one two"] + lines[1:], "line 1 is 'one two', expected an id of its own and a name"),
    ("images.txt", lambda lines: lines[:1] + lines, "line 2"),
    ("images.txt", lambda lines: ["1 ../../secret.jpg"] + lines[1:], "lies outside"),
    ("images.txt", lambda lines: [], "is empty"),
    ("images.txt", lambda lines: [*lines[:-1], f"128 {lines[0].split()[1]}"], "images 1 and 128 are the same picture"),
    ("images.txt", lambda lines: [*lines[:-1], f"128 ./{lines[0].split()[1]}"], "no path of a picture"),
    ("images.txt", lambda lines: [f"{lines[0]}/"] + lines[1:], "no path of a picture"),
    ("images.txt", lambda lines: [f"{lines[0]}\0"] + lines[1:], "no path of a picture"),
    ("images.txt", lambda lines: [f"{'9' * 400} a/b.jpg"] + lines[1:], "expected an id of its own"),
    ("images.txt", lambda lines: ["\u0661 a/b.jpg"] + lines[1:], "expected an id of its own"),
    ("image_class_labels.txt", lambda lines: [f"1 {'9' * 400}"] + lines[1:], "expected 2 numbers"),
    ("image_class_labels.txt", lambda lines: ["1 1.5"] + lines[1:], "image 1 has a class that classes.txt does not list"),
    ("image_class_labels.txt", lambda lines: ["1 2"] + lines[1:], "but of class 002."),
    ("bounding_boxes.txt", lambda lines: ["1 inf 2 3 4"] + lines[1:], "expected 5 numbers"),
    ("bounding_boxes.txt", lambda lines: ["1 10 10 0 90"] + lines[1:], "the box of image 1 has no area"),
    ("bounding_boxes.txt", lambda lines: ["1 10 10 -90 90"] + lines[1:], "the box of image 1 has no area"),
    ("bounding_boxes.txt", lambda lines: ["1 1 2 3 4"] + lines[1:], "a part of image 1 lies outside its box"),
    ("classes.txt", lambda lines: [lines[0], lines[1].split()[0] + " " + lines[0].split()[1], *lines[2:]], "two classes have one name"),
    ("parts/part_locs.txt", lambda lines: [lines[0][:-1] + "-1"] + lines[1:], "is visible -1"),
    ("parts/part_locs.txt", lambda lines: [lines[0][:-1] + "2"] + lines[1:], "is visible 2"),
    ("classes.txt", lambda lines: [], "is empty"),
    ("parts/part_locs.txt", lambda lines: lines[:-1], "expected 15 for each of 128 images"),
    ("parts/part_locs.txt", lambda lines: [*lines[:-1], lines[0]], "does not list every part of every image once"),
])
def test_bad_text_files_are_named_in_one_line(broken, name, change, text):
    write(broken, name, change(rows(broken, name)))
    assert text in refused(broken)


def test_a_directory_in_the_place_of_a_file_is_named_in_one_line(broken):
    path = CUB200(broken, "train").path[0]
    path.unlink()
    path.mkdir()
    assert str(path) in refused(broken)
    (broken / "classes.txt").unlink()
    (broken / "classes.txt").mkdir()
    assert "classes.txt: cannot be read" in verify(broken).problems[0]


def test_missing_and_broken_files_are_named_in_one_line(broken, tmp_path):
    assert "give the folder CUB_200_2011" in refused(tmp_path, FileNotFoundError)
    with pytest.raises(ValueError, match="split 'dev'"):
        CUB200(broken, "dev")
    path = CUB200(broken, "train").path[0]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="cannot be decoded") as error:
        CUB200(broken, "train").image(0)
    assert str(path) in str(error.value)
    path.write_bytes(b"no picture")
    assert "not readable as an image" in refused(broken)
    path.unlink()
    assert "missing" in refused(broken, FileNotFoundError)
    (broken / "bounding_boxes.txt").write_bytes(b"\xff\xfe\x00")
    assert "is no text file" in refused(broken)
    (broken / "bounding_boxes.txt").unlink()
    assert "bounding_boxes.txt: missing" in refused(broken, FileNotFoundError)


# ------------------------------------------------------------------------------------------------------------------- a part


def without(root: Path, *names: str) -> Path:
    """The copy without these classes' photographs, and no twin any more: a part of a data set."""
    for name in names:
        shutil.rmtree(root / "images" / name)
    (root / "TWIN.json").unlink(missing_ok=True)
    return root


def test_a_class_keeps_its_pictures_labels_and_splits_whatever_else_is_read(shared):
    names = CUB200(shared, "train").classes
    for split in ("train", "val", "test"):
        whole = CUB200(shared, split)
        part = CUB200(shared, split, classes=[names[11], names[3]])
        assert part.classes == [names[3], names[11]] and part.class_ids.tolist() == [4, 12]
        kept = np.isin(whole.label, [3, 11])
        assert part.path.names == [name for name, keep in zip(whole.path.names, kept, strict=True) if keep]
        assert [part.classes[label] for label in part.label] == [whole.classes[label] for label in whole.label[kept]]
        for column in ("image_id", "size", "box", "parts"):
            np.testing.assert_array_equal(getattr(part, column), getattr(whole, column)[kept])
        assert part.fingerprint != whole.fingerprint and names[3] in part.notes["classes"] and "2 of 16" in part.notes["classes"]
        assert not whole.notes


def test_classes_are_named_in_any_of_their_published_ways(shared):
    names = CUB200(shared, "test").classes
    by_name = CUB200(shared, "test", classes=[names[2], names[0]])
    for classes in ([3, 1], [names[0].partition(".")[2], 3], (np.int64(1), names[2], 3)):
        other = CUB200(shared, "test", classes=classes)
        assert other.path.names == by_name.path.names and other.fingerprint == by_name.fingerprint
    for classes in ([17], [0], ["Dodo"], [True], [], "some", [2.0]):
        with pytest.raises(ValueError, match="classes") as error:
            CUB200(shared, "test", classes=classes)
        assert "\n" not in str(error.value)


def test_present_classes_are_those_that_are_whole(shared, broken):
    names = CUB200(shared, "test").classes
    assert CUB200(shared, "test", classes="present").classes == names and not CUB200(shared, "test", classes="present").notes
    without(broken, *names[5:])
    with pytest.raises(FileNotFoundError, match="classes='present'"):
        CUB200(broken, "test")
    data = CUB200(broken, "test", classes="present")
    assert data.classes == names[:5] and set(data.label.tolist()) == set(range(5)) and "5 of 16" in data.notes["classes"]
    next((broken / "images" / names[1]).iterdir()).unlink()
    data = CUB200(broken, "test", classes="present")
    assert data.classes == [names[0], *names[2:5]] and names[1] in data.notes["classes left out"]
    without(broken, names[0], *names[2:5])
    with pytest.raises(FileNotFoundError, match="no class has all its photographs"):
        CUB200(broken, "test", classes="present")


def test_verify_tells_a_part_from_a_damaged_whole(broken):
    names = CUB200(broken, "test").classes
    without(broken, *names[5:])

    def said() -> tuple[str, str]:
        report = verify(broken)
        problems = [line for line in report.problems if "expected" not in line]  # the counts of the published data set
        return "\n".join(problems), "\n".join(report.warnings)

    problems, warnings = said()
    assert not problems and "a part of the data set: 5 of 16 classes" in warnings and names[4] in warnings
    path = next((broken / "images" / names[1]).iterdir())
    path.unlink()
    problems, warnings = said()
    assert path.name in problems and "11 classes without a photograph" in problems and "a part" not in warnings


def test_verify_finds_a_test_picture_among_the_training_pictures(broken):
    trained, tested = CUB200(broken, "train").path, CUB200(broken, "test").path
    shutil.copyfile(trained[0], tested[0])
    report = verify(broken)
    assert any(trained.names[0] in line and tested.names[0] in line for line in report.warnings)


def test_the_real_ten_classes(real_data):
    """Counts that the published split has for them; every photograph is where it is listed."""
    data = {split: CUB200(real_data / "cub200", split, classes="present") for split in ("train", "val", "test")}
    assert sum(map(len, data.values())) == 592 and len(data["test"]) == 292 and len(data["train"]) + len(data["val"]) == 300
    assert data["test"].class_ids.tolist() == [9, 10, 11, 12, 14, 15, 29, 30, 31, 33] and data["test"].parts.shape[1:] == (15, 3)
    heads = [head_box(each) for each in data.values()]
    known = np.isfinite(np.concatenate(heads)).all(axis=1)
    assert known.mean() > 0.95
    report = verify(real_data / "cub200")
    assert report.ok and any("a part of the data set: 10 of 200" in line for line in report.warnings)


# -------------------------------------------------------------------------------------------------------------------- heads


def test_the_head_lies_around_its_visible_parts_and_inside_the_picture(shared):
    data = CUB200(shared, "train")
    boxes, points = head_box(data), part_points(data, HEAD)
    seen = np.isfinite(points).all(axis=2)
    for box, at, visible, (height, width) in zip(boxes, points, seen, data.size, strict=True):
        x, y, w, h = box
        assert visible.sum() >= 2 and 0 <= x < x + w <= width and 0 <= y < y + h <= height
        assert ((at[visible] >= [x, y]) & (at[visible] <= [x + w, y + h])).all()
    assert (boxes[:, 2:].prod(1) < data.box[:, 2:].prod(1)).mean() > 0.9
    tight = head_box(data, margin=0)
    np.testing.assert_allclose(tight[:, 0], np.nanmin(points[..., 0], axis=1))
    np.testing.assert_allclose(tight[:, 1] + tight[:, 3], np.nanmax(points[..., 1], axis=1))


def test_a_hidden_head_has_no_box(shared):
    data = CUB200(shared, "train")
    columns = [data.part_names.index(name) for name in HEAD]
    data.parts[0][columns] = [np.nan, np.nan, 0]
    data.parts[1][columns[1:]] = [np.nan, np.nan, 0]
    boxes = head_box(data)
    assert np.isnan(boxes[:2]).all() and np.isfinite(boxes[2:]).all()
    with pytest.raises(ValueError, match="'horn' is no part"):
        part_points(data, ["horn"])
    data.parts = None
    with pytest.raises(ValueError, match="has no parts"):
        head_box(data)


# -------------------------------------------------------------------------------------------------------------------- twin


def files(root: Path) -> dict[str, str]:
    found = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def test_a_twins_bytes_depend_on_its_parameters_alone(shared, tmp_path):
    assert files(twin.write(tmp_path / "two", seed=1, workers=2, **TINY)) == files(shared)
    other = files(twin.write(tmp_path / "other", seed=2, workers=1, **TINY))
    assert other.keys().isdisjoint(name for name in files(shared) if name.endswith(".jpg"))


def test_twins_say_that_they_are_twins_and_are_never_overwritten(shared, broken):
    data = CUB200(shared, "train")
    assert data.is_twin and data.twin["synthetic"] is True and "no photograph" in data.twin["statement"]
    with pytest.raises(ValueError, match="choose another folder"):
        twin.write(shared, seed=5, **TINY)
    with pytest.raises(ValueError, match="details 'huge'"):
        twin.write(broken / "new", details="huge")
    (broken / "TWIN.json").unlink()
    assert not CUB200(broken, "train").is_twin and CUB200(broken, "train").detail is None


def test_fingerprint_changes_with_text_files_and_pictures(shared, broken):
    before = CUB200(shared, "train").fingerprint
    assert len(before) == 16 and before == CUB200(broken, "train").fingerprint != CUB200(broken, "val").fingerprint
    path = CUB200(broken, "train").path[0]
    path.write_bytes(path.read_bytes() + b"\0")
    after = CUB200(broken, "train").fingerprint
    write(broken, "bounding_boxes.txt", ["1 0 0 256 256"] + rows(broken, "bounding_boxes.txt")[1:])
    assert len({before, after, CUB200(broken, "train").fingerprint}) == 3


# ------------------------------------------------------------------------------------------------------------------ verify


def test_verify_accepts_the_twin(shared):
    steps = []
    report = verify(shared, progress=lambda *step: steps.append(step))
    assert report.ok and not report.warnings and steps[-1] == (128, 128)


def test_verify_holds_real_data_against_the_published_counts(broken):
    (broken / "TWIN.json").unlink()
    text = "\n".join(verify(broken, images=0).problems)
    assert "images: 128, expected 11,788" in text and "train: 96, expected 5,994" in text and "classes: 16, expected 200" in text


def test_verify_says_what_is_missing_or_broken(broken):
    data = CUB200(broken, "train")
    data.path[0].unlink()
    data.path[1].write_bytes(b"no picture")
    data.path[2].write_bytes(data.path[2].read_bytes()[:800])
    moved = next(line for line in rows(broken, "image_class_labels.txt") if line.endswith(" 5"))
    write(broken, "image_class_labels.txt", [moved[:-1] + "6" if line == moved else line for line in rows(broken, "image_class_labels.txt")])
    write(broken, "bounding_boxes.txt", rows(broken, "bounding_boxes.txt")[:-1] + ["128 0 0 900 900"])
    shutil.rmtree(broken / "parts")
    report = verify(broken)
    text = "\n".join(report.problems)
    assert data.path[0].name in text and str(data.path[1]) in text and str(data.path[2]) in text
    assert sum(str(data.path[1]) in line for line in report.problems) == 1 and "1 images lie in another folder" in text
    assert any("reach outside" in line for line in report.warnings) and any("no parts then" in line for line in report.warnings)
    (broken / "classes.txt").unlink()
    assert "classes.txt: missing" in verify(broken).problems[0]
