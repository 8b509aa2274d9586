"""The report's files: HTML, Markdown, CSV and LaTeX, each written whole or not at all."""

from collections.abc import Iterable
from pathlib import Path

from lib import claims
from lib.claims.decide import ledger_grid, ledger_numbers
from lib.report.contents import Report
from lib.report.deviations import by_system
from lib.report.page import WORDS, page
from lib.results.filled import write_text
from lib.results.grids import latex, markdown
from lib.results.statistics import METHOD

WIDTHS = (.08, .18, .13, .09, .1, .08, .14, .05, .06)  # of the ledger's columns in LaTeX


def write_all(report: Report, folder: str | Path) -> list[Path]:
    """<folder>/report.html, <folder>/report.md and <folder>/tables/*; returns the paths."""
    folder = Path(folder)
    return [write_text(folder / "report.html", page(report)), write_text(folder / "report.md", whole(report)),
            *write_tables(report, folder / "tables")]


def write_tables(report: Report, folder: str | Path) -> list[Path]:
    """ledger.{md,csv,tex}, and <table>-<dataset>-<preset>.{md,csv,tex} for every table and group; returns the paths."""
    folder, title = Path(folder), "The ledger of claims: what fails stands first."
    ledger = {".md": f"{ledger_text(report)}\n", ".csv": ledger_numbers(report.ledger).to_csv(index=False),
              ".tex": latex(ledger_grid(report.ledger), title, widths=WIDTHS)}
    return [*(write_text(folder / f"ledger{suffix}", words) for suffix, words in ledger.items()),
            *(path for one in report.tables for path in one.write(folder))]


def ledger_text(report: Report) -> str:
    """The ledger as Markdown, its counts first."""
    return f"Claims: {counted(report)}. {METHOD} Before Holm's correction of p.\n\n{markdown(ledger_grid(report.ledger))}"


def counted(report: Report) -> str:
    return ", ".join(f"{count} {name}" for name, count in report.counts.items())


def whole(report: Report) -> str:
    """Everything but the pictures, as Markdown."""
    parts = [f"# {WORDS['TITLE']}", WORDS["ABOUT"], " · ".join(report.data + report.facts)]
    parts += ["**There are no finished records here.**"] if not report.stored.groups else []
    parts += ["**Preset smoke: these numbers mean nothing.**"] if report.stored.meaningless else []
    parts += [_list(report.problems)] if report.problems else []
    parts += ["## 1 · What holds and what does not", ledger_text(report), "### Sentences that records cannot decide",
              _list(f"{one.sentence} ({one.source}): {one.why}." for one in claims.left_out()), "## 2 · Tables"]
    for one in report.tables:
        parts += [f"### {one.table.title}: {one.group.where}", one.markdown()]
    shown = [f"`figures/{figure.path.name}`: {figure.caption}" for found in report.figures.values() for figure in found]
    parts += ["## 3 · Figures", _list(shown) or "None.", "## 4 · Deviations from papers and releases"]
    for system, found in by_system(report.deviations).items():
        parts += [f"### {system}", *(f"{one.heading} (`{one.origin}`)\n\n{_list(one.texts)}" for one in found)]
    for name, grids in (("5 · Provenance", [report.provenance]), ("6 · Cost", [report.cost, report.disk]),
                        ("7 · Not run, and why", [report.not_run])):
        parts += [f"## {name}", *(markdown(one) for one in grids if one)]
    return "\n\n".join(parts) + "\n"


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def summary(report: Report) -> str:
    """For a terminal: counts, and what is to be known first."""
    return "\n".join([f"Claims: {counted(report)}", *(f"  to know first: {line}" for line in report.problems)])
