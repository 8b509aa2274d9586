"""iTracker, the four-input gaze network that "Learning to Zoom" measures itself against (section 4.1, Table 1, first row).

Krafka*, Khosla* et al., "Eye Tracking for Everyone", CVPR 2016. Inputs are the crops of the face and of both eyes, 224 px
each, and a 25x25 mask of where the face lies in the frame; the output is the gaze in cm from the camera, x right, y up.
`ITracker` has the layers and the state-dict names of the authors' PyTorch port (github.com/CSAILVision/GazeCapture), so that
its checkpoint loads; `SmallITracker` is the demo's. `crop_boxes` and `face_grid_mask` prepare the inputs, in batches, where
the images lie.

What to know about the port, and deviations from it
    - The released checkpoint expects RGB crops in [0, 1] minus mean images whose channels are, by mistake, in BGR order.
    - The port fills the face grid one cell too far right and down (1-based numbers read as 0-based): `released=True`.
    - LocalResponseNorm is the Caffe model's; the port's CrossMapLRN2d differs from it by less than 1e-4.
    - The Caffe model joins eyes, grid, face, and gives each eye its own fourth convolution; the port joins eyes, face, grid
      and shares all four. Here as in the port.
    - Krafka et al.'s numbers (2.04 cm on phones, 3.31 on tablets in Table 1) are those without augmentation.
"""

import os
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.models.backbones import IMAGENET_NORMALIZATION, check_images, small_alexnet_features
from lib.models.network import RowNetwork, declared
from lib.models.sampler import Normalize, like_weights
from lib.models.state_checks import bare_state, check_learned, check_state

GRID = 25  # cells per side of the face grid
_GET = "take checkpoint.pth.tar from the pytorch folder of github.com/CSAILVision/GazeCapture"


class _Tower(nn.Module):
    """A stack of convolutions and its flattened output: (B, 3, H, W) -> (B, F)."""

    def __init__(self, features: nn.Sequential) -> None:
        super().__init__()
        self.features = features

    def forward(self, images: Tensor) -> Tensor:
        return self.features(images).flatten(1)


class _Face(nn.Module):
    """The face's tower and its two fully connected layers: (B, 3, H, W) -> (B, 64)."""

    def __init__(self, tower: _Tower, features: int) -> None:
        super().__init__()
        self.conv = tower
        self.fc = _connected(features, 128, 64)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.conv(images))


