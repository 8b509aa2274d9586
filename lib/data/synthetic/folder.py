"""How every synthetic twin gets onto the disk: whole or not at all, once, its bytes the same on any number of processes.

TWIN.json ends with a digest over all of its files: a twin of which one was damaged, or edited, is refused when a run opens it. That reads them
all: a third of a second of a core for GazeCapture's of the demo preset (84 MB, 4,699 files), less for the others.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import multiprocessing.connection
import os
import shutil
import sys
import threading
import types
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from lib.data.files import TWIN_FILE, read_json
from lib.files import checksum, writing

Progress = Callable[[int, int], object]
LEFT = (TWIN_FILE, ".DS_Store", "Thumbs.db", "desktop.ini")


def write_once(root: str | os.PathLike[str], *, version: int, parameters: dict[str, Any], fill: Callable[[Path], dict[str, Any]]) -> Path:
    """The twin with these parameters at `root`: found there, or written now; returns root.

    fill(folder) writes everything and returns what TWIN.json is to say beside version and parameters (JSON types only, in
    `parameters` too). It writes beside root, and the folder is renamed when complete: a root with a TWIN.json is a finished
    twin. A root that holds anything else, or a twin whose files changed, is a ValueError: nothing is ever overwritten.
    """
    root = Path(root)
    if already_there(root, version, parameters):
        return root
    partial = root.parent / f".{root.name}.partial-{os.getpid()}"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with writing(root):
            partial.mkdir(parents=True)
            description = {"synthetic": True, **fill(partial), "version": version, "parameters": parameters, "digest": content_of(partial)}
            write_json(partial / TWIN_FILE, description, indent=1)
            _move(partial, root, version, parameters)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return root


def _move(partial: Path, root: Path, version: int, parameters: dict[str, Any]) -> None:
    """Into place, unless another process has finished the same twin in the meantime."""
    try:
        if root.is_dir():
            root.rmdir()  # it was empty when writing began
        partial.rename(root)
    except OSError:
        if not already_there(root, version, parameters):
            raise


def already_there(root: Path, version: int, parameters: dict[str, Any]) -> bool:
    """Whether `root` is this very twin; False where nothing is, ValueError where something else is."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    twin = root / TWIN_FILE
    found = read_json(twin) if twin.is_file() else {}
    if found.get("version") == version and found.get("parameters") == parameters:
        if found.get("digest") not in (None, content_of(root)):  # None: a twin of before it
            raise ValueError(f"{root}: its files are not those that were written; remove the folder, and it is written again")
        return True
    what = f"a twin with {found.get('parameters')}, version {found.get('version')}" if found else "something that is no twin"
    raise ValueError(f"{root}: already holds {what}; choose another folder or remove it")


def content_of(root: Path) -> str:
    """16 hex digits over the names and checksums of all files below `root`, but for TWIN.json and what file browsers leave there."""
    paths = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.name not in LEFT and path.is_file()}
    return hashlib.sha256("".join(f"{name} {checksum(path)}\n" for name, path in sorted(paths.items())).encode()).hexdigest()[:16]


def in_parallel(function: Callable[[Any], Any], tasks: Sequence[Any], *, workers: int, progress: Progress | None, chunk: int = 4) -> list[Any]:
    """`function` of every task, in order, on `workers` processes; progress(done, total) after each. Both must pickle."""
    report, results = progress or (lambda done, total: None), []
    if workers <= 1:
        for task in tasks:
            results.append(function(task))
            report(len(results), len(tasks))
        return results
    # Not forked: the parent may hold threads (torch) or a CUDA context.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent) as pool:
        with _main_stays_here():
            coming = pool.map(function, tasks, chunksize=chunk)  # this starts the processes
        for result in coming:
            results.append(result)
            report(len(results), len(tasks))
    return results


@contextlib.contextmanager
def _main_stays_here() -> Iterator[None]:
    """Processes that start within do not run the main module again, as spawned ones do.

    They need only the function's own module. A script that writes a twin outside `if __name__ == "__main__"` would write it in each of them
    too, where they wait for a lock that the parent holds, and the parent for them.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _end_with_parent() -> None:
    """A process of the pool would outlive a parent that is killed: the pipe it waits at never closes."""
    def watch() -> None:
        multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def write_json(path: Path, content: Any, *, indent: int | None = None) -> None:
    path.write_text(json.dumps(content, indent=indent))
