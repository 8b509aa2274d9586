"""Saliency maps of any photograph, from weights on disk: `python -m lib predict MODEL PHOTO [PHOTO ...]`.

The photograph is squashed to the model's input size, as EML-NET's evaluation does, or to Mr-CNN's squares; `lib.files.pictures` says
how greyscale, palette, CMYK, 16-bit and transparent pictures become RGB. A camera's orientation is applied, and the map is of the upright
photograph, unless `--exif stored` asks for the pixels as they lie in the file: maps that are to be scored against a data set need that,
as its coordinates are in stored pixels (or `score --exif upright`). Very large JPEGs shrink while they are decoded.

Mr-CNN's map is what its table scores: a sigmoid of the logits at 50x50 points, enlarged bilinearly, not smoothed unless asked for.

Deviations from EML-NET's released eval_combined.py
    - The map is resized to the photograph's own size; the release leaves it at 480x640.
    - The 8-bit picture is rounded; the release truncates. Both are stretched to 0 .. 255 after a Gaussian blur with sigma 5
      pixels of the 480x640 map (for other sizes, in proportion to the height; the release's eval.py does not blur: 0).
    - The float map is written, too. Use it for metrics: 8 bits cost KL divergence and information gain dearly, because the
      stretched map has exact zeros.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import nn

from lib.files.pictures import picture_size, read_picture, some_picture, told_of
from lib.models.emlnet_weights import GUIDE, RELEASED, WEIGHTS, load_emlnet
from lib.models.mrcnn import MrCNN
from lib.models.mrcnn_weights import load_mrcnn
from lib.options import BLUR
from lib.runs.parameters import find_device
from lib.files import ROOT, apart, for_folder, replace_atomically

TRAINED = ROOT / "results" / "reference" / "weights"
LITE0 = TRAINED / "emlnet-lite0.safetensors"  # `lib.finetune` makes it; it needs the package timm
LARGE = 1 << 24  # pixels from which a JPEG is decoded at a fraction of its size
REMEDY = "give a photograph as JPEG, PNG, TIFF or WebP, or save it again"

Photo = str | Path | ArrayLike


# Prediction


def predict_emlnet(photo: Photo, encoders: Sequence[str | Path], decoder: str | Path | None = None, *,
                   size: tuple[int, int] | None = None, device: str = "auto", blur: float = BLUR, exif: str = "upright") -> NDArray[np.float32]:
    """EML-NET's saliency map of a photograph: float32 (H, W) in [0, 1], at the photograph's own size.

    photo: a path, or an array (H, W, 3) or (H, W), uint8 or float in [0, 1]. encoders: paths of weights, one, or two with
    their decoder (see `lib.models.emlnet_weights.load_emlnet`). size: (height, width) of the network's input, by default
    480x640, and 120x160 for small encoders. exif: "upright", or "stored" for the file's pixels as they lie. blur: sigma, see the
    module's docstring. The map is not stretched: its values are the network's. FileNotFoundError or ValueError, one line. For many
    photographs, load once and use `saliency_map`.
    """
    return saliency_map(load_emlnet(encoders, decoder).to(find_device(device)), photo, size=size, blur=blur, exif=exif)


def saliency_map(model: nn.Module, photo: Photo, *, size: tuple[int, int] | None = None, blur: float = BLUR,
                 exif: str = "upright") -> NDArray[np.float32]:
    """`predict_emlnet` with a model at hand, which is put into evaluation mode and used where it is.

    Example:
        >>> from lib.models.emlnet import SmallEncoder
        >>> saliency_map(SmallEncoder(), np.zeros((90, 120, 3), dtype=np.uint8)).shape
        (90, 120)
    """
    _check_blur(blur)
    size = size or model.view_size
    view, own_size = read_photo(photo, size, exif=exif)
    images = torch.from_numpy(view).permute(2, 0, 1)[None]  # (1, 3, h, w)
    with torch.inference_mode():
        prediction = model.eval()(images.to(next(model.parameters()).device))
    maps = prediction.float().cpu().numpy()[0, 0]  # (h, w)
    if blur:
        maps = gaussian_filter(maps, blur * size[0] / 480, mode="nearest", truncate=4)
    return _enlarged(maps, own_size)


def predict_mrcnn(photo: Photo, weights: str | Path, *, squares: Sequence[int] | None = None, device: str = "auto",
                  blur: float = 0.0, exif: str = "upright") -> NDArray[np.float32]:
    """Mr-CNN's saliency map of a photograph: float32 (H, W) in [0, 1], at the photograph's own size.

    photo, exif: as in `predict_emlnet`. weights, squares: see `lib.models.mrcnn_weights.load_mrcnn`. blur: sigma of a Gaussian over
    the 50x50 probabilities, in their cells; the published recipe has none. The map is not stretched. FileNotFoundError or
    ValueError, one line. For many photographs, load once and use `mrcnn_map`.
    """
    return mrcnn_map(load_mrcnn(weights, squares).to(find_device(device)), photo, blur=blur, exif=exif)


def mrcnn_map(model: MrCNN, photo: Photo, *, blur: float = 0.0, exif: str = "upright") -> NDArray[np.float32]:
    """`predict_mrcnn` with a model at hand, which is put into evaluation mode and used where it is.

    Example:
        >>> model = MrCNN(squares=(150,), widths=(8, 8, 8), hidden=16)
        >>> mrcnn_map(model, np.zeros((90, 120, 3), dtype=np.uint8)).shape
        (90, 120)
    """
    _check_blur(blur)
    read = [read_photo(photo, (side, side), exif=exif) for side in model.squares]  # each from the photograph itself, as in training
    device = next(model.parameters()).device
    views = [torch.from_numpy(view).permute(2, 0, 1)[None].to(device) for view, _ in read]  # (1, 3, S, S)
    with torch.inference_mode():
        logits = model.eval()(*views)  # (1, 1, 50, 50)
    maps = torch.sigmoid(logits.float()).cpu().numpy()[0, 0]
    return _enlarged(gaussian_filter(maps, blur, mode="nearest", truncate=4) if blur else maps, read[0][1])


def _check_blur(blur: float) -> None:
    if not 0 <= blur < math.inf:  # also false for NaN
        raise ValueError(f"blur is {blur}, expected a sigma of 0 or more; 0 is none")


def _enlarged(maps: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """(h, w) in [0, 1] -> (H, W), bilinear."""
    grown = F.interpolate(torch.from_numpy(maps)[None, None], size, mode="bilinear", antialias=True)
    return grown[0, 0].clamp(0, 1).numpy()


# Photographs


def read_photo(photo: Photo, size: tuple[int, int], *, exif: str = "upright") -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """A photograph squashed to `size` (height, width), RGB uint8 (h, w, 3), and its own (height, width), upright or as `exif` says.

    FileNotFoundError or ValueError, one line, for what is no image or a damaged one.

    Example:
        >>> view, own_size = read_photo(np.zeros((90, 120), dtype=np.uint8), (48, 64))
        >>> view.shape, own_size
        ((48, 64, 3), (90, 120))
    """
    if not isinstance(photo, str | Path):
        pixels = _from_array(np.asarray(photo))
        return _squash(pixels, size), pixels.shape[:2]
    own = picture_size(photo, exif=exif, remedy=REMEDY)
    at_least = (2 * size[0], 2 * size[1]) if own[0] * own[1] > LARGE else None
    return _squash(read_picture(photo, mode="photograph", exif=exif, at_least=at_least, remedy=REMEDY), size), own


def _squash(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.array(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BILINEAR))


def _from_array(photo: NDArray) -> NDArray[np.uint8]:
    """(H, W, 3) or (H, W), uint8 or float in [0, 1] -> (H, W, 3) uint8."""
    if not (photo.ndim == 2 or (photo.ndim == 3 and photo.shape[2] == 3)) or 0 in photo.shape:
        raise ValueError(f"expected a photograph (H, W, 3) or (H, W), got an array of shape {photo.shape}; give RGB or grey, one photograph")
    if np.issubdtype(photo.dtype, np.floating):
        if not (photo.min() >= 0 and photo.max() <= 1):  # also false for NaN
            raise ValueError("a photograph of floats must lie in [0, 1]; divide it by its white, or give uint8")
        photo = (photo * 255).round().astype(np.uint8)
    if photo.dtype != np.uint8:
        raise ValueError(f"a photograph must be uint8 or float in [0, 1], got {photo.dtype}; convert it")
    return photo if photo.ndim == 3 else np.repeat(photo[..., None], 3, axis=2)


def save_map(path_stem: str | Path, saliency: NDArray) -> tuple[Path, Path]:
    """Write `saliency` (H, W) as STEM.png, 8 bits from its minimum to its maximum, and as STEM.npy, float32 as it is.

    Values are rounded to 8 bits; a constant map is black. Neither file is ever half-written. ValueError for a map that is not
    finite. Read the float map with np.load(path, allow_pickle=False).
    """
    saliency, stem = np.asarray(saliency, dtype=np.float32), Path(path_stem)
    if saliency.ndim != 2 or saliency.size == 0 or not np.isfinite(saliency).all():
        raise ValueError(f"{stem}: a map must be (H, W) and finite, got shape {saliency.shape}"
                         f"{'' if np.isfinite(saliency).all() else ' with NaN or infinite values'}; look at the weights that made it")
    low, high = saliency.min(), saliency.max()
    picture = Image.fromarray(np.rint((saliency - low) / (high - low or 1) * 255).astype(np.uint8))
    png, npy = (stem.with_name(stem.name + suffix) for suffix in (".png", ".npy"))
    replace_atomically(png, lambda temporary: picture.save(temporary, format="PNG"))
    replace_atomically(npy, lambda temporary: _save_array(temporary, saliency))
    return png, npy


def _save_array(path: Path, array: NDArray) -> None:
    with open(path, "wb") as file:  # given a name, np.save would append .npy
        np.save(file, array, allow_pickle=False)


# The command line


def emlnet_model(arguments: argparse.Namespace) -> nn.Module:
    """EML-NET with the weights that the options name (encoder, decoder), else those that are here."""
    encoders, decoder = arguments.encoder, arguments.decoder
    if not encoders and decoder is None:
        *encoders, decoder = released = [WEIGHTS / name for name in RELEASED]
        if missing := [path.name for path in released if not path.is_file()]:
            encoders, decoder = [_trained_here("emlnet", f"give --encoder, or put {', '.join(missing)} into data/weights; {GUIDE}")], None
    return load_emlnet(encoders, decoder)


def _emlnet(arguments: argparse.Namespace) -> Callable[[Path], NDArray]:
    model = emlnet_model(arguments).to(find_device(arguments.device))
    return lambda photo: saliency_map(model, photo, size=arguments.size, blur=arguments.blur, exif=arguments.exif)


def _trained_here(name: str, instead: str) -> Path:
    """The weights of the repository, with a word on them; ValueError, one line, where they are not (an installed copy lacks them)."""
    if name == "emlnet" and LITE0.is_file() and importlib.util.find_spec("timm"):
        print(f"{LITE0.name}: EfficientNet-lite0, fine-tuned here on 640 photographs of OSIE and MIT1003; its card lies beside it", file=sys.stderr)
        return LITE0
    path = TRAINED / {"emlnet": "emlnet-osie-decoder.safetensors", "mrcnn": "mrcnn-osie-three.safetensors"}[name]
    if not path.is_file():
        raise ValueError(f"no weights: {instead}")
    warning = WARNINGS.get(name, "")
    print(f"{path.name}: a small network, trained here on 360 photographs of OSIE{warning}; for better maps {instead}", file=sys.stderr)
    return path


# Scored on MIT1003's 80 test photographs (results/reference/splits/mit1003-400.csv), beside the centre bias of Mr-CNN's table there.
WARNINGS = {"mrcnn": "; on photographs of another data set it predicted no better than a Gaussian in the middle does (NSS 1.14 and 1.23)"}


def mrcnn_model(arguments: argparse.Namespace) -> MrCNN:
    """Mr-CNN with the weights that the options name (weights, squares), else those that are here."""
    weights = arguments.weights or _trained_here("mrcnn", "give --weights, a file that `python -m lib table mrcnn` left in results/runs")
    return load_mrcnn(weights, arguments.squares)


def _mrcnn(arguments: argparse.Namespace) -> Callable[[Path], NDArray]:
    model = mrcnn_model(arguments).to(find_device(arguments.device))
    return lambda photo: mrcnn_map(model, photo, blur=arguments.blur, exif=arguments.exif)


MODELS: dict[str, Callable[[argparse.Namespace], Callable[[Path], NDArray]]] = {"emlnet": _emlnet, "mrcnn": _mrcnn}  # their options: `lib.options`


def main(arguments: argparse.Namespace) -> int:
    """Write PHOTO_smap.png and PHOTO_smap.npy for each photograph; 1 where one could not be read, the others are written.

    ValueError or FileNotFoundError, one line, before anything is written: unfit weights, or two maps of one name.
    """
    stems = [arguments.out / f"{photo.stem}_smap" for photo in arguments.photos]
    if twice := sorted({str(stem) for stem in stems if stems.count(stem) > 1}):
        raise ValueError(f"several photographs would be written to {twice[0]}.png; predict them into different folders")
    for_folder(arguments.out)
    apart([stem.with_name(stem.name + suffix) for stem in stems for suffix in (".png", ".npy")], arguments.photos)
    some_picture(arguments.photos, remedy=REMEDY)
    predict, failed = MODELS[arguments.model](arguments), False
    for photo, stem in zip(arguments.photos, stems, strict=True):
        try:
            print(*save_map(stem, predict(photo)))
        except (ValueError, OSError) as error:
            print(f"error: {told_of(photo, error)}", file=sys.stderr)
            failed = True
    return int(failed)
