"""What a trained saliency sampler does, at once: the small weights that lie in results/reference, on drawn pictures it has not seen."""

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from lib.data.inaturalist import INaturalist
from lib.figures import zoom
from lib.files import ROOT
from lib.models.sampler import Sampled
from lib.tables import inaturalist
from lib.training.checkpoint import load_weights
from lib.training.progress import Progress
from lib.training.recognition import RecognitionTask

WEIGHTS = ROOT / "results" / "reference" / "weights" / "inaturalist-twin-sampler.safetensors"


def network(path: Path = WEIGHTS) -> torch.nn.Module:
    """Table 2's sampler row as the `demo` preset trained it; FileNotFoundError, one line, where the weights are not."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing; it belongs to the repository, `git checkout` brings it back")
    model = inaturalist.TABLE.row("sampler").build(inaturalist.PRESETS["demo"])
    load_weights(path, model)
    return model.eval()


@torch.no_grad()
def pictures(count: int = 4) -> tuple[list[torch.Tensor], list[Sampled], list[zoom.Boxes], list[str]]:
    """Test pictures of different species, what the network makes of them, where the animal is, and whether the answer is right."""
    root = inaturalist.TABLE.twin.write(inaturalist.PRESETS["smoke"], "main", Progress(quiet=True))
    preset, model = inaturalist.PRESETS["demo"], network()
    data = {split: INaturalist(root, split) for split in ("train", "val", "test")}
    task = RecognitionTask(data, view_size=preset.view_size, canvas=preset.canvas)
    labels = task.columns["test"]["label"].numpy()
    chosen = np.unique(labels, return_index=True)[1][:: max(1, len(set(labels)) // count)][:count]
    images, maps, boxes, told = [], [], [], []
    for position in chosen:
        image, view = task.stores["test"].fetch(np.array([position]))
        output, sampled = model(image, view, return_maps=True)
        right = int(output.argmax()) == labels[position]
        images, maps = [*images, image[0]], [*maps, sampled]
        boxes.append({"animal": task.columns["test"]["box"][position].tolist()})
        told.append(f"{data['test'].classes[labels[position]]}: {'right' if right else 'wrong'}")
    return images, maps, boxes, told


def figure(count: int = 4) -> Figure:
    """Input, saliency, transformation and sampled image of `count` drawn pictures (Figure 5 of the paper, on a synthetic twin)."""
    images, maps, boxes, told = pictures(count)
    return zoom.cases(images, maps, told, boxes=boxes)
