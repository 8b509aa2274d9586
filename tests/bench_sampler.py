"""What the sampler costs: its grid against the released convolutions, each of its stages, and larger images: `make bench`.

    python tests/bench_sampler.py [--quick] [--threads 2]

Everything is timed within one run on one machine, the sides of a comparison in turns, so that whatever else the machine does
hits both; a time is the best of several, since other processes only ever add to it. Peak memory is that of a fresh process
each: how far its resident memory rises above what it was after a warm-up with a batch of one (VmHWM of /proc/self/status, so
on Linux only). On CUDA it is torch.cuda.max_memory_allocated above what was allocated before.

With a CUDA device the same parts run there as well, and after them ResNet-101 at 227 px with and without the sampler before it.
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet101

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.models.backbones import IMAGENET_NORMALIZATION, saliency_network_resnet18, small_alexnet, small_saliency_network
from lib.models.sampler import RELEASED_SIGMA, SaliencySampler, low_resolution, resample, resize_grid, saliency_grid

CELLS = 31  # of the saliency map, along each side
BATCH = 64


# ------------------------------------------------------------------------------------------------------------------ timing


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(calls: dict[str, Callable], *, device: torch.device, repeats: int) -> dict[str, float]:
    """Best time of each call, all of them in turns, after one unmeasured turn; a short call several times in each turn."""
    best = dict.fromkeys(calls, float("inf"))
    for turn in range(repeats + 1):
        for name, call in calls.items():
            wait(device)
            begun = time.perf_counter()
            for _ in range(20):
                start = time.perf_counter()
                call()
                wait(device)
                if turn:
                    best[name] = min(best[name], time.perf_counter() - start)
                if time.perf_counter() - begun > 0.05:
                    break
    return best


def resident(field: str) -> float | None:
    """MB of VmHWM (the peak) or VmRSS (now) of this process; None where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:")), None)


# ------------------------------------------------------------------------------------- 1: the grid, matrices or convolutions


class Convolutions(nn.Module):
    """Equations 2 and 3 as the release computes them: 61x61 convolutions of the padded map, alone and times the positions."""

    def __init__(self, *, trainable: bool):
        super().__init__()
        at = torch.arange(-(CELLS - 1), CELLS).float()
        kernel = torch.exp(-0.5 * (at[:, None] ** 2 + at[None] ** 2) / RELEASED_SIGMA**2)
        self.attract = nn.Conv2d(1, 1, 2 * CELLS - 1, bias=False)
        self.attract.weight = nn.Parameter(kernel[None, None], requires_grad=trainable)
        position = torch.arange(-(CELLS - 1), 2 * CELLS - 1) * (2 / (CELLS - 1)) - 1
        self.register_buffer("position", torch.stack(torch.meshgrid(position, position, indexing="xy"))[None])  # (1, 2, 91, 91)

    def forward(self, saliency: Tensor) -> Tensor:
        padded = F.pad(saliency, (CELLS - 1,) * 4, mode="replicate")  # (B, 1, 91, 91)
        moments = (padded * self.position).flatten(0, 1)[:, None]  # (2B, 1, 91, 91)
        pulled = self.attract(moments).view(-1, 2, CELLS, CELLS) / self.attract(padded)
        return pulled.clamp(-1, 1).permute(0, 2, 3, 1)


def grids() -> dict[str, Callable[[Tensor], Tensor]]:
    return {"constant matrices": lambda saliency: saliency_grid(saliency, sigma=RELEASED_SIGMA, clamp=True),
            "61x61 convolutions, constant kernel": Convolutions(trainable=False),
            "61x61 convolutions, trainable kernel (released)": Convolutions(trainable=True)}


def saliency_maps(batch: int, device: torch.device) -> Tensor:
    logits = torch.randn(batch, CELLS**2, generator=torch.Generator().manual_seed(0))
    return logits.softmax(1).view(batch, 1, CELLS, CELLS).to(device).requires_grad_()


def forward_backward(grid: Callable[[Tensor], Tensor], saliency: Tensor) -> None:
    saliency.grad = None
    grid(saliency).square().sum().backward()


def grid_memory(name: str, device: torch.device, threads: int) -> float | None:
    """Peak MB of one pass forward and backward."""
    if device.type == "cuda":
        grid = on(grids()[name], device)
        maps = saliency_maps(BATCH, device)
        return cuda_peak(lambda: forward_backward(grid, maps), device)
    words = [sys.executable, __file__, "--threads", str(threads), "--grid-memory", name]
    answer = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    return float(answer) if answer else None


