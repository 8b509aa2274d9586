"""The recognition task and its tables: what turns with a picture, where a row is said to look, and networks of the paper's size."""

import dataclasses

import numpy as np
import pytest
import torch
from torchvision import models

from lib import tables
from lib.data.canvas import Square
from lib.data.cub200 import CUB200
from lib.data.inaturalist import INaturalist
from lib.data.synthetic import inaturalist as twin
from lib.models import zoomed
from lib.models.cam import CAMCrop
from lib.models.network import RowNetwork
from lib.models.rivals import Oracle
from lib.models.sampler import Sampled, identity_grid
from lib.runs.engine import Run, settings
from lib.tables import cub200, inaturalist, saliency_depth
from lib.tables.table import Source, arguments
from lib.training.loop import evaluate
from lib.training.progress import Progress
from lib.training.recognition import DETAIL, RecognitionTask, around, heat, inside

SIDE = 48
NAMES = ("inaturalist", "saliency_depth", "cub200")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return twin.write(tmp_path_factory.mktemp("twin") / "data", train=80, test=16, side=64, workers=1)


@pytest.fixture(scope="module")
def data(root):
    return {split: INaturalist(root, split) for split in ("train", "val", "test")}


def task(data, **options) -> RecognitionTask:
    return RecognitionTask(data, view_size=32, canvas=Square(SIDE, "squash"), cache_dir=None, **options)


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, equal_nan=True)


# ------------------------------------------------------------------------------------------------------------ the columns


def test_columns_are_where_the_picture_is(data):
    """Boxes, parts and detail are scaled as the picture was, and parts and detail lie in their animal's box."""
    columns, test = task(data).columns["test"], data["test"]
    scale = SIDE / test.size[:, ::-1]  # (N, 2)
    np.testing.assert_allclose(columns["box"].numpy(), test.box * np.tile(scale, 2), rtol=1e-5)
    np.testing.assert_allclose(columns["detail"].numpy(), test.detail * scale, rtol=1e-5)
    known = columns["box"].isfinite().all(1)
    assert 0 < known.sum() < len(known), "the twin leaves some boxes out"
    low, high = columns["box"][known, :2] - 1, columns["box"][known, :2] + columns["box"][known, 2:] + 1
    assert ((columns["detail"][known] >= low) & (columns["detail"][known] <= high)).all()


def pixels(boxes: torch.Tensor) -> torch.Tensor:
    """(N, SIDE, SIDE): which pixels' centres lie inside (N, 4)."""
    at = torch.arange(SIDE) + 0.5
    low, high = boxes[:, :2] + 1e-3, boxes[:, :2] + boxes[:, 2:] - 1e-3
    across, down = ((at > low[:, i, None]) & (at < high[:, i, None]) for i in (0, 1))  # (N, SIDE) each
    return down[:, :, None] & across[:, None, :]


def test_a_mirrored_picture_takes_its_coordinates_along(data):
    """The box and the square around the detail cover the same pixels, mirrored, as parts do; twice is the identity."""
    made = task(data)
    batch = next(made.batches("test", 16))
    turned = {name: made.mirrored(name, column, SIDE) for name, column in batch.items()}
    for name, column in batch.items():
        assert same(made.mirrored(name, turned[name], SIDE), column.float() if column.dtype != turned[name].dtype else column)
    assert turned["label"] is batch["label"]
    known = batch["box"].isfinite().all(1)
    assert known.any()
    for before, after in ((batch["box"][known], turned["box"][known]), (around(batch["detail"][:, None], SIDE)[:, 0],
                                                                        around(turned["detail"][:, None], SIDE)[:, 0])):
        torch.testing.assert_close(pixels(after), pixels(before).flip(-1))
    parts, other = batch["parts"], turned["parts"]
    assert same(parts[..., 0] + other[..., 0], torch.where(parts[..., 0].isnan(), torch.nan, float(SIDE))) and same(parts[..., 1], other[..., 1])


