"""The pages that are made from the committed records: `python -m lib.report.readme` writes them anew, a test compares them.

README.md and data/README.md have tables between markers; results/README.md is made whole (`lib.report.results_page`).

    <!-- table: NAME -->
    ... (generated)
    <!-- end -->

summary    for each paper its claims, with its value, ours and the verdict (`lib.report.summary`)
claims     how many claims fail, are undecided and hold, by data
licences   of every data set (`lib.report.sources`)
"""

import re
from collections.abc import Callable
from pathlib import Path

from lib.claims.decide import Verdict
from lib.report.contents import Report, collect
from lib.report.results_page import counts, text
from lib.report.sources import licences
from lib.report.summary import summary
from lib.results.filled import write_text
from lib.results.grids import Grid, markdown
from lib.results.records import ROOT

REFERENCE = ROOT / "results" / "reference"
README, DATA, RESULTS = ROOT / "README.md", ROOT / "data" / "README.md", ROOT / "results" / "README.md"
MARKED = re.compile(r"(<!-- table: (?P<name>[^>]*?) -->\n)(?P<body>.*?)(?=<!-- end -->)", re.DOTALL)
TABLES: dict[str, Callable[[list[Verdict]], Grid]] = {"summary": summary, "claims": counts, "licences": lambda ledger: licences()}


def generate(words: str, ledger: list[Verdict]) -> str:
    """`words` with every marked table made anew; ValueError names a marker that there is not."""
    def anew(found: re.Match) -> str:
        if found["name"] not in TABLES:
            raise ValueError(f"a marker names table {found['name']!r}, which there is not; write one of {', '.join(TABLES)}")
        return f"{found[1]}{markdown(TABLES[found['name']](ledger))}\n"

    return MARKED.sub(anew, words)


def pages(report: Report) -> dict[Path, str]:
    """What each page should be."""
    marked = {path: generate(path.read_text(encoding="utf-8"), report.ledger) for path in (README, DATA)}
    return marked | {RESULTS: text(report)}


def main() -> None:
    for path, words in pages(collect(REFERENCE)).items():
        write_text(path, words)


if __name__ == "__main__":
    main()
