"""The baseline's linear layers, solved for what they answer: DDLR-style pairs, Net-Trim's zeros."""

from __future__ import annotations

from typing import final

from typing_extensions import override

from trp_search.methods.method import EVERY, IMAGES, SOLVED, Fields, Method
from trp_search.records import Cut, CutScheme


def _by_error(fields: Fields, scheme: CutScheme) -> Cut:
    images = fields.get("calibration_images") or IMAGES
    own = {"scheme": scheme, "calibration_images": images, "layers": "all"}
    return Cut(**{**fields, **own})


@final
class DdlrStyle(Method):
    """Pairs of linear layers (after Papadimitriou and Jain, arXiv 2107.05787)."""

    name = "ddlr-style"
    label = "DDLR-style"
    colour = "#1f93a3"
    reads = EVERY | SOLVED

    @override
    def cut(self, fields: Fields) -> Cut:
        return _by_error(fields, "ddlr-style")


@final
class NetTrim(Method):
    """Linear layers with zeros (Aghasi et al., arXiv 1806.06457)."""

    name = "net-trim"
    label = "Net-Trim"
    colour = "#b3563f"
    reads = EVERY | SOLVED

    @override
    def cut(self, fields: Fields) -> Cut:
        return _by_error(fields, "net-trim")
