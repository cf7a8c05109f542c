"""What a running search tells whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass

from trp_search.records import EpochReport, Point, TrialResult


@dataclass(frozen=True, kw_only=True)
class Started:
    """The workers are there.

    Attributes:
        trials: how many the search is to have in the end.
        done: how many of them an earlier start of this search had finished.
        concurrency: how many run at a time.
    """

    trials: int
    done: int
    concurrency: int


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch of one trial is over."""

    report: EpochReport


@dataclass(frozen=True, kw_only=True)
class Finished:
    """One training ended, well or not.

    Attributes:
        done: trials finished so far.
        running: trainings still on.
        baseline: the baseline, once it was scored.
        front: what no other point dominates and what meets the constraints; fastest last.
        hypervolume: of the front; None before there is a baseline to measure from.
    """

    result: TrialResult
    done: int
    running: int
    baseline: Point | None
    front: tuple[Point, ...]
    hypervolume: float | None


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What happens next, or what went wrong without ending the search, in words."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Lost:
    """Ray is gone, and will soon end this process; told from another thread."""

    reason: str


Event = Started | Epoch | Finished | Stage | Lost
