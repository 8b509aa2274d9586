"""Crop, look again, stop when sure: a small recurrent network of DT-RAM's kind, the rival of "Learning to Zoom" in its Table 4.

Li, Yang, Liu, Zhou, Wen, Xu: "Dynamic Computational Time for Visual Attention", ICCV workshops 2017. A recurrent network looks at the whole
picture, decides where to look closer, and after each look whether to answer now; both decisions are drawn, and learned by REINFORCE.

    look 1: the whole picture         \\
    look 2: a crop of half its side    > same network -> features -> GRU -> answer so far, stop?, where next
    look 3: a crop of a third         /

Deviations; the paper's code was not at hand, so what it leaves open is ours, too
    - When to stop is not drawn in training: with three looks at most the expectation that REINFORCE estimates is a sum of three terms, and is taken
      exactly. The answer is the mixture of the looks' answers, weighed by how likely each look is the last.
    - Where to look is not drawn either: crops are bilinear samples, and the gradient goes through them, as in spatial transformers.
    - Where: the mean position under a softmax over the look's last feature maps (one 1x1 convolution). A state behind global pooling knows no place.
    - The sides of the crops are fixed. A crop lies within the crop before it no more than the paper's glimpses do: anywhere in the picture.
    - Every look's classifier learns a little in every step: a tenth of the weight is spread evenly. The paper supervises intermediate steps fully.
    - A look costs `price`, in nats, so that stopping early is worth something; it enters the gradient alone.
    - In evaluation it stops at the first look that says so with more than a half, and the answer is that look's: nothing random.
    - One network for all looks, from the recipe of the other rows, at their size; no curriculum, no pretraining on crops.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.models.cam import LAST_MAPS, box_grid
from lib.models.network import declared
from lib.models.sampler import Sampled, SpatialSampler, identity_grid, low_resolution, resample
from lib.models.zoomed import TASK_NETWORKS, ZoomedNetwork

SIDES = (1.0, 1 / 2, 1 / 3)  # of the looks, as shares of the picture's
EVEN = 0.1  # of the weight in training


class Look(NamedTuple):
    """One look: what was seen, the state after it, and how likely it is the last if it is reached."""

    sampled: Sampled
    state: Tensor  # (B, C)
    stop: Tensor  # (B,)


class Looks(SpatialSampler):
    """The looks of a network with last maps and a linear layer `fc` (see `lib.models.cam`), which is taken off and belongs to the caller.

    The network is not registered here. In evaluation calling it gives the look at which it stops, as a `Sampled` whose saliency is where that
    look was wanted, uniform for the first.
    """

    def __init__(self, network: nn.Module, task_size: int, **options):
        super().__init__(task_size, task_size, **options)
        maps = next((getattr(network, name) for name in LAST_MAPS if hasattr(network, name)), None)
        if maps is None or not isinstance(getattr(network, "fc", None), nn.Linear):
            raise ValueError(f"{type(network).__name__} cannot look again: it needs last maps and one linear layer `fc`")
        width, network.fc = network.fc.in_features, nn.Identity()
        self._network = (network, maps)
        self.cell, self.stop, self.where = nn.GRUCell(width, width), nn.Linear(width, 1), nn.Conv2d(width, 1, 1)
        for layer in (self.stop, self.where):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def looks(self, image: Tensor, view: Tensor | None = None) -> list[Look]:
        """All looks at `image` (B, 3, H, W); view: a low-resolution view of the task's size, where that is at hand."""
        if view is None or tuple(view.shape[-2:]) != self.task_size:
            view = low_resolution(image, self.task_size)
        view = view / 255 if view.dtype == torch.uint8 else view
        sampled = Sampled(view, identity_grid(self.task_size, like=view).expand(len(view), -1, -1, -1), torch.ones_like(view[:, :1]))
        state, found = None, []
        for number in range(len(SIDES)):
            features, maps = self._features(self.normalize(sampled.image))
            state = self.cell(features, state)
            last = number + 1 == len(SIDES)
            found.append(Look(sampled, state, torch.ones_like(state[:, 0]) if last else self.stop(state)[:, 0].sigmoid()))
            if not last:
                sampled = self._closer(image, maps, sampled.grid, SIDES[number + 1])
        return found

    def _features(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled features (B, C) and last maps (B, C, h, w) of a normalised picture."""
        (network, module), kept = self._network, []
        hook = module.register_forward_hook(lambda module, inputs, output: kept.append(output))
        try:
            return network(seen), kept[-1]
        finally:
            hook.remove()

    def _closer(self, image: Tensor, maps: Tensor, grid: Tensor, side: float) -> Sampled:
        """The crop of `side` around where the maps of the look at `grid` say, moved to lie within the picture."""
        wanted = self.where(maps).float()
        heat = wanted.flatten(1).softmax(1).view_as(wanted)  # (B, 1, h, w)
        places = F.interpolate(grid.permute(0, 3, 1, 2), heat.shape[-2:], mode="area")  # (B, 2, h, w): what each cell of the maps shows
        centre = ((heat * places).sum((2, 3)) + 1) / 2  # (B, 2) in [0, 1]
        low = (centre - side / 2).clamp(0, 1 - side)
        crop = box_grid(torch.cat((low, low + side), dim=1), self.task_size)
        return Sampled(resample(image, crop, oversample=self.oversample), crop, heat)

    def chosen(self, looks: list[Look]) -> Tensor:
        """(B,): the first look that says stop with more than a half."""
        return (torch.stack([look.stop for look in looks], dim=1) > 0.5).int().argmax(1)

    def forward(self, image: Tensor, view: Tensor | None = None) -> Sampled:
        return self.of(self.looks(image, view))

    def of(self, looks: list[Look]) -> Sampled:
        """The look at which each picture of the batch stops."""
        stop, rows = self.chosen(looks), torch.arange(len(looks[0].state), device=looks[0].state.device)
        pictures, grids = (torch.stack([getattr(look.sampled, part) for look in looks])[stop, rows] for part in ("image", "grid"))
        heats = [F.interpolate(look.sampled.saliency, looks[-1].sampled.saliency.shape[-2:], mode="area") for look in looks]
        return Sampled(pictures, grids, torch.stack(heats)[stop, rows])


class LookAgain(ZoomedNetwork):
    """`Looks` with a classifier of the state: logits (B, K); in training the logarithm of the expected answer."""

    def __init__(self, network: nn.Module, task_size: int, *, outputs: int, price: float = 0.02, normalize: tuple | None = None):
        sampler = Looks(network, task_size, oversample=2, normalize=normalize)
        super().__init__(sampler, network)
        self.answer, self.price = nn.Linear(sampler.cell.hidden_size, outputs), price

    def forward(self, image: Tensor, view: Tensor | None = None, *, return_maps: bool = False):
        looks = self.sampler.looks(image, view)
        answers = torch.stack([self.answer(look.state) for look in looks], dim=1)  # (B, T, K)
        if self.training:
            last = ends([look.stop for look in looks])  # (B, T)
            weight = (1 - EVEN) * last + EVEN / last.shape[1]
            output = (answers.float().log_softmax(2) + weight[..., None].clamp_min(1e-9).log()).logsumexp(1)
            output = Charged.apply(output, (last * torch.arange(last.shape[1], device=last.device)).sum(1), self.price)
        else:
            output = answers[torch.arange(len(answers), device=answers.device), self.sampler.chosen(looks)]
        return (output, self.sampler.of(looks)) if return_maps else output


def ends(stops: list[Tensor]) -> Tensor:
    """How likely each look is the last (B, T), from how likely it is if it is reached; sums to 1 where the last one's is 1."""
    reached, found = torch.ones_like(stops[0]), []
    for stop in stops:
        found.append(reached * stop)
        reached = reached * (1 - stop)
    return torch.stack(found, dim=1)


class Charged(torch.autograd.Function):
    """`output` as it is, and a loss of `price` times the mean of `amount` (B,) in the gradient."""

    @staticmethod
    def forward(ctx, output: Tensor, amount: Tensor, price: float) -> Tensor:
        ctx.price, ctx.count = price, len(amount)
        return output.clone()

    @staticmethod
    def backward(ctx, push: Tensor) -> tuple[Tensor, Tensor, None]:
        return push, push.new_full((ctx.count,), ctx.price / ctx.count), None


@declared("look_again", "layer", "backbones", "cam", "dtram")
def look_again(*, task: str, outputs: int, task_size: int) -> LookAgain:
    kind = TASK_NETWORKS[task]
    return LookAgain(kind.build(outputs), task_size, outputs=outputs, normalize=kind.normalize)
