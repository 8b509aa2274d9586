"""Drawn faces that look somewhere: the pictures of the synthetic GazeCapture.

`gaze_scene` says who is where, `eyes` draws the eyes, this draws all that surrounds them, with Pillow at twice the size. Nothing
in the picture but the irises, and the lids that follow them, depends on the point of gaze. Ours; no paper describes it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw

from lib.data.synthetic.eyes import draw_eyes
from lib.data.synthetic.gaze_scene import HEAD_SCALE, Box, Colour, Look, Scene, background, expose, resized, sample_look


class _Canvas:
    """The frame around the head at twice its size; drawn on in cm from the point between the eyes, y down, rolled with it."""

    def __init__(self, frame: Image.Image, scene: Scene) -> None:
        self.frame, self.scale = frame, scene.pixels_per_cm * HEAD_SCALE[scene.eyes]
        self.cos, self.sin = float(np.cos(scene.roll)), float(np.sin(scene.roll))
        self.middle = scene.project(np.array(scene.head_cm))
        reach = self.scale * np.array([11.5, 13.5, 11.5, 17.0])  # hair and neck, rolled
        low = np.maximum(np.floor(self.middle - reach[:2]), 0).astype(int)
        high = np.minimum(np.ceil(self.middle + reach[2:]), (frame.width, frame.height)).astype(int)
        self.box = (*low.tolist(), *high.tolist())
        doubled = tuple((2 * (high - low)).tolist())
        self.image = frame.crop(self.box).resize(doubled, Image.Resampling.NEAREST)  # reduce(2) gives it back unchanged
        self.mask = Image.new("L", self.image.size)  # where light and shadow fall
        self.draw, self.draw_mask = ImageDraw.Draw(self.image), ImageDraw.Draw(self.mask)
        self.corner = low

    def _pixels(self, points: NDArray[np.float64]) -> list[tuple[float, float]]:
        turned = points @ np.array([[self.cos, self.sin], [-self.sin, self.cos]])
        return [tuple(p) for p in (2 * (self.middle + self.scale * turned - self.corner)).tolist()]

    def polygon(self, points: NDArray[np.float64], colour: Colour, *, shaded: bool = False) -> None:
        pixels = self._pixels(points)
        self.draw.polygon(pixels, fill=_rgb(colour))
        if shaded:
            self.draw_mask.polygon(pixels, fill=255)

    def ellipse(self, x: float, y: float, a: float, b: float, colour: Colour) -> None:
        self.polygon(np.array([x, y]) + _CIRCLE * (a, b), colour)

    def line(self, points: NDArray[np.float64], width_cm: float, colour: Colour) -> None:
        self.draw.line(self._pixels(points), fill=_rgb(colour), width=max(1, round(2 * self.scale * width_cm)), joint="curve")

    def finish(self, light: _Light, look: Look) -> None:
        """Back into the frame at its own size, with soft light and shadow (few pixels, blown up) on what is `shaded`."""
        head, size = self.image.reduce(2), (self.image.width // 2, self.image.height // 2)
        columns, rows = max(size[0] // 8, 2), max(size[1] // 8, 2)
        x, y = (np.arange(columns) + 0.5) * size[0] / columns, (np.arange(rows) + 0.5) * size[1] / rows
        offset = (np.stack(np.meshgrid(x, y), axis=-1) + self.corner - self.middle) / self.scale  # (rows, columns, 2)
        local = offset @ np.array([[self.cos, -self.sin], [self.sin, self.cos]])
        field = resized(255 * _skin_light(local, light, look), size, Image.Resampling.BILINEAR)
        head.paste(ImageChops.multiply(head, field), (0, 0), self.mask.reduce(2))
        self.frame.paste(head, self.box[:2])


_ANGLES = np.linspace(0, 2 * np.pi, 40, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


def _rgb(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = np.clip(colour, 0, 255).astype(int).tolist()
    return red, green, blue


@dataclass(frozen=True)
class _Light:
    """One frame's light and expression."""

    side: float  # -1 from the picture's left .. 1 from its right
    contrast: float
    mouth_open_cm: float
    brow_lift_cm: float


def _bump(xy: NDArray[np.float64], x: float, y: float, a: float, b: float) -> NDArray[np.float64]:
    return np.exp(-(((xy[..., 0] - x) / a) ** 2) - ((xy[..., 1] - y) / b) ** 2)[..., None]


