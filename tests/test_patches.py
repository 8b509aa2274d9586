"""What Mr-CNN learns from: where crops are drawn and how they are cut, how they are stored, and its task's scores."""

import math
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from lib.data import patches
from lib.data.mit1003 import MIT1003
from lib.data.patches import QUANTILE, PatchStore, Sampling, SquareStore, centres, distinct_regions
from lib.data.saliency_store import Selection
from lib.data.synthetic import mit1003 as twin
from lib.files import disk
from lib.metrics import saliency as metrics
from lib.metrics.saliency.agreement import bristol_agreement
from lib.models import mrcnn
from lib.training.mrcnn import LATTICE, PatchTask
from lib.training.processes import Share
from lib.training.saliency import enlarge

SPLITS = {"train": [3, 0, 5, 6], "val": [1, 7], "test": [2, 4]}  # of the twin's 8 images


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return MIT1003(twin.write(tmp_path_factory.mktemp("twin") / "mit1003", images=8, workers=1))


@pytest.fixture(scope="module")
def task(data):
    return PatchTask(splits(data), sampling=Sampling())


def splits(data, chosen=SPLITS):
    return {split: Selection(data, indices) for split, indices in chosen.items()}


class Drawn:
    """A data set in memory: noise as photographs, and maps that the test chooses."""

    is_twin = False

    def __init__(self, maps):
        self.maps, self.root, self.fingerprint, self.broken = maps, "drawn", f"drawn {len(maps)}", None
        self.pictures = [np.random.default_rng(i).integers(0, 256, (*m.shape, 3), dtype=np.uint8) for i, m in enumerate(maps)]

    def name(self, index):
        return f"image {index}"

    def size(self, index):
        return self.maps[index].shape

    def image(self, index):
        if index == self.broken:
            raise ValueError("picture 2 is broken")
        return self.pictures[index]

    def density(self, index):
        return self.maps[index]

    def fixations(self, index):
        return None


def bump(size=(90, 120), at=(40, 30), sigma=12.0):
    """(H, W) float32 with maximum 1: one Gaussian."""
    y, x = np.ogrid[:size[0], :size[1]]
    return np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / (2 * sigma**2)).astype(np.float32)


def drawn(*maps):
    return Selection(Drawn(maps), range(len(maps)))


def distinct(positions):
    return len(np.unique(positions, axis=0))


def test_crops_are_slices_of_the_squashed_photograph_with_its_borders_repeated():
    """Pillow and numpy.pad, slice by slice, as oracle; the maps have their maximum in three corners and in the middle."""
    store = PatchStore(drawn(*[bump(at=at) for at in ((0, 0), (89, 119), (0, 119), (45, 60))]))
    borders = 0
    for i in range(len(store)):
        image, (row, column) = int(store.image_of_patch[i]), store.positions[i].tolist()
        assert store.labels[i] == (store.chosen.data.maps[image][row, column] > 0.9)
        for side in patches.SQUARES:
            photograph = Image.fromarray(store.chosen.data.pictures[image]).resize((side, side), Image.Resampling.BILINEAR)
            padded = np.pad(np.asarray(photograph), ((24, 24), (24, 24), (0, 0)), mode="edge")
            y, x = math.floor(Fraction(side, 90) * row), math.floor(Fraction(side, 120) * column)
            assert np.array_equal(store.fetch([i])[f"view_{side}"][0].permute(1, 2, 0), padded[y:y + 48, x:x + 48])
            borders += min(y, x) < 24 or max(y, x) > side - 24
    assert borders > 30


def test_a_centre_is_the_scaled_position_rounded_down():
    """Exactly: pixel 206 of 412 is pixel 125 of 250, which floating point makes 124.999."""
    assert centres(np.array([[206, 206]]), (412, 412), 250).tolist() == [[125, 125]] and math.floor(250 / 412 * 206) == 124
    for size in ((768, 1024), (1024, 405), (683, 600)):
        positions = np.stack([np.arange(0, n, 5)[:80] for n in size], axis=1)
        for side in patches.SQUARES:
            expected = [[math.floor(Fraction(side, n) * int(at)) for n, at in zip(size, place, strict=True)] for place in positions]
            assert centres(positions, size, side).tolist() == expected
            assert centres(np.array(size)[None] - 1, size, side).max() < side


