"""Seeds, atomic files, and checkpoints that make an interrupted run end with the numbers of an uninterrupted one."""

import hashlib
import io
import json
import os
import random
from pathlib import Path

import numpy as np
import torch

from lib.files import replace_atomically
from lib.files.weights import read_weights, write_weights
from lib.files.weights import weights_header as weights_header
from lib.models.state_checks import without_prefix


def seed_everything(seed: int) -> None:
    """Seed torch (all devices), NumPy and Python."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def rng_state() -> dict:
    """Every generator's state, in types that `torch.load(weights_only=True)` reads."""
    name, keys, *rest = np.random.get_state()
    return {"torch": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "numpy": [name, torch.from_numpy(keys.astype(np.int64)), *rest], "python": json.dumps(random.getstate())}


def restore_rng(state: dict) -> None:
    """Undo everything that was drawn since `rng_state`."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    version, internal, gauss = json.loads(state["python"])
    random.setstate((version, tuple(internal), gauss))


def save_checkpoint(path: Path, state: dict) -> None:
    """`state` behind the SHA-256 of its bytes, so that one that was damaged is known."""
    content = io.BytesIO()
    torch.save(state, content)
    replace_atomically(path, lambda temporary: temporary.write_bytes(hashlib.sha256(content.getvalue()).digest() + content.getvalue()))


def load_checkpoint(path: Path) -> dict | None:
    """The checkpoint at `path`, None where there is none. Nothing in the file is executed. ValueError, a few words, if it is damaged."""
    if not path.exists():
        return None
    try:
        content = path.read_bytes()
        if hashlib.sha256(content[32:]).digest() != content[:32]:
            raise ValueError("its bytes are not those that were written")
        return torch.load(io.BytesIO(content[32:]), map_location="cpu", weights_only=True)
    except OSError as error:
        raise ValueError(error.strerror or "it cannot be read") from None
    except Exception as error:  # whatever a damaged file makes the unpickler raise
        raise ValueError(str(error) if isinstance(error, ValueError) else f"it is no checkpoint ({type(error).__name__})") from None


def put_aside(path: Path, why: str) -> None:
    """A checkpoint that cannot be gone on from: renamed, never removed, and said in one line."""
    aside = path.with_name(f"{path.name}.damaged")
    os.replace(path, aside)
    print(f"{path.name}: {why}; it is kept as {aside.name}, and the row starts again", flush=True)


def save_weights(path: Path, model: torch.nn.Module, *, header: dict | None = None) -> None:
    """`model`'s state_dict as safetensors; header: plain values that are kept with it, see `weights_header`."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    replace_atomically(path, lambda temporary: write_weights(temporary, tensors, header=header))


def load_weights(path: Path, model: torch.nn.Module, *, remedy: str = "remove it and train its row again") -> None:
    """Load safetensors into `model`; keys or shapes that differ are an error that lists them. remedy: for a file that is damaged or missing."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: {'is a folder, not a file of weights' if path.is_dir() else 'no such file of weights'}; {remedy}")
    try:
        tensors = read_weights(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {remedy}") from None
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    tensors = tensors if tensors.keys() == wanted.keys() else without_prefix(tensors, path)
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if wanted != found:
        differing = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        raise ValueError(f"{path}: does not fit this network; differing: {', '.join(differing[:8])} ({len(differing)} in all); "
                         "take the weights of this very row, or train it again")
    model.load_state_dict(tensors)
