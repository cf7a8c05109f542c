import copy

import pytest
import torch
import torchvision
from torch import nn

from tests.lowrank.small import small
from trp_search.errors import InputError
from trp_search.lowrank.decompose import decompose
from trp_search.lowrank.rebuild import rebuild
from trp_search.lowrank.schemes import SCHEMES
from trp_search.records import Energy, Error, Parameters, Speedup, Value

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("scheme", [*SCHEMES, "tucker"])
def test_the_given_network_and_the_callers_random_numbers_are_left_as_they_were(scheme):
    network = small().train()
    before = copy.deepcopy(network.state_dict())
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    decompose(network, IMAGES, scheme=scheme, keep=Energy(0.5))
    assert torch.equal(torch.rand(3), expected)
    assert network.training
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())
    assert not any(m._forward_hooks for m in network.modules())


@pytest.mark.parametrize("training", [False, True])
def test_what_stands_in_for_a_layer_has_its_mode(training):
    given = small().train(training)
    found = decompose(given, IMAGES, Speedup(1.5), layers="all")
    assert any(layer.rank for layer in found.layers)
    assert {module.training for module in found.network.modules()} == {training}
    again = small().train(training)
    rebuild(again, found.layers)
    assert {module.training for module in again.modules()} == {training}


def test_weights_made_in_inference_mode_are_cut_like_others():
    with torch.inference_mode():
        network = small()
    found = decompose(network, IMAGES, Speedup(1.5), layers="all")
    with torch.inference_mode():
        assert found.network(IMAGES).shape == network(IMAGES).shape
    assert any(layer.rank for layer in found.layers)


def test_every_layer_is_accounted_for_and_dense_ones_have_a_reason():
    result = decompose(small(), IMAGES, scheme="channel", keep=Energy(0.5))
    assert [layer.name for layer in result.layers] == ["0", "3", "4", "5", "8"]
    by_name = {layer.name: layer for layer in result.layers}
    assert by_name["3"].reason == "depthwise convolution"
    for layer in result.layers:
        assert (layer.rank is None) == (layer.reason is not None)


def test_a_factored_layer_tells_its_singular_values():
    network = small()
    result = decompose(network, IMAGES, scheme="channel", keep=Energy(0.5))
    by_name = {layer.name: layer for layer in result.layers}
    values = torch.linalg.svdvals(network[5].weight.detach().double().flatten(1))
    assert by_name["5"].spectrum == pytest.approx((values / values[0]).tolist(), rel=0.01)
    assert by_name["3"].spectrum == ()


def test_of_many_singular_values_a_few_are_told():
    network = nn.Sequential(nn.Flatten(), nn.Linear(100, 90)).eval()
    result = decompose(network, torch.rand(2, 1, 10, 10), scheme="channel", keep=Energy(0.5))
    (layer,) = result.layers
    values = torch.linalg.svdvals(network[1].weight.detach().double())
    assert len(layer.spectrum) == 32
    assert layer.spectrum[0] == 1.0
    assert layer.spectrum[-1] == pytest.approx(float(values[-1] / values[0]), rel=0.01)


def test_a_layer_stays_dense_where_factoring_would_not_save():
    result = decompose(small(), IMAGES, scheme="channel", keep=Energy(1.0))
    assert all(layer.rank is None for layer in result.layers)
    by_name = {layer.name: layer for layer in result.layers}
    assert by_name["4"].reason == "rank 32 would not save multiply-adds (at most 26 would)"
    assert torch.equal(result.network(IMAGES), small()(IMAGES))


def test_kxk_takes_wide_convolutions_but_the_first():
    result = decompose(small(), IMAGES, scheme="spatial", keep=Energy(0.3), layers="kxk")
    assert [layer.name for layer in result.layers if layer.rank] == ["4"]
    reasons = {layer.name: layer.reason for layer in result.layers}
    assert reasons["0"] == "first convolution, not selected"
    assert reasons["5"] == "1x1 convolution, not selected"
    assert reasons["8"] == "linear layer, not selected"


def test_a_value_threshold_keeps_the_singular_values_that_reach_it():
    network = small()
    values = torch.linalg.svdvals(network[4].weight.double().detach().flatten(1))
    threshold = float(values[5:7].mean())
    result = decompose(network, IMAGES, keep=Value(threshold))
    assert {layer.name: layer.rank for layer in result.layers}["4"] == 6


