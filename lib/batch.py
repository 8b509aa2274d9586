"""Runs the notebooks in order with papermill, their rows on workers ahead of them; one line for what went wrong, the tables at the end.

Each notebook is executed into <results>/notebooks/ when the rows of its table are finished, so that a kernel reads and draws and trains
nothing. papermill alone would only warn about a misspelt parameter, drops a parameter whose line it cannot parse, and calls the cells of
an interrupted notebook completed: parameters are checked before anything runs, and a notebook counts as done only when every code cell of
it ran.
"""

import ast
import contextlib
import csv
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from lib import tables
from lib.files import ROOT, resolve, writable
from lib.files.text import one_line
from lib.runs.parameters import PARAMETERS, settings
from lib.training.progress import clock

NOTEBOOKS = ROOT / "notebooks"
REPORT = "99_report.ipynb"
# Its remarks that its socket is not encrypted, and that it was ended; a cell that fails is told in one line here.
QUIET = ["--IPKernelApp.log_level=50"]


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
    """The parameters of `given` that `notebook` takes.

    ValueError, one line: a parameter that no notebook takes, and a line of the notebook's parameters cell that papermill would drop.
    """
    unknown = sorted(set(given) - set(PARAMETERS))
    if unknown:
        raise ValueError(f"unknown parameter {', '.join(unknown)}; the notebooks' parameters are {', '.join(PARAMETERS)}")
    cells = _cells(notebook)
    import papermill  # only here: everything else runs without

    known = papermill.inspect_notebook(str(notebook))
    for cell in cells:
        if "parameters" in cell.metadata.get("tags", []):
            if lost := _assigned(cell.source, notebook) - set(known):
                raise ValueError(f"{notebook.name}: papermill cannot read the parameter {', '.join(sorted(lost))}; write each on a line of its own, "
                                 "name: type = value  # what it means")
    return {name: value for name, value in given.items() if name in known}


def _cells(notebook: Path) -> list:
    """The cells of a notebook, checked; ValueError, one line, for what is no notebook."""
    import nbformat

    try:
        content = nbformat.read(notebook, as_version=4)
        nbformat.validate(content)
    except Exception as error:  # nbformat and its schema raise whatever a damaged file leads them to
        raise ValueError(f"{notebook}: is no readable notebook ({one_line(error)[:150]}); get it again, git checkout restores it") from None
    return content.cells


def _assigned(source: str, notebook: Path) -> set[str]:
    """The names that a cell assigns."""
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise ValueError(f"{notebook.name}: its parameters cell is no Python ({error.msg}, line {error.lineno}); mend the cell") from None
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def execute(notebook: Path, output: Path, parameters: dict) -> None:
    """Run one notebook into `output`; RuntimeError with one line if a cell of it fails or did not run."""
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.name}.{os.getpid()}.ipynb")
    try:
        papermill.execute_notebook(str(notebook), str(partial), parameters=parameters, cwd=str(ROOT), progress_bar=False,
                                   extra_arguments=QUIET)
        _finish(notebook, partial, output)
    except PapermillExecutionError as error:
        kept = output.with_name(f"{output.stem}.failed.ipynb")
        os.replace(partial, kept)
        raise RuntimeError(f"{notebook.name}: cell {error.exec_count} failed with {error.ename}: {error.evalue} (see {kept})") from None
    except DeadKernelError:
        raise RuntimeError(f"{notebook.name}: its kernel died, killed or out of memory; "
                           "give the same command again, it goes on where it stopped") from None
    finally:
        partial.unlink(missing_ok=True)


def _finish(notebook: Path, partial: Path, output: Path) -> None:
    """Into place, if every code cell ran: one that ends the kernel ends papermill as if all were well."""
    import nbformat

    cells = [cell for cell in nbformat.read(partial, as_version=4).cells if cell.cell_type == "code" and cell.source.strip()
             and "injected-parameters" not in cell.metadata.get("tags", [])]  # papermill's own; the number is that of the notebook as it was given
    missing = [i for i, cell in enumerate(cells, start=1) if not cell.execution_count]
    if missing:
        raise RuntimeError(f"{notebook.name}: code cell {missing[0]} of {len(cells)} did not run, "
                           "one before it ended the kernel: take its exit() out")
    os.replace(partial, output)


def run(names: list[str], parameters: dict, *, scheduler: str | None = None) -> list[Path]:
    """Execute notebooks one after the other and print how the claims stand; returns the executed notebooks.

    scheduler: address of a Dask scheduler whose workers compute the rows; a cluster of this machine's cores by default.
    """
    planned = [(notebook, check_parameters(notebook, parameters)) for notebook in find(names)]
    results, started, outputs = writable(resolve(parameters.get("results_dir", "results"))), time.monotonic(), []
    _sweep(results)
    os.environ.pop("JPY_SESSION_NAME", None)  # started from a notebook: nobody reads along in the kernels of a batch
    runs = _runs(planned, scheduler)
    missing, rows = missing_rows(list(runs.values()))
    print(_plan(planned, missing, rows, results), flush=True)
    with _rows(runs if missing else {}, scheduler) as finished:
        for i, (notebook, chosen) in enumerate(planned, start=1):
            print(f"[{i}/{len(planned)}] {notebook.stem} ({parameters.get('preset', 'demo')})", flush=True)
            begun = time.monotonic()
            finished(notebook)
            execute(notebook, results / "notebooks" / notebook.name, chosen)
            outputs.append(results / "notebooks" / notebook.name)
            print(f"[{i}/{len(planned)}] {notebook.stem}: done in {clock(time.monotonic() - begun)}", flush=True)
    print(_summary(results, outputs, started))
    return outputs


