"""A photograph zoomed where people would look: `python -m lib zoom PHOTO [PHOTO ...]`.

The two halves of this repository in one line. EML-NET (or Mr-CNN, or a heat map of your own) says what stands out; a grid of `GRIDS`
enlarges it, at the photograph's full resolution, anti-aliased where it shrinks. Beside the zoomed photograph lies a picture of three: the
photograph, what stands out with the grid's lines, and the result.

The map has 31 cells along the photograph's longer side and as many in proportion along the other, so that the attraction reaches equally
far both ways. Padding is by reflection: the border stays the border, nothing is cut off and nothing smears.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lib.files import apart, for_folder, replace_atomically
from lib.files.maps import ARRAYS, read_map_file
from lib.files.pictures import picture_header, read_picture, some_picture, told_of, turned
from lib.models.grids import cell_grid, marginal_grid, separable_grid, transport_grid
from lib.models.sampler import RELEASED_SIGMA, low_resolution, resample, resize_grid, saliency_grid
from lib.options import STRENGTH, predict_arguments

CELLS = 31  # of the map, along the photograph's longer side
PANEL, WIDEST = 480, 1600  # pixels: the height of the three pictures side by side, and the most that one is wide
GAP = 8
LINES = 24  # of the grid, along the longer side
REMEDY = "give a photograph as JPEG, PNG, TIFF or WebP, or save it again"

Grid = Callable[[Tensor], Tensor]  # (1, 1, H, W) -> (1, H, W, 2)
GRIDS: dict[str, Grid] = {
    "attraction": lambda heat: saliency_grid(heat, sigma=RELEASED_SIGMA, padding="reflect"),
    "separable": lambda heat: separable_grid(heat, sigma=RELEASED_SIGMA),
    "marginal": lambda heat: marginal_grid(heat, bound=4.0),
    "cells": lambda heat: cell_grid(heat, zoom=2.0),
    "transport": lambda heat: transport_grid(heat),
}


def zoom(photo: NDArray[np.uint8], saliency: NDArray[np.floating], *, grid: str = "attraction", strength: float = STRENGTH,
         size: tuple[int, int] | None = None) -> tuple[NDArray[np.uint8], Tensor]:
    """`photo` (H, W, 3) zoomed by `saliency` (h, w), non-negative, any size: the zoomed photograph, and the grid (1, h, w, 2) that made it.

    strength: the exponent of the map; 0 leaves the photograph as it is. size: (height, width) of the result, by default the photograph's.
    ValueError for a grid that there is not, for a map that is negative or not finite, and for one whose weight the grid cannot reach.

    Example:
        >>> photo, saliency = np.zeros((120, 160, 3), dtype=np.uint8), np.full((60, 80), 0.1)
        >>> photo[80:90, 110:120], saliency[40:45, 55:60] = 255, 1
        >>> zoomed, grid = zoom(photo, saliency, grid="transport")
        >>> zoomed.shape, bool(np.sum(zoomed > 127) > 2 * np.sum(photo > 127))  # a white square that stands out
        ((120, 160, 3), True)
    """
    if grid not in GRIDS:
        raise ValueError(f"grid {grid!r} is not one of {', '.join(GRIDS)}")
    heat = torch.from_numpy(np.ascontiguousarray(saliency, dtype=np.float32))[None, None]
    if not torch.isfinite(heat).all() or (heat < 0).any():
        raise ValueError("the heat map has negative, infinite or NaN values; make it non-negative first")
    height, width = photo.shape[:2]
    cells = (max(2, round(CELLS * height / max(height, width))), max(2, round(CELLS * width / max(height, width))))
    small = low_resolution(heat, cells).clamp(min=0)
    small = (small / small.amax().clamp(min=torch.finfo(torch.float32).tiny)) ** strength if small.any() else torch.ones_like(small)
    made = GRIDS[grid](small)
    if not torch.isfinite(made).all():
        raise ValueError(f"the heat map's weight lies in one place, too far from the rest for the grid {grid!r} at strength {strength:g}; take a "
                         "lower --strength, a smoother heat map or --grid transport")
    size = size or (height, width)
    stride = max(height / size[0], width / size[1])
    image = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None]
    zoomed = resample(image, resize_grid(made, size), oversample=max(1, int(np.ceil(stride))))  # (1, 3, h, w) in [0, 1]
    return (zoomed[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy(), made


def side_by_side(photo: NDArray[np.uint8], saliency: NDArray[np.floating], grid: Tensor, zoomed: NDArray[np.uint8]) -> Image.Image:
    """The photograph, the same darkened where nothing stands out with the grid's lines over it, and the zoomed one."""
    plain, result = map(_panel, (photo, zoomed))
    panels = (plain, _explained(plain, saliency, grid), result)
    shown = Image.new("RGB", (sum(one.width for one in panels) + 2 * GAP, max(one.height for one in panels)), "white")
    left = 0
    for one in panels:
        shown.paste(one, (left, (shown.height - one.height) // 2))
        left += one.width + GAP
    return shown


def _panel(picture: NDArray[np.uint8]) -> Image.Image:
    """In its own proportions, `PANEL` high, or `WIDEST` wide where it is very wide."""
    height, width = picture.shape[:2]
    scale = min(PANEL / height, WIDEST / width)
    return Image.fromarray(picture).resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.LANCZOS)


def _explained(photo: Image.Image, saliency: NDArray[np.floating], grid: Tensor) -> Image.Image:
    """`photo` lit by the map, with the lines of the grid: equally far apart in the zoomed picture."""
    from PIL import ImageDraw

    heat = Image.fromarray((saliency / max(float(saliency.max()), 1e-12)).astype(np.float32)).resize(photo.size, Image.Resampling.BILINEAR)
    light = 0.45 + 0.55 * np.clip(np.asarray(heat), 0, 1)[..., None] ** 0.5
    lit = Image.fromarray((np.asarray(photo) * light).astype(np.uint8))
    width, height = photo.size
    lines = (max(2, round(LINES * height / max(photo.size))), max(2, round(LINES * width / max(photo.size))))
    places = resize_grid(grid, (8 * lines[0] + 1, 8 * lines[1] + 1))[0].numpy()  # (8 n + 1, 8 m + 1, 2)
    at = (places + 1) / 2 * [width - 1, height - 1]
    draw = ImageDraw.Draw(lit)
    for line in [*at[::8], *at.swapaxes(0, 1)[::8]]:
        draw.line([tuple(point) for point in line], fill=(255, 200, 60), width=1)
    return lit


# --- the command --------------------------------------------------------------------------------------------------------


def main(arguments: argparse.Namespace) -> int:
    """Write PHOTO_zoom.png and PHOTO_zoom_explained.png for each photograph; 1 where one could not be read, the others are written."""
    from tqdm import tqdm

    from lib.training.progress import Progress

    stems = [arguments.out / f"{photo.stem}_zoom" for photo in arguments.photos]
    if twice := sorted({str(stem) for stem in stems if stems.count(stem) > 1}):
        raise ValueError(f"several photographs would be written to {twice[0]}.png; zoom them into different folders")
    if not arguments.strength >= 0:
        raise ValueError(f"strength is {arguments.strength}, expected a number from 0 (no zoom)")
    for_folder(arguments.out)
    apart([stem.with_name(stem.name + ending) for stem in stems for ending in (".png", "_explained.png")],
          [*arguments.photos, *([arguments.heatmap] if arguments.heatmap else [])])
    some_picture(arguments.photos, remedy=REMEDY)
    saliency_of, progress, failed = _heat(arguments), Progress("zoom: ", quiet=len(stems) < 2), False
    for i, (path, stem) in enumerate(zip(arguments.photos, stems, strict=True), start=1):
        try:
            photo = read_picture(path, mode="photograph", exif="upright", remedy=REMEDY)
            saliency = saliency_of(path)
            _check_turned(arguments.heatmap, saliency, photo)
            zoomed, grid = zoom(photo, saliency, grid=arguments.grid, strength=arguments.strength, size=arguments.size)
            made = (save(stem.with_name(f"{stem.name}.png"), Image.fromarray(zoomed)),
                    save(stem.with_name(f"{stem.name}_explained.png"), side_by_side(photo, saliency, grid, zoomed)))
            tqdm.write(" ".join(map(str, made)))
        except (ValueError, OSError) as error:
            tqdm.write(f"error: {told_of(path, error)}", file=sys.stderr)
            failed = True
        progress("photographs", i, len(stems))
    return int(failed)


def _heat(arguments: argparse.Namespace) -> Callable[[Path], NDArray[np.float32]]:
    """What gives a photograph's map: the file that was named, else a network with the weights of this repository."""
    if arguments.heatmap:
        if not arguments.heatmap.exists():
            raise FileNotFoundError(f"{arguments.heatmap}: missing; give a heat map that is there as --heatmap")
        heat = read_map_file(arguments.heatmap)
        if arguments.heatmap.suffix.lower() not in ARRAYS:  # as the photograph, which is zoomed upright
            heat = turned(heat, picture_header(arguments.heatmap).orientation)
        if heat.min() < 0:
            raise ValueError(f"{arguments.heatmap}: has negative values; make the heat map non-negative first, 0 where nothing is to be enlarged")
        return lambda path: heat
    from lib import predict

    parser = argparse.ArgumentParser()
    predict_arguments(parser)
    predicted = predict.MODELS[arguments.model](parser.parse_args([arguments.model, "PHOTO"]))
    return lambda path: above_least(predicted(path))


def _check_turned(heatmap: Path | None, saliency: NDArray[np.floating], photo: NDArray[np.uint8]) -> None:
    """ValueError for a heat map whose rows and columns are exchanged; one of any other shape is taken as squashed."""
    (height, width), (h, w) = photo.shape[:2], saliency.shape
    if heatmap and h * height == w * width and h * width != w * height:
        raise ValueError(f"{heatmap}: is {w}x{h}, the photograph {width}x{height}: rows and columns are exchanged; transpose the heat map")


def above_least(saliency: NDArray[np.floating]) -> NDArray[np.floating]:
    """A predicted map (H, W) less its least value: what a network adds everywhere changes neither CC nor NSS, so its floor says little.

    EML-NET's release stretches its maps in the same way. Zooming by the floor too would spend pixels on everything.
    """
    return saliency - saliency.min()


def save(path: Path, picture: Image.Image) -> Path:
    replace_atomically(path, lambda temporary: picture.save(temporary, format="PNG"))
    return path
