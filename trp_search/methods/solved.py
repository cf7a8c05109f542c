"""The baseline's linear layers, solved for their outputs: DDLR-style pairs, Net-Trim's zeros."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, final

from typing_extensions import override

from trp_search.methods.method import EVERY, IMAGES, SOLVED, Fields, Method
from trp_search.records import AUTO, Cut, Selection


class _Solved(Method):
    """Solves for the linear layers of the baseline, within an error."""

    reads = EVERY | SOLVED

    @override
    def problems(self, possible: Mapping[str, tuple[Any, ...]]) -> Iterator[tuple[str, str]]:
        if "error" not in possible:
            yield "error", f"is missing, and method {self.name} needs it"

    @override
    def cut(self, fields: Fields) -> Cut:
        images = fields.get("calibration_images") or IMAGES
        chosen = Selection.of(fields.get("layers", AUTO))
        if chosen.word is not None:  # linear layers are in no other word
            chosen = dataclasses.replace(chosen, word="all")
        own = {"scheme": self.name, "calibration_images": images, "layers": str(chosen)}
        return Cut(**{**fields, **own})


@final
class DdlrStyle(_Solved):
    """Pairs of linear layers (after Papadimitriou and Jain, arXiv 2107.05787)."""

    name = "ddlr-style"
    label = "DDLR-style"
    colour = "#1f93a3"
    symbol = "triangle-down"


@final
class NetTrim(_Solved):
    """Linear layers with zeros (Aghasi et al., arXiv 1806.06457)."""

    name = "net-trim"
    label = "Net-Trim"
    colour = "#b3563f"
    symbol = "hexagon"
