"""The front as it grows, trial by trial, and when it hardly grows any more."""

from __future__ import annotations

from collections.abc import Iterable

from trp_search import pareto
from trp_search.records import Point
from trp_search.space import SearchSpace


class Growth:
    """The front of the trials that ended, and what it covered after each of them.

    Only the front is kept, so that a search's thousandth trial costs what its first did.

    Attributes:
        plain: the plain network, once it was scored.
        front: what no other point dominates and what meets the constraints, fastest last.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self.plain: Point | None = None
        self.front: list[Point] = []
        self._volumes: list[float] = []

    def add(self, points: Iterable[Point]) -> None:
        """The points of a trial that ended; none where it has none."""
        new = [point for point in points if self._space.admits(point)]
        if new:
            self.front = pareto.front([*self.front, *new], self._space.objective_list)
        self._volumes.append(self.hypervolume or 0.0)

    @property
    def hypervolume(self) -> float | None:
        """What the front covers; None before there is a plain network to measure from."""
        if self.plain is None:
            return None
        return pareto.covered(self.front, self._space.objective_list, baseline=self.plain)

    @property
    def settled(self) -> bool:
        """Whether the last trials added as little as the space has patience for."""
        patience = self._space.patience
        if patience is None or self.plain is None or len(self._volumes) <= patience.trials:
            return False
        now, then = self._volumes[-1], self._volumes[-1 - patience.trials]
        return now - then < patience.gain * patience.trials * now
