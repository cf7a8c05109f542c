"""Steps of a slimmable training: which networks they train, and on what."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from trp_search.errors import InputError
from trp_search.records import Slimmable
from trp_search.scoring.flops import count
from trp_search.training.slimmable import SlimmableTraining

IMAGES = torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(8) % 5


def small():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 12, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(12 * 36, 5),
    )


def slimmable(network, **settings):
    return SlimmableTraining(network, IMAGES[:1], Slimmable(**settings), seed=1)


def widths_of_a_step(network, training):
    """Output channels of both convolutions in each further network of a step."""
    seen = []

    def distance():
        seen.append(tuple(network[place].weight.shape[0] for place in (0, 3)))
        return torch.zeros(())

    training.whole_loss(torch.zeros(()), distance)
    return seen


@pytest.mark.parametrize("allocation", ["uniform", "knapsack"])
def test_a_step_trains_the_narrowest_and_others_between(allocation):
    network = small()
    macs = count(network, IMAGES[:1]).macs
    training = slimmable(network, highest=4.0, draws=3, allocation=allocation)
    steps = [widths_of_a_step(network, training) for _ in range(20)]
    ends = {step[-1] for step in steps}
    assert len(ends) == 1
    narrowest = next(iter(ends))
    cut = 36 * (27 * narrowest[0] + 9 * narrowest[0] * narrowest[1]) + 36 * 5 * narrowest[1]
    assert 4 <= macs / cut < 4.6
    between = [width for step in steps for width in step[:-1]]
    assert all(len(step) == 4 for step in steps)
    assert len(set(between)) > 5
    for width in between:
        assert all(low <= own for low, own in zip(narrowest, width, strict=True))
    assert [tuple(network[place].weight.shape[0] for place in (0, 3))] == [(16, 12)]


def test_steps_go_on_after_a_resume():
    network = small()
    training = slimmable(network)
    steps = [widths_of_a_step(network, training) for _ in range(6)]
    again = slimmable(network)
    again.load_state_dict({"iteration": 3})
    assert [widths_of_a_step(network, again) for _ in range(3)] == steps[3:]


def test_the_gradient_is_the_sum_over_the_networks_and_statistics_are_the_whole_one_s():
    network = small()
    training = slimmable(network, draws=1)
    network.train()
    alone = copy.deepcopy(network)
    answers = network(IMAGES)
    loss = functional.cross_entropy(answers, LABELS)
    parts = []

    def distance():
        parts.append((network(IMAGES) - answers.detach()).square().mean())
        return parts[-1]

    whole = training.whole_loss(loss, distance)
    torch.testing.assert_close(whole, loss + sum(parts))
    parameters = list(network.parameters())
    each = [torch.autograd.grad(one, parameters, retain_graph=True) for one in (loss, *parts)]
    found = torch.autograd.grad(whole, parameters)
    for own, *others in zip(found, *each, strict=True):
        torch.testing.assert_close(own, sum(others))
    alone(IMAGES)
    for own, wanted in zip(network.buffers(), alone.buffers(), strict=True):
        assert torch.equal(own, wanted)


def test_channels_stand_in_the_order_of_their_importance():
    network = small()
    lengths = torch.rand(16, generator=torch.Generator().manual_seed(3)) + 0.5
    with torch.no_grad():
        network[1].weight.copy_(lengths)
    before = copy.deepcopy(network).eval()
    slimmable(network, importance="bn-scale")
    assert torch.equal(network[1].weight, lengths.sort(descending=True).values)
    torch.testing.assert_close(network.eval()(IMAGES), before(IMAGES))


def test_a_group_without_batch_norm_is_ordered_by_magnitude_and_narrowed_too():
    network = small()
    training = slimmable(network, importance="bn-scale")
    lengths = (
        network[3].weight.flatten(1).norm(dim=1) / network[3].weight.flatten(1).norm(dim=1).mean()
    )
    read = network[6].weight.reshape(5, 12, 36).movedim(1, 0).flatten(1).norm(dim=1)
    scores = (lengths + read / read.mean()) / 2
    assert torch.equal(scores.sort(descending=True).indices, torch.arange(12))
    assert min(second for _, second in widths_of_a_step(network, training)) < 12


def test_a_network_whose_channels_have_no_such_importance_is_refused():
    with pytest.raises(InputError, match="importance: bn-scale: no batch norm scales it"):
        slimmable(
            nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3)), importance="bn-scale"
        )


class Graded(nn.Module):
    """Scales its channels by their place among them: every other one would be scaled alike."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)

    def forward(self, images):
        found = self.first(images)
        channels = found.shape[1]
        return self.last(found * (torch.arange(channels) / channels).reshape(-1, 1, 1))


def test_a_network_that_depends_on_the_order_is_refused():
    torch.manual_seed(0)
    with pytest.raises(InputError, match="with its channels reordered"):
        slimmable(Graded())
