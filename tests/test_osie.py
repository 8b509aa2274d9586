"""The OSIE loader: a small file in the published layout, written here; damaged ones; and the real one where it is at hand."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from lib.data import osie, osie_verify
from lib.data.fetch import published_checksums
from lib.data.saliency import SaliencyData

savemat = pytest.importorskip("scipy.io").savemat


def cell(items: list) -> np.ndarray:
    """MATLAB's n x 1 cell array."""
    cells = np.empty((len(items), 1), dtype=object)
    cells[:, 0] = items
    return cells


def write(root: Path, images: dict[str, list[list[tuple[float, float, float]]]], *, stimuli: list[str] | None = None,
          size: tuple[int, int] | None = None) -> Path:
    """`images`: {name: for each subject a list of (x, y, duration)}, as published: structs in cells, rows 1 x n.

    size: (H, W) of the stimuli; by default those of a twin, which alone may have another size than the published.
    """
    entries = []
    for name, subjects in images.items():
        structs = []
        for fixations in subjects:
            x, y, duration = np.array(fixations, dtype=float).reshape(-1, 3).T
            structs.append({"fix_x": x[None], "fix_y": y[None], "fix_duration": duration[None]})
        entries.append({"img": name, "subjects": cell(structs)})
    (root / "data" / "eye").mkdir(parents=True)
    (root / "data" / "stimuli").mkdir()
    savemat(root / "data" / "eye" / "fixations.mat", {"fixations": cell(entries)})
    for number, name in enumerate(images if stimuli is None else stimuli):
        Image.new("RGB", (size or (60, 80))[::-1], (number, 0, 255)).save(root / "data" / "stimuli" / name, quality=100)
    if size is None:
        (root / "TWIN.json").write_text("{}")
    return root


TWO = {
    "1001.jpg": [[(1.2, 1.2, 200), (40.5, 30.4, 150)], [], [(80.0, 60.0, 90)]],
    "1002.jpg": [[(0.3, 61.2, 100)], [(80.9, 0.0, 120)], [(2.5, 3.5, 130)]],
}


def test_fixations_are_rounded_zero_based_and_clamped(tmp_path):
    data = osie.OSIE(write(tmp_path, TWO))
    assert len(data) == 2 and [data.name(i) for i in range(2)] == ["1001.jpg", "1002.jpg"]
    first, second = data.fixations(0), data.fixations(1)
    assert first.dtype == np.int64 and first.tolist() == [[0, 0], [40, 29], [79, 59]]
    assert second.tolist() == [[0, 59], [79, 0], [2, 3]]  # 0.3 and 0 clamped, 2.5 and 3.5 rounded up as in MATLAB
    assert data.subjects(0).tolist() == [0, 0, 2] and data.subjects(1).tolist() == [0, 1, 2]
    assert data.durations(0).tolist() == [200, 150, 90]


def test_images_are_uint8_rgb(tmp_path):
    data = osie.OSIE(write(tmp_path, TWO))
    image = data.image(1)
    assert image.shape == (60, 80, 3) and image.dtype == np.uint8 and data.size(1) == (60, 80)
    assert abs(image.mean((0, 1)) - [1, 0, 255]).max() < 3


def test_a_grey_stimulus_comes_out_rgb(tmp_path):
    write(tmp_path, TWO)
    Image.new("L", (80, 60), 7).save(tmp_path / "data" / "stimuli" / "1001.jpg")
    assert osie.OSIE(tmp_path).image(0).shape == (60, 80, 3)


def test_images_absent_from_disk_are_left_out_and_said(tmp_path):
    data = osie.OSIE(write(tmp_path, TWO, stimuli=["1002.jpg", "1700.jpg"]))
    assert len(data) == 1 and data.name(0) == "1002.jpg" and len(data.fixations(0)) == 3
    assert len(data.missing) == 699 and "1001.jpg" in data.missing and "1002.jpg" not in data.missing
    assert "1700.jpg" in data.missing  # on disk, but without fixations


def test_an_image_nobody_looked_at(tmp_path):
    data = osie.OSIE(write(tmp_path, {"1001.jpg": [[], []]}))
    assert data.fixations(0).shape == (0, 2) and data.subjects(0).shape == (0,)


def test_bad_inputs_give_one_line(tmp_path):
    def message(root: Path, kind: type[Exception]) -> str:
        with pytest.raises(kind) as error:
            osie.OSIE(root)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "not found; give OSIE's root, the folder that holds data/eye" in message(tmp_path / "nowhere", FileNotFoundError)
    assert "none of the 2 stimuli" in message(write(tmp_path / "a", TWO, stimuli=[]), FileNotFoundError)
    path = write(tmp_path / "b", TWO) / "data" / "eye" / "fixations.mat"
    for damage in (b"", b"no MATLAB file at all, though long enough to hold a header" * 9, path.read_bytes()[:300]):
        path.write_bytes(damage)
        assert "not OSIE's fixations.mat" in message(tmp_path / "b", ValueError)
    for content in ({"other": 1}, {"fixations": cell([{"img": "1001.jpg"}])}, {"fixations": np.ones((3, 3))}):
        savemat(path, content)
        assert "not OSIE's fixations.mat" in message(tmp_path / "b", ValueError)
    unequal = {"fix_x": np.ones((1, 3)), "fix_y": np.ones((1, 2)), "fix_duration": np.ones((1, 3))}
    savemat(path, {"fixations": cell([{"img": "1001.jpg", "subjects": cell([unequal])}])})
    assert "not OSIE's fixations.mat" in message(tmp_path / "b", ValueError)
    nan = write(tmp_path / "c", {"1001.jpg": [[(np.nan, 1, 1)]]})
    assert "not finite" in message(nan, ValueError)
    outside = write(tmp_path / "d", {"../1001.jpg": [[(1, 1, 1)]]}, stimuli=[])
    assert "is no file name" in message(outside, ValueError)


