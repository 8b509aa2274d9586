"""Squares out of photographs of many sizes, so that they make batches; and where boxes and points end up.

Rules, of a photograph (H, W) for a square of `side` pixels
    squash  both sides are resized to `side`; the aspect ratio is lost. Nothing is cut off
    short   the short side is resized to `side`, and the middle of the long one is cut out (torchvision's Resize and CenterCrop)
    long    the long side is resized to `side`, and stripes of ImageNet's mean colour fill the rest. Nothing is cut off

Resizing is Pillow's bilinear filter, which averages when it shrinks. Pixels are uint8, coordinates continuous with the origin
at the photograph's top left corner.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

RULES = ("squash", "short", "long")
FILL = (124, 116, 104)  # ImageNet's mean colour: nothing, once it is normalised


@dataclass(frozen=True)
class Square:
    """How photographs become squares: of `side` pixels by `rule`, of which the middle `crop` is kept."""

    side: int
    rule: str = "short"
    crop: int | None = None

    @property
    def size(self) -> int:
        return self.crop or self.side

    def pixels(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return canvas(pixels, self.side, rule=self.rule, crop=self.crop)

    def points(self, points: ArrayLike, sizes: ArrayLike) -> NDArray[np.float64]:
        return canvas_points(points, sizes, self.side, rule=self.rule, crop=self.crop)

    def boxes(self, boxes: ArrayLike, sizes: ArrayLike) -> NDArray[np.float64]:
        return canvas_boxes(boxes, sizes, self.side, rule=self.rule, crop=self.crop)


def canvas(pixels: NDArray[np.uint8], side: int, *, rule: str = "short", crop: int | None = None) -> NDArray[np.uint8]:
    """pixels (H, W, 3) -> (side, side, 3) by `rule`, or its middle (crop, crop, 3). ValueError for an unknown rule or a side below 1."""
    if crop is not None:
        at = margin(side, crop)
        return canvas(pixels, side, rule=rule)[at:at + crop, at:at + crop]
    width, height, left, top = placement(pixels.shape[:2], side, rule)
    image = Image.fromarray(pixels)
    if (width, height) != image.size:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    if rule != "long":
        return np.array(image.crop((left, top, left + side, top + side)))
    made = np.full((side, side, 3), FILL, np.uint8)
    made[-top:height - top, -left:width - left] = np.asarray(image)
    return made


def placement(size: ArrayLike, side: int, rule: str) -> tuple[int, int, int, int]:
    """A photograph of `size` (H, W): its width and height when resized, and where the square begins in that: left, top."""
    height, width = (int(value) for value in np.asarray(size))
    if rule not in RULES:
        raise ValueError(f"rule {rule!r} is not one of {', '.join(RULES)}")
    if side < 1:
        raise ValueError(f"side must be 1 pixel or more, got {side}")
    if rule == "squash":
        return side, side, 0, 0
    unit = min(width, height) if rule == "short" else max(width, height)
    width, height = max(1, int(side * width / unit)), max(1, int(side * height / unit))
    return width, height, round((width - side) / 2), round((height - side) / 2)


def margin(side: int, crop: int | None) -> int:
    """What a centre crop leaves away above and at the left."""
    if crop is not None and not 0 < crop <= side:
        raise ValueError(f"a centre crop of {crop} px does not fit into a square of {side} px")
    return 0 if crop is None else (side - crop) // 2


def canvas_points(points: ArrayLike, sizes: ArrayLike, side: int, *, rule: str = "short", crop: int | None = None) -> NDArray[np.float64]:
    """points (N, ..., 2) as (x, y) in photographs of sizes (N, 2) as (H, W) -> the same in their squares; they may lie outside."""
    points = np.array(points, dtype=np.float64)
    for each, size in zip(points, np.asarray(sizes).reshape(-1, 2), strict=True):
        width, height, left, top = placement(size, side, rule)
        each[...] = each * [width / size[1], height / size[0]] - [left, top] - margin(side, crop)
    return points


def canvas_boxes(boxes: ArrayLike, sizes: ArrayLike, side: int, *, rule: str = "short", crop: int | None = None) -> NDArray[np.float64]:
    """boxes (N, 4) as (x, y, w, h) -> the same in their squares; what is cut off stays part of the box: it may reach outside."""
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    corners = np.stack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)  # (N, 2, 2)
    moved = canvas_points(corners, sizes, side, rule=rule, crop=crop)
    return np.concatenate([moved[:, 0], moved[:, 1] - moved[:, 0]], axis=1)
