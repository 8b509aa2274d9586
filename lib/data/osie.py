"""OSIE: 700 photographs of 800 x 600 pixels with the fixations of 15 observers, open to everybody under the MIT licence.

Xu, Jiang, Wang, Kankanhalli, Zhao: "Predicting human gaze beyond pixels", Journal of Vision 2014. Layout as published at
github.com/NUS-VIP/predicting-human-gaze-beyond-pixels:

    ROOT/data/stimuli/1001.jpg ... 1700.jpg
    ROOT/data/eye/fixations.mat             cell 700 x 1 of structs `img`, `subjects`: cell 15 x 1 of structs `fix_x`,
                                            `fix_y`, `fix_duration` (ms), 98,321 fixations in all

Coordinates are pixels with MATLAB's origin, 1 to 800 and 1 to 600, in tenths. Here they are rounded, halves up as MATLAB
does, made 0-based and clamped to the image, as the authors do for their own maps.

Deviation: pysaliency's loader does not subtract the 1.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import loadmat

IMAGES = 700
SUBJECTS = 15
FIXATIONS = 98_321
SIZE = (600, 800)  # height, width of every published stimulus
FIXATIONS_MD5 = "8efdf6fe66f38b6e70f854c7ff45aa70"  # of the published fixations.mat
PUBLISHED = tuple(f"{number}.jpg" for number in range(1001, 1001 + IMAGES))


class OSIE:
    """The images of OSIE that are on disk, in the order of `fixations.mat`; images are read when asked for.

    `root`: the folder that holds `data/`. Images that the file lists and the disk lacks are left out, and so are images on
    disk without fixations: see `missing`. FileNotFoundError or ValueError, one line, where the layout is not the published.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self._stimuli = self.root / "data" / "stimuli"
        self._records = _read_fixations(self.root / "data" / "eye" / "fixations.mat")
        self._names = [name for name in self._records if (self._stimuli / name).is_file()]
        if not self._names:
            raise FileNotFoundError(f"{self._stimuli}: none of the {len(self._records)} stimuli in fixations.mat is here")

    def __len__(self) -> int:
        return len(self._names)

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """Published images that lack their stimulus or their fixations here, and any others that lack their stimulus."""
        return tuple(sorted((set(PUBLISHED) | set(self._records)) - set(self._names)))

    def name(self, index: int) -> str:
        """File name of the stimulus, such as 1001.jpg."""
        return self._names[index]

    def image(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) RGB."""
        with Image.open(self._stimuli / self._names[index]) as image:
            return np.array(image.convert("RGB"))

    def size(self, index: int) -> tuple[int, int]:
        """(height, width), from the file's header."""
        with Image.open(self._stimuli / self._names[index]) as image:
            return image.height, image.width

    def fixations(self, index: int) -> NDArray[np.int64]:
        """(n, 2) pixels, x first, 0-based, in the image; all observers one after the other, each in order of time."""
        height, width = self.size(index)
        matlab = self._records[self._names[index]][:, :2]
        return np.clip(np.floor(matlab + 0.5).astype(np.int64) - 1, 0, [width - 1, height - 1])

    def subjects(self, index: int) -> NDArray[np.int64]:
        """(n,): whose fixation each of `fixations(index)` is, 0 to 14."""
        return self._records[self._names[index]][:, 3].astype(np.int64)

    def durations(self, index: int) -> NDArray[np.float64]:
        """(n,) ms. The authors' own maps weight fixations by these, and blur with a sigma of 24 pixels."""
        return self._records[self._names[index]][:, 2].copy()


def _read_fixations(path: Path) -> dict[str, NDArray[np.float64]]:
    """{file name: (n, 4) of x, y as published, duration, subject}."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not found; OSIE's root is the folder that holds data/eye and data/stimuli")
    try:
        cells = loadmat(path, variable_names=["fixations"])["fixations"]
        records = {str(cell["img"].item().item()): _read_subjects(cell["subjects"].item()) for cell in cells.ravel()}
    except Exception as error:  # scipy raises whatever a damaged file leads it to
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path}: not OSIE's fixations.mat ({type(error).__name__}: {reason})") from error
    for name, rows in records.items():
        if Path(name).name != name or not np.isfinite(rows).all():
            raise ValueError(f"{path}: {name!r} is no file name or has fixations that are not finite")
    return records


def _read_subjects(cells: NDArray[np.object_]) -> NDArray[np.float64]:
    """(15, 1) cells of 1 x 1 structs -> (n, 4)."""
    rows = []
    for subject, cell in enumerate(cells.ravel()):
        x, y, duration = (cell[field].item().ravel().astype(np.float64) for field in ("fix_x", "fix_y", "fix_duration"))
        rows.append(np.stack([x, y, duration, np.full(x.shape, subject)], axis=1))
    return np.concatenate(rows) if rows else np.zeros((0, 4))
