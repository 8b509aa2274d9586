"""Saliency maps that no network made: the floor under the saliency tables, and the ceilings over them; and maps as PNG files hold them.

Each reads what the batch of a `lib.training.saliency.SaliencyTask` knows of the test images and gives a map at their full
size. The ceilings are for synthetic twins alone, whose fixations were drawn from a known density.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from lib.data.observers import leave_one_out
from lib.metrics import saliency as metrics
from lib.metrics.saliency import density_map
from lib.models.network import RowNetwork, declared

GROUND_TRUTH_SIGMA = 19.0  # px: SALICON's maps (salicon-evaluation); its twin's are made with it


@declared("constant_map", "baselines")
class ConstantMap(RowNetwork):
    """The same value everywhere: chance."""

    inputs = ("density",)

    def forward(self, density: Tensor) -> Tensor:
        """(B, H, W) -> (B, 1, H, W)."""
        return torch.full_like(density, 0.5)[:, None]


@declared("from_batch", "baselines")
class FromBatch(RowNetwork):
    """The batch's column `name` as the prediction: "centre" is the centre bias, "density" the ground truth's own map."""

    def __init__(self, name: str):
        super().__init__()
        self.inputs = (name,)

    def forward(self, found: Tensor) -> Tensor:
        """(B, H, W) -> (B, 1, H, W)."""
        return found[:, None]


@declared("ceiling", "baselines")
class Ceiling(RowNetwork):
    """What the true density can reach, told apart by metric: (B, H, W) twice -> (B, 3, H, W).

    The density itself is the optimum for AUC, NSS and information gain; the density over the pooled density of all images for
    shuffled AUC; the density blurred with the ground truth's own kernel for CC and KL, and nearly so for SIM. A finite set of
    fixations may exceed its ceiling by noise.
    """

    inputs = ("truth", "pooled")

    def forward(self, truth: Tensor, pooled: Tensor) -> Tensor:
        blurred = density_map(truth.double(), sigma=GROUND_TRUTH_SIGMA).to(truth)
        return torch.stack([truth, truth / pooled.clamp_min(1e-12), blurred], dim=1)


AT_FIXATIONS = ("nss", "auc", "auc_judd", "auc_shuffled", "ig")  # what an observer's fixations alone are scored by
CENTRE_SHARE = 0.1  # of the centre bias in the observers' density, for information gain: what nobody has looked at yet is not impossible


@declared("other_observers", "baselines")
class OtherObservers(RowNetwork):
    """How well people predict one another (`lib.data.observers`): of each picture the mean over observers that are left out.

    It gives no map but scores, (B, 5) float64 in the order of AT_FIXATIONS, which `lib.training.saliency` takes as they are. CC, SIM and
    KL it has not: one observer has no blurred map. Deviation for information gain: the others' density holds `CENTRE_SHARE` of centre
    bias. ValueError, one line, for data that do not know whose a fixation is.
    """

    inputs = ("index", "others", "centre")

    def prepare(self, task) -> None:
        self.chosen = task.chosen["test"]

    def forward(self, index: Tensor, others: Tensor, centre: Tensor) -> Tensor:
        """index (B,) among the test pictures; others, centre (B, H, W): fixations on other pictures, and the centre bias."""
        return torch.stack([self._scores(self.chosen.at(int(i)), *of_one) for i, *of_one in zip(index, others, centre, strict=True)])

    def _scores(self, index: int, others: Tensor, centre: Tensor) -> Tensor:
        found = []
        for left in leave_one_out(self.chosen.data, index):
            density, own = left.others.to(others.device), left.fixations.to(others.device)
            mixed = (1 - CENTRE_SHARE) * density / density.sum() + CENTRE_SHARE * centre / centre.sum()
            found.append([metrics.nss(density, own), metrics.auc(density, own), metrics.auc_judd(density, own),
                          metrics.auc_shuffled(density, own, others), metrics.information_gain(mixed, own, centre, min_max=False)])
        return torch.tensor(found, dtype=torch.float64, device=others.device).nanmean(0)  # an observer may have looked nowhere else


@declared("released_png", "baselines")
class Released(RowNetwork):
    """A network's maps as EML-NET's released evaluation leaves them: blurred, then 8 bits between their least and greatest value.

    sigma: of the Gaussian, in pixels of a map 480 high, as in eval_combined.py (edges repeated, cut at 4 sigma). Values are cut
    off to 256 steps, as there. Two things happen to KL and information gain: the stretch takes away a floor that the network
    may have kept, which can help, and cutting off makes zeros, which cost much where somebody looked.
    """

    def __init__(self, network: nn.Module, *, sigma: float = 5.0):
        super().__init__()
        self.network, self.sigma, self.inputs = network, sigma, network.inputs

    def forward(self, *inputs: Tensor) -> Tensor:
        """The network's maps (B, 1, H, W), in 256 steps from 0 to 1."""
        maps = self.network(*inputs)
        return torch.stack([torch.from_numpy(as_png(one[0].cpu().numpy(), self.sigma * one.shape[-2] / 480)) for one in maps])[:, None].to(maps)


def as_png(saliency: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """(H, W) -> the same blurred with `sigma` pixels, min-max normalised and cut off to 8 bits, in [0, 1]; a constant map is 0."""
    blurred = gaussian_filter(saliency.astype(np.float64), sigma, mode="nearest", truncate=4.0) if sigma else saliency.astype(np.float64)
    spread = blurred.max() - blurred.min()
    unit = (blurred - blurred.min()) / spread if spread > 1e-12 else np.zeros_like(blurred)
    return (np.floor(unit * 255) / 255).astype(np.float32)
