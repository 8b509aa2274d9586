"""The pictures of notebook 05: photographs with their fixations, EML-NET's maps, where they err, losses and scores.

EML-NET is Jia and Bruce, arXiv 1805.01047; `columns` are the four of its release's README, and MSE beside them. Everything
takes a `Run` of the table "salicon" that has been run, of whichever rows, on real data or the synthetic twin. Maps are drawn
from 0 to their maximum, networks run on nothing but the photographs shown, seed 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from pandas import DataFrame
from scipy.ndimage import gaussian_filter

from lib.figures import style, tables, zoom
from lib.metrics.saliency import density_map, kl_divergence
from lib.models.emlnet import RELEASED_FLAGS
from lib.models.saliency_baselines import GROUND_TRUTH_SIGMA
from lib.runs.engine import Run
from lib.tables.table import Column
from lib.training.saliency import enlarge

SHOWN_IN_README = ("COCO_val2014_000000198590", "COCO_val2014_000000203754")  # the photographs of the release's README
COLUMNS = {"decoder": "combined", "encoder_a": "encoder A", "encoder_b": "encoder B", "mse": "encoder A, MSE"}
PARTS = {"kl": "KL", "cc": "1 − CC", "nss": "NSS part"}  # of the combined loss
LOSSES = {"eml": "KL + (1 − CC) + NSS part", "mse": "MSE"}
DATASETS = {"salicon": "SALICON", "osie": "OSIE", "mit1003": "MIT1003", "coursework": "the coursework's files of MIT1003"}
MAP, CELL = (1.23, 1.64), (0.2, 1.6)  # inches: (height, width) of a picture; of a row and a panel of `scores`
CONSTANT_FROM = 200  # training images that the constant of the NSS part is averaged over
PNG_FROM = 24  # test images that `png_steps` averages over


@dataclass(frozen=True)
class Photograph:
    """A test image with all that is known of it: picture (H, W, 3), points (n, 2), maps (H, W); truth on a twin only."""

    picture: NDArray[np.uint8]
    points: NDArray[np.int64]
    density: NDArray[np.float32]
    truth: NDArray[np.float32] | None


def photograph(run: Run, position: int) -> Photograph:
    """Test image `position`."""
    full = run.opened().task.full
    data, index = full.chosen.data, full.chosen.at(position)
    return Photograph(data.image(index), full.fixations[position], data.density(index), data.true_density(index))


def spread(run: Run, count: int) -> list[int]:
    """`count` test images: those of the release's README where the data set has them, then others evenly spaced."""
    chosen = run.opened().task.chosen["test"]
    names = [chosen.data.name(chosen.at(i)) for i in range(len(chosen))]
    first = [names.index(name) for name in SHOWN_IN_README if name in names]
    evenly = np.linspace(0, len(chosen) - 1, min(count, len(chosen)) + 2).round().astype(int)[1:-1].tolist()
    return list(dict.fromkeys(first + evenly))[:count]


@torch.no_grad()
def predictions(run: Run, name: str, positions: Sequence[int]) -> list[NDArray[np.float32]]:
    """Row `name`'s map (H, W) of each test image, as it is scored: at the photograph's size."""
    task, device = run.opened().task, run.settings.device
    full, store, model = task.full, task.stores["test"], run.network(name).to(device)
    parts = {"view": lambda i: store.fetch(np.array([i]))[1], "image": lambda i: task.pictures["test"].fetch(np.array([i]))[0],
             "density": lambda i: full.density(i)[None], "centre": lambda i: enlarge(task.centre[None, None], full.sizes[i])[0],
             "truth": lambda i: full.truth(i)[None], "pooled": lambda i: full.pooled(full.sizes[i])[None]}
    outputs = ((i, model(*(parts[part](i).to(device) for part in model.inputs))) for i in positions)
    return [enlarge(output[:, :1].float().cpu(), full.sizes[i])[0, 0].numpy() for i, output in outputs]


def judged_by(run: Run) -> Column:
    """The column that an image and an epoch are judged by: NSS, or CC where the data set has no fixation points."""
    return run.table.column("NSS" if any(len(points) for points in run.opened().task.full.fixations) else "CC")


def looked_at(run: Run) -> str:
    """The title of `show_fixations`."""
    return "fixations" if judged_by(run).name == "NSS" else "photograph"


