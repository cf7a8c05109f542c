import copy

import numpy
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional
from torch.nn.utils.prune import L1Unstructured

from trp_search.errors import InputError
from trp_search.lowrank import decompose as decomposing
from trp_search.lowrank.analysis import analyse
from trp_search.lowrank.convex import TOLERANCE
from trp_search.lowrank.decompose import decompose
from trp_search.lowrank.decompositions import DECOMPOSITIONS
from trp_search.lowrank.rebuild import rebuild
from trp_search.records import Cut, Error

SCHEMES = ["ddlr-style", "net-trim"]


def wanted(scheme, error=0.1, **options):
    return Cut(scheme=scheme, keep=Error(error), calibration_images=1, **options)


def cut(network, example, wanted, batches):
    analysis = analyse(network, example, DECOMPOSITIONS[wanted.scheme], wanted, batches)
    return decomposing.cut(analysis, wanted)


def perceptron():
    return nn.Sequential(
        nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 24), nn.ReLU(), nn.Linear(24, 10)
    )


@pytest.fixture(scope="module")
def digits():
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)


@pytest.fixture(scope="module")
def trained(digits):
    """A perceptron that knows most digits."""
    images, labels = digits
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = perceptron()
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(100):
        optimiser.zero_grad()
        functional.cross_entropy(network(images), labels).backward()
        optimiser.step()
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def images(digits):
    return digits[0][:300]


@pytest.fixture(scope="module")
def cuts(trained, images):
    """The perceptron cut in both ways, by 200 and 100 images."""
    return {
        scheme: cut(trained, images[:2], wanted(scheme), [images[:200], images[200:]])
        for scheme in SCHEMES
    }


def lost(network, other, images, *, steps):
    """The share of the norm of what the first `steps` modules answer that `other` loses."""
    before, after = network[:steps](images), other[:steps](images)
    return float(torch.linalg.vector_norm(after - before) / torch.linalg.vector_norm(before))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_layer_keeps_its_outputs_through_the_relu(scheme, cuts, trained, images):
    result = cuts[scheme].network
    for place, reads in ((0, images), (2, trained[:2](images)), (4, trained[:4](images))):
        steps = slice(place, place + 2)
        assert lost(trained[steps], result[steps], reads, steps=2) <= 0.1 * (1 + 2 * TOLERANCE)


def test_ddlr_style_loses_less_than_plain_svd_at_the_same_ranks(cuts, trained, images):
    ranks = {layer.name: layer.rank for layer in cuts["ddlr-style"].layers if layer.rank}
    plain = decompose(trained, images[:2], keep=ranks)
    assert "0" in ranks
    # Of the first layer's outputs: what the whole network answers also has the shrinking in it.
    ours = lost(trained, cuts["ddlr-style"].network, images, steps=2)
    assert ours < 0.9 * lost(trained, plain.network, images, steps=2)


def test_net_trim_loses_less_than_pruning_by_magnitude_at_the_same_zeros(cuts, trained, images):
    pruned = copy.deepcopy(trained)
    for layer in cuts["net-trim"].layers:
        weight, ours = pruned[int(layer.name)].weight, cuts["net-trim"].network[int(layer.name)]
        zeros = int((ours.weight == 0).sum())
        weight.copy_(L1Unstructured(amount=zeros).prune(weight))
    for steps in (2, 5):
        ours = lost(trained, cuts["net-trim"].network, images, steps=steps)
        assert ours < 0.7 * lost(trained, pruned, images, steps=steps)


def test_a_factored_layer_is_recorded_as_a_channel_pair(cuts):
    result = cuts["ddlr-style"]
    first = result.layers[0]
    down, up = result.network[0]
    assert (first.scheme, first.rank, first.full_rank) == ("channel", down.out_features, 40)
    assert first.macs == first.rank * (64 + 40) < first.dense_macs == 64 * 40
    assert first.parameters == down.weight.numel() + up.weight.numel() + 40
    assert first.dense_parameters == 64 * 40 + 40
    assert len(first.spectrum) == 32
    assert first.spectrum[0] == 1


def test_a_sparse_layer_is_recorded_by_what_is_not_zero(cuts):
    result = cuts["net-trim"]
    for layer in result.layers:
        module = result.network[int(layer.name)]
        nonzeros = int(module.weight.count_nonzero())
        assert (layer.scheme, layer.rank, layer.full_rank, layer.reason) == ("sparse", *[None] * 3)
        assert layer.macs == nonzeros < layer.dense_macs == module.weight.numel()
        assert layer.parameters == nonzeros + module.out_features
        assert layer.dense_parameters == module.weight.numel() + module.out_features


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_weights_load_into_a_network_rebuilt_from_the_records(scheme, cuts, images):
    network = perceptron().eval()
    rebuild(network, cuts[scheme].layers)
    network.load_state_dict(cuts[scheme].network.state_dict())
    assert torch.equal(network(images), cuts[scheme].network(images))


