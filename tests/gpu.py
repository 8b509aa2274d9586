"""What a GPU is needed for, in one go of at most eight minutes: `make gpu`. No network, no notebooks, torch 2.11 or newer.

    python tests/gpu.py [--device cuda] [--quick] [--out results/reference/gpu]

1. the tests marked `cuda`; 2. the grid against the released convolutions; 3. the layer on 800x800 bytes against the released
code's way (float copies, align_corners=False) and against plain resizing, and the fused kernel; 4. training steps of ResNet-101 at
227 px with and without the sampler; 5. `paper-twin` of Tables 2 and 4, plain and sampler: images a second, and whether the loss
falls. It prints ratios and writes one record, with its provenance and what was left out when the time was up.
`--device cpu --quick` tries the script itself, with small networks and pictures.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from bench_sampler import backward_through, cuda_peak, forward_backward, grids, on, random_images, saliency_maps, seconds
from torch import Tensor, nn
from torchvision import models

from lib import tables
from lib.models.backbones import IMAGENET_NORMALIZATION as IMAGENET
from lib.models.backbones import saliency_network_resnet18
from lib.models.fused import sample_normalized, triton
from lib.models.sampler import RELEASED_SIGMA, SaliencySampler, low_resolution, resample, resize_grid, saliency_grid
from lib.results.records import provenance
from lib.runs.engine import Run, settings
from lib.training.loop import Trainer, to_device

ROOT = Path(__file__).resolve().parents[1]
BUDGET = 480.0  # seconds in all


def timed(calls: dict[str, Callable], device: torch.device, *, repeats: int) -> dict[str, dict]:
    """Milliseconds of each call, in turns, and on CUDA the MB that it needs beside what is there."""
    took = seconds(calls, device=device, repeats=repeats)
    return {name: {"ms": round(1e3 * took[name], 4), "peak_mb": round(cuda_peak(call, device), 1) if device.type == "cuda" else None}
            for name, call in calls.items()}


def show(title: str, found: dict[str, dict], reference: str) -> None:
    print(f"\n{title}")
    for name, values in found.items():
        memory = "" if values["peak_mb"] is None else f"{values['peak_mb']:12.0f} MB"
        print(f"   {name:52}{values['ms']:12.3f} ms{values['ms'] / found[reference]['ms']:10.2f} x{memory}")


def marked_tests(device: torch.device, quick: bool) -> dict:
    """The tests marked `cuda`, in a process of their own."""
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-m", "cuda", "-p", "no:cacheprovider", str(ROOT / "tests")], cwd=ROOT,
                          capture_output=True, text=True, timeout=30 if quick and device.type == "cuda" else 200)
    last = (done.stdout.strip().splitlines() or [""])[-1]
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", done.stdout)}
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.M)
    print(f"\n1. Tests marked cuda: {counts or last}{''.join(f'{chr(10)}   {name}' for name in failed)}")
    return {"counts": counts, "failed": failed, "exit": done.returncode}


def grid_times(device: torch.device, quick: bool) -> dict:
    maps, made = saliency_maps(4 if quick else 64, device), {name: on(grid, device) for name, grid in grids().items()}
    found = timed({name: lambda grid=grid: forward_backward(grid, maps) for name, grid in made.items()}, device, repeats=2 if quick else 20)
    show(f"2. The grid of {len(maps)} maps of 31x31, forward and backward", found, "constant matrices")
    return found


def released_sampling(image: Tensor, grid: Tensor) -> Tensor:
    """As the released code's users run it today: a float copy of the batch, and the grid enlarged without align_corners."""
    return F.grid_sample(image.float() / 255, resize_grid(grid, 224, align_corners=False), align_corners=True)


def layer_times(device: torch.device, quick: bool) -> dict:
    batch, side = (2, 160) if quick else (32, 800)
    image, saliency = random_images(batch, side, side, device), saliency_maps(batch, device)
    small = saliency_grid(saliency.detach(), sigma=RELEASED_SIGMA)
    mean, std = (torch.tensor(value, device=device) for value in IMAGENET)

    def normalized(grid: Tensor) -> Tensor:
        return (resample(image, grid) - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)

    calls = {"plain anti-aliased resizing": lambda: low_resolution(image, 224),
             "layer: view, grid, samples": lambda: (low_resolution(image, 224), resample(image, resize_grid(saliency_grid(
                 saliency.detach(), sigma=RELEASED_SIGMA), 224))),
             "samples alone": lambda: resample(image, resize_grid(small, 224)),
             "released way: float copy, samples": lambda: released_sampling(image, small),
             "samples and normalising, forward and backward": lambda: backward_through(normalized, resize_grid(small, 224))}
    if triton is not None and device.type == "cuda":
        calls["fused kernel, forward and backward"] = lambda: backward_through(lambda grid: sample_normalized(image, grid, mean, std),
                                                                               resize_grid(small, 224))
    found = timed(calls, device, repeats=2 if quick else 20)
    show(f"3. {batch} uint8 pictures of {side}x{side} to 224", found, "plain anti-aliased resizing")
    return found


