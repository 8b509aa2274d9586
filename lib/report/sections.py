"""One table in one group: its grid of paper, ours and differences, its comparisons, quoted rows, and plain numbers for the CSV."""

from dataclasses import dataclass

import numpy as np

from lib.report.grids import NOTHING, Cell, Grid, Mark, grid
from lib.report.numbers import Value, minus, own, paper_minus_reference, reference_of, versus
from lib.report.stored import MEANINGLESS, Group, Rows
from lib.results.records import Record
from lib.tables.table import Column, Row, Table


LEGEND = ("± is half of a 95 % interval, and beside it stands what it is over, and how many: for one seed a bootstrap over test samples, or over "
          "whole clusters of them (subjects); for several seeds Student's t over the seeds. Differences between rows are paired, sample by sample.")


@dataclass(frozen=True)
class Section:
    """A table of one group, ready to be written."""

    table: Table
    group: Group
    rows: Rows
    stem: str  # of its files
    caption: str
    main: Grid
    pairs: Grid | None
    quoted: Grid | None
    numbers: list[dict]  # one line for each cell
    missing: list[str]  # rows that this preset and data set have, and that were not run
    fewer: list[str]  # rows that were run with fewer seeds than others
    warnings: list[str]


def section(table: Table, group: Group, rows: Rows, marks: dict[str, tuple[Mark, ...]]) -> Section:
    """`rows` of `table`; marks: verdicts by row."""
    most = len(seeds_of(rows))
    return Section(
        table=table, group=group, rows=rows, stem=f"{table.name}-{group.dataset}-{group.preset}", caption=caption(table, group, rows),
        main=main(table, rows, marks), pairs=pairs(table, rows), quoted=quoted(table), numbers=numbers(table, group, rows),
        missing=[row.name for row in possible(table, group) if row.name not in rows],
        fewer=[f"{name} ({len(found)} of {most})" for name, found in rows.items() if len(found) < most], warnings=warnings(rows))


def seeds_of(rows: Rows) -> list[int]:
    """The seeds that any row was run with."""
    return sorted({seed for found in rows.values() for seed in found})


def possible(table: Table, group: Group) -> list[Row]:
    """The rows that this preset and data set have, as in `lib.tables.engine.Run.rows`."""
    rows = [row for row in table.rows if row.presets is None or group.preset in row.presets]
    return [row for row in rows if group.dataset == "twin" or (row.variant == "main" and not row.twin_only)]


def label(table: Table, column: Column) -> str:
    """A column's name with its unit, and an arrow to where better is if the columns differ in that."""
    unit = f" ({column.unit})" if column.unit else ""
    directions = {one.lower_is_better for one in table.columns}
    if {True, False} <= directions and column.lower_is_better is not None:
        return f"{column.name}{unit} {'↓' if column.lower_is_better else '↑'}"
    return column.name + unit


def cell(value: Value | None, column: Column, *, sign: bool = False) -> Cell:
    return Cell(value.text(column.digits, sign=sign), value.note) if value and value.samples else Cell(NOTHING)


def signed(number: float | None, column: Column) -> str:
    return NOTHING if number is None else minus(f"{number:+.{column.digits}f}")


def main(table: Table, rows: Rows, marks: dict[str, tuple[Mark, ...]]) -> Grid:
    """One line for each row; up to five cells for each column where a row has a published value, else one; then the verdicts."""
    compared, other = any(row.published for row in table.rows), table.reference.replace("_", " ")
    names = ("paper", "ours", "ours − paper", f"paper − {other}", f"ours − {other}") if compared else ("ours",)
    head = [("", ""), *((label(table, column), name) for column in table.columns for name in names), ("", "claims")]
    lines = []
    for row in (table.row(name) for name in rows):
        line: list[Cell | str] = [Cell(row.label)]
        for column in table.columns:
            line += _cells(table, rows, row, column) if compared else [cell(own(table, rows, row.name, column), column)]
        lines.append([*line, Cell("" if marks.get(row.name) else NOTHING, marks=marks.get(row.name, ()))])
    return grid(head if compared else [("", group or name) for group, name in head], lines)


def _cells(table: Table, rows: Rows, row: Row, column: Column) -> list[Cell]:
    ours, paper = own(table, rows, row.name, column), row.published.get(column.name)
    difference = None if ours is None or paper is None else ours.interval.mean - paper
    return [Cell(NOTHING if paper is None else f"{paper:.{column.digits}f}"), cell(ours, column), Cell(signed(difference, column)),
            Cell(signed(paper_minus_reference(table, row, column), column)),
            cell(versus(table, rows, row.name, reference_of(table, row), column), column, sign=True)]


