"""The noise of training: measured on the seeds of the reference, committed as `results/reference/noise.json`, and read here alone.

A run of one seed cannot know by how much another training would have come out differently. The reference's seeds can: of every mean that a
table or claim shows (a row in a column, a difference of two rows, a claim's contrast) they give the variance between trainings,
and what the variances of other rows are like (`lib.results.statistics.priors`). Why not one pooled variance: rows differ too much. In the
reference of three seeds the standard deviations of one column differ thirtyfold (Table 1, iPad: oracle 0.017 cm, deformable convolutions 0.54).

A run of several seeds has its own; of the file it takes what other rows' variances are like. What is not in the file, is measured on
the run's own rows, as far as any has several seeds. Kinds of device are not told apart: rounding alone differs.

Means of trainings are compared (`lib.results.check`) on another `scale`: log odds for shares of right answers, logarithms for
magnifications, else the mean itself. Near 0 and 100 % a share has no room to vary, in the middle it has much: four trainings at 99.6 % and one
that learns late and ends at 96 % are a thirtyfold standard deviation as per cent, and one that happens as log odds. Half a right and half a wrong
answer are added, so that all right is finite. A row that zooms twice as much as another varies twice as much from training to training.
"""

import functools
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import special

from lib.files import ROOT, write_text
from lib.results.records import git
from lib.results.schema import LIMITS, UNLIMITED
from lib.results.statistics import Component, Noise, between, mean, priors
from lib.results.store import Group, Item, Rows, data_of, items_of, sharing, stands
from lib.tables.table import Column, Table

FILE = ROOT / "results" / "reference" / "noise.json"
ABOUT = ("Standard deviation between trainings of each row, difference of rows and claim, by column (of a claim: by contrast): [its own, degrees of "
         "freedom, that of rows like it, degrees of freedom]. Written by `python -m lib.report.publish`; lib/results/noise.py says what it is for.")
NOTHING = Noise()
HIDDEN = 0.1  # added to a magnification before its logarithm is taken: it is 0 where a grid shows nothing of the place
FEW = 3  # rows: two, a control's for instance, may have had the same mean with every seed by chance

Place = tuple[str, str, str]  # the table whose records these are, data set, preset


@dataclass(frozen=True)
class Known:
    """What is known of one table's noise; by what varies (see `difference`, `claimed`) and by column."""

    noise: dict[str, dict[str, Noise]] = field(default_factory=dict)
    verdicts: dict[str, str] = field(default_factory=dict)  # of the reference, by the claim's key
    seeds: tuple[int, ...] = ()
    commits: tuple[str, ...] = ()
    date: str = ""  # of the newest commit, as far as git knows them here
    prior_df: float | None = None  # how alike rows' variances are: few degrees of freedom say that they are not

    def of(self, what: str, column: str) -> Noise:
        """Noise of a row, or of a difference of two, either way round; where the reference has not shown it, that of two independent rows."""
        rows = what.split(BETWEEN)
        if found := self.noise.get(what, {}).get(column) or self.noise.get(BETWEEN.join(reversed(rows)), {}).get(column):
            return found
        parts = [self.noise.get(row, {}).get(column, NOTHING).one for row in rows]
        return Noise(Component(sum(one.variance for one in parts), min(one.df for one in parts))) if all(parts) and parts[1:] else NOTHING


BETWEEN = " - "


def difference(row: str, other: str) -> str:
    return f"{row}{BETWEEN}{other}"


def claimed(key: str) -> str:
    return f"claim {key}"


def known(group: Group, rows: Rows) -> Known:
    """The reference's, where it has the table, data set and preset; else what `rows` themselves tell."""
    return committed().get(group.place) or measure({group: rows})[group.place]


# --- the scale ----------------------------------------------------------------------------------------------------------


def is_share(column: Column) -> bool:
    """Whether its samples are right or wrong, and every one is."""
    _, most, complete = LIMITS.get(column.metric, UNLIMITED)
    return complete and bool(np.isfinite(most))


def is_magnification(column: Column) -> bool:
    return column.metric.endswith("_magnification")


