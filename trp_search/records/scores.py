"""The value of a task's metric on some images, and how far it may be from the true one."""

from __future__ import annotations

import math

from pydantic import model_validator
from pydantic.dataclasses import dataclass as checked

from trp_search.records.kinds import STRICT, Bounded, Size
from trp_search.records.objectives import OBJECTIVES, Objective

_NORMAL_95 = 1.959964
_ROUNDING = 1e-9  # of differences of shares


@checked(frozen=True, kw_only=True, config=STRICT)
class Score:
    """A metric on `images`, with the 95 % interval from `low` to `high`.

    `name` is the metric's among the objectives, which know its direction, bounds and format.
    """

    name: str
    value: Bounded
    low: Bounded
    high: Bounded
    images: Size

    @model_validator(mode="after")
    def _within(self) -> Score:
        if self.name not in OBJECTIVES:
            raise ValueError(f"name: {self.name!r} is not one of {', '.join(OBJECTIVES)}")
        if not self.low <= self.value <= self.high:
            raise ValueError(f"value: {self.value:g} is not within {self.low:g} to {self.high:g}")
        if problem := self.metric.problem(self.value):
            raise ValueError(f"value: {problem}")
        return self

    @property
    def metric(self) -> Objective:
        """What was measured."""
        return OBJECTIVES[self.name]

    @property
    def gain(self) -> float:
        """The value, signed so that larger is better."""
        return self.metric.sign * self.value

    def behind(self, other: Score) -> float:
        """How much is lost against the other one; negative is a gain."""
        return other.gain - self.gain

    def keeps_to(self, other: Score, most: float) -> bool:
        """Whether at most so much is lost against the other one, but for rounding."""
        return self.behind(other) <= most + _ROUNDING

    @property
    def drawn(self) -> float:
        """Where the value lies on a figure's axis."""
        return self.metric.show.drawn(self.value)

    @property
    def shown(self) -> str:
        """The value as printed: `96.5 %`."""
        return self.metric.show(self.value)

    def beyond(self, other: Score) -> bool:
        """Whether this is better than the other one by more than chance.

        The lower end of the difference is above 0 (Newcombe, Statistics in Medicine 17, 1998:
        method 10, from the two intervals).
        """
        more, less = (self, other) if self.metric.maximise else (other, self)
        half = math.hypot(more.value - more.low, less.high - less.value)
        return more.value - less.value > half


def share(part: int, images: int) -> Score:
    """Accuracy: `part` of `images` are right; its interval is Wilson's (JASA 22, 1927)."""
    value, z2 = part / images, _NORMAL_95**2
    middle = (value + z2 / (2 * images)) / (1 + z2 / images)
    half = math.sqrt(value * (1 - value) / images + z2 / (4 * images**2))
    half *= _NORMAL_95 / (1 + z2 / images)
    return Score(
        name="accuracy",
        value=value,
        low=min(value, max(0.0, middle - half)),  # the ends of 0 and 1 are exact but for rounding
        high=max(value, min(1.0, middle + half)),
        images=images,
    )
