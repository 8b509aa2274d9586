"""Protects: what is exported gives what the network gives, for other numbers and sizes of pictures; what cannot be is one line and no file."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from documents import blocks
from lib import export as exporting
from lib.__main__ import main
from lib.export import Input, WithMaps, export, row_model
from lib.models import emlnet, mrcnn, proposal, zoomed
from lib.models.carry import DenseSampler
from lib.models.sampler import SaliencySampler, SaliencyZoom, SampledNetwork
from lib.models.rivals import AffineSTN, GridEstimator, Oracle, ThinPlateSTN, Uniform

onnx_is_here = pytest.mark.skipif(not all(map(exporting.importlib.util.find_spec, exporting.PACKAGES)), reason="needs the extra `export`")


def task() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))


def locating(outputs: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, outputs))


def sampler(**options) -> SaliencySampler:
    return SaliencySampler(task(), nn.Conv2d(3, 8, 3, 2), 16, 16, normalize=((0.5,) * 3, (0.25,) * 3), **options)


MODELS = {
    "sampler": lambda: sampler(padding="reflect", oversample=2),
    "affine": lambda: SampledNetwork(AffineSTN(locating(6), 16, 16), task()),
    "thin plate": lambda: SampledNetwork(ThinPlateSTN(locating(32), 16, 16), task()),
    "grid estimator": lambda: SampledNetwork(GridEstimator(nn.Conv2d(3, 8, 3), 16, 16), task()),
    "plain": lambda: SampledNetwork(Uniform(16), task()), "oracle": lambda: SampledNetwork(Oracle(16), task()),
    "encoder": lambda: emlnet.SmallEncoder(channels=(8, 8, 8, 8, 8), normalize=True),
    "decoder": lambda: emlnet.Decoder(*(emlnet.SmallEncoder(channels=(8, 8, 8, 8, 8)) for _ in "ab"), upsampling="bilinear"),
    "Mr-CNN": lambda: mrcnn.MrCNN(widths=(4, 4, 4), hidden=8, blur=True),
    "proposal": lambda: proposal.RegionProposal(task(), proposal.ScoringHead(16), crop_size=16),
}


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    model = MODELS[name]()
    with torch.no_grad():
        for weight in model.parameters():  # no head at zero, no branch that is dead
            weight.add_(0.02 * torch.randn_like(weight))
    return model.eval()


@pytest.mark.parametrize("name", [name for name in MODELS if name != "encoder"])  # the decoder has two
def test_torch_export_gives_what_the_network_gives(name, tmp_path):
    model = made(name)
    written = export(model, tmp_path / "model.pt2")
    assert written.difference <= 1e-6 and written.size == written.path.stat().st_size
    restored = torch.export.load(written.path).module()
    inputs = [each.draw(4, torch.Generator().manual_seed(3), larger=9) for each in exporting.inputs_of(model)]
    with torch.no_grad():
        torch.testing.assert_close(restored(*inputs), model(*inputs), atol=1e-6, rtol=1e-5)


@onnx_is_here
@pytest.mark.parametrize("name", ["sampler", "Mr-CNN"])  # EML-NET: the script of the page, below
def test_onnxruntime_gives_what_the_network_gives(name, tmp_path):
    import onnxruntime

    model = made(name)
    written = export(WithMaps(model) if name == "sampler" else model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(written.path, providers=["CPUExecutionProvider"])
    wanted = exporting.inputs_of(model)
    inputs = [each.draw(4, torch.Generator().manual_seed(3), larger=9) for each in wanted]
    outputs = session.run(None, {each.name: value.numpy() for each, value in zip(wanted, inputs, strict=True)})
    with torch.no_grad():
        answer = model(*inputs, return_maps=True) if name == "sampler" else (model(*inputs),)
    answers = (answer[0], *answer[1][:2]) if name == "sampler" else answer
    for ours, theirs in zip(answers, outputs, strict=True):
        assert np.abs(ours.numpy() - theirs).max() < 1e-4
    assert [value.name for value in session.get_outputs()] == ["output", "zoomed", "grid"][:len(answers)]
    for value, each in zip(session.get_inputs(), wanted, strict=True):
        assert value.type == "tensor(uint8)"
        assert value.shape == (["batch", 3, "height", "width"] if each.free else ["batch", *each.shape])


@pytest.mark.parametrize("name", ["affine", "Mr-CNN"])
def test_compiles_in_one_graph(name):
    """Of the kinds that did not; the sampler and the rest stand in test_sampler_numbers.py."""
    model = made(name)
    inputs = [each.draw(2, torch.Generator().manual_seed(3)) for each in exporting.inputs_of(model)]
    with torch.no_grad():
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(*inputs), model(*inputs), atol=1e-5, rtol=1e-4)


class Branching(nn.Module):
    def forward(self, image):
        return image.float() if image.sum() > 0 else image.double()


def refused(capsys, *words: str) -> str:
    assert main(["export", *words]) == 2
    text = capsys.readouterr().err.strip().splitlines()[-1]
    assert text.startswith("error: ")
    return text


def test_what_makes_no_graph_is_one_line_and_no_file(tmp_path, capfd):
    for model, inputs in ((Branching(), (Input("image", (3, 8, 8)),)), (DenseSampler(nn.Conv2d(3, 2, 3), SaliencyZoom(nn.Conv2d(3, 4, 3), 16, 8)),
                                                                    (Input("image", (3, 24, 24)),))):
        with pytest.raises(ValueError, match=f"{type(model).__name__} cannot be exported.*nothing was written") as error:
            export(model, tmp_path / "model.pt2", inputs=inputs)
        assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir()) and capfd.readouterr().out == ""


def test_a_file_that_would_disagree_is_not_written(tmp_path, monkeypatch):
    model = made("plain")
    monkeypatch.setitem(exporting.FORMATS, ".pt2", lambda *given: (b"", lambda drawn: [model(*drawn) + 0.1]))
    with pytest.raises(ValueError, match="would differ"):
        export(model, tmp_path / "model.pt2")
    assert not list(tmp_path.iterdir())


def test_the_command_names_what_is_wrong_before_it_writes(tmp_path, capsys, monkeypatch):
    file = str(tmp_path / "model.pt2")
    assert ".onnx or .pt2" in refused(capsys, "mrcnn", str(tmp_path / "model.txt"))
    assert "no model 'resnet'" in refused(capsys, "resnet", file)
    assert "row of inaturalist 'none'" in refused(capsys, "inaturalist/none", file)
    assert "trained rows plain" in refused(capsys, "inaturalist/cam", file)
    assert "--weights" in refused(capsys, "saliency_depth/depth_6", file, "--preset", "paper")
    absent = str(tmp_path / "absent.safetensors")
    assert absent in refused(capsys, "inaturalist/sampler", file, "--preset", "smoke", "--weights", absent)
    assert "--maps" in refused(capsys, "mrcnn", file, "--maps")
    monkeypatch.setattr(exporting.importlib.util, "find_spec", lambda name: None)
    assert "pip install -e '.[export]'" in refused(capsys, "mrcnn", str(tmp_path / "model.onnx"))
    assert not list(tmp_path.iterdir())


def test_a_row_comes_with_the_weights_that_are_named(tmp_path, capsys):
    from lib.tables import inaturalist
    from lib.training.checkpoint import save_weights

    torch.manual_seed(1)
    trained = inaturalist.TABLE.row("plain").build(inaturalist.PRESETS["smoke"])
    save_weights(tmp_path / "row.safetensors", nn.parallel.DataParallel(trained))
    model = row_model("inaturalist/plain", preset="smoke", weights=tmp_path / "row.safetensors")
    assert isinstance(model, zoomed.ZoomedNetwork)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in trained.state_dict().items())
    assert main(["export", "inaturalist/plain", str(tmp_path / "row.pt2"), "--preset", "smoke", "--weights", str(tmp_path / "row.safetensors")]) == 0
    assert "differs from the network by" in capsys.readouterr().out and (tmp_path / "row.pt2").stat().st_size > 1000


@onnx_is_here
def test_the_script_of_the_page_runs_without_this_repository(tmp_path):
    """As it stands there; its map is what `predict` gives without blur, but for eight bits."""
    from lib.predict import saliency_map

    (script,) = ("\n".join(block.lines) for block in blocks("data/emlnet_weights.md") if block.language == "python")
    model = made("encoder")
    export(model, tmp_path / "emlnet.onnx")
    photo = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    (tmp_path / "script.py").write_text(script)
    subprocess.run([sys.executable, "-I", "script.py", "photo.png"], cwd=tmp_path, check=True, timeout=60)
    found = np.asarray(Image.open(tmp_path / "saliency.png")) / 255
    assert found.shape == (90, 120) and np.abs(found - saliency_map(model, photo, blur=0)).max() < 0.02
