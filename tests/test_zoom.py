"""`python -m lib zoom`: what stands out is larger, nothing folds or is cut off, and a bad file does not stop the others."""

import argparse

import numpy as np
import pytest
import torch
from PIL import Image

from lib import options, zoom
from lib.models.sampler import folds, magnification, resize_grid

HEIGHT, WIDTH = 96, 144


def photograph(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """(H, W, 3): smooth, and another colour everywhere."""
    y, x = np.mgrid[:height, :width]
    return np.stack([255 * x / width, 255 * y / height, 128 + 100 * np.sin(x / 9) * np.sin(y / 9)], axis=-1).astype(np.uint8)


def spot(row: float, column: float, *, spread: float = 0.12, size: tuple[int, int] = (60, 90)) -> np.ndarray:
    """A heat map with one peak at (row, column), both from 0 to 1."""
    y, x = np.mgrid[:size[0], :size[1]]
    far = ((y + 0.5) / size[0] - row) ** 2 + ((x + 0.5) / size[1] - column) ** 2
    return (0.02 + np.exp(-far / (2 * spread**2))).astype(np.float32)


def run(*words) -> int:
    parser = argparse.ArgumentParser()
    options.zoom_arguments(parser)
    return zoom.main(parser.parse_args([*map(str, words)]))


@pytest.fixture
def files(tmp_path):
    """A photograph and a heat map on disk."""
    Image.fromarray(photograph()).save(tmp_path / "photo.png")
    np.save(tmp_path / "heat.npy", spot(0.3, 0.7))
    return tmp_path / "photo.png", tmp_path / "heat.npy"


@pytest.mark.parametrize("grid", zoom.GRIDS)
def test_no_strength_leaves_the_photograph_as_it_is(grid):
    zoomed, _ = zoom.zoom(photograph(), spot(0.3, 0.7), grid=grid, strength=0)
    assert np.abs(zoomed.astype(int) - photograph()).max() <= 2


@pytest.mark.parametrize("grid", zoom.GRIDS)
@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH), (WIDTH, HEIGHT)])
def test_the_peak_grows_nothing_folds_and_the_border_stays_the_border(grid, shape):
    """Were the grid to leave the photograph, its last pixels would smear; were it to stay inside, a stripe would be cut off."""
    zoomed, made = zoom.zoom(photograph(*shape), spot(0.5, 0.5), grid=grid)
    assert zoomed.shape == (*shape, 3) and zoomed.dtype == np.uint8
    fine = resize_grid(made, 65)
    assert folds(made).item() == 0
    factor = magnification(fine)[0]
    assert factor[32, 32] > 1.1 * factor[[0, 0, -1, -1], [0, -1, 0, -1]].max()
    for edge, axis, sign in ((fine[0, :, 0], 0, -1), (fine[0, :, -1], 0, 1), (fine[0, 0], 1, -1), (fine[0, -1], 1, 1)):
        assert (edge[:, axis] - sign).abs().max() < 0.02


def test_an_empty_map_zooms_nothing_and_a_wrong_one_is_refused():
    zoomed, made = zoom.zoom(photograph(), np.zeros((20, 30), np.float32))
    assert np.abs(zoomed.astype(int) - photograph()).max() <= 2 and torch.allclose(magnification(made), torch.ones(()), atol=1e-3)
    for bad in (np.full((20, 30), np.nan, np.float32), -np.ones((20, 30), np.float32)):
        with pytest.raises(ValueError, match="negative, infinite or NaN"):
            zoom.zoom(photograph(), bad)
    with pytest.raises(ValueError, match="'fisheye' is not one of attraction"):
        zoom.zoom(photograph(), spot(0.5, 0.5), grid="fisheye")


def test_a_map_whose_weight_the_grid_cannot_reach_is_refused_not_drawn_black():
    corner = np.zeros((HEIGHT, WIDTH), np.float32)
    corner[0, 0] = 1
    with pytest.raises(ValueError, match="--strength"):
        zoom.zoom(photograph(), corner, grid="separable")


def test_what_explains_a_zoom_keeps_each_pictures_proportions():
    zoomed, made = zoom.zoom(photograph(), spot(0.5, 0.5), size=(30, 120))
    shown = zoom.side_by_side(photograph(), spot(0.5, 0.5), made, zoomed)
    assert shown.size == (2 * 720 + 1600 + 2 * zoom.GAP, zoom.PANEL)
    strip = photograph(10, 400)
    assert zoom.side_by_side(strip, spot(0.5, 0.5), zoom.zoom(strip, spot(0.5, 0.5))[1], strip).size == (3 * zoom.WIDEST + 2 * zoom.GAP, 40)


def test_a_smaller_result_is_averaged_not_skipped():
    stripes = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    stripes[:, ::2] = 255
    zoomed, _ = zoom.zoom(stripes, spot(0.5, 0.5), strength=0, size=(24, 36))
    assert zoomed.shape == (24, 36, 3) and abs(int(np.median(zoomed)) - 128) < 40


def test_the_command_writes_the_zoomed_photograph_and_what_explains_it(files, tmp_path, capsys):
    photo, heat = files
    assert run(photo, "--heatmap", heat, "--out", tmp_path / "out", "--size", "48,72") == 0
    written = capsys.readouterr().out.split()
    assert [Image.open(path).size for path in written] == [(72, 48), (3 * 720 + 2 * zoom.GAP, zoom.PANEL)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["photo_zoom.png", "photo_zoom_explained.png"]


def test_a_photograph_that_cannot_be_read_is_named_and_the_others_are_written(files, tmp_path, capsys):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    assert run(tmp_path / "broken.jpg", files[0], "--heatmap", files[1], "--out", tmp_path / "out") == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert "broken.jpg" in line and len(list((tmp_path / "out").iterdir())) == 2


def test_where_no_photograph_is_there_no_network_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(zoom, "_heat", lambda arguments: pytest.fail("loaded"))
    with pytest.raises(FileNotFoundError, match=r"none\.jpg: missing; give a photograph"):
        run(tmp_path / "none.jpg")


def test_two_photographs_of_one_name_are_refused_before_anything_is_written(files, tmp_path):
    with pytest.raises(ValueError, match="photo_zoom.png; zoom them into different folders"):
        run(files[0], tmp_path / "elsewhere" / "photo.jpg", "--heatmap", files[1], "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_weights_of_the_repository_zoom_a_photograph(files, tmp_path):
    assert run(files[0], "--out", tmp_path / "out") == 0
