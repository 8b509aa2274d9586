#!/usr/bin/env bash
# distributed: a variable that its workers are started with makes work on large arrays fault all its memory in again. Takes about a minute.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet distributed==2026.8.0 numpy==2.4.6
cat > "$folder/case.py" <<'END'
import json
import os
import platform
import resource
import subprocess
import sys
import time

import dask
import distributed
import numpy as np


def work():
    """Arrays of 4 MB made and let go, as a training step does. Page faults by array, seconds, and the worker's variable."""
    x = np.ones(500_000)
    np.tanh(x * 2 + 1).sum()
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
    for _ in range(400):
        np.tanh(x * 2 + 1).sum()
    faults = (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / (3 * 400)
    return round(faults), round(time.perf_counter() - start, 2), os.environ.get("MALLOC_TRIM_THRESHOLD_", "not set")


def on_a_worker(environment):
    with dask.config.set({"distributed.nanny.pre-spawn-environ": environment} if environment else {}):
        with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster, distributed.Client(cluster) as client:
            return client.submit(work, pure=False).result()


def apart(environment):
    """The same in a process of its own: a nanny leaves its variables in the process that it runs in, where they outweigh the configuration."""
    words = [sys.executable, __file__, json.dumps(environment)]
    return json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps(on_a_worker(json.loads(sys.argv[1]))))
        raise SystemExit
    print("distributed", distributed.__version__, "NumPy", np.__version__, "on", *platform.libc_ver())
    usual = apart({})
    kept = apart({"MALLOC_TRIM_THRESHOLD_": 2**34, "MALLOC_MMAP_THRESHOLD_": 2**25})
    for name, (faults, seconds, variable) in {"as it comes": usual, "memory kept": kept}.items():
        print(f"{name}: MALLOC_TRIM_THRESHOLD_ {variable}, {faults} page faults an array of 4 MB, {seconds} s")
    print("""Surprise: a nanny starts its workers with MALLOC_TRIM_THRESHOLD_=65536, to give memory back sooner. Setting it also ends glibc's adapting of
the size from which memory is mapped: each array above 128 KiB is mapped, filled page by page by the kernel, and unmapped. The same code in a plain
process is not slowed down, and no profile of Python shows it. Training a small network with PyTorch took twice the time in a worker.
Do: give distributed.nanny.pre-spawn-environ a large MALLOC_TRIM_THRESHOLD_ and MALLOC_MMAP_THRESHOLD_ where tasks compute on arrays, or export
both before dask worker; compare user and system time of a worker once.""")
    raise SystemExit(0 if usual[2] == "65536" and usual[0] > 10 * max(kept[0], 5) else 1)
END
cd "$folder"
"$folder/venv/bin/python" case.py || { echo "This no longer holds with these versions." >&2; exit 1; }
