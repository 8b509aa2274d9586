"""Maps for the saliency metrics: built from fixations, and checked before anything is computed.

Conventions are in the package's docstring. Deviation: MIT blurs fixations with a Fourier low-pass of 8 cycles per image;
`density_map` is a Gaussian, as SALICON (sigma 19 px) and OSIE (24 px) publish theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from lib.metrics.inputs import number, shown, tensor_of, whole

Maps = Tensor | ArrayLike

# One map of 600x800 at a time stays in a CPU's cache; a GPU wants more of them.
CHUNK_PIXELS = {"cpu": 2**19, "cuda": 2**24}
CHANNELS = 4  # a last axis as short as this behind two longer ones is one of channels
NOISE = 32  # units in the last place: resizing a constant map in floats leaves a few
SIGMA_MOST = 1e5  # pixels; no picture is as large
COUNT_MAX = 2**15 - 1  # count maps are int16: half of a metric's time goes into reading maps from memory


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread; decorates every metric.

    Their passes over a map take a tenth of a millisecond each, so a second thread gains little, and where another process
    keeps it waiting each pass waits along: on two busy cores an AUC took 55 ms with two threads, and 2.4 ms with one.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@one_thread()
def fixation_map(xy: Maps, size: tuple[int, int]) -> Tensor:
    """Count map of fixations.

    `xy`: (n, 2) integers, 0-based pixels, x first; `size`: (height, width). Returns (height, width) int16, on the device of
    `xy`. ValueError for coordinates that are not integers or lie outside the image, for a size that is not two whole numbers,
    and for counts above 32767.

    Example:
        >>> fixation_map([[1, 0], [2, 1], [2, 1]], (2, 3)).tolist()  # x first
        [[0, 1, 0], [0, 0, 2]]
    """
    xy, (height, width) = _coordinates([xy]), _size(size, "size")
    outside = ((xy < 0) | (xy >= xy.new_tensor([width, height]))).any(1)
    if outside.any():
        x, y = xy[outside][0].tolist()
        raise ValueError(f"{int(outside.sum())} fixations outside the image of {width} x {height}, the first at x={x}, y={y}")
    counts = torch.bincount(xy[:, 1] * width + xy[:, 0], minlength=height * width)
    if len(xy) > COUNT_MAX and int(counts.max()) > COUNT_MAX:
        raise ValueError(f"{int(counts.max())} fixations on one pixel, a count map holds {COUNT_MAX}")
    return counts.to(torch.int16).reshape(height, width)


@one_thread()
def shuffled_map(fixations: Sequence[Maps], sizes: Sequence[tuple[int, int]], index: int, *, others: Sequence[int] | None = None) -> Tensor:
    """Negatives for shuffled AUC, and a baseline for information gain: where people looked in other images.

    `fixations`: for each image (n, 2) integers, 0-based pixels, x first; `sizes`: each image's (height, width); `index`: the
    image to be scored; `others`: the images to pool, by default all but `index` (MIT takes 10 at random). Returns a count
    map int16 of the size of image `index`, the other images' coordinates stretched to it and rounded down, as pysaliency
    does, but in integers (its x * (W / w) may fall one pixel short). The image's own pixels are not excluded, nor are they
    in MIT and pysaliency. ValueError where `index` or one of `others` is not from 0 to the number of images less 1 (none is
    counted from the end), and where `others` names `index` itself.

    Example:
        >>> seen = [[[0, 0]], [[1, 1]], [[3, 3]]]  # of three images; the last one is twice as large
        >>> shuffled_map(seen, [(2, 2), (2, 2), (4, 4)], 0).tolist()
        [[0, 0], [0, 2]]
    """
    if len(fixations) != len(sizes):
        raise ValueError(f"fixations of {len(fixations)} images, but {len(sizes)} sizes")
    index, others = _chosen(index, others, len(sizes))
    height, width = _size(sizes[index], f"sizes[{index}]")
    by_size: dict[tuple[int, int], list[Maps]] = {}
    for i in others:
        by_size.setdefault(_size(sizes[i], f"sizes[{i}]"), []).append(fixations[i])
    stretched = [torch.zeros(0, 2, dtype=torch.int64)]
    for (h, w), group in by_size.items():
        xy = _coordinates(group)
        same = (h, w) == (height, width)
        stretched.append(xy if same else torch.stack([xy[:, 0] * width // w, xy[:, 1] * height // h], dim=1))
    return fixation_map(torch.cat([xy.to(stretched[-1].device) for xy in stretched]), (height, width))


def density_map(fixations: Maps, *, sigma: float) -> Tensor:
    """Fixations blurred with a Gaussian.

    `fixations`: count map (H, W) or (B, H, W), or any weights, such as durations; `sigma`: pixels. Returns float64 of the same
    shape. The Gaussian is cut at 4 sigma and sums to 1; outside the image there is nothing, so that mass is lost at the
    border: `scipy.ndimage.gaussian_filter(..., mode="constant")`. Not normalised: no metric here depends on the scale.
    ValueError for a sigma that is not above 0, and for one above 100,000.

    Example:
        >>> density = density_map(fixation_map([[20, 20]], (41, 41)), sigma=5)
        >>> round(density.sum().item(), 3), divmod(density.argmax().item(), 41)
        (1.0, (20, 20))
    """
    sigma = number(sigma, "sigma", 0, SIGMA_MOST, above=True)
    counts = as_tensor(fixations, "fixations").to(torch.float64)
    rows, columns = (_blur_matrix(n, sigma).to(counts.device) for n in counts.shape[-2:])

    blurred = torch.zeros_like(counts)
    for image, out in zip(counts.reshape(-1, *counts.shape[-2:]), blurred.reshape(-1, *counts.shape[-2:]), strict=True):
        hit = nonzero((image != 0).any(1))  # most rows have no fixation
        out.copy_(rows[:, hit] @ (image[hit] @ columns))  # a separable blur is one matrix product per axis
    return blurred


@lru_cache(maxsize=8)
def _blur_matrix(cells: int, sigma: float) -> Tensor:
    """(cells, cells): the Gaussian around each cell, zero outside the image."""
    radius = int(4 * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float64)
    total = torch.exp(-0.5 * (offsets / sigma) ** 2).sum()
    at = torch.arange(cells, dtype=torch.float64)
    distance = (at[:, None] - at).abs()
    return torch.where(distance <= radius, torch.exp(-0.5 * (distance / sigma) ** 2), 0.0) / total


def _chosen(index: int, others: Sequence[int] | None, images: int) -> tuple[int, list[int]]:
    """The image to be scored and those to pool, each from 0 to `images` - 1."""
    index = whole(index, "index", 0, images - 1)
    if others is None:
        return index, [i for i in range(images) if i != index]
    try:
        given = list(others)
    except TypeError:
        raise ValueError(f"others must be a list of images, got {shown(others)}") from None
    pooled = [whole(i, "each of others", 0, images - 1) for i in given]
    if index in pooled:
        raise ValueError(f"image {index} cannot be its own negative; leave it out of others")
    return index, pooled


def _size(size: Sequence[int], name: str) -> tuple[int, int]:
    """(height, width) as ints; ValueError for anything but two whole numbers of 1 or more."""
    try:
        height, width = size
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be (height, width), got {shown(size)}") from None
    return whole(height, f"the height in {name}", 1), whole(width, f"the width in {name}", 1)


def _coordinates(images: Sequence[Maps]) -> Tensor:
    """(n, 2) int64, the images' fixations one after the other."""
    parts = [xy for xy in (tensor_of(image, "fixations", shape="(n, 2), x first") for image in images) if xy.numel()]
    for xy in parts:
        if xy.ndim != 2 or xy.shape[1] != 2:
            raise ValueError(f"fixations must be (n, 2), x first, got {tuple(xy.shape)}")
        if xy.is_floating_point() or xy.dtype == torch.bool:
            raise ValueError(f"fixations must be integer pixels, got {xy.dtype}: round them first")
    return torch.cat(parts).to(torch.int64) if parts else torch.zeros(0, 2, dtype=torch.int64)


