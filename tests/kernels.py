"""Notebooks' kernels that are forked from one process, which has imported what takes each of them seconds; everything of lib is their own.

`with forked(folder) as environment`: what is started with that environment finds, as the kernel `python3`, this file in the place of
`ipykernel_launcher`. It hands its own words, folder, environment and output over to the process, which forks the kernel, and lives as long as
that does. How kernels are started without it is tested where notebooks fail, are interrupted, or are given to papermill itself.
"""

import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

SOCKET = "KERNELS_ARE_FORKED_AT"
PACKAGES = ("torch", "torch._dynamo", "torchvision", "pandas", "scipy.stats", "scipy.ndimage", "matplotlib.pyplot", "seaborn", "ipykernel.kernelapp")


def plain() -> dict[str, str]:
    """The environment outside the tests: pictures belong in the notebook."""
    return {name: value for name, value in os.environ.items() if name != "MPLBACKEND"} | {"OMP_NUM_THREADS": "1"}


@contextlib.contextmanager
def forked(folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which kernels are forked; the process that forks them ends with the context, and with it all of them."""
    spec = folder / "kernels" / "python3"
    spec.mkdir(parents=True)
    words = [sys.executable, "-S", "-E", __file__, "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": words, "display_name": "Python 3", "language": "python"}))
    environment = plain() | {"JUPYTER_PATH": str(folder), SOCKET: str(folder / "s")}
    with subprocess.Popen([sys.executable, __file__], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout.readline() == b"ready\n"
            yield environment
        finally:
            server.stdin.close()  # its end


# --- in the place of ipykernel_launcher --------------------------------------------------------------------------------


def hand_over(words: list[str]) -> None:
    """Ask for a kernel, pass signals on to it, and end when it does, or whoever wanted it: then it ends too."""
    parent = os.getppid()
    with socket.socket(socket.AF_UNIX) as kernel:
        kernel.connect(os.environ[SOCKET])
        asked = json.dumps([words, os.getcwd(), dict(os.environ)]).encode()
        socket.send_fds(kernel, [len(asked).to_bytes(4)], [0, 1, 2])
        kernel.sendall(asked)
        number = int.from_bytes(kernel.recv(4))
        for sign in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sign, lambda sign, frame: os.kill(number, sign))
        while os.getppid() == parent and not select.select([kernel], [], [], 1.0)[0]:
            pass


# --- the process that forks -----------------------------------------------------------------------------------------------


def serve() -> None:
    """Fork kernels until the standard input ends."""
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # as a kernel sets it, before matplotlib is imported
    for name in PACKAGES:
        __import__(name)
    gc.freeze()  # or every collection would copy what all share
    assert not [name for name in sys.modules if name.partition(".")[0] == "lib"]
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.environ[SOCKET])
        server.listen()
        print("ready", flush=True)
        started: set[int] = set()
        while server in select.select([server, sys.stdin], [], [])[0]:
            asker, _ = server.accept()
            if (number := os.fork()) == 0:
                server.close()
                kernel(asker)
            asker.close()
            started = {one for one in (*started, number) if os.waitpid(one, os.WNOHANG)[0] == 0}  # the others have ended
    for number in started:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
        os.waitpid(number, 0)


def kernel(asker: socket.socket) -> None:
    """Become the kernel that is asked for; it ends with whoever asked."""
    size, files, *_ = socket.recv_fds(asker, 4, 3)
    words, folder, environment = json.loads(asker.recv(int.from_bytes(size), socket.MSG_WAITALL))
    for own, given in enumerate(files):
        os.dup2(given, own)
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    asker.sendall(os.getpid().to_bytes(4))
    threading.Thread(target=lambda: (asker.recv(1), os._exit(1)), daemon=True).start()
    sys.argv, sys.path[0] = ["ipykernel_launcher", *words], folder
    status = 0
    try:
        runpy.run_module("ipykernel_launcher", run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        status = int(bool(ended.code))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    hand_over(sys.argv[1:]) if sys.argv[1:] else serve()
