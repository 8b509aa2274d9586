"""One file from a web server, whole or not at all: tried again, gone on with where it broke off, and checked.

A file goes to its name with .part behind it and gets its real name once it is whole: what has its real name is whole. How that is
known: by its published checksum; where none is published, by the length that the server states. A part is gone on with, also by
a later call, where the result will be checked against a checksum, or where the server said by a tag (ETag, Last-Modified, kept
in .part.tag) which version the part is of; else it is begun again.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lib.data.files import one_line

CHUNK = 2**16  # bytes
WORTH = 2**24  # bytes: a try that brought so many does not count against the file, or 186 GB would need luck
Progress = Callable[[int, int], object]  # bytes that are there, bytes in all


@dataclass(frozen=True)
class Patience:
    """How often a file is tried, the first wait in seconds (it doubles), and when a silent server is given up."""

    tries: int = 4
    wait: float = 1.0
    timeout: float = 30.0


@dataclass(frozen=True)
class Checksum:
    """As published: kind is "md5" or "sha256"."""

    kind: str
    value: str

    def fits(self, path: Path) -> bool:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.new(self.kind, usedforsecurity=False)).hexdigest() == self.value

    def __str__(self) -> str:
        return {"md5": "MD5", "sha256": "SHA-256"}[self.kind]


PATIENCE = Patience()


class NoRoom(OSError):
    """The disk has less room than a file needs; one line."""


class _Interrupted(Exception):
    """Worth another try: the network, not the file, is to blame."""


class _Piece(NamedTuple):
    """Some bytes of an answer: whether the server began where it was asked to and not at 0, how many there are in all, the version."""

    continues: bool
    total: int | None
    tag: str | None
    data: bytes


def download(
    url: str, path: Path, *, checksum: Checksum | None = None, patience: Patience = PATIENCE, page: str = "data/README.md",
    by_hand: str | None = None, progress: Progress | None = None, room: Callable[[int], object] | None = None,
) -> None:
    """`url` as the file `path`, unless it is there: as published, or, where no checksum is, under its name.

    page, by_hand: for messages, where the address is explained and what else one can do. room(bytes) is called when the server has
    said how many bytes are still to come, and may raise NoRoom. ConnectionError where it cannot be had, ValueError where it is not the
    published file, OSError of the disk; one line. What has come stays for the next call.
    """
    if path.is_file() and (checksum is None or checksum.fits(path)):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part, tries, reason = path.with_name(f"{path.name}.part"), 0, ""
    while tries < patience.tries:
        if tries:
            time.sleep(patience.wait * 2 ** (tries - 1))
        before = _resumable(part, checksum)
        try:
            if not (before and checksum and checksum.fits(part)):  # else only the renaming was missed
                _receive_rest(url, part, before, patience.timeout, page, progress, room)
        except _Interrupted as error:
            reason = str(error)
            tries += _size(part) - before < WORTH
            continue
        if checksum is None or checksum.fits(part):
            os.replace(part, path)
            _tag(part).unlink(missing_ok=True)
            return
        part.unlink()
        if not before:
            raise ValueError(f"{url}: {checksum} differs from the published one, the file was not kept; try again, or "
                             f"see {page} for the right address")
        reason, tries = "the rest did not fit the part that was there", tries + 1
    raise ConnectionError(f"{url}: not fetched in {patience.tries} tries ({reason}); check the network and run the same command again, or "
                          f"{by_hand or f'see {page}'}")


def _tag(part: Path) -> Path:
    return part.with_name(f"{part.name}.tag")


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _resumable(part: Path, checksum: Checksum | None) -> int:
    """How many bytes of the part can be kept."""
    return _size(part) if checksum is not None or _tag(part).is_file() else 0


def _receive_rest(url: str, part: Path, start: int, timeout: float, page: str, progress: Progress | None,
                  room: Callable[[int], object] | None) -> None:
    """The rest of `url` into `part`, or all of it where the server sends all."""
    try:
        tag = _tag(part).read_text(encoding="utf-8") if start and _tag(part).is_file() else None
        with open(part, "ab") as file:
            if not start:
                file.truncate(0)
            for number, piece in enumerate(_receive(url, start, timeout, tag, page)):
                if number == 0:
                    start = _begin(file, part, piece, start, room)
                file.write(piece.data)
                start += len(piece.data)
                if progress is not None and piece.total is not None:
                    progress(start, piece.total)
    except (ConnectionError, NoRoom):
        raise
    except OSError as error:  # of the disk: those of the network do not get here
        raise OSError(f"{part}: cannot be written ({one_line(error)}); make room or give another folder, then run the same command again") from None


def _begin(file, part: Path, piece: _Piece, start: int, room: Callable[[int], object] | None) -> int:
    """Ready the part for the first piece: where the next byte belongs."""
    if not piece.continues:
        file.truncate(0)
        start = 0
    if piece.tag:
        _tag(part).write_text(piece.tag, encoding="utf-8")
    elif not piece.continues:
        _tag(part).unlink(missing_ok=True)
    if room is not None and piece.total is not None:
        room(piece.total - start)
    return start


def _receive(url: str, start: int, timeout: float, tag: str | None, page: str) -> Iterator[_Piece]:
    """`url` from byte `start` on, or from 0 where the server cannot or the version is another.

    _Interrupted if another try may help, ConnectionError if it will not.
    """
    headers = ({"Range": f"bytes={start}-"} | ({"If-Range": tag} if tag else {})) if start else {}
    received, length = 0, None
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout) as response:
            continues = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
            length = _whole_number(response.headers.get("Content-Length"))
            total = None if length is None else length + (start if continues else 0)
            while chunk := response.read(CHUNK):
                received += len(chunk)
                yield _Piece(continues, total, _version(response.headers), chunk)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # there is no such byte: the part was of another file
            yield from _receive(url, 0, timeout, None, page)
            return
        if error.code < 500 and error.code not in (408, 429):
            raise ConnectionError(f"{url}: the server answers {error.code} {error.reason}; the file may have moved, see {page}") from None
        raise _Interrupted(f"{error.code} {error.reason}") from None
    except (http.client.HTTPException, OSError) as error:  # URLError and time-outs are OSErrors; so is whatever TLS may raise
        raise _Interrupted(one_line(getattr(error, "reason", None) or error) or type(error).__name__) from None
    if length is not None and received < length:
        raise _Interrupted(f"the connection broke off after {received:,} of {length:,} bytes")


def _whole_number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdecimal() else None


def _version(headers: http.client.HTTPMessage) -> str | None:
    """What If-Range may name: a strong ETag, or the time of the last change."""
    tag = headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")
