"""Ray Tune's scheduler: runs each trial until it ends or must stop, then forgets it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from typing_extensions import override

from trp_search.records import EpochReport, from_json
from trp_search.search.trainable import EPOCH


class JudgingScheduler(FIFOScheduler):
    """Asks a judge, if there is one, after every epoch whether the trial continues.

    Tune saves nothing of a scheduler.
    """

    def __init__(self, goes_on: Callable[[EpochReport], bool] | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._goes_on = goes_on

    @override
    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        if self._goes_on is None or EPOCH not in result:
            return TrialScheduler.CONTINUE
        goes_on = self._goes_on(from_json(EpochReport, result[EPOCH]))
        return TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP

    @override
    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Removes from Tune the trials that ended before this one: the study has them.

        Tune holds every trial until the search ends, 15 kB each, in order to continue from it; here
        a search continues from its run folder.
        """
        ended = {other for other in tune_controller.get_trials() if other.is_finished()}
        for name in ("_live_trials", "_stopped_trials", "_failed_trials", "_trials_to_cache"):
            getattr(tune_controller, name).difference_update(ended)
        for other in ended:
            tune_controller._trial_metadata.pop(other.trial_id, None)
        kept = [other for other in tune_controller.get_trials() if other not in ended]
        tune_controller.get_trials()[:] = kept
