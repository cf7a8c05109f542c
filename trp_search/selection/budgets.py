"""A budget, and the axis along which networks get smaller."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

from trp_search.errors import InputError
from trp_search.records import TIMED, Point
from trp_search.records.objectives import OBJECTIVES, SPEEDUP, Objective
from trp_search.selection.axes import COUNTED, Axis, By, Clock, clock
from trp_search.selection.snapshot import Snapshot

# Each kind of budget, and the axis along which networks get smaller where none is named.
LIMITS: dict[str, By] = {
    "speedup": "macs",
    "max_drop": "macs",
    "latency_speedup": "latency",
    "milliseconds": "latency",
    "parameters": "parameters",
    "bytes": "bytes",
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
        if problem := self._problem():
            raise InputError(f"{self.limit}: {problem}")
        if self.by is not None and self.by not in get_args(By):
            raise InputError(f"by: {self.by!r} is none of {', '.join(get_args(By))}")
        if self.by in COUNTED and self.target is not None:
            raise InputError(f"target: {self.target!r} applies to --by latency only")
        if self.limit in TIMED and self.by in COUNTED:
            raise InputError(f"{self.limit}: time is not measured by {self.by}")

    @property
    def limit(self) -> str:
        """The name of the limit."""
        return next(name for name in LIMITS if getattr(self, name) is not None)

    @property
    def amount(self) -> float:
        """The value of the limit."""
        return float(getattr(self, self.limit))

    def _problem(self) -> str | None:
        amount = self.amount
        if self.limit == "latency_speedup":
            return SPEEDUP.problem(amount)
        if self.limit in OBJECTIVES and self.limit != "milliseconds":
            return OBJECTIVES[self.limit].problem(amount)
        if not math.isfinite(amount):
            return f"{amount:g} is not a finite number"
        if self.limit == "max_drop":
            return None if amount >= 0 else f"{amount:g} is not at least 0"
        return None if amount > 0 else f"{amount:g} is not above 0"

    def axis(self, run: Snapshot) -> Axis:
        """The axis along which networks get smaller.

        Raises:
            InputError: time is asked for on a target that the run does not know.
        """
        by = self.by or ("latency" if self.target is not None else LIMITS[self.limit])
        return COUNTED[by] if by in COUNTED else _timed(run, self.target)

    def keeps(self, run: Snapshot, axis: Axis) -> Callable[[Point], bool]:
        """Whether a point that was measured on `axis` fits the limit.

        Raises:
            InputError: the run's points do not tell.
        """
        amount = self.amount
        if self.limit in ("speedup", "latency_speedup"):
            return lambda point: axis.of(point) >= amount
        if self.limit == "milliseconds":
            assert isinstance(axis, Clock)
            return lambda point: axis.milliseconds(point) <= amount
        if self.limit == "max_drop":
            objective, bound = run.space.metric, _behind(run, amount)
        else:
            objective, bound = OBJECTIVES[self.limit], amount
        return lambda point: objective.missed(point, bound) <= 0

    def unmet(self, axis: Axis, metric: Objective) -> str:
        """The message that no point fits it."""
        amount, show = self.amount, metric.show
        if self.limit in ("speedup", "latency_speedup"):
            return f"no point reaches {amount:g}x {axis.fewer}"
        if self.limit == "max_drop":
            return f"no point is within {show.scale * amount:g}{show.gap} of the baseline"
        if self.limit == "milliseconds":
            return f"no point takes at most {amount:g} ms for sure"
        return f"no point has at most {amount:,.0f} {self.limit}"


def _behind(run: Snapshot, drop: float) -> float:
    """The metric so far behind the baseline's."""
    if run.baseline is None:
        raise InputError(f"{run.folder.path}: has no baseline to count a drop from")
    metric = run.space.metric
    if not drop < (whole := metric.high - metric.low):
        raise InputError(f"max_drop: {drop:g} is not in [0, {whole:g})")
    return metric.read(run.baseline) - metric.sign * drop


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
