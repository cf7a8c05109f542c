import functools

import pytest
import torch
from torch import nn

from tests.lowrank.small import parameters_of
from tests.lowrank.small import small as of_kinds
from trp_search.errors import InputError
from trp_search.lowrank import tucker
from trp_search.lowrank.allocation import BUDGET_RULES
from trp_search.lowrank.analysis import analyse
from trp_search.lowrank.decompose import cut
from trp_search.lowrank.decompositions import DECOMPOSITIONS
from trp_search.records import Cut, Energy, Evbmf, Parameters, Ratio, Speedup
from trp_search.scoring.flops import count

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
ALLOCATIONS = list(BUDGET_RULES)


small = functools.partial(of_kinds, circular=True)


@functools.cache
def stack():
    """Five layers to spread a budget over, with falling spectra as trained ones have."""
    sizes = [(3, 16, 1), (16, 16, 1), (16, 24, 2), (24, 24, 1), (24, 32, 2)]
    torch.manual_seed(0)
    network = nn.Sequential(
        *[nn.Conv2d(c, n, 3, stride=s, padding=1, bias=False) for c, n, s in sizes],
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )
    with torch.no_grad():
        for layer in network[:5]:
            for axis, size in enumerate(layer.weight.shape[:2]):
                mix = torch.randn(size, size) * 0.9 ** torch.arange(size)
                layer.weight.copy_(
                    torch.tensordot(mix, layer.weight, ([1], [axis])).movedim(0, axis)
                )
    return network.eval()


def by_tucker(network, example=IMAGES, *, other_macs=0, **amount):
    wanted = Cut(scheme="tucker", **({"layers": "all"} | amount))
    analysis = analyse(network, example, DECOMPOSITIONS["tucker"], wanted)
    return cut(analysis, wanted, other_macs=other_macs)


def only(network, example=IMAGES, **amount):
    """The record of the only layer."""
    (layer,) = by_tucker(network, example, **amount).layers
    return layer


