"""A `Task` as small as one can be: pictures whose mean colour is to be found."""

import torch

from lib.training.processes import WHOLE


class Shades:
    """`sizes` training, validation and test images, square, whose target is their mean colour; target number `poison` is NaN."""

    lower_is_better = True

    def __init__(self, *, sizes: tuple[int, int, int] = (20, 4, 6), side: int = 40, poison: int | None = None):
        self.images = torch.rand(sum(sizes), 3, side, side, generator=torch.Generator().manual_seed(5))
        self.targets = self.images.mean((2, 3)) * 8 - 4
        if poison is not None:
            self.targets[poison] = torch.nan
        self.rows = dict(zip(("train", "val", "test"), torch.arange(sum(sizes)).split(list(sizes)), strict=True))

    def length(self, split, batch_size):
        return -(-len(self.rows[split]) // batch_size)

    def batches(self, split, batch_size, generator=None, share=WHOLE):
        rows = self.rows[split]
        if generator is not None:
            rows = rows[torch.randperm(len(rows), generator=generator)]
        for chosen in map(share.of, rows.split(batch_size)):
            yield {"index": chosen, "image": self.images[chosen], "view": self.images[chosen], "target": self.targets[chosen]}

    def losses(self, output, batch, loss=""):
        return {"squares": (output - batch["target"]).square().mean(), "size": 1e-4 * output.square().mean()}

    def values(self, output, batch, maps):
        return {"error": (output - batch["target"]).norm(dim=1), "prediction": output}

    def validation_score(self, values):
        return float(values["error"].mean())
