"""Unpacking an archive from the web: nothing outside the folder, no links, no bomb, and one line for whatever is wrong.

Only regular files and folders are made, each from a checked name in a folder that nobody else writes to, so no link can lead out
of it. What an archive of a Mac or of a version control system has in it besides (JUNK) is left out.
"""

from __future__ import annotations

import errno
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from lib.data.files import one_line

JUNK = ("__MACOSX", ".svn", ".git", ".DS_Store")
RATIO, LEAST = 50, 2**26  # an archive may grow by that, and to so many bytes in any case; text of numbers grows tenfold
BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError)
Progress = Callable[[int, int], object]  # bytes of the archive that are done, bytes in all


class _Member(NamedTuple):
    name: str
    is_folder: bool
    is_file: bool
    size: int
    open: Callable[[], IO[bytes] | None]
    position: Callable[[], int]  # of the archive, once the member is done


def unpack(archive: Path, folder: Path, *, progress: Progress | None = None) -> None:
    """The files of a .zip, .tar, .tgz or .tar.gz into `folder`, which is made anew and must be nobody else's.

    ValueError, one line, for an archive that is broken, too large when unpacked, or holds paths outside, links or devices. OSError of
    the disk. Whatever was unpacked until then is removed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    total = archive.stat().st_size
    limit, made = max(LEAST, RATIO * total), 0
    try:
        for member in _members(archive):
            path = _inside(archive, member)
            if path is None:
                continue
            made += member.size
            if made > limit:
                raise ValueError(f"{archive}: holds more than {limit:,} bytes, {RATIO} times its own size; it is not the published "
                                 "archive, fetch that one")
            _write(member, folder / path)
            if progress is not None:
                progress(min(member.position(), total), total)
    except BROKEN as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise ValueError(f"{archive}: cannot be unpacked ({type(error).__name__}: {one_line(error)}); fetch it again") from None
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        if error.errno == errno.ENOSPC:
            raise OSError(f"{folder.parent}: no room to unpack {archive.name}; make room, then run the same command again") from None
        raise ValueError(f"{archive}: cannot be unpacked ({one_line(error)}); fetch it again") from None
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _members(archive: Path) -> Iterator[_Member]:
    if zipfile.is_zipfile(archive):
        return _zipped(archive)
    return _tarred(archive)


def _zipped(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as opened:
        done = 0
        for info in opened.infolist():
            done += info.compress_size
            kind = stat.S_IFMT(info.external_attr >> 16)
            regular = kind in (0, stat.S_IFREG) and not info.is_dir()
            yield _Member(info.filename, info.is_dir(), regular, info.file_size, lambda info=info: opened.open(info), lambda done=done: done)


def _tarred(archive: Path) -> Iterator[_Member]:
    with open(archive, "rb") as raw, tarfile.open(fileobj=raw, mode="r:*") as opened:
        for info in opened:
            yield _Member(info.name, info.isdir(), info.isreg(), info.size, lambda info=info: opened.extractfile(info), raw.tell)
            opened.members.clear()  # half a million of them are remembered otherwise


def _inside(archive: Path, member: _Member) -> PurePosixPath | None:
    """Where a member belongs, below the folder; None for what is left out. ValueError for what no published archive holds."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or not member.name.isprintable() or ":" in (path.parts or ("",))[0]:
        raise ValueError(f"{archive}: holds the path {member.name[:80]!r}, which is outside of it or no path; it is not the "
                         "published archive, fetch that one")
    if not (member.is_file or member.is_folder):
        raise ValueError(f"{archive}: {member.name[:80]!r} is a link or a device; it is not the published archive, fetch that one")
    return None if any(part in JUNK for part in path.parts) or not path.parts else path


def _write(member: _Member, path: Path) -> None:
    if member.is_folder:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    source = member.open()
    if source is None:
        raise tarfile.TarError(f"{member.name} has no content")
    with source, open(path, "wb") as file:
        shutil.copyfileobj(source, file, 2**20)
    if os.path.getsize(path) != member.size:
        raise EOFError(f"{member.name} is not as long as it should be")
