"""A budget, and the axis along which networks get smaller."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

from trp_search.errors import InputError
from trp_search.records import Point
from trp_search.records.objectives import OBJECTIVES, SPEEDUP, Objective
from trp_search.selection.axes import COUNTED, Axis, By, clock
from trp_search.selection.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One kind of limit.

    Attributes:
        by: the axis along which networks get smaller where none is named.
        problem: why there is no such amount, or None.
        keeps: whether a point that was measured on the axis fits an amount; InputError if the
            run's points do not tell.
        unmet: the message that no point fits it.
        smallest: whether the smallest network that fits is the best, not the one of best metric.
    """

    by: By
    problem: Callable[[float], str | None]
    keeps: Callable[[float, Axis, Snapshot], Callable[[Point], bool]]
    unmet: Callable[[float, Axis, Objective], str]
    smallest: bool = False


def _times(by: By) -> Limit:
    """So many times smaller than the baseline, at least."""
    return Limit(
        by=by,
        problem=SPEEDUP.problem,
        keeps=lambda amount, axis, _: lambda point: axis.of(point) >= amount,
        unmet=lambda amount, axis, _: f"no point reaches {amount:g}x {axis.fewer}",
    )


def _at_most(by: By) -> Limit:
    """So much of what an objective counts, at most."""
    objective = OBJECTIVES[by]
    return Limit(
        by=by,
        problem=objective.problem,
        keeps=lambda amount, *_: lambda point: objective.missed(point, amount) <= 0,
        unmet=lambda amount, *_: f"no point has at most {amount:,.0f} {by}",
    )


def _within(drop: float, axis: Axis, run: Snapshot) -> Callable[[Point], bool]:
    """Whether a point's metric is at most so far behind the baseline's."""
    del axis
    if run.baseline is None:
        raise InputError(f"{run.folder.path}: has no baseline to count a drop from")
    metric = run.space.metric
    if not drop < (whole := metric.high - metric.low):
        raise InputError(f"max_drop: {drop:g} is not in [0, {whole:g})")
    baseline = run.baseline.score
    return lambda point: point.score.keeps_to(baseline, drop)


def _problem(amount: float, fits: bool, wanted: str) -> str | None:  # noqa: FBT001
    if not math.isfinite(amount):
        return f"{amount:g} is not a finite number"
    return None if fits else f"{amount:g} is not {wanted}"


LIMITS: dict[str, Limit] = {
    "speedup": _times("macs"),
    "max_drop": Limit(
        by="macs",
        problem=lambda drop: _problem(drop, drop >= 0, "at least 0"),
        keeps=_within,
        unmet=lambda drop, _, metric: (
            f"no point is within {metric.show.scale * drop:g}{metric.show.gap} of the baseline"
        ),
        smallest=True,
    ),
    "latency_speedup": _times("latency"),
    "milliseconds": Limit(
        by="latency",
        problem=lambda ms: _problem(ms, ms > 0, "above 0"),
        keeps=lambda ms, axis, _: lambda point: (axis.milliseconds(point) or math.inf) <= ms,
        unmet=lambda amount, *_: f"no point takes at most {amount:g} ms for sure",
    ),
    "parameters": _at_most("parameters"),
    "bytes": _at_most("bytes"),
}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """One budget, and the axis along which networks get smaller.

    Attributes:
        speedup: at least this many times smaller than the baseline, along `by`.
        max_drop: the metric at most this far behind the baseline's on validation.
        latency_speedup: at least this many times faster than the baseline on the target.
        milliseconds: of one batch on the target, at most: the baseline's median over the
            speedup's lower end.
        parameters: at most.
        bytes: of the weights, at most.
        by: multiply-adds, parameters, bytes of the weights or time on the target.
        target: the timed target to use; the only one by default.
    """

    speedup: float | None = None
    max_drop: float | None = None
    latency_speedup: float | None = None
    milliseconds: float | None = None
    parameters: int | None = None
    bytes: int | None = None
    by: str | None = None
    target: str | None = None

    def __post_init__(self) -> None:
        given = [name for name in LIMITS if getattr(self, name) is not None]
        if len(given) != 1:
            raise InputError(f"{', '.join(given) or 'no budget'}: give one of {', '.join(LIMITS)}")
        if problem := self.kind.problem(self.amount):
            raise InputError(f"{self.limit}: {problem}")
        if self.by is not None and self.by not in get_args(By):
            raise InputError(f"by: {self.by!r} is none of {', '.join(get_args(By))}")
        if self.by in COUNTED and self.target is not None:
            raise InputError(f"target: {self.target!r} applies to latency only")
        if self.kind.by == "latency" and self.by in COUNTED:
            raise InputError(f"{self.limit}: time is not measured by {self.by}")

    @property
    def limit(self) -> str:
        """The name of the limit."""
        return next(name for name in LIMITS if getattr(self, name) is not None)

    @property
    def amount(self) -> float:
        """The value of the limit."""
        return float(getattr(self, self.limit))

    @property
    def kind(self) -> Limit:
        """What the limit means."""
        return LIMITS[self.limit]

    def axis(self, run: Snapshot) -> Axis:
        """The axis along which networks get smaller.

        Raises:
            InputError: time is asked for on a target that the run does not know.
        """
        by = self.by or ("latency" if self.target is not None else self.kind.by)
        return COUNTED[by] if by in COUNTED else _timed(run, self.target)

    def keeps(self, run: Snapshot, axis: Axis) -> Callable[[Point], bool]:
        """Whether a point that was measured on `axis` fits the limit.

        Raises:
            InputError: the run's points do not tell.
        """
        return self.kind.keeps(self.amount, axis, run)


def _timed(run: Snapshot, name: str | None) -> Axis:
    path, known = run.folder.path, run.latencies
    if not known:
        raise InputError(f"{path}: nothing was timed yet; trp-search latency does it")
    if name is None and len(known) > 1:
        raise InputError(f"target: several were timed; name one of {', '.join(known)}")
    name = name or next(iter(known))
    if name not in known:
        raise InputError(f"target: {name!r} was not timed; there are {', '.join(known)}")
    return clock(name, known[name])
