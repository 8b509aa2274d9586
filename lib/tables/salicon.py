"""EML-NET's table: saliency maps on SALICON, for one encoder with two losses, two encoders, and both through the decoder.

Jia and Bruce, "EML-NET: an expandable multi-layer network for saliency prediction" (arXiv 1805.01047), and the released code
(SenJia/EML-NET-Saliency). Two encoders are trained apart, each with readouts at five depths; then both are frozen and a small
decoder combines their ten maps. The paper's ablations could not be had, so no row of ours has a published value beside it;
the published test rows stand apart, quoted.

Training as released (`RELEASED`; weight decay on everything): the flag of the learning rate says 0.1, of which the combined loss uses a tenth and
`--mse` all. Images in [0, 1], no mean subtracted, half of them mirrored. Ours beside it: validation after every epoch, on images held out from
training, and the epoch with the best NSS is kept. `photos` has encoders on lite0 with ImageNet's weights, its batch norms held, with bilinear
readouts; A and B differ in the readouts' first values alone. `demo` has small networks, and learning rates of its own, chosen for each loss alike.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from lib.data.salicon import SALICON, SALICON2014
from lib.data.saliency_store import Selection
from lib.data.synthetic import salicon as twin
from lib.models.emlnet import Decoder, SmallEncoder
from lib.models.emlnet_nasnet import NasNetEncoder, pretrained_nasnet
from lib.models.emlnet_weights import encoder_a, encoder_b
from lib.models.lite0 import Lite0Encoder
from lib.models.network import declared
from lib.models.saliency_baselines import Released
from lib.tables import saliency
from lib.tables.saliency import CEILING, COLUMNS, FLOOR, LISTED, PHOTOS
from lib.tables.table import Opened, Quoted, Row, Source, Table, TablePreset, Twin, opens
from lib.training.loop import Recipe
from lib.training.saliency import SaliencyTask


RELEASED = Recipe(epochs=10, batch_size=8, optimiser="sgd", weight_decay=1e-4, schedule="step", step_epochs=5, keep_best=True)


def released(lr: float, loss: str, **changes) -> Recipe:
    """The released recipe: lr is the effective learning rate, a tenth of the flag's where the loss is the combined one."""
    return replace(RELEASED, lr=lr, loss=loss, **changes)


def tuned(loss: str) -> Recipe:
    """Of lite0 with ImageNet's weights: its readouts, which begin with random values, learn ten times as fast."""
    return Recipe(epochs=5, batch_size=8, lr=3e-4, loss=loss, keep_best=True, rates=(("readout_layers.", 10.0), ("combined.", 10.0)))


@dataclass(frozen=True, kw_only=True)
class Preset(TablePreset):
    """Sizes, networks and recipes; `recipe` is that of the combined loss."""

    family: str  # of the encoders: "small", "lite0" or "paper"
    size: tuple[int, int]  # of input and output, (height, width)
    mse: Recipe
    decoder: Recipe
    small: Recipe = released(0.01, "eml", epochs=24, schedule="wsd")  # of the small encoder beside larger ones: that of `demo`
    split: str = ""  # of MIT1003, which publishes none: a list of ours, or a fifth of the order


# `demo`: the same optimiser from random values. Learning rates by validation NSS (seed 0, 15 epochs): combined loss 1.59, 1.65,
# 1.54 with 0.004, 0.01, 0.03; MSE 1.37, 1.57, 1.56 with 0.1, 0.5, 1.5; decoder 1.61, 1.65, 1.65 with 0.01, 0.1, 0.5.
PRESETS = {
    "smoke": Preset(family="small", size=(72, 96), twin="smoke", recipe=released(0.01, "eml", epochs=2),
                    mse=released(0.5, "mse", epochs=2), decoder=released(0.1, "eml", epochs=1)),
    "demo": Preset(family="small", size=(120, 160), recipe=released(0.01, "eml", epochs=24, schedule="wsd"),
                   mse=released(0.5, "mse", epochs=24, schedule="wsd"), decoder=released(0.1, "eml", epochs=5, schedule="wsd")),
    "photos": Preset(family="lite0", size=(192, 256), recipe=tuned("eml"), mse=tuned("mse"),
                     decoder=released(0.1, "eml", epochs=5, schedule="wsd"), split=LISTED.stem),
    "paper": Preset(family="paper", size=(480, 640), recipe=released(0.01, "eml", autocast=True),
                    mse=released(0.1, "mse", autocast=True), decoder=released(0.01, "eml", autocast=True)),
}


