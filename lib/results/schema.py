"""What a record and its per-sample values must be, in one place: a file that does not fit is named and left out, never half believed.

Records are read by people who did not write them, from folders that were copied, merged and edited. Whatever stands in a field is
checked for its type, range and form before anything is computed from it, and values for their number, shape and range.
"""

import hashlib
import json
import math
import re
import reprlib
from collections.abc import Callable
from typing import Any

import numpy as np

from lib.files.text import once

SCHEMA = 2  # the version of records that is written and read
MOST_BYTES = 16 * 2**20  # of a record's JSON
DEEPEST = 12  # JSON inside JSON
DIGEST = "sha256"  # the field that covers all others; records of before it have none

# What a sample's value can be, by metric: least, most, and whether every sample must have one (an answer is right or wrong, never unknown).
LIMITS: dict[str, tuple[float, float, bool]] = {
    "top1": (0, 1, True), "top5": (0, 1, True), "error_cm": (0, math.inf, True), "shown": (0, 1, False), "shown_by_chance": (0, 1, False),
    "auc": (0, 1, False), "auc_judd": (0, 1, False), "auc_shuffled": (0, 1, False), "sim": (0, 1, False), "bristol": (0, 1, False),
    "cc": (-1, 1, False), "kl": (0, math.inf, False), "entropy": (0, math.log2(6), False),  # bits, of at most six crops
    "anisotropy": (1, math.inf, False), "shear": (0, 90, False), "folds": (0, 1, False),
    **{f"{what}magnification": (0, math.inf, False) for what in ("", "box_", "head_", "parts_", "detail_", "eye_", "least_eye_")}}
UNLIMITED = (-math.inf, math.inf, False)
ROUNDING = 1e-6


def bounds(metric: str) -> tuple[float, float]:
    """Where values of `metric`, and so their means, can lie."""
    return LIMITS.get(metric, UNLIMITED)[:2]


class OtherVersion(ValueError):
    """A record of a version that this code does not read."""


# --- fields -------------------------------------------------------------------------------------------------------------


def is_name(value: Any) -> bool:
    """Whether `value` can stand in a file name, and is what tables, rows and data sets are called."""
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9][\w.+-]{0,99}", value, re.ASCII) is not None


def is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 10_000


