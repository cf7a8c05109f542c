"""The only use of ONNX: a network as a file, and the file in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from typing_extensions import override

from trp_search.errors import InputError, one_line
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

    Raises:
        InputError: ONNX is not installed, or torch's exporter cannot write the network.
    """
    check_installed("onnx", "onnx", "onnxscript")
    from onnx import checker  # noqa: PLC0415  optional

    program = _program(network, images, optimize=True)
    program.save(path)
    try:
        checker.check_model(path)
    except checker.ValidationError:  # the optimiser may leave a node without its input
        _program(network, images, optimize=False).save(path)


def two_of(images: Tensor) -> Tensor:
    """The first of some images twice, which is what an export takes."""
    return images[:1].expand(2, -1, -1, -1).clone()


def _program(network: nn.Module, images: Tensor, *, optimize: bool) -> torch.onnx.ONNXProgram:
    batch = torch.export.Dim("batch")
    try:
        with quiet(), _FourAxes():
            program = torch.onnx.export(
                network,
                (images,),
                dynamo=True,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: batch},),
                verbose=False,
                optimize=optimize,
            )
    except torch.onnx.OnnxExporterError as error:
        raise InputError(f"torch cannot write this network to ONNX: {_cause(error)}") from error
    assert program is not None
    _keep_padding_(program)
    _forget_sources_(program)
    return program


def _forget_sources_(program: torch.onnx.ONNXProgram) -> None:
    """Removes the lines of code that each node came from, with their paths on this machine."""
    from onnxscript import ir  # noqa: PLC0415  optional

    graphs: list[ir.Graph | ir.Function] = [program.model.graph, *program.model.functions.values()]
    for graph in graphs:
        for node in ir.traversal.RecursiveGraphIterator(graph):
            node.metadata_props.clear()
            for output in node.outputs:
                output.metadata_props.clear()


def _keep_padding_(program: torch.onnx.ONNXProgram) -> None:
    """Puts a Clip without bounds between padding and a maximum.

    ONNX Runtime (1.31) makes one node of the two, and so loses the zeros where all else is
    negative: a MaxPool leaves its own padding out.
    """
    from onnxscript import ir  # noqa: PLC0415  optional

    graph = program.model.graph
    for node in list(graph):
        padded = node.inputs[0] if node.op_type == "MaxPool" else None
        before = padded.producer() if padded is not None else None
        if before is not None and before.op_type == "Pad":
            kept = ir.node("Clip", [padded])
            graph.insert_before(node, kept)
            node.replace_input_with(0, kept.outputs[0])


def _cause(error: BaseException) -> str:
    """What the exporter met first, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return one_line(error)


class _FourAxes(TorchFunctionMode):
    """Attention over other than four axes, which ONNX's operator lacks, over four."""

    @override
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        del types
        if func is functional.scaled_dot_product_attention:
            return _attention({**dict(zip(_ARGUMENTS, args, strict=False)), **(kwargs or {})})
        return func(*args, **(kwargs or {}))


_ARGUMENTS = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")


def _attention(given: dict[str, Any]) -> Tensor:
    query, key, value = (given[name] for name in _ARGUMENTS[:3])
    mask = given.get("attn_mask")
    if query.dim() not in (2, 4) and not given.get("enable_gqa"):
        given |= {"query": _four(query), "key": _four(key), "value": _four(value)}
        if mask is not None and mask.dim() > 2:
            given["attn_mask"] = _four(mask.expand(*query.shape[:-1], key.shape[-2]))
    found = functional.scaled_dot_product_attention(**given)
    return found.reshape(*query.shape[:-1], value.shape[-1])


def _four(tensor: Tensor) -> Tensor:
    return tensor.unsqueeze(1) if tensor.dim() == 3 else tensor.flatten(1, -3)


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