def as_tensor(values: Maps, name: str) -> Tensor:
    """A map or a batch of maps as a tensor, (H, W) or (B, H, W); the values as they are.

    Tensors, NumPy arrays of any byte order, nested lists, and PIL images of one channel. ValueError, one line, for other shapes, for
    channels at the end, for what is not of real numbers, and for masked arrays that mask something.
    """
    if (mode := getattr(values, "mode", None)) is not None and hasattr(values, "getbands"):  # a PIL image, without importing PIL
        if mode == "P" or len(values.getbands()) > 1:
            raise ValueError(f"{name} is a picture of mode {mode}, which is no map of one value a pixel; give image.convert('L')")
        values = np.array(values)
    tensor = tensor_of(values, name, shape="(H, W) or (B, H, W)")
    if tensor.ndim not in (2, 3) or 0 in tensor.shape[-2:]:
        raise ValueError(f"{name} must be (H, W) or (B, H, W) and not empty, got {tuple(tensor.shape)}; squeeze or reshape it")
    if tensor.ndim == 3 and tensor.shape[2] <= CHANNELS < min(tensor.shape[:2]):
        raise ValueError(f"{name} is {tuple(tensor.shape)}, which looks like (H, W, channels) and not like (B, H, W); give one channel, (H, W)")
    return tensor


def as_float(tensor: Tensor) -> Tensor:
    """The narrowest of float32 and float64 that holds the dtype's values exactly (int64 and uint64: up to 2^53)."""
    narrow = (torch.float16, torch.bfloat16, torch.float32, torch.bool, torch.uint8, torch.int8, torch.int16, torch.uint16)
    return tensor.to(torch.float32 if tensor.dtype in narrow else torch.float64)


