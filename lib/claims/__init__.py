"""The claim ledger: what papers and READMEs say, as contrasts of rows, and a verdict on each from stored per-sample values.

`ledger()` gives the claims (`claim.py` says what one is; the sentences are in the modules that `LEDGERS` names), `decide` a
verdict on each: holds, fails, undecided (p corrected by Holm over the claims of one table in one group), not for a twin, not
comparable (a size on another data set or with other networks than the paper's), not run. `verdicts.py` is the statistics.
"""

import importlib

from lib.claims.claim import Claim, LeftOut
from lib.claims.decide import ORDER, TESTED, Verdict, decide, reference_noise

LEDGERS = ("gaze", "recognition", "saliency", "proposal", "beyond")
__all__ = ["ORDER", "TESTED", "Claim", "LeftOut", "Verdict", "decide", "ledger", "left_out", "reference_noise"]


def ledger() -> tuple[Claim, ...]:
    """All claims, in the order of the papers."""
    return tuple(claim for name in LEDGERS for claim in importlib.import_module(f"lib.claims.{name}").CLAIMS)


def left_out() -> tuple[LeftOut, ...]:
    """All sentences that per-sample values cannot decide."""
    return tuple(sentence for name in LEDGERS for sentence in importlib.import_module(f"lib.claims.{name}").LEFT_OUT)
