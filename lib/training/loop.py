"""The one training loop: every row of every table goes through `fit` and `evaluate`.

What differs between tables is a `Task`: where batches come from, what the loss is, which values are kept for each sample.
What differs between rows is the network. What a row is trained with is a `Recipe`, whole and immutable.

On CUDA the networks run in channels_last and, where the recipe says so, under bfloat16 autocast; batches travel as uint8 and
become float on the device. On one CPU, with one thread count, the same seed gives the same numbers bit for bit, also after
an interruption: each epoch ends with a checkpoint of weights, optimiser and every generator. Several processes share out each
batch (`lib.training.processes`); they agree with one to rounding where nothing is random within the network.

What a network may have a part in is listed in `lib.models.network.RowNetwork`.

Numbers that go bad are found at the step where they arise, before anything learns from them: the last good checkpoint stays.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from lib.models.network import RowNetwork
from lib.training.checkpoint import load_checkpoint, put_aside, restore_rng, rng_state, save_checkpoint, seed_everything
from lib.training.processes import ALONE, WHOLE, Processes, Share
from lib.training.progress import Progress

Batch = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a row is trained. lr is the peak; rates are (prefix of parameter names, factor on lr) pairs, first match wins."""

    epochs: int
    batch_size: int
    optimiser: str = "adamw"  # or "sgd"
    lr: float = 2e-3
    weight_decay: float = 1e-2
    momentum: float = 0.9
    momentum_end: float | None = None  # SGD's momentum grows linearly to this
    schedule: str = "one_cycle"  # or "wsd" (warm-up, stable, decay), "cosine", "step" (x0.1 every `step_epochs`), "constant"
    step_epochs: int = 30
    rates: tuple[tuple[str, float], ...] = ()
    blur: float = 0.0  # section 3.3 of "Learning to Zoom": blur the resampled image in this share of the epochs, the first ones
    clip_norm: float | None = None
    autocast: bool = False  # bfloat16, on CUDA only
    keep_best: bool = False  # the epoch with the best validation score instead of the last one
    patience: int | None = None  # stop after so many epochs without a better validation score
    loss: str = ""  # which of the task's losses; its own by default

    @property
    def blurred_epochs(self) -> int:
        """How many epochs are blurred: the share that `blur` says, rounded up."""
        return math.ceil(self.blur * self.epochs - 1e-9)


class Task(Protocol):
    """A data set with its objective. A task may have an `evaluation_batch`: how many samples are evaluated at once."""

    lower_is_better: bool

    def batches(self, split: str, batch_size: int, generator: torch.Generator | None = None, share: Share = WHOLE) -> Iterator[Batch]:
        """Batches of `split` on the CPU, shuffled if there is a generator; each has "index" (B,). Of each, this process's share."""

    def length(self, split: str, batch_size: int) -> int:
        """How many batches that is."""

    def losses(self, output: Tensor, batch: Batch, loss: str) -> dict[str, Tensor]:
        """The parts of the recipe's `loss`, scalars; what is minimised is their sum."""

    def values(self, output: Tensor, batch: Batch, maps) -> dict[str, Tensor]:
        """What is kept of each sample, (B, ...) each; `maps` is the network's `Sampled`, or None."""

    def validation_score(self, values: dict[str, np.ndarray]) -> float:
        """The score of an epoch on validation data."""


def learning_rate(recipe: Recipe, progress: float) -> float:
    """The learning rate at `progress` through training, 0 to 1."""
    if recipe.schedule == "one_cycle":  # up for three tenths, then down along a cosine
        rise = progress / 0.3
        return recipe.lr * (0.04 + 0.96 * rise if rise < 1 else 0.5 * (1 + math.cos(math.pi * (progress - 0.3) / 0.7)))
    if recipe.schedule == "wsd":  # up for a tenth, constant until six tenths, then down along a cosine
        decay = 0.5 * (1 + math.cos(math.pi * (progress - 0.6) / 0.4)) if progress > 0.6 else 1.0
        return recipe.lr * min(0.04 + 0.96 * progress / 0.1, decay)
    if recipe.schedule == "cosine":
        return recipe.lr * 0.5 * (1 + math.cos(math.pi * progress))
    if recipe.schedule == "step":
        return recipe.lr * 0.1 ** int(progress * recipe.epochs / recipe.step_epochs + 1e-9)  # 1/49 of 49 epochs is 1
    if recipe.schedule == "constant":
        return recipe.lr
    raise ValueError(f"schedule {recipe.schedule!r} is not one of one_cycle, wsd, cosine, step, constant")


