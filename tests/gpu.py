"""What a GPU is needed for, in one go of at most eight minutes: `make gpu`. No network, no notebooks, torch 2.11 or newer.

    python tests/gpu.py [--device cuda] [--quick] [--out results/reference/gpu] [--budget 480] [--only SECTION ...] [--commit HASH]

device         what it is, with which versions
tests          those marked `cuda`
grid           the grid against the released convolutions
layer          on 800x800 bytes, against the released code's way (float copies, align_corners=False) and plain resizing; the fused kernel
resnet         training steps of ResNet-101 at 227 px with and without the sampler
inaturalist    `paper-twin` of Table 2, plain and sampler: images a second, and whether the loss falls
cub200         the same of Table 4

Every section runs in a process of its own: one that fails, hangs or spoils the device costs no other its results. What it finds is
written at once; after each section the record, `<out>/<name of the device>.json`, is whole again. The twins of the last two are drawn
beside the first. What the budget has no room for is named. `--device cpu --quick` tries every section, with small networks and pictures.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from lib.files import ROOT, replace_atomically  # noqa: E402

BUDGET = 480.0  # seconds in all
LEAST = 15.0  # seconds; with less left a section is not begun
MARK = "pytest.mark.cuda"
Found = Iterator[tuple[str, Any]]  # name and value of what a section measures, as it comes


@dataclass(frozen=True)
class Job:
    """What a section is given. results: where records and caches of the twins go; until: when it must be done, of `time.monotonic`."""

    device: str
    quick: bool
    results: Path
    until: float

    @property
    def left(self) -> float:
        return self.until - time.monotonic()

    def torch_device(self) -> Any:
        import torch

        return torch.device(self.device)


def timed(calls: dict[str, Callable], job: Job, *, repeats: int, title: str) -> Found:
    """Milliseconds of each call, in turns, and on CUDA the MB that it needs beside what is there."""
    from bench_sampler import cuda_peak, seconds

    device = job.torch_device()
    took, first = seconds(calls, device=device, repeats=repeats), None
    print(title, flush=True)
    for name, call in calls.items():
        values = {"ms": round(1e3 * took[name], 4), "peak_mb": round(cuda_peak(call, device), 1) if device.type == "cuda" else None}
        first = first or values["ms"]
        memory = "" if values["peak_mb"] is None else f"{values['peak_mb']:12.0f} MB"
        print(f"   {name:52}{values['ms']:12.3f} ms{values['ms'] / first:10.2f} x{memory}", flush=True)
        yield name, values | {"of_first": round(values["ms"] / first, 3), "what": title}


# --- sections -----------------------------------------------------------------------------------------------------------


def about(job: Job) -> Found:
    """Provenance: commit, versions and the device's name."""
    import torch

    from lib.models.fused import triton
    from lib.results.records import provenance

    yield "provenance", provenance(job.torch_device(), 0.0) | {"host": None}
    yield "triton", getattr(triton, "__version__", None)
    if job.torch_device().type == "cuda":
        yield "properties", str(torch.cuda.get_device_properties(job.torch_device()))


def marked_files() -> list[str]:
    """The test files that have something marked `cuda`; to collect all of them would take a minute."""
    return sorted(str(path.relative_to(ROOT)) for path in TESTS.glob("test_*.py") if MARK in path.read_text(encoding="utf-8"))


def marked_tests(job: Job) -> Found:
    words = ["-o", "addopts=--strict-markers", "-q", "-n", "0", "-m", "cuda", "-p", "no:cacheprovider", *marked_files()]
    done = subprocess.run([sys.executable, "-m", "pytest", *words], cwd=ROOT, capture_output=True, text=True, timeout=max(1.0, job.left))
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|deselected|error)", done.stdout)}
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.M)
    print("\n".join([f"Tests marked cuda: {counts or done.stdout[-500:]}", *(f"   {name}" for name in failed)]), flush=True)
    yield from (("counts", counts), ("failed", failed))
    if done.returncode not in (0, 5):  # 5: none were found
        yield "output", done.stdout[-4000:]
        raise RuntimeError(f"pytest ended with {done.returncode}")


