"""What the layer costs beside the layer as it was, and its inverse beside LZU's method: `make bench`.

    python tests/bench_layer.py [--quick] [--threads 2] [--before COMMIT]

The sides of a comparison run in turns in one process, a time is the best of several; peak memory is that of fresh processes
(see bench_sampler.py). The layer as it was is lib/models/sampler.py of the commit `--before`, read through git; by default
the last one that converted every uint8 picture to floats and inverted grids by Newton steps.

LZU (Thavamani and others, CVPR 2023) inverts a grid image by image: a quadratic for each pair of a cell and a pixel of the
largest cell's window, all in one work array. `lzu_inverse` is that method in our own words; their code is not used.
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import statistics
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from bench_sampler import random_images, resident, saliency_maps, seconds, small_model
from torch import Tensor

from lib.models import sampler as now
from lib.training.loop import check_finite

ROOT = Path(__file__).resolve().parents[1]
BEFORE = "599361b"
CPU = torch.device("cpu")


def layer_of(commit: str) -> types.ModuleType | None:
    """lib/models/sampler.py of a commit, as a module; None where git or the commit is missing."""
    shown = subprocess.run(["git", "show", f"{commit}:lib/models/sampler.py"], cwd=ROOT, capture_output=True, text=True)
    if shown.returncode:
        return None
    module = types.ModuleType("sampler_before")
    exec(compile(shown.stdout, f"{commit}:sampler.py", "exec"), module.__dict__)
    return module


def grid_for(batch: int, size: int, *, cells: int = 31) -> Tensor:
    """The grid of a softmax over normal logits, as a trained saliency map has it."""
    logits = torch.randn(batch, cells**2, generator=torch.Generator().manual_seed(0)) * 1.5
    saliency = logits.softmax(1).view(batch, 1, cells, cells)
    return now.resize_grid(now.saliency_grid(saliency, sigma=now.RELEASED_SIGMA * cells / 31), size)


def ratio(before: float | None, after: float) -> str:
    return f"{'-' if before is None else f'{before / after:.1f}':>8}"


# ------------------------------------------------------------------------------------------------------- 5: before and after


def backward(layer: types.ModuleType, image: Tensor, grid: Tensor) -> None:
    layer.resample(image, grid.detach().requires_grad_()).sum().backward()


def report_bytes(before: types.ModuleType | None, repeats: int, sides: tuple[int, ...]) -> None:
    print("\n5. The layer's own work: 8 uint8 pictures of side x side to 224, view and resampling, ms before -> now, times as fast")
    print(f"   {'side':6}{'view':>18}{'resampling':>24}{'both':>16}{'and backward':>26}")
    for side in sides:
        image, grid = random_images(8, side, side, CPU), grid_for(8, 224)
        calls: dict[tuple, Callable] = {}
        for when, layer in (("before", before), ("now", now)):
            if layer:
                calls |= {(when, "view"): lambda layer=layer: layer.low_resolution(image, 224),
                          (when, "rest"): lambda layer=layer: layer.resample(image, grid),
                          (when, "back"): lambda layer=layer: backward(layer, image, grid)}
        took = {key: 1e3 * spent for key, spent in seconds(calls, device=CPU, repeats=repeats).items()}
        cells = []
        for parts in (("view",), ("rest",), ("view", "rest"), ("view", "back")):
            first, second = (sum(took[when, part] for part in parts) if (when, parts[0]) in took else None for when in ("before", "now"))
            cells.append(f"{'-' if first is None else f'{first:.1f}':>8} -> {second:5.1f}{ratio(first, second)}")
        print(f"   {side:<6}" + " ".join(cells))


def step_memory(commit: str | None, side: int, size: int, threads: int) -> float | None:
    words = [sys.executable, __file__, "--threads", str(threads), "--step-memory", f"{side}x{size}", *(["--before", commit] if commit else [])]
    answer = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()
    return float(answer) if answer else None


def measure_step_memory(layer: types.ModuleType, side: int, size: int) -> None:
    """In a process of its own: by how many MB one training step of the demo's small networks raises the peak."""
    model = small_model(size)
    zoom = layer.SaliencySampler(model.task_network, model.sampler.saliency_network, size, size, normalize=((0.5,) * 3, (0.2,) * 3))
    zoom(random_images(1, 64, 64, CPU)).sum().backward()
    image = random_images(8, side, side, CPU)
    start = resident("VmRSS")
    zoom(image).sum().backward()
    if start is not None:
        print(max(0.0, resident("VmHWM") - start))


def report_memory(before: str | None, threads: int, sides: tuple[int, ...]) -> None:
    print("\n6. Peak memory of a training step: 8 uint8 pictures, the demo's small networks at 64 px, MB above what was there")
    for side in sides:
        first, second = step_memory(before, side, 64, threads) if before else None, step_memory(None, side, 64, threads)
        if second is not None:
            share = "" if first is None else f", {second / first:.2f} of it"
            print(f"   side {side:<6}{'-' if first is None else f'{first:.0f}':>8} -> {second:.0f}{share}")


