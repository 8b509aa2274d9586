"""FOVEA's and LZU's grid: two attractions along the axes instead of one in the plane; and saliency from boxes.

Thavamani, Li, Cebron, Ramanan: "FOVEA: Foveated Image Magnification for Autonomous Navigation", ICCV 2021, section 3;
Thavamani, Li, Ferroni, Ramanan: "Learning to Zoom and Unzoom", CVPR 2023; released code tchittesh/fovea, tchittesh/lzu.

Deviations from the released code
    - two small constant matrices in the place of convolutions of the padded marginals: the same to rounding;
    - `boxes_saliency` leaves its input alone (the release overwrites the boxes), and sums in pixels of the picture that you
      name, since a bandwidth in pixels means nothing without one.
"""

import torch
from torch import Tensor, nn

from lib.models.grids.common import as_mass, outer_grid
from lib.models.sampler import PADDING, pair


def separable_grid(saliency: Tensor, *, sigma: float, padding: str = "reflect", reach: int | None = None, clamp: bool = False) -> Tensor:
    """The grid of two one-dimensional attractions, of the saliency's sums over columns and over rows.

    saliency: (B, 1, H, W) or (B, H, W), non-negative; zero everywhere counts as uniform.
    sigma: standard deviation of the attraction in cells; FOVEA's full width at half maximum of 4 is 4 / 2.355, LZU's 10 is 10 / 2.355.
    padding: "reflect" (theirs, "anti-crop") pins the border, "replicate" is the paper's of 2018, "zeros" pulls to the middle.
    reach: of kernel and padding in cells, for both axes; None is theirs, min(H, W) - 1.
    clamp: limit the grid to the image, as they do; with "reflect" there is nothing to limit.

    Returns (B, H, W, 2), x first, `align_corners=True`, float32 at least. Rows and columns stay straight, and it never folds
    where the map is positive: a Gaussian, truncated or not, keeps the order of its weighted means. Two salient places make
    two ghosts where their rows and columns cross. Equal to `saliency_grid` for a map that is an outer product. NaN where
    no salient cell lies within reach of a row or column.

    Example:
        >>> from lib.models.sampler import saliency_grid
        >>> rows, columns = torch.rand(1, 9, 1) + 0.1, torch.rand(1, 1, 9) + 0.1
        >>> grid = separable_grid(rows * columns, sigma=2)  # a map that is a product: the attraction in the plane, too
        >>> torch.allclose(grid, saliency_grid(rows * columns, sigma=2, padding="reflect"), atol=1e-5)
        True
    """
    mass = as_mass(saliency)
    reach = min(mass.shape[1:]) - 1 if reach is None else reach
    check_kernel(mass.shape, sigma, padding, reach)
    with torch.autocast(mass.device.type, enabled=False):
        x = _attracted(mass.sum(1), sigma, padding, reach)  # (B, W): sums over rows
        y = _attracted(mass.sum(2), sigma, padding, reach)  # (B, H)
    grid = outer_grid(x, y)
    return grid.clamp(-1, 1) if clamp else grid


def check_kernel(shape: tuple, sigma: float, padding: str, reach: int) -> None:
    if padding not in PADDING:
        raise ValueError(f"padding {padding!r} is not one of {', '.join(PADDING)}")
    if not sigma > 0:
        raise ValueError(f"sigma is {sigma}, expected a positive number of cells")
    if reach < 1 or (padding == "reflect" and reach > min(shape[1:]) - 1):
        raise ValueError(f"reach is {reach} cells, expected at least 1 and, to reflect a map of {shape[1]}x{shape[2]}, at most {min(shape[1:]) - 1}")


def attraction_matrices(cells: int, sigma: float, padding: str, reach: int, *, like: Tensor) -> tuple[Tensor, Tensor]:
    """(cells, cells) matrices of one axis: the first sums the attraction, the second the attraction times its position."""
    inner = torch.arange(cells, device=like.device)
    outer = torch.arange(-reach, cells + reach, device=like.device)  # the padded axis
    distance = outer[None, :] - inner[:, None]
    gauss = torch.exp(-0.5 * (distance.double() / sigma) ** 2) * (distance.abs() <= reach)
    last = cells - 1
    source = last - (last - outer.abs()).abs() if padding == "reflect" else outer.clamp(0, last)  # which cell is copied there
    copies = (source[:, None] == inner[None, :]).double()
    if padding == "zeros":
        copies = copies * ((outer >= 0) & (outer <= last))[:, None]
    position = outer.double() * (2 / last) - 1
    return (gauss @ copies).to(like.dtype), ((gauss * position) @ copies).to(like.dtype)


def _attracted(profile: Tensor, sigma: float, padding: str, reach: int) -> Tensor:
    """Positions (B, n) that a marginal (B, n) pulls to itself."""
    total, moment = attraction_matrices(profile.shape[1], sigma, padding, reach, like=profile)
    return (profile @ moment.T) / (profile @ total.T)


# ------------------------------------------------------------------------------------------------------- saliency from boxes


