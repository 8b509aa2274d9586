"""ZoomTrack's grid: rows and columns whose sizes solve a small quadratic programme.

Kou, Gao, Li, Wang: "ZoomTrack: Target-aware Non-uniform Resizing for Efficient Visual Tracking", NeurIPS 2023, section 3.3; released
code Kou-99/ZoomTrack. With S a cell's saliency, a its row's height and b its column's width, both as multiples of the uniform ones:

    minimise  sum S^2 [ rigidity (a - b)^2 + (v (a - 1 / zoom))^2 + (h (b - 1 / zoom))^2 ]    subject to  mean a = mean b = 1

Salient cells want to be `zoom` times as large and similar to themselves, the others give way. v and h are the pixels of a uniform cell in
the release and 1 here, where the picture's size is not given.

Deviations: every size is at least 1 / bound, where the release has equality constraints only and can turn cells over; a batch is solved
at once, by an active set in torch, where the release calls cvxopt for one picture after the other; differentiable.
"""

import torch
from torch import Tensor

from lib.models.grids.common import TINY, as_mass, outer_grid
from lib.models.sampler import pair

ROUNDS = 40  # of the active set: some five are needed; after the first half nothing is let go again, so that it ends feasible


def cell_grid(saliency: Tensor, *, zoom: float = 1.5, rigidity: float = 1.0, bound: float | None = 8.0,
              image_size: int | tuple[int, int] | None = None) -> Tensor:
    """The grid of axis-aligned, as similar as possible cells: salient ones `zoom` times as large, all of them positive.

    saliency: (B, 1, H, W) or (B, H, W), non-negative; a cell's is the mean of its four corners; zero everywhere counts as uniform.
    zoom: the linear magnification that salient cells want. rigidity: weight of similarity. bound: the largest linear magnification
    along an axis; None is the release, without any limit: its cells can have negative sides. image_size: (height, width) of the picture
    in pixels, for the release's weights.

    Returns (B, H, W, 2), x first, `align_corners=True`, float32 at least (float64 inside), pinned at the border, a product grid that never
    folds (with a bound). Uniform saliency gives the identity. Differentiable almost everywhere: the sizes are the solution of a linear
    system once it is known which of them are at the limit.

    Example:
        >>> saliency = torch.full((1, 9, 9), 0.01)
        >>> saliency[:, 3:6, 3:6] = 1  # the cells in the middle want to be 1.5 times as large
        >>> x = cell_grid(saliency, zoom=1.5)[0, 0, :, 0]
        >>> round(2 / 8 / (x[5] - x[4]).item(), 2)
        1.5
    """
    if not zoom > 0 or not rigidity > 0:
        raise ValueError(f"zoom is {zoom} and rigidity {rigidity}, expected both positive")
    if bound is not None and not bound > 1:
        raise ValueError(f"bound is {bound}, expected a linear magnification above 1, or None")
    mass = as_mass(saliency)
    with torch.autocast(mass.device.type, enabled=False):
        sizes = _solve(*_programme(mass.double(), zoom, rigidity, image_size), least=None if bound is None else 1 / bound,
                       rows=mass.shape[1] - 1)
    y, x = (_positions(part) for part in sizes.split((mass.shape[1] - 1, mass.shape[2] - 1), dim=1))
    return outer_grid(x, y).to(mass.dtype)


def _positions(sizes: Tensor) -> Tensor:
    """Sizes (B, n) of mean 1 as positions (B, n + 1) from -1 to 1, the last one exactly."""
    ends = 1 + 0 * sizes.sum(1, keepdim=True)  # NaN where a size is
    return torch.cat((-ends, sizes[:, :-1].cumsum(1) * (2 / sizes.shape[1]) - 1, ends), dim=1)


