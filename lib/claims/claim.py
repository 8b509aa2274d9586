"""What a claim is: a sentence with its source, and a statistic, a weighted sum of rows of a per-sample value over some or all test samples.

It states that the mean of this statistic lies in a region, mostly above 0. There are three kinds:

direction    one thing is larger than another, or beyond a bound that has no unit (an enlargement above 1)
equivalence  two things are alike, or one is not better, within a margin that is ours
size         by how much, in the paper's unit. A twin cannot say: its centimetres and points are not the paper's. Holds where
             the 95 % interval lies between half and one and a half times the paper's value, unless `margin` says otherwise

Size and direction never share a claim. `sample` gives what a verdict is made from: a contrast on a group's test samples, and its training noise.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lib.claims.verdicts import linearise
from lib.results.statistics import Component, Noise, Sample, between, mean, priors
from lib.results.store import Item, Rows, data_of

Values = dict[str, np.ndarray]  # of a row, by name, (n, ...) each
Where = Callable[[dict[str, Values]], np.ndarray]  # a contrast's rows -> mask (n,) over its samples
RIGHT = {"top-1": {"top1": 100.0}, "top-5": {"top5": 100.0}}  # in per cent
TOP1 = RIGHT["top-1"]


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
    unit: str = ""
    digits: int = 2
    measured_on: tuple[str, ...] | None = None  # of a size: the data sets of the paper's value; None: its table's
    datasets: tuple[str, ...] | None = None  # those that it is tested on; None: all
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
    return Claim(key=key, sentence=sentence, contrasts=contrasts, kind="equivalence", low=-margin, high=np.inf if one_sided else margin, **options)


def size(key: str, sentence: str, *contrasts: Contrast, published: float, margin: float | None = None, one_sided: bool = False,
         **options) -> Claim:
    """|mean - published| < margin, half of the published value by default; one_sided: mean > published - margin."""
    margin = abs(published) / 2 if margin is None else margin
    return Claim(key=key, sentence=sentence, contrasts=contrasts, kind="size", published=published, low=published - margin,
                 high=np.inf if one_sided else published + margin, **options)


def contrast(rows: dict[str, float], values: str | dict[str, float], *, table: str = "") -> Contrast:
    """A contrast over all samples, of one value or a weighted sum of values."""
    return Contrast(rows=rows, pieces=(Piece(values={values: 1.0} if isinstance(values, str) else values),), table=table)


def better(key: str, sentence: str, first: str, second: str, value: str = "top-1", **options) -> Claim:
    """Row `first` has more of a value than row `second`: of a value by its name, or of right answers, in points."""
    shown = {"unit": "points", "digits": 1} if value in RIGHT else {"digits": 3}
    return direction(key, sentence, contrast(less(first, second), RIGHT.get(value, value)), statistic=f"{value} of {first} minus {second}",
                     **shown, **options)


def less(first: str, second: str) -> dict[str, float]:
    """The rows of "first minus second"."""
    return {first: 1.0, second: -1.0}


def sample(one: Contrast, rows: Rows, *, clusters: str | None = None, same_training: bool = False, known: Noise | None = None,
           prior_df: float | None = None) -> Sample:
    """A contrast as values on the test samples of `rows`, one line for each seed that all its rows have.

    clusters: the value that groups samples. same_training: its rows evaluate one trained network. known: the reference's noise; without it,
    `rows` tell it themselves, whose noise is as much alike as `prior_df` says. Which samples a piece is about is read from the first
    seed: it must depend on the data alone. LookupError says what is missing.
    """
    seeds = _seeds(one, rows)
    first = {row: rows[row][seeds[0]].values for row in one.rows}
    _check_values(one, rows, seeds, first)
    n = len(next(iter(next(iter(first.values())).values())))
    masks = [np.ones(n, bool) if piece.where is None else np.asarray(piece.where(first), bool) for piece in one.pieces]
    per_seed = np.stack([one.of({row: rows[row][seed].values for row in one.rows}, masks) for seed in seeds])  # (k, n)
    groups = next((values[clusters] for values in first.values() if clusters in values), None)
    if known is None:
        kept = per_seed[:, np.isfinite(per_seed).all(axis=0)]  # what every seed has
        means = kept.mean(axis=1) if kept.size else np.full(len(seeds), np.nan)
        known = Noise(between(means), None if same_training else _prior(one, rows, masks, prior_df))
    return Sample(per_seed, groups, known)


def _seeds(one: Contrast, rows: Rows) -> list[int]:
    for row in one.rows:
        if row not in rows:
            raise LookupError(f"row {row} was not run")
    seeds = sorted(set.intersection(*(set(rows[row]) for row in one.rows)))
    if not seeds:
        raise LookupError(f"rows {', '.join(one.rows)} have no seed in common")
    if len({data_of(rows[row][seed].record) for row in one.rows for seed in seeds}) > 1:
        raise LookupError(f"rows {', '.join(one.rows)} were computed on different data")
    return seeds


def _check_values(one: Contrast, rows: Rows, seeds: list[int], first: dict[str, Values]) -> None:
    for piece in one.pieces:
        for row in one.rows:
            if lacking := [name for name in piece.values if any(name not in rows[row][seed].values for seed in seeds)]:
                raise LookupError(f"row {row} has no value {lacking[0]}")
        if lacking := [name for name in piece.reads if not any(name in values for values in first.values())]:
            raise LookupError(f"rows {', '.join(one.rows)} have no value {lacking[0]}")


def _prior(one: Contrast, rows: Rows, masks: list[np.ndarray], df: float | None) -> Component | None:
    """What the variance between trainings of a contrast is like: that of single rows of the table, times the squared weights.

    Rows of the main task and of the control are apart. A row that has the same mean with every seed, but for
    rounding, is not trained: it adds nothing, and tells nothing.
    """
    same_data = {data_of(item.record) for item in rows[next(iter(one.rows))].values()}
    means = {row: _means(one, seeds, masks) for row, seeds in rows.items() if {data_of(item.record) for item in seeds.values()} <= same_data}
    varying = {row: found for row, found in means.items() if len(found) > 1 and np.ptp(found) > 1e-9 * np.abs(found).max()}
    constant = {row for row, found in means.items() if len(found) > 1 and row not in varying}
    (prior,) = priors([[between(found) for found in varying.values()]], df)
    weight = sum(weight**2 for row, weight in one.rows.items() if row not in constant)
    return prior and weight and Component(prior.variance * weight, prior.df) or None


def _means(one: Contrast, seeds: dict[int, Item], masks: list[np.ndarray]) -> np.ndarray:
    """What the contrast would be of one row alone, for each seed; empty where it lacks a value."""
    names = {name for piece in one.pieces for name in piece.values}
    found = np.array([one.of_one(item.values, masks) for item in seeds.values() if names <= set(item.values)])
    return found[np.isfinite(found)]
