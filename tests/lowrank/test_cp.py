"""A kernel as a sum of products: its losses, how large its terms are, the layers it becomes."""

from __future__ import annotations

import itertools

import pytest
import tensorly
import torch
from tensorly.decomposition import parafac
from torch import nn

from trp_search.lowrank.cp import CpFactoring, fit, lost_by
from trp_search.lowrank.decompose import decompose
from trp_search.lowrank.rebuild import rebuild
from trp_search.records import Energy, Parameters, Speedup
from trp_search.scoring.flops import count

tensorly.set_backend("pytorch")

SHAPES = [(12, 8, 3, 3), (6, 10, 3, 1), (5, 4, 1, 7)]
IMAGES = torch.randn(2, 3, 13, 11, generator=torch.Generator().manual_seed(0))


def gaussian(*size, seed=0):
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def planted(shape, rank):
    factors = [gaussian(size, rank, seed=axis) for axis, size in enumerate(shape)]
    return torch.einsum("nr,cr,hr,vr->nchv", *factors)


def small():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 24, 3, padding=1, stride=(2, 1), bias=False),
        nn.ReLU(),
        nn.Conv2d(24, 32, (3, 5), padding=(1, 4), dilation=(1, 2), padding_mode="circular"),
        nn.Conv2d(32, 16, 3, stride=2),
        nn.Conv2d(16, 16, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    ).eval()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_kernel_of_few_products_is_found_and_more_lose_nothing(shape):
    weight = planted(shape, 2)
    assert lost_by(weight, fit(weight, 2, sweeps=300)) < 1e-6
    full = CpFactoring().full_ranks(shape)
    assert lost_by(gaussian(*shape), fit(gaussian(*shape), *full, sweeps=300)) < 1e-4


@pytest.mark.parametrize("bound", [0.5, 2.0, 10.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_no_sweep_loses_more_and_products_stay_within_the_bound(shape, bound):
    weight = gaussian(*shape)
    found = [fit(weight, 9, bound=bound, sweeps=sweeps) for sweeps in (0, 1, 2, 4, 8, 16)]
    losses = [lost_by(weight, factors) for factors in found]
    assert all(after <= before + 1e-9 for before, after in itertools.pairwise(losses))
    for first, *others in found:
        assert first.square().sum() <= bound * weight.square().sum() * (1 + 1e-9)
        for factor in others:
            torch.testing.assert_close(factor.norm(dim=0), torch.ones(9).double())


@pytest.mark.parametrize("rank", [4, 12])
def test_it_loses_no_more_than_plain_alternation_does(rank):
    weight = gaussian(16, 8, 3, 3)
    plain = [
        parafac(weight, rank, n_iter_max=100, init="random", random_state=seed, tol=0).to_tensor()
        for seed in range(3)
    ]
    lost = [float((weight - one).square().sum() / weight.square().sum()) for one in plain]
    assert lost_by(weight, fit(weight, rank, sweeps=100)) <= max(lost) + 0.01


def test_products_that_would_cancel_without_bound_do_not():
    """Of border rank 2 and rank 3: the best two grow for ever."""
    one, two = torch.eye(4).double()[:2]
    terms = [(one, one, two, one), (one, two, one, one), (two, one, one, one)]
    weight = sum(torch.einsum("n,c,h,v->nchv", *term) for term in terms)
    loose, tight = (fit(weight, 2, bound=bound, sweeps=400) for bound in (1e9, 4.0))
    assert loose[0].square().sum() > 8 * weight.square().sum()
    assert tight[0].square().sum() <= 4 * weight.square().sum() * (1 + 1e-9)


def test_a_kernel_of_zeros_has_factors_of_zeros():
    assert all(not factor.any() for factor in fit(torch.zeros(4, 3, 3, 3), 2)[:1])


@pytest.mark.parametrize("keep", [Energy(0.3), Speedup(2.0), Parameters(6000)], ids=str)
def test_costs_are_those_of_the_network_and_its_weights_load(keep):
    network = small()
    found = decompose(network, IMAGES, keep, scheme="cp")
    counted = count(found.network, IMAGES[:1])
    assert counted.note is None
    assert counted.macs == sum(layer.macs for layer in found.layers)
    parameters = sum(parameter.numel() for parameter in found.network.parameters())
    assert parameters == sum(layer.parameters for layer in found.layers)
    assert any(layer.scheme == "cp" for layer in found.layers)
    again = small()
    rebuild(again, found.layers)
    again.load_state_dict(found.network.state_dict())
    assert torch.equal(again(IMAGES), found.network(IMAGES))


def test_the_four_layers_compute_what_the_kernel_of_their_products_would():
    network = small()
    found = decompose(network, IMAGES, Speedup(1.5), scheme="cp")
    with torch.no_grad():
        for layer in found.layers:
            if layer.rank is None:
                continue
            b, h, v, a = (part.weight.squeeze() for part in found.network.get_submodule(layer.name))
            kernel = torch.einsum("nr,rc,rh,rv->nchv", a, b, h, v)
            lost = (kernel - network.get_submodule(layer.name).weight).square().sum()
            total = network.get_submodule(layer.name).weight.square().sum()
            assert layer.kept["cp"] == pytest.approx(1 - float(lost / total), abs=1e-4)
            network.get_submodule(layer.name).weight.copy_(kernel)
        torch.testing.assert_close(found.network(IMAGES), network(IMAGES), atol=1e-5, rtol=0)
