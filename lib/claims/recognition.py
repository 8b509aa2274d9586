"""Claims of "Learning to Zoom" about fine-grained recognition: sections 3.3, 4.2 and 4.3, Tables 2 to 4, Figures 2, 5 and 6."""

import functools

import numpy as np

from lib.claims.claim import RIGHT, TOP1, Claim, Contrast, LeftOut, Piece, Values, better, contrast, direction, less, size

TABLE_2, TABLE_3 = "Learning to Zoom, section 4.2, Table 2", "Learning to Zoom, section 4.2, Table 3"
TABLE_4, DISCUSSION = "Learning to Zoom, section 4.3, Table 4", "Learning to Zoom, section 5"
PHOTOS = ("photos", "photos-224")  # photographs with annotated heads, and rows beside the paper's
inat = functools.partial(better, table="inaturalist", source=TABLE_2)


def by_how_much(key: str, sentence: str, first: str, second: str, published: float, value: str = "top-1", *, table: str = "inaturalist",
                source: str = TABLE_2) -> Claim:
    return size(key, sentence, contrast(less(first, second), RIGHT[value]), source=source, table=table, unit="points", digits=1,
                published=published, measured_on=(table,), statistic=f"{value} of {first} minus {second}")


def looks(key: str, sentence: str, rows: dict[str, float], values: dict[str, float], statistic: str, *, source: str, table: str = "inaturalist",
          **options) -> Claim:
    """Where the sampler looks, or by how much it enlarges."""
    return direction(key, sentence, contrast(rows, values), source=source, table=table, statistic=statistic, **options)


def small(rows: dict[str, Values]) -> np.ndarray:
    """Objects whose box takes less of the picture than the median box."""
    share = next(values["box_share"] for values in rows.values() if "box_share" in values)
    return share < np.nanmedian(share)


def large(rows: dict[str, Values]) -> np.ndarray:
    share = next(values["box_share"] for values in rows.values() if "box_share" in values)
    return share >= np.nanmedian(share)


SMALL_MINUS_LARGE = (Piece(values=TOP1, where=small, reads=("box_share",)), Piece(values={"top1": -100.0}, where=large, reads=("box_share",)))
SIMILAR = {"plain": 0.5, "sampler": 0.5, "stn_affine": -1 / 3, "stn_tps": -1 / 3, "grid_estimator": -1 / 3}

