"""Events of a running search."""

from __future__ import annotations

from dataclasses import dataclass

from trp_search.records import EpochReport, Point, Progress, TrialResult


@dataclass(frozen=True, kw_only=True)
class Started:
    """The workers have started.

    Attributes:
        trials: how many the search will have in total.
        done: how many of them an earlier run of the command had finished.
        concurrency: how many run at a time.
        metric: the name of what networks are scored by.
        objectives: the names of the search's.
    """

    trials: int
    done: int
    concurrency: int
    metric: str
    objectives: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch of one trial is over."""

    report: EpochReport


@dataclass(frozen=True, kw_only=True)
class Working:
    """One trial has come further, within an epoch or while it is cut and scored."""

    trial: str
    progress: Progress


@dataclass(frozen=True, kw_only=True)
class Finished:
    """One training ended, well or not.

    Attributes:
        done: trials finished so far.
        running: trainings still running.
        baseline: the baseline, once it is scored.
        front: the non-dominated points that meet the constraints; fastest last.
        hypervolume: that of the front; None before the baseline is scored.
    """

    result: TrialResult
    done: int
    running: int
    baseline: Point | None
    front: tuple[Point, ...]
    hypervolume: float | None


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A batch of ranks was scored, or a search over ranks begins.

    Attributes:
        trial: the one whose network it is.
        done: proposals that are scored.
        total: how many there will be.
        result: of the batch.
        front: as in `Finished`.
        hypervolume: as in `Finished`.
    """

    trial: str
    done: int
    total: int
    result: TrialResult | None
    front: tuple[Point, ...]
    hypervolume: float | None


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A message: the next step, or a failure that does not end the search."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Lost:
    """Ray is gone and will soon end this process; sent from another thread."""

    reason: str


Event = Started | Epoch | Working | Finished | Ranked | Stage | Lost
