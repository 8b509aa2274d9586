"""The pictures of notebook 00: how the attraction of "Learning to Zoom" (section 3.2) makes a grid, step by step.

One function per figure. They draw what `lib.models.sampler` computes and hold no second version of it, but for one formula:
the zoom in the middle of a Gaussian blob, which `ceiling` has in closed form to set measurements beside.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray
from torch import Tensor

from lib.data.osie import OSIE
from lib.data.synthetic.faces import render_face
from lib.figures import style, zoom
from lib.metrics.saliency import density_map, fixation_map
from lib.models.rivals import thin_plate_basis
from lib.models.sampler import (PADDING, RELEASED_SIGMA, Sampled, folds, identity_grid, inverse, low_resolution, magnification, pair,
                                resample, resize_grid, saliency_grid, warp_grid)

CELLS = 31  # the paper's saliency map
PAPER_SIGMA = CELLS / 3
FLOOR = 0.03  # of the peak, under every heat map: what no softmax goes below
OSIE_NAMES = ("1265.jpg", "1096.jpg", "1395.jpg", "1346.jpg")  # small faces and lettering
OSIE_BLUR = 24  # pixels, one degree of visual angle: what OSIE's authors blur fixations with
FACES = ((1, (0.0, -1.0, 38.0)), (3, (5.5, 5.0, 52.0)), (6, (-3.0, -6.0, 30.0)))  # seed, head in cm


@dataclass(frozen=True)
class Picture:
    """An image with a heat map: image (3, H, W) uint8, heatmap (H, W), points (n, 2) pixels worth following."""

    name: str
    image: Tensor
    heatmap: Tensor
    points: NDArray
    source: str
    boxes: zoom.Boxes = field(default_factory=dict)

    @property
    def size(self) -> tuple[int, int]:
        return self.image.shape[1], self.image.shape[2]


def pictures(dataset: str, data_dir: str | Path | None) -> list[Picture]:
    """Photographs of OSIE with where people looked, if `data_dir` holds them; else drawn faces with their eyes."""
    root = Path(data_dir).expanduser() if data_dir else None
    if root and (root / "data" / "eye" / "fixations.mat").is_file() and (root / "data" / "stimuli").is_dir():
        return _photographs(OSIE(root))
    if dataset == "osie":
        raise ValueError(f"data_dir {data_dir!r} holds no OSIE: expected data/stimuli/1001.jpg ... and data/eye/fixations.mat in it")
    return [_face(seed, head) for seed, head in FACES]


def _photographs(osie: OSIE) -> list[Picture]:
    names = [osie.name(i) for i in range(len(osie))]
    chosen = [names.index(name) for name in OSIE_NAMES if name in names] or list(range(min(4, len(names))))
    made = []
    for i in chosen:
        fixations = osie.fixations(i)
        heat = density_map(fixation_map(fixations, osie.size(i)), sigma=OSIE_BLUR).float()
        made.append(Picture(names[i], torch.from_numpy(osie.image(i)).permute(2, 0, 1), heat / heat.max() + FLOOR, fixations,
                            "photograph, fixations of 15 people"))
    return made


def _face(seed: int, head: tuple[float, float, float]) -> Picture:
    image, boxes = render_face(seed, head_cm=head)
    height, width = image.shape[:2]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    heat, centres = torch.full((height, width), FLOOR), []
    for name in ("left_eye", "right_eye"):
        left, top, w, h = boxes[name]
        centres.append((left + w / 2, top + h / 2))
        heat = heat + torch.exp(-0.5 * (((x - centres[-1][0]) / (w / 2)) ** 2 + ((y - centres[-1][1]) / (h / 2)) ** 2))
    corners = [(x + i * w, y + j * h) for x, y, w, h in boxes.values() for i in (0, 1) for j in (0, 1)]
    return Picture(f"drawn face, {head[2]:.0f} cm", torch.from_numpy(image).permute(2, 0, 1), heat,
                   np.clip(np.array(centres + corners), 0, [width - 1, height - 1]), "synthetic, heat at the eyes", dict(boxes))


def zoomed(picture: Picture, **options) -> Sampled:
    """The picture through `warp_grid`, at its own size: image, grid and the 31x31 map."""
    grid = resize_grid(warp_grid(picture.heatmap, **options), picture.size)
    return Sampled(resample(picture.image[None], grid), grid, small_map(picture))


def small_map(picture: Picture) -> Tensor:
    """(1, 1, 31, 31): the heat map as the attraction takes it."""
    return low_resolution(picture.heatmap[None, None], CELLS)


def overview(shown: list[Picture]) -> Figure:
    """Every picture through the attraction (Fig. 2)."""
    maps = [zoomed(picture) for picture in shown]
    captions = [f"{picture.source}; at most {magnification(m.grid).max():.1f}×" for picture, m in zip(shown, maps, strict=True)]
    return zoom.cases([picture.image for picture in shown], maps, [picture.name for picture in shown], captions=captions,
                      boxes=[picture.boxes for picture in shown])


def steps(picture: Picture) -> Figure:
    """Heat map, its 31x31 cells, the attraction that they exert, the grid, its magnification, the image (Fig. 3)."""
    tall, wide = picture.size
    height = 2.0
    width = height * wide / tall
    figure, axes = style.panels([width] * 3, [height, height], top=0.3, row_gap=0.42)
    (heat, cells, pull), (grid_ax, zoom_ax, out) = axes
    maps = zoomed(picture)
    zoom.show_saliency(heat, picture.heatmap, over=picture.image)
    zoom.show_saliency(cells, zoom.resized_map(maps.saliency, picture.size))
    _attraction(pull, picture)
    zoom.show_grid(grid_ax, maps.grid, image=picture.image)
    zoom.show_magnification(zoom_ax, maps.grid, colour_bar=False)
    inset = figure.add_axes((zoom_ax.get_position().x0, zoom_ax.get_position().y0 - 0.045, zoom_ax.get_position().width, 0.018))
    zoom.magnification_bar(figure, inset)
    zoom.show_image(out, maps.image)
    zoom.title_columns(axes[0], ["1  heat map", "2  S, 31×31 cells", "3  attraction S·k"])
    zoom.title_columns(axes[1], ["4  grid (u, v)", "5  magnification", "6  J(x, y) = I(u, v)"])
    return figure


def _attraction(ax, picture: Picture) -> None:
    """Where output pixels (open squares) are drawn to; around one of them the kernel's reach, one and two sigma."""
    zoom.show_saliency(ax, zoom.resized_map(small_map(picture), picture.size))
    grid = warp_grid(picture.heatmap)
    pick = torch.linspace(2, CELLS - 3, 8).round().long()
    start = zoom.in_pixels(identity_grid(CELLS, like=grid)[0][pick][:, pick].reshape(-1, 2), picture.size)
    end = zoom.in_pixels(grid[0][pick][:, pick].reshape(-1, 2), picture.size)
    ax.quiver(*start.T, *(end - start).T, angles="xy", scale_units="xy", scale=1, color=style.YELLOW, width=0.006)
    ax.scatter(*start.T, marker="s", s=7, facecolors="none", edgecolors="white", linewidths=0.6)
    far = int(np.linalg.norm(end - start, axis=1).argmax())
    cell = (picture.size[1] - 1) / (CELLS - 1)
    for reach in (1, 2):
        ax.add_patch(Circle(start[far], reach * RELEASED_SIGMA * cell, fill=False, edgecolor=style.SKY, linewidth=1, linestyle="--"))
    ax.set(xlim=(-0.5, picture.size[1] - 0.5), ylim=(picture.size[0] - 0.5, -0.5))
    ax.scatter(*start[far], marker="s", s=26, facecolors="none", edgecolors=style.VERMILION, linewidths=1.4)
    ax.scatter(*end[far], marker="s", s=26, facecolors="none", edgecolors=style.SKY, linewidths=1.4)


