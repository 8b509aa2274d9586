"""Notebooks: their form, and that they run, from the root and from notebooks/, with misspelt parameters refused."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from lib import batch, tables
from lib.batch import check_parameters
from lib.runs.parameters import PARAMETERS

NAMES = tuple(PARAMETERS)
ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("[0-9]*.ipynb"))
FIGURES = {"00_anatomy_of_the_sampler": 10, "01_gazecapture": 11, "02_inaturalist": 13, "03_saliency_depth": 5, "04_cub200": 9,
           "05_salicon_emlnet": 6, "06_mrcnn": 9, "07_region_proposal": 10, "08_successors": 6, "09_your_pictures": 4, "10_unzoomed": 5,
           "99_report": 0}


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


def whole_batch(results: Path, *notebooks: str) -> str:
    """`make reproduce` in miniature: every notebook, in order, as one batch, its rows on workers; what it printed."""
    words = [sys.executable, "-m", "lib", "run", *notebooks, "--preset", "smoke", "--device", "cpu", "--results", str(results)]
    done = subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


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
            assert all(len(line) <= 112 for line in cell.source.splitlines()), "wider than JupyterLab shows in a window of 1400 pixels"
            assert not any(line.lstrip().startswith(("class ", "def ")) for line in cell.source.splitlines())


    def test_prose_is_in_lines_and_short_paragraphs(self, path):
        """At most 110 characters a line, five lines a paragraph or item; a row of a table and a formula are one line, whatever their length."""
        for cell in nbformat.read(path, as_version=4).cells:
            for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", cell.source) if cell.cell_type == "markdown" else ():
                lines = [line for line in block.splitlines() if not line.lstrip().startswith(("|", "$$"))]
                assert len(lines) <= 5, block
                assert all(len(line) <= 110 or len(re.sub(r"[`$]", "", line).split()) < 4 for line in lines), block

    def test_a_reader_sees_how_a_network_is_built_and_called(self, path):
        """Early, before anything is trained; the report has no network."""
        sources = [cell.source for cell in code_cells(path)]
        if path.stem in ("00_anatomy_of_the_sampler", "99_report"):
            return
        shows = next(i for i, source in enumerate(sources) if "run.build(" in source)
        assert shows < next(i for i, source in enumerate(sources) if "run.run()" in source)
        assert ".shape" in sources[shows] and "network(" in sources[shows]


@pytest.fixture(scope="module")
def two_rows(tmp_path_factory, lend) -> tuple[Path, subprocess.CompletedProcess]:
    """Two rows of Table 3, and its notebook executed on them from notebooks/."""
    folder = tmp_path_factory.mktemp("two_rows")
    lend(folder, "saliency_depth", ("plain", "sampler"))
    parameters = ("preset=smoke", "rows=plain,sampler", f"results_dir={folder}")
    return folder, papermill("03_saliency_depth", folder / "first.ipynb", *parameters, folder=FOLDER)


@pytest.mark.slow
class TestExecution:
    def test_a_table_from_the_notebooks_own_folder(self, two_rows):
        """With some of its rows, which it only reads."""
        folder, done = two_rows
        assert done.returncode == 0, done.stderr[-2000:]
        assert len(list((folder / "figures").glob("03_*.png"))) == pictures(folder / "first.ipynb") == FIGURES["03_saliency_depth"]
        assert sum(line.endswith("read from its record") for line in said(folder / "first.ipynb")) == 2

    def test_a_misspelt_parameter_is_refused_with_the_right_names(self, tmp_path):
        done = papermill("00_anatomy_of_the_sampler", tmp_path / "out.ipynb", "presett=smoke", f"results_dir={tmp_path}")
        assert done.returncode != 0
        assert "unknown parameter presett" in done.stderr and all(name in done.stderr for name in NAMES)
        assert not (tmp_path / "figures").exists()

    def test_the_report_on_some_rows(self, two_rows, tmp_path):
        """The report draws nothing; it writes the ledger, pages that say what was not run, and the table that two rows tell.

        This is Table 2, which they are of; Table 3 beside it is the notebook's."""
        folder, _ = two_rows
        done = papermill("99_report", tmp_path / "out.ipynb", f"results_dir={folder}")
        assert done.returncode == 0, done.stderr[-2000:]
        assert {path.stem for path in (folder / "tables").iterdir()} == {"saliency_depth-twin-smoke", "inaturalist-twin-smoke", "ledger"}
        assert "numbers mean nothing" in (folder / "report.md").read_text() and (folder / "report.html").stat().st_size > 1e5


