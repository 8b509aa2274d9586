"""What Mr-CNN's evaluation on whole squares saves against patch by patch: one picture, 2500 points, the paper's widths: `make bench`.

    python tests/bench_mrcnn.py [--threads 2] [--turns 3] [--batch 100 2500]

Both sides run in turns within one process, the best of the turns counts, since other processes only ever add to a time. Peak memory
is that of a fresh process each: how far its resident memory rises above what it was with the network built (VmHWM of
/proc/self/status, so on Linux only). Multiplications are what torch's FlopCounterMode counts, halved. The weights are random, from
He's initialisation, so that the logits, and what is said of their difference, are of size 1.

Why not twelve times: at the strides of 5 and 3 px nearly every position of the third convolution is some patch's own, so that of patch by
patch's 526 GMAC these 83 are left, and both sides run at some 80 % of what two cores multiply. Fewer would take Winograd's transforms,
whose rounding is another one: rows that are trained would change their values.

Expected, 160 s on two cores of an AMD EPYC with other work beside it:

    dense 1.01 s, 82.8 GMAC, 265 MB    patches, 100 at a time 7.87 s (7.8 times dense), 526.5 GMAC, 314 MB
    2500 at a time 9.83 s (9.7 times), 2552 MB    largest difference of the logits 1.3e-5
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.models.mrcnn import SQUARES, MrCNN
from lib.models.mrcnn_inference import lattice_centres, patchwise


def network() -> MrCNN:
    torch.manual_seed(0)
    model = MrCNN().eval()
    for parameter in model.parameters():
        nn.init.kaiming_normal_(parameter, nonlinearity="relu") if parameter.ndim > 1 else nn.init.zeros_(parameter)
    return model


def sides(batches: list[int]) -> dict[str, Callable[[], Tensor]]:
    """name -> the logits (2500,) of one picture of noise."""
    model, generator = network(), torch.Generator().manual_seed(1)
    squares = [torch.rand(3, side, side, generator=generator) for side in SQUARES]
    centres = [lattice_centres(side) for side in SQUARES]

    @torch.no_grad()
    def dense() -> Tensor:
        return model(*(square[None] for square in squares)).flatten()

    calls = {f"patches, {batch} at a time": lambda batch=batch: patchwise(model, squares, centres, batch=batch) for batch in batches}
    return {"dense": dense, **calls}


def resident(field: str) -> float | None:
    """MB of VmHWM (the peak) or VmRSS (now) of this process; None where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:")), None)


def measure_memory(name: str, batches: list[int]) -> None:
    """For the fresh process: print how many MB `name` adds."""
    call = sides(batches)[name]
    before = resident("VmRSS")
    call()
    print("-" if before is None else f"{resident('VmHWM') - before:.0f}")


def memory(name: str, options: argparse.Namespace) -> str:
    command = [sys.executable, __file__, "--threads", str(options.threads), "--memory", name, "--batch", *map(str, options.batch)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def report(options: argparse.Namespace) -> None:
    calls = sides(options.batch)
    counts, logits, best = {}, {}, dict.fromkeys(calls, float("inf"))
    for name, call in calls.items():  # the first turn, unmeasured
        with FlopCounterMode(display=False) as counter:
            logits[name] = call()
        counts[name] = counter.get_total_flops() / 2e9
    for _ in range(options.turns):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - start)
    print(f"{'':28}{'seconds':>9}{'of dense':>10}{'GMAC':>8}{'peak MB':>9}{'largest difference':>20}")
    for name in calls:
        difference = float((logits[name] - logits["dense"]).abs().max())
        print(f"{name:28}{best[name]:9.2f}{best[name] / best['dense']:9.1f}x{counts[name]:8.1f}{memory(name, options):>9}{difference:20.1e}")
    print(f"the logits' standard deviation is {float(logits['dense'].std()):.2f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=2, help="of torch (2)")
    parser.add_argument("--turns", type=int, default=3, help="measured turns (3)")
    parser.add_argument("--batch", type=int, nargs="+", default=[100, 2500], help="patches at a time (100 and 2500)")
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory:
        measure_memory(options.memory, options.batch)
        return 0
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"{options.threads} threads of {os.cpu_count()} cores{load}; torch {torch.__version__}, {platform.machine()}")
    report(options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
