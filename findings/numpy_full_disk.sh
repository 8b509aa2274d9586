#!/usr/bin/env bash
# NumPy and a disk that fills up: the error that np.save raises does not say which one it is. Takes about a minute.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6
cat > "$folder/case.py" <<'END'
import errno
import io
import resource
import signal

import numpy as np

# A limit on the size of files stands for a full disk here: both end a write half-way, and nobody's disk has to be filled.
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
values = np.zeros(10_000)


def failure(write):
    try:
        write()
    except OSError as error:
        return error
    return None


def in_python():
    buffer = io.BytesIO()
    np.save(buffer, values)
    with open("python.npy", "wb") as file:
        file.write(buffer.getvalue())


numpys = {"np.save": failure(lambda: np.save("save.npy", values)), "tofile": failure(lambda: values.tofile("raw"))}
pythons = failure(in_python)
print("NumPy", np.__version__)
for name, error in numpys.items():
    print(f"{name}: {type(error).__name__}, errno {error.errno}, {error}")
print(f"the same bytes through Python's file: {type(pythons).__name__}, errno {errno.errorcode.get(pythons.errno)}, {pythons}")
print("""Surprise: np.save and tofile hand their data to C, and a write that ends half-way becomes an OSError without a number: errno is None, whatever
the reason was. Code that asks `error.errno == errno.ENOSPC` to tell a full disk from a broken file never hears of it, and the file stays, cut.
Do: save into memory and write that with Python's own file, which tells the number, or take every OSError of np.save for a failed
write; write beside the target and rename, so that a cut file never has its name.""")
raise SystemExit(0 if all(error is not None and error.errno is None for error in numpys.values()) and pythons.errno == errno.EFBIG else 1)
END
cd "$folder"
"$folder/venv/bin/python" case.py || { echo "This no longer holds with these versions." >&2; exit 1; }
