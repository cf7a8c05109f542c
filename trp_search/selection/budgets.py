"""What a user may ask of a network: a budget, and what each point costs on its axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

from trp_search.errors import InputError
from trp_search.records import Latency, Point
from trp_search.selection.sizes import file_bytes
from trp_search.store import RunFolder

By = Literal["macs", "latency", "parameters"]
_LIMITS = ("speedup", "max_drop", "milliseconds", "parameters", "bytes")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """One limit, and the axis along which points get smaller.

    Attributes:
        speedup: at least so many times less than the dense network, along `by`.
        max_drop: at most so much validation accuracy below the baseline's, a share.
        milliseconds: of one batch on the target, at most: the dense network's median over the
            speedup's lower end.
        parameters: at most.
        bytes: of the weights' file, at most; see `file_bytes`.
        by: multiply-adds, time on the target, or parameters; time where a target is named.
        target: where time was measured; the only one by default.
    """

    speedup: float | None = None
    max_drop: float | None = None
    milliseconds: float | None = None
    parameters: int | None = None
    bytes: int | None = None
    by: str | None = None
    target: str | None = None

    def __post_init__(self) -> None:
        given = [name for name in _LIMITS if getattr(self, name) is not None]
        if len(given) != 1:
            allowed = ", ".join(_LIMITS)
            raise InputError(f"{', '.join(given) or 'no limit'}: give one of {allowed}")
        (name,) = given
        amount = getattr(self, name)
        if name == "speedup" and not (math.isfinite(amount) and amount >= 1):
            raise InputError(f"speedup: {amount:g} is not a number from 1 up")
        if name == "max_drop" and not 0 <= amount < 1:
            raise InputError(f"max_drop: {amount:g} is not in [0, 1); 0.01 is one point")
        if name not in ("speedup", "max_drop") and not (math.isfinite(amount) and amount > 0):
            raise InputError(f"{name}: {amount:g} is not above 0")
        if self.by is not None and self.by not in get_args(By):
            raise InputError(f"by: {self.by!r} is none of {', '.join(get_args(By))}")
        if self.by in ("macs", "parameters") and self.target is not None:
            raise InputError(f"target: {self.target!r} has a meaning by latency alone")
        if self.milliseconds is not None and self.by not in (None, "latency"):
            raise InputError(f"milliseconds: time is not measured by {self.by}")

    @property
    def axis(self) -> By:
        """Along what points get smaller."""
        if self.by is not None:
            return cast(By, self.by)
        timed = self.target is not None or self.milliseconds is not None
        small = self.parameters is not None or self.bytes is not None
        return "latency" if timed else "parameters" if small else "macs"

    @property
    def unmet(self) -> str:
        """What it means that no point keeps to it."""
        if self.speedup is not None:
            ways = {"macs": "", "latency": " on the clock for sure", "parameters": " in parameters"}
            return f"no point reaches {self.speedup:g}x{ways[self.axis]}"
        if self.max_drop is not None:
            return f"no point is within {100 * self.max_drop:g} points of the baseline"
        if self.milliseconds is not None:
            return f"no point takes at most {self.milliseconds:g} ms for sure"
        what = "parameters" if self.parameters is not None else "bytes"
        return f"no point has at most {self.parameters or self.bytes:,} {what}"


@dataclass(frozen=True, kw_only=True)
class Axis:
    """How many times less than the dense network each point costs, counted one way.

    Attributes:
        by: multiply-adds, time or parameters.
        target: where time was measured.
        times: by point; for time the lower end of its interval, which is reached for sure.
        latencies: what was measured there.
    """

    by: By
    target: str | None
    times: Mapping[str, float]
    latencies: Mapping[str, Latency]

    def of(self, point: Point) -> float:
        """How many times less `point` costs."""
        return self.times[point.id]

    def front(self, points: Sequence[Point]) -> list[Point]:
        """Those of `points` that no other beats in accuracy and on this axis, the largest first."""
        found: list[Point] = []
        for point in sorted(points, key=lambda p: (self.of(p), p.score.value), reverse=True):
            if not found or point.score.value > found[-1].score.value:
                found.append(point)
        return found[::-1]


def axis_of(folder: RunFolder, points: Sequence[Point], budget: Budget) -> Axis:
    """The budget's axis for those of `points` that were measured on it.

    Raises:
        InputError: time is asked for on a target that the run does not know.
    """
    by = budget.axis
    if by == "macs":
        return Axis(by=by, target=None, times={p.id: p.speedup for p in points}, latencies={})
    if by == "parameters":
        times = {p.id: p.dense_parameters / p.parameters for p in points}
        return Axis(by=by, target=None, times=times, latencies={})
    target, latencies = _timed(folder, budget.target)
    times = {p.id: latencies[p.id].low for p in points if p.id in latencies}
    return Axis(by=by, target=target, times=times, latencies=latencies)


def _timed(folder: RunFolder, name: str | None) -> tuple[str, dict[str, Latency]]:
    known = folder.read_latencies()
    if not known:
        raise InputError(f"{folder.path}: nothing was timed yet; trp-search latency does it")
    if name is None and len(known) > 1:
        raise InputError(f"target: several were timed; name one of {', '.join(known)}")
    name = name or next(iter(known))
    if name not in known:
        raise InputError(f"target: {name!r} was not timed; there are {', '.join(known)}")
    return name, known[name]


Fits = Callable[[Point], bool]


def limit(folder: RunFolder, budget: Budget, axis: Axis, baseline: Point | None) -> Fits:
    """Whether a point keeps to the budget; raises InputError where that cannot be said."""
    if budget.speedup is not None:
        least = budget.speedup
        return lambda point: axis.of(point) >= least
    if budget.milliseconds is not None:
        seconds = budget.milliseconds / 1e3
        return lambda point: axis.latencies[point.id].dense_seconds / axis.of(point) <= seconds
    if budget.parameters is not None:
        most = budget.parameters
        return lambda point: point.parameters <= most
    if budget.bytes is not None:
        size, sizes = budget.bytes, _file_sizes(folder)
        if not sizes:
            raise InputError(f"{folder.path}: no weights are here whose bytes could be counted")
        return lambda point: sizes.get(point.id, math.inf) <= size
    if baseline is None:
        raise InputError(f"{folder.path}: has no baseline to count a drop from")
    assert budget.max_drop is not None
    worst = baseline.score.value - budget.max_drop
    return lambda point: point.score.value >= worst


def _file_sizes(folder: RunFolder) -> dict[str, int]:
    """By point, where its weights were kept."""
    paths = [(point, folder.weights(point)) for point in folder.read_points()]
    return {point.id: file_bytes(path, point) for point, path in paths if path.exists()}
