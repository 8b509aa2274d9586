"""Plots of a table: means with their intervals, differences to the reference row, training curves, distributions of errors.

They draw from plain data (`lib.results.filled.Filled.numbers`, a record's history, per-sample values), so that any table can use them.
"""

from collections.abc import Callable, Iterable, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from pandas import DataFrame

from lib.figures import style
from lib.results.statistics import FIXED_WORDS, Interval

ROW_HEIGHT = 0.3  # inches
PAPER_LABEL = "paper (real data)"
CURVES_ACROSS = 4


def note(text: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure, axes = style.panels([6.0], [0.5], top=0.05)
    axes[0, 0].text(0.01, 0.5, text, va="center", color=style.GREY)
    style.bare(axes[0, 0], frame=False)
    return figure


def told_of(drawn: Iterable[Interval]) -> str:
    """What bars are over, where a figure draws its own: without a column of the table, one seed knows no noise of training."""
    over = {one.over for one in drawn if np.isfinite(one.half)}
    trained = {words for words in over if not words.endswith(FIXED_WORDS)}
    *less, most = sorted(trained or over, key=len) or [""]
    return "mean with 95 % interval" + f" over {most}" * bool(most) + f"; over {' or '.join(less)} where that is not known" * bool(less)


def places(numbers: DataFrame) -> dict[str, float]:
    """Where each row stands, from 0 downwards; rows of another variant than "main" below a gap."""
    order = numbers.drop_duplicates("row")
    main = order[order["variant"] == "main"]["row"].tolist()
    apart = order[order["variant"] != "main"]["row"].tolist()
    gap = 0.7 if main else 0.0
    return {row: float(i) for i, row in enumerate(main)} | {row: len(main) + gap + i for i, row in enumerate(apart)}


def _rows(numbers: DataFrame, columns: Sequence[str], draw: Callable[[Axes, DataFrame, dict[str, float]], None]) -> Figure:
    """One panel per column that any row has, with a line per row, filled by `draw`; the rows' labels at the left of the first panel."""
    at, columns = places(numbers), [name for name in columns if (numbers["column"] == name).any()]
    labels = numbers.drop_duplicates("row").set_index("row")["label"]
    low = max(at.values()) + 0.6
    longest = max(len(label) for label in labels)
    figure, axes = style.panels([3.1] * len(columns), [ROW_HEIGHT * (low + 0.6)], left=0.3 + 0.071 * longest, bottom=0.8, gap=0.22)
    for ax, column in zip(axes[0], columns, strict=True):
        ax.set_title(column)
        draw(ax, numbers[numbers["column"] == column], at)
        ax.set_ylim(low, -0.6)
        ax.set_yticks(list(at.values()), labels=[labels[row] for row in at] if ax is axes[0, 0] else [])
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="x")
        ax.spines["left"].set_visible(False)
        apart = [place for row, place in at.items() if (numbers.loc[numbers["row"] == row, "variant"] != "main").all()]
        if apart and len(apart) < len(at):
            ax.axhspan(min(apart) - 0.6, low, color="#F3F3F3", zorder=0)
    return figure


