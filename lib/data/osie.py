"""OSIE: 700 photographs of 800 x 600 pixels with the fixations of 15 observers, open to everybody under the MIT licence.

Xu, Jiang, Wang, Kankanhalli, Zhao: "Predicting human gaze beyond pixels", Journal of Vision 2014. Layout as published at
github.com/NUS-VIP/predicting-human-gaze-beyond-pixels:

    ROOT/data/stimuli/1001.jpg ... 1700.jpg
    ROOT/data/eye/fixations.mat             cell 700 x 1 of structs `img`, `subjects`: cell 15 x 1 of structs `fix_x`,
                                            `fix_y`, `fix_duration` (ms), 98,321 fixations in all

Coordinates are pixels with MATLAB's origin, 1 to 800 and 1 to 600, in tenths. Here they are rounded, halves up as MATLAB
does, made 0-based, and clamped to the image where rounding puts them a pixel outside, as the authors do for their own maps. What
lies further outside is left out, and refused where it is more than a few (`lib.data.points`); so is a file whose fixations all lie on
a few pixels, as fractions of the size would. Stimuli of another size than
800 x 600 are refused, or their fixations scaled with `scale_fixations`.

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

from lib.data.files import is_file_name
from lib.data.points import ROUNDING, check_outside, check_places, inside_image, made_for, to_pixels
from lib.data.saliency import Photographs, digest
from lib.files.matlab import read_mat
from lib.files.text import UNPACK, one_line
from lib.metrics.saliency import density_map

IMAGES = 700
SUBJECTS = 15
FIXATIONS = 98_321
SIZE = (600, 800)  # height, width of every published stimulus
MOST = 60  # fixations of one observer on one picture: 3 seconds of 50 ms each; published are 1 to 22
REMEDY = "python -m lib fetch osie DIR gets the published files"
FIXATIONS_MD5 = "8efdf6fe66f38b6e70f854c7ff45aa70"  # of the published fixations.mat
BLUR = 24  # pixels, one degree of visual angle
PUBLISHED = tuple(f"{number}.jpg" for number in range(1001, 1001 + IMAGES))


class OSIE(Photographs):
    """The images of OSIE that are on disk, in the order of `fixations.mat`; images are read when asked for.

    `root`: the folder that holds `data/`. Images that the file lists and the disk lacks are left out, and so are images on
    disk without fixations: see `missing`. scale_fixations: for stimuli that were resized; otherwise they must be 800 x 600 (a twin's
    may have any size). FileNotFoundError or ValueError, one line, where the layout is not the published.
    """

    def __init__(self, root: str | Path, *, scale_fixations: bool = False) -> None:
        self.scale_fixations = scale_fixations
        stimuli = Path(root) / "data" / "stimuli"
        self._mat = Path(root) / "data" / "eye" / "fixations.mat"
        self._records = _read_fixations(self._mat)
        check_places(((to_pixels(rows[:, :2] - 0.5, SIZE, SIZE), SIZE) for rows in self._records.values()), self._mat, REMEDY)
        super().__init__(Path(root), [stimuli / name for name in self._records if (stimuli / name).is_file()])
        if not self._paths:
            raise FileNotFoundError(f"{stimuli}: none of the {len(self._records)} stimuli in fixations.mat is here; {REMEDY}")

    @cached_property
    def missing(self) -> tuple[str, ...]:
        """Published images that lack their stimulus or their fixations here, and any others that lack their stimulus."""
        return tuple(sorted((set(PUBLISHED) | set(self._records)) - {path.name for path in self._paths}))

    def name(self, index: int) -> str:
        """File name of the stimulus, such as 1001.jpg, as fixations.mat has it."""
        return self._paths[index].name

    def fixations(self, index: int) -> NDArray[np.int64]:
        """(n, 2) pixels, x first, 0-based, in the image; all observers one after the other, each in order of time."""
        return self._inside(index)[1]

    def subjects(self, index: int) -> NDArray[np.int64]:
        """(n,): whose fixation each of `fixations(index)` is, 0 to 14."""
        kept, _ = self._inside(index)
        return self._records[self.name(index)][kept, 3].astype(np.int64)

    def durations(self, index: int) -> NDArray[np.float64]:
        """(n,) ms."""
        kept, _ = self._inside(index)
        return self._records[self.name(index)][kept, 2]

    def outside(self, index: int) -> int:
        """How many fixations lie too far outside the picture to be rounded into it, and are left out."""
        return int((~self._inside(index)[0]).sum())

    def _inside(self, index: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """(N,): which fixations of the file are kept, and those (n, 2) as pixels in the image."""
        size, rows = self.size(index), self._records[self.name(index)]
        recorded = size if self.is_twin else SIZE
        made_for(self.path(index), size, recorded, scale=self.scale_fixations)
        positions = rows[:, :2] - 0.5  # MATLAB's pixel 1 reaches from 0.5 to 1.5
        xy = to_pixels(positions, recorded, recorded)
        check_outside(xy, recorded, f"{self._mat}: {self.name(index)}", REMEDY)
        kept = inside_image(xy, recorded, slack=ROUNDING)
        return kept, np.clip(to_pixels(positions[kept], recorded, size), 0, [size[1] - 1, size[0] - 1])

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
            raise ValueError(f"weight {weight!r}: OSIE's fixations count once, or by duration; give weight='once' or 'duration'")
        sigma = BLUR * weights.shape[1] / SIZE[1] if self.scale_fixations else BLUR
        blurred = density_map(torch.from_numpy(weights), sigma=sigma).numpy()
        blurred -= blurred.min()
        return (blurred / (blurred.max() or 1)).astype(np.float32)

    def true_density(self, index: int) -> None:
        return None

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over the stimuli's names and sizes, and the bytes of fixations.mat."""
        return digest(self._paths, [self._mat])


