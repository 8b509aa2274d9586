"""The saliency sampler: a layer that zooms an image where a saliency map is high.

Recasens, Kellnhofer, Stent, Matusik, Torralba: "Learning to Zoom: a Saliency-Based Sampling Layer for Neural Networks",
ECCV 2018, section 3.2. Each cell (x', y') of the saliency map S attracts the samples with the force S(x', y') k(., .):

    u(x, y) = sum S k x' / sum S k        v(x, y) = sum S k y' / sum S k        (equations 2 and 3)

and the network sees J(x, y) = I(u(x, y), v(x, y)). This file needs torch and nothing else: copy it into your project.

Conventions, everywhere in this file
    images      (B, C, H, W), uint8 or float; uint8 counts as [0, 255] and comes out of `resample` as float in [0, 1]
    grids       (B, h, w, 2), x first, the image is [-1, 1], pixel centres of the border pixels lie at -1 and 1
                (`align_corners=True`); a grid maps output pixels to input positions; border padding
    saliency    (B, 1, H, W), non-negative, scale does not matter

Deviations from the paper, and from the released code (github.com/recasens/Saliency-Sampler)
    - The Gaussian is separable and padding is linear, so the 61x61 convolutions are two small constant matrices per axis;
      the result is the same to rounding, and about a thousand times as fast (batch 64, forward and backward).
    - `align_corners=True` throughout, so that uniform saliency is the identity. The release ran on PyTorch 0.4, where the
      two resizings had False and the sampling True. `legacy=True` brings that back, its clamped grid included.
    - sigma: the paper says a third of the map's width "in all our experiments", the release has a full width at half
      maximum of 13 cells, sigma = 13 / 2.355. Which of the two made the published tables is unknown; the release's is the
      default here, `sigma=31 / 3` is the paper's.
    - The kernel is a constant. In the release it is a trainable convolution that its training script leaves out.
"""

import math
from collections.abc import Iterable
from functools import lru_cache
from itertools import chain
from typing import NamedTuple
from weakref import WeakKeyDictionary, WeakSet

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.module import register_module_module_registration_hook

try:  # two files beside this one, which works without them: how to undo a zoom, and uint8 images without a float copy
    from lib.models.inverse import inverse as inverse
    from lib.models.sample_bytes import resize_bytes, sample_bytes
except ImportError:
    resize_bytes = sample_bytes = None

PADDING = ("replicate", "reflect", "zeros")
RELEASED_SIGMA = 13 / (2 * math.sqrt(2 * math.log(2)))  # cells of a 31x31 map


class Sampled(NamedTuple):
    """What every spatial sampler hands on."""

    image: Tensor  # (B, C, h, w) float, the resampled image
    grid: Tensor  # (B, h, w, 2), x first, where each of its pixels came from
    saliency: Tensor | None = None  # (B, 1, H, W), where the sampler has one


def pair(size: int | tuple[int, int]) -> tuple[int, int]:
    """`size` as (height, width); an int is a square. ValueError for what is not one or two positive whole numbers."""
    sides = tuple(size) if isinstance(size, tuple | list) else (size, size)
    if len(sides) != 2 or not all(hasattr(side, "__index__") and not isinstance(side, bool) and side >= 1 for side in sides):
        raise ValueError(f"size is {size!r}, expected a positive whole number, or two: (height, width)")
    return int(sides[0]), int(sides[1])


def check_grid(grid: Tensor, *, least: int = 1) -> None:
    """ValueError for what is not (B, h, w, 2) with at least so many rows and columns."""
    if grid.dim() != 4 or grid.shape[-1] != 2 or min(grid.shape[1:3]) < least:
        raise ValueError(f"grid has shape {tuple(grid.shape)}, expected (B, h, w, 2)" + (f", h and w at least {least}" if least > 1 else ""))


def _check_oversample(oversample: int) -> None:
    """ValueError for what is not a whole number from 1."""
    if oversample < 1 or oversample != int(oversample):
        raise ValueError(f"oversample is {oversample}, expected a whole number from 1")


def _check_attraction(sigma: float, padding: str) -> None:
    """ValueError for a sigma that is not positive, and for a padding that there is not."""
    if padding not in PADDING:
        raise ValueError(f"padding {padding!r} is not one of {', '.join(PADDING)}")
    if not sigma > 0:
        raise ValueError(f"sigma is {sigma}, expected a positive number of cells")


