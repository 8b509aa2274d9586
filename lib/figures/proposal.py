"""The pictures of notebook 07: crops and their weights, what the classifier sees of them, and what the saliency sampler sees.

The model is Jasmine Li's "Salience map for region proposal" (`lib.models.proposal`). Everything takes a `Run` of the table
"proposal" that has been run, of whichever rows, on imagenette or its synthetic twin; pictures are seed 0's. Weights and
predictions are those that were scored, from the records: with noise, a network would not give them a second time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from torch import Tensor

from lib.figures import style, tables, zoom
from lib.models.proposal import VIEWS, crop_boxes, five_crops
from lib.runs.engine import Run
from lib.training.proposal import SHOWN

COLOURS = (style.BLUE, style.VERMILION, style.PURPLE, style.ORANGE, style.SKY, style.GREY)  # of the views; the object's box is green
SHORT = ("TL", "TR", "BL", "BR", "C", "all")
PICTURE, CROP = 1.35, 1.05  # inches


@dataclass(frozen=True)
class Pictures:
    """Test pictures as the networks get them: image (N, 3, H, W) and view uint8, crops (N, 6, 3, s, s) in [0, 1]."""

    image: Tensor
    view: Tensor
    crops: Tensor
    titles: list[str]
    boxes: list[zoom.Boxes]  # the object's, on a twin
    coverage: NDArray | None  # (N, 5), the share of the object that each crop shows, on a twin


def pictures(run: Run, positions: Sequence[int], variant: str = "main") -> Pictures:
    """Test pictures at `positions`."""
    task = run.opened(variant).task
    data, columns = task.data["test"], task.columns["test"]
    image, view = task.stores["test"].fetch(np.array(positions))
    crops = five_crops(image, task.crop_size, views=6).float() / 255
    known = "box" in columns
    boxes = [{"object": tuple(columns["box"][i].tolist())} if known else {} for i in positions]
    return Pictures(image, view, crops, [data.classes[data.label[i]] for i in positions], boxes,
                    columns["coverage"][list(positions)].numpy() if known else None)


def evenly(candidates: Sequence[int], count: int) -> list[int]:
    """Up to `count` of the candidates, evenly spaced."""
    at = np.linspace(0, len(candidates) - 1, min(count, len(candidates)) + 2).round().astype(int)[1:-1]
    return list(dict.fromkeys(int(candidates[i]) for i in at))


def spread(run: Run, count: int, name: str = "proposal") -> list[int]:
    """`count` test pictures for figures about row `name`: half right, half wrong, evenly spaced, so that they are of many classes.

    "proposal" is judged by where it has been run, so that all figures show the same pictures; else (and in the control) `name`.
    """
    variant = run.table.row(name).variant
    judge = "proposal" if variant == "main" and "proposal" in run.results else name
    everything = range(len(run.opened(variant).task.data["test"]))
    right = run.results[judge][0].values["top1"] > 0 if judge in run.results else np.ones(len(everything), bool)
    wrong = evenly(np.flatnonzero(~right), count // 2)
    first = evenly(np.flatnonzero(right), count - len(wrong))
    rest = [i for i in evenly(everything, 3 * count) if i not in first + wrong]
    return (first + wrong + rest)[:count]


def blend(crops: Tensor, weights: NDArray) -> Tensor:
    """crops (V or more, 3, s, s), weights (V,) -> (3, s, s), what the classifier sees."""
    return (torch.from_numpy(weights)[:, None, None, None] * crops[:len(weights)]).sum(0)


def shown_by(coverage: NDArray, views: int) -> NDArray[np.bool_]:
    """coverage (..., 5) -> (..., V): whether a view shows the object, as the records count; the whole picture always does."""
    return np.concatenate([coverage, np.ones((*coverage.shape[:-1], views - 5))], axis=-1) >= SHOWN


def source(run: Run) -> str:
    """Which pictures these are."""
    return "SYNTHETIC TWIN: drawn objects" if run.opened().is_twin else "imagenette"


def sign(figure: Figure, run: Run, text: str = "") -> Figure:
    """What is shown, in one line below everything."""
    figure.text(0.5, -0.06 / figure.get_figheight(), source(run) + (f"; {text}" if text else ""), ha="center", va="top", color=style.GREY, fontsize=8)
    return figure


# ------------------------------------------------------------------------------------------------------------ one panel


def show_crops(ax: Axes, image: Tensor, crop: int, boxes: zoom.Boxes, weights: Sequence[float] | None = None) -> Axes:
    """The picture with its crops outlined, each a little inside the one before; with weights, the heavier the thicker."""
    zoom.show_image(ax, image, boxes=boxes)
    pixel = image.shape[-1] / 96
    for k, (x, y, w, h) in enumerate(crop_boxes(tuple(image.shape[-2:]), crop, 5 if weights is None else len(weights)).tolist()):
        inset, share = pixel * (1 + 1.5 * k), 0.3 if weights is None else float(weights[k])
        ax.add_patch(Rectangle((x - 0.5 + inset, y - 0.5 + inset), w - 2 * inset, h - 2 * inset, fill=False, edgecolor=COLOURS[k],
                               linewidth=0.4 + 3 * share, alpha=1 if weights is None else min(1.0, 0.15 + 1.5 * share), zorder=2 + share))
    return ax


def show_weights(ax: Axes, weights: NDArray, shown: NDArray | None) -> Axes:
    """A bar for each view, pale where it does not show the object; dotted: equal weights."""
    for k, weight in enumerate(weights):
        ax.bar(k, weight, color=COLOURS[k], alpha=1 if shown is None or shown[k] else 0.3, width=0.8)
    ax.axhline(1 / len(weights), color="#4D4D4D", linestyle=":", linewidth=0.9)
    ax.set(ylim=(0, 1), yticks=[0, 0.5, 1])
    ax.set_xticks(range(len(weights)), labels=SHORT[:len(weights)], fontsize=7)
    ax.tick_params(length=2)
    return ax


def show_verdict(ax: Axes, run: Run, name: str, position: int) -> None:
    """What row `name` said of a test picture, in two lines under a panel."""
    row, values = run.table.row(name), run.results[name][0].values
    classes, said = run.opened(row.variant).task.data["test"].classes, int(values["predicted"][position])
    text = "right" if values["top1"][position] else f"wrong: {classes[said] if said < len(classes) else 'no class'}"
    ax.set_xlabel(f"{text}\n({100 * values['confidence'][position]:.0f} %)", fontsize=7.5, labelpad=2)


# ----------------------------------------------------------------------------------------------------------------- data


def examples(run: Run, *, count: int = 4, variant: str = "main") -> Figure:
    """Test pictures, their five crops, the mean of these and the whole shrunk; on a twin, how much of the object each crop shows."""
    shown = pictures(run, evenly(range(len(run.opened(variant).task.data["test"])), count), variant)
    figure, axes = style.panels([PICTURE] + [CROP] * 7, [PICTURE] * len(shown.image), left=1.15, bottom=0.1, row_gap=0.1, gap=0.08)
    for k, row in enumerate(axes):
        zoom.label_row(row[0], shown.titles[k])
        show_crops(row[0], shown.image[k], shown.crops.shape[-1], shown.boxes[k])
        for v, ax in enumerate(row[1:]):
            zoom.show_image(ax, shown.crops[k, :5].mean(0) if v == 5 else shown.crops[k, min(v, 5)])
            for spine in ax.spines.values() if v < 5 else ():
                spine.set(color=COLOURS[v], linewidth=2)
            if v < 5 and shown.coverage is not None:
                ax.set_xlabel(f"shows {100 * shown.coverage[k, v]:.0f} %", fontsize=7.5, labelpad=2)
    for ax, title in zip(axes[0], ("picture", *VIEWS[:5], "mean of the five", "whole, shrunk"), strict=True):
        place = ax.get_position(original=True)  # crops are lower than the picture
        figure.text((place.x0 + place.x1) / 2, place.y1 + 0.06 / figure.get_figheight(), title, ha="center", va="bottom", fontsize=8.5)
    return sign(figure, run, "green: the object; %: how much of it a crop shows" if shown.coverage is not None else "")


# -------------------------------------------------------------------------------------------------------------- choices


def choices(run: Run, name: str = "proposal", *, count: int = 6) -> Figure:
    """What row `name` does with some test pictures: each crop's weight, the blend that its classifier sees, what it says of it."""
    if name not in run.results or "weights" not in run.results[name][0].values:
        return tables.note(f"the row {name} has not been run, or does not weigh crops")
    positions = spread(run, count, name)
    shown, weights = pictures(run, positions, run.table.row(name).variant), run.results[name][0].values["weights"][positions]
    figure, axes = style.panels([PICTURE] * len(weights), [PICTURE, 0.7, PICTURE], left=1.15, bottom=0.42, row_gap=0.26, gap=0.16)
    for k, (top, bars, bottom) in enumerate(axes.T):
        show_crops(top, shown.image[k], shown.crops.shape[-1], shown.boxes[k], weights[k])
        top.set_title(shown.titles[k], fontsize=8.5)
        show_weights(bars, weights[k], None if shown.coverage is None else shown_by(shown.coverage[k], weights.shape[1]))
        bars.set_yticklabels([] if k else ["0", "½", "1"])
        zoom.show_image(bottom, blend(shown.crops[k], weights[k]))
        show_verdict(bottom, run, name, positions[k])
    for ax, label in zip(axes[:, 0], ("picture", "weights", "what the classifier sees"), strict=True):
        ax.annotate(label.replace(" classifier", "\nclassifier"), (0, 0.5), xytext=(-24, 0), xycoords="axes fraction",
                    textcoords="offset points", ha="right", va="center", fontsize=9)  # left of the bars' scale
    pale = "" if shown.coverage is None else "; green: the object, pale: crops that show less than half of it"
    return sign(figure, run, f"{run.table.row(name).label}{pale}; dotted: equal weights")


