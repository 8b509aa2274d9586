"""Protects: what commands say of places and options before any work is done; a result is never lost to a folder that cannot hold it."""

import re
import sys
from pathlib import Path

import miniatures_data
import numpy as np
import pytest
import torch
from PIL import Image
from tqdm import tqdm

from lib import export, predict, zoom
from lib import report as reporting
from lib.__main__ import _tell, main
from lib.data import fetch
from lib.data.synthetic import salicon
from lib.files import ROOT, from_here
from lib.training.progress import Progress
from lib.data.saliency_store import FullSize


def refused(capsys, *words) -> str:
    """The one line on standard error of a command that ends with status 2."""
    assert main([str(word) for word in words]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("error: ") and len(printed.err.splitlines()) == 1
    return printed.err


@pytest.fixture(autouse=True)
def no_bars(monkeypatch):
    """So that standard error holds nothing but errors."""
    monkeypatch.setattr(Progress, "_draw", lambda *_: None)


@pytest.fixture
def photo(tmp_path) -> Path:
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def idle(monkeypatch):
    """Where a command would begin to work it fails."""
    def works(*_, **__):
        pytest.fail("work was begun")

    monkeypatch.setattr(predict, "MODELS", {"emlnet": works, "mrcnn": works})
    for module, name in ((zoom, "_heat"), (export, "row_model"), (fetch, "fetch"), (reporting, "collect")):
        monkeypatch.setattr(module, name, works)


class TestOutputs:
    @pytest.mark.parametrize(("words", "option"), [
        (["predict", "emlnet", "PHOTO", "--out", "FILE"], "--out"), (["zoom", "PHOTO", "--out", "FILE"], "--out"),
        (["score", "osie", ".", "--data", ".", "--out", "FILE/scores.csv"], "--out"), (["fetch", "osie", "FILE"], "DIR"),
        (["export", "inaturalist/sampler", "FILE/model.pt2"], "FILE"), (["report", "--out", "FILE"], "--out")])
    def test_a_file_where_a_folder_is_wanted_is_told_at_once(self, idle, photo, tmp_path, capsys, words, option):
        (tmp_path / "taken").write_text("kept")
        places = {"FILE": tmp_path / "taken", "PHOTO": photo, "FILE/scores.csv": tmp_path / "taken" / "scores.csv",
                  "FILE/model.pt2": tmp_path / "taken" / "model.pt2"}
        line = refused(capsys, *(places.get(word, word) for word in words))
        assert f"{tmp_path / 'taken'}: is a file" in line and f"give a folder as {option}" in line
        assert (tmp_path / "taken").read_text() == "kept"

    @pytest.mark.parametrize("words", [["score", "osie", ".", "--data", ".", "--out", "DIR"], ["export", "inaturalist/sampler", "DIR"]])
    def test_a_folder_where_a_file_is_wanted_is_told_at_once(self, idle, tmp_path, capsys, words):
        folder = tmp_path / "folder.pt2"
        folder.mkdir()
        assert f"{folder}: is a folder" in refused(capsys, *(folder if word == "DIR" else word for word in words))

    def test_nothing_is_made_of_a_folder_that_is_not_there_yet(self, photo, tmp_path, capsys):
        assert "missing" in refused(capsys, "zoom", tmp_path / "none.jpg", "--out", tmp_path / "new" / "deep")
        assert not (tmp_path / "new").exists()


    @pytest.mark.parametrize(("command", "made"), [(["predict", "mrcnn"], "_smap"), (["zoom"], "_zoom")])
    def test_no_photograph_is_written_over(self, idle, photo, tmp_path, capsys, command, made):
        """a.png and a_smap.png in one call: the second is the first one's map."""
        other = photo.with_name(f"photo{made}.png")
        Image.new("RGB", (9, 9)).save(other)
        before = other.read_bytes()
        assert f"{other}: would be written over" in refused(capsys, *command, photo, other, "--out", tmp_path)
        assert other.read_bytes() == before


class TestInputs:
    @pytest.mark.parametrize("command", [["predict", "emlnet"], ["zoom"]])
    def test_missing_photographs_are_told_before_a_network_is_loaded(self, idle, tmp_path, capsys, command):
        assert f"{tmp_path / 'none.jpg'}: missing; give a photograph" in refused(capsys, *command, tmp_path / "none.jpg")

    @pytest.mark.parametrize("command", [["predict", "mrcnn"], ["zoom"]])
    def test_a_folder_of_photographs_is_called_a_folder(self, tmp_path, capsys, command):
        assert main([*command, str(tmp_path), "--out", str(tmp_path)]) == 1
        assert f"{tmp_path}: is a folder, not a picture" in capsys.readouterr().err

    def test_a_heat_map_below_zero_is_named(self, photo, tmp_path, capsys):
        np.save(tmp_path / "heat.npy", np.linspace(-1, 1, 100, dtype=np.float32).reshape(10, 10))
        line = refused(capsys, "zoom", photo, "--heatmap", tmp_path / "heat.npy", "--out", tmp_path)
        assert f"{tmp_path / 'heat.npy'}: has negative values" in line

    def test_a_heat_map_whose_rows_and_columns_are_exchanged_is_named(self, photo, tmp_path, capsys):
        np.save(tmp_path / "heat.npy", np.eye(64, 48, dtype=np.float32))
        assert main(["zoom", str(photo), "--heatmap", str(tmp_path / "heat.npy"), "--out", str(tmp_path)]) == 1
        assert "transpose the heat map" in capsys.readouterr().err and not list(tmp_path.glob("*_zoom*"))
        assert "missing; give a heat map" in refused(capsys, "zoom", photo, "--heatmap", tmp_path / "none.npy", "--out", tmp_path)

    def test_a_heat_map_with_an_orientation_is_turned_as_its_photograph(self, tmp_path):
        """Both are shown upright by every viewer; the same zoom must come of both stored upright."""
        heat = np.zeros((60, 80), np.uint8)
        heat[10:20, 60:70] = 255
        picture = np.random.default_rng(0).integers(256, size=(60, 80, 3), dtype=np.uint8)
        zoomed = []
        for folder, turns, tag in (("upright", 0, 1), ("turned", 1, 6)):  # 6: the viewer turns clockwise
            (tmp_path / folder).mkdir()
            exif = Image.Exif()
            exif[0x0112] = tag
            for name, pixels in (("photo", picture), ("heat", heat)):
                Image.fromarray(np.rot90(pixels, turns)).save(tmp_path / folder / f"{name}.png", exif=exif)
            assert main(["zoom", str(tmp_path / folder / "photo.png"), "--heatmap", str(tmp_path / folder / "heat.png"),
                         "--out", str(tmp_path / folder)]) == 0
            zoomed.append(np.asarray(Image.open(tmp_path / folder / "photo_zoom.png")))
        np.testing.assert_array_equal(*zoomed)

    def test_a_size_that_no_network_takes_names_the_photograph(self, photo, tmp_path, capsys):
        assert main(["predict", "emlnet", str(photo), "--size", "1,1", "--out", str(tmp_path)]) == 1
        assert f"error: {photo}: " in capsys.readouterr().err

    @pytest.mark.parametrize(("words", "said"), [
        (["export", "mrcnn", "x.pt2", "--encoder", "a"], "--encoder is an option of emlnet"),
        (["export", "emlnet", "x.pt2", "--weights", "a"], "--weights is an option of mrcnn and of a row, not of emlnet"),
        (["export", "mrcnn", "x.pt2", "--preset", "photos"], "--preset is an option of a row, not of mrcnn"),
        (["fetch", "osie", "x", "--mirror", "nowhere"], "--mirror nowhere.*https://"),
        (["score", "osie", "MAPS", "--data", "DATA", "--split", "val"], "has 3 photographs, of which none is in the split val"),
        (["status", "--results", "PHOTO"], "is a file, where a folder is wanted.*--results")])
    def test_options_that_do_not_fit_are_named(self, photo, tmp_path, monkeypatch, capsys, words, said):
        monkeypatch.chdir(tmp_path)
        miniatures_data.osie(tmp_path / "osie")  # of three photographs
        (tmp_path / "maps").mkdir()
        places = {"MAPS": tmp_path / "maps", "DATA": tmp_path / "osie", "PHOTO": photo}
        assert re.search(said, refused(capsys, *(places.get(word, word) for word in words)))

    @pytest.mark.parametrize("sigma", ["nan", "-1", "wide"])
    def test_a_blur_that_is_none_is_told_before_anything_is_loaded(self, idle, photo, capsys, sigma):
        with pytest.raises(SystemExit):
            main(["predict", "emlnet", str(photo), "--blur", sigma])
        assert "--blur" in capsys.readouterr().err

    def test_weights_that_are_not_there_are_not_to_be_removed(self, tmp_path, capsys):
        line = refused(capsys, "export", "inaturalist/plain", tmp_path / "x.pt2", "--weights", tmp_path / "none.safetensors")
        assert f"{tmp_path / 'none.safetensors'}: no such file of weights; give another file as --weights" in line

    def test_a_row_that_nothing_is_trained_for_is_not_to_be_trained(self, tmp_path, capsys):
        assert "train" not in refused(capsys, "export", "mrcnn/uniform", tmp_path / "x.pt2")

    def test_maps_of_photographs_without_fixations_have_no_score(self, tmp_path, monkeypatch, capsys):
        twin = salicon.write(tmp_path / "twin", train=0, val=2, test=0, observers=4, workers=1)
        monkeypatch.setattr(FullSize, "counts", lambda full, i: torch.zeros(full.sizes[i]))
        monkeypatch.setattr(FullSize, "density", lambda full, i: torch.zeros(full.sizes[i]))
        assert "none of the 2 photographs" in refused(capsys, "score", "salicon", twin / "maps" / "val", "--data", twin)


class TestWords:
    def test_status_of_a_folder_asks_which_data_set_it_is(self, tmp_path, capsys):
        line = refused(capsys, "status", "--data", tmp_path)
        assert "--dataset" in line and "gazecapture" in line and "osie" in line  # those of all tables

    def test_status_of_all_tables_lists_the_presets_of_all(self, capsys):
        line = refused(capsys, "status", "--preset", "nonsense")
        assert "photos-resnet18" in line and "paper-birds" in line

    def test_check_lists_presets_too(self, capsys):
        assert "preset 'nonsense' is not one of smoke, demo" in refused(capsys, "check", "--preset", "nonsense")

    def test_a_relative_folder_counts_from_where_the_command_is_given(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert from_here("mine") == str(tmp_path / "mine") and from_here("..") == str(tmp_path.parent)
        monkeypatch.chdir(ROOT / "lib")
        assert from_here("../results") == "results"  # in the repository: as a notebook of it is told

    def test_status_looks_where_the_command_is_given(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        assert main(["status", "gazecapture", "--preset", "smoke", "--results", "mine"]) == 0
        assert f"--results {tmp_path / 'mine'}" in capsys.readouterr().out

    def test_an_error_does_not_stand_on_the_line_of_a_bar(self, capsys):
        bar = tqdm(total=4, file=sys.stderr, mininterval=0)
        bar.update(1)
        _tell("error: nothing fits")
        bar.close()
        assert "error: nothing fits" in capsys.readouterr().err.replace("\r", "\n").splitlines()
