"""A layer that cannot be cut stays, with the reason, and never refuses the network around it."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm
from torch.utils.flop_counter import FlopCounterMode

from trp_search.lowrank.decompose import decompose
from trp_search.records import Energy, Speedup
from trp_search.training.regulariser import TrainedRankPruning

IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def convolution():
    return nn.Conv2d(8, 8, 3, padding=1)


def old(norm):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch has another one now
        return norm(convolution())


class Standardised(nn.Conv2d):
    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return functional.conv2d(x, weight, self.bias, padding=1)


class Answers(nn.Conv2d):
    """Two answers, of which the caller takes one."""

    def forward(self, x):
        return super().forward(x), x


class Named(nn.Conv2d):
    def forward(self, *, images):
        return super().forward(images)


class OfParts(nn.Conv2d):
    """No weight, but two that make one."""

    def __init__(self):
        super().__init__(8, 8, 1)
        del self.weight
        self.one, self.other = nn.Parameter(torch.rand(2, 8, 1, 1)), nn.Parameter(torch.rand(8, 2))

    def forward(self, x):
        return functional.conv2d(functional.conv2d(x, self.one), self.other[..., None, None])


class Calls(nn.Module):
    def __init__(self, layer, call):
        super().__init__()
        self.layer, self.call = layer, call

    def forward(self, x):
        return self.call(self.layer, x)


def tied():
    both = nn.Sequential(convolution(), convolution())
    both[1].weight = both[0].weight
    return both


UNUSUAL = {
    "old weight norm": (lambda: old(weight_norm), "it has forward hooks"),
    "old spectral norm": (lambda: old(spectral_norm), "it has forward hooks"),
    "pruned": (lambda: prune.l1_unstructured(convolution(), "weight", 0.5), "it has forward hooks"),
    "weight norm": (lambda: parametrizations.weight_norm(convolution()), "its weight is"),
    "spectral": (lambda: parametrizations.spectral_norm(convolution()), "its weight is"),
    "standardised": (lambda: Standardised(8, 8, 3), "Standardised: its forward does more"),
    "answers": (lambda: Calls(Answers(8, 8, 3), lambda layer, x: layer(x)[0]), "Answers: "),
    "named": (lambda: Calls(Named(8, 8, 3), lambda layer, x: layer(images=x)), "Named: "),
    "of parts": (OfParts, None),
    "tied": (tied, "its weight is used under several names"),
    "read": (
        lambda: Calls(convolution(), lambda layer, x: functional.conv2d(x, layer.weight)),
        "the network reads its weight directly",
    ),
}


def around(layer):
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), layer, nn.Conv2d(8, 32, 3, padding=1))


def multiply_adds(network):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(IMAGES)
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("name", UNUSUAL)
def test_it_stays_and_the_rest_is_cut_to_the_speedup(name):
    make, reason = UNUSUAL[name]
    network = around(make()).eval()
    cut = decompose(network, IMAGES, Speedup(1.2))
    reasons = {layer.name: layer.reason for layer in cut.layers}
    assert reasons.pop("2") is None
    del reasons["0"]
    assert all(found.startswith(reason) for found in reasons.values())
    assert bool(reasons) == (reason is not None)
    assert multiply_adds(network) >= 1.2 * multiply_adds(cut.network)
    assert cut.dense_macs == pytest.approx(multiply_adds(network) / 2, rel=0.01)
    assert cut.macs == pytest.approx(multiply_adds(cut.network) / 2, rel=0.01)
    cut.network.train()(IMAGES).sum().backward()
    assert cut.network[2][0].weight.grad.any()


@pytest.mark.parametrize("name", UNUSUAL)
def test_training_leaves_it_and_truncates_the_rest(name):
    torch.manual_seed(0)
    network = around(UNUSUAL[name][0]())
    before = {key: value.clone() for key, value in network.state_dict().items()}
    for keep in (Energy(0.5), Speedup(1.2)):
        TrainedRankPruning(network, IMAGES, keep, period=1, layers="all").before_forward()
    changed = {key for key, value in network.state_dict().items() if not value.equal(before[key])}
    assert "2.weight" in changed
    assert changed <= {"0.weight", "2.weight"}
