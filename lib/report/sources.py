"""What others' data, photographs and weights are called, and what their licences allow: the tables of licences in README and data/.

Licences as the authors of each state them; the pages in data/ say where.
"""

from dataclasses import dataclass

from lib.results.grids import Grid, grid


@dataclass(frozen=True)
class Source:
    """A data set: its name in a table's `datasets`, how it is written, its licence, and whether `python -m lib fetch` gets it."""

    name: str
    title: str
    licence: str
    cite: str
    open: bool = False


SOURCES = (
    Source("gazecapture", "GazeCapture", "research only; no copies passed on, nothing commercial, models trained on it included",
           "Krafka et al. 2016"),
    Source("inaturalist", "iNaturalist 2017", "non-commercial research and education; photographs must not be passed on",
           "Van Horn et al. 2018", True),
    Source("cub200", "CUB-200-2011", "non-commercial research; the photographs are Flickr users'", "Wah et al. 2011", True),
    Source("imagenette", "imagenette", "Apache 2.0 for the selection; the photographs under ImageNet's research terms", "Deng et al. 2009", True),
    Source("salicon", "SALICON", "annotations CC BY 4.0; the photographs under Flickr's terms", "Jiang et al. 2015"),
    Source("osie", "OSIE", "MIT", "Xu et al. 2014", True),
    Source("mit1003", "MIT1003, FixaTons' scanpaths", "research use", "Judd et al. 2009; Zanca et al. 2018 (arXiv 1802.02534)", True),
    Source("coursework", "the Mr-CNN coursework's files", "not public; made from MIT1003", "Judd et al. 2009"),
)
TITLES = {one.name: one.title.split(",")[0] for one in SOURCES}


def licences() -> Grid:
    """One line for each data set."""
    return grid(["data set", "licence", "to be cited", "to be had"], [
        [f"[{one.title}]({one.name}.md)", one.licence, one.cite, "`fetch`" if one.open else "ask its authors"] for one in SOURCES], numeric=False)


def title(dataset: str) -> str:
    return TITLES.get(dataset, dataset)
