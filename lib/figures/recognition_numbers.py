"""The plots and small tables of notebooks 02 to 04: training, accuracy by species, where rows look, cost, depth and blur.

Everything takes a `Run` of the table "inaturalist", "saliency_depth" or "cub200" that has been run, of whichever rows. The
pictures are in `lib.figures.recognition`.
"""

from dataclasses import replace
from time import perf_counter

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from pandas import DataFrame

from lib.data.recognition import PROTOCOLS
from lib.figures import style, tables
from lib.figures.recognition import class_name, sign, source, variant_of
from lib.models.sampler import low_resolution
from lib.results.grids import NOTHING
from lib.results.statistics import Interval, paired, summarise
from lib.runs.engine import Run
from lib.models.zoomed import flops
from lib.training.loop import run_network, to_device

HIGHLIGHT = ("plain", "same_cost", "stn_tps", "deformable", "sampler", "oracle", "depth_6", "depth_10")  # of the training curves
LOOKS = {"box_magnification": "the animal's box", "parts_magnification": "its parts", "detail_magnification": "the deciding detail"}
DEPTHS = {"plain": "none", "depth_6": "6", "depth_10": "10", "sampler": "14"}  # row -> layers of the saliency network
BLURS = {"sampler": "never", "blur_third": "a third of the epochs", "blur_always": "always"}
COVERED = 0.9  # of the animal's box: then a crop counts as showing the animal
MOST_LABELS = 40  # more classes than that are shown by supercategory, or without their names
COVERAGE_FROM, TIMED, REPEATS = 2000, 16, 5  # test pictures of `cam_coverage`; pictures in a batch, batches of `cost`
LINE = 0.24  # inches


def protocols(run: Run) -> DataFrame:
    """How a photograph becomes what a sampler sees: the paper, the release, and what this preset does."""
    def line(side: int, crop: int | None, size: int, rule: str, told: str) -> list[str]:
        return [f"{side}×{side} ({rule})", f"middle {crop}×{crop}" if crop else "all of it", f"{size}×{size}", told]

    p, known = run.preset, {name: PROTOCOLS[name] for name in ("paper", "released")}
    lines = {name: line(each.side, each.test_crop, each.input_size, each.rule, each.source) for name, each in known.items()}
    mirrored = ("random crops of training pictures, " if p.random_crop else "") + ("half of them mirrored" if p.flip else "nothing mirrored")
    lines[f"preset {run.settings.preset}"] = line(p.canvas.side, p.test_canvas.crop, p.task_size, p.canvas.rule, f"here; {mirrored}")
    return DataFrame.from_dict(lines, orient="index", columns=["square", "tested", "networks see", "source"])


# ------------------------------------------------------------------------------------------------------------------- dots


def dots(columns: dict[str, dict[str, Interval]], labels: dict[str, str], *, colours: dict[str, str] | None = None,
         places: dict[str, float] | None = None, width: float = 1.9) -> tuple[Figure, NDArray]:
    """A panel per column with a line per row: column's title -> row -> its interval. Rows that a column lacks stay empty."""
    places = places or {row: float(k) for k, row in enumerate(labels)}
    left = 0.25 + 0.062 * max(len(line) for label in labels.values() for line in label.split("\n"))
    low = max(places.values()) + 0.6
    figure, axes = style.panels([width] * len(columns), [LINE * (low + 0.6)], left=left, top=0.3, bottom=0.55, gap=0.3)
    for ax, (title, found) in zip(axes[0], columns.items(), strict=True):
        for row, interval in found.items():
            draw_interval(ax, interval, places[row], (colours or {}).get(row, style.OURS))
        ax.set(ylim=(low, -0.6), title=title)
        ax.set_yticks(list(places.values()), labels=[labels[row] for row in places] if ax is axes[0, 0] else [])
        ax.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="x")
        ax.spines["left"].set_visible(False)
    return figure, axes[0]


def draw_interval(ax: Axes, interval: Interval, place: float, colour: str, *, upright: bool = False) -> None:
    """Mean and interval at `place` of a line, or of a column if `upright`."""
    bounds, at = [interval.low, interval.high], [place, place]
    if np.isfinite(bounds).all():
        ax.plot(*((at, bounds) if upright else (bounds, at)), color=colour, linewidth=2, solid_capstyle="butt")
    ax.plot(*((place, interval.mean) if upright else (interval.mean, place)), "o", color=colour, markersize=5)


