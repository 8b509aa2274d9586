"""Bilinear samples of uint8 images without a float copy of them all: what `lib.models.sampler.resample` is fast with.

Converting eight pictures of 800x800 takes longer than sampling them, and the copy is kept until the gradient is known. Here a few
pictures at a time are converted; of pictures that are large for the grid, the four pixels around each position alone are
read. For the gradient the bytes are kept and sampled again. The samples are those of torch's `grid_sample`.

`resize_bytes` is torch's resizing of bytes in plain arithmetic, for exported graphs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

WEIGHT_BITS = 15  # of the whole numbers that torch resizes bytes with, their sign apart
GATHER_FROM = 32  # pixels of a uint8 image for each that is sampled: from there on, converting all of them costs more than gathering


def sample_bytes(image: Tensor, grid: Tensor) -> Tensor:
    """uint8 `image` (B, C, H, W) at the positions of `grid` (B, h, w, 2), finite: (B, C, h, w) in [0, 255], of the grid's type.

    Border padding, `align_corners=True`; differentiable in the grid, twice too.
    """
    return _Sampling.apply(image, grid)


class _Sampling(torch.autograd.Function):
    """`grid_sample` of uint8 images, a few at a time, so that their float copies are small and short-lived: (B, C, h, w) in [0, 255]."""

    @staticmethod
    def forward(ctx, image: Tensor, grid: Tensor) -> Tensor:
        height, width = ctx.sides = image.shape[2:]
        few = torch.get_num_threads() * max(1, 65536 // grid.shape[1:3].numel()) if grid.device.type == "cpu" else max(1, len(image))
        gather = min(height, width) > 1 and height * width > GATHER_FROM * grid.shape[1:3].numel()
        kept = [_neighbours(*part) for part in zip(image.split(few), grid.split(few), strict=True)] if gather else image.split(few)
        ctx.save_for_backward(grid, *kept)
        return torch.cat([_sample(*part, ctx.sides) for part in zip(kept, grid.split(few), strict=True)])

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[None, Tensor]:
        grid, *kept = ctx.saved_tensors
        few, found, again = max(1, len(kept[0])), [], torch.is_grad_enabled()  # again: the gradient is to be differentiated itself
        for read, at, part in zip(kept, grid.split(few), gradient.split(few), strict=True):
            with torch.enable_grad():
                at = at if again else at.detach().requires_grad_()
                found += torch.autograd.grad(_sample(read, at, ctx.sides), at, part, create_graph=again)
        return None, torch.cat(found)


def _sample(read: Tensor, grid: Tensor, sides: tuple[int, int]) -> Tensor:
    """uint8 images (B, C, H, W) at the positions of the grid (B, h, w, 2), or blended from the `_neighbours` there: (B, C, h, w)."""
    if read.dim() == 4:
        return F.grid_sample(read.to(grid.dtype), grid, padding_mode="border", align_corners=True)
    pixels = read.permute(4, 2, 0, 1, 5, 3).to(grid.dtype, memory_format=torch.contiguous_format).flatten(3, 4)  # (2, 2, B, C, n)
    x, y, left, top = _places(grid, sides)
    columns = torch.lerp(pixels[0], pixels[1], (x - left)[:, None])  # (2, B, C, n)
    return torch.lerp(columns[0], columns[1], (y - top)[:, None]).unflatten(2, grid.shape[1:3])


def _places(grid: Tensor, sides: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x and y of the grid's positions in pixels, and the left column and the top row of the four pixels around each: (B, n)."""
    height, width = sides
    x = ((grid[..., 0].flatten(1) + 1) * ((width - 1) / 2)).clamp(0, width - 1)
    y = ((grid[..., 1].flatten(1) + 1) * ((height - 1) / 2)).clamp(0, height - 1)
    return x, y, x.detach().floor().clamp_(max=width - 2), y.detach().floor().clamp_(max=height - 2)


def _neighbours(image: Tensor, grid: Tensor) -> Tensor:
    """The four uint8 pixels around each position: (B, planes, 2 rows, n, 2 columns, run).

    Left and right pixel make one run of bytes in memory: with all their channels (channels_last), or in the plane of each channel.
    """
    batch, channels, height, width = image.shape
    together = image.stride(1) == 1 and image.stride(3) == channels
    image = image if together or image.stride(3) == 1 else image.contiguous()
    run, planes, steps = channels if together else 1, 1 if together else channels, image.stride()
    _, _, left, top = _places(grid, (height, width))
    corner = (top.long() * steps[2]).add_(left.long(), alpha=steps[3])[:, None, None]  # (B, 1, 1, n)
    each, plane, row = (torch.arange(count, device=grid.device) * step for count, step in zip((batch, planes, 2), steps[:3], strict=True))
    start = corner + (each[:, None, None] + plane[:, None] + row)[..., None]  # (B, planes, 2, n)
    end = sum((side - 1) * step for side, step in zip(image.shape, steps, strict=True)) + 1
    runs = image.as_strided((end + 1 - 2 * run, 2 * run), (1, 1), image.storage_offset())  # all that there are, overlapping
    return runs.index_select(0, start.flatten()).view(*start.shape, 2, run)


def resize_bytes(image: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 `image` (B, C, H, W) at `size` (h, w): (B, C, h, w), whole numbers as float64, those that torch gives on a CPU, bit for bit.

    That is `F.interpolate(image, size, mode="bilinear", antialias=True)`: columns first, then rows, each rounded to grey levels, with
    weights of a few bits. As matrices it goes through any exporter, whatever the sides are. (B, C, H, W) in memory, as float64.
    """
    rows = _rounded(image.double() @ _weights(image.shape[3], size[1], image.device).T)  # (B, C, H, w)
    return _rounded(_weights(image.shape[2], size[0], image.device) @ rows)


def _rounded(levels: Tensor) -> Tensor:
    return (levels + 0.5).floor().clamp(0, 255)


def _weights(old: int, new: int, device: torch.device) -> Tensor:
    """(new, old) float64: each new pixel's triangle over the old ones, as whole numbers over a power of two."""
    at = torch.arange(old, dtype=torch.float64, device=device) + 0.5
    scale = (at[-1] + 0.5) / new  # from a tensor: where the side is a symbol, no comparison fixes it
    centre = (torch.arange(new, dtype=torch.float64, device=device) + 0.5) * scale
    weights = (1 - (at - centre[:, None]).abs() / scale.clamp(min=1)).clamp(min=0)
    weights = weights / weights.sum(dim=1, keepdim=True)
    whole = torch.exp2(torch.log2((2**WEIGHT_BITS - 0.5) / weights.flatten().amax(dim=0)).floor().clamp(max=22))
    return (weights * whole + 0.5).floor() / whole