def resnet_times(device: torch.device, quick: bool) -> dict:
    batch, side, size = (2, 160, 64) if quick else (32, 800, 227)
    image = random_images(batch, side, side, device)
    build = models.resnet18 if quick else models.resnet101
    plain, sampled = nn.Sequential(build(num_classes=100)), SaliencySampler(build(num_classes=100), saliency_network_resnet18(14), size, size,
                                                                           normalize=IMAGENET)
    for model in (plain, sampled):
        model.to(device, memory_format=torch.channels_last)

    def step(model: nn.Module, view: bool) -> None:
        model.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            output = model(low_resolution(image, size) if view else image)
        output.float().square().mean().backward()

    found = timed({"without, from resized pictures": lambda: step(plain, True), "with the sampler": lambda: step(sampled, False)}, device,
                  repeats=1 if quick else 8)
    for values in found.values():
        values["images_per_second"] = round(1e3 * batch / values["ms"], 1)
    show(f"4. A training step of {build.__name__} at {size} px, batch {batch}, from uint8 {side}x{side}", found, "without, from resized pictures")
    return found


def twin_training(name: str, device: torch.device, quick: bool, results: Path, until: float) -> dict:
    """`paper-twin` of a table: some hundred steps of its plain and its sampler row, or as many as there is time for."""
    table, preset, steps, found = tables.get(name), "smoke" if quick else "paper-twin", 6 if quick else 300, {}
    run = Run(table, settings(table, preset=preset, device=device.type, results_dir=results))
    p, task = run.preset, run.opened().task
    for row in (row for row in table.rows if row.name in ("plain", "sampler")):
        torch.manual_seed(0)
        recipe = row.recipe_of(p)
        trainer = Trainer(row.build(p), task, recipe, seed=0, device=device)
        trainer.model.train()
        epochs = (task.batches("train", recipe.batch_size, torch.Generator().manual_seed(epoch)) for epoch in range(steps))
        losses, started, rest = [], time.perf_counter(), (until - time.perf_counter()) / (2 - len(found))
        for i, batch in zip(range(steps), itertools.chain.from_iterable(epochs)):
            losses.append(float(sum(trainer.step(to_device(batch, device), i / steps).values())))
            if time.perf_counter() - started > rest:
                break
        spent, part = time.perf_counter() - started, max(1, len(losses) // 5)
        first, last = sum(losses[:part]) / part, sum(losses[-part:]) / part
        found[row.name] = {"steps": len(losses), "images_per_second": round(len(losses) * recipe.batch_size / spent, 1), "first_loss": first,
                           "last_loss": last, "falls": last < first}
        rate = f"{len(losses):5} steps{found[row.name]['images_per_second']:9.1f} images/s"
        print(f"   {table.title:30}{row.name:10}{rate}   loss {first:.3f} -> {last:.3f}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try the script")
    parser.add_argument("--quick", action="store_true", help="small networks and pictures, seconds in all")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "reference" / "gpu", help="where the record goes")
    options = parser.parse_args()
    device, started, left_out = torch.device(options.device), time.perf_counter(), []
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device here; `--device cpu --quick` tries the script")
    record: dict = {"what": "make gpu", "quick": options.quick, "torch": torch.__version__}
    parts = {"tests": lambda: marked_tests(device, options.quick), "grid": lambda: grid_times(device, options.quick),
             "layer": lambda: layer_times(device, options.quick), "resnet": lambda: resnet_times(device, options.quick)}
    with tempfile.TemporaryDirectory() as results:
        for i, name in enumerate(("inaturalist", "cub200")):
            until = started + BUDGET * (0.7 + 0.25 * i)
            parts[f"twin_{name}"] = lambda name=name, until=until: twin_training(name, device, options.quick, Path(results), until)
        for name, part in parts.items():
            if time.perf_counter() - started > 0.9 * BUDGET:
                left_out.append(name)
                continue
            try:
                record[name] = part()
            except (RuntimeError, ValueError, subprocess.TimeoutExpired) as error:  # the rest is measured all the same
                record[name] = {"error": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
                print(f"   {name}: {record[name]['error']}")
    record |= {"left_out": left_out, "provenance": provenance(device, time.perf_counter() - started)}
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{re.sub(r'[^A-Za-z0-9]+', '-', record['provenance']['device_name'])}{'-quick' if options.quick else ''}.json"
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(f"\n{path}, {time.perf_counter() - started:.0f} s{'; left out: ' + ', '.join(left_out) if left_out else ''}")
    return int(any("error" in part or part.get("exit", 0) not in (0, 5) for part in record.values() if isinstance(part, dict)))


if __name__ == "__main__":
    raise SystemExit(main())
