"""Settings that were tried: a proposal of them gives the same network, so nothing is trained."""

from __future__ import annotations

import dataclasses

from trp_search.records import BASELINE, TrialSpec, to_json

_REPEATS = 20


class Tried:
    """The settings of the trials that were scored."""

    def __init__(self) -> None:
        self._numbers: dict[str, int | None] = {}
        self._in_a_row = 0

    @property
    def nothing_new(self) -> bool:
        """Whether the last 20 proposals had all been tried."""
        return self._in_a_row >= _REPEATS

    def add(self, spec: TrialSpec) -> None:
        """A trial that was scored."""
        self._numbers[_setting(spec)] = spec.number

    def earlier(self, spec: TrialSpec) -> int | None:
        """The number of the trial that had the settings of this proposal, if one had."""
        number = self._numbers.get(_setting(spec))
        self._in_a_row = 0 if number is None else self._in_a_row + 1
        return number


def _setting(spec: TrialSpec) -> str:
    """All that a trial trains and cuts by; its seed is of the search."""
    return to_json(dataclasses.replace(spec, name=BASELINE, number=None))
