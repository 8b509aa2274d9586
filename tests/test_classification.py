"""Classification tasks: what is right, what is mirrored together, and which crop shows the object."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from lib.data.canvas import RULES, Square, canvas, canvas_boxes, canvas_points
from lib.data.imagenette import crop_coverage
from lib.models.proposal import CropOracle, FixedChoice, small_classifier
from lib.training.classification import ClassificationTask
from lib.training.loop import evaluate
from lib.training.proposal import ProposalTask

SIDE, CROP = 48, 32


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Photographs of several sizes with one white square each, whose box is known; the label says on which side it is."""
    folder, rng = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    paths, sizes, boxes = [], [], []
    for i in range(24):
        height, width = (60, 80) if i % 2 else (72, 60)
        x, y = rng.integers(0, width - 12), rng.integers(0, height - 12)
        pixels = np.zeros((height, width, 3), np.uint8)
        pixels[y:y + 12, x:x + 12] = 255
        Image.fromarray(pixels).save(folder / f"{i}.png")
        paths.append(folder / f"{i}.png")
        sizes.append((height, width))
        boxes.append((x, y, 12, 12))
    boxes, sizes = np.array(boxes, dtype=float), np.array(sizes)
    label = (boxes[:, 0] + 6 > sizes[:, 1] / 2).astype(np.int64)

    class Photographs(SimpleNamespace):
        def __len__(self):
            return len(self.label)

    return Photographs(path=paths, size=sizes, label=label, box=boxes, classes=("left", "right"), fingerprint="squares")


def task(data, **options):
    options = {"crop_size": CROP, "view_size": 16, "canvas": Square(SIDE), **options}
    return ProposalTask(dict.fromkeys(("train", "val", "test"), data), **options)


# ------------------------------------------------------------------------------------------------------------------- canvas


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("size", [(60, 80), (80, 60), (50, 50), (95, 31)])
def test_boxes_follow_the_pixels_into_the_square(rule, size):
    """A white rectangle drawn in the photograph is white in the square exactly where its box is said to be."""
    height, width = size
    box = (width * 0.4, height * 0.4, width * 0.2, height * 0.2)
    pixels = np.zeros((height, width, 3), np.uint8)
    x, y, w, h = (round(value) for value in box)
    pixels[y:y + h, x:x + w] = 255
    square = canvas(pixels, 40, rule=rule)
    assert square.shape == (40, 40, 3)
    moved = canvas_boxes([(x, y, w, h)], [size], 40, rule=rule)[0]
    white = np.argwhere(square[..., 0] > 200)[:, ::-1]
    assert np.abs(white.min(0) - moved[:2]).max() <= 1.5 and np.abs(white.max(0) + 1 - (moved[:2] + moved[2:])).max() <= 1.5


def test_a_square_photograph_of_the_right_size_stays_as_it_is():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    for rule in RULES:
        np.testing.assert_array_equal(canvas(pixels, 40, rule=rule), pixels)


def test_points_and_boxes_agree_and_may_lie_outside():
    point = canvas_points([[[0, 0], [80, 60]]], [(60, 80)], 60, rule="short")[0]
    np.testing.assert_allclose(point, [[-10, 0], [70, 60]])
    np.testing.assert_allclose(canvas_boxes([(0, 0, 80, 60)], [(60, 80)], 60, rule="short")[0], [-10, 0, 80, 60])


def test_a_centre_crop_takes_coordinates_along():
    """Testing on the middle of the square: what is white there lies where its box says."""
    pixels = np.zeros((60, 80, 3), np.uint8)
    pixels[24:36, 34:46] = 255
    square = Square(60, "squash", 40)
    assert square.size == 40 and square.pixels(pixels).shape == (40, 40, 3)
    x, y, w, h = square.boxes([(34, 24, 12, 12)], [(60, 80)])[0]
    white = np.argwhere(square.pixels(pixels)[..., 0] > 127)[:, ::-1]
    assert np.abs(white.min(0) - (x, y)).max() <= 1.5 and np.abs(white.max(0) + 1 - (x + w, y + h)).max() <= 1.5
    np.testing.assert_allclose(square.points([[40.0, 30.0]], [(60, 80)])[0], [20, 20])
    with pytest.raises(ValueError, match="a centre crop of 70 px does not fit"):
        Square(60, "squash", 70).pixels(pixels)


@pytest.mark.parametrize(("options", "text"), [({"rule": "crop"}, "rule 'crop' is not one of squash, short, long"), ({"side": 0}, "side must be 1")])
def test_a_wrong_canvas_is_refused_in_one_line(options, text):
    with pytest.raises(ValueError, match=text):
        canvas(np.zeros((4, 4, 3), np.uint8), **{"side": 8, **options})


# -------------------------------------------------------------------------------------------------------------------- tasks


