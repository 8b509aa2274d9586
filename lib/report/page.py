"""The report as one HTML file: what `page.html` is filled with, and what it needs to say it in HTML."""

import base64
import hashlib
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable
from importlib import resources

import jinja2
from markupsafe import Markup, escape

from lib import claims, tables
from lib.claims.decide import NOT_A_TWIN, NOT_COMPARABLE, NOT_RUN, Verdict, ledger_grid
from lib.claims.verdicts import FAILS, HOLDS, UNDECIDED
from lib.report.contents import Report
from lib.report.gallery import embed
from lib.results.filled import LEGEND, Filled
from lib.results.grids import Grid, Mark, Text, grid

HOLM = ("A claim *holds* where the records say that its mean lies in the region claimed, *fails* where they say that it lies outside, and is "
        "*undecided* else: at 5 %, after Holm's correction over the claims of one table on one data set. Intervals are those before the correction. "
        "Sizes are never decided on a twin.")
TWIN = ("A *twin* is a small set of pictures drawn by a program, in the layout of the real data set. It tells which method is better at its task, "
        "and not by how many centimetres or points of the paper's.")
COST = "Seconds are summed over rows and seeds. Several rows are computed side by side, so this is not how long one waits."
WORDS = {
    "LEGEND": LEGEND,
    "TITLE": "Spatial attention in vision: the papers' tables again",
    "ABOUT": "What “Learning to Zoom”, EML-NET, Mr-CNN and salience region proposal say, and what came out when their tables were computed again. "
             "Everything below is made from finished records with their per-sample values; nothing is edited by hand.",
    "TWIN": f"{TWIN} What holds on twins need not hold on photographs.",
    "VERDICTS": f"{HOLM} The region is shaded, the bar is the interval. A single seed confirms the reference's verdict or leaves it open. "
                "Beside what is undecided stands how many seeds would decide it, were mean and noise to stay as they are. "
                "More than a hundred: training is not what it lacks; the difference is close to nothing, or the test pictures are too few for it.",
    "MARKS": " What stands under a column's name goes for each of its cells that says nothing else."
             " At a row's end stands how many claims about it hold (✓), fail (✗) or are undecided (?).",
    "PROVENANCE": "From the records, by group. Names of machines are left out. The records of one table should come from one commit without "
                  "uncommitted changes; where they do not, it is said at the top.",
    "COST": f"{COST} Each row had the number of threads named. Rows that two tables share are counted once.",
    "ABSENT": "Rows, seeds, presets and data sets of which there is no record, and why as far as files can tell. Claims that were not run are "
              "listed in section 1."}
SECTIONS = (("ledger", "What holds"), ("tables", "Tables"), ("figures", "Figures"), ("deviations", "Deviations"), ("provenance", "Provenance"),
            ("cost", "Cost"), ("not-run", "Not run"))
TITLES = {FAILS: "What fails", UNDECIDED: "Undecided", HOLDS: "What holds"}
SIGNS = {FAILS: "✗", UNDECIDED: "?", HOLDS: "✓", NOT_RUN: "○", NOT_COMPARABLE: "≠", NOT_A_TWIN: "–"}
LONG = 44  # letters of a text from which on it is wrapped
TEX = {r"\times": "×", r"\pm": "±", r"\sigma": "σ", r"\tau": "τ", r"\log": "log", r"\le": "≤", r"\ge": "≥", r"\to": "→", r"\cdot": "·", r"\,": " "}
PAPERS = {"Liu et al.": "Mr-CNN", "JasmineLi-805/cse490-DeepLearning-Project": "Salience region proposal",  # else as tables name them
          "A question of this repository": "this repository"}
WIDTH, MARGIN = 272, 14  # of a claim's plot, in pixels


def page(report: Report) -> str:
    """The whole file."""
    shown = [figure for found in report.figures.values() for figure in found]
    untested = {name: ledger_grid([one for one in report.ledger if one.verdict == name], ("claim", "source", "data", "claimed", "why"))
                for name in (NOT_RUN, NOT_COMPARABLE, NOT_A_TWIN)}
    left_out = grid(["sentence", "source", "why it is not tested"], [[one.sentence, one.source, one.why] for one in claims.left_out()], numeric=False)
    filters = (inline, unbroken, kinds, plot, spans, by_verdict, all_marks, common_notes, verdicts, tagged, tagged_table)
    engine = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, loader=jinja2.FunctionLoader(source))
    engine.filters |= {one.__name__: one for one in filters} | {"css": lambda verdict: verdict.replace(" ", "-")}
    script = Markup(source("page.js"))
    return engine.get_template("page.html").render(
        script=script, policy=policy(script), choices=choices(report),
        report=report, words=WORDS, sections=SECTIONS, titles=TITLES, signs=SIGNS, css=Markup(source("page.css")), claims=claims.ledger(),
        tested=len({one.claim.key for one in report.ledger if one.verdict in claims.TESTED}), untested=untested, left_out=left_out, starts=starts,
        pictures=dict(zip([figure.path for figure in shown], embed(shown), strict=True)))


