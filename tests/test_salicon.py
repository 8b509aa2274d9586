"""The SALICON loaders, on small files in the published layouts, and the real examples where they are at hand."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from scipy.ndimage import gaussian_filter

from lib.data import salicon_verify
from lib.data.salicon import SALICON, SALICON2014
from lib.data.saliency import SaliencyData, upsample_density

H, W = 48, 64
STEM = "COCO_train2014_{:012d}"


def write_mat(path: Path, observers: list, *, edition: str = "2017", stem: str | None = None, size=(H, W), dtype=np.uint16) -> None:
    """`observers`: for each its fixations [(x, y), ...] from 1, as published: a column of structs in 2017, a row in 2015."""
    gaze = np.empty((len(observers), 1), dtype=[("location", "O"), ("timestamp", "O"), ("fixations", "O")])
    for i, points in enumerate(observers):
        points = np.array(points, dtype=dtype).reshape(-1, 2)
        track = np.concatenate([points, np.full((1, 2), W + 1, dtype=dtype)])  # mouse tracks leave the image
        gaze[i, 0] = (track, np.arange(len(track), dtype=np.float64)[:, None], points if len(points) else np.zeros((0, 0)))
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"image": stem or path.stem, "resolution": np.array([size]), "gaze": gaze.T if edition == "2015" else gaze})


def write(root: Path, images: dict[str, list[list]], *, edition: str = "2017", size=(H, W)) -> Path:
    """`images`: {split: observers of each image}; photographs and maps that differ from one another."""
    for split, observers in images.items():
        for n, points in enumerate(observers):
            stem = STEM.format(n)
            for kind in ("images", "maps"):
                (root / kind / split).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", size[::-1], (n, 100, 200)).save(root / "images" / split / f"{stem}.jpg", quality=100)
            if split != "test":
                write_mat(root / "fixations" / split / f"{stem}.mat", points, edition=edition, size=size)
                level = Image.fromarray(np.full(size, 51 * (n % 5 + 1), dtype=np.uint8))
                level.save(root / "maps" / split / f"{stem}.png")
    return root


TWO = {"train": [[[(1, 1), (64, 48)], [], [(10, 20), (10, 20)]], [[(2, 3)], [(5, 6)]]], "test": [[]]}


def message(kind: type[Exception], action) -> str:
    with pytest.raises(kind) as error:
        action()
    assert "\n" not in str(error.value) and len(str(error.value)) < 400
    return str(error.value)


# -------------------------------------------------------------------------------------------------------------- .mat files


@pytest.mark.parametrize("edition", ["2015", "2017"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
def test_both_editions_give_the_same_zero_based_points(tmp_path, edition, dtype):
    """Small unsigned integers must be widened before 1 is subtracted, and a row of observers must not be read as one."""
    root = write(tmp_path, TWO, edition=edition)
    for n, observers in enumerate(TWO["train"]):
        write_mat(root / "fixations" / "train" / f"{STEM.format(n)}.mat", observers, edition=edition, dtype=dtype)
    data = SALICON(root, "train", edition=edition)
    assert isinstance(data, SaliencyData) and len(data) == 2 and data.found_edition == edition and not data.is_twin
    assert data.fixations(0).tolist() == [[0, 0], [63, 47], [9, 19], [9, 19]] and data.fixations(0).dtype == np.int64
    assert data.subjects(0).tolist() == [0, 0, 2, 2] and data.subjects(1).tolist() == [0, 1]
    data.fixations(1)[:] = 0  # the caller's own
    assert data.fixations(1).tolist() == [[1, 2], [4, 5]]
    assert data.name(1) == STEM.format(1) and data.path(1).name == f"{STEM.format(1)}.jpg" and data.size(1) == (H, W)
    assert data.image(1).shape == (H, W, 3) and data.image(1).dtype == np.uint8 and data.image(1).flags.writeable


def test_points_outside_are_left_out_with_their_observers(tmp_path):
    root = write(tmp_path, {"train": [[[(0, 5), (65, 5), (7, 8)], [(5, 0), (5, 49)], [(64, 48)]]]})
    data = SALICON(root)
    assert data.fixations(0).tolist() == [[6, 7], [63, 47]] and data.subjects(0).tolist() == [0, 2]


def released_mat_loader(path: Path, width: int, height: int) -> list:
    """As described in EML-NET's loader: no subtraction, points below width and height are kept; a column of observers."""
    from scipy.io import loadmat

    return [point for row in loadmat(path)["gaze"] for point in row[0]["fixations"].tolist() if point[0] < width and point[1] < height]


