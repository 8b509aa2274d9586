"""Provenance, cost and what was not run, as grids."""

from collections.abc import Iterable
from pathlib import Path

from lib import tables
from lib.results.filled import Filled
from lib.results.grids import NOTHING, Grid, Text, grid
from lib.results.records import short, size_of
from lib.results.store import MEANINGLESS, Group, Item, Rows, Stored, items_of, variants
from lib.tables.table import Table

NEEDS_GPU = "the paper's networks, sizes and schedule: meant for a GPU"


def _in_order(stored: Stored) -> list[tuple[Group, Rows]]:
    return sorted(stored.groups.items(), key=lambda found: found[0].order())


def _all(values: Iterable) -> str:
    """The different values, separated by commas."""
    found = dict.fromkeys(str(value) for value in values if value not in (None, ""))
    return ", ".join(sorted(found)) or NOTHING


def provenance(stored: Stored) -> Grid:
    """Where and with what the records of each group were made; hosts are left out."""
    lines = []
    for group, rows in _in_order(stored):
        kept = [item.record.provenance for item in items_of(rows)]
        versions = [{name: version for name, version in (one.get("versions") or {}).items() if version} for one in kept]
        lines.append([Text(group.table, group.where), _all(short(one.get("commit")) for one in kept),
                      _all(one.get("python") for one in kept), _all(f"{name} {one[name]}" for one in versions for name in sorted(one)),
                      _all(one.get("device_name") for one in kept), _all(one.get("threads") for one in kept),
                      _all(one.get("processes", 1) for one in kept), _fingerprints(group, rows)])
    return grid(["table", "commit", "Python", "versions", "processor", "threads", "processes", "data's fingerprints"], lines,
                numeric=False)


def _fingerprints(group: Group, rows: Rows) -> str:
    kinds, found = variants(group.table), {}
    for name, seeds in rows.items():
        for item in seeds.values():
            data = item.record.depends.get("data")
            text = ", ".join(f"{split} {print_}" for split, print_ in data.items()) if isinstance(data, dict) else str(data)
            found[kinds[name]] = text
    return "; ".join(f"{kind}: {found[kind]}" for kind in sorted(found, key=lambda kind: kind != "main"))


def cost(stored: Stored) -> Grid:
    """Seconds summed over rows and seeds, the longest row, and what the files take."""
    lines = []
    for group, rows in _in_order(stored):
        found = items_of(rows)
        seconds = {name: sum(_seconds(item) for item in seeds.values()) for name, seeds in rows.items()}
        longest = max((_seconds(item), item.record.row) for item in found)
        lines.append([Text(group.table, group.where), str(len(rows)), str(len(found)), time_text(sum(seconds.values())),
                      f"{time_text(longest[0])} ({longest[1]})", _all(item.record.provenance.get("threads") for item in found),
                      size_text(sum(item.size for item in found))])
    if lines:
        everything = stored.items
        lines.append(["all", str(sum(int(line[1]) for line in lines)), str(len(everything)), time_text(sum(map(_seconds, everything))), "", "",
                      size_text(sum(item.size for item in everything))])
    return grid(["table", "rows", "rows × seeds", "row seconds", "longest row", "threads each", "records and weights"], lines)


def disk(folder: Path) -> Grid:
    """What the parts of the results folder take."""
    found = [(path.name, sum(size_of(part) for part in path.rglob("*") if part.is_file() and not part.is_symlink()))
             for path in sorted(folder.iterdir()) if path.is_dir() and path.name in ("runs", "records", "cache", "figures")]
    return grid(["folder", "size"], [[f"{name}/", size_text(size)] for name, size in found])


def _seconds(item: Item) -> float:
    return float(item.record.provenance.get("seconds") or 0)


def time_text(seconds: float) -> str:
    """ "12 s", "4 min 10 s", "2 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{round(seconds / 60) // 60} h {round(seconds / 60) % 60:02d} min"


def size_text(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.0f} kB"


# --- not run ------------------------------------------------------------------------------------------------------------


def not_run(stored: Stored, filled: list[Filled]) -> Grid:
    """Rows, seeds, presets and data sets of which there is nothing, and why as far as the files tell."""
    lines = []
    for name in tables.NAMES:
        shown = [one for one in filled if one.table.name == name]
        found = [part for one in shown for part in _rows(one, stored)] + _presets_and_data(tables.get(name), shown, stored)
        lines += [[name, f"{what} {', '.join(values)}", why] for what, values, why in found if values]
    return grid(["table", "what", "why"], lines, numeric=False)


def _rows(one: Filled, stored: Stored) -> list[tuple[str, list[str], str]]:
    at_work, where = stored.interrupted.get(tuple(one.group[:3]), ()), one.group.where
    return [(f"{where}: rows", [name for name in one.missing if name in at_work], "at work, or interrupted: a checkpoint lies there"),
            (f"{where}: rows", [name for name in one.missing if name not in at_work], "no record: not chosen, or not finished"),
            (f"{where}: seeds of", one.fewer, "fewer seeds than other rows: not finished, or not chosen")]


def _presets_and_data(table: Table, shown: list[Filled], stored: Stored) -> list[tuple[str, list[str], str]]:
    """What a table could have been run with and was not, the same reason in one line."""
    presets = [preset for preset in table.presets if preset not in {one.group.preset for one in shown}]
    of_paper = [preset for preset in presets if preset.startswith("paper")]
    others = [preset for preset in presets if preset not in (*of_paper, MEANINGLESS)]
    smoke = [MEANINGLESS] if any(group.table == (table.records or table.name) for group in stored.hidden) else []
    data = [dataset for dataset in table.datasets if dataset not in {one.group.dataset for one in shown}]
    found = [("preset", of_paper, NEEDS_GPU), ("preset", others, "no record with it here"), ("preset", smoke, "was run; its numbers mean nothing"),
             ("data set", [one for one in data if one == "twin"], "no record"),
             ("data set", [one for one in data if one != "twin"], "no record; data/README.md and the files beside it say how to get real data")]
    return [(f"{what}s" if len(values) > 1 else what, values, why) for what, values, why in found]