def _read_fixations(path: Path) -> dict[str, NDArray[np.float64]]:
    """{file name: (n, 4) of x, y as published, duration, subject}."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: not found; give OSIE's root, the folder that holds data/eye and data/stimuli")
    try:
        cells = read_mat(path, ["fixations"])["fixations"]
        named = [(str(cell["img"].item().item()), _read_subjects(cell["subjects"].item())) for cell in cells.ravel()]
    except Exception as error:  # the file may hold anything in the place of cells and structs
        why = one_line(error).removeprefix(f"{path}: ").removesuffix(f"; {UNPACK}")[:200]  # the reader's line, but for what stands here anyway
        raise ValueError(f"{path}: not OSIE's fixations.mat ({type(error).__name__}: {why}); {REMEDY}") from None
    records = dict(named)
    if len(records) < len(named):
        names = [name for name, _ in named]
        raise ValueError(f"{path}: {next(name for name in names if names.count(name) > 1)!r} is in it twice; {REMEDY}")
    for name, rows in records.items():
        if not is_file_name(name):
            raise ValueError(f"{path}: {name!r} is no file name; {REMEDY}")
        if bad := int((~np.isfinite(rows)).any(axis=1).sum()):
            raise ValueError(f"{path}: {bad} of {len(rows)} fixations on {name!r} are not finite (NaN or infinite); {REMEDY}")
        if (rows[:, 2] < 0).any():
            raise ValueError(f"{path}: {name!r} has a fixation of {rows[:, 2].min():g} ms; {REMEDY}")
    return records


def _read_subjects(cells: NDArray[np.object_]) -> NDArray[np.float64]:
    """(15, 1) cells of 1 x 1 structs -> (n, 4)."""
    rows = []
    for subject, cell in enumerate(cells.ravel()):
        numbers = [cell[field].item().ravel() for field in ("fix_x", "fix_y", "fix_duration")]
        if odd := [found.dtype for found in numbers if found.size and found.dtype.kind not in "iuf"]:
            raise TypeError(f"fixations are {odd[0]}, not numbers")
        x, y, duration = (found.astype(np.float64) for found in numbers)
        rows.append(np.stack([x, y, duration, np.full(x.shape, subject)], axis=1))
    if not rows:
        raise ValueError("an image has no observers")
    return np.concatenate(rows)
