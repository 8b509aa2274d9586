"""`python -m lib compare FOLDER`: verdicts on made-up rows, how many pictures it takes, and a folder with odd files from end to end."""

from types import SimpleNamespace

import numpy as np
import pytest
from bench_compare import verdict
from PIL import Image

from lib import __main__ as cli
from lib import compare, tables
from lib.data.synthetic import cub200 as twin
from lib.results import noise
from lib.results.cells import versus
from lib.results.filled import Filled
from lib.results.records import Item, Record
from lib.results.store import Group

TABLE = tables.get("compare")
GROUP = Group("compare", "pictures", "photos", "cpu", False)


def run(n: int = 200, seeds: int = 2, **share) -> SimpleNamespace:
    """A run whose rows are right on the first so many per cent of the test pictures, and on a few others by chance."""
    def item(row: str, seed: int, right: float) -> Item:
        top1 = (np.arange(n) < right / 100 * n) ^ (np.random.default_rng([seed, len(row)]).random(n) < 0.02)
        record = Record(table="compare", row=row, seed=seed, preset="photos", dataset="pictures", is_twin=False, n=n, unit="images", summary={})
        return Item(record, {"top1": top1.astype(float)})

    rows = {row: {seed: item(row, seed, right) for seed in range(seeds)} for row, right in share.items()}
    data = {"train": range(7 * n // 2), "val": range(n // 2), "test": range(n)}
    known = noise.known(GROUP, rows)
    return SimpleNamespace(table=TABLE, filled=SimpleNamespace(rows=rows, known=known),
                           opened=lambda: SimpleNamespace(task=SimpleNamespace(data=data)))


@pytest.mark.parametrize(("share", "expected"), [
    ({"plain": 40, "same_cost": 45, "sampler": 80}, compare.HELPS), ({"plain": 40, "same_cost": 80, "sampler": 80}, compare.ALIKE),
    ({"plain": 80, "same_cost": 80, "sampler": 40}, compare.HURTS), ({"plain": 60, "same_cost": 60, "sampler": 60}, compare.UNDECIDED),
    ({"plain": 40, "sampler": 80}, compare.HELPS)])
def test_a_verdict_follows_from_both_comparisons(share, expected):
    assert compare.decide(run(**share)).verdict == expected


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_the_verdict_and_the_table_have_the_same_interval(seeds):
    """Of pictures and trainings; with one seed nobody knows of trainings."""
    made = run(plain=60, same_cost=61, sampler=70, seeds=seeds)
    (column,) = (one for one in TABLE.columns_of("photos") if one.name == "top-1")
    for found, other in zip(compare.decide(made).differences, ("plain", "same_cost"), strict=True):
        shown = versus(TABLE, made.filled.rows, "sampler", other, column, made.filled.known)
        assert found.found.interval.text(3) == shown.interval.text(3)
        known = made.filled.known.of(noise.difference("sampler", other), "top-1").one
        assert found.found.trainings == shown.found.trainings and (known is None) == (seeds == 1)


def test_few_pictures_decide_nothing_and_it_is_said_how_many_would():
    few = compare.decide(run(n=20, plain=60, same_cost=60, sampler=70))
    assert few.verdict == compare.UNDECIDED
    assert "too few" in few.text and few.text.count("it would take about") == 2
    assert few.pictures == 100 and few.tested == 20


def test_two_networks_that_answer_alike_are_bounded_and_not_called_equal():
    made = run(n=30, plain=60, same_cost=60, sampler=60)
    made.filled.rows["sampler"] = made.filled.rows["plain"]
    alike, other = compare.decide(made).differences
    assert alike.alike and not other.alike and alike.p == 1
    assert alike.takes(3.0) > 300 and "at most 10 points" in compare.decide(made).text


def test_so_many_pictures_tell_the_difference_as_often_as_promised():
    """Simulated: paired differences of the spread and mean in question, tested at the level of a verdict."""
    one = compare.decide(run(plain=60, same_cost=60, sampler=65)).differences[0]
    count, rng = one.takes(4.0), np.random.default_rng(0)
    drawn = rng.normal(4.0, one.spread, (4000, count))
    found = drawn.mean(1) / (drawn.std(1, ddof=1) / np.sqrt(count))
    assert np.mean(found > 2.576) == pytest.approx(compare.POWER, abs=0.03)
    assert one.takes(2.0) == pytest.approx(4 * count, rel=0.02)


@pytest.mark.parametrize(("classes", "shown"), [(2, False), (5, False), (6, True)])
def test_top_5_is_shown_where_it_can_say_something(classes, shown):
    whole = Filled(TABLE, GROUP, run(plain=60, sampler=70).filled.rows)
    found = compare.filled(SimpleNamespace(filled=whole, preset=SimpleNamespace(outputs=classes)))
    names = [column.name for column in found.columns]
    assert ("top-5" in names) == shown and "top-1" in names


def test_without_the_plain_row_there_is_nothing_to_compare_with():
    with pytest.raises(ValueError, match="plain"):
        compare.decide(run(sampler=60, same_cost=60))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Drawn birds of four species as a folder of class folders, with odd files among them."""
    root = twin.write(tmp_path_factory.mktemp("birds") / "twin", train=160, test=32, side=64, workers=1) / "images"
    for kind in sorted(root.iterdir())[4:]:
        for path in kind.iterdir():
            path.unlink()
        kind.rmdir()
    first = sorted(root.iterdir())[0]
    image = Image.open(sorted(first.iterdir())[0]).convert("RGB")
    image.convert("L").save(first / "grey.png")
    image.convert("CMYK").save(first / "cmyk.jpg")
    image.resize((9, 7)).save(first / "tiny.png")
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(first / "deep.png")
    (first / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a photograph")
    return root


def words(pictures, folder) -> list[str]:
    return ["compare", str(pictures), "--preset", "smoke", "--seeds", "1", "--device", "cpu", "--results", str(folder)]


def test_a_folder_with_odd_files_becomes_a_verdict_with_figures(pictures, tmp_path, capsys):
    """The network has as many outputs as there are classes; what cannot be read is named; the same command trains nothing again."""
    assert cli.main(words(pictures, tmp_path)) == 0
    printed = capsys.readouterr().out
    assert "broken.jpg" in printed and "Verdict: " in printed and "tiny.png" in printed
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"compare_seen.png", "compare_gained_and_lost.png"}
    assert len(list((tmp_path / "runs" / "compare").rglob("*.json"))) == 3
    again = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.safetensors")}
    assert cli.main(words(pictures, tmp_path)) == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*.safetensors")} == again
    assert "read from its record" in capsys.readouterr().out


def test_labels_that_mean_nothing_give_no_verdict(pictures, tmp_path):
    """In small; `tests/bench_compare.py` does it twenty times with the demo's recipe."""
    assert {verdict(tmp_path, pictures, seed, preset="smoke").verdict for seed in range(2)} == {compare.UNDECIDED}


@pytest.mark.parametrize(("name", "says"), [("nowhere", "no such folder"), ("one", "two classes")])
def test_a_folder_that_is_none_is_one_line(tmp_path, capsys, name, says):
    (tmp_path / "one" / "only").mkdir(parents=True)
    Image.new("RGB", (40, 40)).save(tmp_path / "one" / "only" / "a.png")
    assert cli.main(words(tmp_path / name, tmp_path / "results")) == 2
    said = capsys.readouterr().err
    assert says in said and name in said and said.count("\n") == 1
