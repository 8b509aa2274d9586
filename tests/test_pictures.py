"""Protects: a picture of any depth is read by one rule, whatever cannot be read is one line, and nothing absurd is decoded."""

import io
import resource
import struct
import subprocess
import sys
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from mutate import mutations, outcome
from PIL import Image

from lib.files import pictures
from lib.files.pictures import PICTURE_LIMIT, picture_header, picture_kind, picture_size, read_picture, turned

ROOT = Path(__file__).resolve().parents[1]
RAMP = np.arange(24 * 32, dtype=np.uint16).reshape(24, 32) * 85  # 0 to 65,195 in steps of a third of an 8-bit level
EIGHT = (RAMP >> 8).astype(np.uint8)


def chunk(name: bytes, content: bytes, *, crc: int | None = None) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content) if crc is None else crc)


def png(size: tuple[int, int], depth: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG of (width, height) by hand; `extra` chunks stand before the pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def refused(path: Path, action=None, **options) -> str:
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        (action or read_picture)(path, **options)
    text = str(error.value)
    assert "\n" not in text and text.startswith(str(path)) and ";" in text, text
    return text


def save(folder: Path, image: Image.Image, name: str, **options) -> Path:
    image.save(folder / name, **options)
    return folder / name


def deep(folder: Path) -> dict[str, Path]:
    """The ramp in every 16-bit form that is written."""
    big_endian = Image.fromarray(RAMP.astype(">u2"))
    (folder / "grey.pgm").write_bytes(b"P5 32 24 65535\n" + RAMP.astype(">u2").tobytes())
    return {"png": save(folder, Image.fromarray(RAMP), "deep.png"), "tiff": save(folder, Image.fromarray(RAMP), "little.tif"),
            "big-endian tiff": save(folder, big_endian, "big.tif"), "pgm": folder / "grey.pgm",
            "named jpg": Path(save(folder, Image.fromarray(RAMP), "odd.png").rename(folder / "odd.jpg"))}


# --------------------------------------------------------------------------------------------------------- depths


@pytest.mark.parametrize("form", ["png", "tiff", "big-endian tiff", "pgm", "named jpg"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, form):
    path = deep(tmp_path)[form]
    values = read_picture(path, mode="map")
    assert values.dtype == np.float32 and picture_kind(picture_header(path)).endswith("16 bits")
    np.testing.assert_allclose(values, RAMP / 65535, atol=1e-6)
    photograph = read_picture(path, mode="photograph")
    assert photograph.shape == (24, 32, 3) and photograph.dtype == np.uint8
    np.testing.assert_array_equal(photograph[..., 1], np.rint(RAMP / 257))


@pytest.mark.parametrize("mode, suffix", [("1", "png"), ("L", "png"), ("LA", "png"), ("P", "png"), ("RGB", "jpg"), ("RGB", "webp"), ("RGBA", "png"),
                                          ("CMYK", "tif"), ("CMYK", "jpg"), ("L", "bmp"), ("L", "gif"), ("L", "ppm"), ("YCbCr", "jpg")])
def test_every_eight_bit_mode_is_the_same_map_and_photograph(tmp_path, mode, suffix):
    smooth = Image.fromarray(EIGHT).resize((64, 48), Image.Resampling.BILINEAR)
    path = tmp_path / f"picture.{suffix}"
    (smooth if mode == "P" else smooth.convert("RGB")).convert(mode).save(path, **({"quality": 100} if suffix in ("jpg", "webp") else {}))
    wanted = np.asarray(smooth.convert("1") if mode == "1" else smooth, dtype=float)
    wanted = wanted * 255 if mode == "1" else wanted
    assert np.abs(read_picture(path, mode="map") * 255 - wanted).max() <= 4  # JPEG and WebP round
    photograph = read_picture(path, mode="photograph")
    assert photograph.shape == (48, 64, 3) and np.abs(photograph - wanted[..., None]).max() <= 4


def test_twelve_and_thirty_two_bits_and_floats(tmp_path):
    integers = save(tmp_path, Image.fromarray(RAMP.astype(np.int32) * 30000), "deep.tif")
    values = read_picture(integers, mode="map")
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, RAMP.astype(float) * 30000 / (2**31 - 1), rtol=1e-12)
    assert "32-bit" in refused(integers, mode="photograph")
    floats = save(tmp_path, Image.fromarray((RAMP / 7 - 90).astype(np.float32)), "float.tif")
    assert np.array_equal(read_picture(floats, mode="map"), (RAMP / 7 - 90).astype(np.float32))
    assert "no known white" in refused(floats, mode="photograph")
    packed = np.packbits(np.unpackbits((RAMP >> 4).astype(">u2").view(np.uint8).reshape(24, 32, 2), axis=2)[:, :, 4:].reshape(24, -1), axis=1)
    twelve = tmp_path / "twelve.tif"
    tags = ((256, 4, 32), (257, 4, 24), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1), (278, 4, 24), (279, 4, packed.size))
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags) + bytes(4)
    twelve.write_bytes(b"II*\0" + struct.pack("<I", 8 + packed.size) + packed.tobytes() + directory)
    np.testing.assert_allclose(read_picture(twelve, mode="map"), (RAMP >> 4) / 4095, atol=1e-6)


