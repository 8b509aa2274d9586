"""The noise of training: what is committed follows from the reference's records, and a run of one seed is never surer than the reference."""

import dataclasses

import numpy as np
import pytest

from lib import claims, tables
from lib.claims.verdicts import FAILS, HOLDS, UNDECIDED
from lib.results import noise
from lib.results.cells import own, versus
from lib.results.filled import Filled, in_words
from lib.results.noise import Known, difference
from lib.results.records import ROOT
from lib.results.statistics import NONE, REFERENCE, Component, Noise
from lib.results.store import Stored, read_folder


@pytest.fixture(scope="module")
def groups():
    return read_folder(ROOT / "results" / "reference").groups


@pytest.fixture(scope="module")
def by_seed(groups):
    """Each seed of the groups that have several, as somebody's run; the first seeds are those of all groups."""
    seeds = {group: {seed for found in rows.values() for seed in found} for group, rows in groups.items()}
    return [{group: {row: {seed: found[seed]} for row, found in groups[group].items() if seed in found}
             for group in groups if len(seeds[group]) > 1 and seed in seeds[group]} for seed in sorted(set.union(*seeds.values()))]


def test_what_is_committed_follows_from_the_records(groups, tmp_path):
    """Every number, to the digits that are written; and reading gives what was written."""
    path = tmp_path / "noise.json"
    noise.write(claims.reference_noise(claims.ledger(), groups), path)
    assert path.read_text() == noise.FILE.read_text(), "python -c 'from lib.report import publish; publish.derive()' writes it anew"


def test_every_shown_mean_has_its_noise(groups):
    """The standard deviation over the seeds of each row and each paired difference, with its degrees of freedom; no row is left out."""
    for table, group, rows in Stored(groups=groups).filled():
        known = noise.committed()[group.place]
        for name, found in rows.items():
            for column in table.columns_of(group.preset):
                values = [column.samples(item.values) for item in found.values()]
                if len(found) < 2 or any(one is None or not np.isfinite(one).any() for one in values):
                    continue
                told, sd = known.of(name, column.name).seeds, np.std([np.nanmean(one) for one in values], ddof=1)
                assert told.variance**0.5 == pytest.approx(sd, rel=1e-4, abs=1e-6) and told.df == len(found) - 1
                other = rows.get(table.reference_of(name), {})
                theirs = [column.samples(item.values) for item in other.values()]
                shown = all(one is not None and np.isfinite(one).any() for one in theirs)
                if name != table.reference_of(name) and found.keys() == other.keys() and shown:
                    assert known.of(difference(name, table.reference_of(name)), column.name).seeds is not None


def test_provenance_is_told(groups):
    for group, rows in groups.items():
        known = noise.committed()[group.place]
        records = [item.record for found in rows.values() for item in found.values()]
        assert set(known.seeds) == {record.seed for record in records} and set(known.commits) == {record.provenance["commit"] for record in records}


# --- a run of one seed --------------------------------------------------------------------------------------------------


def test_one_seed_has_pictures_and_the_references_trainings_in_every_interval(by_seed, groups):
    """Wider than with pictures alone, and on average not narrower than the reference's own, whose seeds are more."""
    table, group = tables.get("cub200"), next(group for group in groups if group.table == "cub200" and group.is_twin)
    one, many = (Filled(table, group, found) for found in (by_seed[0][group], groups[group]))
    assert one.borrows and not many.borrows and f"reference's seeds {in_words(many.seeds)}" in one.caption
    assert "trainings as in the reference" in one.markdown()
    ratios = []
    for name in ("plain", "sampler", "cam", "oracle"):
        column = table.columns[0]
        alone = own(table, by_seed[0][group], name, column)
        ours = own(table, by_seed[0][group], name, column, one.known)
        assert alone.found.trainings == NONE and ours.found.trainings == REFERENCE and ours.interval.half > alone.interval.half
        assert ours.found.after(1).variance == pytest.approx(alone.found.after(1).variance + one.known.of(name, column.name).one.variance)
        ratios.append(ours.interval.half / many.cells[name, column.name].ours.interval.half)
    assert np.mean(ratios) > 1
    pair = versus(table, by_seed[0][group], "sampler", "plain", table.columns[0], one.known)
    assert pair.found.trainings == REFERENCE and "the reference's noise" in pair.note
    assert many.interval == "mean with 95 % interval over images and trainings"  # figure
    assert f"±: 95 %, over {many.varies[0]}" in many.about  # caption
    assert one.interval == "mean with 95 % interval over images, and trainings as in the reference"
    lines = one.numbers().set_index(["row", "column"])
    assert lines.loc[("plain", "top-1"), "interval_over"] == "images, and trainings as in the reference"


def test_what_the_reference_has_not_shown_is_said(by_seed, groups):
    group = next(group for group in groups if group.table == "cub200" and group.is_twin)
    other = Filled(tables.get("cub200"), group._replace(preset="paper-twin"), by_seed[0][group])
    assert not other.borrows and "images only" in other.caption and "pictures only" in other.markdown()


