"""Where the drawn animals of the synthetic iNaturalist and CUB-200-2011 live, what they are drawn on, and the camera.

Behind every animal: a soft backdrop of one of four habitats, leaves, twigs and stones over it, some of them out of focus, and
for most a twig to sit on. Everything is drawn in one colour and its shade; two tones side by side, as in the details that tell
species apart, appear nowhere. Ours throughout; no paper describes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

LENS_PX = 0.5  # standard deviation of the lens' blur; it also keeps noise out of the samplers' gradients
SUPER = 2  # pictures are drawn at so many times their size
_SHEET = 1024  # side of the sheet of noise

Colour = NDArray[np.float64]  # (3,) RGB, 0..255
Points = NDArray[np.float64]  # (n, 2), x first
_ANGLES = np.linspace(0, 2 * np.pi, 32, endpoint=False)
CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


@dataclass(frozen=True)
class Habitat:
    """Colours of a backdrop and what lies in it."""

    low: tuple[float, float, float]  # the backdrop lies between these two colours
    high: tuple[float, float, float]
    leaves: tuple[int, int]  # least and most
    twigs: tuple[int, int]
    stones: tuple[int, int]
    leaf: tuple[float, float, float]
    stone: tuple[float, float, float] = (120, 112, 104)


HABITATS = (
    Habitat((34, 62, 30), (128, 152, 92), (14, 30), (1, 5), (0, 1), (74, 112, 46)),  # leaves of a tree
    Habitat((150, 178, 200), (222, 230, 234), (3, 14), (2, 6), (0, 0), (88, 104, 58)),  # the sky through twigs
    Habitat((96, 84, 66), (176, 160, 132), (2, 8), (0, 3), (6, 16), (110, 108, 56)),  # a stony bank
    Habitat((92, 104, 52), (186, 178, 110), (8, 20), (0, 3), (0, 5), (128, 130, 62)),  # a meadow
)


def background(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """A habitat without an animal at `SUPER` times `size`, (H, W)."""
    width, height = SUPER * size[1], SUPER * size[0]
    habitat = HABITATS[rng.integers(len(HABITATS))]
    mix = np.clip(rng.uniform(0.2, 0.8) + rng.normal(0, 0.28, (6, 6, 1)), 0, 1)
    coarse = np.array(habitat.low) * (1 - mix) + np.array(habitat.high) * mix + rng.normal(0, 6, (6, 6, 3))
    # What is far is out of focus: drawn at the size of the picture and blown up, small errors are as good as a blur.
    far = Image.fromarray(np.clip(coarse, 0, 255).astype(np.uint8)).resize(size[::-1], Image.Resampling.BICUBIC)
    _litter(far, habitat, rng, share=0.5)
    image = far.reduce(2).resize((width, height), Image.Resampling.BILINEAR)
    _litter(image, habitat, rng, share=0.5)
    return image


def _litter(image: Image.Image, habitat: Habitat, rng: np.random.Generator, *, share: float) -> None:
    """Stones, twigs and leaves anywhere over `image`, a share of what the habitat has."""
    draw, unit = ImageDraw.Draw(image), min(image.size)
    for _ in range(round(share * rng.integers(habitat.stones[0], habitat.stones[1] + 1))):
        _stone(draw, rng.uniform(0, 1, 2) * image.size, unit * rng.uniform(0.03, 0.12), shade(rng, habitat.stone, 0.3), rng)
    for _ in range(round(share * rng.integers(habitat.twigs[0], habitat.twigs[1] + 1))):
        start, angle = rng.uniform(0, 1, 2) * image.size, rng.uniform(0, np.pi)
        reach = unit * rng.uniform(0.4, 1.2) * np.array([np.cos(angle), np.sin(angle)])
        twig(draw, start - reach, start + reach, unit * rng.uniform(0.008, 0.022), shade(rng, (86, 68, 50), 0.3), rng)
    for _ in range(round(share * rng.integers(habitat.leaves[0], habitat.leaves[1] + 1))):
        colour = shade(rng, habitat.leaf if rng.random() < 0.85 else (158, 112, 52), 0.35)
        leaf(draw, rng.uniform(0, 1, 2) * image.size, unit * rng.uniform(0.05, 0.16), rng.uniform(0, 2 * np.pi), colour, rng)


def shade(rng: np.random.Generator, colour: tuple[float, ...] | Colour, amount: float) -> Colour:
    """`colour` made lighter or darker by up to `amount`, and tinted a little."""
    return np.clip(np.array(colour) * rng.uniform(1 - amount, 1 + amount) + rng.normal(0, 5, 3), 0, 255)


def rgb(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = np.clip(colour, 0, 255).astype(int).tolist()
    return red, green, blue


def leaf(draw: ImageDraw.ImageDraw, at: Points, length: float, angle: float, colour: Colour, rng: np.random.Generator) -> None:
    """A pointed leaf with its midrib, `length` pixels long."""
    along = np.linspace(0, 1, 8)
    half = rng.uniform(0.16, 0.3) * np.sin(np.pi * along**0.8)
    outline = np.concatenate([np.stack([along, half], axis=1), np.stack([along, -half], axis=1)[::-1]])
    turn = length * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    draw.polygon([tuple(p) for p in (at + outline @ turn).tolist()], fill=rgb(colour))
    rib = at + np.array([(0.0, 0.0), (0.95, 0.0)]) @ turn
    draw.line([tuple(p) for p in rib.tolist()], fill=rgb(colour * 0.82), width=max(1, round(length / 40)))


def _stone(draw: ImageDraw.ImageDraw, at: Points, radius: float, colour: Colour, rng: np.random.Generator) -> None:
    angles = np.linspace(0, 2 * np.pi, 9, endpoint=False)
    bumps = rng.uniform(0.75, 1.1, 9)[:, None] * np.stack([np.cos(angles), 0.75 * np.sin(angles)], axis=1)
    draw.polygon([tuple(p) for p in (at + radius * bumps + (0, 0.12 * radius)).tolist()], fill=rgb(colour * 0.8))
    draw.polygon([tuple(p) for p in (at + 0.92 * radius * bumps).tolist()], fill=rgb(colour))


def twig(draw: ImageDraw.ImageDraw, start: Points, end: Points, width: float, colour: Colour, rng: np.random.Generator) -> None:
    """A slightly bent twig between two points, lighter on its upper side."""
    middle = (start + end) / 2 + rng.normal(0, 0.03, 2) * np.linalg.norm(end - start)
    path = [tuple(p) for p in np.stack([start, middle, end]).tolist()]
    draw.line(path, fill=rgb(colour * 0.85), width=max(1, round(2 * width)), joint="curve")
    raised = [(x, y - 0.45 * width) for x, y in path]
    draw.line(raised, fill=rgb(colour), width=max(1, round(width)), joint="curve")


# --------------------------------------------------------------------------------------------------------------- animal


class Canvas:
    """The part of the picture around an animal, drawn on in body coordinates."""

    def __init__(self, picture: Image.Image, centre: Points, matrix: NDArray[np.float64], extent: Points) -> None:
        self.picture, self.centre, self.matrix = picture, centre, matrix  # (2, 2), body coordinates to pixels
        corners = self.pixels(extent)
        self.corner = np.maximum(np.floor(corners.min(0)) - 4, 0).astype(int)
        self.image = picture.crop((*self.corner.tolist(), *np.minimum(np.ceil(corners.max(0)) + 4, picture.size).astype(int).tolist()))
        self.mask = Image.new("L", self.image.size)  # where the animal is
        self.draw, self._draw_mask = ImageDraw.Draw(self.image), ImageDraw.Draw(self.mask)
        self.scale = abs(float(np.linalg.det(matrix))) ** 0.5

    def pixels(self, points: Points) -> Points:
        return self.centre + np.asarray(points) @ self.matrix.T

    def _path(self, points: Points) -> list[tuple[float, float]]:
        return [tuple(p) for p in (self.pixels(points) - self.corner).tolist()]

    def polygon(self, points: Points, colour: Colour) -> None:
        path = self._path(points)
        self.draw.polygon(path, fill=rgb(colour))
        self._draw_mask.polygon(path, fill=255)

    def ellipse(self, x: float, y: float, a: float, b: float, colour: Colour) -> None:
        self.polygon(np.array([x, y]) + CIRCLE * (a, b), colour)

    def line(self, points: Points, width: float, colour: Colour) -> None:
        path, pixels = self._path(points), max(1, round(width * self.scale))
        self.draw.line(path, fill=rgb(colour), width=pixels, joint="curve")
        self._draw_mask.line(path, fill=255, width=pixels, joint="curve")

    def inlay(self, shapes: list[tuple[Points, Colour]]) -> None:
        """Polygons that go no further than the animal drawn so far."""
        over = self.image.copy()
        draw = ImageDraw.Draw(over)
        for points, colour in shapes:
            draw.polygon(self._path(points), fill=rgb(colour))
        self.image.paste(over, (0, 0), self.mask)

    def finish(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Back into the picture in soft light from above; returns the animal's box as x, y, w, h."""
        rows, columns = np.meshgrid(np.linspace(-1, 1, 12), np.linspace(-1, 1, 12), indexing="ij")
        light = 0.9 - 0.13 * rows + rng.uniform(-0.08, 0.08) * columns + rng.normal(0, 0.025, (12, 12))
        field = Image.fromarray((255 * np.clip(light, 0, 1)).astype(np.uint8)).resize(self.image.size, Image.Resampling.BILINEAR)
        corner = (int(self.corner[0]), int(self.corner[1]))
        self.picture.paste(ImageChops.multiply(self.image, Image.merge("RGB", [field] * 3)), corner, self.mask)
        x0, y0, x1, y1 = self.mask.getbbox()
        return np.array([x0 + corner[0], y0 + corner[1], x1 - x0, y1 - y0], dtype=np.float64)


