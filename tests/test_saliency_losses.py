"""Protects: the released formulas on worked numbers, one image at a time, and finite gradients where the release gives NaN."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from lib.metrics.saliency import cc, nss
from lib.training.saliency_losses import emlnet_loss, emlnet_loss_parts, mse

E = 1e-6


def tensor(*images) -> torch.Tensor:
    return torch.tensor(np.stack(images)[:, None], dtype=torch.float32)  # (B, 1, H, W)


def released(p: np.ndarray, s: np.ndarray, f: np.ndarray) -> dict[str, float]:
    """The formulas for one image (H, W), in float64, from the description of the released code."""
    kl = np.sum(s / s.sum() * np.log(s / s.sum() / (p / p.sum() + E) + E))
    pz, sz, fz = ((m - m.mean()) / m.std(ddof=1) for m in (p, s, f))
    correlation = np.sum(pz * sz) / np.sqrt(np.sum(pz**2) * np.sum(sz**2))
    return {"kl": kl, "cc": 1 - correlation, "nss": np.sum(fz * f - pz * f) / f.sum()}


def salicon_like(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A 480x640 map of 460 fixated pixels around the centre, and its density with sigma 19, the largest value 1."""
    generator, fixations = np.random.default_rng(seed), np.zeros((480, 640))
    while fixations.sum() < 460:
        y, x = generator.normal((240, 320), (92, 123)).round().astype(int)
        if 0 <= y < 480 and 0 <= x < 640:
            fixations[y, x] = 1
    density = gaussian_filter(fixations, 19)
    return fixations, density / density.max()


