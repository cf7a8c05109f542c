"""ONNX Runtime, from an ONNX file of the network."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import final

from torch import Tensor, nn
from typing_extensions import override

from trp_search.records import Device, Target
from trp_search.runtimes.onnx import check_onnx, onnx_session, write_onnx
from trp_search.runtimes.serving import Call, Runtime


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
            write_onnx(network.cpu(), images[:1].expand(2, -1, -1, -1).clone(), path)
            session = onnx_session(path, device=target.device, threads=target.threads)
        return lambda: session(images)


RUNTIME = OnnxRuntime()
