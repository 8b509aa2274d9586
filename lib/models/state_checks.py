"""What must hold of a file of weights before a network takes them: finite floating-point numbers, dense, and not all zero.

Otherwise torch converts, or says so in its own words, or a network whose weights are 0 predicts 0.5 everywhere without a word.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

import torch
from torch import Tensor

COUNTS = "num_batches_tracked"  # BatchNorm's, a whole number
REMEDY = "take another copy of the file, or train it again"


def check_state(state: Mapping[str, Tensor], source: str | os.PathLike[str], *, whole_numbers: Collection[str] = ()) -> None:
    """ValueError, one line that names `source` and the entry, for tensors that can be no weights; see the module's docstring.

    whole_numbers: names of entries that are integers.
    """
    for name, value in state.items():
        if value.layout != torch.strided or value.is_quantized:
            raise ValueError(f"{source}: {name} is {'quantized' if value.is_quantized else 'sparse'}, and weights are dense tensors; {REMEDY}")
        if name.endswith(COUNTS) or name in whole_numbers:
            continue
        if not value.is_floating_point():
            raise ValueError(f"{source}: {name} is of {str(value.dtype).removeprefix('torch.')}, and weights are floating-point numbers; {REMEDY}")
        if not value.float().isfinite().all():
            raise ValueError(f"{source}: {name} holds NaN or infinite values: the file is damaged, or its training went astray; {REMEDY}")


def check_learned(state: Mapping[str, Tensor], source: str | os.PathLike[str]) -> None:
    """ValueError where all weights of a convolution or a linear layer are 0: the network would predict the same whatever it sees."""
    for name, value in state.items():
        if value.ndim > 1 and value.numel() and not value.any():
            raise ValueError(f"{source}: every value of {name} is 0, so nothing that it is given would matter; {REMEDY}")


def without_prefix(state: Mapping[str, Tensor], source: str | os.PathLike[str], prefix: str = "module.") -> dict[str, Tensor]:
    """The entries without DataParallel's prefix. ValueError where a name is there with and without it."""
    stripped = {str(name).removeprefix(prefix): value for name, value in state.items()}
    if len(stripped) < len(state):
        twice = next(name for name in map(str, state) if name.startswith(prefix) and name.removeprefix(prefix) in state)
        raise ValueError(f"{source}: holds {twice} and {twice.removeprefix(prefix)}, and only one can be the weight; remove the other")
    return stripped
