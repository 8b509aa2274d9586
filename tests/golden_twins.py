"""The golden numbers (see `goldens`) of synthetic twins: what is written, and how it is drawn, details above all."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from goldens import CONTROLS, DRAWN, Numbers, golden, twin

from lib.data.cub200 import CUB200
from lib.data.imagenette import Imagenette
from lib.data.inaturalist import INaturalist
from lib.data.mit1003 import MIT1003
from lib.data.salicon import SALICON
from lib.training.gaze import GazeTask


def projections(pixels: np.ndarray, count: int = 6) -> np.ndarray:
    """A picture (H, W, 3) on `count` patterns of +1 and -1, over the root of their length: moves with whatever moves, by the root of how much."""
    flat = pixels.astype(np.float64).ravel()
    position = np.arange(len(flat), dtype=np.uint64)
    signs = [((position * np.uint64(2654435761 + 2 * i) % np.uint64(2**32)) >> np.uint64(16 + i)) & np.uint64(1) for i in range(count)]
    return np.array([(flat * (2.0 * sign - 1)).sum() / len(flat) ** 0.5 for sign in signs])


def drawn(path: Path, box: Sequence[float] | None = None) -> list[float]:
    """The mean, the deviation and `projections` of a picture, or of a box (x, y, w, h) in it."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    if box is not None:
        x, y, w, h = (max(int(edge), 0) for edge in box)
        pixels = pixels[y:y + max(h, 4), x:x + max(w, 4)]
    return [pixels.mean(), pixels.std(), *projections(pixels)]


def written(root: Path) -> Numbers:
    """Every number in a twin's texts, by the file's name, and its first, middle and last picture."""
    found: dict[str, list[float]] = {}
    for path in sorted(path for path in root.rglob("*") if path.suffix in (".json", ".txt") and path.name != "TWIN.json"):
        text = re.sub(r"[0-9a-f]{32}", "", path.read_text())  # names, where digits are letters
        found.setdefault(path.name, []).extend(float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", text))
    pictures = sorted(path for path in root.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    return found | {f"{DRAWN} {i}": drawn(pictures[i * (len(pictures) - 1) // 2]) for i in range(3)}


def of_twin(name: str) -> Numbers:
    found = written(twin(name))
    return found | ({f"{label} of the control": values for label, values in written(twin(name, control=True)).items()} if name in CONTROLS else {})


@golden("twin gazecapture")
def _twin_gazecapture() -> dict:
    data = GazeTask(twin("gazecapture"), view_size=8).data["test"]
    eyes = {f"{DRAWN} {eye} {i}": drawn(data.path[i], getattr(data, eye)[i]) for eye in ("left_eye", "right_eye", "face") for i in range(2)}
    return of_twin("gazecapture") | eyes


def around_details(data) -> Numbers:
    return {f"{DRAWN} detail {i}": drawn(data.path[i], [*(data.detail[i] - 8), 16, 16])
            for i in range(0, len(data), 3) if np.isfinite(data.detail[i]).all()}


@golden("twin inaturalist")
def _twin_inaturalist() -> dict:
    return of_twin("inaturalist") | around_details(INaturalist(twin("inaturalist"), "test"))


@golden("twin cub200")
def _twin_cub200() -> dict:
    return of_twin("cub200") | around_details(CUB200(twin("cub200"), "test"))


@golden("twin imagenette")
def _twin_imagenette() -> dict:
    data = Imagenette(twin("imagenette"), "test")
    return of_twin("imagenette") | {f"{DRAWN} object {i}": drawn(data.path[i], data.box[i]) for i in range(len(data))}


def of_scenes(data) -> Numbers:
    """Pictures, densities and fixations of a saliency data set's first images."""
    found = {}
    for i in range(2):
        density, points = data.true_density(i), data.fixations(i)
        y, x = np.unravel_index(density.argmax(), density.shape)
        found |= {f"density {i}": density * 1e6, f"points {i}": points, f"{DRAWN} peak {i}": drawn(data.path(i), (x - 20, y - 20, 40, 40))}
    return found


@golden("twin salicon")
def _twin_salicon() -> dict:
    return of_twin("salicon") | of_scenes(SALICON(twin("salicon"), "train"))


@golden("twin mit1003")
def _twin_mit1003() -> dict:
    return of_twin("mit1003") | of_scenes(MIT1003(twin("mit1003")))
