"""A few small numbers for every name in `lib.versions.VERSIONS`, of fixed inputs: what tests/test_golden.py holds the code to.

Each function below `golden` gives labelled lists of numbers that follow from the code of its name. `on` are the names of the code beneath:
where that changes, these numbers may change too. Inputs are made of whole numbers, so they are the same everywhere; twins are miniatures of
their own. Here is what all share; the functions are in `golden_networks`, `golden_data` and `golden_twins`.
"""

import functools
import importlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lib.data.synthetic import cub200, gazecapture, imagenette, inaturalist, mit1003, salicon

FINE = 1e-3  # of a list's largest number: another processor's float32 differs by some 1e-5 of it after two steps of training
COARSE = 0.75  # grey levels: another JPEG decoder, or bytes resized elsewhere, may be off by one. For lists whose label begins with DRAWN
DRAWN = "drawn"
Numbers = dict[str, list[float]]
GOLDENS: dict[str, Callable[[], Numbers]] = {}
ON: dict[str, tuple[str, ...]] = {}


def golden(name: str, *, on: Sequence[str] = ()) -> Callable:
    def mark(function: Callable[[], dict]) -> Callable:
        GOLDENS[name], ON[name] = lambda: {label: listed(values) for label, values in function().items()}, tuple(on)
        return function

    return mark


def listed(values) -> list[float]:
    """Numbers as a short list: more than 16 become mean, root mean square and 14 of them. NaN is -1."""
    tensor = values.detach() if isinstance(values, Tensor) else torch.from_numpy(np.array(values, dtype=np.float64))
    flat = tensor.double().flatten().nan_to_num(-1.0)
    if len(flat) > 16:
        flat = torch.cat([flat.mean()[None], flat.square().mean().sqrt()[None], flat[torch.arange(14) * (len(flat) - 1) // 13]])
    return [float(f"{number:.6g}") for number in flat.tolist()]


# --- inputs -------------------------------------------------------------------------------------------------------------


def picture(height: int, width: int, count: int = 2, channels: int = 3) -> Tensor:
    """(count, channels, height, width) uint8: slopes, edges and something fine."""
    b, c, y, x = torch.meshgrid(*map(torch.arange, (count, channels, height, width)), indexing="ij")
    slope = (x * (3 + c) + y * (2 + b)) * 255 // (width * 5 + height * 3)
    return ((slope + 90 * ((x // 7 + y // 5 + c) % 2) + (x * y + 31 * b) % 23) % 256).to(torch.uint8)


def heat(height: int = 31, width: int = 31) -> Tensor:
    """(2, 1, height, width), positive, sums to 1: one warm place, and two."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    near = [1 / (1 + (x - at[0]) ** 2 + (y - at[1]) ** 2) for at in ((8, 12), (20, 5), (25, 24))]
    maps = torch.stack([near[0], near[1] + near[2]])[:, None] + 0.01
    return maps / maps.sum((2, 3), keepdim=True)


@functools.cache
def folder() -> Path:
    """Of miniature twins and pictures, as long as the process lives."""
    folder.held = tempfile.TemporaryDirectory()
    return Path(folder.held.name)


@functools.cache
def photographs() -> tuple[Path, ...]:
    paths = [folder() / "square.png", folder() / "wide.png", folder() / "grey.png"]
    for path, pixels in zip(paths, (picture(60, 60), picture(40, 70), picture(50, 50)[:, :1]), strict=True):
        Image.fromarray(pixels[0].permute(1, 2, 0).numpy().squeeze()).save(path)
    return tuple(paths)


MINIATURES = {
    "gazecapture": (gazecapture, {"train_subjects": 2, "val_subjects": 1, "test_subjects": 2, "frames": (2, 2, 2)}),
    "inaturalist": (inaturalist, {"train": 80, "test": 16, "side": 96}),
    "cub200": (cub200, {"train": 80, "test": 16, "side": 96}),
    "salicon": (salicon, {"train": 3, "val": 2, "test": 1, "observers": 4}),
    "mit1003": (mit1003, {"images": 3, "observers": 4}),
    "imagenette": (imagenette, {"train": 100, "val": 10}),
}
CONTROLS = {"gazecapture": {"eyes": "large"}, "inaturalist": {"details": "large"}, "cub200": {"details": "large"}, "imagenette": {"objects": "large"}}


@functools.cache
def twin(name: str, *, control: bool = False) -> Path:
    module, sizes = MINIATURES[name]
    return module.write(folder() / f"{name}{'-control' * control}", **sizes, **(CONTROLS[name] if control else {}), workers=1)


def all_of_them() -> dict[str, Callable[[], Numbers]]:
    """GOLDENS, complete."""
    for name in ("golden_networks", "golden_data", "golden_twins"):
        importlib.import_module(name)
    return GOLDENS


def compute(names: Sequence[str]) -> dict[str, Numbers]:
    functions = all_of_them()
    if unknown := set(names) - functions.keys():
        raise KeyError(f"no golden function for {', '.join(sorted(unknown))}; write one, see golden_networks.py")
    return {name: functions[name]() for name in names}
