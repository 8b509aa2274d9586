"""Drawn animals of a few genera: shape and colour tell the genus, one small two-toned detail tells the species within it.

The pictures of the synthetic iNaturalist and CUB-200-2011, drawn with Pillow at twice their size. A genus has a part that
decides (crown, bill, wing, breast, wing case, hind wing), a warm or a cool tone on one half of it and the genus' own on the
other; a species is which tone and which half (`VARIANTS`). Shrinking leaves a tint of the tone, and of the halves less.
Nothing else in the picture depends on the species. Ours throughout; no paper describes it.

Body coordinates: x forward, y towards the feet, 1 is the animal's length. Pixels: x first, (0, 0) is the picture's corner.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lib.data.synthetic.bird_scenes import CIRCLE, SUPER, Canvas, Colour, Points, background, expose, leaf, shade, twig

# The tone, and the half that it is on: before or behind (above or below, for some genera) the middle of the detail.
VARIANTS = ("warm anterior", "warm posterior", "cool anterior", "cool posterior")

SIDED = ("eye", "leg", "wing")  # parts that a bird has on both sides


@dataclass(frozen=True)
class Genus:
    """What all its species share, in body coordinates."""

    supercategory: str
    deciding: str  # the part that tells its species apart
    at: tuple[float, float]  # the middle of the detail
    upright: bool  # the halves are its upper and lower, not its front and hind ones
    tones: tuple[tuple[int, int, int], ...]  # warm, cool, and the genus' own
    colours: tuple[tuple[int, int, int], ...]  # main, second, third
    parts: dict[str, tuple[float, float]]  # "eye", "leg", "wing" are those of the side that is seen
    extent: tuple[float, float, float, float]  # least x and y, most x and y
    draw: Callable[[Canvas, list[Colour]], None]
    turn: tuple[float, float] = (-12.0, 12.0)  # degrees, clockwise
    mirrored: bool = True
    perch: float = 0.36  # y of its feet; 0 for an animal seen from above
    bill: tuple[tuple[float, float], ...] = ()  # the detail's outline where it is no disc


@dataclass(frozen=True)
class Drawn:
    """Where things are in a picture, in its pixels."""

    box: tuple[float, float, float, float]  # x, y, w, h of the animal
    parts: dict[str, tuple[float, float]]  # those that are seen
    detail: tuple[float, float]


def smooth(points: tuple[tuple[float, float], ...], steps: int = 5) -> Points:
    """(n, 2) -> (n * steps, 2): the closed Catmull-Rom curve through the points."""
    here = np.array(points)
    before, after, beyond = np.roll(here, 1, axis=0), np.roll(here, -1, axis=0), np.roll(here, -2, axis=0)
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    curve = 2 * here + (after - before) * t + (2 * before - 5 * here + 4 * after - beyond) * t**2
    curve = (curve + (3 * here - before - 3 * after + beyond) * t**3) / 2  # (steps, n, 2)
    return curve.transpose(1, 0, 2).reshape(-1, 2)


# --------------------------------------------------------------------------------------------------------------- genera


def _bird(
    *, outline: tuple, wing: tuple, tail: tuple, bill: tuple, hips: tuple[float, float], feet: float, crest: tuple = (),
) -> Callable[[Canvas, list[Colour]], None]:
    """A bird in profile. Its outline is smoothed, and so is its wing."""
    body, folded = smooth(outline), smooth(wing)
    belly = body * (0.93, 0.75) + (0.02, 0.07)
    tip = folded[np.argmin(folded[:, 0])]

    def draw(canvas: Canvas, colours: list[Colour]) -> None:
        main, second, third = colours
        for x, lighter in ((hips[0] - 0.05, 0.7), (hips[0] + 0.02, 1.0)):
            leg = np.array([(x, hips[1] - 0.02), (x - 0.01, (hips[1] + feet) / 2), (x + 0.01, feet)])
            canvas.line(leg, 0.014, lighter * np.array([120.0, 92, 70]))
            canvas.line(np.array([(x - 0.03, feet), (x + 0.05, feet)]), 0.014, lighter * np.array([120.0, 92, 70]))
        canvas.polygon(np.array(tail), second * 0.85)
        if crest:
            canvas.polygon(np.array(crest), main * 0.9)
        canvas.polygon(body, main)
        canvas.inlay([(belly[belly[:, 1] > belly[:, 1].mean() + 0.04], third)])
        canvas.polygon(folded, second)
        for share in (0.3, 0.55, 0.8):  # flight feathers
            root = folded[:, :].mean(0) + (0.08, 0.05 * (share - 0.3))
            canvas.line(np.stack([root * (1 - 0.2 * share), tip * share + root * (1 - share) + (0, 0.03)]), 0.008, second * 0.75)
        if bill:
            canvas.polygon(np.array(bill), np.array([64.0, 58, 54]))

    return draw


def _draw_eye(canvas: Canvas, x: float, y: float) -> None:
    canvas.ellipse(x, y, 0.024, 0.024, np.array([18.0, 14, 12]))
    canvas.ellipse(x + 0.006, y - 0.008, 0.007, 0.007, np.array([235.0, 235, 235]))


def _draw_beetle(canvas: Canvas, colours: list[Colour]) -> None:
    """From above, its head towards +x."""
    main, second, third = colours
    for x, reach, lean in ((0.2, 0.3, 0.14), (0.05, 0.33, -0.02), (-0.08, 0.32, -0.18)):
        for side in (-1, 1):
            knee = (x + 0.3 * lean, side * 0.75 * reach)
            canvas.line(np.array([(x, side * 0.12), knee, (x + lean, side * reach)]), 0.022, third)
    for side in (-1, 1):
        canvas.line(np.array([(0.38, side * 0.04), (0.44, side * 0.12), (0.5, side * 0.16)]), 0.014, third)
    canvas.ellipse(0.37, 0, 0.085, 0.09, third)
    canvas.ellipse(0.245, 0, 0.12, 0.18, second)
    canvas.polygon(smooth(((0.2, 0), (0.16, 0.19), (-0.06, 0.25), (-0.3, 0.17), (-0.45, 0), (-0.3, -0.17), (-0.06, -0.25), (0.16, -0.19))), main)
    canvas.line(np.array([(0.19, 0), (-0.44, 0)]), 0.01, main * 0.6)
    for side in (-1, 1):
        canvas.line(np.array([(0.14, side * 0.1), (-0.1, side * 0.14), (-0.34, side * 0.08)]), 0.008, main * 0.8)


def _draw_butterfly(canvas: Canvas, colours: list[Colour]) -> None:
    """In profile with closed wings."""
    main, second, third = colours
    for side in (0.0, 0.04):
        canvas.line(np.array([(0.32 - side, 0.1), (0.43, -0.02 - side), (0.5, -0.06 - side)]), 0.011, third)
        canvas.line(np.array([(0.18 - 2 * side, 0.2), (0.2 - 2 * side, 0.3), (0.24 - 2 * side, 0.34)]), 0.011, third)
    fore = smooth(((0.2, 0.12), (0.3, -0.2), (0.34, -0.42), (0.26, -0.49), (0.04, -0.42), (-0.14, -0.26), (-0.06, -0.04), (0.06, 0.1)))
    hind = smooth(((0.14, 0.16), (0.06, -0.06), (-0.12, -0.2), (-0.3, -0.25), (-0.4, -0.18), (-0.4, -0.07), (-0.47, 0.02), (-0.4, 0.1),
                   (-0.4, 0.19), (-0.26, 0.2), (-0.16, 0.26), (0.02, 0.22)))
    canvas.polygon(fore, main)
    canvas.inlay([(fore[fore[:, 1] < -0.36], main * 0.55)])
    canvas.polygon(hind, second)
    for end in ((-0.44, 0.0), (-0.36, 0.14), (-0.3, -0.22), (-0.12, 0.2)):
        canvas.line(np.array([(0.08, 0.12), end]), 0.008, second * 0.8)
    canvas.line(np.array([(0.3, 0.12), (0.16, 0.18), (-0.1, 0.27)]), 0.05, third)
    canvas.ellipse(0.32, 0.12, 0.045, 0.045, third)


_WARBLER = _bird(
    outline=((0.39, -0.14), (0.34, -0.27), (0.24, -0.31), (0.13, -0.26), (0, -0.18), (-0.18, -0.12), (-0.32, -0.02), (-0.3, 0.08),
             (-0.12, 0.2), (0.08, 0.22), (0.24, 0.12), (0.35, -0.02)),
    wing=((0.12, -0.06), (0, -0.09), (-0.2, -0.03), (-0.4, 0.08), (-0.2, 0.1), (0.02, 0.11), (0.12, 0.05)),
    tail=((-0.22, -0.07), (-0.5, 0.05), (-0.52, 0.13), (-0.24, 0.1)), bill=((0.37, -0.19), (0.49, -0.15), (0.37, -0.125)),
    hips=(0.02, 0.2), feet=0.36,
)
_FINCH = _bird(
    outline=((0.33, -0.1), (0.32, -0.22), (0.22, -0.3), (0.1, -0.27), (-0.02, -0.18), (-0.2, -0.1), (-0.34, 0), (-0.3, 0.1),
             (-0.12, 0.24), (0.08, 0.26), (0.24, 0.16), (0.33, 0.02)),
    wing=((0.1, -0.06), (-0.02, -0.09), (-0.2, -0.02), (-0.38, 0.1), (-0.18, 0.13), (0.02, 0.13), (0.11, 0.05)),
    tail=((-0.24, -0.05), (-0.47, 0.06), (-0.43, 0.12), (-0.48, 0.17), (-0.26, 0.12)), bill=(),
    hips=(0.02, 0.24), feet=0.37,
)
_JAY = _bird(
    outline=((0.36, -0.1), (0.35, -0.18), (0.28, -0.24), (0.18, -0.23), (0.05, -0.15), (-0.1, -0.09), (-0.22, -0.01), (-0.22, 0.07),
             (-0.06, 0.15), (0.1, 0.18), (0.24, 0.12), (0.32, 0)),
    wing=((0.14, -0.05), (0.02, -0.09), (-0.16, -0.02), (-0.34, 0.08), (-0.14, 0.11), (0.04, 0.12), (0.13, 0.05)),
    tail=((-0.16, -0.03), (-0.52, 0.07), (-0.53, 0.15), (-0.18, 0.08)), bill=((0.35, -0.165), (0.48, -0.12), (0.35, -0.1)),
    hips=(0.04, 0.16), feet=0.31, crest=((0.32, -0.22), (0.12, -0.37), (0.17, -0.2)),
)
_WADER = _bird(
    outline=((0.34, -0.32), (0.3, -0.38), (0.22, -0.38), (0.16, -0.31), (0.12, -0.18), (0, -0.12), (-0.16, -0.08), (-0.36, 0),
             (-0.3, 0.07), (-0.1, 0.14), (0.1, 0.14), (0.24, 0.05), (0.27, -0.1), (0.26, -0.24), (0.3, -0.28)),
    wing=((0.05, -0.06), (-0.04, -0.09), (-0.2, -0.04), (-0.42, 0.05), (-0.2, 0.08), (-0.04, 0.09), (0.05, 0.03)),
    tail=((-0.26, -0.03), (-0.42, 0.03), (-0.4, 0.08), (-0.26, 0.07)), bill=((0.325, -0.345), (0.55, -0.28), (0.325, -0.3)),
    hips=(-0.02, 0.12), feet=0.46,
)
_COMMON = {"eye": (0.31, -0.16), "back": (-0.08, -0.12), "belly": (0.0, 0.19), "tail": (-0.46, 0.09), "leg": (0.03, 0.28), "wing": (-0.04, 0.02)}

GENERA: dict[str, Genus] = {
    "warbler": Genus(
        "Aves", "crown", (0.235, -0.232), False, ((206, 40, 34), (44, 84, 206), (242, 238, 230)), ((158, 150, 62), (104, 104, 58), (216, 204, 120)),
        {**_COMMON, "eye": (0.315, -0.165), "crown": (0.235, -0.232), "beak": (0.43, -0.155), "forehead": (0.345, -0.24), "nape": (0.12, -0.22),
         "throat": (0.33, -0.05), "breast": (0.24, 0.06)}, (-0.55, -0.33, 0.51, 0.38), _WARBLER),
    "finch": Genus(
        "Aves", "beak", (0.375, -0.128), True, ((244, 158, 30), (70, 190, 205), (34, 32, 38)), ((172, 74, 58), (108, 56, 48), (204, 142, 116)),
        {**_COMMON, "eye": (0.25, -0.18), "crown": (0.2, -0.27), "beak": (0.375, -0.128), "forehead": (0.3, -0.25), "nape": (0.06, -0.22),
         "throat": (0.31, 0.0), "breast": (0.25, 0.1)}, (-0.51, -0.33, 0.49, 0.39), _FINCH, perch=0.37,
        bill=((0.30, -0.21), (0.39, -0.195), (0.47, -0.11), (0.39, -0.075), (0.30, -0.05))),
    "jay": Genus(
        "Aves", "wing", (-0.01, 0.015), True, ((250, 160, 60), (130, 232, 224), (20, 22, 34)), ((86, 124, 186), (64, 92, 152), (198, 206, 214)),
        {**_COMMON, "eye": (0.29, -0.155), "crown": (0.24, -0.23), "beak": (0.42, -0.12), "forehead": (0.33, -0.2), "nape": (0.1, -0.17),
         "throat": (0.32, -0.02), "breast": (0.24, 0.08), "wing": (-0.01, 0.015), "belly": (0.04, 0.15)}, (-0.55, -0.39, 0.5, 0.33), _JAY,
        perch=0.31),
    "wader": Genus(
        "Aves", "breast", (0.155, -0.015), True, ((240, 120, 40), (60, 124, 224), (30, 26, 30)), ((152, 126, 100), (112, 92, 76), (228, 220, 206)),
        {**_COMMON, "eye": (0.26, -0.33), "crown": (0.26, -0.37), "beak": (0.44, -0.31), "forehead": (0.32, -0.36), "nape": (0.15, -0.28),
         "throat": (0.27, -0.2), "breast": (0.155, -0.015), "belly": (0.0, 0.13), "tail": (-0.38, 0.05), "wing": (-0.15, 0.0)},
        (-0.46, -0.41, 0.57, 0.48), _WADER, perch=0.46),
    "beetle": Genus(
        "Insecta", "wing case", (-0.1, 0.0), False, ((250, 196, 50), (120, 190, 255), (14, 16, 18)), ((44, 112, 84), (34, 82, 74), (36, 34, 32)),
        {"head": (0.37, 0.0), "thorax": (0.245, 0.0), "wing case": (-0.1, 0.0), "antenna": (0.5, 0.16)},
        (-0.47, -0.35, 0.52, 0.35), _draw_beetle, turn=(-125.0, -55.0), mirrored=False, perch=0.0),
    "butterfly": Genus(
        "Insecta", "hind wing", (-0.17, 0.0), False, ((196, 34, 56), (44, 84, 216), (250, 248, 242)), ((220, 128, 44), (206, 150, 92), (62, 48, 40)),
        {"head": (0.32, 0.12), "thorax": (0.18, 0.17), "abdomen": (-0.06, 0.26), "fore wing": (0.18, -0.3), "hind wing": (-0.17, 0.0),
         "antenna": (0.5, -0.08)}, (-0.49, -0.53, 0.52, 0.37), _draw_butterfly, turn=(-20.0, 20.0), perch=0.34),
}


# --------------------------------------------------------------------------------------------------------------- details


def detail_shapes(genus: Genus, variant: int, diameter: float) -> list[Points]:
    """Two polygons in body coordinates, the whole detail and the half of it in the variant's tone."""
    at = np.array(genus.at)
    whole = at + CIRCLE * diameter / 2
    if genus.bill:
        whole, root = np.array(genus.bill), np.mean([genus.bill[0], genus.bill[-1]], axis=0)
        whole, at = root + (whole - root) * diameter / 0.15, root + (at - root) * diameter / 0.15  # 0.15: about the size of a disc
    towards = np.array((0.0, -1.0) if genus.upright else (1.0, 0.0)) * (1 - 2 * (variant % 2))
    return [whole, _half(whole, at, towards)]


