"""One module per table of the papers: its rows, recipes and published values."""

import importlib

NOTEBOOKS = {"01": "gazecapture", "02": "inaturalist", "03": "saliency_depth", "04": "cub200", "05": "salicon", "06": "mrcnn", "07": "proposal",
             "08": "successors", "10": "unzoomed"}
NAMES = tuple(NOTEBOOKS.values())
OWN = ("compare",)  # tables on somebody's own data, which no report gathers
MEANINGLESS = "smoke"  # the preset whose numbers mean nothing


def get(name: str):
    """The `Table` called `name`; an unknown one is an error that lists the right names."""
    if name not in NAMES + OWN:
        raise ValueError(f"there is no table {name!r}; the tables are {', '.join(NAMES)}")
    return importlib.import_module(f"lib.tables.{name}").TABLE
