"""Notebooks: their form, and that they run, from the root and from notebooks/, with misspelt parameters refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from lib import tables
from lib.batch import NAMES, check_parameters

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("[0-9]*.ipynb"))
FIGURES = {"00_anatomy_of_the_sampler": 10, "01_gazecapture": 11, "02_inaturalist": 13, "03_saliency_depth": 5, "04_cub200": 9,
           "05_salicon_emlnet": 6, "06_mrcnn": 9, "07_region_proposal": 10, "99_report": 0}


def code_cells(path: Path) -> list:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def papermill(notebook: str, output: Path, *parameters: str, folder: Path = ROOT) -> subprocess.CompletedProcess:
    """One notebook executed as a reader would, `parameters` as name=value."""
    words = [word for given in parameters for word in ("-p", *given.split("=", 1))]
    where = FOLDER / f"{notebook}.ipynb" if folder == ROOT else f"{notebook}.ipynb"
    return subprocess.run([sys.executable, "-m", "papermill", str(where), str(output), "--no-progress-bar", *words], cwd=folder,
                          env=environment(), capture_output=True, text=True, timeout=600)


def environment() -> dict[str, str]:
    """As outside the tests: pictures belong in the notebook."""
    return {name: value for name, value in os.environ.items() if name != "MPLBACKEND"} | {"OMP_NUM_THREADS": "1"}


def whole_batch(results: Path) -> None:
    """`make reproduce` in miniature: every notebook, in order, as one batch with its helpers."""
    words = [sys.executable, "-m", "lib", "run", "--preset", "smoke", "--device", "cpu", "--results", str(results)]
    done = subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def stamps(folder: Path, *suffixes: str) -> dict[Path, int]:
    """When each file below `folder` was last written."""
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*")) if path.suffix in suffixes}


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
    def test_anatomy_from_its_own_folder(self, tmp_path):
        done = papermill("00_anatomy_of_the_sampler", tmp_path / "out.ipynb", f"results_dir={tmp_path}", folder=FOLDER)
        assert done.returncode == 0, done.stderr[-2000:]

    def test_a_misspelt_parameter_is_refused_with_the_right_names(self, tmp_path):
        done = papermill("00_anatomy_of_the_sampler", tmp_path / "out.ipynb", "presett=smoke", f"results_dir={tmp_path}")
        assert done.returncode != 0
        assert "unknown parameter presett" in done.stderr and all(name in done.stderr for name in NAMES)
        assert not (tmp_path / "figures").exists()

    def test_some_rows_and_the_report_on_them(self, tmp_path):
        """The report draws nothing; on two rows of one table it writes that table, the ledger, and pages that say what was not run."""
        done = papermill("01_gazecapture", tmp_path / "first.ipynb", "preset=smoke", "rows=plain,sampler", f"results_dir={tmp_path}")
        assert done.returncode == 0, done.stderr[-2000:]
        assert len(list((tmp_path / "figures").glob("01_*.png"))) == pictures(tmp_path / "first.ipynb") == FIGURES["01_gazecapture"]
        done = papermill("99_report", tmp_path / "out.ipynb", f"results_dir={tmp_path}")
        assert done.returncode == 0, done.stderr[-2000:]
        assert {path.stem for path in (tmp_path / "tables").iterdir()} == {"gazecapture-twin-smoke", "ledger"}
        assert "numbers mean nothing" in (tmp_path / "report.md").read_text() and (tmp_path / "report.html").stat().st_size > 1e5


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("batch")
    whole_batch(folder)
    return folder


@pytest.mark.slow
class TestBatch:
    @pytest.mark.parametrize(("notebook", "figures"), FIGURES.items())
    def test_every_notebook_leaves_its_figures(self, results, notebook, figures):
        executed = results / "notebooks" / f"{notebook}.ipynb"
        assert all(cell.execution_count for cell in code_cells(executed))
        assert len(list((results / "figures").glob(f"{notebook[:2]}_*.png"))) == pictures(executed) == figures

    def test_every_table_in_three_forms(self, results):
        names = {path.name for path in (results / "tables").iterdir()}
        assert names == {f"{name}.{form}" for name in (*(f"{table}-twin-smoke" for table in tables.NAMES), "ledger") for form in ("md", "csv", "tex")}

    def test_a_second_batch_reads_every_row_and_computes_none(self, results):
        """Of every notebook: no record, value or weight is written again, but each notebook and table is."""
        kept = stamps(results / "runs", ".json", ".npz", ".safetensors")
        written = stamps(results, ".ipynb", ".md")
        assert {json.loads(path.read_text())["table"] for path in kept if path.suffix == ".json"} == {
            tables.get(name).records or name for name in tables.NAMES}
        whole_batch(results)
        assert stamps(results / "runs", ".json", ".npz", ".safetensors") == kept
        again = stamps(results, ".ipynb", ".md")
        assert again.keys() == written.keys() and all(again[path] > written[path] for path in written)
