"""The saliency task: maps, fixations and photographs stay together, and each metric gets what it is defined on."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from lib.data.saliency import fifth_split
from lib.data.saliency_store import GroundTruth, Selection
from lib.metrics import saliency as metrics
from lib.models.saliency_baselines import Ceiling, ConstantMap, FromBatch, Released, as_png
from lib.training.loop import evaluate
from lib.training.saliency import SaliencyTask, enlarge

SIZE = (24, 32)  # of the network


class Drawn:
    """A data set in memory whose photograph, map and fixations all show the same bright spot."""

    def __init__(self, root, sizes, *, points=True):
        rng = np.random.default_rng(0)
        self.root, self.sizes, self.points, self.fingerprint, self.is_twin = root, sizes, points, f"drawn {sizes} {points}", True
        self.spots = [rng.uniform(0.15, 0.85, size=2) for _ in sizes]
        self.seen = []
        for i, (height, width) in enumerate(sizes):
            at = rng.normal(self.spots[i] * [width, height], 0.06 * height, size=(40, 2))
            self.seen.append(np.clip(at, 0, [width - 1, height - 1]).astype(np.int64))
            Image.fromarray((self.true_density(i) / self.true_density(i).max() * 255).astype(np.uint8)).save(self.path(i))

    def __len__(self):
        return len(self.sizes)

    def path(self, i):
        return self.root / f"{i}.png"

    def size(self, i):
        return self.sizes[i]

    def fixations(self, i):
        return self.seen[i] if self.points else None

    def density(self, i):
        blurred = metrics.density_map(metrics.fixation_map(self.seen[i], self.sizes[i]), sigma=4)
        return (blurred / blurred.max()).float().numpy()

    def true_density(self, i):
        height, width = self.sizes[i]
        y, x = np.mgrid[:height, :width]
        cx, cy = self.spots[i] * [width, height]
        density = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * (0.06 * height) ** 2)) + 0.01
        return (density / density.sum()).astype(np.float32)


def task(data, **options):
    return SaliencyTask({split: Selection(data, indices) for split, indices in fifth_split(len(data)).items()}, SIZE, cache_dir=None, **options)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return Drawn(tmp_path_factory.mktemp("drawn"), [(96, 128)] * 25)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    return Drawn(tmp_path_factory.mktemp("mixed"), [(96, 128), (120, 90)] * 15)


def test_maps_read_once_equal_maps_read_again(data, tmp_path):
    chosen = Selection(data, [3, 0, 7])
    memory, once = GroundTruth(chosen, SIZE, cache_dir=None), GroundTruth(chosen, SIZE, cache_dir=tmp_path)
    again = GroundTruth(chosen, SIZE, cache_dir=tmp_path)
    for positions in ([0, 1, 2], [2], [1, 0]):
        positions = np.array(positions)
        for cached in (once, again):
            assert torch.equal(memory.density(positions), cached.density(positions))
            assert torch.equal(memory.fixations(positions), cached.fixations(positions))


def test_fixations_fall_into_the_cells_that_hold_their_pixels(data):
    """Every pixel of the full map is counted in the cell that covers it: 96x128 pixels are 4x4 to a cell."""
    truth = GroundTruth(Selection(data, [5]), SIZE, cache_dir=None)
    full = metrics.fixation_map(data.seen[5], (96, 128)).float()[None]
    assert torch.equal(truth.fixations(np.array([0])), torch.nn.functional.max_pool2d(full, 4).clamp(max=1))
    shrunk = torch.nn.functional.avg_pool2d(torch.from_numpy(data.density(5))[None], 4)
    assert (truth.density(np.array([0])) - shrunk).abs().max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize("flip", [True, False])
def test_photograph_map_and_fixations_are_mirrored_together(data, flip):
    made = task(data, flip=flip)
    plain = next(made.batches("train", 25))
    batch = next(made.batches("train", 25, torch.Generator().manual_seed(0)))
    mirrored = 0
    for i, index in enumerate(batch["index"].tolist()):
        turned = not torch.equal(batch["view"][i], plain["view"][index])
        mirrored += turned
        for name in ("view", "density", "fixations"):
            assert torch.equal(batch[name][i].flip(-1) if turned else batch[name][i], plain[name][index]), name
    assert 0 < mirrored < len(batch["index"]) if flip else mirrored == 0


@pytest.mark.parametrize("which", ["data", "mixed"])
def test_negatives_are_the_fixations_of_all_other_test_images(which, request):
    full = task(request.getfixturevalue(which)).full
    for index in range(len(full.fixations)):
        assert torch.equal(full.negatives(index), metrics.shuffled_map(full.fixations, full.sizes, index))


def test_test_batches_have_the_photographs_own_size(mixed):
    sizes = {tuple(batch["density"].shape[1:]) for batch in task(mixed).batches("test", 4)}
    assert sizes == {(96, 128), (120, 90)}


def test_photographs_that_are_alike_only_when_shrunk_are_scored_apart(tmp_path):
    """97 and 98 rows shrink to 25 both, by a factor of 4."""
    made = task(Drawn(tmp_path, [(97, 128), (98, 128)] * 10))
    assert len(made.stores["test"].groups) == 1
    found = [(tuple(batch["density"].shape[1:]), index) for batch in made.batches("test", 4) for index in batch["index"].tolist()]
    assert sorted(index for _, index in found) == [0, 1, 2, 3]
    assert all(made.full.sizes[index] == size for size, index in found) and len({size for size, _ in found}) == 2


def test_the_ground_truths_own_map_is_perfect_and_the_constant_map_is_chance(data):
    made, device = task(data), torch.device("cpu")
    perfect = evaluate(FromBatch("density"), made, "test", device=device)
    np.testing.assert_allclose(perfect["cc"], 1, atol=1e-6)
    np.testing.assert_allclose(perfect["sim"], 1, atol=1e-6)
    np.testing.assert_allclose(perfect["kl"], 0, atol=1e-6)
    chance = evaluate(ConstantMap(), made, "test", device=device)
    assert (chance["auc"] == 0.5).all() and (chance["nss"] == 0).all() and (chance["cc"] == 0).all()
    centre = evaluate(FromBatch("centre"), made, "test", device=device)
    np.testing.assert_allclose(centre["ig"], 0, atol=1e-9)  # it is its own baseline


def test_each_ceiling_is_scored_by_the_metrics_that_it_bounds(data):
    made = task(data)
    batch = next(made.batches("test", 5))
    output = Ceiling()(batch["truth"], batch["pooled"])
    found = made.values(output, batch)
    assert torch.equal(found["nss"], metrics.nss(batch["truth"], batch["fixations"]))
    over_pooled = batch["truth"] / batch["pooled"]
    assert torch.equal(found["auc_shuffled"], metrics.auc_shuffled(over_pooled, batch["fixations"], batch["others"]))
    blurred = metrics.density_map(batch["truth"].double(), sigma=19.0)
    assert torch.allclose(found["cc"], metrics.cc(blurred.float(), batch["density"]), atol=1e-6)
    assert not torch.allclose(found["cc"], metrics.cc(batch["truth"], batch["density"]), atol=1e-3)


def test_without_fixation_points_map_metrics_remain_and_validation_uses_cc(tmp_path):
    made = task(Drawn(tmp_path, [(96, 128)] * 15, points=False))
    batch = next(made.batches("test", 2))
    found = made.values(enlarge(torch.rand(2, 1, *SIZE), (96, 128)), batch)
    assert torch.isnan(found["nss"]).all() and torch.isnan(found["auc"]).all()
    assert torch.isfinite(found["cc"]).all() and torch.isfinite(found["kl"]).all()
    values = {name: value.numpy() for name, value in found.items()}
    assert made.validation_score(values) == pytest.approx(values["cc"].mean())


def test_an_unknown_loss_is_one_line_with_the_right_names(data):
    made = task(data)
    with pytest.raises(ValueError, match="loss 'bce' is not one of eml, mse"):
        made.losses(torch.rand(1, 1, *SIZE), SimpleNamespace(), "bce")


def test_a_folder_with_too_few_images_is_refused_in_one_line(tmp_path):
    with pytest.raises(ValueError, match="none is left for val; give more of the data set"):
        task(Drawn(tmp_path, [(96, 128)] * 6))


def test_maps_as_png_have_256_levels_between_their_extremes():
    """And a constant map, which has no extremes, is black rather than divided by zero."""
    rng = np.random.default_rng(0)
    saliency = rng.random((48, 64)).astype(np.float32)
    sharp, smooth = as_png(saliency, 0), as_png(saliency, 2.0)
    assert sharp.min() == 0 and sharp.max() == 1 and len(np.unique(sharp)) <= 256
    np.testing.assert_allclose(sharp * 255, np.round(sharp * 255), atol=1e-4)
    np.testing.assert_allclose(sharp, (saliency - saliency.min()) / (saliency.max() - saliency.min()), atol=1 / 255 + 1e-6)
    assert np.abs(np.diff(smooth, axis=1)).mean() < np.abs(np.diff(sharp, axis=1)).mean() / 2
    assert not as_png(np.full((8, 8), 0.3, np.float32), 2.0).any()


def test_the_released_pipeline_blurs_by_the_height_of_the_map():
    """Sigma 5 at 480 rows is 1 at 96: an impulse spreads as a Gaussian of that width."""
    impulse = torch.zeros(1, 1, 96, 128)
    impulse[..., 48, 64] = 1

    class Fixed(torch.nn.Module):
        inputs = ("view",)

        def forward(self, view):
            return impulse

    row = Released(Fixed())(torch.zeros(1))[0, 0, 48]
    assert row[64] == 1 and row[65] == pytest.approx(np.exp(-0.5), abs=0.01) and row[66] == pytest.approx(np.exp(-2), abs=0.01)
