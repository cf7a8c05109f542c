"""The values that pass between stages: frozen, checked, JSON both ways, no torch."""

from trp_search.records.json import from_json, problem, to_dict, to_json
from trp_search.records.kinds import (
    CutScheme,
    Ending,
    Fraction,
    Layers,
    NonNegative,
    Positive,
    PositiveInt,
    Role,
    Scheme,
    Share,
    Speedup,
    Spread,
    Start,
)
from trp_search.records.latency import Latency, Runtime, Target, TargetName, Threads
from trp_search.records.results import (
    EpochReport,
    Layer,
    Point,
    Repeat,
    Standing,
    TestScore,
    TrialResult,
)
from trp_search.records.specs import Cut, Pruning, Training, TrialSpec
from trp_search.records.workload import DataSpec, NetworkSpec, Workload

__all__ = [
    "Cut",
    "CutScheme",
    "DataSpec",
    "Ending",
    "EpochReport",
    "Fraction",
    "Latency",
    "Layer",
    "Layers",
    "NetworkSpec",
    "NonNegative",
    "Point",
    "Positive",
    "PositiveInt",
    "Pruning",
    "Repeat",
    "Role",
    "Runtime",
    "Scheme",
    "Share",
    "Speedup",
    "Spread",
    "Standing",
    "Start",
    "Target",
    "TargetName",
    "TestScore",
    "Threads",
    "Training",
    "TrialResult",
    "TrialSpec",
    "Workload",
    "from_json",
    "problem",
    "to_dict",
    "to_json",
]
