"""The claim ledger: that its sentences name rows and values that exist, and that made-up records get the verdicts they deserve."""

import json
import os

import numpy as np
import pytest

from lib import claims
from lib.claims import decide
from lib.claims.claim import Contrast, Piece, contrast, direction, equivalence, less, sample, size
from lib.claims.decide import NOT_A_TWIN, NOT_COMPARABLE, NOT_RUN, fails_first, ledger_grid, ledger_numbers, stored_in
from lib.claims.gaze import error
from lib.claims.recognition import SMALL_MINUS_LARGE
from lib.claims.verdicts import FAILS, HOLDS, UNDECIDED
from lib.results.records import ROOT, Item, Record, RecordStore
from lib.results.statistics import OWN
from lib.results.store import Group, Rows, group_of, read_folder
from lib.tables import NAMES, get

LATER = ("cub_beats_look_again", "beyond_")  # how keys of claims begin whose rows are newer than the committed records
REFERENCE = ROOT / "results" / "reference"
pytestmark = pytest.mark.usefixtures("no_reference")


def record(row: str, values: dict[str, np.ndarray], *, table: str = "made_up", seed: int = 0, dataset: str = "twin", preset: str = "demo",
           data: str = "a") -> tuple[Record, dict]:
    n = len(next(iter(values.values())))
    return Record(table=table, row=row, seed=seed, preset=preset, dataset=dataset, is_twin=dataset == "twin", n=n, unit="images",
                  summary={}, depends={"data": {"test": data}}), values


def gather(records) -> dict[Group, Rows]:
    """Made-up records as the store gives them."""
    groups: dict[Group, Rows] = {}
    for one, values in records:
        groups.setdefault(group_of(one), {}).setdefault(one.row, {})[one.seed] = Item(one, values)
    return groups


def gathered(records) -> Rows:
    """Those of one group."""
    (rows,) = gather(records).values()
    return rows


def scores(mean: float, *, n: int = 100, seed: int = 0, spread: float = 1.0) -> dict[str, np.ndarray]:
    """Values whose mean is `mean`, without sampling error."""
    values = np.random.default_rng(seed).normal(size=n)
    return {"score": mean + spread * (values - values.mean())}


ABOUT = {"source": "a paper, Table 1", "table": "made_up", "statistic": "score of a minus score of b"}
A_ABOVE_B = direction("above", "a is better than b.", contrast(less("a", "b"), "score"), **ABOUT)
ALIKE = equivalence("alike", "a is as good as b.", contrast(less("a", "b"), "score"), margin=0.5, **ABOUT)
BY_TWO = size("by_two", "a is better than b by 2.", contrast(less("a", "b"), "score"), published=2.0, measured_on=("real",), **ABOUT)


def verdicts(chosen, a: float, b: float = 0.0, **options) -> list[str]:
    place = gather([record("a", scores(a, seed=1), **options), record("b", scores(b, seed=2), **options)])
    return [one.verdict for one in decide(chosen, place)]


# --- verdicts -----------------------------------------------------------------------------------------------------------


def test_made_up_records_hold_fail_and_stay_undecided():
    assert verdicts([A_ABOVE_B], 1.0) == [HOLDS]
    assert verdicts([A_ABOVE_B], -1.0) == [FAILS]
    assert verdicts([A_ABOVE_B], 0.1) == [UNDECIDED]


def test_an_equivalence():
    assert verdicts([ALIKE], 0.0) == [HOLDS]
    assert verdicts([ALIKE], 2.0) == verdicts([ALIKE], -2.0) == [FAILS]
    assert verdicts([ALIKE], 0.4) == [UNDECIDED]


def test_a_size_is_decided_on_the_papers_data_and_networks_alone():
    assert verdicts([BY_TWO], 2.0) == [NOT_A_TWIN]
    assert verdicts([BY_TWO], 2.0, dataset="other", preset="paper") == verdicts([BY_TWO], 2.0, dataset="real") == [NOT_COMPARABLE]
    assert verdicts([BY_TWO], 2.1, dataset="real", preset="paper") == [HOLDS]
    assert verdicts([BY_TWO], 0.1, dataset="real", preset="paper") == [FAILS]
    assert verdicts([BY_TWO], 1.1, dataset="real", preset="paper") == [UNDECIDED]


