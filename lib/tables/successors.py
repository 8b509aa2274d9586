"""Beyond the papers: which way from the saliency to a grid is best? Successors' grids in the sampler's place, on Table 2's twin or on real pictures.

The saliency sampler's successors changed the grid and everything around it, so no two of their papers compare grids. Here rows differ in nothing else
(`lib.models.successors` says whose grid is whose): with the same saliency network, trained end to end, and with the same heat map of the annotation,
which asks which grid is best where the saliency is right? Grids enlarge by different amounts for one map. A network makes its map as strong as it
needs; a given map cannot, so `POWERS` are the exponents at which the animals of the twin's validation pictures are enlarged as much as by the
attraction, 2.2 times linearly (found with `demo`, with no look at accuracy). Similar cells reach 1.4, whatever the map: they want 1.5, as released.

Recipe and sizes are Table 2's, and so are its rows: `records` names where they lie. On birds they are Table 4's.
Anisotropy and shear are the worst that is done to the animal, a mean over pictures. The twin of `demo` leaves out what is dear there: the transport,
which takes 3 ms a map (balanced) or 28 (exact) on a core where the sampler takes 2 a picture, and the two with a fixed map. `demo-all` and real data
have them.
"""

import functools
from dataclasses import replace

from lib.data.cub200 import CUB200
from lib.data.inaturalist import INaturalist
from lib.models import successors
from lib.tables import cub200, inaturalist
from lib.tables import recognition as r
from lib.tables.table import Column, Opened, Row, Source

LOADERS = {"twin": INaturalist, "inaturalist": INaturalist, "cub200": CUB200}
PRESETS = inaturalist.PRESETS | {"paper-birds": cub200.PRESETS["paper"]} | {
    name: preset for name, preset in cub200.PRESETS.items() if name not in inaturalist.PRESETS}
PRESETS |= {"demo-all": PRESETS["demo"]}
POWERS = {"separable": 1.5, "marginal": 0.8, "cells": 1.0, "balanced": 0.9, "transport": 0.9}
DEAR = ("demo",)  # whose twin leaves them out


def shared(name: str, label: str) -> Row:
    """A row of Table 2, without what its paper reports."""
    return replace(inaturalist.TABLE.row(name), label=label, published={})


def learned(grid: str, label: str, **options) -> Row:
    return Row(name=f"learned_{grid}", label=label, network=successors.learned, options={"grid": grid}, **options)


def told(grid: str, label: str, **options) -> Row:
    return Row(name=f"told_{grid}", label=f"Told where: {label}", network=successors.told, options={"grid": grid, "power": POWERS[grid]}, **options)


ROWS = (
    shared("plain", "Plain"),
    shared("same_cost", "Plain at the sampler's cost"),
    shared("sampler", "Attraction (Learning to Zoom)"),
    learned("separable", "Separable attraction (FOVEA, LZU)"),
    learned("marginal", "Equal mass per axis (TASN, AttWarp)"),
    learned("cells", "Similar cells (ZoomTrack)"),
    learned("balanced", "Equal mass in the plane, balanced", left_out=DEAR),
    learned("transport", "Equal mass in the plane, exact", left_out=DEAR),
    Row(name="fovea", label="Separable, fixed and adaptive map (FOVEA)", network=successors.fovea, left_out=DEAR),
    Row(name="lzu", label="Separable, fixed map (LZU)", network=successors.lzu, left_out=DEAR),
    shared("oracle", "Told where: attraction"),
    told("separable", "separable attraction"),
    told("marginal", "equal mass per axis"),
    told("cells", "similar cells"),
    told("balanced", "equal mass in the plane, balanced"),
    told("transport", "equal mass in the plane, exact", left_out=DEAR),
)
COLUMNS = (
    r.COLUMNS[0],
    Column(name="box", metric="box_magnification", quantity="linear magnification of the animal", unit="×", lower_is_better=None),
    Column(name="detail", metric="detail_magnification", quantity="linear magnification of the detail", unit="×", lower_is_better=None),
    Column(name="anisotropy", metric="anisotropy", quantity="worst anisotropy of the animal", lower_is_better=True),
    Column(name="shear", metric="shear", quantity="worst shear of the animal", unit="°", lower_is_better=True, digits=1),
    Column(name="folds", metric="folds", quantity="cells that fold", unit="%", lower_is_better=True, scale=100),
)


@functools.wraps(r.open_recognition)
def open_pictures(source: Source, **options) -> Opened:
    return r.open_recognition(source, **options | {"loader": LOADERS[source.dataset]})


TABLE = replace(
    inaturalist.TABLE, name="successors", title="Successors' grids", paper="A question of this repository, after Learning to Zoom", rows=ROWS,
    columns=COLUMNS, presets=PRESETS, open=open_pictures, datasets=tuple(LOADERS), records="inaturalist", comparisons=(
        *((f"learned_{grid}", "sampler") for grid in POWERS), ("fovea", "sampler"), ("lzu", "sampler"), ("sampler", "same_cost"),
        *((f"told_{grid}", "oracle") for grid in POWERS)))