def _runs(planned: list[tuple[Path, dict]], scheduler: str | None) -> dict:
    """The runs of the notebooks that stand for a table, by notebook."""
    named = {notebook: tables.NOTEBOOKS.get(notebook.stem.split("_")[0]) for notebook, _ in planned}
    if not any(named.values()):
        return {}
    from lib.runs.engine import Run

    return {notebook: Run(tables.get(named[notebook]), settings(tables.get(named[notebook]), elsewhere=scheduler is not None, **chosen))
            for notebook, chosen in planned if named[notebook]}


@contextlib.contextmanager
def _rows(runs: dict, scheduler: str | None) -> Iterator:
    """The rows of `runs` on workers; gives a function that waits for those of one notebook."""
    on_gpu = any(one.settings.device.type != "cpu" for one in runs.values())
    if not runs or (scheduler is None and on_gpu):  # one process has the GPU: notebooks train what is missing
        yield lambda notebook: None
        return
    from lib.runs import cluster, pool

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the kernels: several threads would wait for one another beside the workers
    with pool.workers(scheduler) as client, cluster.graph(client, list(runs.values())) as graph:
        yield lambda notebook: graph.wait(runs[notebook]) if notebook in runs else None


def _sweep(results: Path) -> None:
    """Remove what batches that were killed could not: their names end in the number of a process that is gone."""
    for path in (results / "notebooks").glob(".*.ipynb"):
        number = re.search(r"[-.](\d+)(\.ipynb)?$", path.name)
        try:
            os.kill(int(number[1]), 0)
        except (ProcessLookupError, TypeError):
            path.unlink(missing_ok=True)
        except PermissionError:  # somebody else's, and alive
            continue


def missing_rows(runs: list) -> tuple[int, int]:
    """How many rows of `runs` are not finished, as far as can be told without a look at the data; and how many there are."""
    if not runs:
        return 0, 0
    from lib.runs import status

    unopened = [status.Unopened(run.table, run.settings) for run in runs]
    states = {one.place(state.row, state.seed): state.kind for one in unopened for state in one.states()}
    return sum(kind != status.DONE for kind in states.values()), len(states)


def _plan(planned: list[tuple[Path, dict]], missing: int, rows: int, results: Path) -> str:
    """What a batch is going to do, and where to look meanwhile."""
    counted = f", {rows} rows, {missing} of them to compute" if rows else ""
    lines = [f"{len(planned)} notebook{'s' * (len(planned) > 1)}{counted}."]
    if any(chosen.get("preset") == tables.MEANINGLESS for _, chosen in planned):
        lines.append("Preset smoke is for tests: it shows that everything runs, and its numbers mean nothing.")
    if missing:
        lines.append("How long it takes here is told once the first rows are measured; `python -m lib status` says how each stands.")
    first = " within a minute, its first picture is 00_overview.png" if planned[0][0].stem.startswith("00_") else ""
    lines += [f"Where to look meanwhile: {shown(results / 'figures')} fills{first};", f"finished notebooks lie in {shown(results / 'notebooks')}."]
    return "\n".join([*lines, ""])


def shown(path: Path) -> str:
    """`path` as it is typed here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _summary(results: Path, outputs: list[Path], started: float) -> str:
    """The last screen, within 100 columns: the ledger in ten lines at most where there is one, and where everything lies."""
    lines = [""]
    if results / "notebooks" / REPORT in outputs:
        lines += _verdicts(results / "tables" / "ledger.csv")
    lines += [f"Tables     {shown(results / 'tables')} (Markdown, CSV, LaTeX)", f"Figures    {shown(results / 'figures')}",
              f"Notebooks  {shown(results / 'notebooks')}"]
    if (results / "report.html").exists():
        lines.append(f"Report     {shown(results / 'report.html')}")
    return "\n".join([*lines, f"Total      {clock(time.monotonic() - started)}"])


def _verdicts(ledger: Path, most: int = 10) -> list[str]:
    """How the claims of each table stand, in `most` lines and an empty one: what fails first, and what finds no room as one sum."""
    from lib.claims import TESTED

    with ledger.open(newline="", encoding="utf-8") as file:
        entries = list(csv.DictReader(file))
    tested = [(entry["table"], "twin" if entry["is_twin"] == "True" else entry["dataset"], entry["preset"], entry["verdict"])
              for entry in entries if entry["verdict"] in TESTED]
    verdicts = Counter(tested)
    groups = [(", ".join(group), [verdicts[*group, name] for name in reversed(TESTED)]) for group in dict.fromkeys(one[:3] for one in tested)]
    if len(groups) > most - 1:
        groups.sort(key=lambda group: -group[1][-1])  # stable: the papers' order otherwise
        rest = [counts for _, counts in groups[most - 2:]]
        groups[most - 2:] = [(f"{len(rest)} more: see the report", [sum(column) for column in zip(*rest, strict=True)])]
    head = f"Claims ({len(entries) - len(tested)} more were not tested)"
    return [f"{head:40}" + "".join(f"{name:>12}" for name in reversed(TESTED)),
            *(f"  {name:38}" + "".join(f"{count:>12}" for count in counts) for name, counts in groups), ""]
