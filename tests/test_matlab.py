"""Protects: .mat files read in a process of their own come back as SciPy gives them, and one that ends that process costs one line."""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from mutate import outcome
from scipy.io import loadmat, savemat

from lib.files import matlab
from lib.files.matlab import read_mat


@pytest.fixture
def mat(tmp_path) -> Path:
    """Numbers of several types, text, a cell of unequal parts, and a struct array with a nested struct."""
    cell = np.empty((2, 2), dtype=object)
    cell[:] = [[np.arange(3.0), np.zeros((0, 0))], ["word", np.array([[7]], np.uint8)]]
    struct = np.empty((3, 1), dtype=[("points", "O"), ("inner", "O")])
    for i in range(3):
        struct[i, 0] = (np.arange(2 * i, dtype=np.uint16).reshape(-1, 2), {"deep": f"value {i}"})
    numbers = {"numbers": np.arange(6.0).reshape(2, 3), "small": np.int8([[-1, 2]])}
    savemat(tmp_path / "all.mat", numbers | {"text": "hello", "cell": cell, "struct": struct})
    return tmp_path / "all.mat"


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal in shape, names and, all the way down, values and types."""
    if a.dtype.names is not None:
        return a.shape == b.shape and a.dtype.names == b.dtype.names and all(
            same(x[name], y[name]) for x, y in zip(a.ravel(), b.ravel(), strict=True) for name in a.dtype.names)
    if a.dtype == object:
        return a.shape == b.shape and all(same(x, y) for x, y in zip(a.ravel(), b.ravel(), strict=True))
    return a.dtype == b.dtype and np.array_equal(a, b)


def test_arrays_are_those_of_scipy(mat):
    found, wanted = read_mat(mat), {name: value for name, value in loadmat(mat).items() if not name.startswith("__")}
    assert set(found) == set(wanted) == {"numbers", "small", "text", "cell", "struct"}
    assert all(same(found[name], wanted[name]) for name in wanted)
    assert found["numbers"].flags.writeable


def test_only_what_is_asked_for_is_handed_back(mat):
    found = read_mat(mat, ["struct", "absent"], fields=["points"])
    assert list(found) == ["struct"] and found["struct"].dtype.names == ("points",)
    assert found["struct"][2, 0]["points"].tolist() == [[0, 1], [2, 3]]


def test_a_reader_that_crashes_costs_one_line_and_the_next_file_is_read(mat, monkeypatch):
    """A harmless process that ends itself with a signal stands for the library that a damaged file ends."""
    suicide = [sys.executable, "-c", f"import os, sys; sys.stdin.readline(); os.kill(os.getpid(), {int(signal.SIGSEGV)})"]
    with monkeypatch.context() as patch:
        patch.setattr(matlab, "COMMAND", suicide)
        for _ in range(2):
            with pytest.raises(ValueError, match=r"all\.mat: ends the process that reads it \(SIGSEGV\).*damaged; unpack") as error:
                read_mat(mat)
            assert "\n" not in str(error.value)
        patch.setattr(matlab, "COMMAND", [sys.executable, "-c", "import sys; sys.stdin.readline(); sys.exit(3)"])
        with pytest.raises(ValueError, match=r"ends the process that reads it \(exit status 3\)"):
            read_mat(mat)
        patch.setattr(matlab, "COMMAND", [sys.executable, "-c", "import time; time.sleep(60)"])
        with pytest.raises(ValueError, match="takes too long to read"):
            read_mat(mat, timeout=0.2)
        lying = "import struct, sys; sys.stdin.readline(); sys.stdout.buffer.write(struct.pack('>BQ', 0, 20) + b'x' * 20)"
        patch.setattr(matlab, "COMMAND", [sys.executable, "-c", lying])
        with pytest.raises(ValueError, match="not readable as a .mat file"):
            read_mat(mat)
    assert read_mat(mat)["text"].item() == "hello"


def test_one_process_reads_many_files_and_a_fork_has_its_own(mat):
    read_mat(mat)
    child = matlab._child.process.pid
    read_mat(mat)
    assert matlab._child.process.pid == child
    reading, writing = os.pipe()
    if (pid := os.fork()) == 0:  # what a worker of a data loader does
        try:
            os.write(writing, b"well" if read_mat(mat)["text"].item() == "hello" and matlab._child.process.pid != child else b"ill")
            matlab._close()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reading, 4) == b"well" and read_mat(mat)["small"].tolist() == [[-1, 2]] and matlab._child.process.pid == child
    for descriptor in (reading, writing):
        os.close(descriptor)


def test_what_cannot_be_read_is_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.mat: missing; unpack"):
        read_mat(tmp_path / "absent.mat")
    path = tmp_path / "x.mat"
    for content in (b"", b"no MATLAB file", bytes(200)):
        path.write_bytes(content)
        assert outcome(lambda: read_mat(path), path) == "refused"


def test_format_7_3_says_how_it_can_be_read(tmp_path):
    path = tmp_path / "new.mat"
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n" + bytes(100))
    try:
        import h5py  # noqa: F401
    except ImportError:
        with pytest.raises(ValueError, match=r"new\.mat: MATLAB's format 7\.3.*pip install h5py.*save\(FILE, '-v7'\)"):
            read_mat(path)
    else:
        assert outcome(lambda: read_mat(path), path) == "refused"


def test_numbers_of_format_7_3_are_read_with_h5py(tmp_path):
    h5py = pytest.importorskip("h5py")
    values, path = np.arange(12.0).reshape(3, 4), tmp_path / "new.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["map"] = values.T  # MATLAB's order of axes
        file.create_group("#refs#")
    assert np.array_equal(read_mat(path)["map"], values)
