"""EML-NET behind the sampler: what is carried back lies where it was seen, photographs turn with their maps, the plain row is EML-NET's."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lib import tables
from lib.data.saliency import fifth_split
from lib.data.saliency_store import Selection
from lib.models import sampler as layer
from lib.models import unzoomed
from lib.models.sampler import folds, identity_grid, magnification
from lib.models.unzoomed import UnzoomedNetwork
from lib.runs import keys
from lib.tables import unzoomed as table
from lib.training.checkpoint import seed_everything
from lib.training.saliency import FullPictureTask, fixation_zoom
from test_saliency_task import Drawn

SIZE = (24, 32)


class Grey(nn.Module):
    """A dense network whose map is the picture's brightness."""

    def forward(self, image):
        return image.mean(1, keepdim=True)


def spot(batch=2, size=(60, 80), at=(20, 55)):
    """A smooth bright spot, (batch, 3, *size)."""
    y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    return torch.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / 50.0).expand(batch, 3, -1, -1).contiguous()


def drawn(tmp_path, count=14, size=(60, 80)):
    data = Drawn(tmp_path, [size] * count)
    return {split: Selection(data, indices) for split, indices in fifth_split(count).items()}


class TestNetwork:
    def test_carried_back_the_spot_is_where_it_was_and_otherwise_it_is_not(self):
        image = spot()
        density = spot()[:, 0]
        made = {back: UnzoomedNetwork(Grey(), unzoomed.truth(SIZE), SIZE, back=back) for back in (True, False)}
        wanted = F.interpolate(image[:, :1], SIZE, mode="bilinear", antialias=True)
        gap = {back: (model(image, density) - wanted).abs().mean().item() for back, model in made.items()}
        assert gap[True] < 0.35 * gap[False]

    def test_everything_is_shown(self):
        """The border is pinned: no value of the map is a fill."""
        sampler = unzoomed.truth(SIZE)
        sampled = sampler(spot(), spot()[:, 0])
        assert sampled.grid.abs().amax().item() == pytest.approx(1, abs=1e-5) and folds(sampled.grid).max() == 0
        model = UnzoomedNetwork(Grey(), sampler, SIZE)
        assert model.model(spot(), spot()[:, 0], return_maps=True)[1].all()

    def test_the_oracle_zooms_where_people_looked(self):
        sampled = unzoomed.truth(SIZE)(spot(), spot()[:, 0])
        zoom = magnification(sampled.grid)[0]
        seen = (sampled.grid[0] - torch.tensor([2 * 55 / 79 - 1, 2 * 20 / 59 - 1])).norm(dim=-1)
        assert zoom.flatten()[seen.argmin()] > 1.3

    def test_the_centre_map_is_the_tasks(self, tmp_path):
        task = FullPictureTask(drawn(tmp_path), SIZE)
        model = UnzoomedNetwork(Grey(), unzoomed.centre(SIZE), SIZE)
        model.prepare(task)
        fixed = F.interpolate(task.centre[None, None], unzoomed.CELLS, mode="area")
        assert torch.allclose(model.model.sampler.fixed.map, fixed / fixed.sum(), atol=1e-7)

    def test_both_networks_learn_from_the_map_that_is_carried_back(self):
        torch.manual_seed(0)
        model = table.sampler(family="small", trunk="small", size=(72, 96), view_size=(36, 48))
        image = torch.rand(2, 3, 144, 192)
        model(image, F.interpolate(image, (36, 48))).square().sum().backward()
        assert model.model.sampler.head.weight.grad.abs().max() > 0 and model.model.network.combined[0].weight.grad.abs().max() > 0

    def test_the_same_cost_is_the_same_cost(self):
        options = {"family": "small", "trunk": "small", "size": (72, 96), "view_size": (36, 48)}
        picture, view = torch.zeros(1, 3, 288, 384), torch.zeros(1, 3, 36, 48)
        dear, plain = (table.flops(build(**options), picture, view) for build in (table.sampler, table.same_cost))
        assert plain == pytest.approx(dear, rel=0.05)


@pytest.mark.parametrize("name", [*tables.NAMES, *tables.OWN])
def test_networks_do_not_depend_on_what_their_process_did_before(name):
    """Matrices that the layer keeps counted as operations of the first network at the sampler's cost: a worker gave it another size."""
    table_of = tables.get(name)
    preset = table_of.presets["smoke"]

    def built(row) -> tuple[list, dict[str, torch.Tensor]]:
        seed_everything(0)
        model = row.build(preset)
        settings = [{what: str(value) for what, value in vars(part).items() if "size" in what} for part in model.modules()]
        return settings, {**model.state_dict(), "drawn next": torch.rand(3)}

    for row in table_of.rows:
        if not row.needs and (row.presets is None or "smoke" in row.presets):
            layer._kept_attraction.cache_clear()
            (settings, first), (again, second) = built(row), built(row)
            assert settings == again and first.keys() == second.keys(), row.name
            assert all(torch.equal(tensor, second[what]) for what, tensor in first.items()), row.name


class TestTask:
    def test_photographs_come_whole_and_turn_with_their_maps(self, tmp_path):
        task = FullPictureTask(drawn(tmp_path), SIZE)
        plain = {int(i): each for batch in task.batches("train", 4) for i, each in zip(batch["index"], batch["image"], strict=True)}
        turned = 0
        for batch in task.batches("train", 4, torch.Generator().manual_seed(0)):
            assert batch["image"].shape[1:] == (3, 60, 80) and batch["image"].dtype == torch.uint8
            for k, i in enumerate(batch["index"].tolist()):
                flipped = not torch.equal(batch["image"][k], plain[i])
                turned += flipped
                assert torch.equal(batch["image"][k], plain[i].flip(-1) if flipped else plain[i])
                place = [one.float().sum(tuple(range(one.dim() - 1))).argmax() / one.shape[-1] for one in (batch["image"][k], batch["density"][k])]
                assert abs(place[0] - place[1]) < 0.12, "the bright spot is where people looked"
        assert 0 < turned < len(plain)

    def test_photographs_of_several_sizes_are_refused(self, tmp_path):
        data = Drawn(tmp_path, [(60, 80)] * 7 + [(60, 90)] * 7)
        with pytest.raises(ValueError, match="one size"):
            FullPictureTask({split: Selection(data, indices) for split, indices in fifth_split(14).items()}, SIZE)

    def test_zoom_at_fixations(self):
        grid = (identity_grid(33, like=torch.zeros(1)) * 0.5).expand(2, -1, -1, -1)  # twice, in the middle half
        fixations = torch.zeros(2, 41, 41, dtype=torch.int16)
        fixations[0, 18, 22], fixations[0, 20, 20], fixations[0, 0, 0] = 1, 3, 5  # the last is not shown
        zoom = fixation_zoom(grid, fixations)
        assert zoom[0].item() == pytest.approx(2, abs=1e-4) and zoom[1].isnan()


def test_the_plain_row_is_emlnets_own_and_trained_once():
    fingerprints = {"train": "a", "val": "b", "test": "c"}

    def depends(one):
        code = keys.code_of_weights(one, one.row("encoder_a"), one.presets["demo"], dataset="twin")
        return keys.depends_on(code, {}, 0, fingerprints, needs={}, device="cpu", torch="2")["weights"]

    assert depends(table.TABLE) == depends(tables.get("salicon"))