TABLE_2_CLAIMS = (
    inat("inat_top1", "The sampler improves ResNet-101's top-1 (60 to 65 %).", "sampler", "plain"),
    inat("inat_top5", "The sampler improves ResNet-101's top-5 (83 to 86 %).", "sampler", "plain", "top-5"),
    inat("inat_beats_deformable", "The sampler beats deformable convolutions (65 against 44 %).", "sampler", "deformable"),
    inat("inat_beats_stn_affine", "The sampler beats an affine spatial transformer (65 against 60 %).", "sampler", "stn_affine"),
    inat("inat_beats_grid_estimator", "The sampler beats the grid estimator (65 against 61 %).", "sampler", "grid_estimator"),
    inat("inat_beats_stn_tps", "The sampler beats a thin-plate spatial transformer (65 against 62 %).", "sampler", "stn_tps"),
    inat("inat_beats_cam", "The sampler beats a second look at the CAM's crop by several points (65 against 62 %).", "sampler", "cam"),
    inat("inat_deformable_worse", "Deformable convolutions perform significantly worse than the plain network (44 against 60 %).", "plain",
           "deformable"),
    inat("inat_cam_helps", "High resolution alone, as the CAM's crop, helps ResNet-101 (60 to 62 %).", "cam", "plain"),
    direction("inat_rivals_similar", "Spatial transformers and grid estimator stay closer to ResNet-101 than to the sampler (60, 62 and 61 %).",
              contrast(SIMILAR, TOP1), source=f"{TABLE_2}, and section 5", table="inaturalist", unit="points", digits=1,
              statistic="top-1 halfway between plain and sampler, minus the mean of the three"),
    inat("inat_inception", "The sampler helps Inception V3 too (64 to 66 %).", "inception_sampler", "inception_plain",
           source="Learning to Zoom, section 4.2"),
    inat("inat_same_cost", "The sampler captures some of the benefit of resolution without its cost.", "sampler", "same_cost",
           source="Learning to Zoom, section 3"),
    looks("inat_finds_the_animal", "The saliency network discovers the informative region.", {"sampler": 1.0},
          {"saliency_in_box": 1.0, "box_share": -1.0},
          "share of the saliency inside the animal's box, minus the box's share of the picture", source="Learning to Zoom, Figure 5"),
    looks("inat_zooms", "The sampler zooms in on the animal.", {"sampler": 1.0}, {"box_magnification": 1.0},
          "linear magnification of the animal's box; 1 is uniform", source="Learning to Zoom, Figures 2 and 5", low=1.0),
    looks("inat_parts", "The regions that the sampler enlarges tend to be parts of the animal.", {"sampler": 1.0},
          {"parts_magnification": 1.0, "box_magnification": -1.0}, "magnification of the parts minus that of the whole animal",
          source="Learning to Zoom, Figure 5"),
    looks("inat_uneven_zoom", "Unlike the CAM's crop, the sampler zooms in on certain features more than others.", less("sampler", "cam"),
          {"detail_magnification": 1.0, "box_magnification": -1.0},
          "magnification of the deciding detail minus that of the animal: sampler minus CAM's crop", source="Learning to Zoom, section 4.2"),
    looks("inat_falls_back", "Where nothing is salient, the sampler defaults to near-uniform sampling.", {"sampler": 0.5, "featureless": -1.0},
          {"displacement": 1.0},
          "half of how far the grid is displaced from the uniform one, minus how far on the same picture blurred until featureless",
          source="Learning to Zoom, Figure 2 (c) and abstract", digits=3),
    inat("inat_blur_helps", "Blurring the resampled image in early epochs helps the final model, evaluated without blur.", "blur_third", "sampler",
           source="Learning to Zoom, section 3.3"),
    looks("inat_blur_zooms", "The blur forces the sampler to zoom in deeper.", less("blur_third", "sampler"), {"detail_magnification": 1.0},
          "magnification of the deciding detail: blur_third minus sampler", source="Learning to Zoom, section 3.3"),
    direction("inat_small_objects", "The sampler gains more where the objects are small in the picture.",
              Contrast(rows=less("sampler", "plain"), pieces=SMALL_MINUS_LARGE), source=f"{DISCUSSION}, and section 4.3", table="inaturalist",
              unit="points", digits=1, statistic="gain in top-1 where the box is below the median size, minus gain where it is above"),
    direction("inat_small_features", "The sampler is most beneficial for recognition where the important features are small.",
              contrast(less("sampler", "plain"), TOP1), contrast(less("control_plain", "control_sampler"), TOP1),
              source=DISCUSSION, table="inaturalist", unit="points", digits=1,
              statistic="gain in top-1, minus the gain in the control, whose details survive shrinking"),
    by_how_much("inat_size_top1", "The sampler adds 5 points of top-1 to ResNet-101.", "sampler", "plain", 5.0),
    by_how_much("inat_size_top5", "The sampler adds 3 points of top-5 to ResNet-101.", "sampler", "plain", 3.0, "top-5"),
    by_how_much("inat_size_inception", "The sampler adds 2 points of top-1 to Inception V3.", "inception_sampler", "inception_plain", 2.0,
                source="Learning to Zoom, section 4.2"),
)

