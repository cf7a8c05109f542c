"""Decompositions by the scheme of a cut, and factorings by that of a layer. One line for each."""

from __future__ import annotations

from trp_search.lowrank.analysis import Decomposition
from trp_search.lowrank.cp import CpDecomposition
from trp_search.lowrank.factoring import Factoring
from trp_search.lowrank.linear_cut import LowRank, NetTrim
from trp_search.lowrank.nested_cut import NestedFactors
from trp_search.lowrank.schemes import SCHEMES
from trp_search.lowrank.spectral import Spectral
from trp_search.lowrank.tucker_cut import TuckerTwo

DECOMPOSITIONS: dict[str, Decomposition] = {
    **{name: Spectral(scheme) for name, scheme in SCHEMES.items()},
    "per-layer": Spectral(*SCHEMES.values()),
    "nested": NestedFactors(),
    "tucker": TuckerTwo(),
    "cp": CpDecomposition(),
    "ddlr-style": LowRank(),
    "net-trim": NetTrim(),
}

FACTORINGS: dict[str, Factoring] = {
    factoring.name: factoring for one in DECOMPOSITIONS.values() for factoring in one.factorings
}
