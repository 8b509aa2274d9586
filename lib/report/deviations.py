"""What the modules and notebooks themselves say about where they deviate from papers and releases.

From module docstrings: each paragraph that begins with "Deviation", or the part of one that follows the word "Deviation:". From
notebooks: the list under "Where this deviates". Nothing is summarised, and what does not say so is not found.
"""

import ast
import inspect
import re
from dataclasses import dataclass
from pathlib import Path

from lib.files import ROOT
from lib.report.gallery import cells

ROOMS = ("models", "data", "training", "tables", "metrics")
SYSTEMS = (  # the first pattern that a module's or notebook's name matches
    ("EML-NET", r"emlnet|salicon|saliency_losses"), ("Mr-CNN", r"mrcnn|mit1003|coursework"), ("Salience region proposal", r"proposal|imagenette"),
    ("Metrics", r"metrics"), ("Learning to Zoom: gaze", r"gaze|itracker"),
    ("Learning to Zoom: recognition", r"inaturalist|cub200|recognition|saliency_depth|small_resnet|small_inception|cam$|birds"),
    ("Successors", r"successors|unzoom|grids|carry|dtram"),
    ("Learning to Zoom: sampler and rivals", r"sampler|rivals|deformable|backbones|anatomy|baselines"), ("Shared", ""))


@dataclass(frozen=True)
class Deviation:
    """What one module or notebook says: a heading, if it has one, and texts."""

    system: str
    origin: str  # a path from the repository's root
    heading: str
    texts: tuple[str, ...]


def find(root: Path = ROOT) -> dict[str, list[Deviation]]:
    """All of them by system, in the order of `SYSTEMS`; notebooks first within one."""
    found = [one for path in sorted((root / "notebooks").glob("[0-9]*.ipynb")) for one in of_notebook(path, root)]
    for room in ROOMS:
        found += [one for path in sorted((root / "lib" / room).rglob("*.py")) for one in of_module(path, root)]
    return {system: some for system, _ in SYSTEMS if (some := [one for one in found if one.system == system])}


def system_of(origin: str) -> str:
    name = origin.removesuffix(".py").removesuffix(".ipynb")
    return next(system for system, pattern in SYSTEMS if re.search(pattern, name))


def of_module(path: Path, root: Path) -> list[Deviation]:
    """The deviations in a module's docstring."""
    origin = path.relative_to(root).as_posix()
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""))
    return [Deviation(system_of(origin), origin, *_parted(match[0])) for match in (re.search(r"\ADeviation(?s:.*)|Deviations?:(?s:.*)", one)
                                                                                    for one in paragraphs) if match]


def of_notebook(path: Path, root: Path) -> list[Deviation]:
    """The lists under "Where this deviates" in a notebook's prose."""
    origin, found = path.relative_to(root).as_posix(), []
    for text in (source for kind, source in cells(path) if kind == "markdown"):
        for match in re.finditer(r"^\*\*(Where this deviates[^*]*)\*\*\n((?:.*\S.*\n?|\n(?=[-*] ))*)", text, re.MULTILINE):
            found.append(Deviation(system_of(origin), origin, match[1].rstrip("."), tuple(_items(match[2]))))
    return found


def _parted(paragraph: str) -> tuple[str, tuple[str, ...]]:
    """A heading line with items below it, or one text."""
    first, _, rest = paragraph.partition("\n")
    if rest.lstrip().startswith("- "):
        return first.strip().rstrip(":"), tuple(_items(rest))
    heading, _, text = " ".join(paragraph.split()).partition(": ")
    return heading, (text[:1].upper() + text[1:],)


def _items(text: str) -> list[str]:
    return [" ".join(item.split()) for item in re.split(r"(?m)^\s*- ", text) if item.strip()]
