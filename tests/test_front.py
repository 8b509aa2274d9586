"""README's first picture: what it shows follows from the map, and what it was made of is written beside it and true."""

import hashlib
import json

import numpy as np
import pytest
from matplotlib import pyplot as plt
from PIL import Image

from lib.report import front

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 255, (40, 60, 3), dtype=np.uint8)


def test_only_what_stands_out_keeps_its_colours():
    saliency = np.zeros((40, 60))
    saliency[10:20, 30:40] = 0.3
    lit = front.lit(PHOTO, saliency)
    assert np.array_equal(lit[10:20, 30:40], PHOTO[10:20, 30:40])
    grey = lit[30:]
    assert (np.ptp(grey.astype(int), axis=2) == 0).all() and grey.mean() < PHOTO[30:].mean() / 2


def test_one_row_for_each_photograph_with_the_grids_lines_in_the_middle():
    saliency = np.full((40, 60), 0.1)
    saliency[5:12, 8:16] = 1.0
    figure = front.draw([PHOTO, PHOTO], [saliency, saliency])
    rows = [figure.axes[:3], figure.axes[3:]]
    assert len(figure.axes) == 6 and [len(axes.lines) > 0 for axes in rows[0]] == [False, True, False]
    assert [axes.get_title() for axes in rows[0]] == list(front.TITLES)
    lines = [line.get_xydata() for line in rows[0][1].lines]
    assert all(np.isfinite(line).all() and (line >= -0.01).all() and (line <= [59.01, 39.01]).all() for line in lines)
    plt.close(figure)


def test_a_picture_too_large_to_be_committed_is_refused_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(front, "made", lambda paths: (b"0" * (front.MOST + 1), {}))
    with pytest.raises(ValueError, match="PANEL"):
        front.write([tmp_path / "cat.png"] * 2, tmp_path / "front.jpg")
    assert not list(tmp_path.iterdir())


def test_the_picture_and_its_provenance_are_written_together(tmp_path, monkeypatch):
    for i in range(2):
        Image.fromarray(PHOTO).save(tmp_path / f"{i}.png")
    monkeypatch.setattr(front, "load_emlnet", lambda paths: paths)
    monkeypatch.setattr(front.predict, "saliency_map", lambda model, photo: np.linspace(0, 1, 2400).reshape(40, 60))
    front.write([tmp_path / "0.png", tmp_path / "1.png"], tmp_path / "front.jpg")
    about = json.loads((tmp_path / "front.json").read_text())
    assert [one["sha256"] for one in about["photographs"]] == [hashlib.sha256((tmp_path / "0.png").read_bytes()).hexdigest()] * 2
    assert about["sha256 of the weights"] == hashlib.sha256(front.weights().read_bytes()).hexdigest()
    with Image.open(tmp_path / "front.jpg") as picture:
        assert picture.format == "JPEG" and picture.width > 1000


def test_the_committed_picture_is_small_and_every_photograph_in_it_has_a_licence():
    about = json.loads(front.PICTURE.with_suffix(".json").read_text())
    assert front.PICTURE.stat().st_size <= front.MOST
    assert [{key: one[key] for key in ("photograph", "file", "licence")} for one in about["photographs"]] == list(front.PHOTOGRAPHS)
