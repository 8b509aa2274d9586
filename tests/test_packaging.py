"""The checkout: pins that agree, packages that are all listed, commands that exist, tidy code, nothing of one machine in the files."""

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
MAKEFILE = (ROOT / "Makefile").read_text()


def git(*words: str, check: bool = True) -> list[str]:
    """Output lines of a git command in the checkout; outside of one the test is skipped."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs git and a checkout")
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout.splitlines()


def pins(lines: list[str]) -> dict[str, str]:
    found = [re.fullmatch(r"([A-Za-z0-9_.-]+)==([0-9][0-9a-z.]*)", line) for line in lines]
    assert all(found), f"not pinned: {[line for line, match in zip(lines, found, strict=True) if not match]}"
    return {match[1].lower(): match[2] for match in found}


def environment() -> tuple[list[str], list[str]]:
    """environment.yml's conda packages, and what pip is to install."""
    conda, pip = [], []
    for line in (ROOT / "environment.yml").read_text().partition("\ndependencies:\n")[2].splitlines():
        if match := re.fullmatch(r"( +)- (.+?)", line.split(" #")[0].rstrip()):
            (conda if len(match[1]) == 2 else pip).append(match[2])
    return conda, pip


# --------------------------------------------------------------------------------------------------------------------- pins


def test_environment_has_the_pins_of_pyproject():
    """conda and make give the same versions, those that the committed results were made with."""
    pip = environment()[1]
    assert pins([line for line in pip if not line.startswith("--")]) == pins(PROJECT["project"]["optional-dependencies"]["reproduce"])
    assert "--editable ." in pip


def test_every_dependency_is_pinned_for_reproduction():
    reproduce = pins(PROJECT["project"]["optional-dependencies"]["reproduce"])
    for requirement in PROJECT["project"]["dependencies"]:
        name, _, least = requirement.partition(">=")
        pinned, wanted = ([int(part) for part in version.split(".")] for version in (reproduce[name.lower()], least))
        assert pinned >= wanted, requirement


def test_environments_python_is_one_that_pyproject_allows():
    (python,) = [line for line in environment()[0] if line.startswith("python=")]
    version = tuple(map(int, python.removeprefix("python=").split(".")))
    least, below = (tuple(map(int, part.split("."))) for part in re.findall(r"\d+\.\d+", PROJECT["project"]["requires-python"]))
    assert least <= version < below
    bounds = re.search(r"\((\d+), (\d+)\) <= sys.version_info\[:2\] <= \((\d+), (\d+)\)", MAKEFILE)
    assert tuple(map(int, bounds.groups())) == (*least, below[0], below[1] - 1)


def locked() -> dict[str, tuple[list[Requirement], int]]:
    """requirements.lock: for each package its entries, more than one where systems differ, and the number of hashes."""
    found: dict[str, tuple[list[Requirement], int]] = {}
    for entry in re.split(r"\n(?=[a-z0-9])", re.sub(r"^#.*\n", "", (ROOT / "requirements.lock").read_text(), flags=re.M)):
        words = entry.replace("\\\n", " ").split("--hash=")
        requirement = Requirement(words[0].strip())
        entries, hashes = found.get(canonicalize_name(requirement.name), ([], 0))
        found[canonicalize_name(requirement.name)] = ([*entries, requirement], hashes + len(words) - 1)
    return found


def test_the_lock_has_every_pin_of_pyproject():
    extras = PROJECT["project"]["optional-dependencies"]
    wanted = pins(extras["reproduce"]) | pins(extras["test"])
    lock = locked()
    assert {name: [str(one.specifier) for one in lock[canonicalize_name(name)][0]] for name in wanted} == {
        name: [f"=={version}"] for name, version in wanted.items()}, "say `make lock`"


def test_the_lock_has_a_hash_for_everything():
    assert [name for name, (_, hashes) in locked().items() if not hashes] == []


def test_the_lock_is_complete():
    """Whatever an installed package asks for here is locked too, and in a version that satisfies it."""
    lock, seen = locked(), set()
    extras = PROJECT["project"]["optional-dependencies"]
    ahead = [Requirement(line) for line in extras["reproduce"] + extras["test"]]
    while ahead:
        wanted = ahead.pop()
        name, known = canonicalize_name(wanted.name), (canonicalize_name(wanted.name), *sorted(wanted.extras))
        if known in seen:
            continue
        seen.add(known)
        entries = [one for one in lock.get(name, ([], 0))[0] if one.marker is None or one.marker.evaluate()]
        assert len(entries) == 1, f"{name} is {'missing from' if not entries else 'twice in'} requirements.lock; say `make lock`"
        (pinned,) = entries[0].specifier
        assert wanted.specifier.contains(pinned.version, prereleases=True), f"{name}: {wanted} is wanted, {pinned.version} is locked; say `make lock`"
        for line in importlib.metadata.requires(name) or []:
            inner = Requirement(line)
            if inner.marker is None or any(inner.marker.evaluate(default_environment() | {"extra": extra}) for extra in ("", *wanted.extras)):
                ahead.append(Requirement(f"{inner.name}{'[' + ','.join(inner.extras) + ']' if inner.extras else ''}{inner.specifier}"))


# ----------------------------------------------------------------------------------------------------------------- packages


