"""The report's files: HTML, Markdown, CSV and LaTeX, each written whole or not at all."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from lib.report.contents import Found, Report
from lib.report.grids import NOTHING, Grid, grid, latex, markdown
from lib.report.numbers import minus
from lib.report.page import ABOUT, TITLE, page
from lib.report.sections import LEGEND, Section
from lib.tables import claims
from lib.files import replace_atomically


def write_all(report: Report, folder: str | Path) -> list[Path]:
    """<folder>/report.html, <folder>/report.md and <folder>/tables/*; returns the paths."""
    folder = Path(folder)
    write_html(report, folder / "report.html")
    _write(folder / "report.md", whole(report))
    return [folder / "report.html", folder / "report.md", *write_tables(report, folder / "tables")]


def write_html(report: Report, path: str | Path) -> Path:
    """The report as one HTML file."""
    return _write(Path(path), page(report))


def write_tables(report: Report, folder: str | Path) -> list[Path]:
    """ledger.{md,csv,tex}, and <table>-<dataset>-<preset>.{md,csv,tex} for every table and group; returns the paths.

    Where two groups differ in their device alone, its kind ends the names.
    """
    folder = Path(folder)
    shown = ledger_grid(report.ledger)
    paths = [_write(folder / "ledger.md", f"{ledger_text(report)}\n"), _write_frame(folder / "ledger.csv", ledger_numbers(report.ledger)),
             _write(folder / "ledger.tex", latex(shown, "The ledger of claims: what fails stands first.",
                                                 widths=(.08, .2, .14, .1, .1, .08, .14, .05)))]
    for one in report.sections:
        words = f"{one.table.title}. {one.caption}\n{LEGEND}"
        paths += [_write(folder / f"{one.stem}.md", f"{section_text(one)}\n"), _write_frame(folder / f"{one.stem}.csv", pd.DataFrame(one.numbers)),
                  _write(folder / f"{one.stem}.tex", "\n".join(latex(part, words) for part in (one.main, one.pairs) if part))]
    return paths


def _write(path: Path, words: str) -> Path:
    replace_atomically(path, lambda temporary: temporary.write_text(words, encoding="utf-8"))
    return path


def _write_frame(path: Path, frame: pd.DataFrame) -> Path:
    replace_atomically(path, lambda temporary: frame.to_csv(temporary, index=False))
    return path


# --- the ledger ---------------------------------------------------------------------------------------------------------


def ledger_grid(found: list[Found]) -> Grid:
    """One line for each claim, data set, preset and device; what fails stands first."""
    head = ("verdict", "claim", "source", "data", "statistic", "claimed", "estimate", "p (Holm)")
    lines = [[one.verdict.verdict, one.verdict.claim.sentence, one.verdict.claim.source, one.where or NOTHING, one.verdict.claim.statistic,
              one.verdict.claim.region, minus(claims.text(one.verdict)) if one.verdict.found else one.verdict.reason, claims.p_text(one.verdict)]
             for one in found]
    return grid(head, lines, numeric=False)


def ledger_numbers(found: list[Found]) -> pd.DataFrame:
    """The same with plain numbers."""
    lines = []
    for place in found:
        one, about = place.verdict, place.verdict.claim
        interval = one.found.interval if one.found else None
        lines.append({
            "verdict": one.verdict, "key": about.key, "claim": about.sentence, "source": about.source, "table": about.table, "kind": about.kind,
            "statistic": about.statistic, "unit": about.unit, "claimed_low": about.low, "claimed_high": about.high, "published": about.published,
            "dataset": one.dataset, "is_twin": one.is_twin if one.dataset else None, "preset": one.preset, "device": place.device,
            "estimate": interval.mean if interval else None, "estimate_low": interval.low if interval else None,
            "estimate_high": interval.high if interval else None, "n": one.found.n if one.found else None,
            "sample_unit": one.unit if one.found else None, "clusters": one.found.clusters if one.found else None,
            "seeds": one.found.seeds if one.found else None, "training_noise": one.found.trainings if one.found else None,
            "p": one.p if one.found else None, "p_holm": one.p_holm if one.found else None, "reason": one.reason})
    return pd.DataFrame(lines)


def ledger_text(report: Report) -> str:
    """The ledger as Markdown, its counts first."""
    counted = ", ".join(f"{count} {name}" for name, count in report.counts.items())
    return f"Claims: {counted}. ±: 95 %, before Holm's correction of p.\n\n{markdown(ledger_grid(report.ledger))}"


# --- Markdown -----------------------------------------------------------------------------------------------------------


def section_text(one: Section) -> str:
    parts = [f"{one.table.title}. {one.caption} {LEGEND}", *one.warnings, markdown(one.main)]
    parts += [f"Not run: {', '.join(one.missing)}."] if one.missing else []
    parts += ["Between rows, paired:", markdown(one.pairs)] if one.pairs else []
    parts += ["Published, quoted from the source named:", markdown(one.quoted)] if one.quoted else []
    return "\n\n".join(parts)


def whole(report: Report) -> str:
    """Everything but the pictures."""
    parts = [f"# {TITLE}", ABOUT, " · ".join(report.data + report.facts)]
    parts += ["**There are no finished records here.**"] if not report.stored.groups else []
    parts += ["**Preset smoke: these numbers mean nothing.**"] if report.stored.meaningless else []
    parts += [_list(report.problems)] if report.problems else []
    parts += ["## 1 · What holds and what does not", ledger_text(report), "### Sentences that records cannot decide",
              _list(f"{one.sentence} ({one.source}): {one.why}." for one in report.left_out), "## 2 · Tables"]
    for one in report.sections:
        parts += [f"### {one.table.title}: {one.group.where}", section_text(one)]
    shown = [f"`figures/{figure.path.name}`: {figure.caption}" for found in report.figures.values() for figure in found]
    parts += ["## 3 · Figures", _list(shown) or "None.", "## 4 · Deviations from papers and releases"]
    for system in dict.fromkeys(one.system for one in report.deviations):
        found = [one for one in report.deviations if one.system == system]
        parts += [f"### {system}", *(f"{one.heading} (`{one.origin}`)\n\n{_list(one.texts)}" for one in found)]
    for name, grids in (("5 · Provenance", [report.provenance]), ("6 · Cost", [report.cost, report.disk]),
                        ("7 · Not run, and why", [report.not_run])):
        parts += [f"## {name}", *(markdown(one) for one in grids if one.lines)]
    return "\n\n".join(parts) + "\n"


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def summary(report: Report) -> str:
    """For a terminal: counts, and what is to be known first."""
    counted = ", ".join(f"{count} {name}" for name, count in report.counts.items())
    return "\n".join([f"Claims: {counted}", *(f"  to know first: {line}" for line in report.problems)])