def values_of(run: Run, name: str) -> NDArray[np.float64]:
    """The value of `judged_by` for each test image, seed 0."""
    return run.results[name][0].values[judged_by(run).metric]


# ------------------------------------------------------------------------------------------------------------ one panel


def show_fixations(ax: Axes, shown: Photograph) -> Axes:
    """The fixations on the photograph, which is pale where there are some."""
    zoom.show_image(ax, shown.picture.astype(np.float32) / 255 * 0.5 + 0.5 if len(shown.points) else shown.picture)
    size = 2.2 if len(shown.points) < 300 else 1.6
    ax.plot(*shown.points.T, "o", color=style.VERMILION, alpha=0.7, markersize=size, markeredgewidth=0)
    return ax


def colour_bar(figure: Figure, ax: Axes, colours: Colormap | str, limits: tuple[float, float], labels: Sequence[str], label: str = "") -> None:
    """A flat colour bar under `ax`; `labels` at its ends and, if there are three, in the middle."""
    place, inch = ax.get_position(), 1 / figure.get_figheight()
    strip = figure.add_axes((place.x0, place.y0 - 0.32 * inch, place.width, 0.09 * inch))
    bar = figure.colorbar(ScalarMappable(Normalize(*limits), colours), cax=strip, orientation="horizontal")
    bar.set_ticks(np.linspace(*limits, len(labels)), labels=labels)
    bar.ax.get_xticklabels()[0].set_horizontalalignment("left")  # beside another bar
    bar.ax.get_xticklabels()[-1].set_horizontalalignment("right")
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_linewidth(0.5)
    bar.set_label(label, fontsize=8)


def source(run: Run) -> str:
    """Which photographs these are."""
    return "SYNTHETIC TWIN: drawn scenes" if run.opened().is_twin else DATASETS[run.settings.dataset]


def sign(figure: Figure, run: Run, text: str = "") -> Figure:
    """What is shown, in one line below everything."""
    figure.text(0.5, -0.06 / figure.get_figheight(), source(run) + (f"; {text}" if text else ""), ha="center", va="top", color=style.GREY, fontsize=8)
    return figure


# ----------------------------------------------------------------------------------------------------------------- data


def examples(run: Run, *, count: int = 4) -> Figure:
    """Test photographs with their fixations and the published blurred map; on a twin also what the fixations were drawn from."""
    shown = [photograph(run, i) for i in spread(run, count)]
    seen = [len(one.points) for one in shown]
    draw = {"photograph": lambda ax, one: zoom.show_image(ax, one.picture), "fixations": show_fixations,
            "blurred map": lambda ax, one: zoom.show_saliency(ax, one.density), "true density": lambda ax, one: zoom.show_saliency(ax, one.truth)}
    titles = [title for title in draw if (title != "fixations" or max(seen)) and (title != "true density" or shown[0].truth is not None)]
    figure, axes = style.panels([MAP[1]] * len(shown), [MAP[0]] * len(titles), left=1.0, top=0.08, bottom=0.5, row_gap=0.1)
    for row, title in zip(axes, titles, strict=True):
        zoom.label_row(row[0], title)
        for ax, one in zip(row, shown, strict=True):
            draw[title](ax, one)
    colour_bar(figure, axes[-1, 0], style.SALIENCY, (0, 1), ("0", "map's max"))
    return sign(figure, run, f"{min(seen)} to {max(seen)} fixations on each" if max(seen) else "this copy has no fixation points")


def networks(run: Run) -> DataFrame:
    """Every row that has been run: its network and what it began with, parameters, and its recipe with the *effective* learning rate."""
    lines = []
    for row in (results[0].row for results in run.results.values()):
        model, recipe = run.build(row, 0), run.recipe(row)
        count, trained = (sum(p.numel() for p in model.parameters() if p.requires_grad or frozen) for frozen in (True, False))
        began = " and ".join(row.needs) or getattr(model, "weights_name", None) or "random values"
        told = [began, f"{count:,}", f"{trained:,}", LOSSES[recipe.loss], recipe.epochs, recipe.batch_size, f"{recipe.lr:g}",
                f"{recipe.optimiser}, {recipe.schedule}"] if row.trained else ["–", f"{count:,}"] + ["–"] * 6
        lines.append([row.name, type(model).__name__, *map(str, told)])
    names = ["row", "network", "began with", "parameters", "trained", "loss", "epochs", "batch", "learning rate", "optimiser, schedule"]
    return DataFrame(lines, columns=names).set_index("row")


