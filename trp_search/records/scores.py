"""The value of a task's metric on some images, and how far it may be from the true one."""

from __future__ import annotations

import math

from pydantic import model_validator
from pydantic.dataclasses import dataclass as checked

from trp_search.records.kinds import STRICT, Size, Value

_NORMAL_95 = 1.959964


@checked(frozen=True, kw_only=True, config=STRICT)
class Score:
    """A metric on `images`, with the 95 % interval from `low` to `high`."""

    value: Value
    low: Value
    high: Value
    images: Size

    @model_validator(mode="after")
    def _within(self) -> Score:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"value: {self.value:g} is not within {self.low:g} to {self.high:g}")
        return self

    def beyond(self, other: Score) -> bool:
        """Whether this value is above the other one by more than chance.

        The lower end of the difference is above 0 (Newcombe, Statistics in Medicine 17, 1998:
        method 10, from the two intervals).
        """
        half = math.hypot(self.value - self.low, other.high - other.value)
        return self.value - other.value > half


def share(part: int, images: int) -> Score:
    """The share that `part` is of `images`, with its score interval (Wilson, JASA 22, 1927)."""
    value, z2 = part / images, _NORMAL_95**2
    middle = (value + z2 / (2 * images)) / (1 + z2 / images)
    half = math.sqrt(value * (1 - value) / images + z2 / (4 * images**2))
    half *= _NORMAL_95 / (1 + z2 / images)
    return Score(
        value=value,
        low=min(value, max(0.0, middle - half)),  # the ends of 0 and 1 are exact but for rounding
        high=max(value, min(1.0, middle + half)),
        images=images,
    )
