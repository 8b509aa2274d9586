"""Protects: a notebook counts as done only where every cell of it ran, and no parameter is dropped in silence.

papermill calls a notebook that ended its own kernel finished, and leaves out lines of the parameters cell that it cannot parse.
"""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from lib.batch import check_parameters, execute

PRESET = 'preset: str = "demo"  # how much'


def notebook(folder, *cells: str, parameters: str = PRESET):
    path = folder / "04_of_somebody.ipynb"
    made = new_notebook(cells=[new_code_cell(parameters, metadata={"tags": ["parameters"]}), *map(new_code_cell, cells)])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(made, path)
    return path


@pytest.mark.parametrize("line", ['seeds = "x=1"  # note', "seeds = rows = 4", "rows: str = 'a'; seeds: int = 3", "(seeds) = 3"])
def test_a_parameter_that_papermill_cannot_read_is_named(line, tmp_path):
    """Whatever it makes of such a line: the parameter is known, or refused by the notebook's name."""
    path = notebook(tmp_path, parameters=f"{PRESET}\n{line}")
    with pytest.raises(ValueError, match=r"04_of_somebody\.ipynb: papermill cannot read the parameter .*seeds.*; write each on a line of its own"):
        check_parameters(path, {})


def test_parameters_that_papermill_reads_pass(tmp_path):
    path = notebook(tmp_path, parameters=f"{PRESET}\nseeds: int = 3  # how many\nrows = None")
    assert check_parameters(path, {"preset": "smoke", "rows": "plain", "device": "cpu"}) == {"preset": "smoke", "rows": "plain"}
    with pytest.raises(ValueError, match=r"04_of_somebody\.ipynb: its parameters cell is no Python .*; mend the cell"):
        check_parameters(notebook(tmp_path, parameters="preset = = 3"), {})


ENDS = {  # what a cell does: what is said
    "import sys; sys.exit(0)": "code cell 3 of 4 did not run, one before it ended the kernel: take its exit",
    "1 / 0": "cell 3 failed with ZeroDivisionError",  # as the notebook that is kept counts, where papermill's parameters are a cell
    "import os, signal; os.kill(os.getpid(), signal.SIGKILL)": "its kernel died, killed or out of memory; give the same command again",
}


@pytest.mark.slow
@pytest.mark.parametrize("cell", ENDS, ids=["exit", "error", "killed"])
def test_a_notebook_whose_kernel_ends_is_one_line_with_its_name_and_no_output(cell, tmp_path):
    path, output = notebook(tmp_path, cell, "print('after')", "print('last')"), tmp_path / "out" / "04.ipynb"
    with pytest.raises(RuntimeError, match=rf"04_of_somebody\.ipynb: {ENDS[cell]}") as caught:
        execute(path, output, {"preset": "smoke"})
    assert "\n" not in str(caught.value) and not output.exists()
    assert [each.name for each in output.parent.iterdir()] == (["04.failed.ipynb"] if cell == "1 / 0" else [])
