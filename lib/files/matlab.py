"""MATLAB's .mat files, read in a child process: a damaged one that ends the library that reads it costs one line, not the batch.

The child (`matlab_child`) starts with the first file, reads one after the other, and hands plain arrays back; after a crash the next
file gets a new one. Surprising: SciPy's reader is compiled code, which some damaged files end as a whole process, so that no `except`
in the same process can help.

Formats 4 to 7 are read by SciPy. Format 7.3 is HDF5: numbers in it are read where the package h5py is installed, cells and structs
are not.
"""

from __future__ import annotations

import atexit
import json
import math
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.files.text import UNPACK, one_line

COMMAND = [sys.executable, "-P", str(Path(__file__).with_name("matlab_child.py"))]
TIMEOUT = 60.0  # seconds a file; the largest that is published takes less than one
_HEAD = struct.Struct(">BQ")  # status, length


def read_mat(path: str | Path, variables: Sequence[str] | None = None, *, fields: Sequence[str] | None = None,
             timeout: float = TIMEOUT) -> dict[str, NDArray[Any]]:
    """{variable: array} of a .mat file, as `scipy.io.loadmat` gives them: cells are object arrays, structs structured ones.

    variables, fields: names to read of the file and of every struct, all by default. FileNotFoundError or ValueError, one line, for a
    file that is missing, damaged, of format 7.3 while h5py is not installed, or that crashes its reader.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: missing; {UNPACK}")
    request = {"variables": variables and list(variables), "fields": fields and list(fields)}
    return _unpacked(_ask(path, request, timeout), path)


# -------------------------------------------------------------------------------------------------------- the child


class _Ended(Exception):
    """The child ended or did not answer in time; the message says how."""


class _Child:
    """A process that reads .mat files, one at a time."""

    def __init__(self) -> None:
        self.pid, self.command = os.getpid(), COMMAND  # a fork of this process must not share its pipes
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)

    @property
    def usable(self) -> bool:
        return self.pid == os.getpid() and self.command is COMMAND and self.process.poll() is None

    def ask(self, request: dict, timeout: float) -> tuple[int, bytes]:
        """Status and content of the answer."""
        until = time.monotonic() + timeout
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            raise _Ended(self._how()) from None
        status, length = _HEAD.unpack(self._take(_HEAD.size, until))
        return status, self._take(length, until)

    def _take(self, count: int, until: float) -> bytes:
        taken = bytearray()
        descriptor = self.process.stdout.fileno()
        while len(taken) < count:
            if not select.select([descriptor], [], [], max(0.0, until - time.monotonic()))[0]:
                self.close()
                raise _Ended("takes too long to read")
            if not (part := os.read(descriptor, min(count - len(taken), 1 << 20))):
                raise _Ended(self._how())
            taken += part
        return bytes(taken)

    def _how(self) -> str:
        code = self.process.wait()
        return f"ends the process that reads it ({signal.Signals(-code).name if code < 0 else f'exit status {code}'})"

    def close(self) -> None:
        if self.pid == os.getpid():
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()


_LOCK = threading.Lock()
_child: _Child | None = None


def _ask(path: Path, request: dict, timeout: float) -> bytes:
    """The child's answer about a file; it is started, or started again, where there is none to ask."""
    global _child
    with _LOCK:
        if _child is None or not _child.usable:
            _close()
            _child = _Child()
        try:
            status, answer = _child.ask({"path": str(path.absolute()), **request}, timeout)
        except _Ended as error:
            _close()
            raise ValueError(f"{path}: {error}: it is damaged; {UNPACK}") from None
    if status == 2:
        raise ValueError(f"{path}: {answer.decode(errors='replace')}")
    if status:
        raise ValueError(f"{path}: not readable as a .mat file ({' '.join(answer.decode(errors='replace').split())[:200]}); {UNPACK}")
    return answer


def _close() -> None:
    global _child
    if _child is not None:
        _child.close()
    _child = None


def _after_fork() -> None:
    """A fork has its own lock and starts its own child; the parent's is left to the parent."""
    global _LOCK, _child
    _LOCK, _child = threading.Lock(), None


atexit.register(_close)
os.register_at_fork(after_in_child=_after_fork)


# --------------------------------------------------------------------------------------------------------- the arrays


def _unpacked(answer: bytes, path: Path) -> dict[str, NDArray[Any]]:
    """What `matlab_child.pack` put together."""
    try:
        start = 8 + int.from_bytes(answer[:8], "big")
        return {name: _value(node, answer, start) for name, node in json.loads(answer[8:start]).items()}
    except Exception as error:  # a child that a damaged file led astray
        raise ValueError(f"{path}: not readable as a .mat file ({one_line(error)[:200]}); {UNPACK}") from None


def _value(node: dict, answer: bytes, start: int) -> NDArray[Any]:
    shape = tuple(node["shape"])
    if "type" in node:
        dtype, count = np.dtype(node["type"]), math.prod(shape)
        if dtype.itemsize == 0 or count == 0:
            return np.zeros(shape, dtype)
        return np.frombuffer(answer, dtype, count, start + node["at"]).reshape(shape).copy()
    items, fields = node["items"], node.get("fields")
    made = np.empty(len(items), dtype=object if fields is None else [(name, object) for name in fields])
    for place, item in enumerate(items):
        made[place] = _value(item, answer, start) if fields is None else tuple(_value(part, answer, start) for part in item)
    return made.reshape(shape)
