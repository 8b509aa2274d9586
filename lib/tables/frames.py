"""A finished run as pandas DataFrames, and as text: the paper's value, ours, an interval and the differences, per column."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.results.statistics import Interval, paired, summarise
from lib.runs.engine import Result, Run
from lib.tables.table import Column, Row

NOT_RUN = "–"
LATEX = str.maketrans({"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "±": r"$\pm$", "−": "$-$", "–": "--", "↑": r"$\uparrow$",
                       "↓": r"$\downarrow$", "×": r"$\times$", "σ": r"$\sigma$"})


@dataclass(frozen=True)
class Cell:
    """One row in one column: what was measured, and against the reference row."""

    row: Row
    column: Column
    ours: Interval
    versus: Interval | None  # ours minus the reference row, sample by sample
    paper: float | None
    paper_versus: float | None  # the paper's value minus its reference row's

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's."""
        return None if self.paper is None else self.ours.mean - self.paper


def samples(run: Run, results: list[Result], column: Column) -> tuple[list[np.ndarray], np.ndarray | None] | None:
    """The column's per-sample values, one array per seed, and the clusters they share; None where the row has none."""
    found = [column.samples(result.values) for result in results]
    clusters = column.samples(results[0].values, run.table.clusters) if run.table.clusters else None
    return None if any(values is None for values in found) else (found, clusters)


def reference_of(run: Run, row: Row) -> str:
    """The row that `row` is compared with: the table's reference, within the control the control's."""
    return run.table.reference if row.variant == "main" else f"{row.variant}_{run.table.reference}"


def versus(run: Run, name: str, other: str, column: Column) -> Interval | None:
    """Row `name` minus row `other`, sample by sample; None where one of them was not run, or on other seeds."""
    ours, theirs = run.results.get(name), run.results.get(other)
    if name == other or not ours or not theirs or len(ours) != len(theirs):
        return None
    found, base = samples(run, ours, column), samples(run, theirs, column)
    return paired(found[0], base[0], found[1], over=run.table.over) if found and base else None


def cells(run: Run) -> list[Cell]:
    """Every cell of the rows that have been run."""
    made = []
    published = {row.name: row.published for row in run.table.rows}
    for name, results in run.results.items():
        row = results[0].row
        for column in run.table.columns:
            if (found := samples(run, results, column)) is None:
                continue
            paper, base = row.published.get(column.name), published[run.table.reference].get(column.name)
            made.append(Cell(row, column, summarise(*found, over=run.table.over), versus(run, name, reference_of(run, row), column), paper,
                             None if paper is None or base is None or name == run.table.reference else paper - base))
    return made


def heading(run: Run, column: Column) -> str:
    """The column's name, with an arrow to where better is if the columns differ in that."""
    directions = {column.lower_is_better for column in run.table.columns}
    if {True, False} <= directions and column.lower_is_better is not None:
        return f"{column.name} {'↓' if column.lower_is_better else '↑'}"
    return column.name


def table(run: Run) -> pd.DataFrame:
    """The table as it is read: one line per row; where a row has a published value, up to five cells per column, else one."""
    other, compared = run.table.reference.replace("_", " "), any(row.published for row in run.table.rows)
    lines: dict[str, dict] = {}
    for cell in cells(run):
        line, digits = lines.setdefault(cell.row.label, {}), cell.column.digits
        name = heading(run, cell.column)
        if compared:
            line[name, "paper"] = f"{cell.paper:.{digits}f}" if cell.paper is not None else NOT_RUN
        line[name, "ours"] = cell.ours.text(digits)
        if compared:
            line[name, "ours − paper"] = f"{cell.difference:+.{digits}f}" if cell.difference is not None else NOT_RUN
            line[name, f"paper − {other}"] = f"{cell.paper_versus:+.{digits}f}" if cell.paper_versus is not None else NOT_RUN
            line[name, f"ours − {other}"] = cell.versus.text(digits, sign=True) if cell.versus else NOT_RUN
    frame = pd.DataFrame.from_dict(lines, orient="index").fillna(NOT_RUN)
    frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    frame = frame.loc[:, [name[1] == "ours" or (frame[name] != NOT_RUN).any() for name in frame.columns]]
    return frame if compared else frame.droplevel(1, axis=1)


