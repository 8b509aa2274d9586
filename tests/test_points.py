"""Protects: fixations are only ever laid over pictures of the size that they were recorded on, and those nobody can have made are told."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from test_fixatons import lines as scanpath_lines
from test_fixatons import write as write_scanpaths
from test_osie import cell
from test_osie import write as write_osie
from test_salicon import STEM, write_json
from test_salicon import write as write_salicon

from lib.data import mit1003_verify, osie_verify, salicon_verify
from lib.data.mit1003 import MIT1003
from lib.data.osie import OSIE
from lib.data.points import OUTSIDE_MOST, Places, Plausibility, check_outside, check_places, to_pixels
from lib.data.salicon import SALICON, SALICON2014
from lib.data.saliency import pixels_inside
from lib.data.saliency_store import FullSize, Selection


def refused(action, *said: str) -> str:
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        action()
    text = str(error.value)
    assert "\n" not in text and all(word in text for word in said), text
    return text


def gaze(n: int = 135, size=(600, 800), seed: int = 0) -> np.ndarray:
    """(n, 2) MATLAB pixels around the middle."""
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal([size[1] / 2, size[0] / 2], [size[1] / 5, size[0] / 5], (n, 2)), 1, [size[1], size[0]])


def osie_of(points: np.ndarray, root: Path, *, size=(600, 800)) -> Path:
    return write_osie(root, {"1001.jpg": [[(x, y, 200) for x, y in part] for part in np.array_split(points, 15)]}, size=size)


# ---------------------------------------------------------------------------------------------------------- sizes


def test_resized_pictures_are_refused_or_their_fixations_scaled(tmp_path):
    points = gaze()
    whole = OSIE(osie_of(points, tmp_path / "whole")).fixations(0)
    half = osie_of(points, tmp_path / "half", size=(300, 400))
    text = refused(lambda: OSIE(half).fixations(0), "1001.jpg: is 400x300", "800x600", "scale_fixations")
    assert text.startswith(str(half / "data" / "stimuli" / "1001.jpg"))
    scaled = OSIE(half, scale_fixations=True)
    assert np.array_equal(scaled.fixations(0), whole // 2) and len(scaled.subjects(0)) == len(scaled.durations(0)) == 135
    squashed = OSIE(osie_of(points, tmp_path / "squashed", size=(600, 600)), scale_fixations=True).fixations(0)
    assert np.abs(squashed - whole * [0.75, 1]).max() <= 1
    assert "another size" not in osie_verify.verify(tmp_path / "whole").problems
    assert any("is 400x300, OSIE's are 800x600" in line for line in osie_verify.verify(half, checksums={}).problems)


def test_scaling_keeps_pixel_centres():
    """A point in the middle of a pixel lands in the middle of what the pixel becomes, both ways."""
    at = np.array([[0.5, 0.5], [799.5, 599.5], [400.0, 300.0]])
    assert to_pixels(at, (600, 800), (600, 800)).tolist() == [[0, 0], [799, 599], [400, 300]]
    assert to_pixels(at, (600, 800), (60, 80)).tolist() == [[0, 0], [79, 59], [40, 30]]
    assert to_pixels(at, (600, 800), (1200, 1600)).tolist() == [[1, 1], [1599, 1199], [800, 600]]
    refused(lambda: to_pixels(np.array([[1.0, np.nan], [2.0, 3.0]]), (60, 80), (60, 80)), "1 of 2 fixations are no numbers")
    assert np.abs(to_pixels(np.array([[1e300, -1e300]]), (600, 800), (600, 800))).max() == 10**6


def test_a_plain_list_of_points_is_rounded_and_checked():
    """What one's own data set needs (lib/README.md): fractions are rounded, NaN and text are no pixels."""
    assert pixels_inside([[1.4, 2.6], [7.0, 3.0], [80.0, 3.0]], (60, 80), Path("a.jpg")).tolist() == [[1, 3], [7, 3]]
    for points in ([[np.nan, 1.0], [2.0, 3.0]], [["a", "b"]], [[None, 1]]):
        refused(lambda points=points: pixels_inside(points, (60, 80), Path("a.jpg")), "a.jpg: its fixations are no pairs of numbers")
    refused(lambda: pixels_inside([[300, 3]], (60, 80), Path("a.jpg")), "a.jpg: 1 of 1 fixations lie outside")


