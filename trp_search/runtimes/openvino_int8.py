"""Int8 for OpenVINO by NNCF."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, final

from torch import Tensor
from typing_extensions import override

from trp_search.runtimes.installed import check_installed
from trp_search.runtimes.openvino import (
    RUNTIME,
    check_openvino,
    openvino_session,
    read_openvino,
    save_openvino,
)
from trp_search.runtimes.quantizer import Calibrated, Quantizer, Session
from trp_search.runtimes.quiet import quiet

_WEIGHED = (
    "MatMul",
    "Convolution",
    "ConvolutionBackpropData",
    "GroupConvolution",
    "GroupConvolutionBackpropData",
)


@final
class _Calibrated(Calibrated):
    """The float network and the images; NNCF measures the ranges each time."""

    def __init__(self, model: Any, images: Sequence[Tensor]) -> None:  # noqa: ANN401  OpenVINO's
        self._model = model
        self._images = [image[None].numpy() for batch in images for image in batch]
        self._nodes = _weighed(model)
        self.layers = tuple(self._nodes)

    @override
    def write(self, path: Path, *, in_float: Collection[str] = ()) -> None:
        with quiet():
            import nncf  # noqa: PLC0415  optional

            attention = any(op.get_type_name() == "Softmax" for op in self._model.get_ops())
            names = [node for name in in_float for node in self._nodes[name]]
            found = nncf.quantize(
                self._model,
                nncf.Dataset(self._images),
                subset_size=len(self._images),
                model_type=nncf.ModelType.TRANSFORMER if attention else None,
                ignored_scope=nncf.IgnoredScope(names=names) if names else None,
            )
        save_openvino(found, path)


@final
class OpenVinoInt8(Quantizer):
    """NNCF's own settings; those for transformers where a network has attention."""

    @override
    def check(self) -> None:
        check_openvino()
        check_installed("openvino", "nncf")

    @override
    def versions(self) -> dict[str, str]:
        return RUNTIME.versions() | {"nncf": version("nncf")}

    @override
    def calibrate(self, path: Path, images: Sequence[Tensor], place: Path) -> Calibrated:
        del place
        return _Calibrated(read_openvino(path), images)

    @override
    def session(self, path: Path, *, threads: int, size: Sequence[int] | None = None) -> Session:
        return openvino_session(path, threads=threads, size=size)

    @override
    def weight_bytes(self, path: Path) -> int:
        return path.with_suffix(".bin").stat().st_size


def _weighed(model: Any) -> dict[str, list[str]]:  # noqa: ANN401  OpenVINO's
    """By layer, named as its weight is, the operators that compute it."""
    found: dict[str, list[str]] = {}
    for op in model.get_ordered_ops():
        if op.get_type_name() not in _WEIGHED:
            continue
        weight = op.input_value(1).get_node()
        while weight.get_type_name() in ("Convert", "Reshape", "Transpose"):
            weight = weight.input_value(0).get_node()
        if weight.get_type_name() == "Constant":
            name = weight.get_friendly_name()
            name = name if name.endswith(".weight") else op.get_friendly_name()
            found.setdefault(name.removesuffix(".weight"), []).append(op.get_friendly_name())
    return found


QUANTIZER = OpenVinoInt8()
