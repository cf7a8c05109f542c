"""OpenVINO: a network as a file, and the file compiled for the processor."""

from __future__ import annotations

import functools
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn
from typing_extensions import override

from trp_search.records import Device, Target
from trp_search.runtimes.exchange import Exchange
from trp_search.runtimes.installed import check_installed
from trp_search.runtimes.onnx import two_of, write_onnx
from trp_search.runtimes.serving import Call, Exchanged, Runtime


def check_openvino() -> None:
    """Raises InputError when OpenVINO, or ONNX, by way of which it reads, is not installed."""
    check_installed("openvino", "openvino", "onnx", "onnxscript")


def write_openvino(network: nn.Module, images: Tensor, path: Path) -> None:
    """Writes `network` to `path`, an XML file, and its weights beside it; arguments as ONNX's."""
    save_openvino(_exported(network, images), path)


def read_openvino(path: Path) -> Any:  # noqa: ANN401  OpenVINO is optional
    """The model of a file, OpenVINO's or ONNX's."""
    return _core().read_model(path)


def _exported(network: nn.Module, images: Tensor) -> Any:  # noqa: ANN401  OpenVINO is optional
    """`network` as a model that takes any batch; `images` are at least two."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "network.onnx"
        write_onnx(network.cpu(), images, path)
        return read_openvino(path)


def save_openvino(model: Any, path: Path) -> None:  # noqa: ANN401  OpenVINO is optional
    """Writes a model to `path`, an XML file, and its weights beside it."""
    _library().save_model(model, path, compress_to_fp16=False)


def openvino_session(
    path: Path, *, threads: int, size: Sequence[int] | None = None
) -> Callable[[Tensor], Tensor]:
    """A function from images to logits: OpenVINO on the network of a file."""
    return _compiled(read_openvino(path), threads=threads, size=size)


@final
class OpenVino(Runtime):
    """The network compiled for the size of its images, in float32."""

    packages = ("torch", "openvino")
    devices = ("cpu",)

    @override
    def check(self, device: Device) -> None:
        super().check(device)
        check_openvino()

    @override
    def prepare(self, network: nn.Module, images: Tensor, target: Target) -> Call:
        return _call(_exported(network, two_of(images)), images, target)

    @override
    def exchange(self, network: nn.Module, images: Tensor, target: Target) -> Exchanged:
        exchange = Exchange(network, two_of(images))
        return lambda parts: exchange.served(
            parts, lambda path: _call(read_openvino(path), images, target)
        )


def _call(model: Any, images: Tensor, target: Target) -> Call:  # noqa: ANN401  OpenVINO is optional
    session = _compiled(model, threads=target.threads, size=images.shape)
    return lambda: session(images)


def _compiled(
    model: Any,  # noqa: ANN401  OpenVINO is optional
    *,
    threads: int,
    size: Sequence[int] | None,
) -> Callable[[Tensor], Tensor]:
    if size is not None:
        model.reshape(list(size))
    options = {
        "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 on processors that have it
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # two networks in turn would share one core with others
    }
    request = _core().compile_model(model, "CPU", options).create_infer_request()
    return lambda images: torch.from_numpy(request.infer([images.numpy()], share_inputs=True)[0])


@functools.cache
def _core() -> Any:  # noqa: ANN401  OpenVINO is optional
    """One for the process: each gives the thread a stack for signals, and takes it when it ends.

    Two that do not end in the order of last in, first out leave one that is gone: the next signal
    with a handler, the user's Ctrl-C among them, is then a segmentation fault.
    """
    return _library().Core()


def _library() -> Any:  # noqa: ANN401  OpenVINO is optional
    # Else each import is told to its makers.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino  # noqa: PLC0415  optional

    return openvino


RUNTIME = OpenVino()
