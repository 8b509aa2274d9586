"""One module per table of the papers: its rows, recipes, published values and claims."""

import importlib

NAMES = ("gazecapture", "inaturalist", "saliency_depth", "cub200", "salicon", "mrcnn", "proposal")


def get(name: str):
    """The `Table` called `name`; an unknown one is an error that lists the right names."""
    if name not in NAMES:
        raise ValueError(f"there is no table {name!r}; the tables are {', '.join(NAMES)}")
    return importlib.import_module(f"lib.tables.{name}").TABLE
