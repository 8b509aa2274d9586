"""Mr-CNN at any points of a picture, and with the axes scrambled as the released evaluation has them.

The network and its lattice are in `lib.models.mrcnn`; on whole squares it evaluates itself there, with convolutions that
neighbours share, several times as fast as patch by patch. The prepared files of the release, github.com/LewisClifton/ADL-Coursework,
name their own 2500 points a picture, `spatial_coords`, which need not lie on that lattice: `spatial_centres` and `patchwise` are
for those.

The release's mistake, in the data code that its course handed out. Training data are (scale, channel, 42, 42), and the network
takes the first axis for the stream. Test data come from torch.stack(scales, axis=1), which is (channel, scale, 42, 42). So at
test time the first stream gets the red of all three scales as if these were red, green and blue, the second stream the
green, the third the blue. `ScrambledAxes` does so.

Conventions: points are (y, x); a square is (3, S, S), uint8 or float in [0, 1], RGB; the patch around c is [c - 24, c + 24), with the
square's border pixels repeated beyond it, and its central 42 px, [c - 21, c + 21), are the published patch.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lib.models.mrcnn import POINTS, VIEW, MrCNN, lattice
from lib.models.network import RowNetwork, declared


def lattice_centres(square: int) -> Tensor:
    """The lattice of a square in reading order: (2500, 2) int64, (y, x) in px. ValueError for a side that is not 400, 250 or 150."""
    at = lattice(square)
    return torch.cartesian_prod(at, at)


def spatial_centres(spatial_coords: Tensor, size: tuple[int, int], square: int) -> Tensor:
    """Points of a photograph as centres in its square: (N, 2) (y, x) in px, `size` (H, W), side S -> (N, 2) int64.

    floor(S / H * y), floor(S / W * x), in float64, as in the release. H and W themselves are allowed, published lists
    may count from 1. Raises ValueError, one line, for points outside.
    """
    coords = torch.as_tensor(spatial_coords)
    if coords.ndim != 2 or coords.shape[1] != 2:
        raise ValueError(f"spatial_coords must be (N, 2), each (y, x), got {tuple(coords.shape)}")
    sides = torch.tensor(size, device=coords.device)
    if not bool(((coords >= 0) & (coords <= sides)).all()):
        raise ValueError(f"spatial_coords lie outside the photograph of {size[0]}x{size[1]} px (H x W): they are (y, x)")
    ratio = torch.tensor([square / side for side in size], dtype=torch.float64, device=coords.device)  # number / tensor rounds differently
    return torch.floor(ratio * coords).long()


def crops(square: Tensor, centres: Tensor) -> Tensor:
    """Patches of a square (3, S, S), any dtype, around centres (N, 2), integer (y, x) in [0, S] -> (N, 3, 48, 48).

    Pixels [c - 24, c + 24); beyond the border its pixels are repeated, as numpy.pad(mode="edge"). Raises ValueError, one line.
    """
    if square.ndim != 3 or square.shape[0] != 3 or square.shape[1] != square.shape[2]:
        raise ValueError(f"expected a square (3, S, S), got {tuple(square.shape)}")
    side = square.shape[-1]
    if centres.ndim != 2 or centres.shape[1] != 2 or centres.is_floating_point():
        raise ValueError(f"centres must be integer (N, 2), each (y, x), got {centres.dtype} {tuple(centres.shape)}")
    if bool(((centres < 0) | (centres > side)).any()):
        raise ValueError(f"centres lie outside the square of {side} px: map those of a photograph with spatial_centres")
    around = torch.arange(-(VIEW // 2), VIEW // 2, device=square.device)
    at = (centres.to(square.device)[..., None] + around).clamp(0, side - 1)  # (N, 2, 48)
    return square[:, at[:, 0, :, None], at[:, 1, None, :]].transpose(0, 1).contiguous()  # (N, 3, 48, 48)


@torch.no_grad()
def patchwise(model: Callable[..., Tensor], squares: Sequence[Tensor], centres: Sequence[Tensor], *, batch: int = 2500) -> Tensor:
    """One picture at any points, each patch by itself: logits (N,), without gradients.

    model: a `MrCNN` in eval mode, or what takes patches as it does. squares: (3, S, S) of each stream. centres: (N, 2) of each
    stream, row n of all being the same point. batch: patches at a time; the paper's widths need 1 MB for each, and on a CPU
    100 are faster than 2500. Raises ValueError, one line, where squares and centres do not belong together.
    """
    counts = [len(each) for each in centres]
    if not counts or len(squares) != len(counts) or len(set(counts)) > 1:
        raise ValueError(f"expected as many centres for each of {len(squares)} squares, got {counts}")
    sides = tuple(square.shape[-1] for square in squares)
    if sides != getattr(model, "squares", sides):
        raise ValueError(f"this model takes squares of {model.squares} px, got {sides}")
    parts = [[crops(square, part) for square, part in zip(squares, chunk, strict=True)]
             for chunk in zip(*(each.split(batch) for each in centres), strict=True)]
    return torch.cat([model(*part) for part in parts])


@declared("scrambled_axes", "mrcnn")
class ScrambledAxes(RowNetwork):
    """A three-stream Mr-CNN evaluated with scale and channel swapped, the release's mistake at test time: see the module.

    Stream i gets channel i of the three scales, normalised by that channel's constants, in the place of its RGB. Each scale is
    cut at its own lattice, patch by patch: no two neighbours share a convolution. step: evaluate every step-th point of
    the lattice along each axis, and the last one, and interpolate linearly between them. batch: patches at a time. For
    evaluation only, no gradients. Raises ValueError, one line, for a model without three streams.
    """

    def __init__(self, model: MrCNN, *, step: int = 1, batch: int = 500) -> None:
        super().__init__()
        if len(getattr(model, "squares", ())) != 3:
            raise ValueError("scrambled axes need a Mr-CNN of three streams, one for each of the three channels")
        if step < 1:
            raise ValueError(f"step must be at least 1, got {step!r}")
        self.model, self.inputs, self.squares, self.batch = model, model.inputs, model.squares, batch
        self.kept = torch.tensor(sorted({*range(0, POINTS, step), POINTS - 1}))  # of the lattice, along each axis

    def forward(self, *squares: Tensor) -> Tensor:
        """Squares (B, 3, S, S) of S = 400, 250, 150, uint8 or float in [0, 1] -> logits (B, 1, 50, 50). ValueError for anything else."""
        shapes = [tuple(square.shape) for square in squares]
        if not shapes or shapes != [(*shapes[0][:1], 3, side, side) for side in self.squares]:
            raise ValueError(f"scrambled axes need squares (B, 3, S, S) of S = 400, 250, 150, not patches; got {shapes}")
        centres = [torch.cartesian_prod(at, at) for at in (lattice(side)[self.kept] for side in self.squares)]
        maps = [patchwise(self._swapped, image, centres, batch=self.batch) for image in zip(*squares, strict=True)]
        return self._enlarged(torch.stack(maps).unflatten(1, (1, len(self.kept), -1)))  # of (B, 1, n, n)

    def _swapped(self, *patches: Tensor) -> Tensor:
        scales = torch.stack([self.model.normalized(each) for each in patches], dim=2)  # (N, channel, scale, 48, 48)
        return self.model.patch_logits([scales[:, i] for i in range(3)])

    def _enlarged(self, coarse: Tensor) -> Tensor:
        """(B, 1, n, n) at the kept points -> (B, 1, 50, 50); the values at those points stay."""
        if len(self.kept) == POINTS:
            return coarse
        position = torch.arange(POINTS)
        right = torch.searchsorted(self.kept, position).clamp(min=1)
        low, high = self.kept[right - 1], self.kept[right]
        share = (position - low) / (high - low)  # of the right neighbour
        weight = torch.zeros(POINTS, len(self.kept))
        weight[position, right - 1] = 1 - share
        weight[position, right] = share
        weight = weight.to(coarse)
        return weight @ coarse @ weight.T
