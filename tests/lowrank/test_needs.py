"""A network that asks for a layer's class answers otherwise once the layer is cut."""

from __future__ import annotations

import dataclasses
import itertools
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.lowrank.small import Pair, reasons
from trp_search.lowrank.decompose import decompose
from trp_search.lowrank.needs import needed
from trp_search.records import Energy

OTHERWISE = "the network answers otherwise with another module in its place"
IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def why(network, images=IMAGES):
    return reasons(decompose(network, images, Energy(0.5), layers="all"))


class Branches(Pair):
    """Rectifies what a convolution answers, in training alone or always."""

    always = True

    def forward(self, x):
        x = self.second(self.first(x))
        asked = isinstance(self.second, nn.Conv2d) and (self.always or self.training)
        return (x.relu() if asked else x).mean((2, 3))


class BranchesInTraining(Branches):
    always = False


class BranchesOnAny(Pair):
    """Asks for two layers at once: neither alone makes a difference."""

    def __init__(self):
        super().__init__()
        self.third = nn.Conv2d(16, 16, 3, padding=1)

    def forward(self, x):
        x = self.third(self.second(self.first(x)))
        asked = any(isinstance(layer, nn.Conv2d) for layer in (self.first, self.second))
        return (x.relu() if asked else x).mean((2, 3))


def test_a_layer_whose_class_is_asked_for_stays():
    assert why(Branches()) == {"first": None, "second": OTHERWISE}
    assert why(BranchesInTraining()) == {"first": None, "second": f"in training {OTHERWISE}"}


def test_layers_that_make_a_difference_together_alone_stay_and_no_others():
    assert why(BranchesOnAny()) == {"first": OTHERWISE, "second": OTHERWISE, "third": None}


@dataclasses.dataclass
class Answer:
    scores: torch.Tensor


@pytest.mark.parametrize("branches", [False, True])
@pytest.mark.parametrize(
    "form",
    [
        Answer,
        lambda x: {"found": [x]},
        lambda x: torch.cat([x, torch.full((len(x), 2), torch.nan)], 1),
        lambda x: torch.cat([x, torch.full((len(x), 2), -torch.inf)], 1),
        lambda x: torch.complex(torch.zeros_like(x), x),
    ],
    ids=["dataclass", "nested", "nan", "inf", "complex"],
)
def test_answers_of_every_form_are_compared_whatever_the_example(form, branches):
    class Formed(Pair):
        def forward(self, x):
            x = self.second(self.first(x))
            asked = branches and isinstance(self.second, nn.Conv2d)
            return form((x.relu() if asked else x).mean((2, 3)))

    zeros = torch.zeros(1, 3, 16, 16)
    assert why(Formed(), zeros) == {"first": None, "second": OTHERWISE if branches else None}


class Skips(Pair):
    """Skips a layer by chance in training, as stochastic depth does."""

    def forward(self, x):
        x = self.first(x)
        if not self.training or min(random.random(), np.random.rand()) > 0.3:  # noqa: NPY002, S311
            x = self.second(x)
        return x.mean((2, 3))


class Chance(Pair):
    def __init__(self):
        super().__init__()
        self.drawn = torch.Generator()

    def forward(self, x):
        return self.second(self.first(x)).mean((2, 3)) * torch.rand((), generator=self.drawn)


class Tosses(Pair):
    """Skips a layer by a generator of its own."""

    def __init__(self):
        super().__init__()
        self.coin = np.random.default_rng(seed=next(SEEDS))

    def forward(self, x):
        x = self.first(x)
        return (x if self.training and self.coin.random() < 0.5 else self.second(x)).mean((2, 3))


SEEDS = itertools.count()


class ReadsMode(Pair):
    """Asks whether a layer trains, as it asks itself."""

    def forward(self, x):
        x = functional.dropout(self.first(x), 0.5, self.first.training)
        return self.second(x).mean((2, 3))


