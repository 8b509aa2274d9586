"""The inverse of a sampling grid: where a zoom takes each position of the original image.

A grid (B, h, w, 2) is piecewise bilinear, and a bilinear cell has a closed inverse. Its positions are a + s e + t f + s t g, s
and t in [0, 1]. For the position a + q, the vectors q - t f and e + t g are parallel, the first s times the second: their cross
product, a quadratic in t, is zero, and with t known their quotient is s.

Every cell is paired with the positions that its bounding box holds, those of all images at once. This file needs torch alone.
"""

import math

import torch
from torch import Tensor

EXACT = 1e-24  # the square of a distance that is rounding
AT_ONCE = 1 << 15  # pairs that a CPU solves together: their numbers stay in its cache


@torch.no_grad()
def inverse(grid: Tensor, size: int | tuple[int, int] | None = None, *, points: Tensor | None = None, tolerance: float = 1e-5) -> Tensor:
    """Where the zoom takes each original position: original position -> zoomed position, NaN where the grid does not reach.

    grid: (B, h, w, 2), x first, h and w at least 2; bilinear between its points, of which the outermost are the zoomed image's
        borders, -1 and 1 (`align_corners=True`).
    points: (B, N, 2) original positions, x first, the image is [-1, 1]; a grid for each image, or one for all. Without points a raster of
        `size` (height, width; by default the grid's) over the image, which makes the result a grid that undoes the zoom.
    tolerance: a position this far outside of all cells counts as reached, at the nearest edge.

    Returns float64, of the points' or the raster's shape, exact to rounding; no gradient. A grid that folds has several
    answers; one of them is given. Raises ValueError for other shapes.

    Example:
        >>> grid = torch.nn.functional.affine_grid(torch.tensor([[[0.5, 0, 0], [0, 0.5, 0]]]), [1, 1, 9, 9], align_corners=True)
        >>> inverse(grid, points=torch.tensor([[[0.25, 0.0], [0.75, 0.0]]])).tolist()  # it shows the middle half of the image
        [[[0.5, 0.0], [nan, nan]]]
    """
    _check(grid, points)
    if points is not None and len(grid) != len(points):
        return inverse(grid, points=points.reshape(1, -1, 2), tolerance=tolerance).view(points.shape)
    shape = (size, size) if isinstance(size, int) else tuple(size or grid.shape[1:3])
    cells = _cells(grid.double())
    if points is None:
        pairs, goal = _in_raster(cells, len(grid), shape, tolerance), _raster(shape, grid).expand(len(grid), -1, -1, -1)
    else:
        pairs, goal = _near_points(cells, points.double(), tolerance), points.double()
    wanted = goal.reshape(-1, 2).T.contiguous()  # (2, N of all images)
    found, edges = torch.full_like(wanted, math.nan), []
    for cell, which in zip(*(index.split(AT_ONCE if grid.device.type == "cpu" else 1 << 24) for index in pairs), strict=True):
        x, y, missed = _solve([row.index_select(0, cell) for row in cells], *(at.index_select(0, which) for at in wanted))
        inside, beside = (some.nonzero()[:, 0] for some in (missed <= EXACT, (missed > EXACT) & (missed <= tolerance**2)))
        for at, place in zip(found, (x, y), strict=True):
            at.index_copy_(0, which.index_select(0, inside), place.index_select(0, inside))
        edges.append((which[beside], torch.stack((x[beside], y[beside]))))
    for which, place in edges:  # these no cell may hold
        found[:, which] = torch.where(found[:, which].isnan(), place, found[:, which])
    halves = torch.tensor([(side - 1) / 2 for side in grid.shape[2:0:-1]], dtype=torch.float64, device=grid.device)
    return (found.T / halves - 1).view(goal.shape)


def _check(grid: Tensor, points: Tensor | None) -> None:
    if grid.dim() != 4 or grid.shape[-1] != 2 or min(grid.shape[1:3]) < 2:
        raise ValueError(f"grid has shape {tuple(grid.shape)}, expected (B, h, w, 2), h and w at least 2")
    if points is not None and (points.dim() != 3 or points.shape[-1] != 2 or len(grid) not in (1, len(points))):
        raise ValueError(f"points have shape {tuple(points.shape)}, expected ({len(grid)}, N, 2)")


def _raster(shape: tuple[int, int], grid: Tensor) -> Tensor:
    y, x = (torch.linspace(-1, 1, side, dtype=torch.float64, device=grid.device) for side in shape)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[None]  # (1, h, w, 2)


def _cells(grid: Tensor) -> list[Tensor]:
    """a, e, f and g of every cell of all images, and its column and row: ten rows (cells,), x before y."""
    a, b, c, d = grid[:, :-1, :-1], grid[:, :-1, 1:], grid[:, 1:, :-1], grid[:, 1:, 1:]
    row, column = torch.meshgrid(*(torch.arange(side - 1.0, dtype=grid.dtype, device=grid.device) for side in grid.shape[1:3]), indexing="ij")
    index = torch.stack((column, row), dim=-1).expand_as(a)
    return [part[..., i].flatten() for part in (a, b - a, c - a, a - b - c + d, index) for i in (0, 1)]


