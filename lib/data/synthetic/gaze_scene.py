"""Who is where in a frame of the synthetic GazeCapture: heads, eyes and points of gaze, the room behind them and the camera.

A pinhole camera at the origin sees a flat, frontal, rolled head at (X, Y, Z) cm; each iris moves on its eyeball towards the
point of gaze, which lies in the camera's plane. X points right as the user sees the device, so a picture (not mirrored, as
GazeCapture's are not) shows it to the left, and the subject's left eye on the right:  u = W/2 - f X/Z,  v = H/2 - f Y/Z.

Ours throughout; no paper describes it. Eyes and head are an adult's (6.3 cm between the pupils, openings 3 cm wide).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

FOCAL_PX = 520.0  # both ways of holding the device; about the field of view of these phones' front cameras
LENS_PX = 2  # a small fixed-focus lens averages so far to each side; it also keeps noise out of the samplers' gradients
PUPIL_DISTANCE_CM = 6.3
EYEBALL_CM = 1.2
GAIN = 2.2  # the iris moves this much further than the eyeball's radius allows, as drawn faces do
OPENING_CM = 3.0  # width of an eye between its corners
EYE_SCALE = {"small": 1.6, "large": 3.2}  # "large" is the negative control: nothing about these eyes is lost by downsampling
HEAD_SCALE = {"small": 1.1, "large": 1.85}  # wide enough for two large eyes side by side
_IRIS_LIMIT_CM = (0.95, 0.7)  # along and across the opening: an iris stays in it
_EYE_BOX_CM, _FACE_BOX_CM = 4.0, 15.0  # squares, as Apple's detectors give

Box = tuple[int, int, int, int]  # (x, y, w, h) in pixels of the frame
Colour = NDArray[np.float64]  # (3,) RGB, 0..255


@dataclass(frozen=True)
class Scene:
    """Where things are: all that geometry and boxes depend on. In cm, camera at the origin, x right for the user, y up."""

    head_cm: tuple[float, float, float]  # the point between the eyes; z is the distance from the screen
    gaze_cm: tuple[float, float]  # the point looked at, in the plane z = 0
    size: tuple[int, int] = (640, 480)  # (H, W)
    roll: float = 0.0  # radians, clockwise in the picture
    pupil_distance_cm: float = PUPIL_DISTANCE_CM
    eyes: str = "small"

    @property
    def pixels_per_cm(self) -> float:
        return FOCAL_PX / self.head_cm[2]

    def eye_centres_cm(self) -> NDArray[np.float64]:
        """(2, 3): the subject's left and right eye."""
        half = 0.5 * self.pupil_distance_cm * HEAD_SCALE[self.eyes]
        along = half * np.array([-np.cos(self.roll), -np.sin(self.roll), 0.0])  # to the left eye: right in the picture
        return np.array(self.head_cm) + np.stack([along, -along])

    def project(self, points_cm: NDArray[np.float64]) -> NDArray[np.float64]:
        """(..., 3) cm -> (..., 2) pixels, x first; pixel centres at .5."""
        height, width = self.size
        return np.array([width / 2, height / 2]) - FOCAL_PX * points_cm[..., :2] / points_cm[..., 2:]

    def iris_shift_cm(self) -> NDArray[np.float64]:
        """(2, 2): each iris' way from the middle of its eye, as the picture shows it: x right, y down, before `EYE_SCALE`."""
        towards = np.array([*self.gaze_cm, 0.0]) - self.eye_centres_cm()
        towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        return -GAIN * EYEBALL_CM * towards[:, :2]

    def limited_shift_cm(self) -> NDArray[np.float64]:
        """`iris_shift_cm` in the eye's own axes (along and across the rolled opening), kept within the opening."""
        cos, sin = np.cos(self.roll), np.sin(self.roll)
        own = self.iris_shift_cm() @ np.array([[cos, -sin], [sin, cos]])
        return np.clip(own, np.negative(_IRIS_LIMIT_CM), _IRIS_LIMIT_CM)

    def boxes(self) -> dict[str, Box]:
        """face, left_eye, right_eye (the subject's) in pixels of the frame; the face's may reach beyond it."""
        left, right = self.project(self.eye_centres_cm())
        down = np.array([-np.sin(self.roll), np.cos(self.roll)]) * 2.0 * HEAD_SCALE[self.eyes] * self.pixels_per_cm
        eye = _EYE_BOX_CM * EYE_SCALE[self.eyes] * self.pixels_per_cm
        face = _FACE_BOX_CM * HEAD_SCALE[self.eyes] * self.pixels_per_cm
        middle = (left + right) / 2 + down
        return {"face": _square(middle, face), "left_eye": _square(left, eye), "right_eye": _square(right, eye)}

    def eyes_in_frame(self) -> bool:
        """Whether both eye boxes lie fully inside the frame."""
        height, width = self.size
        corners = [self.boxes()[name] for name in ("left_eye", "right_eye")]
        return all(x >= 0 and y >= 0 and x + w <= width and y + h <= height for x, y, w, h in corners)


def _square(centre: NDArray[np.float64], side: float) -> Box:
    side_px = round(side)
    x, y = np.round(centre - side_px / 2).astype(int)
    return int(x), int(y), side_px, side_px


@dataclass(frozen=True)
class Look:
    """What a subject keeps from frame to frame."""

    skin: Colour
    hair: Colour
    iris: Colour
    lips: Colour
    clothes: Colour
    hair_style: int  # 0 bald, 1 short, 2 long
    hairline_cm: float
    face_width_cm: float
    jaw: float
    brow_thickness_cm: float
    brow_height_cm: float
    mouth_width_cm: float
    nose_cm: float
    beard: float
    glasses: bool