def test_ranks_are_rounded_up_to_a_multiple(trained, images):
    ranks = {
        multiple: cut(trained, images[:2], wanted("ddlr-style", multiple=multiple), [images])
        .layers[0]
        .rank
        for multiple in (1, 4)
    }
    assert ranks[4] == -(-ranks[1] // 4) * 4


def test_factors_that_would_not_save_leave_the_layer_dense(trained, images):
    layers = cut(trained, images[:2], wanted("ddlr-style", error=1e-3), [images]).layers
    assert layers[0].rank is None
    assert "would not save multiply-adds (at most 24 would)" in layers[0].reason


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_layer_that_answers_zero_is_cut_to_almost_nothing(scheme, images):
    network = perceptron()
    nn.init.zeros_(network[0].weight)
    result = cut(network, images[:2], wanted(scheme), [images])
    assert result.layers[0].rank == (1 if scheme == "ddlr-style" else None)
    assert torch.equal(result.network[0](images), network[0](images))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_given_network_and_the_random_numbers_are_left_as_they_were(scheme, images):
    network = perceptron().train()
    before, state = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    result = cut(network, images[:2], wanted(scheme, error=0.3), [images])
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())
    assert all(module.training for module in [*network.modules(), *result.network.modules()])
    assert all(parameter.requires_grad for parameter in result.network.parameters())


class Mixed(nn.Module):
    """A convolution, a layer for tokens, and one that is not called."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 6, 3)
        self.tokens = nn.Linear(36, 12, bias=False)
        self.idle = nn.Linear(12, 12)

    def forward(self, images):
        return self.tokens(self.convolution(images.reshape(-1, 1, 8, 8)).flatten(2))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_layer_is_accounted_for_and_tokens_count_one_by_one(scheme, images):
    result = cut(Mixed(), images[:2], wanted(scheme, error=0.4), [images[:40]])
    convolution, tokens, idle = result.layers
    assert convolution.reason == "not a linear layer"
    assert idle.reason == "not called in a forward pass"
    per_position = tokens.parameters
    assert (tokens.macs, tokens.dense_macs) == (6 * per_position, 6 * 36 * 12)


def test_layers_that_are_not_selected_stay_dense(trained, images):
    result = cut(trained, images[:2], wanted("net-trim", layers="kxk"), [images])
    assert {layer.reason for layer in result.layers} == {"linear layer, not selected"}


class Answers(nn.Module):
    """A linear layer and what is done with its outputs."""

    def __init__(self, then, weight):
        super().__init__()
        self.layer = nn.Linear(64, 20)
        self.layer.load_state_dict(weight)
        self.module = nn.ReLU()
        self.then = then

    def forward(self, images):
        return self.then(self, self.layer(images))


WITH_RELU = {
    "module": lambda self, x: self.module(x),
    "functional": lambda self, x: functional.relu(x),
    "in place": lambda self, x: functional.relu(x, inplace=True),
    "torch": lambda self, x: torch.relu(x),
    "method": lambda self, x: x.relu(),
}
WITHOUT = {
    "two readers": lambda self, x: torch.relu(x) + x,
    "another function": lambda self, x: torch.tanh(x),
    "no function": lambda self, x: x,
    "cannot be traced": lambda self, x: torch.relu(x) if x.sum() else x,
}


def net_trimmed(then, images):
    weight = nn.Linear(64, 20).requires_grad_(False)
    weight.weight.copy_(torch.linspace(-1, 1, 1280).mul(7).sin().reshape(20, 64) / 4)
    weight.bias.zero_()
    network = Answers(then, weight.state_dict())
    return cut(network, images[:2], wanted("net-trim"), [images[:50]]).layers[0]


def test_a_relu_is_seen_however_it_is_written(images):
    layers = {name: net_trimmed(then, images) for name, then in WITH_RELU.items()}
    assert len({layer.parameters for layer in layers.values()}) == 1, layers


def test_where_no_relu_alone_follows_all_outputs_are_kept(images):
    layers = {name: net_trimmed(then, images) for name, then in WITHOUT.items()}
    assert len({layer.parameters for layer in layers.values()}) == 1, layers
    rectified = net_trimmed(WITH_RELU["module"], images)
    assert layers["no function"].parameters != rectified.parameters


def test_a_network_without_linear_layers_is_refused():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    with pytest.raises(InputError, match="the network has no linear layer: nothing to do"):
        cut(network, torch.zeros(1, 1, 8, 8), wanted("net-trim"), [])


def test_no_images_are_refused(trained, images):
    with pytest.raises(InputError, match="calibration: there are no images"):
        cut(trained, images[:2], wanted("net-trim"), [])


@pytest.mark.parametrize("where", ["images", "weight"])
def test_what_is_not_finite_is_refused_by_the_layer_s_name(where, images):
    network, given = perceptron(), images.clone()
    with torch.no_grad():
        (given[3] if where == "images" else network[0].weight)[0] = numpy.nan
    with pytest.raises(InputError, match=r"layer '0'.* is not finite"):
        cut(network, images[:2], wanted("ddlr-style"), [given])
