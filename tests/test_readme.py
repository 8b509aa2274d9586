"""The README's Python runs as it stands there, and so does the usage block of the released code."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)


def test_there_are_blocks():
    assert len(BLOCKS) == 3


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_block_runs(number, tmp_path):
    names = {}
    exec(compile(BLOCKS[number], f"README.md, block {number}", "exec"), names)
    if "train" in names:
        for label in ("cat", "dog"):
            (tmp_path / label).mkdir()
            Image.fromarray(np.full((40, 50, 3), 90, dtype=np.uint8)).save(tmp_path / label / "1.jpg")
        model = names["train"](tmp_path, epochs=1, side=48, batch_size=2)
        assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_the_released_usage_block_runs_after_changing_its_imports():
    names = {}
    exec("from lib.models import *", names)
    exec("task_network = resnet101()\nsaliency_network = saliency_network_resnet18()\ntask_input_size = 224\n"
         "saliency_input_size = 224\n"
         "model = Saliency_Sampler(task_network,saliency_network,task_input_size,saliency_input_size)", names)
    with torch.no_grad():
        output, maps = names["model"].eval()(torch.rand(1, 3, 300, 400), return_maps=True)
    assert output.shape == (1, 1000)
    assert maps.image.shape == (1, 3, 224, 224)
