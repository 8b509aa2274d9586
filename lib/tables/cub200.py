"""Table 4 of "Learning to Zoom": accuracy on CUB-200-2011, for a network and with the saliency sampler before it.

Section 4.3; ResNet-50 and sampler at 227 px, the saliency network has 14 layers. DT-RAM's values are quoted from the paper's table;
`look_again` is a small network of its kind (`lib.models.dtram` lists how it deviates). The test crop is Table 2's: the paper does not name another.

`photos` and `photos-224` are Table 4 on real photographs in minutes: ten species that are hard to tell apart, pretrained
EfficientNet-lite0, and Table 2's rivals beside the paper's rows. Deformable convolutions are not among them: lite0 has no dense 3x3
convolution after its stem, and offsets for depthwise ones are another method.
"""

from functools import partial

from lib.data.cub200 import CUB200
from lib.data.synthetic import cub200 as twin
from lib.models import zoomed
from lib.models.dtram import look_again
from lib.tables import recognition as r
from lib.tables.table import Quoted, Row, Table, Twin

BIRDS = (9, 10, 11, 12, 14, 15, 29, 30, 31, 33)  # published numbers: four blackbirds, and two each of buntings, crows and cuckoos
SEEN = ("Ten of the 200 species. lite0 comes with ImageNet's weights, and some of CUB's test photographs are ImageNet's too: that lifts all rows, "
        "and says nothing of their differences.")
PRESETS = r.presets(task="resnet50", real_classes=200, twin_classes=16, epochs=14) | r.photos(outputs=len(BIRDS), classes=BIRDS)

ROWS = (
    Row(name="plain", label="Plain network", network=zoomed.plain, published={"top-1": 81.6}),
    Row(name="cam", label="CAM crop, two passes", network=zoomed.cam, recipe=None, needs=("plain",)),
    Row(name="sampler", label="Saliency sampler", network=zoomed.sampler, published={"top-1": 84.5}),
    Row(name="oracle", label="Oracle grid at the box", network=zoomed.oracle),
    Row(name="oracle_head", label="Oracle grid at the head", network=zoomed.oracle, options={"at": "head_annotation"}, presets=r.PHOTOS),
    Row(name="same_cost", label="Plain network at the sampler's cost", network=zoomed.same_cost, presets=r.PHOTOS),
    Row(name="stn_affine", label="STN, affine", network=zoomed.stn_affine, presets=r.PHOTOS),
    Row(name="stn_tps", label="STN, TPS", network=zoomed.stn_tps, presets=r.PHOTOS),
    Row(name="grid_estimator", label="Grid estimator", network=zoomed.grid_estimator, presets=r.PHOTOS),
    Row(name="look_again", label="Crops, looks again, stops when sure", network=look_again),
    *r.CONTROLS,
)

TABLE = Table(
    name="cub200", title="Table 4: CUB-200-2011", paper="Learning to Zoom, section 4.3, Table 4", rows=ROWS, reference="plain",
    columns=r.COLUMNS + r.ZOOMS, presets=PRESETS, open=partial(r.open_recognition, loader=CUB200), twin=Twin(module=twin, name="cub200", **r.DETAILS),
    datasets=("twin", "cub200"), watched=r.WATCHED, caveats=dict.fromkeys(r.PHOTOS, SEEN), comparisons=(
        ("sampler", "cam"), ("sampler", "look_again"), ("sampler", "oracle"), ("control_sampler", "control_plain"), ("sampler", "same_cost"),
        ("sampler", "stn_affine"), ("sampler", "stn_tps"), ("sampler", "grid_estimator"), ("oracle_head", "oracle")),
    quoted=tuple(Quoted(label=f"DT-RAM, {size} px", values={"top-1": value}, source="Learning to Zoom, Table 4")
                 for size, value in ((224, 82.8), (448, 86.0))))
