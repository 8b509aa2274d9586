"""Newton's method for cells of equal mass, with its implicit gradient: the second half of `transport_grid`.

Points (B, h, w, 2) are in cells, x first, from 0 to w - 1 and h - 1; density (B, h, w) has one value for each of them. The unknown is psi
(B, n, m), one for each of the n x m = (h - 1) x (w - 1) quadrilaterals, and moves the points by its gradient at the knots:

    x(j, i) += mean over the rows j - 1, j of psi(., i) - psi(., i - 1)        and y likewise; psi is mirrored at the border

so that border points stay on the border. The mass of a quadrilateral depends on the nine psi around it: the Jacobian is block tridiagonal, with
tridiagonal blocks, and is solved by block elimination along the longer axis. Iterations depend on the data, therefore an operator of its own, which
`torch.compile` takes as a whole.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

COARSE, FINE = 6, 16  # Gauss points an edge: to come near, and for the answer, where a cell's mass is then true to better than a hundredth
NEAR = 1e-2  # relative error of a cell up to which the coarse rule is used
SMALLEST_SHARE = 0.1  # of its area that a step leaves to a corner at least
HALVINGS = 8
CHUNK = 8  # maps
SOLVED = 1e-3  # relative error of a cell above which a map counts as not met, and has the gradient of its start


def gauss(count: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Points in [0, 1] and weights of the Gauss-Legendre rule: eigenvalues of the Legendre polynomials' recurrence (Golub, Welsch 1969)."""
    k = torch.arange(1, count, dtype=torch.float64)
    off = k / (4 * k**2 - 1).sqrt()
    points, vectors = torch.linalg.eigh(torch.diag(off, 1) + torch.diag(off, -1))
    return tuple(((points + 1) / 2).tolist()), tuple((vectors[0] ** 2).tolist())


RULES = {order: gauss(order) for order in (COARSE, FINE)}


class Edges(NamedTuple):
    """Mass to the left of each edge, and its derivatives by the two ends: (B, ...) and (B, ..., 4) for x1, y1, x2, y2."""

    mass: Tensor
    slope: Tensor | None


