"""Files that are never half-written: the repository's root, atomic writes, locks, and folders that are built once.

A folder that is built once carries `complete.json`: the version of the code that made it, and size and checksum of each of its files. One that
another version made, or whose files are not as they were left, is built anew and said so in one line; nothing else is ever removed.

The checksum is CRC-32 of the whole file, read when the folder is opened. It is there for accidents, of which it misses none that changes up to
32 bits in a row, and one in four thousand million of the others. It costs a third of a second a gigabyte, once for each process that opens the
folder, and every epoch reads all of it anyway.
"""

import errno
import json
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # imported where they are used: a page of help needs neither
    import numpy as np

ROOT = Path(__file__).resolve().parents[2]
COMPLETE = "complete.json"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
CHUNK = 2**20  # bytes that are read at a time


def resolve(path: str | Path) -> Path:
    """A relative path counts from the repository's root, wherever the notebook runs."""
    path = Path(path).expanduser()
    return path if path.is_absolute() else ROOT / path


def from_here(path: str | Path) -> str:
    """A folder or file as a command line names it, counted from where the command is given; one in the repository as `resolve` takes it."""
    there = Path(os.path.abspath(Path(path).expanduser()))
    return str(there.relative_to(ROOT) if there.is_relative_to(ROOT) else there)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Whatever the disk refuses within, no room or no permission, as OSError of one line that names `path` and says what to do."""
    try:
        yield
    except Exception as error:
        number = _number(error)
        if number in FULL:
            raise OSError(f"{path}: cannot be written ({os.strerror(number)}); make room, then give the same command again") from None
        if number in DENIED:
            raise OSError(f"{path}: cannot be written ({os.strerror(number)}); give another folder, or get leave to write there") from None
        raise


def _number(error: Exception) -> int | None:
    """The system's number of an error; libraries hide it: safetensors in words, NumPy and Pillow say only that less was written."""
    if isinstance(error, OSError) and error.errno is None and re.search(r"requested and \d+ written|encoder error", str(error)):
        return errno.ENOSPC
    said = re.search(r"os error (\d+)", str(error))
    return error.errno if isinstance(error, OSError) else int(said[1]) if said else None


