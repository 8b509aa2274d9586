#!/usr/bin/env bash
# Pillow: a turned TIFF is scrambled, without an error, when it is opened by its name. Takes about half a minute.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6
for version in 10.4.0 13.0.0; do
    "$folder/venv/bin/pip" install --quiet --no-deps --target "$folder/$version" "pillow==$version"
done
cat > "$folder/case.py" <<'END'
import sys

import numpy as np
import PIL
from PIL import Image

UPRIGHT = {5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1), 8: lambda a: np.rot90(a)}
rng = np.random.default_rng(0)
PICTURES = {"L": rng.integers(0, 256, (24, 32), np.uint8), "I;16": rng.integers(0, 65536, (24, 32), np.uint16),
            "RGBA": rng.integers(0, 256, (24, 32, 4), np.uint8), "RGB": rng.integers(0, 256, (24, 32, 3), np.uint8)}


def wrong(mode, compression, orientation):
    """Whether the picture is wrong (by name, from a file object)."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(PICTURES[mode]).save("turned.tif", exif=exif, compression=compression)
    right = UPRIGHT[orientation](PICTURES[mode])
    with open("turned.tif", "rb") as file, Image.open("turned.tif") as named:
        return [not np.array_equal(np.asarray(picture), right) for picture in (named, Image.open(file))]


bad = set()
for mode in PICTURES:
    for compression in ("raw", "tiff_lzw"):
        for orientation in UPRIGHT:
            for way, failed in zip(("by name", "file object"), wrong(mode, compression, orientation)):
                bad |= {(mode, compression, orientation, way)} if failed else set()
print("Pillow", PIL.__version__, "wrong of 64:", len(bad), sorted({(mode, compression, way) for mode, compression, _, way in bad}))
expected = {(mode, "raw", turn, "by name") for mode in ("L", "I;16", "RGBA") for turn in UPRIGHT} if sys.argv[1] == "13.0.0" else set()
sys.exit(0 if bad == expected else 1)
END
cd "$folder"
for version in 10.4.0 13.0.0; do
    PYTHONPATH="$folder/$version" "$folder/venv/bin/python" case.py "$version"
done
cat <<'END'
Surprise: uncompressed TIFFs with EXIF orientation 5 to 8 come out with the right shape and scrambled rows where Pillow maps the file into memory:
grey maps, 16-bit maps and RGBA, opened by name. RGB and compressed files are right, and so is the same file opened as a file object. A test
with photographs (RGB) does not see it. 10.4.0 is right each way.
Do: give Pillow an open file, not a name: with open(name, "rb") as file: Image.open(file).load().
END