def make_optimiser(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW or SGD over the trainable parameters, grouped by their factor on the learning rate."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            factor = next((factor for prefix, factor in recipe.rates if name.startswith(prefix)), 1.0)
            groups.setdefault(factor, []).append(parameter)
    parts = [{"params": parameters, "factor": factor} for factor, parameters in groups.items()]
    if recipe.optimiser == "adamw":
        return torch.optim.AdamW(parts, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(parts, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    raise ValueError(f"optimiser {recipe.optimiser!r} is not one of adamw, sgd")


def to_device(batch: Batch, device: torch.device) -> Batch:
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


def run_network(model: RowNetwork, batch: Batch, *, maps: bool = False, autocast: bool = False):
    """`model` on the parts of `batch` that it names in `inputs`; with `maps`, also its `Sampled` or other maps (or None)."""
    device = batch["index"].device
    with torch.autocast(device.type, torch.bfloat16, enabled=autocast and device.type == "cuda"):
        inputs = [batch[name] for name in model.inputs]
        if maps and model.gives_maps:
            output, sampled = model(*inputs, return_maps=True)
            return output.float(), sampled
        output = model(*inputs)
    return (output.float(), None) if maps else output.float()


@torch.no_grad()
def evaluate(model: RowNetwork, task: Task, split: str, *, device: torch.device, batch_size: int | None = None,
             processes: Processes = ALONE) -> dict[str, np.ndarray]:
    """Every sample's values, in the order of the split's index."""
    model.to(device).eval()
    parts: dict[str, list[np.ndarray]] = {}
    for batch in task.batches(split, batch_size or getattr(task, "evaluation_batch", 128), share=processes):
        batch = to_device(batch, device)
        output, sampled = run_network(model, batch, maps=True)
        check_finite({"output": output}, where=f"{split} batch {1 + len(parts.get('index', []))}")
        for name, value in {"index": batch["index"], **task.values(output, batch, sampled)}.items():
            parts.setdefault(name, []).append(value.cpu().numpy())
    return processes.gather({name: np.concatenate(values) for name, values in parts.items()})


def check_finite(numbers: dict[str, Tensor], *, where: str) -> None:
    """FloatingPointError, one line, that names what of `numbers` is not finite, and where."""
    if not torch.stack([one.detach().sum() for one in numbers.values()]).sum().isfinite():
        bad = [name for name, one in numbers.items() if not one.isfinite().all()]
        if bad:  # a sum may overflow where every number is finite
            raise FloatingPointError(f"{where}: {', '.join(bad[:3])} {'is' if len(bad) == 1 else 'are'} not finite; "
                                     "lower the recipe's lr, or look at the data")


class Trainer:
    """One row's training, resumable at each epoch's end."""

    def __init__(self, model: RowNetwork, task: Task, recipe: Recipe, *, seed: int, device: torch.device, processes: Processes = ALONE):
        model = model.to(device, memory_format=torch.channels_last) if device.type == "cuda" else model.to(device)
        self.model, self.processes = processes.synchronised(model), processes
        self.task, self.recipe, self.seed, self.device = task, recipe, seed, device
        self.optimiser = make_optimiser(self.model, recipe) if recipe.epochs else None
        self.epoch, self.history, self.best, self.where = 0, [], None, ""

    def step(self, batch: Batch, progress: float) -> dict[str, Tensor]:
        """One optimiser step; gives the loss's parts."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.recipe, progress) * group["factor"]
            if self.recipe.momentum_end is not None:
                group["momentum"] = self.recipe.momentum + progress * (self.recipe.momentum_end - self.recipe.momentum)
        self.model.at(progress)
        self.optimiser.zero_grad(set_to_none=True)
        losses = self.task.losses(run_network(self.model, batch, autocast=self.recipe.autocast), batch, self.recipe.loss)
        check_finite(losses, where=self.where)
        sum(losses.values()).backward()
        self.processes.average_gradients(self.model, len(batch["index"]))
        if self.recipe.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.optimiser.step()
        self.model.after_step()
        return {name: loss.detach() for name, loss in losses.items()}

    def train_epoch(self, progress: Progress, label: str) -> dict[str, float]:
        """One pass over the training split; the mean of each part of the loss."""
        self.model.train()
        self.model.blur_input(self.epoch < self.recipe.blurred_epochs)
        if self.processes.count > 1:  # else all of them would drop the same units
            seed_everything((self.seed * 100_003 + self.epoch) * self.processes.count + self.processes.rank)
        order = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        steps = self.task.length("train", self.recipe.batch_size)
        total, parts, samples = steps * self.recipe.epochs, [], []
        for i, batch in enumerate(self.task.batches("train", self.recipe.batch_size, order, share=self.processes)):
            done, self.where = self.epoch * steps + i, f"{label}, epoch {self.epoch + 1}, step {i + 1}"
            parts.append(self.step(to_device(batch, self.device), done / total))
            samples.append(len(batch["index"]))
            if i % 4 == 0 or i + 1 == steps:
                progress(label, done + 1, total, f"epoch {self.epoch + 1}/{self.recipe.epochs}")
        means = {name: self.processes.mean(torch.stack([part[name] for part in parts]), torch.tensor(samples)).mean().item() for name in parts[0]}
        check_finite({f"weight {name}": weight for name, weight in self.model.named_parameters()}, where=self.where)
        return means

    def run(self, *, checkpoint: Path | None, progress: Progress, label: str) -> list[dict]:
        """Train to the end, from the checkpoint where there is one; returns one dict per epoch."""
        self.processes.broadcast_parameters(self.model)
        if checkpoint is not None and (state := self.processes.broadcast(self._stored(checkpoint) if self.processes.main else None)) is not None:
            self._restore(state)
        while self.epoch < self.recipe.epochs and not self._in_vain():
            entry = self.train_epoch(progress, label)
            self.processes.broadcast_parameters(self.model)  # batch normalisation's averages, where they are not synchronised
            score = self.task.validation_score(evaluate(self.model, self.task, "val", device=self.device, processes=self.processes))
            self.history.append({"epoch": self.epoch + 1, **entry, "val": score})
            self._note_best(score)
            self.epoch += 1
            if checkpoint is not None and self.processes.main:
                save_checkpoint(checkpoint, self._state())
        if self.recipe.keep_best and self.best is not None:
            self.model.load_state_dict(self.best["model"])
        return self.history

    def _stored(self, checkpoint: Path) -> dict | None:
        """The state that lies there, if it is one of this very training; else it is put aside."""
        try:
            state = load_checkpoint(checkpoint)
            if state is not None and (unlike := self._unlike(state)):
                raise ValueError(unlike)
            return state
        except ValueError as error:
            put_aside(checkpoint, str(error))
            return None

    def _unlike(self, state: dict) -> str:
        """Why `state` is not a state of this training, in a few words; empty if it is."""
        if not isinstance(state, dict) or set(state) != set(self._state()):
            return "it lacks parts of a checkpoint, or has others"
        epoch, history, own = state["epoch"], state["history"], self.model.state_dict()
        if not isinstance(epoch, int) or not 0 < epoch <= self.recipe.epochs or not isinstance(history, list) or len(history) != epoch:
            return f"it says epoch {epoch!r} with {len(history) if isinstance(history, list) else 'no'} entries of {self.recipe.epochs}"
        kept = [state["model"], *([state["best"]["model"]] if state["best"] else [])]
        if any({name: tensor.shape for name, tensor in weights.items()} != {name: tensor.shape for name, tensor in own.items()} for weights in kept):
            return "its weights are those of another network"
        if not all(tensor.isfinite().all() for weights in kept for tensor in weights.values() if tensor.is_floating_point()):
            return "its weights are not finite"
        return ""

    def _in_vain(self) -> bool:
        """Whether the recipe's patience is at its end."""
        sign = 1 if self.task.lower_is_better else -1
        scored = [(sign * entry["val"], i) for i, entry in enumerate(self.history) if math.isfinite(entry["val"])]
        return self.recipe.patience is not None and bool(scored) and len(self.history) - 1 - min(scored)[1] >= self.recipe.patience

    def _note_best(self, score: float) -> None:
        if not self.recipe.keep_best or not math.isfinite(score):
            return
        sign = 1 if self.task.lower_is_better else -1
        if self.best is None or sign * score < sign * self.best["score"]:  # the first of equals
            weights = {name: tensor.detach().cpu().clone() for name, tensor in self.model.state_dict().items()}
            self.best = {"score": score, "model": weights}

    def _state(self) -> dict:
        return {"epoch": self.epoch, "model": self.model.state_dict(), "optimiser": self.optimiser.state_dict(),
                "history": self.history, "best": self.best, "rng": rng_state()}

    def _restore(self, state: dict) -> None:
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.epoch, self.history, self.best = state["epoch"], state["history"], state["best"]
        restore_rng(state["rng"])
