"""The pictures of notebook 06: what Mr-CNN sees, where its positives lie, the swapped axes, the learned blur, good and bad cases.

Liu et al., CVPR 2015; "the release" is github.com/LewisClifton/ADL-Coursework. Everything takes a `Run` of the table "mrcnn", of
whichever rows, on real data or the synthetic twin. Crops are drawn here from test photographs, by the recipe of
`lib.data.patches`; networks run on nothing but the photographs shown, seed 0. The figures of numbers are in `mrcnn_numbers`.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from lib.data.patches import QUANTILE, Sampling, centres, cut, distinct_regions, squares
from lib.figures import saliency, style, tables, zoom
from lib.models.mrcnn import BLURS, MARGIN, PATCH, SQUARES
from lib.results.cells import versus
from lib.runs.engine import Run
from lib.training.saliency import enlarge

LOOKED_AT, IGNORED = style.VERMILION, style.BLUE
RULES = {"above 0.9": Sampling(), "top twentieth": QUANTILE}
COUNTED = 100  # test images of which `positives` counts regions
INCH = 0.005  # for each px of a square
CROP = 0.62  # inches
BLURRED = 126  # px of the 400 px square that `blurs` shows; the same part of the photograph in the others
NAMES = {"three": "three streams", "one_400": "one stream, 400", "scrambled": "axes swapped"}


@torch.no_grad()
def predictions(run: Run, name: str, positions: Sequence[int]) -> list[NDArray[np.float32]]:
    """Row `name`'s map (H, W) of each test image, as it is scored: at the photograph's size."""
    model, task, device = run.network(name).to(run.settings.device), run.opened().task, run.settings.device
    if "view_400" not in model.inputs and "view_250" not in model.inputs and "view_150" not in model.inputs:
        return saliency.predictions(run, name, positions)
    found = []
    for position in positions:
        views = task.stores["test"].fetch(np.array([position]))
        logits = model(*(views[part].to(device) for part in model.inputs)).float().cpu()
        found.append(enlarge(torch.sigmoid(logits), task.full.sizes[position])[0, 0].numpy())
    return found


def drawn(run: Run, position: int, sampling: Sampling = RULES["above 0.9"]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positives and negatives, (n, 2) each as (row, column), that the recipe takes from test image `position`."""
    data, index = run.opened().task.full.chosen.data, run.opened().task.full.chosen.at(position)
    return sampling.draw(data.density(index), data.name(index))


def panel(figure: Figure, x: float, y: float, width: float, height: float) -> Axes:
    """Axes at a place in inches from the top left."""
    w, h = figure.get_size_inches()
    return figure.add_axes((x / w, 1 - (y + height) / h, width / w, height / h))


# ------------------------------------------------------------------------------------------------------- what is learned from


def colourful(run: Run) -> int:
    """Of some test images the one with the strongest colours: on a grey one swapped channels cannot be told."""
    some = saliency.spread(run, 6)
    return max(some, key=lambda position: saliency.photograph(run, position).picture.std(axis=2).mean())