def comparisons(run: Run) -> pd.DataFrame:
    """Rows minus rows, paired sample by sample: the table's own comparisons, one line each, one cell per column.

    Where `table` has no room for them, every row minus the reference comes first.
    """
    pairs = list(run.table.comparisons)
    if not any(row.published for row in run.table.rows):
        pairs = [(name, run.table.reference) for name in run.results] + pairs
    lines = {}
    for name, other in dict.fromkeys(pairs):
        found = {column: versus(run, name, other, column) for column in run.table.columns}
        if any(found.values()):
            label = f"{run.table.row(name).label} − {run.table.row(other).label}"
            lines[label] = {heading(run, column): interval.text(column.digits, sign=True) if interval else NOT_RUN
                            for column, interval in found.items()}
    return pd.DataFrame.from_dict(lines, orient="index")


def quoted(run: Run) -> pd.DataFrame:
    """Published rows that none of ours stands for, with their sources."""
    lines = {row.label: {heading(run, column): f"{row.values[column.name]:.{column.digits}f}" if column.name in row.values else NOT_RUN
                         for column in run.table.columns} | {"source": row.source} for row in run.table.quoted}
    return pd.DataFrame.from_dict(lines, orient="index")


def numbers(run: Run) -> pd.DataFrame:
    """The same as plain numbers, one line per cell: what the CSV holds and what plots are drawn from."""
    def bounds(name: str, interval: Interval | None) -> dict[str, float]:
        if interval is None:
            return {name: np.nan, f"{name}_low": np.nan, f"{name}_high": np.nan}
        return {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}

    return pd.DataFrame([
        {"row": cell.row.name, "label": cell.row.label, "variant": cell.row.variant, "column": cell.column.name, "quantity": cell.column.axis,
         "lower_is_better": cell.column.lower_is_better, "paper": cell.paper, **bounds("ours", cell.ours),
         **bounds("versus_reference", cell.versus), "paper_versus_reference": cell.paper_versus, "n": cell.ours.n,
         "interval_over": cell.ours.over, "seeds": len(run.results[cell.row.name])}
        for cell in cells(run)]).astype({"paper": float, "paper_versus_reference": float})


def caption(run: Run) -> str:
    """What the table's numbers are, in a few sentences that must stand under it."""
    first = next(iter(run.results.values()))[0].record
    data = f"SYNTHETIC TWIN ({first.dataset})" if first.is_twin else first.dataset
    over = "95 % t-interval over seeds" if len(next(iter(run.results.values()))) > 1 else \
        f"95 % bootstrap interval over test {run.table.over}, one seed"
    units = {column.unit for column in run.table.columns}
    unit = f", in {units.pop()}" if len(units) == 1 and "" not in units else ""
    warning = " Its values are not comparable with the paper's, only their order and signs." if first.is_twin else ""
    return (f"{run.table.title}{unit}. Data: {data}, preset {first.preset}, {first.n} test {first.unit}; ±: {over}."
            f"{warning} Differences between rows are paired, sample by sample.")


def write(run: Run) -> list:
    """The table as Markdown, CSV and LaTeX under <results>/tables/; returns the paths."""
    folder = run.settings.results_dir / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{run.table.name}-{run.settings.dataset}-{run.settings.preset}"
    frame, pairs, published = table(run), comparisons(run), quoted(run)
    flat = frame.copy()
    flat.columns = [name if isinstance(name, str) else " ".join(name) for name in frame.columns]
    parts = [caption(run), markdown(flat)]
    parts += ["Between rows, paired:", markdown(pairs)] if len(pairs) else []
    parts += ["Published, quoted from the source named:", markdown(published)] if len(published) else []
    paths = [folder / f"{stem}{suffix}" for suffix in (".md", ".csv", ".tex")]
    paths[0].write_text("\n\n".join(parts) + "\n")
    numbers(run).to_csv(paths[1], index=False)
    paths[2].write_text("\n".join(latex(part, caption(run)) for part in (flat, pairs) if len(part)))
    return paths


def markdown(frame: pd.DataFrame) -> str:
    """A pipe table."""
    lines = [["", *map(str, frame.columns)], ["---"] + ["---:"] * frame.shape[1]]
    lines += [[str(name), *map(str, row)] for name, row in zip(frame.index, frame.to_numpy(), strict=True)]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


def latex(frame: pd.DataFrame, text: str) -> str:
    """A tabular with its caption as a comment; no package but the standard ones."""
    def escape(value) -> str:
        return str(value).translate(LATEX)

    lines = [" & ".join(["", *map(escape, frame.columns)]) + r" \\ \hline"]
    lines += [" & ".join(map(escape, [name, *row])) + r" \\" for name, row in zip(frame.index, frame.to_numpy(), strict=True)]
    body = "\n".join(lines)
    return f"% {text}\n\\begin{{tabular}}{{l{'r' * frame.shape[1]}}}\n{body}\n\\end{{tabular}}\n"
