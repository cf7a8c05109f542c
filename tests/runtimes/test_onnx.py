from __future__ import annotations

import importlib.util
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

from trp_search.errors import InputError
from trp_search.runtimes.onnx import onnx_session, write_onnx


@pytest.mark.slow
def test_the_file_takes_any_batch_and_a_pair_stays_a_pair(
    pairs: nn.Module, images: Tensor, tmp_path: Path
):
    path = tmp_path / "network.onnx"
    write_onnx(pairs, images, path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["network.onnx"]
    run = onnx_session(path, device="cpu", threads=1)
    for number in (1, 3, 7):
        batch = torch.randn(number, 3, 8, 8)
        torch.testing.assert_close(run(batch), pairs(batch).detach(), rtol=1e-3, atol=1e-4)
    nodes = [node.op_type for node in onnx.load(path).graph.node]
    convolutions = sum(isinstance(module, nn.Conv2d) for module in pairs.modules())
    assert nodes.count("Conv") == convolutions


def test_what_is_not_installed_is_told_with_the_cure(
    monkeypatch: pytest.MonkeyPatch, pairs: nn.Module, images: Tensor, tmp_path: Path
):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxscript" else found(name)
    )
    with pytest.raises(InputError, match=r"^onnxscript: not installed; .*trp_search\[onnx\]"):
        write_onnx(pairs, images, tmp_path / "network.onnx")
    assert not list(tmp_path.iterdir())
