"""Figures: every one is made without a warning, has its panels, and stays readable on any page."""

import io

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from PIL import Image

from lib import batch
from lib.figures import anatomy, interactive, style, tables, zoom
from lib.models.rivals import Uniform
from lib.models.sampler import Sampled, identity_grid, magnification, saliency_grid


pytestmark = pytest.mark.usefixtures("drawn_without_warnings")


@pytest.fixture(scope="module")
def picture() -> anatomy.Picture:
    return anatomy.pictures("twin", None)[0]


def numbers(rows=("plain", "sampler", "control_plain"), columns=("iPad", "iPhone")) -> pd.DataFrame:
    """What `Filled.numbers` gives."""
    return pd.DataFrame([{
        "row": row, "label": row.upper(), "variant": "control" if row.startswith("control") else "main", "column": column,
        "quantity": "error (cm)", "lower_is_better": True,
        "paper": 2.0 if row == "plain" else None, "ours": 3.0, "ours_low": 2.5, "ours_high": 3.6,
        "versus_reference": np.nan if row == "plain" else -0.5, "versus_reference_low": -0.7, "versus_reference_high": -0.3,
        "paper_versus_reference": np.nan} for row in rows for column in columns])


def history(epochs: int = 3) -> list[dict]:
    return [{"epoch": i + 1, "distance_cm": 4 / (i + 1), "val": 5 / (i + 1)} for i in range(epochs)]


def sampled(image: torch.Tensor) -> dict[str, Sampled]:
    saliency = anatomy.blob_map(3, 0.05).float()
    grid = saliency_grid(saliency, sigma=5.0)
    plain = Uniform(24)(image[None])
    return {"plain": plain, "attraction": Sampled(plain.image, grid, saliency)}


def check(figure: Figure, axes: int) -> None:
    assert isinstance(figure, Figure)
    assert len(figure.axes) == axes
    for part in (figure, *figure.axes):
        assert to_rgba(part.get_facecolor()) == (1, 1, 1, 1), "opaque white, on dark pages too"
    for ax in figure.axes:
        for drawn in (*ax.images, *ax.collections):
            assert drawn.get_cmap().name not in ("jet", "hsv", "rainbow", "gist_rainbow", "nipy_spectral")
        assert not ax.patch.get_alpha()


class TestStyle:
    def test_saves_an_opaque_png_and_nothing_half_written(self, tmp_path):
        figure, axes = style.panels([1.0, 2.0], [1.0])
        path = style.save(figure, tmp_path, "some")
        assert path == tmp_path / "figures" / "some.png" and [p.name for p in path.parent.iterdir()] == ["some.png"]
        with Image.open(path) as image:
            assert np.asarray(image.convert("RGBA"))[..., 3].min() == 255
            assert image.getpixel((0, 0))[:3] == (255, 255, 255)

    def test_panels_have_the_size_asked_for(self):
        figure, axes = style.panels([1.0, 2.0], [0.5, 1.5])
        assert axes.shape == (2, 2)
        box = axes[1, 1].get_position()
        assert box.width * figure.get_figwidth() == pytest.approx(2.0) and box.height * figure.get_figheight() == pytest.approx(1.5)

    def test_magnification_is_white_at_one_and_scales_by_doublings(self):
        assert min(style.MAGNIFICATION(style.magnification_norm()(0.0))) > 0.94
        assert style.magnification_ticks() == ([-2.0, -1.0, 0.0, 1.0, 2.0], ["1/4×", "1/2×", "1×", "2×", "4×"])


