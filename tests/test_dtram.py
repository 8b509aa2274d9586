"""Crop, look again, stop when sure: crops lie where they should, the expectation is exact, stopping and its price do what they say."""

import pytest
import torch

from lib.models.dtram import EVEN, SIDES, Charged, LookAgain, ends, look_again
from lib.models.sampler import magnification
from lib.models.small_resnet import small_gap_network

KNOWN = {"task": "small_gap", "outputs": 4, "task_size": 32}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return look_again(**KNOWN)


@pytest.fixture
def image():
    return torch.rand(3, 3, 96, 96, generator=torch.Generator().manual_seed(1))


def stop_after(model, number):
    """Make it say stop at look `number`, from 0."""
    with torch.no_grad():
        model.sampler.stop.bias.fill_(9.0 if number == 0 else -9.0)


class TestLooks:
    def test_the_first_is_the_whole_picture_and_each_is_smaller(self, model, image):
        grids = [look.sampled.grid for look in model.sampler.looks(image)]
        spans = torch.stack([(grid[:, -1, -1] - grid[:, 0, 0]) / 2 for grid in grids])  # (T, B, 2)
        assert torch.allclose(spans, torch.tensor(SIDES)[:, None, None].expand_as(spans), atol=1e-5)
        assert all(grid.abs().max() <= 1 + 1e-5 for grid in grids)

    def test_it_looks_where_its_maps_say(self, model, image):
        """A head that wants the last maps' lower right corner crops there."""
        looks = model.sampler
        maps = torch.zeros(1, looks.where.in_channels, 4, 4)
        maps[0, 0, -1, -1] = 1
        with torch.no_grad():
            looks.where.weight[0, 0] = 50.0
        whole = looks.looks(image[:1])[0].sampled.grid
        crop = looks._closer(image[:1], maps, whole, 0.5).grid
        assert torch.allclose(crop[0, -1, -1], torch.ones(2), atol=1e-5) and torch.allclose(crop[0, 0, 0], torch.zeros(2), atol=1e-5)

    @pytest.mark.parametrize(("number", "zoom"), [(0, 1.0), (2, 3.0)])
    def test_it_stops_when_it_says_so(self, model, image, number, zoom):
        stop_after(model, number)
        model.eval()
        output, maps = model(image, return_maps=True)
        assert magnification(maps.grid).mean().item() == pytest.approx(zoom, rel=1e-3)
        assert torch.equal(output, model.answer(model.sampler.looks(image)[number].state))


class TestTraining:
    def test_ends_are_a_distribution_and_the_one_of_loops(self):
        stops = [torch.tensor([0.2, 0.9]), torch.tensor([0.5, 0.1]), torch.ones(2)]
        found = ends(stops)
        assert torch.allclose(found.sum(1), torch.ones(2)) and torch.allclose(found[0], torch.tensor([0.2, 0.4, 0.4]))

    def test_the_output_is_the_expected_answer(self, model, image):
        model.train()
        looks = model.sampler.looks(image)
        last = (1 - EVEN) * ends([look.stop for look in looks]) + EVEN / len(looks)
        wanted = sum(last[:, t, None] * model.answer(look.state).softmax(1) for t, look in enumerate(looks))
        assert (model(image).exp() - wanted).abs().max() < 1e-5
        assert torch.allclose(model(image).exp().sum(1), torch.ones(3), atol=1e-5), "cross entropy takes it as logits"

    def test_the_price_of_a_look_is_in_the_gradient_alone(self):
        output, amount = torch.rand(4, 3, requires_grad=True), torch.rand(4, requires_grad=True)
        charged = Charged.apply(output, amount, 0.3)
        assert torch.equal(charged, output)
        charged.sum().backward()
        assert torch.allclose(amount.grad, torch.full((4,), 0.3 / 4)) and torch.equal(output.grad, torch.ones(4, 3))

    def test_a_dear_look_is_given_up_where_it_tells_nothing(self, image):
        torch.manual_seed(0)
        model = LookAgain(small_gap_network(4), 32, outputs=4, price=50.0).train()
        optimiser = torch.optim.Adam(model.sampler.stop.parameters(), lr=0.1)
        for _ in range(5):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(model(image), torch.tensor([0, 1, 2])).backward()
            optimiser.step()
        assert all((look.stop > 0.5).all() for look in model.sampler.looks(image)[:1])

    def test_where_and_when_learn(self, model, image):
        torch.nn.functional.cross_entropy(model.train()(image), torch.tensor([0, 1, 2])).backward()
        assert model.sampler.where.weight.grad.abs().max() > 0 and model.sampler.stop.weight.grad.abs().max() > 0


def test_a_network_without_last_maps_is_refused():
    with pytest.raises(ValueError, match="fc"):
        LookAgain(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3, 2)), 32, outputs=2)
