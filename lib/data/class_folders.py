"""Pictures in one folder a class, as torchvision's ImageFolder reads them, but labels never shift without a word.

    ROOT/<class>/<picture>          also deeper: ROOT/<class>/<folder>/<picture>

A label is the place of its class' name in order. So a folder that is missing, empty or not meant moves every label behind it:
ImageFolder and the data sets built upon it number what they find. Here the caller says which classes there must be, and what is
missing, empty or too many is refused by name; where nobody can say, an empty folder is refused. Deviations from ImageFolder:
hidden files and folders are not looked at (a notebook's .ipynb_checkpoints is a class there), and links to folders inside a
class are not followed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # ImageFolder's


def class_folders(
    root: str | os.PathLike[str], classes: Sequence[str] | None = None, *, suffixes: Sequence[str] = SUFFIXES,
    titles: Mapping[str, str] | None = None, what: str = "this data set", remedy: str = "unpack the archive again",
) -> dict[str, list[str]]:
    """{class: its pictures relative to `root`, sorted, with /}, in the order of `classes`, or of names where that is None.

    classes: the folders that there must be, no more and no less; None takes those that are there. titles: more telling names of
    the classes, for messages. what, remedy: whose classes they are, and what to do about a missing one. FileNotFoundError for a
    class that is missing or empty, ValueError for a folder that is no class; one line that names the folder.
    """
    root, titles = Path(root), titles or {}
    found = _subfolders(root)
    unknown = [] if classes is None else sorted(set(found) - set(classes))
    if unknown:
        raise ValueError(f"{root / unknown[0]}: is no class of {what}; move it away, or give the folder of {what} itself")
    if not found:
        raise FileNotFoundError(f"{root}: has no class folders; give the folder that holds one folder for each class")
    files = {}
    for name in found if classes is None else classes:
        if name not in found:
            title = f" ({titles[name]})" if name in titles else ""
            raise FileNotFoundError(f"{root / name}: missing{title}; without it labels would mean other classes; {remedy}")
        files[name] = _pictures(root, name, tuple(suffixes))
        if not files[name]:
            kinds = "picture" if tuple(suffixes) == SUFFIXES else suffixes[0].upper()
            raise FileNotFoundError(f"{root / name}: holds no {kinds}; an empty class would shift the labels; "
                                    f"{'put pictures in it or move it away' if classes is None else remedy}")
    return files


def same_classes(folders: Mapping[str, Mapping[str, Sequence[str]]], root: str | os.PathLike[str]) -> list[str]:
    """The classes that all splits have: {split: {class: ...}} -> names. ValueError where one split lacks a class of another."""
    every = sorted(set().union(*folders.values()))
    for split, classes in folders.items():
        for name in every:
            if name not in classes:
                raise ValueError(f"{Path(root) / split / name}: missing, but another split has this class; labels would not agree, "
                                 "add the folder or move the class away everywhere")
    return every


def _subfolders(root: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))
    except FileNotFoundError:
        raise FileNotFoundError(f"{root}: no such folder; give the folder that holds one folder for each class") from None
    except NotADirectoryError:
        raise ValueError(f"{root}: is a file; give the folder that holds one folder for each class") from None


def _pictures(root: Path, name: str, suffixes: tuple[str, ...]) -> list[str]:
    """Sorted as ImageFolder does: folder by folder, names within each."""
    found = []
    for folder, inner, files in os.walk(root / name):
        inner[:] = sorted(each for each in inner if not each.startswith("."))
        where = Path(folder).relative_to(root).as_posix()
        found += [f"{where}/{file}" for file in files if file.lower().endswith(suffixes) and not file.startswith(".")]
    return sorted(found, key=lambda path: path.rpartition("/")[::2])