def _mark(ax: Axes, line, place: float, name: str) -> None:
    """Our mean with its interval at `place`: columns `name`, `name`_low, `name`_high of one cell."""
    colour = style.OURS if line.variant == "main" else style.CONTROL
    mean, low, high = (getattr(line, key) for key in (name, f"{name}_low", f"{name}_high"))
    if np.isfinite([low, high]).all():
        ax.plot([low, high], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
    ax.plot(mean, place, "o", color=colour, markersize=5)


def _legend(figure: Figure, ax: Axes, *, paper: bool, control: bool, what: str) -> None:
    """A legend below the panels."""
    handles = [ax.plot([], [], "o-", color=style.OURS, linewidth=2, markersize=5, label=what)[0]]
    if control:
        handles.append(ax.plot([], [], "o-", color=style.CONTROL, linewidth=2, markersize=5, label="the negative control")[0])
    if paper:
        handles.append(ax.plot([], [], "D", color=style.PAPER, markerfacecolor="white", markersize=5, label=PAPER_LABEL)[0])
    figure.legend(handles=handles, loc="lower center", ncols=3, bbox_to_anchor=(0.5, 0))


def intervals(numbers: DataFrame, *, columns: Sequence[str], reference: str | None = None, data: str = "ours", what: str = "95 % interval") -> Figure:
    """Every cell's mean with its 95 % interval, and the paper's value as an open marker; the control stands apart.

    numbers: `Filled.numbers()`. reference: the row whose mean is drawn down as a line. data, what: ours are measured on, and what bars are.
    """
    def draw(ax: Axes, cells: DataFrame, at: dict[str, float]) -> None:
        for line in cells.itertuples():
            _mark(ax, line, at[line.row], "ours")
            if line.paper is not None and np.isfinite(line.paper):
                ax.plot(line.paper, at[line.row], "D", color=style.PAPER, markerfacecolor="white", markersize=5, zorder=3)
        for line in cells[cells["row"] == reference].itertuples():
            ax.axvline(line.ours, color=style.GREY, linewidth=0.8, linestyle=":", zorder=0)
        quantity = cells["quantity"].iloc[0] if len(cells) else ""
        ax.set_xlabel(quantity if quantity != ax.get_title() else "")
        ax.set_xlim(left=min(0, ax.dataLim.x0))

    figure = _rows(numbers, columns, draw)
    _legend(figure, figure.axes[0], paper=bool(numbers["paper"].notna().any()), control=bool((numbers["variant"] != "main").any()),
            what=f"{data}, {what}")
    return figure


def differences(numbers: DataFrame, *, columns: Sequence[str], reference: str = "plain", data: str = "ours") -> Figure:
    """Paired differences to the reference row with their intervals, the axis says where better is; and the paper's differences."""
    shown = numbers[numbers["versus_reference"].notna()]
    if shown.empty:
        return note(f"no row beside the reference, {reference}, has been run")

    def draw(ax: Axes, cells: DataFrame, at: dict[str, float]) -> None:
        ax.axvline(0, color="#4D4D4D", linewidth=0.9)
        for line in cells.itertuples():
            _mark(ax, line, at[line.row], "versus_reference")
            if line.paper_versus_reference is not None and np.isfinite(line.paper_versus_reference):
                ax.plot(line.paper_versus_reference, at[line.row], "D", color=style.PAPER, markerfacecolor="white", markersize=5, zorder=3)
        if len(cells):
            better = "better ←" if cells["lower_is_better"].iloc[0] else "better →"
            ax.set_xlabel(f"minus {reference.replace('_', ' ')}'s {cells['quantity'].iloc[0]}\n{better}")

    figure = _rows(shown, columns, draw)
    _legend(figure, figure.axes[0], paper=bool(shown["paper_versus_reference"].notna().any()),
            control=bool((shown["variant"] != "main").any()), what=f"{data}, paired, 95 % interval")
    return figure


def curves(histories: dict[str, list[dict]], *, unit: str = "") -> Figure:
    """Training and validation by epoch, one small panel per row before the others' validation curves in grey.

    histories: label -> one dict per epoch: "epoch", the parts of the training loss, "val". Untrained rows are left out.
    """
    trained = {label: history for label, history in histories.items() if history}
    if not trained:
        return note("none of the chosen rows is trained")
    across = min(CURVES_ACROSS, len(trained))
    down = -(-len(trained) // across)
    figure, axes = style.panels([1.9] * across, [1.25] * down, left=0.6, bottom=0.75, row_gap=0.36, gap=0.14)
    scale = [value for history in trained.values() for entry in history for value in (entry["val"], train_loss(entry))]
    for ax, (label, history) in zip(axes.flat, trained.items(), strict=False):
        for other in trained.values():
            ax.plot([e["epoch"] for e in other], [e["val"] for e in other], color="#DDDDDD", linewidth=0.8, zorder=1)
        epochs = [entry["epoch"] for entry in history]
        ax.plot(epochs, [train_loss(entry) for entry in history], color=style.ORANGE, marker="o", markersize=2)
        ax.plot(epochs, [entry["val"] for entry in history], color=style.BLUE, marker="o", markersize=2)
        ax.set_title(label, fontsize=8)
        ax.set_ylim(0, 1.05 * float(np.nanquantile(scale, 0.98)))
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    _finish_curves(axes, len(trained), unit)
    return figure


def curve(ax: Axes, history: list[dict], value: Callable[[dict], float], **options) -> None:
    """One row's `value` by epoch."""
    ax.plot([entry["epoch"] for entry in history], [value(entry) for entry in history], "o-", markersize=2.5, **options)
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.grid(axis="y")


def learning(histories: dict[str, list[dict]], *, highlight: Sequence[str], classes: int, accuracy: str, loss_from_zero: bool = True) -> Figure:
    """Training loss and validation accuracy of classifiers by epoch; rows that are not in `highlight` are grey, guessing is dotted.

    histories: label -> one dict per epoch, as for `curves`. accuracy: what the right panel is called.
    """
    found = {label: history for label, history in histories.items() if history}
    if not found:
        return note("none of the chosen rows is trained")
    coloured = [label for label in highlight if label in found] or list(found)[:len(style.CYCLE)]
    figure, axes = style.panels([2.6, 2.6], [2.1], left=0.4, right=2.7, top=0.3, bottom=0.45, gap=0.5)
    parts = (("training loss (nats)", train_loss, np.log(classes), loss_from_zero),
             (f"{accuracy} (%)", lambda entry: 100 * entry["val"], 100 / classes, True))
    for ax, (title, value, chance, from_zero) in zip(axes[0], parts, strict=True):
        for label in sorted(found, key=coloured.__contains__):
            kind = {"color": style.CYCLE[coloured.index(label)], "zorder": 3} if label in coloured else {"color": "#D6D6D6", "zorder": 1}
            curve(ax, found[label], value, **kind)
        ax.axhline(chance, color="#4D4D4D", linestyle=":", linewidth=0.9)
        ax.set(title=title, xlim=(0.5, max(map(len, found.values())) + 0.5))
        if from_zero:
            ax.set_ylim(bottom=0)
    handles = [axes[0, 0].plot([], [], color=style.CYCLE[k], label=label)[0] for k, label in enumerate(coloured)]
    if len(coloured) < len(found):
        handles.append(axes[0, 0].plot([], [], color="#D6D6D6", label="other rows")[0])
    figure.legend(handles=handles, loc="center left", bbox_to_anchor=(axes[0, 1].get_position().x1, 0.55))
    return figure


def train_loss(entry: dict) -> float:
    """The training loss of an epoch: the sum of its parts."""
    return float(sum(value for name, value in entry.items() if name not in ("epoch", "val")))


def _finish_curves(axes: NDArray, count: int, unit: str) -> None:
    """Labels at the outer panels only, no empty panels, and a legend below."""
    flat = list(axes.flat)
    for i, ax in enumerate(flat):
        ax.set_visible(i < count)
        if i % axes.shape[1]:
            ax.set_yticklabels([])
        else:
            ax.set_ylabel(unit)
        if i + axes.shape[1] < count:
            ax.set_xticklabels([])
        else:
            ax.set_xlabel("epoch")
    handles = [flat[0].plot([], [], "o-", color=colour, markersize=2, label=label)[0]
               for colour, label in ((style.ORANGE, "training"), (style.BLUE, "validation"), ("#DDDDDD", "validation of the other rows"))]
    flat[0].figure.legend(handles=handles, loc="lower center", ncols=3, bbox_to_anchor=(0.5, 0))


def errors(values: dict[str, NDArray], *, unit: str, title: str, highlight: tuple[str, ...] = ()) -> Figure:
    """The share of samples with at most some error, one curve per row; rows that are not in `highlight` are grey.

    values: label -> per-sample errors (n,).
    """
    chosen = [label for label in values if label in highlight] or list(values)[:len(style.CYCLE)]
    figure = plt.figure(figsize=(5.6, 3.1), layout="constrained")
    ax = figure.add_subplot()
    styles = ("-", "--", "-.", ":")
    for label, sample in values.items():
        ordered = np.sort(np.asarray(sample)[np.isfinite(sample)])
        share = np.arange(1, len(ordered) + 1) / max(len(ordered), 1)
        if label in chosen:
            i = chosen.index(label)
            ax.step(ordered, share, where="post", color=style.CYCLE[i % len(style.CYCLE)], linestyle=styles[i % len(styles)], label=label)
        else:
            ax.step(ordered, share, where="post", color="#D6D6D6", linewidth=0.9, zorder=1)
    if len(chosen) < len(values):
        ax.plot([], [], color="#D6D6D6", label="other rows")
    ax.set(xlabel=f"error ({unit})", ylabel="share of frames", ylim=(0, 1.01), xlim=(0, None), title=title)
    ax.grid(True)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
