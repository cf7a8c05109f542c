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
    # A dense layer that is never seen at work may be part of one that reads its weight.
    seen = [layer for layer in layers if layer.rank is not None or layer.name in counted]
    pairs = [(x.name, counted.get(x.name, 0) // images, _running(x)) for x in seen]
    name, found, told = max(pairs, key=lambda pair: abs(pair[1] - pair[2]), default=("", 0, 0))
    where = f"layer {name!r}: {found:,} multiply-adds for an image once cut, not {told:,}; "
    # Positions that are not of each image are rounded up to a number for each.
    one = "; give an example_input of one image, batch first" if found < told else ""
    raise InputError(
        f"{where if found != told else ''}no speedup can be stated: {counted[''] // images:,} "
        f"multiply-adds counted for an image of the cut network, not {reported // images:,}{one}"
    )


def _running(layer: records.Layer) -> int:
    """Multiply-adds that run: zeros of a sparse layer are multiplied like other weights."""
    return layer.dense_macs if layer.is_sparse else layer.macs