def test_released_coordinates_are_the_released_loaders(tmp_path):
    observers = [[(1, 1), (64, 10), (63, 48), (63, 47)], [], [(10, 20), (0, 0)]]
    root = write(tmp_path, {"train": [observers]})
    released = SALICON(root, coordinates="released").fixations(0).tolist()
    assert released == released_mat_loader(root / "fixations" / "train" / f"{STEM.format(0)}.mat", W, H)
    assert released == [[1, 1], [63, 47], [10, 20], [0, 0]]
    assert [62, 46] in SALICON(root).fixations(0).tolist()  # what (63, 47) should be


@pytest.mark.parametrize("gaze", [np.zeros((0, 0)), np.zeros((0, 1)), np.empty((1, 0), dtype=[("location", "O"), ("fixations", "O")])])
def test_an_image_that_nobody_looked_at(tmp_path, gaze):
    root = write(tmp_path, TWO)
    savemat(root / "fixations" / "train" / f"{STEM.format(0)}.mat", {"image": STEM.format(0), "resolution": [[H, W]], "gaze": gaze})
    data = SALICON(root, edition="2017")
    assert data.fixations(0).shape == (0, 2) and data.fixations(0).dtype == np.int64 and data.subjects(0).shape == (0,)
    assert data.found_edition is None and len(data.fixations(1)) == 2


def test_the_other_edition_is_refused(tmp_path):
    root = write(tmp_path, TWO, edition="2015")
    text = message(ValueError, lambda: SALICON(root, edition="2017"))
    assert "is of the 2015 edition, 2017 was asked for" in text and STEM.format(0) in text
    write_mat(root / "fixations" / "train" / f"{STEM.format(1)}.mat", [[(1, 1)], [(2, 2)]], edition="2017")
    assert "is of the 2017 edition" in message(ValueError, lambda: SALICON(root, edition="2015").fixations(1))
    assert len(SALICON(root).fixations(1)) == 2  # no edition asked for: either is read


