"""The saliency sampler where timm's users look: `timm.create_model("saliency_sampler.resnet50", num_classes=200)`.

Importing this module registers the name, where timm is installed. What stands behind the dot is timm's name of the task network, any that tells
classes; the saliency network is the paper's, ResNet-18 of 14 layers, from random values.

    timm.create_model("saliency_sampler.resnet50", num_classes=200, checkpoint_path="weights.safetensors")
    timm.create_model("saliency_sampler.resnet50", num_classes=200, pretrained=True, pretrained_cfg_overlay={"file": "weights.pth"})
    timm.create_model("saliency_sampler.resnet50", num_classes=200, backbone_pretrained=True)    # timm's weights of the task network alone

Pictures come normalised, as timm's loaders give them, at any size; the task network sees its own input size. Three channels.
"""

import contextlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lib.files.weights import read_weights
from lib.models.backbones import saliency_network_resnet18
from lib.models.sampler import SaliencySampler, like_weights
from lib.models.state_checks import bare_state, check_state

__all__ = ["TimmSampler", "register"]  # timm's registry appends what it is given

TIMM_NAME = "saliency_sampler"
REMEDY = ("give checkpoint_path=FILE, or pretrained=True with pretrained_cfg_overlay={'file': FILE}; "
          "backbone_pretrained=True loads the task network's own")
LARGER = 2  # the loader's pictures than the task network's input, along each axis


class TimmSampler(SaliencySampler):
    """A `SaliencySampler` with what timm's users ask a model for. task: a classifier of timm's; size: what it sees, (height, width).

    `forward_features` and `forward_head` are those of the task network, on the zoomed picture; so are `get_classifier`,
    `reset_classifier`, `num_features` and `num_classes`.
    """

    def __init__(self, task: nn.Module, size: tuple[int, int], *, saliency_size: int | tuple[int, int] = 224, **options):
        super().__init__(task, saliency_network_resnet18(), size, saliency_size, **options)
        config = getattr(task, "pretrained_cfg", {})
        self.pretrained_cfg = self.default_cfg = {name: config[name] for name in ("mean", "std", "interpolation", "crop_pct") if name in config} | {
            "input_size": (3, *(LARGER * side for side in size)), "num_classes": task.num_classes, "architecture": TIMM_NAME}

    @property
    def num_classes(self) -> int:
        return self.task_network.num_classes

    @property
    def num_features(self) -> int:
        return self.task_network.num_features

    def forward_features(self, image: Tensor) -> Tensor:
        """image (B, 3, H, W) -> the task network's features of the zoomed picture, before pooling."""
        return self.task_network.forward_features(like_weights(self.sampler(image).image, self.task_network))

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        return self.task_network.forward_head(features, pre_logits=pre_logits)

    def get_classifier(self) -> nn.Module:
        return self.task_network.get_classifier()

    def reset_classifier(self, num_classes: int, *arguments, **options) -> None:
        self.task_network.reset_classifier(num_classes, *arguments, **options)
        self.pretrained_cfg["num_classes"] = num_classes


def saliency_sampler(pretrained: bool = False, *, pretrained_cfg: str | Mapping[str, Any] | None = None,
                     pretrained_cfg_overlay: Mapping | None = None, num_classes: int = 1000, in_chans: int = 3,
                     drop_rate: float = 0.0, cache_dir: str | None = None,
                     backbone_pretrained: bool = False, **options) -> TimmSampler:
    """`TimmSampler` as timm calls it: what stands behind the dot comes as `pretrained_cfg`. options: of `TimmSampler`.

    ValueError, one line, without a task network, for other channels, for pretrained weights without a file, and a file that does not fit.
    """
    import timm

    config = {"tag": pretrained_cfg} if isinstance(pretrained_cfg, str) else dict(pretrained_cfg or {})
    backbone = config.get("tag")
    if not backbone or not timm.is_model(backbone):
        raise ValueError(f"{TIMM_NAME} needs a task network of timm's behind a dot, {TIMM_NAME}.resnet50 say; got {backbone!r}")
    if in_chans != 3:
        raise ValueError(f"{TIMM_NAME}: in_chans is {in_chans}, and its saliency network takes 3; leave it out")
    file = (config | dict(pretrained_cfg_overlay or {})).get("file")
    if pretrained and not file:
        raise ValueError(f"{TIMM_NAME}.{backbone} has no weights of its own to download; {REMEDY}")
    task = timm.create_model(backbone, pretrained=backbone_pretrained, num_classes=num_classes, drop_rate=drop_rate, cache_dir=cache_dir)
    model = TimmSampler(task, tuple(task.pretrained_cfg["input_size"][1:]), **options)
    if pretrained:
        _load(model, Path(file))
    return model


def _load(model: TimmSampler, path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {REMEDY}")
    try:
        content = read_weights(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file leads torch to
        why = str(error) if path.suffix == ".safetensors" else f"no readable file of tensors ({type(error).__name__})"
        raise ValueError(f"{path}: {why}; {REMEDY}") from None
    state = bare_state(content, path, remedy=REMEDY)
    check_state(state, path)
    own = {name: value.shape for name, value in model.state_dict().items()}
    differing = sorted(name for name in own.keys() | state.keys() if name not in state or own.get(name) != state[name].shape)
    if differing:
        raise ValueError(f"{path}: does not fit this model; differing: {', '.join(differing[:6])} ({len(differing)} in all); give num_classes "
                         "and the task network that it was saved with")
    model.load_state_dict(state)


def register() -> None:
    """Make `timm.create_model("saliency_sampler.<task network>")` work; importing this module does. ImportError without timm."""
    from timm.models import is_model, register_model

    if not is_model(TIMM_NAME):
        register_model(saliency_sampler)


if importlib.util.find_spec("timm"):
    with contextlib.suppress(ImportError):  # a timm that does not fit this torch must not take the rest down
        register()
