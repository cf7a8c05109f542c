"""Chooses the point of a run to use within a budget."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from trp_search.errors import NothingFoundError
from trp_search.records import Latency, Point, Repeat, TestScore
from trp_search.records.objectives import OBJECTIVES, ON_THE_CLOCK, TIMES
from trp_search.selection import pareto
from trp_search.selection.axes import Axis, By, times_of
from trp_search.selection.budgets import Budget
from trp_search.selection.snapshot import Snapshot
from trp_search.space import SearchSpace
from trp_search.store import RunFolder

_HALF = 0.5


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The answer to a budget.

    Attributes:
        point: the chosen point, or the nearest one if none fits the budget.
        baseline: the baseline, if it was scored.
        test: the point's score on test; None if it was not scored there.
        control: a cut of the baseline that does better at the same budget, if any does.
        unmet: the message that no point fits the budget, with the nearest; None if one fits.
        axis: the axis along which the budget counts.
        larger: the next point of the front that is better and costs more.
        smaller: the next one that costs less and is worse.
        half_step: the best point at least 0.5x further: at 2x, the cost of 2.5x.
        repeats: the point's training repeated with other seeds.
        times: of the point, on every target where it was timed.
    """

    point: Point
    baseline: Point | None
    test: TestScore | None
    control: Point | None
    unmet: str | None
    axis: Axis
    larger: Point | None
    smaller: Point | None
    half_step: Point | None
    repeats: Sequence[Repeat] = ()
    times: Sequence[Latency] = ()

    @property
    def reached(self) -> bool:
        """Whether `point` fits the budget."""
        return self.unmet is None

    @property
    def drop(self) -> float | None:
        """What is lost of the baseline's metric on validation; negative is a gain."""
        return self.point.score.behind(self.baseline.score) if self.baseline else None


def select(  # noqa: PLR0913  one argument per budget
    run: Snapshot | RunFolder | Path | str,
    *,
    speedup: float | None = None,
    max_drop: float | None = None,
    latency_speedup: float | None = None,
    milliseconds: float | None = None,
    parameters: int | None = None,
    bytes: int | None = None,
    by: By | None = None,
    target: str | None = None,
) -> Choice:
    """The best point within one budget; nothing is trained.

    >>> from trp_search import select
    >>> choice = select("results/digits", speedup=12.0)
    >>> f"point {choice.point.id}: {choice.point.speedup:.2f}x, {choice.drop:.1%} lost"
    'point 23: 12.65x, 0.3% lost'

    Under `max_drop` it is the smallest point that is good enough, under every other budget the
    best one that is small enough. Points that miss one of the search's own constraints,
    and points whose weights were not kept, are left out. The arguments are those of `Budget`.

    Raises:
        InputError: not exactly one budget, an invalid one, no run, or a target that was not timed.
        NothingFoundError: no point fits it; the message names the nearest.
    """
    budget = Budget(
        speedup=speedup,
        max_drop=max_drop,
        latency_speedup=latency_speedup,
        milliseconds=milliseconds,
        parameters=parameters,
        bytes=bytes,
        by=by,
        target=target,
    )
    return within(run, budget)


def within(run: Snapshot | RunFolder | Path | str, budget: Budget) -> Choice:
    """As `select`, for a budget."""
    choice = choose(run, budget)
    if choice.unmet is not None:
        raise NothingFoundError(choice.unmet)
    return choice


def choose(run: Snapshot | RunFolder | Path | str, budget: Budget) -> Choice:
    """As `select`, but returns the nearest point if none fits the budget."""
    found = Snapshot.of(run)
    allowed = _eligible(found)
    axis = budget.axis(found)
    eligible = axis.measured(allowed)
    if not eligible:
        raise NothingFoundError(
            f"{found.folder.path}: no trial's point was timed on {axis.target!r}; "
            f"trp-search latency --target {axis.target} does it"
        )
    fits = budget.keeps(found, axis)
    keys: list[Key] = [
        lambda point: (point.score.gain, axis.of(point)),
        lambda point: (axis.of(point), point.score.gain),
    ]
    better, nearest = keys[::-1] if budget.kind.smallest else keys
    best = max(filter(fits, eligible), key=better, default=None)
    point = best or max(eligible, key=nearest)
    cuts = [p for p in axis.measured(found.points) if p.role == "control" and found.space.allows(p)]
    rival = max(filter(fits, cuts), key=better, default=None)
    front, size = axis.front(eligible), axis.of(point)
    return Choice(
        point=point,
        baseline=found.baseline,
        test=found.tests.get(point.id),
        control=rival if best and rival and better(rival) > better(point) else None,
        unmet=None if best else _unmet(budget, axis, point, found.baseline),
        axis=axis,
        larger=next((p for p in reversed(front) if axis.of(p) < size), None),
        smaller=next((p for p in front if axis.of(p) > size), None),
        half_step=next((p for p in front if axis.of(p) >= size + _HALF), None),
        repeats=found.repeats.get(point.id, ()),
        times=times_of(point, found.latencies),
    )


def _unmet(budget: Budget, axis: Axis, nearest: Point, baseline: Point | None) -> str:
    score = nearest.score
    said = budget.kind.unmet(budget.amount, axis, score.metric)
    size = shown_beside(axis.of(nearest), budget)
    far = ""
    if budget.max_drop is not None and baseline is not None:
        lost = abs(score.behind(baseline.score)) * score.metric.show.scale
        far = f" ({lost:.3g}{score.metric.show.gap} away)"
    return f"{said}; the nearest is {nearest.id!r} at {size}x, {score.shown} on validation{far}"


def shown_beside(times: float, budget: Budget) -> str:
    """A speedup without its sign; with more digits where two would look like the one asked for."""
    asked, shown = budget.speedup or budget.latency_speedup, TIMES.number(times)
    alike = asked is not None and times < asked and shown == TIMES.number(asked)
    return f"{times:.6g}" if alike else shown


Key = Callable[[Point], tuple[float, float]]


def available(points: Sequence[Point], kept: Collection[str]) -> list[Point]:
    """Those of `points` whose weights are kept, or all of a run that came without its weights.

    The smallest file is first, then the least multiply-adds: the first of equals, such as a network
    and itself in int8, is the one to take.
    """
    found = [point for point in points if point.id in kept] or points
    return sorted(found, key=lambda point: (point.bytes, point.macs))


def _eligible(run: Snapshot) -> list[Point]:
    path = run.folder.path
    if not run.contenders:
        raise NothingFoundError(f"{path}: no trial and no cut has been scored yet")
    allowed = [point for point in run.contenders if run.space.allows(point)]
    if not allowed:
        raise NothingFoundError(f"{path}: {out_of_reach(run.contenders, run.space)}")
    return available(allowed, run.kept)


def out_of_reach(points: Sequence[Point], space: SearchSpace) -> str:
    """That none of `points` meets the constraints, with what the nearest has in their place."""
    nearest = pareto.nearest(points, space)
    has = []
    for name, bound in space.constraints.items():
        each = OBJECTIVES[name]
        unknown = name in ON_THE_CLOCK and nearest.predicted is None
        told, asked = each.show(each.read(nearest)), each.show(bound)
        if told == asked:
            told, asked = f"{each.read(nearest):g}", f"{bound:g}"
        if each.missed(nearest, bound) > 0:
            has.append(f"{name} {'not predicted' if unknown else told} (constraint: {asked})")
    return (
        f"none of the {len(points)} scored points meets the search's constraints; "
        f"{nearest.id} comes nearest, with {' and '.join(has)}"
    )
