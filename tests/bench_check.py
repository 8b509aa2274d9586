"""Does `check` let honest runs pass, and does it find changed ones? On the seeds of a reference, each in turn taken as somebody's run.

    python tests/bench_check.py [RESULTS] [--preset demo] [--tenth FOLDER] [--honest FOLDER ...] [--verdicts]

RESULTS: a folder of records with several seeds (results/reference). A run is one seed, its reference all other seeds, so that no run is
judged by itself. With four seeds or more also every seed of one half against the other half. Honest runs should pass:

    left out          a seed as it is, against all others
    halves            the same, against the other half
    --honest FOLDER   records of a run elsewhere, with other rounding for instance (lib/runs/README.md says how)

Changed runs should fail:

    plain for sampler   rows with a sampler have the values of their plain counterparts
    a neighbour         one metric has the values of another: AUC-Judd those of AUC, of shuffled AUC, KL those of IG, and top-1 the mean per class
    --tenth FOLDER      records of trainings with a tenth of the learning rate: their recipes are taken for the reference's, or `check` would say
                        at once that it is another experiment

A neighbour that gives the same values for every sample (classes of one size) is no change, and left out. --verdicts: how many verdicts
of the claim ledger on a run of one seed contradict those of its reference (holds, fails) or are surer; none should.
Exit status 1 where an honest run fails or a changed one passes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib import claims, tables
from lib.claims.verdicts import UNDECIDED
from lib.results import check, noise
from lib.results.store import Group, Item, Rows, Stored, read_folder

Groups = dict[Group, Rows]
NEIGHBOURS = (("auc_judd", "auc"), ("auc_judd", "auc_shuffled"), ("auc_shuffled", "auc"), ("kl", "ig"), ("top1", "mean per class"))


def seeds_of(groups: Groups) -> set[int]:
    return {seed for rows in groups.values() for seeds in rows.values() for seed in seeds}


def only(groups: Groups, keep: Callable[[int], bool]) -> Groups:
    """The seeds that `keep` keeps; rows and groups without one are left out."""
    kept = {group: {row: {seed: item for seed, item in seeds.items() if keep(seed)} for row, seeds in rows.items()} for group, rows in groups.items()}
    kept = {group: {row: seeds for row, seeds in rows.items() if seeds} for group, rows in kept.items()}
    return {group: rows for group, rows in kept.items() if rows}


# --- changes ------------------------------------------------------------------------------------------------------------


def counterpart(row: str, rows: Rows) -> str | None:
    """The row that resizes plainly in the place of `row`'s sampler."""
    if row.startswith(("blur_", "depth_")):
        found = ["plain"]
    else:
        found = [row.replace("sampler", "plain"), row.replace("sampler", "full")] if "sampler" in row else []
    return next((name for name in found if name in rows), None)


def plain_for_sampler(groups: Groups) -> Groups:
    """Samples of a plain row in the place of a sampler's, metric by metric, seed by seed."""
    def changed(rows: Rows, row: str, seed: int, item: Item) -> Item:
        plain = rows.get(counterpart(row, rows) or "", {}).get(seed)
        alike = plain is not None and plain.record.n == item.record.n
        return replace(item, values=item.values | {name: plain.values[name] for name in item.values.keys() & plain.values.keys()}) if alike else item

    return {group: {row: {seed: changed(rows, row, seed, item) for seed, item in seeds.items()} for row, seeds in rows.items()}
            for group, rows in groups.items() if any(counterpart(row, rows) for row in rows)}


def per_class(values: dict[str, np.ndarray]) -> np.ndarray | None:
    """Samples whose mean is the mean over classes of each class's accuracy; None where the records do not tell the classes."""
    if "label" not in values:
        return None
    _, label, count = np.unique(values["label"], return_inverse=True, return_counts=True)
    return values["top1"] * (len(label) / (len(count) * count[label]))


def neighbour(groups: Groups, metric: str, other: str) -> Groups:
    """Where records have both, `other` in the place of `metric`."""
    def changed(item: Item) -> Item | None:
        found = per_class(item.values) if other == "mean per class" and metric in item.values else item.values.get(other)
        unlike = metric in item.values and found is not None and not np.array_equal(found, item.values[metric], equal_nan=True)
        return replace(item, values=item.values | {metric: found}) if unlike else None

    made = {group: {row: {seed: new for seed, item in seeds.items() if (new := changed(item))} for row, seeds in rows.items()}
            for group, rows in groups.items()}
    return {group: rows for group, rows in only(made, lambda seed: True).items()}


def as_if(groups: Groups, reference: Groups) -> Groups:
    """With the reference's word for what the records depend on."""
    def told(group: Group, row: str, item: Item) -> Item:
        twin = next(iter(reference.get(group, {}).get(row, {}).values()), item)
        data = {"data": item.record.depends.get("data")}
        return replace(item, record=replace(item.record, depends=twin.record.depends | data))

    return {group: {row: {seed: told(group, row, item) for seed, item in seeds.items()} for row, seeds in rows.items()}
            for group, rows in groups.items()}


# --- judging ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One run against one reference."""

    experiment: str
    honest: bool
    reference: Groups
    run: Groups