class _Grid(nn.Module):
    """The face grid's two fully connected layers: (B, 625) -> (B, 128)."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = _connected(GRID**2, 256, 128)

    def forward(self, mask: Tensor) -> Tensor:
        return self.fc(mask.flatten(1))


def _connected(*widths: int) -> nn.Sequential:
    layers = [[nn.Linear(a, b), nn.ReLU(inplace=True)] for a, b in pairwise(widths)]
    return nn.Sequential(*[module for pair in layers for module in pair])


def _released_features() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 96, 11, stride=4), nn.ReLU(inplace=True),  # (B, 96, 54, 54)
        nn.MaxPool2d(3, stride=2), nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1),  # (B, 96, 26, 26)
        nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(inplace=True),  # (B, 256, 26, 26)
        nn.MaxPool2d(3, stride=2), nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1),  # (B, 256, 12, 12)
        nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(inplace=True),  # (B, 384, 12, 12)
        nn.Conv2d(384, 64, 1), nn.ReLU(inplace=True),  # (B, 64, 12, 12), 9216 features
    )


class ITracker(nn.Module):
    """iTracker: face, left eye, right eye (each float (B, 3, 224, 224)), face grid (B, 625) or (B, 25, 25) -> (B, 2).

    The output is linear, cm in camera space; with `sigmoid` it lies in (0, 1), for targets mapped there like those of the
    other rows. The eyes share their tower; left is the subject's left. 6,286,274 parameters. Attributes are named
    as in the released checkpoint, not as in this package. Raises ValueError for inputs of another shape.
    Source: Krafka et al. 2016, section 4.1, and the authors' PyTorch port.

    Example:
        >>> network, crops = ITracker().eval(), torch.rand(3, 1, 3, 224, 224)
        >>> network(*crops, torch.zeros(1, 625)).shape
        torch.Size([1, 2])
    """

    def __init__(self, *, sigmoid: bool = False, size: int = 224, features: Callable[[], nn.Sequential] = _released_features,
                 flat: int = 9216) -> None:
        super().__init__()
        self.size = size
        self.eyeModel = _Tower(features())
        self.faceModel = _Face(_Tower(features()), flat)
        self.gridModel = _Grid()
        self.eyesFC = _connected(2 * flat, 128)
        self.fc = nn.Sequential(nn.Linear(128 + 64 + 128, 128), nn.ReLU(inplace=True), nn.Linear(128, 2))
        self.output = nn.Sigmoid() if sigmoid else nn.Identity()

    def forward(self, face: Tensor, left_eye: Tensor, right_eye: Tensor, face_grid: Tensor) -> Tensor:
        self._check(face, left_eye, right_eye, face_grid)
        face, left_eye, right_eye, face_grid = (like_weights(each, self) for each in (face, left_eye, right_eye, face_grid))
        left, right = self.eyeModel(torch.cat((left_eye, right_eye))).chunk(2)  # (B, F) each, one pass for both
        eyes = self.eyesFC(torch.cat((left, right), dim=1))  # (B, 128)
        joined = torch.cat((eyes, self.faceModel(face), self.gridModel(face_grid)), dim=1)  # (B, 128 + 64 + 128)
        return self.output(self.fc(joined))  # (B, 2)

    def _check(self, face: Tensor, left_eye: Tensor, right_eye: Tensor, face_grid: Tensor) -> None:
        wanted = (face.shape[0], 3, self.size, self.size)
        for name, crop in (("face", face), ("left_eye", left_eye), ("right_eye", right_eye)):
            check_images(crop)
            if tuple(crop.shape) != wanted:
                raise ValueError(f"{name} must be {wanted}, got {tuple(crop.shape)}")
        if face_grid.shape[0] != wanted[0] or face_grid[:1].numel() != GRID**2:
            raise ValueError(f"face_grid must be ({wanted[0]}, {GRID**2}), got {tuple(face_grid.shape)}")


class SmallITracker(ITracker):
    """iTracker at demo size: the same four inputs and fully connected layers, towers like `small_alexnet`'s.

    Crops are `size` px, 24 or more. 660,898 parameters and about 800 samples/s, forward and backward, at the defaults on one
    CPU core. GroupNorm in the towers, as in the demo's other networks; `width` must be a multiple of 8.

    Example:
        >>> crops = torch.rand(3, 1, 3, 48, 48)
        >>> SmallITracker()(*crops, torch.zeros(1, 25, 25)).shape
        torch.Size([1, 2])
    """

    def __init__(self, *, size: int = 48, width: int = 16, sigmoid: bool = False) -> None:
        def features() -> nn.Sequential:
            return nn.Sequential(*small_alexnet_features(width), nn.AdaptiveAvgPool2d(4))  # (B, 3w, 4, 4)

        super().__init__(sigmoid=sigmoid, size=size, features=features, flat=3 * width * 16)
        self.to(memory_format=torch.channels_last)  # faster convolutions on a CPU


@declared("itracker", "itracker")
class ITrackerOnFrames(RowNetwork):
    """iTracker on full frames: cuts its four inputs itself, so that it stands in a table beside networks that see one image.

    forward(image, face, left_eye, right_eye, face_grid): frames (B, 3, H, W), uint8 or float in [0, 1]; boxes (B, 4) as
    x, y, width, height in pixels of the frame; the face grid (B, 4), from 1 -> (B, 2) in (0, 1), the target space of the
    other rows, or cm with sigmoid=False. small: `SmallITracker` of `crop_size`, else `ITracker`, whose crop_size is 224.
    normalize: (mean, std) of the crops, by default what the other rows' task networks see; the port subtracts mean images.
    `outside` as in `crop_boxes`. Raises ValueError for another crop_size of the full network.

    Example:
        >>> face, eye, grid = torch.tensor([[60, 20, 90, 90]]), torch.tensor([[75, 45, 20, 20]]), torch.tensor([[8, 3, 11, 11]])
        >>> network = ITrackerOnFrames(crop_size=48, small=True)
        >>> network(torch.rand(1, 3, 200, 200), face, eye, eye + 30, grid).shape
        torch.Size([1, 2])
    """

    inputs = ("image", "face", "left_eye", "right_eye", "face_grid")  # the parts of a batch that forward takes

    def __init__(self, *, crop_size: int = 224, small: bool = False, sigmoid: bool = True, outside: str = "zero",
                 normalize: tuple | None = IMAGENET_NORMALIZATION) -> None:
        super().__init__()
        if not small and crop_size != 224:
            raise ValueError(f"iTracker takes crops of 224 px, got crop_size={crop_size}; small=True takes others")
        self.network = SmallITracker(size=crop_size, sigmoid=sigmoid) if small else ITracker(sigmoid=sigmoid)
        self.crop_size, self.outside = crop_size, outside
        self.normalize = Normalize(*normalize) if normalize else nn.Identity()

    def forward(self, image: Tensor, face: Tensor, left_eye: Tensor, right_eye: Tensor, face_grid: Tensor) -> Tensor:
        crops = [self.normalize(crop_boxes(image, boxes, self.crop_size, outside=self.outside))  # (B, 3, size, size)
                 for boxes in (face, left_eye, right_eye)]
        return self.network(*crops, face_grid_mask(face_grid))  # (B, 2)


def load_released(path: str | os.PathLike[str]) -> ITracker:
    """The authors' `checkpoint.pth.tar` (a torch file in spite of its name) as an `ITracker`, on the CPU.

    Takes the checkpoint or its bare state dict, with or without wrappers' prefixes (`bare_state`). Reads tensors only
    (`weights_only=True`). Raises FileNotFoundError; ValueError, one line, for a file that is no such checkpoint.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such file; {_GET}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about sparse tensors, which are refused
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes the unpickler raise
        raise ValueError(f"{path}: not a torch file of plain tensors ({type(error).__name__}); {_GET}") from None
    state = bare_state(checkpoint, path, remedy=_GET)
    network = ITracker()
    own = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    given = {name: tuple(getattr(value, "shape", ())) for name, value in state.items()}
    if own != given:
        reshaped = [name for name in own.keys() & given.keys() if own[name] != given[name]]
        raise ValueError(f"{path}: not iTracker's weights; missing: {_names(own.keys() - given.keys())}; unexpected: "
                         f"{_names(given.keys() - own.keys())}; of another shape: {_names(reshaped)}; {_GET}")
    check_state(state, path)
    check_learned(state, path)
    network.load_state_dict(state)
    return network


