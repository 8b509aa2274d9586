"""Beyond the papers: EML-NET behind the saliency sampler. Does a small input that is zoomed where people may look beat the same input resized?

Two systems of this repository in one: "Learning to Zoom" before EML-NET's encoder, and the encoder's map carried back to the photograph
(`lib.models.unzoomed`). The photograph is read with twice as many pixels along each axis, or more; what the encoder gets is 120x160 pixels
(`demo`). The saliency network before the grid sees 60x80. All rows are trained as EML-NET's encoder A with the combined loss; the plain row
is that row, and its records are read (`records`).

`same_cost` is the plain encoder with as many operations as sampler and encoder have together, in input pixels. `not_unzoomed` is the
sampler's row whose maps are left where the zoom put them: wrong on purpose, what carrying back is worth. `oracle` zooms by the true map of
fixations.

What to expect: fixation maps are smooth (24 of 800 px on OSIE), and an encoder at 120x160 is not short of pixels for that. The zoom can help
where small things, faces and words, draw the eye, and costs where it gives up pixels. Nothing was tuned for any row here.
"""

from dataclasses import dataclass

import torch

from lib.data.synthetic import salicon as twin
from lib.models import unzoomed
from lib.models.network import declared, flops
from lib.models.unzoomed import UnzoomedNetwork
from lib.models.zoomed import trunk_of
from lib.tables import salicon
from lib.tables.saliency import CEILING, FLOOR, opened
from lib.tables.table import Column, Opened, Row, Source, Table, Twin, opens
from lib.training.saliency import FullPictureTask

Size = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Preset(salicon.Preset):
    """EML-NET's, and what is before its encoder."""

    trunk: str  # of the saliency network
    view_size: Size  # that it sees


def preset(name: str, **options) -> Preset:
    return Preset(**vars(salicon.PRESETS[name]) | options)


PRESETS = {"smoke": preset("smoke", trunk="small", view_size=(36, 48)), "demo": preset("demo", trunk="small", view_size=(60, 80)),
           "paper": preset("paper", trunk="resnet18", view_size=(120, 160), size=(240, 320))}
PRESETS |= {"demo-all": PRESETS["demo"]}
DEAR = ("demo",)  # whose twin leaves two rows out, `demo-all` and real data do not: one with a sampler takes three core minutes there


@declared("unzoomed_sampler", "layer", "backbones", "emlnet", "unzoom")
def sampler(*, family: str, trunk: str, size: Size, view_size: Size) -> UnzoomedNetwork:
    return UnzoomedNetwork(salicon.encoder(family=family), unzoomed.attraction(trunk_of(trunk), size, view_size), size)


@declared("unzoomed_fovea", "layer", "backbones", "emlnet", "grids", "unzoom")
def fovea(*, family: str, trunk: str, size: Size, view_size: Size) -> UnzoomedNetwork:
    return UnzoomedNetwork(salicon.encoder(family=family), unzoomed.composite(trunk_of(trunk), size, view_size), size)


@declared("unzoomed_centre", "layer", "emlnet", "grids", "unzoom")
def centre(*, family: str, size: Size) -> UnzoomedNetwork:
    return UnzoomedNetwork(salicon.encoder(family=family), unzoomed.centre(size), size)


@declared("unzoomed_oracle", "layer", "emlnet", "unzoom")
def oracle(*, family: str, size: Size) -> UnzoomedNetwork:
    return UnzoomedNetwork(salicon.encoder(family=family), unzoomed.truth(size), size)


@declared("not_unzoomed", "unzoom")
def not_unzoomed(trained: UnzoomedNetwork) -> UnzoomedNetwork:
    """A trained row with a sampler whose maps stay where the zoom put them."""
    return UnzoomedNetwork(trained.model.network, trained.model.sampler, trained.model.size, back=False)


@declared("finer_encoder", "layer", "backbones", "emlnet", "unzoom", "cost")
def same_cost(*, family: str, trunk: str, size: Size, view_size: Size) -> UnzoomedNetwork:
    """The plain encoder at the higher resolution that costs as many operations as the sampler and the encoder."""
    encoder = salicon.encoder(family=family)
    both = UnzoomedNetwork(encoder, unzoomed.attraction(trunk_of(trunk), size, view_size), size)
    picture, view = torch.zeros(1, 3, *(4 * side for side in size)), torch.zeros(1, 3, *view_size)
    ratio = flops(both, picture, view) / flops(encoder, torch.zeros(1, 3, *size))
    return UnzoomedNetwork(encoder, unzoomed.finer(size, ratio), size)


ROWS = (
    *(row for row in FLOOR if row.name == "centre_bias"),
    Row(name="encoder_a", label="EML-NET's encoder, resized (plain)", network=salicon.encoder),
    Row(name="same_cost", label="The same at the sampler's cost", network=same_cost),
    Row(name="sampler", label="Sampler, encoder, unzoomed", network=sampler),
    Row(name="not_unzoomed", label="The same, not unzoomed (wrong)", network=not_unzoomed, recipe=None, needs=("sampler",)),
    Row(name="fovea", label="Separable, centre and own map (FOVEA), unzoomed", network=fovea, left_out=DEAR),
    Row(name="centre", label="Separable, fixed centre map (LZU), unzoomed", network=centre),
    Row(name="oracle", label="Told where: attraction by the true map, unzoomed", network=oracle, left_out=DEAR),
    *CEILING,
)
COLUMNS = (
    *(column for column in salicon.COLUMNS if column.name in ("NSS", "CC", "KL", "sAUC")),
    Column(name="zoom", metric="fixation_zoom", quantity="linear zoom at the fixations", unit="×", lower_is_better=None),
)


@opens("pictures", "views", "truth", "saliency", values=("saliency values", "unzoom values"))
def open_photographs(source: Source, *, size: Size) -> Opened:
    task = FullPictureTask(salicon.selections(source, ""), size, cache_dir=source.cache_dir, progress=source.progress)
    return opened(task, f"photographs {task.pictures['train'].how}")


ZOOMED = ("sampler", "fovea", "centre", "oracle")
TABLE = Table(
    name="unzoomed", title="EML-NET behind the sampler", paper="A question of this repository, after Learning to Zoom and EML-NET", rows=ROWS,
    reference="encoder_a", columns=COLUMNS, presets=PRESETS, open=open_photographs, twin=Twin(module=twin, name="salicon"),
    datasets=("twin", "salicon", "osie"), records="salicon",
    comparisons=(*((row, "same_cost") for row in ZOOMED), ("sampler", "not_unzoomed"), ("fovea", "sampler"), ("centre", "sampler"),
                 ("oracle", "sampler")))
