"""Fine-grained recognition as a `Task`: classification, and whether the sampler looks where the answer is.

The paper never measured that; here it is measured wherever a data set knows where the animal and its parts are.
"""

import torch
from torch import Tensor

from lib.data.canvas import Square
from lib.data.cub200 import HEAD, head_box
from lib.data.recognition import Pictures
from lib.models.grids import distortion
from lib.models.sampler import Sampled, folds, identity_grid
from lib.training.classification import ClassificationTask
from lib.training.gaze import box_magnification
from lib.training.loop import Batch

HEATED = {"box": "annotation", "head": "head_annotation"}  # boxes, and the heat maps over them
DETAIL = 0.08  # side of the square around the deciding detail, as a share of the picture's


class RecognitionTask(ClassificationTask):
    """iNaturalist or CUB-200, or a twin of either.

    Values beside those of `ClassificationTask`, where the network has a sampler and the data say where things are:
    box_magnification, head_magnification (where heads are annotated), detail_magnification (twins) and parts_magnification (B,),
    linear, 1 = uniform; saliency_in_box (B,), the share of the saliency inside the animal's box, and box_share (B,), the box's share
    of the picture: what a uniform map has.
    And displacement (B,): how far the grid's points are from the uniform grid's on average, in sides of the picture. anisotropy (1 = none),
    shear (degrees): the worst that the grid does to the animal, or to the whole picture where no box is known. folds (B,): share of its cells.
    """

    def more_columns(self, data: Pictures, canvas: Square) -> dict[str, Tensor]:
        box = torch.from_numpy(canvas.boxes(data.box, data.size)).float()
        columns = {"box": box, "annotation": heat(box, canvas.size)}
        if data.part_names and set(HEAD) <= set(data.part_names):
            head = torch.from_numpy(canvas.boxes(head_box(data), data.size)).float()
            columns |= {"head": head, "head_annotation": heat(head, canvas.size)}
        if data.parts is not None:
            columns["parts"] = torch.from_numpy(canvas.points(data.parts[..., :2], data.size)).float()  # (N, P, 2)
        if data.detail is not None:
            columns["detail"] = torch.from_numpy(canvas.points(data.detail, data.size)).float()  # (N, 2)
        return columns

    def mirrored(self, name: str, column: Tensor, side: int) -> Tensor:
        if name in HEATED:
            return torch.cat([side - column[:, :1] - column[:, 2:3], column[:, 1:]], dim=1)
        if name in ("parts", "detail"):
            return torch.stack([side - column[..., 0], column[..., 1]], dim=-1)
        return column.flip(-1) if name == "head_annotation" else super().mirrored(name, column, side)

    def cropped(self, batch: Batch, crops: Tensor) -> Batch:
        side = batch["image"].shape[-1]
        corner, scale = crops[:, :2].float(), side / crops[:, 2:].float()  # (B, 2), x first
        found = super().cropped(batch, crops)
        for name in ("parts", "detail"):
            if name in batch:
                extra = batch[name].ndim - 2  # parts are (B, P, 2)
                found[name] = (batch[name] - corner.view(-1, *[1] * extra, 2)) * scale.view(-1, *[1] * extra, 2)
        for name in HEATED.keys() & batch.keys():
            low, high = ((at - corner) * scale for at in (batch[name][:, :2], batch[name][:, :2] + batch[name][:, 2:]))
            low, high = low.clamp(0, side), high.clamp(0, side)  # what is left of the box; of no size where it is outside
            found[name] = torch.cat([low, high - low], dim=1)
            found[HEATED[name]] = heat(found[name], side)
        return found

    def more_values(self, batch: Batch, maps) -> dict[str, Tensor]:
        if not isinstance(maps, Sampled):
            return {}
        side = batch["image"].shape[-1]
        moved = (maps.grid - identity_grid(tuple(maps.grid.shape[1:3]), like=maps.grid)).norm(dim=-1).mean((1, 2)) / 2  # (B,)
        values = {"displacement": moved.double(), "box_magnification": box_magnification(maps.grid, batch["box"][:, None], (side, side))}
        values |= worst_distortion(maps.grid, batch["box"] / side)
        if "head" in batch:
            values["head_magnification"] = box_magnification(maps.grid, batch["head"][:, None], (side, side))
        if "detail" in batch:
            values["detail_magnification"] = box_magnification(maps.grid, around(batch["detail"][:, None], side), (side, side))
        if "parts" in batch:
            values["parts_magnification"] = box_magnification(maps.grid, around(batch["parts"], side), (side, side))
        if maps.saliency is not None:
            box = batch["box"] / side
            values |= {"saliency_in_box": inside(maps.saliency, box), "box_share": inside(torch.ones_like(maps.saliency), box)}
        return values


