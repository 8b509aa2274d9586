"""The claim ledger: what papers and READMEs say, as contrasts of rows, and a verdict on each from stored per-sample values.

A claim is a sentence with its source, and a statistic: a weighted sum of rows, of a per-sample value, over some or all test
samples. It states that the mean of this statistic lies in a region, mostly above 0; `lib.results.verdicts` says how that is
decided. There are three kinds:

direction    one thing is larger than another, or beyond a bound that has no unit (an enlargement above 1)
equivalence  two things are alike, or one is not better, within a margin that is ours
size         by how much, in the paper's unit. A twin cannot say: its centimetres and points are not the paper's. Holds where
             the 95 % interval lies between half and one and a half times the paper's value, unless `margin` says otherwise

Verdicts: holds, fails, undecided (p corrected by Holm over the claims of one table on one data set and preset), not for a
twin, not comparable (a size on another data set or with other networks than the paper's), not run. Size and direction never
share a claim. The sentences themselves are in the modules that `LEDGERS` names.
"""

import importlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from lib.results.verdicts import FAILS, HOLDS, UNDECIDED, Estimate, estimate, holm, p_value, verdict
from lib.tables import NAMES, get
from lib.tables.ledger_samples import Contrast, Finished, Piece, sample

LEDGERS = ("lib.tables.ledger_gaze", "lib.tables.ledger_recognition", "lib.tables.ledger_saliency", "lib.tables.ledger_proposal")
NOT_A_TWIN, NOT_COMPARABLE, NOT_RUN = "not for a twin", "not comparable", "not run"
ORDER = (FAILS, UNDECIDED, HOLDS, NOT_RUN, NOT_COMPARABLE, NOT_A_TWIN)  # in which a ledger is read: what fails stands at the top


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence of a paper or README, and what is to be tested: that the sum of the contrasts lies in (low, high)."""

    key: str
    sentence: str
    source: str
    table: str
    statistic: str  # in words
    contrasts: tuple[Contrast, ...]  # on independent test samples
    kind: str = "direction"
    low: float = 0.0
    high: float = np.inf
    published: float | None = None  # of a size
    margin: float | None = None  # of a size or an equivalence
    unit: str = ""
    digits: int = 2
    datasets: tuple[str, ...] | None = None  # of a size: what the paper's value was measured on
    same_training: bool = False  # its rows evaluate one trained network, so other rows' training noise is not theirs

    @property
    def needs(self) -> tuple[tuple[str, str], ...]:
        """The rows that must have been run, as (table, row)."""
        return tuple((contrast.table or self.table, row) for contrast in self.contrasts for row in contrast.rows)

    @property
    def region(self) -> str:
        """The region that the claim states: "> 0 cm", "−0.05 to +0.05 cm"."""
        low, high = (f"{bound:+.{self.digits}f}".replace("-", "−") if bound else "0" for bound in (self.low, self.high))
        return (f"> {low.lstrip('+')}" if np.isinf(self.high) else f"{low} to {high}") + (f" {self.unit}" if self.unit else "")


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A sentence that could be tested, but not by per-sample values of a table's rows, and why."""

    sentence: str
    source: str
    why: str


def direction(key: str, sentence: str, *contrasts: Contrast, **options) -> Claim:
    return Claim(key=key, sentence=sentence, contrasts=contrasts, **options)


def equivalence(key: str, sentence: str, *contrasts: Contrast, margin: float, one_sided: bool = False, **options) -> Claim:
    """|mean| < margin; one_sided: mean > -margin."""
    return Claim(key=key, sentence=sentence, contrasts=contrasts, kind="equivalence", margin=margin, low=-margin,
                 high=np.inf if one_sided else margin, **options)


def size(key: str, sentence: str, *contrasts: Contrast, published: float, margin: float | None = None, one_sided: bool = False,
         **options) -> Claim:
    """|mean - published| < margin, half of the published value by default; one_sided: mean > published - margin."""
    margin = abs(published) / 2 if margin is None else margin
    return Claim(key=key, sentence=sentence, contrasts=contrasts, kind="size", published=published, margin=margin,
                 low=published - margin, high=np.inf if one_sided else published + margin, **options)


def contrast(rows: dict[str, float], values: str | dict[str, float], *, table: str = "") -> Contrast:
    """A contrast over all samples, of one value or a weighted sum of values."""
    return Contrast(rows=rows, pieces=(Piece(values={values: 1.0} if isinstance(values, str) else values),), table=table)


def less(first: str, second: str) -> dict[str, float]:
    """The rows of "first minus second"."""
    return {first: 1.0, second: -1.0}


def ledger() -> tuple[Claim, ...]:
    """All claims, in the order of the papers."""
    return tuple(claim for name in LEDGERS for claim in importlib.import_module(name).CLAIMS)


def left_out() -> tuple[LeftOut, ...]:
    """All sentences that per-sample values cannot decide."""
    return tuple(sentence for name in LEDGERS for sentence in importlib.import_module(name).LEFT_OUT)


def awaited() -> dict[tuple[str, str], str]:
    """Values that claims need and no row stores yet, by (table, value): what each would be."""
    return {(table, name): what for module in LEDGERS for (table, name), what in importlib.import_module(module).AWAITED.items()}


