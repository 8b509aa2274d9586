"""The successors' grids against their originals, written anew from what those do: loops in NumPy, float64."""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.interpolate import BSpline
from scipy.optimize import minimize

from lib.models.grids import attwarp_grid, boxes_saliency, cell_grid, marginal_grid, separable_grid, tasn_grid
from lib.models.sampler import identity_grid
from maps import rough, smooth

SHAPES = [(31, 31), (31, 51), (12, 8)]
shapes = pytest.mark.parametrize("shape", SHAPES)


def maps(shape, seed=0):
    """Two maps (2, 1, H, W) in float64, one of single cells and one smooth."""
    return torch.cat((rough(1, *shape, seed=seed, dtype=torch.float64), smooth(1, *shape, cells=5, spread=2, seed=seed, dtype=torch.float64)))


def product(x, y):
    """(H, W, 2) from positions along the axes."""
    return np.stack(np.meshgrid(x, y), axis=-1)


def close(ours, oracle, tolerance=1e-5):
    assert np.abs(ours.numpy() - oracle).max() < tolerance


# --------------------------------------------------------------------------------------------------------------- FOVEA and LZU


def fovea_axis(profile, fwhm, pad):
    """One-dimensional attraction in [0, 1], clamped, cell by cell: reflection padding, a kernel of 2 pad + 1 cells."""
    cells = len(profile)
    padded = np.pad(profile, pad, mode="reflect")
    kernel = np.exp(-4 * np.log(2) * np.arange(-pad, pad + 1) ** 2 / fwhm**2)
    positions = (np.arange(len(padded)) - pad) / (cells - 1)
    result = []
    for cell in range(cells):
        window = padded[cell:cell + 2 * pad + 1] * kernel
        result.append((window * positions[cell:cell + 2 * pad + 1]).sum() / window.sum())
    return np.clip(2 * np.array(result) - 1, -1, 1)


@shapes
@pytest.mark.parametrize("fwhm", [4, 10, 13])
def test_fovea(shape, fwhm):
    """Their reach is min(H, W) - 1 for both axes: on a rectangular map that is not H - 1 and W - 1."""
    saliency = maps(shape)
    oracle = [product(fovea_axis(one.sum(0), fwhm, min(shape) - 1), fovea_axis(one.sum(1), fwhm, min(shape) - 1)) for one in saliency[:, 0].numpy()]
    close(separable_grid(saliency, sigma=fwhm / (2 * np.sqrt(2 * np.log(2))), clamp=True), np.stack(oracle))


def test_the_reach_matters_on_rectangular_maps():
    saliency = maps((12, 51))
    grids = [separable_grid(saliency, sigma=5.5, reach=reach) for reach in (3, 11)]
    assert (grids[0] - grids[1]).abs().max() > 1e-2


