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
    analysed_by,
)
from trp_search.lowrank.costs import MeasuredLayer, measure_each
from trp_search.lowrank.nested import Nested, check_products, factors_of
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
    left, right = layer.sides(*layer.layer.full_ranks)
    return Nested(
        scheme=layer.scheme.name,
        left=left.flip(-1).float().contiguous(),  # spectra have the smallest value first
        right=right.flip(-2).float().contiguous(),
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
        try:
            check_products(given.network, factors)
        except InputError as error:
            raise InputError(
                f"scheme nested: {error}: cut the network as the elastic training left it"
            ) from None
        for row in given.rows:
            own = factors.get(row[0].name)
            if own is None:
                reason = row[0].reason or "it has no nested factors"
                yield AnalysedLayer(layer=row[0], candidates=(), reason=reason)
                continue
            scheme = SCHEMES[own.scheme]
            fit = [layer for layer in row if layer.scheme is scheme]
            yield analysed_by(
                fit,
                [
                    Pair(layer=layer, scheme=scheme, spectra=own, transposed=False)
                    for layer in fit
                    if layer.reason is None
                ],
            )
