"""Pictures of any depth as arrays: the one way in which this project opens them.

Rules
    photograph  (H, W, 3) uint8 RGB. Greyscale, palette, CMYK and 1-bit pictures are converted, 12 and 16 bits scaled by their range;
                transparent pixels are white. Floats and 32-bit integers have no known white and are refused.
    map         (H, W) float. Integers are divided by their range (255, 4095, 65535, ...), floats stay as they are. A map in colours
                is refused (which of jet's colours is more?), and so is one whose transparency varies, and one with NaN or infinity.
                Palettes, and RGB whose channels differ by `GREY` levels at most (JPEG's rounding), are greyscale.
    16-bit RGB  is read with 8 bits: Pillow has no deeper mode for three channels.
    frames      the first one of an animation or a stack.

Orientation. A camera stores its sensor's pixels and an EXIF tag that says how to turn them. Coordinates of published data sets are in
stored pixels, so `exif="stored"`, the default, leaves them alone; "upright" turns them. Surprising: Pillow itself turns TIFFs while
they are decoded and no other format; here "stored" means stored for all. A tag that is damaged counts as none. In a PNG whatever is
damaged beside the pixels (EXIF, text, colour profile) is left away.

`PICTURE_LIMIT` bounds what is decoded: a header may declare any size, and memory would follow. A camera of 108 megapixels passes.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lib.files.text import one_line

PICTURE_LIMIT = 120_000_000  # pixels
GREY = 16  # levels of 255 by which the channels of a grey picture may differ
MODES = ("photograph", "map")
EXIF = ("stored", "upright")
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")  # others start programs, or are no pixels
REMEDY = "replace the file or unpack it again"
_TURN = Image.Transpose
_UPRIGHT = {2: _TURN.FLIP_LEFT_RIGHT, 3: _TURN.ROTATE_180, 4: _TURN.FLIP_TOP_BOTTOM, 5: _TURN.TRANSPOSE, 6: _TURN.ROTATE_270,
            7: _TURN.TRANSVERSE, 8: _TURN.ROTATE_90}  # the values of EXIF's orientation other than 1
_STORED = _UPRIGHT | {6: _TURN.ROTATE_90, 8: _TURN.ROTATE_270}  # all others are their own inverse
_HEADER = threading.Lock()  # silencing warnings is not safe in threads, and several decode at a time


class Header(NamedTuple):
    """What a picture's header says: its size as stored, EXIF's orientation (1: upright), format, Pillow's mode, whether pixels were approximated."""

    height: int
    width: int
    orientation: int
    format: str
    mode: str
    lossy: bool


def picture_header(path: str | Path, *, remedy: str = REMEDY) -> Header:
    """The header alone; nothing is decoded."""
    return _read(Path(path), "not readable as an image", remedy, lambda image, orientation: Header(
        *_stored_size(image, orientation), orientation, image.format or "", image.mode, _is_lossy(image, Path(path))))


def picture_size(path: str | Path, *, exif: str = "stored", remedy: str = REMEDY) -> tuple[int, int]:
    """(H, W) from the header, as `read_picture` would give it with the same `exif`."""
    _check("exif", exif, EXIF)
    header = picture_header(path, remedy=remedy)
    return (header.width, header.height) if exif == "upright" and header.orientation > 4 else (header.height, header.width)


def read_picture(path: str | Path, *, mode: str, exif: str = "stored", at_least: tuple[int, int] | None = None,
                 remedy: str = REMEDY) -> NDArray[Any]:
    """The picture at `path` by the module's rules: "photograph" (H, W, 3) uint8 RGB, "map" (H, W) float32 (float64 for 32-bit integers).

    at_least: (height, width) of the result that will do; a JPEG is then decoded at a fraction of its size, which saves time and
    memory. remedy: what the line of an error advises. FileNotFoundError or ValueError, one line that names the file.
    """
    _check("mode", mode, MODES)
    _check("exif", exif, EXIF)

    def pixels(image: Image.Image, orientation: int) -> NDArray[Any]:
        turned = orientation > 4 and exif == "upright"
        if at_least is not None:
            image.draft(None, tuple(at_least) if turned else tuple(at_least)[::-1])  # (width, height) as stored; JPEG alone obeys
        image.load()
        image = _turned(image, orientation, exif)
        return _photograph(image) if mode == "photograph" else _map(image)

    return _read(Path(path), "cannot be decoded", remedy, pixels)


