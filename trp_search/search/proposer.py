"""Asks and tells a search space's Optuna study: specifications out, results in. No Ray."""

from __future__ import annotations

import dataclasses
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from trp_search.records import BASELINE, Point, TrialResult, TrialSpec, to_json, trial_name
from trp_search.search.front_history import FrontHistory
from trp_search.search.importance import write_importance
from trp_search.search.streak import Streak
from trp_search.search.study import draw, opened, proposed
from trp_search.search.study_updates import Teller, complete
from trp_search.search.tried import Tried
from trp_search.space import SearchSpace, entries
from trp_search.store import RunFolder, append_record, write_whole


@dataclass
class _Asked:
    """One Optuna trial and the trainings (one per repeat) it waits for."""

    trial: Trial
    specs: tuple[TrialSpec, ...]
    results: dict[str, TrialResult] = field(default_factory=dict)

    def waits_for(self, name: str) -> bool:
        """Whether the training `name` is one of its own."""
        return any(spec.name == name for spec in self.specs)


class Proposer:
    """Hands out specifications, takes results, and updates the study and the run's files.

    It continues the work of an earlier process: a trial that was running is handed out again under
    its number, the result of one that had finished on disk is told to the study.

    Args:
        space: what may vary.
        folder: the run; only one proposer may hold it at a time.
        trials: how many trials the study will have in total.
        ahead: how many trials may be drawn while all wait for the baseline.
        cores: those that the baseline may use meanwhile.

    Attributes:
        front_history: the front so far; once it stands still no more trials are asked for.
    """

    def __init__(
        self,
        space: SearchSpace,
        folder: RunFolder,
        *,
        trials: int,
        ahead: int,
        cores: int = 1,
    ) -> None:
        self._space = space
        self._folder = folder
        self._trials = trials
        self._ahead = ahead
        self._cores = cores
        known = folder.read_points()
        self._known = {point.id for point in known}
        self.front_history = FrontHistory(space)
        self._ready: deque[TrialSpec] = deque()
        self._held: deque[TrialSpec] = deque()
        self._asked: dict[int, _Asked] = {}
        self._running: set[str] = set()
        self._streak = Streak()
        self.stop_reason: str | None = None
        self._storage, self._study, told = opened(space, folder)
        self._teller = Teller(space, self._study)
        scored = complete(told)
        self._complete = len(scored)
        self._tried = Tried()
        for place in (folder.trial(trial_name(trial.number, 0)) for trial in scored):
            if place.spec.exists():
                self._tried.add(place.read_spec())
        stopped = [t for t in told if t.state == TrialState.PRUNED]
        self._ended = _in_order([*scored, *stopped, *self._teller.failed(told)])
        self._has_baseline = self._take_up_baseline()
        self._take_up_history(known)
        for trial in told:
            if trial.state == TrialState.RUNNING:
                self._take_up(Trial(self._study, trial._trial_id))

    @property
    def done(self) -> int:
        """Trials that ended, successfully or not."""
        return len(self._ended)

    @property
    def running(self) -> int:
        """Trainings that were handed out and have not ended."""
        return len(self._running)

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left to hand out."""
        return not (self._ready or self._held or self._wanting())

    @property
    def storage(self) -> optuna.storages.RDBStorage:
        """The storage of the run's studies."""
        return self._storage

    def next(self) -> TrialSpec | None:
        """The next training, or None if none can start yet."""
        while not self._ready and self._wanting() and len(self._held) < self._ahead:
            self._take_up(proposed(self._study))
        if not self._ready:
            return None
        spec = self._ready.popleft()
        self._running.add(spec.name)
        write_whole(self._folder.trial(spec.name).spec, to_json(spec))
        return spec

    def finish(self, result: TrialResult) -> None:
        """Records the result of a training; tells Optuna if it was its trial's last."""
        self._running.discard(result.trial)
        self._keep(result)
        self._record(result)
        if result.trial == BASELINE:
            self._baseline_came(result)
        else:
            asked = next(a for a in self._asked.values() if a.waits_for(result.trial))
            asked.results[result.trial] = result
            self._settle(asked)

    def record(self, points: Iterable[Point]) -> None:
        """Adds points to the run and to the front, but for those that are in it."""
        new = [point for point in points if point.id not in self._known]
        for point in new:
            append_record(self._folder.points, point)
        self._known.update(point.id for point in new)
        self.front_history.add(new)

    def give_up(self, reason: str) -> None:
        """Tells Optuna that open trials will not be finished; none of them counts."""
        for asked in self._asked.values():
            for spec in asked.specs:
                place = self._folder.trial(spec.name)
                if not place.spec.exists():
                    write_whole(place.spec, to_json(spec))
                left = TrialResult(trial=spec.name, points=(), failed=reason)
                self._keep(asked.results.get(spec.name, left))
            self._teller.abandon(asked.trial, reason)
        self._asked.clear()

    def write_importance(self) -> None:
        """Writes what the settings explain, for the report."""
        write_importance(self._space, self._folder, self._study.get_trials(deepcopy=False))

    def close(self) -> None:
        """Closes the study's file."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    @property
    def nothing_new(self) -> bool:
        """Whether the search ended because what the sampler proposed had been tried."""
        return self._tried.nothing_new

    def _wanting(self) -> bool:
        ended = self.front_history.settled or self.nothing_new
        return self.done + len(self._asked) < self._trials and not ended

    def _take_up_baseline(self) -> bool:
        place = self._folder.trial(BASELINE)
        result = place.read_result()
        if result is not None and result.ended_well:
            self._record(result)
            return True
        place.result.unlink(missing_ok=True)
        self._ready.append(self._baseline_spec())
        return False

    def _baseline_spec(self) -> TrialSpec:
        """The baseline's training; if all trials wait for it, it also gets their cores."""
        spec, named = self._space.baseline_spec(), self._space.space.named()
        all_asked = all(entries.values(named["distillation"]))
        all_wait = all_asked or entries.values(named["start"]) == (BASELINE,)
        place = self._folder.trial(BASELINE)
        if place.spec.exists():
            threads = place.read_spec().threads  # or what is left would be rounded otherwise
        else:
            threads = self._cores if all_wait else spec.threads
        return dataclasses.replace(spec, threads=max(spec.threads, threads))

    def _take_up_history(self, known: Sequence[Point]) -> None:
        points: dict[tuple[str, bool], list[Point]] = defaultdict(list)
        for point in known:
            if point.searched:
                points[point.trial, point.by_ranks].append(point)
        for number in self._ended:
            for repeat in range(self._space.repeats):
                self.front_history.add(points.pop((trial_name(number, repeat), False), ()))
            self.front_history.end_trial()
        for left in points.values():
            self.front_history.add(left)

    def _take_up(self, trial: Trial) -> None:
        drawn = draw(trial, self._space, self._folder)
        specs = tuple(
            self._space.trial_spec(drawn, number=trial.number, repeat=repeat)
            for repeat in range(self._space.repeats)
        )
        begun = self._folder.trial(specs[0].name).spec.exists()
        if not begun and (earlier := self._tried.earlier(specs[0])) is not None:
            self._teller.repeat(trial, earlier)
            return
        asked = _Asked(trial=trial, specs=specs)
        self._asked[trial.number] = asked
        for spec in specs:
            result = self._folder.trial(spec.name).read_result()
            if result is not None:
                self._record(result)
                asked.results[spec.name] = result
            elif spec.needs_baseline and not self._has_baseline:
                self._held.append(spec)
            else:
                self._ready.append(spec)
        self._settle(asked)

    def _keep(self, result: TrialResult) -> None:
        """Writes the result of a training whose worker died or never started."""
        place = self._folder.trial(result.trial)
        if not place.result.exists():
            whole = dataclasses.replace(result, seconds=place.seconds())
            write_whole(place.result, to_json(whole))
            place.checkpoint.unlink(missing_ok=True)

    def _record(self, result: TrialResult) -> None:
        self.record(result.points)
        if result.trial == BASELINE:
            self.front_history.baseline = next(
                (p for p in result.points if p.role == BASELINE), None
            )

    def _baseline_came(self, result: TrialResult) -> None:
        reason = _reason(result)
        if reason is not None:
            self.stop_reason = f"the baseline was not trained: {reason}"
            return
        self._has_baseline = True
        self._ready.extend(self._held)
        self._held.clear()

    def _settle(self, asked: _Asked) -> None:
        if len(asked.results) < len(asked.specs):
            return
        self._ended.append(asked.trial.number)
        results = [asked.results[spec.name] for spec in asked.specs]
        self.front_history.end_trial()
        of_settings = [result for result in results if result.diverged or result.out_of_reach]
        unusable = [result.why_not for result in of_settings if result.why_not]
        failed = [why for r in results if r not in of_settings and (why := _reason(r))]
        stopped = [result.stopped for result in results if result.stopped]
        if stopped:
            self._teller.prune(asked.trial, stopped[0])
        elif failed:
            self._teller.fail(asked.trial, failed[0])
            self._count_failure(asked.trial.number, failed[0])
        else:
            self._teller.complete(asked.trial, results, unusable=unusable)
            self._complete += 1
            self._tried.add(asked.specs[0])
        if stopped or not failed:
            self._streak.end()
        del self._asked[asked.trial.number]

    def _count_failure(self, number: int, reason: str) -> None:
        """Stops after a few equal failures in a row: every further trial would fail too.

        They do not count when the search is resumed: the cause may be fixed by then.
        """
        self._streak.add(number, reason)
        if self._streak.is_long(most=None if self._complete else self._trials):
            few = len(self._streak.numbers)
            which = "first" if self.done == few else "last"
            self.stop_reason = f"the {which} {few} trials failed alike: {reason}"
            self._teller.discount(self._streak.numbers)


def _reason(result: TrialResult) -> str | None:
    """Why a result cannot be used, or None."""
    return result.why_not or (None if result.points else "it ended without a point")


def _in_order(trials: Sequence[FrozenTrial]) -> list[int]:
    """The numbers of ended trials, the first to end first."""
    ended = {t.number: t.datetime_complete for t in trials if t.datetime_complete is not None}
    return sorted(ended, key=lambda number: ended[number])
