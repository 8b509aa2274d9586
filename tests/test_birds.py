"""Drawn animals: species of a genus differ in the detail and nowhere else, and shrinking hides the small ones of it."""

import numpy as np
import pytest
from PIL import Image

from lib.data.synthetic import birds
from lib.data.synthetic.birds import GENERA, VARIANTS, render

SIZE = (160, 200)


def draw(name: str, variant: int, *, seed: int = 3, **options) -> tuple[np.ndarray, birds.Drawn]:
    image, drawn = render(np.random.default_rng(seed), GENERA[name], variant, SIZE, **options)
    return np.array(image, dtype=float), drawn


def area(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


@pytest.mark.parametrize("name", GENERA)
@pytest.mark.parametrize("diameter", [0.17, 0.34])
def test_species_differ_in_the_detail_and_nowhere_else(name, diameter):
    """Or a network could tell them apart without looking there."""
    pictures = [draw(name, variant, diameter=diameter) for variant in range(len(VARIANTS))]
    first, drawn = pictures[0]
    rows, columns = np.indices(SIZE) + 0.5
    away = np.hypot(columns - drawn.detail[0], rows - drawn.detail[1])
    length = 0.45 * min(SIZE)
    reach = 0.5 * diameter * length * (1.6 if GENERA[name].bill else 1.0) + 3  # a bill is longer than a disc; the lens
    for other, elsewhere in pictures[1:]:
        assert elsewhere == drawn
        changed = np.abs(other - first).max(2) > 0
        assert changed.sum() > 20 and not changed[away > reach].any()


@pytest.mark.parametrize("name", GENERA)
def test_both_halves_of_a_detail_are_equally_large(name):
    """So the mean colour tells the tone, not which half it is on."""
    whole, first = birds.detail_shapes(GENERA[name], 0, 0.17)
    for variant in range(len(VARIANTS)):
        same, half = birds.detail_shapes(GENERA[name], variant, 0.17)
        np.testing.assert_array_equal(whole, same)
        assert area(half) == pytest.approx(area(whole) / 2, rel=0.03)
    other = birds.detail_shapes(GENERA[name], 1, 0.17)[1]
    assert np.linalg.norm(first.mean(0) - other.mean(0)) > 0.05  # on two sides
    np.testing.assert_array_equal(first, birds.detail_shapes(GENERA[name], 2, 0.17)[1])  # the same half in another tone


@pytest.mark.parametrize("name", GENERA)
def test_boxes_and_parts_are_where_the_animal_is(name):
    """The picture without the animal is not at hand, so: another colour of animal changes the box and hardly anything else."""
    genus = GENERA[name]
    for seed in range(4):
        plain, drawn = draw(name, 0, seed=seed)
        bright = birds.Genus(**{**vars(genus), "colours": tuple((255 - r, 255 - g, 255 - b) for r, g, b in genus.colours)})
        other = np.array(render(np.random.default_rng(seed), bright, 0, SIZE)[0], dtype=float)
        rows, columns = np.nonzero(np.abs(plain - other).max(2) > 12)
        x, y, w, h = drawn.box
        assert 0 <= x and 0 <= y and x + w <= SIZE[1] and y + h <= SIZE[0]
        assert columns.min() >= x - 2 and columns.max() <= x + w + 1 and rows.min() >= y - 2 and rows.max() <= y + h + 1
        for place in (drawn.detail, *drawn.parts.values()):
            assert x - 2 <= place[0] <= x + w + 2 and y - 2 <= place[1] <= y + h + 2
        assert 0.2 * min(SIZE) < max(w, h) < 0.55 * min(SIZE)


def test_a_bird_shows_the_side_that_it_turns_to_the_viewer():
    """A bird that looks to the picture's right shows its right side; CUB-200-2011 names parts so."""
    seen = set()
    for seed in range(12):
        _, drawn = draw("jay", 0, seed=seed)
        side = "right" if drawn.parts["beak"][0] > drawn.parts["tail"][0] else "left"
        seen.add(side)
        assert {f"{side} eye", f"{side} wing", f"{side} leg"} <= drawn.parts.keys()
        assert not any(name.startswith("left" if side == "right" else "right") for name in drawn.parts)
        assert drawn.parts[f"{side} wing"] == drawn.detail  # what decides in this genus
    assert seen == {"left", "right"}
    assert birds.part_names("jay", of="wing") == ["left wing", "right wing"] and birds.part_names("finch", of="beak") == ["beak"]


def test_shrinking_hides_small_details_but_not_large_ones():
    """What the experiment rests on: at 64 pixels a side the halves of a small detail are next to lost, those of a large one not."""
    def difference(diameter: float, seed: int) -> float:
        """Mean change in the shrunk picture around the detail between the halves, as a share of the full contrast."""
        pictures, place = [], None
        for variant in (0, 1):
            image, drawn = render(np.random.default_rng(seed), GENERA["beetle"], variant, (256, 256), diameter=diameter)
            pictures.append((np.array(image, dtype=float), np.array(image.resize((64, 64), Image.Resampling.BOX), dtype=float)))
            place = drawn
        (full_a, small_a), (full_b, small_b) = pictures
        assert place is not None
        clear = np.abs(full_a - full_b).max()
        cells = np.abs(small_a - small_b).max(2) > 0.5 * clear
        return float(cells.sum())

    small, large = (np.mean([difference(diameter, seed) for seed in range(8)]) for diameter in (0.17, 0.34))
    assert 0 < small < 14 and large > 3.5 * small  # cells that still show which half it is


def test_the_same_stream_draws_the_same_picture_and_another_does_not():
    first, again, other = (draw("finch", 2, seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 5


def test_an_animal_that_may_not_fit_is_refused():
    with pytest.raises(ValueError, match="at most 0.7"):
        draw("wader", 0, share=(0.5, 0.9))
