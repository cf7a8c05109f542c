"""Checks that a study belongs to the trials on disk: results are matched by number alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing

from optuna.trial import FrozenTrial

from trp_search.errors import InputError
from trp_search.records import BASELINE, Point, TrialSpec
from trp_search.scoring.points import contradiction
from trp_search.search.names import STUDY
from trp_search.space import SearchSpace, warm_start
from trp_search.store import RunFolder, TrialFolder


def check_there(folder: RunFolder) -> None:
    """Raises InputError if the folder has trainings but no study of them; changes nothing."""
    trials = list(folder.read_numbers())
    if _holds_study(folder):
        return
    if trials:
        fault = "holds no study of this search" if folder.study.exists() else "is missing"
        raise InputError(
            f"{folder.study}: {fault}, and what trial {trials[0]} was is written there; "
            "put the run's own back, or start a new search"
        )
    if folder.trial(BASELINE).result.exists() and not folder.study.exists():
        made = "is missing, or the run was made by compress"
        raise InputError(f"{folder.study}: {made}; start a search in a new folder")


def _holds_study(folder: RunFolder) -> bool:
    """Whether the file holds a search's study, or cannot be read without changing it."""
    path = folder.study
    if not path.is_file() or not path.stat().st_size:
        return False
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            # A view can go on for ever; a study has none.
            made = "SELECT COUNT(*) FROM sqlite_master WHERE type IN ('view', 'trigger')"
            if database.execute(made).fetchone()[0]:
                return False
            asked = "SELECT COUNT(*) FROM studies WHERE study_name = ?"
            return bool(database.execute(asked, (STUDY,)).fetchone()[0])
    except sqlite3.Error as error:
        return "no such table" not in str(error)


def check_agrees(space: SearchSpace, folder: RunFolder, told: Sequence[FrozenTrial]) -> None:
    """Compares each trial on disk with the settings that the study has under its number.

    Raises:
        InputError: the study has other settings, or no such trial; the message names the trial and
            its file.
    """
    varies, points = bool(space.parameters()), folder.read_points()
    for name in folder.trial_names():
        place = folder.trial(name)
        if not (place.spec.exists() or place.result.exists()):
            continue
        found = place.read_spec()
        if found.kind != "search":
            continue
        number = len(told) if found.number is None else found.number
        trial = told[number] if number < len(told) else None
        if trial is None or (varies and not trial.params):
            raise InputError(f"{place.path}: {folder.study.name} has no trial {name}; {_HINT}")
        for entry, sentence in warm_start.contradictions(space, trial.params, found):
            what = f"is not what {folder.study.name} has of trial {name}"
            raise InputError(f"{place.spec}: {what}: {entry}: {sentence}; {_HINT}")
        _check_result(place, found, {point.id: point for point in points})


def _check_result(place: TrialFolder, spec: TrialSpec, points: Mapping[str, Point]) -> None:
    """Compares a trial's own point with its specification, and with the run's list."""
    result = place.read_result()
    own = None if result is None else result.own
    if own is None or (spec.int8 is not None and own.int8 is None):  # it diverged in int8
        return
    entry = contradiction(own, spec)
    if entry is not None:
        raise InputError(f"{place.result}: {entry}: is not what {place.spec.name} asks for")
    if points.get(own.id, own) != own:
        raise InputError(f"{place.result}: point {own.id!r} is another in the run's list of points")


_HINT = "put the run's own study back, or start a new search"