DEPTH = {"table": "saliency_depth", "source": TABLE_3}
TABLE_3_CLAIMS = (
    better("depth_6", "A saliency network of 6 layers is better than none (60 to 62 %).", "depth_6", "plain", **DEPTH),
    better("depth_10", "10 layers are better than 6 (62 to 64 %).", "depth_10", "depth_6", **DEPTH),
    better("depth_14", "14 layers are better than 10 (64 to 65 %).", "sampler", "depth_10", **DEPTH),
    direction("depth_diminishing", "Performance increases with depth, but with diminishing returns.",
              contrast({"depth_10": 1.5, "plain": -0.5, "sampler": -1.0}, TOP1), **DEPTH, unit="points", digits=1,
              statistic="mean of the gains of the first two steps (none to 6, 6 to 10 layers), minus the gain of the last (10 to 14)"),
)

TABLE_4_CLAIMS = (
    better("cub_top1", "The sampler improves ResNet-50 on birds (81.6 to 84.5 %).", "sampler", "plain", table="cub200", source=TABLE_4),
    by_how_much("cub_size_top1", "The sampler adds 2.9 points of top-1 to ResNet-50 on birds.", "sampler", "plain", 2.9, table="cub200",
                source=TABLE_4),
    direction("cub_gains_less", "On CUB-200 the sampler's gain is smaller than on iNaturalist.",
              contrast(less("sampler", "plain"), TOP1, table="inaturalist"), contrast(less("plain", "sampler"), TOP1),
              source=TABLE_4, table="cub200", unit="points", digits=1,
              statistic="gain in top-1 on iNaturalist minus gain on CUB-200"),
    direction("cub_tighter", "Objects are more tightly cropped in CUB-200 than in iNaturalist.", contrast({"sampler": 1.0}, "box_share"),
              contrast({"sampler": -1.0}, "box_share", table="inaturalist"), source="Learning to Zoom, section 4.3", table="cub200", digits=3,
              statistic="the box's share of the picture, CUB-200 minus iNaturalist; about the data alone"),
    better("cub_beats_look_again", "The sampler beats a network of DT-RAM's kind, which crops and looks again (84.5 against 82.8 % at 224 px).",
           "sampler", "look_again", table="cub200", source=f"{TABLE_4}; the row deviates from DT-RAM, see lib/models/dtram.py"),
    looks("cub_parts", "The saliency amplifies relevant parts, the bird's head for one.", {"sampler": 1.0},
          {"parts_magnification": 1.0, "box_magnification": -1.0}, "magnification of the parts minus that of the whole bird",
          source="Learning to Zoom, Figure 6", table="cub200"),
    looks("cub_head", "The saliency amplifies relevant image regions such as the bird's head.", {"sampler": 1.0}, {"head_magnification": 1.0},
          "linear magnification of the annotated head; 1 is uniform", source="Learning to Zoom, Figure 6", table="cub200", low=1.0, presets=PHOTOS),
    looks("cub_head_most", "It is the head that the sampler enlarges, more than the bird as a whole.", {"sampler": 1.0},
          {"head_magnification": 1.0, "box_magnification": -1.0}, "magnification of the head minus that of the whole bird",
          source="Learning to Zoom, Figure 6", table="cub200", presets=PHOTOS),
    better("cub_same_cost", "On birds, too, the sampler captures some of the benefit of resolution.", "sampler", "same_cost", table="cub200",
           source="Learning to Zoom, section 3", presets=PHOTOS),
)

CLAIMS = TABLE_2_CLAIMS + TABLE_3_CLAIMS + TABLE_4_CLAIMS

LEFT_OUT = (
    LeftOut(sentence="On ImageNet, whose pictures are small, the sampler improves only marginally.", source="README of the released code",
            why="no table here runs on ImageNet"),
    LeftOut(sentence="On CUB-200 the sampler outperforms DT-RAM at 224 px by 1.7 points, and not DT-RAM at 448 px.", source=TABLE_4,
            why="both values are quoted from the paper: the row `look_again` is of DT-RAM's kind, and not DT-RAM"),
)
