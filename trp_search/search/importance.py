"""Writes how much each setting explains of each objective, for the report."""

from __future__ import annotations

import json
from collections import Counter

import optuna
from optuna.trial import FrozenTrial, TrialState

from trp_search.search.study_updates import own, with_values
from trp_search.space import SearchSpace
from trp_search.store import RunFolder, write_whole

_FEWEST = 10


def write_importance(space: SearchSpace, folder: RunFolder, trials: list[FrozenTrial]) -> None:
    """Writes `importance.json`: by objective the share of its variance that each setting explains.

    fANOVA (Hutter et al., ICML 2014) over scored trials, from 10 on; settings that only some of
    them have are left out, and named.
    """
    scored = with_values(own(trials, TrialState.COMPLETE))
    if len(scored) < _FEWEST:
        return
    found = {
        objective.name: _shares(scored, place, seed=space.seed)
        for place, objective in enumerate(space.objective_list)
    }
    has = Counter(name for trial in scored for name in trial.params)
    left_out = sorted(name for name, trials in has.items() if trials < len(scored))
    values = {"trials": len(scored), "objectives": found, "left_out": left_out}
    write_whole(folder.importance, json.dumps(values, indent=2) + "\n")


def _shares(trials: list[FrozenTrial], place: int, *, seed: int) -> dict[str, float]:
    from optuna import importance  # noqa: PLC0415  a second of scikit-learn, at a search's start

    if len({trial.values[place] for trial in trials if trial.values}) < 2:
        return {}  # there is nothing to explain
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for trial in trials:
        assert trial.values is not None
        study.add_trial(
            optuna.trial.create_trial(
                params=trial.params,
                distributions=trial.distributions,
                value=trial.values[place],
            )
        )
    evaluator = importance.FanovaImportanceEvaluator(seed=seed)
    return importance.get_param_importances(study, evaluator=evaluator)
