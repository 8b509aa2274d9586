"""Classification as a `Task`: photographs with one label each, top-1 and top-5, and what a table wants to know beside.

A table's own measures (which crop was chosen, how much a sampler magnifies the object) come from subclasses, which add
columns to the batches and values to the samples.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lib.data.canvas import Square
from lib.data.store import ImageStore, Progress
from lib.metrics.classification import top_k
from lib.models.sampler import low_resolution
from lib.training.loop import Batch
from lib.training.processes import WHOLE, Share

SPLITS = ("train", "val", "test")


class Labelled(Protocol):
    """One split of a data set."""

    path: Sequence[Path]
    size: np.ndarray  # (N, 2) as (H, W)
    label: np.ndarray  # (N,), 0 to len(classes) - 1
    classes: Sequence[str]
    fingerprint: str

    def __len__(self) -> int: ...


class ClassificationTask:
    """data: split -> `Labelled`. canvas: for images of many sizes, see `lib.data.canvas`; test_canvas: another for testing.

    view_size: of the low-resolution view. label_smoothing: of the cross-entropy. flip: mirror half of the training images.
    random_crop: train on crops of the squares, of random size and shape, enlarged to the square (torchvision's RandomResizedCrop).
    """

    lower_is_better = False

    def __init__(self, data: dict[str, Labelled], *, view_size: int, canvas: Square, test_canvas: Square | None = None,
                 label_smoothing: float = 0.0, flip: bool = False, random_crop: bool = False, cache_dir: Path | None = None,
                 progress: Progress | None = None):
        self.data, self.label_smoothing, self.flip, self.random_crop = data, label_smoothing, flip, random_crop
        self.canvas = {split: test_canvas or canvas if split == "test" else canvas for split in data}
        self.fingerprints = {split: one.fingerprint for split, one in data.items()}
        self.stores = {split: ImageStore(one.path, one.size, view_size, canvas=self.canvas[split], cache_dir=cache_dir, fingerprint=one.fingerprint,
                                         progress=progress) for split, one in data.items()}
        self.columns = {split: {"label": torch.from_numpy(np.asarray(one.label)).long(), **self.more_columns(one, self.canvas[split])}
                        for split, one in data.items()}

    def more_columns(self, data: Labelled, canvas: Square) -> dict[str, Tensor]:
        """Further columns of the batches, (N, ...) each; coordinates in the squares' pixels."""
        return {}

    def mirrored(self, name: str, column: Tensor, side: int) -> Tensor:
        """Column `name` of mirrored images of `side` pixels; pictures and heat maps (B, ..., H, W) turn, anything else stays."""
        return column.flip(-1) if name in ("image", "view", "annotation") else column

    def cropped(self, batch: Batch, crops: Tensor) -> Batch:
        """`batch` with its images cut to `crops` (B, 4), (x, y, w, h) in pixels, and enlarged again."""
        from torchvision.transforms.v2.functional import resized_crop

        side, view = batch["image"].shape[-1], batch["view"].shape[-2:]
        image = torch.stack([resized_crop(one, y, x, h, w, [side, side], antialias=True)
                             for one, (x, y, w, h) in zip(batch["image"], crops.tolist(), strict=True)])
        return batch | {"image": image, "view": (low_resolution(image, tuple(view)) * 255).round().to(torch.uint8)}

    def length(self, split: str, batch_size: int) -> int:
        return len(self.stores[split].index_batches(batch_size))

    def batches(self, split: str, batch_size: int, generator: torch.Generator | None = None, share: Share = WHOLE) -> Iterator[Batch]:
        store, columns = self.stores[split], self.columns[split]
        plan = store.index_batches(batch_size, generator)
        for whole, (indices, image, view) in zip(plan, store.batches([share.of(part) for part in plan]), strict=True):
            index = torch.from_numpy(np.asarray(indices))
            batch = {"image": image, "view": view, **{name: column[index] for name, column in columns.items()}}
            if generator is not None and self.random_crop:
                crops = share.of(random_crops(len(whole), image, generator))
                batch = self.cropped(batch, crops)
            if generator is not None and self.flip:
                chosen = share.of(torch.rand(len(whole), generator=generator) < 0.5)
                batch = {name: torch.where(chosen.view(-1, *[1] * (column.ndim - 1)), self.mirrored(name, column, image.shape[-1]), column)
                         for name, column in batch.items()}
            yield {"index": index, **batch}

    def losses(self, output: Tensor, batch: Batch, loss: str = "") -> dict[str, Tensor]:
        """output (B, classes): the cross-entropy; more outputs than classes are allowed, as in the released code."""
        return {"cross_entropy": cross_entropy(output, batch["label"], label_smoothing=self.label_smoothing)}

    def values(self, output: Tensor, batch: Batch, maps) -> dict[str, Tensor]:
        """top1, top5 (0 or 1), predicted, confidence (B,); output (B, V, classes): right where any of the V views is."""
        views = output if output.ndim == 3 else output[:, None]  # (B, V, classes)
        ranks = top_k(views.flatten(0, 1), batch["label"].repeat_interleave(views.shape[1]), (1, min(5, views.shape[2])))
        right = [found.view(views.shape[:2]).any(1).double() for found in ranks.values()]  # (B,) each
        confidence, predicted = views[:, 0].softmax(1).max(1)
        return {"top1": right[0], "top5": right[-1], "predicted": predicted, "confidence": confidence} | self.more_values(batch, maps)

    def more_values(self, batch: Batch, maps) -> dict[str, Tensor]:
        """Further values of each sample, from what the network's sampler gave."""
        return {}

    def validation_score(self, values: dict[str, np.ndarray]) -> float:
        return float(values["top1"].mean())


def random_crops(count: int, image: Tensor, generator: torch.Generator) -> Tensor:
    """(count, 4): crops of `image` (..., H, W) as (x, y, w, h), drawn as torchvision's RandomResizedCrop does by default."""
    from torchvision.transforms.v2 import RandomResizedCrop

    draw = RandomResizedCrop(image.shape[-1])
    with torch.random.fork_rng(devices=[]):  # it draws from the generator that dropout uses
        torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
        drawn = [draw.make_params([image]) for _ in range(count)]
    return torch.tensor([[one["left"], one["top"], one["width"], one["height"]] for one in drawn])
