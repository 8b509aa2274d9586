"""Protects: CITATION.cff stays readable for the tools that read it (Citation File Format 1.2.0), and names the papers reproduced here.

The rules are those of the format's JSON schema (citation-file-format.github.io/1.2.0/schema), as far as this file uses it.
"""

import re
import tomllib
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")  # comes with papermill

ROOT = Path(__file__).resolve().parents[1]
TOP = {"cff-version", "message", "title", "type", "license", "version", "authors", "references"}
TEXTS, NUMBERS = {"type", "title", "collection-title", "journal", "doi", "url"}, {"year", "start", "end", "volume"}
TYPES = {"article", "conference-paper", "report"}
DOI = re.compile(r"10\.\d{4,9}(\.\d+)?/[A-Za-z0-9:/_;\-.()\[\]\\]+")
PAPERS = {  # what this repository reproduces -> how the work is found
    "Learning to Zoom": {"10.1007/978-3-030-01240-3_4", "arXiv:1809.03355"}, "EML-NET": {"10.1016/j.imavis.2020.103887", "arXiv:1805.01047"},
    "Predicting Eye Fixations": {"10.1109/CVPR.2015.7298633"},
    "Region Proposal": {"https://github.com/JasmineLi-805/cse490-DeepLearning-Project"},
}


@pytest.fixture(scope="module")
def citation() -> dict:
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def check_authors(authors: list[dict]) -> None:
    """Persons have names, entities a name; no other keys."""
    assert authors
    for author in authors:
        assert set(author) in ({"name"}, {"family-names", "given-names"}), author
        assert all(isinstance(value, str) and value for value in author.values()), author


def test_it_has_what_the_format_asks_for_and_nothing_that_it_does_not_know(citation):
    assert {"cff-version", "message", "title", "authors"} <= set(citation) <= TOP
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert all(isinstance(citation[key], str) and citation[key] for key in TOP - {"authors", "references"})
    check_authors(citation["authors"])


def test_references_have_the_formats_keys_and_types(citation):
    for reference in citation["references"]:
        assert {"type", "title", "authors", "year"} <= set(reference) <= TEXTS | NUMBERS | {"authors", "identifiers"}, reference
        assert reference["type"] in TYPES
        assert all(isinstance(reference[key], str) and reference[key] for key in TEXTS & set(reference)), reference
        assert all(isinstance(reference[key], int) for key in NUMBERS & set(reference)), reference
        assert "doi" not in reference or DOI.fullmatch(reference["doi"])
        assert "url" not in reference or reference["url"].startswith("https://")
        check_authors(reference["authors"])
        for identifier in reference.get("identifiers", []):
            assert set(identifier) == {"type", "value"} and identifier["type"] == "other", identifier
            assert re.fullmatch(r"arXiv:\d{4}\.\d{5}", identifier["value"])


def test_every_reproduced_work_is_referenced_and_can_be_found(citation):
    assert len(citation["references"]) == len(PAPERS)
    for part, wanted in PAPERS.items():
        (reference,) = [found for found in citation["references"] if part in found["title"]]
        found = {reference.get("doi"), reference.get("url"), *(identifier["value"] for identifier in reference.get("identifiers", []))}
        assert wanted == found - {None}


def test_licence_and_version_are_the_packages_own(citation):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (citation["license"], citation["version"]) == (project["license"], project["version"])
    assert (ROOT / "LICENSE").read_text().startswith(f"{citation['license']} License")
