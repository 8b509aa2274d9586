"""Protects: a disk that is full, or may not be written to, is one line that names the place; nothing is half-written, and the same again goes on.

The full disk is a limit on the size of a file that this process may write: the write that passes it fails as on a full disk, in the
middle of the file, whatever library does the writing.
"""

import errno
import os
import resource
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError

from lib.data.store import ImageStore
from lib.data.synthetic import salicon
from lib.files import arrays, locked, new_memmap, replace_atomically, writing
from lib.predict import save_map
from lib.results.records import Record, RecordStore
from lib.training.checkpoint import load_checkpoint, load_weights, save_checkpoint, save_weights


@contextmanager
def full(size: int = 4096):
    """No file may grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and ".locks" not in path.parts}


NOISE = np.random.default_rng(0).random((60, 80))


def record(folder: Path) -> None:
    values = {"top1": NOISE.ravel()}
    made = Record(
        table="cub200", row="plain", seed=0, preset="demo", dataset="twin", is_twin=True, n=NOISE.size, unit="images", summary={"top1": 0.5}
    )
    RecordStore(folder, table="cub200", dataset="twin", preset="demo").save(made, "key", values)


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Linear(64, 64)


def pictures(folder: Path) -> list[Path]:
    paths = [folder.parent / f"{n}.png" for n in range(2)]
    for path in paths:
        if not path.exists():
            Image.fromarray((255 * NOISE).astype(np.uint8)).resize((20, 20)).convert("RGB").save(path)
    return paths


def store(folder: Path) -> ImageStore:
    return ImageStore(pictures(folder), np.full((2, 2), 20), (40, 40), cache_dir=folder, fingerprint="f", workers=0)


WRITES = {
    "record": record,
    "checkpoint": lambda folder: save_checkpoint(folder / "row.ckpt", {"epoch": 1, "model": network().state_dict()}),
    "weights": lambda folder: save_weights(folder / "row.safetensors", network()),
    "cache of pictures": store,
    "cache of arrays": lambda folder: arrays(
        folder / "truth", lambda allocate: allocate("density", (60, 80), np.float64).__setitem__(slice(None), NOISE), version=1
    ),
    "twin": lambda folder: salicon.write(folder / "twin", train=0, val=1, test=0, observers=2, workers=1),
    "map": lambda folder: save_map(folder / "photo_smap", NOISE.astype(np.float32)),
    "table": lambda folder: replace_atomically(folder / "scores.csv", lambda path: path.write_text("1,2,3\n" * 2000)),
}


@pytest.mark.parametrize("what", WRITES)
def test_a_full_disk_in_the_middle_of_a_write_is_one_line_and_the_same_again_goes_on(what, tmp_path, capsys):
    folder = tmp_path / "results"
    folder.mkdir()
    pictures(folder)
    with full(), pytest.raises(OSError, match="cannot be written .*; make room, then give the same command again") as error:
        WRITES[what](folder)
    assert str(folder) in str(error.value) and "\n" not in str(error.value)
    assert everything(folder) == {}
    WRITES[what](folder)
    assert everything(folder)


def test_what_lay_there_before_stays_when_the_disk_is_full(tmp_path, capsys):
    """The last good checkpoint and weights."""
    path, weights = tmp_path / "row.ckpt", tmp_path / "row.safetensors"
    save_checkpoint(path, {"epoch": 1})
    save_weights(weights, network())
    before = everything(tmp_path)
    with full():
        for write in (lambda: save_checkpoint(path, {"epoch": 2, "model": network().state_dict()}), lambda: save_weights(weights, network())):
            with pytest.raises(OSError, match="make room"):
                write()
    assert everything(tmp_path) == before and load_checkpoint(path) == {"epoch": 1}
    load_weights(weights, network())


def test_the_room_of_a_mapped_array_is_taken_before_it_is_filled(tmp_path):
    """Else the disk fills while it is written to through memory, which ends the process."""
    array = new_memmap(tmp_path / "a.npy", np.uint8, (1000, 1000))
    assert os.stat(tmp_path / "a.npy").st_blocks * 512 >= array.nbytes
    array[:] = 7
    array.flush()
    assert (np.load(tmp_path / "a.npy") == 7).all()


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError(errno.ENOSPC, "full"), "make room"),
        (OSError(errno.EDQUOT, "quota"), "make room"),
        (PermissionError(errno.EACCES, "no"), "another folder"),
        (OSError(errno.EROFS, "read-only"), "another folder"),
        (OSError("4800 requested and 992 written"), "make room"),
        (OSError("encoder error -2 when writing image file"), "make room"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "make room"),
    ],
)
def test_whatever_the_disk_refuses_names_the_file_and_what_to_do(error, remedy, tmp_path):
    def write(path: Path) -> None:
        path.write_bytes(b"half")
        raise error

    with pytest.raises(OSError, match=f"{tmp_path}/row.json: cannot be written .*; .*{remedy}"):
        replace_atomically(tmp_path / "row.json", write)
    assert everything(tmp_path) == {}


def test_other_errors_are_left_as_they_are(tmp_path):
    for error in (ValueError("a.jpg: broken"), FileNotFoundError(errno.ENOENT, "gone")):
        with pytest.raises(type(error)) as caught, writing(tmp_path):
            raise error
        assert caught.value is error


def test_a_folder_below_a_file_or_without_permission_is_one_line(tmp_path, monkeypatch):
    """For root nothing is denied, so the refusal is the system's answer alone."""

    def denied(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", denied)
        for use in (
            lambda: replace_atomically(tmp_path / "a" / "b.json", lambda path: path.write_text("1")),
            lambda: locked(tmp_path / "a" / "b").__enter__(),
            lambda: arrays(tmp_path / "a" / "c", lambda allocate: None, version=1),
        ):
            with pytest.raises(OSError, match=f"{tmp_path}/a.*cannot be written .*another folder"):
                use()
    assert everything(tmp_path) == {}
