"""The report's files: HTML, Markdown, CSV and LaTeX, each written whole or not at all; and results/README.md, the same page of committed records.

That page has no day or commit of its own, so that the same records give the same page.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from lib import claims
from lib.claims.decide import Verdict, ledger_grid, ledger_numbers
from lib.files import write_text
from lib.report.contents import Report
from lib.report.page import COST, HOLM, TITLES, TWIN, WORDS, page
from lib.report.sources import SOURCES, title
from lib.results.filled import Filled
from lib.results.grids import NOTHING, Grid, grid, latex, markdown
from lib.results.records import short
from lib.results.statistics import METHOD

WIDTHS = (.08, .18, .13, .09, .1, .08, .14, .05, .06)  # of the ledger's columns in LaTeX
WEIGHTS = {  # name -> where it was trained: table, data set and row
    "inaturalist-twin-sampler": ("inaturalist", "twin", "sampler"),
    "emlnet-osie-decoder": ("salicon", "osie", "decoder"),  # `predict` and notebook 00 expect these names
    "mrcnn-osie-three": ("mrcnn", "osie", "three"),
}
HEAD = """# Results

What the committed records give: tables, verdicts, pictures, cost. `python -m lib.report.readme` writes this page from
[reference/](reference/), and a test compares them; nothing is typed in. How the recipes were chosen, and what had to be tried first, is in
[reference/HISTORY.md](reference/HISTORY.md). Your own run never reads these records: it ends with a page like this one, `results/report.html`, and
`make check` sets the two side by side."""
VERDICTS = ("claim, its source, and the statistic", "data", "claimed", "estimate", "p (Holm)", "would decide")
CUT = "A share's interval ends at 0 and 100 %."


def write_all(report: Report, folder: str | Path) -> list[Path]:
    """<folder>/report.html, <folder>/report.md and <folder>/tables/*; returns the paths."""
    folder = Path(folder)
    tables = write_tables(report, folder / "tables")
    return [write_text(folder / "report.html", page(report)), write_text(folder / "report.md", text(report, folder, own=True)), *tables]


def write_tables(report: Report, folder: str | Path) -> list[Path]:
    """ledger.{md,csv,tex}, and <table>-<dataset>-<preset>.{md,csv,tex} for every table and group; returns the paths."""
    folder, shown = Path(folder), ledger_grid(report.ledger)
    ledger = {".md": f"Claims: {counted(report)}. {METHOD} Before Holm's correction of p.\n\n{markdown(shown)}\n",
              ".csv": ledger_numbers(report.ledger).to_csv(index=False),
              ".tex": latex(shown, "The ledger of claims: what fails stands first.", widths=WIDTHS)}
    return [*(write_text(folder / f"ledger{suffix}", words) for suffix, words in ledger.items()),
            *(path for one in report.tables for path in one.write(folder))]


def counted(report: Report) -> str:
    return ", ".join(f"{count} {name}" for name, count in report.counts.items())


def summary(report: Report) -> str:
    """For a terminal: counts, and what is to be known first."""
    return "\n".join([f"Claims: {counted(report)}", *(f"  to know first: {line}" for line in report.problems)])


def text(report: Report, folder: Path, *, own: bool = False) -> str:
    """The whole page, to lie in `folder`; own: of somebody's own run, with what is to be known of that first."""
    place = os.path.relpath(report.folder, folder)
    head = _of_own(report) if own else [HEAD]
    parts = [*head, "## What ± means", f"{METHOD} {CUT}", "## Claims", TWIN, HOLM, markdown(counts(report.ledger))]
    for verdict, heading in TITLES.items():
        found = [one for one in report.ledger if one.verdict == verdict]
        parts += [f"### {heading} ({len(found)})", markdown(ledger_grid(found, VERDICTS))]
    untested = ledger_grid([one for one in report.ledger if one.verdict not in claims.TESTED], ("claim", "data", "verdict", "why"))
    parts += ["### Not tested", _folded("Claims that no record here can test, and why", markdown(untested)),
              _folded("Sentences that records cannot decide", markdown(grid(["sentence", "source", "why"], [
                  [one.sentence, one.source, one.why] for one in claims.left_out()], numeric=False)))]
    parts += ["## Tables", *(part for one in report.tables for part in _table(one, report.folder, place))]
    parts += ["## Figures", *_figures(report, place), *_weights(report, place)]
    parts += ["## Where this deviates from papers and releases", "In the words of the modules and notebooks themselves.", *_deviations(report)]
    parts += ["## Cost", COST, markdown(report.cost), *([markdown(report.disk)] if own else []), "## Provenance", markdown(report.provenance),
              "## Not run, and why", markdown(report.not_run)]
    return "\n\n".join(parts) + "\n"


def _of_own(report: Report) -> list[str]:
    parts = [f"# {WORDS['TITLE']}", WORDS["ABOUT"], " · ".join(report.data + report.facts)]
    parts += ["**There are no finished records here.**"] if not report.stored.groups else []
    parts += ["**Preset smoke: these numbers mean nothing.**"] if report.stored.meaningless else []
    return parts + (["\n".join(f"- {line}" for line in report.problems)] if report.problems else [])


def counts(ledger: Iterable[Verdict]) -> Grid:
    """How many claims fail, are undecided and hold, twins together, every real data set apart."""
    found = Counter((one.group.is_twin, "" if one.group.is_twin else one.group.dataset, one.verdict)
                    for one in ledger if one.group is not None and one.verdict in claims.TESTED)
    return grid(["claims on", *claims.TESTED], [["the twins" if twin else title(data), *(str(found[twin, data, name]) for name in claims.TESTED)]
                                                for twin, data in sorted({(twin, data) for twin, data, _ in found})])


def _folded(heading: str, words: str) -> str:
    return f"<details><summary>{heading}</summary>\n\n{words}\n\n</details>"


def _table(one: Filled, folder: Path, place: str) -> list[str]:
    """A table with what stands under it, and its files where they lie there, else with how many each ± is over."""
    names = [f"{one.stem}{suffix}" for suffix in (".md", ".csv", ".tex")]
    files = [f"[{name.rpartition('.')[2]}]({place}/tables/{name})" for name in names if (folder / "tables" / name).is_file()]
    marked = " At a row's end stands how many claims about it hold, fail or are undecided." if one.marks else ""
    counted = f" With how many each ± is over: {', '.join(files)}." * bool(files)
    return [f"### {one.table.title}: {one.group.where}", f"{one.about}{marked}{counted}", *one.parts(notes=not files)]


def _figures(report: Report, place: str) -> list[str]:
    parts = []
    for heading, found in report.figures.items():
        parts.append(f"### {heading}")
        parts += [f"![{re.sub(r'[][]', '', one.caption)}]({place}/figures/{one.path.name})\n\n{one.caption}" for one in found]
    front = report.folder / "figures" / "front.json"
    if front.is_file():
        about = json.loads(front.read_text(encoding="utf-8"))
        sources = "; ".join(f"{one['photograph']} ({one['licence']}, `{one['file']}`)" for one in about["photographs"])
        parts += ["### README's first picture",
                  f"[front.jpg]({place}/figures/front.jpg), drawn by `{about['made by']}` with `{about['weights']}` "
                  f"(SHA-256 {about['sha256 of the weights'][:12]}…). Photographs: {sources}."]
    return parts + ["All other pictures are drawn by the notebooks, from drawn pictures but where their title names a real data set."]


def _weights(report: Report, place: str) -> list[str]:
    """Every committed file of weights: what it is, what it was trained on, at which commit, and what that data set's licence asks."""
    lines, licence = [], {one.name: one.licence for one in SOURCES}
    for path in sorted((report.folder / "weights").glob("*.safetensors")):
        where = WEIGHTS.get(path.stem)
        records = [item.record for item in report.stored.items
                   if (item.record.table, item.record.dataset, item.record.row, item.record.seed) == (*(where or ()), 0)]
        what = f"`{where[0]}`, row `{where[2]}`, seed 0" if where else f"see its [card]({place}/weights/{path.stem}.md)"
        data = NOTHING if where is None else "drawn pictures" if where[1] == "twin" else f"{title(where[1])} ({licence[where[1]]})"
        lines.append([f"`{path.name}`", what, data, short(records[0].provenance.get("commit")) if records else NOTHING])
    about = "Under this repository's MIT licence, as far as the data that they were trained on allow. SHA-256 sums lie beside them."
    return ["## Weights", about, markdown(grid(["file", "trained as", "data", "commit"], lines, numeric=False))] if lines else []


def _deviations(report: Report) -> list[str]:
    parts = []
    for system, found in report.deviations.items():
        words = "\n\n".join(f"{one.heading} (`{one.origin}`)\n\n" + "\n".join(f"- {line}" for line in one.texts) for one in found)
        parts.append(_folded(f"{system} ({sum(len(one.texts) for one in found)})", words))
    return parts
