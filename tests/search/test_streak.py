"""Failures in a row, counted without a study."""

from __future__ import annotations

from trp_search.search.streak import Streak


def test_numbers_do_not_tell_reasons_apart_and_another_reason_begins_anew():
    streak = Streak()
    for number in (4, 5):
        streak.add(number, f"out of memory: {number} MB")
    assert streak.numbers == [4, 5]
    streak.add(6, "no such file")
    assert streak.numbers == [6]
    streak.end()
    assert streak.numbers == []