def sampler(run: Run, name: str = "sampler", *, count: int = 6) -> Figure:
    """The saliency sampler on the pictures of `choices`: saliency, grid and resampled image; below, the proposal's blend of the same."""
    if name not in run.results:
        return tables.note(f"the row {name} has not been run")
    positions, blended = spread(run, count), "proposal" in run.results
    shown = pictures(run, positions)
    with torch.no_grad():
        maps = run.network(name).sampler(shown.image, shown.view)
    titles = ["picture", "saliency", "sampling grid", "what its classifier sees"] + ["what the proposal's classifier sees"] * blended
    size, heights = tuple(shown.image.shape[-2:]), [PICTURE] * 4 + [0.2, PICTURE] * blended  # with room for a verdict
    figure, axes = style.panels([PICTURE] * len(positions), heights, left=1.45, bottom=0.42, row_gap=0.1, gap=0.16)
    for ax in axes[4:5].flat:
        ax.remove()
    for k, column in enumerate(np.delete(axes, slice(4, 5), axis=0).T):
        zoom.show_image(column[0], shown.image[k], boxes=shown.boxes[k])
        column[0].set_title(shown.titles[k], fontsize=8.5)
        zoom.show_saliency(column[1], zoom.resized_map(maps.saliency[k], size))
        zoom.show_grid(column[2], maps.grid[k:k + 1], image=shown.image[k], lines=17)
        zoom.show_image(column[3], maps.image[k])
        zoom.carry_boxes(column[3], maps.grid[k:k + 1], shown.boxes[k], size)
        for ax, row in zip(column[3:], (name, "proposal"), strict=False):
            show_verdict(ax, run, row, positions[k])
        if blended:
            zoom.show_image(column[4], blend(shown.crops[k], run.results["proposal"][0].values["weights"][positions[k]]))
        if k == 0:
            for ax, label in zip(column, titles, strict=True):
                zoom.label_row(ax, label)
    zoomed = run.results[name][0].values.get("magnification")
    return sign(figure, run, "" if zoomed is None else f"green: the object; the sampler shows it {np.nanmean(zoomed):.2f}× as wide on average")
