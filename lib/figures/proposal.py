"""The pictures of notebook 07: crops and their weights, what the classifier sees of them, what the head's size costs and buys.

The model is Jasmine Li's "Salience map for region proposal" (`lib.models.proposal`). Everything takes a `Run` of the table
"proposal" that has been run, of whichever rows, on imagenette or its synthetic twin; pictures are seed 0's. Weights,
predictions and blends are those that were scored, from the records: with noise a network would not give them again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor, nn
from torch.nn.functional import gumbel_softmax

from lib.figures import style, tables, zoom
from lib.models.proposal import VIEWS, ScoringHead, crop_boxes, five_crops, small_grey
from lib.tables import frames
from lib.tables.engine import Run
from lib.training.loop import evaluate, run_network, to_device
from lib.training.proposal import SHOWN

COLOURS = (style.BLUE, style.VERMILION, style.PURPLE, style.ORANGE, style.SKY, style.GREY)  # of the views
SHORT = ("TL", "TR", "BL", "BR", "C", "all")
SIZES = {"proposal_smallest": 32, "proposal": 64, "proposal_third": 128, "proposal_largest": 224}  # row -> the release's size
UNCHOSEN = ("full", "centre", "random", "mean", "shown_crop", "control_full")  # rows whose weights no head makes
TWICE = ("proposal", "argmax", "hard", "released_quiet", "noisy", "released", "random")
HIGHLIGHT = ("full", "mean", "random", "proposal", "hard", "released", "sampler")  # of the training curves
GROUPS = {"baselines": ("full", "centre", "random", "mean"), "size of what\nthe head sees": tuple(SIZES),
          "choice and\nevaluation": ("hard", "cooled", "six_views", "argmax", "noisy"),
          "the release, undone\none by one": ("released", "released_quiet", "released_ten", "released_normalised"),
          "zoom": ("sampler",), "bounds": ("any_crop", "shown_crop")}
PICTURE, CROP = 1.35, 0.9  # inches
TIMED, REPEATS = 16, 5  # pictures of a batch, batches


@dataclass(frozen=True)
class Pictures:
    """Test pictures as the networks get them: image (N, 3, H, W) uint8, view, crops (N, 6, 3, s, s); on a twin box and coverage."""

    positions: list[int]
    image: Tensor
    view: Tensor
    crops: Tensor
    titles: list[str]
    boxes: list[zoom.Boxes]
    coverage: NDArray | None  # (N, 5), the share of the object that each crop shows


def pictures(run: Run, positions: Sequence[int], variant: str = "main") -> Pictures:
    """Test pictures at `positions`."""
    task = run.task(variant)[0]
    index, data, columns = np.array(positions), task.data["test"], task.columns["test"]
    image, view = task.stores["test"].fetch(index)
    crops = five_crops(image, task.crop_size, views=6).float() / 255
    known = "box" in columns
    boxes = [{"object": tuple(columns["box"][i].tolist())} if known else {} for i in positions]
    return Pictures(list(positions), image, view, crops, [data.classes[data.label[i]] for i in positions], boxes,
                    columns["coverage"][index].numpy() if known else None)


def evenly(candidates: Sequence[int], count: int) -> list[int]:
    """`count` of the candidates, evenly spaced."""
    at = np.linspace(0, len(candidates) - 1, min(count, len(candidates)) + 2).round().astype(int)[1:-1]
    return list(dict.fromkeys(int(candidates[i]) for i in at))


def spread(run: Run, count: int, name: str = "proposal") -> list[int]:
    """`count` test pictures of many classes; where row `name` has been run, every other one is one that it gets wrong."""
    if name not in run.results:
        return evenly(range(len(run.task()[0].data["test"])), count)
    right = run.results[name][0].values["top1"] > 0
    some = [evenly(np.flatnonzero(right), (count + 1) // 2), evenly(np.flatnonzero(~right), count // 2)]
    rest = [i for i in evenly(range(len(right)), 3 * count) if i not in sum(some, [])]
    mixed = [part[k] for k in range(count) for part in some if k < len(part)]  # right, wrong, right, ...
    return (mixed + rest)[:count]


def source(run: Run) -> str:
    """Which pictures these are."""
    return "SYNTHETIC TWIN: drawn objects" if run.task()[1]["is_twin"] else "imagenette"


def _sign(figure: Figure, run: Run, text: str = "") -> Figure:
    """What is shown, in one line below everything."""
    figure.text(0.5, -0.06 / figure.get_figheight(), source(run) + (f"; {text}" if text else ""), ha="center", va="top", color=style.GREY, fontsize=8)
    return figure


def _over(run: Run) -> str:
    return "95 % interval over " + ("seeds" if len(next(iter(run.results.values()))) > 1 else "test pictures")


def verdict(run: Run, name: str, position: int) -> str:
    """What row `name` made of a test picture, in two lines."""
    values, data = run.results[name][0].values, run.task(run.table.row(name).variant)[0].data["test"]
    said, sure = int(values["predicted"][position]), f"{100 * values['confidence'][position]:.0f} %"
    if values["top1"][position]:
        return f"right\n({sure})"
    return f"wrong: {data.classes[said] if said < len(data.classes) else 'no class'}\n({sure})"


# ------------------------------------------------------------------------------------------------------------ one panel


def show_crops(ax: Axes, image: Tensor, crop: int, boxes: zoom.Boxes, weights: Sequence[float] | None = None) -> Axes:
    """The picture with its crops outlined, each a little inside the one before; with weights, the heavier the thicker.

    Where the object is known a white and black frame is around it.
    """
    zoom.show_image(ax, image)
    views = 5 if weights is None else len(weights)
    step = image.shape[-1] / 96
    for k, (x, y, w, h) in enumerate(crop_boxes(tuple(image.shape[-2:]), crop, views).tolist()):
        inset = step * (0.9 + 1.7 * k) if weights is None else step * 1.2
        share = 0.5 if weights is None else float(weights[k])
        ax.add_patch(Rectangle((x - 0.5 + inset, y - 0.5 + inset), w - 2 * inset, h - 2 * inset, fill=False, edgecolor=COLOURS[k],
                               linewidth=0.5 + 3 * share, alpha=1 if weights is None else min(1.0, 0.15 + share), zorder=2 + share))
    for x, y, w, h in boxes.values():
        for colour, width in (("black", 2.4), ("white", 1.1)):
            ax.add_patch(Rectangle((x - 0.5, y - 0.5), w, h, fill=False, edgecolor=colour, linewidth=width, zorder=4))
    return ax


def show_weights(ax: Axes, weights: NDArray, shown: NDArray | None) -> Axes:
    """A bar for each view, pale where it does not show the object; dotted: equal weights."""
    solid = np.ones(len(weights), bool) if shown is None else shown
    for k, weight in enumerate(weights):
        ax.bar(k, weight, color=COLOURS[k], alpha=1 if solid[k] else 0.3, width=0.8)
    ax.axhline(1 / len(weights), color="#4D4D4D", linestyle=":", linewidth=0.9)
    ax.set(ylim=(0, 1), yticks=[0, 0.5, 1])
    ax.set_xticks(range(len(weights)), labels=SHORT[:len(weights)], fontsize=7)
    ax.tick_params(length=2)
    return ax


def shown_by(coverage: NDArray, views: int) -> NDArray[np.bool_]:
    """coverage (..., 5) -> (..., V): whether a view shows the object; the whole image always does."""
    whole = np.ones((*coverage.shape[:-1], views - 5))
    return np.concatenate([coverage, whole], axis=-1) >= SHOWN


# ----------------------------------------------------------------------------------------------------------------- data


def examples(run: Run, *, count: int = 4, variant: str = "main") -> Figure:
    """Test pictures, their five crops, the mean of these and the whole picture shrunk; on a twin, how much of the object each shows."""
    shown = pictures(run, spread(run, count) if variant == "main" else evenly(range(len(run.task(variant)[0].data["test"])), count), variant)
    figure, axes = style.panels([PICTURE] + [CROP] * 7, [PICTURE] * len(shown.positions), left=0.95, bottom=0.15, row_gap=0.14, gap=0.08)
    for k, row in enumerate(axes):
        zoom.label_row(row[0], shown.titles[k])
        show_crops(row[0], shown.image[k], shown.crops.shape[-1], shown.boxes[k])
        for v, ax in enumerate(row[1:]):
            zoom.show_image(ax, shown.crops[k, :5].mean(0) if v == 5 else shown.crops[k, min(v, 5)])
            for spine in ax.spines.values() if v < 5 else ():
                spine.set(color=COLOURS[v], linewidth=2)
            if v < 5 and shown.coverage is not None:
                ax.set_xlabel(f"{100 * shown.coverage[k, v]:.0f} %", fontsize=8, labelpad=2)
    at = [axes[0, 0].get_position().y1] * 8
    for ax, title, top in zip(axes[0], ["picture", *VIEWS[:5], "mean of five", "whole, shrunk"], at, strict=True):
        place = ax.get_position(original=True)
        figure.text((place.x0 + place.x1) / 2, top + 0.06 / figure.get_figheight(), title, ha="center", va="bottom", fontsize=8.5)
    return _sign(figure, run, "black and white: the object; %: how much of it a crop shows" if shown.coverage is not None else "")


def heads(run: Run) -> DataFrame:
    """The scoring head at the release's four sizes and at this preset's: what is left after three convolutions, and its parameters."""
    lines = []
    for which, sizes in (("the release", SIZES.values()), (f"preset {run.settings.preset}", run.preset.sizes)):
        for size in sizes:
            head = ScoringHead(size, norm=run.preset.norm)
            count, inputs = sum(p.numel() for p in head.parameters()), head.fc.in_features
            side = round((inputs / 32) ** 0.5)
            lines.append([which, size, f"32×{side}×{side}", f"{inputs:,}", f"{count - inputs - 1:,}", f"{inputs + 1:,}", f"{count:,}"])
    names = ["", "head sees (px)", "left after three convolutions", "as a vector", "convolutions", "linear layer", "parameters"]
    return DataFrame(lines, columns=names).set_index(names[:2])


def training(run: Run) -> Figure:
    """Training loss and validation accuracy by epoch, seed 0; a few rows in colour, the others of the same data grey."""
    found = {name: results[0].record.history for name, results in run.results.items()
             if results[0].row.variant == "main" and results[0].record.history}
    if not found:
        return tables.note("none of the chosen rows is trained")
    chosen = [name for name in HIGHLIGHT if name in found] or list(found)[:len(style.CYCLE)]
    figure, axes = style.panels([2.6, 2.6], [2.1], left=0.5, right=2.6, top=0.3, bottom=0.5, gap=0.6)
    for ax, title, value, chance in ((axes[0, 0], "training loss (nats)", tables.train_loss, np.log(10)),
                                     (axes[0, 1], "validation accuracy (%)", lambda entry: 100 * entry["val"], 10)):
        for name in [name for name in found if name not in chosen] + chosen:
            colour, behind = (style.CYCLE[chosen.index(name)], 3) if name in chosen else ("#D6D6D6", 1)
            ax.plot([e["epoch"] for e in found[name]], [value(e) for e in found[name]], "o-", color=colour, markersize=2.5, zorder=behind,
                    label=run.table.row(name).label if name in chosen else None)
        ax.axhline(chance, color="#4D4D4D", linestyle=":", linewidth=0.9)
        ax.set(title=title, xlabel="epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.grid(axis="y")
    axes[0, 1].set_ylim(bottom=0)
    handles, labels = axes[0, 1].get_legend_handles_labels()
    handles.append(Line2D([], [], color="#D6D6D6"))
    figure.legend(handles, [*labels, "other rows"], loc="center left", bbox_to_anchor=(axes[0, 1].get_position().x1 + 0.01, 0.55))
    return _sign(figure, run, "dotted: guessing among ten classes")


# -------------------------------------------------------------------------------------------------------------- choices


def choices(run: Run, name: str = "proposal", *, count: int = 6) -> Figure:
    """What row `name` does with some test pictures: each crop's weight, the blend that its classifier saw, what it said of it."""
    if name not in run.results:
        return tables.note(f"the row {name} has not been run")
    values = run.results[name][0].values
    if "weights" not in values:
        return tables.note(f"the row {name} does not weigh crops")
    variant = run.table.row(name).variant
    shown = pictures(run, spread(run, count, name), variant)
    weights = values["weights"][shown.positions]  # (N, V)
    figure, axes = style.panels([PICTURE] * len(weights), [PICTURE, 0.7, PICTURE], left=1.0, bottom=0.42, row_gap=0.26, gap=0.16)
    for k, (top, bars, bottom) in enumerate(axes.T):
        show_crops(top, shown.image[k], shown.crops.shape[-1], shown.boxes[k], weights[k])
        top.set_title(shown.titles[k], fontsize=8.5)
        show_weights(bars, weights[k], None if shown.coverage is None else shown_by(shown.coverage[k], weights.shape[1]))
        bars.set_yticklabels([] if k else ["0", "½", "1"])
        blend = (torch.from_numpy(weights[k])[:, None, None, None] * shown.crops[k, :weights.shape[1]]).sum(0)
        zoom.show_image(bottom, blend)
        bottom.set_xlabel(verdict(run, name, shown.positions[k]), fontsize=7.5, labelpad=2)
    for ax, label in zip(axes[:, 0], ("picture", "weights", "what the classifier sees"), strict=True):
        _label(ax, label)
    pale = "" if shown.coverage is None else "; pale bars: crops that show less than half of the object"
    return _sign(figure, run, f"{run.table.row(name).label}{pale}; dotted: equal weights")


