"""Task, saliency and localisation networks of "Learning to Zoom" (sections 3.1 and 4).

Two families. The paper's: torchvision's ResNet-18 cut after 6, 10 or 14 layers as the saliency network, and AlexNet with a new
last layer and a sigmoid as the gaze regressor. The demo's: `small_alexnet` and `small_saliency_network`, of the same shape but
made to train from random values on two CPU cores.

Deviations
    - The paper writes "a standard AlexNet [1]"; torchvision's is the later single-tower one (64-192-384-256-256, no LRN).
    - The released saliency network loads all of ResNet-18 and never runs its fourth stage and classifier, 8.9 of 11.7 million
      parameters; here only modules that run exist.
    - The small networks have GroupNorm, because a batch holds one image size (one screen orientation), and batch statistics
      would differ from batch to batch.
"""

import contextlib
import http.client
import pickle
import socket
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import torch
from torch import Tensor, nn

from lib.models.sampler import feature_channels, like_weights

STAGES = {6: "layer1", 10: "layer2", 14: "layer3"}  # depth in layers -> the last stage of ResNet-18 that is kept
IMAGENET_NORMALIZATION = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean, std of RGB in [0, 1], torchvision's


def check_images(images: Tensor, *, smallest: int = 1) -> None:
    """Refuse anything but a float (B, 3, H, W) batch at least `smallest` pixels wide and high. Raises ValueError, one line."""
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"expected images (B, 3, H, W), got {tuple(images.shape)}")
    if not images.is_floating_point():
        raise ValueError(f"expected float images, got {images.dtype}: convert with images.float() / 255")
    if min(images.shape[-2:]) < smallest:
        raise ValueError(f"images of {images.shape[-2]}x{images.shape[-1]} px are too small, the least is {smallest}")


class ImageNetwork(nn.Sequential):
    """Modules in a row over a checked float (B, 3, H, W) batch; `fast_layout`: in channels-last memory, faster on a CPU."""

    fast_layout = False
    smallest = 1

    def forward(self, images: Tensor) -> Tensor:
        check_images(images, smallest=self.smallest)
        images = like_weights(images, self)
        if self.fast_layout:
            images = images.contiguous(memory_format=torch.channels_last)  # still (B, 3, H, W)
        return super().forward(images)


# The paper's networks


def saliency_network_resnet18(layers: int = 14, *, weights: Mapping[str, Tensor] | None = None) -> ImageNetwork:
    """ResNet-18 cut after 6, 10 or 14 layers: float (B, 3, H, W), ImageNet-normalised -> (B, C, h, w).

    The count is conv1, four convolutions per stage, and the final 1x1 convolution, which lives in the sampler's head and not
    here. So 6, 10, 14 keep stages 1, 1-2, 1-3; C = 64, 128, 256 at stride 4, 8, 16. State-dict keys are torchvision's;
    `weights` is such a state dict (`pretrained("resnet18")`) or None for random values. Raises ValueError for another depth.
    Source: section 4 and Table 3; which stage is which depth follows from "adding one block at a time" and, for 14, from the
    released code.
    """
    if layers not in STAGES:
        raise ValueError(f"layers must be one of {sorted(STAGES)}, got {layers!r}")
    from torchvision.models import resnet18  # only here, as everywhere in `lib.models`: see its __getattr__

    network = ImageNetwork()
    for name, module in resnet18(weights=None).named_children():
        network.add_module(name, module)
        if name == STAGES[layers]:
            break
    if weights is not None:
        load_imagenet(network, weights)
    return network


def alexnet_regressor(outputs: int = 2, *, weights: Mapping[str, Tensor] | None = None) -> nn.Module:
    """AlexNet with its last layer changed to `outputs` and a sigmoid behind it: float (B, 3, H, W) -> (B, outputs) in (0, 1).

    Inputs are 227 (the paper) or 224 px and ImageNet-normalised; adaptive pooling lets both through. The new layer is
    `classifier.6`, the only one that `weights` (`pretrained("alexnet")`) does not set. Source: section 4.1.
    """
    from torchvision.models import alexnet

    network = alexnet(weights=None, num_classes=outputs)
    network.classifier.append(nn.Sigmoid())
    if weights is not None:
        load_imagenet(network, weights, replaced=("classifier.6",))
    return network


# The demo's networks


def _norm(channels: int) -> nn.GroupNorm:
    if channels % 8:
        raise ValueError(f"width must be a multiple of 8 (GroupNorm has 8 channels a group), got {channels} channels")
    return nn.GroupNorm(channels // 8, channels)


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), _norm(outputs), nn.ReLU(inplace=True)]


