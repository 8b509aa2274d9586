"""Batches of full-resolution uint8 images with their low-resolution views, at the speed of the training step.

Decoding JPEG and converting 640x480 frames to float can cost more than a small network's step. So where the decoded images
fit `cache_limit` (the twins do, 1.49 million real frames do not) they are decoded once into memory-mapped files, together
with their views; else worker processes decode them anew each epoch. Which of the two it is stands in `ImageStore.how`.

A batch has one image size. Images of other sizes go to other batches: indices are shuffled within each size, cut into
batches, and the batches shuffled again.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lib.data.canvas import Square
from lib.data.files import read_rgb
from lib.files import built, new_memmap
from lib.models.sampler import low_resolution, pair
from lib.versions import versions

CACHE_LIMIT = 8 * 2**30  # bytes of decoded images on disk
Progress = Callable[[str, int, int], None]


class ImageStore:
    """Images of one split: `fetch` gives a batch, `batches` an epoch.

    paths: image files. sizes: (N, 2) their (height, width). view_size: of the low-resolution view. reduce: hand images on at
    this fraction of their size, averaged, which small networks lose nothing by.
    canvas: makes squares of images of many sizes; then all batches are alike.
    cache_dir: where the decoded images may go, None for nowhere. fingerprint: names the content, so that a cache is never
    taken for another's. workers: processes that decode when there is no cache.
    """

    def __init__(self, paths: Sequence[Path], sizes: np.ndarray, view_size: int | tuple[int, int], *,
                 cache_dir: Path | None, fingerprint: str, cache_limit: int = CACHE_LIMIT, workers: int | None = None,
                 reduce: int = 1, canvas: Square | None = None, progress: Progress | None = None):
        self.paths, self.files, self.view_size, self.reduce, self.canvas = paths, np.asarray(sizes), pair(view_size), reduce, canvas
        self.sizes = -(-self.files // reduce)  # as `Image.reduce` rounds
        if canvas is not None:
            self.sizes = np.full_like(self.files, canvas.size)
        self.groups = {tuple(map(int, size)): np.flatnonzero((self.sizes == size).all(1))
                       for size in np.unique(self.sizes, axis=0)}
        self.slot = np.zeros(len(self.paths), dtype=np.int64)  # position within its size's cache file
        for members in self.groups.values():
            self.slot[members] = np.arange(len(members))
        self.workers = os.cpu_count() or 1 if workers is None else workers
        self.bytes = int(self.sizes.astype(np.int64).prod(1).sum() * 3)
        self.images: dict[tuple[int, int], Tensor] | None = None
        if cache_dir is not None and self.bytes <= cache_limit:
            shape = reduce if canvas is None else f"{canvas.rule}{canvas.side}-{canvas.size}"
            folder = cache_dir / f"{fingerprint}-{self.view_size[0]}x{self.view_size[1]}-{shape}"
            built(folder, lambda partial: self._write(partial, progress), version=versions(["pictures", "views"]), needs=int(self.bytes * 1.1))
            self._open(folder)
            self.how = f"decoded once into {self.bytes / 1e9:.1f} GB on disk"
        else:
            self.how = f"decoded each epoch by {self.workers} processes ({self.bytes / 1e9:.1f} GB would not be cached)"

    def _write(self, folder: Path, progress: Progress | None) -> None:
        images = {size: new_memmap(folder / f"{size[0]}x{size[1]}.npy", np.uint8, (len(members), *size, 3))
                  for size, members in self.groups.items()}
        views = new_memmap(folder / "views.npy", np.uint8, (len(self.paths), 3, *self.view_size))

        def decode(index: int) -> None:
            size = tuple(map(int, self.sizes[index]))
            images[size][self.slot[index]] = pixels = self.read(index)
            view = low_resolution(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None], self.view_size)
            views[index] = (view[0] * 255).round().to(torch.uint8).numpy()

        with ThreadPoolExecutor(max(1, min(4, self.workers))) as pool:
            for done, _ in enumerate(pool.map(decode, range(len(self.paths))), start=1):
                if progress:
                    progress("decode", done, len(self.paths))
        for array in (*images.values(), views):
            array.flush()

    def _open(self, folder: Path) -> None:
        def mapped(path: Path) -> Tensor:
            return torch.from_numpy(np.load(path, mmap_mode="c"))  # copy on write: nothing here writes

        self.images = {size: mapped(folder / f"{size[0]}x{size[1]}.npy") for size in self.groups}
        self.views = mapped(folder / "views.npy")

    def read(self, index: int) -> np.ndarray:
        """Image `index` decoded from its file, (H, W, 3) uint8."""
        pixels = read_rgb(self.paths[index], self.files[index], reduce=self.reduce)
        return pixels if self.canvas is None else self.canvas.pixels(pixels)

    def fetch(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        """The images (B, 3, H, W) and views (B, 3, h, w) of `indices`, uint8; all of one size."""
        if self.images is None:
            pixels = [self.read(i) for i in indices]
            image = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
            view = (low_resolution(image, self.view_size) * 255).round().to(torch.uint8)
            return image, view
        size = tuple(map(int, self.sizes[indices[0]]))
        image = self.images[size].index_select(0, torch.from_numpy(self.slot[indices]))  # (B, H, W, 3)
        return image.permute(0, 3, 1, 2), self.views[torch.from_numpy(np.asarray(indices))]

    def index_batches(self, batch_size: int, generator: torch.Generator | None = None) -> list[np.ndarray]:
        """The epoch's batches of indices, one size each; in order without a generator, shuffled by it otherwise."""
        batches = []
        for members in self.groups.values():
            if generator is not None:
                members = members[torch.randperm(len(members), generator=generator).numpy()]
            batches += [members[start:start + batch_size] for start in range(0, len(members), batch_size)]
        if generator is not None:
            batches = [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]
        return batches

    def batches(self, plan: list[np.ndarray]) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
        """(indices, images, views) for each batch of `plan`."""
        if self.images is not None or self.workers == 0:
            for indices in plan:
                yield indices, *self.fetch(indices)
            return
        loader = torch.utils.data.DataLoader(_Plan(self, plan), batch_size=None, num_workers=self.workers,
                                             pin_memory=torch.cuda.is_available(),
                                             generator=torch.Generator())  # else it draws from the one that dropout uses
        for indices, found in zip(plan, loader, strict=True):
            if isinstance(found, Exception):
                raise found
            yield indices, *found


class _Plan(torch.utils.data.Dataset):
    """A list of index batches as a data set, so that workers decode whole batches."""

    def __init__(self, store: ImageStore, plan: list[np.ndarray]):
        self.store, self.plan = store, plan

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor] | Exception:
        try:
            return self.store.fetch(self.plan[index])
        except (OSError, ValueError) as error:
            return error  # raised by `batches`, one line: a worker would raise it with its whole traceback in the message
