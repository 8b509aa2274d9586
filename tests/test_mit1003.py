"""What all saliency sets share, and the MIT1003 loader: on small files in the published layout, and the real ones where at hand."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lib.data import mit1003_verify
from lib.data.mit1003 import MIT1003, THRESHOLD
from lib.data.saliency import SaliencyData, fifth_split, upsample_density

SIZES = {"i1_wide": (48, 64), "i05june05_tall.p2": (64, 40)}  # (H, W); a stem may hold a dot


def white(size: tuple[int, int], xy: np.ndarray) -> np.ndarray:
    """(H, W) uint8, 255 at the pixels."""
    picture = np.zeros(size, dtype=np.uint8)
    picture[xy[:, 1], xy[:, 0]] = 255
    return picture


def points(size: tuple[int, int], n: int, seed: int = 0) -> np.ndarray:
    """(n, 2) different pixels, x first, some of them neighbours, ordered row by row."""
    rng = np.random.default_rng(seed)
    near = (rng.normal(size=(n, 2)) * np.array([size[1], size[0]]) / 12 + np.array([size[1], size[0]]) / 2).astype(int)
    xy = np.unique(np.clip(near, 0, [size[1] - 1, size[0] - 1])[:, ::-1], axis=0)[:, ::-1]
    return xy


def write(root: Path, sizes: dict[str, tuple[int, int]] = SIZES, *, nested: bool = False, fixated: bool = True) -> Path:
    """As MATLAB's imwrite saved the published maps: JPEG of quality 75."""
    stimuli, maps = root / "ALLSTIMULI", root / "ALLFIXATIONMAPS" / ("ALLFIXATIONMAPS" if nested else "")
    for folder in (stimuli, maps):
        folder.mkdir(parents=True)
    for n, (stem, size) in enumerate(sizes.items()):
        Image.new("RGB", size[::-1], (n, 100, 200)).save(stimuli / f"{stem}.jpeg", quality=100)
        Image.fromarray(np.full(size, 100 + n, dtype=np.uint8)).save(maps / f"{stem}_fixMap.jpg", quality=75)
        if fixated:
            Image.fromarray(white(size, points(size, 30, n))).save(maps / f"{stem}_fixPts.jpg", quality=75)
    return root


def message(kind: type[Exception], action) -> str:
    with pytest.raises(kind) as error:
        action()
    assert "\n" not in str(error.value)
    return str(error.value)


# ------------------------------------------------------------------------------------------------------ what all sets share


def test_fifth_split_is_disjoint_complete_and_as_documented():
    split = fifth_split(500)
    assert {name: len(indices) for name, indices in split.items()} == {"train": 360, "val": 40, "test": 100}
    assert sorted(np.concatenate(list(split.values()))) == list(range(500))
    assert split["test"][:3].tolist() == [4, 9, 14] and split["val"][:2].tolist() == [11, 23]
    assert all(len(fifth_split(1)[name]) == (name == "train") for name in split)


def test_upsampled_density_is_bilinear_at_cell_centres_and_sums_to_one():
    """An independent formulation: each axis by np.interp between the centres of the cells, constant beyond the outermost."""
    coarse = np.random.default_rng(0).random((4, 6)).astype(np.float32)
    size = (20, 42)

    def along(values: np.ndarray, n: int) -> np.ndarray:
        at = (np.arange(n) + 0.5) / n * len(values) - 0.5
        return np.stack([np.interp(at, np.arange(len(values)), column) for column in values.T], axis=1)

    expected = along(along(coarse, size[0]).T, size[1]).T
    density = upsample_density(coarse, size)
    assert density.shape == size and density.dtype == np.float32 and abs(density.sum(dtype=np.float64) - 1) < 1e-6
    np.testing.assert_allclose(density, expected / expected.sum(), rtol=1e-6)
    assert np.array_equal(density, upsample_density(torch.from_numpy(coarse), size))


@pytest.mark.parametrize("grid", [np.zeros((3, 3)), -np.ones((3, 3)), np.full((3, 3), np.nan), np.ones(3)])
def test_a_grid_that_is_no_density_is_refused(grid):
    assert "a density must be" in message(ValueError, lambda: upsample_density(grid, (6, 6)))


# ------------------------------------------------------------------------------------------------------------------- MIT1003


def test_photographs_of_many_sizes_with_their_maps(tmp_path):
    data = MIT1003(write(tmp_path))
    assert isinstance(data, SaliencyData) and [data.name(i) for i in range(len(data))] == sorted(SIZES) and not data.is_twin
    for i in range(2):
        size = SIZES[data.name(i)]
        assert data.size(i) == size and data.image(i).shape == (*size, 3) and data.path(i).name == f"{data.name(i)}.jpeg"
        density = data.density(i)
        assert density.shape == size and density.dtype == np.float32 and np.ptp(density) == 0
        assert density[0, 0] == np.float32(100 + list(SIZES).index(data.name(i))) / np.float32(255)
        assert data.subjects(i) is None and data.true_density(i) is None


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_points_survive_the_jpeg(tmp_path, quality):
    """THRESHOLD gives back every white pixel and no other; a threshold of 0, which is common, does not."""
    size = (300, 400)
    root = write(tmp_path, {"a": size})
    drawn = points(size, 150)
    path = root / "ALLFIXATIONMAPS" / "a_fixPts.jpg"
    Image.fromarray(white(size, drawn)).save(path, quality=quality)
    found = MIT1003(root).fixations(0)
    assert found.dtype == np.int64 and np.array_equal(found, drawn)
    levels = np.array(Image.open(path))
    assert (levels > 0).sum() > 2 * len(drawn) and 0 < THRESHOLD < 255


