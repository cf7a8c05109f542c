"""Objectives: bounds, corners and formats."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trp_search.records import Point, RungScore
from trp_search.records.objectives import COUNT, OBJECTIVES, PERCENT, TIMES, Objective

every_objective = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)


@every_objective
def test_a_rung_and_the_point_of_the_same_cut_read_alike(
    objective: Objective, make_point: Callable[..., Point]
):
    point = make_point("1", correct=180, speedup=2.5)
    names = [field.name for field in dataclasses.fields(RungScore)]
    rung = RungScore(**{name: getattr(point, name) for name in names})
    assert objective.read(rung) == objective.read(point)


@every_objective
@given(bound=st.floats(0, 1e6), correct=st.integers(0, 200), speedup=st.floats(1, 50))
def test_a_bound_is_missed_by_what_lacks(
    objective: Objective, bound: float, correct: int, speedup: float, make_point
):
    point = make_point("1", correct=correct, speedup=speedup)
    better = (objective.read(point) > bound) == objective.maximise
    equal = objective.read(point) == bound
    assert (objective.missed(point, bound) <= 0) == (better or equal)
    assert abs(objective.missed(point, bound)) == abs(objective.read(point) - bound)


@every_objective
def test_nothing_is_worth_less_than_a_diverged_trial(
    objective: Objective, make_point: Callable[..., Point]
):
    poor = make_point("1", correct=0, speedup=1.0)
    assert objective.sign * objective.worst <= objective.gain(poor)


@pytest.mark.parametrize(
    ("name", "bound", "problem"),
    [
        ("accuracy", 0.9, None),
        ("accuracy", 1.2, "1.2 is not in [0, 1]"),
        ("speedup", 1.0, None),
        ("speedup", 0.99, "0.99 is not at least 1"),
        ("speedup", float("nan"), "nan is not a finite number"),
        ("parameters", float("inf"), "inf is not a finite number"),
    ],
)
def test_a_bound_that_nothing_could_keep_is_told(name: str, bound: float, problem: str | None):
    assert OBJECTIVES[name].problem(bound) == problem


def test_numbers_have_their_unit_and_differences_theirs():
    assert (PERCENT(0.9732), PERCENT.span(0.93, 0.9834)) == ("97.3 %", "93.0 to 98.3 %")
    assert PERCENT.difference(-0.012) == "1.2 points"
    assert (PERCENT.change(-0.004), PERCENT.change(0.02)) == ("\N{MINUS SIGN}0.4", "+2.0")
    assert (PERCENT.change(0.0001), PERCENT.change(-0.0001)) == ("0.0", "0.0")
    assert PERCENT.drawn(0.5) == 50
    assert (TIMES(1.98), COUNT(1234567.0)) == ("1.98\N{MULTIPLICATION SIGN}", "1,234,567")
