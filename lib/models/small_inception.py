"""The demo's second task network for fine-grained recognition: Inception's mixed blocks at demo size.

"Learning to Zoom", Table 2, puts the sampler before Inception V3 (Szegedy et al., CVPR 2016) as well, to show that it helps
another architecture too. This has that architecture's idea, parallel convolutions of several widths that are concatenated,
and trains from random values on two CPU cores.

Deviations from Inception V3: GroupNorm, two kinds of branches less, and the pooled average times a constant, for the reasons
that `lib.models.small_resnet` gives.
"""

import torch
from torch import Tensor, nn

from lib.models.backbones import ImageNetwork
from lib.models.small_resnet import AveragePool


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.GroupNorm(outputs // 8, outputs), nn.ReLU(inplace=True))


class Mixed(nn.Module):
    """Four branches side by side, 1x1, 3x3, two 3x3 in a row, and pooling: (B, I, H, W) -> (B, 4 * width, H, W)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.one = _convolution(inputs, width, 1)
        self.three = nn.Sequential(_convolution(inputs, width, 1), _convolution(width, width, 3))
        self.five = nn.Sequential(_convolution(inputs, width, 1), _convolution(width, width, 3), _convolution(width, width, 3))
        self.pooled = nn.Sequential(nn.AvgPool2d(3, 1, 1), _convolution(inputs, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pooled(x)], dim=1)


class SmallInception(ImageNetwork):
    """See `small_inception`."""

    fast_layout = True
    smallest = 32

    def __init__(self, outputs: int, *, width: int = 16) -> None:
        if width % 8:
            raise ValueError(f"width must be a multiple of 8 (GroupNorm has 8 channels a group), got {width}")
        super().__init__()
        self.features = nn.Sequential(
            _convolution(3, width, 5, stride=2), nn.MaxPool2d(2),  # (B, w, H/4, W/4)
            Mixed(width, width), nn.MaxPool2d(2),  # (B, 4w, H/8, W/8)
            Mixed(4 * width, width), Mixed(4 * width, width))
        self.pool = AveragePool()  # (B, 4w)
        self.fc = nn.Linear(4 * width, outputs)  # (B, outputs)


def small_inception(outputs: int, *, width: int = 16) -> SmallInception:
    """Small Inception network with global average pooling: float (B, 3, H, W), 32 px or more -> (B, outputs) class scores.

    `width` must be a multiple of 8, else ValueError; 16 gives 32,896 parameters at 16 outputs.
    """
    return SmallInception(outputs, width=width)