# --------------------------------------------------------------------------------------------------------------- training


def training(run: Run) -> Figure:
    """Training loss and validation accuracy by epoch, seed 0: some rows in colour, the others on the same pictures grey."""
    found = {results[0].row.label: results[0].record.history for results in run.results.values() if results[0].row.variant == "main"}
    if not any(found.values()):
        return tables.note("none of the chosen rows is trained")
    classes = len(run.opened().task.data["test"].classes)
    highlight = [row.label for row in run.table.rows if row.name in HIGHLIGHT]
    figure = tables.learning(found, highlight=highlight, classes=classes, accuracy="validation top-1")
    return sign(figure, run, f"dotted: guessing among {classes:,} classes")


def accuracy(run: Run) -> Figure:
    """Every row's top-1 and top-5 with their intervals and the published values; the control apart."""
    if not run.results:
        return tables.note("no row has been run")
    return tables.intervals(run.filled.numbers(), columns=[column.name for column in run.filled.columns], reference=run.table.reference,
                            data=source(run))


# -------------------------------------------------------------------------------------------------------------- by species


def groups(run: Run, variant: str = "main") -> tuple[NDArray, list[str]]:
    """The group of each test picture, and their names: species, or supercategories where those are too many."""
    data = run.opened(variant).task.data["test"]
    if len(data.classes) <= MOST_LABELS or data.supercategory is None:
        return data.label, [class_name(run, k, variant).replace("\n", " ") for k in range(len(data.classes))]
    names = sorted(set(data.supercategory))
    return np.array([names.index(name) for name in data.supercategory])[data.label], names


def per_species(run: Run, name: str = "sampler", reference: str = "plain") -> Figure:
    """Top-1 of both rows by species and what row `name` gains over `reference`, paired picture by picture; sorted by that gain."""
    if missing := [row for row in (name, reference) if row not in run.results]:
        return tables.note(f"the row {missing[0]} has not been run")
    if len(run.results[name]) != len(run.results[reference]) or variant_of(run, name) != variant_of(run, reference):
        return tables.note(f"the rows {name} and {reference} have been run on other seeds or test pictures")
    group, names = groups(run, variant_of(run, name))
    top1 = {row: [100 * result.values["top1"] for result in run.results[row]] for row in (name, reference)}

    def of(row: str, k: int) -> list[NDArray]:
        return [values[group == k] for values in top1[row]]

    there = [k for k in range(len(names)) if (group == k).any()]
    gain = {str(k): paired(of(name, k), of(reference, k), None, over=run.table.over).within(-100, 100) for k in there}
    ordered = sorted(gain, key=lambda k: -gain[k].mean)
    many = len(ordered) > MOST_LABELS
    height = MOST_LABELS / len(ordered) if many else 1.0  # of a line
    figure, axes = dots({"top-1 (%)": {}, f"gain of {name} over {reference} (points)": {k: gain[k] for k in ordered}},
                        {k: "" if many else names[int(k)] for k in ordered}, width=2.6,
                        places={k: i * height for i, k in enumerate(ordered)})
    drawn = [*gain.values()]
    for i, k in enumerate(ordered):
        for row, below, colour in ((reference, -0.13, style.GREY), (name, 0.13, style.OURS)):
            drawn.append(summarise(of(row, int(k)), None, over=run.table.over).within(0, 100))
            draw_interval(axes[0], drawn[-1], (i + below) * height, colour)
    axes[1].axvline(0, color="#4D4D4D", linewidth=0.9)
    axes[0].set_xlim(-3, 103)
    axes[0].set_xlabel(f"grey: {reference}, blue: {name}")
    axes[1].set_xlabel("better →")
    return sign(figure, run, tables.told_of(drawn))


# --------------------------------------------------------------------------------------- does it look where the answer is?


def shares(values: dict[str, NDArray]) -> tuple[NDArray, NDArray]:
    """Per cent of the saliency inside the animal's box, and of the picture; NaN where the box is not known or covers no cell."""
    known = values["box_share"] > 0
    return tuple(np.where(known, 100 * values[key], np.nan) for key in ("saliency_in_box", "box_share"))