def boxes_saliency(boxes: Tensor, size: int | tuple[int, int], *, image_size: int | tuple[int, int], amplitude: float | Tensor = 1.0,
                   bandwidth: float | Tensor = 1.0, present: Tensor | None = None, background: float | None = None) -> Tensor:
    """FOVEA's kernel density of boxes: a Gaussian at each box's centre over an even floor, (B, 1, *size), sums to 1.

    boxes: (B, N, 4) as x1 y1 x2 y2 in [-1, 1]. image_size: (height, width) in pixels, in which the Gaussian's variance along
    an axis is bandwidth times the box's side (the side, not its square). Each Gaussian is normalised over the cells and
    weighs `amplitude`. present: (B, N) bool, which of the boxes count (default: all). background: what each box adds to every
    cell, by default 1 / (2 reach + 1)^2 with their reach min(size) - 1. No box: uniform.

    Example:
        >>> saliency = boxes_saliency(torch.tensor([[[0.2, 0.2, 0.6, 0.6]]]), 31, image_size=600)
        >>> round(saliency.sum().item(), 3), divmod(saliency.argmax().item(), 31)  # row and column of the box's centre
        (1.0, (21, 21))
    """
    height, width = pair(size)
    if boxes.dim() != 3 or boxes.shape[-1] != 4:
        raise ValueError(f"boxes have shape {tuple(boxes.shape)}, expected (B, N, 4): x1 y1 x2 y2 in [-1, 1]")
    dtype = torch.promote_types(boxes.dtype, torch.float32)
    tall, wide = pair(image_size)
    pixels = (boxes.to(dtype) + 1) / 2 * torch.tensor([wide, tall, wide, tall], dtype=dtype, device=boxes.device)
    side = (pixels[..., 2:] - pixels[..., :2]).clamp(min=1e-3)  # (B, N, 2), a box without extent is a point
    centre = (pixels[..., 2:] + pixels[..., :2]) / 2
    x = _axis_gauss(wide, width, centre[..., 0], bandwidth * side[..., 0])  # (B, N, W)
    y = _axis_gauss(tall, height, centre[..., 1], bandwidth * side[..., 1])
    normalised = (x / x.sum(-1, keepdim=True))[:, :, None] * (y / y.sum(-1, keepdim=True))[..., None]  # (B, N, H, W)
    background = 1 / (2 * (min(height, width) - 1) + 1) ** 2 if background is None else background
    each = amplitude * normalised + background
    if present is not None:
        each = torch.where(present[..., None, None], each, torch.zeros_like(each))
    total = each.sum(1, keepdim=True)  # (B, 1, H, W)
    total = torch.where(total.sum((2, 3), keepdim=True) == 0, torch.ones_like(total), total)
    return total / total.sum((2, 3), keepdim=True)


def _axis_gauss(pixels: int, cells: int, centre: Tensor, variance: Tensor) -> Tensor:
    """exp(-d^2 / 2 variance) at `cells` places from 0 to `pixels`, its largest value 1 so that none underflows: (B, N, cells)."""
    places = torch.linspace(0, pixels, cells, dtype=centre.dtype, device=centre.device)
    energy = (places - centre[..., None]) ** 2 / (2 * variance[..., None])
    return torch.exp(energy.amin(-1, keepdim=True) - energy)


class BoxSaliency(nn.Module):
    """`boxes_saliency` with a bandwidth and an amplitude that learn: |1 + parameter| x initial + 0.1 each, as FOVEA has them.

    Example:
        >>> BoxSaliency(31, image_size=600)(torch.tensor([[[0.2, 0.2, 0.6, 0.6]]])).shape
        torch.Size([1, 1, 31, 31])
    """

    def __init__(self, size: int | tuple[int, int], image_size: int | tuple[int, int], *, amplitude: float = 1.0, bandwidth: float = 64.0):
        super().__init__()
        self.size, self.image_size = pair(size), pair(image_size)
        self.initial_amplitude, self.initial_bandwidth = amplitude, bandwidth
        self.amplitude, self.bandwidth = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))

    def forward(self, boxes: Tensor, present: Tensor | None = None) -> Tensor:
        amplitude = (1 + self.amplitude).abs() * self.initial_amplitude + 0.1
        bandwidth = (1 + self.bandwidth).abs() * self.initial_bandwidth + 0.1
        return boxes_saliency(boxes, self.size, image_size=self.image_size, amplitude=amplitude, bandwidth=bandwidth, present=present)


def composite_saliency(fixed: Tensor, adaptive: Tensor, *, weight: float = 0.5) -> Tensor:
    """FOVEA's composite: (1 - weight) of the data set's fixed map and `weight` of this picture's, each of them summing to 1.

    fixed (1 or B, 1, H, W), adaptive (B, 1, H, W). LZU is weight 0.

    Example:
        >>> here = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
        >>> composite_saliency(torch.ones(1, 1, 2, 2), here)[0, 0].tolist()  # half even, half here
        [[0.625, 0.125], [0.125, 0.125]]
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"weight is {weight}, expected a share of the adaptive map from 0 to 1")
    if fixed.shape[-2:] != adaptive.shape[-2:]:
        raise ValueError(f"fixed is {tuple(fixed.shape[-2:])} and adaptive {tuple(adaptive.shape[-2:])}, expected maps of one size")
    shares = [part / part.sum((-2, -1), keepdim=True) for part in (fixed, adaptive)]
    return (1 - weight) * shares[0] + weight * shares[1]
