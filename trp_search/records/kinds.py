"""Names and bounds that records share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

Scheme = Literal["channel", "spatial", "decoupled"]
PairScheme = Literal["channel", "spatial", "decoupled", "per-layer"]
LayerScheme = Literal["channel", "spatial", "decoupled", "tucker", "cp", "sparse", "pruned"]
CutScheme = Literal[
    "channel",
    "spatial",
    "decoupled",
    "per-layer",
    "nested",
    "tucker",
    "cp",
    "ddlr-style",
    "net-trim",
    "prune",
]
ChannelScore = Literal["magnitude", "bn-scale", "lasso", "thinet"]
# `leading` is the order in which channels stand: the last ones leave first.
Criterion = Literal[ChannelScore, "leading"]
Allocation = Literal["knapsack", "greedy", "alds-style", "energy", "uniform", "pooled"]
MethodName = Literal[
    "trp",
    "nuclear",
    "elastic",
    "plain",
    "decomposable",
    "tucker",
    "cp",
    "ddlr-style",
    "net-trim",
    "prune",
    "slimmable",
]
Reconstruct = Literal["none", "linear", "relu"]
TaskName = Literal["classification"]
Start = Literal["baseline", "scratch"]
Device = Literal["cpu", "cuda"]
Kind = Literal["baseline", "search", "confirm", "refit", "ranks"]
Ending = Literal["finished", "diverged", "failed", "stopped"]
Role = Literal["baseline", "control", "trial", "derived", "screened_out", "refit"]

# What the trial is called that trains the uncompressed network.
BASELINE = "baseline"

PositiveInt = Annotated[int, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]
Factor = Annotated[float, Field(ge=1, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Part = Annotated[float, Field(ge=0, le=1)]
Bounded = Annotated[float, Field(ge=-1e12, le=1e12)]
Most = Annotated[int, Field(le=10**15)]
Count = Annotated[Most, Field(ge=0)]
Size = Annotated[Most, Field(gt=0)]
# Channels in and out, by the name of a module.
Widths = dict[str, tuple[Size, Size]]
# A share that was worked out in floating point: it may pass 1 in its last digits.
Rounded = Annotated[float, Field(ge=-1e-3, le=1.001)]
Seconds = Annotated[float, Field(ge=0, le=1e10)]
Times = Annotated[float, Field(ge=1e-9, le=1e9)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Threads = Annotated[int, Field(gt=0, le=1024)]
# What a file name may begin with, and no separator: trials and points are files of their name.
NAME = r"^[A-Za-z0-9][\w.+-]*$"
Name = Annotated[str, Field(pattern=NAME, max_length=200)]
TargetName = Annotated[Name, Field(max_length=40)]

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)

_NAMES = TypeAdapter[str](Name)


def is_name(text: str) -> bool:
    """Whether this is a valid name of a trial, a point or a target."""
    try:
        _NAMES.validate_python(text)
    except ValidationError:
        return False
    return True
