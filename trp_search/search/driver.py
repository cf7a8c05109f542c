"""A search from start to end: the study, Ray Tune over it, test scores and the page."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from trp_search import report
from trp_search.errors import SearchError
from trp_search.records import EpochReport, Point, TimeTable, TrialResult, to_json
from trp_search.report.formatting import count
from trp_search.runs.environment import write_environment
from trp_search.search import cluster, joining
from trp_search.search.endings import check_not_removed, nothing_half_written, storage_named
from trp_search.search.events import Epoch, Event, Finished, Lost, Stage, Started, Working
from trp_search.search.halving import halving_of
from trp_search.search.heartbeat import Heartbeats
from trp_search.search.names import TEST
from trp_search.search.page import RunningPage
from trp_search.search.proposer import Proposer
from trp_search.search.rank_searches import RankSearches
from trp_search.search.retention import Keeper
from trp_search.search.searcher import Listener, StudySearcher
from trp_search.search.times import before_trials
from trp_search.search.trainable import Workplace, sweep
from trp_search.search.tune_run import run_trials
from trp_search.search.watch import watched
from trp_search.space import SearchSpace, changed
from trp_search.store import RunFolder, append_record, exclusive, write_whole
from trp_search.workloads.callables import user_modules

OnEvent = Callable[[Event], None]


def run_search(
    space: SearchSpace,
    folder: RunFolder,
    *,
    trials: int | None = None,
    concurrency: int | None = None,
    address: str | None = None,
    on_event: OnEvent,
) -> None:
    """Searches until the study in `folder` has its trials; continues where an earlier call stopped.

    Args:
        space: what may vary.
        folder: the run.
        trials: how many the study will have in total; the space's number by default.
        concurrency: trials at a time; by default the space's number, or what fits.
        address: a Ray cluster, `auto` or `host:port`; by default the space's, or this machine.
        on_event: receives every event that a person may want to watch.

    Raises:
        InputError: a number is not allowed, another process searches in `folder`, the cluster
            cannot be used, or a trial does not fit on it.
        SearchError: the baseline or a few trials in a row failed for one reason, or the run
            folder cannot be written.
    """
    at_once = changed(space, concurrency=concurrency).concurrency
    space = changed(space, trials=trials)
    if not folder.search.exists():  # what a resumed search does with more trials is as it began
        sizes = space.sampler.sizes(space.trials)
        sampler = space.sampler.model_copy(update=sizes)
        space = space.model_copy(update={"sampler": sampler})
    busy = "another search is at work in this folder"
    with (
        exclusive(folder.lock, wait_seconds=0.0, holder=busy),
        nothing_half_written(folder),
        storage_named(folder),
    ):
        times = before_trials(space, folder, tell=lambda text: on_event(Stage(text=text)))
        _search(
            space,
            folder,
            concurrency=at_once,
            address=address or space.address,
            on_event=on_event,
            times=times,
        )


def _search(
    space: SearchSpace,
    folder: RunFolder,
    *,
    concurrency: int | None,
    address: str | None,
    on_event: OnEvent,
    times: Sequence[TimeTable],
) -> None:
    sweep(folder.path)
    modules = user_modules(space.workload)
    with (
        joining.connected(address, modules=modules, tell=lambda text: on_event(Stage(text=text))),
        watched(lambda reason: on_event(Lost(reason=reason))),
    ):
        fitting = cluster.slots(space.resources)
        if address is not None:
            cluster.check_storage(folder)
        if not folder.search.exists():
            write_environment(folder, seed=space.seed, accelerators=cluster.devices())
            write_whole(folder.search, space.dump())
        for table in times:
            write_whole(folder.times_in(table.precision), to_json(table))
        at_once = min(concurrency or fitting, fitting)
        search = _Search(space, folder, concurrency=at_once, on_event=on_event)
        workplace = Workplace(
            run=folder,
            current=Path.cwd(),
            module_folders=tuple({path.parent for path in modules}),
        )
        try:
            search.run(workplace)
        finally:
            search.close()


class _Search:
    """One process's part in a search."""

    def __init__(
        self,
        space: SearchSpace,
        folder: RunFolder,
        *,
        concurrency: int,
        on_event: OnEvent,
    ) -> None:
        self._space = space
        self._folder = folder
        self._concurrency = concurrency
        self._tell = on_event
        self._page = RunningPage(folder, on_error=self._page_failed)
        self._halving = halving_of(space, folder)
        self._heartbeats = Heartbeats(folder)
        self._stopped: dict[str, str] = {}
        self._ended = False
        self._proposer = Proposer(
            space,
            folder,
            trials=space.trials,
            ahead=concurrency,
            cores=cluster.cores(space.resources.cpus * concurrency),
        )
        self._keeper = Keeper(space, folder)
        self._ranks = RankSearches(
            space, folder, self._proposer, self._keeper, workers=concurrency, tell=on_event
        )
        self._keeper.add(folder.read_points())
        if folder.search.read_text() != space.dump():
            write_whole(folder.search, space.dump())  # a resumed search with another end
        on_event(
            Started(
                trials=space.trials,
                done=self._proposer.done,
                concurrency=concurrency,
                metric=space.metric.name,
                objectives=space.objectives,
            )
        )

    def close(self) -> None:
        """Closes the study and replaces a page that says that the search runs."""
        self._proposer.close()
        if not self._ended:
            with suppress(Exception):  # whatever ended the search is told, not this
                self._page.close()
            report.settle(self._folder)

    def run(self, workplace: Workplace) -> None:
        """Runs the remaining trials, scores their points on test and writes the page.

        Raises:
            SearchError: every further trial would fail too.
        """
        proposer = self._proposer
        shutil.rmtree(self._folder.scratch, ignore_errors=True)  # of a driver that was killed
        if proposer.exhausted and self._ranks.exhausted and not self._untested():
            self._tell_patience()
        else:
            try:
                run_trials(
                    StudySearcher(
                        proposer,
                        self._ranks,
                        concurrency=self._concurrency,
                        chosen=self._chosen,
                    ),
                    Listener(self._receive, self._look),
                    workplace,
                    resources=self._space.resources,
                    concurrency=self._concurrency,
                    goes_on=self._goes_on if self._halving else None,
                )
            finally:
                if proposer.stop_reason is not None:
                    proposer.give_up(f"the search stopped: {proposer.stop_reason}")
        self._tell(Stage(text="measuring what the settings did"))
        proposer.write_importance()
        self._page.close()
        report.write(self._folder)
        self._ended = True

    def _chosen(self) -> list[str]:
        """The points to score on test once no training is left."""
        self._tell_patience()
        chosen = self._untested()
        if chosen:
            self._tell(Stage(text=f"scoring {len(chosen)} points on test images"))
        return chosen

    def _tell_patience(self) -> None:
        patience, proposer = self._space.patience, self._proposer
        if (
            patience is not None
            and proposer.front_history.settled
            and proposer.done < self._space.trials
        ):
            last = f"the last {patience.trials} trials added less than {patience.gain:.2%} each"
            self._tell(Stage(text=f"ended after {proposer.done} trials: {last} (patience)"))
        elif proposer.nothing_new:
            tried = "what the sampler proposes was tried before"
            self._tell(Stage(text=f"ended after {count(proposer.done, 'trial')}: {tried}"))

    def _untested(self) -> list[str]:
        known = self._folder.read_tests()
        return [point.id for point in self._front() if point.id not in known]

    def _front(self) -> list[Point]:
        history = self._proposer.front_history
        return [*([history.baseline] if history.baseline else []), *history.front]

    def _page_failed(self, reason: str) -> None:
        self._tell(Stage(text=f"the report was not written: {reason}"))

    def _goes_on(self, report: EpochReport) -> bool:
        """Whether a trial continues after an epoch; Tune asks before it passes the report on."""
        if report.rung_score is not None:
            append_record(self._folder.judged, report)
        reason = self._halving.judge(report) if self._halving else None
        if reason is not None:
            self._stopped[report.trial] = reason
        return reason is None

    def _look(self, running: Sequence[str]) -> None:
        """Passes on how far the running trials have come."""
        news = self._heartbeats.news(name for name in running if name != TEST)
        for trial, progress in news.items():
            self._tell(Working(trial=trial, progress=progress))

    def _receive(self, item: EpochReport | TrialResult) -> None:
        check_not_removed(self._folder)
        if item.trial == TEST:
            assert isinstance(item, TrialResult)
            if item.failed is not None:
                raise SearchError(f"the points were not scored on test: {item.failed}")
            return
        if isinstance(item, EpochReport):
            self._tell(Epoch(report=item))
            self._page.refresh()
            reason = self._stopped.pop(item.trial, None)
            if reason is None:
                return
            item = TrialResult(trial=item.trial, points=(), stopped=reason)
        if item.trial in self._ranks.running:
            self._ranks.finish(item)
            self._page.refresh()
            return
        proposer = self._proposer
        proposer.finish(item)
        self._keeper.add(item.points)
        self._tell(
            Finished(
                result=item,
                done=proposer.done,
                running=proposer.running,
                baseline=proposer.front_history.baseline,
                front=tuple(proposer.front_history.front),
                hypervolume=proposer.front_history.hypervolume,
            )
        )
        if proposer.stop_reason is not None:
            raise SearchError(proposer.stop_reason)
        self._page.refresh()
