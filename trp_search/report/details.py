"""Figures of the trials' settings and of their layers' ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trp_search.records import Layer
from trp_search.records.objectives import SPEEDUP, TIMES, Objective
from trp_search.report import drawing, formatting, ranks
from trp_search.report.drawing import (
    HOVER,
    Trace,
    escaped,
    figure,
    heading,
    marks,
)
from trp_search.report.parallel import Upright
from trp_search.report.rows import Row, Window, by_style
from trp_search.report.settings import Panel
from trp_search.report.styles import Style

_KEPT = [[0, "rgba(47,127,194,0.08)"], [1, "rgba(47,127,194,1)"]]
_DENSE = [[0, "rgba(131,134,140,0.28)"], [1, "rgba(131,134,140,0.28)"]]
_GOLDEN = 0.6180339887


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
    names = [f"{TIMES(row.point.speedup)}{gap}{escaped(row.point.id)}" for row in found.rows]
    text = [
        [_cell(layer, name) for layer, name in zip(line, names, strict=True)]
        for line in found.cells
    ]
    bare = {"showgrid": False, "zeroline": False}
    return figure(
        [
            {"type": "heatmap", "x": columns, "y": lines, "z": values, "zmin": 0, "zmax": 1}
            | {"xgap": 1, "ygap": 1, "colorscale": scale, "showscale": False}
            | {"hovertext": text, "hovertemplate": HOVER, "hoverongaps": False}
            for values, scale in ((shares, _KEPT), (dense, _DENSE))
        ],
        xaxis=bare | {"side": "top", "tickvals": columns, "ticktext": names},
        yaxis=bare
        | {"autorange": "reversed", "automargin": True}
        | {"tickvals": lines, "ticktext": [escaped(name) for name in found.layers]},
        margin={"l": 20, "r": 14, "t": 40, "b": 10},
    )


def _cell(layer: Layer | None, column: str) -> str:
    if layer is None:
        return ""
    lines = [f"<b>{escaped(layer.name)}</b> in {column}"]
    if layer.rank is None:
        lines.append(escaped(formatting.unfactored(layer)))
    else:
        lines.append(f"{formatting.scheme(layer)}, rank {layer.rank} of {layer.full_rank}")
    if layer.kept:
        lines.append(escaped(formatting.kept(layer)))
    lines.append(f"multiply-adds {layer.macs:,} of {layer.dense_macs:,}")
    return "<br>".join(lines)


def setting(panel: Panel, window: Window, metric: Objective) -> str:
    """One setting against the metric (above) and speedup (below), points coloured by scheme.

    What is worse than the window shows is drawn on its lower edge.
    """
    above = drawing.upright(metric, window.metric)
    floor, top = above["range"]
    margin, most = 0.02 * (top - floor), max if metric.maximise else min
    spread = _spread(len(panel.rows)) if panel.kind == "category" else [0.0] * len(panel.rows)
    places = [x + aside for x, aside in zip(panel.positions, spread, strict=True)]
    data = []
    for style, group in by_style(panel.rows).items():
        ids = {row.point.id for row in group}
        pairs = [pair for pair in zip(places, panel.rows, strict=True) if pair[1].point.id in ids]
        drawn = marks([row for _, row in pairs], symbol=style.symbol, color=style.colour)
        drawn["marker"] |= {
            "size": [9 if row.on_front else 5 for _, row in pairs],
            "line": {"width": 0},
            "opacity": [0.95 if row.on_front else 0.4 for _, row in pairs],
        }
        drawn["x"] = [x for x, _ in pairs]
        speedups = [row.point.speedup for _, row in pairs]
        data.append(drawn | {"y": [most(floor + margin, y) for y in drawn["y"]]})
        data.append(drawn | {"y": speedups, "yaxis": "y2"})
    axis: dict[str, Any] = {
        "title": {"text": escaped(", ".join(panel.names))},
        "anchor": "y2",
        "type": "linear",
    }
    if panel.kind == "log":
        axis |= {"type": "log", "dtick": 1, "exponentformat": "power"}
    elif panel.kind == "category":
        last = len(panel.labels)
        axis |= {
            "tickvals": list(range(last)),
            "ticktext": [escaped(text) for text in panel.labels],
        }
        axis |= {"range": (-0.5, last - 0.5)}
    return figure(
        data,
        annotations=[heading(f"validation {metric.name}"), heading("speedup") | {"y": 0.42}],
        xaxis=axis,
        yaxis={"domain": (0.58, 1)} | above,
        yaxis2={"domain": (0, 0.42), "ticksuffix": SPEEDUP.show.suffix},
        showlegend=False,
    )


def _spread(number: int) -> list[float]:
    """Small, even shifts that keep points of one category apart."""
    return [0.5 * ((_GOLDEN * place) % 1 - 0.5) for place in range(number)]


def parallel(uprights: Sequence[Upright], trials: Sequence[Row]) -> str:
    """Each trial as a line, the front's emphasised, with a gap where a trial lacks a setting."""
    groups: dict[tuple[bool, Style], list[Row]] = {}
    for row in sorted(trials, key=lambda row: row.on_front):
        groups.setdefault((row.on_front, row.style), []).append(row)
    labels = [_mark(x, *mark) for x, line in enumerate(uprights) for mark in line.marks]
    lines = [
        {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "line": {"width": 1}}
        for x in range(len(uprights))
    ]
    bare = {"showgrid": False, "zeroline": False, "fixedrange": True}
    return figure(
        [_lines(uprights, rows, on_front=front) for (front, _), rows in groups.items()],
        annotations=labels,
        shapes=lines,
        xaxis=bare
        | {"range": (-0.5, len(uprights) - 0.5), "tickangle": -30}
        | {"tickvals": list(range(len(uprights)))}
        | {"ticktext": [escaped(line.name) for line in uprights]},
        yaxis=bare | {"range": (-0.12, 1.12), "showticklabels": False},
        showlegend=False,
        margin={"l": 14, "r": 14, "t": 14, "b": 80},
    )


def _mark(x: int, place: float, label: str) -> dict[str, Any]:
    """A label above or below its upright, or beside it in the middle."""
    aside: dict[str, Any] = {"xanchor": "left", "xshift": 4}
    if place in (0, 1):
        aside = {"xanchor": "center", "yanchor": "bottom" if place else "top"}
    text = {"text": escaped(label), "showarrow": False, "font": {"size": 11}}
    return {"x": x, "y": place} | text | aside


def _lines(uprights: Sequence[Upright], rows: Sequence[Row], *, on_front: bool) -> Trace:
    x: list[int | None] = []
    y: list[float | None] = []
    ids: list[str | None] = []
    text: list[str] = []
    for row in rows:
        name = row.point.id
        for place, line in enumerate(uprights):
            x.append(place)
            y.append(line.places.get(name))
            ids.append(name)
            text.append(f"{escaped(line.name)}: {escaped(line.values.get(name, ''))}")
        x.append(None)
        y.append(None)
        ids.append(None)
        text.append("")
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "x": x,
        "y": y,
        "customdata": ids,
        "text": text,
        "hovertemplate": "point %{customdata}, %{text}<extra></extra>",
        "line": {"width": 2.5 if on_front else 1, "color": rows[0].style.colour},
        "marker": {"size": 5 if on_front else 3},
        "opacity": 0.95 if on_front else 0.3,
    }