def looks(run: Run) -> Figure:
    """How much each row enlarges the animal, its parts and the deciding detail; and its saliency's share inside the animal's box.

    1× is plain resizing. Rows that only resize are left out. Black marks: the box's share of the picture, a uniform map's value.
    """
    kept = {name: results for name, results in run.results.items()
            if any((found := results[0].values.get(key)) is not None and (found[np.isfinite(found)] != 1).any() for key in LOOKS)}
    if not kept:
        return tables.note("none of the chosen rows has a sampler, or no test picture has a box")
    columns = {title: {name: found for name, results in kept.items() if (found := _mean(run, name, [r.values.get(key) for r in results], key))}
               for key, title in LOOKS.items()}
    columns = {title: found for title, found in columns.items() if found}
    inside = {name: [shares(result.values) for result in results] for name, results in kept.items() if "box_share" in results[0].values}
    inside = {name: found for name, found in inside.items() if np.isfinite(found[0][1]).any()}
    saliency = {name: _mean(run, name, [each[0] for each in found], most=100) for name, found in inside.items()}
    labels = {name: run.table.row(name).label for name in kept}
    places = tables.places(DataFrame({"row": list(kept), "variant": [variant_of(run, name) for name in kept]}))
    figure, axes = dots(columns | ({"saliency in the box": saliency} if saliency else {}), labels, places=places,
                        colours={name: style.CONTROL for name in kept if variant_of(run, name) != "main"})
    for ax in axes[:len(columns)]:
        ax.axvline(1, color="#4D4D4D", linewidth=0.9, zorder=0)
        ax.set_xlim(left=min(0.5, ax.dataLim.x0))
        ax.set_xlabel("linear magnification (×)")
    for name, found in inside.items():
        axes[-1].plot(np.nanmean(found[0][1]), places[name], "|", color=style.BLACK, markersize=11, markeredgewidth=1.6, zorder=4)
    if inside:
        axes[-1].set_xlim(left=0)
        axes[-1].set_xlabel("share of the map (%)")
    marks = "; black marks: the box's share of the picture" if inside else ""
    control = "; grey: the control" if any(variant_of(run, name) != "main" for name in kept) else ""
    drawn = [one for found in (*columns.values(), saliency) for one in found.values()]
    return sign(figure, run, f"{tables.told_of(drawn)}{control}{marks}")


def _mean(run: Run, name: str, per_seed: list[NDArray | None], metric: str = "", *, most: float = np.inf) -> Interval | None:
    """Row `name`'s mean of values (n,) for each seed: the table's own cell where it shows `metric`, which knows the noise of training.

    most: beyond what no mean can lie, 100 for a share in per cent; nor can it lie below 0.
    """
    if not all(values is not None and np.isfinite(values).any() for values in per_seed):
        return None
    shown = next((column.name for column in run.filled.columns if column.metric == metric and column.where is None), None)
    if (cell := run.filled.cells.get((name, shown))) and cell.ours:
        return replace(cell.ours.interval, over=cell.ours.found.varies(run.table.over))
    return summarise(per_seed, None, over=run.table.over).within(0, most)


@torch.no_grad()
def crops(run: Run, name: str = "cam") -> NDArray[np.float64]:
    """Where row `name`'s crops of test pictures lie, (n, 4) as (x0, y0, x1, y1) in the square's pixels: the corners of its grids."""
    task, device = run.opened(variant_of(run, name)).task, run.settings.device
    model, found, seen = run.network(name).to(device), [], 0
    for batch in task.batches("test", 64):  # in the order of the split
        view, sampler = batch["view"].to(device), model.sampler
        if tuple(view.shape[-2:]) != sampler.view_size:
            view = low_resolution(batch["image"].to(device), sampler.view_size)
        grid = sampler.locate(sampler.normalize(view / 255 if view.dtype == torch.uint8 else view))[0].cpu()
        found.append((torch.cat([grid[:, 0, 0], grid[:, -1, -1]], dim=1) + 1) / 2 * batch["image"].shape[-1])
        seen += len(view)
        if seen >= COVERAGE_FROM:
            break
    return torch.cat(found).double().numpy()