def grid_times(job: Job) -> Found:
    from bench_sampler import forward_backward, grids, on, saliency_maps

    device = job.torch_device()
    maps, made = saliency_maps(4 if job.quick else 64, device).detach().requires_grad_(), {name: on(grid, device) for name, grid in grids().items()}
    yield from timed({name: lambda grid=grid: forward_backward(grid, maps) for name, grid in made.items()}, job, repeats=1 if job.quick else 20,
                     title=f"The grid of {len(maps)} maps of 31x31, forward and backward")


def layer_times(job: Job) -> Found:
    import torch
    import torch.nn.functional as F
    from bench_sampler import backward_through, random_images, saliency_maps

    from lib.models.backbones import IMAGENET_NORMALIZATION
    from lib.models.fused import sample_normalized, triton
    from lib.models.sampler import RELEASED_SIGMA, low_resolution, resample, resize_grid, saliency_grid

    device, (batch, side) = job.torch_device(), (2, 160) if job.quick else (32, 800)
    image, saliency = random_images(batch, side, side, device), saliency_maps(batch, device).detach()
    small = saliency_grid(saliency, sigma=RELEASED_SIGMA)
    mean, std = (torch.tensor(value, device=device) for value in IMAGENET_NORMALIZATION)

    def whole() -> None:
        low_resolution(image, 224)
        resample(image, resize_grid(saliency_grid(saliency, sigma=RELEASED_SIGMA), 224))

    def normalized(grid: Any) -> Any:
        return (resample(image, grid) - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)

    def released() -> None:  # as its users run it today: a float copy of the batch, and the grid enlarged without align_corners
        F.grid_sample(image.float() / 255, resize_grid(small, 224, align_corners=False), align_corners=True)

    calls = {"plain anti-aliased resizing": lambda: low_resolution(image, 224), "layer: view, grid, samples": whole,
             "samples alone": lambda: resample(image, resize_grid(small, 224)), "released way: float copy, samples": released,
             "samples and normalising, forward and backward": lambda: backward_through(normalized, resize_grid(small, 224))}
    if triton is not None and device.type == "cuda":
        calls["fused kernel, forward and backward"] = lambda: backward_through(lambda grid: sample_normalized(image, grid, mean, std),
                                                                               resize_grid(small, 224))
    yield from timed(calls, job, repeats=1 if job.quick else 20, title=f"{batch} uint8 pictures of {side}x{side} to 224")


def resnet_times(job: Job) -> Found:
    import torch
    from bench_sampler import random_images
    from torch import nn
    from torchvision import models

    from lib.models.backbones import IMAGENET_NORMALIZATION, saliency_network_resnet18
    from lib.models.sampler import SaliencySampler, low_resolution

    device, (batch, side, size) = job.torch_device(), (2, 160, 64) if job.quick else (32, 800, 227)
    image, build = random_images(batch, side, side, device), models.resnet18 if job.quick else models.resnet101
    plain = build(num_classes=100)
    sampled = SaliencySampler(build(num_classes=100), saliency_network_resnet18(14), size, size, normalize=IMAGENET_NORMALIZATION)
    for model in (plain, sampled):
        model.to(device, memory_format=torch.channels_last)

    def step(model: nn.Module, view: bool) -> None:
        model.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            output = model(low_resolution(image, size) if view else image)
        output.float().square().mean().backward()

    calls = {"without, from resized pictures": lambda: step(plain, True), "with the sampler": lambda: step(sampled, False)}
    title = f"A training step of {build.__name__} at {size} px, batch {batch}, from uint8 {side}x{side}"
    yield from timed(calls, job, repeats=1 if job.quick else 8, title=title)