def test_salicons_photographs_must_have_the_size_of_their_fixations(tmp_path):
    root = write_salicon(tmp_path, {"train": [[[(1, 1), (64, 48), (33, 25)]]]})
    Image.new("RGB", (32, 24)).save(root / "images" / "train" / f"{STEM.format(0)}.jpg")
    refused(lambda: SALICON(root).fixations(0), "resolution is [48, 64]", "scale_fixations")
    assert SALICON(root, scale_fixations=True).fixations(0).tolist() == [[0, 0], [31, 23], [16, 12]]
    path = root / "fixations" / "train" / f"{STEM.format(0)}.mat"
    points = np.empty((1, 1), dtype=[("fixations", "O")])
    points[0, 0] = (np.array([[1, 1]], np.uint16),)
    savemat(path, {"gaze": points})  # without a resolution SALICON's own size counts
    refused(lambda: SALICON(root).fixations(0), "is 32x24", "640x480")


# -------------------------------------------------------------------------------------------------------- outside


def test_points_outside_are_rounded_left_out_or_refused(tmp_path):
    size, inside = (48, 64), np.tile([[10, 10]], (40, 1))
    assert check_outside(np.concatenate([inside, [[64, 48], [-1, 0]]]), size, "x", "y") == 0  # rounding
    assert check_outside(np.concatenate([inside, [[70, 10]]]), size, "x", "y") == 1
    assert 2 / 42 < OUTSIDE_MOST < 3 / 43
    refused(lambda: check_outside(np.concatenate([inside, [[70, 10]] * 3]), size, "somewhere", "do this"), "somewhere: 3 of 43", "do this")
    odd = np.concatenate([gaze(134), [[1e300, 5]]])
    data = OSIE(osie_of(odd, tmp_path))
    assert len(data.fixations(0)) == len(data.subjects(0)) == len(data.durations(0)) == 134 and data.outside(0) == 1
    assert any("1 fixations outside" in line for line in osie_verify.verify(tmp_path, checksums={}).warnings)


@pytest.mark.parametrize("swap", [False, True])
def test_swapped_axes_are_refused_by_each_set(tmp_path, swap):
    order = [1, 0] if swap else [0, 1]
    points = gaze(300)
    root = osie_of(points[:, order], tmp_path / "osie")
    salicon = write_salicon(tmp_path / "salicon", {"train": [[np.rint(gaze(300, (480, 640)))[:, order].astype(int).tolist()]]}, size=(480, 640))
    for action in (lambda: OSIE(root).fixations(0), lambda: SALICON(salicon).fixations(0)):
        if swap:
            refused(action, "lie outside the picture", "x and y swapped")
        else:
            assert len(action()) == 300
    assert any("lie outside" in line for line in salicon_verify.verify(salicon).problems) == swap


def test_swapped_axes_that_still_fit_are_told_by_verify(tmp_path):
    """Within 600 x 600 pixels nothing lies outside, but the middle of gaze lies where that of a tall picture would."""
    for swap in (False, True):
        points = np.clip(gaze(2000) * 0 + np.random.default_rng(1).normal([400, 300], 60, (2000, 2)), 1, 600)
        found = osie_verify.verify(osie_of(points[:, [1, 0]] if swap else points, tmp_path / str(swap)), checksums={})
        assert any("x and y swapped" in line for line in found.problems) == swap


# ------------------------------------------------------------------------------------------------- what cannot be


