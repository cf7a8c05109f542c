"""ONNX Runtime, from an ONNX file of the network."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import final

from torch import Tensor, nn
from typing_extensions import override

from trp_search.records import Device, Target
from trp_search.runtimes.exchange import Exchange
from trp_search.runtimes.onnx import check_onnx, onnx_session, two_of, write_onnx
from trp_search.runtimes.serving import Call, Exchanged, Runtime


@final
class OnnxRuntime(Runtime):
    """The network, written as ONNX and read back."""

    packages = ("torch", "onnxruntime")

    @override
    def check(self, device: Device) -> None:
        super().check(device)
        check_onnx()

    @override
    def prepare(self, network: nn.Module, images: Tensor, target: Target) -> Call:
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "network.onnx"
            write_onnx(network.cpu(), two_of(images), path)
            return _call(path, images, target)

    @override
    def exchange(self, network: nn.Module, images: Tensor, target: Target) -> Exchanged:
        exchange = Exchange(network, two_of(images))
        return lambda parts: exchange.served(parts, lambda path: _call(path, images, target))


def _call(path: Path, images: Tensor, target: Target) -> Call:
    session = onnx_session(path, device=target.device, threads=target.threads)
    return lambda: session(images)


RUNTIME = OnnxRuntime()
