"""Every point's layers in few bytes, for the bars of the chosen point."""

from __future__ import annotations

from typing import Any

from trp_search.report import formatting
from trp_search.report.rows import Rows


def encoded(found: Rows) -> dict[str, Any]:
    """The names and reasons, and for each point one short list per layer.

    A list is the layer's place in `names`, its multiply-adds, and then scheme, rank and full rank
    of a factored layer, or the place in `reasons` of what else is to be said. `spectra` has those
    of the front's points and of the baseline's cuts, layer by layer.
    """
    names: dict[str, int] = {}
    reasons: dict[str, int] = {}
    dense: dict[str, int] = {}
    points: dict[str, list[list[int | str]]] = {}
    for row in found.comparable():
        lines: list[list[int | str]] = []
        for layer in row.point.layers:
            place = names.setdefault(layer.name, len(names))
            dense[layer.name] = layer.dense_macs
            if layer.scheme is None or layer.rank is None or layer.full_rank is None:
                why = reasons.setdefault(formatting.unfactored(layer), len(reasons))
                lines.append([place, layer.macs, why])
            else:
                name = formatting.scheme(layer)
                lines.append([place, layer.macs, name, layer.rank, layer.full_rank])
        if lines:
            points[row.point.id] = lines
    return {
        "names": list(names),
        "dense": [dense[name] for name in names],
        "reasons": list(reasons),
        "points": points,
        "spectra": {
            row.point.id: [list(layer.spectrum) for layer in row.point.layers]
            for row in (*found.front, *found.controls)
        },
    }
