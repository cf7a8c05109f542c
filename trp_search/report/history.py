"""The course of the search: hypervolume, training curves and how trials ended."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from trp_search.records import (
    BASELINE,
    Ending,
    EpochReport,
    Point,
    QuantizerName,
    TrialResult,
)
from trp_search.records.objectives import Objective
from trp_search.report.rows import Rows
from trp_search.report.styles import UNCUT, Style
from trp_search.selection import pareto


@dataclass(frozen=True, kw_only=True)
class Volume:
    """The front's hypervolume once `finished` trials were scored, the last of them `trial`.

    Attributes:
        by_ranks: whether the ranks of `trial` were searched as well.
        hours: training time until then, summed over workers, the baseline's included.
    """

    finished: int
    hours: float
    trial: str
    value: float
    by_ranks: bool = False


def volumes(
    rows: Rows,
    objectives: Sequence[Objective],
    results: Mapping[str, TrialResult | None],
    numbers: Mapping[str, int],
) -> tuple[Volume, ...]:
    """The front's hypervolume after each trial, in order; empty without a baseline.

    Hours include those of trials without a point, once a later one is scored; a search over ranks,
    which trains nothing, takes none. `numbers` are those of the search's trials, by name.
    """
    if rows.baseline is None:
        return ()
    scored: dict[str, list[Point]] = {}
    later: dict[str, list[Point]] = {}
    in_int8 = _in_int8(row.point for row in rows.trials)
    for row in (*rows.trials, *rows.derived):
        point = row.point
        later_on = _quantized_later(point, in_int8) or _cut_later(point, results.get(point.trial))
        if point.role == "screened_out" or later_on:
            continue
        found = later if row.point.by_ranks else scored
        found.setdefault(row.point.trial, []).extend([] if row.violations else [row.point])
    trained = dict.fromkeys(scored, 0.0)
    for point in (row.point for row in (*rows.trials, *rows.derived) if not row.point.by_ranks):
        if point.trial in trained:  # a point before the fine-tuning took less
            trained[point.trial] = max(trained[point.trial], point.seconds)
    front: list[Point] = []
    seconds = rows.baseline.point.seconds
    fruitless = {
        name: result.seconds
        for name, result in results.items()
        if result is not None and name in numbers and name not in scored
    }
    steps = []
    for finished, (trial, points) in enumerate(scored.items(), start=1):
        front = pareto.front([*front, *points], objectives)
        value = pareto.covered(front, objectives, baseline=rows.baseline.point)
        seconds += trained[trial]
        before = [name for name in fruitless if numbers[name] < numbers.get(trial, 0)]
        seconds += sum(fruitless.pop(name) for name in before)
        hours = seconds / 3600
        steps.append(Volume(finished=finished, hours=hours, trial=trial, value=value))
    for trial, points in later.items():
        front = pareto.front([*front, *points], objectives)
        value = pareto.covered(front, objectives, baseline=rows.baseline.point)
        steps.append(dataclasses.replace(steps[-1], trial=trial, value=value, by_ranks=True))
    return tuple(steps)


def _in_int8(points: Iterable[Point]) -> Mapping[str, QuantizerName]:
    """The trials that are in int8 themselves, with their runtimes."""
    return {p.trial: p.int8.runtime for p in points if p.int8 is not None and p.role == "trial"}


def _quantized_later(point: Point, in_int8: Mapping[str, QuantizerName]) -> bool:
    """Whether a point was put into int8 after the search: no trial's, nor of its ranks."""
    if point.int8 is None or point.role == "trial":
        return False
    return not (point.by_ranks and in_int8.get(point.trial) == point.int8.runtime)


def _cut_later(point: Point, result: TrialResult | None) -> bool:
    """Whether a point is a cut that a user made of its trial, which has ended without it."""
    if point.role != "derived" or point.by_ranks or point.int8 is not None or result is None:
        return False
    return point.id not in {own.id for own in result.points}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The metric on validation of one training after each of its epochs, before any cut."""

    trial: str
    style: Style
    on_front: bool
    epochs: tuple[int, ...]
    values: tuple[float, ...]
    is_stopped: bool = False

    @property
    def is_baseline(self) -> bool:
        """Whether this is the baseline's training."""
        return self.trial == BASELINE


def curves(
    rows: Rows,
    epochs: Mapping[str, Sequence[EpochReport]],
    results: Mapping[str, TrialResult | None],
    numbers: Mapping[str, int],
) -> tuple[Curve, ...]:
    """One curve per trial with an epoch, and the baseline's; those of the front come last."""
    styles = {row.point.trial: row.style for row in rows.trials}
    fronts = {row.point.trial for row in rows.front}
    ended = {name: result.ending for name, result in results.items() if result is not None}
    drawn = [
        Curve(
            trial=trial,
            style=styles.get(trial, UNCUT),
            on_front=trial in fronts,
            epochs=tuple(report.epoch for report in reports),
            values=tuple(report.metric for report in reports),
            is_stopped=ended.get(trial) == "stopped",
        )
        for trial, reports in epochs.items()
        if reports and (trial in numbers or trial == BASELINE)
    ]
    return tuple(sorted(drawn, key=lambda curve: curve.on_front))


def reach(curves: Sequence[Curve], metric: Objective) -> tuple[float, float]:
    """The range to show, from the worse end to the better.

    Early epochs and trainings far behind the others are left out: the worse end is
    Tukey's fence on the later half of every training.
    """
    gains = [[metric.sign * value for value in curve.values] for curve in curves]
    late = sorted(gain for curve in gains for gain in curve[len(curve) // 2 :])
    high = max(map(max, gains))
    quarter, three_quarters = late[len(late) // 4], late[3 * len(late) // 4]
    low = max(late[0], quarter - 1.5 * (three_quarters - quarter))
    padding = 0.1 * max(high - low, 0.2 * metric.slack)
    return metric.sign * (low - padding), metric.sign * (high + padding)


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One reason why trainings have no point, and the trainings."""

    ending: Ending
    text: str
    trials: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Ends:
    """How many trials ended in which way; the baseline and refits are no trials."""

    counts: Mapping[Ending, int]
    unfinished: int
    reasons: tuple[Reason, ...]

    @property
    def fruitless(self) -> int:
        """Trials that ended without a point."""
        return sum(self.counts.values()) - self.counts["finished"]


def ends(results: Mapping[str, TrialResult | None], numbers: Mapping[str, int]) -> Ends:
    """The trials' ends, and every reason for having no point (any training's)."""
    # The repeats of a trial have its number: it ends with the last of them, and well if all do.
    trials = defaultdict[int, set[Ending | None]](set)
    for name, result in results.items():
        if name in numbers:
            trials[numbers[name]].add(result.ending if result else None)
    order = (None, *(kind for kind in get_args(Ending) if kind != "finished"), "finished")
    kinds = [next(kind for kind in order if kind in own) for own in trials.values()]
    reasons: dict[tuple[Ending, str], list[str]] = {}
    for name, result in results.items():
        if result is not None and result.why_not is not None:
            reasons.setdefault((result.ending, result.why_not), []).append(name)
    return Ends(
        counts={kind: kinds.count(kind) for kind in get_args(Ending)},
        unfinished=kinds.count(None),
        reasons=tuple(
            Reason(ending=kind, text=text, trials=tuple(names))
            for (kind, text), names in reasons.items()
        ),
    )
