"""What a spatial sampler does to an image: input, saliency, grid, resampled image, magnification ("Learning to Zoom", Fig. 2, 4).

`show_*` fill one Axes each; `comparison` sets several samplers side by side on one image, `cases` several images under one
sampler. Grids are drawn where they sample: in the input's pixels, x right, y down, whatever the output's shape.
"""

import textwrap

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from torch import Tensor

from lib.figures import style
from lib.models.sampler import Sampled, inverse, magnification, resize_grid

Image = Tensor | NDArray
Boxes = dict[str, tuple[float, float, float, float]]  # name -> (x, y, w, h) in the input's pixels


# ------------------------------------------------------------------------------------------------------------ one panel


def as_picture(image: Image) -> NDArray:
    """(3, H, W), (1, 3, H, W) or (H, W, 3), uint8 or float in [0, 1], as (H, W, 3) for matplotlib."""
    array = image.detach().cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    array = array[0] if array.ndim == 4 else array
    if array.shape[0] in (1, 3) and array.shape[-1] not in (1, 3):
        array = array.transpose(1, 2, 0)
    array = np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array
    return array if array.dtype == np.uint8 else np.clip(array.astype(np.float32), 0, 1)


def as_map(saliency: Image) -> NDArray:
    """(H, W) from (1, 1, H, W), (1, H, W) or (H, W)."""
    array = saliency.detach().cpu().numpy() if isinstance(saliency, Tensor) else np.asarray(saliency)
    return array.reshape(array.shape[-2:])


def in_pixels(points: Tensor, size: tuple[int, int]) -> NDArray:
    """Positions (..., 2) in [-1, 1] as pixels of an image of `size` (height, width)."""
    return ((points.detach().cpu().double() + 1) / 2 * torch.tensor([size[1] - 1, size[0] - 1])).numpy()


def from_pixels(points: NDArray, size: tuple[int, int]) -> Tensor:
    """Pixels (..., 2), x first, as positions in [-1, 1]: float64."""
    return torch.as_tensor(np.asarray(points), dtype=torch.float64) * 2 / torch.tensor([size[1] - 1, size[0] - 1]) - 1


def show_image(ax: Axes, image: Image, *, boxes: Boxes | None = None) -> Axes:
    """The image in its own shape, with thin boxes where there are any."""
    picture = as_picture(image)
    ax.imshow(picture, interpolation="antialiased", aspect="equal")
    for name, (x, y, w, h) in (boxes or {}).items():
        ax.add_patch(Rectangle((x - 0.5, y - 0.5), w, h, fill=False, linewidth=0.9, edgecolor=box_colour(name)))
    ax.set_xlim(-0.5, picture.shape[1] - 0.5)
    ax.set_ylim(picture.shape[0] - 0.5, -0.5)
    return style.bare(ax)


def show_saliency(ax: Axes, saliency: Image, *, over: Image | None = None) -> Axes:
    """The saliency map from 0 to its maximum, stretched to the shape of the image `over`, which it then veils."""
    values = as_map(saliency)
    height, width = as_picture(over).shape[:2] if over is not None else values.shape
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    if over is not None:
        ax.imshow(as_picture(over), extent=extent, interpolation="antialiased")
    ax.imshow(values, vmin=0, vmax=max(float(values.max()), 1e-12), cmap=style.SALIENCY, extent=extent,
              interpolation="nearest", alpha=0.72 if over is not None else None, aspect="equal")
    return style.bare(ax)


def show_nothing(ax: Axes, text: str, size: tuple[int, int]) -> Axes:
    """An empty panel of the shape of an image of `size` that says why it is empty."""
    ax.set(xlim=(0, size[1]), ylim=(size[0], 0), aspect="equal")
    ax.text(size[1] / 2, size[0] / 2, text, ha="center", va="center", color=style.GREY, fontsize=8)
    return style.bare(ax)


def grid_lines(grid: Tensor, lines: int) -> list[Tensor]:
    """`lines` evenly spaced rows and columns of a grid (1, h, w, 2) or (h, w, 2), each one a curve (n, 2)."""
    grid = grid.detach().cpu().float().reshape(1, *grid.shape[-3:])
    height, width = grid.shape[1:3]
    rows = resize_grid(grid, (min(lines, height), width))[0]
    columns = resize_grid(grid, (height, min(lines, width)))[0]
    return [*rows.unbind(0), *columns.unbind(1)]


