"""Simpler linear layers after training, from their outputs on calibration images.

Layers are independent: each keeps its outputs on the inputs that the uncut network gives it
(Net-Trim's parallel mode; its cascade mode, where inputs come from layers already cut, is not
here). The two problems are in `convex`.
"""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from typing_extensions import override

from trp_search import records
from trp_search.errors import InputError
from trp_search.lowrank.analysis import LOSSES, AnalysedLayer, Candidate, Decomposition, Measured
from trp_search.lowrank.attention import weight_at
from trp_search.lowrank.budgets import Count
from trp_search.lowrank.convex import (
    TOLERANCE,
    Guarantee,
    Shrink,
    Solution,
    guarantee,
    singular_value_threshold,
    soft_threshold,
    solve,
)
from trp_search.lowrank.costs import MeasuredLayer, measure
from trp_search.lowrank.factoring import Ranks
from trp_search.lowrank.followers import followers
from trp_search.lowrank.kernels import kernel, shape_of
from trp_search.lowrank.plain import is_plain
from trp_search.lowrank.schemes import Channel
from trp_search.lowrank.spectral import Unfolded
from trp_search.lowrank.tracing import watch
from trp_search.lowrank.truncation import Spectra, spectra, wide


class Solved(Decomposition):
    """Linear layers alone, each by a convex problem.

    Each loses at most the share `Error` of its outputs' norm on all calibration images together, to
    within a thousandth of that (`convex.TOLERANCE`) and the rounding to the network's precision. A
    layer for which no such weight is found stays dense. Where a ReLU follows, the guarantee is on
    the ReLU's outputs. The ReLU is found where torch.fx can trace the network and the ReLU alone
    reads the layer; elsewhere, as inside torch's own transformer blocks, no ReLU is assumed. Inputs
    of all layers are held at once, in double precision.
    """

    name: str
    factorings = (Channel(),)
    shrink: Shrink

    @override
    def settled(
        self, network: nn.Module, example_input: Tensor | Sequence[Any], layers: records.Layers
    ) -> records.Layers:
        selection = records.Selection.of(layers)
        word = "all" if selection.word == records.AUTO else selection.word
        return str(dataclasses.replace(selection, word=word))

    @override
    def measured(
        self, network: nn.Module, example_input: Tensor | Sequence[Any], layers: records.Layers
    ) -> list[list[MeasuredLayer]]:
        found = super().measured(network, example_input, layers)
        if not any(isinstance(layer.module, nn.Linear) for (layer,) in found):
            raise InputError(f"scheme: {self.name}: the network has no linear layer: nothing to do")
        return found

    @override
    def analysed(self, given: Measured) -> Iterator[AnalysedLayer]:
        keep, network = given.keep, given.network
        assert isinstance(keep, records.Error), keep
        fit = {
            layer.name: layer.module
            for (layer,) in given.rows
            if layer.reason is None and isinstance(layer.module, nn.Linear)
            if is_plain(layer.module)
        }
        inputs, following = _inputs(network, given.batches or (), fit), followers(network)
        rectified = {name for name, one in following.items() if one.relu and one.norm is None}
        for (layer,) in given.rows:
            found: Candidate | str = layer.reason or "not called on calibration images"
            if not isinstance(layer.module, nn.Linear):
                found = "not a linear layer"
            elif layer.reason is None and not is_plain(layer.module):
                found = "its weight is computed from another"
            elif layer.name in inputs:
                asked = guarantee(
                    layer.module.weight,
                    layer.module.bias,
                    inputs[layer.name],
                    error=keep.error,
                    rectified=layer.name in rectified,
                )
                found = self._candidate(layer, asked, error=keep.error)
            if isinstance(found, str):
                yield AnalysedLayer(layer=layer, candidates=(), reason=found)
            else:
                yield AnalysedLayer(layer=layer, candidates=(found,), reason=None)

    def _candidate(
        self, layer: MeasuredLayer, asked: Guarantee, *, error: float
    ) -> Candidate | str:
        found = solve(asked, self.shrink)
        if found.excess > TOLERANCE:
            return f"no weight within error {error:g} after {found.iterations} iterations"
        return self.made(layer, asked, found)

    @abstractmethod
    def made(self, layer: MeasuredLayer, asked: Guarantee, solution: Solution) -> Candidate:
        """The candidate from the weight that solves the layer's problem."""


@final
@dataclass(frozen=True, kw_only=True)
class SolvedPair(Unfolded):
    """The pair of a solved weight, at the least rank that keeps the guarantee."""

    scheme: Channel
    spectra: Spectra
    least: int

    @override
    def wanted(self, keep: records.Keep) -> Ranks:
        return (self.least,)

    @override
    def kept(self, parts: Sequence[Tensor], at_cost: Mapping[str, float]) -> Mapping[str, float]:
        return {}  # energies of the solution say nothing of the layer's


