"""Region proposal as a `Task`: classification, and whether the crop that was chosen shows the object."""

import torch
from torch import Tensor

from lib.data.canvas import Square
from lib.data.imagenette import crop_coverage
from lib.models.proposal import Proposal
from lib.models.sampler import Sampled
from lib.training.classification import ClassificationTask, Labelled
from lib.training.gaze import box_magnification
from lib.training.loop import Batch

SHOWN = 0.5  # a crop shows the object if at least this share of its box lies inside


class ProposalTask(ClassificationTask):
    """imagenette, or its twin: crop_size is that of the five crops; only a twin has boxes.

    Values beside those of `ClassificationTask`, where a network chooses among crops: weights (B, V), entropy (B,) of the
    weights in bits; and with boxes shown (B,), 1 where the crop of the greatest weight shows the object (NaN if all weigh alike), and
    shown_by_chance (B,), the share of the crops that do. Where a network resamples: magnification (B,) of the box.
    """

    def __init__(self, data: dict[str, Labelled], *, crop_size: int, **options):
        self.crop_size = crop_size
        super().__init__(data, **options)

    def more_columns(self, data: Labelled, canvas: Square) -> dict[str, Tensor]:
        if data.box is None:
            return {}
        boxes = canvas.boxes(data.box, data.size)
        return {"box": torch.from_numpy(boxes).float(), "coverage": torch.from_numpy(crop_coverage(boxes, canvas.size, self.crop_size)).float()}

    def mirrored(self, name: str, column: Tensor, side: int) -> Tensor:
        if name == "coverage":
            return column[:, [1, 0, 3, 2, 4]]  # left and right crops change places
        if name == "box":
            return torch.cat([side - column[:, :1] - column[:, 2:3], column[:, 1:]], dim=1)
        return super().mirrored(name, column, side)

    def more_values(self, batch: Batch, maps) -> dict[str, Tensor]:
        if isinstance(maps, Sampled) and "box" in batch:
            return {"magnification": box_magnification(maps.grid, batch["box"][:, None], tuple(batch["image"].shape[-2:]))}
        if not isinstance(maps, Proposal):
            return {}
        weights = maps.weights.double()
        values = {"weights": weights, "entropy": -(weights * weights.clamp_min(1e-12).log2()).sum(1)}
        if "coverage" in batch:
            shown = torch.nn.functional.pad(batch["coverage"], (0, weights.shape[1] - 5), value=1.0) >= SHOWN  # the whole image shows all
            chosen = shown.gather(1, weights.argmax(1, keepdim=True))[:, 0].double()  # (B,)
            even = weights.amax(1) - weights.amin(1) < 1e-9  # no crop is chosen
            values |= {"shown": chosen.masked_fill(even, torch.nan), "shown_by_chance": shown.double().mean(1)}
        return values
