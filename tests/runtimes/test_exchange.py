"""Layers exchanged in a file: the network is as if it had been exported with them."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

from trp_search.lowrank.analysis import analyse
from trp_search.lowrank.placing import copied, put
from trp_search.lowrank.schemes import SCHEMES
from trp_search.lowrank.spectral import Spectral
from trp_search.records import Cut, Speedup, Target
from trp_search.runtimes.exchange import Exchange
from trp_search.runtimes.fold import fold_batch_norm
from trp_search.runtimes.onnx import onnx_session, write_onnx
from trp_search.runtimes.serving import exchanging


class Network(nn.Module):
    """Convolutions of several forms, with a batch norm, a shortcut and linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.wide = nn.Conv2d(16, 16, (5, 3), padding=(2, 1), dilation=1)
        self.grouped = nn.Conv2d(16, 32, 3, stride=2, padding=2, dilation=2, groups=2)
        self.head = nn.Linear(32, 24)
        self.tokens = nn.Linear(32, 32)

    def forward(self, images: Tensor) -> Tensor:
        first = torch.relu(self.norm(self.stem(images)))
        maps = torch.relu(self.grouped(first + self.wide(first)))
        rows = self.tokens(maps.flatten(2).transpose(1, 2))
        out: Tensor = self.head(rows.mean(1))
        return out


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    made = Network().eval()
    with torch.no_grad():  # so that it folds into a bias
        made.norm.bias.uniform_(0.5, 1)
        made.norm.running_mean.uniform_(-1, 1)
    return made


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def parts_of(network: nn.Module, images: Tensor, scheme: str) -> dict[str, list[nn.Module]]:
    wanted = Cut(keep=Speedup(1.0), scheme=scheme, layers="all")
    found = analyse(network, images[:1], Spectral(SCHEMES[scheme]), wanted)
    layers = [one.layer for layer in found.layers for one in layer.candidates]
    return {one.name: list(one.scheme.layers(one.module, (3,))) for one in layers if not one.reason}


def nodes(path: Path) -> list[tuple[object, ...]]:
    """What each node does and the sizes of its tensors; names and order of attributes aside."""
    graph = onnx.load(path).graph
    sizes = {one.name: tuple(one.dims) for one in graph.initializer}
    return [
        (
            node.op_type,
            sorted((a.name, str(onnx.helper.get_attribute_value(a))) for a in node.attribute),
            [sizes.get(name) for name in node.input],
        )
        for node in graph.node
    ]


USUAL = [("auto_pad", "b'NOTSET'"), ("alpha", "1.0"), ("beta", "1.0"), ("transA", "0")]


def told(found: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    return [(op, [a for a in told if a not in USUAL], sizes) for op, told, sizes in found]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["channel", "spatial"])
def test_a_file_with_exchanged_layers_is_that_of_the_network_with_them(
    network: nn.Module, images: Tensor, scheme: str, tmp_path: Path
):
    folded, outcome = fold_batch_norm(network, images)
    assert outcome == "folded"
    parts = parts_of(folded, images, scheme)
    assert len(parts) >= 2
    exported = copied(folded)
    for name, layers in parts.items():
        put(exported, name, nn.Sequential(*layers))
    exchange = Exchange(folded, images)
    able = {name: layers for name, layers in parts.items() if name != "tokens"}
    assert exchange.write(able, tmp_path / "exchanged.onnx")
    found = onnx_session(tmp_path / "exchanged.onnx", device="cpu", threads=1)
    for name, layers in able.items():
        with torch.no_grad():
            layers[-1].bias.copy_(folded.get_submodule(name).bias)
    if "tokens" in parts:
        put(exported, "tokens", folded.get_submodule("tokens"))
    write_onnx(exported, images, tmp_path / "exported.onnx")
    assert told(nodes(tmp_path / "exchanged.onnx")) == told(nodes(tmp_path / "exported.onnx"))
    batch = torch.randn(5, 3, 12, 12)
    with torch.no_grad():
        torch.testing.assert_close(found(batch), exported(batch), rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_runtime_serves_a_network_with_exchanged_layers(
    network: nn.Module, images: Tensor, runtime: str
):
    target = Target(name="here", runtime=runtime, height=12, width=12, batch=2)
    served = exchanging(network, target, channels=3)
    whole, parts = served({}), parts_of(network, images, "channel")
    assert whole is not None
    pair = served({"wide": parts["wide"]})
    assert pair is not None
    assert pair().shape == whole().shape
    assert not torch.allclose(pair(), whole())
    assert served({"tokens": parts["tokens"]}) is None  # a product of matrices in the file
    assert served({"gone": parts["wide"]}) is None


def test_eager_serves_no_exchanged_layers(network: nn.Module, images: Tensor):
    target = Target(name="here", runtime="eager", height=12, width=12)
    served = exchanging(network, target, channels=3)
    assert served(parts_of(network, images, "channel")) is None
