"""Drawn eyes: the only part of a synthetic GazeCapture frame that knows where the subject looks.

How dark or large an iris is, how bright its white, how open the eye and how shaded the skin around it are drawn anew for each
frame, so that no sum over the eye gives the direction away. Everything is a smooth function of the place, sampled at pixel
centres: an iris moves by parts of a pixel. Ours throughout; no paper describes it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from lib.data.synthetic.gaze_scene import EYE_SCALE, OPENING_CM, Colour, Look, Scene


@dataclass(frozen=True)
class _Eyes:
    """One frame's eyes, all of it drawn without regard to where they look."""

    iris_cm: float
    pupil: float  # of the iris' radius
    iris: Colour
    white: Colour
    lid: float  # shade of the upper lid
    lash: float
    glint: NDArray[np.float64]  # where the light is mirrored, of the iris' radius
    lids: NDArray[np.float64]  # (2, 2): for each eye how far the upper and the lower lid are open, cm
    corners: NDArray[np.float64]  # (2, 2): for each eye the shade of its left and right end in the picture


def _sample_eyes(rng: np.random.Generator, look: Look) -> _Eyes:
    openness = rng.uniform(0.85, 1.15)
    return _Eyes(
        iris_cm=rng.uniform(0.5, 0.68), pupil=rng.uniform(0.34, 0.5), iris=look.iris * rng.uniform(0.35, 0.6),
        white=np.array([240.0, 238, 235]) * rng.uniform(0.9, 1.0), lid=rng.uniform(0.8, 0.98), lash=rng.uniform(0.3, 0.7),
        glint=rng.uniform(-0.55, 0.55, 2), lids=np.array([0.6, 0.48]) * openness + rng.uniform(-0.1, 0.1, (2, 2)),
        corners=rng.uniform(0.0, 0.16, (2, 2)),
    )


class _Patch:
    """The pixels around one eye, float32, and their places in the eye's axes: x along, y down, cm before `EYE_SCALE`."""

    def __init__(self, frame: Image.Image, scene: Scene, which: int) -> None:
        self.frame = frame
        self.scale = np.float32(scene.pixels_per_cm * EYE_SCALE[scene.eyes])
        centre = scene.project(scene.eye_centres_cm()[which])
        reach = float(self.scale) * np.array([1.65, 1.4])  # lids and corners, rolled
        low = np.maximum(np.floor(centre - reach), 0).astype(int)
        high = np.minimum(np.ceil(centre + reach), (frame.width, frame.height)).astype(int)
        self.corner: tuple[int, int] = (int(low[0]), int(low[1]))
        self.pixels = np.array(frame.crop((*low.tolist(), *high.tolist())), dtype=np.float32)  # (h, w, 3)
        across = ((np.arange(low[0], high[0]) + 0.5 - centre[0]) / self.scale).astype(np.float32)[None, :]
        down = ((np.arange(low[1], high[1]) + 0.5 - centre[1]) / self.scale).astype(np.float32)[:, None]
        cos, sin = np.float32(np.cos(scene.roll)), np.float32(np.sin(scene.roll))
        self.x, self.y = across * cos + down * sin, down * cos - across * sin  # (h, w) each

    def soft(self, inside: NDArray[np.float32]) -> NDArray[np.float32]:
        """Signed depth in cm -> coverage of each pixel, (h, w, 1); an edge is one pixel wide."""
        return np.clip(inside * self.scale + np.float32(0.5), 0, 1)[..., None]

    def blend(self, colour: ArrayLike, weight: NDArray[np.float32]) -> None:
        self.pixels += (np.asarray(colour, dtype=np.float32) - self.pixels) * weight

    def finish(self) -> None:
        self.frame.paste(Image.fromarray(np.clip(self.pixels + 0.5, 0, 255).astype(np.uint8)), self.corner)


def _draw_eye(frame: Image.Image, scene: Scene, which: int, eyes: _Eyes, look: Look) -> None:
    """Paint eye `which` (0 the subject's left), from the skin around it to the lashes."""
    patch, half = _Patch(frame, scene, which), OPENING_CM / 2
    x, y = patch.x, patch.y
    shift = scene.limited_shift_cm()[which].astype(np.float32)
    lids = eyes.lids[which].astype(np.float32)
    arch = np.clip(1 - (x / half) ** 2, 0, None)
    upper = -(lids[0] - 0.7 * shift[1]) * arch  # lids follow the iris
    lower = (lids[1] + 0.5 * shift[1]) * arch
    within = patch.soft(half - np.abs(x))
    patch.blend(look.skin * eyes.lid * 0.9, 0.75 * patch.soft(y - upper + 0.45 * arch) * patch.soft(upper - y))
    crease = np.exp(-(((y - upper + 0.45 * arch + 0.06) / 0.09) ** 2) - (x / (1.1 * half)) ** 6)
    patch.blend(look.skin * 0.5, 0.45 * crease[..., None])
    opening = patch.soft(np.minimum(y - upper, lower - y) * np.float32(0.9)) * within
    under_lid = np.clip((upper + 0.3 - y) / 0.3, 0, 1)
    end = np.clip(np.abs(x) / half, 0, 1) ** 1.5 * np.where(x < 0, *eyes.corners[which].astype(np.float32))
    patch.blend(eyes.white.astype(np.float32) * (1 - end - 0.3 * under_lid)[..., None], opening)
    _draw_iris(patch, shift, opening, under_lid, eyes)
    patch.blend(look.hair * 0.3, eyes.lash * np.exp(-(((y - upper) / 0.08) ** 2))[..., None] * within)
    patch.blend(look.skin * 0.55, 0.4 * np.exp(-(((y - lower) / 0.07) ** 2))[..., None] * within)
    patch.finish()


def _draw_iris(
    patch: _Patch, shift: NDArray[np.float32], opening: NDArray[np.float32], under_lid: NDArray[np.float32], eyes: _Eyes
) -> None:
    """Iris with its dark rim, pupil and a mirrored light, all seen through the opening."""
    x, y = patch.x - shift[0], patch.y - shift[1]
    radius = np.sqrt(x**2 + y**2) / np.float32(eyes.iris_cm)
    tone = 1.15 - 0.3 * radius - 0.6 * np.clip((radius - 0.84) / 0.16, 0, 1) - 0.25 * under_lid
    colour = eyes.iris.astype(np.float32) * np.clip(tone, 0.15, 2)[..., None]  # (h, w, 3)
    patch.blend(colour, opening * patch.soft((1 - radius) * eyes.iris_cm))
    patch.blend((12, 10, 10), opening * patch.soft((eyes.pupil - radius) * eyes.iris_cm))
    glint = (eyes.glint * eyes.iris_cm).astype(np.float32)
    patch.blend((250, 250, 250), 0.85 * opening * patch.soft(0.09 - np.sqrt((x - glint[0]) ** 2 + (y - glint[1]) ** 2)))


def draw_eyes(frame: Image.Image, scene: Scene, look: Look, rng: np.random.Generator) -> None:
    """Both eyes into the frame, over a face that has been drawn without them."""
    eyes = _sample_eyes(rng, look)
    for which in (0, 1):
        _draw_eye(frame, scene, which, eyes, look)
