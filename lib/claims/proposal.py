"""Claims of the report on salience region proposal (JasmineLi-805/cse490-DeepLearning-Project), and of an earlier draft of it."""

from lib.claims.claim import TOP1, Claim, LeftOut, better, contrast, direction, equivalence, less, size

REPORT = "report of JasmineLi-805/cse490-DeepLearning-Project, results"
DRAFT = "an earlier README of the same project"
SHOWS = {"shown": 100.0, "shown_by_chance": -100.0}
POINTS = {"table": "proposal", "unit": "points", "digits": 1}


def alike(row: str, seen: str) -> Claim:
    return equivalence(f"proposal_flat_{row.removeprefix('proposal_')}", f"What the head sees hardly matters: {seen} does as well as the second.",
                       contrast(less(row, "proposal"), TOP1), margin=2.0, source=f"{REPORT}: \"about 48\" for all", **POINTS,
                       statistic=f"top-1 of {row} minus proposal; the margin is ours")


def chooses(row: str, sentence: str, source: str) -> Claim:
    """Of the twin, which knows its boxes."""
    return direction(f"chooses_{row}", sentence, contrast({row: 1.0}, SHOWS), source=source, **POINTS, datasets=("twin",),
                     statistic=f"{row}: how often the crop of the greatest weight shows the object, minus the share of the crops that do")


def finds(row: str, sentence: str, source: str) -> Claim:
    """As `chooses`, where no boxes are known: a judge, lite0 with ImageNet's weights, says which crop shows the object best."""
    return direction(f"finds_{row}", sentence, contrast({row: 1.0}, {"surest": 100.0, "surest_by_chance": -100.0}), source=source, **POINTS,
                     presets=("photos", "photos-resnet18"),
                     statistic=f"{row}: how often its crop is the one that lite0 is surest of, minus one in five")


CLAIMS = (
    equivalence("proposal_no_gain", "Choosing among crops does not significantly increase accuracy over the classifier alone.",
                contrast(less("full", "proposal"), TOP1), margin=1.0, one_sided=True, source=REPORT, **POINTS,
                statistic="top-1 of full minus proposal; the margin, a point in the proposal's favour, is ours"),
    better("proposal_smallest_worst", "A head that sees 64 px does better than one that sees 32 px (48.24 against 47.81 %).", "proposal",
           "proposal_smallest", source=REPORT, table="proposal"),
    alike("proposal_third", "the third size"),
    alike("proposal_largest", "the largest, a whole crop,"),
    chooses("proposal", "Crops that are more helpful for the classification get the higher probability.", f"{DRAFT}, section Model"),
    chooses("proposal_smallest", "A small network that sees little can locate the object.", f"{DRAFT}, introduction, after Yohanandan et al."),
    finds("proposal", "On photographs, crops that are more helpful for the classification get the higher probability.", f"{DRAFT}, section Model"),
    finds("proposal_smallest", "On photographs, a small network that sees little can locate the object.",
          f"{DRAFT}, introduction, after Yohanandan et al."),
    size("proposal_size", "As released, the model reaches 48.24 % on imagenette.", contrast({"released": 1.0}, TOP1), published=48.24, margin=2.0,
         source=REPORT, measured_on=("imagenette",), **POINTS, statistic="top-1 of released; the margin is ours"),
    size("proposal_size_smallest", "A head that sees 64 px does 0.43 points better than one that sees 32 px.",
         contrast(less("proposal", "proposal_smallest"), TOP1), published=0.43, source=REPORT,
         measured_on=("imagenette",), **POINTS, statistic="top-1 of proposal minus proposal_smallest"),
)

LEFT_OUT = (
    LeftOut(sentence="Thousands of proposed boxes, many on background, make detectors inefficient.", source=f"{DRAFT}, introduction",
            why="no detector is here"),
    LeftOut(sentence="More epochs, other crops or the whole image as a sixth view may help.", source="the report's outlook",
            why="a suggestion, not a result; the row six_views runs in preset `paper`"),
)
