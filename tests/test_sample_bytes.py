"""uint8 images are sampled as torch samples floats, from whatever memory, and keep no float copy for the gradient."""

import pytest
import torch
import torch.nn.functional as F

from lib.models.sample_bytes import GATHER_FROM, resize_bytes, sample_bytes
from lib.models.sampler import resample


def pictures(height, width, *, batch=3, channels=3):
    return torch.randint(0, 256, (batch, channels, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def positions(batch=3, *, size=(5, 6), reach=1.5, dtype=torch.float64):
    return (torch.rand(batch, *size, 2, dtype=dtype, generator=torch.Generator().manual_seed(1)) * 2 - 1) * reach


LAYOUTS = {"contiguous": lambda p: p, "channels last": lambda p: p.contiguous(memory_format=torch.channels_last),
           "a crop": lambda p: F.pad(p, (3, 2, 1, 4))[:, :, 1:-4, 3:-2],
           "a crop, channels last": lambda p: F.pad(p, (3, 2, 1, 4)).contiguous(memory_format=torch.channels_last)[:, :, 1:-4, 3:-2],
           "mirrored": lambda p: p.flip(3), "turned": lambda p: p.transpose(2, 3).contiguous().transpose(2, 3),
           "one image for all": lambda p: p[:1].expand(len(p), -1, -1, -1), "one plane for all": lambda p: p[:, :1].expand_as(p)}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(20, 33), (70, 66)])  # converted, gathered
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_equals_grid_sample_and_so_do_both_derivatives(layout, size, channels):
    image, grid = LAYOUTS[layout](pictures(*size, channels=channels)), positions().requires_grad_()
    assert (size[0] * size[1] > GATHER_FROM * 30) == (size == (70, 66))
    weight = torch.randn(3, channels, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    results = []
    for sampled in (sample_bytes(image, grid), F.grid_sample(image.double(), grid, padding_mode="border", align_corners=True)):
        first = torch.autograd.grad((sampled**2 * weight).sum(), grid, create_graph=True)[0]
        results.append((sampled, first, torch.autograd.grad(first.sum(), grid)[0]))
    for ours, torchs in zip(*results, strict=True):
        torch.testing.assert_close(ours, torchs, atol=1e-8, rtol=1e-9)


def test_gradcheck():
    image = pictures(40, 50)
    assert torch.autograd.gradcheck(lambda grid: sample_bytes(image, grid), positions(reach=0.9).requires_grad_(), eps=1e-7, atol=1e-3)


@pytest.mark.parametrize("size", [(1, 4500), (4500, 1), (1, 1), (2, 4500)])
def test_pictures_of_one_row_or_column(size):
    image, grid = pictures(*size), positions()
    expected = F.grid_sample(image.double(), grid, padding_mode="border", align_corners=True)
    torch.testing.assert_close(sample_bytes(image, grid), expected)


def test_a_batch_in_several_parts_is_the_same():
    image, grid = pictures(90, 80, batch=40), positions(40, size=(48, 48)).requires_grad_()
    whole = sample_bytes(image, grid)  # 40 x 2304 positions, in parts of at most 65536
    for i in (0, 27, 28, 39):
        assert torch.equal(sample_bytes(image[i:i + 1], grid[i:i + 1]), whole[i:i + 1])
    whole.sum().backward()
    alone = grid[28:29].detach().requires_grad_()
    sample_bytes(image[28:29], alone).sum().backward()
    assert torch.equal(alone.grad, grid.grad[28:29])


@pytest.mark.parametrize(("side", "bytes_"), [(100, 3 * 100 * 100), (200, 12 * 30)])
def test_what_is_kept_for_the_gradient_is_bytes(side, bytes_):
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        sample_bytes(pictures(side, side, batch=1, channels=3), positions(1, size=(5, 6) if side == 200 else (20, 20)).requires_grad_())
    assert sum(tensor.nbytes for tensor in kept if tensor.dtype == torch.uint8) == bytes_
    assert all(tensor.dtype == torch.uint8 or tensor.shape[-1] == 2 for tensor in kept)  # and the grid


@pytest.mark.parametrize("size", [(20, 33), (70, 66)])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_position_that_is_not_finite_is_a_nan_pixel_and_no_other(size, value):
    image, grid = pictures(*size), positions()
    expected = resample(image, grid)
    grid[1, 2, 3, 0] = grid[2, 4, 0, 1] = value
    spoilt = resample(image, grid.requires_grad_())
    assert spoilt[1, :, 2, 3].isnan().all() and spoilt[2, :, 4, 0].isnan().all()
    assert (spoilt.isnan().sum() == 6) and torch.equal(spoilt[0], expected[0])
    spoilt.nansum().backward()  # does not reach torch's sampling either


@pytest.mark.parametrize("layout", ["contiguous", "channels last", "mirrored"])
@pytest.mark.parametrize("sizes", [(128, 96, 64, 64), (300, 210, 31, 45), (50, 40, 64, 64), (97, 33, 33, 97), (9, 7, 9, 7), (1, 5, 3, 2)])
def test_resizing_in_plain_arithmetic_is_torchs_bit_for_bit(layout, sizes):
    image, size = LAYOUTS[layout](pictures(*sizes[:2])), sizes[2:]
    assert torch.equal(resize_bytes(image, size), F.interpolate(image, size, mode="bilinear", antialias=True).double())
