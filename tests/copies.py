"""Copies of the code that are edited, and Python run in them; a program of its own for each run, but for the packages, which are imported once.

torch, what its optimisers bring along, and the packages of tables take seconds to import, longer than what is run here. So a process imports
them, and nothing of lib, and each run is a child that it forks: with the copy's lib, from its first import on.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

SERVER = """
import json, os, runpy, sys
import numpy, pandas, scipy.ndimage, scipy.special, torch, torch._dynamo
torch.optim.SGD([torch.zeros(1, requires_grad=True)])
assert not [name for name in sys.modules if name.partition(".")[0] == "lib"]

def program(folder, words, out, err):
    for path, number in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(folder)
    os.environ["PYTHONPATH"] = folder
    kind, *sys.argv = words
    if kind == "-m":
        sys.path[0] = folder
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.path[0] = folder
        exec(compile(sys.argv[0], "-c", "exec"), {"__name__": "__main__"})
    else:
        sys.argv, sys.path[:1] = words, [os.path.dirname(os.path.abspath(kind)), folder]
        runpy.run_path(kind, run_name="__main__")

for line in iter(sys.stdin.readline, "\\n"):
    if (child := os.fork()) == 0:
        status = 0
        try:
            program(*json.loads(line))
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
            if isinstance(ended.code, str):
                print(ended.code, file=sys.stderr)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            status = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Pythons:
    """`run(folder, *words)`: as `python WORDS` in that folder, with what it finds there in the place of this checkout's lib and tests."""

    def __init__(self, scratch: Path):
        self.scratch = scratch
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self.server = subprocess.Popen([sys.executable, "-c", SERVER], cwd=scratch, env=environment, text=True,
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, folder: Path, *words: str) -> subprocess.CompletedProcess:
        out, err = self.scratch / "out", self.scratch / "err"
        print(json.dumps([str(folder), words, str(out), str(err)]), file=self.server.stdin, flush=True)
        return subprocess.CompletedProcess(words, int(self.server.stdout.readline()), out.read_text(), err.read_text())

    def close(self) -> None:
        print(file=self.server.stdin, flush=True)  # an empty line: processes that were forked meanwhile hold the pipe open
        self.server.wait(timeout=60)
        self.server.stdin.close()
        self.server.stdout.close()


def copied(folder: Path) -> Path:
    """lib/ and tests/ in a folder of their own, to be edited."""
    for name in ("lib", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder
