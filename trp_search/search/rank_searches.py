"""The networks whose ranks are searched, one after the other, once all trainings have ended."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Set

from trp_search.records import TrialResult, TrialSpec
from trp_search.search.events import Event, Ranked, Stage
from trp_search.search.proposer import Proposer
from trp_search.search.rank_study import searched
from trp_search.search.ranks import RankSearcher
from trp_search.search.retention import Keeper
from trp_search.selection import pareto
from trp_search.space import RankSearch, SearchSpace
from trp_search.store import RunFolder


class RankSearches:
    """Hands out batches of cuts and takes their points, from when it is first asked for one.

    Args:
        space: what is asked for.
        folder: the run.
        proposer: of the trainings, which have ended by then.
        keeper: of the run's weights.
        workers: how many share a generation.
        tell: hears what a person may want to watch.
    """

    def __init__(
        self,
        space: SearchSpace,
        folder: RunFolder,
        proposer: Proposer,
        keeper: Keeper,
        *,
        workers: int,
        tell: Callable[[Event], None],
    ) -> None:
        self._space, self._folder = space, folder
        self._proposer, self._keeper = proposer, keeper
        self._workers, self._tell = workers, tell
        self._left: deque[RankSearcher] | None = None
        self._at: RankSearcher | None = None
        keeper.held |= searched(proposer.storage)

    @property
    def running(self) -> Set[str]:
        """Batches that were handed out and have not ended."""
        return self._at.running if self._at else frozenset()

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left to hand out, now or later."""
        if self._left is None:
            # All are opened at once: their studies name the weights that have to stay.
            self._left = deque(self._opened(*one) for one in self._chosen())
            self._keeper.held |= searched(self._proposer.storage)
            if not self._left and self._space.rank_search and self._space.rank_search.vectors:
                why = "no trial whose layers could each take a rank has kept its weights"
                self._tell(Stage(text=f"no ranks are searched: {why}"))
        while self._at is None or (self._at.exhausted and not self._at.running):
            if not self._left:
                return True
            self._at = self._left.popleft()
            if not self._at.total:
                why = "no layer is cheaper at any rank"
                self._tell(Stage(text=f"no ranks of trial {self._at.trial} are searched: {why}"))
            elif not self._at.exhausted:
                self._tell(Stage(text=f"searching the ranks of trial {self._at.trial}"))
                self._tell(self._ranked(self._at, None))
        return self._at.exhausted

    def next(self) -> TrialSpec | None:
        """The next batch, or None if none can start yet."""
        assert self._at is not None
        return self._at.next()

    def finish(self, result: TrialResult) -> None:
        """Takes a batch that ended, well or not."""
        assert self._at is not None
        self._proposer.record(result.points)
        self._at.finish(result)
        self._keeper.add(result.points)
        self._tell(self._ranked(self._at, result))
        if self._at.failure is not None:
            why = f"no more ranks of trial {self._at.trial} are scored: {self._at.failure}"
            self._tell(Stage(text=why))

    def _ranked(self, search: RankSearcher, result: TrialResult | None) -> Ranked:
        history = self._proposer.front_history
        return Ranked(
            trial=search.trial,
            done=search.scored,
            total=search.total,
            result=result,
            front=tuple(history.front),
            hypervolume=history.hypervolume,
        )

    def _chosen(self) -> list[tuple[TrialSpec, RankSearch]]:
        """The trials whose points cover the largest hypervolume, where their weights are kept.

        Of those without a point that meets the constraints, the ones that come nearest.
        """
        baseline = self._proposer.front_history.baseline
        assert baseline is not None
        found: list[tuple[tuple[float, float], TrialSpec, RankSearch]] = []
        for name in self._folder.read_numbers():
            place = self._folder.trial(name)
            spec, result = place.read_spec(), place.read_result()
            asked = self._space.searches_ranks(spec)
            if asked and asked.vectors and result and result.ended_well and place.weights.exists():
                own = [point for point in result.points if self._space.admits(point)]
                covered = pareto.covered(own, self._space.objective_list, baseline=baseline)
                searched = (point for point in result.points if point.searched)
                missed = min(map(self._space.shortfall, searched), default=math.inf)
                found.append(((-covered, missed), spec, asked))
        found.sort(key=lambda one: one[0])
        return [(spec, asked) for _, spec, asked in found[: found[0][2].trials if found else 0]]

    def _opened(self, spec: TrialSpec, asked: RankSearch) -> RankSearcher:
        return RankSearcher(
            self._space,
            self._folder,
            self._proposer.storage,
            spec=spec,
            asked=asked,
            workers=self._workers,
        )
