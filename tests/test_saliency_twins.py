"""The synthetic SALICON and MIT1003: the published layouts, and fixations that follow the density that lies beside them."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat
from scipy.stats import chi2

from lib.data.saliency import upsample_density
from lib.data.synthetic import mit1003, salicon, scenes
from lib.metrics import saliency as metrics

SMALL = {"train": 6, "val": 12, "test": 2, "observers": 20}


@pytest.fixture(scope="module")
def twin(tmp_path_factory) -> Path:
    """A SALICON twin; its val split is also a smaller twin's."""
    return salicon.write(tmp_path_factory.mktemp("twins") / "salicon", **SMALL, workers=1)


@pytest.fixture(scope="module")
def mit(tmp_path_factory) -> Path:
    return mit1003.write(tmp_path_factory.mktemp("twins") / "mit1003", images=10, workers=1)


def digests(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(root.rglob("*")) if p.is_file()}


def gaze(root: Path, split: str) -> list[tuple[str, dict]]:
    return [(path.stem, loadmat(path)) for path in sorted((root / "fixations" / split).glob("*.mat"))]


def permuted(items: list) -> list:
    """Every item's neighbour instead of it."""
    return items[1:] + items[:1]


def scores(maps: list, fixations: list, metric) -> float:
    """Mean over images."""
    pairs = zip(maps, fixations, strict=True)
    return float(np.mean([float(metric(m, metrics.fixation_map(xy, m.shape))) for m, xy in pairs]))


# --------------------------------------------------------------------------------------------------------------- SALICON


def test_salicon_has_the_published_layout(twin):
    """Every file where the real one is, of the real size and kind, and nothing else; test has images alone."""
    description = json.loads((twin / "TWIN.json").read_text())
    assert description["synthetic"] and description["stands_for"] == "SALICON" and description["scene"]["size"] == [480, 640]
    expected = {"TWIN.json"}
    for split, count in (("train", 6), ("val", 12), ("test", 2)):
        stems = [path.stem for path in (twin / "images" / split).glob("*.jpg")]
        assert len(stems) == count and all(re.fullmatch(rf"COCO_{split}2014_\d{{12}}", stem) for stem in stems)
        assert description["counts"][split]["images"] == count
        expected |= {f"images/{split}/{stem}.jpg" for stem in stems}
        if split != "test":
            kinds = (("fixations", "mat"), ("maps", "png"), ("density", "npy"))
            expected |= {f"{kind}/{split}/{stem}.{suffix}" for stem in stems for kind, suffix in kinds}
    assert set(digests(twin)) == expected
    assert "fixations" not in description["counts"]["test"]
    for path in twin.rglob("*.[jp][pn]g"):
        with Image.open(path) as image:
            assert image.size == (640, 480) and image.mode == ("RGB" if path.suffix == ".jpg" else "L"), path


def test_salicon_comes_back_through_its_loader(twin):
    """What was drawn is what the loader reads: 0-based fixations, whose blur is the published map."""
    from lib.data.salicon import SALICON

    counts = json.loads((twin / "TWIN.json").read_text())["counts"]
    for split in ("train", "val"):
        data, found = SALICON(twin, split, edition="2017"), 0
        for i in range(len(data)):
            xy = data.fixations(i)
            found += len(xy)
            raw = np.concatenate([o["fixations"] for o in loadmat(twin / "fixations" / split / f"{data.name(i)}.mat")["gaze"].ravel()])
            assert np.array_equal(np.sort(xy, axis=0), np.sort(raw.astype(int) - 1, axis=0)) and xy.min() >= 0  # none was left out
            assert len(np.unique(data.subjects(i))) <= 20
            blurred = metrics.density_map(metrics.fixation_map(xy, (480, 640)), sigma=19).numpy()
            assert data.density(i).max() == 1 and np.abs(data.density(i) - blurred / blurred.max()).max() < 0.6 / 255
        assert found == counts[split]["fixations"]
    test = SALICON(twin, "test")
    assert len(test) == 2 and test.fixations(0) is None and test.image(0).shape == (480, 640, 3)