@pytest.mark.parametrize("change, said", [
    (lambda entry: entry | {"fix_x": np.array([["12", "13"]])}, "not numbers"),
    (lambda entry: entry | {"fix_x": entry["fix_x"] + 1j}, "not numbers"),
    (lambda entry: entry | {"fix_duration": -entry["fix_duration"]}, "-200 ms"),
])
def test_osies_fixations_must_be_numbers_that_people_make(tmp_path, change, said):
    root = write_osie(tmp_path, {"1001.jpg": [[(1, 1, 200), (2, 2, 300)]]})
    entry = {"fix_x": np.array([[1.0, 2.0]]), "fix_y": np.array([[1.0, 2.0]]), "fix_duration": np.array([[200.0, 200.0]])}
    savemat(root / "data" / "eye" / "fixations.mat", {"fixations": cell([{"img": "1001.jpg", "subjects": cell([change(entry)])}])})
    refused(lambda: OSIE(root), said, "fetch osie")


def test_osies_pictures_are_listed_once_and_have_observers(tmp_path):
    root = write_osie(tmp_path, {"1001.jpg": [[(1, 1, 200)]]})
    subjects = cell([{"fix_x": np.ones((1, 1)), "fix_y": np.ones((1, 1)), "fix_duration": np.ones((1, 1))}])
    path = root / "data" / "eye" / "fixations.mat"
    savemat(path, {"fixations": cell([{"img": "1001.jpg", "subjects": subjects}] * 2)})
    refused(lambda: OSIE(root), "'1001.jpg' is in it twice")
    savemat(path, {"fixations": cell([{"img": "1001.jpg", "subjects": np.empty((0, 0), dtype=object)}])})
    refused(lambda: OSIE(root), "no observers")


def test_too_many_fixations_and_too_many_pixels_are_told():
    everywhere = np.stack(np.meshgrid(np.arange(20), np.arange(10)), axis=-1).reshape(-1, 2)
    found = Plausibility(60)
    found.add("crowded", everywhere, np.arange(200) % 15, (10, 20))
    found.add("busy", np.zeros((70, 2), np.int64), np.zeros(70, np.int64), (480, 640))
    found.add("well", everywhere[:30], np.arange(30), (480, 640))
    crowded, busy = found.problems("photographs")
    assert "25% of the pixels fixated: 1 (crowded for one)" in crowded and "60 fixations of one observer: 1 (busy for one)" in busy


def test_fractions_of_the_size_are_refused_by_each_set(tmp_path):
    """All lie in the first pixels, so that every metric would be computed, of nothing."""
    whole, fractions = gaze(300), gaze(300) / [800, 600]
    OSIE(osie_of(whole, tmp_path / "whole"))
    root = osie_of(fractions, tmp_path / "fractions")
    said = "300 fixations lie on no more than 1 different pixel: are their coordinates fractions? Multiply x by", "fetch osie"
    assert refused(lambda: OSIE(root), *said).startswith(f"{root / 'data' / 'eye' / 'fixations.mat'}: ")
    assert any(said[0] in line for line in osie_verify.verify(root, checksums={}).problems)
    refused(lambda: OSIE(root, scale_fixations=True), *said)
    points = (gaze(120, (48, 64)) / [64, 48]).tolist()
    refused(lambda: SALICON2014(write_json(tmp_path, {"a.jpg": {1: points}}), coordinates="xy"), "fixations_", "120 fixations", "fractions?")