def policy(script: str) -> str:
    """What a browser lets the page do: show its own style and pictures and run this script; no request to anywhere."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def source(name: str) -> str:
    return resources.files("lib.report").joinpath(name).read_text(encoding="utf-8")


# --- texts --------------------------------------------------------------------------------------------------------------


def inline(words: str) -> Markup:
    """The little Markdown that docstrings and notebooks use: `code`, **bold**, *emphasis*, links by their text, simple formulas."""
    found = str(escape(re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", words)))
    parts = re.split(r"(``?[^`]+``?)", found)
    return Markup("".join(f"<code>{part.strip('`')}</code>" if part.startswith("`") else _emphasis(part) for part in parts))


def _emphasis(part: str) -> str:
    part = re.sub(r"(?<=\d) (?=%)", "\N{NO-BREAK SPACE}", part)
    part = re.sub(r"\$([^$]+)\$", lambda match: f"<i>{formula(match[1])}</i>", part)
    part = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", part)
    return re.sub(r"(?<![\w*])\*([^*\s][^*]*)\*(?![\w*])", r"<em>\1</em>", part)


def formula(words: str) -> str:
    """A formula of TeX in plain letters, as far as that goes."""
    for name, letter in TEX.items():
        words = re.sub(re.escape(name) + r"(?![a-zA-Z])", letter, words)
    return words


def unbroken(note: str) -> str:
    """A note that is broken between its parts, never between a number and its unit."""
    return re.sub(r"(?<!,)\s(?!\()", "\N{NO-BREAK SPACE}", note)


# --- tables -------------------------------------------------------------------------------------------------------------


def starts(shown: Grid) -> list[bool]:
    """Whether a column is the first of its group."""
    return [i > 0 and bool(group) and shown.head[i - 1][0] != group for i, (group, _) in enumerate(shown.head)]


def spans(shown: Grid) -> list[tuple[str, int]]:
    """The groups above a grid's names, with how many columns each has."""
    return [(group, len(list(members))) for group, members in itertools.groupby(group for group, _ in shown.head)]


def kinds(cell: Text, first: bool) -> str:
    return " ".join(["first-of-group"] * first + ["marks"] * bool(cell.marks) + ["long"] * (len(cell.text) > LONG))


def by_verdict(marks: Iterable[Mark]) -> list[tuple[str, list[Mark]]]:
    return [(verdict, [mark for mark in marks if mark.verdict == verdict]) for verdict in dict.fromkeys(mark.verdict for mark in marks)]


def all_marks(shown: Grid) -> list[Mark]:
    """Those of a table, each once, what fails first."""
    found = dict.fromkeys(mark for line in shown.lines for cell in line for mark in cell.marks)
    return sorted(found, key=lambda mark: claims.TESTED.index(mark.verdict))


def common_notes(shown: Grid) -> list[str]:
    """For each column the note that most of its noted cells share, to stand once under its name; "" where fewer than three or half of them do."""
    found = []
    for i in range(len(shown.head)):
        notes = Counter(line[i].note for line in shown.lines if line[i].note and i > 0)
        note, count = notes.most_common(1)[0] if notes else ("", 0)
        found.append(note if count >= max(3, notes.total() / 2) else "")
    return found


# --- what the filters go by ---------------------------------------------------------------------------------------------


def paper(name: str) -> str:
    """The paper that a table is of."""
    first = tables.get(name).paper.split(",")[0]
    return PAPERS.get(first, first)


def tagged(one: Verdict) -> list[tuple[str, list[str]]]:
    """A claim's verdict, data and paper."""
    asked = paper(one.claim.table) if "question of this repository" not in one.claim.source else PAPERS["A question of this repository"]
    return [("verdict", [one.verdict]), ("data", [one.group.data] if one.group else []), ("paper", [asked])]


def verdicts(line: tuple[Text, ...], shown: Grid) -> list[tuple[str, list[str]]]:
    """Those at a row's end; nothing in a table without any, whose rows a filter leaves alone."""
    bears = list(dict.fromkeys(mark.verdict for cell in line for mark in cell.marks))
    return [("verdict", bears)] if all_marks(shown) else []


def tagged_table(one: Filled, shown: Grid) -> list[tuple[str, list[str]]]:
    """A table's data, paper and the verdicts of its rows."""
    found = list(dict.fromkeys(mark.verdict for mark in all_marks(shown)))
    return [("verdict", found), ("data", [one.group.data]), ("paper", [paper(one.table.name)])]


def choices(report: Report) -> dict[str, list[str]]:
    """What can be filtered by, with what there is of it: verdicts, those that fail first; data; papers in the order of the tables."""
    tags = [dict(tagged(one)) for one in report.ledger] + [dict(tagged_table(one, one.main())) for one in report.tables]
    found = {name: list(dict.fromkeys(value for one in tags for value in one[name])) for name in ("verdict", "data", "paper")}
    return found | {"verdict": [name for name in claims.ORDER if name in found["verdict"]], "data": report.data}


def plot(one: Verdict) -> dict:
    """Where to draw the claimed region, shaded, with the estimate and its 95 % interval; an ornament beside the same in words."""
    about, interval = one.claim, one.found.interval
    known = [value for value in (0.0, about.low, about.high, interval.mean, interval.low, interval.high) if math.isfinite(value)]
    least, width = min(known), (max(known) - min(known)) or 1.0

    def x(value: float) -> float:
        place = MARGIN + (WIDTH - 2 * MARGIN) * (value - least) / width if math.isfinite(value) else math.copysign(math.inf, value)
        return round(min(float(WIDTH), max(0.0, place)), 1)

    bar = (x(interval.low), x(interval.high)) if math.isfinite(interval.half) else None
    return {"low": x(about.low), "high": x(about.high), "zero": x(0.0), "mean": x(interval.mean), "bar": bar}
