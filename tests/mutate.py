"""Seeded mutations of a valid file's bytes, and what a reader may make of them. For campaigns over any format.

    for mutation, content in mutations(valid_bytes, seed=0, count=100): ...
    outcome(lambda: read(path), path)     "read", "refused", or what went wrong

A reader must do one of two things with a damaged file: read it all the same, or refuse it in one line that names the file.
Everything else has a name: "traceback" for an exception that is no ValueError or OSError, "no name" and "lines" for a message.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path


def mutations(content: bytes, *, seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """`count` pairs of a mutation's name and the changed bytes; the same seed gives the same ones."""
    rng = random.Random(seed)
    for _ in range(count):
        name = rng.choice(sorted(MUTATIONS))
        yield name, MUTATIONS[name](content, rng)


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def _flip(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 4, 32))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _head(content: bytes, rng: random.Random) -> bytes:
    """Bytes of the first 64, where headers tell sizes and types."""
    changed = bytearray(content)
    for _ in range(3):
        changed[rng.randrange(min(64, len(changed)))] = rng.choice((0, 1, 127, 128, 255))
    return bytes(changed)


def _drop(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + content[start + rng.randrange(1, 64):]


def _repeat(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    part = content[start:start + rng.randrange(1, 64)]
    return content[:start] + part + content[start:]


def _noise(content: bytes, rng: random.Random) -> bytes:
    return rng.randbytes(len(content))


MUTATIONS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "cut": _cut, "flip": _flip, "head": _head, "drop": _drop, "repeat": _repeat, "noise": _noise, "empty": lambda content, rng: b"",
    "tail": lambda content, rng: content + rng.randbytes(40),
}


def outcome(read: Callable[[], object], path: Path) -> str:
    """What reading the file at `path` comes to; see the module's docstring."""
    try:
        read()
    except (ValueError, OSError) as error:
        text = str(error)
        return "lines" if "\n" in text else "refused" if str(path) in text else f"no name: {text[:80]}"
    except Exception as error:
        return f"traceback: {type(error).__name__}: {error}"
    return "read"