@declared("emlnet_encoder", "emlnet")
def encoder(*, family: str, which: str = "a") -> nn.Module:
    """Encoder A or B, small or the paper's; B starts from other random values than A."""
    if which == "b":
        torch.manual_seed(torch.initial_seed() + 1)
    if family == "small":
        return SmallEncoder()
    if family == "lite0":
        return Lite0Encoder(freeze_norm=True, upsampling="bilinear")
    return encoder_a() if which == "a" else encoder_b()


@declared("nasnet_encoder", "emlnet")
def nasnet() -> nn.Module:
    return NasNetEncoder(weights=pretrained_nasnet(), input_size=(320, 320))


ROWS = (
    *FLOOR,
    Row(name="mse", label="Encoder A, MSE", network=encoder, recipe="mse"),
    Row(name="encoder_a", label="Encoder A, combined loss", network=encoder),
    Row(name="encoder_b", label="Encoder B, combined loss", network=encoder, options={"which": "b"}),
    Row(name="decoder", label="EML-NET: A and B, decoder", network=Decoder, recipe="decoder", needs=("encoder_a", "encoder_b")),
    Row(name="small", label="Small encoder from random values", network=encoder, options={"family": "small"}, recipe="small", presets=PHOTOS),
    Row(name="released", label="EML-NET as its PNG (blur, 8 bit)", network=Released, recipe=None, needs=("decoder",)),
    Row(name="nasnet", label="NASNet-Large encoder, MSE", network=nasnet, recipe="mse", changes={"step_epochs": 3},  # as its own script says
        presets=("paper",)),
    *CEILING,
)

# As read in the results tables that SimpleNet's authors print (samyak0210/saliency, extras/salicon_results.png and mit_results.png).
QUOTED = (
    Quoted(label="EML-NET, SALICON test, LSUN'17 edition", source="SimpleNet's authors' table; which of EML-NET's variants is not said; AUC is "
           "AUC-Borji according to SALICON's maintainer", values={"sAUC": 0.746, "NSS": 2.050, "CC": 0.886, "SIM": 0.780, "KL": 0.520, "IG": 0.736}),
    Quoted(label="EML-NET, MIT300, saliency.mit.edu", source="the same",
           values={"AUC-Judd": 0.88, "sAUC": 0.70, "NSS": 2.47, "CC": 0.79, "SIM": 0.68, "KL": 0.84}),
)


def selections(source: Source, split: str) -> dict[str, Selection]:
    """Images to train on, to choose by and to test on.

    SALICON has no public test fixations: its published validation split is ours to test on, and every tenth image of its
    training split ours to choose by; so of its published examples. The other sets publish no split, see `unpublished_split`.
    """
    if source.dataset in ("twin", "salicon"):
        train, test = examples(source.root) or [SALICON(source.root, split=part) for part in ("train", "val")]
        held = [i for i in range(len(train)) if i % 10 == 9]
        return {"train": Selection(train, [i for i in range(len(train)) if i % 10 != 9]), "val": Selection(train, held),
                "test": Selection(test, range(len(test)))}
    return saliency.selections(source, split)


def examples(root: Path) -> list[SALICON2014]:
    """SALICON's examples of 2014, of training and of validation photographs, from two folders of `root`; none where there is the data set itself."""
    found = [sorted(root.glob(f"*/fixations_{part}2014*examples.json")) for part in ("train", "val")]
    return [SALICON2014(paths[0]) for paths in found] if all(found) and not (root / "images").exists() else []


@opens("pictures", "views", "truth", "saliency", values=("saliency values",))
def open_saliency(source: Source, *, size: tuple[int, int], split: str = "") -> Opened:
    task = SaliencyTask(selections(source, split), size, cache_dir=source.cache_dir, progress=source.progress)
    return saliency.opened(task, f"images {task.stores['train'].how}")


TABLE = Table(
    name="salicon", title="EML-NET: saliency prediction", paper="EML-NET, arXiv 1805.01047, and its released code", rows=ROWS,
    reference="centre_bias", columns=COLUMNS, presets=PRESETS, open=open_saliency, twin=Twin(module=twin, name="salicon"),
    datasets=("twin", "salicon", "osie", "mit1003"),
    comparisons=(("encoder_a", "mse"), ("encoder_b", "encoder_a"), ("decoder", "encoder_a"), ("decoder", "encoder_b"), ("released", "decoder"),
                 ("mse", "ceiling"), ("encoder_a", "ceiling"), ("decoder", "ceiling"), ("encoder_a", "small"), ("decoder", "observers")),
    quoted=QUOTED)
