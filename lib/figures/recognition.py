"""The pictures of notebooks 02 to 04: what shrinking destroys, where each row looks, what a sampler gets right and plain resizing wrong.

"Learning to Zoom", sections 4.2 and 4.3, Figures 5 and 6. Everything takes a `Run` of the table "inaturalist", "saliency_depth" or
"cub200" that has been run, of whichever rows, on real photographs or a synthetic twin; pictures are seed 0's. They are chosen by
rule: the first test picture, with a known box if there is one, of classes that stand in a row or are evenly spaced.
Plots of numbers are in `lib.figures.recognition_numbers`.
"""

import re
import textwrap
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from lib.figures import style, tables, zoom
from lib.models.rivals import Uniform
from lib.models.sampler import Sampled, low_resolution
from lib.runs.engine import Run
from lib.training.recognition import RecognitionTask, around

DATASETS = {"inaturalist": "iNaturalist 2017", "cub200": "CUB-200-2011", "pictures": "your own pictures"}
PICTURE, VIEW = 1.35, 1.25  # inches
WINDOW = 0.22  # side of a close-up, as a share of the picture's


# ----------------------------------------------------------------------------------------------------------- what is shown


def variant_of(run: Run, name: str) -> str:
    return run.table.row(name).variant


def boxes(task: RecognitionTask, position: int) -> zoom.Boxes:
    """What is known of a test picture: the animal's box and a square around the deciding detail, in the square's pixels."""
    columns, side = task.columns["test"], task.canvas["test"].size
    found = {"animal": columns["box"][position]}
    if "detail" in columns:
        found["detail"] = around(columns["detail"][position][None, None], side)[0, 0]
    return {name: tuple(box.tolist()) for name, box in found.items() if box.isfinite().all()}


def image(run: Run, position: int, variant: str = "main") -> Tensor:
    """Test picture `position` as samplers read it: (1, 3, S, S) uint8."""
    return run.opened(variant).task.stores["test"].fetch(np.array([position]))[0]


def first_of(run: Run, labels: Iterable[int], variant: str = "main") -> list[int]:
    """The first test picture of each class, of those whose box is known if there is one."""
    task = run.opened(variant).task
    label, known = task.columns["test"]["label"].numpy(), task.columns["test"]["box"].isfinite().all(1).numpy()
    chosen = []
    for wanted in labels:
        members = np.flatnonzero(label == wanted)
        members = members[known[members]] if known[members].any() else members
        chosen += members[:1].tolist()
    return chosen


def spread(run: Run, count: int, variant: str = "main") -> list[int]:
    """`count` test pictures of classes that are evenly spaced."""
    classes = np.unique(run.opened(variant).task.columns["test"]["label"].numpy())
    count = min(count, len(classes))
    return first_of(run, classes[((np.arange(count) + 0.5) * len(classes) / count).astype(int)].tolist(), variant)


def class_name(run: Run, label: int, variant: str = "main") -> str:
    """Wrapped to two or three short lines; CUB's number and underscores are left out."""
    classes = run.opened(variant).task.data["test"].classes
    if label >= len(classes):
        return "no class"
    name = re.sub(r"^\d+\.", "", classes[label]).replace("_", " ").replace("-", "\N{NON-BREAKING HYPHEN}")
    return textwrap.fill(name, 20)


@torch.no_grad()
def sampled(run: Run, name: str, positions: Sequence[int]) -> list[Sampled]:
    """What row `name`'s trained sampler makes of test pictures."""
    task, sampler = run.opened(variant_of(run, name)).task, run.network(name).sampler
    made = []
    for i in positions:
        picture, view = task.stores["test"].fetch(np.array([i]))
        annotation = task.columns["test"].get(sampler.looks_at)  # an oracle's; what the others look at is no column
        made.append(sampler(picture, view if annotation is None else annotation[i:i + 1]))
    return made


def source(run: Run) -> str:
    """Which pictures these are."""
    return "SYNTHETIC TWIN: drawn animals" if run.opened().is_twin else DATASETS[run.settings.dataset]


def sign(figure: Figure, run: Run, text: str = "") -> Figure:
    """What is shown, below everything, in lines as wide as the figure."""
    told = textwrap.fill(source(run) + (f"; {text}" if text else ""), int(15 * figure.get_figwidth()))
    figure.text(0.5, -0.06 / figure.get_figheight(), told, ha="center", va="top", color=style.GREY, fontsize=8)
    return figure


def legend(task: RecognitionTask) -> str:
    """What the boxes' colours mean; empty where no box is known."""
    told = {"green: the animal's box": task.columns["test"]["box"].isfinite().any(), "orange: the deciding detail": "detail" in task.columns["test"]}
    return "; ".join(words for words, shown in told.items() if shown)