@final
class LowRank(Solved):
    """Pairs of layers, recorded as `channel`, by the nuclear norm: DDLR-style."""

    name = "ddlr-style"
    shrink = staticmethod(singular_value_threshold)

    @override
    def made(self, layer: MeasuredLayer, asked: Guarantee, solution: Solution) -> Candidate:
        turned, transposed = wide(solution.weight.unsqueeze(0))
        found = spectra(turned)
        least = max(1, _smallest_rank(found, asked, transposed=transposed))
        return SolvedPair(
            layer=layer, scheme=Channel(), spectra=found, transposed=transposed, least=least
        )


def _smallest_rank(found: Spectra, asked: Guarantee, *, transposed: bool) -> int:
    """By bisection: a rank within the guarantee whose next lower rank is not."""
    below, within = -1, found.squares.shape[-1]
    while within - below > 1:
        rank = (below + within) // 2
        kept = found.last(torch.tensor([rank], device=found.squares.device))
        weight = found.truncated(kept)[0]
        if asked.excess(weight.mT if transposed else weight) <= TOLERANCE:
            within = rank
        else:
            below = rank
    return within


@final
@dataclass(frozen=True, kw_only=True)
class Sparse(Candidate):
    """A layer that is not factored, with zeros among its weights."""

    weight: Tensor

    @property
    @override
    def values(self) -> Tensor:
        return self.weight.new_zeros(1)

    @override
    def wanted(self, keep: records.Keep) -> Ranks:
        return ()

    @override
    def offered(self, count: Count, multiple: int) -> tuple[Tensor, Tensor]:
        return torch.empty(1, 0, dtype=torch.long), torch.zeros(1).double()

    @override
    def losses(self, ranks: Tensor) -> Mapping[str, Tensor]:
        return dict.fromkeys(LOSSES, torch.zeros(len(ranks)))

    @override
    def factors(self, ranks: Ranks) -> tuple[Tensor, ...]:
        return (self.weight,)

    @override
    def place_(
        self, network: nn.Module, ranks: Ranks, at_cost: Mapping[str, float]
    ) -> records.Layer:
        packed, rows = weight_at(network, self.layer.name)
        weight = packed.detach()[rows].copy_(self.weight)
        return _sparse_record(self.layer, nonzeros=int(weight.count_nonzero()))


@final
class NetTrim(Solved):
    """Weights with zeros, recorded as `sparse`, by the sum of absolute entries."""

    name = "net-trim"
    shrink = staticmethod(soft_threshold)
    replaces = False  # it only writes zeros into weights

    @override
    def made(self, layer: MeasuredLayer, asked: Guarantee, solution: Solution) -> Candidate:
        return Sparse(layer=layer, weight=solution.weight)


def sparse_layers(
    network: nn.Module, example_input: Tensor, names: Container[str]
) -> tuple[records.Layer, ...]:
    """Records of the layers `names`, with costs from the zeros in their weights."""
    return tuple(
        _sparse_record(layer, nonzeros=int(kernel(layer.module).count_nonzero()))
        for layer in measure(network, example_input, Channel(), layers="all", replaced=False)
        if layer.name in names
    )


def _sparse_record(layer: MeasuredLayer, *, nonzeros: int) -> records.Layer:
    weights, dense = math.prod(shape_of(layer.module)), layer.dense(None)
    return dataclasses.replace(
        dense,
        scheme="sparse",
        macs=dense.dense_macs // weights * nonzeros,
        parameters=dense.dense_parameters - weights + nonzeros,
    )


def _inputs(
    network: nn.Module, batches: Iterable[Tensor], modules: Mapping[str, nn.Module]
) -> dict[str, Tensor]:
    """(n, p) float64 inputs of each of `modules` in forward passes over `batches`."""
    read: dict[str, list[Tensor]] = {name: [] for name in modules}

    def note(name: str, module: nn.Module, given: Tensor, output: Tensor) -> None:
        weight = module.weight
        assert isinstance(weight, Tensor)
        if not (output.isfinite().all() and given.isfinite().all() and weight.isfinite().all()):
            raise InputError(f"calibration: layer {name!r} meets a value that is not finite")
        # A copy, since later operations may work in place.
        read[name].append(given.movedim(-1, 0).flatten(1).to(torch.float64, copy=True))

    watch(network, modules, note, batches)
    return {name: torch.cat(parts, 1) for name, parts in read.items() if parts}
