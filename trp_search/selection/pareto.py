"""Pareto fronts: dominance and hypervolume. Larger is better."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Sequence

import moocore
import numpy as np
from numpy.typing import NDArray

from trp_search.records import Point
from trp_search.records.objectives import Objective
from trp_search.space import SearchSpace

Values = NDArray[np.float64]


def nondominated(values: Values) -> NDArray[np.bool_]:
    """Which rows of (n, m) `values` are non-dominated; equal rows are all kept."""
    if len(values) == 0:
        return np.zeros(0, dtype=bool)
    mask: NDArray[np.bool_] = moocore.is_nondominated(values, maximise=True, keep_weakly=True)
    return mask


def ranks(values: Values) -> NDArray[np.int64]:
    """The front each row of (n, m) `values` lies on: 0 the first, 1 once that is removed, ..."""
    if len(values) == 0:
        return np.zeros(0, dtype=np.int64)
    levels: NDArray[np.int64] = moocore.pareto_rank(values, maximise=True).astype(np.int64)
    return levels


def order(values: Values) -> NDArray[np.int64]:
    """Rows of (n, m) `values`, the best first: by front, then far from those already taken.

    Within a front the row with the best first value leads, and each next one is the farthest (L1,
    in units of each column's range) from its nearest one taken, as in MO-ASHA's epsilon-net
    (Schmucker et al., arXiv 2106.12639).
    """
    if len(values) == 0:
        return np.zeros(0, dtype=np.int64)
    span = np.ptp(values, axis=0)
    scaled = (values - values.min(axis=0)) / np.where(span > 0, span, 1.0)
    levels = ranks(values)
    taken: list[int] = []
    for level in range(int(levels.max()) + 1):
        rest = [int(row) for row in np.flatnonzero(levels == level)]
        nearest = np.full(len(values), np.inf)
        row = max(rest, key=lambda row: scaled[row, 0])
        while True:
            taken.append(row)
            rest.remove(row)
            if not rest:
                break
            nearest = np.minimum(nearest, np.abs(scaled - scaled[row]).sum(axis=1))
            row = max(rest, key=lambda row: nearest[row])
    return np.array(taken, dtype=np.int64)


def hypervolume(values: Values, reference: Values) -> float:
    """Volume between the front of (n, m) `values` and `reference` (m,), which rows must beat."""
    inside = values[(values > reference).all(axis=1)] if len(values) else values
    if len(inside) == 0:
        return 0.0
    return float(moocore.hypervolume(inside, ref=reference, maximise=True))


def measured(points: Sequence[Point], objectives: Sequence[Objective]) -> Values:
    """(n, m) objective values of `points`, signed so that larger is better."""
    rows = [[objective.gain(point) for objective in objectives] for point in points]
    return np.array(rows, dtype=np.float64).reshape(len(points), len(objectives))


def front(points: Sequence[Point], objectives: Sequence[Objective]) -> list[Point]:
    """The non-dominated `points`, fastest last; of identical networks the first."""
    mask = nondominated(measured(points, objectives))
    networks: dict[object, Point] = {}
    for point in itertools.compress(points, mask):
        networks.setdefault(_network(point), point)
    return sorted(networks.values(), key=lambda point: (point.speedup, -point.score.gain))


def _network(point: Point) -> object:
    """What two points have in common only if they are one network twice."""
    layers = tuple((layer.name, layer.scheme, layer.ranks) for layer in point.layers)
    return point.score, point.loss, point.macs, point.parameters, point.bytes, layers


def contenders(points: Iterable[Point], trials: Collection[str]) -> tuple[Point, ...]:
    """The points that a front is chosen among: trials', or the cuts of a run without trials.

    Args:
        points: of a run.
        trials: the search's own, as far as they have begun.
    """
    every = tuple(points)
    searched = tuple(point for point in every if point.searched)
    if trials or any(point.int8 is None for point in searched):
        return searched
    return tuple(point for point in every if point.role == "control" or point.searched)


def search_front(points: Iterable[Point], space: SearchSpace) -> list[Point]:
    """The front of a search: of trials' points that meet every constraint, fastest last."""
    return front([point for point in points if space.admits(point)], space.objective_list)


def covered(points: Sequence[Point], objectives: Sequence[Objective], *, baseline: Point) -> float:
    """Hypervolume of `points` above the baseline, or each objective's slack behind it."""
    corner = np.array([objective.corner(baseline) for objective in objectives], dtype=np.float64)
    return hypervolume(measured(points, objectives), corner)


def nearest(points: Iterable[Point], space: SearchSpace) -> Point:
    """The point that misses the constraints by least, of equals the best on validation."""
    return min(points, key=lambda point: (space.shortfall(point), -point.score.gain, point.id))


def best_at(points: Sequence[Point], *, speedup: float) -> Point | None:
    """The best point on validation among those at least `speedup` fast, or None."""
    fast = [point for point in points if point.speedup >= speedup]
    return max(fast, key=lambda point: (point.score.gain, point.speedup), default=None)