def pairs(table: Table, rows: Rows) -> Grid | None:
    """Rows minus rows: the table's own comparisons; where `main` has no room for them, every row minus the reference first."""
    chosen = list(table.comparisons)
    if not any(row.published for row in table.rows):
        chosen = [(name, table.reference) for name in rows] + chosen
    lines = []
    for name, other in dict.fromkeys(chosen):
        found = [versus(table, rows, name, other, column) for column in table.columns]
        if any(found):
            cells = [cell(value, column, sign=True) for value, column in zip(found, table.columns, strict=True)]
            lines.append([Cell(f"{table.row(name).label} − {table.row(other).label}"), *cells])
    return grid(["", *(label(table, column) for column in table.columns)], lines) if lines else None


def quoted(table: Table) -> Grid | None:
    """Published rows that none of ours stands for, with their sources."""
    lines = [[row.label, *(f"{row.values[column.name]:.{column.digits}f}" if column.name in row.values else NOTHING for column in table.columns),
              row.source] for row in table.quoted]
    return grid(["", *(label(table, column) for column in table.columns), "source"], lines) if lines else None


def numbers(table: Table, group: Group, rows: Rows) -> list[dict]:
    """What the CSV holds: the columns of `lib.tables.frames.numbers`, and to which group a line belongs."""
    lines = []
    for row in (table.row(name) for name in rows):
        for column in table.columns:
            if (ours := own(table, rows, row.name, column)) is None:
                continue
            difference = versus(table, rows, row.name, reference_of(table, row), column)
            lines.append({
                "row": row.name, "label": row.label, "variant": row.variant, "column": column.name, "quantity": column.axis,
                "lower_is_better": column.lower_is_better, "paper": row.published.get(column.name, np.nan), **_bounds("ours", ours),
                **_bounds("versus_reference", difference), "paper_versus_reference": _number(paper_minus_reference(table, row, column)),
                "n": ours.interval.n, "interval_over": ours.interval.over, "samples": ours.samples, "unit": ours.unit, "seeds": len(ours.seeds),
                "versus_reference_n": difference.interval.n if difference else 0,
                "versus_reference_over": difference.interval.over if difference else "", "dataset": group.dataset, "is_twin": group.is_twin,
                "preset": group.preset, "device": group.device})
    return lines


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _bounds(name: str, value: Value | None) -> dict[str, float]:
    found = (value.interval.mean, value.interval.low, value.interval.high) if value else (np.nan,) * 3
    return dict(zip((name, f"{name}_low", f"{name}_high"), found, strict=True))


def caption(table: Table, group: Group, rows: Rows) -> str:
    """What the numbers are, in a few sentences."""
    records = [item.record for seeds in rows.values() for item in seeds.values()]
    tests = ", ".join(dict.fromkeys(f"{'' if table.row(record.row).variant == 'main' else 'for the control '}{record.n} test {record.unit}"
                                    for record in records))
    seeds = seeds_of(rows)
    count = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"
    count += " (not all rows have all of them)" if any(len(found) < len(seeds) for found in rows.values()) else ""
    data = group.data if group.is_twin or group.dataset != "twin" else "twin"
    parts = [f"{table.paper}. Data: {data}, {tests}; preset {group.preset}, {group.device}, {count}."]
    if group.is_twin:
        parts.append("The data are synthetic: values are not comparable with the paper's, only their order and signs.")
    if group.preset == MEANINGLESS:
        parts.insert(0, "Preset smoke: THESE NUMBERS MEAN NOTHING, they show that everything runs.")
    return " ".join(parts)


def warnings(rows: Rows) -> list[str]:
    """Results of different code or versions in one table."""
    records = [item.record for seeds in rows.values() for item in seeds.values()]
    commits = sorted({record.provenance.get("commit") or "unknown" for record in records})
    torch = sorted({str(record.depends.get("torch") or (record.provenance.get("versions") or {}).get("torch")) for record in records})
    found = []
    if len(commits) > 1 and (parts := differing_code(records)) is not None:
        found.append(f"rows come from {len(commits)} states of the code: {', '.join(short(commit) for commit in commits)}{parts}")
    if any(commit.endswith("-dirty") for commit in commits):
        found.append("rows were computed with changes that no commit holds (-dirty)")
    if "unknown" in commits:
        found.append("rows do not say which commit they were computed with")
    if len(torch) > 1:
        found.append(f"rows come from torch {' and '.join(torch)}")
    return found


def differing_code(records: list[Record]) -> str | None:
    """In what the code of these rows differs, as the end of a sentence; empty where they do not say.

    None if no source that they depend on differs: most commits change something else.
    """
    if not all(record.depends.get("code") for record in records):
        return ""
    sources: dict[str, set[str]] = {}
    for record in records:
        for name, digest in record.depends["code"].items():
            sources.setdefault(name, set()).add(digest)
    changed = sorted({name.split(":")[0] for name, digests in sources.items() if len(digests) > 1})
    return f", which differ in {', '.join(changed)}" if changed else None


def short(commit: str | None) -> str:
    """ "21d14a4", "21d14a4-dirty"; "unknown"."""
    commit = commit or "unknown"
    return commit[:7] + ("-dirty" if commit.endswith("-dirty") else "")
