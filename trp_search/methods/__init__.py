"""Compression methods: one file for each method, and the table of all. No torch.

A new method is a file here, a line in `METHODS` and its name in `records.kinds`; a new
decomposition is a file in `lowrank` and a line in `lowrank.decompositions`.
"""

from __future__ import annotations

from trp_search.methods.cp import Cp
from trp_search.methods.decomposable import Decomposable
from trp_search.methods.elastic import Elastic
from trp_search.methods.method import Method
from trp_search.methods.plain import Plain
from trp_search.methods.prune import Prune
from trp_search.methods.slimmable import Slimmable
from trp_search.methods.solved import DdlrStyle, NetTrim
from trp_search.methods.trp import Nuclear, Trp
from trp_search.methods.tucker import Tucker

__all__ = ["METHODS", "Method", "uses"]

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Trp(),
        Nuclear(),
        Elastic(),
        Plain(),
        Decomposable(),
        Tucker(),
        Cp(),
        DdlrStyle(),
        NetTrim(),
        Prune(),
        Slimmable(),
    )
}


def uses(method: str, name: str) -> bool:
    """Whether a method reads the entry `name`; training entries are for methods that train."""
    known = any(name in other.reads for other in METHODS.values())
    return name in METHODS[method].reads if known else METHODS[method].trains