def test_the_heat_map_mirrors_as_its_box_does(data):
    """The oracle of a mirrored picture zooms at the mirrored box."""
    made = task(data)
    columns = made.columns["test"]
    box = made.mirrored("box", columns["box"], SIDE)
    torch.testing.assert_close(made.mirrored("annotation", columns["annotation"], SIDE), heat(box, SIDE), rtol=1e-4, atol=1e-5)


def test_half_of_the_training_pictures_are_mirrored_whole(data):
    """A mirrored sample is mirrored in all its columns, an unmirrored one in none; validation is never."""
    made, plain = task(data, flip=True), task(data)
    store, columns, turned = made.stores["train"], plain.columns["train"], 0
    for batch in made.batches("train", 16, torch.Generator().manual_seed(0)):
        for k, index in enumerate(batch["index"].tolist()):
            image = store.fetch(np.array([index]))[0][0]
            flipped = not torch.equal(batch["image"][k], image)
            turned += flipped
            assert torch.equal(batch["image"][k], image.flip(-1) if flipped else image)
            for name in ("box", "detail", "parts", "annotation"):
                column = columns[name][index:index + 1]
                assert same(batch[name][k:k + 1], made.mirrored(name, column, SIDE) if flipped else column), name
    assert 20 < turned < 52  # of 72
    for batch in made.batches("val", 8):
        assert torch.equal(batch["image"], made.stores["val"].fetch(batch["index"].numpy())[0])


