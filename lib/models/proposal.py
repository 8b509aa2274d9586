"""Salience map for region proposal: five crops, a small network that weighs them, one classifier behind.

Report at github.com/JasmineLi-805/cse490-DeepLearning-Project (2021), code in a fork of timm (pytorch-image-models of the same
owner, timm/models/scresnet.py). Each picture is cut into four corners and centre; every crop, small and grey, gets one score;
Gumbel softmax (Jang et al., arXiv 1611.01144) makes weights of the scores; the sum of the weighted crops, one blended picture,
goes through the classifier, and the classification loss trains all of it.

    image (B, 3, H, W) -> crops (B, V, 3, s, s) -> grey, small (B V, 1, d, d) -> scores (B, V) -> weights -> blend (B, 3, s, s)

Images are uint8, or float in [0, 1]; crops count from the image's top left corner; V is 5, or 6 with the whole image squashed.

Deviations from the released code (commit 56bbba2 unless said otherwise)
    - It makes the crops in its data set and hands the small grey ones over as a fourth channel, padded with zeros that the
      model cuts off again. Here the model takes the whole picture; the head sees the same small grey crop, never the zeros.
    - The small crop is made in float as Pillow makes it in bytes: up to 1.3 of 255 grey levels apart on 37 photographs.
    - Evaluation is deterministic by default. The release draws Gumbel noise there too: `evaluation="sample"`. Its later history
      evaluates with the crop of the highest score: `evaluation="argmax"`.
    - The classifier has ten outputs. The release leaves ResNet-18 its 1000 for ten classes: `num_classes=1000`.
    - New: straight-through choice, temperature schedule, normalisation, the baselines, `norm="group"` for small batches.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.models.backbones import _norm, small_classifier
from lib.models.network import RowNetwork
from lib.models.sampler import Normalize, like_weights, low_resolution

__all__ = ["CropOracle", "FixedChoice", "Proposal", "RegionProposal", "ScoringHead", "best_of_views", "crop_boxes", "five_crops",
           "proposal_resnet18", "small_classifier"]

VIEWS = ("top left", "top right", "bottom left", "bottom right", "centre", "whole image")
GREY = (0.299, 0.587, 0.114)  # ITU-R 601, as Pillow and torchvision weigh red, green and blue


class Proposal(NamedTuple):
    """What was chosen, and what the classifier saw of it."""

    weights: Tensor  # (B, V), sums to 1
    scores: Tensor | None  # (B, V), the head's, before the softmax; None without a head
    image: Tensor  # (B, 3, s, s) float in [0, 1], the blend, before normalisation
    boxes: Tensor  # (V, 4) as (x, y, w, h), pixels of the image: where the views lie


# --- crops --------------------------------------------------------------------------------------------------------------


def crop_boxes(size: tuple[int, int], crop: int, views: int = 5) -> Tensor:
    """Where the views of an image of `size` (H, W) lie: (V, 4) int64 as (x, y, w, h), in the order of `VIEWS`.

    The corners and the centre are squares of `crop` pixels, as torchvision's FiveCrop cuts them; the sixth view is the whole
    image. Raises ValueError for other numbers of views, and where the crop does not fit.

    Example:
        >>> crop_boxes((336, 336), 224)[[0, 4]].tolist()  # upper left, and centre
        [[0, 0, 224, 224], [56, 56, 224, 224]]
    """
    return torch.tensor(_boxes(size, crop, views))


def _boxes(size: tuple[int, int], crop: int, views: int) -> list[tuple[int, int, int, int]]:
    height, width = size
    if views not in (5, 6):
        raise ValueError(f"views is {views}, expected 5 (corners and centre) or 6 (with the whole image)")
    if not 0 < crop <= min(size):
        raise ValueError(f"a crop of {crop} px does not fit into an image of {width}x{height} px")
    right, bottom = width - crop, height - crop  # halves are rounded to even, as Python's round does; it cannot be exported
    corners = [(0, 0), (right, 0), (0, bottom), (right, bottom), ((right + right % 4 // 3) // 2, (bottom + bottom % 4 // 3) // 2)]
    return [(x, y, crop, crop) for x, y in corners] + [(0, 0, width, height)] * (views - 5)


def five_crops(images: Tensor, size: int, *, views: int = 5) -> Tensor:
    """images (B, C, H, W) -> (B, V, C, size, size) of the same dtype: corners, centre, with 6 views also the whole image.

    The whole image is resized to the square, anti-aliased, its aspect ratio lost, as in the release's later history.

    Example:
        >>> five_crops(torch.rand(2, 3, 96, 96), 64, views=6).shape
        torch.Size([2, 6, 3, 64, 64])
    """
    boxes = _boxes(tuple(images.shape[-2:]), size, views)[:5]
    crops = [images[..., y:y + size, x:x + size] for x, y, _, _ in boxes]
    if views == 6:
        whole = low_resolution(images, size)
        crops.append((whole * 255).round().to(torch.uint8) if images.dtype == torch.uint8 else whole.to(images.dtype))
    return torch.stack(crops, dim=1)


def small_grey(crops: Tensor, size: int) -> Tensor:
    """crops (B, V, 3, s, s), float in [0, 1] -> what the head looks at, (B V, 1, size, size), in [0, 1].

    In Pillow's order: rows, then columns, then grey, and what bicubic weights overshoot is cut off after each pass.
    """
    small = crops.flatten(0, 1)  # (B V, 3, s, s)
    for shape in ((small.shape[2], size), (size, size)):
        small = F.interpolate(small, shape, mode="bicubic", antialias=True).clamp(0, 1)
    red, green, blue = small.split(1, dim=1)  # (B V, 1, size, size) each
    return GREY[0] * red + GREY[1] * green + GREY[2] * blue


# --- who weighs them ----------------------------------------------------------------------------------------------------


class ScoringHead(nn.Module):
    """One score for each small grey crop: (N, 1, down_size, down_size) -> (N,). At least 15 px.

    Three 3x3 convolutions of stride 2 without padding, 1-8-16-32 channels, each with normalisation and ReLU6, and one linear
    layer over all that is left: 6,289, 7,569, 13,201 and 29,329 parameters at 32, 64, 128 and 224 px. norm: "batch" as
    released, or "group" (8 channels a group), which does not mix crops of a batch.

    Example:
        >>> head = ScoringHead(64)
        >>> head(torch.rand(10, 1, 64, 64)).shape, sum(weight.numel() for weight in head.parameters())
        (torch.Size([10]), 7569)
    """

    def __init__(self, down_size: int, *, norm: str = "batch"):
        super().__init__()
        if norm not in ("batch", "group"):
            raise ValueError(f"norm {norm!r} is not one of batch, group")
        if down_size < 15:
            raise ValueError(f"down_size is {down_size}, three unpadded convolutions need at least 15 px")
        self.down_size, side, layers = down_size, down_size, []
        for inputs, outputs in ((1, 8), (8, 16), (16, 32)):
            normalised = nn.BatchNorm2d(outputs) if norm == "batch" else _norm(outputs)
            layers += [nn.Conv2d(inputs, outputs, 3, stride=2), normalised, nn.ReLU6(inplace=True)]
            side = (side - 3) // 2 + 1
        self.blocks = nn.Sequential(*layers)  # (N, 32, side, side)
        self.fc = nn.Linear(32 * side * side, 1)

    def forward(self, crops: Tensor) -> Tensor:
        return self.fc(self.blocks(like_weights(crops, self)).flatten(1)).squeeze(1)


class CropSampler(nn.Module):
    """Cuts the views and blends them by the weights that a subclass gives: image -> `Proposal`."""

    looks_at: str | None = None  # a part of the batch that goes in beside the image

    def __init__(self, crop_size: int, views: int = 5):
        super().__init__()
        self.crop_size, self.views = crop_size, views

    def cut(self, image: Tensor) -> Tensor:
        """image (B, 3, H, W), uint8 or float -> (B, V, 3, s, s), float in [0, 1]."""
        if image.ndim != 4 or image.shape[1] != 3:
            raise ValueError(f"expected images (B, 3, H, W), got {tuple(image.shape)}")
        image = image if image.dtype == torch.uint8 else image.to(torch.promote_types(image.dtype, torch.float32))
        crops = five_crops(image, self.crop_size, views=self.views)
        return crops.float() / 255 if image.dtype == torch.uint8 else crops

    def weigh(self, crops: Tensor, given: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """crops (B, V, 3, s, s) -> weights (B, V), scores (B, V) or None."""
        raise TypeError(f"{type(self).__name__} does not say which crop to take: write its weigh()")

    def forward(self, image: Tensor, given: Tensor | None = None) -> Proposal:
        crops = self.cut(image)
        weights, scores = self.weigh(crops, given)
        blend = (weights[:, :, None, None, None] * crops).sum(dim=1)  # (B, 3, s, s); no matmul, so float32 under autocast too
        return Proposal(weights, scores, blend, crop_boxes(tuple(image.shape[-2:]), self.crop_size, self.views))


class SalienceSampler(CropSampler):
    """Weights from the scoring head by Gumbel softmax; see `RegionProposal`."""

    def __init__(self, head: ScoringHead, crop_size: int, views: int = 5, *, choice: str = "soft", temperature: float = 1.0,
                 final_temperature: float | None = None, evaluation: str | None = None):
        super().__init__(crop_size, views)
        evaluation = evaluation or ("argmax" if choice == "hard" else "softmax")
        if choice not in ("soft", "hard"):
            raise ValueError(f"choice {choice!r} is not one of soft, hard")
        if evaluation not in ("softmax", "argmax", "sample"):
            raise ValueError(f"evaluation {evaluation!r} is not one of softmax, argmax, sample")
        if not (temperature > 0 and (final_temperature is None or final_temperature > 0)):
            raise ValueError(f"temperatures must be positive, got {temperature} and {final_temperature}")
        self.head, self.hard, self.evaluation = head, choice == "hard", evaluation
        self.first, self.last = temperature, temperature if final_temperature is None else final_temperature
        self.register_buffer("temperature", torch.tensor(float(temperature)))  # saved: softmax evaluation depends on it

    def at(self, progress: float) -> None:
        """Set the temperature for `progress` through training, 0 to 1: exponentially from the first to the last."""
        self.temperature.fill_(self.first * (self.last / self.first) ** min(max(progress, 0.0), 1.0))

    def weigh(self, crops: Tensor, given: Tensor | None = None) -> tuple[Tensor, Tensor]:
        scores = self.head(small_grey(crops, self.head.down_size)).float().view(crops.shape[:2])  # (B, V)
        if self.training or self.evaluation == "sample":
            return F.gumbel_softmax(scores, tau=self.temperature, hard=self.hard, dim=1), scores
        if self.evaluation == "argmax":
            return F.one_hot(scores.argmax(dim=1), self.views).to(scores.dtype), scores
        return (scores / self.temperature).softmax(dim=1), scores


class FixedSampler(CropSampler):
    """Weights that do not look at the crops; see `FixedChoice`."""

    def __init__(self, crop_size: int, views: int, kind: str):
        super().__init__(crop_size, 6 if kind == "full" else views)
        if kind not in ("centre", "full", "mean", "random", "object"):
            raise ValueError(f"kind {kind!r} is not one of centre, full, mean, random, object")
        self.kind, self.looks_at = kind, "coverage" if kind == "object" else None

    def weigh(self, crops: Tensor, given: Tensor | None = None) -> tuple[Tensor, None]:
        count = crops.shape[0]
        if self.kind == "mean":
            return crops.new_full((count, self.views), 1 / self.views), None
        if self.kind == "random":
            which = torch.randint(self.views, (count,), device=crops.device)
        elif self.kind == "object":
            if given is None or given.shape != crops.shape[:2]:
                raise ValueError(f"kind 'object' needs the share of the object that each view shows, {tuple(crops.shape[:2])}")
            which = given.argmax(dim=1)
        else:
            which = torch.full((count,), VIEWS.index("centre") if self.kind == "centre" else 5, device=crops.device)
        return F.one_hot(which, self.views).to(crops.dtype), None


# --- networks -----------------------------------------------------------------------------------------------------------


class CroppedNetwork(RowNetwork):
    """A classifier behind a `CropSampler`: logits (B, classes) for images (B, 3, H, W), uint8 or float in [0, 1].

    `return_maps=True` gives the `Proposal` too, see `RegionProposal`.
    normalize: (mean, std) of what the classifier sees, None as released; the head always sees [0, 1].
    """

    gives_maps = True
    per_crop = False  # whether evaluation gives logits for each crop

    def __init__(self, sampler: CropSampler, classifier: nn.Module, *, normalize: tuple | None = None):
        super().__init__()
        self.sampler, self.classifier = sampler, classifier
        self.normalize = Normalize(*normalize) if normalize else nn.Identity()
        self.inputs = ("image", sampler.looks_at) if sampler.looks_at else ("image",)  # the parts of a batch that forward takes

    def forward(self, image: Tensor, given: Tensor | None = None, *, return_maps: bool = False):
        proposal = self.sampler(image, given)
        output = self.classifier(like_weights(self.normalize(proposal.image), self.classifier))
        return (output, proposal) if return_maps else output


class RegionProposal(CroppedNetwork):
    """The project's model: `head` weighs the crops, `classifier` sees their weighted sum, both trained together.

    crop_size: side of the square crops, what the classifier gets. choice: "soft" blends by the Gumbel softmax's weights (as
    released), "hard" takes one crop and passes the soft weights' gradient straight through. temperature: of the Gumbel
    softmax; with final_temperature it goes there exponentially over training, as `at` is told. evaluation: "softmax" (by
    default where the choice is soft) blends without noise, "argmax" (by default where it is hard) takes the highest score,
    "sample" draws as in training: the release, whose accuracy therefore changes from one evaluation to the next.
    Noise comes from torch's global generator. normalize: see `CroppedNetwork`.

    Example:
        >>> model = RegionProposal(small_classifier(), ScoringHead(32), crop_size=64).eval()
        >>> output, maps = model(torch.rand(2, 3, 96, 96), return_maps=True)
        >>> output.shape, maps.weights.shape, maps.image.shape
        (torch.Size([2, 10]), torch.Size([2, 5]), torch.Size([2, 3, 64, 64]))
    """

    def __init__(self, classifier: nn.Module, head: ScoringHead, *, crop_size: int, views: int = 5, choice: str = "soft",
                 temperature: float = 1.0, final_temperature: float | None = None, evaluation: str | None = None,
                 normalize: tuple | None = None):
        sampler = SalienceSampler(head, crop_size, views, choice=choice, temperature=temperature,
                                  final_temperature=final_temperature, evaluation=evaluation)
        super().__init__(sampler, classifier, normalize=normalize)

    def at(self, progress: float) -> None:
        """Where training is, 0 to 1: sets the temperature. The training loop calls it before a step."""
        self.sampler.at(progress)


class FixedChoice(CroppedNetwork):
    """The same classifier without a head. kind: what it sees.

    "centre": the centre crop. "full": the whole image, squashed to the crop's size. "mean": all views blended alike.
    "random": a view drawn uniformly, in evaluation too. "object": the view that shows most of the object, the first of
    equals; the batch's "coverage" (B, V) tells, so only data with boxes have this upper bound (`lib.data.imagenette`).

    Example:
        >>> output, maps = FixedChoice(small_classifier(), 64, kind="centre")(torch.rand(1, 3, 96, 96), return_maps=True)
        >>> maps.weights.tolist()
        [[0.0, 0.0, 0.0, 0.0, 1.0]]
    """

    def __init__(self, classifier: nn.Module, crop_size: int, *, kind: str = "centre", views: int = 5, normalize: tuple | None = None):
        super().__init__(FixedSampler(crop_size, views, kind), classifier, normalize=normalize)


class CropOracle(FixedChoice):
    """Best of the views: how often any of them is classified rightly, which is what a perfect choice could reach.

    Trains as the random choice does. In evaluation it gives the logits of every view, (B, V, classes), which `per_crop` tells;
    `best_of_views` counts. It needs the label, so it is a bound and no method, and it also counts lucky guesses on views that
    show nothing. A trained classifier can be given to it. Source: validate_best.py of the release's later history.

    Example:
        >>> logits = CropOracle(small_classifier(), 64).eval()(torch.rand(2, 3, 96, 96))
        >>> logits.shape, best_of_views(logits, torch.tensor([3, 7])).shape
        (torch.Size([2, 5, 10]), torch.Size([2]))
    """

    per_crop = True

    def __init__(self, classifier: nn.Module, crop_size: int, *, views: int = 5, normalize: tuple | None = None):
        super().__init__(classifier, crop_size, kind="random", views=views, normalize=normalize)

    def forward(self, image: Tensor, given: Tensor | None = None, *, return_maps: bool = False):
        if self.training:
            return super().forward(image, given, return_maps=return_maps)
        crops = self.sampler.cut(image)  # (B, V, 3, s, s)
        logits = self.classifier(like_weights(self.normalize(crops.flatten(0, 1)), self.classifier))  # (B V, classes)
        logits = logits.view(*crops.shape[:2], -1)
        return (logits, None) if return_maps else logits


def best_of_views(logits: Tensor, label: Tensor) -> Tensor:
    """logits (B, V, classes), label (B,) -> (B,) bool: whether the top class of any view is the label.

    Example:
        >>> logits = torch.tensor([[[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])  # two images, two views, two classes
        >>> best_of_views(logits, torch.tensor([0, 0])).tolist()
        [True, False]
    """
    return (logits.argmax(dim=2) == label[:, None]).any(dim=1)


# --- builders -----------------------------------------------------------------------------------------------------------


def proposal_resnet18(num_classes: int = 10, *, down_size: int = 64, crop_size: int = 224, **options) -> RegionProposal:
    """The released network: torchvision's ResNet-18 from random values behind the head, crops of 224 px of a picture of 336.

    num_classes: 1000 as released, 10 by default. down_size: 32, 64, 128 or 224 in the report. options: see `RegionProposal`.
    """
    from torchvision.models import resnet18

    classifier = resnet18(weights=None, num_classes=num_classes)
    return RegionProposal(classifier, ScoringHead(down_size), crop_size=crop_size, **options)
