"""Times on the clock in words: measured, predicted, and slower than the baseline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from trp_search.records import Latency, Point, Prediction
from trp_search.records.objectives import ON_THE_CLOCK, TIMES, Objective
from trp_search.selection.axes import mispredicted

SLOWER = "slower than the baseline"


def objective(name: str) -> str:
    """An objective's name for people: `bytes`, `predicted latency speedup`."""
    told = "predicted " if name in ON_THE_CLOCK else ""
    return f"{told}{name}".replace("_", " ")


UNKNOWN = "not predicted"


def unknown(name: str, point: Point) -> bool:
    """Whether an objective is a time that was not predicted of a point."""
    return name in ON_THE_CLOCK and point.predicted is None


def value(one: Objective, point: Point) -> str:
    """An objective at a point, if it is known."""
    return UNKNOWN if unknown(one.name, point) else one.show(one.read(point))


def milliseconds(seconds: float) -> str:
    """`0.610 ms`: three digits, or all before the point."""
    return f"{1e3 * seconds:,.0f} ms" if seconds >= 0.09995 else f"{1e3 * seconds:#.3g} ms"


def clock(found: Latency) -> tuple[str, str]:
    """A time: its target and `0.61 ms, 1.20x (1.17 to 1.24)`; and whether that is slower."""
    ends = f"{found.low:.2f} to {found.high:.2f}"
    text = f"{milliseconds(found.seconds)}, {TIMES(found.speedup)} ({ends})"
    mark = f", {SLOWER}" if found.slower else ""
    return f"time on {found.target.name}", f"{text}{mark}"


def predicted(told: Prediction | None, times: Iterable[Latency]) -> list[tuple[str, str]]:
    """A predicted time as a row; and whether the measured one is far from it."""
    if told is None:
        return []
    measured = next((found for found in times if found.target.name == told.target), None)
    rows = [
        (
            f"predicted on {told.target}",
            f"{milliseconds(told.milliseconds / 1e3)}, {TIMES(told.speedup)}",
        )
    ]
    if measured is not None and told.missed(measured):
        rows.append(("time", _mispredicted(told, measured)))
    return rows


def slower(times: Iterable[Latency]) -> str:
    """On which targets a point is slower, by its times there; nothing where there is none."""
    named = ", ".join(found.target.name for found in times if found.slower)
    return f"{SLOWER} on {named}" if named else ""


def misses(points: Iterable[Point], latencies: Mapping[str, Mapping[str, Latency]]) -> list[str]:
    """What is to be said of points whose time was predicted wrongly."""
    found = ((point, mispredicted(point, latencies)) for point in points)
    return [
        f"point {point.id}: {_mispredicted(point.predicted, measured)}"
        for point, measured in found
        if point.predicted and measured
    ]


def _mispredicted(told: Prediction, measured: Latency) -> str:
    """How far a prediction is from the time: `mispredicted on laptop: 2.00x, 1.60x measured`."""
    return (
        f"mispredicted on {told.target}: {TIMES(told.speedup)}, {TIMES(measured.speedup)} measured"
    )
