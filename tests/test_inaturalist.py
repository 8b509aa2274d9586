"""iNaturalist 2017: the loader reads what the synthetic twin writes in the published layout; bad input is named; `verify`."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torchvision
from PIL import Image

from lib.data.canvas import RULES
from lib.data.inaturalist import BOXES, INaturalist, torchvision_ids
from lib.data.inaturalist_verify import PUBLISHED, PUBLISHED_BOXES, verify
from lib.data.recognition import PROTOCOLS, is_val
from lib.data.synthetic import inaturalist as twin

TINY = {"train": 96, "test": 32, "side": 48}


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    """One small twin for the tests that only read."""
    return twin.write(tmp_path_factory.mktemp("inaturalist") / "twin", seed=1, workers=1, **TINY)


@pytest.fixture
def broken(shared, tmp_path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(shared, tmp_path / "copy"))


def edit(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def refused(root: Path, kind: type[Exception] = ValueError, *, split: str = "train") -> str:
    with pytest.raises(kind) as error:
        INaturalist(root, split)
    assert "\n" not in str(error.value) and str(root) in str(error.value)
    return str(error.value)


# ------------------------------------------------------------------------------------------------------------ twin -> loader


def test_layout_is_the_published_one(shared):
    assert {path.name for path in shared.iterdir()} == {
        "train_val_images", "train2017.json", "val2017.json", "train_2017_bboxes.json", "val_2017_bboxes.json", "parts.json", "TWIN.json"}
    content = json.loads((shared / "train2017.json").read_text())
    assert set(content) == {"info", "images", "categories", "annotations", "licenses"}
    assert set(content["images"][0]) == {"id", "width", "height", "file_name", "license", "rights_holder"}
    assert set(content["annotations"][0]) == {"id", "image_id", "category_id"}
    assert set(content["categories"][0]) == {"id", "name", "supercategory"}
    box = json.loads((shared / "val_2017_bboxes.json").read_text())["annotations"][0]
    assert set(box) == {"id", "image_id", "category_id", "bbox", "area", "iscrowd"}
    assert box["area"] == pytest.approx(box["bbox"][2] * box["bbox"][3] / 2, abs=0.5)  # the README's approximation
    for image in content["images"]:
        category = Path(image["file_name"]).parts
        assert category[0] == "train_val_images" and category[1] in ("Aves", "Insecta") and len(Path(image["file_name"]).stem) == 32


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_picture_has_the_label_of_its_folder(shared, split):
    """The folder names the species; the JSON says it by ids, in another order."""
    data = INaturalist(shared, split)
    assert len(data) == len(data.path) == len(data.label) == len(data.box) == len(data.parts) and data.supercategory is not None
    for path, label in zip(data.path, data.label, strict=True):
        assert path.parent.name == data.classes[label] and path.parent.parent.name == data.supercategory[label]
    assert len(data.classes) == 16 and set(data.label.tolist()) == set(range(16))


def test_images_have_the_shape_that_is_announced(shared):
    data = INaturalist(shared, "val")
    for i in range(len(data)):
        image = data.image(i)
        assert image.dtype == np.uint8 and image.shape == (*data.size[i], 3) and data.path[i].is_file()
    assert len({tuple(size) for size in INaturalist(shared, "train").size.tolist()}) > 1  # many sizes


def test_boxes_are_missing_for_some_and_detail_lies_in_the_others(shared):
    data = INaturalist(shared, "train")
    missing = np.isnan(data.box).any(1)
    assert 0 < missing.sum() < 0.2 * len(data) and np.isnan(data.box[missing]).all()
    low, high = data.box[:, :2] - 1, data.box[:, :2] + data.box[:, 2:] + 1
    assert ((data.detail >= low) & (data.detail <= high)).all(1)[~missing].all()
    assert not np.isnan(data.detail).any()


def test_the_deciding_part_is_the_genus_own(shared):
    data = INaturalist(shared, "test")
    for i in range(len(data)):
        (name,) = data.twin["detail"][data.classes[data.label[i]]]
        expected = {"Pictocarabus": "wing case", "Pictosylvia": "crown", "Pictopieris": "hind wing", "Pictospiza": "beak"}
        assert name == expected[data.classes[data.label[i]].split()[0]]
        np.testing.assert_array_equal(data.parts[i, data.part_names.index(name)], [*data.detail[i], 1])


def test_annotations_are_joined_by_id_and_not_by_order(shared, broken):
    """A public loader zips the two lists; the file promises no order."""
    before = INaturalist(shared, "train")
    for name in ("train2017.json", "train_2017_bboxes.json"):
        edit(broken / name, lambda content: [content[key].reverse() for key in ("images", "annotations", "categories")])
    after = INaturalist(broken, "train")
    assert before.path.names == after.path.names and before.classes == after.classes
    np.testing.assert_array_equal(before.label, after.label)
    np.testing.assert_array_equal(before.box, after.box)


def test_labels_are_contiguous_whatever_the_category_ids(shared, broken):
    def spread(content: dict) -> None:
        for row in content["categories"]:
            row["id"] = 7 * row["id"] + 100
        for row in content["annotations"]:
            row["category_id"] = 7 * row["category_id"] + 100

    for name in ("train2017.json", "val2017.json"):
        edit(broken / name, spread)
    np.testing.assert_array_equal(INaturalist(shared, "test").label, INaturalist(broken, "test").label)


def test_boxes_are_joined_by_file_name_and_the_largest_counts(shared, broken):
    data = INaturalist(shared, "test")

    def change(content: dict) -> None:
        for row in (*content["images"], *content["annotations"]):  # this file numbers images in its own way
            row["id" if "file_name" in row else "image_id"] += 5000
        first = next(row for row in content["images"] if row["file_name"] == data.path.names[0])
        content["annotations"] += [{"image_id": first["id"], "bbox": [1, 2, 40, 41]}, {"image_id": first["id"], "bbox": [0, 0, 2, 2]}]

    edit(broken / BOXES["test"], change)
    box = INaturalist(broken, "test").box
    np.testing.assert_array_equal(box[0], [1, 2, 40, 41])
    np.testing.assert_array_equal(box[1:], data.box[1:])
    (broken / BOXES["test"]).unlink()
    assert np.isnan(INaturalist(broken, "test").box).all()


# ------------------------------------------------------------------------------------------------------------------ splits


def test_train_and_val_are_the_published_train_and_share_nothing(shared):
    names = {split: set(INaturalist(shared, split).path.names) for split in ("train", "val", "test")}
    listed = {image["file_name"] for image in json.loads((shared / "train2017.json").read_text())["images"]}
    assert names["train"] | names["val"] == listed and not names["train"] & names["val"]
    assert not names["test"] & listed and len(names["val"]) == 16
    published = json.loads((shared / "val2017.json").read_text())["images"]
    assert names["test"] == {image["file_name"] for image in published}


def test_every_tenth_of_a_class_is_for_choosing():
    """At least one where a class has five; independent formulation by counting."""
    rng = np.random.default_rng(0)
    label = rng.permutation(np.repeat(np.arange(40), np.arange(40)))
    kept, seen = is_val(label), {}
    for value, chosen in zip(label.tolist(), kept.tolist(), strict=True):
        seen[value] = seen.get(value, 0) + 1
        assert chosen == (seen[value] % 10 == 5)
    counts = np.bincount(label[kept], minlength=40)
    assert (counts[5:] >= 1).all() and not counts[:5].any() and abs(kept.mean() - 0.1) < 0.02


def test_torchvision_ids_are_those_of_torchvision(shared, tmp_path):
    """Against torchvision itself, which counts folders: its layout is ROOT/2017/<super>/<species>."""
    (tmp_path / "2017").symlink_to(shared / "train_val_images", target_is_directory=True)
    theirs = torchvision.datasets.INaturalist(tmp_path, version="2017")
    data = INaturalist(shared, "test")
    ids = torchvision_ids(data)
    assert sorted(ids.tolist()) == list(range(16)) and ids.tolist() != list(range(16))
    for label, name in enumerate(data.classes):
        assert theirs.category_name("full", int(ids[label])) == f"{data.supercategory[label]}/{name}"


# --------------------------------------------------------------------------------------------------------------- bad input


def test_greyscale_and_cmyk_pictures_come_out_rgb(broken):
    data = INaturalist(broken, "train")
    height, width = (int(value) for value in data.size[0])
    for mode, colour, expected in (("L", 90, (90, 90, 90)), ("CMYK", (0, 255, 255, 0), (255, 0, 0))):
        Image.new(mode, (width, height), colour).save(data.path[0], format="JPEG", quality=100)
        image = data.image(0)
        assert image.shape == (height, width, 3) and np.abs(image.mean((0, 1)) - expected).max() < 4


def test_broken_pictures_are_named_in_one_line(broken):
    data = INaturalist(broken, "train")
    path = data.path[0]
    content = path.read_bytes()
    damages = {"cannot be decoded": content[: len(content) // 2], "cannot": b"no picture"}
    for text, damage in damages.items():
        path.write_bytes(damage)
        with pytest.raises(ValueError, match=text) as error:
            data.image(0)
        assert str(path) in str(error.value) and "\n" not in str(error.value)
    Image.new("RGB", (5, 7)).save(path)
    with pytest.raises(ValueError, match="is 5x7, expected"):
        data.image(0)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="missing"):
        data.image(0)


@pytest.mark.parametrize(("change", "text"), [
    (lambda c: c["annotations"][3].update(image_id=99_999), "an annotation is for image 99999, which is not listed"),
    (lambda c: c["annotations"][3].update(category_id=777), "has category 777, which is not listed"),
    (lambda c: c["annotations"].pop(), "has 0 annotations, expected one"),
    (lambda c: c["annotations"].append(dict(c["annotations"][0])), "has 2 annotations, expected one"),
    (lambda c: c["images"].append(dict(c["images"][0])), "twice"),
    (lambda c: c["images"][0].pop("height"), "not as published"),
    (lambda c: c["images"][0].update(height=0), "has no size"),
    (lambda c: c["images"][0].update(id=2**80), "not as published"),
    (lambda c: c["images"][0].update(file_name="../../secret.jpg"), "lies outside"),
    (lambda c: c.update(images=[], annotations=[]), "lists no images"),
    (lambda c: c.pop("categories"), "has no list of categories"),
    (lambda c: c["categories"][0].pop("supercategory"), "a category is not as published"),
    (lambda c: c["categories"][0].update(id=1), "lists a category twice"),
    (lambda c: c["annotations"][0].update(category_id=3.7), "category_id is '3.7'"),
    (lambda c: c["annotations"][0].update(category_id="3"), "category_id is '3'"),
    (lambda c: c["annotations"][0].update(category_id=True), "category_id is 'True'"),
    (lambda c: c["annotations"][0].update(image_id=10**400), "image_id has too many digits"),
    (lambda c: c["annotations"][0].update(image_id=float("inf")), "image_id is 'inf'"),
    (lambda c: c["images"][0].update(height="48"), "height is '48'"),
    (lambda c: c["images"][0].update(file_name=None), "is no path"),
    (lambda c: c["images"][0].update(file_name="train_val_images/a\0.jpg"), "is no path"),
    (lambda c: c["images"][0].update(file_name=c["images"][1]["file_name"]), "is the picture of two images"),
    (lambda c: c["categories"][0].update(id=0.5), "a category is not as published"),
    (lambda c: c["categories"][0].update(name=None), "a category is not as published"),
])
def test_bad_annotations_are_named_in_one_line(broken, change, text):
    edit(broken / "train2017.json", change)
    assert text in refused(broken)


@pytest.mark.parametrize("box", ["1234", [1, 2, 3, "4"], [1, 2, 3, 10**400], [1, 2, float("inf"), 4], [1, 2, float("nan"), 4], [1, 2, -3, 4], None,
                                 [1, 2, True, 4], [1, 2, 3, 4, 5]])
def test_a_box_that_is_no_four_numbers_is_named_in_one_line(broken, box):
    edit(broken / BOXES["train"], lambda c: c["annotations"][0].update(bbox=box))
    assert "a box is not x, y, w, h" in refused(broken)


def test_a_super_category_that_is_missing_or_empty_never_shifts_labels(shared, broken):
    """Labels come from the annotations: torchvision's data set counts folders, and numbers everything behind a missing one anew."""
    before = INaturalist(shared, "train")
    first = sorted((broken / "train_val_images").iterdir())[0]
    shutil.rmtree(first)
    for there in (False, True):
        first.mkdir() if there else None
        data = INaturalist(broken, "train")
        assert (data.label == before.label).all() and data.classes == before.classes
        gone = next(i for i, path in enumerate(data.path) if first in path.parents)
        with pytest.raises(FileNotFoundError, match=str(data.path[gone])):
            data.image(gone)
        assert any(first.name in line and "missing" in line for line in verify(broken, images=0).problems)


