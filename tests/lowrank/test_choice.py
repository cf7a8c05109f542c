import functools
import itertools
import re
from collections import Counter
from functools import partial

import pytest
import torch
from torch import nn

from tests.lowrank.small import parameters_of
from trp_search.errors import InputError
from trp_search.lowrank import decompose as decomposing
from trp_search.lowrank.allocation import BUDGET_RULES
from trp_search.lowrank.schemes import SCHEMES
from trp_search.records import Energy, Evbmf, NetworkSpec, Parameters, Ranks, Ratio, Speedup, Value
from trp_search.workloads.networks import build

decompose = partial(decomposing.decompose, layers="all")

EXAMPLE = torch.zeros(1, 3, 32, 32)
IMAGES = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
ALLOCATIONS = list(BUDGET_RULES)
CHOICES = [*SCHEMES, "per-layer", "tucker"]
PAIRS = {*itertools.product(ALLOCATIONS, CHOICES)} - {("pooled", "per-layer")}
# A decoupled kernel has 9 ranks at most, so what a budget leaves can be a few per cent.
SLACK = dict.fromkeys(CHOICES, 1.02) | {"decoupled": 1.025}


@functools.cache
def resnet():
    torch.manual_seed(0)
    return build(NetworkSpec(name="resnet20"), channels=3, classes=10).eval()


def small():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 32, 1),
        nn.Conv2d(32, 32, (3, 1)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    ).eval()


def best_of(network, example, **options):
    """The number that a budget out of reach is refused with."""
    with pytest.raises(InputError) as caught:
        decompose(network, example, **options)
    found = re.search(r"the (?:best is|fewest are) ([\d.,]+?)x?(?:;|$)", str(caught.value))
    return float(found[1].replace(",", ""))


def speedup_of(layers):
    return sum(layer.dense_macs for layer in layers) / sum(layer.macs for layer in layers)


def taken(amounts, *but):
    pairs = itertools.product(amounts, [scheme for scheme in CHOICES if scheme not in but])
    return [(a, s) for a, s in pairs if (a.get("allocation", "knapsack"), s) in PAIRS]


def lost_of(layers):
    return sum(1 - layer.kept[layer.scheme] for layer in layers if layer.rank)


@pytest.mark.parametrize(("allocation", "scheme"), sorted(PAIRS))
def test_a_speedup_is_met_from_above_and_hardly_exceeded(scheme, allocation):
    options = {"scheme": scheme, "allocation": allocation}
    best = best_of(resnet(), EXAMPLE, keep=Speedup(1e4), **options)
    for asked in (1.5, 3.0, best):
        result = decompose(resnet(), EXAMPLE, keep=Speedup(asked), **options)
        assert 1 <= speedup_of(result.layers) / asked <= SLACK[scheme]


