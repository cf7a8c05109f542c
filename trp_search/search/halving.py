"""Successive halving for several objectives: which trials stop at a rung. No clock, no Ray."""

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
    """The scores of trials at each rung, and which of them continue.

    A trial is compared on arrival with all that arrived before it (asynchronous successive
    halving, arXiv 1810.05934), by front and by distance within a front (MO-ASHA, arXiv 2106.12639).
    Unlike there, non-dominated trials always continue unless `keep_front` is off.

    Args:
        rungs: where and how many.
        objectives: what a standing is compared by.
        reports: those judged before this process began, in that order; they are decided again.
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
        """Why the trial stops after this epoch, or None if it continues; decided once."""
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
    """The halving of a run, which includes the judgements of an earlier process.

    A trial that is still open repeats its last report: the earlier decision holds.
    """
    if space.rungs is None:
        return None
    compared = [OBJECTIVES[name] for name in space.rungs.by or space.objectives]
    return Halving(space.rungs, compared, reports=folder.read_judged())