class TestLastScreen:
    """What a batch prints when it is through."""

    @staticmethod
    def ledger(folder: Path, groups: int) -> Path:
        """A ledger of claims that hold, two untested ones, and one of the last group that fails."""
        lines = [f"holds,table_{i},twin,True,demo" for i in range(groups)] + ["not run,other,,,", "not comparable,other,,,"]
        lines.append(f"fails,table_{groups - 1},twin,True,demo")
        path = folder / "ledger.csv"
        path.write_text("\n".join(["verdict,table,dataset,is_twin,preset", *lines]))
        return path

    @pytest.mark.parametrize("groups", [1, 9, 10, 40])
    def test_the_ledger_is_ten_lines_that_fit_a_terminal_and_add_up(self, tmp_path, groups):
        lines = batch._verdicts(self.ledger(tmp_path, groups))
        assert len(lines) <= 11 and lines[-1] == "" and max(map(len, lines)) <= 100 and "2 more" in lines[0]
        counts = [[int(word) for word in line.split()[-3:]] for line in lines[1:-1]]
        assert [sum(column) for column in zip(*counts, strict=True)] == [groups, 0, 1]
        assert any(f"table_{groups - 1}," in line and line.split()[-1] == "1" for line in lines), "what fails is not in the sum of the rest"

    def test_without_a_claim_that_was_tested_it_says_how_many_were_not(self, tmp_path):
        path = tmp_path / "ledger.csv"
        path.write_text("verdict,table,dataset,is_twin,preset\nnot run,a,,,\n")
        assert batch._verdicts(path)[0].startswith("Claims (1 ")

    @pytest.mark.parametrize(("names", "preset"), [(["00", "01"], "demo"), (["03"], "smoke")])
    def test_a_batch_says_first_what_it_will_do_and_where_to_look(self, names, preset):
        said = batch._plan([(path, {"preset": preset}) for path in batch.find(names)], 5, 12, ROOT / "results")
        assert "12 rows, 5 of them" in said.splitlines()[0] and max(map(len, said.splitlines())) <= 120
        assert ("mean nothing" in said) == (preset == "smoke") and ("00_overview.png" in said) == ("00" in names) and "status" in said


@pytest.fixture(scope="module")
def results(once, results_dir) -> Path:
    """The results of one batch of all notebooks, whose rows stay for whoever needs them."""
    once("batch", lambda path: whole_batch(results_dir))
    return results_dir


def said(executed: Path) -> list[str]:
    """The lines that an executed notebook printed."""
    outputs = [output for cell in code_cells(executed) for output in cell.outputs if output.output_type == "stream"]
    return "".join(output.text for output in outputs if output.name == "stdout").splitlines()