def covered(box: NDArray, crop: NDArray) -> NDArray[np.float64]:
    """The share of each box (n, 4), (x, y, w, h), that lies in its crop (n, 4), (x0, y0, x1, y1); NaN for a box that is not known."""
    low, high = np.maximum(box[:, :2], crop[:, :2]), np.minimum(box[:, :2] + box[:, 2:], crop[:, 2:])
    return np.clip(high - low, 0, None).prod(1) / box[:, 2:].prod(1)


def cam_coverage(run: Run) -> DataFrame:
    """How often the CAM row's crop shows the animal (`COVERED` of its box) and the deciding detail, and how large it is; in per cent.

    For the first `COVERAGE_FROM` test pictures, and apart for those where the plain row, whose maps choose, was right or wrong.
    """
    if "cam" not in run.results:
        return DataFrame()
    task, crop = run.opened().task, crops(run)
    side, columns = task.canvas["test"].size, {name: column[:len(crop)].double().numpy() for name, column in task.columns["test"].items()}
    known = covered(columns["box"], crop)
    found = {"shows the animal": np.where(np.isfinite(known), known >= COVERED, np.nan),
             "the crop, of the picture": (crop[:, 2:] - crop[:, :2]).prod(1) / side**2}
    if "detail" in columns:
        at = columns["detail"]
        found["shows the detail"] = np.where(np.isfinite(at).all(1), ((at >= crop[:, :2]) & (at < crop[:, 2:])).all(1), np.nan)
    cases = {"all test pictures": np.ones(len(crop), bool)}
    if "plain" in run.results:
        right = run.results["plain"][0].values["top1"][:len(crop)] > 0
        cases |= {"the first pass is right": right, "the first pass is wrong": ~right}
    means = {case: {what: summarise([100 * values[chosen]], over="images").within(0, 100).text(1) for what, values in found.items()}
              for case, chosen in cases.items()}
    return DataFrame({case: means[case] | {"pictures": str(int(chosen.sum()))} for case, chosen in cases.items()}).T


# -------------------------------------------------------------------------------------------------------------------- cost


@torch.no_grad()
def milliseconds(run: Run, model: torch.nn.Module, variant: str) -> float:
    """A forward pass per test picture, measured now on the run's device: the fastest of a few batches."""
    task, device = run.opened(variant).task, run.settings.device
    batch, taken = to_device(next(iter(task.batches("test", TIMED))), device), []
    model.to(device)
    for _ in range(REPEATS + 1):  # the first one warms up
        started = perf_counter()
        run_network(model, batch).cpu()  # waits for the device
        taken.append(perf_counter() - started)
    return 1000 * min(taken[1:]) / len(batch["index"])


def cost(run: Run) -> DataFrame:
    """Each finished row of the table itself: parameters, operations and milliseconds of one picture, also as multiples of plain.

    Operations are those of convolutions and matrix products, a multiplication and an addition counted as two.
    """
    found = {}
    for name in run.results:
        if variant_of(run, name) != "main":
            continue
        model = run.network(name)
        before = sum(p.numel() for p in model.sampler.parameters())
        done = flops(model, run.preset.canvas.size, run.preset.view_size)
        found[name] = (sum(p.numel() for p in model.parameters()), before, done, milliseconds(run, model, "main"))
    plain = found.get(run.table.reference)
    names = ("parameters", "before the task network", "operations (millions)", "× plain", "ms, measured now", "× plain's ms")
    lines = {run.table.row(name).label: (f"{count:,}", f"{before:,}", f"{done / 1e6:,.1f}", f"{done / plain[2]:.2f}" if plain else NOTHING,
                                         f"{taken:.2f}", f"{taken / plain[3]:.2f}" if plain else NOTHING)
             for name, (count, before, done, taken) in found.items()}
    return DataFrame.from_dict(lines, orient="index", columns=names)


# ---------------------------------------------------------------------------------------------------------- depth and blur


