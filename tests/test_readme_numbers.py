"""README, data/README.md and results/README.md say what the reference records give, whatever there is and is not; README stays short and plain."""

import random
import re
from dataclasses import replace

import pytest
from documents import ROOT

from lib import claims
from lib.claims.decide import NOT_RUN, Verdict
from lib.report import collect, readme
from lib.report.readme import DATA, MARKED, README, REFERENCE, RESULTS, generate, pages
from lib.report.sources import SOURCES
from lib.results.grids import NOTHING
from lib.results.statistics import OWN, Component, Estimate
from lib.results.store import Group

TEXT = README.read_text(encoding="utf-8")
PROSE = re.sub(r"```.*?```", "", MARKED.sub("", TEXT), flags=re.DOTALL)
PROSE = "\n".join(line for line in PROSE.splitlines() if not line.startswith("    "))
WORD = re.compile(r"[A-Za-z0-9][\w'’.:/-]*")
CLAIMS = {claim.key: claim for claim in claims.ledger()}


@pytest.fixture(scope="module")
def report():
    return collect(REFERENCE)


@pytest.fixture(scope="module")
def made(report):
    return pages(report)


@pytest.mark.parametrize("path", [README, DATA, RESULTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_generating_again_changes_nothing(made, path):
    assert made[path] == path.read_text(encoding="utf-8"), "python -m lib.report.readme writes it anew"


def test_any_digit_that_is_changed_in_a_table_is_noticed(report):
    """Generating restores it, so the test above would fail."""
    places = [found.start("body") + digit.start() for found in MARKED.finditer(TEXT) for digit in re.finditer(r"\d", found["body"])]
    assert len(places) > 100
    for place in random.Random(0).sample(places, 3):
        changed = TEXT[:place] + str((int(TEXT[place]) + 1) % 10) + TEXT[place + 1:]
        assert changed != TEXT and generate(changed, report.ledger) == TEXT


def test_no_result_is_typed_by_hand():
    """A value with its ±, a share, points or centimetres stand in generated tables alone. (half of a 95 % interval is no result)"""
    assert re.findall(r"\d\s*±|±\s*\d|\d+\s*(?:points|cm|NSS)\b", plain(PROSE)) == []
    assert re.findall(r"\d+(?:\.\d+)?\s*%|\d+\.\d+", plain(PROSE)) == ["3.11", "3.13", "95 %"]  # Python's versions; what ± is


def test_a_marker_of_what_there_is_not_is_named(report):
    with pytest.raises(ValueError, match="table9"):
        generate("<!-- table: table9 -->\n<!-- end -->\n", report.ledger)


# ------------------------------------------------------------------------------------------------------------ how it reads


def plain(words: str) -> str:
    """Prose as it is read: links by their text, without pictures, markers and marks."""
    words = re.sub(r"<!--.*?-->|!\[[^\]]*\]\([^)]*\)", "", words, flags=re.DOTALL)
    return re.sub(r"[*|#]", " ", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", words))


def test_readme_is_read_in_three_minutes():
    assert len(WORD.findall(plain(TEXT))) <= 900  # its table, code and commands too


def test_sentences_are_short():
    paragraphs = [" ".join(plain(part).split()) for part in PROSE.split("\n\n") if not part.startswith("|")]
    sentences = [one for part in paragraphs for one in re.split(r"(?<=[.:?!])\s+(?=[A-Z`±*])", part) if len(one.split()) > 2]
    lengths = [len(WORD.findall(one)) for one in sentences]
    assert len(sentences) > 30 and max(lengths) <= 30 and sum(lengths) / len(lengths) < 16
    assert all(one.count(";") <= 1 for one in sentences)


def test_every_data_set_of_a_table_has_its_licence():
    from lib import tables

    used = {name for table in tables.NAMES for name in tables.get(table).datasets} - {"twin"}
    assert used == {one.name for one in SOURCES}
    assert all(f"[{one.title}]({one.name}.md)" in DATA.read_text() for one in SOURCES)


# ------------------------------------------------------------------------------------------------- the table, made of whatever there is


def verdict(key: str, dataset: str, preset: str, mean: float, told: str = "holds") -> Verdict:
    claim = CLAIMS[key]
    found = Estimate(mean, Component(0.25, 50.0), Component(0.0, 50.0), 100, 100, 3, OWN)
    return Verdict(claim=claim, verdict=told, group=Group(claim.table, dataset, preset, "cpu", dataset == "twin"), found=found, p=0.01, p_holm=0.01)


def line(words: str, *found: Verdict) -> dict[str, str]:
    """The cells of the line that holds `words`."""
    (shown,) = [[cell.text for cell in cells] for cells in readme.summary(found).lines if words in cells[1].text]
    return dict(zip(readme.HEAD, shown, strict=True))


def test_without_a_record_every_line_stands_and_says_so():
    shown = readme.summary([])
    assert len(shown.lines) == len(readme.LINES)
    assert {cells[3].text for cells in shown.lines} == {cells[5].text for cells in shown.lines} == {NOT_RUN}
    assert {cells[4].text for cells in shown.lines} == {NOT_RUN, NOTHING}  # some are for photographs alone


def test_a_twin_alone_leaves_the_place_of_real_data():
    shown = line("top-1 on birds", verdict("cub_top1", "twin", "demo", 3.0, "undecided"))
    assert (shown["real data"], shown["verdict"]) == (NOT_RUN, "twin: undecided")
    assert shown["drawn twin"].startswith("+3.0") and "±" in shown["drawn twin"] and shown["drawn twin"].endswith(" points")


def test_photographs_are_taken_up_and_the_preset_nearest_to_the_paper_counts():
    twin, demo = verdict("cub_top1", "twin", "demo", 3.0), verdict("cub_top1", "cub200", "photos-224", 7.0)
    photos = verdict("cub_top1", "cub200", "photos", -1.0, "undecided")
    assert line("top-1 on birds", twin, demo)["real data"].startswith("CUB-200-2011: +7.0")
    shown = line("top-1 on birds", twin, demo, photos)
    assert shown["real data"].startswith("CUB-200-2011: −1.0") and "±" in shown["real data"]
    assert shown["verdict"] == "CUB-200-2011: undecided<br>twin: holds"
    assert line("top-1 on birds", photos, verdict("cub_top1", "cub200", "paper", 2.0))["real data"].startswith("CUB-200-2011: +2.0")


def test_every_real_data_set_is_shown_not_the_best():
    found = [verdict("emlnet_loss", "osie", "photos", 0.4), verdict("emlnet_loss", "mit1003", "photos", -0.2, "fails")]
    shown = line("combined loss", *found)
    assert shown["verdict"] == "OSIE: holds<br>MIT1003: fails" and shown["real data"].count("±") == 2


def test_what_a_twin_and_photographs_are_asked_apart_stands_in_one_line():
    shown = line("chooses helpful crops", verdict("chooses_proposal", "twin", "demo", 4.0), verdict("finds_proposal", "imagenette", "photos", 9.0))
    assert shown["real data"].startswith("imagenette: +9.0") and shown["drawn twin"].startswith("+4.0")


def test_what_was_not_tested_is_not_shown():
    untested = replace(verdict("cub_top1", "cub200", "photos", 1.0), verdict=NOT_RUN, found=None)
    assert line("top-1 on birds", untested)["real data"] == NOT_RUN


def test_the_papers_values_are_differences_of_what_it_printed():
    assert line("top-1 on birds")["the paper"] == "+2.9 points"  # 84.5 - 81.6
    assert line("plain AlexNet")["the paper"] == "+1.38 cm"  # (5.44 - 3.29 + 2.63 - 2.03) / 2
    assert line("combined loss")["the paper"] == NOTHING


def test_lines_are_short_and_name_claims_that_there_are():
    for one in readme.LINES:
        assert len(one.words.split()) <= 7 and set(one.keys) <= CLAIMS.keys()
    assert len({one.keys for one in readme.LINES}) == len(readme.LINES)


# ------------------------------------------------------------------------------------------------------------ results/README.md


def test_the_page_shows_every_verdict_and_table_and_what_fails_first(report, made):
    page = made[RESULTS]
    assert [page.index(f"### {heading}") for heading in ("What fails", "Undecided", "What holds", "Not tested")] == sorted(
        page.index(f"### {heading}") for heading in ("What fails", "Undecided", "What holds", "Not tested"))
    assert all(one.claim.sentence.replace("|", "\\|") in page for one in report.ledger)
    assert all(f"### {one.table.title}: {one.group.where}" in page for one in report.tables)
    assert all(f"reference/figures/{figure.path.name})" in page for found in report.figures.values() for figure in found)
    assert all(f"`{path.name}`" in page for path in (REFERENCE / "weights").glob("*.safetensors"))