def test_data_and_network_mean_the_same_crops():
    """On a photograph of 400x400 the lattice's points are pixels, and their crops give the logits of the whole squares."""
    torch.manual_seed(0)
    network = mrcnn.MrCNN(widths=(4, 6, 8), hidden=16).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    cells = np.array([[0, 0], [49, 0], [20, 33], [49, 49], [7, 48]])
    squares = patches.squares(pixels)
    crops = [patches.cut(squares[name], centres(8 * cells + 4, (400, 400), squares[name].shape[-1])) for name in network.inputs]
    with torch.no_grad():
        dense = network(*(torch.from_numpy(squares[name].copy())[None] for name in network.inputs))[0, 0]
        single = network(*(torch.from_numpy(crop.copy()) for crop in crops))
    torch.testing.assert_close(single, dense[tuple(cells.T)], atol=1e-5, rtol=1e-5)
    assert single.std() > 1e-4


def test_positives_are_above_and_negatives_below_their_shares_of_the_maximum(data):
    """Whatever the maximum is; no pixel is drawn twice."""
    for index in range(len(data)):
        density = data.density(index)
        positives, negatives = Sampling().draw(density * np.float32(0.7), data.name(index))
        unit = density / density.max()
        assert (unit[tuple(positives.T)] > 0.9).all() and (unit[tuple(negatives.T)] < 0.1).all()
        assert distinct(positives) == len(positives) == 10 and distinct(negatives) == len(negatives) == 20
    narrow = bump(sigma=3.0)  # asked for all there are and more
    positives, negatives = Sampling(positive=10**6, negative=10**6).draw(narrow, "a")
    assert len(positives) == distinct(positives) == (narrow > 0.9).sum() > 3
    assert len(negatives) == distinct(negatives) == (narrow < 0.1).sum()


def test_a_draw_depends_on_the_images_name_and_the_seed_alone(data):
    """Not on the order of the images, nor on how many there are."""
    def positions(indices, **options):
        store = PatchStore(Selection(data, indices), **options)
        return {data.name(index): store.positions[store.image_of_patch == i].tolist() for i, index in enumerate(indices)}

    many, few = positions([0, 1, 2]), positions([2, 0])
    assert few == {name: many[name] for name in few}
    assert all(found != few[name] for name, found in positions([2, 0], seed=1).items())
    assert not np.array_equal(*(Sampling().draw(data.density(0), name)[0] for name in "ab"))


def test_by_quantile_only_the_positives_change(data):
    """They lie in the top twentieth, and never where negatives may lie."""
    for index in range(3):
        density = data.density(index)
        positives, negatives = QUANTILE.draw(density, data.name(index))
        assert (density[tuple(positives.T)] > np.quantile(density, 0.95)).all()
        assert np.array_equal(negatives, Sampling().draw(density, data.name(index))[1])
    narrow = bump(sigma=2.0)  # its top twentieth reaches far below a tenth of the maximum
    assert narrow[QUANTILE.looked_at(narrow)].min() >= 0.1 and QUANTILE.looked_at(narrow).mean() < 0.04


def test_images_with_few_positions_give_what_they_have():
    peak, empty = np.zeros((60, 60), np.float32), np.zeros((60, 60), np.float32)
    peak[5, 6] = peak[30, 31] = 1
    bright = np.ones((60, 60), np.float32)  # positives alone
    store = PatchStore(drawn(peak, empty, bright))
    assert [[((store.image_of_patch == i) & (store.labels == kind)).sum() for kind in (1, 0)] for i in range(3)] == [[2, 20], [0, 0], [10, 0]]
    assert store.summary() == {"images": 3, "crops": 32, "positive_share": 12 / 32, "images_without_positives": 1, "images_with_fewer": 3,
                               "regions_mean": 1.5, "regions_median": 1.5}


def test_what_cannot_be_sampled_is_one_line():
    with pytest.raises(ValueError, match="drawn: no positives in any of 2 maps"):
        PatchStore(drawn(*[np.zeros((60, 60), np.float32)] * 2))
    for option, message in (({"rule": "best"}, "rule 'best' is not one of threshold"), ({"above": 0.05}, "below <= above")):
        with pytest.raises(ValueError, match=message):
            Sampling(**option)


