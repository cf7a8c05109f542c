"""Agreement of what a cut reports with a count of the network that is handed over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trp_search import records
from trp_search.errors import InputError

_TOLERANCE = 0.01


def agree(reported: int, counted: int) -> bool:
    """Whether two counts of multiply-adds differ by at most one in a hundred."""
    return abs(reported - counted) <= _TOLERANCE * counted


def check_count(
    layers: Sequence[records.Layer], *, dense: int, counted: Mapping[str, int], images: int
) -> None:
    """Raises InputError, naming a layer, if a cut network multiplies otherwise than it reports.

    Args:
        layers: the cut.
        dense: multiply-adds before it, for all images.
        counted: multiply-adds after it by module, for all images; "" stands for the network.
        images: their number.
    """
    reported = dense - images * sum(x.dense_macs - _running(x) for x in layers)
    if agree(reported, counted[""]):
        return
    apart = {x.name: counted.get(x.name, 0) - images * _running(x) for x in layers}
    # A dense layer that is never seen at work may be part of one that reads its weight.
    known = {x.name for x in layers if x.rank is not None} | set(counted)
    worst = max(known & set(apart), key=lambda name: abs(apart[name]), default=None)
    where = "" if worst is None or not apart[worst] else f"layer {worst!r}: "
    if where:
        found, macs = counted.get(worst, 0) // images, counted.get(worst, 0) - apart[worst]
        where += f"{found:,} multiply-adds for an image counted once cut, not {macs // images:,}; "
    raise InputError(
        f"{where}no speedup can be stated: {counted[''] // images:,} multiply-adds counted for an "
        f"image of the cut network, not {reported // images:,}"
    )


def _running(layer: records.Layer) -> int:
    """Multiply-adds that run: zeros of a sparse layer are multiplied like other weights."""
    return layer.dense_macs if layer.is_sparse else layer.macs
