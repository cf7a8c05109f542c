"""What every figure is drawn with. Ink, grid and paper are left to the page, which knows its theme.

A trace without a colour of its own is drawn in the page's ink.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from trp_search.report import formatting
from trp_search.report.rows import Row

# Mid tones: at least 3:1 against the light paper and against the dark one.
_COLOURS = {
    "channel": "#2f7fc2",
    "spatial": "#c96a1b",
    "decoupled": "#2a9272",
    "per-layer": "#9a5bb5",
    "uncut": "#83868c",
    "nuclear": "#5f83a8",
    "plain": "#8a7f5c",
    "Decomposable-Net": "#c4527f",
    "Tucker-2": "#6d8f1f",
    "DDLR-style": "#1f93a3",
    "Net-Trim": "#b3563f",
}
_SYMBOLS = {
    "channel": "circle",
    "spatial": "square",
    "decoupled": "diamond",
    "per-layer": "triangle-up",
    "uncut": "cross",
    "Tucker-2": "pentagon",
    "DDLR-style": "triangle-down",
    "Net-Trim": "hexagon",
}
HOVER = "%{hovertext}<extra></extra>"

Trace = dict[str, Any]


def library() -> str:
    """The source of plotly.js."""
    return str(get_plotlyjs())


def colour(scheme: str) -> str:
    """Of a row's `scheme`: its method's, and TRP's own by the scheme alone."""
    return next(c for part in scheme.split(", ") if (c := _COLOURS.get(part)))


def symbol(scheme: str, *, hollow: bool = False) -> str:
    """Of a row's `scheme`: how kernels were unfolded; with a dot if it was fine-tuned."""
    parts = scheme.split(", ")
    shape = next(s for part in parts if (s := _SYMBOLS.get(part)))
    return shape + ("-open" if hollow else "") + ("-dot" if "fine-tuned" in parts else "")


def figure(data: Sequence[Trace], **layout: Any) -> str:  # noqa: ANN401 (plotly's own values)
    """Traces and a layout as plotly's JSON."""
    margin = {"l": 52, "r": 14, "t": 30, "b": 44}
    figure = go.Figure({"data": list(data), "layout": {"template": {}, "margin": margin, **layout}})
    return str(figure.to_json(validate=False))


def heading(text: str) -> dict[str, Any]:
    """The name of the vertical axis, written level above it."""
    place = {"xref": "paper", "yref": "paper", "x": 0, "y": 1, "xanchor": "left"}
    return {
        "text": text,
        "showarrow": False,
        "yanchor": "bottom",
        "xshift": -46,
        "yshift": 6,
    } | place


def hover(row: Row, names: Sequence[str]) -> str:
    """A point's measures and the settings of these names, safe as plotly's markup."""
    lines = [*formatting.facts(row), *formatting.settings(row, names)]
    body = "<br>".join(f"{escaped(name)}: {escaped(value)}" for name, value in lines)
    return f"<b>{escaped(formatting.title(row))}</b><br>{body}"


def escaped(text: str) -> str:
    """`text` as it may stand in a figure, whose markup is a part of HTML's."""
    return html.escape(text, quote=False)


def marks(rows: Sequence[Row], **marker: Any) -> Trace:  # noqa: ANN401 (plotly's own values)
    """A mark for each row, accuracy against speedup."""
    # The page adds `hover` of each id: a point is in many figures, its text in the page once.
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [row.point.speedup for row in rows],
        "y": [100 * row.point.score.value for row in rows],
        "customdata": [row.point.id for row in rows],
        "hovertemplate": HOVER,
        "meta": "points",
        "marker": marker,
    }
