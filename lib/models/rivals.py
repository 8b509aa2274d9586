"""The saliency sampler's rivals, on its interface: uniform, affine and thin-plate-spline transformers, grid estimator, oracle.

"Learning to Zoom", section 4.1, compares with spatial transformers (Jaderberg et al., NIPS 2015; the thin-plate spline with
a regular grid of control points) and with a network that "directly estimate[s] the sampling grid functions u and v". Each
one looks at the same low-resolution view through a network like the saliency network, samples the same full image, and
starts as the identity: the paper says no more about them, so what it leaves open is written down here.

    AffineSTN       theta = identity + output of the localisation network, unbounded
    ThinPlateSTN    4x4 control points over 90 % of the image, displaced by the localisation network, unbounded
    GridEstimator   a residual to the identity, 2 channels at 31x31, no activation, no clamp
    Uniform         anti-aliased resizing; or point samples of the full image, which is what the samplers themselves take
    Oracle          the paper's own attraction, driven by an annotation instead of a saliency network
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.models.sampler import (RELEASED_SIGMA, Sampled, SpatialSampler, feature_channels, identity_grid, low_resolution,
                                resize_grid, saliency_grid)


class Uniform(SpatialSampler):
    """Plain resizing to the task size, the row that all others are measured against.

    antialias: average over each output pixel's area (how images are resized for networks); else bilinear point samples.

    Example:
        >>> stripes = torch.tensor([0.0, 1.0]).repeat(1, 1, 64, 32)  # (1, 1, 64, 64)
        >>> view = Uniform(16)(stripes).image
        >>> view.shape, round(view[0, 0, 8, 8].item(), 2)  # anti-aliased
        (torch.Size([1, 1, 16, 16]), 0.5)
    """

    def __init__(self, task_size: int | tuple[int, int], *, antialias: bool = True, **options):
        super().__init__(task_size, task_size, **options)
        self.antialias = antialias

    def locate(self, view: Tensor) -> tuple[Tensor, None]:
        return identity_grid(self.task_size, like=view).expand(view.shape[0], -1, -1, -1), None

    def forward(self, image: Tensor, view: Tensor | None = None) -> Sampled:
        if not self.antialias:
            return super().forward(image, image.new_zeros(image.shape[0], 1, *self.view_size))
        if view is None or tuple(view.shape[-2:]) != self.task_size:
            view = low_resolution(image, self.task_size)
        view = view / 255 if view.dtype == torch.uint8 else view
        return Sampled(view, self.locate(view)[0])


class AffineSTN(SpatialSampler):
    """Spatial transformer with the affine parametrisation: rotation, scale, shear and shift of the whole image.

    localisation: view (B, C, *view_size) -> (B, 6), zero at the start.

    Example:
        >>> localisation = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 6))
        >>> half = torch.tensor([-0.5, 0, 0, 0, -0.5, 0])  # what is added to the identity: half of the image, twice as large
        >>> localisation[1].weight.data, localisation[1].bias.data = torch.zeros(6, 768), half
        >>> AffineSTN(localisation, 32, 16)(torch.rand(1, 3, 64, 64)).grid[0, 0, 0].tolist()
        [-0.5, -0.5]
    """

    def __init__(self, localisation: nn.Module, task_size: int | tuple[int, int], view_size: int | tuple[int, int], **options):
        super().__init__(task_size, view_size, **options)
        self.localisation = localisation

    def locate(self, view: Tensor) -> tuple[Tensor, None]:
        theta = self.localisation(view).to(torch.promote_types(view.dtype, torch.float32)).view(-1, 2, 3)
        theta = theta + torch.eye(2, 3, dtype=theta.dtype, device=theta.device)
        with torch.autocast(view.device.type, enabled=False):
            return F.affine_grid(theta, [theta.shape[0], 1, *self.task_size], align_corners=True), None


class ThinPlateSTN(SpatialSampler):
    """Spatial transformer with the thin-plate-spline parametrisation: a smooth warp through displaced control points.

    localisation: view (B, C, *view_size) -> (B, 2 * points**2), zero at the start. Nothing keeps the warp from folding;
    `lib.models.sampler.folds` counts where it does.

    Example:
        >>> localisation = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 2 * 4**2))
        >>> ThinPlateSTN(localisation, 32, 16)(torch.rand(1, 3, 64, 64)).grid.shape
        torch.Size([1, 32, 32, 2])
    """

    def __init__(self, localisation: nn.Module, task_size: int | tuple[int, int], view_size: int | tuple[int, int], *,
                 points: int = 4, span: float = 0.9, **options):
        super().__init__(task_size, view_size, **options)
        self.localisation = localisation
        control = identity_grid(points, like=torch.zeros(1, dtype=torch.float64)).view(-1, 2) * span  # (K, 2)
        raster = identity_grid(self.task_size, like=control).view(-1, 2)  # (h w, 2)
        self.register_buffer("control", control.float(), persistent=False)
        self.register_buffer("basis", thin_plate_basis(control, raster).float(), persistent=False)  # (h w, K)

    def locate(self, view: Tensor) -> tuple[Tensor, None]:
        shift = self.localisation(view).to(self.basis.dtype).view(view.shape[0], -1, 2)  # (B, K, 2)
        with torch.autocast(view.device.type, enabled=False):
            grid = self.basis @ (self.control + shift)  # (B, h w, 2)
        return grid.view(-1, *self.task_size, 2), None


def thin_plate_basis(control: Tensor, points: Tensor) -> Tensor:
    """The (N, K) matrix that takes positions of K `control` points (K, 2) to those of `points` (N, 2).

    The thin-plate spline (Bookstein 1989) is linear in the displaced control points: kernel r^2 log r plus an affine part,
    so the linear system is solved once.

    Example:
        >>> control = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]])
        >>> shifted = thin_plate_basis(control, torch.zeros(1, 2)) @ (control + 0.5)
        >>> [round(at, 3) for at in shifted[0].tolist()]  # the middle goes where all corners go
        [0.5, 0.5]
    """
    def kernel(a: Tensor, b: Tensor) -> Tensor:
        squared = (a[:, None] - b[None]).square().sum(-1)
        return 0.5 * torch.xlogy(squared, squared)  # 0 at distance 0

    count = len(control)
    affine = torch.cat((torch.ones_like(control[:, :1]), control), dim=1)  # (K, 3)
    system = torch.zeros(count + 3, count + 3, dtype=control.dtype)
    system[:count, :count], system[:count, count:], system[count:, :count] = kernel(control, control), affine, affine.T
    at = torch.cat((kernel(points, control), torch.ones_like(points[:, :1]), points), dim=1)  # (N, K + 3)
    return torch.linalg.solve(system, at.T).T[:, :count]  # the system is symmetric


class GridEstimator(SpatialSampler):
    """A saliency network whose head gives the grid itself, as a residual to the identity, instead of a saliency map.

    Example:
        >>> sampled = GridEstimator(nn.Conv2d(3, 8, 3), 32, 16)(torch.rand(1, 3, 64, 64))
        >>> torch.equal(sampled.grid, identity_grid(32, like=sampled.grid))  # before training
        True
    """

    def __init__(self, network: nn.Module, task_size: int | tuple[int, int], view_size: int | tuple[int, int], *,
                 map_size: int = 31, channels: int = 3, **options):
        super().__init__(task_size, view_size, **options)
        self.network, self.map_size = network, map_size
        self.head = nn.Conv2d(feature_channels(network, (channels, *self.view_size)), 2, kernel_size=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def locate(self, view: Tensor) -> tuple[Tensor, None]:
        shift = self.head(F.relu(self.network(view)))  # (B, 2, h, w)
        shift = shift.to(torch.promote_types(shift.dtype, torch.float32))
        shift = F.interpolate(shift, (self.map_size, self.map_size), mode="bilinear", align_corners=True)
        grid = resize_grid(shift.permute(0, 2, 3, 1), self.task_size)
        return grid + identity_grid(self.task_size, like=grid), None


class Oracle(SpatialSampler):
    """The attraction of the paper around an annotation: what a saliency network that knew where to look could do.

    It takes a heat map (B, 1, *map_size) of the annotation in the place of the low-resolution view. A map that is zero
    everywhere says that nothing is known: its picture is NaN, not the plain one.

    Example:
        >>> annotation = torch.full((1, 1, 31, 31), 0.1)
        >>> annotation[:, :, 20:25, 20:25] = 1
        >>> image, grid, saliency = Oracle(64)(torch.rand(1, 3, 90, 120), annotation)
        >>> image.shape, bool((grid[0, 32, 32] > 0.1).all())  # the middle looks right and down
        (torch.Size([1, 3, 64, 64]), True)
    """

    looks_at = "annotation"

    def __init__(self, task_size: int | tuple[int, int], *, map_size: int = 31, sigma: float = RELEASED_SIGMA, **options):
        super().__init__(task_size, map_size, **options)
        self.sigma = sigma

    def locate(self, view: Tensor) -> tuple[Tensor, Tensor]:
        known = view.masked_fill(view.amax(dim=(1, 2, 3), keepdim=True) == 0, torch.nan)
        return resize_grid(saliency_grid(known, sigma=self.sigma), self.task_size), view

    def forward(self, image: Tensor, view: Tensor | None = None) -> Sampled:
        if view is None or tuple(view.shape[1:]) != (1, *self.view_size):
            given = "none" if view is None else tuple(view.shape)
            raise ValueError(f"the oracle's annotation is {given}, expected a heat map ({len(image)}, 1, {self.view_size[0]}, {self.view_size[1]})")
        return super().forward(image, view)
