"""CP decomposition of the baseline's wide convolutions (Lebedev et al., arXiv 1412.6553)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

from typing_extensions import override

from trp_search.methods.method import Factored
from trp_search.records import KEEPS, OF_VALUES


@final
class Cp(Factored):
    """Four layers for each convolution wider than 1 x 1, two of them depthwise."""

    name = "cp"
    label = "CP"
    colour = "#a8791a"
    symbol = "star"

    @override
    def problems(self, possible: Mapping[str, tuple[Any, ...]]) -> Iterator[tuple[str, str]]:
        cut = any(possible.get(f"cut_{name}") for name in KEEPS)  # then the others are of training
        for keep in OF_VALUES:
            name = f"cut_{keep.key()}" if cut else keep.key()
            if any(possible.get(name, ())):
                yield name, "is of singular values, and method cp has none"
