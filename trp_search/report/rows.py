"""Points as the report ranks them: the baseline, its own cuts, the trials, the front."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from trp_search.records import BASELINE, Latency, Point, Repeat, Role, TestScore
from trp_search.records.objectives import SPEEDUP, Objective
from trp_search.report.contents import Contents
from trp_search.report.styles import Style, style_of
from trp_search.selection import pareto
from trp_search.selection.axes import MACS, Axis, times_of

# Shares of the metric's slack: what hardly counts, and how far below the best a window reaches, how
# far below its lowest mark, and what it shows at least.
_BARELY, _DEEPEST, _CONTEXT, _LEAST = 0.1 + 1e-8, 2.0, 0.3, 0.2


@dataclass(frozen=True, kw_only=True)
class Row:
    """A point and its standing in this run.

    Attributes:
        drop: what is lost of the baseline's metric on validation; negative is a gain.
        violations: how far it is from each constraint that it misses.
        repeats: its training repeated with other seeds.
        times: its time on every target where it was timed.
    """

    point: Point
    test: TestScore | None
    drop: float | None
    on_front: bool
    violations: Mapping[str, float]
    repeats: Sequence[Repeat] = ()
    times: Sequence[Latency] = ()

    @property
    def style(self) -> Style:
        """What it is called and drawn with."""
        return style_of(self.point)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Every point of a run, by its role; trials in the order of completion.

    Derived points are further cuts of the trials' weights, including those screened out. Refits
    were trained on the validation images too, so they cannot be compared with the others.
    """

    metric: Objective
    baseline: Row | None
    controls: tuple[Row, ...]
    trials: tuple[Row, ...]
    derived: tuple[Row, ...]
    refits: tuple[Row, ...]

    @property
    def front(self) -> tuple[Row, ...]:
        """The non-dominated points of trials, or of a run without trials; fastest last."""
        kept = (row for row in self.comparable() if row.on_front)
        return tuple(sorted(kept, key=lambda row: (row.point.speedup, -row.point.score.gain)))

    def all(self) -> tuple[Row, ...]:
        """Every point."""
        return (*self.comparable(), *self.refits)

    def comparable(self) -> tuple[Row, ...]:
        """The points whose scores on validation can be compared."""
        first = (self.baseline,) if self.baseline else ()
        return (*first, *self.controls, *self.trials, *self.derived)


def build(contents: Contents) -> Rows:
    """The run's points; the front is chosen among the contenders that meet every constraint."""
    eligible = [
        point
        for point in contents.points
        if point.id in contents.contenders and not contents.violations.get(point.id)
    ]
    front = {point.id for point in pareto.front(eligible, contents.objectives)}
    baseline = next((point for point in contents.points if point.role == "baseline"), None)
    roles: dict[Role, list[Row]] = {role: [] for role in get_args(Role)}
    for point in contents.points:
        compared = baseline if point.role != "refit" else None
        row = Row(
            point=point,
            test=contents.tests.get(point.id),
            drop=point.score.behind(compared.score) if compared else None,
            on_front=point.id in front,
            violations=contents.violations.get(point.id, {}),
            repeats=contents.repeats.get(point.id, ()),
            times=times_of(point, contents.latencies),
        )
        of_baseline = point.role == "screened_out" and point.trial == BASELINE
        roles["control" if of_baseline else point.role].append(row)
    return Rows(
        metric=contents.metric,
        baseline=roles["baseline"][0] if baseline else None,
        controls=tuple(roles["control"]),
        trials=tuple(roles["trial"]),
        derived=(*roles["derived"], *roles["screened_out"]),
        refits=tuple(roles["refit"]),
    )


def by_style(rows: Iterable[Row]) -> dict[Style, list[Row]]:
    """Rows of each style, slowest first; styles in alphabetical order."""
    groups: dict[Style, list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row.style, row.point.speedup)):
        groups.setdefault(row.style, []).append(row)
    return groups


def staircase(front: Sequence[Row]) -> list[Row]:
    """The part of the front that is a front in metric and speedup alone: a line joins it."""
    axes = [*{row.point.score.name: row.point.score.metric for row in front}.values(), SPEEDUP]
    kept = {point.id for point in pareto.front([row.point for row in front], axes)}
    return [row for row in front if row.point.id in kept]


def leading(rows: Rows) -> Row | None:
    """The front's fastest point within one point of the baseline, else its best."""
    return foremost(rows.front, MACS)


def foremost(rows: Iterable[Row], axis: Axis) -> Row | None:
    """The smallest on `axis` (lower end) within one point of the baseline.

    If none is so close, the best; of equals the smallest file, as `select` chooses. What is larger
    than the baseline is no candidate.
    """
    found = [
        row for row in rows if axis.times(row.point) is not None and not axis.slower(row.point)
    ]
    close = [
        row
        for row in found
        if row.drop is not None and row.drop <= _BARELY * row.point.score.metric.slack
    ]
    if close:
        return max(close, key=lambda row: (axis.of(row.point), row.point.score.gain, _small(row)))
    return max(
        found,
        key=lambda row: (row.point.score.gain, axis.of(row.point), _small(row)),
        default=None,
    )


def _small(row: Row) -> tuple[int, int]:
    return -row.point.bytes, -row.point.macs


def distinct(front: Sequence[Row]) -> set[str]:
    """Ids of front points that are better than every faster one beyond chance."""
    found: set[str] = set()
    best: Point | None = None
    for row in sorted(front, key=lambda row: row.point.speedup, reverse=True):
        point = row.point
        if best is None or point.score.beyond(best.score):
            found.add(point.id)
        best = point if best is None else max(best, point, key=lambda p: p.score.gain)
    return found


@dataclass(frozen=True, kw_only=True)
class Window:
    """A part of the plane of metric and speedup, and how many points lie outside it.

    `metric` goes from the worse end to the better one.
    """

    metric: tuple[float, float]
    speedup: tuple[float, float]
    outside: int


def window(rows: Rows) -> Window | None:
    """A window around the front and the baseline, with some context.

    The worst metric shown is that of a front point (or the baseline) that is not too far behind the
    best, and half as far again, where something lies there.
    """
    shown = rows.comparable()
    slack = rows.metric.slack
    best = max((row.point.score.gain for row in shown), default=0.0)
    anchors = [row for row in shown if row.on_front or row.point.role == "baseline"] or shown
    gains = [row.point.score.gain for row in anchors]
    near = [gain for gain in gains if gain >= best - _DEEPEST * slack]
    floor = min(near, default=best)
    floor -= max((best - floor) / 2, _CONTEXT * slack)
    return _around(rows, [row for row in shown if row.point.score.gain >= floor])


def everywhere(rows: Rows) -> Window | None:
    """The window in which every point lies."""
    return _around(rows, rows.comparable())


def _around(rows: Rows, inside: Sequence[Row]) -> Window | None:
    if not inside:
        return None
    metric = rows.metric
    worst, best = _padded([row.point.score.gain for row in inside], least=_LEAST * metric.slack)
    return Window(
        metric=(metric.sign * worst, metric.sign * best),
        speedup=_padded([row.point.speedup for row in inside], least=0.4),
        outside=len(rows.comparable()) - len(inside),
    )


def _padded(values: Sequence[float], *, least: float) -> tuple[float, float]:
    middle = (min(values) + max(values)) / 2
    half = 0.57 * max(max(values) - min(values), least)
    return middle - half, middle + half
