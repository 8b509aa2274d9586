"""A page of help needs none of the large libraries: neither torch nor torchvision, SciPy or pandas."""

import subprocess
import sys

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
