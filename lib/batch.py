"""Runs the notebooks in order with papermill: progress while they run, one line for what went wrong, the tables at the end.

Each notebook is executed into <results>/notebooks/. papermill alone would only warn about a misspelt parameter, and calls
the cells of an interrupted notebook completed: parameters are checked before anything runs, and a notebook counts as done
only when every code cell of it ran.
"""

import os
import re
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from lib.tables import NAMES as NAMES_OF_TABLES
from lib.tables import helpers
from lib.results.records import ROOT
from lib.tables.table import resolve
from lib.training.progress import clock

NOTEBOOKS = ROOT / "notebooks"
NAMES = ("preset", "dataset", "data_dir", "rows", "seeds", "device", "results_dir")
QUIET = ["--IPKernelApp.log_level=40"]  # the kernel's remark that its socket on this machine is not encrypted


def find(names: list[str]) -> list[Path]:
    """The notebooks called `names` ("01", "01_gazecapture" or a path), or all of them in order."""
    everything = sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))
    if not names:
        return everything
    found = []
    for name in names:
        matches = [path for path in everything if path.stem == Path(name).stem or path.stem.split("_")[0] == name]
        if not matches:
            raise ValueError(f"there is no notebook {name!r}; there are {', '.join(path.stem for path in everything)}")
        found += matches
    return found


def check_parameters(notebook: Path, given: dict) -> dict:
    """The parameters of `given` that `notebook` takes; one that no notebook takes is an error that lists the right names."""
    unknown = sorted(set(given) - set(NAMES))
    if unknown:
        raise ValueError(f"unknown parameter {', '.join(unknown)}; the notebooks' parameters are {', '.join(NAMES)}")
    import papermill  # only here: everything else runs without

    return {name: value for name, value in given.items() if name in papermill.inspect_notebook(str(notebook))}


@contextmanager
def _following(path: Path):
    """Prints what running notebooks append to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    over = threading.Event()

    def follow() -> None:
        live, last = sys.stdout.isatty(), float("-inf")
        with path.open() as file:
            while not over.is_set():
                lines = file.read().splitlines()
                if lines and (live or time.monotonic() - last > 10):  # one live line in a terminal, one in ten seconds in a log
                    last = time.monotonic()
                    print(f"\r\033[K{lines[-1][:110]}" if live else lines[-1], end="" if live else "\n", flush=True)
                over.wait(0.5)
        print("\r\033[K" if live else "", end="", flush=True)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        path.unlink(missing_ok=True)


def execute(notebook: Path, output: Path, parameters: dict) -> None:
    """Run one notebook into `output`; RuntimeError with one line if a cell of it fails or did not run."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.name}.{os.getpid()}.ipynb")
    try:
        papermill.execute_notebook(str(notebook), str(partial), parameters=parameters, cwd=str(ROOT), progress_bar=False,
                                   extra_arguments=QUIET)
    except PapermillExecutionError as error:
        kept = output.with_name(f"{output.stem}.failed.ipynb")
        os.replace(partial, kept)
        raise RuntimeError(f"{notebook.name}: cell {error.exec_count} failed with {error.ename}: {error.evalue} (see {kept})") from None
    finally:
        if partial.exists():
            _finish(partial, output)


def _finish(partial: Path, output: Path) -> None:
    import nbformat

    cells = [cell for cell in nbformat.read(partial, as_version=4).cells if cell.cell_type == "code" and cell.source.strip()]
    if all(cell.execution_count for cell in cells):
        os.replace(partial, output)
    else:
        partial.unlink()


def run(names: list[str], parameters: dict) -> list[Path]:
    """Execute notebooks one after the other and print the tables that they leave; returns the executed notebooks."""
    notebooks = find(names)
    planned = [(notebook, check_parameters(notebook, parameters)) for notebook in notebooks]
    results, started, outputs = resolve(parameters.get("results_dir", "results")), time.monotonic(), []
    _sweep(results)
    progress = results / "runs" / f".progress-{os.getpid()}"
    os.environ["ZOOM_PROGRESS"] = str(progress)
    with _helped(notebooks, parameters):
        for i, (notebook, chosen) in enumerate(planned, start=1):
            output = results / "notebooks" / notebook.name
            print(f"[{i}/{len(planned)}] {notebook.stem} ({parameters.get('preset', 'demo')})", flush=True)
            begun = time.monotonic()
            with _following(progress):
                execute(notebook, output, chosen)
            outputs.append(output)
            print(f"[{i}/{len(planned)}] {notebook.stem}: done in {clock(time.monotonic() - begun)}", flush=True)
    _report(results, outputs, started)
    return outputs


def _sweep(results: Path) -> None:
    """Remove what batches that were killed could not: their names end in the number of a process that is gone."""
    for path in [*(results / "runs").glob(".progress-*"), *(results / "notebooks").glob(".*.ipynb")]:
        number = re.search(r"[-.](\d+)(\.ipynb)?$", path.name)
        try:
            os.kill(int(number[1]), 0)
        except (ProcessLookupError, TypeError):
            path.unlink(missing_ok=True)
        except PermissionError:  # somebody else's, and alive
            continue


def tables_of(notebooks: list[Path]) -> list[str]:
    """The tables that `notebooks` fill, in their order."""
    found = [re.search(r"tables\.get\(\\?\"(\w+)\\?\"\)", notebook.read_text()) for notebook in notebooks]
    return list(dict.fromkeys(match[1] for match in found if match))


@contextmanager
def _helped(notebooks: list[Path], parameters: dict):
    """Other cores train rows of all the notebooks' tables, ahead of the notebook that is at work."""
    import torch

    names, device = tables_of(notebooks), parameters.get("device", "auto")
    if not names or device.startswith("cuda") or (device == "auto" and torch.cuda.is_available()):
        yield
        return
    options = {"data_dir": "data", "results_dir": "results"}
    words = [word for name, value in parameters.items() for word in (f"--{options.get(name, name)}", str(value))]
    os.environ[helpers.BY_BATCH] = "1"
    try:
        with helpers.started(min(helpers.cores(), helpers.MOST) - 1, [",".join(names), *words]):
            yield
    finally:
        del os.environ[helpers.BY_BATCH]


def _report(results: Path, outputs: list[Path], started: float) -> None:
    for name in NAMES_OF_TABLES:
        for table in sorted((results / "tables").glob(f"{name}-*.md")):
            print(f"\n{table.read_text().strip()}")
    print(f"\nExecuted notebooks  {outputs[0].parent if outputs else results / 'notebooks'}")
    print(f"Figures             {results / 'figures'}")
    print(f"Tables              {results / 'tables'} (Markdown, CSV, LaTeX)")
    if (results / "report.html").exists():
        print(f"Report              {results / 'report.html'}")
    print(f"Total               {clock(time.monotonic() - started)}")