def small_alexnet_features(width: int = 16) -> nn.Sequential:
    """Five convolutions in AlexNet's order, the last three 3x3 in a row: (B, 3, H, W) -> (B, 3 * width, H / 8, W / 8)."""
    return nn.Sequential(
        *_convolution(3, width, 5, stride=2),  # (B, w, H/2, W/2)
        nn.MaxPool2d(2),
        *_convolution(width, 2 * width, 3),  # (B, 2w, H/4, W/4)
        nn.MaxPool2d(2),
        *_convolution(2 * width, 3 * width, 3),  # (B, 3w, H/8, W/8)
        *_convolution(3 * width, 3 * width, 3),
        *_convolution(3 * width, 3 * width, 3),
    )


class SmallAlexNet(ImageNetwork):
    """The demo's task network; see `small_alexnet`."""

    fast_layout = True
    smallest = 32

    def __init__(self, outputs: int, *, width: int = 16, cells: int = 4, hidden: int = 128, sigmoid: bool = False) -> None:
        super().__init__()
        self.features = small_alexnet_features(width)  # (B, 3w, H/8, W/8)
        self.pool = nn.AdaptiveAvgPool2d(cells)  # (B, 3w, 4, 4)
        self.flatten = nn.Flatten()
        self.hidden = nn.Linear(3 * width * cells**2, hidden)
        self.relu = nn.ReLU(inplace=True)
        self.final = nn.Linear(hidden, outputs)  # (B, outputs)
        if sigmoid:
            self.sigmoid = nn.Sigmoid()


def small_alexnet(outputs: int, *, width: int = 16, sigmoid: bool = False) -> SmallAlexNet:
    """AlexNet's shape at demo size: float (B, 3, H, W), 32 px or more -> (B, outputs), in (0, 1) with `sigmoid`.

    Meant for 48 to 128 px; at 64 the pooling to 4x4 cells sees 8x8 of them, enough to regress a position. Trains from random
    values: GroupNorm after each convolution (without it a gaze regressor stayed at the mean). `width` must be a multiple of
    8, else ValueError; 16 gives 160,178 parameters at two outputs.
    """
    return SmallAlexNet(outputs, width=width, sigmoid=sigmoid)


class _Residual(nn.Module):
    """ResNet-18's basic block with GroupNorm: (B, I, H, W) -> (B, O, H / stride, W / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(*_convolution(inputs, outputs, 3, stride),
                                  nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), _norm(outputs))
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class SmallSaliencyNetwork(ImageNetwork):
    """The demo's saliency network; see `small_saliency_network`."""

    fast_layout = True

    def __init__(self, *, width: int = 16) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_convolution(3, width, 3, stride=2))  # (B, w, H/2, W/2)
        self.stage1 = _Residual(width, width, stride=2)  # (B, w, H/4, W/4)
        self.stage2 = _Residual(width, width)
        self.stage3 = _Residual(width, 2 * width)  # (B, 2w, H/4, W/4)


def small_saliency_network(*, width: int = 16) -> SmallSaliencyNetwork:
    """A small residual network in the place of the cut ResNet-18: float (B, 3, H, W) -> (B, 2 * width, H / 4, W / 4).

    A cell sees 47x47 px. `width` must be a multiple of 8, else ValueError; 16 gives 24,528 parameters and about 3,000
    images/s, forward and backward, at 64 px on two CPU threads.
    """
    return SmallSaliencyNetwork(width=width)


def small_classifier(num_classes: int = 10, *, width: int = 24) -> ImageNetwork:
    """A small residual network in the place of ResNet-18: float (B, 3, H, W), about 64 px -> (B, num_classes).

    `width` must be a multiple of 8, else ValueError; 24 gives 163,522 parameters at ten outputs and about 1.4 ms per image,
    forward and backward, at 64 px on one CPU thread. Pooling takes the maximum: with the mean over positions it learned
    nothing from small objects in clutter within six epochs of the twin.
    """
    network = ImageNetwork(OrderedDict(
        stem=nn.Sequential(*_convolution(3, width, 3, stride=2)),  # (B, w, H/2, W/2)
        stage1=_Residual(width, 2 * width, stride=2), stage2=_Residual(2 * width, 4 * width, stride=2),  # (B, 4w, H/8, W/8)
        pool=nn.AdaptiveMaxPool2d(1), flatten=nn.Flatten(), final=nn.Linear(4 * width, num_classes)))
    network.fast_layout = True
    return network


# Localisation networks of the spatial transformers


