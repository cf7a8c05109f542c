"""The ranks that each layer of a trained network may have, from its points alone. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trp_search.records import Layer, Point

Vector = dict[str, int]

_OPTIONS = 12
_LEAST = 1 / 16  # of the most that is useful: ranks below it save little more


@dataclass(frozen=True, kw_only=True)
class Menus:
    """Ranks by layer, and where to begin.

    Attributes:
        options: by layer, ascending; a layer that has none stays dense.
        begun: vectors to try first; one names the layers that are not dense.
    """

    options: Mapping[str, Sequence[int]]
    begun: Sequence[Vector]

    def places(self, vector: Vector) -> dict[str, int]:
        """The place of each layer's rank among its options; dense is behind the last."""
        return {
            name: ranks.index(vector[name]) if name in vector else len(ranks)
            for name, ranks in self.options.items()
        }

    def vector(self, places: Mapping[str, int]) -> Vector:
        """The inverse of `places`."""
        options = self.options.items()
        return {name: ranks[places[name]] for name, ranks in options if places[name] < len(ranks)}


def menus_of(
    alike: Iterable[Point], own: Iterable[Point], others: Iterable[Point], *, multiple: int
) -> Menus:
    """Those of a trained network.

    Args:
        alike: points of one scheme, of any weights: a layer costs as much in each.
        own: the network's own, by whatever scheme: their ranks are among the options.
        others: of other weights, to begin with as well, at the nearest options.
        multiple: ranks are multiples of this.
    """
    costs = {name: cost for name, cost in _costs(alike).items() if cost.most >= multiple}
    begun = [_vector(point, costs, multiple) for point in own]
    options = {
        name: sorted({*cost.options(multiple), *(v[name] for v in begun if name in v)})
        for name, cost in costs.items()
    }
    for point in others:
        found = _vector(point, costs, multiple).items()
        begun.append({name: _nearest(rank, options[name]) for name, rank in found})
    distinct = [vector for place, vector in enumerate(begun) if vector not in begun[:place]]
    return Menus(options=options, begun=distinct)


def _vector(point: Point, costs: Mapping[str, _Cost], multiple: int) -> Vector:
    """The ranks at which layers cost what they cost in `point`."""
    layers = {layer.name: layer for layer in point.layers}
    ranks = {name: cost.rank_of(layers[name], multiple) for name, cost in costs.items()}
    return {name: rank for name, rank in ranks.items() if rank is not None}


@dataclass(frozen=True, kw_only=True)
class _Cost:
    """Multiply-adds of a layer, which are linear in its rank; `most` is its largest useful one."""

    macs: int
    rank: int
    most: int

    def rank_of(self, layer: Layer, multiple: int) -> int | None:
        """The rank at the cost of `layer`, by whatever scheme that is factored; None for dense."""
        if layer.scheme is None:
            return None
        rank = max(1, round(layer.macs * self.rank / self.macs / multiple)) * multiple
        return rank if rank <= self.most else None

    def options(self, multiple: int) -> set[int]:
        """Useful ranks, spaced geometrically."""
        found = np.geomspace(max(1.0, self.most * _LEAST), self.most, _OPTIONS) / multiple
        ranks = {max(1, round(rank)) * multiple for rank in found.tolist()}
        return {rank for rank in ranks if rank <= self.most}


def _costs(points: Iterable[Point]) -> dict[str, _Cost]:
    """Of each layer that is factored in one of `points`."""
    found = {}
    for layer in (layer for point in points for layer in point.layers):
        if layer.rank and layer.full_rank:
            cheaper = (layer.dense_macs * layer.rank - 1) // layer.macs
            most = min(layer.full_rank, cheaper)
            found[layer.name] = _Cost(macs=layer.macs, rank=layer.rank, most=most)
    return found


def _nearest(rank: int, options: Iterable[int]) -> int:
    return min(options, key=lambda one: abs(one - rank))