def test_bad_layouts_are_named_in_one_line(broken, tmp_path):
    assert "holds no train_val_images" in refused(tmp_path, FileNotFoundError)
    with pytest.raises(ValueError, match="split 'dev'"):
        INaturalist(broken, "dev")
    edit(broken / "val2017.json", lambda c: c["categories"][2].update(name="Renamed species"))
    assert "other categories than train2017.json" in refused(broken, split="test")
    edit(broken / BOXES["train"], lambda c: c["annotations"][0].update(bbox=[1, 2, 3]))
    assert "a box is not x, y, w, h" in refused(broken)
    for damage in (b"", b"{", b"[]", b"\xff\xfe", b'{"images": [], "images": []}'):
        (broken / "train2017.json").write_bytes(damage)
        assert "train2017.json" in refused(broken)
    (broken / "train2017.json").unlink()
    assert "missing" in refused(broken, FileNotFoundError)


# -------------------------------------------------------------------------------------------------------------------- twin


def files(root: Path) -> dict[str, str]:
    found = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def test_a_twins_bytes_depend_on_its_parameters_alone(shared, tmp_path):
    two = twin.write(tmp_path / "two", seed=1, workers=2, **TINY)
    assert files(two) == files(shared)
    other = twin.write(tmp_path / "other", seed=2, workers=1, **TINY)
    assert files(other).keys().isdisjoint(name for name in files(shared) if name.endswith(".jpg"))


