"""Measured times: targets, and points timed on them."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass as checked

from trp_search.records.int8 import Precision
from trp_search.records.kinds import (
    STRICT,
    Bounded,
    Device,
    LayerScheme,
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


# The scheme and the rank of each factored layer by its name.
Factored = Annotated[dict[str, tuple[LayerScheme, Size]], Field(max_length=10**5)]


@checked(frozen=True, kw_only=True, config=STRICT)
class CutTime:
    """The time of the baseline with some layers in factors, in turn with the baseline itself.

    Attributes:
        precision: of both networks.
        kind: what all these layers are, each in factors of one rank; None where they differ.
        step: the runtime pads ranks of this kind to multiples of it.
        layers: those in factors.
        dense_seconds: median of one batch of the baseline.
        speedup: dense / cut, the median of the rounds' ratios.
        machine: the processor or GPU.
        versions: those of the runtime.
    """

    target: Target
    kind: Annotated[str, Field(max_length=2000)] | None
    step: Size
    layers: Factored
    dense_seconds: Times
    speedup: Times
    machine: str
    versions: dict[str, str]
    precision: Precision = "float32"

    @model_validator(mode="after")
    def _of_one_kind(self) -> CutTime:
        if self.kind is not None and len(set(self.layers.values())) != 1:
            raise ValueError("layers of one kind have one scheme and one rank")
        return self


@checked(frozen=True, kw_only=True, config=STRICT)
class LayerSaves:
    """Milliseconds that a layer saves by a scheme at some ranks, as the runtime pads to `step`.

    `between` are ranks that are no multiples of it, where they are not padded.
    """

    layer: str
    scheme: LayerScheme
    step: Size
    saved: Annotated[dict[Size, Bounded], Field(min_length=1)]
    between: dict[Size, Bounded] = field(default_factory=dict)


@checked(frozen=True, kw_only=True, config=STRICT)
class TimeTable:
    """The layers' times on a target from which a search predicts; it does not change in a run.

    Attributes:
        precision: of the network; in int8 it is timed beside the one in float32, whose table it is
            to be read with.
        milliseconds: of the baseline, for one batch.
        macs: multiply-adds of the baseline for one image.
        shares: by scheme of layers that are not timed one by one, shares of their multiply-adds and
            of their time that they save, as whole networks were timed; ascending.
        machine: the processor or GPU.
        versions: those of the runtime.
    """

    target: Target
    milliseconds: Times
    macs: Size
    layers: tuple[LayerSaves, ...]
    shares: dict[LayerScheme, tuple[tuple[Bounded, Bounded], ...]] = field(default_factory=dict)
    machine: str
    versions: dict[str, str]
    precision: Precision = "float32"


@checked(frozen=True, kw_only=True, config=STRICT)
class Prediction:
    """The time of a network on a target by its layers' times; nothing was timed."""

    target: TargetName
    milliseconds: Times
    dense_milliseconds: Times

    @property
    def speedup(self) -> float:
        """Baseline / network."""
        return self.dense_milliseconds / self.milliseconds

    def missed(self, measured: Latency) -> bool:
        """Whether the time that was measured is over 10 % from this one, as a speedup."""
        return abs(self.speedup / measured.speedup - 1) > _OFF


_OFF = 0.1
UNKNOWN_MILLISECONDS = 1e9


class Predicted:
    """A record with a `predicted` time as an objective reads it; unknown, it is the worst."""

    predicted: Prediction | None

    @property
    def latency_speedup(self) -> float:
        """Time of the baseline over its own, as predicted."""
        return 0.0 if self.predicted is None else self.predicted.speedup

    @property
    def milliseconds(self) -> float:
        """Of one batch, as predicted."""
        return UNKNOWN_MILLISECONDS if self.predicted is None else self.predicted.milliseconds