def _check_image(image: Tensor) -> None:
    """TypeError for what is no tensor, ValueError for one that is not (B, C, H, W)."""
    if not isinstance(image, Tensor):
        raise TypeError(f"image is {type(image).__name__}, expected a tensor (B, C, H, W); torch.from_numpy makes one of an array")
    if image.dim() != 4 or 0 in image.shape[1:]:
        raise ValueError(f"image has shape {tuple(image.shape)}, expected (B, C, H, W); image[None] makes a batch of one")


def identity_grid(size: int | tuple[int, int], *, like: Tensor) -> Tensor:
    """The grid that samples uniformly, (1, h, w, 2), on `like`'s device, float32 at least.

    Example:
        >>> identity_grid((2, 3), like=torch.zeros(1))[0, 0].tolist()  # the top row
        [[-1.0, -1.0], [0.0, -1.0], [1.0, -1.0]]
    """
    dtype = torch.promote_types(like.dtype, torch.float32)
    height, width = pair(size)
    y = torch.linspace(-1, 1, height, dtype=dtype, device=like.device)
    x = torch.linspace(-1, 1, width, dtype=dtype, device=like.device)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[None]


def _attraction(cells: int, sigma: float, padding: str, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """The two (cells, cells) matrices of one axis: A sums the attraction, B the attraction times its position.

    The map is padded by cells - 1 on both sides and the kernel reaches equally far, as in the release (30 and 61x61 for a
    31x31 map). Row i of T is the Gaussian around cell i; R copies the map's cells into the padding; A = T R, B = T diag(x) R.
    """
    pad = cells - 1
    inner, outer = torch.arange(cells, device=device), torch.arange(-pad, cells + pad, device=device)
    distance = outer[None, :] - inner[:, None]  # (cells, cells + 2 pad)
    gauss = torch.exp(-0.5 * (distance.double() / sigma) ** 2) * (distance.abs() <= pad)
    source = pad - (pad - outer.abs()).abs() if padding == "reflect" else outer.clamp(0, pad)
    copies = (source[:, None] == inner[None, :]).double()  # (cells + 2 pad, cells)
    if padding == "zeros":
        copies = copies * ((outer >= 0) & (outer <= pad))[:, None]
    position = outer.double() * (2 / pad) - 1
    return (gauss @ copies).to(dtype), ((gauss * position) @ copies).to(dtype)


@lru_cache(maxsize=64)
def _kept_attraction(*arguments) -> tuple[Tensor, Tensor]:
    """The same matrices, made once; outside inference mode, since training may want them later."""
    with torch.inference_mode(False), torch.no_grad():
        return _attraction(*arguments)


def as_maps(saliency: Tensor) -> Tensor:
    """`saliency` (B, 1, H, W) or (B, H, W) as (B, H, W), float32 at least; ValueError for another shape.

    Example:
        >>> as_maps(torch.rand(8, 1, 31, 31)).shape
        torch.Size([8, 31, 31])
    """
    maps = saliency[:, 0] if saliency.dim() == 4 and saliency.shape[1] == 1 else saliency
    if maps.dim() != 3 or min(maps.shape[1:]) < 2:
        raise ValueError(f"saliency has shape {tuple(saliency.shape)}, expected (B, 1, H, W) or (B, H, W), H and W at least 2")
    return maps.to(torch.promote_types(maps.dtype, torch.float32))


def saliency_grid(saliency: Tensor, *, sigma: float, padding: str = "replicate", clamp: bool = False) -> Tensor:
    """The sampling grid that a saliency map pulls towards itself: equations 2 and 3.

    saliency: (B, 1, H, W) or (B, H, W), non-negative, H and W at least 2; a map that is zero everywhere counts as uniform.
    sigma: standard deviation of the Gaussian attraction, in cells of the map.
    padding: how the map goes on outside. "replicate" is the paper's; "reflect" also pins the image's border; "zeros" shows
        the bias towards the centre that the paper avoids.
    clamp: limit the grid to the image, as the release does. Unclamped, some border points reach beyond it.

    Returns (B, H, W, 2), x first, `align_corners=True`, one point for each cell, in float32 at least. Uniform saliency
    gives the identity (replicate, reflect). Unclamped, the map is the gradient of a convex potential: it never folds.
    A map with a negative, infinite or NaN value gives NaN, in its own image of the batch alone; a point that nothing pulls is NaN.

    Example:
        >>> heat = torch.ones(1, 1, 31, 31)
        >>> heat[..., 20:25, 20:25] = 20  # something to look at, right of the middle and below
        >>> grid = saliency_grid(heat, sigma=RELEASED_SIGMA)
        >>> [round(at, 2) for at in grid[0, 15, 15].tolist()]  # the middle of the output looks there
        [0.15, 0.15]
    """
    _check_attraction(sigma, padding)
    saliency = as_maps(saliency)
    make = _attraction if torch.compiler.is_compiling() or isinstance(sigma, Tensor) else _kept_attraction
    (a_y, b_y), (a_x, b_x) = (make(side, sigma, padding, saliency.dtype, saliency.device) for side in saliency.shape[1:])
    with torch.autocast(saliency.device.type, enabled=False):
        low, peak = saliency.detach().flatten(1).aminmax(dim=1)  # (B,), NaN where the map holds one
        peak = torch.where(low < 0, torch.nan, peak)[:, None, None]
        empty = peak == 0
        mass = torch.addcdiv(empty.to(peak.dtype), saliency, peak + empty)  # the scale cancels, but must not underflow
        rows = a_y @ mass  # (B, H, W)
        total = rows @ a_x.T
        grid = torch.stack((rows @ b_x.T / total, (b_y @ mass) @ a_x.T / total), dim=-1)  # (B, H, W, 2)
    return grid.clamp(-1, 1) if clamp else grid


def resize_grid(grid: Tensor, size: int | tuple[int, int], *, align_corners: bool = True) -> Tensor:
    """`grid` (B, H, W, 2) interpolated bilinearly to `size`: (B, h, w, 2).

    Example:
        >>> resize_grid(identity_grid(31, like=torch.zeros(1)), (480, 640)).shape
        torch.Size([1, 480, 640, 2])
    """
    check_grid(grid)
    resized = F.interpolate(grid.permute(0, 3, 1, 2), pair(size), mode="bilinear", align_corners=align_corners)  # (B, 2, h, w)
    return resized.permute(0, 2, 3, 1)


def resample(image: Tensor, grid: Tensor, *, oversample: int = 1) -> Tensor:
    """`image` (B, C, H, W) at the positions of `grid` (B, h, w, 2): (B, C, h, w), float32 at least.

    Bilinear, border padding, `align_corners=True`. A uint8 image comes out scaled to [0, 1]. A position that is not finite gives
    a NaN pixel. oversample: sample that many times as densely per axis and average, against aliasing where the grid is coarser
    than the image; the paper and the release do not (1).

    Example:
        >>> image = torch.tensor([[[[0, 255], [255, 0]]]], dtype=torch.uint8)
        >>> resample(image, identity_grid(3, like=torch.zeros(1)))[0, 0].tolist()
        [[0.0, 0.5, 1.0], [0.5, 0.5, 0.5], [1.0, 0.5, 0.0]]
    """
    _check_image(image)
    check_grid(grid)
    if grid.shape[0] not in (1, image.shape[0]):
        raise ValueError(f"grid has shape {tuple(grid.shape)}, expected ({image.shape[0]}, h, w, 2), one for each image")
    _check_oversample(oversample)
    grid = grid.to(torch.promote_types(float_type(image), grid.dtype)).expand(image.shape[0], -1, -1, -1)
    if oversample > 1:
        height, width = grid.shape[1] * oversample, grid.shape[2] * oversample
        return F.avg_pool2d(resample(image, resize_grid(grid, (height, width), align_corners=False)), oversample)
    as_bytes = sample_bytes and image.dtype == torch.uint8 and not torch.compiler.is_compiling()
    with torch.autocast(grid.device.type, enabled=False):
        if as_bytes and grid.device.type == "cpu" and grid.detach().sum().isfinite():  # the same numbers sooner; a GPU would have to wait
            return sample_bytes(image, grid).div_(255)
        x, y = grid.detach().unbind(-1)
        bad = (0 * (x + y))[:, None]  # (B, 1, h, w), 0 or NaN; torch's own sampling must not see what is not finite
        grid = grid.nan_to_num(0, 0, 0)
        if as_bytes:
            return sample_bytes(image, grid).div_(255 + bad)
        sampled = F.grid_sample(image.to(grid.dtype), grid, padding_mode="border", align_corners=True)
        return sampled.div_(255 + bad) if image.dtype == torch.uint8 else sampled.add_(bad)


def float_type(image: Tensor) -> torch.dtype:
    """The floating-point type that `image` is computed in, float32 at least; integers other than uint8 have no scale and are refused."""
    if image.dtype != torch.uint8 and not image.is_floating_point():
        raise ValueError(f"the image is {image.dtype}, expected uint8 or float: divide other integers by their range first")
    return torch.float32 if image.dtype == torch.uint8 else torch.promote_types(image.dtype, torch.float32)


def low_resolution(image: Tensor, size: int | tuple[int, int]) -> Tensor:
    """The anti-aliased low-resolution view of `image`: (B, C, h, w), float32 at least; uint8 is scaled to [0, 1].

    On a CPU uint8 images are resized as bytes: the view is rounded to grey levels (and is so 5 to 20 times as fast).

    Example:
        >>> stripes = torch.tensor([0.0, 1.0]).repeat(1, 1, 64, 32)  # (1, 1, 64, 64), finer than the view: their mean
        >>> [round(grey, 2) for grey in low_resolution(stripes, 16)[0, 0, 8, 7:10].tolist()]
        [0.5, 0.5, 0.5]
    """
    _check_image(image)
    dtype = float_type(image)
    as_bytes = image.dtype == torch.uint8 and image.device.type == "cpu"
    if as_bytes and torch.compiler.is_exporting():  # other runtimes round otherwise, where they resize bytes at all
        as_bytes = False
        if resize_bytes:
            return resize_bytes(image, pair(size)).to(dtype) / 255
    view = F.interpolate(image if as_bytes else image.to(dtype), pair(size), mode="bilinear", antialias=True)
    return view / 255 if image.dtype == torch.uint8 else view


def magnification(grid: Tensor) -> Tensor:
    """How much larger than under uniform sampling each output pixel shows things: linear zoom (B, h, w), 1 = uniform.

    The square root of the area ratio, from central differences of `grid` (B, h, w, 2), one-sided at the border. A fold
    counts by its area (`folds` finds it); a point where all pixels converge is infinite.

    Example:
        >>> magnification(identity_grid(9, like=torch.zeros(1)) / 2).unique().tolist()  # the middle half of the image
        [2.0]
    """
    check_grid(grid, least=2)
    dy, dx = torch.gradient(grid, dim=(1, 2))  # (B, h, w, 2), per pixel
    area = (dx[..., 0] * dy[..., 1] - dx[..., 1] * dy[..., 0]).abs()
    uniform = (2 / (grid.shape[1] - 1)) * (2 / (grid.shape[2] - 1))
    return (uniform / area).sqrt()


def folds(grid: Tensor) -> Tensor:
    """Share of the cells of `grid` (B, h, w, 2) that are turned over or have no area: (B,), 0 for a proper zoom, NaN for a grid that holds one.

    Example:
        >>> grid = identity_grid(3, like=torch.zeros(1))
        >>> folds(grid).item(), folds(grid.flip(2)).item()  # as it is, and mirrored
        (0.0, 1.0)
    """
    check_grid(grid, least=2)
    right, down = grid[:, :, 1:] - grid[:, :, :-1], grid[:, 1:] - grid[:, :-1]
    corners = [(right[:, :-1], down[:, :, :-1]), (right[:, :-1], down[:, :, 1:]), (right[:, 1:], down[:, :, :-1]),
               (right[:, 1:], down[:, :, 1:])]  # the two edges that meet at each corner of a cell
    areas = torch.stack([r[..., 0] * d[..., 1] - r[..., 1] * d[..., 0] for r, d in corners])  # (4, B, h-1, w-1)
    share = (areas <= 0).any(dim=0).double().mean(dim=(1, 2))
    return torch.where(areas.isnan().flatten(2).any(dim=2).any(dim=0), torch.nan, share)


def warp(image: Tensor, heatmap: Tensor, *, size: int | tuple[int, int] | None = None, strength: float = 1.0,
         sigma: float = RELEASED_SIGMA, padding: str = "replicate", map_size: int | tuple[int, int] = 31) -> Tensor:
    """Zoom any image by any heat map, no network needed.

    image: (C, H, W) or (B, C, H, W), any real dtype. heatmap: (h, w), (B, h, w) or (B, 1, h, w), non-negative, any size; one serves
    a batch. NumPy arrays of these shapes and PIL images are taken as well. size: of the output (height, width), each at least 2, by default
    the image's. strength: the exponent of the heat map; 0 is plain resizing, larger is a stronger zoom (smooth maps want 4 or more).
    An all-zero heat map is uniform. sigma, padding: see `saliency_grid`; sigma counts in cells of the `map_size` map that the
    heat map is resized to.

    Returns the zoomed image as a tensor of the image's own dtype and number of dimensions, anti-aliased where it shrinks.
    Integers (up to 2^50) are rounded, a bool is True from a half on.

    Example:
        >>> photo, heat = torch.zeros(3, 64, 64, dtype=torch.uint8), torch.full((64, 64), 0.1)
        >>> photo[:, 40:48, 40:48], heat[40:48, 40:48] = 255, 1
        >>> side = (warp(photo, heat)[0] > 127).sum().sqrt()  # of the white square, 8 pixels in the photo
        >>> round(side.item())
        12
    """
    image, heatmap = _tensor(image, "image"), _tensor(heatmap, "heat map")
    batch = image if image.dim() == 4 else image[None]
    if batch.dim() != 4 or 0 in batch.shape[1:] or batch.shape[-1] in (1, 3, 4) and batch.shape[1] > 4:
        raise ValueError(f"the image has shape {tuple(image.shape)}, expected (C, H, W) or (B, C, H, W); move channels that come last to the front")
    grid = warp_grid(heatmap.to(batch.device), strength=strength, sigma=sigma, padding=padding, map_size=map_size)
    if len(grid) not in (1, len(batch)):
        raise ValueError(f"the heat map has shape {tuple(heatmap.shape)}, expected one map (h, w), or one for each image ({len(batch)}, h, w)")
    size = pair(size if size is not None else tuple(batch.shape[-2:]))
    if min(size) < 2:
        raise ValueError(f"size is {size}, expected both sides at least 2: the border of the image goes to the border of the result")
    stride = max(batch.shape[-2] / size[0], batch.shape[-1] / size[1])
    integer = image.dtype != torch.uint8 and not image.is_floating_point()
    zoomed = resample(batch.double() if integer else batch, resize_grid(grid, size), oversample=max(1, math.ceil(stride)))
    if not image.is_floating_point():
        zoomed = (zoomed if integer else zoomed * 255).round()
    return zoomed.to(image.dtype).view(*image.shape[:-2], *size)


def warp_grid(heatmap: Tensor, *, strength: float = 1.0, sigma: float = RELEASED_SIGMA, padding: str = "replicate",
              map_size: int | tuple[int, int] = 31) -> Tensor:
    """The grid of `warp`, one point per cell of the map: (B, *map_size, 2). Arguments as there.

    Example:
        >>> grid = warp_grid(torch.rand(60, 80), strength=0)
        >>> torch.allclose(grid, identity_grid(31, like=grid), atol=1e-5)
        True
    """
    heatmap = _tensor(heatmap, "heat map")
    if not 0 <= strength < math.inf:  # also false for NaN
        raise ValueError(f"strength is {strength}, expected a number from 0, which is plain resizing; larger is a stronger zoom")
    last = heatmap.dim() == 3 and heatmap.shape[-1] in (1, 3, 4) and (heatmap.shape[-1] == 1 or heatmap.shape[1] > 4)
    channels = heatmap.dim() == 4 and heatmap.shape[1] != 1 or last
    if not 2 <= heatmap.dim() <= 4 or 0 in heatmap.shape or channels:
        raise ValueError(f"the heat map has shape {tuple(heatmap.shape)}, expected (h, w), (B, h, w) or (B, 1, h, w), without channels")
    heatmap = heatmap.to(torch.promote_types(heatmap.dtype, torch.float32)).reshape(-1, 1, *heatmap.shape[-2:])
    if not torch.isfinite(heatmap).all() or (heatmap < 0).any():
        raise ValueError("the heat map has negative, infinite or NaN values; make it non-negative first")
    small = low_resolution(heatmap, map_size).clamp(min=0)
    small = small / small.amax(dim=(2, 3), keepdim=True).clamp(min=torch.finfo(small.dtype).tiny)
    grid = saliency_grid(small**strength, sigma=sigma, padding=padding)
    if not torch.isfinite(grid).all():
        raise ValueError(f"the heat map reaches too little of the image at sigma {sigma} and strength {strength}; take a larger sigma")
    return grid


def _tensor(picture, what: str) -> Tensor:
    """A tensor as it is, a NumPy array as a tensor, a PIL image as one with its channels first."""
    if isinstance(picture, Tensor) and not picture.is_complex():
        return picture
    if not hasattr(picture, "__array_interface__") or getattr(picture, "mode", "") in ("P", "PA"):
        raise ValueError(f"the {what} is {type(picture).__name__}; pass a real tensor, a NumPy array or a PIL image, without palette: convert('RGB')")
    import numpy as np  # what has the interface has brought it

    if what == "heat map" and len(getattr(picture, "getbands", tuple)()) > 1:
        raise ValueError(f"the heat map is a picture of mode {picture.mode}, expected one without channels: convert('L')")
    if np.ma.is_masked(picture):
        raise ValueError(f"the {what} is an array with masked values; fill them first, filled(0) for instance")
    array = np.array(picture)  # a copy, for what is read-only or counts backwards
    if array.dtype.kind not in "biuf":
        raise ValueError(f"the {what} is an array of {array.dtype}; pass one of real numbers")
    tensor = torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))
    return tensor if isinstance(picture, np.ndarray) else tensor[None] if tensor.dim() == 2 else tensor.movedim(-1, 0)


