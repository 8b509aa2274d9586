"""Protects: the examples of lib/README.md apply to this very code and run, so that they cannot rot silently.

Each section's diff is applied with `git apply` to a copy of lib/, and the section's commands run there as a reader would run them.
"""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from copies import copied

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "lib" / "README.md").read_text()
SECTIONS = {title: text for title, _, text in (part.partition("\n") for part in PAGE.split("\n## ")[1:])}
DIFFS = {title: re.findall(r"```diff\n(.*?)```", text, flags=re.DOTALL) for title, text in SECTIONS.items()}
COMMANDS = {title: re.findall(r"^    (\S.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), flags=re.MULTILINE)
            for title, text in SECTIONS.items()}
TITLES = ("A row's learning rate", "A metric", "A claim", "A sampler", "A table", "Your own pictures", "Your own eye tracking")

MAGNIFIES = """
import torch
from lib.models.fovea import Fovea
from lib.models.sampler import folds, magnification
grid = Fovea(64)(torch.rand(2, 3, 160, 200)).grid
print(folds(grid).max().item(), *magnification(grid)[0, 32, [0, 32]].tolist())
"""


def test_every_section_has_one_short_diff_and_a_command():
    assert tuple(SECTIONS)[-len(TITLES):] == TITLES
    for title in TITLES:
        assert len(DIFFS[title]) == 1 and len(COMMANDS[title]) >= 1, title
        assert len(DIFFS[title][0].splitlines()) < 60, title
        assert all(command.startswith((".venv/bin/python -m lib ", ".venv/bin/python tests/")) for command in COMMANDS[title]), COMMANDS[title]


@pytest.fixture(scope="module")
def computed(tmp_path_factory, smoke) -> Path:
    """Two rows of Table 4, as they are before anything is changed."""
    folder = tmp_path_factory.mktemp("before") / "results"
    smoke("cub200", folder, ("plain", "cam"))
    return folder


@pytest.fixture
def copy(tmp_path) -> Path:
    """lib/ and tests/ in a folder of their own; the twins are those of the checkout."""
    copied(tmp_path)
    (ROOT / "data" / "twins").mkdir(parents=True, exist_ok=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "twins").symlink_to(ROOT / "data" / "twins")
    return tmp_path


@pytest.fixture
def run(pythons):
    """run(folder, *words): what `python WORDS` prints there; it must end well, and see no other lib than the copy's."""
    def python(folder: Path, *words: str) -> str:
        done = pythons.run(folder, *words)
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stderr[-2000:]}"
        return done.stdout

    return python


def apply(folder: Path, title: str) -> None:
    if shutil.which("git") is None:
        pytest.skip("needs git")
    (folder / "add.diff").write_text(DIFFS[title][0])
    assert "    git apply add.diff\n" in PAGE
    environment = os.environ | {"GIT_CEILING_DIRECTORIES": str(folder.parent)}
    subprocess.run(["git", "apply", "add.diff"], cwd=folder, env=environment, check=True, capture_output=True, timeout=60)


@pytest.fixture
def follow(run):
    """follow(folder, title, **places): apply the section's diff and run its commands, placeholders replaced; what they print."""
    def followed(folder: Path, title: str, **places: Path) -> str:
        apply(folder, title)
        commands = [[str(places.get(word, word)) for word in shlex.split(command)[1:]] for command in COMMANDS[title]]
        return "".join(run(folder, *words) for words in commands)

    return followed


def own_eye_tracking(folder: Path) -> Path:
    """Photographs and a CSV as the data set's diff describes them: scenes of the twin of SALICON."""
    from lib.data.salicon import SALICON
    from lib.data.synthetic import salicon

    data = SALICON(salicon.write(ROOT / "data" / "twins" / "salicon-smoke", **salicon.SIZES["smoke"]), "train")
    (folder / "images").mkdir(parents=True)
    lines = ["image,x,y"]
    for i in range(12):
        shutil.copy(data.path(i), folder / "images")
        lines += [f"{data.path(i).name},{x},{y}" for x, y in data.fixations(i)]
    (folder / "fixations.csv").write_text("\n".join(lines) + "\n")
    return folder


