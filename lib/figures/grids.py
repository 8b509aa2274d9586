"""The successors' grids side by side: what they do to two salient places, what zoom costs in shape, what comes back of a thin line."""

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lib.figures import style, zoom
from lib.models.carry import unzoom
from lib.models.grids import GRIDS, distortion, zoom_at
from lib.models.sampler import identity_grid, resample, resize_grid

LABELS = {"attraction": "attraction (Learning to Zoom)", "separable": "separable attraction (FOVEA, LZU)",
          "marginal": "equal mass per axis (TASN, AttWarp)", "cells": "similar cells (ZoomTrack)", "transport": "equal mass in the plane (transport)"}
COLOURS = dict(zip(GRIDS, style.CYCLE, strict=False))
MARKERS = dict(zip(GRIDS, "osD^v", strict=False))
PLACES, CROSSINGS = ((8.0, 8.0), (22.0, 22.0)), ((8.0, 22.0), (22.0, 8.0))  # x, y in cells of a 31 x 31 map
STRENGTHS = (0.0, 0.3, 0.6, 0.9, 1.2)  # exponents of the map, from uniform on


def blob_map(places: tuple, *, cells: int = 31, spread: float = 2.5, floor: float = 0.06) -> Tensor:
    """Gaussian blobs at `places` over a floor, (1, 1, cells, cells), float64."""
    at = torch.arange(cells, dtype=torch.float64)
    heat = sum(torch.exp(-((at[:, None] - y) ** 2 + (at[None] - x) ** 2) / (2 * spread**2)) for x, y in places)
    return (heat + floor)[None, None]


def as_positions(places: tuple, cells: int = 31) -> Tensor:
    """Places in cells as positions (1, N, 2) in [-1, 1]."""
    return torch.tensor([places], dtype=torch.float64) * (2 / (cells - 1)) - 1


def ghosts() -> dict[str, tuple[float, float]]:
    """For each grid: its linear zoom at two salient places on a diagonal, and where their rows and columns cross (means)."""
    saliency, found = blob_map(PLACES), {}
    for name, grid in GRIDS.items():
        at = zoom_at(grid(saliency), as_positions((*PLACES, *CROSSINGS)))[0]
        found[name] = at[:2].mean().item(), at[2:].mean().item()
    return found


def trade_offs(maps: Tensor, strengths: tuple[float, ...] = STRENGTHS) -> dict[str, list[tuple[float, float, float]]]:
    """For each grid and strength: zoom, anisotropy and shear where the saliency is, means over maps (B, 1, H, W).

    Weighted by what the map has above its floor at the places that the grid shows, so that empty corners do not count.
    """
    found = {name: [] for name in GRIDS}
    for name, grid in GRIDS.items():
        for strength in strengths:
            points = grid(maps**strength)
            measured = distortion(points)
            heat = resample(maps - maps.amin((2, 3), keepdim=True), points)[:, 0]  # at each output pixel
            weight = heat / measured.zoom**2  # as shares of the original's area
            weight = weight / weight.sum((1, 2), keepdim=True)
            found[name].append(tuple((weight * part).sum((1, 2)).mean().item() for part in (measured.zoom, measured.anisotropy, measured.shear)))
    return found