_SKINS = ((241, 205, 180), (231, 186, 152), (214, 164, 126), (187, 132, 95), (146, 97, 66), (102, 68, 48))
_HAIRS = ((28, 23, 21), (52, 36, 27), (88, 58, 36), (140, 100, 58), (190, 158, 105), (120, 58, 34), (150, 148, 146))
_IRISES = ((58, 36, 22), (84, 54, 30), (112, 82, 46), (96, 108, 66), (84, 116, 140), (132, 154, 168), (150, 160, 158))


def sample_look(rng: np.random.Generator) -> Look:
    """A subject's looks."""
    skin = np.array(_SKINS[rng.integers(len(_SKINS))]) * rng.uniform(0.93, 1.05, 3)
    dark = skin.mean() < 140  # goes with the first, darker hair and iris colours
    hair = np.array(_HAIRS[rng.integers(2 if dark else len(_HAIRS))]) * rng.uniform(0.85, 1.15)
    iris = np.array(_IRISES[rng.integers(3 if dark else len(_IRISES))]) * rng.uniform(0.85, 1.15)
    return Look(
        skin=np.clip(skin, 0, 250), hair=hair, iris=iris, lips=skin * (0.86, 0.62, 0.62) + (14, 0, 4),
        clothes=rng.uniform(25, 225, 3), hair_style=int(rng.choice(3, p=(0.12, 0.5, 0.38))), hairline_cm=rng.uniform(5.2, 6.8),
        face_width_cm=rng.uniform(6.9, 7.7), jaw=rng.uniform(0.1, 0.28), brow_thickness_cm=rng.uniform(0.4, 0.9),
        brow_height_cm=rng.uniform(1.7, 2.2), mouth_width_cm=rng.uniform(2.2, 2.8), nose_cm=rng.uniform(3.9, 4.6),
        beard=float(rng.random() < 0.3) * rng.uniform(0.2, 0.55), glasses=bool(rng.random() < 0.15),
    )


# ----------------------------------------------------------------------------------------------------------- background


def resized(pixels: NDArray[np.float64], size: tuple[int, int], how: Image.Resampling = Image.Resampling.BICUBIC) -> Image.Image:
    """(h, w, 3) 0..255 -> an RGB image of size (W, H)."""
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).resize(size, how)


def background(rng: np.random.Generator, size: tuple[int, int], *, clutter: bool = True) -> Image.Image:
    """A room behind the subject, (H, W); without clutter a smooth wall with nothing on it."""
    height, width = size
    wall = rng.uniform(70, 235) + rng.normal(0, 9, 3)
    coarse = wall + rng.normal(0, 22 if clutter else 8, (5, 4, 1)) + rng.normal(0, 4, (5, 4, 3))
    if not clutter:
        return resized(coarse, (width, height))
    image = resized(coarse, (width // 2, height // 2))  # drawn at half the size, so that all of it is a little out of focus
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(4, 12)):
        x, y, w, h = rng.uniform((-0.1, -0.1, 0.04, 0.04), (1, 1, 0.4, 0.4)).tolist()
        box = [x * width / 2, y * height / 2, (x + w) * width / 2, (y + h) * height / 2]
        (draw.rectangle if rng.random() < 0.65 else draw.ellipse)(box, fill=_colour(rng, 25, 240, 18))
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(4, 14)):  # small dark dots: an iris is not the only one in the frame
        x, y, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(2, 8)
        draw.ellipse([x - r, y - r, x + r, y + r], fill=_colour(rng, 10, 90, 12))
    return image


def _colour(rng: np.random.Generator, low: float, high: float, tint: float) -> tuple[int, ...]:
    return tuple(np.clip(rng.uniform(low, high) + rng.normal(0, tint, 3), 0, 255).astype(int).tolist())


@lru_cache(maxsize=1)
def _noise_sheet() -> NDArray[np.int16]:
    """Sensor noise, (900, 900, 3), larger than a frame; each frame takes its own piece, much cheaper than fresh noise."""
    rng = np.random.default_rng(20180908)
    grey, colour = (rng.standard_normal((900, 900, channels), dtype=np.float32) for channels in (1, 3))
    return np.round(2.2 * grey + 1.3 * colour).astype(np.int16)


def expose(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """One frame's lighting: a gain for each channel, falling off across the frame, noise, and the lens. In integers, for speed."""
    corners = Image.fromarray((255 * rng.uniform(0.78, 1.0, (2, 2))).astype(np.uint8))
    fall = corners.resize(image.size, Image.Resampling.BILINEAR)
    gains = (rng.uniform(0.85, 1.12) * rng.uniform(0.95, 1.0, 3)).tolist()
    field = Image.merge("RGB", [fall.point([min(round(0.8 * gain * level), 255) for level in range(256)]) for gain in gains])
    product = np.array(image).astype(np.uint16) * np.array(field).astype(np.uint16)
    light = (product // 204).astype(np.int16)  # 204 is 0.8 of 255: room for gains above 1
    x, y = rng.integers(0, 900 - image.width), rng.integers(0, 900 - image.height)
    light += _noise_sheet()[y : y + image.height, x : x + image.width]
    return Image.fromarray(np.clip(light, 0, 255).astype(np.uint8)).filter(ImageFilter.BoxBlur(LENS_PX))


