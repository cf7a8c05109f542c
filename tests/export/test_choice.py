"""Choosing a point at a budget."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trp_search.errors import InputError, NothingFoundError
from trp_search.export.choice import choose, select
from trp_search.records import Point
from trp_search.store import RunFolder, append_record

MakePoint = Callable[..., Point]


@pytest.fixture
def run_of(empty_run: RunFolder, make_point: MakePoint) -> Callable[..., RunFolder]:
    """A run with points given as (name, correct of 200, speedup, role)."""

    def build(*rows: tuple[str, int, float, str]) -> RunFolder:
        for name, correct, speedup, role in rows:
            point = make_point(name, correct=correct, speedup=speedup, role=role)
            append_record(empty_run.points, point)
        return empty_run

    return build


def test_the_most_accurate_point_at_or_above_the_budget_is_taken(run_of):
    run = run_of(("1", 198, 1.9, "trial"), ("2", 190, 2.1, "trial"), ("3", 180, 4.0, "trial"))
    assert select(run, speedup=2.0).point.id == "2"
    assert select(run, speedup=1.0).point.id == "1"
    assert select(run.path, speedup=2.2).point.id == "3"


def test_of_equally_accurate_points_the_faster_is_taken(run_of):
    run = run_of(("1", 190, 2.1, "trial"), ("2", 190, 3.0, "trial"))
    assert select(run, speedup=2.0).point.id == "2"


def test_the_drop_is_counted_from_the_plain_network(run_of):
    run = run_of(("baseline", 194, 1.0, "baseline"), ("1", 190, 2.1, "trial"))
    assert select(run, speedup=2.0).drop == pytest.approx(4 / 200)


def test_without_a_plain_network_there_is_no_drop(run_of):
    assert select(run_of(("1", 190, 2.1, "trial")), speedup=2.0).drop is None


def test_cuts_of_the_plain_network_are_never_chosen_but_a_better_one_is_told(run_of):
    rows = [("1", 190, 2.5, "trial"), ("2", 195, 1.5, "trial")]
    run = run_of(*rows, ("c", 192, 2.2, "control"), ("d", 193, 1.2, "control"))
    choice = select(run, speedup=2.0)
    assert choice.point.id == "1"
    assert choice.control is not None
    assert choice.control.id == "c"
    assert select(run, speedup=1.0).control is None


def test_refits_are_never_chosen(run_of):
    run = run_of(("1", 190, 2.5, "trial"), ("refit-1", 200, 2.5, "refit"))
    assert select(run, speedup=2.0).point.id == "1"


def test_points_that_miss_a_constraint_are_left_out(run_of):
    # The run's space asks for an accuracy of at least 0.5.
    run = run_of(("1", 190, 2.0, "trial"), ("2", 99, 9.0, "trial"))
    with pytest.raises(NothingFoundError, match=r"nearest is '1' at 2\.00x, 95\.0% on"):
        select(run, speedup=5.0)


def test_the_nearest_is_the_fastest_and_said_not_to_reach(run_of):
    choice = choose(run_of(("1", 190, 2.0, "trial"), ("2", 180, 3.0, "trial")), speedup=5.0)
    assert (choice.point.id, choice.reached) == ("2", False)


def test_a_run_without_trials_has_nothing_to_choose(run_of):
    with pytest.raises(NothingFoundError, match="no trial has been scored yet"):
        select(run_of(("baseline", 194, 1.0, "baseline")), speedup=2.0)


def test_a_run_whose_points_all_miss_the_constraints_says_so(run_of):
    with pytest.raises(NothingFoundError, match="none of the 1 scored points meets"):
        select(run_of(("1", 20, 3.0, "trial")), speedup=2.0)


@pytest.mark.parametrize("speedup", [0.99, 0.0, -2.0, float("nan"), float("inf")])
def test_a_speedup_below_one_or_without_bound_is_refused(run_of, speedup: float):
    with pytest.raises(InputError, match=r"speedup: .* is not a number from 1 up"):
        select(run_of(("1", 190, 2.0, "trial")), speedup=speedup)