class Scale(NamedTuple):
    """On which means are compared: a mean's place on it, the mean that has a place, and by how much that moves for one of the column's unit."""

    link: Callable[[float], float]
    unlink: Callable[[float], float]
    slope: Callable[[float], float]


AS_IS = Scale(lambda value: value, lambda place: place, lambda value: 1.0)
ScaleOf = Callable[[Column, int], Scale]  # as `scale`


def scale(column: Column, n: int) -> Scale:
    """Of means over n samples, in the column's unit."""
    def share(value: float) -> float:  # half a right and half a wrong answer added
        return (value / column.scale * n + 0.5) / (n + 1)

    if is_share(column):
        return Scale(lambda value: float(special.logit(share(value))), lambda place: float((special.expit(place) * (n + 1) - 0.5) / n * column.scale),
                     lambda value: n / (n + 1) / column.scale / (share(value) * (1 - share(value))))
    if is_magnification(column):
        return Scale(lambda value: float(np.log(value + HIDDEN)), lambda place: float(np.exp(place) - HIDDEN), lambda value: 1 / (value + HIDDEN))
    return AS_IS


# --- measured -----------------------------------------------------------------------------------------------------------


def measure(groups: dict[Group, Rows], columns_of: Callable[[Table, str], Iterable[Column]] = Table.columns_of, *,
            scaled: ScaleOf = lambda *_: AS_IS) -> dict[Place, Known]:
    """The noise of rows and differences in every group, as far as there are several seeds; claims are added by `lib.claims`.

    columns_of: of a table and a preset, what is measured; those that a table shows by default. scaled: on what scale, as means are by default.
    """
    columns = {group: {column.name: column for table in sharing(group.table) if stands(table, group, rows)
                       for column in columns_of(table, group.preset)} for group, rows in groups.items()}
    same = {group: _by_data(rows) for group, rows in groups.items()}
    families = {(group, name, data): _family(group, some, column, scaled) for group in groups for data, some in same[group].items()
                for name, column in columns[group].items()}
    alike = dict(zip(families, priors(list(families.values())), strict=True))
    df = next((one.df for one in alike.values() if one), None)
    found: dict[Place, Known] = {}
    for group, rows in groups.items():
        noise: dict[str, dict[str, Noise]] = {}
        for name, column in columns[group].items():
            prior = {data: alike[group, name, data] for data in same[group]}
            for what, one in _means(group, rows, column, prior, scaled):
                noise.setdefault(what, {})[name] = one
        records = [item.record for item in items_of(rows)]
        commits = tuple(sorted({record.provenance.get("commit") or "unknown" for record in records}))
        day = max(git("show", "-s", "--format=%cs", *(commit.removesuffix("-dirty") for commit in commits)).split(), default="")
        found[group.place] = Known(noise, {}, tuple(sorted({record.seed for record in records})), commits, day, df)
    return found


def _by_data(rows: Rows) -> dict[str, Rows]:
    """By the samples that they saw, the rows whose noise is alike: those that saw the same, as in `lib.claims`; all where fewer than `FEW` did."""
    found: dict[str, Rows] = {}
    for name, seeds in rows.items():
        found.setdefault(_data(seeds), {})[name] = seeds
    return {data: some if len(some) >= FEW else rows for data, some in found.items()}


def _data(seeds: dict[int, Item]) -> str:
    return data_of(next(iter(seeds.values())).record)


def _family(group: Group, rows: Rows, column: Column, scaled: ScaleOf) -> list[Component]:
    """The variances of all rows that training has a part in."""
    tables = {row.name: table for table in sharing(group.table) for row in table.rows}
    found = (between(list(_per_seed(rows, name, column, scaled).values())) for name in rows if tables[name].trainings(name))
    return [one for one in found if one and np.isfinite(one.variance)]


