"""The successors' grids as rows: each is its grid behind one network, told where it zooms there, fixed maps come from the training boxes."""

from types import SimpleNamespace

import pytest
import torch

from lib import tables
from lib.data.canvas import Square
from lib.models import successors, zoomed
from lib.models.grids import composite_saliency, separable_grid
from lib.models.sampler import folds, identity_grid, low_resolution, resize_grid
from lib.runs import keys
from lib.runs.engine import Run
from lib.tables.successors import POWERS
from lib.training.gaze import box_magnification
from lib.training.recognition import heat, worst_distortion

KNOWN = {"task": "small_gap", "outputs": 4, "task_size": 32}
LOOKING = KNOWN | {"trunk": "small", "view_size": 32}
TABLE = tables.get("successors")


def pictures(batch=2, side=96):
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(0))


def boxes(*places, side=96):
    return torch.tensor(places, dtype=torch.float32) * side


class TestRows:
    @pytest.mark.parametrize("grid", successors.ALL)
    def test_a_learned_row_is_its_grid_on_the_saliency_that_it_shows(self, grid):
        torch.manual_seed(0)
        model = successors.learned(grid=grid, **LOOKING)
        output, maps = model(pictures(), low_resolution(pictures(), 32), return_maps=True)
        assert output.shape == (2, 4) and (maps.grid - resize_grid(successors.ALL[grid](maps.saliency), 32)).abs().max() < 1e-6
        output.square().sum().backward()
        gradients = [p.grad.abs().max() for p in model.sampler.parameters() if p.grad is not None]
        assert len(gradients) > 4 and max(gradients) > 0, "the loss trains the saliency network through the grid"

    def test_the_task_network_starts_from_the_same_values_whatever_the_grid(self):
        made = []
        for build in (lambda: zoomed.sampler(**LOOKING), *(lambda grid=grid: successors.learned(grid=grid, **LOOKING) for grid in successors.ALL)):
            torch.manual_seed(3)
            made.append(build().state_dict())
        assert all(torch.equal(made[0][name], one[name]) for one in made for name in made[0])

    @pytest.mark.parametrize("grid", POWERS)
    def test_told_where_it_zooms_there_and_does_not_fold(self, grid):
        box = boxes([0.1, 0.55, 0.2, 0.25], [0.6, 0.2, 0.3, 0.2])
        model = successors.told(grid=grid, power=POWERS[grid], **KNOWN | {"task_size": 64})
        assert model.inputs == ("image", "annotation")
        maps = model.sampler(pictures(), heat(box, 96))
        assert folds(maps.grid).max() == 0
        assert (box_magnification(maps.grid, box[:, None], (96, 96)) > 1.15).all()

    def test_nothing_known_is_nan_and_not_the_plain_picture(self):
        sampler = successors.told(grid="marginal", **KNOWN).sampler
        assert sampler(pictures(), torch.zeros(2, 1, 31, 31)).image.isnan().all()

    def test_a_grid_that_there_is_not_is_named_with_those_there_are(self):
        with pytest.raises(ValueError, match="grid 'transporter'.*transport"):
            successors.learned(grid="transporter", **LOOKING)


class TestFixedMaps:
    def task(self, box, side=96):
        return SimpleNamespace(columns={"train": {"box": box}}, canvas={"train": Square(side)})

    def test_it_is_high_where_the_training_boxes_are_and_sums_to_one(self):
        model = successors.lzu(**KNOWN)
        before = model.sampler(pictures())
        assert (before.grid - identity_grid(32, like=before.grid)).abs().max() < 1e-5, "uniform until it has seen boxes"
        model.prepare(self.task(torch.cat((boxes([0.1, 0.6, 0.2, 0.2], [0.2, 0.7, 0.1, 0.1]), torch.full((1, 4), torch.nan)))))
        fixed = model.sampler.fixed.map
        assert fixed.sum().item() == pytest.approx(1, abs=1e-4)
        row, column = divmod(int(fixed.flatten().argmax()), 31)
        assert column < 10 < 18 < row
        grid = model.sampler(pictures()).grid
        assert (grid[0] - grid[1]).abs().max() < 1e-6, "the same for every picture"

    def test_a_trained_row_finds_its_map_among_its_weights(self):
        model, other = successors.lzu(**KNOWN), successors.lzu(**KNOWN)
        model.prepare(self.task(boxes([0.1, 0.6, 0.2, 0.2])))
        other.load_state_dict(model.state_dict())
        assert torch.equal(other.sampler.fixed.map, model.sampler.fixed.map)

    def test_foveas_is_both_maps_through_the_separable_attraction(self):
        torch.manual_seed(0)
        model = successors.fovea(**LOOKING)
        model.prepare(self.task(boxes([0.1, 0.6, 0.2, 0.2])))
        sampler, view = model.sampler, low_resolution(pictures(), 32)
        maps = sampler(pictures(), view)
        own = sampler.saliency(sampler.normalize(view))
        wanted = separable_grid(composite_saliency(sampler.fixed.map, own, weight=0.5), sigma=sampler.sigma)
        assert (maps.grid - resize_grid(wanted, 32)).abs().max() < 1e-6


