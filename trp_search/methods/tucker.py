"""Tucker-2 of the baseline's wide convolutions (Kim et al., arXiv 1511.06530)."""

from __future__ import annotations

from typing import final

from trp_search.methods.method import Factored


@final
class Tucker(Factored):
    """Three layers for each convolution wider than 1 x 1."""

    name = "tucker"
    label = "Tucker-2"
    colour = "#6d8f1f"
    symbol = "pentagon"