def test_distinct_regions_are_counted_once_each():
    """Three blobs, of which the lowest is not looked at; pixels that touch at a corner are one region."""
    density = np.zeros((40, 40), np.float32)
    density[2:5, 2:5], density[20:24, 20:24], density[24, 24], density[30:34, 5:9] = 1, 0.95, 0.95, 0.8
    assert distinct_regions(density, np.array([[2, 2], [3, 4], [4, 4]])) == 1
    assert distinct_regions(density, np.array([[2, 2], [21, 21], [24, 24]])) == 2
    assert distinct_regions(density, np.array([[31, 6], [21, 21]])) == 1
    assert distinct_regions(density, np.array([[31, 6], [21, 21]]), sampling=Sampling(above=0.7)) == 2
    assert distinct_regions(density, np.zeros((0, 2), np.int64)) == 0
    store = PatchStore(drawn(np.maximum(bump(at=(20, 30), sigma=3.0), bump(at=(70, 90), sigma=3.0))), sampling=Sampling(positive=100))
    assert store.summary()["regions_mean"] == 2


@pytest.mark.parametrize("kind", [PatchStore, SquareStore])
def test_what_is_read_again_is_what_was_built(tmp_path, kind):
    chosen, steps = drawn(bump(), bump(at=(70, 100))), []
    memory = kind(chosen)
    built = kind(chosen, cache_dir=tmp_path, progress=lambda *step: steps.append(step))
    assert {(what, done, total) for what, done, total in steps if done == total} == {(what, 2, 2) for what, _, _ in steps} != set()
    chosen.data.broken = 0  # nothing is decoded again
    again = kind(chosen, cache_dir=tmp_path)
    for found in (built, again):
        assert found.arrays.keys() == memory.arrays.keys()
        assert all(np.array_equal(found.arrays[name], memory.arrays[name]) for name in memory.arrays)
    assert isinstance(again.arrays["view_150"], np.memmap)


@pytest.mark.parametrize("kind", [PatchStore, SquareStore])
def test_an_interrupted_build_leaves_nothing_half_written(tmp_path, kind, monkeypatch):
    """Nor does one for which the disk is too full."""
    chosen = drawn(bump(), bump(), bump())
    chosen.data.broken = 2
    with pytest.raises(ValueError, match="picture 2 is broken"):
        kind(chosen, cache_dir=tmp_path)
    with monkeypatch.context() as full, pytest.raises(OSError, match="GB are needed, 0.0 GB are free; make room"):
        full.setattr(disk.shutil, "disk_usage", lambda path: SimpleNamespace(free=50_000))
        kind(chosen, cache_dir=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".locks"]
    (lock,) = (tmp_path / ".locks").iterdir()
    left_over = tmp_path / f"{lock.stem}.partial"  # as a killed process leaves it
    left_over.mkdir()
    chosen.data.broken = None
    assert kind(chosen, cache_dir=tmp_path).fetch(np.array([0]))["view_150"].any() and not left_over.exists()


def test_a_cache_is_of_one_sampling_and_one_seed(tmp_path):
    options = ({}, {"seed": 1}, {"sampling": Sampling(positive=3)}, {"sampling": QUANTILE})
    stores = [PatchStore(drawn(bump(sigma=20.0)), cache_dir=tmp_path, **each) for each in options]
    assert len(stores[2]) == 23 and len({store.positions.tobytes() for store in stores}) == 4


def test_a_map_of_another_size_than_its_photograph_is_one_line_that_names_it(tmp_path):
    (tmp_path / "ALLSTIMULI").mkdir()
    (tmp_path / "ALLFIXATIONMAPS").mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "ALLSTIMULI" / "a.jpeg")
    Image.new("L", (64, 47), 255).save(tmp_path / "ALLFIXATIONMAPS" / "a_fixMap.jpg")
    with pytest.raises(ValueError, match=r"^[^\n]*a_fixMap.jpg: is 64x47, its photograph 64x48[^\n]*$"):
        PatchStore(Selection(MIT1003(tmp_path), [0]), cache_dir=tmp_path / "cache")