def is_number(value: Any) -> bool:
    """A number or NaN (a metric that is undefined), no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) != math.inf and abs(value) < 1e300 or value != value


def is_whole(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def is_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(one is None or is_number(one) for one in value.values())


def is_digest(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def is_list(kind: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(kind, value))


def is_provenance(value: Any) -> bool:
    """A dictionary whose known parts have their types; a part may be missing or null."""
    kinds = {"commit": is_text, "python": is_text, "device": is_name, "device_name": is_text, "host": is_text, "threads": is_whole(1, 2**20),
             "processes": is_whole(1, 2**20), "seconds": lambda seconds: is_number(seconds) and seconds >= 0,
             "versions": lambda found: isinstance(found, dict) and all(one is None or is_text(one) for one in found.values())}
    return isinstance(value, dict) and all(value.get(name) is None or fits(value[name]) for name, fits in kinds.items())


FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "table": (is_name, "a plain name"), "row": (is_name, "a plain name"), "preset": (is_name, "a plain name"), "dataset": (is_name, "a plain name"),
    "seed": (is_whole(0, 2**32 - 1), "a whole number from 0"), "n": (is_whole(1, 10**9), "how many samples there are"),
    "is_twin": (lambda value: isinstance(value, bool), "true or false"), "unit": (lambda value: is_text(value) and value, "what n counts"),
    "summary": (is_numbers, "numbers by name"), "history": (is_list(is_numbers), "a list of numbers by name"),
    "depends": (lambda value: isinstance(value, dict) and isinstance(value.get("weights", {}), dict), "what the result depends on"),
    "provenance": (is_provenance, "where the result comes from"), "notes": (is_list(is_text), "a list of texts"),
    "values_sha256": (is_digest, "64 hexadecimal digits"), DIGEST: (is_digest, "64 hexadecimal digits"),
    "schema": (is_whole(0, 10**6), "a version")}
NEEDED = ("table", "row", "seed", "preset", "dataset", "is_twin", "n", "unit", "summary", "values_sha256")


def parse(text: bytes) -> dict[str, Any]:
    """The fields of a record's JSON, without its digest; ValueError, a few words, where something does not fit."""
    try:
        fields = json.loads(text, object_pairs_hook=once)
    except RecursionError:
        raise ValueError("is nested too deeply for a record") from None
    except ValueError as error:
        raise ValueError(str(error) if "twice" in str(error) else "is not a readable record") from None
    if not isinstance(fields, dict):
        raise ValueError("is not a readable record")
    version = fields.get("schema", SCHEMA)
    if FIELDS["schema"][0](version) and version != SCHEMA:
        raise OtherVersion(f"is a record of version {version}; this code reads {SCHEMA}")
    unlike = [f"has the unknown field {reprlib.repr(name)}" for name in fields if name not in FIELDS]
    unlike += [f"lacks the field {name}" for name in NEEDED if name not in fields]
    unlike += [f"has {reprlib.repr(fields[name])} as {name}, expected {expected}" for name, (fits, expected) in FIELDS.items()
               if name in fields and not fits(fields[name])]
    if not unlike and fields["dataset"] == "twin" and not fields["is_twin"]:
        unlike.append("calls a twin real data")
    if unlike or _depth(fields) > DEEPEST:
        raise ValueError(f"{unlike[0] if unlike else 'is nested too deeply for a record'}")
    if (written := fields.pop(DIGEST, None)) is not None and written != digest_of(fields):
        raise ValueError("changed since it was written (SHA-256 differs)")
    return fields


def digest_of(fields: dict[str, Any]) -> str:
    """SHA-256 of plain values by name, a record's fields for one, however they are laid out in a file."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def _depth(tree: Any) -> int:
    inner = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return 1 + max(map(_depth, inner), default=0) if isinstance(tree, dict | list) else 0


# --- values -------------------------------------------------------------------------------------------------------------


def check_values(values: dict[str, np.ndarray], n: int) -> None:
    """ValueError where an array is not `n` numbers, truth values or names, or rows of them."""
    for name, array in values.items():
        if getattr(array, "dtype", np.dtype(object)).kind not in "biufU":  # what is no array comes as bytes
            raise ValueError(f"holds {name} as {getattr(array, 'dtype', 'something else')}, expected numbers")
        if array.ndim == 0 or len(array) != n:
            raise ValueError(f"holds {name} of shape {array.shape}, expected {n} samples")


def column_problem(table: Any, values: dict[str, np.ndarray]) -> str:
    """Why `values` cannot stand in the columns of `table`, in a few words; empty if they can."""
    found = [column for column in table.columns if column.metric in values]
    if not found:
        return f"has none of the values of table {table.name} ({', '.join(dict.fromkeys(column.metric for column in table.columns))})"
    if table.clusters and table.clusters not in values:
        return f"lacks the value {table.clusters}"
    for column in found:
        array, (low, high, complete) = values[column.metric], LIMITS.get(column.metric, UNLIMITED)
        if array.ndim != 1 or array.dtype.kind not in "biuf":
            return f"has {column.metric} of shape {array.shape} and type {array.dtype}, expected one number for each sample"
        if np.isinf(array).any() or (array < low - ROUNDING).any() or (array > high + ROUNDING).any():
            return f"has {column.metric} from {np.nanmin(array):.4g} to {np.nanmax(array):.4g}, expected {low:g} to {high:g}"
        if complete and np.isnan(array).any():
            return f"has no {column.metric} (NaN) for {int(np.isnan(array).sum())} of {len(array)} samples"
        try:
            column.samples(values)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            return f"lacks what column {column.name} needs ({reprlib.repr(error)})"
    return ""