def opened(name: str, job: Job) -> Any:
    """A table's run; its twin is drawn and decoded by whichever process comes first."""
    from lib import tables
    from lib.runs.engine import Run, settings

    chosen = settings(tables.get(name), preset="smoke" if job.quick else "paper-twin", device=job.device, results_dir=job.results)
    run = Run(tables.get(name), chosen)
    run.opened()
    return run


def draw_twins(job: Job) -> Found:
    for name in TABLES:
        began = time.monotonic()
        yield name, opened(name, job) and round(time.monotonic() - began, 1)


def twin_training(name: str, job: Job) -> Found:
    """Some hundred steps of a table's plain and its sampler row, or as many as there is time for."""
    import torch

    from lib.training.loop import Trainer, to_device

    run, steps = opened(name, job), 4 if job.quick else 300
    device, task, rows = job.torch_device(), run.opened().task, ("plain", "sampler")
    for k, row in enumerate(map(run.table.row, rows)):
        recipe, end = run.recipe(row), time.monotonic() + 0.9 * job.left / (len(rows) - k)
        trainer = Trainer(run.build(row, 0), task, recipe, seed=0, device=device)
        trainer.model.train()
        epochs = (task.batches("train", recipe.batch_size, torch.Generator().manual_seed(epoch)) for epoch in itertools.count())
        losses, times = [], [time.monotonic()]
        for i, batch in zip(range(steps), itertools.chain.from_iterable(epochs), strict=False):
            losses.append(float(sum(trainer.step(to_device(batch, device), i / steps).values())))
            times.append(time.monotonic())
            if times[-1] > end:
                break
        yield row.name, _told(run.table.title, row.name, losses, times, recipe.batch_size)


