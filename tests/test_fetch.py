"""Downloading a data set: from a server on this machine that can drop connections, ignore Range and be missing. No network."""

import hashlib
import socket
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
from archive_server import Listening

from lib.data import osie
from lib.data.fetch import OSIE_URL, Patience, fetch_osie, published_checksums

NAMES = ("stimuli/1001.jpg", "stimuli/1002.jpg", "eye/fixations.mat")
QUICK = Patience(tries=3, wait=0.0, timeout=5.0)


class Server(Listening):
    """Serves `files` under /data/. faults[name]: for each of its next requests, a status, or the number of bytes to stop after."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.files = {name: rng.bytes(200_000 + 1000 * n) for n, name in enumerate(NAMES)}
        self.checksums = {name: hashlib.sha256(content).hexdigest() for name, content in self.files.items()}
        self.faults: dict[str, list[tuple[str, int]]] = {}
        self.ranges = True
        super().__init__()
        self.url += "/"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        name, wanted = handler.path.removeprefix("/data/"), handler.headers["Range"]
        self.requests.append((name, wanted))
        faults = self.faults.get(name)
        kind, value = faults.pop(0) if faults else ("none", 0)
        content = self.files.get(name)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.ranges else 0
        if kind == "status" or content is None or start >= len(content):
            handler.send_error(value or (404 if content is None else 416))
            return
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        handler.send_header("Content-Length", str(len(content) - start))
        handler.end_headers()
        handler.wfile.write(content[start : start + value] if kind == "drop" else content[start:])
        handler.close_connection = True

    def fetch(self, folder: Path, **options) -> Path:
        return fetch_osie(folder, **{"base_url": self.url, "checksums": self.checksums, "patience": QUICK, "workers": 1, **options})


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


def failure(kind: type[Exception], action) -> str:
    with pytest.raises(kind) as error:
        action()
    assert "\n" not in str(error.value)
    return str(error.value)


def whole(server: Server, folder: Path) -> bool:
    """Every file in place with its content, and nothing else."""
    found = {path.relative_to(folder / "data").as_posix(): path.read_bytes() for path in (folder / "data").rglob("*") if path.is_file()}
    return found == server.files


@pytest.mark.parametrize("workers", [1, 4])
def test_everything_once(server, tmp_path, workers):
    progress = []
    assert server.fetch(tmp_path, workers=workers, progress=lambda *done: progress.append(done)) == tmp_path
    assert whole(server, tmp_path) and progress == [(1, 3), (2, 3), (3, 3)]
    assert sorted(server.requests) == sorted((name, None) for name in NAMES)
    server.requests.clear()
    server.fetch(tmp_path, workers=workers)
    assert server.requests == [] and whole(server, tmp_path)


def test_a_dropped_connection_goes_on_where_it_stopped(server, tmp_path):
    server.faults = {NAMES[1]: [("drop", 70_000), ("drop", 30_000)]}
    server.fetch(tmp_path)
    assert whole(server, tmp_path)
    assert [wanted for name, wanted in server.requests if name == NAMES[1]] == [None, "bytes=70000-", "bytes=100000-"]


def test_a_later_call_goes_on_too(server, tmp_path):
    server.faults = {NAMES[0]: [("drop", 10_000)] * 3}
    text = failure(ConnectionError, lambda: server.fetch(tmp_path))
    assert "not fetched in 3 tries (the connection broke off after 10,000 of 180,000 bytes)" in text and f"{server.url}data/{NAMES[0]}" in text
    assert not (tmp_path / "data" / NAMES[0]).exists()
    server.requests.clear()
    server.fetch(tmp_path)
    assert whole(server, tmp_path) and server.requests[0] == (NAMES[0], "bytes=30000-")


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    server.ranges, server.faults = False, {NAMES[0]: [("drop", 10_000)]}
    server.fetch(tmp_path)
    assert whole(server, tmp_path)


@pytest.mark.parametrize("left", ["other", "longer", "complete"])
def test_what_another_call_left(server, tmp_path, left):
    """A part of another file is thrown away, a part that only lacks its name is renamed without a request."""
    content = server.files[NAMES[0]]
    part = tmp_path / "data" / f"{NAMES[0]}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes({"other": b"x" * 5000, "longer": content + b"x", "complete": content}[left])
    server.fetch(tmp_path)
    assert whole(server, tmp_path)
    asked = [wanted for name, wanted in server.requests if name == NAMES[0]]
    assert asked == {"other": ["bytes=5000-", None], "longer": [f"bytes={len(content) + 1}-", None], "complete": []}[left]


def test_a_wrong_checksum_leaves_nothing(server, tmp_path):
    server.files[NAMES[1]] = b"another file"
    text = failure(ValueError, lambda: server.fetch(tmp_path))
    assert "SHA-256 differs" in text and NAMES[1] in text
    assert {path.name for path in (tmp_path / "data").rglob("*") if path.is_file()} <= {Path(NAMES[0]).name, Path(NAMES[2]).name}


def test_a_file_in_the_way_is_replaced_only_by_the_published_one(server, tmp_path):
    path = tmp_path / "data" / NAMES[0]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    server.faults = {NAMES[0]: [("status", 503)] * 3}
    assert "503" in failure(ConnectionError, lambda: server.fetch(tmp_path))
    assert path.read_bytes() == b"mine"
    server.fetch(tmp_path)
    assert whole(server, tmp_path)


def test_a_missing_file_is_not_tried_again(server, tmp_path):
    del server.files[NAMES[0]]
    text = failure(ConnectionError, lambda: server.fetch(tmp_path))
    assert "answers 404" in text and [name for name, _ in server.requests].count(NAMES[0]) == 1


def test_a_busy_server_is_tried_again(server, tmp_path):
    server.faults = {NAMES[0]: [("status", 503)], NAMES[2]: [("status", 429)]}
    server.fetch(tmp_path)
    assert whole(server, tmp_path)


def test_no_network(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    text = failure(ConnectionError, lambda: fetch_osie(tmp_path, base_url=url, checksums={NAMES[0]: "0"}, patience=QUICK))
    assert "check the network and run the same command again" in text and url in text


def test_a_full_disk_names_the_file(server, tmp_path):
    (tmp_path / "data" / f"{NAMES[0]}.part").mkdir(parents=True)  # as good as a disk that cannot be written to
    text = failure(OSError, lambda: server.fetch(tmp_path))
    assert "cannot be written" in text and f"{NAMES[0]}.part" in text


def test_names_stay_in_the_folder(tmp_path):
    for name in ("../outside", "/outside"):
        assert "must stay inside" in failure(ValueError, lambda name=name: fetch_osie(tmp_path, checksums={name: "0"}))
    assert not list(tmp_path.iterdir())


def test_published_checksums_are_of_the_published_files():
    checksums = published_checksums()
    assert set(checksums) == {f"stimuli/{name}" for name in osie.PUBLISHED} | {"eye/fixations.mat"}
    assert all(len(sha) == 64 and int(sha, 16) for sha in checksums.values()) and len(set(checksums.values())) == osie.IMAGES + 1
    assert OSIE_URL.startswith("https://")
