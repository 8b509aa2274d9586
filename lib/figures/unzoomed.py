"""The picture of notebook 09: EML-NET behind the sampler, step by step. It takes a `Run` of the table "unzoomed"."""

import numpy as np
import torch
from matplotlib.figure import Figure

from lib.figures import saliency, style, tables, zoom
from lib.models.sampler import Sampled
from lib.runs.engine import Run
from lib.training.saliency import enlarge

STEPS = ("photograph", "what the zoom\ngoes by", "zoomed", "its map", "carried back", "plain row's map", "ground truth")


@torch.no_grad()
def through(run: Run, name: str, position: int) -> tuple[Sampled, torch.Tensor, torch.Tensor]:
    """What row `name` sees of a test picture, the encoder's map (h, w) of that, and the map carried back (H, W)."""
    task, model = run.opened().task, run.network(name)
    parts = {"image": task.pictures["test"].fetch(np.array([position]))[0], "view": task.stores["test"].fetch(np.array([position]))[1],
             "density": task.full.density(position)[None]}
    maps, sampled = model(*(parts[part] for part in model.inputs), return_maps=True)
    return sampled, model.model.network(sampled.image)[0, 0], enlarge(maps, task.full.sizes[position])[0, 0]


def steps(run: Run, *, names: tuple[str, ...] = ("sampler", "fovea", "centre", "oracle"), count: int = 1) -> Figure:
    """`count` test pictures through each row that zooms: from the photograph to the map that was carried back."""
    names = [name for name in names if name in run.results]
    if not names:
        return tables.note("none of the chosen rows has a sampler")
    lines = [(name, position) for position in saliency.spread(run, count) for name in names]
    shown = {position: saliency.photograph(run, position) for _, position in lines}
    plain = saliency.predictions(run, "encoder_a", sorted(shown)) if "encoder_a" in run.results else None
    columns = [step for step in STEPS if step != "plain row's map" or plain]
    sizes = [saliency.MAP[1]] * len(columns), [saliency.MAP[0]] * len(lines)
    figure, axes = style.panels(*sizes, left=1.25, top=0.5, bottom=0.3, row_gap=0.25, gap=0.07)
    for row, (name, position) in zip(axes, lines, strict=True):
        sampled, seen, back = through(run, name, position)
        one, values = shown[position], run.results[name][0].values
        zoom.label_row(row[0], run.table.row(name).label.replace(", ", ",\n"))
        saliency.show_fixations(row[0], one)
        zoom.show_saliency(row[1], zoom.resized_map(sampled.saliency, one.picture.shape[:2]))
        zoom.show_image(row[2], sampled.image)
        zoom.show_saliency(row[3], seen)
        zoom.show_saliency(row[4], back)
        row[4].set_xlabel(f"NSS {values['nss'][position]:.2f}, zoom {values['fixation_zoom'][position]:.2f}×", fontsize=7.5, labelpad=2)
        if plain:
            zoom.show_saliency(row[5], plain[sorted(shown).index(position)])
            row[5].set_xlabel(f"NSS {run.results['encoder_a'][0].values['nss'][position]:.2f}", fontsize=7.5, labelpad=2)
        zoom.show_saliency(row[-1], one.density)
    zoom.title_columns(axes[0], columns)
    return saliency.sign(figure, run)