def views(run: Run) -> Figure:
    """A test photograph as the network gets it: three squares, drawn to one scale, and 42 px of each around four positions."""
    position = colourful(run)
    one, at = saliency.photograph(run, position), [_apart(points) for points in drawn(run, position)]
    points, colours = np.concatenate(at), [LOOKED_AT] * len(at[0]) + [IGNORED] * len(at[1])
    figure = plt.figure(figsize=(6.95 + (CROP + 0.06) * len(points), 2.55))
    saliency.show_fixations(ax := panel(figure, 0.05, 0.3, 1.95, 2.0), one)
    ax.set(title=f"photograph, {one.picture.shape[1]}×{one.picture.shape[0]}", anchor="N")
    x = 2.15
    for row, square in enumerate(squares(one.picture).values()):
        side = square.shape[-1]
        ax = zoom.show_image(panel(figure, x, 0.3, side * INCH, side * INCH), square)
        ax.set_title(f"{side}×{side}")
        where = centres(points, one.picture.shape[:2], side)
        for k, (centre, crop, colour) in enumerate(zip(where, cut(square, where), colours, strict=True)):
            ax.add_patch(Rectangle(centre[::-1] - PATCH / 2 - 0.5, PATCH, PATCH, fill=False, linewidth=1.3, edgecolor=colour))
            small = panel(figure, 6.9 + k * (CROP + 0.06), 0.3 + row * (CROP + 0.06), CROP, CROP)
            _framed(zoom.show_image(small, crop[:, MARGIN:-MARGIN, MARGIN:-MARGIN]), colour)
            if k == 0:
                small.set_ylabel(f"of {side}", rotation=0, ha="right", va="center", fontsize=8)
            if row == 0 and k in (0, len(at[0])):
                small.set_title("ignored" if k else "looked at", loc="left", color=colour)
        x += side * INCH + 0.12
    told = "" if saliency.judged_by(run).name == "NSS" else "; this copy has no fixation points, so scores are CC"
    return saliency.sign(figure, run, f"outlined: crops of {PATCH}×{PATCH} px, the same positions in each square{told}")


