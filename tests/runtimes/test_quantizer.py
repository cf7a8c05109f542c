from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from trp_search.errors import InputError
from trp_search.records import SUFFIXES, QuantizerName, Target
from trp_search.runtimes.fold import fold_batch_norm
from trp_search.runtimes.quantizer import Calibrated, QuantizedNetwork, calibrated, quantizer

TOOLS = get_args(QuantizerName)


@pytest.fixture(scope="module")
def seen() -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(16, 3, 8, 8, generator=generator) * 2 + 1 for _ in range(4)]


@pytest.fixture
def folded(pairs: nn.Module, seen: list[Tensor]) -> nn.Module:
    return fold_batch_norm(pairs, seen[0])[0]


@pytest.fixture(params=TOOLS)
def tool(request: pytest.FixtureRequest) -> QuantizerName:
    return request.param


@pytest.fixture
def ranged(tool: QuantizerName, folded: nn.Module, seen: list[Tensor], tmp_path: Path):
    return calibrated(tool, folded, seen, tmp_path)


def written(tool: QuantizerName, ranged: Calibrated, place: Path, **how: object) -> Path:
    place.mkdir()
    path = place / f"network{SUFFIXES[tool]}"
    ranged.write(path, **how)
    return path


@pytest.mark.slow
def test_an_int8_network_answers_nearly_as_its_float_one_and_weighs_a_quarter(
    tool: QuantizerName, ranged: Calibrated, folded: nn.Module, seen: list[Tensor], tmp_path: Path
):
    path = written(tool, ranged, tmp_path / "whole")
    network = QuantizedNetwork(path, tool)
    expected, found = (torch.cat([one(batch) for batch in seen]) for one in (folded, network))
    error = (found - expected).norm() / (expected - expected.mean(0)).norm()
    assert 0 < error < 0.25  # NNCF averages the largest values over images
    weights = [p for p in folded.parameters() if p.dim() > 1]
    rest = 40 * sum(len(p) for p in folded.parameters())  # scales, biases, constants
    size = quantizer(tool).weight_bytes(path)
    assert 0 < size - sum(p.numel() for p in weights) < rest
    # Any batch, and a fixed one as it is timed, answer alike.
    torch.testing.assert_close(network(seen[0][:5]), found[:5])
    target = Target(name="here", runtime=tool, batch=3, height=8, width=8)
    torch.testing.assert_close(network.call(seen[0][:3], target)(), found[:3])


@pytest.mark.slow
def test_each_layer_can_be_left_in_float(
    tool: QuantizerName, ranged: Calibrated, folded: nn.Module, tmp_path: Path
):
    weights = {n.removesuffix(".weight"): p for n, p in folded.named_parameters() if p.dim() > 1}
    assert sorted(ranged.layers) == sorted(weights)
    whole = quantizer(tool).weight_bytes(written(tool, ranged, tmp_path / "whole"))
    for number, name in enumerate(list(weights)[1:3]):
        path = written(tool, ranged, tmp_path / str(number), in_float=[name])
        more = quantizer(tool).weight_bytes(path) - whole
        assert math.isclose(more, 3 * weights[name].numel(), abs_tol=20 * len(weights[name]) + 40)


@pytest.mark.slow
def test_a_network_that_is_refused_is_one_line(
    tool: QuantizerName, untraceable: nn.Module, seen: list[Tensor], tmp_path: Path
):
    with pytest.raises(InputError, match=rf"^{tool} cannot quantise this network: [^\n]+$"):
        calibrated(tool, untraceable, seen, tmp_path)


def test_a_file_that_is_gone_or_no_network_is_told(tool: QuantizerName, tmp_path: Path):
    path = tmp_path / f"a{SUFFIXES[tool]}"
    with pytest.raises(InputError, match=r"^[^\n]*no such int8 network; trp-search quantize"):
        QuantizedNetwork(path, tool)
    path.write_text("no network")
    path.with_suffix(".bin").touch()  # OpenVINO's weights
    with pytest.raises(InputError, match=r"^[^\n]*: cannot be run: [^\n]+$"):
        QuantizedNetwork(path, tool)(torch.zeros(1, 3, 8, 8))


def test_a_target_of_another_runtime_is_told(tool: QuantizerName, tmp_path: Path):
    path = tmp_path / f"a{SUFFIXES[tool]}"
    path.touch()
    path.with_suffix(".bin").touch()
    target = Target(name="here", runtime="eager", height=8, width=8)
    with pytest.raises(InputError, match=rf"is int8 for {tool} on the CPU; target 'here' is eager"):
        QuantizedNetwork(path, tool).call(torch.zeros(1, 3, 8, 8), target)


def test_tools_that_are_missing_are_told(monkeypatch: pytest.MonkeyPatch, tool: QuantizerName):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"^[^\n]+: not installed; [^\n]+$"):
        quantizer(tool).check()
