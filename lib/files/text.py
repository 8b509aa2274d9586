"""JSON and the wording of errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

UNPACK = "unpack the archive that it comes from again"


def one_line(error: BaseException) -> str:
    """An error's message without its line breaks; its type's name where it has no message."""
    return " ".join(str(error).split()) or type(error).__name__


def read_json(path: Path, *, each: Callable[[dict[str, Any]], Any] = dict) -> Any:
    """The content of a JSON file; a missing or broken one, or one that has a key twice, is a one-line error that names it.

    each: what stands in the place of every object, given when it is read; large files need not be held as objects then.
    """
    try:
        content = Path(path).read_bytes()
        text = content.decode(json.detect_encoding(content), "surrogatepass")
        del content
        return json.loads(text, object_pairs_hook=once if each is dict else lambda pairs: each(once(pairs)))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: missing; {UNPACK}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not readable as JSON ({one_line(error)}); {UNPACK}") from None


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of JSON that `pairs` are; ValueError, a few words, for one with a key twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
        raise ValueError(f"it has the key {twice[:40]!r} twice")
    return found
