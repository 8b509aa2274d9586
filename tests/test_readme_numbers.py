"""The README's numbers are those of results/reference: each value with its ±, and how many claims hold."""

import csv
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TABLES = ROOT / "results" / "reference" / "tables"
NUMBER = re.compile(r"(\d+(?:\.\d+)?) ± (\d+(?:\.\d+)?)")  # signs are left out, for sentences say "costs 0.15 ± 0.09"


def results() -> str:
    """The section of the README that reports."""
    text = (ROOT / "README.md").read_text()
    return text[text.index("## What comes out") : text.index("## The layer in your own network")]


def measured(text: str) -> set[tuple[str, str]]:
    return set(NUMBER.findall(text.replace("*", "")))


def test_every_value_with_its_interval_is_in_the_reference():
    known = set().union(*(measured(path.read_text()) for path in TABLES.glob("*.md")))
    told = measured(results())
    assert len(told) > 100 and len(known) > 500
    assert sorted(told - known) == [], "not in results/reference/tables: publish the run that has them, or write what it has"


@pytest.mark.parametrize(("name", "title"), [("twin", "twins"), ("osie", "real OSIE"), ("mit1003", "real MIT1003")])
def test_counts_of_verdicts(name, title):
    """The table of the README that begins `| claims on |`."""
    with (TABLES / "ledger.csv").open() as file:
        found = Counter(line["verdict"] for line in csv.DictReader(file) if line["dataset"] == name)
    (line,) = re.findall(rf"^\| {title} \| (.*) \|$", results(), re.MULTILINE)
    assert line.split(" | ") == [str(found[verdict]) for verdict in ("fails", "undecided", "holds")]
