"""Time on the clock: where a network is to run, and what was measured there."""

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
RuntimeName = Literal["eager", "compile", "onnxruntime"]


@checked(frozen=True, kw_only=True, config=STRICT)
class Target:
    """Where a network is to run.

    Attributes:
        runtime: eager PyTorch, `torch.compile` or ONNX Runtime.
        threads: CPU threads of one call.
        batch: images at a time.
        height: pixels of an image; with `width` what the network is timed on.
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
    """One point's time on a target, beside the dense network's: medians of rounds in turn.

    Attributes:
        seconds: of one batch.
        speedup: dense / decomposed, the median of the rounds' ratios ...
        low: ... and the ends of its 95 % interval.
        batch_norm: whether it was folded before, in both networks.
        machine: the processor or GPU.
        versions: of what ran it.
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
