"""EML-NET's training losses: KL divergence, linear correlation and a modified NSS, added with equal weights; and plain MSE.

Jia and Bruce, "EML-NET", Image and Vision Computing 95, 2020, and the released EMLLoss.py. Every part is computed for each
image and then averaged over the batch. For evaluation use `lib.metrics.saliency`: these are not the benchmark's metrics.

What to know about them
    - The NSS part is NSS(fixations, fixations) - NSS(prediction, fixations). Its first term is a constant of the image,
      sqrt((1 - q) / q) for a share q of fixated pixels: about 26 for 460 fixations on 480x640. A perfect density map still
      pays some 24.5 of it, so the sum hovers near 25 however well training goes. Watch the parts, and plain NSS.
    - The mean of a map that sums to 1 is 3.3e-6 at 480x640, so KL's epsilon of 1e-6 matters: KL(s, s) is about -0.2, and
      the value depends on the resolution. It is kept, because it is the loss that was trained with.

Deviations, all where the release gives NaN
    - A map without any mass is the uniform density for KL, and a constant map has zero correlation and zero NSS; neither
      passes a gradient into that part. "Constant" is a standard deviation below 1e-6 of the map's maximum.
    - An image without fixations has an NSS part of 0. It still counts in the mean over the batch.
    - Fixation counts above 1 count once, as in the release, whose maps hold only 0 and 1.
    - float32 at least, also under autocast; all images at once.
"""

import torch
from torch import Tensor

EPSILON = 1e-6  # of the released KL
CONSTANT = 1e-6  # of the maximum; a standard deviation below it is float32's rounding
LEAST = 1e-20  # maps are divided by their maximum, but not by less than this: gradients stay finite


def emlnet_loss_parts(prediction: Tensor, density: Tensor, fixations: Tensor) -> dict[str, Tensor]:
    """The three parts of EML-NET's loss, scalars averaged over the batch; the loss is their sum.

    prediction: (B, 1, H, W) or (B, H, W), non-negative. density: a blurred fixation map; its scale does not matter.
    fixations: counts of fixations or a binary map. All of one shape; density and fixations in any dtype. Gives "kl", "cc"
    (1 - correlation, 0 to 2) and "nss" (0 or more); all shrink as the prediction improves. Raises ValueError for shapes.
    """
    for name, maps in (("density", density), ("fixations", fixations)):
        _check(prediction, maps, name)
    with torch.autocast(prediction.device.type, enabled=False):
        p, s = _scaled(_rows(prediction)), _scaled(_rows(density, like=prediction))  # (B, N), the largest value is 1
        f = (fixations.flatten(1) > 0).to(p.dtype)  # (B, N) of 0 and 1
        z = _standardised(p)
        return {"kl": _kl(p, s).mean(), "cc": _one_minus_cc(z, _standardised(s)).mean(), "nss": _nss_gap(z, f).mean()}


def emlnet_loss(prediction: Tensor, density: Tensor, fixations: Tensor) -> Tensor:
    """The sum of `emlnet_loss_parts`, a scalar."""
    return sum(emlnet_loss_parts(prediction, density, fixations).values())


def mse(prediction: Tensor, density: Tensor) -> Tensor:
    """Mean squared error, a scalar: the release's --mse. Both in [0, 1]; a uint8 density is divided by 255."""
    _check(prediction, density, "density")
    with torch.autocast(prediction.device.type, enabled=False):
        density = density / 255 if density.dtype == torch.uint8 else density
        return (_rows(prediction) - _rows(density, like=prediction)).square().mean()


def _check(prediction: Tensor, maps: Tensor, name: str) -> None:
    if maps.shape != prediction.shape or maps.ndim not in (3, 4) or (maps.ndim == 4 and maps.shape[1] != 1):
        raise ValueError(f"prediction and {name} must be (B, 1, H, W) or (B, H, W) alike, got {tuple(prediction.shape)} and "
                         f"{tuple(maps.shape)}")


def _rows(maps: Tensor, *, like: Tensor | None = None) -> Tensor:
    """(B, ...) -> (B, N), in float32 at least."""
    return maps.flatten(1).to(torch.promote_types((maps if like is None else like).dtype, torch.float32))


def _scaled(maps: Tensor) -> Tensor:
    """(B, N) over its largest value, a constant to the gradient: no part depends on the scale."""
    return maps / maps.detach().abs().amax(1, keepdim=True).clamp_min(LEAST)


def _density(maps: Tensor) -> Tensor:
    """(B, N) -> (B, N) that sums to 1; uniform where there is nothing to divide by."""
    total = maps.sum(1, keepdim=True)
    empty = total <= 0
    return torch.where(empty, 1 / maps.shape[1], maps / torch.where(empty, 1.0, total))


def _standardised(maps: Tensor) -> Tensor:
    """(B, N) -> z-scores (B, N) with the N - 1 deviation; zeros, without a gradient, for a constant map."""
    centred = maps - maps.mean(1, keepdim=True)
    variance = centred.square().sum(1, keepdim=True) / max(maps.shape[1] - 1, 1)
    constant = variance < CONSTANT**2  # of `_scaled` maps
    return torch.where(constant, 0.0, centred / torch.where(constant, 1.0, variance).sqrt())


def _kl(p: Tensor, s: Tensor) -> Tensor:
    """(B, N) twice -> (B,): sum s log(s / (p + e) + e), both made to sum to 1."""
    p, s = _density(p), _density(s)
    return (s * torch.log(s / (p + EPSILON) + EPSILON)).sum(1)


def _one_minus_cc(p: Tensor, s: Tensor) -> Tensor:
    """z-scores (B, N) twice -> (B,); the squares of z-scores sum to N - 1."""
    return 1 - (p * s).sum(1) / max(p.shape[1] - 1, 1)


def _nss_gap(p: Tensor, f: Tensor) -> Tensor:
    """z-scores (B, N), binary fixations (B, N) -> (B,): by how much the fixations' own NSS exceeds the prediction's."""
    return ((_standardised(f) - p) * f).sum(1) / f.sum(1).clamp_min(1)