def test_what_is_missing_is_said():
    def why(*records) -> str:
        (one,) = decide([A_ABOVE_B], gather(records))
        assert one.verdict == NOT_RUN and one.found is None
        return one.reason

    a = record("a", scores(1))
    assert why() == "its table was not run"
    assert why(a) == "row b was not run"
    assert why(a, record("b", {"other": np.zeros(100)})) == "row b has no value score"
    assert why(a, record("b", scores(0), seed=1)) == "rows a, b have no seed in common"
    assert why(a, record("b", scores(0), data="other pictures")) == "rows a, b were computed on different data"


def test_holm_corrects_within_a_table_data_set_and_preset():
    """Ten claims on noise make the one that is barely significant undecided; claims of another preset do not."""
    noise = [direction(f"noise {i}", "b is better than c.", contrast(less("b", "c"), "score"), **ABOUT) for i in range(10)]
    here = [record("a", scores(0.35, seed=1)), record("b", scores(0, seed=2)), record("c", scores(0, seed=3))]
    there = [record("b", scores(0, seed=2), preset="other"), record("c", scores(0, seed=3), preset="other")]
    alone = decide([A_ABOVE_B], gather(here))[0]
    among = next(one for one in decide([A_ABOVE_B, *noise], gather(here)) if one.claim.key == "above")
    apart = next(one for one in decide([A_ABOVE_B, *noise], gather(there + here[:2])) if one.claim.key == "above" and one.group.preset == "demo")
    assert (alone.verdict, among.verdict, apart.verdict) == (HOLDS, UNDECIDED, HOLDS)
    assert among.p == alone.p and among.p_holm == pytest.approx(11 * alone.p)


# --- contrasts ----------------------------------------------------------------------------------------------------------