def flags() -> DataFrame:
    """Every option of the released scripts, and where it is here."""
    return DataFrame(RELEASED_FLAGS, columns=["script", "option", "its default", "here"]).set_index(["script", "option"])


# ----------------------------------------------------------------------------------------------------------------- maps


def columns(run: Run, *, count: int = 4) -> Figure:
    """The columns of the release's README, photograph first: ground truth, combined, encoders A and B; and A trained with MSE."""
    names = [name for name in COLUMNS if name in run.results]
    if not names:
        return tables.note("none of the chosen rows is a network; the columns are " + ", ".join(COLUMNS))
    positions, metric = spread(run, count), judged_by(run)
    maps = {name: predictions(run, name, positions) for name in names}
    figure, axes = style.panels([MAP[1]] * (2 + len(names)), [MAP[0]] * len(positions), bottom=0.55, row_gap=0.22, gap=0.07)
    for k, (row, position) in enumerate(zip(axes, positions, strict=True)):
        one = photograph(run, position)
        zoom.show_image(row[0], one.picture)
        for ax, name, shown in zip(row[1:], ["truth", *names], [one.density, *(maps[name][k] for name in names)], strict=True):
            zoom.show_saliency(ax, shown)
            if name in run.results:
                ax.set_xlabel(f"{metric.name} {values_of(run, name)[position]:.{metric.digits}f}", fontsize=7.5, labelpad=2)
    zoom.title_columns(axes[0], ["photograph", "ground truth", *(COLUMNS[name] for name in names)])
    colour_bar(figure, axes[-1, 1], style.SALIENCY, (0, 1), ("0", "map's max"))
    return sign(figure, run)


def differences(run: Run, name: str = "decoder", *, count: int = 4) -> Figure:
    """Where row `name` errs: prediction minus ground truth, as densities (in uniform densities) and as z-scores."""
    if name not in run.results:
        return tables.note(f"the row {name} has not been run")
    positions = spread(run, count)
    shown, found = [photograph(run, i) for i in positions], predictions(run, name, positions)
    signed = [[scale(ours) - scale(one.density) for ours, one in zip(found, shown, strict=True)] for scale in (in_uniform, z_scores)]
    limits = [np.ceil(max(np.quantile(abs(one), 0.98) for one in maps)) for maps in signed]
    figure, axes = style.panels([MAP[1]] * 5, [MAP[0]] * len(shown), bottom=0.75, row_gap=0.1, gap=0.07)
    for k, (row, one) in enumerate(zip(axes, shown, strict=True)):
        show_fixations(row[0], one)
        zoom.show_saliency(row[1], one.density)
        zoom.show_saliency(row[2], found[k])
        for ax, maps, limit in zip(row[3:], signed, limits, strict=True):
            ax.imshow(maps[k], cmap=style.SIGNED, norm=Normalize(-limit, limit), interpolation="antialiased")
            style.bare(ax)
    zoom.title_columns(axes[0], [looked_at(run), "ground truth", "prediction", "difference of densities", "difference of z-scores"])
    colour_bar(figure, axes[-1, 2], style.SALIENCY, (0, 1), ("0", "map's max"))
    for ax, limit, label in zip(axes[-1, 3:], limits, ("uniform densities", "standard deviations"), strict=True):
        colour_bar(figure, ax, style.SIGNED, (-limit, limit), (f"−{limit:g}", "0", f"+{limit:g}"), label)
    return sign(figure, run, f"{run.table.row(name).label}; red: predicted too salient, blue: missed")


def in_uniform(saliency: NDArray) -> NDArray[np.float64]:
    """(H, W) as a density with mean 1, so that the uniform density is 1 everywhere."""
    return saliency / max(saliency.mean(dtype=np.float64), 1e-12)


def z_scores(saliency: NDArray) -> NDArray[np.float64]:
    """(H, W) with mean 0 and deviation 1; zeros for a constant map."""
    saliency = saliency.astype(np.float64)
    return (saliency - saliency.mean()) / max(saliency.std(ddof=1), 1e-12)


