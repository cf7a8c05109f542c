"""The common style of figures. Ink, grid and paper come from the page, which knows its theme.

A trace without a colour of its own is drawn in the page's ink.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from trp_search.records.objectives import Objective
from trp_search.report import formatting
from trp_search.report.rows import Row

HOVER = "%{hovertext}<extra></extra>"

Trace = dict[str, Any]


def library() -> str:
    """The source of plotly.js."""
    return str(get_plotlyjs())


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


def upright(metric: Objective, ends: tuple[float, float]) -> dict[str, Any]:
    """The vertical axis of a metric from the one end to the other."""
    return {"range": tuple(map(metric.show.drawn, ends)), "ticksuffix": metric.show.suffix}


def value(metric: Objective) -> str:
    """A mark's place on the vertical axis, as plotly's templates say it."""
    return f"%{{y:.{metric.show.digits}f}}{metric.show.suffix}"


def hover(row: Row, names: Sequence[str]) -> str:
    """A point's measures and the settings of these names, safe as plotly's markup."""
    lines = [*formatting.facts(row), *formatting.settings(row, names)]
    body = "<br>".join(f"{escaped(name)}: {escaped(value)}" for name, value in lines)
    return f"<b>{escaped(formatting.title(row))}</b><br>{body}"


def escaped(text: str) -> str:
    """`text` as it may stand in a figure, whose markup is a part of HTML's."""
    return html.escape(text, quote=False)


def marks(rows: Sequence[Row], **marker: Any) -> Trace:  # noqa: ANN401 (plotly's own values)
    """A mark for each row, metric against speedup."""
    # The page adds `hover` of each id: a point is in many figures, its text in the page once.
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [row.point.speedup for row in rows],
        "y": [row.point.score.drawn for row in rows],
        "customdata": [row.point.id for row in rows],
        "hovertemplate": HOVER,
        "meta": "points",
        "marker": marker,
    }
