"""Puts a finished run into results/reference: `python -m lib.report.publish RESULTS`. For those who publish a release.

    records/<table>/<dataset>-<preset>/<row>-seed<k>.json, .npz     every record that holds, but for the host's name, with its values
    tables/                                                         as `python -m lib report` writes them, of these records
    notebooks/                                                      executed, their pictures as JPEG: tracked files must stay small
    figures/                                                        those of `FIGURES`, with 256 colours
    noise.json                                                      by how much trainings differ (lib/results/noise.py)
    weights/                                                        those of `WEIGHTS`, with SHA256SUMS

What was there before of these goes, but with `--add`: then a run that has more seeds, or other tables, joins it. Of a table that the run has,
older records stay where they are of this code (the versions of `lib.versions`) and of the same recipe and data as the run's. README's first picture
(`lib.report.front`) and weights of `lib.finetune` always stay. Smoke runs are left out. The pages that are made from the reference are written anew
last (`lib.report.readme`).
"""

import argparse
import base64
import hashlib
import io
import re
import shutil
from pathlib import Path

import nbformat
from PIL import Image

from lib import claims, report
from lib.report import readme
from lib.report.files import WEIGHTS
from lib.results import noise
from lib.results.records import ROOT, as_json, experiment, file_name
from lib.results.store import MEANINGLESS, Item, Rows, Stored, items_of, read_folder
from lib.runs.keys import digest
from lib.versions import VERSIONS

REFERENCE = ROOT / "results" / "reference"
FIGURES = (
    "00_overview", "00_steps", "00_trained", "01_curves", "01_differences", "01_eye_magnification", "01_figure2", "01_figure4_ipad",
    "01_intervals", "02_blur", "02_figure5", "02_intervals", "02_looks", "03_depth", "04_figure6_pictures", "04_intervals",
    "05_columns", "05_losses", "05_scores", "06_cases", "06_scores", "06_agreement", "07_accuracy", "07_choices_proposal", "08_grids",
    "08_intervals", "08_trade", "10_intervals", "10_steps",
)
WIDGET = "application/vnd.jupyter.widget-view+json"
MACHINE = re.compile(r"(?<![\w.])/[\w./-]*?/(results|data|notebooks)(?=[/\"'])")  # a path of the machine that it ran on, up to the repository's root
WIDEST = 960  # px of a picture in an executed notebook


def put_record(item: Item, folder: Path) -> None:
    record = item.record
    record.provenance = {name: value for name, value in record.provenance.items() if name != "host"}
    target = folder / record.table / f"{record.dataset}-{record.preset}" / f"{record.row}-seed{record.seed}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(as_json(record) + "\n")
    shutil.copy(item.path.with_suffix(".npz"), target.with_suffix(".npz"))


def put_weights(stored: Stored, folder: Path) -> None:
    """The weights of `WEIGHTS` that `stored` has; SHA256SUMS tells all that lie there then."""
    folder.mkdir(parents=True, exist_ok=True)
    trained = {(item.record.table, item.record.dataset, item.record.row): item for item in stored.items
               if item.record.seed == 0 and item.record.preset == "demo"}
    for name, where in WEIGHTS.items():
        if where in trained:
            item = trained[where]
            weights = file_name(item.record.row, 0, digest(item.record.depends["weights"]), "safetensors")  # they have a key of their own
            shutil.copy(item.path.with_name(weights), folder / f"{name}.safetensors")
    sums = (f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(folder.glob("*.safetensors")))
    (folder / "SHA256SUMS").write_text("".join(sums))


def put_figures(source: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in FIGURES:
        if (source / f"{name}.png").exists():
            with Image.open(source / f"{name}.png") as image:
                image.convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.FLOYDSTEINBERG).save(
                    folder / f"{name}.png", optimize=True)


def put_notebooks(source: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.glob("[0-9]*.ipynb")):
        if not path.stem.endswith(".failed"):
            (folder / path.name).write_text(nbformat.writes(lighter(nbformat.read(path, as_version=4))) + "\n")


