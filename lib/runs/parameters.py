"""The parameters of notebooks and commands, defined once: names, defaults, what they mean, and how plain values become `Settings`."""

import ctypes
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.files import resolve

if TYPE_CHECKING:  # neither is needed to print a page of help
    import torch

    from lib.runs.plans import Plan
    from lib.tables.table import Table


@dataclass(frozen=True)
class Parameter:
    """One parameter: its name in notebooks, its flag on the command line, its default, what it means."""

    name: str
    flag: str
    default: Any
    help: str


PARAMETERS = {one.name: one for one in (
    Parameter("preset", "--preset", "demo",
              "smoke (seconds a row, its numbers mean nothing), demo, photos (real photographs, pretrained lite0), paper; "
              "an unknown name is answered with all that there are"),
    Parameter("dataset", "--dataset", "twin", "twin, or the name of the real data set; with --data"),
    Parameter("data_dir", "--data", "", "folder of the real data set; with --dataset"),
    Parameter("rows", "--rows", "", "names of rows, separated by commas; all of them by default"),
    Parameter("seeds", "--seeds", "1", "how many (5), a range (3-9), or a list (2,5)"),
    Parameter("device", "--device", "auto", "auto, cpu, cuda or cuda:N"),
    Parameter("results_dir", "--results", "results", "folder for records, tables and figures"),
)}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The parameters of a notebook or command line, checked."""

    preset: str
    dataset: str
    data_dir: Path | None
    rows: tuple[str, ...]
    seeds: tuple[int, ...]
    device: "NamedDevice | torch.device"  # a run has torch's own
    results_dir: Path

    def plain(self) -> dict[str, Any]:
        """The same as `settings` takes them, for another process."""
        return {"preset": self.preset, "dataset": self.dataset, "data_dir": str(self.data_dir.absolute()) if self.data_dir else "",
                "rows": list(self.rows), "seeds": ",".join(f"{seed}-{seed}" for seed in self.seeds),
                "device": str(self.device), "results_dir": str(self.results_dir)}


def settings(table: "Table | Plan", *, preset: str = "demo", dataset: str = "twin", data_dir: str | Path | None = None,
             rows: str | list[str] | None = None, seeds: int | str = 1, device: str = "auto", results_dir: str | Path = "results",
             elsewhere: bool = False) -> Settings:
    """`Settings` from plain values; each wrong one is a one-line error that lists the right ones.

    elsewhere: rows are computed on other machines, so the device need not be here.
    """
    names = table.names
    wanted = rows.replace(",", " ").split() if isinstance(rows, str) else rows
    chosen = [choose("row", name, names) for name in wanted] if wanted else names
    choose("dataset", dataset, table.datasets)
    if dataset != "twin" and not data_dir:
        raise ValueError(f"dataset {dataset!r} needs data_dir, the folder that it lies in (data/{dataset}.md says where to get it)")
    if dataset == "twin" and data_dir:
        real = ", ".join(name for name in table.datasets if name != "twin")
        raise ValueError(f"data_dir is {str(data_dir)!r}, but the twin is drawn here and lies nowhere else: say --dataset too ({real})")
    return Settings(preset=choose("preset", preset, table.presets), dataset=dataset, data_dir=resolve(data_dir) if data_dir else None,
                    seeds=parse_seeds(seeds), device=NamedDevice(device_name(device, elsewhere=elsewhere)),
                    rows=tuple(name for name in names if name in chosen), results_dir=resolve(results_dir))


def choose(what: str, value: str, allowed) -> str:
    """`value`, if it is one of `allowed`; else ValueError, one line that lists them."""
    if value not in allowed:
        raise ValueError(f"{what} {value!r} is not one of {', '.join(allowed)}")
    return value


def parse_seeds(seeds: int | str) -> tuple[int, ...]:
    """5 -> 0 to 4; "3-9" -> 3 to 9; "2,5" and "0-2,7" -> those. Text as papermill gives it is taken too."""
    text = str(seeds).replace(" ", "")
    if text.isdecimal():
        if int(text) < 1:
            raise ValueError(f"seeds is {text}, expected how many seeds to run, 1 or more (a single seed is written {text}-{text})")
        return tuple(range(int(text)))
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first:
            raise ValueError(f"seeds is {seeds!r}, expected how many (5), a range (3-9), or a list (2,5)")
        found |= set(range(first, last + 1))
    return tuple(sorted(found))


def find_device(name: str) -> "torch.device":
    """The device called `name`; "auto" is CUDA where torch sees one. ValueError, one line, for a device that is not here."""
    import torch

    return torch.device(device_name(name))


class NamedDevice(str):
    """A device's name, with the `type` that torch's own device has."""

    @property
    def type(self) -> str:
        return self.partition(":")[0]


def device_name(name: str, *, elsewhere: bool = False) -> str:
    """The name of `find_device`; torch is imported only where there is something to ask it."""
    if name == "cpu" or (name == "auto" and not _may_have_cuda()):
        return "cpu"
    import torch

    name = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else str(name)
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise ValueError(f"device {name!r} is not one of auto, cpu, cuda, cuda:N" + "; a GPU is called cuda" * (name.lower() in ("gpu", "nvidia")))
    if name == "cpu" or elsewhere:
        return name
    if not torch.cuda.is_available():
        raise ValueError(f"device {name!r}: torch sees no CUDA device here; use device 'cpu'")
    if int(name.partition(":")[2] or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {name!r}: torch sees {torch.cuda.device_count()} CUDA devices here, counted from 0; use device 'cuda'")
    return name


def _may_have_cuda() -> bool:
    """False where torch can see no CUDA device, as neither NVIDIA's driver nor AMD's is here."""
    if not sys.platform.startswith("linux"):
        return sys.platform != "darwin"
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Path("/dev/kfd").exists()
    return True
