"""A proposal of Optuna: the trainings that it waits for, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from optuna.trial import Trial

from trp_search.records import TrialResult, TrialSpec


@dataclass
class Asked:
    """One Optuna trial and the trainings (one per repeat) it waits for.

    Attributes:
        twins: proposals of the same settings, which end as it does.
    """

    trial: Trial
    specs: tuple[TrialSpec, ...]
    results: dict[str, TrialResult] = field(default_factory=dict)
    twins: list[Trial] = field(default_factory=list)

    def waits_for(self, name: str) -> bool:
        """Whether the training `name` is one of its own."""
        return any(spec.name == name for spec in self.specs)

    @property
    def ended(self) -> Ended | None:
        """How it ended, once all of its trainings have."""
        if len(self.results) < len(self.specs):
            return None
        return Ended([self.results[spec.name] for spec in self.specs])


@dataclass(frozen=True)
class Ended:
    """The results of a trial's trainings; each reason is that of the first that has one."""

    results: Sequence[TrialResult]

    @property
    def stopped(self) -> str | None:
        """Why it was stopped, if it was."""
        return next((result.stopped for result in self.results if result.stopped), None)

    @property
    def failed(self) -> str | None:
        """Why there is no score, if neither its settings nor a rung is the cause."""
        others = (r for r in self.results if not (r.stopped or r.diverged or r.out_of_reach))
        return None if self.stopped else next(filter(None, map(reason, others)), None)

    @property
    def out_of_reach(self) -> str | None:
        """The budget that no ranks meet, if so."""
        return next((r.failed for r in self.results if r.out_of_reach), None)

    @property
    def unusable(self) -> str | None:
        """Why its settings give no score, if so."""
        return next((r.why_not for r in self.results if r.diverged or r.out_of_reach), None)


def reason(result: TrialResult) -> str | None:
    """Why a result cannot be used, or None."""
    return result.why_not or (None if result.points else "it ended without a point")
