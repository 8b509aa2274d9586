"""Table 3 of "Learning to Zoom": how deep the saliency network must be, on iNaturalist 2017.

Section 4.2. Without one, and with 6, 10 and 14 layers: ResNet-18's first convolution, four more for each stage that is kept,
and the sampler's own 1x1. The first and the last row are Table 2's and computed once: `records` names where they lie. The
small saliency network is cut in the same way: its first convolution and one, two or three residual blocks.
"""

from dataclasses import replace

from lib.models import zoomed
from lib.tables import inaturalist
from lib.tables.table import Row

ROWS = (
    replace(inaturalist.TABLE.row("plain"), label="No saliency network"),
    Row(name="depth_6", label="6 layers", network=zoomed.sampler, options={"layers": 6}, published=inaturalist.published(62, 84)),
    Row(name="depth_10", label="10 layers", network=zoomed.sampler, options={"layers": 10}, published=inaturalist.published(64, 85)),
    replace(inaturalist.TABLE.row("sampler"), label="14 layers"),
)

TABLE = replace(
    inaturalist.TABLE, name="saliency_depth", title="Table 3: depth of the saliency network", paper="Learning to Zoom, section 4.2, Table 3",
    rows=ROWS, records="inaturalist", comparisons=(("depth_10", "depth_6"), ("sampler", "depth_10")))