def worst_distortion(grid: Tensor, box: Tensor) -> dict[str, Tensor]:
    """The largest anisotropy and shear (B,) of `grid` (B, h, w, 2) among the pixels that show `box` (B, 4), (x, y, w, h) in [0, 1], and its folds.

    Of all pixels where the box is unknown or not shown. Anisotropy is cut at 100, where a cell has no area left.
    """
    places, low, high = (grid + 1) / 2, box[:, None, None, :2], box[:, None, None, :2] + box[:, None, None, 2:]
    shown = ((places >= low) & (places < high)).all(-1)  # (B, h, w), False for NaN
    shown = shown | ~shown.flatten(1).any(1)[:, None, None]
    measured = distortion(grid.double())
    worst = {name: torch.where(shown, part.nan_to_num(100, posinf=100).clamp(max=100), 0).amax((1, 2))
             for name, part in (("anisotropy", measured.anisotropy), ("shear", measured.shear))}
    return worst | {"folds": folds(grid.double())}


def around(points: Tensor, side: int) -> Tensor:
    """points (B, K, 2) -> squares (B, K, 4) as (x, y, w, h) around them, of `DETAIL` of the side."""
    half = DETAIL * side / 2
    return torch.cat([points - half, torch.full_like(points, 2 * half)], dim=-1)


def inside(saliency: Tensor, box: Tensor) -> Tensor:
    """The share of saliency (B, 1, h, w) whose cells' centres lie in box (B, 4), (x, y, w, h) in [0, 1]: (B,), NaN without a box."""
    height, width = saliency.shape[-2:]
    x = ((torch.arange(width, device=box.device) + 0.5) / width)[None, None, :]  # (1, 1, w)
    y = ((torch.arange(height, device=box.device) + 0.5) / height)[None, :, None]
    left, top, right, bottom = (edge[:, None, None] for edge in (box[:, 0], box[:, 1], box[:, 0] + box[:, 2], box[:, 1] + box[:, 3]))
    covered = (x >= left) & (x < right) & (y >= top) & (y < bottom)  # (B, h, w)
    total = saliency[:, 0].double().sum((1, 2))
    return ((saliency[:, 0].double() * covered).sum((1, 2)) / total).where(box.isfinite().all(1), torch.nan)


def heat(box: Tensor, side: int, *, cells: int = 31, floor: float = 0.02) -> Tensor:
    """A heat map over the animal's box, (N, 1, cells, cells): what the oracle row zooms by; uniform where the box is not known.

    A Gaussian around its centre with a standard deviation of a third of its sides, above a `floor` of its peak.
    """
    at = torch.linspace(0, 1, cells)
    centre, spread = (box[:, :2] + box[:, 2:] / 2) / side, (box[:, 2:] / side / 3).clamp_min(0.02)  # (N, 2), x first
    falloff = torch.exp(-0.5 * ((at[None, :, None] - centre[:, None]) / spread[:, None]) ** 2)  # (N, cells, 2)
    warm = floor + falloff[:, :, 1].unsqueeze(2) * falloff[:, :, 0].unsqueeze(1)
    return torch.where(warm.isfinite(), warm, torch.ones(()))[:, None]
