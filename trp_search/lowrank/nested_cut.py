"""Cuts of a network by the nested factors that it carries, and the factors that one begins with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, final

from torch import Tensor, nn
from typing_extensions import override

from trp_search import records
from trp_search.errors import InputError
from trp_search.lowrank.analysis import (
    AnalysedLayer,
    Analysis,
    Candidate,
    Decomposition,
    Measured,
)
from trp_search.lowrank.costs import MeasuredLayer, measure_each
from trp_search.lowrank.nested import Nested, factors_of
from trp_search.lowrank.schemes import SCHEMES
from trp_search.lowrank.spectral import Pair, Unfolded


def begun(analysis: Analysis) -> dict[str, Nested]:
    """Full factors of each layer that one scheme can factor, from its singular vectors."""
    return {
        layer.layer.name: _begun(layer.candidates[0])
        for layer in analysis.layers
        if layer.candidates
    }


def _begun(layer: Candidate) -> Nested:
    assert isinstance(layer, Unfolded)
    left, right = layer.spectra.factors(*layer.layer.full_ranks)
    sides = (right.mT, left.mT) if layer.transposed else (left, right)
    return Nested(
        scheme=layer.scheme.name,
        left=sides[0].float().contiguous(),
        right=sides[1].float().contiguous(),
        squares=(layer.spectra.values() ** 2).sum(0).float(),
    )


@final
class NestedFactors(Decomposition):
    """Pairs from the nested factors that a network carries."""

    factorings = tuple(SCHEMES.values())

    @override
    def measured(
        self, network: nn.Module, example_input: Tensor | Sequence[Any], layers: records.Layers
    ) -> list[list[MeasuredLayer]]:
        if not factors_of(network):
            raise InputError(
                "the network has no nested factors: they are trained by the method elastic"
            )
        found = measure_each(network, example_input, self.factorings, layers=layers)
        return [list(row) for row in zip(*found, strict=True)]

    @override
    def analysed(self, given: Measured) -> Iterator[AnalysedLayer]:
        factors = factors_of(given.network)
        for row in given.rows:
            own = factors.get(row[0].name)
            layer = next((x for x in row if own is not None and x.scheme.name == own.scheme), None)
            if own is None or layer is None:
                reason = row[0].reason or "it has no nested factors"
                yield AnalysedLayer(layer=row[0], candidates=(), reason=reason)
            elif layer.reason is not None:
                yield AnalysedLayer(layer=layer, candidates=(), reason=layer.reason)
            else:
                scheme = SCHEMES[own.scheme]
                pair = Pair(layer=layer, scheme=scheme, spectra=own, transposed=False)
                yield AnalysedLayer(layer=layer, candidates=(pair,), reason=None)