class TestZoom:
    @pytest.mark.parametrize("shape", [(3, 20, 30), (1, 3, 20, 30), (20, 30, 3)])
    def test_takes_images_in_either_layout(self, shape):
        assert zoom.as_picture(torch.zeros(shape, dtype=torch.uint8)).shape == (20, 30, 3)
        assert zoom.as_picture(np.zeros(shape, dtype=np.float32)).shape == (20, 30, 3)

    def test_positions_become_pixels_and_back(self):
        at = torch.tensor([[-1.0, 1.0], [0.0, 0.0]])
        assert zoom.in_pixels(at, (21, 41)).tolist() == [[0, 20], [20, 10]]
        torch.testing.assert_close(zoom.from_pixels(zoom.in_pixels(at, (21, 41)), (21, 41)), at.double())

    def test_grid_lines_are_straight_and_even_for_the_identity(self):
        lines = zoom.grid_lines(identity_grid(31, like=torch.zeros(1)), 5)
        assert len(lines) == 10
        torch.testing.assert_close(torch.stack(lines[:5])[:, 0, 1], torch.linspace(-1, 1, 5))

    def test_show_magnification_has_a_labelled_bar(self):
        figure, axes = style.panels([2.0], [2.0])
        zoom.show_magnification(axes[0, 0], identity_grid(8, like=torch.zeros(1)))
        check(figure, 2)
        assert "zoom" in figure.axes[1].get_ylabel()

    def test_an_infinite_zoom_can_be_drawn(self):
        figure, axes = style.panels([2.0], [2.0])
        zoom.show_magnification(axes[0, 0], torch.zeros(1, 8, 8, 2))
        figure.canvas.draw()

    def test_comparison(self, picture):
        figure = zoom.comparison(picture.image, sampled(picture.image), boxes=picture.boxes, captions={"plain": "1.00×"})
        check(figure, 2 * 5 + 2)
        assert any(text.get_text() == "has none" for text in figure.axes[1].texts)
        figure.canvas.draw()

    def test_cases_of_different_shapes(self, picture):
        wide = torch.zeros(3, 30, 40, dtype=torch.uint8)
        maps = [sampled(image)["attraction"] for image in (picture.image, wide)]
        check(zoom.cases([picture.image, wide], maps, ["one", "two"], boxes=[picture.boxes, {}]), 2 * 4 + 1)

    def test_boxes_that_the_grid_does_not_reach_leave_gaps(self, picture):
        figure, axes = style.panels([2.0], [2.0])
        zoom.carry_boxes(axes[0, 0], identity_grid(9, like=torch.zeros(1)) * 0.1, {"face": (0, 0, 5, 5)}, (100, 100))
        assert np.isnan(axes[0, 0].lines[0].get_xydata()).all()
        figure.canvas.draw()


class TestAnatomy:
    @pytest.mark.parametrize("name, axes", [("steps", 7), ("widths", 3), ("borders", 12), ("folding", 6), ("gradients", 3), ("aliasing", 4)])
    def test_figures(self, picture, name, axes):
        figure = getattr(anatomy, name)(picture)
        check(figure, axes)
        figure.canvas.draw()

    def test_overview(self):
        check(anatomy.overview(anatomy.pictures("twin", None)), 3 * 4 + 1)

    def test_there_and_back(self, picture):
        figure, missed = anatomy.there_and_back(picture)
        check(figure, 3)
        assert missed < 1e-3

    def test_the_formula_for_the_zoom_holds(self):
        for deviation in (1.0, 2.0, 3.0):
            for floor in (0.0, 0.03):
                measured = magnification(saliency_grid(anatomy.blob_map(deviation, floor), sigma=5.5))[0, 15, 15].item()
                assert measured == pytest.approx(float(anatomy.ceiling(np.array(deviation), 5.5, floor)), rel=0.03)

    def test_osie_that_is_not_there_is_a_one_line_error(self, tmp_path):
        with pytest.raises(ValueError, match="holds no OSIE"):
            anatomy.pictures("osie", tmp_path)

    def test_another_data_sets_folder_gives_the_drawn_faces(self, tmp_path):
        assert "synthetic" in anatomy.pictures("gazecapture", tmp_path)[0].source

    def test_real_photographs(self, real_data):
        shown = anatomy.pictures("osie", real_data / "osie")
        assert [picture.name for picture in shown] == list(anatomy.OSIE_NAMES)
        check(anatomy.overview(shown[:1]), 5)


