"""What every notebook calls first."""

import ast
import os

import torch

from lib.batch import NAMES
from lib.tables.helpers import BY_BATCH


def check_parameters(history: list[str]) -> None:
    """Refuse misspelt parameters: papermill injects whatever it is given, and only warns.

    history: IPython's `In`. Looks at the cell that papermill injected, which begins with "# Parameters". In a batch whose helpers
    keep the other cores busy, torch gets one thread: several would wait for one another.
    """
    if BY_BATCH in os.environ:
        torch.set_num_threads(1)
    for source in history:
        if source.startswith("# Parameters"):
            assigned = {target.id for node in ast.parse(source).body if isinstance(node, ast.Assign) for target in node.targets}
            if unknown := sorted(assigned - set(NAMES)):
                raise ValueError(f"unknown parameter {', '.join(unknown)}; the parameters are {', '.join(NAMES)}")
