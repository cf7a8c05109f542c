"""The fastest cut of trained weights that loses no more than allowed, by scoring."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable

from trp_search.errors import InputError
from trp_search.progress import doing
from trp_search.records import Cut, MaxDrop, Point, Score, Speedup
from trp_search.store import RunFolder
from trp_search.tasks.task import DivergedError

_LEAST = 1.1  # the first speedup that is tried
_STEPS = 5  # of bisection, to about 2 %


def fastest_of(folder: RunFolder, trial: str, like: Cut, score: Callable[[Cut], Score]) -> Cut:
    """As `fastest`, of the weights of a trial, for the drop that `like` asks for.

    It is as fast as each such cut that the run has, from 1.1x.
    """
    assert isinstance(like.keep, MaxDrop), like.keep
    baseline, most = _baseline(folder), like.keep.max_drop
    own = [point for point in folder.read_points() if point.trial == trial]
    start = _reached(own, like, baseline=baseline, most=most)
    return fastest(score, like, baseline=baseline, most=most, start=start)


def fastest(
    score: Callable[[Cut], Score],
    like: Cut,
    *,
    baseline: Score,
    most: float,
    start: float = _LEAST,
) -> Cut:
    """A cut like `like` to the largest speedup found at which it loses at most `most`.

    `score` scores a cut on validation; what it loses is against the `baseline`.

    From `start`, or 1.1x if that loses more, speedups double until one loses more or is out of
    reach, then halve the gap, by ratio. The loss is taken to grow with the speedup, which noise may
    break; what is returned was scored.

    Raises:
        InputError: even 1.1x loses more, or is out of reach.
        DivergedError: at 1.1x the loss is not finite.
    """

    def fits(speedup: float) -> bool:
        try:
            with doing(f"scoring {speedup:g}x"):
                found = score(dataclasses.replace(like, keep=Speedup(speedup)))
        except (InputError, DivergedError):
            if speedup == _LEAST:
                raise
            return False  # out of reach, or no network
        return found.keeps_to(baseline, most)

    low = start if start > _LEAST and fits(start) else _LEAST
    if low == _LEAST and not fits(low):
        raise InputError(f"max_drop: even {low:g}x loses more than {most:g} on validation")
    high = 2 * low
    while fits(high):
        low, high = high, 2 * high
    for _ in range(_STEPS):
        middle = math.floor(100 * math.sqrt(low * high)) / 100
        if not low < middle < high:
            break
        low, high = (middle, high) if fits(middle) else (low, middle)
    return dataclasses.replace(like, keep=Speedup(low))


def _baseline(folder: RunFolder) -> Score:
    """The score of the run's baseline; InputError if it has none."""
    found = next((point for point in folder.read_points() if point.role == "baseline"), None)
    if found is None:
        raise InputError(f"{folder.path}: max_drop: the run has no baseline yet")
    return found.score


def _reached(points: Iterable[Point], like: Cut, *, baseline: Score, most: float) -> float:
    """The largest speedup at which `points`, cut like `like` and no more, lose at most `most`."""
    found = [
        point.cut.keep.speedup
        for point in points
        if point.cut is not None
        and isinstance(point.cut.keep, Speedup)
        and dataclasses.replace(point.cut, keep=like.keep) == like
        and not (point.int8 or point.role == "screened_out" or point.tuned)
        and point.score.keeps_to(baseline, most)
    ]
    return max(found, default=_LEAST)