class SpatialSampler(nn.Module):
    """What every row of the paper's tables puts before its task network: an image goes in, a resampled one comes out.

    A sampler looks at the anti-aliased low-resolution view and gives a grid (and a saliency map, where it has one);
    sampling the full image there is the same for all. Subclasses write `locate`.

    task_size: of the resampled image; view_size: of the low-resolution view; both int or (height, width).
    normalize: (mean, std) of the view's channels, where its network wants that (the image is handed on as it came).

    Example:
        >>> class Middle(SpatialSampler):
        ...     def locate(self, view):
        ...         return identity_grid(self.task_size, like=view) / 2, None
        >>> Middle(task_size=32, view_size=16)(torch.rand(1, 3, 90, 120)).image.shape
        torch.Size([1, 3, 32, 32])
    """

    looks_at = "view"  # which part of a batch goes in beside the image

    def __init__(self, task_size: int | tuple[int, int], view_size: int | tuple[int, int], *, oversample: int = 1,
                 normalize: tuple | None = None):
        super().__init__()
        _check_oversample(oversample)
        self.task_size, self.view_size, self.oversample = pair(task_size), pair(view_size), oversample
        self.normalize = Normalize(*normalize) if normalize else nn.Identity()

    def locate(self, view: Tensor) -> tuple[Tensor, Tensor | None]:
        """view (B, C, *view_size) -> grid (B, *task_size, 2), saliency or None."""
        raise TypeError(f"{type(self).__name__} does not say where to sample: write its locate()")

    def forward(self, image: Tensor, view: Tensor | None = None) -> Sampled:
        """image (B, C, H, W), uint8 or float; view: its `low_resolution`, where that is at hand already; one of another size is made anew."""
        _check_image(image)
        if image.shape[-1] in (1, 3, 4) and image.shape[1] > 4:
            raise ValueError(f"image has shape {tuple(image.shape)}, expected (B, C, H, W); move the channels to the front: permute(0, 3, 1, 2)")
        if view is None or tuple(view.shape[-2:]) != self.view_size:
            view = low_resolution(image, self.view_size)
        float_type(view)
        if view.dim() != 4 or view.shape[0] != image.shape[0]:
            raise ValueError(f"view has shape {tuple(view.shape)}, expected one for each image of a batch of {image.shape[0]}")
        view = view / 255 if view.dtype == torch.uint8 else view
        grid, saliency = self.locate(like_weights(self.normalize(view), self))
        return Sampled(resample(image, grid, oversample=self.oversample), grid, saliency)