def test_the_editions_differ_in_the_orientation_of_gaze_alone(twin, tmp_path):
    """A reader that takes rows for observers works on one edition only; both hold the same fixations. uint16, from 1, as published."""
    older = salicon.write(tmp_path / "2015", **SMALL | {"val": 0, "test": 0}, edition="2015", workers=1)
    outside, empty = {"2015": 0, "2017": 0}, 0
    for (stem, a), (other, b) in zip(gaze(twin, "train"), gaze(older, "train"), strict=True):
        assert a["gaze"].shape == (20, 1) and b["gaze"].shape == (1, 20)
        assert a["gaze"].dtype.names == ("location", "timestamp", "fixations")
        assert a["image"].item() == stem and a["resolution"].tolist() == [[480, 640]]
        assert stem.startswith("COCO_train2014_") and other.startswith("COCO_train2014_")
        for year, one, two in (("2017", a["gaze"].ravel(), b["gaze"].ravel()), ("2015", b["gaze"].ravel(), a["gaze"].ravel())):
            for mine, theirs in zip(one, two, strict=True):
                assert np.array_equal(mine["fixations"], theirs["fixations"])
                if not mine["fixations"].size:
                    empty += 1
                    continue
                assert mine["fixations"].dtype == mine["location"].dtype == np.uint16
                assert mine["fixations"].min() >= 1 and (mine["fixations"].max(0) <= [640, 480]).all()
                assert len(mine["location"]) == len(mine["timestamp"]) > 3 * len(mine["fixations"])
                assert (np.diff(mine["timestamp"].ravel().astype(int)) >= 0).all()
                outside[year] += (mine["location"].max(0) > [640, 480]).any()
    assert outside["2015"] == 0 and outside["2017"] > 0 and empty > 0


def test_fixations_follow_the_density(twin):
    """Chi-square over bins of equal probability, of the density's level sets and of its rows; another image's density fails both."""
    from lib.data.salicon import SALICON

    data = SALICON(twin, "val")
    densities = [data.true_density(i).astype(np.float64) for i in range(len(data))]
    fixations = [data.fixations(i) for i in range(len(data))]

    def p_values(densities: list[np.ndarray], bins: int = 20) -> list[float]:
        values = []
        for order in (lambda p: np.argsort(-p.ravel(), kind="stable"), lambda p: np.arange(p.size)):
            observed = np.zeros(bins)
            for p, xy in zip(densities, fixations, strict=True):
                below = np.empty(p.size)
                below[order(p)] = np.cumsum(p.ravel()[order(p)])  # probability of this pixel and all before it
                level = below[xy[:, 1] * 640 + xy[:, 0]] - 0.5 * p[xy[:, 1], xy[:, 0]]
                observed += np.bincount(np.clip(level * bins, 0, bins - 1).astype(int), minlength=bins)
            expected = observed.sum() / bins
            values.append(float(chi2.sf(((observed - expected) ** 2 / expected).sum(), bins - 1)))
        return values

    assert all(abs(p.sum() - 1) < 1e-4 and p.min() > 0 for p in densities)
    assert min(p_values(densities)) > 1e-3
    assert max(p_values(permuted(densities))) < 1e-9


def test_the_ceilings_are_in_order(twin):
    """Knowing the scene beats knowing where the middle is, and that beats nothing, by the margins the constants were chosen for."""
    from lib.data.salicon import SALICON

    data = SALICON(twin, "val")
    fixations = [data.fixations(i) for i in range(len(data))]
    densities = [data.true_density(i) for i in range(len(data))]
    centre, flat = (upsample_density(grid, (480, 640)) for grid in (scenes.centre_bias((480, 640)), np.ones((60, 80))))
    nss = [scores(maps, fixations, metrics.nss) for maps in (densities, [centre] * 12, permuted(densities), [flat] * 12)]
    auc = [scores(maps, fixations, metrics.auc) for maps in (densities, [centre] * 12, [flat] * 12)]
    assert 1.9 < nss[0] < 2.7 and 0.7 < nss[1] < 1.2 and nss[2] < nss[0] - 1 and abs(nss[3]) < 1e-6
    assert auc[0] > auc[1] + 0.05 and auc[1] > auc[2] + 0.15 and auc[2] == pytest.approx(0.5)


