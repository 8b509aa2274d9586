"""The Python and shell blocks of the README and of the pages it leads to run as they stand there, and so does the usage block of the released code.

Shell lines run with the smoke preset, in a folder of their own, with something real in the place of each placeholder (`Workshop`).
Not run, but looked up: make targets; what downloads (`fetch`, git, pip); accelerate, which need not be installed.
"""

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import torch
from documents import Command, blocks, check, check_mentioned, commands, head, mentioned, unknown_placeholders
from PIL import Image

from lib import tables
from lib.__main__ import main
from lib.training.progress import Progress

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "data/README.md", "lib/models/README.md", "notebooks/README.md")
BLOCKS = [block for page in PAGES for block in blocks(page) if block.language == "python"]
COMMANDS = [command for page in PAGES for command in commands(page)]
LOOKED_UP = ("make", "git", "cd", "pip", "conda", "source")  # heads of lines that are not run
QUICK = ("predict", "zoom", "compare", "score", "verify", "status", "check", "report")  # run in this process: starting another takes longer
SUBSTITUTES = {  # placeholder -> how Workshop makes something for it, given the command
    "PHOTO.jpg": lambda shop, command: shop.photo, "PHOTO": lambda shop, command: shop.photo,
    "FOLDER": lambda shop, command: shop.classes,
    "WEIGHTS": lambda shop, command: shop.weights(model_of(command)), "MAPS_DIR": lambda shop, command: shop.maps(data_set_of(command)),
    "DIR": lambda shop, command: shop.data_set(data_set_of(command)), "SALICON_DIR": lambda shop, command: shop.data_set("salicon"),
    "MIT1003_DIR": lambda shop, command: shop.data_set("mit1003"), "OSIE_DIR": lambda shop, command: shop.data_set("osie"),
}
DATA_SETS = ("gazecapture", "inaturalist", "cub200", "salicon", "osie", "mit1003", "coursework", "imagenette")
TRAINED = {"emlnet": ("salicon", "encoder_a"), "mrcnn": ("mrcnn", "three")}  # model of `predict` -> a table's row
UNKNOWN = "no substitute for {}; add one to SUBSTITUTES in tests/test_readme.py, or write it another way"


def data_set_of(command: Command) -> str:
    """The data set that a command names."""
    named = [word for word in command.words if word in DATA_SETS]
    assert named, f"{command}: names none of the data sets {', '.join(DATA_SETS)}, so nobody knows which DIR is meant"
    return named[-1]


def model_of(command: Command) -> str:
    named = [word for word in command.words if word in TRAINED]
    assert named, f"{command}: names none of the models {', '.join(TRAINED)}, so nobody knows which WEIGHTS are meant"
    return named[0]


# ---------------------------------------------------------------------------------------------------------------------- what runs


