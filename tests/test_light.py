"""A page of help needs none of the large libraries: neither torch nor torchvision, SciPy or pandas; nor does what only reads small files."""

import subprocess
import sys

from lib.runs import plans

HEAVY = ("torch", "torchvision", "scipy", "pandas")
HELP = """
import contextlib, io, sys
from lib.__main__ import COMMANDS, main
for words in (["--help"], *([name, "--help"] for name in COMMANDS), ["predict", "emlnet", "--help"], ["fetch", "no-such-set", "nowhere"],
              ["verify", "no-such-set", "nowhere"]):
    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.redirect_stderr(text), contextlib.suppress(SystemExit):
        main(words)
    assert "usage: " in text.getvalue() or "no-such-set" in text.getvalue(), words
    print(*words, *(name for name in sys.argv[1:] if name in sys.modules))
"""


def test_no_help_loads_what_only_a_run_needs():
    found = subprocess.run([sys.executable, "-c", HELP, *HEAVY], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert len(found.stdout.splitlines()) >= 13
    assert not [line for line in found.stdout.splitlines() if set(line.split()) & set(HEAVY)]


STATUS = """
import sys
from lib.__main__ import main
assert main(["status", "gazecapture", "--preset", "smoke", "--results", sys.argv[1]]) == 0
print(*(name for name in sys.argv[2:] if name in sys.modules))
"""
MODULES = """
import importlib, sys
for name in sys.argv[1].split():
    importlib.import_module(name)
print(*(name for name in sys.argv[2:] if name in sys.modules))
"""


def test_status_needs_no_torch_once_the_tables_were_looked_at(tmp_path):
    plans.plan("gazecapture")
    found = subprocess.run([sys.executable, "-c", STATUS, tmp_path, *HEAVY], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert "0 done" in found.stdout and found.stdout.splitlines()[-1] == ""


def test_fetching_and_verifying_the_recognition_and_gaze_data_need_no_torch():
    names = " ".join(["lib.data.fetch", *(f"lib.data.{name}_verify" for name in ("gazecapture", "inaturalist", "cub200", "imagenette"))])
    found = subprocess.run([sys.executable, "-c", MODULES, names, *HEAVY], capture_output=True, text=True)
    assert (found.returncode, found.stdout.strip()) == (0, ""), found.stderr