def measure_grid_memory(name: str) -> None:
    """In a process of its own: print by how many MB one pass raises the peak."""
    grid, maps = grids()[name], saliency_maps(BATCH, torch.device("cpu"))
    forward_backward(grid, saliency_maps(1, torch.device("cpu")))
    before = resident("VmRSS")
    forward_backward(grid, maps)
    if before is not None:
        print(max(0.0, resident("VmHWM") - before))


def on(grid: Callable, device: torch.device) -> Callable:
    return grid.to(device) if isinstance(grid, nn.Module) else grid


def cuda_peak(call: Callable, device: torch.device) -> float:
    call()
    wait(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    call()
    wait(device)
    return (torch.cuda.max_memory_allocated(device) - before) / 2**20


def report_grids(device: torch.device, repeats: int, threads: int) -> None:
    print(f"\n1. The sampling grid from {BATCH} saliency maps of {CELLS}x{CELLS}, forward and backward")
    made = {name: on(grid, device) for name, grid in grids().items()}
    maps = saliency_maps(BATCH, device)
    with torch.no_grad():
        ours, *others = (grid(maps) for grid in made.values())
    gap = max((ours - other).abs().max().item() for other in others)
    times = seconds({name: lambda grid=grid: forward_backward(grid, maps) for name, grid in made.items()}, device=device, repeats=repeats)
    first = times["constant matrices"]
    print(f"   {'':50}{'ms':>10}{'times ours':>12}{'peak MB':>10}")
    for name, spent in times.items():
        memory = grid_memory(name, device, threads)
        print(f"   {name:50}{1e3 * spent:10.2f}{spent / first:12.1f}{'-' if memory is None else f'{memory:.1f}':>10}")
    print(f"   largest difference of the grids: {gap:.1e}")


# ----------------------------------------------------------------------------------------------------------- 2: each stage


def random_images(batch: int, height: int, width: int, device: torch.device) -> Tensor:
    """uint8 in the memory order of decoded images, (B, H, W, C), seen as (B, C, H, W)."""
    pixels = torch.randint(0, 256, (batch, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return pixels.permute(0, 3, 1, 2).to(device)


def small_model(size: int) -> SaliencySampler:
    return SaliencySampler(small_alexnet(2, sigmoid=True), small_saliency_network(), size, size, normalize=IMAGENET_NORMALIZATION)


def stages(model: SaliencySampler, image: Tensor) -> dict[str, tuple[Callable[[Tensor], Tensor], Tensor]]:
    """Name -> (function, its input), each stage's input being the one before's output."""
    zoom = model.sampler

    def saliency(features: Tensor) -> Tensor:  # what follows the network in SaliencyZoom.saliency
        logits = F.interpolate(zoom.head(F.relu(features)), zoom.map_size, mode="bilinear", align_corners=True)
        return logits.flatten(1).softmax(dim=1).view_as(logits)

    parts = {"low-resolution view": lambda x: low_resolution(x, zoom.view_size),
             "saliency network": lambda x: zoom.saliency_network(zoom.normalize(x)),
             "head and softmax": saliency,
             "grid": lambda x: resize_grid(saliency_grid(x, sigma=zoom.sigma, padding=zoom.padding), zoom.task_size),
             "resampling": lambda x: resample(image, x),
             "task network": lambda x: model.task_network(model.normalize(x))}
    chain, value = {}, image
    with torch.no_grad():
        for name, part in parts.items():
            chain[name] = part, value
            value = part(value)
        assert torch.allclose(value, model.eval()(image), atol=1e-4), "the stages are not the model"
    return chain


def backward_through(part: Callable[[Tensor], Tensor], value: Tensor) -> None:
    """Forward and backward; only the view's input, the bytes, has no gradient."""
    value = value.detach().requires_grad_(value.is_floating_point())
    result = part(value)
    if result.requires_grad:
        result.sum().backward()


def report_stages(device: torch.device, repeats: int) -> None:
    image = random_images(BATCH, 480, 640, device)
    model = small_model(64).to(device)
    print(f"\n2. Each stage for {BATCH} uint8 frames of 640x480, task and view 64x64 px, the demo's small networks")
    chain = stages(model, image)
    forward = {name: lambda part=part, value=value: part(value) for name, (part, value) in chain.items()}
    with torch.no_grad():
        there = seconds({**forward, "all": lambda: model(image)}, device=device, repeats=repeats)
    both = {name: lambda part=part, value=value: backward_through(part, value) for name, (part, value) in chain.items()}
    back = seconds({**both, "all": lambda: model(image).sum().backward()}, device=device, repeats=repeats)
    print(f"   {'':34}{'forward, ms':>14}{'and backward, ms':>20}{'share':>8}")
    total = sum(spent for name, spent in back.items() if name != "all")
    for name, spent in there.items():
        share = f"{back[name] / total:8.0%}" if name != "all" else ""
        print(f"   {name:34}{1e3 * spent:14.2f}{1e3 * back[name]:20.2f}{share}")
    print(f"   {BATCH / there['all']:.0f} images/s forward, {BATCH / back['all']:.0f} images/s forward and backward")


# ---------------------------------------------------------------------------------------------------------- 3: larger images


def report_sizes(device: torch.device, repeats: int, sides: tuple[int, ...]) -> None:
    print("\n3. Larger images: a batch of 8 uint8 images, task and view 64x64 px, forward and backward")
    model = small_model(64).to(device)
    images = {side: random_images(8, side, side, device) for side in sides}
    views = {side: low_resolution(image, 64) for side, image in images.items()}
    calls = {(side, "view"): lambda image=image: low_resolution(image, 64) for side, image in images.items()}
    calls |= {(side, "rest"): lambda side=side: model(images[side], views[side]).sum().backward() for side in sides}
    times = seconds(calls, device=device, repeats=repeats)
    print(f"   {'side, px':10}{'pixels':>8}{'view, ms':>12}{'the rest, ms':>15}{'together, ms':>15}{'times the first':>17}")
    first = times[sides[0], "view"] + times[sides[0], "rest"]
    for side in sides:
        view, rest = times[side, "view"], times[side, "rest"]
        ratios = f"{1e3 * (view + rest):15.2f}{(view + rest) / first:17.2f}"
        print(f"   {side:<10}{(side / sides[0]) ** 2:7.1f}x{1e3 * view:12.2f}{1e3 * rest:15.2f}{ratios}")


# ---------------------------------------------------------------------------------------------------------------- 4: CUDA


def report_resnet(device: torch.device, repeats: int, *, batch: int = 64, size: int = 227, side: int = 800) -> None:
    """Training steps of ResNet-101 under bfloat16: on resized images, and behind the sampler on the full ones."""
    print(f"\n4. ResNet-101 at {size} px, batch {batch}, bfloat16, forward and backward; with the sampler from uint8 {side}x{side}")
    image = random_images(batch, side, side, device)
    task = resnet101(num_classes=1000)
    sampler = SaliencySampler(copy.deepcopy(task), saliency_network_resnet18(14), size, size, normalize=IMAGENET_NORMALIZATION)
    plain = nn.Sequential(copy.deepcopy(sampler.normalize), task)
    models = {"without": plain, "with the sampler": sampler}
    for model in models.values():
        model.to(device, memory_format=torch.channels_last)
    small = low_resolution(image, size)

    def step(model: nn.Module, images: Tensor) -> None:
        model.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16):
            output = model(images)
        output.float().square().mean().backward()

    calls = {"without": lambda: step(plain, small), "with the sampler": lambda: step(sampler, image)}
    times = seconds(calls, device=device, repeats=repeats)
    print(f"   {'':24}{'images/s':>10}{'peak MB':>10}")
    for name, call in calls.items():
        models[name].zero_grad(set_to_none=True)
        memory = f"{cuda_peak(call, device):.0f}" if device.type == "cuda" else "-"
        print(f"   {name:24}{batch / times[name]:10.0f}{memory:>10}")
    print(f"   the sampler costs {times['with the sampler'] / times['without'] - 1:+.0%} time")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer repeats and the two smaller images")
    parser.add_argument("--threads", type=int, default=2, help="of torch on the CPU (2)")
    parser.add_argument("--grid-memory", choices=tuple(grids()), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.grid_memory:
        measure_grid_memory(options.grid_memory)
        return 0
    started = time.perf_counter()
    repeats, sides = (3, (400, 800)) if options.quick else (12, (400, 800, 1200, 1600))
    devices = [torch.device("cpu"), *([torch.device("cuda")] if torch.cuda.is_available() else [])]
    for device in devices:
        load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{options.threads} threads of {os.cpu_count()} cores{load}"
        print(f"\n{device.type}: {name}; torch {torch.__version__}, {platform.machine()}")
        report_grids(device, repeats, options.threads)
        report_stages(device, repeats)
        report_sizes(device, repeats, sides)
        if device.type == "cuda":
            report_resnet(device, repeats)
    print(f"\n{time.perf_counter() - started:.0f} s in all")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