def _names(names: object) -> str:
    names = sorted(names)
    return (", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")) or "none"


# The inputs


def crop_boxes(image: Tensor, boxes: Tensor, size: int, *, oversample: int = 2, outside: str = "zero") -> Tensor:
    """Cut one box from each image and resize it, aspect ratio given up: (B, C, H, W), (B, 4) -> float (B, C, size, size).

    boxes: x, y, width, height in pixels, where x and y are the left and top edge of a pixel: (0, 0, W, H) is the whole image,
    and a box of whole numbers as wide as `size` is a slice, exactly (with oversample=1). Fractions are welcome.
    oversample: bilinear samples per output pixel and axis, averaged; enough is box / (2 size), so 2 serves boxes up to four
    times `size`. outside: what lies beyond the frame, "zero" (the PyTorch port) or "border" (the MATLAB code).
    uint8 images count as [0, 255] and come out in [0, 1]; only sampled pixels are converted. Differentiable, in float images
    and in boxes. Raises ValueError for shapes, boxes without area, and other options.

    The port first widens boxes of whole pixels: the face's by (x - 1, y - 1, w + 1, h + 1), the eyes' by y - 1, for
    likeness with the MATLAB code. Do that to `boxes` where its crops are wanted. Eye boxes in the data set are relative to
    the face's: add its x and y.

    Example:
        >>> image = torch.arange(16.0).view(1, 1, 4, 4)
        >>> crop_boxes(image, torch.tensor([[1, 1, 2, 2]]), 2, oversample=1)[0, 0].tolist()  # a slice
        [[5.0, 6.0], [9.0, 10.0]]
    """
    if image.ndim != 4 or boxes.shape != (image.shape[0], 4):
        raise ValueError(f"expected images (B, C, H, W) and boxes (B, 4), got {tuple(image.shape)} and {tuple(boxes.shape)}")
    if outside not in ("zero", "border"):
        raise ValueError(f'outside must be "zero" or "border", got {outside!r}')
    if not bool((boxes[:, 2:] > 0).all()):
        raise ValueError("every box needs a width and a height above 0")
    height, width = image.shape[-2:]
    boxes = boxes.to(image.device, image.dtype if image.dtype == torch.float64 else torch.float32)
    x, weight_x = _samples(boxes[:, 0], boxes[:, 2], size * oversample, width, outside)  # (B, 2, S) both
    y, weight_y = _samples(boxes[:, 1], boxes[:, 3], size * oversample, height, outside)
    flat = image.permute(0, 2, 3, 1).reshape(-1, image.shape[1])  # (B H W, C), no copy for channels_last memory
    first = torch.arange(image.shape[0], device=image.device).view(-1, 1, 1) * (height * width)
    crop = torch.zeros((), dtype=boxes.dtype, device=image.device)
    for i in range(2):
        for j in range(2):
            index = first + y[:, i, :, None] * width + x[:, j, None, :]  # (B, S, S)
            corner = flat.index_select(0, index.flatten()).view(*index.shape, -1)  # (B, S, S, C)
            crop = crop + corner * (weight_y[:, i, :, None] * weight_x[:, j, None, :])[..., None]
    crop = F.avg_pool2d(crop.permute(0, 3, 1, 2), oversample)  # (B, C, size, size)
    return crop / 255 if image.dtype == torch.uint8 else crop


