"""How far a measured accuracy may be from the true one."""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

_NORMAL_95 = 1.959964


@runtime_checkable
class Counted(Protocol):
    """A score: how many of `images` were classified correctly."""

    @property
    def correct(self) -> int:
        """Images classified correctly."""

    @property
    def images(self) -> int:
        """Images scored."""

    @property
    def accuracy(self) -> float:
        """Their share."""


def wilson(correct: int, images: int) -> tuple[float, float]:
    """The 95 % score interval of a share of `images` (Wilson, JASA 22, 1927), in [0, 1]."""
    share, z2 = correct / images, _NORMAL_95**2
    middle = (share + z2 / (2 * images)) / (1 + z2 / images)
    half = math.sqrt(share * (1 - share) / images + z2 / (4 * images**2))
    half *= _NORMAL_95 / (1 + z2 / images)
    return max(0.0, middle - half), min(1.0, middle + half)
