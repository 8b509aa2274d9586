"""Data sets that come as archives, from a server on this machine that has the published names: fetched, checked, unpacked, read. No network."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from archive_server import Server, packed, publish
from documents import ROOT
from PIL import Image

from lib import __main__ as cli
from lib.data import fetch as module
from lib.data.cub200 import CUB200
from lib.data.fetch import ARCHIVES, FETCHABLE, GATED, IMAGENETTE, Archive, Patience, fetch, fetch_archives
from lib.data.imagenette import Imagenette
from lib.data.inaturalist import INaturalist
from lib.data.mit1003 import MIT1003
from lib.data.synthetic import cub200, imagenette, inaturalist

QUICK = Patience(tries=3, wait=0.0, timeout=5.0)


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


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# ------------------------------------------------------------------------------------------------------- from fetch to loader


def test_cub200(server, tmp_path, monkeypatch):
    cub200.write(tmp_path / "source" / "CUB_200_2011", workers=1, train=96, test=32, side=32)
    (tmp_path / "source" / "attributes.txt").write_text("beside the folder, as published")
    publish(server, monkeypatch, "cub200", tmp_path / "source", {"CUB_200_2011.tgz": ["CUB_200_2011", "attributes.txt"]})
    folder = fetch("cub200", tmp_path / "data", base_url=server.url, patience=QUICK)
    assert len(CUB200(folder, "test")) == 32 and left(folder) == {"CUB_200_2011", "attributes.txt"}
    assert server.requests == [("CUB_200_2011.tgz", None)]


def test_imagenette(server, tmp_path, monkeypatch):
    imagenette.write(tmp_path / "source" / "imagenette2-160", workers=1, train=20, val=10)
    publish(server, monkeypatch, "imagenette", tmp_path / "source", {"imagenette2-160.tgz": ["imagenette2-160"]})
    folder = fetch("imagenette", tmp_path / "data", base_url=server.url, patience=QUICK)
    assert folder.name == "imagenette2-160" and len(Imagenette(folder, "test")) == len(Imagenette(folder.parent, "test")) == 10


def test_inaturalist(server, tmp_path, monkeypatch):
    source = inaturalist.write(tmp_path / "source", workers=1, train=80, test=16, side=32)
    members = {"train_val2017.zip": ["train2017.json", "val2017.json"], "train_2017_bboxes.zip": ["train_2017_bboxes.json"],
               "val_2017_bboxes.zip": ["val_2017_bboxes.json"], "train_val_images.tar.gz": ["train_val_images"]}
    publish(server, monkeypatch, "inaturalist", source, members)
    folder, said = tmp_path / "data", []
    assert fetch("inaturalist", folder, base_url=server.url, patience=QUICK, say=said.append) == folder
    assert len(INaturalist(folder, "test")) == 16 and [name for name, _ in server.requests] == list(members)
    assert left(folder) == {name for names in members.values() for name in names}
    assert [line.partition(":")[0] for line in said] == list(members)[:3] and all("no checksum is published" in line for line in said)


@pytest.mark.parametrize("nested", [False, True])
def test_mit1003(server, tmp_path, monkeypatch, nested):
    source = tmp_path / "source"
    maps = source / "ALLFIXATIONMAPS" / ("ALLFIXATIONMAPS" if nested else "")
    for folder, name in ((source / "ALLSTIMULI", "i1.jpeg"), (maps, "i1_fixMap.jpg")):
        folder.mkdir(parents=True)
        Image.new("L", (64, 48), 9).save(folder / name)
    publish(server, monkeypatch, "mit1003", source, {f"{name}.zip": [name] for name in ("ALLSTIMULI", "ALLFIXATIONMAPS")})
    data = MIT1003(fetch("mit1003", tmp_path / "data", base_url=server.url, patience=QUICK))
    assert len(data) == 1 and data.density(0).shape == (48, 64)


def test_the_command(server, tmp_path, monkeypatch, capsys):
    source = tmp_path / "source"
    for name in ("ALLSTIMULI", "ALLFIXATIONMAPS"):
        (source / name).mkdir(parents=True)
        (source / name / "file.txt").write_text(name)
    publish(server, monkeypatch, "mit1003", source, {f"{name}.zip": [name] for name in ("ALLSTIMULI", "ALLFIXATIONMAPS")})
    assert cli.main(["fetch", "mit1003", str(tmp_path / "data"), "--mirror", server.url]) == 0
    out = capsys.readouterr().out
    assert "ALLFIXATIONMAPS.zip: no checksum is published" in out and f"mit1003 lies in {tmp_path / 'data'}" in out
    assert cli.main(["fetch", "mit1003", str(tmp_path / "other"), "--mirror", f"{server.url}/nowhere"]) == 2
    assert "answers 404" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------------ one archive


def archive(server: Server, tmp_path: Path, *, checked: bool, give: str = "set") -> Archive:
    """An archive of 200 kB on the server."""
    (tmp_path / "source" / "set").mkdir(parents=True)
    (tmp_path / "source" / "set" / "noise").write_bytes(np.random.default_rng(0).bytes(200_000))
    server.files["set.tgz"] = packed(tmp_path / "source", "set.tgz", ["set"])
    md5 = hashlib.md5(server.files["set.tgz"]).hexdigest() if checked else None
    return Archive(f"{server.url}/set.tgz", (give,), 1, 1, md5)


def get(wanted: Archive, tmp_path: Path, **options) -> Path:
    return fetch_archives([wanted], tmp_path / "data", **{"patience": QUICK, **options})


@pytest.mark.parametrize("checked", [True, False])
def test_what_is_there_is_not_fetched_again(server, tmp_path, checked):
    wanted, steps = archive(server, tmp_path, checked=checked), []
    folder = get(wanted, tmp_path, progress=lambda *step: steps.append(step))
    assert left(folder) == {"set"} and len((folder / "set" / "noise").read_bytes()) == 200_000
    assert {step[0].split()[0] for step in steps} == {"downloading", "unpacking"} and all(done <= total for _, done, total in steps)
    server.requests.clear()
    get(wanted, tmp_path)
    assert server.requests == []


def test_a_broken_off_archive_goes_on_where_it_stopped(server, tmp_path):
    wanted = archive(server, tmp_path, checked=True)
    server.faults["set.tgz"] = [70_000, 30_000]
    assert left(get(wanted, tmp_path)) == {"set"}
    assert [asked for _, asked in server.requests] == [None, "bytes=70000-", "bytes=100000-"]


def test_without_checksum_the_servers_tag_says_which_version_a_part_is_of(server, tmp_path):
    wanted = archive(server, tmp_path, checked=False)
    server.tags["set.tgz"], server.faults["set.tgz"] = '"one"', [50_000] * 3
    assert "broke off" in failure(ConnectionError, lambda: get(wanted, tmp_path))
    assert [asked for _, asked in server.requests] == [None, "bytes=50000-", "bytes=100000-"]
    other = archive(server, tmp_path / "other", checked=False)
    server.files["set.tgz"], server.tags["set.tgz"] = server.files["set.tgz"] + bytes(9), '"two"'  # the file was replaced there
    assert left(get(other, tmp_path)) == {"set"}
    assert server.requests[-1] == ("set.tgz", "bytes=150000-")  # asked for, but of the version that it was not any more


def test_without_checksum_and_tag_it_begins_again(server, tmp_path):
    wanted = archive(server, tmp_path, checked=False)
    server.faults["set.tgz"] = [50_000]
    assert left(get(wanted, tmp_path)) == {"set"} and [asked for _, asked in server.requests] == [None, None]


def test_a_wrong_checksum_leaves_nothing(server, tmp_path):
    wanted = replace(archive(server, tmp_path, checked=True), md5="0" * 32)
    text = failure(ValueError, lambda: get(wanted, tmp_path, page="data/cub200.md"))
    assert "MD5 differs" in text and "data/cub200.md" in text and left(tmp_path / "data") == set()


def test_a_broken_archive_is_removed_so_that_the_next_call_fetches_it(server, tmp_path):
    wanted = archive(server, tmp_path, checked=False)
    whole = server.files["set.tgz"]
    server.files["set.tgz"] = whole[:90_000]
    assert "cannot be unpacked" in failure(ValueError, lambda: get(wanted, tmp_path))
    assert left(tmp_path / "data") == set()
    server.files["set.tgz"] = whole
    assert left(get(wanted, tmp_path)) == {"set"}


def test_another_archive_is_not_taken_for_the_published_one(server, tmp_path):
    wanted = archive(server, tmp_path, checked=False, give="CUB_200_2011")
    assert "holds no CUB_200_2011" in failure(ValueError, lambda: get(wanted, tmp_path))
    assert left(tmp_path / "data") == set()


def test_what_an_archive_gives_may_lie_one_folder_deep(server, tmp_path):
    wanted = archive(server, tmp_path, checked=True, give="noise")
    assert left(get(wanted, tmp_path)) == {"noise"}


def test_room_is_asked_for_before_anything_is_downloaded(server, tmp_path, monkeypatch):
    wanted = replace(archive(server, tmp_path, checked=True), packed=3_000_000_000, unpacked=4_000_000_000)
    free = 6_500_000_000
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage._replace(free=free))
    text = failure(OSError, lambda: get(wanted, tmp_path))
    assert "7.0 GB are needed, 6.5 GB are free" in text and server.requests == [] and not (tmp_path / "data").exists()
    free = 7_500_000_000
    assert left(get(wanted, tmp_path)) == {"set"}


def test_room_is_asked_for_again_when_the_server_says_the_length(server, tmp_path, monkeypatch):
    wanted = archive(server, tmp_path, checked=True)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage._replace(free=100_000))
    assert "are needed" in failure(OSError, lambda: get(wanted, tmp_path)) and len(server.requests) == 1
    assert not (tmp_path / "data" / "set.tgz").exists()


# ----------------------------------------------------------------------------------------------------------------- published


def test_names_of_the_command_are_those_that_can_be_fetched():
    assert set(cli.FETCHABLE) == set(FETCHABLE) and not set(GATED) & set(FETCHABLE)


@pytest.mark.parametrize("name", sorted(GATED))
def test_what_must_be_asked_for_says_where(name, tmp_path):
    text = failure(ValueError, lambda: fetch(name, tmp_path / "data"))
    assert f"data/{name}.md" in text and not (tmp_path / "data").exists()
    assert "nosuch" in failure(ValueError, lambda: fetch("nosuch", tmp_path / "data"))


@pytest.mark.parametrize("name", sorted(ARCHIVES))
def test_addresses_and_checksums_are_those_of_the_page(name):
    page = (ROOT / "data" / f"{name}.md").read_text()
    archives = (*ARCHIVES[name], *(IMAGENETTE.values() if name == "imagenette" else ()))
    for each in archives:
        assert each.file in page and each.url.rpartition("/")[0] in page
        assert each.md5 is None or each.md5 in page
        assert each.unpacked >= each.packed > 0
