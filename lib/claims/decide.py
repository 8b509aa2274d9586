"""A verdict on every claim in every group of finished rows, and the ledger as it is read."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from lib.claims.claim import Claim, Contrast, sample
from lib.claims.verdicts import FAILS, HOLDS, MOST_SEEDS, UNDECIDED, p_value, seeds_to_decide, verdict
from lib.results import noise
from lib.results.grids import NOTHING, Grid, grid, minus
from lib.results.statistics import Estimate, Sample, estimate, holm
from lib.results.store import Group, Rows
from lib.tables import NAMES, get

NOT_A_TWIN, NOT_COMPARABLE, NOT_RUN = "not for a twin", "not comparable", "not run"
TESTED = (FAILS, UNDECIDED, HOLDS)
ORDER = (*TESTED, NOT_RUN, NOT_COMPARABLE, NOT_A_TWIN)  # in which a ledger is read: what fails stands at the top


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a claim in one group; without a group, nowhere."""

    claim: Claim
    verdict: str
    group: Group | None = None
    unit: str = "samples"
    reason: str = ""
    found: Estimate | None = None
    p: float = np.nan
    p_holm: float = np.nan
    needed: int | None = None  # seeds that would decide what is undecided, see `seeds_to_decide`

    @property
    def name(self) -> str:
        """Its anchor in a page."""
        where = (self.group.dataset, self.group.preset, self.group.device) if self.group else ()
        return re.sub(r"[^a-z0-9]+", "-", "-".join(filter(None, ("claim", self.claim.key, *where))).lower())

    @property
    def where(self) -> str:
        """ "SYNTHETIC TWIN, demo, cpu"; empty where nothing was tested."""
        return self.group.where if self.group else ""

    @property
    def p_text(self) -> str:
        return NOTHING if self.found is None else "< 0.001" if self.p_holm < 0.001 else f"{self.p_holm:.3f}"

    @property
    def needs(self) -> str:
        """What an undecided claim would take: "12 seeds", "more than 100 seeds"."""
        if self.found is None or self.verdict != UNDECIDED:
            return NOTHING
        return f"{self.needed} seeds" if self.needed else f"more than {MOST_SEEDS} seeds"

    @property
    def text(self) -> str:
        """ "+0.31 ± 0.05 cm (823 frames, 44 clusters, 1 seed and the reference's noise)"; the reason where there is no estimate."""
        if self.found is None:
            return self.reason
        found, unit = self.found, f" {self.claim.unit}" if self.claim.unit else ""
        groups = f", {found.clusters} clusters" if found.clusters != found.n else ""
        value = f"{minus(found.interval.text(self.claim.digits, sign=True))}{unit} ({found.n} {self.unit}{groups}, {found.noted})"
        return f"{value}; {self.reason}" if self.reason else value


# --- verdicts -----------------------------------------------------------------------------------------------------------


def decide(claims: Iterable[Claim], groups: dict[Group, Rows], *, known: dict[noise.Place, noise.Known] | None = None) -> list[Verdict]:
    """A verdict for every claim in each group that its table was run in, in the order of the claims; what fails is not put first.

    known: the noise of training, the committed reference's by default. Holm's families: the claims of one table in one group.

    A single seed confirms what the reference says, or leaves it open: where its verdict is another one, it is undecided. No interval
    could promise that. One training may come out two standard deviations off, and then the interval around it, however honest, lies elsewhere.
    """
    groups = {group: groups[group] for group in sorted(groups, key=lambda group: (group.device, group.is_twin, group))}
    known = {group.place: noise.known(group, rows) for group, rows in groups.items()} if known is None else known
    found = [one for claim in claims for one in _everywhere(claim, groups, known)]
    families: dict[tuple, list[int]] = {}
    for i, one in enumerate(found):
        if one.found is not None:
            families.setdefault((one.claim.table, one.group), []).append(i)
    for members in families.values():
        for i, p in zip(members, holm([found[i].p for i in members]), strict=True):
            found[i] = _decided(found[i], float(p), known[found[i].group.place].verdicts.get(found[i].claim.key))
    return found


def _decided(one: Verdict, p: float, reference: str | None) -> Verdict:
    """With the corrected p; reference: the verdict of the committed reference, which binds a single seed."""
    found, region = one.found, (one.claim.low, one.claim.high)
    told = verdict(found, p, *region)
    bound = found.seeds < 2 and reference in TESTED and told not in (UNDECIDED, reference)
    reason = f"one seed alone says {told}, the reference {reference}" if bound else ""
    told = UNDECIDED if bound else told
    needed = seeds_to_decide(found, p / one.p if one.p else 1.0, *region) if told == UNDECIDED else None
    return replace(one, p_holm=p, verdict=told, reason=reason, needed=needed)


def reference_noise(claims: Iterable[Claim], groups: dict[Group, Rows]) -> dict[noise.Place, noise.Known]:
    """What the reference is to tell of the noise of training: of rows and differences, and of every claim with its verdict there."""
    known = noise.measure(groups)
    for one in decide(claims, groups, known=known):
        if one.found is None:
            continue
        at = known[one.group.place]
        at.verdicts[one.claim.key] = one.verdict
        for i, found in enumerate(_samples(one.claim, one.group, groups, known)):
            if found.noise.seeds:
                at.noise.setdefault(noise.claimed(one.claim.key), {})[str(i)] = found.noise
    return known


def stored_in(table: str) -> str:
    """The table whose records hold the rows of `table`."""
    return get(table).records or table if table in NAMES else table


