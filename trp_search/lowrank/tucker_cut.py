"""Layers as triples, by Tucker-2: a pair of ranks per layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import override

from trp_search import records
from trp_search.lowrank import tucker
from trp_search.lowrank.analysis import ByWeights, Candidate
from trp_search.lowrank.costs import MeasuredLayer
from trp_search.lowrank.factoring import Ranks
from trp_search.lowrank.kernels import kernel


@final
@dataclass(frozen=True, kw_only=True)
class Triple(Candidate):
    """One layer as a core between two 1 x 1; `keep` applies to both its channel axes."""

    modes: tucker.Modes

    @property
    @override
    def values(self) -> Tensor:
        return torch.cat([self.modes.values_in, self.modes.values_out])

    @property
    @override
    def spectrum(self) -> Tensor:
        return self.modes.values_out

    @override
    def wanted(self, keep: records.Keep) -> Ranks:
        return self.modes.ranks(keep)

    @override
    def losses(self, ranks: Tensor) -> Mapping[str, Tensor]:
        """The energy loss is joint; each other loss is that of the worse axis."""
        modes, (into, out) = self.modes, ranks.unbind(1)
        ends = [functional.pad(values, (0, 1)) for values in (modes.values_in, modes.values_out)]
        tiny = torch.finfo(modes.lost.dtype).tiny
        by_axis = {
            "worst": [values / values[0].clamp_min(tiny) for values in ends],
            "beyond": ends,
            "removed": [1 - torch.arange(len(x)).double() / (len(x) - 1) for x in ends],
        }
        worse = {
            n: torch.maximum(one.cpu()[into], two.cpu()[out]) for n, (one, two) in by_axis.items()
        }
        return {"error": modes.lost.cpu()[into, out]} | worse

    @override
    def factors(self, ranks: Ranks) -> tuple[Tensor, ...]:
        rank_in, rank_out = ranks
        weight = kernel(self.layer.module)
        return tucker.factorise(weight, rank_in=rank_in, rank_out=rank_out)

    @override
    def kept(self, parts: Sequence[Tensor], at_cost: Mapping[str, float]) -> Mapping[str, float]:
        return {"tucker": tucker.retained(kernel(self.layer.module), parts[1])}


@final
class TuckerTwo(ByWeights):
    """Three layers for each convolution wider than 1 x 1."""

    factorings = (tucker.TuckerFactoring(),)

    @override
    def candidate(self, layer: MeasuredLayer) -> Triple:
        return Triple(layer=layer, modes=tucker.modes(kernel(layer.module)))