def test_every_module_of_lib_is_in_a_listed_package():
    """Else an installed copy lacks it, while every test here passes from the checkout."""
    listed = PROJECT["tool"]["setuptools"]["packages"]
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "lib").rglob("*.py")}
    assert found == set(listed) and len(listed) == len(set(listed))
    missing = [name for name in listed if not ROOT.joinpath(*name.split("."), "__init__.py").exists()]
    assert missing == []


LIB = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in (ROOT / "lib").rglob("*.py")}


def imported(path: Path) -> set[str]:
    """The modules of lib that a module imports, at its head or within a function; not what only its annotations need."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []
    whole = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    parts = {(node.module, name.name) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module for name in node.names}
    return {one for one in (*whole, *(f"{module}.{name}" if f"{module}.{name}" in LIB else module for module, name in parts)) if one in LIB}


def test_no_module_leads_back_to_itself():
    """Not by what is imported late either: `graphlib` names the circle."""
    assert len(list(TopologicalSorter({name: imported(path) for name, path in LIB.items()}).static_order())) == len(LIB)


def test_no_function_has_more_than_40_lines():
    found = [(name, node.name) for name, path in LIB.items() for node in ast.walk(ast.parse(path.read_text()))
             if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= 40]
    assert found == []


def test_every_notebook_is_found_by_the_runner():
    from lib import batch

    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert sorted(batch.find([])) == notebooks
    assert len({path.stem.split("_")[0] for path in notebooks}) == len(notebooks)  # so that `run 01` means one


# ----------------------------------------------------------------------------------------------------------------- Makefile


def rules() -> dict[str, str]:
    """Target -> its recipe."""
    return {match[1]: match[2] for match in re.finditer(r"^([a-z]+):[^=\n]*\n((?:\t.*\n)*)", MAKEFILE, re.MULTILINE)}


def test_makefiles_targets_exist():
    phony = re.search(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)[1].split()
    assert {"reproduce", "test", "lab", "bench", "clean", "help"} <= set(phony)
    assert set(phony) == set(rules())
    assert all(recipe for recipe in rules().values())


def test_help_names_what_there_is():
    named = set(re.findall(r"make ([a-z]+)", rules()["help"]))
    assert named <= set(rules())


def test_scripts_that_the_makefile_runs_exist():
    scripts = re.findall(r"\S+\.py\b", "".join(rules().values()))
    assert scripts and all((ROOT / script).is_file() for script in scripts)


def test_clean_keeps_what_is_committed():
    """It removes caches and runs, and never the reference results."""
    removed = re.search(r"rm -rf (.+)", rules()["clean"])[1].split()
    assert git("ls-files", "--", *removed) == []
    for path in removed:
        assert git("check-ignore", "--no-index", f"{path}/anything") == [f"{path}/anything"]


# --------------------------------------------------------------------------------------------------------------------- code


def test_ruff_finds_nothing():
    """With the rules of pyproject.toml: unused names, `zip` that does not say whether lengths differ, long lines; in notebooks too."""
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=concise", "."],
                          cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


# ---------------------------------------------------------------------------------------------------------------------- git


@pytest.mark.parametrize("path", [
    "lib/data/store.py", "lib/data/synthetic/faces.py", "lib/models/sampler.py", "lib/results/records.py", "data/gazecapture.md",
    "results/reference/any.json", "notebooks/01_any.ipynb", "tests/conftest.py", "environment.yml", "README.md", ".ci/run"])
def test_what_belongs_to_the_project_is_not_ignored(path):
    """`/data/` or `results/` written carelessly would hide code: lib has folders of the same names."""
    assert git("check-ignore", "--no-index", path, check=False) == []


@pytest.mark.parametrize("path", [
    "data/twins/any/00001/info.json", "data/real/any.jpg", "results/runs/any.json", "results/cache/any.npy", ".venv/bin/python",
    "results/notebooks/any.ipynb", "results/figures/any.png", "results/tables/any.md", "lib/__pycache__/any.pyc"])
def test_what_is_made_here_is_ignored(path):
    assert git("check-ignore", "--no-index", path) == [path]


def project_files() -> list[Path]:
    """Tracked, and new ones that git does not ignore."""
    return [ROOT / name for name in git("ls-files", "--cached", "--others", "--exclude-standard") if (ROOT / name).is_file()]


def test_no_file_holds_a_path_of_some_machine():
    places = [f"/{folder}/" for folder in ("home", "root", "tmp", "Users")]
    found = []
    for path in project_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture or an archive
        found += [f"{path.relative_to(ROOT)}: {place}" for place in places if place in text]
    assert found == []


def test_tracked_files_stay_under_60_megabytes_together():
    assert sum(path.stat().st_size for path in project_files()) < 60e6


def test_a_batch_knows_the_tables_of_its_notebooks():
    """Their rows are computed ahead of the kernels: a notebook that asks for another table would train it alone."""
    from lib import batch, tables

    for path in batch.find([]):
        asked = re.findall(r'tables\.get\(\\"(\w+)\\"\)', path.read_text())
        assert list(dict.fromkeys(asked)) == [name for number, name in tables.NOTEBOOKS.items() if number == path.stem.split("_")[0]], path.name