def _samples(start: Tensor, extent: Tensor, count: int, length: int, outside: str) -> tuple[Tensor, Tensor]:
    """`count` even samples of a box along one axis: both neighbours' indices and weights, (B, 2, count) each."""
    steps = (torch.arange(count, dtype=start.dtype, device=start.device) + 0.5) / count
    position = start[:, None] + extent[:, None] * steps - 0.5  # (B, count), 0 is the first pixel's centre
    if outside == "border":
        position = position.clamp(0, length - 1)
    low = position.detach().floor()
    part = position - low
    both = torch.stack((low, low + 1), dim=1)
    weights = torch.stack((1 - part, part), dim=1) * ((both >= 0) & (both < length))
    return both.clamp(0, length - 1).long(), weights


def face_grid_mask(grid_xywh: Tensor, *, released: bool = False) -> Tensor:
    """The face's cells of the 25x25 grid set to 1: (B, 4) x, y, width, height -> float (B, 625), row by row.

    x and y count from 1, as in faceGrid.json and in the port's labelFaceGrid; what lies off the grid is clamped to its
    edge cells, as in the authors' faceGridFromParams.m. released=True is the PyTorch port's mask, one cell further
    right and down and cut off at the edge: for its checkpoint. Raises ValueError for another shape.

    Example:
        >>> mask = face_grid_mask(torch.tensor([[1, 1, 3, 2]])).view(25, 25)
        >>> mask.sum().item(), mask[:3, :4].tolist()
        (6.0, [[1.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    """
    if grid_xywh.ndim != 2 or grid_xywh.shape[1] != 4:
        raise ValueError(f"expected face grids (B, 4), got {tuple(grid_xywh.shape)}")
    grid = grid_xywh.long()
    first, last = grid[:, :2], grid[:, :2] + grid[:, 2:] - 1  # (B, 2), x first, both ends included
    if not released:
        first, last = first.clamp(1, GRID) - 1, last.clamp(1, GRID) - 1  # 0-based
    cells = torch.arange(GRID, device=grid.device)
    inside = (cells >= first[..., None]) & (cells <= last[..., None])  # (B, 2, 25)
    return (inside[:, 1, :, None] & inside[:, 0, None, :]).flatten(1).float()
