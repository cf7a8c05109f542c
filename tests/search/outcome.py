"""What a search has left behind."""

from __future__ import annotations

import dataclasses

import optuna
from optuna.trial import FrozenTrial

from trp_search.records import Point, TrialResult
from trp_search.store import RunFolder


def study_of(folder: RunFolder) -> list[FrozenTrial]:
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder.study}")
    trials = optuna.load_study(study_name="trp_search", storage=storage).trials
    storage.remove_session()
    storage.engine.dispose()
    return trials


def states(folder: RunFolder) -> str:
    return " ".join(trial.state.name for trial in study_of(folder))


def untimed(result: TrialResult) -> list[Point]:
    assert result.points
    return [dataclasses.replace(point, seconds=0.0) for point in result.points]
