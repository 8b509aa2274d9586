"""What every notebook calls first."""

import ast

from lib.runs.parameters import PARAMETERS


def check_parameters(history: list[str]) -> None:
    """Refuse misspelt parameters: papermill injects whatever it is given, and only warns.

    history: IPython's `In`. Looks at the cell that papermill injected, which begins with "# Parameters".
    """
    for source in history:
        if source.startswith("# Parameters"):
            assigned = {target.id for node in ast.parse(source).body if isinstance(node, ast.Assign) for target in node.targets}
            if unknown := sorted(assigned - set(PARAMETERS)):
                raise ValueError(f"unknown parameter {', '.join(unknown)}; the parameters are {', '.join(PARAMETERS)}")
