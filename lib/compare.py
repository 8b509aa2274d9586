"""Does the sampler help on my own pictures? `python -m lib compare FOLDER`.

FOLDER holds a folder for each class, or FOLDER/train, FOLDER/test with one each, or it is a CSV of paths and labels
(`lib.data.pictures_folder`). Three rows of the table `compare` are trained on it: a plain network, one that spends the sampler's operations
on resolution, and the sampler. The verdict is about top-1 on pictures that were kept back, picture by picture, over all seeds.

A verdict wants p < 0.01 after Holm's correction for the two comparisons: of a hundred folders on which nothing differs, one is to be told
that something does. The intervals that are printed are the usual 95 %. Where there is none, it is said how many pictures it would take.
Rows are kept as those of every other table: the same command goes on where it stopped, and with more seeds trains those alone.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lib.files import from_here
from lib.options import COMPARED
from lib.tables import get

if TYPE_CHECKING:
    from lib.results.filled import Filled
    from lib.results.statistics import Estimate
    from lib.runs.engine import Run

LEVEL = 0.01  # of a verdict
POWER = 0.8
TOP = 5  # answers that may hold the right one, see `filled`
WORTH = 3.0  # points of top-1: a difference that one would like to know of
HELPS, ALIKE, HURTS, UNDECIDED = "helps", "helps, but resolution does as well", "hurts", "undecided"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The sampler minus another row, in points of top-1. spread: of a picture's difference, averaged over the seeds; p: Holm's.

    alike: no test picture tells the two apart. Then the spread is that of one in two more (Laplace's rule), as it is not 0.
    """

    other: str
    label: str
    found: Estimate
    p: float
    spread: float
    alike: bool = False

    @property
    def name(self) -> str:
        return self.label[0].lower() + self.label[1:]

    @property
    def decided(self) -> int:
        """1 or -1 where it is above or below 0 beyond doubt, else 0."""
        return int(np.sign(self.found.mean)) if self.p < LEVEL else 0

    def takes(self, points: float) -> int:
        """Test pictures that tell a difference of so many points with `POWER` at `LEVEL`, training noise left out."""
        from scipy import stats

        return math.ceil((self.spread * (stats.norm.ppf(1 - LEVEL / 2) + stats.norm.ppf(POWER)) / points) ** 2)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of the question; differences: to the plain row, and to the one at the sampler's cost where it was run."""

    verdict: str
    differences: tuple[Difference, ...]
    pictures: int  # in all splits
    tested: int

    @property
    def text(self) -> str:
        from lib.results.statistics import NONE

        lines = [f"Verdict: the sampler {self.verdict}." if self.verdict != UNDECIDED else "Verdict: undecided. These pictures are too few to tell."]
        lines += [self._told(one) for one in self.differences]
        if not all(one.decided for one in self.differences):
            lines += [self._takes(one) for one in self.differences if not one.decided]
        if any(one.found.trainings == NONE for one in self.differences):
            lines.append("  One seed knows nothing of what another training would give: --seeds 3 does.")
        return "\n".join(lines)

    def _told(self, one: Difference) -> str:
        trained = f" and {one.found.seeds} trainings" if one.found.seeds > 1 else ", one training"
        if one.alike:  # 3 / n bounds a share of which n samples showed none
            most = min(100.0, 300 / self.tested)
            return (f"  sampler minus {one.name}: 0 points of top-1, for both answer alike on all {self.tested} test pictures; "
                    f"so the difference is at most {most:.0f} points (95 %)")
        return (f"  sampler minus {one.name}: {one.found.interval.text(1, sign=True)} points of top-1 "
                f"(95 % interval over {self.tested} test pictures{trained}), p {one.p:.3f}")

    def _takes(self, one: Difference) -> str:
        share = self.tested / self.pictures
        wanted = {points: one.takes(points) for points in sorted({WORTH, round(abs(one.found.mean), 1)}) if points >= 0.5}
        told = [f"{rounded(count / share):,} pictures ({rounded(count):,} to test on) for a difference of {points:g} points"
                for points, count in wanted.items()]
        return f"  To tell it from the {one.name} it would take about {', '.join(told)}."


def rounded(count: float) -> int:
    """Up to two digits: what an estimate is worth."""
    unit = 10 ** max(0, math.floor(math.log10(max(count, 1))) - 1)
    return math.ceil(count / unit) * unit


