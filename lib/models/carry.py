"""What a network says about the zoomed picture, said about the original one: points, boxes, maps; and targets the other way.

    original = carry_points(grid, points)                 # zoomed -> original; back=False: original -> zoomed
    maps, shown = unzoom(maps, grid, (600, 800))          # dense output, and what of the original the zoom showed at all
    model = DenseSampler(network, sampler)                # zoom, any dense network, unzoom: trained end to end

Conventions: grids (B, h, w, 2), output pixel -> input position, x first, the image is [-1, 1], `align_corners=True`; a grid is piecewise
bilinear between its points. Points are (B, N, 2) in [-1, 1], boxes (B, N, 4) as x1 y1 x2 y2 in [-1, 1]. What the grid does not reach is NaN (or
False in a mask). A feature map of any stride covers the same [-1, 1] as the picture that it was made from.

LZU (Thavamani et al., CVPR 2023) brings feature maps back with bilinear samples; where the zoom enlarged, several zoomed pixels fall on one
original pixel, and here they are averaged. Where it shrank, the map is interpolated bilinearly.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.models.sampler import Normalize, SpatialSampler, check_grid, identity_grid, inverse, like_weights, pair, resample

MOST = 8  # samples of a zoomed map per axis that one original pixel takes at most
APART = 1.25  # zoomed pixels: how far apart the samples of one original pixel lie at most, below MOST
AT_ONCE = 1 << 17  # samples that are taken together
NO_AREA = 1e-9  # of a cell, where 1 is that of plain resizing: thirty thousand times along both axes, beyond which a gradient says nothing


def carry_points(grid: Tensor, points: Tensor, *, back: bool = True) -> Tensor:
    """Points of the zoomed picture in the original one (`back`), or of the original in the zoomed one: (B, N, 2), NaN where there is none.

    Differentiable in grid and points, both ways: forward is the inverse of the grid, differentiated implicitly.

    Example:
        >>> grid = identity_grid(9, like=torch.zeros(1)) / 2  # the middle half of the image, twice as large
        >>> carry_points(grid, torch.tensor([[[0.5, 1.0]]])).tolist()
        [[[0.25, 0.5]]]
        >>> carry_points(grid, torch.tensor([[[0.25, 0.5], [0.75, 0.5]]]), back=False).tolist()
        [[[0.5, 1.0], [nan, nan]]]
    """
    _check(grid, points, 2, "points")
    points = points.to(torch.promote_types(points.dtype, torch.float32))
    if back:
        return sample(grid.permute(0, 3, 1, 2), points).transpose(1, 2).to(points.dtype)
    return inverted(grid, points).to(points.dtype)


def sample(maps: Tensor, points: Tensor, *, outside: float = math.nan) -> Tensor:
    """Maps (B, C, h, w) at `points` (B, N, 2), bilinear: (B, C, N), `outside` where a point is not in [-1, 1] or NaN.

    Example:
        >>> maps = identity_grid(3, like=torch.zeros(1)).permute(0, 3, 1, 2)  # (1, 2, 3, 3): each pixel's own x and y
        >>> sample(maps, torch.tensor([[[0.25, -0.5]]]))[0, :, 0].tolist()
        [0.25, -0.5]
    """
    dtype = torch.promote_types(torch.promote_types(maps.dtype, points.dtype), torch.float32)
    points = points.to(dtype)
    inside = (points.detach().abs() <= 1 + 1e-6).all(-1)  # False for NaN
    with torch.autocast(maps.device.type, enabled=False):
        places = torch.where(inside[..., None], points, torch.zeros_like(points))[:, None]  # (B, 1, N, 2)
        values = F.grid_sample(maps.to(dtype).expand(len(points), -1, -1, -1), places, padding_mode="border", align_corners=True)[:, :, 0]
    return torch.where(inside[:, None], values, torch.full_like(values, outside))


def inverted(grid: Tensor, points: Tensor) -> Tensor:
    """`inverse(grid, points=points)`, float64, with a gradient: one Newton step from the answer, its Jacobian a constant.

    Example:
        >>> points = torch.tensor([[[0.25, 0.0]]], requires_grad=True)
        >>> inverted(identity_grid(9, like=points) / 2, points).sum().backward()
        >>> [round(slope, 3) for slope in points.grad[0, 0].tolist()]  # enlarged twice, a point moves twice as far
        [2.0, 2.0]
    """
    place = inverse(grid.detach(), points=points.detach())
    if not torch.is_grad_enabled() or not (grid.requires_grad or points.requires_grad):
        return place
    return _newton_step(grid, points, place)


def _newton_step(grid: Tensor, points: Tensor, place: Tensor) -> Tensor:
    """`place` (B, N, 2), which is the inverse of `grid` at `points`, with the gradient by both; none where it is NaN, or a cell without area."""
    known = place.isfinite().all(-1, keepdim=True)
    at = torch.where(known, place, torch.zeros_like(place))  # 0 times NaN is NaN: what is not known must not meet the gradient at all
    nudge = 0.5 * torch.tensor([2 / (grid.shape[2] - 1), 2 / (grid.shape[1] - 1)], dtype=place.dtype, device=place.device)
    low, high = (at - 1e-3 * nudge).clamp(-1, 1), (at + 1e-3 * nudge).clamp(-1, 1)
    columns = [_slope(grid.detach(), at, low, high, axis) for axis in (0, 1)]
    (a, c), (b, d) = (column.unbind(-1) for column in columns)
    gap = points.double() - sample(grid.double().permute(0, 3, 1, 2), at).transpose(1, 2)
    gap_x, gap_y = (gap - gap.detach()).unbind(-1)  # 0, and with it the gradient
    area = (a * d - b * c)[..., None]
    known = known & (area.abs() > NO_AREA)
    step = torch.stack((d * gap_x - b * gap_y, a * gap_y - c * gap_x), dim=-1) / torch.where(known, area, torch.ones_like(area))
    return place + torch.where(known, step, torch.zeros_like(step))


def _slope(grid: Tensor, place: Tensor, low: Tensor, high: Tensor, axis: int) -> Tensor:
    """Derivative (B, N, 2) of the piecewise bilinear grid along one axis at `place`: within a cell it is a difference."""
    first, second = place.clone(), place.clone()
    first[..., axis], second[..., axis] = low[..., axis], high[..., axis]
    values = [sample(grid.double().permute(0, 3, 1, 2), at).transpose(1, 2) for at in (first, second)]
    return (values[1] - values[0]) / (second - first)[..., axis:axis + 1]


def _check(grid: Tensor, things: Tensor, size: int, name: str) -> None:
    check_grid(grid)
    if things.dim() != 3 or things.shape[-1] != size or grid.shape[0] not in (1, things.shape[0]):
        raise ValueError(f"{name} have shape {tuple(things.shape)}, expected ({grid.shape[0]}, N, {size})")


# --------------------------------------------------------------------------------------------------------------------------- boxes


def carry_boxes(grid: Tensor, boxes: Tensor, *, back: bool = True, samples: int = 64) -> Tensor:
    """The axis-aligned hulls (B, N, 4) of carried boxes; NaN where nothing of a box is shown.

    Going back, a side becomes a polyline with its corners at the grid's lines: the hull is exact. Going forward it becomes a curve, of
    which `samples` points a side are taken, and the grid's own points inside the box: exact to about a side / samples^2, to a side / samples
    where the grid has a sharp bend. What of the box lies outside the zoomed picture is not in the hull. ValueError for corners in another order
    than (x1, y1, x2, y2).

    Example:
        >>> grid = identity_grid(9, like=torch.zeros(1)) / 2
        >>> carry_boxes(grid, torch.tensor([[[-1.0, -1.0, 1.0, 1.0]]])).tolist()  # the whole zoomed picture
        [[[-0.5, -0.5, 0.5, 0.5]]]
        >>> carry_boxes(grid, torch.tensor([[[0.25, 0.25, 0.4, 0.9]]]), back=False)[0, 0, 3].item()  # as far as it is shown
        1.0
    """
    _check_boxes(grid, boxes, samples)
    if back:  # points outside the zoomed picture lead nowhere: of a box that reaches beyond it, the part inside is carried
        meets = ((boxes[..., :2] <= 1) & (boxes[..., 2:] >= -1)).all(-1, keepdim=True)  # False for NaN
        boxes = torch.where(meets, boxes.clamp(-1, 1), boxes)
    outline = _carried(grid, boxes, back, samples)
    low, high = outline.nan_to_num(nan=math.inf).amin(2), outline.nan_to_num(nan=-math.inf).amax(2)
    if not back:
        inner_low, inner_high = _points_inside(grid, boxes.to(outline.dtype))
        low, high = torch.minimum(low, inner_low), torch.maximum(high, inner_high)
    empty = ((low > high) | boxes.isnan().view(*boxes.shape[:2], 2, 2).any(-2)).any(-1, keepdim=True)
    return torch.where(empty, torch.full_like(outline[:, :, 0, :1], math.nan), torch.cat((low, high), dim=-1))


def carry_polygons(grid: Tensor, boxes: Tensor, *, back: bool = True, samples: int = 64) -> Tensor:
    """The boxes as they really look there: outlines (B, N, K, 2), clockwise from the upper left corner; NaN where not shown.

    Example:
        >>> grid = identity_grid(9, like=torch.zeros(1)) / 2
        >>> carry_polygons(grid, torch.tensor([[[-1.0, -1.0, 1.0, 1.0]]]))[0, 0, 0].tolist()
        [-0.5, -0.5]
    """
    _check_boxes(grid, boxes, samples)
    return _carried(grid, boxes, back, samples)


def _check_boxes(grid: Tensor, boxes: Tensor, samples: int) -> None:
    _check(grid, boxes, 4, "boxes")
    if (boxes[..., :2] > boxes[..., 2:]).any():
        raise ValueError("boxes have x1 > x2 or y1 > y2; give them as (x1, y1, x2, y2), from -1 to 1")
    if samples < 1 or samples != int(samples):
        raise ValueError(f"samples is {samples}, expected a whole number of points a side, at least 1")


def _carried(grid: Tensor, boxes: Tensor, back: bool, samples: int) -> Tensor:
    """The outlines (B, N, K, 2) of boxes that were checked."""
    boxes = boxes.to(torch.promote_types(boxes.dtype, torch.float32))
    if not back:  # a side at infinity ends where the grid does
        far = torch.cat([boxes.new_zeros(1), *(part.detach().nan_to_num(0, 0, 0).abs().flatten() for part in (grid.to(boxes.dtype), boxes))]).max()
        boxes = boxes.clamp(-far, far)
    outline = _outlines(boxes, grid, samples if not back else None)
    return carry_points(grid, outline.flatten(1, 2), back=back).view_as(outline)


def _outlines(boxes: Tensor, grid: Tensor, samples: int | None) -> Tensor:
    """Points on the sides of `boxes`: evenly spaced, or where they meet the lines of `grid`."""
    x1, y1, x2, y2 = (side[..., None] for side in boxes.unbind(-1))  # (B, N, 1)
    if samples is None:
        x, y = (torch.linspace(-1, 1, count, dtype=boxes.dtype, device=boxes.device) for count in (grid.shape[2], grid.shape[1]))
        x, y = torch.cat((x1, x.expand(*x1.shape[:2], -1).clamp(x1, x2), x2), -1), torch.cat((y1, y.expand(*y1.shape[:2], -1).clamp(y1, y2), y2), -1)
    else:
        along = torch.linspace(0, 1, samples + 1, dtype=boxes.dtype, device=boxes.device)
        x, y = torch.lerp(x1, x2, along), torch.lerp(y1, y2, along)
    sides = ((x, y1.expand_as(x)), (x2.expand_as(y), y), (x.flip(-1), y2.expand_as(x)), (x1.expand_as(y), y.flip(-1)))
    return torch.cat([torch.stack(side, dim=-1) for side in sides], dim=2)


def _points_inside(grid: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest zoomed position (B, N, 2) of the grid's points that lie in each box: inf, -inf where none does."""
    places = identity_grid(tuple(grid.shape[1:3]), like=boxes).flatten(1, 2)[:, None]  # (1, 1, P, 2)
    points = grid.detach().to(boxes.dtype).flatten(1, 2)[:, None]  # (B, 1, P, 2)
    inside = ((points >= boxes[:, :, None, :2]) & (points <= boxes[:, :, None, 2:])).all(-1, keepdim=True)
    return torch.where(inside, places, math.inf).amin(2), torch.where(inside, places, -math.inf).amax(2)


