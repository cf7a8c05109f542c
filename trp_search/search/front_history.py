"""The front after each trial, and whether it still grows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from trp_search.records import Point
from trp_search.selection import pareto
from trp_search.space import SearchSpace


class FrontHistory:
    """The front so far, and the front some trials ago.

    Only fronts are kept: a dominated point is never needed again.

    Attributes:
        baseline: the baseline, once it is scored.
        front: the non-dominated points that meet the constraints, fastest last.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self.baseline: Point | None = None
        self.front: list[Point] = []
        patience = space.patience
        self._fronts: deque[list[Point]] = deque(maxlen=patience.trials + 1 if patience else 1)

    def add(self, points: Iterable[Point]) -> None:
        """Adds scored points."""
        new = [point for point in points if self._space.admits(point)]
        if new:
            self.front = pareto.front([*self.front, *new], self._space.objective_list)

    def end_trial(self) -> None:
        """Stores the front at the end of a trial."""
        self._fronts.append(self.front)

    @property
    def hypervolume(self) -> float | None:
        """The front's hypervolume; None before the baseline is scored."""
        return None if self.baseline is None else self._covered(self.front)

    @property
    def settled(self) -> bool:
        """Whether the last trials added less than the space's `patience` asks for."""
        patience = self._space.patience
        if patience is None or self.baseline is None or len(self._fronts) <= patience.trials:
            return False
        now, then = self._covered(self._fronts[-1]), self._covered(self._fronts[0])
        return now - then < patience.gain * patience.trials * now

    def _covered(self, front: list[Point]) -> float:
        assert self.baseline is not None
        return pareto.covered(front, self._space.objective_list, baseline=self.baseline)
