"""Pieces of HTML: escaped texts, tables, and what a claim says beside what was found, as a picture of one line."""

import html
import itertools
import math
import re
from collections.abc import Iterable

from lib.claims.decide import NOT_A_TWIN, NOT_COMPARABLE, NOT_RUN, Verdict
from lib.claims.verdicts import FAILS, HOLDS, UNDECIDED
from lib.results.grids import Grid, Text

SIGNS = {FAILS: "✗", UNDECIDED: "?", HOLDS: "✓", NOT_RUN: "○", NOT_COMPARABLE: "≠", NOT_A_TWIN: "–"}
LONG = 44  # letters of a text from which on it is wrapped
TEX = {r"\times": "×", r"\pm": "±", r"\sigma": "σ", r"\tau": "τ", r"\log": "log", r"\le": "≤", r"\ge": "≥", r"\to": "→", r"\cdot": "·", r"\,": " "}


def css_class(verdict: str) -> str:
    return verdict.replace(" ", "-")


def text(plain: str) -> str:
    """Escaped, for text and attributes alike."""
    return html.escape(str(plain), quote=True)


def inline(source: str) -> str:
    """The little Markdown that docstrings and notebooks use: `code`, **bold**, *emphasis*, links by their text, simple formulas."""
    found = text(re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", source))
    parts = re.split(r"(``?[^`]+``?)", found)
    return "".join(f"<code>{part.strip('`')}</code>" if part.startswith("`") else _emphasis(part) for part in parts)


def _emphasis(part: str) -> str:
    part = re.sub(r"\$([^$]+)\$", lambda match: f"<i>{formula(match[1])}</i>", part)
    part = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", part)
    return re.sub(r"(?<![\w*])\*([^*\s][^*]*)\*(?![\w*])", r"<em>\1</em>", part)


def formula(source: str) -> str:
    """A formula of TeX in plain letters, as far as that goes."""
    for name, letter in TEX.items():
        source = re.sub(re.escape(name) + r"(?![a-zA-Z])", letter, source)
    return source


def element(name: str, inside: str, **attributes: str) -> str:
    """A tag around HTML; `class_` is the attribute class."""
    written = "".join(f' {key.rstrip("_").replace("_", "-")}="{text(value)}"' for key, value in attributes.items() if value)
    return f"<{name}{written}>{inside}</{name}>"


def badge(words: str, kind: str = "") -> str:
    return element("span", text(words), class_=f"badge {kind}".strip())


def data_badge(data: str) -> str:
    return badge(data if data.startswith("SYNTHETIC") else f"real data: {data}", "twin" if data.startswith("SYNTHETIC") else "real")


def items(found: Iterable[str], kind: str = "list") -> str:
    """A list of HTML texts."""
    return element("ul", "".join(f"<li>{one}</li>" for one in found), class_=kind)


# --- tables -------------------------------------------------------------------------------------------------------------


def table(shown: Grid, label: str) -> str:
    """A grid in a box of its own that scrolls sideways and can be reached by keyboard."""
    body = "".join(f"<tr>{_line(shown, line)}</tr>\n" for line in shown.lines)
    whole = f"<thead>{_head(shown)}</thead>\n<tbody>{body}</tbody>"
    made = element("table", whole, class_="numeric" if shown.numeric else "words")
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{text(label)}">{made}</div>'


def _starts(shown: Grid) -> list[bool]:
    """Whether a column is the first of its group."""
    return [i > 0 and bool(group) and shown.head[i - 1][0] != group for i, (group, _) in enumerate(shown.head)]


def _head(shown: Grid) -> str:
    """One line of names; above it the groups, if there are any."""
    groups = "".join(
        f'<th colspan="{len(list(members))}" scope="colgroup">{text(group)}</th>' if group else "<th></th>" * len(list(members))
        for group, members in itertools.groupby(group for group, _ in shown.head))
    names = "".join(element("th", text(name).replace(" − ", " −&nbsp;"), scope="col", class_="first-of-group" if start else "")
                    for (_, name), start in zip(shown.head, _starts(shown), strict=True))
    return (f"<tr>{groups}</tr>\n" if any(group for group, _ in shown.head) else "") + f"<tr>{names}</tr>"


def _unbroken(note: str) -> str:
    """A note that is broken between its parts, never between a number and its unit."""
    return re.sub(r"\s(?=\()|(?<=,)\s", "<br>", text(note)).replace(" ", "&nbsp;").replace("<br>", " ")


def _line(shown: Grid, line: tuple[Text, ...]) -> str:
    first, *others = line
    made = f'<th scope="row">{text(first.text)}{f"<small>{text(first.note)}</small>" if first.note else ""}</th>'
    for cell, start, (_, name) in zip(others, _starts(shown)[1:], shown.head[1:], strict=True):
        kinds = ["first-of-group"] * start + ["marks"] * bool(cell.marks) + ["long"] * (len(cell.text) > LONG)
        note = f"<small>{_unbroken(cell.note)}</small>" if cell.note else ""
        made += element("td", f"{text(cell.text)}{note}{_marks(cell)}", class_=" ".join(kinds), data_name="" if shown.numeric else name)
    return made


def _marks(cell: Text) -> str:
    """How many claims have which verdict; each sign leads to the first of them."""
    found = ""
    for verdict in dict.fromkeys(mark.verdict for mark in cell.marks):
        of_it = [mark for mark in cell.marks if mark.verdict == verdict]
        found += element("a", f"{SIGNS[verdict]}&nbsp;{len(of_it)}", class_=f"mark {css_class(verdict)}", href=f"#{of_it[0].target}",
                         title="; ".join(mark.title for mark in of_it), aria_label=f"{verdict}: {len(of_it)}") + " "
    return found


# --- claims -------------------------------------------------------------------------------------------------------------


def claim(one: Verdict) -> str:
    """A claim that was tested: the sentence, its source, what was found beside what was claimed."""
    about = one.claim
    said = (f'<div><p class="sentence">{text(about.sentence)}</p><small>{text(about.source)}</small>'
            f"<small>Statistic: {text(about.statistic)}</small>{badge(one.where, 'twin' if one.group.is_twin else 'real')}</div>")
    found = (f'<div class="found">{plot(one)}{text(one.text)}<small>claimed: {text(about.region)}; '
             f"p (Holm) {text(one.p_text)}</small></div>")
    word = f'<div class="word"><span aria-hidden="true">{SIGNS[one.verdict]}</span> {text(one.verdict)}</div>'
    return element("li", word + said + found, class_=f"claim {css_class(one.verdict)}", id=one.name)


def plot(one: Verdict) -> str:
    """The claimed region, shaded, with the estimate and its 95 % interval; an ornament beside the same in words."""
    about, interval = one.claim, one.found.interval
    known = [value for value in (0.0, about.low, about.high, interval.mean, interval.low, interval.high) if math.isfinite(value)]
    least, width = min(known), (max(known) - min(known)) or 1.0

    def x(value: float) -> float:
        return round(min(272.0, max(0.0, 14 + 244 * (value - least) / width)), 1)

    low, high = x(about.low) if math.isfinite(about.low) else 0.0, x(about.high) if math.isfinite(about.high) else 272.0
    bar = "" if not math.isfinite(interval.half) else (f'<line x1="{x(interval.low)}" x2="{x(interval.high)}" y1="12" y2="12" stroke="currentColor" '
                                                      f'stroke-width="3" stroke-linecap="round"/>')
    region = f'<rect class="region" x="{low}" y="2" width="{round(high - low, 1)}" height="20" rx="3"/>'
    zero = f'<line class="zero" x1="{x(0)}" x2="{x(0)}" y1="0" y2="24"/><text x="{x(0)}" y="33" text-anchor="middle">0</text>'
    mean = f'<circle cx="{x(interval.mean)}" cy="12" r="5" fill="currentColor"/>'
    return f'<svg class="plot" viewBox="0 0 272 34" aria-hidden="true" focusable="false">{region}{zero}{bar}{mean}</svg>'