# ---------------------------------------------------------------------------------------------------------------------------- maps


def unzoom(maps: Tensor, grid: Tensor, size: int | tuple[int, int], *, fill: float = 0.0) -> tuple[Tensor, Tensor]:
    """Maps of the zoomed picture (B, C, h, w) brought back to the original: (B, C, *size), and a mask (B, 1, *size) of what was shown.

    Where the zoom enlarged, an original pixel is the mean of the zoomed pixels that fall on it (a box of its footprint, up to 8 samples an
    axis); where it shrank, or at one to one, it is a bilinear sample: the identity returns the maps. Weights sum to 1. Integer maps are labels:
    nearest. What the grid never showed is `fill`, False in the mask; NaN behind a grid that is not finite. Differentiable in maps and, like
    `carry_points`, in the grid; there the footprints' shapes are taken as constant, which is exact where nothing is averaged.

    Example:
        >>> grid = identity_grid(5, like=torch.zeros(1)) / 2  # shows 3x3 of the 5x5 pixels
        >>> maps, shown = unzoom(torch.ones(1, 1, 5, 5), grid, 5)
        >>> [round(value, 3) for value in maps[0, 0, 2].tolist()], int(shown.sum())
        ([0.0, 1.0, 1.0, 1.0, 0.0], 9)
    """
    check_grid(grid, least=2)
    if maps.dim() != 4 or 0 in maps.shape or grid.shape[0] not in (1, maps.shape[0]):
        raise ValueError(f"maps {tuple(maps.shape)} and grid {tuple(grid.shape)} do not fit, expected (B, C, h, w) and (B or 1, h', w', 2)")
    places = _raster_places(grid, pair(size))
    shown = places.detach().isfinite().all(-1)  # (B, H, W)
    places = torch.where(shown[..., None], places, torch.zeros_like(places))
    if not maps.is_floating_point():
        _check_fits("fill", fill, maps)
        back = _nearest(maps, places)
        return torch.where(shown[:, None], back, torch.full_like(back, int(fill))), shown[:, None].expand(len(maps), -1, -1, -1)
    dtype = torch.promote_types(maps.dtype, torch.float32)
    back = _footprint_mean(maps.to(dtype), places.to(dtype), shown)
    hidden = torch.where(grid.detach().isfinite().flatten(1).all(1), fill, math.nan).to(back)[:, None, None, None]  # bad numbers never look right
    return torch.where(shown[:, None], back, hidden), shown[:, None].expand(len(maps), -1, -1, -1)