class SaliencyZoom(SpatialSampler):
    """The paper's sampler: saliency network, ReLU, 1x1 convolution, resize, softmax, attraction, grid.

    saliency_network: any module that turns (B, 3, *view_size) into a feature map (B, C, h, w); C is found out.
    sigma, padding, clamp: see `saliency_grid`. map_size: cells of the saliency map. temperature divides the logits.
    channels: of the image. legacy: the release's resizings and clamp, and average pooling for the view.

    Example:
        >>> zoom = SaliencyZoom(nn.Conv2d(3, 8, 3), task_size=64, view_size=32)
        >>> image, grid, saliency = zoom(torch.rand(2, 3, 90, 120))
        >>> image.shape, saliency.shape
        (torch.Size([2, 3, 64, 64]), torch.Size([2, 1, 31, 31]))
    """

    def __init__(self, saliency_network: nn.Module, task_size: int | tuple[int, int], view_size: int | tuple[int, int], *,
                 sigma: float = RELEASED_SIGMA, padding: str = "replicate", clamp: bool = False, channels: int = 3,
                 map_size: int | tuple[int, int] = 31, temperature: float = 1.0, legacy: bool = False, **options):
        super().__init__(task_size, view_size, **options)
        _check_attraction(sigma, padding)
        if min(pair(map_size)) < 2:
            raise ValueError(f"map_size is {map_size}, expected at least 2 cells along each axis")
        if not temperature > 0:
            raise ValueError(f"temperature is {temperature}, expected a positive number that divides the logits")
        self.saliency_network, self.map_size, self.temperature, self.channels = saliency_network, pair(map_size), temperature, channels
        self.sigma, self.padding, self.clamp, self.legacy = sigma, padding, clamp or legacy, legacy
        self.head = nn.Conv2d(feature_channels(saliency_network, (channels, *self.view_size)), 1, kernel_size=1)
        self.head.to(next(saliency_network.parameters(), torch.zeros(())))  # its device and type

    def saliency(self, view: Tensor) -> Tensor:
        """view (B, C, *view_size) -> (B, 1, *map_size), positive, sums to 1."""
        logits = self.head(F.relu(self.saliency_network(view)))  # (B, 1, h, w)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        logits = F.interpolate(logits, self.map_size, mode="bilinear", align_corners=not self.legacy)
        return (logits / self.temperature).flatten(1).softmax(dim=1).view_as(logits)

    def locate(self, view: Tensor) -> tuple[Tensor, Tensor]:
        saliency = self.saliency(view)
        grid = saliency_grid(saliency, sigma=self.sigma, padding=self.padding, clamp=self.clamp)
        return resize_grid(grid, self.task_size, align_corners=not self.legacy), saliency

    def forward(self, image: Tensor, view: Tensor | None = None) -> Sampled:
        _check_image(image)
        if image.shape[1] != self.channels and image.shape[-1] != self.channels:
            raise ValueError(f"image has {image.shape[1]} channels, this sampler was built for {self.channels}; expand(-1, 3, -1, -1) makes grey "
                             "RGB, image[:, :3] drops an alpha channel")
        if self.legacy and view is None:
            view = F.adaptive_avg_pool2d(image.to(float_type(image)), self.view_size) / (255 if image.dtype == torch.uint8 else 1)
        return super().forward(image, view)


