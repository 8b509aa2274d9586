"""The other end of `lib.files.matlab`: reads .mat files in a process of its own. A script that imports nothing of lib.

A request is a line of JSON on standard input: `path`, `variables` (names, or null for all), `fields` (of structs, or null). The answer
on standard output is a byte (0: good, 2: a package is missing), the length in 8 bytes, and as many bytes: an error's message, or the
length of a JSON tree in 8 bytes, the tree, and the numbers that its leaves (type, shape, offset) point into. (An .npz of the 30,000 arrays
of OSIE's cells would take 6 s in place of .3 s.)
"""

import json
import os
import struct
import sys

import numpy as np

MEMORY = 3 << 30  # bytes that this process may map: a damaged file may claim any size


def pack(content: dict, fields: list | None) -> bytes:
    """The variables as a tree and a blob; see the module's docstring."""
    blob = bytearray()
    tree = json.dumps({name: _node(value, blob, fields) for name, value in content.items() if not name.startswith("__")}).encode()
    return struct.pack(">Q", len(tree)) + tree + blob


def _node(value, blob: bytearray, fields: list | None) -> dict:
    """A number, text, cell or struct of MATLAB; its numbers go to the end of `blob`."""
    value = np.asarray(value)
    if value.dtype.names is not None:
        names = [name for name in value.dtype.names if fields is None or name in fields]
        return {"shape": value.shape, "fields": names, "items": [[_node(item[name], blob, fields) for name in names] for item in value.ravel()]}
    if value.dtype == object:
        if value.shape == ():
            raise TypeError(f"holds a MATLAB object ({type(value.item()).__name__})")
        return {"shape": value.shape, "items": [_node(item, blob, fields) for item in value.ravel()]}
    blob += bytes(-len(blob) % 8)  # aligned
    node = {"type": value.dtype.str, "shape": value.shape, "at": len(blob)}
    blob += value.tobytes()
    return node


def read(path: str, variables: list | None) -> dict:
    if is_hdf5(path):
        return _read_hdf5(path, variables)
    from scipy.io import loadmat

    with open(path, "rb") as file:  # given a name, loadmat may look for another file
        return loadmat(file, variable_names=variables)


def is_hdf5(path: str) -> bool:
    """Whether it is of MATLAB's format 7.3, HDF5 behind 512 bytes of header or none."""
    with open(path, "rb") as file:
        head = file.read(520)
    return b"\x89HDF\r\n\x1a\n" in (head[:8], head[512:520])


def _read_hdf5(path: str, variables: list | None) -> dict:
    """The numeric arrays of a file of format 7.3; cells and structs are left out."""
    try:
        import h5py
    except ImportError:
        raise ImportError("MATLAB's format 7.3 (HDF5) needs the package h5py: `pip install h5py`, "
                          "or in MATLAB save(FILE, '-v7') writes a format that is read without it") from None
    with h5py.File(path, "r") as file:
        names = [name for name, value in file.items() if isinstance(value, h5py.Dataset) and value.dtype.kind in "biuf"
                 and not name.startswith("#") and (variables is None or name in variables)]
        return {name: file[name][()].T for name in names}  # MATLAB's first axis is HDF5's last


def main() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever a library prints must not come between
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    except (ImportError, ValueError, OSError):
        pass  # not on this system
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            status, answer = 0, pack(read(request["path"], request["variables"]), request["fields"])
        except Exception as error:  # whatever a damaged file leads the readers to
            known = isinstance(error, ImportError)
            status, answer = (2 if known else 1), (str(error) if known else f"{type(error).__name__}: {error}").encode(errors="replace")
        answers.write(struct.pack(">BQ", status, len(answer)) + answer)
        answers.flush()


if __name__ == "__main__":
    main()
