"""Layers as pairs, from the truncated SVD of their unfolded kernels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor
from typing_extensions import override

from trp_search import records
from trp_search.lowrank import rules
from trp_search.lowrank.analysis import (
    AnalysedLayer,
    Candidate,
    Decomposition,
    Measured,
    analysed_by,
    losses_at,
)
from trp_search.lowrank.costs import MeasuredLayer
from trp_search.lowrank.factoring import Ranks
from trp_search.lowrank.kernels import groups_of, is_adjoint, kernel, shape_of
from trp_search.lowrank.moments import collect
from trp_search.lowrank.nested import Nested
from trp_search.lowrank.schemes import Scheme
from trp_search.lowrank.truncation import Moments, Spectra, spectra, weighted_spectra, wide

# Past this side double precision costs minutes, and single is still exact to 1e-6.
_DOUBLE_SIDE = 2048


@dataclass(frozen=True, kw_only=True)
class Unfolded(Candidate):
    """One layer under one scheme, at any rank.

    Attributes:
        transposed: whether `spectra` are of the transposed matrices.
    """

    scheme: Scheme
    spectra: Spectra | Nested
    transposed: bool

    @property
    @override
    def values(self) -> Tensor:
        return self.spectra.values().flatten()

    @property
    @override
    def spectrum(self) -> Tensor:
        return self.spectra.values().double().amax(0)

    @override
    def losses(self, ranks: Tensor) -> Mapping[str, Tensor]:
        lost = self.spectra.lost(layers=1)[0].double()
        return losses_at(ranks, lost=lost, values=self.spectrum)

    @override
    def factors(self, ranks: Ranks) -> tuple[Tensor, ...]:
        module = self.layer.module
        lefts, rights = (side.chunk(groups_of(module)) for side in self.sides(*ranks))
        pairs = zip(lefts, rights, strict=True)
        found = [self.scheme.factors(*pair, shape_of(module)) for pair in pairs]
        return tuple(torch.cat(each) for each in zip(*found, strict=True))

    def sides(self, rank: int) -> tuple[Tensor, Tensor]:
        """(b, m, r) and (b, r, n) factors of the scheme's matrices."""
        left, right = self.spectra.factors(rank)
        return (right.mT, left.mT) if self.transposed else (left, right)


@final
@dataclass(frozen=True, kw_only=True)
class Pair(Unfolded):
    """A pair with ranks from its singular values."""

    @override
    def wanted(self, keep: records.Keep) -> Ranks:
        longer = max(self.spectra.matrices.shape[-2:])
        return (rules.most(keep, self.spectra.values(), longer=longer),)


@final
class Spectral(Decomposition):
    """Pairs by one scheme, or by the best of several in each layer."""

    def __init__(self, *schemes: Scheme) -> None:
        self.factorings = schemes
        self._schemes: dict[str, Scheme] = {scheme.name: scheme for scheme in schemes}

    @override
    def analysed(self, given: Measured) -> Iterator[AnalysedLayer]:
        moments: dict[tuple[str, str], Moments] = {}
        if given.batches is not None:
            wanted = {
                fit[0].name: (fit[0].module, [self._schemes[layer.scheme.name] for layer in fit])
                for row in given.rows
                if (fit := [layer for layer in row if layer.reason is None])
            }
            moments = collect(given.network, given.batches, wanted)
        for row in given.rows:
            fit = [layer for layer in row if layer.reason is None]
            keys = [(layer.name, layer.scheme.name) for layer in fit]
            yield analysed_by(
                row,
                [
                    _pair(layer, self._schemes[key[1]], moments.pop(key, None))
                    for layer, key in zip(fit, keys, strict=True)
                ],
            )


def _pair(layer: MeasuredLayer, scheme: Scheme, moments: Moments | None) -> Pair:
    stored = scheme.unfolded(kernel(layer.module), shape_of(layer.module))
    double = min(stored.shape[1:]) <= _DOUBLE_SIDE
    matrices = stored.double() if double else stored.float()
    if moments is None:
        turned, transposed = wide(matrices)
        found = spectra(turned)
    else:
        transposed = scheme.reads_rows != is_adjoint(layer.module)
        found = weighted_spectra(matrices.mT if transposed else matrices, moments)
    # Those of all layers in double precision would take twice the network's memory.
    found = replace(found, matrices=stored.mT if transposed else stored)
    return Pair(layer=layer, scheme=scheme, spectra=found, transposed=transposed)
