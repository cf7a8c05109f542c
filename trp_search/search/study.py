"""The Optuna study of a run: opening it and drawing the space's parameters."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import NSGAIISampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial

from trp_search.errors import InputError
from trp_search.search.agreement import check_agrees, check_there
from trp_search.search.names import STUDY
from trp_search.search.sampler import sampler
from trp_search.search.study_updates import uncounted
from trp_search.space import Parameter, Scalar, SearchSpace, warm_start
from trp_search.store import RunFolder

_OBJECTIVES = "objectives"
_FIRST = "first"
# What Optuna says of a range or a list that differs from the one a parameter had.
_OTHER_RANGE = ("does not support dynamic value space", "to the same parameter name")


def opened(
    space: SearchSpace, folder: RunFolder
) -> tuple[optuna.storages.RDBStorage, optuna.Study, list[FrozenTrial]]:
    """The run's study, created if there is none, with its file and its trials.

    Raises:
        InputError: the file is no study, is damaged, or holds one of other objectives or of
            other trials than the folder's.
    """
    check_there(folder)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    wanted = directions(space)
    with _damage_named(folder.study):
        storage = _storage(folder.study)
        study = optuna.create_study(
            storage=storage, study_name=STUDY, directions=wanted, load_if_exists=True
        )
        told = study.get_trials(deepcopy=False)
        void = uncounted(study, told)
        begun = {t.user_attrs.get(_FIRST) for t in told if t.number not in void}
        objectives = ", ".join(study.user_attrs.get(_OBJECTIVES, ()))
    _check_objectives(space, folder, study.directions, objectives)
    check_agrees(space, folder, told)
    if not objectives:
        study.set_user_attr(_OBJECTIVES, list(space.objectives))
    study.sampler = sampler(space, asked=len(told))
    for index, drawn in enumerate(warm_start.parameters(space)):
        if index not in begun:
            study.enqueue_trial(drawn, user_attrs={_FIRST: index})
    return storage, study, study.get_trials(deepcopy=False)


def directions(space: SearchSpace) -> list[StudyDirection]:
    """That of each objective."""
    goals = (StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE)
    return [goals[objective.maximise] for objective in space.objective_list]


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Makes an InputError of whatever Optuna raises for rows that it did not write."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001  it raises anything
        cause = error.__cause__ or error
        said = (str(cause).splitlines() or [type(cause).__name__])[0]
        raise InputError(f"{path}: cannot be read, or is damaged: {said}") from None


def _check_objectives(
    space: SearchSpace, folder: RunFolder, directions: Sequence[StudyDirection], objectives: str
) -> None:
    """Raises InputError for a study of other objectives, or of another order."""
    given = ", ".join(space.objectives)
    if [d == StudyDirection.MAXIMIZE for d in directions] != [
        objective.maximise for objective in space.objective_list
    ]:
        kept = ", ".join(direction.name.lower() for direction in directions)
        raise InputError(
            f"{folder.study}: holds a study of other objectives (it has directions {kept}; "
            f"objectives {given} were given)"
        )
    if objectives not in ("", given):
        raise InputError(f"{folder.study}: holds a study of {objectives}, in this order")


def _storage(path: Path) -> optuna.storages.RDBStorage:
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            if file.read(6) != b"SQLite":
                raise InputError(f"{path}: not an SQLite database")
    wait = {"connect_args": {"timeout": 60}}
    # A URL: what its parser, or Optuna's template of it, would take for its own is quoted.
    return optuna.storages.RDBStorage(f"sqlite:///{quote(str(path))}", engine_kwargs=wait)


def proposed(study: optuna.Study, ranges: dict[str, BaseDistribution] | None = None) -> Trial:
    """The next proposal, drawn from `ranges` if they are given."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        trial = study.ask(ranges)
        if isinstance(study.sampler, NSGAIISampler):
            # Without its generation, which Optuna gives to what it draws alone, settings that were
            # given are never parents.
            study.sampler.get_trial_generation(
                study, study.get_trials(deepcopy=False)[trial.number]
            )
    return trial


def draw(trial: Trial, space: SearchSpace, folder: RunFolder) -> dict[str, Scalar]:
    """A value for each parameter; values that a killed process had drawn are kept."""
    drawn: dict[str, Scalar] = {}
    method, scheme = space.space.methods[0], space.space.schemes[0]
    for parameter in space.parameters():
        if parameter.is_for(method=drawn.get("method", method), scheme=drawn.get("scheme", scheme)):
            try:
                drawn[parameter.name] = _suggest(trial, parameter)
            except ValueError as error:
                if any(sign in str(error) for sign in _OTHER_RANGE):
                    raise InputError(
                        f"{folder.search}: {space.space.key(parameter.entry)}: its allowed values "
                        "changed since the study began; undo the change, or start a new search"
                    ) from None
                raise
    return drawn


def _suggest(trial: Trial, parameter: Parameter) -> Scalar:
    name = parameter.name
    if parameter.choices is not None:
        chosen: Scalar = trial.suggest_categorical(name, parameter.choices)  # type: ignore[assignment]
        return chosen
    assert parameter.low is not None
    assert parameter.high is not None
    if parameter.integer:
        low, high, step = int(parameter.low), int(parameter.high), int(parameter.step or 1)
        return trial.suggest_int(name, low, high, step=step, log=parameter.log)
    return trial.suggest_float(
        name, parameter.low, parameter.high, step=parameter.step, log=parameter.log
    )
