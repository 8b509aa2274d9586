"""Unpacking archives from the web: the files that are in them, and nothing that leads out of the folder. All archives are written here."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from lib.data import archives
from lib.data.archives import unpack

CONTENT = {"set/images/a b.jpg": b"first" * 100, "set/images/é.jpg": b"second", "set/list.txt": b"", "attributes.txt": b"x"}


def tar(path: Path, files: dict[str, bytes], *, odd: tarfile.TarInfo | None = None) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        if odd is not None:
            archive.addfile(odd)
    return path


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


WRITERS = [(tar, "set.tgz"), (zipped, "set.zip")]


def found(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(archive: Path, folder: Path, kind: type[Exception] = ValueError) -> str:
    """One line; nothing is left of the folder, and nothing beside it."""
    before = {path for path in folder.parent.rglob("*")}
    with pytest.raises(kind) as error:
        unpack(archive, folder)
    assert "\n" not in str(error.value) and not folder.exists()
    assert {path for path in folder.parent.rglob("*")} == before
    return str(error.value)


@pytest.mark.parametrize(("write", "name"), WRITERS)
def test_what_went_in_comes_out(tmp_path, write, name):
    archive, steps = write(tmp_path / name, CONTENT), []
    unpack(archive, tmp_path / "out", progress=lambda *step: steps.append(step))
    assert found(tmp_path / "out") == CONTENT
    size = archive.stat().st_size
    assert steps and all(done <= total == size for done, total in steps) and steps == sorted(steps)
    unpack(write(tmp_path / name, {"other": b"1"}), tmp_path / "out")  # made anew
    assert found(tmp_path / "out") == {"other": b"1"}


@pytest.mark.parametrize(("write", "name"), WRITERS)
def test_what_systems_leave_in_archives_is_left_out(tmp_path, write, name):
    junk = {"__MACOSX/set/._a.jpg": b"1", "set/.DS_Store": b"2", "set/.svn/entries": b"3"}
    unpack(write(tmp_path / name, CONTENT | junk), tmp_path / "out")
    assert found(tmp_path / "out") == CONTENT


@pytest.mark.parametrize(("write", "name"), WRITERS)
@pytest.mark.parametrize("path", ["../outside.txt", "/absolute.txt", "set/../../outside.txt", "set\\..\\outside.txt", "C:/outside.txt", "a\nb"])
def test_paths_outside_are_refused(tmp_path, write, name, path):
    assert "holds the path" in refused(write(tmp_path / name, CONTENT | {path: b"!"}), tmp_path / "out")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    odd = tarfile.TarInfo("set/odd")
    odd.type, odd.linkname = kind, "attributes.txt"
    assert "is a link or a device" in refused(tar(tmp_path / "set.tgz", CONTENT, odd=odd), tmp_path / "out")


def test_a_link_in_a_zip_is_refused(tmp_path):
    info = zipfile.ZipInfo("set/odd")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr(info, "attributes.txt")
    assert "is a link or a device" in refused(tmp_path / "set.zip", tmp_path / "out")


@pytest.mark.parametrize(("write", "name"), WRITERS)
def test_what_grows_beyond_reason_is_refused(tmp_path, write, name, monkeypatch):
    monkeypatch.setattr(archives, "LEAST", 1000)
    assert "holds more than" in refused(write(tmp_path / name, {"zeros": bytes(200_000)}), tmp_path / "out")


@pytest.mark.parametrize(("write", "name"), WRITERS)
def test_a_broken_archive_is_one_line(tmp_path, write, name):
    archive = write(tmp_path / name, {str(n): bytes(str(n), "ascii") * 5000 for n in range(9)})
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2])
    assert f"{archive}: cannot be unpacked" in refused(archive, tmp_path / "out")
    archive.write_bytes(b"<html>not found</html>")
    assert "fetch it again" in refused(archive, tmp_path / "out")
    archive.write_bytes(b"")
    refused(archive, tmp_path / "out")


def test_a_wrong_checksum_within_a_zip_is_one_line(tmp_path):
    archive = tmp_path / "set.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("a.txt", b"abcdefgh" * 10)
    archive.write_bytes(archive.read_bytes().replace(b"abcdefgh", b"abcdefgX", 1))
    assert "cannot be unpacked" in refused(archive, tmp_path / "out")
