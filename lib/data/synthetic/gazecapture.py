"""A synthetic GazeCapture: drawn faces in exactly the layout of the real recordings, for machines without the real ones.

The layout is that of `lib.data.gazecapture` (CSAILVision/GazeCapture's README). Each frame's label follows from what the
picture shows: a head somewhere before the camera looks at a point of the active screen, and `faces` draws it. TWIN.json at the
root says that all of it is synthetic.

What differs from the real recordings: every frame has a dot of its own, drawn uniformly over the screen; a subject goes through
the device's orientations frame by frame; motion.json holds one record for each frame, and of its keys only DotNum and Time are
the published ones; phones and tablets are 60:40 among the subjects (half and half in test) instead of about 85:15.

What it is to decide ("Learning to Zoom", section 4.1): in a frame shrunk to 64 pixels a side a pupil is about two pixels wide
and gaze moves it by one or two; magnified two or three times it tells the gaze. `eyes="large"` is the negative control, the
same task with eyes twice as large. The constants were chosen on training and validation frames, so that networks which learn
within minutes on a CPU can decide it: the first version, with smaller and shaded eyes, was hidden from every row but the oracle.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lib.data import gaze_geometry
from lib.data.gazecapture import ARRAY_FILES, DETECTIONS, SPLITS
from lib.data.synthetic import faces, folder, gaze_scene
from lib.versions import VERSIONS

VERSION = VERSIONS["twin gazecapture"]
SIZES: dict[str, dict[str, Any]] = {
    "smoke": {"train_subjects": 8, "val_subjects": 4, "test_subjects": 40, "frames": (12, 8, 3)},
    "demo": {"train_subjects": 108, "val_subjects": 10, "test_subjects": 44, "frames": (20, 20, 20)},
    "control": {"train_subjects": 54, "val_subjects": 6, "test_subjects": 24, "frames": (20, 10, 20)},
}
DISTANCE_CM = (24.0, 38.0)  # from the screen to the eyes
SCATTER_CM = 3.0  # of heads around the screen's centre, one standard deviation each way
ROLL_DEGREES = 8.0
PUPIL_DISTANCE_SD_CM = 0.12  # between subjects; small, so that the distance can be told from the picture
EMPTY_SHARE = 0.04  # frames that show a wall and nobody
JPEG_QUALITY = 90
_PHONES = ("iPhone 6", "iPhone 6s", "iPhone 5s", "iPhone 6 Plus", "iPhone 5", "iPhone 4s", "iPhone 5c", "iPhone 6s Plus")
_TABLETS = ("iPad Air 2", "iPad Mini", "iPad Air", "iPad 2", "iPad Pro", "iPad 4")
_STATEMENT = (
    "Synthetic data: drawn faces, no photograph and no person. Written in the layout of GazeCapture to try methods on; "
    "no result on it is a result on GazeCapture."
)


@dataclass(frozen=True)
class _Task:
    """One subject to write."""

    folder: Path
    split: str
    device: str
    frames: int
    eyes: str
    first_empty: bool  # make sure that a frame shows nobody
    seed: np.random.SeedSequence


def write(
    root: str | os.PathLike[str], *, seed: int = 0, eyes: str = "small", train_subjects: int = 108, val_subjects: int = 10,
    test_subjects: int = 44, frames: tuple[int, int, int] = (20, 20, 20), workers: int = 2,
    progress: Callable[[int, int], object] | None = None,
) -> Path:
    """Write the twin to root, or find it there; returns root.

    frames: per subject of train, val and test. progress(done, total) is called after each subject. The bytes depend on the
    parameters alone, not on `workers`. Everything is written beside root first and renamed when complete, so a root with a
    TWIN.json is a finished twin. A root that holds anything else is a ValueError: nothing is ever overwritten.
    """
    if eyes not in gaze_scene.EYE_SCALE:
        raise ValueError(f"eyes {eyes!r}: one of {', '.join(gaze_scene.EYE_SCALE)}")
    subjects = (train_subjects, val_subjects, test_subjects)
    parameters = {"seed": seed, "eyes": eyes, "subjects": list(subjects), "frames": list(frames)}

    def fill(partial: Path) -> dict[str, Any]:
        folder.in_parallel(_write_subject, _tasks(partial, seed, eyes, subjects, frames), workers=workers, progress=progress)
        return _description(partial, seed)

    return folder.write_once(root, version=VERSION, parameters=parameters, fill=fill)


def _tasks(root: Path, seed: int, eyes: str, subjects: tuple[int, ...], frames: tuple[int, ...]) -> list[_Task]:
    """All subjects in order; each has a random stream of its own."""
    planner, *streams = np.random.SeedSequence(seed).spawn(1 + sum(subjects))
    rng, tasks = np.random.default_rng(planner), []
    for split, count, per_subject in zip(SPLITS, subjects, frames, strict=True):
        for index, device in enumerate(_devices(rng, count, phones=0.5 if split == "test" else 0.6)):
            number = len(tasks)
            empty = split == "test" and index % 10 == 0
            tasks.append(_Task(root / f"{number + 1:05d}", split, device, per_subject, eyes, empty, streams[number]))
    return tasks


def _devices(rng: np.random.Generator, count: int, *, phones: float) -> list[str]:
    """Device names in random order, the models of each kind in turn."""
    of_phones = round(phones * count)
    names = [_PHONES[i % len(_PHONES)] for i in range(of_phones)]
    names += [_TABLETS[i % len(_TABLETS)] for i in range(count - of_phones)]
    return [names[i] for i in rng.permutation(count)]


# ---------------------------------------------------------------------------------------------------------- one subject


def _write_subject(task: _Task) -> None:
    rng = np.random.default_rng(task.seed)
    device = gaze_geometry.device(task.device)
    look = faces.sample_look(rng)
    distance = float(rng.normal(gaze_scene.PUPIL_DISTANCE_CM, PUPIL_DISTANCE_SD_CM))
    points = (device.width_points, device.height_points)
    if device.zoomed_points and rng.random() < 0.15:  # the iOS setting "Display Zoom"
        points = device.zoomed_points
    choices = (1, 2, 3, 4) if device.kind == "ipad" else (1, 3, 4)  # a phone's screen does not turn upside down
    turns = np.concatenate([rng.permutation(choices) for _ in range(task.frames // len(choices) + 1)])
    empty = rng.random(task.frames) < EMPTY_SHARE
    empty[-1] |= task.first_empty
    (task.folder / "frames").mkdir(parents=True)
    rows = []
    for index in range(task.frames):
        scene, row = _sample_frame(rng, device, int(turns[index]), points, distance, task.eyes)
        image = faces.render_empty(scene.size, rng) if empty[index] else faces.render(scene, look, rng)
        image.save(task.folder / "frames" / f"{index:05d}.jpg", quality=JPEG_QUALITY)
        row |= {"DotNum": index, "Time": round(float(rng.uniform(0.5, 1.9)), 6)}
        rows.append(row | _detections(scene, shown=not empty[index]))
    _write_metadata(task, rows)


def _sample_frame(
    rng: np.random.Generator, device: gaze_geometry.Device, orientation: int, points: tuple[int, int], pupil_distance_cm: float,
    eyes: str,
) -> tuple[gaze_scene.Scene, dict[str, Any]]:
    """A point on the active screen and somebody who looks at it, with both eyes in the frame."""
    size, screen = ((640, 480), points) if orientation <= 2 else ((480, 640), points[::-1])
    dot = np.round(rng.uniform(0, screen), 2)
    centre, gaze = gaze_geometry.screen_to_camera(
        np.stack([np.divide(screen, 2), dot]), device=device, orientation=orientation, screen_points=screen
    )
    while True:
        x, y = rng.normal(centre, SCATTER_CM)
        scene = gaze_scene.Scene(
            head_cm=(float(x), float(y), rng.uniform(*DISTANCE_CM)), gaze_cm=(float(gaze[0]), float(gaze[1])), size=size,
            roll=float(np.deg2rad(rng.uniform(-ROLL_DEGREES, ROLL_DEGREES))), pupil_distance_cm=pupil_distance_cm, eyes=eyes,
        )
        if scene.eyes_in_frame():
            break
    row = {"XPts": float(dot[0]), "YPts": float(dot[1]), "XCam": float(gaze[0]), "YCam": float(gaze[1])}
    return scene, {**row, "W": screen[0], "H": screen[1], "Orientation": orientation}


def _detections(scene: gaze_scene.Scene, *, shown: bool) -> dict[str, Any]:
    """What Apple's detectors would have logged: eyes relative to the face box, zeros where there is nobody."""
    if not shown:
        return dict.fromkeys(DETECTIONS, (0, 0, 0, 0, 0))
    boxes = scene.boxes()
    x, y, w, h = boxes["face"]
    found = {"appleFace": (x, y, w, h, 1), "faceGrid": (*face_grid(boxes["face"], scene.size), 1)}
    for name, key in (("appleLeftEye", "left_eye"), ("appleRightEye", "right_eye")):
        eye = boxes[key]
        found[name] = (eye[0] - x, eye[1] - y, eye[2], eye[3], 1)
    return found


