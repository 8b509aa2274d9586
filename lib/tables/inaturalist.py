"""Table 2 of "Learning to Zoom": top-1 and top-5 on iNaturalist 2017, for ResNet-101 and for what is put before it.

Section 4.2. Published values are those of the paper's Table 2. Beside its rows: an oracle grid at the animal's box, the plain
network at the resolution that costs as much as the sampler, the blur of section 3.3 as an experiment of its own (none, a
third of the epochs, all of them), and on the twin a negative control whose details survive shrinking.

`demo` has small networks of both families, residual and Inception; Inception V3 itself sees 299 px, the small one 64.
"""

from torch import nn
from torchvision import models

from lib.data.inaturalist import INaturalist
from lib.data.synthetic import inaturalist as twin
from lib.models.backbones import IMAGENET_NORMALIZATION as IMAGENET
from lib.models.backbones import load_imagenet, pretrained
from lib.models.rivals import Uniform
from lib.models.sampler import SaliencySampler, SampledNetwork
from lib.models.small_inception import small_inception
from lib.tables import recognition as r
from lib.tables.table import Row, Settings, Table
from lib.training.progress import Progress
from lib.training.recognition import RecognitionTask

PRESETS = r.presets(network="resnet101", real_classes=5089, twin_classes=16, epochs=10)


def inception(p: r.Preset) -> nn.Module:
    if p.network == "small":
        return small_inception(p.classes)
    network = models.inception_v3(weights=None, num_classes=p.classes, aux_logits=False, init_weights=False)
    network.transform_input = True  # torchvision's weights expect inputs in [-1, 1]; it switches this on with them
    if (weights := pretrained("inception_v3")) is not None:
        load_imagenet(network, weights, replaced=("fc",))
    return network


def inception_plain(p: r.Preset) -> nn.Module:
    return SampledNetwork(Uniform(p.inception_size), inception(p), normalize=IMAGENET)


def inception_sampler(p: r.Preset) -> nn.Module:
    return SaliencySampler(inception(p), r.trunk(p), p.inception_size, p.view_size, normalize=IMAGENET)


def published(top1: int, top5: int) -> dict[str, float]:
    return {"top-1": top1, "top-5": top5}


ROWS = (
    Row(name="plain", label="Plain ResNet-101 (RN)", build=r.plain, published=published(60, 83)),
    Row(name="deformable", label="RN + Deformable Convolutions", build=r.deformable, published=published(44, 69)),
    Row(name="stn_affine", label="RN + STN", build=r.stn_affine, published=published(60, 83)),
    Row(name="grid_estimator", label="RN + Grid Estimator", build=r.grid_estimator, published=published(61, 83)),
    Row(name="stn_tps", label="RN + STN TPS", build=r.stn_tps, published=published(62, 84)),
    Row(name="cam", label="RN + CAM crop, two passes", build=r.cam, trained=False, needs=("plain",), published=published(62, 84)),
    Row(name="sampler", label="RN + Saliency Sampler", build=r.sampler, recipe=r.unblurred, published=published(65, 86)),
    Row(name="blur_third", label="RN + Sampler, blur in a third of the epochs", build=r.sampler, recipe=r.blurred_third),
    Row(name="blur_always", label="RN + Sampler, blur in all epochs", build=r.sampler, recipe=r.blurred_always),
    Row(name="same_cost", label="RN at the sampler's cost", build=r.same_cost),
    Row(name="oracle", label="RN + oracle grid at the box", build=r.oracle),
    Row(name="inception_plain", label="Plain Inception V3", build=inception_plain, published=published(64, 86)),
    Row(name="inception_sampler", label="Inception V3 + Saliency Sampler", build=inception_sampler, recipe=r.unblurred,
        published=published(66, 87)),
    *r.CONTROLS,
    Row(name="featureless", label="RN + Sampler, pictures blurred until featureless", build=r.featureless, trained=False, needs=("sampler",)),
)


def open_task(chosen: Settings, p: r.Preset, variant: str, progress: Progress) -> tuple[RecognitionTask, dict]:
    return r.open_recognition(chosen, p, variant, progress, loader=INaturalist, twin=twin, name="inaturalist")


RIVALS = ("deformable", "stn_affine", "grid_estimator", "stn_tps", "cam", "same_cost", "oracle")
TABLE = Table(
    name="inaturalist", title="Table 2: iNaturalist 2017", paper="Learning to Zoom, section 4.2, Table 2", rows=ROWS, reference="plain",
    columns=r.COLUMNS, presets=PRESETS, open_task=open_task, datasets=("twin", "inaturalist"),
    comparisons=(*(("sampler", rival) for rival in RIVALS), ("blur_third", "sampler"), ("blur_always", "sampler"),
                 ("inception_sampler", "inception_plain"), ("control_sampler", "control_plain")))
