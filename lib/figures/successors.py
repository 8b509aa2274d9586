"""The pictures of notebook 08: which grid is best, and what each of them does to the animal. Everything takes a `Run` of the table "successors"."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from lib.figures import recognition, style, tables
from lib.figures.grids import COLOURS, LABELS
from lib.runs.engine import Run

COLOUR = COLOURS | {"balanced": COLOURS["transport"]}
NAMES = LABELS | {"balanced": "equal mass in the plane, balanced"}
SHAPES = {"learned": "o", "told": "D"}
LEARNED = {"sampler": "attraction", "fovea": "separable", "lzu": "separable"}
FIXED = ("fovea", "lzu")


def kind_of(row: str) -> tuple[str, str | None]:
    """Whether a row's saliency is learned or told, and its grid; without one None."""
    if row == "oracle":
        return "told", "attraction"
    start, _, grid = row.partition("_")
    return ("told", grid) if start == "told" else ("learned", LEARNED.get(row, grid if start == "learned" else None))


def trade(run: Run) -> Figure:
    """Top-1 of every row against how much it enlarges the animal, and against the worst anisotropy and shear that it pays for that."""
    if not run.results:
        return tables.note("no row has been run")
    cells = run.filled.numbers().set_index(["row", "column"])
    panels = {"box": "linear zoom of the animal (×)", "anisotropy": "worst anisotropy of the animal (1 = similar)", "shear": "worst shear (degrees)"}
    figure, axes = style.panels([2.35] * len(panels), [2.3], left=0.5, top=0.15, bottom=1.2, gap=0.5)
    for ax, (column, label) in zip(axes[0], panels.items(), strict=True):
        for row in run.results:
            _point(ax, row, cells, column)
        ax.set_xlabel(label)
        ax.grid(True)
    axes[0, 1].set_xscale("log")
    axes[0, 1].xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes[0, 1].xaxis.set_major_formatter("{x:g}")
    axes[0, 1].xaxis.set_minor_locator(NullLocator())
    axes[0, 0].set_ylabel("top-1 (%)")
    figure.legend(handles=_handles(run), loc="lower center", ncols=3, bbox_to_anchor=(0.5, 0), fontsize=7.5)
    return recognition.sign(figure, run, run.filled.interval)


def _point(ax: Axes, row: str, cells: pd.DataFrame, column: str) -> None:
    if (row, column) not in cells.index or not np.isfinite(cells.loc[(row, column), "ours"]):
        return
    kind, grid = kind_of(row)
    at, top1 = cells.loc[(row, column), "ours"], cells.loc[(row, "top-1")]
    colour = COLOUR.get(grid, style.GREY)
    ax.plot([at, at], [top1.ours_low, top1.ours_high], color=colour, linewidth=0.9, alpha=0.7)
    ax.plot(at, top1.ours, SHAPES[kind], color=colour, markersize=5.5, markerfacecolor="white" if row in FIXED else colour)


def _handles(run: Run) -> list[Line2D]:
    found = [kind_of(row)[1] for row in run.results]
    there = [grid for grid in COLOUR if grid in found]
    drawn = [Line2D([], [], color=COLOUR[grid], marker="s", linestyle="", label=NAMES[grid]) for grid in there if not (
        grid == "transport" and "balanced" in there)]
    more = [("o", style.BLACK, style.BLACK, "learned"), ("D", style.BLACK, style.BLACK, "told where"), ("o", style.GREY, style.GREY, "no zoom")]
    more += [("o", style.BLACK, "white", "with a fixed map (FOVEA, LZU)")] if set(FIXED) & set(run.results) else []
    return drawn + [Line2D([], [], color=colour, marker=shape, markerfacecolor=face, linestyle="", label=label)
                    for shape, colour, face, label in more]
