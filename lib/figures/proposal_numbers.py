"""The plots and small tables of notebook 07: training, accuracy, what the head's size buys and costs, choices counted, repetitions.

Everything takes a `Run` of the table "proposal" that has been run, of whichever rows. The pictures are in `lib.figures.proposal`.
"""

from time import perf_counter

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray
from pandas import DataFrame

from lib.figures import style, tables
from lib.figures.proposal import COLOURS, pictures, shown_by, sign, source, spread
from lib.models.proposal import VIEWS, ScoringHead, small_grey
from lib.results.grids import NOTHING
from lib.runs.engine import Run
from lib.training.loop import evaluate, run_network, to_device

SIZES = {"proposal_smallest": 32, "proposal": 64, "proposal_third": 128, "proposal_largest": 224}  # row -> the size in the release
UNCHOSEN = ("full", "centre", "random", "mean", "shown_crop", "control_full")  # no head makes their weights
NOISY = ("noisy", "released", "released_ten", "released_normalised")  # Gumbel noise in evaluation
DRAWN = (*NOISY, "random")  # another evaluation gives another accuracy
TWICE = ("proposal", "hard", "argmax", "released_quiet", "noisy", "released", "random")  # rows that `evaluated_twice` evaluates
HIGHLIGHT = ("full", "mean", "random", "proposal", "hard", "released", "sampler")  # of the training curves
GROUPS = {"baselines": ("full", "centre", "random", "mean"), "size of what the head sees": tuple(SIZES),
          "choice and evaluation": ("hard", "cooled", "six_views", "argmax", "noisy"),
          "the release, undone step by step": ("released", "released_quiet", "released_ten", "released_normalised"),
          "zoom instead of choice": ("sampler",), "bounds": ("any_crop", "shown_crop")}
TIMED, REPEATS = 16, 5  # pictures in a batch, batches


def accuracies(run: Run) -> DataFrame:
    """`Filled.numbers` of the table's first column, accuracy."""
    return run.filled.numbers().query("column == @run.table.columns[0].name")


# ------------------------------------------------------------------------------------------------- training and accuracy


def training(run: Run) -> Figure:
    """Training loss and validation accuracy by epoch, seed 0: some rows in colour, the others on the same pictures grey."""
    found = {results[0].row.label: results[0].record.history for results in run.results.values() if results[0].row.variant == "main"}
    if not any(found.values()):
        return tables.note("none of the chosen rows is trained")
    highlight = [row.label for name in HIGHLIGHT for row in run.table.rows if row.name == name]
    figure = tables.learning(found, highlight=highlight, classes=10, accuracy="validation accuracy", loss_from_zero=False)
    return sign(figure, run, "dotted: guessing among ten classes; with 1000 outputs and label smoothing that is a loss of 3.1")


def accuracy(run: Run) -> Figure:
    """Every row's accuracy with its interval and the published value, by what the rows are there for; the control apart."""
    if not run.results:
        return tables.note("no row has been run")
    numbers, main = accuracies(run), run.table.columns[0].name
    figure = tables.intervals(numbers, columns=[main], reference=run.table.reference, data=source(run))
    ax, at = figure.axes[0], tables.places(numbers)
    control = {"control: large objects": [name for name in at if run.table.row(name).variant != "main"]}
    for title, names in (GROUPS | control).items():
        if there := [at[name] for name in names if name in at]:
            ax.text(1.02, np.mean(there), title, transform=ax.get_yaxis_transform(), va="center", color=style.GREY, fontsize=8)
            if min(there) > 0 and title not in control:
                ax.axhline(min(there) - 0.5, color=style.LIGHT_GREY, linewidth=0.8)
    return figure


# -------------------------------------------------------------------------------------------------------- the head's size


