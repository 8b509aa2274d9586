"""Protects: the examples in docstrings give what they say, and no public name of the layer, its grids, carrying and the metrics lacks one."""

import ast
import doctest
import importlib
import importlib.util
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in sorted((ROOT / "lib").rglob("*.py"))}
WITH_EXAMPLES = [file for file, source in SOURCES.items() if ">>> " in source]
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
LAYER = "lib/models/sampler.py"
FILES = (LAYER, "lib/models/inverse.py", "lib/models/carry.py", "lib/models/rivals.py", "lib/metrics/classification.py", "lib/metrics/gaze.py")
PACKAGES = ("lib/models/grids", "lib/metrics/saliency")  # what their __all__ names is public
INNER = {"Sampled", "pair", "check_grid", "float_type", "Normalize", "feature_channels"}  # parts that others use: a line says all
MOST = 5  # statements of an example


def imported(file: str) -> ModuleType:
    return importlib.import_module(file.removesuffix(".py").removesuffix("/__init__").replace("/", "."))


def examples(module: ModuleType, source: str) -> list[doctest.DocTest]:
    """One test for each docstring that holds an example, and AssertionError where one of the source's examples is not among them."""
    found = [test for test in doctest.DocTestFinder().find(module) if test.examples]
    written = len(re.findall(r"^ *>>> ", source, re.MULTILINE))
    assert sum(len(test.examples) for test in found) == written, f"{module.__name__}: of {written} `>>> ` some stand where doctest does not look"
    return found


def failures(tests: list[doctest.DocTest]) -> str:
    """What doctest reports of them, "" where every example gives what it says."""
    told, runner = [], doctest.DocTestRunner(verbose=False, optionflags=OPTIONS)
    for test in tests:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            runner.run(test, out=told.append)
    return "".join(told)


def definitions(source: str) -> dict[str, str]:
    """{name: docstring} of a module's public functions and classes."""
    return {node.name: ast.get_docstring(node) or "" for node in ast.parse(source).body
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")}


def lacking(source: str, public: set[str]) -> list[str]:
    """The public names that the module defines without an example."""
    return [name for name, text in definitions(source).items() if name in public and ">>> " not in text]


@pytest.mark.parametrize("file", WITH_EXAMPLES)
def test_examples_give_what_they_say(file):
    tests = examples(imported(file), SOURCES[file])
    assert tests and not (told := failures(tests)), told


@pytest.mark.parametrize("file", WITH_EXAMPLES)
def test_examples_are_short_and_stand_in_their_section(file):
    for test in examples(imported(file), SOURCES[file]):
        assert len(test.examples) <= MOST, f"{test.name}: {len(test.examples)} statements"
        before = test.docstring.splitlines()[test.examples[0].lineno - 1]
        assert before.strip() == "Example:", f"{test.name}: the line before the first `>>>` is {before!r}"


@pytest.mark.parametrize("file", FILES)
def test_every_public_name_has_an_example(file):
    missing = lacking(SOURCES[file], set(definitions(SOURCES[file])) - INNER)
    assert not missing, f"{file}: an Example is missing for {', '.join(missing)}"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_of_a_package_has_an_example(package):
    public = set(imported(package).__all__)
    sources = [source for file, source in SOURCES.items() if file.startswith(f"{package}/")]
    missing = [name for source in sources for name in lacking(source, public)]
    assert not missing, f"{package}: an Example is missing for {', '.join(missing)}"
    assert len({name for source in sources for name in definitions(source)} & public) > 10


def test_the_layers_examples_run_where_its_file_is_all_there_is(tmp_path, monkeypatch):
    """The file says: copy it into your project."""
    shutil.copy(ROOT / LAYER, tmp_path / "copied_layer.py")
    for name in [name for name in sys.modules if name.partition(".")[0] == "lib"] + ["lib"]:
        monkeypatch.setitem(sys.modules, name, None)  # an import of it raises ImportError
    spec = importlib.util.spec_from_file_location("copied_layer", tmp_path / "copied_layer.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "copied_layer", module)
    spec.loader.exec_module(module)
    assert module.sample_bytes is None
    tests = examples(module, SOURCES[LAYER])
    assert tests and not (told := failures(tests)), told


# ------------------------------------------------------------------------------------------------------- the checker itself

GOOD = '''
from contextlib import contextmanager


@contextmanager
def quiet():
    yield


class Twice:
    """Doubles.

    Example:
        >>> Twice()(2)
        4
    """

    def __call__(self, x):
        """Example:
            >>> Twice()(0.5)
            1.0
        """
        return 2 * x


@quiet()
def wrapped():
    """Wrapped, as every metric is.

    Example:
        >>> 1 + 1
        2
    """
'''


@pytest.fixture
def written(monkeypatch):
    """`written(source)`: the module of this source, and the source."""
    def make(source: str) -> tuple[ModuleType, str]:
        module = ModuleType("written")
        monkeypatch.setitem(sys.modules, "written", module)  # doctest asks there whose a wrapped function is
        exec(source, vars(module))
        return module, source

    return make


@pytest.mark.parametrize(("right", "wrong"), [("        4\n", "        5\n"), ("            1.0\n", "            1\n"),
                                             ("        2\n", "        3\n"), ("Twice()(2)", "Thrice()(2)")])
def test_a_wrong_example_fails(right, wrong, written):
    assert failures(examples(*written(GOOD))) == ""
    assert failures(examples(*written(GOOD.replace(right, wrong, 1)))).count("Failed example") == 1


def test_an_example_where_doctest_does_not_look_is_an_error(written):
    module, source = written(GOOD)
    with pytest.raises(AssertionError, match="does not look"):
        examples(module, source + '\nwrapped.text = """\n>>> 1 + 1\n3\n"""\n')


def test_a_name_without_an_example_is_found():
    assert lacking(GOOD, {"quiet", "Twice", "wrapped"}) == ["quiet"]
    assert lacking(GOOD, {"Twice", "wrapped"}) == []