# --- the verdict --------------------------------------------------------------------------------------------------------


def decide(run: Run) -> Verdict:
    """The verdict on a table `compare` that has been run, with the table's own differences and noise of training.

    ValueError, one line, where the plain row or the sampler is missing.
    """
    from lib.claims.claim import contrast, less, sample
    from lib.claims.verdicts import p_value
    from lib.results.noise import difference
    from lib.results.statistics import estimate, holm

    rows = run.filled.rows
    if missing := [name for name in ("plain", "sampler") if name not in rows]:
        raise ValueError(f"row {missing[0]} was not run; a verdict compares the sampler with the plain network, so name both in --rows")
    others = [name for name in ("plain", "same_cost") if name in rows]
    samples = [sample(contrast(less("sampler", other), {"top1": 100.0}), rows, known=run.filled.known.of(difference("sampler", other), "top-1"))
               for other in others]
    found = [estimate([one]) for one in samples]
    p = [p_value(one) for one in found]
    alike = [not data.per_seed.any() for data in samples]
    spread = [100 / math.sqrt(one.n + 2) if same else float(data.per_seed.mean(0).std(ddof=1))
              for one, same, data in zip(found, alike, samples, strict=True)]
    differences = tuple(Difference(other=other, label=run.table.row(other).label, found=one, p=float(adjusted), spread=width, alike=same)
                        for other, one, adjusted, width, same in zip(others, found, holm(p), spread, alike, strict=True))
    data = run.opened().task.data
    return Verdict(verdict=_word(differences), differences=differences, pictures=sum(map(len, data.values())), tested=len(data["test"]))


def _word(differences: tuple[Difference, ...]) -> str:
    signs = [one.decided for one in differences]
    if signs[0] < 0:
        return HURTS
    return {0: UNDECIDED, 1: HELPS if min(signs) > 0 else ALIKE}[signs[0]]


# --- the command --------------------------------------------------------------------------------------------------------


def main(arguments: argparse.Namespace) -> None:
    """Train what is missing, write table and figures, and print the verdict."""
    run = prepared(from_here(arguments.folder), preset=arguments.preset, rows=arguments.rows, seeds=arguments.seeds, device=arguments.device,
                   results_dir=arguments.results_dir, elsewhere=bool(arguments.scheduler))
    run.run(scheduler=arguments.scheduler)
    print("\n".join(["", *run.opened().notes[1:], *written(run), decide(run).text]))


def prepared(folder: str | Path | None, *, preset: str, dataset: str | None = None, rows: str | None = None, seeds: int | str = 2,
             device: str = "auto", results_dir: str | Path = COMPARED, elsewhere: bool = False) -> Run:
    """The table `compare` on a folder (None: on drawn pictures), its usual rows and those of `rows`; nothing is trained yet.

    dataset: "pictures" or "twin"; by default what the folder says.
    """
    from lib.runs.engine import Run, settings
    from lib.tables.compare import USUAL

    table = get("compare")
    where = {"dataset": dataset or ("pictures" if folder else "twin"), "data_dir": folder}
    wanted = [*USUAL, *(rows.replace(",", " ").split() if rows else ())]
    return Run(table, settings(table, preset=preset, rows=wanted, seeds=seeds, device=device, results_dir=results_dir, elsewhere=elsewhere, **where))


def filled(run: Run) -> Filled:
    """The table with its finished rows: without top-5 where there are no more than five classes, of which any answer is right."""
    whole = run.filled
    if run.preset.outputs > TOP:
        return whole
    return replace(whole, table=replace(whole.table, columns=tuple(column for column in whole.table.columns if column.metric != f"top{TOP}")))


def written(run: Run) -> list[str]:
    """The table and the figures in the results folder: what the sampler sees, and which pictures it gains and loses. Returns their paths."""
    from lib.figures import recognition, style

    folder = run.settings.results_dir
    style.save(recognition.figure5(run, count=4), folder, "compare_seen")
    style.save(recognition.right_and_wrong(run), folder, "compare_gained_and_lost")
    table = filled(run).write(folder / "tables")[0]
    return ["", table.read_text(), str(table), *(str(folder / "figures" / f"{name}.png") for name in ("compare_seen", "compare_gained_and_lost")), ""]