def heads(run: Run) -> DataFrame:
    """The scoring head at the release's four sizes and at this preset's: what three convolutions leave, and its parameters."""
    lines = []
    for which, sides in (("the release", SIZES.values()), (f"preset {run.settings.preset}", run.preset.sizes)):
        for seen in sides:
            head = ScoringHead(seen, norm=run.preset.norm)
            count, inputs = sum(p.numel() for p in head.parameters()), head.fc.in_features
            left = round((inputs / 32) ** 0.5)
            lines.append([which, seen, f"32×{left}×{left}", f"{count - inputs - 1:,}", f"{inputs + 1:,}", f"{count:,}"])
    names = ["", "head sees (px)", "left after three convolutions", "their parameters", "the linear layer's", "together"]
    return DataFrame(lines, columns=names).set_index(names[:2])


@torch.no_grad()
def milliseconds(run: Run, name: str, *, part: str = "all") -> float:
    """A forward pass of row `name` per test picture, measured now on the run's device: the fastest of a few batches.

    part: "all", or "classifier" for what comes behind cutting, weighing and blending.
    """
    task, device = run.opened(run.table.row(name).variant).task, run.settings.device
    model, batch = run.network(name).to(device), to_device(next(iter(task.batches("test", TIMED))), device)
    seen = batch["image"][:, :, :task.crop_size, :task.crop_size] / 255
    taken = []
    for _ in range(REPEATS + 1):  # the first one warms up
        started = perf_counter()
        (run_network(model, batch) if part == "all" else model.classifier(seen)).cpu()  # waits for the device
        taken.append(perf_counter() - started)
    return 1000 * min(taken[1:]) / len(seen)


def cost(run: Run) -> DataFrame:
    """Every row: parameters before and in the classifier, and the time of a forward pass, also as a ratio to the plain row's."""
    times = {name: milliseconds(run, name) for name, results in run.results.items() if results[0].row.variant == "main"}
    plain, lines = run.table.reference, {}
    for name, time in times.items():
        model = run.network(name)
        before, count = (sum(p.numel() for p in part.parameters()) for part in (model.sampler, model))
        lines[run.table.row(name).label] = [before, count - before, time]
    if plain in times:
        lines["The plain row's classifier alone"] = [0, lines[run.table.row(plain).label][1], milliseconds(run, plain, part="classifier")]
    columns = ["parameters before the classifier", "in the classifier", "ms per picture, forward", f"ratio to {plain}"]
    shown = [[f"{before:,}", f"{after:,}", f"{time:.2f}", f"{time / times[plain]:.2f}" if plain in times else NOTHING]
             for before, after, time in lines.values()]
    return DataFrame(shown, index=list(lines), columns=columns)


def sizes(run: Run) -> Figure:
    """What the head sees at each size, and what that buys and costs: accuracy, its parameters, time of a forward pass."""
    ran = {k: name for k, name in enumerate(SIZES) if name in run.results}
    if not ran:
        return tables.note("none of the rows with another size of what the head sees has been run: " + ", ".join(SIZES))
    cells = accuracies(run).set_index("row")
    figure, axes = style.panels([1.9, 2.1, 2.1, 2.1], [1.9], left=0.1, bottom=0.85, gap=0.5)
    _show_heads_view(axes[0, 0], run)
    for k, name in ran.items():
        cell, parts = cells.loc[name], run.network(name).sampler.parameters()
        axes[0, 1].plot([k, k], [cell.ours_low, cell.ours_high], color=style.OURS, linewidth=2, solid_capstyle="butt")
        axes[0, 1].plot(k, cell.paper, "D", color=style.PAPER, markerfacecolor="white", markersize=5)
        for ax, value in zip(axes[0, 1:], (cell.ours, sum(p.numel() for p in parts) / 1000, milliseconds(run, name)), strict=True):
            ax.plot(k, value, "o", color=style.OURS, markersize=5)
    if "mean" in run.results:
        axes[0, 1].axhline(cells.loc["mean", "ours"], color=style.GREY, linestyle=":", linewidth=1)
    axes[0, 3].axhline(milliseconds(run, ran[max(ran)], part="classifier"), color=style.GREY, linestyle=":", linewidth=1)
    for ax, title in zip(axes[0, 1:], ("accuracy (%)", "parameters of the head (thousands)", "forward pass (ms per picture)"), strict=True):
        ax.set(title=title, xlim=(-0.4, 3.4), ylim=(0, 1.12 * ax.dataLim.y1), xlabel="side of what the head sees (px)")
        ax.set_xticks(range(4), labels=[f"{ours}\n({released})" if ours != released else f"{ours}" for ours, released in
                                        zip(run.preset.sizes, SIZES.values(), strict=True)])
        ax.grid(axis="y")
    axes[0, 1].set_ylim(top=min(100, axes[0, 1].get_ylim()[1]))
    figure.legend(handles=[_dot("o", style.OURS, source(run)), _dot("D", "white", f"{tables.PAPER_LABEL}, at the size in brackets", style.PAPER),
                           Line2D([], [], color=style.GREY, linestyle=":", label="mean of the crops (accuracy), the classifier alone (time)")],
                  loc="lower center", ncols=3, bbox_to_anchor=(0.5, 0))
    return sign(figure, run, run.filled.interval)