def test_photographs_of_all_sizes_come_in_one_batch_with_their_labels(data):
    (batch,) = task(data).batches("test", 64)
    assert batch["image"].shape == (24, 3, SIDE, SIDE) and batch["view"].shape == (24, 3, 16, 16)
    assert batch["label"].tolist() == data.label.tolist()


def test_mirrored_boxes_and_coverage_are_those_of_the_mirrored_picture(data):
    made = task(data, flip=True)
    plain, turned = next(made.batches("train", 24)), next(made.batches("train", 24, torch.Generator().manual_seed(0)))
    mirrored = 0
    for i, index in enumerate(turned["index"].tolist()):
        x, y, w, h = turned["box"][i].tolist()
        mirrored += not torch.equal(turned["image"][i], plain["image"][index])
        white = torch.argwhere(turned["image"][i, 0] > 200)
        if 0 < x and x + w < SIDE:
            assert abs(white[:, 1].min() - x) <= 1.5 and abs(white[:, 1].max() + 1 - x - w) <= 1.5
        wanted = crop_coverage([(x, y, w, h)], SIDE, CROP)[0]
        np.testing.assert_allclose(turned["coverage"][i].numpy(), wanted, atol=1e-4)
    assert 0 < mirrored < 24


def test_top1_and_top5_are_the_share_of_right_answers(data):
    made = task(data)
    batch = next(made.batches("test", 24))
    logits = torch.nn.functional.one_hot(batch["label"], 10).float()
    values = made.values(logits, batch, None)
    assert values["top1"].mean() == 1 and values["top5"].mean() == 1
    assert torch.equal(values["predicted"], batch["label"])
    wrong = made.values(-logits, batch, None)
    assert wrong["top1"].mean() == 0 and wrong["top5"].mean() == 0


def test_the_best_of_all_crops_is_right_where_any_is(data):
    made = task(data)
    batch = next(made.batches("test", 24))
    views = torch.nn.functional.one_hot(1 - batch["label"], 10).float()[:, None].repeat(1, 5, 1)
    assert made.values(views, batch, None)["top1"].mean() == 0
    views[:, 3] = torch.nn.functional.one_hot(batch["label"], 10).float()
    assert made.values(views, batch, None)["top1"].mean() == 1


def test_the_crop_that_shows_most_is_what_the_bound_looks_at(data):
    """And chance is the share of crops that show the object: five choices on average find it as often."""
    made, device = task(data), torch.device("cpu")
    bound = evaluate(FixedChoice(small_classifier(), CROP, kind="object"), made, "test", device=device)
    coverage = made.columns["test"]["coverage"].numpy()
    np.testing.assert_array_equal(bound["shown"], coverage.max(1) >= 0.5)
    np.testing.assert_allclose(bound["shown_by_chance"], (coverage >= 0.5).mean(1))
    assert (bound["entropy"] < 1e-6).all() and bound["shown"].mean() > bound["shown_by_chance"].mean()
    mean = evaluate(FixedChoice(small_classifier(), CROP, kind="mean"), made, "test", device=device)
    np.testing.assert_allclose(mean["entropy"], np.log2(5), atol=1e-6)
    assert np.isnan(mean["shown"]).all(), "equal weights choose nothing"
    full = evaluate(FixedChoice(small_classifier(), CROP, kind="full"), made, "test", device=device)
    assert full["shown"].all(), "the whole picture shows everything"


def test_a_bound_over_crops_is_never_below_the_random_crop(data):
    made, device = task(data), torch.device("cpu")
    torch.manual_seed(0)
    trained = FixedChoice(small_classifier(), CROP, kind="random")
    any_crop = evaluate(CropOracle(trained.classifier, CROP), made, "test", device=device)
    for seed in range(3):
        torch.manual_seed(seed)
        assert (any_crop["top1"] >= evaluate(trained, made, "test", device=device)["top1"]).all()


def test_without_boxes_a_task_says_nothing_about_the_object(data):
    made = task(SimpleNamespaceLike(data))
    values = evaluate(FixedChoice(small_classifier(), CROP, kind="centre"), made, "test", device=torch.device("cpu"))
    assert "shown" not in values and "weights" in values


class SimpleNamespaceLike:
    """The same photographs, boxes unknown."""

    def __init__(self, data):
        self.path, self.size, self.label, self.classes, self.fingerprint, self.box = data.path, data.size, data.label, data.classes, "no boxes", None

    def __len__(self):
        return len(self.label)


def test_label_smoothing_reaches_the_loss(data):
    plain, smooth = (ClassificationTask({"test": data}, view_size=16, canvas=Square(SIDE), label_smoothing=s) for s in (0.0, 0.1))
    batch = next(plain.batches("test", 24))
    sure = torch.nn.functional.one_hot(batch["label"], 10).float() * 50
    assert plain.losses(sure, batch)["cross_entropy"] < 1e-6 < 1 < smooth.losses(sure, batch)["cross_entropy"]