def test_both_devices_weigh_alike_whatever_their_number_of_frames():
    tablet = np.arange(100) < 80
    rows = [record(name, {"error_cm": np.where(tablet, *error), "tablet": tablet, "subject": np.arange(100) // 10})
            for name, error in (("plain", (5.0, 2.0)), ("sampler", (3.0, 1.6)))]
    place = gathered(rows)
    found = sample(error(less("plain", "sampler")), place, clusters="subject")
    assert np.mean(found.per_seed) == pytest.approx((2.0 + 0.4) / 2) and len(np.unique(found.clusters)) == 10


def test_small_objects_are_those_below_the_median_box():
    share = np.concatenate([np.full(40, 0.1), np.full(40, 0.5), np.full(20, np.nan)])
    plain = {"top1": np.zeros(100)}
    ours = {"top1": np.concatenate([np.full(40, 0.9), np.full(40, 0.2), np.ones(20)]), "box_share": share}
    place = gathered([record("plain", plain), record("sampler", ours)])
    found = sample(Contrast(rows=less("sampler", "plain"), pieces=SMALL_MINUS_LARGE), place).per_seed
    assert np.nanmean(found) == pytest.approx(70) and np.isfinite(found).sum() == 80  # pictures without a box do not count


def test_two_tables_are_independent_samples():
    """Twin beside twin: a gain in one table against a gain in another."""
    other = contrast(less("b", "a"), "score", table="elsewhere")
    claim = direction("more", "a gains more here.", contrast(less("a", "b"), "score"), other, **ABOUT)
    here = [record("a", scores(3, seed=1)), record("b", scores(1, seed=2))]
    there = [record("a", scores(1, seed=3, n=50), table="elsewhere"), record("b", scores(0.5, seed=4, n=50), table="elsewhere")]
    (one,) = decide([claim], gather(here + there))
    assert one.found.mean == pytest.approx(1.5) and one.found.n == 150 and one.verdict == HOLDS
    (alone,) = decide([claim], gather(here))
    assert alone.verdict == NOT_RUN and alone.reason == "table elsewhere was not run with preset demo on its twin"


def test_training_noise_of_other_rows_counts_and_untrained_rows_add_none():
    rng = np.random.default_rng(0)
    rows = [record(row, scores(rng.normal(), seed=seed), seed=seed) for row in "abcdef" for seed in range(3)]
    rows += [record("fixed", scores(0, seed=9), seed=seed) for seed in range(3)]
    place = gathered(rows)

    def noise(first: str, second: str, **options):
        return sample(contrast(less(first, second), "score"), place, **options).noise

    means = np.array([[place[row][seed].values["score"].mean() for seed in range(3)] for row in "abcdef"])
    assert noise("a", "b").prior.variance == pytest.approx(2 * means.var(axis=1, ddof=1).mean())
    assert noise("a", "b").seeds.variance == pytest.approx((means[0] - means[1]).var(ddof=1)) and noise("a", "b").seeds.df == 2
    assert noise("a", "fixed").prior.variance == pytest.approx(noise("a", "b").prior.variance / 2)
    assert noise("a", "b", same_training=True).prior is None
    assert noise("a", "b", prior_df=7).prior.df == 7
    place = gathered(rows[1:])  # row a lost a seed
    assert len(sample(contrast(less("a", "b"), "score"), place).per_seed) == 2 and noise("a", "b").seeds.df == 1


@pytest.mark.parametrize(("table", "rows", "shared"), [
    ("salicon", ("decoder", "encoder_a"), True), ("salicon", ("encoder_a", "mse"), False), ("inaturalist", ("cam", "plain"), True),
    ("inaturalist", ("sampler",), False), ("unzoomed", ("sampler", "not_unzoomed"), True), ("salicon", ("centre_bias", "uniform"), False)])
def test_rows_that_show_one_training_are_told_by_their_table(table, rows, shared):
    """A decoder and its encoder, a second look and its first: the noise of independent rows is not theirs."""
    assert get(table).share_training(rows) is shared


def test_seeds_shrink_what_training_noise_they_average():
    rng = np.random.default_rng(1)
    rows = [record(row, scores(rng.normal(0, 0.3), seed=20 + i, n=400), seed=seed) for i, row in enumerate("abcdefgh") for seed in range(9)]
    few = decide([A_ABOVE_B], gather(one for one in rows if one[0].seed < 3))[0].found
    many = decide([A_ABOVE_B], gather(rows))[0].found
    assert few.trainings == many.trainings == OWN and (few.seeds, many.seeds) == (3, 9) and many.after(9).variance < few.after(3).variance


# --- records ------------------------------------------------------------------------------------------------------------


def test_stored_records_are_read_and_the_newer_of_two_counts(tmp_path):
    """A claim of the ledger, from files: the older record of a row, a damaged one and a checkpoint beside it change nothing."""
    store = RecordStore(tmp_path, table="salicon", dataset="twin", preset="demo")
    for i, (row, key, mean) in enumerate((("encoder_a", "older", -5.0), ("encoder_a", "newer", 1.0), ("mse", "key", 0.0))):
        store.save(record(row, {"nss": scores(mean, seed=i)["score"]}, table="salicon")[0], key, {"nss": scores(mean, seed=i)["score"]})
        os.utime(store.path(row, 0, key, "json"), (1000 + i,) * 2)
    (store.folder / "mse-seed1-broken.json").write_text("{}")
    store.path("mse", 0, "key", "ckpt").write_text("not a record")
    (found,) = [one for one in decide(claims.ledger(), read_folder(tmp_path).groups) if one.claim.key == "emlnet_loss"]
    assert found.verdict == HOLDS and found.found.mean == pytest.approx(1.0)
    with open(store.path("encoder_a", 0, "newer", "npz"), "ab") as file:
        file.write(b"changed")
    (found,) = [one for one in decide(claims.ledger(), read_folder(tmp_path).groups) if one.claim.key == "emlnet_loss"]
    assert found.verdict == FAILS and found.found.mean == pytest.approx(-5.0), "values that are not their record's do not count"


# --- as it is read ------------------------------------------------------------------------------------------------------


def test_failing_claims_stand_at_the_top():
    rows = [record("a", scores(1, seed=1)), record("b", scores(0, seed=2)), record("c", scores(0.02, seed=3))]
    others = [direction(key, key, contrast(less(*pair), "score"), **ABOUT) for key, pair in (("reversed", "ba"), ("noise", "bc"), ("absent", "ax"))]
    found = fails_first(decide([A_ABOVE_B, BY_TWO, *others], gather(rows)))
    assert [one.verdict for one in found] == [FAILS, UNDECIDED, HOLDS, NOT_RUN, NOT_A_TWIN]
    assert [one.claim.key for one in found] == ["reversed", "noise", "above", "absent", "by_two"]
    line = ledger_grid(found).frame().reset_index().iloc[2]
    assert line["estimate"].startswith("+1.00 ± 0.") and line["estimate"].endswith("(100 images, 1 seed, pictures only)")
    assert (line["data"], line["claimed"], line["source"]) == ("SYNTHETIC TWIN, demo, unknown", "> 0", "a paper, Table 1")
    assert found[4].claim.region == "+1.00 to +3.00" and ALIKE.region == "−0.50 to +0.50"


# --- the ledger itself --------------------------------------------------------------------------------------------------


def test_the_ledger_is_whole():
    ledger = claims.ledger()
    keys = [claim.key for claim in ledger]
    assert len(ledger) >= 24 and len(set(keys)) == len(keys)
    assert len({claim.sentence for claim in ledger}) == len(ledger)
    for claim in ledger:
        assert claim.source and claim.sentence.endswith(".") and claim.statistic and claim.kind in ("direction", "equivalence", "size"), claim.key
        assert claim.low < claim.high and (claim.kind == "size") == (claim.published is not None), claim.key
        assert "[MEM]" not in f"{claim.sentence}{claim.source}{claim.statistic}"
    assert all(sentence.source and sentence.why for sentence in claims.left_out())


@pytest.mark.parametrize("claim", claims.ledger(), ids=lambda claim: claim.key)
def test_claims_name_rows_and_values_that_exist(claim):
    """Rows are the tables' own; values are stored by the reference records."""
    for one in claim.contrasts:
        table = one.table or claim.table
        if table not in NAMES:
            continue
        assert set(one.rows) <= {row.name for row in get(table).rows}
        if claim.presets is not None and "demo" not in claim.presets:
            continue  # of rows that the reference has not
        stored = {row: _values_of(stored_in(table), row) for row in one.rows}
        for piece in one.pieces:
            assert all(set(piece.values) <= values for values in stored.values() if values is not None), piece
            assert all(any(name in values for values in stored.values() if values is not None) for name in piece.reads)


def _values_of(table: str, row: str) -> set[str] | None:
    path = REFERENCE / "records" / table / "twin-demo" / f"{row}-seed0.npz"
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as archive:
        return set(archive.files)


def test_sizes_are_the_differences_of_the_tables_published_values():
    """What the ledger calls published is what Tables 1 to 4 hold, worked out from the rows."""
    columns = {"error_cm": ("iPad", "iPhone"), "top1": ("top-1",), "top5": ("top-5",)}
    checked = 0
    for claim in claims.ledger():
        if claim.kind != "size" or claim.table not in ("gazecapture", "inaturalist", "cub200") or claim.published == 0:
            continue
        rows = {row.name: row.published for row in get(claim.table).rows}
        (one,) = claim.contrasts
        (metric,) = one.pieces[0].values
        known = {round(sum(weight * rows[row][column] for row, weight in one.rows.items()), 2) for column in columns[metric]}
        assert claim.published in known, claim.key
        checked += 1
    assert checked >= 10


def test_the_reference_records_are_decided():
    """Every claim gets a verdict from the committed records; nothing is a size on a twin, and no row or value is missing but of `LATER`."""
    found = decide(claims.ledger(), read_folder(REFERENCE).groups)
    assert {one.claim.key for one in found} == {claim.key for claim in claims.ledger()}
    for one in found:
        absent = one.claim.key.startswith(LATER) or one.group is None
        absent |= "was not run with preset" in one.reason  # of two tables, of which one has photographs
        assert one.verdict != NOT_RUN or absent, one
        assert one.claim.kind != "size" or one.found is None
    assert json.loads(ledger_numbers(found).to_json())  # plain enough to be written anywhere


def test_records_of_a_shared_folder_are_of_the_tables_that_know_their_data():
    """The successors' rows on real birds lie where Table 2's records do, and are no photographs of iNaturalist."""
    stored = read_folder(REFERENCE)
    assert all(group.dataset in table.datasets for table, group, _ in stored.filled())
    assert ("successors", "cub200") in {(table.name, group.dataset) for table, group, _ in stored.filled()}
    gain = [one for one in decide(claims.ledger(), stored.groups) if one.claim.key == "cub_gains_less"]
    assert {(one.group.dataset, one.verdict == NOT_RUN) for one in gain} == {("twin", False), ("cub200", True)}


def test_a_piece_weighs_its_values():
    piece = Piece(values={"shown": 100.0, "chance": -100.0})
    np.testing.assert_allclose(piece.of({"shown": np.array([1, 0]), "chance": np.array([0.6, 0.6], dtype=np.float32)}), [40, -60], rtol=1e-6)
