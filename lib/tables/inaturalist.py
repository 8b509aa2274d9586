"""Table 2 of "Learning to Zoom": top-1 and top-5 on iNaturalist 2017, for ResNet-101 and for what is put before it.

Section 4.2. Published values are those of the paper's Table 2. Beside its rows: an oracle grid at the animal's box, the plain
network at the resolution that costs as much as the sampler, the blur of section 3.3 as an experiment of its own (none, a
third of the epochs, all of them), and on the twin a negative control whose details survive shrinking.

`demo` has small networks of both families, residual and Inception; Inception V3 itself sees 299 px, the small one 64.
"""

from functools import partial

from lib.data.inaturalist import INaturalist
from lib.data.synthetic import inaturalist as twin
from lib.models import zoomed
from lib.models.baselines import Featureless
from lib.tables import recognition as r
from lib.tables.table import FromPreset, Row, Table, Twin

PRESETS = r.presets(task="resnet101", real_classes=5089, twin_classes=16, epochs=10)
INCEPTION = {"task": FromPreset("inception"), "task_size": FromPreset("inception_size")}


def published(top1: int, top5: int) -> dict[str, float]:
    return {"top-1": top1, "top-5": top5}


ROWS = (
    Row(name="plain", label="Plain network", network=zoomed.plain, published=published(60, 83)),
    Row(name="deformable", label="Deformable convolutions", network=zoomed.deformable, published=published(44, 69)),
    Row(name="stn_affine", label="STN, affine", network=zoomed.stn_affine, published=published(60, 83)),
    Row(name="grid_estimator", label="Grid estimator", network=zoomed.grid_estimator, published=published(61, 83)),
    Row(name="stn_tps", label="STN, TPS", network=zoomed.stn_tps, published=published(62, 84)),
    Row(name="cam", label="CAM crop, two passes", network=zoomed.cam, recipe=None, needs=("plain",), published=published(62, 84)),
    Row(name="sampler", label="Saliency sampler", network=zoomed.sampler, published=published(65, 86)),
    Row(name="blur_third", label="Sampler, blur in a third of the epochs", network=zoomed.sampler, changes={"blur": 1 / 3}),
    Row(name="blur_always", label="Sampler, blur in all epochs", network=zoomed.sampler, changes={"blur": 1.0}),
    Row(name="same_cost", label="Plain network at the sampler's cost", network=zoomed.same_cost),
    Row(name="oracle", label="Oracle grid at the box", network=zoomed.oracle),
    Row(name="inception_plain", label="Inception: plain network", network=zoomed.plain, options=INCEPTION, published=published(64, 86)),
    Row(name="inception_sampler", label="Inception: saliency sampler", network=zoomed.sampler, options=INCEPTION, published=published(66, 87)),
    *r.CONTROLS,
    Row(name="featureless", label="Sampler, pictures blurred until featureless", network=Featureless, recipe=None, needs=("sampler",)),
)

RIVALS = ("deformable", "stn_affine", "grid_estimator", "stn_tps", "cam", "same_cost", "oracle")
TABLE = Table(
    name="inaturalist", title="Table 2: iNaturalist 2017", paper="Learning to Zoom, section 4.2, Table 2", rows=ROWS, reference="plain",
    columns=r.COLUMNS, presets=PRESETS, open=partial(r.open_recognition, loader=INaturalist), twin=Twin(module=twin, name="inaturalist", **r.DETAILS),
    datasets=("twin", "inaturalist"), watched=r.WATCHED, comparisons=(
        *(("sampler", rival) for rival in RIVALS), ("blur_third", "sampler"), ("blur_always", "sampler"),
        ("inception_sampler", "inception_plain"), ("control_sampler", "control_plain")))
