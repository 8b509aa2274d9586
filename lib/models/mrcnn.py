"""Mr-CNN: eye fixations predicted patch by patch, from three resolutions of the picture.

Nian Liu, Junwei Han, Dingwen Zhang, Shifeng Wen, Tianming Liu: "Predicting Eye Fixations using Convolutional Neural Networks",
CVPR 2015, doi 10.1109/CVPR.2015.7298633. The picture is squashed to squares of 400, 250 and 150 px; one stream looks at 42x42 px
of each around the same point, and the three say together whether people fixate that point. Per stream:

    3x42x42  conv 7x7  96x36x36  pool  96x18x18  conv 3x3  160x16x16  pool  160x8x8  conv 3x3  288x6x6  dropout  pool  288x3x3
    fully connected 512  dropout;  the streams' 1536 together: fully connected 512  dropout  fully connected 1: the logit

The paper itself was not at hand. Its layers are quoted through the comments of a released implementation,
github.com/LewisClifton/ADL-Coursework ("the release" below), which holds no weights: valid convolutions with stride 1, 2x2
pooling, ReLU behind every convolution and fully connected layer, dropout of 0.5 in the third convolution and behind both
fully connected layers. Evaluation at any point, and the release's mistake at test time, are in `lib.models.mrcnn_inference`.

Conventions: squares (B, 3, S, S), uint8 or float in [0, 1], RGB; patches (B, 3, 48, 48) around a centre c, pixels [c - 24, c + 24),
of which the central 42 are the published patch; a square goes on beyond its border with its border's pixels.

Deviations, and what is not known
    - Whether the paper's streams share weights, how it initialises and how it normalises: not known. Weights are separate, as
      in the release, or shared with `share_streams=True`; initialisation is PyTorch's, as there; normalisation is
      ImageNet's (the release's prepared files are normalised, by constants that it does not name).
    - The output is a logit; the release ends in a sigmoid.
    - The bound of 0.1 on the norm of conv1's filters holds (`max_norm_`). The release takes the norm of each 7x7 slice of a filter,
      and divides by it where it is above 0.1: the norm of every slice becomes 1.
    - The patch's margin of 3 px is ours. Only the learned blur sees it.
    - The learned blur is the release's own extension, not the paper's, and there it is no blur, for four reasons. It mixes
      the channels: three equal outputs, the sum of all three. Each row is divided by its L2 norm, so the filter is Gaussian along x
      and constant along y. Its gain is 11.4, 9.8 and 5.0 a channel instead of 1. And that gain meets the norms of 1 in conv1.
      Here channels stay apart, the filter sums to 1, sigma comes from a softplus (there: a square), and it reads the margin in place
      of zeros around the patch. Sizes and first sigmas are the release's.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.models.backbones import IMAGENET_NORMALIZATION
from lib.models.network import RowNetwork, declared
from lib.models.sampler import Normalize

SQUARES = (400, 250, 150)  # sides in px, in the order of the streams
PATCH = 42  # side of the published patch
MARGIN = 3  # around it, for the widest blur
VIEW = PATCH + 2 * MARGIN  # 48, the side of the patches that the network takes
POINTS = 50  # of the lattice, along each axis
STRIDES = {400: 8, 250: 5, 150: 3}  # px of the square between neighbours on the lattice
BLURS = {400: (7, 0.25), 250: (5, 0.5625), 150: (3, 1.0)}  # kernel in px and first sigma; the kernel is [-1, 1] wide
LEAST_SIGMA = 1e-3  # added to the softplus, which rounds to zero far below; at this sigma the blur is the identity


def lattice(square: int) -> Tensor:
    """Centres of the lattice along one axis of a square, (50,) int64, in px: stride * i + stride // 2. ValueError for another side.

    Example:
        >>> lattice(400)[:3].tolist(), lattice(400)[-1].item()
        ([4, 12, 20], 396)
    """
    if square not in STRIDES:
        raise ValueError(f"a square has a side of 400, 250 or 150 px, not {square!r}")
    return STRIDES[square] * torch.arange(POINTS) + STRIDES[square] // 2


@torch.no_grad()
def max_norm_(weight: Tensor, bound: float) -> None:
    """Shrink, in place, the filters of `weight` (filters, ...) whose L2 norm is above `bound` to that norm; others stay, bit for bit.

    Example:
        >>> weight = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
        >>> max_norm_(weight, 2.5)
        >>> weight.tolist()
        [[1.5, 2.0], [0.0, 1.0]]
    """
    norm = torch.linalg.vector_norm(weight.flatten(1), dim=1)  # (filters,), over all input channels
    weight.mul_((bound / norm).clamp(max=1).view(-1, *[1] * (weight.ndim - 1)))  # a norm of zero: inf, clamped


def window_max(x: Tensor, dilation: int) -> Tensor:
    """2x2 max pooling with stride 1 and a dilation, as two maxima: (B, C, H, W) -> (B, C, H - dilation, W - dilation)."""
    x = torch.maximum(x[..., :-dilation, :], x[..., dilation:, :])
    return torch.maximum(x[..., :-dilation], x[..., dilation:])


class LearnedBlur(nn.Module):
    """A Gaussian of learned width on each channel alone: (B, C, H, W) -> (B, C, H - size + 1, W - size + 1), nothing padded.

    size: of the kernel in px, odd. sigma: its first value, where the kernel reaches from -1 to 1; in px it is
    sigma * (size - 1) / 2. The kernel sums to 1, whatever sigma is. One parameter.

    Example:
        >>> LearnedBlur(5, 0.5)(torch.ones(1, 3, 48, 48)).shape
        torch.Size([1, 3, 44, 44])
    """

    def __init__(self, size: int, sigma: float) -> None:
        super().__init__()
        self.size = size
        self.raw = nn.Parameter(torch.tensor(math.log(math.expm1(sigma - LEAST_SIGMA))))
        self.register_buffer("at", torch.linspace(-1, 1, size), persistent=False)

    @property
    def sigma(self) -> Tensor:
        """A positive scalar, in units of half the kernel."""
        return F.softplus(self.raw) + LEAST_SIGMA

    def kernel(self) -> Tensor:
        """(size,), along one axis."""
        return torch.softmax(-0.5 * (self.at / self.sigma) ** 2, dim=0)  # a Gaussian over its sum

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        kernel = self.kernel().to(x.dtype).expand(channels, 1, self.size)  # (C, 1, size)
        x = F.conv2d(x, kernel.unsqueeze(3), groups=channels)  # along y
        return F.conv2d(x, kernel.unsqueeze(2), groups=channels)


class Stream(nn.Module):
    """One resolution: normalised (B, 3, 42, 42) -> (B, hidden). `dense` gives the same at every point of a lattice."""

    def __init__(self, widths: Sequence[int], hidden: int, dropout: float) -> None:
        super().__init__()
        first, second, third = widths
        self.conv1 = nn.Conv2d(3, first, 7)
        self.conv2 = nn.Conv2d(first, second, 3)
        self.conv3 = nn.Conv2d(second, third, 3)
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(third * 3 * 3, hidden)
        self.fc_dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu_(self.pool(self.conv1(x)))  # (B, 96, 18, 18); ReLU and maximum commute, and this order has a quarter to do
        x = F.relu_(self.pool(self.conv2(x)))  # (B, 160, 8, 8)
        x = self.pool(self.dropout(F.relu_(self.conv3(x))))  # (B, 288, 3, 3)
        return self.fc_dropout(F.relu_(self.fc(x.flatten(1))))

    def dense(self, x: Tensor, stride: int) -> Tensor:
        """All 50x50 patches of x (B, 3, 49 * stride + 42, same) whose corners are `stride` px apart -> (B, hidden, 50, 50).

        A pooling halves an even stride, as it does in the patch. At an odd one it keeps every offset: it moves by 1 px, and
        what follows is dilated by 2. So all is plain at stride 8, and at 5 and 3 dilations are 2, 4 and 8.
        """
        dilation = 1
        for conv in (self.conv1, self.conv2, self.conv3):
            x = F.conv2d(x, conv.weight, conv.bias, dilation=dilation)
            x = self.dropout(F.relu_(x)) if conv is self.conv3 else x
            if stride % 2 == 0:
                x, stride = self.pool(x), stride // 2
            else:
                x, dilation = window_max(x, dilation), 2 * dilation
            x = x if conv is self.conv3 else F.relu_(x)
        weight = self.fc.weight.unflatten(1, (-1, 3, 3))  # (512, 288, 3, 3): the patch's last map is 3x3
        return self.fc_dropout(F.relu_(F.conv2d(x, weight, self.fc.bias, stride=stride, dilation=dilation)))


@declared("mrcnn", "mrcnn")
class MrCNN(RowNetwork):
    """Mr-CNN on patches or on whole squares; 6,473,153 parameters, 2,682,689 with shared streams.

    squares: which streams, in the order of 400, 250, 150. widths, hidden: of the convolutions, of the fully connected layers.
    share_streams: one set of convolutions and branch layer for all streams. blur: a learned blur before each stream's conv1, one
    parameter each. max_norm: bound on the L2 norm of conv1's filters, kept by `after_step`, or None. normalize: mean and
    deviation of RGB in [0, 1]. Raises ValueError, one line, for options that make no network.

    Example:
        >>> network = MrCNN(squares=(150,), widths=(8, 8, 8), hidden=16).eval()
        >>> network(torch.rand(2, 3, 48, 48)).shape, network(torch.rand(1, 3, 150, 150)).shape  # two patches; a whole square
        (torch.Size([2]), torch.Size([1, 1, 50, 50]))
    """

    def __init__(self, *, squares: Sequence[int] = SQUARES, widths: Sequence[int] = (96, 160, 288), hidden: int = 512,
                 share_streams: bool = False, blur: bool = False, dropout: float = 0.5, max_norm: float | None = 0.1,
                 normalize: tuple[Sequence[float], Sequence[float]] = IMAGENET_NORMALIZATION) -> None:
        super().__init__()
        squares = tuple(squares)
        if not squares or squares != tuple(side for side in SQUARES if side in squares):
            raise ValueError(f"squares must be some of 400, 250, 150 in this order, got {squares}")
        if len(widths) != 3:
            raise ValueError(f"widths must be three, one for each convolution, got {tuple(widths)}")
        if max_norm is not None and not max_norm > 0:
            raise ValueError(f"max_norm must be positive, or None for no bound, got {max_norm!r}")
        self.squares, self.max_norm = squares, max_norm
        self.inputs = tuple(f"view_{square}" for square in squares)  # the parts of a batch that forward takes
        self.normalize = Normalize(*normalize)
        # Not "blur": the training loop switches an attribute of that name on and off.
        self.blurs = nn.ModuleList(LearnedBlur(*BLURS[square]) for square in squares) if blur else None
        self.streams = nn.ModuleList(Stream(widths, hidden, dropout) for _ in (squares[:1] if share_streams else squares))
        self.fusion = nn.Linear(len(squares) * hidden, hidden)
        self.dropout = nn.Dropout(dropout)
        self.final = nn.Linear(hidden, 1)

    def forward(self, *views: Tensor) -> Tensor:
        """One view per stream: patches (B, 3, 48, 48) -> logits (B,); squares (B, 3, S, S) -> logits (B, 1, 50, 50) on the lattice.

        uint8, or float in [0, 1]. Squares are evaluated one after the other, with shared convolutions; in eval mode the logits are those of
        the patches at `lattice`, to float32's rounding. ValueError, one line, for any other shape.
        """
        squares = self._are_squares(views)
        views = [self.normalized(view) for view in views]
        if not squares:
            return self.patch_logits(views)
        if torch.compiler.is_compiling():  # all at once: a graph must not know how many there are
            return self._square_logits(views)
        return torch.cat([self._square_logits(images) for images in zip(*(view.split(1) for view in views), strict=True)])

    def normalized(self, view: Tensor) -> Tensor:
        """uint8 or float in [0, 1], (B, 3, H, W), as the streams take it."""
        view = view / 255 if view.dtype == torch.uint8 else view
        view = self.normalize(view.to(self.final.weight.dtype))
        return view.contiguous(memory_format=torch.channels_last)  # faster on a CPU

    def patch_logits(self, views: Sequence[Tensor]) -> Tensor:
        """Normalised float patches (B, 3, 48, 48), one per stream -> logits (B,)."""
        return self._fuse([self._stream(i)(self._published(i, view)) for i, view in enumerate(views)])

    def _square_logits(self, images: Sequence[Tensor]) -> Tensor:
        """Normalised (B, 3, S, S) per stream -> (B, 1, 50, 50)."""
        features = []
        for i, (image, square) in enumerate(zip(images, self.squares, strict=True)):
            padded = F.pad(image, (VIEW // 2,) * 4, mode="replicate")  # the patch around c starts at c
            stride = STRIDES[square]
            start, side = stride // 2, stride * (POINTS - 1) + PATCH
            window = self._published(i, padded)[..., start:start + side, start:start + side]
            dense = self._stream(i).dense(window, stride)  # (B, 512, 50, 50)
            features.append(dense.flatten(2).transpose(1, 2).flatten(0, 1))  # (B 2500, 512)
        return self._fuse(features).view(-1, 1, POINTS, POINTS)

    def _stream(self, i: int) -> Stream:
        return self.streams[i % len(self.streams)]  # there is only one where streams share

    def _published(self, i: int, view: Tensor) -> Tensor:
        """Without its margin, blurred where the network blurs: (B, 3, H, W) -> (B, 3, H - 6, W - 6)."""
        spare = MARGIN - (self.blurs[i].size // 2 if self.blurs is not None else 0)
        view = view[..., spare:view.shape[-2] - spare, spare:view.shape[-1] - spare]
        return view if self.blurs is None else self.blurs[i](view)

    def _fuse(self, features: Sequence[Tensor]) -> Tensor:
        """(N, 512) of each stream -> logits (N,)."""
        return self.final(self.dropout(F.relu_(self.fusion(torch.cat(features, dim=1)))))[:, 0]

    def _are_squares(self, views: Sequence[Tensor]) -> bool:
        """Whether `views` are squares, or else patches; ValueError where they are neither."""
        sides = ", ".join(map(str, self.squares))
        expected = f"expected {', '.join(self.inputs)}: patches (B, 3, {VIEW}, {VIEW}), or squares (B, 3, S, S) of S = {sides}; got "
        if any(view.dtype != torch.uint8 and not view.is_floating_point() for view in views):
            raise ValueError(f"{expected}{', '.join(str(view.dtype) for view in views)}: views are uint8, or float in [0, 1]")
        shapes = [tuple(view.shape) for view in views]
        count = shapes[0][:1] if shapes else ()
        if shapes == [(*count, 3, VIEW, VIEW)] * len(self.squares):
            return False
        if shapes == [(*count, 3, square, square) for square in self.squares]:
            return True
        raise ValueError(expected + (", ".join(map(str, shapes)) or "none"))

    def after_step(self) -> None:
        """Bound the norm of conv1's filters; the training loop calls it after each step of the optimiser."""
        if self.max_norm is not None:
            for stream in self.streams:
                max_norm_(stream.conv1.weight, self.max_norm)
