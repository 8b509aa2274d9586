"""README's first picture: two photographs, what stands out in them, and what the layer makes of that.

    python -m lib.report.front CAT ROCKET

writes results/reference/figures/front.jpg, and beside it front.json: where the photographs are from, under which licence, and which weights
made the maps. The photographs are not part of this repository. They come with scikit-image (0.26.0 was used), as data/chelsea.png and
data/rocket.jpg of the installed package. The zoom is that of `python -m lib zoom` with its defaults; lines are equally far apart in the
zoomed picture.
"""

import argparse
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from lib import predict
from lib.figures import style
from lib.files import ROOT, replace_atomically, write_text
from lib.files.pictures import read_picture
from lib.models.emlnet_weights import load_emlnet
from lib.models.sampler import resize_grid
from lib.zoom import above_least, zoom

PICTURE = ROOT / "results" / "reference" / "figures" / "front.jpg"
PHOTOGRAPHS = (  # as scikit-image's own documentation names their sources
    {"photograph": "Chelsea the cat, by Stefan van der Walt", "file": "skimage/data/chelsea.png", "licence": "CC0"},
    {"photograph": "Falcon 9 before the launch of DSCOVR, by SpaceX", "file": "skimage/data/rocket.jpg", "licence": "public domain"},
)
TITLES = ("a photograph", "what stands out, and the grid", "what the network is given")
PANEL = 3.3  # inches, the width of one picture
LINES = 24  # of the grid, along the longer side
MOST = 300_000  # bytes
REMEDY = "give the photographs that this module names, the cat first"


def draw(photos: Sequence[np.ndarray], maps: Sequence[np.ndarray]) -> Figure:
    """One row for each photograph (H, W, 3) with its saliency map (H, W)."""
    heights = [PANEL * photo.shape[0] / photo.shape[1] for photo in photos]
    figure, axes = style.panels([PANEL] * 3, heights, left=0.02, right=0.02, top=0.28, bottom=0.02, gap=0.06, row_gap=0.06)
    for line, photo, saliency in zip(axes, photos, maps, strict=True):
        zoomed, grid = zoom(photo, saliency)
        for one, picture in zip(line, (photo, lit(photo, saliency), zoomed), strict=True):
            style.bare(one, frame=False).imshow(picture, interpolation="lanczos", aspect="auto")
        rule(line[1], grid, photo.shape[:2])
    for one, title in zip(axes[0], TITLES, strict=True):
        one.set_title(title, fontsize=10.5)
    return figure


def lit(photo: np.ndarray, saliency: np.ndarray) -> np.ndarray:
    """The photograph without its colours, where nothing stands out; uint8 (H, W, 3)."""
    share = (saliency / max(float(saliency.max()), 1e-12))[..., None] ** 0.5  # the eye sees dim light as half
    grey = photo.mean(axis=2, keepdims=True).repeat(3, axis=2) * 0.42
    return (grey * (1 - share) + photo * share).astype(np.uint8)


def rule(axes: Axes, grid: Tensor, size: tuple[int, int]) -> None:
    """The lines of a grid (1, h, w, 2) over a picture of `size` (height, width)."""
    count = [max(2, round(LINES * side / max(size))) for side in size]
    places = resize_grid(grid, (8 * count[0] + 1, 8 * count[1] + 1))[0].numpy()
    x, y = np.moveaxis((places + 1) / 2 * [size[1] - 1, size[0] - 1], -1, 0)
    for across, down in ((x[::8].T, y[::8].T), (x[:, ::8], y[:, ::8])):
        axes.plot(across, down, color=style.YELLOW, linewidth=0.55, alpha=0.85)


def weights() -> Path:
    """Those that `zoom` takes."""
    return predict.LITE0 if predict.LITE0.is_file() else predict.TRAINED / "emlnet-osie-decoder.safetensors"


def made(paths: Sequence[Path]) -> tuple[bytes, dict]:
    """The picture as a JPEG, and what it was made of."""
    model = load_emlnet([weights()])
    photos = [read_picture(path, mode="photograph", exif="upright", remedy=REMEDY) for path in paths]
    figure, drawn = draw(photos, [above_least(predict.saliency_map(model, photo)) for photo in photos]), io.BytesIO()
    figure.savefig(drawn, dpi=150, bbox_inches=None)
    plt.close(figure)
    picture = io.BytesIO()
    Image.open(drawn).convert("RGB").save(picture, "JPEG", quality=85, optimize=True)
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    return picture.getvalue(), {
        "made by": "python -m lib.report.front", "weights": weights().name,
        "sha256 of the weights": hashlib.sha256(weights().read_bytes()).hexdigest(),
        "photographs": [one | {"sha256": digest} for one, digest in zip(PHOTOGRAPHS, digests, strict=True)]}


def write(paths: Sequence[Path], picture: Path = PICTURE) -> None:
    """ValueError, one line, for what is no photograph, and for a picture that would be too large to be committed."""
    data, about = made(paths)
    if len(data) > MOST:
        raise ValueError(f"{picture}: {len(data):,} bytes, more than {MOST:,}; make PANEL smaller")
    replace_atomically(picture, lambda temporary: temporary.write_bytes(data))
    write_text(picture.with_suffix(".json"), json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m lib.report.front", description="Draw README's first picture.")
    parser.add_argument("photographs", nargs=2, type=Path, metavar="PHOTO", help="scikit-image's cat, then its rocket")
    write(parser.parse_args().photographs)