def depth(run: Run) -> Figure:
    """Table 3 as a figure: accuracy against the saliency network's depth, ours with intervals and the paper's."""
    names = [name for name in DEPTHS if name in run.results]
    if not any(name.startswith("depth") for name in names):
        return tables.note("the rows depth_6 and depth_10 have not been run")
    small = run.preset.trunk == "small"
    cells = run.filled.numbers().set_index(["column", "row"])
    figure, axes = style.panels([2.4] * len(run.filled.columns), [2.0], left=0.55, top=0.3, bottom=0.85, gap=0.6)
    for ax, column in zip(axes[0], run.filled.columns, strict=True):
        for key, colour, marker in (("ours", style.OURS, "o"), ("paper", style.PAPER, "D")):
            ax.plot([list(DEPTHS).index(name) for name in names], [cells.loc[(column.name, name), key] for name in names], marker + "-", color=colour,
                    markersize=5, linewidth=1, markerfacecolor="white" if key == "paper" else colour)
        for name in names:
            cell = cells.loc[(column.name, name)]
            draw_interval(ax, Interval(cell.ours, cell.ours_low, cell.ours_high, 0, ""), list(DEPTHS).index(name), style.OURS, upright=True)
        blocks = [f"\n({k} block{'s' * (k > 1)})" if small and k else "" for k in range(len(DEPTHS))]
        ax.set_xticks(range(len(DEPTHS)), labels=[layers + more for layers, more in zip(DEPTHS.values(), blocks, strict=True)])
        ax.set(title=column.axis, xlabel="layers of the saliency network", xlim=(-0.3, len(DEPTHS) - 0.7))
        ax.grid(axis="y")
    handles = [Line2D([], [], color=style.OURS, marker="o", markersize=5, label=f"{source(run)}, 95 % interval"),
               Line2D([], [], color=style.PAPER, marker="D", markerfacecolor="white", markersize=5, label=tables.PAPER_LABEL)]
    figure.legend(handles=handles, loc="lower center", ncols=2, bbox_to_anchor=(0.5, 0))
    return sign(figure, run, run.filled.interval)


def blur(run: Run) -> Figure:
    """Section 3.3's blur as an experiment: validation accuracy by epoch, test accuracy and what is magnified; dotted: the blur ends."""
    names = [name for name in BLURS if name in run.results and run.results[name][0].record.history]
    if not any(name.startswith("blur") for name in names):
        return tables.note("the rows blur_third and blur_always have not been run")
    key, what = next(((key, what) for key, what in reversed(LOOKS.items()) if key in run.results[names[0]][0].values), ("", ""))
    panels = [("test top-1 (%)", "top1", 100), *([(f"magnification of\n{what} (×)", key, 1)] if key else [])]
    figure, axes = style.panels([2.8] + [1.5] * len(panels), [1.9], left=0.45, top=0.4, bottom=0.75, gap=0.5)
    drawn: list[Interval] = []
    for k, name in enumerate(names):
        colour, until = style.CYCLE[k], run.recipe(run.table.row(name)).blurred_epochs
        tables.curve(axes[0, 0], run.results[name][0].record.history, lambda entry: 100 * entry["val"], color=colour, label=BLURS[name])
        if 0 < until < len(run.results[name][0].record.history):
            axes[0, 0].axvline(until + 0.5, color=colour, linestyle=":", linewidth=1)
        for ax, (title, metric, scale) in zip(axes[0, 1:], panels, strict=True):
            values = [scale * result.values[metric] for result in run.results[name]]
            if found := _mean(run, name, values, metric, most=100 if scale == 100 else np.inf):
                draw_interval(ax, found, k, colour, upright=True)
                drawn.append(found)
            ax.set_title(title)
    axes[0, 0].set_title("validation top-1 (%)")
    axes[0, 0].set_ylim(bottom=0)
    for ax in axes[0, 1:]:
        ax.set_xticks(range(len(names)), labels=[BLURS[name].replace(" of the epochs", "") for name in names], fontsize=7.5)
        ax.set_xlim(-0.5, len(names) - 0.5)
        ax.grid(axis="y")
    figure.legend(handles=[Line2D([], [], color=style.CYCLE[k], label=f"blurred {BLURS[name]}" if name != "sampler" else "never blurred")
                           for k, name in enumerate(names)], loc="lower center", ncols=3, bbox_to_anchor=(0.5, 0))
    return sign(figure, run, f"seed 0's curves; {tables.told_of(drawn)}")
