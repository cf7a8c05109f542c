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


class Attention(nn.Module):
    """Attention between vectors of 8 pixels that lie along axes, over the last; some is masked."""

    def __init__(self, *axes: int) -> None:
        super().__init__()
        self.axes = axes
        side = axes[-1]
        kept = torch.rand(*axes[:-1], side, side) > 0.3
        self.register_buffer("mask", kept | torch.eye(side, dtype=torch.bool))

    def forward(self, images: Tensor) -> Tensor:
        rows = images.reshape(images.shape[0], *self.axes, 8)
        masked = nn.functional.scaled_dot_product_attention(rows, rows, rows, self.mask)
        return (masked + nn.functional.scaled_dot_product_attention(rows, rows, rows)).flatten(1)


@pytest.mark.slow
@pytest.mark.parametrize("axes", [(24,), (3, 8), (2, 3, 4), (2, 2, 3, 2)])
def test_attention_over_any_axes_is_written(axes: tuple[int, ...], images: Tensor, tmp_path: Path):
    path, network = tmp_path / "network.onnx", Attention(*axes).eval()
    write_onnx(network, images, path)
    batch = torch.randn(5, 3, 8, 8)
    found = onnx_session(path, device="cpu", threads=1)(batch)
    torch.testing.assert_close(found, network(batch), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_the_zeros_of_a_padding_are_among_those_a_maximum_is_of(images: Tensor, tmp_path: Path):
    path, network = tmp_path / "network.onnx", nn.Sequential(nn.ZeroPad2d(1), nn.MaxPool2d(3, 2))
    write_onnx(network.eval(), images, path)
    below = -1 - torch.rand(5, 3, 8, 8)
    found = onnx_session(path, device="cpu", threads=1)(below)
    torch.testing.assert_close(found, network(below))


@pytest.mark.slow
def test_what_the_optimiser_breaks_is_written_without_it(images: Tensor, tmp_path: Path):
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Linear(8, 8), nn.Linear(8, 8)
            self.register_buffer("low", torch.tensor(-0.5))
            self.register_buffer("high", torch.tensor(0.5))

        def forward(self, images: Tensor) -> Tensor:
            doubled = 2 * images
            first = self.one(doubled.clamp(self.low, self.high))
            return first + self.other(doubled.clamp(self.low, self.high))

    path, network = tmp_path / "network.onnx", Twice().eval()
    write_onnx(network, images, path)
    found = onnx_session(path, device="cpu", threads=1)(images)
    torch.testing.assert_close(found, network(images), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_what_torch_cannot_write_is_one_line_with_its_cause(images: Tensor, tmp_path: Path):
    class Eigenvalues(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.linalg.eigvals(images).abs()

    with pytest.raises(InputError, match=r"^torch cannot write this network to ONNX: \w+: [^\n]+$"):
        write_onnx(Eigenvalues(), images, tmp_path / "network.onnx")
    assert not list(tmp_path.iterdir())


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