def test_twins_say_that_they_are_twins_and_are_never_overwritten(shared, broken):
    data = INaturalist(shared, "train")
    assert data.is_twin and data.twin["synthetic"] is True and "no photograph" in data.twin["statement"]
    assert twin.write(shared, seed=1, workers=1, **TINY) == shared  # found there
    with pytest.raises(ValueError, match="choose another folder"):
        twin.write(shared, seed=5, **TINY)
    with pytest.raises(ValueError, match="details 'huge'"):
        twin.write(broken / "new", details="huge")
    (broken / "TWIN.json").unlink()
    real = INaturalist(broken, "train")
    assert not real.is_twin and real.twin is None and real.parts is None and real.detail is None


def test_fingerprint_changes_with_annotations_and_pictures(shared, broken):
    before = INaturalist(shared, "train").fingerprint
    assert len(before) == 16 and before == INaturalist(broken, "train").fingerprint != INaturalist(broken, "val").fingerprint
    path = INaturalist(broken, "train").path[0]
    path.write_bytes(path.read_bytes() + b"\0")
    after = INaturalist(broken, "train").fingerprint
    edit(broken / "train2017.json", lambda content: content["info"].update(year=2018))
    assert len({before, after, INaturalist(broken, "train").fingerprint}) == 3


# ------------------------------------------------------------------------------------------------------------------ verify


