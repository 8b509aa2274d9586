"""The rows of a table under their keys: what there is to do and where it lies. A run knows its data, `status` only what records saw."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from lib.results.records import RecordStore
from lib.runs import keys
from lib.runs.parameters import Settings


class Keyed(ABC):
    """Rows and seeds of one table with one preset, on one data set. `surveyed`: fingerprints of each variant's data, where they are known."""

    def __init__(self, chosen: Settings, *, table: str):
        """table: the name that its records lie under."""
        self.settings = chosen
        self.store = RecordStore(chosen.results_dir, table=table, dataset=chosen.dataset, preset=chosen.preset)
        self.surveyed: dict[str, dict[str, str]] = {}
        self._depends: dict[tuple[str, int], dict] = {}

    @abstractmethod
    def rows(self) -> list:
        """The chosen rows that this preset and data set have."""

    @abstractmethod
    def row(self, name: str) -> Any:
        """The row called `name`: with `name`, `variant`, `needs`."""

    @abstractmethod
    def fingerprints(self, variant: str) -> dict[str, str]:
        """Of the splits of a variant's data."""

    @abstractmethod
    def code(self, name: str) -> tuple[dict, dict]:
        """`keys.code_of_weights` and `keys.code_of_values` of the row called `name`."""

    @abstractmethod
    def torch_version(self) -> str:
        """Of the torch that computes here."""

    def todo(self) -> list[tuple[Any, int]]:
        """Every row and seed of the table, in order; rows that others need come before them."""
        return [(row, seed) for seed in self.settings.seeds for row in self.rows()]

    def depends(self, row: Any, seed: int) -> dict:
        """Everything that the values of a row depend on, its weights among it; found once."""
        if (row.name, seed) not in self._depends:
            found, (of_weights, of_values) = self.fingerprints(row.variant), self.code(row.name)
            needs = {name: self.weights_key(self.row(name), seed) for name in row.needs}
            weights = keys.weights_with(of_weights, seed, found, needs=needs, device=self.settings.device.type, torch=self.torch_version())
            self._depends[row.name, seed] = keys.values_with(of_values, found, weights=weights)
        return self._depends[row.name, seed]

    def key(self, row: Any, seed: int) -> str:
        """Of a row's record and values."""
        return keys.digest(self.depends(row, seed))

    def place(self, row: Any, seed: int) -> tuple[str, str, str]:
        """Where a row's record and values are filed: tables may share rows, and want other values of one."""
        return str(self.store.folder), row.name, self.key(row, seed)

    def weights_key(self, row: Any, seed: int) -> str:
        """Of a row's weights."""
        return keys.digest(self.depends(row, seed)["weights"])

    def weights_path(self, row: Any, seed: int, suffix: str = "safetensors") -> Path:
        return self.store.path(row.name, seed, self.weights_key(row, seed), suffix)