def _apart(points: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first of (n, 2) points and the one that is furthest from it; fewer if there are fewer."""
    return points[sorted({0, int(np.abs(points - points[0]).sum(1).argmax())})] if len(points) else points


def _framed(ax: Axes, colour: str) -> None:
    for spine in ax.spines.values():
        spine.set(visible=True, color=colour, linewidth=1.5)


def positives(run: Run, *, count: int = 4) -> Figure:
    """Where the recipe's positives (and negatives) fall, beside a rule that takes the top twentieth; in how many regions."""
    positions = saliency.spread(run, count)
    figure, axes = style.panels([saliency.MAP[1]] * len(positions), [saliency.MAP[0]] * 2, left=0.9, right=2.95, bottom=0.5, row_gap=0.3)
    for row, (rule, sampling) in zip(axes, RULES.items(), strict=True):
        zoom.label_row(row[0], rule.replace(" ", "\n"))
        for ax, position in zip(row, positions, strict=True):
            ax.set_anchor("N")
            _show_positions(ax, saliency.photograph(run, position), *drawn(run, position, sampling), sampling)
    zoom.title_columns(axes[0], [f"test photograph {k + 1}" for k in range(len(positions))])
    _regions(panel(figure, figure.get_figwidth() - 2.25, 0.3, 2.2, 2 * saliency.MAP[0] + 0.12), run)
    return saliency.sign(figure, run, "red: where positives may lie; dots: positives red, negatives blue; "
                                      f"a crop of the 400 px square is {PATCH / 400:.0%} of the photograph wide")


def _show_positions(ax: Axes, one: saliency.Photograph, positive: NDArray, negative: NDArray, sampling: Sampling) -> None:
    """The photograph pale, allowed pixels veiled, positions on them."""
    zoom.show_image(ax, one.picture.astype(np.float32) / 255 * 0.5 + 0.5)
    allowed = sampling.looked_at(one.density)
    veil = np.zeros((*allowed.shape, 4), np.float32)
    veil[allowed] = (*plt.matplotlib.colors.to_rgb(LOOKED_AT), 0.35)
    ax.imshow(veil, interpolation="antialiased")
    for points, colour, size in ((negative, IGNORED, 2.2), (positive, LOOKED_AT, 2.8)):
        ax.plot(points[:, 1], points[:, 0], "o", color=colour, markersize=size, markeredgecolor="white", markeredgewidth=0.25)
    regions = distinct_regions(one.density, positive, sampling=sampling) if len(positive) else 0
    across = max((np.linalg.norm(positive - point, axis=1).max() for point in positive), default=0)
    ax.set_xlabel(f"{regions} region{'s' * (regions != 1)}, {across:.0f} px across", fontsize=7.5, labelpad=2)


def regions(run: Run) -> dict[str, NDArray[np.int64]]:
    """rule -> in how many regions the positives of each test image lie, of `COUNTED` at most."""
    chosen = run.opened().task.full.chosen
    some, found = range(min(len(chosen), COUNTED)), {}
    for rule, sampling in RULES.items():
        maps = ((i, chosen.data.density(chosen.at(i))) for i in some)
        found[rule] = np.array([distinct_regions(density, drawn(run, i, sampling)[0], sampling=sampling) for i, density in maps])
    return found


def _regions(ax: Axes, run: Run) -> None:
    """The share of test images whose positives lie in 1, 2, ... regions, by both rules."""
    for k, (rule, counts) in enumerate(regions(run).items()):
        shares = [100 * np.mean(counts.clip(1, 6) == n) for n in range(1, 7)]
        ax.bar(np.arange(1, 7) + 0.4 * k - 0.2, shares, width=0.38, color=(LOOKED_AT, style.LIGHT_GREY)[k], label=f"{rule}: {counts.mean():.1f}")
    ax.set_xticks(range(1, 7), labels=["1", "2", "3", "4", "5", "6+"])
    ax.set(xlabel="regions that hold an image's positives", ylabel="% of test images", ylim=(0, 100))
    ax.legend(loc="upper right", title="mean", alignment="left")
    ax.grid(axis="y")


# ------------------------------------------------------------------------------------------------------- the swapped axes


def swapped(crops: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Crops (3 scales, 3 channels, h, w) as the streams get them at the release's test time: stream i has channel i of all scales."""
    return crops.swapaxes(0, 1)


def stream_inputs(run: Run) -> Figure:
    """One crop as the three streams get it, in training and at the release's test time."""
    position = colourful(run)
    one, at = saliency.photograph(run, position), drawn(run, position)[0][:1]
    if not len(at):
        return tables.note("this photograph has no position that was looked at")
    scales = [cut(square, centres(at, one.picture.shape[:2], square.shape[-1]))[0] for square in squares(one.picture).values()]
    crops = np.stack(scales)[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
    figure, axes = style.panels([1.2] * 3, [1.2] * 2, left=1.35, top=0.3, bottom=0.3, row_gap=0.3)
    told = ([f"R, G, B of {side}" for side in SQUARES], [f"{name} of 400, 250, 150" for name in ("R", "G", "B")])
    for row, label, inputs, texts in zip(axes, ("in training", "at the release's\ntest time"), (crops, swapped(crops)), told, strict=True):
        zoom.label_row(row[0], label)
        for ax, crop, text in zip(row, inputs, texts, strict=True):
            zoom.show_image(ax, crop).set_xlabel(text, fontsize=7.5, labelpad=2)
    zoom.title_columns(axes[0], [f"stream {k}" for k in (1, 2, 3)])
    return saliency.sign(figure, run, "three planes drawn as red, green and blue")


def axes_swapped(run: Run, *, count: int = 3) -> Figure:
    """The maps of one trained network with its inputs in order and swapped, and their difference in z-scores."""
    if missing := [name for name in ("three", "scrambled") if name not in run.results]:
        return tables.note(f"the row {missing[0]} has not been run")
    positions, metric = saliency.spread(run, count), saliency.judged_by(run)
    right, wrong = (predictions(run, name, positions) for name in ("three", "scrambled"))
    figure, axes = style.panels([saliency.MAP[1]] * 5, [saliency.MAP[0]] * len(positions), bottom=0.75, row_gap=0.22, gap=0.07)
    for k, (row, position) in enumerate(zip(axes, positions, strict=True)):
        one = saliency.photograph(run, position)
        saliency.show_fixations(row[0], one)
        for ax, found, name in zip(row[1:4], (one.density, right[k], wrong[k]), ("", "three", "scrambled"), strict=True):
            show_map(ax, found)
            if name:
                _tell(ax, run, name, position)
        difference = saliency.z_scores(wrong[k]) - saliency.z_scores(right[k])
        style.bare(row[4]).imshow(difference, cmap=style.SIGNED, norm=Normalize(-3, 3), interpolation="antialiased")
    zoom.title_columns(axes[0], [saliency.looked_at(run), "ground truth", "axes in order", "axes swapped", "swapped − in order"])
    saliency.colour_bar(figure, axes[-1, 1], style.SALIENCY, (0, 1), ("map's min", "max"))
    saliency.colour_bar(figure, axes[-1, 4], style.SIGNED, (-3, 3), ("−3", "0", "+3"), "standard deviations")
    paired = {name: versus(run.table, run.filled.rows, "scrambled", "three", run.table.column(name)) for name in (metric.name, "agreement")}
    return saliency.sign(figure, run, "swapped − in order over all test images: " + ", ".join(
        f"{name} {found.text(run.table.column(name).digits, sign=True)}" for name, found in paired.items()))


def show_map(ax: Axes, found: NDArray[np.float32]) -> Axes:
    """A map from its least to its greatest value: no score in these figures sees an offset, and a network may keep a high one."""
    return zoom.show_saliency(ax, found - found.min())


def _tell(ax: Axes, run: Run, name: str, position: int) -> None:
    """Below a map, what it scores."""
    metric = saliency.judged_by(run)
    ax.set_xlabel(f"{metric.name} {saliency.values_of(run, name)[position]:.{metric.digits}f}", fontsize=7.5, labelpad=2)


# --------------------------------------------------------------------------------------------------------- the learned blur


def released_kernel(side: int) -> NDArray[np.float64]:
    """(size, size): the release's filter at its first sigma, which is to be a Gaussian: each row is divided by its own L2 norm.

    Every row is the same then, so it is constant along y. Its sum is the gain for one input channel; each output is the sum
    over all three. Described from the release's code.
    """
    size, sigma = BLURS[side]
    row = np.exp(-0.5 * (np.linspace(-1, 1, size) / sigma) ** 2)
    return np.tile(row / np.linalg.norm(row), (size, 1))


def sigmas(run: Run, name: str = "improved") -> list[tuple[int, float, float]]:
    """(square, first sigma, learned sigma) of each stream, in px of the square."""
    model = run.network(name)
    halves = [(blur.size - 1) / 2 for blur in model.blurs]  # px, a kernel reaches from -1 to 1
    learned = [float(blur.sigma.detach()) for blur in model.blurs]
    return [(side, BLURS[side][1] * half, last * half) for side, half, last in zip(model.squares, halves, learned, strict=True)]


@torch.no_grad()
def blurs(run: Run, name: str = "improved") -> Figure:
    """For each stream: sigma before and after training, both kernels, and what each makes of a piece of photograph."""
    if name not in run.results:
        return tables.note(f"the row {name} has not been run")
    model, position = run.network(name), colourful(run)
    middle = drawn(run, position)[0][:1]
    one = saliency.photograph(run, position)
    figure, axes = style.panels([1.15] * 5, [1.15] * len(model.squares), left=1.6, bottom=0.3, row_gap=0.24)
    for row, (side, first, last), blur in zip(axes, sigmas(run, name), model.blurs, strict=True):
        zoom.label_row(row[0], f"{side} px σ {first:.2f} → {last:.2f}")
        piece = _piece(squares(one.picture)[f"view_{side}"], centres(middle, one.picture.shape[:2], side), BLURRED * side // 400)
        ours, theirs = np.outer(blur.kernel(), blur.kernel()), released_kernel(side)
        summed = _filtered(piece.sum(0, keepdims=True), theirs).repeat(3, axis=0)  # all three outputs are this
        for ax, kernel in zip(row[1::2], (theirs, ours), strict=True):
            _show_kernel(ax, kernel)
        for ax, shown in zip(row[::2], (piece / 255, summed / summed.max(), _filtered(piece, ours) / 255), strict=True):
            zoom.show_image(ax, shown)
    zoom.title_columns(axes[0], ["photograph", "release's filter", "its output", "learned blur", "its output"])
    return saliency.sign(figure, run, "σ in px; filters within 7×7 px, from 0 to their maximum; the release's output divided by its maximum")


def _show_kernel(ax: Axes, kernel: NDArray[np.float64]) -> None:
    """A filter in the middle of 7x7 px, its sum below."""
    half, edge = len(kernel) / 2, MARGIN + 0.5
    ax.add_patch(Rectangle((-edge, -edge), 2 * edge, 2 * edge, color=plt.get_cmap(style.SALIENCY)(0), zorder=-1))
    ax.imshow(kernel, cmap=style.SALIENCY, vmin=0, extent=(-half, half, -half, half))
    ax.set(xlim=(-edge, edge), ylim=(-edge, edge))
    style.bare(ax).set_xlabel(f"sum {kernel.sum():.1f}", fontsize=7.5, labelpad=2)


def _piece(square: NDArray[np.uint8], at: NDArray[np.int64], side: int) -> NDArray[np.float32]:
    """(3, side, side) of a square around a point, moved inside where it would reach beyond the border."""
    middle = at[0] if len(at) else np.array(square.shape[1:]) // 2
    y, x = (int(np.clip(c - side // 2, 0, square.shape[-1] - side)) for c in middle)
    return square[:, y:y + side, x:x + side].astype(np.float32)


def _filtered(planes: NDArray[np.float32], kernel: NDArray) -> NDArray[np.float32]:
    """(C, H, W), each plane alone, nothing padded."""
    weight = torch.as_tensor(kernel, dtype=torch.float32)[None, None]
    return torch.nn.functional.conv2d(torch.from_numpy(planes)[:, None], weight)[:, 0].numpy()


# ------------------------------------------------------------------------------------------------------ good and bad cases


def cases(run: Run, *, judge: str = "three", good: int = 1, bad: int = 2) -> Figure:
    """Test images that row `judge` predicts best and worst: fixations, ground truth, and the maps of three rows with their scores."""
    names = [name for name in NAMES if name in run.results]
    if judge not in run.results:
        return tables.note(f"the row {judge} has not been run")
    values = saliency.values_of(run, judge)
    order = [int(i) for i in np.argsort(values, kind="stable") if np.isfinite(values[i])]
    if len(order) < good + bad:
        return tables.note(f"fewer than {good + bad} test images have a value of {saliency.judged_by(run).name}")
    positions = order[::-1][:good] + order[:bad]
    maps = {name: predictions(run, name, positions) for name in names}
    (height, width), across = saliency.MAP, 2 + len(names)
    figure, axes = style.panels([width] * across, [height] * len(positions), left=0.7, bottom=0.5, row_gap=0.22, gap=0.07)
    for k, (row, position) in enumerate(zip(axes, positions, strict=True)):
        zoom.label_row(row[0], "good" if k < good else "bad")
        one = saliency.photograph(run, position)
        saliency.show_fixations(row[0], one)
        zoom.show_saliency(row[1], one.density)
        if "truth" in run.results:
            _tell(row[1], run, "truth", position)
        for ax, name in zip(row[2:], names, strict=True):
            _tell(show_map(ax, maps[name][k]), run, name, position)
    zoom.title_columns(axes[0], [saliency.looked_at(run), "ground truth", *(NAMES[name] for name in names)])
    saliency.colour_bar(figure, axes[-1, 1], style.SALIENCY, (0, 1), ("map's min", "max"))
    return saliency.sign(figure, run, f"the best and the worst of {len(order)} by {run.table.row(judge).label}")
