"""Protects: every data set has a page, and every page answers the same seven questions in the same order, with commands that exist."""

import re

import pytest
from documents import ROOT, check, check_mentioned, commands, filled_by, mentioned

from lib import __main__ as cli
from lib import tables

FOLDER = ROOT / "data"
SEVEN = ("Where to get it", "Licence", "Size", "Layout", "Verify", "The paper's table", "When the link is dead")
WEIGHTS = "emlnet_weights"  # no data set, but asked the same
PRIVATE = "coursework"  # handed out by a course, so its page is for those who have the files, and has a form of its own
PAGES = sorted(path.stem for path in FOLDER.glob("*.md") if path.name != "README.md")
DATA_SETS = [name for name in PAGES if name not in (WEIGHTS, PRIVATE)]


def sections(name: str) -> dict[str, str]:
    """{heading: text} of a page's second level, in order."""
    return {title: text.strip("\n") for title, _, text in (part.partition("\n") for part in (FOLDER / f"{name}.md").read_text().split("\n## ")[1:])}


def test_every_data_set_has_a_page_and_the_index_lists_them_all():
    """An error says: `data/NAME.md says where to get it`."""
    used = {name for table in tables.NAMES for name in tables.get(table).datasets} - {"twin"}
    assert used | {WEIGHTS} == set(PAGES)
    assert set(re.findall(r"\]\((\w+)\.md\)", (FOLDER / "README.md").read_text())) == set(PAGES)


@pytest.mark.parametrize("name", [*DATA_SETS, WEIGHTS])
def test_page_answers_the_seven_questions_in_order(name):
    found = sections(name)
    assert tuple(found)[: len(SEVEN)] == SEVEN
    assert all(found[title] for title in SEVEN), [title for title in SEVEN if not found[title]]


@pytest.mark.parametrize("name", DATA_SETS)
def test_page_says_how_to_verify_and_how_to_run_the_papers_table(name):
    wanted = {"Verify": f"    .venv/bin/python -m lib verify {name} DIR",
              "The paper's table": f" --preset paper --dataset {name} --data DIR --device cuda"}
    for title, command in wanted.items():
        assert any(line.endswith(command) for line in sections(name)[title].splitlines()), title
    assert name in cli.VERIFIABLE


@pytest.mark.parametrize("name", DATA_SETS)
def test_every_table_that_takes_the_data_set_is_on_its_page(name):
    fill = [command.lib for command in commands(f"data/{name}.md") if command.lib and command.lib[0] in ("run", "table")]
    shown = {table for words in fill for table in filled_by(words)}
    assert shown == {table for table in tables.NAMES if name in tables.get(table).datasets}


@pytest.mark.parametrize("name", PAGES)
def test_commands_name_what_there_is(name):
    for command in commands(f"data/{name}.md"):
        check(command)
    for command in mentioned(f"data/{name}.md"):
        check_mentioned(command)