def test_an_epoch_has_every_crop_once(task):
    store = task.stores["train"]
    batches = list(task.batches("train", 32, torch.Generator().manual_seed(0)))
    index = torch.cat([batch["index"] for batch in batches])
    assert len(batches) == task.length("train", 32) and sorted(index.tolist()) == list(range(120)) != index.tolist()
    assert torch.cat([batch["index"] for batch in task.batches("train", 32)]).tolist() == list(range(120))
    for batch in batches:
        assert batch["label"].dtype == torch.float32 and np.array_equal(batch["label"], store.labels[batch["index"]])
        assert all(torch.equal(batch[name], view) and view.dtype == torch.uint8 and view.shape[1:] == (3, 48, 48)
                   for name, view in store.fetch(batch["index"]).items())
    two = [torch.cat([batch["index"] for batch in task.batches("train", 32, torch.Generator().manual_seed(0), Share(rank, 2))]) for rank in (0, 1)]
    assert sorted(torch.cat(two).tolist()) == list(range(120)) and len(two[0]) == len(two[1])


def test_no_crop_comes_from_another_splits_image(task, data):
    """Each crop's middle pixel is that of a training image's square, and splits that share an image are refused."""
    store = task.stores["train"]
    for i in range(0, len(store), 7):
        index = SPLITS["train"][store.image_of_patch[i]]
        row, column = centres(store.positions[i:i + 1], data.size(index), 400)[0]
        assert np.array_equal(store.fetch([i])["view_400"][0, :, 24, 24], patches.squares(data.image(index))["view_400"][:, row, column])
    with pytest.raises(ValueError, match=f"1 images are in both train and test .{data.name(5)}."):
        PatchTask(splits(data, SPLITS | {"test": [2, 5]}), sampling=Sampling())


def test_evaluation_sees_whole_squashed_squares_and_what_they_are_scored_by(task, data):
    (batch,) = task.batches("val", 8)
    for row, index in enumerate(SPLITS["val"]):
        for side in patches.SQUARES:
            expected = np.asarray(Image.fromarray(data.image(index)).resize((side, side), Image.Resampling.BILINEAR))
            assert np.array_equal(batch[f"view_{side}"][row].permute(1, 2, 0), expected)
    assert batch["density"].shape == batch["fixations"].shape == (2, 150, 200) and "others" not in batch
    for batch in task.batches("test", 8):
        full = [batch[name].shape[1:] for name in ("density", "fixations", "others", "centre", "truth", "pooled")]
        assert "view_400" in batch and full == [data.size(SPLITS["test"][batch["index"][0]])] * 6


def test_known_maps_get_the_metrics_values(task):
    """Three at once, as ceilings are given; a single map stands for all three."""
    for batch in task.batches("test", 1):
        density, seen = batch["density"], batch["fixations"]
        for a, b, c in ((density.sqrt(), density**2, batch["centre"]), (density.sqrt(),) * 3):
            found = task.values(torch.stack([a, b, c], dim=1) if a is not b else a[:, None], batch)
            expected = {"nss": metrics.nss(a, seen), "auc": metrics.auc(a, seen), "auc_judd": metrics.auc_judd(a, seen),
                        "ig": metrics.information_gain(a, seen, batch["centre"], min_max=False),
                        "auc_shuffled": metrics.auc_shuffled(b, seen, batch["others"]), "cc": metrics.cc(c, density),
                        "sim": metrics.sim(c, density), "kl": metrics.kl_divergence(c, density), "bristol": bristol_agreement(c, density)}
            assert found.keys() == expected.keys() and found["auc"].isfinite().all()
            assert all(torch.equal(found[name], expected[name]) and found[name].shape == (1,) for name in expected)


