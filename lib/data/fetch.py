"""Downloads a data set that is open to everybody: `python -m lib fetch DATASET DIR`, and then DIR is what `--data` takes.

OSIE comes file by file, each with its published SHA-256. The others come as archives: downloaded, checked against a checksum where
one is published (else that is said), unpacked beside and moved into place, and removed. What is there already is not fetched
again, and what broke off goes on (`lib.data.download`). Room on the disk is checked before anything is downloaded.

Addresses and checksums are those of the pages in data/; a checksum of None is published nowhere.
"""

from __future__ import annotations

import os
import shutil
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lib.data.archives import unpack
from lib.data.download import PATIENCE, Checksum, NoRoom, Patience, download
from lib.data.imagenette import FOLDERS, find_root

__all__ = ["ARCHIVES", "FETCHABLE", "GATED", "Archive", "Patience", "fetch", "fetch_archives", "fetch_osie", "published_checksums"]

CHECKSUMS = Path(__file__).with_name("osie_sha256.txt")  # format of sha256sum, names relative to ROOT/data

OSIE_URL = "https://raw.githubusercontent.com/NUS-VIP/predicting-human-gaze-beyond-pixels/master/"
MIT1003_URL = "http://people.csail.mit.edu/tjudd/WherePeopleLook/"
INATURALIST_URL = "https://ml-inat-competition-datasets.s3.amazonaws.com/2017/"
IMAGENETTE_URL = "https://s3.amazonaws.com/fast-ai-imageclas/"
MB = 10**6
Progress = Callable[[str, int, int], object]  # what is done, how much of it, of how much


@dataclass(frozen=True)
class Archive:
    """A published archive. gives: what it unpacks to, at its top or one folder deep; that these are there says that it was unpacked.

    packed, unpacked: bytes, about, and rather too many. md5: None where none is published.
    """

    url: str
    gives: tuple[str, ...]
    packed: int
    unpacked: int
    md5: str | None = None

    @property
    def file(self) -> str:
        return PurePosixPath(urllib.parse.urlsplit(self.url).path).name

    def at(self, base_url: str | None) -> str:
        """Its address on another server, which has it by its file name."""
        return self.url if base_url is None else f"{base_url.rstrip('/')}/{self.file}"


IMAGENETTE = {
    size: Archive(f"{IMAGENETTE_URL}{FOLDERS[size]}.tgz", (FOLDERS[size],), packed, packed, md5) for size, packed, md5 in (
        ("160px", 99 * MB, "e793b78cc4c9e9a4ccc0c1155377a412"), ("320px", 342 * MB, "3df6f0d01a2c9592104656642f5e78a3"),
        ("full", 1560 * MB, "fe2fc210e6bb7c5664d602c3cd71e612"))
}
ARCHIVES: dict[str, tuple[Archive, ...]] = {
    "cub200": (Archive("https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz", ("CUB_200_2011",), 1151 * MB, 1300 * MB,
                       "97eceeb196236b17998738112f37df78"),),
    "inaturalist": (  # the small ones first: they say what the large one holds
        Archive(f"{INATURALIST_URL}train_val2017.zip", ("train2017.json", "val2017.json"), 26 * MB, 260 * MB),
        Archive(f"{INATURALIST_URL}train_2017_bboxes.zip", ("train_2017_bboxes.json",), 22 * MB, 220 * MB),
        Archive(f"{INATURALIST_URL}val_2017_bboxes.zip", ("val_2017_bboxes.json",), 3 * MB, 30 * MB),
        Archive(f"{INATURALIST_URL}train_val_images.tar.gz", ("train_val_images",), 186_000 * MB, 188_000 * MB, "7c784ea5e424efaec655bd392f87301f")),
    "imagenette": (IMAGENETTE["160px"],),
    "mit1003": (Archive(f"{MIT1003_URL}ALLSTIMULI.zip", ("ALLSTIMULI",), 120 * MB, 125 * MB, "0d7df8b954ecba69b6796e77b9afe4b6"),
                Archive(f"{MIT1003_URL}ALLFIXATIONMAPS.zip", ("ALLFIXATIONMAPS",), 60 * MB, 120 * MB)),
}
GATED = {
    "gazecapture": "register at https://gazecapture.csail.mit.edu with the address of an institution",
    "salicon": "its files are behind Google Drive's pages; http://salicon.net links to them",
    "coursework": "its files are handed out by the course and are not public",
}


def fetch(name: str, folder: str | os.PathLike[str], *, base_url: str | None = None, patience: Patience = PATIENCE,
          progress: Progress | None = None, say: Callable[[str], object] = lambda line: None) -> Path:
    """The data set `name` into `folder`; returns what its loader takes.

    base_url: another server with the same file names. progress(what, done, total), say(line): for whoever waits. ValueError for a
    name that is unknown, or of a data set that must be asked for: the line says where.
    """
    if name in GATED:
        raise ValueError(f"{name} cannot be fetched: {GATED[name]}; data/{name}.md says how to go on")
    if name not in FETCHABLE:
        raise ValueError(f"there is no data set {name!r} to fetch; there are {', '.join(FETCHABLE)}")
    if base_url is not None and not base_url.startswith(("http://", "https://")):
        raise ValueError(f"--mirror {base_url}: is no address of a server; give one that begins with https:// or http://")
    if name == "osie":
        files = (lambda done, total: progress("files", done, total)) if progress else None
        return fetch_osie(folder, base_url=base_url or OSIE_URL, patience=patience, progress=files)
    root = fetch_archives(ARCHIVES[name], folder, page=f"data/{name}.md", base_url=base_url, patience=patience, progress=progress, say=say)
    return find_root(root) if name == "imagenette" else root


