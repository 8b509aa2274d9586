"""The pages that are made from the committed records: `python -m lib.report.readme` writes them anew, a test compares them.

README.md and data/README.md have tables between markers; results/README.md is made whole (`lib.report.files`).

    <!-- table: NAME -->
    ... (generated)
    <!-- end -->

summary    for each paper its main claims, in six words, with the paper's value, ours on real data and on the twin, and the verdict
claims     how many claims fail, are undecided and hold, by data
licences   of every data set (`lib.report.sources`)

`LINES` says which claim of `lib.claims` each line of the summary is. Everything else follows from the records: of every real data set the best
preset that was run (`PRESETS`), and the twin's. A claim without a record is said to be not run. The paper's value is the claim's own statistic
of the values that the paper printed; a dash, where it printed none.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lib import claims, tables
from lib.claims.claim import Claim
from lib.claims.decide import NOT_RUN, Verdict
from lib.files import ROOT, write_text
from lib.report.contents import Report, collect
from lib.report.files import counts, text
from lib.report.sources import licences, title
from lib.results.grids import NOTHING, Grid, grid, markdown, minus

REFERENCE = ROOT / "results" / "reference"
README, DATA, RESULTS = ROOT / "README.md", ROOT / "data" / "README.md", ROOT / "results" / "README.md"
MARKED = re.compile(r"(<!-- table: (?P<name>[^>]*?) -->\n)(?P<body>.*?)(?=<!-- end -->)", re.DOTALL)
PRESETS = ("paper", "released", "photos", "demo")  # the nearest to the paper first; others before the demo, by name
BREAK, NO_BREAK = "<br>", "\N{NO-BREAK SPACE}"
HEAD = ("paper", "claim", "the paper", "real data", "drawn twin", "verdict")
BOTH_DEVICES, TOP1 = {"iPad": 0.5, "iPhone": 0.5}, {"top-1": 1.0}


@dataclass(frozen=True)
class Line:
    """A claim in about six words. keys: of `lib.claims`, the first that was tested in a place counts; columns: what of the table the paper prints."""

    paper: str
    words: str
    keys: tuple[str, ...]
    columns: dict[str, float] = field(default_factory=dict)


LINES = (
    Line("Learning to Zoom, Table 1", "smaller gaze error than plain AlexNet", ("gaze_beats_plain",), BOTH_DEVICES),
    Line("Table 1", "closes nine tenths of iTracker's lead", ("gaze_like_itracker",), BOTH_DEVICES),
    Line("Table 2", "higher top-1 than the plain network", ("inat_top1",), TOP1),
    Line("Table 2", "higher top-1 than TPS, the strongest rival", ("inat_beats_stn_tps",), TOP1),
    Line("Table 2", "beats a larger input of equal cost", ("inat_same_cost",), TOP1),
    Line("Table 3", "deeper saliency network helps, ever less", ("depth_diminishing",), TOP1),
    Line("Table 4", "higher top-1 on birds", ("cub_top1",), TOP1),
    Line("Table 4", "enlarges the bird's head (times)", ("cub_head",)),
    Line("EML-NET", "combined loss beats squared error (NSS)", ("emlnet_loss",)),
    Line("EML-NET", "two encoders beat the first (NSS)", ("emlnet_two_a_nss",)),
    Line("Mr-CNN", "three resolutions beat the coarsest (sAUC)", ("mrcnn_three_one_150",)),
    Line("Mr-CNN", "predicts better than the centre (sAUC)", ("mrcnn_beats_centre_auc_shuffled",)),
    Line("region proposal", "the head chooses helpful crops", ("finds_proposal", "chooses_proposal")),
    Line("region proposal", "crops do not beat the whole picture", ("proposal_no_gain",)),
    Line("successors", "2018's grid beats FOVEA's", ("beyond_learned_separable",)),
    Line("successors", "zooming and carrying back helps EML-NET", ("beyond_dense_zoom",)),
)


def summary(ledger: Iterable[Verdict]) -> Grid:
    """The table; `ledger` may lack any claim."""
    tested = [one for one in ledger if one.verdict in claims.TESTED and one.group is not None]
    known = {claim.key: claim for claim in claims.ledger()}
    return grid(HEAD, [_cells(line, [known[key] for key in line.keys], tested) for line in LINES], numeric=False)


def _cells(line: Line, about: list[Claim], tested: list[Verdict]) -> list[str]:
    real, twin = (best([one for one in tested if one.claim.key in line.keys and one.group.is_twin == is_twin], line) for is_twin in (False, True))
    offered = any(claim.presets is None or "demo" in claim.presets for claim in about)  # the twin's preset
    verdicts = [f"{title(one.group.dataset)}: {one.verdict}" for one in real] + [f"twin: {one.verdict}" for one in twin]
    return [line.paper, line.words, published(about[0], line.columns), shown(real, named=True) or NOT_RUN,
            shown(twin) or (NOT_RUN if offered else NOTHING), BREAK.join(verdicts) or NOT_RUN]


def best(found: list[Verdict], line: Line) -> list[Verdict]:
    """One for each data set: of the preset nearest to the paper, then of the first key."""
    def rank(one: Verdict) -> tuple:
        preset = one.group.preset
        near = next((i for i, name in enumerate(PRESETS) if preset == name), PRESETS.index("demo") - 0.5)
        return near, line.keys.index(one.claim.key), preset, one.group.device

    return [min((one for one in found if one.group.dataset == data), key=rank) for data in dict.fromkeys(one.group.dataset for one in found)]


def shown(found: list[Verdict], *, named: bool = False) -> str:
    """ "OSIE: +0.43 ± 0.11", one line for each data set."""
    return BREAK.join(f"{title(one.group.dataset)}: " * named + value(one) for one in found)


def value(one: Verdict) -> str:
    claim = one.claim
    number = minus(one.found.interval.text(claim.digits, sign=claim.low <= 0))
    return number.replace(" ", NO_BREAK) + f" {claim.unit}" * bool(claim.unit)


def published(claim: Claim, columns: dict[str, float]) -> str:
    """The claim's statistic of the values that the paper printed."""
    total = 0.0
    for contrast in claim.contrasts:
        table = tables.get(contrast.table or claim.table)
        for row, weight in contrast.rows.items():
            printed = table.row(row).published
            if not columns or not columns.keys() <= printed.keys():
                return NOTHING
            total += weight * sum(share * printed[column] for column, share in columns.items())
    return minus(f"{total:+z.{claim.digits}f}") + f" {claim.unit}" * bool(claim.unit)


TABLES: dict[str, Callable[[list[Verdict]], Grid]] = {"summary": summary, "claims": counts, "licences": lambda ledger: licences()}


def generate(words: str, ledger: list[Verdict]) -> str:
    """`words` with every marked table made anew; ValueError names a marker that there is not."""
    def anew(found: re.Match) -> str:
        if found["name"] not in TABLES:
            raise ValueError(f"a marker names table {found['name']!r}, which there is not; write one of {', '.join(TABLES)}")
        return f"{found[1]}{markdown(TABLES[found['name']](ledger))}\n"

    return MARKED.sub(anew, words)


def pages(report: Report) -> dict[Path, str]:
    """What each page should be."""
    marked = {path: generate(path.read_text(encoding="utf-8"), report.ledger) for path in (README, DATA)}
    return marked | {RESULTS: text(report, RESULTS.parent)}


def main() -> None:
    for path, words in pages(collect(REFERENCE)).items():
        write_text(path, words)


if __name__ == "__main__":
    main()