def face_grid(face: gaze_scene.Box, size: tuple[int, int]) -> gaze_scene.Box:
    """(X, Y, W, H) of a face box in the 25 x 25 grid over a frame (H, W), X and Y from 1; faceGridFromFaceRect.m."""
    x, y, w, h = face
    across, down = 25 / size[1], 25 / size[0]
    return _round(x * across) + 1, _round(y * down) + 1, _round(w * across), _round(h * down)


def _round(value: float) -> int:
    """MATLAB's: halves away from zero."""
    return int(np.copysign(np.floor(abs(value) + 0.5), value))


def _write_metadata(task: _Task, rows: list[dict[str, Any]]) -> None:
    names = [f"{index:05d}.jpg" for index in range(task.frames)]
    detected = sum(row["appleFace"][4] for row in rows)
    files: dict[str, Any] = {}
    for name, keys in ARRAY_FILES.items():
        columns = [row[name] if name in DETECTIONS else [row[key] for key in keys] for row in rows]
        files[name] = {key: list(values) for key, values in zip(keys, zip(*columns, strict=True), strict=True)}
    files["frames"] = names
    files["info"] = {
        "TotalFrames": task.frames, "NumFaceDetections": detected, "NumEyeDetections": detected, "Dataset": task.split,
        "DeviceName": task.device,
    }
    gravity = {"GravityX": 0.0, "GravityY": -1.0, "GravityZ": 0.0}
    files["motion"] = [{"DotNum": row["DotNum"], "Time": row["Time"], **gravity} for row in rows]
    for name, content in files.items():
        folder.write_json(task.folder / f"{name}.json", content)


def _description(root: Path, seed: int) -> dict[str, Any]:
    """TWIN.json: what this is and what a complete copy holds, counted from the files."""
    counts = {split: {"subjects": 0, "frames": 0, "valid_frames": 0} for split in SPLITS}
    for path in sorted(root.glob("*/info.json")):
        info = json.loads(path.read_text())
        split = counts[info["Dataset"]]
        split["subjects"] += 1
        split["frames"] += info["TotalFrames"]
        split["valid_frames"] += info["NumEyeDetections"]
    return {
        "statement": _STATEMENT, "stands_for": "GazeCapture", "generator": __name__, "seed": seed, "counts": counts,
        "scene": {
            "focal_px": gaze_scene.FOCAL_PX, "gain": gaze_scene.GAIN, "eyeball_cm": gaze_scene.EYEBALL_CM,
            "pupil_distance_cm": gaze_scene.PUPIL_DISTANCE_CM, "pupil_distance_sd_cm": PUPIL_DISTANCE_SD_CM,
            "distance_cm": list(DISTANCE_CM), "scatter_cm": SCATTER_CM, "roll_degrees": ROLL_DEGREES, "empty_share": EMPTY_SHARE,
            "jpeg_quality": JPEG_QUALITY,
        },
    }
