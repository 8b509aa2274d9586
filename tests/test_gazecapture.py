"""GazeCapture: the loader reads what the synthetic twin writes, bad input is named, and `verify` says what is missing."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.data import gaze_geometry
from lib.data.gazecapture import METADATA, GazeCapture, face_grid_mask
from lib.data.gazecapture_verify import verify
from lib.data.synthetic import gazecapture as twin

TINY = {"train_subjects": 4, "val_subjects": 1, "test_subjects": 2, "frames": (4, 2, 3)}


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    """One small twin for the tests that only read."""
    return twin.write(tmp_path_factory.mktemp("gazecapture") / "twin", seed=1, workers=1, **TINY)


@pytest.fixture
def broken(shared, tmp_path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(shared, tmp_path / "copy"))


def files(root: Path) -> dict[str, str]:
    found = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def change(path: Path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


# ------------------------------------------------------------------------------------------------------------ twin -> loader


def test_layout_is_the_published_one(shared):
    folder = shared / "00001"
    assert {path.name for path in folder.iterdir()} == {"frames", "motion.json", *(f"{name}.json" for name in METADATA)}
    assert sorted(path.name for path in (folder / "frames").iterdir()) == ["00000.jpg", "00001.jpg", "00002.jpg", "00003.jpg"]
    assert set(json.loads((folder / "info.json").read_text())) == {
        "TotalFrames", "NumFaceDetections", "NumEyeDetections", "Dataset", "DeviceName"}
    assert set(json.loads((folder / "dotInfo.json").read_text())) == {"DotNum", "XPts", "YPts", "XCam", "YCam", "Time"}


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_labels_follow_from_the_points_on_the_screen(shared, split):
    data = GazeCapture(shared, split=split)
    computed = gaze_geometry.screen_to_camera(
        data.screen_points, device=data.device, orientation=data.orientation, screen_points=data.screen_size_points)
    np.testing.assert_allclose(data.camera_cm, computed, atol=1e-9)
    assert (data.screen_points >= 0).all() and (data.screen_points <= data.screen_size_points).all()
    np.testing.assert_allclose(data.screen_size_cm, gaze_geometry.screen_size_cm(data.device, data.orientation))


def test_images_have_the_shape_that_is_announced(shared):
    data = GazeCapture(shared, split="train")
    assert len(data.path) == len(data) == len(list(data.path))
    for i in range(len(data)):
        image = data.image(i)
        assert image.dtype == np.uint8 and image.shape == (*data.size[i], 3)
        assert tuple(data.size[i]) == ((640, 480) if data.orientation[i] <= 2 else (480, 640))


def test_eye_boxes_are_converted_from_the_face_crop_to_the_frame(shared):
    data = GazeCapture(shared, split="train")
    folder, index = shared / str(data.subject[0]), int(data.frame_index[0])
    face, eye = (json.loads((folder / f"{name}.json").read_text()) for name in ("appleFace", "appleLeftEye"))
    expected = [face["X"][index] + eye["X"][index], face["Y"][index] + eye["Y"][index], eye["W"][index], eye["H"][index]]
    np.testing.assert_array_equal(data.left_eye[0], expected)
    assert (data.left_eye[:, 0] > data.right_eye[:, 0]).all()  # the subject's left eye is on the right of the picture
    for boxes in (data.left_eye, data.right_eye):
        assert (boxes[:, :2] >= 0).all() and (boxes[:, :2] + boxes[:, 2:] <= data.size[:, ::-1]).all()


def test_frames_that_show_nobody_are_kept_on_request_only(shared):
    data = GazeCapture(shared, split="test", valid_only=False)
    assert len(data) == 6 and 0 < data.valid.sum() < 6
    assert len(GazeCapture(shared, split="test")) == data.valid.sum()
    assert not data.left_eye[~data.valid].any() and data.left_eye[data.valid, 2].all()
    detail = np.array([np.abs(np.diff(data.image(i).astype(float), axis=1)).max() for i in range(6)])
    assert detail[~data.valid].max() < 0.5 * detail[data.valid].min()  # a smooth wall: noise and no edge


def test_devices_and_splits_are_selected(shared):
    everything = GazeCapture(shared, split="train")
    parts = [GazeCapture(shared, split="train", devices=kind) for kind in gaze_geometry.KINDS]
    assert sum(map(len, parts)) == len(everything) and all((part.kind == part.kind[0]).all() for part in parts)
    name = str(everything.device[0])
    assert set(GazeCapture(shared, split="train", devices=[name.upper()]).device) == {name}
    assert set(everything.subject).isdisjoint(GazeCapture(shared, split="test").subject)


def test_fingerprint_changes_with_metadata_and_with_frames(shared, broken):
    before = GazeCapture(shared, split="train").fingerprint
    assert before == GazeCapture(broken, split="train").fingerprint and len(before) == 16
    change(broken / "00002" / "dotInfo.json", Time=[0.0] * 4)
    after = GazeCapture(broken, split="train").fingerprint
    path = GazeCapture(broken, split="train").path[0]
    path.write_bytes(path.read_bytes() + b"\0")
    assert len({before, after, GazeCapture(broken, split="train").fingerprint}) == 3


def test_twins_say_that_they_are_twins(shared, broken):
    data = GazeCapture(shared, split="val")
    assert data.is_twin and data.twin["synthetic"] is True and "no person" in data.twin["statement"]
    assert data.twin["counts"]["val"] == {"subjects": 1, "frames": 2, "valid_frames": len(data)}
    (broken / "TWIN.json").unlink()
    real = GazeCapture(broken, split="val")
    assert not real.is_twin and real.twin is None


# --------------------------------------------------------------------------------------------------------------- the face grid


def test_face_grid_is_one_based_and_clamped():
    """Golden, from faceGridFromParams.m: X = 3, Y = 5 is the third column and the fifth row."""
    mask = face_grid_mask([[3, 5, 2, 4], [-1, 24, 4, 5], [1, 1, 25, 25]])
    assert mask.shape == (3, 25, 25)
    rows, columns = np.nonzero(mask[0])
    assert set(rows) == {4, 5, 6, 7} and set(columns) == {2, 3}
    rows, columns = np.nonzero(mask[1])
    assert set(rows) == {23, 24} and set(columns) == {0, 1}
    assert mask[2].all()


def test_face_grid_of_a_box_is_the_released_rounding():
    """Golden, from faceGridFromFaceRect.m: 100 * 25 / 640 = 3.9 -> cell 5 counted from one."""
    assert twin.face_grid((100, 50, 200, 200), (480, 640)) == (5, 4, 8, 10)


def test_face_grid_covers_the_eyes(shared):
    data = GazeCapture(shared, split="train")
    for i in range(len(data)):
        mask = face_grid_mask(data.face_grid[i])
        for x, y, w, h in (data.left_eye[i], data.right_eye[i]):
            row, column = int((y + h / 2) * 25 / data.size[i, 0]), int((x + w / 2) * 25 / data.size[i, 1])
            assert mask[row, column] == 1


def test_heads_are_all_over_the_frame(shared):
    data = GazeCapture(shared, split="train")
    centre = (data.left_eye + data.right_eye)[:, :2] / 2 / data.size[:, ::-1]
    assert (np.ptp(centre, axis=0) > 0.3).all()


# ----------------------------------------------------------------------------------------------------------- writing a twin


def test_bytes_depend_on_the_seed_and_not_on_the_workers(shared, tmp_path):
    assert files(twin.write(tmp_path / "two", seed=1, workers=2, **TINY)) == files(shared)
    other = files(twin.write(tmp_path / "other", seed=2, workers=1, **TINY))
    assert other.keys() == files(shared).keys() and other["00001/frames/00000.jpg"] != files(shared)["00001/frames/00000.jpg"]


def test_a_finished_twin_is_found_and_nothing_is_overwritten(shared, tmp_path):
    called = []
    assert twin.write(shared, seed=1, progress=lambda *state: called.append(state), **TINY) == shared and not called
    with pytest.raises(ValueError, match="already holds a twin"):
        twin.write(shared, seed=2, **TINY)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="no twin"):
        twin.write(tmp_path, seed=1, **TINY)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_two_writers_of_one_twin_do_not_quarrel(shared, tmp_path):
    """The second to finish finds the first's twin in place and keeps it."""
    root = tmp_path / "twin"

    def another_finishes(done, total):
        if done == total:
            shutil.copytree(shared, root)

    assert twin.write(root, seed=1, workers=1, progress=another_finishes, **TINY) == root
    assert files(root) == files(shared) and [path.name for path in tmp_path.iterdir()] == ["twin"]


