"""Region proposal as a `Task`: classification, and whether the crop that was chosen shows the object.

Photographs come without boxes. There a judge can say which crop shows the object best: a network with ImageNet's weights, fine-tuned
by nobody, in whose eyes the picture's own class is most probable in that crop.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from lib.data.canvas import Square
from lib.data.imagenette import IMAGENET, crop_coverage
from lib.data.store import Progress
from lib.files import arrays
from lib.models.lite0 import lite0
from lib.models.proposal import Proposal, five_crops
from lib.models.sampler import Sampled
from lib.training.classification import ClassificationTask, Labelled
from lib.training.gaze import box_magnification
from lib.training.loop import Batch
from lib.versions import versions

SHOWN = 0.5  # a crop shows the object if at least this share of its box lies inside


class ProposalTask(ClassificationTask):
    """imagenette, or its twin: crop_size is that of the five crops; only a twin has boxes.

    Values beside those of `ClassificationTask`, where a network chooses among crops: weights (B, V), entropy (B,) of the
    weights in bits; and with boxes shown (B,), 1 where the crop of the greatest weight shows the object (NaN if all weigh alike), and
    shown_by_chance (B,), the share of the crops that do. Where a network resamples: magnification (B,) of the box.
    judge: "lite0" adds surest (B,), 1 where the crop of the greatest weight is the judge's (NaN if all weigh alike, or if it is the
    whole image), and surest_by_chance (B,), one in five or six. MissingExtra, one line, where its weights are not installed.
    """

    def __init__(self, data: dict[str, Labelled], *, crop_size: int, judge: str = "", cache_dir: Path | None = None,
                 progress: Progress | None = None, **options):
        self.crop_size = crop_size
        super().__init__(data, cache_dir=cache_dir, progress=progress, **options)
        if judge not in ("", "lite0"):
            raise ValueError(f"judge {judge!r} is not lite0, the only one")
        if judge:
            folder = cache_dir and cache_dir / f"{data['test'].fingerprint}-{self.canvas['test'].size}-surest{crop_size}"
            found = arrays(folder, lambda allocate: self._judge(allocate, progress), version=versions(["pictures", "proposal values", "backbones"]))
            self.columns["test"]["judged"] = torch.from_numpy(found["judged"])

    def _judge(self, allocate, progress: Progress | None) -> None:
        """Which of its five crops the judge is surest of, for every test picture."""
        network, store = lite0().eval(), self.stores["test"]
        judged = allocate("judged", (len(store.paths),), "int64")
        for indices, image, _ in store.batches(store.index_batches(32)):
            judged[indices] = surest_crop(network, image, self.columns["test"]["label"][torch.from_numpy(indices)], self.crop_size).numpy()
            if progress:
                progress("judge crops", int(indices[-1]) + 1, len(judged))

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
            values |= {"shown": chosen.masked_fill(undecided(weights), torch.nan), "shown_by_chance": shown.double().mean(1)}
        if "judged" in batch:
            chosen = weights.argmax(1)
            right = (chosen == batch["judged"]).double().masked_fill(undecided(weights) | (chosen >= 5), torch.nan)
            values |= {"surest": right, "surest_by_chance": torch.full_like(right, 1 / weights.shape[1]).masked_fill(right.isnan(), torch.nan)}
        return values


def undecided(weights: Tensor) -> Tensor:
    """weights (B, V) -> (B,): whether all weigh alike, so that no crop is chosen."""
    return weights.amax(1) - weights.amin(1) < 1e-9


@torch.no_grad()
def surest_crop(network: nn.Module, image: Tensor, label: Tensor, crop_size: int) -> Tensor:
    """image (B, 3, H, W) uint8, label (B,) of imagenette -> (B,): of the five crops the one where the picture's class is most probable.

    network: from pictures in [0, 1] to ImageNet's 1,000 scores.
    """
    crops = five_crops(image, crop_size)  # (B, 5, 3, s, s)
    scores = network(crops.flatten(0, 1).float() / 255).log_softmax(1).view(*crops.shape[:2], -1)  # (B, 5, 1000)
    classes = torch.tensor(IMAGENET)[label]  # (B,)
    return scores[torch.arange(len(classes)), :, classes].argmax(1)
