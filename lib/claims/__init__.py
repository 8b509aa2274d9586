"""The claim ledger: what papers and READMEs say, as contrasts of rows, and a verdict on each from stored per-sample values.

`ledger()` gives the claims (`claim.py` says what one is; the sentences are in the modules that `LEDGERS` names), `decide` a
verdict on each: holds, fails, undecided (p corrected by Holm over the claims of one table in one group), not for a twin, not
comparable (a size on another data set or with other networks than the paper's), not run. `verdicts.py` is the statistics.
"""

from lib.claims import beyond, gaze, proposal, recognition, saliency
from lib.claims.claim import Claim, LeftOut
from lib.claims.decide import ORDER, TESTED, Verdict, decide, reference_noise

LEDGERS = (gaze, recognition, saliency, proposal, beyond)  # in the order of the papers
__all__ = ["ORDER", "TESTED", "Claim", "LeftOut", "Verdict", "decide", "ledger", "left_out", "reference_noise"]


def ledger() -> tuple[Claim, ...]:
    """All claims."""
    return tuple(claim for one in LEDGERS for claim in one.CLAIMS)


def left_out() -> tuple[LeftOut, ...]:
    """All sentences that per-sample values cannot decide."""
    return tuple(sentence for one in LEDGERS for sentence in one.LEFT_OUT)
