"""Finished rows on disk, whatever their files are called: by their records' own fields, and only if their values are whole."""

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lib.results.records import READABLE, Record


def read(path: Path) -> tuple[Record, dict[str, np.ndarray]]:
    """The finished row whose record is the file `path`, with its values; ValueError, one line, if it is damaged or something else."""
    values = path.with_suffix(".npz")
    try:
        record = Record(**json.loads(path.read_text()))
    except (ValueError, TypeError):
        raise ValueError(f"{path}: not a readable record; remove it and run its row again") from None
    if record.schema not in READABLE:
        raise ValueError(f"{path}: a record of version {record.schema}, expected {READABLE[-1]}; run its row again")
    if hashlib.sha256(data := values.read_bytes()).hexdigest() != record.values_sha256:
        raise ValueError(f"{values}: not the values that {path.name} was written with (SHA-256 differs); remove both and run the row again")
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return record, dict(archive)


def scan(folder: str | Path, *, damaged: list[str] | None = None) -> Iterator[tuple[Record, dict[str, np.ndarray]]]:
    """Every finished row below `folder`, whatever its file is called, oldest file first.

    What cannot be read is left out; `damaged` gets one line for each.
    """
    for path in sorted(Path(folder).rglob("*.json"), key=lambda path: (path.stat().st_mtime_ns, path)):
        try:
            yield read(path)
        except FileNotFoundError as error:
            problem = f"{path}: its values, {Path(error.filename or path).name}, are missing; run its row again"
        except (OSError, ValueError) as error:
            problem = str(error)
        else:
            continue
        if damaged is not None:
            damaged.append(problem)
