"""README's tables, generated from the committed records: `python -m lib.report.readme` writes anew what stands between the markers.

    <!-- table: NAME; twin: COLUMN, COLUMN; osie: COLUMN; show: paper, ours, ours − plain; rows: ROW, ROW -->
    ... (generated)
    <!-- end -->

NAME is a table of `lib.tables`; then its data sets, each with columns of it; `show`: which of a column's cells, as `Filled.main`
calls them ("ours" is then called by the data set's name; "ours" alone by default); `rows`: in this order, all by default. `table:
claims` counts verdicts by data set.
"""

import re
from collections import Counter
from pathlib import Path

from lib import claims
from lib.results.filled import Filled, texts
from lib.results.grids import NOTHING, Grid, grid, markdown
from lib.results.records import ROOT
from lib.results.store import Group, Stored, read_folder

README, REFERENCE = ROOT / "README.md", ROOT / "results" / "reference"
MARKED = re.compile(r"(<!-- table: (?P<words>[^>]*?) -->\n)(?P<body>.*?)(?=<!-- end -->)", re.DOTALL)


def generate(text: str, stored: Stored) -> str:
    """`text` with every marked table made anew from `stored`; ValueError names a marker that does not fit."""
    filled = {(table.name, group.dataset): Filled(table, group, rows) for table, group, rows in stored.filled()}

    def anew(found: re.Match) -> str:
        name, *parts = (part.strip() for part in found["words"].split(";"))
        options = {key.strip(): [one.strip() for one in value.split(",")] for key, _, value in (part.partition(":") for part in parts)}
        try:
            shown = counts(stored) if name == "claims" else chosen(name, filled, **options)
        except KeyError as error:
            raise ValueError(f"README.md: the marker of table {name} names {error}, which results/reference has not") from None
        return f"{found[1]}{markdown(shown)}\n"

    return MARKED.sub(anew, text)


def chosen(name: str, filled: dict[tuple[str, str], Filled], *, show: tuple[str, ...] = ("ours",), rows: list[str] | None = None,
           **columns: list[str]) -> Grid:
    """Chosen rows, columns and cells of a table, one data set beside the other; KeyError for what there is not."""
    head, lines = [("", "")], {}
    for data, names in columns.items():
        one = filled[name, data]
        called = ("paper", "ours", "ours − paper", f"paper − {one.table.reference}", f"ours − {one.table.reference}")
        at = {what: i for i, what in enumerate(called)}
        places = [at[what] for what in show]
        headings, labels = {column.name: one.heading(column) for column in one.columns}, {row.name: row.label for row in one.table.rows}
        head += [(headings[column], called[i].replace("ours", data)) for column in names for i in places]
        for row in rows or list(one.rows):
            cells = [texts(one.cells[row, column], notes=False) if row in one.rows else [NOTHING] * 5 for column in names]
            lines.setdefault(labels[row], {})[data] = [cell[i] for cell in cells for i in places]
    width = {data: len(names) * len(show) for data, names in columns.items()}
    return grid(head, [[label, *(cell for data in columns for cell in found.get(data, [NOTHING] * width[data]))] for label, found in lines.items()])


def counts(stored: Stored) -> Grid:
    """How many claims fail, are undecided and hold, by data set."""
    def called(group: Group) -> str:
        return "synthetic twins" if group.is_twin else f"real {group.dataset}"

    found = Counter((called(one.group), one.verdict) for one in claims.decide(claims.ledger(), stored.groups) if one.group)
    names = dict.fromkeys(map(called, sorted(stored.groups, key=lambda group: (not group.is_twin, group.order()))))
    return grid(["claims on", *claims.TESTED], [[name, *(str(found[name, verdict]) for verdict in claims.TESTED)] for name in names])


def main(path: Path = README) -> None:
    path.write_text(generate(path.read_text(encoding="utf-8"), read_folder(REFERENCE)), encoding="utf-8")


if __name__ == "__main__":
    main()