class Density:
    """The integral over x, from the left border, of the biquadratic spline of `density` (B, H, W), which is mirrored at its border."""

    def __init__(self, density: Tensor):
        self.shape = density.shape
        padded = F.pad(density[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
        along_x = _pieces(padded, 2)  # (B, H + 2, W, 3)
        whole = along_x[..., 0] + along_x[..., 1] / 2 + along_x[..., 2] / 3
        half = along_x[:, :, :1, 0] / 2 + along_x[:, :, :1, 1] / 8 + along_x[:, :, :1, 2] / 24  # the left half of the first cell is outside
        before = torch.cat((torch.zeros_like(half), whole.cumsum(2)[:, :, :-1]), dim=2) - half
        integral = torch.stack((before, along_x[..., 0], along_x[..., 1] / 2, along_x[..., 2] / 3), dim=-1)  # (B, H + 2, W, 4)
        self.table = _pieces(integral, 1).flatten(0, 2)  # (B H W, 4, 3)

    def __call__(self, x: Tensor, y: Tensor, *, slopes: bool) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """The integral at x and y (B, ...), and with `slopes` its derivatives by x, the density itself, and by y."""
        batch, height, width = self.shape
        column, row = ((at + 0.5).detach().floor().nan_to_num(0).clamp(0, last) for at, last in ((x, width - 1), (y, height - 1)))
        first = torch.arange(batch, device=x.device).view(-1, *[1] * (x.dim() - 1)) * (height * width)
        place = first + row.long() * width + column.long()
        pieces = self.table.index_select(0, place.flatten()).view(*place.shape, 4, 3)
        t, s = x + 0.5 - column, (y + 0.5 - row)[..., None]
        c = pieces[..., 0] + s * (pieces[..., 1] + s * pieces[..., 2])
        if not slopes:
            return _cubic(c, t), None, None
        d = pieces[..., 1] + 2 * s * pieces[..., 2]
        value = c[..., 1] + t * (2 * c[..., 2] + 3 * t * c[..., 3])
        return _cubic(c, t), value, _cubic(d, t)


def _pieces(values: Tensor, dim: int) -> Tensor:
    """Coefficients (..., 3) of the quadratic spline's pieces in [0, 1], from its padded coefficients along `dim`."""
    left, here, right = (values.narrow(dim, k, values.shape[dim] - 2) for k in range(3))
    return torch.stack(((left + here) / 2, here - left, (left - 2 * here + right) / 2), dim=-1)


def _cubic(c: Tensor, t: Tensor) -> Tensor:
    return c[..., 0] + t * (c[..., 1] + t * (c[..., 2] + t * c[..., 3]))


# -------------------------------------------------------------------------------------------------------------------------- masses


def _edges(start: Tensor, end: Tensor, density: Density, order: int, *, slopes: bool) -> Edges:
    """The integral of the density left of straight edges from `start` to `end` (B, ..., 2): of I dy, I the integral over x."""
    at, weight = (torch.tensor(part, dtype=start.dtype, device=start.device) for part in RULES[order])
    ends = end - start
    points = start[..., None, :] + ends[..., None, :] * at[:, None]  # (B, ..., order, 2)
    integral, value, slope_y = density(points[..., 0], points[..., 1], slopes=slopes)
    mean, rise = (integral * weight).sum(-1), ends[..., 1]
    if not slopes:
        return Edges(rise * mean, None)
    share = torch.stack((weight * (1 - at), weight * at), dim=1)  # (order, 2): of the first and of the second end
    by_x, by_y = rise[..., None] * (value @ share), rise[..., None] * (slope_y @ share)
    return Edges(rise * mean, torch.stack((by_x[..., 0], by_y[..., 0] - mean, by_x[..., 1], by_y[..., 1] + mean), dim=-1))


def _masses(points: Tensor, density: Density, *, order: int = FINE, slopes: bool = True) -> tuple[Tensor, Tensor | None]:
    """Masses (B, n, m) and, with `slopes`, their derivatives (B, n, m, 2, 2, 2) by the corners: row, column, x or y."""
    down = _edges(points[:, :-1], points[:, 1:], density, order, slopes=slopes)
    right = _edges(points[:, :, :-1], points[:, :, 1:], density, order, slopes=slopes)
    mass = down.mass[:, :, 1:] - down.mass[:, :, :-1] + right.mass[:, :-1] - right.mass[:, 1:]
    if not slopes:
        return mass, None
    top, bottom = right.slope[:, :-1].unflatten(-1, (2, 2)), -right.slope[:, 1:].unflatten(-1, (2, 2))  # by left and right end
    west, east = -down.slope[:, :, :-1].unflatten(-1, (2, 2)), down.slope[:, :, 1:].unflatten(-1, (2, 2))  # by upper and lower end
    return mass, torch.stack((top, bottom), dim=3) + torch.stack((west, east), dim=4)


def cell_masses(points: Tensor, density: Tensor) -> Tensor:
    """The mass (B, n, m) of each quadrilateral of `points` (B, h, w, 2) under the spline of `density` (B, H, W)."""
    return _masses(points, Density(density), slopes=False)[0]


def corner_areas(points: Tensor) -> Tensor:
    """The smallest of the four corner triangles' areas of each quadrilateral, twice: (B, n, m), positive where nothing folds."""
    right, down = points[:, :, 1:] - points[:, :, :-1], points[:, 1:] - points[:, :-1]
    corners = [(r, d) for r in (right[:, :-1], right[:, 1:]) for d in (down[:, :, :-1], down[:, :, 1:])]
    return torch.stack([r[..., 0] * d[..., 1] - r[..., 1] * d[..., 0] for r, d in corners]).amin(0)


# ------------------------------------------------------------------------------------------------------------------- psi and points


def displacement(psi: Tensor) -> Tensor:
    """How psi (B, n, m) moves the points: (B, n + 1, m + 1, 2)."""
    padded = F.pad(psi[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    along_x, along_y = padded[:, :, 1:] - padded[:, :, :-1], padded[:, 1:] - padded[:, :-1]
    return torch.stack((along_x[:, 1:] + along_x[:, :-1], along_y[:, :, 1:] + along_y[:, :, :-1]), dim=-1) / 2


def _stencil(slopes: Tensor) -> Tensor:
    """Derivatives (B, n, m, 3, 3) of the masses by psi: of cell (j, i) by psi(j + a - 1, i + b - 1) at [..., a, b]."""
    stencil = slopes.new_zeros(*slopes.shape[:3], 3, 3)
    sign = torch.tensor((-0.5, 0.5), dtype=slopes.dtype, device=slopes.device)
    for row in (0, 1):
        for column in (0, 1):
            by_x, by_y = slopes[..., row, column, :].split(1, dim=-1)
            stencil[..., row:row + 2, column:column + 2] += (by_x * sign)[..., None, :] + (by_y * sign)[..., None]
    for border, outside, inside in ((stencil[:, 0], 0, 1), (stencil[:, -1], 2, 1)):  # the mirror
        border[:, :, inside] += border[:, :, outside]
        border[:, :, outside] = 0
    for border, outside, inside in ((stencil[:, :, 0], 0, 1), (stencil[:, :, -1], 2, 1)):
        border[:, :, :, inside] += border[:, :, :, outside]
        border[:, :, :, outside] = 0
    return stencil


# --------------------------------------------------------------------------------------------------------------------------- solving


def _solve(stencil: Tensor, right: Tensor, *, transposed: bool = False) -> Tensor:
    """J x = right (B, n, m, k), the last unknown's own coefficient doubled so that the constant, which J does not see, is fixed."""
    if stencil.shape[1] < stencil.shape[2]:  # eliminate along the longer axis: small blocks
        return _solve(stencil.permute(0, 2, 1, 4, 3), right.transpose(1, 2), transposed=transposed).transpose(1, 2)
    rows = stencil.shape[1]
    above, here, below = (_tridiagonal(stencil[..., k, :]) for k in range(3))  # (B, n, m, m)
    here = here.clone()
    here[:, -1, -1, -1] *= 2
    if transposed:
        above, here, below = (block.transpose(-1, -2) for block in (below.roll(1, 1), here, above.roll(-1, 1)))
    ahead, parts = [], []
    block, side = here[:, 0], right[:, 0]
    for row in range(rows):
        both = torch.linalg.solve_ex(block, torch.cat((below[:, row], side), dim=-1))[0]
        ahead.append(both[..., :below.shape[-1]])
        parts.append(both[..., below.shape[-1]:])
        if row + 1 < rows:
            block, side = here[:, row + 1] - above[:, row + 1] @ ahead[-1], right[:, row + 1] - above[:, row + 1] @ parts[-1]
    answer = [parts[-1]]
    for row in reversed(range(rows - 1)):
        answer.append(parts[row] - ahead[row] @ answer[-1])
    return torch.stack(answer[::-1], dim=1)


def _tridiagonal(bands: Tensor) -> Tensor:
    """(..., m, 3) as matrices (..., m, m)."""
    return torch.diag_embed(bands[..., 1]) + torch.diag_embed(bands[..., 1:, 0], -1) + torch.diag_embed(bands[..., :-1, 2], 1)


def _newton_step(stencil: Tensor, mass: Tensor) -> Tensor:
    """psi (B, n, m) that makes the masses equal to first order, whatever their sum then is; its last value is 0."""
    error = mass.mean((1, 2), keepdim=True) - mass
    step, even = _solve(stencil, torch.stack((error, torch.ones_like(error)), dim=-1)).unbind(-1)
    return step - even * (step[:, -1:, -1:] / even[:, -1:, -1:])


def _relative(mass: Tensor) -> Tensor:
    return mass / mass.mean((1, 2), keepdim=True) - 1


def _newton(density: Tensor, start: Tensor, steps: int, tolerance: float) -> Tensor:
    points = start.clone()
    for order, enough in ((COARSE, max(NEAR, tolerance)), (FINE, tolerance)):
        left = torch.arange(len(start), device=start.device)  # the maps that still move
        for _ in range(steps):
            mass, slopes = _masses(points[left], Density(density[left]), order=order)
            moving = _relative(mass).abs().amax((1, 2)) > enough  # False for NaN too
            left = left[moving]
            if len(left) == 0:
                break
            move = displacement(_newton_step(_stencil(slopes[moving]), mass[moving]))
            better, moved = _line_search(points[left], move, Density(density[left]), mass[moving], order)
            left = left[better]
            points[left] = moved[better]
    return points


def _line_search(points: Tensor, move: Tensor, density: Density, mass: Tensor, order: int) -> tuple[Tensor, Tensor]:
    """Which maps found a step that lowers the error and folds nothing, (B,) bool, and the points after the first such step of each."""
    error, areas = _relative(mass).square().sum((1, 2)), corner_areas(points)
    taken, best = torch.zeros(len(points), dtype=torch.bool, device=points.device), points
    for halving in range(HALVINGS):
        tried = points + move / 2**halving
        lower = _relative(_masses(tried, density, order=order, slopes=False)[0]).square().sum((1, 2)) < error
        good = lower & (corner_areas(tried) > SMALLEST_SHARE * areas).flatten(1).all(1) & ~taken
        best = torch.where(good[:, None, None, None], tried, best)
        taken = taken | good
        if taken.all():
            break
    return taken, best


# ------------------------------------------------------------------------------------------------------ the operators and the gradient


def equalise(density: Tensor, start: Tensor, steps: int, tolerance: float) -> Tensor:
    """The points (B, h, w, 2) near `start` whose quadrilaterals have equal mass, as far as that goes without folding; float64.

    Differentiable in both: the points follow `start`, and psi what then is missing from equal masses, by the implicit function theorem.
    """
    points = newton(density.detach(), start.detach(), steps, tolerance)
    if not torch.is_grad_enabled() or not (density.requires_grad or start.requires_grad):
        return points
    following = start + (points - start).detach()
    mass = cell_masses(following, density)
    return following + displacement(correction(mass - mass.detach(), density.detach(), points))


@torch.library.custom_op("saliency_grids::newton", mutates_args=())
def newton(density: Tensor, start: Tensor, steps: int, tolerance: float) -> Tensor:
    """The points of `equalise`, without a gradient. On a CPU a few maps at a time: what they need then fits its cache."""
    at_once = CHUNK if density.device.type == "cpu" else max(1, len(density))
    parts = zip(density.split(at_once), start.split(at_once), strict=True)
    return torch.cat([_newton(*part, steps, tolerance) for part in parts])


@newton.register_fake
def _(density: Tensor, start: Tensor, steps: int, tolerance: float) -> Tensor:
    return torch.empty_like(start)


@torch.library.custom_op("saliency_grids::correction", mutates_args=())
def correction(change: Tensor, density: Tensor, points: Tensor) -> Tensor:
    """psi (B, n, m) that answers a `change` of the masses that is 0: 0, and with it the gradient."""
    return torch.zeros_like(change)


@torch.library.custom_op("saliency_grids::correction_backward", mutates_args=())
def correction_backward(push: Tensor, density: Tensor, points: Tensor) -> Tensor:
    """The gradient (B, n, m) by the masses from that by psi: the transposed system; 0 where the masses are not equal."""
    mass, slopes = _masses(points, Density(density))
    last = torch.zeros_like(mass)
    last[:, -1, -1] = 1
    first, second = _solve(_stencil(slopes), torch.stack((push, last), dim=-1), transposed=True).unbind(-1)
    pull = second * (first.sum((1, 2), keepdim=True) / second.sum((1, 2), keepdim=True)) - first  # sums to 0
    met = _relative(mass).abs().amax((1, 2)) < SOLVED
    return torch.where(met[:, None, None], pull, torch.zeros_like(pull))


@correction.register_fake
def _(change: Tensor, density: Tensor, points: Tensor) -> Tensor:
    return torch.empty_like(change)


@correction_backward.register_fake
def _(push: Tensor, density: Tensor, points: Tensor) -> Tensor:
    return torch.empty_like(push)


def _keep(ctx, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs[1:])


def _gradient(ctx, push: Tensor) -> tuple[Tensor, None, None]:
    return correction_backward(push.contiguous(), *ctx.saved_tensors), None, None


correction.register_autograd(_gradient, setup_context=_keep)