def test_an_interrupted_write_leaves_nothing(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        twin.write(tmp_path / "twin", workers=1, progress=stop, **TINY)
    assert list(tmp_path.iterdir()) == []


def test_sizes_split_by_subject_and_balance_the_test_devices():
    for size in twin.SIZES.values():
        counts = (size["train_subjects"], size["val_subjects"], size["test_subjects"])
        tasks = twin._tasks(Path("root"), 0, "small", counts, size["frames"])
        assert len({task.folder for task in tasks}) == sum(counts)
        tested = [gaze_geometry.kind(task.device) for task in tasks if task.split == "test"]
        assert tested.count("ipad") == tested.count("iphone") and any(task.first_empty for task in tasks if task.split == "test")


# ---------------------------------------------------------------------------------------------------------------- bad input


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:3000])


DAMAGE = {
    "dotInfo.json: missing": lambda root: (root / "00001/dotInfo.json").unlink(),
    "appleFace.json: not readable as JSON": lambda root: (root / "00001/appleFace.json").write_text("<html>File is not allowed"),
    "screen.json: W has 3 entries": lambda root: change(root / "00001/screen.json", W=[1, 2, 3]),
    "faceGrid.json: lacks": lambda root: (root / "00001/faceGrid.json").write_text("{}"),
    "appleLeftEye.json: an entry is not a number": lambda root: change(root / "00001/appleLeftEye.json", X=["a", 0, 0, 0]),
    "frames.json: lists 2 frames": lambda root: (root / "00001/frames.json").write_text('["00000.jpg", "00001.jpg"]'),
    "frames.json: is not a list": lambda root: (root / "00001/frames.json").write_text("{}"),
    "info.json: unknown device 'Nokia 3310'": lambda root: change(root / "00001/info.json", DeviceName="Nokia 3310"),
    "info.json: unknown split 'dev'": lambda root: change(root / "00001/info.json", Dataset="dev"),
    "info.json: lacks": lambda root: (root / "00001/info.json").write_text("{}"),
    "00001/dotInfo.json: frame 00000.jpg of subject 00001": lambda root: change(root / "00001/dotInfo.json", XCam=[float("nan")] * 4),
    "00001/dotInfo.json: frame 00000.jpg of subject 0000": lambda root: change(root / "00001/dotInfo.json", YCam=[None] * 4),
    "frames.json: lists the frame 00001.jpg twice": lambda root: (root / "00001/frames.json").write_text(
        json.dumps([f"0000{i}.jpg" for i in (0, 1, 1, 2)])),
    "frames.json: '../x' is no name": lambda root: (root / "00001/frames.json").write_text(json.dumps(["../x", "a", "b", "c"])),
    "frames.json: '\\x00' is no name": lambda root: (root / "00001/frames.json").write_text(json.dumps(["\0", "a", "b", "c"])),
    "appleFace.json: an entry is not a number": lambda root: change(root / "00001/appleFace.json", X=["1", "2", "3", "4"]),
    "appleFace.json: an entry has too many digits": lambda root: change(root / "00001/appleFace.json", X=[10**400] * 4),
    "screen.json: orientation": lambda root: change(root / "00001/screen.json", Orientation=[7] * 4),
    "00000.jpg: missing": lambda root: [path.unlink() for path in (root / "00001/frames").iterdir()],
    "00000.jpg: not readable as an image": lambda root: [path.write_bytes(b"no") for path in (root / "00001/frames").iterdir()],
}