def test_logits_become_probabilities_before_they_are_enlarged(data, task):
    """And before they are blurred, where that is asked for; maps of other sizes stay as they are."""
    logits = 6 * torch.randn(2, 1, *LATTICE, generator=torch.Generator().manual_seed(0))
    (batch,) = task.batches("val", 8)
    smooth = PatchTask(splits(data), sampling=Sampling(positive=3), smooth=2.0)
    assert smooth.patch_summary["crops"] == 4 * 23 and task.patch_summary["crops"] == 4 * 30
    soft = torch.from_numpy(gaussian_filter(logits.sigmoid().numpy(), (0, 0, 2.0, 2.0), mode="nearest"))
    for scored_by, unit in ((task, logits.sigmoid()), (smooth, soft)):
        full = torch.nn.functional.interpolate(unit, (150, 200), mode="bilinear", align_corners=False)
        for found, expected in ((scored_by.values(logits, batch), full), (scored_by.values(full, batch), full)):
            torch.testing.assert_close(found["cc"], metrics.cc(expected[:, 0], batch["density"]))
            torch.testing.assert_close(found["nss"], metrics.nss(expected[:, 0], batch["fixations"]))
    with pytest.raises(ValueError, match="would be taken for logits"):
        PatchTask(splits(data), sampling=Sampling(), size=LATTICE)


@pytest.mark.parametrize("stride", [8, 5, 3])
def test_the_enlarged_map_lies_where_its_crops_do(stride):
    """A map that tells each crop's place tells, enlarged, each pixel's, to half a pixel of the square."""
    height, side = 768, 50 * stride
    middles = mrcnn.lattice(side) * height / side  # in the photograph, which reaches from 0 to 768
    found = enlarge(middles.expand(1, 1, 50, 50).mT, (height, 1024))[0, 0, :, 0]
    error = (found - (torch.arange(height) + 0.5))[height // 50:-height // 50]
    assert error.abs().max() <= 0.5 * height / side + 1e-3 and (error.abs().max() < 1e-3) == (stride == 8)


def test_the_loss_is_the_cross_entropy_of_a_logit(task):
    logits, labels = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([1.0, 0.0, 0.0])
    p = logits.double().sigmoid()
    expected = -(p[0].log() + (1 - p[1]).log() + (1 - p[2]).log()) / 3
    assert {"bce": pytest.approx(expected.item())} == task.losses(logits, {"label": labels})
    with pytest.raises(ValueError, match="loss 'eml' is not bce"):
        task.losses(logits, {"label": labels}, "eml")


def test_without_fixation_points_what_needs_them_is_nan_and_validation_uses_cc():
    """As the published MIT1003 maps come; photographs of two sizes."""
    chosen = drawn(*[bump(((90, 120), (120, 90))[i % 2], at=(30 + 5 * i, 40), sigma=12.0) for i in range(6)])
    made = PatchTask(splits(chosen.data, {"train": [0, 1], "val": [2, 3], "test": [4, 5]}), sampling=Sampling())
    logits = torch.randn(1, 1, *LATTICE, generator=torch.Generator().manual_seed(0))
    for split, undefined in (("val", {"nss"}), ("test", {"nss", "auc", "auc_judd", "auc_shuffled", "ig"})):
        for batch in made.batches(split, 8):
            found = made.values(logits.expand(len(batch["index"]), -1, -1, -1), batch)
            assert {name for name, value in found.items() if torch.isnan(value).all()} == undefined
            assert all(torch.isfinite(value).all() for name, value in found.items() if name not in undefined)
            assert made.validation_score({name: value.numpy() for name, value in found.items()}) == pytest.approx(found["cc"].mean().item())


def test_real_photographs_are_sampled_as_the_recipe_says(real_data):
    """Some of MIT1003's: ten and twenty each, from one or two regions, as its maps' sharp peaks have it."""
    if not (real_data / "mit1003").is_dir():
        pytest.skip("ZOOM_REAL_DATA holds no mit1003/")
    data = MIT1003(real_data / "mit1003")
    indices = np.arange(0, len(data), max(1, len(data) // 6))[:6]
    store, wider = (PatchStore(Selection(data, indices), sampling=sampling) for sampling in (Sampling(), QUANTILE))
    for i, index in enumerate(indices):
        mine = store.image_of_patch == i
        levels = data.density(index)[tuple(store.positions[mine].T)] / data.density(index).max()
        assert (store.labels[mine] == (levels > 0.9)).all() and (levels > 0.9).sum() == 10 and (levels < 0.1).sum() == 20
    assert 1 <= store.summary()["regions_mean"] <= 2 and wider.summary()["regions_mean"] > store.summary()["regions_mean"]