class SampledNetwork(nn.Module):
    """A task network behind a spatial sampler: one row of a table.

    normalize: (mean, std) per channel of what the task network sees. While `blur` is True and the model trains, the resampled
    image is scaled down and up again by a random factor (section 3.3: "It forces the saliency sampler to zoom deeper").
    The training loop says `set_blur(model, epoch < epochs // 3)`: assigning `blur` to DataParallel or DistributedDataParallel around
    the model would do nothing, as torch's wrapper keeps the name to itself; training then stops with a line that says so.

    Example:
        >>> zoom = SaliencyZoom(nn.Conv2d(3, 8, 3), task_size=64, view_size=32)
        >>> model = SampledNetwork(zoom, nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 10)))
        >>> model(torch.rand(2, 3, 90, 120)).shape
        torch.Size([2, 10])
    """

    def __init__(self, sampler: SpatialSampler, task_network: nn.Module, *, normalize: tuple | None = None):
        super().__init__()
        self.sampler, self.task_network, self.blur = sampler, task_network, False
        self.normalize = Normalize(*normalize) if normalize else nn.Identity()
        self.inputs = ("image", sampler.looks_at)  # the parts of a batch that forward takes

    def forward(self, image: Tensor, view: Tensor | None = None, *, return_maps: bool = False):
        """The task network's output for `image` (B, C, H, W); with `return_maps` also the `Sampled` it saw."""
        if self.training and not torch.compiler.is_compiling():
            _check_around(_around.get(self, ()))
        sampled = self.sampler(image, view)
        seen = random_blur(sampled.image) if self.blur and self.training else sampled.image
        output = self.task_network(like_weights(self.normalize(seen), self.task_network))
        return (output, sampled) if return_maps else output

    def _replicate_for_data_parallel(self) -> nn.Module:  # several GPUs: copies of the model are called, which no wrapper is around
        _check_around(_around.get(self, ()))
        return super()._replicate_for_data_parallel()


