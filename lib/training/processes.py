"""One row trained by several processes, started by `torchrun` or `accelerate launch`: both set the same variables, read here.

The global batch stays the recipe's: each process takes every n-th sample of it, and gradients are summed with the weight of
each share. Evaluation is shared out by sample and gathered, so validation and test values are exact, whatever does not
divide. Batch normalisation is synchronised on CUDA (`SyncBatchNorm`; on a CPU each process normalises by its own share).

The first process alone writes: records, weights, checkpoints. If a process dies, the launcher ends the others, and each says
where the run goes on; nothing is lost but the epoch under way.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

PATIENCE = timedelta(hours=12)  # a first process may decode a large data set while the others wait
ENDED = "another process of this run ended, so this one stops; the same command goes on after the last finished epoch"


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Share:
    """Which of `count` processes this is, as far as a task needs to know it."""

    rank: int = 0
    count: int = 1

    def of(self, samples):
        """This process's part of a batch's samples (an array or tensor); all of them where there are fewer than processes."""
        return samples if len(samples) < self.count else samples[self.rank::self.count]


WHOLE = Share()


@dataclass(frozen=True)
class Processes(Share):
    """The processes that train together; alone, every method leaves things as they are."""

    local_rank: int = 0

    @property
    def main(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def barrier(self) -> None:
        """Until all are here."""
        if self.count > 1:
            dist.barrier()

    def broadcast(self, value: Any) -> Any:
        """The first process's `value`, everywhere."""
        if self.count == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    @contextlib.contextmanager
    def first_on_each_machine(self) -> Iterator[None]:
        """The others wait until the first process of their machine is through: it writes caches, they find them."""
        if self.local_rank:
            self.barrier()
        yield
        if not self.local_rank:
            self.barrier()

    def broadcast_parameters(self, model: nn.Module) -> None:
        """Give every process the first one's parameters and buffers."""
        if self.count > 1:
            for tensor in model.state_dict().values():
                dist.broadcast(tensor, src=0)

    def synchronised(self, model: nn.Module) -> nn.Module:
        """`model` with batch normalisation over the global batch, where that is possible."""
        on_cuda = any(parameter.is_cuda for parameter in model.parameters())
        return nn.SyncBatchNorm.convert_sync_batchnorm(model) if self.count > 1 and on_cuda else model

    def average_gradients(self, model: nn.Module, samples: int) -> None:
        """Gradients of means over shares of `samples` each -> the gradient of the mean over the global batch, everywhere."""
        if self.count == 1:
            return
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        total = torch.tensor(float(samples), device=gradients[0].device)
        dist.all_reduce(total)
        flat = torch.cat([gradient.flatten() for gradient in gradients]) * (samples / total)
        dist.all_reduce(flat)
        for gradient, part in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def mean(self, values: Tensor, weights: Tensor) -> Tensor:
        """Means over shares (S, ...) with the shares' sizes (S,) -> means over global batches (S, ...)."""
        if self.count == 1:
            return values
        weights = weights.to(values).view(-1, *[1] * (values.ndim - 1))
        total, weighted = weights.clone(), values * weights
        dist.all_reduce(total)
        dist.all_reduce(weighted)
        return weighted / total

    def gather(self, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Every process's samples, each once, in the order of "index"; the same on every process."""
        parts = [values]
        if self.count > 1:
            parts = [None] * self.count
            dist.all_gather_object(parts, values)
        merged = {name: np.concatenate([part[name] for part in parts]) for name in values}
        _, order = np.unique(merged["index"], return_index=True)
        return {name: value[order] for name, value in merged.items()}


ALONE = Processes()


@contextlib.contextmanager
def joined(device: str) -> Iterator[Processes]:
    """The processes of this launch, `ALONE` without a launcher. device: "cpu", or what CUDA devices are asked for by."""
    count = int(os.environ.get("WORLD_SIZE", 1))
    if count == 1:
        yield ALONE
        return
    rank, local_rank = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", 0))
    on_cuda = device != "cpu" and torch.cuda.is_available()
    if on_cuda:
        torch.cuda.set_device(local_rank)
    before = signal.signal(signal.SIGTERM, _ended)
    dist.init_process_group("nccl" if on_cuda else "gloo", timeout=PATIENCE)
    try:
        yield Processes(rank, count, local_rank)
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or _lost_connection(error):
            raise RuntimeError(ENDED) from error
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
        with contextlib.suppress(RuntimeError):  # the others may be gone
            dist.destroy_process_group()


def _lost_connection(error: RuntimeError) -> bool:
    """gloo's errors have no type of their own."""
    return any(word in str(error) for word in ("Connection closed by peer", "Connection reset by peer", "gloo", "Broken pipe"))


def _ended(signum: int, frame) -> None:
    """The launcher stops us, because another process ended or somebody stopped it."""
    print(f"error: {ENDED}", file=sys.stderr, flush=True)
    os._exit(1)