def test_sixteen_bit_colour_is_read_with_eight(tmp_path):
    path = tmp_path / "colour.png"
    rows = np.stack([RAMP] * 3, axis=-1).astype(">u2")
    path.write_bytes(png((32, 24), 16, 2, b"".join(b"\0" + row.tobytes() for row in rows)))
    assert np.array_equal(read_picture(path, mode="photograph")[..., 0], EIGHT) and picture_kind(picture_header(path)) == "PNG, 8 bits"
    np.testing.assert_allclose(read_picture(path, mode="map"), EIGHT / 255, atol=1e-6)


def test_what_is_no_map_is_told(tmp_path):
    jet = np.stack([EIGHT, np.abs(128 - EIGHT.astype(int)).astype(np.uint8), 255 - EIGHT], axis=-1)
    assert "colour map such as jet" in refused(save(tmp_path, Image.fromarray(jet), "jet.png"), mode="map")
    assert "colour map such as jet" in refused(save(tmp_path, Image.fromarray(jet).quantize(64), "palette.png"), mode="map")
    floats = (RAMP / 9).astype(np.float32)
    floats[3, 4] = np.nan
    assert "1 of 768 pixels are NaN" in refused(save(tmp_path, Image.fromarray(floats), "nan.tif"), mode="map")
    alpha = Image.merge("LA", [Image.fromarray(EIGHT), Image.fromarray(EIGHT[::-1].copy())])
    assert "transparency varies" in refused(save(tmp_path, alpha, "veil.png"), mode="map")
    hidden = Image.merge("LA", [Image.fromarray(EIGHT), Image.new("L", (32, 24), 0)])
    assert "without transparency" in refused(save(tmp_path, hidden, "hidden.png"), mode="map")
    opaque = Image.merge("LA", [Image.fromarray(EIGHT), Image.new("L", (32, 24), 128)])
    np.testing.assert_allclose(read_picture(save(tmp_path, opaque, "even.png"), mode="map"), EIGHT / 255, atol=1e-6)


def test_transparent_pixels_of_a_photograph_are_white(tmp_path):
    for name, image in (("rgba", Image.new("RGBA", (4, 3), (10, 20, 30, 0))), ("la", Image.new("LA", (4, 3), (10, 0)))):
        assert (read_picture(save(tmp_path, image, f"{name}.png"), mode="photograph") == 255).all()


# ---------------------------------------------------------------------------------------------------- orientation


def tagged(folder: Path, orientation: int, suffix: str) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return save(folder, Image.fromarray(EIGHT), f"{orientation}.{suffix}", exif=exif, **({"lossless": True} if suffix == "webp" else {}))


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_one_rule_for_orientation_in_every_format(tmp_path, orientation, suffix):
    """Pillow alone turns TIFFs while it decodes them (and scrambles those that it opens by name and turns on their side).

    `turned` does the same to arrays, and back.
    """
    from PIL import ImageOps

    path = tagged(tmp_path, orientation, suffix)
    reference = tagged(tmp_path, orientation, "png")
    with Image.open(reference) as image:
        upright = np.asarray(ImageOps.exif_transpose(image))
    for exif, wanted in (("stored", EIGHT), ("upright", upright)):
        assert np.array_equal(read_picture(path, mode="photograph", exif=exif)[..., 0], wanted)
        assert np.array_equal(np.rint(read_picture(path, mode="map", exif=exif) * 255), wanted)
        assert picture_size(path, exif=exif) == wanted.shape
    assert picture_header(path).orientation == orientation
    assert np.array_equal(turned(EIGHT, orientation), upright) and np.array_equal(turned(upright, orientation, back=True), EIGHT)


def test_a_jpeg_may_be_decoded_small_whichever_way_it_lies(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(tmp_path, Image.new("RGB", (1600, 800), (9, 90, 200)), "large.jpg", exif=exif)
    assert read_picture(path, mode="photograph", at_least=(100, 200)).shape == (100, 200, 3)
    assert read_picture(path, mode="photograph", exif="upright", at_least=(200, 100)).shape == (200, 100, 3)


DAMAGED_TAGS = {"text in its place": chunk(b"eXIf", b"no tags at all"), "a cut directory": chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\x09\x01\x12"),
                "a wrong checksum": chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\0", crc=7), "text that unpacks to megabytes":
                chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(3_000_000)))}


@pytest.mark.parametrize("kind", DAMAGED_TAGS)
def test_what_is_damaged_beside_the_pixels_leaves_them_readable(tmp_path, kind):
    rows = b"".join(b"\0" + row.tobytes() for row in EIGHT)
    path = tmp_path / "tagged.png"
    path.write_bytes(png((32, 24), 8, 0, rows, DAMAGED_TAGS[kind]))
    for exif in pictures.EXIF:
        assert np.array_equal(read_picture(path, mode="photograph", exif=exif)[..., 0], EIGHT) and picture_size(path, exif=exif) == (24, 32)


