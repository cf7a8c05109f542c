"""Which checkpoints are kept on disk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trp_search.records import Point
from trp_search.records.objectives import Objective
from trp_search.selection import pareto
from trp_search.space import SearchSpace
from trp_search.store import RunFolder


class Keeper:
    """Removes the weights of dominated points, and of trials without kept points.

    A dominated point stays dominated, so only the kept points need to be known. While none meets
    the constraints, the one that misses them by least is kept, and its trial's weights: other cuts
    of them may. The baseline, its cuts, refits and further cuts that a user asked for are always
    kept.

    Args:
        space: what is kept, and the objectives.
        folder: the run.

    Attributes:
        held: trials whose own weights stay as well: their ranks are searched.
    """

    def __init__(self, space: SearchSpace, folder: RunFolder) -> None:
        self.held: set[str] = set()
        self._space = space
        self._folder = folder
        self._kept: list[Point] = []
        self._behind: list[Point] = []  # what those in int8 were made of

    def add(self, points: Iterable[Point]) -> None:
        """Adds scored points."""
        new = [point for point in points if point.searched]
        if self._space.keep == "all" or not new:
            return
        pool = [*self._kept, *new]
        near = self._space.keep == "near"
        rule = neighbourhood if near else pareto.front
        admitted = [point for point in pool if self._space.admits(point)]
        front = list(rule(admitted, self._space.objective_list))
        self._kept = front or [pareto.nearest(pool, self._space)]
        ids, trials = ({getattr(p, name) for p in self._kept} for name in ("id", "trial"))
        of = {point.int8.of for point in self._kept if point.int8}
        known = {point.id: point for point in [*self._behind, *pool]}
        self._behind = [point for point in known.values() if point.id in of - ids]
        ids |= of
        for point in known.values():
            place = self._folder.trial(point.trial)
            if point.id not in ids and not self._by_hand(point):
                self._remove(point)
            if point.trial not in trials | self.held:
                place.weights.unlink(missing_ok=True)
                place.nested.unlink(missing_ok=True)

    def _remove(self, point: Point) -> None:
        weights = self._folder.trial(point.trial).point_weights(point.id)
        in_int8 = self._folder.weights(point)
        files = [in_int8, in_int8.with_suffix(".bin")] if point.int8 else [weights]
        for file in files:
            file.unlink(missing_ok=True)

    def _by_hand(self, point: Point) -> bool:
        """Whether the point is a cut that a user added to its trial."""
        if point.by_ranks:
            return False
        place = self._folder.trial(point.trial)
        if not place.spec.exists():
            return False
        spec, result = place.read_spec(), place.read_result()
        behind = [p.cut for p in result.points if p.role == "screened_out"] if result else []
        return point.cut not in (*spec.cuts, *spec.screening) or point.cut in behind


def neighbourhood(points: Sequence[Point], objectives: Sequence[Objective]) -> list[Point]:
    """The front, the next one behind it, and each scheme's own in each precision.

    The second front is within noise of the first, and multiply-adds do not tell which scheme is
    fast on a target, nor whether int8 is.
    """
    values = pareto.measured(points, objectives)
    kept = pareto.ranks(values) <= 1
    kinds = [(point.scheme, point.int8 is not None) for point in points]
    for kind in set(kinds):
        rows = [row for row, own in enumerate(kinds) if own == kind]
        kept[rows] |= pareto.nondominated(values[rows])
    return [point for point, stays in zip(points, kept, strict=True) if stays]
