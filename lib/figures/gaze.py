"""The pictures of notebook 01: GazeCapture's frames, and what each row of Table 1 does to them ("Learning to Zoom", Fig. 2, 4).

Everything takes a `Run` that has been run, of whichever rows, on the real frames or on the synthetic twin.
"""

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from pandas import DataFrame

from lib.data.gazecapture import GazeCapture
from lib.data.files import read_rgb
from lib.figures import style, tables, zoom
from lib.models.sampler import Sampled, SpatialSampler, low_resolution
from lib.results.statistics import summarise
from lib.runs.engine import Run
from lib.tables.table import Column, Opened
from lib.training.gaze import EYES, GazeTask

KINDS = {"ipad": "iPad", "iphone": "iPhone"}
HELD = {1: "portrait", 2: "upside down", 3: "landscape, home button right", 4: "landscape, home button left"}
HIGHLIGHT = ("mean", "itracker", "plain", "stn_affine", "grid_estimator", "sampler", "oracle")  # of the curves of errors


@dataclass(frozen=True)
class Frame:
    """A test frame as the networks get it: image (1, 3, H, W) uint8, the eyes' heat map, boxes in pixels (none if nobody is there)."""

    image: torch.Tensor
    annotation: torch.Tensor
    boxes: zoom.Boxes
    what: str

    @property
    def size(self) -> tuple[int, int]:
        return self.image.shape[2], self.image.shape[3]


def frame(task: GazeTask, data: GazeCapture, index: int, annotation: torch.Tensor | None = None, what: str = "") -> Frame:
    """Frame `index` of `data` at the size that the task reads; annotation (1, 1, 31, 31): the eyes' heat map, uniform without one."""
    pixels = read_rgb(data.path[index], data.size[index], reduce=task.reduce)
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None]
    boxes = {}
    if data.valid[index]:
        boxes = {name: tuple((getattr(data, name)[index] / task.reduce).tolist()) for name in ("face", *EYES)}
    held = HELD.get(int(data.orientation[index]), "")
    return Frame(image, torch.ones(1, 1, 31, 31) if annotation is None else annotation, boxes, what or f"{data.device[index]}, {held}")


def frame_of_test(run: Run, index: int, what: str = "", variant: str = "main") -> Frame:
    """Test frame `index` of the run's data."""
    task: GazeTask = run.opened(variant).task
    return frame(task, task.data["test"], index, task.columns["test"]["annotation"][index:index + 1], what)


# ----------------------------------------------------------------------------------------------------------------- data