def _everywhere(claim: Claim, groups: dict[Group, Rows], known: dict[noise.Place, noise.Known]) -> list[Verdict]:
    places = [group for group in groups if group.table == stored_in(claim.table) and _offered(claim, group)]
    where = f" with preset {' or '.join(claim.presets)}" if claim.presets else ""
    return [_test(claim, group, groups, known) for group in places] or [Verdict(claim=claim, verdict=NOT_RUN, reason=f"its table was not run{where}")]


def _offered(claim: Claim, group: Group) -> bool:
    """Whether the claim's table has this data set and preset, and this preset the claim's rows: tables that share records differ in that."""
    if claim.presets is not None and group.preset not in claim.presets:
        return False
    if claim.datasets is not None and group.dataset not in claim.datasets:
        return False
    if claim.table not in NAMES:
        return True
    table = get(claim.table)
    named = [table.row(row) for name, row in claim.needs if name == claim.table]
    return table.has(group.preset, group.dataset) and all(row.offered(group.preset, group.dataset) for row in named)


def _test(claim: Claim, group: Group, groups: dict[Group, Rows], known: dict[noise.Place, noise.Known]) -> Verdict:
    """The estimate and its p-value, not yet corrected; or why there is none."""
    unit = next(item.record.unit for seeds in groups[group].values() for item in seeds.values())
    at = {"claim": claim, "group": group, "unit": unit}
    if claim.kind == "size" and group.is_twin:
        return Verdict(**at, verdict=NOT_A_TWIN, reason="a twin's sizes are not the paper's")
    if claim.kind == "size" and not (group.preset.startswith("paper") and group.dataset in (claim.measured_on or (group.dataset,))):
        return Verdict(**at, verdict=NOT_COMPARABLE, reason="the published size is that of its own data set and networks")
    try:
        found = estimate(_samples(claim, group, groups, known))
    except (LookupError, ValueError) as error:
        return Verdict(**at, verdict=NOT_RUN, reason=str(error))
    return Verdict(**at, verdict=UNDECIDED, found=found, p=p_value(found, claim.low, claim.high))


def _samples(claim: Claim, group: Group, groups: dict[Group, Rows], known: dict[noise.Place, noise.Known]) -> list[Sample]:
    """The samples of a claim's contrasts, with what is known of their noise in `group` (that of another table's rows is filed there too)."""
    at = known[group.place]
    named, found = at.noise.get(noise.claimed(claim.key), {}), []
    for i, one in enumerate(claim.contrasts):
        table = get(one.table or claim.table) if (one.table or claim.table) in NAMES else None
        told = {"clusters": table.clusters, "same_training": table.share_training(one.rows)} if table else {}
        found.append(sample(one, _rows(one, group, groups), **told, known=named.get(str(i)), prior_df=at.prior_df))
    return found


def _rows(one: Contrast, group: Group, groups: dict[Group, Rows]) -> Rows:
    """The rows of `group`, or of the other table of a contrast: twin beside twin, real data beside real data, on the same kind of device."""
    if not one.table:
        return groups[group]
    for other, rows in groups.items():  # records may be of a table that shares the folder and has more data sets
        if other.table == stored_in(one.table) and other[2:] == group[2:] and (one.table not in NAMES or other.dataset in get(one.table).datasets):
            return rows
    raise LookupError(f"table {one.table} was not run with preset {group.preset} on {'its twin' if group.is_twin else 'real data'}")


# --- as it is read ------------------------------------------------------------------------------------------------------


def fails_first(found: Iterable[Verdict]) -> list[Verdict]:
    return sorted(found, key=lambda one: ORDER.index(one.verdict))


SHOWN = {
    "verdict": lambda one: one.verdict, "claim": lambda one: one.claim.sentence, "source": lambda one: one.claim.source,
    "data": lambda one: one.where or NOTHING, "statistic": lambda one: one.claim.statistic, "claimed": lambda one: one.claim.region,
    "estimate": lambda one: one.text, "p (Holm)": lambda one: one.p_text, "would decide": lambda one: one.needs, "why": lambda one: one.reason,
    "claim, its source, and the statistic": lambda one: f"**{one.claim.sentence}**<br>{one.claim.source}<br>{one.claim.statistic}"}
LEDGER = ("verdict", "claim", "source", "data", "statistic", "claimed", "estimate", "p (Holm)", "would decide")


def ledger_grid(found: Iterable[Verdict], columns: tuple[str, ...] = LEDGER) -> Grid:
    """One line for each claim and group. columns: of `SHOWN`."""
    return grid(columns, [[SHOWN[name](one) for name in columns] for one in found], numeric=False)


def ledger_numbers(found: Iterable[Verdict]) -> pd.DataFrame:
    """The same with plain numbers; what a claim has not is left empty."""
    return pd.DataFrame([_numbers(one, one.claim) for one in found])


def _numbers(one: Verdict, claim: Claim) -> dict:
    group, found = one.group or Group("", "", "", "", None), one.found
    interval = found.interval if found else None
    estimated = ("estimate", "estimate_low", "estimate_high", "n", "sample_unit", "clusters", "seeds", "training_noise", "p", "p_holm",
                 "seeds_to_decide")
    values = (interval.mean, interval.low, interval.high, found.n, one.unit, found.clusters, found.seeds, found.trainings, one.p,
              one.p_holm, one.needed) if found else (None,) * len(estimated)
    return {"verdict": one.verdict, "key": claim.key, "claim": claim.sentence, "source": claim.source, "table": claim.table, "kind": claim.kind,
            "statistic": claim.statistic, "unit": claim.unit, "claimed_low": claim.low, "claimed_high": claim.high, "published": claim.published,
            "dataset": group.dataset, "is_twin": group.is_twin, "preset": group.preset, "device": group.device,
            **dict(zip(estimated, values, strict=True)), "reason": one.reason}
