"""Analysis of a network before a cut: the options of each layer and their losses.

One analysis serves any number of cuts.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from trp_search import records
from trp_search.lowrank.attention import opened
from trp_search.lowrank.budgets import Count
from trp_search.lowrank.costs import MeasuredLayer, measure_each, outside, settled
from trp_search.lowrank.counter import multiply_adds
from trp_search.lowrank.factoring import Factoring, Ranks
from trp_search.lowrank.kernels import shape_of
from trp_search.lowrank.placing import fill_, replace
from trp_search.lowrank.select import check_finite
from trp_search.lowrank.tracing import full_precision, images_in
from trp_search.lowrank.truncation import sketch
from trp_search.progress import tracked

# Tables of `Options` besides costs.
LOSSES = ("error", "worst", "beyond", "removed")


@dataclass(frozen=True, kw_only=True)
class Candidate(ABC):
    """Options of one layer under one factoring."""

    layer: MeasuredLayer

    @property
    @abstractmethod
    def values(self) -> Tensor:
        """All singular values of the layer; allocations may pool them across layers."""

    @property
    def spectrum(self) -> Tensor:
        """(q,) singular values along the last rank, the largest first."""
        return self.values.sort(descending=True).values

    @abstractmethod
    def wanted(self, keep: records.Keep) -> Ranks:
        """The least ranks that satisfy `keep`, at least 1; `keep` is not a budget."""

    @abstractmethod
    def losses(self, ranks: Tensor) -> Mapping[str, Tensor]:
        """A (K,) table of each of `LOSSES` at (K, n) `ranks`."""

    @abstractmethod
    def factors(self, ranks: Ranks) -> tuple[Tensor, ...]:
        """Weights of the layers that replace this one at `ranks`."""

    def offered(self, count: Count, multiple: int) -> tuple[Tensor, Tensor]:
        """(K, n) ranks, multiples of `multiple`, that save cost by `count`; and their costs."""
        axes = [torch.arange(1, q // multiple + 1) * multiple for q in self.layer.full_ranks]
        ranks = self.layer.scheme.useful(
            shape_of(self.layer.module), torch.cartesian_prod(*axes).reshape(-1, len(axes))
        )
        cost = count.at(self.layer, ranks.unbind(1)).double()
        cheaper = cost < count.dense(self.layer)
        return ranks[cheaper], cost[cheaper]

    def kept(self, parts: Sequence[Tensor], at_cost: Mapping[str, float]) -> Mapping[str, float]:
        """Shares of energy that `parts` keep; `at_cost` has the tables' shares by scheme."""
        del parts
        return at_cost

    def place_(
        self, network: nn.Module, ranks: Ranks, at_cost: Mapping[str, float]
    ) -> records.Layer:
        """Puts the layer's factors at `ranks` into `network`; returns the record."""
        module = self.layer.module
        parts, factors = self.layer.scheme.layers(module, ranks), self.factors(ranks)
        fill_(module, parts, factors)
        replace(network, self.layer.name, nn.Sequential(*parts).train(module.training))
        kept: Any = self.kept(factors, at_cost)
        found = self.layer.factored(ranks)
        return dataclasses.replace(found, kept=dict(kept), spectrum=sketch(self.spectrum))


def losses_at(ranks: Tensor, *, lost: Tensor, values: Tensor) -> Mapping[str, Tensor]:
    """Losses at (K, 1) `ranks`, from the loss at each rank from 0 and the (q,) singular values."""
    (rank,) = ranks.unbind(1)
    ends = torch.cat([values, values.new_zeros(1)])
    worst = (ends / ends.max() if ends.any() else ends).cpu()[rank]
    return {
        "error": lost.cpu()[rank],
        "worst": worst,
        "beyond": worst * float(values.max()),
        "removed": 1 - rank / len(values),
    }