def test_the_bytes_depend_on_the_parameters_alone(twin, tmp_path):
    """Two processes write what one does, and a scene does not depend on how many follow it; another seed gives other scenes."""
    few = {"train": 3, "val": 1, "test": 1, "observers": 20}
    progress: list[tuple[int, int]] = []
    one = salicon.write(tmp_path / "one", **few, workers=1)
    two = salicon.write(tmp_path / "two", **few, workers=2, progress=lambda done, total: progress.append((done, total)))
    other = salicon.write(tmp_path / "other", **few, seed=1, workers=1)
    assert digests(one) == digests(two) and progress == [(n, 5) for n in range(1, 6)]
    drawn = [sorted(path.read_bytes() for path in (root / "density").rglob("*.npy")) for root in (one, twin, other)]
    assert set(drawn[0]) <= set(drawn[1]) and not set(drawn[0]) & set(drawn[2])


def test_nothing_is_overwritten(twin, tmp_path):
    """A finished twin is found, not written again; with other parameters, or where something else lies, it is left alone."""
    before = {path: path.stat().st_mtime_ns for path in twin.rglob("*")}
    assert salicon.write(twin, **SMALL, workers=1) == twin
    with pytest.raises(ValueError, match="already holds a twin"):
        salicon.write(twin, **SMALL, seed=1)
    assert {path: path.stat().st_mtime_ns for path in twin.rglob("*")} == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for write in (salicon.write, mit1003.write):
        with pytest.raises(ValueError, match="something that is no twin"):
            write(tmp_path / "mine", workers=1)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "thesis.txt"]


@pytest.mark.parametrize("change", ["a bit", "one less", "one more"])
def test_a_twin_whose_files_changed_is_refused(change, tmp_path):
    """A bit of a picture is other data under the same name. One of before the digest is taken as it is."""
    root = salicon.write(tmp_path / "twin", train=1, val=1, test=1, observers=2, workers=1)
    path = sorted(root.rglob("*.jpg"))[0]
    (path.parent / ".DS_Store").write_text("a file browser was here")
    assert salicon.write(root, train=1, val=1, test=1, observers=2, workers=1) == root
    if change == "a bit":
        content = bytearray(path.read_bytes())
        content[-100] ^= 1
        path.write_bytes(content)
    elif change == "one less":
        path.unlink()
    else:
        (root / "more.txt").write_text("")
    with pytest.raises(ValueError, match=rf"{root.name}: its files are not those that were written; remove the folder"):
        salicon.write(root, train=1, val=1, test=1, observers=2, workers=1)
    twin = json.loads((root / "TWIN.json").read_text())
    del twin["digest"]
    (root / "TWIN.json").write_text(json.dumps(twin))
    assert salicon.write(root, train=1, val=1, test=1, observers=2, workers=1) == root


@pytest.mark.parametrize(
    "write, arguments",
    [
        (salicon.write, {"edition": "2016"}), (salicon.write, {"observers": 0}), (salicon.write, {"val": -1}),
        (mit1003.write, {"images": 0}), (mit1003.write, {"observers": 0}),
    ],
)
def test_bad_parameters_are_refused_before_anything_is_written(tmp_path, write, arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))) as error:
        write(tmp_path / "twin", **arguments)
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


# --------------------------------------------------------------------------------------------------------------- MIT1003


def test_mit1003_has_the_published_layout(mit):
    """Files, sizes and kinds as published: JPEG everywhere, the longer side 1,024, a greyscale picture, maps of quality 75."""
    description = json.loads((mit / "TWIN.json").read_text())
    stems = [path.stem for path in (mit / "ALLSTIMULI").glob("*.jpeg")]
    expected = {"TWIN.json"} | {f"ALLSTIMULI/{stem}.jpeg" for stem in stems} | {f"density/{stem}.npy" for stem in stems}
    expected |= {f"ALLFIXATIONMAPS/{stem}_{kind}.jpg" for stem in stems for kind in ("fixMap", "fixPts")}
    assert set(digests(mit)) == expected and len(stems) == 10 == description["counts"]["images"]
    assert description["stands_for"] == "MIT1003"
    modes, sizes = set(), set()
    for stem in stems:
        with Image.open(mit / "ALLSTIMULI" / f"{stem}.jpeg") as image:
            modes.add(image.mode)
            sizes.add(image.size)
        for kind in ("fixMap", "fixPts"):
            with Image.open(mit / "ALLFIXATIONMAPS" / f"{stem}_{kind}.jpg") as levels:
                assert levels.size == image.size and levels.mode == "L" and sum(levels.quantization[0]) == 1858
                assert levels.getextrema()[0] <= 2 and levels.getextrema()[1] >= 250
    assert modes == {"RGB", "L"} and len(sizes) >= 5 and {max(size) for size in sizes} == {1024}


