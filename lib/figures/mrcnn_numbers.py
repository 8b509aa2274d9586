"""The numbers of notebook 06: the release's options, learning and overfitting, what pixel agreement rewards, dense against patch-wise.

Liu et al., CVPR 2015; "the release" is github.com/LewisClifton/ADL-Coursework, whose options are told as its code has them. Everything
but `flags` takes a `Run` of the table "mrcnn".
"""

import time
from collections.abc import Callable
from operator import itemgetter

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from lib.data.patches import PatchStore
from lib.figures import mrcnn, saliency, style, tables
from lib.metrics.saliency.agreement import bristol_agreement
from lib.models.mrcnn_inference import lattice_centres, patchwise
from lib.runs.engine import Run

CROPS = 480  # training crops that the loss is taken over, as many as 16 images give
SHARPENED = 12  # test images whose maps are raised to the powers
POWERS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
MARKS = {"uniform": "X", "centre_bias": "P", "ceiling": "^", "truth": "v"}  # of maps that no network made
BATCH = 250  # patches at a time

RECIPE = "PRESETS in lib/tables/mrcnn.py, recipe"
RELEASED_FLAGS = (  # script, option, its default, what it does there, where that is here
    ("train.py", "--data_dir", "required", "the folder of the prepared files", "data_dir, --data"),
    ("train.py", "--out_dir", "required", "declared required='.', which counts as yes", "results_dir, --results"),
    ("train.py", "--epochs", "20", "", f"{RECIPE}.epochs"),
    ("train.py", "--num_gpus", "1 (README: 2)", "NOTHING by itself: --using_windows, on by default, keeps it to one device",
     "torchrun or accelerate launch, with device='cuda'"),
    ("train.py", "--use_val", "0", "OPPOSITE: the README wants 0 with several GPUs; just then the loop asks for the validation data and stops. "
     "With 1, maps are put together from other crops' values", "none: each epoch is validated, also by several processes, exactly"),
    ("train.py", "--batch_size", "256", "crops; never shuffled", f"{RECIPE}.batch_size; shuffled in each epoch"),
    ("train.py", "--learning_rate", "0.002", "constant", f"{RECIPE}.lr, schedule='constant'"),
    ("train.py", "--start_momentum, --end_momentum", "0.9, 0.99", "a step after each iteration", f"{RECIPE}.momentum, .momentum_end"),
    ("train.py", "--lr_weight_decay", "2e-4", "NOT what it says: the rate never decays; it is SGD's weight_decay, on biases too",
     f"{RECIPE}.weight_decay, on everything, as there"),
    ("train.py", "--conv1_weight_constraint", "0.1", "OPPOSITE: divides each 7×7 slice whose norm is above 0.1 by that norm, so that it becomes 1. "
     "First values have 0.33: every slice grows to 1 and is kept there", "MrCNN(max_norm=0.1): a filter above 0.1 is shrunk to 0.1"),
    ("train.py", "--using_windows", "1 (help: 0)", "one device; 0 for several", "none"),
    ("train.py", "--improvements", "0", "OPPOSITE: the blur sharpens nothing and mixes the colours, see below", "MrCNN(blur=True), the row improved"),
    ("train.py", "--early_stopping_patience", "-1 (off)", "NOTHING: looked at from epoch 31 on, of 20; and the last model is saved anyway",
     f"{RECIPE}.patience; keep_best takes the best epoch"),
    ("train.py", "(no option)", "", "no seed is ever set", "seeds"),
    ("eval.py", "--data_dir", "required", "test_data.pth.tar and ALLFIXATIONMAPS (README: the training and validation files)", "data_dir, --data"),
    ("eval.py", "--out_dir", "required", "two runs within a minute share a folder", "results_dir, --results"),
    ("eval.py", "--model_path", "none", "the README calls it required, the code does not", "the row's own weights; predict mrcnn --weights"),
    ("eval.py", "--improvements", "0", "must be as in training", "none: the row says it"),
    ("eval.py", "--num_saved_images", "0, -1 for all", "pictures of prediction and ground truth", "the figures below; python -m lib predict mrcnn"),
    ("eval.py", "(no option)", "", "'AUC': pixel agreement, see below", "the column agreement; AUC-Judd and sAUC are areas under a curve"),
)


def flags() -> DataFrame:
    """Every option of the release's scripts, what it does there, and where that is here."""
    return DataFrame(RELEASED_FLAGS, columns=["script", "option", "its default", "what it does there", "here"]).set_index(["script", "option"])


# ---------------------------------------------------------------------------------------------------------------- training


def histories(run: Run) -> dict[str, list[dict]]:
    """Row -> its epochs, of rows that were trained; seed 0."""
    return {name: results[0].record.history for name, results in run.results.items() if results[0].record.history}


