"""Protects: whatever is wrong with an input, it is read rightly or refused in one line that names it and says what to do.

The whole campaign is `python tests/campaign.py`; here is a slice of it, and the wording of every refusal in the code that reads files.
"""

import ast
import re
from pathlib import Path

import pytest
from campaign import CLASSES, OTHER, READ, REFUSED, Case, campaign, failures, table
from miniatures import EVERY, ROOT
from mutate import mutations
from mutate_values import FORMATS, value_mutations
from remedies import has_remedy, refusals

SLICE = ("osie", "scanpaths", "somebodys", "records", "cache", "archives")
READS = (
    "lib/data",
    "lib/files",
    "lib/results",
    "lib/score.py",
    "lib/predict.py",
    "lib/zoom.py",
    "lib/batch.py",
    "lib/training/checkpoint.py",
    "lib/models/emlnet_weights.py",
    "lib/models/mrcnn_weights.py",
    "lib/models/state_checks.py",
    "lib/models/itracker.py",
)
CARRIES = (
    "answer",
    "REFETCH",
    "UNPACK",
    "REMEDY",
    "remedy",
    "GUIDE",
    "MINE",
    "FETCH",
    "LEAVE_OUT",
    "_GET",
    "{error",
    "{one_line(error)",
    "{_words(error)",
    "line",
    "problem",
    "instead",
)  # what is filled in has the remedy


@pytest.mark.slow
def test_a_slice_of_the_campaign_finds_nothing():
    found = campaign(only=list(SLICE), seed=3, count=2)
    assert len(found) > 30 and {READ, REFUSED} <= {case.outcome for case in found}
    assert failures(found) == []


def test_the_campaign_would_tell():
    """A table with a column for what is wrong, and every outcome but three counts as a failure."""
    wrong = [Case(n, ".mat", ".mat", "flip", outcome) for n, outcome in enumerate(CLASSES)]
    assert {case.outcome for case in wrong} - {case.outcome for case in failures(wrong)} == {READ, OTHER, REFUSED}
    assert "dead process" in table(wrong) and "traceback" in table(wrong) and "traceback" not in table(wrong[:2])


def test_mutations_are_seeded_and_change_the_bytes():
    content = b'{"a": [1, 2, {"b": "c"}], "d": 3.5}'
    for made in (mutations, lambda content, **options: value_mutations(Path("x.json"), content, **options)):
        first, again, other = (list(made(content, seed=seed, count=30)) for seed in (0, 0, 1))
        assert first == again != other and sum(changed != content for _, changed in first) > 25


def test_every_format_has_values_to_change():
    assert {suffix for suffixes, _ in FORMATS for suffix in suffixes} >= {".json", ".csv", ".txt", ".npy", ".npz", ".mat", ".safetensors", ".pth.tar"}
    assert len({make.__name__ for make in EVERY} & set(SLICE)) == len(SLICE)


def test_the_page_of_faults_names_tests_that_exist_and_misses_no_kind():
    page = (ROOT / "tests" / "README.md").read_text()
    named = re.findall(r"`(test_\w+\.py)((?:::\w+)*)`", page)
    assert len(named) > 50
    for file, names in named:
        tree = ast.parse((ROOT / "tests" / file).read_text())
        for name in names.split("::")[1:]:
            tree = next((one for one in tree.body if getattr(one, "name", "") == name), None)
            assert tree is not None, f"{file}{names}"
    assert re.findall(r"^\| (\d+) \|", page, re.M) == [str(kind) for kind in range(1, 23)]


# --- remedies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "has"),
    [
        ("x.jpg: missing; unpack the archive again", True),
        ("x.csv: line 3 has two columns; a line has three", False),
        ("x: is broken", False),
        ("x.mat: of another size, or give --resize squash", True),
        ("x: no weights; python -m lib table mrcnn trains such", True),
        ("x: 3, expected 4", False),
    ],
)
def test_what_a_remedy_is(message, has):
    assert has_remedy(message) == has


def modules() -> list[Path]:
    paths = [path for place in READS for path in ([ROOT / place] if place.endswith(".py") else sorted((ROOT / place).glob("*.py")))]
    assert len(paths) > 40
    return paths


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_refusal_of_a_file_says_what_to_do(path):
    """Those that begin with what is filled in: a path, a line, an entry. The others are parts of such a line, or about an argument."""
    silent = [
        f"{line}: {text}"
        for line, text in refusals(path)
        if re.match(r"\{.*?\}: ", text) and not has_remedy(text) and not any(word in text for word in CARRIES)
    ]
    assert silent == []