def show_grid(ax: Axes, grid: Tensor, *, image: Image | None = None, size: tuple[int, int] | None = None, lines: int = 25,
              colour: str = style.BLUE) -> Axes:
    """The lines of the sampling grid in the input's pixels: they crowd where the output zooms in (Fig. 4).

    image: drawn pale behind them; size: (height, width) of the input where there is no image. The frame is the image's
    border; what lies beyond it samples border pixels.
    """
    height, width = as_picture(image).shape[:2] if image is not None else size or tuple(grid.shape[-3:-1])
    if image is not None:
        picture = as_picture(image).astype(np.float32) / (255 if as_picture(image).dtype == np.uint8 else 1)
        ax.imshow(0.35 * picture + 0.65, interpolation="antialiased")
    curves = [in_pixels(line, (height, width)) for line in grid_lines(grid, lines)]
    ax.add_collection(LineCollection(curves, colors=colour, linewidths=0.55), autolim=False)
    ax.add_patch(Rectangle((0, 0), width - 1, height - 1, fill=False, linewidth=0.8, edgecolor="#4D4D4D"))
    margin = 0.04
    ax.set(xlim=(-margin * width, (1 + margin) * width), ylim=((1 + margin) * height, -margin * height), aspect="equal")
    return style.bare(ax, frame=False)


def show_magnification(ax: Axes, grid: Tensor, *, colour_bar: bool = True, limit: float = style.MAGNIFICATION_LIMIT) -> Axes:
    """The linear zoom of every output pixel, in the output's shape: white is uniform, red enlarged, blue shrunk."""
    zoom = as_map(magnification(grid.reshape(1, *grid.shape[-3:])))
    picture = ax.imshow(np.log2(np.clip(zoom, 2.0**-8, 2.0**8)), cmap=style.MAGNIFICATION, norm=style.magnification_norm(limit),
                        interpolation="nearest", aspect="equal")
    if colour_bar:
        bar = ax.figure.colorbar(picture, ax=ax, fraction=0.046, pad=0.03, extend="both")
        _label_magnification(bar, limit)
    return style.bare(ax)


def _label_magnification(bar, limit: float, label: str = "linear zoom, 1× = uniform") -> None:
    ticks, texts = style.magnification_ticks(limit)
    bar.set_ticks(ticks, labels=texts)
    bar.minorticks_off()
    bar.ax.tick_params(labelsize=7)
    bar.set_label(label)
    bar.outline.set_linewidth(0.5)


def box_colour(name: str) -> str:
    return style.BOX_COLOURS.get(name, style.GREEN)


# ------------------------------------------------------------------------------------------------------- whole figures


def comparison(image: Image, sampled: dict[str, Sampled], *, boxes: Boxes | None = None, captions: dict[str, str] | None = None,
               height: float = 1.3) -> Figure:
    """One row per sampler on the same image: input, saliency, grid, resampled image with the boxes carried along, magnification.

    captions: name -> a line under the sampler's label. height: of a row, in inches.
    """
    tall, wide = as_picture(image).shape[:2]
    first = next(iter(sampled.values()))
    out = height * first.image.shape[-1] / first.image.shape[-2]
    widths = [height * wide / tall] * 3 + [out, out]
    figure, axes = style.panels(widths, [height] * len(sampled), left=1.75, top=0.32, bottom=0.62)
    for row, (name, maps) in zip(axes, sampled.items(), strict=True):
        label_row(row[0], name, (captions or {}).get(name, ""))
        show_image(row[0], image, boxes=boxes)
        if maps.saliency is None:
            show_nothing(row[1], "has none", (tall, wide))
        else:
            show_saliency(row[1], resized_map(maps.saliency, (tall, wide)))
        show_grid(row[2], maps.grid, image=image)
        show_image(row[3], maps.image)
        carry_boxes(row[3], maps.grid, boxes or {}, (tall, wide))
        show_magnification(row[4], maps.grid, colour_bar=False)
    title_columns(axes[0], ["input", "saliency", "sampling grid", "resampled", "magnification"])
    _bars_below(figure, axes[-1][1], axes[-1][4])
    return figure