_around: WeakKeyDictionary[SampledNetwork, WeakSet[nn.Module]] = WeakKeyDictionary()  # torch's wrappers, known from when they were made


def _remember(outer: nn.Module, name: str, inner: nn.Module | None) -> None:
    if name == "module" and isinstance(outer, nn.DataParallel | nn.parallel.DistributedDataParallel):
        for network in inner.modules():
            if isinstance(network, SampledNetwork):
                _around.setdefault(network, WeakSet()).add(outer)


register_module_module_registration_hook(_remember)


def _check_around(wrappers: Iterable[nn.Module]) -> None:
    """ValueError where `blur` was set on a wrapper, which keeps it to itself."""
    for outer in wrappers:
        if "blur" in vars(outer):
            raise ValueError(f"blur was set on the {type(outer).__name__} around the model, where it does nothing; delete it there and "
                             "call set_blur(model, True)")


def set_blur(model: nn.Module, on: bool) -> None:
    """Turn early blur on or off, in `model` itself or inside DataParallel, DistributedDataParallel, a compiled or larger model.

    Example:
        >>> model = SampledNetwork(SaliencyZoom(nn.Conv2d(3, 8, 3), 64, 32), nn.Identity())
        >>> set_blur(nn.Sequential(model), True)
        >>> model.blur
        True
    """
    if not isinstance(on, bool):
        raise ValueError(f"blur is {on!r}, expected True or False")
    _check_around(outer for outer in model.modules() if {"module", "_orig_mod"} & outer._modules.keys())  # themselves wrapped, perhaps
    networks = [module for module in model.modules() if isinstance(module, SampledNetwork)]
    if not networks:
        raise ValueError(f"{type(model).__name__} holds no SampledNetwork, so nothing to blur; build the model with SaliencySampler")
    for network in networks:
        network.blur = on


