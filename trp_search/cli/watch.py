"""The state of a running search, updated by events. No clock, no Ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from trp_search.records import BASELINE, EpochReport, Point, Progress, TrialResult
from trp_search.search.events import Finished, Ranked, Started


@dataclass(kw_only=True)
class Watch:
    """The state of a search.

    Attributes:
        trials: how many the search will have.
        done: how many are finished, in this run of the command or an earlier one.
        done_before: how many of them an earlier one had finished.
        running: the latest report of each training under way, by trial.
        within: by trial, how far it has come since, or before its first report.
        step: what is done beside the trials, such as a check before they begin.
        baseline: the baseline, once it is scored.
        front: the non-dominated points that meet the constraints; fastest last.
        metric: the name of what networks are scored by.
        objectives: the names of the search's.
        began: when trials began to run; the rate is measured from there.
        ranked: the search over ranks under way: its trial, proposals scored and in total.
        ranked_since: when it began, and how many were scored by then.
        told: seconds after `started` when a log had its last line of progress.
    """

    started: float
    stage: str = "starting"
    trials: int = 0
    done: int = 0
    done_before: int = 0
    concurrency: int = 0
    running: dict[str, EpochReport] = field(default_factory=dict)
    within: dict[str, Progress] = field(default_factory=dict)
    step: Progress | None = None
    baseline: Point | None = None
    front: Sequence[Point] = ()
    hypervolume: float | None = None
    unsuccessful: int = 0
    stopped: int = 0
    metric: str = ""
    objectives: tuple[str, ...] = ()
    began: float | None = None
    ranked: tuple[str, int, int] | None = None
    ranked_since: tuple[float, int] = (0.0, 0)
    told: float = 0.0

    def start(self, event: Started) -> None:
        """The workers are there."""
        self.trials, self.done, self.done_before = event.trials, event.done, event.done
        self.concurrency, self.metric = event.concurrency, event.metric
        self.objectives = event.objectives
        self.stage = "searching"
        self.step = None

    def epoch(self, report: EpochReport, *, now: float) -> None:
        """One epoch of one trial is over."""
        if report.trial != BASELINE and self.began is None:
            self.began = now - report.seconds
        self.running[report.trial] = report

    def finish(self, event: Finished) -> None:
        """One training ended, well or not."""
        self._end(event.result)
        self.done, self.baseline = event.done, event.baseline
        self.front, self.hypervolume = event.front, event.hypervolume
        self.unsuccessful += event.result.ending in ("failed", "diverged")
        self.stopped += event.result.ending == "stopped"

    def rank(self, event: Ranked, *, now: float) -> None:
        """A batch of ranks was scored, or a search over ranks begins."""
        if self.ranked is None or self.ranked[0] != event.trial:
            self.ranked_since = now, event.done
        self.ranked = event.trial, event.done, event.total
        self.front, self.hypervolume = event.front, event.hypervolume
        if event.result is not None:
            self._end(event.result)

    def _end(self, result: TrialResult) -> None:
        self.running.pop(result.trial, None)
        self.within.pop(result.trial, None)

    @property
    def names(self) -> list[str]:
        """The trials under way, the baseline first."""
        return sorted({**self.running, **self.within}, key=lambda name: name != BASELINE)

    def share(self, name: str) -> float:
        """The done share of a trial's epochs."""
        report, within = self.running.get(name), self.within.get(name)
        share = report.epoch / report.epochs if report else 0.0
        if within is None or within.epoch is None or within.epochs is None:
            return share
        begun = within.epoch - 1 + (within.share or 0.0)
        return max(share, begun / (report.epochs if report else within.epochs))

    def seconds_left(self, now: float) -> float | None:
        """Expected seconds to the last trial's end, or to the last ranks'; None if unknown."""
        if self.ranked is not None:
            _, done, total = self.ranked
            began, before = self.ranked_since
            return (now - began) / (done - before) * (total - done) if done > before else None
        under_way = sum(self.share(name) for name in self.names if name != BASELINE)
        made = self.done - self.done_before + under_way
        if self.began is None or made <= 0 or now <= self.began:
            return None
        rest = self.trials - self.done - under_way
        return (now - self.began) / made * rest if rest > 0 else None