def extremes(run: Run, name: str = "decoder", *, count: int = 3) -> Figure:
    """The test images that row `name` predicts worst and best by NSS, beside what their ground truth's own map and the ceiling reach."""
    if name not in run.results:
        return tables.note(f"the row {name} has not been run")
    metric, values = judged_by(run), values_of(run, name)
    order = [int(i) for i in np.argsort(values, kind="stable") if np.isfinite(values[i])]
    count = min(count, len(order) // 2)
    if not count:
        return tables.note(f"fewer than two test images have a value of {metric.name}")
    positions = order[:count] + order[-count:]
    bounds = {label: values_of(run, row) for label, row in (("own map", "truth"), ("ceiling", "ceiling")) if row in run.results}
    figure, axes = style.panels([MAP[1]] * 2 * count, [MAP[0]] * 3, left=1.0, top=0.62, bottom=0.5, gap=0.07, row_gap=0.07)
    for k, (column, found) in enumerate(zip(axes.T, predictions(run, name, positions), strict=True)):
        one = photograph(run, positions[k])
        show_fixations(column[0], one)
        zoom.show_saliency(column[1], one.density)
        zoom.show_saliency(column[2], found)
        beside = ", ".join(f"{label} {reached[positions[k]]:.2f}" for label, reached in bounds.items())
        title = f"{'worst' if k < count else 'best'}: {metric.name} {values[positions[k]]:.2f}\n{beside}"
        place = column[0].get_position(original=True)  # not the photograph's, whose height varies
        figure.text((place.x0 + place.x1) / 2, place.y1 + 0.06 / figure.get_figheight(), title, ha="center", va="bottom", fontsize=7.5)
    for ax, title in zip(axes[:, 0], (looked_at(run), "ground truth", "prediction"), strict=True):
        zoom.label_row(ax, title)
    colour_bar(figure, axes[-1, 0], style.SALIENCY, (0, 1), ("0", "map's max"))
    return sign(figure, run, f"{run.table.row(name).label}; own map: the blurred map of the image's own fixations, taken as a prediction")


# -------------------------------------------------------------------------------------------------------------- numbers


def nss_constant(run: Run) -> float:
    """The mean over training images of the fixations' own NSS, from which the loss subtracts the prediction's; 0 without points."""
    truth = run.opened().task.truth["train"]
    some = np.linspace(0, len(truth.chosen) - 1, min(len(truth.chosen), CONSTANT_FROM)).astype(int)
    shares = np.array([share for i in some if (share := float(truth.fixations(np.array([i])).mean()))])  # of pixels that are fixated
    return float(np.sqrt((1 - shares) / shares).mean()) if len(shares) else 0.0


def png_steps(run: Run, name: str = "decoder") -> DataFrame:
    """KL in nats, a mean over some test images, after each step from row `name`'s map to the picture that the release writes.

    Blurred as `lib.models.saliency_baselines.Released` does, stretched from 0 to 1, then rounded to 8 bits, or cut
    off (as the release, and the row "released"). On a twin the ceiling's map for KL takes the same steps.
    """
    if name not in run.results:
        return DataFrame()
    full, positions, lines = run.opened().task.full, spread(run, PNG_FROM), {}
    for position, found in zip(positions, predictions(run, name, positions), strict=True):
        maps = {run.table.row(name).label: found}
        if full.chosen.data.is_twin:
            maps["true density, blurred"] = density_map(full.truth(position).double(), sigma=GROUND_TRUTH_SIGMA).numpy()
        for label, saliency in maps.items():
            blurred = gaussian_filter(saliency, 5 * len(saliency) / 480, mode="nearest", truncate=4)
            unit = (blurred - blurred.min()) / max(float(np.ptp(blurred)), 1e-12)
            steps = {"as it is": saliency, "blurred": blurred, "stretched": unit, "8 bits, rounded": np.rint(unit * 255)}
            steps |= {"8 bits, cut off": np.floor(unit * 255)}
            lines.setdefault(label, []).append({step: float(kl_divergence(made, full.density(position))) for step, made in steps.items()})
    return DataFrame({label: DataFrame(found).mean() for label, found in lines.items()}).T.map("{:.3f}".format)


def losses(run: Run) -> Figure:
    """The combined loss and its three parts by epoch, each row that was trained with it a line; validation beside, MSE's too."""
    trained = {name: results[0].record.history for name, results in run.results.items() if results[0].record.history}
    combined = {name: history for name, history in trained.items() if "nss" in history[0]}
    if not combined:
        return tables.note("none of the chosen rows is trained with the combined loss")
    constant = nss_constant(run)
    parts = [(title, itemgetter(part), combined) for part, title in PARTS.items() if constant or part != "nss"]
    panels = [("combined loss", tables.train_loss, combined), *parts, (f"validation {judged_by(run).name}", itemgetter("val"), trained)]
    figure, axes = style.panels([1.6] * len(panels), [1.6], left=0.35, top=0.3, bottom=0.6 + 0.16 * -(-len(trained) // 3), gap=0.42)
    for ax, (title, value, shown) in zip(axes[0], panels, strict=True):
        for name, history in shown.items():
            colour = style.CYCLE[list(trained).index(name) % len(style.CYCLE)]
            tables.curve(ax, history, value, color=colour, label=run.table.row(name).label)
        ax.set_title(title)
    _mark_constant(axes[0, 0], constant)
    figure.legend(*axes[0, -1].get_legend_handles_labels(), loc="lower center", ncols=min(len(trained), 3), bbox_to_anchor=(0.5, 0))
    return sign(figure, run, "the loss on training images, validation at the network's size")


def _mark_constant(ax: Axes, constant: float) -> None:
    """From 0, with the constant that the NSS part is counted from."""
    if constant:
        ax.axhline(constant, color=style.GREY, linestyle=":", linewidth=1)
    ax.set_ylim(0, 1.15 * max(constant, ax.dataLim.y1))
    text = f"dotted: the fixations'\nown NSS, {constant:.1f}" if constant else "no fixation points:\nits NSS part is 0"
    ax.text(0.06, 0.06, text, transform=ax.transAxes, fontsize=7.5, color=style.GREY)


def scores(run: Run, *, columns: Sequence[str] | None = None) -> Figure:
    """Every metric's mean with its 95 % interval for every row, or those of `columns`: networks blue, maps that no network made grey."""
    numbers = run.filled.numbers()
    labels = numbers.drop_duplicates("row").set_index("row")["label"]
    measured = set(numbers.loc[numbers["ours"].notna(), "column"]) & set(columns or numbers["column"])
    known = [column for column in run.table.columns if column.name in measured]
    across, down = min(4, len(known)), -(-len(known) // 4)
    left = 0.3 + 0.062 * max(map(len, labels))
    figure, axes = style.panels([CELL[1]] * across, [CELL[0] * (len(labels) + 1)] * down, left=left, bottom=0.75, row_gap=0.72, gap=0.2)
    for k, (ax, column) in enumerate(zip(axes.flat, known, strict=False)):
        cells = numbers[numbers["column"] == column.name]
        _show_scores(ax, cells.set_index("row").reindex(labels.index), run)
        ax.set_title(column.axis)
        ax.set_xlabel("← better" if column.lower_is_better else "better →", fontsize=8)
        ax.set_yticks(range(len(labels)), labels=[] if k % across else labels)
    kinds = ((style.OURS, "networks"), (style.GREY, "maps that no network made"))
    handles = [Line2D([], [], color=colour, marker="o", linewidth=2, markersize=4, label=label) for colour, label in kinds]
    figure.legend(handles=handles, loc="lower center", ncols=2, bbox_to_anchor=(0.5, 0))
    for ax in axes.flat[len(known):]:
        ax.set_visible(False)
    return sign(figure, run, tables.over(run, "test images") + "; dotted: centre bias" * (run.table.reference in run.results))


def _show_scores(ax: Axes, cells: DataFrame, run: Run) -> None:
    """One metric: `cells` has a line for each row, NaN where it has no value."""
    for k, cell in enumerate(cells.itertuples()):
        colour = style.OURS if run.table.row(cell.Index).trained or run.table.row(cell.Index).needs else style.GREY
        ax.plot([cell.ours_low, cell.ours_high], [k, k], color=colour, linewidth=2, solid_capstyle="butt")
        ax.plot(cell.ours, k, "o", color=colour, markersize=4)
        if cell.Index == run.table.reference and np.isfinite(cell.ours):
            ax.axvline(cell.ours, color=style.GREY, linewidth=0.8, linestyle=":", zorder=0)
    ax.set_ylim(len(cells) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="x")
    ax.spines["left"].set_visible(False)