def _label(ax: Axes, text: str) -> None:
    """`zoom.label_row`, left of the tick labels too."""
    place, figure = ax.get_position(original=True), ax.figure
    wrapped = text.replace(" sees", "\nsees").replace("what the", "what the\n")
    figure.text(place.x0 - 0.28 / figure.get_figwidth(), (place.y0 + place.y1) / 2, wrapped, ha="right", va="center", fontsize=9)


def sampler(run: Run, name: str = "sampler", *, count: int = 6) -> Figure:
    """The saliency sampler on the pictures of `choices`: its saliency, grid and resampled image; below, the proposal's blend."""
    if name not in run.results:
        return tables.note(f"the row {name} has not been run")
    shown = pictures(run, spread(run, count))
    with torch.no_grad():
        maps = run.network(name).sampler(shown.image, shown.view)
    blended = "proposal" in run.results
    weights = run.results["proposal"][0].values["weights"][shown.positions] if blended else np.empty(len(shown.positions))
    titles = ["picture", "saliency", "sampling grid", "resampled"] + ["the proposal's blend"] * blended
    size = tuple(shown.image.shape[-2:])
    figure, axes = style.panels([PICTURE] * len(weights), [PICTURE] * len(titles), left=1.0, bottom=0.42, row_gap=0.36, gap=0.16)
    for k, column in enumerate(axes.T):
        show_crops(column[0], shown.image[k], shown.boxes[k])
        column[0].set_title(shown.titles[k], fontsize=8.5)
        zoom.show_saliency(column[1], zoom.resized_map(maps.saliency[k], size))
        zoom.show_grid(column[2], maps.grid[k:k + 1], image=shown.image[k])
        zoom.show_image(column[3], maps.image[k])
        zoom.carry_boxes(column[3], maps.grid[k:k + 1], shown.boxes[k], size)
        column[3].set_xlabel(verdict(run, name, shown.positions[k]), fontsize=7.5, labelpad=2)
        if blended:
            zoom.show_image(column[4], blend(shown.crops[k], weights[k]))
            column[4].set_xlabel(verdict(run, "proposal", shown.positions[k]), fontsize=7.5, labelpad=2)
    for ax, label in zip(axes[:, 0], titles, strict=True):
        zoom.label_row(ax, label)
    zoomed = run.results[name][0].values.get("magnification")
    return _sign(figure, run, "" if zoomed is None else f"the object is enlarged {np.nanmean(zoomed):.2f}× on average over the test pictures")