@pytest.mark.slow
class TestBatch:
    @pytest.mark.parametrize(("notebook", "figures"), FIGURES.items())
    def test_every_notebook_leaves_its_figures(self, results, notebook, figures):
        executed = results / "notebooks" / f"{notebook}.ipynb"
        assert all(cell.execution_count for cell in code_cells(executed))
        assert len(list((results / "figures").glob(f"{notebook[:2]}_*.png"))) == pictures(executed) == figures

    @pytest.mark.parametrize(("number", "name"), tables.NOTEBOOKS.items())
    def test_every_notebook_reads_every_row_and_computes_none(self, results, number, name):
        """Workers had computed them: the kernels only read, draw and write the table."""
        (executed,) = (results / "notebooks").glob(f"{number}_*.ipynb")
        rows = [line for line in said(executed) if line.startswith(f"{name} ") and ", seed 0: " in line]
        assert len(rows) == len(tables.get(name).rows_of("smoke", "twin"))
        assert all(line.endswith("read from its record") for line in rows)

    @pytest.mark.parametrize("number", ["01", "02", "04", "09", "10"])
    def test_what_a_network_is_given_and_what_it_saw_are_told_apart(self, results, number):
        """Both have an image: the whole one, and the zoomed one of fewer pixels."""
        (executed,) = (results / "notebooks").glob(f"{number}_*.ipynb")
        shapes = [line.rstrip(")").split(", ") for line in said(executed) if line.split("(")[0].strip() in ("image", "maps.image")]
        sides = {first.split()[0]: int(last) for first, *_, last in shapes}
        assert sides["image"] > sides["maps.image"] > 0

    def test_every_table_in_three_forms(self, results):
        names = {path.name for path in (results / "tables").iterdir()}
        assert names == {f"{name}.{form}" for name in (*(f"{table}-twin-smoke" for table in tables.NAMES), "ledger") for form in ("md", "csv", "tex")}

    @pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")
    def test_git_ignores_all_that_it_leaves(self, results):
        left = [f"results/{path.name}{'/x' * path.is_dir()}" for path in results.iterdir() if not path.name.startswith(".")]
        ignored = subprocess.run(["git", "check-ignore", *left], cwd=ROOT, capture_output=True, text=True)
        assert left and sorted(ignored.stdout.split()) == sorted(left)

    def test_a_second_batch_computes_nothing_and_writes_everything_again(self, results):
        """Of two notebooks and the report: no record, value or weight of any table is written again, but what they show is.

        In a copy, with the pictures of these notebooks alone: packing those of all into the report takes longer than everything else here."""
        again = results.with_name("again")  # a short path, as the last screen shows it
        for name in ("runs", "notebooks", "tables"):
            shutil.copytree(results / name, again / name)
        (again / "cache").symlink_to(results / "cache", target_is_directory=True)
        kept = stamps(again / "runs", ".json", ".npz", ".safetensors")
        assert {json.loads(path.read_text())["table"] for path in kept if path.suffix == ".json"} == {
            tables.get(name).records or name for name in tables.NAMES}
        shown = [again / "notebooks" / f"{name}.ipynb" for name in ("03_saliency_depth", "99_report")]
        shown += [again / "tables" / f"saliency_depth-twin-smoke.{form}" for form in ("md", "csv", "tex")]
        shown += [again / "figures" / path.name for path in (results / "figures").glob("03_*.png")] + [again / "report.html"]
        for path in shown[-FIGURES["03_saliency_depth"] - 1:]:
            path.parent.mkdir(exist_ok=True)
            shutil.copy2(results / path.relative_to(again), path)
        written = {path: path.stat().st_mtime_ns for path in shown}
        printed = whole_batch(again, "03", "99")
        assert ", 0 of them to compute" in printed.splitlines()[0]
        last = printed[printed.index("[2/2] 99_report: done"):].splitlines()
        assert max(map(len, last)) <= 100 and any(line.split()[0] == "Report" and line.endswith("report.html") for line in last if line)
        assert stamps(again / "runs", ".json", ".npz", ".safetensors") == kept
        assert all(path.stat().st_mtime_ns > written[path] for path in shown)

    def test_a_batch_that_is_finished_needs_no_workers(self, results):
        """What decides it: every row of every table is done, without a look at the data."""
        from lib.batch import missing_rows
        from lib.runs.engine import Run, settings

        runs = [Run(table, settings(table, preset="smoke", device="cpu", results_dir=results)) for table in map(tables.get, tables.NAMES)]
        assert missing_rows(runs)[0] == 0
