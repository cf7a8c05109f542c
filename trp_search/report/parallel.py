"""Every trial as a line over its settings, its accuracy and its speedup."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trp_search.report import formatting, settings
from trp_search.report.rows import Row


@dataclass(frozen=True, kw_only=True)
class Upright:
    """One vertical axis; places on it are shares of its height.

    Attributes:
        marks: labelled places, the lowest first.
        places: by point id; a point that does not have the setting has none.
        values: what stands at each place, as text.
    """

    name: str
    marks: tuple[tuple[float, str], ...]
    places: dict[str, float]
    values: dict[str, str]


def uprights(trials: Sequence[Row]) -> tuple[Upright, ...]:
    """A vertical axis for each setting that varied, then accuracy and speedup."""
    found = settings.panels(trials)
    if not found:
        return ()
    accuracy = _measure("accuracy", trials, lambda row: row.point.score.value, formatting.percent)
    speedup = _measure("speedup", trials, lambda row: row.point.speedup, formatting.times)
    return (*map(_setting, found), accuracy, speedup)


def _setting(panel: settings.Panel) -> Upright:
    ids = [row.point.id for row in panel.rows]
    values = [settings.label(row.point.settings[panel.names[0]]) for row in panel.rows]
    if panel.kind == "category":
        last = max(1, len(panel.labels) - 1)
        places = [position / last for position in panel.positions]
        marks = tuple((place / last, label) for place, label in enumerate(panel.labels))
    else:
        scaled = [math.log(p) if panel.kind == "log" else p for p in panel.positions]
        places = _shares(scaled)
        ends = (min(panel.positions), max(panel.positions))
        marks = tuple((float(end), settings.label(value)) for end, value in enumerate(ends))
    return Upright(
        name=panel.names[0],
        marks=marks,
        places=dict(zip(ids, places, strict=True)),
        values=dict(zip(ids, values, strict=True)),
    )


def _measure(
    name: str, rows: Sequence[Row], read: Callable[[Row], float], text: Callable[[float], str]
) -> Upright:
    ids, values = [row.point.id for row in rows], [read(row) for row in rows]
    return Upright(
        name=name,
        marks=((0.0, text(min(values))), (1.0, text(max(values)))),
        places=dict(zip(ids, _shares(values), strict=True)),
        values={point: text(value) for point, value in zip(ids, values, strict=True)},
    )


def _shares(values: Sequence[float]) -> list[float]:
    low, span = min(values), max(values) - min(values)
    return [(value - low) / span if span else 0.5 for value in values]
