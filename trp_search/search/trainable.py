"""The worker: runs `trial.run` and passes its reports on, or scores points on test."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_collecting = gc.isenabled()
gc.disable()  # a worker is ready a tenth sooner

from ray.tune import Trainable
from ray.tune.result import DONE
from typing_extensions import override

from trp_search import progress
from trp_search.errors import InputError, in_words
from trp_search.records import EpochReport, TrialResult, to_json
from trp_search.runs import networks, trial
from trp_search.search.heartbeat import writing
from trp_search.store import RunFolder, exclusive, unwritable

if _collecting:
    gc.enable()

NAME = "name"
POINTS = "points"
EPOCH = "epoch"
RESULT = "result"
UNWRITTEN = "unwritten"
_LOCK_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """The driver's folders, as far as the worker's machine has them."""

    run: RunFolder
    current: Path
    module_folders: tuple[Path, ...]

    def enter(self) -> None:
        """Makes relative paths and the user's modules resolve as in the driver."""
        if self.current.is_dir():
            os.chdir(self.current)
        for folder in self.module_folders:
            if folder.is_dir() and str(folder) not in sys.path:
                sys.path.append(str(folder))


class TrialTrainable(Trainable):
    """Trains one specification after the other, then scores points on test."""

    @override
    def setup(self, config: dict[str, Any], workplace: Workplace | None = None) -> None:
        assert workplace is not None
        self._workplace = workplace
        workplace.enter()
        self._begin(config)

    @override
    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._items.close()
        self._begin(new_config)
        return True

    @override
    def step(self) -> dict[str, Any]:
        try:
            with progress.heard(self._hear):
                item = next(self._items)
        except Exception as error:
            # The disk's fault is no trial's: it is left as it is, to go on from.
            said = unwritable(error)
            if said is None:
                raise
            where = f"{self._workplace.run.path}: trial {self._name}"
            return {UNWRITTEN: f"{where}: {said}", DONE: True}
        if isinstance(item, TrialResult):
            self._items.close()
            return {RESULT: to_json(item), DONE: True}
        return {EPOCH: to_json(item), DONE: False}

    @override
    def cleanup(self) -> None:
        self._items.close()

    def _begin(self, config: dict[str, Any]) -> None:
        name, run = config[NAME], self._workplace.run
        self._name = name
        tests = POINTS in config
        self._hear = None if tests else writing(run.trial(name))
        self._items = _tested(name, config[POINTS], run) if tests else _items(name, run)


def _items(name: str, run: RunFolder) -> Generator[EpochReport | TrialResult, None, None]:
    """The trial's reports and result, behind a lock.

    A worker of a killed driver may still hold it for a moment.
    """
    holder = f"another worker is still at it after {_LOCK_SECONDS:.0f} s"
    try:
        place = run.trial(name)
        with exclusive(place.lock, wait_seconds=_LOCK_SECONDS, holder=holder):
            sweep(place.path)
            try:
                yield from trial.run(place.read_spec(), run)
            finally:
                place.progress.unlink(missing_ok=True)
    except (InputError, OSError) as error:
        if unwritable(error):
            raise
        yield TrialResult(trial=name, points=(), failed=str(error))


def sweep(folder: Path) -> None:
    """Removes temporary files of killed processes from `folder`."""
    for left in folder.glob(".*.tmp"):
        left.unlink(missing_ok=True)


def _tested(
    name: str, point_ids: Sequence[str], run: RunFolder
) -> Generator[EpochReport | TrialResult, None, None]:
    """Scores the points on test images, one after the other."""
    failed = None
    try:
        points = {point.id: point for point in run.read_points()}
        for point_id in point_ids:
            networks.score_test(run, points[point_id])
    except Exception as error:  # noqa: BLE001  it is told, as a trial's is
        failed = in_words(error)
    yield TrialResult(trial=name, points=(), failed=failed)
