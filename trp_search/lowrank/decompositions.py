"""Tables: decompositions for cuts, and factorings to rebuild records by. One line each."""

from __future__ import annotations

from trp_search.lowrank.analysis import Decomposition
from trp_search.lowrank.cp import Cp, CpDecomposition
from trp_search.lowrank.factoring import Factoring
from trp_search.lowrank.linear_cut import LowRank, NetTrim
from trp_search.lowrank.schemes import SCHEMES
from trp_search.lowrank.spectral import Spectral
from trp_search.lowrank.tucker import Tucker
from trp_search.lowrank.tucker_cut import TuckerTwo

FACTORINGS: dict[str, Factoring] = {**SCHEMES, "tucker": Tucker(), "cp": Cp()}

DECOMPOSITIONS: dict[str, Decomposition] = {
    **{name: Spectral(scheme) for name, scheme in SCHEMES.items()},
    "per-layer": Spectral(*SCHEMES.values()),
    "tucker": TuckerTwo(),
    "cp": CpDecomposition(),
    "ddlr-style": LowRank(),
    "net-trim": NetTrim(),
}
