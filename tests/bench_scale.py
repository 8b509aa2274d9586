"""What GazeCapture and iNaturalist cost at their published size before a picture is decoded: `make bench`.

    python tests/bench_scale.py [--share 1.0] [--workers 2]

The metadata of both are written into a temporary folder at `--share` of their size (of subjects; of pictures), with random content and one
picture in the place of all. Then each in a process of its own: the loader; the store of the training split; the order of an epoch; and worker
processes as torch's DataLoader starts them, through two epochs of `fetch` with a stub in the place of the decoder. Last, what the decoder takes
for a frame and for a photograph of the published bytes (noise, its quality chosen for them). lib/runs/README.md computes from these figures.

Seconds are of the processor (user and system), so other work beside does not count. Memory: how far the peak (VmHWM) or what is resident now
(VmRSS) rises above what it was before, of /proc/self/status; of a worker, the pages that are its own (Private_Dirty and Private_Clean of
smaps_rollup), so this runs on Linux only. The last column is for one picture.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.data import gaze_geometry, store
from lib.data.canvas import Square
from lib.data.gazecapture import GazeCapture
from lib.data.inaturalist import INaturalist

SUBJECTS = {"train": 1271, "val": 50, "test": 150}  # of GazeCapture, with a usable frame
FRAMES, VALID = 1659, 0.61  # of a subject, and the share with face and eyes
IMAGES, CLASSES = {"train": 579_184, "val": 95_986}, 5089  # of iNaturalist 2017
LOADERS: dict[str, Callable[[Path], Any]] = {"gazecapture": lambda root: GazeCapture(root, split="train"),
                                             "inaturalist": lambda root: INaturalist(root, "train")}


# --- metadata -----------------------------------------------------------------------------------------------------------


def write_gazecapture(root: Path, share: float) -> None:
    rng, names, numbers = np.random.default_rng(0), [f"{i:05d}.jpg" for i in range(FRAMES)], iter(range(1, 10**5))
    for split, count in SUBJECTS.items():
        for _ in range(max(1, round(count * share))):
            _write_subject(root / f"{next(numbers):05d}", split, names, rng)


def _write_subject(folder: Path, split: str, names: list[str], rng: np.random.Generator) -> None:
    (folder / "frames").mkdir(parents=True)
    Image.new("RGB", (480, 640)).save(folder / "frames" / names[0], quality=30)
    valid = (rng.random(FRAMES) < VALID).astype(int)
    valid[0] = 1  # its picture is there

    def box(low: float, high: float) -> dict[str, list]:
        return {key: np.round(rng.uniform(low, high, FRAMES), 2).tolist() for key in "XYWH"} | {"IsValid": valid.tolist()}

    device = gaze_geometry.device("iPhone 6")
    points = rng.uniform(20, 300, (2, FRAMES))
    camera = gaze_geometry.screen_to_camera(points.T, device=device, orientation=1, screen_points=(375, 667))
    grid = {key: [5] * FRAMES for key in "XYWH"} | {"IsValid": valid.tolist()}
    dots = {"DotNum": [1] * FRAMES, "XPts": points[0].tolist(), "YPts": points[1].tolist(), "XCam": camera[:, 0].tolist(),
            "YCam": camera[:, 1].tolist(), "Time": [0.5] * FRAMES}
    content = {"frames": names, "info": {"TotalFrames": FRAMES, "Dataset": split, "DeviceName": device.name}, "appleFace": box(100, 150),
               "appleLeftEye": box(20, 40), "appleRightEye": box(20, 40), "faceGrid": grid, "dotInfo": dots,
               "screen": {"H": [667] * FRAMES, "W": [375] * FRAMES, "Orientation": [1] * FRAMES}}
    for name, value in content.items():
        (folder / f"{name}.json").write_text(json.dumps(value))


def write_inaturalist(root: Path, share: float) -> None:
    rng, start = np.random.default_rng(0), 0
    (root / "train_val_images").mkdir(parents=True)
    classes = [{"id": i, "name": f"Genus{i % 900} species{i}", "supercategory": "Insecta" if i % 2 else "Plantae"} for i in range(CLASSES)]
    for split, full in IMAGES.items():
        label = np.arange(count := max(CLASSES, round(full * share))) % CLASSES
        images = [{"license": 3, "file_name": f"train_val_images/{classes[k]['supercategory']}/{classes[k]['name']}/{rng.bytes(16).hex()}.jpg",
                   "rights_holder": "Somebody", "height": 600, "width": 800, "id": start + i} for i, k in enumerate(label)]
        annotations = [{"id": start + i, "image_id": start + i, "category_id": int(k)} for i, k in enumerate(label)]
        content = {"info": {}, "images": images, "licenses": [], "annotations": annotations, "categories": classes}
        (root / f"{split}2017.json").write_text(json.dumps(content))
        start += count


# --- measuring ----------------------------------------------------------------------------------------------------------


def status(field: str) -> float:
    """MB of VmHWM or VmRSS of this process."""
    return next(int(line.split()[1]) / 1024 for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{field}:"))


def own_pages() -> float:
    """MB that belong to this process alone."""
    lines = [line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()]
    return sum(int(line[1]) for line in lines if line[0] in ("Private_Dirty:", "Private_Clean:")) / 1024


def stub(path: Path, size: Any = None, *, reduce: int = 1) -> np.ndarray:
    return np.full((8, 8, 3), len(os.fspath(path)), np.uint8)


def measure(name: str, root: Path, workers: int) -> None:
    """For the fresh process: print a line of JSON for each stage."""
    def told(stage: str, call: Callable[[], Any], count: int = 0) -> Any:
        before, began = status("VmRSS"), time.process_time()
        made = call()
        print(json.dumps([stage, time.process_time() - began, status("VmHWM") - before, status("VmRSS") - before, count or len(made)]), flush=True)
        return made

    store.read_rgb = stub
    data = told("loader", lambda: LOADERS[name](root))
    images = told("store", lambda: store.ImageStore(data.path, np.full((len(data), 2), 8), 8, cache_dir=None, fingerprint="", workers=0), len(data))
    plan = told("order of an epoch", lambda: images.index_batches(128, store.torch.Generator().manual_seed(0)), len(data))
    context = multiprocessing.get_context("fork")
    for number in range(workers):
        process = context.Process(target=_work, args=(images, plan[number::workers], number))
        process.start()
        process.join()


def _work(images: store.ImageStore, plan: list[np.ndarray], number: int) -> None:
    store.torch.set_num_threads(1)
    for epoch in (1, 2):
        before, began = own_pages(), time.process_time()
        for indices in plan:
            images.fetch(indices)
        grown = own_pages() - before
        print(json.dumps([f"worker {number + 1}, epoch {epoch}", time.process_time() - began, grown, grown, sum(map(len, plan))]), flush=True)


def decoding(name: str, size: tuple[int, int], kilobytes: int, square: Square | None) -> str:
    """Seconds for one picture of (height, width), decoded, put onto its square and shrunk to the view, as a worker does."""
    rng, (height, width) = np.random.default_rng(0), size
    coarse = Image.fromarray(rng.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one.jpg"
        for quality in range(95, 5, -5):
            coarse.save(path, quality=quality)
            if path.stat().st_size <= 1000 * kilobytes:
                break
        images = store.ImageStore([path] * 20, np.array([size] * 20), 227, cache_dir=None, fingerprint="", workers=0, canvas=square)
        images.fetch(np.arange(2))
        began = time.process_time()
        images.fetch(np.arange(20))
        seconds, kilobytes = (time.process_time() - began) / 20, round(path.stat().st_size / 1000)
    return f"{name}: {width}x{height}, {kilobytes} kB: {1e3 * seconds:.1f} ms of one core"


def report(share: float, workers: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, write in (("gazecapture", write_gazecapture), ("inaturalist", write_inaturalist)):
            write(Path(folder) / name, share)
            command = [sys.executable, __file__, "--measure", name, folder, "--workers", str(workers)]
            lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
            print(f"{name:24}{'seconds':>9}{'peak, MB':>10}{'kept, MB':>10}{'pictures':>11}{'bytes each':>12}")
            for stage, seconds, peak, kept, count in map(json.loads, lines):
                print(f"  {stage:22}{seconds:9.2f}{peak:10.1f}{kept:10.1f}{count:11,}{1e6 * kept / count:12.0f}", flush=True)
    store.torch.set_num_threads(1)
    print(decoding("frame", (640, 480), 56, None))
    print(decoding("photograph", (600, 800), 275, Square(800, "squash")))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--share", type=float, default=1.0, help="of the published size (1.0)")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--measure", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure[0], Path(options.measure[1]) / options.measure[0], options.workers)
    else:
        report(options.share, options.workers)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
