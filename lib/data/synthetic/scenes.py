"""Drawn scenes with a known density of fixations: the pictures of the synthetic SALICON and MIT1003. Ours; no paper describes it.

A scene is a backdrop with a handful of items. Faces and words attract most; objects as much as their colour stands out; the
odd one among equal things as much as a striking object. Beside them stand things that look alike and attract little: people
seen from behind and heads without features, plates that are blank or barred, dull objects, bright things that are all equal.
To tell them apart takes fine detail (strokes, eyes) and what surrounds a thing.

The density: Gaussians at the items (`ATTRACTION`, times how large and how central an item is), mixed with a centre bias and a
uniform floor. It is kept as a coarse grid; `lib.data.saliency.upsample_density` defines the density of each pixel, and
fixations are drawn from exactly that, independently of one another: they have no order in time and observers do not differ.

Lengths are in u = sqrt(H W / (480 640)) pixels, so that a scene looks the same at any size. The constants were chosen by the
density alone: on 60 scenes of 480 x 640 it scores an NSS of 2.3 on fixations drawn from it, its centre bias alone 0.9.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from lib.data.saliency import upsample_density
from lib.data.synthetic.scene_backdrops import Canvas, Colour, backdrop, hsv, text_size
from lib.data.synthetic.scene_items import HANGING, STANDING, WORDS, person, plate, thing
from lib.metrics.saliency.maps import one_thread

ATTRACTION = {"face": 1.0, "text": 0.75, "object": 0.6, "odd": 0.6, "behind": 0.1, "mannequin": 0.1, "plate": 0.06, "equal": 0.03}
FULL_CONTRAST = 170.0  # distance in RGB between an object and what is behind it at which it attracts fully
AWAY = 0.3  # what is left of an item's attraction far from the centre
CENTRE_SIGMA = (0.21, 0.20)  # of the centre bias, in widths and heights of the picture
CENTRE_SHARE, FLOOR_SHARE = 0.3, 0.06  # of all fixations
IDLE = 0.3  # attraction of nothing in particular: adds to the centre's share where little else attracts
PLACE_SIGMA = (0.26, 0.22)  # how far from the centre items stand, in widths and heights
SPREAD = 19.0  # u; least standard deviation of fixations around a spot
CELL = 8.0  # u; side of a cell of the coarse grid
_COUNTS: dict[str, tuple[float, ...]] = {  # how likely a scene has 0, 1, 2, ... of them
    "face": (0.25, 0.4, 0.25, 0.1), "behind": (0.5, 0.35, 0.15), "mannequin": (0.7, 0.3), "equals": (0.72, 0.28),
    "object": (0.15, 0.35, 0.3, 0.2), "text": (0.3, 0.5, 0.2), "plate": (0.4, 0.4, 0.2),
}
_PEOPLE = ("face", "behind", "mannequin")


@dataclass(frozen=True)
class Item:
    """Something in a scene, in pixels of the picture."""

    kind: str  # a key of ATTRACTION
    x: float
    y: float
    half: tuple[float, float]  # half its width and height; of people the head's
    attraction: float


@dataclass(frozen=True)
class Picture:
    """A drawn scene: the coarse density is float32, (h, w), and sums to 1."""

    image: Image.Image
    density: NDArray[np.float32]
    items: tuple[Item, ...]


def constants() -> dict[str, Any]:
    """What decides the density, for TWIN.json."""
    return {
        "attraction": ATTRACTION, "full_contrast": FULL_CONTRAST, "away": AWAY, "centre_sigma": list(CENTRE_SIGMA),
        "centre_share": CENTRE_SHARE, "floor_share": FLOOR_SHARE, "idle": IDLE, "place_sigma": list(PLACE_SIGMA), "spread": SPREAD, "cell": CELL,
    }


def unit(size: tuple[int, int]) -> float:
    """Pixels in one u for a picture of (H, W)."""
    return float(np.sqrt(size[0] * size[1] / (480 * 640)))


# --------------------------------------------------------------------------------------------------------------- density


def coarse_density(items: Sequence[Item], size: tuple[int, int]) -> NDArray[np.float32]:
    """(h, w) that sums to 1, its cells about `CELL` u wide: where people look in a picture of `size` = (H, W)."""
    height, width = size
    y, x = _cells(size)
    attracted = np.zeros((len(y), len(x)))
    for item in items:
        for at_x, at_y, sigma_x, sigma_y, share in _spots(item, unit(size)):
            central = AWAY + (1 - AWAY) * _bump(at_x, width / 2, CENTRE_SIGMA[0] * width) * _bump(at_y, height / 2, CENTRE_SIGMA[1] * height)
            gaussian = np.outer(_bump(y, at_y, sigma_y), _bump(x, at_x, sigma_x)) / (sigma_x * sigma_y)
            attracted += item.attraction * share * central * gaussian
    total = sum(item.attraction for item in items)
    share = (1 - CENTRE_SHARE - FLOOR_SHARE) * total / (total + IDLE)
    parts = ((share, attracted), (FLOOR_SHARE, np.ones_like(attracted)), (1 - share - FLOOR_SHARE, centre_bias(size)))
    return sum(share * part / part.sum() for share, part in parts if share > 0).astype(np.float32)


def centre_bias(size: tuple[int, int]) -> NDArray[np.float64]:
    """(h, w): the centre bias alone on the same coarse grid, 1 at its peak."""
    (y, x), (height, width) = _cells(size), size
    return np.outer(_bump(y, height / 2, CENTRE_SIGMA[1] * height), _bump(x, width / 2, CENTRE_SIGMA[0] * width))


def _cells(size: tuple[int, int]) -> list[NDArray[np.float64]]:
    """Centres of the coarse cells, y and x, in pixels."""
    cells = [round(n / (CELL * unit(size))) for n in size]
    return [(np.arange(count) + 0.5) * n / count for n, count in zip(size, cells, strict=True)]


def _bump(at: Any, middle: float, sigma: float) -> Any:
    return np.exp(-0.5 * ((at - middle) / sigma) ** 2)


def _spots(item: Item, u: float) -> list[tuple[float, float, float, float, float]]:
    """What of an item is looked at: x, y, the standard deviations, and the share of each spot."""
    (a, b), spread = item.half, SPREAD * u
    if item.kind == "face":  # the eyes, and less the rest
        wide, flat = np.hypot(0.4 * a, spread), np.hypot(0.2 * b, spread)
        return [(item.x, item.y - 0.08 * b, wide, flat, 0.6), (item.x, item.y + 0.4 * b, wide, np.hypot(0.3 * b, spread), 0.4)]
    return [(item.x, item.y, np.hypot(0.5 * a, spread), np.hypot(0.5 * b, spread), 1.0)]


def draw_fixations(coarse: NDArray[np.float32], size: tuple[int, int], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(n, 2) pixels of a picture of (H, W), x first, 0-based, drawn independently from `upsample_density(coarse, size)`."""
    with one_thread():  # a sum on more threads may round otherwise
        total = np.cumsum(upsample_density(coarse, size), dtype=np.float64)
    pixel = np.searchsorted(total, rng.random(n) * total[-1], side="right")
    return np.stack([pixel % size[1], pixel // size[1]], axis=1)


# --------------------------------------------------------------------------------------------------------------- drawing


def draw(rng: np.random.Generator, size: tuple[int, int]) -> Picture:
    """A scene of (H, W): at least 240 pixels each way."""
    u = unit(size)
    canvas, horizon = backdrop(rng, size, u)
    places = _places(rng, size, u)
    people = sorted((p for p in places if p[0] in _PEOPLE), key=lambda place: place[2])  # from the back to the front
    items = []
    for kind, x, y, half, word in people + [p for p in places if p[0] not in _PEOPLE]:
        attraction = ATTRACTION.get(kind, 0.0) * float(np.clip(np.sqrt(half[0] * half[1]) / (22 * u), 0.4, 2.0)) ** 0.5
        if kind in _PEOPLE:
            person(canvas, rng, x, y, half[1], kind)
        elif kind in ("text", "plate"):
            plate(canvas, rng, (x, y), half[1] / 0.75, word, kind)
        elif kind == "object":
            attraction *= _object(canvas, rng, x, y, half[1], horizon)
        else:
            items += _equals(canvas, rng, x, y, half, horizon)
            continue
        items.append(Item(kind, x, y, half, attraction))
    return Picture(_exposed(canvas, rng), coarse_density(items, size), tuple(items))


def _places(rng: np.random.Generator, size: tuple[int, int], u: float) -> list[tuple[str, float, float, tuple[float, float], str]]:
    """What stands where without covering one another: kind, x, y, half width and height, word. What finds no room is left out."""
    counts = {kind: int(rng.choice(len(shares), p=shares)) for kind, shares in _COUNTS.items()}
    if not counts["face"] + counts["text"] + counts["object"]:
        counts["face"] = 1
    places: list[tuple[str, float, float, tuple[float, float], str]] = []
    for kind, count in counts.items():
        for _ in range(count):
            half, word = _extent(rng, kind, u)
            for _ in range(25):
                x, y = (0.5 + rng.normal(0, PLACE_SIGMA)) * size[::-1]
                inside = abs(x - size[1] / 2) < size[1] / 2 - half[0] - 4 * u and abs(y - size[0] / 2) < size[0] / 2 - half[1] - 4 * u
                if inside and all(abs(x - p[1]) > half[0] + p[3][0] + 5 * u or abs(y - p[2]) > half[1] + p[3][1] + 5 * u for p in places):
                    places.append((kind, float(x), float(y), half, word))
                    break
    return places


def _extent(rng: np.random.Generator, kind: str, u: float) -> tuple[tuple[float, float], str]:
    """Half width and height of an item, and its word."""
    r, word = float(np.exp(rng.uniform(np.log(15), np.log(56)))) * u, str(rng.choice(WORDS))
    if kind in _PEOPLE:
        return (0.8 * r, r), word
    if kind in ("text", "plate"):
        font = 0.8 * float(np.sqrt(15 * u * r))
        return (text_size(word, font)[0] / 2 + 0.45 * font, 0.75 * font), word  # the plate
    if kind == "equals":
        return (float(rng.uniform(110, 200)) * u, float(rng.uniform(15, 26)) * u), word
    return (0.8 * r, 0.8 * r), word


def _object(canvas: Canvas, rng: np.random.Generator, x: float, y: float, r: float, horizon: float) -> float:
    """Draws an object; returns how much of its colour stands out, 0 to 1."""
    behind = canvas.colour_around(x, y, r)
    colours = _colours(rng, behind, vivid=float(rng.random()))
    thing(canvas, str(rng.choice(STANDING if y + r > horizon else HANGING)), (x, y), r, colours, float(rng.normal(0, 0.12)))
    return _contrast(colours, behind)


def _colours(rng: np.random.Generator, behind: Colour, *, vivid: float) -> tuple[Colour, Colour]:
    """A main and a second colour: like what is behind, or as different from it as one of a few drawn hues can be."""
    candidates = [hsv(rng.random(), rng.uniform(0.75, 1), rng.uniform(0.7, 1)) for _ in range(5)]
    bright = max(candidates, key=lambda colour: float(np.linalg.norm(colour - behind)))
    dull = np.clip(behind * rng.uniform(0.75, 1.2) + rng.normal(0, 8, 3), 20, 240)
    second = 255 * (bright.mean() < 128) * np.ones(3) if rng.random() < 0.5 else 0.9 * bright[[1, 2, 0]]
    return vivid * bright + (1 - vivid) * dull, vivid * second + (1 - vivid) * 0.85 * dull


def _contrast(colours: tuple[Colour, Colour], behind: Colour) -> float:
    distance = 0.7 * np.linalg.norm(colours[0] - behind) + 0.3 * np.linalg.norm(colours[1] - behind)
    return float(np.clip(distance / FULL_CONTRAST, 0, 1)) ** 1.5


def _equals(canvas: Canvas, rng: np.random.Generator, x: float, y: float, half: tuple[float, float], horizon: float) -> list[Item]:
    """A row of bright things, all equal but for one of another colour."""
    count = int(rng.integers(5, 9))
    r = min(half[1], 0.85 * half[0] / count)
    behind = canvas.colour_around(x, y, half[0])
    colours = [_colours(rng, behind, vivid=1.0)]
    others = [hsv(rng.random(), 0.9, 0.9) for _ in range(6)]
    other = max(others, key=lambda c: min(np.linalg.norm(c - colours[0][0]), np.linalg.norm(c - behind)))
    colours.append((other, colours[0][1]))
    shape, odd, items = str(rng.choice(STANDING if y + r > horizon else HANGING)), int(rng.integers(count)), []
    for index, at in enumerate(np.linspace(x - half[0] + r, x + half[0] - r, count)):
        kind, at_y = ("odd", "equal")[index != odd], y + rng.normal(0, 0.15 * r)
        thing(canvas, shape, (float(at), at_y), r, colours[index == odd], float(rng.normal(0, 0.08)))
        items.append(Item(kind, float(at), float(at_y), (r, r), ATTRACTION[kind]))
    return items


# -------------------------------------------------------------------------------------------------------------- exposure


def _exposed(canvas: Canvas, rng: np.random.Generator) -> Image.Image:
    """At its own size, with light that falls off across it, and a little noise. In integers, for speed."""
    image = canvas.image.reduce(2)
    corners = Image.fromarray((255 * rng.uniform(0.86, 1.0, (2, 2))).astype(np.uint8))
    light = corners.resize(image.size, Image.Resampling.BILINEAR)
    image = ImageChops.multiply(image, Image.merge("RGB", [light] * 3))
    sheet = _noise_sheet()
    y, x = (int(rng.integers(0, n - m + 1)) for n, m in zip(sheet.shape, (image.height, image.width), strict=True))
    noise = Image.fromarray(sheet[y : y + image.height, x : x + image.width])
    return ImageChops.add(image, Image.merge("RGB", [noise] * 3), offset=-8)


@lru_cache(maxsize=1)
def _noise_sheet() -> NDArray[np.uint8]:
    """Larger than any picture; each takes its own piece, much cheaper than fresh noise."""
    return np.clip(np.random.default_rng(20150607).normal(10, 2.5, (1280, 1280)) + 0.5, 0, 20).astype(np.uint8)
