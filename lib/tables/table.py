"""What a table is: rows, columns, presets, published values; and the parameters that it is run with."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lib.results.records import ROOT
from lib.training.loop import Recipe, Task


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a table: a network (built for a preset) and what the paper reports for it, per column."""

    name: str
    label: str
    build: Callable[..., nn.Module]  # of the preset, and of the trained networks of the rows in `needs`
    published: dict[str, float] = field(default_factory=dict)
    variant: str = "main"  # which data set: the table's own, or its negative "control"
    trained: bool = True
    recipe: Callable[[Any], Recipe] | None = None  # of the preset; None: the preset's own
    needs: tuple[str, ...] = ()  # rows that are finished first
    twin_only: bool = False  # it needs what only a synthetic twin knows
    presets: tuple[str, ...] | None = None  # those that it is part of; None: all


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


@dataclass(frozen=True, kw_only=True)
class Quoted:
    """A published row that no row of ours stands for: it is shown apart, with its source."""

    label: str
    values: dict[str, float]  # by column
    source: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a paper: the first column's value is the one that training is judged by."""

    name: str
    title: str
    paper: str
    rows: tuple[Row, ...]
    reference: str  # the row that all others are compared with
    columns: tuple[Column, ...]
    presets: dict[str, Any]
    open_task: Callable[..., tuple[Task, dict]]
    datasets: tuple[str, ...]
    clusters: str | None = None  # the per-sample value that groups samples, "subject" say
    over: str = "images"
    comparisons: tuple[tuple[str, str], ...] = ()  # pairs of rows that the claims are about: the first minus the second
    quoted: tuple[Quoted, ...] = ()
    records: str | None = None  # the table whose records are read and written, where two tables share rows

    def row(self, name: str) -> Row:
        return next(row for row in self.rows if row.name == name)

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The parameters of a notebook or command line, checked."""

    preset: str
    dataset: str
    data_dir: Path | None
    rows: tuple[str, ...]
    seeds: int
    device: torch.device
    results_dir: Path


def settings(table: Table, *, preset: str = "demo", dataset: str = "twin", data_dir: str | Path | None = None,
             rows: str | list[str] | None = None, seeds: int = 1, device: str = "auto",
             results_dir: str | Path = "results") -> Settings:
    """`Settings` from plain values; each wrong one is a one-line error that lists the right ones."""
    def choose(what: str, value: str, allowed) -> str:
        if value not in allowed:
            raise ValueError(f"{what} {value!r} is not one of {', '.join(allowed)}")
        return value

    names = tuple(row.name for row in table.rows)
    wanted = rows.replace(",", " ").split() if isinstance(rows, str) else rows
    chosen = tuple(choose("row", name, names) for name in wanted) if wanted else names
    if seeds < 1:
        raise ValueError(f"seeds is {seeds}, expected the number of seeds to run, 1 or more")
    if dataset != "twin" and data_dir is None:
        raise ValueError(f"dataset {dataset!r} needs data_dir, the folder that it lies in (data/{dataset}.md says where to get it)")
    device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device {device!r}: torch sees no CUDA device here; use device 'cpu'")
    return Settings(preset=choose("preset", preset, table.presets), dataset=choose("dataset", dataset, table.datasets),
                    data_dir=Path(data_dir).expanduser() if data_dir else None, seeds=seeds, device=torch.device(device),
                    rows=tuple(name for name in names if name in chosen), results_dir=resolve(results_dir))


def resolve(path: str | Path) -> Path:
    """A relative path counts from the repository's root, wherever the notebook runs."""
    path = Path(path).expanduser()
    return path if path.is_absolute() else ROOT / path
