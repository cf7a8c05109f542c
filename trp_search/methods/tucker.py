"""Tucker-2 of the baseline's wide convolutions (Kim et al., arXiv 1511.06530)."""

from __future__ import annotations

from typing import final

from typing_extensions import override

from trp_search.methods.method import AMOUNT, EVERY, Fields, Method
from trp_search.records import Cut


@final
class Tucker(Method):
    """Three layers for each convolution wider than 1 x 1."""

    name = "tucker"
    label = "Tucker-2"
    colour = "#6d8f1f"
    reads = EVERY | AMOUNT | {"allocation"}

    @override
    def cut(self, fields: Fields) -> Cut:
        return Cut(**{**fields, "scheme": "tucker"})
