"""The options of `predict`, `zoom`, `score`, `compare` and `export`: apart from what they do, so that help needs neither torch nor SciPy."""

import argparse
import math
from pathlib import Path

from lib.files import from_here
from lib.files.pictures import EXIF

BLUR = 5.0  # pixels of a map that is 480 high
STRENGTH = 1.0  # exponent of the map
COMPARED = "results/compare"  # where `compare` keeps what it made
RESIZE = ("squash", "letterbox", "crop")
GRIDS = {  # of `lib.zoom`
    "attraction": "the paper's, pinned to the border",
    "separable": "FOVEA's: rows and columns are attracted apart",
    "marginal": "equal mass along each axis, as TASN and AttWarp, at most 4 times",
    "cells": "ZoomTrack's: upright cells, as similar as possible",
    "transport": "equal mass in two dimensions",
}


# --- predict ------------------------------------------------------------------------------------------------------------


def _emlnet_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--encoder", action="append", type=Path, default=[], metavar="WEIGHTS", help="one encoder, or twice for two")
    parser.add_argument("--decoder", type=Path, metavar="WEIGHTS", help="combines two encoders")
    parser.add_argument("--size", type=_size, help="height,width of the network's input (480,640; small encoders 120,160)")
    parser.add_argument("--blur", type=_sigma, default=BLUR, help="sigma in pixels of a map 480 high (default 5), 0 for none")


def _mrcnn_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", type=Path, metavar="FILE", help="safetensors of a row of the table mrcnn (default: those of the repository)")
    parser.add_argument("--squares", type=_sides, help="what one or two streams look at, 400,150 say; three streams need none")
    parser.add_argument("--blur", type=_sigma, default=0.0, help="sigma in cells of the 50x50 map (default 0: none)")


MODELS = {"emlnet": ("EML-NET: one encoder, or two and their decoder", _emlnet_options),
          "mrcnn": ("Mr-CNN: weights that were trained here", _mrcnn_options)}


def predict_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command `predict`, one sub-command for each of MODELS; `main` runs it."""
    models = parser.add_subparsers(dest="model", required=True)
    for name, (summary, add_options) in MODELS.items():
        options = models.add_parser(name, help=summary)
        options.add_argument("photos", nargs="+", type=Path, metavar="PHOTO")
        options.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="folder for the maps (default: the current one)")
        options.add_argument("--exif", choices=EXIF, default="upright",
                             help="turn photographs upright (default), or leave them stored as `score` and data sets have them")
        options.add_argument("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")
        add_options(options)


def _sigma(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no sigma; write a number from 0, which is none")
    return value


def _size(text: str) -> tuple[int, int]:
    """ "480,640" or "480x640" as (480, 640)."""
    try:
        height, width = map(int, text.replace("x", ",").split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write height,width such as 480,640") from None
    if min(height, width) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: both must be positive, such as 480,640")
    return height, width


def _sides(text: str) -> tuple[int, ...]:
    """ "400,150" as (400, 150); which squares there are is the model's business."""
    try:
        return tuple(map(int, text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} are no squares; write their sides such as 400,150") from None


# --- zoom and score -----------------------------------------------------------------------------------------------------


def zoom_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command `zoom`; `main` runs it."""
    parser.add_argument("photos", nargs="+", type=Path, metavar="PHOTO")
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="folder for the pictures (default: the current one)")
    parser.add_argument("--heatmap", type=Path, metavar="FILE", help="what to zoom by, a picture or .npy (default: a predicted saliency map)")
    parser.add_argument("--model", choices=("emlnet", "mrcnn"), default="emlnet", help="what predicts it (default: emlnet)")
    parser.add_argument("--strength", type=float, default=STRENGTH, help=f"exponent of the map, 0 for no zoom (default: {STRENGTH:g})")
    parser.add_argument("--grid", choices=GRIDS, default="attraction", help="; ".join(f"{name}: {what}" for name, what in GRIDS.items()))
    parser.add_argument("--size", type=_zoomed_size, metavar="H,W", help="of the zoomed photograph (default: its own)")


def _zoomed_size(text: str) -> tuple[int, int]:
    try:
        height, width = map(int, text.replace("x", ",").split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write height,width such as 600,800") from None
    if not 2 <= min(height, width) <= max(height, width) <= 20_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; both sides from 2 to 20000")
    return height, width


def score_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command `score`; `main` runs it."""
    parser.add_argument("name", metavar="DATASET", help="salicon, osie or mit1003")
    parser.add_argument("maps", metavar="MAPS_DIR", type=Path, help="pictures, .npy, .npz or .mat, named like the photographs")
    parser.add_argument("--data", dest="data_dir", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--split", help="train or val of salicon (val by default); all (default), train, val or test elsewhere")
    parser.add_argument("--out", type=Path, help="CSV with every image's values")
    parser.add_argument("--resize", choices=RESIZE, help="how maps of another shape than their photograph were made")
    parser.add_argument("--exif", choices=EXIF, default="stored", help="whether maps are of photographs as stored (default) or turned upright")
    parser.add_argument("--scale-fixations", action="store_true", help="the photographs were resized: scale their fixations")


# --- compare ------------------------------------------------------------------------------------------------------------


def compare_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command `compare`; `main` runs it."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="class folders, or a CSV with the columns path,label[,split]")
    parser.add_argument("--preset", default="photos", help="photos (112 px, the default), photos-224; demo or smoke: small networks")
    parser.add_argument("--rows", help="further rows, separated by commas: stn_affine, stn_tps, grid_estimator, cam")
    parser.add_argument("--seeds", default="2", help="how many (5), a range (3-9), or a list (2,5) (default: 2)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--results", dest="results_dir", type=from_here, default=Path(COMPARED),
                        help=f"folder for records, the table and figures (default: {COMPARED})")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask scheduler whose workers compute the rows; this machine's cores by default")


# --- export -------------------------------------------------------------------------------------------------------------


def export_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command `export`; `main` runs it."""
    parser.add_argument("model", metavar="MODEL", help="emlnet, mrcnn, or a row of a table as TABLE/ROW, inaturalist/sampler for instance")
    parser.add_argument("file", metavar="FILE", type=Path, help="ends in .onnx (needs the extra `export`) or .pt2 (torch.export)")
    parser.add_argument("--weights", type=Path, metavar="FILE", help="of mrcnn or of a row (default: the newest that were trained here)")
    parser.add_argument("--encoder", action="append", type=Path, default=[], metavar="WEIGHTS", help="of emlnet: one encoder, or twice for two")
    parser.add_argument("--decoder", type=Path, metavar="WEIGHTS", help="of emlnet: combines two encoders")
    parser.add_argument("--squares", type=_sides, help="of mrcnn: what one or two streams look at, 400,150 say")
    parser.add_argument("--preset", help="of a row: how large its network is (default: demo)")
    parser.add_argument("--maps", action="store_true", help="of a row with a sampler: give the zoomed picture and the grid, too")
