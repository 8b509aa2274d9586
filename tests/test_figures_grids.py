"""The figure that compares the grids: its panels, its numbers, and that it is drawn without a warning."""

import pytest
import torch
from matplotlib.colors import to_rgba

from lib.figures import grids, style
from lib.models.grids import GRIDS

pytestmark = pytest.mark.usefixtures("drawn_without_warnings")


def test_compare_grids(monkeypatch):
    monkeypatch.setattr(grids, "line_left", lambda scale: min(scale, 1.0))  # measured in tests/test_carry.py
    monkeypatch.setattr(grids, "STRENGTHS", (0.0, 1.0))
    figure = grids.compare_grids(maps=grids.several_blobs(2))
    figure.canvas.draw()
    assert len(figure.axes) == 2 * (1 + len(GRIDS)) + 1 + 3
    for part in (figure, *figure.axes):
        assert to_rgba(part.get_facecolor()) == (1, 1, 1, 1)
    assert len(figure.axes[-3].lines) == len(GRIDS)


def test_every_grid_has_its_label_colour_and_marker():
    assert set(grids.LABELS) == set(grids.COLOURS) == set(grids.MARKERS) == set(GRIDS)
    assert len(set(grids.COLOURS.values())) == len(set(grids.MARKERS.values())) == len(GRIDS)


def test_ghosts_are_measured_where_they_are():
    found = grids.ghosts()
    for name in ("separable", "marginal", "cells"):
        assert found[name][1] == pytest.approx(found[name][0], rel=0.02)
    for name in ("attraction", "transport"):
        assert found[name][0] > 2 and found[name][1] < 0.9


def test_trade_offs_start_at_the_identity_and_cost_shape():
    measured = grids.trade_offs(grids.several_blobs(3), (0.0, 0.6))
    for name, ((zoom, anisotropy, shear), stronger) in measured.items():
        assert (zoom, anisotropy, shear) == pytest.approx((1, 1, 0), abs=1e-5), name
        assert stronger[0] > 1.05 and stronger[1] > 1.02
        assert (stronger[2] > 1) == (name in ("attraction", "transport")), "only a grid of the plane shears"


@pytest.mark.parametrize("scale", [0.25, 2.0])
def test_the_thin_line(scale):
    left = grids.line_left(scale, size=64, task=32)
    assert left > 0.8 if scale > 1 else left < 0.5


def test_blobs_lie_where_they_should():
    heat = grids.blob_map(((8.0, 20.0),))
    peak = heat.flatten().argmax().item()
    assert (peak % 31, peak // 31) == (8, 20)
    assert torch.allclose(grids.as_positions(((0.0, 30.0),)), torch.tensor([[[-1.0, 1.0]]], dtype=torch.float64))
    assert style.CYCLE[0] == grids.COLOURS["attraction"]