def _means(group: Group, rows: Rows, column: Column, prior: dict[str, Component | None], scaled: ScaleOf) -> Iterable[tuple[str, Noise]]:
    """Of rows and differences of two; prior: what the variances of a row's like are, by its data."""
    for table in sharing(group.table):
        names = [row.name for row in table.rows if row.name in rows]
        pairs = [*((name, table.reference_of(name)) for name in names), *table.comparisons]
        for about in [(name,) for name in names] + [pair for pair in dict.fromkeys(pairs) if pair[0] != pair[1] and set(pair) <= rows.keys()]:
            first, *other = (_per_seed(rows, name, column, scaled) for name in about)
            means = [first[seed] - other[0][seed] for seed in first if seed in other[0]] if other else list(first.values())
            if (own := between(means)) and np.isfinite(own.variance):
                yield BETWEEN.join(about), Noise(own, _prior(table, rows, about, column, prior[_data(rows[about[0]])]))


def _per_seed(rows: Rows, name: str, column: Column, scaled: ScaleOf) -> dict[int, float]:
    """A row's mean with each seed; NaN where it has no such value."""
    found = {seed: column.samples(item.values) for seed, item in rows[name].items()}
    return {seed: np.nan if values is None else scaled(column, len(values)).link(mean(values)) for seed, values in found.items()}


def _prior(table: Table, rows: Rows, names: tuple[str, ...], column: Column, prior: Component | None) -> Component | None:
    """For a sum of independent rows as many times a row's; none for rows that share a training, or that training does not change."""
    count = sum(bool(table.trainings(name)) and _varies(rows, name, column) for name in names)
    return None if prior is None or table.share_training(names) or not count else replace(prior, variance=count * prior.variance)


def _varies(rows: Rows, name: str, column: Column) -> bool:
    """Whether training can change the column: its values differ between seeds, or all are right and one more seed may not be."""
    first, *others = (column.samples(item.values) for item in rows[name].values())
    return is_share(column) or not all(np.array_equal(first, values, equal_nan=True) for values in others)


# --- as a file ----------------------------------------------------------------------------------------------------------


def write(found: dict[Place, Known], path: Path = FILE) -> None:
    """One line for each row, difference and claim; in an order, and to digits, that do not hang on that of the records' files."""
    def block(where: Place, one: Known) -> str:
        plain = {what: {column: _plain(noise) for column, noise in columns.items()} for what, columns in one.noise.items()}
        lines = [f"  {json.dumps(what)}: {json.dumps(columns)}" for what, columns in plain.items()]
        head = {"table": where[0], "dataset": where[1], "preset": where[2], "commits": one.commits, "date": one.date, "seeds": one.seeds,
                "prior_df": one.prior_df and float(f"{one.prior_df:.6g}"), "verdicts": dict(sorted(one.verdicts.items()))}
        return json.dumps(head)[:-1] + ', "noise": {\n' + ",\n".join(lines) + "}}"

    blocks = ",\n".join(block(*one) for one in sorted(found.items(), key=lambda one: one[0]))
    text = f'{{"about": {json.dumps(ABOUT)},\n"groups": [\n{blocks}]}}\n'
    json.loads(text)
    write_text(path, text)


def _plain(noise: Noise) -> list[float]:
    parts = [part for part in (noise.seeds, noise.prior) if part]
    return [float(f"{number:.5g}") for part in parts for number in (part.variance**0.5, part.df)]


def committed() -> dict[Place, Known]:
    """The reference's noise; nothing where there is no such file. ValueError, one line, for a damaged one."""
    return _read(FILE, FILE.stat().st_mtime_ns) if FILE.is_file() else {}


@functools.cache
def _read(path: Path, _: int) -> dict[Place, Known]:
    try:
        return {(one["table"], one["dataset"], one["preset"]): _parsed(one) for one in json.loads(path.read_text(encoding="utf-8"))["groups"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not a file of training noise ({error}); check it out again, or write it with lib.report.publish") from None


def _parsed(one: dict) -> Known:
    def noise(numbers: list[float]) -> Noise:
        return Noise(*(Component(sd**2, df) for sd, df in zip(numbers[::2], numbers[1::2], strict=True)))

    return Known({what: {column: noise(numbers) for column, numbers in columns.items()} for what, columns in one["noise"].items()},
                 one["verdicts"], tuple(one["seeds"]), tuple(one["commits"]), one["date"], one["prior_df"])
