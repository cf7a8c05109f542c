"""What settings explain, on studies whose answer is known."""

from __future__ import annotations

import json
from collections.abc import Callable

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, create_trial

from trp_search.search.importance import write_importance
from trp_search.space import SearchSpace
from trp_search.store import RunFolder


def scored(number: int, **attributes: object) -> FrozenTrial:
    """Accuracy hangs on `energy` alone, speedup on `rate`."""
    energy, rate = (number * 7 % 31) / 31, (number * 11 % 31) / 31
    unit = FloatDistribution(0, 1)
    return create_trial(
        params={"energy": energy, "rate": rate},
        distributions={"energy": unit, "rate": unit},
        values=[energy**2, 1 + rate],
        **attributes,
    )


@pytest.fixture
def write(make_space: Callable[..., SearchSpace], empty_run: RunFolder):
    def run(trials: list[FrozenTrial]) -> dict[str, object] | None:
        write_importance(make_space(), empty_run, trials)
        found = empty_run.importance
        return json.loads(found.read_text()) if found.exists() else None

    return run


def test_each_objective_names_what_explains_it(write):
    found = write([scored(number) for number in range(30)])
    assert found["trials"] == 30
    accuracy, speedup = (found["objectives"][name] for name in ("accuracy", "speedup"))
    assert accuracy["energy"] > 0.8
    assert speedup["rate"] > 0.8
    assert sum(accuracy.values()) == pytest.approx(1.0)


def test_settings_that_some_trials_lack_are_named(write):
    trials = [scored(number) for number in range(12)]
    unit = FloatDistribution(0, 1)
    alone = {"params": {"energy": 0.3}, "distributions": {"energy": unit}}
    trials.append(create_trial(**alone, values=[0.1, 1.5]))
    found = write(trials)
    assert found["left_out"] == ["rate"]
    assert set(found["objectives"]["accuracy"]) == {"energy"}


def test_failed_and_diverged_trials_are_left_out(write):
    trials = [scored(number) for number in range(12)]
    trials += [create_trial(state=optuna.trial.TrialState.FAIL) for _ in range(3)]
    trials.append(scored(40, constraints={"diverged": 1.0}))
    assert write(trials)["trials"] == 12


def test_an_objective_that_never_changed_is_explained_by_nothing(write):
    trials = [scored(number) for number in range(12)]
    same = [
        create_trial(params=t.params, distributions=t.distributions, values=[t.values[0], 2.0])
        for t in trials
    ]
    found = write(same)["objectives"]
    assert found["speedup"] == {}
    assert set(found["accuracy"]) == {"energy", "rate"}


def test_a_few_trials_explain_nothing(write):
    assert write([scored(number) for number in range(9)]) is None