def ceiling(blob: NDArray, sigma: float, floor: float) -> NDArray:
    """The zoom in the middle of a Gaussian blob of standard deviation `blob` (cells) on a uniform `floor` (of its peak).

    The Jacobian of (u, v) is the covariance of S k over sigma^2. Blob times kernel weighs t and has the variance t sigma^2,
    with t = blob^2 / (blob^2 + sigma^2); floor times kernel weighs `floor` and has sigma^2. The zoom is one over the mix.
    """
    t = blob**2 / (blob**2 + sigma**2)
    return (t + floor) / (t**2 + floor)


def blob_map(deviation: float, floor: float, centre: tuple[float, float] = (15.0, 15.0)) -> Tensor:
    """(1, 1, 31, 31): a Gaussian of `deviation` cells at `centre` (x, y) above `floor`."""
    at = torch.arange(CELLS, dtype=torch.float64)
    x, y = ((at - c) ** 2 / (2 * deviation**2) for c in centre)
    return (torch.exp(-(y[:, None] + x[None])) + floor)[None, None]


def widths(picture: Picture) -> Figure:
    """What sigma decides: the zoom that a blob of some width can get, and the same picture under both widths."""
    height = 2.3
    across = height * picture.size[1] / picture.size[0]
    figure, axes = style.panels([3.0, across, across], [height], left=0.5, bottom=0.42, gap=0.2)
    ax, *shown = axes[0]
    blobs, measured = np.linspace(0.8, 8, 60), np.array([1.0, 2.0, 3.0, 4.5, 6.0])
    for sigma, colour, name in ((RELEASED_SIGMA, style.BLUE, "13/2.355"), (PAPER_SIGMA, style.VERMILION, "31/3")):
        for floor, line in ((0.0, "-"), (FLOOR, "--")):
            ax.plot(blobs, ceiling(blobs, sigma, floor), line, color=colour, label=f"σ = {name}, floor {floor:g}")
            dots = [float(magnification(saliency_grid(blob_map(s, floor), sigma=sigma))[0, 15, 15]) for s in measured]
            ax.plot(measured, dots, "o", color=colour, markersize=3.5)
    ax.set(xlabel="blob's standard deviation (cells)", ylabel="zoom in its middle (×)", yscale="log", ylim=(0.9, 70))
    ax.set_yticks([1, 2, 4, 8, 16, 32], labels=["1", "2", "4", "8", "16", "32"])
    ax.minorticks_off()
    ax.legend(loc="upper right", handlelength=1.6)
    for panel, sigma in zip(shown, (RELEASED_SIGMA, PAPER_SIGMA), strict=True):
        zoom.show_image(panel, zoomed(picture, sigma=sigma).image)
    zoom.title_columns(axes[0], ["formula (lines), measured (dots)", "σ = 13/2.355 = 5.5 cells", "σ = 31/3 = 10.3 cells"])
    return figure


