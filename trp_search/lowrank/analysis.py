"""What is known of a network before it is cut: every layer's spectra and costs under each scheme.

Made once, it serves any number of cuts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trp_search import records
from trp_search.lowrank.costs import MeasuredLayer, measure
from trp_search.lowrank.moments import collect
from trp_search.lowrank.schemes import SCHEMES, Scheme, kernel, shape_of
from trp_search.lowrank.select import check_finite
from trp_search.lowrank.truncation import (
    Moments,
    Spectra,
    sketch,
    spectra,
    weighted_spectra,
    wide,
)

# Past this side double precision costs minutes, and single is still exact to 1e-6.
_DOUBLE_SIDE = 2048


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One layer under one scheme.

    Attributes:
        transposed: whether `spectra` are of the transposed matrices.
    """

    layer: MeasuredLayer
    spectra: Spectra
    transposed: bool

    @property
    def scheme(self) -> Scheme:
        """How the kernel is unfolded."""
        return self.layer.scheme

    def factors(self, rank: int) -> tuple[Tensor, Tensor]:
        """Weights of the two layers at `rank`."""
        left, right = self.spectra.factors(rank)
        sides = (right.mT, left.mT) if self.transposed else (left, right)
        n, c, kh, kw = kernel(self.layer.module).shape
        return self.scheme.factors(*sides, (n, c, kh, kw))

    def lost(self) -> Tensor:
        """(q + 1,) share of the squared singular values beyond each rank from 0, float64."""
        return self.spectra.lost(layers=1)[0].double()

    def sketch(self) -> tuple[float, ...]:
        """Some singular values over the largest; see `sketch`."""
        return sketch(self.next_values()[:-1])

    def next_values(self) -> Tensor:
        """(q + 1,) the largest lost singular value over the largest, for each rank from 0."""
        values = self.spectra.values().double().amax(0)
        ends = torch.cat([values, values.new_zeros(1)])
        return ends / ends[0] if ends[0] > 0 else torch.zeros_like(ends)


@dataclass(frozen=True, kw_only=True)
class AnalysedLayer:
    """A layer and what can become of it; without candidates it stays dense for `reason`."""

    layer: MeasuredLayer
    candidates: tuple[Candidate, ...]
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """A network, what it takes, and its layers in order."""

    network: nn.Module
    example_input: Tensor | Sequence[Any]
    layers: tuple[AnalysedLayer, ...]


@torch.no_grad()
def analyse(
    network: nn.Module,
    example_input: Tensor | Sequence[Any],
    *,
    scheme: records.CutScheme,
    layers: records.Layers,
    calibration: Iterable[Tensor] | None = None,
) -> Analysis:
    """The spectra and costs of every layer of `network`, which is not changed.

    Args:
        network: any module.
        example_input: what its forward pass takes.
        scheme: one, or `per-layer` for all of them.
        layers: which layers may be cut.
        calibration: batches of images whose activations weigh errors; None weighs all alike.

    Raises:
        InputError: a weight, or a value met in calibration, is not finite.
    """
    chosen = list(SCHEMES.values()) if scheme == "per-layer" else [SCHEMES[scheme]]
    found = [measure(network, example_input, one, layers=layers) for one in chosen]
    rows = [_distinct(row) for row in zip(*found, strict=True)]
    for row in rows:
        check_finite(row[0].name, row[0].module)
    moments: dict[tuple[str, str], Moments] = {}
    if calibration is not None:
        wanted = {
            fit[0].name: (fit[0].module, [layer.scheme for layer in fit])
            for row in rows
            if (fit := [layer for layer in row if layer.reason is None])
        }
        moments = collect(network, calibration, wanted)
    device = next((parameter.device.type for parameter in network.parameters()), "cpu")
    with torch.autocast(device, enabled=False):
        analysed = tuple(_analysed(row, moments) for row in rows)
    return Analysis(network=network, example_input=example_input, layers=analysed)


def _distinct(row: Sequence[MeasuredLayer]) -> list[MeasuredLayer]:
    """Without schemes that are the same thing on this layer: on 1x1, spatial is channel."""
    pointwise = shape_of(row[0].module)[2:] == (1, 1)
    return [
        layer for layer in row if len(row) == 1 or layer.scheme.name != "spatial" or not pointwise
    ]


def _analysed(
    row: Sequence[MeasuredLayer], moments: dict[tuple[str, str], Moments]
) -> AnalysedLayer:
    fit = [layer for layer in row if layer.reason is None]
    return AnalysedLayer(
        layer=row[0],
        candidates=tuple(_candidate(layer, moments.pop(_key(layer), None)) for layer in fit),
        reason=None if fit else row[0].reason,
    )


def _key(layer: MeasuredLayer) -> tuple[str, str]:
    return layer.name, layer.scheme.name


def _candidate(layer: MeasuredLayer, moments: Moments | None) -> Candidate:
    matrices = layer.scheme.matrices(kernel(layer.module))
    double = min(matrices.shape[1:]) <= _DOUBLE_SIDE
    matrices = matrices.double() if double else matrices.float()
    if moments is None:
        turned, transposed = wide(matrices)
        return Candidate(layer=layer, spectra=spectra(turned), transposed=transposed)
    transposed = layer.scheme.reads_rows
    turned = matrices.mT if transposed else matrices
    return Candidate(layer=layer, spectra=weighted_spectra(turned, moments), transposed=transposed)