# ------------------------------------------------------------------------------------------------------------- one panel


def show_closeup(ax: Axes, picture: Tensor, centre: NDArray) -> Axes:
    """The part of a picture around `centre`, (x, y) in [0, 1], `WINDOW` of its side wide."""
    zoom.show_image(ax, picture)
    side = picture.shape[-1]
    x, y = np.clip(centre, WINDOW / 2, 1 - WINDOW / 2) * side - 0.5
    half = WINDOW * side / 2
    ax.set(xlim=(x - half, x + half), ylim=(y + half, y - half))
    return ax


def show_verdict(ax: Axes, run: Run, name: str, position: int) -> None:
    """What row `name` said of a test picture, in a few lines under a panel: green where it is right."""
    values = run.results[name][0].values
    right, sure = bool(values["top1"][position]), f"({100 * values['confidence'][position]:.0f} %)"
    said = class_name(run, int(values["predicted"][position]), variant_of(run, name))
    ax.set_xlabel(f"right {sure}" if right else f"{said} {sure}", fontsize=7, labelpad=2, color=style.GREEN if right else style.VERMILION)


# ------------------------------------------------------------------------------------------------------- what shrinking does


def examples(run: Run, *, count: int = 4, first: int = 0, variant: str = "main") -> Figure:
    """A test picture of `count` classes in a row, from class `first` on: as samplers read it, and shrunk; whole and from near.

    Close-ups are around the detail that tells the species where that is known, else around the middle of the box.
    """
    task = run.opened(variant).task
    positions, size = first_of(run, range(first, first + count), variant), run.preset.task_size
    if not positions:
        return tables.note(f"there is no test picture of the {count} classes from class {first} on")
    side = task.canvas["test"].size
    figure, axes = style.panels([PICTURE] * len(positions), [PICTURE] * 4, left=1.35, top=0.42, bottom=0.05, row_gap=0.08, gap=0.08)
    for column, position in zip(axes.T, positions, strict=True):
        picture, known = image(run, position, variant), boxes(task, position)
        shrunk = low_resolution(picture, size)
        x, y, w, h = known.get("detail", known.get("animal", (0, 0, side, side)))
        centre = np.array([x + w / 2, y + h / 2]) / side
        zoom.show_image(column[0], picture, boxes=known)
        show_closeup(column[1], picture, centre)
        zoom.show_image(column[2], shrunk)
        show_closeup(column[3], shrunk, centre)
        column[0].set_title(class_name(run, int(task.columns["test"]["label"][position]), variant), fontsize=7.5)
    labels = (f"as samplers read it, {side} px", "close-up", f"as a plain network sees it, {size} px", "close-up")
    for ax, label in zip(axes[:, 0], labels, strict=True):
        zoom.label_row(ax, label)
    return sign(figure, run, legend(task))


# ---------------------------------------------------------------------------------------------------------- Figures 5 and 6


def zoomed(run: Run, name: str, position: int | None = None) -> str:
    """How much row `name` magnifies the detail, or the animal where no detail is known: of a picture, or the mean of all; "" if unknown."""
    values = run.results[name][0].values
    key, what = ("detail_magnification", "detail") if "detail_magnification" in values else ("box_magnification", "animal")
    found = values.get(key, np.array([np.nan]))
    found = found[np.isfinite(found)].mean() if position is None and np.isfinite(found).any() else found[position or 0]
    return f"{what} {found:.2f}×" if np.isfinite(found) else ""


def verdict(run: Run, name: str, position: int) -> str:
    """ "right, detail 1.80×"."""
    right = "right" if run.results[name][0].values["top1"][position] else "wrong"
    return ", ".join(part for part in (right, zoomed(run, name, position)) if part)


def zooming(run: Run, variant: str = "main") -> list[str]:
    """The finished rows of `variant` that have a sampler, without those that only resize; the plain row stays, as the measure."""
    rows = [name for name in run.results if variant_of(run, name) == variant]
    plain = run.table.reference if variant == "main" else f"{variant}_{run.table.reference}"
    return [name for name in rows if name == plain or not isinstance(run.build(run.table.row(name), 0).sampler, Uniform)]