@pytest.mark.parametrize("count", [1, 3])
def test_fovea_boxes(count):
    """Cell by cell: a Gaussian in pixels whose variance is bandwidth times the side, normalised, times the amplitude, over a floor."""
    height, width, tall, wide, bandwidth, amplitude = 12, 20, 240, 500, 30.0, 7.0
    corner = torch.rand(1, count, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 1.4 - 1
    boxes = torch.cat((corner, corner + 0.4 * torch.rand(1, count, 2, generator=torch.Generator().manual_seed(4), dtype=torch.float64)), dim=-1)
    total = np.zeros((height, width))
    for x1, y1, x2, y2 in (boxes[0].numpy() + 1) / 2 * np.array([wide, tall, wide, tall]):
        each = np.zeros((height, width))
        for row in range(height):
            for column in range(width):
                dx, dy = column * wide / (width - 1) - (x1 + x2) / 2, row * tall / (height - 1) - (y1 + y2) / 2
                each[row, column] = np.exp(-dx**2 / (2 * bandwidth * (x2 - x1)) - dy**2 / (2 * bandwidth * (y2 - y1)))
        total += amplitude * each / each.sum() + 1 / (2 * (min(height, width) - 1) + 1) ** 2
    ours = boxes_saliency(boxes, (height, width), image_size=(tall, wide), amplitude=amplitude, bandwidth=bandwidth)
    close(ours[0, 0], total / total.sum(), 1e-12)


# ------------------------------------------------------------------------------------------------------------------------ TASN


def tasn_axes(x, y, dense, iters):
    """Their marginals cut, spread and inverted, with their indices: attention sums to the cells, the first element becomes 1."""
    axes = [axis / axis.sum() * len(axis) for axis in (x, y)]
    for turn in range(iters):
        top = min(axis.max() for axis in axes)
        top = min(top, dense) if turn == 0 else top
        axes = [np.minimum(axis, top) for axis in axes]
        axes = [axis + (len(axis) - axis.sum()) / len(axis) for axis in axes]
    return [tasn_inverse(axis) for axis in axes]


def tasn_inverse(axis):
    axis = axis.copy()
    axis[0] = 1
    total, cells = np.cumsum(axis), len(axis)
    step, result, cell = total[-1] / cells, [], 0
    for goal in np.arange(cells) * step:
        while total[cell] < goal:
            cell += 1
        before = total[cell - 1] if cell else 0.0
        result.append((cell + (goal - total[cell]) / (total[cell] - before)) * 2 / (cells - 1) - 1)
    return np.array(result)


@shapes
@pytest.mark.parametrize(("dense", "iters"), [(4.0, 1), (2.0, 1), (1.5, 4)])
def test_tasn(shape, dense, iters):
    saliency = maps(shape)
    oracle = [product(*tasn_axes(one.max(0), one.max(1), dense, iters)) for one in saliency[:, 0].numpy()]
    close(tasn_grid(saliency, dense=dense, iters=iters), np.stack(oracle))


def test_the_bound_is_what_tasns_rounds_of_cutting_converge_to():
    """Cut and spread until nothing changes, of one axis, on our nodes: then inverted by brute force."""
    profile = rough(1, 3, 31, spread=2, dtype=torch.float64)[0, 0, :1].expand(31, -1)  # the same in every row
    values, weights = profile[0].numpy(), np.r_[0.5, np.ones(29), 0.5] / 30
    values = (1 - 1e-6) * values / (values * weights).sum() + 1e-6
    for _ in range(2000):
        values = np.minimum(values, 1.5)
        values = values + (1 - (values * weights).sum())
    assert values.max() < 1.5 + 1e-6
    close(marginal_grid(profile[None], bound=1.5)[0, 0, :, 0], equal_parts(values), 1e-5)


# --------------------------------------------------------------------------------------------------------------------- AttWarp


def attwarp_axis(profile):
    cells = len(profile)
    forward = np.concatenate(([0], np.cumsum(profile) / profile.sum())) * cells
    return np.interp(np.arange(cells), forward, np.arange(cells + 1)) * 2 / (cells - 1) - 1


@shapes
@pytest.mark.parametrize("undo", [False, True])
def test_attwarp(shape, undo):
    saliency, oracle = maps(shape), []
    for one in saliency[:, 0].numpy():
        root = np.sqrt(one / one.max())
        x, y = root.sum(0), root.sum(1)
        x, y = (x**2, y**2) if undo else (x, y)
        oracle.append(product(attwarp_axis(x + shape[0] * 1e-9), attwarp_axis(y + shape[1] * 1e-9)))
    close(attwarp_grid(saliency, undo=undo), np.stack(oracle))


def test_attwarp_is_up_to_half_a_pixel_off():
    """Against the equal parts of the same piecewise constant density, taken at pixel centres."""
    saliency = torch.zeros(1, 1, 31, 31, dtype=torch.float64) + 0.05
    saliency[..., 10:20] = 1
    profile = np.sqrt(saliency[0, 0, 0].numpy())
    forward = np.concatenate(([0], np.cumsum(profile) / profile.sum())) * 31
    centres = np.interp(np.arange(31) + 0.5, forward, np.arange(32)) - 0.5
    theirs = (attwarp_grid(saliency)[0, 0, :, 0].numpy() + 1) * 15
    assert 0.25 < np.abs(theirs - centres).max() <= 0.5 * (1 / profile.min() * profile.mean())
    uniform = attwarp_grid(torch.ones(1, 1, 31, 31))
    assert (uniform - identity_grid(31, like=uniform)).abs().max() < 1e-6


# ----------------------------------------------------------------------------------------------------------------- equal parts


def equal_parts(values):
    """Cuts of a piecewise linear density into equal parts, by cumulating it finely."""
    fine = np.linspace(0, len(values) - 1, 400_001)
    density = np.interp(fine, np.arange(len(values)), values)
    total = np.concatenate(([0], np.cumsum((density[1:] + density[:-1]) / 2)))
    return np.interp(np.linspace(0, total[-1], len(values)), total, fine) * 2 / (len(values) - 1) - 1


@shapes
def test_equal_mass_along_each_axis(shape):
    saliency, oracle = maps(shape), []
    for one in saliency[:, 0].numpy():
        weights = [np.r_[0.5, np.ones(cells - 2), 0.5] for cells in shape]
        x, y = weights[0] @ one, one @ weights[1]
        x, y = (axis / (axis * weight).sum() for axis, weight in ((x, weights[1]), (y, weights[0])))
        oracle.append(product(equal_parts(x + 1e-6 / (shape[1] - 1)), equal_parts(y + 1e-6 / (shape[0] - 1))))
    close(marginal_grid(saliency), np.stack(oracle))


# ------------------------------------------------------------------------------------------------------------------- ZoomTrack


def zoomtrack(saliency, zoom, rigidity, sizes, least=None):
    """Residuals of every cell, one after the other, minimised by SciPy; cell sides in pixels of a picture of `sizes`."""
    cells = (saliency[1:, 1:] + saliency[:-1, 1:] + saliency[1:, :-1] + saliency[:-1, :-1]) / 4
    rows, columns = cells.shape
    tall, wide = sizes[0] / rows, sizes[1] / columns
    residuals, wanted = [], []
    for row in range(rows):
        for column in range(columns):
            for by_row, by_column, goal in ((np.sqrt(rigidity) / tall, -np.sqrt(rigidity) / wide, 0), (1, 0, tall / zoom), (0, 1, wide / zoom)):
                line = np.zeros(rows + columns)
                line[row], line[rows + column] = cells[row, column] * by_row, cells[row, column] * by_column
                residuals.append(line)
                wanted.append(cells[row, column] * goal)
    matrix, wanted = np.array(residuals) / cells.max(), np.array(wanted) / cells.max()
    sums = np.zeros((2, rows + columns))
    sums[0, :rows] = sums[1, rows:] = 1
    hessian, linear = matrix.T @ matrix, matrix.T @ wanted
    if least is None:
        system = np.block([[hessian, sums.T], [sums, np.zeros((2, 2))]])
        return np.linalg.solve(system, np.concatenate((linear, sizes)))[:rows + columns]
    start = np.concatenate((np.full(rows, tall), np.full(columns, wide)))
    answer = minimize(lambda s: s @ hessian @ s / 2 - linear @ s, start, jac=lambda s: hessian @ s - linear, method="SLSQP",
                      bounds=[(tall * least, None)] * rows + [(wide * least, None)] * columns,
                      constraints={"type": "eq", "fun": lambda s: sums @ s - sizes, "jac": lambda s: sums}, options={"ftol": 1e-14, "maxiter": 500})
    assert answer.success, answer.message
    return answer.x


def lines(sides, size):
    return np.concatenate(([0], np.cumsum(sides))) / size * 2 - 1


@shapes
@pytest.mark.parametrize(("zoom", "rigidity"), [(1.5, 1.0), (2.5, 0.3)])
def test_zoomtrack(shape, zoom, rigidity):
    saliency, size = maps(shape), (300.0, 500.0)
    oracle = []
    for one in saliency[:, 0].numpy():
        sides = zoomtrack(one, zoom, rigidity, np.array(size))
        oracle.append(product(lines(sides[shape[0] - 1:], size[1]), lines(sides[:shape[0] - 1], size[0])))
    ours = cell_grid(saliency, zoom=zoom, rigidity=rigidity, bound=None, image_size=(300, 500))
    close(ours, np.stack(oracle), 2e-3)  # an evenly spread millionth of the weights is ours


@pytest.mark.parametrize("seed", range(6))
def test_the_limit_is_optimal(seed):
    """Where some cells are at the limit, no other positive sizes have less energy: against SciPy's SLSQP."""
    saliency = rough(1, 7, 9, spread=2, seed=seed, dtype=torch.float64)
    cells = (saliency[..., 1:, 1:] + saliency[..., :-1, 1:] + saliency[..., 1:, :-1] + saliency[..., :-1, :-1]) / 4
    assert cells.min() > 1e-3 * cells.max()
    for zoom, bound in ((3.0, 1.3), (0.6, 1.5)):
        sides = zoomtrack(saliency[0, 0].numpy(), zoom, 1.0, np.array([6.0, 8.0]), least=1 / bound)
        assert (sides < 1 / bound + 1e-6).any()
        close(cell_grid(saliency, zoom=zoom, bound=bound)[0], product(lines(sides[6:], 8), lines(sides[:6], 6)), 5e-4)


# ----------------------------------------------------------------------------------------------------- the density of the transport


def spline_parts(values):
    """Cuts into equal parts of a quadratic spline with these coefficients, mirrored at the border, by SciPy."""
    cells = len(values)
    spline = BSpline(np.arange(cells + 5) - 2.5, np.r_[values[0], values, values[-1]], 2)
    fine = np.linspace(0, cells - 1, 200_001)
    density = spline(fine)
    total = np.concatenate(([0], np.cumsum((density[1:] + density[:-1]) / 2)))
    assert total[-1] * (cells - 1) / 200_000 == pytest.approx(quad(spline, 0, cells - 1, limit=200)[0], rel=1e-6)
    return np.interp(np.linspace(0, total[-1], cells), total, fine) * 2 / (cells - 1) - 1


def test_transport_of_an_outer_product_is_the_two_cumulative_sums():
    from lib.models.grids import transport_grid

    generator = torch.Generator().manual_seed(5)
    x, y = torch.rand(17, dtype=torch.float64, generator=generator) + 0.2, torch.rand(13, dtype=torch.float64, generator=generator) + 0.2
    ours = transport_grid((y[:, None] * x)[None, None], floor=0.0, bound=None)
    close(ours[0], product(spline_parts(x.numpy()), spline_parts(y.numpy())), 5e-4)
