"""Tells Optuna how each trial ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from trp_search.records import TrialResult
from trp_search.space import SearchSpace

DIVERGED = "diverged"  # the constraint of trials that have no values of their own
BEYOND = 1e18  # more than any trial with values can miss its constraints by
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
_SAME = "same_as"
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
        self, trial: Trial, results: Sequence[TrialResult], *, unusable: str | None
    ) -> None:
        """Tells one value per objective, the mean over repeats.

        A trial that diverged, or whose budget is out of reach, gets the worst values and violates a
        constraint by more than any other, so that the sampler avoids its settings, which it would
        not after FAIL.
        """
        points = [p for result in results for p in result.points if p.role == "trial"]
        objectives = self._space.objective_list
        limits = {DIVERGED: BEYOND if unusable else 0.0}
        if unusable:
            trial.set_user_attr("unusable", unusable)
            values = [objective.worst for objective in objectives]
        else:
            values = [_mean([o.read(point) for point in points]) for o in objectives]
            broken = [self._space.shortfalls(point) for point in points]
            limits |= {name: _mean([b[name] for b in broken]) for name in broken[0]}
        self._tell(trial, values, limits)

    def repeat(self, trial: Trial, number: int) -> None:
        """A trial with the settings of an earlier one, which ends as that one did."""
        earlier = self._study.get_trials(deepcopy=False)[number]
        trial.set_user_attr(_SAME, number)
        if earlier.state == TrialState.PRUNED:
            self._study.tell(trial, state=TrialState.PRUNED)
        elif earlier.state == TrialState.FAIL:
            self.abandon(trial, earlier.user_attrs[_FAILURE])
        else:
            self._tell(trial, earlier.values, earlier.constraints)

    def _tell(self, trial: Trial, values: Sequence[float], limits: Mapping[str, float]) -> None:
        known = self._study.get_trials(deepcopy=False)[trial.number].constraints
        for name, value in limits.items():
            if name not in known:
                trial.set_constraint(name, value)
        self._study.tell(trial, values)

    def discount(self, numbers: Iterable[int]) -> None:
        """Failed trials that do not count when the search continues: their cause may be gone."""
        # A study's attribute, because Optuna closes a trial's when it is told.
        self._study.set_user_attr(_UNFINISHED, sorted({*_discounted(self._study), *numbers}))

    def ended(self, trials: Sequence[FrozenTrial]) -> list[int]:
        """The numbers of those of `trials` that ended and count, the first to end first."""
        void = uncounted(self._study, trials)
        counted = (t for t in own(trials, *_ENDED) if t.number not in void)
        ended = {t.number: t.datetime_complete for t in counted if t.datetime_complete is not None}
        return sorted(ended, key=lambda number: ended[number])


def own(trials: Iterable[FrozenTrial], *states: TrialState) -> list[FrozenTrial]:
    """The trials in one of the states that are no repeats of others."""
    return [t for t in trials if t.state in states and _SAME not in t.user_attrs]


def with_values(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Those of complete trials whose values are their own, not the worst ones."""
    return [t for t in trials if t.constraints.get(DIVERGED, 0.0) <= 0]


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