# ------------------------------------------------------------------------------------------------- 7: what the checks cost


@contextlib.contextmanager
def without_checks():
    """The layer without its care for numbers that went bad: the same sampling and the same matrices, nothing else."""
    def grid(saliency, *, sigma, padding="replicate", clamp=False):
        mass = saliency[:, 0] / saliency[:, 0].detach().amax(dim=(1, 2), keepdim=True)
        (a_y, b_y), (a_x, b_x) = (now._kept_attraction(side, sigma, padding, mass.dtype, mass.device) for side in mass.shape[1:])
        rows = a_y @ mass
        total = rows @ a_x.T
        return torch.stack((rows @ b_x.T / total, (b_y @ mass) @ a_x.T / total), dim=-1)

    def resample(image, grid, *, oversample=1):
        if image.dtype == torch.uint8:
            return now.sample_bytes(image, grid).div_(255)
        return F.grid_sample(image, grid, padding_mode="border", align_corners=True)

    kept = now.saliency_grid, now.resample
    now.saliency_grid, now.resample = grid, resample
    try:
        yield
    finally:
        now.saliency_grid, now.resample = kept


def core_seconds(call: Callable) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun


def report_checks(repeats: int) -> None:
    """Pairs, now with and now without first: the median of their differences, its quartiles, and the difference of the least of each.

    In seconds of a core: what else the machine is at hits both sides, and only ever adds.
    """
    print("\n7. The checks for numbers that went bad: grid, resampling and loss, forward and backward, core ms with and without; share of a step")
    for what, batch, side, size, turns in (("the demo's: 16 of 240x240 to 64", 16, 240, 64, 100), ("8 of 800x800 to 224", 8, 800, 224, 20)):
        model, image, maps = small_model(size), random_images(batch, side, side, CPU), saliency_maps(batch, CPU)

        def layer(maps=maps, image=image, size=size, check=check_finite) -> None:
            loss = now.resample(image, now.resize_grid(now.saliency_grid(maps, sigma=now.RELEASED_SIGMA), size)).sum()
            check({"loss": loss}, where="here")
            loss.backward()

        def bare(layer=layer) -> None:
            with without_checks():
                layer(check=lambda numbers, where: None)

        pairs = []
        for turn in range(turns * repeats + 1):
            first, second = (layer, bare) if turn % 2 else (bare, layer)
            pair = core_seconds(first), core_seconds(second)
            pairs += [pair if turn % 2 else pair[::-1]] if turn else []
        steps = [core_seconds(lambda: model(image).sum().backward()) for _ in range(turns // 2 * repeats)]
        low, middle, high = statistics.quantiles([(one - other) / statistics.median(steps) for one, other in pairs], n=4)
        took, without = (min(side) for side in zip(*pairs, strict=True))
        print(f"   {what:34}{1e3 * took:10.2f}{1e3 * without:10.2f}{middle:+8.1%} ({low:+.1%} to {high:+.1%}), "
              f"least {(took - without) / min(steps):+.1%} of {1e3 * min(steps):.0f} ms")


# ----------------------------------------------------------------------------------------------------------- 8: the inverse


def cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def lzu_inverse(grid: Tensor, side: int) -> Tensor:
    """LZU's method: image by image, every cell against every pixel of a window as large as the largest cell's."""
    return torch.stack([_lzu_image(image, side) for image in (grid + 1) * ((side - 1) / 2)])


def _lzu_image(grid: Tensor, side: int) -> Tensor:
    height, width, _ = grid.shape
    a, b, c, d = (corner.reshape(-1, 1, 2) for corner in (grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]))
    corners = torch.cat((a, b, c, d), dim=1)  # (cells, 4, 2)
    low, high = corners.amin(1).ceil(), corners.amax(1).floor()
    window = torch.stack(torch.meshgrid(*(torch.arange(n) for n in ((high - low).amax(0).int() + 1).tolist()), indexing="ij"), -1).view(1, -1, 2)
    pixel = low[:, None] + window  # (cells, window, 2)
    e, f, g, q = b - a, c - a, a - b - c + d, pixel - a
    square, linear, constant = cross(g, f), cross(q, g) + cross(e, f), cross(q, e)
    root = (linear**2 - 4 * square * constant).clamp(min=0).sqrt()
    t = 2 * constant / -(linear + root)  # the root of a cell that is not turned over
    divisor, divided = e + t[..., None] * g, q - t[..., None] * f
    s = torch.where(divisor[..., 0].abs() > divisor[..., 1].abs(), divided[..., 0] / divisor[..., 0], divided[..., 1] / divisor[..., 1])
    held = (torch.stack((s, t), -1) > -1e-4).all(-1) & (torch.stack((s, t), -1) < 1 + 1e-4).all(-1) & ((pixel >= 0) & (pixel < side)).all(-1)
    cell = torch.arange(len(a))[:, None]
    place = torch.stack(((cell % (width - 1) + s) * (2 / (width - 1)) - 1, (cell // (width - 1) + t) * (2 / (height - 1)) - 1), dim=-1)
    result = torch.full((side, side, 2), float("nan"))
    x, y = pixel[held].long().unbind(-1)
    result[y, x] = place[held]
    return result


def report_inverse(before: types.ModuleType | None, repeats: int, sides: tuple[int, ...]) -> None:
    print("\n8. The inverse of two grids on a raster, ms; times as fast as LZU's method and as before; largest difference from LZU's")
    print(f"   {'raster':8}{'cells':>8}{'now':>9}{'points':>9}{'LZU':>9}{'before':>10}{'x LZU':>8}{'x before':>10}{'gap':>10}")
    for side in sides:
        for size in (31, side):
            grid = grid_for(2, size)
            points = now.identity_grid(side, like=grid).flatten(1, 2).expand(2, -1, -1)
            took = seconds({"now": lambda: now.inverse(grid, side), "points": lambda: now.inverse(grid, points=points),
                            "lzu": lambda: lzu_inverse(grid, side)}, device=CPU, repeats=repeats)
            old = 1e3 * seconds({"before": lambda: before.inverse(grid, side)}, device=CPU, repeats=1)["before"] if before else None
            ours, peer = now.inverse(grid, side), lzu_inverse(grid, side).double()
            gap = (ours - peer).nan_to_num(0).abs().max().item()
            fast, spread, lzu = (1e3 * took[name] for name in ("now", "points", "lzu"))
            print(f"   {side:<8}{size:>8}{fast:9.1f}{spread:9.1f}{lzu:9.1f}{'-' if old is None else f'{old:.0f}':>10}{lzu / fast:8.1f}"
                  f"{'-' if old is None else f'{old / fast:.0f}':>10}{gap:10.0e}")


# ------------------------------------------------------------------------------------------- 9: cost by side, batch and cells


def report_growth(repeats: int, sides: tuple[int, ...]) -> None:
    print("\n9. How the layer's cost grows: uint8 to 224, ms forward (view + grid + resampling), and with backward through both")
    print(f"   {'side':>6}{'batch':>7}{'cells':>7}{'view':>9}{'grid':>9}{'resample':>10}{'all':>9}{'and back':>10}")
    base = (800 if 800 in sides else sides[-1], 8, 31)
    rows = [(side, *base[1:]) for side in sides] + [(base[0], batch, 31) for batch in (1, 2, 16)] + [(*base[:2], cells) for cells in (15, 63, 127)]
    for side, batch, cells in rows:
        image = random_images(batch, side, side, CPU)
        saliency = torch.rand(batch, 1, cells, cells, generator=torch.Generator().manual_seed(0)).square().requires_grad_()
        sigma = now.RELEASED_SIGMA * cells / 31

        def grid(saliency=saliency, sigma=sigma) -> Tensor:
            return now.resize_grid(now.saliency_grid(saliency, sigma=sigma), 224)

        fixed = grid().detach()
        took = seconds({"view": lambda: now.low_resolution(image, 224), "grid": lambda: grid(saliency.detach()),
                        "resample": lambda: now.resample(image, fixed), "back": lambda: now.resample(image, grid()).sum().backward()},
                       device=CPU, repeats=repeats)
        view, made, sampled, back = (1e3 * took[name] for name in ("view", "grid", "resample", "back"))
        print(f"   {side:>6}{batch:>7}{cells:>7}{view:9.2f}{made:9.2f}{sampled:10.2f}{view + made + sampled:9.2f}{view + back:10.2f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer repeats and sizes")
    parser.add_argument("--threads", type=int, default=2, help="of torch on the CPU (2)")
    parser.add_argument("--before", default=None, help=f"the commit to compare with ({BEFORE})")
    parser.add_argument("--checks", action="store_true", help="part 7 alone")
    parser.add_argument("--step-memory", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.step_memory:
        measure_step_memory(layer_of(options.before) if options.before else now, *map(int, options.step_memory.split("x")))
        return 0
    if options.checks:
        report_checks(3 if options.quick else 10)
        return 0
    commit = options.before or BEFORE
    before = layer_of(commit)
    repeats = 3 if options.quick else 10
    known = commit if before else "missing: no git history"
    print(f"cpu: {options.threads} threads; torch {torch.__version__}, {platform.machine()}; before is {known}")
    report_bytes(before, repeats, (400, 800) if options.quick else (400, 800, 1600))
    report_memory(commit if before else None, options.threads, (800,) if options.quick else (800, 1600))
    report_checks(repeats)
    report_inverse(before, repeats, (64,) if options.quick else (64, 128, 256))
    report_growth(repeats, (400, 800) if options.quick else (400, 800, 1200, 1600))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
