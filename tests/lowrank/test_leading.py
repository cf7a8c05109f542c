"""Channels in order: another order computes the same, and the leading ones are a network."""

from __future__ import annotations

import copy

import pytest
import torch

from tests.lowrank.test_pruning import IMAGES, Residual, cut_of, pruned, trained
from trp_search.lowrank.filters import by_place
from trp_search.lowrank.leading import leading, narrow, reorder_
from trp_search.lowrank.prunable import narrowed, prunable
from trp_search.records import Ratio, Speedup


@pytest.fixture
def network():
    torch.manual_seed(0)
    return trained(Residual())


@pytest.fixture
def groups(network):
    return prunable(network, IMAGES[:1], "all").groups


def tensors(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def test_units_in_any_order_compute_the_same(network, groups):
    before = copy.deepcopy(network)
    orders = [torch.randperm(group.units) for group in groups]
    reorder_(network, groups, orders)
    torch.testing.assert_close(network(IMAGES), before(IMAGES), rtol=1e-4, atol=1e-4)
    assert torch.equal(network.stem.weight, before.stem.weight[orders[0]])
    backwards = [order.argsort() for order in orders]
    reorder_(network, groups, backwards)
    after = network.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in tensors(before).items())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_a_network_at_a_width_is_the_narrower_network(network, groups, share, training):
    counts = [max(1, int(share * group.units)) for group in groups]
    kept = [torch.arange(count) for count in counts]
    small, _ = narrowed(network, groups, kept)
    network.train(training)
    small.train(training)
    before = tensors(network)
    with narrow(network, leading(network, groups, counts)):
        found = network(IMAGES)
        inner = tuple(network.inner.weight.shape[:2])
        assert inner == (network.inner.out_channels, network.inner.in_channels)
    wanted = small(IMAGES)
    assert torch.equal(found, wanted)
    for answers in (found, wanted):
        answers.square().sum().backward()
    gradients = copy.deepcopy(network)
    for own, parameter in zip(gradients.parameters(), network.parameters(), strict=True):
        own.data = parameter.grad
    for own, parameter in zip(
        narrowed(gradients, groups, kept)[0].parameters(), small.parameters(), strict=True
    ):
        assert torch.equal(own, parameter.grad)
    nonzero = [sum(int((p.grad != 0).sum()) for p in one.parameters()) for one in (network, small)]
    assert nonzero[0] == nonzero[1]  # none at other channels
    after = network.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_a_network_is_whole_again_whatever_happens_at_a_width(network, groups):
    wanted = network(IMAGES)
    parameters = dict(network.named_parameters())
    counts = [1 for _ in groups]
    with pytest.raises(ZeroDivisionError), narrow(network, leading(network, groups, counts)):
        raise ZeroDivisionError
    assert all(parameters[name] is one for name, one in network.named_parameters())
    assert torch.equal(network(IMAGES), wanted)


@pytest.mark.parametrize("allocation", ["uniform", "knapsack"])
@pytest.mark.parametrize("keep", [Speedup(2.0), Ratio(0.5)])
def test_a_cut_by_place_keeps_the_leading_channels(network, groups, keep, allocation):
    cut = pruned(network, cut_of(keep, "leading", allocation=allocation))
    counts = [
        len(cut.network.get_submodule(name).weight.movedim(0 if name != "up" else 1, 0))
        for name in (next(iter(group.written)) for group in groups)
    ]
    with narrow(network, leading(network, groups, counts)):
        assert torch.equal(network(IMAGES), cut.network(IMAGES))


def test_what_is_lost_by_place_is_the_largest_unit_that_left(network, groups):
    for group in groups:
        ranked = by_place(network, group)
        assert ranked.order.tolist() == list(range(group.units - 1, -1, -1))
        assert ranked.loss[0] == 0
        assert (ranked.loss.diff() >= 0).all()
