"""Questions of this repository, not claims of a paper: which grid is best, and what zooming and carrying back do to a dense network.

A question is put as the sentence that its answer would have to support, in the direction in which somebody has a reason to expect it; "fails" and
"undecided" are answers like "holds". Sizes are never asked for: no paper reports them.
"""

import functools

from lib.claims.claim import LeftOut, better, contrast, direction, equivalence, less

QUESTION = "a question of this repository"
GRIDS = {"separable": "the separable attraction (FOVEA, LZU)", "marginal": "equal mass per axis (TASN, AttWarp)",
         "cells": "similar cells (ZoomTrack)", "balanced": "equal mass in the plane (transport, balanced)",
         "transport": "equal mass in the plane (transport, exact)"}


grids = functools.partial(better, source=QUESTION, table="successors")
dense = functools.partial(better, source=QUESTION, table="unzoomed")
SUCCESSORS = (
    *(grids(f"beyond_learned_{grid}", f"With a learned map, the attraction of 2018 beats {name}.", "sampler", f"learned_{grid}")
      for grid, name in GRIDS.items()),
    grids("beyond_learned_fovea", "An own map alone beats one that is mixed with the data set's (FOVEA).", "sampler", "fovea"),
    grids("beyond_learned_lzu", "A learned map beats a fixed one (LZU).", "sampler", "lzu"),
    *(grids(f"beyond_told_{grid}", f"Told where, and at one zoom, the attraction of 2018 beats {name}.", "oracle", f"told_{grid}")
      for grid, name in GRIDS.items() if grid != "cells"),
    direction("beyond_shape", "At one zoom, equal mass per axis distorts the animal less than separable attraction.",
              contrast(less("told_separable", "told_marginal"), "anisotropy"), source=QUESTION, table="successors",
              statistic="worst anisotropy of the animal: told_separable minus told_marginal"),
)
UNZOOMED = (
    dense("beyond_dense_zoom", "A learned zoom that is carried back improves EML-NET's encoder on NSS.", "sampler", "encoder_a", "nss"),
    dense("beyond_dense_cost", "A learned zoom improves NSS more than its cost spent on resolution.", "sampler", "same_cost", "nss"),
    dense("beyond_dense_sauc", "A learned zoom improves shuffled AUC.", "sampler", "encoder_a", "auc_shuffled"),
    dense("beyond_dense_back", "Maps that are not carried back are worse, on NSS.", "sampler", "not_unzoomed", "nss"),
    dense("beyond_dense_centre", "One zoom to the middle for all photographs (LZU's idea) improves NSS.", "centre", "encoder_a", "nss"),
    dense("beyond_dense_oracle", "A zoom that knows where people look improves NSS.", "oracle", "encoder_a", "nss"),
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
