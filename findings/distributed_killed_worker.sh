#!/usr/bin/env bash
# distributed: a task that never began fails with "all those workers died while running it". Takes about a minute.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet distributed==2026.8.0
cat > "$folder/case.py" <<'END'
import os
import pathlib
import time

import dask
import distributed


def work(index, folder):
    pathlib.Path(folder, str(index)).touch()   # the proof that this task began
    time.sleep(0.5)
    if index == 0:
        os._exit(1)                            # as the system does when memory runs out
    return index


def run(folder, saturation):
    os.mkdir(folder)
    dask.config.set({"distributed.scheduler.worker-saturation": saturation})
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster, distributed.Client(cluster) as client:
        tasks = client.map(work, range(6), folder=folder, pure=False, retries=5)
        distributed.wait(tasks, timeout=120)
        failed = [index for index, task in enumerate(tasks) if task.status == "error"]
        never = [index for index in failed if not os.path.exists(f"{folder}/{index}")]
        words = [str(tasks[index].exception()) for index in never]
    print(f"worker-saturation {saturation}: failed {failed}, of these never began {never}")
    return never, words


if __name__ == "__main__":
    print("distributed", distributed.__version__, "one worker, one thread, six tasks, task 0 ends its process")
    dask.config.set({"logging.distributed": "critical"})
    usual, words = run("usual", dask.config.get("distributed.scheduler.worker-saturation"))
    strict, _ = run("strict", 1.0)
    holds = usual == [1] and strict == [] and "on 4 different workers, but all those workers died while running it" in words[0]
    print("said of task 1:", words[0].split(". ")[0] if words else "nothing")
    print("""Surprise: the scheduler counts a worker's death against every task it had sent there, begun or not. With the usual settings one task more
than there are threads waits on each worker, and goes down with its neighbour; the message says it ran, four times; retries= does not help.
Do: let every task leave a mark when it begins, and submit again what failed with KilledWorker and has none. worker-saturation 1.0 keeps
waiting tasks at the scheduler, but only in large groups without dependencies, so it is no cure.""")
    raise SystemExit(0 if holds else 1)
END
cd "$folder"
"$folder/venv/bin/python" case.py 2> "$folder/log" || { tail -n 5 "$folder/log" >&2; exit 1; }
