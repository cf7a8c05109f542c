"""When a search may end before its last trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trp_search import pareto
from trp_search.records import Point
from trp_search.search.names import BASELINE, number_of
from trp_search.space import SearchSpace


def stands_still(space: SearchSpace, points: Mapping[str, Point], ended: Sequence[int]) -> bool:
    """Whether the front hardly grew over as many trials as the space has patience for.

    Args:
        space: what may vary, and its patience.
        points: all there are, by id.
        ended: numbers of the trials that ended, the first to end first.
    """
    patience, plain = space.patience, points.get(BASELINE)
    if patience is None or plain is None or len(ended) <= patience.trials:
        return False
    late = set(ended[-patience.trials :])
    eligible = [point for point in points.values() if space.admits(point)]
    early = [point for point in eligible if number_of(point.trial) not in late]
    now, then = (
        pareto.covered(part, space.objective_list, baseline=plain) for part in (eligible, early)
    )
    return now - then < patience.gain * patience.trials * now
