"""AutoML for low-rank neural networks: the most accurate network at the speedup you name."""

from __future__ import annotations

import gc
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trp_search.errors import InputError, NothingFoundError
    from trp_search.export.load import load
    from trp_search.export.write import export_point
    from trp_search.lowrank.decompose import decompose
    from trp_search.records import (
        Energy,
        Error,
        Evbmf,
        GavishDonoho,
        LatencySpeedup,
        Milliseconds,
        Parameters,
        Ratio,
        Speedup,
        Value,
    )
    from trp_search.report.frame import points
    from trp_search.runs.time_layers import time_layers
    from trp_search.search.start import new_search, resume_search
    from trp_search.selection.select import select
    from trp_search.space import load_space
    from trp_search.store import RunFolder
    from trp_search.training.elastic import ElasticTraining
    from trp_search.training.regulariser import TrainedRankPruning

__all__ = [
    "ElasticTraining",
    "Energy",
    "Error",
    "Evbmf",
    "GavishDonoho",
    "InputError",
    "LatencySpeedup",
    "Milliseconds",
    "NothingFoundError",
    "Parameters",
    "Ratio",
    "RunFolder",
    "Speedup",
    "TrainedRankPruning",
    "Value",
    "decompose",
    "export_point",
    "load",
    "load_space",
    "new_search",
    "points",
    "resume_search",
    "select",
    "time_layers",
]

# Looked up on first use: torch and Ray cost seconds to import, a front needs neither.
_HOMES = {
    "ElasticTraining": "training.elastic",
    "Energy": "records",
    "Error": "records",
    "Evbmf": "records",
    "GavishDonoho": "records",
    "InputError": "errors",
    "LatencySpeedup": "records",
    "Milliseconds": "records",
    "NothingFoundError": "errors",
    "Parameters": "records",
    "Ratio": "records",
    "RunFolder": "store",
    "Speedup": "records",
    "TrainedRankPruning": "training.regulariser",
    "Value": "records",
    "decompose": "lowrank.decompose",
    "export_point": "export.write",
    "load": "export.load",
    "load_space": "space",
    "new_search": "search.start",
    "points": "report.frame",
    "resume_search": "search.start",
    "select": "selection.select",
    "time_layers": "runs.time_layers",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  the type checker reads the imports above
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    collecting = gc.isenabled()
    gc.disable()  # looking for garbage among what torch makes would be a tenth of its import
    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    finally:
        if collecting:
            gc.enable()


def __dir__() -> list[str]:
    return __all__
