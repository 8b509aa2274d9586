"""Saliency maps for the tests of grids: of single cells, smooth ones, blobs."""

import torch


def rough(batch, height, width, *, spread=1.0, seed=0, dtype=torch.float32):
    """Softmax over independent normal logits: every cell unlike its neighbour."""
    logits = torch.randn(batch, height * width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * spread
    return logits.softmax(1).view(batch, 1, height, width).to(dtype)


def smooth(batch, height=31, width=31, *, cells=8, spread=1.0, seed=0, dtype=torch.float32):
    """Softmax over a coarse map of logits, interpolated: as a saliency network with a stride gives it."""
    logits = torch.randn(batch, 1, cells, cells, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * spread
    logits = torch.nn.functional.interpolate(logits, (height, width), mode="bilinear", align_corners=True)
    return logits.flatten(1).softmax(1).view(batch, 1, height, width).to(dtype)


def blobs(*places, cells=31, spread=2.0, floor=0.05):
    """Gaussian blobs at `places` (x, y in cells) over a floor: (1, 1, cells, cells)."""
    at = torch.arange(cells, dtype=torch.float64)
    each = [torch.exp(-((at[:, None] - y) ** 2 + (at[None] - x) ** 2) / (2 * spread**2)) for x, y in places]
    return (torch.stack(each).sum(0) + floor)[None, None]


def positions(*places, cells=31):
    return torch.tensor([places], dtype=torch.float64) * (2 / (cells - 1)) - 1
