"""The zoom under two sliders where somebody is there to move them, and as a strip of pictures everywhere else."""

import io
import os

import numpy as np
from matplotlib.figure import Figure
from PIL import Image as PillowImage
from PIL import ImageDraw
from torch import Tensor

from lib.figures import style, zoom
from lib.models.sampler import RELEASED_SIGMA, folds, identity_grid, low_resolution, magnification, resample, resize_grid, warp_grid

SIGMAS = (RELEASED_SIGMA, 31 / 3)
STRENGTHS = (0.0, 1.0, 2.0, 4.0, 8.0)
SHOWN_HEIGHT, SHOWN_WIDTH = 420, 300  # pixels of each picture under the sliders, at most: input, grid and result stand side by side
LINES = 25  # of the drawn grid


def has_reader() -> bool:
    """Whether a notebook server started this kernel: papermill and the batch runner leave no widget behind that works."""
    if "JPY_SESSION_NAME" in os.environ:  # set by jupyter_server for the kernels of its sessions
        return True
    try:
        return "__vsc_ipynb_file__" in get_ipython().user_ns  # type: ignore[name-defined]
    except NameError:
        return False


def zoom_explorer(image: Tensor, heatmap: Tensor) -> Figure:
    """Sliders for sigma and strength in JupyterLab; and always the strip, which it returns.

    image: (3, H, W) uint8; heatmap: (H, W), non-negative.
    """
    if has_reader():
        try:
            _sliders(image, heatmap)
        except ImportError:
            print("ipywidgets is not installed: no sliders, only the strip")
    return strip(image, heatmap)


def strip(image: Tensor, heatmap: Tensor, strengths: tuple[float, ...] = STRENGTHS) -> Figure:
    """The heat map to several powers (a softmax at several temperatures): saliency, grid, and the image for two sigmas."""
    size, height = (image.shape[1], image.shape[2]), 1.25
    figure, axes = style.panels([height * size[1] / size[0]] * len(strengths), [height] * 4, left=1.15, row_gap=0.2, bottom=0.2)
    small = low_resolution(heatmap[None, None], 31)
    for column, strength in zip(axes.T, strengths, strict=True):
        grids = [warp_grid(heatmap, strength=strength, sigma=sigma) for sigma in SIGMAS]
        zoom.show_saliency(column[0], zoom.resized_map((small / small.max()) ** strength, size))
        zoom.show_grid(column[1], grids[0], image=image, lines=21)
        for ax, grid in zip(column[2:], grids, strict=True):
            zoom.show_image(ax, resample(image[None], resize_grid(grid, size)))
            ax.set_xlabel(f"at most {float(magnification(grid).max()):.1f}×", fontsize=8, labelpad=2)
    zoom.title_columns(axes[0], [f"strength {strength:g}" for strength in strengths])
    for ax, name in zip(axes[:, 0], ("saliency", "grid, σ = 13/2.355", "zoomed, σ = 13/2.355", "zoomed, σ = 31/3"), strict=True):
        zoom.label_row(ax, name.replace(", ", ",\n"))
    return figure


def rendered(image: Tensor, heatmap: Tensor, *, sigma: float, strength: float) -> tuple[dict[str, bytes], str]:
    """PNGs of the input, of the grid drawn where it samples, and of the result, and a line about the grid.

    Each is `shown_size` large: side by side they and their sliders fit on one screen.
    """
    size, grid = shown_size(image.shape[1], image.shape[2]), warp_grid(heatmap, strength=strength, sigma=sigma)
    small = resample(image[None], identity_grid(size, like=heatmap), oversample=2)
    zoomed = resample(image[None], resize_grid(grid, size), oversample=2)
    shown = {"input": _pillow(small), "grid": _with_grid(small, grid), "zoomed": _pillow(zoomed)}
    return {name: _png(picture) for name, picture in shown.items()}, (
        f"largest zoom {float(magnification(grid).max()):.1f}×, folded cells {100 * float(folds(grid)):.0f} %, "
        f"share of the image's area that is shown {float((1 / magnification(grid) ** 2).mean()):.2f}")


def shown_size(height: int, width: int) -> tuple[int, int]:
    """(height, width) in pixels of each of three pictures side by side: SHOWN_HEIGHT and SHOWN_WIDTH at most, never enlarged."""
    scale = min(1.0, SHOWN_HEIGHT / height, SHOWN_WIDTH / width)
    return round(height * scale), round(width * scale)


def _pillow(picture: Tensor) -> PillowImage.Image:
    """(1, 3, h, w) float in [0, 1]"""
    return PillowImage.fromarray(np.round(picture[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8))


def _with_grid(picture: Tensor, grid: Tensor) -> PillowImage.Image:
    """`LINES` lines of the grid along each axis over a paled picture: where they crowd, the result zooms in."""
    drawn = _pillow(1 - (1 - picture) * 0.4)
    pen = ImageDraw.Draw(drawn)
    for line in zoom.grid_lines(grid, LINES):
        pen.line([tuple(point) for point in zoom.in_pixels(line, picture.shape[-2:]).tolist()], fill=style.BLUE)
    return drawn


def _png(picture: PillowImage.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return file.getvalue()


def _sliders(image: Tensor, heatmap: Tensor) -> None:
    import ipywidgets as widgets
    from IPython.display import display

    sigma = widgets.FloatSlider(RELEASED_SIGMA, min=1, max=16, step=0.25, description="σ (cells)", readout_format=".2f")
    strength = widgets.FloatSlider(1, min=0, max=8, step=0.1, description="strength")
    height, width = shown_size(image.shape[1], image.shape[2])
    shown = {name: widgets.Image(format="png", layout={"width": "100%", "height": "auto", "max_height": f"{height}px", "object_fit": "contain"})
             for name in ("input", "grid", "zoomed")}
    line = widgets.Label()

    def draw(_=None) -> None:
        pictures, line.value = rendered(image, heatmap, sigma=sigma.value, strength=strength.value)
        for name, picture in pictures.items():
            shown[name].value = picture

    for slider in (sigma, strength):
        slider.observe(draw, names="value")
    draw()
    columns = [widgets.VBox([widgets.Label(name), picture], layout={"width": f"{width}px", "max_width": "32%"}) for name, picture in shown.items()]
    pictures = widgets.HBox(columns, layout={"width": "100%", "grid_gap": "8px", "overflow": "hidden"})
    display(widgets.VBox([widgets.HBox([sigma, strength], layout={"flex_flow": "row wrap"}), pictures, line], layout={"width": "100%"}))