def test_interface_of_all_saliency_sets(tmp_path):
    data = osie.OSIE(write(tmp_path, TWO, size=osie.SIZE))
    assert isinstance(data, SaliencyData) and not data.is_twin and data.true_density(0) is None
    assert data.path(0) == tmp_path / "data" / "stimuli" / "1001.jpg"
    before = data.fingerprint
    Image.new("RGB", (80, 60)).save(data.path(1), quality=10)
    assert len(before) == 16 and osie.OSIE(tmp_path).fingerprint != before


def test_density_is_the_authors_map(tmp_path):
    """Each fixated pixel once whatever the durations, sigma 24, nothing beyond the border, minimum 0 and maximum 1."""
    data = osie.OSIE(write(tmp_path, {"1001.jpg": [[(10, 20, 900), (10, 20, 100), (70, 50, 1)]], "1002.jpg": [[]]}))
    for weight, values in (("once", (1, 1)), ("duration", (1000, 1))):
        weights = np.zeros((60, 80))
        weights[19, 9], weights[49, 69] = values
        expected = gaussian_filter(weights, 24, mode="constant")
        expected = (expected - expected.min()) / (expected.max() - expected.min())
        density = data.density(0, weight=weight)
        assert density.dtype == np.float32
        np.testing.assert_allclose(density, expected, atol=1e-6)
    assert np.array_equal(data.density(0), data.density(0, weight="once")) and not data.density(1).any()
    with pytest.raises(ValueError, match="count once, or by duration"):
        data.density(0, weight="pupil")


def test_verify_against_checksums_and_counts(tmp_path):
    write(tmp_path, TWO, size=(60, 80))
    files = {path.relative_to(tmp_path / "data").as_posix(): path for path in (tmp_path / "data").rglob("*.*")}
    checksums = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    report = osie_verify.verify(tmp_path, checksums=checksums)
    assert report.lines[0] == "ok       3 files: there, SHA-256 as published"
    lines = "\n".join(report.problems)
    assert "1001.jpg: is 80x60, OSIE's are 800x600" in lines and "photographs with fixations: 2, expected 700: 698 missing" in lines
    files["stimuli/1002.jpg"].write_bytes(files["stimuli/1002.jpg"].read_bytes()[:-100])
    files["stimuli/1001.jpg"].unlink()
    lines = "\n".join(osie_verify.verify(tmp_path, checksums=checksums).problems)
    assert "1001.jpg: missing; python -m lib fetch osie" in lines
    assert "1002.jpg: its SHA-256 is not" in lines and "1002.jpg: cannot be decoded" in lines
    files["eye/fixations.mat"].write_bytes(b"")
    assert "not OSIE's fixations.mat" in osie_verify.verify(tmp_path, checksums=checksums).problems[-1]


def test_verify_a_twin(tmp_path):
    write(tmp_path, {**TWO, "1003.jpg": [[]]})
    (tmp_path / "TWIN.json").write_text(json.dumps({"counts": {"images": 3, "fixations": 6}}))
    report = osie_verify.verify(tmp_path)
    assert report.ok and report.warnings == ["photographs that nobody looked at: 1 (1003.jpg); their AUC and NSS are undefined"], report.lines


def test_the_real_data():
    root = Path(os.environ.get("ZOOM_REAL_DATA", ""), "osie")
    if "ZOOM_REAL_DATA" not in os.environ or not root.is_dir():
        pytest.skip("set ZOOM_REAL_DATA to a folder that holds osie/ (github.com/NUS-VIP/predicting-human-gaze-beyond-pixels)")
    data = osie.OSIE(root)
    assert len(data) + len(data.missing) == osie.IMAGES
    fixations = [data.fixations(i) for i in range(len(data))]
    subjects = [data.subjects(i) for i in range(len(data))]
    assert all(data.size(i) == osie.SIZE for i in range(0, len(data), 25)) and data.image(0).shape == (*osie.SIZE, 3)
    assert {int(s) for image in subjects for s in image} == set(range(osie.SUBJECTS))
    everything = np.concatenate(fixations)
    assert everything.min(0).tolist() == [0, 0] and (everything.max(0) <= [798, 598]).all()  # published: up to 799.2, 599.2
    if len(data) == osie.IMAGES:
        assert len(everything) == osie.FIXATIONS
    elif len(data) == 500:
        assert len(everything) == 69_876
    published, stimuli = published_checksums(), root / "data" / "stimuli"
    assert all(osie_verify.sha256(stimuli / data.name(i)) == published[f"stimuli/{data.name(i)}"] for i in range(0, len(data), 25))
