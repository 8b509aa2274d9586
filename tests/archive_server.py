"""A server on this machine that has a data set's archives under their published names."""

import hashlib
import tarfile
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lib.data.fetch import ARCHIVES


class Listening:
    """An HTTP server on a free port of this machine; `answer` says what it gives."""

    def __init__(self) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler) -> None:
                self.answer(handler)

            def log_message(handler, *words) -> None:
                pass

        self.requests: list[tuple[str, str | None]] = []  # name, Range
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        raise NotImplementedError


class Server(Listening):
    """Serves `files` under /. faults[name]: after how many bytes each of its next answers ends; tags[name]: its ETag."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[int]] = {}
        self.tags: dict[str, str] = {}
        super().__init__()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        name, wanted = handler.path.removeprefix("/"), handler.headers["Range"]
        self.requests.append((name, wanted))
        if name not in self.files:
            handler.send_error(404)
            return
        content, tag = self.files[name], self.tags.get(name)
        of_this_version = handler.headers["If-Range"] in (None, tag)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and of_this_version else 0
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if tag:
            handler.send_header("ETag", tag)
        handler.send_header("Content-Length", str(len(content) - start))
        handler.end_headers()
        faults = self.faults.get(name)
        handler.wfile.write(content[start : start + faults.pop(0)] if faults else content[start:])
        handler.close_connection = True


def packed(folder: Path, name: str, members: list[str]) -> bytes:
    """An archive of what lies in `folder`, of the kind that its name says."""
    path = folder.parent / f"packed-{name}"
    if name.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as archive:
            for member in members:
                for file in sorted([folder / member, *(folder / member).rglob("*")]):
                    archive.write(file, file.relative_to(folder))
    else:
        with tarfile.open(path, "w:gz") as archive:
            for member in members:
                archive.add(folder / member, member)
    return path.read_bytes()


def publish(server: Server, monkeypatch, name: str, folder: Path, members: dict[str, list[str]]) -> None:
    """Put a data set on the server under the published file names; checksums are of these archives, where one is published."""
    archives = []
    for archive in ARCHIVES[name]:
        server.files[archive.file] = packed(folder, archive.file, members[archive.file])
        archives.append(replace(archive, packed=1, unpacked=1, md5=archive.md5 and hashlib.md5(server.files[archive.file]).hexdigest()))
    monkeypatch.setitem(ARCHIVES, name, tuple(archives))
