"""Questions of this repository, not claims of a paper: which grid is best, and what zooming and carrying back do to a dense network.

A question is put as the sentence that its answer would have to support, in the direction in which somebody has a reason to expect it; "fails" and
"undecided" are answers like "holds". Sizes are never asked for: no paper reports them.
"""

from lib.claims.claim import Claim, LeftOut, contrast, direction, equivalence, less

QUESTION = "a question of this repository"
TOP1 = {"top1": 100.0}  # in per cent
GRIDS = {"separable": "the separable attraction (FOVEA, LZU)", "marginal": "equal mass per axis (TASN, AttWarp)",
         "cells": "similar cells (ZoomTrack)", "balanced": "equal mass in the plane (transport, balanced)",
         "transport": "equal mass in the plane (transport, exact)"}


def beats(first: str, second: str, sentence: str, key: str) -> Claim:
    return direction(key, sentence, contrast(less(first, second), TOP1), source=QUESTION, table="successors", unit="points", digits=1,
                     statistic=f"top-1 of {first} minus {second}")


def dense(first: str, second: str, sentence: str, key: str, value: str = "nss") -> Claim:
    return direction(key, sentence, contrast(less(first, second), value), source=QUESTION, table="unzoomed", digits=3,
                     statistic=f"{value} of {first} minus {second}")


SUCCESSORS = (
    *(beats("sampler", f"learned_{grid}", f"With a learned map, the attraction of 2018 beats {name}.", f"beyond_learned_{grid}")
      for grid, name in GRIDS.items()),
    beats("sampler", "fovea", "An own map alone beats one that is mixed with the data set's (FOVEA).", "beyond_learned_fovea"),
    beats("sampler", "lzu", "A learned map beats a fixed one (LZU).", "beyond_learned_lzu"),
    *(beats("oracle", f"told_{grid}", f"Told where, and at one zoom, the attraction of 2018 beats {name}.", f"beyond_told_{grid}")
      for grid, name in GRIDS.items() if grid != "cells"),
    direction("beyond_shape", "At one zoom, equal mass per axis distorts the animal less than separable attraction.",
              contrast(less("told_separable", "told_marginal"), "anisotropy"), source=QUESTION, table="successors",
              statistic="worst anisotropy of the animal: told_separable minus told_marginal"),
)
UNZOOMED = (
    dense("sampler", "encoder_a", "A learned zoom that is carried back improves EML-NET's encoder on NSS.", "beyond_dense_zoom"),
    dense("sampler", "same_cost", "A learned zoom improves NSS more than its cost spent on resolution.", "beyond_dense_cost"),
    dense("sampler", "encoder_a", "A learned zoom improves shuffled AUC.", "beyond_dense_sauc", "auc_shuffled"),
    dense("sampler", "not_unzoomed", "Maps that are not carried back are worse, on NSS.", "beyond_dense_back"),
    dense("centre", "encoder_a", "One zoom to the middle for all photographs (LZU's idea) improves NSS.", "beyond_dense_centre"),
    dense("oracle", "encoder_a", "A zoom that knows where people look improves NSS.", "beyond_dense_oracle"),
    equivalence("beyond_dense_free", "Zooming and carrying back cost little: NSS falls by less than 0.05.",
                contrast(less("sampler", "encoder_a"), "nss"), margin=0.05, one_sided=True, source=QUESTION, table="unzoomed", digits=3,
                statistic="nss of sampler minus encoder_a; the margin is ours"),
)
CLAIMS = SUCCESSORS + UNZOOMED

LEFT_OUT = (
    LeftOut(sentence="Which of the successors' systems is best: FOVEA, LZU, TASN, ZoomTrack, AttWarp.", source=QUESTION,
            why="their networks, data and maps differ; rows here differ in the grid alone"),
    LeftOut(sentence="Feature maps that are carried back from the middle of a network (LZU) do better than outputs.", source=QUESTION,
            why="`unzoom` takes feature maps, but no row does so"),
)
