"""Measured times: targets, and points timed on them."""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass as checked

from trp_search.records.kinds import (
    STRICT,
    Device,
    Name,
    PositiveInt,
    Size,
    TargetName,
    Threads,
    Times,
)

# Each is a file of `runtimes`.
RuntimeName = Literal["eager", "compile", "onnxruntime", "openvino", "executorch"]


@checked(frozen=True, kw_only=True, config=STRICT)
class Target:
    """A target: the runtime, device and input on which networks are timed.

    Attributes:
        runtime: eager PyTorch, `torch.compile`, ONNX Runtime, OpenVINO or ExecuTorch.
        threads: CPU threads of one call.
        batch: images at a time.
        height: pixels of an image; with `width` the size that is timed.
    """

    name: TargetName
    runtime: RuntimeName = "eager"
    device: Device = "cpu"
    threads: Threads = 1
    batch: PositiveInt = 1
    height: PositiveInt
    width: PositiveInt


@checked(frozen=True, kw_only=True, config=STRICT)
class Latency:
    """One point's time on a target, in turn with the baseline's: medians of rounds.

    Attributes:
        seconds: median of one batch.
        speedup: baseline / point, the median of the rounds' ratios ...
        low: ... and the ends of its 95 % interval.
        batch_norm: whether it was folded before timing, in both networks.
        machine: the processor or GPU.
        versions: those of the runtime.
    """

    point: Name
    target: Target
    seconds: Times
    dense_seconds: Times
    speedup: Times
    low: Times
    high: Times
    rounds: Size
    batch_norm: str
    machine: str
    versions: dict[str, str]

    @property
    def slower(self) -> bool:
        """Whether the point is slower than the baseline: all of the interval is below 1."""
        return self.high < 1