def cases(groups: Groups, tenth: Groups, honest: dict[str, Groups]) -> Iterator[Case]:
    seeds = sorted(seeds_of(groups))
    for seed in seeds:
        others, run = apart(groups, seed)
        yield Case("left out", True, others, run)
        yield Case("plain for sampler", False, others, plain_for_sampler(run))
        yield from (Case(f"{other} for {metric}", False, others, neighbour(run, metric, other)) for metric, other in NEIGHBOURS)
    half = len(seeds) // 2
    for first, second in ((seeds[:half], seeds[half:]), (seeds[half:], seeds[:half])) if half > 1 else ():
        reference = only(groups, lambda one, first=first: one in first)
        yield from (Case(f"halves, {len(first)} seeds", True, reference, apart(groups, seed)[1]) for seed in second)
    for seed in sorted(seeds_of(tenth)):
        others, run = apart(groups, seed)[0], apart(tenth, seed)[1]
        yield Case("a tenth of the rate", False, others, as_if(run, others))
    for name, run in honest.items():
        yield Case(name, True, groups, run)


def apart(groups: Groups, seed: int) -> tuple[Groups, Groups]:
    """All other seeds, and this one."""
    return only(groups, lambda one: one != seed), only(groups, lambda one: one == seed)


def judge(case: Case, known: dict) -> check.Judged:
    shown = check.sections(list(tables.NAMES), Stored(groups=case.reference), Stored(groups=case.run), known=known)
    return check.Judged(list({(cell.group, cell.row, cell.column.name): cell for section in shown for cell in section.cells}.values()))


def table(found: list[tuple[Case, check.Judged]]) -> tuple[str, bool]:
    """A line for each experiment; and whether honest runs passed and changed ones failed."""
    lines, good = [f"{'experiment':34}{'should':>8}{'runs':>6}{'fail':>6}{'cells':>8}{'networks outside, of, at most':>34}"], True
    for name in dict.fromkeys(case.experiment for case, _ in found):
        honest = next(case.honest for case, _ in found if case.experiment == name)
        mine = [judged for case, judged in found if case.experiment == name]
        failed = sum(bool(one.bad or one.others) for one in mine)
        good &= failed == (0 if honest else len(mine))
        counts = [(one.count, one.outside, len(one.networks), one.most) for one in mine]
        cells, *middle = (int(number) for number in np.median(counts, axis=0))
        lines.append(f"{name:34}{'pass' if honest else 'fail':>8}{len(mine):6}{failed:6}{cells:8}{' '.join(f'{number:10}' for number in middle):>34}")
    return "\n".join(lines), good


def unlike_verdicts(groups: Groups) -> dict[str, int]:
    """Of each seed as a run against all others: verdicts in all, those that contradict, those that are surer."""
    counts = {"verdicts": 0, "contradict": 0, "surer": 0}
    for seed in sorted(seeds_of(groups)):
        others, run = apart(groups, seed)
        decided = claims.decide(claims.ledger(), others, known=noise.measure(others))
        reference = {(one.claim.key, one.group): one.verdict for one in decided if one.found}
        known = claims.reference_noise(claims.ledger(), others)
        for one in claims.decide(claims.ledger(), {group: rows for group, rows in run.items() if group in others}, known=known):
            theirs = reference.get((one.claim.key, one.group)) if one.found else None
            counts["verdicts"] += theirs is not None
            if theirs is not None and one.verdict not in (UNDECIDED, theirs):
                counts["surer" if theirs == UNDECIDED else "contradict"] += 1
    return counts


def report(groups: Groups, *, tenth: Groups, honest: dict[str, Groups], verdicts: bool = False) -> bool:
    """Prints the table; whether all came out as it should."""
    found, measured = [], {}
    for case in cases(groups, tenth, honest):
        if case.run:
            measured.setdefault(id(case.reference), (case.reference, noise.measure(case.reference)))
            found.append((case, judge(case, measured[id(case.reference)][1])))
    found = [(case, judged) for case, judged in found if judged.count or judged.others]
    text, good = table(found)
    print(text)
    if verdicts:
        counts = unlike_verdicts(groups)
        print("\n" + ", ".join(f"{number} {name}" for name, number in counts.items()))
        good &= not counts["contradict"] and not counts["surer"]
    return good


def several(folder: Path, preset: str) -> Groups:
    """The groups of a folder that have two seeds or more. ValueError where there are none."""
    groups = {group: rows for group, rows in read_folder(folder, preset=preset).groups.items() if len(seeds_of({group: rows})) > 1}
    if not groups:
        raise ValueError(f"{folder}: no table with preset {preset!r} has two seeds; run more (--seeds 3)")
    return groups


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("results", type=Path, nargs="?", default=Path("results/reference"), help="records with several seeds (%(default)s)")
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--tenth", type=Path, metavar="FOLDER", help="records of trainings with a tenth of the learning rate")
    parser.add_argument("--honest", type=Path, nargs="+", default=[], metavar="FOLDER", help="records of honest runs elsewhere")
    parser.add_argument("--verdicts", action="store_true", help="the claim ledger's too")
    options = parser.parse_args(words)
    try:
        groups = several(options.results, options.preset)
    except ValueError as error:
        parser.error(str(error))
    tenth = read_folder(options.tenth, preset=options.preset).groups if options.tenth else {}
    honest = {folder.name: read_folder(folder, preset=options.preset).groups for folder in options.honest}
    return int(not report(groups, tenth=tenth, honest=honest, verdicts=options.verdicts))


if __name__ == "__main__":
    raise SystemExit(main())
