"""Asks and tells a search space's Optuna study: specifications out, results in. No Ray."""

from __future__ import annotations

import dataclasses
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence

import optuna
from optuna.trial import Trial, TrialState

from trp_search.records import BASELINE, Point, TrialResult, TrialSpec, to_json, trial_name
from trp_search.search.asked import Asked, reason
from trp_search.search.front_history import FrontHistory
from trp_search.search.importance import write_importance
from trp_search.search.streak import Streak
from trp_search.search.study import draw, opened, proposed
from trp_search.search.study_updates import Teller, own, with_values
from trp_search.search.tried import Tried
from trp_search.space import SearchSpace, entries
from trp_search.store import RunFolder, append_record, write_whole

_FEW = 3
_UNLUCKY = 10  # budgets out of reach, drawn before one within it


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
        self._asked: dict[int, Asked] = {}
        self._running: set[str] = set()
        self._streak = Streak()
        self.stop_reason: str | None = None
        self._storage, self._study, told = opened(space, folder)
        self._teller = Teller(space, self._study)
        scored = own(told, TrialState.COMPLETE)
        self._complete = len(with_values(scored))
        self._tried = Tried()
        for trial in (*scored, *own(told, TrialState.PRUNED)):
            place = folder.trial(trial_name(trial.number, 0))
            if place.spec.exists():
                self._tried.add(place.read_spec())
        self._ended = self._teller.ended(told)
        self._has_baseline = self._take_up_baseline()
        self._take_up_history(known)
        for trial in told:
            if trial.state == TrialState.RUNNING:
                self._take_up(Trial(self._study, trial._trial_id))
        self._tried.renew()  # they were proposed before

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
        while (
            not (self._ready or self._tried.nothing_new)
            and self._wanting()
            and len(self._held) < self._ahead
        ):
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
            for trial in (asked.trial, *asked.twins):
                self._teller.abandon(trial, reason)
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
        """Whether the sampler proposes what was tried, with no trial under way to learn from."""
        return self._tried.nothing_new and not self._asked

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
            if earlier in self._asked:
                self._asked[earlier].twins.append(trial)
            else:
                self._teller.repeat(trial, earlier)
            return
        self._tried.add(specs[0])
        asked = Asked(trial=trial, specs=specs)
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
        why_not = reason(result)
        if why_not is not None:
            self.stop_reason = f"the baseline was not trained: {why_not}"
            return
        self._has_baseline = True
        self._ready.extend(self._held)
        self._held.clear()

    def _settle(self, asked: Asked) -> None:
        ended = asked.ended
        if ended is None:
            return
        self._ended.append(asked.trial.number)
        self.front_history.end_trial()
        number = asked.trial.number
        del self._asked[number]
        self._tried.renew()
        if ended.failed:
            self._teller.fail(asked.trial, ended.failed)
            self._tried.fail(asked.specs[0])
            for twin in asked.twins:
                self._teller.abandon(twin, ended.failed)
            self._count_failure(number, ended.failed)
            return
        if ended.stopped:
            self._teller.prune(asked.trial, ended.stopped)
        else:
            self._teller.complete(asked.trial, ended.results, unusable=ended.unusable)
        for twin in asked.twins:
            self._teller.repeat(twin, number)
        if ended.out_of_reach and not self._complete:
            self._count_failure(number, ended.out_of_reach, few=_UNLUCKY, kind="out of reach")
            return
        self._complete += not (ended.stopped or ended.unusable)
        self._streak.end()

    def _count_failure(
        self, number: int, reason: str, *, few: int = _FEW, kind: str | None = None
    ) -> None:
        """Stops after a few equal failures in a row: every further trial would fail too.

        They do not count when the search is resumed, as the cause may be fixed by then; budgets out
        of reach do.
        """
        self._streak.add(number, reason, kind=kind)
        if len(self._streak.numbers) >= (few if self._complete else min(few, self._trials)):
            few = len(self._streak.numbers)
            which = "first" if self.done == few else "last"
            self.stop_reason = f"the {which} {few} trials failed alike: {reason}"
            self._teller.discount(self._streak.numbers)
