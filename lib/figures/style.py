"""How every figure looks, and where it goes.

Okabe and Ito's colours, which stay apart for colour-blind readers; perceptually uniform colour maps; a white background that is
opaque, so that a figure reads the same on a dark page. Nothing here is interactive.
"""

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure

from lib.files import replace_atomically, resolve

# Okabe and Ito, "Color Universal Design" (2008)
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7")
CYCLE = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK)
GREY, LIGHT_GREY = "#6B6B6B", "#D0D0D0"

SALIENCY = "magma"  # 0 to the map's maximum
MAGNIFICATION_LIMIT = 2.0  # log2: a quarter to four times
OURS, PAPER, CONTROL = BLUE, VERMILION, GREY


def __getattr__(name: str) -> Colormap:
    """MAGNIFICATION: of log2(zoom), white where uniform, red where enlarged; SIGNED: of anything with a sign. Both are seaborn's `vlag`."""
    if name not in ("MAGNIFICATION", "SIGNED"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import seaborn as sns  # takes longer than all of matplotlib, and most figures do without it

    return sns.color_palette("vlag", as_cmap=True)

BOX_COLOURS = {"face": ORANGE, "left_eye": SKY, "right_eye": SKY, "detail": ORANGE}


def apply() -> None:
    """Set matplotlib's defaults; importing anything from `lib.figures` that draws does it."""
    mpl.rcParams.update({
        "figure.facecolor": "white", "axes.facecolor": "white", "savefig.facecolor": "white", "savefig.edgecolor": "white",
        "savefig.transparent": False, "figure.dpi": 110, "savefig.dpi": 160, "savefig.bbox": "tight", "savefig.pad_inches": 0.06,
        "text.color": "#1A1A1A", "axes.labelcolor": "#1A1A1A", "xtick.color": "#1A1A1A", "ytick.color": "#1A1A1A",
        "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "font.size": 9, "axes.titlesize": 9,
        "axes.labelsize": 9, "xtick.labelsize": 8, "ytick.labelsize": 8, "legend.fontsize": 8, "figure.titlesize": 10,
        "axes.edgecolor": "#4D4D4D", "axes.linewidth": 0.7, "axes.spines.top": False, "axes.spines.right": False,
        "axes.prop_cycle": cycler(color=CYCLE), "axes.axisbelow": True, "axes.titlepad": 5, "grid.color": "#E4E4E4",
        "grid.linewidth": 0.6, "lines.linewidth": 1.4, "legend.frameon": False, "image.cmap": SALIENCY,
        "image.interpolation": "nearest"})


apply()


def magnification_norm(limit: float = MAGNIFICATION_LIMIT) -> Normalize:
    """Colours for log2 of a linear zoom, centred on 1."""
    return Normalize(-limit, limit)


def magnification_ticks(limit: float = MAGNIFICATION_LIMIT) -> tuple[list[float], list[str]]:
    """Places (log2) and texts of a magnification scale: 1/4, 1/2, 1, 2, 4 times."""
    exponents = [e for e in range(-6, 7) if abs(e) <= limit]
    return [float(e) for e in exponents], [f"1/{2 ** -e}×" if e < 0 else f"{2 ** e}×" for e in exponents]


def bare(axes: Axes, *, frame: bool = True) -> Axes:
    """No ticks; a thin frame all around, or none."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(frame)
        spine.set_color(LIGHT_GREY)
    return axes


def panels(widths: list[float], heights: list[float], *, left: float = 0.05, right: float = 0.05, top: float = 0.3,
           bottom: float = 0.05, gap: float = 0.1, row_gap: float | None = None) -> tuple[Figure, np.ndarray]:
    """A figure of panels whose sizes are given in inches, so that pictures keep their shape and nothing is left empty.

    widths of the columns, heights of the rows, gaps and margins, all in inches. Returns the axes as (rows, columns).
    """
    row_gap = gap if row_gap is None else row_gap
    width = left + sum(widths) + gap * (len(widths) - 1) + right
    height = top + sum(heights) + row_gap * (len(heights) - 1) + bottom
    figure = plt.figure(figsize=(width, height))
    axes = np.empty((len(heights), len(widths)), dtype=object)
    y = height - top
    for i, h in enumerate(heights):
        x, y = left, y - h
        for j, w in enumerate(widths):
            axes[i, j] = figure.add_axes((x / width, y / height, w / width, h / height))
            x += w + gap
        y -= row_gap
    return figure, axes


def save(figure: Figure, results_dir: str | Path, name: str) -> Path:
    """Write `figure` to <results_dir>/figures/<name>.png, whole or not at all; a relative folder counts from the repository."""
    folder = resolve(results_dir) / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    replace_atomically(path, lambda partial: figure.savefig(partial, format="png"))
    return path
