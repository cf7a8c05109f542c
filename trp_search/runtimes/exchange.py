"""Layers of an ONNX file exchanged for others, without another export of the whole network."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from trp_search.runtimes.onnx import write_onnx
from trp_search.runtimes.serving import Parts

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_MOST_BYTES = 2**31 - 2**20  # of one file
Served = TypeVar("Served")


class Exchange:
    """A network's ONNX file, of which others are made whose layers are sequences of layers.

    The exporter takes seconds for a network, and a sequence for a layer changes one node.

    Args:
        network: in evaluation mode.
        images: at least two images.
    """

    def __init__(self, network: nn.Module, images: Tensor) -> None:
        import onnx  # noqa: PLC0415  optional

        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "network.onnx"
            write_onnx(network, images, path)
            self._model = onnx.load(path)
        self._fits = self._model.ByteSize() <= _MOST_BYTES
        self._nodes = [(_layer(node), node) for node in self._model.graph.node]
        self._weights = list(self._model.graph.initializer)
        # What all have in common, so that none of the rest is copied twice.
        del self._model.graph.node[:], self._model.graph.initializer[:]

    def served(self, parts: Parts, serve: Callable[[Path], Served]) -> Served | None:
        """What `serve` makes of the file with `parts`, which is gone then; None as in `write`."""
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "exchanged.onnx"
            return serve(path) if self.write(parts, path) else None

    def write(self, parts: Parts, path: Path) -> bool:
        """Writes the network with `parts` in place of the layers they name, if all can be.

        A layer can be exchanged that is a Conv or a Gemm of the file.
        """
        import onnx  # noqa: PLC0415  optional

        if not self._fits or not {name for name, _ in self._nodes}.issuperset(parts):
            return False
        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        for name, node in self._nodes:
            exchanged = list(_exchanged(node, parts[name])) if name in parts else [node]
            if name in parts and len(exchanged) < len(parts[name]):
                return False
            model.graph.node.extend(exchanged)
        read = {name for node in model.graph.node for name in node.input}
        model.graph.initializer.extend(x for x in self._weights if x.name in read)
        for name, layers in parts.items():
            model.graph.initializer.extend(_weights(name, layers))
        onnx.save(model, path)
        return True


def _layer(node: Any) -> str:  # noqa: ANN401  ONNX is optional
    """The layer that a node is, by the name of its weight; empty for others."""
    weighted = node.op_type in ("Conv", "Gemm") and node.input[1].endswith(".weight")
    return str(node.input[1]).removesuffix(".weight") if weighted else ""


def _exchanged(node: Any, layers: Sequence[nn.Module]) -> Iterator[Any]:  # noqa: ANN401
    """The nodes that take the place of one; fewer than layers where one cannot be written."""
    from onnx import helper  # noqa: PLC0415  optional

    ends = [node.input[0], *(f"{node.output[0]}/{at}" for at in range(1, len(layers)))]
    for at, (part, (given, told)) in enumerate(
        zip(layers, itertools.pairwise([*ends, node.output[0]]), strict=True)
    ):
        settings = _settings(node.op_type, part)
        if settings is None:
            return
        last = at == len(layers) - 1
        inputs = [given, f"{_layer(node)}.{at}.weight", *(node.input[2:] if last else ())]
        yield helper.make_node(node.op_type, inputs, [told], **settings)


def _settings(operator: str, part: nn.Module) -> dict[str, Any] | None:
    """The attributes of a layer's node; None where it is none of this operator."""
    if operator == "Gemm" and isinstance(part, nn.Linear):
        return {"transB": 1}
    if operator != "Conv" or not isinstance(part, _CONVOLUTIONS) or part.padding_mode != "zeros":
        return None
    if isinstance(part.padding, str):
        return None
    return {
        "group": part.groups,
        "kernel_shape": part.kernel_size,
        "strides": part.stride,
        "dilations": part.dilation,
        "pads": [*part.padding, *part.padding],
    }


def _weights(name: str, layers: Sequence[nn.Module]) -> Iterator[Any]:
    """The tensors that the nodes of a layer read."""
    from onnx import numpy_helper  # noqa: PLC0415  optional

    for at, part in enumerate(layers):
        assert isinstance(part.weight, Tensor)
        yield numpy_helper.from_array(part.weight.detach().numpy(), f"{name}.{at}.weight")
