"""The axes along which a network is smaller than the baseline, for budgets and the page."""

from __future__ import annotations

import statistics
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from typing_extensions import override

from trp_search.records import Latency, Point

By = Literal["macs", "parameters", "bytes", "latency"]
Times = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Axis(ABC):
    """One way to count how small a network is.

    Attributes:
        by: its name in a budget.
        name: what is counted.
        title: of a figure's axis.
        fewer: what `2x` means on it.
        target: where time was measured, if time is counted.
    """

    by: By
    name: str
    title: str
    fewer: str
    target: str | None = None

    @property
    def key(self) -> str:
        """Its name in the page's data and address."""
        return self.by if self.target is None else f"time:{self.target}"

    def milliseconds(self, point: Point) -> float | None:
        """Milliseconds of one batch of a measured point, the upper end; None if no time counts."""
        del point
        return None

    @abstractmethod
    def times(self, point: Point) -> Times | None:
        """The baseline's size over the point's: the measured ratio and its 95 % interval.

        The lower end counts; None if the point was not measured.
        """

    def of(self, point: Point) -> float:
        """How many times smaller a measured point is: the lower end of the interval."""
        times = self.times(point)
        assert times is not None, point.id
        return times[1]

    def slower(self, point: Point) -> bool:
        """Whether a measured point is larger than the baseline: all of the interval is below 1."""
        times = self.times(point)
        return times is not None and times[2] < 1

    def measured(self, points: Iterable[Point]) -> list[Point]:
        """Those of `points` whose size on this axis is known."""
        return [point for point in points if self.times(point) is not None]

    def front(self, points: Sequence[Point]) -> list[Point]:
        """The non-dominated points in the metric and on this axis, the largest first.

        Nobody takes a point that is larger than the baseline for its size.
        """
        found: list[Point] = []
        smaller = [point for point in points if not self.slower(point)]
        for point in sorted(smaller, key=lambda p: (self.of(p), p.score.gain), reverse=True):
            if not found or point.score.gain > found[-1].score.gain:
                found.append(point)
        return found[::-1]


@dataclass(frozen=True, kw_only=True)
class Counted(Axis):
    """A count in a point's record, the baseline's as `dense_...`."""

    def counts(self, point: Point) -> dict[str, int]:
        """The point's count and the baseline's, by the names of their fields."""
        return {name: getattr(point, name) for name in (self.by, f"dense_{self.by}")}

    @override
    def times(self, point: Point) -> Times:
        own, dense = self.counts(point).values()
        return dense / own, dense / own, dense / own


@dataclass(frozen=True, kw_only=True)
class Clock(Axis):
    """Time on a target.

    Attributes:
        dense_milliseconds: the baseline's, the median over all measurements.
        latencies: by point.
    """

    dense_milliseconds: float
    latencies: Mapping[str, Latency]

    @override
    def times(self, point: Point) -> Times | None:
        if point.role == "baseline":
            return 1.0, 1.0, 1.0
        found = self.latencies.get(point.id)
        return (found.speedup, found.low, found.high) if found else None

    @override
    def milliseconds(self, point: Point) -> float | None:
        found = self.latencies.get(point.id)
        return 1e3 * found.dense_seconds / found.low if found else self.dense_milliseconds


@dataclass(frozen=True, kw_only=True)
class Promised(Axis):
    """Time on the search's target, as predicted."""

    @property
    @override
    def key(self) -> str:
        return f"predicted:{self.target}"

    @override
    def times(self, point: Point) -> Times | None:
        found = point.predicted
        return None if found is None else (found.speedup,) * 3

    @override
    def milliseconds(self, point: Point) -> float | None:
        return None if point.predicted is None else point.predicted.milliseconds


COUNTED: dict[str, Counted] = {
    axis.by: axis
    for axis in (
        Counted(by="macs", name="multiply-adds", title="speedup", fewer="fewer multiply-adds"),
        Counted(
            by="parameters",
            name="parameters",
            title="times fewer parameters",
            fewer="fewer parameters",
        ),
        Counted(
            by="bytes", name="bytes of weights", title="times fewer bytes", fewer="fewer bytes"
        ),
    )
}
MACS = COUNTED["macs"]


def clock(target: str, latencies: Mapping[str, Latency]) -> Clock:
    """Time on `target`, on which each point of `latencies` was measured."""
    return Clock(
        by="latency",
        name=f"time on {target}",
        title=f"speedup on the clock, {target}",
        fewer=f"less time on {target}, for sure",
        target=target,
        dense_milliseconds=1e3 * statistics.median(f.dense_seconds for f in latencies.values()),
        latencies=latencies,
    )


def times_of(point: Point, latencies: Mapping[str, Mapping[str, Latency]]) -> tuple[Latency, ...]:
    """The point's time on every target where it was timed."""
    return tuple(known[point.id] for known in latencies.values() if point.id in known)


def mispredicted(point: Point, latencies: Mapping[str, Mapping[str, Latency]]) -> Latency | None:
    """The point's measured time, if it is over 10 % from the one that was predicted there."""
    told = point.predicted
    found = latencies.get(told.target, {}).get(point.id) if told else None
    return found if told and found and told.missed(found) else None


def promised(points: Iterable[Point]) -> list[Axis]:
    """Time as it was predicted, if it was."""
    found = next((point.predicted for point in points if point.predicted), None)
    if found is None:
        return []
    return [
        Promised(
            by="latency",
            name=f"predicted time on {found.target}",
            title=f"predicted speedup on the clock, {found.target}",
            fewer=f"less time on {found.target}, as predicted",
            target=found.target,
        )
    ]


def axes(
    latencies: Mapping[str, Mapping[str, Latency]], points: Iterable[Point] = ()
) -> list[Axis]:
    """Everything that can be counted, the time on each target, and the time predicted of points."""
    clocks = [clock(target, found) for target, found in latencies.items()]
    return [*COUNTED.values(), *clocks, *promised(points)]
