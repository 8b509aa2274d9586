"""What the sampler costs in training on Tables 2 and 4: images per second and peak memory, with it and without, in one run.

On a CPU: the demo's networks, 160 -> 64 px. With CUDA also the paper's, 800 -> 227 px, ResNet-101 under bfloat16. Random images
in memory, so decoding does not count; forward, backward and the optimiser's step. Ratios within one run are what to read.

    python tests/bench_recognition.py [--steps N]
"""

import argparse
import statistics
import sys
import time
import warnings
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib.tables import inaturalist
from lib.training.loop import Trainer

ROWS = ("plain", "sampler", "same_cost")


class RandomImages:
    """A task that is nothing but its loss: one batch of noise."""

    lower_is_better = False

    def losses(self, output, batch, loss=""):
        return {"cross_entropy": torch.nn.functional.cross_entropy(output, batch["label"])}


def batch(preset, size: int, device: torch.device) -> dict[str, torch.Tensor]:
    side, view = preset.canvas.size, preset.view_size
    made = {"image": torch.randint(0, 256, (size, 3, side, side), dtype=torch.uint8),
            "view": torch.randint(0, 256, (size, 3, view, view), dtype=torch.uint8),
            "label": torch.randint(0, preset.classes, (size,)), "index": torch.arange(size)}
    return {name: tensor.to(device) for name, tensor in made.items()}


def measure(name: str, preset, device: torch.device, *, steps: int) -> tuple[float, float]:
    """Median images per second over `steps`, and the peak of allocated memory in GiB (CUDA only)."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # pretrained weights may be missing: speed does not depend on them
        model = inaturalist.TABLE.row(name).build(preset)
    trainer = Trainer(model, RandomImages(), preset.recipe, seed=0, device=device)
    trainer.model.train()
    images, seconds = batch(preset, preset.recipe.batch_size, device), []
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for step in range(steps + 3):
        started = time.perf_counter()
        trainer.step(images, 0.5)
        if device.type == "cuda":
            torch.cuda.synchronize()
        if step >= 3:
            seconds.append(time.perf_counter() - started)
    peak = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else float("nan")
    return preset.recipe.batch_size / statistics.median(seconds), peak


def report(title: str, preset, device: torch.device, *, steps: int) -> None:
    print(f"\n{title}, batches of {preset.recipe.batch_size}")
    print(f"{'row':12} {'images/s':>10} {'of plain':>9} {'peak GiB':>9}")
    base = None
    for name in ROWS:
        rate, peak = measure(name, preset, device, steps=steps)
        base = base or rate
        print(f"{name:12} {rate:10.1f} {rate / base:8.2f}x {peak:9.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=12)
    steps = parser.parse_args().steps
    torch.set_num_threads(1)
    report("demo networks, 160 -> 64 px, one CPU thread", inaturalist.PRESETS["demo"], torch.device("cpu"), steps=steps)
    if torch.cuda.is_available():
        device = torch.device("cuda")
        report(f"ResNet-101, 800 -> 227 px, bfloat16, {torch.cuda.get_device_name(device)}", inaturalist.PRESETS["paper-twin"], device, steps=steps)
    else:
        print("\nResNet-101, 800 -> 227 px: skipped, there is no CUDA device here")


if __name__ == "__main__":
    main()