class SaliencySampler(SampledNetwork):
    """The paper's model: `task_network(zoomed image)`, both networks trained together. Calling it gives the task's output.

    Sizes are int or (height, width). normalize: (mean, std) for both networks, when images are not normalised before.
    Options: sigma, padding, clamp, map_size, temperature, oversample, channels, legacy (see `SaliencyZoom`).

    Example:
        >>> task, saliency_network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 10)), nn.Conv2d(3, 8, 3)
        >>> model = SaliencySampler(task, saliency_network, 64, 32)  # or resnet101(), saliency_network_resnet18(), 224, 224
        >>> output, maps = model(torch.rand(2, 3, 300, 400), return_maps=True)  # at any resolution
        >>> output.shape, maps.image.shape, maps.grid.shape
        (torch.Size([2, 10]), torch.Size([2, 3, 64, 64]), torch.Size([2, 64, 64, 2]))
    """

    def __init__(self, task_network: nn.Module, saliency_network: nn.Module, task_input_size: int | tuple[int, int],
                 saliency_input_size: int | tuple[int, int], *, normalize: tuple | None = None, **options):
        zoom = SaliencyZoom(saliency_network, task_input_size, saliency_input_size, normalize=normalize, **options)
        super().__init__(zoom, task_network, normalize=normalize)


