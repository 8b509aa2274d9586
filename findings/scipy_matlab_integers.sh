#!/usr/bin/env bash
# SciPy and MATLAB's files: an array of doubles comes back as bytes, and its sums wrap around. Takes about a minute.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet scipy==1.17.1 numpy==2.4.6
cat > "$folder/case.py" <<'END'
import io
import struct
import warnings

import numpy as np
import scipy
from scipy.io import loadmat, whosmat


def element(kind, data):
    return struct.pack("<II", kind, len(data)) + data + b"\0" * (-len(data) % 8)


def matlab_file(values):
    """A level 5 MAT-file of one row of doubles (class 6), kept as MATLAB keeps whole numbers: in the smallest type that holds them."""
    kind, code = (2, "B") if max(values) < 256 else (4, "H")
    header = element(6, struct.pack("<II", 6, 0)) + element(5, struct.pack("<ii", 1, len(values))) + element(1, b"fixations")
    data = element(kind, struct.pack(f"<{len(values)}{code}", *values))
    return io.BytesIO(b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<HH", 0x0100, 0x4D49) + element(14, header + data))


near, far = [200, 250, 30], [200, 250, 1030]
types = [loadmat(matlab_file(values))["fixations"].dtype.name for values in (near, far)]
x = loadmat(matlab_file(near))["fixations"]
right = loadmat(matlab_file(near), mat_dtype=True)["fixations"]
print("SciPy", scipy.__version__, "NumPy", np.__version__, "class in the file:", whosmat(matlab_file(near))[0][2], "types loaded:", types)
with warnings.catch_warnings(record=True) as heard:
    warnings.simplefilter("always")
    wrapped, steps = (x + 10).tolist(), np.diff(x).tolist()
print("x =", x.tolist(), " x + 10 =", wrapped, " diff(x) =", steps, " warnings:", len(heard))
print("with mat_dtype=True:", right.dtype, (right + 10).tolist(), np.diff(right).tolist())
print("""Surprise: MATLAB keeps doubles that are whole numbers as small integers, and loadmat hands out the type of the storage, not of the variable
(whosmat does say double). So one subject's fixations are uint8 and the next one's uint16, by their largest value, and adding an offset or
taking a saccade's length wraps around in silence. A file that savemat wrote does not show it, so tests with such files pass.
Do: loadmat(..., mat_dtype=True), or .astype(float) before any arithmetic.""")
holds = types == ["uint8", "uint16"] and wrapped == [[210, 4, 40]] and steps == [[50, 36]] and not heard
raise SystemExit(0 if holds and np.array_equal(np.diff(right), [[50, -220]]) else 1)
END
cd "$folder"
"$folder/venv/bin/python" case.py || { echo "This no longer holds with these versions." >&2; exit 1; }
