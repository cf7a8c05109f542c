"""Trials that fail alike one after the other: their cause would fail all that follow."""

from __future__ import annotations

import re


class Streak:
    """The last trials, as far as they failed for one reason.

    Attributes:
        numbers: of these trials.
    """

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self._reason: str | None = None

    def end(self) -> None:
        """Forgets the failures: another trial went well."""
        self.numbers.clear()
        self._reason = None

    def add(self, number: int, reason: str, *, kind: str | None = None) -> None:
        """Counts a failed trial; numbers in its reason do not tell it from others of its kind."""
        alike = kind or re.sub(r"\d+", "#", reason)
        if alike != self._reason:
            self.end()
        self._reason = alike
        self.numbers.append(number)
