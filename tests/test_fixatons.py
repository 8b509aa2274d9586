"""Scanpaths in FixaTons' layout: whose fixations, where they lie, and what is left out; MIT1003 with them; the ceiling of other people."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from lib.data import mit1003_verify
from lib.data.fixatons import FixaTons, Scanpaths, blurred, read_scanpath
from lib.data.mit1003 import MIT1003
from lib.data.observers import human_ceiling, leave_one_out, other_observers
from lib.data.saliency import SaliencyData
from lib.data.splits import hashed_split, read_split
from lib.metrics import saliency as metrics

SIZE = (60, 80)  # H, W
OBSERVERS = ("CNG", "ajs", "zb")
SPLIT_400 = Path(__file__).resolve().parents[1] / "results" / "reference" / "splits" / "mit1003-400.csv"


def lines(points: np.ndarray) -> str:
    """As published: a space behind each line."""
    return "".join(f"{x} {y} {0.3 * n:.3f} {0.3 * n + 0.2:.3f} \n" for n, (x, y) in enumerate(points.tolist()))


def write(root: Path, *, folder: str = "STIMULI", suffix: str = ".jpeg", stems=("a", "b.p1"), seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    """Pictures with eight fixations of each observer, whole pixels from 1; {stem: {observer: (8, 2)}}."""
    rng, made = np.random.default_rng(seed), {}
    (root / folder).mkdir(parents=True)
    for stem in stems:
        Image.new("RGB", SIZE[::-1], (90, 90, 90)).save(root / folder / f"{stem}{suffix}")
        (root / "SCANPATHS" / stem).mkdir(parents=True)
        made[stem] = {}
        for observer in OBSERVERS:
            made[stem][observer] = rng.integers(1, [SIZE[1] + 1, SIZE[0] + 1], (8, 2))
            (root / "SCANPATHS" / stem / observer).write_text(lines(made[stem][observer]))
    return made


def mit1003(root: Path) -> dict[str, dict[str, np.ndarray]]:
    """An MIT1003 with scanpaths and fixMaps of those that its maps show."""
    made = write(root, folder="ALLSTIMULI")
    (root / "ALLFIXATIONMAPS").mkdir()
    for stem, paths in made.items():
        xy = np.concatenate([path[1:6] - 1 for path in paths.values()])
        Image.fromarray((255 * blurred(xy, SIZE, 5)).astype(np.uint8)).save(root / "ALLFIXATIONMAPS" / f"{stem}_fixMap.jpg")
    return made


def message(kind: type[Exception], action) -> str:
    with pytest.raises(kind) as error:
        action()
    assert "\n" not in str(error.value)
    return str(error.value)


# ---------------------------------------------------------------------------------------------------------------- collection


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".JPEG"])
def test_a_set_of_the_collection_is_saliency_data(tmp_path, suffix):
    made = write(tmp_path, suffix=suffix)
    data = FixaTons(tmp_path)
    assert isinstance(data, SaliencyData) and len(data) == 2 and data.observers == OBSERVERS and not data.is_twin
    for index, stem in enumerate(made):
        assert data.name(index) == stem and data.size(index) == SIZE
        xy, who = data.fixations(index), data.subjects(index)
        assert xy.dtype == who.dtype == np.int64 and len(xy) == len(who) == 24
        for number, observer in enumerate(OBSERVERS):
            np.testing.assert_array_equal(xy[who == number], made[stem][observer] - 1)  # in order of time, from 0
        assert data.outside(index) == 0 and data.true_density(index) is None


@pytest.mark.parametrize(("which", "kept"), [("all", slice(None)), ("without first", slice(1, None)), ("2-6", slice(1, 6))])
def test_which_fixations_are_taken(tmp_path, which, kept):
    made = write(tmp_path)
    data = FixaTons(tmp_path, which=which)
    np.testing.assert_array_equal(data.fixations(0), np.concatenate([path[kept] - 1 for path in made["a"].values()]))
    assert data.fingerprint != FixaTons(tmp_path, which="without first" if which == "all" else "all").fingerprint


def test_y_and_origin_are_switches(tmp_path):
    write(tmp_path)
    down, up, zero = (FixaTons(tmp_path, **options).fixations(0) for options in ({}, {"y": "up"}, {"origin": 0}))
    np.testing.assert_array_equal(up, np.stack([down[:, 0], SIZE[0] - 1 - down[:, 1]], axis=1))
    inside = (down + 1 < [SIZE[1], SIZE[0]]).all(axis=1)
    np.testing.assert_array_equal(zero, down[inside] + 1)
    assert len({FixaTons(tmp_path, **options).fingerprint for options in ({}, {"y": "up"}, {"origin": 0})}) == 3


def test_the_density_is_the_fixations_blurred(tmp_path):
    write(tmp_path)
    data, counts = FixaTons(tmp_path, sigma=4), np.zeros(SIZE)
    np.add.at(counts, tuple(data.fixations(0).T[::-1]), 1)
    expected = gaussian_filter(counts, 4, mode="constant")
    np.testing.assert_allclose(data.density(0), expected / expected.max(), atol=1e-6)
    assert data.density(0).dtype == np.float32 and not blurred(np.zeros((0, 2), np.int64), SIZE, 4).any()


def test_points_outside_are_left_out_and_counted_with_their_observers(tmp_path):
    made = write(tmp_path)
    points = made["a"]["ajs"].copy()
    points[[2, 5]] = [[SIZE[1] + 1, 5], [3, 0]]  # one pixel out, on either side
    (tmp_path / "SCANPATHS" / "a" / "ajs").write_text(lines(points))
    data = FixaTons(tmp_path)
    assert data.outside(0) == 2 and data.outside(1) == 0 and np.bincount(data.subjects(0)).tolist() == [8, 6, 8]
    np.testing.assert_array_equal(data.fixations(0)[data.subjects(0) == 1], np.delete(points, [2, 5], axis=0) - 1)


def test_x_and_y_changed_over_is_refused(tmp_path):
    made = write(tmp_path)
    for observer, points in made["a"].items():
        (tmp_path / "SCANPATHS" / "a" / observer).write_text(lines(np.clip(points[:, ::-1] * [1, 1.3], 1, [60, 80]).astype(int)))
    text = message(ValueError, lambda: FixaTons(tmp_path).fixations(0))
    assert "outside the picture of 80x60" in text and str(tmp_path / "SCANPATHS" / "a") in text


def test_fractions_of_the_size_are_refused(tmp_path):
    for observer, points in write(tmp_path)["a"].items():
        (tmp_path / "SCANPATHS" / "a" / observer).write_text(lines(points / SIZE[::-1]))
    text = message(ValueError, lambda: FixaTons(tmp_path).fixations(0))
    assert "fractions of the size" in text and str(tmp_path / "SCANPATHS" / "a") in text


def test_nobody_and_one_who_never_looked(tmp_path):
    write(tmp_path)
    (tmp_path / "SCANPATHS" / "a" / "ajs").write_text("")
    (tmp_path / "SCANPATHS" / "a" / ".DS_Store").write_bytes(b"\x00")
    data = FixaTons(tmp_path)
    assert set(data.subjects(0).tolist()) == {0, 2} and data.observers == OBSERVERS
    for observer in OBSERVERS:
        (tmp_path / "SCANPATHS" / "a" / observer).write_text("\n")
    assert FixaTons(tmp_path).fixations(0).shape == (0, 2) and not FixaTons(tmp_path).density(0).any()


@pytest.mark.parametrize("text", ["1 2 3\n", "1 2 3 4 5\n", "x 2 3 4\n", "nan 2 0 1\n", "1 inf 0 1\n", f"{'9' * 400} 2 0 1\n", "1 2 0.5 0.4\n",
                                  "1 2 -1 0.4\n", "1 2 1.0 1.1\n1 2 0.5 0.6\n"])
def test_files_that_are_no_scanpaths_are_refused(tmp_path, text):
    path = tmp_path / "ajs"
    path.write_text(text)
    assert str(path) in message(ValueError, lambda: read_scanpath(path))


def test_a_scanpath_of_the_wrong_kind_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"\xff\xd8\xff")
    assert "no text file" in message(ValueError, lambda: read_scanpath(tmp_path / "a"))
    (tmp_path / "b").mkdir()
    assert str(tmp_path / "b") in message(ValueError, lambda: read_scanpath(tmp_path / "b"))
    assert "missing" in message(FileNotFoundError, lambda: read_scanpath(tmp_path / "c"))
    (tmp_path / "d").write_text("1e300 2 0 1\n")  # finite, and nowhere near a picture
    assert read_scanpath(tmp_path / "d").shape == (1, 4)


def test_folders_that_do_not_fit_are_refused(tmp_path):
    assert "no pictures" in message(FileNotFoundError, lambda: FixaTons(tmp_path))
    write(tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "STIMULI" / "c.png")
    assert f"{tmp_path / 'SCANPATHS' / 'c'}: holds no scanpaths" in message(FileNotFoundError, lambda: FixaTons(tmp_path))
    (tmp_path / "STIMULI" / "c.png").rename(tmp_path / "STIMULI" / "a.png")
    assert "a is the name of two pictures" in message(ValueError, lambda: FixaTons(tmp_path))
    for options in ({"which": "2-7"}, {"y": "left"}, {"origin": 2}):
        assert next(iter(options)) in message(ValueError, lambda options=options: Scanpaths(tmp_path, **options))


# ------------------------------------------------------------------------------------------------------------------- MIT1003


def test_mit1003_takes_scanpaths_where_they_are(tmp_path):
    made = mit1003(tmp_path)
    data = MIT1003(tmp_path)
    assert isinstance(data, SaliencyData) and data.observers == OBSERVERS
    np.testing.assert_array_equal(data.fixations(0), np.concatenate([path[1:6] - 1 for path in made["a"].values()]))
    assert np.bincount(data.subjects(0)).tolist() == [5, 5, 5] and len(MIT1003(tmp_path, which="all").fixations(0)) == 24
    assert "2 to 6" in data.notes["fixations"] and "0 of 30" in data.notes["fixations"]
    assert data.density(0).shape == SIZE


def test_mit1003_keeps_its_points_where_they_are_asked_for(tmp_path):
    mit1003(tmp_path)
    data = MIT1003(tmp_path, points="fixPts")
    assert data.fixations(0) is None and data.subjects(0) is None and data.observers is None and data.notes == {}
    picture = np.zeros(SIZE, np.uint8)
    picture[[10, 30], [20, 50]] = 255
    Image.fromarray(picture).save(tmp_path / "ALLFIXATIONMAPS" / "a_fixPts.jpg")
    assert MIT1003(tmp_path, points="fixPts").fixations(0).tolist() == [[20, 10], [50, 30]] and len(MIT1003(tmp_path).fixations(0)) == 15
    fingerprints = {MIT1003(tmp_path, **options).fingerprint for options in ({}, {"points": "fixPts"}, {"which": "all"})}
    assert len(fingerprints) == 3 and MIT1003(tmp_path, points="scanpaths").fingerprint in fingerprints


def test_mit1003_without_scanpaths_says_where_they_are_missing(tmp_path):
    mit1003(tmp_path)
    (tmp_path / "SCANPATHS" / "a").rename(tmp_path / "SCANPATHS" / "c")
    assert f"{tmp_path / 'SCANPATHS' / 'a'}: holds no scanpaths" in message(FileNotFoundError, lambda: MIT1003(tmp_path).fixations(0))
    (tmp_path / "SCANPATHS").rename(tmp_path / "elsewhere")
    assert MIT1003(tmp_path).fixations(0) is None
    message(FileNotFoundError, lambda: MIT1003(tmp_path, points="scanpaths"))
    assert "points" in message(ValueError, lambda: MIT1003(tmp_path, points="all"))


def test_the_fingerprint_follows_the_scanpaths(tmp_path):
    made = mit1003(tmp_path)
    before = MIT1003(tmp_path).fingerprint
    (tmp_path / "SCANPATHS" / "a" / "ajs").write_text(lines(made["a"]["ajs"][:7]))
    assert MIT1003(tmp_path).fingerprint != before


def test_verify_reads_every_scanpath(tmp_path):
    made = mit1003(tmp_path)

    def problems() -> list[str]:
        return [line for line in mit1003_verify.verify(tmp_path).problems if "another size" not in line and "one side of 1024" not in line
                and "expected 1,003" not in line]

    assert problems() == []
    assert any("48 fixations on 2 photographs, 0 of them outside" in line for line in mit1003_verify.verify(tmp_path).lines)
    (tmp_path / "SCANPATHS" / "a" / "ajs").write_text("no scanpath")
    (tmp_path / "SCANPATHS" / "b.p1" / "zb").unlink()
    (tmp_path / "SCANPATHS" / "stray").mkdir()
    text = "\n".join(problems())
    assert str(tmp_path / "SCANPATHS" / "a" / "ajs") in text and "b.p1: 2 of 3 observers" in text and "stray: its picture is not here" in text
    assert len(made) == 2


def test_the_real_scanpaths_agree_with_the_published_maps(real_data):
    """Which fixations, which way y points and where x and y begin: any of them wrong and the maps fit worse."""
    data = MIT1003(real_data / "mit1003_400")
    other = {which: MIT1003(real_data / "mit1003_400", which=which) for which in ("all", "without first")}
    assert len(data) == 400 and len(data.observers) == 15
    chosen = range(0, 400, 50)

    def agreement(data: MIT1003) -> float:
        return np.mean([np.corrcoef(blurred(data.fixations(i), data.size(i), 24).ravel(), data.density(i).ravel())[0, 1] for i in chosen])

    best = agreement(data)
    assert best > 0.99 and all(agreement(each) < best - 0.01 for each in other.values())
    for options in ({"y": "up"}, {"origin": 0}):
        data.scanpaths, data._last = Scanpaths(data.root, **options), None
        assert agreement(data) < best


def test_the_published_split_is_the_rules(real_data):
    data = MIT1003(real_data / "mit1003_400")
    listed, ruled = read_split(SPLIT_400, data), hashed_split(data, val=40, test=80)
    assert {name: len(indices) for name, indices in listed.items()} == {"train": 280, "val": 40, "test": 80}
    assert all(np.array_equal(listed[name], ruled[name]) for name in listed)


# --------------------------------------------------------------------------------------------------------------- observers


def test_one_observer_is_left_out_at_a_time(tmp_path):
    made = write(tmp_path)
    data = FixaTons(tmp_path)
    left = list(leave_one_out(data, 1, sigma=3))
    assert [each.observer for each in left] == [0, 1, 2]
    for each, observer in zip(left, OBSERVERS, strict=True):
        rest = np.zeros(SIZE)
        for name, path in made["b.p1"].items():
            np.add.at(rest, tuple((path - 1).T[::-1]), name != observer)
        np.testing.assert_allclose(each.others, gaussian_filter(rest, 3, mode="constant"), atol=1e-12)
        assert int(each.fixations.sum()) == 8 and all(each.fixations[y - 1, x - 1] for x, y in made["b.p1"][observer])
        found = other_observers(data, 1, each.observer, sigma=3)
        np.testing.assert_allclose(found, each.others / each.others.max(), atol=1e-6)
        assert found.dtype == np.float32 and found.max() == 1


def test_the_ceiling_is_the_mean_over_observers_and_knows_who_agrees(tmp_path):
    """Three who look at the same places predict one another; three who do not, do not."""
    made = write(tmp_path)
    for observer in OBSERVERS:
        (tmp_path / "SCANPATHS" / "a" / observer).write_text(lines(made["a"]["ajs"]))
        corner = {"CNG": (3, 3), "ajs": (76, 3), "zb": (40, 57)}[observer]
        (tmp_path / "SCANPATHS" / "b.p1" / observer).write_text(lines(np.array([corner])))
    data = FixaTons(tmp_path)
    scores = human_ceiling(data, [0, 1], {"auc": metrics.auc, "nss": metrics.nss}, sigma=2)
    assert scores["auc"].shape == (2,) and scores["auc"][0] > 0.97 and scores["nss"][0] > 2
    assert scores["auc"][1] == pytest.approx(0.5, abs=0.05) and scores["nss"][1] < 0  # ties: nobody looked near
    by_hand = [float(metrics.nss(torch.from_numpy(other_observers(data, 0, o, sigma=2)), next(
        each.fixations for each in leave_one_out(data, 0) if each.observer == o))) for o in range(3)]
    assert scores["nss"][0] == pytest.approx(np.mean(by_hand), rel=1e-5)


def test_a_ceiling_needs_two_known_observers(tmp_path):
    mit1003(tmp_path)
    assert "is not known" in message(ValueError, lambda: list(leave_one_out(MIT1003(tmp_path, points="fixPts"), 0)))
    assert "observer 7 has no fixation" in message(ValueError, lambda: other_observers(MIT1003(tmp_path), 0, 7))
    for observer in OBSERVERS[1:]:
        (tmp_path / "SCANPATHS" / "a" / observer).unlink()
    assert "1 observer;" in message(ValueError, lambda: list(leave_one_out(MIT1003(tmp_path), 0)))