def _programme(mass: Tensor, zoom: float, rigidity: float, image_size: int | tuple[int, int] | None) -> tuple[Tensor, Tensor]:
    """Matrix (B, n, n) and target (B, n) of the energy x P x / 2 - t x over the H - 1 heights and then the W - 1 widths."""
    cells = (mass[:, :-1, :-1] + mass[:, 1:, 1:] + mass[:, :-1, 1:] + mass[:, 1:, :-1]) / 4
    weight = cells**2
    weight = weight + TINY * weight.mean((1, 2), keepdim=True)  # so that an empty row has a size
    rows, columns = weight.shape[1:]
    tall, wide = (rows, columns) if image_size is None else pair(image_size)
    along_y, along_x = (tall / rows) ** 2, (wide / columns) ** 2
    sum_y, sum_x = weight.sum(2), weight.sum(1)
    diagonal = torch.cat((sum_y * (rigidity + along_y), sum_x * (rigidity + along_x)), dim=1)
    upper = torch.cat((torch.zeros_like(weight[:, :, :1]).expand(-1, -1, rows), -rigidity * weight), dim=2)
    lower = torch.zeros(len(weight), columns, rows + columns, dtype=weight.dtype, device=weight.device)
    half = torch.cat((upper, lower), dim=1)
    target = torch.cat((sum_y * along_y, sum_x * along_x), dim=1) / zoom
    scale = 1 / diagonal.detach().mean(1)
    return (half + half.transpose(1, 2) + torch.diag_embed(diagonal)) * scale[:, None, None], target * scale[:, None]


def _solve(matrix: Tensor, target: Tensor, *, least: float | None, rows: int) -> Tensor:
    """The minimiser (B, n) with mean 1 of the first `rows` and of the other unknowns, none below `least`."""
    count = matrix.shape[1]
    first = torch.arange(count, device=matrix.device) < rows
    means = torch.stack((first, ~first)).to(matrix.dtype)  # (2, n)
    if least is None:
        return _equality(matrix, target, means, torch.zeros_like(target, dtype=torch.bool), 0.0)[0]
    fixed = active_set(matrix.detach(), target.detach(), rows, least)
    return _equality(matrix, target, means, fixed, least)[0].clamp(min=least)


@torch.library.custom_op("saliency_grids::active_set", mutates_args=())
def active_set(matrix: Tensor, target: Tensor, rows: int, least: float) -> Tensor:
    """Which unknowns (B, n) are at `least`: an operator of its own, since how many rounds it takes depends on the data."""
    first = torch.arange(matrix.shape[1], device=matrix.device) < rows
    means = torch.stack((first, ~first)).to(matrix.dtype)
    fixed = torch.zeros_like(target, dtype=torch.bool)
    for turn in range(ROUNDS):
        sizes, force = _equality(matrix, target, means, fixed, least)
        wanted = torch.where(fixed, (force > 0) | (turn >= ROUNDS // 2), sizes < least)  # a limit that pulls instead of pushing goes
        settled, fixed = (wanted == fixed).all(), wanted
        if settled:
            break
    return fixed


@active_set.register_fake
def _(matrix: Tensor, target: Tensor, rows: int, least: float) -> Tensor:
    return torch.empty_like(target, dtype=torch.bool)


def _equality(matrix: Tensor, target: Tensor, means: Tensor, fixed: Tensor, least: float) -> tuple[Tensor, Tensor]:
    """The minimiser with the `fixed` unknowns (B, n) at `least` and both means 1, and the force (B, n) that holds each fixed one up."""
    batch, count = target.shape
    free = (~fixed).to(matrix.dtype)
    inside = matrix * free[:, :, None] * free[:, None, :] + torch.diag_embed(1 - free)
    held = (1 - free) * least
    right = torch.where(fixed, held, target - (matrix @ held[:, :, None])[..., 0])
    rim = means.T * free[:, :, None]  # (B, n, 2)
    system = torch.cat((torch.cat((inside, rim), dim=2),
                        torch.cat((rim.transpose(1, 2), torch.zeros(batch, 2, 2, dtype=matrix.dtype, device=matrix.device)), dim=2)), dim=1)
    sums = means.sum(1) - held @ means.T  # (B, 2): what is left for the free ones
    answer = torch.linalg.solve(system, torch.cat((right, sums), dim=1))
    sizes, multiplier = answer[:, :count], answer[:, count:]
    force = (matrix @ sizes[:, :, None])[..., 0] - target + multiplier @ means
    return sizes, force
