"""What the successors' grids cost, what they reach and where they lie: `python tests/bench_grids.py [--quick] [--batch 64] [--threads 1]`.

Times are the best of several, all grids in turns, forward and forward with backward, beside the attraction's. With a CUDA device the same runs there.
Then the mass of every output cell under the transport (largest error of a hundred maps of each kind), where each grid lies on zoom against
anisotropy and shear, what it does at two places at once, and what comes back of a thin line.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from functools import partial
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from bench_layer import lzu_inverse  # noqa: E402
from maps import rough, smooth  # noqa: E402

from lib.figures.grids import STRENGTHS, ghosts, line_left, several_blobs, trade_offs  # noqa: E402
from lib.models.carry import unzoom  # noqa: E402
from lib.models.grids import GRIDS, mass_error, transport_grid  # noqa: E402
from lib.models.sampler import folds, resample, resize_grid  # noqa: E402

LITERAL = {"floor": 0.0, "bound": None}


def best(calls: dict, device: torch.device, repeats: int) -> dict[str, float]:
    """Best time of each call in seconds, in turns, after one unmeasured turn."""
    times = dict.fromkeys(calls, float("inf"))
    for turn in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if turn:
                times[name] = min(times[name], time.perf_counter() - start)
    return times


def report_times(device: torch.device, batch: int, repeats: int) -> None:
    print(f"\n1. Time for {batch} smooth maps of 31x31, ms")
    maps = smooth(batch).to(device)
    leaf = maps.clone().requires_grad_()
    grids = {**GRIDS, "transport, balanced only": partial(transport_grid, steps=0)}
    with torch.no_grad():
        there = best({name: partial(grid, maps) for name, grid in grids.items()}, device, repeats)
    back = best({name: lambda grid=grid: grid(leaf).square().sum().backward() for name, grid in grids.items()}, device, repeats)
    print(f"   {'':28}{'forward':>10}{'and backward':>14}{'x attraction':>14}")
    for name in grids:
        print(f"   {name:28}{1e3 * there[name]:10.2f}{1e3 * back[name]:14.2f}{back[name] / back['attraction']:14.1f}")
    grid = resize_grid(GRIDS["transport"](maps[:4]), 64)
    spent = best({"unzoom": lambda: unzoom(torch.zeros(4, 8, 64, 64, device=device), grid, (150, 200))}, device, 1)["unzoom"]
    print(f"   unzoom of 4 maps of 64x64, 8 channels, to 200x150 px: {1e3 * spent:.0f} ms")


def lzu_unzoom(maps: torch.Tensor, grid: torch.Tensor, side: int) -> torch.Tensor:
    """As LZU brings feature maps back: its inverse, and one bilinear sample for each original pixel; 0 where there is none."""
    places = lzu_inverse(grid, side)
    return torch.where(places.isnan().any(-1)[:, None], 0.0, resample(maps, places.nan_to_num(0)))


def report_unzoom(device: torch.device, repeats: int) -> None:
    """Time, and how much of a network's error is left when its maps come back: white noise of deviation 1 on every zoomed pixel."""
    print("\n   unzoom of 2 maps, 8 channels, seen at 64x64, ms, beside LZU's method (its inverse, one bilinear sample); noise left of 1")
    print(f"   {'grid':28}{'to':>6}{'here':>9}{'LZU':>9}{'x':>6}{'noise here':>12}{'LZU':>7}")
    for name, spread in (("attraction", 1), ("attraction", 3), ("transport", 1)):
        grid = resize_grid(GRIDS[name](smooth(2, spread=spread)), 64).clamp(-1, 1)
        noise = torch.randn(2, 8, 64, 64, generator=torch.Generator().manual_seed(0))
        for side in (32, 64, 128, 256):
            took = best({"here": lambda grid=grid, side=side, noise=noise: unzoom(noise.to(device), grid.to(device), side),
                         "LZU": lambda grid=grid, side=side, noise=noise: lzu_unzoom(noise, grid, side)}, device, repeats)
            back, shown = unzoom(noise, grid, side)
            left = [each[shown.expand_as(each)].std().item() for each in (back, lzu_unzoom(noise, grid, side))]
            print(f"   {f'{name}, spread {spread}':28}{side:>6}{1e3 * took['here']:9.1f}{1e3 * took['LZU']:9.1f}{took['LZU'] / took['here']:6.1f}"
                  f"{left[0]:12.2f}{left[1]:7.2f}")


def report_masses(count: int) -> None:
    print(f"\n2. Equal mass: the largest error of a cell, {count} maps of each kind, 31x31")
    kinds = {"uniform noise + 0.05": torch.rand(count, 1, 31, 31, generator=torch.Generator().manual_seed(0)) + 0.05,
             "softmax of cells, spread 1": rough(count, 31, 31, spread=1), "softmax of cells, spread 2": rough(count, 31, 31, spread=2),
             "smooth 8x8, spread 1": smooth(count), "smooth 8x8, spread 2": smooth(count, spread=2), "smooth 8x8, spread 3": smooth(count, spread=3),
             "smooth 14x14, spread 2": smooth(count, cells=14, spread=2)}
    print(f"   {'':28}{'':18}{'median':>9}{'worst':>9}{'within 1 %':>12}{'folds':>7}")
    for kind, maps in kinds.items():
        for label, options in (("floor 0.25, 2.5x", {}), ("to the letter", LITERAL), ("balanced only", {"steps": 0})):
            grid = torch.cat([transport_grid(part, **options) for part in maps.double().split(20)])
            measured = {key: value for key, value in options.items() if key != "steps"}
            error = mass_error(grid, maps, **measured).abs().amax((1, 2))
            share = f"{(error < 0.01).double().mean():12.0%}"
            print(f"   {kind:28}{label:18}{error.median():9.1e}{error.max():9.1e}{share}{folds(grid).max():7.1%}")


def report_places() -> None:
    print("\n3. Zoom at two places on a diagonal, and at the crossings of their rows and columns")
    for name, (real, ghost) in ghosts().items():
        print(f"   {name:28}{real:8.2f}x{ghost:8.2f}x")
    print(f"\n4. Where the saliency is: zoom, anisotropy, shear in degrees, for the map to the powers {', '.join(map(str, STRENGTHS[1:]))}")
    for name, values in trade_offs(several_blobs()).items():
        print(f"   {name:28}" + "   ".join(f"{zoom:.2f}x {anisotropy:.2f} {shear:4.1f}" for zoom, anisotropy, shear in values[1:]))
    print("\n5. What comes back of a line of 2 px, by the network's pixels per pixel of the picture")
    print("   " + "   ".join(f"{scale:g}: {line_left(scale):.2f}" for scale in (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer repeats and maps")
    parser.add_argument("--batch", type=int, default=64, help="maps at a time (64)")
    parser.add_argument("--threads", type=int, default=1, help="of torch on the CPU (1)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for device in [torch.device("cpu"), *([torch.device("cuda")] if torch.cuda.is_available() else [])]:
        load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{options.threads} threads of {os.cpu_count()} cores{load}"
        print(f"\n{device.type}: {name}; torch {torch.__version__}, {platform.machine()}")
        report_times(device, options.batch, 2 if options.quick else 6)
        report_unzoom(device, 2 if options.quick else 5)
    report_masses(20 if options.quick else 100)
    report_places()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
