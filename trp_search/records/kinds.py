"""Names and bounds that records share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

Scheme = Literal["channel", "spatial", "decoupled"]
LayerScheme = Literal["channel", "spatial", "decoupled", "tucker", "sparse"]
CutScheme = Literal[
    "channel", "spatial", "decoupled", "per-layer", "tucker", "ddlr-style", "net-trim"
]
Spread = Literal["knapsack", "greedy", "alds-style", "energy", "uniform", "pooled"]
Method = Literal["trp", "nuclear", "plain", "decomposable", "tucker", "ddlr", "net-trim"]
Reconstruct = Literal["none", "linear", "relu"]
Layers = Literal["kxk", "all"]
Start = Literal["baseline", "scratch"]
Ending = Literal["finished", "diverged", "failed", "stopped"]
Role = Literal["baseline", "control", "trial", "derived", "raced", "refit"]

PositiveInt = Annotated[int, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1)]
Speedup = Annotated[float, Field(ge=1, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Part = Annotated[float, Field(ge=0, le=1)]

STRICT = ConfigDict(extra="forbid")