def _solve(cell: list[Tensor], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where in its cell each position lies, x and y in cells of the grid, and the square of the distance by which the cell misses it."""
    ax, ay, ex, ey, fx, fy, gx, gy, column, row = cell
    qx, qy = x - ax, y - ay
    square, constant = _cross(gx, gy, fx, fy), _cross(qx, qy, ex, ey)  # times t^2, and 1
    linear = _cross(qx, qy, gx, gy).add_(_cross(ex, ey, fx, fy))  # times t
    spread = (linear * linear).addcmul_(square, constant, value=-4).clamp_(min=0).sqrt_()
    half = spread.copysign_(linear).add_(linear).mul_(-0.5)  # the roots are constant / half and half / square, without cancellation
    vectors = (qx, qy, ex, ey, fx, fy, gx, gy)
    first = _meet(constant / half, *vectors)
    rest = (~(first[2] <= EXACT)).nonzero()[:, 0]
    second = _meet(*(each.index_select(0, rest) for each in (half / square, *vectors)))
    closer = ~(second[2] >= first[2][rest]) & ~second[2].isnan()
    for old, new in zip(first, second, strict=True):
        old[rest] = torch.where(closer, new, old[rest])
    s, t, missed = first
    return column + s, row + t, missed


def _meet(t: Tensor, qx: Tensor, qy: Tensor, ex: Tensor, ey: Tensor, fx: Tensor, fy: Tensor, gx: Tensor, gy: Tensor) -> tuple[Tensor, ...]:
    """s, t and the square of what is missed, for a root t; NaN where it is none."""
    t = t.clamp_(0, 1)
    nx, ny = torch.addcmul(qx, t, fx, value=-1), torch.addcmul(qy, t, fy, value=-1)
    dx, dy = torch.addcmul(ex, t, gx), torch.addcmul(ey, t, gy)
    s = (nx * dx).addcmul_(ny, dy).div_((dx * dx).addcmul_(dy, dy)).clamp_(0, 1)
    return s, t, nx.addcmul_(s, dx, value=-1).square_().add_(ny.addcmul_(s, dy, value=-1).square_())


def _cross(ax: Tensor, ay: Tensor, bx: Tensor, by: Tensor) -> Tensor:
    return (ax * by).addcmul_(ay, bx, value=-1)


def _in_raster(cells: list[Tensor], batch: int, shape: tuple[int, int], tolerance: float) -> tuple[Tensor, Tensor]:
    """(cell, raster point) for the points of a raster of `shape` in the box of each cell."""
    low, high = _boxes(cells, tolerance)
    steps, sides = ([(side - less) / of for side in shape[::-1]] for less, of in ((1, 2), (0, 1)))
    first = [((edge + 1) * step).ceil_().clamp_(0, side).long() for edge, step, side in zip(low, steps, sides, strict=True)]
    last = [((edge + 1) * step).floor_().clamp_(-1, side - 1).long() for edge, step, side in zip(high, steps, sides, strict=True)]
    return _fill(first, last, batch, shape)


def _near_points(cells: list[Tensor], points: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """(cell, point) for the points in the box of each cell: both are put into bins, about as many as points."""
    batch, count, _ = points.shape
    side = max(1, math.isqrt(count))
    first, last, at = ([((edge + 1) * (side / 2)).floor_().clamp_(0, side - 1).nan_to_num_(0).long() for edge in edges]
                       for edges in (*_boxes(cells, tolerance), points.unbind(-1)))
    home = ((torch.arange(batch, device=points.device)[:, None] * side + at[1]) * side + at[0]).flatten()  # each point's bin
    order, held = home.argsort(), home.bincount(minlength=batch * side**2)
    cell, bins = _fill(first, last, batch, (side, side))
    owner, place = _runs((held.cumsum(0) - held)[bins], held[bins])
    return cell[owner], order[place]


def _boxes(cells: list[Tensor], tolerance: float) -> tuple[list[Tensor], list[Tensor]]:
    """Lowest and highest x and y of each cell; nothing is in the box of a cell that is not finite."""
    low, high = [], []
    for a, e, f, g in zip(*(cells[i:i + 2] for i in (0, 2, 4, 6)), strict=True):
        corners = torch.stack((a, a + e, a + f, a + e + f + g))
        low.append(corners.amin(dim=0).sub_(tolerance).nan_to_num_(torch.inf))
        high.append(corners.amax(dim=0).add_(tolerance).nan_to_num_(-torch.inf))
    return low, high


def _fill(first: list[Tensor], last: list[Tensor], batch: int, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """(cell, place) for the places from `first` to `last`, x and y, of each cell, on rasters of `shape`, one for each image."""
    wide, high = ((end - start + 1).clamp_(min=0) for start, end in zip(first, last, strict=True))
    image = torch.arange(batch, device=wide.device).repeat_interleave(len(wide) // max(1, batch))
    cell, row = _runs(image * shape[0] + first[1], torch.where(wide > 0, high, 0))
    owner, place = _runs(row * shape[1] + first[0][cell], wide[cell])
    return cell.index_select(0, owner), place


def _runs(start: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """(owner, number): `count` numbers from `start` on, for each."""
    owner = torch.repeat_interleave(count)
    return owner, (start - count.cumsum(0) + count).index_select(0, owner).add_(torch.arange(len(owner), device=count.device))
