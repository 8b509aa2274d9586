"""Protects: what commands say of places and options before any work is done; a result is never lost to a folder that cannot hold it."""

import sys
from pathlib import Path

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