def picture_kind(header: Header) -> str:
    """What its pixels can tell apart: "PNG, 8 bits"; "float", "32 bits", "16 bits" or "8 bits", "lossy" behind it for JPEG and most WebP."""
    depth = {"F": "float", "I": "16 bits" if header.format in ("PPM", "PNG") else "32 bits"}.get(header.mode)
    depth = depth or ("16 bits" if header.mode.startswith("I;16") else "8 bits")
    return f"{header.format}, {depth}{', lossy' if header.lossy else ''}"


def _is_lossy(image: Image.Image, path: Path) -> bool:
    """Whether the pixels were approximated. AVIF and JPEG 2000 are taken to be: either can keep all, and neither says so in its header."""
    if image.format == "WEBP":
        return _webp_is_lossy(path)
    if image.format == "TIFF":
        return image.info.get("compression") in ("jpeg", "tiff_jpeg", "webp")
    return image.format in ("JPEG", "MPO", "AVIF", "JPEG2000")


def _webp_is_lossy(path: Path) -> bool:
    """Pixels of a WebP lie in a chunk VP8 (lossy) or VP8L (lossless), those of a frame behind 16 bytes of its ANMF (RFC 9649, section 2)."""
    with open(path, "rb") as file:
        file.seek(12)  # RIFF, a length, WEBP
        while len(head := file.read(8)) == 8:
            name, length = head[:4], int.from_bytes(head[4:], "little")
            if name in (b"VP8 ", b"VP8L"):
                return name == b"VP8 "
            file.seek(16 if name == b"ANMF" else length + length % 2, 1)
    return True


def turned(pixels: NDArray[Any], orientation: int, *, back: bool = False) -> NDArray[Any]:
    """(H, W, ...) as stored -> upright by EXIF's orientation 1 to 8; `back`: upright -> as stored."""
    value = {6: 8, 8: 6}.get(orientation, orientation) if back else orientation
    if value in (5, 6, 7, 8):  # 5 is the transpose, the others follow it by a flip
        pixels = np.swapaxes(pixels, 0, 1)
    if value in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if value in (2, 3, 6, 7) else pixels


# ------------------------------------------------------------------------------------------------------------ opening


class _Refused(ValueError):
    """Why a picture that can be opened is not taken, and what to do about it."""


def _read(path: Path, failure: str, remedy: str, use) -> Any:
    """`use(image, orientation)` of the picture at `path`; `failure` is how an error's line begins."""
    _check_file(path, remedy)
    try:
        with open(path, "rb") as file:
            return _use(file, use)
    except _Refused as error:
        raise ValueError(f"{path}: {error}") from None
    except Exception as error:  # whatever a damaged file leads the decoders to
        reason = error
    if (pixels_alone := _png_without_extras(path)) is not None:
        try:
            return _use(io.BytesIO(pixels_alone), use)
        except _Refused as error:
            raise ValueError(f"{path}: {error}") from None
        except Exception as error:
            reason = error
    raise ValueError(f"{path}: {failure} ({_reason(reason)}); {remedy}") from None


def _use(source: BinaryIO, use) -> Any:
    """Never by name: uncompressed TIFFs of orientations 5 to 8 that Pillow 13.0.0 opens by name come out scrambled, without an error."""
    try:
        with _HEADER, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's name no file, and its bound on the size is replaced by ours
            image = Image.open(source, formats=_formats())
            orientation = _orientation(image)
    except Image.DecompressionBombError:
        raise _Refused(_too_large("")) from None
    with image:
        if image.width * image.height > PICTURE_LIMIT:
            raise _Refused(_too_large(f" {image.width}x{image.height},"))
        return use(image, orientation)


def _too_large(size: str) -> str:
    return f"declares{size} more than {PICTURE_LIMIT:,} pixels, which is the most that is decoded; shrink the picture, or replace a damaged file"


def some_picture(paths: Sequence[Path], *, remedy: str) -> None:
    """FileNotFoundError, one line, where none of them is there: for before a network is loaded; all else is told when one is read."""
    if not any(path.exists() for path in paths):
        raise FileNotFoundError(f"{paths[0]}: missing; {remedy}")


def told_of(path: Path, error: Exception) -> str:
    """The error's line, which names the picture."""
    return str(error) if str(path) in str(error) else f"{path}: {error}"


def _check_file(path: Path, remedy: str) -> None:
    """Only a regular file is opened: a pipe would wait for ever."""
    if "\0" in str(path):
        raise ValueError(f"{str(path)!r}: is no file name, as it holds a NUL byte; correct the name")
    try:
        there, regular = path.exists(), path.is_file()
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise ValueError(f"{path}: cannot be looked at ({one_line(error)}); correct the name") from None
    if not there:
        raise FileNotFoundError(f"{path}: missing; {remedy}")
    if not regular:
        raise ValueError(f"{path}: is {'a folder' if path.is_dir() else 'no regular file'}, not a picture; {remedy}")


