import pytest
import torch
from torch import nn

from trp_search.lowrank.decompose import decompose
from trp_search.records import Value
from trp_search.scoring.flops import count
from trp_search.scoring.survey import survey

IMAGE = torch.zeros(1, 3, 16, 16)


def small():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.Conv2d(32, 32, 3, padding=1, groups=32),
        nn.Flatten(),
        nn.Linear(32 * 64, 10),
    ).eval()


@pytest.mark.parametrize("scheme", ["channel", "spatial", "decoupled"])
@pytest.mark.parametrize("layers", ["kxk", "all"])
def test_the_best_speedup_is_that_of_the_network_cut_to_rank_1(scheme, layers):
    network = small()
    found = survey(network, IMAGE, layers=layers)
    cut = decompose(network, IMAGE, scheme=scheme, keep=Value(1e9), layers=layers)
    expected = count(network, IMAGE).macs / count(cut.network, IMAGE).macs
    assert found.best[scheme] == pytest.approx(expected)


def test_the_layers_that_cap_a_scheme_come_first():
    found = survey(small(), IMAGE, layers="kxk")
    left = [macs for _, macs in found.caps("spatial")]
    assert left == sorted(left, reverse=True)
    assert found.caps("spatial")[0][0] == found.layers[0].name
    assert found.layers[0].reach["spatial"].reason == "first convolution, not selected"
    assert sum(left) == found.macs - sum(x.macs - x.reach["spatial"].macs for x in found.layers)
    assert found.macs == count(small(), IMAGE).macs
