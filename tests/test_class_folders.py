"""Class folders: what ImageFolder finds, with its labels; and every way of losing a class is one line instead of shifted labels."""

from pathlib import Path

import pytest
from PIL import Image
from torchvision import datasets

from lib.data.class_folders import class_folders, same_classes


def write(root: Path, names: list[str]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(root / name)
    return root


NAMES = ["b/2.png", "b/10.png", "b/deep/1.png", "b/deep-er/1.png", "a/z.JPG", "a/Z.jpg", "c d/é.bmp"]


@pytest.fixture
def root(tmp_path) -> Path:
    return write(tmp_path / "set", NAMES)


def message(kind: type[Exception], call) -> str:
    with pytest.raises(kind) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_pictures_and_labels_are_imagefolders(root):
    ours, theirs = class_folders(root), datasets.ImageFolder(str(root))
    assert list(ours) == theirs.classes == ["a", "b", "c d"]
    found = [(str(root / name), label) for label, names in enumerate(ours.values()) for name in names]
    assert found == theirs.samples and len(found) == len(NAMES)


def test_what_is_hidden_or_no_picture_is_not_looked_at(root):
    before = class_folders(root)
    write(root, [".ipynb_checkpoints/a.png", "a/.hidden.png", "a/.git/x.png", "loose.png"])
    for name in ("a/notes.txt", "a/Thumbs.db", "b/LICENSE"):
        (root / name).write_text("no picture")
    assert class_folders(root) == before


def test_an_empty_class_is_refused_and_not_skipped(root):
    (root / "aa").mkdir()
    assert f"{root / 'aa'}: holds no picture" in message(FileNotFoundError, lambda: class_folders(root))
    (root / "aa" / "deep").mkdir()
    (root / "aa" / "deep" / "notes.txt").write_text("")
    message(FileNotFoundError, lambda: class_folders(root))


def test_named_classes_must_be_there_and_nothing_else(root):
    assert list(class_folders(root, ["c d", "a", "b"])) == ["c d", "a", "b"]  # labels as the caller orders them
    text = message(FileNotFoundError, lambda: class_folders(root, ["a", "aa", "b", "c d"], titles={"aa": "an owl"}, remedy="fetch it"))
    assert f"{root / 'aa'}: missing (an owl)" in text and "fetch it" in text
    assert f"{root / 'c d'}: is no class of birds" in message(ValueError, lambda: class_folders(root, ["a", "b"], what="birds"))


def test_folders_without_classes_are_refused(tmp_path):
    assert "no class folders" in message(FileNotFoundError, lambda: class_folders(tmp_path))
    assert "no such folder" in message(FileNotFoundError, lambda: class_folders(tmp_path / "none"))
    (tmp_path / "file").write_text("")
    assert "is a file" in message(ValueError, lambda: class_folders(tmp_path / "file"))


def test_links_to_folders_lead_in_no_circle(root):
    (root / "a" / "again").symlink_to(root, target_is_directory=True)
    (root / "d").symlink_to(root / "b", target_is_directory=True)  # a class itself may be a link
    found = class_folders(root)
    assert found["a"] == ["a/Z.jpg", "a/z.JPG"] and [name[2:] for name in found["d"]] == [name[2:] for name in found["b"]]


def test_splits_must_agree_on_their_classes(root):
    assert same_classes({"train": {"b": [], "a": []}, "test": {"a": [], "b": []}}, root) == ["a", "b"]
    text = message(ValueError, lambda: same_classes({"train": {"a": [], "b": []}, "test": {"b": []}}, root))
    assert str(root / "test" / "a") in text
