"""Weights of any precision and type: cut in kind, or left as they are."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.lowrank.small import Called, linear_only, reasons
from trp_search.errors import InputError
from trp_search.lowrank.decompose import decompose
from trp_search.lowrank.schemes import SCHEMES
from trp_search.records import Energy

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


COMPLEX = torch.randn(2, 3, 8, 8, dtype=torch.complex64)


def of_weight(weight):
    network = linear_only()
    network[1].weight = nn.Parameter(weight(network[1].weight.detach()), requires_grad=False)
    return network


def test_complex_weights_stay_and_answer_exactly():
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, dtype=torch.complex64),
        nn.Flatten(),
        nn.Linear(576, 10, dtype=torch.complex64),
    )
    cut = decompose(network, COMPLEX, scheme="per-layer", keep=Energy(0.5))
    assert set(reasons(cut).values()) == {"its weight is complex"}
    assert torch.equal(cut.network(COMPLEX), network(COMPLEX))
    with pytest.raises(InputError, match="'0' cannot be factored: its weight is complex"):
        decompose(network, COMPLEX, keep={"0": 16})


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_every_precision_is_cut_in_kind(scheme, precision):
    network, images = Called().to(precision), IMAGES.to(precision)
    cut = decompose(network, images, scheme=scheme, keep=Energy(1.0))
    low = decompose(network, images, scheme=scheme, keep={"second": 9})
    assert {p.dtype for p in low.network.parameters()} == {precision}
    assert torch.equal(cut.network(images), network(images))
    full = SCHEMES[scheme].full_ranks((16, 16, 3, 3))[0]
    exact = decompose(network, images, scheme=scheme, keep={"second": full}).network(images)
    torch.testing.assert_close(exact, network(images), atol=2e-2, rtol=2e-2)


class Marked(torch.Tensor):
    """A tensor of another type, as quantisers leave."""

    def __deepcopy__(self, memo):
        return self


def test_a_weight_of_another_type_stays():
    cut = decompose(of_weight(lambda weight: weight.as_subclass(Marked)), IMAGES, keep=Energy(0.5))
    assert reasons(cut) == {"1": "its weight is a Marked", "3": None}


def test_a_sparse_weight_is_one_line():
    with pytest.raises(InputError, match=r"^network: it (does not run|cannot be copied)[^\n]*$"):
        decompose(of_weight(lambda weight: weight.to_sparse()), IMAGES, keep=Energy(0.5))


@pytest.mark.parametrize(
    ("weight", "bias"), [(False, True), (True, False), (True, True), (False, False)]
)
def test_factors_train_as_the_weight_did_and_the_bias_as_the_bias_did(weight, bias):
    network = Called()
    network.second.weight.requires_grad_(weight)
    network.second.bias.requires_grad_(bias)
    cut = decompose(network, IMAGES, keep={"second": 4}).network
    assert [p.requires_grad for p in cut.second.parameters()] == [weight, weight, bias]