def test_random_crops_take_everything_along(data):
    """What lies under the box's corners before the crop lies there after it; view and heat map are those of the crop."""
    made = task(data, random_crop=True)
    plain = task(data)
    (batch,), (whole,) = ([next(one.batches("train", 16, torch.Generator().manual_seed(seed)))] for one, seed in ((made, 3), (plain, 3)))
    assert torch.equal(batch["index"], whole["index"]) and not torch.equal(batch["image"], whole["image"])
    crop = torch.tensor([[SIDE // 4, SIDE // 8, SIDE // 2, SIDE // 2]] * len(whole["index"]))
    found = made.cropped(whole, crop)
    assert found["image"].shape == whole["image"].shape and found["image"].dtype == torch.uint8
    torch.testing.assert_close(found["detail"], (whole["detail"] - torch.tensor([SIDE / 4, SIDE / 8])) * 2)
    assert same(found["parts"], (whole["parts"] - torch.tensor([SIDE / 4, SIDE / 8])) * 2)
    inside = pixels(whole["box"])[:, SIDE // 8:SIDE // 8 + SIDE // 2, SIDE // 4:SIDE // 4 + SIDE // 2].float()
    larger = torch.nn.functional.interpolate(inside[:, None], scale_factor=2)[:, 0]
    assert (larger - pixels(found["box"]).float()).abs().mean() < 0.02  # but for the edge pixels
    torch.testing.assert_close(found["annotation"], heat(found["box"], SIDE))
    whole_picture = torch.tensor([[0, 0, SIDE, SIDE]] * len(whole["index"]))
    assert torch.equal(made.cropped(whole, whole_picture)["image"], whole["image"])


def test_random_crops_come_from_the_epochs_order_alone(data):
    """Neither what was drawn before nor the stream that dropout uses matters."""
    made, images = task(data, random_crop=True), []
    for _ in range(2):
        before = torch.get_rng_state()
        images.append(next(made.batches("train", 8, torch.Generator().manual_seed(1)))["image"])
        assert torch.equal(torch.get_rng_state(), before)
        torch.rand(5)
    assert torch.equal(*images)


# --------------------------------------------------------------------------------------------------------- where it looks


def test_saliency_in_a_box_of_hand_made_maps():
    """All, a part and none of the saliency, and a uniform map's share is the box's; the map's scale does not count."""
    box = torch.tensor([[0.25, 0.5, 0.5, 0.25]])  # columns 1 and 2, row 2 of 4x4 cells
    saliency = torch.zeros(1, 1, 4, 4)
    saliency[0, 0, 2, 1] = 3
    assert inside(saliency, box).item() == 1
    saliency[0, 0, 0, 0] = 9
    assert inside(saliency, box).item() == pytest.approx(0.25) == inside(100 * saliency, box).item()
    assert inside(saliency, torch.tensor([[0.5, 0.0, 0.5, 0.5]])).item() == 0
    assert inside(torch.ones(1, 1, 4, 4), box).item() == pytest.approx(0.5 * 0.25)
    assert inside(saliency, torch.full((1, 4), torch.nan)).isnan().all(), "a box that is not known is not missed"


def test_around_is_a_square_of_the_stated_share():
    squares = around(torch.tensor([[[10.0, 20.0], [torch.nan, torch.nan]]]), 100)
    assert squares.shape == (1, 2, 4)
    assert squares[0, 0].tolist() == pytest.approx([10 - 50 * DETAIL, 20 - 50 * DETAIL, 100 * DETAIL, 100 * DETAIL])


def test_heat_peaks_at_the_middle_of_the_box_and_is_uniform_without_one():
    box = torch.tensor([[30.0, 55.0, 20.0, 10.0], [torch.nan] * 4])
    maps = heat(box, 100)
    assert maps.shape == (2, 1, 31, 31) and maps.isfinite().all()
    row, column = divmod(maps[0, 0].argmax().item(), 31)
    assert (column / 30, row / 30) == pytest.approx((0.4, 0.6), abs=1e-6)
    assert (maps[1] == 1).all()
    across, down = (maps[0, 0].sum(dim) > 0.5 * maps[0, 0].sum(dim).max() for dim in (0, 1))
    assert across.sum() > down.sum(), "wider than high, as the box"


def values_of(made: RecognitionTask, batch, sampler=None) -> dict[str, np.ndarray]:
    """What a sampler that is told the annotation is worth; without one, plain resizing."""
    identity = identity_grid(64, like=torch.zeros(1)).expand(len(batch["index"]), -1, -1, -1)
    maps = sampler(batch["image"], batch["annotation"]) if sampler else Sampled(batch["image"], identity)
    return {name: value.numpy() for name, value in made.more_values(batch, maps).items()}


def test_an_oracle_at_the_detail_magnifies_it_and_plain_resizing_nothing(data):
    """Told the detail's place, the paper's attraction shows it more than twice as wide; the identity shows everything at 1."""
    made = task(data)
    batch = next(made.batches("test", 16))
    square = around(batch["detail"][:, None], SIDE)[:, 0]
    told = batch | {"annotation": heat(square, SIDE, floor=0.01)}
    found = values_of(made, told, Oracle(64))
    inner = ((batch["detail"] > 0.2 * SIDE) & (batch["detail"] < 0.8 * SIDE)).all(1).numpy()  # not at the border, which a zoom cannot leave
    assert inner.sum() >= 4 and (found["detail_magnification"][inner] > 2).all()
    found = values_of(made, batch)
    assert "saliency_in_box" not in found
    for name in ("box_magnification", "parts_magnification", "detail_magnification"):
        assert np.isfinite(found[name]).any() and (found[name][np.isfinite(found[name])] == 1).all(), name
    assert np.isnan(found["box_magnification"]).any(), "a box that is not known has no magnification"


def test_an_oracle_at_the_box_puts_its_saliency_there(data):
    """More than a uniform map would, for every box that is known."""
    made = task(data)
    batch = next(made.batches("test", 16))
    found = values_of(made, batch, Oracle(64))
    known = batch["box"].isfinite().all(1).numpy()
    assert (found["saliency_in_box"][known] > 2 * found["box_share"][known]).all()
    side = batch["box"][:, 2:].prod(1).numpy() / SIDE**2
    np.testing.assert_allclose(found["box_share"][known], side[known], atol=0.05)


def test_a_row_without_a_sampler_has_no_such_values(data):
    made = task(data)
    assert made.more_values(next(made.batches("test", 4)), None) == {}


# ------------------------------------------------------------------------------------------------------------ the tables


@pytest.mark.parametrize("name", NAMES)
def test_reference_comparisons_and_columns_name_what_exists(name):
    table = tables.get(name)
    rows = {row.name for row in table.rows}
    assert table.reference in rows and all(pair <= rows for pair in map(set, table.comparisons))
    assert {column.name for column in table.columns} >= {key for row in table.rows for key in row.published}
    assert set(table.presets) - {"photos", "photos-224"} == {"smoke", "demo", "paper", "paper-twin", "released"}


def test_published_values_are_the_papers():
    """Tables 2, 3 and 4, as printed."""
    def of(table):
        return {row.name: tuple(row.published.values()) for row in table.rows if row.published}

    assert of(inaturalist.TABLE) == {
        "plain": (60, 83), "deformable": (44, 69), "stn_affine": (60, 83), "grid_estimator": (61, 83), "stn_tps": (62, 84), "cam": (62, 84),
        "sampler": (65, 86), "inception_plain": (64, 86), "inception_sampler": (66, 87)}
    assert of(saliency_depth.TABLE) == {"plain": (60, 83), "depth_6": (62, 84), "depth_10": (64, 85), "sampler": (65, 86)}
    assert of(cub200.TABLE) == {"plain": (81.6,), "sampler": (84.5,)}
    assert [(quoted.label, *quoted.values.values()) for quoted in cub200.TABLE.quoted] == [("DT-RAM, 224 px", 82.8), ("DT-RAM, 448 px", 86.0)]


def test_table_3_reads_what_table_2_has_computed(tmp_path):
    """`plain` and `sampler` are computed once, and the other way round too; the depths between are Table 3's own."""
    def run(name, rows):
        table = tables.get(name)
        return Run(table, settings(table, preset="smoke", rows=rows, device="cpu", results_dir=tmp_path)).run().results

    first = run("inaturalist", ["plain"])
    third = run("saliency_depth", ["plain", "sampler", "depth_6"])
    assert first["plain"][0].computed and not third["plain"][0].computed and third["sampler"][0].computed and third["depth_6"][0].computed
    assert not run("inaturalist", ["sampler"])["sampler"][0].computed
    np.testing.assert_array_equal(first["plain"][0].values["predicted"], third["plain"][0].values["predicted"])


def test_another_number_of_classes_is_refused_in_one_line(root):
    table, source = inaturalist.TABLE, Source(dataset="inaturalist", root=root, cache_dir=None, progress=Progress(quiet=True))
    for preset, fits in (("smoke", True), ("paper-twin", True), ("paper", False)):
        small = dataclasses.replace(table.presets[preset], canvas=Square(SIDE, "squash"), test_canvas=Square(SIDE, "squash"), view_size=32)
        if fits:
            assert table.open(source, **arguments(table.open, small, {})).is_twin
            continue
        with pytest.raises(ValueError, match="16 classes, the preset expects 5089; choose another preset") as error:
            table.open(source, **arguments(table.open, small, {}))
        assert "\n" not in str(error.value) and str(root) in str(error.value)


# ---------------------------------------------------------------------------------------------------------- the networks


@pytest.fixture
def no_download(monkeypatch):
    """Networks start from random values, as on a machine without a connection; nothing is asked for."""
    monkeypatch.setattr(zoomed, "pretrained", lambda name: None)


@pytest.fixture
def quick_values(monkeypatch):
    """Weights from one row of random numbers, as large as kaiming_normal_ makes those of 3x3x512: drawing them anew takes longer than a picture."""
    row = torch.randn(1_000_000, generator=torch.Generator().manual_seed(0)) * 0.02

    def draw(weights: torch.Tensor, *_, **__) -> torch.Tensor:
        with torch.no_grad():
            return weights.copy_(row.repeat(-(-weights.numel() // len(row)))[:weights.numel()].view_as(weights))

    for name in ("kaiming_uniform_", "kaiming_normal_", "trunc_normal_"):
        monkeypatch.setattr(torch.nn.init, name, draw)


def test_the_plain_network_at_the_samplers_cost_costs_as_much():
    """Within five per cent of the sampler's operations, for every preset of the small networks."""
    for table in (inaturalist.TABLE, cub200.TABLE):
        preset = table.presets["demo"]

        def flops(row, preset=preset):
            return zoomed.flops(inaturalist.TABLE.row(row).build(preset), preset.canvas.size, preset.view_size)

        assert flops("same_cost") / flops("sampler") == pytest.approx(1, abs=0.05)
        assert flops("sampler") > 1.1 * flops("plain")


def test_operations_are_twice_the_multiplications():
    """An independent count: one 3x3 convolution of 4x5 channels over 8x8 pixels, and a linear layer."""
    class Layers(RowNetwork):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3, padding=1), torch.nn.Flatten(), torch.nn.Linear(5 * 64, 7))

        def forward(self, image):
            return self.layers(image)

    assert zoomed.flops(Layers(), 8, 8) == 2 * (3 * 5 * 9 * 64 + 5 * 64 * 7)


def test_a_shallower_saliency_network_is_a_part_of_the_deeper_one():
    """6, 10 and 14 layers have the first layers in common, and each has fewer parameters than the next."""
    trunk = inaturalist.PRESETS["demo"].trunk
    states = [zoomed.trunk_of(trunk, layers).state_dict() for layers in (6, 10, 14)]
    assert set(states[0]) < set(states[1]) < set(states[2])
    with torch.no_grad():
        shapes = [zoomed.trunk_of(trunk, layers)(torch.zeros(1, 3, 64, 64)).shape[2:] for layers in (6, 10, 14)]
    assert len(set(shapes)) == 1, "at one resolution, so that depth is what differs"


@pytest.mark.parametrize("name", ["resnet101", "resnet50", "inception_v3"])
def test_torchvisions_weights_fit_by_name_and_shape(name, no_download):
    """All that the network has but its new last layer is in torchvision's state dict; of that only the auxiliary head is left out."""
    options = {"init_weights": False} if name == "inception_v3" else {}
    with torch.device("meta"):
        theirs = {key: value.shape for key, value in getattr(models, name)(weights=None, **options).state_dict().items()}
        ours = {key: value.shape for key, value in zoomed.TASK_NETWORKS[name].build(5089).state_dict().items()}
    assert ours["fc.weight"][0] == 5089
    left_out = {key for key in theirs if key.startswith("AuxLogits.")}
    for state in (ours, theirs):
        for key in ("fc.weight", "fc.bias"):
            del state[key]
    assert ours == {key: shape for key, shape in theirs.items() if key not in left_out}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_row_of_the_papers_size_builds_and_runs(name, no_download, quick_values):
    """The networks of `paper-twin` take a picture of the test's size to as many outputs as the twin has classes."""
    table = tables.get(name)
    preset = table.presets["paper-twin"]
    side = preset.test_canvas.size
    batch = {"image": torch.zeros(1, 3, side, side, dtype=torch.uint8), "view": torch.zeros(1, 3, 227, 227, dtype=torch.uint8),
             "annotation": torch.ones(1, 1, 31, 31)}
    torch.manual_seed(0)
    for row in table.rows_of("paper-twin", "twin"):
        model = row.build(preset, *(table.row(needed).build(preset).eval() for needed in row.needs)).eval()
        with torch.no_grad():
            output, maps = model(*(batch[part] for part in model.inputs), return_maps=True)
        assert output.shape == (1, preset.outputs), row.name
        if not isinstance(model.sampler, CAMCrop) and row.name not in ("same_cost", "inception_plain", "inception_sampler"):
            assert maps.grid.shape[1:3] == (227, 227), row.name


# ------------------------------------------------------------------------------------------------------------- real heads


@pytest.fixture(scope="module")
def real_birds(real_data):
    data = {split: CUB200(real_data / "cub200", split, classes=[9, 10]) for split in ("train", "val", "test")}
    return RecognitionTask(data, view_size=32, canvas=Square(128, "squash"))


@pytest.mark.parametrize(("at", "other"), [("head_annotation", "box_magnification"), ("annotation", None)])
def test_an_oracle_at_real_birds_heads_enlarges_heads_more_than_birds(real_birds, at, other):
    assert "head" in real_birds.columns["test"] and real_birds.columns["test"]["head"].isfinite().all()
    model = zoomed.oracle(task="small_gap", outputs=2, task_size=64, at=at)
    values = evaluate(model, real_birds, "test", device=torch.device("cpu"))
    head, box = (float(np.nanmean(values[name])) for name in ("head_magnification", "box_magnification"))
    assert head > 1.3 and box > 1.1
    assert other is None or head > box + 0.2