def _show_heads_view(ax: Axes, run: Run) -> None:
    """One crop, grey, at the four sizes: two by two panels in the place of `ax`."""
    crop = pictures(run, spread(run, 1)).crops[:1, 4:5]  # (1, 1, 3, s, s), the centre
    for k, side in enumerate(run.preset.sizes):
        inner = ax.inset_axes((0.52 * (k % 2), 0.54 * (1 - k // 2), 0.46, 0.46))
        inner.imshow(small_grey(crop, side)[0, 0].numpy(), cmap="gray", vmin=0, vmax=1)
        style.bare(inner).set_xlabel(f"{side} px", fontsize=7.5, labelpad=2)
    style.bare(ax, frame=False).set_title("what the head sees of a crop")


# -------------------------------------------------------------------------------------------------------------- choices


def on_object(run: Run, name: str) -> float:
    """The share of row `name`'s weight that lies on crops which show the object, a mean over test pictures and seeds."""
    coverage = run.opened(run.table.row(name).variant).task.columns["test"]["coverage"].numpy()
    return float(np.mean([(w * shown_by(coverage, w.shape[1])).sum(1).mean() for w in (r.values["weights"] for r in run.results[name])]))


def noise_entropy(views: int = 5, draws: int = 20_000) -> float:
    """The mean entropy (bits) of Gumbel softmax weights at temperature 1 when all scores are equal: noise alone."""
    uniform = torch.rand(draws, views, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = (-(-uniform.log()).log()).softmax(1)  # softmax of Gumbel noise
    return float(-(weights * weights.log2()).sum(1).mean())


def chosen(run: Run) -> Figure:
    """Every row with a head: which crop weighs most, how even the weights are, how often the object is in that crop."""
    found = {name: results for name, results in run.results.items() if "weights" in results[0].values and name not in UNCHOSEN}
    if not found:
        return tables.note("none of the chosen rows chooses among crops")
    cells, known = run.filled.numbers().set_index(["row", "column"]), any("shown" in results[0].values for results in found.values())
    labels = [results[0].row.label for results in found.values()]
    figure, axes = style.panels([2.2] * (2 + known), [0.27 * (len(found) + 1)], left=0.3 + 0.066 * max(map(len, labels)), bottom=1.0, gap=0.3)
    for k, (name, results) in enumerate(found.items()):
        weights = np.concatenate([result.values["weights"] for result in results])  # (N, V)
        often, views = np.bincount(weights.argmax(1), minlength=weights.shape[1]) / len(weights), weights.shape[1]
        axes[0, 0].barh([k] * views, 100 * often, left=100 * (often.cumsum() - often), color=COLOURS[:views], height=0.7)
        noise = {style.VERMILION: noise_entropy(views)} if name in NOISY else {}
        _mark(axes[0, 1], k, cells.loc[(name, "entropy")], {"black": np.log2(views)} | noise, most=np.log2(views))
        if known:
            _mark(axes[0, 2], k, cells.loc[(name, "object shown")], {"black": cells.loc[(name, "by chance"), "ours"]})
            axes[0, 2].plot(100 * on_object(run, name), k, "o", color=style.OURS, markerfacecolor="white", markersize=5, zorder=3)
    _finish_chosen(axes[0], labels, max(results[0].values["weights"].shape[1] for results in found.values()))
    return sign(figure, run, run.filled.interval)


def _mark(ax: Axes, place: float, cell, ticks: dict[str, float], *, most: float = np.inf) -> None:
    """A mean with its interval, not beyond `most`, and `ticks` (colour -> value) to compare it with."""
    ax.plot([cell.ours_low, min(cell.ours_high, most)], [place, place], color=style.OURS, linewidth=2, solid_capstyle="butt")
    ax.plot(cell.ours, place, "o", color=style.OURS, markersize=5)
    for colour, value in ticks.items():
        ax.plot(value, place, "|", color=colour, markersize=11, markeredgewidth=1.6)


def _finish_chosen(axes: NDArray, labels: list[str], views: int) -> None:
    """Titles, ticks and a legend below each panel."""
    texts = (("which crop weighs most (% of pictures)", [Patch(color=COLOURS[v], label=VIEWS[v]) for v in range(views)]),
             ("entropy of the weights (bits)", [_dot("|", "black", "equal weights"), _dot("|", style.VERMILION, "equal scores, with noise")]),
             ("shows the object (% of pictures)", [_dot("o", style.OURS, "the crop that weighs most"),
                                                     _dot("o", "white", "all crops, by their weights", style.OURS), _dot("|", "black", "chance")]))
    for ax, (title, handles) in zip(axes, texts, strict=False):
        ax.set(title=title, ylim=(len(labels) - 0.4, -0.6), xlim=(-0.03 * (end := min(ax.dataLim.x1, 100)), 1.03 * end))
        ax.set_yticks(range(len(labels)), labels=labels if ax is axes[0] else [])
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="x")
        ax.spines["left"].set_visible(False)
        ax.figure.legend(handles=handles, loc="lower center", bbox_to_anchor=(ax.get_position().x0 + ax.get_position().width / 2, 0),
                         ncols=2 if len(handles) > 3 else 1, fontsize=7.5)


def _dot(marker: str, colour: str, label: str, edge: str | None = None) -> Line2D:
    """An entry of a legend."""
    return Line2D([], [], color="none", marker=marker, markersize=6, markerfacecolor=colour, markeredgecolor=edge or colour, label=label)


# ---------------------------------------------------------------------------------------------------------- repetitions


def evaluated_twice(run: Run, *, draws: int = 5) -> DataFrame:
    """Trained networks evaluated again, seed 0: twice where nothing is drawn, `draws` times where crops or noise are.

    Accuracy in %: as recorded, from the least to the greatest, mean and standard deviation; and the share of the test
    pictures (%) whose prediction is not the same each time. Draw k is from seed k of torch's generator, which is put back.
    """
    lines = {}
    for name in (name for name in TWICE if name in run.results):
        row, times = run.table.row(name), draws if name in DRAWN else 2
        model, task, found = run.network(name), run.opened(row.variant).task, []
        with torch.random.fork_rng():
            for k in range(times):
                torch.manual_seed(k)
                found.append(evaluate(model, task, "test", device=run.settings.device))
        top1 = np.array([100 * values["top1"].mean() for values in found])
        changed = 100 * np.mean(np.ptp([values["predicted"] for values in found], axis=0) > 0)
        lines[row.label] = [times, f"{100 * run.results[name][0].values['top1'].mean():.2f}", f"{top1.min():.2f} to {top1.max():.2f}",
                            f"{top1.mean():.2f}", f"{top1.std(ddof=1):.2f}", f"{changed:.1f}"]
    columns = ["evaluations", "recorded", "from, to", "mean", "standard deviation", "predictions that change (%)"]
    return DataFrame.from_dict(lines, orient="index", columns=columns)