def _told(title: str, row: str, losses: list[float], times: list[float], batch: int) -> dict:
    warm, part = min(5, len(losses) - 1), max(1, len(losses) // 5)  # the first steps choose algorithms
    rate = batch * (len(losses) - warm) / (times[-1] - times[warm])
    first, last = sum(losses[:part]) / part, sum(losses[-part:]) / part
    print(f"{title:32}{row:10}{len(losses):5} steps{rate:9.1f} images/s   loss {first:.3f} -> {last:.3f}", flush=True)
    return {"steps": len(losses), "images_per_second": round(rate, 1), "first_loss": first, "last_loss": last, "falls": last < first}


TABLES = ("inaturalist", "cub200")
SECTIONS: dict[str, tuple[Callable[[Job], Found], float]] = {  # with the seconds that each has at most, of `BUDGET`
    "device": (about, 60), "tests": (marked_tests, 120), "grid": (grid_times, 60), "layer": (layer_times, 60), "resnet": (resnet_times, 90),
    **{name: (lambda job, name=name: twin_training(name, job), 180) for name in TABLES}}
BESIDE = "twins"  # begun first, beside the others


# --- processes ----------------------------------------------------------------------------------------------------------


def perform(section: str, file: Path, job: Job) -> int:
    """For the process of one section: each finding a line of JSON, at once."""
    call = draw_twins if section == BESIDE else SECTIONS[section][0]
    with open(file, "a", encoding="utf-8") as lines:
        for found in call(job):
            print(json.dumps(found), file=lines, flush=True)
    return 0


def start(section: str, file: Path, job: Job, errors: Path) -> subprocess.Popen:
    words = ["--section", section, str(file), "--device", job.device, "--results", str(job.results), "--budget", f"{job.left:.1f}"]
    words += ["--quick"] if job.quick else []
    with open(errors, "w", encoding="utf-8") as stream:
        return subprocess.Popen([sys.executable, __file__, *words], cwd=ROOT, stderr=stream, process_group=0)


def end(process: subprocess.Popen) -> None:  # with whatever it has started
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def ended(process: subprocess.Popen, seconds: float, errors: Path) -> str:
    """Waits for a section's process, ends it after `seconds`; what went wrong, in a line, empty if nothing did."""
    try:
        code = process.wait(timeout=max(0.0, seconds))
    except subprocess.TimeoutExpired:
        return f"ended after {seconds:.0f} s"
    finally:
        end(process)
    said = [line for line in errors.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return "" if code == 0 else f"exit {code}: {said[-1][:300] if said else 'it said nothing'}"


def read_lines(file: Path) -> dict[str, Any]:
    """What a section wrote; a last line that was cut off is left out."""
    found = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        with contextlib.suppress(ValueError):
            found |= [json.loads(line)]
    return found


def measure(options: argparse.Namespace, folder: Path) -> tuple[dict, Path]:
    """All sections, one after the other; the record and where it lies."""
    until = time.monotonic() + options.budget
    record: dict[str, Any] = {"what": "make gpu", "quick": options.quick, "commit": options.commit, "left_out": []}
    path, errors = options.out / "unknown.json", folder / "errors"
    errors.mkdir()

    wanted = [name for name in SECTIONS if not options.only or name in options.only]

    def job(seconds: float) -> Job:
        return Job(options.device, options.quick, folder / "results", time.monotonic() + seconds)

    beside = start(BESIDE, folder / BESIDE, job(options.budget), errors / BESIDE) if set(TABLES) & set(wanted) and options.budget >= LEAST else None
    try:
        for name in wanted:
            left = until - time.monotonic()
            if left < LEAST:
                record["left_out"].append(name)
                continue
            print(f"\n{name}", flush=True)
            seconds, began = min(SECTIONS[name][1] * max(1.0, options.budget / BUDGET), left), time.monotonic()
            problem = ended(start(name, folder / name, job(seconds - 2), errors / name), seconds, errors / name)
            record[name] = read_lines(folder / name) | {"seconds": round(time.monotonic() - began, 1)} | ({"error": problem} if problem else {})
            print(f"   {name}: {problem}\n" if problem else "", end="", flush=True)
            path = _written(record | {BESIDE: read_lines(folder / BESIDE)}, options.out, path)
    finally:
        end(beside) if beside else None
    return record, path


def _written(record: dict, out: Path, before: Path) -> Path:
    """The record's file, called by the device as soon as that is known."""
    name = record.get("device", {}).get("provenance", {}).get("device_name", "unknown")
    path = out / f"{re.sub(r'[^A-Za-z0-9]+', '-', name)}{'-quick' if record['quick'] else ''}.json"
    replace_atomically(path, lambda part: part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8"))
    if before != path:
        before.unlink(missing_ok=True)
    return path


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    made.add_argument("--device", default="cuda", help="cuda, or cpu to try the script")
    made.add_argument("--quick", action="store_true", help="small networks and pictures")
    made.add_argument("--out", type=Path, default=ROOT / "results" / "reference" / "gpu", help="folder for the record")
    made.add_argument("--budget", type=float, default=BUDGET, help="seconds in all (%(default)s)")
    made.add_argument("--only", nargs="+", choices=tuple(SECTIONS), metavar="SECTION", help=f"some of {', '.join(SECTIONS)}")
    made.add_argument("--commit", help="of the code, where it is no checkout")
    made.add_argument("--section", nargs=2, metavar=("SECTION", "FILE"), help=argparse.SUPPRESS)
    made.add_argument("--results", type=Path, help=argparse.SUPPRESS)
    return made


def main(words: list[str] | None = None) -> int:
    options, started = parser().parse_args(words), time.monotonic()
    if options.section:
        job = Job(options.device, options.quick, options.results, started + options.budget)
        return perform(options.section[0], Path(options.section[1]), job)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        record, path = measure(options, Path(folder))
    failed = [name for name in SECTIONS if "error" in record.get(name, {})]
    said = "".join(f"; {what}: {', '.join(names)}" for what, names in (("left out", record["left_out"]), ("failed", failed)) if names)
    print(f"\n{path}, {time.monotonic() - started:.0f} s{said}")
    return int(bool(failed))


if __name__ == "__main__":
    raise SystemExit(main())
