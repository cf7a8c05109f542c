"""How a point's network was quantised to int8."""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass as checked

from trp_search.records.kinds import STRICT, Name, Positive, Size

# In which a trial's network is served.
Precision = Literal["float32", "int8"]
# Each has a file of `runtimes`; with the name's end of its networks' files.
QuantizerName = Literal["onnxruntime", "openvino"]
USUAL_QUANTIZER: QuantizerName = "onnxruntime"
SUFFIXES: dict[QuantizerName, str] = {"onnxruntime": ".onnx", "openvino": ".xml"}


@checked(frozen=True, kw_only=True, config=STRICT)
class Int8:
    """The quantisation that made a point of another one.

    Attributes:
        of: the point with the float network.
        runtime: whose tool quantised it, and which alone runs it.
        images: training images that it was calibrated on.
        in_float: layers that were left in float to keep within `max_drop`.
        max_drop: what it may lose of the float network's metric on validation, if that was asked.
        machine: the processor that it was quantised for and scored on.
        versions: those of the tool and the runtime.
    """

    of: Name
    runtime: QuantizerName
    images: Size
    in_float: tuple[str, ...] = ()
    max_drop: Positive | None = None
    machine: str
    versions: dict[str, str]


def int8_name(of: str, runtime: QuantizerName, max_drop: float | None = None) -> str:
    """The id of a point's int8 form: `3-int8`, `3-int8-openvino`, `3-int8-within-0.01`."""
    tool = "" if runtime == USUAL_QUANTIZER else f"-{runtime}"
    limit = "" if max_drop is None else f"-within-{max_drop:g}"
    return f"{of}-int8{tool}{limit}"
