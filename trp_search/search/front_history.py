"""The front as it grows, trial by trial, and when it hardly grows any more."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from trp_search.records import Point
from trp_search.selection import pareto
from trp_search.space import SearchSpace


class Growth:
    """The front so far, and what it was some trials ago.

    Only fronts are kept: a point that another dominates is never asked for again.

    Attributes:
        baseline: the baseline, once it was scored.
        front: what no other point dominates and what meets the constraints, fastest last.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self.baseline: Point | None = None
        self.front: list[Point] = []
        patience = space.patience
        self._fronts: deque[list[Point]] = deque(maxlen=patience.trials + 1 if patience else 1)

    def add(self, points: Iterable[Point]) -> None:
        """Takes in what was scored."""
        new = [point for point in points if self._space.admits(point)]
        if new:
            self.front = pareto.front([*self.front, *new], self._space.objective_list)

    def end_trial(self) -> None:
        """Remembers the front as it is when a trial has ended."""
        self._fronts.append(self.front)

    @property
    def hypervolume(self) -> float | None:
        """What the front covers; None before there is a baseline to measure from."""
        return None if self.baseline is None else self._covered(self.front)

    @property
    def settled(self) -> bool:
        """Whether the last trials added as little as the space has patience for."""
        patience = self._space.patience
        if patience is None or self.baseline is None or len(self._fronts) <= patience.trials:
            return False
        now, then = self._covered(self._fronts[-1]), self._covered(self._fronts[0])
        return now - then < patience.gain * patience.trials * now

    def _covered(self, front: list[Point]) -> float:
        assert self.baseline is not None
        return pareto.covered(front, self._space.objective_list, baseline=self.baseline)
