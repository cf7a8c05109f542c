"""Int8 by ONNX Runtime's quantiser: QDQ, weights by channel, activations as uint8."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, final

from torch import Tensor
from typing_extensions import override

from trp_search.runtimes.machine import adds_int8_products
from trp_search.runtimes.onnx import INPUT, check_onnx, onnx_session
from trp_search.runtimes.onnxruntime import RUNTIME
from trp_search.runtimes.quantizer import Calibrated, Quantizer, Session

_WEIGHED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@final
class _Calibrated(Calibrated):
    """The float network's file, and a file with the ranges of its tensors."""

    def __init__(self, network: Path, images: Sequence[Tensor], place: Path) -> None:
        self._network, self._images, self._ranges = network, images, place / "ranges.json"
        self._nodes = _weighed(network)
        self.layers = tuple(self._nodes)
        self.write(place / "int8.onnx")  # which measures the ranges

    @override
    def write(self, path: Path, *, in_float: Collection[str] = ()) -> None:
        from onnxruntime.quantization import QuantType, quantize_static  # noqa: PLC0415  optional

        logging.disable(logging.WARNING)  # it advises to fuse, which the network is
        try:
            quantize_static(
                self._network,
                path,
                _Reader(self._images),
                per_channel=True,
                reduce_range=not adds_int8_products(),
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=[node for name in in_float for node in self._nodes[name]],
                calibration_cache_path=self._ranges,
            )
        finally:
            logging.disable(logging.NOTSET)


class _Reader:
    """Batches as the quantiser asks for them."""

    def __init__(self, images: Iterable[Tensor]) -> None:
        self._batches = iter(images)

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch.numpy()}


@final
class OnnxRuntimeInt8(Quantizer):
    """Ranges are the smallest and the largest value seen."""

    @override
    def check(self) -> None:
        check_onnx()

    @override
    def versions(self) -> dict[str, str]:
        return RUNTIME.versions()

    @override
    def calibrate(self, path: Path, images: Sequence[Tensor], place: Path) -> Calibrated:
        return _Calibrated(path, images, place)

    @override
    def session(self, path: Path, *, threads: int, size: Sequence[int] | None = None) -> Session:
        del size  # it fits any
        return onnx_session(path, device="cpu", threads=threads)

    @override
    def weight_bytes(self, path: Path) -> int:
        from onnx import numpy_helper  # noqa: PLC0415  optional

        return sum(numpy_helper.to_array(one).nbytes for one in _graph(path).initializer)


def _weighed(path: Path) -> dict[str, list[str]]:
    """By layer, named as its weight is, the nodes that compute it."""
    graph = _graph(path)
    stored = {one.name for one in graph.initializer}
    found: dict[str, list[str]] = {}
    for node in graph.node:
        weights = [name for name in node.input[:2] if name in stored]
        if node.op_type in _WEIGHED and weights:
            name = weights[0] if weights[0].endswith(".weight") else node.name
            found.setdefault(name.removesuffix(".weight"), []).append(node.name)
    return found


def _graph(path: Path) -> Any:  # noqa: ANN401  ONNX is optional
    import onnx  # noqa: PLC0415  optional

    return onnx.load(path).graph


QUANTIZER = OnnxRuntimeInt8()
