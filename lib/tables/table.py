"""What a table is: rows, columns, presets, data, published values. All of it is data; nothing here runs anything.

A row names a network (a class or function, see `lib.models.network`) and options. What the network and the data are built with is
looked up by the names of their arguments: the row's options first, then the fields of the preset. `arguments` does that, and gives
what enters the keys of results: so a row depends on those fields of the preset that its network asks for, and on no others.
"""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from itertools import combinations
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from torch import nn

from lib.data.files import TWIN_FILE
from lib.files import ROOT, locked
from lib.training.loop import Recipe, Task
from lib.training.progress import Progress
from lib.versions import versions


@dataclass(frozen=True, kw_only=True)
class TablePreset:
    """How rows are trained, and how large the twin and its control are: keys of SIZES in its module. Tables add sizes and networks."""

    recipe: Recipe  # the same for every row, so that all had the same tuning, unless a row says otherwise
    twin: str = "demo"
    control: str = "control"


@dataclass(frozen=True)
class FromPreset:
    """An option whose value is another field of the preset: FromPreset("inception") as a row's `task`."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a table: a network with options, how it is trained, and what the paper reports for it, per column."""

    name: str
    label: str
    network: Callable[..., nn.Module]  # of the trained networks of `needs`, and of its options and the preset's fields by name
    options: dict[str, Any] = field(default_factory=dict)
    recipe: str | None = "recipe"  # the preset's field that says how it is trained; None: it is not trained
    changes: dict[str, Any] = field(default_factory=dict)  # of the recipe
    published: dict[str, float] = field(default_factory=dict)
    variant: str = "main"  # which data set: the table's own, or its negative "control"
    needs: tuple[str, ...] = ()  # rows that are finished first
    twin_only: bool = False  # it needs what only a synthetic twin knows
    presets: tuple[str, ...] | None = None  # those that it is part of; None: all
    left_out: tuple[str, ...] = ()  # presets whose twin does without it, for its time; their real data have it

    @property
    def trained(self) -> bool:
        return self.recipe is not None

    def offered(self, preset: str, dataset: str) -> bool:
        """Whether a preset and data set have it: only twins have a negative control, or know the answer."""
        if self.presets is not None and preset not in self.presets:
            return False
        return preset not in self.left_out if dataset == "twin" else self.variant == "main" and not self.twin_only

    def build(self, preset: Any, *needed: nn.Module) -> nn.Module:
        """Its untrained network with `preset`; needed: the trained networks of `needs`."""
        return self.network(*needed, **arguments(self.network, preset, self.options))

    def recipe_of(self, preset: Any) -> Recipe:
        """How it is trained with `preset`."""
        if self.recipe is None:
            return Recipe(epochs=0, batch_size=preset.recipe.batch_size)
        return replace(getattr(preset, self.recipe), **self.changes)


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table: the mean of one per-sample value, over all samples or some of them."""

    name: str
    metric: str
    quantity: str = ""  # what an axis calls it; the column's name by default
    unit: str = ""
    lower_is_better: bool | None = True  # None: neither is better
    digits: int = 2
    scale: float = 1.0  # 100 makes per cent of a share
    where: Callable[[dict[str, np.ndarray]], np.ndarray] | None = None  # a row's values -> mask over its samples
    presets: tuple[str, ...] | None = None  # those whose tables show it; None: all

    @property
    def axis(self) -> str:
        """The label of an axis with this column's values."""
        return (self.quantity or self.name) + (f" ({self.unit})" if self.unit else "")

    def samples(self, values: dict[str, np.ndarray], metric: str | None = None) -> np.ndarray | None:
        """The value `metric` (the column's own by default) of the column's samples; None where the row has no such value."""
        found = values.get(metric or self.metric)
        if found is None:
            return None
        return (found if self.where is None else found[self.where(values)]) * (self.scale if metric is None else 1)


def share(name: str, metric: str, quantity: str, **options) -> Column:
    """A share of the samples in per cent, the more the better unless `options` say otherwise."""
    return Column(name=name, metric=metric, quantity=quantity, unit="%", digits=1, scale=100, **{"lower_is_better": False} | options)


@dataclass(frozen=True, kw_only=True)
class Quoted:
    """A published row that no row of ours stands for: it is shown apart, with its source."""

    label: str
    values: dict[str, float]  # by column
    source: str


