"""What must hold of a file of weights before a network takes them: finite floating-point numbers, dense, not empty, and not all zero.

Otherwise torch converts, or says so in its own words, or a network whose weights are 0 predicts 0.5 everywhere without a word.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping

import torch
from torch import Tensor

COUNTS = "num_batches_tracked"  # BatchNorm's, a whole number
WRAPPERS = ("module", "_orig_mod")  # the attribute that a wrapper keeps its network in
WRAPPINGS = ("state_dict", "model_state_dict", "model")  # what a checkpoint calls its weights
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
        if not value.numel():
            raise ValueError(f"{source}: {name} holds no values, its shape is {tuple(value.shape)}; {REMEDY}")
        if not value.float().isfinite().all():
            raise ValueError(f"{source}: {name} holds NaN or infinite values: the file is damaged, or its training went astray; {REMEDY}")


def check_learned(state: Mapping[str, Tensor], source: str | os.PathLike[str]) -> None:
    """ValueError where all weights of a convolution or a linear layer are 0: the network would predict the same whatever it sees."""
    for name, value in state.items():
        if value.ndim > 1 and value.numel() and not value.any():
            raise ValueError(f"{source}: every value of {name} is 0, so nothing that it is given would matter; {REMEDY}")


def bare_state(content: object, source: str | os.PathLike[str], *, remedy: str = REMEDY) -> dict[str, Tensor]:
    """The state dict that a file holds: bare or under one of WRAPPINGS, however deep, without the prefixes of wrappers around its network.

    ValueError, one line that names `source`, where it holds none of tensors alone, or two that could be meant.

    Example:
        >>> bare_state({"epoch": 3, "model": {"module._orig_mod.fc.bias": torch.zeros(2)}}, "a.pth")
        {'fc.bias': tensor([0., 0.])}
    """
    while isinstance(content, Mapping) and (inner := [name for name in WRAPPINGS if isinstance(content.get(name), Mapping)]):
        if len(inner) > 1:
            raise ValueError(f"{source}: holds {' and '.join(inner)}, and only one can be the weights; save that one alone")
        content = content[inner[0]]
    if not isinstance(content, Mapping) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"{source}: holds a {type(content).__name__}, so it holds no state dict of tensors; {remedy}")
    return without_prefix(content, source)


def without_prefix(state: Mapping[str, Tensor], source: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The entries without what DataParallel, DistributedDataParallel (`module.`) and torch.compile (`_orig_mod.`) put into their names.

    However often, and in any order; around a part of the network, too. ValueError where a name is there twice, with and without.
    """
    stripped: dict[str, Tensor] = {}
    named: dict[str, str] = {}
    for name, value in state.items():
        bare = ".".join(part for part in str(name).split(".") if part not in WRAPPERS)
        if bare in stripped:
            raise ValueError(f"{source}: holds {name} and {named[bare]}, and only one can be the weight; remove the other")
        stripped[bare], named[bare] = value, str(name)
    return stripped