def _skin_light(xy: NDArray[np.float64], light: _Light, look: Look) -> NDArray[np.float64]:
    """(..., 2) cm -> (..., 3) multiplier in 0..1 for the skin: sockets, nose, cheeks, chin and the side away from the light."""
    x, y = xy[..., :1], xy[..., 1:]
    edge = np.clip((x / (look.face_width_cm + 0.6)) ** 2 + ((y - 0.5) / 12.0) ** 2, 0, 1.3)
    value = 0.95 - 0.22 * edge**2 + 0.11 * light.contrast * light.side * np.clip(x / 6, -1, 1)
    for side in (-1, 1):
        value -= 0.13 * _bump(xy, side * 2.7, -0.9, 1.5, 0.9)  # under the brow
        value -= 0.05 * _bump(xy, side * 3.2, 1.6, 1.5, 0.5)  # under the eye
        value -= (0.1 - 0.05 * side * light.side) * _bump(xy, side * 1.05, look.nose_cm - 1.8, 0.6, 2.3)  # flanks of the nose
        value += 0.05 * _bump(xy, side * 4.0, 3.6, 1.6, 1.5)
    value += 0.07 * _bump(xy, 0.15 * light.side, look.nose_cm - 2, 0.4, 2.4)  # the nose's bridge
    value -= 0.16 * _bump(xy, 0, look.nose_cm + 0.5, 1.4, 0.45) + 0.1 * _bump(xy, 0, 8.9, 1.6, 0.5)  # below nose and lips
    mouth = _bump(xy, 0, look.nose_cm + 3, 2.4, 1.0)
    stubble = look.beard * np.clip((y - 5.2 - 0.05 * x**2) / 2.5 + 0.06 * x**2, 0, 1) * (1 - 0.7 * mouth)
    blush = 0.06 * (_bump(xy, 4.0, 3.2, 1.8, 1.6) + _bump(xy, -4.0, 3.2, 1.8, 1.6))
    return np.clip((value - 0.5 * stubble) - blush * np.array([0, 1, 0.8]), 0, 1)


def _face_outline(look: Look, *, grow: float = 0.0) -> NDArray[np.float64]:
    """(40, 2): forehead round, chin narrower."""
    across, down = _CIRCLE[:, 0], _CIRCLE[:, 1]
    width = (look.face_width_cm + grow) * (1 - look.jaw * np.clip(down, 0, 1) ** 2.5)
    return np.stack([across * width, 0.4 + down * (11.0 + grow)], axis=1)


def _crown(look: Look) -> NDArray[np.float64]:
    """The upper rim of the hair, from the picture's left to its right."""
    skull = np.array([0, -0.55]) + _face_outline(look, grow=0.75)[_CIRCLE[:, 1] < -0.12]
    return skull[np.argsort(skull[:, 0])]


def _draw_hair_behind(canvas: _Canvas, look: Look) -> None:
    if look.hair_style == 2:
        fall = np.array([(-8.6, -3.0), (-9.4, 6), (-8.6, 15.5), (8.6, 15.5), (9.4, 6), (8.6, -3)])
        canvas.polygon(fall, look.hair * 0.75)
    if look.hair_style:
        canvas.polygon(np.array([0, -0.9]) + _face_outline(look, grow=1.0)[_CIRCLE[:, 1] <= 0.3], look.hair * 0.85)


def _draw_hair_before(canvas: _Canvas, look: Look, rng: np.random.Generator) -> None:
    if not look.hair_style:
        return
    top = _crown(look)
    x = np.linspace(top[-1, 0], top[0, 0], 25)
    fringe = -look.hairline_cm + 0.055 * x**2 + 1.5 * np.clip(np.abs(x) - 5.5, 0, None)
    fringe += np.interp(np.arange(25), np.arange(0, 25, 4), rng.normal(0, 0.25, 7))
    canvas.polygon(np.concatenate([top, np.stack([x, fringe], axis=1)]), look.hair, shaded=True)
    for start in rng.uniform(-6, 6, 14):  # strands
        down = np.linspace(-11, -look.hairline_cm - 0.4, 4) + 0.055 * start**2
        canvas.line(np.stack([start + np.linspace(0, 0.25 * start, 4), down], axis=1), 0.12, look.hair * rng.uniform(0.7, 1.35))


def _draw_features(canvas: _Canvas, look: Look, light: _Light) -> None:
    skin, nose, mouth = look.skin, look.nose_cm, look.nose_cm + 2.9
    for side in (-1, 1):
        canvas.ellipse(side * 1.02, nose - 0.12, 0.4, 0.42, skin * 0.9)
        canvas.ellipse(side * 0.62, nose + 0.12, 0.32, 0.17, skin * 0.45)
        x = side * np.array([1.3, 2.4, 3.6, 5.0, 3.6, 2.4, 1.3])
        arch = np.array([0.0, -0.3, -0.45, 0.1, -0.45, -0.3, 0.0])
        arch += look.brow_thickness_cm * np.array([0, 0, 0, 0, 0.5, 0.6, 0.5]) - look.brow_height_cm - light.brow_lift_cm
        canvas.polygon(np.stack([x, arch], axis=1), 0.53 * look.hair + 0.17 * skin)
    x = np.linspace(-1, 1, 11)
    half, bow = look.mouth_width_cm, 1 - x**2
    upper = -0.42 * bow + 0.14 * np.exp(-((x / 0.15) ** 2))
    gap = 0.5 * light.mouth_open_cm * bow
    canvas.polygon(_between(half * x, mouth + upper - gap, mouth + 0.72 * bow + gap), look.lips)
    canvas.polygon(_between(half * x * 0.93, mouth - gap, mouth + 0.07 * bow + gap), look.lips * 0.35)
    if light.mouth_open_cm > 0.35:
        canvas.polygon(_between(half * x * 0.7, mouth - 0.8 * gap, mouth - 0.1 * gap), np.array([225.0, 220, 210]))
    if look.glasses:
        for side in (-1, 1):
            ring = np.array([side * 3.15, 0.25]) + np.concatenate([_CIRCLE, _CIRCLE[:1]]) * (2.45, 2.0)
            canvas.line(ring, 0.16, look.hair * 0.5)
        canvas.line(np.array([(-0.75, 0.0), (0, -0.2), (0.75, 0.0)]), 0.16, look.hair * 0.5)