class TestInteractive:
    def test_without_a_reader_there_is_the_strip_alone(self, picture, monkeypatch):
        monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
        monkeypatch.setattr(interactive, "_sliders", lambda *_: pytest.fail("nobody is there to move a slider"))
        check(interactive.zoom_explorer(picture.image, picture.heatmap), 4 * 5)

    def test_a_batch_started_from_a_notebook_has_no_reader(self, monkeypatch, tmp_path):
        """Its kernels inherit what the notebook server told the kernel that started it."""
        seen = []
        monkeypatch.setenv("JPY_SESSION_NAME", "notebook")
        monkeypatch.setattr(batch, "execute", lambda *_: seen.append(interactive.has_reader()))
        batch.run(["00"], {"preset": "smoke", "results_dir": str(tmp_path)})
        assert seen == [False]

    def test_a_reader_gets_sliders_that_redraw(self, picture, monkeypatch):
        widgets = pytest.importorskip("ipywidgets")
        shown = []
        monkeypatch.setenv("JPY_SESSION_NAME", "notebook")
        monkeypatch.setattr("IPython.display.display", shown.append)
        interactive.zoom_explorer(picture.image, picture.heatmap)
        controls, columns, _ = shown[0].children
        images = [column.children[1] for column in columns.children]
        before = [bytes(image.value) for image in images]
        assert all(isinstance(image, widgets.Image) for image in images) and all(data.startswith(b"\x89PNG") for data in before)
        controls.children[1].value = 3.0
        assert [bytes(image.value) != data for image, data in zip(images, before, strict=True)] == [False, True, True]

    @pytest.mark.parametrize("size", [(120, 90), (1200, 800), (600, 2400)])
    def test_three_live_pictures_fit_on_one_screen(self, size):
        """A notebook in a window of 1400 by 1000 pixels has some 900 by 700; the proportions stay, and nothing is enlarged."""
        image, heatmap = torch.randint(0, 255, (3, *size), dtype=torch.uint8), torch.rand(size)
        pictures, line = interactive.rendered(image, heatmap, sigma=5.5, strength=0.0)
        sizes = {Image.open(io.BytesIO(data)).size for data in pictures.values()}
        (width, height), = sizes
        assert height <= min(420, size[0]) and 3 * width <= 900 and width / height == pytest.approx(size[1] / size[0], rel=0.02)
        shown = {name: np.asarray(Image.open(io.BytesIO(data)), dtype=float) for name, data in pictures.items()}
        assert np.abs(shown["input"] - shown["zoomed"]).max() <= 2 and "1.0×" in line  # nothing is zoomed at strength 0


class TestTables:
    def test_intervals_and_differences(self):
        check(tables.intervals(numbers(), columns=["iPad", "iPhone"], reference="plain"), 2)
        figure = tables.differences(numbers(), columns=["iPad", "iPhone"])
        check(figure, 2)
        figure.canvas.draw()
        labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert labels == ["SAMPLER", "CONTROL_PLAIN"]

    def test_a_column_without_values_has_no_panel(self):
        check(tables.intervals(numbers(), columns=["iPad", "detail"], reference="plain"), 1)

    def test_the_control_stands_apart(self):
        at = tables.places(numbers())
        assert at["sampler"] - at["plain"] == 1 and at["control_plain"] - at["sampler"] > 1

    def test_only_the_reference(self):
        check(tables.intervals(numbers(["plain"]), columns=["iPad"], reference="plain"), 1)
        check(tables.differences(numbers(["plain"]), columns=["iPad"]), 1)

    @pytest.mark.parametrize("count, axes", [(1, 1), (3, 3), (5, 8)])
    def test_curves(self, count, axes):
        figure = tables.curves({str(i): history() for i in range(count)} | {"untrained": []})
        check(figure, axes)
        assert sum(ax.get_visible() for ax in figure.axes) == count

    def test_curves_of_nothing(self):
        check(tables.curves({"mean": []}), 1)

    def test_errors(self):
        values = {f"row {i}": np.r_[np.linspace(0, i + 1, 20), np.nan] for i in range(9)}
        figure = tables.errors(values, unit="cm", title="iPad", highlight=("row 1", "row 8"))
        check(figure, 1)
        figure.canvas.draw()
        assert [text.get_text() for text in figure.axes[0].get_legend().texts] == ["row 1", "row 8", "other rows"]
