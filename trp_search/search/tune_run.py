"""Ray Tune, set up for a search: workers that are used again, and nothing that it would keep."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

from ray import tune
from ray.exceptions import RayError
from ray.tune.error import TuneError
from ray.tune.experiment import Trial

from trp_search.errors import SearchError, last_words
from trp_search.records import EpochReport
from trp_search.search.endings import check_not_removed
from trp_search.search.scheduler import JudgingScheduler
from trp_search.search.searcher import Listener, Silence, StudySearcher
from trp_search.search.trainable import NAME, TrialTrainable, Workplace
from trp_search.space import Resources

_RESTARTS = 2


def run_trials(
    searcher: StudySearcher,
    listener: Listener,
    workplace: Workplace,
    *,
    resources: Resources,
    concurrency: int,
    goes_on: Callable[[EpochReport], bool] | None,
) -> None:
    """Runs what `searcher` suggests until it has no more; `listener` hears the reports.

    Args:
        searcher: suggests trainings.
        listener: hears what workers report.
        workplace: where workers work.
        resources: of one trial.
        concurrency: trials at a time.
        goes_on: asked after each epoch whether the trial continues, if trials are judged.

    Raises:
        SearchError: Ray stopped; or whatever the searcher or the listener raised.
    """
    folder = workplace.run
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(concurrency)
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(TrialTrainable, workplace=workplace),
            {"cpu": resources.cpus, "gpu": resources.gpus},
        ),
        tune_config=tune.TuneConfig(
            num_samples=-1,
            search_alg=searcher,
            scheduler=JudgingScheduler(goes_on),
            reuse_actors=True,
            trial_dirname_creator=_directory,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(folder.scratch),
            callbacks=[listener, Silence()],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=_RESTARTS),
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    except (TuneError, RayError) as error:
        check_not_removed(folder)
        cause = listener.error or searcher.error
        if cause is not None:
            raise cause from None
        raise SearchError(f"Ray stopped the search: {last_words(error)}") from error
    finally:
        shutil.rmtree(folder.scratch, ignore_errors=True)


def _directory(trial: Trial) -> str:
    return str(trial.config[NAME])