def _formats() -> list[str]:
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]  # AVIF depends on how Pillow was built


def _reason(error: BaseException) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "no picture of a format that is read here"
    if isinstance(error, MemoryError):
        return "not enough memory"
    return one_line(error)[:200]


def _png_without_extras(path: Path) -> bytes | None:
    """A PNG's bytes with its pixels and transparency alone; None for another format, or where there is nothing else in it."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return None
    kept, at = [content[:8]], 8
    while at + 12 <= len(content):
        end = at + 12 + int.from_bytes(content[at:at + 4], "big")
        if content[at + 4:at + 5].isupper() or content[at + 4:at + 8] == b"tRNS":  # a critical chunk's name begins with a capital letter
            kept.append(content[at:end])
        at = end
    kept_bytes = b"".join(kept)
    return None if len(kept_bytes) == len(content) else kept_bytes


# --------------------------------------------------------------------------------------------------------- orientation


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; 1 where there is none that makes sense."""
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:  # whatever a damaged tag directory leads the parser to
        return 1
    return value if isinstance(value, int) and value in range(1, 9) else 1


def _stored_size(image: Image.Image, orientation: int) -> tuple[int, int]:
    """(H, W) as stored; of a TIFF Pillow may tell the upright size before it is decoded."""
    tags = getattr(image, "tag_v2", {})
    return (int(tags[257]), int(tags[256])) if orientation > 4 and 256 in tags and 257 in tags else (image.height, image.width)


def _turned(image: Image.Image, orientation: int, exif: str) -> Image.Image:
    """The decoded picture as stored, or upright."""
    if orientation == 1:
        return image
    upright = _orientation(image) == 1  # decoding turned it and removed the tag: TIFF
    if upright == (exif == "upright"):
        return image
    return image.transpose((_STORED if upright else _UPRIGHT)[orientation])


# ---------------------------------------------------------------------------------------------------------- pixels


def _photograph(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode == "F":
        raise _Refused("floating-point pixels have no known white; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        values, top = _integers(image)
        if top > 65535:
            raise _Refused("32-bit pixels have no known white; save it with 8 or 16 bits")
        if values.min() < 0:
            raise _Refused("has negative pixels, which no photograph has; save it with 8 or 16 bits")
        image = Image.fromarray(np.rint(values * np.float32(255 / top)).astype(np.uint8))
    elif image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return np.asarray(image.convert("RGB"))


def _map(image: Image.Image) -> NDArray[np.floating]:
    if image.mode == "F":
        values = np.array(image)
        if bad := int((~np.isfinite(values)).sum()):
            raise _Refused(f"{bad:,} of {values.size:,} pixels are NaN or infinite; write the map again with a number in each")
        return values
    if image.mode.startswith("I"):
        values, top = _integers(image)
        return (values / top).astype(np.float32) if top <= 65535 else values / top
    if image.has_transparency_data:
        low, high = image.convert("RGBA").getchannel("A").getextrema()
        if low != high or high == 0:
            raise _Refused(f"its transparency {'hides it all' if low == high else 'varies'}, so that its values are not known; "
                           "save the map in grey, without transparency")
        image = image.convert("RGB")
    return np.asarray(_grey(image), dtype=np.float32) / np.float32(255)


def _grey(image: Image.Image) -> Image.Image:
    if image.mode in ("1", "L"):
        return image.convert("L")
    image = image.convert("RGB")
    red, green, blue = (np.asarray(image.getchannel(channel)) for channel in "RGB")
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    if spread.max() > GREY:
        raise _Refused(f"is in colours (up to {spread.max()} levels between channels), and a colour map such as jet has no order of values; "
                       "save the values in grey, or as .npy")
    return image.convert("L")


def _integers(image: Image.Image) -> tuple[NDArray[Any], int]:
    """Values of a picture deeper than 8 bits, and the largest value that they could have."""
    values = np.array(image)
    tags = getattr(image, "tag_v2", {})
    bits, signed = int(tags.get(258, (16,))[0]), tags.get(339, (1,))[0] == 2
    if bits == 32 and not signed:
        values = values.astype(np.int32).view(np.uint32)  # Pillow keeps the bits and calls them signed
    return values.astype(np.float32 if bits <= 16 else np.float64), 2 ** (bits - signed) - 1


def _check(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} {value!r} is not one of {', '.join(known)}")