def test_shared_hooked_parametrised_and_uncalled_layers_stay_dense():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
            self.second.weight = self.first.weight
            self.hooked = nn.Linear(8, 8)
            self.hooked.register_forward_hook(lambda module, given, output: output)
            self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))
            self.idle = nn.Linear(8, 8)

        def forward(self, x):
            return self.normed(self.hooked(self.second(self.first(x))))

    result = decompose(Odd(), torch.randn(2, 8), keep=Energy(0.1))
    reasons = {layer.name: layer.reason for layer in result.layers}
    assert reasons["first"] == reasons["second"] == "its weight is used under several names"
    assert reasons["hooked"] == "it has forward hooks"
    assert "parametrised" in reasons["normed"]
    assert reasons["idle"] == "not called in a forward pass"


@pytest.mark.parametrize("scheme", [*SCHEMES, "tucker"])
def test_a_rebuilt_network_takes_the_decomposed_weights(scheme):
    result = decompose(small(), IMAGES, scheme=scheme, keep=Energy(0.6))
    network = small()
    rebuild(network, result.layers)
    network.load_state_dict(result.network.state_dict())
    assert torch.equal(network(IMAGES), result.network(IMAGES))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"keep": Error(0.1)},
            "decompose: error goes with scheme ddlr-style or net-trim, and these with error",
        ),
        (
            {"keep": Energy(0.9), "multiple": 0},
            "decompose: multiple: 0 is not above 0",
        ),
        ({"keep": Speedup(500.0)}, "speedup: 500x cannot be reached; the best is 8.03x"),
        (
            {"keep": Energy(0.9), "allocation": "pooled", "scheme": "per-layer"},
            "decompose: allocation: pooled compares singular values of one scheme, and per-layer "
            "has several",
        ),
        ({"keep": Value(0.1), "scheme": "cp"}, "decompose: value: cp has no singular values"),
        (
            {"keep": Error(0.1), "scheme": "net-trim"},
            "decompose: error: needs calibration, a few hundred images in batches",
        ),
        ({"keep": Parameters(9)}, "parameters: 9 cannot be reached; the fewest are 575"),
        (
            {"keep": {"4": 2}, "scheme": "per-layer"},
            "decompose: ranks by layer are for scheme channel or spatial or decoupled or nested or "
            "cp, not per-layer",
        ),
        (
            {"keep": {"9": 1}},
            "ranks: '9' cannot be factored: there is no such convolution or linear layer",
        ),
        ({"keep": {"3": 1}}, "ranks: '3' cannot be factored: depthwise convolution"),
        ({"keep": {"4": 0}}, "Ranks: 4: 0 is not above 0"),
    ],
)
def test_a_wrong_request_is_one_clear_line(options, message):
    with pytest.raises(InputError) as caught:
        decompose(small(), IMAGES, **options)
    assert str(caught.value) == message


def test_rebuilding_a_layer_that_is_not_there_is_one_clear_line():
    layers = decompose(small(), IMAGES, keep=Energy(0.5)).layers
    with pytest.raises(InputError, match="the network has none of that name"):
        rebuild(nn.Sequential(), [layer for layer in layers if layer.rank])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["squeezenet1_1", "googlenet"])
def test_torchvision_classifiers_are_cut_and_still_run(name):
    extra = {"init_weights": False, "aux_logits": True} if name == "googlenet" else {}
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None, num_classes=10, **extra).eval()
    images = torch.randn(2, 3, 64, 64)
    result = decompose(network, images[:1], scheme="channel", keep=Energy(0.5))
    factored = [layer for layer in result.layers if layer.rank]
    assert factored
    assert all(layer.macs < layer.dense_macs for layer in factored)
    assert result.network(images).shape == (2, 10)


def test_layers_called_by_keyword_and_attention_are_handled():
    class Keyword(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.layer = nn.Linear(8, 8)

        def forward(self, x):
            return self.layer(input=self.attention(x, x, x)[0])

    layers = decompose(Keyword(), torch.randn(1, 3, 8), keep=Energy(0.3)).layers
    reasons = {layer.name: layer.reason for layer in layers}
    names = [*(f"attention.{part}" for part in ("q", "k", "v", "out_proj")), "layer"]
    assert reasons == dict.fromkeys(names)


def test_images_in_place_of_batches_of_them_are_one_line():
    network = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3))
    images = torch.zeros(4, 1, 8, 8)
    said = "calibration: batch 1 is not a tensor of 4 axes, as the example is"
    with pytest.raises(InputError, match=said):
        decompose(network, images, Speedup(1.5), calibration=[images, *images])