def line_left(scale: float, *, size: int = 128, task: int = 32, width: int = 2) -> float:
    """What is left of a line of `width` px in a picture of `size`, seen at `scale` task pixels per picture pixel and brought back: 0 to 1."""
    grid = identity_grid(task, like=torch.zeros(1)) * ((task - 1) / (size - 1) / scale)
    kept = []
    for shift in range(4):
        at = size // 2 + shift
        image = torch.zeros(1, 1, size, size)
        image[..., at:at + width] = 1
        back, _ = unzoom(resample(image, grid, oversample=max(1, round(1 / scale))), grid, (size, size))
        kept.append(back[0, 0, size // 2 - 2:size // 2 + 2, at:at + width].mean().item())
    return float(np.mean(kept))


# ------------------------------------------------------------------------------------------------------------------------ figures


def compare_grids(*, maps: Tensor | None = None, height: float = 1.75) -> Figure:
    """Each grid on two blobs: lines, zoom and ghosts; below, zoom against anisotropy and shear as the map grows stronger.

    maps: (B, 1, 31, 31) to measure on (default: single and double blobs).
    """
    saliency = blob_map(PLACES)
    figure, axes = style.panels([height] * (1 + len(GRIDS)), [height, height, 2.3], left=0.75, right=1.15, top=0.5, bottom=0.55, gap=0.12,
                                row_gap=0.3)
    zoom.show_saliency(axes[0, 0], saliency)
    axes[1, 0].axis("off")
    axes[0, 0].set_title("saliency\n", fontsize=8.5)
    for column, (name, (real, ghost)) in enumerate(ghosts().items(), start=1):
        grid = resize_grid(GRIDS[name](saliency), 121)
        zoom.show_grid(axes[0, column], grid, size=(121, 121), lines=31, colour=COLOURS[name])
        axes[0, column].set_title(LABELS[name].replace(" (", "\n("), fontsize=8.5)
        zoom.show_magnification(axes[1, column], grid, colour_bar=False)
        axes[1, column].set_xlabel(f"{real:.2f}× there, {ghost:.2f}× at crossings", fontsize=7.5)
    place = axes[1, -1].get_position()
    bar = figure.add_axes((place.x1 + 0.012, place.y0, 0.009, place.height))
    scale = figure.colorbar(axes[1, -1].images[0], cax=bar, extend="both", label="linear zoom")
    scale.set_ticks(style.magnification_ticks()[0], labels=style.magnification_ticks()[1])
    scale.minorticks_off()
    for ax in axes[2]:
        ax.remove()
    handles, labels = _trade_off_panels(figure, axes[2], trade_offs(several_blobs() if maps is None else maps))
    axes[1, 0].legend(handles, [label.replace(" (", "\n(") for label in labels], fontsize=7.5, loc="center", labelspacing=0.7)
    return figure


def several_blobs(count: int = 8) -> Tensor:
    """Maps of one to three blobs at random places, (count, 1, 31, 31)."""
    generator = torch.Generator().manual_seed(0)
    places = [(torch.rand(1 + k % 3, 2, generator=generator) * 22 + 4).tolist() for k in range(count)]
    return torch.cat([blob_map(tuple(map(tuple, each))) for each in places])


def _trade_off_panels(figure: Figure, row: np.ndarray, measured: dict[str, list[tuple[float, float, float]]]) -> tuple[list, list]:
    """Three panels in the place of the `row`: anisotropy and shear against zoom, and the thin line's curve. Returns the legend's parts."""
    boxes = [ax.get_position() for ax in row]
    left, right, bottom, height = boxes[0].x0, boxes[-1].x1, boxes[0].y0, boxes[0].height
    width = (right - left) / 3
    panels = [figure.add_axes((left + k * width, bottom, width * 0.78, height)) for k in range(3)]
    for ax, part, label in ((panels[0], 1, "anisotropy (1 = similar)"), (panels[1], 2, "shear (degrees)")):
        for name, values in measured.items():
            ax.plot([v[0] for v in values], [v[part] for v in values], marker=MARKERS[name], markersize=4, color=COLOURS[name], label=LABELS[name])
        ax.set(xlabel="linear zoom where the saliency is", ylabel=label)
        ax.grid(True)
    thin_line(panels[2])
    return panels[0].get_legend_handles_labels()


def thin_line(ax: Axes, scales: tuple[float, ...] = (0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)) -> Axes:
    """How much of a line of 2 px is left after zoom and unzoom, against the scale at which the network saw it."""
    ax.plot(scales, [line_left(scale) for scale in scales], marker="o", markersize=4, color=style.BLACK)
    ax.axvline(1, color=style.GREY, linewidth=0.8, linestyle=":")
    ax.set(xscale="log", ylim=(0, 1.05), xlabel="network's pixels per pixel of the picture", ylabel="left of a line of 2 px")
    ax.set_xticks(scales, [f"{scale:g}" for scale in scales], fontsize=7)
    ax.minorticks_off()
    ax.grid(True)
    return ax