def test_no_verdict_of_one_seed_contradicts_the_reference_or_is_surer(by_seed, groups):
    reference = {(one.claim.key, one.group): one.verdict for one in claims.decide(claims.ledger(), groups) if one.found}
    for run in by_seed:
        found = [one for one in claims.decide(claims.ledger(), run) if one.found]
        whole = [group for group in run if run[group].keys() == groups[group].keys()]  # else a claim may lack a row; some are about two tables
        assert len(found) >= 0.8 * sum(group in whole for _, group in reference)
        for one in found:
            wanted = reference[one.claim.key, one.group]
            assert one.verdict in (UNDECIDED, wanted), one.claim.key
            assert one.verdict != UNDECIDED or one.reason == "" or wanted in one.reason
        if len(run) == len(by_seed[0]):
            assert sum(one.verdict == HOLDS for one in found) >= 5  # and still it says something


def test_the_rule_binds_one_seed_and_no_more(by_seed, groups):
    """With another verdict in the reference a single seed is undecided; two seeds decide by themselves."""
    group = next(group for group in groups if group.table == "inaturalist" and group.is_twin)
    known = {group.place: noise.known(group, groups[group])}
    turned = {place: dataclasses.replace(one, verdicts={key: FAILS for key in one.verdicts}) for place, one in known.items()}
    key = next(one.claim.key for one in claims.decide(claims.ledger(), {group: by_seed[0][group]}, known=known) if one.verdict == HOLDS)

    def verdict(rows, known):
        return next(one for one in claims.decide(claims.ledger(), {group: rows}, known=known) if one.claim.key == key)

    two = {row: {seed: item for seed, item in found.items() if seed < 2} for row, found in groups[group].items()}
    bound = verdict(by_seed[0][group], turned)
    assert bound.verdict == UNDECIDED and "holds" in bound.reason and "fails" in bound.reason and bound.reason in bound.text
    assert verdict(two, turned).verdict == verdict(two, known).verdict != FAILS


def test_undecided_claims_say_what_they_would_take(groups):
    found = [one for one in claims.decide(claims.ledger(), groups) if one.verdict == UNDECIDED]
    assert all(one.needed is None or one.found.seeds < one.needed <= 100 for one in found)
    assert any(one.needed for one in found) and any(one.needed is None and one.needs == "more than 100 seeds" for one in found)
    assert all(one.needs == "–" for one in claims.decide(claims.ledger(), groups) if one.verdict != UNDECIDED)


# --- the file -----------------------------------------------------------------------------------------------------------


def test_a_difference_that_is_not_there_is_that_of_two_independent_rows():
    known = Known({"a": {"x": Noise(Component(1.0, 9))}, "b": {"x": Noise(Component(3.0, 2))}})
    assert known.of("a - b", "x").one == Component(4.0, 2) and known.of("a - c", "x") == Noise() and known.of("c", "x") == Noise()


@pytest.mark.parametrize("text", ["", "{}", '{"groups": [{"table": "salicon"}]}', '{"groups": [[]]}'])
def test_a_damaged_file_is_one_line_that_names_it(tmp_path, monkeypatch, text):
    path = tmp_path / "noise.json"
    path.write_text(text)
    monkeypatch.setattr(noise, "FILE", path)
    with pytest.raises(ValueError, match="noise.json") as error:
        noise.committed()
    assert "\n" not in str(error.value)


def test_without_the_file_nothing_is_known(no_reference):
    assert noise.committed() == {}


def test_a_claim_about_two_rows_has_the_interval_of_their_difference_in_the_table(groups):
    """One notion of ±: where a claim is a difference that its table shows too, ledger and table agree to the digits that noise.json keeps."""
    filled = {(table.name, group): Filled(table, group, rows) for table, group, rows in Stored(groups=groups).filled()}
    compared = 0
    for verdict in claims.decide(claims.ledger(), groups):
        if verdict.found is None or len(verdict.claim.contrasts) != 1:
            continue
        (one,), table = verdict.claim.contrasts, tables.get(verdict.claim.table)
        columns = [column for column in table.columns for piece in one.pieces
                   if piece.values == {column.metric: column.scale} and piece.where is None and column.where is None]
        first, second = (next((row for row, weight in one.rows.items() if weight == wanted), None) for wanted in (1.0, -1.0))
        if len(one.pieces) > 1 or len(one.rows) != 2 or not columns or None in (first, second) or one.table not in ("", table.name):
            continue
        if not any(b == table.reference_of(a) or (a, b) in table.comparisons for a, b in ((first, second), (second, first))):
            continue  # no table shows it
        its = filled[table.name, verdict.group]
        shown, own = versus(table, its.rows, first, second, columns[0], its.known).interval, verdict.found.interval
        assert own.mean == pytest.approx(shown.mean, abs=1e-9), verdict.claim.key
        assert own.half == pytest.approx(shown.half, rel=0.01), verdict.claim.key
        compared += 1
    assert compared > 15
