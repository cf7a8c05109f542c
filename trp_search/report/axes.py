"""The ways in which a point is smaller than the dense network, and how small each point is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trp_search.records import Latency
from trp_search.report.rows import Row

MACS = "macs"


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One way of counting.

    Attributes:
        key: its name in the page's data.
        name: what is counted, as a switch says it.
        title: of a figure's axis.
        read: the dense network's cost over the point's: as measured, and what it is for sure;
            None where it was not measured.
    """

    key: str
    name: str
    title: str
    read: Callable[[Row], tuple[float, float] | None]


def axes(latencies: Mapping[str, Mapping[str, Latency]]) -> list[Axis]:
    """Multiply-adds, parameters and the time on each target."""
    found = [
        Axis(
            key=MACS,
            name="multiply-adds",
            title="speedup",
            read=lambda row: (row.point.speedup, row.point.speedup),
        ),
        Axis(key="parameters", name="parameters", title="times fewer parameters", read=_parameters),
    ]
    for target, points in latencies.items():
        title = f"speedup on the clock, {target}"
        read = _clock(points)
        found.append(Axis(key=f"time:{target}", name=f"time on {target}", title=title, read=read))
    return found


def _parameters(row: Row) -> tuple[float, float]:
    times = row.point.dense_parameters / row.point.parameters
    return times, times


def _clock(points: Mapping[str, Latency]) -> Callable[[Row], tuple[float, float] | None]:
    def read(row: Row) -> tuple[float, float] | None:
        if row.point.role == "baseline":
            return 1.0, 1.0
        found = points.get(row.point.id)
        return (found.speedup, found.low) if found else None

    return read
