"""Gaze estimation as a `Task`: GazeCapture's frames, the error in cm, and how much a sampler magnifies the eyes."""

from pathlib import Path
from types import SimpleNamespace
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from lib.data.gaze_geometry import CameraTarget, GazeTarget
from lib.data.gazecapture import GazeCapture
from lib.data.store import ImageStore, Progress
from lib.models.sampler import Sampled, identity_grid, inverse
from lib.training.loop import Batch
from lib.training.processes import WHOLE, Share

EYES = ("left_eye", "right_eye")
LABELS = ("camera_cm", "screen_points", "screen_size_points", "screen_size_cm")
BOXES = ("face", *EYES)
SPLITS = ("train", "val", "test")


class GazeTask:
    """Splits of one GazeCapture (or its twin), the target mapping and the loss.

    The paper states neither loss nor target scaling: here the loss is the mean Euclidean distance in cm, which is the
    metric itself, and `target` says what the two sigmoids in [0, 1] mean (`CameraTarget` is the headline). reduce: frames
    are handed on at this fraction of their size; boxes in a batch count in its pixels.
    """

    lower_is_better = True

    def __init__(self, root: Path, *, view_size: int | tuple[int, int], target: GazeTarget | None = None,
                 reduce: int = 1, cache_dir: Path | None = None, progress: Progress | None = None):
        self.target, self.reduce = target or CameraTarget(), reduce
        self.data = {split: GazeCapture(root, split=split) for split in SPLITS}
        self.fingerprints = {split: data.fingerprint for split, data in self.data.items()}
        self.stores = {split: ImageStore(data.path, data.size, view_size, cache_dir=cache_dir, progress=progress, reduce=reduce,
                                         fingerprint=self.fingerprints[split]) for split, data in self.data.items()}
        self.columns = {split: self._columns(data) for split, data in self.data.items()}

    def _columns(self, data: GazeCapture) -> dict[str, Tensor]:
        """Everything about the frames but their pixels, (N, ...) each."""
        columns = {name: torch.from_numpy(getattr(data, name)).double() for name in LABELS}
        columns |= {name: torch.from_numpy(getattr(data, name)).float() / self.reduce for name in BOXES}
        columns["face_grid"] = torch.from_numpy(data.face_grid).float()
        columns["target"] = torch.from_numpy(self.target.encode(data)).float()
        if isinstance(self.target, CameraTarget):
            columns["scale_cm"] = torch.full((len(data), 2), self.target.high - self.target.low)
        else:
            columns["scale_cm"] = columns["screen_size_cm"].float()
        columns["tablet"] = torch.from_numpy(data.kind == "ipad").long()
        columns["annotation"] = eye_map(data)
        return columns

    def length(self, split: str, batch_size: int) -> int:
        return len(self.stores[split].index_batches(batch_size))

    def batches(self, split: str, batch_size: int, generator: torch.Generator | None = None, share: Share = WHOLE) -> Iterator[Batch]:
        store, columns = self.stores[split], self.columns[split]
        for indices, image, view in store.batches([share.of(part) for part in store.index_batches(batch_size, generator)]):
            index = torch.from_numpy(np.asarray(indices))
            yield {"index": index, "image": image, "view": view, **{name: column[index] for name, column in columns.items()}}

    def losses(self, output: Tensor, batch: Batch, loss: str = "") -> dict[str, Tensor]:
        missed = (output - batch["target"]) * batch["scale_cm"]  # (B, 2), cm
        return {"distance_cm": (missed.square().sum(1) + 1e-6).sqrt().mean()}

    def values(self, output: Tensor, batch: Batch, maps: Sampled | None) -> dict[str, Tensor]:
        """prediction (B, 2) in [0, 1], error_cm (B,); and where the network has a sampler:

        eye_magnification (B,) of both eyes, least_eye_magnification (B,) of the one that is enlarged less; head_offset (B,), the distance of
        the face's centre from the frame's, and head_shift (B,), from where the resampled image shows it; both in sides of the frame.
        """
        labels = SimpleNamespace(**{name: batch[name].cpu().numpy() for name in LABELS})
        values = {"prediction": output, "error_cm": torch.from_numpy(self.target.error_cm(output.cpu().numpy(), labels))}
        if maps is not None:
            boxes = torch.stack([batch[name] for name in EYES], dim=1)  # (B, 2, 4)
            size = tuple(batch["image"].shape[-2:])
            values["eye_magnification"] = box_magnification(maps.grid, boxes, size)
            values["least_eye_magnification"] = torch.minimum(*(box_magnification(maps.grid, boxes[:, i:i + 1], size) for i in (0, 1)))
            face, sides = batch["face"].double(), torch.tensor(size[::-1], device=boxes.device)
            centre = (face[:, :2] + face[:, 2:] / 2) / sides * 2 - 1  # (B, 2), x first, in [-1, 1]
            values["head_offset"] = centre.norm(dim=1) / 2
            values["head_shift"] = (inverse(maps.grid, points=centre[:, None])[:, 0] - centre).norm(dim=1) / 2
        return values

    def validation_score(self, values: dict[str, np.ndarray]) -> float:
        return float(values["error_cm"].mean())


def eye_map(data: GazeCapture, *, cells: int = 31, spread: float = 0.05, floor: float = 0.01) -> Tensor:
    """A heat map around both annotated eyes, (N, 1, cells, cells): what the oracle row zooms by.

    Two Gaussians with a standard deviation of `spread` times the frame's sides, above a `floor` of their peak.
    """
    at = torch.linspace(0, 1, cells)
    sides = torch.from_numpy(data.size[:, ::-1].copy()).float()  # (N, 2), as (W, H)
    heat = torch.full((len(data), cells, cells), floor)
    for name in EYES:
        box = torch.from_numpy(getattr(data, name))
        centre = (box[:, :2] + box[:, 2:] / 2) / sides  # (N, 2), x first, in [0, 1]
        falloff = torch.exp(-0.5 * ((at[None, :, None] - centre[:, None]) / spread) ** 2)  # (N, cells, 2)
        heat = heat + falloff[:, :, 1].unsqueeze(2) * falloff[:, :, 0].unsqueeze(1)
    return heat[:, None]


def box_magnification(grid: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Linear magnification of `boxes` by `grid`: (B,), 1 = uniform, NaN where uniform sampling hits no box.

    The square root of the number of output pixels that land in the boxes, over that number under uniform sampling of as
    many pixels. grid: (B, h, w, 2); boxes: (B, K, 4) as (x, y, w, h) in pixels of an image of `size` (height, width).
    """
    def hits(grid: Tensor) -> Tensor:
        x = (grid[..., 0] + 1) * ((size[1] - 1) / 2)  # (B, h, w)
        y = (grid[..., 1] + 1) * ((size[0] - 1) / 2)
        left, top, width, height = (boxes[..., i, None, None] for i in range(4))  # (B, K, 1, 1)
        x, y = x.unsqueeze(1), y.unsqueeze(1)  # (B, 1, h, w)
        inside = (x >= left) & (x < left + width) & (y >= top) & (y < top + height)  # (B, K, h, w)
        return inside.any(1).double().sum(dim=(1, 2))

    uniform = hits(identity_grid(tuple(grid.shape[1:3]), like=grid))
    return (hits(grid) / uniform).sqrt().where(uniform > 0, torch.nan)
