"""EML-NET: saliency from several layers of several networks, trained apart and combined by a small decoder.

Sen Jia and Neil Bruce, "EML-NET: An Expandable Multi-Layer NETwork for saliency prediction", Image and Vision Computing 95,
2020 (arXiv 1805.01047). An encoder reads five layers of a classification network, each through a one-channel readout, and
combines them; it is trained whole. The decoder combines the readouts of two finished encoders, one pretrained on ImageNet and
one on PLACES365; only its 213 parameters are trained. The loss is in `lib.training.saliency_losses`, weights are read by
`lib.models.emlnet_weights`, and the NASNet variant is `lib.models.emlnet_nasnet`.

Conventions: images (B, 3, H, W), uint8 or float in [0, 1], RGB; maps (B, 1, H, W) in [0, 1] at the images' size.

What to know about the release (github.com/SenJia/EML-NET-Saliency), and deviations from it
    - Images are not normalised, although the pretrained networks expect it: as in the release; `normalize=True` does.
    - Readouts are 3x3, as in the released weights by their file size; the figure of its README says 1x1: `readout_kernel=1`.
    - Maps grow by repeating pixels, 32-fold from the last layer: as in the release; `upsampling="bilinear"` does not.
    - The decoder's output has the size of its input; the release fixes it when the decoder is built.
    - How the release initialises its decoder is not known here: PyTorch's defaults.
    - `SmallEncoder` is the demo's: the same readouts on a small residual network that trains from random values.
"""

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.models.backbones import IMAGENET_NORMALIZATION, check_images
from lib.models.network import RowNetwork, declared
from lib.models.sampler import Normalize, like_weights

UPSAMPLING = ("nearest", "bilinear")
RESNET50_CHANNELS = (64, 256, 512, 1024, 2048)  # of conv1 and layer1 to layer4, at stride 2, 4, 8, 16, 32
SMALL_CHANNELS = (16, 24, 48, 80, 96)


def resize(maps: Tensor, size: Sequence[int], upsampling: str) -> Tensor:
    """`maps` (B, C, h, w) at `size` (height, width): "nearest" repeats pixels, "bilinear" has align_corners=False."""
    return F.interpolate(maps, tuple(size), mode=upsampling, align_corners=False if upsampling == "bilinear" else None)


def as_float(images: Tensor, *, smallest: int) -> Tensor:
    """(B, 3, H, W), uint8 or float, as float in [0, 1]; ValueError, one line, for anything else."""
    images = images / 255 if images.dtype == torch.uint8 else images
    check_images(images, smallest=smallest)
    return images