def test_verify_accepts_the_twin(shared):
    steps = []
    report = verify(shared, progress=lambda *step: steps.append(step))
    assert report.ok and not report.warnings and steps[-1] == (128, 128)
    assert any("synthetic twin, seed 1" in line for line in report.lines)


def test_verify_holds_real_data_against_the_published_counts(broken):
    (broken / "TWIN.json").unlink()
    report = verify(broken, images=0)
    problems = "\n".join(report.problems)
    assert "species: 16, expected 5,089" in problems and "Plantae: pictures in train: 0, expected 158,407" in problems
    assert "boxes in val" in problems
    sums = np.sum(list(PUBLISHED.values()), axis=0).tolist()
    assert sums == [5089, 579_184, 95_986] and sum(PUBLISHED_BOXES.values()) == 544_900  # the README's own totals


def test_verify_says_what_is_missing_or_broken(broken):
    data = INaturalist(broken, "train")
    data.path[0].unlink()
    data.path[1].write_bytes(data.path[1].read_bytes()[:300])
    shutil.rmtree(data.path[2].parent)
    (broken / BOXES["test"]).unlink()
    report = verify(broken)
    text = "\n".join(report.problems)
    assert str(data.path[0].parent) in text and data.path[0].name in text and "1 pictures missing" in text
    assert str(data.path[1]) in text and str(data.path[2].parent) in text and not report.ok
    assert any("no boxes then" in line for line in report.warnings)
    assert all("\n" not in line for line in report.lines)
    (broken / "val2017.json").write_text("{")
    assert "val2017.json" in verify(broken).problems[0]
    assert "holds no train_val_images" in verify(broken / "nowhere").problems[0]


# ---------------------------------------------------------------------------------------------------------------- protocols


def test_protocols_are_the_papers_and_the_releases():
    """Golden: section 4.2, and main.py of the release, which differ."""
    paper, released = PROTOCOLS["paper"], PROTOCOLS["released"]
    assert (paper.side, paper.test_crop, paper.input_size) == (800, 512, 227)
    assert (released.side, released.test_crop, released.input_size, released.random_crop) == (800, 700, 224, True)
    assert all(protocol.rule in RULES and protocol.source for protocol in PROTOCOLS.values())