class TestDistortion:
    def test_plain_resizing_has_none(self):
        grid = identity_grid(24, like=torch.zeros(1)).expand(2, -1, -1, -1)
        worst = worst_distortion(grid, torch.tensor([[0.2, 0.2, 0.4, 0.3], [float("nan")] * 4]))
        assert (worst["anisotropy"] - 1).abs().max() < 1e-4 and worst["shear"].max() < 1e-3 and worst["folds"].max() == 0

    def test_it_is_that_of_the_box_and_of_the_picture_where_no_box_is_known(self):
        """Right of the middle the grid is stretched to twice the width, left of it it is not."""
        grid = identity_grid(33, like=torch.zeros(1)).expand(3, -1, -1, -1).clone()
        x = grid[..., 0]
        grid[..., 0] = torch.where(x > 0, 2 * x, x)
        left, right, unknown = worst_distortion(grid, torch.tensor([[0.05, 0.1, 0.3, 0.3], [0.7, 0.1, 0.3, 0.3], [float("nan")] * 4]))["anisotropy"]
        assert [left.item(), right.item(), unknown.item()] == pytest.approx([1, 2, 2], abs=1e-4)

    def test_a_fold_counts(self):
        grid = identity_grid(9, like=torch.zeros(1)).clone()
        grid[0, 4, 4], grid[0, 4, 5] = grid[0, 4, 5].clone(), grid[0, 4, 4].clone()
        assert worst_distortion(grid, torch.tensor([[0.0, 0.0, 1.0, 1.0]]))["folds"].item() > 0


class TestTable:
    def weights(self, table, name):
        code = keys.code_of_weights(table, table.row(name), table.presets["demo"], dataset="twin")
        return keys.depends_on(code, {}, 0, {"train": "a", "val": "b", "test": "c"}, needs={}, device="cpu", torch="2")["weights"]

    @pytest.mark.parametrize("name", ["plain", "same_cost", "sampler", "oracle"])
    def test_table_2s_rows_are_trained_once_for_both(self, name):
        assert self.weights(TABLE, name) == self.weights(tables.get("inaturalist"), name)

    def test_the_demo_leaves_out_what_is_dear_and_says_so(self):
        rows = {preset: {row.name for row in TABLE.rows_of(preset, "twin")} for preset in ("demo", "demo-all")}
        assert rows["demo-all"] - rows["demo"] == {"learned_balanced", "learned_transport", "fovea", "lzu", "told_transport"}
        assert TABLE.presets["demo-all"] == TABLE.presets["demo"]

    @pytest.mark.parametrize(("name", "dataset"), [("successors", "inaturalist"), ("unzoomed", "osie")])
    def test_real_data_have_the_rows_that_the_twin_leaves_out_for_their_time(self, name, dataset):
        table = tables.get(name)
        real, twin = ({row.name for row in table.rows_of("demo", which)} for which in (dataset, "twin"))
        assert real - twin == {row.name for row in table.rows if row.left_out}

    def test_birds_are_read_as_birds(self, smoke, results_dir, tmp_path):
        """Table 4's twin stands for the real ones: another loader, the same rows."""
        four = tables.get("cub200")
        root = four.twin.write(four.presets["smoke"], "main", lambda *words: None)
        run = smoke("successors", tmp_path, ["told_cells"], dataset="cub200", data_dir=root)
        record = run.results["told_cells"][0].record
        assert record.dataset == "cub200" and {"anisotropy", "shear", "folds"} <= run.results["told_cells"][0].values.keys()

    def test_a_network_that_another_table_has_trained_is_not_trained_again(self, smoke, tmp_path, monkeypatch):
        """Birds' records are filed apart in both tables, and the key of the weights is one."""
        four = tables.get("cub200")
        birds = {"dataset": "cub200", "data_dir": four.twin.write(four.presets["smoke"], "main", lambda *words: None)}
        here = smoke("cub200", tmp_path, ["plain"], **birds).results["plain"][0]
        monkeypatch.setattr(Run, "_train", lambda *_: pytest.fail("trained again"))
        there = smoke("successors", tmp_path, ["plain"], **birds).results["plain"][0]
        assert there.weights.read_bytes() == here.weights.read_bytes() and there.weights != here.weights
        assert there.computed and there.record.table != here.record.table and there.record.summary["top1"] == here.record.summary["top1"]