def _raster_places(grid: Tensor, size: tuple[int, int]) -> Tensor:
    """Where the zoom takes each pixel of the original (B, *size, 2), float64, with a gradient where the grid has one."""
    place = inverse(grid.detach(), size)
    if not torch.is_grad_enabled() or not grid.requires_grad:
        return place
    raster = identity_grid(size, like=place).expand(len(grid), -1, -1, -1).flatten(1, 2)
    return _newton_step(grid, raster, place.flatten(1, 2)).view_as(place)


def _footprint_mean(maps: Tensor, places: Tensor, shown: Tensor) -> Tensor:
    """The mean of `maps` over each pixel's footprint, a parallelogram around its place (B, H, W, 2).

    Bilinear samples reach over a zoomed pixel themselves, so they spread over the footprint less one. As many as a pixel's own footprint asks
    for: pixels that ask for the same number are sampled together.
    """
    slopes = [_slopes(places.detach(), shown, axis) for axis in (2, 1)]  # (B, H, W, 2), per original pixel
    pixels = torch.tensor([maps.shape[3] - 1, maps.shape[2] - 1], dtype=places.dtype, device=places.device) / 2
    lengths = [(side * pixels).norm(dim=-1, keepdim=True) for side in slopes]  # in zoomed pixels
    spread = [side * (1 - 1 / length.clamp(min=1)) for side, length in zip(slopes, lengths, strict=True)]
    wide, high = ((length[..., 0] / APART).clamp(1, MOST).log2().ceil().int() for length in lengths)  # (B, H, W): 1, 2, 4 or 8 samples
    back = resample(maps, places)
    kinds = (wide * MOST + high).flatten(1)  # (B, H W)
    if not kinds.any():
        return back
    images = back.flatten(2)[None] if len(places) == 1 else back.flatten(2)[:, None]  # those of each grid: (B, C, H W)
    sources = maps[None] if len(places) == 1 else maps[:, None]
    where = (part.flatten(1, 2) for part in (places, *spread))
    return torch.cat([_finer(*each) for each in zip(images, sources, kinds, *where, strict=True)]).view_as(back)


