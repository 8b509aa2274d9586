"""Deformable convolutions in place of a network's last 3x3 ones: the "+ Deformable Convolutions" rows of Tables 1 and 2.

Dai et al., "Deformable Convolutional Networks", ICCV 2017 (version 1: offsets, no modulation). "Learning to Zoom" replaces
"the top three convolutional layers" of AlexNet, and for ResNet-101 follows Dai et al., whose code makes the 3x3 convolutions
of the last stage (res5a, res5b, res5c) deformable. In torchvision's networks both are the last three 3x3 convolutions.

An extra convolution reads the layer's input and gives an offset for each of the k x k taps at each output position; the
kernel then samples there by bilinear interpolation. Its weight and bias start at zero and the kernel is copied, so the
network computes at first exactly what it did before, pretrained or not.

torchvision computes the layer on a GPU. Its CPU code spends 20 to 30 times a plain convolution, most of it going backward;
there `deform_conv2d_cpu` gives the same numbers and gradients in about a sixth of the time.

Deviation: for detection Dai et al. also set the last stage to stride 1 with dilation 2; for classification the stride stays.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DeformableConv2d(nn.Module):
    """A convolution whose taps move, made from the `nn.Conv2d` that it replaces: (B, I, H, W) -> (B, O, h, w).

    Conventions: offsets in input pixels, (B, 2 k k, h, w), for tap 0 dy, dx, for tap 1 dy, dx, ... (y first); outside the
    input counts as zero. Stride, padding, dilation, groups, weight and bias are the old layer's, state-dict names included;
    new are `offset.weight` and `offset.bias`. Computes in float32 at least, also under autocast: a bfloat16 offset of 8 px
    is already 1/16 px coarse. Raises ValueError for a padding other than zeros of a given width.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        if convolution.padding_mode != "zeros" or isinstance(convolution.padding, str):
            raise ValueError(f"a deformable convolution needs zero padding of a given width, got {convolution.padding!r} "
                             f"({convolution.padding_mode})")
        self.stride, self.padding, self.dilation = convolution.stride, convolution.padding, convolution.dilation
        self.kernel_size = convolution.kernel_size
        self.weight, self.bias = convolution.weight, convolution.bias
        self.offset = nn.Conv2d(convolution.in_channels, 2 * self.kernel_size[0] * self.kernel_size[1], self.kernel_size,
                                self.stride, self.padding, self.dilation).to(self.weight)  # its device and dtype
        nn.init.zeros_(self.offset.weight)
        nn.init.zeros_(self.offset.bias)

    def forward(self, x: Tensor) -> Tensor:
        dtype = torch.promote_types(x.dtype, torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(dtype)
            parts = (self.offset.weight, self.offset.bias, self.weight, self.bias)
            *places, weight, bias = (part if part is None else part.to(dtype) for part in parts)
            offset = F.conv2d(x, *places, self.stride, self.padding, self.dilation)  # (B, 2 k k, h, w)
            if x.device.type == "cpu" and self.weight.shape[1] == x.shape[1]:  # one group
                output = deform_conv2d_cpu(x, offset, weight, bias, stride=self.stride, padding=self.padding, dilation=self.dilation)
            else:
                from torchvision.ops import deform_conv2d

                output = deform_conv2d(x, offset, weight, bias, self.stride, self.padding, self.dilation)  # (B, O, h, w)
        return output.to(self.weight.dtype) if self.weight.dtype.itemsize < 4 else output

    def extra_repr(self) -> str:
        outputs, inputs = self.weight.shape[:2]
        return f"{inputs}, {outputs}, kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


def deform_conv2d_cpu(x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None, *, stride: tuple[int, int],
                      padding: tuple[int, int], dilation: tuple[int, int]) -> Tensor:
    """Deformable convolution with one group: x (B, I, H, W), offset (B, 2 k k, h, w), weight (O, I, k, k) -> (B, O, h, w).

    The result and the gradients of `torchvision.ops.deform_conv2d`. The input's cells are rows of a table; a tap is the
    weighted sum of its four neighbours' rows, which is what `embedding_bag` computes; the kernel is a matrix product.
    """
    batch, channels, height, width = x.shape
    rows, columns = weight.shape[-2:]
    h, w = offset.shape[-2:]
    moves = offset.view(batch, rows, columns, 2, h, w).permute(3, 0, 4, 5, 1, 2)  # (2, B, h, w, k, k)
    taps_y = _taps(h, rows, stride[0], padding[0], dilation[0], like=x).view(h, 1, rows, 1) + moves[0]  # (B, h, w, k, k)
    taps_x = _taps(w, columns, stride[1], padding[1], dilation[1], like=x).view(1, w, 1, columns) + moves[1]
    above, weight_y = _neighbours(taps_y, height)  # (B, h, w, k, k, 2) both
    left, weight_x = _neighbours(taps_x, width)
    first = torch.arange(batch, device=x.device).view(-1, 1, 1, 1, 1, 1, 1) * (height * width)
    cells = first + above[..., :, None] * width + left[..., None, :]  # (B, h, w, k, k, 2, 2)
    shares = weight_y[..., :, None] * weight_x[..., None, :]
    table = x.permute(0, 2, 3, 1).reshape(-1, channels)  # (B H W, I)
    sampled = nn.functional.embedding_bag(cells.view(-1, 4), table, per_sample_weights=shares.view(-1, 4), mode="sum")
    kernel = weight.permute(2, 3, 1, 0).reshape(-1, weight.shape[0])  # (k k I, O)
    result = sampled.view(batch * h * w, -1) @ kernel  # (B h w, O)
    result = result if bias is None else result + bias
    return result.view(batch, h, w, -1).permute(0, 3, 1, 2)


def _taps(cells: int, taps: int, stride: int, padding: int, dilation: int, *, like: Tensor) -> Tensor:
    """Where the taps of a plain convolution lie along one axis: (cells, taps), in input pixels."""
    first = torch.arange(cells, dtype=like.dtype, device=like.device) * stride - padding
    return first[:, None] + torch.arange(taps, dtype=like.dtype, device=like.device) * dilation


def _neighbours(position: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """The two whole positions around each, and their weights: (...) -> (..., 2) indices, clamped, and (..., 2), 0 outside."""
    low = position.detach().floor()
    part = position - low
    both = torch.stack((low, low + 1), dim=-1)
    weights = torch.stack((1 - part, part), dim=-1) * ((both >= 0) & (both < length))
    return both.clamp(0, length - 1).nan_to_num().long(), weights  # NaN offsets: NaN results, no wild index


def deform_last(network: nn.Module, count: int = 3) -> nn.Module:
    """Make the last `count` 3x3 convolutions of `network` deformable, in place, and give the network back.

    "Last" is the order of registration, which is the order of computation in torchvision's AlexNet and ResNets and in the
    networks of this package. Parameters are taken over, not copied: an optimiser that holds them still does, but build
    it afterwards, for the offsets. Raises ValueError when there are fewer such convolutions.
    """
    deformed = [name for name, module in network.named_modules() if isinstance(module, DeformableConv2d)]
    names = [name for name, module in network.named_modules()
             if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3) and name.rpartition(".")[0] not in deformed]
    if not 1 <= count <= len(names):
        raise ValueError(f"cannot deform the last {count} 3x3 convolutions of {type(network).__name__}: it has {len(names)} "
                         "plain ones")
    for name in names[-count:]:
        parent, _, child = name.rpartition(".")
        setattr(network.get_submodule(parent), child, DeformableConv2d(network.get_submodule(name)))
    return network


def offset_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Weights and biases of all offset convolutions in `network`, for a learning rate of their own; empty without any.

    Dai et al. train them at the network's learning rate in classification networks (biases at twice that).
    """
    layers = [module for module in network.modules() if isinstance(module, DeformableConv2d)]
    return [parameter for layer in layers for parameter in layer.offset.parameters()]
