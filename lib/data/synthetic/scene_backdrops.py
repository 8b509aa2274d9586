"""The places of the drawn scenes, and the canvas that everything in `scenes` is drawn on. Ours; no paper describes it."""

from __future__ import annotations

import colorsys
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Colour = NDArray[np.float64]  # (3,) RGB, 0..255
Points = NDArray[np.float64]  # (n, 2), x first, y down

_ANGLES = np.linspace(0, 2 * np.pi, 32, endpoint=False)
CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
WHITE, BLACK = np.full(3, 250.0), np.full(3, 18.0)


class Canvas:
    """A picture drawn at twice its size. All coordinates are in pixels of the picture; u is its unit of length (`scenes`)."""

    def __init__(self, backdrop: Image.Image, u: float) -> None:
        self.width, self.height, self.u = backdrop.width, backdrop.height, u
        self.image = backdrop.resize((2 * backdrop.width, 2 * backdrop.height), Image.Resampling.NEAREST)
        self._draw = ImageDraw.Draw(self.image, "RGBA")

    def polygon(self, points: Points, colour: Colour, alpha: float = 1.0) -> None:
        self._draw.polygon((2 * points).ravel().tolist(), fill=_rgba(colour, alpha))

    def line(self, points: Points, width: float, colour: Colour, alpha: float = 1.0) -> None:
        self._draw.line((2 * points).ravel().tolist(), fill=_rgba(colour, alpha), width=max(1, round(2 * width)), joint="curve")

    def text(self, word: str, at: tuple[float, float], font_px: float, colour: Colour, angle: float) -> None:
        """Centred at `at`, turned clockwise by `angle` radians."""
        font = _font(round(2 * font_px))
        left, top, right, bottom = font.getbbox(word)
        mask = Image.new("L", (round(right - left), round(bottom - top)))
        ImageDraw.Draw(mask).text((-left, -top), word, fill=255, font=font)
        mask = mask.rotate(-np.degrees(angle), Image.Resampling.BICUBIC, expand=True)
        self.image.paste(_rgba(colour)[:3], (round(2 * at[0] - mask.width / 2), round(2 * at[1] - mask.height / 2)), mask)

    def colour_around(self, x: float, y: float, half: float) -> Colour:
        """The mean colour in a square around a point."""
        box = np.clip(np.array([x - half, y - half, x + half, y + half]) * 2, 0, [*self.image.size, *self.image.size]).astype(int)
        return np.array(self.image.crop(tuple(box.tolist())).resize((1, 1), Image.Resampling.BOX).getpixel((0, 0)), dtype=np.float64)


def _rgba(colour: Colour, alpha: float = 1.0) -> tuple[int, ...]:
    return tuple(np.clip([*colour, 255 * alpha], 0, 255).astype(int).tolist())