def test_sets_of_one_file_a_picture_are_refused_where_all_of_it_is_read(tmp_path):
    """The loader sees one picture at a time: `verify` and whatever scores see the set."""
    pictures = [[[(1, 1)] * 20]] * 3  # MATLAB's first pixel
    salicon = SALICON(write_salicon(tmp_path / "salicon", {"train": pictures}))
    assert len(salicon.fixations(0)) == 20
    refused(lambda: FullSize(Selection(salicon, range(3))), f"{salicon.root}: 60 fixations", "1 different pixel:", "fractions?")
    FullSize(Selection(salicon, range(2)))  # 40 are too few to tell
    assert any("60 fixations lie on" in line for line in salicon_verify.verify(salicon.root).problems)
    write_scanpaths(tmp_path / "mit", folder="ALLSTIMULI", stems="abcdef")
    for path in (tmp_path / "mit" / "SCANPATHS").glob("*/*"):
        path.write_text(scanpath_lines(np.ones((8, 2), int)))
    data = MIT1003(tmp_path / "mit")
    refused(lambda: FullSize(Selection(data, range(6))), f"{data.root}: ", "fixations lie on no more than 1 different pixel")
    assert any("fixations lie on" in line for line in mit1003_verify.verify(data.root).problems)


@pytest.mark.parametrize("points, places, few", [(49, 1, False), (50, 2, True), (50, 3, False), (1000, 49, True), (1000, 50, False),
                                                 (100_000, 239, True), (100_000, 240, False)])
def test_few_places_are_counted_over_the_whole_set(points, places, few):
    """At least a twentieth of the points, or of a picture's 4,800 pixels: more points than that fall on pixels already fixated."""
    size, at, found = (60, 80), np.arange(points) % places, Places()
    for part in np.array_split(np.stack([at % 80, at // 80], axis=1), 7):
        found.add(part, size)
    found.add(np.array([[300, 300]] * 50), size)  # outside: told elsewhere
    assert (found.problem is not None) == few and found.points == points
    if few:
        refused(lambda: found.check("there", "do this"), f"there: {points:,} fixations", f" {places} different pixel", "; or do this")


def test_a_file_that_claims_a_huge_picture_costs_no_memory():
    check_places([(np.arange(200).reshape(100, 2), (2**31 - 1, 2**31 - 1))], "there", "do this")


def test_point_maps_that_are_none_are_refused(tmp_path):
    """White, inverted, grey on black, and of 0 and 1; black is a picture that nobody looked at."""
    size, (y, x) = (60, 80), (np.arange(10) * 5, np.arange(10) * 7)
    points = np.zeros(size, np.uint8)
    points[y, x] = 255
    for folder in ("ALLSTIMULI", "ALLFIXATIONMAPS"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (80, 60)).save(tmp_path / "ALLSTIMULI" / "a.jpeg")
    Image.new("L", (80, 60), 90).save(tmp_path / "ALLFIXATIONMAPS" / "a_fixMap.jpg")
    (tmp_path / "TWIN.json").write_text(json.dumps({"counts": {"images": 1, "fixations": 10}}))
    path = tmp_path / "ALLFIXATIONMAPS" / "a_fixPts.jpg"

    def write(levels: np.ndarray) -> MIT1003:
        Image.fromarray(levels.astype(np.uint8)).save(path, "PNG")
        return MIT1003(tmp_path)

    assert write(points).fixations(0).tolist() == np.stack([x, y], axis=1).tolist() and mit1003_verify.verify(tmp_path).ok
    assert write(points * 0).fixations(0).shape == (0, 2)
    for levels, said in ((points * 0 + 255, "100% of it is white"), (255 - points, "of it is white"),
                         (points / 255, "its brightest pixel is 1 of 255"),
                         (points / 255 * 100, "its brightest pixel is 100 of 255")):
        refused(lambda levels=levels: write(levels).fixations(0), str(path), said)
        assert any(said in line for line in mit1003_verify.verify(tmp_path).problems)
    Image.fromarray(points.astype(np.uint16) * 257).save(path, "PNG")
    assert len(MIT1003(tmp_path).fixations(0)) == 10  # 16 bits are scaled, not clipped


# ------------------------------------------------------------------------------------------------ the JSON of 2014


def test_json_with_fractions_is_x_and_y_from_zero(tmp_path):
    """As the validation examples are; whole numbers are [row, column] from 1, as the training examples are. Rounded, not truncated."""
    path = write_json(tmp_path, {"a.jpg": {1: [[10.0, 20.0], [10.5, 20.4], [63.4, 46.6], [0.0, 0.0]]}})
    assert SALICON2014(path).fixations(0).tolist() == [[10, 20], [11, 20], [63, 47], [0, 0]]
    whole = write_json(tmp_path / "whole", {"a.jpg": {1: [[20, 10]]}})
    mixed = write_json(tmp_path / "mixed", {"a.jpg": {1: [[20.5, 10.4]]}})
    assert SALICON2014(mixed, coordinates="row-column").fixations(0).tolist() == [[9, 20]]
    assert SALICON2014(whole, coordinates="row-column").fixations(0).tolist() == [[9, 19]]
    assert SALICON2014(whole, coordinates="xy").fixations(0).tolist() == [[20, 10]]
    refused(lambda: SALICON2014(path, coordinates="yx"), "'yx'", "row-column")


@pytest.mark.parametrize("points", [[["12", "13"]], [[1, 2, 3, 4]], [[10**400, 1]], [[True, False]], [[1e999, 2]], [[None, 1]]])
def test_json_points_must_be_pairs_of_finite_numbers(tmp_path, points):
    path = write_json(tmp_path, {"a.jpg": {1: points}})
    refused(lambda: SALICON2014(path), str(path), "not SALICON's JSON of 2014")


def test_json_sizes_and_doubles(tmp_path):
    path = write_json(tmp_path, {"a.jpg": {1: [[24, 32]]}})
    Image.new("RGB", (128, 96)).save(tmp_path / "a.jpg")
    refused(lambda: SALICON2014(path, coordinates="row-column").fixations(0), "is 128x96", "64x48")
    assert SALICON2014(path, coordinates="row-column", scale_fixations=True).fixations(0).tolist() == [[63, 47]]
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"images": content["images"] * 2}))
    refused(lambda: SALICON2014(path), "listed twice")
    path.write_text(json.dumps(content).replace("[[24, 32]]", "[[240, 32]]"))
    Image.new("RGB", (64, 48)).save(tmp_path / "a.jpg")
    refused(lambda: SALICON2014(path, coordinates="row-column").fixations(0), "lie outside", "coordinates=")