def borders(picture: Picture) -> Figure:
    """Three paddings and the clamp: the grid of a uniform map, of a map whose peak lies at the border, and the picture."""
    height = 1.5
    ratio = picture.size[1] / picture.size[0]
    figure, axes = style.panels([height, height, height * ratio], [height] * 4, left=1.75, row_gap=0.14)
    uniform, edge = torch.ones(1, 1, CELLS, CELLS), blob_map(2, 0.01, (1, 3))
    options = [(padding, {"padding": padding}) for padding in PADDING] + [("replicate, clamped", {"clamp": True})]
    for row, (name, option) in zip(axes, options, strict=True):
        plain, pulled = (saliency_grid(saliency.float(), sigma=RELEASED_SIGMA, **option) for saliency in (uniform, edge))
        own = saliency_grid(small_map(picture), sigma=RELEASED_SIGMA, **option)
        shift = float((plain - identity_grid(CELLS, like=plain)).abs().max()) / 2 * (CELLS - 1)
        zoom.show_grid(row[0], plain, lines=CELLS)
        zoom.show_grid(row[1], pulled, lines=CELLS)
        zoom.show_image(row[2], resample(picture.image[None], resize_grid(own, picture.size)))
        zoom.label_row(row[0], name, f"uniform map moves by {shift:.1f} cells; {100 * float(folds(pulled)):.0f} % of the peak's "
                                     "cells have no area")
    zoom.title_columns(axes[0], ["uniform map", "peak near the border", "the picture's map"])
    return figure


def folding(picture: Picture, *, strengths: tuple[float, ...] = (0.2, 0.5, 1.0), seed: int = 0) -> Figure:
    """The attraction under random saliency against a thin-plate spline under random control points, more and more random."""
    draw = torch.Generator().manual_seed(seed)
    noise, shift = torch.randn(1, 1, 6, 6, generator=draw), torch.randn(16, 2, generator=draw)
    smooth = torch.nn.functional.interpolate(noise, CELLS, mode="bicubic", align_corners=True)
    control = identity_grid(4, like=shift).view(-1, 2) * 0.9
    basis = thin_plate_basis(control.double(), identity_grid(CELLS, like=shift.double()).view(-1, 2)).float()
    height = 1.55
    figure, axes = style.panels([height * picture.size[1] / picture.size[0]] * len(strengths), [height] * 2, left=1.6, row_gap=0.36)
    for column, strength in zip(axes.T, strengths, strict=True):
        grids = (saliency_grid((6 * strength * smooth).exp(), sigma=RELEASED_SIGMA),
                 (basis @ (control + 0.5 * strength * shift)).view(1, CELLS, CELLS, 2))
        for ax, grid, colour in zip(column, grids, (style.BLUE, style.VERMILION), strict=True):
            zoom.show_grid(ax, grid, size=picture.size, lines=CELLS, colour=colour)
            ax.set_title(f"{100 * float(folds(grid)):.1f} % folded")
    zoom.label_row(axes[0, 0], "attraction", "logits of random maps")
    zoom.label_row(axes[1, 0], "thin-plate spline", "16 random control points")
    return figure