def head(inputs: int, kernel: int, norm: nn.Module, activation: nn.Module) -> nn.Sequential:
    """Convolution to one channel, normalisation, activation: a readout, a branch of the decoder, or the last layers."""
    return nn.Sequential(nn.Conv2d(inputs, 1, kernel, padding=kernel // 2), norm, activation)


def keep_settings(network: nn.Module, *, upsampling: str, normalize: bool = False) -> None:
    """Check and keep the options that no weight shows; those that differ from the release go into the state dict."""
    if upsampling not in UPSAMPLING:
        raise ValueError(f"upsampling must be one of {', '.join(UPSAMPLING)}, got {upsampling!r}")
    network.upsampling = upsampling
    if (upsampling, normalize) != ("nearest", False):
        network.register_buffer("settings", torch.tensor([upsampling == "bilinear", normalize], dtype=torch.uint8))


# Encoders


class EMLEncoder(RowNetwork):
    """Five readouts of a trunk and their combination; `Encoder` and `SmallEncoder` say what the trunk is."""

    inputs = ("view",)  # the parts of a batch that forward takes
    smallest = 32
    view_size = (480, 640)  # what it is trained at, where nobody says otherwise: SALICON's images
    weights_name: str | None = None  # whose weights the trunk began with, where it did not begin with random values

    def __init__(self, channels: Sequence[int], *, readout_kernel: int, upsampling: str, normalize: bool, norm=nn.BatchNorm2d) -> None:
        super().__init__()
        if readout_kernel not in (1, 3):
            raise ValueError(f"readout_kernel must be 1 or 3, got {readout_kernel!r}")
        keep_settings(self, upsampling=upsampling, normalize=normalize)
        self.normalize = Normalize(*IMAGENET_NORMALIZATION) if normalize else nn.Identity()
        self.readout_layers = nn.ModuleList(head(width, readout_kernel, norm(1), nn.ReLU()) for width in channels)
        self.combined = head(len(channels), readout_kernel, norm(1), nn.Sigmoid())

    def layers(self, images: Tensor) -> Iterator[Tensor]:
        """float (B, 3, H, W) -> the trunk's five feature maps, finest first."""
        raise TypeError(f"{type(self).__name__} has no trunk: write its layers()")

    def readouts(self, images: Tensor) -> list[Tensor]:
        """images (B, 3, H, W) -> five maps after their ReLU, (B, 1, H / 2, W / 2) to (B, 1, H / 32, W / 32), rounded up."""
        images = self.normalize(like_weights(as_float(images, smallest=self.smallest), self))
        return [readout(features) for readout, features in zip(self.readout_layers, self.layers(images), strict=True)]

    def forward(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W), uint8 or float in [0, 1] -> saliency (B, 1, H, W) in [0, 1]."""
        maps = self.readouts(images)
        finest = maps[0].shape[-2:]
        joined = torch.cat([resize(m, finest, self.upsampling) for m in maps], dim=1)  # (B, 5, H/2, W/2)
        return resize(self.combined(joined), images.shape[-2:], self.upsampling)

    def _initialise(self) -> None:
        """Convolutions from N(0, 2 / (k k outputs)), biases PyTorch's; norms are 1 and 0 from the start. As in the release."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                deviation = math.sqrt(2 / (math.prod(module.kernel_size) * module.out_channels))
                nn.init.normal_(module.weight, 0, deviation)


class Encoder(EMLEncoder):
    """EML-NET's ResNet-50 encoder: (B, 3, H, W), uint8 or float in [0, 1], 32 px or more -> saliency (B, 1, H, W) in [0, 1].

    The trunk is torchvision's, with its names in the state dict; random values, see `lib.models.emlnet_weights` for others.
    readout_kernel: 3 or 1. upsampling: "nearest" or "bilinear". normalize: by ImageNet's mean and deviation, in forward.
    `readouts(images)` gives the five one-channel maps that the decoder takes. 23,543,231 parameters with 3x3 readouts. The
    paper's input is SALICON's 480x640. Source: the released resnet.py, see the module's docstring.

    Example:
        >>> with torch.device("meta"):  # without the memory
        ...     encoder = Encoder()
        >>> sum(weight.numel() for weight in encoder.parameters())
        23543231
    """

    def __init__(self, *, readout_kernel: int = 3, upsampling: str = "nearest", normalize: bool = False) -> None:
        from torchvision.models import resnet50

        super().__init__(RESNET50_CHANNELS, readout_kernel=readout_kernel, upsampling=upsampling, normalize=normalize)
        for name, module in resnet50(weights=None).named_children():
            if name not in ("avgpool", "fc"):
                self.add_module(name, module)
        self._initialise()

    def layers(self, images: Tensor) -> Iterator[Tensor]:
        x = self.relu(self.bn1(self.conv1(images)))
        yield x  # (B, 64, H/2, W/2), before the pooling
        x = self.maxpool(x)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            yield x  # (B, 256, H/4, W/4) to (B, 2048, H/32, W/32)


def _group_norm(channels: int) -> nn.GroupNorm:
    if channels > 1 and channels % 8:
        raise ValueError(f"channels must be multiples of 8 (GroupNorm has 8 a group), got {channels}")
    return nn.GroupNorm(max(channels // 8, 1), channels)


def _small_stage(inputs: int, outputs: int) -> nn.Module:
    """ResNet-18's block with GroupNorm: (B, I, H, W) -> (B, O, H/2, W/2)."""
    from torchvision.models.resnet import BasicBlock

    shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, 2, bias=False), _group_norm(outputs))
    return BasicBlock(inputs, outputs, 2, shortcut, norm_layer=_group_norm)


class SmallEncoder(EMLEncoder):
    """EML-NET's encoder at demo size, for images of about 120x160: (B, 3, H, W), 64 px or more -> (B, 1, H, W) in [0, 1].

    Strides, readouts and options as `Encoder`; GroupNorm everywhere, so that a map does not depend on the batch it is in.
    Each readout is therefore normalised within its image, as all parts of the loss but MSE do with the prediction.
    channels: of the five layers, multiples of 8. 302,183 parameters.

    Example:
        >>> encoder, images = SmallEncoder(), torch.randint(256, (1, 3, 96, 128), dtype=torch.uint8)
        >>> encoder(images).shape, [tuple(readout.shape[2:]) for readout in encoder.readouts(images)]
        (torch.Size([1, 1, 96, 128]), [(48, 64), (24, 32), (12, 16), (6, 8), (3, 4)])
    """

    smallest = 64
    view_size = (120, 160)

    def __init__(self, *, channels: Sequence[int] = SMALL_CHANNELS, readout_kernel: int = 3, upsampling: str = "nearest",
                 normalize: bool = False) -> None:
        super().__init__(channels, readout_kernel=readout_kernel, upsampling=upsampling, normalize=normalize, norm=_group_norm)
        first = channels[0]
        self.stem = nn.Sequential(nn.Conv2d(3, first, 5, 2, 2, bias=False), _group_norm(first), nn.ReLU())
        self.stages = nn.ModuleList(map(_small_stage, channels[:-1], channels[1:]))
        self._initialise()

    def layers(self, images: Tensor) -> Iterator[Tensor]:
        x = self.stem(images.contiguous(memory_format=torch.channels_last))  # channels last: faster on a CPU
        yield x  # (B, 16, H/2, W/2)
        for stage in self.stages:
            x = stage(x)
            yield x  # (B, 24, H/4, W/4) to (B, 96, H/32, W/32)


# The decoder


@declared("emlnet_decoder", "emlnet")
class Decoder(RowNetwork):
    """The readouts of two finished encoders, combined: (B, 3, H, W) -> saliency (B, 1, H, W) in [0, 1].

    encoder_a, encoder_b: `Encoder` or `SmallEncoder`, ImageNet's and PLACES365's in the paper. They are frozen in place: no
    gradient, and evaluation mode whatever train() says, so that their batch statistics stay. Each readout (five of a, then
    five of b) goes through its own 3x3 convolution, BatchNorm and ReLU at its own size, and grows to the images'; one more
    convolution, BatchNorm and sigmoid combine the ten. 213 parameters are trained. The state dict holds the encoders, too.

    Example:
        >>> decoder = Decoder(SmallEncoder(), SmallEncoder())
        >>> sum(weight.numel() for weight in decoder.parameters() if weight.requires_grad)
        213
        >>> decoder(torch.rand(2, 3, 96, 128)).shape
        torch.Size([2, 1, 96, 128])
    """

    inputs = ("view",)  # the parts of a batch that forward takes

    def __init__(self, encoder_a: EMLEncoder, encoder_b: EMLEncoder, *, upsampling: str = "nearest") -> None:
        super().__init__()
        keep_settings(self, upsampling=upsampling)
        self.encoder_a, self.encoder_b = encoder_a.requires_grad_(False), encoder_b.requires_grad_(False)
        self.view_size = encoder_a.view_size
        count = len(encoder_a.readout_layers) + len(encoder_b.readout_layers)  # the release's num_feat, twice
        self.branches = nn.ModuleList(head(1, 3, nn.BatchNorm2d(1), nn.ReLU()) for _ in range(count))
        self.combined = head(count, 3, nn.BatchNorm2d(1), nn.Sigmoid())
        self.train()

    def train(self, mode: bool = True) -> "Decoder":
        super().train(mode)
        self.encoder_a.eval()
        self.encoder_b.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W), uint8 or float in [0, 1] -> saliency (B, 1, H, W) in [0, 1]."""
        with torch.no_grad():
            maps = self.encoder_a.readouts(images) + self.encoder_b.readouts(images)  # ten of (B, 1, h, w)
        size = images.shape[-2:]
        grown = [resize(branch(m), size, self.upsampling) for branch, m in zip(self.branches, maps, strict=True)]
        return self.combined(torch.cat(grown, dim=1))  # (B, 1, H, W)


# The released command lines

RECIPE = "lib.training.loop.Recipe"
RELEASED_FLAGS = [  # (script, flag, its default, where that is here)
    ("train_resnet.py", "DATA", "", "--data, the notebook's data_dir"),
    ("train_resnet.py", "OUT", "", "--results, the notebook's results_dir; no suffix _eml or _mse, the row's name says it"),
    ("train_resnet.py", "--model_path", "none", "lib.models.emlnet_weights.encoder_a (ImageNet), encoder_b (PLACES365)"),
    ("train_resnet.py", "-j", "4", "chosen by the data, not an option"),
    ("train_resnet.py", "--epochs", "10", f"{RECIPE}.epochs"),
    ("train_resnet.py", "--decay_epoch", "5", f"{RECIPE}.step_epochs with schedule='step', x0.1"),
    ("train_resnet.py", "--val_epoch, --val_thread", "5", "never read in the release; here each epoch is validated"),
    ("train_resnet.py", "--start-epoch", "0", "none: an interrupted row goes on from its last epoch by itself"),
    ("train_resnet.py", "-b", "8", f"{RECIPE}.batch_size"),
    ("train_resnet.py", "--lr", "0.1", f"{RECIPE}.lr; the release silently takes a tenth of it, 0.01, without --mse"),
    ("train_resnet.py", "--momentum", "0.9", f"{RECIPE}.momentum with optimiser='sgd'"),
    ("train_resnet.py", "--wd", "1e-4", f"{RECIPE}.weight_decay, on biases and norms too, as there"),
    ("train_resnet.py", "-p", "500", "none: a progress line"),
    ("train_resnet.py", "--mse", "off", "lib.training.saliency_losses.mse in place of emlnet_loss_parts"),
    ("train_resnet.py", "--gpu", "'0'", "--device cuda:0"),
    ("train_decoder.py", "IMG_CKPT PLACE_CKPT", "", "Decoder(encoder_a, encoder_b), of lib.models.emlnet_weights.load_encoder"),
    ("train_decoder.py", "--size", "(480,640); given on the command line it breaks", "none: the output has the images' size"),
    ("train_decoder.py", "--num_feat", "5", "none: as many as the encoders have readouts"),
    ("train_decoder.py", "the others", "", "as train_resnet.py"),
    ("train.py (NASNet)", "all", "320x320, MSE, x0.1 every 3 epochs", "lib.models.emlnet_nasnet.NasNetEncoder and a Recipe"),
    ("eval_combined.py", "IMG_CKPT PLACE_CKPT DEC_CKPT", "", "python -m lib predict emlnet --encoder, --encoder, --decoder"),
    ("eval_combined.py", "IMAGE", "", "python -m lib predict emlnet PHOTO [PHOTO ...]; --out says where to"),
    ("eval_combined.py", "--size", "(480,640); given on the command line it breaks", "--size 480,640"),
    ("eval_combined.py", "--num_feat", "5", "none: as many as the encoders have readouts"),
    ("eval_combined.py", "--gpu", "'0'", "--device cuda:0"),
    ("eval.py", "CKPT IMAGE", "", "python -m lib predict emlnet PHOTO --encoder CKPT --blur 0"),
]