class Workshop:
    """What stands for the placeholders, made when first asked for, and where commands run."""

    def __init__(self, folder: Path, *, once, smoke, results_dir: Path):
        self.folder, self.results, self.once, self.smoke, self.results_dir = folder, folder / "results", once, smoke, results_dir
        self.launches: dict[Command, tuple[Path, str]] = {}
        (folder / "notebooks").symlink_to(ROOT / "notebooks")

    @cached_property
    def photo(self) -> Path:
        y, x = np.mgrid[:120, :160]
        Image.fromarray(np.stack([x + y, 200 - y, 90 + 0 * x], axis=-1).astype(np.uint8)).save(self.folder / "PHOTO.jpg")
        return self.folder / "PHOTO.jpg"

    @cached_property
    def classes(self) -> Path:
        """Folders of pictures of two colours, enough for a split."""
        for label, colour in (("cat", 90), ("dog", 200)):
            (self.folder / "classes" / label).mkdir(parents=True)
            for i in range(12):
                Image.fromarray(np.full((40, 50 + i, 3), colour, dtype=np.uint8)).save(self.folder / "classes" / label / f"{i}.jpg")
        return self.folder / "classes"

    def data_set(self, name: str) -> Path:
        """A small one in the layout of `name`: its twin, or one written from another's twin."""
        if name == "osie":
            return self.once("osie", lambda path: write_osie(path, self.data_set("salicon")))
        if name == "coursework":
            return self.once("coursework", lambda path: write_coursework(path, self.data_set("mit1003")))
        table = next(table for table in map(tables.get, tables.NAMES) if table.twin.name == name)
        return table.twin.write(table.presets["smoke"], "main", Progress(quiet=True))

    def weights(self, model: str) -> Path:
        """Weights of a smoke run."""
        table, row = TRAINED[model]
        run = self.smoke(table, self.results_dir, [row])
        return run.weights_path(run.table.row(row), 0)

    def maps(self, name: str) -> Path:
        """Predicted maps of the data set's photographs."""
        from lib.score import selection

        def predict(path: Path) -> None:
            chosen = selection(name, self.data_set(name), None)
            photos = [str(chosen.data.path(chosen.at(i))) for i in range(len(chosen))]
            assert main(["predict", "emlnet", *photos, "--encoder", str(self.weights("emlnet")), "--out", str(path), "--device", "cpu"]) == 0

        return self.once(f"maps-{name}", predict)

    def fill_in(self, command: Command) -> list[str]:
        """The command's words with something real in the place of every placeholder."""
        assert not (unknown := unknown_placeholders(command, set(SUBSTITUTES))), f"{command}: {UNKNOWN.format(', '.join(unknown))}"
        return [str(SUBSTITUTES[word](self, command)) if word in SUBSTITUTES else word for word in command.words]

    def launch(self, command: Command, words: list[str]) -> tuple[Path, str]:
        """A torchrun command, run once whoever looks at it: the results that it left, and what it printed."""
        if command not in self.launches:
            results = self.folder / f"launched-{len(self.launches)}"
            self.launches[command] = results, self.run(command, launched(command, words, results))
        return self.launches[command]

    def run(self, command: Command, words: list[str]) -> str:
        """Run `words` in the workshop's folder; they must end with exit status 0. What another process printed."""
        if words[1:3] == ["-m", "lib"] and words[3] in QUICK:
            with contextlib.chdir(self.folder):
                assert main(words[3:]) == 0, f"{command}: run as {shlex.join(words)}, see what it printed"
            return ""
        environment = os.environ | dict(variable.split("=", 1) for variable in command.variables)
        environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(words, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{command}: run as {shlex.join(words)}, exit status {done.returncode}\n{(done.stdout + done.stderr)[-2000:]}"
        return done.stdout


def write_osie(path: Path, salicon: Path) -> None:
    """Scenes of SALICON's twin at OSIE's size, under OSIE's names; too few for `verify`, enough for a split."""
    from scipy.io import savemat

    from lib.data.salicon import SALICON

    def cell(items: list) -> np.ndarray:
        cells = np.empty((len(items), 1), dtype=object)
        cells[:, 0] = items
        return cells

    data, entries = SALICON(salicon, "train"), []
    (path / "data" / "stimuli").mkdir(parents=True)
    (path / "data" / "eye").mkdir()
    for i in range(14):
        x, y = data.fixations(i).T * 800 // 640 + 1.0
        with Image.open(data.path(i)) as scene:
            scene.resize((800, 600)).save(path / "data" / "stimuli" / f"{1001 + i}.jpg")
        entries.append({"img": f"{1001 + i}.jpg", "subjects": cell([{"fix_x": x[None], "fix_y": y[None], "fix_duration": 0 * x[None] + 200}])})
    savemat(path / "data" / "eye" / "fixations.mat", {"fixations": cell(entries)})


def write_coursework(path: Path, mit1003: Path) -> None:
    from lib.data.coursework_miniature import write_miniature
    from lib.data.mit1003 import MIT1003

    write_miniature(path, MIT1003(mit1003), images=7, held=2)


# ------------------------------------------------------------------------------------------------------------------- how it runs


def with_option(words: list[str], name: str, value: str) -> list[str]:
    """`words` with the option set, in the place of what it was set to."""
    if name in words:
        at = words.index(name)
        return [*words[: at + 1], value, *words[at + 2 :]]
    return [*words, name, value]


def in_smoke(words: list[str], results: Path) -> list[str]:
    """The words after `-m lib` so that they take seconds, on the CPU, and leave the reader's own results alone."""
    name = words[0]
    if name in ("run", "table", "status", "report", "compare"):
        words = with_option(words, "--results", str(results))
    if name == "check":
        words = with_option(words, "--results", str(ROOT / "results" / "reference"))  # which agrees with itself
    if name in ("run", "table", "compare"):
        words = with_option(with_option(words, "--device", "cpu"), "--seeds", "1")
    if name in ("run", "table", "status", "compare"):
        words = with_option(words, "--preset", "smoke")
    if name == "run" and words[1].startswith("--"):
        words = [name, "00", *words[1:]]  # one notebook stands for all
    return words


def launched(command: Command, words: list[str], results: Path) -> list[str]:
    """torchrun with two processes on one machine, for the table's reference and the rows named, or the first that trains."""
    options, given = words[1 : words.index("-m")], in_smoke(words[words.index("-m") + 2 :], results)
    known = re.fullmatch(r"(--standalone )?--nproc[_-]per[_-]node[ =]\S+( --standalone)?", " ".join(options))
    assert known, f"{command}: {' '.join(options)!r} is not --nproc_per_node N, with --standalone or without; teach tests/test_readme.py"
    table = tables.get(given[1])
    rows = given[given.index("--rows") + 1] if "--rows" in given else next(row.name for row in table.rows if row.trained and not row.needs)
    given = with_option(given, "--rows", f"{table.reference},{rows}")
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "lib", *given]


