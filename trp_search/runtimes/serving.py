"""A network made ready for a target: a function of no arguments that gives one batch's logits."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from trp_search.errors import InputError
from trp_search.records import Runtime, Target
from trp_search.runtimes.fold import fold_batch_norm
from trp_search.runtimes.onnx import check_installed, onnx_session, write_onnx
from trp_search.runtimes.quiet import quiet

Call = Callable[[], Tensor]


def ready(network: nn.Module, images: Tensor, target: Target) -> Call:
    """`network` at work on `images` (batch, c, h, w) under the target's runtime and device.

    Each call waits for its answer. CPU threads are the caller's to set, but for ONNX Runtime's.

    Raises:
        InputError: the runtime or the device is not there, or the runtime refuses the network.
    """
    check_device(target.device)
    return _RUNTIMES[target.runtime](network.eval(), images, target)


def serve(
    network: nn.Module, target: Target, *, channels: int, fold: bool = True
) -> tuple[Call, str]:
    """`network`, its batch norms folded, at work on a batch of noise; and what was folded.

    The noise is the same in every process. Raises as `ready` does.
    """
    size = (target.batch, channels, target.height, target.width)
    images = torch.randn(size, generator=torch.Generator().manual_seed(0))
    folded, batch_norm = fold_batch_norm(network, images) if fold else (network, "not folded")
    return ready(folded, images, target), batch_norm


def check_runtime(runtime: Runtime, device: str) -> None:
    """Raises InputError where a target cannot be served on this machine."""
    check_device(device)
    if runtime == "onnxruntime":
        check_installed()


def check_device(device: str) -> None:
    """Raises InputError where this machine has no such device."""
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device: cuda: this machine has no GPU that PyTorch can use")


def _eager(network: nn.Module, images: Tensor, target: Target) -> Call:
    network, images = network.to(target.device), images.to(target.device)

    def call() -> Tensor:
        with torch.inference_mode():
            logits: Tensor = network(images)
        if images.is_cuda:
            torch.cuda.synchronize()
        return logits

    return call


def _compiled(network: nn.Module, images: Tensor, target: Target) -> Call:
    torch.compiler.reset()  # or the eighth network of one class would run as it is, silently
    network.compile()
    call = _eager(network, images, target)
    try:
        with quiet():
            call()
    except Exception as error:  # noqa: BLE001  compilers raise anything
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"torch.compile cannot serve this network: {lines[0][:200]}") from None
    return call


def _onnxruntime(network: nn.Module, images: Tensor, target: Target) -> Call:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "network.onnx"
        write_onnx(network.cpu(), images[:1].expand(2, -1, -1, -1).clone(), path)
        session = onnx_session(path, device=target.device, threads=target.threads)
    return lambda: session(images)


_RUNTIMES: dict[str, Callable[[nn.Module, Tensor, Target], Call]] = {
    "eager": _eager,
    "compile": _compiled,
    "onnxruntime": _onnxruntime,
}
