"""Table 4 of "Learning to Zoom": accuracy on CUB-200-2011, for ResNet-50 and with the saliency sampler before it.

Section 4.3; both networks at 227 px, the saliency network has 14 layers. DT-RAM's values are quoted from the paper's table;
no row of ours stands for it. The test crop is Table 2's: the paper does not name another.
"""

from lib.data.cub200 import CUB200
from lib.data.synthetic import cub200 as twin
from lib.tables import recognition as r
from lib.tables.table import Quoted, Row, Settings, Table
from lib.training.progress import Progress
from lib.training.recognition import RecognitionTask

PRESETS = r.presets(network="resnet50", real_classes=200, twin_classes=16, epochs=14)

ROWS = (
    Row(name="plain", label="Plain ResNet-50, 227 px", build=r.plain, published={"top-1": 81.6}),
    Row(name="cam", label="ResNet-50 + CAM crop, two passes", build=r.cam, trained=False, needs=("plain",)),
    Row(name="sampler", label="ResNet-50 + Saliency Sampler, 227 px", build=r.sampler, recipe=r.unblurred, published={"top-1": 84.5}),
    Row(name="oracle", label="ResNet-50 + oracle grid at the box", build=r.oracle),
    *r.CONTROLS,
)


def open_task(chosen: Settings, p: r.Preset, variant: str, progress: Progress) -> tuple[RecognitionTask, dict]:
    return r.open_recognition(chosen, p, variant, progress, loader=CUB200, twin=twin, name="cub200")


TABLE = Table(
    name="cub200", title="Table 4: CUB-200-2011", paper="Learning to Zoom, section 4.3, Table 4", rows=ROWS, reference="plain",
    columns=r.COLUMNS, presets=PRESETS, open_task=open_task, datasets=("twin", "cub200"),
    comparisons=(("sampler", "cam"), ("sampler", "oracle"), ("control_sampler", "control_plain")),
    quoted=tuple(Quoted(label=f"DT-RAM, {size} px", values={"top-1": value}, source="Learning to Zoom, Table 4")
                 for size, value in ((224, 82.8), (448, 86.0))))
