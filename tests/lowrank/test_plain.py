"""Subclasses of layers that add nothing are cut; those that add something stay dense.

What a subclass computes its weight to be is the weight that is cut.
"""

from __future__ import annotations

import copy

import pytest
import torch
from timm.layers import Conv2dSame, ScaledStdConv2d, StdConv2d, StdConv2dSame
from timm.layers.linear import Linear
from torch import nn
from torch.nn import functional

from trp_search import Energy, Speedup, TrainedRankPruning, decompose
from trp_search.lowrank.plain import is_plain
from trp_search.records import Error, Joint
from trp_search.training.joint import JointTraining

IMAGES = torch.randn(2, 8, 9, 9, generator=torch.Generator().manual_seed(0))


class Inherits(nn.Conv2d):
    pass


class Delegates(nn.Conv2d):
    def forward(self, x):
        return super().forward(x)


class Writes(nn.Conv2d):
    def forward(self, x):
        return functional.conv2d(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )


class Forgets(nn.Conv2d):
    def forward(self, x):
        return functional.conv2d(x, self.weight, None, self.stride, self.padding)


class Activates(nn.Conv2d):
    def forward(self, x):
        return super().forward(x).relu()


class Scales(nn.Conv2d):
    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, weight / 2, bias)


class Trains(nn.Conv2d):
    """More in one mode only."""

    def forward(self, x):
        return super().forward(x + 1 if self.training else x)


class Adapts(nn.Conv2d):
    """More once its other weight is not zero."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.more = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        found = super().forward(x)
        return found if not self.more else found + self.more


class Depends(nn.Conv2d):
    """A weight that the images decide."""

    def forward(self, x):
        return self._conv_forward(x, self.weight * x.mean(), self.bias)


class Fails(nn.Conv2d):
    def forward(self, x):
        if x.shape[-1] < 9:
            raise ValueError("too small")
        return super().forward(x)


@pytest.mark.parametrize("kind", [nn.Conv2d, Inherits, Delegates, Writes])
@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1, "bias": False}])
def test_a_subclass_that_adds_nothing_is_cut(kind, options):
    torch.manual_seed(0)
    network = nn.Sequential(kind(8, 16, 3, **options), nn.ReLU()).eval()
    (layer,) = decompose(network, IMAGES, Energy(0.5)).layers
    assert layer.reason is None
    result = decompose(network, IMAGES, {"0": 16}).network
    torch.testing.assert_close(result(IMAGES), network(IMAGES))
    assert network.training is False


@pytest.mark.parametrize(
    "kind",
    [Forgets, Activates, Trains, Adapts, Depends, Fails, Conv2dSame, StdConv2dSame],
)
def test_a_subclass_that_adds_something_stays_dense_with_the_reason(kind):
    torch.manual_seed(0)
    network = nn.Sequential(kind(8, 16, 3, stride=2), nn.Conv2d(16, 16, 3))
    for training in (True, False):
        network.train(training)
        layers = decompose(network, IMAGES, Energy(0.3)).layers
        assert layers[0].reason == f"{kind.__name__}: its forward does more than its one operation"
        assert layers[1].reason is None
        assert network[0].training is training


def test_a_forward_of_one_layer_alone_counts():
    layer = nn.Linear(4, 4)
    assert is_plain(layer)
    layer.forward = lambda x: functional.linear(x, layer.weight) * 2
    assert not is_plain(layer)


def test_timms_linear_layer_and_attentions_own_are_plain():
    assert is_plain(Linear(4, 5))
    assert is_plain(nn.MultiheadAttention(4, 2).out_proj)


computing = pytest.mark.parametrize("kind", [Scales, StdConv2d, ScaledStdConv2d])


@computing
def test_a_weight_that_is_computed_is_cut_as_it_is_computed(kind):
    torch.manual_seed(0)
    network = nn.Sequential(kind(8, 16, 3, stride=2, bias=True), nn.Conv2d(16, 16, 3)).eval()
    full = decompose(network, IMAGES, {"0": 16}).network
    torch.testing.assert_close(full(IMAGES), network(IMAGES), rtol=1e-4, atol=1e-5)
    cut = decompose(network, IMAGES, Speedup(2))
    assert cut.speedup >= 2
    numbers = [sum(p.numel() for p in one.parameters()) for one in (network, cut.network)]
    fewer = sum(layer.dense_parameters - layer.parameters for layer in cut.layers)
    assert numbers[0] - numbers[1] == fewer


@computing
def test_training_leaves_a_weight_that_another_is_computed_from(kind):
    network = nn.Sequential(kind(8, 16, 3), nn.Conv2d(16, 16, 3))
    before = copy.deepcopy(network.state_dict())
    TrainedRankPruning(network, IMAGES, Energy(0.3), period=1, layers="all").before_forward()
    JointTraining(network, IMAGES, Joint(layers="all"))
    changed = {k for k, value in network.state_dict().items() if not value.equal(before[k])}
    assert changed == {"1.weight"}


@pytest.mark.parametrize("scheme", ["ddlr-style", "net-trim"])
def test_no_solved_weight_takes_the_place_of_a_computed_one(scheme):
    class Halves(nn.Linear):
        def forward(self, x):
            return functional.linear(x, self.weight / 2, self.bias)

    network = nn.Sequential(Halves(8, 8), nn.Linear(8, 8))
    images = IMAGES[:, :, 0, 0]
    layers = decompose(network, images, Error(0.5), scheme=scheme, calibration=[images]).layers
    assert layers[0].reason == "its weight is computed from another"