def replace_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write(temporary path)`, then rename: `path` is never half-written, whatever kills the process. OSError as in `writing`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(temporary)
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, words: str) -> Path:
    """A file of text (UTF-8), written whole or not at all. OSError as in `writing`."""
    replace_atomically(path, lambda temporary: temporary.write_text(words, encoding="utf-8"))
    return path


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """One process at a time is at `path`: True for it; the others wait, or get False if they are not to `wait`.

    A process that dies lets go. The lock is a file in `.locks` beside `path`; it stays there, empty.
    """
    import filelock

    folder = path.parent / ".locks"
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{path.name}.lock").touch()
    try:
        with filelock.FileLock(folder / f"{path.name}.lock", timeout=-1 if wait else 0):
            yield True
    except filelock.Timeout:
        yield False


def writable(folder: Path) -> Path:
    """`folder`, made if need be; OSError, one line, where nothing can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise OSError(f"{folder}: nothing can be written there ({error.strerror}); name another folder with --results") from None
    return folder


def for_folder(folder: Path, *, named: str = "--out") -> Path:
    """`folder`, there or not yet; OSError, one line, where it is a file or could not be made. Nothing is made: that is for the end of the work."""
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    if not there.is_dir():
        raise OSError(f"{there}: is a file, where a folder is wanted; give a folder as {named}")
    if not os.access(there, os.W_OK | os.X_OK):
        raise OSError(f"{there}: nothing can be written there; give another folder as {named}, or get leave to write there")
    return folder


def for_file(path: Path, *, named: str = "--out") -> Path:
    """`path`, there or not yet; OSError, one line, where it is a folder or its folder could not be made. Nothing is made."""
    if path.is_dir():
        raise OSError(f"{path}: is a folder, where a file is wanted; give a file as {named}")
    for_folder(path.parent, named=named)
    return path


def apart(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """ValueError, one line, where what is to be written is one of the files that are read."""
    read = {path.resolve() for path in inputs}
    if over := next((path for path in outputs if path.resolve() in read), None):
        raise ValueError(f"{over}: would be written over, and is itself given as input; give another folder as --out")


# --- built once ---------------------------------------------------------------------------------------------------------


def built(folder: Path, fill: Callable[[Path], Any], *, version: Any, needs: int = 0) -> Path:
    """`folder`, found complete or filled now by `fill(partial folder)`, and renamed when it is done; returns it.

    version: of the code that fills it and whatever else its content depends on, as JSON. needs: bytes; OSError, one line, where fewer
    are free. Other processes wait until it is there.
    """
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    version = json.loads(json.dumps(version))
    with locked(folder):
        if folder.exists():
            problem = unlike(folder, version)
            if not problem:
                return folder
            print(f"{folder}: {problem}; it is made again", flush=True)
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
        free = shutil.disk_usage(folder.parent).free
        if free < needs:
            raise OSError(f"{folder.parent}: {needs / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free; make room or name another folder")
        try:
            with writing(folder):
                partial.mkdir()
                fill(partial)
                content = {"version": version, "checksums": files_of(partial)}
                (partial / COMPLETE).write_text(json.dumps(content, indent=1))
                shutil.rmtree(folder, ignore_errors=True)
                partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def files_of(folder: Path) -> dict[str, list]:
    """[bytes, checksum] of every file below `folder`, but for what says that it is complete."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != COMPLETE]
    return {path.relative_to(folder).as_posix(): [path.stat().st_size, checksum(path)] for path in paths}


def checksum(path: Path) -> str:
    """8 hex digits, CRC-32 of the file's bytes: for accidents, which it finds at the speed of the disk, and for nothing else."""
    found = 0
    with open(path, "rb", buffering=0) as file:
        while part := file.read(CHUNK):
            found = zlib.crc32(part, found)
    return f"{found:08x}"


def unlike(folder: Path, version: Any) -> str:
    """Why a folder that lies there is not what `built` would make, in words; empty if it is."""
    try:
        content = json.loads((folder / COMPLETE).read_text())
        stored, files = content["version"], dict(content["checksums"])
    except FileNotFoundError:
        return "is not complete"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return f"its {COMPLETE} is damaged, or of an older form"
    if stored != version:
        return "another version made it"
    found = files_of(folder)
    changed = sorted(name for name in files.keys() | found.keys() if files.get(name) != found.get(name))
    return f"{', '.join(changed[:3])} changed since it was made" if changed else ""


Allocate = Callable[[str, tuple[int, ...], Any], "np.ndarray"]  # name, shape, type -> an array to fill


def arrays(folder: Path | None, fill: Callable[[Allocate], None], *, version: Any, needs: int = 0) -> dict[str, "np.ndarray"]:
    """The arrays that `fill` asks for by name, shape and type, and fills: memory-mapped files in `folder`, or None: in memory."""
    import numpy as np

    made: dict[str, np.ndarray] = {}
    if folder is None:
        def in_memory(name: str, shape: tuple[int, ...], kind: Any) -> np.ndarray:
            return made.setdefault(name, np.zeros(shape, kind))

        fill(in_memory)
        return made

    def on_disk(partial: Path) -> None:
        def allocate(name: str, shape: tuple[int, ...], kind: Any) -> np.ndarray:
            size = int(np.prod(shape)) * np.dtype(kind).itemsize
            if size == 0:  # a memory map must hold something
                np.save(partial / f"{name}.npy", np.zeros(shape, kind))
                return np.zeros(shape, kind)
            if (free := shutil.disk_usage(partial).free) < size:
                raise OSError(f"{folder.parent}: {size / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free; make room or name another folder")
            made[name] = new_memmap(partial / f"{name}.npy", kind, shape)
            return made[name]

        fill(allocate)
        for array in made.values():
            array.flush()

    built(folder, on_disk, version=version, needs=needs)
    return {path.stem: np.load(path, mmap_mode="c", allow_pickle=False) for path in sorted(folder.glob("*.npy"))}


def new_memmap(path: Path, kind: Any, shape: tuple[int, ...]) -> "np.ndarray":
    """A new .npy of zeros, mapped to be filled, its room on the disk taken: a full disk would end the process while it is filled."""
    import numpy as np

    array = np.lib.format.open_memmap(path, "w+", kind, shape)
    if hasattr(os, "posix_fallocate"):
        with open(path, "rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array
