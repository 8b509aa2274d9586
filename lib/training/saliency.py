"""Saliency prediction as a `Task`: EML-NET's losses at the network's size, every metric at the photograph's own.

Training and validation compare maps at `size`. Test images are scored at their full size: the prediction is enlarged
bilinearly, and shuffled AUC's negatives are the fixations of all other test images.

A prediction with three channels is a ceiling that is told apart by metric: the first is scored by AUC, NSS and information
gain, the second by shuffled AUC, the third by CC, SIM and KL (see `Ceiling` in `lib.models.saliency_baselines`).
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from lib.data.saliency_store import FullSize, GroundTruth, Selection
from lib.data.store import ImageStore, Progress
from lib.metrics import saliency as metrics
from lib.models.grids import zoom_at
from lib.models.saliency_baselines import AT_FIXATIONS
from lib.models.sampler import Sampled
from lib.training.loop import Batch
from lib.training.processes import WHOLE, Share
from lib.training.saliency_losses import emlnet_loss_parts, mse

SPLITS = ("train", "val", "test")
LOSSES = {"eml": emlnet_loss_parts, "mse": lambda prediction, density, fixations: {"mse": mse(prediction, density)}}


class SaliencyTask:
    """Photographs with their fixations; `chosen` holds a `Selection` for each split.

    size: of the network's input and output, (height, width). flip: mirror half of the training images.
    """

    lower_is_better = False
    evaluation_batch = 16

    def __init__(self, chosen: dict[str, Selection], size: tuple[int, int], *, flip: bool = True, cache_dir: Path | None = None,
                 progress: Progress | None = None):
        for split, one in chosen.items():
            if not len(one):
                raise ValueError(f"{one.data.root}: holds too few images, none is left for {split}; give more of the data set")
        self.chosen, self.size, self.flip = chosen, size, flip
        self.fingerprints = {split: one.fingerprint for split, one in chosen.items()}
        self.stores = {split: self._store(split, cache_dir, progress) for split in chosen}
        self.truth = {split: GroundTruth(chosen[split], size, cache_dir=cache_dir, progress=progress) for split in ("train", "val")}
        self.centre = self.truth["train"].mean().float()  # (h, w)
        self.full = FullSize(chosen["test"])

    def _store(self, split: str, cache_dir: Path | None, progress: Progress | None) -> ImageStore:
        chosen = self.chosen[split]
        sizes = np.array([chosen.data.size(chosen.at(i)) for i in range(len(chosen))])
        paths = [chosen.data.path(chosen.at(i)) for i in range(len(chosen))]
        reduce = max(1, min(int(sizes[:, 0].min()) // self.size[0], int(sizes[:, 1].min()) // self.size[1]))
        return ImageStore(paths, sizes, self.size, cache_dir=cache_dir, fingerprint=chosen.fingerprint, reduce=reduce, progress=progress)

    def length(self, split: str, batch_size: int) -> int:
        return len(self.stores[split].index_batches(batch_size))

    def batches(self, split: str, batch_size: int, generator: torch.Generator | None = None, share: Share = WHOLE) -> Iterator[Batch]:
        """view (B, 3, h, w) uint8; density and fixations (B, h, w), for test (B, H, W); for test also centre, others and truth."""
        plan = self._plan(split, batch_size, generator)
        for whole, (indices, _, view) in zip(plan, self.stores[split].batches([share.of(part) for part in plan]), strict=True):
            batch = {"index": torch.from_numpy(np.asarray(indices)), "view": view} | self._more(split, indices) | self._truth(split, indices)
            if split != "test" and generator is not None and self.flip:
                mirrored = share.of(torch.rand(len(whole), generator=generator) < 0.5)
                for name in batch.keys() & {"view", "image", "density", "fixations"}:
                    shape = (-1,) + (1,) * (batch[name].ndim - 1)
                    batch[name] = torch.where(mirrored.view(shape), batch[name].flip(-1), batch[name])
            yield batch

    def _plan(self, split: str, batch_size: int, generator: torch.Generator | None) -> list[np.ndarray]:
        """The epoch's batches of indices; test images of one batch have one size."""
        plan = self.stores[split].index_batches(batch_size, generator)
        if split == "test":  # the store groups images by their shrunk size; they are scored at their own
            sizes = self.full.sizes
            plan = [part[[sizes[i] == size for i in part]] for part in plan for size in dict.fromkeys(sizes[i] for i in part)]
        return plan

    def _more(self, split: str, indices: np.ndarray) -> Batch:
        """Further inputs of a batch."""
        return {}

    def _truth(self, split: str, indices: np.ndarray) -> Batch:
        """What a batch's images are scored by: density and fixations at `size`; test images by more, see `_full`."""
        if split == "test":
            return self._full(indices)
        return {"density": self.truth[split].density(indices), "fixations": self.truth[split].fixations(indices)}

    def _full(self, indices: np.ndarray) -> Batch:
        """What test images are scored by, at their full size (one size a batch)."""
        full, indices = self.full, [int(i) for i in indices]
        size = full.sizes[indices[0]]
        columns = {"density": torch.stack([full.density(i) for i in indices]), "fixations": torch.stack([full.counts(i) for i in indices]),
                   "others": torch.stack([full.negatives(i) for i in indices]),
                   "centre": enlarge(self.centre[None, None], size)[:, 0].expand(len(indices), *size)}
        if self.chosen["test"].data.is_twin:
            columns |= {"truth": torch.stack([full.truth(i) for i in indices]), "pooled": full.pooled(size).expand(len(indices), *size)}
        return columns

    def losses(self, output: Tensor, batch: Batch, loss: str = "eml") -> dict[str, Tensor]:
        """output (B, 1, h, w) in [0, 1] against the batch's maps."""
        if loss not in LOSSES:
            raise ValueError(f"loss {loss!r} is not one of {', '.join(LOSSES)}")
        return LOSSES[loss](output[:, 0], batch["density"], batch["fixations"])

    def values(self, output: Tensor, batch: Batch, maps=None) -> dict[str, Tensor]:
        """nss, cc, sim, kl (B,); for test images also auc, auc_judd, auc_shuffled and ig (bits, over the centre bias).

        output: maps (B, C, h, w), or scores (B, 5) of a row that makes no map, in the order of AT_FIXATIONS.
        """
        if output.ndim == 2:
            return dict(zip(AT_FIXATIONS, output.unbind(1), strict=True))
        output = enlarge(output, tuple(batch["density"].shape[-2:]))
        at_points, shuffled, against_map = (output[:, i] for i in ((0, 0, 0) if output.shape[1] == 1 else (0, 1, 2)))
        if "others" not in batch:
            return against_maps(against_map, batch["density"]) | {"nss": metrics.nss(at_points, batch["fixations"])}
        return against_maps(against_map, batch["density"]) | at_fixations(at_points, shuffled, batch["fixations"], batch["others"], batch["centre"])

    def validation_score(self, values: dict[str, np.ndarray]) -> float:
        """NSS, the metric that EML-NET's loss is about; CC where the data set has no fixation points."""
        name = "nss" if np.isfinite(values["nss"]).any() else "cc"
        return float(np.nanmean(values[name]))


