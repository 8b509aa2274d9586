"""Which experiment a record is of: what its result depends on, but for what may differ from seed to seed and from machine to machine.

`publish` asks whether two records may stand in one row of the reference, `check` whether the reference can judge a run at all.
"""

import json
from typing import Any

from lib.results.records import Item, Record

SHOWN = 4  # differences that are named


def experiment(record: Record) -> dict:
    """What a record depends on, but for what differs from seed to seed."""
    return record.depends | {"weights": {name: part for name, part in record.depends["weights"].items() if name not in ("seed", "needs")}}


def _told(record: Record) -> dict:
    """Network, recipe, preparation and versions as plain values. Not data, torch and device: runs of one experiment may differ in them."""
    weights = record.depends.get("weights", {})
    if not isinstance(weights, dict):
        return {"weights": weights}
    old = {name: record.depends[name] for name in ("preset", "recipe") if name in record.depends}  # two records of version 1
    trained = {name: weights[name] for name in ("network", "recipe", "preparation", "versions") if name in weights}
    return old | trained | {f"test {name}": record.depends[name] for name in ("preparation", "versions") if name in record.depends}


def differences(reference: Record, here: Record) -> list[str]:
    """By what two records are of different experiments: "recipe.epochs 16 -> 14"; none where they are of the same.

    Records of two versions tell it in different words: none either, and their values alone can say.
    """
    if reference.schema != here.schema:
        return []
    return changes(_told(reference), _told(here))


def apart(reference: dict[str, dict[int, Item]], here: dict[str, dict[int, Item]]) -> dict[str, list[str]]:
    """Row -> by what the sides' experiments differ, for rows on both sides that do; also those that need the network of such a row."""
    both = reference.keys() & here.keys()
    found = {row: list(dict.fromkeys(line for one in reference[row].values() for other in here[row].values()
                                     for line in differences(one.record, other.record))) for row in both}
    for row in both:
        needs = {needed for item in here[row].values() for needed in _needs(item.record)}
        found[row] += [f"needs {needed}" for needed in sorted(needs) if found.get(needed)]
    return {row: lines for row, lines in found.items() if lines}


def _needs(record: Record) -> list[str]:
    weights = record.depends.get("weights")
    return list(weights.get("needs") or {}) if isinstance(weights, dict) else []


def named(lines: list[str]) -> str:
    """The first few differences, and how many more there are."""
    return "; ".join(lines[:SHOWN]) + (f"; {len(lines) - SHOWN} more" if len(lines) > SHOWN else "")


def changes(old: Any, new: Any, name: str = "") -> list[str]:
    """In what two such trees differ, in words: "recipe.epochs 16 -> 14"."""
    if isinstance(old, dict) and isinstance(new, dict):
        return [line for part in {**new, **old}
                for line in changes(old.get(part, "nothing"), new.get(part, "nothing"), f"{name}.{part}" if name else part)]
    return [] if old == new else [f"{name} {_short(old)} -> {_short(new)}"]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
