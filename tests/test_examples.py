"""Protects: the examples in docstrings give what they say, and no public name of the layer, its grids, carrying and the metrics lacks one.

Docstrings are read from the source: doctest's own finder passes over functions that a decorator of another module wrapped, as every metric
is, without a word.
"""

import ast
import doctest
import importlib
import importlib.util
import shutil
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
LIB = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "lib").rglob("*.py"))
WITH_EXAMPLES = [file for file in LIB if ">>> " in (ROOT / file).read_text(encoding="utf-8")]
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
LAYER = "lib/models/sampler.py"
FILES = (LAYER, "lib/models/inverse.py", "lib/models/carry.py", "lib/models/rivals.py", "lib/metrics/classification.py", "lib/metrics/gaze.py")
PACKAGES = ("lib/models/grids", "lib/metrics/saliency")  # what their __all__ names is public
INNER = {"Sampled", "pair", "float_type", "Normalize", "feature_channels"}  # parts of the layer that other modules use, and one line says all of
MOST = 5  # statements of an example


def definitions(source: str) -> dict[str, ast.FunctionDef | ast.ClassDef]:
    """The public functions and classes of a module."""
    return {node.name: node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")}


def docstrings(source: str) -> dict[str, tuple[str, int]]:
    """{qualified name: docstring, its line} of all functions, classes and methods of a module, and of itself, "module"."""
    found = {}

    def visit(node: ast.AST, name: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef):
                visit(child, f"{name}.{child.name}".lstrip("."))
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and (text := ast.get_docstring(node)):
            found[name or "module"] = text, node.body[0].lineno - 1

    visit(ast.parse(source), "")
    return found


def examples(source: str, names: dict, file: str) -> list[doctest.DocTest]:
    """One test for each docstring that holds an example; all of them see the module's `names`."""
    parser = doctest.DocTestParser()
    found = [parser.get_doctest(text, names, name, file, line) for name, (text, line) in docstrings(source).items()]
    return [test for test in found if test.examples]


def failures(tests: list[doctest.DocTest]) -> str:
    """What doctest reports of them, "" where every example gives what it says."""
    told, runner = [], doctest.DocTestRunner(verbose=False, optionflags=OPTIONS)
    for test in tests:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            runner.run(test, out=told.append)
    return "".join(told)


def lacking(source: str, public: set[str]) -> list[str]:
    """The public names that the module defines without an example."""
    held = docstrings(source)
    return [name for name in definitions(source) if name in public and ">>> " not in held.get(name, ("", 0))[0]]


@pytest.mark.parametrize("file", WITH_EXAMPLES)
def test_examples_give_what_they_say(file):
    module = importlib.import_module(file.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
    tests = examples((ROOT / file).read_text(encoding="utf-8"), vars(module).copy(), file)
    assert tests, f"{file}: `>>> ` stands there, but in no docstring"
    assert not (told := failures(tests)), told


@pytest.mark.parametrize("file", FILES)
def test_every_public_name_has_an_example(file):
    source = (ROOT / file).read_text(encoding="utf-8")
    assert not (names := lacking(source, set(definitions(source)) - INNER)), f"{file}: an Example is missing for {', '.join(names)}"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_of_a_package_has_an_example(package):
    public = set(importlib.import_module(package.replace("/", ".")).__all__)
    sources = [path.read_text(encoding="utf-8") for path in sorted((ROOT / package).glob("*.py"))]
    assert not (names := [name for source in sources for name in lacking(source, public)]), f"{package}: an Example is missing for {', '.join(names)}"
    assert len({name for source in sources for name in definitions(source)} & public) > 5


@pytest.mark.parametrize("file", WITH_EXAMPLES)
def test_examples_are_short_and_stand_in_their_section(file):
    for test in examples((ROOT / file).read_text(encoding="utf-8"), {}, file):
        assert len(test.examples) <= MOST, f"{file}, {test.name}: {len(test.examples)} statements"
        before = test.docstring.splitlines()[test.examples[0].lineno - 1]
        assert before.strip() == "Example:", f"{file}, {test.name}: the line before the first `>>>` is {before!r}"


def test_the_layers_examples_run_where_its_file_is_all_there_is(tmp_path, monkeypatch):
    """The file says: copy it into your project."""
    shutil.copy(ROOT / LAYER, tmp_path / "copied_layer.py")
    for name in [name for name in sys.modules if name.partition(".")[0] == "lib"]:
        monkeypatch.setitem(sys.modules, name, None)  # an import of it raises ImportError
    spec = importlib.util.spec_from_file_location("copied_layer", tmp_path / "copied_layer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.sample_bytes is None
    assert not (told := failures(examples((ROOT / LAYER).read_text(encoding="utf-8"), vars(module).copy(), LAYER))), told


# ------------------------------------------------------------------------------------------------------- the checker itself

GOOD = '''
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


@contextmanager_of_another_module()
def wrapped():
    """Example:
        >>> 1 + 1
        2
    """


def bare():
    """No example."""
'''


@pytest.mark.parametrize(("wrong", "right"), [("        4\n", "        5\n"), ("            1.0\n", "            1\n"),
                                             ("        2\n", "        3\n"), ("Twice()(2)", "Thrice()(2)")])
def test_a_wrong_example_fails(wrong, right):
    class Twice:
        def __call__(self, x):
            return 2 * x

    assert failures(examples(GOOD, {"Twice": Twice}, "good.py")) == ""
    told = failures(examples(GOOD.replace(wrong, right, 1), {"Twice": Twice}, "good.py"))
    assert told.count("Failed example") == 1


def test_a_name_without_an_example_is_found():
    assert lacking(GOOD, {"Twice", "wrapped", "bare"}) == ["bare"]
    assert lacking(GOOD, {"Twice"}) == []