@torch.no_grad()
def crop_losses(run: Run) -> DataFrame:
    """Loss (nats) and share of right answers on crops that were learned from and on those of the validation images, by row; seed 0.

    The weights are those that were kept. Training crops are some `CROPS`, evenly spaced; dropout is off on both.
    """
    task = run.opened().task
    train, val = task.stores["train"], PatchStore(task.chosen["val"], sampling=task.sampling, seed=task.seed)
    some = {"training": (train, np.linspace(0, len(train) - 1, min(CROPS, len(train))).astype(int)), "validation": (val, np.arange(len(val)))}
    lines = {}
    for name in histories(run):
        model, lines[name] = run.network(name).to(run.settings.device), {}
        for split, (store, indices) in some.items():
            parts = [store.fetch(part) for part in np.array_split(indices, -(-len(indices) // BATCH))]
            logits = torch.cat([model(*(part[view].to(run.settings.device) for view in model.inputs)) for part in parts]).float().cpu()
            label = torch.from_numpy(np.asarray(store.labels[indices])).float()
            lines[name][split] = float(binary_cross_entropy_with_logits(logits, label))
            lines[name][f"{split}, right"] = float(((logits > 0) == (label > 0)).float().mean())
    return DataFrame.from_dict(lines, orient="index")


def learning(run: Run) -> Figure:
    """Training loss and validation score by epoch; and the loss of the kept weights on training and on validation crops."""
    trained = histories(run)
    if not trained:
        return tables.note("none of the chosen rows is trained")
    share, metric = float(np.mean(run.opened().task.stores["train"].labels)), saliency.judged_by(run)
    guess = -share * np.log(share) - (1 - share) * np.log(1 - share)
    longest = max(len(run.table.row(name).label) for name in trained)
    figure, axes = style.panels([2.3] * 3, [2.0], left=0.4, right=0.2 + 0.066 * longest, bottom=0.5, gap=0.5)
    curves = (("training loss (nats)", tables.train_loss), (f"validation {metric.name}", itemgetter("val")))
    for ax, (title, value) in zip(axes[0], curves, strict=False):
        for name, history in trained.items():
            tables.curve(ax, history, value, color=_colour(run, name))
        ax.set(title=title, xlim=(0.5, max(map(len, trained.values())) + 0.5))
    _show_crop_losses(axes[0, 2], run)
    for draw in (axes[0, 0].axhline, axes[0, 2].axvline):
        draw(guess, color="#4D4D4D", linestyle=":", linewidth=0.9)
    for ax in axes[0, :2]:
        ax.set_ylim(*_from_zero(ax.dataLim.intervaly))
    axes[0, 2].set_xlim(*_from_zero(axes[0, 2].dataLim.intervalx))
    return saliency.sign(figure, run, f"dotted: always answering {share:.0%}, the share of positives; right: the kept weights, without dropout")


def _from_zero(limits: NDArray[np.float64]) -> tuple[float, float]:
    """An axis that shows these values, zero, and a little more."""
    low, high = min(0, limits[0]), max(0, limits[1])
    return low - 0.06 * (high - low) * (low < 0), high + 0.06 * (high - low)


def _show_crop_losses(ax: Axes, run: Run) -> None:
    """`crop_losses`, a bar from the one loss to the other for each row."""
    losses = crop_losses(run)
    for k, (name, line) in enumerate(losses.iterrows()):
        colour = _colour(run, name)
        ax.plot([line["training"], line["validation"]], [k, k], color=colour)
        ax.plot(line["training"], k, "o", color=colour, markersize=5, markerfacecolor="white")
        ax.plot(line["validation"], k, "o", color=colour, markersize=5)
    ax.set_yticks(range(len(losses)), labels=[run.table.row(name).label for name in losses.index])
    ax.set(title="loss on crops (nats)", xlabel="○ training   ● validation", ylim=(len(losses) - 0.5, -0.5))
    ax.tick_params(axis="y", length=0, labelleft=False, labelright=True)
    ax.grid(axis="x")


def _colour(run: Run, name: str) -> str:
    """A network's own, also where another row evaluates it; maps that no network made are grey."""
    rows, row = [row.name for row in run.table.rows if row.trained], run.table.row(name)
    network = name if row.trained else row.needs[0] if row.needs else None
    return style.GREY if network is None else style.CYCLE[rows.index(network) % len(style.CYCLE)]


def _mark(run: Run, name: str) -> str:
    return MARKS.get(name, "D" if run.table.row(name).needs else "o")


# -------------------------------------------------------------------------------------------------------- pixel agreement


def agreement(run: Run) -> Figure:
    """Pixel agreement against what it is to stand for, every row a point; and agreement of sharpened maps, whose ranks are the same."""
    numbers = run.filled.numbers()
    cells = numbers.pivot(index="row", columns="column", values=["ours", "ours_low", "ours_high"])
    order = cells["ours", "agreement"].sort_values(ascending=False).index
    known = [name for name in ("NSS", "AUC-Judd", "CC") if ("ours", name) in cells and cells["ours", name].notna().any()][:2]
    figure, axes = style.panels([2.3] * (len(known) + 1), [2.6], left=0.55, right=3.0, bottom=0.55, gap=0.45)
    for ax, column in zip(axes[0], known, strict=False):
        for name in order:
            _point(ax, run, cells.loc[name], name, column)
        _blank(ax, run, cells)
        ax.set(xlabel=run.table.column(column).axis + ", better →")
    axes[0, 0].set_ylabel("pixel agreement")
    axes[0, 0].set_title("every row of the table")
    _show_powers(axes[0, -1], run)
    handles = [Line2D([], [], linestyle="", marker=_mark(run, name), color=_colour(run, name), markersize=5,
                      label=f"{cells.loc[name, ('ours', 'agreement')]:.3f}  {run.table.row(name).label}") for name in order]
    beside = (axes[0, -1].get_position().x1 + 0.01, 0.55)
    figure.legend(handles=handles, title="agreement", loc="center left", bbox_to_anchor=beside, alignment="left")
    return saliency.sign(figure, run, "lines: 95 % intervals; dotted: a constant map")


def _point(ax: Axes, run: Run, cell, name: str, column: str) -> None:
    """One row with both its intervals."""
    colour = _colour(run, name)
    (x, *across), (y, *along) = ([cell[part, of] for part in ("ours", "ours_low", "ours_high")] for of in (column, "agreement"))
    if np.isfinite([x, y]).all():
        ax.plot(across, [y, y], color=colour, linewidth=0.8, alpha=0.6)
        ax.plot([x, x], along, color=colour, linewidth=0.8, alpha=0.6)
        ax.plot(x, y, _mark(run, name), color=colour, markersize=5.5, markeredgecolor="white", markeredgewidth=0.4)


def _blank(ax: Axes, run: Run, cells: DataFrame) -> None:
    """What a map without anything on it gets."""
    if "uniform" in run.results:
        ax.axhline(cells.loc["uniform", ("ours", "agreement")], color="#4D4D4D", linestyle=":", linewidth=0.9, zorder=0)
    ax.grid(True)


def sharpened(run: Run, name: str) -> NDArray[np.float64]:
    """(powers, images): pixel agreement of row `name`'s maps raised to each of `POWERS`, on every fourth pixel of some test images."""
    positions, full = saliency.spread(run, SHARPENED), run.opened().task.full
    found = zip(positions, mrcnn.predictions(run, name, positions), strict=True)
    maps = ((torch.from_numpy(one[::2, ::2]).double(), full.density(i)[::2, ::2]) for i, one in found)
    return np.array([[float(bristol_agreement(one**power, density)) for power in POWERS] for one, density in maps]).T


def _show_powers(ax: Axes, run: Run) -> None:
    """Agreement of maps raised to powers; no ROC curve notices any of them."""
    for name in ("three", "centre_bias"):
        if name in run.results:
            ax.plot(POWERS, sharpened(run, name).mean(1), marker=MARKS.get(name, "o"), color=_colour(run, name), markersize=4)
    if "uniform" in run.results:
        nothing = run.results["uniform"][0].values["bristol"][saliency.spread(run, SHARPENED)].mean()
        ax.axhline(nothing, color="#4D4D4D", linestyle=":", linewidth=0.9)
    ax.set_xscale("log", base=2)
    ax.set_xticks(POWERS, labels=[f"{power:g}" if power >= 1 else f"1/{1 / power:g}" for power in POWERS])
    ax.minorticks_off()
    ax.set(xlabel="map to the power of", title="maps with the same ranks")
    ax.grid(True)


# ---------------------------------------------------------------------------------------------------------------- dense


@torch.no_grad()
def dense_against_patches(run: Run, name: str = "three") -> DataFrame:
    """One test image's logits on the lattice from whole squares and patch by patch: the largest difference, and the ratio of times."""
    if name not in run.results:
        return DataFrame()
    model, store = run.network(name), run.opened().task.stores["test"]
    squares = [store.fetch(np.array(saliency.spread(run, 1)))[view] for view in model.inputs]  # (1, 3, S, S) each

    def patches() -> Tensor:
        return patchwise(model, [square[0] for square in squares], [lattice_centres(side) for side in model.squares], batch=BATCH)

    (dense, quick), (single, slow) = _timed(lambda: model(*squares).flatten(), 3), _timed(patches, 1)
    line = {"logits": f"{float(single.min()):.2f} to {float(single.max()):.2f}",
            "largest difference": f"{float((dense - single).abs().max()):.1e}", "time of patch by patch / dense": f"{slow / quick:.1f}"}
    return DataFrame([line], index=[run.table.row(name).label])


def _timed(call: Callable[[], Tensor], times: int) -> tuple[Tensor, float]:
    """What it gives, and the least seconds of so many calls."""
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        found = call()
        seconds.append(time.perf_counter() - started)
    return found, min(seconds)
