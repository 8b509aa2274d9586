"""OSIE: 700 photographs of 800 x 600 pixels with the fixations of 15 observers, open to everybody under the MIT licence.

Xu, Jiang, Wang, Kankanhalli, Zhao: "Predicting human gaze beyond pixels", Journal of Vision 2014. Layout as published at
github.com/NUS-VIP/predicting-human-gaze-beyond-pixels:

    ROOT/data/stimuli/1001.jpg ... 1700.jpg
    ROOT/data/eye/fixations.mat             cell 700 x 1 of structs `img`, `subjects`: cell 15 x 1 of structs `fix_x`,
                                            `fix_y`, `fix_duration` (ms), 98,321 fixations in all

Coordinates are pixels with MATLAB's origin, 1 to 800 and 1 to 600, in tenths. Here they are rounded, halves up as MATLAB
does, made 0-based and clamped to the image, as the authors do for their own maps.

Deviation: pysaliency's loader does not subtract the 1.

No blurred maps are published, only the code that makes them (src/dataset/computeFixationMaps.m, src/common/config.m): every
fixated pixel counts once, whatever the durations; a Gaussian of 24 pixels, nothing beyond the border; minimum 0, maximum 1.
Deviations: their kernel of 168 x 168 pixels ends at 3.5 sigma and has no middle pixel, which moves the map by half a pixel;
ours ends at 4 sigma and is centred. They store 8 bits.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.io import loadmat

from lib.data.saliency import Photographs, digest
from lib.metrics.saliency import density_map

IMAGES = 700
SUBJECTS = 15
FIXATIONS = 98_321
SIZE = (600, 800)  # height, width of every published stimulus
FIXATIONS_MD5 = "8efdf6fe66f38b6e70f854c7ff45aa70"  # of the published fixations.mat
BLUR = 24  # pixels, one degree of visual angle
CHECKSUMS = Path(__file__).with_name("osie_sha256.txt")  # format of sha256sum, names relative to ROOT/data
PUBLISHED = tuple(f"{number}.jpg" for number in range(1001, 1001 + IMAGES))


class OSIE(Photographs):
    """The images of OSIE that are on disk, in the order of `fixations.mat`; images are read when asked for.

    `root`: the folder that holds `data/`. Images that the file lists and the disk lacks are left out, and so are images on
    disk without fixations: see `missing`. FileNotFoundError or ValueError, one line, where the layout is not the published.
    """

    def __init__(self, root: str | Path) -> None:
        stimuli = Path(root) / "data" / "stimuli"
        self._mat = Path(root) / "data" / "eye" / "fixations.mat"
        self._records = _read_fixations(self._mat)
        super().__init__(Path(root), [stimuli / name for name in self._records if (stimuli / name).is_file()])
        if not self._paths:
            raise FileNotFoundError(f"{stimuli}: none of the {len(self._records)} stimuli in fixations.mat is here")

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """Published images that lack their stimulus or their fixations here, and any others that lack their stimulus."""
        return tuple(sorted((set(PUBLISHED) | set(self._records)) - {path.name for path in self._paths}))

    def name(self, index: int) -> str:
        """File name of the stimulus, such as 1001.jpg, as fixations.mat has it."""
        return self._paths[index].name

    def fixations(self, index: int) -> NDArray[np.int64]:
        """(n, 2) pixels, x first, 0-based, in the image; all observers one after the other, each in order of time."""
        height, width = self.size(index)
        matlab = self._records[self.name(index)][:, :2]
        return np.clip(np.floor(matlab + 0.5).astype(np.int64) - 1, 0, [width - 1, height - 1])

    def subjects(self, index: int) -> NDArray[np.int64]:
        """(n,): whose fixation each of `fixations(index)` is, 0 to 14."""
        return self._records[self.name(index)][:, 3].astype(np.int64)

    def durations(self, index: int) -> NDArray[np.float64]:
        """(n,) ms."""
        return self._records[self.name(index)][:, 2].copy()

    def density(self, index: int, *, weight: str = "once") -> NDArray[np.float32]:
        """(H, W) from 0 to 1: the fixations blurred as the authors' code does; see the module's docstring.

        weight: "once" counts each fixated pixel once, "duration" weights fixations by how long they lasted. All zero for an image
        without fixations.
        """
        xy, weights = self.fixations(index), np.zeros(self.size(index))
        if weight == "once":
            weights[xy[:, 1], xy[:, 0]] = 1
        elif weight == "duration":
            np.add.at(weights, (xy[:, 1], xy[:, 0]), self.durations(index))
        else:
            raise ValueError(f"weight {weight!r}: OSIE's fixations count once, or by duration")
        blurred = density_map(torch.from_numpy(weights), sigma=BLUR).numpy()
        blurred -= blurred.min()
        return (blurred / (blurred.max() or 1)).astype(np.float32)

    def true_density(self, index: int) -> None:
        return None

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over the stimuli's names and sizes, and the bytes of fixations.mat."""
        return digest(self._paths, [self._mat])


def published_checksums() -> dict[str, str]:
    """{name relative to ROOT/data: SHA-256} of the 700 stimuli and of fixations.mat, as published."""
    return {name: sha for sha, name in (line.split() for line in CHECKSUMS.read_text().splitlines())}


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
