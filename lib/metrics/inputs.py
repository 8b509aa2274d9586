"""What every metric takes: arrays of real numbers, none of them masked, and options that mean something.

ValueError, one line that names the argument, for anything else.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
import torch
from torch import Tensor

SEEDS = (-(2**63), 2**64 - 1)  # torch's generators take these
LONGEST = 80  # characters of a wrong value in a message


def tensor_of(values: Any, name: str, *, shape: str) -> Tensor:
    """Tensors, NumPy arrays of any byte order and nested lists as a tensor without a gradient; the values as they are.

    `shape`: in words, for the message. ValueError for what is not of real numbers, and where a masked array masks something.
    """
    try:
        tensor = torch.as_tensor(_plain(values, name)).detach()
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        if isinstance(error, _Masked):
            raise ValueError(str(error)) from None
        raise ValueError(f"{name} is no array of numbers ({' '.join(str(error).split())[:150]}); give {shape}") from None
    if tensor.is_complex() or tensor.layout != torch.strided or tensor.is_quantized:
        raise ValueError(f"{name} is {tensor.dtype}, {tensor.layout}, and must hold real numbers, all of them; "
                         "give .real, .to_dense() or .dequantize()")
    return tensor


def whole(value: Any, name: str, least: int, most: int | None = None) -> int:
    """`value` as an int from `least` to `most`; True and 2.0 are none."""
    found = as_whole(value)
    if found is None or found < least or (most is not None and found > most):
        limits = f"of {least} or more" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} must be a whole number {limits}, got {shown(value)}")
    return found


def number(value: Any, name: str, least: float, most: float = math.inf, *, above: bool = False, finite: bool = True) -> float:
    """`value` as a float from `least`, or `above` it, to `most`; NaN is none, and infinity only where it need not be `finite`."""
    try:
        found = math.nan if isinstance(value, (str, bytes, bool, np.bool_)) else float(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        found = math.nan
    if not least <= found <= most or (above and found == least) or (finite and math.isinf(found)):
        low = f"above {least:g}" if above else f"{least:g} or more"
        high = f"at most {most:g}" if not math.isinf(most) else "finite" if finite else "a number"
        raise ValueError(f"{name} must be {low} and {high}, got {shown(value)}")
    return found


def switches(**options: Any) -> None:
    """Options that are True or False: a word such as "no" would be taken for True."""
    for name, value in options.items():
        if not isinstance(value, (bool, np.bool_, int)) or value not in (0, 1):
            raise ValueError(f"{name} must be True or False, got {shown(value)}")


def as_whole(value: Any) -> int | None:
    """An int, NumPy's and torch's included, as an int; None for everything else."""
    try:
        return None if isinstance(value, (bool, np.bool_)) else operator.index(value)
    except (TypeError, ValueError, RuntimeError):
        return None


def shown(value: Any) -> str:
    """`value` as it is written, in one short line."""
    return " ".join(repr(value).split())[:LONGEST]


class _Masked(ValueError):
    """Something is masked; the line is complete."""


def _plain(values: Any, name: str) -> Any:
    """What torch can take: NumPy arrays in this machine's byte order that may be written to, without a mask; lists of such."""
    if isinstance(values, np.ndarray):
        if np.ma.is_masked(values):
            raise _Masked(f"{name} is a masked array, {np.ma.count_masked(values)} of its {values.size} elements are masked, and no metric "
                          "knows masks; fill it with values, `.filled(0)` say, or cut the masked part off")
        array = np.asarray(values)  # a mask that masks nothing goes
        array = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
        # images read by PIL are read-only, flipped ones have negative strides
        return np.require(array, requirements=["C", "W"])
    if isinstance(values, (list, tuple)) and any(isinstance(each, (list, tuple, np.ndarray)) for each in values):
        plain = [_plain(each, name) for each in values]
        alike = all(isinstance(each, np.ndarray) and each.shape == plain[0].shape for each in plain)
        return np.stack(plain) if alike else plain  # torch takes a list of arrays element by element
    return values
