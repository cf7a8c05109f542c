"""Which point of a run to use at a budget."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from trp_search import pareto
from trp_search.errors import InputError, NothingFoundError
from trp_search.records import Point, TestScore
from trp_search.space import load_space
from trp_search.store import RunFolder


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The answer to a budget.

    Attributes:
        point: the chosen point, or the nearest one where none `reached` the budget.
        baseline: the plain network, where it was scored.
        test: the point's accuracy on test; None while it was not scored there.
        control: a cut of the plain network that is more accurate at the same budget, if any is.
        reached: whether `point` is as fast as asked.
    """

    point: Point
    baseline: Point | None
    test: TestScore | None
    control: Point | None
    reached: bool

    @property
    def drop(self) -> float | None:
        """Validation accuracy lost to the plain network, a share; negative is a gain."""
        return None if self.baseline is None else self.baseline.accuracy - self.point.accuracy


def select(run: RunFolder | Path | str, *, speedup: float) -> Choice:
    """The point most accurate on validation among those at least `speedup` times faster.

    Points that miss one of the search's own constraints are left out.

    Raises:
        InputError: a speedup below 1, or no run.
        NothingFoundError: no point is as fast; the message names the nearest.
    """
    choice = choose(run, speedup=speedup)
    if not choice.reached:
        raise NothingFoundError(
            f"no point reaches {speedup:g}x; the nearest is {choice.point.id!r} at "
            f"{choice.point.speedup:.2f}x, {choice.point.accuracy:.1%} on validation"
        )
    return choice


def choose(run: RunFolder | Path | str, *, speedup: float) -> Choice:
    """As `select`, but gives the fastest point where none reaches the budget."""
    if not (math.isfinite(speedup) and speedup >= 1):
        raise InputError(f"speedup: {speedup:g} is not a number from 1 up")
    folder = run if isinstance(run, RunFolder) else RunFolder.open(Path(run))
    points = folder.read_points()
    eligible = _eligible(folder, points)
    reached = pareto.most_accurate(eligible, speedup=speedup)
    point = reached or max(eligible, key=lambda p: (p.speedup, p.accuracy))
    controls = [p for p in points if p.role == "control"]
    rival = pareto.most_accurate(controls, speedup=speedup)
    return Choice(
        point=point,
        baseline=next((p for p in points if p.role == "baseline"), None),
        test=folder.read_tests().get(point.id),
        control=rival if reached and rival and rival.accuracy > point.accuracy else None,
        reached=reached is not None,
    )


def _eligible(folder: RunFolder, points: list[Point]) -> list[Point]:
    trials = [point for point in points if point.searched]
    if not trials:
        raise NothingFoundError(f"{folder.path}: no trial has been scored yet")
    space = load_space(folder.search)
    allowed = [point for point in trials if space.admits(point)]
    if not allowed:
        raise NothingFoundError(
            f"{folder.path}: none of the {len(trials)} scored points meets the search's constraints"
        )
    return allowed