Saliency_Sampler = SaliencySampler  # the released name


class Normalize(nn.Module):
    """(x - mean) / std per channel; constants, not in the state_dict."""

    def __init__(self, mean: tuple, std: tuple):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


def like_weights(x: Tensor, network: nn.Module) -> Tensor:
    """`x` in the floating-point type of the network's weights: float32, after `half()` or `double()` that.

    Example:
        >>> like_weights(torch.rand(1, 3, 8, 8), nn.Conv2d(3, 4, 3).half()).dtype
        torch.float16
    """
    weights = chain(network.parameters(), network.buffers())  # DataParallel's copies have only the latter
    return x.to(next((weight.dtype for weight in weights if weight.is_floating_point()), x.dtype))


def feature_channels(network: nn.Module, shape: tuple[int, int, int]) -> int:
    """How many channels `network`'s feature map has, by one forward pass over zeros (1, *shape) that changes nothing."""
    parameter = next(network.parameters(), torch.zeros(1))
    training = {name: module.training for name, module in network.named_modules()}
    network.eval()
    with torch.no_grad():
        features = network(torch.zeros(1, *shape, dtype=parameter.dtype, device=parameter.device))
    for name, module in network.named_modules():
        module.training = training[name]
    if not isinstance(features, Tensor) or features.dim() != 4:
        raise ValueError("the saliency network must return a feature map (B, C, h, w): cut its pooling and classifier off")
    return features.shape[1]


def random_blur(image: Tensor, *, smallest: float = 64 / 224) -> Tensor:
    """`image` (B, C, h, w) scaled down by a random factor and up again; the release draws 64 to 224 of 224 pixels.

    Example:
        >>> image = torch.rand(1, 3, 32, 32)
        >>> random_blur(image).shape, torch.allclose(random_blur(image, smallest=1), image)
        (torch.Size([1, 3, 32, 32]), True)
    """
    factor = smallest + (1 - smallest) * torch.rand(()).item()  # from torch's generator, so that seeds and resuming cover it
    small = [max(1, round(side * factor)) for side in image.shape[-2:]]
    return F.interpolate(F.adaptive_avg_pool2d(image, small), image.shape[-2:], mode="bilinear", align_corners=True)