class LocalisationNetwork(ImageNetwork):
    """A trunk, pooling and two fully connected layers; see `localisation_network`. The last layer is `final`."""

    def __init__(self, trunk: nn.Module, outputs: int, *, bias: Tensor | Sequence[float] | None, cells: int,
                 hidden: int) -> None:
        super().__init__()
        self.trunk = trunk  # (B, C, h, w)
        self.pool = nn.AdaptiveAvgPool2d(cells)  # (B, C, 4, 4)
        self.flatten = nn.Flatten()
        self.hidden = nn.Linear(feature_channels(trunk, (3, 64, 64)) * cells**2, hidden)
        self.relu = nn.ReLU(inplace=True)
        self.final = nn.Linear(hidden, outputs)  # (B, outputs)
        start = torch.zeros(outputs) if bias is None else torch.as_tensor(bias, dtype=torch.float32).flatten()
        if start.numel() != outputs:
            raise ValueError(f"bias must have {outputs} values, got {start.numel()}")
        with torch.no_grad():
            self.final.weight.zero_()
            self.final.bias.copy_(start)


def localisation_network(saliency_network: nn.Module, outputs: int, *, bias: Tensor | Sequence[float] | None = None,
                         cells: int = 4, hidden: int = 128) -> LocalisationNetwork:
    """A saliency network, pooling to `cells` x `cells`, two fully connected layers: float (B, 3, H, W) -> (B, outputs).

    The trunk is taken as it is, not copied: build one for each network. The last layer, `final`, starts with zero weight and
    `bias` (None: zeros, what the samplers of `lib.models.rivals` expect), so every image first gives `bias` exactly.
    While its weight is exactly zero, the layers below get zero gradients; they move from the second step on. Raises
    ValueError when `bias` has another length or the trunk gives no feature map. Source: section 4.1, "as a localization
    network, we use a network similar to fs for fairness"; the head is ours, the paper gives none.
    """
    return LocalisationNetwork(saliency_network, outputs, bias=bias, cells=cells, hidden=hidden)


# Weights


def load_imagenet(network: nn.Module, weights: Mapping[str, Tensor], *, replaced: Sequence[str] = ()) -> None:
    """Copy the entries of a torchvision state dict that `network` has, in place; layers named in `replaced` keep their values.

    Entries that the cut network lacks are ignored, and so are counts of batches that old files lack. Raises ValueError, one
    line, when `weights` lacks another entry or its shape differs.
    """
    kept = tuple(f"{layer}." for layer in replaced)
    wanted = {name: value for name, value in network.state_dict().items()
              if not name.startswith(kept) and (name in weights or not name.endswith("num_batches_tracked"))}
    wrong = [name for name, value in wanted.items() if name not in weights or weights[name].shape != value.shape]
    if wrong:
        raise ValueError(f"these weights do not fit {type(network).__name__}: {len(wrong)} entries missing or of another "
                         f"shape, first {wrong[0]!r}")
    network.load_state_dict({name: weights[name] for name in wanted}, strict=False)


def pretrained(builder_name: str, *, timeout: float = 10.0) -> dict[str, Tensor] | None:
    """ImageNet state dict of a torchvision builder (IMAGENET1K_V1, of the paper's time), or None when it cannot be had.

    Looks in torch's own cache first (TORCH_HOME); then asks the server, which has `timeout` seconds to answer. On failure it
    warns in one line and returns None, which the builders above take for random values; the caller records "weights: none
    (download failed)". Raises ValueError for a name that torchvision does not know.
    """
    from torchvision import models

    try:
        source = models.get_model_weights(builder_name).IMAGENET1K_V1
    except (ValueError, AttributeError):
        raise ValueError(f"torchvision has no ImageNet weights for {builder_name!r}") from None
    try:
        if not Path(torch.hub.get_dir(), "checkpoints", PurePosixPath(urlsplit(source.url).path).name).exists():
            answers(source.url, timeout)
        with _socket_timeout(timeout):
            return dict(source.get_state_dict(progress=False, check_hash=True, weights_only=True))
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, http.client.HTTPException) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        warnings.warn(f"no ImageNet weights for {builder_name} ({reason}); it starts from random values", stacklevel=2)
        return None


def answers(url: str, timeout: float) -> None:
    """Raise OSError unless `url` answers in time; in a thread, as a socket's limit does not cover the look-up of the name."""
    outcome: list[Exception | None] = []

    def ask() -> None:
        try:
            urlopen(Request(url, method="HEAD"), timeout=timeout).close()
            outcome.append(None)
        except Exception as error:  # handed to the caller's thread
            outcome.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout)
    if not outcome:
        raise TimeoutError(f"no answer within {timeout:g} s")
    if outcome[0] is not None:
        raise outcome[0]


@contextlib.contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)  # torch.hub opens its connection without a limit of its own
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