@pytest.mark.parametrize("expected", DAMAGE)
def test_bad_input_is_one_line_that_names_the_file(broken, expected):
    split = json.loads((broken / "00001/info.json").read_text())["Dataset"]
    GazeCapture(broken, split=split)
    DAMAGE[expected](broken)
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        GazeCapture(broken, split=split)
    assert expected in str(error.value) and "\n" not in str(error.value) and "; " in str(error.value)


def test_damaged_frames_are_named_when_they_are_read(broken):
    data = GazeCapture(broken, split="train")
    truncate(data.path[1])
    data.path[2].unlink()
    height, width = data.size[3]
    Image.new("RGB", (int(height), int(width))).save(data.path[3])
    expected = ((1, ValueError, "cannot be decoded"), (2, FileNotFoundError, "missing"), (3, ValueError, "other frames"))
    for index, error, words in expected:
        with pytest.raises(error, match=words) as caught:
            data.image(index)
        assert str(data.path[index]) in str(caught.value) and "\n" not in str(caught.value)


def test_roots_and_selections_without_frames_are_refused(shared, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        GazeCapture(tmp_path / "nowhere", split="train")
    with pytest.raises(FileNotFoundError, match="no subject folders"):
        GazeCapture(tmp_path, split="train")
    with pytest.raises(ValueError, match="train, val, test"):
        GazeCapture(shared, split="validation")
    with pytest.raises(ValueError, match="no usable frame in split 'val'"):
        GazeCapture(shared, split="val", devices=sorted({"iPhone 4s", "iPad 3"}))


UNFIT = {"null": None, "zero width": 0, "negative": -5, "infinite": float("inf"), "far": 1e300}


@pytest.mark.parametrize("kind", UNFIT)
@pytest.mark.parametrize("file", ["appleFace", "appleLeftEye", "appleRightEye", "faceGrid"])
def test_a_box_that_cannot_be_in_a_valid_frame_is_told_with_subject_and_frame_and_counted(broken, file, kind):
    """Nothing but the frame that has it counts: without detection a null is what the release writes."""
    path = broken / "00001" / f"{file}.json"
    widths = json.loads(path.read_text())["W"]
    split = json.loads((broken / "00001/info.json").read_text())["Dataset"]
    change(path, W=[widths[0], UNFIT[kind], *widths[2:]])
    with pytest.raises(ValueError, match=f"{file}.json: frame 00001.jpg of subject 00001 .*; .*IsValid") as error:
        GazeCapture(broken, split=split)
    assert "\n" not in str(error.value)
    report = verify(broken, images=0)
    assert any(f"{file}.json: 1 valid frames of subject 00001, 00001.jpg for one" in line for line in report.problems)
    assert any("1 valid frames in all" in line for line in report.problems)
    change(broken / "00001/faceGrid.json", IsValid=[1, 0, 1, 1])
    left = GazeCapture(broken, split=split)
    assert "00001.jpg" not in left.frame_name[left.subject == "00001"]
    assert not GazeCapture(broken, split=split, valid_only=False).face_grid[1].any()


# ------------------------------------------------------------------------------------------------------------------- verify


def test_verify_passes_a_complete_twin_and_says_how_much_it_looked_at(shared):
    report = verify(shared, images=5)
    assert report.ok and not report.warnings
    assert report.lines[-1].endswith("frames decoded: 5 of 24, drawn at random")
    assert verify(shared, images=None).lines[-1].endswith("frames decoded: 24 of 24")


BREAKAGE = {
    "1 of 4 frames missing (00002.jpg)": lambda root: (root / "00003/frames/00002.jpg").unlink(),
    "00001.jpg: cannot be decoded": lambda root: truncate(root / "00003/frames/00001.jpg"),
    "screen.json: missing": lambda root: (root / "00003/screen.json").unlink(),
    "train subjects: 3, expected 4: 1 missing": lambda root: shutil.rmtree(root / "00003"),
    "for one: its XCam or YCam is not a number": lambda root: change(root / "00003/dotInfo.json", XCam=[None] * 4),
}


@pytest.mark.parametrize("expected", BREAKAGE)
def test_verify_says_what_is_broken(broken, expected):
    BREAKAGE[expected](broken)
    report = verify(broken, images=None)
    assert not report.ok
    assert any(expected in line and line.startswith("PROBLEM") for line in report.lines)
    assert all("\n" not in line for line in report.lines)


def test_verify_notices_frames_of_another_shape(broken):
    Image.new("RGB", (32, 32)).save(broken / "00003/frames/00001.jpg")
    report = verify(broken, images=None)
    assert len(report.problems) == 1 and "00001.jpg: 32 x 32, orientation" in report.problems[0]
    assert verify(broken, images=0).ok


def test_verify_warns_of_labels_that_do_not_follow_from_the_points(broken):
    path = broken / "00003/dotInfo.json"
    change(path, XCam=[x + 1 for x in json.loads(path.read_text())["XCam"]])
    report = verify(broken, images=0)
    assert report.ok and len(report.warnings) == 1 and "1.00 cm" in report.warnings[0]


def test_verify_compares_real_data_with_the_published_counts(broken):
    (broken / "TWIN.json").unlink()
    report = verify(broken, images=0)
    assert not report.ok
    assert "subjects: 7, expected 1,474: 1,467 missing" in report.problems
    assert any("train usable frames" in line for line in report.warnings)  # only quoted, never a problem
    assert not verify(broken / "nothing").ok
