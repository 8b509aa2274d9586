"""Reproductions of "Learning to Zoom", EML-NET, Mr-CNN and salience region proposal."""

import os

__version__ = "0.1.0"

# Threads that wait for one another shall sleep, not spin: on a busy machine spinning makes small operations twenty times as
# slow. It counts only when it is set before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
