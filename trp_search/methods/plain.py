"""Nothing but the cut: the baseline's layers as pairs."""

from __future__ import annotations

from typing import final

from typing_extensions import override

from trp_search.methods.method import EVERY, PAIRS, Fields, Method, pairs
from trp_search.records import Cut


@final
class Plain(Method):
    """Cuts the baseline, without a training of its own."""

    name = "plain"
    label = "plain"
    colour = "#8a7f5c"
    reads = EVERY | PAIRS

    @override
    def cut(self, fields: Fields) -> Cut:
        return pairs(fields)
