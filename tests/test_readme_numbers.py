"""README's tables are what the reference records give, and the numbers in its prose stand in the table that the prose is about."""

import random
import re

import pytest

from lib.report.readme import MARKED, README, REFERENCE, generate
from lib.results.filled import Filled
from lib.results.store import read_folder

TEXT = README.read_text(encoding="utf-8")
RESULTS = MARKED.sub("", TEXT[TEXT.index("## What comes out"):TEXT.index("## The layer in your own network")])  # the prose of the section
ABOUT = {"What comes out": "mrcnn", "Table 1": "gazecapture", "Table 2, iNaturalist": "inaturalist", "Table 3": "saliency_depth",
         "Table 4, CUB-200": "cub200", "EML-NET": "salicon", "Mr-CNN": "mrcnn", "Region proposal": "proposal"}  # what a paragraph begins with
NUMBER = re.compile(r"(\d+(?:\.\d+)?) ± (\d+(?:\.\d+)?)")  # signs are left out, for sentences say "costs 0.15 ± 0.09"


@pytest.fixture(scope="module")
def stored():
    return read_folder(REFERENCE)


@pytest.fixture(scope="module")
def known(stored) -> dict[str, set[tuple[str, str]]]:
    """Table -> every value with its interval, of all data sets."""
    found: dict[str, set] = {}
    for table, group, rows in stored.filled():
        found.setdefault(table.name, set()).update(NUMBER.findall(Filled(table, group, rows).markdown()))
    return found


def test_generating_again_changes_nothing(stored):
    assert len(MARKED.findall(TEXT)) >= 5
    assert generate(TEXT, stored) == TEXT, "python -m lib.report.readme writes README's tables anew"


def test_any_digit_that_is_changed_in_a_table_is_noticed(stored):
    """Generating restores it, so the test above would fail."""
    places = [found.start("body") + digit.start() for found in MARKED.finditer(TEXT) for digit in re.finditer(r"\d", found["body"])]
    assert len(places) > 1000
    for place in random.Random(0).sample(places, 3):
        changed = TEXT[:place] + str((int(TEXT[place]) + 1) % 10) + TEXT[place + 1:]
        assert changed != TEXT and generate(changed, stored) == TEXT


@pytest.mark.parametrize(("words", "name"), [
    ("gazecapture; twin: iPod", "iPod"), ("gazecapture; osie: iPad", "osie"), ("gazecapture; twin: iPad; rows: plane", "plane"),
    ("gazecapture; twin: iPad; show: gain", "gain"), ("table9; twin: iPad", "table9")])
def test_a_marker_of_what_there_is_not_is_named(stored, words, name):
    with pytest.raises(ValueError, match=name):
        generate(f"<!-- table: {words} -->\n<!-- end -->\n", stored)


@pytest.mark.parametrize("title", ABOUT)
def test_numbers_in_the_prose_stand_in_the_table_that_it_is_about(known, title):
    titles = "|".join(map(re.escape, ABOUT))
    parts = re.split(rf"(?:\*\*|## )({titles})(?=\*\*|\n)", RESULTS)
    told = {number for found, prose in zip(parts[1::2], parts[2::2], strict=True) if found == title for number in NUMBER.findall(prose)}
    assert told and sorted(told - known[ABOUT[title]]) == []
