"""The Optuna study of a run: opening it and drawing the space's parameters."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import optuna
import sqlalchemy.exc
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial

from trp_search.errors import InputError
from trp_search.search.agreement import check_agrees, check_there
from trp_search.search.names import STUDY
from trp_search.search.sampler import sampler
from trp_search.search.study_updates import uncounted
from trp_search.space import Parameter, SearchSpace, Value, warm_start
from trp_search.store import RunFolder

_OBJECTIVES = "objectives"
_FIRST = "first"
# What Optuna says of a range or a list that differs from the one a parameter had.
_OTHER_RANGE = ("does not support dynamic value space", "to the same parameter name")
# What SQLAlchemy and Optuna raise for rows that they did not write.
_DAMAGED = (
    *(sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError),
    *(ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError),
)


def opened(
    space: SearchSpace, folder: RunFolder
) -> tuple[optuna.storages.RDBStorage, optuna.Study, list[FrozenTrial]]:
    """The run's study, created if there is none, with its file and its trials.

    Raises:
        InputError: the file is no study, is damaged, or holds one of other objectives or of
            other trials than the folder's.
    """
    check_there(folder)
    try:
        storage = _storage(folder.study)
        study = _study(space, folder, storage)
        _enqueue(space, study)
        return storage, study, study.get_trials(deepcopy=False)
    except _DAMAGED as error:
        cause = error.__cause__ or error
        said = (str(cause).splitlines() or [type(cause).__name__])[0]
        raise InputError(f"{folder.study}: cannot be read, or is damaged: {said}") from None


def _enqueue(space: SearchSpace, study: optuna.Study) -> None:
    """Enqueues the warm start's settings, each until a trial of it counts."""
    told = study.get_trials(deepcopy=False)
    void = uncounted(study, told)
    known = {t.user_attrs.get(_FIRST) for t in told if t.number not in void}
    for index, drawn in enumerate(warm_start.parameters(space)):
        if index not in known:
            study.enqueue_trial(drawn, user_attrs={_FIRST: index})


def _storage(path: Path) -> optuna.storages.RDBStorage:
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            if file.read(6) != b"SQLite":
                raise InputError(f"{path}: not an SQLite database")
    wait = {"connect_args": {"timeout": 60}}
    # A URL: what its parser, or Optuna's template of it, would take for its own is quoted.
    return optuna.storages.RDBStorage(f"sqlite:///{quote(str(path))}", engine_kwargs=wait)


def _study(
    space: SearchSpace, folder: RunFolder, storage: optuna.storages.RDBStorage
) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    goals = (StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE)
    directions = [goals[objective.maximise] for objective in space.objective_list]
    study = optuna.create_study(
        storage=storage, study_name=STUDY, directions=directions, load_if_exists=True
    )
    if study.directions != directions:
        kept = [direction.name.lower() for direction in study.directions]
        raise InputError(
            f"{folder.study}: holds a study of other objectives (it has directions "
            f"{', '.join(kept)}; objectives {', '.join(space.objectives)} were given)"
        )
    check_agrees(space, folder, study.get_trials(deepcopy=False))
    named = study.user_attrs.get(_OBJECTIVES)
    if named is None:
        study.set_user_attr(_OBJECTIVES, list(space.objectives))
    elif named != list(space.objectives):
        raise InputError(f"{folder.study}: holds a study of {', '.join(named)}, in this order")
    study.sampler = sampler(space, asked=len(study.get_trials(deepcopy=False)))
    return study


def draw(trial: Trial, space: SearchSpace, folder: RunFolder) -> dict[str, Value]:
    """A value for each parameter; values that a killed process had drawn are kept."""
    drawn: dict[str, Value] = {}
    method, scheme = space.space.methods[0], space.space.schemes[0]
    for parameter in space.parameters():
        if parameter.is_for(method=drawn.get("method", method), scheme=drawn.get("scheme", scheme)):
            try:
                drawn[parameter.name] = _suggest(trial, parameter)
            except ValueError as error:
                if any(sign in str(error) for sign in _OTHER_RANGE):
                    raise InputError(_changed(parameter, space, folder)) from None
                raise
    return drawn


def _changed(parameter: Parameter, space: SearchSpace, folder: RunFolder) -> str:
    name = parameter.name.removesuffix(f"_{parameter.scheme}")
    part = "space.training" if name in space.space.named_training() else "space"
    return (
        f"{folder.search}: {part}.{name}: its allowed values changed since the study "
        "began; undo the change, or start a new search"
    )


def _suggest(trial: Trial, parameter: Parameter) -> Value:
    name = parameter.name
    if parameter.choices is not None:
        chosen: Value = trial.suggest_categorical(name, parameter.choices)  # type: ignore[assignment]
        return chosen
    assert parameter.low is not None
    assert parameter.high is not None
    if parameter.integer:
        low, high, step = int(parameter.low), int(parameter.high), int(parameter.step or 1)
        return trial.suggest_int(name, low, high, step=step, log=parameter.log)
    return trial.suggest_float(
        name, parameter.low, parameter.high, step=parameter.step, log=parameter.log
    )
