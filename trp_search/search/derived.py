"""What Optuna hears of a trial's further cuts, where a space says so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial

from trp_search.records import Cut, Point, TrialResult
from trp_search.space import SearchSpace

_DERIVED = "derived"
# Fixed bounds, so that the cuts a space asks for may change from one call to the next.
_CUTS: dict[str, BaseDistribution] = {
    "derived_energy": FloatDistribution(0.0, 1.0),
    "derived_speedup": FloatDistribution(1.0, 1e6),
}


def is_derived(trial: FrozenTrial) -> bool:
    """Whether a trial of the study stands for a further cut of another one's weights."""
    return _DERIVED in trial.user_attrs


def tell(
    study: optuna.Study, space: SearchSpace, trial: FrozenTrial, results: Sequence[TrialResult]
) -> None:
    """Adds a finished trial for each further cut of `trial`, the mean over its repeats, once.

    It has the settings that were trained with, the cut as a parameter of its own and a mark.
    """
    told = {t.user_attrs.get(_DERIVED) for t in study.get_trials(deepcopy=False)}
    cuts: dict[Cut, list[Point]] = defaultdict(list)
    for point in (point for result in results for point in result.points):
        if point.role == "derived" and point.cut is not None:
            cuts[point.cut].append(point)
    for cut, points in cuts.items():
        mark = f"{trial.number}-{cut.name}"
        if len(points) < len(results) or mark in told:
            continue
        own = {f"derived_{cut.keep.key()}": cut.keep.amount}
        violations = [space.violations(point) for point in points]
        study.add_trial(
            optuna.trial.create_trial(
                params=trial.params | own,
                distributions=trial.distributions | {name: _CUTS[name] for name in own},
                values=[
                    sum(objective.read(point) for point in points) / len(points)
                    for objective in space.objective_list
                ],
                constraints={"diverged": 0.0}
                | {
                    name: sum(missed[name] for missed in violations) / len(points)
                    for name in violations[0]
                },
                user_attrs={_DERIVED: mark},
            )
        )
