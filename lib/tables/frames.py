"""A finished run as pandas DataFrames, and as text: the paper's value, ours, an interval and the differences, per column."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lib.results.statistics import Interval, paired, summarise
from lib.tables.engine import Result, Row, Run

NOT_RUN = "–"


@dataclass(frozen=True)
class Cell:
    """One row in one column: what was measured, and against the reference row."""

    row: Row
    column: str
    ours: Interval
    versus: Interval | None  # ours minus the reference row, sample by sample
    paper: float | None
    paper_versus: float | None  # the paper's value minus its reference row's

    @property
    def difference(self) -> float | None:
        """Ours minus the paper's."""
        return None if self.paper is None else self.ours.mean - self.paper


def samples(run: Run, results: list[Result], column: str) -> tuple[list[np.ndarray], np.ndarray | None]:
    """The metric's per-sample values in `column`, one array per seed, and the clusters they share."""
    mask = run.table.column_of(results[0].values)[column]
    clusters = results[0].values[run.table.clusters][mask] if run.table.clusters else None
    return [result.values[run.table.metric][mask] for result in results], clusters


def reference_of(run: Run, row: Row) -> str:
    """The row that `row` is compared with: the table's reference, within the control the control's."""
    return run.table.reference if row.variant == "main" else f"{row.variant}_{run.table.reference}"


def cells(run: Run) -> list[Cell]:
    """Every cell of the rows that have been run."""
    made = []
    published = {row.name: row.published for row in run.table.rows}
    for results in run.results.values():
        row = results[0].row
        reference = run.results.get(reference_of(run, row))
        for column in run.table.columns:
            values, clusters = samples(run, results, column)
            versus = None
            if reference and reference is not results and len(reference) == len(results):
                versus = paired(values, samples(run, reference, column)[0], clusters, over=run.table.over)
            paper, base = row.published.get(column), published[run.table.reference].get(column)
            made.append(Cell(row, column, summarise(values, clusters, over=run.table.over), versus, paper,
                             None if paper is None or base is None or row.name == run.table.reference else paper - base))
    return made


def table(run: Run) -> pd.DataFrame:
    """The table as it is read: one line per row, five cells per column."""
    lines: dict[str, dict] = {}
    for cell in cells(run):
        line = lines.setdefault(cell.row.label, {})
        line[cell.column, "paper"] = f"{cell.paper:.2f}" if cell.paper is not None else NOT_RUN
        line[cell.column, "ours"] = cell.ours.text()
        line[cell.column, "ours − paper"] = f"{cell.difference:+.2f}" if cell.difference is not None else NOT_RUN
        line[cell.column, "paper − plain"] = f"{cell.paper_versus:+.2f}" if cell.paper_versus is not None else NOT_RUN
        line[cell.column, "ours − plain"] = cell.versus.text(sign=True) if cell.versus else NOT_RUN
    frame = pd.DataFrame.from_dict(lines, orient="index")
    frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return frame


def numbers(run: Run) -> pd.DataFrame:
    """The same as plain numbers, one line per cell: what the CSV holds and what plots are drawn from."""
    def bounds(name: str, interval: Interval | None) -> dict[str, float]:
        if interval is None:
            return {name: np.nan, f"{name}_low": np.nan, f"{name}_high": np.nan}
        return {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}

    return pd.DataFrame([
        {"row": cell.row.name, "label": cell.row.label, "variant": cell.row.variant, "column": cell.column, "unit": run.table.unit,
         "paper": cell.paper, **bounds("ours", cell.ours), **bounds("versus_reference", cell.versus),
         "paper_versus_reference": cell.paper_versus, "n": cell.ours.n, "interval_over": cell.ours.over,
         "seeds": len(run.results[cell.row.name])} for cell in cells(run)]).astype({"paper": float, "paper_versus_reference": float})


def caption(run: Run) -> str:
    """What the table's numbers are, in two sentences that must stand under it."""
    first = next(iter(run.results.values()))[0].record
    data = f"SYNTHETIC TWIN ({first.dataset})" if first.is_twin else first.dataset
    over = "95 % t-interval over seeds" if len(next(iter(run.results.values()))) > 1 else \
        f"95 % bootstrap interval over test {run.table.over}, one seed"
    warning = " Its values are not comparable with the paper's, only their order and signs." if first.is_twin else ""
    return (f"{run.table.title}, in {run.table.unit}. Data: {data}, preset {first.preset}, {first.n} test {first.unit}; ±: {over}."
            f"{warning} \"ours − plain\" is paired, sample by sample.")


def write(run: Run) -> list:
    """The table as Markdown, CSV and LaTeX under <results>/tables/; returns the paths."""
    folder = run.settings.results_dir / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{run.table.name}-{run.settings.dataset}-{run.settings.preset}"
    frame = table(run)
    flat = frame.copy()
    flat.columns = [" ".join(column) for column in frame.columns]
    paths = [folder / f"{stem}{suffix}" for suffix in (".md", ".csv", ".tex")]
    paths[0].write_text(f"{caption(run)}\n\n{markdown(flat)}\n")
    numbers(run).to_csv(paths[1], index=False)
    paths[2].write_text(latex(flat, caption(run)))
    return paths


def markdown(frame: pd.DataFrame) -> str:
    """A pipe table."""
    lines = [["", *map(str, frame.columns)], ["---"] + ["---:"] * frame.shape[1]]
    lines += [[str(name), *map(str, row)] for name, row in zip(frame.index, frame.to_numpy(), strict=True)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def latex(frame: pd.DataFrame, text: str) -> str:
    """A tabular with its caption as a comment; no package but the standard ones."""
    def escape(value) -> str:
        return str(value).replace("&", r"\&").replace("%", r"\%").replace("±", r"$\pm$").replace("−", "$-$").replace("–", "--")

    lines = [" & ".join(["", *map(escape, frame.columns)]) + r" \\ \hline"]
    lines += [" & ".join(map(escape, [name, *row])) + r" \\" for name, row in zip(frame.index, frame.to_numpy(), strict=True)]
    body = "\n".join(lines)
    return f"% {text}\n\\begin{{tabular}}{{l{'r' * frame.shape[1]}}}\n{body}\n\\end{{tabular}}\n"