def cases(images: list[Image], sampled: list[Sampled], labels: list[str], *, boxes: list[Boxes] | None = None,
          captions: list[str] | None = None, height: float = 1.7) -> Figure:
    """Several images under one sampler (Fig. 2): input, saliency, grid, resampled image; one row per image."""
    sizes = [as_picture(image).shape[:2] for image in images]
    room = max(height * w / h for h, w in sizes)
    out = max(height * maps.image.shape[-1] / maps.image.shape[-2] for maps in sampled)
    figure, axes = style.panels([room] * 3 + [out], [height] * len(images), left=1.75, top=0.32, bottom=0.62)
    for i, (row, image, maps) in enumerate(zip(axes, images, sampled, strict=True)):
        label_row(row[0], labels[i], captions[i] if captions else "")
        show_image(row[0], image, boxes=boxes[i] if boxes else None)
        if maps.saliency is None:
            show_nothing(row[1], "has none", sizes[i])
        else:
            show_saliency(row[1], resized_map(maps.saliency, sizes[i]))
        show_grid(row[2], maps.grid, image=image)
        show_image(row[3], maps.image)
        carry_boxes(row[3], maps.grid, boxes[i] if boxes else {}, sizes[i])
    title_columns(axes[0], ["input", "saliency", "sampling grid", "resampled"])
    _bars_below(figure, axes[-1][1], None)
    return figure


def resized_map(saliency: Image, size: tuple[int, int]) -> NDArray:
    """A map's cells blown up to the shape of an image of `size`, each one still a block."""
    values = as_map(saliency)
    rows = np.arange(size[0]) * values.shape[0] // size[0]
    columns = np.arange(size[1]) * values.shape[1] // size[1]
    return values[rows[:, None], columns]


def carry_boxes(ax: Axes, grid: Tensor, boxes: Boxes, size: tuple[int, int]) -> None:
    """Draw `boxes` (pixels of an input of `size`) where the zoom takes them; sides that it does not reach are left out."""
    height, width = grid.shape[-3:-1]
    for name, (x, y, w, h) in boxes.items():
        side = np.linspace(0, 1, 12, endpoint=False)
        outline = np.concatenate([np.stack(points, axis=1) for points in (
            (x + w * side, y + 0 * side), (x + w + 0 * side, y + h * side),
            (x + w - w * side, y + h + 0 * side), (x + 0 * side, y + h - h * side))])
        outline = np.clip(np.concatenate([outline, outline[:1]]), 0, [size[1] - 1, size[0] - 1])
        carried = inverse(grid.reshape(1, *grid.shape[-3:]).detach().cpu(), points=from_pixels(outline, size)[None])[0]
        ax.plot(*in_pixels(carried, (height, width)).T, color=box_colour(name), linewidth=0.9)  # NaN leaves a gap
    ax.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


def label_row(ax: Axes, label: str, caption: str = "") -> None:
    """A label left of a row's first panel, upright and wrapped, with a smaller line under it."""
    text = textwrap.fill(label, 20)
    ax.annotate(text, (0, 0.5), xytext=(-8, 4 if caption else 0), xycoords="axes fraction", textcoords="offset points",
                ha="right", va="bottom" if caption else "center", fontsize=9)
    if caption:
        ax.annotate(textwrap.fill(caption, 24), (0, 0.5), xytext=(-8, -1), xycoords="axes fraction", textcoords="offset points",
                    ha="right", va="top", fontsize=8, color=style.GREY)


def title_columns(axes: NDArray, titles: list[str]) -> None:
    """A title above each panel of the first row, all on one line."""
    for ax, title in zip(axes, titles, strict=True):
        ax.annotate(title, (0.5, 1), xytext=(0, 7), xycoords="axes fraction", textcoords="offset points", ha="center", va="bottom",
                    fontsize=9.5)


def _bars_below(figure: Figure, saliency_ax: Axes, magnification_ax: Axes | None) -> None:
    """Flat colour bars under the columns that have a scale."""
    def strip(ax: Axes) -> Axes:
        place, inch = ax.get_position(), 1 / figure.get_figheight()
        return figure.add_axes((place.x0, place.y0 - 0.2 * inch, place.width, 0.09 * inch))

    bar = figure.colorbar(ScalarMappable(Normalize(0, 1), style.SALIENCY), cax=strip(saliency_ax), orientation="horizontal")
    bar.set_ticks([0, 1], labels=["0", "map's max"])
    bar.outline.set_linewidth(0.5)
    if magnification_ax is not None:
        magnification_bar(figure, strip(magnification_ax))


def magnification_bar(figure: Figure, ax: Axes, limit: float = style.MAGNIFICATION_LIMIT) -> None:
    """Fill the flat `ax` with the scale of `show_magnification`."""
    colours = ScalarMappable(style.magnification_norm(limit), style.MAGNIFICATION)
    _label_magnification(figure.colorbar(colours, cax=ax, orientation="horizontal", extend="both"), limit, "linear zoom")