def gradients(picture: Picture, *, pixel: tuple[int, int] | None = None) -> Figure:
    """How the place (u, v) that one output pixel samples depends on every cell of the saliency map, by backpropagation."""
    saliency = small_map(picture).requires_grad_()
    grid = saliency_grid(saliency, sigma=RELEASED_SIGMA)
    moved = (grid.detach() - identity_grid(CELLS, like=grid.detach()))[0].norm(dim=-1)
    moved[:8], moved[-8:], moved[:, :8], moved[:, -8:] = 0, 0, 0, 0  # a border cell's gradient holds that of its copies outside
    row, column = pixel or divmod(int(moved.argmax()), CELLS)
    height = 2.2
    across = height * picture.size[1] / picture.size[0]
    figure, axes = style.panels([across] * 3, [height], top=0.32, bottom=0.3)
    zoom.show_saliency(axes[0, 0], zoom.resized_map(saliency.detach(), picture.size), over=picture.image)
    own = zoom.in_pixels(identity_grid(CELLS, like=grid.detach())[0, row, column], picture.size)
    place = zoom.in_pixels(grid[0, row, column], picture.size)
    for ax, which in zip(axes[0, 1:], (0, 1), strict=True):
        slope = torch.autograd.grad(grid[0, row, column, which], saliency, retain_graph=True)[0]
        limit = float(slope[..., 2:-2, 2:-2].abs().max())  # not the rim's, which hide all else
        slope = zoom.resized_map(slope, picture.size)
        ax.imshow(slope, cmap=style.SIGNED, vmin=-limit, vmax=limit)
        style.bare(ax)
    for ax in axes[0]:
        ax.plot(*own, "s", markersize=8, markerfacecolor="none", markeredgecolor=style.GREEN, markeredgewidth=1.6)
        ax.plot(*place, "x", markersize=7, color=style.GREEN, markeredgewidth=1.8)
    zoom.title_columns(axes[0], ["□ samples at ×", "∂u / ∂S", "∂v / ∂S"])
    axes[0, 1].set_xlabel("red: pulls × to the right")
    axes[0, 2].set_xlabel("red: pulls × down")
    return figure


def there_and_back(picture: Picture, *, most: int = 60) -> tuple[Figure, float]:
    """Points of the original carried into the zoomed image and back; also the largest way they missed by, in pixels."""
    maps = zoomed(picture)
    grid = warp_grid(picture.heatmap)
    points = picture.points[np.linspace(0, len(picture.points) - 1, min(most, len(picture.points))).astype(int)]
    forth = inverse(grid, points=zoom.from_pixels(points, picture.size)[None])  # (1, n, 2), NaN where out of reach
    back = torch.nn.functional.grid_sample(grid.permute(0, 3, 1, 2).double(), forth[:, None].nan_to_num(0), align_corners=True)
    back = zoom.in_pixels(back[0, :, 0].T, picture.size)
    reached = torch.isfinite(forth[0]).all(1).numpy()
    height = 2.4
    figure, axes = style.panels([height * picture.size[1] / picture.size[0]] * 3, [height], bottom=0.22)
    undone = resize_grid(inverse(grid, CELLS * 8).float(), picture.size)
    restored = resample(maps.image, undone.nan_to_num(0)).where(torch.isfinite(undone).all(-1)[:, None], 1.0)
    panels = ((picture.image, points[reached]), (maps.image, zoom.in_pixels(forth[0][reached], picture.size)),
              (restored, back[reached]))
    for ax, (image, at) in zip(axes[0], panels, strict=True):
        zoom.show_image(ax, image)
        ax.scatter(*np.asarray(at).T, s=14, color=style.YELLOW, edgecolors="black", linewidths=0.7)
    zoom.title_columns(axes[0], ["original", "zoomed", "and back"])
    axes[0, 2].set_xlabel("white: the grid does not reach it", fontsize=8)
    return figure, float(np.abs(back - points)[reached].max())


def aliasing(picture: Picture, *, size: int | tuple[int, int] = 96, dense: int = 4) -> Figure:
    """The paper's point samples at a task network's size, the same averaged over each output pixel's area, and the difference."""
    grid = resize_grid(warp_grid(picture.heatmap), pair(size))
    point, mean = resample(picture.image[None], grid), resample(picture.image[None], grid, oversample=dense)
    difference = (point - mean).abs().mean(1)[0]
    figure, axes = style.panels([2.4] * 3, [2.4], right=0.6)
    zoom.show_image(axes[0, 0], point)
    zoom.show_image(axes[0, 1], mean)
    shown = axes[0, 2].imshow(difference.numpy(), vmin=0, vmax=float(difference.quantile(0.995)), cmap=style.SALIENCY)
    style.bare(axes[0, 2])
    place = axes[0, 2].get_position()
    bar = figure.colorbar(shown, cax=figure.add_axes((place.x1 + 0.01, place.y0, 0.012, place.height)), extend="max")
    bar.set_label("of full scale")
    zoom.title_columns(axes[0], ["point samples (the paper)", f"oversample={dense}", "absolute difference"])
    return figure
