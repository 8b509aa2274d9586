"""A finished row is one JSON record with its per-sample values beside it: how it is written, and how it is read.

    <results>/runs/<table>/<dataset>-<preset>/<row>-seed<k>-<key>.json          the record
    <results>/runs/<table>/<dataset>-<preset>/<row>-seed<k>-<key>.npz           per-sample values, (n, ...) each

The key is a hash of everything that the result depends on (`lib.runs.keys`). So a record that can be read is a
finished row that still holds, and nothing else counts as one. A record also tells which experiment it is of: what its result depends on, but for
what may differ from seed to seed and from machine to machine. `publish` asks whether two records may stand in one row of the reference, `check`
whether the reference can judge a run at all.
"""

import hashlib
import importlib.metadata
import io
import json
import math
import platform
import subprocess
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lib.files import ROOT, replace_atomically, write_text
from lib.results import schema

if TYPE_CHECKING:  # records are read without it
    import torch

MOST_VALUES = 2**29  # bytes of a row's values, unpacked
PARTS = (".json", ".npz")
SHOWN = 4  # differences of two experiments that are named


@dataclass
class Record:
    """One row, one seed: what was measured, on how many of what, and where it came from."""

    table: str
    row: str
    seed: int
    preset: str
    dataset: str
    is_twin: bool
    n: int
    unit: str  # what n counts
    summary: dict[str, float]
    history: list[dict] = field(default_factory=list)
    depends: dict = field(default_factory=dict)  # what the key covers
    provenance: dict = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    values_sha256: str = ""
    schema: int = schema.SCHEMA


@dataclass(frozen=True)
class Item:
    """One finished row and seed, with its per-sample values, (n, ...) each."""

    record: Record
    values: dict[str, np.ndarray]
    path: Path = Path()
    size: int = 0  # bytes on disk, weights included
    time: float = 0.0  # of its file


