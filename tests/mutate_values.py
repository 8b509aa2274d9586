"""Seeded mutations of what stands in a file: a field of another type, missing, doubled; a number that is NaN, huge, negative, text.

    for mutation, content in value_mutations(path, content, seed=0, count=20): ...

The file stays one of its format (but for cut tails), so that what reads the format finds nothing wrong: only who knows the meaning can.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from scipy.io import loadmat, savemat

LEAVES = (None, True, "text", "12", "", -1, -1e9, 0, 3.7, 1e300, float("inf"), float("nan"), 10**400, [], {}, [[1]], "../../x", "\0", "<b>&")
WORDS = ("", "nan", "inf", "-1", "2", "1e300", "9" * 400, "3.7", "x", "../x", "a b", "\0", "1_0", "0x1", "<b>")


def value_mutations(path: Path, content: bytes, *, seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """`count` pairs of a mutation's name and changed bytes, by the format of `path`; none for formats whose values nobody here can change."""
    change = next((change for suffixes, change in FORMATS if path.name.endswith(suffixes)), None)
    rng = random.Random(f"{seed} {path.name}")
    for _ in range(count if change else 0):
        yield change(content, rng)


# --- JSON ---------------------------------------------------------------------------------------------------------------


def _json(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    tree = json.loads(content)
    places = list(_places(tree))
    rng.shuffle(places)
    deep = sorted(places[:8], key=lambda place: -len(place[2]))  # leaves rather than roots, but roots too
    holder, key, path = rng.choice(deep[:4]) if deep else (None, None, ())
    kind = rng.choice(("leaf", "leaf", "leaf", "drop", "double", "cut list", "nest", "doubled key", "root"))
    if holder is None or kind == "root":
        return "root", json.dumps(rng.choice(LEAVES)).encode()
    if kind == "leaf":
        value = rng.choice(LEAVES)
        holder[key] = value
        return f"{'/'.join(map(str, path))} = {str(value)[:12]!r}", json.dumps(tree).encode()
    if kind == "nest":
        holder[key] = "NEST"
        return f"{'/'.join(map(str, path))} nested", json.dumps(tree).replace('"NEST"', "[" * 100_000 + "]" * 100_000).encode()
    if kind == "doubled key" and isinstance(holder, dict):
        text = json.dumps(tree)
        return f"{key} twice", text.replace(f'"{key}":', f'"{key}": 1, "{key}":', 1).encode()
    if kind == "double" and isinstance(holder, list):
        holder.insert(key, holder[key])
        return f"{'/'.join(map(str, path))} twice", json.dumps(tree).encode()
    if kind == "cut list" and isinstance(holder, list):
        del holder[key:]
        return f"{'/'.join(map(str, path[:-1]))} cut", json.dumps(tree).encode()
    del holder[key]
    return f"{'/'.join(map(str, path))} missing", json.dumps(tree).encode()


def _places(tree: Any, path: tuple = ()) -> Iterator[tuple[Any, Any, tuple]]:
    """Every (container, key, path)."""
    for key in tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield tree, key, (*path, key)
        yield from _places(tree[key], (*path, key))


# --- lines --------------------------------------------------------------------------------------------------------------


def _text(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    separator = "," if b"," in content.partition(b"\n")[0] else " "
    lines = content.decode().splitlines()
    at = rng.randrange(len(lines))
    kind = rng.choice(("word", "word", "word", "drop line", "double line", "drop word", "add word", "bytes", "other line ends", "swap"))
    words = lines[at].split(separator)
    if kind == "word":
        place, word = rng.randrange(len(words)), rng.choice(WORDS)
        words[place] = word
        lines[at], said = separator.join(words), f"line {at + 1}, word {place + 1} = {word[:12]!r}"
    elif kind == "drop line":
        del lines[at]
        said = f"line {at + 1} missing"
    elif kind == "double line":
        lines.insert(at, lines[at])
        said = f"line {at + 1} twice"
    elif kind in ("drop word", "add word"):
        lines[at] = separator.join(words[:-1] if kind == "drop word" else [*words, "7"])
        said = f"line {at + 1}, {kind}"
    elif kind == "swap" and len(words) > 1:
        lines[at], said = separator.join([words[1], words[0], *words[2:]]), f"line {at + 1}, words swapped"
    else:
        return kind, (content.replace(b"\n", b"\r\n") if kind == "other line ends" else b"\xff\xfe" + content)
    return said, "".join(f"{line}\n" for line in lines).encode()


# --- arrays -------------------------------------------------------------------------------------------------------------

ARRAYS: dict[str, Callable[[np.ndarray], Any]] = {
    "NaN": lambda a: _put(a, np.nan),
    "infinite": lambda a: _put(a, np.inf),
    "1e300": lambda a: _put(a, 1e300),
    "negative": lambda a: -a.astype(float) - 1,
    "all zero": np.zeros_like,
    "empty": lambda a: a[:0],
    "complex": lambda a: a * 1j,
    "text": lambda a: a.astype(str),
    "bool": lambda a: a.astype(bool),
    "one axis more": lambda a: a[None],
    "flat": np.ravel,
    "turned": lambda a: np.ascontiguousarray(a.T),
    "half": lambda a: a[: len(a) // 2],
    "times 1e30": lambda a: a.astype(float) * 1e30,
    "int64": lambda a: a.astype(np.int64),
    "channels": lambda a: np.stack([a] * 3, -1),
}


def _put(array: np.ndarray, value: float) -> np.ndarray:
    changed = array.astype(np.float64)
    if changed.size:
        changed.flat[changed.size // 2] = value
    return changed


def _npy(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    name, out = rng.choice(sorted(ARRAYS)), io.BytesIO()
    np.save(out, ARRAYS[name](np.load(io.BytesIO(content))))
    return name, out.getvalue()


def _npz(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    with np.load(io.BytesIO(content)) as archive:
        arrays = dict(archive)
    key, name, out = rng.choice(sorted(arrays)), rng.choice([*sorted(ARRAYS), "missing", "one more"]), io.BytesIO()
    if name == "missing":
        del arrays[key]
    elif name == "one more":
        arrays["another"] = arrays[key]
    else:
        arrays[key] = ARRAYS[name](arrays[key])
    np.savez(out, **arrays)
    return f"{key} {name}", out.getvalue()


def _mat(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    found = {name: value for name, value in loadmat(io.BytesIO(content)).items() if not name.startswith("__")}
    leaves: list[tuple[Any, Any]] = []
    for name in found:
        _mat_leaves(found, name, leaves)
    holder, key = rng.choice(leaves)
    name, out = rng.choice([*sorted(ARRAYS), "missing"]), io.BytesIO()
    value = np.asarray(holder[key])
    if name == "missing":
        holder[key] = np.zeros((0, 0))
    elif value.dtype.kind in "iuf":
        holder[key] = ARRAYS[name](value)
    else:
        name, holder[key] = "number for text", np.array([[7.0]])
    savemat(out, found)
    return f"{key if isinstance(key, str) else 'element'} {name}", out.getvalue()


def _mat_leaves(holder: Any, key: Any, leaves: list) -> None:
    value = holder[key]
    if isinstance(value, np.ndarray) and value.dtype.names:
        for element in value.ravel():
            for name in value.dtype.names:
                _mat_leaves(element, name, leaves)
    elif isinstance(value, np.ndarray) and value.dtype == object:
        for index in np.ndindex(value.shape):
            _mat_leaves(value, index, leaves)
    else:
        leaves.append((holder, key))


# --- weights, and lists of dictionaries ---------------------------------------------------------------------------------

TENSORS: dict[str, Callable[[torch.Tensor], Any]] = {
    "NaN": lambda t: torch.full_like(t, torch.nan) if t.is_floating_point() else t.float() * torch.nan,
    "zero": torch.zeros_like,
    "times 1e30": lambda t: t.double() * 1e30,
    "0 to 255": lambda t: (t.double() + 3) * 40,
    "integers": lambda t: t.long(),
    "complex": lambda t: t * 1j,
    "flat": lambda t: t.flatten(),
    "half of it": lambda t: t[: len(t) // 2] if t.ndim else t,
    "text": lambda t: "text",
    "none": lambda t: None,
    "half precision": lambda t: t.half(),
    "sparse": lambda t: t.to_sparse(),
    "empty": lambda t: t.flatten()[:0],
}


def _changed(holder: Any, key: Any, rng: random.Random, *, tensors_only: bool = False) -> str:
    """One entry of a dictionary changed; its name and what was done."""
    kind = rng.choice(("missing", "doubled", *TENSORS))
    if kind == "missing":
        del holder[key]
    elif kind == "doubled":
        holder[f"module.{key}"] = holder[key]
    elif isinstance(holder[key], torch.Tensor):
        made = TENSORS[kind](holder[key])
        if tensors_only and not (isinstance(made, torch.Tensor) and made.layout == torch.strided):
            made, kind = torch.zeros(3), "another shape"
        holder[key] = made
    else:
        holder[key] = rng.choice(LEAVES[:12])
    return f"{key} {kind}"


def _safetensors(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    state = load_safetensors(content)
    said = _changed(state, rng.choice(sorted(state)), rng, tensors_only=True)
    return said, save_safetensors({name: value.contiguous().clone() for name, value in state.items()})


def _torch(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    found = torch.load(io.BytesIO(content), weights_only=True)
    if isinstance(found, list):
        entry = rng.choice(found)
        said = _changed(entry, rng.choice(sorted(entry)), rng) if rng.random() < 0.8 else "one entry twice"
        if said == "one entry twice":
            found.append(entry)
    else:
        state = found["state_dict"]
        said = _changed(state, rng.choice(sorted(state)), rng)
    out = io.BytesIO()
    torch.save(found, out)
    return said, out.getvalue()


FORMATS: tuple[tuple[tuple[str, ...], Callable[[bytes, random.Random], tuple[str, bytes]]], ...] = (
    ((".json", ".ipynb"), _json),
    ((".txt", ".csv", "o1"), _text),
    ((".npy",), _npy),
    ((".npz",), _npz),
    ((".mat",), _mat),
    ((".safetensors",), _safetensors),
    ((".pth.tar",), _torch),
)
