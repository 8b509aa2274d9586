"""Claims about saliency prediction: EML-NET's paper and README, and those on Mr-CNN, by Liu et al. and in the coursework on it.

EML-NET's own tables and the full text on Mr-CNN were not at hand: directions come from abstract, title and README, and the
only sizes are read in tables that others printed, each with its source.
"""

from lib.claims.claim import Claim, LeftOut, better, contrast, size

README = "README of SenJia/EML-NET-Saliency"
MULTI = "Liu et al., CVPR 2015: the multi-resolution network of the title; its tables were not at hand"
COURSE = "README of LewisClifton/ADL-Coursework"
SIMPLENET = "SALICON test, LSUN'17 edition, as read in SimpleNet's authors' table"


def about(key: str, value: str, published: float, margin: float) -> Claim:
    return size(key, f"EML-NET reaches {value.upper()} {published:.3f} on SALICON.", contrast({"decoder": 1.0}, value), source=SIMPLENET,
                table="salicon", digits=3, published=published, margin=margin, measured_on=("salicon",),
                statistic=f"{value} of decoder, on the validation images; which variant was published is not said, the margin is ours")


def three_beat(other: str, name: str, value: str) -> Claim:
    """By the paper's metric, or by another."""
    key, by = (f"mrcnn_three_{other}", "by shuffled AUC") if value == "auc_shuffled" else (f"mrcnn_three_{other}_{value}", f"by {value.upper()}")
    return better(key, f"Three resolutions predict fixations better than {name}, {by}.", "three", other, value, table="mrcnn", source=MULTI)


EMLNET_CLAIMS = (
    better("emlnet_loss", "The modified combined loss is better than the mean squared error on NSS.", "encoder_a", "mse", "nss", table="salicon",
           source="EML-NET, abstract (arXiv 1805.01047), and its README"),
    *(better(f"emlnet_two_{one}_{value}", f"Two encoders combined beat the {name} alone on {value.upper()}.",
             "decoder", f"encoder_{one}", value, table="salicon", source=README)
      for value in ("nss", "cc") for one, name in (("a", "first"), ("b", "second"))),
    about("emlnet_size_nss", "nss", 2.050, 0.1),
    about("emlnet_size_cc", "cc", 0.886, 0.02),
)

FEWER = {"one_400": "the finest alone (400 px)", "one_250": "the middle one alone (250 px)", "one_150": "the coarsest alone (150 px)",
         "two": "two of them"}
MRCNN_CLAIMS = (
    *(three_beat(other, name, value) for value in ("auc_shuffled", "nss") for other, name in FEWER.items()),
    better("mrcnn_blur", "A learned blur before each stream improves the network.", "improved", "three", "auc_shuffled", table="mrcnn",
           source=COURSE),
    better("mrcnn_blur_score", "A learned blur before each stream raises the coursework's own score.", "improved", "three", "bristol", table="mrcnn",
           source=COURSE),
    better("mrcnn_axes", "Inference with scales and colours exchanged, as in the course's data code, costs accuracy.", "three", "scrambled",
           "auc_shuffled", table="mrcnn", source="the course's data code, as read in the copies of its students"),
    size("mrcnn_size_score", "Mr-CNN reaches 71 % on the coursework's own score, evaluated as the course does.",
         contrast({"scrambled": 1.0}, "bristol"), source="the course's brief, section 5: 71 %, passing within 5 points",
         table="mrcnn", digits=3, published=0.71, margin=0.05, measured_on=("mit1003", "coursework"),
         statistic="bristol of scrambled"),
)

# On photographs with the scanpaths of known people: against the centre of the picture, which a predictor has to beat, in two metrics of which one
# (shuffled AUC) gives nothing for a guess at the middle.
REAL = {"presets": ("photos",)}
REAL_CLAIMS = (
    *(better(f"emlnet_beats_centre_{value}", f"EML-NET predicts where people look better than the centre does, by {name}.", "decoder",
             "centre_bias", value, table="salicon", source="EML-NET's values on MIT300 (NSS 2.47), as read in SimpleNet's authors' table", **REAL)
      for value, name in (("nss", "NSS"), ("auc_shuffled", "shuffled AUC"))),
    better("emlnet_pretrained", "An encoder that knows ImageNet's objects predicts better than one that begins with random values.", "encoder_a",
           "small", "nss", table="salicon", source=f"{README}: prior knowledge of objects broadens a model's horizon", **REAL),
    *(better(f"mrcnn_beats_centre_{value}", f"Mr-CNN predicts where people look better than the centre does, by {name}.", "three",
             "centre_bias", value, table="mrcnn", source=MULTI, **REAL) for value, name in (("nss", "NSS"), ("auc_shuffled", "shuffled AUC"))),
)

CLAIMS = EMLNET_CLAIMS + MRCNN_CLAIMS + REAL_CLAIMS

LEFT_OUT = (
    LeftOut(sentence="EML-NET is the state of the art in NSS on SALICON, MIT300 and CAT2000.", source="EML-NET, abstract (arXiv 1805.01047)",
            why="the rivals are not here, and the test sets' fixations are not public"),
    LeftOut(sentence="Saliency relies on objects that are known; more kinds of prior knowledge broaden a model's horizon.", source=README,
            why="it would need pictures without known objects, and encoders trained on objects and on places"),
    LeftOut(sentence="Deeper networks such as NASNet can be applied.", source=README, why="what they are to be better than is not said"),
    LeftOut(sentence="Mr-CNN's shuffled AUC on MIT, Toronto, Cerf and NUSEF.", source="Liu et al., CVPR 2015",
            why="the paper's table was not at hand"),
)
