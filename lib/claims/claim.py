"""What a claim is: a sentence with its source, and a statistic, a weighted sum of rows of a per-sample value over some or all test samples.

It states that the mean of this statistic lies in a region, mostly above 0. There are three kinds:

direction    one thing is larger than another, or beyond a bound that has no unit (an enlargement above 1)
equivalence  two things are alike, or one is not better, within a margin that is ours
size         by how much, in the paper's unit. A twin cannot say: its centimetres and points are not the paper's. Holds where
             the 95 % interval lies between half and one and a half times the paper's value, unless `margin` says otherwise

Size and direction never share a claim.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lib.claims.verdicts import linearise
from lib.results.statistics import mean

Values = dict[str, np.ndarray]  # of a row, by name, (n, ...) each
Where = Callable[[dict[str, Values]], np.ndarray]  # a contrast's rows -> mask (n,) over its samples


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A weighted sum of per-sample values, averaged over the samples of `where` (None: all), which reads the values `reads`."""

    values: dict[str, float]
    where: Where | None = None
    reads: tuple[str, ...] = ()

    def of(self, values: Values) -> np.ndarray:
        """(n,) of one row."""
        return sum(weight * values[name].astype(np.float64) for name, weight in self.values.items())


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A weighted sum of rows that saw the same test samples, of the sum of some pieces."""

    rows: dict[str, float]
    pieces: tuple[Piece, ...]
    table: str = ""  # another table than the claim's

    def of(self, rows: dict[str, Values], masks: list[np.ndarray]) -> np.ndarray:
        """(n,): its mean is the contrast, see `linearise`."""
        return linearise([np.where(mask, sum(weight * piece.of(rows[row]) for row, weight in self.rows.items()), np.nan)
                          for piece, mask in zip(self.pieces, masks, strict=True)])

    def of_one(self, values: Values, masks: list[np.ndarray]) -> float:
        """The same of a single row with weight 1, as a mean."""
        return sum(mean(np.where(mask, piece.of(values), np.nan)) for piece, mask in zip(self.pieces, masks, strict=True))


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
    presets: tuple[str, ...] | None = None  # those whose rows it is tested on; None: all

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
