"""Weights on disk, as safetensors: written with plain values and a digest beside them, and read so that damage is known.

The plain values are read without the weights and without torch, which is imported where tensors are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

if TYPE_CHECKING:
    from torch import Tensor

DIGEST = "sha256"  # over the tensors and the plain values; files of before it, and others', have none


def weights_header(path: Path) -> dict | None:
    """The plain values that `write_weights` kept beside the weights; None where there are no such weights, or none to read."""
    try:
        return _beside(path)[0]
    except (OSError, ValueError, RecursionError, SafetensorError):
        return None


def write_weights(path: Path, tensors: Mapping[str, Tensor], *, header: dict | None = None) -> None:
    """`tensors` as safetensors, with `header`, plain values, and a digest of both beside them. Not atomic: see `replace_atomically`."""
    from safetensors.torch import save_file

    digest = _digest(tensors, header)
    # One entry: of two, safetensors writes now this one first and now that one, and the same weights would not be the same bytes.
    save_file(dict(tensors), path, metadata={DIGEST: digest} if header is None else {"header": json.dumps(header | {DIGEST: digest})})


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, anybody's. ValueError, a few words, for another file, and where they do not have the digest beside them."""
    from safetensors.torch import load_file

    try:
        tensors, (header, digest) = load_file(path), _beside(path)
    except Exception as error:  # whatever a damaged file leads the reader to
        raise ValueError(f"not a readable safetensors file ({type(error).__name__})") from None
    if digest is not None and digest != _digest(tensors, header):
        raise ValueError("changed since it was written (SHA-256 differs)")
    return tensors


def _beside(path: Path) -> tuple[dict | None, str | None]:
    """The plain values beside the weights, and the digest; None for what is not there."""
    with safe_open(path, "np") as file:
        known = file.metadata() or {}
    header = json.loads(known["header"]) if "header" in known else None
    return (header, header.pop(DIGEST, None)) if isinstance(header, dict) else (None, known.get(DIGEST))


def _digest(tensors: Mapping[str, Tensor], header: dict | None) -> str:
    import torch

    found = hashlib.sha256(json.dumps(json.loads(json.dumps(header)), sort_keys=True).encode())  # as a reader will find it
    for name, tensor in sorted(tensors.items()):
        found.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return found.hexdigest()
