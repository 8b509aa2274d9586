"""Protects: every network of the repository runs in half, bfloat16, double and under autocast, whatever type its pictures have."""

import copy

import pytest
import torch
import torch.distributed as dist
from torch import nn

from lib.models import carry, emlnet, itracker, mrcnn, mrcnn_inference, proposal, zoomed
from lib.models.backbones import IMAGENET_NORMALIZATION
from lib.models.sampler import SaliencySampler, SaliencyZoom, set_blur

LOOKS = {"task": "small_gap", "outputs": 5, "task_size": 32, "trunk": "small", "view_size": 32}
PLAIN = {"task": "small_gap", "outputs": 5, "task_size": 32}
GENERATOR = torch.Generator().manual_seed(0)


def smooth(height: int, width: int) -> torch.Tensor:
    """A picture without fine detail: what a type rounds must not decide which pixel is seen."""
    coarse = torch.rand(1, 3, 4, 4, generator=GENERATOR)
    return (nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 1) * 255).round().to(torch.uint8)


BYTES = smooth(72, 80)
SQUARES = [smooth(side, side) for side in (400, 250, 150)]
BOX, CELLS = torch.tensor([[10, 5, 40, 40]]), torch.tensor([[8, 3, 11, 11]])
SMALL = {"widths": (8, 8, 8), "hidden": 16}


def small_encoder(**options) -> emlnet.SmallEncoder:
    return emlnet.SmallEncoder(channels=(8, 8, 16, 16, 16), **options)


def nasnet() -> nn.Module:
    pytest.importorskip("timm")
    from lib.models.emlnet_nasnet import NasNetEncoder

    return NasNetEncoder(num_features=96, input_size=(64, 64), normalize=True)


def lite0_encoder() -> nn.Module:
    pytest.importorskip("timm")
    from lib.models.lite0 import Lite0Encoder

    return Lite0Encoder(pretrained=False)


NETWORKS = {
    "plain": (lambda: zoomed.plain(**PLAIN), [BYTES]),
    "deformable": (lambda: zoomed.deformable(task="scratch_resnet18", outputs=5, task_size=32), [BYTES]),
    "affine": (lambda: zoomed.stn_affine(**LOOKS), [BYTES]), "thin plate": (lambda: zoomed.stn_tps(**LOOKS), [BYTES]),
    "grid estimator": (lambda: zoomed.grid_estimator(**LOOKS), [BYTES]), "sampler": (lambda: zoomed.sampler(**LOOKS), [BYTES]),
    "oracle": (lambda: zoomed.oracle(**PLAIN), [BYTES, torch.rand(1, 1, 31, 31, generator=GENERATOR)]),
    "cam": (lambda: zoomed.cam(zoomed.plain(**PLAIN)), [BYTES]),
    "unzoomed": (lambda: carry.DenseSampler(nn.Conv2d(3, 5, 3, 2), SaliencyZoom(nn.Conv2d(3, 8, 3), 32, 16)), [BYTES]),
    "encoder": (lambda: small_encoder(normalize=True), [BYTES]), "NASNet": (nasnet, [BYTES]), "lite0 encoder": (lite0_encoder, [BYTES]),
    "decoder": (lambda: emlnet.Decoder(small_encoder(), small_encoder()), [BYTES]),
    "Mr-CNN": (lambda: mrcnn.MrCNN(squares=(150,), blur=True, **SMALL), SQUARES[2:]),
    "scrambled": (lambda: mrcnn_inference.ScrambledAxes(mrcnn.MrCNN(**SMALL), step=30), SQUARES),
    "proposal": (lambda: proposal.RegionProposal(proposal.small_classifier(width=8), proposal.ScoringHead(32), crop_size=64, views=6,
                                                 normalize=IMAGENET_NORMALIZATION), [BYTES]),
    "crop oracle": (lambda: proposal.CropOracle(proposal.small_classifier(width=8), 64), [BYTES]),
    "iTracker": (lambda: itracker.ITrackerOnFrames(crop_size=48, small=True), [BYTES, BOX, BOX, BOX, CELLS]),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_type_gives_the_same_answer(name):
    """Bytes, float32 and the weights' own type go into the same network; its numbers are those of float32, as finely as the type tells."""
    build, inputs = NETWORKS[name]
    torch.manual_seed(0)
    reference = build().eval()
    floats = [each / 255 if each.dtype == torch.uint8 else each for each in inputs]
    with torch.no_grad():
        answers = {False: reference(*floats), True: reference(*inputs)}
        size = max(answer.abs().max().item() for answer in answers.values())
        for dtype, tolerance in ((torch.float64, 1e-3), (torch.float16, 0.05), (torch.bfloat16, 0.3)):
            cast = copy.deepcopy(reference).to(dtype)
            for given in (inputs, floats, [each.to(dtype) if each.is_floating_point() else each for each in floats]):
                answer = cast(*given)
                assert answer.is_floating_point() and answer.isfinite().all()
                assert (answer.double() - answers[given is inputs].double()).abs().mean() <= tolerance * size
        with torch.autocast("cpu", torch.bfloat16):
            assert reference(*inputs).isfinite().all()


class TestDistributed:
    @pytest.fixture
    def group(self, tmp_path):
        dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
        yield
        dist.destroy_process_group()

    def test_a_wrapped_sampler_trains_blurs_and_keeps_its_buffers(self, group):
        torch.manual_seed(0)
        task = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
        model = SaliencySampler(task, nn.Conv2d(3, 4, 3), 24, 16, normalize=((0.5,) * 3, (0.2,) * 3))
        wrapped, before = nn.parallel.DistributedDataParallel(model), copy.deepcopy(model.state_dict())
        wrapped.blur = True
        with pytest.raises(ValueError, match="blur was set on the DistributedDataParallel"):
            wrapped(BYTES.expand(2, -1, -1, -1))
        del wrapped.blur
        set_blur(wrapped, True)
        wrapped(torch.cat([BYTES, BYTES.flip(3)])).square().sum().backward()
        assert model.blur and all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())
        assert not torch.equal(before["task_network.1.running_mean"], task[1].running_mean)
        constants = {name for name, _ in model.named_buffers()} - set(model.state_dict())
        assert constants == {"normalize.mean", "normalize.std", "sampler.normalize.mean", "sampler.normalize.std"}  # no checkpoint holds them
        assert set(model.state_dict()) == {name.removeprefix("module.") for name in wrapped.state_dict()}