class Toggles(Pair):
    """Answers with the other sign every time."""

    sign = 1

    def forward(self, x):
        self.sign = -self.sign
        return self.sign * self.second(self.first(x)).mean((2, 3))


class Keeps(Pair):
    """Answers with its own buffer, which the next answer overwrites."""

    def __init__(self):
        super().__init__()
        self.register_buffer("last", torch.zeros(2, 16))

    def forward(self, x):
        return self.last.copy_(self.second(self.first(x)).mean((2, 3)))


class Tires(Pair):
    """Does not answer for ever."""

    left = 6

    def forward(self, x):
        self.left -= 1
        if self.left <= 0:
            raise RuntimeError("full")
        return self.second(self.first(x)).mean((2, 3))


@pytest.mark.parametrize("make", [Skips, Chance, Tosses, ReadsMode, Toggles, Keeps])
def test_what_a_network_does_by_chance_or_remembers_keeps_no_layer(make):
    for _ in range(12):
        assert set(why(make()).values()) == {None}


def test_a_network_that_asks_and_remembers_what_it_answered_is_left_as_it_was():
    class Both(Keeps, Branches):
        def forward(self, x):
            return self.last.copy_(Branches.forward(self, x))

    assert why(Both())["second"] == OTHERWISE


def test_where_noise_is_no_input_the_example_is():
    class Logs(Branches):
        def forward(self, x):
            return super().forward(x.log())

    assert why(Logs(), torch.rand(2, 3, 16, 16) + 0.1) == {"first": None, "second": OTHERWISE}


def test_arguments_that_are_sparse_stay_so():
    class Graph(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(16, 32), nn.Linear(32, 32)

        def forward(self, x, edges):
            assert edges.is_sparse
            x = torch.sparse.mm(edges, self.first(x))
            x = x.relu() if isinstance(self.second, nn.Linear) else x
            return self.second(x)

    nodes = torch.arange(10**5)
    edges = torch.sparse_coo_tensor(
        nodes.repeat(2, 1), torch.ones(len(nodes)), check_invariants=False
    )
    assert why(Graph(), [torch.randn(len(nodes), 16), edges]) == {
        "first": None,
        "second": OTHERWISE,
    }


def test_a_network_that_stops_answering_keeps_no_layer():
    network = Tires().eval()
    found = needed(network, IMAGES, dict(network.named_children()), {"first": 1, "second": 1})
    assert found == {}


@pytest.mark.parametrize("period", range(2, 24))
def test_the_search_ends_whatever_a_network_answers(period):
    class Counts(Pair):
        passes = 0

        def forward(self, x):
            self.passes += 1
            return (self.passes % period) * self.second(self.first(x)).mean((2, 3))

    network = Counts().eval()
    layers = dict(network.named_children())
    assert needed(network, IMAGES, layers, {"first": 1, "second": 1}).keys() <= layers.keys()


def test_reads_in_training_count_as_far_as_it_runs_on_one_image():
    class Normed(Pair):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(16)

        def forward(self, x):
            x = self.first(x)
            weight = self.second.weight if self.training else None
            x = self.second(x) if weight is None else functional.conv2d(x, weight, padding=1)
            return self.norm(x.mean((2, 3)))

    assert why(Normed(), IMAGES[:1])["second"] == "the network reads its weight in training"


def test_of_many_layers_those_that_are_asked_for_are_found_in_few_passes():
    asked, passes = {"7", "40"}, []

    class Deep(nn.ModuleList):
        def forward(self, x):
            passes.append(1)
            for name, layer in self.named_children():
                x = layer(x)
                x = x.tanh() if name in asked and isinstance(layer, nn.Linear) else x
            return x

    torch.manual_seed(0)
    network = Deep(nn.Linear(8, 8) for _ in range(64))
    for layer in network:
        nn.init.orthogonal_(layer.weight)
    layers = dict(network.named_children())
    found = needed(network, torch.randn(2, 8), layers, dict.fromkeys(layers, 1))
    assert found.keys() == asked
    assert len(passes) < 50
