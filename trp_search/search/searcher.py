"""Connects Ray Tune to the study: specifications for Tune, results for the study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ray import cloudpickle
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.search import Searcher
from typing_extensions import override

from trp_search.errors import SearchError, last_words
from trp_search.records import EpochReport, TrialResult, from_json
from trp_search.search.names import TEST
from trp_search.search.proposer import Proposer
from trp_search.search.rank_searches import RankSearches
from trp_search.search.trainable import EPOCH, NAME, POINTS, RESULT, UNWRITTEN


class StudySearcher(Searcher):
    """Suggests the proposer's trainings by name; their specifications are in the run folder.

    Once all have ended, batches of ranks follow, and then a running worker scores the chosen points
    on test: starting another takes longer than most scores. The studies are the state; Tune saves
    nothing of this object.

    Args:
        proposer: the source of trainings.
        ranks: the source of batches of ranks.
        concurrency: how many workers there are.
        chosen: called once, when nothing of both is left; returns the points to score on test.

    Attributes:
        error: what the proposer raised; Tune itself only passes on its text.
    """

    def __init__(
        self,
        proposer: Proposer,
        ranks: RankSearches,
        *,
        concurrency: int,
        chosen: Callable[[], Sequence[str]],
    ) -> None:
        super().__init__()
        self._proposer = proposer
        self._ranks = ranks
        self._concurrency = concurrency
        self._chosen = chosen
        self._scoring = False
        self.error: Exception | None = None

    @override
    def __getstate__(self) -> dict[str, Any]:
        return {}

    @override
    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        try:
            return self._suggest()
        except Exception as error:
            self.error = error
            raise

    def _suggest(self) -> dict[str, Any] | str | None:
        if self._proposer.running + len(self._ranks.running) >= self._concurrency:
            return None
        spec = None if self._proposer.exhausted else self._proposer.next()
        if spec is None and self._proposer.exhausted and not self._proposer.running:
            if self._ranks.exhausted:
                return None if self._ranks.running else self._scores()
            spec = self._ranks.next()
        # Tune keeps half a dozen copies of what it is given here for as long as it runs.
        return None if spec is None else {NAME: spec.name}

    def _scores(self) -> dict[str, Any] | str:
        points = () if self._scoring else self._chosen()
        self._scoring = True
        return {NAME: TEST, POINTS: points} if points else Searcher.FINISHED

    @override
    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: Tune would swallow errors raised here, so the listener takes results."""

    @override
    def save(self, checkpoint_path: str) -> None:
        """Nothing: there is no state beside the study."""

    @override
    def restore(self, checkpoint_path: str) -> None:
        raise AssertionError("a search goes on from its run folder")


class Listener(Callback):
    """Passes on the reports of workers; in between asks for a look at the trials that run.

    Attributes:
        error: what the receiver raised; Tune itself only passes on its text.
    """

    def __init__(
        self,
        receive: Callable[[EpochReport | TrialResult], None],
        look: Callable[[Sequence[str]], None],
    ) -> None:
        self._receive = receive
        self._look = look
        self.error: Exception | None = None

    @override
    def __getstate__(self) -> dict[str, Any]:
        return {}

    @override
    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        self._look([trial.config[NAME] for trial in trials if trial.status == Trial.RUNNING])

    @override
    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        if RESULT in result:
            self._pass_on(from_json(TrialResult, result[RESULT]))
        elif UNWRITTEN in result:
            self.error = SearchError(result[UNWRITTEN])
            raise self.error
        else:
            self._pass_on(from_json(EpochReport, result[EPOCH]))

    @override
    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        name = trial.config[NAME]
        self._pass_on(TrialResult(trial=name, points=(), failed=_cause_of_death(trial)))

    def _pass_on(self, item: EpochReport | TrialResult) -> None:
        try:
            self._receive(item)
        except Exception as error:
            self.error = error
            raise


class Silence(TrialProgressCallback):
    """Replaces Tune's reporter, which prints nothing here either but holds every trial."""

    @override
    def on_trial_result(self, *given: Any, **info: Any) -> None:
        """Nothing."""

    @override
    def on_trial_error(self, *given: Any, **info: Any) -> None:
        """Nothing."""

    @override
    def on_trial_complete(self, *given: Any, **info: Any) -> None:
        """Nothing."""


def _cause_of_death(trial: Trial) -> str:
    """Why a worker did not return from `trial`."""
    kept = trial.pickled_error_file
    error = cloudpickle.loads(Path(kept).read_bytes()) if kept else None
    times = f"{trial.run_metadata.num_failures} times"
    if isinstance(error, OutOfMemoryError):
        return f"the worker was killed {times}: its machine ran out of memory"
    if isinstance(error, RayActorError) and not error.actor_init_failed:
        return f"the worker was killed {times} (SIGKILL; out of memory?)"
    said = last_words(str(error or "for a reason that Ray does not tell"))
    return f"the worker failed {times}: {said}"
