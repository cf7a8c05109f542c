"""Objectives: direction, bounds, format and worst value of each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from trp_search.records.latency import UNKNOWN_MILLISECONDS

Name = Literal["accuracy", "speedup", "parameters", "bytes", "latency_speedup", "milliseconds"]


@runtime_checkable
class Measured(Protocol):
    """The record that an objective is read from: a `records.Point` or a `records.RungScore`."""

    @property
    def metric(self) -> float: ...
    @property
    def speedup(self) -> float: ...
    @property
    def parameters(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def latency_speedup(self) -> float: ...
    @property
    def milliseconds(self) -> float: ...


@dataclass(frozen=True, kw_only=True)
class Format:
    """The format of a number in a terminal and on the page: `97.3 %`, `2.10` and the sign.

    Attributes:
        scale: factor for printing and drawing.
        digits: number of digits after the decimal point.
        suffix: the unit, also of an axis' ticks.
        gap: the unit of a difference.
    """

    scale: float = 1.0
    digits: int = 0
    suffix: str = ""
    gap: str = ""

    def __call__(self, value: float) -> str:
        """The value with its unit."""
        return f"{self.number(value)}{self.suffix}"

    def drawn(self, value: float) -> float:
        """Where the value lies on a figure's axis, whose ticks have the unit."""
        return self.scale * value

    def number(self, value: float) -> str:
        """The value without its unit."""
        return f"{self.drawn(value):,.{self.digits}f}"

    def span(self, low: float, high: float) -> str:
        """From one value to another: `93.0 to 98.3 %`."""
        return f"{self.number(low)} to {self(high)}"

    def difference(self, value: float) -> str:
        """The distance of two values, without a sign."""
        return f"{self.number(abs(value))}{self.gap}"

    def change(self, value: float) -> str:
        """A difference with its sign and without its unit: `+0.4`."""
        size = self.number(abs(value))
        if size == self.number(0.0):
            return size
        return ("+" if value > 0 else "\N{MINUS SIGN}") + size


PERCENT = Format(scale=100.0, digits=1, suffix=" %", gap=" points")
TIMES = Format(digits=2, suffix="\N{MULTIPLICATION SIGN}", gap="\N{MULTIPLICATION SIGN}")
COUNT = Format()
MILLISECONDS = Format(digits=3, suffix=" ms", gap=" ms")


@dataclass(frozen=True, kw_only=True)
class Objective:
    """One objective of a search.

    Attributes:
        name: the name in YAML, in Optuna and on every axis.
        maximise: its direction; the only place where it is written down.
        worst: the value that Optuna gets for a diverged trial.
        read: its value at a point, or at a rung.
        low: the smallest bound that a constraint or a budget may have ...
        high: ... and the largest.
        slack: how far behind the baseline the corner of the hypervolume lies.
        show: how a value, and a difference, is printed.
    """

    name: str
    maximise: bool
    worst: float
    read: Callable[[Measured], float]
    low: float
    high: float = math.inf
    slack: float = 0.0
    show: Format = COUNT

    @property
    def sign(self) -> float:
        """Factor that makes larger better."""
        return 1.0 if self.maximise else -1.0

    def gain(self, of: Measured) -> float:
        """Its value, signed so that larger is better."""
        return self.sign * self.read(of)

    def corner(self, baseline: Measured) -> float:
        """The gain above which a point adds to the hypervolume."""
        return self.gain(baseline) - self.slack

    def missed(self, of: Measured, bound: float) -> float:
        """By how much a point misses the bound; at most 0 if it meets it."""
        return self.sign * bound - self.gain(of)

    def problem(self, bound: float) -> str | None:
        """Why `bound` is not a valid bound, or None if it is."""
        if math.isfinite(bound) and self.low <= bound <= self.high:
            return None
        if not math.isfinite(bound):
            return f"{bound:g} is not a finite number"
        if math.isfinite(self.high):
            return f"{bound:g} is not in [{self.low:g}, {self.high:g}]"
        return f"{bound:g} is not at least {self.low:g}"


# By task, what its networks are scored by.
METRICS: dict[str, Objective] = {
    "classification": Objective(
        name="accuracy",
        maximise=True,
        worst=0.0,
        read=lambda found: found.metric,
        low=0.0,
        high=1.0,
        slack=0.1,
        show=PERCENT,
    ),
}
OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (
        *METRICS.values(),
        Objective(
            name="speedup",
            maximise=True,
            worst=0.0,
            read=lambda found: found.speedup,
            low=1.0,
            show=TIMES,
        ),
        Objective(
            name="parameters",
            maximise=False,
            worst=1e12,
            read=lambda found: float(found.parameters),
            low=1.0,
        ),
        Objective(
            name="bytes",
            maximise=False,
            worst=1e15,
            read=lambda found: float(found.bytes),
            low=1.0,
        ),
        Objective(
            name="latency_speedup",
            maximise=True,
            worst=0.0,
            read=lambda found: found.latency_speedup,
            low=1.0,
            show=TIMES,
        ),
        Objective(
            name="milliseconds",
            maximise=False,
            worst=UNKNOWN_MILLISECONDS,
            read=lambda found: found.milliseconds,
            low=1e-6,
            show=MILLISECONDS,
        ),
    )
}
SPEEDUP = OBJECTIVES["speedup"]
# Of the space's target, as predicted.
ON_THE_CLOCK = ("latency_speedup", "milliseconds")