def constant(maps: Tensor) -> Tensor:
    """(b, N) -> (b,): whether a map has one value everywhere, up to `NOISE` roundings of its type. The one threshold of all metrics.

    A constant map that was resized bicubically differs in the last bits, and whatever ranks or stretches values would score those.
    """
    flat = _within(maps[:, :: max(1, maps.shape[1] // 64)], 2 * NOISE)  # a few pixels tell it of nearly all maps, without reading them
    return flat if not flat.any() else flat & _within(maps, NOISE)


def _within(maps: Tensor, roundings: int) -> Tensor:
    """(b, n) -> (b,): whether each row's values are that near one another; False where one is NaN."""
    low, high = maps.aminmax(dim=1)
    if not maps.is_floating_point():
        return low == high
    low, high = low.to(torch.float64), high.to(torch.float64)
    largest = torch.maximum(high.abs(), low.abs())
    return (low == high) | (torch.isfinite(largest) & (high - low <= roundings * torch.finfo(maps.dtype).eps * largest))


def flattened(maps: Tensor) -> Tensor:
    """(b, N): maps that are `constant` made so to the last bit; the same tensor where there are none."""
    flat = constant(maps)
    return torch.where(flat[:, None], maps[:, :1], maps) if flat.any() else maps


def match(saliency_map: Maps, other: Maps, name: str, *, shared: bool = False) -> tuple[Tensor, Tensor]:
    """The prediction and the map that it is compared with: tensors of one shape on the prediction's device.

    `shared`: one (H, W) map may serve a whole batch. ValueError where the shapes differ: one is transposed, only one has a
    batch axis, the batches differ, or the sizes.
    """
    saliency_map, other = as_tensor(saliency_map, "saliency_map"), as_tensor(other, name)
    one_for_all = shared and other.ndim == 2
    if saliency_map.shape[-2:] != other.shape[-2:] or not (one_for_all or saliency_map.shape == other.shape):
        a, b = tuple(saliency_map.shape), tuple(other.shape)
        raise ValueError(f"saliency_map {a} and {name} {b} {_difference(a, b, one_for_all=one_for_all)}")
    if one_for_all:
        other = other.expand(saliency_map.shape[:-2] + other.shape)
    return saliency_map, other.to(saliency_map.device)


def _difference(a: tuple[int, ...], b: tuple[int, ...], *, one_for_all: bool) -> str:
    """In what two shapes differ, and what to do, as the end of a sentence."""
    batch = len(a) != len(b) and not one_for_all
    if a[-2:] == b[-2:] and batch:
        return "differ in the batch axis: give both with one, (B, H, W), or both without"
    if a[-2:] == b[-2:]:
        return f"are {a[0]} and {b[0]} maps: give one for each"
    if a[-2:] == b[-2:][::-1] or sorted(a) == sorted(b):
        remedy = "have their axes in another order, one of them is transposed: give both as (H, W) or (B, H, W)"
    else:
        remedy = "must have one size: resize the prediction first"
    return remedy + (", and give both a batch axis, or neither" if batch else "")


def fixated(flat: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """The pixels of a flat count map that are not 0, and their counts, both int64 (n,).

    ValueError for counts that are negative, not whole, or NaN.
    """
    pixels = nonzero(flat)
    values = flat[pixels]
    counts = values.to(torch.int64)
    if values.is_floating_point() and not torch.equal(counts.to(values.dtype), values):
        raise ValueError(f"{name} must be a count map of whole numbers, got fractions or NaN: is it a blurred map?")
    if (counts < 0).any():
        raise ValueError(f"{name} must be a count map, got negative counts; give `fixation_map`'s")
    return pixels, counts


def nonzero(flat: Tensor) -> Tensor:
    """Indices of the non-zero elements of a vector; NumPy finds the few of a sparse mask five times as fast as torch."""
    mask = flat.to(torch.bool)
    return torch.from_numpy(np.flatnonzero(mask.numpy())) if mask.device.type == "cpu" else mask.nonzero().squeeze(1)


def rows(maps: Tensor) -> Tensor:
    """(H, W) or (B, H, W) -> (B, H W)."""
    return maps.reshape(-1, maps.shape[-2] * maps.shape[-1])


def chunks(*maps: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The batch in parts that suit the device, each map as (b, N)."""
    flat = [rows(m) for m in maps]
    step = max(1, CHUNK_PIXELS.get(flat[0].device.type, CHUNK_PIXELS["cuda"]) // flat[0].shape[1])
    for start in range(0, len(flat[0]), step):
        yield tuple(m[start : start + step] for m in flat)


def per_image(metric: Callable[..., Tensor], *maps: Tensor) -> Tensor:
    """`metric` of each chunk, (b, N) maps -> (b,), put together: (B,), or 0-d for single maps."""
    values = [metric(*part).to(torch.float64) for part in chunks(*maps)]
    batch = maps[0].shape[:-2]
    return torch.cat(values).reshape(batch) if values else torch.empty(batch, dtype=torch.float64, device=maps[0].device)
