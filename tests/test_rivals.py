"""A network by another tool comes over as data, and every rival says what it needs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.rivals import handed
from benchmarks.rivals.trial import HERE, RIVALS
from trp_search import decompose
from trp_search.lowrank.placing import put
from trp_search.workloads.residual import ResidualNetwork

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def baseline() -> nn.Module:
    torch.manual_seed(0)
    return ResidualNetwork(channels=3, classes=5, blocks=1, widths=(4, 8)).eval()


def narrow_(network: nn.Module) -> nn.Module:
    """Half of the channels inside a block are gone, as pruning leaves it."""
    block = network.get_submodule("stages.0.0")
    block.conv1 = nn.Conv2d(4, 2, 3, padding=1, bias=False)
    block.bn1 = nn.BatchNorm2d(2)
    block.conv2 = nn.Conv2d(2, 4, 3, padding=1, bias=False)
    return network


def nested(network: nn.Module) -> nn.Module:
    """Three layers in the place of one, some of them inside others."""
    parts = nn.Sequential(
        nn.Conv2d(4, 2, 1), nn.Conv2d(2, 2, (3, 1), stride=(2, 1), padding=(1, 0))
    )
    last = nn.Conv2d(2, 8, (1, 3), stride=(1, 2), padding=(0, 1), bias=False)
    put(network, "stages.1.0.conv1", nn.Sequential(parts, last))
    return network


def factored(network: nn.Module, scheme: str) -> nn.Module:
    ranks = {"stages.0.0.conv2": 2, "stages.1.0.conv1": 3, "fc": 2}
    return decompose(network, IMAGES, ranks, scheme=scheme).network


MADE = {
    "whole": lambda network: network,
    "pruned": narrow_,
    "nested": nested,
    "channel": lambda network: factored(network, "channel"),
    "spatial": lambda network: factored(network, "spatial"),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_a_network_read_back_is_the_one_handed_over(make, tmp_path: Path):
    network = make(baseline())
    handed.write(network, baseline(), IMAGES, tmp_path)
    found = handed.read(baseline(), tmp_path)
    assert handed.answer(found, IMAGES).equal(handed.answer(network, IMAGES))
    for one, other in zip(found.parameters(), network.parameters(), strict=True):
        assert one.equal(other)


def test_a_network_that_differs_between_its_layers_is_refused(tmp_path: Path):
    network = baseline()
    network.get_submodule("stages.1.0").register_forward_hook(lambda *given: 2 * given[-1])
    handed.write(network, baseline(), IMAGES, tmp_path)
    with pytest.raises(ValueError, match="answers otherwise"):
        handed.read(baseline(), tmp_path)


def test_a_layer_of_another_kind_is_refused_by_name(tmp_path: Path):
    network = baseline()
    put(network, "stages.0.0.conv1", nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.Tanh()))
    with pytest.raises(TypeError, match="Tanh"):
        handed.write(network, baseline(), IMAGES, tmp_path)


def test_every_rival_has_its_file_and_its_requirements():
    assert len({(rival.name, rival.setting) for rival in RIVALS}) == len(RIVALS)
    for rival in RIVALS[2:]:
        assert "def cut(given: Given)" in (HERE / f"{rival.file}.py").read_text()
        wanted = (HERE / f"{rival.environment or rival.file}.txt").read_text().splitlines()
        first, *pinned = [line.partition("#")[0].strip() for line in wanted]
        assert first == "-e ."
        assert pinned
        assert all("==" in line for line in pinned)
