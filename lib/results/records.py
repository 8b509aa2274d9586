"""A finished row is one JSON record with its per-sample values beside it.

    <results>/runs/<table>/<dataset>-<preset>/<row>-seed<k>-<key>.json          the record
    <results>/runs/<table>/<dataset>-<preset>/<row>-seed<k>-<key>.npz           per-sample values, (n, ...) each

The key is a hash of everything that the result depends on (`lib.runs.keys`). So a record that parses is a finished row that still
holds, and nothing else counts as one.
"""

import hashlib
import importlib.metadata
import json
import platform
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from lib.files import ROOT, replace_atomically

SCHEMA = 2
READABLE = (1, 2)  # what tables and reports are made from; only SCHEMA is ever taken for a finished row


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
    schema: int = SCHEMA


def provenance(device: torch.device, seconds: float, processes: int = 1) -> dict:
    """Where and with what a result was made."""
    versions = {name: _version(name) for name in ("torch", "torchvision", "numpy", "scipy", "pandas")}
    return {"commit": git_commit(), "python": platform.python_version(), "versions": versions, "device": device.type,
            "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(), "processes": processes, "host": platform.node(), "seconds": round(seconds, 2)}


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def git_commit() -> str | None:
    """The commit of the code, "-dirty" if tracked files differ from it; None outside a checkout."""
    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


class RecordStore:
    """The records of one table on one data set with one preset."""

    def __init__(self, results_dir: Path, *, table: str, dataset: str, preset: str):
        self.folder = Path(results_dir) / "runs" / table / f"{dataset}-{preset}"

    def path(self, row: str, seed: int, key: str, suffix: str) -> Path:
        return self.folder / f"{row}-seed{seed}-{key}.{suffix}"

    def load(self, row: str, seed: int, key: str) -> tuple[Record, dict[str, np.ndarray]] | None:
        """The finished row with its values, None where there is none (a damaged one counts as none)."""
        try:
            record = Record(**json.loads(self.path(row, seed, key, "json").read_text()))
            data = self.path(row, seed, key, "npz").read_bytes()
            if record.schema != SCHEMA or hashlib.sha256(data).hexdigest() != record.values_sha256:
                return None
            with np.load(self.path(row, seed, key, "npz"), allow_pickle=False) as archive:
                return record, dict(archive)
        except (OSError, ValueError, TypeError):
            return None

    def save(self, record: Record, key: str, values: dict[str, np.ndarray]) -> None:
        """Values first, record last, each written whole or not at all."""
        def write_values(path: Path) -> None:
            with open(path, "wb") as file:
                np.savez_compressed(file, **values)

        where = (record.row, record.seed, key)
        replace_atomically(self.path(*where, "npz"), write_values)
        record.values_sha256 = hashlib.sha256(self.path(*where, "npz").read_bytes()).hexdigest()
        text = json.dumps(asdict(record), indent=1)
        replace_atomically(self.path(*where, "json"), lambda path: path.write_text(text))
