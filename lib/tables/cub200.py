"""Table 4 of "Learning to Zoom": accuracy on CUB-200-2011, for ResNet-50 and with the saliency sampler before it.

Section 4.3; both networks at 227 px, the saliency network has 14 layers. DT-RAM's values are quoted from the paper's table;
`look_again` is a small network of its kind (`lib.models.dtram` lists how it deviates). The test crop is Table 2's: the paper does not name another.
"""

from functools import partial

from lib.data.cub200 import CUB200
from lib.data.synthetic import cub200 as twin
from lib.models import zoomed
from lib.models.dtram import look_again
from lib.tables import recognition as r
from lib.tables.table import Quoted, Row, Table, Twin

PRESETS = r.presets(task="resnet50", real_classes=200, twin_classes=16, epochs=14)

ROWS = (
    Row(name="plain", label="Plain ResNet-50, 227 px", network=zoomed.plain, published={"top-1": 81.6}),
    Row(name="cam", label="ResNet-50 + CAM crop, two passes", network=zoomed.cam, recipe=None, needs=("plain",)),
    Row(name="sampler", label="ResNet-50 + Saliency Sampler, 227 px", network=zoomed.sampler, published={"top-1": 84.5}),
    Row(name="oracle", label="ResNet-50 + oracle grid at the box", network=zoomed.oracle),
    Row(name="look_again", label="Crops, looks again, stops when sure", network=look_again),
    *r.CONTROLS,
)

TABLE = Table(
    name="cub200", title="Table 4: CUB-200-2011", paper="Learning to Zoom, section 4.3, Table 4", rows=ROWS, reference="plain",
    columns=r.COLUMNS, presets=PRESETS, open=partial(r.open_recognition, loader=CUB200), twin=Twin(module=twin, name="cub200", **r.DETAILS),
    datasets=("twin", "cub200"),
    comparisons=(("sampler", "cam"), ("sampler", "look_again"), ("sampler", "oracle"), ("control_sampler", "control_plain")),
    quoted=tuple(Quoted(label=f"DT-RAM, {size} px", values={"top-1": value}, source="Learning to Zoom, Table 4")
                 for size, value in ((224, 82.8), (448, 86.0))))