def test_the_real_examples_of_both_orders(real_data):
    """Both published examples: gaze in the middle of a 640 x 480 picture, nothing beyond rounding outside."""
    for folder, count in (("salicon", 73_630), ("salicon_val", 232_178)):
        if not (real_data / folder).is_dir():
            pytest.skip(f"ZOOM_REAL_DATA holds no {folder}/")
        data, found = SALICON2014(real_data / folder), Plausibility(5000)
        points = [data.fixations(i) for i in range(len(data))]
        for i, xy in enumerate(points):
            found.add(data.name(i), xy, data.subjects(i), data.size(i))
        assert not found.problems("photographs") and sum(map(len, points)) >= count * 0.999
        mean = np.concatenate(points).mean(0)
        assert abs(mean[0] - 320) < 25 and abs(mean[1] - 240) < 25


def test_no_real_set_is_called_implausible(real_data):
    """Five hundred pictures of OSIE: no threshold hits what people did."""
    if not (real_data / "osie").is_dir():
        pytest.skip("ZOOM_REAL_DATA holds no osie/")
    data, found = OSIE(real_data / "osie"), Plausibility(60)
    for i in range(len(data)):
        found.add(data.name(i), data.fixations(i), data.subjects(i), data.size(i))
        assert data.outside(i) == 0
    assert not found.problems("photographs")


@pytest.mark.parametrize("which", ["2-6", "all"])
def test_scanpaths_of_real_photographs_lie_on_places_enough(real_data, which):
    if not (real_data / "mit1003_400").is_dir():
        pytest.skip("ZOOM_REAL_DATA holds no mit1003_400/")
    data = MIT1003(real_data / "mit1003_400", points="scanpaths", which=which)
    check_places(((data.fixations(i), data.size(i)) for i in range(0, len(data), 10)), data.root, "")
