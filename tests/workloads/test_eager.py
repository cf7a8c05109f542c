"""Modules whose layers cannot be replaced are refused before anything is done to them."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from trp_search import TrainedRankPruning, decompose
from trp_search.errors import InputError
from trp_search.records import Energy, Joint, NetworkSpec, Speedup
from trp_search.training.joint import JointTraining
from trp_search.workloads import networks
from trp_search.workloads.eager import check_eager

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def plain() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3), nn.Flatten()).eval()


def compiled() -> nn.Module:
    return torch.compile(plain(), backend="eager")


def compiled_in_place() -> nn.Module:
    network = plain()
    network.compile(backend="eager")
    return network


def compiled_part() -> nn.Module:
    return nn.Sequential(compiled(), nn.Linear(256, 10))


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(plain())


def exported() -> nn.Module:
    return torch.export.export(plain(), (IMAGES,)).module()


def lazy() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(4))


def of_no_values() -> nn.Module:
    return plain().to("meta")


REFUSED = {
    compiled: "it is compiled: pass the module as it was, and compile what comes of it",
    compiled_in_place: "it is compiled: pass the module as it was, and compile what comes of it",
    compiled_part: "its part '0' is compiled: pass the module as it was",
    scripted: "it is scripted: pass the module as it was before torch.jit",
    exported: "it is exported: pass the module as it was before torch.export",
    lazy: "its part '1' has no weights yet (LazyBatchNorm2d): call the network on an input once",
    of_no_values: "its part '0' is on the meta device: its weights have no values",
}


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: make.__name__)
def test_one_line_says_what_to_pass_instead(make):
    network = make()
    for use in (
        lambda: decompose(network, IMAGES, keep=Speedup(1.5)),
        lambda: TrainedRankPruning(network, IMAGES, Speedup(1.5)),
        lambda: JointTraining(network, IMAGES, Joint()),
    ):
        with pytest.raises(InputError) as caught:
            use()
        assert str(caught.value).startswith(f"network: {REFUSED[make]}")
        assert "\n" not in str(caught.value)


def test_what_is_no_module_is_named():
    with pytest.raises(InputError, match=r"^network: function is no torch\.nn\.Module$"):
        check_eager(plain, where="network")


def test_a_users_callable_may_not_return_one():
    spec = NetworkSpec(name=f"{__name__}:compiled")
    with pytest.raises(InputError, match=r"^workload\.network: .*:compiled: it is compiled: pass"):
        networks.build(spec, channels=3, classes=10)


def test_a_traced_graph_of_layers_is_cut_like_the_network_it_was():
    network = plain()
    cut = decompose(torch.fx.symbolic_trace(network), IMAGES, keep=Energy(0.5))
    wanted = decompose(network, IMAGES, keep=Energy(0.5))
    assert cut.layers == wanted.layers
    assert torch.equal(cut.network(IMAGES), wanted.network(IMAGES))


def test_a_scripted_activation_is_no_reason():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_eager(nn.Sequential(plain(), torch.jit.script(nn.ReLU())), where="network")


def test_a_default_device_other_than_the_cpu_is_refused_with_what_to_do():
    with torch.device("meta"), pytest.raises(InputError, match=r"default device is meta: .*'cpu'"):
        check_eager(nn.Sequential(nn.Linear(2, 2, device="cpu")), where="network")
