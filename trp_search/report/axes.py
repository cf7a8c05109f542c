"""The ways in which a point is smaller than the dense network, and how small each point is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from trp_search.records import Latency
from trp_search.report.rows import Row, foremost

MACS = "macs"
Times = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One way of counting.

    Attributes:
        key: its name in the page's data.
        name: what is counted, as a switch says it.
        title: of a figure's axis.
        read: the dense network's cost over the point's: as measured, and the ends of its 95 %
            interval, of which the lower is sure; None where it was not measured.
    """

    key: str
    name: str
    title: str
    read: Callable[[Row], Times | None]


def axes(latencies: Mapping[str, Mapping[str, Latency]]) -> list[Axis]:
    """Multiply-adds, parameters and the time on each target."""
    found = [
        Axis(
            key=MACS,
            name="multiply-adds",
            title="speedup",
            read=lambda row: _exactly(row.point.speedup),
        ),
        Axis(key="parameters", name="parameters", title="times fewer parameters", read=_parameters),
    ]
    for target, points in latencies.items():
        title = f"speedup on the clock, {target}"
        read = _clock(points)
        found.append(Axis(key=f"time:{target}", name=f"time on {target}", title=title, read=read))
    return found


def leading(axis: Axis, rows: Iterable[Row]) -> Row | None:
    """Who leads among those that were measured so, by what is sure; see `rows.foremost`."""
    found = [(row, times) for row in rows if (times := axis.read(row)) is not None]
    sure = {row.point.id: times[1] for row, times in found}
    return foremost([row for row, _ in found], lambda row: sure[row.point.id])


def _exactly(times: float) -> Times:
    return times, times, times


def _parameters(row: Row) -> Times:
    return _exactly(row.point.dense_parameters / row.point.parameters)


def _clock(points: Mapping[str, Latency]) -> Callable[[Row], Times | None]:
    def read(row: Row) -> Times | None:
        if row.point.role == "baseline":
            return _exactly(1.0)
        found = points.get(row.point.id)
        return (found.speedup, found.low, found.high) if found else None

    return read
