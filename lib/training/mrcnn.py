"""Mr-CNN as a `Task`: single crops to learn from, whole squares to predict a map from, scored as every saliency network here is.

Liu et al., CVPR 2015, as in `lib.data.patches`. Training: the cross-entropy of one logit a crop. Validation and test: the
network's logits at 50x50 positions of a photograph, squashed by a sigmoid, enlarged bilinearly, nothing else.

Where the 50x50 values lie: value i of a row belongs to the crop [c - 21, c + 21) around c = stride * i + stride // 2 of a square of
50 * stride pixels (strides 8, 5, 3). A crop of even size has its middle at the edge before pixel c: at stride * i + stride // 2 in
coordinates in which the square reaches from 0 to 50 * stride. `align_corners=False` takes value i for the middle of the i-th of 50
equal cells, stride * i + stride / 2. At stride 8 the two are the same; at 5 and 3 the crop's middle is half a pixel of that square
(2.0 and 3.4 pixels of a photograph of 1,024) nearer to the top left.

Deviations from the coursework: the network's map is enlarged bilinearly (one implementation used bicubic, which leaves [0, 1]);
its score, `bristol`, is reported beside the metrics of the field. No smoothing, as there, unless `smooth` says otherwise.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from lib.data.patches import PatchStore, Sampling, SquareStore
from lib.data.saliency_store import Selection
from lib.data.store import Progress
from lib.metrics.saliency.agreement import bristol_agreement
from lib.models.mrcnn import POINTS
from lib.training.loop import Batch
from lib.training.processes import WHOLE, Share
from lib.training.saliency import SaliencyTask, enlarge

LATTICE = (POINTS, POINTS)  # an output of this size holds a network's logits; any other is a map of its own making
SIZE = (150, 200)  # of the maps that validation compares


class PatchTask(SaliencyTask):
    """Crops of training images; squares of the others, with everything that `SaliencyTask` scores by.

    chosen: a `Selection` for each of train, val and test; ValueError, one line, where two of them share an image. smooth: blur the 50x50
    probabilities with a Gaussian of this many cells before they are enlarged. patch_summary: see `PatchStore.summary`.
    """

    evaluation_batch = 8  # the maps within the network are large

    def __init__(self, chosen: dict[str, Selection], *, sampling: Sampling, seed: int = 0, smooth: float | None = None,
                 size: tuple[int, int] = SIZE, cache_dir: Path | None = None, progress: Progress | None = None):
        if tuple(size) == LATTICE:
            raise ValueError(f"size {LATTICE}: maps of this size would be taken for logits; choose another")
        check_disjoint(chosen)
        self.sampling, self.seed, self.smooth = sampling, seed, smooth
        super().__init__(chosen, size, flip=False, cache_dir=cache_dir, progress=progress)
        self.patch_summary = self.stores["train"].summary()

    def _store(self, split: str, cache_dir: Path | None, progress: Progress | None) -> PatchStore | SquareStore:
        if split != "train":
            return SquareStore(self.chosen[split], cache_dir=cache_dir, progress=progress)
        return PatchStore(self.chosen[split], sampling=self.sampling, seed=self.seed, cache_dir=cache_dir, progress=progress)

    def batches(self, split: str, batch_size: int, generator: torch.Generator | None = None, share: Share = WHOLE) -> Iterator[Batch]:
        """view_400, view_250, view_150 (B, 3, h, w) uint8 of crops (train, h = w = 48, with label (B,)) or of whole squares.

        index counts crops for train, images otherwise; val and test also have the columns of `SaliencyTask.batches`.
        """
        store = self.stores[split]
        for indices in map(share.of, self._plan(split, batch_size, generator)):
            batch = {"index": torch.from_numpy(indices), **store.fetch(indices)}
            yield batch | ({"label": torch.from_numpy(store.labels[indices]).float()} if split == "train" else self._truth(split, indices))

    def losses(self, output: Tensor, batch: Batch, loss: str = "") -> dict[str, Tensor]:
        """output (B,) logits against the crops' labels."""
        if loss not in ("", "bce"):
            raise ValueError(f"loss {loss!r} is not bce, the only one")
        return {"bce": binary_cross_entropy_with_logits(output, batch["label"])}

    def values(self, output: Tensor, batch: Batch, maps=None) -> dict[str, Tensor]:
        """Those of `SaliencyTask`, and bristol (B,): the coursework's score, on the map that is scored by CC.

        output: a network's logits (B, 1, 50, 50), or maps (B, C, H, W) or scores (B, 5) that are taken as they are.
        """
        if output.ndim == 2:
            return super().values(output, batch, maps)
        if tuple(output.shape[-2:]) == LATTICE:
            output = blurred(torch.sigmoid(output), self.smooth) if self.smooth else torch.sigmoid(output)
        output = enlarge(output, tuple(batch["density"].shape[-2:]))
        return super().values(output, batch, maps) | {"bristol": bristol_agreement(output[:, -1], batch["density"])}


def blurred(maps: Tensor, sigma: float) -> Tensor:
    """(B, C, h, w) blurred with a Gaussian of `sigma` cells, borders repeated, cut at 4 sigma."""
    return torch.from_numpy(gaussian_filter(maps.cpu().numpy(), (0, 0, sigma, sigma), mode="nearest", truncate=4.0)).to(maps)


def check_disjoint(chosen: dict[str, Selection]) -> None:
    """ValueError, one line, where two splits share an image of one data set."""
    members = {split: {(one.data.fingerprint, int(index)) for index in one.indices} for split, one in chosen.items()}
    splits = list(members)
    for i, first in enumerate(splits):
        for second in splits[i + 1:]:
            if shared := members[first] & members[second]:
                index = min(shared)[1]
                name = chosen[first].data.name(index)
                raise ValueError(f"{chosen[first].data.root}: {len(shared)} images are in both {first} and {second} ({name}); split them apart")