class FullPictureTask(SaliencyTask):
    """`SaliencyTask` whose batches hold the photographs too: image (B, 3, H, W) uint8, all of one size.

    They are read whole and averaged down by a whole number, as far as that leaves twice the pixels of `size` along each axis.

    Of networks with a sampler, fixation_zoom (B,): how much larger than in plain resizing it shows the fixated places, linear, a mean.
    """

    def __init__(self, chosen: dict[str, Selection], size: tuple[int, int], *, cache_dir: Path | None = None,
                 progress: Progress | None = None, **options):
        super().__init__(chosen, size, cache_dir=cache_dir, progress=progress, **options)
        self.pictures = {}
        for split, one in chosen.items():
            sizes = np.array([one.data.size(one.at(i)) for i in range(len(one))])
            if len(np.unique(sizes, axis=0)) > 1:
                raise ValueError(f"{one.data.root}: has photographs of several sizes, a batch has one; "
                                 "choose a data set of one size, OSIE or SALICON")
            paths = [one.data.path(one.at(i)) for i in range(len(one))]
            reduce = max(1, min(int(sizes[0, axis]) // (2 * size[axis]) for axis in (0, 1)))
            self.pictures[split] = ImageStore(paths, sizes, 8, cache_dir=cache_dir, fingerprint=one.fingerprint, reduce=reduce,
                                              progress=progress)

    def _more(self, split: str, indices: np.ndarray) -> Batch:
        return {"image": self.pictures[split].fetch(indices)[0]}

    def values(self, output: Tensor, batch: Batch, maps=None) -> dict[str, Tensor]:
        zoom = {"fixation_zoom": fixation_zoom(maps.grid, batch["fixations"])} if isinstance(maps, Sampled) else {}
        return super().values(output, batch) | zoom


def fixation_zoom(grid: Tensor, fixations: Tensor) -> Tensor:
    """The mean linear zoom (B,) at the fixated pixels of `fixations` (B, H, W) by `grid` (B, h, w, 2), float64; NaN without any."""
    found = []
    for one, counts in zip(grid, fixations, strict=True):
        row, column = counts.nonzero(as_tuple=True)
        places = [at.double() * (2 / (side - 1)) - 1 for at, side in ((column, counts.shape[1]), (row, counts.shape[0]))]
        zoom = zoom_at(one[None].double(), torch.stack(places, dim=-1)[None])[0]
        weight = counts[row, column].double() * zoom.isfinite()
        found.append((zoom.nan_to_num() * weight).sum() / weight.sum())
    return torch.stack(found)


def against_maps(prediction: Tensor, density: Tensor) -> dict[str, Tensor]:
    """CC, SIM and KL of predictions (B, H, W) against published maps, (B,) each."""
    return {"cc": metrics.cc(prediction, density), "sim": metrics.sim(prediction, density), "kl": metrics.kl_divergence(prediction, density)}


def at_fixations(prediction: Tensor, shuffled: Tensor, fixations: Tensor, others: Tensor, baseline: Tensor) -> dict[str, Tensor]:
    """NSS, both AUCs, shuffled AUC (of `shuffled`) and information gain over `baseline` in bits; maps (B, H, W), (B,) each.

    Information gain takes the maps as densities as they are (no min-max): with it a map would be credited for a zero.
    """
    return {"nss": metrics.nss(prediction, fixations), "auc": metrics.auc(prediction, fixations),
            "auc_judd": metrics.auc_judd(prediction, fixations), "auc_shuffled": metrics.auc_shuffled(shuffled, fixations, others),
            "ig": metrics.information_gain(prediction, fixations, baseline, min_max=False)}


def enlarge(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, C, h, w) -> (B, C, H, W), bilinear; the same tensor where the size is right."""
    return maps if tuple(maps.shape[-2:]) == tuple(size) else interpolate(maps.float(), size, mode="bilinear")