def test_bad_mat_files_give_one_line(tmp_path):
    root = write(tmp_path, TWO)
    path = root / "fixations" / "train" / f"{STEM.format(0)}.mat"
    whole = path.read_bytes()
    for damage in (b"", b"no MATLAB file, though long enough to hold its header" * 9, whole[:300], whole[: len(whole) // 2]):
        path.write_bytes(damage)
        text = message(ValueError, lambda: SALICON(root).fixations(0))
        assert "not a SALICON .mat" in text and str(path) in text
    def gaze(shape: tuple[int, int], fixations: object) -> dict:
        cells = np.empty(shape, dtype=[("fixations", "O")])
        for cell in cells.ravel():
            cell["fixations"] = fixations
        return {"gaze": cells}

    for content in ({"other": 1}, {"gaze": np.ones((3, 1))}, gaze((2, 2), np.ones((1, 2))), gaze((1, 1), np.ones((2, 3))),
                    gaze((1, 1), "text"), gaze((1, 1), np.full((1, 2), np.nan))):
        savemat(path, content)
        assert "not a SALICON .mat" in message(ValueError, lambda: SALICON(root).fixations(0))
    write_mat(path, [[(1, 1)]], stem=STEM.format(7))
    assert "holds the fixations of" in message(ValueError, lambda: SALICON(root).fixations(0))
    write_mat(path, [[(1, 1)]], size=(W, H))
    assert "resolution is [64, 48] (H, W)" in message(ValueError, lambda: SALICON(root).fixations(0))
    path.unlink()
    assert "missing" in message(FileNotFoundError, lambda: SALICON(root).fixations(0))


# ---------------------------------------------------------------------------------------------------- folders, maps, twins


def test_what_the_test_split_has(tmp_path):
    data = SALICON(write(tmp_path, TWO), "test")
    assert data.fixations(0) is None and data.subjects(0) is None and data.true_density(0) is None and data.image(0).shape == (H, W, 3)
    assert "publishes no maps" in message(ValueError, lambda: data.density(0))


def test_maps_are_the_published_levels(tmp_path):
    root = write(tmp_path, TWO)
    density = SALICON(root).density(1)
    assert density.dtype == np.float32 and density.shape == (H, W) and np.all(density == np.float32(102) / np.float32(255))
    path = root / "maps" / "train" / f"{STEM.format(1)}.png"
    Image.new("L", (W // 2, H // 2)).save(path)
    assert "is 32x24, its photograph 64x48" in message(ValueError, lambda: SALICON(root).density(1))
    noise = np.random.default_rng(0).integers(0, 256, (H, W), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:-900])
    assert str(path) in message(ValueError, lambda: SALICON(root).density(1))
    path.unlink()
    assert "missing" in message(FileNotFoundError, lambda: SALICON(root).density(1))


def test_wrong_arguments_and_folders_give_one_line(tmp_path):
    assert "root, the folder that holds images/train" in message(FileNotFoundError, lambda: SALICON(tmp_path))
    for options in ({"split": "valid"}, {"edition": "2016"}, {"coordinates": "original"}):
        assert "SALICON has" in message(ValueError, lambda options=options: SALICON(tmp_path, **options))


def test_a_twins_density_is_upsampled_and_only_a_twin_has_one(tmp_path):
    root = write(tmp_path, TWO)
    coarse = np.random.default_rng(0).random((6, 8)).astype(np.float32)
    path = root / "density" / "train" / f"{STEM.format(0)}.npy"
    path.parent.mkdir(parents=True)
    np.save(path, coarse)
    assert SALICON(root).true_density(0) is None
    (root / "TWIN.json").write_text("{}")
    data = SALICON(root)
    assert data.is_twin and np.array_equal(data.true_density(0), upsample_density(coarse, (H, W)))
    assert "missing" in message(FileNotFoundError, lambda: data.true_density(1))
    assert SALICON(root, "test").true_density(0) is None  # no folder, no density
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)  # nothing may be unpickled
    assert "not a twin's density" in message(ValueError, lambda: data.true_density(0))


def test_fingerprint_changes_with_each_kind_of_file(tmp_path):
    root = write(tmp_path, TWO)
    seen = [SALICON(root).fingerprint]
    assert seen == [SALICON(root).fingerprint] and len(seen[0]) == 16
    mat = root / "fixations" / "train" / f"{STEM.format(1)}.mat"
    mat.write_bytes(mat.read_bytes()[:-1] + b"x")  # as many bytes
    seen.append(SALICON(root).fingerprint)
    Image.new("RGB", (W, H)).save(root / "images" / "train" / f"{STEM.format(0)}.jpg", quality=10)
    seen.append(SALICON(root).fingerprint)
    (root / "maps" / "train" / f"{STEM.format(0)}.png").unlink()
    seen.append(SALICON(root).fingerprint)
    assert len(set(seen)) == 4


# --------------------------------------------------------------------------------------------------------------- JSON of 2014


def write_json(folder: Path, fixations: dict[str, dict[int, list]], *, photographs: bool = True) -> Path:
    """`fixations`: {name: {worker: [(row, column), ...]}} from 1."""
    folder.mkdir(parents=True, exist_ok=True)
    images = [{"id": 100 - n, "file_name": name, "height": H, "width": W} for n, name in enumerate(fixations)]
    annotations = [{"id": 0, "image_id": image["id"], "worker_id": worker, "fixations": points}
                   for image in images for worker, points in fixations[image["file_name"]].items()]
    path = folder / "fixations_train2014examples.json"
    path.write_text(json.dumps({"type": "fixations", "images": images, "annotations": annotations}))
    for name in fixations if photographs else ():
        Image.new("RGB", (W, H)).save(folder / name)
    return path


JSON = {"b.jpg": {7: [[1, 1], [48, 64], [1, 1]], 9: [[20, 10], [49, 1], [1, 0]]}, "a.jpg": {}}


def test_json_rows_and_columns_become_x_and_y(tmp_path):
    data = SALICON2014(write_json(tmp_path, JSON))
    assert isinstance(data, SaliencyData) and [data.name(i) for i in range(len(data))] == ["a", "b"]
    assert data.fixations(1).tolist() == [[0, 0], [63, 47], [0, 0], [9, 19]] and data.subjects(1).tolist() == [7, 7, 7, 9]
    assert data.fixations(0).shape == (0, 2) and not data.density(0).any()
    assert len(SALICON2014(tmp_path)) == 2 and data.true_density(1) is None and len(data.fingerprint) == 16


def test_json_map_is_build_fix_maps(tmp_path):
    """Fixated pixels once each, sigma 19 with SciPy's default border, minimum 0 and maximum 1."""
    data, binary = SALICON2014(write_json(tmp_path, JSON)), np.zeros((H, W))
    for row, column in ((1, 1), (48, 64), (20, 10)):
        binary[row - 1, column - 1] = 1
    expected = gaussian_filter(binary, 19)
    expected = (expected - expected.min()) / (expected.max() - expected.min())
    np.testing.assert_allclose(data.density(1), expected, atol=1e-6)


def test_json_photographs_in_the_published_folders(tmp_path):
    path = write_json(tmp_path / "annotations", JSON, photographs=False)
    assert "none of the 2 photographs" in message(FileNotFoundError, lambda: SALICON2014(path))
    (tmp_path / "images").mkdir()
    Image.new("RGB", (W, H)).save(tmp_path / "images" / "b.jpg")
    assert [SALICON2014(path).name(0)] == ["b"] and len(SALICON2014(path).fixations(0)) == 4


def test_bad_json_gives_one_line(tmp_path):
    path = write_json(tmp_path, JSON)
    whole = json.loads(path.read_text())
    for damage in ([], {"images": []}, {**whole, "images": []}, {**whole, "annotations": [{"image_id": 100, "fixations": [[1]], "worker_id": 1}]}):
        path.write_text(json.dumps(damage))
        assert "not SALICON's JSON of 2014" in message(ValueError, lambda: SALICON2014(path))
    path.write_text(json.dumps(whole)[:-20])
    assert "not readable as JSON" in message(ValueError, lambda: SALICON2014(path))
    assert "holds no fixations_*.json" in message(FileNotFoundError, lambda: SALICON2014(tmp_path / ".."))
    path.write_text(json.dumps({**whole, "images": [{**image, "file_name": f"../{image['file_name']}"} for image in whole["images"]]}))
    assert "is no name of a file" in message(ValueError, lambda: SALICON2014(path))


def test_the_real_examples(real_data):
    """Ten photographs as published: what was counted in the file when this was written."""
    if not (real_data / "salicon").is_dir():
        pytest.skip("ZOOM_REAL_DATA holds no salicon/")
    data = SALICON2014(real_data / "salicon")
    points = [data.fixations(i) for i in range(len(data))]
    assert len(data) == 10 and sum(map(len, points)) == 73_630
    assert np.concatenate(points).min(0).tolist() == [0, 0] and np.concatenate(points).max(0).tolist() == [639, 479]
    for i in (0, 9):
        assert data.image(i).shape == (480, 640, 3) and 50 < len(np.unique(data.subjects(i))) < 70
        at = data.density(i)[points[i][:, 1], points[i][:, 0]]
        assert at.mean() > 2 * data.density(i).mean()  # swapped axes would lose this


# --------------------------------------------------------------------------------------------------------------------- verify


def twin(root: Path, counts: dict, images: dict = TWO) -> Path:
    write(root, images)
    (root / "TWIN.json").write_text(json.dumps({"synthetic": True, "counts": counts}))
    return root


COUNTS = {"train": {"images": 2, "fixations": 6}, "test": {"images": 1}}


def test_verify_a_sound_twin(tmp_path):
    calls = []
    report = salicon_verify.verify(twin(tmp_path, COUNTS), progress=lambda *done: calls.append(done))
    assert report.ok and not report.warnings, report.lines
    assert calls[-1] == (3, 3) and any("train fixations: 6" in line for line in report.lines)


def test_verify_says_what_a_twin_lacks(tmp_path):
    root = twin(tmp_path, {"train": {"images": 3, "fixations": 7}, "test": {"images": 1}})
    report = salicon_verify.verify(root)
    assert [line.partition(":")[0] for line in report.problems] == ["train photographs", "train fixations"]
    (root / "TWIN.json").write_text(json.dumps({"counts": {"other": {}}}))
    assert "not a twin's description" in salicon_verify.verify(root).problems[0]


def test_verify_compares_with_the_published_edition(tmp_path):
    report = salicon_verify.verify(write(tmp_path, TWO, edition="2015", size=(480, 640)))
    lines = "\n".join(report.lines)
    assert "edition 2015" in lines and "train photographs: 2, expected 10,000: 9,998 missing" in lines
    assert "train fixations: 6, expected 3,171,533" in lines and "val photographs: 0, expected 5,000" in lines and not report.ok


def test_verify_finds_each_kind_of_damage(tmp_path):
    images = {"train": [[[(1, 1)], [(2, 2)]] for _ in range(8)]}
    root = twin(tmp_path, {"train": {"images": 8, "fixations": 16}}, images)
    at = [STEM.format(n) for n in range(8)]
    (root / "fixations" / "train" / f"{at[0]}.mat").unlink()
    write_mat(root / "fixations" / "train" / f"{at[1]}.mat", [[], []])
    write_mat(root / "fixations" / "train" / f"{at[2]}.mat", [[(1, 1)], [(65, 1)]])
    Image.new("L", (5, 5)).save(root / "maps" / "train" / f"{at[3]}.png")
    photograph = root / "images" / "train" / f"{at[4]}.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (H, W, 3), dtype=np.uint8)).save(photograph)
    photograph.write_bytes(photograph.read_bytes()[:-1000])  # the header is still good
    (root / "images" / "train" / f"{at[5]}.jpg").write_bytes(b"nothing")
    (root / "images" / "train" / f"{at[6]}.jpg").unlink()
    report = salicon_verify.verify(root)
    text = "\n".join(report.problems)
    assert all("\n" not in line for line in report.lines)
    assert f"{at[0]}.mat: missing" in text and f"{at[3]}.png: is 5x5" in text and f"{at[5]}.jpg: not readable" in text
    assert f"{at[4]}.jpg: cannot be decoded" in text and text.count(f"{at[5]}.jpg: ") == 1
    assert text.count(f"{at[6]}.") == 2 and "its photograph is not in images/train" in text  # its .mat and its map are left
    warnings = "\n".join(report.warnings)
    assert f"train photographs that nobody looked at: 1 ({at[1]})" in warnings and "train fixations outside the photograph: 1 of" in warnings


def test_verify_lists_twenty_of_a_kind_and_counts_the_rest(tmp_path):
    root = twin(tmp_path, {"train": {"images": 30, "fixations": 60}}, {"train": [[[(1 + i, 1)], [(2, 2 + i)]] for i in range(30)]})
    for path in (root / "maps" / "train").iterdir():
        path.unlink()
    report = salicon_verify.verify(root)
    assert sum(".png: missing" in line for line in report.problems) == 20
    assert report.problems[-1] == "missing or unfit maps: 30 in all, 10 not listed"


def test_verify_tells_mixed_editions_and_missing_folders(tmp_path):
    root = write(tmp_path, TWO, size=(480, 640))
    write_mat(root / "fixations" / "train" / f"{STEM.format(1)}.mat", [[(1, 1)], [(2, 2)]], edition="2015", size=(480, 640))
    shutil.rmtree(root / "maps" / "train")
    text = "\n".join(salicon_verify.verify(root).problems)
    assert "files of two editions (1 of 2015, 1 of 2017)" in text and "maps/train: no such folder" in text
    assert "give the folder that holds images/" in salicon_verify.verify(tmp_path / "nowhere").problems[0]
