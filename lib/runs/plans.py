"""What keys say of the tables, as plain data: tables hold networks, which need torch, and `status` needs only what the keys are made of.

A table's plan is found once and kept as JSON beside Python's compiled modules, under a digest of all of lib's code and torch's version, and with
one of its own: whatever of these changes, it is found again. Where that folder cannot be written it is found each time.
"""

import contextlib
import functools
import hashlib
import importlib.util
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib import tables
from lib.files import ROOT, write_text
from lib.results.schema import DIGEST, digest_of
from lib.runs import keys

if TYPE_CHECKING:
    from lib.tables.table import Table

CODE = ROOT / "lib"
KEPT = CODE / "tables" / "__pycache__"


@dataclass(frozen=True)
class PlannedRow:
    """A row of a table with one preset, as its keys have it."""

    name: str
    variant: str
    needs: list[str]
    epochs: int
    shown: bool  # of the preset and data set; False: only needed by one that is
    code: dict[str, Any]  # `keys.code_of_weights`


@dataclass(frozen=True)
class PlannedPreset:
    """The rows of a preset in the table's order, and `keys.code_of_values`."""

    rows: dict[str, PlannedRow]
    values: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """A table as its keys have it. presets: by name, on the "twin" and on "real" data; those that were not asked for are None."""

    name: str
    records: str | None
    names: list[str]  # of all rows
    datasets: list[str]
    presets: dict[str, dict[str, PlannedPreset]]
    torch: str

    def preset(self, name: str, dataset: str) -> PlannedPreset:
        return self.presets[name]["twin" if dataset == "twin" else "real"]


def plan_of(table: "Table", *, presets: Iterable[str] | None = None, data_dir: Path | None = None) -> Plan:
    """What the keys say of `table`, of these presets or of all. data_dir: of a table whose presets fit themselves to the data."""
    import torch

    found = {}
    for name in presets or table.presets:
        preset = table.fit(table.presets[name], data_dir) if table.fit else table.presets[name]
        found[name] = {kind: _planned(table, name, preset, kind) for kind in ("twin", "real")}
    return Plan(table.name, table.records, list(table.names), list(table.datasets), found, str(torch.__version__))


def _planned(table: "Table", name: str, preset: Any, dataset: str) -> PlannedPreset:
    shown = [row.name for row in table.rows_of(name, dataset)]
    wanted = set(shown).union(*(table.row(row).needs for row in shown))
    rows = {row.name: PlannedRow(row.name, row.variant, list(row.needs), row.recipe_of(preset).epochs, row.name in shown,
                                 keys.code_of_weights(table, row, preset, dataset=dataset)) for row in table.rows if row.name in wanted}
    return PlannedPreset(rows, keys.code_of_values(table, preset))


def plan(name: str) -> Plan:
    """The plan of the table called `name`; ValueError, one line, for an unknown one."""
    if name not in tables.NAMES:
        return plan_of(tables.get(name))
    path = KEPT / f"{name}.plan-{code_digest()}.json"
    try:
        return _read(path.read_text())
    except (OSError, ValueError, KeyError, TypeError):
        found = plan_of(tables.get(name))
    fields = asdict(found)
    with contextlib.suppress(OSError):
        write_text(path, json.dumps(fields | {DIGEST: digest_of(fields)}))
        for older in set(path.parent.glob(f"{name}.plan-*.json")) - {path}:
            older.unlink(missing_ok=True)
    return found


def _read(text: str) -> Plan:
    """A plan with the digest of all else in it; ValueError where it is another."""
    fields = json.loads(text)
    if fields.pop(DIGEST) != digest_of(fields):
        raise ValueError("changed since it was kept")
    presets = {name: {kind: PlannedPreset({row: PlannedRow(**one) for row, one in planned["rows"].items()}, planned["values"])
                      for kind, planned in both.items()} for name, both in fields.pop("presets").items()}
    return Plan(**fields, presets=presets)


@functools.cache
def code_digest() -> str:
    """10 hex digits over all of lib's code and the text of torch's version."""
    digest = hashlib.sha256()
    for path in sorted(CODE.rglob("*.py")):
        digest.update(f"{path.relative_to(CODE)} ".encode() + hashlib.sha256(path.read_bytes()).digest())
    torch = importlib.util.find_spec("torch")
    version = Path(torch.origin).with_name("version.py") if torch and torch.origin else None
    digest.update(version.read_bytes() if version and version.is_file() else b"")
    return digest.hexdigest()[:10]
