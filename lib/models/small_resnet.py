"""The demo's task network for fine-grained recognition: a small residual network with global average pooling.

"Learning to Zoom", sections 4.2 and 4.3, uses ResNet-101 and ResNet-50; its CAM row needs their head, global average pooling
and one linear layer (Zhou et al., CVPR 2016). This has the same shape and trains from random values on two CPU cores.

Deviations from ResNet
    - GroupNorm, as in `lib.models.backbones`: batches are small, and a picture's statistics differ from those of a crop of it.
    - The pooled average is multiplied by a constant, the square root of 64 cells. A detail that tells two species apart fills
      one cell of the 8x8, and averaging leaves so little of it that training from random values is slow (crops of the
      iNaturalist twin after 600 steps of 32: 76 % top-1 without, 99 % with it). The head stays linear, and class
      activation maps are the same but for their scale.
"""

import torch
from torch import Tensor, nn

from lib.models.backbones import ImageNetwork


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.GroupNorm(outputs // 8, outputs)]


class _Block(nn.Module):
    """Two convolutions and a shortcut: (B, I, H, W) -> (B, O, H / stride, W / stride)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(*_convolution(inputs, outputs, 3, stride), nn.ReLU(inplace=True),
                                  *_convolution(outputs, outputs, 3))
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Sequential(
            nn.AvgPool2d(stride, ceil_mode=True), nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class AveragePool(nn.Module):
    """Global average times `gain`: (B, C, h, w) -> (B, C)."""

    def __init__(self, gain: float = 8.0) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, maps: Tensor) -> Tensor:
        return self.gain * maps.mean(dim=(2, 3))


class SmallResNet(ImageNetwork):
    """See `small_gap_network`. `features` gives the maps that `fc` weighs, the two that class activation maps are made of."""

    fast_layout = True
    smallest = 32

    def __init__(self, outputs: int, *, width: int = 16) -> None:
        if width % 8:
            raise ValueError(f"width must be a multiple of 8 (GroupNorm has 8 channels a group), got {width}")
        super().__init__()
        self.features = nn.Sequential(
            *_convolution(3, width, 3, stride=2), nn.ReLU(inplace=True),  # (B, w, H/2, W/2)
            nn.MaxPool2d(2),  # (B, w, H/4, W/4)
            _Block(width, 2 * width),
            _Block(2 * width, 4 * width, stride=2),  # (B, 4w, H/8, W/8)
        )
        self.pool = AveragePool()  # (B, 4w)
        self.fc = nn.Linear(4 * width, outputs)  # (B, outputs)


def small_gap_network(outputs: int, *, width: int = 16) -> SmallResNet:
    """Residual network with global average pooling: float (B, 3, H, W), 32 px or more -> (B, outputs) class scores.

    `features` gives (B, 4 * width, H / 8, W / 8), 8x8 cells at 64 px. `width` must be a multiple of 8, else ValueError; 16 gives
    73,568 parameters at 16 outputs.
    """
    return SmallResNet(outputs, width=width)