FETCHABLE = ("osie", *ARCHIVES)


# ------------------------------------------------------------------------------------------------------------------- archives


def fetch_archives(
    archives: Sequence[Archive], folder: str | os.PathLike[str], *, page: str = "data/README.md", base_url: str | None = None,
    patience: Patience = PATIENCE, progress: Progress | None = None, say: Callable[[str], object] = lambda line: None,
) -> Path:
    """Download and unpack these archives into `folder`, those that are not there; returns it.

    An archive is removed once its content is in place, so it takes the room of both for a while. ConnectionError, ValueError or OSError,
    one line; the same call goes on where it stopped.
    """
    folder = Path(folder)
    missing = [archive for archive in archives if not all((folder / name).exists() for name in archive.gives)]
    check_room(folder, sum(archive.unpacked for archive in missing) + max((_to_come(archive, folder) for archive in missing), default=0))
    for archive in missing:
        path = folder / archive.file
        if archive.md5 is None:
            say(f"{archive.file}: no checksum is published; its length and whether it unpacks are all that can be checked")
        download(archive.at(base_url), path, checksum=Checksum("md5", archive.md5) if archive.md5 else None, patience=patience, page=page,
                 progress=_megabytes(f"downloading {archive.file}, MB", progress), room=lambda coming: check_room(folder, coming))
        _put(archive, path, folder, _megabytes(f"unpacking {archive.file}, MB", progress))
    return folder


def check_room(folder: Path, needed: int) -> None:
    """NoRoom, one line, where the disk of `folder` has less than `needed` bytes left."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise NoRoom(f"{folder}: {needed / 1e9:,.1f} GB are needed, {free / 1e9:,.1f} GB are free; make room or give a folder on another disk")


def _to_come(archive: Archive, folder: Path) -> int:
    """Bytes of an archive that are not on the disk yet."""
    parts = [folder / archive.file, folder / f"{archive.file}.part"]
    return max(0, archive.packed - sum(part.stat().st_size for part in parts if part.is_file()))


def _megabytes(what: str, progress: Progress | None) -> Callable[[int, int], object] | None:
    return None if progress is None else lambda done, total: progress(what, done // MB, max(1, total // MB))


def _put(archive: Archive, path: Path, folder: Path, progress: Callable[[int, int], object] | None) -> None:
    """Unpack beside, move what it gives into place last, remove the rest; a broken archive, too, or it would be met again."""
    beside = folder / f".{archive.file}.unpacking"
    try:
        unpack(path, beside, progress=progress)
        given = [_given(name, beside, path) for name in archive.gives]
        for entry in sorted(beside.iterdir()):
            if not any(entry == found or entry in found.parents for found in given) and not (folder / entry.name).exists():
                entry.rename(folder / entry.name)
        for name, found in zip(archive.gives, given, strict=True):
            if not (folder / name).exists():
                found.rename(folder / name)
        path.unlink()
    except ValueError:
        path.unlink(missing_ok=True)
        raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _given(name: str, beside: Path, path: Path) -> Path:
    for found in (beside / name, *sorted(beside.glob(f"*/{name}"))):
        if found.exists():
            return found
    raise ValueError(f"{path}: holds no {name}; it is not the published archive, fetch it again")


# ------------------------------------------------------------------------------------------------------------------------ OSIE


def published_checksums() -> dict[str, str]:
    """{name relative to ROOT/data: SHA-256} of the 700 stimuli and of fixations.mat, as published."""
    return {name: sha for sha, name in (line.split() for line in CHECKSUMS.read_text().splitlines())}


def fetch_osie(
    folder: str | os.PathLike[str], *, base_url: str = OSIE_URL, checksums: Mapping[str, str] | None = None,
    patience: Patience = PATIENCE, workers: int = 8, progress: Callable[[int, int], object] | None = None,
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
            raise ValueError(f"{name!r}: a checksum's name must stay inside data/; take it out of the list")

    def one(name: str, expected: str) -> None:
        path = folder / "data" / name
        download(f"{base_url.rstrip('/')}/data/{urllib.parse.quote(name)}", path, checksum=Checksum("sha256", expected), patience=patience,
                 page="data/osie.md", by_hand=f"copy the repository's data/{name} to {path} by hand")

    with ThreadPoolExecutor(workers) as pool:
        pending = [pool.submit(one, name, expected) for name, expected in wanted.items()]
        try:
            for done, future in enumerate(as_completed(pending), start=1):
                future.result()
                if progress is not None:
                    progress(done, len(pending))
        except BaseException:  # Ctrl-C too: no further file is begun
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return folder