def _half(polygon: Points, at: Points, towards: Points) -> Points:
    """What of a convex polygon lies on the side of `at` that `towards` points to."""
    depth = (polygon - at) @ towards
    kept: list[Points] = []
    for i in range(len(polygon)):
        j = (i + 1) % len(polygon)
        if depth[i] >= 0:
            kept.append(polygon[i])
        if depth[i] * depth[j] < 0:
            kept.append(polygon[i] + (polygon[j] - polygon[i]) * depth[i] / (depth[i] - depth[j]))
    return np.array(kept)


# -------------------------------------------------------------------------------------------------------------- pictures


def render(
    rng: np.random.Generator, genus: Genus, variant: int, size: tuple[int, int], *, diameter: float = 0.17,
    share: tuple[float, float] = (0.25, 0.45),
) -> tuple[Image.Image, Drawn]:
    """One animal somewhere in a picture of `size`, (H, W), and where its parts are.

    variant: index into VARIANTS. diameter: of the detail, in body lengths. share: least and most of the animal's length, of the
    picture's shorter side. The same random stream draws the same picture for all variants of a genus, but for the detail.
    """
    if share[1] > 0.7:
        raise ValueError(f"share {share}: at most 0.7, or an animal may not fit into its picture")
    picture = background(rng, size)
    centre, matrix, mirror = _pose(rng, genus, picture.size, share, diameter)
    _draw_perch(picture, genus, centre, matrix, rng)
    canvas = Canvas(picture, centre, matrix, _extent(genus, diameter))
    genus.draw(canvas, [shade(rng, colour, 0.16) for colour in genus.colours])
    warm, cool, own = (np.array(tone) * rng.uniform(0.85, 1.0) for tone in genus.tones)
    whole, half = detail_shapes(genus, variant, diameter)
    if genus.bill:
        canvas.polygon(whole, own)
    canvas.inlay([(whole, own), (half, cool if variant // 2 else warm)])
    if "eye" in genus.parts:
        _draw_eye(canvas, *genus.parts["eye"])  # last: a large detail goes over the head
    box = canvas.finish(rng)
    _draw_foreground(picture, box, rng)

    def place(at: Points) -> tuple[float, float]:
        x, y = (canvas.pixels(at) / SUPER).tolist()
        return x, y

    detail = place(whole.mean(0))
    parts = {_seen(name, mirror): detail if name == genus.deciding else place(np.array(at)) for name, at in genus.parts.items()}
    x, y, w, h = (box / SUPER).tolist()
    return expose(picture, rng), Drawn((x, y, w, h), parts, detail)


def _pose(
    rng: np.random.Generator, genus: Genus, size: tuple[int, int], share: tuple[float, float], diameter: float
) -> tuple[Points, NDArray[np.float64], float]:
    """Where the body's origin lies in a picture of `size`, (W, H), the matrix (2, 2) to its pixels, and -1 if mirrored."""
    length = rng.uniform(*share) * min(size)
    mirror = -1.0 if genus.mirrored and rng.random() < 0.5 else 1.0
    angle = np.deg2rad(rng.uniform(*genus.turn)) * mirror
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = length * turn @ np.diag((mirror * rng.uniform(0.96, 1.0), rng.uniform(0.93, 1.05)))
    around = _extent(genus, diameter) @ matrix.T
    return rng.uniform(4 - around.min(0), np.array(size) - 4 - around.max(0)), matrix, mirror


def _extent(genus: Genus, diameter: float) -> Points:
    """The corners of all that is drawn of it; a large bill needs room too."""
    whole = detail_shapes(genus, 0, diameter)[0]
    (x0, y0), (x1, y1) = np.minimum(genus.extent[:2], whole.min(0)), np.maximum(genus.extent[2:], whole.max(0))
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])


def _seen(name: str, mirror: float) -> str:
    """The part's full name: a bird that looks to the picture's right shows its right side."""
    return f"{'right' if mirror > 0 else 'left'} {name}" if name in SIDED else name


def part_names(genus: str, *, of: str | None = None) -> list[str]:
    """The full names that a genus' parts can have, or those of one part: both sides where it has two."""
    names = [of] if of else list(GENERA[genus].parts)
    return [full for name in names for full in sorted({_seen(name, -1.0), _seen(name, 1.0)})]


def _draw_perch(picture: Image.Image, genus: Genus, centre: Points, matrix: NDArray[np.float64], rng: np.random.Generator) -> None:
    """A twig under the feet, for most."""
    if not genus.perch or rng.random() < 0.2:
        return
    colour, width = shade(rng, (96, 76, 56), 0.25), rng.uniform(0.02, 0.035) * abs(float(np.linalg.det(matrix))) ** 0.5
    slope, ends = rng.normal(0, 0.06), np.array([-rng.uniform(0.4, 1.2), rng.uniform(0.4, 1.2)])
    left, right = centre + np.stack([ends, slope * ends + genus.perch + 0.015], axis=1) @ matrix.T
    twig(ImageDraw.Draw(picture), left, right, width, colour, rng)


def _draw_foreground(picture: Image.Image, box: NDArray[np.float64], rng: np.random.Generator) -> None:
    """A few leaves nearer than the animal, none of them before it."""
    draw, (x, y, w, h) = ImageDraw.Draw(picture), box
    for _ in range(rng.integers(0, 5)):
        at, length, angle = rng.uniform(0, 1, 2) * picture.size, min(picture.size) * rng.uniform(0.1, 0.22), rng.uniform(0, 2 * np.pi)
        colour = shade(rng, (84, 122, 52), 0.4)
        if (at < np.array([x, y]) - length).any() or (at > np.array([x + w, y + h]) + length).any():
            leaf(draw, at, length, angle, colour, rng)


# ---------------------------------------------------------------------------------------------------------------- files

SHAPES = ((1.0, 1.0), (1.0, 1.25), (1.25, 1.0))  # height and width of pictures, of their shorter side
JPEG_QUALITY = 92


@dataclass(frozen=True)
class Picture:
    """One picture to write."""

    path: Path
    genus: str
    variant: int
    side: int  # the shorter one, pixels
    diameter: float
    share: tuple[float, float]
    seed: np.random.SeedSequence


def write_picture(picture: Picture) -> tuple[tuple[int, int], Drawn]:
    """Draw and save it; (H, W) and where things are."""
    rng = np.random.default_rng(picture.seed)
    shape = SHAPES[rng.integers(len(SHAPES))]
    size = (round(picture.side * shape[0]), round(picture.side * shape[1]))
    image, drawn = render(rng, GENERA[picture.genus], picture.variant, size, diameter=picture.diameter, share=picture.share)
    picture.path.parent.mkdir(parents=True, exist_ok=True)
    image.save(picture.path, quality=JPEG_QUALITY)
    return size, drawn
