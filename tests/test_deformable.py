"""Protects: the identity at the start, the sampling against an independent formulation, offsets that can leave zero."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision import models
from torchvision.ops import deform_conv2d

from lib.models.backbones import alexnet_regressor, small_alexnet
from lib.models.deformable import DeformableConv2d, deform_conv2d_cpu, deform_last, offset_parameters


def by_grid_sample(x: torch.Tensor, offset: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, stride: int,
                   padding: int, dilation: int) -> torch.Tensor:
    """The definition, tap by tap: shift the sampling grid, sample with zeros outside, weigh, add up."""
    height, width = x.shape[-2:]
    h, w = offset.shape[-2:]
    y, x0 = torch.meshgrid(torch.arange(h) * stride - padding, torch.arange(w) * stride - padding, indexing="ij")
    result = 0
    for tap in range(9):
        at_y = y + tap // 3 * dilation + offset[:, 2 * tap]  # (B, h, w)
        at_x = x0 + tap % 3 * dilation + offset[:, 2 * tap + 1]
        grid = torch.stack((2 * at_x / (width - 1) - 1, 2 * at_y / (height - 1) - 1), dim=-1)
        sampled = F.grid_sample(x, grid, align_corners=True, padding_mode="zeros")  # (B, I, h, w)
        result = result + torch.einsum("oi,bihw->bohw", weight[:, :, tap // 3, tap % 3], sampled)
    return result if bias is None else result + bias.view(1, -1, 1, 1)


def layer(stride: int = 1, padding: int = 1, dilation: int = 1, bias: bool = True) -> DeformableConv2d:
    torch.manual_seed(0)
    deformable = DeformableConv2d(nn.Conv2d(3, 5, 3, stride, padding, dilation, bias=bias)).double()
    nn.init.normal_(deformable.offset.weight, std=0.5)
    nn.init.normal_(deformable.offset.bias, std=1.0)
    return deformable


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"padding": 2, "dilation": 2}, {"padding": 0, "bias": False}], ids=str)
def test_agrees_with_nine_grid_samples_forward_and_backward(options):
    deformable = layer(**options)
    x = torch.randn(2, 3, 8, 11, dtype=torch.float64, requires_grad=True)
    wanted = by_grid_sample(x, deformable.offset(x), deformable.weight, deformable.bias, deformable.stride[0],
                            deformable.padding[0], deformable.dilation[0])
    given = deformable(x)
    assert deformable.offset(x).abs().max() > 2  # beyond the neighbouring pixels, and outside the map
    assert torch.allclose(given, wanted, atol=1e-10)
    inputs = [x, *deformable.parameters()]
    gradients = (torch.autograd.grad(output.sin().sum(), inputs) for output in (given, wanted))
    for a, b in zip(*gradients, strict=True):
        assert torch.allclose(a, b, atol=1e-9)


@pytest.mark.parametrize("offsets", ["zero", "whole", "fractions"])
def test_cpu_form_agrees_with_torchvision(offsets):
    """Whole positions are where both sides' slopes differ: both must take the same one, or training starts differently."""
    torch.manual_seed(0)
    drawn = 2 * torch.randn(2, 18, 5, 7)
    offset = {"zero": 0 * drawn, "whole": drawn.round(), "fractions": drawn}[offsets]
    x, weight, bias = torch.randn(2, 3, 9, 11), torch.randn(4, 3, 3, 3), torch.randn(4)
    arguments = [t.double().requires_grad_() for t in (x, offset, weight, bias)]
    options = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}
    given, wanted = deform_conv2d_cpu(*arguments, **options), deform_conv2d(*arguments, **options)
    assert torch.allclose(given, wanted, atol=1e-10)
    gradients = (torch.autograd.grad(output.sin().sum(), arguments) for output in (given, wanted))
    for a, b in zip(*gradients, strict=True):
        assert torch.allclose(a, b, atol=1e-10)


def test_gradcheck():
    torch.manual_seed(0)
    x, offset, weight = torch.randn(1, 2, 4, 4), 0.1 + 0.8 * torch.rand(1, 18, 4, 4), torch.randn(2, 2, 3, 3)
    arguments = [t.double().requires_grad_() for t in (x, offset, weight)]

    def function(*inputs):
        return deform_conv2d_cpu(*inputs, None, stride=(1, 1), padding=(1, 1), dilation=(1, 1))

    assert torch.autograd.gradcheck(function, arguments)