def examples(run: Run, *, most: int = 6) -> Figure:
    """A test frame of each device kind and way of holding it, with the boxes of face and eyes and the point of gaze."""
    known = run.opened()
    task = known.task
    data = task.data["test"]
    chosen = [np.flatnonzero((data.kind == kind) & (data.orientation == held)) for kind in KINDS for held in HELD]
    chosen = [int(found[len(found) // 2]) for found in chosen if len(found)][:most]
    height = 1.9
    widths = [height * data.size[i][1] / data.size[i][0] for i in chosen]
    figure, axes = style.panels(widths, [height], top=0.62, bottom=0.22)
    for ax, i in zip(axes[0], chosen, strict=True):
        shown = frame_of_test(run, i)
        zoom.show_image(ax, shown.image, boxes=shown.boxes)
        ax.set_title(shown.what.replace(", ", ",\n", 1).replace(", home", ",\nhome"), fontsize=8)
        ax.set_xlabel("looks at ({:+.1f}, {:+.1f}) cm".format(*data.camera_cm[i]), fontsize=8)
    figure.text(0.5, 0, f"{_source(known)}; orange: face box, blue: eye boxes, as annotated", ha="center", va="top", color=style.GREY, fontsize=8)
    return figure


def _source(known: Opened) -> str:
    return "SYNTHETIC TWIN: drawn faces" if known.is_twin else "GazeCapture"


def networks(run: Run) -> DataFrame:
    """Every chosen row: what it is, its parameters, how many of them stand before the task network, what the paper reports."""
    lines = []
    for row in run.rows():
        model = run.build(row, 0)
        count = sum(p.numel() for p in model.parameters())
        before = sum(p.numel() for p in model.sampler.parameters()) if hasattr(model, "sampler") else 0
        reported = ", ".join(f"{column} {row.published[column.name]:.2f}" for column in run.table.columns if column.name in row.published)
        lines.append({"row": row.name, "label": row.label, "sampler": type(model.sampler).__name__ if hasattr(model, "sampler") else "–",
                      "parameters": f"{count:,}", "in the sampler": f"{before:,}", "paper (cm)": reported or "–"})
    return DataFrame(lines).set_index("row")


# ------------------------------------------------------------------------------------------------------- what rows did


def histories(run: Run) -> dict[str, list[dict]]:
    """label -> the first seed's training history."""
    return {results[0].row.label: results[0].record.history for results in run.results.values()}


def errors(run: Run, column: Column) -> Figure:
    """The distribution of the first seed's per-frame errors in `column`, main rows only (the control is another task)."""
    found = {results[0].row.label: column.samples(results[0].values)
             for results in run.results.values() if results[0].row.variant == "main"}
    if not found:
        return tables.note("none of the chosen rows is about the task itself")
    highlight = tuple(run.table.row(name).label for name in HIGHLIGHT)
    return tables.errors(found, unit=column.unit, title=f"{column.name}, first seed", highlight=highlight)


def sampled(run: Run, shown: Frame, variant: str = "main") -> dict[str, Sampled]:
    """label -> what that row's trained sampler (first seed) makes of a frame, for the rows of `variant` that have one."""
    made = {}
    for name, results in run.results.items():
        if results[0].row.variant == variant and hasattr(model := run.network(name), "sampler"):
            made[results[0].row.label] = apply(model.sampler, shown)
    return made


@torch.no_grad()
def apply(sampler: SpatialSampler, shown: Frame) -> Sampled:
    """A sampler on one frame; an oracle gets the annotation, all others the frame's low-resolution view."""
    if sampler.looks_at == "annotation":
        return sampler(shown.image, shown.annotation)
    return sampler(shown.image, low_resolution(shown.image, sampler.view_size))


def figure4(run: Run, *, kind: str = "ipad", variant: str = "main") -> Figure:
    """The paper's Figure 4 for every row that has a sampler, on a test frame with a middling face of that device kind."""
    data = run.opened(variant).task.data["test"]
    members = np.flatnonzero(data.kind == kind)
    results = [r[0] for r in run.results.values() if r[0].row.variant == variant and "eye_magnification" in r[0].values]
    if not results or not len(members):
        return tables.note(f"none of the chosen {variant} rows has a sampler, or no test frame is an {KINDS[kind]}'s")
    middling = members[np.argsort(data.face[members, 2], kind="stable")[len(members) // 2]]
    shown = frame_of_test(run, int(middling), variant=variant)
    maps = sampled(run, shown, variant)
    mean = {r.row.label: float(np.nanmean(r.values["eye_magnification"])) for r in results}
    return zoom.comparison(shown.image, maps, boxes=shown.boxes,
                           captions={label: f"test set: eyes {mean[label]:.2f}×" for label in maps})


def three_cases(run: Run, name: str = "sampler") -> Figure:
    """Figure 2's cases under one row's sampler: a face nearby, a face far off or at the edge, and a frame without anybody."""
    if name not in run.results:
        return tables.note(f"the row {name} has not been run")
    variant = run.results[name][0].row.variant
    data = run.opened(variant).task.data["test"]
    off = np.abs((data.face[:, :2] + data.face[:, 2:] / 2) / data.size[:, ::-1] - 0.5).max(1)  # (N,), from the middle, in sides
    share = data.face[:, 2] / data.size.min(1)
    shown = [frame_of_test(run, int(share.argmax()), "a face nearby", variant),
             frame_of_test(run, int((off - share).argmax()), "far off, at the edge", variant)]
    everything = GazeCapture(data.root, split="test", valid_only=False)
    empty = np.flatnonzero(~everything.valid)
    if len(empty):
        shown.append(frame(run.opened().task, everything, int(empty[len(empty) // 2]), what="nobody detected"))
    sampler = run.network(name).sampler
    maps = [apply(sampler, one) for one in shown]
    captions = [f"saliency from {float(m.saliency.min() / m.saliency.max()):.2g} to 1" if m.saliency is not None else "" for m in maps]
    return zoom.cases([one.image for one in shown], maps, [one.what for one in shown], boxes=[one.boxes for one in shown],
                      captions=captions)


def eye_magnification(run: Run) -> Figure:
    """How much each row's sampler enlarges the eyes over the test set, mean with its interval; 1 is plain resizing."""
    lines, drawn = [], []
    for results in run.results.values():
        row, values = results[0].row, results[0].values
        if "eye_magnification" not in values:
            continue
        for column in run.table.columns:
            found = summarise([column.samples(r.values, "eye_magnification") for r in results],
                              column.samples(values, run.table.clusters), over=run.table.over)
            drawn.append(found)
            lines.append({"row": row.name, "label": row.label, "variant": row.variant, "column": column.name, "ours": found.mean,
                          "quantity": "linear magnification of the eyes (×)", "ours_low": found.low, "ours_high": found.high, "paper": np.nan})
    if not lines:
        return tables.note("none of the chosen rows has a sampler")
    figure = tables.intervals(DataFrame(lines), columns=[column.name for column in run.table.columns],
                              data=_source(run.opened()), what=tables.told_of(drawn))
    for ax in figure.axes:
        ax.set_xlim(left=min(0.5, ax.dataLim.x0))
        ax.axvline(1, color="#4D4D4D", linewidth=0.9)
    return figure