def own_pictures(folder: Path) -> Path:
    """Three folders of pictures, of the twin of CUB-200."""
    from lib import tables
    from lib.data.cub200 import CUB200
    from lib.training.progress import Progress

    table = tables.get("cub200")
    data = CUB200(table.twin.write(table.presets["smoke"], "main", Progress(quiet=True)), "train")
    for path, label in zip(data.path, data.label, strict=True):
        place = folder / f"class {label % 3}"
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    return folder


def digests(folder: Path, suffix: str) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "results" / "runs").rglob(f"*{suffix}")}


@pytest.mark.slow
def test_another_rate_trains_the_row_and_what_is_made_of_it(copy, computed, follow):
    shutil.copytree(computed, copy / "results")
    before = digests(copy, ".safetensors")
    printed = follow(copy, "A row's learning rate")
    stale = [line.split()[0] for line in printed.splitlines() if " stale " in line and "seed 0" in line]
    assert stale == ["plain", "cam"] and "recipe.lr nothing -> 0.001" in printed
    after = digests(copy, ".safetensors")
    assert before.items() < after.items() and len(after) == 2 * len(before)  # the old ones are left


@pytest.mark.slow
def test_the_metric_is_in_the_table_and_nothing_was_trained(copy, computed, follow):
    shutil.copytree(computed, copy / "results")
    before = digests(copy, ".safetensors")
    printed = follow(copy, "A metric")
    assert "margin ours" in printed and "classification values: new numbers, version 2" in printed
    assert digests(copy, ".safetensors") == before and len(digests(copy, ".json")) == 4


@pytest.mark.slow
def test_the_claim_is_decided_from_the_values_that_lie_there(copy, computed, follow):
    shutil.copytree(computed, copy / "results")
    before = digests(copy, ".safetensors") | digests(copy, ".json")
    follow(copy, "A claim")
    sentence = "High resolution alone, as the CAM's crop, helps on birds too."
    (line,) = [line for line in (copy / "results" / "tables" / "ledger.md").read_text().splitlines() if sentence in line and line.startswith("| ")]
    assert line.split(" | ")[0].removeprefix("| ") in ("holds", "undecided", "fails") and "top-1 of cam minus plain" in line
    assert digests(copy, ".safetensors") | digests(copy, ".json") == before


@pytest.mark.slow
def test_the_table_is_filled(copy, follow):
    printed = follow(copy, "A table")
    assert all(f"\n| {label} |" in printed for label in ("Sampler, sigma 5.5 cells (release)", "Sampler, sigma 10.3 cells (paper)"))
    records = {path.name.partition("-seed")[0] for path in (copy / "results/runs/inaturalist/twin-smoke").glob("*.json")}
    assert records == {"plain", "sampler", "sigma_third"}  # where Table 2 finds two of them


@pytest.mark.slow
def test_the_sampler_zooms_to_the_middle_as_the_page_says(copy, follow, run):
    printed = follow(copy, "A sampler")
    assert "\n| Fovea in the middle |" in printed and "fovea: new numbers, version 1" in printed
    folded, edge, middle = map(float, run(copy, "-c", MAGNIFIES).split())
    assert folded == 0 and edge < middle
    assert f"enlarges the middle of a picture {middle:.1f} times" in SECTIONS["A sampler"]


@pytest.mark.slow
def test_the_data_set_is_read_and_trained_on(copy, tmp_path, follow, run):
    place = own_eye_tracking(tmp_path / "own")
    printed = follow(copy, "Your own eye tracking", DIR=place)
    assert "Data: folder, 2 test images; preset smoke" in printed and "\n| EML-NET: A and B, decoder |" in printed
    speaks = "import sys; from pathlib import Path; from lib.data.folder import Folder; from lib.data.saliency import SaliencyData; " \
             "print(isinstance(Folder(Path(sys.argv[1])), SaliencyData))"
    assert run(copy, "-c", speaks, str(place)) == "True\n"


@pytest.mark.slow
def test_own_pictures_are_trained_on(copy, tmp_path, follow):
    printed = follow(copy, "Your own pictures", DIR=own_pictures(tmp_path / "own"))
    assert "Data: pictures, " in printed and all(f"\n| {label} |" in printed for label in ("Plain network at the sampler's cost", "Saliency sampler"))
