"""Successive halving for several objectives: who stops at a rung. No clock, no Ray."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from trp_search.records import EpochReport
from trp_search.records.objectives import OBJECTIVES, Objective
from trp_search.selection import pareto
from trp_search.space import Rungs, SearchSpace
from trp_search.store import RunFolder


class Halving:
    """What trials were worth at each rung, and who goes on.

    A trial is compared when it arrives, with all that arrived before it (asynchronous successive
    halving, arXiv 1810.05934), by front and by distance within a front (MO-ASHA, arXiv 2106.12639).
    Unlike there, what no other dominates goes on in any case unless `keep_front` is off.

    Args:
        rungs: where and how many.
        objectives: what a standing is compared by.
        reports: what was judged before this process began, in that order; it is decided again.
    """

    def __init__(
        self, rungs: Rungs, objectives: Sequence[Objective], *, reports: Iterable[EpochReport] = ()
    ) -> None:
        self._factor = rungs.factor
        self._keep_front = rungs.keep_front
        self._objectives = objectives
        self._reached: dict[int, dict[str, list[float]]] = defaultdict(dict)
        self._decided: dict[tuple[int, str], str | None] = {}
        for report in reports:
            self.judge(report)

    def judge(self, report: EpochReport) -> str | None:
        """Why the trial is to stop after this epoch, or None when it goes on; decided once."""
        if report.rung_score is None:
            return None
        key = report.epoch, report.trial
        if key not in self._decided:
            gains = [objective.gain(report.rung_score) for objective in self._objectives]
            self._reached[report.epoch][report.trial] = gains
            self._decided[key] = self._compared(report)
        return self._decided[key]

    def _compared(self, report: EpochReport) -> str | None:
        reached = self._reached[report.epoch]
        if len(reached) < self._factor:
            return None  # too few to tell
        values = np.array(list(reached.values()))
        own = list(reached).index(report.trial)
        if self._keep_front and pareto.nondominated(values)[own]:
            return None
        place = 1 + list(pareto.order(values)).index(own)
        going_on = max(1, int(len(reached) / self._factor))
        if place <= going_on:
            return None
        return f"behind after epoch {report.epoch} of {report.epochs}"


def halving_of(space: SearchSpace, folder: RunFolder) -> Halving | None:
    """Who stops at the rungs; it knows what an earlier process judged.

    A trial that is still open says its last epoch again: what was decided then holds.
    """
    if space.rungs is None:
        return None
    compared = [OBJECTIVES[name] for name in space.rungs.by or space.objectives]
    return Halving(space.rungs, compared, reports=folder.read_judged())