def test_mit1003_comes_back_through_its_loader(mit):
    """Points survive their JPEG, blurring them gives the map, and they follow the density: it beats the centre and a neighbour's."""
    from lib.data.mit1003 import MIT1003

    data = MIT1003(mit)
    fixations = [data.fixations(i) for i in range(len(data))]
    densities = [data.true_density(i) for i in range(len(data))]
    assert sum(map(len, fixations)) == json.loads((mit / "TWIN.json").read_text())["counts"]["fixations"]
    assert all(abs(float(p.sum(dtype=np.float64)) - 1) < 1e-4 and p.shape == data.size(i) for i, p in enumerate(densities))
    blurred = [metrics.density_map(metrics.fixation_map(xy, p.shape), sigma=24) for xy, p in zip(fixations, densities, strict=True)]
    assert min(float(metrics.cc(b, data.density(i))) for i, b in enumerate(blurred)) > 0.99  # pixels fixated twice are one point
    coarse = [np.load(mit / "density" / f"{data.name(i)}.npy") for i in range(len(data))]
    centres = [upsample_density(scenes.centre_bias(p.shape), p.shape) for p in densities]
    neighbours = [upsample_density(grid, p.shape) for grid, p in zip(permuted(coarse), densities, strict=True)]
    own, middle, other = (scores(maps, fixations, metrics.nss) for maps in (densities, centres, neighbours))
    assert 1.7 < own < 3 and own > middle + 0.8 and own > other + 0.8 and middle > 0.5


def test_mit1003_twice_is_the_same(mit, tmp_path):
    """Same bytes for the first scenes of a smaller twin: nothing is left over from one scene to the next."""
    again = mit1003.write(tmp_path / "again", images=3, workers=1)
    first, second = ({path.read_bytes() for path in (root / "ALLSTIMULI").iterdir()} for root in (mit, again))
    assert second <= first


# ---------------------------------------------------------------------------------------------------------------- scenes


def test_what_looks_alike_attracts_differently():
    """The point of the distractors: a head with a face draws fixations and one without hardly any; so with words on plates."""
    height, width = size = (480, 640)

    def share(kind: str) -> float:
        item = scenes.Item(kind, 0.4 * width, 0.6 * height, (24.0, 30.0), scenes.ATTRACTION[kind])
        rival = scenes.Item("object", 0.75 * width, 0.4 * height, (24.0, 24.0), scenes.ATTRACTION["object"])
        full = upsample_density(scenes.coarse_density([item, rival], size), size)
        return float(full[240:336, 208:304].sum())  # 96 pixels each way around the item

    assert share("face") > 3 * share("mannequin") and share("face") > 3 * share("behind")
    assert share("text") > 3 * share("plate") and share("odd") > 3 * share("equal")


def test_a_scene_in_which_nothing_stands_is_its_centre_bias():
    """The density stays one without items, and on sizes that are no multiple of its cells."""
    for size in ((480, 640), (683, 1024), (1024, 1024)):
        grid = scenes.coarse_density([], size)
        assert np.isfinite(grid).all() and grid.sum() == pytest.approx(1, abs=1e-5)
        assert np.corrcoef(grid.ravel(), scenes.centre_bias(size).ravel())[0, 1] > 0.9999
        assert scenes.coarse_density([], (480, 640)).shape == (60, 80)


def test_scenes_are_varied_and_hold_what_they_say():
    """Over 30 scenes every kind of item occurs, inside the picture; pictures differ and are neither black nor burnt out."""
    pictures = [scenes.draw(np.random.default_rng([5, i]), (240, 320)) for i in range(30)]
    assert {item.kind for picture in pictures for item in picture.items} == set(scenes.ATTRACTION)
    for picture in pictures:
        assert picture.image.size == (320, 240) and picture.image.mode == "RGB"
        assert all(0 < item.x < 320 and 0 < item.y < 240 and item.attraction >= 0 for item in picture.items)
        assert 30 < np.array(picture.image).mean() < 235
    tones = np.array([np.array(picture.image.resize((1, 1))).ravel() for picture in pictures], dtype=float)
    assert (tones.std(0) > 15).all()
