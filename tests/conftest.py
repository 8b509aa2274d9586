"""What all tests share: one thread, figures without a display, and where real data lie."""

import os
import warnings
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")  # before anything imports matplotlib, in subprocesses too
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """On a busy machine OpenMP threads wait for one another spinning; bit-for-bit tests need a fixed count anyway."""
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


@pytest.fixture(scope="module")
def results_dir(tmp_path_factory) -> Path:
    """One results folder for all tests of a file."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="session")
def smoke():
    """`smoke(table, results_dir, rows, ...)`: these rows of a table, run on the spot with the preset of that name."""
    from lib import tables
    from lib.runs.engine import Run, settings

    def run(name: str, results_dir: Path, rows=None, **options) -> Run:
        table = tables.get(name)
        return Run(table, settings(table, preset="smoke", rows=rows and list(rows), device="cpu", results_dir=results_dir, **options)).run()

    return run
