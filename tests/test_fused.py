"""The fused kernel, by Triton's interpreter on a CPU: the layer's own sampling and normalising, and its gradient."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

from lib.models.fused import sample_normalized
from lib.models.sampler import identity_grid, resample

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIZES = ((20, 33), (70, 66), (1, 9), (7, 1))


def case(size, *, batch=2, device="cpu"):
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (batch, 3, *size), dtype=torch.uint8, generator=generator)
    grid = torch.rand(batch, 19, 23, 2, generator=generator) * 3 - 1.5
    weight = torch.randn(batch, 3, 19, 23, generator=generator)
    return image.to(device), grid.to(device), weight.to(device)


def normalized(image, grid):
    mean, std = (torch.tensor(value, device=image.device).view(-1, 1, 1) for value in (MEAN, STD))
    return (resample(image, grid) - mean) / std


def compare(device):
    """The kernel beside the layer for several sizes and memory orders; run by the tests in a process of its own."""
    for size in SIZES:
        for layout in (torch.contiguous_format, torch.channels_last):
            image, grid, weight = case(size, device=device)
            image = image.contiguous(memory_format=layout)
            results = []
            for sample in (lambda i, g: sample_normalized(i, g, MEAN, STD), normalized):
                leaf = grid.clone().requires_grad_()
                sampled = sample(image, leaf)
                results.append((sampled.detach(), torch.autograd.grad((sampled * weight).sum(), leaf)[0]))
            torch.testing.assert_close(results[0][0], results[1][0], atol=1e-4, rtol=1e-4)
            if min(size) > 1:
                torch.testing.assert_close(results[0][1], results[1][1], atol=2e-2, rtol=1e-3)
            grid[1, 2, 3, 0], grid[0, 4, 5, 1] = float("nan"), float("inf")
            spoilt = sample_normalized(image, grid, MEAN, STD)
            assert spoilt.isnan().sum() == 6 and spoilt[1, :, 2, 3].isnan().all() and spoilt[0, :, 4, 5].isnan().all()


@pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton")
def test_the_kernels_agree_with_the_layer_under_the_interpreter():
    program = ("import lib.models.fused as f, tests.test_fused as t; calls = []; inner = f._Fused.apply\n"
               "f._Fused.apply = lambda *a: calls.append(1) or inner(*a)\nt.compare('cpu'); print(len(calls))")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(["", *sys.path])})
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) == 4 * len(SIZES)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available() or find_spec("triton") is None, reason="needs a CUDA device and Triton")
def test_the_kernels_agree_with_the_layer_on_cuda():
    compare("cuda")


@pytest.mark.parametrize("image", [case((20, 33))[0], case((20, 33))[0] / 255])
def test_it_falls_back_where_it_cannot_run(image):
    grid = identity_grid(8, like=torch.zeros(1))
    torch.testing.assert_close(sample_normalized(image, grid, MEAN, STD), normalized(image, grid))
