"""Settings that were proposed: the same again give the same network, so nothing is trained."""

from __future__ import annotations

import dataclasses
from collections import Counter

from trp_search.records import BASELINE, TrialSpec, to_json

_REPEATS = 20


class Tried:
    """The settings of trials that were proposed; of those that failed, the ones that did twice."""

    def __init__(self) -> None:
        self._numbers: dict[str, int | None] = {}
        self._failures = Counter[str]()
        self._in_a_row = 0

    @property
    def nothing_new(self) -> bool:
        """Whether the last 20 proposals, since a trial ended, were all known."""
        return self._in_a_row >= _REPEATS

    def add(self, spec: TrialSpec) -> None:
        """A trial that is proposed, or was."""
        self._numbers[_setting(spec)] = spec.number

    def fail(self, spec: TrialSpec) -> None:
        """A trial failed; its settings may be tried once more."""
        setting = _setting(spec)
        self._failures[setting] += 1
        if self._failures[setting] == 1:
            self._numbers.pop(setting, None)

    def renew(self) -> None:
        """The sampler has learnt of a trial, and may propose something else."""
        self._in_a_row = 0

    def earlier(self, spec: TrialSpec) -> int | None:
        """The number of the trial that has the settings of this proposal, if one has."""
        number = self._numbers.get(_setting(spec))
        self._in_a_row = 0 if number is None else self._in_a_row + 1
        return number


def _setting(spec: TrialSpec) -> str:
    """All that a trial trains and cuts by; its seed is of the search."""
    return to_json(dataclasses.replace(spec, name=BASELINE, number=None))