# --------------------------------------------------------------------------------------------------------------- camera


@lru_cache(maxsize=1)
def _noise_sheet() -> NDArray[np.int16]:
    """Sensor noise (1024, 1024, 3); each picture takes its own piece, much cheaper than fresh noise."""
    rng = np.random.default_rng(20180909)
    grey, colour = (rng.standard_normal((_SHEET, _SHEET, channels), dtype=np.float32) for channels in (1, 3))
    return np.round(2.4 * grey + 1.4 * colour).astype(np.int16)


def soft(sigma: float) -> ImageFilter.Kernel:
    """A Gaussian of less than a pixel, so that three taps an axis will do; Pillow's own takes more than twice as long."""
    taps = np.exp(-0.5 * (np.array([-1, 0, 1]) / sigma) ** 2)
    return ImageFilter.Kernel((3, 3), np.outer(taps, taps).ravel().tolist(), scale=float(taps.sum() ** 2))


def expose(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The picture at its own size, in its light: a gain for each channel, falling off across it; lens and sensor noise."""
    image = image.reduce(SUPER).filter(soft(LENS_PX))
    corners = Image.fromarray((255 * rng.uniform(0.72, 1.0, (2, 2))).astype(np.uint8))
    fall = np.array(corners.resize(image.size, Image.Resampling.BILINEAR), dtype=np.uint16)[..., None]  # (H, W, 1)
    gains = np.round(256 * rng.uniform(0.95, 1.25) * rng.uniform(0.93, 1.0, 3)).astype(np.uint32)  # (3,)
    light = ((np.array(image, dtype=np.uint32) * fall * gains) // (255 * 256)).astype(np.int16)
    y, x = (int(rng.integers(0, _SHEET - side + 1)) for side in (image.height, image.width))
    light += _noise_sheet()[y : y + image.height, x : x + image.width]
    return Image.fromarray(np.clip(light, 0, 255).astype(np.uint8))