def test_grouped_convolutions_go_to_torchvision():
    plain = nn.Conv2d(4, 6, 3, padding=1, groups=2)
    x = torch.randn(2, 4, 7, 7)
    assert torch.allclose(DeformableConv2d(plain)(x), plain(x), atol=1e-5)


@pytest.mark.parametrize("build, size, names", [
    (lambda: alexnet_regressor(), 96, ["features.6", "features.8", "features.10"]),  # AlexNet's conv3-5
    (lambda: models.resnet18(num_classes=4), 64, ["layer4.0.conv2", "layer4.1.conv1", "layer4.1.conv2"]),
    (lambda: models.resnet50(num_classes=4), 64, ["layer4.0.conv2", "layer4.1.conv2", "layer4.2.conv2"]),  # res5a-c branch2b
    (lambda: small_alexnet(2), 64, ["features.8", "features.11", "features.14"]),
], ids=["alexnet", "resnet18", "resnet50", "small_alexnet"])
def test_network_computes_the_same_at_the_start(build, size, names):
    torch.manual_seed(0)
    network, images = build().eval(), torch.rand(2, 3, size, size)
    with torch.no_grad():
        before = network(images)
        parameters = set(network.parameters())
        assert deform_last(network) is network
        assert (network(images) - before).abs().max() < 1e-5
    assert [name for name, module in network.named_modules() if isinstance(module, DeformableConv2d)] == names
    assert set(network.parameters()) - parameters == set(offset_parameters(network))
    assert len(offset_parameters(network)) == 6


def test_state_dict_round_trip_and_plain_weights():
    network = deform_last(small_alexnet(2))
    nn.init.normal_(network.features[8].offset.bias)
    other = deform_last(small_alexnet(2))
    other.load_state_dict(network.state_dict())
    images = torch.rand(2, 3, 48, 48)
    assert torch.equal(network(images), other(images))
    left_over = other.load_state_dict(small_alexnet(2).state_dict(), strict=False)  # keys of the plain network still fit
    assert left_over.unexpected_keys == [] and all(".offset." in name for name in left_over.missing_keys)


def test_offsets_leave_zero_and_training_reduces_the_loss():
    torch.manual_seed(0)
    network = deform_last(small_alexnet(2, width=8, sigmoid=True))
    targets = torch.rand(16, 2)
    y, x = torch.meshgrid(*2 * [torch.linspace(0, 1, 48)], indexing="ij")
    spots = torch.exp(-((x - targets[:, :1, None]) ** 2 + (y - targets[:, 1:, None]) ** 2) / 0.02)  # (B, 48, 48)
    images = spots[:, None].repeat(1, 3, 1, 1)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for _ in range(30):
        loss = (network(images) - targets).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0], f"{losses[0]:.4f} -> {losses[-1]:.4f}"
    assert all(parameter.grad.any() and parameter.any() for parameter in offset_parameters(network))


def test_backward_is_repeatable():
    """The same seed must give the same numbers on a CPU, bit for bit."""
    deformable, x = layer(), torch.randn(4, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    first, second = (torch.autograd.grad(deformable(x).sin().sum(), [x, *deformable.parameters()]) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_works_under_autocast_and_keeps_nan_visible():
    plain = nn.Conv2d(3, 4, 3, padding=1)
    deformable, x = DeformableConv2d(plain), torch.rand(2, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        given = deformable(x.bfloat16())
    assert given.dtype == torch.float32
    assert torch.allclose(given, plain(x.bfloat16().float()), atol=1e-5)
    nn.init.constant_(deformable.offset.bias, float("nan"))
    assert deformable(x).isnan().all()


def test_bad_requests_are_refused():
    with pytest.raises(ValueError, match="last 2 3x3 convolutions of Sequential: it has 1 plain"):
        deform_last(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)), 2)
    network = deform_last(small_alexnet(2), 3)
    with pytest.raises(ValueError, match="it has 1 plain"):  # conv2 is left; the offsets' own convolutions do not count
        deform_last(network, 3)
    with pytest.raises(ValueError, match="zero padding"):
        DeformableConv2d(nn.Conv2d(3, 4, 3, padding="same"))
    with pytest.raises(ValueError, match="reflect"):
        DeformableConv2d(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"))
    assert offset_parameters(small_alexnet(2)) == []
