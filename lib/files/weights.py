"""What stands beside the weights in a safetensors file: plain values in its header, read without the weights and without torch."""

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open


def weights_header(path: Path) -> dict | None:
    """The plain values that `lib.training.checkpoint.save_weights` kept beside the weights; None where there are no such weights, or none to read."""
    try:
        with safe_open(path, "np") as file:
            return json.loads((file.metadata() or {})["header"])
    except (OSError, ValueError, KeyError, RecursionError, SafetensorError):
        return None