def as_run(command: Command, words: list[str], results: Path) -> list[str] | None:
    """What is executed for a command whose placeholders are filled in; None for what is only looked up."""
    name = head(words)
    if name in LOOKED_UP or name == "accelerate" or (command.lib or [""])[0] == "fetch":
        return None
    if name == "papermill":
        options = words[3:]
        for parameter, value in (("preset", "smoke"), ("results_dir", str(results))):
            at = options[1::3].index(parameter) * 3 if parameter in options[1::3] else len(options)
            options = [*options[:at], "-p", parameter, value, *options[at + 3 :]]
        return [sys.executable, "-m", "papermill", words[1], str(results / words[2]), "--no-progress-bar", *options]
    if command.lib is not None:
        return [sys.executable, "-m", "lib", *in_smoke(words[words.index("-m") + 2 :], results)]
    if name.startswith("python"):
        return [sys.executable, *words[1:]]
    raise AssertionError(f"{command}: nobody knows how to run {name!r}; teach tests/test_readme.py")


@pytest.fixture(scope="module")
def shop(tmp_path_factory, once, smoke, results_dir) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("readme"), once=once, smoke=smoke, results_dir=results_dir)


def test_there_are_blocks_and_commands():
    assert len(BLOCKS) >= 4 and len(COMMANDS) >= 20
    assert [block.page for block in BLOCKS].count("README.md") == 1 and len(BLOCKS[0].lines) <= 9  # the layer in eight lines, one of them empty
    heads = {head(list(command.words)) for command in COMMANDS}
    assert {"git", "make", "python"} <= heads


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_python_or_shell_or_says_what_it_is(page):
    """A block without a language in which no line begins with a known command would go untested."""
    for block in blocks(page):
        assert block.language or block.is_shell, f"{page}, line {block.line}: neither Python nor shell; fence it with ```text if it is no command"


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_command_names_what_there_is(command):
    check(command)


@pytest.mark.parametrize("command", [command for page in PAGES for command in mentioned(page)], ids=str)
def test_command_in_the_prose_names_what_there_is(command):
    check_mentioned(command)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_command_runs(command, shop):
    words = list(command.words) if head(list(command.words)) in LOOKED_UP else shop.fill_in(command)
    if head(words) == "torchrun":  # what it leaves is looked at in the next test
        shop.launch(command, words)
    elif (run := as_run(command, words, shop.results)) is not None:
        shop.run(command, run)


@pytest.mark.slow
def test_torchrun_fills_a_table_as_one_process_does(shop, lend, tmp_path):
    """The page's command, which ran above; every row once, and the values of one process but for rounding."""
    command = next(command for command in COMMANDS if head(list(command.words)) == "torchrun")
    together, printed = shop.launch(command, shop.fill_in(command))
    assert printed.count("| Encoder A, combined loss |") == 1, "more than one process wrote the table"
    alone = lend(tmp_path, "salicon", ("centre_bias", "encoder_a"))
    records = sorted((alone / "runs").rglob("*.json"))
    assert len(records) == 2
    for one in records:
        two = together / one.relative_to(alone)  # of the same name: the key does not depend on the launcher
        assert [json.loads(path.read_text())["provenance"]["processes"] for path in (one, two)] == [1, 2]
        with np.load(one.with_suffix(".npz")) as expected, np.load(two.with_suffix(".npz")) as found:
            for name in expected:
                np.testing.assert_allclose(found[name], expected[name], atol=2e-3, equal_nan=True)


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.page}, line {block.line}")
def test_block_runs(block, shop, monkeypatch):
    monkeypatch.chdir(shop.folder)
    source, where = "\n".join(block.lines), f"{block.page}, line {block.line}"
    for quoted in re.findall(r"\"([A-Z][A-Z0-9_]*(?:\.[a-z]+)?)\"", source):
        assert quoted in SUBSTITUTES, f"{where}: {UNKNOWN.format(quoted)}"
        command = Command(block.page, block.line, tuple(re.findall(r"\w+", source)))
        source = source.replace(f'"{quoted}"', repr(str(SUBSTITUTES[quoted](shop, command))))
    names = {}
    exec(compile(source, where, "exec"), names)
    if "train" in names:
        for label in ("cat", "dog"):
            (shop.folder / "two" / label).mkdir(parents=True)
            Image.fromarray(np.full((40, 50, 3), 90, dtype=np.uint8)).save(shop.folder / "two" / label / "1.jpg")
        model = names["train"](shop.folder / "two", epochs=1, side=48, batch_size=2)
        assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_the_released_usage_block_runs_after_changing_its_imports():
    names = {}
    exec("from lib.models import *", names)
    exec("task_network = resnet101()\nsaliency_network = saliency_network_resnet18()\ntask_input_size = 224\n"
         "saliency_input_size = 224\n"
         "model = Saliency_Sampler(task_network,saliency_network,task_input_size,saliency_input_size)", names)
    with torch.no_grad():
        output, maps = names["model"].eval()(torch.rand(1, 3, 300, 400), return_maps=True)
    assert output.shape == (1, 1000)
    assert maps.image.shape == (1, 3, 224, 224)