def one(*sizes, **options):
    """A network of one convolution."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(*sizes, **options)).eval()


def test_every_layer_is_accounted_for_and_dense_ones_have_a_reason():
    layers = {layer.name: layer for layer in by_tucker(small(), keep=Energy(0.3)).layers}
    assert {name: layer.reason for name, layer in layers.items()} == {
        "0": None,
        "3": "depthwise convolution",
        "4": None,
        "5": "1x1: nothing between its two channel axes",
        "6": None,
        "9": "1x1: nothing between its two channel axes",
    }
    assert (layers["4"].scheme, layers["4"].full_rank) == ("tucker", 32)
    assert (layers["3"].scheme, layers["3"].rank, layers["3"].rank_in) == (None, None, None)
    assert layers["6"].spectrum[0] == 1.0
    assert len(layers["6"].spectrum) == 32


def test_kxk_takes_wide_convolutions_but_the_first():
    layers = by_tucker(small(), keep=Energy(0.3), layers="kxk").layers
    reasons = {layer.name: layer.reason for layer in layers}
    assert reasons["0"] == "first convolution, not selected"
    assert reasons["5"] == reasons["9"] == "1x1: nothing between its two channel axes"
    assert [layer.name for layer in layers if layer.rank] == ["4", "6"]


@pytest.mark.parametrize("keep", [Energy(0.4), Ratio(0.3), Speedup(1.7)])
def test_costs_are_those_of_the_cut_network(keep):
    result = by_tucker(small(), IMAGES, keep=keep)
    counted = count(result.network, IMAGES[:1])
    assert counted.note is None
    assert sum(layer.macs for layer in result.layers) == counted.macs
    assert sum(layer.dense_macs for layer in result.layers) == count(small(), IMAGES[:1]).macs
    for layer in result.layers:
        assert parameters_of(result.network.get_submodule(layer.name)) == layer.parameters
        assert parameters_of(small().get_submodule(layer.name)) == layer.dense_parameters


def test_a_layer_called_twice_costs_twice():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(8, 8, 3, padding=1)

        def forward(self, x):
            return self.layer(self.layer(x)[..., ::2, ::2])

    network, images = Twice().eval(), torch.randn(1, 8, 12, 12)
    result = by_tucker(network, images, keep=Ratio(0.5))
    assert result.layers[0].rank == result.layers[0].rank_in == 4
    assert result.layers[0].macs == count(result.network, images).macs


@pytest.mark.parametrize("padding_mode", ["zeros", "reflect", "replicate", "circular"])
def test_a_kernel_of_low_ranks_is_cut_without_a_change_of_output(padding_mode):
    network = one(12, 16, 3, stride=2, padding=1, dilation=1, padding_mode=padding_mode).double()
    weight = network[0].weight
    with torch.no_grad():
        core = torch.randn(4, 3, 3, 3, dtype=torch.float64)
        sides = torch.randn(16, 4).double(), torch.randn(12, 3).double()
        weight.copy_(torch.einsum("ns,cr,srhw->nchw", *sides, core))
    images = torch.randn(2, 12, 9, 10).double()
    result = by_tucker(network, images, keep=Energy(1 - 1e-12))
    assert (result.layers[0].rank_in, result.layers[0].rank) == (3, 4)
    assert result.layers[0].kept["tucker"] == pytest.approx(1)
    torch.testing.assert_close(result.network(images), network(images), atol=1e-9, rtol=0)


def test_a_layer_stays_dense_where_its_full_ranks_would_not_save():
    result = by_tucker(small(), keep=Energy(1.0))
    assert all(layer.rank is None for layer in result.layers)
    reason = "rank 32 with rank_in 16 would not save multiply-adds (at most 20 would)"
    assert {layer.name: layer.reason for layer in result.layers}["4"] == reason
    assert torch.equal(result.network(IMAGES), small()(IMAGES))


def test_a_speedup_allows_for_multiply_adds_outside_the_layers():
    other = count(stack(), IMAGES[:1]).macs // 10
    layers = by_tucker(stack(), keep=Speedup(2.0), other_macs=other).layers
    dense, now = (sum(getattr(la, key) for la in layers) for key in ("dense_macs", "macs"))
    assert 2 <= (dense + other) / (now + other) <= 2.04


def test_the_knapsack_keeps_more_than_one_ratio_does():
    kept = {
        allocation: sum(
            layer.kept.get("tucker", 1.0)
            for layer in by_tucker(stack(), keep=Speedup(3.0), allocation=allocation).layers
        )
        for allocation in ("knapsack", "uniform")
    }
    assert kept["knapsack"] > kept["uniform"]


def levels_of(weight, allocation):
    """(C, N) what a spread looks at for each pair of ranks from 1, written out."""
    n, c, _, _ = weight.shape
    if allocation in ("knapsack", "greedy", "energy"):
        return tucker.modes(weight).lost[1:, 1:]
    into, out = weight.double().movedim(1, 0).reshape(c, -1), weight.double().reshape(n, -1)
    levels = []
    for matrix in (into, out):
        values = torch.linalg.svdvals(matrix)
        following = torch.cat([values[1:], torch.zeros(1).double()])
        left = 1 - torch.arange(1, len(values) + 1).double() / len(values)
        levels.append(
            {"uniform": left, "pooled": following, "alds-style": following / values[0]}[allocation]
        )
    return torch.maximum(levels[0][:, None], levels[1])


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@pytest.mark.parametrize("speedup", [2.0, 5.0])
def test_of_all_pairs_that_fit_one_layer_takes_the_best(allocation, speedup):
    network = one(12, 16, 3, padding=1)
    images = torch.zeros(1, 12, 6, 6)
    layer = only(network, images, keep=Speedup(speedup), allocation=allocation)
    rank_in, rank_out = torch.arange(1, 13)[:, None], torch.arange(1, 17)
    cost = 36 * (12 * rank_in + 9 * rank_in * rank_out + 16 * rank_out)
    levels = levels_of(network[0].weight.detach(), allocation)
    best = levels[cost <= layer.dense_macs / speedup].min()
    assert float(levels[layer.rank_in - 1, layer.rank - 1]) == pytest.approx(float(best), rel=1e-6)


def test_uniform_takes_one_share_of_both_axes_in_every_layer():
    layers = by_tucker(stack(), keep=Speedup(4.0), allocation="uniform", layers="kxk").layers
    for layer in layers:
        if layer.rank:
            width = stack().get_submodule(layer.name).in_channels
            assert layer.rank / layer.full_rank == pytest.approx(layer.rank_in / width, abs=0.1)


@pytest.mark.parametrize(
    ("amount", "message"),
    [
        ({"keep": Speedup(500.0)}, "speedup: 500x cannot be reached; the best is {best:.2f}x"),
        ({"keep": Parameters(9)}, "parameters: 9 cannot be reached; the fewest are {fewest:,}"),
        (
            {"keep": Speedup(500.0), "layers": "kxk"},
            "speedup: 500x cannot be reached; the best is {kxk:.2f}x while layers is kxk; "
            "all has more",
        ),
    ],
)
def test_a_budget_out_of_reach_is_refused_with_the_best_that_is_not(amount, message):
    network = nn.Sequential(nn.Conv2d(4, 8, 3, bias=False), nn.Conv2d(8, 8, 3, bias=False)).eval()
    images = torch.zeros(1, 4, 9, 9)
    first, second = (4 * 81 + 49 * (9 + 8), 4 * 8 * 9 * 49), (8 * 49 + 25 * (9 + 8), 8 * 8 * 9 * 25)
    dense = first[1] + second[1]
    numbers = {
        "best": int(100 * dense / (first[0] + second[0])) / 100,
        "kxk": int(100 * dense / (first[1] + second[0])) / 100,
        "fewest": (4 + 9 + 8) + (8 + 9 + 8),
    }
    with pytest.raises(InputError) as caught:
        by_tucker(network, images, **amount)
    assert str(caught.value) == message.format(**numbers)


def test_evbmf_takes_the_rank_of_each_unfolding():
    network = one(16, 24, 3, padding=1)
    with torch.no_grad():
        core = torch.randn(3, 2, 3, 3)
        sides = torch.randn(24, 3), torch.randn(16, 2)
        network[0].weight.copy_(torch.einsum("ns,cr,srhw->nchw", *sides, core))
        network[0].weight.add_(0.1 * torch.randn(24, 16, 3, 3))
    layer = only(network, torch.zeros(1, 16, 8, 8), keep=Evbmf())
    expected = tucker.modes(network[0].weight).ranks(Evbmf())
    assert (layer.rank_in, layer.rank) == expected == (2, 3)


def test_calibration_images_change_nothing():
    with_images = by_tucker(small(), keep=Speedup(1.5), calibration_images=64)
    without = by_tucker(small(), keep=Speedup(1.5))
    assert with_images.layers == without.layers


@pytest.mark.parametrize("keep", [Energy(0.9), Evbmf(), Speedup(2.0)])
def test_a_kernel_of_zeros_is_cut_to_ranks_of_one(keep):
    network = one(8, 8, 3, padding=1)
    with torch.no_grad():
        network[0].weight.zero_()
    images = torch.randn(1, 8, 6, 6)
    result = by_tucker(network, images, keep=keep)
    (layer,) = result.layers
    assert (layer.rank_in, layer.rank, layer.kept) == (1, 1, {"tucker": 1.0})
    torch.testing.assert_close(result.network(images), network(images))


def test_channels_that_are_all_alike_take_ranks_of_one():
    network = one(8, 8, 3, padding=1)
    with torch.no_grad():
        network[0].weight.copy_(torch.randn(3, 3).expand(8, 8, 3, 3))
    images = torch.randn(1, 8, 6, 6)
    result = by_tucker(network, images, keep=Speedup(2.0))
    assert result.layers[0].kept["tucker"] == pytest.approx(1)
    torch.testing.assert_close(result.network(images), network(images), atol=1e-5, rtol=0)


@pytest.mark.parametrize("multiple", [1, 8])
def test_a_layer_too_small_to_factor_stays_dense(multiple):
    layer = only(one(1, 1, 3), torch.zeros(1, 1, 8, 8), keep=Energy(0.1), multiple=multiple)
    assert layer.reason == f"even rank {multiple} would not save multiply-adds"
    layer = only(one(1, 1, 3), torch.zeros(1, 1, 8, 8), keep=Parameters(20), multiple=multiple)
    assert layer.reason == f"even rank {multiple} would not save parameters"


def test_a_weight_that_is_not_finite_is_one_clear_line():
    network = one(8, 8, 3)
    with torch.no_grad():
        network[0].weight[0, 0, 0, 0] = torch.nan
    with pytest.raises(InputError, match="layer '0': its weight is not finite"):
        by_tucker(network, torch.zeros(1, 8, 6, 6), keep=Energy(0.5))


def test_the_new_layers_are_of_the_old_ones_kind():
    network = small().to(torch.float64).train()
    network[4].requires_grad_(requires_grad=False)
    result = by_tucker(network, IMAGES.double(), keep=Ratio(0.3))
    parts = result.network[4]
    assert all(part.weight.dtype == torch.float64 and part.training for part in parts)
    assert not any(parameter.requires_grad for parameter in parts.parameters())
