"""What a point is called and drawn with, by the fields that say how it came about."""

from __future__ import annotations

from dataclasses import dataclass

from trp_search.methods import METHODS, Method
from trp_search.records import USUAL_QUANTIZER, Point


@dataclass(frozen=True, kw_only=True, order=True)
class Style:
    """How points that came about in one way are told from others.

    Attributes:
        label: `uncut`, `channel`, or with the method: `plain, channel, fine-tuned`.
        colour: the method's; TRP's own by the scheme.
        symbol: plotly's, by the scheme; with a dot if it was fine-tuned; of int8 its own.
        note: how ranks were found, if by a search over them.
    """

    label: str
    colour: str
    symbol: str
    note: str = ""

    @property
    def name(self) -> str:
        """The label and the note."""
        return f"{self.label}, {self.note}" if self.note else self.label

    def mark(self, *, hollow: bool = False) -> str:
        """The symbol, filled or hollow."""
        shape, dot, rest = self.symbol.partition("-dot")
        return f"{shape}-open{dot}{rest}" if hollow else self.symbol


# Mid tones: at least 3:1 against the light paper and against the dark one.
_OTHER = "#9c6a45"
_SCHEMES = {
    "uncut": ("uncut", "#83868c", "cross"),
    "channel": ("channel", "#2f7fc2", "circle"),
    "spatial": ("spatial", "#c96a1b", "square"),
    "decoupled": ("decoupled", "#2a9272", "diamond"),
    "per-layer": ("per-layer", "#9a5bb5", "triangle-up"),
}

UNCUT = Style(label="uncut", colour="#83868c", symbol="cross")

_OWNERS: dict[str, Method] = {method.scheme or method.name: method for method in METHODS.values()}


def _own(scheme: str) -> tuple[str, str, str]:
    """Label, colour and symbol of a scheme that is one method's own."""
    method = _OWNERS.get(scheme)
    if method is None:
        return scheme, _OTHER, Method.symbol
    return method.label, method.colour or _OTHER, method.symbol


def style_of(point: Point) -> Style:
    """Of a point; a method or scheme that is not known here is called by its own name."""
    settings = point.settings
    method, tuned = settings.get("method"), point.tuned
    scheme = point.scheme or "uncut"
    as_scheme, colour, symbol = _SCHEMES.get(scheme) or _own(scheme)
    parts = [as_scheme]
    if method is not None:
        known = METHODS.get(str(method))
        called = known.called(settings) if known else str(method)
        parts = [called] if called.startswith(as_scheme) else [called, as_scheme]
        colour = (known.colour or colour) if known else _OTHER
    fitted = settings.get("reconstruct") or "none"
    parts += {"none": [], "relu": ["fitted"]}.get(str(fitted), [f"fitted ({fitted})"])
    parts += ["fine-tuned"] if tuned else []
    parts += [precision(point)] if point.int8 else []
    return Style(
        label=", ".join(dict.fromkeys(parts)),
        colour=colour,
        symbol=_special(point) or symbol + ("-dot" if tuned else ""),
        note="searched ranks" if point.by_ranks else "",
    )


def precision(point: Point) -> str:
    """`float32`, `int8`, or with a runtime that is not the usual one: `int8, openvino`."""
    if point.int8 is None:
        return "float32"
    runtime = point.int8.runtime
    return "int8" if runtime == USUAL_QUANTIZER else f"int8, {runtime}"


def _special(point: Point) -> str | None:
    """The symbol of a point in int8, or whose ranks were searched."""
    if point.int8 is not None:
        return "hexagram"
    if not point.by_ranks:
        return None
    return "hourglass" if point.winner else "bowtie"
