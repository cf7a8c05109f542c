"""CP decomposition of the baseline's wide convolutions (Lebedev et al., arXiv 1412.6553)."""

from __future__ import annotations

from typing import final

from typing_extensions import override

from trp_search.methods.method import AMOUNT, EVERY, Fields, Method
from trp_search.records import Cut


@final
class Cp(Method):
    """Four layers for each convolution wider than 1 x 1, two of them depthwise."""

    name = "cp"
    label = "CP"
    colour = "#a8791a"
    reads = EVERY | AMOUNT | {"allocation"}

    @override
    def cut(self, fields: Fields) -> Cut:
        return Cut(**{**fields, "scheme": "cp"})
