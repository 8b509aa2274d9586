"""The report as one HTML file: no script, nothing from outside, pictures inside."""

from collections.abc import Iterable
from importlib import resources

from lib import claims
from lib.claims.decide import NOT_A_TWIN, NOT_COMPARABLE, NOT_RUN, TESTED
from lib.claims.verdicts import FAILS
from lib.report import gallery
from lib.report.contents import Report
from lib.report.deviations import Deviation
from lib.report.markup import SIGNS, badge, claim, css_class, data_badge, element, inline, items, table, text
from lib.results.filled import LEGEND, Filled
from lib.results.grids import Grid, Mark, grid

TITLE = "Spatial attention in vision: the papers' tables again"
ABOUT = ("What “Learning to Zoom”, EML-NET, Mr-CNN and salience region proposal say, and what came out when their tables were computed again. "
         "Everything below is made from finished records with their per-sample values; nothing is edited by hand.")
TWIN = ("Synthetic twins are small data sets drawn by a program, in the layout of the real ones. They can tell which of two networks is better at "
        "the task that they pose. They cannot tell the centimetres or points that papers report, and what holds on them need not hold on "
        "photographs.")
VERDICTS = ("A claim states in which region a mean lies (shaded). It **holds** where the records say so, **fails** where they say that the mean lies "
            "outside, and is **undecided** else, at 5 % after Holm's correction over the claims of one table on one data set and preset. The bar is "
            "the 95 % interval before that correction.")
MARKS = " At a row's end stands how many claims about it hold (✓), fail (✗) or are undecided (?)."
PROVENANCE = ("From the records, by group. Names of machines are left out. The records of one table should come from one commit without uncommitted "
              "changes; where they do not, it is said at the top.")
COST = ("Seconds are summed over rows and seeds, each computed with the number of threads named. Several rows may have been computed side by side, "
        "so this is not how long one waits. Rows that two tables share are counted once.")
ABSENT = ("Rows, seeds, presets and data sets of which there is no record, and why as far as files can tell. Claims that were not run are listed in "
           "section 1.")
SECTIONS = (("ledger", "What holds"), ("tables", "Tables"), ("figures", "Figures"), ("deviations", "Deviations"), ("provenance", "Provenance"),
            ("cost", "Cost"), ("not-run", "Not run"))
TITLES = {"fails": "What does not hold", "undecided": "Undecided", "holds": "Holds"}


def page(report: Report) -> str:
    """The whole file."""
    css = resources.files("lib.report").joinpath("page.css").read_text(encoding="utf-8")
    parts = (ledger, tables, figures, deviations, provenance, cost, not_run)
    head = "\n".join(['<meta charset="utf-8">', '<meta name="viewport" content="width=device-width, initial-scale=1">',
                      '<meta name="color-scheme" content="light dark">', f"<title>{text(TITLE)}</title>", f"<style>\n{css}</style>"])
    body = "\n".join([top(report), "<main>", *(part(report) for part in parts), "</main>", foot(report)])
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{body}\n</body>\n</html>\n'


def heading(name: str, words: str) -> str:
    return f'<h2 id="{name}">{text(words)}</h2>'


def paragraph(words: str, kind: str = "") -> str:
    return element("p", inline(words), class_=kind)


def links(found: list[tuple[str, str]], label: str) -> str:
    """A list of (anchor, HTML) as a navigation."""
    return element("nav", items(f'<a href="#{text(name)}">{words}</a>' for name, words in found), aria_label=label) if found else ""


def top(report: Report) -> str:
    badges = [data_badge(data) for data in report.data] + [badge(fact) for fact in report.facts]
    twins = f'<div class="notice twin">{paragraph(TWIN)}</div>' if any(group.is_twin for group in report.stored.groups) else ""
    counts = items((f'<a class="{css_class(name)}" href="#verdict-{css_class(name)}"><b>{count}</b><span>{SIGNS[name]} {text(name)}</span></a>'
                    for name, count in report.counts.items()), "counts")
    ways = links([(name, text(words)) for name, words in SECTIONS], "Sections")
    return f"<header><h1>{text(TITLE)}</h1>{paragraph(ABOUT)}{items(badges, 'badges')}{_notices(report)}{twins}{counts}{ways}</header>"