def test_a_greyscale_photograph_comes_out_rgb(tmp_path):
    root = write(tmp_path)
    Image.new("L", (64, 48), 7).save(root / "ALLSTIMULI" / "i1_wide.jpeg")
    image = MIT1003(root).image(1)
    assert image.shape == (48, 64, 3) and np.all(image == 7)


def test_no_points_no_fixations(tmp_path):
    root = write(tmp_path, fixated=False)
    # The published archive holds one file without its underscore; it belongs to no photograph.
    (root / "ALLFIXATIONMAPS" / "i1_widefixPts.jpg").write_bytes(b"")
    assert MIT1003(root).fixations(1) is None
    Image.new("L", (64, 48)).save(root / "ALLFIXATIONMAPS" / "i1_wide_fixPts.jpg")
    assert MIT1003(root).fixations(1).shape == (0, 2) and MIT1003(root).fixations(0) is None


def test_a_folder_nested_in_one_of_its_own_name(tmp_path):
    flat, nested = MIT1003(write(tmp_path / "a")), MIT1003(write(tmp_path / "b", nested=True))
    assert np.array_equal(nested.density(0), flat.density(0)) and np.array_equal(nested.fixations(1), flat.fixations(1))


def test_bad_inputs_give_one_line(tmp_path):
    assert "root, the folder that holds ALLSTIMULI/" in message(FileNotFoundError, lambda: MIT1003(tmp_path))
    data = MIT1003(write(tmp_path))
    Image.new("L", (64, 47)).save(data.map_path(1))
    assert "is 64x47, its photograph 64x48" in message(ValueError, lambda: data.density(1))
    data.points_path(1).write_bytes(b"no picture")
    assert "not readable as an image" in message(ValueError, lambda: data.fixations(1))
    data.map_path(0).unlink()
    assert "_fixMap.jpg: missing" in message(FileNotFoundError, lambda: data.density(0))
    data.path(0).write_bytes(data.path(0).read_bytes()[:-300])
    assert str(data.path(0)) in message(ValueError, lambda: data.image(0))


def test_a_twins_density_and_fingerprint(tmp_path):
    root = write(tmp_path)
    before = MIT1003(root).fingerprint
    coarse = np.random.default_rng(0).random((4, 5)).astype(np.float32)
    (root / "density").mkdir()
    np.save(root / "density" / "i05june05_tall.p2.npy", coarse)
    (root / "TWIN.json").write_text("{}")
    data = MIT1003(root)
    assert data.is_twin and np.array_equal(data.true_density(0), upsample_density(coarse, SIZES["i05june05_tall.p2"]))
    Image.new("L", (64, 48)).save(data.points_path(1), quality=75)
    assert before != MIT1003(root).fingerprint and len(before) == 16


def test_verify_a_twin_and_what_it_lacks(tmp_path):
    root = write(tmp_path)
    fixations = sum(len(points(size, 30, n)) for n, size in enumerate(SIZES.values()))
    (root / "TWIN.json").write_text(json.dumps({"counts": {"images": 2, "fixations": fixations}}))
    report = mit1003_verify.verify(root)
    assert report.ok and not report.warnings, report.lines
    data = MIT1003(root)
    data.map_path(1).unlink()
    Image.new("L", (64, 48)).save(data.points_path(1))
    data.path(0).write_bytes(data.path(0).read_bytes()[:-300])
    (root / "ALLFIXATIONMAPS" / "other_fixMap.jpg").write_bytes(b"")
    report = mit1003_verify.verify(root)
    text = "\n".join(report.problems)
    assert all("\n" not in line for line in report.lines) and "_fixMap.jpg: missing" in text and ".jpeg: cannot be decoded" in text
    assert "other_fixMap.jpg: its photograph is not in ALLSTIMULI" in text and "fixations:" in text
    assert report.warnings == ["photographs that nobody looked at: 1 (i1_wide); their AUC and NSS are undefined"]


def test_verify_compares_with_the_published(tmp_path):
    root = write(tmp_path, {"a": (405, 1024), "b": (404, 1024), "c": (1000, 800)}, fixated=False)
    report = mit1003_verify.verify(root)
    text = "\n".join(report.problems)
    assert "photographs: 3, expected 1,003: 1,000 missing" in text
    assert "b.jpeg: is 1024x404" in text and "c.jpeg: is 800x1000" in text and "a.jpeg" not in text
    assert any("no fixPts" in line for line in report.warnings)
    Image.new("L", (1024, 405)).save(root / "ALLFIXATIONMAPS" / "a_fixPts.jpg")
    assert any("fixPts: readable for 1 photographs, not for 2" in line for line in mit1003_verify.verify(root).problems)
    assert "root, the folder" in mit1003_verify.verify(tmp_path / "nowhere").problems[0]


def test_the_real_data(real_data):
    """The photographs at hand: as large as published, each with a map of its size that reaches from black to white."""
    if not (real_data / "mit1003").is_dir():
        pytest.skip("ZOOM_REAL_DATA holds no mit1003/")
    data = MIT1003(real_data / "mit1003")
    for i in range(0, len(data), 9):
        density = data.density(i)
        assert density.shape == data.size(i) == data.image(i).shape[:2] and max(data.size(i)) == 1024 and min(data.size(i)) >= 405
        assert density.min() == 0 and density.max() > 0.97 and density.mean() < 0.3