# --- verdicts -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a claim on one data set and preset."""

    claim: Claim
    verdict: str
    dataset: str = ""
    preset: str = ""
    is_twin: bool = False
    unit: str = "samples"
    reason: str = ""
    found: Estimate | None = None
    p: float = np.nan
    p_holm: float = np.nan


def decide(claims: Iterable[Claim], finished: Iterable[Finished], *, leave_out: tuple[str, ...] = ("smoke",)) -> list[Verdict]:
    """A verdict for every claim and each data set and preset that its table was run on, in the order of the claims.

    leave_out: presets whose numbers mean nothing. Holm's families: the claims of one table on one data set and preset.
    """
    finished = [place for place in finished if place.preset not in leave_out]
    found = [one for claim in claims for one in _everywhere(claim, finished)]
    families: dict[tuple[str, str, str], list[int]] = {}
    for i, one in enumerate(found):
        if one.found is not None:
            families.setdefault((one.claim.table, one.dataset, one.preset), []).append(i)
    for members in families.values():
        for i, p in zip(members, holm([found[i].p for i in members]), strict=True):
            found[i] = replace(found[i], p_holm=float(p), verdict=verdict(found[i].found, p, found[i].claim.low, found[i].claim.high))
    return found


def stored_in(table: str) -> str:
    """The table whose records hold the rows of `table`."""
    return get(table).records or table if table in NAMES else table


def clusters_of(table: str) -> str | None:
    """The per-sample value that groups the samples of `table`."""
    return get(table).clusters if table in NAMES else None


def _everywhere(claim: Claim, finished: list[Finished]) -> list[Verdict]:
    places = [place for place in finished if place.table == stored_in(claim.table)]
    return [_test(claim, place, finished) for place in places] or [Verdict(claim=claim, verdict=NOT_RUN, reason="its table was not run")]


def _test(claim: Claim, place: Finished, finished: list[Finished]) -> Verdict:
    """The estimate and its p-value, not yet corrected; or why there is none."""
    at = {"claim": claim, "dataset": place.dataset, "preset": place.preset, "is_twin": place.is_twin, "unit": place.unit}
    if claim.kind == "size" and place.is_twin:
        return Verdict(**at, verdict=NOT_A_TWIN, reason="a twin's sizes are not the paper's")
    if claim.kind == "size" and not (place.preset.startswith("paper") and place.dataset in (claim.datasets or (place.dataset,))):
        return Verdict(**at, verdict=NOT_COMPARABLE, reason="the published size is that of its own data set and networks")
    try:
        found = estimate([sample(one, _place(one, place, finished), clusters=clusters_of(one.table or claim.table),
                                 same_training=claim.same_training) for one in claim.contrasts])
    except (LookupError, ValueError) as error:
        return Verdict(**at, verdict=NOT_RUN, reason=str(error))
    return Verdict(**at, verdict=UNDECIDED, found=found, p=p_value(found, claim.low, claim.high))


def _place(one: Contrast, place: Finished, finished: list[Finished]) -> Finished:
    """`place`, or where the other table of a contrast lies: twin beside twin, real data beside real data."""
    if not one.table:
        return place
    for other in finished:
        if other.table == stored_in(one.table) and other.preset == place.preset and other.is_twin == place.is_twin:
            return other
    raise LookupError(f"table {one.table} was not run with preset {place.preset} on {'its twin' if place.is_twin else 'real data'}")


# --- as it is read ------------------------------------------------------------------------------------------------------


def frame(verdicts: Iterable[Verdict]) -> pd.DataFrame:
    """One line for each claim, data set and preset; what fails stands at the top."""
    return pd.DataFrame([
        {"verdict": one.verdict, "claim": one.claim.sentence, "source": one.claim.source, "data": data_of(one), "statistic": one.claim.statistic,
         "claimed": one.claim.region, "estimate": text(one), "p (Holm)": p_text(one), "why": one.reason, "kind": one.claim.kind,
         "key": one.claim.key}
        for one in sorted(verdicts, key=lambda one: ORDER.index(one.verdict))])


def data_of(one: Verdict) -> str:
    """ "synthetic twin, demo"; "osie, demo"."""
    return f"{'synthetic twin' if one.is_twin else one.dataset}, {one.preset}" if one.dataset else "–"


def p_text(one: Verdict) -> str:
    if one.found is None:
        return "–"
    return "< 0.001" if one.p_holm < 0.001 else f"{one.p_holm:.3f}"


def text(one: Verdict) -> str:
    """ "+0.31 ± 0.05 cm (823 frames, 44 clusters, 1 seed without training noise)"; "–" without an estimate."""
    if one.found is None:
        return "–"
    found, unit = one.found, f" {one.claim.unit}" if one.claim.unit else ""
    groups = f", {found.clusters} clusters" if found.clusters != found.n else ""
    seeds = f"{found.seeds} seed{'s' if found.seeds > 1 else ''}" + ("" if found.trainings else " without training noise")
    return f"{found.interval.text(one.claim.digits, sign=True)}{unit} ({found.n} {one.unit}{groups}, {seeds})"
