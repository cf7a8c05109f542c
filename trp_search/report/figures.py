"""The main figure, and the course of the search."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from trp_search.records.objectives import PERCENT, SPEEDUP, Objective
from trp_search.records.published import Published
from trp_search.report import drawing
from trp_search.report.drawing import Trace, escaped, figure, heading, marks
from trp_search.report.history import Curve, Volume, reach
from trp_search.report.rows import Row, Rows, Window, by_style, distinct, staircase
from trp_search.report.styles import Style
from trp_search.report.times import SLOWER, slower

# The page fills in how far they reach.
_WHISKERS = {"type": "data", "symmetric": False, "array": [], "arrayminus": []} | {
    "thickness": 1,
    "width": 0,
}
# By the place that a trial has: behind the front, on it, or on it beyond chance.
_LOOKS: dict[str, dict[str, Any]] = {
    "pale": {"size": 7, "opacity": 0.5},
    "hollow": {"size": 14, "opacity": 1, "line": {"width": 2.5}},
    "clear": {"size": 14, "opacity": 1},
}


def tradeoff(rows: Rows, window: Window, published: Sequence[Published] = ()) -> str:
    """Metric against speedup; published results are hidden until the reader asks for them."""
    searched = (*rows.trials, *rows.derived)
    trials = _trials(searched)
    data = [*_controls(rows.controls), *trials["pale"], *_missed(searched), _steps(rows.front)]
    data += [*trials["hollow"], *trials["clear"], *_seeds(rows.front)]
    shapes = []
    if rows.baseline:
        level = rows.baseline.point.score.drawn
        star = {"symbol": "star", "size": 15, "opacity": 1}
        data.append(marks([rows.baseline], **star) | {"name": "baseline"})
        across = {"xref": "paper", "x0": 0, "x1": 1, "y0": level, "y1": level}
        shapes.append({"type": "line", "line": {"width": 1, "dash": "dot"}, **across})
    data += [*_published(published), *_slower(rows)]
    return figure(
        # Without groups plotly lays a legend out in columns as wide as its longest entry.
        [{"legendgroup": trace["name"], **trace} for trace in data],
        shapes=shapes,
        annotations=[heading(f"validation {rows.metric.name}")],
        xaxis={
            "range": window.speedup,
            "ticksuffix": SPEEDUP.show.suffix,
            "title": {"text": "speedup"},
        },
        yaxis=drawing.upright(rows.metric, window.metric),
        legend={"orientation": "h", "y": -0.15, "yanchor": "top", "x": 0},
        margin={"l": 52, "r": 14, "t": 30, "b": 110},
    )


def _published(found: Sequence[Published]) -> list[Trace]:
    if not found:
        return []
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "published (test)",
            "meta": "published",
            "visible": False,
            "x": [row.speedup for row in found],
            "y": [PERCENT.drawn(row.accuracy) for row in found],
            "customdata": [None] * len(found),
            "text": [f"{escaped(row.method)}<br>{escaped(row.source)}" for row in found],
            "hovertemplate": "%{text}<br>%{y:.2f}"
            f"{PERCENT.suffix} on test at %{{x:.2f}}{SPEEDUP.show.suffix}<extra></extra>",
            "marker": {"symbol": "x-thin", "size": 10, "line": {"width": 2}},
        }
    ]


def _slower(rows: Rows) -> list[Trace]:
    """Crosses over points that are slower than the baseline; the page places them on a clock."""
    found = [row for row in rows.comparable() if slower(row.times) or row.point.predicted]
    if not found:
        return []
    mark = {"symbol": "x-thin", "size": 9, "line": {"width": 1.5}}
    empty: Trace = {"type": "scatter", "mode": "markers", "x": [], "y": [], "hoverinfo": "skip"}
    return [empty | {"name": SLOWER, "meta": "slower", "visible": False, "marker": mark}]


def _controls(controls: Iterable[Row]) -> list[Trace]:
    return [
        marks(rows, symbol=style.symbol, size=4, color=style.colour)
        | {"mode": "lines+markers", "name": f"baseline, cut ({style.label})", "legendrank": 1001}
        | {"line": {"dash": "dash", "width": 1.5, "color": style.colour}, "opacity": 0.75}
        for style, rows in by_style(controls).items()
    ]


def _missed(trials: Iterable[Row]) -> list[Trace]:
    return [
        marks(
            rows,
            symbol=style.mark(hollow=True),
            size=8,
            color=style.colour,
            opacity=0.85,
        )
        | {"name": f"misses a constraint ({style.name})", "legendrank": 1002}
        for style, rows in by_style(row for row in trials if row.violations).items()
    ]


def _trials(trials: Sequence[Row]) -> dict[str, list[Trace]]:
    """By look a trace for each scheme; hollow where a faster one may be as good by chance.

    Some traces are empty: along another axis the page moves marks between traces.
    """
    sure = distinct([row for row in trials if row.on_front])
    traces: dict[str, list[Trace]] = {look: [] for look in _LOOKS}
    for style, rows in by_style(row for row in trials if not row.violations).items():
        groups: dict[str, list[Row]] = {look: [] for look in _LOOKS}
        for row in rows:
            front = "clear" if row.point.id in sure else "hollow"
            groups[front if row.on_front else "pale"].append(row)
        *_, named = (look for look, group in groups.items() if group)
        for look, group in groups.items():
            symbol = style.mark(hollow=look == "hollow")
            drawn = marks(group, symbol=symbol, color=style.colour, **_LOOKS[look])
            drawn |= {} if look == "pale" else {"error_y": _WHISKERS}
            drawn |= {"meta": look, "legendgroup": style.name, "name": style.name}
            traces[look].append(drawn | {"showlegend": look == named})
    return traces


def _steps(front: Sequence[Row]) -> Trace:
    steps = staircase(front)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "front",
        "meta": "front",
        "x": [row.point.speedup for row in steps],
        "y": [row.point.score.drawn for row in steps],
        "line": {"shape": "vh", "width": 1.5},
        "hoverinfo": "skip",
        "showlegend": bool(steps),
    }


def _seeds(front: Sequence[Row]) -> list[Trace]:
    """Repeats with other seeds: a short line for each."""
    repeated = [(row, repeat) for row in front for repeat in row.repeats]
    if not repeated:
        return []
    value = drawing.value(repeated[0][0].point.score.metric)
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "other seeds",
            "meta": "repeats",
            "x": [repeat.speedup for _, repeat in repeated],
            "y": [repeat.score.drawn for _, repeat in repeated],
            "customdata": [row.point.id for row, _ in repeated],
            "hovertemplate": f"point %{{customdata}}, another seed: {value}<extra></extra>",
            "marker": {
                "symbol": "line-ew",
                "size": 12,
                "line": {"width": 2, "color": [row.style.colour for row, _ in repeated]},
            },
        }
    ]


def volume(steps: Sequence[Volume]) -> str:
    """Hypervolume after each scored trial."""
    line: Trace = {
        "type": "scatter",
        "mode": "lines" if len(steps) > 60 else "lines+markers",
        "x": [step.finished for step in steps],
        "meta": {"hours": [step.hours for step in steps]},
        "y": [step.value for step in steps],
        "customdata": [escaped(step.trial) for step in steps],
        "text": [" and its ranks" if step.by_ranks else "" for step in steps],
        "hovertemplate": "%{y:.4g} with trial %{customdata}%{text}<extra></extra>",
        "line": {"shape": "hv", "width": 2},
        "marker": {"size": 5},
    }
    return figure(
        [line],
        annotations=[heading("hypervolume")],
        xaxis={"title": {"text": "trials scored"}, "rangemode": "tozero"},
        yaxis={"rangemode": "tozero"},
        showlegend=False,
    )


def training(curves: Sequence[Curve], metric: Objective) -> str:
    """Metric on validation by epoch; one trace per look, its curves apart by a gap."""
    groups: dict[tuple[Style, bool, bool], list[Curve]] = {}
    for curve in curves:
        groups.setdefault((curve.style, curve.on_front, curve.is_baseline), []).append(curve)
    return figure(
        [*(_curves(group, metric) for group in groups.values()), *_stops(curves, metric)],
        annotations=[heading(f"validation {metric.name}")],
        xaxis={"title": {"text": "epoch"}},
        yaxis=drawing.upright(metric, reach(curves, metric)),
        showlegend=False,
    )


def _curves(curves: Sequence[Curve], metric: Objective) -> Trace:
    x: list[int | None] = []
    y: list[float | None] = []
    names: list[str | None] = []
    for curve in curves:
        x += [*curve.epochs, None]
        y += [*map(metric.show.drawn, curve.values), None]
        names += [_name(curve)] * len(curve.epochs) + [None]
    return {
        "type": "scatter",
        # A line of one epoch would not be seen.
        "mode": "lines+markers" if any(len(curve.epochs) == 1 for curve in curves) else "lines",
        "x": x,
        "y": y,
        "customdata": names,
        "hovertemplate": _epoch(metric),
        "marker": {"size": 5},
    } | _look(curves[0])


def _stops(curves: Sequence[Curve], metric: Objective) -> list[Trace]:
    """A cross where a trial was stopped."""
    stopped = [curve for curve in curves if curve.is_stopped]
    if not stopped:
        return []
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "stopped",
            "x": [curve.epochs[-1] for curve in stopped],
            "y": [metric.show.drawn(curve.values[-1]) for curve in stopped],
            "customdata": [_name(curve) for curve in stopped],
            "hovertemplate": _epoch(metric),
            "marker": {
                "symbol": "x",
                "size": 6,
                "color": [c.style.colour for c in stopped],
            },
        }
    ]


def _epoch(metric: Objective) -> str:
    return f"trial %{{customdata}}, epoch %{{x}}: {drawing.value(metric)}<extra></extra>"


def _name(curve: Curve) -> str:
    return f"{escaped(curve.trial)}, stopped" if curve.is_stopped else escaped(curve.trial)


def _look(curve: Curve) -> Trace:
    if curve.is_baseline:
        return {"line": {"width": 1.5, "dash": "dot"}}
    colour = curve.style.colour
    if curve.on_front:
        return {"line": {"width": 2, "color": colour}}
    return {"line": {"width": 1, "color": colour}, "opacity": 0.45}
