"""SALICON's JSON of 2014: the convention of a file is found by its points, or refused; the two published examples are told apart."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.data.salicon import SALICON2014
from lib.data.salicon_json import COORDINATES, read_fixations

LANDSCAPE, SQUARE, PORTRAIT = (48, 64), (50, 50), (64, 48)  # H, W


def write(folder: Path, points: list, size: tuple[int, int] = LANDSCAPE, *, sized: bool = True, name: str = "a.jpg") -> Path:
    """One photograph, one worker."""
    image = {"id": 3, "file_name": name} | ({"height": size[0], "width": size[1]} if sized else {})
    path = folder / "fixations_2014.json"
    path.write_text(json.dumps({"images": [image], "annotations": [{"image_id": 3, "worker_id": 8, "fixations": points}]}))
    Image.new("RGB", size[::-1]).save(folder / name)
    return path


def drawn(size: tuple[int, int], coordinates: str, n: int = 400, seed: int = 0) -> tuple[list, np.ndarray]:
    """Points all over a picture: as in a file of that convention, and as pixels x, y from 0."""
    xy = np.random.default_rng(seed).integers(0, [size[1], size[0]], (n, 2))
    return (xy[:, ::-1] + 1 if coordinates == "row-column" else xy).tolist(), xy


def message(action) -> str:
    with pytest.raises(ValueError) as error:
        action()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("size", [LANDSCAPE, PORTRAIT, SQUARE])
def test_points_all_over_a_picture_tell_their_convention(tmp_path, coordinates, size):
    """By its sides where they differ, by zeros and last pixels where they do not; whole numbers in both."""
    points, xy = drawn(size, coordinates)
    data = SALICON2014(write(tmp_path, points, size))
    assert data.coordinates == coordinates
    np.testing.assert_array_equal(data.fixations(0), xy)
    assert set(data.subjects(0).tolist()) == {8}


@pytest.mark.parametrize("coordinates", COORDINATES)
def test_a_few_stray_points_change_nothing(tmp_path, coordinates):
    points, _ = drawn(LANDSCAPE, coordinates, n=2000)
    other, _ = drawn(LANDSCAPE, COORDINATES[coordinates == "row-column"], n=4, seed=1)
    assert read_fixations(write(tmp_path, [*points, *other, [-1, 70], [300, 300]])).coordinates == coordinates


def test_fractions_are_of_xy_and_rounded_halves_up(tmp_path):
    data = SALICON2014(write(tmp_path, [[10.5, 20.49], [-0.5, 0.0], [-0.67, 3.0], [63.4, 47.4], [63.5, 5.0]]))
    assert data.coordinates == "xy" and data.fixations(0).tolist() == [[11, 20], [0, 0], [63, 47]]


@pytest.mark.parametrize(("points", "size", "expected"), [
    ([[20, 30], [0, 12]], LANDSCAPE, "xy"),  # a zero, where both fit
    ([[20, 30], [50, 12]], SQUARE, "row-column"),  # the 50th row
    ([[20, 30.5]], SQUARE, "xy"),
    ([[20, 60]], LANDSCAPE, "row-column"),  # no y
    ([[60, 20], [0, 1]], LANDSCAPE, "xy"),  # no row, and from 0
    ([], LANDSCAPE, "row-column"),  # nobody looked: nothing to tell
])
def test_the_least_evidence_that_will_do(tmp_path, points, size, expected):
    assert read_fixations(write(tmp_path, points, size)).coordinates == expected


@pytest.mark.parametrize(("points", "size"), [
    ([[20, 30], [40, 12]], LANDSCAPE),  # fits both
    ([[48, 30]], LANDSCAPE),  # the last row, or x = 48
    ([[20, 30], [50, 12], [0, 4]], SQUARE),  # a zero and a fiftieth
    ([[60, 20], [20, 60]], LANDSCAPE),  # one says this, one that
    ([[20, 60], [20.5, 30]], LANDSCAPE),  # rows and columns, with fractions
    ([[60, 20], [64, 5]], LANDSCAPE),  # x and y, from 1
    ([[60, 20], [30, 5]], LANDSCAPE),  # x and y, from where?
    ([[0, 60], [0, 50]], LANDSCAPE),  # rows and columns, from 0
])
def test_what_does_not_tell_or_contradicts_itself_is_refused(tmp_path, points, size):
    path = write(tmp_path, points, size)
    text = message(lambda: SALICON2014(path))
    assert str(path) in text and all(f"coordinates='{name}'" in text for name in COORDINATES)
    for name in COORDINATES:
        assert SALICON2014(path, coordinates=name).coordinates == name


def test_without_sizes_only_fractions_and_zeros_are_left(tmp_path):
    assert read_fixations(write(tmp_path, [[20, 30.5]], sized=False)).coordinates == "xy"
    assert "does not tell" in message(lambda: read_fixations(write(tmp_path, [[20, 60]], sized=False)))


def test_the_switch_is_obeyed_and_checked(tmp_path):
    path = write(tmp_path, [[20, 30]])
    assert SALICON2014(path, coordinates="row-column").fixations(0).tolist() == [[29, 19]]
    assert SALICON2014(path, coordinates="xy").fixations(0).tolist() == [[20, 30]]
    assert "coordinates 'yx'" in message(lambda: SALICON2014(path, coordinates="yx"))


@pytest.mark.parametrize("points", [[["1", "2"]], [[1, 2, 3], [4, 5, 6]], [1, 2], [[True, False]], [[1, None]], [[1, float("nan")]],
                                    [[int("9" * 400), 1]], [[1e400, 1]], {"x": 1}, "12"])
def test_points_that_are_none_are_refused(tmp_path, points):
    path = write(tmp_path, points)
    assert f"{path}: not SALICON's JSON of 2014" in message(lambda: read_fixations(path))


@pytest.mark.parametrize("change", [
    {"worker_id": 3.7}, {"worker_id": True}, {"worker_id": "3"}, {"worker_id": 10**400}, {"image_id": 4}, {"image_id": [3]}])
def test_annotations_that_cannot_be_are_refused(tmp_path, change):
    path = write(tmp_path, [[1, 2]])
    content = json.loads(path.read_text())
    content["annotations"][0] |= change
    path.write_text(json.dumps(content))
    assert str(path) in message(lambda: read_fixations(path))


@pytest.mark.parametrize("images", [
    [{"id": 3, "file_name": "a.jpg"}, {"id": 4, "file_name": "a.jpg"}], [{"id": 3, "file_name": "a.jpg"}, {"id": 3, "file_name": "b.jpg"}],
    [{"id": 3, "file_name": 5}], [{"id": 3, "file_name": "a.jpg", "height": 0, "width": 3}],
    [{"id": 3, "file_name": "a.jpg", "height": 2.5, "width": 3}], "images", [5]])
def test_images_that_cannot_be_are_refused(tmp_path, images):
    path = write(tmp_path, [[1, 2]])
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"images": images}))
    assert str(path) in message(lambda: read_fixations(path))


@pytest.mark.parametrize(("folder", "coordinates", "points"), [("salicon", "row-column", 73_630), ("salicon_val", "xy", 232_176)])
def test_the_published_examples_are_told_apart(real_data, folder, coordinates, points):
    """Counts and limits as they were when this was written; two points of the second file round to a pixel outside."""
    if not (real_data / folder).is_dir():
        pytest.skip(f"ZOOM_REAL_DATA holds no {folder}/")
    data = SALICON2014(real_data / folder)
    assert data.coordinates == coordinates and len(data) == 10
    every = [data.fixations(i) for i in range(10)]
    assert sum(map(len, every)) == points
    assert np.concatenate(every).min(0).tolist() == [0, 0] and np.concatenate(every).max(0).tolist() == [639, 479]
