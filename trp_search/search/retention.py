"""Which networks stay on disk: those that somebody may ask for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from trp_search.records import Point
from trp_search.records.objectives import Objective
from trp_search.selection import pareto
from trp_search.space import SearchSpace
from trp_search.store import RunFolder


class Keeper:
    """Removes the weights of points that fall behind, and of trials that have none left.

    What is behind once stays behind, so only the points that are kept need to be known. The
    baseline, its cuts, refits and further cuts that somebody asked for stay in any case.
    """

    def __init__(self, space: SearchSpace, folder: RunFolder) -> None:
        self._space = space
        self._folder = folder
        self._kept: list[Point] = []

    def add(self, points: Iterable[Point]) -> None:
        """Takes in what was scored."""
        new = [point for point in points if point.searched]
        if self._space.keep == "all" or not new:
            return
        pool = [*self._kept, *(point for point in new if self._space.admits(point))]
        near = self._space.keep == "near"
        rule = neighbourhood if near else pareto.front
        self._kept = list(rule(pool, self._space.objective_list))
        ids, trials = ({getattr(p, name) for p in self._kept} for name in ("id", "trial"))
        for point in {point.id: point for point in [*pool, *new]}.values():
            place = self._folder.trial(point.trial)
            if point.id not in ids and not self._by_hand(point):
                place.point_weights(point.id).unlink(missing_ok=True)
            if point.trial not in trials:
                place.weights.unlink(missing_ok=True)

    def _by_hand(self, point: Point) -> bool:
        """Whether the point is a cut that its trial was not told to make."""
        place = self._folder.trial(point.trial)
        if not place.spec.exists():
            return False
        spec = place.read_spec()
        return point.cut not in (*spec.cuts, *spec.screening)


def neighbourhood(points: Sequence[Point], objectives: Sequence[Objective]) -> list[Point]:
    """The front, the next one behind it, and each scheme's own.

    The next one is within noise of the first, and which scheme is fast where a network will run is
    not known by its multiply-adds.
    """
    values = pareto.measured(points, objectives)
    kept = pareto.ranks(values) <= 1
    schemes = np.array([point.scheme or "" for point in points])
    for scheme in set(schemes.tolist()):
        (rows,) = np.nonzero(schemes == scheme)
        kept[rows] |= pareto.nondominated(values[rows])
    return [point for point, stays in zip(points, kept, strict=True) if stays]
