"""Measured time as the cost of layers: a table of a few ranks, and what lies between them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from sklearn.isotonic import isotonic_regression
from torch import Tensor, nn
from typing_extensions import override

from trp_search.lowrank.budgets import Count
from trp_search.lowrank.costs import MeasuredLayer
from trp_search.lowrank.factoring import Number


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Milliseconds that one layer saves at some ranks, as measured.

    Attributes:
        step: a runtime pads ranks to a multiple of this, so that others cost what the next costs.
        saved: by rank, multiples of `step`; less than 0 where the pair is slower than the layer.
    """

    step: int
    saved: Mapping[int, float]

    def at(self, ranks: Tensor) -> Tensor:
        """Milliseconds saved at (K,) `ranks`: never more at a higher one.

        Ranks below the lowest measured one save what that one does; those above the highest are on
        no offer, -inf.
        """
        known = sorted(self.saved)
        falling = isotonic_regression([self.saved[rank] for rank in known], increasing=False)
        padded = torch.ceil(ranks / self.step) * self.step
        found = np.interp(padded.numpy(), known, falling, right=-np.inf)
        return torch.from_numpy(np.asarray(found, dtype=np.float64))


@final
@dataclass(frozen=True, kw_only=True)
class LayerTimes(Count):
    """Milliseconds of a network on a target, dense and with one layer in factors.

    A layer's own time is unknown: what it saves is. Dense it counts as its share of the
    multiply-adds, or as the most that it saves if that is more, which moves no choice.

    Attributes:
        total: milliseconds of the dense network.
        saved: by layer and scheme; a layer that was not timed stays dense.
        macs: multiply-adds of the dense network for one image.
    """

    noun = "milliseconds"

    total: float
    saved: Mapping[tuple[str, str], Steps]
    macs: int

    @override
    def dense(self, layer: MeasuredLayer) -> float:
        share = self.total * layer.dense_macs / self.macs
        tables = [steps.saved for (name, _), steps in self.saved.items() if name == layer.name]
        return max([share, *(_MORE * max(saved.values()) for saved in tables)])

    @override
    def at(self, layer: MeasuredLayer, ranks: Sequence[Number]) -> Number:
        rank: Any = torch.as_tensor(ranks[-1])
        steps = self.saved.get((layer.name, layer.scheme.name))
        saved: Any = torch.full(rank.shape, -torch.inf) if steps is None else steps.at(rank)
        cost: Number = self.dense(layer) - saved
        return cost

    @override
    def other(self, network: nn.Module, dense: float | int, *, other_macs: int) -> float:
        return self.total - dense

    def saved_by(self, ranks: Mapping[tuple[str, str], int]) -> float:
        """Milliseconds that layers save together at `ranks`, by layer and scheme."""
        return sum(float(self.saved[key].at(torch.tensor([rank]))) for key, rank in ranks.items())

    def scaled(self, factor: float) -> LayerTimes:
        """The table with all that is saved times `factor`."""
        saved = {
            key: Steps(step=s.step, saved={rank: factor * one for rank, one in s.saved.items()})
            for key, s in self.saved.items()
        }
        return dataclasses.replace(self, saved=saved)


# A layer costs something at any rank.
_MORE = 1.01