# --- data ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where data lie, and how they are opened."""

    dataset: str  # "twin", or the name of a real one
    root: Path
    cache_dir: Path | None
    progress: Progress


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A data set with its objective, ready to train on and to be tested on."""

    task: Task
    is_twin: bool
    n: int  # test samples
    unit: str  # what n counts
    known: dict[str, np.ndarray] = field(default_factory=dict)  # per test sample, kept beside its values: subject, device
    notes: tuple[str, ...] = ()


def said_of(data: Any) -> tuple[str, ...]:
    """What a data set says of itself that a record must hold: that it is a part of what is published, for instance."""
    return tuple(f"{what}: {told}" for what, told in getattr(data, "notes", {}).items())


def opens(*uses: str, values: tuple[str, ...]) -> Callable[[Callable], Callable]:
    """Name the versions (`lib.versions`) of the code that opens data and trains on them, and of the code that gives `values`."""
    def mark(function: Callable) -> Callable:
        function.uses, function.values = uses, values
        return function

    versions((*uses, *values))
    return mark


@dataclass(frozen=True, kw_only=True)
class Twin:
    """The synthetic twin of a table's data set, and its negative control: the same with detail that survives shrinking."""

    module: ModuleType  # in lib.data.synthetic, with write() and SIZES
    name: str
    main: dict[str, str] = field(default_factory=dict)  # arguments of write()
    control: dict[str, str] | None = None

    @property
    def version(self) -> str:
        """The name (`lib.versions`) of the code that draws it."""
        return f"twin {self.name}"

    def write(self, preset: Any, variant: str, progress: Progress) -> Path:
        """The twin that `preset` names (`twin`, `control`), written now unless it lies there finished."""
        size, chosen = (preset.control, self.control) if variant == "control" else (preset.twin, self.main)
        stem = "-".join([self.name, size, *chosen.values(), f"v{versions([self.version])[self.version]}"])
        root = ROOT / "data" / "twins" / stem
        with contextlib.nullcontext() if (root / TWIN_FILE).exists() else locked(root):  # whoever needs it too waits instead of writing it too
            return self.module.write(root, **chosen, **self.module.SIZES[size], progress=lambda done, total: progress("write twin", done, total))


# --- the table ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a paper: the first column's value is the one that training is judged by."""

    name: str
    title: str
    paper: str
    rows: tuple[Row, ...]
    reference: str  # the row that all others are compared with
    columns: tuple[Column, ...]
    presets: dict[str, TablePreset]
    open: Callable[..., Opened]  # of a `Source`, and of the preset's fields by name; below `opens`
    twin: Twin
    datasets: tuple[str, ...]
    clusters: str | None = None  # the per-sample value that groups samples, "subject" say
    over: str = "images"
    comparisons: tuple[tuple[str, str], ...] = ()  # pairs of rows that the claims are about: the first minus the second
    quoted: tuple[Quoted, ...] = ()
    fit: Callable[[Any, Path | None], Any] | None = None  # of a preset and the data's folder (None: the twin's): the preset as these data need it
    caveats: dict[str, str] = field(default_factory=dict)  # preset -> what must stand with its numbers on real data
    records: str | None = None  # the table whose records are read and written, where two tables share rows
    watched: tuple[Column, ...] = ()  # what `check` compares beside the columns, where a row looks for instance

    @property
    def names(self) -> tuple[str, ...]:
        """Of all rows."""
        return tuple(row.name for row in self.rows)

    def row(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    def reference_of(self, name: str) -> str:
        """The row that row `name` is compared with: the table's reference, within the control the control's."""
        row = self.row(name)
        return self.reference if row.variant == "main" else f"{row.variant}_{self.reference}"

    def trainings(self, name: str) -> frozenset[str]:
        """The rows whose training shows in row `name`: itself if it is trained, and those that it needs."""
        row = self.row(name)
        return frozenset([name] if row.trained else []).union(*map(self.trainings, row.needs))

    def share_training(self, names: Iterable[str]) -> bool:
        """Whether two of these rows show one training: what other rows' noise says of independent ones is not theirs."""
        return any(one & other for one, other in combinations(map(self.trainings, names), 2))

    def columns_of(self, preset: str) -> tuple[Column, ...]:
        """The columns that a preset's table shows."""
        return tuple(column for column in self.columns if column.presets is None or preset in column.presets)

    def watched_of(self, preset: str) -> tuple[Column, ...]:
        """What `check` alone compares of a preset."""
        return tuple(column for column in self.watched if column.metric not in {shown.metric for shown in self.columns_of(preset)})

    def has(self, preset: str, dataset: str) -> bool:
        """Whether it can be run with this preset on this data set, with some rows at least."""
        return preset in self.presets and dataset in self.datasets

    def rows_of(self, preset: str, dataset: str) -> list[Row]:
        """The rows that a preset and data set have."""
        return [row for row in self.rows if row.offered(preset, dataset)]


def arguments(build: Callable, preset: Any, options: dict[str, Any]) -> dict[str, Any]:
    """What `build` is called with by name: `options`, and the fields of `preset` that it asks for."""
    asked = set(inspect.signature(build).parameters)
    bound = set(build.keywords) if isinstance(build, functools.partial) else set()
    found = {one.name: getattr(preset, one.name) for one in fields(preset) if one.name in asked - bound}
    found |= {name: getattr(preset, value.name) if isinstance(value, FromPreset) else value for name, value in options.items()}
    return found
