"""Claims of "Learning to Zoom" about gaze estimation: section 4.1, Table 1, Figures 1, 2 and 4, and the discussion of them.

The paper reports iPad and iPhone apart. What is only a direction is tested on the mean of both, each with half the weight, so that
the claim is not split in two; sizes are tested apart, as printed.
"""

import functools

import numpy as np

from lib.claims.claim import Claim, Contrast, LeftOut, Piece, Values, contrast, direction, less, size

TABLE_1 = "Learning to Zoom, section 4.1, Table 1"


def tablet(rows: dict[str, Values]) -> np.ndarray:
    return next(iter(rows.values()))["tablet"].astype(bool)


def telephone(rows: dict[str, Values]) -> np.ndarray:
    return ~tablet(rows)


CM = {"table": "gazecapture", "unit": "cm"}
looks = functools.partial(direction, table="gazecapture")
DEVICES = {"iPad": tablet, "iPhone": telephone}


def error(rows: dict[str, float], *devices: str) -> Contrast:
    """The error in cm on these devices, each with the same weight; on both by default."""
    devices = devices or tuple(DEVICES)
    return Contrast(rows=rows, pieces=tuple(Piece(values={"error_cm": 1 / len(devices)}, where=DEVICES[one], reads=("tablet",)) for one in devices))


def beats(rival: str, name: str, printed: str) -> Claim:
    return direction(f"gaze_beats_{rival}", f"The saliency sampler has a smaller gaze error than {name} ({printed}).",
                     error(less(rival, "sampler")), source=TABLE_1, **CM,
                     statistic=f"error of {rival} minus error of sampler, mean of iPad and iPhone")


def by_how_much(rival: str, name: str, device: str, published: float, source: str) -> Claim:
    return size(f"gaze_size_{rival}_{device.lower()}", f"On {device} the sampler's error is {published:.2f} cm below that of {name}.",
                error(less(rival, "sampler"), device), source=source, **CM, published=published, measured_on=("gazecapture",),
                statistic=f"error of {rival} minus error of sampler, {device}")


def level_with_itracker(device: str, ours: float, theirs: float) -> Claim:
    return size(f"gaze_level_{device.lower()}", f"On {device} the sampler comes within 0.05 cm of iTracker, or below it ({ours} against {theirs}).",
                error(less("itracker", "sampler"), device), source=TABLE_1, **CM, published=0.0, margin=0.05,
                one_sided=True, measured_on=("gazecapture",), statistic=f"error of itracker minus error of sampler, {device}; the margin is ours")


RANGE = "Learning to Zoom, section 4.1: \"ranging from 0.62 to 1.92 cm for iPad and 0.17cm to 0.59 cm for iPhone\""

CLAIMS = (
    beats("plain", "the plain AlexNet", "3.29 against 5.44 cm on iPad, 2.03 against 2.63 on iPhone"),
    beats("deformable", "deformable convolutions", "5.21 and 2.62 cm"),
    beats("stn_tps", "a thin-plate spatial transformer", "4.44 and 2.39 cm"),
    beats("stn_affine", "an affine spatial transformer", "4.33 and 2.25 cm"),
    beats("grid_estimator", "a network that estimates the grid without a saliency map", "3.91 and 2.20 cm"),
    direction("gaze_like_itracker", "With one input the sampler performs similarly to iTracker with its four.",
              error({"itracker": 0.9, "plain": 0.1, "sampler": -1.0}), source=TABLE_1, **CM, statistic="nine tenths of itracker's error and one "
              "tenth of plain's, minus sampler's: above 0 if the sampler closes nine tenths of the gap"),
    looks("gaze_finds_the_eyes", "The sampler locates the eyes and enlarges them.", contrast({"sampler": 1.0}, "eye_magnification"), low=1.0,
          source="Learning to Zoom, Figures 1 and 4", statistic="linear magnification of both eyes' boxes; 1 is uniform"),
    looks("gaze_both_eyes", "The sampler magnifies both eyes, though one lies beside the other.",
          contrast({"sampler": 1.0}, "least_eye_magnification"), low=1.0, source="Learning to Zoom, section 5",
          statistic="linear magnification of the eye that is enlarged less; 1 is uniform"),
    looks("gaze_keeps_the_head", "The sampler learns to preserve the approximate position of the head in the image.",
          contrast({"sampler": 1.0}, {"head_offset": 0.5, "head_shift": -1.0}), source="Learning to Zoom, Figure 4", digits=3,
          statistic="half of the face's distance from the frame's centre, minus how far the sampler moves the face; in sides of the frame"),
    looks("gaze_rivals_do_not_find_them", "Spatial transformers and the grid estimator have a hard time finding a useful transformation.",
          contrast({"sampler": 1.0, "stn_affine": -1 / 3, "stn_tps": -1 / 3, "grid_estimator": -1 / 3}, "eye_magnification"),
          source="Learning to Zoom, section 4.1",
          statistic="magnification of the eyes: sampler minus the mean of stn_affine, stn_tps and grid_estimator"),
    direction("gaze_small_features", "The sampler is most beneficial for gaze where the eyes are small in the frame.",
              error(less("plain", "sampler")), error(less("control_sampler", "control_plain")), source="Learning to Zoom, section 5", **CM,
              statistic="the sampler's gain over plain, minus its gain in the control, whose eyes survive shrinking"),
    by_how_much("plain", "the plain AlexNet", "iPad", 2.15, TABLE_1),
    by_how_much("plain", "the plain AlexNet", "iPhone", 0.60, TABLE_1),
    by_how_much("deformable", "the worst rival, deformable convolutions,", "iPad", 1.92, RANGE),
    by_how_much("deformable", "the worst rival, deformable convolutions,", "iPhone", 0.59, RANGE),
    by_how_much("grid_estimator", "the best rival, the grid estimator,", "iPad", 0.62, RANGE),
    by_how_much("grid_estimator", "the best rival, the grid estimator,", "iPhone", 0.17, RANGE),
    level_with_itracker("iPad", 3.29, 3.31),
    level_with_itracker("iPhone", 2.03, 2.04),
)

LEFT_OUT = (
    LeftOut(sentence="The sampler prevents extreme transformations and fold-overs, which a thin-plate spline can have.",
            source="Learning to Zoom, sections 2 and 6", why="a property of the grid, not of test samples: tests of the sampler, and notebook 00"),
    LeftOut(sentence="The computation is one pass at constant cost, without significant additional burden.",
            source="Learning to Zoom, sections 1 and 3",
            why="a matter of time and operations: the benchmarks; accuracy at equal cost is a claim of Table 2"),
    LeftOut(sentence="The method is easier to train than spatial transformers and deformable convolutions.", source="Learning to Zoom, section 5",
            why="the paper does not say by what; learning curves are in the notebooks"),
    LeftOut(sentence="A Gaussian with a third of the saliency map's width works well in various settings.", source="Learning to Zoom, section 3.2",
            why="no row of a table varies the width"),
)
