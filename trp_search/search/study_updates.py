"""Tells Optuna how each trial ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from trp_search.records import TrialResult
from trp_search.space import SearchSpace

_FAILURE = "failure"
_UNFINISHED = "unfinished"


class Teller:
    """Tells the study of a space how its trials ended."""

    def __init__(self, space: SearchSpace, study: optuna.Study) -> None:
        self._space = space
        self._study = study

    def prune(self, trial: Trial, reason: str) -> None:
        """A stopped trial gets no values: its interim scores are not its final ones."""
        trial.set_user_attr("stopped", reason)
        self._study.tell(trial, state=TrialState.PRUNED)

    def fail(self, trial: Trial, reason: str) -> None:
        """A trial that gave no point."""
        trial.set_user_attr(_FAILURE, reason)
        self._study.tell(trial, state=TrialState.FAIL)

    def abandon(self, trial: Trial, reason: str) -> None:
        """A trial that the search did not wait for, and that does not count."""
        trial.set_user_attr(_UNFINISHED, reason)
        self.fail(trial, reason)

    def complete(
        self, trial: Trial, results: Sequence[TrialResult], *, diverged: Sequence[str]
    ) -> None:
        """Tells one value per objective, the mean over repeats.

        A diverged trial gets the worst values and violates a constraint, so that the sampler avoids
        its settings, which it would not after FAIL.
        """
        points = [p for result in results for p in result.points if p.role == "trial"]
        objectives = self._space.objective_list
        limits = {"diverged": float(bool(diverged))}
        if diverged:
            trial.set_user_attr("diverged", diverged[0])
            values = [objective.worst for objective in objectives]
        else:
            values = [_mean([o.read(point) for point in points]) for o in objectives]
            broken = [self._space.violations(point) for point in points]
            limits |= {name: _mean([b[name] for b in broken]) for name in broken[0]}
        known = self._study.get_trials(deepcopy=False)[trial.number].constraints
        for name, value in limits.items():
            if name not in known:
                trial.set_constraint(name, value)
        self._study.tell(trial, values)

    def discount(self, numbers: Iterable[int]) -> None:
        """Failed trials that do not count when the search continues: their cause may be gone."""
        # A study's attribute, because Optuna closes a trial's when it is told.
        self._study.set_user_attr(_UNFINISHED, sorted({*_discounted(self._study), *numbers}))

    def failed(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Those of `trials` that failed and count."""
        void = uncounted(self._study, trials)
        return [t for t in trials if t.state == TrialState.FAIL and t.number not in void]


def uncounted(study: optuna.Study, trials: Sequence[FrozenTrial]) -> set[int]:
    """The numbers of the trials that failed for reasons other than their settings."""
    discounted = _discounted(study)
    return {
        trial.number
        for trial in trials
        if trial.state == TrialState.FAIL
        and (_UNFINISHED in trial.user_attrs or trial.number in discounted)
    }


def _discounted(study: optuna.Study) -> set[int]:
    return set(study.user_attrs.get(_UNFINISHED, ()))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