@lru_cache(maxsize=256)
def _font(px: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(px)


def text_size(word: str, font_px: float) -> tuple[float, float]:
    """Width and height in pixels."""
    left, top, right, bottom = _font(round(2 * font_px)).getbbox(word)
    return (right - left) / 2, (bottom - top) / 2


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """All from 0 to 1; hue goes round."""
    return 255 * np.array(colorsys.hsv_to_rgb(hue % 1, min(saturation, 1), min(value, 1)))


def ellipse(x: float, y: float, a: float, b: float) -> Points:
    return np.array([x, y]) + CIRCLE * (a, b)


def box(x: float, y: float, w: float, h: float) -> Points:
    """x, y: its upper left corner."""
    return np.array([(x, y), (x + w, y), (x + w, y + h), (x, y + h)])


def placed(points: Points, x: float, y: float, scale: float, angle: float = 0.0) -> Points:
    """Points around the origin, turned clockwise by `angle` radians, scaled and moved to (x, y)."""
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([x, y]) + points @ np.array([[cos, sin], [-sin, cos]])


# ------------------------------------------------------------------------------------------------------------- backdrops


def backdrop(rng: np.random.Generator, size: tuple[int, int], u: float) -> tuple[Canvas, float]:
    """A place of (H, W) with nothing in it that attracts, and how far down its horizon or floor line lies, in pixels."""
    kind = _BACKDROPS[rng.integers(len(_BACKDROPS))]
    horizon = size[0] * rng.uniform(0.4, 0.72)
    return kind(rng, size, u, horizon), horizon


def _washed(rng: np.random.Generator, size: tuple[int, int], stops: list[tuple[float, Colour]], *, amplitude: float) -> Image.Image:
    """Colours from top to bottom (at 0..1), with clouds of low frequency and some coarser grain."""
    height, width = size
    rows = np.linspace(0, 1, 120)
    at, colours = [s[0] for s in stops], np.array([s[1] for s in stops])
    base = np.stack([np.interp(rows, at, colours[:, c]) for c in range(3)], axis=1)[:, None].repeat(160, axis=1)  # (120, 160, 3)
    for cells, share in ((4, 1.0), (12, 0.6), (40, 0.4)):
        noise = rng.normal(0, 1, (cells * 3 // 4, cells)).astype(np.float32)
        base += amplitude * share * np.array(Image.fromarray(noise).resize((160, 120), Image.Resampling.BICUBIC))[..., None]
    return Image.fromarray(np.clip(base, 0, 255).astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)


def _landscape(rng: np.random.Generator, size: tuple[int, int], u: float, horizon: float) -> Canvas:
    height, width = size
    sky = hsv(rng.uniform(0.53, 0.62), rng.uniform(0.15, 0.55), rng.uniform(0.75, 1.0))
    ground, line = hsv(rng.uniform(0.09, 0.36), 0.4, rng.uniform(0.4, 0.7)), horizon / height
    stops = [(0.0, sky), (line, 0.45 * sky + 0.55 * WHITE), (line + 0.01, 0.9 * ground), (1.0, 1.15 * ground)]
    canvas = Canvas(_washed(rng, size, stops, amplitude=5), u)
    for _ in range(rng.integers(0, 5)):
        x, y, a = rng.uniform(0, width), rng.uniform(0.05, 0.75) * horizon, rng.uniform(30, 90) * u
        for _ in range(4):
            canvas.polygon(ellipse(x + rng.normal(0, a / 2), y + rng.normal(0, 5 * u), a / 2, a / 5), WHITE, 0.3)
    for depth in range(rng.integers(1, 4)):
        x = np.linspace(0, width, 24)
        wave = sum(rng.uniform(4, 22) * u * np.sin(x / width * rng.uniform(3, 14) + rng.uniform(0, 6)) for _ in range(3))
        top = np.minimum(horizon - (40 - 14 * depth) * u + wave, horizon)
        hill = (0.55 - 0.17 * depth) * sky + (0.4 + 0.17 * depth) * ground
        canvas.polygon(np.concatenate([np.stack([x, top], axis=1), [(width, horizon + 2), (0, horizon + 2)]]), hill)
    for _ in range(rng.integers(40, 140)):
        x, y = rng.uniform(0, width), horizon + (height - horizon) * rng.uniform(0.03, 1)
        r, tone = (2 + 9 * (y - horizon) / height) * u, ground * rng.uniform(0.75, 1.2)
        canvas.line(np.array([(x - r, y - 2 * r), (x, y), (x + r * rng.uniform(0, 1), y - 2 * r)]), 0.8 * u, tone)
    for _ in range(rng.integers(0, 5)):
        x, r, tone = rng.uniform(0, width), rng.uniform(14, 34) * u, ground * rng.uniform(0.6, 0.9)
        canvas.polygon(box(x - 0.12 * r, horizon - r, 0.24 * r, 1.3 * r), tone * 0.6)
        for _ in range(7):
            leaves = ellipse(x + rng.normal(0, 0.4 * r), horizon - 1.6 * r + rng.normal(0, 0.4 * r), 0.6 * r, 0.5 * r)
            canvas.polygon(leaves, tone * rng.uniform(0.85, 1.15))
    return canvas


def _room(rng: np.random.Generator, size: tuple[int, int], u: float, horizon: float) -> Canvas:
    height, width = size
    wall = hsv(rng.random(), rng.uniform(0.03, 0.3), rng.uniform(0.55, 0.97))
    floor, line = hsv(rng.uniform(0.04, 0.12), rng.uniform(0.2, 0.5), rng.uniform(0.35, 0.75)), horizon / height
    canvas = Canvas(_washed(rng, size, [(0, wall), (line, 0.92 * wall), (line + 0.01, floor), (1, 1.15 * floor)], amplitude=4), u)
    pattern, step = rng.integers(3), rng.uniform(16, 60) * u
    if pattern == 0:
        for x in np.arange(rng.uniform(0, step), width, step):
            canvas.polygon(box(x, 0, 0.4 * step, horizon), wall * 0.86, 0.5)
    elif pattern == 1:
        for row, y in enumerate(np.arange(horizon - 0.5 * step, -step, -0.5 * step)):
            canvas.line(np.array([(0, y), (width, y)]), 0.8 * u, wall * 0.85)
            for x in np.arange((row % 2) * step / 2, width, step):
                canvas.line(np.array([(x, y), (x, y + 0.5 * step)]), 0.8 * u, wall * 0.85)
    for x in np.linspace(-1.6 * width, 2.6 * width, 30):
        canvas.line(np.array([(width / 2 + (x - width / 2) * 0.35, horizon), (x, height)]), 1.0 * u, floor * 0.75)
    canvas.polygon(box(0, horizon - 6 * u, width, 8 * u), 0.5 * wall + 0.4 * WHITE)
    for _ in range(rng.integers(0, 3)):  # a window or an empty frame
        x, y, w = rng.uniform(0, width), rng.uniform(0.08, 0.4) * horizon, rng.uniform(45, 120) * u
        canvas.polygon(box(x, y, w, 0.8 * w), wall * 0.7)
        canvas.polygon(box(x + 4 * u, y + 4 * u, w - 8 * u, 0.8 * w - 8 * u), 0.5 * wall + 0.5 * hsv(0.57, 0.15, 0.9))
        canvas.line(np.array([(x + w / 2, y), (x + w / 2, y + 0.8 * w)]), 2.5 * u, wall * 0.7)
    return canvas


def _street(rng: np.random.Generator, size: tuple[int, int], u: float, horizon: float) -> Canvas:
    height, width = size
    sky, road = hsv(0.58, rng.uniform(0.05, 0.35), rng.uniform(0.75, 0.95)), np.full(3, rng.uniform(90, 150))
    line = horizon / height
    canvas = Canvas(_washed(rng, size, [(0, sky), (line, WHITE), (line + 0.01, road), (1, 0.85 * road)], amplitude=4), u)
    x, hue = -20 * u, rng.random()
    while x < width:
        w, top = rng.uniform(80, 190) * u, rng.uniform(0.0, 0.5) * horizon
        front = hsv(hue + rng.normal(0, 0.05), rng.uniform(0.05, 0.32), rng.uniform(0.4, 0.8))
        canvas.polygon(box(x, top, w, horizon - top), front)
        step, glass = rng.uniform(22, 40) * u, front * rng.uniform(0.55, 0.85) + (0, 3, 10)
        for at_y in np.arange(top + 0.5 * step, horizon - 1.4 * step, 1.3 * step):
            for at_x in np.arange(x + 0.35 * step, x + w - 0.8 * step, step):
                canvas.polygon(box(at_x, at_y, 0.5 * step, 0.8 * step), glass * rng.uniform(0.92, 1.08))
        canvas.polygon(box(x, horizon - 0.9 * step, w, 0.9 * step), front * 0.8)
        x += w
    canvas.polygon(box(0, horizon, width, 14 * u), road * 1.25)
    for x in np.linspace(-width, 2 * width, 9):
        canvas.line(np.array([(width / 2 + (x - width / 2) * 0.4, horizon + 14 * u), (x, height)]), 1.5 * u, road * 1.15)
    return canvas


def _leaves(rng: np.random.Generator, size: tuple[int, int], u: float, horizon: float) -> Canvas:
    """Clutter of low contrast all over; the horizon is only where things stand."""
    height, width = size
    tone = hsv(rng.choice([rng.uniform(0.2, 0.4), rng.uniform(0.05, 0.12), rng.random()]), rng.uniform(0.1, 0.45), rng.uniform(0.45, 0.9))
    canvas = Canvas(_washed(rng, size, [(0, 0.9 * tone), (1, 1.1 * tone)], amplitude=9), u)
    leaf = ellipse(0, 0, 1, rng.uniform(0.35, 0.9)) if rng.random() < 0.7 else box(-1, -0.7, 2, 1.4)
    r = rng.uniform(7, 22) * u
    for x, y, scale, angle, light in rng.uniform((0, 0, 0.6, 0, 0.84), (width, height, 1.4, np.pi, 1.14), (230, 5)):
        canvas.polygon(placed(leaf, x, y, r * scale, angle), tone * light, 0.75)
    return canvas


def _shelves(rng: np.random.Generator, size: tuple[int, int], u: float, horizon: float) -> Canvas:
    height, width = size
    wood, hue = hsv(rng.uniform(0.05, 0.12), rng.uniform(0.15, 0.45), rng.uniform(0.35, 0.75)), rng.random()
    canvas = Canvas(_washed(rng, size, [(0, 0.55 * wood), (1, 0.65 * wood)], amplitude=3), u)
    rows = np.linspace(-0.05, 1.05, rng.integers(4, 7)) * height
    for top, bottom in zip(rows[:-1], rows[1:], strict=True):
        x = 0.0
        while x < width:
            w, tall = rng.uniform(8, 34) * u, (bottom - top) * rng.uniform(0.45, 0.85)
            book = hsv(hue + rng.normal(0, 0.08), rng.uniform(0.05, 0.25), rng.uniform(0.4, 0.75))
            canvas.polygon(box(x, bottom - tall, w, tall), book)
            x += w + (rng.uniform(1, 3) if rng.random() < 0.8 else rng.uniform(10, 60)) * u
        canvas.polygon(box(0, bottom - 2 * u, width, 9 * u), wood)
    return canvas


def _studio(rng: np.random.Generator, size: tuple[int, int], u: float, horizon: float) -> Canvas:
    tone, other = (hsv(rng.random(), rng.uniform(0, 0.35), rng.uniform(0.5, 0.97)) for _ in range(2))
    return Canvas(_washed(rng, size, [(0, tone), (1, 0.6 * tone + 0.4 * other)], amplitude=rng.uniform(3, 10)), u)


_BACKDROPS = (_landscape, _room, _street, _leaves, _shelves, _studio)