# --------------------------------------------------------------------------------------------------------- damage


def declaring(size: tuple[int, int]) -> dict[str, bytes]:
    """Files of a few bytes whose headers declare (width, height)."""
    width, height = size
    bitmap = b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 1, 1, 0, 0)
    files = {"png": png(size, 8, 0, b""), "bmp": bitmap}
    if max(size) < 65536:
        whole = io.BytesIO()
        Image.new("L", (8, 8)).save(whole, "JPEG")
        at = whole.getvalue().index(b"\xff\xc0") + 5
        files["jpg"] = whole.getvalue()[:at] + struct.pack(">HH", height, width) + whole.getvalue()[at + 4:]
    return files


@pytest.mark.parametrize("size", [(13_000, 13_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1), (2**31 - 1, 1)])
def test_absurd_sizes_are_refused_before_anything_is_decoded(tmp_path, size):
    assert 12_000 * 9_000 <= PICTURE_LIMIT < 13_000 * 13_000  # a camera of 108 megapixels, and what must not be decoded
    for suffix, content in declaring(size).items():
        path = tmp_path / f"large.{suffix}"
        path.write_bytes(content)
        tracemalloc.start()
        try:
            for action, options in ((read_picture, {"mode": "map"}), (read_picture, {"mode": "photograph"}), (picture_size, {})):
                assert f"{PICTURE_LIMIT:,} pixels" in refused(path, action, **options) or suffix == "bmp"
            assert tracemalloc.get_traced_memory()[1] < 10_000_000
        finally:
            tracemalloc.stop()


def test_memory_stays_low_and_nothing_is_printed_but_the_line(tmp_path):
    """In a process of its own, as numbers of memory are the process's, and warnings are filtered in tests."""
    (tmp_path / "large.png").write_bytes(declaring((13_000, 13_000))["png"])
    code = ("import sys, resource; from lib.files.pictures import read_picture\n"
            "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "try: read_picture(sys.argv[1], mode='map')\nexcept ValueError as error: print(error)\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "large.png")], capture_output=True, text=True, cwd=ROOT, check=True)
    line, grown = done.stdout.splitlines()
    assert "more than" in line and int(grown) * (1 if sys.platform == "linux" else 1 / 1024) < 60_000 and done.stderr == ""
    assert resource.getrlimit(resource.RLIMIT_AS)  # the limits of this process are as they were


def test_what_is_no_picture_is_named_with_what_to_do(tmp_path):
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)).save(whole, "PNG")
    broken_chunk = bytearray(whole.getvalue())
    broken_chunk[40] ^= 255
    contents = {"empty.png": b"", "text.jpg": b"<html>", "cut.png": whole.getvalue()[:4000], "chunk.jpg": bytes(broken_chunk),
                "script.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        assert "replace the file" in refused(tmp_path / name, mode="photograph")
    assert "missing" in refused(tmp_path / "absent.png", mode="map")
    assert "is a folder" in refused(tmp_path, mode="map")
    with pytest.raises(ValueError, match="is no file name"):
        read_picture("a\0b.png", mode="map")
    for options in ({"mode": "film"}, {"mode": "map", "exif": "sideways"}):
        with pytest.raises(ValueError, match="is not one of"):
            read_picture(tmp_path / "cut.png", **options)


def miniatures() -> dict[str, bytes]:
    """A small valid file of each format."""
    made, photograph = {}, Image.fromarray(np.stack([EIGHT, EIGHT[::-1], EIGHT], axis=-1))
    plain = [(name, photograph, {}) for name in ("jpg", "png", "webp", "gif", "bmp", "ppm")]
    deep_ones = [("deep.png", Image.fromarray(RAMP), {}), ("deep.tif", Image.fromarray(RAMP), {}),
                 ("float.tif", Image.fromarray(RAMP.astype(np.float32)), {})]
    for name, image, options in (*plain, ("tif", photograph, {"compression": "tiff_lzw"}), *deep_ones):
        buffer = io.BytesIO()
        image.save(buffer, {"jpg": "JPEG", "tif": "TIFF"}.get(name.split(".")[-1], name.split(".")[-1].upper()), **options)
        made[name] = buffer.getvalue()
    return made


@pytest.mark.parametrize("name", miniatures())
def test_a_mutated_picture_is_read_or_refused_in_one_line(tmp_path, name):
    path, counts = tmp_path / f"x.{name}", {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for mutation, content in mutations(miniatures()[name], seed=7, count=60):
            path.write_bytes(content)
            for mode in pictures.MODES:
                found = outcome(lambda mode=mode: read_picture(path, mode=mode, exif="upright"), path)
                assert found in ("read", "refused"), (mutation, mode, found)
                counts[found] = counts.get(found, 0) + 1
    assert counts["refused"] > 20
