"""Class activation maps, and the crop that they choose: the "CAM" row of "Learning to Zoom", section 4.2, Table 2.

Zhou, Khosla, Lapedriza, Oliva, Torralba: "Learning Deep Features for Discriminative Localization", CVPR 2016. A network with
global average pooling and one linear layer says where it saw a class: the last maps, weighed as the linear layer weighs their
averages. The paper's rival to the sampler looks twice with the same network and trains nothing: the plain row sees the whole
picture small; the map of "the class with the largest maximal activation" is cut at 20 % of its range; the box around the
largest connected part is cropped "from the original input image and rescaled", and seen again.

Needs that head: torchvision's ResNets and Inception have it, and so has `lib.models.small_resnet`. AlexNet has not, and is refused.

Conventions: grids as in `lib.models.sampler`; boxes (x0, y0, x1, y1), x first, the picture is [0, 1], outer edges of the cells.

What the papers leave open, and what is done here
    - Zhou et al. take the class that is predicted, "Learning to Zoom" the one whose map has the highest value: `select`.
    - The map is scaled from its minimum and maximum to [0, 1] before it is cut, as in Zhou et al.'s released code, and is
      enlarged to the view first. A flat map chooses the whole picture.
    - Parts are connected over edges, not over corners (scipy.ndimage.label).
    - The box becomes a square inside the picture, in proportion to it: what the network sees keeps the shape it was trained on.
    - The crop is anti-aliased like the plain row's view: the network was trained on averages, not on point samples.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor, nn

from lib.models.sampler import Sampled, SampledNetwork, SpatialSampler

LAST_MAPS = ("layer4", "Mixed_7c", "features")  # torchvision's ResNet and Inception, `lib.models.small_resnet`
SELECT = ("activation", "prediction")


def activation_map(features: Tensor, weight: Tensor, classes: Tensor) -> Tensor:
    """The map of one class per image: features (B, C, h, w), weight (K, C) of the linear layer, classes (B,) -> (B, 1, h, w).

    Zhou et al., equation 2. Its mean, plus the layer's bias, is the class score.
    """
    return torch.einsum("bchw,bc->bhw", features, weight[classes]).unsqueeze(1)


def most_activated(features: Tensor, weight: Tensor) -> Tensor:
    """(B,): the class whose map has the highest value anywhere."""
    return torch.stack([torch.einsum("chw,kc->khw", each, weight).flatten(1).amax(1).argmax() for each in features])


def cam_box(activation: np.ndarray | Tensor, *, threshold: float = 0.2) -> tuple[float, float, float, float]:
    """The box (x0, y0, x1, y1) in [0, 1] around the largest connected part of a map (h, w) above `threshold` of its range.

    Of parts of the same size the first in reading order. A flat map gives the whole picture, (0, 0, 1, 1). ValueError for a map
    that is not two-dimensional and finite.
    """
    values = np.asarray(activation.detach().cpu().double() if isinstance(activation, Tensor) else activation, dtype=np.float64)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise ValueError(f"an activation map is (h, w) and finite, this one has shape {values.shape}")
    low, high = values.min(), values.max()
    if not high > low:
        return 0.0, 0.0, 1.0, 1.0
    parts, _ = ndimage.label((values - low) / (high - low) >= threshold)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0  # what lies below the threshold
    rows, columns = ndimage.find_objects(parts)[sizes.argmax() - 1]
    return columns.start / values.shape[1], rows.start / values.shape[0], columns.stop / values.shape[1], rows.stop / values.shape[0]


def square(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """The smallest square, in proportion to the picture, around a box (x0, y0, x1, y1); moved as far as it must be to lie inside."""
    side = min(max(box[2] - box[0], box[3] - box[1]), 1.0)
    x0, y0 = (min(max((low + high - side) / 2, 0.0), 1.0 - side) for low, high in ((box[0], box[2]), (box[1], box[3])))
    return x0, y0, x0 + side, y0 + side


def box_grid(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """The grid that shows a box and nothing else: (B, 4) -> (B, h, w, 2); (0, 0, 1, 1) gives the identity."""
    height, width = size
    across = torch.linspace(0, 1, width, dtype=boxes.dtype, device=boxes.device)
    down = torch.linspace(0, 1, height, dtype=boxes.dtype, device=boxes.device)
    x = torch.lerp(boxes[:, 0, None], boxes[:, 2, None], across)  # (B, w)
    y = torch.lerp(boxes[:, 1, None], boxes[:, 3, None], down)  # (B, h)
    x, y = x[:, None, :].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)
    return torch.stack((x, y), dim=-1) * 2 - 1


class CAMCrop(SpatialSampler):
    """The sampler whose grid is the crop that a trained classifier's activation map chooses. Nothing in it is trained.

    classifier: with `fc`, a linear layer, behind global average pooling. maps: the module that gives the last maps
    (B, C, h, w), found by name where it is one of LAST_MAPS. The classifier is not registered: it belongs to whoever trained
    it, moves with them, and state dicts hold it once. The saliency that is handed on is the map in [0, 1], before it is cut.
    Call eval() on the classifier first, as for any evaluation. ValueError, one line, for a network without that head.
    """

    def __init__(self, classifier: nn.Module, task_size: int | tuple[int, int], *, maps: nn.Module | None = None, threshold: float = 0.2,
                 select: str = "activation", **options):
        super().__init__(task_size, task_size, **options)
        if select not in SELECT:
            raise ValueError(f"select {select!r}: one of {', '.join(SELECT)}")
        maps = maps or next((getattr(classifier, name) for name in LAST_MAPS if hasattr(classifier, name)), None)
        if maps is None or not isinstance(getattr(classifier, "fc", None), nn.Linear):
            raise ValueError(f"{type(classifier).__name__} has no class activation maps: they need global average pooling and one "
                             "linear layer `fc` (a ResNet, or lib.models.small_resnet)")
        self._classifier = (classifier, maps)  # a tuple, so that it is not registered
        self.threshold, self.select = threshold, select

    def activation(self, view: Tensor) -> Tensor:
        """The chosen class' map for a normalised view (B, 3, h, w): (B, 1, h, w) in [0, 1], enlarged to the view."""
        (classifier, maps), kept = self._classifier, []
        hook = maps.register_forward_hook(lambda module, inputs, output: kept.append(output))
        try:
            scores = classifier(view)  # (B, K)
        finally:
            hook.remove()
        features, weight = kept[-1].float(), classifier.fc.weight.float()
        if features.dim() != 4 or features.shape[1] != weight.shape[1]:
            raise ValueError(f"the last maps have shape {tuple(features.shape)} and fc weighs {weight.shape[1]} values: it must weigh "
                             "their averages, one for each channel")
        classes = most_activated(features, weight) if self.select == "activation" else scores.argmax(1)
        activation = F.interpolate(activation_map(features, weight, classes), view.shape[-2:], mode="bilinear", align_corners=False)
        activation = activation - activation.amin(dim=(2, 3), keepdim=True)
        return activation / activation.amax(dim=(2, 3), keepdim=True).clamp(min=torch.finfo(activation.dtype).tiny)

    @torch.no_grad()
    def locate(self, view: Tensor) -> tuple[Tensor, Tensor]:
        activation = self.activation(view)
        boxes = [square(cam_box(each[0], threshold=self.threshold)) for each in activation]
        return box_grid(torch.tensor(boxes, device=view.device, dtype=activation.dtype), self.task_size), activation

    def forward(self, image: Tensor, view: Tensor | None = None) -> Sampled:
        # A crop is never coarser than the whole picture is, so this many samples per axis are always enough.
        self.oversample = max(1, *(math.ceil(whole / seen) for whole, seen in zip(image.shape[-2:], self.task_size, strict=True)))
        return super().forward(image, view)


def look_twice(plain: SampledNetwork, **options) -> SampledNetwork:
    """A trained plain row -> its CAM row: the same task network and normalisation behind a `CAMCrop`.

    options: of `CAMCrop`. The state dict is the plain row's, so weights that were saved for that load into this one.
    """
    crop = CAMCrop(plain.task_network, plain.sampler.task_size, **options)
    model = type(plain)(crop, plain.task_network)
    model.normalize = crop.normalize = plain.normalize
    return model
