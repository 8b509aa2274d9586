"""What a result depends on, as plain values, and the keys under which it is filed.

Weights and per-sample values have keys of their own (lib/README.md says of what): a new metric evaluates again and never trains.

Code enters through the versions of `lib.versions` alone. Options and recipes enter as they are given: an option that is left at its
default is not in the key, so a new option of a network leaves what lies there as it is.

`Keyed` gives the rows of a table their keys. Nothing heavy is imported before a network is looked at: `lib.runs.plans` keeps what was found,
and `status` needs no torch then.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.results.records import RecordStore
from lib.results.schema import digest_of
from lib.versions import versions

if TYPE_CHECKING:
    from lib.runs.parameters import Settings
    from lib.tables.table import Row, Table
    from lib.training.loop import Recipe

TEST_ONLY = "test_"  # an argument of this name prepares test data, and nothing that is trained on


def digest(depends: dict) -> str:
    """The key: 10 hex digits over `depends`."""
    return digest_of(depends)[:10]


def network_of(row: Row, preset: Any) -> dict[str, Any]:
    """The row's network as plain values: its declared name and everything that it is built with."""
    from lib.models.network import described, plain
    from lib.tables.table import arguments

    found = described(row.network)
    options = found.pop("options", {}) | plain(arguments(row.network, preset, row.options), f"row {row.name}")
    return found | {"options": dict(sorted(options.items()))}


def recipe_of(recipe: Recipe) -> dict[str, Any]:
    """A recipe as plain values, without what is at its default."""
    from lib.models.network import plain

    return {one.name: plain(getattr(recipe, one.name), "recipe") for one in fields(recipe)
            if one.name in ("epochs", "batch_size") or getattr(recipe, one.name) != one.default}


def preparation(table: Table, preset: Any, *, test: bool) -> dict[str, Any]:
    """How the data are prepared: the arguments of the table's `open`, those of the test data or those of all; not what is at its default."""
    from lib.models.network import plain
    from lib.tables.table import arguments

    usual = {one.name: one.default for one in inspect.signature(table.open).parameters.values()}
    found = {name: value for name, value in arguments(table.open, preset, {}).items()
             if usual[name] is inspect.Parameter.empty or value != usual[name]}
    return {name: value for name, value in sorted(plain(found, f"table {table.name}").items()) if name.startswith(TEST_ONLY) == test}


def opening(table: Table) -> Callable:
    """The function behind a table's `open`, which names its versions."""
    return table.open.func if isinstance(table.open, functools.partial) else table.open


def code_of_weights(table: Table, row: Row, preset: Any, *, dataset: str) -> dict[str, Any]:
    """What the weights of a row depend on, but for what only a run knows: seed, data, device, torch and other rows."""
    from lib.models.network import uses

    network, code = network_of(row, preset), (*uses(row.network), *opening(table).uses, "training")
    code += (table.twin.version,) if dataset == "twin" else ()
    return {"network": network, "recipe": recipe_of(row.recipe_of(preset)), "preparation": preparation(table, preset, test=False),
            "versions": versions(code)}


def code_of_values(table: Table, preset: Any) -> dict[str, Any]:
    """What the per-sample values of a table's rows depend on, but for the weights and the test data."""
    return {"preparation": preparation(table, preset, test=True), "metrics": sorted({column.metric for column in table.columns}),
            "versions": versions(opening(table).values)}


def depends_on(weights: dict[str, Any], values: dict[str, Any], seed: int, fingerprints: dict[str, str], *, needs: dict[str, str], device: str,
               torch: str) -> dict[str, Any]:
    """`code_of_weights` and `code_of_values` with what a run knows: everything that the values depend on, what the weights do as a part of it."""
    data = {split: found for split, found in sorted(fingerprints.items()) if split != "test"}
    trained = {"network": weights["network"], "recipe": weights["recipe"], "seed": seed, "data": data, "preparation": weights["preparation"],
               "needs": dict(sorted(needs.items())), "versions": weights["versions"], "torch": torch, "device": device}
    return {"weights": trained, "data": {"test": fingerprints.get("test")}} | values


class Keyed:
    """Rows and seeds of one table with one preset, on one data set: what there is to do and where it lies.

    A run knows its data, `status` only what records saw: each says with methods of its own which `rows()` were chosen of those that preset and
    data set have; which `row(name)` is called so; the `fingerprints(variant)` of the splits of a variant's data; and the `code(name)` of a row,
    `code_of_weights` and `code_of_values`. surveyed: fingerprints of each variant's data, where they are known.
    """

    def __init__(self, chosen: Settings, *, table: str, torch: str):
        """table: the name that its records lie under; torch: the version that computes here."""
        self.settings, self.torch = chosen, torch
        self.store = RecordStore(chosen.results_dir, table=table, dataset=chosen.dataset, preset=chosen.preset)
        self.surveyed: dict[str, dict[str, str]] = {}
        self._depends: dict[tuple[str, int], dict] = {}

    def todo(self) -> list[tuple[Any, int]]:
        """Every row and seed of the table, in order; rows that others need come before them."""
        return [(row, seed) for seed in self.settings.seeds for row in self.rows()]

    def depends(self, row: Any, seed: int) -> dict:
        """Everything that the values of a row depend on, its weights among it; found once."""
        if (row.name, seed) not in self._depends:
            needs = {name: self.weights_key(self.row(name), seed) for name in row.needs}
            self._depends[row.name, seed] = depends_on(*self.code(row.name), seed, self.fingerprints(row.variant), needs=needs,
                                                       device=self.settings.device.type, torch=self.torch)
        return self._depends[row.name, seed]

    def key(self, row: Any, seed: int) -> str:
        """Of a row's record and values."""
        return digest(self.depends(row, seed))

    def place(self, row: Any, seed: int) -> tuple[str, str, str]:
        """Where a row's record and values are filed: tables may share rows, and want other values of one."""
        return str(self.store.folder), row.name, self.key(row, seed)

    def weights_key(self, row: Any, seed: int) -> str:
        return digest(self.depends(row, seed)["weights"])

    def weights_path(self, row: Any, seed: int, suffix: str = "safetensors") -> Path:
        return self.store.path(row.name, seed, self.weights_key(row, seed), suffix)
