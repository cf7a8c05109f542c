"""The only use of ONNX: a network as a file, and the file in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from trp_search.errors import InputError
from trp_search.runtimes.installed import check_installed
from trp_search.runtimes.quiet import quiet

INPUT, OUTPUT = "images", "logits"


def check_onnx() -> None:
    """Raises InputError when ONNX or ONNX Runtime is not installed."""
    check_installed("onnx", "onnx", "onnxscript", "onnxruntime")


def write_onnx(network: nn.Module, images: Tensor, path: Path) -> None:
    """Writes `network` to `path`: input `images` (batch, c, h, w), output `logits`, any batch.

    Args:
        network: in evaluation mode.
        images: at least two images, as the exporter treats a batch of one as constant.
        path: the file; from 2 GB on, a second file beside it has the weights.
    """
    check_installed("onnx", "onnx", "onnxscript")
    batch = torch.export.Dim("batch")
    with quiet():
        program = torch.onnx.export(
            network,
            (images,),
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: batch},),
            verbose=False,
        )
    assert program is not None
    program.save(path)


def onnx_session(path: Path, *, device: str, threads: int) -> Callable[[Tensor], Tensor]:
    """A function from images to logits: ONNX Runtime on the network of a file."""
    check_onnx()
    import onnxruntime  # noqa: PLC0415  optional

    provider = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise InputError(f"onnxruntime: the installed one has no {provider}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Idle threads that spin would slow the other runtime timed in turn.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=[provider])

    if provider not in session.get_providers():
        raise InputError(f"onnxruntime: {provider} does not start here; its libraries are missing")

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0])

    return run