def _notices(report: Report) -> str:
    """What must be known before any number is read."""
    found, count = [], len(report.problems)
    if not report.stored.groups:
        found.append(paragraph("**There are no finished records here.** Run `python -m lib run`, or `python -m lib table NAME`, then this report "
                               "again."))
    if report.stored.meaningless:
        found.append(paragraph("**Preset smoke: these numbers mean nothing.** They only show that everything runs."))
    if report.problems:
        what = "One thing" if count == 1 else f"{count} things"
        found.append(paragraph(f"**{what} to know about these records**") + items(text(problem) for problem in report.problems))
    return "".join(f'<div class="notice">{one}</div>' for one in found)


# --- the ledger ---------------------------------------------------------------------------------------------------------


def ledger(report: Report) -> str:
    tested = {one.claim.key for one in report.ledger if one.verdict in TESTED}
    count = f"{len(claims.ledger())} claims of papers and READMEs, {len(tested)} of them tested here, on each data set, preset and device apart."
    parts = [heading("ledger", "1 · What holds and what does not"), paragraph(f"{count} {VERDICTS}")]
    for name in TESTED:
        found = [one for one in report.ledger if one.verdict == name]
        nothing = "Nothing was tested." if not tested else "No claim that was tested fails." if name == FAILS else "None."
        parts += [f'<h3 id="verdict-{css_class(name)}">{SIGNS[name]} {text(TITLES[name])} ({len(found)})</h3>',
                  element("ul", "\n".join(map(claim, found)), class_="claims") if found else paragraph(nothing, "soft")]
    for name in (NOT_RUN, NOT_COMPARABLE, NOT_A_TWIN):
        parts.append(_untested(name, [one for one in report.ledger if one.verdict == name]))
    left = grid(["sentence", "source", "why it is not tested"], [[one.sentence, one.source, one.why] for one in claims.left_out()], numeric=False)
    parts.append(folded(f"Sentences that records cannot decide ({len(left.lines)})", table(left, "Sentences left out")))
    return f"<section>{''.join(parts)}</section>"


def _untested(name: str, found: list[claims.Verdict]) -> str:
    shown = grid(["claim", "source", "data", "claimed", "why"], [
        [one.claim.sentence, one.claim.source, one.where or "–", one.claim.region, one.reason] for one in found],
        numeric=False)
    title = f"{SIGNS[name]} {name[:1].upper()}{name[1:]} ({len(found)})"
    return folded(title, table(shown, name) if found else paragraph("None.", "soft"), id=f"verdict-{css_class(name)}")


def folded(title: str, inside: str, **attributes: str) -> str:
    """What is closed until somebody opens it."""
    return element("details", f"<summary>{inline(title)}</summary>{inside}", **attributes)


# --- tables and figures -------------------------------------------------------------------------------------------------


def tables(report: Report) -> str:
    found = [(one.stem, f'{text(one.table.title)} <span class="soft">{text(one.group.where)}</span>') for one in report.tables]
    nothing = "" if report.tables else paragraph("No row was run.", "soft")
    legend = paragraph(LEGEND + MARKS) if report.tables else ""
    return f"<section>{heading('tables', '2 · Tables')}{legend}{links(found, 'Tables')}{nothing}{''.join(map(_table, report.tables))}</section>"