def provenance(device: "torch.device", seconds: float, processes: int = 1) -> dict:
    """Where and with what a result was made."""
    import torch

    versions = {name: importlib.metadata.version(name) for name in ("torch", "torchvision", "numpy", "scipy", "pandas")}
    return {"commit": git_commit(), "python": platform.python_version(), "versions": versions, "device": device.type,
            "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(), "processes": processes, "host": platform.node(), "seconds": round(seconds, 2)}


def git(*words: str) -> str:
    """What git says of the code; nothing outside a checkout, and where it refuses."""
    try:
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def git_commit() -> str | None:
    """The commit of the code, "-dirty" if tracked files differ from it; None outside a checkout."""
    head = git("rev-parse", "HEAD")
    return head + "-dirty" * bool(git("status", "--porcelain", "--untracked-files=no")) if head else None


def short(commit: str | None) -> str:
    """ "21d14a4", "21d14a4-dirty"; "unknown"."""
    commit = commit or "unknown"
    return commit[:7] + "-dirty" * commit.endswith("-dirty")


# --- reading ------------------------------------------------------------------------------------------------------------


def read_record(path: Path, *, values: bool = True) -> Item:
    """The finished row whose record is the file `path`; its values are read too unless `values` is False.

    ValueError, one line with the file's name and what to do, for whatever does not fit `lib.results.schema`; of another
    version it is a `schema.OtherVersion`.
    """
    try:
        fields = schema.parse(_bytes(path, schema.MOST_BYTES))
        record = Record(**fields | {"history": [{name: math.nan if value is None else value for name, value in epoch.items()}
                                                for epoch in fields.get("history", [])]})
    except schema.OtherVersion as error:
        raise schema.OtherVersion(f"{path}: {error}; it is left as it is, run its row again") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {_words(error)}; remove it and run its row again") from None
    arrays = _values(path, record) if values else {}
    return Item(record, arrays, path, sum(size_of(path.with_suffix(part)) for part in PARTS), path.stat().st_mtime)


def _values(path: Path, record: Record) -> dict[str, np.ndarray]:
    beside = path.with_suffix(".npz")
    if not beside.exists():
        raise ValueError(f"{path}: its values, {beside.name}, are missing; run its row again")
    try:
        data = _bytes(beside, MOST_VALUES)
        if hashlib.sha256(data).hexdigest() != record.values_sha256:
            raise ValueError(f"are not the values that {path.name} was written with (SHA-256 differs)")
        arrays = _unpacked(data)
        schema.check_values(arrays, record.n)
    except (OSError, ValueError) as error:
        raise ValueError(f"{beside}: {_words(error)}; remove both and run the row again") from None
    return arrays


def _unpacked(data: bytes) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MOST_VALUES:
            raise ValueError(f"unpack to {size / 1e6:.0f} MB")
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return dict(archive)
    except Exception as error:  # whatever a damaged archive makes its readers raise
        raise ValueError(f"cannot be unpacked ({_words(error)})") from None


def _bytes(path: Path, most: int) -> bytes:
    """The content of a file that is one (no folder, no pipe, no link to nowhere) and not larger than `most` bytes."""
    if not path.is_file():
        raise ValueError("is no readable file")
    if path.stat().st_size > most:
        raise ValueError(f"has more than {most / 1e6:.0f} MB")
    return path.read_bytes()


def _words(error: Exception) -> str:
    """An error's words in one line, without a path."""
    return error.strerror or "cannot be read" if isinstance(error, OSError) else " ".join(str(error).split())[:200]


def size_of(path: Path) -> int:
    """Bytes of a file; 0 if it is gone, as something may be training here."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


# --- writing ------------------------------------------------------------------------------------------------------------


def as_json(record: Record) -> str:
    """What stands in a record's file: its fields, and their digest, so that one that was damaged or edited is known."""
    fields = json.loads(json.dumps(asdict(record)), parse_constant=lambda name: None)  # as a reader will find them: JSON has no NaN, it has null
    return json.dumps(fields | {schema.DIGEST: schema.digest_of(fields)}, indent=1, allow_nan=False)


def file_name(row: str, seed: int, key: str, suffix: str) -> str:
    """What a run calls a file of a row: its record, its values, its weights."""
    return f"{row}-seed{seed}-{key}.{suffix}"


class RecordStore:
    """The records of one table on one data set with one preset."""

    def __init__(self, results_dir: Path, *, table: str, dataset: str, preset: str):
        self.folder = Path(results_dir) / "runs" / table / f"{dataset}-{preset}"

    def path(self, row: str, seed: int, key: str, suffix: str) -> Path:
        return self.folder / file_name(row, seed, key, suffix)

    def load(self, row: str, seed: int, key: str) -> tuple[Record, dict[str, np.ndarray]] | None:
        """The finished row with its values, None where there is none (a damaged one counts as none)."""
        try:
            found = read_record(self.path(row, seed, key, "json"))
        except (OSError, ValueError):
            return None
        return found.record, found.values

    def save(self, record: Record, key: str, values: dict[str, np.ndarray]) -> None:
        """Values first, record last, each written whole or not at all."""
        def write_values(path: Path) -> None:
            with open(path, "wb") as file:
                np.savez_compressed(file, **values)

        where = (record.row, record.seed, key)
        replace_atomically(self.path(*where, "npz"), write_values)
        record.values_sha256 = hashlib.sha256(self.path(*where, "npz").read_bytes()).hexdigest()
        write_text(self.path(*where, "json"), as_json(record))


# --- the experiment -----------------------------------------------------------------------------------------------------


def experiment(record: Record) -> dict:
    """What a record depends on, but for what differs from seed to seed."""
    return record.depends | {"weights": {name: part for name, part in record.depends["weights"].items() if name not in ("seed", "needs")}}


def _told(record: Record) -> dict:
    """Network, recipe, preparation and versions as plain values. Not data, torch and device: runs of one experiment may differ in them."""
    weights = record.depends.get("weights", {})
    trained = {name: weights[name] for name in ("network", "recipe", "preparation", "versions") if name in weights}
    return trained | {f"test {name}": record.depends[name] for name in ("preparation", "versions") if name in record.depends}


def apart(reference: dict[str, dict[int, Item]], here: dict[str, dict[int, Item]]) -> dict[str, list[str]]:
    """Row -> by what the sides' experiments differ, for rows on both sides that do; also those that need the network of such a row."""
    both = reference.keys() & here.keys()
    found = {row: list(dict.fromkeys(line for one in reference[row].values() for other in here[row].values()
                                     for line in changes(_told(one.record), _told(other.record)))) for row in both}
    for row in both:
        needs = {needed for item in here[row].values() for needed in item.record.depends.get("weights", {}).get("needs") or ()}
        found[row] += [f"needs {needed}" for needed in sorted(needs) if found.get(needed)]
    return {row: lines for row, lines in found.items() if lines}


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
