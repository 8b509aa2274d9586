"""What all tests share: one thread, figures without a display, and where real data lie."""

import multiprocessing
import os
import shutil
import warnings
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")  # before anything imports matplotlib, in subprocesses too
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """On a busy machine OpenMP threads wait for one another spinning; bit-for-bit tests need a fixed count anyway."""
    import torch  # here: the process that hands tests out to the workers runs none, and would import it too

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets that ZOOM_REAL_DATA names; without one the test is skipped."""
    folder = os.environ.get("ZOOM_REAL_DATA")
    if not folder:
        pytest.skip("needs real data: set ZOOM_REAL_DATA to the folder that holds it")
    if not Path(folder).is_dir():
        pytest.fail(f"ZOOM_REAL_DATA is {folder!r}, which is no folder")
    return Path(folder)


@pytest.fixture
def drawn_without_warnings():
    """For tests of figures: a warning is an error, and no figure stays open."""
    import matplotlib.pyplot as plt

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    plt.close("all")


@pytest.fixture
def no_reference(monkeypatch, tmp_path):
    """Made-up records stand alone: what is committed about the noise of training and the reference's verdicts is not for them."""
    from lib.results import noise

    monkeypatch.setattr(noise, "FILE", tmp_path / "no-noise.json")


@pytest.fixture(scope="session")
def forkserver():
    """A context of `multiprocessing` whose processes are forked from one that has imported what takes seconds, and nothing of lib."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "torch._dynamo", "torchvision", "pandas", "scipy.stats", "matplotlib.pyplot"])
    return context


# --- one for all tests, and for all workers of pytest-xdist ------------------------------------------------------------


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Path:
    """A folder that all workers of this session share: what lies there is made once, under a lock, by whoever needs it first."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def once(shared):
    """`once(name, make)`: the path shared/name, made by `make(path)` the first time that any worker asks for it."""
    from lib.files import locked

    def made(name: str, make) -> Path:
        path, done = shared / name, shared / f"{name}.done"
        with locked(path):
            if not done.exists():
                make(path)
                done.touch()
        return path

    return made


@pytest.fixture(scope="session")
def results_dir(shared) -> Path:
    """The results folder of all smoke runs: a row is trained once, whoever needs it. Only the engine writes there, and the batch of all notebooks."""
    return shared / "results"


@pytest.fixture(scope="session")
def smoke():
    """`smoke(table, results_dir, rows, ...)`: these rows of a table, run on the spot with the preset of that name."""
    from lib import tables
    from lib.runs.engine import Run, settings

    def run(name: str, results_dir: Path, rows=None, **options) -> Run:
        table = tables.get(name)
        return Run(table, settings(table, preset="smoke", rows=rows and list(rows), device="cpu", results_dir=results_dir, **options)).run()

    return run


@pytest.fixture(scope="session")
def pythons(tmp_path_factory):
    """`pythons.run(folder, *words)`: Python in an edited copy of the code."""
    from copies import Pythons

    started = Pythons(tmp_path_factory.mktemp("pythons"))
    yield started
    started.close()


@pytest.fixture(scope="session")
def lend(results_dir, smoke):
    """`lend(folder, table, rows)`: a results folder with these rows of the shared one, and what was decoded for them."""
    def lent(folder: Path, table: str, rows) -> Path:
        run = smoke(table, results_dir, rows)
        for row, seed in run.todo():
            for path in (run.weights_path(row, seed), *(run.store.path(row.name, seed, run.key(row, seed), part) for part in ("json", "npz"))):
                there = folder / path.relative_to(results_dir)
                there.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, there)
        if not (folder / "cache").exists():
            (folder / "cache").symlink_to(results_dir / "cache", target_is_directory=True)
        return folder

    return lent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, the longest before all: workers take whole files, and a long one that comes last would leave the others idle."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    longest = ("test_notebooks.py", "test_interruptions.py", "test_readme.py")
    # stable: within a file, and among files of a kind, the order stays
    items.sort(key=lambda item: (longest.index(item.path.name) if item.path.name in longest else len(longest), item.path not in slow))