# ------------------------------------------------------------------------------------------------------- how sure, how dear


def chosen(run: Run) -> Figure:
    """Each row with a head: how often a crop has the greatest weight, how even the weights are, how often the object is in it."""
    found = {name: results for name, results in run.results.items() if "weights" in results[0].values and name not in UNCHOSEN}
    if not found:
        return tables.note("none of the chosen rows chooses among crops")
    numbers = frames.numbers(run).set_index(["row", "column"])
    known = any("shown" in results[0].values for results in found.values())
    labels = [results[0].row.label for results in found.values()]
    figure, axes = style.panels([2.2] * (2 + known), [0.27 * (len(found) + 1)], left=0.3 + 0.066 * max(map(len, labels)), bottom=0.85, gap=0.2)
    for k, (name, results) in enumerate(found.items()):
        weights = np.concatenate([result.values["weights"] for result in results])  # (N, V)
        often, left = np.bincount(weights.argmax(1), minlength=weights.shape[1]) / len(weights), 0.0
        for share, colour in zip(often, COLOURS, strict=False):
            axes[0, 0].barh(k, 100 * share, left=100 * left, color=colour, height=0.7)
            left += share
        cell = numbers.loc[name, "entropy"]
        axes[0, 1].plot([cell.ours_low, cell.ours_high], [k, k], color=style.OURS, linewidth=2, solid_capstyle="butt")
        axes[0, 1].plot(cell.ours, k, "o", color=style.OURS, markersize=5)
        axes[0, 1].plot(np.log2(weights.shape[1]), k, "|", color="black", markersize=10)
        if results[0].row.variant == "main" and _is_noisy(run, name):
            axes[0, 1].plot(noise_entropy(weights.shape[1]), k, "|", color=style.VERMILION, markersize=10)
        if known:
            _show_shown(axes[0, 2], k, numbers.loc[name], on_object(run, name))
    _finish_chosen(figure, axes[0], labels, _over(run))
    return _sign(figure, run, "")
