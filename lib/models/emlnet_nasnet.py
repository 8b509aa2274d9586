"""EML-NET on NASNet-Large: the release's second encoder, with four readouts, trained end to end. Experimental.

Jia and Bruce, "EML-NET", Image and Vision Computing 95, 2020; the released nasnet.py, train.py and dataloader.py. Needs timm,
whose NASNet is Cadene's, as the release's is; nothing else here does, so it is imported when the network is built.

As in the release: images and maps of 320x320 (squashed, the aspect ratio is given up), MSE against the map stretched to
[0, 1], readouts with 1x1 convolution, BatchNorm and sigmoid (not ReLU), grown bilinearly to the images' size.

What to know about the release, and deviations from it
    - Its last version never loads pretrained weights into this network, and has no decoder for it: it is incomplete. Here
      `weights` takes timm's state dict.
    - Its classifier is carried along and never run; here it does not exist.
    - Any image size of 64 px or more; the release has 320 fixed.
"""

import http.client
import warnings
from collections.abc import Mapping
from types import ModuleType

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from lib.models.backbones import IMAGENET_NORMALIZATION, answers, load_imagenet
from lib.models.emlnet import as_float, head, resize
from lib.models.network import RowNetwork
from lib.models.sampler import Normalize, like_weights, low_resolution

REPOSITORY = "timm/nasnetalarge.tf_in1k"
CELLS = (*(f"cell_{i}" for i in range(6)), "reduction_cell_0", *(f"cell_{i}" for i in range(6, 12)), "reduction_cell_1",
         *(f"cell_{i}" for i in range(12, 18)))
TAPS = {"cell_stem_1": 2, "reduction_cell_0": 8, "reduction_cell_1": 16, "cell_17": 24}  # channels, in num_features / 24


class NasNetEncoder(RowNetwork):
    """EML-NET's NASNet-Large encoder: (B, 3, H, W), uint8 or float in [0, 1], 64 px or more -> (B, 1, H, W) in [0, 1].

    weights: a state dict of timm's nasnetalarge for the body (`pretrained_nasnet()`), or None for random values.
    num_features: of the body's last layer, a multiple of 96; the published network's by default. 84,728,569 parameters then.
    input_size: images are squashed to it first, and maps come back at the images' own size;
    320x320 in the release. ImportError, one line, without timm. Source: see the module's docstring.
    """

    inputs = ("view",)  # the parts of a batch that forward takes

    def __init__(self, *, weights: Mapping[str, Tensor] | None = None, num_features: int = 4032, normalize: bool = False,
                 input_size: tuple[int, int] | None = None) -> None:
        super().__init__()
        if num_features % 96:
            raise ValueError(f"num_features must be a multiple of 96, got {num_features}")
        self.input_size = input_size
        self.normalize = Normalize(*IMAGENET_NORMALIZATION) if normalize else nn.Identity()
        self.body = _timm().models.nasnet.NASNetALarge(num_classes=0, num_features=num_features)
        channels = [factor * num_features // 24 for factor in TAPS.values()]  # 336, 1344, 2688, 4032
        self.readout_layers = nn.ModuleList(head(width, 1, nn.BatchNorm2d(1), nn.Sigmoid()) for width in channels)
        self.combined = head(len(channels), 1, nn.BatchNorm2d(1), nn.Sigmoid())
        if weights is not None:
            load_imagenet(self.body, weights)

    def layers(self, images: Tensor) -> list[Tensor]:
        """float (B, 3, H, W) -> four feature maps at strides of about 8, 16, 32 and 32: 40, 20, 10 and 10 cells of 320 px."""
        body = self.body
        stem = body.conv0(images)  # (B, 96, 159, 159)
        before = body.cell_stem_0(stem)
        x = body.cell_stem_1(stem, before)
        taps = [x]  # (B, 336, 40, 40)
        for name in CELLS:
            y = getattr(body, name)(x, before)
            if not name.startswith("reduction"):  # the cell behind a reduction looks back past it
                before = x
            x = y
            if name in TAPS:
                taps.append(x)
        return taps

    def readouts(self, images: Tensor) -> list[Tensor]:
        """images (B, 3, H, W) -> four maps after their sigmoid, (B, 1, 40, 40) to (B, 1, 10, 10) for 320 px."""
        images = as_float(images, smallest=64)
        if self.input_size is not None:
            images = low_resolution(images, self.input_size)
        images = self.normalize(like_weights(images, self))
        return [readout(x) for readout, x in zip(self.readout_layers, self.layers(images), strict=True)]

    def forward(self, images: Tensor) -> Tensor:
        """images (B, 3, H, W), uint8 or float in [0, 1] -> saliency (B, 1, H, W) in [0, 1]."""
        size = images.shape[-2:]
        return self.combined(torch.cat([resize(m, size, "bilinear") for m in self.readouts(images)], dim=1))


def pretrained_nasnet(*, timeout: float = 10.0) -> dict[str, Tensor] | None:
    """timm's ImageNet weights of nasnetalarge, or None with one line of warning when they cannot be had.

    safetensors of about 360 MB from huggingface.co/timm. Looks in that site's own cache first (HF_HOME); then asks the
    server, which has `timeout` seconds to answer. ImportError, one line, without timm.
    """
    timm = _timm()
    import huggingface_hub  # comes with timm

    try:
        cached = huggingface_hub.try_to_load_from_cache(REPOSITORY, "model.safetensors")
        if isinstance(cached, str):
            return load_file(cached)
        answers(f"https://huggingface.co/{REPOSITORY}", timeout)  # the library itself tries for a minute
        return timm.create_model("nasnetalarge", pretrained=True, num_classes=0).state_dict()
    except (OSError, RuntimeError, ValueError, SafetensorError, http.client.HTTPException) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        warnings.warn(f"no ImageNet weights for nasnetalarge ({reason}); it starts from random values", stacklevel=2)
        return None


def _timm() -> ModuleType:
    try:
        import timm
    except ImportError as error:
        raise ImportError(f"NASNet needs the package timm ({error}): install it with pip install timm") from None
    return timm