def _between(x: NDArray[np.float64], upper: NDArray[np.float64], lower: NDArray[np.float64]) -> NDArray[np.float64]:
    """The polygon between two curves over the same x."""
    return np.concatenate([np.stack([x, upper], axis=1), np.stack([x, lower], axis=1)[::-1]])


def _draw_shoulders(frame: Image.Image, scene: Scene, look: Look) -> None:
    """Straight into the frame, upright below the rolled head, down to the lower edge."""
    scale, roll = scene.pixels_per_cm * HEAD_SCALE[scene.eyes], scene.roll
    x, y = scene.project(np.array(scene.head_cm)) + scale * 13.0 * np.array([-np.sin(roll), np.cos(roll)])
    side = np.array([(3.2, 0.3), (4.6, 0.9), (8.5, 2.0), (13.5, 3.4), (16.5, 5.6), (17.5, 60.0)]) * scale
    outline = np.concatenate([side, side[::-1] * (-1, 1)]) + (x, y)
    ImageDraw.Draw(frame).polygon([tuple(p) for p in outline.tolist()], fill=_rgb(look.clothes))


def _draw_head(frame: Image.Image, scene: Scene, look: Look, rng: np.random.Generator) -> None:
    light = _Light(
        side=rng.uniform(-1, 1), contrast=rng.uniform(0.3, 1.2), mouth_open_cm=max(0.0, rng.normal(0.1, 0.25)),
        brow_lift_cm=rng.normal(0, 0.15),
    )
    _draw_shoulders(frame, scene, look)
    canvas = _Canvas(frame, scene)
    _draw_hair_behind(canvas, look)
    neck = np.array([(-3.9, 7.0), (-4.2, 13.8), (-2, 15.6), (2, 15.6), (4.2, 13.8), (3.9, 7)])
    canvas.polygon(neck, look.skin * 0.68)
    for side in (-1, 1):
        canvas.ellipse(side * (look.face_width_cm + 0.1), 1.6, 0.95, 2.3, look.skin * 0.8)
    canvas.polygon(_face_outline(look), look.skin, shaded=True)
    _draw_features(canvas, look, light)
    _draw_hair_before(canvas, look, rng)
    canvas.finish(light, look)


# --------------------------------------------------------------------------------------------------------------- frames


def render(scene: Scene, look: Look, rng: np.random.Generator) -> Image.Image:
    """The frame of a scene."""
    image = background(rng, scene.size)
    _draw_head(image, scene, look, rng)
    draw_eyes(image, scene, look, rng)
    return expose(image, rng)


def render_empty(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """A frame, (H, W), with nothing in it: a smooth wall, as when the user has looked away from the device."""
    return expose(background(rng, size, clutter=False), rng)


def render_face(
    seed: int | np.random.Generator, *, gaze_cm: tuple[float, float] = (0.0, -5.0),
    head_cm: tuple[float, float, float] = (0.0, -2.0, 40.0), roll_degrees: float = 0.0, size: tuple[int, int] = (640, 480),
    eyes: str = "small",
) -> tuple[NDArray[np.uint8], dict[str, Box]]:
    """One picture without touching a disk: (H, W, 3) uint8 RGB and the boxes of `Scene.boxes`.

    gaze_cm and head_cm as in `Scene`; size is (H, W). The same seed is the same person before the same wall, whatever else is
    changed. A head that has an eye outside the frame is a ValueError.
    """
    rng = np.random.default_rng(seed)
    scene = Scene(head_cm=head_cm, gaze_cm=gaze_cm, size=size, roll=float(np.deg2rad(roll_degrees)), eyes=eyes)
    if not scene.eyes_in_frame():
        raise ValueError(f"head_cm {head_cm}: an eye is outside the frame; move the head towards (0, 0) or further away")
    return np.array(render(scene, sample_look(rng), rng)), scene.boxes()
