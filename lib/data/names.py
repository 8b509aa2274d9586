"""Columns of half a million entries in one block of memory each: names, numbers, and the fields of JSON objects."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray


class Names(Sequence[str]):
    """Texts one behind the other, each made when asked for.

    A list of as many str takes twice the memory; and a worker process that only reads it copies all of it, page by page, as Python counts
    references within the objects. Here there are none.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._text, self._ends = bytearray(), array("q")
        for name in names:
            self.append(name)

    def append(self, name: str) -> None:
        self._text += name.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._text))

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        start, end = self._span(range(len(self))[index])
        return self._text[start:end].decode("utf-8", "surrogatepass")

    def _span(self, index: int) -> tuple[int, int]:
        return self._ends[index - 1] if index else 0, self._ends[index]

    def __iter__(self) -> Iterator[str]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: Any) -> bool:
        if isinstance(other, Names):
            return self._ends == other._ends and self._text == other._text
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # it can grow

    def take(self, indices: Iterable[int]) -> Names:
        """Those at `indices`, in their order."""
        taken = Names()
        for index in indices:
            start, end = self._span(int(index))
            taken._text += self._text[start:end]
            taken._ends.append(len(taken._text))
        return taken

    def hashes(self) -> NDArray[np.int64]:
        """(N,) hash of each: equal for equal names, and all but never for others."""
        return np.fromiter(map(hash, self), np.int64, len(self))

    def twice(self) -> str | None:
        """A name that is there more than once, if there is one."""
        hashes = np.sort(self.hashes())
        if not (hashes[1:] == hashes[:-1]).any():
            return None
        seen: set[str] = set()
        return next((name for name in self if name in seen or seen.add(name)), None)


class Columns:
    """Arrays that grow by a part at a time: to join the parts at the end would need their memory twice."""

    def __init__(self) -> None:
        self._blocks: dict[str, tuple[bytearray, np.dtype, tuple[int, ...]]] = {}

    def add(self, part: dict[str, NDArray[Any]]) -> None:
        """part: (n, ...) of each column, of the types and shapes of the parts before."""
        for name, values in part.items():
            block, kind, shape = self._blocks.setdefault(name, (bytearray(), values.dtype, values.shape[1:]))
            assert (values.dtype, values.shape[1:]) == (kind, shape), name
            block += values.tobytes()

    def whole(self) -> dict[str, NDArray[Any]]:
        """(N, ...) of each column; nothing can be added any more."""
        return {name: np.frombuffer(block, kind).reshape(-1, *shape) for name, (block, kind, shape) in self._blocks.items()}


class Rows:
    """JSON objects as columns, read one by one: `take` gives itself in the place of each, and leaves one that does not fit as it is.

    keys: of whole numbers; text: of a name, if there is one. `columns[key]` (N,) int64, `names`.
    """

    def __init__(self, *keys: str, text: str | None = None) -> None:
        self.keys, self.text, self.names = keys, text, Names()
        self._numbers = {key: array("q") for key in keys}

    def take(self, entry: dict[str, Any]) -> Any:
        numbers = [entry.get(key) for key in self.keys]
        if not all(type(number) is int and -(2**63) <= number < 2**63 for number in numbers):
            return entry
        if self.text is not None and not isinstance(entry.get(self.text), str):
            return entry
        for column, number in zip(self._numbers.values(), numbers, strict=True):
            column.append(number)
        if self.text is not None:
            self.names.append(entry[self.text])
        return self

    def unfit(self, entries: list[Any]) -> Any:
        """The first of a list's entries that is none of these rows; None where all of them are, and there are no others elsewhere."""
        odd = next((entry for entry in entries if entry is not self), None)
        return {} if odd is None and len(entries) != len(self) else odd

    def __len__(self) -> int:
        return len(self._numbers[self.keys[0]])

    def column(self, key: str) -> NDArray[np.int64]:
        return np.frombuffer(self._numbers[key], dtype=np.int64) if len(self) else np.zeros(0, np.int64)
