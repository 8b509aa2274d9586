"""Predictors that do not look, and what is shown nothing: floors under the tables."""

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from lib.models.network import RowNetwork, declared


@declared("train_mean", "baselines")
class TrainMean(RowNetwork):
    """The mean training target of the sample's group, whatever the image shows.

    group: name of the batch's integer column (B,) that tells the group, one of `groups`.
    """

    def __init__(self, *, outputs: int, group: str, groups: int):
        super().__init__()
        self.group, self.inputs = group, (group,)
        self.register_buffer("means", torch.zeros(groups, outputs))

    def prepare(self, task) -> None:
        """Take the means from the task's training columns; a group that never occurs gets the mean over all."""
        target, group = task.columns["train"]["target"], task.columns["train"][self.group]
        for index in range(len(self.means)):
            members = target[group == index]
            self.means[index] = (members if len(members) else target).mean(0)

    def forward(self, group: Tensor) -> Tensor:
        """(B,) -> (B, outputs)."""
        return self.means[group]


@declared("featureless", "baselines")
class Featureless(RowNetwork):
    """A trained sampler's network, shown pictures blurred until nothing in them stands out: what does it look at then?

    Image and view are averaged over 4x4 cells and enlarged again: colours and light stay, no object does.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.inputs, self.gives_maps = network, network.inputs, network.gives_maps

    @property
    def sampler(self) -> nn.Module:
        return self.network.sampler

    def forward(self, *pictures: Tensor, return_maps: bool = False):
        """What `network` gives for the blurred pictures, (B, 3, H, W) uint8 each."""
        return self.network(*(self.blurred(picture) for picture in pictures), return_maps=return_maps)

    @staticmethod
    def blurred(picture: Tensor) -> Tensor:
        cells = adaptive_avg_pool2d(picture.float(), 4)  # (B, 3, 4, 4)
        return interpolate(cells, picture.shape[-2:], mode="bilinear").round().to(picture.dtype)
