"""A verdict on every claim in every group of finished rows, and the ledger as it is read."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from lib.claims.claim import Claim, Contrast
from lib.claims.samples import sample
from lib.claims.verdicts import FAILS, HOLDS, UNDECIDED, Estimate, estimate, holm, p_value, verdict
from lib.results.grids import NOTHING, Grid, grid, minus
from lib.results.store import MEANINGLESS, Group, Rows
from lib.tables import NAMES, get

NOT_A_TWIN, NOT_COMPARABLE, NOT_RUN = "not for a twin", "not comparable", "not run"
TESTED = (FAILS, UNDECIDED, HOLDS)
ORDER = (*TESTED, NOT_RUN, NOT_COMPARABLE, NOT_A_TWIN)  # in which a ledger is read: what fails stands at the top
COLUMNS = ("verdict", "claim", "source", "data", "statistic", "claimed", "estimate", "p (Holm)")


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
    def text(self) -> str:
        """ "+0.31 ± 0.05 cm (823 frames, 44 clusters, 1 seed without training noise)"; the reason where there is no estimate."""
        if self.found is None:
            return self.reason
        found, unit = self.found, f" {self.claim.unit}" if self.claim.unit else ""
        groups = f", {found.clusters} clusters" if found.clusters != found.n else ""
        seeds = f"{found.seeds} seed{'s' if found.seeds > 1 else ''}" + ("" if found.trainings else " without training noise")
        return f"{minus(found.interval.text(self.claim.digits, sign=True))}{unit} ({found.n} {self.unit}{groups}, {seeds})"


# --- verdicts -----------------------------------------------------------------------------------------------------------


def decide(claims: Iterable[Claim], groups: dict[Group, Rows], *, leave_out: tuple[str, ...] = (MEANINGLESS,)) -> list[Verdict]:
    """A verdict for every claim in each group that its table was run in, in the order of the claims; what fails is not put first.

    leave_out: presets whose numbers mean nothing. Holm's families: the claims of one table in one group.
    """
    order = sorted(groups, key=lambda group: (group.device, group.is_twin, group))
    groups = {group: groups[group] for group in order if group.preset not in leave_out}
    found = [one for claim in claims for one in _everywhere(claim, groups)]
    families: dict[tuple, list[int]] = {}
    for i, one in enumerate(found):
        if one.found is not None:
            families.setdefault((one.claim.table, one.group), []).append(i)
    for members in families.values():
        for i, p in zip(members, holm([found[i].p for i in members]), strict=True):
            found[i] = replace(found[i], p_holm=float(p), verdict=verdict(found[i].found, p, found[i].claim.low, found[i].claim.high))
    return found


def stored_in(table: str) -> str:
    """The table whose records hold the rows of `table`."""
    return get(table).records or table if table in NAMES else table


def _everywhere(claim: Claim, groups: dict[Group, Rows]) -> list[Verdict]:
    places = [group for group in groups if group.table == stored_in(claim.table) and _offered(claim, group)]
    return [_test(claim, group, groups) for group in places] or [Verdict(claim=claim, verdict=NOT_RUN, reason="its table was not run")]


def _offered(claim: Claim, group: Group) -> bool:
    """Whether the claim's table has this data set and preset, and this preset the claim's rows: tables that share records differ in that."""
    if claim.table not in NAMES:
        return True
    table = get(claim.table)
    rows = {row.name: row.presets for row in table.rows}
    named = [rows.get(row) for name, row in claim.needs if name == claim.table]
    return group.dataset in table.datasets and group.preset in table.presets and all(one is None or group.preset in one for one in named)


def _test(claim: Claim, group: Group, groups: dict[Group, Rows]) -> Verdict:
    """The estimate and its p-value, not yet corrected; or why there is none."""
    unit = next(item.record.unit for seeds in groups[group].values() for item in seeds.values())
    at = {"claim": claim, "group": group, "unit": unit}
    if claim.kind == "size" and group.is_twin:
        return Verdict(**at, verdict=NOT_A_TWIN, reason="a twin's sizes are not the paper's")
    if claim.kind == "size" and not (group.preset.startswith("paper") and group.dataset in (claim.datasets or (group.dataset,))):
        return Verdict(**at, verdict=NOT_COMPARABLE, reason="the published size is that of its own data set and networks")
    try:
        found = estimate([sample(one, _rows(one, group, groups), clusters=_clusters(one.table or claim.table), same_training=claim.same_training)
                          for one in claim.contrasts])
    except (LookupError, ValueError) as error:
        return Verdict(**at, verdict=NOT_RUN, reason=str(error))
    return Verdict(**at, verdict=UNDECIDED, found=found, p=p_value(found, claim.low, claim.high))


def _clusters(table: str) -> str | None:
    """The per-sample value that groups the samples of `table`."""
    return get(table).clusters if table in NAMES else None


def _rows(one: Contrast, group: Group, groups: dict[Group, Rows]) -> Rows:
    """The rows of `group`, or of the other table of a contrast: twin beside twin, real data beside real data, on the same kind of device."""
    if not one.table:
        return groups[group]
    for other, rows in groups.items():
        if other.table == stored_in(one.table) and other[2:] == group[2:]:
            return rows
    raise LookupError(f"table {one.table} was not run with preset {group.preset} on {'its twin' if group.is_twin else 'real data'}")


# --- as it is read ------------------------------------------------------------------------------------------------------


def fails_first(found: Iterable[Verdict]) -> list[Verdict]:
    return sorted(found, key=lambda one: ORDER.index(one.verdict))


def ledger_grid(found: Iterable[Verdict]) -> Grid:
    """One line for each claim and group."""
    return grid(COLUMNS, [[one.verdict, one.claim.sentence, one.claim.source, one.where or NOTHING, one.claim.statistic, one.claim.region, one.text,
                           one.p_text] for one in found], numeric=False)


def ledger_numbers(found: Iterable[Verdict]) -> pd.DataFrame:
    """The same with plain numbers; what a claim has not is left empty."""
    return pd.DataFrame([_numbers(one, one.claim) for one in found])


def _numbers(one: Verdict, claim: Claim) -> dict:
    group, found = one.group or Group("", "", "", "", None), one.found
    interval = found.interval if found else None
    estimated = ("estimate", "estimate_low", "estimate_high", "n", "sample_unit", "clusters", "seeds", "training_noise", "p", "p_holm")
    values = (interval.mean, interval.low, interval.high, found.n, one.unit, found.clusters, found.seeds, found.trainings, one.p,
              one.p_holm) if found else (None,) * len(estimated)
    return {"verdict": one.verdict, "key": claim.key, "claim": claim.sentence, "source": claim.source, "table": claim.table, "kind": claim.kind,
            "statistic": claim.statistic, "unit": claim.unit, "claimed_low": claim.low, "claimed_high": claim.high, "published": claim.published,
            "dataset": group.dataset, "is_twin": group.is_twin, "preset": group.preset, "device": group.device,
            **dict(zip(estimated, values, strict=True)), "reason": one.reason}
