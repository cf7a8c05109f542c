"""The rank of every layer of every front point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trp_search.records import Layer
from trp_search.report.rows import Row


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """A table: one line per layer, one column per front point.

    A cell is None if a point has no layer of that name.
    """

    layers: tuple[str, ...]
    rows: tuple[Row, ...]
    cells: tuple[tuple[Layer | None, ...], ...]


def table(front: Sequence[Row]) -> Ranks | None:
    """Every layer in the network's order, or None when no front point has layers."""
    found = [{layer.name: layer for layer in row.point.layers} for row in front]
    names = tuple(dict.fromkeys(name for layers in found for name in layers))
    if not names:
        return None
    return Ranks(
        layers=names,
        rows=tuple(front),
        cells=tuple(tuple(layers.get(name) for layers in found) for name in names),
    )


def kept(layer: Layer | None) -> float | None:
    """Rank over full rank; None for a layer that stayed dense."""
    if layer is None or layer.rank is None or layer.full_rank is None:
        return None
    return layer.rank / layer.full_rank
