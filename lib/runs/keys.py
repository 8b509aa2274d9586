"""What a result depends on, as plain values, and the keys under which it is filed.

Weights and per-sample values have keys of their own. Weights depend on the network with its options, the recipe (loss and seed among
them), the training and validation data and how they are prepared, the rows whose networks they need, and the versions of the code
concerned. Values depend on the weights, the test data, and the metrics. So a new metric evaluates again and never trains.

Code enters through the versions of `lib.versions` alone. Options and recipes enter as they are given: an option that is left at its
default is not in the key, so a new option of a network leaves what lies there as it is.
"""

import functools
import hashlib
import inspect
import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from lib.models.network import described, plain, uses
from lib.tables.table import Row, Table, arguments
from lib.training.loop import Recipe
from lib.versions import versions

TEST_ONLY = "test_"  # an argument of this name prepares test data, and nothing that is trained on


def digest(depends: dict) -> str:
    """The key: 10 hex digits over `depends`."""
    return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:10]


def network_of(row: Row, preset: Any) -> dict[str, Any]:
    """The row's network as plain values: its declared name and everything that it is built with."""
    found = described(row.network)
    options = found.pop("options", {}) | plain(arguments(row.network, preset, row.options), f"row {row.name}")
    return found | {"options": dict(sorted(options.items()))}


def recipe_of(recipe: Recipe) -> dict[str, Any]:
    """A recipe as plain values, without what is at its default."""
    return {one.name: plain(getattr(recipe, one.name), "recipe") for one in fields(recipe)
            if one.name in ("epochs", "batch_size") or getattr(recipe, one.name) != one.default}


def preparation(table: Table, preset: Any, *, test: bool) -> dict[str, Any]:
    """How the data are prepared: the arguments of the table's `open`, those of the test data or those of all; not what is at its default."""
    usual = {one.name: one.default for one in inspect.signature(table.open).parameters.values()}
    found = {name: value for name, value in arguments(table.open, preset, {}).items()
             if usual[name] is inspect.Parameter.empty or value != usual[name]}
    return {name: value for name, value in sorted(plain(found, f"table {table.name}").items()) if name.startswith(TEST_ONLY) == test}


def opening(table: Table) -> Callable:
    """The function behind a table's `open`, which names its versions."""
    return table.open.func if isinstance(table.open, functools.partial) else table.open


def weights_depend_on(table: Table, row: Row, seed: int, preset: Any, fingerprints: dict[str, str], *, dataset: str, needs: dict[str, str],
                      device: str, torch: str) -> dict[str, Any]:
    """Everything that the weights of a row depend on. needs: the keys of the weights of other rows; torch: its version."""
    network, code = network_of(row, preset), (*uses(row.network), *opening(table).uses, "training")
    code += (table.twin.version,) if dataset == "twin" else ()
    return {"network": network, "recipe": recipe_of(row.recipe_of(preset)), "seed": seed,
            "data": {split: found for split, found in sorted(fingerprints.items()) if split != "test"},
            "preparation": preparation(table, preset, test=False), "needs": dict(sorted(needs.items())), "versions": versions(code),
            "torch": torch, "device": device}


def values_depend_on(table: Table, preset: Any, fingerprints: dict[str, str], *, weights: dict[str, Any]) -> dict[str, Any]:
    """Everything that the per-sample values of a row depend on. weights: what those depend on."""
    return {"weights": weights, "data": {"test": fingerprints.get("test")}, "preparation": preparation(table, preset, test=True),
            "metrics": sorted({column.metric for column in table.columns}), "versions": versions(opening(table).values)}


def changes(old: Any, new: Any, name: str = "") -> list[str]:
    """In what two such trees differ, in words: "recipe.epochs 16 -> 14"."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [line for part in {**new, **old} for line in changes(old.get(part, "nothing"), new.get(part, "nothing"), f"{name}.{part}" if name else part)]
    return [] if old == new else [f"{name} {_short(old)} -> {_short(new)}"]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