def random_batch(count: int = 3, size: tuple[int, int] = (24, 32)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(1)
    return (generator.random((count, *size)), generator.random((count, *size)) ** 4,
            (generator.random((count, *size)) > 0.95).astype(float))


def test_worked_by_hand():
    """p = (1 2; 3 4) / 10 against s = (0 0; 0 1), one fixation at s's pixel."""
    p, s = np.array([[0.1, 0.2], [0.3, 0.4]]), np.array([[0.0, 0.0], [0.0, 1.0]])
    parts = emlnet_loss_parts(tensor(p), tensor(s), tensor(s))
    assert parts["kl"].item() == pytest.approx(np.log(2.5), abs=1e-5)  # log(1 / 0.4), to the epsilon
    # p - mean = (-1.5 -0.5; 0.5 1.5) / 10, length sqrt(0.05); s - mean = (-1 -1; -1 3) / 4, length sqrt(0.75); product 0.15
    assert parts["cc"].item() == pytest.approx(1 - 0.15 / np.sqrt(0.05 * 0.75), abs=1e-6)
    # deviations with N - 1 = 3: s's is sqrt(0.25) = 0.5, so its z there is 0.75 / 0.5; p's z is 0.15 / sqrt(0.05 / 3)
    assert parts["nss"].item() == pytest.approx(1.5 - 0.15 / np.sqrt(0.05 / 3), abs=1e-6)


def test_a_batch_is_the_mean_of_its_images():
    p, s, f = random_batch()
    wanted = [released(*image) for image in zip(p, s, f, strict=True)]
    parts = emlnet_loss_parts(tensor(*p), tensor(*s), tensor(*f))
    assert list(parts) == ["kl", "cc", "nss"]
    for name, value in parts.items():
        assert value.shape == () and value.dtype == torch.float32
        assert value.item() == pytest.approx(np.mean([image[name] for image in wanted]), rel=1e-5)
    assert emlnet_loss(tensor(*p), tensor(*s), tensor(*f)).item() == pytest.approx(sum(v.item() for v in parts.values()))
    flat = emlnet_loss_parts(*(torch.tensor(m, dtype=torch.float32) for m in (p, s, f)))  # (B, H, W)
    assert all(torch.equal(flat[name], parts[name]) for name in parts)


def test_agrees_with_the_metrics_where_they_are_the_same():
    """1 - CC, and NSS up to the fixations' own: the pixels that MIT's NSS averages over."""
    p, s, f = (torch.tensor(m) for m in random_batch())
    parts = emlnet_loss_parts(p, s, f)
    assert parts["cc"].item() == pytest.approx(1 - cc(p, s).mean().item(), abs=1e-10)
    assert parts["nss"].item() == pytest.approx((nss(f, f) - nss(p, f)).mean().item(), abs=1e-10)


def test_known_offsets_at_salicon_size():
    """A perfect map still pays: KL(s, s) is about -0.20 for its epsilon, and NSS's constant is sqrt((1 - q) / q) = 25.8."""
    f, s = salicon_like()
    perfect = emlnet_loss_parts(tensor(s), tensor(s), tensor(f))
    assert perfect["kl"].item() == pytest.approx(-0.20, abs=0.01)
    assert perfect["cc"].item() == pytest.approx(0, abs=1e-5)
    assert perfect["nss"].item() == pytest.approx(24.5, abs=0.1)
    uniform, q = emlnet_loss_parts(tensor(np.full(s.shape, 0.3)), tensor(s), tensor(f)), 460 / (480 * 640)
    shares = s / s.sum()
    true_kl = np.sum(shares * np.log(shares * s.size + 1e-300))
    assert true_kl == pytest.approx(0.64, abs=0.03) and uniform["kl"].item() == pytest.approx(0.37, abs=0.03)
    assert uniform["nss"].item() == pytest.approx(np.sqrt((1 - q) / q), rel=1e-5) and uniform["nss"].item() == pytest.approx(25.82, abs=0.02)
    assert emlnet_loss_parts(tensor(f), tensor(s), tensor(f))["nss"].item() == pytest.approx(0, abs=1e-4)


def test_scale_and_counts_do_not_matter():
    p, s, f = random_batch()
    wanted = emlnet_loss_parts(tensor(*p), tensor(*s), tensor(*f))
    sums_to_one = s / s.sum(axis=(1, 2), keepdims=True) / 1e3
    for parts in (emlnet_loss_parts(tensor(*p) * 1e-3, tensor(*s) * 255, tensor(*f) * 3),
                  emlnet_loss_parts(tensor(*p), tensor(*sums_to_one), tensor(*f).to(torch.uint8) * 7),
                  emlnet_loss_parts(tensor(*p) * 1e-12, tensor(*s), tensor(*f).bool())):
        assert all(torch.allclose(parts[name], wanted[name], rtol=1e-4) for name in wanted)


CONSTANT = {"zeros": 0.0, "ones": 1.0, "a third": 1 / 3}


@pytest.mark.parametrize("name", CONSTANT)
def test_constant_predictions_score_chance_and_pass_no_wild_gradient(name):
    _, s, f = random_batch()
    p = torch.full((3, 1, 24, 32), CONSTANT[name], requires_grad=True)
    parts = emlnet_loss_parts(p, tensor(*s), tensor(*f))
    shares = s / s.sum(axis=(1, 2), keepdims=True)
    uniform = np.sum(shares * np.log(shares / (1 / s[0].size + E) + E)) / 3
    assert parts["kl"].item() == pytest.approx(uniform, rel=1e-4)
    assert parts["cc"].item() == 1
    assert parts["nss"].item() == pytest.approx(np.mean([np.sqrt((m.size - 1) / m.size * (1 - m.mean()) / m.mean()) for m in f]), rel=1e-5)
    sum(parts.values()).backward()
    assert p.grad.isfinite().all() and p.grad.abs().max() < 1


@pytest.mark.parametrize("logit", [-200.0, -80.0, -30.0, 30.0, 200.0])
def test_saturated_sigmoids_have_finite_gradients(logit):
    _, s, f = random_batch()
    z = (logit + torch.randn(3, 1, 24, 32, generator=torch.Generator().manual_seed(0))).requires_grad_()
    sum(emlnet_loss_parts(torch.sigmoid(z), tensor(*s), tensor(*f)).values()).backward()
    assert z.grad.isfinite().all()


def test_an_image_without_fixations_adds_no_nss_and_leaves_the_others_alone():
    p, s, f = random_batch()
    f[1] = 0
    prediction = tensor(*p).requires_grad_()
    parts = emlnet_loss_parts(prediction, tensor(*s), tensor(*f))
    wanted = sum(released(p[i], s[i], f[i])["nss"] for i in (0, 2)) / 3
    assert parts["nss"].item() == pytest.approx(wanted, rel=1e-5)
    parts["nss"].backward()
    assert not prediction.grad[1].any() and prediction.grad[0].any() and prediction.grad[2].any()


def test_blank_targets_are_finite():
    p = tensor(*random_batch()[0]).requires_grad_()
    blank = torch.zeros(3, 1, 24, 32)
    parts = emlnet_loss_parts(p, blank, blank)
    assert parts["cc"].item() == 1 and parts["nss"].item() == 0 and parts["kl"].isfinite()
    sum(parts.values()).backward()
    assert p.grad.isfinite().all()
    everywhere = emlnet_loss_parts(p, blank + 1, blank + 1)  # every pixel fixated
    assert everywhere["nss"].item() == pytest.approx(0, abs=1e-5)


def test_gradients_are_those_of_the_formulas():
    p, s, f = (torch.tensor(m) for m in random_batch(2, (4, 5)))
    f[:, 1, 2] = 1
    for name in ("kl", "cc", "nss"):
        assert torch.autograd.gradcheck(lambda p, name=name: emlnet_loss_parts(p, s, f)[name], (p.clamp_min(0.05).requires_grad_(),))


def test_autocast_changes_nothing():
    """In bfloat16 the density of 307,200 pixels would be noise."""
    f, s = salicon_like()
    p = tensor(gaussian_filter(f, 40))
    wanted = emlnet_loss_parts(p, tensor(s), tensor(f))
    with torch.autocast("cpu", torch.bfloat16):
        parts = emlnet_loss_parts(p, tensor(s), tensor(f))
    assert all(torch.equal(parts[name], wanted[name]) for name in wanted)
    halves = emlnet_loss_parts(p.bfloat16(), tensor(s), tensor(f))
    assert all(value.dtype == torch.float32 and value.isfinite() for value in halves.values())


def test_mse_is_the_mean_square_and_reads_bytes():
    p, s, _ = random_batch()
    assert mse(tensor(*p), tensor(*s)).item() == pytest.approx(np.mean((p - s) ** 2), rel=1e-5)
    pixels = torch.randint(0, 256, (3, 1, 24, 32), dtype=torch.uint8)
    assert torch.equal(mse(tensor(*p), pixels), mse(tensor(*p), pixels.float() / 255))


def test_shapes_that_differ_are_refused_in_one_line():
    p, s, f = (tensor(*m) for m in random_batch())
    for density, fixations, name in ((s[:, 0], f, "density"), (s, f[..., :31], "fixations"), (s[:1], f, "density")):
        with pytest.raises(ValueError, match=f"prediction and {name} must be") as error:
            emlnet_loss_parts(p, density, fixations)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="density must be"):
        mse(p.expand(-1, 3, -1, -1), s.expand(-1, 3, -1, -1))
