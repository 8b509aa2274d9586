"""uint8 images sampled and normalised in one pass on a GPU, with Triton where it is there.

`sample_normalized` reads the four bytes around each position once and writes (value / 255 - mean) / std: no float copy of the
images, no second pass. Its gradient in the grid reads the same bytes again and adds nothing up across positions, so that, unlike
`grid_sample`'s, nothing depends on the order of threads. Without Triton, on a CPU, or for other images it falls back to
`lib.models.sampler`. With TRITON_INTERPRET=1 in the environment the kernels run on a CPU, slowly, to be tested.
"""

import os

import torch
from torch import Tensor

from lib.models.sampler import resample

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

BLOCK = 256  # positions of one program


def sample_normalized(image: Tensor, grid: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(`resample(image, grid)` - mean) / std: (B, C, h, w), float32.

    image: (B, C, H, W). grid: (B, h, w, 2), conventions as in `lib.models.sampler`; a position that is not finite gives NaN.
    mean, std: one value for each channel, of images in [0, 1]. Differentiable in the grid, once.
    """
    mean, std = (torch.as_tensor(value, dtype=torch.float32, device=image.device).flatten() for value in (mean, std))
    runs = triton is not None and (image.is_cuda or os.environ.get("TRITON_INTERPRET") == "1")
    if not runs or image.dtype != torch.uint8 or grid.dtype == torch.float64:
        return (resample(image, grid) - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)
    grid = grid.float().expand(len(image), -1, -1, -1).contiguous()
    return _Fused.apply(image, grid, 1 / (255 * std), -mean / std)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx, image: Tensor, grid: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        ctx.save_for_backward(image, grid, scale)
        out = grid.new_empty(len(image), image.shape[1], *grid.shape[1:3])
        _forward[_programs(grid)](image, grid, out, scale, shift, *_numbers(image, grid), C=image.shape[1], BLOCK=BLOCK)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[None, Tensor, None, None]:
        image, grid, scale = ctx.saved_tensors
        found = torch.empty_like(grid)
        _backward[_programs(grid)](image, grid, gradient.contiguous(), scale, found, *_numbers(image, grid), C=image.shape[1], BLOCK=BLOCK)
        return None, found, None, None


def _programs(grid: Tensor) -> tuple[int]:
    return (triton.cdiv(grid.numel() // 2, BLOCK),)


def _numbers(image: Tensor, grid: Tensor) -> tuple[int, ...]:
    """Positions in all and of each image, the image's sides, and the steps in memory; none along a side of one pixel."""
    height, width = image.shape[2:]
    each, plane, row, column = image.stride()
    return grid.numel() // 2, grid.shape[1:3].numel(), height, width, each, plane, row * (height > 1), column * (width > 1)


if triton is not None:

    @triton.jit
    def _place(grid, at, inside, height, width):
        """Whether each position is finite; its left column and top row, its fractions of a pixel, and where it lies within the image."""
        x, y = tl.load(grid + 2 * at, mask=inside, other=0.0), tl.load(grid + 2 * at + 1, mask=inside, other=0.0)
        finite = (tl.abs(x) < float("inf")) & (tl.abs(y) < float("inf"))
        x, y = (tl.where(finite, x, 0.0) + 1) * ((width - 1) * 0.5), (tl.where(finite, y, 0.0) + 1) * ((height - 1) * 0.5)
        free_x, free_y = (x > 0) & (x < width - 1), (y > 0) & (y < height - 1)
        x, y = tl.minimum(tl.maximum(x, 0.0), width - 1.0), tl.minimum(tl.maximum(y, 0.0), height - 1.0)
        left, top = tl.maximum(tl.minimum(tl.floor(x), width - 2.0), 0.0), tl.maximum(tl.minimum(tl.floor(y), height - 2.0), 0.0)
        return finite, left, top, x - left, y - top, free_x, free_y

    @triton.jit
    def _corners(image, offset, row, column, inside):
        a = tl.load(image + offset, mask=inside, other=0).to(tl.float32)
        b = tl.load(image + offset + column, mask=inside, other=0).to(tl.float32)
        c = tl.load(image + offset + row, mask=inside, other=0).to(tl.float32)
        d = tl.load(image + offset + row + column, mask=inside, other=0).to(tl.float32)
        return a, b, c, d

    @triton.jit
    def _forward(image, grid, out, scale, shift, total, count, height, width, each, plane, row, column, C: tl.constexpr, BLOCK: tl.constexpr):
        at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        inside = at < total
        finite, left, top, x, y, _, _ = _place(grid, at, inside, height, width)
        which = at // count
        offset = which * each + top.to(tl.int64) * row + left.to(tl.int64) * column
        for channel in tl.static_range(C):
            a, b, c, d = _corners(image, offset + channel * plane, row, column, inside)
            upper, lower = a + (b - a) * x, c + (d - c) * x
            value = (upper + (lower - upper) * y) * tl.load(scale + channel) + tl.load(shift + channel)
            tl.store(out + (which * C + channel) * count + at % count, tl.where(finite, value, float("nan")), mask=inside)

    @triton.jit
    def _backward(image, grid, gradient, scale, found, total, count, height, width, each, plane, row, column, C: tl.constexpr, BLOCK: tl.constexpr):
        at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        inside = at < total
        finite, left, top, x, y, free_x, free_y = _place(grid, at, inside, height, width)
        which = at // count
        offset = which * each + top.to(tl.int64) * row + left.to(tl.int64) * column
        along_x = tl.zeros([BLOCK], tl.float32)
        along_y = tl.zeros([BLOCK], tl.float32)
        for channel in tl.static_range(C):
            a, b, c, d = _corners(image, offset + channel * plane, row, column, inside)
            pulled = tl.load(gradient + (which * C + channel) * count + at % count, mask=inside, other=0.0) * tl.load(scale + channel)
            along_x += pulled * ((b - a) + ((d - c) - (b - a)) * y)
            along_y += pulled * ((c - a) + ((d - b) - (c - a)) * x)
        tl.store(found + 2 * at, tl.where(free_x & finite, along_x * ((width - 1) * 0.5), 0.0), mask=inside)
        tl.store(found + 2 * at + 1, tl.where(free_y & finite, along_y * ((height - 1) * 0.5), 0.0), mask=inside)