def figure5(run: Run, *, count: int = 1, name: str = "sampler", variant: str = "main") -> Figure:
    """The paper's Figures 5 and 6: input, saliency, transformation and sampled image.

    count 1: one test picture through every row of `variant` that has a sampler; more: that many pictures through row `name`.
    """
    if count > 1:
        return _figure5_of(run, name, count) if name in run.results else tables.note(f"the row {name} has not been run")
    names, positions = zooming(run, variant), spread(run, 1, variant)
    if not names or not positions:
        return tables.note(f"none of the chosen {variant} rows has a sampler")
    task, position, labels = run.opened(variant).task, positions[0], {row.name: row.label for row in run.table.rows}
    maps = {labels[each]: sampled(run, each, positions)[0] for each in names}
    figure = zoom.comparison(image(run, position, variant), maps, boxes=boxes(task, position), height=1.15,
                             captions={labels[each]: verdict(run, each, position) for each in names})
    what = class_name(run, int(task.columns["test"]["label"][position]), variant).replace("\n", " ")
    return sign(figure, run, "; ".join(filter(None, (what, legend(task)))))


def _figure5_of(run: Run, name: str, count: int) -> Figure:
    variant = variant_of(run, name)
    task, positions = run.opened(variant).task, spread(run, count, variant)
    titles = [class_name(run, int(task.columns["test"]["label"][i]), variant) for i in positions]
    figure = zoom.cases([image(run, i, variant) for i in positions], sampled(run, name, positions), titles, height=1.25,
                        boxes=[boxes(task, i) for i in positions], captions=[verdict(run, name, i) for i in positions])
    mean = zoomed(run, name)
    return sign(figure, run, "; ".join(part for part in (run.table.row(name).label, mean and f"all test pictures: {mean}", legend(task)) if part))


# ---------------------------------------------------------------------------------------------------------- right and wrong


def disagreements(run: Run, name: str, reference: str) -> tuple[NDArray, NDArray]:
    """The test pictures that only `name` gets right, and those that only `reference` does."""
    ours, theirs = (run.results[row][0].values["top1"] > 0 for row in (name, reference))
    return np.flatnonzero(ours & ~theirs), np.flatnonzero(theirs & ~ours)


def right_and_wrong(run: Run, name: str = "sampler", reference: str = "plain", *, count: int = 4) -> Figure:
    """Test pictures that only row `name` gets right, and those that only `reference` does: what both saw, what they said.

    Evenly spaced over the test split, so of many classes; the numbers in the titles count all of them.
    """
    if missing := [row for row in (name, reference) if row not in run.results]:
        return tables.note(f"the row {missing[0]} has not been run")
    if variant_of(run, name) != variant_of(run, reference):
        return tables.note(f"the rows {name} and {reference} have different test pictures")
    found = disagreements(run, name, reference)
    chosen = [members[np.unique(np.linspace(0, len(members) - 1, min(count, len(members))).round().astype(int))] for members in found]
    down = max(map(len, chosen))
    if not down:
        return tables.note(f"{name} and {reference} are right on the same test pictures")
    figure, axes = style.panels([VIEW] * 3 + [0.12] + [VIEW] * 3, [VIEW] * down, top=0.5, bottom=0.42, row_gap=0.42, gap=0.08)
    for ax in axes[:, 3]:
        ax.remove()
    total = len(run.results[name][0].values["top1"])
    for block, positions, members, right in zip((axes[:, :3], axes[:, 4:]), chosen, found, (name, reference), strict=True):
        _fill(run, block, positions, name, reference)
        label = run.table.row(right).label
        place, high = block[0, 1].get_position(original=True), figure.get_figheight()
        figure.text((place.x0 + place.x1) / 2, place.y1 + 0.27 / high, f"only {label} is right: {len(members):,} of {total:,}",
                    ha="center", va="bottom", fontsize=9, fontweight="bold")
    told = ("under the pictures: what they show, under the views: what was said", legend(run.opened(variant_of(run, name)).task))
    return sign(figure, run, "; ".join(filter(None, told)))


def _fill(run: Run, block: NDArray, positions: NDArray, name: str, reference: str) -> None:
    """One half of `right_and_wrong`: a line per picture; lines without one are taken away."""
    variant = variant_of(run, name)
    task, views = run.opened(variant).task, {row: sampled(run, row, positions) for row in (reference, name)}
    for k, line in enumerate(block):
        if k >= len(positions):
            for ax in line:
                ax.remove()
            continue
        position = int(positions[k])
        known, picture = boxes(task, position), image(run, position, variant)
        zoom.show_image(line[0], picture, boxes=known)
        line[0].set_xlabel(class_name(run, int(task.columns["test"]["label"][position]), variant), fontsize=7, labelpad=2)
        for ax, (row, maps) in zip(line[1:], views.items(), strict=True):
            zoom.show_image(ax, maps[k].image)
            zoom.carry_boxes(ax, maps[k].grid, known, tuple(picture.shape[-2:]))
            show_verdict(ax, run, row, position)
    if len(positions):
        zoom.title_columns(block[0], ["picture", *(f"what {row} sees" for row in views)])