@pytest.mark.parametrize(("allocation", "scheme"), sorted(PAIRS))
def test_a_parameter_budget_is_met_from_below_and_nearly_spent(scheme, allocation):
    options = {"scheme": scheme, "allocation": allocation}
    dense = parameters_of(resnet())
    fewest = int(best_of(resnet(), EXAMPLE, keep=Parameters(1), **options))
    for asked in (dense // 2, fewest):
        result = decompose(resnet(), EXAMPLE, keep=Parameters(asked), **options)
        assert 1 <= asked / parameters_of(result.network) <= SLACK[scheme]


@pytest.mark.parametrize("scheme", CHOICES)
def test_layers_are_told_what_the_network_has(scheme):
    result = decompose(small(), IMAGES, scheme=scheme, keep=Speedup(1.5))
    norm = parameters_of(small()[3])
    assert sum(layer.parameters for layer in result.layers) + norm == parameters_of(result.network)
    assert sum(layer.dense_parameters for layer in result.layers) + norm == parameters_of(small())


@pytest.mark.parametrize("scheme", CHOICES)
@pytest.mark.parametrize("calibration", [None, [IMAGES]])
def test_the_best_that_a_refusal_names_can_be_reached_and_no_more(scheme, calibration):
    options = {"scheme": scheme, "calibration": calibration}
    best = best_of(small(), IMAGES, keep=Speedup(1e4), **options)
    assert speedup_of(decompose(small(), IMAGES, keep=Speedup(best), **options).layers) >= best
    with pytest.raises(InputError, match=r"^speedup: \S+x cannot be reached; the best is "):
        decompose(small(), IMAGES, keep=Speedup(best + 0.011), **options)
    fewest = int(best_of(small(), IMAGES, keep=Parameters(1), **options))
    result = decompose(small(), IMAGES, keep=Parameters(fewest), **options)
    assert parameters_of(result.network) == fewest
    with pytest.raises(InputError, match=r"^parameters: \S+ cannot be reached; the fewest are "):
        decompose(small(), IMAGES, keep=Parameters(fewest - 1), **options)


KEPT = Energy(0.5), Value(0.9), Ratio(0.3), Evbmf(), Parameters(3000)
AMOUNTS = [{"keep": keep} for keep in KEPT]
AMOUNTS += [{"keep": Speedup(2.0), "allocation": allocation} for allocation in ALLOCATIONS]


def ranks_of(result):
    return [rank for layer in result.layers for rank in layer.ranks]


@pytest.mark.parametrize("multiple", [2, 4])
@pytest.mark.parametrize(("amount", "scheme"), taken(AMOUNTS, "decoupled"), ids=str)
def test_ranks_are_multiples(amount, scheme, multiple):
    ranks = ranks_of(decompose(small(), IMAGES, scheme=scheme, multiple=multiple, **amount))
    assert ranks
    assert all(rank % multiple == 0 for rank in ranks)


@pytest.mark.parametrize("scheme", CHOICES)
def test_layers_without_a_multiple_that_saves_stay_dense(scheme):
    result = decompose(small(), IMAGES, scheme=scheme, keep=Energy(0.5), multiple=64)
    assert ranks_of(result) == []
    assert torch.equal(result.network(IMAGES), small()(IMAGES))


@pytest.mark.parametrize("keep", [Energy(0.5), Ratio(0.3), Value(0.9)], ids=str)
@pytest.mark.parametrize("scheme", ["channel", "spatial"])
def test_a_rank_is_rounded_up_to_the_next_multiple(keep, scheme):
    exact = decompose(small(), IMAGES, keep, scheme=scheme).layers
    rounded = decompose(small(), IMAGES, keep, scheme=scheme, multiple=3).layers
    for layer, other in zip(exact, rounded, strict=True):
        if layer.rank and other.rank:
            assert other.rank == -(-layer.rank // 3) * 3
    assert any(layer.rank and other.rank for layer, other in zip(exact, rounded, strict=True))


@pytest.mark.parametrize("speedup", [1.2, 1.8, 3.0])
@pytest.mark.parametrize("scheme", list(SCHEMES))
@pytest.mark.parametrize("aware", [False, True])
def test_choosing_per_layer_loses_no_more_than_any_one_scheme(scheme, speedup, aware):
    options = {"keep": Speedup(speedup), "calibration": [IMAGES] if aware else None}
    per_layer = decompose(resnet(), EXAMPLE, scheme="per-layer", **options)
    single = decompose(resnet(), EXAMPLE, scheme=scheme, **options)
    # The knapsack is not exact: 0.3 % more was seen.
    assert lost_of(per_layer.layers) <= 1.01 * lost_of(single.layers)


def test_per_layer_mixes_schemes_where_that_pays():
    layers = decompose(resnet(), EXAMPLE, scheme="per-layer", keep=Speedup(1.5)).layers
    assert len(Counter(layer.scheme for layer in layers if layer.scheme)) > 1


def test_per_layer_takes_the_scheme_that_keeps_most_for_what_the_layer_costs():
    for layer in decompose(resnet(), EXAMPLE, scheme="per-layer", keep=Speedup(2.0)).layers:
        if layer.rank is not None:
            assert layer.kept[layer.scheme] == max(layer.kept.values())


@pytest.mark.parametrize("energy", [0.3, 0.6])
def test_a_rule_per_layer_takes_the_cheapest_scheme(energy):
    mixed = decompose(small(), IMAGES, scheme="per-layer", keep=Energy(energy)).layers
    singles = [
        decompose(small(), IMAGES, scheme=one, keep=Energy(energy)).layers for one in SCHEMES
    ]
    for layer, *others in zip(mixed, *singles, strict=True):
        assert layer.macs == min(other.macs for other in others)


def largest_lost(speedup, allocation):
    """The largest singular value of any layer that a channel cut loses."""
    network = resnet()
    layers = decompose(
        network, EXAMPLE, scheme="channel", keep=Speedup(speedup), allocation=allocation
    ).layers
    lost = [0.0]
    for layer in layers:
        weight = network.get_submodule(layer.name).weight.detach().double().flatten(1)
        values = torch.linalg.svdvals(weight).tolist()
        lost += values[layer.rank or len(values) :]
    return max(lost)


@pytest.mark.parametrize("speedup", [1.5, 3.0])
def test_no_spread_loses_less_of_the_largest_values_than_the_pooled_one(speedup):
    least = largest_lost(speedup, "pooled")
    assert all(least <= largest_lost(speedup, other) + 1e-9 for other in ALLOCATIONS)
    assert least < largest_lost(speedup, "alds-style")


UNCHANGED = [
    {"keep": Energy(1.0)},
    {"keep": Ratio(1.0)},
    {"keep": Value(1e-12)},
    *[{"keep": Speedup(1.0), "allocation": allocation} for allocation in ALLOCATIONS],
    {"keep": Parameters(parameters_of(small()))},
]


@pytest.mark.parametrize("calibration", [None, [IMAGES]])
@pytest.mark.parametrize(("amount", "scheme"), taken(UNCHANGED), ids=str)
def test_asked_for_nothing_the_network_stays_what_it_was(amount, scheme, calibration):
    result = decompose(small(), IMAGES, scheme=scheme, calibration=calibration, **amount)
    torch.testing.assert_close(result.network(IMAGES), small()(IMAGES), atol=1e-4, rtol=0)


@pytest.mark.parametrize("calibration", [None, [IMAGES]])
@pytest.mark.parametrize("keep", [Speedup(1.5), Speedup(3.0), Energy(0.5)], ids=str)
def test_a_layer_tells_what_every_scheme_keeps_that_costs_no_more(keep, calibration):
    network = small()
    offered = {"0": set(SCHEMES), "2": set(SCHEMES), "5": {"channel"}, "6": set(SCHEMES)}
    offered["9"] = {"channel"}
    options = {"scheme": "per-layer", "calibration": calibration}
    for layer in decompose(network, IMAGES, keep, **options).layers:
        if layer.rank is None:
            assert layer.kept == {}
            continue
        fit = {name for name in offered[layer.name] if least_macs(name, layer) <= layer.macs}
        assert layer.kept.keys() == fit
        assert all(0 <= share <= 1 for share in layer.kept.values())


def least_macs(scheme, layer):
    """What the layer costs at rank 1."""
    result = decompose(small(), IMAGES, scheme=scheme, keep={layer.name: 1})
    return next(other.macs for other in result.layers if other.name == layer.name)


def test_what_is_kept_is_the_share_of_the_weights_own_energy():
    network = small()
    for layer in decompose(network, IMAGES, scheme="channel", keep=Speedup(2.0)).layers:
        if layer.rank is not None:
            weight = network.get_submodule(layer.name).weight.detach().double().flatten(1)
            squares = torch.linalg.svdvals(weight).square()
            expected = float(squares[: layer.rank].sum() / squares.sum())
            assert layer.kept == {"channel": pytest.approx(expected)}


@pytest.mark.parametrize("energy", [0.4, 0.6, 0.8])
def test_pooled_energy_keeps_the_largest_values_of_all_layers(energy: float):
    network = small()
    found = decompose(
        network, IMAGES[:1], scheme="channel", keep=Energy(energy), allocation="pooled"
    )
    factored = [network.get_submodule(layer.name) for layer in found.layers if layer.full_rank]
    names = [layer.name for layer in found.layers if layer.full_rank]
    spectra = {
        name: torch.linalg.svdvals(module.weight.detach().double().flatten(1))
        for name, module in zip(names, factored, strict=True)
    }
    values = torch.cat(list(spectra.values())).sort(descending=True).values
    share = values.square().cumsum(0) / values.square().sum()
    smallest = values[int((share < energy).sum())]
    for layer in found.layers:
        if layer.rank is not None:
            assert layer.rank == max(1, int((spectra[layer.name] >= smallest * (1 - 1e-6)).sum()))
    assert any(layer.rank is not None for layer in found.layers)


def test_a_budget_out_of_reach_says_what_stays_dense():
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 1))
    why = r"100% of the multiply-adds stay dense \(1x1: nothing to decouple\)"
    with pytest.raises(InputError, match=rf"best is 1\.00x; {why}$"):
        decompose(network, EXAMPLE, Speedup(2), scheme="decoupled")


def test_what_was_not_selected_is_no_reason_why_a_budget_is_out_of_reach():
    layers = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 64, 1)]
    with pytest.raises(InputError, match=r"while layers is kxk; all has more$"):
        decompose(nn.Sequential(*layers), EXAMPLE, Speedup(9), layers="kxk")


@pytest.mark.parametrize("scheme", [*SCHEMES, "cp"])
@pytest.mark.parametrize("calibration", [None, [IMAGES]])
def test_ranks_taken_from_a_cut_make_the_same_network(scheme, calibration):
    options = {"scheme": scheme, "calibration": calibration}
    chosen = decompose(small(), IMAGES, Ratio(0.2), **options)
    ranks = {layer.name: layer.rank for layer in chosen.layers if layer.rank}
    assert ranks
    given = decompose(small(), IMAGES, Ranks(ranks), **options)
    assert [x for x in given.layers if x.rank] == [x for x in chosen.layers if x.rank]
    assert torch.equal(given.network(IMAGES), chosen.network(IMAGES))