def lighter(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with smaller pictures, and without progress bars and the paths of the machine that it ran on."""
    for name in ("papermill", "widgets"):
        notebook.metadata.pop(name, None)
    for cell in notebook.cells:
        cell.source = MACHINE.sub(r"\1", cell.source)
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                data["image/jpeg"] = as_jpeg(data.pop("image/png"))
            for part, name in ((output, "text"), *((data, kind) for kind in data if kind.startswith("text/"))):
                if name in part:
                    part[name] = MACHINE.sub(r"\1", part[name])
    return notebook


def as_jpeg(png: str) -> str:
    """Base64 of a PNG -> base64 of a JPEG of at most `WIDEST` px."""
    image = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    image.thumbnail((WIDEST, 10 * WIDEST), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    image.save(written, "JPEG", quality=72, optimize=True)
    return base64.b64encode(written.getvalue()).decode()


def outlived(item: Item, newer: Rows, published: Rows) -> bool:
    """Whether a published record is of older code, of no experiment that `newer`, a run of its group, is of, or stands on such a one.

    A row that two tables share may have been run for either: the values that they want of it make two experiments.
    """
    record = item.record
    weights, twins = record.depends["weights"], list(newer.get(record.row, {}).values())
    versions = weights["versions"] | record.depends["versions"]
    other = twins and all(experiment(twin.record) != experiment(record) for twin in twins)
    if other or any(VERSIONS.get(name) != number for name, number in versions.items()):
        return True
    for row, key in weights["needs"].items():
        needed = newer.get(row, {}).get(record.seed)
        if needed is None and ((needed := published.get(row, {}).get(record.seed)) is None or outlived(needed, newer, published)):
            return True
        if digest(needed.record.depends["weights"]) != key:
            return True
    return False


def clear(reference: Path) -> None:
    """Removes what a run makes."""
    for name in ("records", "tables", "notebooks"):
        shutil.rmtree(reference / name, ignore_errors=True)
    for old in [*(reference / "figures").glob("[0-9]*.png"), *(reference / "weights" / f"{name}.safetensors" for name in WEIGHTS)]:
        old.unlink(missing_ok=True)


def publish(results: Path, reference: Path = REFERENCE, *, add: bool = False) -> Stored:
    """Everything of `results` into `reference`; its README stays. Returns what was read, with the problems that left rows out.

    add: to what is there already, see the module's docstring. ValueError, one line, where there is nothing to publish.
    """
    stored = read_folder(results)
    items = [item for item in stored.items if item.record.preset != MEANINGLESS]
    if not items:
        raise ValueError(f"{results}: holds no finished rows; `python -m lib run` makes some")
    if add and reference.is_dir():
        there = read_folder(reference)
        gone = [item for group, rows in there.groups.items() if group in stored.groups for item in items_of(rows)
                if outlived(item, stored.groups[group], rows)]
        for item in gone:
            item.path.unlink()
            item.path.with_suffix(".npz").unlink()
    else:
        clear(reference)
    for item in items:
        put_record(item, reference / "records")
    put_weights(stored, reference / "weights")
    put_figures(results / "figures", reference / "figures")
    put_notebooks(results / "notebooks", reference / "notebooks")
    derive(reference)
    return stored


def derive(reference: Path = REFERENCE) -> None:
    """What follows from the reference's records: the noise of training first, then the tables, whose intervals need it."""
    noise.write(claims.reference_noise(claims.ledger(), read_folder(reference).groups), reference / noise.FILE.name)
    shutil.rmtree(reference / "tables", ignore_errors=True)
    report.write_tables(report.collect(reference), reference / "tables")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m lib.report.publish", description="Put a finished run into results/reference.")
    parser.add_argument("results", type=Path, metavar="RESULTS", help="folder of a finished run")
    parser.add_argument("--add", action="store_true", help="to what is there already, in the place of what is older")
    chosen = parser.parse_args()
    for problem in publish(chosen.results, add=chosen.add).problems:
        print(f"left out: {problem}")
    readme.main()
