"""Salience region proposal in timm: `timm.create_model("salience_region_proposal_resnet18", num_classes=10, down_size=64)`.

A module of its own: timm brings torchvision and a compiler along, which take longer to import than torch, and no table needs them.
"""

import contextlib
import importlib.util

from lib.models.proposal import RegionProposal, proposal_resnet18

__all__ = ["register"]  # timm's registry appends what it is given

TIMM_NAME = "salience_region_proposal_resnet18"


def salience_region_proposal_resnet18(pretrained: bool = False, *, num_classes: int = 10, in_chans: int = 3, drop_rate: float = 0.0,
                                      pretrained_cfg=None, pretrained_cfg_overlay=None, cache_dir=None, **options) -> RegionProposal:
    """`proposal_resnet18` as timm calls it; ValueError for pretrained weights, other channels or dropout, which it has not."""
    if pretrained or in_chans != 3 or drop_rate:
        raise ValueError(f"{TIMM_NAME} has no pretrained weights, three input channels and no dropout; leave these options out")
    model = proposal_resnet18(num_classes, **options)
    model.num_classes = num_classes
    # The head wants [0, 1], so timm's loader is told to do no normalisation.
    model.pretrained_cfg = {"input_size": (3, 336, 336), "num_classes": num_classes, "crop_pct": 1.0, "interpolation": "bilinear",
                            "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    return model


def register() -> None:
    """Make `timm.create_model("salience_region_proposal_resnet18", num_classes=10, down_size=64)` work; importing this module does. ImportError
    without timm."""
    from timm.models import is_model, register_model

    if not is_model(TIMM_NAME):
        register_model(salience_region_proposal_resnet18)


if importlib.util.find_spec("timm"):
    with contextlib.suppress(ImportError):  # a timm that does not fit this torch must not take the rest down
        register()
