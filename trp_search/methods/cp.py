"""CP decomposition of the baseline's wide convolutions (Lebedev et al., arXiv 1412.6553)."""

from __future__ import annotations

from typing import final

from trp_search.methods.method import Factored


@final
class Cp(Factored):
    """Four layers for each convolution wider than 1 x 1, two of them depthwise."""

    name = "cp"
    label = "CP"
    colour = "#a8791a"
    symbol = "star"
