"""Protects: a saliency map comes out of every kind of file with its values, and the finest of several files is known."""

import io
import zipfile

import numpy as np
import pytest
from mutate import mutations, outcome
from PIL import Image
from scipy.io import savemat

from lib.files import maps
from lib.files.maps import as_map, fineness, map_kind, read_map_file

MAP = np.random.default_rng(0).random((6, 9)).astype(np.float32)


def save(path, values=MAP):
    suffix = path.suffix
    if suffix == ".npy":
        np.save(path, values)
    elif suffix == ".npz":
        np.savez_compressed(path, map=values, seed=np.int64(3))
    elif suffix == ".mat":
        savemat(path, {"smap": values, "name": "x"})
    else:
        Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize("suffix", ["npy", "npz", "mat", "tif"])
def test_floats_come_back_as_they_are(tmp_path, suffix):
    found = read_map_file(save(tmp_path / f"a.{suffix}"))
    assert found.shape == MAP.shape and found.dtype.kind == "f" and np.array_equal(found, MAP)


def test_kinds_are_ordered_by_what_they_keep(tmp_path):
    files = [save(tmp_path / "a.npy"), save(tmp_path / "a.tif"), save(tmp_path / "b.png", (MAP * 65535).astype(np.uint16)),
             save(tmp_path / "c.png", (MAP * 255).astype(np.uint8)), save(tmp_path / "d.jpg", (MAP * 255).astype(np.uint8))]
    kinds = [map_kind(path) for path in files]
    assert kinds == ["npy", "TIFF, float", "PNG, 16 bits", "PNG, 8 bits", "JPEG, 8 bits, lossy"]
    assert [fineness(kind) for kind in kinds] == [0, 0, 2, 3, 4]


@pytest.mark.parametrize("suffix, options, lossy", [
    ("webp", {"quality": 90}, True), ("webp", {"lossless": True}, False),
    ("tif", {"compression": "jpeg"}, True), ("tif", {"compression": "tiff_lzw"}, False),
])
@pytest.mark.parametrize("extra", [{}, {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}])
def test_a_format_that_can_be_lossless_or_lossy_is_told_by_its_file(tmp_path, suffix, options, lossy, extra):
    """The pixels are the oracle. With EXIF a WebP has the extended container, in which they are not the first chunk."""
    values = np.random.default_rng(0).integers(0, 256, (32, 48), np.uint8)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(values).save(path, **options, **extra if suffix == "webp" else {})
    assert np.array_equal(read_map_file(path), values.astype(np.float32) / 255) is not lossy
    assert map_kind(path).endswith("lossy") is lossy and fineness(map_kind(path)) == (4 if lossy else 3)


@pytest.mark.parametrize("animated", [{"lossless": True}, {"quality": 80}])
def test_frames_of_a_webp_are_looked_into(tmp_path, animated):
    frames = [Image.fromarray(np.full((32, 48, 3), value, np.uint8)) for value in (10, 200)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], **animated)
    assert map_kind(tmp_path / "a.webp").endswith("lossy") is ("quality" in animated)


@pytest.mark.parametrize("shape", [(6, 9), (1, 6, 9), (6, 9, 1), (1, 1, 6, 9)])
def test_axes_of_length_one_are_taken_away(shape):
    assert np.array_equal(as_map(MAP.reshape(shape), "x"), MAP)


@pytest.mark.parametrize("values, said", [
    (np.zeros((6, 9, 3)), "has shape"), (np.zeros((2, 6, 9)), "has shape"), (np.zeros(9), "has shape"), (np.zeros((0, 4)), "has shape"),
    (MAP + 1j, "real numbers"), (MAP.astype("U"), "real numbers"), (np.where(MAP > 0.9, np.nan, MAP), "NaN or infinite"),
    (np.where(MAP > 0.9, -np.inf, MAP), "NaN or infinite"),
])
def test_what_is_no_map_is_one_line(tmp_path, values, said):
    path = tmp_path / "bad.npy"
    np.save(path, values)
    with pytest.raises(ValueError, match=said) as error:
        read_map_file(path)
    assert str(error.value).startswith(f"{path}: ") and "write the map again" in str(error.value)


def test_the_map_among_several_arrays(tmp_path):
    np.savez(tmp_path / "two.npz", a=MAP, b=MAP)
    with pytest.raises(ValueError, match=r"several arrays that could be the map \(a, b\)"):
        read_map_file(tmp_path / "two.npz")
    np.savez(tmp_path / "named.npz", other=MAP + 1, saliency=MAP)
    assert np.array_equal(read_map_file(tmp_path / "named.npz"), MAP)
    savemat(tmp_path / "none.mat", {"text": "no map", "number": 3})
    with pytest.raises(ValueError, match=r"none\.mat: holds no array"):
        read_map_file(tmp_path / "none.mat")


def test_nothing_is_unpickled_and_no_header_is_believed(tmp_path):
    np.save(tmp_path / "object.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6)})
    (tmp_path / "large.npy").write_bytes(header.getvalue() + bytes(100))
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("map.npy", "w", force_zip64=True) as file:
        file.write(bytes(100))
    content = (tmp_path / "bomb.npz").read_bytes()
    (tmp_path / "bomb.npz").write_bytes(content.replace((100).to_bytes(4, "little"), (2**31).to_bytes(4, "little")))
    for name in ("object.npy", "large.npy", "bomb.npz"):
        assert outcome(lambda name=name: read_map_file(tmp_path / name), tmp_path / name) == "refused"
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_map_file(tmp_path / "absent.npy")
    assert maps.PICTURE_LIMIT < 10**12


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_a_mutated_array_is_read_or_refused_in_one_line(tmp_path, suffix):
    valid, path = save(tmp_path / f"valid.{suffix}").read_bytes(), tmp_path / f"x.{suffix}"
    for mutation, content in mutations(valid, seed=3, count=120):
        path.write_bytes(content)
        assert outcome(lambda: read_map_file(path), path) in ("read", "refused"), mutation