@dataclass(frozen=True, kw_only=True)
class AnalysedLayer:
    """A layer and its candidates; without candidates it stays dense for `reason`."""

    layer: MeasuredLayer
    candidates: tuple[Candidate, ...]
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """A network, its example input, and its layers in order.

    Attributes:
        selection: which layers could be cut; not `auto`.
        macs: multiply-adds of the network for all images.
    """

    network: nn.Module
    example_input: Tensor | Sequence[Any]
    layers: tuple[AnalysedLayer, ...]
    selection: records.Layers
    macs: int

    @property
    def macs_each(self) -> int:
        """Multiply-adds of the network for one image."""
        return self.macs // images_in(self.example_input)

    @property
    def other_macs(self) -> int:
        """Multiply-adds for one image that no layer accounts for."""
        return outside([layer.layer for layer in self.layers], macs=self.macs_each)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A network to analyse.

    Attributes:
        rows: each layer under each factoring that is distinct on it.
        keep: that of the cut.
        batches: of calibration images, None without calibration.
    """

    network: nn.Module
    rows: Sequence[Sequence[MeasuredLayer]]
    keep: records.Keep
    batches: Iterable[Tensor] | None


class Decomposition(ABC):
    """How a cut shrinks layers: the candidates of each layer.

    Attributes:
        factorings: the ways to factor a layer.
        replaces: whether new layers replace the old ones; else the old layers change in place.
    """

    factorings: tuple[Factoring, ...]
    replaces: bool = True

    def settled(
        self, network: nn.Module, example_input: Tensor | Sequence[Any], layers: records.Layers
    ) -> records.Layers:
        """`layers` with `auto` replaced by what suits the network."""
        return settled(network, example_input, layers)

    def measured(
        self, network: nn.Module, example_input: Tensor | Sequence[Any], layers: records.Layers
    ) -> list[list[MeasuredLayer]]:
        """Every layer of `network` under each factoring that is distinct on the layer.

        Raises:
            InputError: no weights of the network could be decomposed in this way.
        """
        found = measure_each(
            network, example_input, self.factorings, layers=layers, replaced=self.replaces
        )
        return [_distinct(row) for row in zip(*found, strict=True)]

    @abstractmethod
    def analysed(self, given: Measured) -> Iterable[AnalysedLayer]:
        """Candidates for each row of `given`."""


class ByWeights(Decomposition):
    """Ranks from weights alone; calibration images play no part."""

    @abstractmethod
    def candidate(self, layer: MeasuredLayer) -> Candidate:
        """Options of the layer."""

    @override
    def analysed(self, given: Measured) -> Iterator[AnalysedLayer]:
        for row in given.rows:
            yield analysed_by(row, [self.candidate(one) for one in row if one.reason is None])


@torch.no_grad()
def analyse(
    network: nn.Module,
    example_input: Tensor | Sequence[Any],
    decomposition: Decomposition,
    wanted: records.Cut,
    batches: Iterable[Tensor] | None = None,
) -> Analysis:
    """Options of every layer of `network`, which is not changed.

    Args:
        network: any module.
        example_input: input of its forward pass.
        decomposition: how layers shrink.
        wanted: the cut to follow; its keep matters only if it is an `Error`.
        batches: images whose activations weight errors; None weights all errors equally.

    Raises:
        InputError: a weight or a calibration value is not finite; there is nothing to cut.
    """
    parts = opened(network, example_input)
    selection = decomposition.settled(parts, example_input, wanted.layers)
    rows = decomposition.measured(parts, example_input, selection)
    for row in rows:
        check_finite(row[0].name, row[0].module)
    with full_precision(network):
        given = Measured(network=parts, rows=rows, keep=wanted.keep, batches=batches)
        found = decomposition.analysed(given)
        layers = tuple(tracked(found, "decomposition", total=len(rows), unit="layers"))
    return Analysis(
        network=network,
        example_input=example_input,
        layers=layers,
        selection=selection,
        macs=multiply_adds(network, example_input),
    )


def analysed_by(row: Sequence[MeasuredLayer], candidates: Iterable[Candidate]) -> AnalysedLayer:
    """The layer of `row` with `candidates`; without candidates, with its reason."""
    found = tuple(candidates)
    return AnalysedLayer(layer=row[0], candidates=found, reason=None if found else row[0].reason)


def _distinct(row: Sequence[MeasuredLayer]) -> list[MeasuredLayer]:
    """`row` without schemes that coincide on this layer: on 1x1 and 1-d, spatial equals channel."""
    on_a_line = isinstance(row[0].module, nn.Conv1d | nn.ConvTranspose1d)
    planes = not on_a_line and shape_of(row[0].module)[2:] != (1, 1)
    return [layer for layer in row if len(row) == 1 or layer.scheme.name != "spatial" or planes]
