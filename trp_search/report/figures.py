"""Drawings of the report's values. Ink, grid and paper are left to the page, which knows its theme.

A trace without a colour of its own is drawn in the page's ink.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from trp_search.records import Layer
from trp_search.report import ranks, words
from trp_search.report.history import Curve, Volume, reach
from trp_search.report.rows import Row, Rows, Window, by_scheme, staircase
from trp_search.report.settings import Panel

# Mid tones: at least 3:1 against the light paper and against the dark one.
COLOURS = {
    "channel": "#2f7fc2",
    "spatial": "#c96a1b",
    "decoupled": "#2a9272",
    "per-layer": "#9a5bb5",
    "uncut": "#83868c",
}
SYMBOLS = {
    "channel": "circle",
    "spatial": "square",
    "decoupled": "diamond",
    "per-layer": "triangle-up",
    "uncut": "cross",
}
_KEPT = [[0, "rgba(47,127,194,0.08)"], [1, "rgba(47,127,194,1)"]]
_DENSE = [[0, "rgba(131,134,140,0.28)"], [1, "rgba(131,134,140,0.28)"]]
_HOVER = "%{hovertext}<extra></extra>"
_GOLDEN = 0.6180339887

Trace = dict[str, Any]


def library() -> str:
    """The source of plotly.js."""
    return str(get_plotlyjs())


def _figure(data: Sequence[Trace], **layout: Any) -> str:  # noqa: ANN401 (plotly's own values)
    margin = {"l": 52, "r": 14, "t": 30, "b": 44}
    figure = go.Figure({"data": list(data), "layout": {"template": {}, "margin": margin, **layout}})
    return str(figure.to_json(validate=False))


def _heading(text: str) -> dict[str, Any]:
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
    lines = [*words.facts(row), *words.settings(row, names)]
    body = "<br>".join(f"{_safe(name)}: {_safe(value)}" for name, value in lines)
    return f"<b>{_safe(words.title(row))}</b><br>{body}"


def _safe(text: str) -> str:
    return html.escape(text, quote=False)


def _marks(rows: Sequence[Row], **marker: Any) -> Trace:  # noqa: ANN401 (plotly's own values)
    # The page adds `hover` of each id: a point is in many figures, its text in the page once.
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [row.point.speedup for row in rows],
        "y": [100 * row.point.accuracy for row in rows],
        "customdata": [row.point.id for row in rows],
        "hovertemplate": _HOVER,
        "meta": "points",
        "marker": marker,
    }


def tradeoff(rows: Rows, window: Window) -> str:
    """Accuracy against speedup; the last trace is empty, for the point that the reader chose."""
    data = [*_controls(rows.controls), *_trials((*rows.trials, *rows.derived)), _steps(rows.front)]
    data += _front(rows.front)
    shapes = []
    if rows.baseline:
        level = 100 * rows.baseline.point.accuracy
        star = {"symbol": "star", "size": 15, "opacity": 1}
        data.append(_marks([rows.baseline], **star) | {"name": "plain network"})
        across = {"xref": "paper", "x0": 0, "x1": 1, "y0": level, "y1": level}
        shapes.append({"type": "line", "line": {"width": 1, "dash": "dot"}, **across})
    ring = {"symbol": "circle-open", "size": 25, "line": {"width": 2}}
    data.append(
        {"type": "scatter", "mode": "markers", "x": [], "y": [], "marker": ring}
        | {"name": "chosen", "showlegend": False, "hoverinfo": "skip"}
    )
    low, high = window.accuracy
    return _figure(
        data,
        shapes=shapes,
        annotations=[_heading("validation accuracy")],
        xaxis={"range": window.speedup, "ticksuffix": words.TIMES, "title": {"text": "speedup"}},
        yaxis={"range": (100 * low, 100 * high), "ticksuffix": " %"},
        legend={"orientation": "h", "y": -0.15, "yanchor": "top", "x": 0},
        margin={"l": 52, "r": 14, "t": 30, "b": 110},
    )


def _controls(controls: Iterable[Row]) -> list[Trace]:
    return [
        _marks(rows, symbol=SYMBOLS[scheme], size=4, color=COLOURS[scheme])
        | {"mode": "lines+markers", "name": f"plain network, cut ({scheme})", "legendrank": 1001}
        | {"line": {"dash": "dash", "width": 1.5, "color": COLOURS[scheme]}, "opacity": 0.75}
        for scheme, rows in by_scheme(controls).items()
    ]


def _trials(trials: Sequence[Row]) -> list[Trace]:
    traces = []
    fronts = by_scheme(row for row in trials if row.on_front)
    for scheme, rows in by_scheme(row for row in trials if not row.on_front).items():
        missed = [row for row in rows if row.violations]
        other = [row for row in rows if not row.violations]
        colour, symbol = COLOURS[scheme], SYMBOLS[scheme]
        group = {"legendgroup": scheme, "name": scheme}
        if other:
            pale = _marks(other, symbol=symbol, size=7, color=colour, opacity=0.5)
            traces.append(pale | group | {"showlegend": scheme not in fronts})
        if missed:
            hollow = _marks(missed, symbol=f"{symbol}-open", size=8, color=colour, opacity=0.85)
            name = f"misses a constraint ({scheme})"
            traces.append(hollow | {"name": name, "legendrank": 1002})
    return traces


def _steps(front: Sequence[Row]) -> Trace:
    steps = staircase(front)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "front",
        "x": [row.point.speedup for row in steps],
        "y": [100 * row.point.accuracy for row in steps],
        "line": {"shape": "vh", "width": 1.5},
        "hoverinfo": "skip",
        "showlegend": bool(steps),
    }


def _front(front: Sequence[Row]) -> list[Trace]:
    return [
        _marks(rows, symbol=SYMBOLS[scheme], size=14, color=COLOURS[scheme], opacity=1)
        | {"legendgroup": scheme, "name": scheme}
        for scheme, rows in by_scheme(front).items()
    ]


def volume(steps: Sequence[Volume]) -> str:
    """Hypervolume after each scored trial."""
    line: Trace = {
        "type": "scatter",
        "mode": "lines" if len(steps) > 60 else "lines+markers",
        "x": [step.finished for step in steps],
        "y": [step.value for step in steps],
        "customdata": [_safe(step.trial) for step in steps],
        "hovertemplate": "%{y:.4g} once trial %{customdata} was scored<extra></extra>",
        "line": {"shape": "hv", "width": 2},
        "marker": {"size": 5},
    }
    return _figure(
        [line],
        annotations=[_heading("hypervolume")],
        xaxis={"title": {"text": "trials scored"}, "rangemode": "tozero"},
        yaxis={"rangemode": "tozero"},
        showlegend=False,
    )


def training(curves: Sequence[Curve]) -> str:
    """Validation accuracy by epoch; one trace per look, its curves apart by a gap."""
    groups: dict[tuple[str, bool, bool], list[Curve]] = {}
    for curve in curves:
        groups.setdefault((curve.scheme, curve.on_front, curve.is_plain), []).append(curve)
    return _figure(
        [_curves(group) for group in groups.values()],
        annotations=[_heading("validation accuracy")],
        xaxis={"title": {"text": "epoch"}},
        yaxis={"range": [100 * bound for bound in reach(curves)], "ticksuffix": " %"},
        showlegend=False,
    )


def _curves(curves: Sequence[Curve]) -> Trace:
    x: list[int | None] = []
    y: list[float | None] = []
    names: list[str | None] = []
    for curve in curves:
        x += [*curve.epochs, None]
        y += [*(100 * accuracy for accuracy in curve.accuracies), None]
        names += [_safe(curve.trial)] * len(curve.epochs) + [None]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "customdata": names,
        "hovertemplate": "trial %{customdata}, epoch %{x}: %{y:.1f} %<extra></extra>",
    } | _look(curves[0])


def _look(curve: Curve) -> Trace:
    if curve.is_plain:
        return {"line": {"width": 1.5, "dash": "dot"}}
    colour = COLOURS[curve.scheme]
    if curve.on_front:
        return {"line": {"width": 2, "color": colour}}
    return {"line": {"width": 1, "color": colour}, "opacity": 0.45}


def rank_table(found: ranks.Ranks) -> str:
    """Share of the full rank that each layer keeps: one line per layer, one column per point."""
    shares = [[ranks.kept(layer) for layer in line] for line in found.cells]
    dense = [
        [
            None if layer is None or share is not None else 1
            for layer, share in zip(*pair, strict=True)
        ]
        for pair in zip(found.cells, shares, strict=True)
    ]
    columns, lines = list(range(len(found.rows))), list(range(len(found.layers)))
    # A space that does not break keeps plotly.js from wrapping a label into its neighbour.
    gap = "\N{NO-BREAK SPACE}\N{MIDDLE DOT}\N{NO-BREAK SPACE}"
    names = [f"{words.times(row.point.speedup)}{gap}{_safe(row.point.id)}" for row in found.rows]
    text = [
        [_cell(layer, name) for layer, name in zip(line, names, strict=True)]
        for line in found.cells
    ]
    bare = {"showgrid": False, "zeroline": False}
    return _figure(
        [
            {"type": "heatmap", "x": columns, "y": lines, "z": values, "zmin": 0, "zmax": 1}
            | {"xgap": 1, "ygap": 1, "colorscale": scale, "showscale": False}
            | {"hovertext": text, "hovertemplate": _HOVER, "hoverongaps": False}
            for values, scale in ((shares, _KEPT), (dense, _DENSE))
        ],
        xaxis=bare | {"side": "top", "tickvals": columns, "ticktext": names},
        yaxis=bare
        | {"autorange": "reversed", "automargin": True}
        | {"tickvals": lines, "ticktext": [_safe(name) for name in found.layers]},
        margin={"l": 20, "r": 14, "t": 40, "b": 10},
    )


def _cell(layer: Layer | None, column: str) -> str:
    if layer is None:
        return ""
    lines = [f"<b>{_safe(layer.name)}</b> in {column}"]
    if layer.rank is None:
        lines.append(f"dense: {_safe(layer.reason or 'no reason was recorded')}")
    else:
        lines.append(f"{layer.scheme}, rank {layer.rank} of {layer.full_rank}")
    if layer.kept:
        lines.append(_safe(words.kept(layer)))
    lines.append(f"multiply-adds {layer.macs:,} of {layer.dense_macs:,}")
    return "<br>".join(lines)


def setting(panel: Panel, window: Window) -> str:
    """One setting against accuracy (above) and speedup (below), points coloured by scheme.

    Accuracies under the window are drawn on its lower edge.
    """
    floor, top = (100 * bound for bound in window.accuracy)
    margin = 0.02 * (top - floor)
    spread = _spread(len(panel.rows)) if panel.kind == "category" else [0.0] * len(panel.rows)
    places = [x + aside for x, aside in zip(panel.positions, spread, strict=True)]
    data = []
    for scheme, group in by_scheme(panel.rows).items():
        ids = {row.point.id for row in group}
        pairs = [pair for pair in zip(places, panel.rows, strict=True) if pair[1].point.id in ids]
        marks = _marks([row for _, row in pairs], symbol=SYMBOLS[scheme], color=COLOURS[scheme])
        marks["marker"] |= {
            "size": [9 if row.on_front else 5 for _, row in pairs],
            "line": {"width": 0},
            "opacity": [0.95 if row.on_front else 0.4 for _, row in pairs],
        }
        marks["x"] = [x for x, _ in pairs]
        speedups = [row.point.speedup for _, row in pairs]
        data.append(marks | {"y": [max(floor + margin, y) for y in marks["y"]]})
        data.append(marks | {"y": speedups, "yaxis": "y2"})
    axis: dict[str, Any] = {
        "title": {"text": _safe(", ".join(panel.names))},
        "anchor": "y2",
        "type": "linear",
    }
    if panel.kind == "log":
        axis |= {"type": "log", "dtick": 1, "exponentformat": "power"}
    elif panel.kind == "category":
        last = len(panel.labels)
        axis |= {"tickvals": list(range(last)), "ticktext": [_safe(text) for text in panel.labels]}
        axis |= {"range": (-0.5, last - 0.5)}
    return _figure(
        data,
        annotations=[_heading("validation accuracy"), _heading("speedup") | {"y": 0.42}],
        xaxis=axis,
        yaxis={"domain": (0.58, 1), "range": (floor, top), "ticksuffix": " %"},
        yaxis2={"domain": (0, 0.42), "ticksuffix": words.TIMES},
        showlegend=False,
    )


def _spread(number: int) -> list[float]:
    """Small, even shifts that keep points of one category apart."""
    return [0.5 * ((_GOLDEN * place) % 1 - 0.5) for place in range(number)]
