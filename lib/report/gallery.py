"""The figures of a results folder, made small enough to lie inside one HTML file, with the heading that stands above each in its notebook."""

import base64
import io
import itertools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError, features

from lib.files import ROOT

MOST = 7_500_000  # bytes of pictures in the file; a third more as text, and beside the tables the file stays under 12 MB
STEPS = ((4000, 84), (1600, 80), (1200, 75), (1000, 70), (800, 65), (600, 55))  # (width in pixels, quality), taken in turn until all of them fit


@dataclass(frozen=True)
class Figure:
    """A picture on disk, and what is known about it."""

    path: Path
    caption: str
    size: tuple[int, int]  # (width, height) in pixels


def find(folder: Path, problems: list[str]) -> dict[str, list[Figure]]:
    """The figures in <folder>/figures by notebook, `problems` gets a line for each that is no picture; titles are the keys."""
    notebooks = {path.stem.split("_")[0]: path for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))}
    found: dict[str, list[Figure]] = {}
    for path in sorted((folder / "figures").glob("*.png")):
        number = path.stem.split("_")[0] if re.match(r"\d", path.stem) else ""
        try:
            with Image.open(path) as image:
                figure = Figure(path, caption(path.stem, notebooks.get(number)), image.size)
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
            problems.append(f"figures/{path.name}: not a readable picture; left out")
            continue
        found.setdefault(title(notebooks[number]) if number in notebooks else "Others", []).append(figure)
    return found


def cells(notebook: Path) -> list[tuple[str, str]]:
    """(kind, source) of a notebook's cells; none where it cannot be read."""
    try:
        return [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def title(notebook: Path) -> str:
    """ "01 · Gaze estimation": number and first heading."""
    prose = [line for kind, source in cells(notebook) if kind == "markdown" for line in source.splitlines()]
    heading = next((line[2:].strip() for line in prose if line.startswith("# ")), notebook.stem)
    return f"{notebook.stem.split('_')[0]} · {heading}"


def caption(stem: str, notebook: Path | None) -> str:
    """The heading above the cell that saves the figure `stem`, or its name in words."""
    heading = ""
    for kind, source in cells(notebook) if notebook else []:
        if kind == "markdown":
            heading = next((line.lstrip("# ") for line in reversed(source.splitlines()) if line.startswith("#")), heading)
        else:
            named = (re.split(r"\{[^}]*\}", name) for name in re.findall(r"\"(\d\d_[^\"\s]*)\"", source))  # what an f-string fills in may be anything
            if any(re.fullmatch(".+".join(map(re.escape, parts)), stem) for parts in named):
                return heading
    return re.sub(r"^\d+_", "", stem).replace("_", " ")


class Embedded(NamedTuple):
    """A picture as a data URL."""

    url: str
    width: int
    height: int
    size: int  # bytes


def embed(figures: list[Figure], *, most: int = MOST) -> list[Embedded | None]:
    """All pictures at the first of `STEPS` where they fit into `most` bytes together; None for those that do not fit even at the last."""
    for step in STEPS:
        made = [_shrunk(figure.path, *step) for figure in figures]
        if sum(one.size for one in made) <= most:
            break
    return [one if used <= most else None for one, used in zip(made, itertools.accumulate(one.size for one in made), strict=True)]


def _shrunk(path: Path, width: int, quality: int) -> Embedded:
    """A picture as WebP, or JPEG where Pillow has no WebP, opaque on white."""
    with Image.open(path) as image:
        whole = image.convert("RGBA")
    page = Image.new("RGB", whole.size, "white")
    page.paste(whole, mask=whole.getchannel("A"))
    if page.width > width:
        page = page.resize((width, max(1, round(page.height * width / page.width))), Image.Resampling.LANCZOS)
    kind, buffer = "webp" if features.check("webp") else "jpeg", io.BytesIO()
    page.save(buffer, kind, quality=quality)
    data = buffer.getvalue()
    return Embedded(f"data:image/{kind};base64,{base64.b64encode(data).decode()}", page.width, page.height, len(data))
