"""Downloads a data set that is open to everybody: `python -m lib fetch osie DIR`.

Each file goes to a name of its own ending in .part, is checked against its published SHA-256 and only then gets its real name: what
has its real name is whole. A file that is there already is not fetched again, and a broken-off one goes on where it stopped if
the server allows it, also in a later call.
"""

from __future__ import annotations

import http.client
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lib.data.files import one_line
from lib.data.osie import published_checksums
from lib.data.osie_verify import sha256

OSIE_URL = "https://raw.githubusercontent.com/NUS-VIP/predicting-human-gaze-beyond-pixels/master/"
CHUNK = 2**16  # bytes
Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class Patience:
    """How often a file is tried, the first wait in seconds (it doubles), and when a silent server is given up."""

    tries: int = 4
    wait: float = 1.0
    timeout: float = 30.0


class _Interrupted(Exception):
    """Worth another try: the network, not the file, is to blame."""


def fetch_osie(
    folder: str | os.PathLike[str], *, base_url: str = OSIE_URL, checksums: Mapping[str, str] | None = None,
    patience: Patience = Patience(), workers: int = 8, progress: Progress | None = None,
) -> Path:
    """OSIE's 700 stimuli and its fixations.mat (about 50 MB) into folder/data; returns the folder, ready for `lib.data.osie.OSIE`.

    base_url: the folder above data/ on the server. checksums: {name relative to data/: SHA-256}, by default the published ones.
    workers: files at a time. progress(done, total) is called after each file. ConnectionError or ValueError, one line, where a file
    cannot be had or is not the published one; what is complete stays, and the next call goes on from there. A file in the way
    that is not the published one is replaced once the published one has arrived.
    """
    folder = Path(folder)
    wanted = published_checksums() if checksums is None else checksums
    for name in wanted:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ValueError(f"{name!r}: a checksum's name must stay inside data/")
    with ThreadPoolExecutor(workers) as pool:
        pending = [
            pool.submit(_fetch, f"{base_url.rstrip('/')}/data/{urllib.parse.quote(name)}", folder / "data" / name, expected, patience)
            for name, expected in wanted.items()
        ]
        try:
            for done, future in enumerate(as_completed(pending), start=1):
                future.result()
                if progress is not None:
                    progress(done, len(pending))
        except BaseException:  # Ctrl-C too: no further file is begun
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return folder


FETCHABLE: dict[str, Callable[..., Path]] = {"osie": fetch_osie}


def _fetch(url: str, path: Path, expected: str, patience: Patience) -> None:
    """One file, tried several times."""
    if path.is_file() and sha256(path) == expected:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    for attempt in range(patience.tries):
        if attempt:
            time.sleep(patience.wait * 2 ** (attempt - 1))
        resumed = part.is_file() and part.stat().st_size > 0
        try:
            if not (resumed and sha256(part) == expected):  # else only the renaming was missed
                _download(url, part, patience.timeout)
        except _Interrupted as error:
            reason = str(error)
            continue
        if sha256(part) == expected:
            os.replace(part, path)
            return
        part.unlink()
        if not resumed:
            raise ValueError(f"{url}: SHA-256 differs from the published one, the file was not kept; is base_url the right one?")
        reason = "the rest did not fit the part that was there"
    raise ConnectionError(
        f"{url}: not fetched in {patience.tries} tries ({reason}); check the network and run the same command again, or copy the "
        f"repository's data/{path.parent.name}/{path.name} to {path} by hand"
    )


def _download(url: str, part: Path, timeout: float) -> None:
    """The rest of `url` into `part`, or all of it where the server sends all."""
    try:
        with open(part, "ab") as file:
            for number, (continues, chunk) in enumerate(_receive(url, file.tell(), timeout)):
                if number == 0 and not continues:
                    file.truncate(0)
                file.write(chunk)
    except ConnectionError:
        raise
    except OSError as error:  # of the disk: those of the network do not get here
        raise OSError(f"{part}: cannot be written ({one_line(error)})") from None


def _receive(url: str, start: int, timeout: float) -> Iterator[tuple[bool, bytes]]:
    """Chunks of `url` from byte `start` on, each with whether the server did begin there and not at 0.

    _Interrupted if another try may help, ConnectionError if it will not.
    """
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    received, length = 0, None
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            continues = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
            length = response.headers.get("Content-Length")
            while chunk := response.read(CHUNK):
                received += len(chunk)
                yield continues, chunk
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # there is no such byte: the part was of another file
            yield from _receive(url, 0, timeout)
            return
        if error.code < 500 and error.code not in (408, 429):
            raise ConnectionError(f"{url}: the server answers {error.code} {error.reason}; the file may have moved, see data/osie.md") from None
        raise _Interrupted(f"{error.code} {error.reason}") from None
    except (http.client.HTTPException, OSError) as error:  # URLError and time-outs are OSErrors; so is whatever TLS may raise
        raise _Interrupted(one_line(getattr(error, "reason", None) or error) or type(error).__name__) from None
    if length is not None and received < int(length):
        raise _Interrupted(f"the connection broke off after {received:,} of {int(length):,} bytes")
