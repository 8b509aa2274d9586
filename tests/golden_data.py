"""The golden numbers (see `goldens`) of data as networks get them, losses, and per-sample values."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from goldens import DRAWN, Numbers, golden, heat, photographs, picture, twin

from lib.data.canvas import RULES, Square
from lib.data.cub200 import CUB200
from lib.data.gaze_geometry import ScreenTarget
from lib.data.imagenette import Imagenette
from lib.data.inaturalist import INaturalist
from lib.data.mit1003 import MIT1003
from lib.data.patches import QUANTILE, PatchStore, Sampling, SquareStore
from lib.data.salicon import SALICON
from lib.data.saliency_store import FullSize, GroundTruth, Selection
from lib.data.store import ImageStore
from lib.models import sampler as layer
from lib.models.proposal import Proposal
from lib.training.classification import random_crops
from lib.training.gaze import GazeTask
from lib.training.mrcnn import PatchTask
from lib.training.proposal import ProposalTask
from lib.training.recognition import RecognitionTask
from lib.training.saliency import SaliencyTask, against_maps, at_fixations, fixation_zoom
from lib.training.saliency_losses import emlnet_loss_parts, mse


def of_batch(batch: dict[str, Tensor], *names: str) -> Numbers:
    return {name: batch[name] for name in names or sorted(batch.keys() - {"index"})}


@golden("gaze", on=("twin gazecapture",))
def _gaze() -> dict:
    found, names = {}, ("target", "scale_cm", "annotation", "face", "left_eye", "right_eye", "face_grid", "tablet")
    for name, target in {"camera": None, "screen": ScreenTarget()}.items():
        task = GazeTask(twin("gazecapture"), view_size=16, reduce=4, target=target)
        batch = next(task.batches("train", 3))
        found |= {f"{name} {label}": values for label, values in of_batch(batch, *names).items()}
        found |= {f"{name} {part}": loss for part, loss in task.losses(torch.full_like(batch["target"], 0.4), batch).items()}
    return found


def recognised(loader: Callable, name: str, **options) -> RecognitionTask:
    data = {split: loader(twin(name), split) for split in ("train", "val", "test")}
    return RecognitionTask(data, view_size=16, canvas=Square(64, "squash"), test_canvas=Square(64, "squash", 48), **options)


@golden("classification", on=("twin cub200", "twin imagenette", "pictures", "views"))
def _classification() -> dict:
    task = recognised(CUB200, "cub200", flip=True, random_crop=True, label_smoothing=0.1)
    batch = next(task.batches("train", 4, torch.Generator().manual_seed(2)))
    found = of_batch(batch, "annotation", "box", "detail", "label", "parts") | task.losses(picture(1, 16, 4, 1).view(4, 16) / 99, batch)
    for name, cells in {"image": 8, "view": 4}.items():  # resized bytes may differ by one on another processor
        found[f"{DRAWN} {name}"] = avg_pool2d(batch[name].float(), cells)
    whole = proposed()
    flipped = next(whole.batches("train", 4, torch.Generator().manual_seed(3)))
    return found | {f"proposal {label}": values for label, values in of_batch(flipped, "box", "coverage", "label", "image").items()} | {
        "crops": random_crops(3, batch["image"], torch.Generator().manual_seed(4))}


def proposed() -> ProposalTask:
    data = {split: Imagenette(twin("imagenette"), split) for split in ("train", "val", "test")}
    return ProposalTask(data, crop_size=64, view_size=32, canvas=Square(96), flip=True)


def looked_at() -> dict[str, Selection]:
    train, test = SALICON(twin("salicon"), split="train"), SALICON(twin("salicon"), split="val")
    return {"train": Selection(train, [0, 2]), "val": Selection(train, [1]), "test": Selection(test, [0, 1])}


@golden("saliency", on=("twin salicon", "truth", "views"))
def _saliency() -> dict:
    prediction, density, fixations = heat(12, 16)[:, 0], heat(12, 16).flip(3)[:, 0], (picture(12, 16)[:, 0] > 230).float()
    found = emlnet_loss_parts(prediction, density, fixations) | {"mse": mse(prediction, density)}
    batch = next(SaliencyTask(looked_at(), (24, 32)).batches("train", 2, torch.Generator().manual_seed(6)))
    return found | of_batch(batch)


# --- data ---------------------------------------------------------------------------------------------------------------


@golden("views")
def _views() -> dict:
    image = picture(96, 120)
    store = ImageStore(photographs()[:1], np.array([[60, 60]]), 16, cache_dir=None, fingerprint="", workers=0)
    found = {f"{size} of floats": layer.low_resolution(image / 255, size) for size in (7, 20, (31, 40), 96)}
    for name, view in {"bytes": layer.low_resolution(image, 32), "large": layer.low_resolution(picture(300, 400, 1), 32)}.items():
        levels = view * 255
        found |= {f"{DRAWN} {name}": avg_pool2d(levels, 4), f"{name} on whole levels": [((levels - levels.round()).abs() < 1e-3).double().mean()]}
    return found | {f"{DRAWN} stored": avg_pool2d(store.fetch(np.array([0]))[1].float(), 4)}


@golden("pictures", on=("twin cub200", "twin inaturalist", "twin imagenette"))
def _pictures() -> dict:
    sizes, squares = np.array([[60, 60], [40, 70], [50, 50]]), [Square(32, rule) for rule in RULES] + [Square(40, "short", 24)]
    found = {}
    for square in (*squares, None):
        store = ImageStore(photographs(), sizes, 8, cache_dir=None, fingerprint="", workers=0, canvas=square, reduce=1 if square else 3)
        found |= {f"{i} {square.rule if square else 'reduced'} {square.crop if square else ''}": store.read(i) for i in range(3)}
    for square in squares:
        found[f"box {square.rule} {square.crop}"] = square.boxes(np.array([[3, 4, 20, 10], [-2, 8, 30, 30.5]]), sizes[:2])
    for loader, name in ((CUB200, "cub200"), (INaturalist, "inaturalist"), (Imagenette, "imagenette")):
        data = loader(twin(name), "test")
        found |= {f"{name} {column}": getattr(data, column) for column in ("label", "size", "box")}
    return found | {"parts": CUB200(twin("cub200"), "test").parts, "detail": INaturalist(twin("inaturalist"), "test").detail}


@golden("truth", on=("twin salicon", "twin mit1003"))
def _truth() -> dict:
    found = {}
    for name, chosen in {"salicon": looked_at()["test"], "mit1003": Selection(MIT1003(twin("mit1003")), [0, 2])}.items():
        truth, full, both = GroundTruth(chosen, (60, 80), cache_dir=None), FullSize(chosen), np.array([0, 1])
        found |= {f"{name} density": truth.density(both), f"{name} fixations": truth.fixations(both), f"{name} mean": truth.mean() * 1e3,
                  f"{name} full": full.density(1), f"{name} points": np.concatenate(full.fixations), f"{name} others": full.negatives(0),
                  f"{name} pooled": full.pooled((48, 64)) * 1e3}
    return found


@golden("crops", on=("twin mit1003",))
def _crops() -> dict:
    chosen, found = Selection(MIT1003(twin("mit1003")), [0, 1, 2]), {}
    for name, sampling in {"released": Sampling(), "quantile": QUANTILE}.items():
        store = PatchStore(chosen, sampling=sampling, cache_dir=None)
        found |= {f"{name} {label}": store.arrays[label] for label in sorted(store.arrays)}
    return found | {f"square {label}": view for label, view in SquareStore(chosen, cache_dir=None).arrays.items()}


# --- per-sample values --------------------------------------------------------------------------------------------------


def seen(grid: Tensor, saliency: Tensor | None = None) -> layer.Sampled:
    return layer.Sampled(torch.zeros(len(grid), 3, *grid.shape[1:3]), grid, saliency)


def zoomed_grid() -> Tensor:
    return layer.resize_grid(layer.saliency_grid(heat(), sigma=layer.RELEASED_SIGMA), 32)


@golden("gaze values", on=("twin gazecapture", "gaze", "layer"))
def _gaze_values() -> dict:
    found = {}
    for name, target in {"camera": None, "screen": ScreenTarget()}.items():
        task = GazeTask(twin("gazecapture"), view_size=16, reduce=4, target=target)
        batch = next(task.batches("test", 2))
        count = len(batch["index"])  # frames of one size
        values = task.values(torch.tensor([[0.4, 0.6], [0.55, 0.2]])[:count], batch, seen(zoomed_grid()[:count]))
        found |= {f"{name} {label}": each for label, each in values.items()}
    return found


@golden("classification values", on=("twin cub200", "pictures"))
def _classification_values() -> dict:
    task, outputs = recognised(CUB200, "cub200"), picture(1, 16, 4, 3)[:, :, 0] / 40  # (4, 3, 16)
    batch = next(task.batches("test", 4)) | {"label": torch.tensor([3, 15, 0, 7])}
    return {f"{name} {label}": values for name, output in {"one": outputs[:, 0], "views": outputs}.items()
            for label, values in task.values(output, batch, None).items()}


@golden("zoom values", on=("twin cub200", "pictures", "layer"))
def _zoom_values() -> dict:
    task = recognised(CUB200, "cub200")
    return task.more_values(next(task.batches("test", 2)), seen(zoomed_grid(), heat()))


@golden("saliency values", on=("twin salicon", "truth"))
def _saliency_values() -> dict:
    prediction, density = heat(24, 32)[:, 0], heat(24, 32).flip(2)[:, 0]
    fixations, others = ((picture(24, 32)[:, i] > 240).to(torch.int16) for i in (0, 1))
    found = against_maps(prediction, density) | at_fixations(prediction, prediction, fixations, others, density)
    task = SaliencyTask(looked_at(), (24, 32))
    found |= {f"task {split} {label}": values for split in ("val", "test")
              for label, values in task.values(heat(24, 32)[:1, :, :, :], next(task.batches(split, 1))).items()}
    crops = PatchTask.__new__(PatchTask)  # its data are Mr-CNN's, its values are not
    crops.smooth = 1.5
    values_of = crops.values(heat(50, 50) * 9 - 1, {"density": density, "fixations": fixations})
    return found | {f"lattice {label}": values for label, values in values_of.items()}


@golden("unzoom values", on=("layer",))
def _unzoom_values() -> dict:
    fixations = (picture(24, 32)[:1, 0] > 240).to(torch.int16)
    return {"zoom": fixation_zoom(zoomed_grid()[:1], fixations)}


@golden("proposal values", on=("twin imagenette", "pictures", "layer"))
def _proposal_values() -> dict:
    task = proposed()
    batch = next(task.batches("test", 2))
    weights = torch.tensor([[0.1, 0.5, 0.2, 0.1, 0.1], [0.2, 0.2, 0.2, 0.2, 0.2]])
    proposal = Proposal(image=batch["image"], weights=weights, scores=None, boxes=None)
    return task.more_values(batch, proposal) | task.more_values(batch, seen(zoomed_grid()))