def _finer(back: Tensor, maps: Tensor, kinds: Tensor, places: Tensor, along_x: Tensor, along_y: Tensor) -> Tensor:
    """`back` (B, C, N), where a place (N, 2) asks for more than one sample: the mean of 2^kind samples each way, from `maps` (B, C, h, w)."""
    for kind in kinds[kinds > 0].unique().tolist():
        columns, rows = (_offsets(2**part, like=places) for part in divmod(kind, MOST))
        for chosen in (kinds == kind).nonzero()[:, 0].split(AT_ONCE // (len(columns) * len(rows))):
            at, right, down = (part[chosen, None, None] for part in (places, along_x, along_y))  # (n, 1, 1, 2)
            around = (at + columns[:, None] * right + rows[:, None, None] * down).flatten(1, 2)  # (n, rows columns, 2)
            back = back.index_copy(-1, chosen, resample(maps, around[None].expand(len(maps), -1, -1, -1)).mean(-1))
    return back


def _offsets(count: int, *, like: Tensor) -> Tensor:
    """Middles of `count` equal parts of the interval from -0.5 to 0.5."""
    return (torch.arange(count, dtype=like.dtype, device=like.device) + 0.5) / count - 0.5


def _slopes(places: Tensor, shown: Tensor, axis: int) -> Tensor:
    """How far a place moves per pixel along an axis, from those neighbours that are shown; 0 without any."""
    step = places.diff(dim=axis)
    both = (shown.narrow(axis, 1, shown.shape[axis] - 1) & shown.narrow(axis, 0, shown.shape[axis] - 1))[..., None]
    step = step * both
    pad = [0, 0] * (3 - axis) + [1, 1]
    steps, counts = F.pad(step, pad), F.pad(both.to(step.dtype), pad)
    count = places.shape[axis]
    total = counts.narrow(axis, 0, count) + counts.narrow(axis, 1, count)
    return (steps.narrow(axis, 0, count) + steps.narrow(axis, 1, count)) / total.clamp(min=1)


def _nearest(maps: Tensor, places: Tensor) -> Tensor:
    """Integer maps (B, C, h, w) at the pixels nearest to `places` (B or 1, H, W, 2)."""
    height, width = maps.shape[2:]
    places = places.expand(len(maps), -1, -1, -1)
    column = ((places[..., 0] + 1) * ((width - 1) / 2)).round().long().clamp(0, width - 1)
    row = ((places[..., 1] + 1) * ((height - 1) / 2)).round().long().clamp(0, height - 1)
    index = (row * width + column).flatten(1)[:, None].expand(-1, maps.shape[1], -1)
    return maps.flatten(2).gather(2, index).view(*maps.shape[:2], *places.shape[1:3])


def zoom_labels(labels: Tensor, grid: Tensor, *, unknown: int = -100) -> Tensor:
    """Integer targets (B, H, W) or (B, C, H, W) as the zoomed picture shows them, nearest; beyond the border the border's.

    `unknown`, what cross entropy ignores, where the grid is NaN. Images and other float targets go through `resample(image, grid, oversample=...)`.

    Example:
        >>> labels = torch.tensor([[[0, 0, 0, 0], [0, 1, 2, 0], [0, 3, 4, 0], [0, 0, 0, 0]]])
        >>> zoom_labels(labels, identity_grid(2, like=torch.zeros(1)) / 3).tolist()
        [[[1, 2], [3, 4]]]
    """
    check_grid(grid)
    maps = labels[:, None] if labels.dim() == 3 else labels
    if maps.is_floating_point() or maps.dim() != 4 or grid.shape[0] not in (1, len(maps)):
        raise ValueError(f"labels are {labels.dtype} {tuple(labels.shape)}, expected integers (B, H, W) or (B, C, H, W) for a grid of {len(grid)}")
    known = grid.detach().isfinite().all(-1)[:, None]  # (B, 1, h, w)
    if not known.all():
        _check_fits("unknown", unknown, labels)
    zoomed = _nearest(maps, grid.detach().nan_to_num(0))
    zoomed = torch.where(known, zoomed, torch.full_like(zoomed, unknown))
    return zoomed[:, 0] if labels.dim() == 3 else zoomed


def _check_fits(name: str, value: float, maps: Tensor) -> None:
    """ValueError, one line, where integer maps cannot hold `value`: it would become another number without a word."""
    low, high = (0, 1) if maps.dtype == torch.bool else (torch.iinfo(maps.dtype).min, torch.iinfo(maps.dtype).max)
    if not (low <= value <= high and value == int(value)):
        raise ValueError(f"{name} is {value}, which {maps.dtype} cannot hold; give another {name}, or convert the maps first")


class DenseSampler(nn.Module):
    """Zoom, any dense network, unzoom: calling it gives the network's maps at the original picture's places.

    network: (B, C, h, w) -> maps (B, K, h', w') of any stride. sampler: a `SpatialSampler`, e.g. `SaliencyZoom`. size: of the output (height,
    width), by default the image's. fill: where the zoom never looked. normalize: (mean, std) of what the network sees. The gradient of a loss on
    the output reaches the sampler both through what the network saw and through where its maps were put.

    Example:
        >>> from lib.models.sampler import SaliencyZoom
        >>> zoom = SaliencyZoom(nn.Conv2d(3, 4, 3), task_size=32, view_size=16)
        >>> model = DenseSampler(nn.Conv2d(3, 5, 3, stride=2), zoom)  # 5 classes, at half of the zoomed resolution
        >>> model(torch.rand(1, 3, 60, 80)).shape  # at the original's
        torch.Size([1, 5, 60, 80])
    """

    def __init__(self, network: nn.Module, sampler: SpatialSampler, *, size: int | tuple[int, int] | None = None, fill: float = 0.0,
                 normalize: tuple | None = None):
        super().__init__()
        self.network, self.sampler, self.fill = network, sampler, fill
        self.size = None if size is None else pair(size)
        self.normalize = Normalize(*normalize) if normalize else nn.Identity()

    def forward(self, image: Tensor, view: Tensor | None = None, *, return_maps: bool = False):
        """Maps (B, K, H, W) for `image` (B, C, H, W); with `return_maps` also the mask (B, 1, H, W) and the `Sampled`."""
        sampled = self.sampler(image, view)
        output = self.network(like_weights(self.normalize(sampled.image), self.network))
        if not isinstance(output, Tensor) or output.dim() != 4:
            raise ValueError("the network must return maps (B, K, h, w): use SampledNetwork for one answer a picture")
        maps, shown = unzoom(output, sampled.grid, self.size or tuple(image.shape[-2:]), fill=self.fill)
        return (maps, shown, sampled) if return_maps else maps
