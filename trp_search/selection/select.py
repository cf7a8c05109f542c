"""Which point of a run to use at a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trp_search.errors import NothingFoundError
from trp_search.records import Point, Repeat, TestScore
from trp_search.selection.budgets import Axis, Budget, By, axis_of, limit
from trp_search.space import load_space
from trp_search.store import RunFolder

_HALF = 0.5


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The answer to a budget.

    Attributes:
        point: the chosen point, or the nearest one where none `reached` the budget.
        baseline: the baseline, where it was scored.
        test: the point's accuracy on test; None while it was not scored there.
        control: a cut of the baseline that does better at the same budget, if any does.
        reached: whether `point` keeps to the budget.
        axis: what every point costs, as the budget counts it.
        larger: the next point of the front that is more accurate and costs more.
        smaller: the next one that costs less and is less accurate.
        half_step: the most accurate point that is 0.5x or more further: at 2x what 2.5x takes.
        repeats: what the point's training came to with other seeds.
    """

    point: Point
    baseline: Point | None
    test: TestScore | None
    control: Point | None
    reached: bool
    axis: Axis
    larger: Point | None
    smaller: Point | None
    half_step: Point | None
    repeats: Sequence[Repeat] = ()

    @property
    def drop(self) -> float | None:
        """Validation accuracy lost to the baseline, a share; negative is a gain."""
        return None if self.baseline is None else self.baseline.score.value - self.point.score.value


def select(  # noqa: PLR0913  one argument per limit
    run: RunFolder | Path | str,
    *,
    speedup: float | None = None,
    max_drop: float | None = None,
    milliseconds: float | None = None,
    parameters: int | None = None,
    bytes: int | None = None,
    by: By | None = None,
    target: str | None = None,
) -> Choice:
    """The best point within one limit; nothing is trained.

    Under `max_drop` that is the smallest of those accurate enough, under every other limit the
    most accurate of those small enough. Points that miss one of the search's own constraints, and
    those whose weights the search did not keep, are left out. Arguments are those of `Budget`.

    Raises:
        InputError: not one limit, one that cannot be, no run, or a target that was not timed.
        NothingFoundError: no point keeps to it; the message names the nearest.
    """
    budget = Budget(
        speedup=speedup,
        max_drop=max_drop,
        milliseconds=milliseconds,
        parameters=parameters,
        bytes=bytes,
        by=by,
        target=target,
    )
    choice = choose(run, budget)
    if not choice.reached:
        raise NothingFoundError(out_of_reach(choice, budget))
    return choice


def out_of_reach(choice: Choice, budget: Budget) -> str:
    """That no point keeps to the budget, and which is nearest."""
    point = choice.point
    return (
        f"{budget.unmet}; the nearest is {point.id!r} at {choice.axis.of(point):.2f}x, "
        f"{point.score.value:.1%} on validation"
    )


def choose(run: RunFolder | Path | str, budget: Budget) -> Choice:
    """As `select`, but gives the nearest point where none keeps to the budget."""
    folder = run if isinstance(run, RunFolder) else RunFolder.open(Path(run))
    points = folder.read_points()
    baseline = next((p for p in points if p.role == "baseline"), None)
    controls = [p for p in points if p.role == "control"]
    allowed = _eligible(folder, points)
    axis = axis_of(folder, [*allowed, *controls], budget)
    eligible = [point for point in allowed if point.id in axis.times]
    if not eligible:
        raise NothingFoundError(
            f"{folder.path}: no trial's point was timed on {axis.target!r}; "
            f"trp-search latency --target {axis.target} does it"
        )
    fits = limit(folder, budget, axis, baseline)
    keys = [_most_accurate(axis), _smallest(axis)]
    better, nearest = keys[::-1] if budget.max_drop is not None else keys
    best = max((p for p in eligible if fits(p)), key=better, default=None)
    point = best or max(eligible, key=nearest)
    rivals = [p for p in controls if p.id in axis.times and fits(p)]
    rival = max(rivals, key=better, default=None)
    front, cost = axis.front(eligible), axis.of(point)
    return Choice(
        point=point,
        baseline=baseline,
        test=folder.read_tests().get(point.id),
        control=rival if best and rival and better(rival)[0] > better(point)[0] else None,
        reached=best is not None,
        axis=axis,
        larger=next((p for p in reversed(front) if axis.of(p) < cost), None),
        smaller=next((p for p in front if axis.of(p) > cost), None),
        half_step=next((p for p in front if axis.of(p) >= cost + _HALF), None),
        repeats=folder.read_repeats().get(point.id, ()),
    )


Key = Callable[[Point], tuple[float, float]]


def _most_accurate(axis: Axis) -> Key:
    return lambda point: (point.score.value, axis.of(point))


def _smallest(axis: Axis) -> Key:
    return lambda point: (axis.of(point), point.score.value)


def _eligible(folder: RunFolder, points: Sequence[Point]) -> list[Point]:
    trials = [point for point in points if point.searched]
    if not trials:
        raise NothingFoundError(f"{folder.path}: no trial has been scored yet")
    space = load_space(folder.search)
    allowed = [point for point in trials if space.admits(point)]
    if not allowed:
        raise NothingFoundError(
            f"{folder.path}: none of the {len(trials)} scored points meets the search's constraints"
        )
    kept = [point for point in allowed if folder.weights(point).exists()]
    return kept or allowed  # a run that came without its weights can still be asked
