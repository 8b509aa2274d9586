"""Notebooks: their form, and that they run, from the root and from notebooks/, with misspelt parameters refused."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from lib.batch import NAMES, check_parameters

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("[0-9]*.ipynb"))


def code_cells(path: Path) -> list:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def papermill(notebook: str, output: Path, *parameters: str, folder: Path = ROOT) -> subprocess.CompletedProcess:
    """One notebook executed as a reader would, `parameters` as name=value."""
    words = [word for given in parameters for word in ("-p", *given.split("=", 1))]
    where = FOLDER / f"{notebook}.ipynb" if folder == ROOT else f"{notebook}.ipynb"
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}  # pictures belong in the notebook
    return subprocess.run([sys.executable, "-m", "papermill", str(where), str(output), "--no-progress-bar", *words], cwd=folder,
                          env=environment | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=600)


def pictures(executed: Path) -> int:
    return sum("image/png" in output.get("data", {}) for cell in code_cells(executed) for output in cell.outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
class TestForm:
    def test_is_valid_and_without_outputs(self, path):
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        for cell in code_cells(path):
            assert not cell.outputs and cell.execution_count is None, "commit notebooks without outputs"

    def test_has_one_parameters_cell_with_the_seven_names(self, path):
        tagged = [cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", [])]
        assert len(tagged) == 1
        lines = tagged[0].source.splitlines()
        assert [line.split(":")[0] for line in lines] == list(NAMES)
        assert all(":" in line and "#" in line for line in lines), "typed and commented"

    def test_papermill_knows_all_seven(self, path):
        """papermill overlooks annotations such as `str | None`; the batch runner then drops what it is given."""
        assert set(check_parameters(path, dict.fromkeys(NAMES, ""))) == set(NAMES)

    def test_checks_its_parameters_first(self, path):
        assert "check_parameters(In)" in code_cells(path)[1].source

    def test_is_short_and_holds_no_logic(self, path):
        cells = code_cells(path)
        assert len(cells) <= 12
        for cell in cells:
            assert len(cell.source.splitlines()) <= 15
            assert not any(line.lstrip().startswith(("class ", "def ")) for line in cell.source.splitlines())


@pytest.mark.slow
class TestExecution:
    def test_anatomy_from_the_root(self, tmp_path):
        done = papermill("00_anatomy_of_the_sampler", tmp_path / "out.ipynb", "preset=smoke", f"results_dir={tmp_path}")
        assert done.returncode == 0, done.stderr[-2000:]
        saved = list((tmp_path / "figures").glob("00_*.png"))
        assert len(saved) == pictures(tmp_path / "out.ipynb") == 10

    def test_anatomy_from_its_own_folder(self, tmp_path):
        done = papermill("00_anatomy_of_the_sampler", tmp_path / "out.ipynb", f"results_dir={tmp_path}", folder=FOLDER)
        assert done.returncode == 0, done.stderr[-2000:]

    def test_a_misspelt_parameter_is_refused_with_the_right_names(self, tmp_path):
        done = papermill("00_anatomy_of_the_sampler", tmp_path / "out.ipynb", "presett=smoke", f"results_dir={tmp_path}")
        assert done.returncode != 0
        assert "unknown parameter presett" in done.stderr and all(name in done.stderr for name in NAMES)
        assert not (tmp_path / "figures").exists()

    def test_gazecapture_with_some_rows(self, tmp_path):
        done = papermill("01_gazecapture", tmp_path / "out.ipynb", "preset=smoke", "rows=plain,sampler", f"results_dir={tmp_path}")
        assert done.returncode == 0, done.stderr[-2000:]
        assert {path.suffix for path in (tmp_path / "tables").iterdir()} == {".md", ".csv", ".tex"}
        assert len(list((tmp_path / "figures").glob("01_*.png"))) == pictures(tmp_path / "out.ipynb") == 11

    @pytest.mark.parametrize(("notebook", "figures"), [("02_inaturalist", 13), ("03_saliency_depth", 5), ("04_cub200", 9)])
    def test_recognition_on_the_twins(self, tmp_path, notebook, figures):
        done = papermill(notebook, tmp_path / "out.ipynb", "preset=smoke", f"results_dir={tmp_path}")
        assert done.returncode == 0, done.stderr[-2000:]
        assert {path.suffix for path in (tmp_path / "tables").iterdir()} == {".md", ".csv", ".tex"}
        assert len(list((tmp_path / "figures").glob("0*.png"))) == pictures(tmp_path / "out.ipynb") == figures

    def test_saliency_on_the_twin(self, tmp_path):
        done = papermill("05_salicon_emlnet", tmp_path / "out.ipynb", "preset=smoke", f"results_dir={tmp_path}")
        assert done.returncode == 0, done.stderr[-2000:]
        assert {path.suffix for path in (tmp_path / "tables").iterdir()} == {".md", ".csv", ".tex"}
        assert len(list((tmp_path / "figures").glob("05_*.png"))) == pictures(tmp_path / "out.ipynb") == 6

    def test_mrcnn_on_the_twin(self, tmp_path):
        done = papermill("06_mrcnn", tmp_path / "out.ipynb", "preset=smoke", f"results_dir={tmp_path}")
        assert done.returncode == 0, done.stderr[-2000:]
        assert {path.suffix for path in (tmp_path / "tables").iterdir()} == {".md", ".csv", ".tex"}
        assert len(list((tmp_path / "figures").glob("06_*.png"))) == pictures(tmp_path / "out.ipynb") == 9

    def test_region_proposal_on_the_twin(self, tmp_path):
        done = papermill("07_region_proposal", tmp_path / "out.ipynb", "preset=smoke", f"results_dir={tmp_path}")
        assert done.returncode == 0, done.stderr[-2000:]
        assert {path.suffix for path in (tmp_path / "tables").iterdir()} == {".md", ".csv", ".tex"}
        assert len(list((tmp_path / "figures").glob("07_*.png"))) == pictures(tmp_path / "out.ipynb") == 10

    def test_report_on_what_was_run(self, tmp_path):
        """It draws nothing; on two rows of one table it writes that table, the ledger, and pages that say what was not run."""
        done = papermill("01_gazecapture", tmp_path / "first.ipynb", "preset=smoke", "rows=plain,sampler", f"results_dir={tmp_path}")
        assert done.returncode == 0, done.stderr[-2000:]
        done = papermill("99_report", tmp_path / "out.ipynb", f"results_dir={tmp_path}")
        assert done.returncode == 0, done.stderr[-2000:]
        assert {path.stem for path in (tmp_path / "tables").iterdir()} == {"gazecapture-twin-smoke", "ledger"}
        assert "numbers mean nothing" in (tmp_path / "report.md").read_text() and (tmp_path / "report.html").stat().st_size > 1e5
