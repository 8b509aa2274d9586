"""A small table of texts, and the same as Markdown, LaTeX and a DataFrame. HTML is in `lib/report/page.html`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

NOTHING = "–"
LATEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
         "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "|": "$|$", "±": r"$\pm$", "−": "$-$", "–": "--", "×": r"$\times$", "↑": r"$\uparrow$",
         "↓": r"$\downarrow$", "σ": r"$\sigma$", "≤": r"$\leq$", "≥": r"$\geq$", "·": r"$\cdot$", "²": "$^2$", "✓": r"$\surd$", "✗": r"$\times$"}


@dataclass(frozen=True)
class Mark:
    """A verdict in a cell, with the place in the page where it is explained."""

    verdict: str
    target: str
    title: str


@dataclass(frozen=True)
class Text:
    """A text, a note under it, marks behind it."""

    text: str
    note: str = ""
    marks: tuple[Mark, ...] = ()

    def __str__(self) -> str:
        counted = [f"{sum(mark.verdict == name for mark in self.marks)} {name}" for name in dict.fromkeys(mark.verdict for mark in self.marks)]
        return "; ".join(filter(None, [f"{self.text} ({self.note})" if self.note else self.text, *counted]))


@dataclass(frozen=True, repr=False)
class Grid:
    """head[i] is (group, name): neighbours of one group stand under one heading. The first column labels the rows."""

    head: tuple[tuple[str, str], ...]
    lines: tuple[tuple[Text, ...], ...]
    numeric: bool = True  # whether all columns but the first are right-aligned

    @property
    def names(self) -> list[str]:
        return [" ".join(filter(None, name)) for name in self.head]

    def frame(self) -> pd.DataFrame:
        """As a DataFrame of texts, the first column its index; groups stand above the names."""
        lines = [[str(text) for text in line] for line in self.lines]
        index = pd.Index([line[0] for line in lines], name=self.names[0] or None)
        columns = pd.MultiIndex.from_tuples(self.head[1:]) if any(group for group, _ in self.head) else self.names[1:]
        return pd.DataFrame([line[1:] for line in lines], index=index, columns=columns)

    def __bool__(self) -> bool:
        return bool(self.lines)

    def __repr__(self) -> str:
        return self.frame().to_string() if self else ""

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return self.frame()._repr_html_() if self else ""


def minus(number: str) -> str:
    """Numbers with minus signs where `format` writes hyphens."""
    return number.replace("-", "−")


def grid(head: Sequence[str | tuple[str, str]], lines: Sequence[Sequence[str | Text]], *, numeric: bool = True) -> Grid:
    """A `Grid` from plain texts; a column of nothing but dashes is left out, but for the first."""
    whole = [[cell if isinstance(cell, Text) else Text(cell) for cell in line] for line in lines]
    kept = [i for i in range(len(head)) if i == 0 or any(line[i].text != NOTHING or line[i].marks for line in whole)]
    names = [name if isinstance(name, tuple) else ("", name) for name in head]
    return Grid(tuple(names[i] for i in kept), tuple(tuple(line[i] for i in kept) for line in whole), numeric)


def notes_below(shown: Grid, label: str) -> Grid:
    """The notes once for each column: its most frequent one in a last line. Cells keep what theirs has beyond it, or another whole."""
    notes = [_usual([cell.note for cell in column if cell.note]) for column in zip(*shown.lines, strict=True)]
    if not any(notes):
        return shown
    lines = [tuple(replace(cell, note=cell.note.removeprefix(note).strip()) for cell, note in zip(line, notes, strict=True)) for line in shown.lines]
    return replace(shown, lines=(*lines, (Text(label), *map(Text, notes[1:]))))


def _usual(notes: Sequence[str]) -> str:
    """The most frequent one, or the shortest that it begins with."""
    often = max(notes, key=Counter(notes).get, default="")
    return min((note for note in notes if often.startswith(note)), key=len, default="")


def markdown(shown: Grid) -> str:
    """A pipe table; a word where there are no lines."""
    if not shown:
        return "None."
    lines = [shown.names, ["---", *["---:" if shown.numeric else "---"] * (len(shown.head) - 1)],
             *([str(cell) for cell in line] for line in shown.lines)]
    return "\n".join("| " + " | ".join(text.replace("|", "\\|").replace("\n", " ") for text in line) + " |" for line in lines)


def tex(text: str) -> str:
    """A text with everything that means something to LaTeX escaped."""
    return "".join(LATEX.get(letter, letter) for letter in text)


def latex(shown: Grid, caption: str, *, widths: Sequence[float] = ()) -> str:
    """A tabular with its caption as a comment; with `widths`, shares of the line for each column, a longtable (\\usepackage{longtable})."""
    columns = "".join(f"p{{{width}\\linewidth}}" for width in widths) or "l" + ("r" if shown.numeric else "l") * (len(shown.head) - 1)
    lines = [" & ".join(tex(str(text)) for text in line) + r" \\" for line in (shown.names, *shown.lines)]
    kind = "longtable" if widths else "tabular"
    comment = "\n".join(f"% {line}" for line in caption.splitlines())
    return f"{comment}\n\\begin{{{kind}}}{{{columns}}}\n" + "\n".join([lines[0] + r" \hline", *lines[1:]]) + f"\n\\end{{{kind}}}\n"