def _table(one: Filled) -> str:
    where = f"{one.table.title}, {one.group.where}"
    badges = [data_badge(one.group.data), badge(f"preset {one.group.preset}"), badge(one.group.device)]
    parts = [f'<h3 id="{text(one.stem)}">{text(one.table.title)}</h3>', items(badges, "badges"), paragraph(one.about, "caption")]
    parts += [f'<div class="notice">{items(map(text, warnings))}</div>'] if (warnings := one.warnings()) else []
    main, pairs, quoted = one.main(), one.comparisons(), one.quoted()
    parts.append(table(main, where))
    if verdicts := unique(mark for line in main.lines for cell in line for mark in cell.marks):
        listed = items(f'<a href="#{text(mark.target)}">{SIGNS[mark.verdict]} {text(mark.verdict)}</a>: {text(mark.title)}' for mark in verdicts)
        parts.append(folded(f"Claims about these rows ({len(verdicts)})", listed))
    if one.missing:
        parts.append(element("p", f"Not run: {text(', '.join(one.missing))}.", class_="caption"))
    if pairs:
        parts.append(f"<h4>Between rows, paired</h4>{table(pairs, f'Between rows: {where}')}")
    if quoted:
        parts.append(f"<h4>Published, quoted from the source named</h4>{table(quoted, f'Published: {where}')}")
    return f"<section>{''.join(parts)}</section>"


def unique(marks: Iterable[Mark]) -> list[Mark]:
    """Each once, what fails first."""
    return sorted(dict.fromkeys(marks), key=lambda mark: TESTED.index(mark.verdict))


def figures(report: Report) -> str:
    everything = [figure for found in report.figures.values() for figure in found]
    embedded = dict(zip([figure.path for figure in everything], gallery.embed(everything), strict=True))
    parts = [heading("figures", "3 · Figures")]
    if not everything:
        parts.append(paragraph("There are no figures here; the notebooks draw them.", "soft"))
    for title, found in report.figures.items():
        parts.append(f'<h3>{inline(title)}</h3><div class="gallery">{"".join(_figure(one, embedded[one.path]) for one in found)}</div>')
    return f"<section>{''.join(parts)}</section>"


def _figure(figure: gallery.Figure, shown: gallery.Embedded | None) -> str:
    width, height = figure.size
    caption = f"{inline(figure.caption)} · <code>{text(figure.path.stem)}</code>"
    if shown is None:
        return f"<figure><figcaption>{caption} is too large to be shown here.</figcaption></figure>"
    image = (f'<img src="{shown.url}" width="{shown.width}" height="{shown.height}" loading="lazy" decoding="async" '
             f'alt="{text(figure.caption)} ({text(figure.path.stem)})">')
    return element("figure", f"{image}<figcaption>{caption}</figcaption>", class_="wide" if width > 2.1 * height else "")


# --- the rest -----------------------------------------------------------------------------------------------------------


def deviations(report: Report) -> str:
    parts = [heading("deviations", "4 · Deviations from papers and releases"),
             paragraph("In the words of the notebooks and modules themselves; what they do not say is not here.", "soft")]
    for system in dict.fromkeys(one.system for one in report.deviations):
        parts += [f"<h3>{text(system)}</h3>", *(_deviation(one) for one in report.deviations if one.system == system)]
    return f"<section>{''.join(parts)}</section>"


def _deviation(one: Deviation) -> str:
    origin = f'<span class="soft">in <code>{text(one.origin)}</code></span>'
    return f"<details><summary>{inline(one.heading)} {origin}</summary>{items(map(inline, one.texts))}</details>"


def _shown(name: str, words: str, about: str, *grids: Grid) -> str:
    made = "".join(table(one, words) if one else paragraph("None.", "soft") for one in grids)
    return f"<section>{heading(name, words)}{paragraph(about, 'soft')}{made}</section>"


def provenance(report: Report) -> str:
    return _shown("provenance", "5 · Provenance", PROVENANCE, report.provenance)


def cost(report: Report) -> str:
    return _shown("cost", "6 · Cost", COST, report.cost, report.disk)


def not_run(report: Report) -> str:
    return _shown("not-run", "7 · Not run, and why", ABSENT, report.not_run)


def foot(report: Report) -> str:
    words = f"Written by `python -m lib report` on {report.made}. The same tables lie in `tables/` as Markdown, CSV and LaTeX."
    return f"<footer>{paragraph(words)}</footer>"
