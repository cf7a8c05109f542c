"""What a search optimises: each objective's name, unit, direction and worst value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

Name = Literal["accuracy", "speedup", "parameters"]


class Measured(Protocol):
    """What an objective is read from; a `records.Point` is one."""

    @property
    def metric(self) -> float: ...
    @property
    def speedup(self) -> float: ...
    @property
    def parameters(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class Objective:
    """One axis of the front.

    Attributes:
        name: the name in YAML, in Optuna and on every axis.
        unit: as printed.
        maximise: its direction; the only place where it is written down.
        worst: what a diverged trial is told to have reached.
        read: the value of a measured point.
    """

    name: Name
    unit: str
    maximise: bool
    worst: float
    read: Callable[[Measured], float]

    @property
    def sign(self) -> float:
        """Factor that makes larger better."""
        return 1.0 if self.maximise else -1.0


OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (
        Objective(
            name="accuracy",
            unit="share of validation images",
            maximise=True,
            worst=0.0,
            read=lambda point: point.metric,
        ),
        Objective(
            name="speedup",
            unit="multiply-adds dense / decomposed",
            maximise=True,
            worst=0.0,
            read=lambda point: point.speedup,
        ),
        Objective(
            name="parameters",
            unit="weights of the decomposed network",
            maximise=False,
            worst=1e12,
            read=lambda point: float(point.parameters),
        ),
    )
}
