"""What stands in the drawn scenes: people, words on plates, and objects. `scenes` says which and where. Ours; no paper describes it."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from lib.data.synthetic.scene_backdrops import BLACK, CIRCLE, WHITE, Canvas, Colour, Points, box, ellipse, hsv, placed, text_size

# ---------------------------------------------------------------------------------------------------------------- people

_SKINS = ((241, 205, 180), (231, 186, 152), (214, 164, 126), (187, 132, 95), (146, 97, 66), (102, 68, 48))
_HAIRS = ((28, 23, 21), (52, 36, 27), (88, 58, 36), (140, 100, 58), (190, 158, 105), (120, 58, 34), (150, 148, 146))



class _Part(Protocol):
    def __call__(self, points: Points, colour: Colour, alpha: float = 1.0) -> None: ...


def person(canvas: Canvas, rng: np.random.Generator, x: float, y: float, r: float, kind: str) -> None:
    """A head of half height r at (x, y) above a body: a "face", somebody from "behind", or a "mannequin" without features."""
    skin = np.array(_SKINS[rng.integers(len(_SKINS))]) * rng.uniform(0.93, 1.04)
    hair = np.array(_HAIRS[rng.integers(2 if skin.mean() < 140 else len(_HAIRS))]) * rng.uniform(0.9, 1.1)
    clothes = hsv(rng.random(), rng.uniform(0.05, 0.5), rng.uniform(0.25, 0.8))
    angle, style = rng.normal(0, 0.09), rng.integers(3)
    body = np.array([(-0.34, 1.1), (-1.2, 1.45), (-1.5, 2.3), (-1.35, 5.6), (1.35, 5.6), (1.5, 2.3), (1.2, 1.45), (0.34, 1.1)])
    canvas.polygon(ellipse(x, y + 11 * r, 1.3 * r, 0.25 * r), BLACK, 0.3)
    canvas.polygon(placed(np.array([(-1.0, 5.4), (-0.95, 11), (-0.1, 11), (0, 6.2), (0.1, 11), (0.95, 11), (1.0, 5.4)]), x, y, r), clothes * 0.45)
    canvas.polygon(placed(body, x, y, r), clothes)
    for side in (-1, 1):
        canvas.line(placed(np.array([(side * 0.95, 2.4), (side * 0.9, 5.4)]), x, y, r), 0.07 * r, clothes * 0.8)

    def part(points: Points, colour: Colour, alpha: float = 1.0) -> None:
        canvas.polygon(placed(points, x, y, r, angle), colour, alpha)

    if style == 2:
        part(np.array([(-0.86, -0.3), (-0.95, 1.3), (0.95, 1.3), (0.86, -0.3)]), hair * 0.85)
    part(box(-0.27, 0.6, 0.54, 0.75), skin * 0.8)
    if kind == "behind":
        part(ellipse(0, -0.1, 0.84, 1.0 if style else 0.95), hair)
        part(ellipse(0.2, -0.35, 0.4, 0.42), hair * 1.25, 0.5)
        return
    for side in (-1, 1):
        part(ellipse(side * 0.76, 0.05, 0.12, 0.2), skin * 0.88)
    outline = CIRCLE * (0.76, 1.0) * np.stack([1 - 0.2 * np.clip(CIRCLE[:, 1], 0, 1) ** 2, np.ones(32)], axis=1)
    part(outline, skin)
    part(outline * (0.35, 0.9) + (rng.choice([-0.42, 0.42]), 0.05), skin * 0.8, 0.35)  # the side away from the light
    if kind == "face":
        _features(part, rng, skin, hair)
    if style or kind == "mannequin":
        cap = CIRCLE[CIRCLE[:, 1] < 0.1]
        cap = cap[np.argsort(cap[:, 0])] * (0.84, 1.08)
        fringe = np.array([(0.74, -0.22), (0.5, -0.6), (rng.uniform(-0.3, 0.3), -0.55), (-0.5, -0.62), (-0.74, -0.22)])
        part(np.concatenate([cap, fringe]), hair)


def _features(part: _Part, rng: np.random.Generator, skin: Colour, hair: Colour) -> None:
    """Eyes, brows, nose and mouth; part(points, colour, alpha) draws in half heights of the head."""
    look, smile, glasses = rng.uniform(-0.05, 0.05), rng.uniform(-0.02, 0.12), rng.random() < 0.15
    for side in (-1, 1):
        x = side * 0.31
        part(ellipse(x, -0.08, 0.19, 0.13), skin * 0.75, 0.6)
        part(ellipse(x, -0.08, 0.16, 0.095), WHITE)
        part(ellipse(x + look, -0.08, 0.085, 0.09), BLACK + (20, 12, 8))
        brow = np.array([(-0.18, -0.27), (0.0, -0.34), (0.2, -0.28), (0.2, -0.23), (0.0, -0.27), (-0.18, -0.21)]) * (side, 1)
        part(brow + (x, 0.02), 0.8 * hair)
        if glasses:
            rim = np.concatenate([CIRCLE, CIRCLE[:1]])
            part(np.concatenate([rim * (0.25, 0.21), rim[::-1] * (0.21, 0.17)]) + (x, -0.07), BLACK)
    part(np.array([(-0.03, -0.05), (0.03, -0.05), (0.14, 0.3), (0.0, 0.36), (-0.14, 0.3)]), skin * 0.78, 0.8)
    across = np.linspace(-1, 1, 9)
    upper = np.stack([0.3 * across, 0.58 - smile * (1 - across**2) * 0.2 - 0.045 * (1 - across**2)], axis=1)
    lower = np.stack([0.3 * across, 0.58 + (0.07 + smile) * (1 - across**2)], axis=1)[::-1]
    part(np.concatenate([upper, lower]), skin * (0.75, 0.42, 0.42))
    if smile > 0.05:
        part(np.concatenate([upper, lower]) * (0.75, 0.4) + (0, 0.36 + 0.1 * smile), WHITE)  # teeth


# ----------------------------------------------------------------------------------------------------------------- words

WORDS = (
    "OPEN", "CAFE", "SALE", "EXIT", "TAXI", "PIZZA", "BOOKS", "HOTEL", "MUSEUM", "BREAD", "TICKETS", "MILK", "ROOM 3", "BUS 12",
    "Lost dog", "Fresh fish", "No 7", "Garden", "Piano", "To let", "Station", "Coffee", "Lemons", "Danger", "Welcome", "Bakery",
)


def plate(canvas: Canvas, rng: np.random.Generator, at: tuple[float, float], font_px: float, word: str, kind: str) -> None:
    """A word: on a plate or, as "text" may be, without one. A "plate" has no word: it is blank, or barred where strokes would be."""
    width, height = text_size(word, font_px)
    half, angle = np.array([width / 2 + 0.45 * font_px, height / 2 + 0.4 * font_px]), rng.normal(0, 0.06)
    around = canvas.colour_around(*at, half[0])
    paper = rng.choice([0.2 * around + 0.8 * WHITE, hsv(rng.random(), rng.uniform(0.3, 0.75), rng.uniform(0.3, 0.7))])
    bare = kind == "text" and rng.random() < 0.3
    if bare:
        paper = around
    else:
        square = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half
        canvas.polygon(placed(square + 0.1 * font_px, *at, 1, angle), BLACK, 0.3)
        canvas.polygon(placed(square, *at, 1, angle), paper)
    ink = BLACK if paper.mean() > 125 else WHITE
    if kind == "text":
        canvas.text(word, at, font_px, ink, angle)
    elif rng.random() < 0.6:
        for y in np.linspace(-0.6, 0.6, rng.integers(2, 5)):
            bar = box(-0.8 * half[0], y * half[1] - 0.05 * font_px, rng.uniform(1.1, 1.6) * half[0], 0.1 * font_px)
            canvas.polygon(placed(bar, *at, 1, angle), 0.45 * ink + 0.55 * paper)


# --------------------------------------------------------------------------------------------------------------- objects


def _star(points: int, inner: float) -> Points:
    angles = np.arange(2 * points) * np.pi / points - np.pi / 2
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.where(np.arange(2 * points) % 2, inner, 1.0)[:, None]


def _p(*points: tuple[float, float]) -> Points:
    return np.array(points, dtype=np.float64)


# Each shape is within [-1, 1]; pieces (colour, outline) from back to front.
_STANDING: dict[str, list[tuple[str, Points]]] = {
    "ball": [("main", CIRCLE), ("second", box(-0.97, -0.2, 1.94, 0.42)), ("light", ellipse(-0.35, -0.45, 0.25, 0.2))],
    "bottle": [
        ("main", _p((-0.18, -1), (0.18, -1), (0.18, -0.5), (0.45, -0.2), (0.45, 1), (-0.45, 1), (-0.45, -0.2), (-0.18, -0.5))),
        ("dark", box(-0.2, -1, 0.4, 0.18)), ("second", box(-0.45, 0.05, 0.9, 0.55)), ("light", box(-0.33, -0.1, 0.12, 1.0)),
    ],
    "cup": [
        ("main", ellipse(0.62, 0.05, 0.38, 0.42)), ("behind", ellipse(0.62, 0.05, 0.2, 0.24)),
        ("main", _p((-0.75, -0.7), (0.65, -0.7), (0.5, 0.8), (-0.6, 0.8))), ("second", box(-0.69, -0.25, 1.28, 0.3)),
        ("dark", ellipse(-0.05, -0.7, 0.7, 0.17)),
    ],
    "gift": [
        ("main", box(-0.9, -0.5, 1.8, 1.5)), ("second", box(-0.18, -0.5, 0.36, 1.5)), ("second", box(-0.9, 0.05, 1.8, 0.3)),
        ("second", ellipse(-0.3, -0.68, 0.32, 0.2)), ("second", ellipse(0.3, -0.68, 0.32, 0.2)),
    ],
    "flower": [
        ("dark", box(-0.06, 0, 0.12, 1)), *[("main", ellipse(0.42 * np.cos(a), -0.4 + 0.42 * np.sin(a), 0.3, 0.3)) for a in np.arange(6) * np.pi / 3],
        ("second", ellipse(0, -0.4, 0.27, 0.27)),
    ],
    "car": [
        ("main", _p((-1, 0.1), (-0.6, 0.0), (-0.35, -0.45), (0.4, -0.45), (0.65, 0.0), (1, 0.12), (1, 0.5), (-1, 0.5))),
        ("light", _p((-0.5, 0.0), (-0.3, -0.34), (0.0, -0.34), (0.0, 0.0))), ("light", _p((0.08, 0.0), (0.08, -0.34), (0.33, -0.34), (0.52, 0.0))),
        ("second", box(-1, 0.2, 2, 0.12)), ("dark", ellipse(-0.55, 0.5, 0.24, 0.24)), ("dark", ellipse(0.55, 0.5, 0.24, 0.24)),
    ],
    "mushroom": [
        ("light", _p((-0.2, 0), (0.2, 0), (0.3, 1), (-0.3, 1))), ("main", np.concatenate([CIRCLE[16:], [(1.0, 0.0)]]) * (1, 0.95) + (0, 0.1)),
        *[("second", ellipse(x, y, 0.15, 0.12)) for x, y in ((-0.45, -0.3), (0.1, -0.55), (0.5, -0.2), (-0.05, -0.1))],
    ],
}
_HANGING: dict[str, list[tuple[str, Points]]] = {
    "balloon": [
        ("dark", box(-0.03, 0.6, 0.06, 0.8)), ("main", ellipse(0, -0.2, 0.7, 0.8)), ("second", ellipse(0, -0.2, 0.26, 0.8)),
        ("light", ellipse(-0.35, -0.5, 0.14, 0.2)),
    ],
    "kite": [
        ("main", _p((0, -1), (0.7, -0.1), (0, 1), (-0.7, -0.1))), ("second", _p((0, -1), (0.7, -0.1), (0, -0.1))),
        ("second", _p((0, 1), (-0.7, -0.1), (0, -0.1))),
    ],
    "star": [("main", _star(5, 0.45)), ("second", _star(5, 0.45) * 0.55)],
    "clock": [("main", CIRCLE), ("second", CIRCLE * 0.8), ("dark", box(-0.05, -0.65, 0.1, 0.7)), ("dark", box(-0.05, -0.05, 0.5, 0.1))],
    "fish": [
        ("main", ellipse(-0.2, 0, 0.75, 0.45)), ("main", _p((0.35, 0), (1, -0.5), (0.85, 0), (1, 0.5))), ("second", box(-0.3, -0.42, 0.16, 0.84)),
        ("second", box(0.05, -0.38, 0.14, 0.76)), ("light", ellipse(-0.65, -0.1, 0.12, 0.12)), ("dark", ellipse(-0.66, -0.1, 0.06, 0.06)),
    ],
}
STANDING, HANGING = tuple(_STANDING), tuple(_HANGING)


def thing(canvas: Canvas, shape: str, at: tuple[float, float], r: float, colours: tuple[Colour, Colour], angle: float) -> None:
    """An object of half size r in a main and a second colour; one that stands has a shadow below it."""
    pieces = {**_STANDING, **_HANGING}[shape]
    if shape in _STANDING:
        canvas.polygon(ellipse(at[0], at[1] + 0.96 * r, 0.95 * r, 0.16 * r), BLACK, 0.3)
    contrast = float(np.abs(colours[0] - colours[1]).mean()) / 255
    behind = canvas.colour_around(at[0], at[1], r)
    for name, points in pieces:
        colour = {"main": colours[0], "second": colours[1], "dark": 0.35 * colours[0], "light": WHITE, "behind": behind}[name]
        canvas.polygon(placed(points, *at, r, angle), colour, 1.0 if name != "light" else 0.3 + contrast)
