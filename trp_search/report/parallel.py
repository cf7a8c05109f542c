"""Every trial as a line over its settings, its metric, its speedup and further objectives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trp_search.records.objectives import SPEEDUP, Objective
from trp_search.report import settings
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


def uprights(trials: Sequence[Row], objectives: Sequence[Objective] = ()) -> tuple[Upright, ...]:
    """A vertical axis for each setting that varied, then metric, speedup and `objectives`."""
    found = settings.panels(trials)
    if not found:
        return ()
    measured = {
        objective.name: objective
        for objective in (trials[0].point.score.metric, SPEEDUP, *objectives)
    }
    return (*map(_setting, found), *(_measure(trials, one) for one in measured.values()))


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


def _measure(rows: Sequence[Row], objective: Objective) -> Upright:
    ids, values = [row.point.id for row in rows], [objective.read(row.point) for row in rows]
    show = objective.show
    return Upright(
        name=objective.name,
        marks=((0.0, show(min(values))), (1.0, show(max(values)))),
        places=dict(zip(ids, _shares(values), strict=True)),
        values={point: show(value) for point, value in zip(ids, values, strict=True)},
    )


def _shares(values: Sequence[float]) -> list[float]:
    low, span = min(values), max(values) - min(values)
    return [(value - low) / span if span else 0.5 for value in values]
